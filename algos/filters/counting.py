"""Counting Bloom filter: a small counter where a Bloom filter has a bit, so that keys can be removed.

Fan, Cao, Almeida, Broder: Summary cache, 2000. Four bits a counter, sixteen to a word; the positions are
those of ``BloomFilter``. A counter that reaches 15 stays there for ever: it may stand for more, and
lowering it could lose a key. At the planned size one counter in 10^15 gets that far, unless the same key is
added again and again. The law is the Bloom filter's, (1 - e^(-k n / m))^k, at four times its space; a
cuckoo filter removes too, in a quarter of that.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._bits import U1, U2, U64, aligned_zeros, prefetch
from algos._fastcall import Method, Native, as_bool, as_none, number_of, place, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.errors import CorruptDataError
from algos.filters._bloom import LN2, MAX_HASHES, first_step, law, position, size_for
from algos.filters._checks import (
    DEFAULT_FPR,
    MAX_CAPACITY,
    check_bits_per_key,
    check_capacity,
    check_count,
    check_fpr,
    only_one,
)
from algos.filters._common import RemovableFilter, count_keys
from algos.hashing._keyed import hash_alone, house_hasher
from algos.hashing.splitmix64 import GAMMA

if TYPE_CHECKING:
    from algos import _state

COUNTER_BITS = 4
FULL = U64(15)
AHEAD = 16
"""Keys whose k lines are under way while others are counted."""
_U4, _U15 = U64(4), U64(15)
_LOW = U64(0x1111111111111111)


@inlined
def _at(point: Any, counters: Any) -> tuple[Any, Any]:
    """Return the word of a counter and its shift."""
    p = position(point, counters)
    return p >> _U4, (p & _U15) << U2


@inlined
def _fetch(words: Any, hash_count: Any, counters: Any, h: Any) -> None:
    point, step = h, first_step(h)
    for i in range(hash_count):
        prefetch(words, position(point, counters) >> _U4)
        point += step
        step += U64(i) * GAMMA


@inlined
def _found(words: Any, hash_count: Any, counters: Any, h: Any) -> Any:
    """Tell whether none of a key's counters is 0."""
    point, step = h, first_step(h)
    for i in range(hash_count):
        word, shift = _at(point, counters)
        if (words[word] >> shift) & FULL == U64(0):
            return False
        point += step
        step += U64(i) * GAMMA
    return True


@inlined
def _count_up(words: Any, hash_count: Any, counters: Any, h: Any) -> None:
    point, step = h, first_step(h)
    for i in range(hash_count):
        word, shift = _at(point, counters)
        below = (words[word] >> shift) & FULL != FULL
        words[word] += U64(below) << shift
        point += step
        step += U64(i) * GAMMA


@inlined
def _count_down(words: Any, hash_count: Any, counters: Any, h: Any) -> None:
    """Lower a key's counters, but those that are full or, since two keys share them, 0 already."""
    point, step = h, first_step(h)
    for i in range(hash_count):
        word, shift = _at(point, counters)
        value = (words[word] >> shift) & FULL
        words[word] -= U64((value != U64(0)) & (value != FULL)) << shift
        point += step
        step += U64(i) * GAMMA


@kernel
def _contains(words: Any, hash_count: Any, counters: Any, hashes: Any, out: Any) -> None:
    n = hashes.size
    for i in range(min(AHEAD, n)):
        _fetch(words, hash_count, counters, hashes[i])
    for i in range(n):
        if i + AHEAD < n:
            _fetch(words, hash_count, counters, hashes[i + AHEAD])
        out[i] = _found(words, hash_count, counters, hashes[i])


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        words, hash_count = uint64s_of(me, _WORDS), number_of(me, _HASHES)
        return as_bool(_found(words, hash_count, U64(words.size) << _U4, h))
    return slowly(me, "_contains_one", arguments, count, names)


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        words, hash_count = uint64s_of(me, _WORDS), number_of(me, _HASHES)
        _count_up(words, hash_count, U64(words.size) << _U4, h)
        return as_none()
    return slowly(me, "_add_one", arguments, count, names)


@kernel
def _add(words: Any, hash_count: Any, counters: Any, hashes: Any, new: Any) -> None:
    """Add one key after the other; ``new`` (bool[n]) notes which were not found before."""
    n = hashes.size
    for i in range(min(AHEAD, n)):
        _fetch(words, hash_count, counters, hashes[i])
    for i in range(n):
        if i + AHEAD < n:
            _fetch(words, hash_count, counters, hashes[i + AHEAD])
        new[i] = not _found(words, hash_count, counters, hashes[i])
        _count_up(words, hash_count, counters, hashes[i])


