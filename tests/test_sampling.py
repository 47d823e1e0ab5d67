"""Samplers: every cut of a stream gives one sample, each item has its known chance, sums are unbiased."""

from __future__ import annotations

import copy
import math
import pickle
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from helpers import put_together, rng, scaled, take_apart
from hypothesis import given
from hypothesis import strategies as st
from oracles import splitmix64

from algos.errors import CorruptDataError
from algos.hashing import hash64
from algos.sampling import PrioritySample, ReservoirSample, WeightedReservoirSample
from algos.sampling._numbers import below, draw

M64 = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15
CLASSES: Any = (ReservoirSample, WeightedReservoirSample, PrioritySample)
WEIGHTED: Any = (WeightedReservoirSample, PrioritySample)
every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
every_weighted = pytest.mark.parametrize("cls", WEIGHTED, ids=lambda c: c.__name__)


def offer(s: Any, items: Any, weights: Any = None) -> Any:
    """Offer a batch to a sampler of any kind; weights, where it has them, are 1, 2, 3, ... if not given."""
    if isinstance(s, ReservoirSample):
        s.add_many(items)
    else:
        s.add_many(items, np.arange(1, len(items) + 1) if weights is None else weights)
    return s


def chi_square_bound(freedom: int) -> float:
    """Return what a chi-square of so many degrees of freedom exceeds with a chance below 1e-6.

    Laurent and Massart 2000: P(X > d + 2 sqrt(d t) + 2 t) <= e^-t.
    """
    t = math.log(1e6)
    return freedom + 2 * math.sqrt(freedom * t) + 2 * t


def chi_square(found: Any, expected: Any) -> float:
    """Return the chi-square of counts."""
    return float((((found - expected) ** 2) / expected).sum())


# ---------------------------------------------------------------------------------------------------
# Random numbers


class Xoshiro:
    """xoshiro256++ in Python's integers, and what is drawn from it."""

    def __init__(self, seed: int) -> None:
        base = splitmix64(seed)
        self.s = [splitmix64((base + i * GAMMA) & M64) for i in range(4)]

    def draw(self) -> int:
        def rotl(x: int, r: int) -> int:
            return (x << r | x >> (64 - r)) & M64

        s = self.s
        word = (rotl((s[0] + s[3]) & M64, 23) + s[0]) & M64
        t = s[1] << 17 & M64
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotl(s[3], 45)
        return word

    def uniform(self) -> float:
        return ((self.draw() >> 11) + 0.5) * 2.0**-53

    def exponential(self) -> float:
        return -math.log(self.uniform())

    def below(self, n: int) -> int:
        while True:
            product = self.draw() * n
            if product & M64 >= 2**64 % n:
                return product >> 64


# the reference implementation's first outputs from the state 1, 2, 3, 4, as in rand_xoshiro's tests
XOSHIRO = (
    *(41943041, 58720359, 3588806011781223, 3591011842654386, 9228616714210784205, 9973669472204895162),
    *(14011001112246962877, 12406186145184390807, 15849039046786891736, 10450023813501588000),
)


def test_xoshiro_is_the_published_one() -> None:
    """The generator gives the reference's words, and the twin does."""
    state, twin = np.array([1, 2, 3, 4], np.uint64), Xoshiro(0)
    twin.s = [1, 2, 3, 4]
    assert tuple(int(draw(state)) for _ in XOSHIRO) == XOSHIRO
    assert tuple(twin.draw() for _ in XOSHIRO) == XOSHIRO


@pytest.mark.parametrize("n", [1, 2, 3, 7, 1000, 2**31 - 1, 2**63 + 1, 2**64 - 1])
def test_bounded_numbers_are_those_of_the_twin(n: int) -> None:
    """Draws below n reject what would favour some, which near 2^63 is every second one."""
    twin = Xoshiro(5)
    state = np.array(twin.s, np.uint64)
    assert [int(below(state, np.uint64(n))) for _ in range(50)] == [twin.below(n) for _ in range(50)]


# ---------------------------------------------------------------------------------------------------
# Naive twins


def naive_reservoir(items: list[Any], k: int, seed: int) -> list[Any]:
    """Run algorithm L one item at a time, in Python."""
    numbers, kept = Xoshiro(seed), items[:k]
    if len(items) < k:
        return kept
    log_w, at = -numbers.exponential() / k, k

    def skip() -> int:
        beyond = math.log(-math.expm1(log_w)) if log_w > -math.log(2) else math.log1p(-math.exp(log_w))
        return int(numbers.exponential() / -beyond)

    at += skip()
    while at < len(items):
        kept[numbers.below(k)] = items[at]
        log_w -= numbers.exponential() / k
        at += 1 + skip()
    return kept


def naive_weighted(items: list[Any], weights: list[float], k: int, seed: int) -> dict[Any, float]:
    """Run A-ExpJ one item at a time, in Python; return log keys. Sums are plain ones."""
    numbers = Xoshiro(seed)
    keys: dict[Any, float] = {}
    jump = math.inf
    for item, weight in zip(items, weights, strict=True):
        if len(keys) < k:
            if weight:
                keys[item] = math.log(numbers.exponential()) - math.log(weight)
                if len(keys) == k:
                    jump, top = numbers.exponential(), max(keys.values())
            continue
        scaled_weight = weight * math.exp(top)
        jump -= scaled_weight
        if jump <= 0:
            drawn = -math.log1p(numbers.uniform() * math.expm1(-scaled_weight))
            del keys[max(keys, key=keys.__getitem__)]
            keys[item] = math.log(drawn) - math.log(weight)
            jump, top = numbers.exponential(), max(keys.values())
    return keys


