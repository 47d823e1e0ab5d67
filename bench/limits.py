"""Yardsticks: what this machine can do at most, with a state of the size that races.

``prefetch limit`` prefetches one random cache line per item and, once it has come, reads one word of it: no
structure that looks into its state once per key can be faster. (Prefetches alone are no limit: they may stop
in L2, or be dropped when too many are under way.) ``random reads`` reads such lines one after the other, as
anyone would, and ``random raises`` raises a word of each. ``plain loop`` is the split-block lookup as anyone
would write it, hash, block, test, in one loop, and ``plain fuse loop`` that of the binary fuse: what the
library's pipeline is worth. ``hash limit`` hashes the keys and does nothing with the hashes. ``copy limit``
reads and writes as many bytes as the state has, ``read limit`` reads as many as the input has. ``new array``
allocates as many bytes as the answer has and fills them. ``raise limit`` raises a counter of 32 bits a key,
in the order of the keys and fetched ahead like the lines of ``prefetch limit``: no sketch that counts in one
place or more can be faster.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from algos._bits import LINE, U3, U64, aligned_zeros, prefetch
from algos._jit import kernel
from algos.filters._blocks import block_start, block_test
from algos.filters._fingerprints import own
from algos.filters.binary_fuse import BinaryFuseFilter, positions
from algos.filters.splitblock import SplitBlockBloomFilter
from algos.hashing import hash64
from algos.hashing.murmur3_128 import fmix64
from algos.hashing.xxh3 import xxh3_key, xxh3_word
from bench.schema import Contestant, Slice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    Slices = Callable[[int], Sequence[Slice]]

LINES_AHEAD, NUMBERS_AHEAD = 128, 2048


@kernel
def prefetch_lines(table: Any, lines: Any) -> Any:
    """Fetch cache line ``lines[i]`` of a table of uint64 ahead, then read a word of it, for each ``i``."""
    total: Any = U64(0)
    ahead, n = min(LINES_AHEAD, lines.size), lines.size
    for i in range(ahead):
        prefetch(table, lines[i] << U3)
    steps = (n - ahead) // 8
    for step in range(steps):
        prefetch(lines, min(U64(8 * step + NUMBERS_AHEAD), U64(n - 1)))  # they come from memory too
        for j in range(8):
            at = U64(8 * step + j)
            prefetch(table, lines[at + U64(ahead)] << U3)
            total += table[lines[at] << U3]
    for i in range(8 * steps, n):
        total += table[lines[i] << U3]
    return total


@kernel
def plain_lookup(words: Any, values: Any, out: Any) -> None:
    """Look 64-bit keys up in the words of a split-block filter, one after the other."""
    blocks, key = U64(words.size >> 3), xxh3_key(U64(0))
    for i in range(values.size):
        h = xxh3_word(values[i], key)
        out[i] = block_test(words, block_start(h, blocks), h)


@kernel
def plain_fuse_lookup(
    fingerprints: Any, mask: Any, seed: Any, segment: Any, span: Any, values: Any, out: Any
) -> None:
    """Look 64-bit keys up in a binary fuse, one after the other."""
    key = xxh3_key(U64(0))
    for i in range(values.size):
        h = fmix64(xxh3_word(values[i], key) + seed)
        p0, p1, p2 = positions(h, segment, span)
        out[i] = fingerprints[p0] ^ fingerprints[p1] ^ fingerprints[p2] == own(h, mask)


@kernel
def copy_words(source: Any, target: Any) -> None:
    """Copy one array of uint64 to another of its size."""
    for i in range(source.size):
        target[i] = source[i]


@kernel
def read_words(source: Any) -> Any:
    """Read an array of uint64 from one end to the other."""
    total: Any = U64(0)
    for i in range(source.size):
        total += source[i]
    return total


def written(nbytes: int) -> npt.NDArray[np.uint64]:
    """Return whole cache lines of ones: pages never written would all be the one page of zeros."""
    table: npt.NDArray[np.uint64] = aligned_zeros(LINE // 8 * max(1, -(-nbytes // LINE)), np.uint64)
    table[:] = 1
    return table


def random_lines(nbytes: int, count: int, seed: int) -> npt.NDArray[np.uint64]:
    """Choose ``count`` random lines of ``written(nbytes)``."""
    return np.random.default_rng(seed).integers(0, max(1, -(-nbytes // LINE)), count, dtype=np.uint64)


def prefetch_limit(nbytes: int, items: int, seed: int, *, whole: bool = False) -> Contestant:
    """Race one line per item; ``whole`` hands over all items in one call, whatever the limit."""
    lines = random_lines(nbytes, items, seed)
    return _on_lines("prefetch limit", prefetch_lines, nbytes, lines, whole=whole)


@kernel
def read_lines(table: Any, lines: Any) -> Any:
    """Read a word of cache line ``lines[i]`` of a table of uint64, for each ``i``, as they come."""
    total: Any = U64(0)
    for i in range(U64(lines.size)):
        total += table[lines[i] << U3]
    return total


@kernel
def raise_lines(table: Any, lines: Any) -> None:
    """Raise a word of cache line ``lines[i]`` of a table of uint64 by one, for each ``i``, as they come."""
    for i in range(U64(lines.size)):
        table[lines[i] << U3] += U64(1)


def random_reads(nbytes: int, items: int, seed: int) -> Contestant:
    """Race one read of a random line per item, as many at a time as the processor makes of a plain loop."""
    return _on_lines("random reads", read_lines, nbytes, random_lines(nbytes, items, seed))


def random_raises(nbytes: int, items: int, seed: int) -> Contestant:
    """Race raising a word of a random line per item, likewise."""
    return _on_lines("random raises", raise_lines, nbytes, random_lines(nbytes, items, seed))


def _on_lines(name: str, call: Any, nbytes: int, lines: Any, *, whole: bool = False) -> Contestant:
    """Race what is done to lines of a table; ``whole`` hands over all in one call, whatever the limit."""

    def slices(limit: int) -> list[Slice]:
        step = len(lines) if whole else limit
        parts = [lines[lo : lo + step] for lo in range(0, len(lines), step)]
        return [Slice(len(part), part) for part in parts]

    return _limit(name, call, slices, lambda _: written(nbytes))


@kernel
def raise_counters(counters: Any, places: Any) -> None:
    """Raise counter ``places[i]`` by one, fetched ahead, for each ``i``."""
    ahead, n = min(U64(LINES_AHEAD), U64(places.size)), U64(places.size)
    for i in range(ahead):
        prefetch(counters, places[i])
    for i in range(n - ahead):
        prefetch(counters, places[i + ahead])
        counters[places[i]] += np.uint32(1)
    for i in range(n - ahead, n):
        counters[places[i]] += np.uint32(1)


def raise_limit(counters: int, keys: Any) -> Contestant:
    """Race one counter a key, of so many counters of 32 bits; keys are handed over as places made ahead."""
    places = (hash64(keys) >> np.uint64(32)) * np.uint64(counters) >> np.uint64(32)

    def slices(limit: int) -> list[Slice]:
        parts = [places[lo : lo + limit] for lo in range(0, len(places), limit)]
        return [Slice(len(part), part) for part in parts]

    return _limit("raise limit", raise_counters, slices, lambda _: aligned_zeros(counters, np.uint32))


def plain_loop(keys: Any, fpr: float, slices: Slices) -> Contestant:
    """Race the plain lookup of int64 keys; its answers are the filter's, for the caller to check."""

    def call(words: Any, keys: Any) -> Any:
        out = np.empty(len(keys), np.bool_)
        plain_lookup(words, keys.view(np.uint64), out)
        return out

    return _limit("plain loop", call, slices, lambda _: SplitBlockBloomFilter.build(keys, fpr)._words)


