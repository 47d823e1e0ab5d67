"""Filters built once from all keys, beside the 3-wise fuse: xor, 4-wise fuse, ribbon."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import oracles
import pytest
from helpers import payload, random_keys, rng, scaled, take_apart
from hypothesis import given
from hypothesis import strategies as st

from algos.errors import HotpathError
from algos.filters import BinaryFuseFilter, RibbonFilter, XorFilter, _fingerprints, binary_fuse, ribbon
from algos.hashing import hash64

BITS = pytest.mark.parametrize("bits", [8, 16])
SMALL_SIZES = [*range(20), 95, 96, 97, 128, 193, scaled(3000, 200)]


def parameter(f: Any, name: str) -> Any:
    return take_apart(f.to_bytes())[0]["parameters"][name]


# ---------------------------------------------------------------------------------------------------
# Xor


def c_xor(f: XorFilter) -> Any:
    """Hand our state to the C library, and return its own lookup."""
    module = pytest.importorskip("pyfusefilter._xorfilter", reason="pyfusefilter holds the reference")
    ffi, lib = module.ffi, module.lib
    held = ffi.from_buffer(f"uint{f.bits}_t[]", payload(f), require_writable=False)
    state = ffi.new(f"xor{f.bits}_t *")
    state.seed, state.blockLength = parameter(f, "xor_seed"), len(held) // 3
    state.fingerprints = ffi.cast(f"uint{f.bits}_t *", held)
    contain = getattr(lib, f"xor{f.bits}_contain")
    return lambda hashes, _keep=held: [contain(h, state) for h in hashes.tolist()]


@BITS
@pytest.mark.parametrize("n", [1, 2, 95, 96, 97, scaled(20_000, 300)])
def test_the_c_library_reads_our_xor_filter(bits: int, n: int) -> None:
    """Members and strangers alike get from the C library, over our bytes, the answer they get from us."""
    f = XorFilter.build_hashes(random_keys(n, n), bits=bits)
    lookup = c_xor(f)
    for hashes in (random_keys(n, n), random_keys(7, scaled(20_000, 300))):
        assert lookup(hashes) == f.contains_hashes(hashes).tolist()


@BITS
@pytest.mark.parametrize("n", [0, 1, 2, 3, 1000])
def test_xor_sizes(bits: int, n: int) -> None:
    """Three thirds of 1.23 n + 32 fingerprints."""
    f = XorFilter.build(random_keys(1, n), bits=bits)
    assert f.nbytes == 3 * (math.floor(32 + 1.23 * n) // 3) * bits // 8
    assert f.expected_fpr() == (2.0**-bits if n else 0.0)


# ---------------------------------------------------------------------------------------------------
# 4-wise fuse


def holds4(f: BinaryFuseFilter, h: int) -> bool:
    """Answer by the documented rule."""
    segment, span = binary_fuse._geometry(len(f), 4)
    h = oracles.fmix64((h + parameter(f, "fuse_seed")) & oracles.M64)
    start, low = (h * segment * span) >> 64, segment - 1
    where = [start, *((start + i * segment) ^ (h >> (18 * (3 - i)) & low) for i in (1, 2, 3))]
    array = np.frombuffer(payload(f), f"<u{f.bits // 8}")
    own = (h ^ h >> 32) & ((1 << f.bits) - 1)
    return int(np.bitwise_xor.reduce(array[where])) == own


@BITS
@pytest.mark.parametrize("n", SMALL_SIZES[1:])
def test_4_wise_answers_are_the_naive_ones(bits: int, n: int) -> None:
    """True and false answers alike follow from the fingerprints."""
    keys, strangers = random_keys(n, n), random_keys(7, scaled(2000, 100))
    f = BinaryFuseFilter.build(keys, bits=bits, arity=4, seed=9)
    for batch in (keys, strangers):
        want = [holds4(f, h) for h in hash64(batch, seed=9).tolist()]
        assert f.contains_many(batch).tolist() == want
    assert f.contains_many(keys).all()


@pytest.mark.parametrize("n", [0, 1, 2, *range(11_480, 11_522, scaled(3, 41)), scaled(300_000, 2000)])
def test_4_wise_builds_at_any_size(n: int) -> None:
    """No number of keys is out of luck, and large filters are smaller than 3-wise ones."""
    keys = random_keys(n, n)
    four, three = (BinaryFuseFilter.build(keys, arity=arity) for arity in (4, 3))
    assert four.contains_many(keys).all()
    if n >= 300_000:
        assert four.nbytes < 0.97 * three.nbytes


@pytest.mark.parametrize("arity", [0, 2, 5, "3", None, True, 3.0])
def test_arity_is_three_or_four(arity: Any) -> None:
    """Anything else is refused with what there is."""
    with pytest.raises(ValueError, match="arity"):
        BinaryFuseFilter.build([1], arity=arity)


# ---------------------------------------------------------------------------------------------------
# Ribbon


def ribbon_holds(f: RibbonFilter, h: int) -> bool:
    """Answer by the documented rule: in every column, the rows that a key chooses XOR to nothing."""
    words = [int(w) for w in np.frombuffer(payload(f), "<u8")]
    blocks = len(words) // f.bits
    starts = 64 * (blocks - 1) - 63
    h = oracles.fmix64((h + (f._attempt + 1) * 0x9E3779B97F4A7C15) & oracles.M64)
    start = (h * starts) >> 64
    rows = oracles.fmix64(h * 0xC28F82822B650BED & oracles.M64) | 1
    for j in range(f.bits):
        column = [words[b * f.bits + j] for b in range(start // 64, min(start // 64 + 2, blocks))]
        window = sum(word << (64 * i) for i, word in enumerate(column)) >> (start % 64)
        if (window & rows).bit_count() & 1:
            return False
    return True


@pytest.mark.parametrize("bits", [1, 2, 7, 8, 15, 32])
@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, scaled(2000, 100)])
def test_ribbon_answers_are_the_naive_ones(bits: int, n: int) -> None:
    """True and false answers alike follow from the equations."""
    keys, strangers = random_keys(n, n), random_keys(7, scaled(300, 50))
    f = RibbonFilter.build(keys, bits=bits, seed=9)
    for batch in (keys[:200], strangers):
        assert f.contains_many(batch).tolist() == [ribbon_holds(f, h) for h in hash64(batch, seed=9).tolist()]
    assert f.contains_many(keys).all()


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(1, 32))
def test_ribbon_of_any_hashes(hashes: list[int], bits: int) -> None:
    """Any ready hashes are found."""
    array = np.array(hashes, np.uint64)
    assert RibbonFilter.build_hashes(array, bits=bits).contains_hashes(array).all()


@pytest.mark.parametrize("n", [0, 1, 2, *range(11_480, 11_522, scaled(3, 41))])
def test_ribbon_builds_at_any_size(n: int) -> None:
    keys = random_keys(n, n)
    assert RibbonFilter.build(keys).contains_many(keys).all()


@pytest.mark.statistical
@pytest.mark.parametrize(("bits", "n", "seeds"), [(7, 8000, 600), (7, 100_000, 60), (4, 2000, 300)])
def test_no_ribbon_is_crowded(bits: int, n: int, seeds: int) -> None:
    """Not only the mean over many filters keeps the rate, but each: one in 300 would else be far above it."""
    queries, attempts = 20_000, set()
    for seed in range(seeds):
        f = RibbonFilter.build_hashes(rng(seed).integers(0, 2**64, n, dtype=np.uint64), bits=bits)
        strangers = rng(seed, 1).integers(0, 2**64, queries, dtype=np.uint64)
        assert f.expected_fpr() <= 2.0**-bits * (1 + ribbon.CROWDED_FEW)
        low, high = oracles.binomial_bounds(f.expected_fpr(), queries)
        assert low <= f.contains_hashes(strangers).sum() <= high
        attempts.add(f._attempt)
    assert attempts > {0} or n < 8000  # a crowded band was met, and left


def null_dimension(rows: list[int], above: int) -> int:
    """Count by elimination the independent sums of ``rows`` that have no bit from ``above`` on."""
    basis: dict[int, int] = {}
    for row in rows:
        rest = row >> above
        while rest and rest.bit_length() in basis:
            rest ^= basis[rest.bit_length()]
        if rest:
            basis[rest.bit_length()] = rest
    return len(rows) - len(basis)


@pytest.mark.parametrize("keys", [0, 1, 20, 60, 100, 128, 200, 1000])
def test_crowded_share_is_that_of_linear_algebra(keys: int) -> None:
    """What follows from 128 rows, holding no equation or all, by Gaussian elimination over big ints."""
    band, starts = np.zeros(128, np.uint64), np.uint64(65)
    ribbon._band(np.sort(rng(keys).integers(0, 2**64, keys, dtype=np.uint64)), starts, band)
    rows = {at: int(word) << at for at, word in enumerate(band) if word}
    share = 0.0
    for start in range(65):
        from_it, below = (
            null_dimension([row for at, row in rows.items() if at >= first], start + 64)
            for first in (start, start + 1)
        )
        share += (2**from_it - 2**below) / 2**63 / 65
    assert ribbon._crowded(band, starts) == pytest.approx(share, rel=1e-12)


def test_a_ribbon_of_a_later_attempt_is_the_same_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds its keys, alone and in a batch, and its bytes make it again."""
    answers = iter([1.0, 1.0, 0.0])
    monkeypatch.setattr(ribbon, "_crowded", lambda *_: next(answers))
    keys = random_keys(3, 500)
    f = RibbonFilter.build(keys)
    assert f._attempt == 2
    assert f.contains_many(keys).all()
    assert all(key in f for key in keys.tolist())
    again = RibbonFilter.from_bytes(f.to_bytes())
    strangers = random_keys(4, 5000)
    assert again == f
    assert (again.contains_many(strangers) == f.contains_many(strangers)).all()
    assert f.contains_many(strangers).tolist() == [key in f for key in strangers.tolist()]


