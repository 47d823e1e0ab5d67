"""Bloom filter: the classic, k bits anywhere in one array of m.

Bloom 1970; the k positions come from one 64-bit hash by enhanced double hashing (Dillinger, Manolios:
Bloom filters in probabilistic verification, 2004) on a circle of 2^64 points, scaled to m::

    point = hash,  step = rotate(hash, 32) | 1
    position_i = (point * m) >> 64,  then  point += step,  step += i * G,  i = 0..k-1,  all mod 2^64

Without the growing step two keys' positions overlap too often: at 100 keys a plain progression has 3 %
more false positives than its bits explain. The law: fpr = (1 - e^(-k n / m))^k, least at k = m / n ln 2,
where it takes 1.44 log2(1 / fpr) bits per key: 9.6 at 1 %. The smallest filter that grows and merges; k
cache misses per hit make it slow past the cache, so a batch is probed in rounds that prefetch one bit of
every key still in question.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._bits import aligned_zeros
from algos.filters._bloom import LN2, MAX_HASHES, add, contains, law, words_for
from algos.filters._common import (
    DEFAULT_FPR,
    MAX_CAPACITY,
    BitFilter,
    check_bits_per_key,
    check_capacity,
    check_count,
    check_fpr,
    house_hasher,
    only_one,
)

if TYPE_CHECKING:
    from algos import _state


class BloomFilter(BitFilter):
    """A Bloom filter for ``capacity`` keys at ``fpr`` (default 0.01) or at ``bits_per_key``.

    More keys may be added; the false-positive rate then rises by the law of this module. There are no
    false negatives. ``add`` and ``in`` are O(k), k = log2(1 / fpr): 7 at 1 %. Memory: 9.6 bits per key
    at 1 %.

    >>> f = BloomFilter(1000, fpr=0.001)
    >>> f.add(42)
    >>> 42 in f, 43 in f
    (True, False)
    """

    __slots__ = ("_hasher", "_words", "capacity", "hash_count")

    def __init__(
        self, capacity: int, fpr: float | None = None, bits_per_key: float | None = None, *, seed: int = 0
    ) -> None:
        only_one(fpr=fpr, bits_per_key=bits_per_key)
        self.capacity = check_capacity(capacity)
        self._hasher = house_hasher(seed)
        if bits_per_key is None:
            fpr = check_fpr(DEFAULT_FPR if fpr is None else fpr)
            count, self.hash_count = words_for(self.capacity, fpr)
        else:
            per_key = check_bits_per_key(bits_per_key)
            count = math.ceil(per_key * self.capacity / 64.0)
            self.hash_count = min(MAX_HASHES, max(1, round(per_key * LN2)))
        self._words = aligned_zeros(count, np.uint64)

    def expected_fpr(self, count: int | None = None) -> float:
        """Return the chance that a key never added is found.

        For the bits set now it is ``(share of set bits)^k``, O(nbytes); with ``count`` it is the law for
        that many keys, before they are added.
        """
        bits = 8 * self.nbytes
        if count is not None:
            return law(bits, self.hash_count, check_count(count))
        return float((int(np.bitwise_count(self._words).sum(dtype=np.int64)) / bits) ** self.hash_count)

    def _probe(self, hashes: Any, out: Any) -> None:
        contains(self._words, self.hash_count, hashes, out)

    def _insert(self, hashes: Any) -> None:
        add(self._words, self.hash_count, hashes, np.empty(len(hashes), np.bool_))

    def _insert_new(self, hashes: Any, out: Any) -> None:
        add(self._words, self.hash_count, hashes, out)

    def _parameters(self) -> dict[str, Any]:
        return {"capacity": self.capacity, "hash_count": self.hash_count, "seed": self.seed}

    @classmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        self = cls.__new__(cls)
        self.capacity = parameters.integer("capacity", 1, MAX_CAPACITY)
        self.hash_count = parameters.integer("hash_count", 1, MAX_HASHES)
        self._hasher = house_hasher(parameters.integer("seed", 0, (1 << 64) - 1))
        self._take_words(payload, 8, "<u8", MAX_CAPACITY)
        return self
