"""Read one run's result files into plain values; everything the report shows comes from here."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow.parquet as pq

from bench.schema import FILES, SCHEMA_VERSION

if TYPE_CHECKING:
    from pathlib import Path

_T = TypeVar("_T")


@dataclass(frozen=True)
class Row:
    """One contestant of one task: a line of ``summary.parquet``, absent figures as ``None``."""

    task: str
    contestant: str
    role: str
    status: str
    note: str = ""
    package: str = ""
    input: str = ""
    anchor: bool = False
    ns_item: float | None = None
    ns_cold: float | None = None
    ratio: float | None = None
    lo: float | None = None
    hi: float | None = None
    mde: float | None = None
    verdict: str = ""
    slots: int = 0
    rounds: int = 0
    items: int | None = None
    state_bytes: int | None = None
    error: float | None = None
    limit: str = ""
    limit_share: float | None = None
    limit_lo: float | None = None
    limit_hi: float | None = None

    @property
    def timed(self) -> bool:
        """Whether there is a time to show and a ratio to compare."""
        return self.status == "ok" and _positive(self.ns_item) and _positive(self.ratio)


@dataclass(frozen=True)
class Figure:
    """One measured property beside speed: a line of ``quality.parquet``."""

    task: str
    contestant: str
    metric: str
    value: float | None = None
    theory: float | None = None
    lo: float | None = None
    hi: float | None = None
    ok: bool | None = None


@dataclass(frozen=True)
class SlotLine:
    """One worker process and what disturbed it: a line of ``slots.parquet``."""

    slot: int
    family: str
    seconds: float | None = None
    load1: float | None = None
    psi_cpu: float | None = None
    steal: float | None = None
    nivcsw: int | None = None
    pythonhashseed: int | None = None
    attempts: int | None = None


@dataclass(frozen=True)
class Info:
    """What was run: ``run.json``."""

    schema: int = SCHEMA_VERSION
    run_id: str = ""
    command: tuple[str, ...] = ()
    tier: str = ""
    families: tuple[str, ...] = ()
    seed: int | None = None
    slots: int | None = None
    rounds: int | None = None
    stamp: str = ""
    fingerprint: str = ""
    started: str = ""
    ended: str = ""
    partial: bool = False
    reason: str = ""
    resume: str = ""


@dataclass(frozen=True)
class Race:
    """One task with everyone who took part in it."""

    id: str
    family: str
    op: str
    workload: str
    n: int
    params: dict[str, Any]
    telling: dict[str, Any]  # the parameters in which the family's tasks differ
    title: str
    rows: tuple[Row, ...]

    @property
    def anchor(self) -> Row | None:
        """The contestant all ratios are relative to, if it was timed."""
        return next((row for row in self.rows if row.anchor and row.timed), None)

    @property
    def finished(self) -> bool:
        """Whether the anchor was timed, so that there is something to compare."""
        return self.anchor is not None

    def best(self, role: str) -> Row | None:
        """Return the fastest timed contestant of one role."""
        timed = [row for row in self.rows if row.role == role and row.timed and not row.anchor]
        return max(timed, key=lambda row: (row.ratio or 0.0, row.contestant), default=None)


@dataclass(frozen=True)
class Run:
    """A whole run as read from its folder."""

    folder: Path
    info: Info
    env: dict[str, Any]
    catalog: tuple[dict[str, Any], ...]
    races: tuple[Race, ...]
    figures: tuple[Figure, ...]
    slots: tuple[SlotLine, ...]
    files: tuple[str, ...]

    @property
    def id(self) -> str:
        """The name every generated figure carries."""
        return self.info.run_id or self.folder.name

    @cached_property
    def qualities(self) -> dict[str, dict[str, dict[str, float]]]:
        """The median over slots of every figure: task, contestant, metric."""
        values: dict[tuple[str, str, str], list[float]] = {}
        for figure in self.figures:
            if figure.value is not None:
                values.setdefault((figure.task, figure.contestant, figure.metric), []).append(figure.value)
        found: dict[str, dict[str, dict[str, float]]] = {}
        for (task, contestant, metric), measured in values.items():
            found.setdefault(task, {}).setdefault(contestant, {})[metric] = median(measured)
        return found

    @cached_property
    def checked(self) -> dict[str, list[Figure]]:
        """The figures that have an interval and a law to be compared with, by family."""
        families = {race.id: race.family for race in self.races}
        found: dict[str, list[Figure]] = {}
        for figure in self.figures:
            known = None not in {figure.value, figure.theory, figure.lo, figure.hi}
            if known and figure.task in families:
                found.setdefault(families[figure.task], []).append(figure)
        return found

    @property
    def families(self) -> tuple[str, ...]:
        """The families raced, in the order of the task list."""
        return tuple(dict.fromkeys(race.family for race in self.races))

    def family(self, name: str) -> tuple[Race, ...]:
        """Return the races of one family, without the first-call ones."""
        return tuple(race for race in self.races if race.family == name and race.op != "first_call")

    def common(self, family: str) -> dict[str, Any]:
        """Return the parameters that all tasks of a family share wherever they have them."""
        found: dict[str, Any] = {}
        for race in self.family(family):
            found |= {k: v for k, v in race.params.items() if k not in race.telling}
        return found

    @property
    def first_calls(self) -> tuple[Race, ...]:
        """The races that time a process's first call."""
        return tuple(race for race in self.races if race.op == "first_call")


