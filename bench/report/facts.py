"""What a run says, computed from its figures: verdicts, choices, quality. No formatting here.

A ratio is ``anchor time / contestant time``, so the anchor's lead over a peer is ``1 / ratio``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Protocol

from bench.report.load import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.report.load import Figure, Race, Run

RACED = ("ours", "peer", "exact")
PLACES = ("L2", "L3", "memory")
NOISE = 0.02  # without an interval over processes, two contestants closer than this are a tie

Keep = Callable[[Row], bool]


@dataclass(frozen=True)
class Lead:
    """How many times faster than another contestant, with the interval."""

    value: float
    lo: float | None = None
    hi: float | None = None


def lead(row: Row) -> Lead:
    """How many times faster the anchor is than ``row``: the ratio read from the other side."""
    return Lead(
        1 / (row.ratio or math.nan),
        1 / row.hi if row.hi else None,
        1 / row.lo if row.lo else None,
    )


def mean_lead(rows: Sequence[Row]) -> Lead | None:
    """Average leads by the geometric mean; its ends are the geometric means of their ends.

    That is exact where all tasks err together, as they do on a disturbed machine, and too wide otherwise.
    """
    if not rows:
        return None
    leads = [lead(row) for row in rows]
    los, his = [x.lo for x in leads if x.lo], [x.hi for x in leads if x.hi]
    judged = len(los) == len(his) == len(leads)
    return Lead(
        _geomean(x.value for x in leads),
        _geomean(los) if judged else None,
        _geomean(his) if judged else None,
    )


@dataclass(frozen=True)
class FamilyVerdict:
    """How this library's anchors did against the best peer of every task of one family."""

    family: str
    tasks: int
    finished: int
    duels: tuple[tuple[Race, Row], ...]  # the best peer of each task that had one
    overall: Lead | None
    exact: Lead | None
    exact_tasks: int
    wins: int
    same: int
    losses: int
    undecided: int
    unjudged: int
    wrong: int  # answers of this library
    peers_wrong: int

    @property
    def told(self) -> bool | None:
        """Whether the run tells the anchors from the best peers; None if it gives no verdicts."""
        if self.overall is None or self.unjudged == len(self.duels):
            return None
        return not (self.overall.lo or 0.0) <= 1.0 <= (self.overall.hi or math.inf)

    @property
    def worst(self) -> tuple[Race, Row] | None:
        """The task on which the best peer comes out best."""
        return max(self.duels, key=lambda duel: duel[1].ratio or 0.0, default=None)

    @property
    def lost(self) -> tuple[tuple[Race, Row], ...]:
        """The tasks on which a peer is faster, the heaviest loss first."""
        lost = [duel for duel in self.duels if duel[1].verdict == "faster"]
        return tuple(sorted(lost, key=lambda duel: -(duel[1].ratio or 0.0)))


def verdict(run: Run, family: str) -> FamilyVerdict:
    """Judge one family. Exact baselines are no peers: they are compared on their own."""
    races = run.family(family)
    finished = [race for race in races if race.finished]
    duels = tuple((race, peer) for race in finished if (peer := race.best("peer")))
    exact = [row for race in finished if (row := race.best("exact"))]
    calls = Counter(peer.verdict for _, peer in duels)
    wrong = Counter(row.role == "ours" for race in races for row in race.rows if row.status == "WRONG")
    return FamilyVerdict(
        family=family,
        tasks=len(races),
        finished=len(finished),
        duels=duels,
        overall=mean_lead([peer for _, peer in duels]),
        exact=mean_lead(exact),
        exact_tasks=len(exact),
        wins=calls["slower"],
        same=calls["same"],
        losses=calls["faster"],
        undecided=calls["undecided"],
        unjudged=calls[""],
        wrong=wrong[True],
        peers_wrong=wrong[False],
    )


@dataclass(frozen=True)
class Controls:
    """What the arms that race a variant against itself say about the measurement."""

    rows: tuple[tuple[Race, Row], ...]
    faster: int
    slower: int
    judged: int
    cover: int  # intervals that contain 1

    @property
    def alarms(self) -> int:
        """Control arms with a verdict that cannot be true."""
        return self.faster + self.slower


def controls(run: Run) -> Controls:
    """Collect the control arms of all races."""
    rows = tuple(
        (race, row) for race in run.races for row in race.rows if row.role == "control" and row.timed
    )
    calls = Counter(row.verdict for _, row in rows)
    judged = [row for _, row in rows if row.lo is not None and row.hi is not None]
    return Controls(
        rows=rows,
        faster=calls["faster"],
        slower=calls["slower"],
        judged=len(judged),
        cover=sum((row.lo or 0.0) <= 1.0 <= (row.hi or 0.0) for row in judged),
    )


def undecided_share(run: Run) -> float | None:
    """Return the share of verdicts on real contestants that stayed ``undecided``."""
    calls = [
        row.verdict
        for race in run.races
        for row in race.rows
        if row.role in RACED and not row.anchor and row.verdict
    ]
    return calls.count("undecided") / len(calls) if calls else None


# Which one for me?


class Named(Protocol):
    """What has a contestant's name and role."""

    @property
    def contestant(self) -> str: ...
    @property
    def role(self) -> str: ...


