"""Cuckoo filter: fingerprints in buckets of four, two buckets per key, and keys can be removed.

Fan, Andersen, Kaminsky, Mitzenmacher 2014, with buckets of any number (not only powers of two): the two
buckets of a fingerprint mirror each other, ``other = (H(fingerprint) - bucket) mod buckets``, so that
either finds the other without the key::

    hash    |  bucket = (high32 * buckets) >> 32  |  fingerprint = low bits, 0 becomes 1   |
    bucket  |  slot 0  |  slot 1  |  slot 2  |  slot 3  |     8, 12 or 16 bits each, 0 is empty

A lookup reads two cache lines. The law: at a load of ``a`` of its slots, fpr = 1 - (1 - q)^(8 a) with
``q = 2^-bits (1 + 2^(1 - bits))`` (the fingerprint that 0 becomes is twice as frequent): about
8 / 2^bits. Planned for 95 % load. It counts: a key added twice must be removed twice, the same key fits
eight times at most (a stream with many repeats belongs in a Bloom filter), and removing a key that was
never added may remove another.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._bits import U1, U2, U32_, U63, U64, aligned_zeros, load64, prefetch, store64
from algos._fastcall import Method, Native, as_bool, bytes_of, number_of, place, slowly
from algos._jit import inlined, kernel
from algos.errors import CapacityError, CorruptDataError
from algos.filters._checks import DEFAULT_FPR, MAX_CAPACITY, check_capacity, check_count, check_fpr, only_one
from algos.filters._common import RemovableFilter, distinct
from algos.filters._pipeline import overlap
from algos.hashing._keyed import all_hashes, hash_alone, house_hasher
from algos.hashing.splitmix64 import GAMMA

if TYPE_CHECKING:
    from algos import _state

BITS = (8, 12, 16)
LOAD = 0.95
MAX_BUCKETS = 1 << 32
MAX_KICKS = 500
BATCH = 96
"""Keys per step of a lookup, as in the split-block filter: two lines each in flight."""
PADDING = 8
"""Bytes behind the buckets, so that the last one can be read as a 64-bit word."""


@inlined
def _first(h: Any, buckets: Any) -> Any:
    return ((h >> U32_) * buckets) >> U32_


@inlined
def _other(bucket: Any, f: Any, buckets: Any) -> Any:
    """Return the bucket that mirrors ``bucket`` for this fingerprint."""
    other = (((f * GAMMA) >> U32_) * buckets >> U32_) - bucket
    return other + buckets * (other >> U63)  # below zero: once around


@inlined
def _fingerprint(h: Any, slot: Any) -> Any:
    f = h & slot
    return f + U64(f == U64(0))


@inlined
def _ones(bits: Any) -> Any:
    """Return a one in each of a bucket's four slots."""
    return U1 | (U1 << bits) | (U1 << (U2 * bits)) | (U1 << (U64(3) * bits))


@inlined
def _has(bucket: Any, pattern: Any, ones: Any, slot: Any, highs: Any) -> Any:
    """Tell whether a slot of the bucket holds the pattern's fingerprint."""
    x = (bucket ^ pattern) & (ones * slot)
    return ((x - ones) & ~x & highs) != U64(0)


@inlined
def _fetch(state: Any, k: Any) -> None:
    table, first, second, _, _, _, _ = state
    prefetch(table, first[k])
    prefetch(table, second[k])


@inlined
def _test(state: Any, k: Any) -> Any:
    table, first, second, pattern, ones, slot, highs = state
    a, b, p = load64(table, first[k]), load64(table, second[k]), pattern[k]
    return _has(a, p, ones, slot, highs) | _has(b, p, ones, slot, highs)


