"""Randomness that nobody can guess: ChaCha20, keyed by the operating system.

Bernstein: ChaCha, a variant of Salsa20, 2008; RFC 8439, section 2.3, with a 64-bit counter and a nonce of
zeros: each key is for one stream. Sixteen blocks are made at once, a lane each, which is as fast as vectors
are wide; their words come out lane by lane, each used once, so that their order does not matter:

    out = word 0 of blocks 0..15 | word 1 of blocks 0..15 | ... | word 15

A batch has a key of its own. Single ids draw from a pool of 4 KiB, whose first 32 bytes are the key of the
next pool, and each word is wiped once it is drawn: what was minted cannot be found in memory later.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from algos._bits import U1, U32, U64, rotl32
from algos._jit import inlined, kernel

SIGMA = np.frombuffer(b"expand 32-byte k", "<u4").astype(np.uint32)
LANES = 16
GROUP = 16 * LANES
"""Words of 32 bits that are made at once: 1 KiB."""
R7, R8, R12, R16 = U32(7), U32(8), U32(12), U32(16)
POOL = 512
"""Words of 64 bits in a pool."""
KEY_WORDS = 4


@inlined
def _quarter(a: Any, b: Any, c: Any, d: Any) -> Any:
    a = U32(a + b)
    d = rotl32(d ^ a, R16)
    c = U32(c + d)
    b = rotl32(b ^ c, R12)
    a = U32(a + b)
    d = rotl32(d ^ a, R8)
    c = U32(c + d)
    b = rotl32(b ^ c, R7)
    return a, b, c, d


@inlined
def _double_round(x: Any, i: Any) -> None:
    """Mix lane ``i``: the columns, then the diagonals."""
    x0, x1, x2, x3 = x[0, i], x[1, i], x[2, i], x[3, i]
    x4, x5, x6, x7 = x[4, i], x[5, i], x[6, i], x[7, i]
    x8, x9, xa, xb = x[8, i], x[9, i], x[10, i], x[11, i]
    xc, xd, xe, xf = x[12, i], x[13, i], x[14, i], x[15, i]
    x0, x4, x8, xc = _quarter(x0, x4, x8, xc)
    x1, x5, x9, xd = _quarter(x1, x5, x9, xd)
    x2, x6, xa, xe = _quarter(x2, x6, xa, xe)
    x3, x7, xb, xf = _quarter(x3, x7, xb, xf)
    x[0, i], x[5, i], x[10, i], x[15, i] = _quarter(x0, x5, xa, xf)
    x[1, i], x[6, i], x[11, i], x[12, i] = _quarter(x1, x6, xb, xc)
    x[2, i], x[7, i], x[8, i], x[13, i] = _quarter(x2, x7, x8, xd)
    x[3, i], x[4, i], x[9, i], x[14, i] = _quarter(x3, x4, x9, xe)


@kernel
def chacha20(key: Any, counter: Any, out: Any) -> None:
    """Fill ``out`` (uint32, whole groups) with the stream of a key (uint32[8]) from block ``counter`` on."""
    start, x = np.zeros((16, LANES), np.uint32), np.empty((16, LANES), np.uint32)
    for word in range(4):
        start[word] = SIGMA[word]
    for word in range(8):
        start[4 + word] = key[word]
    for at in range(0, out.size, GROUP):
        for lane in range(LANES):
            block = U64(counter) + U64(at // 16 + lane)
            start[12, lane], start[13, lane] = U32(block), U32(block >> U64(32))
        x[:] = start
        for _ in range(10):
            for lane in range(LANES):
                _double_round(x, lane)
        for word in range(16):
            for lane in range(LANES):
                out[at + word * LANES + lane] = U32(x[word, lane] + start[word, lane])


@inlined
def stream(key: Any, first: Any, n: Any) -> Any:
    """Return at least ``n`` words of 64 bits of a key's stream, from word ``first`` on."""
    skip = first % (GROUP // 2)
    words = np.empty((skip + n + GROUP // 2 - 1) // (GROUP // 2) * GROUP, np.uint32)
    chacha20(key, U64((first - skip) // 8), words)
    return words.view(np.uint64)[skip:]


def new_key() -> Any:
    """Return a key (uint32[8]) from the operating system."""
    return np.frombuffer(os.urandom(32), np.uint32).copy()


@inlined
def draw(pool: Any, at: Any) -> Any:
    """Return the next random word of a pool (uint64[POOL]) and where the one after it is."""
    if at == U64(POOL):
        chacha20(pool[:KEY_WORDS].copy().view(np.uint32), U64(0), pool.view(np.uint32))
        at = U64(KEY_WORDS)
    word = pool[at]
    pool[at] = U64(0)
    return word, at + U1
