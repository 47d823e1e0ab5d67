"""From samples to verdicts: paired log ratios, Student-t intervals over slots, and an honest "undecided".

Within a slot everything is paired by round, which cancels what the machine was doing at that moment.
What remains differs from process to process (addresses, page colours, hash seeds), so a slot counts once,
by its median, and the interval is over slots. With a single slot there is only an interval over
rounds, which knows nothing of other processes: it never carries a verdict.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from bench.schema import Verdict

CONFIDENCE = 0.95
FASTER, SLOWER = 1.01, 0.99
SAME = (0.98, 1.02)
LEAST_DIFFERENCE = 0.01
NAN = float("nan")

Rounds = dict[int, float]
"""Nanoseconds per item by round, of one contestant in one slot."""


class Interval(NamedTuple):
    """A ratio with its 95 % interval; ``p_value`` is against the nearer edge of the 1 % band.

    ``by_slot`` are the slots' own ratios, of which this one is the geometric mean.
    """

    ratio: float = NAN
    lo: float = NAN
    hi: float = NAN
    p_value: float = NAN
    slots: int = 0
    rounds: int = 0
    by_slot: tuple[float, ...] = ()

    @property
    def width(self) -> float:
        """The interval's width relative to the ratio."""
        return (self.hi - self.lo) / self.ratio

    @property
    def mde(self) -> float:
        """The least difference this measurement would have called, relative."""
        return self.width + LEAST_DIFFERENCE

    @property
    def verdict(self) -> Verdict:
        """What may be said of this ratio alone: nothing from a single slot."""
        if self.slots < 2 or math.isnan(self.lo):
            return ""
        if self.lo > FASTER:
            return "faster"
        if self.hi < SLOWER:
            return "slower"
        return "same" if SAME[0] <= self.lo and self.hi <= SAME[1] else "undecided"


def usable(ns: float | None) -> bool:
    """Whether a duration can be one: clocks that stand still or step back give zeros and negatives."""
    return ns is not None and math.isfinite(ns) and ns > 0


def compare(base: Mapping[int, Rounds], other: Mapping[int, Rounds]) -> Interval:
    """Return base time / other time, from the rounds of each slot in which both were timed."""
    slots = [paired(base[slot], other[slot]) for slot in sorted(base.keys() & other.keys())]
    slots = [ratios for ratios in slots if ratios.size]
    if not slots:
        return Interval()
    if len(slots) == 1:
        return _over_rounds(slots[0])
    return _over_slots(slots)


def paired(base: Rounds, other: Rounds) -> NDArray[np.float64]:
    """Return the log ratios of the rounds in which both have a usable time."""
    rounds = [r for r in sorted(base.keys() & other.keys()) if usable(base[r]) and usable(other[r])]
    return np.log([base[r] / other[r] for r in rounds], dtype=np.float64)


def _over_slots(slots: Sequence[NDArray[np.float64]]) -> Interval:
    medians = np.array([np.median(ratios) for ratios in slots])
    freedom = len(slots) - 1
    centre = float(medians.mean())
    error = float(medians.std(ddof=1)) / math.sqrt(len(slots))
    half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return Interval(
        ratio=math.exp(centre),
        lo=math.exp(centre - half),
        hi=math.exp(centre + half),
        p_value=_p_value(centre, error, freedom),
        slots=len(slots),
        rounds=sum(ratios.size for ratios in slots),
        by_slot=tuple(np.exp(medians).tolist()),
    )


def _p_value(centre: float, error: float, freedom: int) -> float:
    """Two-sided t test against the nearer edge of the band; 1 inside it, so it agrees with the interval."""
    outside = max(centre - math.log(FASTER), math.log(SLOWER) - centre)
    if outside <= 0:
        return 1.0
    return 2 * float(stdtr(freedom, -outside / error)) if error > 0 else 0.0


def _over_rounds(ratios: NDArray[np.float64]) -> Interval:
    """Return the median with its distribution-free interval: order statistics of a fair coin's tails."""
    ordered, n = np.sort(ratios), ratios.size
    lo = hi = NAN
    if (rank := median_rank(n)) > 0:
        lo, hi = math.exp(ordered[rank - 1]), math.exp(ordered[n - rank])
    ratio = math.exp(float(np.median(ordered)))
    return Interval(ratio, lo, hi, slots=1, rounds=n, by_slot=(ratio,))


def median_rank(n: int) -> int:
    """Return the largest rank k such that the k-th from either end encloses the median in 95 of 100 cases.

    >>> median_rank(15), median_rank(5)
    (4, 0)
    """
    tail, rank = 0.0, 0
    while True:
        tail += math.comb(n, rank) / 2**n
        if 2 * tail > 1 - CONFIDENCE:
            return rank
        rank += 1


def survivors(p_values: Sequence[float]) -> list[bool]:
    """Say which of a run's tests stand together (Benjamini-Hochberg); NaN is no test.

    >>> survivors([0.001, 0.04, float("nan"), 0.9])
    [True, False, False, False]
    """
    tests = sorted(p for p in p_values if not math.isnan(p))
    bound = max(
        (p for rank, p in enumerate(tests, 1) if p <= (1 - CONFIDENCE) * rank / len(tests)), default=-1.0
    )
    return [p <= bound for p in p_values]


def judge(intervals: Sequence[Interval]) -> list[Verdict]:
    """Return a run's verdicts: a difference that does not stand among all its tests is undecided."""
    stands = survivors([interval.p_value for interval in intervals])
    return [
        "undecided" if interval.verdict in {"faster", "slower"} and not survives else interval.verdict
        for interval, survives in zip(intervals, stands, strict=True)
    ]


def quartiles(times: Sequence[float]) -> tuple[float, float]:
    """Return the first and third quartile of the usable times."""
    good = [t for t in times if usable(t)]
    if not good:
        return NAN, NAN
    q1, q3 = np.percentile(good, [25, 75])
    return float(q1), float(q3)


def typical(slots: Mapping[int, Rounds]) -> float:
    """Return the median over slots of their medians."""
    medians = [
        np.median(good) for rounds in slots.values() if (good := [t for t in rounds.values() if usable(t)])
    ]
    return float(np.median(medians)) if medians else NAN


def middle(values: Iterable[float | None]) -> float:
    """Return the median of the known values, NaN if there is none."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return float(np.median(known)) if known else NAN