def naive_priorities(words: list[int], weights: list[float]) -> list[float]:
    """Return weight / u of each item."""
    return [w / (((word >> 12) + 0.5) * 2.0**-52) for word, w in zip(words, weights, strict=True)]


@pytest.mark.parametrize("k", [1, 2, 20, 299, 300, 301])
@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_reservoir_is_algorithm_l(k: int, seed: int) -> None:
    """The sample is that of the naive twin, slot by slot."""
    n = scaled(20_000, 300) if k < 299 else 300
    s = ReservoirSample(k, seed=seed)
    s.add_many(range(n))
    assert s.sample() == naive_reservoir(list(range(n)), k, seed)


@pytest.mark.parametrize("k", [1, 2, 20, 299, 300, 301])
def test_weighted_is_a_expj(k: int) -> None:
    """The sample is that of the naive twin, whatever the blocks of sums."""
    n = scaled(20_000, 300) if k < 299 else 300
    weights = rng(k).lognormal(0, 2, n)
    weights[rng(k, 1).integers(0, n, n // 9)] = 0
    s = WeightedReservoirSample(k, seed=7)
    s.add_many(range(n), weights)
    twin = naive_weighted(list(range(n)), weights.tolist(), k, 7)
    assert sorted(s.sample()) == sorted(twin)
    assert len(s) == min(k, np.count_nonzero(weights))
    assert s.total_weight == pytest.approx(weights.sum(), rel=1e-12)


@pytest.mark.parametrize("coordinated", [False, True])
@pytest.mark.parametrize("k", [1, 2, 20, 299, 300, 301])
def test_priority_keeps_the_highest_priorities(k: int, coordinated: bool) -> None:
    """The sample has the k highest of w / u, the threshold is the next one, and estimates follow."""
    n = scaled(20_000, 300) if k < 299 else 300
    weights = rng(k).lognormal(0, 2, n)
    weights[::9] = 0
    s = PrioritySample(k, coordinated=coordinated, seed=7)
    s.add_many(range(n), weights)
    base = Xoshiro(7).s[0]
    words = [splitmix64((base + i * GAMMA) & M64) for i in range(n)]
    if coordinated:
        words = hash64(list(range(n)), seed=7).tolist()
    q = np.array(naive_priorities(words, weights.tolist()))
    order = np.argsort(-q)
    positive = int(np.count_nonzero(weights))
    assert sorted(s.sample()) == sorted(order[: min(k, positive)].tolist())
    threshold = q[order[k]] if positive > k else 0.0
    assert s.threshold == pytest.approx(threshold, rel=1e-12)
    kept = weights[np.array(s.sample())]
    assert s.adjusted_weights() == pytest.approx(np.maximum(kept, threshold), rel=1e-12)
    total, variance = s.estimate_sum()
    assert total == pytest.approx(np.maximum(kept, threshold).sum(), rel=1e-12)
    assert variance == pytest.approx((threshold * np.maximum(threshold - kept, 0)).sum(), rel=1e-9)
    if positive <= k:
        assert total == pytest.approx(weights.sum(), rel=1e-12)


# ---------------------------------------------------------------------------------------------------
# Cuts


@every_class
@given(data=st.data())
def test_a_cut_changes_nothing(cls: Any, data: st.DataObject) -> None:
    """At once, in parts, one by one and read back in between: one sample, bit for bit."""
    n, k = data.draw(st.integers(0, 400)), data.draw(st.integers(1, 40))
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=6)))
    items = list(range(n))
    weights = rng(data.draw(st.integers(0, 9))).lognormal(0, 3, n)
    weights[data.draw(st.integers(1, 9)) :: 3] = 0
    whole = offer(cls(k, seed=3), items, weights)
    parts, single = cls(k, seed=3), cls(k, seed=3)
    for lo, hi in zip([0, *cuts], [*cuts, n], strict=True):
        offer(parts, items[lo:hi], weights[lo:hi])
        parts = cls.from_bytes(parts.to_bytes()) if data.draw(st.booleans()) else parts
    for item, weight in zip(items, weights.tolist(), strict=True):
        single.add(item) if cls is ReservoirSample else single.add(item, weight)
    assert parts.sample() == single.sample() == whole.sample()
    assert np.array_equal(parts._fixed(), whole._fixed())
    if n:
        assert parts.to_bytes() == single.to_bytes() == whole.to_bytes()


@every_class
def test_native_calls_mean_what_batches_do(cls: Any) -> None:
    """Long after the sample is full, single items and batches still go through the same states."""
    n = scaled(3000, 200)
    weights = np.where(np.arange(n) % 5, 1.0 + np.arange(n) % 7, 0.0)
    whole = offer(cls(5, seed=1), list(range(n)), weights)
    single = cls(5, seed=1)
    for i in range(n):
        # ints and floats, which have a way of their own, and NumPy's, which have none
        weight: Any = (float, int, np.float64)[i % 3](weights[i])
        single.add(i) if cls is ReservoirSample else single.add(i, weight)
    assert single.to_bytes() == whole.to_bytes()


