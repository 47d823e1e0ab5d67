"""Merge what the slots left behind into the files the report reads.

The same slot files give the same bytes. A contestant that did not come through a slot (wrong, crashed,
hung, raised) has no figures, whatever its other slots say; its row says why.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench import env, schema, stats
from bench.plan import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from bench.plan import Plan
    from bench.stats import Interval, Rounds

GRAVITY = ("WRONG", "CRASHED", "TIMEOUT", "ERROR", "ok", "NOT INSTALLED", "NOT RUN")
"""What a contestant's status is when its slots disagree: the first of these."""
NUMBERED = ("setup_ms", "first_call_ms", "error")


@dataclass
class Entry:
    """One contestant of one task over all slots."""

    task: str
    name: str
    known: dict[str, Any]
    told: list[dict[str, Any]] = field(default_factory=list)
    warm: dict[int, Rounds] = field(default_factory=dict)
    cold: list[float] = field(default_factory=list)
    dropped: int = 0

    @property
    def worst(self) -> dict[str, Any]:
        """What the slot said in which the contestant fared worst."""
        unstarted = {"status": "NOT RUN", "note": "the run ended before it"}
        return min(self.told, key=lambda row: GRAVITY.index(row["status"]), default=unstarted)

    @property
    def role(self) -> str:
        """The contestant's part in the race."""
        return str(self.known["role"])

    @property
    def ran(self) -> bool:
        """Whether there are figures to show."""
        return bool(self.worst["status"] == "ok")

    def add(self, sample: dict[str, Any], slot: int) -> None:
        """Take a sample in, or count it as unusable."""
        ns = sample["ns_item"]
        if not stats.usable(ns):
            self.dropped += 1
        elif sample["cold"]:
            self.cold.append(ns)
        else:
            self.warm.setdefault(slot, {})[sample["round"]] = ns


def merge(folder: Path, plan: Plan, ended: str, reason: str = "", resume: str = "") -> None:
    """Write every result file of a run, finished or (with a reason) partial."""
    work = folder / "work"
    plan, slots = _raced(plan, work)
    entries = _entries(plan, work, slots)
    _parquet(folder / "samples.parquet", schema.SAMPLES, _sample_rows(slots, entries))
    _parquet(folder / "summary.parquet", schema.SUMMARY, _summary_rows(plan, entries))
    _parquet(folder / "quality.parquet", schema.QUALITY, _quality_rows(slots))
    _parquet(folder / "slots.parquet", schema.SLOTS, _worker_rows(work))
    write_json(folder / "tasks.json", plan.tasks)
    write_json(folder / "catalog.json", _catalog(plan))
    write_json(folder / "env.json", _environment(plan, work, entries))
    write_json(
        folder / "run.json",
        _run(plan) | {"ended": ended, "partial": bool(reason), "reason": reason, "resume": resume},
    )


def widths(folder: Path, plan: Plan, slots: int) -> dict[str, float]:
    """Return each task's widest relative interval in its first slots, of those who run in every round."""
    work = folder / "work"
    raced, done = _raced(plan, work)
    entries = _entries(raced, work, [slot for slot in done if slot["slot"] < slots])
    widest: dict[str, float] = {}
    for task in plan.tasks:
        own = [e for e in entries if e.task == task["id"]]
        judged = [e for e in own if e.role not in schema.UNJUDGED]
        pairs = [stats.compare(base.warm, e.warm) for base in _anchor(task, own) for e in judged]
        full = max((pair.rounds for pair in pairs), default=0)
        usual = [pair.width for pair in pairs if pair.slots > 1 and 2 * pair.rounds > full]
        widest[task["id"]] = max(usual, default=0.0)
    return widest


def quarantine(work: Path) -> list[dict[str, str]]:
    """Return the contestants that took a worker down: ``task``, ``contestant``, ``status``, ``note``."""
    return _read(work / "quarantine.json") or []


def _read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def _slot_files(work: Path) -> list[dict[str, Any]]:
    paths = (work / "slots").glob("*/*.json")
    found = [json.loads(path.read_text("utf-8")) for path in paths if not path.name.startswith(".")]
    return sorted(found, key=lambda slot: (slot["task"], slot["slot"]))


