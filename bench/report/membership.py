"""How filters are chosen: the customary table, one rate, one amount of memory, and the cost of a mistake.

A *configuration* is a filter as it was planned: for the rate that everyone keeps, for another rate, or for so
many bits per key. All of them are taken from the batch lookups of one workload at one size. Its rate is that
of its own law where the run held it to one, and else the one that was counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from bench.peers.filters import FPR
from bench.report import facts, fmt, tables, words
from bench.report.figures import Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.report.load import Race, Row, Run

FAMILY = "filters"
COSTS = (10.0, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7)
"""Nanoseconds that a false positive may cost in the table of costs."""
SPACES = (10.0, 14.0)
"""Bits per key within which the table of costs chooses beside choosing freely."""
_RATE, _SPACE = "fpr", "bits_per_key"
_WHOLE = 1.001  # what is planned for so many bits has whole blocks of them
_LEAST_SHARES = 3  # of hits, in the customary table
_STEPS = 3  # points of a curve for every power of ten


class Sheet(NamedTuple):
    """A table ready to print; the columns of ``right`` hold numbers."""

    key: str
    title: str
    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    right: tuple[int, ...]


@dataclass(frozen=True)
class Config:
    """A filter as planned: what a lookup takes, how often it errs, what a key costs in memory."""

    name: str
    role: str
    plan: str  # what it was planned for, if that is not everyone's rate
    ns: float
    rate: float
    bits: float

    @property
    def label(self) -> str:
        """Name it with its plan."""
        return f"{self.name} ({self.plan})" if self.plan else self.name

    @property
    def wasted(self) -> float | None:
        """Return the share of its memory above the least that its rate allows."""
        return self.bits / math.log2(1 / self.rate) - 1 if 0 < self.rate < 1 else None

    def cost(self, mistake: float) -> float:
        """Return what asking for a missing key takes, if a false positive costs ``mistake`` more."""
        return self.ns + self.rate * mistake


@lru_cache(maxsize=16)
def sheets(run: Run) -> tuple[Sheet, ...]:
    """Make the tables that this run has the figures for."""
    found = [_customary(run)]
    if swept := max(_fields(run), key=len, default=[]):
        found += [_rates(run, swept), _spaces(run, swept)]
    found += [_costs(run, races) for races in _fields(run)]
    return tuple(sheet for sheet in found if sheet and sheet.rows)


def cost_curves(run: Run) -> list[tuple[Race, tuple[Line, ...]]]:
    """Return, for every size that was swept, who is best at some cost, and the best exact baseline."""
    drawn = []
    for races in _fields(run):
        configs = _configs(run, races)
        fair = [config for config in configs if config.rate]
        low, high = math.log10(COSTS[0]) - 1, math.log10(COSTS[-1])
        costs = [10 ** (low + i / _STEPS) for i in range(round((high - low) * _STEPS) + 1)]
        best = list(dict.fromkeys(_best(fair, x) for x in costs)) if fair else []
        exact = min((c for c in configs if not c.rate), key=lambda c: c.ns, default=None)
        shown = [*best, *([exact] if exact else [])]
        lines = (Line(c.label, c.role, tuple((x, c.cost(x)) for x in costs)) for c in shown)
        drawn.append((races[0], tuple(lines)))
    return drawn


# The runs of a field


def _lookups(run: Run) -> list[Race]:
    return [
        race
        for race in run.family(FAMILY)
        if race.op == "contains" and race.finished and race.params.get("input", "favourite") == "favourite"
    ]


def _plan(race: Race) -> tuple[float | None, float | None]:
    """Return the rate and the space a race was planned for; everyone's rate is none."""
    rate = race.params.get(_RATE)
    return (None if rate == FPR else rate), race.params.get(_SPACE)