def plain_fuse_loop(keys: Any, fpr: float, slices: Slices) -> Contestant:
    """Race the plain lookup in a binary fuse."""

    def call(fuse: BinaryFuseFilter, keys: Any) -> Any:
        out = np.empty(len(keys), np.bool_)
        plain_fuse_lookup(fuse._fingerprints, *fuse._numbers(), keys.view(np.uint64), out)
        return out

    return _limit("plain fuse loop", call, slices, lambda _: BinaryFuseFilter.build(keys, fpr))


def hash_limit(slices: Slices) -> Contestant:
    """Race the hash of the keys, XXH3, on its own."""
    return Contestant("hash limit", "limit", lambda _, keys: hash64(keys), slices, input="arrow")


def copy_limit(nbytes: int, items: int) -> Contestant:
    """Race a copy of ``nbytes`` to memory already touched, shared out over ``items``."""
    target = written(nbytes)
    part = Slice(items, target)
    return _limit("copy limit", copy_words, lambda _: [part], lambda _: written(nbytes))


def read_limit(nbytes: int, items: int) -> Contestant:
    """Race reading ``nbytes`` of memory, shared out over ``items``."""
    source = written(nbytes)
    part = Slice(items, source)
    return _limit("read limit", _read, lambda _: [part], lambda _: source)


def _read(_state: Any, source: Any) -> Any:
    return read_words(source)


def new_array(nbytes: int, items: int) -> Contestant:
    """Race a new array of ``nbytes``, filled, shared out over ``items``: what handing anything back costs."""
    part = Slice(items, nbytes // 8)
    return _limit(
        "new array", lambda _, size: np.full(size, 7, np.uint64), lambda _: [part], lambda _: written(64)
    )


def _limit(name: str, call: Any, slices: Slices, setup: Callable[[int], Any]) -> Contestant:
    size = attrgetter("nbytes")
    return Contestant(name, "limit", call, slices, setup=setup, nbytes=size, input="ndarray")
