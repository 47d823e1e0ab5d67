"""SHA-1 of many short messages that begin alike, sixteen at once, a lane each.

FIPS 180-4, section 6.1. Lanes take as many blocks as the longest of them; a lane whose message has ended
keeps its digest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import M32, U32, U32_, U64, byteswap, load64, rotl32, store64
from algos._jit import inlined, kernel

LANES, BLOCK, ROUNDS = 16, 64, 80
START = np.array([0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0], np.uint32)
R1, R5, R30 = U32(1), U32(5), U32(30)
K = np.array([0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6], np.uint32)


@inlined
def _choose(t: Any, b: Any, c: Any, d: Any) -> Any:
    if t < 20:
        return (b & c) | (~b & d)
    if t < 40 or t >= 60:
        return b ^ c ^ d
    return (b & c) | (b & d) | (c & d)


@inlined
def _compress(w: Any, x: Any, state: Any, ends: Any, block: Any) -> None:
    """Mix a block of each lane (``w``: 16 words a lane) into the states of those that have not ended."""
    x[:] = state
    for t in range(ROUNDS):
        k, at = K[t // 20], t & 15
        if t >= 16:
            for i in range(LANES):
                w[at, i] = rotl32(
                    w[(t - 3) & 15, i] ^ w[(t - 8) & 15, i] ^ w[(t - 14) & 15, i] ^ w[at, i], R1
                )
        for i in range(LANES):
            a, b, c, d, e = x[0, i], x[1, i], x[2, i], x[3, i], x[4, i]
            x[0, i] = U32(rotl32(a, R5) + _choose(t, b, c, d) + e + k + w[at, i])
            x[1, i], x[2, i], x[3, i], x[4, i] = a, rotl32(b, R30), c, d
    for word in range(5):
        for i in range(LANES):
            if block < ends[i]:
                state[word, i] = U32(state[word, i] + x[word, i])


@inlined
def _load(prefix: Any, data: Any, start: Any, size: Any, block: Any, last: Any, buffer: Any) -> None:
    """Put one block of a padded message into ``buffer`` (uint8[64]): its length stands at the end."""
    buffer[:] = 0
    base, total = block * BLOCK, prefix.size + size
    for p in range(base, min(prefix.size, base + BLOCK)):
        buffer[p - base] = prefix[p]
    for p in range(max(base, prefix.size), min(total, base + BLOCK)):
        buffer[p - base] = data[start + p - prefix.size]
    if base <= total < base + BLOCK:
        buffer[total - base] = 0x80
    if last:
        store64(buffer, U64(BLOCK - 8), byteswap(U64(8 * total)))


@kernel
def sha1(prefix: Any, data: Any, offsets: Any, out: Any) -> None:
    """Hash the messages ``prefix + data[offsets[i]:offsets[i + 1]]`` into ``out`` (uint8[20 n])."""
    w, x = np.zeros((16, LANES), np.uint32), np.empty((5, LANES), np.uint32)
    state, ends = np.empty((5, LANES), np.uint32), np.zeros(LANES, np.int64)
    buffer, n = np.empty(BLOCK, np.uint8), offsets.size - 1
    for lo in range(0, n, LANES):
        lanes = min(LANES, n - lo)
        ends[:] = 0
        for i in range(lanes):
            size = prefix.size + offsets[lo + i + 1] - offsets[lo + i]
            ends[i] = (size + 8) // BLOCK + 1
        for word in range(5):
            state[word] = START[word]
        for block in range(ends.max()):
            for i in range(lanes):
                if block < ends[i]:
                    start = offsets[lo + i]
                    size, last = offsets[lo + i + 1] - start, block == ends[i] - 1
                    _load(prefix, data, start, size, block, last, buffer)
                    for pair in range(8):
                        both = byteswap(load64(buffer, U64(8 * pair)))
                        w[2 * pair, i], w[2 * pair + 1, i] = U32(both >> U32_), U32(both & M32)
            _compress(w, x, state, ends, block)
        for i in range(lanes):
            for word in range(5):
                for k in range(4):
                    out[20 * (lo + i) + 4 * word + k] = np.uint8(
                        U64(state[word, i]) >> U64(24 - 8 * k) & U64(255)
                    )
