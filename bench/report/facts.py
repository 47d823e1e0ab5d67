"""What a run says, computed from its figures: verdicts, choices, quality. No formatting here.

A ratio is ``anchor time / contestant time``, so the anchor's lead over a peer is ``1 / ratio``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from statistics import geometric_mean, median
from typing import TYPE_CHECKING, Protocol

from bench.report.load import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.report.load import Race, Run

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
        geometric_mean(x.value for x in leads),
        geometric_mean(los) if judged else None,
        geometric_mean(his) if judged else None,
    )


@dataclass(frozen=True)
class Judgement:
    """How this library's anchors did against the best peer of every task of a group."""

    name: str  # the family or the operation
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
    visible: float | None  # the median of the tasks' minimum detectable effects
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


def verdict(run: Run, family: str) -> Judgement:
    """Judge one family. Exact baselines are no peers: they are compared on their own."""
    return _judge(family, run.family(family))


def by_operation(run: Run, family: str) -> list[Judgement]:
    """Judge one family operation by operation: a mean over unlike operations answers nobody's question."""
    races = run.family(family)
    return [_judge(op, [r for r in races if r.op == op]) for op in dict.fromkeys(r.op for r in races)]


def _judge(name: str, races: Sequence[Race]) -> Judgement:
    finished = [race for race in races if race.finished]
    duels = tuple((race, peer) for race in finished if (peer := race.best("peer")))
    exact = [row for race in finished if (row := race.best("exact"))]
    calls = Counter(peer.verdict for _, peer in duels)
    wrong = Counter(row.role == "ours" for race in races for row in race.rows if row.status == "WRONG")
    return Judgement(
        name=name,
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
        visible=median(effects) if (effects := [row.mde for _, row in duels if row.mde]) else None,
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
    """The best candidates for a need, which the run cannot tell apart, and the next after them."""

    take: tuple[Candidate, ...]
    next: Candidate | None

    @property
    def margin(self) -> float | None:
        """How many times faster than the next best."""
        return self.take[0].ratio / self.next.ratio if self.next else None


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
    best, *others = ranked
    ties = list(takewhile(lambda other: tied(best, other), others))
    return Choice((best, *ties), next(iter(others[len(ties) :]), None))


def candidate(name: str, role: str, rows: list[Row]) -> Candidate:
    """Sum up one contestant's rows by geometric means."""
    judged = all(row.anchor or (row.lo and row.hi) for row in rows)
    return Candidate(
        contestant=name,
        role=role,
        ratio=geometric_mean(row.ratio or 1.0 for row in rows),
        lo=geometric_mean(row.lo or 1.0 for row in rows) if judged else None,
        hi=geometric_mean(row.hi or 1.0 for row in rows) if judged else None,
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
