"""How tasks, operations and metrics are called in the report."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bench.report import facts, fmt, quality

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.report.load import Race, Run

OPS = {
    "contains": "Lookup",
    "contains_one": "Lookup, one key a call",
    "add": "Insert",
    "build": "Build",
    "build_hashes": "Build from hashes",
    "merge": "Merge",
    "serialise": "Save and load",
    "remove": "Removal",
    "first_call": "First call",
    "take": "Mint a batch",
    "next": "Mint, one id a call",
    "allow_many": "Decide on a batch",
    "allow": "Decide, one request a call",
    "read": "Read",
    "name": "Name",
    "sample": "Sample",
    "sample_weighted": "Sample by weight",
    "offer": "Sample, one item a call",
    "offer_weighted": "Sample by weight, one item a call",
    "keep_many": "Decide on a batch of traces",
    "keep": "Decide, one trace a call",
    "signatures": "Make signatures",
    "simhash": "Make SimHash signatures",
    "jaccard": "Compare pairs of signatures",
    "index": "Build an LSH index",
    "candidates": "Ask an LSH index",
    "near_duplicates": "From documents to candidates",
    "count": "Count a batch afresh",
    "add_one": "Insert, one key a call",
    "groups": "Count in groups",
    "estimate": "Estimate",
    "estimate_one": "Estimate, one key a call",
    "top": "Name what came most",
    "touch": "Count hits of slots",
    "touch_one": "Count hits of slots, one a call",
}
INPUTS = {"favourite": "", "numpy": "from a NumPy array", "arrow": "from Arrow", "list": "from a list"}
SPREADS = {"zipf": "by Zipf's law", "once": "each key once"}
_LOADS, _ALIKE = ("0.5", "0.9", "1", "1.1", "2"), ("0.1", "0.5", "0.9")
METRICS = {
    "fpr": "false-positive rate",
    "bytes": "memory",
    "serialised_bytes": "stored",
    "relative_error": "relative error",
    "variance_times_memory": "bits times relative variance",
    "counter_error": "relative error of a counter",
    "unbounded_rate": "estimates off by more than the bound",
    "named_error": "relative error of the counts named",
    "leaf_miss_rate": "insertions that miss a B-tree's leaf (simulated)",
    "leaf_slack_rate": "B-tree's leaves left empty (simulated)",
    "unpredictable_bits": "bits of an id that the one before does not tell",
    "disorder_rate": "not above the id before, by a clock that steps (simulated)",
    "duplicate_rate": "minted twice, by a clock that steps (simulated)",
    "inclusion_chi_square": "chi-square of equal chances, a degree of freedom",
    "subset_sum_error": "error of the weight of half of all items, from 100",
    "candidates_per_true_pair": "candidates for each document alike",
    **{f"jaccard_{j}_error": f"error of a Jaccard similarity of {j}" for j in _ALIKE},
    **{f"hamming_{j}_error": f"error of the share of bits at a similarity of {j}" for j in _ALIKE},
    **{f"over_admission_{load}_rate": f"wrongly allowed at load {load} (simulated)" for load in _LOADS},
    **{f"denial_{load}_rate": f"wrongly denied at load {load} (simulated)" for load in _LOADS},
}
SHORT = {"fpr": "FPR"}
SHARES = {"fpr", "rate", "error", "recall", "precision"}
"""Metrics whose names end in one of these are written as percentages."""

VERDICTS = {
    "slower": "ours faster",
    "faster": "peer faster",
    "same": "same",
    "undecided": "undecided",
    "": "no verdict",
}
"""What the verdict on the best peer means for the anchor."""

CONTROL = (
    "A control arm races a variant against itself, built separately at other addresses. "
    "The truth is 1, so a verdict of faster or slower is false."
)
VISIBLE = (
    "Visible is the least difference that a measurement would have called: its interval's width and 1 %."
)
MINIMUM = "Above the minimum: memory beyond the least that theory allows for the measured errors."


def op(name: str) -> str:
    """Name an operation."""
    return OPS.get(name, name.replace("_", " ").capitalize())


def metric(name: str) -> str:
    """Name a metric."""
    return METRICS.get(name, name.replace("_", " "))


def cost(name: str) -> str:
    """Name a metric as what is to be kept low."""
    return f"1 - {metric(name)}" if quality.is_gain(name) else metric(name)


def short(name: str) -> str:
    """Name a metric to go behind its value: ``bits/key``."""
    return SHORT.get(name, name.replace("_per_", "/").replace("_", " "))


def figure(metric_name: str, value: float | None, digits: int = 3) -> str:
    """Write a metric's value: shares as percentages, bytes with their unit, the rest as numbers."""
    if metric_name.endswith("bytes"):
        return fmt.size(value)
    return fmt.percent(value, digits) if _is_share(metric_name) else fmt.number(value)


def bound(metric_name: str, value: float) -> str:
    """Write a round value of a metric without the zeros that would claim precision: ``1 %``."""
    return f"{fmt.trim(100 * value)} %" if _is_share(metric_name) else fmt.trim(value)


