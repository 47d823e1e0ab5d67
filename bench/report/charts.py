"""Which charts a family gets, and what is drawn in them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache, partial
from statistics import linear_regression
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from bench.report import facts, figures, fmt, membership, quality, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.report.load import Race, Row, Run

LEAST = 3  # points of a chart
MANY = 400
"""A run of more tasks than this shows less of each, to bound the page."""
_ALIKE = 1.02  # memory that differs by no more is the same
_MOST = 4  # curves of one family, unless it has more operations

_NS = figures.Axis("ns per item")


class Growth(NamedTuple):
    """One contestant's times over size, and the power of n with which they grow."""

    contestant: str
    role: str
    times: tuple[float | None, ...]
    powers: tuple[float | None, ...]


@dataclass(frozen=True)
class Series:
    """The figures of a chart over size: the sizes, the ranges of which powers are taken, and the rows."""

    name: str
    sizes: tuple[int, ...]
    ranges: tuple[str, ...]
    rows: tuple[Growth, ...]


class Data(NamedTuple):
    """What is drawn in a chart: points or lines, on two axes, with the sizes of caches."""

    title: str
    across: figures.Axis
    up: figures.Axis
    points: tuple[figures.Point, ...] = ()
    lines: tuple[figures.Line, ...] = ()
    levels: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Chart:
    """A drawn chart with its caption and, of one over size, its figures."""

    kind: str
    svg: Markup
    caption: str
    data: Data
    series: Series | None = None


@lru_cache(maxsize=64)
def draw(run: Run, family: str) -> tuple[Chart, ...]:
    """Draw a family's charts, the most telling first; of a run of many tasks, only one of each kind."""
    paretos, curves = _paretos(run, family), _curves(run, family)
    if len(run.races) > MANY:
        return (*paretos[-1:], *curves)
    return (*paretos, *_accuracy(run, family), *_mistakes(run, family), *curves)


# Costs against each other


def _paretos(run: Run, family: str) -> list[Chart]:
    """Draw time against memory, with the state in the cache and past it; or against errors.

    That is where no memory is measured, or where all have the same.
    """
    measures = quality.measures(run, family)
    across, note = (measures.memory, measures.error) if measures.memory else (measures.error, "")
    if not across:
        return []
    levels = facts.caches(run.env)
    crowded = [
        [race for race in races if len(_times(run, race, across, note)) >= LEAST]
        for races in groups(run.family(family))
    ]
    found = {facts.residence(race, levels): race for race in max(crowded, key=len, default=[])}
    places = [place for place in (*facts.PLACES, "") if place in found]
    drawn = []
    for race in (found[place] for place in dict.fromkeys([*places[:1], *places[-1:]])):
        points, erring = _times(run, race, across, note), _times(run, race, note, across) if note else []
        if _alike(points) and len(erring) >= LEAST:
            drawn.append(_pareto(erring, note, across, race))
        else:
            drawn.append(_pareto(points, across, note, race))
    return drawn


def _alike(points: list[figures.Point]) -> bool:
    """Tell whether all points have the same memory, so that it is nothing to choose by."""
    return max(point.x for point in points) < _ALIKE * min(point.x for point in points)


def _times(run: Run, race: Race, across: str, note: str) -> list[figures.Point]:
    """Gather every contestant's time and one metric, and what stands beside its name."""
    found = []
    for row in race.rows:
        values = run.qualities.get(race.id, {}).get(row.contestant, {})
        x = quality.cost(across, values[across]) if across in values else 0.0
        if row.role in {"ours", "peer"} and row.timed and row.ns_item and x > 0:
            noted = words.figure(note, values[note], 2) if note in values else ""
            found.append(figures.Point(row.contestant, row.role, x, row.ns_item, noted))
    return figures.frontier(found)


def _pareto(points: list[figures.Point], across: str, note: str, race: Race) -> Chart:
    title = f"Time against {words.cost(across)}, {words.full(race)}"
    data = Data(title, _axis(across), _NS, tuple(points))
    svg = figures.pareto(points, data.across, _NS, title, _told(points, data.across, _NS))
    beside = f" The number beside a name is its {words.metric(note)}: compare like with like." if note else ""
    caption = f"{title}. {_KEY}{beside} Exact baselines are out of this frame."
    return Chart("pareto", _safe(svg), caption, data)


