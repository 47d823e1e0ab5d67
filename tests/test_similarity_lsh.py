"""The LSH index: the candidates of its definition, whatever happened to it, and the S-curve they follow."""

from __future__ import annotations

import copy
import math
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from datasketch import lsh as datasketch_lsh
from helpers import put_together, rng, scaled, take_apart
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from algos.errors import CapacityError, CorruptDataError
from algos.similarity import LshIndex, MinHash, lsh

K = 12


def signatures(seed: int, n: int, values: int = 3, dtype: Any = np.uint32) -> Any:
    """Return signatures of few distinct values, so that many bands agree."""
    return rng(seed).integers(0, values, (n, K)).astype(dtype)


def bands_of(index: LshIndex, signature: Any) -> list[tuple[int, ...]]:
    """Cut a signature into its bands."""
    return [tuple(signature[b * index.rows : (b + 1) * index.rows].tolist()) for b in range(index.bands)]


def naive(index: LshIndex, items: list[tuple[int, Any]], query: Any, at_least: float = 0.0) -> list[int]:
    """Compare a query with all items, band by band."""
    wanted, least = bands_of(index, query), at_least * len(query) - 1e-9
    return [
        name
        for name, signature in items
        if any(a == b for a, b in zip(wanted, bands_of(index, signature), strict=True))
        and np.count_nonzero(signature == query) >= least
    ]


def answers(index: LshIndex, queries: Any, **given: Any) -> list[list[int]]:
    """Return the ids found for each query."""
    starts, ids = index.query(queries, **given)
    assert starts.dtype == ids.dtype == np.int64
    assert len(starts) == len(np.atleast_2d(queries)) + 1
    assert starts[-1] == len(ids)
    return [ids[lo:hi].tolist() for lo, hi in pairwise(starts)]


def naive_groups(index: LshIndex, items: list[tuple[int, Any]], at_least: float = 0.0) -> list[int]:
    """Join items that are candidates of each other, and name each by the first it is joined with."""
    first = list(range(len(items)))
    for i, (_, signature) in enumerate(items):
        found = naive(index, [(j, s) for j, (_, s) in enumerate(items[:i])], signature, at_least)
        joined = {first[j] for j in found} | {i}
        first = [min(joined) if f in joined else f for f in first]
    return [items[f][0] for f in first]


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
@pytest.mark.parametrize("bands", [(1, 12), (12, 1), (3, 4), (4, 2), (5, 2)])
def test_candidates_are_the_naive_ones(bands: tuple[int, int], dtype: Any) -> None:
    """Who shares a band is found, once, in the order of adding, however it was added."""
    n = scaled(150, 40)
    given, queries = signatures(1, n, dtype=dtype), signatures(2, scaled(80, 10), dtype=dtype)
    ids = rng(3).permutation(10 * n)[:n] - 5 * n
    items = list(zip(ids.tolist(), given, strict=True))
    whole = LshIndex(bands=bands[0], rows=bands[1], permutations=K, keep_signatures=True)
    whole.add(ids, given)
    parts = LshIndex(bands=bands[0], rows=bands[1], permutations=K, keep_signatures=True)
    for lo in range(0, n, 7):
        parts.add(ids[lo : lo + 7], given[lo : lo + 7])
    assert len(parts._runs) > 1
    for index in (whole, parts):
        assert len(index) == n
        assert answers(index, queries) == [naive(index, items, query) for query in queries]
        some = answers(index, queries, at_least=0.5)
        assert some == [naive(index, items, query, 0.5) for query in queries]
        for at_least in (None, 0.75):
            names, groups = index.duplicates(at_least=at_least)
            assert names.tolist() == ids.tolist()
            assert groups.tolist() == naive_groups(index, items, at_least or 0.0)
    assert whole == parts
    assert answers(whole, given[0]) == [naive(whole, items, given[0])]


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 30), st.integers(2, 2**32))
def test_any_signatures(seed: int, n: int, batch: int, values: int) -> None:
    """Any values, in batches of any size, are found as by comparing all."""
    given = signatures(seed, n, values)
    index = LshIndex(permutations=K, bands=4, rows=3)
    for lo in range(0, n, batch):
        index.add(np.arange(lo, min(n, lo + batch)), given[lo : lo + batch])
    items = list(enumerate(given))
    assert answers(index, given) == [naive(index, items, query) for query in given]


