"""Registers of a byte that hold the greatest rank: the kernels of HyperLogLog's kin."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from algos._bits import U1, U64, borrowed, prefetch, trailing_zeros
from algos._jit import inlined, kernel, primitive
from algos.cardinality._estimators import keys_per_change
from algos.cardinality._ranks import (
    AHEAD,
    BLOCK,
    LANES,
    U0,
    WORTH,
    bits_of,
    coarser,
    gather,
    index_and_rank,
    load_bytes,
    scratch_of,
    span_of,
    survivors,
)
from algos.hashing.xxh3 import xxh3_key, xxh3_word


@inlined
def put(registers: Any, precision: Any, h: Any) -> None:
    """Raise the register of a hash to its rank, without a branch: while registers fill it goes by chance."""
    index, rank = index_and_rank(h, precision)
    registers[index] = max(registers[index], np.uint8(rank))


@inlined
def _least(registers: Any, size: Any) -> Any:
    """Return the least register, or 0 as soon as one is empty."""
    least = np.uint8(255)
    for start in range(U0, size, U64(1024)):
        for i in range(start, min(start + U64(1024), size)):
            least = min(least, registers[i])
        if least == np.uint8(0):
            break
    return least


@inlined
def _limit(registers: Any, precision: Any) -> Any:
    """Return below what the bits behind the index must be to raise any register; 0 if too many are."""
    least = U64(_least(registers, U1 << precision))
    return U0 if least < WORTH else U1 << (U64(64) - least)


def _raises_twin(registers: Any, ranks: Any, at: Any) -> Any:
    part = slice(int(at), int(at) + 64)
    return bits_of(ranks[part] > registers[part])


@primitive(_raises_twin)
def _raises(typingctx: Any, registers: Any, ranks: Any, at: Any) -> Any:
    """Tell of each of 64 registers whether a rank raises it: a bit."""
    signature = types.uint64(registers, ranks, types.uint64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        register, rank = (load_bytes(context, builder, signature, args, k) for k in (0, 1))
        return builder.bitcast(builder.icmp_unsigned(">", rank, register), ir.IntType(64))

    return signature, codegen


@inlined
def _put_block(registers: Any, precision: Any, hashes: Any, lo: Any, scratch: Any) -> None:
    """Count 512 hashes: those alone that raise a register as it was before them."""
    index, rank, register = scratch
    gather(registers, precision, hashes, lo, index, rank, register)
    for start in range(U0, BLOCK, LANES):
        left = _raises(register, rank, start)
        while left != U0:
            i = start + trailing_zeros(left)
            registers[U64(index[i])] = max(registers[U64(index[i])], rank[i])
            left &= left - U1


@inlined
def _put_some(
    registers: Any, precision: Any, hashes: Any, lo: Any, hi: Any, limit: Any, scratch: Any
) -> None:
    """Count hashes ``lo..hi``: those below the limit, or block by block all, if it is 0."""
    while limit != U0 and lo + LANES <= hi:
        left = survivors(hashes, lo, precision, limit)
        while left != U0:
            put(registers, precision, hashes[lo + trailing_zeros(left)])
            left &= left - U1
        lo += LANES
    while lo + BLOCK <= hi:
        _put_block(registers, precision, hashes, lo, scratch)
        lo += BLOCK
    while lo < hi:
        put(registers, precision, hashes[lo])
        lo += U1


@kernel
def add(registers: Any, precision: Any, hashes: Any) -> None:
    """Count ready hashes in one row."""
    registers, hashes = borrowed(registers), borrowed(hashes)
    p, n, lo, scratch = U64(precision), U64(hashes.size), U0, scratch_of()
    while lo < n:
        hi = min(lo + span_of(p), n)
        limit = _limit(registers, p) if hi - lo >= U1 << p >> U64(2) else U0
        _put_some(registers, p, hashes, lo, hi, limit, scratch)
        lo = hi


@kernel
def add_words(registers: Any, precision: Any, words: Any, seed: Any) -> None:
    """Hash (XXH3) and count 64-bit keys in one row, block by block."""
    registers, words = borrowed(registers), borrowed(words)
    p, n, key, lo = U64(precision), U64(words.size), xxh3_key(np.uint64(seed)), U0
    hashes, scratch, limit, until = np.empty(BLOCK, np.uint64), scratch_of(), U0, U0
    while lo < n:
        count = min(BLOCK, n - lo)
        if lo >= until:
            limit, until = _limit(registers, p), lo + span_of(p)
        for i in range(count):
            hashes[i] = xxh3_word(words[lo + i], key)
        _put_some(registers, p, hashes, U0, count, limit, scratch)
        lo += count


@kernel
def add_groups(rows: Any, precision: Any, hashes: Any, groups: Any) -> None:
    """Count ready hashes, each in the row of its group."""
    rows, hashes, groups = borrowed(rows), borrowed(hashes), borrowed(groups)
    p, n = U64(precision), U64(hashes.size)
    for i in range(n):
        if i + AHEAD < n:
            prefetch(rows, (groups[i + AHEAD] << p) + (hashes[i + AHEAD] >> (U64(64) - p)))
        index, rank = index_and_rank(hashes[i], p)
        at = (groups[i] << p) + index
        if np.uint8(rank) > rows[at]:  # noqa: PLR1730 - as in one row
            rows[at] = np.uint8(rank)


@inlined
def _lost(rank: Any, p: Any) -> Any:
    """Return how much of 2^64 a register of that rank takes from the chance of a change."""
    whole = U1 << (U64(64) - p)
    return whole if rank == U64(65) - p else whole - (whole >> rank)


@inlined
def put_counted(rows: Any, p: Any, h: Any, group: Any, sums: Any, gone: Any) -> None:
    """Count a hash in the row of its group, and in its martingale."""
    index, rank = index_and_rank(h, p)
    at = (group << p) + index
    before = U64(rows[at])
    if rank > before:
        sums[group] += keys_per_change(gone[group])
        gone[group] += _lost(rank, p) - _lost(before, p)
        rows[at] = np.uint8(rank)


@kernel
def follow(rows: Any, p: Any, hashes: Any, groups: Any, sums: Any, gone: Any) -> None:
    """Count ready hashes, one after the other, each in the row of its group and in its martingale."""
    rows, sums, gone = borrowed(rows), borrowed(sums), borrowed(gone)
    each = U64(groups.size > 1)
    for i in range(U64(hashes.size)):
        put_counted(rows, U64(p), hashes[i], groups[i * each], sums, gone)


@kernel
def find_gone(rows: Any, p: Any, out: Any) -> None:
    """Write how much of 2^64 the chance of a change is below 1, for each row."""
    size = U1 << U64(p)
    for g in range(U64(out.size)):
        total = U64(0)
        for i in range(g * size, (g + U1) * size):
            total += _lost(U64(rows[i]), U64(p))
        out[g] = total


@kernel
def unite(mine: Any, theirs: Any) -> None:
    """Take the greater of each two registers."""
    for i in range(theirs.size):
        mine[i] = max(mine[i], theirs[i])


@kernel
def shrink(rows: Any, drop: Any, out: Any) -> None:
    """Fold registers, each to the one of ``drop`` bits of precision less."""
    for i in range(out.size << drop):
        rank = U64(rows[i])
        if rank != U0:
            index, rank = coarser(U64(i), rank, U64(drop))
            out[index] = max(out[index], np.uint8(rank))


@inlined
def count_ranks(rows: Any, start: Any, size: Any, parts: Any, counts: Any) -> None:
    """Count how often each rank is in a row; of four parts, so that equal ones do not wait for each other."""
    parts[:] = 0
    for i in range(start, start + size, U64(4)):
        for k in range(U64(4)):
            parts[(k << U64(8)) + U64(rows[i + k])] += 1
    for r in range(counts.size):
        counts[r] = parts[r] + parts[256 + r] + parts[512 + r] + parts[768 + r]


@kernel
def count_tokens(tokens: Any, registers: Any, counts: Any) -> None:
    """Count how often each rank is among tokens, and among so many registers in all."""
    used = 0
    for i in range(tokens.size):
        if tokens[i] != 0:
            counts[tokens[i] & np.uint32(63)] += 1
            used += 1
    counts[0] = registers - used