def test_the_kind_of_items_does_not_matter() -> None:
    """The same positions are chosen, whatever the items are."""
    n = 500
    whole = offer(ReservoirSample(9, seed=4), np.arange(n)).sample().tolist()
    forms: dict[str, Any] = {
        "list": list(range(n)),
        "tuple": tuple(range(n)),
        "range": range(n),
        "generator": (i for i in range(n)),
        "dict values": dict(enumerate(range(n))).values(),
        "dict keys": dict.fromkeys(range(n)).keys(),
        "int32": np.arange(n, dtype=np.int32),
        "big endian": np.arange(n, dtype=">i8"),
        "strided": np.arange(2 * n)[::2] // 2,
        "text": np.arange(n).astype(str),
        "arrow": pa.array(range(n)),
        "chunked": pa.chunked_array([range(100), [], range(100, n)]),
        "sliced": pa.array(range(-5, n))[5:],
        "string view": pa.array([str(i) for i in range(n)], pa.string_view()),
        "dictionary": pa.array([str(i) for i in range(n)]).dictionary_encode(),
        "polars": pl.Series(range(n)),
        "polars text": pl.Series([str(i) for i in range(n)]),
        "pandas": pd.Series(range(n), index=range(n, 2 * n)),
        "pandas text": pd.Series([str(i) for i in range(n)]),
        "pandas objects": pd.Series(list(range(n)), dtype=object),
        "pandas Int64": pd.Series(range(n), dtype="Int64"),
        "categories": pd.Series([str(i) for i in range(n)], dtype="category"),
    }
    for name, items in forms.items():
        s = offer(ReservoirSample(9, seed=4), items)
        found = s.sample()
        listed = found.to_pylist() if isinstance(found, pa.Array) else list(found)
        assert [int(item) for item in listed] == whole, name
        assert s.seen == n


@pytest.mark.parametrize(
    ("items", "kind"),
    [
        ([1, "a", None], list),
        (range(3), list),
        (pd.Series([1, None, "x"], dtype=object), list),
        (np.arange(3), np.ndarray),
        (pd.Series([1.5, 2.5, 3.5]), np.ndarray),
        (np.array([object(), 1, "x"], dtype=object), np.ndarray),
        (pa.array([1, None, 3]), pa.Array),
        (pl.Series(["a", None, "b"]), pa.Array),
        (pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]}), pa.Array),
        (pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]}), pa.Array),
    ],
)
def test_the_container_of_a_sample(items: Any, kind: type) -> None:
    """A sample is of the kind that was given, nulls and all."""
    s = ReservoirSample(5)
    s.add_many(items)
    assert isinstance(s.sample(), kind)
    assert len(s.sample()) == len(s) == 3
    if isinstance(items, np.ndarray):
        assert s.sample().dtype == items.dtype
    if isinstance(items, (pa.Table, pl.DataFrame)):
        assert pa.Table.from_struct_array(s.sample()).to_pylist()[1] == {"a": 2, "b": None}


