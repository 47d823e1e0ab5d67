"""Binary fuse filter: the smallest and fastest filter for a set that is known in advance.

Graf, Lemire 2022, 3-wise. A key's three positions lie in three neighbouring segments of one array of
fingerprints, and the fingerprints there XOR to the key's own::

    hash = fmix64(key + seed)      fingerprint = hash ^ (hash >> 32), 8 or 16 bits
    position 0 = (hash * positions) >> 64, anywhere in all but the last two segments
    position 1, 2 = the same place one and two segments on, with low bits flipped by the hash

To build, every key is peeled off at a position that it has for itself, then fingerprints are given in
reverse. Parameters and construction are those of the C library ``xor_singleheader`` (as shipped with
pyfusefilter 1.3), so fingerprints are equal byte for byte. The law: fpr = 2^-bits, at 9.0 bits per key
for 8 bits and a million keys, more for few; a lookup is three reads and no branch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._bits import U1, U2, U32_, U64, aligned_zeros, mulhi32, prefetch
from algos._jit import inlined, kernel
from algos.errors import CorruptDataError, HotpathError
from algos.filters._common import (
    DEFAULT_FPR,
    Filter,
    all_hashes,
    check_fpr,
    check_hashes,
    distinct,
    house_hasher,
    only_one,
)
from algos.hashing.murmur3_128 import fmix64
from algos.hashing.splitmix64 import GAMMA, SPLITMIX64

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algos import _state

DTYPES: dict[int, np.dtype[Any]] = {8: np.dtype("<u1"), 16: np.dtype("<u2")}
FIRST_STATE = U64(0x726B2B9D438B9D4D)
MAX_SEGMENT = 1 << 18
MAX_KEYS = 1 << 31
MAX_ATTEMPTS = 100
NEXT_ARM = np.array([1, 2, 0], np.uint8)
BATCH = 96
"""Keys per step of a lookup, as in the split-block filter: three lines each in flight."""


@inlined
def _own(h: Any, mask: Any) -> Any:
    return (h ^ (h >> U32_)) & mask


@inlined
def _position0(h: Any, span: Any) -> Any:
    return mulhi32(h, span)


@inlined
def _position1(h: Any, p0: Any, segment: Any) -> Any:
    return (p0 + segment) ^ ((h >> U64(18)) & (segment - U1))


@inlined
def _position2(h: Any, p0: Any, segment: Any) -> Any:
    return (p0 + U2 * segment) ^ (h & (segment - U1))


@kernel
def _contains(
    fingerprints: Any, mask: Any, seed: Any, segment: Any, span: Any, hashes: Any, out: Any
) -> None:
    n = hashes.size
    at0, at1 = np.empty(2 * BATCH, np.uint64), np.empty(2 * BATCH, np.uint64)
    at2, own = np.empty(2 * BATCH, np.uint64), np.empty(2 * BATCH, fingerprints.dtype)
    for step in range((n + BATCH - 1) // BATCH + 1):
        new, old = (step & 1) * BATCH, BATCH - (step & 1) * BATCH
        lo = step * BATCH
        coming = max(0, min(BATCH, n - lo))
        for j in range(coming):
            h = fmix64(hashes[lo + j] + seed)
            p0 = _position0(h, span)
            at0[new + j], at1[new + j] = p0, _position1(h, p0, segment)
            at2[new + j] = _position2(h, p0, segment)
            own[new + j] = _own(h, mask)
        for j in range(coming):
            prefetch(fingerprints, at0[new + j])
            prefetch(fingerprints, at1[new + j])
            prefetch(fingerprints, at2[new + j])
        before = max(0, lo - BATCH)
        for j in range(min(lo - before, n - before)):
            found = fingerprints[at0[old + j]] ^ fingerprints[at1[old + j]] ^ fingerprints[at2[old + j]]
            out[before + j] = found == own[old + j]


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
        p0 = _position0(h, span)
        p1, p2 = _position1(h, p0, segment), _position2(h, p0, segment)
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
        p0 = _position0(h, span)
        p1, p2 = _position1(h, p0, segment), _position2(h, p0, segment)
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
        p0 = _position0(h, span)
        p1, p2 = _position1(h, p0, segment), _position2(h, p0, segment)
        mine = p0 if arm == U64(0) else p1 if arm == U1 else p2
        found = fingerprints[p0] ^ fingerprints[p1] ^ fingerprints[p2]  # its own is still 0
        fingerprints[mine] = _own(h, mask) ^ U64(found)


def _geometry(n: int) -> tuple[int, int]:
    """Return the length of a segment and the number of segments a first position may lie in."""
    if n == 0:
        return 4, 1
    segment = min(MAX_SEGMENT, 1 << math.floor(math.log(n) / math.log(3.33) + 2.25))
    capacity = 0
    if n > 1:
        factor = max(1.125, 0.875 + 0.25 * math.log(1e6) / math.log(n))
        capacity = math.floor(n * factor + 0.5)
    # Few long segments make peeling fail around n = 11,500; halving them until there are enough does not.
    while segment > 256 and -(-capacity // (segment // 2)) - 2 <= 64:
        segment //= 2
    return segment, max(1, -(-capacity // segment) - 2)


def _seeds() -> NDArray[np.uint64]:
    """Return the seeds to try, one after the other: the C library's SplitMix64 stream."""
    states = FIRST_STATE + np.arange(MAX_ATTEMPTS, dtype=np.uint64) * GAMMA
    seeds = np.empty(MAX_ATTEMPTS, np.uint64)
    SPLITMIX64.words(states, U64(0), seeds)
    return seeds


