"""The "which one for me?" table: every answer is looked up in the figures, none is written down."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.report import facts, fmt, quality, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.report.load import Race, Row, Run

_SWEPT = {"hits"}  # parameters that describe the data
_LENIENCE = 0.1  # a structure planned for 1 % measures a little more or less
_ALIKE = 0.005  # sizes that differ by less are the same
_ABLE = {
    "exact": "No errors at all",
    "ordered": "Items in their order",
    "removable": "Items can be removed again",
    "mergeable": "Two can be merged",
}
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
        self.measures = quality.measures(run, family)
        self.profiles = quality.profiles(run, family)

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
        """Ask for the least memory at every round error rate, unless as little keeps a stricter one."""
        memory, error = self.measures.memory, self.measures.error
        found = [
            (_level(quality.cost(error, p.values[error])), p.values[memory], p)
            for p in self.profiles
            if {memory, error} <= p.values.keys()
        ]
        asked: list[Answer] = []
        least = math.inf
        for level in sorted({level for level, _, _ in found}):
            fits = [(size, p) for kept, size, p in found if kept <= level]
            size, first = fits[0]
            if size * (1 + _ALIKE) >= least:
                continue
            least = size
            best = [p for other, p in fits if other < size * (1 + _ALIKE)]
            others = [f"{p.contestant} ({words.figure(memory, other)})" for other, p in fits[len(best) :]]
            bound = words.bound(error, 1 - level if quality.is_gain(error) else level)
            asked.append(
                Answer(
                    need=f"Least memory, {words.metric(error)} {bound}{' or better' if level else ''}",
                    take=tuple(best),
                    figure=words.amount(memory, size),
                    price=words.amount(error, first.values[error]),
                    ahead="".join(others[:1]),
                    basis="",
                )
            )
        yield from reversed(asked)

    def _able(self) -> Iterator[Answer]:
        """Ask for the fastest at the most raced operation among those that can do what not all can."""
        ops = [race.op for race in self.races]
        main = max(dict.fromkeys(ops), key=ops.count)
        races = [race for race in self.races if race.op == main]
        for able, need in _ABLE.items():
            names = {v["name"] for v in self.variants if able in v["properties"]}
            if len(names) < len(self.variants):
                yield from self._speed(f"{need}: the fastest {words.op(main).lower()} of those", races, names)
        for standard in dict.fromkeys(v["standard"] for v in self.variants if v["standard"]):
            names = {v["name"] for v in self.variants if v["standard"] == standard}
            yield from self._speed(f"Others must read it: {standard}", races, names)

    def _speed(self, need: str, races: list[Race], names: set[str] | None = None) -> Iterator[Answer]:
        def keep(row: Row) -> bool:
            return names is None or (row.role == "ours" and row.contestant in names)

        if choice := facts.choose(races, keep):
            best, second = choice.take[0], choice.next
            ahead = f"{second.contestant} ({fmt.ratio(choice.margin)}{_TIMES})" if second else ""
            basis = fmt.plural(best.tasks, "task")
            yield Answer(need, choice.take, _span(best), self._price(best.contestant), ahead, basis)

    def _price(self, contestant: str) -> str:
        found = next((p for p in self.profiles if p.contestant == contestant), None)
        metrics = (self.measures.memory, self.measures.error)
        return ", ".join(words.amount(m, found.values[m]) for m in metrics if found and m in found.values)


def _style(race: Race) -> dict[str, Any]:
    """Return the parameters that say how the question is asked, and not of which data."""
    return {key: value for key, value in race.telling.items() if key not in _SWEPT}


def _level(cost: float) -> float:
    """Return the round number, 1, 2 or 5 times a power of ten, that an error rate keeps."""
    if cost <= 0:
        return 0.0
    least = cost / (1 + _LENIENCE)
    power = 10.0 ** math.floor(math.log10(least))
    return float(f"{next(step * power for step in (1, 2, 5, 10) if step * power >= least):.0e}")


def _span(best: facts.Candidate) -> str:
    times = sorted(row.ns_item or 0.0 for row in best.rows)
    low, high = fmt.number(times[0], 2), fmt.number(times[-1], 2)
    return f"{low} ns" if low == high else f"{low} to {high} ns"
