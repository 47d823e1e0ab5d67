"""A page for each system component: its topics, the variants that cover them, and what was measured of those.

Components and topics are the project's own lists in ``map/``, the variants are those of the run's catalogue,
and every figure is the run's.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench import stats
from bench.report import banners, facts, fmt, quality
from bench.report.jinja import environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.report.load import Race, Row, Run

_MAP = Path(__file__).with_name("map")


# The map


@dataclass(frozen=True)
class Topic:
    """One topic of a component; its number is ``component.topic``, as variants claim it."""

    number: str
    title: str
    hot_path: str  # "yes": an algorithm per operation | "simulation" | "no"
    algorithm: str
    families: tuple[str, ...]


@dataclass(frozen=True)
class Component:
    """One system component and its topics."""

    number: int
    name: str
    slug: str
    hot_path: str
    topics: tuple[Topic, ...]

    @property
    def file(self) -> str:
        """The name of its page."""
        return f"{self.number:02}-{self.slug}.html"


@cache
def components() -> tuple[Component, ...]:
    """Read the map."""
    topics: dict[str, list[Topic]] = {}
    for row in _rows("topics"):
        topic = Topic(
            number=f"{row['component']}.{row['topic']}",
            title=row["title"],
            hot_path=row["hot_path"],
            algorithm=row["algorithm"],
            families=tuple(filter(None, row["family"].split(";"))),
        )
        topics.setdefault(row["component"], []).append(topic)
    return tuple(
        Component(
            number=int(row["component"]),
            name=row["name"],
            slug=row["slug"],
            hot_path=row["hot_path"],
            topics=tuple(topics[row["component"]]),
        )
        for row in _rows("components")
    )


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (_MAP / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


# The figures


@dataclass(frozen=True)
class Result:
    """One variant at one operation of its family, shown at the task that stands for the operation."""

    race: Race
    row: Row | None  # None: it took part in other tasks of the operation only
    peer: Row | None  # the best one
    lead: facts.Lead | None  # over the best peer
    verdict: str  # on the best peer
    mde: float | None  # the least difference that would have been called
    tasks: int  # of the operation, in which it was timed
    span: tuple[float, ...]  # its leads over the best peers of those that had one, ascending


@dataclass(frozen=True)
class Variant:
    """One variant of the run's catalogue with what was measured of it, by operation."""

    name: str
    family: str
    results: list[Result]
    quality: Mapping[str, float]

    @property
    def raced(self) -> bool:
        """Whether this run timed it."""
        return any(result.tasks for result in self.results)

    @property
    def id(self) -> str:
        """Where a page shows its figures."""
        return f"{self.family}.{self.name}"


def _claims(run: Run) -> dict[str, list[Variant]]:
    """Return the variants that claim each topic, by the topic's number."""
    found: dict[str, list[Variant]] = {}
    for family in dict.fromkeys(entry["family"] for entry in run.catalog):
        results = _results(run, family)
        profiles = {p.contestant: p.values for p in quality.profiles(run, family) if p.role == "ours"}
        for entry in (entry for entry in run.catalog if entry["family"] == family):
            name = entry["name"]
            variant = Variant(name, family, results.get(name, []), profiles.get(name, {}))
            for topic in entry["topics"]:
                found.setdefault(topic, []).append(variant)
    return found


def _results(run: Run, family: str) -> dict[str, list[Result]]:
    """Gather the results of a family's variants by operation, in the order of the task list."""
    found: dict[str, list[Result]] = {}
    races = run.family(family)
    for op in dict.fromkeys(race.op for race in races):
        alike = [(race, race.best("peer")) for race in races if race.op == op]
        race, peer = max(alike, key=lambda pair: _preference(*pair))
        shown = {row.contestant: row for row in _ours(race)}
        timed: Counter[str] = Counter()
        spans: dict[str, list[float]] = {}
        for row, best in ((row, best) for other, best in alike for row in _ours(other)):
            timed[row.contestant] += row.timed
            if row.timed and best:
                spans.setdefault(row.contestant, []).append(_quotient(row, best))
        for name, tasks in timed.items():
            own = shown.get(name)
            lead, verdict, mde = _duel(race, own, peer) if own and own.timed and peer else (None, "", None)
            span = tuple(sorted(spans.get(name, ())))
            found.setdefault(name, []).append(Result(race, own, peer, lead, verdict, mde, tasks, span))
    return found


def _preference(race: Race, peer: Row | None) -> tuple[int, bool, int]:
    """Prefer the task that most variants finished, then one with a peer, then the largest."""
    return sum(row.timed for row in _ours(race)), peer is not None, race.n


