"""What contestants give and cost beside speed: memory, errors, and the laws these are held against.

What a metric is follows from its name, so that a family declares nothing but names: ``bits_per_key``,
``bytes`` and their like are memory, everything else is an error; of a recall, what is missing of it. The
theory of memory is the least that the measured errors allow.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from bench.report.facts import RACED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.report.load import Figure, Run

_MEMORY = {"bits", "bytes"}
_GAINS = {"recall", "precision"}


def is_memory(metric: str) -> bool:
    """Tell memory from errors."""
    return not _MEMORY.isdisjoint(metric.split("_"))


def is_gain(metric: str) -> bool:
    """Tell the shares of which more is better."""
    return metric in _GAINS


def cost(metric: str, value: float) -> float:
    """Turn a metric into what is to be kept low."""
    return 1 - value if is_gain(metric) else value


@dataclass(frozen=True)
class Measures:
    """The metrics of a family, the most measured first, and the two that its choices turn on."""

    metrics: tuple[str, ...]
    memory: str
    error: str


@lru_cache(maxsize=64)
def measures(run: Run, family: str) -> Measures:
    """Find what a family's contestants were measured by; the error is one that somebody makes."""
    times: Counter[str] = Counter()
    made: set[str] = set()
    for race in run.family(family):
        for values in run.qualities.get(race.id, {}).values():
            times.update(values.keys())
            made.update(name for name, value in values.items() if cost(name, value) > 0)
    metrics = tuple(sorted(times, key=lambda name: (not is_memory(name), -times[name], name)))
    memory = next((name for name in metrics if is_memory(name)), "")
    return Measures(metrics, memory, next((n for n in metrics if n in made and not is_memory(n)), ""))


@dataclass(frozen=True)
class Profile:
    """What one contestant was measured by, at one task."""

    contestant: str
    role: str
    values: Mapping[str, float]
    wasted: float | None  # share of its memory above the least


@lru_cache(maxsize=64)
def profiles(run: Run, family: str) -> tuple[Profile, ...]:
    """Take each contestant's figures at the family's most populous task that has them, least memory first."""
    measured = measures(run, family)
    races = [race for race in run.family(family) if race.id in run.qualities]
    found: dict[str, Profile] = {}
    for race in sorted(races, key=lambda race: (-len(run.qualities[race.id]), -race.n, race.id)):
        for row in race.rows:
            values = run.qualities[race.id].get(row.contestant)
            if values is None or row.role not in RACED or row.contestant in found:
                continue
            if row.role == "exact" and measured.error:
                values = {measured.error: float(is_gain(measured.error))} | values
            law = run.laws.get(race.id, {}).get(row.contestant, {}).get(measured.memory)
            wasted = values[measured.memory] / law - 1 if law and measured.memory in values else None
            found[row.contestant] = Profile(row.contestant, row.role, values, wasted)
    first = measured.memory or measured.error
    return tuple(sorted(found.values(), key=lambda p: (p.values.get(first, math.inf), p.contestant)))


@dataclass(frozen=True)
class Check:
    """All checks of one metric of one contestant, and the one that is furthest from its law."""

    contestant: str
    metric: str
    measured: int
    held: int  # those with a law to be held against
    ok: int
    worst: Figure


def checks(run: Run, family: str) -> list[Check]:
    """Group a family's figures that have a law by contestant and metric."""
    groups: dict[tuple[str, str], list[Figure]] = {}
    for figure in run.checked.get(family, ()):
        groups.setdefault((figure.metric, figure.contestant), []).append(figure)
    return [
        Check(
            contestant=contestant,
            metric=metric,
            measured=len(found),
            held=sum(f.ok is not None for f in found),
            ok=sum(f.ok is True for f in found),
            worst=min(found, key=lambda f: (f.ok is not False, -_distance(f), f.task)),
        )
        for (metric, contestant), found in sorted(groups.items())
    ]


def _distance(figure: Figure) -> float:
    """How far a figure is from its law, in half widths of its interval where it has one."""
    if figure.value is None or figure.theory is None:
        return 0.0
    half = ((figure.hi or 0.0) - (figure.lo or 0.0)) / 2 or abs(figure.theory) or 1.0
    return abs(figure.value - figure.theory) / half
