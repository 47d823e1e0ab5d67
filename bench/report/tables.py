"""The tables that the page and the Markdown summary share, as rows of values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.report import facts

if TYPE_CHECKING:
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
MOST_CONTROLS = 30


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


def worst_controls(run: Run) -> list[tuple[Race, Row]]:
    """List the control arms that were called different from themselves, then those furthest from 1."""
    arms = facts.controls(run).rows
    false = {"faster", "slower"}
    ranked = sorted(arms, key=lambda arm: (arm[1].verdict not in false, -abs(math.log(arm[1].ratio or 1.0))))
    return ranked[:MOST_CONTROLS]
