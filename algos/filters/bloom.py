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

from algos._bits import U1, U6, U32_, U63, U64, aligned_zeros, mulhi, prefetch, rotl
from algos._jit import inlined, kernel
from algos.errors import CorruptDataError
from algos.filters._common import (
    DEFAULT_FPR,
    MAX_CAPACITY,
    GrowingFilter,
    check_bits_per_key,
    check_capacity,
    check_count,
    check_fpr,
    count_keys,
    house_hasher,
    only_one,
)

if TYPE_CHECKING:
    from algos import _state

LN2 = math.log(2.0)
G = U64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio: how much a step grows, times the probe's number."""
MAX_HASHES = 64
MIN_FPR = 2.0**-MAX_HASHES
ROUND = 256
"""Keys per round of a lookup: enough misses in flight, and their state still fits L1."""
AHEAD = 16
"""Keys whose k lines are prefetched before they are set."""


@inlined
def _step(h: Any) -> Any:
    return rotl(h, U32_) | U1


@inlined
def _position(point: Any, bits: Any) -> Any:
    return mulhi(point, bits)


@kernel
def _contains(words: Any, hash_count: Any, hashes: Any, out: Any) -> None:
    """Probe in rounds: test one bit of every key in question, keep those that had it, go on."""
    bits, n = U64(words.size) << U6, hashes.size
    points, positions, members = (
        np.empty(ROUND, np.uint64),
        np.empty(ROUND, np.uint64),
        np.empty(ROUND, np.int64),
    )
    steps = np.empty(ROUND, np.uint64)
    for lo in range(0, n, ROUND):
        left = min(ROUND, n - lo)
        for j in range(left):
            h = hashes[lo + j]
            points[j], steps[j], members[j] = h, _step(h), lo + j
            out[lo + j] = False
        for i in range(hash_count):
            for j in range(left):
                positions[j] = _position(points[j], bits)
                prefetch(words, positions[j] >> U6)
            kept: Any = 0
            for j in range(left):
                p = positions[j]
                hit = (words[p >> U6] >> (p & U63)) & U1
                points[kept], members[kept] = points[j] + steps[j], members[j]
                steps[kept] = steps[j] + U64(i) * G
                kept += np.int64(hit)
            left = kept
        for j in range(left):
            out[members[j]] = True


@inlined
def _set(words: Any, hash_count: Any, bits: Any, h: Any) -> Any:
    """Set a key's bits; tell whether one of them was not set before."""
    point, step, new = h, _step(h), False
    for i in range(hash_count):
        p = _position(point, bits)
        bit = U1 << (p & U63)
        new |= (words[p >> U6] & bit) == U64(0)
        words[p >> U6] |= bit
        point += step
        step += U64(i) * G
    return new


@inlined
def _fetch(words: Any, hash_count: Any, bits: Any, h: Any) -> None:
    point, step = h, _step(h)
    for i in range(hash_count):
        prefetch(words, _position(point, bits) >> U6)
        point += step
        step += U64(i) * G


@kernel
def _add(words: Any, hash_count: Any, hashes: Any, new: Any) -> None:
    """Add one key after the other; ``new`` (bool[n]) notes which had a bit that was not set."""
    bits, n = U64(words.size) << U6, hashes.size
    ahead = min(AHEAD, n)
    for i in range(ahead):
        _fetch(words, hash_count, bits, hashes[i])
    for i in range(n - ahead):
        _fetch(words, hash_count, bits, hashes[i + ahead])
        new[i] = _set(words, hash_count, bits, hashes[i])
    for i in range(n - ahead, n):
        new[i] = _set(words, hash_count, bits, hashes[i])


def _size_for(fpr: float) -> tuple[float, int]:
    """Return the fewest bits per key that keep ``fpr``, and the number of hashes that needs."""
    if fpr < MIN_FPR:
        raise ValueError(f"fpr={fpr} is below the {MIN_FPR:.2g} of {MAX_HASHES} hashes; keep an exact set")
    best = -math.log2(fpr)
    counts = {max(1, math.floor(best)), min(MAX_HASHES, max(1, math.ceil(best)))}
    return min((-k / math.log1p(-(fpr ** (1.0 / k))), k) for k in counts)


class BloomFilter(GrowingFilter):
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
            per_key, self.hash_count = _size_for(check_fpr(DEFAULT_FPR if fpr is None else fpr))
        else:
            per_key = check_bits_per_key(bits_per_key)
            self.hash_count = min(MAX_HASHES, max(1, round(per_key * LN2)))
        self._words = aligned_zeros(math.ceil(per_key * self.capacity / 64.0), np.uint64)

    @classmethod
    def build(
        cls, keys: Any, fpr: float | None = None, bits_per_key: float | None = None, *, seed: int = 0
    ) -> Self:
        """Make a filter of all ``keys``, sized for their number (with repeats), O(k n)."""
        parts = house_hasher(seed).pieces(keys)
        self = cls(count_keys(parts), fpr, bits_per_key, seed=seed)
        self._add_pieces(parts)
        return self

    @property
    def bits_per_key(self) -> float:
        """The filter's bits divided by the keys it was planned for."""
        return 8.0 * self.nbytes / self.capacity

    def expected_fpr(self, count: int | None = None) -> float:
        """Return the chance that a key never added is found.

        For the bits set now it is ``(share of set bits)^k``, O(nbytes); with ``count`` it is the law for
        that many keys, before they are added.
        """
        bits = 8 * self.nbytes
        if count is None:
            share = int(np.bitwise_count(self._words).sum(dtype=np.int64)) / bits
        else:
            share = -math.expm1(-self.hash_count * check_count(count) / bits)
        return float(share**self.hash_count)

    def merge(self, other: BloomFilter) -> None:
        """Take in all keys of ``other``: bit for bit as if they had been added here.

        Raises ``ValueError`` unless capacity, size, seed and number of hashes are the same.
        """
        self._check_mergeable(other)
        np.bitwise_or(self._words, other._words, out=self._words)

    def _probe(self, hashes: Any, out: Any) -> None:
        _contains(self._words, self.hash_count, hashes, out)

    def _insert(self, hashes: Any) -> None:
        _add(self._words, self.hash_count, hashes, np.empty(len(hashes), np.bool_))

    def _insert_new(self, hashes: Any, out: Any) -> None:
        _add(self._words, self.hash_count, hashes, out)

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
        self._hasher = house_hasher(parameters.integer("seed", 0, (1 << 64) - 1))
        self._words = aligned_zeros(len(payload) // 8, np.uint64)
        self._words[:] = np.frombuffer(payload, "<u8")
        return self
