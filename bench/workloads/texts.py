"""Texts and buffers to hash: random, since hashes do not care, of one length or of many."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

ALPHABET = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", np.uint8)


def texts(n: int, length: int, seed: int, *, vary: bool) -> pa.Array:
    """Make ``n`` texts of ``length`` characters, or of half to one and a half times as many."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(length // 2, length + length // 2 + 1, n) if vary else np.full(n, length)
    offsets = np.zeros(n + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    letters = ALPHABET[rng.integers(0, 64, offsets[-1], dtype=np.uint8)]
    return pa.Array.from_buffers(pa.string(), n, [None, pa.py_buffer(offsets), pa.py_buffer(letters)])


def buffers(nbytes: int, count: int, seed: int) -> list[bytes]:
    """Make ``count`` buffers of random bytes."""
    rng = np.random.default_rng(seed)
    return [rng.bytes(nbytes) for _ in range(count)]
