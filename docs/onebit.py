"""One-bit filter: a bitmap in which every key sets the one bit its hash says.

Bloom 1970 with k = 1::

    position = (hash * m) >> 64        of m bits in one array of words

The law: fpr = 1 - e^(-n / m), so 1 % takes 100 bits per key, ten times a Bloom filter's. Good where memory is
cheap and a key may cost one cache miss and a handful of instructions; bad everywhere else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._bits import U1, U6, U63, U64, aligned_zeros, mulhi
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


MIN_FPR = 0.0001
"""Ten thousand bits per key, for which a Bloom filter needs twenty."""


@inlined
def _place(words: Any, h: Any) -> Any:
    """Return a key's word and its bit in it."""
    position = mulhi(h, U64(words.size) << U6)
    return position >> U6, U1 << (position & U63)


@kernel
def _contains(words: Any, hashes: Any, out: Any) -> None:
    for i in range(hashes.size):
        word, bit = _place(words, hashes[i])
        out[i] = (words[word] & bit) != U64(0)


@kernel
def _add(words: Any, hashes: Any, new: Any) -> None:
    """Add one key after the other; ``new`` (bool[n]) notes whose bit was not set before."""
    for i in range(hashes.size):
        word, bit = _place(words, hashes[i])
        new[i] = (words[word] & bit) == U64(0)
        words[word] |= bit


class OneBitFilter(GrowingFilter):
    """A one-bit filter for ``capacity`` keys at ``fpr`` (default 0.01) or at ``bits_per_key``.

    More keys may be added; the false-positive rate then rises by the law of this module. There are no false
    negatives. ``add`` and ``in`` are O(1). Memory: 99.5 bits per key at 1 %.

    >>> f = OneBitFilter(1000)
    >>> f.add(42)
    >>> 42 in f, 43 in f
    (True, False)
    """

    __slots__ = ("_hasher", "_words", "capacity")

    def __init__(
        self, capacity: int, fpr: float | None = None, bits_per_key: float | None = None, *, seed: int = 0
    ) -> None:
        only_one(fpr=fpr, bits_per_key=bits_per_key)
        self.capacity = check_capacity(capacity)
        self._hasher = house_hasher(seed)
        if bits_per_key is None:
            if (rate := check_fpr(DEFAULT_FPR if fpr is None else fpr)) < MIN_FPR:
                raise ValueError(f"fpr={fpr} is below {MIN_FPR}; BloomFilter has such rates in less memory")
            per_key = -1 / math.log1p(-rate)
        else:
            per_key = check_bits_per_key(bits_per_key)
        self._words = aligned_zeros(math.ceil(per_key * self.capacity / 64.0), np.uint64)

    @classmethod
    def build(
        cls, keys: Any, fpr: float | None = None, bits_per_key: float | None = None, *, seed: int = 0
    ) -> Self:
        """Make a filter of all ``keys``, sized for their number (with repeats), O(n)."""
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

        That is the share of bits set now, O(nbytes); with ``count`` it is the law for that many keys.
        """
        bits = 8 * self.nbytes
        if count is None:
            return int(np.bitwise_count(self._words).sum(dtype=np.int64)) / bits
        return -math.expm1(-check_count(count) / bits)

    def merge(self, other: OneBitFilter) -> None:
        """Take in all keys of ``other``: bit for bit as if they had been added here.

        Raises ``ValueError`` unless capacity, size and seed are the same.
        """
        self._check_mergeable(other)
        np.bitwise_or(self._words, other._words, out=self._words)

    def _probe(self, hashes: Any, out: Any) -> None:
        _contains(self._words, hashes, out)

    def _insert(self, hashes: Any) -> None:
        _add(self._words, hashes, np.empty(len(hashes), np.bool_))

    def _insert_new(self, hashes: Any, out: Any) -> None:
        _add(self._words, hashes, out)

    def _parameters(self) -> dict[str, Any]:
        return {"capacity": self.capacity, "seed": self.seed}

    def _payload(self) -> Any:
        return self._words

    @classmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        if not payload or len(payload) % 8:
            raise CorruptDataError(f"{len(payload)} bytes are not a whole number of 8-byte words")
        self = cls.__new__(cls)
        self.capacity = parameters.integer("capacity", 1, MAX_CAPACITY)
        self._hasher = house_hasher(parameters.integer("seed", 0, (1 << 64) - 1))
        self._words = aligned_zeros(len(payload) // 8, np.uint64)
        self._words[:] = np.frombuffer(payload, "<u8")
        return self