@kernel
def _contains(table: Any, bits: Any, buckets: Any, hashes: Any, out: Any) -> None:
    bits, buckets, n = U64(bits), U64(buckets), hashes.size
    stride, slot, ones = bits >> U1, (U1 << bits) - U1, _ones(bits)
    highs = ones << (bits - U1)
    first, second = np.empty(2 * BATCH, np.uint64), np.empty(2 * BATCH, np.uint64)
    pattern = np.empty(2 * BATCH, np.uint64)
    state = table, first, second, pattern, ones, slot, highs
    for step in range((n + BATCH - 1) // BATCH + 1):
        new, old = (step & 1) * BATCH, BATCH - (step & 1) * BATCH
        lo = step * BATCH
        coming = max(0, min(BATCH, n - lo))
        for j in range(coming):
            f, bucket = _fingerprint(hashes[lo + j], slot), _first(hashes[lo + j], buckets)
            first[new + j], second[new + j] = bucket * stride, _other(bucket, f, buckets) * stride
            pattern[new + j] = f * ones
        overlap(_fetch, _test, state, new, old, coming, out[max(0, lo - BATCH) : min(lo, n)])


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        table, bits, buckets = bytes_of(me, _TABLE), number_of(me, _BITS), number_of(me, _BUCKETS)
        stride, slot, ones = bits >> U1, (U1 << bits) - U1, _ones(bits)
        f, bucket = _fingerprint(h, slot), _first(h, buckets)
        a, b = load64(table, bucket * stride), load64(table, _other(bucket, f, buckets) * stride)
        highs = ones << (bits - U1)
        return as_bool(_has(a, f * ones, ones, slot, highs) | _has(b, f * ones, ones, slot, highs))
    return slowly(me, "_contains_one", arguments, count, names)


@inlined
def _put(table: Any, at: Any, f: Any, bits: Any, slot: Any) -> Any:
    """Put a fingerprint into an empty slot of the bucket at byte ``at``, if it has one."""
    bucket, shift = load64(table, at), U64(0)
    for _ in range(4):
        if (bucket >> shift) & slot == U64(0):
            store64(table, at, bucket | (f << shift))
            return True
        shift += bits
    return False


@inlined
def _swap(table: Any, at: Any, shift: Any, f: Any, slot: Any) -> Any:
    """Put ``f`` into a slot and return what was there."""
    bucket = load64(table, at)
    was = (bucket >> shift) & slot
    store64(table, at, bucket ^ ((was ^ f) << shift))
    return was


@inlined
def _place(table: Any, bits: Any, buckets: Any, f: Any, bucket: Any, trail: Any) -> Any:
    """Place a fingerprint, moving others if need be; where it cannot, leave the table as it was."""
    stride, slot = bits >> U1, (U1 << bits) - U1
    if _put(table, bucket * stride, f, bits, slot):
        return True
    bucket, random, kicks = _other(bucket, f, buckets), f | (bucket << U32_) | U1, 0
    while not _put(table, bucket * stride, f, bits, slot):
        if kicks == MAX_KICKS:
            for k in range(MAX_KICKS - 1, -1, -1):
                f = _swap(table, trail[k, 0], trail[k, 1], f, slot)
            return False
        random = random * U64(0xD1342543DE82EF95) + U1
        trail[kicks, 0], trail[kicks, 1] = bucket * stride, (random >> U64(62)) * bits
        f = _swap(table, trail[kicks, 0], trail[kicks, 1], f, slot)
        bucket = _other(bucket, f, buckets)
        kicks += 1
    return True


@kernel
def _add(table: Any, bits: Any, buckets: Any, hashes: Any) -> Any:
    """Add until one finds no place; return how many were added."""
    bits, buckets = U64(bits), U64(buckets)
    slot, trail = (U1 << bits) - U1, np.empty((MAX_KICKS, 2), np.uint64)
    for i in range(hashes.size):
        f, bucket = _fingerprint(hashes[i], slot), _first(hashes[i], buckets)
        if not _place(table, bits, buckets, f, bucket, trail):
            return i
    return hashes.size


@kernel
def _add_new(table: Any, bits: Any, buckets: Any, hashes: Any, new: Any) -> Any:
    """Add until one finds no place, noting which were not found before; return how many were added."""
    bits, buckets = U64(bits), U64(buckets)
    stride, slot, ones = bits >> U1, (U1 << bits) - U1, _ones(bits)
    highs, trail = ones << (bits - U1), np.empty((MAX_KICKS, 2), np.uint64)
    for i in range(hashes.size):
        f, bucket = _fingerprint(hashes[i], slot), _first(hashes[i], buckets)
        a, b = load64(table, bucket * stride), load64(table, _other(bucket, f, buckets) * stride)
        new[i] = not (_has(a, f * ones, ones, slot, highs) | _has(b, f * ones, ones, slot, highs))
        if not _place(table, bits, buckets, f, bucket, trail):
            return i
    return hashes.size


@inlined
def _take(table: Any, at: Any, f: Any, bits: Any, slot: Any) -> Any:
    """Empty one slot that holds the fingerprint, if the bucket at byte ``at`` has one."""
    bucket, shift = load64(table, at), U64(0)
    for _ in range(4):
        if (bucket >> shift) & slot == f:
            store64(table, at, bucket & ~(slot << shift))
            return True
        shift += bits
    return False


@kernel
def _remove(table: Any, bits: Any, buckets: Any, hashes: Any, out: Any) -> None:
    bits, buckets = U64(bits), U64(buckets)
    stride, slot = bits >> U1, (U1 << bits) - U1
    for i in range(hashes.size):
        f, bucket = _fingerprint(hashes[i], slot), _first(hashes[i], buckets)
        out[i] = _take(table, bucket * stride, f, bits, slot) or _take(
            table, _other(bucket, f, buckets) * stride, f, bits, slot
        )


@kernel
def _merge(table: Any, bits: Any, buckets: Any, other: Any) -> Any:
    """Place every fingerprint of another table; tell whether all found a place."""
    bits, buckets = U64(bits), U64(buckets)
    stride, slot, trail = bits >> U1, (U1 << bits) - U1, np.empty((MAX_KICKS, 2), np.uint64)
    for b in range(buckets):
        bucket = load64(other, U64(b) * stride)
        for s in range(4):
            f = (bucket >> (U64(s) * bits)) & slot
            if f and not _place(table, bits, buckets, f, U64(b), trail):
                return False
    return True


@kernel
def _count(table: Any, bits: Any, buckets: Any) -> Any:
    bits = U64(bits)
    stride, slot, used = bits >> U1, (U1 << bits) - U1, 0
    for b in range(buckets):
        bucket = load64(table, U64(b) * stride)
        for s in range(4):
            used += ((bucket >> (U64(s) * bits)) & slot) != U64(0)
    return used


def law(bits: int, load: float) -> float:
    """Return the false-positive rate of ``bits``-bit fingerprints at a load of 0..1 of the slots."""
    match = 2.0**-bits * (1.0 + 2.0 ** (1 - bits))
    return -math.expm1(8.0 * load * math.log1p(-match))


def _bits_for(fpr: float) -> int:
    for bits in BITS:
        if law(bits, LOAD) <= fpr:
            return bits
    raise ValueError(f"fpr={fpr} is below the {law(16, LOAD):.2g} of 16-bit fingerprints; use BloomFilter")


class CuckooFilter(RemovableFilter):
    """A cuckoo filter for ``capacity`` keys: like a Bloom filter, but keys can be removed.

    ``bits`` of fingerprint (8, 12 or 16), or the smallest of them that keeps ``fpr`` (default 0.01) at
    the planned load. No false negatives as long as only keys that were added are removed. ``add`` is
    O(1) amortised; when no place is found it raises ``CapacityError`` and loses nothing. Memory:
    ``bits / 0.95`` bits per key.

    >>> f = CuckooFilter(1000)
    >>> f.add_many([1, 2, 3])
    >>> f.remove(2)
    True
    >>> f.contains_many([1, 2, 3])
    array([ True, False,  True])
    """

    __slots__ = ("_buckets", "_table", "_used", "bits", "capacity")

    def __init__(
        self, capacity: int, fpr: float | None = None, bits: int | None = None, *, seed: int = 0
    ) -> None:
        only_one(fpr=fpr, bits=bits)
        if bits is None:
            bits = _bits_for(check_fpr(DEFAULT_FPR if fpr is None else fpr))
        elif bits not in BITS:
            raise ValueError(f"bits={bits!r} is not one of {BITS}")
        capacity = check_capacity(capacity)
        # A few buckets more than the load asks for: small tables vary more around it.
        buckets = math.ceil(capacity / (4.0 * LOAD)) + math.isqrt(capacity) // 16 + 2
        if buckets > MAX_BUCKETS:
            raise ValueError(f"capacity={capacity} needs more than 2**32 buckets; ask for less")
        self._set_up(capacity, int(bits), seed, buckets)
        self._used = 0

    def _set_up(self, capacity: int, bits: int, seed: int, buckets: int) -> None:
        self.capacity = capacity
        self.bits = bits
        self._use(house_hasher(seed))
        self._buckets = buckets
        self._table = aligned_zeros(buckets * bits // 2 + PADDING, np.uint8)

    @classmethod
    def build(cls, keys: Any, fpr: float | None = None, bits: int | None = None, *, seed: int = 0) -> Self:
        """Make a filter that holds each distinct key once, O(n log n): equal keys are sorted out first."""
        hashes = distinct(all_hashes(house_hasher(seed), keys))
        self = cls(max(1, len(hashes)), fpr, bits, seed=seed)
        self._insert(hashes)
        return self

    def __len__(self) -> int:
        """Return the number of keys in the filter, each as often as it was added."""
        return self._used

    def expected_fpr(self, count: int | None = None) -> float:
        """Return the chance that a key never added is found, with what it holds or with ``count`` keys."""
        keys = self._used if count is None else check_count(count)
        return law(self.bits, min(1.0, keys / (4 * self._buckets)))

    def _remove(self, hashes: Any, out: Any) -> None:
        _remove(self._table, self.bits, self._buckets, hashes, out)
        self._used -= int(out.sum())

    def merge(self, other: CuckooFilter) -> None:
        """Take in all keys of ``other``, each as often as it is there; not bit for bit as if added here.

        Raises ``ValueError`` unless capacity, bits and seed are the same, and ``CapacityError``, leaving
        this filter as it was, when they do not fit.
        """
        self._check_mergeable(other)
        table = self._table.copy()
        theirs = table if other is self else other._table
        if not _merge(self._table, self.bits, self._buckets, theirs):
            self._table[:] = table
            raise self._full(f"{len(other)} more do not fit; this filter is as it was")
        self._used = int(_count(self._table, self.bits, self._buckets))

    def _full(self, what: str) -> CapacityError:
        slots = f"{self._used:,} of {4 * self._buckets:,} slots are in use"
        return CapacityError(f"{slots} and {what}. Build a filter for more than capacity={self.capacity}")

    def _note(self, added: int, asked: int) -> None:
        """Count the keys added; raise if one of those asked found no place."""
        self._used += added
        if added < asked:
            raise self._full("a key found no place; the keys before it are in, it and those after it are not")

    __contains__ = Method(_ask, "_contains_one")

    def _probe(self, hashes: Any, out: Any) -> None:
        _contains(self._table, self.bits, self._buckets, hashes, out)

    def _insert(self, hashes: Any) -> None:
        self._note(int(_add(self._table, self.bits, self._buckets, hashes)), len(hashes))

    def _insert_new(self, hashes: Any, out: Any) -> None:
        self._note(int(_add_new(self._table, self.bits, self._buckets, hashes, out)), len(hashes))

    def _parameters(self) -> dict[str, Any]:
        return {"capacity": self.capacity, "bits": self.bits, "seed": self.seed}

    def _payload(self) -> Any:
        return self._table[:-PADDING]

    @classmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        bits = parameters.choice("bits", BITS)
        buckets = len(payload) // (bits // 2)
        if not 1 <= buckets <= MAX_BUCKETS or buckets * (bits // 2) != len(payload):
            raise CorruptDataError(f"{len(payload)} bytes are not a whole number of {bits // 2}-byte buckets")
        self = cls.__new__(cls)
        capacity = parameters.integer("capacity", 1, MAX_CAPACITY)
        self._set_up(capacity, bits, parameters.integer("seed", 0, (1 << 64) - 1), buckets)
        self._table[:-PADDING] = np.frombuffer(payload, np.uint8)
        self._used = int(_count(self._table, bits, buckets))
        return self


_TABLE, _BITS = place(CuckooFilter, "_table"), place(CuckooFilter, "bits")
_BUCKETS = place(CuckooFilter, "_buckets")
