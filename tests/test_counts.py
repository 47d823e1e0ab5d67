"""Sketches of counter arrays: their naive twins, their laws, and what may be told and stored of them."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from typing import Any

import numpy as np
import oracles
import pyarrow as pa
import pytest
from helpers import put_together, random_keys, rng, scaled, take_apart
from hypothesis import given
from hypothesis import strategies as st

from algos.errors import CorruptDataError
from algos.frequency import (
    BlockedCountMinSketch,
    ConservativeCountMinSketch,
    CountMinSketch,
    CountSketch,
    LfuCounters,
    MorrisCounters,
)
from algos.hashing import hash64

M64 = 2**64 - 1
STEP, GAMMA = 0xD1342543DE82EF95, 0x9E3779B97F4A7C15
FULL, MOST = 2**32 - 1, 2**63 - 1

MAKE = {
    "plain": lambda seed=0: CountMinSketch(50, 4, seed=seed),
    "conservative": lambda seed=0: ConservativeCountMinSketch(50, 4, seed=seed),
    "blocked": lambda seed=0: BlockedCountMinSketch(48, seed=seed),
    "signed": lambda seed=0: CountSketch(50, 5, seed=seed),
    "morris": lambda seed=0: MorrisCounters(50, 8.0, seed=seed),
    "lfu": lambda seed=0: LfuCounters(50, seed=seed),
}
LINEAR = ["plain", "blocked", "signed"]
COUNT_MIN = ["plain", "conservative", "blocked"]
KEYS = random_keys(1, 60)
every_kind = pytest.mark.parametrize("kind", MAKE)
statistical = pytest.mark.statistical


# ---------------------------------------------------------------------------------------------------
# Naive twins, in Python's ints


class Naive:
    """Rows of counters and a key's place in each, as the documentation has them."""

    def __init__(self, width: int, depth: int) -> None:
        self.width, self.depth = width, depth
        self.cells: Counter[tuple[int, ...]] = Counter()

    def places(self, h: int) -> list[tuple[int, ...]]:
        return [(r, ((h * STEP**r & M64) * self.width) >> 64) for r in range(self.depth)]

    def add(self, h: int, weight: int) -> None:
        for place in self.places(h):
            self.cells[place] = min(FULL, self.cells[place] + weight)

    def estimate(self, h: int) -> int:
        return min(self.cells[place] for place in self.places(h))

    def counters(self) -> list[int]:
        return [self.cells[r, at] for r in range(self.depth) for at in range(self.width)]


class NaiveConservative(Naive):
    def add(self, h: int, weight: int) -> None:
        goal = min(FULL, self.estimate(h) + weight)
        for place in self.places(h):
            self.cells[place] = max(self.cells[place], goal)