@pytest.mark.parametrize("bits", [1, 7, 16])
def test_ribbon_space(bits: int) -> None:
    f = RibbonFilter.build(random_keys(1, scaled(100_000, 20_000)), bits=bits)
    assert f.bits_per_key <= bits * (1 + (4 + bits / 4) / 64) * 1.01


@pytest.mark.statistical
@pytest.mark.parametrize("n", [300_000, 1_000_000, 4_000_000])
def test_a_ribbon_takes_a_tenth_over_the_least_space(n: int) -> None:
    """At 1 %: over the log2 of the exact rate that it has, not of the one it was planned for."""
    for seed in range(6):
        f = RibbonFilter.build_hashes(rng(seed).integers(0, 2**64, n, dtype=np.uint64), fpr=0.01)
        assert f.bits_per_key <= -1.101 * math.log2(f.expected_fpr())


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("make", "law", "above"),
    [
        *((lambda h, b=b: XorFilter.build_hashes(h, bits=b), 2.0**-b, 0.0) for b in (8, 16)),
        *((lambda h, b=b: BinaryFuseFilter.build_hashes(h, bits=b, arity=4), 2.0**-b, 0.0) for b in (8, 16)),
        *((lambda h, b=b: RibbonFilter.build_hashes(h, bits=b), 2.0**-b, 0.01) for b in (1, 4, 7, 12)),
    ],
)
def test_rate(make: Any, law: float, above: float) -> None:
    """Over 100 seeds strangers are found as often as the law says (exact binomial quantiles).

    A homogeneous ribbon errs a little more, as it says itself.
    """
    hits, laws, queries = 0, [], 100_000
    for seed in range(100):
        f = make(rng(seed).integers(0, 2**64, 2000, dtype=np.uint64))
        hits += int(f.contains_hashes(rng(seed, 1).integers(0, 2**64, queries, dtype=np.uint64)).sum())
        laws.append(f.expected_fpr())
    assert law <= np.mean(laws) <= law * (1 + above)
    low, high = oracles.binomial_bounds(float(np.mean(laws)), 100 * queries)
    assert low <= hits <= high


