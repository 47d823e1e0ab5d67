"""What is raced for the rate limiters: everyone decides right, and what is wrong does not pass."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import scaled

from algos.catalog import variants
from bench.peers.ratelimit import ClosureOfOne, Ours, one_by_one
from bench.schema import Slice, Task
from bench.tasks import _ratelimit, _ratelimit_quality
from bench.tasks.ratelimit import TASKS, contestants

NAMES = {variant.name for variant in variants("ratelimit")}
TIMED = {name for name in NAMES if not name.startswith("Shared")}
RACES = [replace(task, n=min(task.n, 500)) for task in TASKS if task.op != "first_call"]


def entry(name: str) -> Ours:
    (found,) = [Ours(variant) for variant in variants("ratelimit") if variant.name == name]
    return found


def test_task_ids_are_unique_and_fit_into_file_names() -> None:
    ids = [task.id for task in TASKS]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9_.=-]{1,120}", name) for name in ids)


def test_tiers_keep_to_the_budget() -> None:
    tiers = Counter(task.tier for task in TASKS)
    assert 1 <= tiers["quick"] <= 8
    assert tiers["quick"] + tiers["default"] <= 34


@pytest.mark.parametrize("task", RACES, ids=lambda task: task.id)
def test_everyone_decides_right(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each contestant that is installed passes the gate on the very data it would be timed on."""
    monkeypatch.setattr(_ratelimit, "REQUESTS", scaled(20_000, 500))
    monkeypatch.setattr(_ratelimit, "SAMPLE", scaled(2000, 200))
    monkeypatch.setattr(_ratelimit, "measure", lambda *_: [])
    arms = contestants(task, 3)
    assert len({arm.name for arm in arms}) == len(arms)
    timed = "fields" in task.params
    assert {arm.role for arm in arms} >= {"ours", "control", "null", "limit" if timed else "peer"}
    assert {arm.name for arm in arms if arm.role == "ours"} == (TIMED if timed else NAMES)
    assert any(arm.name == ClosureOfOne.name for arm in arms) == (task.n == 1)
    for arm in arms:
        if not arm.missing:
            state = arm.setup(3)
            for part in arm.slices(64)[:2]:
                answer = arm.call(state, part.payload)
                assert arm.check is None or arm.check(answer, part).ok, arm.name
            assert (arm.check is None) == (arm.role in {"limit", "null"})


def test_wrong_decisions_do_not_pass() -> None:
    """Too few, too many, too little, another rule: each is caught and said."""
    gcra, keys = entry("Gcra"), np.zeros(60, np.int64)
    part = Slice(60, (keys, np.arange(60)))
    answer = gcra.limiter(10, 20, 1).allow_many(*part.payload)
    assert _ratelimit.exact(gcra, answer, part).ok
    assert not _ratelimit.exact(gcra, answer, Slice(59, part.payload)).ok
    larger: Any = entry("Gcra")
    larger.limiter = lambda *_: gcra.limiter(10, 21, 1)
    assert "request 20 of key 0: said True" in _ratelimit.exact(larger, answer, part).detail

    class Fixed(Ours):
        def make(self, rate: int, burst: int, period: int) -> Any:
            del rate, burst, period
            return one_by_one(self.answers)

        def answers(self, key: str) -> bool:
            return self.always if key else False

    (variant,) = [v for v in variants("ratelimit") if v.name == "Gcra"]
    made, texts = Fixed(variant), Slice(60, ["a"] * 60)
    for always, said in ((True, "60 requests of 'a' were allowed"), (False, "0 of 60 requests of 'a'")):
        made.always = always
        assert said in _ratelimit.bounded(made, [True] * 60, texts).detail
    assert "59 answers" in _ratelimit.bounded(gcra, [True] * 59, texts).detail
    assert _ratelimit.bounded(gcra, [True] * 60, Slice(60, pa.array(["a"] * 60))).ok


def test_the_rule_of_the_gate() -> None:
    """A burst at once, and one for each interval after it."""
    assert list(_ratelimit.rule([1] * 22, [0] * 21 + [10**8])) == [True] * 20 + [False, True]


def test_errors_are_counted_as_they_are() -> None:
    """Of three a minute: what a window of the log had room for, and what not."""
    second = 10**9
    keys, times = np.zeros(6, np.int64), np.array([0, 1, 2, 3, 60, 61]) * second
    allowed = np.array([True, True, True, True, False, True])
    assert _ratelimit_quality.before(keys, times, allowed).tolist() == [0, 1, 2, 3, 3, 2]


def test_quality_of_limiters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is never wrong, a bucket never denies wrongly, and nobody errs where little is asked."""
    monkeypatch.setattr(_ratelimit_quality, "PERIODS", 5)
    monkeypatch.setattr(_ratelimit_quality, "CLIENTS", scaled(100, 4))
    for cached in (_ratelimit_quality.requests, _ratelimit_quality.errors):
        cached.cache_clear()
    for name in sorted(TIMED):
        made = entry(name)
        state = _ratelimit.Timed(made.limiter(10, 20, 1), "allowed")
        found = {figure.metric: figure.value for figure in _ratelimit_quality.measure(made, state)}
        assert found.pop("bytes_per_key", 9) > 8
        assert (len(found) == 10) == (name != "ConcurrencyLimiter")
        if name == "SlidingLog":
            assert not any(found.values())
        if name in {"Gcra", "TokenBucket", "LeakyBucket", "MultiTier"}:
            assert found["denial_1_rate"] == 0 < found["over_admission_1_rate"]
        assert found.get("over_admission_0.5_rate", 0.0) <= 0.01
    for cached in (_ratelimit_quality.requests, _ratelimit_quality.errors):
        cached.cache_clear()


def test_the_first_call_times_itself(capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = [task for task in TASKS if task.op == "first_call"]
    arms = contestants(task, 3)
    assert {arm.name for arm in arms} == NAMES
    for arm in arms:
        exec(arm.slices(1)[0].payload, {})
        assert int(capsys.readouterr().out) > 0