def _raced(plan: Plan, work: Path) -> tuple[Plan, list[dict[str, Any]]]:
    """Return the plan without the tasks in which no chosen variant races, and the slots of the others."""
    slots = _slot_files(work)
    left_out = {slot["task"] for slot in slots if not slot["contestants"]}
    tasks = [task for task in plan.tasks if task["id"] not in left_out]
    return replace(plan, tasks=tasks), [slot for slot in slots if slot["task"] not in left_out]


def _entries(plan: Plan, work: Path, slots: list[dict[str, Any]]) -> list[Entry]:
    """Collect every contestant of every task from its slots, in the order of declaration."""
    found: dict[str, dict[str, Entry]] = {}
    anchors = {task["id"]: task["anchor"] for task in plan.tasks}
    for task, anchor in anchors.items():
        listed = _read(work / "entrants" / f"{task}.json") or [{"contestant": anchor, "role": "ours"}]
        found[task] = {row["contestant"]: Entry(task, row["contestant"], row) for row in listed}
    for slot in slots:
        own = found[slot["task"]]
        for row in slot["contestants"]:
            own[row["contestant"]].told.append(row)
        for sample in slot["samples"]:
            own[sample["contestant"]].add(sample, slot["slot"])
    for row in quarantine(work):
        found[row["task"]][row["contestant"] or anchors[row["task"]]].told.append(row)
    return [
        entry for own in found.values() for entry in sorted(own.values(), key=lambda e: _place(e, anchors))
    ]


def _place(entry: Entry, anchors: dict[str, str]) -> tuple[bool, int]:
    roles = ("ours", "control", "peer", "exact", "limit", "null")
    return entry.name != anchors[entry.task], roles.index(entry.role)


def _anchor(task: dict[str, Any], own: list[Entry]) -> list[Entry]:
    return [entry for entry in own if entry.name == task["anchor"] and entry.ran]


def _sample_rows(slots: list[dict[str, Any]], entries: list[Entry]) -> list[dict[str, Any]]:
    roles = {(entry.task, entry.name): entry.role for entry in entries}
    return [
        {
            "task": slot["task"],
            "slot": slot["slot"],
            "role": roles[slot["task"], sample["contestant"]],
            **sample,
        }
        for slot in slots
        for sample in slot["samples"]
    ]


def _summary_rows(plan: Plan, entries: list[Entry]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    judged: list[tuple[dict[str, Any], Interval]] = []
    for task in plan.tasks:
        own = [entry for entry in entries if entry.task == task["id"]]
        anchor = next(iter(_anchor(task, own)), None)
        limit = next((entry for entry in own if entry.role == "limit" and entry.ran), None)
        for entry in own:
            row = _facts(entry) | {"anchor": entry.name == task["anchor"]}
            rows.append(row)
            if not entry.ran:
                continue
            if limit is not None and entry.role == "ours":
                share = stats.compare(limit.warm, entry.warm)
                row |= {
                    "limit": limit.name,
                    "limit_share": share.ratio,
                    "limit_lo": share.lo,
                    "limit_hi": share.hi,
                }
            if entry is anchor:
                row |= {"ratio": 1.0, "lo": 1.0, "hi": 1.0}
            elif anchor is not None:
                pair = stats.compare(anchor.warm, entry.warm)
                row |= {
                    "ratio": pair.ratio,
                    "lo": pair.lo,
                    "hi": pair.hi,
                    "mde": pair.mde,
                    "p_value": pair.p_value,
                    "slot_ratios": pair.by_slot,
                }
                if entry.role not in schema.UNJUDGED:
                    judged.append((row, pair))
    _judge(judged)
    return rows


def _judge(judged: list[tuple[dict[str, Any], Interval]]) -> None:
    """Enter the verdicts, which depend on all tests of the run, and the alarm of a control that has one."""
    verdicts = stats.judge([pair for _, pair in judged])
    for (row, _), verdict in zip(judged, verdicts, strict=True):
        row["verdict"] = verdict
        if row["role"] == "control" and verdict in {"faster", "slower"}:
            row["note"] = f"{verdict} than itself: distrust close verdicts of this task"


def _facts(entry: Entry) -> dict[str, Any]:
    """Return what is known of a contestant without comparing it."""
    worst = entry.worst
    row: dict[str, Any] = {"task": entry.task, "contestant": entry.name, "limit": "", "verdict": ""}
    row |= {"role": entry.role, "status": worst["status"], "note": worst["note"]}
    row |= {key: entry.known.get(key, "") for key in ("package", "input")}
    row |= {key: stats.middle([told.get(key) for told in entry.told]) for key in NUMBERED}
    row["instances"] = max((told.get("instances", 0) for told in entry.told), default=0)
    for key in ("items", "state_bytes"):
        known = [told[key] for told in entry.told if told.get(key) is not None]
        row[key] = known[0] if known else None
    if not entry.ran:
        return row
    times = [ns for rounds in entry.warm.values() for ns in rounds.values()]
    q1, q3 = stats.quartiles(times)
    row |= {
        "ns_item": stats.typical(entry.warm),
        "ns_q1": q1,
        "ns_q3": q3,
        "ns_cold": stats.middle(entry.cold),
    }
    row |= {"slots": len(entry.warm), "rounds": len(times)}
    row["slot_ns"] = [stats.middle(rounds.values()) for _, rounds in sorted(entry.warm.items())]
    if entry.dropped:
        row["note"] = (
            f"{entry.dropped} of {entry.dropped + len(times) + len(entry.cold)} samples had no usable time"
        )
    return row


def _quality_rows(slots: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"task": slot["task"], "contestant": row["contestant"], **quality}
        for slot in slots
        for row in slot["contestants"]
        for quality in row.get("quality", ())
    ]