def test_rows_and_records() -> None:
    """Rows of an array are items, and so are records; longer text widens the sample."""
    rows = np.arange(600, dtype=np.float32).reshape(100, 3, 2)
    s = offer(ReservoirSample(4, seed=1), rows)
    assert s.sample().shape == (4, 3, 2)
    assert all((row == rows[int(row[0, 0]) // 6]).all() for row in s.sample())
    assert ReservoirSample.from_bytes(s.to_bytes()) == s
    records = np.zeros(50, np.dtype([("a", "i4"), ("b", "U3")]))
    records["a"] = np.arange(50)
    s = offer(ReservoirSample(4), records)
    assert s.sample().dtype == records.dtype
    with pytest.raises(TypeError, match="not serialised"):
        s.to_bytes()
    s = offer(offer(ReservoirSample(9), np.array(["a", "b"])), np.array(["long text"]))
    assert s.sample().tolist() == ["a", "b", "long text"]
    s.add("longer text still")
    assert s.sample().tolist()[3] == "longer text still"


def test_a_sample_is_a_copy() -> None:
    """What is done to a sample is not done to the sampler, nor what is done to the items offered."""
    items = np.arange(5)
    s = offer(ReservoirSample(9), items)
    items[:] = -1
    s.sample()[:] = -2
    assert s.sample().tolist() == [0, 1, 2, 3, 4]
    listed = offer(ReservoirSample(9), [1, 2])
    listed.sample().append(3)
    assert listed.sample() == [1, 2]


MIXED: list[tuple[Any, Any]] = [
    ([1, 2], np.arange(2)),
    ([1, 2], pa.array([1])),
    (np.arange(2), [1, 2]),
    (np.arange(2), np.arange(2.0)),
    (np.arange(2), np.arange(2, dtype=np.int32)),
    (np.arange(2), np.zeros((2, 2), int)),
    (np.array(["a"]), np.array([b"a"])),
    (np.arange(2), pa.array([1])),
    (pa.array([1]), [1]),
    (pa.array([1]), pa.array(["a"])),
    (pa.array([1]), np.arange(2)),
]


@every_class
@pytest.mark.parametrize(("one", "two"), MIXED)
def test_items_of_two_kinds(cls: Any, one: Any, two: Any) -> None:
    """Items of another kind are a TypeError that names both, and change nothing."""
    s = offer(cls(3, seed=1), one)
    before = s.to_bytes()
    with pytest.raises(TypeError, match="this sample holds"):
        offer(s, two)
    other = offer(cls(3, seed=2), two)
    with pytest.raises(TypeError, match="this sample holds"):
        s.merge(other)
    assert s.to_bytes() == before


@pytest.mark.parametrize(
    ("items", "right", "wrong"),
    [
        (np.arange(3), (5, np.int64(5), True), (1.5, "x", 2**63, None, np.int32(5), [1, 2], np.float64(1))),
        (np.arange(3.0), (1.5, np.float64(2)), (1, "x", None, np.float32(1), [1.0])),
        (np.arange(3, dtype=np.uint8), (5, 255), (-1, 256, 1.5)),
        (np.array(["a", "b", "c"]), ("x", "longer"), (b"x", 5, None)),
        (np.zeros((3, 2)), ([1.0, 2.0], (1.0, 2.0), np.ones(2)), ([1.0], 1.0, np.ones(3))),
        (pa.array(["a", "b", "c"]), ("x", None), (5, b"\xff")),
        (pa.array([1, 2, 3]), (5, None), ("x", 1.5, 2**64, object())),
        (pa.array([1.5, 2]), (5.0, None), ("x", 5, b"x")),
        (pa.array([{"a": 1}] * 3), ({"a": 5}, {}, None), ("x", 5)),
    ],
)
def test_one_item_more(items: Any, right: tuple[Any, ...], wrong: tuple[Any, ...]) -> None:
    """One item joins those of an array only as one of them; what does not fit is refused at the call."""
    s = offer(ReservoirSample(100), items)
    for item in right[:-1] if right[-1] is True else right:
        s.add(item)
    n = len(s)
    for item in wrong:
        with pytest.raises((TypeError, OverflowError)):
            s.add(item)
    assert len(s) == s.seen == n
    assert type(s.sample()) is type(offer(ReservoirSample(9), items).sample())


def test_wrong_batches() -> None:
    """What is no batch of items is a TypeError."""
    for items in ("text", b"bytes", {"a": 1}, 5, None, 1.5, np.int64(3), np.array(5), object()):
        with pytest.raises(TypeError, match=r"batch|dimension"):
            ReservoirSample(3).add_many(items)
    with pytest.raises(TypeError, match="masked"):
        ReservoirSample(3).add_many(np.ma.masked_array([1, 2], [0, 1]))


@every_class
def test_wrong_arguments(cls: Any) -> None:
    """Arguments are checked at the call."""
    for k in (0, -1, 2**31):
        with pytest.raises(ValueError, match="k="):
            cls(k)
    for k in (1.0, "1", None, True):
        with pytest.raises(TypeError, match="k must be"):
            cls(k)
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match="seed="):
            cls(1, seed=seed)
    with pytest.raises(TypeError):
        cls(1, 2)
    with pytest.raises(TypeError):
        cls(1).add()
    with pytest.raises(TypeError, match="coordinated"):
        PrioritySample(1, coordinated=1)  # type: ignore[arg-type]


@every_weighted
def test_wrong_weights(cls: Any) -> None:
    """Weights are finite numbers from 0 on, one for each item; a wrong batch adds nothing."""
    s = offer(cls(2, seed=1), [1, 2, 3])
    before = s.to_bytes()
    for bad in (-1.0, math.nan, math.inf, -math.inf, -5e-324):
        for at in (0, 70, 199):
            weights = np.ones(200)
            weights[at] = bad
            with pytest.raises(ValueError, match=f"position {at}"):
                s.add_many(list(range(200)), weights)
        with pytest.raises(ValueError, match="finite"):
            s.add(5, bad)
    for weights in ([1.0], [[1.0], [2.0]], ["a", "b"], [True, False], [1j, 2], None, 1.0):
        with pytest.raises((ValueError, TypeError), match="weight"):
            s.add_many([1, 2], weights)
    with pytest.raises(TypeError, match="list"):
        s.add_many((i for i in range(3)), [1, 2, 3])
    for one in ("1", None, True, [1], 1j):
        with pytest.raises(TypeError, match="weight"):
            s.add(5, one)
    assert s.to_bytes() == before
    for weights in (
        np.array([1, 2]),
        [1, 2],
        pa.array([1.0, 2.0]),
        pl.Series([1.0, 2.0]),
        pd.Series([1, 2]),
        np.ones(4, np.float32)[::2],
    ):
        s.add_many([7, 8], weights)
    assert s.seen == 3 + 2 * 6
    s.add(1, -0.0)
    s.add_many([2], [-0.0])


@every_weighted
def test_weights_of_zero(cls: Any) -> None:
    """What has no weight is never sampled, before and after the sample is full."""
    s = cls(3, seed=1)
    s.add_many([f"no{i}" for i in range(200)], np.zeros(200))
    assert (len(s), s.seen, s.sample(), s.total_weight) == (0, 200, [], 0.0)
    assert cls.from_bytes(s.to_bytes()) == s
    s.add_many(["yes", "no", "yes"], [1, 0, 2.5])
    assert s.sample() == ["yes", "yes"]
    weights = np.zeros(300)
    weights[::50] = 5e-324
    s.add_many(["no" if w == 0 else "yes" for w in weights], weights)
    assert s.sample() == ["yes"] * 3
    assert s.total_weight == 3.5


def test_no_items() -> None:
    """Empty batches of any kind change nothing but the kind."""
    for cls in CLASSES:
        s = cls(3)
        assert (len(s), s.seen, s.sample()) == (0, 0, [])
        assert cls.from_bytes(s.to_bytes()) == s
        for items in ([], np.zeros(0), pa.array([], pa.string()), iter(())):
            t = cls(3)
            offer(t, list(items) if isinstance(items, Iterator) and cls is not ReservoirSample else items)
            assert len(t) == 0
            assert len(t.sample()) == 0
            assert cls.from_bytes(t.to_bytes()) == t
    s = PrioritySample(3)
    assert s.estimate_sum() == (0, 0)
    assert s.estimate_sum(lambda items: [True for _ in items]) == (0, 0)
    assert s.threshold == 0


def test_very_long_streams() -> None:
    """Positions up to 2^62 are sampled evenly, in no time; beyond 2^63 is an OverflowError."""
    n = 1 << 62
    halves = np.zeros(2)
    for seed in range(scaled(200, 20)):
        s = ReservoirSample(10, seed=seed)
        s.add_many(range(n))
        halves[0] += sum(item < n // 2 for item in s.sample())
        halves[1] += len(s)
    assert abs(halves[0] - halves[1] / 2) < 5 * math.sqrt(halves[1]) / 2
    s.add_many(range(n))
    assert s.seen == 1 << 63
    assert ReservoirSample.from_bytes(s.to_bytes()) == s
    for more in ([1], range(n)):
        with pytest.raises(OverflowError, match="2\\*\\*63"):
            s.add_many(more)


# ---------------------------------------------------------------------------------------------------
# Chances


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("n", "k", "runs"), [(10, 3, 100_000), (20, 1, 20_000), (12, 11, 20_000), (40, 7, 20_000)]
)
def test_each_item_and_each_pair_has_its_chance(n: int, k: int, runs: int) -> None:
    """Over many seeds, items come k / n of the time, and pairs k (k - 1) / n (n - 1)."""
    items, there = np.arange(n), np.zeros((runs, n), np.float32)
    for seed in range(runs):
        s = ReservoirSample(k, seed=seed)
        s.add_many(items)
        there[seed, s.sample()] = 1
    pairs = there.T.astype(np.float64) @ there
    singles = pairs.diagonal()
    # k are drawn each time, so that counts vary less than independent ones: by 1 - k / n, over n - 1 degrees
    assert chi_square(singles, runs * k / n) * (1 - 1 / n) / (1 - k / n) < chi_square_bound(n - 1)
    if k > 1:
        upper = pairs[np.triu_indices(n, 1)]
        chance = k * (k - 1) / (n * (n - 1))
        z = (upper - runs * chance) / math.sqrt(runs * chance * (1 - chance))
        assert np.abs(z).max() < 5.5


def subset_chances(weights: list[float], k: int) -> dict[tuple[int, ...], float]:
    """Return the chance of each subset when k are drawn by weight, one after another, without replacement."""
    chances = {}
    for subset in combinations(range(len(weights)), k):
        chance = 0.0
        for order in permutations(subset):
            left, product = set(range(len(weights))), 1.0
            for i in order:
                product *= weights[i] / (math.fsum(weights[j] for j in left) or 1.0)
                left.remove(i)
            chance += product
        chances[subset] = chance
    return chances


WEIGHTS = {
    "plain": [1.0, 2.0, 3.0, 4.0, 10.0],
    "equal": [1.0] * 5,
    "subnormal": [5e-324, 1e-323, 1.5e-323, 2e-323, 5e-323],
    "huge": [1.7e307, 3.4e307, 5.1e307, 6.8e307, 1.7e308],
    "one heavy": [1.0, 1.0, 1e300, 1.0, 1.0],
    "zeros": [0.0, 1.0, 0.0, 3.0, 2.0, 0.0, 5.0],
}


@pytest.mark.statistical
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weighted_subsets_have_their_chances(name: str, k: int) -> None:
    """Every subset comes as often as the definition says, whatever the size of the weights."""
    weights, runs = WEIGHTS[name], 10_000
    found: Counter[tuple[int, ...]] = Counter()
    items, array = np.arange(len(weights)), np.array(weights)
    for seed in range(runs):
        s = WeightedReservoirSample(k, seed=seed)
        s.add_many(items, array)
        found[tuple(sorted(s.sample().tolist()))] += 1
    exact = [w / max(weights) for w in weights]
    chances = {subset: p for subset, p in subset_chances(exact, k).items() if p * runs > 5}
    rest = 1 - sum(chances.values())
    counts = np.array([found[subset] for subset in chances])
    assert runs - counts.sum() <= runs * rest + 5 * math.sqrt(runs * rest) + 5
    assert chi_square(counts, runs * np.array(list(chances.values()))) < chi_square_bound(len(chances))


@pytest.mark.statistical
def test_weighted_chances_over_many_blocks() -> None:
    """Of many items one is drawn by its weight, wherever it is: the jumps are right across blocks."""
    n, runs = 700, 20_000
    weights = 1.0 + (np.arange(n) % 10)
    items, counts = np.arange(n), np.zeros(n)
    for seed in range(runs):
        s = WeightedReservoirSample(1, seed=seed)
        s.add_many(items, weights)
        counts[s.sample()[0]] += 1
    by_tens = counts.reshape(10, -1).sum(1)
    expected = runs * weights / weights.sum()
    assert chi_square(by_tens, expected.reshape(10, -1).sum(1)) < chi_square_bound(9)
    assert chi_square(counts, expected) < chi_square_bound(n - 1)


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("name", "scale"), [("lognormal", 1.0), ("uniform", 1.0), ("tiny", 5e-324), ("huge", 1e300)]
)
def test_priority_sums_are_unbiased(name: str, scale: float) -> None:
    """Estimates are right in the mean, and so are their variances, which keep below the bound."""
    n, k, seeds = 800, 40, 1000
    weights = np.round(rng(1).lognormal(2, 1, n)) + 1 if name != "uniform" else np.ones(n)
    weights *= scale
    part = np.arange(n) % 3 == 0
    truth, total = weights[part].sum(), weights.sum()
    estimates = np.zeros((seeds, 3))
    for seed in range(seeds):
        s = PrioritySample(k, seed=seed)
        s.add_many(np.arange(n), weights)
        mine = s.estimate_sum(lambda items: items % 3 == 0)
        relative = mine.variance / truth**2 if scale == 1.0 else 0.0
        estimates[seed] = mine.total / truth, relative, s.estimate_sum().total / total
    means, spread = estimates.mean(0), estimates.std(0, ddof=1)
    assert abs(means[0] - 1) < 4.5 * spread[0] / math.sqrt(seeds)
    assert abs(means[2] - 1) < 4.5 * spread[2] / math.sqrt(seeds)
    # Alon, Duffield, Lund, Thorup 2005: the variance of a part is at most part x total / (k - 1)
    assert spread[0] ** 2 < 1.3 * total / truth / (k - 1)
    if scale == 1.0:  # of 1000 estimates the variance is known to 4.5 %, and its mean no worse
        assert means[1] == pytest.approx(spread[0] ** 2, rel=0.25)
    if name == "uniform":  # then (k + 1)-th of n uniform numbers is all there is: 1 / (k - 1), for n >> k
        assert spread[2] ** 2 == pytest.approx((1 - k / n) / (k - 1), rel=0.25)


@pytest.mark.statistical
def test_errors_of_items_are_not_correlated() -> None:
    """The estimates of two parts have no covariance, though they share a threshold."""
    n, k, seeds = 300, 30, 2000
    weights = rng(2).lognormal(0, 1, n)
    found = np.zeros((seeds, 2))
    for seed in range(seeds):
        s = PrioritySample(k, seed=seed)
        s.add_many(np.arange(n), weights)
        odd = s.sample() % 2 == 1
        found[seed] = s.estimate_sum(odd).total, s.estimate_sum(~odd).total
    assert abs(np.corrcoef(found.T)[0, 1]) < 4.5 / math.sqrt(seeds)


# ---------------------------------------------------------------------------------------------------
# Merging


@pytest.mark.statistical
@pytest.mark.parametrize(("a", "b", "k"), [(30, 20, 6), (3, 40, 6), (4, 4, 6), (2, 1, 6), (50, 6, 6)])
def test_merged_reservoirs_are_uniform(a: int, b: int, k: int) -> None:
    """Items of two streams come alike, the number from each is hypergeometric, and so it goes on."""
    runs, after = 10_000, 10
    n = a + b + after
    single, from_a = np.zeros(n), np.zeros(k + 1)
    one, two, three = np.arange(a), np.arange(a, a + b), np.arange(a + b, n)
    for seed in range(runs):
        s, t = ReservoirSample(k, seed=2 * seed), ReservoirSample(k, seed=2 * seed + 1)
        s.add_many(one)
        t.add_many(two)
        s.merge(t)
        from_a[int((s.sample() < a).sum())] += 1
        s.add_many(three)
        assert s.seen == n
        single[s.sample()] += 1
    kept = min(k, n)
    chance = kept / n
    assert chi_square(single, runs * chance) * (1 - 1 / n) / (1 - chance) < chi_square_bound(n - 1)
    size = min(k, a + b)
    law = np.array([math.comb(a, i) * math.comb(b, size - i) if i <= size else 0 for i in range(k + 1)])
    law = law / math.comb(a + b, size)
    assert not from_a[law == 0].any()
    common = law * runs > 5
    assert chi_square(from_a[common], runs * law[common]) < chi_square_bound(int(common.sum()))


@pytest.mark.statistical
@pytest.mark.parametrize("cut", [1, 3, 4])
def test_merged_weighted_samples_have_their_chances(cut: int) -> None:
    """Subsets of two streams come as often as of one, and so it goes on afterwards."""
    weights, k, runs = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 2.0]), 2, 6000
    found: Counter[tuple[int, ...]] = Counter()
    for seed in range(runs):
        s, t = WeightedReservoirSample(k, seed=2 * seed), WeightedReservoirSample(k, seed=2 * seed + 1)
        s.add_many(np.arange(cut), weights[:cut])
        t.add_many(np.arange(cut, 5), weights[cut:5])
        s.merge(t)
        s.add_many(np.arange(5, 6), weights[5:])
        found[tuple(sorted(s.sample().tolist()))] += 1
    chances = subset_chances(weights.tolist(), k)
    counts = np.array([found[subset] for subset in chances])
    assert chi_square(counts, runs * np.array(list(chances.values()))) < chi_square_bound(len(chances) - 1)


