"""Split-block Bloom filter of whole cache lines: eight 64-bit lanes, for fewer false positives.

The split block of Putze, Sanders, Singler (2007) at twice the width of Parquet's: a key still has one bit
in each of eight lanes of one block, but the block is the 64 bytes that a miss brings in anyway::

    hash   |  block = (high32 * blocks) >> 32    |    key = hash * G  mod 2^64
    block  |  lane 0  |  lane 1  |   ...  |  lane 7  |       bit i = (key >> (16 + 6 i)) & 63

Lookups cost a sixth more than Parquet's within the cache, less past it. The law: with ``B``
bits per key a block holds ``i ~ Poisson(512 / B)`` keys, so fpr = E[(1 - (63/64)^i)^8]: 12 to 38 % below
Parquet's at 8 to 20 bits per key, since a fuller block is rarer. The filter to choose where nobody else
has to read it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._bits import aligned_zeros
from algos._fastcall import Method, Native, as_bool, as_none, slowly, uint64s_of
from algos.filters._bit_filter import WORDS
from algos.filters._blocks import MAX_BLOCKS, EightLanes, bits_for, holds, put
from algos.filters._checks import DEFAULT_FPR, check_bits_per_key, check_capacity, check_fpr, only_one
from algos.hashing._keyed import hash_alone, house_hasher

if TYPE_CHECKING:
    from algos import _state


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        return as_bool(holds(uint64s_of(me, WORDS), h))
    return slowly(me, "_contains_one", arguments, count, names)


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        put(uint64s_of(me, WORDS), h)
        return as_none()
    return slowly(me, "_add_one", arguments, count, names)


class SplitBlock512Filter(EightLanes):
    """A split-block Bloom filter of 64-byte blocks, for ``capacity`` keys at ``fpr`` or ``bits_per_key``.

    More keys may be added; the false-positive rate then rises by the law of this module. There are no
    false negatives. ``add`` and ``in`` touch one cache line. Memory: 10.1 bits per key at 1 %.

    >>> f = SplitBlock512Filter(1000)
    >>> f.add_many(["hello", "world"])
    >>> f.contains_many(["hello", "bloom"])
    array([ True, False])
    """

    __slots__ = ()

    def __init__(
        self, capacity: int, fpr: float | None = None, bits_per_key: float | None = None, *, seed: int = 0
    ) -> None:
        only_one(fpr=fpr, bits_per_key=bits_per_key)
        self.capacity = check_capacity(capacity)
        self._use(house_hasher(seed))
        if bits_per_key is None:
            per_key = bits_for(check_fpr(DEFAULT_FPR if fpr is None else fpr), 64)
        else:
            per_key = check_bits_per_key(bits_per_key)
        blocks = max(1, math.ceil(per_key * self.capacity / 512.0))
        if blocks > MAX_BLOCKS:
            raise ValueError(f"{blocks} blocks are more than the 2**32 a hash can choose from; ask for less")
        self._words = aligned_zeros(8 * blocks, np.uint64)

    __contains__ = Method(_ask, "_contains_one")
    add = Method(_put, "_add_one")

    def _parameters(self) -> dict[str, Any]:
        return {"capacity": self.capacity, "seed": self.seed}

    @classmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        return cls._stored(parameters, payload, 64, "<u8", MAX_BLOCKS)
