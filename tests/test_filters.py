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
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from algos import _threads, catalog
from algos.errors import CapacityError, CorruptDataError, HotpathError
from algos.filters import (
    BinaryFuseFilter,
    BloomFilter,
    CuckooFilter,
    SplitBlockBloomFilter,
    _fingerprints,
    binary_fuse,
)
from algos.hashing import hash64

if TYPE_CHECKING:
    from collections.abc import Callable

VARIANTS = catalog.variants("filters")
FILTERS = {v.name: v.load() for v in VARIANTS}
GROWING = {v.name: FILTERS[v.name] for v in VARIANTS if "static" not in v.properties}
MERGEABLE = {v.name: FILTERS[v.name] for v in VARIANTS if "mergeable" in v.properties}
STATIC = {v.name: FILTERS[v.name] for v in VARIANTS if "static" in v.properties}

FINGERPRINTS = {"CuckooFilter", "QuotientFilter", *STATIC}

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
    assert planned == 1000 or (name == "QuotientFilter" and planned == int(0.95 * 2**11))
    assert f.bits_per_key == pytest.approx(8 * f.nbytes / planned, rel=1e-12)
    derived = f._offsets.nbytes if name == "QuotientFilter" else 0
    assert 0 < len(f.to_bytes()) - f.nbytes + derived < 1000
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


