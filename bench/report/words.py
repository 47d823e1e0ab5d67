"""How tasks, operations and metrics are called in the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.report import facts, fmt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.report.load import Race, Run

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

IDENTITY = ("run_id", "tier", "families", "seed", "slots", "rounds", "stamp", "fingerprint", "started", "ended")
"""What of ``run.json`` identifies a run, in the order of telling."""


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


def place(name: str, levels: dict[str, int]) -> str:
    """Say where a task's state lives, to go behind its name."""
    if name in levels:
        return f", state in {name} (up to {fmt.size(levels[name])})"
    return ", state past the caches" if name else ""


def parameter(key: str, value: object) -> str:
    """Write one parameter of a task."""
    if key == "hits":
        return f"{value} % hits"
    if key == "fpr" and isinstance(value, float):
        return f"FPR {fmt.trim(100 * value)} %"
    return f"{key} {value}"


def controls(arms: facts.Controls, undecided: float | None) -> str:
    """Say what the control arms say about the measurement."""
    parts = [
        "A control arm races a variant against itself, built separately at other addresses. The truth is 1, so a verdict of "
        "faster or slower is false."
    ]
    if arms.rows:
        parts.append(
            f"Of {fmt.plural(len(arms.rows), 'control arm')}, {arms.faster} called faster and {arms.slower} called slower; "
            f"{arms.cover} of {fmt.plural(arms.judged, 'interval')} contain 1, and 95 % are expected to."
        )
    else:
        parts.append("This run has none.")
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
