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

import math
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._bits import U1, U3, U6, U32, U32_, U63, U64, aligned_zeros, prefetch
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

GOLDEN = U32(0x9E3779B9)
LINE_BITS = 512
MAX_LINES = 1 << 32
MAX_HASHES = 24
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
def _test(words: Any, start: Any, h: Any, hash_count: Any) -> Any:
    """Tell whether all of a key's bits are set, without a branch on what is there."""
    x, hit = U32(h & U64(0xFFFFFFFF)), U1
    for _ in range(hash_count):
        p = U64(x >> U32(23))
        hit &= words[start + (p >> U6)] >> (p & U63)
        x = U32(x * GOLDEN)
    return hit != U64(0)


@inlined
def _set(words: Any, start: Any, h: Any, hash_count: Any) -> Any:
    """Set a key's bits; tell whether one of them was not set before."""
    x, was = U32(h & U64(0xFFFFFFFF)), U1
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
    ahead = min(BATCH, n)
    for i in range(ahead):
        prefetch(words, _start(hashes[i], lines))
    for i in range(n - ahead):
        prefetch(words, _start(hashes[i + ahead], lines))
        out[i] = _test(words, _start(hashes[i], lines), hashes[i], hash_count)
    for i in range(n - ahead, n):
        out[i] = _test(words, _start(hashes[i], lines), hashes[i], hash_count)


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


def hashes_for(bits_per_key: float) -> int:
    """Return how many bits a key should have."""
    return 1 + sum(1000.0 * bits_per_key > limit for limit in MILLIBITS)


@cache
def _bits_for(fpr: float) -> float:
    def law(bits_per_key: float) -> float:
        return occupancy_law(bits_per_key, LINE_BITS, hashes_for(bits_per_key))

    return invert(law, fpr, 64.0)


class BlockedBloomFilter(BitFilter):
    """A blocked Bloom filter for ``capacity`` keys at ``fpr`` (default 0.01) or at ``bits_per_key``.

    More keys may be added; the false-positive rate then rises by the law of this module. There are no
    false negatives. ``add`` and ``in`` touch one cache line, O(k). Memory: 10 bits per key at 1 %.

    >>> f = BlockedBloomFilter(1000, bits_per_key=16)
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
        self.hash_count = hashes_for(per_key)
        lines = max(1, math.ceil(per_key * self.capacity / LINE_BITS))
        if lines > MAX_LINES:
            raise ValueError(f"{lines} lines are more than the 2**32 a hash can choose from; ask for less")
        self._words = aligned_zeros(8 * lines, np.uint64)

    def expected_fpr(self, count: int | None = None) -> float:
        """Return the chance that a key never added is found.

        For the bits set now it is ``(share of set bits)^k`` over all lines, O(nbytes); with ``count`` it is
        the law for that many keys, before they are added.
        """
        if count is None:
            shares = np.bitwise_count(self._words.reshape(-1, 8)).sum(axis=1) / LINE_BITS
            return float((shares**self.hash_count).mean())
        count = check_count(count)
        return occupancy_law(8.0 * self.nbytes / count, LINE_BITS, self.hash_count) if count else 0.0

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
        self._take_words(payload, 64, "<u8", MAX_LINES)
        return self
