"""Membership filters: one behaviour for every kind, then each kind's own law, bits and limits."""

from __future__ import annotations

import contextvars
import math
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import oracles
import pyarrow as pa
import pytest
from helpers import (
    SMALL,
    payload,
    put_together,
    random_keys,
    rng,
    scaled,
    splitmix_stream,
    take_apart,
    vectors,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from algos import catalog
from algos.errors import CapacityError
from algos.filters import BinaryFuseFilter, BloomFilter, CuckooFilter, SplitBlockBloomFilter
from algos.hashing import hash64

if TYPE_CHECKING:
    from collections.abc import Callable

VARIANTS = catalog.variants("filters")
FILTERS = {v.name: v.load() for v in VARIANTS}
GROWING = {v.name: FILTERS[v.name] for v in VARIANTS if "static" not in v.properties}
MERGEABLE = {v.name: FILTERS[v.name] for v in VARIANTS if "mergeable" in v.properties}
STATIC = {v.name: FILTERS[v.name] for v in VARIANTS if "static" in v.properties}

every_filter = pytest.mark.parametrize("name", FILTERS)
every_growing = pytest.mark.parametrize("name", GROWING)
every_mergeable = pytest.mark.parametrize("name", MERGEABLE)

SIZES = [0, 1, 2, 127, 128, 129, 255, 256, 257, *(() if SMALL else (4095, 4096, 4097, 16383, 16384, 16385))]


def sequential(seed: int, n: int) -> Any:
    """Ids as a database hands them out."""
    return np.arange(seed << 32, (seed << 32) + n, dtype=np.int64)


def strided(seed: int, n: int) -> Any:
    """Multiples of a power of two: addresses, snowflake ids, floats as bits."""
    return np.arange(n, dtype=np.uint64) << np.uint64(20 + seed % 24)


WORKLOADS: dict[str, Callable[[int, int], Any]] = {
    "random": random_keys,
    "sequential": sequential,
    "strided": strided,
}


def keys_of_every_form(n: int) -> dict[str, Any]:
    """Return ``n`` keys in the forms that take different paths."""
    ints = random_keys(n, n)
    text = [f"user:{k}" * (1 + i % 3) for i, k in enumerate(ints.tolist())]
    return {
        "random": ints,
        "sequential": sequential(1, n),
        "strided": strided(5, n),
        "list": ints.tolist(),
        "text": pa.array(text, pa.string()),
        "bytes": [t.encode() for t in text],
        "float": ints.astype(np.float64),
    }


# ---------------------------------------------------------------------------------------------------
# Never a false negative, whatever the keys


@every_filter
@pytest.mark.parametrize("n", SIZES)
def test_no_false_negative(name: str, n: int) -> None:
    """Every key built in is found, at sizes around every block and chunk boundary."""
    for form, keys in keys_of_every_form(n).items():
        found = FILTERS[name].build(keys).contains_many(keys)
        assert found.dtype == np.bool_, form
        assert found.shape == (n,), form
        assert found.all(), form


@every_growing
@pytest.mark.parametrize("n", SIZES)
def test_no_false_negative_when_growing(name: str, n: int) -> None:
    """Keys added in several batches are all found afterwards."""
    keys = random_keys(n + 1, n)
    f = GROWING[name](max(n, 1))
    for part in np.array_split(keys, 3):
        f.add_many(part)
    assert f.contains_many(keys).all()


@every_filter
@pytest.mark.parametrize("n", [1, 2, 127, 128, 129, 1000, *(() if SMALL else (16384, 100_000))])
def test_duplicates(name: str, n: int) -> None:
    """Keys given twice are found once or twice, and building does not choke on them."""
    keys = random_keys(n, n)
    twice = rng(n).permutation(np.concatenate([keys, keys]))
    assert FILTERS[name].build(twice).contains_many(keys).all()


@every_filter
@given(st.lists(st.integers(-(2**63), 2**64 - 1), max_size=200), st.integers(0, 2**64 - 1))
def test_no_false_negative_for_any_ints(name: str, keys: list[int], seed: int) -> None:
    """Any integers under any seed are found again."""
    assert FILTERS[name].build(keys, seed=seed).contains_many(keys).all()


@every_filter
@given(st.lists(st.text(max_size=30), max_size=60))
def test_no_false_negative_for_any_text(name: str, keys: list[str]) -> None:
    """Any strings are found again, as a list, an Arrow array and one by one."""
    f = FILTERS[name].build(keys)
    assert f.contains_many(keys).all()
    assert f.contains_many(pa.array(keys, pa.string())).all()
    assert all(k in f for k in keys)


@every_filter
@given(st.lists(st.binary(max_size=30), max_size=60))
def test_no_false_negative_for_any_bytes(name: str, keys: list[bytes]) -> None:
    """Any byte strings are found again."""
    assert FILTERS[name].build(keys).contains_many(keys).all()


@every_filter
@given(st.lists(st.floats(width=32), max_size=60))
def test_no_false_negative_for_any_floats(name: str, keys: list[float]) -> None:
    """Any floats are found again, also when asked for as float32."""
    f = FILTERS[name].build(keys)
    assert f.contains_many(keys).all()
    assert f.contains_many(np.array(keys, np.float32)).all()


@every_filter
def test_keys_far_over_capacity(name: str) -> None:
    """Many times the planned keys: what was accepted is found, however full it is."""
    keys = random_keys(3, scaled(5000, 500))
    if name not in GROWING:
        return
    f = GROWING[name](10)
    try:
        f.add_many(keys)
    except CapacityError:
        return
    assert f.contains_many(keys).all()
    assert 0 <= f.expected_fpr() <= 1


# ---------------------------------------------------------------------------------------------------
# Answers


@every_filter
def test_empty_filter_holds_nothing(name: str) -> None:
    """A filter of no keys says False to everything, with a false-positive rate of 0."""
    f = FILTERS[name].build([])
    assert not f.contains_many(random_keys(1, scaled(20_000, 500))).any()
    assert 5 not in f
    assert None not in f
    assert f.expected_fpr() == 0
    if name in GROWING:
        assert GROWING[name](100).expected_fpr() == 0


@every_filter
def test_empty_query(name: str) -> None:
    """No keys asked gives an empty answer of the right type, whatever the container."""
    f = FILTERS[name].build([1, 2, 3])
    for nothing in (
        [],
        (),
        np.array([], np.int8),
        pa.array([], pa.string()),
        pa.chunked_array([], pa.int64()),
    ):
        answer = f.contains_many(nothing)
        assert answer.dtype == np.bool_
        assert answer.shape == (0,)
    assert f.contains_hashes(np.array([], np.uint64)).shape == (0,)


@every_filter
def test_scalar_equals_batch(name: str) -> None:
    """``x in f`` is a bool, and the one that the batch gives, for members and strangers of every type."""
    n = scaled(300, 40)
    for form, keys in keys_of_every_form(n).items():
        f = (
            FILTERS[name].build(keys[: n // 2], fpr=0.05)
            if name in GROWING
            else FILTERS[name].build(keys[: n // 2])
        )
        listed = keys.to_pylist() if isinstance(keys, pa.Array) else list(keys)
        answers = [key in f for key in listed]
        assert {type(a) for a in answers} == {bool}
        assert answers == f.contains_many(keys).tolist(), form


@every_filter
@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1])
def test_ready_hashes(name: str, seed: int) -> None:
    """A key's ready hash, XXH3-64 under the filter's seed, is as good as the key."""
    keys = random_keys(2, scaled(2000, 200))
    f = FILTERS[name].build(keys[::2], seed=seed)
    assert f.seed == seed
    hashes = hash64(keys, seed=seed)
    assert (f.contains_hashes(hashes) == f.contains_many(keys)).all()
    if name in GROWING:
        by_keys, by_hashes = GROWING[name](2000, seed=seed), GROWING[name](2000, seed=seed)
        by_keys.add_many(keys)
        by_hashes.add_hashes(hashes)
        assert by_keys == by_hashes


@every_filter
@pytest.mark.parametrize(
    "bad", [[1, 2], np.zeros(2), np.zeros(2, np.int64), np.zeros((2, 2), np.uint64), None, "a"]
)
def test_hashes_of_wrong_type(name: str, bad: Any) -> None:
    """Ready hashes are a one-dimensional uint64 array; nothing else is converted to it."""
    f = FILTERS[name].build([1])
    with pytest.raises(TypeError, match="uint64"):
        f.contains_hashes(bad)
    if name in GROWING:
        with pytest.raises(TypeError, match="uint64"):
            f.add_hashes(bad)


@every_filter
def test_hashes_need_not_be_contiguous(name: str) -> None:
    """A strided or read-only array of hashes is read as it stands."""
    hashes = random_keys(4, 200)
    f = FILTERS[name].build_hashes(hashes[::2]) if name in STATIC else FILTERS[name](200)
    if name in GROWING:
        f.add_hashes(hashes[::2])
    frozen = hashes.copy()
    frozen.flags.writeable = False
    assert f.contains_hashes(frozen[::2]).all()
    assert (f.contains_hashes(hashes[::-1]) == f.contains_hashes(frozen)[::-1]).all()


@every_filter
def test_seeds_decide_who_is_mistaken(name: str) -> None:
    """Filters of the same keys under two seeds err on different strangers, and the same seed on the same."""
    keys, strangers = random_keys(1, scaled(2000, 300)), random_keys(2, scaled(20_000, 2000))
    first, again, other = (FILTERS[name].build(keys, seed=s).contains_many(strangers) for s in (1, 1, 2))
    assert (first == again).all()
    assert first.any()
    assert (first != other).any()


@every_filter
@pytest.mark.parametrize(
    ("seed", "error"),
    [(-1, ValueError), (2**64, ValueError), (1.5, TypeError), ("a", TypeError), (True, TypeError)],
)
def test_bad_seed(name: str, seed: Any, error: type[Exception]) -> None:
    """A seed is an int of 64 bits."""
    with pytest.raises(error, match="seed"):
        FILTERS[name].build([1], seed=seed)
    if name in GROWING:
        with pytest.raises(error, match="seed"):
            GROWING[name](10, seed=seed)


@every_filter
def test_nbytes_and_bits_per_key(name: str) -> None:
    """``nbytes`` is the payload that is serialised; ``bits_per_key`` divides it by the keys planned for."""
    keys = random_keys(1, 1000)
    f = FILTERS[name].build(keys)
    planned = len(f) if name in STATIC else f.capacity
    assert planned == 1000
    assert f.bits_per_key == pytest.approx(8 * f.nbytes / 1000, rel=1e-12)
    assert 0 < len(f.to_bytes()) - f.nbytes < 1000
    assert str(f.nbytes // 1000) in repr(f)


@every_filter
def test_many_readers(name: str) -> None:
    """Threads that read one filter at once all get the answer that one alone gets."""
    keys = random_keys(1, scaled(20_000, 300))
    queries = random_keys(2, scaled(50_000, 300))
    f = FILTERS[name].build(keys)
    want = f.contains_many(queries)
    gate = threading.Barrier(4)

    def read() -> bool:
        gate.wait()
        return all((f.contains_many(queries) == want).all() for _ in range(scaled(10, 2)))

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(contextvars.copy_context().run, read) for _ in range(4)]
        assert all(job.result() for job in jobs)


# ---------------------------------------------------------------------------------------------------
# Growing


@every_growing
def test_one_by_one_equals_batch(name: str) -> None:
    """Adding one by one, in one batch, in pieces, or building gives the same bits."""
    keys = random_keys(5, scaled(1000, 200)).tolist()
    cls = GROWING[name]
    batch, single, pieces = cls(len(keys)), cls(len(keys)), cls(len(keys))
    batch.add_many(keys)
    for key in keys:
        single.add(key)
    for i in range(0, len(keys), 77):
        pieces.add_many(keys[i : i + 77])
    assert batch == single == pieces == cls.build(keys)


@every_growing
def test_add_returns_none(name: str) -> None:
    """``add``, and ``add_many`` without ``return_new``, return nothing."""
    f = GROWING[name](100)
    assert f.add(1) is None
    assert f.add_many([2, 3]) is None
    assert f.add_hashes(np.array([5], np.uint64)) is None


@every_growing
@pytest.mark.parametrize("n", [0, 1, 2, 127, 128, 129, 257, *(() if SMALL else (8191, 8192, 8193, 20_000))])
def test_return_new_is_as_one_by_one(name: str, n: int) -> None:
    """``return_new`` says of each key what asking just before adding it, alone, would have said."""
    distinct = random_keys(n, max(n * 7 // 10, 1))
    keys = rng(n).choice(distinct, n)  # 30 % repeats, some of them next to each other
    batch, twin = GROWING[name](max(n, 1), seed=3), GROWING[name](max(n, 1), seed=3)
    new = batch.add_many(keys, return_new=True)
    want = []
    for key in keys:
        want.append(key not in twin)
        if want[-1] or name != "CuckooFilter":
            twin.add(key)
    assert new.dtype == np.bool_
    assert new.tolist() == want
    assert batch.contains_many(keys).all()
    assert not batch.add_many(keys, return_new=True).any()


@every_growing
def test_return_new_within_one_block(name: str) -> None:
    """Equal keys next to each other: only the first is new. Nulls are never new."""
    f = GROWING[name](100)
    assert f.add_many([7, 7, 7], return_new=True).tolist() == [True, False, False]
    assert f.add_many([None, 8, None, 8, 7], return_new=True).tolist() == [False, True, False, False, False]
    assert f.add_many(["a", "a", "b"], return_new=True).tolist() == [True, False, True]
    assert f.add_many([], return_new=True).tolist() == []


@every_growing
def test_capacity_0_is_refused(name: str) -> None:
    """A filter for no key, or fewer, has no size."""
    for capacity in (0, -1, 2**41, 10**30):
        with pytest.raises(ValueError, match=f"capacity={capacity}"):
            GROWING[name](capacity)
    for capacity in (1.0, "10", None, True, [5]):
        with pytest.raises(TypeError, match="capacity"):
            GROWING[name](capacity)


@every_growing
def test_capacity_may_be_a_numpy_integer(name: str) -> None:
    """A NumPy integer is as good a capacity as an int."""
    assert GROWING[name](np.int32(100)) == GROWING[name](100)
    assert type(GROWING[name](np.int32(100)).capacity) is int


@every_filter
@pytest.mark.parametrize("fpr", [1.5, 1.0, 0, 0.0, -0.1, math.nan, math.inf, -math.inf])
def test_fpr_out_of_range(name: str, fpr: float) -> None:
    """A false-positive rate lies between 0 and 1, both excluded; the message says which was given."""
    with pytest.raises(ValueError, match=f"fpr={fpr}"):
        FILTERS[name].build([1], fpr=fpr)
    if name in GROWING:
        with pytest.raises(ValueError, match=f"fpr={fpr}"):
            GROWING[name](10, fpr=fpr)


@every_filter
@pytest.mark.parametrize("fpr", ["0.01", True, [0.01], 1j])
def test_fpr_of_wrong_type(name: str, fpr: Any) -> None:
    """A false-positive rate is a number."""
    with pytest.raises(TypeError, match="fpr"):
        FILTERS[name].build([1], fpr=fpr)


@every_filter
def test_two_ways_to_ask_for_a_size(name: str) -> None:
    """Both a rate and a size given is a ValueError that names both, and the size's parameter is checked."""
    other = "bits" if name in {"CuckooFilter", "BinaryFuseFilter"} else "bits_per_key"
    with pytest.raises(ValueError, match=rf"fpr and {other}|{other} and fpr"):
        FILTERS[name].build([1], fpr=0.01, **{other: 8})
    for bad in (0, -8, math.nan, math.inf, 10**9):
        with pytest.raises((ValueError, TypeError), match=other):
            FILTERS[name].build([1], **{other: bad})
    for wrong in ("8", True, [8]):
        with pytest.raises(TypeError, match=other):
            FILTERS[name].build([1], **{other: wrong})


@every_growing
@pytest.mark.parametrize("fpr", [0.5, 0.1, 0.03, 0.01, 0.001, 1e-4, 1e-6, 1e-9, 1e-300, 0.999])
def test_asked_fpr_is_kept_by_the_law_or_refused(name: str, fpr: float) -> None:
    """At capacity the law promises the rate asked for, or the class says it cannot."""
    try:
        f = GROWING[name](1000, fpr=fpr)
    except ValueError:
        assert fpr < 1e-4, "an everyday rate"  # noqa: PT017
        return
    assert f.expected_fpr(count=1000) <= fpr * (1 + 1e-9)


@every_growing
def test_expected_fpr_grows_with_the_keys(name: str) -> None:
    """The law starts at 0, never falls, ends at 1 or below, and refuses what is no count."""
    f = GROWING[name](1000)
    law = [f.expected_fpr(count=n) for n in (0, 1, 10, 100, 500, 1000)]
    assert law[0] == 0
    assert law == sorted(law)
    assert 0 < law[-1] <= 1
    with pytest.raises(ValueError, match="count"):
        f.expected_fpr(count=-1)
    with pytest.raises(TypeError, match="count"):
        f.expected_fpr(count="many")


# ---------------------------------------------------------------------------------------------------
# Merging


@every_mergeable
def test_merge_equals_adding_everything_to_one(name: str) -> None:
    """Merging in place returns None, is bit for bit the filter of all keys, and spares the other."""
    keys = random_keys(6, scaled(1000, 200))
    half = len(keys) // 2
    cls = MERGEABLE[name]
    one, two, both = cls(len(keys), seed=4), cls(len(keys), seed=4), cls(len(keys), seed=4)
    one.add_many(keys[: half + 50])
    two.add_many(keys[half:])
    both.add_many(np.concatenate([keys[: half + 50], keys[half:]]))
    untouched = two.to_bytes()
    assert one.merge(two) is None
    assert one == both
    assert two.to_bytes() == untouched


@every_mergeable
def test_merge_with_nothing_and_with_itself(name: str) -> None:
    """Merging an empty filter, or a filter with itself, changes no answer."""
    keys = random_keys(7, 200)
    f = MERGEABLE[name].build(keys)
    before = f.to_bytes()
    f.merge(MERGEABLE[name](200))
    assert f.to_bytes() == before
    f.merge(f)
    assert f.contains_many(keys).all()


@every_mergeable
def test_merge_of_unlike_filters(name: str) -> None:
    """Another size, rate, seed or kind is a ValueError that says what differs, and nothing changes."""
    cls = MERGEABLE[name]
    f = cls.build(random_keys(8, 500), fpr=0.01)
    before = f.to_bytes()
    others = [cls(50_000), cls(500, fpr=0.01, seed=1), *(c(500) for n, c in GROWING.items() if n != name)]
    if name != "CuckooFilter":
        others.append(cls(500, fpr=0.0001))
    for other in others:
        with pytest.raises(ValueError, match="merge"):
            f.merge(other)
    for wrong in (None, 5, b"", [1]):
        with pytest.raises((TypeError, ValueError)):
            f.merge(wrong)
    assert f.to_bytes() == before


@pytest.mark.parametrize("name", STATIC)
def test_static_kinds_take_no_keys(name: str) -> None:
    """A static filter has no way to add, remove or merge."""
    f = STATIC[name].build([1])
    assert not [
        m for m in ("add", "add_many", "add_hashes", "merge", "remove", "remove_many") if hasattr(f, m)
    ]


# ---------------------------------------------------------------------------------------------------
# How often they err: measured against what they say of themselves, and that against the law

SEEDS = 40
KEYS_PER_SEED, QUERIES_PER_SEED = 3000, 60_000


@pytest.mark.statistical
@every_filter
@pytest.mark.parametrize("workload", WORKLOADS)
def test_measured_fpr_is_the_expected_one(name: str, workload: str) -> None:
    """Over 40 seeds per key pattern, the false positives are as many as ``expected_fpr()`` says.

    Given the bits set, each stranger is a false positive independently with that probability, so their
    sum is Poisson-binomial, and no wider than the binomial of the mean rate: its exact quantiles bound it.
    """
    hits, rates = 0, []
    for seed in range(SEEDS):
        keys = WORKLOADS[workload](seed, KEYS_PER_SEED + QUERIES_PER_SEED)
        f = FILTERS[name].build(keys[:KEYS_PER_SEED], seed=seed)
        hits += int(f.contains_many(keys[KEYS_PER_SEED:]).sum())
        rates.append(f.expected_fpr())
    low, high = oracles.binomial_bounds(float(np.mean(rates)), SEEDS * QUERIES_PER_SEED)
    assert low <= hits <= high


@pytest.mark.statistical
@every_growing
@pytest.mark.parametrize("fill", [0.25, 0.5, 1.0, 2.0])
def test_exact_rate_follows_the_law(name: str, fill: float) -> None:
    """Over 100 seeds the rate given the bits set has the law's value as its mean (Student's interval).

    The closed forms take the number of set bits, or the load of a block, as its expectation or Poisson;
    that is off by O(1/blocks) relative, which is allowed for beside the interval.
    """
    if name == "CuckooFilter" and fill > 1:
        return
    n = 2000
    rates = []
    for seed in range(100):
        f = GROWING[name](n, seed=seed)
        f.add_many(random_keys(seed, round(n * fill)))
        rates.append(f.expected_fpr())
    law = f.expected_fpr(count=round(n * fill))
    low, high = oracles.student(rates)
    bias = law * 20 / (8 * f.nbytes / 256)
    assert low - bias <= law <= high + bias


# ---------------------------------------------------------------------------------------------------
# Bloom


def bloom_bits(hashes: list[int], bits: int, count: int) -> bytes:
    """Set the bits that the class documents: multiples of a step on a circle of 2^64, scaled to the array."""
    array = bytearray(bits // 8)
    for h in hashes:
        step = oracles.rotl64(h, 32) | 1
        for i in range(count):
            at = (((h + i * step) & oracles.M64) * bits) >> 64
            array[at >> 3] |= 1 << (at & 7)
    return bytes(array)


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 31, 33, scaled(1000, 100)])
@pytest.mark.parametrize(("fpr", "seed"), [(0.01, 0), (0.3, 2**64 - 1), (1e-6, 77)])
def test_bloom_bits_are_the_naive_ones(n: int, fpr: float, seed: int) -> None:
    """The state is, bit for bit, that of a Bloom filter in plain Python over a twin of XXH3."""
    keys = random_keys(n, n)
    f = BloomFilter(n, fpr=fpr, seed=seed)
    f.add_many(keys)
    hashes = [oracles.xxh3_64(oracles.key_bytes(k), seed) for k in keys.tolist()]
    assert payload(f) == bloom_bits(hashes, 8 * f.nbytes, f.hash_count)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40), st.sampled_from([1.0, 3.0, 10.0, 64.0]))
def test_bloom_bits_of_any_hashes(hashes: list[int], bits_per_key: float) -> None:
    """Any ready hashes, the ends of the circle included, set and find the documented bits."""
    f = BloomFilter(len(hashes), bits_per_key=bits_per_key)
    f.add_hashes(np.array(hashes, np.uint64))
    assert payload(f) == bloom_bits(hashes, 8 * f.nbytes, f.hash_count)
    assert f.contains_hashes(np.array(hashes, np.uint64)).all()


@pytest.mark.parametrize("h", [0, 2**64 - 1, 2**63, 2**32 - 1, 2**32, 1])
def test_bloom_at_the_ends_of_the_circle(h: int) -> None:
    """Extreme hashes find their bits inside the array, whatever its size."""
    for capacity in (1, 6, 7, 1000):
        f = BloomFilter(capacity)
        f.add_hashes(np.array([h], np.uint64))
        assert payload(f) == bloom_bits([h], 8 * f.nbytes, f.hash_count)


@pytest.mark.parametrize("n", [0, 1, 100, 1000, 5000])
def test_bloom_law(n: int) -> None:
    """``expected_fpr(count)`` is Bloom's (1 - e^(-kn/m))^k."""
    f = BloomFilter(1000, fpr=0.003)
    assert f.expected_fpr(count=n) == pytest.approx(
        oracles.bloom_fpr(8 * f.nbytes, f.hash_count, n), rel=1e-12
    )


def test_bloom_exact_rate_is_the_share_of_set_bits() -> None:
    """``expected_fpr()`` is the share of set bits to the power k."""
    f = BloomFilter.build(random_keys(1, 500))
    share = sum(byte.bit_count() for byte in payload(f)) / (8 * f.nbytes)
    assert f.expected_fpr() == pytest.approx(share**f.hash_count, rel=1e-12)


def test_bloom_merge_looks_at_the_size_too() -> None:
    """Filters alike in capacity, hashes and seed but not in bits are not merged."""
    large, small = BloomFilter(6, bits_per_key=10.8), BloomFilter(6, bits_per_key=10)
    assert (large.hash_count, large.nbytes, small.hash_count, small.nbytes) == (7, 16, 7, 8)
    small.add(1)
    with pytest.raises(ValueError, match="merge"):
        large.merge(small)
    assert large == BloomFilter(6, bits_per_key=10.8)


@pytest.mark.statistical
@pytest.mark.parametrize(("capacity", "fpr"), [(100, 0.01), (1000, 1e-4), (3000, 1e-5)])
def test_bloom_rate_holds_in_small_filters(capacity: int, fpr: float) -> None:
    """Where double hashing is at its weakest, small arrays and many bits, the rate is still the one stated.

    False positives over 100 seeds against the exact binomial quantiles at the mean of ``expected_fpr()``.
    """
    hits, rates, queries = 0, [], 200_000
    strangers = rng(9).integers(0, 2**64, queries, dtype=np.uint64)
    for seed in range(100):
        f = BloomFilter(capacity, fpr=fpr)
        f.add_hashes(rng(seed).integers(0, 2**64, capacity, dtype=np.uint64))
        hits += int(f.contains_hashes(strangers).sum())
        rates.append(f.expected_fpr())
    low, high = oracles.binomial_bounds(float(np.mean(rates)), 100 * queries)
    assert low <= hits <= high


# ---------------------------------------------------------------------------------------------------
# Split block


@pytest.mark.parametrize("n", [1, 2, 95, 96, 97, 191, 192, 193, scaled(2000, 200)])
@pytest.mark.parametrize(("bits_per_key", "seed"), [(10, 0), (3, 2**64 - 1), (40, 77)])
def test_split_block_bits_are_the_naive_ones(n: int, bits_per_key: float, seed: int) -> None:
    """The state is, bit for bit, the Parquet format's over a twin of XXH3, at any number of blocks."""
    keys = random_keys(n, n)
    f = SplitBlockBloomFilter(n, bits_per_key=bits_per_key, seed=seed)
    f.add_many(keys)
    hashes = [oracles.xxh3_64(oracles.key_bytes(k), seed) for k in keys.tolist()]
    assert payload(f) == oracles.split_block_bytes(hashes, f.nbytes // 32)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40), st.integers(1, 1000))
def test_split_block_bits_of_any_hashes(hashes: list[int], capacity: int) -> None:
    """Any ready hashes, the last block's and the first one's included, set and find the format's bits."""
    f = SplitBlockBloomFilter(capacity)
    array = np.array(hashes, np.uint64)
    f.add_hashes(array)
    assert payload(f) == oracles.split_block_bytes(hashes, f.nbytes // 32)
    assert f.contains_hashes(array).all()


@pytest.mark.parametrize("n", [1, 95, 96, 97, 191, 192, 193, 287, 288, 289, scaled(20_000, 400)])
def test_split_block_answers_are_the_naive_ones(n: int) -> None:
    """True and false answers alike are those of the format, for integer and text batches of any size."""
    keys = random_keys(1, 60)
    strangers = random_keys(2, n)
    f = SplitBlockBloomFilter(60, bits_per_key=4)
    f.add_many(keys)
    words = oracles.split_block_words(
        [oracles.xxh3_64(oracles.key_bytes(k)) for k in keys.tolist()], f.nbytes // 32
    )
    want = []
    for h in hash64(strangers).tolist():
        one = oracles.split_block_words([h], len(words))
        want.append(
            all(b & ~a == 0 for x, y in zip(words, one, strict=True) for a, b in zip(x, y, strict=True))
        )
    assert f.contains_many(strangers).tolist() == want
    assert f.contains_many(strangers.tolist()).tolist() == want
    assert f.contains_hashes(hash64(strangers)).tolist() == want
    assert f.contains_many(np.repeat(strangers, 2)[::2]).tolist() == want


@pytest.mark.parametrize("n", [1, 10, 100, 1000, 5000])
def test_split_block_law(n: int) -> None:
    """``expected_fpr(count)`` is the Poisson sum over a block's load (both sums drop tails below 1e-12)."""
    f = SplitBlockBloomFilter(1000)
    assert f.expected_fpr(count=n) == pytest.approx(oracles.split_block_fpr(f.nbytes // 32, n), rel=1e-9)


@pytest.mark.parametrize(("bits", "percent"), [(8, 3.32), (10, 1.265), (12, 0.542), (16, 0.132), (20, 0.042)])
def test_split_block_law_at_published_sizes(bits: int, percent: float) -> None:
    """The law gives the rates published for 8 to 20 bits per key, to the digits printed."""
    f = SplitBlockBloomFilter(10**6, bits_per_key=bits)
    assert 100 * f.expected_fpr(count=10**6) == pytest.approx(percent, abs=0.0006 if bits < 20 else 0.00006)


def test_split_block_exact_rate() -> None:
    """``expected_fpr()`` is the mean over blocks of the product of their lanes' shares of set bits."""
    f = SplitBlockBloomFilter.build(random_keys(1, 300))
    lanes = np.bitwise_count(np.frombuffer(payload(f), "<u4").reshape(-1, 8)) / 32
    assert f.expected_fpr() == pytest.approx(float(lanes.prod(axis=1).mean()), rel=1e-12)


@pytest.mark.parametrize("blocks", [1, 2, 3, 5, 31, 32, 33])
def test_split_block_uses_every_block(blocks: int) -> None:
    """The lowest and the highest hash of each block land in it, and all blocks are used."""
    f = SplitBlockBloomFilter(blocks, bits_per_key=256)
    assert f.nbytes == 32 * blocks
    ends = [-(-(b << 32) // blocks) << 32 for b in range(blocks)]
    lows = np.array(ends, np.uint64)
    highs = np.array([(e - 1) % 2**64 for e in ends], np.uint64)
    f.add_hashes(lows)
    f.add_hashes(highs)
    hashes = [*lows.tolist(), *highs.tolist()]
    assert payload(f) == oracles.split_block_bytes(hashes, blocks)
    assert (np.frombuffer(payload(f), "<u4").reshape(-1, 8) != 0).all()
