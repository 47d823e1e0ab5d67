"""Xor filter: three reads anywhere in an array of fingerprints, for a set that is known in advance.

Graf, Lemire: Xor filters: faster and smaller than Bloom and cuckoo filters, JEA 25, 2020. A key has one
position in each third of the array, and the fingerprints there XOR to its own::

    hash = fmix64(key + seed)      fingerprint = hash ^ (hash >> 32), 8 or 16 bits
    position i = i thirds + (low 32 bits of rotate(hash, 21 i) * third) >> 32

The layout is that of the C library ``xor_singleheader``. Building peels as ``BinaryFuseFilter`` does, but
the positions are as far apart as the array is long, so it misses the cache at every step, and it needs 1.23
positions per key where the fuse needs 1.13. The law: fpr = 2^-bits, at 9.84 bits per key for 8. Kept as the
measure of its successor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._bits import M32, U2, U8, U32_, U64, aligned_zeros, rotl
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
from algos.filters._pipeline import overlap
from algos.hashing._keyed import hash_alone, house_hasher
from algos.hashing.murmur3_128 import fmix64

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algos import _state

FIRST_STATE = U64(1)
BATCH = 96
"""Keys per step of a lookup, as in the split-block filter: three lines each in flight."""
_R21, _R42 = U64(21), U64(42)


@inlined
def _positions(h: Any, third: Any) -> tuple[Any, Any, Any]:
    p0 = ((h & M32) * third) >> U32_
    p1 = ((rotl(h, _R21) & M32) * third) >> U32_
    p2 = ((rotl(h, _R42) & M32) * third) >> U32_
    return p0, p1 + third, p2 + U2 * third


@kernel
def _contains(fingerprints: Any, mask: Any, seed: Any, third: Any, hashes: Any, out: Any) -> None:
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
            at0[new + j], at1[new + j], at2[new + j] = _positions(h, third)
            mine[new + j] = own(h, mask)
        overlap(fetch3, holds3, state, new, old, coming, out[max(0, lo - BATCH) : min(lo, n)])


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        data, bits = bytes_of(me, _FINGERPRINTS), number_of(me, _BITS)
        h = fmix64(h + number_of(me, _XOR_SEED))
        found = holds_one(data, bits, _positions(h, U64(data.size) * U8 // bits // U64(3)), h)
        return as_bool(found & (number_of(me, _KEYS) != U64(0)))
    return slowly(me, "_contains_one", arguments, count, names)


@kernel
def _gather(keys: Any, seed: Any, third: Any, counts: Any, sums: Any) -> None:
    """Enter every key's hash at its three positions."""
    for i in range(keys.size):
        h = fmix64(keys[i] + seed)
        for at in _positions(h, third):
            counts[at] += np.uint32(1)
            sums[at] ^= h


@kernel
def _peel(third: Any, counts: Any, sums: Any, alone: Any, order: Any, where: Any) -> Any:
    """Take off, one after the other, the hashes that are alone somewhere; return how many came off."""
    queue: Any = 0
    for at in range(counts.size):
        alone[queue] = np.uint32(at)
        queue += np.int64(counts[at] == np.uint32(1))
    off = 0
    while queue > 0:
        queue -= 1
        at = alone[queue]
        if counts[at] != np.uint32(1):
            continue
        h = sums[at]
        order[off], where[off] = h, at
        off += 1
        for p in _positions(h, third):
            counts[p] -= np.uint32(1)
            sums[p] ^= h
            alone[queue] = np.uint32(p)
            queue += np.int64(counts[p] == np.uint32(1))
    return off


@kernel
def _assign(fingerprints: Any, mask: Any, third: Any, order: Any, where: Any) -> None:
    """Give fingerprints in reverse order of peeling."""
    for i in range(order.size - 1, -1, -1):
        found = own(order[i], mask)
        for p in _positions(order[i], third):  # its own is still 0
            found ^= U64(fingerprints[p])
        fingerprints[where[i]] = found


