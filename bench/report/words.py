"""How tasks, operations and metrics are called in the report."""

from __future__ import annotations

from bench.report import fmt
from bench.report.load import Race

OPS = {
    "contains": "Lookup",
    "contains_one": "Lookup, one key a call",
    "contains_many": "Lookup",
    "add": "Insert",
    "add_many": "Insert",
    "add_one": "Insert, one key a call",
    "build": "Build",
    "remove": "Removal",
    "remove_many": "Removal",
    "first_call": "First call",
}
METRICS = {
    "fpr": "false-positive rate",
    "bits_per_key": "bits per key",
    "false_negatives": "false negatives",
}
VERDICTS = {
    "slower": "ours faster",
    "faster": "peer faster",
    "same": "same",
    "undecided": "undecided",
    "": "no verdict",
}
"""What the verdict on the best peer means for the anchor."""


def op(name: str) -> str:
    """Name an operation."""
    return OPS.get(name, name.replace("_", " ").capitalize())


def metric(name: str) -> str:
    """Name a metric."""
    return METRICS.get(name, name.replace("_", " "))


def figure(metric_name: str, value: float | None) -> str:
    """Write a metric's value: rates as percentages, the rest as numbers."""
    return fmt.percent(value) if metric_name in {"fpr", "recall"} else fmt.number(value)


def task(race: Race) -> str:
    """Tell a task from its siblings of the same operation: ``ids, 200k keys, 50 % hits``."""
    return ", ".join([race.title or race.workload, fmt.count(race.n), *(parameter(*p) for p in sorted(race.telling.items()))])


def full(race: Race) -> str:
    """Name a task on its own: ``Lookup: ids, 200k, 50 % hits``."""
    return f"{op(race.op)}: {task(race)}"


def group(race: Race) -> str:
    """Name a task and its siblings of other sizes: ``Lookup: ids, 50 % hits``."""
    return ", ".join([f"{op(race.op)}: {race.workload}", *(parameter(*p) for p in sorted(race.telling.items()))])


def parameter(key: str, value: object) -> str:
    """Write one parameter of a task."""
    if key == "hits":
        return f"{value} % hits"
    if key == "fpr" and isinstance(value, float):
        return f"FPR {fmt.trim(100 * value)} %"
    return f"{key} {value}"
