"""The "which one for me?" table: every answer is looked up in the figures, none is written down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.report import facts, fmt, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.report.load import Race, Row, Run

_SWEPT = {"hits"}  # parameters that describe the data
_LENIENCE = 0.1  # a filter planned for 1 % measures a little more or less
_ALIKE = 0.005  # sizes that differ by less are the same
_TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Answer:
    """One line of the table, ready to print."""

    need: str
    take: tuple[facts.Named, ...]  # more than one: a tie
    figure: str
    price: str
    ahead: str
    basis: str


def answers(run: Run, family: str) -> list[Answer]:
    """Answer the questions that this family's results can answer."""
    return list(_Questions(run, family).answers())


class _Questions:
    """One family's questions, with what its contestants cost beside time."""

    def __init__(self, run: Run, family: str) -> None:
        self.races = run.family(family)
        self.variants = [v for v in run.catalog if v["family"] == family]
        self.levels = facts.caches(run.env)
        self.space = facts.space(run, family)
        self.prices = {
            s.contestant: f"{fmt.number(s.bits)} bits/key, {fmt.percent(s.error, 2)} FPR" for s in self.space
        }

    def answers(self) -> Iterator[Answer]:
        """Ask for speed by operation, for memory, and for what a variant can do."""
        for op in dict.fromkeys(race.op for race in self.races):
            yield from self._of_operation([race for race in self.races if race.op == op])
        yield from self._smallest()
        yield from self._able()

    def _of_operation(self, races: list[Race]) -> Iterator[Answer]:
        styles: dict[str, list[Race]] = {}
        for race in races:
            styles.setdefault(json.dumps(_style(race), sort_keys=True), []).append(race)
        usual, *others = styles.values()
        yield from self._of_style(usual)
        for style in others:
            yield from self._fastest(style)

    def _of_style(self, races: list[Race]) -> Iterator[Answer]:
        """Ask for the workload with the most tasks, by where the state lives, and for all others together."""
        workloads = [race.workload for race in races]
        main = max(dict.fromkeys(workloads), key=workloads.count)
        for place in (*facts.PLACES, ""):
            here = [r for r in races if r.workload == main and facts.residence(r, self.levels) == place]
            yield from self._fastest(here, words.place(place, self.levels))
        yield from self._fastest([race for race in races if race.workload != main])

    def _fastest(self, races: list[Race], where: str = "") -> Iterator[Answer]:
        if races:
            named = [*dict.fromkeys(race.workload for race in races), *words.parameters(_style(races[0]))]
            yield from self._speed(
                f"Fastest {words.op(races[0].op).lower()}: {', '.join(named)}{where}", races
            )

    def _smallest(self) -> Iterator[Answer]:
        for limit in (0.01, 0.001):
            fits = [s for s in self.space if s.error <= limit * (1 + _LENIENCE)]
            if fits:
                best = [s for s in fits if s.bits < fits[0].bits * (1 + _ALIKE)]
                others = fits[len(best) :]
                yield Answer(
                    need=f"Smallest at a false-positive rate of {fmt.trim(100 * limit)} % or better",
                    take=tuple(best),
                    figure=f"{fmt.number(best[0].bits)} bits/key",
                    price=f"{fmt.percent(best[0].error, 2)} FPR",
                    ahead=f"{others[0].contestant} ({fmt.number(others[0].bits)})" if others else "",
                    basis="",
                )

    def _able(self) -> Iterator[Answer]:
        races = [race for race in self.races if race.op == "contains"]
        for able, need in (
            ("removable", "Keys can be removed again"),
            ("mergeable", "Filters can be merged"),
        ):
            names = {v["name"] for v in self.variants if able in v["properties"]}
            yield from self._speed(f"{need}: the fastest lookup of those", races, names)
        for standard in dict.fromkeys(v["standard"] for v in self.variants if v["standard"]):
            names = {v["name"] for v in self.variants if v["standard"] == standard}
            yield from self._speed(f"Others must read it: {standard}", races, names)

    def _speed(self, need: str, races: list[Race], names: set[str] | None = None) -> Iterator[Answer]:
        def keep(row: Row) -> bool:
            return names is None or (row.role == "ours" and row.contestant in names)

        if choice := facts.choose(races, keep):
            best, second = choice.best, choice.next
            tied = (best, second) if choice.tie and second else (best,)
            margin, basis = f"({fmt.ratio(choice.margin)}{_TIMES})", fmt.plural(best.tasks, "task")
            ahead = f"{second.contestant} {margin}" if second and not choice.tie else ""
            yield Answer(need, tied, _span(best), self.prices.get(best.contestant, ""), ahead, basis)


def _style(race: Race) -> dict[str, Any]:
    """Return the parameters that say how the question is asked, and not of which data."""
    return {key: value for key, value in race.telling.items() if key not in _SWEPT}


def _span(best: facts.Candidate) -> str:
    times = sorted(row.ns_item or 0.0 for row in best.rows)
    low, high = fmt.number(times[0], 2), fmt.number(times[-1], 2)
    return f"{low} ns" if low == high else f"{low} to {high} ns"
