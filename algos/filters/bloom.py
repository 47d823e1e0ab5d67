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

from algos._bits import U6, U64
from algos._fastcall import Method, Native, as_bool, as_none, number_of, slowly, uint64s_of
from algos.filters._bit_filter import HASHES, WORDS, HashCountFilter
from algos.filters._bloom import LN2, MAX_HASHES, add, contains, found_now, holds, law, set_bits, size_for
from algos.filters._checks import MAX_CAPACITY, check_count
from algos.hashing._keyed import hash_alone


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        found = holds(uint64s_of(me, WORDS), number_of(me, HASHES), h)
        return as_bool(found)
    return slowly(me, "_contains_one", arguments, count, names)


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        words = uint64s_of(me, WORDS)
        set_bits(words, number_of(me, HASHES), U64(words.size) << U6, h)
        return as_none()
    return slowly(me, "_add_one", arguments, count, names)


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

    __contains__ = Method(_ask, "_contains_one")
    add = Method(_put, "_add_one")

    def _probe(self, hashes: Any, out: Any) -> None:
        contains(self._words, self.hash_count, hashes, out)

    def _insert_new(self, hashes: Any, out: Any) -> None:
        add(self._words, self.hash_count, hashes, out)