def _accuracy(run: Run, family: str) -> Iterator[Chart]:
    """Draw errors against memory, of a family that is measured by both; over sizes if there are several."""
    measures = quality.measures(run, family)
    if not (measures.memory and measures.error):
        return
    if (sized := _over_memory(run, family))[1]:
        yield _sizes(run, *sized, measures)
        return
    points = figures.frontier(
        [
            figures.Point(p.contestant, p.role, p.values[measures.memory], error)
            for p in quality.profiles(run, family)
            if p.role != "exact"
            and {measures.memory, measures.error} <= p.values.keys()
            and (error := quality.cost(measures.error, p.values[measures.error])) > 0
        ]
    )
    if len(points) >= LEAST and not _alike(points):
        across, up = _axis(measures.memory), _axis(measures.error)
        title = f"{words.cost(measures.error).capitalize()} against {words.cost(measures.memory)}"
        svg = figures.pareto(points, across, up, title, _told(points, across, up))
        yield Chart("accuracy", _safe(svg), f"{title}. {_KEY}", Data(title, across, up, tuple(points)))


def _over_memory(run: Run, family: str) -> tuple[list[Race], list[figures.Line]]:
    """Find the longest series of races in which most contestants have another memory every time."""
    measures = quality.measures(run, family)
    for races in sorted(groups(run.family(family)), key=len, reverse=True):
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for raced, row in ((race, row) for race in races for row in race.rows):
            values = run.qualities.get(raced.id, {}).get(row.contestant, {})
            if row.role in {"ours", "peer"} and {measures.memory, measures.error} <= values.keys():
                error = quality.cost(measures.error, values[measures.error])
                found.setdefault((row.contestant, row.role), []).append((values[measures.memory], error))
        lines = [
            figures.Line(name, role, tuple(point for point in points if point[1] > 0))
            for (name, role), points in found.items()
            if len({memory for memory, _ in points}) >= LEAST
        ]
        if 2 * len(lines) > len(found):
            return races, [line for line in lines if len(line.points) > 1]
    return [], []


def _sizes(run: Run, races: list[Race], lines: list[figures.Line], measures: quality.Measures) -> Chart:
    across, up, levels = _axis(measures.memory), _axis(measures.error), facts.caches(run.env)
    name = f"{words.cost(measures.error).capitalize()} over {words.cost(measures.memory)}"
    title = f"{name}, {words.group(races[0])}"
    told = f"{up.label} of every contestant at {len(races)} sizes."
    svg = figures.curves(lines, across, up, levels, title, told)
    caption = f"{title}. Low is better. Thick and filled: this library; upright: this machine's caches."
    return Chart("accuracy", _safe(svg), caption, Data(title, across, up, lines=tuple(lines)))


_KEY = (
    "Left and low is better. Circles: this library; squares: peers; filled: on the frontier, where "
    "nothing is better in both."
)


def _axis(metric: str) -> figures.Axis:
    text = partial(words.bound, metric) if not metric.endswith("bytes") else fmt.size
    return figures.Axis(words.cost(metric), text, binary=metric.endswith("bytes"))


def _told(points: list[figures.Point], across: figures.Axis, up: figures.Axis) -> str:
    """Say what a chart shows, for who cannot see it."""
    on = ", ".join(p.name for p in points if p.on_frontier)
    values = "; ".join(f"{p.name}: {across.text(p.x)}, {up.text(p.y)}" for p in points)
    return f"{across.label} and {up.label}: {values}. On the frontier: {on}."


def _mistakes(run: Run, family: str) -> Iterator[Chart]:
    """Draw what a lookup takes over the cost of a false positive, for the filters that are best at some."""
    across = figures.Axis("cost of a false positive", fmt.round_ns)
    up = figures.Axis("ns per missing key, false positives included")
    for race, lines in membership.cost_curves(run) if family == membership.FAMILY else ():
        title = f"Which filter for which cost of a false positive, {race.workload}, {fmt.count(race.n)} keys"
        told = (
            f"The best from left to right: {', '.join(line.name for line in lines if line.role != 'exact')}."
        )
        svg = figures.curves(lines, across, up, {}, title, told)
        caption = (
            f"{title}. Every filter that is best somewhere, in the configuration in which it is; dashed: the "
            "fastest structure that never errs, and holds the keys themselves."
        )
        yield Chart("cost", _safe(svg), caption, Data(title, across, up, lines=lines))


# Time over size


