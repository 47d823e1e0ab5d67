"""What a hash function is to the rest of the library: its kernels and the width of its seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Kernel = Callable[..., None]


class Algorithm(NamedTuple):
    """A hash as batch kernels; every kernel fills ``out`` (uint64) and returns nothing.

    ``words(values, seed, out)`` hashes uint64 values as their 8 little-endian bytes.
    ``text(data, offsets, seed, out)`` hashes ``data[offsets[i]:offsets[i + 1]]``.
    """

    name: str
    seed_bits: int
    words: Kernel
    text: Kernel | None

    def check_seed(self, seed: Any) -> int:
        """Return the seed, or say which seeds this hash has."""
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise TypeError(f"seed must be an int, not {type(seed).__name__}")
        seed = int(seed)
        if not 0 <= seed < 1 << self.seed_bits:
            raise ValueError(f"seed={seed} is outside 0 <= seed < 2**{self.seed_bits} of {self.name}")
        return seed