def _fields(run: Run) -> list[list[Race]]:
    """Return the races of each workload and size that were swept over plans, at one share of hits."""
    found: dict[tuple[str, int], list[Race]] = {}
    swept = {(r.workload, r.n, r.params.get("hits")) for r in _lookups(run) if any(_plan(r))}
    for race in _lookups(run):
        if (race.workload, race.n, race.params.get("hits")) in swept:
            found.setdefault((race.workload, race.n), []).append(race)
    return [races for _, races in sorted(found.items(), key=lambda item: item[0][1])]


def _configs(run: Run, races: Iterable[Race]) -> list[Config]:
    """Gather the configurations of some races; what two plans come to alike goes by the plainer one."""
    found: dict[tuple[str, float, float], Config] = {}
    for race in sorted(races, key=lambda race: list(map(bool, _plan(race)))):
        for config in (config for row in race.rows if (config := _config(run, race, row))):
            found.setdefault((config.name, config.rate, config.bits), config)
    return list(found.values())


def _config(run: Run, race: Race, row: Row) -> Config | None:
    values = run.qualities.get(race.id, {}).get(row.contestant, {})
    if not row.timed or row.ns_item is None or row.role not in facts.RACED or _SPACE not in values:
        return None
    law = run.laws.get(race.id, {}).get(row.contestant, {}).get(_RATE) if row.role == "ours" else None
    rate = 0.0 if row.role == "exact" else law or values.get(_RATE) or 1.0
    at, within = _plan(race)
    plan = f"{fmt.trim(within)} bits" if within else words.bound(_RATE, at) if at else ""
    return Config(row.contestant, row.role, plan, row.ns_item, rate, values[_SPACE])


def _where(race: Race) -> str:
    return f"{race.workload}, {fmt.count(race.n)} keys"


# The tables


def _customary(run: Run) -> Sheet | None:
    """Tabulate adding, finding at every share of hits, errors and memory, at everyone's rate."""
    alike: dict[tuple[str, int], dict[int, Race]] = {}
    for race in _lookups(run):
        if not any(_plan(race)) and "hits" in race.params:
            alike.setdefault((race.workload, race.n), {})[race.params["hits"]] = race
    shares = max(
        alike.values(), key=lambda found: (len(found), len(next(iter(found.values())).rows)), default={}
    )
    if len(shares) < _LEAST_SHARES:
        return None
    asked = sorted(shares.items())
    usual = shares.get(50) or asked[0][1]
    added = {
        row.contestant: row.ns_item
        for race in run.family(FAMILY)
        if (race.op, race.workload, race.n) == ("build", usual.workload, usual.n)
        for row in race.rows
        if row.timed
    }
    times = {hits: {row.contestant: row.ns_item for row in race.rows if row.timed} for hits, race in asked}
    rows = []
    for c in sorted(_configs(run, [usual]), key=lambda c: (facts.RACED.index(c.role), c.ns)):
        found = (_ns(times[hits].get(c.name)) for hits, _ in asked)
        rows.append((c.name, tables.KINDS[c.role], _ns(added.get(c.name)), *found, *_memory(c)))
    finds = (f"{hits} %" for hits, _ in asked)
    return Sheet(
        "table",
        f"Every filter at {words.bound(_RATE, FPR)}: {_where(usual)}",
        "Nanoseconds per key: Add, to build the filter of all keys (a set is not built here), and to look a "
        f"batch up of which this share is found. {words.MINIMUM}",
        ("Filter", "Kind", "Add", *finds, "False positives", "Bits per key", "Above minimum"),
        rows,
        tuple(range(2, 6 + len(asked))),
    )


