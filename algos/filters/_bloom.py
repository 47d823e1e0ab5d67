"""What filters with k positions anywhere in one array share: the positions, the kernels over bits, the laws.

The positions are those that ``bloom`` explains: ``BloomFilter`` and ``ScalableBloomFilter`` have bits there,
``CountingBloomFilter`` counters.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from algos._bits import U1, U6, U32_, U63, U64, mulhi, prefetch, rotl
from algos._jit import inlined, kernel
from algos.hashing.splitmix64 import GAMMA

LN2 = math.log(2.0)
MAX_HASHES = 64
MIN_FPR = 2.0**-MAX_HASHES
ROUND = 256
"""Keys per round of a lookup: enough misses in flight, and their state still fits L1."""
AHEAD = 16
"""Keys whose k lines are prefetched before they are set."""


@inlined
def first_step(h: Any) -> Any:
    """Return how far a key's second bit is from its first."""
    return rotl(h, U32_) | U1


@inlined
def position(point: Any, bits: Any) -> Any:
    """Return the bit, or counter, that a point stands for."""
    return mulhi(point, bits)


@kernel
def contains(words: Any, hash_count: Any, hashes: Any, out: Any) -> None:
    """Probe in rounds: test one bit of every key in question, keep those that had it, go on."""
    bits, n = U64(words.size) << U6, U64(hashes.size)
    points, steps = np.empty(ROUND, np.uint64), np.empty(ROUND, np.uint64)
    positions, members = np.empty(ROUND, np.uint64), np.empty(ROUND, np.uint64)
    for lo in range(U64(0), n, U64(ROUND)):  # no index can be negative
        left = min(U64(ROUND), n - lo)
        for j in range(left):
            h = hashes[lo + j]
            points[j], steps[j], members[j] = h, first_step(h), lo + j
            out[lo + j] = False
        for i in range(hash_count):
            for j in range(left):
                positions[j] = position(points[j], bits)
                prefetch(words, positions[j] >> U6)
            kept = U64(0)
            for j in range(left):
                p = positions[j]
                hit = (words[p >> U6] >> (p & U63)) & U1
                points[kept], members[kept] = points[j] + steps[j], members[j]
                steps[kept] = steps[j] + U64(i) * GAMMA
                kept += hit
            left = kept
        for j in range(left):
            out[members[j]] = True


@inlined
def holds(words: Any, hash_count: Any, h: Any) -> Any:
    """Tell whether all bits of a single hash are set."""
    bits, point, step = U64(words.size) << U6, h, first_step(h)
    for i in range(hash_count):
        p = position(point, bits)
        if (words[p >> U6] >> (p & U63)) & U1 == U64(0):
            return False
        point += step
        step += U64(i) * GAMMA
    return True


@inlined
def set_bits(words: Any, hash_count: Any, bits: Any, h: Any) -> Any:
    """Set a key's bits; tell whether one of them was not set before."""
    point, step, new = h, first_step(h), False
    for i in range(hash_count):
        p = position(point, bits)
        bit = U1 << (p & U63)
        new |= (words[p >> U6] & bit) == U64(0)
        words[p >> U6] |= bit
        point += step
        step += U64(i) * GAMMA
    return new


@inlined
def _fetch(words: Any, hash_count: Any, bits: Any, h: Any) -> None:
    point, step = h, first_step(h)
    for i in range(hash_count):
        prefetch(words, position(point, bits) >> U6)
        point += step
        step += U64(i) * GAMMA


@kernel
def add(words: Any, hash_count: Any, hashes: Any, new: Any) -> None:
    """Add one key after the other; ``new`` (bool[n]) notes which had a bit that was not set."""
    bits, n = U64(words.size) << U6, hashes.size
    ahead = min(AHEAD, n)
    for i in range(ahead):
        _fetch(words, hash_count, bits, hashes[i])
    for i in range(n - ahead):
        _fetch(words, hash_count, bits, hashes[i + ahead])
        new[i] = set_bits(words, hash_count, bits, hashes[i])
    for i in range(n - ahead, n):
        new[i] = set_bits(words, hash_count, bits, hashes[i])


def size_for(fpr: float) -> tuple[float, int]:
    """Return the fewest bits per key that keep ``fpr``, and the number of hashes that needs."""
    if fpr < MIN_FPR:
        raise ValueError(f"fpr={fpr} is below the {MIN_FPR:.2g} of {MAX_HASHES} hashes; keep an exact set")
    best = -math.log2(fpr)
    counts = {max(1, math.floor(best)), min(MAX_HASHES, max(1, math.ceil(best)))}
    return min((-k / math.log1p(-(fpr ** (1.0 / k))), k) for k in counts)


def law(bits: int, hash_count: int, keys: int) -> float:
    """Return the false-positive rate of so many keys in so many bits."""
    return (-math.expm1(-hash_count * keys / bits)) ** hash_count


def found_now(words: Any, hash_count: int) -> float:
    """Return the false-positive rate for the bits set now."""
    return float((int(np.bitwise_count(words).sum(dtype=np.int64)) / (8 * words.nbytes)) ** hash_count)


def words_for(capacity: int, fpr: float) -> tuple[int, int]:
    """Return how many 64-bit words keep ``fpr`` for ``capacity`` keys, and with how many hashes."""
    per_key, hash_count = size_for(fpr)
    return math.ceil(per_key * capacity / 64.0), hash_count
