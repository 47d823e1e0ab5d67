"""Signatures: others' values bit for bit, naive twins, the laws of their errors, and what is no signature."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import datasketch
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from helpers import SMALL, put_together, random_keys, rng, scaled, take_apart
from hypothesis import given
from hypothesis import strategies as st

from algos.errors import CorruptDataError
from algos.hashing import hash64
from algos.similarity import MinHash, OnePermutationMinHash, SimHash

M32, M64 = (1 << 32) - 1, (1 << 64) - 1
MAKERS: dict[str, Any] = {
    "affine32": lambda seed=0: MinHash(40, seed=seed),
    "affine64": lambda seed=0: MinHash(20, seed=seed, scheme="affine64"),
    "datasketch": lambda seed=0: MinHash(24, seed=seed, scheme="datasketch"),
    "legacy": lambda seed=0: MinHash(10, seed=seed, scheme="datasketch-legacy"),
    "optimal": lambda seed=0: OnePermutationMinHash(50, seed=seed),
    "fast": lambda seed=0: OnePermutationMinHash(50, seed=seed, densification="fast"),
    "simhash": lambda seed=0: SimHash(64, seed=seed),
    "simhash128": lambda seed=0: SimHash(128, seed=seed),
}
TEXT_ONLY = {"datasketch", "legacy"}
every = pytest.mark.parametrize("name", MAKERS)
every_keyed = pytest.mark.parametrize("name", [name for name in MAKERS if name not in TEXT_ONLY])
minima = pytest.mark.parametrize("name", [name for name in MAKERS if not name.startswith("simhash")])


def splitmix(x: int, seed: int = 0) -> int:
    """Hash a word as Java's SplittableRandom would."""
    z = x + seed + 0x9E3779B97F4A7C15 & M64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & M64
    z = (z ^ z >> 27) * 0x94D049BB133111EB & M64
    return z ^ z >> 31


