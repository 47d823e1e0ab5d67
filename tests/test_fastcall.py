"""Scalar calls past the dispatcher: they answer as batches do, whatever the key, and leak nothing.

This is the contract that every release of Numba and NumPy has to keep; where it does not, the calls fall back
to the way of the batches, and the same tests hold.
"""

from __future__ import annotations

import gc
import math
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import numpy as np
import pytest
from numba import config

from algos import _fastcall
from algos.catalog import variants
from algos.filters import (
    VARIANTS,
    BinaryFuseFilter,
    BloomFilter,
    QuotientFilter,
    ScalableBloomFilter,
    SplitBlockBloomFilter,
)
from algos.filters._common import GrowingFilter
from algos.hashing import hash64
from algos.hashing._algorithm import ONE

NAMES = [variant.name for variant in VARIANTS]
INTS = [0, 1, -1, 2, 2**31, -(2**31), 2**53 + 1, 2**62, 2**63 - 1, -(2**63), 2**63, 2**64 - 1]
LENGTHS = [*range(20), 31, 32, 33, 64, 65, 96, 97, 127, 128, 129, 240, 241, 255, 256, 257, 1024, 1025, 5000]
TEXTS = ["x" * n for n in LENGTHS] + ["é", "\u20ac" * 7, "\U0001f600" * 70, "a\x00b", "\x00"]
OTHERS = [np.int32(5), np.uint64(2**63), np.float32(0.5), 1.5, -0.0, float("inf"), None, np.str_("abc")]
PLANS: dict[str, list[dict[str, Any]]] = {
    "BinaryFuseFilter": [{}, {"arity": 4}, {"bits": 16}, {"arity": 4, "bits": 16}],
    "XorFilter": [{}, {"bits": 16}],
    "CuckooFilter": [{}, {"bits": 8}, {"bits": 16}],
    "RibbonFilter": [{}, {"bits": 1}, {"bits": 20}],
}
GROWING = [variant.name for variant in VARIANTS if issubclass(variant.load(), GrowingFilter)]
CASES = [(name, plan) for name in NAMES for plan in PLANS.get(name, [{}])]


def built(name: str, keys: list[Any], **plan: Any) -> Any:
    (variant,) = [variant for variant in VARIANTS if variant.name == name]
    return variant.load().build(keys, **plan)


def outcome(call: Any, *arguments: Any, **options: Any) -> Any:
    """Return what a call gives, or what it says is wrong."""
    try:
        return call(*arguments, **options)
    except (TypeError, ValueError, OverflowError) as error:
        return type(error), str(error)


def asked(held: Any, keys: list[Any]) -> list[bool]:
    return [key in held for key in keys]


def batched(held: Any, keys: list[Any]) -> list[bool]:
    return [bool(held.contains_many([key])[0]) for key in keys]


@pytest.mark.parametrize(("name", "plan"), CASES)
def test_a_key_alone_is_answered_as_in_a_batch(name: str, plan: dict[str, Any]) -> None:
    members = [int(k) for k in np.random.default_rng(1).integers(-(2**63), 2**63, 400)]
    held = built(name, members, **plan)
    assert all(asked(held, members))
    strangers = [int(k) for k in np.random.default_rng(2).integers(-(2**63), 2**63, 1500)]
    assert asked(held, strangers) == held.contains_many(strangers).tolist()
    for keys in (INTS, TEXTS, [text.encode() for text in TEXTS], OTHERS):
        assert asked(held, keys) == batched(held, keys)


@pytest.mark.parametrize(("name", "plan"), CASES)
def test_every_kind_of_member_is_found(name: str, plan: dict[str, Any]) -> None:
    for keys in (INTS, TEXTS, [text.encode() for text in TEXTS]):
        held = built(name, keys, **plan)
        assert all(asked(held, keys))
        assert all(asked(pickle.loads(pickle.dumps(held)), keys))


@pytest.mark.parametrize("name", GROWING)
@pytest.mark.parametrize("seed", [0, 1, 2**63])
def test_keys_added_alone_leave_what_a_batch_leaves(name: str, seed: int) -> None:
    (variant,) = [variant for variant in VARIANTS if variant.name == name]
    alone, batch = (variant.load()(2000, seed=seed) for _ in range(2))
    for keys in (INTS, TEXTS, [text.encode() for text in TEXTS], OTHERS):
        for key in keys:
            alone.add(key)
            batch.add_many([key])
    assert alone == batch
    for key in (True, [1], 2**64, "\ud800", 1j):
        assert outcome(alone.add, key) == outcome(batch.add_many, [key])
    assert alone == batch


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [1, 2**63 - 1, 2**63, 2**64 - 1])
def test_the_seed_is_that_of_the_batch(name: str, seed: int) -> None:
    held = built(name, TEXTS, seed=seed)
    assert all(asked(held, TEXTS))
    assert asked(held, INTS) == batched(held, INTS)


