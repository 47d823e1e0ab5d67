"""Binary fuse filter: the smallest and fastest filter for a set that is known in advance.

Graf, Lemire 2022, 3- and 4-wise. A key's three (or four) positions lie in as many neighbouring segments of
one array of fingerprints, and the fingerprints there XOR to the key's own::

    hash = fmix64(key + seed)      fingerprint = hash ^ (hash >> 32), 8 or 16 bits
    position 0 = (hash * positions) >> 64, anywhere in all but the last arity - 1 segments
    position i = the same place i segments on, with low bits flipped by (hash >> 18 (arity - 1 - i))

To build, every key is peeled off at a position that it has for itself, then fingerprints are given in
reverse. Parameters and construction of the 3-wise are those of the C library ``xor_singleheader`` (as shipped
with pyfusefilter 1.3), so fingerprints are equal byte for byte. The law: fpr = 2^-bits, at 9.0 bits per key
for 8 bits and a million keys (8.6 4-wise), more for few; a lookup is arity reads and no branch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._bits import U1, U2, U8, U64, aligned_zeros, mulhi32
from algos._fastcall import Method, Native, as_bool, bytes_of, number_of, place, slowly
from algos._jit import inlined, kernel
from algos.errors import HotpathError
from algos.filters._common import StaticFilter, distinct
from algos.filters._fingerprints import (
    DTYPES,
    MAX_ATTEMPTS,
    MAX_KEYS,
    checked,
    fetch3,
    holds3,
    holds_one,
    own,
    seeds,
    stored,
)
from algos.filters._fuse4 import assign4, contains4, gather4, peel4, positions4
from algos.filters._pipeline import overlap
from algos.hashing._keyed import hash_alone, house_hasher
from algos.hashing.murmur3_128 import fmix64

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algos import _state

FIRST_STATE = U64(0x726B2B9D438B9D4D)
MAX_SEGMENT = 1 << 18
ARITIES = {3: (3.33, 2.25, 1.125, 0.875, 0.25, 1e6), 4: (2.91, -0.5, 1.075, 0.77, 0.305, 6e5)}
"""By the paper's fit: base and shift of the segment's length; least, constant, growth, scale of the size."""
NEXT_ARM = np.array([1, 2, 0], np.uint8)
BATCH = 96
"""Keys per step of a lookup, as in the split-block filter: three lines each in flight."""


@inlined
def positions(h: Any, segment: Any, span: Any) -> tuple[Any, Any, Any]:
    """Return a hash's three positions."""
    p0, low = mulhi32(h, span), segment - U1
    return p0, (p0 + segment) ^ ((h >> U64(18)) & low), (p0 + U2 * segment) ^ (h & low)


