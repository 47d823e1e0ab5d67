"""What is raced for the ids: everyone mints and reads right, and what is wrong does not pass."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import scaled

from algos.catalog import variants
from algos.ids import Uuid7
from bench.peers.ids import Ahead, Ours
from bench.schema import Slice, Task
from bench.tasks import _id_quality, _ids
from bench.tasks.ids import TASKS, contestants

KINDS = {variant.name for variant in variants("ids")}
ASCENDING = {"Uuid7", "Ulid", "Snowflake", "Tsid", "Xid", "ObjectId"}
COUNTED = ASCENDING - {"Uuid7"}
RACES = [replace(task, n=200) for task in TASKS if task.op != "first_call"]


def test_task_ids_are_unique_and_fit_into_file_names() -> None:
    ids = [task.id for task in TASKS]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9_.=-]{1,120}", name) for name in ids)


def test_tiers_keep_to_the_budget() -> None:
    tiers = Counter(task.tier for task in TASKS)
    assert 1 <= tiers["quick"] <= 8
    assert tiers["quick"] + tiers["default"] <= 34


@pytest.mark.parametrize("task", RACES, ids=lambda task: task.id)
def test_everyone_mints_and_reads_right(task: Task) -> None:
    """Each contestant that is installed passes the gate on the very data it would be timed on."""
    arms = contestants(task, 3)
    assert len({arm.name for arm in arms}) == len(arms)
    assert {arm.role for arm in arms} >= {"ours", "control", "null", "peer"}
    kinds = {"Uuid5"} if task.op == "name" else KINDS - {"Uuid5"}
    assert {arm.name for arm in arms if arm.role == "ours"} == kinds
    for arm in arms:
        if not arm.missing:
            state = arm.setup(3)
            for part in arm.slices(64)[:2]:
                answer = arm.call(state, part.payload)
                assert arm.check is None or arm.check(answer, part).ok, arm.name
            assert (arm.check is None) == (arm.role in {"limit", "null"})


def test_the_index_is_simulated_as_it_says() -> None:
    """Ascending keys fill every leaf; random ones fill them to about ln 2, to and fro, and miss."""
    misses, slack = _id_quality.insert(range(256 * 300))
    assert slack == 0
    assert misses == 0  # a new leaf is made in memory
    keys = np.random.default_rng(1).permutation(256 * 600).tolist()
    misses, slack = _id_quality.insert(keys)
    assert slack == pytest.approx(1 - np.log(2), abs=0.05)
    assert 0.4 < misses < 0.7
    assert _id_quality.insert(reversed(range(2560)))[1] == pytest.approx(0.5, abs=0.05)


def test_quality_of_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinds in order of creation fill leaves; random ones do not."""
    monkeypatch.setattr(_id_quality, "IDS", scaled(4000, 2000))
    monkeypatch.setattr(_id_quality, "STEPPED", scaled(4000, 400))
    _id_quality._simulated.cache_clear()
    _id_quality._misplaced.cache_clear()
    monkeypatch.setattr(_id_quality, "DRAWN", scaled(20_000, 4000))
    entries, _ = _ids.entered("Uuid7")
    found = {e.name: _id_quality.measure(e.make_ahead()) for e in entries if isinstance(e, Ours)}
    _id_quality._simulated.cache_clear()
    _id_quality._misplaced.cache_clear()
    metric = {
        figure: {name: q.value for name, qs in found.items() for q in qs if q.metric == figure}
        for figure in (q.metric for q in found["Ksuid"])
    }
    disorder, slack = metric["disorder_rate"], metric["leaf_slack_rate"]
    assert all((disorder[name] == 0) == (name in ASCENDING) for name in disorder if "control" not in name)
    assert all(twice == 0 for twice in metric["duplicate_rate"].values())
    assert all((slack[name] < 0.1) == (name in ASCENDING) for name in slack if "control" not in name)
    assert metric["bytes_per_id"]["Ksuid"] == 20
    bits = {"Uuid4": 122, "Uuid7": 48, "Ksuid": 128, "NanoId": 126, **dict.fromkeys(COUNTED, 0)}
    assert {name: metric["unpredictable_bits"][name] for name in bits} == pytest.approx(bits, abs=0.1)


@pytest.mark.parametrize(("method", "bits"), [(1, 48), (2, 32), (3, 62)])
def test_unpredictable_bits_of_uuid7(method: Any, bits: int) -> None:
    """What a UUID of version 7 does not tell of the next is what docs/choose-ids.md says."""
    ids = Uuid7(method, clock=Ahead()).take(_id_quality.DRAWN)
    assert _id_quality.unpredictable(ids) == pytest.approx(bits, abs=0.6)


def test_wrong_ids_do_not_pass() -> None:
    """Too few, the same twice, out of order where order is promised: each is caught and said."""
    entries, _ = _ids.entered("Uuid7")
    ordered, plain = (next(e for e in entries if e.name == name) for name in ("Ulid", "Uuid4"))
    part = Slice(3, 3)
    for answer in (["a", "b", "c"], np.array([1, 2, 3]), np.array([[1], [2], [3]], np.uint8)):
        assert _ids.right(ordered, answer, part).ok
    assert "2 ids, not 3" in _ids.right(ordered, ["a", "b"], part).detail
    assert "twice" in _ids.right(plain, ["a", "b", "a"], part).detail
    assert "'a', does not follow on 'c'" in _ids.right(ordered, ["b", "c", "a"], part).detail
    assert _ids.right(plain, ["b", "c", "a"], part).ok
    texts: Any = Slice(2, ["a", "b"])
    assert _ids.all_read(plain, ["a", "b"], texts).ok
    assert not _ids.all_read(plain, ["a", "a"], texts).ok
    named = Slice(1, ["www.example.com"])
    assert _ids.named_right(["2ed6657d-e927-568b-95e1-2665a8aea6a2"], named).ok
    assert "is named x" in _ids.named_right(["x"], named).detail
    assert not _ids.named_right([], named).ok


def test_the_first_call_times_itself(capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = [task for task in TASKS if task.op == "first_call"]
    arms = contestants(task, 3)
    assert {arm.name for arm in arms} == KINDS
    for arm in arms:
        exec(arm.slices(1)[0].payload, {})
        assert int(capsys.readouterr().out) > 0