HASHES = [variant.name for variant in variants("hashing")]
LONG = ["x" * (_fastcall.MOST_BYTES + more) for more in (0, 1)]


@pytest.mark.parametrize("name", HASHES)
@pytest.mark.parametrize(
    "seed", [0, 1, -1, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**128, True, 1.0]
)
def test_a_key_alone_has_the_hash_it_has_in_a_batch(name: str, seed: Any) -> None:
    for key in (
        *INTS,
        -(2**63) - 1,
        2**64,
        *TEXTS,
        *LONG,
        *(t.encode() for t in (*TEXTS, *LONG)),
        "\ud800",
        *OTHERS,
    ):
        batch = outcome(hash64, [key], name, seed=seed)
        assert outcome(hash64, key, name, seed=seed) == (batch if isinstance(batch, tuple) else int(batch[0]))


@pytest.mark.parametrize("algorithm", ["xxh", "", None, ["xxh3"], 3])
def test_an_unknown_hash_is_refused_by_name(algorithm: Any) -> None:
    with pytest.raises(ValueError, match="is not one of xxh3, xxh64"):
        hash64("key", algorithm)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_filter_finds_nothing(name: str) -> None:
    held = built(name, [])
    assert not any(asked(held, [*range(300), *TEXTS, None]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("key", "error"),
    [(True, TypeError), ([1], TypeError), (2**64, OverflowError), ("\ud800", ValueError), (1j, TypeError)],
)
def test_what_is_no_key_is_refused_by_name(name: str, key: Any, error: type[Exception]) -> None:
    held = built(name, [1, 2, 3])
    with pytest.raises(error) as scalar:
        _ = key in held
    with pytest.raises(error) as batch:
        held.contains_many([key])
    assert str(scalar.value) == str(batch.value)


class Mine(int):
    """A subclass is no ``int`` to a batch, and so not to a single call."""


def test_subclasses_go_the_way_of_the_batch() -> None:
    held = BloomFilter.build([7])
    with pytest.raises(TypeError):
        _ = Mine(7) in held


BOUNDS = [2**31 - 1, 2**31 + 1, -(2**31) - 1, 2**32 - 1, 2**32, 2**64 - 2**31, 2**64, -(2**63) - 1]
NANS = np.array([0x7FF8 << 48, 0xFFF8 << 48, 0x7FF0 << 48 | 1, 0x7FF8 << 48 | 5], np.uint64).view(np.float64)
FLOATS = [0.0, -0.0, 1.0, 0.1, 5e-324, 1e-46, 1e-45, 1e-39, 16777217.0, 3.4028235e38, 3.5e38, -1e300]
FLOATS += [math.inf, -math.inf, *NANS.tolist()]
COLUMNS: dict[str, list[Any]] = {
    "int32": [k for k in (*INTS, *BOUNDS) if -(2**31) <= k < 2**32],
    "int64": [k for k in (*INTS, *BOUNDS) if -(2**63) <= k < 2**64],
    "float": [k for k in FLOATS if not 3.45e38 < abs(k) < math.inf],
    "double": FLOATS,
    "byte_array": TEXTS + [text.encode() for text in (*TEXTS, *LONG)],
}


@pytest.mark.parametrize("column", COLUMNS)
def test_a_value_of_a_column_is_hashed_alone_as_in_a_batch(column: str) -> None:
    drawn = np.random.default_rng(1).integers(-(2**31), 2**31, 1500)
    kinds = {"float": drawn / 7, "double": drawn / 7, "byte_array": drawn.astype(np.str_)}
    strangers = kinds.get(column, drawn).tolist()
    for key in (*COLUMNS[column], *strangers[:20]):
        alone, batch = (SplitBlockBloomFilter(1000, physical_type=column) for _ in range(2))
        alone.add(key)
        batch.add_many([key])
        assert alone == batch
        assert key in alone
        assert alone._contains_one(key)
        assert asked(alone, strangers) == alone.contains_many(strangers).tolist()
    held = SplitBlockBloomFilter.build(strangers[:500], physical_type=column)
    assert asked(held, strangers) == held.contains_many(strangers).tolist()
    assert all(asked(pickle.loads(pickle.dumps(held)), strangers[:500]))


@pytest.mark.parametrize("column", COLUMNS)
def test_what_a_column_cannot_hold_is_refused_alone_as_in_a_batch(column: str) -> None:
    alone, batch = (SplitBlockBloomFilter(1000, physical_type=column) for _ in range(2))
    texts = [*TEXTS, "\ud800", *(text.encode() for text in TEXTS)]
    for key in (
        *INTS,
        *BOUNDS,
        *FLOATS,
        *texts,
        *OTHERS,
        np.float32(-0.0),
        np.bytes_(b"a"),
        True,
        [1],
        1j,
        Mine(7),
    ):
        assert outcome(alone.add, key) == outcome(batch.add_many, [key])
        assert outcome(alone.__contains__, key) == outcome(alone._contains_one, key)
        among = outcome(batch.contains_many, [key])
        assert outcome(alone.__contains__, key) == (among if isinstance(among, tuple) else among[0])
    assert alone == batch


def test_answers_follow_the_state_wherever_it_moves() -> None:
    """The arrays are looked up at each call: growing, merging and folding put others in their place."""
    quotients = QuotientFilter(100)
    layers = ScalableBloomFilter(10)
    for key in range(90):
        quotients.add(key)
        layers.add(key)
        assert key in quotients
        assert key in layers
    quotients.grow()
    assert all(asked(quotients, list(range(90))))
    quotients.remove(3)
    assert asked(quotients, [3]) == batched(quotients, [3])
    quotients.merge(quotients)
    assert all(asked(quotients, list(range(4, 90))))
    parquet = SplitBlockBloomFilter(100_000, physical_type="int64")
    parquet.add_many(list(range(50)))
    parquet.fold(0.01)
    assert all(asked(parquet, list(range(50))))


def test_nothing_is_leaked() -> None:
    held = BinaryFuseFilter.build(["key", "other"])
    key, number, surrogate = "a key of its own \u20ac", 2**40 + 7, 2**64 - 1
    counted = (key, number, surrogate, held._fingerprints, None, True, False)
    asked(held, [key, number, surrogate, "key"])
    gc.collect()
    before = [sys.getrefcount(item) for item in counted]
    for _ in range(2000):
        asked(held, [key, number, surrogate, "key"])
    after = [sys.getrefcount(item) for item in counted]
    assert all(abs(a - b) < 50 for a, b in zip(after, before, strict=True))


def test_many_threads_may_ask() -> None:
    held = BloomFilter.build(list(range(0, 4000, 2)))
    right = held.contains_many(list(range(4000))).tolist()
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(copy_context().run, asked, held, list(range(4000))) for _ in range(8)]
    assert all(job.result() == right for job in jobs)


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="interpreted kernels have no compiled call")
def test_this_release_of_numba_and_numpy_keeps_the_contract() -> None:
    """Python takes every compiled function for its own."""
    assert _fastcall.WORKS
    for variant in VARIANTS:
        kind = variant.load()
        assert type(kind.__contains__) is type(str.upper)
        if "add" in vars(kind):
            assert type(kind.add) is type(str.upper)
            assert kind.add.__doc__ == GrowingFilter.add.__doc__
    for name in HASHES:
        hash64(5, name)
        assert type(ONE[name]) is type(len)


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="interpreted kernels have no compiled call")
@pytest.mark.parametrize("name", NAMES)
def test_a_builtin_takes_arguments_as_a_method_does(name: str) -> None:
    held = built(name, [1, 2, 3])
    assert held.__contains__(key=2) == held._contains_one(key=2)
    for arguments, options in [((), {}), ((1, 2), {}), ((1,), {"key": 1}), ((), {"other": 1})]:
        with pytest.raises(TypeError, match="argument"):
            held.__contains__(*arguments, **options)
    with pytest.raises(TypeError, match="apply to"):
        type(held).__contains__(object(), 1)
    with pytest.raises(AttributeError, match="_hasher"):
        _ = 1 in type(held).__new__(type(held))


def test_where_builtins_cannot_be_made_methods_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fastcall, "WORKS", False)

    class Stand:
        def _slow(self, key: int) -> int:
            """Double a key."""
            return 2 * key

        double = _fastcall.Method(_fastcall.Native(len), "_slow")

    assert Stand().double(key=4) == 8
    assert Stand.double is Stand._slow
    assert _fastcall.place(SplitBlockBloomFilter, "_words") == 0
