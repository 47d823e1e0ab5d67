"""Invented runs: result files that hold every kind of result, since rendering sees nothing else."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from bench.schema import QUALITY, SAMPLES, SLOTS, SUMMARY, Task

if TYPE_CHECKING:
    from pathlib import Path

KIB, MIB = 2**10, 2**20
HOSTILE = "<script>alert('x')</script>"
NON_ASCII = "фильтр Блума"
ANCHOR = "SplitBlockBloomFilter"


@dataclass(frozen=True)
class Arm:
    """An invented contestant: its time in the cache and past it, its memory and errors."""

    name: str
    role: str
    ns: float
    miss: float = 0.0  # ns more once the state is past the L2 cache
    bits: float = 0.0  # per key
    fpr: float | None = None
    nbytes: int = 0  # whatever the number of keys
    error: float | None = None


ARMS = (
    Arm(ANCHOR, "ours", 0.95, 1.6, 10.5, 0.0103),
    Arm("BloomFilter", "ours", 2.1, 5.2, 9.6, 0.0099),
    Arm("BinaryFuseFilter", "ours", 1.2, 2.9, 9.04, 0.0039),
    Arm("CuckooFilter", "ours", 1.9, 3.0, 12.6, 0.00092),
    Arm("rbloom", "peer", 46.0, 30.0, 9.6, 0.0101),
    Arm("fastbloom-rs", "peer", 71.0, 33.0, 10.8, 0.0097),
    Arm("pyfusefilter", "peer", 1.21, 3.4, 9.1, 0.0039),
    Arm("pybloom-live", "peer", 1392.0, 40.0, 9.6, 0.0100),
    Arm(HOSTILE, "peer", 12_101.0, 40.0, 9.6, 0.0100),
    Arm(NON_ASCII, "peer", 64.0, 21.0, 16.0, 0.0046),
    Arm("set", "exact", 48.0, 60.0, 520.0, 0.0),
    Arm("sorted search", "exact", 88.0, 140.0, 64.0, 0.0),
    Arm(f"{ANCHOR} again", "control", 0.95, 1.6, 10.5),
    Arm("empty call", "null", 0.003),
    Arm("random lines", "limit", 0.7, 1.1),
)
SKETCHES = (
    Arm("HyperLogLog", "ours", 1.1, nbytes=12 * KIB, error=0.0081),
    Arm("UltraLogLog", "ours", 1.4, nbytes=9 * KIB, error=0.0078),
    Arm("LinearCounter", "ours", 0.9, nbytes=64 * KIB, error=0.0031),
    Arm("datasketches", "peer", 6.5, nbytes=16 * KIB, error=0.0065),
    Arm("Python set", "exact", 55.0, nbytes=64 * MIB),
    Arm("HyperLogLog again", "control", 1.1, nbytes=12 * KIB),
)
"""A family that is measured by other metrics than filters are."""


@dataclass
class Files:
    """The rows of a run about to be written."""

    tasks: list[Task] = field(default_factory=list)
    summary: list[dict[str, object]] = field(default_factory=list)
    quality: list[dict[str, object]] = field(default_factory=list)


def filter_tasks(family: str = "filters") -> list[Task]:
    """Declare about thirty races as the filters family does."""
    lookups = [
        Task(family, "contains", "ids", n, {"hits": hits, "fpr": 0.01}, anchor=ANCHOR)
        for n in (10_000, 200_000, 2_000_000, 20_000_000, 60_000_000)
        for hits in (0, 50, 100)
    ]
    texts = [
        Task(family, "contains", "words", n, {"hits": 50, "fpr": 0.01}) for n in (10_000, 200_000, 2_000_000)
    ]
    scalar = [Task(family, "contains_one", "ids", n, {"hits": 50}) for n in (10_000, 2_000_000)]
    builds = [
        Task(family, op, "ids", n, {"fpr": 0.01})
        for op in ("build", "add")
        for n in (10_000, 2_000_000, 20_000_000)
    ]
    firsts = [
        Task(family, "first_call", name, 1000, {}) for name in (ANCHOR, "BinaryFuseFilter", "CuckooFilter")
    ]
    return [*lookups, *texts, *scalar, *builds, *firsts]


def sketch_tasks() -> list[Task]:
    """Declare races of a family with operations and parameters that no filter has."""
    return [
        Task("sketches", op, "ids", n, {"groups": groups}, anchor="HyperLogLog")
        for op in ("count_distinct", "merge")
        for groups in (1, 100)
        for n in (10_000, 1_000_000, 10_000_000)
    ]


def write_run(
    folder: Path,
    tasks: list[Task],
    *,
    slots: int = 5,
    finished: int | None = None,
    check: Checked | None = None,
    arms: tuple[Arm, ...] = ARMS,
    **info: object,
) -> Path:
    """Write the files of an invented run in which the first ``finished`` tasks were measured."""
    rng = random.Random(7)
    files = Files(tasks=tasks if check is None else [*tasks, *CHECKS])
    if check is not None:
        check.enter(files, slots)
    for task in tasks[:finished]:
        _race(files, task, SKETCHES if task.family == "sketches" else arms, slots, rng)
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows, schema in (
        ("samples", [], SAMPLES),
        ("summary", files.summary, SUMMARY),
        ("quality", files.quality, QUALITY),
        ("slots", _slots(slots, rng), SLOTS),
    ):
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"{name}.parquet")
    _write_json(folder, files, finished, slots, info)
    return folder


def _write_json(
    folder: Path, files: Files, finished: int | None, slots: int, info: dict[str, object]
) -> None:
    partial = finished is not None
    documents = {
        "tasks": [
            {"id": t.id, "family": t.family, "op": t.op, "workload": t.workload, "n": t.n, "params": t.params,
             "tier": t.tier, "anchor": t.anchor, "title": t.title}
            for t in files.tasks
        ],
        "catalog": [
            {"name": "BloomFilter", "family": "filters", "paper": "Bloom 1970", "standard": "",
             "topics": ["7.20", "10.4"], "properties": ["mergeable"]},
            {"name": ANCHOR, "family": "filters", "paper": "Putze, Sanders & Singler 2007",
             "standard": "Apache Parquet", "topics": ["22.9"], "properties": ["mergeable", "standard"]},
            {"name": "BinaryFuseFilter", "family": "filters", "paper": "Graf & Lemire 2022", "standard": "",
             "topics": ["10.4"], "properties": ["static"]},
            {"name": "CuckooFilter", "family": "filters", "paper": "Fan et al. 2014", "standard": "",
             "topics": ["16.3"], "properties": ["removable", "mergeable"]},
        ],
        "env": {
            "id": "a1b2c3d4", "cpu": "AMD EPYC 9R45", "cores": 2, "system": "Linux",
            "python": "CPython 3.11.7",
            "caches": {"l1d": 48 * KIB, "l2": MIB, "l3": 32 * MIB},
            "features": "avx512f gfni", "governor": None, "transparent_hugepages": "madvise",
            "packages": {"numba": "0.68.1", "llvmlite": "0.50.0", "numpy": "2.4.6"},
            "volatile": {"load": [1.2, 0.9, 0.8], "packages": {"rbloom": "1.5.2", "fastbloom-rs": "0.5.9"}},
        },
        "run": {
            "schema": 1, "run_id": "2026-11-24-a1b2c3d4",
            "command": ["python", "-m", "bench", "--family", "filters"],
            "tier": "quick" if slots == 1 else "default", "started": "2026-11-24T22:10:00Z",
            "ended": "2026-11-24T22:14:40Z", "partial": partial, "reason": "interrupted" if partial else "",
            "resume": "nox -s bench -- --resume reports/2026-11-24-a1b2c3d4" if partial else "",
            "seed": 20261124, "stamp": "9f8e7d6c", "slots": slots, "rounds": 30, **info,
        },
    }  # fmt: skip
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")


def _slots(slots: int, rng: random.Random) -> list[dict[str, object]]:
    return [
        {"slot": i, "family": "filters", "seconds": 40 + rng.random(), "load1": 1.4,
         "psi_cpu": 0.04 + 0.06 * i, "steal": 0.0, "nivcsw": 120 + i, "pythonhashseed": 1000 + i,
         "attempts": 1}
        for i in range(slots)
    ]  # fmt: skip


def _race(files: Files, task: Task, arms: tuple[Arm, ...], slots: int, rng: random.Random) -> None:
    if task.op == "first_call":
        files.summary.append(
            _row(task, Arm(task.workload, "ours", 1.0), True) | {"ns_item": 1.1e8, "ns_cold": 2.9e9}
        )
        return
    for arm in arms:
        row = _row(task, arm, arm is arms[0])
        row |= _status(arm, task) or _timing(arm, task, arms, slots, rng)
        files.summary.append(row)
        if row["status"] == "ok" and arm.role in {"ours", "peer", "exact"}:
            files.quality += _quality(task, arm, slots, rng)


def _row(task: Task, arm: Arm, anchor: bool) -> dict[str, object]:
    return {"task": task.id, "contestant": arm.name, "role": arm.role, "status": "ok", "note": "",
            "package": arm.name if arm.role == "peer" else "", "input": "ndarray", "anchor": anchor,
            "verdict": ""}  # fmt: skip


def _status(arm: Arm, task: Task) -> dict[str, object] | None:
    if arm.name == "pybloom-live" and task.n >= 20_000_000:
        return {"status": "NOT RUN", "note": "would take 41 s"}
    if arm.name == HOSTILE and task.op != "contains":
        return {"status": "WRONG", "note": "key 17: False, the oracle says True"}
    if arm.name == HOSTILE and task.n >= 2_000_000:
        return {"status": "TIMEOUT", "note": "no answer in 60 s"}
    if arm.name == "fastbloom-rs" and task.op == "build":
        return {"status": "CRASHED", "note": "signal 11"}
    if arm.name == NON_ASCII and task.op == "contains_one":
        return {"status": "NOT INSTALLED", "note": "pip install blüm"}
    if arm.name == "sorted search" and task.op == "add":
        return {"status": "ERROR", "note": "ValueError: not sorted"}
    return None


def _time(arm: Arm, task: Task) -> float:
    past = 1 / (1 + (MIB * 4 / max(1.0, task.n * arm.bits / 8)) ** 2)
    scale = {"build": 2.2, "add": 1.7, "contains_one": 1.0}.get(task.op, 1.0) * (
        5 if task.workload == "words" else 1
    )
    scalar = 105.0 if task.op == "contains_one" and arm.role in {"ours", "control"} else 0.0
    return (arm.ns + arm.miss * past) * scale + scalar


def _timing(arm: Arm, task: Task, arms: tuple[Arm, ...], slots: int, rng: random.Random) -> dict[str, object]:
    time, anchor = _time(arm, task), _time(arms[0], task)
    ratio = math.exp(math.log(anchor / time) + rng.gauss(0, 0.002))
    half = 0.004 + 0.006 * rng.random()
    lo, hi = (ratio * math.exp(-half), ratio * math.exp(half)) if slots > 1 else (math.nan, math.nan)
    spread = [math.exp(rng.gauss(0, half)) for _ in range(slots)]
    if arm is arms[0]:
        ratio = lo = hi = 1.0
    share = _time(arms[-1], task) / time
    return {
        "ns_item": time, "ns_q1": time * 0.99, "ns_q3": time * 1.02, "ns_cold": time * 1.8,
        "ratio": ratio, "lo": lo, "hi": hi, "mde": 2 * half + 0.01, "p_value": 0.01,
        "verdict": _call(lo, hi) if slots > 1 and arm is not arms[0] else "", "slots": slots,
        "rounds": (12 if ratio < 0.02 else 30) * slots, "instances": 3, "items": 100_000,
        "state_bytes": arm.nbytes or int(task.n * arm.bits / 8),
        "setup_ms": 12.0, "first_call_ms": 80.0, "error": arm.fpr, "limit": "random lines",
        "limit_share": share, "limit_lo": share * 0.98, "limit_hi": share * 1.02,
        "slot_ns": [time * s for s in spread],
        "slot_ratios": [] if arm is arms[0] else [ratio / s for s in spread],
    }  # fmt: skip


def _call(lo: float, hi: float) -> str:
    if lo > 1.01:
        return "faster"
    if hi < 0.99:
        return "slower"
    return "same" if lo > 0.98 and hi < 1.02 else "undecided"


def _quality(task: Task, arm: Arm, slots: int, rng: random.Random) -> list[dict[str, object]]:
    """Measure memory and errors in every slot, as the harness does."""
    metric, error = ("error", arm.error) if task.family == "sketches" else ("fpr", arm.fpr)
    found: list[dict[str, object]] = []
    for _ in range(slots):
        common = {"task": task.id, "contestant": arm.name, "lo": None, "hi": None, "ok": None}
        least = math.log2(1 / arm.fpr) if arm.fpr else None
        memory = ("bytes", float(arm.nbytes), None) if arm.nbytes else ("bits_per_key", arm.bits, least)
        found.append(common | dict(zip(("metric", "value", "theory"), memory, strict=True)))
        if error is not None:
            value = error * (1 + rng.gauss(0, 0.01)) * (1.3 if arm.name == "fastbloom-rs" else 1)
            lo, hi = error * 0.97, error * 1.03
            law = {"theory": error, "lo": lo, "hi": hi, "ok": lo <= value <= hi}
            found.append(common | {"metric": metric, "value": value} | law)
    return found


CHECKS = [
    *(Task("selfcheck", "again", "table", n, anchor="kernel") for n in (16 * KIB, MIB)),
    Task("selfcheck", "alone", "table", 4 * MIB, anchor="compute"),
    Task("selfcheck", "beside", "table", 4 * MIB, anchor="compute"),
]


@dataclass(frozen=True)
class Checked:
    """An invented self-check: how many arms were called in vain, and how many differences were missed."""

    called: int = 0
    missed: int = 0
    mde: float = 0.02
    beside: float = 1.05  # times as slow as alone
    cold: float = 2.5

    def enter(self, files: Files, slots: int) -> None:
        """Add the rows of the tasks of the self-check."""
        again = [f"again {i}" for i in range(1, 11)]
        more = [f"3 % more work {i}" for i in range(1, 4)]
        called, missed = self.called, self.missed
        for task in CHECKS[:2]:
            files.summary.append(_checked(task, "kernel", "ours", 1.0, "", slots, self.mde))
            for name in again:
                verdict, called = ("faster" if called > 0 else "same"), called - 1
                files.summary.append(_checked(task, name, "control", 1.001, verdict, slots, self.mde))
            for name in more:
                verdict, missed = ("undecided" if missed > 0 else "slower"), missed - 1
                files.summary.append(_checked(task, name, "ours", 0.97, verdict, slots, self.mde))
        for task, slower in zip(CHECKS[2:], (1.0, self.beside), strict=True):
            table = _checked(task, "table", "ours", 0.5 / slower, "slower", slots, self.mde)
            table["ns_cold"] = self.cold * float(str(table["ns_item"]))
            files.summary += [_checked(task, "compute", "ours", 1.0, "", slots, self.mde), table]
        files.summary += [
            _checked(CHECKS[3], f"evictor {i}", "limit", 0.001, "", slots, self.mde) for i in (1, 2, 3)
        ]


def _checked(
    task: Task, name: str, role: str, ratio: float, verdict: str, slots: int, mde: float
) -> dict[str, object]:
    anchor, half = name == task.anchor, (mde - 0.01) / 2
    by_slot = [ratio * math.exp(half * (i % 3 - 1)) for i in range(slots)]
    return _row(task, Arm(name, role, 1.0), anchor) | {
        "ns_item": 2 / ratio, "ratio": ratio, "lo": ratio * math.exp(-half), "hi": ratio * math.exp(half),
        "mde": mde, "verdict": verdict if slots > 1 else "", "slots": slots, "rounds": 30 * slots,
        "slot_ns": [2 / r for r in by_slot], "slot_ratios": [] if anchor else by_slot,
    }  # fmt: skip
