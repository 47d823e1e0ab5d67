"""Heavy hitters: the keys that came most are found, counted within bounds, and given back as they were."""

from __future__ import annotations

import itertools
import math
import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dask.bag as db
import dask.dataframe as dd
import numpy as np
import oracles
import pandas as pd
import pyarrow as pa
import pytest
from helpers import put_together, rng, scaled, take_apart
from hypothesis import given
from hypothesis import strategies as st

from algos.errors import CorruptDataError
from algos.frequency import CuckooHeavyKeeper, MisraGries, SpaceSaving
from algos.hashing import hash64
from algos.integrations.dask import sketch as sketch_of

MOST = 2**63 - 1
BOUNDED = {"MisraGries": MisraGries, "SpaceSaving": SpaceSaving}
KINDS = {**BOUNDED, "CuckooHeavyKeeper": CuckooHeavyKeeper}
every_kind = pytest.mark.parametrize("cls", KINDS.values(), ids=KINDS)
with_bounds = pytest.mark.parametrize("cls", BOUNDED.values(), ids=BOUNDED)
FORMS = {
    "int": lambda i: i - 3,
    "uint": lambda i: 2**64 - 1 - i,
    "float": lambda i: i / 2 - 1.0,
    "str": lambda i: "" if i == 0 else f"key {i} é" * (i % 3 + 1),
    "bytes": lambda i: b"\x00" * i if i < 30 else i.to_bytes(3, "little"),
}
every_form = pytest.mark.parametrize("form", FORMS)


def zipf(n: int, s: float, keys: int, *seed: int) -> Any:
    """Draw keys whose frequencies fall as a power of their rank, numbered without order."""
    chances = np.arange(1, keys + 1) ** -s
    ranks = rng(*seed).choice(keys, n, p=chances / chances.sum())
    return rng(9).permutation(keys)[ranks]


def check(sketch: Any, true: dict[Any, int]) -> None:
    """All that is said of keys is true."""
    keys = list(true)
    if isinstance(sketch, CuckooHeavyKeeper):
        found, counts = sketch.top(2 * sketch.capacity)
        assert sketch.total == sum(true.values())
        assert len(found) == len(sketch)
        assert counts.tolist() == sketch.estimate_many(found).tolist()
        assert set(found if isinstance(found, list) else found.tolist()) <= set(true)
        return
    lower, upper = sketch.bounds_many(keys)
    had, told = np.array(list(true.values()), np.int64), sketch.estimate_many(keys)
    assert sketch.total == sum(true.values())
    assert (lower <= had).all()
    assert (had <= upper).all()
    assert (upper - lower <= sketch.error_bound).all()
    assert ((told == upper) | (told == 0) & (lower == 0) & (upper == sketch.error_bound)).all()
    found, counts = sketch.top(sketch.capacity)
    assert len(found) == len(counts) == len(sketch) == np.count_nonzero(told)
    assert dict(zip(list(found), counts.tolist(), strict=True)) == {
        key: count for key, count in zip(keys, told.tolist(), strict=True) if count
    }


# ---------------------------------------------------------------------------------------------------
# Naive twins, as the papers and the files' first lines word them