def _third(keys: int) -> int:
    """Return the length of a third of the array."""
    return int(32 + 1.23 * keys) // 3


def _construct(keys: NDArray[np.uint64], bits: int) -> tuple[int, NDArray[Any]]:
    """Return the seed and the fingerprints of distinct keys."""
    n, third = len(keys), U64(_third(len(keys)))
    positions = 3 * int(third)
    order, where = np.empty(n, np.uint64), np.empty(n, np.uint32)
    alone = np.empty(positions + 3, np.uint32)  # what is queued behind the last is not kept
    for seed in seeds(FIRST_STATE):
        counts, sums = np.zeros(positions, np.uint32), np.zeros(positions, np.uint64)
        _gather(keys, seed, third, counts, sums)
        if _peel(third, counts, sums, alone, order, where) == n:
            fingerprints = aligned_zeros(positions, DTYPES[bits])
            _assign(fingerprints, U64((1 << bits) - 1), third, order, where)
            return int(seed), fingerprints
    raise HotpathError(f"no xor filter found for {n} keys in {MAX_ATTEMPTS} attempts; try another seed")


class XorFilter(StaticFilter):
    """An xor filter: built once from all keys, then only asked.

    ``bits`` of fingerprint (8 or 16), or the smaller of them that keeps ``fpr`` (default 0.01). No false
    negatives. Building is O(n) and takes about 45 bytes of working memory per key; a lookup is three
    reads. Memory: 1.23 bits per key and bit of fingerprint. Made by ``build`` or ``build_hashes``.

    >>> f = XorFilter.build(["a", "b", "c"])
    >>> f.contains_many(["a", "b", "z"])
    array([ True,  True, False])
    """

    __slots__ = ("_fingerprints", "_keys", "_xor_seed", "bits")

    def _set_up(self, bits: int, seed: int, keys: int, xor_seed: int, fingerprints: NDArray[Any]) -> None:
        self.bits = bits
        self._use(house_hasher(seed))
        self._keys = keys
        self._xor_seed = xor_seed
        self._fingerprints = fingerprints

    @classmethod
    def build_hashes(
        cls, hashes: NDArray[np.uint64], fpr: float | None = None, bits: int | None = None, *, seed: int = 0
    ) -> Self:
        """Make a filter of ready 64-bit hashes (``uint64[n]``); ``seed`` is the one they were made with."""
        hashes, bits = checked(hashes, fpr, bits)
        hashes = distinct(hashes)
        self = cls.__new__(cls)
        self._set_up(bits, seed, len(hashes), *_construct(hashes, bits))
        return self

    __contains__ = Method(_ask, "_contains_one")

    def _probe(self, hashes: Any, out: Any) -> None:
        if not self._keys:
            out[:] = False
            return
        mask, seed, third = U64((1 << self.bits) - 1), U64(self._xor_seed), U64(_third(self._keys))
        _contains(self._fingerprints, mask, seed, third, hashes, out)

    def _parameters(self) -> dict[str, Any]:
        return {"keys": self._keys, "bits": self.bits, "seed": self.seed, "xor_seed": self._xor_seed}

    def _payload(self) -> Any:
        return self._fingerprints

    @classmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        bits = parameters.choice("bits", tuple(DTYPES))
        keys = parameters.integer("keys", 0, MAX_KEYS)
        positions = 3 * _third(keys)
        fingerprints = stored(payload, keys, positions, bits)
        self = cls.__new__(cls)
        seed = parameters.integer("seed", 0, (1 << 64) - 1)
        self._set_up(bits, seed, keys, parameters.integer("xor_seed", 0, (1 << 64) - 1), fingerprints)
        return self


_FINGERPRINTS, _BITS = place(XorFilter, "_fingerprints"), place(XorFilter, "bits")
_XOR_SEED, _KEYS = place(XorFilter, "_xor_seed"), place(XorFilter, "_keys")
