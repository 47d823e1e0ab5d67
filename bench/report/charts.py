"""Which charts a family gets, and what is drawn in them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from markupsafe import Markup

from bench.report import facts, figures, fmt, tables, words

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.report.load import Race, Run

_T = TypeVar("_T")
_MOST = 6  # charts of one family; half of that in a run of very many tasks, to bound the page
_MANY = 400


@dataclass(frozen=True)
class Chart:
    """A drawn chart with its caption."""

    svg: Markup
    caption: str


def charts(run: Run, family: str) -> list[Chart]:
    """Draw a family's charts, the most telling first."""
    return [*_paretos(run, family), *_curves(run, family)][: _MOST if len(run.races) <= _MANY else _MOST // 2]


def _paretos(run: Run, family: str) -> list[Chart]:
    """One chart where the state is in the cache and one where it is not, each at the task with most figures."""
    levels = facts.caches(run.env)
    found: dict[str, list[tuple[Race, list[figures.Point]]]] = {}
    for race in run.family(family):
        if len(points := _points(race, run.qualities)) >= 3:
            found.setdefault(facts.residence(race, levels), []).append((race, points))
    places = [place for place in (*facts.PLACES, "") if place in found]
    ends = dict.fromkeys([*places[:1], *places[-1:]])
    return [_pareto(*_middle(found[place], lambda pair: (len(pair[1]), pair[0].n))) for place in ends]


def _middle(found: list[_T], key: Callable[[_T], Any]) -> _T:
    """The middle one of those that are best by ``key``, which are alike but for a parameter such as the hits."""
    most = max(map(key, found))
    alike = [item for item in found if key(item) == most]
    return alike[len(alike) // 2]


def _points(race: Race, table: dict[tuple[str, str, str], float]) -> list[figures.Point]:
    if race.op != "contains":
        return []
    found = []
    for row in race.rows:
        bits = table.get((race.id, row.contestant, "bits_per_key"))
        error = table.get((race.id, row.contestant, "fpr"))
        if row.role in {"ours", "peer"} and row.timed and bits and row.ns_item:
            note = fmt.percent(error, 2) if error is not None else ""
            found.append(figures.Point(row.contestant, row.role, bits, row.ns_item, note))
    return figures.frontier(found)


def _pareto(race: Race, points: list[figures.Point]) -> Chart:
    on = [p.name for p in points if p.on_frontier]
    title = f"Memory against time at {words.full(race)}. On the frontier: {', '.join(on)}."
    svg = figures.pareto(points, "bits per key", "ns per item", title)
    caption = (
        f"Memory against time: {words.full(race)}. Left and low is better; the number beside a name is its measured "
        "false-positive rate, so compare like with like. Filled: on the frontier, nothing is both smaller and faster. "
        "Exact baselines are too large for this frame."
    )
    return Chart(Markup(svg), caption)  # noqa: S704 - names are escaped where they are drawn


def _curves(run: Run, family: str) -> list[Chart]:
    levels = facts.caches(run.env)
    charts = []
    for races in _series(run.family(family)):
        name = words.group(races[0])
        svg = figures.curves(_lines(races), levels, "bytes of state", "ns per item", f"Time over size: {name}")
        charts.append(Chart(Markup(svg), f"Time over size: {name}. Dotted: this machine's caches."))  # noqa: S704
    return charts


def _series(races: tuple[Race, ...]) -> list[list[Race]]:
    """For every operation and workload, the longest series of at least three sizes that differ in nothing else."""
    groups: dict[tuple[str, str], dict[str, list[Race]]] = {}
    for race in sorted((race for race in races if race.finished), key=lambda race: race.n):
        same = groups.setdefault((race.op, race.workload), {})
        same.setdefault(json.dumps(race.params, sort_keys=True), []).append(race)
    longest = [_middle(list(same.values()), len) for same in groups.values()]
    return [series for series in longest if len({race.n for race in series}) >= 3 and _lines(series)]


def _lines(races: list[Race]) -> list[figures.Line]:
    points: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for race in races:
        for row in race.rows:
            if row.role in {*tables.RACED, "limit"} and row.timed and row.state_bytes and row.ns_item:
                points.setdefault((row.contestant, row.role), []).append((row.state_bytes, row.ns_item))
    return [figures.Line(name, role, tuple(found)) for (name, role), found in points.items() if len(found) > 1]