@pytest.mark.statistical
def test_merged_priority_samples_are_unbiased() -> None:
    """Sums over two streams, sampled apart and merged, are right in the mean."""
    n, k, seeds = 400, 25, 1000
    weights = rng(3).lognormal(0, 1, n)
    found = np.zeros((seeds, 2))
    for seed in range(seeds):
        s, t = PrioritySample(k, seed=2 * seed), PrioritySample(k, seed=2 * seed + 1)
        s.add_many(np.arange(150), weights[:150])
        t.add_many(np.arange(150, n), weights[150:])
        s.merge(t)
        found[seed] = s.estimate_sum(s.sample() % 2 == 0)
    assert abs(found[:, 0].mean() - weights[::2].sum()) < 4.5 * found[:, 0].std() / math.sqrt(seeds)
    assert found[:, 1].mean() == pytest.approx(found[:, 0].var(), rel=0.25)


def test_coordinated_samples_merge_to_the_whole() -> None:
    """Samples of one seed by hash merge to the sample of all in any order, and agree on what they share."""
    keys = [f"key{i}" for i in range(2000)]
    weights = rng(4).lognormal(0, 1, 2000)
    whole = PrioritySample(50, coordinated=True, seed=5)
    whole.add_many(keys, weights)
    parts = [PrioritySample(50, coordinated=True, seed=5) for _ in range(3)]
    for i, part in enumerate(parts):
        part.add_many(keys[i::3], weights[i::3])
    parts[1].merge(parts[2])
    parts[0].merge(parts[1])
    growing, rest = (PrioritySample(50, coordinated=True, seed=5) for _ in range(2))
    growing.add_many(keys[:30], weights[:30])
    rest.add_many(keys[30:100], weights[30:100])
    growing.merge(rest)
    growing.add_many(keys[100:], weights[100:])
    assert set(growing.sample()) == set(whole.sample())
    assert set(parts[0].sample()) == set(whole.sample())
    assert parts[0].threshold == whole.threshold
    assert parts[0].estimate_sum()[0] == pytest.approx(whole.estimate_sum()[0], rel=1e-12)
    assert parts[0].seen == 2000
    again = PrioritySample(50, coordinated=True, seed=5)
    again.add_many(pa.array(keys[::-1]), 3 * weights[::-1])
    assert set(again.sample().to_pylist()) == set(whole.sample())
    one = PrioritySample(50, coordinated=True, seed=5)
    for key, weight in zip(keys, weights.tolist(), strict=True):
        one.add(key, weight)
    assert one == whole
    with pytest.raises(ValueError, match="null"):
        whole.add_many([None], [1.0])
    with pytest.raises(TypeError, match="not int, str"):
        whole.add_many([object()], [1.0])