def _worker_rows(work: Path) -> list[dict[str, Any]]:
    """One row per slot and family: its attempts added up, shares weighted by time."""
    records = [json.loads(path.read_text("utf-8")) for path in sorted((work / "workers").glob("[!.]*.json"))]
    records.sort(key=lambda r: (r["slot"], r["family"], r["attempt"]))
    rows = []
    for (slot, family), group in groupby(records, key=lambda r: (r["slot"], r["family"])):
        tries = list(group)
        seconds = sum(r["seconds"] for r in tries)
        shares = {
            key: sum(r[key] * r["seconds"] for r in tries) / max(seconds, 1e-9)
            for key in ("psi_cpu", "steal")
        }
        last = {key: tries[-1][key] for key in ("load1", "pythonhashseed")}
        nivcsw = sum(r["nivcsw"] for r in tries)
        rows.append(
            {"slot": slot, "family": family, "seconds": seconds, "nivcsw": nivcsw, "attempts": len(tries)}
            | shares
            | last
        )
    return rows


def _catalog(plan: Plan) -> list[dict[str, Any]]:
    """Return the variants of the raced families; a family of the bench alone has none."""
    from algos import FAMILIES
    from algos.catalog import variants

    known = [variant for family in plan.families if family in FAMILIES for variant in variants(family)]
    return [
        variant._asdict() | {"family": variant.family, "properties": sorted(variant.properties)}
        for variant in known
    ]


def _environment(plan: Plan, work: Path, entries: list[Entry]) -> dict[str, Any]:
    packages = sorted({entry.known["package"] for entry in entries if entry.known.get("package")})
    volatile = dict(plan.env["volatile"])
    volatile["packages"] = volatile["packages"] | env.versions(packages)
    volatile["blas"] = _read(work / "blas.json") or []
    return plan.env | {"volatile": volatile}


def _run(plan: Plan) -> dict[str, Any]:
    return {
        "schema": schema.SCHEMA_VERSION,
        "run_id": plan.run_id,
        "command": plan.command,
        "tier": plan.tier,
        "budget": plan.budget,
        "variants": plan.variants,
        "families": plan.families,
        "peers": plan.peers,
        "seed": plan.seed,
        "slots": plan.effort.slots,
        "rounds": plan.effort.rounds,
        "stamp": plan.stamp,
        "fingerprint": plan.fingerprint,
        "started": plan.started,
    }


def _parquet(path: Path, form: pa.Schema, rows: list[dict[str, Any]]) -> None:
    partial = path.with_name(f".{path.name}")
    pq.write_table(pa.Table.from_pylist(rows, schema=form), partial, compression="zstd")
    partial.replace(path)
