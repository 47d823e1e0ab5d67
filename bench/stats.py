"""From samples to verdicts: paired log ratios, Student-t intervals over slots, and an honest "undecided".

Within a slot turns are compared with their neighbours in time, which cancels what the machine was doing at
that moment. What remains differs from process to process (addresses, page colours, hash seeds), so a slot
counts once, by a median, and the interval is over slots. Where there are many, it is that of a trimmed mean
(Yuen), since some processes are unlucky by far more than the others differ. With a single slot there is only
an interval over rounds, which knows nothing of other processes: it never carries a verdict.

``location`` and ``over_slots`` work on arrays of any leading axes, so that ``bench.simulate`` can put the
very code that judges a run through millions of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from bench.schema import Verdict

    Floats = NDArray[np.floating[Any]]
    Numbers = float | Floats

CONFIDENCE = 0.95
FASTER, SLOWER = 1.01, 0.99
SAME = (0.98, 1.02)
LEAST_DIFFERENCE = 0.01
NEIGHBOURS = 2
MANY = 20  # slots: with fewer, trimming costs a sixth of the precision and a point of coverage
TRIMMED = 0.2  # of these are left out at either end
NAN = float("nan")

Rounds = dict[int, float]
"""Nanoseconds per item by round, of one contestant in one slot."""


class Bounds(NamedTuple):
    """One or any number of ratios with their 95 % intervals.

    A ``p_value`` is against the nearer edge of the 1 % band.
    """

    ratio: Numbers
    lo: Numbers
    hi: Numbers
    p_value: Numbers

    @property
    def width(self) -> Numbers:
        """The intervals' widths relative to the ratios."""
        return (self.hi - self.lo) / self.ratio

    @property
    def mde(self) -> Numbers:
        """The least differences these measurements would have called, relative."""
        return self.width + LEAST_DIFFERENCE

    @property
    def verdict(self) -> NDArray[np.str_]:
        """What may be said of each ratio alone."""
        lo, hi = np.asarray(self.lo), np.asarray(self.hi)
        bands = [lo > FASTER, hi < SLOWER, (lo >= SAME[0]) & (hi <= SAME[1])]
        return np.select(bands, ["faster", "slower", "same"], "undecided")


class Interval(NamedTuple):
    """A ratio with its 95 % interval and p-value, and what it rests on.

    ``by_slot`` are the slots' own ratios. This one is their geometric mean, trimmed where there are many.
    """

    ratio: float = NAN
    lo: float = NAN
    hi: float = NAN
    p_value: float = NAN
    slots: int = 0
    rounds: int = 0
    by_slot: tuple[float, ...] = ()

    @property
    def bounds(self) -> Bounds:
        """The figures without what they rest on."""
        return Bounds(self.ratio, self.lo, self.hi, self.p_value)

    @property
    def width(self) -> float:
        """The interval's width relative to the ratio."""
        return float(self.bounds.width)

    @property
    def mde(self) -> float:
        """The least difference this measurement would have called, relative."""
        return float(self.bounds.mde)

    @property
    def verdict(self) -> Verdict:
        """What may be said of this ratio alone: nothing from a single slot."""
        if self.slots < 2 or math.isnan(self.lo):
            return ""
        return cast("Verdict", str(self.bounds.verdict))


def usable(ns: float | None) -> bool:
    """Whether a duration can be one: clocks that stand still or step back give zeros and negatives."""
    return ns is not None and math.isfinite(ns) and ns > 0


def compare(base: Mapping[int, Rounds], other: Mapping[int, Rounds]) -> Interval:
    """Return base time / other time, from the rounds of each slot in which both were timed."""
    slots = [paired(base[slot], other[slot]) for slot in sorted(base.keys() & other.keys())]
    slots = [times for times in slots if times.size]
    if not slots:
        return Interval()
    if len(slots) == 1:
        return _over_rounds(*slots[0])
    logs = np.array([location(*times) for times in slots])
    return from_slots(logs, rounds=sum(times.shape[1] for times in slots))


def paired(base: Rounds, other: Rounds) -> Floats:
    """Return both log times, in two rows, of the rounds in which both are usable."""
    rounds = [r for r in sorted(base.keys() & other.keys()) if usable(base[r]) and usable(other[r])]
    return np.log([[base[r] for r in rounds], [other[r] for r in rounds]])


