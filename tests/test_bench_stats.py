"""The statistics of the race: right intervals, careful verdicts, and no trouble with broken clocks."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import stats
from bench.stats import Interval

TRIALS = 400
SPREAD = 3 * math.sqrt(0.95 * 0.05 / TRIALS)  # three standard deviations of a coverage of 95 %


def slots_of(
    rng: np.random.Generator, ratio: float, process_sd: float, slots: int, rounds: int = 30
) -> tuple[dict[int, stats.Rounds], dict[int, stats.Rounds]]:
    """Simulate two contestants as machines treat them: drift in common, one-sided noise, luck per process."""
    base: dict[int, stats.Rounds] = {}
    other: dict[int, stats.Rounds] = {}
    for slot in range(slots):
        level = np.exp(rng.normal(0, 0.2) + np.cumsum(rng.normal(0, 0.02, rounds)))
        luck = math.exp(rng.normal(0, process_sd))
        base[slot] = dict(enumerate(level * noise(rng, rounds)))
        other[slot] = dict(enumerate(level * noise(rng, rounds) * luck / ratio))
    return base, other


def noise(rng: np.random.Generator, rounds: int) -> np.ndarray:
    """Simulate rounds that are only ever too long: a little each time, a lot in one of ten."""
    hits = rng.random(rounds) < 0.1
    return np.exp(np.abs(rng.normal(0, 0.003, rounds)) + hits * rng.exponential(0.3, rounds))


def spread(values: list[float]) -> dict[int, stats.Rounds]:
    """Make slots of one round each."""
    return {slot: {0: value} for slot, value in enumerate(values)}


@pytest.mark.parametrize("process_sd", [0.005, 0.015])
def test_an_interval_over_five_slots_contains_the_truth_in_95_of_100_cases(process_sd):
    rng = np.random.default_rng(1)
    found = [stats.compare(*slots_of(rng, 1.03, process_sd, slots=5)) for _ in range(TRIALS)]
    coverage = np.mean([pair.lo <= 1.03 <= pair.hi for pair in found])
    assert 0.95 - SPREAD <= coverage <= 0.95 + SPREAD


def test_more_slots_for_wide_intervals_do_not_make_the_interval_lie():
    """Deciding once, on width, costs at most a point of coverage: the bound allows for it and for chance."""
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(TRIALS):
        base, other = slots_of(rng, 1.0, 0.015, slots=10)
        pair = stats.compare({k: base[k] for k in range(5)}, other)
        pair = pair if pair.width <= 0.03 else stats.compare(base, other)
        hits += pair.lo <= 1 <= pair.hi
    assert hits / TRIALS >= 0.94 - SPREAD


def test_contestants_that_do_not_differ_are_hardly_ever_called_different():
    """A false call needs the interval to clear the band as well, so it is far rarer than 5 %."""
    rng = np.random.default_rng(3)
    verdicts = [stats.compare(*slots_of(rng, 1.0, 0.01, slots=5)).verdict for _ in range(TRIALS)]
    assert sum(v in {"faster", "slower"} for v in verdicts) <= 0.025 * TRIALS
    assert verdicts.count("same") > TRIALS / 2


@pytest.mark.parametrize(
    ("lo", "hi", "verdict"),
    [
        (1.011, 1.2, "faster"),
        (1.01, 1.2, "undecided"),
        (0.9, 0.989, "slower"),
        (0.9, 0.99, "undecided"),
        (0.98, 1.02, "same"),
        (0.979, 1.0, "undecided"),
        (1.0, 1.021, "undecided"),
    ],
)
def test_verdicts_follow_the_bands(lo, hi, verdict):
    assert Interval(ratio=1.0, lo=lo, hi=hi, slots=5).verdict == verdict


def test_one_slot_never_carries_a_verdict():
    pair = stats.compare({0: dict.fromkeys(range(15), 2.0)}, {0: dict.fromkeys(range(15), 1.0)})
    assert (pair.ratio, pair.lo, pair.hi, pair.verdict, pair.slots, pair.rounds) == (2, 2, 2, "", 1, 15)


@pytest.mark.parametrize("bad", [0.0, -5.0, math.nan, math.inf])
def test_impossible_durations_take_only_their_own_round_with_them(bad):
    base = {slot: {0: 2.0, 1: bad, 2: 2.0} for slot in range(3)}
    other = {slot: {0: 1.0, 1: 1.0, 2: bad} for slot in range(3)}
    pair = stats.compare(base, other)
    assert (pair.ratio, pair.rounds, pair.slots) == (2.0, 3, 3)
    assert stats.typical({0: {0: bad}, 1: {0: 3.0, 1: bad}}) == 3.0
    assert stats.quartiles([bad, 1.0, 1.0]) == (1.0, 1.0)


def test_nothing_usable_is_no_figure_and_no_verdict():
    pair = stats.compare({0: {0: math.nan}}, {0: {0: 1.0}, 1: {0: 1.0}})
    assert math.isnan(pair.ratio)
    assert math.isnan(pair.mde)
    assert pair.verdict == ""
    assert math.isnan(stats.typical({}))
    assert math.isnan(stats.middle([None, math.nan]))
    assert all(map(math.isnan, stats.quartiles([])))


def test_a_contestant_with_fewer_rounds_is_paired_with_the_anchor_of_the_same_rounds():
    base = {slot: {r: 100.0 if r % 3 else 10.0 for r in range(9)} for slot in range(3)}
    other = {slot: dict.fromkeys(range(0, 9, 3), 10.0) for slot in range(3)}
    pair = stats.compare(base, other)
    assert (pair.ratio, pair.rounds) == (1.0, 9)


def test_identical_times_are_the_same_and_a_constant_difference_is_certain():
    same = stats.compare(spread([1.0] * 5), spread([1.0] * 5))
    assert (same.verdict, same.p_value, same.width) == ("same", 1.0, 0.0)
    certain = stats.compare(spread([1.05] * 5), spread([1.0] * 5))
    assert (certain.verdict, certain.p_value) == ("faster", 0.0)


def test_outliers_in_three_rounds_of_ten_do_not_move_the_ratio():
    hit = {r: 10.0 if r % 10 < 3 else 1.0 for r in range(30)}
    pair = stats.compare(
        dict.fromkeys(range(5), hit), {slot: dict.fromkeys(range(30), 1.0) for slot in range(5)}
    )
    assert (pair.ratio, pair.verdict) == (1.0, "same")


def test_drift_of_the_machine_cancels():
    drifting = {slot: {r: 1 + r / 50 + slot for r in range(30)} for slot in range(5)}
    assert stats.compare(drifting, drifting).verdict == "same"


@given(st.lists(st.floats(0.5, 2.0), min_size=2, max_size=10))
def test_the_p_value_and_the_interval_say_the_same(ratios):
    pair = stats.compare(spread(ratios), spread([1.0] * len(ratios)))
    outside = pair.lo > stats.FASTER * (1 + 1e-9) or pair.hi < stats.SLOWER * (1 - 1e-9)
    inside = pair.lo < stats.FASTER * (1 - 1e-9) and pair.hi > stats.SLOWER * (1 + 1e-9)
    assert not (outside and pair.p_value > 0.05)
    assert not (inside and pair.p_value < 0.05)


@pytest.mark.parametrize("n", [6, 15, 30, 60, 150])
def test_the_median_rank_is_the_tightest_that_covers_95_of_100(n):
    rank = stats.median_rank(n)
    tails = [2 * sum(math.comb(n, i) for i in range(k)) / 2**n for k in (rank, rank + 1)]
    assert tails[0] <= 0.05 < tails[1]


def test_too_few_rounds_have_no_interval():
    pair = stats.compare({0: dict.fromkeys(range(5), 2.0)}, {0: dict.fromkeys(range(5), 1.0)})
    assert pair.ratio == 2.0
    assert math.isnan(pair.lo)
    assert math.isnan(pair.hi)


def test_a_difference_that_does_not_stand_among_all_tests_is_undecided():
    lone = Interval(ratio=1.1, lo=1.02, hi=1.19, p_value=0.04, slots=5)
    nothing = Interval(ratio=1.0, lo=0.97, hi=1.03, p_value=1.0, slots=5)
    clear = Interval(ratio=2.0, lo=1.9, hi=2.1, p_value=1e-6, slots=5)
    assert stats.judge([lone]) == ["faster"]
    assert stats.judge([lone, clear, *[nothing] * 20]) == ["undecided", "faster", *["undecided"] * 20]


@given(st.lists(st.floats(0, 1), max_size=30))
def test_survivors_are_the_smallest_p_values_and_never_above_5_percent(p_values):
    survives = dict(sorted(zip(p_values, stats.survivors(p_values), strict=True)))
    assert all(p <= 0.05 for p, kept in survives.items() if kept)
    assert all(before >= after for before, after in pairwise(survives.values()))


def test_many_tests_without_any_difference_yield_hardly_any_survivor():
    """With true nulls alone, any survivor at all is the false discovery: in 5 of 100 families at most."""
    rng = np.random.default_rng(4)
    families = [any(stats.survivors(list(rng.random(100)))) for _ in range(TRIALS)]
    assert np.mean(families) <= 0.05 + SPREAD
