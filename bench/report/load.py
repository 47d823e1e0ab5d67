"""Read one run's result files into plain values; everything the report shows comes from here."""

from __future__ import annotations

import gc
import json
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.schema import FILES, SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SELF_CHECK = "selfcheck"
"""The family that races known answers: it measures the benchmark, and is reported apart."""

_T = TypeVar("_T", bound=NamedTuple)


class Row(NamedTuple):
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
    slot_ns: tuple[float, ...] = ()
    slot_ratios: tuple[float, ...] = ()

    @property
    def timed(self) -> bool:
        """Whether there is a time to show and a ratio to compare."""
        return self.status == "ok" and _positive(self.ns_item) and _positive(self.ratio)


class Figure(NamedTuple):
    """One measured property beside speed: a line of ``quality.parquet``."""

    task: str
    contestant: str
    metric: str
    value: float | None = None
    theory: float | None = None
    lo: float | None = None
    hi: float | None = None
    ok: bool | None = None


class SlotLine(NamedTuple):
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


class Info(NamedTuple):
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

    @cached_property
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


@dataclass(frozen=True, eq=False)
class Run:
    """A whole run as read from its folder: a key of what is computed from it once."""

    folder: Path
    info: Info
    env: dict[str, Any]
    catalog: tuple[dict[str, Any], ...]
    races: tuple[Race, ...]
    self_check: tuple[Race, ...]
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
        return _medians((f, f.value) for f in self.figures)

    @cached_property
    def laws(self) -> dict[str, dict[str, dict[str, float]]]:
        """The median over slots of what theory expects of every figure: task, contestant, metric."""
        return _medians((f, f.theory) for f in self.figures)

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
    info = _info(_json(folder / "run.json", {}))
    if info.schema > SCHEMA_VERSION:
        raise ValueError(
            f"{folder} has results of schema {info.schema}, this report reads up to {SCHEMA_VERSION}: "
            "render it with the version of the benchmark that made it"
        )
    races = tuple(_races(folder))
    return Run(
        folder=folder,
        info=info,
        env=_json(folder / "env.json", {}),
        catalog=tuple(_json(folder / "catalog.json", [])),
        races=tuple(race for race in races if race.family != SELF_CHECK),
        self_check=tuple(race for race in races if race.family == SELF_CHECK),
        figures=tuple(_table(folder / "quality.parquet", Figure)),
        slots=tuple(_table(folder / "slots.parquet", SlotLine)),
        files=tuple(name for name in FILES if (folder / name).exists()),
    )


def _info(known: dict[str, Any]) -> Info:
    """Keep what the report shows of ``run.json``; lists become tuples."""
    shown: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in known.items()
        if key in Info._fields and value is not None
    }
    return Info(**shown)


def _races(folder: Path) -> Iterator[Race]:
    rows: dict[str, list[Row]] = {}
    for row in _table(folder / "summary.parquet", Row):
        rows.setdefault(row.task, []).append(row)
    tasks = _json(folder / "tasks.json", [])
    telling = _telling(tasks)
    for task in tasks:
        params = dict(task.get("params") or {})
        yield Race(
            id=task["id"],
            family=task["family"],
            op=task["op"],
            workload=task["workload"],
            n=int(task["n"]),
            params=params,
            telling={k: v for k, v in params.items() if (task["family"], k) in telling},
            title=task.get("title") or "",
            rows=tuple(rows.get(task["id"], ())),
        )


def _telling(tasks: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Find each family's parameters that are not the same in all tasks that have them."""
    values: dict[tuple[str, str], set[str]] = {}
    for task in tasks:
        for key, value in (task.get("params") or {}).items():
            values.setdefault((task["family"], key), set()).add(repr(value))
    return {key for key, found in values.items() if len(found) > 1}


def _medians(figures: Iterable[tuple[Figure, float | None]]) -> dict[str, dict[str, dict[str, float]]]:
    values: dict[tuple[str, str, str], list[float]] = {}
    for figure, value in figures:
        if value is not None:
            values.setdefault((figure.task, figure.contestant, figure.metric), []).append(value)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (task, contestant, metric), measured in values.items():
        found.setdefault(task, {}).setdefault(contestant, {})[metric] = median(measured)
    return found


def _table(path: Path, kind: type[_T]) -> list[_T]:
    """Read a Parquet file as a list of ``kind``; NaN, null and a missing column give the field's default."""
    if not path.exists():
        return []
    table = pq.ParquetFile(path).read()
    columns = [_column(table, name, kind._field_defaults.get(name)) for name in kind._fields]
    gc.disable()  # a million rows make it look for cycles all the time, and have none: 4.0 s against 1.8
    try:
        return [kind._make(values) for values in zip(*columns, strict=True)]
    finally:
        gc.enable()


def _column(table: pa.Table, name: str, default: Any) -> list[Any]:
    if name not in table.column_names:
        return [default] * table.num_rows
    column = table[name].combine_chunks()
    if pa.types.is_list(column.type):
        numbers = iter(column.flatten().to_pylist())
        sizes = pc.fill_null(pc.list_value_length(column), 0).to_pylist()
        return [tuple(islice(numbers, size)) for size in sizes]
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, None)
    return [default if value is None else value for value in column.to_pylist()]


def _json(path: Path, default: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default


def _positive(value: float | None) -> bool:
    return value is not None and value > 0
