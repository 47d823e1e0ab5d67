"""The most frequent keys: naive twins, guarantees, the names of keys, and what may be stored of them."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any

import dask.bag as db
import dask.dataframe as dd
import numpy as np
import oracles
import pandas as pd
import pyarrow as pa
import pytest
from helpers import put_together, random_keys, rng, scaled, take_apart
from hypothesis import given
from hypothesis import strategies as st

from algos import frequency
from algos.errors import CorruptDataError
from algos.frequency import CountMinSketch, MisraGries, SpaceSaving
from algos.frequency._counts import TOTAL
from algos.frequency._heavy import CAPACITY, KIND, USED
from algos.hashing import hash64
from algos.integrations.dask import sketch as sketch_of

M64, MOST = 2**64 - 1, 2**63 - 1

CLASSES = [cls for cls in (getattr(frequency, v.name) for v in frequency.VARIANTS) if hasattr(cls, "top")]
BOUNDED = [cls for cls in CLASSES if hasattr(cls, "bounds_many")]
SHARES = {MisraGries: 2, SpaceSaving: 1}
"""What the error is at most, in shares of N / capacity."""


def each(classes: list[Any]) -> Any:
    return pytest.mark.parametrize("cls", classes, ids=lambda cls: cls.__name__)


every_class, bounded = each(CLASSES), each(BOUNDED)
merging = each([cls for cls in CLASSES if hasattr(cls, "merge")])

EXAMPLES: dict[str, list[Any]] = {
    "ints": [0, -1, 5, 2**63 - 1, -(2**63)],
    "wide": [0, 1, 2**63 - 1, 2**63, M64],
    "floats": [0.0, 1.0, -1.5, math.inf, -math.inf, math.nan, 5e-324, 1e308],
    "text": ["", "a", "naïve", "日本語", "\U0001f600", "x" * 10_000, "ß" * 17, "nul\0", "\0"],
    "bytes": [b"", b"a", b"\xff\xfe", b"\0", b"\0" * 8, b"y" * 10_000, bytes(range(256))],
}
every_kind = pytest.mark.parametrize("kind", EXAMPLES)

any_keys = {
    "ints": st.one_of(st.integers(-3, 3), st.integers(-(2**63), MOST)),
    "wide": st.one_of(st.integers(0, 3), st.integers(0, M64), st.integers(2**63, 2**63 + 3)),
    "floats": st.one_of(st.sampled_from([0.0, -0.0, 1.0, math.nan]), st.floats()),
    "text": st.one_of(st.sampled_from(["", "a", "é", "long " * 2_000]), st.text(max_size=40)),
    "bytes": st.one_of(st.sampled_from([b"", b"a", b"\xff", b"long " * 2_000]), st.binary(max_size=40)),
}
any_weight = st.one_of(st.just(1), st.integers(0, 9), st.sampled_from([0, 2**20, 2**32, 2**50]))


def pairs(kind: str) -> Any:
    """Return keys of one kind, many of them equal, with a weight each."""
    pool = st.lists(any_keys[kind], min_size=1, max_size=25)
    return pool.flatmap(lambda keys: st.lists(st.tuples(st.sampled_from(keys), any_weight), max_size=120))


def column(keys: list[Any], kind: str) -> Any:
    """Return a batch whose kind does not hang on which of the keys are in it."""
    return np.array(keys, {"ints": np.int64, "wide": np.uint64}[kind]) if kind in {"ints", "wide"} else keys


def hashed(keys: Any, kind: str, seed: int = 0) -> list[int]:
    return hash64(column(keys, kind), seed=seed).tolist() if len(keys) else []


def identity(key: Any) -> Any:
    """Return what tells keys apart, type included: NaN is equal to itself, -0.0 to 0.0."""
    if isinstance(key, float):
        return float, oracles.key_bytes(key)
    return type(key), key


def named(sketch: Any, k: int = 10**9) -> list[tuple[Any, int]]:
    keys, counts = sketch.top(k)
    assert counts.dtype == np.int64
    assert len(keys) == len(counts)
    keys = keys if isinstance(keys, list) else keys.tolist()
    return list(zip(map(identity, keys), counts.tolist(), strict=True))


def entries(sketch: Any) -> dict[int, tuple[int, ...]]:
    """Return the keys' hashes with counts and errors, as they are stored; check that each can be found."""
    hashes, counts, errors, texts = sketch._entries()
    assert len(np.unique(hashes)) == len(hashes)
    assert (sketch._slots_of(hashes) >= 0).all()
    assert len(sketch) == len(hashes) <= sketch.capacity
    if texts:
        assert hash64(texts, seed=sketch.seed).tolist() == hashes.tolist()
    columns = (hashes, counts, errors) if len(errors) else (hashes, counts)
    return {row[0]: row[1:] for row in zip(*(c.tolist() for c in columns), strict=True)}


# ---------------------------------------------------------------------------------------------------
# Naive twins, in Python's ints


class NaiveMisraGries:
    """Counts in a dict, and the lower median of one key too many taken from all of them."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.error = capacity, 0
        self.counts: dict[int, int] = {}

    def add(self, h: int, weight: int, _sketch: Any = None) -> None:
        if not weight:
            return
        self.counts[h] = self.counts.get(h, 0) + weight
        if len(self.counts) > self.capacity:
            median = sorted(self.counts.values())[self.capacity // 2]
            self.counts = {k: count - median for k, count in self.counts.items() if count > median}
            self.error += median

    def entries(self) -> dict[int, tuple[int, ...]]:
        return {h: (count,) for h, count in self.counts.items()}


class NaiveSpaceSaving:
    """Counts and errors in a dict; which of the least counts goes is for the sketch to choose."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.kept: dict[int, tuple[int, int]] = {}

    @property
    def error(self) -> int:
        return 0 if len(self.kept) < self.capacity else min(count for count, _ in self.kept.values())

    def add(self, h: int, weight: int, sketch: Any) -> None:
        if not weight:
            return
        count, error = self.kept.get(h, (0, 0))
        if not count and len(self.kept) == self.capacity:
            (gone,) = set(self.kept) - set(sketch._entries()[0].tolist())
            count = error = self.error
            assert self.kept.pop(gone)[0] == count
        self.kept[h] = count + weight, error

    def entries(self) -> dict[int, tuple[int, ...]]:
        return dict(self.kept)


TWINS: dict[Any, Any] = {MisraGries: NaiveMisraGries, SpaceSaving: NaiveSpaceSaving}


@bounded
@every_kind
@given(data=st.data(), capacity=st.integers(1, 12), seed=st.sampled_from([0, 7, M64]))
def test_keys_are_counted_as_by_the_naive_twin(
    cls: Any, kind: str, data: Any, capacity: int, seed: int
) -> None:
    """Single keys, then all of them in a batch: counts, errors, texts; and the bytes of both are equal."""
    items = data.draw(pairs(kind))
    sketch, naive = cls(capacity, seed=seed), TWINS[cls](capacity)
    keys, weights = [key for key, _ in items], [weight for _, weight in items]
    for key, weight, h in zip(column(keys, kind), weights, hashed(keys, kind, seed), strict=True):
        sketch.add(key, weight)
        naive.add(h, weight, sketch)
    assert entries(sketch) == naive.entries()
    assert sketch.error == naive.error
    assert sketch.total == sum(weights)
    batch = cls(capacity, seed=seed)
    batch.add_many(column(keys, kind), weights=np.array(weights, np.int64))
    assert batch == sketch
    assert named(batch) == named(sketch)


