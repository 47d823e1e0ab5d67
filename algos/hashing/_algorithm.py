"""What a hash function is to the rest of the library: its kernels and the width of its seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from algos._arguments import integer
from algos._fastcall import WORKS, Native

Kernel = Callable[..., None]
ONE: dict[str, Callable[[Any, Any], int | None]] = {}
"""How algorithms hash a key alone: ``ONE[name](key, seed)`` is an int, or ``None`` where a batch must."""


def alone(name: str) -> Callable[[Callable[..., Any]], None]:
    """Make a native function, whose arguments are a key and a seed, how ``name`` hashes a key alone."""

    def decorate(function: Callable[..., Any]) -> None:
        def first(key: Any, seed: Any) -> int | None:
            ONE[name] = Native(function).bind(None) if WORKS else lambda *_: None
            return ONE[name](key, seed)

        ONE[name] = first

    return decorate


class Algorithm(NamedTuple):
    """A hash as batch kernels; every kernel fills ``out`` and returns nothing: uint64[n], or uint64[n, 2].

    ``words(values, seed, out)`` hashes uint64 values as their 8 little-endian bytes.
    ``text(data, offsets, seed, out)`` hashes ``data[offsets[i]:offsets[i + 1]]``.
    """

    name: str
    seed_bits: int
    words: Kernel
    text: Kernel | None

    def check_seed(self, seed: Any) -> int:
        """Return the seed, or say which seeds this hash has."""
        seed = integer("seed", seed)
        if not 0 <= seed < 1 << self.seed_bits:
            raise ValueError(f"seed={seed} is outside 0 <= seed < 2**{self.seed_bits} of {self.name}")
        return seed

    def words_of(self, seed: int) -> Any:
        """Return a checked seed as kernels take it: a uint64, or the two of a 128-bit key."""
        if self.seed_bits <= 64:
            return np.uint64(seed)
        return np.uint64(seed & (1 << 64) - 1), np.uint64(seed >> 64)