@every_filter
@pytest.mark.parametrize("n", [0, 1, 256, 257, scaled(20_001, 600)])
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_no_answer(name: str, n: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any number of threads gives the answers, and the bits, of one, for words, text and dictionaries."""
    monkeypatch.setattr(_threads, "LEAST", 256)
    ints = random_keys(1, n)
    text = pa.array([f"key {k % 5000}" for k in ints.tolist()])
    holed = pa.array([None if i % 7 == 3 else int(k) for i, k in enumerate(ints.tolist())], pa.uint64())
    for keys in (ints, text, text.dictionary_encode(), holed):
        f = FILTERS[name].build(keys)
        want = f.contains_many(keys)
        assert (f.contains_many(keys, threads=threads) == want).all()
        if name in GROWING:
            one, many = GROWING[name](4 * n + 10), GROWING[name](4 * n + 10)
            distinct = ints if keys is ints or keys is holed else text.unique()
            one.add_many(distinct)
            many.add_many(distinct, threads=threads)
            assert one == many


@every_filter
def test_bad_threads(name: str) -> None:
    """There is at least one thread, and its number is an int."""
    f = FILTERS[name].build([1])
    for bad, error in (
        (0, ValueError),
        (-1, ValueError),
        (1.5, TypeError),
        ("2", TypeError),
        (True, TypeError),
    ):
        with pytest.raises(error, match="threads"):
            f.contains_many([1], threads=bad)
        if name in GROWING:
            with pytest.raises(error, match="threads"):
                f.add_many([2], threads=bad)


# ---------------------------------------------------------------------------------------------------
# Growing


@every_growing
def test_one_by_one_equals_batch(name: str) -> None:
    """Adding one by one, in one batch or in pieces gives the same bits."""
    keys = random_keys(5, scaled(1000, 200)).tolist()
    cls = GROWING[name]
    batch, single, pieces = cls(len(keys)), cls(len(keys)), cls(len(keys))
    batch.add_many(keys)
    for key in keys:
        single.add(key)
    for i in range(0, len(keys), 77):
        pieces.add_many(keys[i : i + 77])
    assert batch == single == pieces
    assert cls.build(keys).contains_many(keys).all()
    if name != "CuckooFilter":  # where a fingerprint lies depends on those that came before
        assert batch == cls.build(keys)


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
    distinct = random_keys(n, n - n * 3 // 10)
    keys = rng(n).permutation(np.concatenate([distinct, distinct[: n - len(distinct)]]))
    batch, twin = GROWING[name](2 * n + 1, seed=3), GROWING[name](2 * n + 1, seed=3)
    new = batch.add_many(keys, return_new=True)
    want = []
    for key in keys:
        want.append(key not in twin)
        twin.add(key)
    assert new.dtype == np.bool_
    assert new.tolist() == want
    assert batch.contains_many(keys).all()
    assert not batch.add_many(keys[:10], return_new=True).any()


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
    if name == "ScalableBloomFilter":  # its layers have a rate each, and no other measure
        return
    other = "bits" if name in FINGERPRINTS else "bits_per_key"
    with pytest.raises(ValueError, match=rf"fpr and {other}|{other} and fpr"):
        FILTERS[name].build([1], fpr=0.01, **{other: 8})
    for bad in (0, -8, math.nan, math.inf, 10**9):
        with pytest.raises((ValueError, TypeError), match=other):
            FILTERS[name].build([1], **{other: bad})
    for wrong in ("8", True, [8]):
        with pytest.raises((ValueError, TypeError), match=other):
            FILTERS[name].build([1], **{other: wrong})


@every_growing
@pytest.mark.parametrize("fpr", [0.5, 0.1, 0.03, 0.01, 0.001, 1e-4, 1e-6, 1e-9, 1e-300, 0.999])
def test_asked_fpr_is_kept_by_the_law_or_refused(name: str, fpr: float) -> None:
    """At capacity the law promises the rate asked for, or the class says it cannot."""
    try:
        f = GROWING[name](1000, fpr=fpr)
    except ValueError:
        assert fpr <= 1e-4, "an everyday rate"
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
# Past 2^32 bits (lazily zeroed memory: only what is touched is ever there)

ENDS = [0, 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 2**32, 2**64 - 2, 2**64 - 1]

huge_memory = pytest.mark.skipif(SMALL, reason="sizes do not depend on the interpreter")


@huge_memory
def test_bloom_past_32_bits() -> None:
    """In an array of 2^33 bits, positions above 2^32 are set and found where the rule puts them."""
    f = BloomFilter(2**29, bits_per_key=16)
    assert 8 * f.nbytes == 2**33
    f.add_hashes(np.array(ENDS, np.uint64))
    assert f.contains_hashes(np.array(ENDS, np.uint64)).all()
    assert not f.contains_hashes(random_keys(1, 10_000)).any()
    positions = {p for h in ENDS for p in oracles.bloom_positions(h, 2**33, f.hash_count)}
    assert max(positions) > 2**32
    assert all(int(f._words[p >> 6]) >> (p & 63) & 1 for p in positions)


@huge_memory
def test_split_block_past_32_bits() -> None:
    """Among 2^25 blocks, those at the very end are set and found where the format puts them."""
    f = SplitBlockBloomFilter(2**29, bits_per_key=16)
    assert 8 * f.nbytes == 2**33
    f.add_hashes(np.array(ENDS, np.uint64))
    assert f.contains_hashes(np.array(ENDS, np.uint64)).all()
    assert not f.contains_hashes(random_keys(1, 10_000)).any()
    for h in ENDS:
        at = (h >> 32) * 2**25 >> 32
        shares = [k for k in ENDS if (k >> 32) * 2**25 >> 32 == at]
        want = np.bitwise_or.reduce([oracles.split_block_words([k], 1)[0] for k in shares])
        assert f._words[8 * at : 8 * at + 8].tolist() == want.tolist()


@huge_memory
def test_cuckoo_past_32_bits() -> None:
    """In a table of more than 2^32 bits, keys at its ends are added, found and removed."""
    f = CuckooFilter(2**29, bits=8)
    assert 8 * f.nbytes > 2**32
    hashes = np.array(ENDS, np.uint64)
    f.add_hashes(hashes)
    assert f.contains_hashes(hashes).all()
    assert not f.contains_hashes(random_keys(1, 10_000)).any()
    assert f.remove_hashes(hashes).all()
    assert len(f) == 0


@pytest.mark.parametrize("cls", [BloomFilter, SplitBlockBloomFilter, CuckooFilter])
def test_size_beyond_all_bounds(cls: Any) -> None:
    """More than a structure can address, or a machine allocate, is an error and no crash."""
    with pytest.raises((ValueError, MemoryError)):
        cls(2**40, **({"bits": 16} if cls is CuckooFilter else {"bits_per_key": 256}))


# ---------------------------------------------------------------------------------------------------
# Merging


@every_mergeable
def test_merge_equals_adding_everything_to_one(name: str) -> None:
    """Merging in place returns None, equals the filter of all keys, and leaves the other as it was."""
    keys = random_keys(6, scaled(1000, 200))
    half = len(keys) // 2
    cls = MERGEABLE[name]
    one, two, both = (cls(2 * len(keys), seed=4) for _ in range(3))
    one.add_many(keys[: half + 50])
    two.add_many(keys[half:])
    both.add_many(np.concatenate([keys[: half + 50], keys[half:]]))
    untouched = two.to_bytes()
    assert one.merge(two) is None
    assert two.to_bytes() == untouched
    assert one.contains_many(keys).all()
    if name == "CuckooFilter":  # not bit for bit, but as a multiset of fingerprints
        assert len(one) == len(both)
        assert fingerprints(one) == fingerprints(both)
    else:
        assert one == both


@every_mergeable
def test_merge_with_nothing_and_with_itself(name: str) -> None:
    """Merging an empty filter, or a filter with itself, changes no answer."""
    keys = random_keys(7, 200)
    f = MERGEABLE[name](1000)
    f.add_many(keys)
    before = f.to_bytes()
    f.merge(MERGEABLE[name](1000))
    assert f.to_bytes() == before
    f.merge(f)
    assert f.contains_many(keys).all()
    assert MERGEABLE[name].from_bytes(f.to_bytes()).expected_fpr() == f.expected_fpr()


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


@every_mergeable
def test_merge_does_not_trust_a_forged_size(name: str) -> None:
    """Bytes of valid checksum that claim one capacity and hold another number of bits do not merge."""
    f = MERGEABLE[name].build(random_keys(1, 2000))
    header, bits = take_apart(f.to_bytes())
    step = 32 if name == "SplitBlockBloomFilter" else 24
    for other in (bits[: len(bits) // 2 // step * step], bits[:step], bits + bits):
        try:
            forged = MERGEABLE[name].from_bytes(put_together(header, other))
        except CorruptDataError:
            continue
        for one, two in ((f, forged), (forged, f)):
            before = one.to_bytes()
            with pytest.raises(ValueError, match="merge"):
                one.merge(two)
            assert one.to_bytes() == before


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
@pytest.mark.parametrize("cls", [BloomFilter, SplitBlockBloomFilter])
@pytest.mark.parametrize("fill", [0.25, 0.5, 1.0, 2.0])
def test_exact_rate_follows_the_law(cls: Any, fill: float) -> None:
    """Over 100 seeds the rate given the bits set has its expectation as its mean (Student's interval).

    For Bloom's that is the law itself. A block's load is binomial, of which the law's Poisson is the
    limit: here, with 80 blocks, the binomial sum is the one to hold.
    """
    n, rates = round(2000 * fill), []
    for seed in range(100):
        f = cls(2000, seed=seed)
        f.add_many(random_keys(seed, n))
        rates.append(f.expected_fpr())
    low, high = oracles.student(rates)
    exact = f.expected_fpr(count=n) if cls is BloomFilter else oracles.split_block_mean(f.nbytes // 32, n)
    assert low <= exact <= high


# ---------------------------------------------------------------------------------------------------
# Bloom


def bloom_bits(hashes: list[int], bits: int, count: int) -> bytes:
    """Set the bits of all keys in an array, bit 0 of a byte first."""
    array = bytearray(bits // 8)
    for h in hashes:
        for at in oracles.bloom_positions(h, bits, count):
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
@pytest.mark.parametrize(
    ("capacity", "fpr"), [(100, 0.01), (100, 1e-4), (1000, 1e-4), (3000, 1e-5), (1000, 1e-6)]
)
def test_bloom_rate_holds_in_small_filters(capacity: int, fpr: float) -> None:
    """Where double hashing is at its weakest, small arrays and many bits, the rate is still the one stated.

    False positives over 100 seeds against the exact binomial quantiles at the mean of ``expected_fpr()``.
    """
    hits, rates, queries = 0, [], 200_000
    for seed in range(100):
        f = BloomFilter(capacity, fpr=fpr)
        f.add_hashes(rng(seed).integers(0, 2**64, capacity, dtype=np.uint64))
        hits += int(f.contains_hashes(rng(seed, 1).integers(0, 2**64, queries, dtype=np.uint64)).sum())
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


@pytest.mark.parametrize(
    ("bits", "percent"), [(8, "3.32"), (10, "1.265"), (12, "0.542"), (16, "0.132"), (20, "0.042")]
)
def test_split_block_law_at_published_sizes(bits: int, percent: str) -> None:
    """The law gives the rates published for 8 to 20 bits per key, to the digits printed."""
    f = SplitBlockBloomFilter(10**6, bits_per_key=bits)
    digits = len(percent.partition(".")[2])
    assert f"{100 * f.expected_fpr(count=10**6):.{digits}f}" == percent


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


# ---------------------------------------------------------------------------------------------------
# Cuckoo


def buckets(f: CuckooFilter) -> list[list[int]]:
    """Read the documented state: buckets of four slots of ``bits`` bits, lowest first."""
    packed, stride = payload(f), f.bits // 2
    words = (int.from_bytes(packed[i : i + stride], "little") for i in range(0, len(packed), stride))
    return [[(word >> (f.bits * s)) & ((1 << f.bits) - 1) for s in range(4)] for word in words]


def mirror(bucket: int, fingerprint: int, count: int) -> int:
    """Return the other bucket of a fingerprint."""
    scattered = ((fingerprint * 0x9E3779B97F4A7C15) & oracles.M64) >> 32
    return (((scattered * count) >> 32) - bucket) % count


def fingerprints(f: CuckooFilter) -> Counter[tuple[int, int, int]]:
    """Return the filter as the multiset of fingerprints with their two buckets, wherever they lie."""
    found: Counter[tuple[int, int, int]] = Counter()
    table = buckets(f)
    for b, slots in enumerate(table):
        for fingerprint in slots:
            if fingerprint:
                other = mirror(b, fingerprint, len(table))
                found[min(b, other), max(b, other), fingerprint] += 1
    return found


def naive_fingerprints(hashes: list[int], f: CuckooFilter) -> Counter[tuple[int, int, int]]:
    """Return the multiset of fingerprints that these hashes have by the documented rule."""
    count, found = len(payload(f)) // (f.bits // 2), Counter()
    for h in hashes:
        fingerprint = h & ((1 << f.bits) - 1) or 1
        one = ((h >> 32) * count) >> 32
        other = mirror(one, fingerprint, count)
        found[min(one, other), max(one, other), fingerprint] += 1
    return found


CUCKOO_BITS = pytest.mark.parametrize("bits", [8, 12, 16])


@CUCKOO_BITS
@pytest.mark.parametrize("n", [1, 2, 95, 96, 97, scaled(5000, 300)])
def test_cuckoo_state_is_the_naive_multiset(bits: int, n: int) -> None:
    """Filled to capacity, the table holds exactly the documented fingerprints, each in one of its buckets."""
    keys = random_keys(n, n)
    f = CuckooFilter(n, bits=bits, seed=5)
    f.add_many(keys)
    hashes = [oracles.xxh3_64(oracles.key_bytes(k), 5) for k in keys.tolist()]
    assert fingerprints(f) == naive_fingerprints(hashes, f)
    assert len(f) == n
    assert f.remove_many(keys[::2]).all()
    assert fingerprints(f) == naive_fingerprints(hashes[1::2], f)
    assert len(f) == n // 2
    assert f.contains_many(keys[1::2]).all()


@CUCKOO_BITS
def test_cuckoo_answers_are_the_naive_ones(bits: int) -> None:
    """True and false answers alike follow from the documented fingerprints."""
    n = scaled(3000, 200)
    keys, strangers = random_keys(1, n), random_keys(2, scaled(20_000, 300))
    f = CuckooFilter.build(keys, bits=bits)
    there = naive_fingerprints(hash64(keys).tolist(), f)
    want = [bool(there.keys() & naive_fingerprints([h], f).keys()) for h in hash64(strangers).tolist()]
    assert f.contains_many(strangers).tolist() == want


@CUCKOO_BITS
@given(st.lists(st.integers(0, 2**64 - 1), max_size=60))
def test_cuckoo_state_of_any_hashes(bits: int, hashes: list[int]) -> None:
    """Any ready hashes, those with a zero fingerprint included, are stored, found and removed."""
    f = CuckooFilter(100, bits=bits)
    distinct = np.array(sorted(set(hashes)), np.uint64)
    f.add_hashes(distinct)
    assert fingerprints(f) == naive_fingerprints(distinct.tolist(), f)
    assert f.contains_hashes(distinct).all()
    assert f.remove_hashes(distinct).all()
    assert not any(payload(f))
    assert len(f) == 0


@CUCKOO_BITS
@pytest.mark.parametrize("capacity", [1, 2, 3, 4, 5, 7, 10, 20, 50, 100, 1000, *(() if SMALL else (30_000,))])
def test_cuckoo_holds_its_capacity(bits: int, capacity: int) -> None:
    """As many distinct random keys as planned for always fit, over many seeds."""
    for seed in range(scaled(200, 5) if capacity <= 1000 else 5):
        keys = random_keys(seed, capacity)
        f = CuckooFilter(capacity, bits=bits, seed=seed)
        f.add_many(keys)
        assert len(f) == capacity
        assert f.contains_many(keys).all()


@CUCKOO_BITS
def test_cuckoo_full_loses_nothing(bits: int) -> None:
    """At ``CapacityError`` every key acknowledged is there, the failed one left no trace; life goes on."""
    keys = random_keys(4, scaled(5000, 400))
    f = CuckooFilter(len(keys) // 2, bits=bits)
    with pytest.raises(CapacityError, match="slots"):
        f.add_many(keys)
    n = len(f)
    assert n >= len(keys) // 2
    assert fingerprints(f) == naive_fingerprints(hash64(keys[:n]).tolist(), f)
    assert f.contains_many(keys[:n]).all()
    before = f.to_bytes()
    with pytest.raises(CapacityError):
        f.add(keys[n])
    assert f.to_bytes() == before
    assert f.remove_many(keys[:50]).all()
    f.add_many(keys[:40])
    assert f.contains_many(np.concatenate([keys[:40], keys[50:n]])).all()


@CUCKOO_BITS
def test_cuckoo_full_while_reporting_new(bits: int) -> None:
    """With ``return_new`` too, a full filter keeps what it had, and the count of keys is right."""
    keys = random_keys(5, scaled(5000, 400))
    f = CuckooFilter(len(keys) // 2, bits=bits)
    with pytest.raises(CapacityError):
        f.add_many(keys, return_new=True)
    assert len(f) == sum(fingerprints(f).values())
    assert f.contains_many(keys[: len(f)]).all()


def test_cuckoo_same_key_eight_times() -> None:
    """One key fits as often as its two buckets have slots, is counted, and has to be removed as often."""
    f = CuckooFilter(100)
    with pytest.raises(CapacityError):
        f.add_many([7] * 9)
    fits = len(f)
    assert fits in {4, 8}  # 4 where the key's two buckets are one
    assert f.remove_many([7] * 9).tolist() == [True] * fits + [False] * (9 - fits)
    assert 7 not in f
    assert len(f) == 0


def test_cuckoo_merge_that_does_not_fit() -> None:
    """A merge that finds no place raises, and this filter is as it was."""
    one, two = CuckooFilter(300), CuckooFilter(300)
    one.add_many(random_keys(1, 300))
    two.add_many(random_keys(2, 300))
    before = one.to_bytes()
    with pytest.raises(CapacityError):
        one.merge(two)
    assert one.to_bytes() == before
    assert len(one) == 300


def test_cuckoo_merge_with_itself_counts_right() -> None:
    """Merged with itself, a filter holds each key twice, no more and no less."""
    keys = random_keys(3, 100)
    f = CuckooFilter(300)
    f.add_many(keys)
    once = fingerprints(f)
    f.merge(f)
    assert len(f) == sum(fingerprints(f).values()) == 200
    assert fingerprints(f) == once + once


@CUCKOO_BITS
@pytest.mark.parametrize("how", ["build", "add_many", "return_new"])
def test_cuckoo_removal_never_hurts_another_key(bits: int, how: str) -> None:
    """Of keys added, some are removed again: all others are still found, equal fingerprints or not."""
    keys = random_keys(6, scaled(20_000, 600))
    if how == "build":
        f = CuckooFilter.build(keys, bits=bits)
    else:
        f = CuckooFilter(len(keys), bits=bits)
        f.add_many(keys, return_new=how == "return_new")
    assert f.remove_many(keys[::2]).all()
    assert f.contains_many(keys[1::2]).all()


def test_cuckoo_nulls() -> None:
    """Nulls are not added and not removed."""
    f = CuckooFilter(10)
    f.add_many([None, 1])
    assert len(f) == 1
    assert f.remove(None) is False
    assert f.remove_many([None, 1, None]).tolist() == [False, True, False]
    assert f.remove(1) is False


@pytest.mark.parametrize("load", [0, 1, 50, 100])
@CUCKOO_BITS
def test_cuckoo_law(bits: int, load: int) -> None:
    """``expected_fpr(count)`` is the law of two buckets of four slots at that load."""
    f = CuckooFilter(100, bits=bits)
    slots = 8 * len(payload(f)) // bits
    assert f.expected_fpr(count=load) == pytest.approx(oracles.cuckoo_fpr(bits, load / slots), rel=1e-9)


def test_cuckoo_sizes() -> None:
    """The rate asked for takes the smallest fingerprint that keeps it, and what none keeps is refused."""
    assert [CuckooFilter(10, fpr=p).bits for p in (0.5, 0.04, 0.01, 0.002, 0.0002)] == [8, 8, 12, 12, 16]
    with pytest.raises(ValueError, match="fpr"):
        CuckooFilter(10, fpr=1e-6)
    for bits in (0, 4, 7, 9, 32, -8, 10**30, 8.5):
        with pytest.raises((ValueError, TypeError), match="bits"):
            CuckooFilter(10, bits=bits)


@pytest.mark.parametrize("kind", [np.int64, np.uint8])
def test_bits_may_be_a_numpy_integer(kind: type) -> None:
    """A NumPy integer is as good a fingerprint size as an int, and is serialised as one."""
    assert CuckooFilter.from_bytes(CuckooFilter(10, bits=kind(8)).to_bytes()) == CuckooFilter(10, bits=8)
    fuse = BinaryFuseFilter.build([1, 2], bits=kind(8))
    assert BinaryFuseFilter.from_bytes(fuse.to_bytes()) == BinaryFuseFilter.build([1, 2], bits=8)


class CuckooMachine(RuleBasedStateMachine):
    """Adds, removes, copies and asks at random, beside a multiset of the keys."""

    keys = st.integers(0, 60)
    batches = st.lists(keys, max_size=12)

    @initialize(bits=st.sampled_from([8, 12, 16]), seed=st.integers(0, 3))
    def start(self, bits: int, seed: int) -> None:
        self.filter = CuckooFilter(120, bits=bits, seed=seed)
        self.model: Counter[int] = Counter()

    @rule(key=keys)
    def add(self, key: int) -> None:
        try:
            self.filter.add(key)
        except CapacityError:
            assert self.model[key] >= 4 or self.model.total() >= 120
        else:
            self.model[key] += 1

    @rule(batch=batches)
    def add_many(self, batch: list[int]) -> None:
        before = len(self.filter)
        try:
            self.filter.add_many(batch)
        except CapacityError:
            batch = batch[: len(self.filter) - before]
        self.model.update(batch)

    @rule(key=keys)
    def remove(self, key: int) -> None:
        if self.model[key]:  # removing a stranger may hurt a member: the class says so
            assert self.filter.remove(key) is True
            self.model[key] -= 1

    @rule(batch=batches)
    def remove_many(self, batch: list[int]) -> None:
        mine = list((Counter(batch) & self.model).elements())
        assert self.filter.remove_many(mine).all()
        self.model.subtract(mine)

    @rule()
    def store_and_load(self) -> None:
        self.filter = CuckooFilter.from_bytes(self.filter.to_bytes())

    @invariant()
    def holds_its_keys(self) -> None:
        if hasattr(self, "model"):
            present = sorted(+self.model)
            assert self.filter.contains_many(present).all()
            assert len(self.filter) == self.model.total()
            assert fingerprints(self.filter).total() == self.model.total()


TestCuckooMachine = CuckooMachine.TestCase


# ---------------------------------------------------------------------------------------------------
# Binary fuse


def c_library() -> Any:
    """Return the C library behind pyfusefilter, or skip."""
    module = pytest.importorskip(
        "pyfusefilter._xorfilter", reason="pyfusefilter is the reference of the fuse bytes"
    )
    return module.lib, module.ffi


def c_fuse(keys: Any, bits: int) -> tuple[int, int, int, bytes]:
    """Build with the C library; return seed, segment length, segment count, fingerprints."""
    lib, ffi = c_library()
    keys, f = keys.copy(), ffi.new(f"binary_fuse{bits}_t *")
    assert getattr(lib, f"binary_fuse{bits}_allocate")(len(keys), f)
    try:
        assert getattr(lib, f"binary_fuse{bits}_populate")(ffi.from_buffer("uint64_t[]", keys), len(keys), f)
        return (
            f.Seed,
            f.SegmentLength,
            f.SegmentCount,
            bytes(ffi.buffer(f.Fingerprints, f.ArrayLength * bits // 8)),
        )
    finally:
        getattr(lib, f"binary_fuse{bits}_free")(f)


def fuse_seed(f: BinaryFuseFilter) -> int:
    """Return the seed that the construction settled on."""
    return take_apart(f.to_bytes())[0]["parameters"]["fuse_seed"]


FUSE_BITS = pytest.mark.parametrize("bits", [8, 16])
FUSE_ROWS = [row for row in vectors("binary_fuse")["rows"] if row["n"] <= scaled(10**6, 1000)]


@pytest.mark.parametrize("row", FUSE_ROWS, ids=lambda r: f"{r['bits']}-bits-{r['n']}")
def test_fuse_golden(row: dict[str, Any]) -> None:
    """Over a published key stream, seed, sizes and fingerprints are those of the C library."""
    f = BinaryFuseFilter.build_hashes(splitmix_stream(row["n"]), bits=row["bits"])
    assert fuse_seed(f) == int(row["seed"])
    assert 8 * f.nbytes == row["array_length"] * row["bits"]
    assert f"{oracles_xxh64(payload(f)):016x}" == row["fingerprints_xxh64"]


def oracles_xxh64(data: bytes) -> int:
    """Hash bytes with XXH64, by the library's own (tested) kernel: the twin takes too long here."""
    return hash64(data, "xxh64")


def test_fuse_geometry_equals_the_c_library() -> None:
    """Segment length and count are the C library's, for numbers of keys all the way up to three million."""
    lib, ffi = c_library()
    n = 2
    while n < 3_000_000:
        f = ffi.new("binary_fuse8_t *")
        assert lib.binary_fuse8_allocate(n, f)
        want = f.SegmentLength, f.SegmentCount
        lib.binary_fuse8_free(f)
        layout = oracles.fuse_layout(n)
        assert (layout["segment_length"], layout["segment_count"]) == want, n
        assert binary_fuse._geometry(n, 3) == want, n
        n += 1 + n // 100


@FUSE_BITS
@pytest.mark.parametrize("block", range(4))
def test_fuse_equals_the_c_library_for_few_keys(bits: int, block: int) -> None:
    """For every small number of keys the bytes are those of the C library."""
    for n in range(2 + block * 50, 52 + block * 50, scaled(1, 10)):
        keys = random_keys(1000 + n, n)
        f = BinaryFuseFilter.build_hashes(keys, bits=bits)
        seed, segment, count, bits_wanted = c_fuse(keys, bits)
        assert (fuse_seed(f), payload(f)) == (seed, bits_wanted), n
        layout = oracles.fuse_layout(n)
        assert (segment, count) == (layout["segment_length"], layout["segment_count"])


@FUSE_BITS
@pytest.mark.parametrize(
    "n", [1000] if SMALL else [1000, *range(11_480, 11_522, 3), 11_521, 100_000, 1_000_000]
)
def test_fuse_equals_the_c_library(bits: int, n: int) -> None:
    """Byte for byte the C library, where few long segments once made construction fail, and at scale."""
    keys = random_keys(n, n)
    f = BinaryFuseFilter.build_hashes(keys, bits=bits)
    seed, _, _, want = c_fuse(keys, bits)
    assert fuse_seed(f) == seed
    assert payload(f) == want


@FUSE_BITS
@pytest.mark.parametrize("n", [1, 2, 3, 95, 96, 97, scaled(5000, 300)])
def test_fuse_answers_are_the_naive_ones(bits: int, n: int) -> None:
    """True and false answers alike are those of the paper's probe over the fingerprints."""
    keys, strangers = random_keys(n, n), random_keys(7, scaled(5000, 300))
    f = BinaryFuseFilter.build(keys, bits=bits, seed=9)
    layout = oracles.fuse_layout(n)
    array = np.frombuffer(payload(f), f"<u{bits // 8}").tolist()
    assert len(array) == layout["array_length"]
    for batch in (keys, strangers):
        hashes = hash64(batch, seed=9).tolist()
        want = [oracles.fuse_holds(h, fuse_seed(f), layout, array, bits) for h in hashes]
        assert f.contains_many(batch).tolist() == want


@FUSE_BITS
def test_fuse_of_none_and_one(bits: int) -> None:
    """A fuse of no key holds nothing; of one key, that key."""
    none, one = BinaryFuseFilter.build([], bits=bits), BinaryFuseFilter.build(["x"], bits=bits)
    assert len(none) == 0
    assert len(BinaryFuseFilter.build([None, None])) == 0
    assert not none.contains_many(random_keys(1, 1000)).any()
    assert "x" in one
    assert len(one) == 1
    for f in (none, one):
        assert BinaryFuseFilter.from_bytes(f.to_bytes()) == f


@FUSE_BITS
@pytest.mark.parametrize("copies", [2, 3, 64, 65, 300])
def test_fuse_of_duplicates(bits: int, copies: int) -> None:
    """Repeated keys are one key: the filter is the one of the distinct keys, and ``len`` counts those."""
    keys = random_keys(copies, 50)
    repeated = rng(copies).permutation(np.repeat(keys, copies))
    f = BinaryFuseFilter.build_hashes(repeated, bits=bits)
    assert f == BinaryFuseFilter.build_hashes(np.sort(keys), bits=bits)
    assert len(f) == 50
    assert f.contains_hashes(keys).all()
    assert len(BinaryFuseFilter.build([7] * copies)) == 1
    assert len(BinaryFuseFilter.build([7, None] * copies)) == 1


def test_fuse_of_one_repeated_pair_among_many() -> None:
    """A single duplicate among many keys is found out, and everything is still there."""
    keys = random_keys(8, scaled(50_000, 1000))
    keys[-1] = keys[0]
    f = BinaryFuseFilter.build_hashes(keys)
    assert len(f) == len(keys) - 1
    assert f.contains_hashes(keys).all()


@pytest.mark.parametrize("n", [1, 2, 100])
def test_fuse_of_a_key_that_hashes_to_zero(n: int) -> None:
    """The key whose inner hash is 0, which construction takes for an empty place, is not lost."""
    first_seed = oracles.splitmix64(0x726B2B9D438B9D4D)
    keys = np.concatenate([np.array([2**64 - first_seed], np.uint64), random_keys(9, n)])
    for order in (keys, keys[::-1], np.roll(keys, n // 2)):
        f = BinaryFuseFilter.build_hashes(order)
        assert fuse_seed(f) == first_seed
        assert f.contains_hashes(keys).all()


def test_fuse_of_keys_in_one_place() -> None:
    """Keys crafted to share their first position under the first seed are built under another."""
    inverse = {0xFF51AFD7ED558CCD: 0x4F74430C22A54005, 0xC4CEB9FE1A85EC53: 0x9CB4B2F8129337DB}
    assert all(a * b % 2**64 == 1 for a, b in inverse.items())

    def unmix(h: int) -> int:
        h ^= h >> 33
        h = (h * 0x9CB4B2F8129337DB) % 2**64
        h ^= h >> 33
        h = (h * 0x4F74430C22A54005) % 2**64
        return h ^ (h >> 33)

    assert oracles.fmix64(unmix(12345)) == 12345
    first_seed = oracles.splitmix64(0x726B2B9D438B9D4D)
    crafted = [(unmix(i << 8) - first_seed) % 2**64 for i in range(1, 200)]
    keys = np.array(crafted, np.uint64)
    f = BinaryFuseFilter.build_hashes(keys)
    assert fuse_seed(f) != first_seed
    assert f.contains_hashes(keys).all()


def test_fuse_that_cannot_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no attempt succeeds, or there are too many keys for one fuse, the error says what to do."""
    monkeypatch.setattr(_fingerprints, "MAX_ATTEMPTS", 0)
    with pytest.raises(HotpathError, match="seed"):
        BinaryFuseFilter.build_hashes(random_keys(1, 3))
    monkeypatch.setattr(_fingerprints, "MAX_KEYS", 2)
    with pytest.raises(ValueError, match="several"):
        BinaryFuseFilter.build_hashes(random_keys(1, 3))


def test_fuse_sizes() -> None:
    """The rate asked for takes the smaller fingerprint that keeps it; the law is 2^-bits."""
    assert [BinaryFuseFilter.build([1], fpr=p).bits for p in (0.5, 0.01, 1 / 256, 0.003, 2e-5)] == [
        8,
        8,
        8,
        16,
        16,
    ]
    assert BinaryFuseFilter.build([1], bits=8).expected_fpr() == 2**-8
    assert BinaryFuseFilter.build([1], bits=16).expected_fpr() == 2**-16
    with pytest.raises(ValueError, match="fpr"):
        BinaryFuseFilter.build([1], fpr=1e-6)
    for bits in (0, 4, 9, 12, 32, -8, 10**30, 8.5):
        with pytest.raises((ValueError, TypeError), match="bits"):
            BinaryFuseFilter.build([1], bits=bits)


def test_fuse_is_made_by_build_only() -> None:
    """Calling the class makes no half-made filter: it is a TypeError that names ``build``."""
    for arguments in ((), (100,), ([1, 2],)):
        with pytest.raises(TypeError, match="build"):
            BinaryFuseFilter(*arguments)


@pytest.mark.statistical
@FUSE_BITS
def test_fuse_rate(bits: int) -> None:
    """Over 100 seeds strangers are found as often as the law says (exact binomial quantiles)."""
    queries = 100_000
    hits = 0
    for seed in range(100):
        f = BinaryFuseFilter.build_hashes(rng(seed).integers(0, 2**64, 2000, dtype=np.uint64), bits=bits)
        hits += int(f.contains_hashes(rng(seed, 1).integers(0, 2**64, queries, dtype=np.uint64)).sum())
    low, high = oracles.binomial_bounds(2.0**-bits, 100 * queries)
    assert low <= hits <= high


@pytest.mark.statistical
@CUCKOO_BITS
def test_cuckoo_rate(bits: int) -> None:
    """Over 100 seeds strangers are found as often as the law says (exact binomial quantiles).

    The rate differs between filters of one load only by keys that share a fingerprint and buckets: that
    many are Poisson and rarer than the binomial's own spread by orders of magnitude.
    """
    queries = 100_000
    hits, rates = 0, []
    for seed in range(100):
        f = CuckooFilter(2000, bits=bits)
        f.add_hashes(rng(seed).integers(0, 2**64, 2000, dtype=np.uint64))
        hits += int(f.contains_hashes(rng(seed, 1).integers(0, 2**64, queries, dtype=np.uint64)).sum())
        rates.append(f.expected_fpr())
    low, high = oracles.binomial_bounds(float(np.mean(rates)), 100 * queries)
    assert low <= hits <= high