def test_directory_leads_to_every_entry() -> None:
    """Each entry lies between the starts of its bucket and the next, and entries rise."""
    for n in (1, 7, 8, 15, 16, 17, scaled(5000, 200)):
        index = LshIndex(permutations=K, bands=3, rows=4)
        index.add(np.arange(n), signatures(n, n, 2**32))
        (run,) = index._runs
        low, bits = lsh._low(n), lsh._directory_bits(n)
        assert run.directory.shape == (3, (1 << bits) + 1)
        for entries, starts in zip(run.entries, run.directory, strict=True):
            assert (entries[1:] > entries[:-1]).all()
            assert sorted((entries & low).tolist()) == list(range(n))
            for at, entry in enumerate(entries.tolist()):
                bucket = entry >> 64 - bits
                assert starts[bucket] <= at < starts[bucket + 1]


class Machine(RuleBasedStateMachine):
    """An index beside a list."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.index = LshIndex(permutations=K, bands=4, rows=2, keep_signatures=True)
        self.items: list[tuple[int, Any]] = []
        self.draw, self.next = rng(seed), 0

    @rule(n=st.integers(0, 20))
    def add(self, n: int) -> None:
        given = self.draw.integers(0, 3, (n, K)).astype(np.uint32)
        ids = np.arange(self.next, self.next + n)
        self.index.add(ids, given)
        self.items += zip(ids.tolist(), given, strict=True)
        self.next += n

    @rule(share=st.floats(0, 1))
    def remove(self, share: float) -> None:
        gone = self.draw.permutation(self.next)[: int(share * self.next)]
        there = [name for name, _ in self.items if name in set(gone.tolist())]
        assert self.index.remove(gone) == len(there)
        self.items = [item for item in self.items if item[0] not in set(there)]

    @rule()
    def store(self) -> None:
        self.index = pickle.loads(pickle.dumps(self.index))

    @rule(n=st.integers(0, 10))
    def merge(self, n: int) -> None:
        other = LshIndex(permutations=K, bands=4, rows=2, keep_signatures=True)
        given = self.draw.integers(0, 3, (n + 1, K)).astype(np.uint32)
        ids = np.arange(self.next, self.next + n + 1)
        other.add(ids, given)
        other.remove(ids[:1])
        self.index.merge(other)
        self.items += list(zip(ids.tolist(), given, strict=True))[1:]
        self.next += n + 1

    @invariant()
    def same_answers(self) -> None:
        queries = self.draw.integers(0, 3, (3, K)).astype(np.uint32)
        want = [naive(self.index, self.items, query) for query in queries]
        assert answers(self.index, queries) == want
        assert len(self.index) == len(self.items)
        names, groups = self.index.duplicates()
        assert names.tolist() == [name for name, _ in self.items]
        assert groups.tolist() == naive_groups(self.index, self.items)


TestMachine = Machine.TestCase


def test_merged_is_added_to_one() -> None:
    """Indexes that are merged hold, bit for bit, what one of all does."""
    given = signatures(5, 100)
    whole = LshIndex(permutations=K, bands=4, rows=3, keep_signatures=True)
    whole.add(np.arange(100), given)
    merged = LshIndex(permutations=K, bands=4, rows=3, keep_signatures=True)
    for lo in range(0, 100, 30):
        part = LshIndex(permutations=K, bands=4, rows=3, keep_signatures=True)
        part.add(np.arange(lo, min(100, lo + 30)), given[lo : lo + 30])
        merged.merge(part)
    assert merged == whole
    with pytest.raises(ValueError, match="cannot merge"):
        merged.merge(LshIndex(permutations=K, bands=4, rows=2, keep_signatures=True))
    with pytest.raises(ValueError, match="cannot merge"):
        merged.merge(5)  # type: ignore[arg-type]


def test_removed_are_gone() -> None:
    """Removed items are not found; a run half empty is made anew, and an empty one dropped."""
    given = signatures(6, 64, 2)
    index = LshIndex(permutations=K, bands=6, rows=2)
    index.add(np.arange(64), given)
    full = index.nbytes
    assert index.remove(np.arange(0, 40)) == 40
    assert index.remove(5) == 0
    assert len(index) == 24
    assert index.nbytes < full / 2
    assert min(min(found, default=40) for found in answers(index, given)) >= 40
    assert index.remove(range(64)) == 24
    assert index.nbytes == 0
    assert answers(index, given) == [[]] * 64
    assert index.duplicates()[0].tolist() == []


def test_memory_is_near_the_least() -> None:
    """An item costs 8.5 bytes a band, 9 besides, and a little for the directory's rounding."""
    n = scaled(100_000, 3000)
    index = LshIndex(permutations=128, bands=20, rows=6)
    index.add(np.arange(n), rng(1).integers(0, 2**32, (n, 128), dtype=np.uint32))
    assert index.nbytes <= n * (20 * 9 + 9)


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.1, 0.9), (0.8, 0.2)])
def test_bands_are_those_of_datasketch(threshold: float, weights: Any) -> None:
    """The least area of errors is where another's integration finds it."""
    index = LshIndex(threshold, 64, weights=weights)
    assert (index.bands, index.rows) == datasketch_lsh._optimal_param(threshold, 64, *weights)


