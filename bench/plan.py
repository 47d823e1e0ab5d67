"""What a run does, decided and written down before anything is timed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
import sys
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from types import ModuleType

    from bench.schema import Contestant, Task, Tier

ROOT = Path(__file__).resolve().parent.parent
TIERS: tuple[Tier, ...] = ("quick", "default", "thorough")
SELF_CHECK = "selfcheck"  # a family of the bench's own, raced only when it is asked for
REPORT_SECONDS = 5.0  # what a budget leaves for the report


@dataclass(frozen=True)
class Effort:
    """How much a tier spends.

    Seconds bound a whole family, those of a task its rounds in a slot: a task asked for alone does not get
    all of its family's. A step is one setup, gate or turn.
    """

    slots: int
    most_slots: int
    rounds: int
    least_rounds: int
    seconds: float
    step_seconds: float
    task_seconds: float = 6.0


EFFORTS: dict[Tier, Effort] = {
    "quick": Effort(1, 1, rounds=15, least_rounds=5, seconds=45.0, step_seconds=20.0),
    "default": Effort(5, 10, rounds=30, least_rounds=10, seconds=260.0, step_seconds=60.0),
    "thorough": Effort(20, 20, rounds=30, least_rounds=30, seconds=inf, step_seconds=60.0, task_seconds=inf),
}
BUDGETED = Effort(5, 100, rounds=15, least_rounds=10, seconds=inf, step_seconds=60.0, task_seconds=inf)
"""Where a budget sets the time, it buys processes: these differ by more than rounds do."""


@dataclass(frozen=True)
class Plan:
    """A run in writing: tasks, seeds, and what the code and the machine must still be on resuming."""

    run_id: str
    command: list[str]
    tier: Tier
    budget: float | None
    peers: bool
    variants: list[str]
    seed: int
    stamp: str
    fingerprint: str
    started: str
    tasks: list[dict[str, Any]]
    env: dict[str, Any] = field(repr=False)

    @property
    def effort(self) -> Effort:
        """What this plan may spend."""
        return EFFORTS[self.tier] if self.budget is None else BUDGETED

    @property
    def families(self) -> list[str]:
        """The families in the order of their tasks."""
        return list(dict.fromkeys(task["family"] for task in self.tasks))

    def seconds(self, family: str) -> float:
        """Return what a family may take: its tier's seconds, or its tasks' part of the budget."""
        if self.budget is None:
            return self.effort.seconds
        raced = {name: len(self.raced(name)) for name in self.families}
        return (self.budget - REPORT_SECONDS) * raced[family] / max(sum(raced.values()), 1)

    def slot_seed(self, slot: int) -> int:
        """Return the seed of a slot's data and of its PYTHONHASHSEED."""
        return random.Random(f"{self.seed}/{slot}").getrandbits(32)

    def raced(self, family: str) -> list[str]:
        """Return the ids of a family's tasks that run in slots, small ones first."""
        own = [t for t in self.tasks if t["family"] == family and t["op"] != "first_call"]
        return [t["id"] for t in sorted(own, key=lambda t: t["n"])]

    def first_calls(self) -> list[Task]:
        """Return the tasks that run once, in processes of their own."""
        ids = {t["id"] for t in self.tasks if t["op"] == "first_call"}
        return [task for family in self.families for task in tasks_of(family) if task.id in ids]

    def write(self, folder: Path) -> None:
        """Put the plan into a run folder, with every slot's seed spelled out."""
        slots = [{"slot": k, "seed": self.slot_seed(k)} for k in range(self.effort.most_slots)]
        write_json(folder / "plan.json", asdict(self) | {"slots": slots})

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the plan of a run folder."""
        try:
            record = json.loads((folder / "plan.json").read_text("utf-8"))
        except ValueError:
            raise ValueError(f"{folder / 'plan.json'} is damaged: start a new run") from None
        names = [each.name for each in fields(cls)]
        if missing := sorted(set(names) - record.keys()):
            raise ValueError(f"{folder} was planned by another version of the bench: no {', '.join(missing)}")
        return cls(**{name: record[name] for name in names})


@dataclass(frozen=True)
class Job:
    """The orders of one worker process: a slot, its tasks, and how long each has for its rounds."""

    supervisor: int
    work: str
    slot: int
    seed: int
    tasks: list[str]
    seconds: float
    peers: bool
    variants: list[str]
    rounds: int
    least_rounds: int
    quarantine: list[dict[str, str]]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the orders the supervisor wrote."""
        return cls(**json.loads(path.read_text("utf-8")))


def tasks_folder(root: Path = ROOT) -> Path:
    """Return the folder whose modules declare the races; HOTPATH_TASKS names another one."""
    return Path(os.environ.get("HOTPATH_TASKS") or root / "bench" / "tasks")


def families() -> list[str]:
    """Return the families that declare tasks."""
    return sorted(path.stem for path in tasks_folder().glob("[a-z]*.py"))