@kernel
def _contains(
    fingerprints: Any, mask: Any, seed: Any, segment: Any, span: Any, hashes: Any, out: Any
) -> None:
    n = hashes.size
    at0, at1 = np.empty(2 * BATCH, np.uint64), np.empty(2 * BATCH, np.uint64)
    at2, mine = np.empty(2 * BATCH, np.uint64), np.empty(2 * BATCH, fingerprints.dtype)
    state = fingerprints, at0, at1, at2, mine
    for step in range((n + BATCH - 1) // BATCH + 1):
        new, old = (step & 1) * BATCH, BATCH - (step & 1) * BATCH
        lo = step * BATCH
        coming = max(0, min(BATCH, n - lo))
        for j in range(coming):
            h = fmix64(hashes[lo + j] + seed)
            at0[new + j], at1[new + j], at2[new + j] = positions(h, segment, span)
            mine[new + j] = own(h, mask)
        overlap(fetch3, holds3, state, new, old, coming, out[max(0, lo - BATCH) : min(lo, n)])


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        data, bits, segment = bytes_of(me, _FINGERPRINTS), number_of(me, _BITS), number_of(me, _SEGMENT)
        h, arity = fmix64(h + number_of(me, _FUSE_SEED)), number_of(me, _ARITY)
        span = U64(data.size) * U8 // bits - (arity - U1) * segment
        if arity == U64(3):
            found = holds_one(data, bits, positions(h, segment, span), h)
        else:
            found = holds_one(data, bits, positions4(h, segment, span), h)
        return as_bool(found & (number_of(me, _KEYS) != U64(0)))
    return slowly(me, "_contains_one", arguments, count, names)


@kernel
def _sorted_by_segment(keys: Any, seed: Any, block_bits: Any, hashes: Any) -> None:
    """Hash the keys into an order that is roughly that of their positions, so that peeling stays local."""
    n, bits = U64(keys.size), U64(block_bits)
    blocks = U1 << bits
    start = np.empty(blocks, np.uint64)
    for b in range(blocks):
        start[b] = (U64(b) * n) >> bits
    hashes[keys.size] = U1
    for i in range(keys.size):
        h = fmix64(keys[i] + seed)
        block = h >> (U64(64) - bits)
        while hashes[start[block]] != U64(0):
            block = (block + U1) & (blocks - U1)
        hashes[start[block]] = h
        start[block] += U1


@inlined
def _toggle(counts: Any, sums: Any, at: Any, h: Any, arm: Any) -> None:
    """Add a hash to a position: its count in the upper six bits, the XOR of arms in the lower two."""
    counts[at] += np.uint8(4)
    counts[at] ^= arm
    sums[at] ^= h


@kernel
def _gather(hashes: Any, n: Any, segment: Any, span: Any, counts: Any, sums: Any) -> Any:
    """Enter every hash at its three positions; tell whether no position overflowed its six bits."""
    full = False
    for i in range(n):
        h = hashes[i]
        p0, p1, p2 = positions(h, segment, span)
        _toggle(counts, sums, p0, h, np.uint8(0))
        _toggle(counts, sums, p1, h, np.uint8(1))
        _toggle(counts, sums, p2, h, np.uint8(2))
        full |= (counts[p0] < np.uint8(4)) | (counts[p1] < np.uint8(4)) | (counts[p2] < np.uint8(4))
    return not full


@kernel
def _peel(segment: Any, span: Any, counts: Any, sums: Any, alone: Any, order: Any, arms: Any) -> Any:
    """Take off, one after the other, the hashes that are alone somewhere; return how many came off."""
    queue: Any = 0
    for at in range(counts.size):
        alone[queue] = np.uint32(at)
        queue += np.int64(counts[at] >> np.uint8(2) == 1)
    off = 0
    while queue > 0:
        queue -= 1
        at = alone[queue]
        if counts[at] >> np.uint8(2) != 1:
            continue
        h, arm = sums[at], counts[at] & np.uint8(3)
        order[off], arms[off] = h, arm
        off += 1
        p0, p1, p2 = positions(h, segment, span)
        after = p1 if arm == 0 else p2 if arm == 1 else p0
        last = p2 if arm == 0 else p0 if arm == 1 else p1
        alone[queue] = np.uint32(after)
        queue += np.int64(counts[after] >> np.uint8(2) == 2)
        counts[after] = (counts[after] - np.uint8(4)) ^ NEXT_ARM[arm]
        sums[after] ^= h
        alone[queue] = np.uint32(last)
        queue += np.int64(counts[last] >> np.uint8(2) == 2)
        counts[last] = (counts[last] - np.uint8(4)) ^ NEXT_ARM[NEXT_ARM[arm]]
        sums[last] ^= h
    return off


@kernel
def _assign(fingerprints: Any, mask: Any, segment: Any, span: Any, order: Any, arms: Any, n: Any) -> None:
    """Give fingerprints in reverse order of peeling."""
    for i in range(n - 1, -1, -1):
        h, arm = order[i], U64(arms[i])
        p0, p1, p2 = positions(h, segment, span)
        mine = p0 if arm == U64(0) else p1 if arm == U1 else p2
        found = fingerprints[p0] ^ fingerprints[p1] ^ fingerprints[p2]  # its own is still 0
        fingerprints[mine] = own(h, mask) ^ U64(found)


def _geometry(n: int, arity: int) -> tuple[int, int]:
    """Return the length of a segment and the number of segments a first position may lie in."""
    if n == 0:
        return 4, 1
    base, shift, least, at_most, growth, million = ARITIES[arity]
    segment = min(MAX_SEGMENT, 1 << max(0, math.floor(math.log(n) / math.log(base) + shift)))
    capacity = 0
    if n > 1:
        factor = max(least, at_most + growth * math.log(million) / math.log(n))
        capacity = math.floor(n * factor + 0.5)
    # Few long segments make peeling fail around n = 11,500; halving them until there are enough does not.
    while arity == 3 and segment > 256 and -(-capacity // (segment // 2)) - 2 <= 64:
        segment //= 2
    return segment, max(1, -(-capacity // segment) - (arity - 1))


def _construct(keys: NDArray[np.uint64], bits: int, arity: int) -> tuple[int, NDArray[Any], int]:
    """Return the fuse's seed, fingerprints and number of distinct keys."""
    n = len(keys)
    segment, count = _geometry(n, arity)
    positions = (count + arity - 1) * segment
    mask, numbers = U64((1 << bits) - 1), (U64(segment), U64(count * segment))
    for attempt, seed in enumerate(seeds(FIRST_STATE)):
        hashes = np.zeros(n + 1, np.uint64)
        _sorted_by_segment(keys, seed, max(1, (count - 1).bit_length()), hashes)
        peeled = (_peeled3 if arity == 3 else _peeled4)(hashes, n, positions, numbers)
        if peeled is not None:
            fingerprints = aligned_zeros(positions, DTYPES[bits])
            (_assign if arity == 3 else assign4)(fingerprints, mask, *numbers, hashes, peeled, n)
            return int(seed), fingerprints, n
        if attempt == 0:  # equal keys never come off: most sets have none, so they are looked for only now
            once = distinct(keys)
            if len(once) < n:
                return _construct(once, bits, arity)
    raise HotpathError(f"no fuse found for {n} keys in {MAX_ATTEMPTS} attempts; build with another seed")


def _peeled3(hashes: Any, n: int, positions: int, numbers: tuple[Any, Any]) -> Any:
    """Peel the hashes, putting them in the order they come off; return their arms, None if some are left."""
    sums, counts = np.zeros(positions, np.uint64), np.zeros(positions, np.uint8)
    alone, arms = np.empty(positions, np.uint32), np.empty(n, np.uint8)
    whole = _gather(hashes, n, *numbers, counts, sums)
    return arms if whole and _peel(*numbers, counts, sums, alone, hashes, arms) == n else None


def _peeled4(hashes: Any, n: int, positions: int, numbers: tuple[Any, Any]) -> Any:
    """Peel the hashes, putting them in the order they come off; return where, None if some are left."""
    sums, counts = np.zeros(positions, np.uint64), np.zeros(positions, np.uint16)
    alone, where = np.empty(positions + 1, np.uint32), np.empty(n, np.uint32)
    gather4(hashes, n, *numbers, counts, sums)
    return where if peel4(*numbers, counts, sums, alone, hashes, where) == n else None


class BinaryFuseFilter(StaticFilter):
    """A binary fuse filter: built once from all keys, then only asked.

    ``bits`` of fingerprint (8 or 16), or the smaller of them that keeps ``fpr`` (default 0.01). No false
    negatives. Building is O(n) and takes about 25 bytes of working memory per key; a lookup is ``arity``
    reads: 3, or 4 for less space. Memory: 9.0 or 8.6 bits per key for 8 bits and a million keys. Made by
    ``build`` or ``build_hashes``.

    >>> f = BinaryFuseFilter.build(["a", "b", "c"])
    >>> f.contains_many(["a", "b", "z"])
    array([ True,  True, False])
    """

    __slots__ = ("_fingerprints", "_fuse_seed", "_keys", "_segment", "arity", "bits")

    def _set_up(
        self, bits: int, arity: int, seed: int, fuse_seed: int, fingerprints: NDArray[Any], keys: int
    ) -> None:
        self.bits, self.arity = bits, arity
        self._use(house_hasher(seed))
        self._fuse_seed = fuse_seed
        self._fingerprints = fingerprints
        self._keys = keys
        self._segment, _ = _geometry(keys, arity)

    @classmethod
    def build_hashes(
        cls,
        hashes: NDArray[np.uint64],
        fpr: float | None = None,
        bits: int | None = None,
        *,
        arity: int = 3,
        seed: int = 0,
    ) -> Self:
        """Make a filter of ready 64-bit hashes (``uint64[n]``); ``seed`` is the one they were made with."""
        hashes, bits = checked(hashes, fpr, bits)
        if arity not in tuple(ARITIES) or isinstance(arity, (bool, float)):
            raise ValueError(f"arity={arity!r} is not one of {tuple(ARITIES)}")
        self = cls.__new__(cls)
        self._set_up(bits, int(arity), seed, *_construct(hashes, bits, int(arity)))
        return self

    __contains__ = Method(_ask, "_contains_one")

    def _probe(self, hashes: Any, out: Any) -> None:
        if not self._keys:
            out[:] = False
            return
        contains = _contains if self.arity == 3 else contains4
        contains(self._fingerprints, *self._numbers(), hashes, out)

    def _numbers(self) -> tuple[Any, Any, Any, Any]:
        """Return a fingerprint's mask, the fuse's seed, a segment's length, the span of first positions."""
        span = self._fingerprints.size - (self.arity - 1) * self._segment
        return U64((1 << self.bits) - 1), U64(self._fuse_seed), U64(self._segment), U64(span)

    def _parameters(self) -> dict[str, Any]:
        return {
            "keys": self._keys,
            "bits": self.bits,
            "arity": self.arity,
            "seed": self.seed,
            "fuse_seed": self._fuse_seed,
        }

    def _payload(self) -> Any:
        return self._fingerprints

    @classmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        bits, arity = parameters.choice("bits", tuple(DTYPES)), parameters.choice("arity", tuple(ARITIES))
        keys = parameters.integer("keys", 0, MAX_KEYS)
        fuse_seed = parameters.integer("fuse_seed", 0, (1 << 64) - 1)
        segment, count = _geometry(keys, arity)
        positions = (count + arity - 1) * segment
        fingerprints = stored(payload, keys, positions, bits)
        self = cls.__new__(cls)
        seed = parameters.integer("seed", 0, (1 << 64) - 1)
        self._set_up(bits, arity, seed, fuse_seed, fingerprints, keys)
        return self


_FINGERPRINTS, _BITS = place(BinaryFuseFilter, "_fingerprints"), place(BinaryFuseFilter, "bits")
_FUSE_SEED, _SEGMENT = place(BinaryFuseFilter, "_fuse_seed"), place(BinaryFuseFilter, "_segment")
_ARITY, _KEYS = place(BinaryFuseFilter, "arity"), place(BinaryFuseFilter, "_keys")
