"""What a run is asked for: its options, its plan, its seconds, and going on with it."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from stage import Stage, info, planned

from bench import options, plan, results, run, selfcheck
from bench.budget import LEAST_SECONDS, WORKER_START_SECONDS, Budget
from bench.plan import Plan
from bench.schema import Task

if TYPE_CHECKING:
    from pathlib import Path

FAMILY = """
from bench.schema import Contestant, Slice, Task

TASKS = [
    Task("zoo", "look", "ints", 10, tier="quick", anchor="Plain"),
    Task("zoo", "look", "ints", 20, anchor="Plain"),
    Task("zoo", "build", "ints", 10, tier="thorough", anchor="Other"),
]

def contestants(task, seed):
    def entry(name, role="ours"):
        return Contestant(name, role, lambda _, part: None, lambda limit: [Slice(1, None)])

    found = [entry("Plain"), entry("again", "control"), entry("Third"), entry("set", "exact")]
    found += [entry("other", "peer"), entry("limit", "limit"), entry("null", "null")]
    return [*found, entry("Other"), entry("Other 4-ary")] if task.op == "build" else found
"""


@pytest.fixture
def bench(monkeypatch, tmp_path) -> Stage:
    return Stage(monkeypatch, tmp_path, "zoo", FAMILY)


@pytest.fixture
def folder(bench) -> Path:
    return bench.folder


def made(bench: Stage, *words: str) -> Plan:
    found, folder = options.create(options.parser().parse_args([*words, "--out", str(bench.folder)]), words)
    assert Plan.read(folder) == found
    (folder / "work").rmdir()
    (folder / "plan.json").unlink()
    return found


def ids(found: Plan) -> list[str]:
    return [task["id"].removeprefix("zoo.") for task in found.tasks]


# Selection


def test_tiers_contain_one_another(bench):
    quick, default, thorough = (set(ids(made(bench, *words))) for words in (["--quick"], [], ["--thorough"]))
    assert quick < default < thorough
    assert ids(made(bench, "--thorough", "--task", "*.build.*")) == ["build.ints.n=10"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--family", "nil"], "no tasks for nil: choose of zoo"),
        (["--task", "nil"], "no task of tier default matches"),
        (["--task", "nil", "--self-check"], "no task of tier default matches"),
        (["--variant", "Nil", "Plain"], "no variant Nil: choose of Other, Plain"),
    ],
)
def test_a_selection_that_is_empty_is_an_error(bench, capsys, words, said):
    assert bench(*words) == 2
    assert said in capsys.readouterr().err


def test_a_folder_with_something_in_it_is_not_written_over(bench, folder, capsys):
    folder.mkdir()
    (folder / "mine").touch()
    assert bench("--task", "look") == 2
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.usefixtures("bench")
def test_chosen_variants_race_against_all_but_the_others_of_ours():
    look, build = plan.tasks_of("zoo")[0], plan.tasks_of("zoo")[2]
    names = [c.name for c in plan.contestants_of(build, 0, variants=["Other"])]
    assert names == ["again", "set", "other", "limit", "null", "Other", "Other 4-ary"]
    names = [c.name for c in plan.contestants_of(build, 0, peers=False, variants=["Plain"])]
    assert names == ["Plain", "again", "set", "limit", "null", "Other"]  # the anchor is always there
    with pytest.raises(plan.LeftOutError, match=r"Other not in zoo\.look"):
        plan.contestants_of(look, 0, variants=["Other"])


def test_a_task_in_which_no_chosen_variant_races_is_left_out_of_the_results(bench):
    assert bench("--quick", "--variant", "Other") == 0
    assert json.loads((bench.folder / "tasks.json").read_text("utf-8")) == []
    assert pq.read_table(bench.folder / "summary.parquet").num_rows == 0


def test_families_without_a_chosen_variant_are_left_out(bench):
    other = FAMILY.replace('"zoo"', '"arc"').replace("Plain", "Only")
    (bench.folder.parent / "families" / "arc.py").write_text(other, "utf-8")
    assert made(bench, "--variant", "Plain").families == ["zoo"]
    assert made(bench, "--variant", "Plain", "Only").families == ["arc", "zoo"]


def test_the_self_check_is_raced_only_when_it_is_asked_for(bench):
    assert plan.families() == ["zoo"]
    checks = [task.id for task in selfcheck.TASKS]
    assert ids(made(bench, "--self-check")) == checks
    assert ids(made(bench, "--quick", "--self-check")) == checks
    assert ids(made(bench, "--quick", "--task", "look", "--self-check")) == ["look.ints.n=10", *checks]
    assert [task.id for task in plan.find(checks)] == checks


def test_the_self_check_knows_nothing_of_variants(monkeypatch):
    found = [selfcheck.Contestant(name, "ours", print, lambda _: []) for name in ("kernel", "3 % more work")]
    monkeypatch.setattr(selfcheck, "contestants", lambda _task, _seed: found)
    assert plan.contestants_of(selfcheck.TASKS[0], 0, variants=["Plain"]) == found


# Seconds


def test_a_budget_is_a_number_and_a_unit():
    assert [options.duration(text) for text in ("90s", "10m", "1.5h")] == [90.0, 600.0, 5400.0]


@pytest.mark.parametrize("text", ["10", "m", "0m", "10 m", "1d", "-5m", "nan", "1e3s", "tens"])
def test_anything_else_is_an_error_with_examples(text):
    with pytest.raises(ArgumentTypeError, match="write, say, 90s, 10m or 1h"):
        options.duration(text)


def test_a_budget_is_a_tiers_tasks_with_other_seconds(bench):
    found = made(bench, "--budget", "10m")
    assert (found.tier, found.budget, found.effort.task_seconds) == ("default", 600.0, inf)
    assert (found.effort.slots, found.effort.most_slots) == (2, 3)
    assert made(bench, "--thorough", "--budget", "10m").tier == "thorough"


def tasks(family: str, *sizes: int) -> list[dict]:
    return [plan.describe(Task(family, "look", "ints", n, anchor="Plain")) for n in sizes]


def test_a_budget_is_shared_by_families_in_proportion_to_their_tasks():
    many = [*tasks("arc", 1), *tasks("zoo", 1, 2, 3)]
    found = planned(tasks=many, budget=400.0 + plan.REPORT_SECONDS)
    assert (found.seconds("arc"), found.seconds("zoo")) == (100.0, 300.0)
    tier = planned(tasks=many)
    assert tier.seconds("arc") == tier.seconds("zoo") == tier.effort.seconds


A, B = "zoo.look.ints.n=1", "zoo.look.ints.n=2"


@pytest.fixture
def spending(tmp_path, monkeypatch) -> Budget:
    """Two tasks after their first slot of five, in which they took 30 of 250 s, and B 10 s to prepare."""
    plan.write_json(tmp_path / "slots" / "0" / f"{A}.json", {"seconds": 4.0, "fixed_seconds": 1.0})
    plan.write_json(tmp_path / "slots" / "0" / f"{B}.json", {"seconds": 24.0, "fixed_seconds": 10.0})
    plan.write_json(tmp_path / "workers" / "0.zoo.0.json", {"seconds": 30.0})
    monkeypatch.setattr(plan, "BUDGETED", replace(plan.BUDGETED, most_slots=10))
    return Budget(planned(tasks=tasks("zoo", 1, 2), budget=250.0 + plan.REPORT_SECONDS), tmp_path)


def test_time_is_shared_evenly_by_the_slots_to_come(spending):
    assert spending.spent("zoo") == 30.0
    assert spending.seconds(1, "zoo", [A, B], due=2) == 220 / 4 - WORKER_START_SECONDS
    # after a crash in slot 1 one task of two is left of it, and six in the three slots after it
    assert spending.seconds(1, "zoo", [B], due=2) == pytest.approx(220 / 7 - WORKER_START_SECONDS)
    # past the planned slots five more may follow, of which as many are counted on as fit
    assert spending.seconds(5, "zoo", [A], due=1) == 220 / 5 - WORKER_START_SECONDS
    assert spending.seconds(5, "zoo", [B, B], due=2) == 220 / int(220 / 50) - WORKER_START_SECONDS


def test_all_tasks_have_equally_long_for_their_rounds_whatever_they_cost_before(spending):
    assert spending.rounds([A, B], seconds=51.0) == (51 - 1 - 10) / 2
    plan.write_json(spending.work / "slots" / "1" / f"{B}.json", {"seconds": 14.0, "fixed_seconds": 4.0})
    assert spending.rounds([A, B], seconds=25.0) == (25 - 1 - 4) / 2  # the least it has cost


def test_what_a_task_costs_is_taken_for_as_much_as_its_rounds_until_it_is_known(tmp_path, spending):
    assert spending.rounds([A, "unknown"], seconds=31.0) == (31 - 1) / 3
    assert Budget(spending.plan, tmp_path / "new").rounds([A, B], seconds=40.0) == 40 / 4


def test_where_time_does_not_suffice_every_task_still_has_the_least(spending):
    assert spending.rounds([A, B], seconds=0.0) == LEAST_SECONDS


def test_a_tier_bounds_the_rounds_of_a_task_asked_for_alone(tmp_path):
    assert Budget(planned(), tmp_path).rounds([A], 50.0) == planned().effort.task_seconds
    assert Budget(planned(budget=300.0), tmp_path).rounds([A], 50.0) == 25.0
    assert Budget(planned(tier="thorough"), tmp_path).rounds([A], inf) == inf


def test_one_slot_more_is_run_only_if_the_likes_of_it_fit_into_what_is_left(spending):
    plan.write_json(spending.work / "workers" / "1.zoo.0.json", {"seconds": 200.0})
    assert spending.affords("zoo", [A])
    assert not spending.affords("zoo", [A, B])


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize("words", [[], ["--budget", "10m"]])
def test_slots_past_the_planned_ones_are_for_wide_tasks_or_with_a_budget_for_all(folder, monkeypatch, words):
    given = options.parser().parse_args([*words, "--out", str(folder)])
    supervisor = run.Supervisor(*options.create(given, []))
    small, large = supervisor.plan.raced("zoo")
    raced: list[tuple[int, list[str]]] = []
    monkeypatch.setattr(results, "widths", lambda *_: {small: run.WIDE, large: 2 * run.WIDE})
    monkeypatch.setattr(supervisor, "_slot", lambda slot, _, tasks: raced.append((slot, tasks)))
    for affords in (True, False):
        monkeypatch.setattr(supervisor.budget, "affords", lambda *_, affords=affords: affords)
        supervisor.slot(1)
        supervisor.slot(2)
    more = [small, large] if words else [large]
    assert raced == [(1, [small, large]), (2, more), (1, [small, large])]
    assert supervisor.reporter.total == 2 * 2 + len(more)


@pytest.mark.usefixtures("bench")
def test_a_run_that_must_take_longer_says_so_once(folder, capsys):
    supervisor = run.Supervisor(
        *options.create(options.parser().parse_args(["--budget", "6s", "--out", str(folder)]), [])
    )
    for slot in (0, 1):
        assert supervisor._rounds(slot, "zoo", supervisor.plan.raced("zoo"), due=2) == LEAST_SECONDS
    assert capsys.readouterr().out.count("0 s are too few for a slot of 2 tasks of zoo") == 1


# Going on


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stamp": "older"}, "measured with code older, which is now fixed: check out the code of that run"),
        ({}, "measured on machine f, this one is"),
    ],
)
def test_resuming_refuses_another_code_or_machine_and_says_what_to_do(bench, folder, capsys, changes, said):
    planned(**changes).write(folder)
    (folder / "work").mkdir()
    assert bench("--resume", str(folder)) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "start a new" in told


def test_resuming_needs_an_unfinished_run(bench, folder, capsys):
    assert bench("--resume") == 2
    assert "no stopped run" in capsys.readouterr().err
    assert bench("--resume", "nowhere") == 2
    assert "no plan.json in nowhere" in capsys.readouterr().err
    assert bench("--resume", "nowhere", "--quick") == 2
    assert "give --resume no others" in capsys.readouterr().err
    planned().write(folder)
    assert bench("--resume", str(folder)) == 2
    assert f"python -m bench report {folder}" in capsys.readouterr().err


def test_a_plan_is_read_back_as_it_was_written(tmp_path):
    planned().write(tmp_path)
    assert Plan.read(tmp_path) == planned()
    slots = info(tmp_path, "plan")["slots"]
    assert [slot["slot"] for slot in slots] == list(range(10))
    assert len({slot["seed"] for slot in slots}) == 10
