"""What a hash is worth beside its speed: avalanche, buckets, collisions, and a filter that stands on it.

Every figure is held against what random digests would show, at four standard deviations. CRC-32C is a
checksum and promises none of it: its figures are shown and not judged.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.filters import SplitBlockBloomFilter
from algos.hashing import hash64
from bench.schema import Quality

if TYPE_CHECKING:
    import numpy.typing as npt

    from bench.peers.hashing import Ours

    Words = npt.NDArray[np.uint64]

SIGMAS = 4.0
FLIPPED, BUCKETS, KEYS = 2**13, 2**12, 2**20
FILTERED = 2**18


def _low_entropy(n: int) -> Words:
    """Return words of which four bits or fewer are set: the keys that weak hashes map together."""
    picked = np.random.default_rng(1).integers(0, 64, (2 * n, 4), dtype=np.uint64)
    words = np.bitwise_or.reduce(np.uint64(1) << picked, axis=1)
    return np.unique(words)[:n]


def patterns() -> dict[str, Words]:
    """Make the keys that weak hashes are weak on."""
    counted = np.arange(KEYS, dtype=np.uint64)
    return {
        "sequential": counted,
        "strided": counted << np.uint64(24),
        "low-entropy": _low_entropy(KEYS),
    }


def measure(entry: Ours, _state: Any) -> list[Quality]:
    """Measure a 64- or 32-bit hash of ints."""

    def hashed(keys: Words) -> Words:
        return hash64(keys, entry.algorithm.name, seed=entry.seed)

    found = [avalanche(hashed, entry.bits)]
    for name, keys in patterns().items():
        hashes = hashed(keys)
        found += [buckets(hashes, name, entry.bits), collisions(hashes, name)]
    if entry.bits == 64:
        found.append(filtered(hashed))
    return [replace(one, ok=None) for one in found] if entry.name == "crc32c" else found


def avalanche(hashed: Any, bits: int) -> Quality:
    """Return the largest deviation from one half of any bit's chance to flip when a key's bit does."""
    keys = np.random.default_rng(2).integers(0, 2**64, FLIPPED, dtype=np.uint64)
    before, worst = hashed(keys), 0.0
    for bit in range(64):
        flips = before ^ hashed(keys ^ np.uint64(1 << bit))
        share = np.unpackbits(flips.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little").mean(axis=0)
        worst = max(worst, float(np.abs(share[:bits] - 0.5).max()))
    sigma = 0.5 / sqrt(FLIPPED)
    # the largest of 64 * bits normal deviations lies between 3 and 6 of them but once in 10,000 times
    return Quality("avalanche_bias", worst, theory=3.9 * sigma, lo=0.0, hi=6 * sigma, ok=worst <= 6 * sigma)


def buckets(hashes: Words, pattern: str, bits: int) -> Quality:
    """Return chi-square over its degrees of freedom, the worse of the lowest and the uppermost 12 bits."""
    worst, sigma = 1.0, sqrt(2 / (BUCKETS - 1))
    for part in (hashes & np.uint64(BUCKETS - 1), hashes >> np.uint64(bits - 12)):
        counts = np.bincount(part.astype(np.int64), minlength=BUCKETS)
        mean = len(hashes) / BUCKETS
        chi = float(((counts - mean) ** 2).sum() / mean / (BUCKETS - 1))
        worst = max(worst, chi, key=lambda x: abs(x - 1))
    lo, hi = max(0.0, 1 - SIGMAS * sigma), 1 + SIGMAS * sigma
    return Quality(f"chi2_{pattern}", worst, theory=1.0, lo=lo, hi=hi, ok=worst <= hi)


def collisions(hashes: Words, pattern: str) -> Quality:
    """Count pairs of equal hashes, in the lowest 32 bits."""
    low, n = np.sort(hashes & np.uint64(0xFFFFFFFF)), len(hashes)
    equal, due = int(np.count_nonzero(low[1:] == low[:-1])), n * (n - 1) / 2**33
    half = SIGMAS * sqrt(due)
    return Quality(
        f"collisions_{pattern}",
        equal,
        theory=due,
        lo=max(0.0, due - half),
        hi=due + half,
        ok=equal <= due + half,
    )


def filtered(hashed: Any) -> Quality:
    """Return the false-positive rate of a split-block filter of sequential keys that stands on the hash."""
    held = SplitBlockBloomFilter(FILTERED, 0.01)
    held.add_hashes(hashed(np.arange(FILTERED, dtype=np.uint64)))
    others = np.arange(FILTERED, FILTERED + KEYS, dtype=np.uint64)
    rate, law = float(held.contains_hashes(hashed(others)).mean()), held.expected_fpr(FILTERED)
    # of a bijection's sequential keys the bits set scatter less than of random ones: one bound suffices
    half = SIGMAS * sqrt(law * (1 - law) / KEYS + (0.02 * law) ** 2)
    return Quality("filter_fpr", rate, theory=law, lo=law - half, hi=law + half, ok=rate <= law + half)