@dataclass(frozen=True)
class Candidate:
    """One contestant's standing over a group of tasks."""

    contestant: str
    role: str
    ratio: float  # geometric mean, to the anchors
    lo: float | None
    hi: float | None
    rows: tuple[Row, ...]

    @property
    def tasks(self) -> int:
        """How many tasks it finished."""
        return len(self.rows)

    @property
    def worst(self) -> float:
        """The ratio of the task it did worst in."""
        return min(row.ratio or math.inf for row in self.rows)

    @property
    def best(self) -> float:
        """The ratio of the task it did best in."""
        return max(row.ratio or 0.0 for row in self.rows)


@dataclass(frozen=True)
class Choice:
    """The best candidate for a need, and by how much it leads the next."""

    best: Candidate
    next: Candidate | None
    tie: bool

    @property
    def margin(self) -> float | None:
        """How many times faster than the next best."""
        return self.best.ratio / self.next.ratio if self.next else None


def everyone(_: Row) -> bool:
    """Keep every contestant."""
    return True


def standings(races: Iterable[Race], keep: Keep = everyone) -> list[Candidate]:
    """Sum up every contestant over those of the races that it finished, the fastest first."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for race in races:
        for row in race.rows:
            if race.finished and row.role in RACED and row.timed and keep(row):
                groups.setdefault((row.contestant, row.role), []).append(row)
    found = [candidate(name, role, rows) for (name, role), rows in groups.items()]
    return sorted(found, key=lambda c: (-c.ratio, c.contestant))


def choose(races: Sequence[Race], keep: Keep = everyone) -> Choice | None:
    """Choose by the geometric mean of the ratios, among those that finished the most of the races."""
    found = standings(races, keep)
    most = max((c.tasks for c in found), default=0)
    ranked = [c for c in found if c.tasks == most]
    if not ranked:
        return None
    best, second = ranked[0], ranked[1] if len(ranked) > 1 else None
    return Choice(best, second, second is not None and tied(best, second))


def candidate(name: str, role: str, rows: list[Row]) -> Candidate:
    """Sum up one contestant's rows by geometric means."""
    judged = all(row.anchor or (row.lo and row.hi) for row in rows)
    return Candidate(
        contestant=name,
        role=role,
        ratio=_geomean(row.ratio or 1.0 for row in rows),
        lo=_geomean(row.lo or 1.0 for row in rows) if judged else None,
        hi=_geomean(row.hi or 1.0 for row in rows) if judged else None,
        rows=tuple(rows),
    )


def tied(best: Candidate, second: Candidate) -> bool:
    """Whether the run cannot tell the two apart."""
    if best.lo is None or second.hi is None or any(row.slots < 2 for row in best.rows + second.rows):
        return best.ratio < second.ratio * (1 + NOISE)
    return best.lo <= second.hi


def caches(env: dict[str, object]) -> dict[str, int]:
    """Return the machine's cache sizes in bytes, by level."""
    found = env.get("caches")
    sizes = dict(found) if isinstance(found, dict) else {}
    return {level.upper().removesuffix("D"): int(size) for level, size in sorted(sizes.items()) if size}


def residence(race: Race, levels: dict[str, int]) -> str:
    """Say where the anchor's state lives: ``L2``, ``L3`` or ``memory``; empty where it is not known."""
    anchor = race.anchor
    if anchor is None or not anchor.state_bytes or not levels:
        return ""
    fits = (level for level, limit in levels.items() if level != "L1" and (anchor.state_bytes or 0) <= limit)
    return next(fits, "memory")


# Quality


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


@dataclass(frozen=True)
class Space:
    """What one contestant pays in memory for its error rate."""

    contestant: str
    role: str
    bits: float
    error: float
    wasted: float | None  # share above the information-theoretic minimum, log2(1/error)


def space(run: Run, family: str) -> list[Space]:
    """Find bits per key and error rate at the family's most populous size, smallest first."""
    races = [race for race in run.family(family) if race.id in run.qualities]
    found: dict[str, Space] = {}
    for race in sorted(races, key=lambda race: (-len(run.qualities[race.id]), -race.n, race.id)):
        for row in race.rows:
            never_errs = {"fpr": 0.0} if row.role == "exact" else {}
            values = never_errs | run.qualities[race.id].get(row.contestant, {})
            compared = row.role in RACED and row.contestant not in found
            if compared and {"bits_per_key", "fpr"} <= values.keys():
                bits, error = values["bits_per_key"], values["fpr"]
                wasted = bits / -math.log2(error) - 1 if 0 < error < 1 else None
                found[row.contestant] = Space(row.contestant, row.role, bits, error, wasted)
    return sorted(found.values(), key=lambda s: (s.bits, s.contestant))


def _distance(figure: Figure) -> float:
    """How far a figure is from its law, in half widths of its interval where it has one."""
    if figure.value is None or figure.theory is None:
        return 0.0
    half = ((figure.hi or 0.0) - (figure.lo or 0.0)) / 2 or abs(figure.theory) or 1.0
    return abs(figure.value - figure.theory) / half


def _geomean(values: Iterable[float]) -> float:
    return math.exp(fmean(math.log(value) for value in values))
