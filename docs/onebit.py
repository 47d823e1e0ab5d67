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
from algos.filters._bit_filter import BitFilter
from algos.filters._checks import (
    DEFAULT_FPR,
    MAX_CAPACITY,
    check_bits_per_key,
    check_capacity,
    check_count,
    check_fpr,
    only_one,
)
from algos.filters._common import house_hasher

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


class OneBitFilter(BitFilter):
    """A one-bit filter for ``capacity`` keys at ``fpr`` (default 0.01) or at ``bits_per_key``.

    More keys may be added; the false-positive rate then rises by the law of this module. There are no false
    negatives. ``add`` and ``in`` are O(1). Memory: 99.5 bits per key at 1 %.

    >>> f = OneBitFilter(1000)
    >>> f.add(42)
    >>> 42 in f, 43 in f
    (True, False)
    """

    __slots__ = ()

    def __init__(
        self, capacity: int, fpr: float | None = None, bits_per_key: float | None = None, *, seed: int = 0
    ) -> None:
        only_one(fpr=fpr, bits_per_key=bits_per_key)
        self.capacity = check_capacity(capacity)
        self._use(house_hasher(seed))
        if bits_per_key is None:
            if (rate := check_fpr(DEFAULT_FPR if fpr is None else fpr)) < MIN_FPR:
                raise ValueError(f"fpr={fpr} is below {MIN_FPR}; BloomFilter has such rates in less memory")
            per_key = -1 / math.log1p(-rate)
        else:
            per_key = check_bits_per_key(bits_per_key)
        self._words = aligned_zeros(math.ceil(per_key * self.capacity / 64.0), np.uint64)

    def expected_fpr(self, count: int | None = None) -> float:
        """Return the chance that a key never added is found.

        That is the share of bits set now, O(nbytes); with ``count`` it is the law for that many keys.
        """
        bits = 8 * self.nbytes
        if count is None:
            return int(np.bitwise_count(self._words).sum(dtype=np.int64)) / bits
        return -math.expm1(-check_count(count) / bits)

    def _probe(self, hashes: Any, out: Any) -> None:
        _contains(self._words, hashes, out)

    def _insert_new(self, hashes: Any, out: Any) -> None:
        _add(self._words, hashes, out)

    def _parameters(self) -> dict[str, Any]:
        return {"capacity": self.capacity, "seed": self.seed}

    @classmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        return cls._stored(parameters, payload, 8, "<u8", MAX_CAPACITY)
