"""Comparing runs: on invented ones, whose truth is known, and on two commits of a toy library."""

from __future__ import annotations

import io
import json
import math
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from bench import compare as comparing
from bench import plan, revisions, stats
from bench import run as running
from bench.compare import Side, compare, machine, main
from bench.plan import ROOT, Effort
from bench.report import comparison
from bench.schema import SAMPLES, SLOTS, SUMMARY

if TYPE_CHECKING:
    from pathlib import Path

TASK = "filters.contains.ids.n=1000"
HOSTILE = "<b>`|*_"


@dataclass(frozen=True)
class Made:
    """An invented run: everyone's time in ns per item, by name, and whatever else is unusual about it."""

    times: dict[str, float] = field(
        default_factory=lambda: {"ours": 2.0, "other": 5.0, "limit": 1.0, "peer": 30.0, "null": 0.1}
    )
    seed: int = 1
    tasks: int = 1
    slots: int = 5
    machine_speed: float = 1.0
    process_sd: float = 0.002
    every: dict[str, int] = field(default_factory=dict)
    uneven: float = 0.0  # by how much the data of a slot matters to variants of ours
    status: dict[str, tuple[str, str]] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=lambda: {"peer": "1.0"})
    busy: float = 0.05
    info: dict[str, object] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write the files of the run that a comparison reads."""
        folder.mkdir(parents=True)
        ids = [f"{TASK}.k={k}" if k else TASK for k in range(self.tasks)]
        for name, rows, schema in (
            ("samples", self.samples(ids), SAMPLES),
            ("summary", [row for task in ids for row in self.summary(task)], SUMMARY),
            (
                "slots",
                [{"slot": k, "family": "filters", "psi_cpu": self.busy} for k in range(self.slots)],
                SLOTS,
            ),
        ):
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"{name}.parquet")
        task = {"family": "filters", "op": "contains", "workload": "ids", "n": 1000, "params": {}}
        info = {"schema": 1, "run_id": folder.name, "tier": "default", "fingerprint": "aaaa", "stamp": "cccc"}
        documents = {
            "tasks": [{"id": id_, **task} for id_ in ids],
            "env": {"id": "aaaa", "volatile": {"packages": self.packages}},
            "run": info | self.info,
        }
        for name, document in documents.items():
            (folder / f"{name}.json").write_text(json.dumps(document), "utf-8")
        return folder

    def samples(self, ids: list[str]) -> list[dict[str, object]]:
        """Time everyone as machines do: drift in common, noise of their own, luck per process."""
        rng = random.Random(self.seed)
        found = []
        for task in ids:
            for slot in range(self.slots):
                luck = {name: math.exp(rng.gauss(0, self.process_sd)) for name in self.times}
                for round_ in range(20):
                    drift = self.machine_speed * math.exp(rng.gauss(0, 0.1))
                    for name, ns in self.times.items():
                        if round_ % self.every.get(name, 1) == 0:
                            data = self.uneven * math.sin(slot) if name in {"ours", "other"} else 0.0
                            time = ns * luck[name] * drift * math.exp(rng.gauss(data, 0.005))
                            where = {"task": task, "slot": slot, "round": round_, "contestant": name}
                            found += [
                                where | {"cold": False, "ns_item": time},
                                where | {"cold": True, "ns_item": 9 * time},
                            ]
        return found

    def summary(self, task: str) -> list[dict[str, object]]:
        """Write a row for everyone."""
        rows = []
        for name in {**self.times, **self.status}:
            status, note = self.status.get(name, ("ok", ""))
            role = name if name in {"peer", "limit", "null", "exact"} else "ours"
            role = "limit" if name in comparing.OURS_INSIDE else role
            package = name if role == "peer" else ""
            rows.append({"task": task, "contestant": name, "role": role, "status": status, "note": note,
                         "package": package, "ns_item": self.times.get(name), "ratio": 1.0})  # fmt: skip
        return rows


BASE = Made()


def slower(made: Made, name: str, percent: float, **more: object) -> Made:
    """Make one contestant slower, in a run of its own luck."""
    times = made.times | {name: made.times[name] * (1 + percent / 100)}
    return replace(made, times=times, seed=2, **more)


@pytest.fixture
def compared(tmp_path):
    """Write two runs, A the usual one unless given, and compare them."""

    def compared(b: Made, a: Made = BASE) -> comparing.Comparison:
        return compare(Side.read(a.write(tmp_path / "A")), Side.read(b.write(tmp_path / "B")))

    return compared


@pytest.fixture
def cli(tmp_path, capsys):
    """Write two runs and compare them on the command line: the exit code and what was printed."""

    def cli(b: Made, *words: str, a: Made = BASE) -> tuple[int, str]:
        folders = [str(made.write(tmp_path / name)) for name, made in (("A", a), ("B", b))]
        code = main([*folders, *words])
        return code, capsys.readouterr().out

    return cli


def verdicts(found: comparing.Comparison) -> dict[str, str]:
    return {change.variant: change.verdict for change in found.changes}


def reasons(found: comparing.Comparison) -> dict[str, str]:
    return {one.variant: one.reason for one in found.unmatched}


# Verdicts


def test_a_variant_that_became_three_percent_slower_is_called_slower(compared):
    found = compared(slower(BASE, "ours", 3))
    assert verdicts(found) == {"ours": "slower", "other": "same"}
    assert found.changes[0].change.lo < 1 / 1.03 < found.changes[0].change.hi
    assert found.changes[0].b / found.changes[0].a == pytest.approx(1.03, rel=0.01)


def test_a_variant_that_became_three_percent_faster_is_called_faster(compared):
    assert verdicts(compared(slower(BASE, "ours", -3)))["ours"] == "faster"


def test_a_machine_of_half_the_speed_changes_nothing(compared):
    assert verdicts(compared(slower(BASE, "ours", 0, machine_speed=2.0))) == {"ours": "same", "other": "same"}


def test_what_matters_comes_first(compared):
    times = {"limit": 1.0} | {f"v{k}": 2.0 for k in range(6)}
    changed = times | {"v1": 1.8, "v2": 2.2, "v4": 2.4}
    found = compared(Made(times=changed, seed=2), Made(times=times))
    assert list(verdicts(found).items())[:3] == [("v4", "slower"), ("v2", "slower"), ("v1", "faster")]
    assert set(list(verdicts(found).values())[3:]) == {"same"}


@pytest.mark.statistical
def test_of_runs_of_the_same_code_less_than_two_in_a_hundred_changes_are_called(compared):
    quiet = Made(times={"ours": 2.0, "limit": 1.0}, tasks=300, process_sd=0.005)
    found = compared(replace(quiet, seed=2), quiet)
    assert len(found.changes) == 300
    assert found.count("slower", "faster") < 0.02 * 300


def test_a_run_of_one_slot_gives_no_verdict_and_says_so(cli):
    code, out = cli(slower(BASE, "ours", 50, slots=1, info={"tier": "quick"}), "--all")
    assert code == 0
    assert "No verdict" in out
    assert "Different tiers: default in A, quick in B" in out


# References


def test_everything_that_is_not_ours_tells_the_pace(compared):
    times = BASE.times | {"exact": 4.0}
    assert compared(Made(times=times, seed=2), Made(times=times)).references == ("exact", "limit", "peer")


def test_what_happens_to_one_reference_of_three_changes_no_verdict(compared):
    times = BASE.times | {"exact": 4.0}
    found = compared(slower(Made(times=times), "exact", 50), Made(times=times))
    assert verdicts(found) == {"ours": "same", "other": "same"}


def test_a_yardstick_that_runs_the_librarys_own_kernels_is_no_reference(compared):
    """Faster hashing makes the yardstick of hashing faster too, and would hide behind it."""
    times = {"ours": 2.0, "hash limit": 1.0, "limit": 1.0}
    found = compared(Made(times={"ours": 1.8, "hash limit": 0.9, "limit": 1.0}, seed=2), Made(times=times))
    assert found.references == ("limit",)
    assert verdicts(found) == {"ours": "faster"}


def test_a_package_of_another_version_is_no_reference(compared):
    times = {"ours": 2.0, "peer": 30.0, "exact": 4.0}
    changed = Made(times=times | {"peer": 20.0}, seed=2, packages={"peer": "1.1"})
    found = compared(changed, Made(times=times))
    assert found.references == ("exact",)
    assert found.versions == {"peer": ("1.0", "1.1")}
    assert "peer 1.0 and 1.1" in comparison.markdown(found)


def test_a_reference_that_races_in_few_rounds_is_one_too(compared):
    rare = Made(times={"ours": 2.0, "limit": 1.0}, every={"limit": 5})
    assert compared(replace(rare, seed=2), rare).references == ("limit",)


def test_the_pace_of_a_slot_is_what_its_references_have_in_common():
    rng = np.random.default_rng(7)
    own, pace = rng.normal(3, 2, (30, 1)), rng.normal(0, 0.2, 12)
    times = own + pace
    times[:3, 4:] += 1  # three of thirty take another path from the fifth slot on
    times[10:20, 6:] = np.nan  # and ten race in half of the slots
    found = machine(times)
    assert found - found[0] == pytest.approx(pace - pace[0], abs=0.01)


def test_runs_of_many_slots_with_equal_data_are_compared_in_pairs(compared):
    alike = Made(slots=stats.MANY, uneven=0.2, process_sd=0.001, info={"seed": 5})
    found = compared(slower(alike, "ours", 3), alike)
    assert verdicts(found) == {"ours": "slower", "other": "same"}


def test_slots_of_other_data_or_few_of_them_are_not_compared_in_pairs(compared, tmp_path):
    alike = Made(slots=stats.MANY, uneven=0.2, process_sd=0.001, info={"seed": 5})
    other = replace(alike, seed=2, info={"seed": 6})
    assert verdicts(compared(other, alike)) == {"ours": "undecided", "other": "undecided"}
    few = [replace(alike, slots=5, seed=seed).write(tmp_path / f"few{seed}") for seed in (1, 2)]
    found = compare(*map(Side.read, few))
    assert verdicts(found) == {"ours": "undecided", "other": "undecided"}


def test_a_variant_with_nothing_to_measure_it_against_is_listed(compared):
    found = compared(Made(times={"ours": 2.0, "null": 0.1}, seed=2))
    assert not found.changes
    assert reasons(found)["ours"] == "nothing to measure it against was timed in both"


# Variants that cannot be compared


def test_a_wrong_answer_in_b_alone_is_a_reason_to_fail(cli):
    wrong = slower(BASE, "ours", 0, status={"other": ("WRONG", "key 7: False")})
    code, out = cli(wrong)
    assert code == 1
    assert "other: ok in A, WRONG (key 7: False) in B" in " ".join(out.split())
    assert "1 variant failed that did not fail in A" in out


def test_a_wrong_answer_in_a_alone_is_none(compared):
    found = compared(replace(BASE, seed=2), replace(BASE, status={"other": ("WRONG", "")}))
    assert reasons(found) == {"other": "WRONG in A, ok in B"}
    assert found.worse == 0


def test_a_variant_that_ran_in_neither_run_is_not_listed(compared):
    unready = replace(BASE, status={"other": ("NOT RUN", "would take 70 s at this n")})
    assert reasons(compared(replace(unready, seed=2), unready)) == {}


def test_variants_and_tasks_of_one_run_alone_are_listed(compared):
    times = {name: ns for name, ns in BASE.times.items() if name != "other"}
    found = compared(Made(times=times | {"new": 1.5}, seed=2, tasks=2))
    assert [(one.race.id, one.variant, one.reason) for one in found.unmatched] == [
        (TASK, "other", "raced in A only"),
        (TASK, "new", "raced in B only"),
        (f"{TASK}.k=1", "every variant", "raced in B only"),
    ]


# What is printed


def test_differences_between_the_runs_are_warned_of(compared):
    info = {
        "fingerprint": "bbbb",
        "stamp": "dddd",
        "tier": "thorough",
        "partial": True,
        "reason": "interrupted",
    }
    told = list(comparison.warnings(compared(replace(BASE, seed=2, busy=0.4, info=info))))
    assert [text.split(":")[0] for text in told] == [
        "Different machines, aaaa in A and bbbb in B",
        "Different tiers",
        "Different code, of the library or of the benchmark",
        "B",
        "B",
    ]
    assert "Interrupted" in told[3]
    assert "waited for a CPU in 5 of 5 slots" in told[4]


def test_runs_alike_are_not_warned_of(compared):
    assert list(comparison.warnings(compared(replace(BASE, seed=2)))) == []


def test_the_terminal_shows_what_changed_and_everything_when_asked(compared):
    found = compared(slower(BASE, "ours", 5))

    def shown(**options: bool) -> str:
        console = Console(file=io.StringIO(), width=100)
        comparison.show(found, console=console, **options)
        return console.file.getvalue()

    assert "ours" in shown()
    assert "other" not in shown()
    assert "other" in shown(everything=True)
    assert "B is called slower in 1 of 2 comparisons." in shown()
    assert "1 slower, 0 faster, 1 same, 0 undecided; 50 % called, 0 % left open" in shown()


def test_markdown_says_the_verdict_first_and_folds_the_rest_away(cli):
    code, out = cli(slower(BASE, "ours", 5), "--markdown", "-")
    assert code == 1
    assert out.startswith(
        "### Benchmark: `A` (A) against `B` (B)\n\n**B is called slower in 1 of 2 comparisons.**"
    )
    changed, everything = out.split("<details><summary>All 2 comparisons</summary>")
    assert "| ours |" in changed
    assert "| other |" not in changed
    assert "| other |" in everything


def test_markdown_is_escaped(compared):
    times = {HOSTILE: 2.0, "limit": 1.0, "gone": 1.0}
    found = compared(
        Made(
            times=times,
            seed=2,
            status={"gone": ("WRONG", HOSTILE)},
            info={"reason": HOSTILE, "partial": True},
        ),
        Made(times=times),
    )
    text = comparison.markdown(found)
    assert HOSTILE not in text
    assert "<b>" not in text
    assert all(line.count("|") == line.count(" | ") + 2 for line in text.splitlines() if line.startswith("|"))


def test_markdown_goes_to_a_file_and_is_the_same_every_time(cli, tmp_path, capsys):
    code, out = cli(slower(BASE, "ours", 5), "--markdown", str(tmp_path / "first.md"))
    assert "B is called slower" in out
    assert main([str(tmp_path / "A"), str(tmp_path / "B"), "--markdown", str(tmp_path / "second.md")]) == code
    assert (tmp_path / "first.md").read_bytes() == (tmp_path / "second.md").read_bytes()


# The command line


def test_runs_alike_exit_with_0(cli):
    assert cli(replace(BASE, seed=2))[0] == 0


def test_runs_with_nothing_in_common_are_no_success(cli):
    code, out = cli(Made(times={"new": 1.0}, seed=2))
    assert code == 2
    assert "Nothing to compare" in out


def test_a_run_is_found_by_its_name_among_the_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(comparing, "REPORTS", tmp_path)
    BASE.write(tmp_path / "one")
    replace(BASE, seed=2).write(tmp_path / "two")
    assert main(["one", "two"]) == 0


def test_what_is_neither_a_run_nor_a_revision_is_refused(tmp_path, capsys):
    BASE.write(tmp_path / "A")
    assert main([str(tmp_path / "A"), "no/such"]) == 2
    told = capsys.readouterr().err
    assert "no/such" in told
    assert "git rev-parse" in told


def test_a_run_and_a_revision_are_not_compared(tmp_path, capsys):
    BASE.write(tmp_path / "A")
    assert main([str(tmp_path / "A"), "HEAD"]) == 2
    assert "two folders or two revisions" in capsys.readouterr().err


def test_what_to_race_is_no_question_for_runs_that_are_over(tmp_path, capsys):
    for name in ("A", "B"):
        BASE.write(tmp_path / name)
    assert main([str(tmp_path / "A"), str(tmp_path / "B"), "--task", "merge"]) == 2
    assert "revisions" in capsys.readouterr().err


def test_a_run_whose_samples_are_missing_is_refused(tmp_path, capsys):
    for name in ("A", "B"):
        BASE.write(tmp_path / name)
    (tmp_path / "B" / "samples.parquet").unlink()
    assert main([str(tmp_path / "A"), str(tmp_path / "B")]) == 2
    assert "samples.parquet" in capsys.readouterr().err


# Revisions

TOY = """
from bench.schema import Contestant, Slice, Task