# ---------------------------------------------------------------------------------------------------
# All of them


@pytest.mark.parametrize("cls", [XorFilter, RibbonFilter])
def test_made_by_build_only(cls: Any) -> None:
    """Calling the class makes no half-made filter: it is a TypeError that names ``build``."""
    for arguments in ((), (100,), ([1, 2],)):
        with pytest.raises(TypeError, match="build"):
            cls(*arguments)


@pytest.mark.parametrize("cls", [XorFilter, RibbonFilter, BinaryFuseFilter])
@pytest.mark.parametrize("copies", [2, 3, 300])
def test_of_duplicates(cls: Any, copies: int) -> None:
    """Repeated keys are one key."""
    keys = random_keys(copies, 50)
    repeated = rng(copies).permutation(np.repeat(keys, copies))
    f = cls.build_hashes(repeated)
    assert f == cls.build_hashes(np.sort(keys))
    assert len(f) == 50


@pytest.mark.parametrize("module", [_fingerprints, ribbon])
def test_too_many_keys_or_attempts(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """More keys than one filter can hold, and an xor filter that finds no seed, say what to do."""
    cls = {_fingerprints: XorFilter, ribbon: RibbonFilter}[module]
    monkeypatch.setattr(module, "MAX_KEYS", 2)
    with pytest.raises(ValueError, match="several"):
        cls.build_hashes(random_keys(1, 3))
    if module is _fingerprints:
        monkeypatch.setattr(module, "MAX_ATTEMPTS", 0)
        with pytest.raises(HotpathError, match="seed"):
            cls.build_hashes(random_keys(1, 2))
