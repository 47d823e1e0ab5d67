"""Where a hash belongs: its register, its rank, both in one token, and which of many hashes can matter."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from algos._bits import U1, U6, U64, U64_, item_pointer, leading_zeros, spread
from algos._jit import inlined, primitive

AHEAD = U64(32)
"""Keys whose registers are under way while others are counted, where rows are many."""
BLOCK = U64(512)
"""Keys hashed at a time: 4 KiB, which stay in L1 until they are counted."""
LANES = U64(64)
WORTH = U64(4)
"""Ranks that must be below all that count for it to pay to look for them: one key of 16 is then left."""
U0 = U64(0)


@inlined
def index_and_rank(h: Any, precision: Any) -> tuple[Any, Any]:
    """Return the register of a hash, by its first bits, and one more than the zeros that follow them.

    A bit set behind the last of the hash ends the zeros: the rank is 65 - precision at most.
    """
    return h >> (U64_ - precision), leading_zeros((h << precision) | (U1 << (precision - U1))) + U1


@inlined
def token_of(h: Any, precision: Any) -> Any:
    """Return the token of a hash."""
    index, rank = index_and_rank(h, precision)
    return (index << U6) | rank


@inlined
def coarser(index: Any, rank: Any, drop: Any) -> tuple[Any, Any]:
    """Return register and rank of a hash at ``drop`` bits of precision less.

    The last bits of the index are then the first that zeros are counted in.
    """
    low = index & ((U1 << drop) - U1)
    zeros = leading_zeros(low) - (U64_ - drop)
    return index >> drop, (zeros + U1 if low != U64(0) else rank + drop)


@inlined
def gather(
    registers: Any, precision: Any, hashes: Any, lo: Any, index: Any, rank: Any, register: Any
) -> None:
    """Write of 512 hashes from ``lo`` on index and rank, in vectors, and the registers as they are."""
    for i in range(BLOCK):
        at, found = index_and_rank(hashes[lo + i], precision)
        index[i], rank[i] = np.uint32(at), np.uint8(found)
    for i in range(BLOCK):
        register[i] = registers[U64(index[i])]


@inlined
def scratch_of() -> tuple[Any, Any, Any]:
    """Return the place for what ``gather`` writes."""
    return np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.uint8)


def bits_of(flags: Any) -> Any:
    """Return 64 flags as a uint64: what the twins of vector comparisons return."""
    return U64(int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little"))


BYTES = ir.VectorType(ir.IntType(8), 64)


def load_bytes(context: Any, builder: Any, signature: Any, args: Any, k: int) -> Any:
    """Emit the load of the 64 items of argument ``k``, bytes, from the index that is the last one on."""
    pointer = item_pointer(context, builder, signature.args[k], args[k], args[-1], 64)
    loaded = builder.load(builder.bitcast(pointer, BYTES.as_pointer()))
    loaded.align = 1
    return loaded


def _survivors_twin(hashes: Any, at: Any, precision: Any, limit: Any) -> Any:
    return bits_of(hashes[int(at) : int(at) + 64] << precision < limit)


@primitive(_survivors_twin)
def survivors(typingctx: Any, hashes: Any, at: Any, precision: Any, limit: Any) -> Any:
    """Tell of each of the 64 hashes from ``at`` on whether what follows its index is below a limit: a bit."""
    signature = types.uint64(hashes, types.uint64, types.uint64, types.uint64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        b, lanes = builder, ir.VectorType(ir.IntType(64), 64)
        pointer = item_pointer(context, b, signature.args[0], args[0], args[1], 64)
        values = b.load(b.bitcast(pointer, lanes.as_pointer()))
        values.align = 8
        below = b.icmp_unsigned("<", b.shl(values, spread(b, args[2], 64)), spread(b, args[3], 64))
        return b.bitcast(below, ir.IntType(64))

    return signature, codegen


@inlined
def span_of(precision: Any) -> Any:
    """Return after how many keys the least register is looked for again: it is a small part of the work."""
    return max(U64(8192), U64(2) << precision)