def _rates(run: Run, races: list[Race]) -> Sheet:
    """Tabulate all configurations of a rate, the fastest first."""
    planned = [(at or FPR, race) for race in races for at, within in [_plan(race)] if not within]
    rows = []
    for at, race in sorted(planned, key=lambda pair: -pair[0]):
        configs = sorted((c for c in _configs(run, [race]) if c.role == "ours"), key=lambda c: c.ns)
        best = _frontier([(c.ns, c.bits) for c in configs])
        rows += [
            (words.bound(_RATE, at), c.name, _ns(c.ns), *_memory(c), "yes" if (c.ns, c.bits) in best else "")
            for c in configs
        ]
    caption = (
        "Ours, planned for one false-positive rate; whoever has whole bits only keeps a lower one. On the "
        f"frontier: none of the same plan is both faster and smaller. {words.MINIMUM}"
    )
    header = (
        "Planned for",
        "Filter",
        "ns",
        "False positives",
        "Bits per key",
        "Above the minimum",
        "Frontier",
    )
    return Sheet("rates", f"At one error rate: {_where(races[0])}", caption, header, rows, (2, 3, 4, 5))


def _spaces(run: Run, races: list[Race]) -> Sheet:
    """Tabulate all configurations of an amount of memory, the fewest false positives first."""
    planned = [(within, race) for race in races for _, within in [_plan(race)] if within]
    rows = []
    for within, race in sorted(planned, key=lambda pair: pair[0]):
        configs = sorted((c for c in _configs(run, [race]) if c.role == "ours"), key=lambda c: c.rate)
        best = _frontier([(c.rate, c.ns) for c in configs])
        rows += [
            (f"{fmt.trim(within)} bits", c.name, fmt.percent(c.rate), _ns(c.ns), fmt.number(c.bits), mark)
            for c in configs
            for mark in ["yes" if (c.rate, c.ns) in best else ""]
        ]
    caption = (
        "Ours, each in the configuration that uses most of so many bits per key. On the frontier: none of "
        "the same plan is both faster and errs less."
    )
    header = ("Bits per key", "Filter", "False positives", "ns", "Bits used", "Frontier")
    return Sheet("spaces", f"In one amount of memory: {_where(races[0])}", caption, header, rows, (2, 3, 4))


def _costs(run: Run, races: list[Race]) -> Sheet:
    """Choose for every cost of a false positive: freely, and within so many bits per key."""
    fair = [config for config in _configs(run, races) if config.rate]
    limits = [math.inf, *(space for space in SPACES if any(c.bits <= space * _WHOLE for c in fair))]
    rows = []
    for mistake in COSTS if fair else ():
        row = [fmt.round_ns(mistake)]
        for limit in limits:
            best = _best((c for c in fair if c.bits <= limit * _WHOLE), mistake)
            row += [best.label, fmt.ns(best.cost(mistake))]
        rows.append(tuple(row))
    chosen = (
        name
        for limit in limits
        for name in ("Best" if limit == math.inf else f"Best within {fmt.trim(limit)} bits per key", "takes")
    )
    caption = (
        "Asking for a key that is not there takes the lookup, and now and then what a false positive costs. "
        "In brackets, what a filter was planned for, if not for "
        f"{words.bound(_RATE, FPR)}."
    )
    header = ("A false positive costs", *chosen)
    return Sheet(
        "costs",
        f"By the cost of a false positive: {_where(races[0])}",
        caption,
        header,
        rows,
        tuple(range(2, len(header), 2)),
    )


def _best(configs: Iterable[Config], mistake: float) -> Config:
    return min(configs, key=lambda config: config.cost(mistake))


def _memory(config: Config) -> tuple[str, str, str]:
    return (
        fmt.percent(config.rate),
        fmt.number(config.bits),
        fmt.percent(config.wasted, 2) if config.rate else "",
    )


def _ns(value: float | None) -> str:
    return fmt.cell_ns(value) if value is not None else ""


def _frontier(points: Sequence[tuple[float, float]]) -> set[tuple[float, float]]:
    """Return the points that no other is below in both coordinates."""
    found, least = set(), math.inf
    for _, column in groupby(sorted(points), key=lambda point: point[0]):
        point = next(column)
        if point[1] < least:
            found.add(point)
            least = point[1]
    return found