def factors(seed: int, k: int, bits: int) -> list[tuple[int, int]]:
    """Return a and b of each place: words of SplitMix64's stream, b anew for each lane of a vector."""
    words = [splitmix(i * 0x9E3779B97F4A7C15, seed) >> 64 - bits for i in range(2 * max(k, 64))]
    return [(words[2 * i] | 1, words[2 * (i % (512 // bits)) + 1]) for i in range(k)]


def naive_minhash(hashes: Any, seed: int, k: int, bits: int) -> list[int]:
    """Take the least of ``a (h + b)`` for each place."""
    mask = (1 << bits) - 1
    return [min((a * (int(h) + b) & mask for h in hashes), default=mask) for a, b in factors(seed, k, bits)]


def naive_bins(hashes: Any, k: int) -> list[int]:
    """Take the least lower half of the hashes in each bin."""
    bins = [M32] * k
    for h in map(int, hashes):
        at = (h >> 32) * k >> 32
        bins[at] = min(bins[at], h & M32, M32 - 1)
    return bins


def naive_optimal(hashes: Any, seed: int, k: int) -> list[int]:
    """Borrow from a bin that is drawn, else from the MinHash of the labels of bins with a value."""
    bins = naive_bins(hashes, k)
    words = [splitmix(j, seed) for j in range(k)]
    labels = {(w & 0xFFFF0000) | j: j for j, w in enumerate(words) if bins[j] != M32}
    if not labels:
        return bins
    size = -(-k // 32) * 32
    out = []
    for j, (a, b) in enumerate(factors(seed, size, 32)[:k]):
        drawn = bins[(words[j] >> 32) * k >> 32]
        first = labels[min(labels, key=lambda label, a=a, b=b: a * (label + b) & M32)]  # type: ignore[misc]
        out.append(bins[j] if bins[j] != M32 else drawn if drawn != M32 else bins[first])
    return out


def naive_fast(hashes: Any, seed: int, k: int) -> list[int]:
    """Let bins with a value offer it in rounds."""
    bins = naive_bins(hashes, k)
    lenders, attempt = [j for j in range(k) if bins[j] != M32], 0
    while lenders and M32 in bins:
        for j in lenders:
            at = (splitmix(j * 0x9E3779B97F4A7C15 + attempt & M64, seed) >> 32) * k >> 32
            if bins[at] == M32:
                bins[at] = bins[j]
        attempt += 1
    return bins


def naive_simhash(hashes: Any, words: int) -> list[int]:
    """Take the majority of each bit; ties go to the least hash."""
    out = []
    for word in range(words):
        own = [int(h) if word == 0 else splitmix(int(h), word) for h in hashes]
        least = int(min(hashes, default=0))
        tie = (least if word == 0 else splitmix(least, word)) if own else 0
        votes = [2 * sum(h >> bit & 1 for h in own) - len(own) for bit in range(64)]
        out.append(sum((v > 0 or (v == 0 and tie >> bit & 1)) << bit for bit, v in enumerate(votes)))
    return out


def naive(name: str, hashes: Any, seed: int) -> list[int]:
    """Make the signature of hashes by the documented rules alone."""
    if name == "affine32":
        return naive_minhash(hashes, seed, 40, 32)
    if name == "affine64":
        return naive_minhash(hashes, seed, 20, 64)
    if name == "optimal":
        return naive_optimal(hashes, seed, 50)
    if name == "fast":
        return naive_fast(hashes, seed, 50)
    return naive_simhash(hashes, 2 if name == "simhash128" else 1)


# ---------------------------------------------------------------------------------------------------
# Values


def test_golden_values_of_datasketch() -> None:
    """The values that datasketch 2.0 makes by default, and those of before."""
    m = MinHash(8, seed=1, scheme="datasketch")
    m.add("hello")
    assert m.signature.tolist() == [
        *(1255611051, 658569228, 3002214148, 3032158293),
        *(1637026616, 3956840771, 1081391673, 2291910744),
    ]
    m.add(b"world")
    assert m.signature.tolist() == [
        *(1255611051, 658569228, 453856259, 3032158293),
        *(1637026616, 1348343608, 1081391673, 2120294805),
    ]
    old = MinHash(8, seed=1, scheme="datasketch-legacy")
    old.add_many(["hello", "world"])
    assert old.signature.tolist() == [
        *(228630785, 216833891, 617530111, 2362600675),
        *(447328345, 363650365, 2093099563, 1696610957),
    ]
    by_hash = MinHash(8, seed=1, scheme="datasketch")
    by_hash.add_hashes(np.array([499578026], np.uint64))  # the first 32 bits of SHA-1 of "hello"
    assert by_hash.signature[0] == 1255611051


@pytest.mark.parametrize(("ours", "theirs"), [("datasketch", "affine32"), ("datasketch-legacy", "legacy")])
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_values_are_those_of_the_package(ours: str, theirs: Any, seed: int) -> None:
    """Sets of any size have datasketch's signatures, estimates and merged sketches."""
    tokens = [f"token {i}" for i in range(scaled(300, 30))]
    m = MinHash(70, seed=seed, scheme=ours)
    peers = [datasketch.MinHash(70, seed=seed, scheme=theirs) for _ in range(3)]
    rows = [tokens[:10], tokens[5:], []]
    for peer, row in zip(peers, rows, strict=True):
        peer.update_batch([token.encode() for token in row])
    signatures = m.signatures(rows)
    assert (signatures == np.array([peer.hashvalues for peer in peers])).all()
    assert m.jaccard(signatures[0], signatures[1]) == peers[0].jaccard(peers[1])
    other = MinHash(70, seed=seed, scheme=ours)
    m.add_many(rows[0])
    other.add_many(rows[1])
    m.merge(other)
    peers[0].merge(peers[1])
    assert (m.signature == peers[0].hashvalues).all()


STABLE = {
    "affine32": [[74929142, 764990276, 276558597]],
    "affine64": [[1254950979863976356, 6514920533562790942, 3697517017006622921]],
    "optimal": [[2871951785, 1306368316, 1507978491, 2138030659, 2871951785]],
    "fast": [[1507978491, 1306368316, 1507978491, 2138030659, 2871951785]],
    "simhash": [[8100799309339789625, 3185846194619041022]],
}


def test_values_never_change() -> None:
    """Signatures are stored by their users: these are those of every version."""
    rows = [["to", "be", "or", "not"]]
    assert MinHash(3).signatures(rows).tolist() == STABLE["affine32"]
    assert MinHash(3, seed=9, scheme="affine64").signatures(rows).tolist() == STABLE["affine64"]
    assert OnePermutationMinHash(5).signatures(rows).tolist() == STABLE["optimal"]
    assert OnePermutationMinHash(5, densification="fast").signatures(rows).tolist() == STABLE["fast"]
    assert SimHash(128).signatures(rows).tolist() == STABLE["simhash"]


@every_keyed
@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
def test_signatures_are_the_naive_ones(name: str, seed: int) -> None:
    """Rows of all lengths, at once or alone, have the signatures of the documented rules."""
    lengths = [0, 1, 2, 5, 0, 33, scaled(254, 40), scaled(255, 41), scaled(600, 42), 0]
    hashes = random_keys(3, sum(lengths))
    starts = np.concatenate(([0], np.cumsum(lengths)))
    m = MAKERS[name](seed)
    found = m.signatures_of_hashes(hashes, starts)
    for i, signature in enumerate(found):
        row = hashes[starts[i] : starts[i + 1]]
        assert signature.tolist() == naive(name, row, seed)
        alone = MAKERS[name](seed)
        alone.add_hashes(row)
        assert (alone.signature == signature).all()


@every_keyed
@given(st.lists(st.integers(0, M64), max_size=40), st.integers(0, M64))
def test_any_hashes(name: str, hashes: list[int], seed: int) -> None:
    """Any hashes, the ends of the range included, have the naive signature in any order."""
    array = np.array(hashes, np.uint64)
    m = MAKERS[name](seed)
    signature = m.signatures_of_hashes(array, [0, len(array)])[0]
    assert signature.tolist() == naive(name, hashes, seed)
    assert (m.signatures_of_hashes(array[::-1], [0, len(array)])[0] == signature).all()


@pytest.mark.parametrize("h", [0, 1, M32, M64, 1 << 63, (1 << 64) - (1 << 32)])
@every_keyed
def test_extreme_hashes(name: str, h: int) -> None:
    """Hashes at the ends, many times, are counted as they are."""
    hashes = np.full(scaled(700, 30), h, np.uint64)
    assert MAKERS[name]().signatures_of_hashes(hashes, [0, len(hashes)])[0].tolist() == naive(name, hashes, 0)


@pytest.mark.parametrize("k", [1, 2, 15, 16, 31, 32, 33, 64, 100, 127, 128, 129, 160, 256, scaled(1000, 200)])
def test_any_number_of_places(k: int) -> None:
    """No number of permutations or bins is special, and fewer permutations are the first of more."""
    hashes = random_keys(k, 20)
    for bits, scheme in ((32, "affine32"), (64, "affine64")):
        m = MinHash(k, scheme=scheme)
        found = m.signatures_of_hashes(hashes, [0, 13, 20])
        assert found.shape == (2, k)
        assert found.flags.c_contiguous
        assert found[0].tolist() == naive_minhash(hashes[:13], 0, k, bits)
        assert found[1].tolist() == naive_minhash(hashes[13:], 0, k, bits)
    for kind, twin in (("optimal", naive_optimal), ("fast", naive_fast)):
        bins = OnePermutationMinHash(k, densification=kind)
        assert bins.signatures_of_hashes(hashes, [0, 20])[0].tolist() == twin(hashes, 0, k)


@minima
def test_the_empty_set(name: str) -> None:
    """The empty set has the greatest values, is like itself, and like no other."""
    m = MAKERS[name]()
    empty, other = m.signatures([[], ["a"]])
    assert (empty == np.iinfo(empty.dtype).max).all()
    assert (m.signature == empty).all()
    assert m.jaccard(empty, empty) == 1.0
    assert m.jaccard(empty, other) == 0.0


# ---------------------------------------------------------------------------------------------------
# Rows


ROWS = [["to", "be"], [], ["or", "not", "to", "be", "that"], ["is"], ["ünïcødé", ""]]
FLAT = [token for row in ROWS for token in row]
OFFSETS = [0, 2, 2, 7, 8, 10]
LISTS = pa.array(ROWS)
TEXT_ROWS: dict[str, Any] = {
    "lists": ROWS,
    "tuples": [tuple(row) for row in ROWS],
    "sets": [frozenset(row) if i else set(row) for i, row in enumerate(ROWS)],
    "bytes": [[token.encode() for token in row] for row in ROWS],
    "generators": ((token for token in row) for row in ROWS),
    "none": [row or None for row in ROWS],
    "nulls": [[None, *row, None] for row in ROWS],
    "arrays": [np.array(row, "U8") for row in ROWS],
    "flat": (FLAT, OFFSETS),
    "flat arrow": (pa.array(FLAT), np.array(OFFSETS, np.uint64)),
    "flat chunks": (pa.chunked_array([FLAT[:3], [], FLAT[3:]]), pa.array(OFFSETS).to_numpy()),
    "arrow": LISTS,
    "large": LISTS.cast(pa.large_list(pa.string())),
    "large strings": LISTS.cast(pa.large_list(pa.large_string())),
    "views": LISTS.cast(pa.list_(pa.string_view())),
    "dictionary": pa.ListArray.from_arrays(pa.array(OFFSETS, pa.int32()), pa.array(FLAT).dictionary_encode()),
    "sliced": pa.array([["x"], *ROWS, ["y", "z"]]).slice(1, 5),
    "chunked": pa.chunked_array([LISTS.slice(0, 2), LISTS.slice(2, 0), LISTS.slice(2)]),
    "dictionary chunks": pa.chunked_array(
        [pa.ListArray.from_arrays(pa.array(OFFSETS, pa.int32()), pa.array(FLAT).dictionary_encode())]
    ),
    "nulls in arrow": pa.array([[None, *row] if row else None for row in ROWS]),
    "garbage under a null": pa.ListArray.from_arrays(
        pa.array([0, 2, 5, 10, 11, 13], pa.int32()),
        pa.array([*FLAT[:2], "x", "y", "z", *FLAT[2:]]),
        mask=pa.array([False, True, False, False, False]),
    ),
    "polars": pl.Series(ROWS),
    "pandas": pd.Series(ROWS),
    "pandas arrow": pd.Series(LISTS, dtype=pd.ArrowDtype(LISTS.type)),
    "pandas none": pd.Series([row or None for row in ROWS]),
}
NUMBERS = [[1, -2], [], [3, 2**62, -(2**63)], [4]]
NUMBER_ROWS: dict[str, Any] = {
    "lists": NUMBERS,
    "int64": [np.array(row, np.int64) for row in NUMBERS],
    "sets": [set(row) for row in NUMBERS],
    "mixed": [NUMBERS[0], np.array([], np.int32), tuple(NUMBERS[2]), np.array([4], np.int8)],
    "ranges": [[1, -2], range(0), NUMBERS[2], range(4, 5)],
    "flat": (np.array([1, -2, 3, 2**62, -(2**63), 4]), [0, 2, 2, 5, 6]),
    "offsets within": (np.array([9, 1, -2, 3, 2**62, -(2**63), 4, 9, 9]), [1, 3, 3, 6, 7]),
    "arrow": pa.array(NUMBERS),
    "unsigned": (np.array([1, -2, 3, 2**62, -(2**63), 4]).view(np.uint64), [0, 2, 2, 5, 6]),
    "nulls": pa.array([[1, None, -2], None, [3, 2**62, -(2**63)], [4, None]]),
    "polars": pl.Series(NUMBERS),
}


@every
@pytest.mark.parametrize("form", TEXT_ROWS)
def test_rows_of_text_in_any_form(name: str, form: str) -> None:
    """One set has one signature, however it is given."""
    if form == "generators":
        rows: Any = ((token for token in row) for row in ROWS)
    else:
        rows = TEXT_ROWS[form]
    m = MAKERS[name](5)
    found = m.signatures(rows)
    assert len(found) == 5
    for row, signature in zip(ROWS, found, strict=True):
        one = MAKERS[name](5)
        one.add_many(row)
        assert (one.signature == signature).all()


@every_keyed
@pytest.mark.parametrize("form", NUMBER_ROWS)
def test_rows_of_numbers_in_any_form(name: str, form: str) -> None:
    """Integers of all widths are the same tokens."""
    m = MAKERS[name](5)
    found = m.signatures(NUMBER_ROWS[form])
    want = m.signatures_of_hashes(hash64([n for row in NUMBERS for n in row], seed=5), [0, 2, 2, 5, 6])
    assert (found == want).all()


def test_fixed_size_lists() -> None:
    """Lists of one size have no offsets, and are read as any others, sliced and with nulls."""
    fixed = pa.array([[1, 2], [3, 4], None, [5, 6]], pa.list_(pa.int64(), 2))
    m = MinHash(16)
    assert (m.signatures(fixed) == m.signatures([[1, 2], [3, 4], [], [5, 6]])).all()
    assert (m.signatures(fixed.slice(1, 2)) == m.signatures([[3, 4], []])).all()


@pytest.mark.parametrize("rows", [[], pa.array([], pa.list_(pa.string())), ([], [0]), ((), np.zeros(1, int))])
def test_no_rows(rows: Any) -> None:
    """No rows have no signatures."""
    for make in MAKERS.values():
        assert make().signatures(rows).shape[0] == 0


@every
def test_only_empty_rows(name: str) -> None:
    """Rows without a token, in all forms, are empty sets."""
    m = MAKERS[name]()
    for rows in ([[], None, ()], pa.array([[], None, []]), pa.nulls(3), ([], [0, 0, 0, 0])):
        assert (m.signatures(rows) == m.signature).all()


@every
def test_blocks_and_threads(name: str) -> None:
    """Signatures do not depend on how rows are cut into blocks and parts."""
    n = scaled(30_000, 300)
    lengths = rng(1).integers(0, 9, n)
    lengths[n // 2] = scaled(70_000, 100)  # longer than a block
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    tokens: Any = rng(2).integers(0, 1000, offsets[-1])
    if name in TEXT_ONLY:
        n = scaled(300, 20)
        tokens = pa.array(tokens[: offsets[n]].astype("U")).dictionary_encode()
        offsets = offsets[: n + 1]
    m = MAKERS[name]()
    whole = m.signatures((tokens, offsets))
    assert (m.signatures((tokens, offsets), threads=3) == whole).all()
    for i in (0, 1, n // 2, n - 1):
        alone = m.signatures((tokens, offsets[i : i + 2]))
        assert (alone[0] == whole[i]).all()
    nulls = pa.array(tokens, mask=rng(3).random(len(tokens)) < 0.2) if name not in TEXT_ONLY else tokens
    assert (m.signatures((nulls, offsets)) == m.signatures((nulls, offsets), threads=2)).all()
    if name not in TEXT_ONLY:
        hashes = hash64(tokens)
        assert (m.signatures_of_hashes(hashes, offsets, threads=3) == whole).all()


@minima
def test_repeated_tokens_change_nothing(name: str) -> None:
    """A set is a set: neither repeats nor order matter."""
    m = MAKERS[name]()
    signatures = m.signatures([["a", "b", "c"], ["c", "a", "b", "a", "a", "c"]])
    assert (signatures[0] == signatures[1]).all()


def test_repeated_tokens_weigh_more() -> None:
    """SimHash counts repeats, as weights do."""
    s = SimHash(128)
    rows = [["a", "b", "c", "c", "c"], ["a", "b", "c"]]
    assert s.hamming(*s.signatures(rows)) > 0
    weights = np.array([1.0, 1, 1, 1, 1, 1, 1, 3])
    signatures = s.signatures(rows, weights)
    assert (signatures[0] == signatures[1]).all()
    assert (signatures[0] == s.signatures(rows)[0]).all()


# ---------------------------------------------------------------------------------------------------
# One set that grows


@every
def test_scalar_and_batch_agree(name: str) -> None:
    """Tokens of all kinds, one by one or in a batch, lead to the same state."""
    kinds: list[list[Any]] = [["a", "", "ünï"], [b"a", b"\x00\xff"]]
    if name not in TEXT_ONLY:
        kinds += [[0, -1, 2**63, 2**64 - 1, 5], [1.5, -0.0, math.inf]]
    for tokens in kinds:
        one, many = MAKERS[name](3), MAKERS[name](3)
        for token in tokens:
            one.add(token)
        one.add(None)
        many.add_many(tokens)
        assert one == many
        assert (one.signature == many.signature).all()
        assert one.signature.tolist() == MAKERS[name](3).signatures([tokens])[0].tolist()


@every
def test_merged_is_added_to_one(name: str) -> None:
    """Parts that are merged, in any order, are bit for bit the whole, and so are threads."""
    tokens = [f"t{i}" for i in range(scaled(500, 40))]
    whole, parts = MAKERS[name](1), [MAKERS[name](1) for _ in range(4)]
    whole.add_many(tokens)
    for i, part in enumerate(parts):
        part.add_many(tokens[i::4])
    merged = MAKERS[name](1)
    for part in reversed(parts):
        merged.merge(pickle.loads(pickle.dumps(part)))
    assert merged == whole
    assert merged.to_bytes() == whole.to_bytes()
    assert (merged.signature == whole.signatures([tokens])[0]).all()


@every_keyed
def test_threads_add_the_same(name: str) -> None:
    """A batch added by threads is the batch."""
    tokens = np.arange(scaled(30_000, 9000))
    if SMALL and name in {"fast", "optimal"}:
        tokens = tokens[:8400]
    one, many = MAKERS[name](), MAKERS[name]()
    one.add_many(tokens)
    many.add_many(tokens, threads=2)
    assert one == many


@minima
def test_merging_is_idempotent(name: str) -> None:
    """A set united with itself, or with the empty one, is itself."""
    m = MAKERS[name]()
    m.add_many(["a", "b"])
    before = m.to_bytes()
    m.merge(copy.copy(m))
    m.merge(MAKERS[name]())
    assert m.to_bytes() == before


@every
def test_signatures_leave_the_state(name: str) -> None:
    """Signatures of rows neither read nor change what was added, and are copies."""
    m = MAKERS[name]()
    m.add("a")
    before = m.to_bytes()
    found = m.signatures([["b"]])
    m.signature[:] = 0
    found[:] = 0
    assert m.to_bytes() == before
    assert (m.signatures([["a"]])[0] == m.signature).all()


def test_iterables_are_added() -> None:
    """Generators and sets are added block by block."""
    whole, stream = MinHash(16), MinHash(16)
    whole.add_many(np.arange(scaled(20_000, 100)))
    stream.add_many(i for i in range(scaled(20_000, 100)))
    stream.add_many({1, 2, 3})
    assert whole == stream


# ---------------------------------------------------------------------------------------------------
# Comparing


def test_jaccard_shapes() -> None:
    """Two, one against many, row by row, and all against all agree."""
    m = MinHash(64)
    s = m.signatures([range(20), range(10, 30), range(0), range(20)])
    assert m.jaccard(s[0], s[3]) == 1.0
    assert isinstance(m.jaccard(s[0], s[1]), float)
    matrix = m.jaccard_matrix(s, s[1:])
    assert matrix.shape == (4, 3)
    for i in range(4):
        assert (m.jaccard(s[i], s[1:]) == matrix[i]).all()
        assert (m.jaccard(s[1:], s[i]) == matrix[i]).all()
        assert matrix[i].tolist() == [float(np.mean(s[i] == other)) for other in s[1:]]
    assert (m.jaccard(s[:3], s[1:]) == np.diag(matrix[:3])).all()
    assert m.jaccard(s[:0], s[:0]).shape == (0,)
    assert m.jaccard(s[0], s[:0]).shape == (0,)
    assert m.jaccard_matrix(s, s[:0]).shape == (4, 0)
    other = MinHash(64)
    other.add_many(range(20))
    assert m.jaccard(other, s[0]) == 1.0
    assert m.jaccard(other, s).tolist() == m.jaccard(s[0], s).tolist()


def test_comparing_what_cannot_be() -> None:
    """Signatures of another kind, size, seed or shape are refused by what they are."""
    m = MinHash(64)
    s = m.signatures([["a"], ["b"], ["c"]])
    for wrong in (s.astype(np.uint64), s.tolist(), 5, s[None]):
        with pytest.raises(TypeError, match=r"uint32\[n, 64\]"):
            m.jaccard(wrong, s)
    with pytest.raises(ValueError, match="63 values, here are 64"):
        m.jaccard(np.ascontiguousarray(s[:, :63]), s)
    with pytest.raises(ValueError, match="3 signatures and 2"):
        m.jaccard(s, s[:2])
    for other in (MinHash(64, seed=1), MinHash(65), OnePermutationMinHash(64)):
        with pytest.raises(ValueError, match="cannot merge"):
            m.jaccard(other, s)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("k", [1, 7, 64, 100, 128])
def test_packed_bits_are_the_naive_ones(bits: int, k: int) -> None:
    """Packed signatures hold so many bits of each mixed value, and are compared by these."""

    def mixed(v: int) -> int:
        v = (v ^ v >> 16) * 0x85EBCA6B & M32
        v = (v ^ v >> 13) * 0xC2B2AE35 & M32
        return (v ^ v >> 16) >> 32 - bits

    m = MinHash(k)
    s = m.signatures([range(8), range(4, 12), []])
    packed = m.pack(s, bits)
    assert packed.shape == (3, math.ceil(k * bits / 64))
    values = [[mixed(int(v)) for v in row] for row in s]
    for row, words in zip(values, packed, strict=True):
        together = sum(int(word) << 64 * i for i, word in enumerate(words))
        assert together == sum(v << bits * i for i, v in enumerate(row))
    chance = 2.0**-bits
    share = np.mean(np.array(values[0]) == np.array(values[1]))
    found = m.jaccard_packed(packed[0], packed[1], bits)
    assert found == pytest.approx((share - chance) / (1 - chance))
    assert m.jaccard_packed(packed, packed[0], bits)[0] == 1.0
    assert (m.pack(s[0], bits) == packed[0]).all()
    assert m.jaccard_packed(packed, packed, bits).tolist() == [1.0] * 3


def test_packing_what_cannot_be() -> None:
    """Bits that fill no word, and what was not packed alike, are refused."""
    m = MinHash(64)
    s = m.signatures([["a"]])
    for bits in (0, 3, 32, -1):
        with pytest.raises(ValueError, match="is not one of"):
            m.pack(s, bits)
    with pytest.raises(TypeError, match=r"uint64\[n, 2\]"):
        m.jaccard_packed(m.pack(s, 1), m.pack(s, 2), 2)
    with pytest.raises(TypeError, match="packed"):
        m.jaccard_packed(s, s, 1)


def test_hamming_and_cosine() -> None:
    """Distances are counted bits, broadcast as NumPy does."""
    s = SimHash(128)
    found = s.signatures([range(50), range(25, 75), range(50), []])
    words = [[int(w) for w in row] for row in found]
    want = [[(a[0] ^ b[0]).bit_count() + (a[1] ^ b[1]).bit_count() for b in words] for a in words]
    assert s.hamming(found[:, None], found).tolist() == want
    assert isinstance(s.hamming(found[0], found[1]), int)
    assert s.hamming(found, found[0]).tolist() == [row[0] for row in want]
    assert s.cosine(found[0], found[2]) == 1.0
    assert s.cosine(found, found[0])[1] == pytest.approx(math.cos(math.pi * want[1][0] / 128))
    assert s.cosine(found[0], ~found[0]) == -1.0
    with pytest.raises(ValueError, match="shape"):
        s.hamming(found[:, :1], found)
    with pytest.raises(TypeError, match="uint64"):
        s.hamming(found.astype(np.int64), found)


# ---------------------------------------------------------------------------------------------------
# Laws


def planted(seed: int, sizes: list[tuple[int, int, int]]) -> tuple[Any, Any]:
    """Return hashes and offsets of pairs of sets: of each pair two sizes, and how many both have."""
    parts, offsets = [], [0]
    for i, (a, b, common) in enumerate(sizes):
        h = rng(seed, i).integers(0, 2**64, a + b - common, dtype=np.uint64)
        parts += [h[:a], h[a - common :]]
        offsets += [offsets[-1] + a, offsets[-1] + a + b]
    return np.concatenate(parts), offsets


def with_jaccard(n: int, j: float) -> tuple[int, int, int]:
    """Return a pair of sets of ``n`` whose similarity is next to ``j``."""
    return n, n, min(n - 1, round(2 * n * j / (1 + j)))


PAIRS = [
    *(with_jaccard(n, j) for n in (10, 30, 100, 300, 1000, 3000) for j in (0.05, 0.2, 0.5, 0.8, 0.95)),
    *((10, 100, 9), (100, 1000, 50), (1000, 100, 80), (3000, 30, 30), (1, 1000, 1)),
]


def measured(make: Any, pairs: Any, trials: int, estimate: Any = None) -> tuple[Any, Any]:
    """Return estimates, a row for each trial of its own seed, and the true similarities."""
    found = np.empty((trials, len(pairs)))
    for seed in range(trials):
        m = make(seed)
        signatures = m.signatures_of_hashes(*planted(seed, pairs))
        a, b = np.ascontiguousarray(signatures[::2]), np.ascontiguousarray(signatures[1::2])
        found[seed] = m.jaccard(a, b) if estimate is None else estimate(m, a, b)
    return found, np.array([c / (a + b - c) for a, b, c in pairs])


def check_unbiased(found: Any, truth: Any, deviation: Any) -> None:
    """Hold each pair's mean to 4.5 standard errors: one of 10^5 sound pairs fails."""
    assert (np.abs(found.mean(axis=0) - truth) < 4.5 * deviation / math.sqrt(len(found))).all()


def check_binomial(found: Any, truth: Any, k: int, scale: float = 1.0) -> None:
    """Hold the errors of estimates to those of the share of ``k`` draws, of which ``truth`` succeed.

    The square error of a pair has a relative variance of the kurtosis, 3 + (1 - 6 p q) / (k p q), less one.
    """
    check_unbiased(found / scale, truth, np.sqrt(truth * (1 - truth) / k))
    pq = truth * (1 - truth)
    ratio = ((found / scale - truth) ** 2).mean(axis=0) / (pq / k)
    error = np.sqrt((2 + (1 - 6 * pq) / (k * pq)) / len(found))
    assert (np.abs(ratio - 1) < 4.5 * error).all()
    assert np.abs(np.sqrt(ratio[error < 0.08]) - 1).max(initial=0.0) < 0.15
    assert ratio.mean() == pytest.approx(1.0, abs=4.5 * float(np.sqrt((error**2).sum())) / len(error) + 0.02)


@pytest.mark.statistical
@pytest.mark.parametrize("scheme", ["affine32", "affine64", "datasketch"])
@pytest.mark.parametrize("k", [32, 128])
def test_minhash_keeps_its_law(scheme: str, k: int) -> None:
    """The root mean square error is sqrt(J (1 - J) / k) for all sizes and similarities, and the bias none."""
    found, truth = measured(lambda seed: MinHash(k, seed=seed, scheme=scheme), PAIRS, 400)
    check_binomial(found, truth, k)


@pytest.mark.statistical
def test_minhash_of_large_sets() -> None:
    """Sets of 10^5 keep the law."""
    pairs = [with_jaccard(100_000, j) for j in (0.1, 0.5, 0.9)]
    found, truth = measured(lambda seed: MinHash(64, seed=seed), pairs, 200)
    check_binomial(found, truth, 64)


@pytest.mark.statistical
@pytest.mark.parametrize("kind", ["optimal", "fast"])
def test_one_permutation_keeps_its_law(kind: str) -> None:
    """Unbiased; errors as MinHash's for sets above the number of bins, and up to a half more below."""
    k = 128
    found, truth = measured(lambda seed: OnePermutationMinHash(k, seed=seed, densification=kind), PAIRS, 400)
    law = np.sqrt(truth * (1 - truth) / k)
    check_unbiased(found, truth, 1.6 * law)
    ratio = np.sqrt(((found - truth) ** 2).mean(axis=0)) / law
    union = np.array([a + b - c for a, b, c in PAIRS])
    assert ratio.max() < 1.6
    assert ratio[union > k].max() < 1.15
    large = union > 8 * k
    assert np.abs(ratio[large] - 1).max() < 0.15


@pytest.mark.statistical
@pytest.mark.parametrize("bits", [1, 2, 8])
def test_packed_keeps_its_law(bits: int) -> None:
    """Of b bits, the error is that of the share that agrees, over 1 - 2^-b."""
    pairs = [p for p in PAIRS if p[0] >= 100 and p[1] >= 100]

    def estimate(m: Any, a: Any, b: Any) -> Any:
        return m.jaccard_packed(m.pack(a, bits), m.pack(b, bits), bits)

    found, truth = measured(lambda seed: MinHash(128, seed=seed), pairs, 400, estimate)
    chance = 2.0**-bits
    share = chance + (1 - chance) * truth
    check_binomial(chance + (1 - chance) * found, share, 128)


@pytest.mark.statistical
@pytest.mark.parametrize("bits", [64, 128])
def test_simhash_keeps_its_law(bits: int) -> None:
    """A bit differs with a chance of angle / pi, and bits are independent."""
    pairs = [(1000, 1000, c) for c in (0, 300, 700, 900, 990)] + [(2000, 500, 400), (401, 400, 390)]

    def estimate(m: Any, a: Any, b: Any) -> Any:
        return m.hamming(a, b)

    found, _ = measured(lambda seed: SimHash(bits, seed=seed), pairs, 400, estimate)
    p = np.array([math.acos(c / math.sqrt(a * b)) / math.pi for a, b, c in pairs])
    check_binomial(found, p, bits, bits)


@pytest.mark.statistical
def test_simhash_of_short_rows_is_fair() -> None:
    """Ties, frequent in rows of few tokens, neither join nor part what has nothing in common."""
    pairs = [(2, 2, 0), (10, 10, 0), (4, 20, 0)]
    found, _ = measured(lambda seed: SimHash(64, seed=seed), pairs, 1000, lambda m, a, b: m.hamming(a, b))
    check_unbiased(found, np.full(3, 32.0), np.full(3, 4.0))


# ---------------------------------------------------------------------------------------------------
# Stored


@every
def test_bytes_and_pickle(name: str) -> None:
    """A structure comes back equal, and grows as the original does."""
    m = MAKERS[name](11)
    m.add_many(["a", "b", "c"])
    for back in (type(m).from_bytes(m.to_bytes()), pickle.loads(pickle.dumps(m)), copy.deepcopy(m)):
        assert back == m
        assert back.seed == m.seed == 11
        assert (back.signature == m.signature).all()
        back.add("d")
        assert back != m
        assert back.nbytes == m.nbytes
    assert m != MAKERS[name](12)
    assert repr(m).startswith(f"<{type(m).__name__} ")


HOSTILE: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 64, 65, 128, 2**16, 2**16 + 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64, 10**30),
    *(None, "", "x", "affine32", "affine64", "datasketch-legacy", "fast", 1.5, True, False, [], {}, math.nan),
)


@every
def test_hostile_parameters(name: str) -> None:
    """Whatever parameters claim under a right checksum, the bytes are refused or work."""
    m = MAKERS[name](1)
    m.add_many(["a", "b"])
    header, packed = take_apart(m.to_bytes())
    for key in header["parameters"]:
        for value in HOSTILE:
            parameters = {**header["parameters"], key: value}
            believe_or_refuse(type(m), put_together({**header, "parameters": parameters}, packed))
        less = {k: v for k, v in header["parameters"].items() if k != key}
        with pytest.raises(CorruptDataError):
            type(m).from_bytes(put_together({**header, "parameters": less}, packed))
    for cut in (b"", packed[:-1], packed + b"\0", packed * 2, packed[:8]):
        with pytest.raises(CorruptDataError):
            type(m).from_bytes(put_together(header, cut))


@every
def test_hostile_payloads(name: str) -> None:
    """Any payload of the right size under a right checksum works."""
    m = MAKERS[name](1)
    header, packed = take_apart(m.to_bytes())
    draw = rng(4)
    for filler in (b"\0", b"\xff", b"\x80"):
        believe_or_refuse(type(m), put_together(header, filler * len(packed)))
    for _ in range(scaled(300, 10)):
        changed = bytearray(packed)
        for at in draw.integers(0, len(packed), draw.integers(1, 20)):
            changed[at] = draw.integers(256)
        believe_or_refuse(type(m), put_together(header, bytes(changed)))
    data = m.to_bytes()
    for n in range(0, len(data), 7):
        with pytest.raises(CorruptDataError):
            type(m).from_bytes(data[:n])


def believe_or_refuse(cls: Any, data: bytes) -> None:
    """Take bytes for what they say, or refuse them; then do everything that could go out of range."""
    try:
        m = cls.from_bytes(data)
    except CorruptDataError:
        return
    m.add_many(["a", "b"])
    m.add("c")
    m.merge(copy.copy(m))
    assert len(m.signature)
    m.signatures([["a"], []])
    if isinstance(m, SimHash):
        assert m.hamming(m.signature, m.signature) == 0
    else:
        assert m.jaccard(m, m) == 1.0
    assert cls.from_bytes(m.to_bytes()) == m


# ---------------------------------------------------------------------------------------------------
# Errors


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: MinHash(0), ValueError, r"permutations=0 is outside 1..65536"),
        (lambda: MinHash(2**17), ValueError, "outside"),
        (lambda: MinHash(1.5), TypeError, "permutations must be an int"),
        (lambda: MinHash(True), TypeError, "permutations must be an int"),
        (lambda: MinHash(seed=-1), ValueError, "seed=-1"),
        (lambda: MinHash(seed=2**64), ValueError, "seed="),
        (lambda: MinHash(seed=2**32, scheme="datasketch"), ValueError, "seed=4294967296"),
        (lambda: MinHash(scheme="murmur"), ValueError, "'murmur' is not one of affine32"),
        (lambda: OnePermutationMinHash(0), ValueError, "bins=0"),
        (lambda: OnePermutationMinHash(densification="none"), ValueError, "not one of optimal, fast"),
        (lambda: OnePermutationMinHash(seed=2**64), ValueError, "seed="),
        (lambda: SimHash(32), ValueError, "bits=32 is not one of"),
        (lambda: SimHash("64"), TypeError, "bits must be an int"),
        (lambda: MinHash(threads=1), TypeError, "threads"),
    ],
)
def test_wrong_parameters(make: Any, error: Any, match: str) -> None:
    """A parameter that cannot be is refused by its name, value and bound."""
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    ("rows", "error", "match"),
    [
        ("text", TypeError, "rows cannot be a str"),
        (b"bytes", TypeError, "rows cannot be a bytes"),
        (5, TypeError, "rows cannot be a int"),
        ({"a": 1}, TypeError, "rows cannot be a dict"),
        (["ab", "cd"], TypeError, "row 0 is a str, not a set of tokens"),
        ([["a"], 5], TypeError, "row 1 is a int"),
        ([["a"], {"b": 1}], TypeError, "row 1 is a dict"),
        ([["a", 5]], TypeError, "key 5 at position 1"),
        ([["a"], [True]], TypeError, "position 1"),
        ([[2**64]], OverflowError, "outside"),
        (([1, 2], [0, 3]), ValueError, "offsets must rise from 0 or more to 2"),
        (([1, 2], [0, 2, 1]), ValueError, "offsets must rise"),
        (([1, 2], [-1, 2]), ValueError, "offsets must rise"),
        (([1, 2], np.array([0, 2**63], np.uint64)), ValueError, "offsets must rise"),
        (([1, 2], []), TypeError, "offsets must be"),
        (([1, 2], [0.0, 1.0]), TypeError, "offsets must be"),
        (([1, 2], [True, True]), TypeError, "offsets must be"),
        (([1], [0, 1], 5), TypeError, "a tuple of rows is"),
        (pa.array(["a"]), TypeError, "no lists of tokens"),
        (pa.array([[["a"]]]), TypeError, "not supported"),
        (pd.DataFrame({"a": [1]}), TypeError, "no column of rows"),
    ],
)
def test_wrong_rows(rows: Any, error: Any, match: str) -> None:
    """What is no rows is refused by what it is."""
    with pytest.raises(error, match=match):
        MinHash(8).signatures(rows)


def test_wrong_hashes_weights_and_threads() -> None:
    """Hashes must be uint64, weights finite and one for each token, threads one or more."""
    m, s = MinHash(8), SimHash()
    for wrong in ([1, 2], np.arange(2), np.zeros((2, 2), np.uint64)):
        with pytest.raises(TypeError, match=r"uint64\[n\]"):
            m.signatures_of_hashes(wrong, [0, 2])
    with pytest.raises(ValueError, match="threads=0"):
        m.signatures([["a"]], threads=0)
    with pytest.raises(ValueError, match="1 weights for 2 tokens"):
        s.signatures([["a", "b"]], np.ones(1))
    with pytest.raises(ValueError, match="nan is not finite"):
        s.signatures([["a", "b"]], np.array([1.0, math.nan]))
    with pytest.raises(TypeError, match="weights must be"):
        s.signatures([["a", "b"]], "ab")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tokens must be str or bytes"):
        MinHash(8, scheme="datasketch").signatures([[1, 2]])
    with pytest.raises(TypeError, match="tokens must be str or bytes"):
        MinHash(8, scheme="datasketch").add(5)


@every
def test_merging_what_is_not_alike(name: str) -> None:
    """Another seed, size or kind is not merged."""
    m = MAKERS[name](1)
    for other in (MAKERS[name](2), MinHash(41), OnePermutationMinHash(51), SimHash(64, seed=77), 5):
        with pytest.raises(ValueError, match="cannot merge"):
            m.merge(other)


def test_simhash_with_weights_is_the_naive_one() -> None:
    """Weights, of any sign, are summed for and against each bit."""
    s = SimHash(128)
    hashes, weights = random_keys(8, 60), rng(9).normal(size=60)
    found = s.signatures_of_hashes(hashes, [0, 0, 25, 60], weights)
    for (lo, hi), signature in zip([(0, 0), (0, 25), (25, 60)], found, strict=True):
        for word in range(2):
            own = [int(h) if word == 0 else splitmix(int(h), word) for h in hashes[lo:hi]]
            pairs = list(zip(own, weights[lo:hi].tolist(), strict=True))
            sums = [sum(w if h >> bit & 1 else -w for h, w in pairs) for bit in range(64)]
            assert int(signature[word]) == sum((v > 0) << bit for bit, v in enumerate(sums))
    nulls = pa.array([["a", None, "b"], ["c"]])
    own = s.signatures(nulls, np.array([2.0, 100.0, 1.0, 1.0]))
    assert (own == s.signatures([["a", "b"], ["c"]], [2, 1, 1])).all()  # type: ignore[arg-type]
