"""What is raced for similarity: everyone signs, compares and finds right, and what is wrong does not pass."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import scaled

from algos.catalog import variants
from bench.peers.similarity import PLACES, OurIndex, Ours, PythonFinder, compares
from bench.schema import Slice, Task
from bench.tasks import _similarity, _similarity_quality
from bench.tasks.similarity import TASKS, contestants
from bench.workloads import documents as data

KINDS = {variant.name: compares(variant) for variant in variants("similarity")}
RACING = {"signatures": "jaccard", "simhash": "hamming", "jaccard": "jaccard", "near_duplicates": "jaccard"}


def small(task: Task) -> Task:
    tokens = {"signatures": scaled(8_000, 4_000), "simhash": scaled(8_000, 4_000)}
    return replace(task, n=tokens.get(task.op, scaled(240, 120)))


RACES = {task.id: task for task in map(small, TASKS) if task.op != "first_call"}


def entry(name: str) -> Ours:
    (found,) = [Ours(variant) for variant in variants("similarity") if variant.name == name]
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
    assert set(KINDS.values()) == {"jaccard", "hamming", ""}


@pytest.mark.parametrize("task", RACES.values(), ids=lambda task: task.id)
def test_everyone_is_right(task: Task) -> None:
    """Each contestant that is installed passes the gate on the very data it would be timed on."""
    threads = os.environ.get("RAYON_NUM_THREADS")
    arms = contestants(task, 3)
    assert os.environ.get("RAYON_NUM_THREADS") == threads
    assert len({arm.name for arm in arms}) == len(arms)
    assert {arm.role for arm in arms} >= {"ours", "control", "null", "peer"}
    racing = {name for name, kind in KINDS.items() if kind == RACING.get(task.op, "")}
    ours = {arm.name for arm in arms if arm.role == "ours"}
    assert {name.removesuffix(" (all cores)") for name in ours} == racing
    assert (len(ours) > len(racing)) == ("threads" in task.params)
    for arm in arms:
        if not arm.missing:
            state = arm.setup(3)
            for part in arm.slices(500)[:2]:
                answer = arm.call(state, part.payload)
                finding = arm.check(answer, part) if arm.check else None
                assert finding is None or finding.ok, (arm.name, finding)
            assert (arm.check is None) == (arm.role in {"limit", "null"})


@pytest.mark.parametrize("length", [20, 200])
def test_documents_are_as_similar_as_they_say(length: int) -> None:
    """Every form has the same documents: pairs of known similarity, which share nothing with others."""
    documents = data.planted(12, length, (0.1, 0.5, 0.9), 5)
    for form in ("sets", "lists", "bytes", "texts", "arrow", "ints", "hash rows"):
        made = documents.form(form)
        listed = made.to_pylist() if form == "arrow" else made
        sets = [
            set(d.split() if form == "texts" else np.array(d).tolist() if form == "hash rows" else d)
            for d in listed
        ]
        assert all(len(one) == length for one in sets)
        assert len(set().union(*sets)) == sum(len(a | b) for a, b in zip(sets[::2], sets[1::2], strict=True))
        found = [len(a & b) / len(a | b) for a, b in zip(sets[::2], sets[1::2], strict=True)]
        assert found == pytest.approx(documents.truth)
    assert documents.truth[:3] == pytest.approx([0.1, 0.5, 0.9], abs=1 / length)
    hashes, offsets = documents.form("hashes", 2, 5)
    assert offsets.tolist() == [0, length, 2 * length, 3 * length]
    assert np.array_equal(hashes, documents.form("hashes")[0][2 * length : 5 * length])


def test_wrong_signatures_do_not_pass() -> None:
    """Of others, too few, too much alike: each is caught and said."""
    documents = data.planted(200, 100, (0.5,), 1)
    minhash, part = entry("MinHash"), Slice(20_000, None, documents.truth)
    made = minhash.sign("hashes", documents.form("hashes"))
    assert _similarity.agrees(minhash, made, part).ok
    assert "of 200 documents" in _similarity.agrees(minhash, made[:-2], part).detail
    assert "of 200 documents" in _similarity.agrees(minhash, made[:, :64], part).detail
    for wrong in (np.zeros_like(made), np.arange(made.size).reshape(made.shape)):
        assert "0.5" in _similarity.agrees(minhash, wrong, part).detail
    words = np.zeros(200, np.uint64)
    (variant,) = [v for v in variants("similarity") if v.name == "SimHash"]
    simhash = _similarity.OurSimHash(variant)
    assert "0.0000 in the mean" in _similarity.differs(simhash, 100, words[:, None], part).detail
    assert "of 200 documents" in _similarity.differs(simhash, 100, words[1:, None], part).detail


def test_wrong_similarities_do_not_pass() -> None:
    class Told:
        exact = False

    told: Any = Told()
    part = Slice(2, None, np.array([0.5, 0.9]))
    assert _similarity.near(told, [0.55, 0.9], part).ok
    assert "pair 1: said 0.500, is 0.900" in _similarity.near(told, [0.5, 0.5], part).detail
    assert "1 similarities" in _similarity.near(told, [0.5], part).detail
    told.exact = True
    assert "pair 0: said 0.550, is 0.500" in _similarity.near(told, [0.55, 0.9], part).detail


def test_wrong_candidates_do_not_pass() -> None:
    """Who does not find a document itself, or finds too few of its like or too many."""
    documents = data.planted(240, 40, _similarity.INDEXED, 2)
    exact, part = PythonFinder(), Slice(240, None, (0, 240))
    right = exact.find(documents.form("lists"))
    assert _similarity.candidates_right(exact, documents, right, part).ok
    assert "239 answers" in _similarity.candidates_right(exact, documents, right[1:], part).detail
    alone = [[at] for at in range(240)]
    assert "0 partners" in _similarity.candidates_right(exact, documents, alone, part).detail
    every = [[at, at ^ 1] for at in range(240)]
    for variant in variants("similarity"):
        if not compares(variant):
            index = OurIndex(variant)
            built = index.build(index.prepare(documents.form("hashes")))
            assert _similarity.built_right(index, documents, built, part).ok
            cut = np.arange(0, 481, 2), np.array(every).reshape(-1)
            assert "partners" in _similarity.candidates_right(index, documents, cut, part).detail
            missing = np.zeros(241, np.int64), np.empty(0, np.int64)
            assert "not among its own" in _similarity.candidates_right(index, documents, missing, part).detail


def test_quality_of_signatures_and_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours keep their laws, and what never agrees errs by the whole similarity."""
    monkeypatch.setattr(_similarity_quality, "PAIRS", scaled(200, 60))
    for name, kind in KINDS.items():
        if kind == "jaccard":
            found = {q.metric: q for q in _similarity_quality.measure(entry(name), "words", 200, None)}
            assert found.pop("bits_per_signature").value == 32 * PLACES
            assert all(q.ok for q in found.values()), found
            assert set(found) == {"jaccard_0.1_error", "jaccard_0.5_error", "jaccard_0.9_error"}

    class Random(Ours):
        def sign(self, kind: Any, documents: Any) -> Any:
            made = super().sign(kind, documents)
            return np.arange(made.size, dtype=np.uint32).reshape(made.shape)

    (variant,) = [v for v in variants("similarity") if v.name == "MinHash"]
    wrong = _similarity_quality.measure(Random(variant), "hashes", 200, None)
    assert [round(q.value, 1) for q in wrong[:3]] == [0.1, 0.5, 0.9]
    assert [q.ok for q in wrong[:3]] == [False] * 3
    documents = data.planted(240, 40, _similarity.INDEXED, 2)
    for variant in variants("similarity"):
        if not compares(variant):
            index = OurIndex(variant)
            built = index.build(index.prepare(documents.form("hashes")))
            recall, candidates, size = _similarity_quality.measure_index(index, documents, 240, built)
            assert recall.ok
            assert 0.5 < candidates.value < 2
            assert size.value > 16


def test_the_first_call_times_itself(capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = [task for task in TASKS if task.op == "first_call"]
    arms = contestants(task, 3)
    assert {arm.name for arm in arms} == set(KINDS)
    for arm in arms:
        exec(arm.slices(1)[0].payload, {})
        assert int(capsys.readouterr().out) > 0
