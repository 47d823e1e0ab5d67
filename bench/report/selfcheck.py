"""What the self-check found: whether differences are called as they are, and warm caches are warm.

Its control arms do the anchor's own work, and contestants named ``3 % more work`` that much more. In the
tasks ``alone`` and ``beside``, the latter with contestants that evict it, ``table`` races an anchor that
computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import stats
from bench.report import fmt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.report.load import Race, Row, Run

MORE_WORK = "more work"
SURE = 0.025  # of arms that could have told a smaller difference, all must be found
CALLED = 20  # one control arm in so many may be called
CLOSE = 0.15  # a warmed table costs as much as alone, within this share
_TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Finding:
    """One question to the benchmark itself, its answer, and whether that is within the bound."""

    question: str
    answer: str
    bound: str
    passed: bool | None  # None: this run cannot tell


def findings(run: Run) -> list[Finding]:
    """Answer what the self-check asks, in the order of its tasks."""
    return [*_arms(run.self_check), *_caches(run.self_check)]


def cells(f: Finding) -> list[str]:
    """Write a finding as a line of a table."""
    held = {True: "yes", False: "no", None: "not told"}[f.passed]
    return [f.question, f.answer, f.bound, held]


def sentence(found: list[Finding]) -> str:
    """Sum the findings up."""
    failed = [f.question.lower() for f in found if f.passed is False]
    open_ = sum(f.passed is None for f in found)
    passed = (
        f"{sum(f.passed is True for f in found)} of {fmt.plural(len(found), 'finding')} within their bounds"
    )
    parts = [passed, f"{open_} not told" if open_ else "", f"failed: {'; '.join(failed)}" if failed else ""]
    return f"{'; '.join(part for part in parts if part)}."


def _arms(races: tuple[Race, ...]) -> Iterator[Finding]:
    timed = [row for race in races for row in race.rows if row.timed]
    same = [row for row in timed if row.role == "control"]
    more = [row for row in timed if MORE_WORK in row.contestant]
    if same:
        called = sum(row.verdict in {"faster", "slower"} for row in same)
        judged = all(row.verdict for row in same)
        yield Finding(
            "The same work called different",
            f"{called} of {fmt.plural(len(same), 'arm')} called faster or slower, {_visible(same)}",
            f"at most 1 in {CALLED}",
            called * CALLED <= len(same) if judged else None,
        )
    if more:
        sure = [row for row in more if row.verdict and (row.mde or 1.0) < SURE]
        told = sum(row.verdict == "slower" for row in sure)
        yield Finding(
            f"{more[0].contestant.rsplit(maxsplit=1)[0]} called slower",
            f"{told} of {fmt.plural(len(sure), 'arm')} whose visible difference is below "
            f"{fmt.trim(100 * SURE)} %; {len(more) - len(sure)} with a wider one, {_visible(more)}",
            "every one",
            told == len(sure) if sure else None,
        )


def _visible(rows: list[Row]) -> str:
    effects = [row.mde for row in rows if row.mde is not None]
    return (
        f"visible {fmt.percent(min(effects), 2)} to {fmt.percent(max(effects), 2)}"
        if effects
        else "no interval"
    )


def _caches(races: tuple[Race, ...]) -> Iterator[Finding]:
    """Compare the table beside others with the table alone, both in units of the anchor's computing."""
    tables = {
        (race.op, race.n): row
        for race in races
        for row in race.rows
        if row.contestant == "table" and row.timed
    }
    for (op, n), alone in tables.items():
        beside = tables.get(("beside", n))
        if op != "alone" or beside is None:
            continue
        cost = stats.difference(_interval(beside), _interval(alone))
        judged = cost.slots > 1
        interval = fmt.interval(cost.lo, cost.hi) if judged else ""
        yield Finding(
            "A warm table costs as much beside others as alone",
            f"{fmt.number(cost.ratio)}{_TIMES} the time alone {interval}".strip(),
            f"within {fmt.percent(CLOSE, 2)}",
            _close(cost.ratio) if judged else None,
        )
        if beside.ns_cold and beside.ns_item:
            cold = beside.ns_cold / beside.ns_item
            yield Finding(
                "A cold table costs more than a warm one",
                f"{fmt.number(cold)}{_TIMES} the warm time",
                f"not within {fmt.percent(CLOSE, 2)}",
                not _close(cold) if judged else None,
            )


def _interval(row: Row) -> stats.Interval:
    return stats.Interval(row.ratio or stats.NAN, by_slot=row.slot_ratios)


def _close(ratio: float) -> bool:
    return 1 / (1 + CLOSE) <= ratio <= 1 + CLOSE