def location(base: Floats, other: Floats) -> Floats:
    """Return the median log ratio of neighbouring turns, from log times by round along the last axis.

    Each turn is set against the other's of its own round and of the two before and after. With every such
    pair goes its mirror image, so what the machine does to both still cancels; but the median is
    steadier, above all where turns come at two speeds.
    """
    rounds = np.arange(base.shape[-1])
    at, of = np.nonzero(abs(np.subtract.outer(rounds, rounds)) <= NEIGHBOURS)
    return _median(base[..., at] - other[..., of])


def _median(values: Floats) -> Floats:
    """Return the median over the last axis; for many short ones this is five times as fast as NumPy's."""
    ordered, n = np.sort(values, axis=-1), values.shape[-1]
    return (ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2


def over_slots(logs: Floats) -> Bounds:
    """Return the intervals over the last axis, the log ratios of a measurement's slots."""
    return _student(*centre(logs))


def difference(a: Interval, b: Interval) -> Interval:
    """Return b's ratio over a's, from slots that have nothing to do with each other (Welch's t or Yuen's)."""
    before, after = np.log(a.by_slot), np.log(b.by_slot)
    slots = min(before.size, after.size)
    if slots < 2:
        return Interval(ratio=b.ratio / a.ratio, slots=slots)
    (start, start_error, start_freedom), (end, end_error, end_freedom) = centre(before), centre(after)
    parts = np.square([start_error, end_error])
    freedom = float(start_freedom + end_freedom)
    if (total := float(parts.sum())) > 0:
        freedom = total**2 / float((parts**2 / [start_freedom, end_freedom]).sum())
    return _interval(_student(end - start, np.sqrt(total), freedom), slots=slots)


def paired_difference(a: Interval, b: Interval) -> Interval:
    """Return b's ratio over a's, from slots that belong together two by two (paired t)."""
    if len(a.by_slot) != len(b.by_slot):
        raise ValueError(
            f"{len(a.by_slot)} slots cannot be paired with {len(b.by_slot)}: "
            "use difference() for slots that do not belong together"
        )
    return from_slots(np.log(b.by_slot) - np.log(a.by_slot))


def centre(logs: Floats) -> tuple[Floats, Floats, int]:
    """Return means over the last axis, their standard errors and degrees of freedom.

    From MANY slots on these are the trimmed mean and Yuen's error, from the Winsorised values; without
    anything to trim they are Student's.
    """
    slots = logs.shape[-1]
    cut = int(TRIMMED * slots) if slots >= MANY else 0
    kept = slots - 2 * cut
    ordered = np.sort(logs.astype(np.float64), axis=-1)
    middle = ordered[..., cut : cut + kept]
    winsorised = np.clip(ordered, middle[..., :1], middle[..., -1:])
    error = winsorised.std(axis=-1, ddof=1) * math.sqrt((slots - 1) / (kept * (kept - 1)))
    return middle.mean(axis=-1), error, kept - 1


def from_slots(logs: Floats, rounds: int = 0) -> Interval:
    """Return the interval over one measurement's slots, each of which says one log ratio."""
    by_slot = tuple(np.exp(logs).tolist())
    if logs.size < 2:
        return Interval(by_slot[0] if by_slot else NAN, slots=logs.size, rounds=rounds, by_slot=by_slot)
    return _interval(over_slots(logs), slots=logs.size, rounds=rounds, by_slot=by_slot)


def _interval(bounds: Bounds, slots: int, rounds: int = 0, by_slot: tuple[float, ...] = ()) -> Interval:
    ratio, lo, hi, p_value = map(float, bounds)
    return Interval(ratio, lo, hi, p_value, slots, rounds, by_slot)


def _student(centre: Floats, error: Floats, freedom: float) -> Bounds:
    """Return the intervals around log ratios, and two-sided p-values that agree with them.

    A p-value is against the nearer edge of the band, and 1 inside it.
    """
    from scipy.special import stdtr, stdtrit  # a third of a second that a worker need not spend

    half = stdtrit(freedom, (1 + CONFIDENCE) / 2) * error
    outside = np.maximum(centre - math.log(FASTER), math.log(SLOWER) - centre)
    with np.errstate(divide="ignore", invalid="ignore"):  # slots that agree to the last bit have no error
        p_value = np.where(outside > 0, 2 * stdtr(freedom, -outside / error), 1.0)
    return Bounds(np.exp(centre), np.exp(centre - half), np.exp(centre + half), p_value)


def _over_rounds(base: Floats, other: Floats) -> Interval:
    """Return the median with its distribution-free interval: order statistics of a fair coin's tails."""
    ordered = np.sort(base - other)
    n = ordered.size
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
