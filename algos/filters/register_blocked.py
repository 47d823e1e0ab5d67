"""Register-blocked Bloom filter: all of a key's bits in one 64-bit word.

Lang, Neumann, Kemper, Boncz: Performance-optimal filtering, VLDB 2019. The upper hash half chooses the
word, the lower, spread by a multiply, chooses k of its bits, six hash bits each::

    hash  |  word = (high32 * words) >> 32  |  x = low32 * G  |  bit i = top 6 bits of (x << 6 i)

A lookup is one load, a mask and a comparison, the least there can be; the price is space, since eight bytes
fill up unevenly: 1.8 % at 10 bits per key, where a classic Bloom filter has 0.8 %. The law: a word holds
Poisson(64 / B) keys at ``B`` bits per key. The filter for what a join or a scan asks once a row, in cache.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._bits import M32, U1, U6, U32_, U64, aligned_zeros, prefetch
from algos._jit import inlined, kernel
from algos.filters._common import (
    DEFAULT_FPR,
    MAX_CAPACITY,
    BitFilter,
    check_bits_per_key,
    check_capacity,
    check_count,
    check_fpr,
    house_hasher,
    invert,
    occupancy_law,
    only_one,
)

if TYPE_CHECKING:
    from algos import _state

G = U64(0x9E3779B97F4A7C15)
WORD_BITS = 64
MAX_WORDS = 1 << 32
MAX_HASHES = 8  # of six bits each: the lower ones of a product are of no quality
BATCH = 96
"""Keys whose words are under way while others are probed."""
_TOP = U64(58)


@inlined
def _word(h: Any, words: Any) -> Any:
    return ((h >> U32_) * words) >> U32_


@inlined
def _mask(h: Any, hash_count: Any) -> Any:
    x, mask = (h & M32) * G, U64(0)
    for _ in range(hash_count):
        mask |= U1 << (x >> _TOP)
        x <<= U6
    return mask


@kernel
def _contains(words: Any, hash_count: Any, hashes: Any, out: Any) -> None:
    """Masks in one vector loop, then one that fetches the words of a step and tests those of the last."""
    count, n = U64(words.size), hashes.size
    at, masks = np.empty(2 * BATCH, np.uint64), np.empty(2 * BATCH, np.uint64)
    for step in range((n + BATCH - 1) // BATCH + 1):
        new, old = (step & 1) * BATCH, BATCH - (step & 1) * BATCH
        lo = step * BATCH
        coming = max(0, min(BATCH, n - lo))
        for j in range(coming):
            h = hashes[lo + j]
            at[new + j], masks[new + j] = _word(h, count), (h & M32) * G
        _spread(masks[new : new + coming], hash_count)
        before = max(0, lo - BATCH)
        going = min(lo - before, n - before)
        both = min(coming, going)
        for j in range(both):
            prefetch(words, at[new + j])
            out[before + j] = (words[at[old + j]] & masks[old + j]) == masks[old + j]
        for j in range(both, coming):
            prefetch(words, at[new + j])
        for j in range(both, going):
            out[before + j] = (words[at[old + j]] & masks[old + j]) == masks[old + j]


@inlined
def _spread(products: Any, hash_count: Any) -> None:
    """Turn the products into masks, probe by probe over all keys, so that the loops vectorise."""
    masks = np.zeros(BATCH, np.uint64)
    for _ in range(hash_count):
        for j in range(products.size):
            masks[j] |= U1 << (products[j] >> _TOP)
            products[j] <<= U6
    for j in range(products.size):
        products[j] = masks[j]


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
def best(bits_per_key: float) -> int:
    """Return how many bits a key should have: those with the fewest false positives."""
    return min(range(1, MAX_HASHES + 1), key=lambda k: occupancy_law(bits_per_key, WORD_BITS, k))


@cache
def _bits_for(fpr: float) -> float:
    return invert(lambda bits: occupancy_law(bits, WORD_BITS, best(bits)), fpr, 256.0)


class RegisterBlockedBloomFilter(BitFilter):
    """A register-blocked Bloom filter for ``capacity`` keys at ``fpr`` or at ``bits_per_key``.

    More keys may be added; the false-positive rate then rises by the law of this module. There are no
    false negatives. ``add`` and ``in`` touch one word. Memory: 12 bits per key at 1 %, 24 at 0.1 %.

    >>> f = RegisterBlockedBloomFilter(1000)
    >>> f.add_many([1, 2, 3])
    >>> f.contains_many([1, 2, 3, 4])
    array([ True,  True,  True, False])
    """

    __slots__ = ("_hasher", "_words", "capacity", "hash_count")

    def __init__(
        self, capacity: int, fpr: float | None = None, bits_per_key: float | None = None, *, seed: int = 0
    ) -> None:
        only_one(fpr=fpr, bits_per_key=bits_per_key)
        self.capacity = check_capacity(capacity)
        self._hasher = house_hasher(seed)
        if bits_per_key is None:
            per_key = _bits_for(check_fpr(DEFAULT_FPR if fpr is None else fpr))
        else:
            per_key = check_bits_per_key(bits_per_key)
        self.hash_count = best(per_key)
        count = max(1, math.ceil(per_key * self.capacity / WORD_BITS))
        if count > MAX_WORDS:
            raise ValueError(f"{count} words are more than the 2**32 a hash can choose from; ask for less")
        self._words = aligned_zeros(count, np.uint64)

    def expected_fpr(self, count: int | None = None) -> float:
        """Return the chance that a key never added is found.

        For the bits set now it is ``(share of set bits)^k`` over all words, O(nbytes); with ``count`` it is
        the law for that many keys, before they are added.
        """
        if count is None:
            shares = np.bitwise_count(self._words) / WORD_BITS
            return float((shares**self.hash_count).mean())
        count = check_count(count)
        return occupancy_law(8.0 * self.nbytes / count, WORD_BITS, self.hash_count) if count else 0.0

    def _probe(self, hashes: Any, out: Any) -> None:
        _contains(self._words, self.hash_count, hashes, out)

    def _insert(self, hashes: Any) -> None:
        _add(self._words, self.hash_count, hashes, np.empty(len(hashes), np.bool_))

    def _insert_new(self, hashes: Any, out: Any) -> None:
        _add(self._words, self.hash_count, hashes, out)

    def _parameters(self) -> dict[str, Any]:
        return {"capacity": self.capacity, "hash_count": self.hash_count, "seed": self.seed}

    @classmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        self = cls.__new__(cls)
        self.capacity = parameters.integer("capacity", 1, MAX_CAPACITY)
        self.hash_count = parameters.integer("hash_count", 1, MAX_HASHES)
        self._hasher = house_hasher(parameters.integer("seed", 0, (1 << 64) - 1))
        self._take_words(payload, 8, "<u8", MAX_WORDS)
        return self