def load(folder: Path) -> Run:
    """Read a run's folder; a missing or empty file means that the run had not come that far."""
    info = _record(Info, _json(folder / "run.json", {}))
    if info.schema > SCHEMA_VERSION:
        raise ValueError(
            f"{folder} has results of schema {info.schema}, this report reads up to {SCHEMA_VERSION}: "
            "render it with the version of the benchmark that made it"
        )
    return Run(
        folder=folder,
        info=info,
        env=_json(folder / "env.json", {}),
        catalog=tuple(_json(folder / "catalog.json", [])),
        races=_races(folder),
        figures=tuple(_table(folder / "quality.parquet", Figure)),
        slots=tuple(_table(folder / "slots.parquet", SlotLine)),
        files=tuple(name for name in FILES if (folder / name).exists()),
    )


def _races(folder: Path) -> tuple[Race, ...]:
    rows: dict[str, list[Row]] = {}
    for row in _table(folder / "summary.parquet", Row):
        rows.setdefault(row.task, []).append(row)
    tasks = _json(folder / "tasks.json", [])
    return tuple(
        Race(
            id=task["id"],
            family=task["family"],
            op=task["op"],
            workload=task["workload"],
            n=int(task["n"]),
            params=dict(task.get("params") or {}),
            telling=_telling(task, tasks),
            title=task.get("title") or "",
            rows=tuple(rows.get(task["id"], ())),
        )
        for task in tasks
    )


def _telling(task: dict[str, Any], tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """Leave out the parameters that are the same wherever the family's tasks have them."""
    siblings = [other.get("params") or {} for other in tasks if other["family"] == task["family"]]
    params = task.get("params") or {}
    return {k: v for k, v in params.items() if any(k in other and other[k] != v for other in siblings)}


def _table(path: Path, kind: type[_T]) -> list[_T]:
    """Read a Parquet file as a list of ``kind``; NaN and null become the field's default."""
    if not path.exists():
        return []
    return [_record(kind, record) for record in pq.ParquetFile(path).read().to_pylist()]


def _record(kind: type[_T], values: dict[str, Any]) -> _T:
    """Make a ``kind`` of the values it knows; lists become tuples."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    kept = {name: value for name, value in values.items() if name in known and not _absent(value)}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()})


def _json(path: Path, default: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _positive(value: float | None) -> bool:
    return value is not None and value > 0
