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
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from algos._bits import M32, U1, U32, U32_, U64, item_pointer
from algos._jit import inlined, kernel, primitive

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGMA = np.frombuffer(b"expand 32-byte k", "<u4").astype(np.uint32)
LANES = 16
GROUP = 16 * LANES
"""Words of 32 bits that are made at once: 1 KiB."""
POOL = 512
"""Words of 64 bits in a pool."""
KEY_WORDS = 4


def _columns_and_diagonals() -> Iterator[tuple[int, int, int, int]]:
    """Yield the words that each quarter round of a double round mixes."""
    for turn in (0, 1):
        for column in range(4):
            yield tuple(4 * row + (column + turn * row) % 4 for row in range(4))  # type: ignore[misc]


QUARTERS = tuple(_columns_and_diagonals())
STEPS = ((0, 1, 3, 16), (2, 3, 1, 12), (0, 1, 3, 8), (2, 3, 1, 7))
"""Of a quarter round: the word added to, the one added, the one then mixed with the sum, and its rotation."""


def _mix_twin(start: Any, out: Any, at: Any) -> None:
    x = start.reshape(16, LANES).copy()
    for _ in range(10):
        for quarter in QUARTERS:
            for to, add, mixed, by in STEPS:
                a, b, c = quarter[to], quarter[add], quarter[mixed]
                x[a] += x[b]
                x[c] ^= x[a]
                x[c] = (x[c] << U32(by)) | (x[c] >> U32(32 - by))
    out[int(at) : int(at) + GROUP] = (x + start.reshape(16, LANES)).reshape(-1)


@primitive(_mix_twin)
def _mix(typingctx: Any, start: Any, out: Any, at: Any) -> Any:
    """Make sixteen blocks from what they start with, word by word (uint32[256]), into ``out[at:]``.

    Vectors, since LLVM makes none of a loop over lanes.
    """
    return types.void(start, out, types.uint64), _emit_mix


def _emit_mix(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    lanes = ir.VectorType(ir.IntType(32), LANES)
    rotation = ir.FunctionType(lanes, [lanes] * 3)
    rotate = cgutils.get_or_insert_function(builder.module, rotation, f"llvm.fshl.v{LANES}i32")

    def words(array_type: Any, array: Any, index: Any) -> list[Any]:
        first = item_pointer(context, builder, array_type, array, index, GROUP)
        first = builder.bitcast(first, lanes.as_pointer())
        return [builder.gep(first, [ir.IntType(32)(word)]) for word in range(16)]

    def load(pointer: Any) -> Any:
        value = builder.load(pointer)
        value.align = 4
        return value

    start = [load(pointer) for pointer in words(signature.args[0], args[0], args[2].type(0))]
    x = [cgutils.alloca_once_value(builder, value) for value in start]
    with cgutils.for_range(builder, ir.IntType(64)(10)):
        mixed = [builder.load(slot) for slot in x]
        for quarter in QUARTERS:
            for to, add, third, by in STEPS:
                a, b, c = quarter[to], quarter[add], quarter[third]
                mixed[a] = builder.add(mixed[a], mixed[b])
                mixed[c] = builder.xor(mixed[c], mixed[a])
                mixed[c] = builder.call(rotate, [mixed[c], mixed[c], ir.Constant(lanes, [by] * LANES)])
        for slot, value in zip(x, mixed, strict=True):
            builder.store(value, slot)
    for pointer, slot, value in zip(words(signature.args[1], args[1], args[2]), x, start, strict=True):
        builder.store(builder.add(builder.load(slot), value), pointer).align = 4
    return context.get_dummy_value()


@kernel
def chacha20(key: Any, counter: Any, out: Any) -> None:
    """Fill ``out`` (uint32, whole groups) with the stream of a key (uint32[8]) from block ``counter`` on."""
    start = np.zeros(GROUP, np.uint32)
    for lane in range(U64(LANES)):
        for word in range(U64(4)):
            start[word * U64(LANES) + lane] = SIGMA[word]
        for word in range(U64(8)):
            start[(U64(4) + word) * U64(LANES) + lane] = key[word]
    for at in range(U64(0), U64(out.size), U64(GROUP)):
        for lane in range(U64(LANES)):
            block = U64(counter) + at // U64(16) + lane
            start[U64(12 * LANES) + lane] = U32(block & M32)
            start[U64(13 * LANES) + lane] = U32(block >> U32_)
        _mix(start, out, at)


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