def _duel(race: Race, row: Row, peer: Row) -> tuple[facts.Lead, str, float | None]:
    """Return lead, verdict and detectable difference: the run's own for the anchor, else slot by slot.

    Slots can only be paired where both contestants ran in all of the anchor's.
    """
    if row.anchor:
        return facts.lead(peer), peer.verdict, peer.mde
    pair = stats.Interval(_quotient(peer, row))
    if race.anchor and len(row.slot_ratios) == len(peer.slot_ratios) == race.anchor.slots:
        pair = stats.paired_difference(_interval(row), _interval(peer))
    if math.isnan(pair.lo):
        return facts.Lead(1 / pair.ratio), pair.verdict, None
    return facts.Lead(1 / pair.ratio, 1 / pair.hi, 1 / pair.lo), pair.verdict, pair.mde


def _interval(row: Row) -> stats.Interval:
    return stats.Interval(row.ratio or math.nan, by_slot=row.slot_ratios)


def _ours(race: Race) -> list[Row]:
    return [row for row in race.rows if row.role == "ours"]


def _quotient(row: Row, other: Row) -> float:
    return (row.ratio or math.nan) / (other.ratio or math.nan)


# The pages


@dataclass(frozen=True)
class Entry:
    """One topic with a hot path, and the variants that claim it."""

    topic: Topic
    variants: list[Variant]

    @property
    def missing(self) -> list[str]:
        """The topic's families of which no variant claims it."""
        present = {variant.family for variant in self.variants}
        return [family for family in self.topic.families if family not in present]

    @property
    def state(self) -> str:
        """How far the topic is covered."""
        if not self.variants:
            return "not yet"
        return "in part" if self.missing else "covered"


@dataclass(frozen=True)
class Page:
    """One component's topics, with a hot path and without."""

    component: Component
    entries: list[Entry]
    others: list[Topic]

    @property
    def variants(self) -> list[Variant]:
        """Every variant of the page once."""
        return list({variant.id: variant for entry in self.entries for variant in entry.variants}.values())

    @property
    def families(self) -> dict[str, dict[str, list[tuple[Variant, Result]]]]:
        """The results of the page's variants, by family and operation."""
        found: dict[str, dict[str, list[tuple[Variant, Result]]]] = {}
        for variant in self.variants:
            for result in variant.results:
                family = found.setdefault(variant.family, {})
                family.setdefault(result.race.op, []).append((variant, result))
        return found


@dataclass(frozen=True)
class Tally:
    """How many topics there are, of one component or of all, and how far this run goes."""

    topics: int
    operations: int  # with an algorithm per operation
    simulations: int  # with a simulation worth measuring
    covered: int  # claimed by at least one variant
    raced: int  # of these, with a figure in this run

    @property
    def hot(self) -> int:
        """Topics with a hot path."""
        return self.operations + self.simulations

    @property
    def sentence(self) -> str:
        """The tally in words."""
        return (
            f"Of {fmt.plural(self.topics, 'topic')}, {self.hot} have a hot path: {self.operations} "
            f"an algorithm per operation, {self.simulations} a simulation worth measuring. "
            f"This run has variants for {self.covered} of them and figures for {self.raced}."
        )


def coverage(run: Run) -> Tally:
    """Count the topics of all components."""
    return _tally(_pages(run))


def write(run: Run, folder: Path) -> None:
    """Write the overview and the page of each component to ``folder/components``."""
    target = folder / "components"
    target.mkdir(exist_ok=True)
    found = _pages(run)
    common = {"run": run, "banners": banners.banners(run)}
    rows = [(page.component, _tally([page])) for page in found]
    _write(target / "index.html", "components.html.j2", rows=rows, total=_tally(found), **common)
    neighbours = [None, *components(), None]
    for page, before, after in zip(found, neighbours, neighbours[2:], strict=False):
        _write(
            target / page.component.file,
            "component.html.j2",
            page=page,
            tally=_tally([page]),
            before=before,
            after=after,
            **common,
        )


def _pages(run: Run) -> list[Page]:
    claims = _claims(run)
    return [
        Page(
            component,
            [Entry(t, claims.get(t.number, [])) for t in component.topics if t.hot_path != "no"],
            [t for t in component.topics if t.hot_path == "no"],
        )
        for component in components()
    ]


def _tally(pages: Sequence[Page]) -> Tally:
    entries = [entry for page in pages for entry in page.entries]
    kinds = Counter(entry.topic.hot_path for entry in entries)
    return Tally(
        topics=len(entries) + sum(len(page.others) for page in pages),
        operations=kinds["yes"],
        simulations=kinds["simulation"],
        covered=sum(bool(entry.variants) for entry in entries),
        raced=sum(any(variant.raced for variant in entry.variants) for entry in entries),
    )


def _write(path: Path, template: str, **values: object) -> None:
    text = environment().get_template(template).render(values)
    path.write_text(text, encoding="utf-8", newline="\n")