@every_class
def test_what_cannot_be_merged(cls: Any) -> None:
    """Another k, the same seed, another class: a ValueError that says so, and nothing has changed."""
    s = offer(cls(3, seed=1), list(range(50)))
    before = s.to_bytes()
    others = [
        cls(4, seed=2),
        offer(cls(3, seed=1), [1]),
        cls(3, seed=1),
        s,
        *(c(3, seed=2) for c in CLASSES if c != cls),
    ]
    for other in others:
        with pytest.raises(ValueError, match=r"merge|seed"):
            s.merge(other)
    if cls is PrioritySample:
        for other in (
            PrioritySample(3, coordinated=True, seed=1),
            PrioritySample(3, coordinated=True, seed=2),
        ):
            with pytest.raises(ValueError, match="coordinated"):
                s.merge(other)
        by_hash = PrioritySample(3, coordinated=True, seed=1)
        with pytest.raises(ValueError, match="coordinated"):
            by_hash.merge(
                others[4] if isinstance(others[4], PrioritySample) else PrioritySample(3, coordinated=True)
            )
    assert s.to_bytes() == before
    s.merge(cls(3, seed=2))
    assert s.sample() == cls.from_bytes(before).sample()


@every_class
def test_merging_keeps_the_items(cls: Any) -> None:
    """Every kind of items merges, into an empty sample too, and the other sampler stays as it was."""
    for items in (list("abcdefgh"), np.arange(8), pa.array(["x", None] * 4), np.array(list("abcdefgh"))):
        for n in (0, 2, 8):
            s, t = cls(3, seed=1), offer(cls(3, seed=2), items)
            if n:
                offer(s, items[:n])
            before = t.to_bytes()
            s.merge(t)
            assert (len(s), s.seen) == (3, n + 8)
            assert t.to_bytes() == before
            assert type(s.sample()) is type(t.sample())
            assert cls.from_bytes(s.to_bytes()) == s
            offer(s, items)
            assert s.seen == n + 16