def _construct(keys: NDArray[np.uint64], bits: int) -> tuple[int, NDArray[Any], int]:
    """Return the fuse's seed, fingerprints and number of distinct keys."""
    n = len(keys)
    segment, count = _geometry(n)
    positions = (count + 2) * segment
    numbers = U64((1 << bits) - 1), U64(segment), U64(count * segment)
    alone, arms = np.empty(positions, np.uint32), np.empty(n, np.uint8)
    for attempt, seed in enumerate(_seeds()):
        hashes, sums = np.zeros(n + 1, np.uint64), np.zeros(positions, np.uint64)
        counts = np.zeros(positions, np.uint8)
        _sorted_by_segment(keys, seed, max(1, (count - 1).bit_length()), hashes)
        if _gather(hashes, n, *numbers[1:], counts, sums):
            off = _peel(*numbers[1:], counts, sums, alone, hashes, arms)
            if off == n:
                fingerprints = aligned_zeros(positions, DTYPES[bits])
                _assign(fingerprints, *numbers, hashes, arms, n)
                return int(seed), fingerprints, n
        if attempt == 0:  # equal keys never come off: most sets have none, so they are looked for only now
            once = distinct(keys)
            if len(once) < n:
                return _construct(once, bits)
    raise HotpathError(f"no fuse found for {n} keys in {MAX_ATTEMPTS} attempts; build with another seed")


def _bits_for(fpr: float) -> int:
    for bits in DTYPES:
        if 2.0**-bits <= fpr:
            return bits
    raise ValueError(f"fpr={fpr} is below the {2.0**-16:.2g} of 16-bit fingerprints; use BloomFilter")


class BinaryFuseFilter(Filter):
    """A binary fuse filter: built once from all keys, then only asked.

    ``bits`` of fingerprint (8 or 16), or the smaller of them that keeps ``fpr`` (default 0.01). No false
    negatives. Building is O(n) and takes about 25 bytes of working memory per key; a lookup is three
    reads. Memory: 9.0 bits per key for 8 bits and a million keys. Made by ``build`` or ``build_hashes``.

    >>> f = BinaryFuseFilter.build(["a", "b", "c"])
    >>> f.contains_many(["a", "b", "z"])
    array([ True,  True, False])
    """

    __slots__ = ("_fingerprints", "_fuse_seed", "_hasher", "_keys", "bits")

    def __init__(self, *_: Any, **__: Any) -> None:
        raise TypeError("all keys must be known at once: use BinaryFuseFilter.build(keys)")

    def _set_up(self, bits: int, seed: int, fuse_seed: int, fingerprints: NDArray[Any], keys: int) -> None:
        self.bits = bits
        self._hasher = house_hasher(seed)
        self._fuse_seed = fuse_seed
        self._fingerprints = fingerprints
        self._keys = keys

    @classmethod
    def build(cls, keys: Any, fpr: float | None = None, bits: int | None = None, *, seed: int = 0) -> Self:
        """Make a filter of all distinct ``keys``; nulls are skipped. O(n)."""
        return cls.build_hashes(all_hashes(house_hasher(seed), keys), fpr, bits, seed=seed)

    @classmethod
    def build_hashes(
        cls, hashes: NDArray[np.uint64], fpr: float | None = None, bits: int | None = None, *, seed: int = 0
    ) -> Self:
        """Make a filter of ready 64-bit hashes (``uint64[n]``); ``seed`` is the one they were made with."""
        only_one(fpr=fpr, bits=bits)
        if bits is None:
            bits = _bits_for(check_fpr(DEFAULT_FPR if fpr is None else fpr))
        elif bits not in tuple(DTYPES):
            raise ValueError(f"bits={bits!r} is not one of {tuple(DTYPES)}")
        hashes = check_hashes(hashes)
        if len(hashes) > MAX_KEYS:
            raise ValueError(f"{len(hashes)} keys are more than the 2**31 of one fuse; build several")
        self = cls.__new__(cls)
        self._set_up(int(bits), seed, *_construct(hashes, int(bits)))
        return self

    def __len__(self) -> int:
        """Return the number of distinct keys."""
        return self._keys

    @property
    def bits_per_key(self) -> float:
        """The filter's bits divided by its keys."""
        return 8.0 * self.nbytes / max(1, self._keys)

    def expected_fpr(self) -> float:
        """Return the chance that a key not in the set is found: ``2^-bits``, or 0 for the empty set."""
        return 2.0**-self.bits if self._keys else 0.0

    def _probe(self, hashes: Any, out: Any) -> None:
        if not self._keys:
            out[:] = False
            return
        segment, count = _geometry(self._keys)
        mask, seed = U64((1 << self.bits) - 1), U64(self._fuse_seed)
        _contains(self._fingerprints, mask, seed, U64(segment), U64(count * segment), hashes, out)

    def _parameters(self) -> dict[str, Any]:
        return {"keys": self._keys, "bits": self.bits, "seed": self.seed, "fuse_seed": self._fuse_seed}

    def _payload(self) -> Any:
        return self._fingerprints

    @classmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        bits = parameters.choice("bits", tuple(DTYPES))
        keys = parameters.integer("keys", 0, MAX_KEYS)
        fuse_seed = parameters.integer("fuse_seed", 0, (1 << 64) - 1)
        segment, count = _geometry(keys)
        positions = (count + 2) * segment
        if len(payload) != positions * bits // 8:
            raise CorruptDataError(f"{keys} keys have {positions} fingerprints, not {len(payload)} bytes")
        fingerprints = aligned_zeros(positions, DTYPES[bits])
        fingerprints[:] = np.frombuffer(payload, DTYPES[bits])
        self = cls.__new__(cls)
        seed = parameters.integer("seed", 0, (1 << 64) - 1)
        self._set_up(bits, seed, fuse_seed, fingerprints, keys)
        return self
