"""The "which one for me?" table: every answer is looked up in the figures, none is written down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.report import facts, fmt, words
from bench.report.load import Race, Row, Run



@dataclass(frozen=True)
class Answer:
    """One line of the table, ready to print."""

    need: str
    names: tuple[str, ...]  # more than one: a tie
    role: str
    figure: str
    price: str
    margin: str
    basis: str


def answers(run: Run, family: str) -> list[Answer]:
    """Answer the questions that this family's results can answer."""
    return [*_by_speed(run, family), *_by_space(run, family), *_by_property(run, family)]


def _by_speed(run: Run, family: str) -> Iterator[Answer]:
    races = run.family(family)
    levels = facts.caches(run.env)
    for name in dict.fromkeys(race.op for race in races):
        of_op = [race for race in races if race.op == name]
        places = [facts.residence(race, levels) for race in of_op]
        for place in [p for p in facts.PLACES if p in places] or [""]:
            group = [race for race, where in zip(of_op, places, strict=True) if where == place]
            yield from _speed(run, f"Fastest {words.op(name).lower()}{words.place(place, levels)}", group)


def _by_space(run: Run, family: str) -> Iterator[Answer]:
    ranked = facts.space(run, family)
    for limit in (0.01, 0.001):
        fits = [s for s in ranked if s.error <= limit * (1 + 5 * facts.NOISE) and s.role != "control"]
        if fits:
            best, second = fits[0], fits[1] if len(fits) > 1 else None
            margin = f"{second.contestant} ({fmt.number(second.bits)})" if second else ""
            yield Answer(
                need=f"Smallest at a false-positive rate of {fmt.trim(100 * limit)} % or better",
                names=(best.contestant,),
                role=best.role,
                figure=f"{fmt.number(best.bits)} bits/key at {fmt.percent(best.error)}",
                price="",
                margin=margin,
                basis="",
            )


def _by_property(run: Run, family: str) -> Iterator[Answer]:
    races = [race for race in run.family(family) if race.op == "contains"]
    variants = [v for v in run.catalog if v["family"] == family]
    for prop, need in (("removable", "Keys can be removed again"), ("mergeable", "Filters can be merged")):
        names = {v["name"] for v in variants if prop in v.get("properties", ())}
        yield from _speed(run, f"{need}; fastest lookup of those", races, names)
    for standard in sorted({v["standard"] for v in variants if v.get("standard")}):
        names = {v["name"] for v in variants if v.get("standard") == standard}
        yield from _speed(run, f"Others must read it: {standard}", races, names)


def _speed(run: Run, need: str, races: list[Race], names: set[str] | None = None) -> Iterator[Answer]:
    def keep(row: Row) -> bool:
        return names is None or (row.role == "ours" and row.contestant in names)

    choice = facts.choose(need, races, keep)
    if choice is None:
        return
    tied = (choice.best.contestant, choice.next.contestant) if choice.tie and choice.next else (choice.best.contestant,)
    margin = ""
    if choice.next and not choice.tie:
        margin = f"{choice.next.contestant} ({fmt.number(choice.margin)}\N{MULTIPLICATION SIGN})"
    figure, basis = f"{fmt.ns(choice.best.ns)}/item", fmt.plural(choice.tasks, "task")
    yield Answer(need, tied, choice.best.role, figure, _price(run, races[0].family, choice.best.contestant), margin, basis)


def _price(run: Run, family: str, contestant: str) -> str:
    """What the answer costs beside time: its memory and its error rate."""
    found = next((s for s in facts.space(run, family) if s.contestant == contestant), None)
    return f"{fmt.number(found.bits)} bits/key, {fmt.percent(found.error, 2)} FPR" if found else ""