def _is_share(metric_name: str) -> bool:
    return metric_name.rsplit("_", 1)[-1] in SHARES


def amount(metric_name: str, value: float) -> str:
    """Write a metric's value with its name: ``10.5 bits/key, 0.99 % FPR, 12 KiB``."""
    text = figure(metric_name, value, 2)
    return text if metric_name == "bytes" else f"{text} {short(metric_name)}"


def task(race: Race) -> str:
    """Tell a task from its siblings of the same operation: ``ids, 200k keys, 50 % hits``."""
    return ", ".join([race.title or race.workload, fmt.count(race.n), *parameters(race.telling)])


def full(race: Race) -> str:
    """Name a task on its own: ``Lookup: ids, 200k, 50 % hits``."""
    return f"{op(race.op)}: {task(race)}"


def group(race: Race) -> str:
    """Name a task and its siblings of other sizes: ``Lookup: ids, 50 % hits``."""
    return ", ".join([f"{op(race.op)}: {race.workload}", *parameters(race.telling)])


def place(name: str, levels: dict[str, int]) -> str:
    """Say where a task's state lives, to go behind its name."""
    if name in levels:
        return f", state in {name} (up to {fmt.size(levels[name])})"
    return ", state past the caches" if name else ""


def parameters(values: dict[str, Any]) -> list[str]:
    """Write the parameters of a task that are worth a word."""
    return [text for key, value in sorted(values.items()) if (text := _parameter(key, value))]


def _parameter(key: str, value: object) -> str:
    if key == "hits":
        return f"{value} % hits"
    if key == "spread":
        return SPREADS.get(str(value), str(value))
    if key == "copies":
        return f"each key {value} times" if value != 1 else ""
    if key == "input":
        return INPUTS.get(str(value), f"from {value}")
    if isinstance(value, float):
        return f"{short(key)} {bound(key, value)}"
    return f"{key.replace('_', ' ')} {value}"


def candidate(c: facts.Named) -> str:
    """Name a contestant, and what it is if it is not this library's."""
    return c.contestant if c.role == "ours" else f"{c.contestant} ({c.role})"


def headline(v: facts.Judgement) -> str:
    """Claim as much for a family or an operation as its interval supports."""
    factor = f"{fmt.ratio(v.overall.value if v.overall else None)}\N{MULTIPLICATION SIGN}"
    if v.told is None:
        return f"{factor} as fast as the best peer, in one process: no verdict"
    return f"{factor} as fast as the best peer" if v.told else f"not told apart from the best peer, {factor}"


def controls(arms: facts.Controls, undecided: float | None) -> str:
    """Say what the control arms say about the measurement."""
    if not arms.rows:
        return f"{CONTROL} This run has none."
    raced = fmt.plural(len(arms.rows), "control arm")
    parts = [CONTROL, f"Of {raced}, {arms.faster} called faster and {arms.slower} slower."]
    if arms.judged:
        intervals = fmt.plural(arms.judged, "interval")
        parts.append(f"{arms.cover} of {intervals} contain 1, and 95 % are expected to.")
    if undecided is not None:
        parts.append(f"Of the verdicts on other contestants, {fmt.percent(undecided, 2)} stayed undecided.")
    return " ".join(parts)


def machine(run: Run) -> str:
    """Describe the machine in one line."""
    env, packages = run.env, run.env.get("packages") or {}
    parts = [
        str(env.get("cpu") or "unknown CPU"),
        fmt.plural(int(env["cores"]), "core") if env.get("cores") else "",
        ", ".join(f"{level} {fmt.size(size)}" for level, size in facts.caches(env).items()),
        str(env.get("python") or ""),
        *(f"{name} {packages[name]}" for name in ("numba", "numpy") if packages.get(name)),
    ]
    return " \N{MIDDLE DOT} ".join(part for part in parts if part)


def moment(text: str) -> str:
    """Write an ISO 8601 time to the minute, in UTC: ``2026-11-24 22:10 UTC``."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC" if text else ""


def identity(run: Run) -> list[tuple[str, str]]:
    """Say which run this was, in lines of name and text."""
    info = run.info
    lines = {
        "run": run.id,
        "started": moment(info.started),
        "ended": moment(info.ended),
        "tier": info.tier,
        "slots": _slots(run),
        "rounds": info.rounds,
        "seed": info.seed,
        "code": info.stamp,
        "machine": info.fingerprint,
    }
    return [(name, str(value)) for name, value in lines.items() if value not in {None, ""}]


def _slots(run: Run) -> str:
    """Say how many processes a task had: as many as planned, or up to as many as there were time for."""
    most = max((line.slot + 1 for line in run.slots), default=0)
    return f"{run.info.slots} to {most}" if most > (run.info.slots or most) else str(run.info.slots or most)


def flatten(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Turn the environment into lines of name and text: the stable facts, then those of the moment."""
    for key in sorted(values, key=lambda key: (key == "volatile", key)):
        if key == "volatile":
            yield from flatten(values[key])
        else:
            yield key.replace("_", " "), _text(values[key])


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(value[key])}" for key in sorted(value))
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    return fmt.NONE if value is None else str(value)
