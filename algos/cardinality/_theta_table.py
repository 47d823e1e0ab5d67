"""The table of a theta sketch: hashes below a threshold, in lines of eight, each compared at once.

======== ===============================================================
state    meaning
======== ===============================================================
table    uint64[2^lg] in lines of eight: a hash is in the line of its low
         bits, or in the next with room; grows eightfold when half full,
         up to four slots for each of k
words    theta64, retained hashes, how many there may be, whether keys
         came, the hash's seed
======== ===============================================================
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from algos._bits import U1, U3, U64, borrowed, item_pointer, spread, trailing_zeros
from algos._jit import inlined, kernel, primitive
from algos.hashing.murmur3_128 import murmur3_128_word

THETA, COUNT, LIMIT, SEEN, SEED = range(5)
BLOCK = 64
"""Hashes compared at a time: a bit of a word for each."""
LINE = 8
"""Slots looked at together: a cache line."""
U0, _U7, _LINE = U64(0), U64(7), U64(LINE)
_BLOCK = U64(BLOCK)


def _below_twin(hashes: Any, theta: Any) -> Any:
    return U64(sum(1 << i for i in range(BLOCK) if hashes[i] < theta))


@primitive(_below_twin)
def _below(typingctx: Any, hashes: Any, theta: Any) -> Any:
    """Return which of the first 64 hashes are below theta, the first in the lowest bit."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        row = ir.VectorType(ir.IntType(64), BLOCK)
        start = item_pointer(context, builder, signature.args[0], args[0], ir.IntType(64)(0), BLOCK)
        found = builder.load(builder.bitcast(start, row.as_pointer()))
        found.align = 8
        below = builder.icmp_unsigned("<", found, spread(builder, args[1], BLOCK))
        return builder.bitcast(below, ir.IntType(BLOCK))

    return types.uint64(hashes, types.uint64), codegen


def _line_twin(table: Any, start: Any, h: Any) -> Any:
    line = table[int(start) : int(start) + LINE]
    return np.uint16(sum(int(line[i] == h) << i | int(not line[i]) << (LINE + i) for i in range(LINE)))


@primitive(_line_twin)
def _line(typingctx: Any, table: Any, start: Any, h: Any) -> Any:
    """Return where in the line from ``start`` on a hash is, and, in the bits above, where 0 is."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        row, i32 = ir.VectorType(ir.IntType(64), LINE), ir.IntType(32)
        first = item_pointer(context, builder, signature.args[0], args[0], args[1], LINE)
        found = builder.load(builder.bitcast(first, row.as_pointer()))
        found.align = 8
        same = builder.icmp_unsigned("==", found, spread(builder, args[2], LINE))
        none = builder.icmp_unsigned("==", found, ir.Constant(row, [0] * LINE))
        both = builder.shuffle_vector(
            same, none, ir.Constant(ir.VectorType(i32, 2 * LINE), list(range(2 * LINE)))
        )
        return builder.bitcast(both, ir.IntType(2 * LINE))

    return types.uint16(table, types.uint64, types.uint64), codegen


@inlined
def slot_of(table: Any, h: Any) -> Any:
    """Return where in the table a hash is, or the empty slot where it belongs."""
    last = (U64(table.size) >> U3) - U1
    line = h & last
    found = U64(_line(table, line << U3, h))
    while found == U0:
        line = (line + U1) & last
        found = U64(_line(table, line << U3, h))
    return (line << U3) + (trailing_zeros(found) & _U7)


@inlined
def _retain(table: Any, state: Any, h: Any) -> Any:
    """Retain a hash below theta; tell whether there are now too many."""
    at = slot_of(table, h)
    if h == U0 or table[at] == h:
        return False
    table[at] = h
    state[COUNT] += U1
    return state[COUNT] > state[LIMIT]


@kernel
def add_words(table: Any, state: Any, values: Any, start: Any) -> Any:
    """Add 64-bit keys, from the one at ``start`` on, until there are too many; return how far that was."""
    table, state = borrowed(table), borrowed(state)
    i, n, seed, theta = U64(start), U64(values.size), state[SEED], state[THETA]
    hashes = np.empty(BLOCK, np.uint64)
    block = borrowed(hashes)
    while i + _BLOCK <= n:
        for j in range(_BLOCK):
            block[j] = murmur3_128_word(values[i + j], seed) >> U1
        left = _below(block, theta)
        while left != U0:
            j = trailing_zeros(left)
            if _retain(table, state, block[j]):
                return i + j + U1
            left &= left - U1
        i += _BLOCK
    while i < n:
        h = murmur3_128_word(values[i], seed) >> U1
        i += U1
        if h < theta and _retain(table, state, h):
            return i
    return n


@kernel
def add_hashes(table: Any, state: Any, hashes: Any, shift: Any, start: Any) -> Any:
    """Add ready hashes, to be shifted right, in the same way."""
    table, state = borrowed(table), borrowed(state)
    theta, n = state[THETA], U64(hashes.size)
    for i in range(U64(start), n):
        h = hashes[i] >> shift
        if h < theta and _retain(table, state, h):
            return i + U1
    return n


@kernel
def gather(table: Any, out: Any) -> None:
    """List the hashes of a table: without a branch, which would be taken as by chance."""
    table, out, count = borrowed(table), borrowed(out), U0
    for at in range(U64(table.size)):
        out[count] = table[at]
        count += U64(table[at] != U0)


@kernel
def fill(table: Any, hashes: Any) -> None:
    """Put distinct hashes into an empty table, of whose lines only the sizes are looked at."""
    table, last = borrowed(table), (U64(table.size) >> U3) - U1
    sizes = np.zeros(table.size >> 3, np.uint64)
    used = borrowed(sizes)
    for i in range(U64(hashes.size)):
        line = hashes[i] & last
        while used[line] == _LINE:
            line = (line + U1) & last
        table[(line << U3) + used[line]] = hashes[i]
        used[line] += U1