TASKS = [
    Task("toy", "work", "ints", 10, tier="quick", anchor="loop"),
    Task("toy", "first_call", "ints", 10, tier="quick", anchor="loop"),
]

def contestants(task, seed):
    from algos.toy import STEPS
    slices = lambda limit: [Slice(1, None)]
    return [
        Contestant("loop", "ours", lambda state, _: sum(range(STEPS)), slices),
        Contestant("yardstick", "limit", lambda state, _: sum(range(3000)), slices),
    ]
"""

NEW = """
from algos.errors import HotpathError
from bench.schema import Contestant, Slice, Task

TASKS = [Task("new", "work", "ints", 10, tier="quick", anchor="loop")]

def contestants(task, seed):
    return [Contestant("loop", "ours", lambda state, _: sum(range(1000)), lambda limit: [Slice(1, None)])]
"""


def git(repository: Path, *words: str) -> str:
    identity = ["-c", "user.name=toy", "-c", "user.email=toy@localhost"]
    return subprocess.run(
        ["git", *identity, *words], cwd=repository, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def toys(tmp_path, monkeypatch) -> Path:
    """Make a repository whose library takes ten times as long since its second commit, and two families."""
    repository, families = tmp_path / "repository", tmp_path / "families"
    (repository / "algos").mkdir(parents=True)
    families.mkdir()
    (families / "toy.py").write_text(TOY, "utf-8")
    (families / "new.py").write_text(NEW, "utf-8")
    (repository / "bench").symlink_to(ROOT / "bench")
    shutil.copy(ROOT / "pyproject.toml", repository)
    git(repository, "init", "-q")
    for steps in (1000, 10_000):
        (repository / "algos" / "__init__.py").touch()
        (repository / "algos" / "toy.py").write_text(f"STEPS = {steps}", "utf-8")
        if steps > 1000:
            (repository / "algos" / "errors.py").write_text("class HotpathError(Exception): pass", "utf-8")
        git(repository, "add", "algos")
        git(repository, "commit", "-qm", str(steps))
    report = ModuleType("bench.report")
    vars(report).update(render=lambda folder: folder / "index.html", terminal_table=lambda _: None)
    monkeypatch.setitem(sys.modules, "bench.report", report)
    monkeypatch.setattr(revisions, "ROOT", repository)
    monkeypatch.setattr(plan, "BUDGETED", Effort(2, 2, 6, 3, seconds=60.0, step_seconds=60.0))
    monkeypatch.setenv("HOTPATH_TASKS", str(families))
    monkeypatch.setenv("NUMBA_CACHE_DIR", "restored after the test")
    return repository


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_two_revisions_are_raced_side_by_side_and_compared(toys, tmp_path, capsys):
    before = git(toys, "status", "--porcelain"), sorted((toys / ".git").iterdir())
    assert main(["HEAD~1", "HEAD", "--budget", "1h", "--out", str(tmp_path / "out")]) == 1
    assert "B is called slower in 1 of 1 comparison." in capsys.readouterr().out
    a, b = (Side.read(tmp_path / "out" / side) for side in "AB")
    assert [plan.Plan.read(side.run.folder).budget for side in (a, b)] == [1800, 1800]
    found = compare(a, b)
    assert verdicts(found) == {"loop": "slower"}
    assert found.references == ("yardstick",)
    assert len(found.changes[0].change.by_slot) == 2  # the pairs of slots
    assert reasons(found) == {
        "loop": "ERROR (ModuleNotFoundError: No module named 'algos.errors') in A, ok in B"
    }
    assert [side.run.env["volatile"]["commit"] for side in (a, b)] == [
        git(toys, "rev-parse", r) for r in ("HEAD~1", "HEAD")
    ]
    assert (git(toys, "status", "--porcelain"), sorted((toys / ".git").iterdir())) == before


class FakeSide:
    """A supervisor that notes what it is told, and is interrupted in the slot it is asked to be."""

    effort = Effort(3, 3, 1, 1, 1.0, 1.0)

    def __init__(self, name: str, told: list[tuple[str, object]], interrupted: int | None = None) -> None:
        self.name, self.told, self.interrupted = name, told, interrupted

    def slot(self, slot: int) -> None:
        if slot == self.interrupted:
            raise KeyboardInterrupt
        self.told.append((self.name, slot))

    def finish(self, reason: str) -> None:
        self.told.append((self.name, reason))


def test_the_sides_take_turns_at_being_first():
    told: list[tuple[str, object]] = []
    assert revisions._in_turn([FakeSide("A", told), FakeSide("B", told)]) == 0
    order = [("A", 0), ("B", 0), ("B", 1), ("A", 1), ("A", 2), ("B", 2)]
    assert told == [*order, ("A", ""), ("B", "")]


def test_an_interruption_leaves_two_partial_reports():
    told: list[tuple[str, object]] = []
    sides = [FakeSide("A", told), FakeSide("B", told, interrupted=1)]
    assert revisions._in_turn(sides) == running.INTERRUPTED
    assert told == [("A", 0), ("B", 0), ("A", "interrupted"), ("B", "interrupted")]


def test_the_working_tree_is_a_revision_too(toys, tmp_path):
    (toys / "algos" / "toy.py").write_text("STEPS = 7", "utf-8")
    assert revisions.commit(".") == "."
    assert revisions._copy(".", tmp_path / "tree") == {}
    assert revisions._copy(revisions.commit("HEAD"), tmp_path / "head") == {}
    found = [(tmp_path / tree / "algos" / "toy.py").read_text("utf-8") for tree in ("tree", "head")]
    assert found == ["STEPS = 7", "STEPS = 10000"]


def test_sides_of_one_comparison_are_known_by_their_run_ids():
    assert revisions.side_by_side("compare-a-b-now/A", "compare-a-b-now/B")
    assert not revisions.side_by_side("compare-a-b-now/A", "compare-a-b-later/B")
    assert not revisions.side_by_side("compare-a-b-now/A", "compare-a-b-now/A")
    assert not revisions.side_by_side("2026-11-25T001837Z-a/A", "2026-11-25T001837Z-a/B")


def test_a_revision_without_the_library_is_refused(toys, tmp_path, capsys):
    git(toys, "rm", "-rqf", "algos")
    git(toys, "commit", "-qm", "nothing")
    assert main(["HEAD", "HEAD~1", "--out", str(tmp_path / "out")]) == 2
    assert "holds no library to race (fatal: pathspec 'algos'" in capsys.readouterr().err


def test_a_comparison_of_revisions_cannot_be_resumed(toys, capsys):
    assert main(["HEAD~1", "HEAD", "--resume"]) == 2
    assert "without --resume" in capsys.readouterr().err
