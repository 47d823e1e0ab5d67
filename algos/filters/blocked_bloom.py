"""Blocked Bloom filter: all of a key's bits in one cache line, as many as the space calls for.

Putze, Sanders, Singler: Cache-, hash- and space-efficient Bloom filters, 2007, with the probes of RocksDB's
FastLocalBloom: the upper hash half chooses a 512-bit line, the lower is multiplied on from bit to bit::

    hash  |  line = (high32 * lines) >> 32  |  x = low32  |
    bit i =  x >> 23, then  x = x * 0x9e3779b9  mod 2^32,  i = 0..k-1

One cache miss per key whatever ``k``, where a classic Bloom filter has ``k``. The law: a line holds
Poisson(512 / B) keys at ``B`` bits per key; 0.96 % at 10 bits and k = 6. Unlike split blocks it can use any
number of bits, which pays from 16 bits per key on.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from algos._bits import M32, U1, U3, U6, U32, U32_, U63, U64, prefetch
from algos._fastcall import Method, Native, as_bool, as_none, number_of, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.filters._bit_filter import HASHES, WORDS, OneBlockFilter, invert, occupancy_law
from algos.filters._pipeline import overlap
from algos.hashing._keyed import hash_alone

GOLDEN = U32(0x9E3779B9)
MILLIBITS = (
    *(2080, 3580, 5100, 6640, 8300, 10070, 11720, 14001, 16050, 18300, 22001, 25501),
    *(27501, 30001, 32001, 34501, 37001, 39501, 42001, 44001, 46001, 48001, 50001),
)
"""Up to how many thousandths of a bit per key one probe is best, two, three, ... (RocksDB's choice)."""
BATCH = 96
"""Keys whose lines are under way while others are probed."""


@inlined
def _start(h: Any, lines: Any) -> Any:
    """Return where in the words a hash's line starts."""
    return (((h >> U32_) * lines) >> U32_) << U3


@inlined
def _fetch(state: Any, k: Any) -> None:
    words, starts, _, _ = state
    prefetch(words, starts[k])


@inlined
def _test(state: Any, k: Any) -> Any:
    words, starts, lower, hash_count = state
    return _all_set(words, starts[k], lower[k], hash_count)


@inlined
def _all_set(words: Any, start: Any, x: Any, hash_count: Any) -> Any:
    """Tell whether all of a key's bits are set, without a branch on what is there."""
    hit = U1
    for _ in range(hash_count):
        p = U64(x >> U32(23))
        hit &= words[start + (p >> U6)] >> (p & U63)
        x = U32(x * GOLDEN)
    return hit != U64(0)


@inlined
def _set(words: Any, start: Any, h: Any, hash_count: Any) -> Any:
    """Set a key's bits; tell whether one of them was not set before."""
    x, was = U32(h & M32), U1
    for _ in range(hash_count):
        p = U64(x >> U32(23))
        word = words[start + (p >> U6)]
        was &= word >> (p & U63)
        words[start + (p >> U6)] = word | (U1 << (p & U63))
        x = U32(x * GOLDEN)
    return was == U64(0)


@kernel
def _contains(words: Any, hash_count: Any, hashes: Any, out: Any) -> None:
    lines, n = U64(words.size >> 3), hashes.size
    starts, lower = np.empty(2 * BATCH, np.uint64), np.empty(2 * BATCH, np.uint32)
    state = words, starts, lower, hash_count
    for step in range((n + BATCH - 1) // BATCH + 1):
        new, old = (step & 1) * BATCH, BATCH - (step & 1) * BATCH
        lo = step * BATCH
        coming = max(0, min(BATCH, n - lo))
        for j in range(coming):
            starts[new + j] = _start(hashes[lo + j], lines)
            lower[new + j] = U32(hashes[lo + j] & M32)
        overlap(_fetch, _test, state, new, old, coming, out[max(0, lo - BATCH) : min(lo, n)])


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        words = uint64s_of(me, WORDS)
        start = _start(h, U64(words.size >> 3))
        return as_bool(_all_set(words, start, U32(h & M32), number_of(me, HASHES)))
    return slowly(me, "_contains_one", arguments, count, names)


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        words = uint64s_of(me, WORDS)
        _set(words, _start(h, U64(words.size >> 3)), h, number_of(me, HASHES))
        return as_none()
    return slowly(me, "_add_one", arguments, count, names)


@kernel
def _add(words: Any, hash_count: Any, hashes: Any, new: Any) -> None:
    """Add one key after the other; ``new`` (bool[n]) notes which had a bit that was not set."""
    lines, n = U64(words.size >> 3), hashes.size
    ahead = min(BATCH, n)
    for i in range(ahead):
        prefetch(words, _start(hashes[i], lines))
    for i in range(n - ahead):
        prefetch(words, _start(hashes[i + ahead], lines))
        new[i] = _set(words, _start(hashes[i], lines), hashes[i], hash_count)
    for i in range(n - ahead, n):
        new[i] = _set(words, _start(hashes[i], lines), hashes[i], hash_count)


def _hashes_for(bits_per_key: float) -> int:
    """Return how many bits a key should have."""
    return 1 + sum(1000.0 * bits_per_key > limit for limit in MILLIBITS)


@cache
def _size_for(fpr: float) -> tuple[float, int]:
    per_key = invert(lambda bits: occupancy_law(bits, 512, _hashes_for(bits)), fpr, 64.0)
    return per_key, _hashes_for(per_key)


class BlockedBloomFilter(OneBlockFilter):
    """A blocked Bloom filter for ``capacity`` keys at ``fpr`` (default 0.01) or at ``bits_per_key``.

    More keys may be added; the false-positive rate then rises by the law of this module. There are no
    false negatives. ``add`` and ``in`` touch one cache line, O(k). Memory: 10 bits per key at 1 %.

    >>> f = BlockedBloomFilter(1000, bits_per_key=16)
    >>> f.add_many([1, 2, 3])
    >>> f.contains_many([1, 2, 3, 4])
    array([ True,  True,  True, False])
    """

    __slots__ = ()
    BLOCK_BITS, MAX_BLOCKS, MAX_HASHES = 512, 1 << 32, 24
    _size_for = staticmethod(_size_for)
    _hashes_for = staticmethod(_hashes_for)

    __contains__ = Method(_ask, "_contains_one")
    add = Method(_put, "_add_one")

    def _probe(self, hashes: Any, out: Any) -> None:
        _contains(self._words, self.hash_count, hashes, out)

    def _insert_new(self, hashes: Any, out: Any) -> None:
        _add(self._words, self.hash_count, hashes, out)