def tasks_of(family: str) -> list[Task]:
    """Return the tasks a family declares, checked: every anchor named, every id once."""
    tasks: list[Task] = _module(family).TASKS
    ids = [task.id for task in tasks]
    for task in tasks:
        if ids.count(task.id) > 1:
            raise ValueError(f"bench/tasks/{family}.py declares {task.id} twice: tell them apart by params")
        if not task.anchor:
            raise ValueError(f"bench/tasks/{family}.py: {task.id} names no anchor to be compared with")
    return tasks


class LeftOutError(Exception):
    """A task in which none of the chosen variants races."""


def contestants_of(
    task: Task, seed: int, *, peers: bool = True, variants: Collection[str] = ()
) -> list[Contestant]:
    """Make the data of a task from a seed and return everyone who races on it.

    ``variants`` leaves out those of ours that are neither one of them nor the anchor.
    """
    found: list[Contestant] = _module(task.family).contestants(task, seed)
    names = [contestant.name for contestant in found]
    if len(set(names)) < len(names):
        raise ValueError(f"{task.id} has two contestants of one name: {', '.join(sorted(names))}")
    if task.anchor not in names:
        raise ValueError(f"{task.id}: its anchor {task.anchor!r} is none of {', '.join(names)}")
    if variants and task.family != SELF_CHECK:
        chosen = [c for c in found if c.role == "ours" and _named(c.name, variants)]
        if not chosen:
            raise LeftOutError(f"{', '.join(variants)} not in {task.id}")
        found = [c for c in found if c.role != "ours" or c.name == task.anchor or c in chosen]
    return [c for c in found if peers or c.role != "peer"]


def _named(contestant: str, variants: Collection[str]) -> bool:
    """Whether a contestant is one of the variants, as it is or in some configuration that its name adds."""
    return any(contestant == name or contestant.startswith(f"{name} ") for name in variants)


def variants_of(family: str) -> set[str]:
    """Return the names of ours in a family, as its tasks and the library's catalogue have them."""
    from algos import FAMILIES
    from algos.catalog import variants

    listed = {variant.name for variant in variants(family)} if family in FAMILIES else set()
    return listed | {task.anchor for task in tasks_of(family)}


def select(
    tier: Tier, chosen: Sequence[str] = (), globs: Sequence[str] = (), variants: Sequence[str] = ()
) -> list[Task]:
    """Return the tasks of a tier (and the tiers below), of some families, whose id matches a pattern.

    ``variants`` leaves out the families that have none of them.
    """
    known = families()
    if unknown := sorted(set(chosen) - set(known)):
        raise ValueError(f"no tasks for {', '.join(unknown)}: choose of {', '.join(known) or 'none at all'}")
    searched = [family for family in known if not chosen or family in chosen]
    if variants:
        ours = {family: variants_of(family) for family in searched}
        if unknown := sorted(set(variants).difference(*ours.values())):
            known = sorted(set().union(*ours.values()))
            raise ValueError(f"no variant {', '.join(unknown)}: choose of {', '.join(known)}")
        searched = [family for family in searched if not ours[family].isdisjoint(variants)]
    patterns = [glob if "*" in glob else f"*{glob}*" for glob in globs]
    return [
        task
        for family in searched
        for task in tasks_of(family)
        if TIERS.index(task.tier) <= TIERS.index(tier)
        and (not patterns or any(fnmatchcase(task.id, pattern) for pattern in patterns))
    ]


def find(ids: Iterable[str]) -> list[Task]:
    """Return the tasks of these ids, in this order."""
    wanted = list(ids)
    known = {t.id: t for family in {i.split(".", 1)[0] for i in wanted} for t in tasks_of(family)}
    return [known[i] for i in wanted]


def stamp(root: Path = ROOT) -> str:
    """Digest all code a figure depends on: the library, the harness, the tasks, but not the report."""
    digest = hashlib.sha256()
    folders = {root / "algos", root / "bench", tasks_folder(root)}
    for folder in sorted(folders):
        for path in sorted(folder.rglob("*.py")):
            if (root / "bench" / "report") not in path.parents:
                digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def describe(task: Task) -> dict[str, Any]:
    """Return a task as plain values, with its id."""
    return {"id": task.id, **asdict(task)}


def entrant(contestant: Contestant) -> dict[str, str]:
    """Return who a contestant is, as plain values."""
    return {
        "contestant": contestant.name,
        "role": contestant.role,
        "package": contestant.package,
        "input": contestant.input,
    }


def broken(task: Task, slot: int, error: Exception) -> dict[str, Any]:
    """Return the results of a task without contestants: none if it is left out, else a row that says why."""
    rows = []
    if not isinstance(error, LeftOutError):
        note = f"{type(error).__name__}: {first_line(error)}"
        rows = [{"contestant": task.anchor, "status": "ERROR", "note": note}]
    return {"task": task.id, "slot": slot, "seconds": 0.0, "contestants": rows, "samples": []}


def first_line(error: BaseException) -> str:
    """Return what an exception says, as far as it fits into a row."""
    return (str(error).splitlines() or [""])[0]


def now() -> datetime:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def write_json(path: Path, value: Any) -> None:
    """Write a file that is either absent or complete, whenever the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


@cache
def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bench.tasks.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def _module(family: str) -> ModuleType:
    if family == SELF_CHECK:
        return import_module("bench.selfcheck")
    return _load(tasks_folder() / f"{family}.py")