# ---------------------------------------------------------------------------------------------------
# Estimates


def test_where() -> None:
    """A part is a mask or a function; what is neither is an error."""
    s = offer(PrioritySample(10, seed=1), np.arange(100))
    even = s.sample() % 2 == 0
    assert (
        s.estimate_sum(even) == s.estimate_sum(lambda items: items % 2 == 0) == s.estimate_sum(even.tolist())
    )
    parts = s.estimate_sum(even), s.estimate_sum(~even)
    assert sum(part.total for part in parts) == pytest.approx(s.estimate_sum().total)
    assert s.estimate_sum(np.zeros(10, bool)) == (0, 0)
    for wrong in (even[:5], even.astype(int), [1] * 10, True, "x", np.ones((10, 1), bool)):
        with pytest.raises(TypeError, match="where"):
            s.estimate_sum(wrong)


# ---------------------------------------------------------------------------------------------------
# Bytes


SERIALISED = {
    "list": [None, True, False, 0, -1, 2**70, -(2**63), 1.5, math.nan, -0.0, "", "é\ud800", b"", b"\x00"],
    "int64": np.arange(14),
    "rows": np.arange(28, dtype=np.float32).reshape(14, 2),
    "bool": np.arange(14) % 2 == 0,
    "complex": np.arange(14) * 1j,
    "dates": np.arange(14).astype("M8[D]"),
    "spans": np.arange(14).astype("m8[ns]"),
    "text": np.array([f"x{i}" for i in range(14)]),
    "bytes": np.array([b"x%d" % i for i in range(14)]),
    "strings": pa.array([None, *"abcdefghijklm"]),
    "lists": pa.array([[1] * (i % 3) for i in range(14)]),
    "stamps": pa.array(range(14), pa.timestamp("us", tz="Europe/Paris")),
    "table": pa.table({"a": range(14), "b": list("abcdefghijklmn")}),
}


def listed(s: Any) -> str:
    """Write a sample out, so that NaN is like NaN."""
    found = s.sample()
    return repr(found.to_pylist() if isinstance(found, pa.Array) else list(found))