@kernel
def _remove(words: Any, hash_count: Any, counters: Any, hashes: Any, out: Any) -> None:
    for i in range(hashes.size):
        out[i] = _found(words, hash_count, counters, hashes[i])
        if out[i]:
            _count_down(words, hash_count, counters, hashes[i])


@kernel
def _merge(words: Any, other: Any) -> None:
    """Add the counters of two filters, none above 15."""
    for i in range(words.size):
        a, b, total = words[i], other[i], U64(0)
        for k in range(16):
            shift = U64(4 * k)
            total |= min(((a >> shift) & FULL) + ((b >> shift) & FULL), FULL) << shift
        words[i] = total


class CountingBloomFilter(RemovableFilter):
    """A counting Bloom filter for ``capacity`` keys at ``fpr`` (default 0.01), from which keys can go.

    ``bits_per_key`` counts four bits for each counter. A key added twice must be removed twice; only keys
    that were added may be removed (another's counters would be lowered, and it lost). ``add``, ``remove``
    and ``in`` are O(k), k = 7 at 1 %. Memory: 38 bits per key at 1 %.

    >>> f = CountingBloomFilter(1000)
    >>> f.add_many(["a", "b"])
    >>> f.remove("a"), f.contains_many(["a", "b"]).tolist()
    (True, [False, True])
    """

    __slots__ = ("_counters", "_words", "capacity", "hash_count")

    def __init__(
        self, capacity: int, fpr: float | None = None, bits_per_key: float | None = None, *, seed: int = 0
    ) -> None:
        only_one(fpr=fpr, bits_per_key=bits_per_key)
        self.capacity = check_capacity(capacity)
        self._use(house_hasher(seed))
        if bits_per_key is None:
            per_key, self.hash_count = size_for(check_fpr(DEFAULT_FPR if fpr is None else fpr))
        else:
            per_key = check_bits_per_key(bits_per_key) / COUNTER_BITS
            self.hash_count = min(MAX_HASHES, max(1, round(per_key * LN2)))
        self._words = aligned_zeros(max(1, math.ceil(per_key * self.capacity / 16.0)), np.uint64)
        self._counters = U64(16 * self._words.size)

    @classmethod
    def build(
        cls, keys: Any, fpr: float | None = None, bits_per_key: float | None = None, *, seed: int = 0
    ) -> Self:
        """Make a filter of all ``keys``, each counted as often as it is there, O(k n)."""
        parts = house_hasher(seed).pieces(keys)
        self = cls(count_keys(parts), fpr, bits_per_key, seed=seed)
        self._add_pieces(parts)
        return self

    def expected_fpr(self, count: int | None = None) -> float:
        """Return the chance that a key never added is found.

        For the counters as they are it is ``(share that are not 0)^k``, O(nbytes); with ``count`` it is the
        law for that many keys, before they are added.
        """
        if count is not None:
            return law(int(self._counters), self.hash_count, check_count(count))
        words = self._words
        used = (words | words >> U1 | words >> U2 | words >> U64(3)) & _LOW
        return float(
            (int(np.bitwise_count(used).sum(dtype=np.int64)) / int(self._counters)) ** self.hash_count
        )

    def merge(self, other: CountingBloomFilter) -> None:
        """Take in all keys of ``other``, each as often as it is there: bit for bit as if added here.

        Raises ``ValueError`` unless capacity, size, seed and number of hashes are the same.
        """
        self._check_mergeable(other)
        _merge(self._words, other._words)

    def _remove(self, hashes: Any, out: Any) -> None:
        _remove(self._words, self.hash_count, self._counters, hashes, out)

    __contains__ = Method(_ask, "_contains_one")
    add = Method(_put, "_add_one")

    def _probe(self, hashes: Any, out: Any) -> None:
        _contains(self._words, self.hash_count, self._counters, hashes, out)

    def _insert_new(self, hashes: Any, out: Any) -> None:
        _add(self._words, self.hash_count, self._counters, hashes, out)

    def _parameters(self) -> dict[str, Any]:
        return {"capacity": self.capacity, "hash_count": self.hash_count, "seed": self.seed}

    def _payload(self) -> Any:
        return self._words

    @classmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        if not payload or len(payload) % 8:
            raise CorruptDataError(f"{len(payload)} bytes are not a whole number of 8-byte words")
        self = cls.__new__(cls)
        self.capacity = parameters.integer("capacity", 1, MAX_CAPACITY)
        self.hash_count = parameters.integer("hash_count", 1, MAX_HASHES)
        self._use(house_hasher(parameters.integer("seed", 0, (1 << 64) - 1)))
        self._words = aligned_zeros(len(payload) // 8, np.uint64)
        self._words[:] = np.frombuffer(payload, "<u8")
        self._counters = U64(16 * self._words.size)
        return self


_WORDS, _HASHES = place(CountingBloomFilter, "_words"), place(CountingBloomFilter, "hash_count")