def of_line(line: int, k: int, capacity: int) -> int:
    """Return the ``k``-th hash of a line, which may be counted from the end, of a table for so many keys."""
    lines = -(-4 * (capacity + 1) // 24)
    return -(-(line % lines << 64) // lines) + k


near_the_end = st.tuples(st.sampled_from([0, -1, -1, -2, -2, -3]), st.integers(0, 14))


@bounded
@given(
    items=st.lists(st.tuples(near_the_end, st.one_of(st.just(1), any_weight)), max_size=250),
    capacity=st.integers(1, 30),
)
def test_lines_that_overflow_round_the_end(cls: Any, items: list[Any], capacity: int) -> None:
    """Hashes of the last lines and of the first: many more than these take."""
    items = [(of_line(*place, capacity), weight) for place, weight in items]
    sketch, naive = cls(capacity), TWINS[cls](capacity)
    for h, weight in items:
        sketch.add_hashes(np.array([h], np.uint64), weight)
        naive.add(h, weight, sketch)
        assert entries(sketch) == naive.entries()
    assert sketch.error == naive.error
    batch = cls(capacity)
    batch.add_hashes(np.array([h for h, _ in items], np.uint64), np.array([w for _, w in items], np.int64))
    assert batch == sketch
    asked = [of_line(line, k, capacity) for line in (0, -1, -2, -3) for k in range(15)]
    found = dict(zip(asked, batch.estimate_hashes(np.array(asked, np.uint64)).tolist(), strict=True))
    base = naive.error if cls is MisraGries else 0
    assert found == {h: naive.entries()[h][0] + base if h in naive.entries() else 0 for h in asked}


def test_keys_come_back_round_the_end() -> None:
    """A purge frees a place in the last line but one; who is past the end returns when all others have."""
    capacity, sketch = 36, MisraGries(36)
    last_but_one = [of_line(-2, k, capacity) for k in range(9)]  # one of them in the last line
    last = [of_line(-1, k, capacity) for k in range(8)]  # one of them in the first
    others = [of_line(1 + k // 8, k, capacity) for k in range(20)]
    hashes = np.array(last_but_one + last + others, np.uint64)
    weights = [1] + [100] * 16 + [1] * 20
    sketch.add_hashes(hashes, weights)
    assert (sketch.error, len(sketch)) == (1, 16)
    assert entries(sketch) == dict.fromkeys(last_but_one[1:] + last, (99,))


@every_class
def test_long_runs_of_full_lines(cls: Any) -> None:
    """Keys of a tenth of the table spread over half of it; some go, the others are found all along."""
    capacity, n = scaled(600, 60), scaled(60_000, 1_500)
    stream = rng(1)
    hashes = M64 - (stream.zipf(1.2, n).astype(np.uint64) % np.uint64(2 * capacity)) * np.uint64(
        2**64 // 20_000
    )
    sketch, single = cls(capacity), cls(capacity)
    for part in np.array_split(hashes, 20):
        sketch.add_hashes(part)
        entries(sketch)
    for h in hashes:
        single.add_hashes(np.array([h]))
    assert single == sketch
    if cls in BOUNDED:
        truth = Counter(hashes.tolist())
        kept, counts = sketch.top(capacity)
        assert all(
            count - sketch.error <= truth[h] <= count for h, count in zip(kept.tolist(), counts, strict=True)
        )


# ---------------------------------------------------------------------------------------------------
# By hand


def test_misra_gries_by_hand() -> None:
    sketch = MisraGries(2)
    sketch.add_many(list("aab"))
    assert named(sketch) == [((str, "a"), 2), ((str, "b"), 1)]
    sketch.add("c")  # 2, 1, 1: the median is 1
    assert (sketch.error, len(sketch)) == (1, 1)
    assert (sketch.estimate("a"), sketch.estimate("b"), sketch.estimate("c")) == (2, 0, 0)
    sketch.add_many(list("ad"))
    assert named(sketch) == [((str, "a"), 3), ((str, "d"), 2)]
    low, high = sketch.bounds_many(["a", "d", "b", None, "z"])
    assert (low.tolist(), high.tolist()) == ([2, 1, 0, 0, 0], [3, 2, 1, 0, 1])
    assert (low.dtype, high.dtype) == (np.int64, np.int64)
    sketch.add("e", 5)  # 2, 1, 5: the median is 2
    assert (sketch.error, sketch.total, len(sketch)) == (3, 11, 1)
    assert named(sketch) == [((str, "e"), 6)]
    three = MisraGries(2)
    three.add_many([1, 2, 3])
    assert (len(three), three.error, three.total) == (0, 1, 3)
    assert three.top(3)[0].dtype == np.int64


def test_space_saving_by_hand() -> None:
    sketch = SpaceSaving(3)
    sketch.add_many(list("ABBACABB"))
    assert (named(sketch), sketch.error) == ([((str, "B"), 4), ((str, "A"), 3), ((str, "C"), 1)], 1)
    sketch.add_many(list("DDB"))  # D takes the count of C
    low, high = sketch.bounds_many(["D", "B", "A", "C", None])
    assert (low.tolist(), high.tolist()) == ([2, 5, 3, 0, 0], [3, 5, 3, 3, 0])
    assert (low.dtype, high.dtype) == (np.int64, np.int64)
    sketch.add_many(list("EC"))  # and these those of A and of D, in whichever order
    assert [count for _, count in named(sketch)] == [5, 4, 4]
    assert {key for (_, key), _ in named(sketch)} == set("BCE")
    assert sketch.bounds_many(["B", "C", "E"])[0].tolist() == [5, 1, 1]
    assert (sketch.total, sketch.error) == (13, 4)


def test_space_savings_merged_by_hand() -> None:
    one, two = SpaceSaving(2), SpaceSaving(2)
    one.add_many(["a", "b"], weights=[3, 2])
    two.add_many(["b", "c"], weights=[4, 1])
    one.merge(two)  # a: 3 + 1, b: 2 + 4, c: 2 + 1
    assert named(one) == [((str, "b"), 6), ((str, "a"), 4)]
    assert one.bounds_many(["a", "b", "c"])[0].tolist() == [3, 6, 0]
    assert (one.total, one.error) == (10, 4)


@bounded
def test_one_count_only(cls: Any) -> None:
    sketch = cls(1)
    sketch.add_many([1, 1, 1, 2])
    assert named(sketch) == ([((int, 1), 3)] if cls is MisraGries else [((int, 2), 4)])
    assert (sketch.error, sketch.total) == ((1, 4) if cls is MisraGries else (4, 4))


@every_class
def test_nothing_counted(cls: Any) -> None:
    sketch = cls(10)
    keys, counts = sketch.top(5)
    assert (len(keys), len(counts), len(sketch), sketch.total) == (0, 0, 0, 0)
    assert sketch.estimate("a") == 0
    assert sketch.estimate_many([1, 2]).tolist() == [0, 0]
    assert cls.from_bytes(sketch.to_bytes()) == sketch
    if cls in BOUNDED:
        assert sketch.error == 0
        assert [part.tolist() for part in sketch.bounds_many(["a", None])] == [[0, 0], [0, 0]]
        assert [part.dtype for part in sketch.bounds_many([])] == [np.int64, np.int64]


# ---------------------------------------------------------------------------------------------------
# Names


@every_class
@every_kind
def test_keys_come_back_as_they_were(cls: Any, kind: str) -> None:
    """The heaviest first, of the type and with the value that was given, by whatever way."""
    keys = EXAMPLES[kind]
    weights = [1000 * (i + 1) for i in range(len(keys))]
    want = [(identity(key), weight) for key, weight in zip(keys, weights, strict=True)][::-1]
    batch, single = cls(100), cls(100)
    batch.add_many(column(keys, kind), weights=weights)
    for key, weight in zip(column(keys, kind), weights, strict=True):
        single.add(key, weight)
    assert named(batch) == want
    assert single == batch
    assert named(batch, 2) == want[:2]
    assert named(batch, 0) == []
    assert [batch.estimate(key) for key in keys] == weights
    assert cls.from_bytes(batch.to_bytes()).top(3)[1].tolist() == weights[:-4:-1]
    kept = batch.top(1)[0]
    assert type(kept) is (list if kind in {"text", "bytes"} else np.ndarray)
    if kind in {"ints", "wide", "floats"}:
        assert kept.dtype == {"ints": np.int64, "wide": np.uint64, "floats": np.float64}[kind]


@bounded
@every_kind
@given(data=st.data())
def test_all_keys_in_the_documented_order(cls: Any, kind: str, data: Any) -> None:
    """With room for all of them: exact counts, falling, and of equal ones the lower hash first."""
    items = data.draw(pairs(kind))
    keys, weights = [key for key, _ in items], [weight for _, weight in items]
    sketch, truth, by_hash = cls(200), Counter[int](), dict[int, Any]()
    sketch.add_many(column(keys, kind), weights=np.array(weights, np.int64))
    for h, (key, weight) in zip(hashed(keys, kind), items, strict=True):
        truth[h] += weight
        by_hash[h] = identity(key)
    order = sorted((h for h in truth if truth[h]), key=lambda h: (-truth[h], h))
    assert named(sketch) == [(by_hash[h], truth[h]) for h in order]
    assert sketch.error == 0
    low, high = sketch.bounds_many(column(keys, kind))
    assert low.tolist() == high.tolist() == [truth[h] for h in hashed(keys, kind)]


@every_class
def test_ready_hashes_are_keys(cls: Any) -> None:
    sketch = cls(10)
    hashes = np.array([0, 5, M64, 2**63], np.uint64)
    sketch.add_hashes(hashes, weights=[4000, 3000, 2000, 1000])
    kept, counts = sketch.top(9)
    assert kept.dtype == np.uint64
    assert (kept.tolist(), counts.tolist()) == (hashes.tolist(), [4000, 3000, 2000, 1000])
    assert sketch.estimate_hashes(hashes[::-1]).tolist() == [1000, 2000, 3000, 4000]


@every_class
def test_numbers_of_any_width_are_one_key(cls: Any) -> None:
    sketch = cls(10)
    for dtype in (np.int8, np.uint8, np.int32, np.uint64, ">i4"):
        sketch.add_many(np.array([7, 7], dtype))
    for key in (7, np.int16(7), np.uint64(7)):
        sketch.add(key)
    assert named(sketch) == [((int, 7), 13)]
    floats = cls(10)
    floats.add_many(np.array([0.5, -0.0], np.float32))
    floats.add_many([0.5, 0.0])
    floats.add(np.float16(0.5))
    assert named(floats) == [(identity(0.5), 3), (identity(0.0), 2)]


TEXT_FORMS: dict[str, Any] = {
    "list": list,
    "tuple": tuple,
    "iterator": iter,
    "generator": lambda keys: (key for key in keys),
    "string": lambda keys: pa.array(keys, pa.string()),
    "large_string": lambda keys: pa.array(keys, pa.large_string()),
    "string_view": lambda keys: pa.array(keys, pa.string_view()),
    "dictionary": lambda keys: pa.array(keys, pa.string()).dictionary_encode(),
    "sliced": lambda keys: pa.array(["before", *keys, "after"], pa.string()).slice(1, len(keys)),
    "sliced_view": lambda keys: pa.array(["before", *keys, "after"], pa.string_view()).slice(1, len(keys)),
    "sliced_dictionary": lambda keys: pa.array(["x", *keys]).dictionary_encode().slice(1),
    "chunked": lambda keys: pa.chunked_array([keys[:3], [], keys[3:50], keys[50:]], pa.string()),
    "pandas": lambda keys: pd.Series(keys, dtype="str"),
    "pandas_object": lambda keys: pd.Series(keys, dtype=object),
    "pandas_category": lambda keys: pd.Series(keys, dtype="category"),
}
RAW_FORMS: dict[str, Any] = {
    "list": list,
    "iterator": iter,
    "binary": lambda keys: pa.array(keys, pa.binary()),
    "large_binary": lambda keys: pa.array(keys, pa.large_binary()),
    "binary_view": lambda keys: pa.array(keys, pa.binary_view()),
    "dictionary": lambda keys: pa.array(keys, pa.binary()).dictionary_encode(),
    "sliced": lambda keys: pa.array([b"before", *keys, b"after"], pa.large_binary()).slice(1, len(keys)),
}
NUMBER_FORMS: dict[str, Any] = {
    "list": list,
    "iterator": iter,
    "int32": lambda keys: pa.array(keys, pa.int32()),
    "dictionary": lambda keys: pa.array(keys, pa.int64()).dictionary_encode(),
    "sliced": lambda keys: pa.array([1, *keys, 2], pa.int64()).slice(1, len(keys)),
    "chunked": lambda keys: pa.chunked_array([keys[:7], keys[7:]], pa.int64()),
    "pandas": lambda keys: pd.Series(keys, dtype="Int64"),
}
FORMS: dict[str, Any] = {
    "text": (TEXT_FORMS, lambda i: "é" * (i % 3) + f" {i}"),
    "bytes": (RAW_FORMS, lambda i: b"\xff" * (i % 9) + b"%d" % i),
    "ints": (NUMBER_FORMS, lambda i: i - 20),
}


@every_class
@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("nulls", [False, True])
def test_every_form_of_keys_makes_the_same_state(cls: Any, kind: str, nulls: bool) -> None:
    """Lists, iterators, Arrow's arrays of any layout, pandas: as one by one, nulls left out."""
    forms, key_of = FORMS[kind]
    numbers = rng(2).zipf(1.3, scaled(400, 150)) % 60
    keys = [None if nulls and i % 7 == 3 else key_of(int(n)) for i, n in enumerate(numbers)]
    want = cls(20, seed=3)
    for key in keys:
        want.add(key)
    assert want.total == sum(key is not None for key in keys)
    for name, form in forms.items():
        sketch = cls(20, seed=3)
        sketch.add_many(form(keys))
        assert sketch == want, name
        if name not in {"iterator", "generator"}:
            asked = sketch.estimate_many(form(keys)).tolist()
            assert asked == [want.estimate(key) for key in keys], name
            if cls in BOUNDED:
                bounds = sketch.bounds_many(form(keys))
                assert [b.tolist() for b in bounds] == [b.tolist() for b in want.bounds_many(keys)], name


@every_class
@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("weighted", [False, True])
def test_any_cut_of_a_stream_makes_the_same_state(cls: Any, kind: str, weighted: bool) -> None:
    """Blocks, parts of any size, and single keys: the state of the whole, bit for bit."""
    n = scaled(30_000, 300)
    numbers = rng(3).zipf(1.2, n) % (n // 4)
    keys = [FORMS[kind][1](int(i)) for i in numbers]
    weights = rng(4).integers(0, 50, n) if weighted else np.ones(n, np.int64)
    for capacity in (1, scaled(37, 7), scaled(1_000, 30)):
        whole, single = cls(capacity), cls(capacity)
        whole.add_many(keys, weights=weights if weighted else None)
        for key, weight in zip(keys, weights.tolist(), strict=True):
            single.add(key, weight)
        assert single == whole
        for cuts in (7, 61):
            parts, places = cls(capacity), np.sort(rng(5, cuts).integers(0, n, cuts)).tolist()
            for lo, hi in zip([0, *places], [*places, n], strict=True):
                parts.add_many(keys[lo:hi], weights=weights[lo:hi])
            assert parts == whole
        entries(whole)


@every_class
def test_nulls_weigh_nothing(cls: Any) -> None:
    one, two = cls(5), cls(5)
    one.add_many([None, "a", None, "b"], weights=[50, 1, 50, 3])
    one.add(None)
    one.add(None, 9)
    one.add_many([None, None])
    one.add_many(pa.nulls(3))
    one.add_many([])
    one.add_many([], weights=np.empty(0, np.int64))
    one.add_hashes(np.empty(0, np.uint64))
    one.add_many(["c", "a"], weights=0)
    one.add("d", 0)
    two.add_many(["a", "b"], weights=[1, 3])
    assert one == two
    assert one.estimate(None) == 0
    assert one.estimate_many([None, None]).tolist() == [0, 0]
    nothing = cls(5)
    nothing.add_many([None])
    nothing.add_many([])
    nothing.add_many(pa.nulls(3))
    nothing.add_hashes(np.empty(0, np.uint64))
    assert nothing == cls(5)


def test_columns_of_weights_beside_nulls_at_the_ends_of_blocks() -> None:
    n = 8192 * 2 + 1
    keys: list[Any] = [i % 9 for i in range(n)]
    for at in (0, 8191, 8192, n - 1):
        keys[at] = None
    weights = np.arange(n)
    truth = Counter[int]()
    for key, weight in zip(keys, weights.tolist(), strict=True):
        if key is not None:
            truth[key] += weight
    for cls in BOUNDED:
        sketch = cls(10)
        sketch.add_many(keys, weights)
        assert {key: count for (_, key), count in named(sketch)} == truth


@every_class
@every_kind
def test_kinds_do_not_mix(cls: Any, kind: str) -> None:
    """Keys of another kind are refused by every way in, and nothing changes."""
    sketch = cls(10)
    sketch.add_many(column(EXAMPLES[kind], kind))
    before = sketch.to_bytes()
    numbers = {"ints", "wide"}
    for other, keys in EXAMPLES.items():
        if other == kind or {other, kind} == numbers:
            continue
        with pytest.raises(TypeError, match="use another"):
            sketch.add(column(keys, other)[0])
        with pytest.raises(TypeError, match="use another"):
            sketch.add_many(column(keys, other))
        with pytest.raises(TypeError, match="use another"):
            sketch.add_many(iter(keys), weights=3)
        if hasattr(cls, "merge"):
            theirs = cls(10)
            theirs.add_many(column(keys, other), weights=500)
            with pytest.raises(TypeError, match="use another"):
                sketch.merge(theirs)
    with pytest.raises(TypeError, match="use another"):
        sketch.add_hashes(np.arange(3, dtype=np.uint64))
    with pytest.raises(TypeError):
        sketch.add_many([*EXAMPLES[kind][:2], *EXAMPLES["text" if kind == "bytes" else "bytes"]])
    assert sketch.to_bytes() == before
    ready = cls(10)
    ready.add_hashes(np.arange(3, dtype=np.uint64))
    before = ready.to_bytes()
    with pytest.raises(TypeError, match="use another"):
        ready.add_many(column(EXAMPLES[kind], kind))
    with pytest.raises(TypeError, match="use another"):
        ready.add(EXAMPLES[kind][0])
    assert ready.to_bytes() == before


# ---------------------------------------------------------------------------------------------------
# Texts


@every_class
@pytest.mark.parametrize("form", ["list", "string", "dictionary"])
def test_texts_of_keys_gone_are_forgotten(cls: Any, form: str) -> None:
    """A million distinct texts take no more room than the first few."""
    n, part, sketch = scaled(1_000_000, 3_000), scaled(50_000, 300), cls(100)
    sizes = []
    for lo in range(0, n, part):
        sketch.add_many(TEXT_FORMS[form]([f"user {i:08}" for i in range(lo, lo + part)]))
        sizes.append(sketch.nbytes)
    assert max(sizes) <= 100 * 200 + 3 * min(part, 8192) * (8 + 13)
    assert max(sizes[-5:]) <= 2 * sizes[0]
    if cls is SpaceSaving:
        assert len(sketch) == 100


@every_class
def test_texts_of_single_keys_gone_are_forgotten(cls: Any) -> None:
    sketch = cls(100)
    for i in range(scaled(200_000, 2_000)):
        sketch.add(f"user {i:08}")
        if i % 1_000 == 0:
            assert sketch.nbytes <= 100 * 200 + 8_192


@every_class
def test_room_for_texts_follows_those_that_stay(cls: Any) -> None:
    """Ten long texts of a batch of many are kept; room for the batch is not."""
    sketch, long, n = cls(10), "x" * 1_000, scaled(1_000, 100)
    sketch.add_many([long + str(i) for i in range(10)], weights=10**6)
    for lo in range(0, 3 * n, n):
        sketch.add_many([f"{i} {long}" for i in range(lo, lo + n)])
        sketch.add_many([f"{i % 2} {long}" for i in range(n)])
    assert sketch.nbytes < 100_000


@every_class
def test_texts_longer_than_anything(cls: Any) -> None:
    """A text of megabytes between short ones, by itself and in a batch, kept and gone."""
    long = "é" * scaled(4_000_000, 40_000)
    one, two = cls(5), cls(5)
    keys, weights = ["a", long, "b", long + "x", "c", ""], [3000, 2000, 10**6, 10**6, 10**6, 10]
    one.add_many(keys, weights)
    for key, weight in zip(keys, weights, strict=True):
        two.add(key, weight)
    assert one == two
    assert one.estimate(long + "x") >= 10**6
    assert (str, long + "x") in [key for key, _ in named(one)]
    back = cls.from_bytes(one.to_bytes())
    assert back == one
    assert named(back) == named(one)


@every_class
def test_lengths_and_places_of_texts(cls: Any) -> None:
    """Every length round a word, in arrays that begin anywhere, comes back byte for byte."""
    texts = [bytes(rng(6, n).integers(0, 256, n, np.uint8)) for n in range(70)]
    weights = 1000 * np.arange(len(texts), 0, -1)
    for start in range(9):
        sketch = cls(200)
        array = pa.array([b"-" * start, *texts], pa.binary()).slice(1)
        sketch.add_many(array, weights)
        assert sketch.top(100)[0] == texts
    single = cls(200)
    for text, weight in zip(texts, weights.tolist(), strict=True):
        single.add(text, weight)
    assert single.top(100)[0] == texts


# ---------------------------------------------------------------------------------------------------
# Guarantees


def zipf(s: float, n: int, universe: int, seed: int) -> Any:
    """Return keys of ranks whose frequencies fall as ``rank ** -s``, the ranks in any order."""
    shares = np.cumsum(np.arange(1, universe + 1) ** -s)
    ranks = np.searchsorted(shares, rng(seed).random(n) * shares[-1])
    return rng(seed, 1).permutation(universe)[ranks]


def streams(capacity: int) -> dict[str, Any]:
    n, universe = scaled(100_000, 800), scaled(100_000, 800)
    hot = np.arange(n) // (n // 20) * 10 + rng(7).integers(0, 10, n)
    return {
        **{f"zipf {s}": zipf(s, n, universe, 8) for s in (0.7, 1.0, 1.1, 1.5)},
        "round robin": np.arange(n) % (capacity + 1),
        "drifting": np.where(rng(9).random(n) < 0.5, hot, rng(10).integers(0, universe, n)),
        "all distinct": np.arange(n),
        "one key": np.full(n, 5),
        "frequent first": np.sort(zipf(1.1, n, universe, 11)),
        "frequent last": np.concatenate((np.arange(n), np.full(n // 10, -1))),
    }


def check_bounds(sketch: Any, keys: Any, weights: Any = None) -> None:
    """Compare bounds and guarantees with what was counted, of keys that came and of some that did not."""
    distinct, at = np.unique(keys, return_inverse=True)
    truth = np.bincount(at, None if weights is None else weights.astype(float)).astype(np.int64)
    total = int(truth.sum())
    assert sketch.total == total
    most = SHARES[type(sketch)] * total // sketch.capacity
    assert 0 <= sketch.error <= most
    low, high = sketch.bounds_many(distinct)
    assert (low <= truth).all()
    assert (truth <= high).all()
    assert (high - low <= sketch.error).all()
    estimates = sketch.estimate_many(distinct)
    assert (np.where(estimates > 0, estimates, sketch.error) == high).all()
    kept, counts = sketch.top(sketch.capacity)
    assert set(distinct[truth > sketch.error].tolist()) <= set(kept.tolist())
    assert set(kept.tolist()) <= set(distinct.tolist())
    assert counts.tolist() == sorted(counts.tolist(), reverse=True)
    assert counts.tolist() == sketch.estimate_many(kept).tolist()
    low, high = sketch.bounds_many(distinct + 10**9)
    assert (low == 0).all()
    assert (high <= sketch.error).all()


@bounded
@pytest.mark.parametrize("capacity", [1, 10, 101, 1000])
@pytest.mark.parametrize("name", streams(1))
def test_bounds_and_guarantees(cls: Any, name: str, capacity: int) -> None:
    """Nothing is missed or miscounted by more than its share, whatever comes in which order."""
    keys = streams(capacity)[name]
    sketch = cls(capacity)
    sketch.add_many(keys)
    check_bounds(sketch, keys)
    weighted, weights = cls(capacity), rng(12).integers(0, 1000, len(keys))
    weighted.add_many(keys, weights)
    check_bounds(weighted, keys, weights)


@pytest.mark.statistical
@every_class
@pytest.mark.parametrize("text", [False, True])
def test_the_hundred_most_frequent(cls: Any, text: bool) -> None:
    """Ten counts for each key looked for are enough to have found them all."""
    keys = zipf(1.1, 1_000_000, 100_000, 13)
    distinct, counts = np.unique(keys, return_counts=True)
    least = np.sort(counts)[-100]
    sketch = cls(1_000)
    sketch.add_many([f"key {i}" for i in keys.tolist()] if text else keys)
    found = [int(k.removeprefix("key ")) for k in sketch.top(100)[0]] if text else sketch.top(100)[0].tolist()
    assert len(set(found)) == 100
    truth = dict(zip(distinct.tolist(), counts.tolist(), strict=True))
    assert sum(truth[key] >= least for key in found) >= 99


# ---------------------------------------------------------------------------------------------------
# Weights at the end of what there is


@every_class
def test_totals_end_below_two_to_the_63(cls: Any) -> None:
    """Weights that would sum to more are refused before anything is counted, and none ever wraps."""
    sketch = cls(4)
    sketch.add("a", MOST - 3)
    before = sketch.to_bytes()
    for attempt in (
        lambda: sketch.add("b", 4),
        lambda: sketch.add("b", MOST),
        lambda: sketch.add_many(["b"] * 4),
        lambda: sketch.add_many(["b", "c"], weights=[2, 2]),
        lambda: sketch.add_many(["b", "c"], weights=[MOST, MOST]),
        lambda: sketch.add_many(["b", "c"], weights=MOST),
        lambda: sketch.add_many(["b", "c"], weights=np.array([2**63 - 1, 2], np.uint64)),
    ):
        with pytest.raises(OverflowError, match="new sketch"):
            attempt()
    assert sketch.to_bytes() == before
    sketch.add_many(["b"] * 3)
    assert sketch.total == MOST
    assert sketch.estimate("a") >= MOST - 3
    with pytest.raises(OverflowError, match="new sketch"):
        sketch.add("b")
    assert cls.from_bytes(sketch.to_bytes()) == sketch
    other = cls(4)
    other.add("b", 4)
    if hasattr(cls, "merge"):
        before = sketch.to_bytes()
        with pytest.raises(OverflowError, match="new sketch"):
            sketch.merge(other)
        assert sketch.to_bytes() == before


@every_class
def test_a_refused_batch_leaves_no_trace(cls: Any) -> None:
    """Not even the kind of its keys, or its first block."""
    sketch, n = cls(4), scaled(20_000, 9_000)
    for attempt in (
        lambda: sketch.add_many([1, 2, 3], weights=2**62),
        lambda: sketch.add_many(np.arange(n), weights=2**63 // n + 1),
        lambda: sketch.add_many(np.arange(n), weights=np.full(n, 2**63 // n + 1)),
        lambda: sketch.add_hashes(np.arange(4, dtype=np.uint64), weights=2**62),
        lambda: sketch.add_hashes(np.arange(4, dtype=np.uint64), weights=np.full(4, 2**62)),
    ):
        with pytest.raises(OverflowError, match="new sketch"):
            attempt()
        assert sketch == cls(4)
    sketch.add_many([1, None, None, None], weights=2**62)
    sketch.add(2, 2**62 - 1)
    assert sketch.total == MOST


@bounded
@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from([1, 2**60, 2**61, 2**62, MOST])), max_size=12))
def test_weights_of_any_size_never_wrap(cls: Any, items: list[tuple[int, int]]) -> None:
    sketch, truth, total = cls(2), Counter[int](), 0
    for key, weight in items:
        if total + weight > MOST:
            with pytest.raises(OverflowError, match="new sketch"):
                sketch.add(key, weight)
        else:
            sketch.add(key, weight)
            truth[key] += weight
            total += weight
    assert sketch.total == total
    low, high = sketch.bounds_many(np.arange(7))
    assert all(low[k] <= truth[k] <= high[k] for k in range(7))
    assert high.max() <= total
    assert cls.from_bytes(sketch.to_bytes()) == sketch


# ---------------------------------------------------------------------------------------------------
# Merging


def parts_of(cls: Any, capacity: int, keys: Any, n: int) -> list[Any]:
    sketches = []
    for part in np.array_split(keys, n):
        sketches.append(cls(capacity))
        sketches[-1].add_many(part)
    return sketches


@merging
@pytest.mark.parametrize("capacity", [1, 10, 101, 1000])
def test_merged_in_any_order_the_bounds_hold(cls: Any, capacity: int) -> None:
    """One after the other in any order, and as a tree."""
    keys = zipf(1.1, scaled(40_000, 1_000), scaled(20_000, 500), 14)
    for order in list(permutations(range(4)))[:: scaled(5, 12)]:
        parts = parts_of(cls, capacity, keys, 4)
        first, *rest = (parts[i] for i in order)
        for part in rest:
            before = part.to_bytes()
            first.merge(part)
            assert part.to_bytes() == before
        check_bounds(first, keys)
        entries(first)
        assert cls.from_bytes(first.to_bytes()) == first
    a, b, c, d = parts_of(cls, capacity, keys, 4)
    a.merge(b)
    c.merge(d)
    a.merge(c)
    check_bounds(a, keys)
    more = zipf(1.1, scaled(40_000, 1_000), scaled(20_000, 500), 15)
    a.add_many(more)
    check_bounds(a, np.concatenate((keys, more)))


@merging
@pytest.mark.parametrize("kind", FORMS)
@given(data=st.data(), capacity=st.integers(1, 12))
def test_merged_sketches_of_anything(cls: Any, kind: str, data: Any, capacity: int) -> None:
    """Bounds, names and texts of two sketches of few keys, in both orders."""
    one, two = cls(capacity, seed=5), cls(capacity, seed=5)
    mine, theirs = data.draw(pairs(kind)), data.draw(pairs(kind))
    truth = Counter[Any]()
    for sketch, items in ((one, mine), (two, theirs)):
        for key, weight in items:
            sketch.add(key, weight)
            truth[identity(key)] += weight
    three, total = cls.from_bytes(two.to_bytes()), one.total + two.total
    three.merge(one)
    one.merge(two)
    for merged in (one, three):
        assert merged.total == total
        assert merged.error <= SHARES[cls] * total // capacity
        entries(merged)
        found = dict(named(merged))
        assert all(count - merged.error <= truth[key] <= count for key, count in found.items())
        assert all(truth[key] <= merged.error for key in truth if key not in found)
        assert cls.from_bytes(merged.to_bytes()) == merged


@merging
def test_merging_with_nothing_and_with_oneself(cls: Any) -> None:
    keys = [f"key {i}" for i in zipf(1.1, scaled(5_000, 500), 300, 16).tolist()]
    sketch, empty = cls(20), cls(20)
    sketch.add_many(keys)
    before = sketch.to_bytes()
    sketch.merge(empty)
    assert sketch.to_bytes() == before
    empty.merge(sketch)
    truth = Counter(keys)
    low, high = empty.bounds_many(list(truth))
    assert all(a <= n <= b for a, n, b in zip(low, truth.values(), high, strict=True))
    twice, copy = cls.from_bytes(before), cls.from_bytes(before)
    twice.merge(copy)
    assert copy.to_bytes() == before
    sketch.merge(sketch)
    for doubled in (twice, sketch):
        assert doubled.total == 2 * len(keys)
        low, high = doubled.bounds_many(list(truth))
        assert all(a <= 2 * n <= b for a, n, b in zip(low, truth.values(), high, strict=True))
        assert cls.from_bytes(doubled.to_bytes()) == doubled
    assert sketch == twice
    nothing = cls(20)
    nothing.merge(cls(20))
    assert nothing == cls(20)


@merging
def test_what_does_not_merge(cls: Any) -> None:
    sketch = cls(20)
    sketch.add("a")
    before = sketch.to_bytes()
    others = [CountMinSketch(20, 4), *(other(20) for other in CLASSES if other is not cls)]
    for other in [cls(21), cls(20, seed=1), *others, None, "a"]:
        with pytest.raises(ValueError, match="cannot merge"):
            sketch.merge(other)
    assert sketch.to_bytes() == before


@merging
def test_numbers_merge_whatever_their_sign(cls: Any) -> None:
    """Signed and unsigned integers are keys of one kind: that of whoever takes the others in."""
    one, two = cls(5), cls(5)
    one.add_many(np.array([1, -1]), weights=[5, 4])
    two.add_many(np.array([1, M64], np.uint64), weights=[3, 2])
    one.merge(two)
    assert named(one) == [((int, 1), 8), ((int, -1), 6)]


@merging
def test_merged_over_the_parts_of_a_collection(cls: Any) -> None:
    """What Dask merges over five parts keeps the bounds of one sketch."""
    keys = zipf(1.1, scaled(50_000, 1_000), scaled(20_000, 500), 17)
    frame = dd.from_pandas(pd.DataFrame({"key": keys, "weight": keys % 10}), npartitions=5)
    check_bounds(sketch_of(frame, "key", lambda: cls(100)).compute(scheduler="sync"), keys)
    weighted = sketch_of(frame, "key", lambda: cls(100), weights="weight").compute(scheduler="sync")
    check_bounds(weighted, keys, keys % 10)
    bag = db.from_sequence([f"key {key}" for key in keys.tolist()], npartitions=5)
    merged = sketch_of(bag, None, lambda: cls(100)).compute(scheduler="sync")
    truth = Counter(f"key {key}" for key in keys.tolist())
    low, high = merged.bounds_many(list(truth))
    assert all(a <= n <= b for a, n, b in zip(low, truth.values(), high, strict=True))
    assert merged.error <= SHARES[cls] * len(keys) // 100


# ---------------------------------------------------------------------------------------------------
# Stored, read by many, and hostile


def example(cls: Any, kind: str, capacity: int = 12) -> Any:
    """Return a sketch that has more keys behind it than it holds."""
    sketch = cls(capacity, seed=7)
    numbers = rng(18).zipf(1.2, 300) % 40
    if kind == "hashes":
        sketch.add_hashes(random_keys(19, 40)[numbers])
    else:
        sketch.add_many(
            [float(i) for i in numbers] if kind == "floats" else [FORMS[kind][1](int(i)) for i in numbers]
        )
    return sketch


STORED = pytest.mark.parametrize("kind", ["ints", "floats", "text", "bytes", "hashes"])


def go_on(sketch: Any, kind: str) -> None:
    numbers = rng(20).zipf(1.1, 500) % 90
    if kind == "hashes":
        sketch.add_hashes(random_keys(19, 90)[numbers])
        return
    keys = [float(i) for i in numbers] if kind == "floats" else [FORMS[kind][1](int(i)) for i in numbers]
    sketch.add_many(keys[:250], weights=numbers[:250])
    for key in keys[250:]:
        sketch.add(key)


@every_class
@STORED
@pytest.mark.parametrize("capacity", [1, 12, 64])
def test_bytes_come_back_equal_and_go_on(cls: Any, kind: str, capacity: int) -> None:
    """Whatever the sketch went through before, one read back does the same from then on, bit for bit."""
    sketch, capacity = example(cls, kind, capacity), cls(capacity).capacity
    backs = [cls.from_bytes(sketch.to_bytes()), pickle.loads(pickle.dumps(sketch))]
    backs.append(cls.from_bytes(memoryview(bytearray(sketch.to_bytes()))))
    for back in backs:
        assert back == sketch
        assert (back.total, back.seed, back.capacity, len(back)) == (sketch.total, 7, capacity, len(sketch))
        assert named(back) == named(sketch)
        go_on(back, kind)
    go_on(sketch, kind)
    assert all(back == sketch for back in backs)
    other = cls(capacity, seed=8)
    assert other != sketch
    assert sketch != "sketch"
    with pytest.raises(TypeError, match="unhashable"):
        hash(sketch)
    assert f"capacity={capacity}" in repr(sketch)


@every_class
def test_many_read_while_nobody_adds(cls: Any) -> None:
    keys = [f"key {i}" for i in zipf(1.1, scaled(20_000, 500), 1_000, 21).tolist()]
    sketch = cls(100)
    sketch.add_many(keys)
    asked = sorted(set(keys))

    def read(_: int) -> Any:
        with np.errstate(over="ignore"):  # of a thread, where kernels run interpreted
            found = [sketch.estimate_many(asked).tolist(), named(sketch), sketch.to_bytes()]
            bounds = sketch.bounds_many(asked) if cls in BOUNDED else ()
            return [*found, sketch.estimate(keys[0]), *(part.tolist() for part in bounds)]

    want = read(0)
    with ThreadPoolExecutor(4) as pool:
        assert all(found == want for found in pool.map(read, range(scaled(40, 4))))


@every_class
@STORED
def test_truncated_and_altered_bytes_are_refused(cls: Any, kind: str) -> None:
    """Bytes cut off anywhere, continued, or with any bit flipped, are no sketch."""
    data = example(cls, kind).to_bytes()
    for n in range(0, len(data), scaled(1, 20)):
        with pytest.raises(CorruptDataError):
            cls.from_bytes(data[:n])
    with pytest.raises(CorruptDataError):
        cls.from_bytes(data + b"\x00")
    for at in range(0, 8 * len(data), scaled(1, 131)):
        altered = bytearray(data)
        altered[at // 8] ^= 1 << at % 8
        with pytest.raises(CorruptDataError):
            cls.from_bytes(altered)


@every_class
def test_bytes_of_others_are_refused(cls: Any) -> None:
    for other in (*CLASSES, CountMinSketch):
        if other is not cls:
            data = (CountMinSketch(20, 4) if other is CountMinSketch else other(20)).to_bytes()
            with pytest.raises(CorruptDataError, match="use that class"):
                cls.from_bytes(data)
            header, payload = take_apart(data)
            assert not believe_or_refuse(
                cls, put_together({**header, "kind": cls.__name__}, payload + b"\x01")
            )


BATCHES = (np.arange(-5, 25), [f"{i}" for i in range(30)], [b"%d" % i for i in range(30)], np.arange(30) / 3)


def use(sketch: Any) -> None:
    """Do everything with a sketch that could read or write out of range, or go wrong later."""
    everything = sketch.top(sketch.capacity + 1)
    assert len(everything[0]) == len(everything[1]) <= sketch.capacity
    assert (everything[1] > 0).all()
    assert sketch.top(3)[1].tolist() == everything[1][:3].tolist()
    assert type(sketch).from_bytes(sketch.to_bytes()).top(3)[1].tolist() == everything[1][:3].tolist()
    _ = sketch.nbytes, repr(sketch)
    keys = np.random.default_rng(sketch.total % 5).permutation(40).astype(np.uint64)
    for batch in BATCHES:
        try:
            sketch.add(batch[0])
            sketch.add_many(batch, weights=np.arange(30))
            sketch.add_many(batch[::-1])
            break
        except TypeError:
            continue
    else:
        sketch.add_hashes(keys * np.uint64(2**58))
    if hasattr(sketch, "bounds_many"):
        for batch in BATCHES:
            low, high = sketch.bounds_many(batch)
            assert (low >= 0).all()
            assert (low <= high).all()
            assert (high <= sketch.total).all()
        assert 0 <= sketch.error <= sketch.total
    for batch in BATCHES:
        assert (sketch.estimate_many(batch) >= 0).all()
    twin = type(sketch).from_bytes(sketch.to_bytes())
    assert twin == sketch
    if hasattr(sketch, "merge"):
        sketch.merge(twin)
        assert type(sketch).from_bytes(sketch.to_bytes()) == sketch


def believe_or_refuse(cls: Any, data: bytes) -> bool:
    """Hostile bytes raise ``CorruptDataError``, or make a sketch that works."""
    try:
        sketch = cls.from_bytes(data)
    except CorruptDataError:
        return False
    try:
        use(sketch)
    except OverflowError:
        assert sketch.total >= MOST // 2 - 1000
    return True


HOSTILE = (0, -1, 1, 2, 11, 13, 2**16, 2**28, 2**28 + 1, 2**32, 2**63, 2**64, 10**30, 0.0, 12.0, float("nan"))
HOSTILE_TYPES = (None, True, False, "12", "", [], {}, [12])


@every_class
@STORED
def test_hostile_parameters_under_a_valid_checksum(cls: Any, kind: str) -> None:
    """Whatever a parameter claims, the bytes are refused or make a sketch that works."""
    header, payload = take_apart(example(cls, kind).to_bytes())
    for name in header["parameters"]:
        for value in HOSTILE + HOSTILE_TYPES:
            parameters = {**header["parameters"], name: value}
            believed = believe_or_refuse(cls, put_together({**header, "parameters": parameters}, payload))
            assert not believed or name == "seed"
        parameters = {k: v for k, v in header["parameters"].items() if k != name}
        with pytest.raises(CorruptDataError):
            cls.from_bytes(put_together({**header, "parameters": parameters}, payload))


class Forged:
    """The parts of a payload, read from its description alone, to be altered and put together again."""

    def __init__(self, cls: Any, kind: str) -> None:
        self.cls, sketch = cls, example(cls, kind)
        self.header, payload = take_apart(sketch.to_bytes())
        words = np.frombuffer(payload[: len(payload) // 8 * 8], "<u8")
        self.state, n = words[: cls._WORDS].copy(), len(sketch)
        at = cls._WORDS
        names = ["hashes", "counts", *(["errors"] if cls is SpaceSaving else []), "sizes"]
        for name in names[: None if kind in {"text", "bytes"} else -1]:
            setattr(self, name, words[at : at + n].copy())
            at += n
        self.names = [name for name in names if hasattr(self, name)]
        self.texts = payload[8 * at :]
        assert cls.from_bytes(self.put_together()) == sketch

    def put_together(self) -> bytes:
        arrays = [self.state, *(getattr(self, name) for name in self.names)]
        return put_together(self.header, b"".join(array.tobytes() for array in arrays) + self.texts)


def _set(name: str, at: int, value: Any) -> Any:
    def alter(forged: Any) -> None:
        array = getattr(forged, name)
        array[at] = value(int(array[at])) & M64 if callable(value) else value

    return alter


def _swap(*names: str) -> Any:
    def alter(forged: Any) -> None:
        for name in names:
            array = getattr(forged, name)
            array[[0, 1]] = array[[1, 0]]

    return alter


def _all_counts(value: int) -> Any:
    def alter(forged: Any) -> None:
        forged.counts[:] = value

    return alter


def _twice(forged: Any) -> None:
    forged.hashes[1] = forged.hashes[0]


def _texts(value: bytes) -> Any:
    def alter(forged: Any) -> None:
        forged.texts = value + forged.texts[len(value) :]

    return alter


def _tail(value: bytes) -> Any:
    def alter(forged: Any) -> None:
        forged.texts += value

    return alter


FORGERIES: dict[str, Any] = {
    "one key more": _set("state", USED, lambda n: n + 1),
    "one key less": _set("state", USED, lambda n: n - 1),
    "no key": _set("state", USED, 0),
    "keys beyond the capacity": _set("state", USED, 13),
    "keys without end": _set("state", USED, M64),
    "keys of no kind": _set("state", KIND, 0),
    "keys of a kind unknown": _set("state", KIND, 7),
    "keys of a kind beyond": _set("state", KIND, 2**63),
    "another capacity": _set("state", CAPACITY, 13),
    "a capacity without end": _set("state", CAPACITY, M64),
    "too large a total": _set("state", TOTAL, 2**63),
    "too small a total": _set("state", TOTAL, 5),
    "no total": _set("state", TOTAL, 0),
    "keys out of order": _swap("hashes"),
    "entries out of order": _swap("hashes", "counts"),
    "a key twice": _twice,
    "no count": _set("counts", 0, 0),
    "a count without end": _set("counts", 0, M64),
    "a count beyond": _set("counts", 0, 2**63),
    "a count of more than all": _set("counts", 0, 10**6),
    "counts of more than all": _all_counts(200),
    "bytes behind the end": _tail(b"\x00"),
    "words behind the end": _tail(bytes(8)),
}
FORGED_TEXTS: dict[str, Any] = {
    "a longer text": _set("sizes", 0, lambda n: n + 1),
    "a shorter text": _set("sizes", 0, lambda n: n - 1),
    "a text without end": _set("sizes", 0, M64),
    "a text beyond": _set("sizes", 0, 2**63),
    "texts of other keys": _swap("sizes"),
    "another text": _texts(b"\x00"),
    "no UTF-8": _texts(b"\xfe"),
}


def refused(cls: Any, kind: str, alter: Any) -> None:
    forged = Forged(cls, kind)
    before = forged.put_together()
    alter(forged)
    assert forged.put_together() != before
    with pytest.raises(CorruptDataError):
        cls.from_bytes(forged.put_together())


@bounded
@STORED
@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_states_are_refused(cls: Any, kind: str, forgery: str) -> None:
    """What no keys leave is no sketch, though its checksum is right."""
    refused(cls, kind, FORGERIES[forgery])


@bounded
@pytest.mark.parametrize("kind", ["text", "bytes"])
@pytest.mark.parametrize("forgery", FORGED_TEXTS)
def test_forged_texts_are_refused(cls: Any, kind: str, forgery: str) -> None:
    """A key that has another hash than is said would be counted twice."""
    refused(cls, kind, FORGED_TEXTS[forgery])


@bounded
def test_forged_errors_are_refused(cls: Any) -> None:
    """An error takes its room from counts or from the total."""
    own = example(cls, "ints")._entries()[1][0]
    for error in (int(own) if cls is SpaceSaving else 301, 2**62, 2**63, M64):
        where = ("errors", 0) if cls is SpaceSaving else ("state", cls._WORDS - 1)
        refused(cls, "ints", _set(*where, error))


@bounded
def test_other_capacities(cls: Any) -> None:
    """A capacity forged in all places makes a sketch that works, if it holds the keys."""
    n = len(example(cls, "text"))
    for capacity in (1, n - 1, n, 13, 2**16):
        forged = Forged(cls, "text")
        forged.header["parameters"]["capacity"] = capacity
        forged.state[CAPACITY] = capacity
        assert capacity >= n or not believe_or_refuse(cls, forged.put_together())
        believe_or_refuse(cls, forged.put_together())


def mutated(payload: bytes, stream: Any) -> bytes:
    """Alter bytes, words, or the length of a payload."""
    altered, way = bytearray(payload), stream.integers(0, 8)
    words = len(payload) // 8
    if way < 3:
        for at in stream.integers(0, len(altered), stream.integers(1, 5)):
            altered[at] = stream.integers(0, 256)
    elif way < 6:
        for at in 8 * stream.integers(0, words, stream.integers(1, 4)):
            old = int.from_bytes(altered[at : at + 8], "little")
            choices = [
                0,
                1,
                2,
                5,
                12,
                13,
                64,
                2**31,
                2**32,
                2**62,
                MOST,
                2**63,
                M64,
                old + 1,
                old - 1,
                old * 2,
            ]
            altered[at : at + 8] = (choices[stream.integers(len(choices))] & M64).to_bytes(8, "little")
    elif way == 6:  # some words in another order
        a, b = 8 * stream.integers(0, words, 2)
        altered[a : a + 8], altered[b : b + 8] = altered[b : b + 8], altered[a : a + 8]
    else:
        a, b = sorted(stream.integers(0, len(altered), 2))
        altered[a:b] = altered[a:b] * int(stream.integers(0, 3)) if b - a < 200 else b""
    return bytes(altered)


@every_class
@STORED
def test_mutated_payloads_under_a_valid_checksum(cls: Any, kind: str) -> None:
    """Any other length or bits are refused or make a sketch that works."""
    header, payload = take_apart(example(cls, kind).to_bytes())
    n, stream = len(payload), rng(22)
    for other in (b"", payload[:-1], payload[: n // 2], payload * 2, payload + bytes(8)):
        assert not believe_or_refuse(cls, put_together(header, other))
    for other in (bytes(n), b"\xff" * n, *(stream.bytes(n) for _ in range(10))):
        assert not believe_or_refuse(cls, put_together(header, other))
    for _ in range(scaled(10_000, 20)):
        believe_or_refuse(cls, put_together(header, mutated(payload, stream)))


# ---------------------------------------------------------------------------------------------------
# Errors


@every_class
def test_wrong_weights_and_keys(cls: Any) -> None:
    """What is no weight or no key is refused before anything is counted, and says why."""
    sketch = cls(10)
    hashes = hash64(["a", "b"])
    for wrong in (1.0, "1", True, [1.0, 2.0], [True, False], "ab"):
        with pytest.raises(TypeError, match="weights must be"):
            sketch.add_many(["a", "b"], wrong)
        with pytest.raises(TypeError, match="weights must be"):
            sketch.add_hashes(hashes, wrong)
    for wrong in (1.0, "1", True, None, [1]):
        with pytest.raises(TypeError, match="weight must be"):
            sketch.add("a", wrong)
    for wrong in (-1, 2**63, M64, -(2**63)):
        with pytest.raises(ValueError, match="weights has"):
            sketch.add("a", wrong)
        with pytest.raises(ValueError, match="weights has"):
            sketch.add_many(["a", "b"], wrong)
        for way in (lambda w: sketch.add_many(["a", "b"], w), lambda w: sketch.add_hashes(hashes, w)):
            with pytest.raises(ValueError, match="weights has"):
                way(np.array([wrong, wrong]))
    for wrong in ([1], [1, 2, 3]):
        with pytest.raises(ValueError, match="for"):
            sketch.add_many(["a", "b"], wrong)
        with pytest.raises(ValueError, match="for 2 keys"):
            sketch.add_hashes(hashes, wrong)
    with pytest.raises(TypeError, match="use a list"):
        sketch.add_many(iter(["a", "b"]), [1, 2])
    for key in (True, ["a"], object(), 1j, (1, 2)):
        with pytest.raises(TypeError):
            sketch.add(key)
        with pytest.raises(TypeError):
            sketch.add_many([key, key])
    with pytest.raises(ValueError, match="surrogate"):
        sketch.add("\ud800")
    with pytest.raises(OverflowError):
        sketch.add(2**64)
    for arguments in ((), ("a", 1, 2)):
        with pytest.raises(TypeError):
            sketch.add(*arguments)
    with pytest.raises(TypeError, match="uint64"):
        sketch.add_hashes(np.arange(3))
    with pytest.raises(TypeError, match="uint64"):
        sketch.estimate_hashes([1, 2])
    assert sketch == cls(10)


@every_class
def test_wrong_arguments(cls: Any) -> None:
    """Errors name the value and the bound."""
    for capacity, error in ((0, ValueError), (-5, ValueError), (2**28 + 1, ValueError), (2**70, ValueError)):
        with pytest.raises(error, match=f"capacity={capacity}"):
            cls(capacity)
    for capacity in (1.0, True, "10", None):
        with pytest.raises(TypeError, match="capacity must be an int"):
            cls(capacity)
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match="seed"):
            cls(10, seed=seed)
    with pytest.raises(TypeError):
        cls(10, 7)
    sketch = cls(np.int64(10))
    with pytest.raises(ValueError, match="k=-1"):
        sketch.top(-1)
    for k in (1.0, True, None, "1"):
        with pytest.raises(TypeError, match="k must be an int"):
            sketch.top(k)


@every_class
def test_seeds_change_hashes_and_not_names(cls: Any) -> None:
    keys = np.arange(20)
    sketches = [cls(50, seed=seed) for seed in (0, 1, M64)]
    for sketch in sketches:
        sketch.add_many(keys, weights=1000 * np.arange(1, 21))
        assert sketch.top(20)[0].tolist() == keys[::-1].tolist()
    assert len({sketch.to_bytes() for sketch in sketches}) == 3
