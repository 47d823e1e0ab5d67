"""The quotient filter: a multiset of fingerprints, in the table of its authors, whatever happens to it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from helpers import put_together, random_keys, rng, scaled, take_apart
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from algos.errors import CapacityError, CorruptDataError
from algos.filters import QuotientFilter
from algos.hashing import hash64


def naive(keys: Any, f: QuotientFilter) -> list[int]:
    """Return the sorted fingerprints of keys: the top bits of their hashes."""
    drop = 64 - f.quotient_bits - f.bits
    return sorted(int(h) >> drop for h in hash64(keys, seed=f.seed))


def stored(f: QuotientFilter) -> list[int]:
    """Read the documented table: occupied bits, run ends and remainders, block by block."""
    _, packed = take_apart(f.to_bytes())
    r, stride = f.bits, 8 * (f.bits + 2)
    occupied, ends, rests = [], [], []
    for at in range(0, len(packed), stride):
        words = [int.from_bytes(packed[i : i + 8], "little") for i in range(at, at + stride, 8)]
        together = sum(word << (64 * i) for i, word in enumerate(words[2:]))
        occupied += [words[0] >> i & 1 for i in range(64)]
        ends += [words[1] >> i & 1 for i in range(64)]
        rests += [together >> (r * i) & ((1 << r) - 1) for i in range(64)]
    found, slot = [], 0
    for q in (q for q, bit in enumerate(occupied) if bit):
        slot = max(slot, q)
        while True:
            found.append(q << r | rests[slot])
            slot += 1
            if ends[slot - 1]:
                break
    return found


@pytest.mark.parametrize("bits", [1, 2, 7, 8, 13, 31, 40])
@pytest.mark.parametrize("n", [1, 2, 60, scaled(3000, 100)])
def test_table_holds_the_naive_fingerprints(n: int, bits: int) -> None:
    """Built at once or key by key, the table is the same, and holds exactly the documented fingerprints."""
    keys = random_keys(n, n)
    built = QuotientFilter.build(keys, bits=bits, seed=5)
    added = QuotientFilter(n, bits=bits, seed=5)
    added.add_many(keys)
    assert stored(built) == stored(added) == naive(keys, built)
    assert built == added
    assert (built._offsets == added._offsets).all()
    assert len(built) == len(added) == n


def test_answers_are_the_naive_ones() -> None:
    """True and false answers alike follow from the fingerprints."""
    keys, strangers = random_keys(1, scaled(3000, 200)), random_keys(2, scaled(20_000, 300))
    f = QuotientFilter.build(keys, bits=3)
    there = set(naive(keys, f))
    drop = 64 - f.quotient_bits - f.bits
    want = [int(h) >> drop in there for h in hash64(strangers)]
    assert any(want)
    assert f.contains_many(strangers).tolist() == want


@given(st.lists(st.integers(0, 2**64 - 1), max_size=60), st.integers(1, 8))
def test_any_hashes(hashes: list[int], bits: int) -> None:
    """Any ready hashes, the ends of the range included, are stored, found and removed without a trace."""
    f = QuotientFilter(60, bits=bits)
    array = np.array(hashes, np.uint64)
    f.add_hashes(array)
    assert stored(f) == sorted(h >> (64 - f.quotient_bits - bits) for h in hashes)
    assert f.contains_hashes(array).all()
    assert f.remove_hashes(array).all()
    assert not f._words.any()
    assert not f._offsets.any()


@pytest.mark.parametrize("crowd", [0, 2**64 - 2**16, 2**63])
def test_a_crowd_in_one_place(crowd: int) -> None:
    """Keys of one quotient, or of the last ones, push others far back and beyond the end, and lose none."""
    hashes = np.uint64(crowd) + (np.arange(50, dtype=np.uint64) << np.uint64(10))
    f = QuotientFilter(60, bits=50)
    f.add_hashes(hashes)
    assert f.contains_hashes(hashes).all()
    assert f.remove_hashes(hashes[::2]).all()
    assert f.contains_hashes(hashes[1::2]).all()
    assert not f.contains_hashes(hashes[::2]).any()


def test_full_loses_nothing() -> None:
    """At ``CapacityError`` every key acknowledged is there; grown, it takes the others too."""
    f = QuotientFilter(1000, bits=9)
    keys = random_keys(3, f.capacity + 100)
    with pytest.raises(CapacityError, match="grow"):
        f.add_many(keys)
    assert len(f) == f.capacity
    assert stored(f) == naive(keys[: len(f)], f)
    f.grow()
    f.add_many(keys[len(f) :])
    assert f.contains_many(keys).all()
    assert stored(f) == naive(keys, f)


def test_growing_keeps_keys_and_rate() -> None:
    """Doubled again and again, the filter answers as before; remainders run out in the end."""
    keys, strangers = random_keys(4, 500), random_keys(5, scaled(50_000, 500))
    f = QuotientFilter.build(keys, bits=4)
    answers, rate = f.contains_many(strangers), f.expected_fpr()
    for _ in range(3):
        f.grow()
        assert stored(f) == naive(keys, f)
        assert (f.contains_many(strangers) == answers).all()
        assert f.expected_fpr() == rate
    before = f.to_bytes()
    with pytest.raises(CapacityError, match="1 bit"):
        f.grow()
    assert f.to_bytes() == before


@pytest.mark.parametrize(("one", "two"), [(100, 100), (1000, 10), (10, 1000), (900, 900)])
def test_merge_without_keys(one: int, two: int) -> None:
    """Filters of one fingerprint size merge whatever their sizes, and grow by themselves."""
    keys = random_keys(6, one + two)
    a, b = QuotientFilter(one, bits=30), QuotientFilter(two, bits=30)
    wide = a.quotient_bits + a.bits
    b = QuotientFilter(two, bits=wide - b.quotient_bits)
    a.add_many(keys[:one])
    b.add_many(keys[one:])
    a.merge(b)
    assert len(a) == one + two
    assert stored(a) == naive(keys, a)


def test_merge_of_too_many_keys_changes_nothing() -> None:
    """Fingerprints that cannot be split any further are a ``CapacityError``."""
    a = QuotientFilter(60, bits=1)
    a.add_many(random_keys(1, 60))
    b = QuotientFilter.from_bytes(a.to_bytes())
    before = a.to_bytes()
    with pytest.raises(CapacityError, match="too many"):
        a.merge(b)
    assert a.to_bytes() == before


@pytest.mark.parametrize("word", range(4))
def test_contradictory_tables_are_refused_or_work(word: int) -> None:
    """Random bits in the flags of a valid file make no filter that reads out of its table."""
    header, packed = take_apart(QuotientFilter.build(random_keys(1, 50), bits=6).to_bytes())
    for trial in range(scaled(300, 20)):
        forged = bytearray(packed)
        at = 8 * (word if word < 2 else word + 6)
        forged[at : at + 8] = rng(word, trial).bytes(8)
        try:
            f = QuotientFilter.from_bytes(put_together(header, bytes(forged)))
        except CorruptDataError:
            continue
        assert len(f) == len(stored(f))
        f.contains_many(random_keys(trial, 200))
        f.remove_many(random_keys(1, 50))


class QuotientMachine(RuleBasedStateMachine):
    """Adds, removes, grows, merges and asks at random, beside a multiset of the fingerprints."""

    keys = st.integers(0, 80)
    batches = st.lists(keys, max_size=12)

    @initialize(bits=st.sampled_from([1, 2, 5]), seed=st.integers(0, 3))
    def start(self, bits: int, seed: int) -> None:
        self.filter = QuotientFilter(60, bits=bits, seed=seed)
        self.width = self.filter.quotient_bits + bits
        self.model: Counter[int] = Counter()

    def prints(self, keys: list[int]) -> list[int]:
        return [h >> (64 - self.width) for h in hash64(keys, seed=self.filter.seed).tolist()] if keys else []

    @rule(batch=batches)
    def add_many(self, batch: list[int]) -> None:
        before = len(self.filter)
        try:
            new = self.filter.add_many(batch, return_new=True)
        except CapacityError:
            batch = batch[: len(self.filter) - before]
        else:
            seen = Counter(self.model)
            for told, f in zip(new.tolist(), self.prints(batch), strict=True):
                assert told == (not seen[f])
                seen[f] += 1
        self.model.update(self.prints(batch))

    @rule(batch=batches)
    def remove_many(self, batch: list[int]) -> None:
        for told, f in zip(self.filter.remove_many(batch).tolist(), self.prints(batch), strict=True):
            assert told == (self.model[f] > 0)
            self.model[f] -= told

    @rule()
    def grow(self) -> None:
        if self.filter.bits > 1 and self.filter.quotient_bits < 9:
            self.filter.grow()

    @rule(batch=batches)
    def merge(self, batch: list[int]) -> None:
        other = QuotientFilter(60, bits=self.width - 6, seed=self.filter.seed)
        other.add_many(batch)
        try:
            self.filter.merge(other)
        except CapacityError:
            return
        self.model.update(self.prints(batch))

    @rule()
    def store_and_load(self) -> None:
        self.filter = QuotientFilter.from_bytes(self.filter.to_bytes())

    @invariant()
    def is_the_multiset(self) -> None:
        if hasattr(self, "model"):
            assert stored(self.filter) == sorted(self.model.elements())
            assert len(self.filter) == self.model.total()
            again = QuotientFilter.from_bytes(self.filter.to_bytes())
            assert (again._offsets == self.filter._offsets).all()
            every = list(range(81))
            there = [self.model[f] > 0 for f in self.prints(every)]
            assert self.filter.contains_many(every).tolist() == there


TestQuotientMachine = QuotientMachine.TestCase


def test_the_law_is_that_of_the_paper() -> None:
    """``expected_fpr(count)`` is the chance that one of so many fingerprints is a stranger's."""
    f = QuotientFilter(1000, bits=8)
    assert f.quotient_bits == 11
    for n in (0, 1, 500, 972):
        assert f.expected_fpr(count=n) == pytest.approx(1 - (1 - 2.0**-19) ** n, rel=1e-9)


def test_remainders_that_do_not_fit_into_a_fingerprint() -> None:
    """More than 60 bits of fingerprint are refused, whatever asks for them."""
    for bits in (0, -1, 61, True, "8", 2.0):
        with pytest.raises(ValueError, match="bits"):
            QuotientFilter(1000, bits=bits)
