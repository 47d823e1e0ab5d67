"""Yardsticks: what this machine can do at most with a state of the size that races.

``prefetch_lines`` asks for one random cache line per item and does nothing else: no structure that
looks into its state once per key can be faster. ``plain_lookup`` is the split-block lookup as anyone
would write it, hash, block, test, in one loop: what the pipeline of the library is worth. ``copy_words``
reads and writes every word once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from algos._bits import U3, U64, prefetch
from algos._jit import kernel
from algos.filters.splitblock import block_start, block_test
from algos.hashing.xxh3 import xxh3_key, xxh3_word

if TYPE_CHECKING:
    import numpy.typing as npt

LINE = 64


@kernel
def prefetch_lines(table: Any, lines: Any) -> None:
    """Ask for the cache line ``lines[i]`` of a table of uint64, for each ``i``."""
    for i in range(lines.size):
        prefetch(table, lines[i] << U3)


@kernel
def plain_lookup(words: Any, values: Any, out: Any) -> None:
    """Look 64-bit keys up in the words of a split-block filter, one after the other."""
    blocks, key = U64(words.size >> 3), xxh3_key(U64(0))
    for i in range(values.size):
        h = xxh3_word(values[i], key)
        out[i] = block_test(words, block_start(h, blocks), h)


@kernel
def copy_words(source: Any, target: Any) -> None:
    """Copy one array of uint64 to another of its size."""
    for i in range(source.size):
        target[i] = source[i]


def table(nbytes: int) -> npt.NDArray[np.uint64]:
    """Return a table of whole cache lines, written once: pages never written share one page of zeros."""
    return np.full(8 * max(1, -(-nbytes // LINE)), 1, np.uint64)


def random_lines(nbytes: int, count: int, seed: int) -> npt.NDArray[np.uint64]:
    """Choose ``count`` random lines of a ``table(nbytes)``."""
    lines = max(1, -(-nbytes // LINE))
    return np.random.default_rng(seed).integers(0, lines, count, dtype=np.uint64)