@every_class
@pytest.mark.parametrize("name", SERIALISED)
def test_bytes_come_back_equal(cls: Any, name: str) -> None:
    """Bytes, pickles and copies make the same sampler, which goes on as the original does."""
    items = SERIALISED[name]
    for k in (3, 20):
        s = offer(cls(k, seed=9), items)
        for again in (cls.from_bytes(s.to_bytes()), pickle.loads(pickle.dumps(s)), copy.deepcopy(s)):
            assert again.to_bytes() == s.to_bytes()
            assert listed(again) == listed(s)
            assert (again.k, again.seed, again.seen, len(again)) == (k, 9, len(items), len(s))
            assert again == s
            offer(again, items)
            assert listed(again) == listed(offer(cls.from_bytes(s.to_bytes()), items))
        assert s.nbytes > 0
        assert cls.__name__ in repr(s)


@every_class
def test_objects_are_not_serialised(cls: Any) -> None:
    """Objects of other types are sampled, but no bytes are made of them; equality looks at them."""
    things = [(i, object) for i in range(9)]
    s, t = offer(cls(3, seed=1), things), offer(cls(3, seed=1), things)
    assert s == t
    assert s != offer(cls(3, seed=2), things)
    assert all(item in things for item in s.sample())
    for work in (s.to_bytes, lambda: pickle.dumps(s), lambda: copy.copy(s)):
        with pytest.raises(TypeError, match="tuple"):
            work()
    u = offer(cls(3), np.array(things, dtype=object))
    with pytest.raises(TypeError, match="not serialised"):
        u.to_bytes()
    assert s != 5
    with pytest.raises(TypeError, match="unhashable"):
        hash(s)


def use(s: Any) -> None:
    """Do all that can be done with a sampler that was read."""
    _ = len(s), s.seen, s.nbytes, repr(s), s.sample()
    if s._kept is None or not s._slots() or s.seen > 1 << 62:
        return
    items = s._kept.pick(np.zeros(100, np.int64))
    other = offer(type(s)(s.k, seed=(s.seed + 1) % 2**64), items)
    if getattr(s, "coordinated", False):
        _ = s.estimate_sum()
        return
    offer(s, items)
    s.merge(other)
    _ = s.sample()


@every_class
@pytest.mark.parametrize("name", ["list", "rows", "text", "strings", "table"])
def test_hostile_bytes(cls: Any, name: str) -> None:
    """Truncated, altered or forged under a right checksum: refused, or a sampler that works."""
    header, payload = take_apart(offer(cls(5, seed=9), SERIALISED[name]).to_bytes())
    stream = rng(11)
    words = (
        0,
        1,
        5,
        6,
        2**31,
        2**62,
        2**63,
        2**64 - 1,
        0x7FF0000000000000,
        0x7FF8000000000000,
        0xFFF0000000000000,
    )
    forged: list[tuple[Any, bytes]] = [(header, payload[:n]) for n in range(0, len(payload), 7)]
    forged += [(header, payload + bytes(n)) for n in (1, 8)]
    for at in range(0, min(len(payload), 400) - 8, 8):
        forged += [(header, payload[:at] + w.to_bytes(8, "little") + payload[at + 8 :]) for w in words]
    for _ in range(scaled(500, 20)):
        altered = bytearray(payload)
        for _ in range(int(stream.integers(1, 5))):
            altered[int(stream.integers(0, len(payload)))] = int(stream.integers(0, 256))
        forged.append((header, bytes(altered)))
    for parameter in header["parameters"]:
        for value in (0, -1, 1, 4, 6, 2**31 - 1, 2**31, 2**64, None, True, 1.5, "x"):
            forged.append(({**header, "parameters": {**header["parameters"], parameter: value}}, payload))
    for forgery in forged[:: scaled(1, 7)]:
        try:
            s = cls.from_bytes(put_together(*forgery))
        except CorruptDataError:
            continue
        use(s)


@every_class
def test_bytes_of_no_sampler(cls: Any) -> None:
    """Every flipped bit is noticed, and bytes of another sampler are refused."""
    data = offer(cls(2, seed=9), [1, "x"]).to_bytes()
    for bit in range(0, 8 * len(data), scaled(1, 17)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptDataError):
            cls.from_bytes(flipped)
    for other in CLASSES:
        if other is not cls:
            with pytest.raises(CorruptDataError, match=cls.__name__):
                other.from_bytes(data)


def test_items_without_a_bit_of_their_own() -> None:
    """Bytes that claim many items and hold none are refused before anything is allocated for them."""
    s = offer(ReservoirSample(2**31 - 1), pa.array([None, None]))
    assert ReservoirSample.from_bytes(s.to_bytes()) == s
    header, payload = take_apart(s.to_bytes())
    seen = (2**31 - 1).to_bytes(8, "little")
    column = pa.record_batch([pa.nulls(2**31 - 1)], ["items"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, column.schema) as writer:
        writer.write_batch(column)
    state = bytearray(payload[:64])
    state[32:40] = seen
    state[48:56] = seen  # the next one taken
    state[56:64] = np.float64(-1e-9).tobytes()
    with pytest.raises(CorruptDataError, match="column"):
        ReservoirSample.from_bytes(put_together(header, bytes(state) + b"\x03" + bytes(sink.getvalue())))
    state[40:48] = (2).to_bytes(8, "little")
    with pytest.raises(CorruptDataError, match="bytes"):
        ReservoirSample.from_bytes(put_together(header, bytes(state) + b"\x02\x03\x00<U0"))
    with pytest.raises(TypeError, match="not serialised"):
        offer(ReservoirSample(3), np.zeros((2, 0))).to_bytes()
    with pytest.raises(TypeError, match="cannot be taken"):
        offer(ReservoirSample(3), pa.array([["a"]], pa.list_(pa.string_view())))
