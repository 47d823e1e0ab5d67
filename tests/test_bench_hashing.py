"""What is raced for the hash functions: the keys, that everyone hashes right, and what hashes are held to."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest

from algos.hashing import hash64
from bench.schema import Task
from bench.tasks import _hash_quality, _hashing
from bench.tasks.hashing import TASKS, contestants
from bench.workloads import texts

SEED = 3


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hashing, "SCALARS", 500)
    monkeypatch.setattr(_hashing, "BUFFERS_BYTES", 4096)


def small(op: str, workload: str = "ids", n: int = 500, style: str = "favourite") -> Task:
    params = {"input": style} if op == "hash" else {}
    return Task("hashing", op, workload, n, params, anchor="xxh3")


# ---------------------------------------------------------------------------------------------------
# Keys


@pytest.mark.parametrize("vary", [False, True])
@pytest.mark.parametrize("length", [4, 12, 30, 100])
def test_texts_have_the_lengths_they_are_named_for(length: int, vary: bool) -> None:
    made = texts.texts(2000, length, SEED, vary=vary)
    made.validate(full=True)
    lengths = np.array([len(text) for text in made.to_pylist()])
    low, high = (length // 2, length + length // 2) if vary else (length, length)
    assert (lengths.min(), lengths.max()) == (low, high)
    assert made.equals(texts.texts(2000, length, SEED, vary=vary))
    assert not made.equals(texts.texts(2000, length, SEED + 1, vary=vary))


@pytest.mark.parametrize("workload", ["ids", "fixed12", "varied30"])
def test_keys_are_the_same_in_every_form(workload: str) -> None:
    """Whatever the form, slices make up all keys, in order."""
    keys = _hashing.Keys(workload, 500, SEED)
    want = keys.form("arrow").to_pylist()
    read = {
        "ndarray": lambda part: part.tolist(),
        "arrow": lambda part: part.to_pylist(),
        "list": list,
        "objects": lambda part: part.tolist(),
        "polars": lambda part: part.to_list(),
        "table": lambda part: part["k"].to_pylist(),
        "bytes": lambda part: [
            int.from_bytes(k, "little", signed=True) if keys.kind == "int" else k.decode() for k in part
        ],
    }
    for form in {keys.base, *(form for kind, form in _hashing.CONVERSIONS if kind == keys.kind)}:
        parts = keys.slices(form, 64)
        assert [key for part in parts for key in read[form](part.payload)] == want, form
        assert [part.items for part in parts] == [64] * 7 + [52]


# ---------------------------------------------------------------------------------------------------
# Tasks and contestants


def test_task_ids_are_unique_and_fit_into_file_names() -> None:
    ids = [task.id for task in TASKS]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9_.=-]{1,120}", name) for name in ids)


def test_tiers_keep_to_the_budget() -> None:
    tiers = Counter(task.tier for task in TASKS)
    assert 1 <= tiers["quick"] <= 8
    assert tiers["quick"] + tiers["default"] <= 34


RACES = [
    *(small("hash", name) for name in ("ids", "fixed4", "fixed100", "varied12")),
    *(small("hash", name, style=style) for name, style in (("ids", "numpy"), ("varied12", "arrow"))),
    *(small("hash_one", name) for name in ("ids", "varied12")),
    *(small("digest", "buffer", n) for n in (64, 1024)),
]


@pytest.mark.parametrize("task", RACES, ids=lambda task: task.id)
def test_everyone_answers_right(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each contestant that is installed passes the gate on the very data it would be timed on."""
    monkeypatch.setattr(_hashing, "measure", lambda _entry, _state: [])  # tested below
    arms = contestants(task, SEED)
    assert len({arm.name for arm in arms}) == len(arms)
    assert {arm.role for arm in arms} >= {"ours", "control", "null", "peer"}
    assert ("splitmix64" in {arm.name for arm in arms}) == (task.workload == "ids")
    for arm in arms:
        if not arm.missing:
            for part in arm.slices(64)[:2]:
                answer = arm.call(arm.setup(SEED), part.payload)
                assert arm.check is None or arm.check(answer, part).ok, arm.name
            assert (arm.check is None) == (arm.role in {"limit", "null"})


def anchor(task: Task) -> Any:
    return next(arm for arm in contestants(task, SEED) if arm.name == "xxh3")


def test_a_wrong_hash_does_not_pass() -> None:
    """One wrong bit, hashes that are all one, a missing one: each is caught and said."""
    arm = anchor(small("hash", "varied12"))
    part = arm.slices(64)[0]
    right = arm.call(None, part.payload)
    assert arm.check(right, part).ok
    wrong = right.copy()
    wrong[5] ^= np.uint64(1)
    assert "hashed to" in arm.check(wrong, part).detail
    assert "hashes of 64 keys" in arm.check(right[:-1], part).detail
    peer = next(a for a in contestants(small("hash", "varied12"), SEED) if a.name == "polars hash")
    assert "share a hash" in peer.check(np.zeros(64, np.uint64), part).detail


def test_a_wrong_digest_does_not_pass() -> None:
    arm = anchor(small("digest", "buffer", 1024))
    part = arm.slices(1)[0]
    assert arm.check(arm.call(None, part.payload), part).ok
    assert not arm.check(arm.call(None, part.payload[:-1]), part).ok


def test_first_calls_are_programs() -> None:
    arms = contestants(small("first_call"), SEED)
    assert {arm.name for arm in arms} >= {"xxh3", "siphash24"}
    for arm in arms:
        (part,) = arm.slices(1)
        compile(part.payload, arm.name, "exec")


# ---------------------------------------------------------------------------------------------------
# Quality


class Entry:
    """Stands in for an entry of ours."""

    seed = 0

    def __init__(self, name: str, bits: int = 64) -> None:
        self.name, self.bits, self.algorithm = name, bits, self


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Measure any function from words to hashes as if it were an algorithm of ours."""

    def measured(function: Any, name: str = "xxh3", bits: int = 64) -> dict[str, Any]:
        monkeypatch.setattr(_hash_quality, "hash64", lambda keys, _name, **_seed: function(keys))
        return {found.metric: found for found in _hash_quality.measure(Entry(name, bits), None)}  # type: ignore[arg-type]

    return measured


def test_a_good_hash_is_found_good(measured: Any) -> None:
    found = measured(lambda keys: hash64(keys, "murmur64a"))
    assert len(found) == 8
    assert all(figure.ok for figure in found.values())


def test_weak_hashes_are_found_out(measured: Any) -> None:
    """The identity, a multiplication, and a hash without its lower half each fail where they are weak."""
    identity = measured(lambda keys: keys)
    assert not identity["avalanche_bias"].ok
    assert not identity["chi2_strided"].ok
    product = measured(lambda keys: keys * np.uint64(0x9E3779B97F4A7C15))
    assert not product["avalanche_bias"].ok
    assert not product["chi2_strided"].ok
    half = measured(lambda keys: hash64(keys) & np.uint64(0xFFFFF))
    assert not half["collisions_sequential"].ok
    assert not half["filter_fpr"].ok


def test_a_checksum_is_shown_and_not_judged(measured: Any) -> None:
    found = measured(lambda keys: hash64(keys, "crc32c"), "crc32c", 32)
    assert found["avalanche_bias"].value == 0.5
    assert {figure.ok for figure in found.values()} == {None}


def test_every_algorithm_of_ours_is_entered() -> None:
    names = {entry.name for kind in ("int", "text") for entry in _hashing.ours(kind, "xxh3")}
    assert names >= {"xxh3", "xxh3 (control)", "crc32c", "siphash13", "splitmix64"}
