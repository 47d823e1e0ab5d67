"""Register-blocked Bloom filter: all of a key's bits in one 64-bit word.

Lang, Neumann, Kemper, Boncz: Performance-optimal filtering, VLDB 2019. The upper hash half chooses the
word, the lower, spread by a multiply, chooses k of its bits, six hash bits each::

    hash  |  word = (high32 * words) >> 32  |  x = low32 * G  |  bit i = top 6 bits of (x << 6 i)

A lookup is one load, a mask and a comparison, the least there can be; the price is space, since eight bytes
fill up unevenly: 1.8 % at 10 bits per key, where a classic Bloom filter has 0.8 %. The law: a word holds
Poisson(64 / B) keys at ``B`` bits per key. The filter for what a join or a scan asks once a row, in cache.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from algos._bits import M32, U6, U32_, U64, prefetch
from algos._fastcall import Method, Native, as_bool, as_none, number_of, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.filters._bit_filter import HASHES, WORDS, OneBlockFilter, invert, occupancy_law
from algos.filters._pipeline import overlap
from algos.hashing._keyed import hash_alone
from algos.hashing.splitmix64 import GAMMA

MAX_HASHES = 8  # of six bits each: the lower ones of a product are of no quality
BATCH = 96
"""Keys whose words are under way while others are probed."""
_TOP = U64(58)


@inlined
def _word(h: Any, words: Any) -> Any:
    return ((h >> U32_) * words) >> U32_


@inlined
def _mask(h: Any, hash_count: Any) -> Any:
    """Return a key's bits. There are always ``MAX_HASHES`` steps, some without a bit: so loops vectorise."""
    x, mask = (h & M32) * GAMMA, U64(0)
    for i in range(MAX_HASHES):
        mask |= U64(i < hash_count) << (x >> _TOP)
        x <<= U6
    return mask


@inlined
def _fetch(state: Any, k: Any) -> None:
    words, at, _ = state
    prefetch(words, at[k])


@inlined
def _test(state: Any, k: Any) -> Any:
    words, at, masks = state
    return words[at[k]] & masks[k] == masks[k]


@kernel
def _contains(words: Any, hash_count: Any, hashes: Any, out: Any) -> None:
    count, n = U64(words.size), hashes.size
    at, masks = np.empty(2 * BATCH, np.uint64), np.empty(2 * BATCH, np.uint64)
    state = words, at, masks
    for step in range((n + BATCH - 1) // BATCH + 1):
        new, old = (step & 1) * BATCH, BATCH - (step & 1) * BATCH
        lo = step * BATCH
        coming = max(0, min(BATCH, n - lo))
        for j in range(coming):
            h = hashes[lo + j]
            at[new + j], masks[new + j] = _word(h, count), _mask(h, hash_count)
        overlap(_fetch, _test, state, new, old, coming, out[max(0, lo - BATCH) : min(lo, n)])


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        words = uint64s_of(me, WORDS)
        mask = _mask(h, np.int64(number_of(me, HASHES)))
        return as_bool(words[_word(h, U64(words.size))] & mask == mask)
    return slowly(me, "_contains_one", arguments, count, names)


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        words = uint64s_of(me, WORDS)
        words[_word(h, U64(words.size))] |= _mask(h, np.int64(number_of(me, HASHES)))
        return as_none()
    return slowly(me, "_add_one", arguments, count, names)


@kernel
def _add(words: Any, hash_count: Any, hashes: Any, new: Any) -> None:
    """Add one key after the other; ``new`` (bool[n]) notes which had a bit that was not set."""
    count, n = U64(words.size), hashes.size
    for i in range(n):
        if i + BATCH < n:
            prefetch(words, _word(hashes[i + BATCH], count))
        at, mask = _word(hashes[i], count), _mask(hashes[i], hash_count)
        new[i] = (words[at] & mask) != mask
        words[at] |= mask


@cache
def _hashes_for(bits_per_key: float) -> int:
    """Return how many bits a key should have: those with the fewest false positives."""
    return min(range(1, MAX_HASHES + 1), key=lambda k: occupancy_law(bits_per_key, 64, k))


@cache
def _size_for(fpr: float) -> tuple[float, int]:
    per_key = invert(lambda bits: occupancy_law(bits, 64, _hashes_for(bits)), fpr, 256.0)
    return per_key, _hashes_for(per_key)


class RegisterBlockedBloomFilter(OneBlockFilter):
    """A register-blocked Bloom filter for ``capacity`` keys at ``fpr`` or at ``bits_per_key``.

    More keys may be added; the false-positive rate then rises by the law of this module. There are no
    false negatives. ``add`` and ``in`` touch one word. Memory: 12 bits per key at 1 %, 24 at 0.1 %.

    >>> f = RegisterBlockedBloomFilter(1000)
    >>> f.add_many([1, 2, 3])
    >>> f.contains_many([1, 2, 3, 4])
    array([ True,  True,  True, False])
    """

    __slots__ = ()
    BLOCK_BITS, MAX_BLOCKS, MAX_HASHES = 64, 1 << 32, MAX_HASHES
    _size_for = staticmethod(_size_for)
    _hashes_for = staticmethod(_hashes_for)

    __contains__ = Method(_ask, "_contains_one")
    add = Method(_put, "_add_one")

    def _probe(self, hashes: Any, out: Any) -> None:
        _contains(self._words, self.hash_count, hashes, out)

    def _insert_new(self, hashes: Any, out: Any) -> None:
        _add(self._words, self.hash_count, hashes, out)
