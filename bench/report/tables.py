"""The tables that the page and the Markdown summary share, as rows of values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import quantiles
from typing import TYPE_CHECKING

from bench.report import facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.report.load import Race, Row, Run

APART = ("control", "null", "limit")
KINDS = {
    "ours": "this library",
    "peer": "peer",
    "exact": "exact baseline",
    "control": "control",
    "null": "empty call",
    "limit": "yardstick",
}
CALLED = {"faster", "slower"}
FAR_OUT = 3.0
MOST_ARMS = 30


@dataclass(frozen=True)
class Column:
    """One contestant of the score matrix."""

    name: str
    role: str


@dataclass(frozen=True)
class Matrix:
    """The score matrix of one family: its columns, and its rows grouped by operation."""

    columns: tuple[Column, ...]
    groups: tuple[tuple[str, tuple[tuple[Race, tuple[Row | None, ...]], ...]], ...]

    @property
    def spans(self) -> list[tuple[str, int]]:
        """The roles in the order of the columns, with the number of their columns."""
        roles = [column.role for column in self.columns]
        return [(role, roles.count(role)) for role in dict.fromkeys(roles)]


def matrix(races: tuple[Race, ...]) -> Matrix:
    """Arrange a family's races: anchors first, then by role, in the order of first appearance."""
    seen: dict[tuple[str, str], bool] = {}
    for race in races:
        for row in race.rows:
            seen[row.role, row.contestant] = seen.get((row.role, row.contestant), False) or row.anchor
    order = [*facts.RACED, *APART]
    keys = sorted(seen, key=lambda key: (order.index(key[0]), not seen[key]))
    groups = []
    for op in dict.fromkeys(race.op for race in races):
        found = [
            (race, {(row.role, row.contestant): row for row in race.rows}) for race in races if race.op == op
        ]
        groups.append((op, tuple((race, tuple(rows.get(key) for key in keys)) for race, rows in found)))
    return Matrix(tuple(Column(name, role) for role, name in keys), tuple(groups))


@dataclass(frozen=True)
class Duel:
    """The anchor of one task against its best peer."""

    race: Race
    anchor: Row
    peer: Row | None
    lead: facts.Lead | None


def duels(races: tuple[Race, ...]) -> list[Duel]:
    """Pair the anchor of every finished race with its best peer."""
    found = []
    for race in races:
        if anchor := race.anchor:
            peer = race.best("peer")
            found.append(Duel(race, anchor, peer, facts.lead(peer) if peer else None))
    return found


@dataclass(frozen=True)
class Arm:
    """One contestant's slots, and those of them that lie far outside the others."""

    race: Race
    row: Row
    outside: frozenset[int]


def control_arms(run: Run) -> list[Arm]:
    """List the control arms that were called different from themselves, then those furthest from 1."""
    arms = facts.controls(run).rows
    ranked = sorted(arms, key=lambda arm: (arm[1].verdict not in CALLED, -_distance(arm[1])))
    return [arm(race, row) for race, row in ranked[:MOST_ARMS]]


def doubtful_arms(run: Run) -> list[Arm]:
    """List the contestants of tasks whose control was called, then the undecided ones that say least."""
    alarmed = {race.id for race, row in facts.controls(run).rows if row.verdict in CALLED}
    found = [
        (race, row)
        for race in run.races
        for row in race.rows
        if row.role in facts.RACED and row.timed and not row.anchor
        if race.id in alarmed or row.verdict == "undecided"
    ]
    ranked = sorted(found, key=lambda arm: (arm[0].id not in alarmed, -(arm[1].mde or 0.0)))
    return [arm(race, row) for race, row in ranked[:MOST_ARMS]]


def arm(race: Race, row: Row) -> Arm:
    """Look at one contestant's slots."""
    return Arm(race, row, frozenset(_outside([math.log(ratio) for ratio in row.slot_ratios])))


def _outside(values: list[float]) -> Iterator[int]:
    """Find the values that Tukey calls far out: more than three interquartile ranges beyond a quartile."""
    if len(values) > 2:
        low, _, high = quantiles(values, method="inclusive")
        room = FAR_OUT * (high - low)
        yield from (i for i, v in enumerate(values) if not low - room <= v <= high + room)


def _distance(row: Row) -> float:
    return abs(math.log(row.ratio or 1.0))
