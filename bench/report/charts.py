"""Which charts a family gets, and what is drawn in them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from bench.report import facts, figures, fmt, words

if TYPE_CHECKING:
    from bench.report.load import Race, Run

LEAST = 3  # points of a chart
_MOST = 6  # charts of one family; half of that in a run of very many tasks, to bound the page
_MANY = 400


@dataclass(frozen=True)
class Chart:
    """A drawn chart with its caption."""

    svg: Markup
    caption: str


def draw(run: Run, family: str) -> list[Chart]:
    """Draw a family's charts, the most telling first."""
    return [*_paretos(run, family), *_curves(run, family)][: _MOST if len(run.races) <= _MANY else _MOST // 2]


def _paretos(run: Run, family: str) -> list[Chart]:
    """Draw one chart with the state in the cache and one with it past that, both of the longest series."""
    series = [races for races in groups(run.family(family)) if len(points(run, races[-1])) >= LEAST]
    levels = facts.caches(run.env)
    found = {facts.residence(race, levels): race for race in max(series, key=len, default=[])}
    places = [place for place in (*facts.PLACES, "") if place in found]
    return [
        _pareto(found[place], points(run, found[place]))
        for place in dict.fromkeys([*places[:1], *places[-1:]])
    ]


def points(run: Run, race: Race) -> list[figures.Point]:
    """Gather every contestant's memory and time, where both are known."""
    found = []
    for row in race.rows:
        quality = run.qualities.get(race.id, {}).get(row.contestant, {})
        if row.role in {"ours", "peer"} and row.timed and row.ns_item and quality.get("bits_per_key"):
            note = fmt.percent(quality.get("fpr"), 2) if "fpr" in quality else ""
            found.append(figures.Point(row.contestant, row.role, quality["bits_per_key"], row.ns_item, note))
    return figures.frontier(found)


def _pareto(race: Race, found: list[figures.Point]) -> Chart:
    on = [p.name for p in found if p.on_frontier]
    title = f"Memory against time at {words.full(race)}. On the frontier: {', '.join(on)}."
    svg = figures.pareto(found, "bits per key", "ns per item", title)
    caption = (
        f"Memory against time: {words.full(race)}. Left and low is better. The number beside a name is "
        "its measured false-positive rate: compare like with like. Circles: this library; squares: peers; "
        "filled: on the frontier, where nothing is both smaller and faster. "
        "Exact baselines are too large for this frame."
    )
    return Chart(Markup(svg), caption)  # noqa: S704 - names are escaped where they are drawn


def _curves(run: Run, family: str) -> list[Chart]:
    found = []
    for races in groups(run.family(family)):
        if len(races) >= LEAST:
            name = words.group(races[0])
            sized = any(row.state_bytes for row in races[0].rows if row.role == "ours")
            levels, label = (facts.caches(run.env), "bytes of state") if sized else ({}, "items")
            svg = figures.curves(
                lines(races, sized=sized), levels, label, "ns per item", f"Time over size: {name}"
            )
            caption = f"Time over size: {name}. Bold: this library; dashed: exact; dotted: the yardsticks"
            caption += " and, upright, this machine's caches." if sized else "."
            found.append(Chart(Markup(svg), caption))  # noqa: S704 - names are escaped where they are drawn
    return found


def groups(races: tuple[Race, ...]) -> list[list[Race]]:
    """Find, for every operation and workload, the longest series of races that differ in size alone."""
    found: dict[tuple[str, str], dict[str, list[Race]]] = {}
    for race in sorted((race for race in races if race.finished), key=lambda race: race.n):
        alike = found.setdefault((race.op, race.workload), {})
        alike.setdefault(json.dumps(race.params, sort_keys=True), []).append(race)
    return [max(alike.values(), key=len) for alike in found.values()]


def lines(races: list[Race], *, sized: bool) -> list[figures.Line]:
    """Gather every contestant's times; a yardstick works on the anchor's state."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for race in races:
        for row in race.rows:
            state = race.anchor if row.role == "limit" else row
            x = state.state_bytes if sized and state else race.n
            if row.role in {*facts.RACED, "limit"} and row.timed and row.ns_item and x:
                found.setdefault((row.contestant, row.role), []).append((x, row.ns_item))
    return [figures.Line(name, role, tuple(at)) for (name, role), at in found.items() if len(at) > 1]
