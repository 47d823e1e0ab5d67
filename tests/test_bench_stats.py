"""The statistics of the race: right intervals, careful verdicts, and no trouble with broken clocks."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import trim_mean, ttest_ind

from bench import stats
from bench.stats import Interval


def spread(values: list[float]) -> dict[int, stats.Rounds]:
    """Make slots of one round each."""
    return {slot: {0: value} for slot, value in enumerate(values)}


def test_dictionaries_of_rounds_and_arrays_of_turns_are_judged_alike():
    """The simulator judges arrays; what it finds is true of runs because this is so."""
    rng = np.random.default_rng(1)
    base, other = rng.lognormal(0, 0.1, (2, 5, 30))
    rounds = [{slot: dict(enumerate(times)) for slot, times in enumerate(arm)} for arm in (base, other)]
    pair = stats.compare(*rounds)
    bounds = stats.over_slots(stats.location(np.log(base), np.log(other)))
    assert np.array_equal(pair.bounds, bounds)
    assert pair.verdict == bounds.verdict


def test_many_measurements_at_once_are_judged_as_one_by_one():
    logs = np.random.default_rng(2).normal(0.01, 0.01, (50, 5))
    together = stats.over_slots(logs)
    alone = [stats.over_slots(row) for row in logs]
    for name in ("ratio", "lo", "hi", "p_value", "width", "mde", "verdict"):
        assert np.array_equal(getattr(together, name), [getattr(bounds, name) for bounds in alone])
    assert set(together.verdict) == {"faster", "same", "undecided"}


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


def test_rounds_that_are_slow_as_a_whole_cancel_to_the_last_bit():
    level = np.random.default_rng(5).lognormal(0, 1, 30)
    assert stats.location(np.log(level * 1.5), np.log(level)) == pytest.approx(math.log(1.5), abs=1e-12)


def test_neighbouring_turns_steady_a_ratio_of_two_speeds():
    """A median of the ratios by round would jump to another speed three times as often, or more."""
    slow = np.random.default_rng(6).random((2, 20_000, 30)) < 0.5
    base, other = slow * math.log(20.9 / 7.8)
    jumps = np.mean(stats.location(base, other) != 0)
    assert 0 < 2 * jumps < np.mean(np.median(base - other, axis=-1) != 0)


def slots_of(values) -> Interval:
    """Make what a comparison says whose slots say so."""
    return stats.compare(spread(list(values)), spread([1.0] * len(values)))


few = st.lists(st.floats(0.5, 2.0), min_size=2, max_size=stats.MANY - 1)
many = st.lists(st.floats(0.5, 2.0), min_size=stats.MANY, max_size=3 * stats.MANY, unique=True)


@given(st.tuples(few, few, st.just(0.0)) | st.tuples(many, many, st.just(stats.TRIMMED)))
def test_a_difference_of_runs_is_welchs_and_of_many_slots_yuens(sides):
    before, after, trim = sides
    found = stats.difference(slots_of(before), slots_of(after))
    assert found.slots == min(len(before), len(after))
    if min(np.ptp(np.sort(times)[len(times) // 4 :][: len(times) // 2]) for times in (before, after)) > 1e-3:
        test = ttest_ind(np.log(after), np.log(before), equal_var=False, trim=trim)
        bounds = test.confidence_interval(stats.CONFIDENCE)
        assert (found.lo, found.hi) == pytest.approx(tuple(np.exp([bounds.low, bounds.high])))
    assert found.ratio == pytest.approx(slots_of(after).ratio / slots_of(before).ratio)


def test_of_many_slots_a_few_unlucky_ones_do_not_matter():
    lucky = [1 + k / 1000 for k in range(stats.MANY)]
    unlucky = [time if k % 7 else 1.14 * time for k, time in enumerate(lucky)]
    assert slots_of(unlucky).ratio == pytest.approx(slots_of(lucky).ratio, abs=0.003)
    assert slots_of(unlucky).verdict == "same" == stats.difference(slots_of(lucky), slots_of(unlucky)).verdict
    assert slots_of(unlucky[: stats.MANY - 1]).verdict == "undecided"


def test_the_centre_of_many_slots_is_scipys_trimmed_mean():
    logs = np.random.default_rng(3).normal(size=(4, 33))
    centre, error, freedom = stats.centre(logs)
    assert centre == pytest.approx(trim_mean(logs, stats.TRIMMED, axis=1))
    assert freedom == 33 - 2 * 6 - 1
    assert (error > 0).all()


@given(st.lists(st.tuples(st.floats(0.5, 2.0), st.floats(0.5, 2.0)), min_size=2, max_size=10))
def test_a_difference_of_slots_that_ran_side_by_side_is_that_of_their_ratios(pairs):
    before, after = zip(*pairs, strict=True)
    found = stats.paired_difference(slots_of(before), slots_of(after))
    assert found.slots == len(pairs)
    direct = slots_of([b / a for a, b in pairs])
    assert found.bounds[:3] == pytest.approx(direct.bounds[:3], abs=1e-9)
    assert found.by_slot == pytest.approx(direct.by_slot)


@pytest.mark.parametrize("difference", [stats.difference, stats.paired_difference])
def test_slots_that_agree_to_the_last_bit_differ_for_certain_or_not_at_all(difference):
    one, more = slots_of([1.0] * 3), slots_of([1.05] * 3)
    found = difference(one, more)
    assert (found.ratio, found.width, found.p_value, found.verdict) == (pytest.approx(1.05), 0, 0, "faster")
    assert (difference(one, one).p_value, difference(one, one).verdict) == (1.0, "same")


@pytest.mark.parametrize("difference", [stats.difference, stats.paired_difference])
def test_a_difference_of_single_slots_has_no_interval_and_no_verdict(difference):
    found = difference(slots_of([1.0]), slots_of([2.0]))
    assert (found.ratio, found.slots, found.verdict) == (2.0, 1, "")
    assert math.isnan(found.lo)
    assert math.isnan(difference(Interval(), Interval()).ratio)


def test_unequal_numbers_of_slots_cannot_be_paired():
    with pytest.raises(ValueError, match="3 slots cannot be paired with 5"):
        stats.paired_difference(slots_of([1.0] * 3), slots_of([1.0] * 5))


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
    rng, trials = np.random.default_rng(4), 400
    families = [any(stats.survivors(list(rng.random(100)))) for _ in range(trials)]
    assert np.mean(families) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