class NaiveMisraGries:
    def __init__(self, capacity: int, seed: int = 0) -> None:  # noqa: ARG002
        self.capacity, self.floor, self.counts = capacity, 0, {}

    def add(self, key: Any, weight: int) -> None:
        if not weight:
            return
        if key not in self.counts and len(self.counts) == self.capacity:
            lowered = sorted(self.counts.values())[(self.capacity - 1) // 2]
            self.floor += lowered
            self.counts = {k: c - lowered for k, c in self.counts.items() if c > lowered}
        self.counts[key] = self.counts.get(key, 0) + weight

    def state(self) -> list[tuple[Any, int, int]]:
        return [(k, c, c + self.floor) for k, c in self.counts.items()]

    def bound(self) -> int:
        return self.floor


class NaiveSpaceSaving:
    def __init__(self, capacity: int, seed: int = 0) -> None:  # noqa: ARG002
        self.capacity, self.rows = capacity, []

    def add(self, key: Any, weight: int) -> None:
        if not weight:
            return
        for row in self.rows:
            if row[0] == key:
                row[1] += weight
                return
        if len(self.rows) < self.capacity:
            self.rows.append([key, weight, 0])
            return
        row = min(self.rows, key=lambda row: row[1])  # the first of those
        row[:] = key, row[1] + weight, row[1]

    def state(self) -> list[tuple[Any, int, int]]:
        return [(key, value - error, value) for key, value, error in self.rows]

    def bound(self) -> int:
        return min(row[1] for row in self.rows) if len(self.rows) == self.capacity else 0


class NaiveKeeper:
    def __init__(self, capacity: int, seed: int = 0) -> None:
        self.seed = seed
        self.buckets = -(-capacity // 6)
        self.heavy = 6 * self.buckets
        self.table = [[[[None, 0] for _ in range(4)] for _ in range(self.buckets)] for _ in range(2)]
        self.random, self.total = seed, 0

    def draw(self) -> float:
        drawn = oracles.splitmix64(self.random) >> 11
        self.random = (self.random + 0x9E3779B97F4A7C15) % 2**64
        return drawn * 2.0**-53

    def homes(self, key: Any) -> list[list[list[Any]]]:
        halves = divmod(int(hash64([key], seed=self.seed)[0]), 2**32)[::-1]
        return [table[half * self.buckets >> 32] for table, half in zip(self.table, halves, strict=True)]

    def add(self, key: Any, weight: int) -> None:
        self.total += weight
        homes = self.homes(key)
        for bucket, place in ((b, p) for b in homes for p in b):
            if place[1] and place[0] == key:
                place[1] += weight
                if place is bucket[0]:
                    self.promote(bucket)
                return
        if not weight:
            return
        order = [*homes[0][1:], *homes[1][1:], homes[0][0], homes[1][0]]
        for place in order:
            if not place[1]:
                place[:] = key, weight
                for bucket in homes:
                    if place is bucket[0]:
                        self.promote(bucket)
                return
        bucket = homes[int(hash64([key], seed=self.seed)[0]) & 1]
        cost = [1.08**c for c in range(17)]
        count = bucket[0][1]
        if weight < cost[count]:
            bucket[0][1] -= self.draw() * cost[count] < weight
        else:
            while bucket[0][1] and sum(cost[bucket[0][1] : count + 1]) <= weight:
                bucket[0][1] -= 1
        if not bucket[0][1]:
            bucket[0][:] = key, max(1, weight - int(sum(cost[1 : count + 1])))
            self.promote(bucket)

    def promote(self, bucket: Any) -> None:
        key, count = bucket[0]
        if count < 16:
            return
        place = min(bucket[1:], key=lambda place: place[1])
        former, before = place
        if before > count and self.draw() * (before - 16) >= count - 16:
            bucket[0][1] = 16
            return
        place[:], bucket[0][:] = (key, max(before, count)), (None, 0)
        if not before:
            return
        for _ in range(10):
            if before < 0.8 * self.total / self.heavy:
                return
            homes = self.homes(former)
            bucket = homes[1] if bucket is homes[0] else homes[0]
            place = min(bucket[1:], key=lambda place: place[1])
            place[:], (former, before) = (former, before), tuple(place)
            if not before:
                return

    def state(self) -> list[tuple[Any, int]]:
        return [(p[0], p[1]) for table in self.table for bucket in table for p in bucket if p[1]]


TWINS = {MisraGries: NaiveMisraGries, SpaceSaving: NaiveSpaceSaving, CuckooHeavyKeeper: NaiveKeeper}


def entries(sketch: Any) -> list[tuple[Any, ...]]:
    """Return the keys held with their bounds or estimates, in the order in which they are stored."""
    keys = sketch._keys(sketch._entries())
    if isinstance(sketch, CuckooHeavyKeeper):
        keys = keys if isinstance(keys, list) else keys.tolist()
        return list(zip(keys, sketch.estimate_many(keys).tolist(), strict=True))
    lower, upper = sketch.bounds_many(keys)
    keys = keys if isinstance(keys, list) else keys.tolist()
    return list(zip(keys, lower.tolist(), upper.tolist(), strict=True))


WEIGHTS = st.sampled_from([0, 1, 1, 1, 2, 3, 10, 1000, 2**40, 2**57])


@every_kind
@given(
    capacity=st.integers(1, 9),
    stream=st.lists(st.tuples(st.integers(0, 20), WEIGHTS), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    form=st.sampled_from(sorted(FORMS)),
)
def test_the_twins_agree(cls: Any, capacity: int, stream: Any, cuts: list[int], form: str) -> None:
    """One by one, in batches of any size, stored and read in between: always the twin's entries."""
    keys, weights = [FORMS[form](i) for i, _ in stream], [weight for _, weight in stream]
    naive, alone, batched = TWINS[cls](capacity), cls(capacity), cls(capacity)
    for key, weight in zip(keys, weights, strict=True):
        naive.add(key, weight)
        alone.add(key, weight)
    for lo, hi in itertools.pairwise([0, *sorted(min(cut, len(keys)) for cut in cuts), len(keys)]):
        batched.add_many(keys[lo:hi], np.array(weights[lo:hi], np.int64))
        batched = cls.from_bytes(batched.to_bytes())
    assert entries(alone) == naive.state()
    assert cls is CuckooHeavyKeeper or alone.error_bound == naive.bound()
    assert alone == batched
    true: Counter[Any] = Counter()
    for key, weight in zip(keys, weights, strict=True):
        true[key] += weight
    check(alone, true)
    for key in true:
        assert alone.estimate(key) == alone.estimate_many([key])[0]


@every_kind
@every_form
@pytest.mark.parametrize("capacity", [1, 2, 63, 64, 65, 200, 1000])
def test_a_stream_of_every_form(cls: Any, form: str, capacity: int) -> None:
    """Tables that grow, are full, and are purged, hold the same alone and in batches, and keep the bounds."""
    keys = [FORMS[form](i) for i in zipf(scaled(6000, 700), 1.0, 2000, capacity).tolist()]
    naive, alone, batched = TWINS[cls](capacity, 5), cls(capacity, seed=5), cls(capacity, seed=5)
    for key in keys[: len(keys) // 4]:
        naive.add(key, 1)
        alone.add(key)
    batched.add_many(keys[: len(keys) // 4])
    assert entries(alone) == naive.state()
    alone.add_many(iter(keys[len(keys) // 4 :]))
    for lo in range(len(keys) // 4, len(keys), 333):
        batched.add_many(keys[lo : lo + 333] if lo + 333 < len(keys) else keys[lo:])
    assert alone == batched
    check(alone, Counter(keys))


def named(sketch: Any) -> list[tuple[Any, int]]:
    keys, counts = sketch.top(len(sketch))
    return list(zip(keys, counts.tolist(), strict=True))


def test_misra_gries_by_hand() -> None:
    """The floor is what all were lowered by, and a new key begins at it."""
    sketch = MisraGries(2)
    sketch.add_many(list("aab"))
    assert named(sketch) == [("a", 2), ("b", 1)]
    sketch.add("c")  # of 2 and 1 the lower median is 1
    assert (named(sketch), sketch.error_bound) == ([("a", 2), ("c", 2)], 1)
    assert (sketch.estimate("b"), sketch.estimate("z")) == (0, 0)
    sketch.add_many(list("aad"))  # of 4 and 2, 3 and 1 above the floor, it is the 2
    assert (named(sketch), sketch.error_bound, sketch.total) == ([("a", 4), ("d", 3)], 2, 7)
    lower, upper = sketch.bounds_many(["a", "d", "b", None])
    assert (lower.tolist(), upper.tolist()) == ([2, 1, 0, 0], [4, 3, 2, 0])
    assert (lower.dtype, upper.dtype) == (np.int64, np.int64)


def test_space_saving_by_hand() -> None:
    """A new key takes over the least count, and is known to have had what came since."""
    sketch = SpaceSaving(3)
    sketch.add_many(list("ABBACABB"))
    assert (named(sketch), sketch.error_bound) == ([("B", 4), ("A", 3), ("C", 1)], 1)
    sketch.add_many(list("DDB"))  # D takes the count of C
    lower, upper = sketch.bounds_many(["D", "B", "A", "C", None])
    assert (lower.tolist(), upper.tolist()) == ([2, 5, 3, 0, 0], [3, 5, 3, 3, 0])
    sketch.add_many(list("EC"))  # the first of 3 is A, the next D
    assert named(sketch) == [("B", 5), ("C", 4), ("E", 4)]
    assert sketch.bounds_many(["B", "C", "E"])[0].tolist() == [5, 1, 1]


def test_merged_by_hand() -> None:
    """A key that one of two does not hold counts as what it may have had there."""
    for cls, want in ((SpaceSaving, [("b", 6), ("a", 4)]), (MisraGries, [("b", 6), ("a", 3)])):
        one, two = cls(2), cls(2)
        one.add_many(["a", "b"], weights=[3, 2])
        two.add_many(["b", "c"], weights=[4, 1])
        one.merge(two)  # Space-Saving: a 3 + 1, b 2 + 4, c 2 + 1; Misra-Gries: 3, 6, 1
        assert (named(one), one.total) == (want, 10)
        assert one.bounds_many(["b"])[1].tolist() == [6]


@with_bounds
def test_one_counter_only(cls: Any) -> None:
    sketch = cls(1)
    sketch.add_many([1, 1, 1, 2])
    assert (named(sketch), sketch.error_bound, sketch.total) == ([(2, 4)], 3 if cls is MisraGries else 4, 4)


# ---------------------------------------------------------------------------------------------------
# The laws


def test_the_error_that_was_published() -> None:
    """Datasketches has 3 M / 4 counters and errors of 3.5 N / M: of a million 3418 and 854 for these M."""
    for m, published in ((1024, 3418), (4096, 854)):
        law = 10**6 // (3 * m // 4 // 2 + 1)
        assert law < published
        assert round(3.5 * 10**6 / m) == published


@with_bounds
@pytest.mark.parametrize("s", [0.7, 1.0, 1.1, 1.5])
@pytest.mark.parametrize("capacity", [10, 100, 768])
def test_streams_of_all_skews(cls: Any, s: float, capacity: int) -> None:
    """Errors stay within the law, and all keys above it are held, however the frequencies fall."""
    n = scaled(200_000, 3000)
    keys = zipf(n, s, scaled(50_000, 1000), 1)
    sketch = cls(capacity)
    sketch.add_many(keys)
    true = Counter(keys.tolist())
    check(sketch, true)
    law = n // (capacity // 2 + 1) if cls is MisraGries else n // capacity
    assert sketch.error_bound <= law
    assert all(sketch.estimate(key) for key, count in true.items() if count > law)
    if cls is MisraGries and capacity == 768:
        assert sketch.error_bound <= 3.5 * n / 1024


@with_bounds
@pytest.mark.parametrize("capacity", [1, 2, 7, 64, 300])
@pytest.mark.parametrize("more", [1, 2, 50])
def test_round_robin(cls: Any, capacity: int, more: int) -> None:
    """The worst there is, more keys in turn than counters: no error is larger than the law."""
    keys = np.arange(scaled(60_000, 2000)) % (capacity + more)
    sketch = cls(capacity)
    sketch.add_many(keys)
    check(sketch, Counter(keys.tolist()))
    law = len(keys) // (capacity // 2 + 1) if cls is MisraGries else len(keys) // capacity
    assert sketch.error_bound <= law
    if cls is SpaceSaving:
        assert law - 1 <= sketch.error_bound
        assert sketch._values.sum() == len(keys)


@with_bounds
def test_a_hot_set_that_drifts(cls: Any) -> None:
    """Keys that were frequent for a while are forgotten, those that are now are found."""
    part, parts = scaled(20_000, 1000), 6
    sketch = cls(scaled(400, 100))
    true: Counter[int] = Counter()
    for p in range(parts):
        hot = np.arange(10) + 1000 * p
        keys = np.where(
            rng(p).random(part) < 0.5, rng(p, 1).choice(hot, part), rng(p, 2).integers(0, 2**40, part)
        )
        sketch.add_many(keys)
        true.update(keys.tolist())
        check(sketch, true)
        assert set(hot.tolist()) <= set(sketch.top(10 * (p + 1))[0].tolist())


@with_bounds
def test_weights_are_repetitions(cls: Any) -> None:
    """A weight counts as so many of the key in a row; 0 as none; and one number for all as one for each."""
    keys, weights = rng(1).integers(0, 99, scaled(2000, 200)), rng(2).integers(0, 5, scaled(2000, 200))
    a, b, c, d = cls(20), cls(20), cls(20), cls(20)
    a.add_many(keys, weights)
    b.add_many(np.repeat(keys, weights))
    assert a == b
    c.add_many(keys, 7)
    d.add_many(keys, np.full(len(keys), 7, np.uint8))
    assert c == d
    c.add_many(keys, 0)
    assert c == d


@every_kind
def test_any_weights_find_the_least(cls: Any) -> None:
    """Where all counters differ, blocks and their bounds find what a plain search finds."""
    for seed in range(scaled(20, 3)):
        capacity = int(rng(seed).integers(1, 400))
        keys = rng(seed, 1).integers(0, 3 * capacity, scaled(5000, 500))
        weights = (rng(seed, 2).pareto(0.7, len(keys)) * 10).astype(np.int64) % 2**40
        naive, sketch = TWINS[cls](capacity), cls(capacity)
        for key, weight in zip(keys.tolist(), weights.tolist(), strict=True):
            naive.add(key, weight)
        sketch.add_many(keys, weights)
        assert entries(sketch) == naive.state()


@every_kind
def test_weights_as_large_as_can_be(cls: Any) -> None:
    """Weights may sum to 2^63 - 1 and no more: what would is refused, and nothing of it is counted."""
    sketch = cls(2)
    sketch.add_many(["a", "b", "c"], [2**60, 2**62, 2**60])
    sketch.add("d", MOST - 2**62 - 2**61)
    check(sketch, {"a": 2**60, "b": 2**62, "c": 2**60, "d": MOST - 2**62 - 2**61})
    one = cls(2)
    one.add("a", MOST)
    assert one.estimate("a") == one.total == MOST
    before = one.to_bytes()
    for keys, weights in ((["a"], 1), (["a", "b"], [MOST, MOST]), (["b"] * 3, MOST), ("a", None)):
        with pytest.raises(OverflowError, match="sum to"):
            one.add_many(keys, weights) if isinstance(keys, list) else one.add(keys)
        assert one.to_bytes() == before
    if cls in BOUNDED.values():
        two = cls(2)
        two.add("c")
        with pytest.raises(OverflowError, match="sum to"):
            one.merge(two)
    assert one.to_bytes() == before
    one.add_many(["a", "b"], 0)
    assert one.to_bytes() == before


@every_kind
def test_a_refused_batch_leaves_no_trace(cls: Any) -> None:
    """Not even the kind of its keys, or its first block."""
    sketch, n = cls(4), scaled(20_000, 9_000)
    for attempt in (
        lambda: sketch.add_many([1, 2, 3], weights=2**62),
        lambda: sketch.add_many(np.arange(n), weights=2**63 // n + 1),
        lambda: sketch.add_many(np.arange(n), weights=np.full(n, 2**63 // n + 1)),
    ):
        with pytest.raises(OverflowError, match="new sketch"):
            attempt()
        assert sketch == cls(4)
    sketch.add_many([1, None, None, None], weights=2**62)
    sketch.add(2, 2**62 - 1)
    assert sketch.total == MOST


@with_bounds
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


@with_bounds
@every_form
def test_merged_in_any_order(cls: Any, form: str) -> None:
    """Any tree of merges keeps the law, and two merge to the same bytes whichever takes in the other."""
    n = scaled(40_000, 1500)
    keys = [FORMS[form](i) for i in zipf(n, 1.0, 3000, 3).tolist()]
    parts = [keys[i::7] for i in range(7)]
    for seed in range(3):
        order = rng(seed).permutation(7)
        sketches = []
        for i in order:
            sketch = cls(60)
            sketch.add_many(parts[i])
            sketches.append(sketch)
        while len(sketches) > 1:
            a, b = sketches.pop(int(rng(seed, len(sketches)).integers(len(sketches)))), sketches.pop(0)
            a2, b2 = pickle.loads(pickle.dumps(a)), pickle.loads(pickle.dumps(b))
            a.merge(b)
            b2.merge(a2)
            assert a == b2
            sketches.append(a)
        merged = sketches[0]
        check(merged, Counter(keys))
        assert merged.error_bound <= (n // 31 if cls is MisraGries else n // 60)
        merged.add_many(keys)
        check(merged, Counter(keys + keys))


@with_bounds
def test_merged_with_little(cls: Any) -> None:
    """Merging with nothing changes nothing, and few keys stay exact."""
    a, b = cls(100), cls(100)
    a.add_many(["x", "y", "x"])
    before = a.top(5)
    a.merge(b)
    assert a.top(5)[0] == before[0]
    b.merge(a)
    b.merge(b)
    assert b.top(2)[0] == ["x", "y"]
    assert b.top(2)[1].tolist() == [4, 2]
    assert b.error_bound == 0


@with_bounds
def test_merged_with_others(cls: Any) -> None:
    """Sketches that differ in size, seed, class or kind of keys do not merge, and say why."""
    a = cls(10)
    a.add("x")
    for other, message in ((cls(11), "capacity=10 and 11"), (cls(10, seed=1), "seed=0 and 1"), (5, "int")):
        with pytest.raises(ValueError, match=message):
            a.merge(other)
    for sibling in BOUNDED.values():
        if sibling is not cls:
            with pytest.raises(ValueError, match="cannot merge"):
                a.merge(sibling(10))
    b = cls(10)
    b.add(1)
    before = a.to_bytes()
    with pytest.raises(TypeError, match="int keys in a sketch of str keys"):
        a.merge(b)
    assert a.to_bytes() == before


@with_bounds
def test_merging_with_nothing_and_with_oneself(cls: Any) -> None:
    keys = [f"key {i}" for i in zipf(scaled(5_000, 500), 1.1, 300, 16).tolist()]
    sketch, empty = cls(20), cls(20)
    sketch.add_many(keys)
    before, counted = sketch.to_bytes(), named(sketch)
    sketch.merge(empty)
    assert named(sketch) == counted
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


@with_bounds
def test_merged_over_the_parts_of_a_collection(cls: Any) -> None:
    """What Dask merges over five parts keeps the bounds of one sketch."""
    keys = zipf(scaled(50_000, 1000), 1.1, scaled(20_000, 500), 17)
    frame = dd.from_pandas(pd.DataFrame({"key": keys, "weight": keys % 10}), npartitions=5)
    plain = sketch_of(frame, "key", lambda: cls(100)).compute(scheduler="sync")
    check(plain, Counter(keys.tolist()))
    weighted = sketch_of(frame, "key", lambda: cls(100), weights="weight").compute(scheduler="sync")
    true: Counter[int] = Counter()
    for key in keys.tolist():
        true[key] += key % 10
    check(weighted, true)
    bag = db.from_sequence([f"key {key}" for key in keys.tolist()], npartitions=5)
    merged = sketch_of(bag, None, lambda: cls(100)).compute(scheduler="sync")
    truth = Counter(f"key {key}" for key in keys.tolist())
    low, high = merged.bounds_many(list(truth))
    assert all(a <= n <= b for a, n, b in zip(low, truth.values(), high, strict=True))
    assert merged.error_bound <= (len(keys) // 51 if cls is MisraGries else len(keys) // 100)


# ---------------------------------------------------------------------------------------------------
# Keys


@every_kind
@every_form
def test_keys_come_back_as_they_were(cls: Any, form: str) -> None:
    """``top`` gives the keys themselves, by falling counts, and equal counts by rising keys."""
    keys = [FORMS[form](i) for i in range(30)]
    sketch = cls(50, seed=11)
    sketch.add_many([key for i, key in enumerate(keys) for _ in range(1 + i % 3)])
    found, counts = sketch.top(30)
    want = sorted(zip(keys, (1 + i % 3 for i in range(30)), strict=True), key=lambda kc: (-kc[1], kc[0]))
    assert list(found) == [key for key, _ in want]
    assert counts.tolist() == [count for _, count in want]
    assert counts.dtype == np.int64
    dtype = {"int": np.int64, "uint": np.uint64, "float": np.float64}.get(form)
    assert isinstance(found, list) if dtype is None else found.dtype == dtype
    for k in (0, 1, 7, 29, 31):
        part, fewer = sketch.top(k)
        assert list(part) == list(found[:k])
        assert fewer.tolist() == counts[:k].tolist()


@every_kind
@pytest.mark.parametrize("n", [3, 100, 20_000])
def test_keys_of_all_columns(cls: Any, n: int) -> None:
    """Arrow's strings of all sorts, sliced, in chunks, with nulls and dictionaries, and NumPy's agree."""
    n = min(n, scaled(n, 300))
    texts = [f"k{i}" for i in zipf(n, 1.2, 500, n).tolist()]
    holed = [None if i % 5 == 1 else text for i, text in enumerate(texts)]
    weights = rng(n).integers(0, 4, n)
    want, sparse = cls(40), cls(40)
    want.add_many(texts, weights)
    kept = [i for i, text in enumerate(holed) if text is not None]
    sparse.add_many([texts[i] for i in kept], weights[kept])
    forms = [pa.string(), pa.large_string(), pa.string_view()]
    columns = [pa.array(texts, form) for form in forms]
    columns += [
        pa.array(["", *texts, "z"]).slice(1, n),
        pa.chunked_array([texts[: n // 3], texts[n // 3 :]], pa.string()),
        pa.array(texts).dictionary_encode(),
        np.array(texts),
        np.array(texts, np.dtypes.StringDType()),
    ]
    for column in columns:
        sketch = cls(40)
        sketch.add_many(column, weights)
        assert sketch == want
    nulls = [pa.array(holed, form) for form in forms]
    nulls += [
        pa.array(holed).dictionary_encode(),
        holed,
        pa.chunked_array([holed[: n // 3], holed[n // 3 :]]),
    ]
    for column in nulls:
        sketch = cls(40)
        sketch.add_many(column, weights)
        assert sketch == sparse
    raw = cls(40)
    raw.add_many([text.encode() for text in texts], weights)
    for column in (pa.array(texts, pa.binary()), pa.array(texts, pa.binary_view()), np.array(texts, "S")):
        sketch = cls(40)
        sketch.add_many(column, weights)
        assert sketch == raw
    assert raw.top(9)[0] == [text.encode() for text in want.top(9)[0]]


@every_kind
def test_numbers_of_all_widths(cls: Any) -> None:
    """All ints are of one kind, all floats of another; from a uint64 on, ints come back as uint64."""
    sketch = cls(100)
    for dtype in (np.int8, np.uint8, np.int16, np.uint32, np.int64):
        sketch.add_many(np.array([1, 2, 2], dtype))
    sketch.add_many([1, 2, -1])
    sketch.add(np.int32(2))
    found, counts = sketch.top(9)
    assert found.dtype == np.int64
    assert dict(zip(found.tolist(), counts.tolist(), strict=True)) == {2: 12, 1: 6, -1: 1}
    sketch.add(2**64 - 1)
    found, counts = sketch.top(9)
    assert found.dtype == np.uint64
    assert dict(zip(found.tolist(), counts.tolist(), strict=True)) == {2: 12, 1: 6, 2**64 - 1: 2}
    assert sketch.estimate(-1) == sketch.estimate(2**64 - 1) == 2
    floats = cls(100)
    floats.add_many(np.array([0.5, -0.0, np.nan], np.float32))
    floats.add_many([0.0, -math.nan, 0.5])
    floats.add(0.5)
    found, counts = floats.top(3)
    assert counts.tolist() == [3, 2, 2]
    assert found[:2].tolist() == [0.5, 0.0]
    assert math.isnan(found[2])
    days = cls(5)
    days.add_many(np.array(["1970-01-03"], "M8[D]"))
    assert days.top(1)[0].tolist() == [2]


@every_kind
@pytest.mark.parametrize(("form", "other"), [*itertools.permutations(["int", "float", "str", "bytes"], 2)])
def test_keys_of_two_kinds(cls: Any, form: str, other: str) -> None:
    """Keys of another kind are a TypeError whichever way they come, and nothing of them is counted."""
    sketch = cls(10)
    sketch.add(FORMS[form](1))
    before = sketch.to_bytes()
    stranger = FORMS[other](1)
    message = f"{other} keys in a sketch of {form} keys"
    for action in (sketch.add, sketch.estimate):
        with pytest.raises(TypeError, match=message):
            action(stranger)
    batches = [sketch.add_many, sketch.estimate_many]
    batches += [sketch.bounds_many] if cls in BOUNDED.values() else []
    for action in batches:
        with pytest.raises(TypeError, match=message):
            action([stranger])
    assert sketch.to_bytes() == before
    sketch.add(None)
    sketch.add_many([None, None])
    sketch.add_many([])
    assert sketch.to_bytes() == before
    assert sketch.estimate(None) == sketch.estimate_many([None])[0] == 0
    if cls in BOUNDED.values():
        assert [b.tolist() for b in sketch.bounds_many([None])] == [[0], [0]]


@every_kind
def test_a_sketch_without_keys(cls: Any) -> None:
    """Nothing is known of any key, and that is not an error."""
    sketch = cls(10)
    sketch.add_many([])
    sketch.add_many([None])
    sketch.add(None)
    assert (len(sketch), sketch.total, getattr(sketch, "error_bound", 0)) == (0, 0, 0)
    assert sketch.estimate("a") == sketch.estimate(1) == 0
    assert sketch.estimate_many([1, None]).tolist() == [0, 0]
    assert len(sketch.top(3)[0]) == len(sketch.heavy_hitters(0.1)[0]) == 0
    assert cls.from_bytes(sketch.to_bytes()) == sketch
    sketch.add("a", 0)
    assert len(sketch) == 0


@every_kind
def test_long_keys_leave_when_they_go(cls: Any) -> None:
    """The bytes of keys that are no more do not pile up, alone or in batches."""
    for alone in (False, True):
        sketch, size = cls(10), scaled(2000, 200)
        for turn in range(60):
            keys = [bytes([turn, i]) * size for i in range(8)]
            if alone:
                for key in keys:
                    sketch.add(key)
            else:
                sketch.add_many(keys)
        assert sketch.nbytes < 10 * (2 * size + 4) * 6 + 10_000
        assert all(len(key) == 2 * size for key in sketch.top(10)[0])
    huge = cls(4)
    huge.add("x" * 100_000)
    huge.add("x" * 100_000, 2)
    assert huge.top(1)[0] == ["x" * 100_000]
    assert huge.estimate("x" * 100_000) == 3


@every_kind
def test_tables_past_the_cache(cls: Any) -> None:
    """Tables so large that they are fetched ahead count as small ones do."""
    capacity = scaled(600_000, 600)
    keys = rng(1).permutation(np.repeat(np.arange(capacity // 6 * 8), 2))[: capacity * 7 // 3]
    whole, parts, true = cls(capacity), cls(capacity), np.bincount(keys)
    whole.add_many(keys)
    for part in np.array_split(keys, 7):
        parts.add_many(part)
    assert whole == parts
    told = whole.estimate_many(np.arange(len(true)))
    if cls in BOUNDED.values():
        lower, upper = whole.bounds_many(np.arange(len(true)))
        assert ((lower <= true) & (true <= upper)).all()
        assert whole.error_bound <= 2 * len(keys) // capacity
    else:
        assert (told <= true + 16).all()


@every_kind
def test_hashes_that_meet(cls: Any) -> None:
    """Keys that begin at one place of the index, at its end as well, are told apart."""
    keys = np.arange(scaled(300_000, 30_000))
    hashes = hash64(keys)
    chosen = keys[(hashes & np.uint64(1023)) >= np.uint64(1020)][:90]
    sketch = cls(50)
    sketch.add_many(np.repeat(chosen, 3))
    naive = TWINS[cls](50)
    for key in np.repeat(chosen, 3).tolist():
        naive.add(key, 1)
    assert entries(sketch) == naive.state()


@every_kind
@pytest.mark.parametrize("kind", ["int", "str", "bytes"])
@pytest.mark.parametrize("weighted", [False, True])
def test_any_cut_of_a_stream_makes_the_same_state(cls: Any, kind: str, weighted: bool) -> None:
    """Blocks, parts of any size, and single keys: the state of the whole, bit for bit."""
    n = scaled(30_000, 300)
    numbers = rng(3).zipf(1.2, n) % (n // 4)
    keys = [FORMS[kind](int(i)) for i in numbers]
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


def test_columns_of_weights_beside_nulls_at_the_ends_of_blocks() -> None:
    """Weights stay beside their keys where blocks of keys end in nulls."""
    n = 8192 * 2 + 1
    keys: list[Any] = [i % 9 for i in range(n)]
    for at in (0, 8191, 8192, n - 1):
        keys[at] = None
    weights = np.arange(n)
    truth = Counter[int]()
    for key, weight in zip(keys, weights.tolist(), strict=True):
        if key is not None:
            truth[key] += weight
    for cls in BOUNDED.values():
        sketch = cls(10)
        sketch.add_many(keys, weights)
        assert dict(named(sketch)) == truth


@every_kind
@pytest.mark.parametrize("form", ["list", "arrow", "dictionary"])
def test_texts_of_keys_gone_are_forgotten(cls: Any, form: str) -> None:
    """A million distinct texts take no more room than the first few."""
    n, part, sketch = scaled(1_000_000, 3_000), scaled(50_000, 300), cls(100)
    sizes = []
    for lo in range(0, n, part):
        keys: Any = [f"user {i:08}" for i in range(lo, lo + part)]
        if form != "list":
            keys = pa.array(keys) if form == "arrow" else pa.array(keys).dictionary_encode()
        sketch.add_many(keys)
        sizes.append(sketch.nbytes)
    assert max(sizes) <= 100 * 200 + 3 * min(part, 8192) * (8 + 13)
    assert max(sizes[-5:]) <= 2 * sizes[0]
    if cls is SpaceSaving:
        assert len(sketch) == 100


@every_kind
def test_texts_of_single_keys_gone_are_forgotten(cls: Any) -> None:
    """Added one by one, keys take no more room than in batches."""
    sketch = cls(100)
    for i in range(scaled(200_000, 2_000)):
        sketch.add(f"user {i:08}")
        if i % 1_000 == 0:
            assert sketch.nbytes <= 100 * 200 + 8_192


@every_kind
def test_room_for_texts_follows_those_that_stay(cls: Any) -> None:
    """Ten long texts of a batch of many are kept; room for the batch is not."""
    sketch, long, n = cls(10), "x" * 1_000, scaled(1_000, 100)
    sketch.add_many([long + str(i) for i in range(10)], weights=10**6)
    for lo in range(0, 3 * n, n):
        sketch.add_many([f"{i} {long}" for i in range(lo, lo + n)])
        sketch.add_many([f"{i % 2} {long}" for i in range(n)])
    assert sketch.nbytes < 100_000


@every_kind
def test_texts_longer_than_anything(cls: Any) -> None:
    """A text of megabytes between short ones, by itself and in a batch, kept and gone."""
    long = "é" * scaled(4_000_000, 40_000)
    one, two = cls(5), cls(5)
    keys, weights = ["a", long, "b", long + "x", "c", ""], [3000, 2000, 10**6, 10**7, 10**6, 10]
    one.add_many(keys, weights)
    for key, weight in zip(keys, weights, strict=True):
        two.add(key, weight)
    assert one == two
    assert one.estimate(long + "x") >= 10**6
    assert long + "x" in [key for key, _ in named(one)]
    back = cls.from_bytes(one.to_bytes())
    assert back == one
    assert named(back) == named(one)


@every_kind
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
# Heavy hitters


@pytest.mark.statistical
@pytest.mark.parametrize("s", [0.7, 1.0, 1.1, 1.5])
def test_the_keeper_finds_what_is_frequent(s: float) -> None:
    """Of keys that had ten times an even share of the places, 99 in 100 are held, and counted to 2 in 100."""
    capacity, n, missed, seen, errors = 600, scaled(60_000, 5000), 0, 0, []
    for seed in range(100):
        keys = zipf(n, s, 20_000, 20, seed)
        sketch = CuckooHeavyKeeper(capacity, seed=seed)
        sketch.add_many(keys)
        frequent = [
            (key, count) for key, count in Counter(keys.tolist()).items() if count > 10 * n / capacity
        ]
        told = sketch.estimate_many([key for key, _ in frequent])
        had = np.array([count for _, count in frequent])
        missed, seen = missed + np.count_nonzero(told == 0), seen + len(had)
        errors += (np.abs(told - had) / had).tolist()
        above = {key for key, count in frequent if count > 1.1 * 0.02 * n}
        assert len(above - set(sketch.heavy_hitters(0.02)[0].tolist())) <= 1
    assert missed <= seen / 100
    assert np.mean(errors) < 0.02


@with_bounds
def test_heavy_hitters_miss_none_or_invent_none(cls: Any) -> None:
    """Without ``guaranteed`` every key above the threshold is there, with it no other is."""
    keys = zipf(scaled(50_000, 3000), 1.0, 2000, 8)
    sketch = cls(100)
    sketch.add_many(keys)
    true = Counter(keys.tolist())
    for limit in (sketch.error_bound, 2 * sketch.error_bound, len(keys) // 20):
        above = {key for key, count in true.items() if count > limit}
        possible, counts = sketch.heavy_hitters(threshold=limit)
        assert above <= set(possible.tolist())
        assert (counts > limit).all()
        assert (np.diff(counts) <= 0).all()
        certain, _ = sketch.heavy_hitters(threshold=limit, guaranteed=True)
        assert set(certain.tolist()) <= above
    share, _ = sketch.heavy_hitters(0.05)
    assert share.tolist() == sketch.heavy_hitters(threshold=len(keys) // 20)[0].tolist()
    with pytest.raises(ValueError, match="error_bound"):
        sketch.heavy_hitters(threshold=sketch.error_bound - 1)
    assert len(sketch.heavy_hitters(threshold=0, guaranteed=True)[0]) <= 100


@pytest.mark.statistical
@every_kind
@pytest.mark.parametrize("text", [False, True])
def test_the_hundred_most_frequent(cls: Any, text: bool) -> None:
    """Ten counts for each key looked for are enough to have found them all."""
    keys = zipf(scaled(1_000_000, 200_000), 1.1, 100_000, 13)
    distinct, counts = np.unique(keys, return_counts=True)
    least = np.sort(counts)[-100]
    sketch = cls(1_000)
    sketch.add_many([f"key {i}" for i in keys.tolist()] if text else keys)
    found = [int(k.removeprefix("key ")) for k in sketch.top(100)[0]] if text else sketch.top(100)[0].tolist()
    assert len(set(found)) == 100
    truth = dict(zip(distinct.tolist(), counts.tolist(), strict=True))
    assert sum(truth[key] >= least for key in found) >= 99


# ---------------------------------------------------------------------------------------------------
# Arguments


@every_kind
def test_wrong_arguments(cls: Any) -> None:
    """Each wrong argument is refused at the call, by a message that names it."""
    for wrong, error in (
        (0, ValueError),
        (-1, ValueError),
        (2**26 + 1, ValueError),
        (True, TypeError),
        (1.5, TypeError),
    ):
        with pytest.raises(error, match="capacity"):
            cls(wrong)
    with pytest.raises(ValueError, match="seed"):
        cls(10, seed=-1)
    sketch = cls(10)
    sketch.add("a")
    before = sketch.to_bytes()
    for weight, error in (
        (-1, ValueError),
        (2**63, ValueError),
        (2**64, (ValueError, TypeError, OverflowError)),
        (1.5, TypeError),
        (True, TypeError),
        ("1", TypeError),
        (None, TypeError),
    ):
        with pytest.raises(error):
            sketch.add("a", weight)
    for weights, error in (
        ([1, -1], ValueError),
        ([1.0, 2.0], TypeError),
        ([1], ValueError),
        (-1, ValueError),
        (True, TypeError),
        (np.ones((2, 1), int), TypeError),
    ):
        with pytest.raises(error, match="weight"):
            sketch.add_many(["a", "b"], weights)
    with pytest.raises(TypeError, match="list"):
        sketch.add_many(iter(["a", "b"]), [1, 2])
    for key in (True, object(), [1]):
        with pytest.raises(TypeError):
            sketch.add(key)
    with pytest.raises(OverflowError):
        cls(3).add(2**64)
    with pytest.raises(TypeError):
        sketch.add()
    with pytest.raises(TypeError):
        sketch.add_many("abc")
    for k, error in ((-1, ValueError), (1.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="k"):
            sketch.top(k)
    for share in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match="share"):
            sketch.heavy_hitters(share)
    for kwargs in ({}, {"share": 0.1, "threshold": 1}, {"share": "x"}, {"share": True}, {"threshold": 0.5}):
        with pytest.raises(TypeError):
            sketch.heavy_hitters(**kwargs)
    for threshold in (-1, 2**63):
        with pytest.raises(ValueError, match="threshold"):
            sketch.heavy_hitters(threshold=threshold)
    assert sketch.to_bytes() == before


@every_kind
def test_many_read_while_nobody_adds(cls: Any) -> None:
    """Threads that only ask all get the same answers."""
    keys = [f"key {i}" for i in zipf(scaled(20_000, 500), 1.1, 1_000, 21).tolist()]
    sketch = cls(100)
    sketch.add_many(keys)
    asked = sorted(set(keys))

    def read(_: int) -> Any:
        with np.errstate(over="ignore"):  # of a thread, where kernels run interpreted
            found = [sketch.estimate_many(asked).tolist(), named(sketch), sketch.to_bytes()]
            bounds = sketch.bounds_many(asked) if cls in BOUNDED.values() else ()
            return [*found, sketch.estimate(keys[0]), *(part.tolist() for part in bounds)]

    want = read(0)
    with ThreadPoolExecutor(4) as pool:
        assert all(found == want for found in pool.map(read, range(scaled(40, 4))))


# ---------------------------------------------------------------------------------------------------
# Storing


def example(cls: Any, form: str, capacity: int = 20) -> Any:
    sketch = cls(capacity, seed=3)
    sketch.add_many([FORMS[form](i) for i in zipf(scaled(2000, 300), 1.0, 90, 5).tolist()])
    return sketch


def use(sketch: Any) -> None:
    """Do all that could read or write where there is nothing."""
    cls, kind = type(sketch), sketch._parameters()["keys"]
    form = "int" if kind == "none" else kind
    keys = [FORMS[form](i) for i in range(120)]
    sketch.estimate_many(keys)
    sketch.top(5)
    if cls in BOUNDED.values():
        sketch.bounds_many(keys)
        sketch.heavy_hitters(0.1, guaranteed=True)
        assert sketch.error_bound >= 0
        assert sketch.error_bound <= sketch.total
    assert sketch.total <= MOST
    if sketch.total < 2**62:
        sketch.add_many(keys)
        for key in keys[:9]:
            sketch.add(key, 5)
        if cls in BOUNDED.values():
            other = cls(sketch.capacity, seed=sketch.seed)
            other.add_many(keys)
            sketch.merge(other)
        sketch.top(9)
    assert cls.from_bytes(sketch.to_bytes()) == sketch
    _ = repr(sketch), sketch.nbytes


def believe_or_refuse(cls: Any, data: bytes) -> bool:
    try:
        sketch = cls.from_bytes(data)
    except CorruptDataError:
        return False
    use(sketch)
    return True


@every_kind
@every_form
def test_stored_and_read(cls: Any, form: str) -> None:
    """What is read is equal, goes on as the original does, and leaves the buffer alone."""
    sketch = example(cls, form)
    data = bytearray(sketch.to_bytes())
    back = cls.from_bytes(data)
    data[:] = bytes(len(data))
    assert back == sketch
    assert pickle.loads(pickle.dumps(sketch)) == sketch
    more = [FORMS[form](i) for i in zipf(scaled(1000, 200), 0.8, 120, 6).tolist()]
    sketch.add_many(more)
    back.add_many(more)
    assert back == sketch
    assert back != cls(20, seed=3)
    use(back)


@every_kind
@every_form
def test_altered_bytes_are_refused(cls: Any, form: str) -> None:
    """Bytes that were cut or turned are refused; with the checksum mended they are refused, or work."""
    data = example(cls, form).to_bytes()
    header, body = take_apart(data)
    for n in range(0, len(data), 7):
        with pytest.raises(CorruptDataError):
            cls.from_bytes(data[:n])
    stream = rng(4)
    for other in (
        b"",
        body[:-1],
        body + b"\x00",
        body[: len(body) // 2],
        body * 2,
        bytes(len(body)),
        b"\xff" * len(body),
    ):
        believe_or_refuse(cls, put_together(header, other))
    for _ in range(scaled(1500, 30)):
        altered = bytearray(body)
        for at in stream.integers(0, len(body), stream.integers(1, 4)):
            altered[at] = stream.choice([0, 1, 127, 128, 255, stream.integers(256)])
        believe_or_refuse(cls, put_together(header, bytes(altered)))


HOSTILE = (
    0,
    1,
    -1,
    2,
    19,
    21,
    2**26,
    2**31,
    2**63,
    2**64,
    10**30,
    None,
    "x",
    "str",
    "int",
    "none",
    1.5,
    True,
    [],
    {},
)


@every_kind
@every_form
def test_hostile_parameters(cls: Any, form: str) -> None:
    """Whatever a parameter claims, with a right checksum, is refused or makes a sketch that works."""
    header, body = take_apart(example(cls, form).to_bytes())
    for name, value in itertools.product(header["parameters"], HOSTILE):
        parameters = {**header["parameters"], name: value}
        believe_or_refuse(cls, put_together({**header, "parameters": parameters}, body))
    for name in header["parameters"]:
        parameters = {k: v for k, v in header["parameters"].items() if k != name}
        with pytest.raises(CorruptDataError):
            cls.from_bytes(put_together({**header, "parameters": parameters}, body))


@every_kind
def test_claims_that_no_stream_leads_to(cls: Any) -> None:
    """Two counters of one key, more than the total, values of nothing, text that is no UTF-8."""
    sketch = cls(4)
    sketch.add_many([1, 2, 3])
    header, body = take_apart(sketch.to_bytes())
    words = np.frombuffer(body, np.uint64)
    first = int(np.flatnonzero(words == 1)[0])
    there = np.flatnonzero(words)
    for at, value in ((0, 0), (0, 2**63), (first, 0), (first, 2**63), (there[-1], words[there[-2]])):
        forged = words.copy()
        forged[at] = value
        with pytest.raises(CorruptDataError):
            cls.from_bytes(put_together(header, forged.tobytes()))
    text = cls(4)
    text.add("abc")
    header, body = take_apart(text.to_bytes())
    with pytest.raises(CorruptDataError, match="UTF-8"):
        cls.from_bytes(put_together(header, body[:-1] + b"\xff"))
    assert "capacity=" in repr(text)
