"""The verdicts of a race, simulated: they hold on a noisy machine, and the document says what was found."""

from __future__ import annotations

import math
from itertools import product

import pytest

from bench import arm, race, simulate, stats
from bench.plan import BUDGETED, EFFORTS
from bench.report import banners, selfcheck
from bench.run import WIDE
from bench.simulate import CLAIMS, DOCUMENT, TRIALS, Cell

QUIET = Cell("none", 5, process_sd=0.005, noise=0.005, effect=0.0)
EVERY_KIND = [
    Cell(disturbance, slots, sd, noise, effect)
    for disturbance, slots in product(simulate.DISTURBANCES, simulate.SLOTS)
    for sd, noise, effect in [(0.001, 0.005, 0.03), (0.005, 0.005, 0.0), (0.015, 0.1, 0.0)]
]


def chance(share: float, trials: int) -> float:
    """Return four standard deviations of a share: one such test in 16,000 fails by chance."""
    return 4 * math.sqrt(share * (1 - share) / trials)


@pytest.fixture(scope="module")
def outcomes():
    return {cell: simulate.simulate(cell) for cell in EVERY_KIND}


@pytest.mark.parametrize("claim", CLAIMS, ids=[f"{claim.text} {claim.bound}" for claim in CLAIMS])
def test_every_claim_holds_under_every_disturbance(claim, outcomes):
    cell, figure = simulate.worst(claim, outcomes)
    assert simulate.holds(claim, figure), cell.text


def test_the_document_says_what_is_found_today(outcomes):
    lines = DOCUMENT.read_text("utf-8").splitlines()
    for cell, outcome in outcomes.items():
        title = f"<details><summary>{cell.disturbance}, {cell.slots} slots: 60 cells</summary>"
        at = lines.index(title)
        assert f"| {' | '.join(simulate.row(cell, outcome))} |" in lines[at : lines.index("</details>", at)]


def test_the_document_names_the_settings_of_the_code():
    text = " ".join(DOCUMENT.read_text("utf-8").split())
    usual, quick, thorough = EFFORTS["default"], EFFORTS["quick"], EFFORTS["thorough"]
    for said in (
        f"two passes agree within {100 * arm.WARM_AGREEMENT:g} %",
        f"(at most {arm.WARM_PASSES} passes)",
        f"at least {race.SPAN_NS // 1000} us, and at least {race.REFILLS} times as long",
        f"at most {arm.LONGEST_SPAN_NS // 1_000_000} ms. It is timed in up to {race.PIECES} pieces",
        f"more than {race.SLOW} times slower than the anchor",
        f"setup would take more than {race.HOPELESS_NS / 1e9:g} s",
        f"up to {race.INSTANCES} instances",
        f"{race.COLD_ROUNDS} rounds time single calls",
        f"{usual.slots} slots of up to {usual.rounds} rounds for every task",
        f"narrower than {100 * race.STEADY:g} % (looked at every {race.LOOK_EVERY} rounds)",
        f"up to {usual.most_slots} slots for tasks whose widest interval after the first {usual.slots}",
        f"is above {100 * WIDE:g} %",
        f"never below {usual.least_rounds} rounds",
        f"at most {BUDGETED.most_slots}, of up to {BUDGETED.rounds} rounds",
        f"`--thorough` runs {thorough.slots} slots of {thorough.rounds} rounds",
        f"From {stats.MANY} slots on, a fifth",
        f"Yuen's from {stats.MANY} slots on",
        f"and at least {stats.MANY} slots",
        f"({quick.step_seconds:g} s in a quick run, else {usual.step_seconds:g} s)",
        f"More than {100 * banners.PSI_ALARM:g} % waiting or {100 * banners.STEAL_ALARM:g} % stolen",
        f"above {stats.FASTER}, `slower` if it is below {stats.SLOWER}",
        f"within {stats.SAME[0]} to {stats.SAME[1]}",
        f"minimum detectable effect is below {100 * selfcheck.SURE:g} %",
        f"within {100 * selfcheck.CLOSE:g} %",
    ):
        assert said in text


@pytest.mark.statistical
def test_the_whole_grid_bears_the_claims_out_and_is_what_the_document_shows():
    outcomes = {cell: simulate.simulate(cell) for cell in simulate.grid()}
    for claim in CLAIMS:
        cell, figure = simulate.worst(claim, outcomes)
        assert simulate.holds(claim, figure), (claim.text, cell.text)
    text = DOCUMENT.read_text("utf-8")
    assert simulate.document(text, outcomes, TRIALS) == text


def test_the_grid_has_every_combination_once_at_slots_and_rounds_of_a_default_run():
    cells = simulate.grid()
    assert len(set(cells)) == len(cells) == 4 * 2 * 4 * 3 * 5
    (rounds,) = {cell.rounds for cell in cells}
    assert EFFORTS["default"].least_rounds <= rounds <= EFFORTS["default"].rounds
    assert {cell.slots for cell in cells} == {EFFORTS["default"].slots, EFFORTS["default"].most_slots}


@pytest.mark.parametrize("slots", simulate.SLOTS)
def test_without_disturbance_the_interval_holds_the_truth_in_95_of_100_cases(slots):
    coverage = simulate.simulate(QUIET._replace(slots=slots)).coverage
    assert abs(coverage - 0.95) <= chance(0.95, TRIALS)


def test_a_cell_does_not_depend_on_what_was_simulated_before():
    first = simulate.simulate(QUIET, 200)
    simulate.simulate(QUIET._replace(effect=0.05), 200)
    assert simulate.simulate(QUIET, 200) == first
    assert simulate.simulate(QUIET._replace(noise=0.02), 200) != first


def test_an_effect_beyond_what_is_detectable_is_found_and_one_within_the_band_is_not():
    far, near = (simulate.simulate(QUIET._replace(effect=effect)) for effect in (0.05, 0.01))
    assert far.faster >= 0.99
    assert near.faster <= 0.05


def test_more_slots_for_wide_intervals_hardly_make_the_interval_lie():
    """Deciding once, on width, costs a point or two of coverage; the bound is the one of all claims."""
    noisy = Cell("none", 5, process_sd=0.015, noise=0.02, effect=0.0)
    fixed, widened = simulate.simulate(noisy), simulate.simulate(noisy._replace(most_slots=10))
    assert widened.coverage >= 0.92
    assert widened.mde < fixed.mde


def test_outliers_that_always_hit_the_same_arm_are_beyond_the_claims():
    blamed = simulate.simulate(Cell("one-sided outliers", 5, process_sd=0.001, noise=0.1, effect=0.0))
    assert blamed.coverage < 0.92


def test_judging_a_runs_tasks_together_keeps_false_calls_below_5_percent():
    alone, together = simulate.run_of_tasks(process_sd=0.005, effect=0.05, null=0.01)
    assert alone.false > 0.05 > together.false
    assert together.found >= 0.95


def test_a_claim_that_does_not_hold_is_reported_with_its_cell():
    good, bad = (simulate.Outcome(coverage, 0.0, 0.0, 1.0, 0.0, 0.02) for coverage in (0.95, 0.9))
    outcomes = {QUIET: good, QUIET._replace(slots=10): bad}
    cell, figure = simulate.worst(CLAIMS[0], outcomes)
    assert (cell.slots, figure) == (10, 0.9)
    assert not simulate.holds(CLAIMS[0], figure)