def test_probability_is_the_curve() -> None:
    """The chance of being a candidate is that of agreeing in one of the bands."""
    index = LshIndex(permutations=128, bands=20, rows=5)
    assert index.probability(0.0) == 0.0
    assert index.probability(1.0) == 1.0
    assert index.probability(0.8) == pytest.approx(1 - (1 - 0.8**5) ** 20)


@pytest.mark.statistical
@pytest.mark.parametrize(("bands", "rows"), [(9, 13), (25, 5), (32, 4)])
def test_recall_follows_the_curve(bands: int, rows: int) -> None:
    """Pairs of planted similarity are candidates as often as the S-curve says."""
    trials, n = 1500, 100
    index = LshIndex(permutations=128, bands=bands, rows=rows)
    for common in (40, 57, 70, 82, 90, 95, 98):
        j = common / (2 * n - common)
        found = 0
        for seed in range(3):
            m = MinHash(128, seed=seed)
            h = rng(seed, common).integers(0, 2**64, (trials, 2 * n - common), dtype=np.uint64)
            offsets = np.arange(trials + 1) * n
            a = m.signatures_of_hashes(np.ascontiguousarray(h[:, :n]).reshape(-1), offsets)
            b = m.signatures_of_hashes(np.ascontiguousarray(h[:, n - common :]).reshape(-1), offsets)
            part = copy.deepcopy(index)
            part.add(np.arange(trials), a)
            found += sum(i in ids for i, ids in enumerate(answers(part, b)))
        p, total = index.probability(j), 3 * trials
        assert abs(found - total * p) <= 4.5 * math.sqrt(total * p * (1 - p)) + 0.01 * total * p + 1


@pytest.mark.statistical
def test_bands_hashes_do_not_collide() -> None:
    """Of 10^5 random signatures no two are candidates: the hashes of bands are wide enough."""
    n = 100_000
    index = LshIndex(permutations=64, bands=16, rows=4)
    index.add(np.arange(n), rng(2).integers(0, 2**32, (n, 64), dtype=np.uint32))
    names, groups = index.duplicates()
    assert (names == groups).all()


def test_bytes_come_back_equal() -> None:
    """An index, empty or with what was removed from it, comes back with the same answers."""
    given = signatures(7, 50)
    for keep in (False, True):
        index = LshIndex(0.6, K, keep_signatures=keep)
        assert LshIndex.from_bytes(index.to_bytes()) == index
        index.add(np.arange(50), given)
        index.remove([3, 4])
        for back in (LshIndex.from_bytes(index.to_bytes()), pickle.loads(pickle.dumps(index))):
            assert back == index
            assert answers(back, given) == answers(index, given)
            assert len(back) == 48
            back.add([99], given[0])
            assert back != index
        assert repr(index).startswith("<LshIndex threshold=0.6, permutations=12")


HOSTILE: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 4, 6, 12, 13, 50, 4096, 2**16, 2**31, 2**32, 2**32 + 1, 2**63, 2**64, 10**30),
    *(None, "", "x", 0.5, 1.0, 1.5, -0.5, True, False, [], {}, math.nan, math.inf),
)