def _curves(run: Run, family: str) -> list[Chart]:
    """Draw time over size: of every operation its longest series, then of its other workloads."""
    long = [races for races in groups(run.family(family)) if len(races) >= LEAST]
    first: dict[str, list[Race]] = {}
    for races in long:
        first[races[0].op] = max(first.get(races[0].op, []), races, key=len)
    others = [races for races in long if races is not first[races[0].op]]
    room = max(0, _MOST - len(first)) if len(run.races) <= MANY else 0
    return [_curve(run, races) for races in (*first.values(), *others[:room])]


def _curve(run: Run, races: list[Race]) -> Chart:
    name = words.group(races[0])
    sized = len({race.anchor.state_bytes for race in races if race.anchor} - {None}) > 1
    levels = facts.caches(run.env) if sized else {}
    axis = (
        figures.Axis("bytes of state", fmt.size, binary=True) if sized else figures.Axis("items", fmt.count)
    )
    title = f"Time over size, {name}"
    told = f"ns per item of every contestant at {', '.join(fmt.count(race.n) for race in races)} items."
    data = Data(title, axis, _NS, lines=tuple(_lines(races, sized=sized)), levels=tuple(levels.items()))
    svg = figures.curves(data.lines, axis, _NS, levels, title, told)
    caption = f"{title}. Thick and filled: this library; dashed: exact; dotted: the yardsticks"
    caption += " and, upright, this machine's caches." if sized else "."
    table = series(name, races, levels.get("L2"), sized=sized)
    return Chart("size", _safe(svg), caption, data, table)


def groups(races: tuple[Race, ...]) -> list[list[Race]]:
    """Find, for every operation and workload, the longest series of races that differ in size alone."""
    found: dict[tuple[str, str], dict[str, list[Race]]] = {}
    for race in sorted((race for race in races if race.finished), key=lambda race: race.n):
        alike = found.setdefault((race.op, race.workload), {})
        alike.setdefault(json.dumps(race.params, sort_keys=True), []).append(race)
    return [max(alike.values(), key=len) for alike in found.values()]


def _state(race: Race, row: Row) -> int | None:
    """Return the bytes a contestant works on; a yardstick works on the anchor's."""
    found = race.anchor if row.role == "limit" else row
    return found.state_bytes if found else None


def _drawn(races: list[Race]) -> dict[tuple[str, str], list[tuple[Race, Row]]]:
    """Gather the rows of a series by contestant."""
    found: dict[tuple[str, str], list[tuple[Race, Row]]] = {}
    for race in races:
        for row in race.rows:
            if row.role in {*facts.RACED, "limit"} and row.timed:
                found.setdefault((row.contestant, row.role), []).append((race, row))
    return found


def _lines(races: list[Race], *, sized: bool) -> list[figures.Line]:
    found = []
    for (name, role), rows in _drawn(races).items():
        at = [((_state(race, row) if sized else race.n) or 0, row.ns_item or 0.0) for race, row in rows]
        known = tuple((x, y) for x, y in at if x)
        if len(known) > 1:
            found.append(figures.Line(name, role, known))
    return found


def series(name: str, races: list[Race], cache: int | None, *, sized: bool) -> Series:
    """Tabulate a chart's figures, with a power of n on each side of the cache: one over both is neither."""
    split = sized and cache is not None
    rows = []
    for (contestant, role), timed in _drawn(races).items():
        times = {race.n: row.ns_item for race, row in timed}
        sides: dict[bool, list[tuple[Race, Row]]] = {False: [], True: []}
        for race, row in timed:
            if split and (state := _state(race, row)):
                sides[state > (cache or 0)].append((race, row))
        powers = tuple(map(_power, sides.values())) if split else (_power(timed),)
        rows.append(Growth(contestant, role, tuple(times.get(race.n) for race in races), powers))
    ranges = (f"up to L2 ({fmt.size(cache)})", "past L2") if split else ("all sizes",)
    return Series(name, tuple(race.n for race in races), ranges, tuple(rows))


def _power(timed: list[tuple[Race, Row]]) -> float | None:
    """Fit the exponent of n by least squares over logarithms."""
    if len(timed) < LEAST - 1:
        return None
    sizes = [math.log(race.n) for race, _ in timed]
    return linear_regression(sizes, [math.log(row.ns_item or math.nan) for _, row in timed]).slope


def _safe(svg: str) -> Markup:
    return Markup(svg)  # noqa: S704 - names are escaped where they are drawn