class NaiveBlocked(Naive):
    """Lines of sixteen counters, in each of them ``depth`` rows."""

    def places(self, h: int) -> list[tuple[int, ...]]:
        per_row = 16 // self.depth
        line = h * (self.width * self.depth // 16) >> 64
        return [(line, r, (h >> r * (per_row.bit_length() - 1)) % per_row) for r in range(self.depth)]

    def counters(self) -> list[int]:
        lines, per_row = self.width * self.depth // 16, 16 // self.depth
        return [self.cells[i, r, c] for i in range(lines) for r in range(self.depth) for c in range(per_row)]


class NaiveSigned(Naive):
    def signs(self, h: int) -> list[int]:
        word = (h ^ h >> 32) * GAMMA & M64
        return [1 - 2 * (word >> 32 + r & 1) for r in range(self.depth)]

    def add(self, h: int, weight: int) -> None:
        for place, sign in zip(self.places(h), self.signs(h), strict=True):
            self.cells[place] += sign * weight

    def estimate(self, h: int) -> int:
        signed = zip(self.places(h), self.signs(h), strict=True)
        return sorted(sign * self.cells[place] for place, sign in signed)[self.depth // 2]


class NaiveLevels:
    """Levels, a random word for each addition, and a geometric number of hits between two rises."""

    def __init__(self, limits: list[int], first: int, size: int, seed: int) -> None:
        self.limits, self.seed, self.drawn = limits, seed, 0
        self.levels = [first] * size

    def add(self, slot: int, weight: int) -> None:
        base = oracles.splitmix64(self.seed)
        word = oracles.splitmix64((self.drawn * GAMMA + base) & M64)
        self.drawn += 1
        level = self.levels[slot]
        while weight > 1 and level < 255:
            p = self.limits[level] / 2**64
            idle = 0.0 if p == 1 else math.log(((word >> 11) + 1) / 2**53) * (1 / math.log1p(-p))
            if idle >= weight:
                break
            weight -= min(weight, int(idle) + 1)
            level += 1
            word = oracles.splitmix64(word)
        if weight == 1 and level < 255 and (word | 1) < self.limits[level]:
            level += 1
        self.levels[slot] = level


any_hash = st.one_of(st.integers(0, M64), st.sampled_from([0, 1, 2**63 - 1, 2**63, M64]))
any_weight = st.one_of(st.integers(0, 9), st.sampled_from([0, FULL - 1, FULL, 2**40, 2**50]))
additions = st.lists(st.tuples(any_hash, any_weight), max_size=200)


def columns(items: list[tuple[int, int]], dtype: Any = np.uint64) -> tuple[Any, Any]:
    return np.array([h for h, _ in items], np.uint64), np.array([w for _, w in items], dtype)


def agree(sketch: Any, naive: Naive, items: list[tuple[int, int]], dtype: Any = np.uint64) -> None:
    """Add in one batch, and compare counters and estimates; then hash by hash in a second sketch."""
    for h, w in items:
        naive.add(h, w)
    hashes, weights = columns(items, dtype)
    other = type(sketch).from_bytes(sketch.to_bytes())
    sketch.add_hashes(hashes, weights)
    assert sketch._counters.view(np.int64 if dtype == np.int64 else np.uint32).tolist() == naive.counters()
    asked = np.concatenate((hashes, hashes ^ np.uint64(1)))
    assert sketch.estimate_hashes(asked).tolist() == [naive.estimate(int(h)) for h in asked]
    assert sketch.total == sum(w for _, w in items)
    for i in range(len(items)):
        other.add_hashes(hashes[i : i + 1], weights[i : i + 1])
    assert other == sketch


@given(additions, st.integers(1, 50), st.integers(1, 9))
def test_plain_counters_are_the_naive_ones(items: list[tuple[int, int]], width: int, depth: int) -> None:
    """Any hashes and weights make the documented counters and estimates, in any number of rows."""
    agree(CountMinSketch(width, depth), Naive(width, depth), items)


@given(additions, st.integers(1, 50), st.integers(1, 9))
def test_conservative_counters_are_the_naive_ones(
    items: list[tuple[int, int]], width: int, depth: int
) -> None:
    """A batch is counted as its keys one after the other; no counter is above the plain sketch's."""
    sketch, plain = ConservativeCountMinSketch(width, depth), CountMinSketch(width, depth)
    agree(sketch, NaiveConservative(width, depth), items)
    plain.add_hashes(*columns(items))
    assert (sketch._counters <= plain._counters).all()
    true: Counter[int] = Counter()
    for h, w in items:
        true[h] += w
    assert all(sketch.estimate_hashes(np.array([h], np.uint64))[0] >= min(FULL, true[h]) for h in true)


@given(additions, st.integers(1, 50), st.sampled_from([2, 4]))
def test_blocked_counters_are_the_naive_ones(items: list[tuple[int, int]], width: int, depth: int) -> None:
    """Any hashes and weights make the documented counters of the documented lines."""
    sketch = BlockedCountMinSketch(width, depth)
    assert width <= sketch.width < width + 16
    agree(sketch, NaiveBlocked(sketch.width, depth), items)


@given(
    st.lists(
        st.tuples(any_hash, st.one_of(st.integers(-9, 9), st.sampled_from([2**40, -(2**55)]))), max_size=99
    ),
    st.integers(1, 50),
    st.sampled_from([1, 3, 5, 9]),
)
def test_signed_counters_are_the_naive_ones(items: list[tuple[int, int]], width: int, depth: int) -> None:
    """Any hashes and weights, negative ones too, make the documented counters, and medians of them."""
    agree(CountSketch(width, depth), NaiveSigned(width, depth), items, np.int64)


@given(st.lists(st.tuples(st.integers(0, 6), any_weight), max_size=200), st.sampled_from([1.0, 8.0, 30.0]))
def test_morris_levels_are_the_naive_ones(items: list[tuple[int, int]], a: float) -> None:
    """Hits, one by one and many at once, raise the documented levels."""
    rise = math.log1p(1 / a)
    limits = [max(1, int(p * 2**64)) for p in np.exp(-rise * np.arange(256)).tolist()]
    naive = NaiveLevels(limits, 0, 7, seed=9)
    check_levels(MorrisCounters(7, a, seed=9), naive, items)


@given(st.lists(st.tuples(st.integers(0, 6), any_weight), max_size=200), st.sampled_from([0, 1, 10, 1000]))
def test_lfu_levels_are_the_naive_ones(items: list[tuple[int, int]], factor: int) -> None:
    """Hits, one by one and many at once, raise the documented levels."""
    naive = NaiveLevels([2**64 // (max(0, c - 5) * factor + 1) for c in range(256)], 5, 7, seed=9)
    check_levels(LfuCounters(7, factor, seed=9), naive, items)


def check_levels(counters: Any, naive: NaiveLevels, items: list[tuple[int, int]]) -> None:
    for slot, weight in items:
        naive.add(slot, weight)
    slots, weights = columns(items)
    other = type(counters).from_bytes(counters.to_bytes())
    counters.add_slots(slots, weights)
    assert counters.levels.tolist() == naive.levels
    for slot, weight in items:
        other.add_slots(slot, weight)
    assert other == counters
    assert counters.total == sum(w for _, w in items)


# ---------------------------------------------------------------------------------------------------
# Ways to add and to ask


@every_kind
def test_every_way_to_add_makes_the_same_state(kind: str) -> None:
    """Batches, their parts, single keys, ready hashes and iterables make the same counters and bytes."""
    keys = rng(2).integers(0, 60, scaled(20_000, 200))
    want = MAKE[kind](5)
    want.add_many(keys)
    ways = [MAKE[kind](5) for _ in range(7)]
    for key in keys.tolist():
        ways[0].add(key)
    ways[1].add_hashes(hash64(keys, seed=5))
    for part in np.array_split(keys, 7):
        ways[2].add_many(part)
    ways[3].add_many(iter(keys.tolist()))
    ways[4].add_many(pa.array(keys), weights=1)
    ways[5].add_many(keys.tolist(), weights=np.ones(len(keys), np.int8))
    for key in keys.tolist():
        ways[6].add(key, weight=1)
    assert all(way == want for way in ways)
    asked = np.arange(-5, 80)
    single = [want.estimate(key) for key in asked.tolist()]
    assert want.estimate_many(asked).tolist() == single
    assert want.estimate_hashes(hash64(asked, seed=5)).tolist() == single
    assert want.total == len(keys)


@every_kind
def test_weights_of_single_keys(kind: str) -> None:
    """A weight given to a single key is that of a batch: in place, by name, of any size."""
    one, two = MAKE[kind](), MAKE[kind]()
    for key, weight in (("a", 3), ("b", 0), ("c", 2**40), (b"a", 1), (-1, 7), (2**64 - 1, 2)):
        one.add(key, weight)
        two.add_many([key], [weight])
    one.add("d", weight=4)
    two.add_many(["d"], weights=4)
    assert one == two
    assert [one.estimate(k) for k in ("a", "b", "c", "d")] == two.estimate_many(["a", "b", "c", "d"]).tolist()
    assert type(one.estimate("c")) is (float if kind == "morris" else int)
    assert one.estimate_many(["a"]).dtype == (np.float64 if kind == "morris" else np.int64)


@every_kind
def test_nulls_are_skipped(kind: str) -> None:
    """A null counts nothing, whatever its weight, and its estimate is 0."""
    one, two = MAKE[kind](), MAKE[kind]()
    one.add_many(["a", None, "b", None], weights=[1, 50, 3, 50])
    one.add(None)
    one.add(None, 9)
    two.add_many(["a", "b"], weights=[1, 3])
    assert one == two
    assert one.estimate(None) == 0
    assert one.estimate_many([None, "b", None]).tolist() == [0, two.estimate("b"), 0]
    one.add_many([None, None])
    one.add_many([])
    one.add_many([], weights=np.empty(0, np.int64))
    one.add_hashes(np.empty(0, np.uint64))
    assert one == two
    assert len(one.estimate_many([])) == 0


@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize("weighted", [False, True])
def test_threads_count_the_same(kind: str, weighted: bool) -> None:
    """Threads make the very state of one, with weights and nulls."""
    n = scaled(60_000, 17_000)
    keys = pa.array(rng(3).integers(0, 500, n), mask=rng(4).random(n) < 0.1)
    weights = rng(5).integers(0, 2**33, n) if weighted else None
    one, two = MAKE[kind](), MAKE[kind]()
    one.add_many(keys, weights)
    two.add_many(keys, weights, threads=3)
    assert one == two


@pytest.mark.parametrize("kind", LINEAR)
@given(items=additions, cut=st.integers(0, 200))
def test_merged_is_added_to_one(kind: str, items: list[tuple[int, int]], cut: int) -> None:
    """Parts merge to the state of the whole, bit for bit, in either order; nothing merges to itself."""
    a, b, whole = MAKE[kind](), MAKE[kind](), MAKE[kind]()
    a.add_hashes(*columns(items[:cut]))
    b.add_hashes(*columns(items[cut:]))
    whole.add_hashes(*columns(items))
    again = pickle.loads(pickle.dumps(b))
    again.merge(a)
    a.merge(b)
    assert a == again == whole
    a.merge(MAKE[kind]())
    assert a == whole


@given(items=additions, cut=st.integers(0, 200))
def test_merged_conservative_keeps_both_bounds(items: list[tuple[int, int]], cut: int) -> None:
    """Merged estimates are never below the truth, and no counter is above the plain sketch's."""
    a, b, plain = MAKE["conservative"](), MAKE["conservative"](), MAKE["plain"]()
    a.add_hashes(*columns(items[:cut]))
    b.add_hashes(*columns(items[cut:]))
    plain.add_hashes(*columns(items))
    a.merge(b)
    assert (a._counters <= plain._counters).all()
    assert a.total == plain.total
    true: Counter[int] = Counter()
    for h, w in items:
        true[h] += w
    assert all(a.estimate_hashes(np.array([h], np.uint64))[0] >= min(FULL, true[h]) for h in true)
    again = ConservativeCountMinSketch.from_bytes(a.to_bytes())
    assert again == a


@pytest.mark.parametrize("kind", COUNT_MIN)
def test_counters_saturate(kind: str) -> None:
    """A counter stays at 2^32 - 1, by single additions, batches and merges alike; the total goes on."""
    sketch, other = MAKE[kind](), MAKE[kind]()
    sketch.add("a", FULL - 1)
    for _ in range(3):
        sketch.add("a")
    assert sketch.estimate("a") == FULL
    sketch.add_many(["a"] * 100, weights=2**33)
    other.add("a", 2**62)
    assert other.estimate("a") == FULL
    sketch.merge(other)
    assert sketch.estimate("a") == FULL
    assert sketch.total == FULL + 2 + 100 * 2**33 + 2**62
    assert type(sketch).from_bytes(sketch.to_bytes()) == sketch


@every_kind
def test_totals_end_below_two_to_the_63(kind: str) -> None:
    """Weights that would sum to more are refused before anything is counted."""
    sketch, other = MAKE[kind](), MAKE[kind]()
    sketch.add("a", MOST - 3)
    before = sketch.to_bytes()
    for attempt in (
        lambda: sketch.add("b", 4),
        lambda: sketch.add_many(["b"] * 4),
        lambda: sketch.add_many(["b", "c"], weights=[2, 2]),
        lambda: sketch.add_many(["b", "c"], weights=[MOST, MOST]),
        lambda: sketch.add_hashes(hash64(["b"] * 4)),
    ):
        with pytest.raises(OverflowError, match="new sketch"):
            attempt()
    assert sketch.to_bytes() == before
    sketch.add_many(["b"] * 3)
    assert sketch.total == MOST
    with pytest.raises(OverflowError, match="new sketch"):
        sketch.add("b")
    other.add("b")
    if hasattr(sketch, "merge"):
        with pytest.raises(OverflowError, match="new sketch"):
            sketch.merge(other)


def test_what_is_added_can_be_taken_away() -> None:
    """Counts taken away again leave the counters as they were; the total is signed."""
    sketch, other = MAKE["signed"](), MAKE["signed"]()
    sketch.add_many(KEYS, weights=np.arange(60))
    other.add_many(KEYS, weights=-np.arange(60))
    assert other.total == -sketch.total
    assert other.estimate(int(KEYS[50])) == -sketch.estimate(int(KEYS[50]))
    for key, weight in zip(KEYS.tolist(), range(60), strict=True):
        sketch.add(key, -weight)
    assert sketch.total == 0
    assert not sketch._counters.any()
    sketch.add("x", -(2**62))
    assert sketch.estimate("x") == -(2**62)
    assert CountSketch.from_bytes(sketch.to_bytes()) == sketch


def test_one_key_alone_is_exact() -> None:
    """Nothing else added, an estimate is the count."""
    for kind in (*COUNT_MIN, "signed"):
        sketch = MAKE[kind]()
        sketch.add("a", 12345)
        assert sketch.estimate("a") == 12345


# ---------------------------------------------------------------------------------------------------
# Sizes by the error, and the golden values


def test_sized_by_the_error() -> None:
    """Width and depth are those of the paper, and of DataSketches' suggestions."""
    for cls in (CountMinSketch, ConservativeCountMinSketch):
        sketch = cls.from_error(0.01, 0.01, seed=3)
        assert (sketch.width, sketch.depth, sketch.seed) == (272, 5, 3)
    sketch = CountSketch.from_error(0.1, 0.01)
    p = 1 / (sketch.width * 0.1**2)
    tail = sum(math.comb(7, k) * (p / 2) ** k * (1 - p / 2) ** (7 - k) for k in range(4, 8))
    assert sketch.depth == 7
    assert 0.0099 < 2 * tail <= 0.01


def test_suggestions_are_those_of_datasketches() -> None:
    """The peer's own functions give the same sizes."""
    count_min_sketch = pytest.importorskip(
        "datasketches", reason="DataSketches has no wheels for this Python"
    ).count_min_sketch
    for epsilon in (0.5, 0.1, 0.01, 0.001):
        want = count_min_sketch.suggest_num_buckets(epsilon)
        assert CountMinSketch.from_error(epsilon, 0.1).width == want
    for confidence in (0.5, 0.9, 0.99, 0.9999):
        want = count_min_sketch.suggest_num_hashes(confidence)
        assert CountMinSketch.from_error(0.1, 1 - confidence).depth == want


REDIS = {
    0: (104, 255, 255, 255, 255),
    1: (18, 49, 255, 255, 255),
    10: (10, 18, 142, 255, 255),
    100: (8, 11, 49, 143, 255),
}
"""Levels after so many hits by log_factor: the table of redis.conf 7.0.15, each of a single run."""


@pytest.mark.parametrize("factor", REDIS)
def test_levels_are_those_of_redis(factor: int) -> None:
    """The mean level is within 5 of Redis's single run, which deviates by 7; the first hit makes the key."""
    for hits, want in zip((100, 1000, 100_000, 1_000_000, 10_000_000), REDIS[factor], strict=True):
        runs = LfuCounters(scaled(500, 20), factor, seed=factor)
        runs.add_slots(np.arange(runs.size), hits - 1)
        assert abs(float(runs.levels.mean()) - want) <= (0 if factor == 0 else 5)


def test_morris_counts_as_far_as_the_paper_says() -> None:
    """With a = 30 a byte counts to 130,000; 95 % of estimates are off by a quarter at most."""
    counters = MorrisCounters(1, 30)
    counters._counters[:] = 255
    assert 125_000 < counters.estimate("a") < 135_000
    assert 1.96 * counters.standard_error < 0.26


def test_decay_is_that_of_redis() -> None:
    """A minute lowers every level by one and none below 0; minutes add up to periods."""
    lfu, slow = LfuCounters(4), LfuCounters(4, decay_minutes=5)
    for counters in (lfu, slow):
        counters._counters[:] = [0, 3, 5, 255]
    lfu.decay(4)
    assert lfu.levels.tolist() == [0, 0, 1, 251]
    for minutes in (4, 0, 1, 9):
        slow.decay(minutes)
    assert slow.levels.tolist() == [0, 1, 3, 253]
    again = LfuCounters.from_bytes(slow.to_bytes())
    again.decay(1)
    assert again.levels.tolist() == [0, 0, 2, 252]
    lfu.decay(2**40)
    assert not lfu.levels.any()
    lfu.reset_slots([1, 3])
    assert lfu.levels.tolist() == [0, 5, 0, 5]
    lfu.add_slot(0)  # below 5 each hit raises
    assert lfu.levels[0] == 1
    assert lfu.estimate_slots([0, 1]).tolist() == [0, 0]


@pytest.mark.parametrize("kind", ["morris", "lfu"])
def test_slots(kind: str) -> None:
    """Slots are addressed by number, one by one as in a batch, and keys by their hash."""
    one, two = MAKE[kind](3), MAKE[kind](3)
    slots = rng(6).integers(0, 50, 300)
    one.add_slots(slots)
    for slot in slots.tolist():
        two.add_slot(slot)
    assert one == two
    three, four = MAKE[kind](3), MAKE[kind](3)
    three.add_many(KEYS)
    four.add_slots([int(h) * 50 >> 64 for h in hash64(KEYS, seed=3)])
    assert three == four
    assert (
        three.estimate_many(KEYS).tolist()
        == four.estimate_slots([int(h) * 50 >> 64 for h in hash64(KEYS, seed=3)]).tolist()
    )
    with pytest.raises(ValueError, match="read-only"):
        one.levels[0] = 3
    for wrong in (50, -1, 2**63, [0, 50], np.array([-1])):
        with pytest.raises(ValueError, match=r"outside 0\.\.49"):
            one.add_slots(wrong)
        with pytest.raises(ValueError, match=r"outside 0\.\.49"):
            one.estimate_slots(wrong)
    for wrong in (1.0, "a", [[1]], True, None):
        with pytest.raises(TypeError):
            one.add_slots(wrong)
        with pytest.raises(TypeError):
            one.add_slot(wrong)
    for wrong in (50, -1, 2**63):
        with pytest.raises(ValueError, match=r"outside 0\.\.49"):
            one.add_slot(wrong)
    assert one == two


# ---------------------------------------------------------------------------------------------------
# Laws


def zipf(seed: int, n: int, keys: int, s: float = 1.1) -> Any:
    """Draw ``n`` of so many keys; ``s = 0`` is evenly."""
    p = np.arange(1.0, keys + 1) ** -s
    return rng(seed, 77).choice(keys, n, p=p / p.sum())


def counted(stream: Any) -> tuple[Any, Any]:
    return np.unique(stream, return_counts=True)


SIZED = {
    "plain": lambda seed: CountMinSketch(100, 4, seed=seed),
    "conservative": lambda seed: ConservativeCountMinSketch(100, 4, seed=seed),
    "blocked": lambda seed: BlockedCountMinSketch(100, seed=seed),
    "signed": lambda seed: CountSketch(100, 5, seed=seed),
}
SEEDS = range(200)


def test_rows_are_independent() -> None:
    """Two keys meet in two and three rows as often as by chance: within 5 sigma of n / w^2 and n / w^3."""
    n, w = 1 << 20, np.uint64(12)
    a, b = (rng(i).integers(0, 2**32, (2, n), dtype=np.uint64) for i in (1, 2))
    a, b = (x[0] << np.uint64(32) | x[1] for x in (a, b))
    met = np.ones(n, np.bool_)
    with np.errstate(over="ignore"):
        for rows in range(1, 5):
            met &= (a >> np.uint64(32)) * w >> np.uint64(32) == (b >> np.uint64(32)) * w >> np.uint64(32)
            want = n / 12.0**rows
            assert abs(int(met.sum()) - want) < 5 * math.sqrt(want)
            a, b = a * np.uint64(STEP), b * np.uint64(STEP)


@statistical
@pytest.mark.parametrize("s", [0.0, 1.1])
@pytest.mark.parametrize("kind", SIZED)
def test_errors_keep_their_bounds(kind: str, s: float) -> None:
    """Over 200 seeds: the paper's bound for rows, and the counters' own bound at its confidence.

    The share of keys beyond the bound is at most the rest in the mean: 4 standard errors, from the seeds' own
    spread, are allowed above it. It is not trivially small where nothing is updated conservatively.
    """
    stream = zipf(1, 20_000, 5_000, s)
    keys, true = counted(stream)
    paper, own = [], []
    for seed in SEEDS:
        sketch = SIZED[kind](seed)
        sketch.add_many(stream)
        errors = sketch.estimate_many(keys) - true
        if kind != "signed":
            assert errors.min() >= 0
            paper.append((errors > math.e * len(stream) / sketch.width).mean())
        own.append((np.abs(errors) > sketch.error_bound(0.9)).mean())
    spread = np.std(own) / math.sqrt(len(SEEDS))
    assert np.mean(own) <= 0.1 + 4 * spread
    if kind != "conservative":
        assert np.mean(own) >= 0.05
    if kind in {"plain", "conservative"}:
        assert np.mean(paper) <= math.exp(-4)


@given(additions, st.integers(1, 40), st.integers(0, 99))
def test_bounds_are_the_law_of_the_counters(items: list[tuple[int, int]], width: int, percent: int) -> None:
    """By hand: the least t that no more than the rest of all choices of counters are above, in every row."""
    confidence = (percent + 0.5) / 100
    plain, blocked = CountMinSketch(width, 3), BlockedCountMinSketch(width, 4)
    for sketch in (plain, blocked):
        sketch.add_hashes(*columns(items))

    def law(sketch: Any, t: int) -> float:
        if sketch is plain:
            return float((plain._counters.reshape(3, width) > t).mean(axis=1).prod())
        return float((blocked._counters.reshape(-1, 4, 4) > t).mean(axis=2).prod(axis=1).mean())

    for sketch in (plain, blocked):
        bound = sketch.error_bound(confidence)
        assert law(sketch, bound) <= 1 - confidence
        assert bound == 0 or law(sketch, bound - 1) > 1 - confidence


@statistical
def test_own_bound_is_below_the_papers() -> None:
    """What the counters say is never more than Markov's bound, N / width / (1 - confidence)^(1 / depth)."""
    for seed in range(20):
        sketch = CountMinSketch(100, 4, seed=seed)
        sketch.add_many(zipf(seed, 20_000, 5_000))
        for confidence in (0.1, 0.5, 0.9, 0.99, 0.9999):
            markov = sketch.total / sketch.width / (1 - confidence) ** 0.25
            assert sketch.error_bound(confidence) <= markov


@statistical
@pytest.mark.parametrize(("s", "most"), [(0.0, 1.15), (0.8, 1.3), (1.1, 1.7)])
def test_blocked_errors_beside_plain_ones(s: float, most: float) -> None:
    """In the mean over 100 seeds the blocked sketch errs more than the plain one, by at most that factor."""
    stream = zipf(2, 50_000, 20_000, s)
    keys, true = counted(stream)
    means = []
    for cls in (CountMinSketch, BlockedCountMinSketch):
        sketches = [cls(1024, 4, seed=seed) for seed in range(100)]
        for sketch in sketches:
            sketch.add_many(stream)
        means.append(np.mean([(sketch.estimate_many(keys) - true).mean() for sketch in sketches]))
    assert 1.0 < means[1] / means[0] < most


@statistical
@pytest.mark.parametrize("depth", [1, 3, 5])
def test_count_sketch_is_unbiased_with_its_variance(depth: int) -> None:
    """Errors are 0 in the mean, and in one row of variance (F2 - f^2) / width; within 4 standard errors."""
    stream = zipf(3, 20_000, 2_000)
    keys, true = counted(stream)
    f2, width = int((true.astype(np.int64) ** 2).sum()), 64
    first, squares = [], []
    for seed in range(400):
        sketch = CountSketch(width, depth, seed=seed)
        sketch.add_many(stream)
        errors = (sketch.estimate_many(keys) - true).astype(np.float64)
        first.append(errors.mean())
        squares.append((errors**2).mean() / ((f2 - true.astype(np.float64) ** 2) / width).mean())
    se = [np.std(values) / math.sqrt(len(values)) for values in (first, squares)]
    assert abs(np.mean(first)) < 4 * se[0]
    if depth == 1:
        assert abs(np.mean(squares) - 1) < 4 * se[1]
    else:
        assert np.mean(squares) < 1


@statistical
def test_inner_products() -> None:
    """A join's size is never too low by Count-Min, nor above its bound; unbiased by the count sketch."""
    one, two = zipf(4, 5_000, 500), zipf(5, 5_000, 500)
    true = float((np.bincount(one, minlength=500) * np.bincount(two, minlength=500)).sum())
    above, signed = [], []
    for seed in SEEDS:
        a, b = CountMinSketch(200, 3, seed=seed), CountMinSketch(200, 3, seed=seed)
        c, d = CountSketch(200, 1, seed=seed), CountSketch(200, 1, seed=seed)
        for sketch, stream in ((a, one), (b, two), (c, one), (d, two)):
            sketch.add_many(stream)
        found = a.inner_product(b)
        assert found >= true
        above.append(found > true + math.e * 5_000**2 / 200)
        signed.append(c.inner_product(d))
    assert np.mean(above) <= math.exp(-3)
    assert abs(np.mean(signed) - true) < 4 * np.std(signed) / math.sqrt(len(SEEDS))


def exact_levels(chances: Any, first: int, hits: int) -> Any:
    """Return the chance of each level after so many hits, by recurrence."""
    law = np.zeros(256)
    law[first] = 1.0
    for _ in range(hits):
        rising = law[:-1] * chances[:-1]
        law[:-1] -= rising
        law[1:] += rising
    return law


@statistical
@pytest.mark.parametrize("at_once", [1, 7, 300])
@pytest.mark.parametrize("kind", ["morris", "lfu"])
def test_levels_follow_the_exact_law(kind: str, at_once: int) -> None:
    """Of 300 hits, by ones, by sevens and at once, 20,000 counters have the levels of the recurrence.

    Chi-square of levels expected 5 times or more, within 5 of its standard deviations.
    """
    trials = 20_000
    if kind == "morris":
        counters, first = MorrisCounters(trials, 4.0, seed=at_once), 0
        chances = (4 / 5) ** np.arange(256.0)
    else:
        counters, first = LfuCounters(trials, 3, seed=at_once), 5
        chances = 1 / (np.maximum(0, np.arange(256.0) - 5) * 3 + 1)
    for _ in range(300 // at_once):
        counters.add_slots(np.arange(trials), at_once)
    want = trials * exact_levels(chances, first, 300 // at_once * at_once)
    found = np.bincount(counters.levels, minlength=256)
    often = want >= 5
    chi2 = float(((found - want)[often] ** 2 / want[often]).sum())
    free = int(often.sum()) - 1
    assert chi2 < free + 5 * math.sqrt(2 * free)


@statistical
@pytest.mark.parametrize(("a", "n"), [(1.0, 50), (16.0, 1000), (30.0, 20_000)])
def test_morris_estimates_are_unbiased_with_their_variance(a: float, n: int) -> None:
    """The mean is n and the variance n (n - 1) / 2a, within 4 standard errors of 20,000 counters."""
    counters = MorrisCounters(20_000, a, seed=1)
    counters.add_slots(np.arange(20_000), n)
    found = counters.estimate_slots(np.arange(20_000))
    variance = n * (n - 1) / (2 * a)
    squares = (found - n) ** 2
    assert abs(found.mean() - n) < 4 * math.sqrt(variance / 20_000)
    assert abs(squares.mean() - variance) < 4 * squares.std() / math.sqrt(20_000)
    assert abs(math.sqrt(squares.mean()) / n - counters.standard_error) < 0.1 * counters.standard_error


@statistical
@pytest.mark.parametrize("n", [1_000, 100_000])
def test_lfu_estimates_are_unbiased_with_their_variance(n: int) -> None:
    """The mean is n within 4 standard errors, and the error the module's law, to a tenth."""
    counters = LfuCounters(20_000, seed=2)
    counters.add_slots(np.arange(20_000), n)
    found = counters.estimate_slots(np.arange(20_000)).astype(np.float64)
    assert abs(found.mean() - n) < 4 * found.std() / math.sqrt(20_000)
    assert abs(found.std() / math.sqrt(2 / 3 * math.sqrt(20) * n**1.5) - 1) < 0.1


# ---------------------------------------------------------------------------------------------------
# Stored, and hostile


def example(kind: str) -> Any:
    sketch = MAKE[kind](7)
    sketch.add_many(KEYS, weights=np.arange(60) * 3)
    return sketch


def use(sketch: Any) -> None:
    """Do everything with a sketch that could read or write out of range."""
    sketch.estimate_many(KEYS[:5])
    sketch.estimate(5)
    sketch.add(5)
    sketch.add_many(KEYS[:5], weights=[1, 2, 3, 4, 5])
    _ = sketch.total, sketch.nbytes, repr(sketch)
    if hasattr(sketch, "error_bound"):
        assert sketch.error_bound() >= 0
    if hasattr(sketch, "decay"):
        sketch.decay(3)
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
        assert sketch.total > MOST - 100 or sketch._state[0] > MOST - 100
    return True


@every_kind
def test_bytes_come_back_equal(kind: str) -> None:
    """The documented form is read by anyone, comes back equal, and goes on as the original would."""
    sketch = example(kind)
    cls = type(sketch)
    header, payload = take_apart(sketch.to_bytes())
    assert header["kind"] == cls.__name__
    state = sketch._state.nbytes
    assert payload[state:] == sketch._counters.tobytes()
    for back in (cls.from_bytes(sketch.to_bytes()), pickle.loads(pickle.dumps(sketch))):
        assert back == sketch
        assert back.total == sketch.total
        back.add_many(KEYS)
        again = example(kind)
        again.add_many(KEYS)
        assert back == again
    assert sketch == example(kind)
    assert sketch != MAKE[kind](7)
    other = MAKE[kind](8)
    other.add_many(KEYS, weights=np.arange(60) * 3)
    assert sketch != other
    with pytest.raises(TypeError, match="unhashable"):
        hash(sketch)


@every_kind
def test_truncated_and_altered_bytes_are_refused(kind: str) -> None:
    """Bytes cut off, continued, or with a bit flipped, are no sketch."""
    data = example(kind).to_bytes()
    cls = type(example(kind))
    for n in range(0, len(data), scaled(1, 40)):
        with pytest.raises(CorruptDataError):
            cls.from_bytes(data[:n])
    with pytest.raises(CorruptDataError):
        cls.from_bytes(data + b"\x00")
    for at in range(0, len(data), scaled(1, 40)):
        altered = bytearray(data)
        altered[at] ^= 1 << at % 8
        with pytest.raises(CorruptDataError):
            cls.from_bytes(bytes(altered))


HOSTILE = (0, -1, 1, 2, 3, 2**16, 2**32, 2**63, 2**64, 10**30, 0.0, -1.0, 1.5, 1e308, float("nan"))
HOSTILE_TYPES = (None, True, False, "1", "", [], {}, [1])


@every_kind
def test_hostile_parameters_under_a_valid_checksum(kind: str) -> None:
    """Whatever a parameter claims, the bytes are refused or make a sketch that works."""
    cls = type(example(kind))
    header, payload = take_apart(example(kind).to_bytes())
    for name in header["parameters"]:
        for value in HOSTILE + HOSTILE_TYPES:
            parameters = {**header["parameters"], name: value}
            believe_or_refuse(cls, put_together({**header, "parameters": parameters}, payload))
        parameters = {k: v for k, v in header["parameters"].items() if k != name}
        with pytest.raises(CorruptDataError):
            cls.from_bytes(put_together({**header, "parameters": parameters}, payload))


@every_kind
def test_hostile_payloads_under_a_valid_checksum(kind: str) -> None:
    """Any other length or bits are refused or make a sketch that works."""
    cls = type(example(kind))
    header, payload = take_apart(example(kind).to_bytes())
    n, stream = len(payload), rng(3)
    for other in (b"", payload[:-1], payload + b"\x00", payload[: n // 2], payload * 2, payload + bytes(8)):
        assert not believe_or_refuse(cls, put_together(header, other))
    for other in (bytes(n), b"\xff" * n, *(stream.bytes(n) for _ in range(10))):
        believe_or_refuse(cls, put_together(header, other))
    believed = 0
    for _ in range(scaled(1000, 30)):
        altered = bytearray(payload)
        for at in stream.integers(0, n, stream.integers(1, 5)):
            altered[at] = stream.integers(0, 256)
        believed += believe_or_refuse(cls, put_together(header, bytes(altered)))
    if kind in {"plain", "blocked"}:
        assert believed < scaled(100, 30)  # rows that do not sum to the total


# ---------------------------------------------------------------------------------------------------
# Errors


@every_kind
def test_wrong_weights(kind: str) -> None:
    """What is no weight is refused before anything is counted, and says why."""
    sketch = MAKE[kind]()
    hashes = hash64(["a", "b"])
    for wrong in (1.0, "1", True, [1.0, 2.0], [True, False], "ab"):
        with pytest.raises(TypeError, match="weights must be"):
            sketch.add_many(["a", "b"], wrong)
        with pytest.raises(TypeError, match="weights must be"):
            sketch.add_hashes(hashes, wrong)
    for wrong in (1.0, "1", True, None, [1]):
        with pytest.raises(TypeError, match="weight must be"):
            sketch.add("a", wrong)
    for wrong in (2**63, 2**64 - 1, -(2**63), *(() if kind == "signed" else (-1,))):
        with pytest.raises(ValueError, match="weights has"):
            sketch.add("a", wrong)
        with pytest.raises(ValueError, match="weights has"):
            sketch.add_many(["a", "b"], wrong)
        column = np.array([wrong, wrong])
        with pytest.raises(ValueError, match="weights has"):
            sketch.add_many(["a", "b"], column)
        with pytest.raises(ValueError, match="weights has"):
            sketch.add_hashes(hashes, column)
    for wrong in ([1], [1, 2, 3]):
        with pytest.raises(ValueError, match="for"):
            sketch.add_many(["a", "b"], wrong)
        with pytest.raises(ValueError, match="for 2 keys"):
            sketch.add_hashes(hashes, wrong)
    with pytest.raises(TypeError, match="use a list"):
        sketch.add_many(iter(["a", "b"]), [1, 2])
    with pytest.raises(TypeError):
        sketch.add_many(["a", 1])
    with pytest.raises(TypeError):
        sketch.add(True)
    with pytest.raises(TypeError):
        sketch.add(["a"])
    with pytest.raises(TypeError):
        sketch.add()
    with pytest.raises(TypeError):
        sketch.estimate()
    with pytest.raises(TypeError):
        sketch.add("a", 1, 2)
    with pytest.raises(TypeError, match="uint64"):
        sketch.add_hashes(np.arange(3))
    with pytest.raises(TypeError, match="uint64"):
        sketch.estimate_hashes([1, 2])
    assert sketch == MAKE[kind]()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: CountMinSketch(0, 4), ValueError, "width=0"),
        (lambda: CountMinSketch(2**32, 4), ValueError, "width=4294967296"),
        (lambda: CountMinSketch(8.0, 4), TypeError, "width must be an int"),
        (lambda: CountMinSketch(True, 4), TypeError, "width must be an int"),
        (lambda: CountMinSketch(8, 0), ValueError, "depth=0"),
        (lambda: CountMinSketch(8, 33), ValueError, "depth=33"),
        (lambda: CountMinSketch(8, 4, seed=-1), ValueError, "seed"),
        (lambda: CountMinSketch.from_error(0.0, 0.1), ValueError, "epsilon=0"),
        (lambda: CountMinSketch.from_error(0.1, 1.0), ValueError, "delta=1"),
        (lambda: CountMinSketch.from_error("0.1", 0.1), TypeError, "epsilon must be a float"),
        (lambda: CountMinSketch.from_error(1e-12, 0.1), ValueError, "width="),
        (lambda: CountMinSketch(8, 4).error_bound(1.0), ValueError, "confidence=1"),
        (lambda: BlockedCountMinSketch(8, 3), ValueError, "depth=3 is not 2 or 4"),
        (lambda: CountSketch(8, 4), ValueError, "depth=4 is even"),
        (lambda: MorrisCounters(0), ValueError, "size=0"),
        (lambda: MorrisCounters(8, 0.1), ValueError, "a=0.1"),
        (lambda: MorrisCounters(8, float("nan")), ValueError, "a=nan"),
        (lambda: MorrisCounters(8, "30"), TypeError, "a must be a number"),
        (lambda: LfuCounters(8, -1), ValueError, "log_factor=-1"),
        (lambda: LfuCounters(8, 1.5), TypeError, "log_factor must be an int"),
        (lambda: LfuCounters(8, decay_minutes=0), ValueError, "decay_minutes=0"),
        (lambda: LfuCounters(8).decay(-1), ValueError, "minutes=-1"),
        (lambda: CountMinSketch(8, 4).merge(CountMinSketch(8, 4, seed=1)), ValueError, "seed=0 and 1"),
        (lambda: CountMinSketch(8, 4).merge(CountMinSketch(9, 4)), ValueError, "width=8 and 9"),
        (lambda: CountMinSketch(8, 4).merge(ConservativeCountMinSketch(8, 4)), ValueError, "cannot merge"),
        (lambda: CountMinSketch(8, 4).inner_product(CountMinSketch(8, 5)), ValueError, "depth=4 and 5"),
        (lambda: CountMinSketch(8, 4).add_many(["a"], threads=0), ValueError, "threads=0"),
    ],
)
def test_wrong_arguments(make: Any, error: type, words: str) -> None:
    """Errors name the value and the bound."""
    with pytest.raises(error, match=words):
        make()


def test_only_what_can_merge_has_a_merge() -> None:
    """Levels do not add up, and one batch of conservative updates cannot be shared by threads."""
    assert not hasattr(MorrisCounters, "merge")
    assert not hasattr(LfuCounters, "merge")
    with pytest.raises(TypeError):
        ConservativeCountMinSketch(8, 4).add_many(["a"], threads=2)
