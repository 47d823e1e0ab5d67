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

from typing import Any

from algos.filters import _bloom
from algos.filters._bit_filter import HashCountFilter
from algos.filters._bloom import LN2, MAX_HASHES, add, contains, found_now, law, size_for
from algos.filters._checks import MAX_CAPACITY, check_count


class BloomFilter(HashCountFilter):
    """A Bloom filter for ``capacity`` keys at ``fpr`` (default 0.01) or at ``bits_per_key``.

    More keys may be added; the false-positive rate then rises by the law of this module. There are no
    false negatives. ``add`` and ``in`` are O(k), k = log2(1 / fpr): 7 at 1 %. Memory: 9.6 bits per key
    at 1 %.

    >>> f = BloomFilter(1000, fpr=0.001)
    >>> f.add(42)
    >>> 42 in f, 43 in f
    (True, False)
    """

    __slots__ = ()
    BLOCK_BITS, MAX_BLOCKS, MAX_HASHES = 64, MAX_CAPACITY, MAX_HASHES
    _size_for = staticmethod(size_for)

    @staticmethod
    def _hashes_for(bits_per_key: float) -> int:
        return min(MAX_HASHES, max(1, round(bits_per_key * LN2)))

    def expected_fpr(self, count: int | None = None) -> float:
        """Return the chance that a key never added is found.

        For the bits set now it is ``(share of set bits)^k``, O(nbytes); with ``count`` it is the law for
        that many keys, before they are added.
        """
        if count is None:
            return found_now(self._words, self.hash_count)
        return law(8 * self.nbytes, self.hash_count, check_count(count))

    def __contains__(self, key: Any) -> bool:
        found = _bloom.ask(key, self._scalar_seed, self._words, self.hash_count)
        return self._contains_one(key) if found is None else found

    def add(self, key: Any) -> None:
        """Add one key; ``None`` is a null and is skipped."""
        if _bloom.put(key, self._scalar_seed, self._words, self.hash_count) is None:
            super().add(key)

    def _probe(self, hashes: Any, out: Any) -> None:
        contains(self._words, self.hash_count, hashes, out)

    def _insert_new(self, hashes: Any, out: Any) -> None:
        add(self._words, self.hash_count, hashes, out)