def believe_or_refuse(data: bytes) -> None:
    """Take bytes for what they say, or refuse them; then do everything that could go out of range."""
    try:
        index = LshIndex.from_bytes(data)
    except CorruptDataError:
        return
    queries = rng(1).integers(0, 3, (4, index.permutations)).astype(np.uint32)
    index.add(np.arange(4), queries)
    index.query(queries)
    index.duplicates()
    index.remove([1, 2])
    if index.keep_signatures:
        index.query(queries, at_least=0.5)
        index.duplicates(at_least=0.5)
    assert LshIndex.from_bytes(index.to_bytes()) == index


@pytest.mark.parametrize("keep", [False, True])
def test_hostile_bytes(keep: bool) -> None:
    """Whatever parameters and payload say under a right checksum, they are refused or work."""
    index = LshIndex(permutations=K, bands=4, rows=3, keep_signatures=keep)
    index.add(np.arange(8), signatures(1, 8))
    header, packed = take_apart(index.to_bytes())
    for key in header["parameters"]:
        for value in HOSTILE:
            parameters = {**header["parameters"], key: value}
            believe_or_refuse(put_together({**header, "parameters": parameters}, packed))
        less = {k: v for k, v in header["parameters"].items() if k != key}
        with pytest.raises(CorruptDataError):
            LshIndex.from_bytes(put_together({**header, "parameters": less}, packed))
    for cut in (b"", packed[:-1], packed + b"\0", packed * 2):
        with pytest.raises(CorruptDataError):
            LshIndex.from_bytes(put_together(header, cut))
    draw = rng(4)
    for filler in (b"\0", b"\xff", b"\x80"):
        believe_or_refuse(put_together(header, filler * len(packed)))
    for _ in range(scaled(300, 5)):
        changed = bytearray(packed)
        for at in draw.integers(0, len(packed), draw.integers(1, 20)):
            changed[at] = draw.integers(256)
        believe_or_refuse(put_together(header, bytes(changed)))
    data = index.to_bytes()
    for n in range(len(data)):
        with pytest.raises(CorruptDataError):
            LshIndex.from_bytes(data[:n])


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: LshIndex(1.5), ValueError, "threshold=1.5"),
        (lambda: LshIndex("a"), ValueError, "threshold='a'"),
        (lambda: LshIndex(True), ValueError, "threshold=True"),
        (lambda: LshIndex(0.5, 0), ValueError, "permutations=0"),
        (lambda: LshIndex(0.5, 5000), ValueError, "permutations=5000 is outside 1..4096"),
        (lambda: LshIndex(0.5, bands=3), ValueError, "both bands and rows"),
        (lambda: LshIndex(0.5, 12, bands=3, rows=5), ValueError, "3 bands of 5 rows do not fit into 12"),
        (lambda: LshIndex(0.5, 12, bands=0, rows=5), ValueError, "0 bands"),
        (lambda: LshIndex(0.5, 12, bands=1.5, rows=5), TypeError, "bands must be an int"),
        (lambda: LshIndex(0.5, weights=(2, 0)), ValueError, "weights=2"),
    ],
)
def test_wrong_parameters(make: Any, error: Any, match: str) -> None:
    """A parameter that cannot be is refused by its name, value and bound."""
    with pytest.raises(error, match=match):
        make()


def test_wrong_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures, ids and shares that cannot be are refused, and leave the index as it was."""
    index, given = LshIndex(permutations=K, bands=4, rows=3), signatures(1, 3)
    for wrong in (given.astype(np.int64), given.tolist(), None):
        with pytest.raises(TypeError, match="uint32 or uint64"):
            index.add([1, 2, 3], wrong)
    with pytest.raises(ValueError, match="shape"):
        index.query(given[:, :5])
    with pytest.raises(ValueError, match="2 ids for 3 signatures"):
        index.add([1, 2], given)
    with pytest.raises(TypeError, match="ids must be"):
        index.add(["a", "b", "c"], given)
    with pytest.raises(TypeError, match="ids must be"):
        index.remove("a")
    with pytest.raises(OverflowError, match="above"):
        index.add(np.array([1, 2, 2**63], np.uint64), given)
    with pytest.raises(ValueError, match="keep_signatures=True"):
        index.query(given, at_least=0.5)
    with pytest.raises(ValueError, match="similarity="):
        index.probability(2)
    monkeypatch.setattr(lsh, "MAX_ITEMS", 2)
    with pytest.raises(CapacityError, match="begin another"):
        index.add([1, 2, 3], given)
    assert len(index) == 0
    assert answers(index, given[:0]) == []
