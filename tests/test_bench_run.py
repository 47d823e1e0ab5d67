"""The harness on families made up for it: whatever contestants do, a run ends with a row for each of them."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from stage import Stage, info, planned, summary, table

from bench import plan, race, results, run
from bench.race import Protocol, Race
from bench.schema import FILES, SAMPLES, SUMMARY, Contestant, Gate, Quality, Slice, Task

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

ZOO = """
import os, signal, time
from pathlib import Path
import numpy as np
from bench.schema import Contestant, Gate, Quality, Slice, Task

TASKS = [
    Task("zoo", "pair", "ints", 10, tier="quick", anchor="plain"),
    Task("zoo", "duel", "ints", 20, {"hits": 50}, tier="thorough", anchor="rival"),
    Task("zoo", "first_call", "ints", 1, tier="default", anchor="plain"),
]

def zeros(seed):
    return np.zeros(1000)

def total(state, x):
    return int(x.sum())

def a_little_more(state, x):
    x[: len(x) // 32].sum()
    return int(x.sum())

def check(answer, part):
    first = part.payload[0]
    return Gate(answer == part.truth, f"the sum from {first} on is {part.truth}, not {answer}", error=0.25)

def contestants(task, seed):
    pool = np.random.default_rng(seed).integers(0, 1000, 20_000)

    def slices(limit):
        cuts = [pool[i : i + limit] for i in range(0, len(pool), limit)]
        return [Slice(len(cut), cut, int(cut.sum())) for cut in cuts]

    def entry(name, role, call=total, **more):
        return Contestant(name, role, call, slices, check=check, **more)

    def script(name, source, **more):
        return Contestant(name, "ours", total, lambda limit: [Slice(1, source)], **more)

    if task.op == "first_call":
        good = "import os; cache = os.environ['NUMBA_CACHE_DIR']; print('hello');"
        good += "print(1000 if os.listdir(cache) else 9000); open(cache + '/x', 'w').close()"
        return [
            script("plain", good),
            script("aborts", "import os; os.abort()"),
            script("hangs", "while 1: pass"),
            script("raises", "raise ValueError('no luck')"),
            script("absent", good, missing="pip install absent"),
        ]
    quality = [Quality("fpr", 0.011, 0.01, 0.009, 0.012, True)]
    found = [
        entry("plain", "ours", setup=zeros, nbytes=lambda s: s.nbytes, quality=lambda s: quality),
        entry("again", "control"),
        entry("more", "peer", a_little_more, package="numpy", input="ndarray"),
        Contestant("nothing", "null", lambda state, x: None, slices),
        Contestant("maximum", "limit", lambda state, x: x.max(), slices),
    ]
    if task.op == "duel":
        found += [entry("rival", "ours"), entry("rival twice", "ours"), entry("third", "ours")]
    return found
"""


@pytest.fixture
def bench(monkeypatch, tmp_path) -> Stage:
    return Stage(monkeypatch, tmp_path, "zoo", ZOO)


@pytest.fixture
def folder(bench) -> Path:
    return bench.folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Race the default tier once, for several tests to look at what it left."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        stage = Stage(monkeypatch, tmp_path_factory.mktemp("finished"), "zoo", ZOO)
        assert stage("--task", "pair", "first_call") == 0
    return stage.folder


# Whole runs


def test_a_full_run_leaves_every_file_and_nothing_else(finished):
    assert sorted(path.name for path in finished.iterdir()) == sorted([*FILES, "plan.json"])
    assert pq.read_schema(finished / "samples.parquet").equals(SAMPLES)
    assert pq.read_schema(finished / "summary.parquet").equals(SUMMARY)


def test_a_row_holds_what_was_measured_and_what_was_concluded(finished):
    rows = {name: row for (op, name), row in summary(finished).items() if op == "pair"}
    assert list(rows) == ["plain", "again", "more", "maximum", "nothing"]
    more, plain = rows["more"], rows["plain"]
    assert (more["package"], more["input"], more["status"]) == ("numpy", "ndarray", "ok")
    assert more["lo"] <= more["ratio"] <= more["hi"]
    assert more["verdict"] in {"faster", "slower", "same", "undecided"}
    assert more["mde"] > 0.01
    assert (plain["ratio"], plain["verdict"], plain["anchor"], more["anchor"]) == (1.0, "", True, False)
    assert (plain["limit"], more["limit"]) == ("maximum", "")
    assert plain["limit_lo"] <= plain["limit_share"] <= plain["limit_hi"]
    assert (plain["state_bytes"], plain["error"], plain["instances"]) == (8000, 0.25, race.INSTANCES)
    assert plain["slots"] in {2, 3}
    assert plain["ns_q1"] <= plain["ns_item"] <= plain["ns_q3"]
    assert rows["nothing"]["verdict"] == ""
    assert table(finished, "quality") == [
        {"task": "zoo.pair.ints.n=10", "contestant": "plain", "metric": "fpr", "value": 0.011, "theory": 0.01,
         "lo": 0.009, "hi": 0.012, "ok": True}
    ]  # fmt: skip


def test_samples_say_who_had_which_turn_in_which_slot(finished):
    samples = [s for s in table(finished, "samples") if ".pair." in s["task"]]
    first = [s for s in samples if s["slot"] == 0 and not s["cold"]]
    for round_ in {s["round"] for s in first}:
        turns = [s for s in first if s["round"] == round_]
        assert sorted(s["order"] for s in turns) == list(range(5))
    assert {s["instance"] for s in first} == set(range(race.INSTANCES))
    assert all(s["wall_ns"] > 0 and s["items"] >= s["calls"] >= 1 and s["warm_passes"] >= 1 for s in first)
    assert (
        sum(s["cold"] for s in samples if s["contestant"] == "plain" and s["slot"] == 0) == race.COLD_ROUNDS
    )
    seeds = [row["pythonhashseed"] for row in table(finished, "slots")]
    assert len(set(seeds)) == len(seeds) >= 2


def test_the_json_files_say_what_was_run_where(bench, folder):
    assert bench("--quick", "--task", "pair", "--no-peers", "--seed", "7") == 0
    told = info(folder)
    assert (told["tier"], told["peers"], told["seed"]) == ("quick", False, 7)
    assert (told["partial"], told["reason"], told["resume"]) == (False, "", "")
    assert told["command"][:5] == ["nox", "-s", "bench", "--", "--quick"]
    assert not {"--out", str(folder)} & set(told["command"])
    assert told["run_id"].endswith(told["fingerprint"])
    assert info(folder, "tasks")[0] == {
        "id": "zoo.pair.ints.n=10", "family": "zoo", "op": "pair", "workload": "ints", "n": 10, "params": {},
        "tier": "quick", "anchor": "plain", "title": "",
    }  # fmt: skip
    machine = info(folder, "env")
    assert {"id", "cpu", "cores", "caches", "volatile"} <= machine.keys()
    assert machine["volatile"]["packages"]["numpy"]
    assert info(folder, "catalog") == []  # the zoo is no family of the library
    assert ("pair", "more") not in summary(folder)


def test_first_calls_are_timed_in_fresh_processes_cold_and_warm(finished):
    rows = {name: row for (op, name), row in summary(finished).items() if op == "first_call"}
    assert (rows["plain"]["ns_cold"], rows["plain"]["ns_item"], rows["plain"]["verdict"]) == (9000, 1000, "")
    assert {name: (row["status"], row["note"]) for name, row in rows.items() if name != "plain"} == {
        "aborts": ("CRASHED", "SIGABRT in its first call"),
        "hangs": ("TIMEOUT", "no answer from its first call after 2 s"),
        "raises": ("ERROR", "ValueError: no luck"),
        "absent": ("NOT INSTALLED", "pip install absent"),
    }


def test_a_run_whose_code_is_edited_meanwhile_stops_and_says_so(bench, folder, monkeypatch, capsys):
    stamps = iter(["fixed", *["edited"] * 10])
    monkeypatch.setattr(run, "stamp", lambda _root=None: next(stamps))
    assert bench("--task", "pair") == 1
    assert "edited while the run was going on" in info(folder)["reason"]
    assert summary(folder)["pair", "plain"]["slots"] == 1
    assert "edited" in capsys.readouterr().out
    assert info(folder)["resume"] == ""  # it would be refused


# The race itself


def entrant(name: str, role: str = "ours", call=lambda _, items: len(items), **more) -> Contestant:
    pool = list(range(4000))
    more.setdefault("check", lambda answer, part: Gate(answer == part.items))

    def slices(limit: int) -> list[Slice]:
        return [Slice(len(pool[i : i + limit]), pool[i : i + limit]) for i in range(0, len(pool), limit)]

    return Contestant(name, role, call, slices, **more)


def held(contestants: list[Contestant], protocol: Protocol | None = None) -> Race:
    task = Task("zoo", "pair", "ints", 10, anchor="anchor")
    one = Race(task, contestants, protocol or Protocol(6, 3, seconds=20.0, cache_bytes=1 << 16), seed=1)
    one.prepare()
    one.run()
    return one


def test_every_instance_is_a_fresh_one_and_all_of_them_are_raced():
    seeds: list[int] = []
    one = held([entrant("anchor", setup=lambda seed: seeds.append(seed) or [seed])])
    assert len(set(seeds)) == race.INSTANCES
    assert {s["instance"] for s in one.samples} == set(range(race.INSTANCES))


def test_a_dear_setup_is_made_once(monkeypatch):
    monkeypatch.setattr(race, "DEAR_NS", 0)
    one = held([entrant("anchor"), entrant("peer", "peer")])
    assert [len(arm.states) for arm in one.arms] == [2, 1]  # ours may have been compiling the first time


def test_a_very_slow_contestant_has_shorter_calls_and_fewer_turns():
    def slow(_, items):
        ends = time.perf_counter_ns() + 50_000 * len(items)
        while time.perf_counter_ns() < ends:
            pass
        return len(items)

    one = held([entrant("anchor"), entrant("slow", "peer", slow)])
    turns = [s["round"] for s in one.samples if s["contestant"] == "slow" and not s["cold"]]
    assert turns == [0, 3]
    assert one.arms[1].pool[0].items <= 100 < one.arms[0].pool[0].items
    assert not any(s["cold"] for s in one.samples if s["contestant"] == "slow")


def test_a_wrong_answer_is_found_wherever_it_is_in_the_pool():
    def check(answer, part):
        return Gate(answer == part.items and part.payload[-1] != 3999, "3999 is missing")

    one = held([entrant("anchor"), entrant("late", check=check)])
    assert (one.arms[1].status, one.arms[1].note) == ("WRONG", "3999 is missing")
    assert {s["contestant"] for s in one.samples} == {"anchor"}


def test_errors_an_approximate_structure_is_entitled_to_are_weighted_by_items():
    check = lambda _, part: Gate(True, error=part.payload[0] / 1000)  # noqa: E731
    one = held([entrant("anchor", check=check)])
    assert one.arms[0].error == pytest.approx((0 + 1 + 2 + 3) / 4)


def test_without_an_anchor_the_others_still_race():
    one = held([entrant("anchor", call=lambda *_: 1 // 0), entrant("other")])
    assert {s["contestant"] for s in one.samples} == {"other"}


def test_a_call_that_would_take_for_ever_is_not_run(monkeypatch):
    monkeypatch.setattr(race, "HOPELESS_NS", -1.0)
    one = held([entrant("anchor")])
    assert (one.arms[0].status, one.arms[0].note) == ("NOT RUN", "one call takes 0 s at this n")


def test_quality_is_asked_of_those_that_answered_rightly():
    asked = [Quality("fpr", 0.01)]
    wrong = entrant("wrong", call=lambda *_: -1, quality=lambda _: asked)
    one = held([entrant("anchor", quality=lambda _: asked), wrong])
    one.measure_quality()
    assert [arm.quality for arm in one.arms] == [asked, []]


# Merging


def slot_file(folder: Path, slot: int, told: dict[str, dict], times: dict[str, list[float]]) -> None:
    """Write what a slot leaves behind: what it tells of contestants, and their times by round."""
    rows = [
        {"contestant": name, "status": "ok", "note": "", "items": 5} | more for name, more in told.items()
    ]
    samples = [
        {"contestant": name, "round": r, "cold": False, "ns_item": ns, "wall_ns": ns, "items": 1, "calls": 1}
        for name, ns_items in times.items()
        for r, ns in enumerate(ns_items)
    ]
    path = folder / "work" / "slots" / str(slot) / "zoo.pair.ints.n=10.json"
    plan.write_json(path, {"task": path.stem, "slot": slot, "contestants": rows, "samples": samples})


def merged(folder: Path, roles: dict[str, str], **changes) -> dict[str, dict]:
    entrants = [
        {"contestant": name, "role": role, "package": "", "input": ""} for name, role in roles.items()
    ]
    plan.write_json(folder / "work" / "entrants" / "zoo.pair.ints.n=10.json", entrants)
    results.merge(folder, planned(**changes), ended="2026-01-01T00:05:00+00:00")
    return {row["contestant"]: row for row in table(folder, "summary")}


def test_unusable_samples_are_counted_and_left_out(tmp_path):
    bad = [2.0, 0.0, float("nan"), -1.0, 2.0]
    for slot in range(3):
        slot_file(tmp_path, slot, {"plain": {}, "peer": {}}, {"plain": [1.0] * 5, "peer": bad})
    peer = merged(tmp_path, {"plain": "ours", "peer": "peer"})["peer"]
    assert (peer["ns_item"], peer["ratio"], peer["verdict"]) == (2.0, 0.5, "slower")
    assert peer["note"] == "9 of 15 samples had no usable time"


def test_a_contestant_that_fails_in_one_slot_has_no_figures(tmp_path):
    slot_file(tmp_path, 0, {"plain": {}, "peer": {}}, {"plain": [1.0], "peer": [1.0]})
    wrong = {"status": "WRONG", "note": "7 is not in it"}
    slot_file(tmp_path, 1, {"plain": {}, "peer": wrong}, {"plain": [1.0]})
    peer = merged(tmp_path, {"plain": "ours", "peer": "peer"})["peer"]
    assert (peer["status"], peer["note"], peer["ns_item"]) == ("WRONG", "7 is not in it", None)


def test_a_control_that_differs_from_itself_is_an_alarm(tmp_path):
    for slot in range(5):
        slot_file(tmp_path, slot, {"plain": {}, "again": {}}, {"plain": [1.0] * 3, "again": [0.9] * 3})
    again = merged(tmp_path, {"plain": "ours", "again": "control"})["again"]
    assert (again["verdict"], again["note"]) == (
        "faster",
        "faster than itself: distrust close verdicts of this task",
    )


def test_a_task_that_was_never_begun_is_listed_by_its_anchor(tmp_path):
    results.merge(tmp_path, planned(), ended="", reason="interrupted")
    (row,) = table(tmp_path, "summary")
    assert (row["contestant"], row["status"], row["note"]) == ("plain", "NOT RUN", "the run ended before it")
    assert (info(tmp_path)["partial"], info(tmp_path)["reason"]) == (True, "interrupted")


def test_the_same_slots_give_the_same_bytes(tmp_path):
    for slot in range(3):
        slot_file(tmp_path, slot, {"plain": {}, "peer": {}}, {"plain": [1.0, 1.5], "peer": [1.25, 1.5]})
    roles = {"plain": "ours", "peer": "peer"}
    merged(tmp_path, roles)
    first = {name: (tmp_path / name).read_bytes() for name in FILES}
    merged(tmp_path, roles)
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == first


def test_only_wide_intervals_of_the_first_slots_ask_for_more(tmp_path):
    for slot, ns in enumerate([1.0, 1.0, 5.0]):
        slot_file(tmp_path, slot, {"plain": {}, "peer": {}}, {"plain": [1.0], "peer": [ns]})
    merged(tmp_path, {"plain": "ours", "peer": "peer"})
    assert results.widths(tmp_path, planned(), slots=2) == {"zoo.pair.ints.n=10": 0.0}
    assert results.widths(tmp_path, planned(), slots=3)["zoo.pair.ints.n=10"] > 1
