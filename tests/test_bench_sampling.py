"""What is raced for the samplers: everyone samples right, and what is wrong does not pass."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import scaled

from algos.catalog import variants
from bench.peers.sampling import Ours, OurTraces, PlainPython, weighted
from bench.schema import Slice, Task
from bench.tasks import _sampling, _sampling_quality
from bench.tasks.sampling import TASKS, contestants
from bench.workloads import items as data

KINDS = {variant.name: weighted(variant) for variant in variants("sampling")}
RACES = [replace(task, n=min(task.n, scaled(20_000, 4_000))) for task in TASKS if task.op != "first_call"]
RACING: dict[str, set[bool | None]] = {
    "sample": {False},
    "sample_weighted": {True},
    "offer": {False},
    "offer_weighted": {True},
    "merge": {False, True},
    "keep_many": {None},
    "keep": {None},
}


def entry(name: str) -> Ours:
    (found,) = [Ours(variant) for variant in variants("sampling") if variant.name == name]
    return found


def test_task_ids_are_unique_and_fit_into_file_names() -> None:
    ids = [task.id for task in TASKS]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9_.=-]{1,120}", name) for name in ids)


def test_tiers_keep_to_the_budget() -> None:
    tiers = Counter(task.tier for task in TASKS)
    assert 1 <= tiers["quick"] <= 8
    assert tiers["quick"] + tiers["default"] <= 40


def test_every_variant_is_raced() -> None:
    assert set(KINDS.values()) == {False, True, None}


@pytest.mark.parametrize("task", list({task.id: task for task in RACES}.values()), ids=lambda task: task.id)
def test_everyone_samples_right(task: Task) -> None:
    """Each contestant that is installed passes the gate on the very data it would be timed on."""
    arms = contestants(task, 3)
    assert len({arm.name for arm in arms}) == len(arms)
    assert {arm.role for arm in arms} >= {"ours", "control", "null"}
    assert {arm.name for arm in arms if arm.role == "ours"} == {
        name for name, kind in KINDS.items() if kind in RACING[task.op]
    }
    for arm in arms:
        if not arm.missing:
            state = arm.setup(3)
            for part in arm.slices(500)[:2]:
                answer = arm.call(state, part.payload)
                finding = arm.check(answer, part) if arm.check else None
                assert finding is None or finding.ok, (arm.name, finding)
            assert (arm.check is None) == (arm.role in {"limit", "null"})


def test_wrong_samples_do_not_pass() -> None:
    """Too few, the same twice, of elsewhere, only the first: each is caught and said."""
    reservoir, stream = entry("ReservoirSample"), data.stream(20_000, 1)
    part, k = Slice(20_000, None), _sampling.K

    def said(sample: Any, by_weight: bool = False, who: Any = reservoir) -> str:
        finding = _sampling.right(who, stream, by_weight, np.asarray(sample), part)
        assert finding.ok == (not finding.detail)
        return finding.detail

    even = np.arange(k) * 20
    assert not said(even)
    assert "999 items, not 1000" in said(even[1:])
    assert "1 items are there twice" in said([*even[1:], even[1]])
    assert "item 20000 is not one of 20000" in said([*even[1:], 20_000])
    assert "items of part 0 of 16, of which 62.5 are expected" in said(np.arange(k))
    assert "items of part" in said(even, True, entry("WeightedReservoirSample"))
    heaviest = np.argsort(stream.weights)[-k:]
    assert "items of part" in said(heaviest, True, entry("PrioritySample"))
    made = PlainPython().make(k)
    made.extend(range(900))
    assert "900 items, not 1000" in _sampling.kept(PlainPython(), 20_000, made, part).detail


def test_wrong_decisions_do_not_pass() -> None:
    (variant,) = [v for v in variants("sampling") if v.name == "ConsistentTraceSampler"]
    ours, part = OurTraces(variant), Slice(3, ["a", "b", "c"], np.array([True, False, True]))
    assert _sampling.decided(ours, [True, False, True], part).ok
    assert "trace 1, b: said True" in _sampling.decided(ours, [True, True, True], part).detail
    assert "2 decisions" in _sampling.decided(ours, [True, False], part).detail
    ours.exact = False
    all_kept = Slice(400, None, np.ones(400, np.bool_))
    assert "100.00% were kept" in _sampling.decided(ours, all_kept.truth, all_kept).detail


def test_chances_by_weight() -> None:
    """Each law's chances add up to the size of the sample; of equal weights all are the same."""
    weights = np.random.default_rng(2).lognormal(0, 1, 500)
    for law in ("successive", "threshold"):
        chance = _sampling_quality.inclusion(law, weights, 500, 60)  # type: ignore[arg-type]
        assert chance.sum() == pytest.approx(60)
        assert ((chance > 0) & (chance <= 1)).all()
        assert (np.argsort(chance, kind="stable") == np.argsort(weights, kind="stable"))[:400].all()
        equal = _sampling_quality.inclusion(law, np.ones(500), 500, 60)  # type: ignore[arg-type]
        assert equal == pytest.approx(0.12)
    heavy = np.array([100.0, *[1.0] * 99])
    assert _sampling_quality.inclusion("threshold", heavy, 100, 10)[0] == 1
    assert _sampling_quality.inclusion("proportional", heavy, 100, 10).sum() == pytest.approx(1.99)


def test_quality_of_samplers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours keep their laws; what takes the first items only is far from chance."""
    for name, small in {"N": 200, "K": 20, "TRIALS": 200, "SUM_N": 1_000, "SUM_TRIALS": 100}.items():
        monkeypatch.setattr(_sampling_quality, name, small)
    _sampling_quality._weighted.cache_clear()
    for name, kind in KINDS.items():
        if kind is not None:
            found = {q.metric: q for q in _sampling_quality.measure(entry(name), kind, None)}
            assert all(q.ok is not False for q in found.values()), found
            assert found["bytes_per_item"].value >= 8
            assert ("inclusion_chi_square" in found) == (not kind)

    class First(Ours):
        def sample(self, batches: Any, weights: Any, k: int) -> Any:
            del weights
            return batches[0][:k]

    (variant,) = [v for v in variants("sampling") if v.name == "ReservoirSample"]
    chances = _sampling_quality._chi_square(First(variant))
    assert chances.ok is False
    assert chances.value > 10
    _sampling_quality._weighted.cache_clear()


def test_the_first_call_times_itself(capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = [task for task in TASKS if task.op == "first_call"]
    arms = contestants(task, 3)
    assert {arm.name for arm in arms} == set(KINDS)
    for arm in arms:
        exec(arm.slices(1)[0].payload, {})
        assert int(capsys.readouterr().out) > 0
