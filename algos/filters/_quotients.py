"""The table of the quotient filter: kernels over the words and the offsets that ``quotient`` explains.

A fingerprint ``f`` is a quotient, ``f >> r``, and a remainder of ``r`` bits. Blocks are ``r + 2`` words: a
bit for each quotient that has a run, a bit for each slot in which a run ends, and 64 remainders.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U2, U6, U63, U64, U64_, popcount, prefetch, trailing_zeros
from algos._jit import inlined, kernel

FULL, OVERFLOW = -1, 1 << 16
"""An offset has 16 bits: nobody is pushed further back than that."""
AHEAD = 16
"""Keys whose blocks are under way while others are looked up."""


@inlined
def _base(block: Any, r: Any) -> Any:
    return block * (r + U2)


@inlined
def _remainder(words: Any, slot: Any, r: Any) -> Any:
    base, bit = _base(slot >> U6, r) + U2, (slot & U63) * r
    at, shift = base + (bit >> U6), bit & U63
    value = words[at] >> shift
    if shift + r > U64_:
        value |= words[at + U1] << (U64_ - shift)
    return value & ((U1 << r) - U1)


@inlined
def _set_remainder(words: Any, slot: Any, r: Any, value: Any) -> None:
    base, bit = _base(slot >> U6, r) + U2, (slot & U63) * r
    at, shift, mask = base + (bit >> U6), bit & U63, (U1 << r) - U1
    words[at] = (words[at] & ~(mask << shift)) | (value << shift)
    if shift + r > U64_:
        back = U64_ - shift
        words[at + U1] = (words[at + U1] & ~(mask >> back)) | (value >> back)


@inlined
def _flag(words: Any, slot: Any, r: Any, which: Any) -> Any:
    return (words[_base(slot >> U6, r) + which] >> (slot & U63)) & U1


@inlined
def _set_flag(words: Any, slot: Any, r: Any, which: Any, value: Any) -> None:
    at, bit = _base(slot >> U6, r) + which, U1 << (slot & U63)
    words[at] = (words[at] & ~bit) | (bit * value)


@inlined
def _select(word: Any, rank: Any) -> Any:
    """Return the position of the set bit that has ``rank`` others below it, by halves."""
    at, width = U64(0), U64(32)
    while width != U64(0):
        low = popcount((word >> at) & ((U1 << width) - U1))
        if rank >= low:
            rank -= low
            at += width
        width >>= U1
    return at


@inlined
def _behind(words: Any, offsets: Any, q: Any, r: Any) -> Any:
    """Return the slot behind the last run of a quotient up to ``q``; at most ``q`` if slot q is free."""
    block, i = q >> U6, q & U63
    start = (block << U6) + U64(offsets[block])
    rank = popcount(words[_base(block, r)] & (~U64(0) >> (U63 - i)))
    if rank == U64(0):
        return start
    at = start >> U6
    ends = words[_base(at, r) + U1] & (~U64(0) << (start & U63))
    count = popcount(ends)
    while count < rank:
        rank -= count
        at += U1
        ends = words[_base(at, r) + U1]
        count = popcount(ends)
    return (at << U6) + _select(ends, rank - U1) + U1


@inlined
def _free(words: Any, offsets: Any, q: Any, r: Any) -> Any:
    """Return the first free slot from ``q`` on; it may lie behind the last."""
    slots, at = U64(offsets.size) << U6, q
    while at < slots:
        behind = _behind(words, offsets, at, r)
        if behind <= at:
            break
        at = behind
    return at


@inlined
def find(words: Any, offsets: Any, q: Any, r: Any, value: Any) -> tuple[Any, Any, Any]:
    """Return whether a run holds a remainder, the first slot with one not below it, and the slot behind.

    For a quotient without a run the slot is where its run would begin.
    """
    behind = _behind(words, offsets, q, r)
    if _flag(words, q, r, U64(0)) == U64(0):
        return False, max(behind, q), max(behind, q)
    at = behind - U1
    while True:
        if _remainder(words, at, r) < value:
            return at + U1 < behind and _remainder(words, at + U1, r) == value, at + U1, behind
        if at == q or _flag(words, at - U1, r, U1) != U64(0) or at == U64(0):
            return _remainder(words, at, r) == value, at, behind
        at -= U1


@inlined
def _move(offsets: Any, q: Any, last: Any, by: Any) -> None:
    """Note that the runs from quotient ``q`` on now end ``by`` slots later, up to the slot ``last``."""
    for block in range(np.int64(q >> U6) + 1, np.int64(last >> U6) + 1):
        offsets[block] = np.uint16(np.int64(offsets[block]) + by)


@inlined
def _insert(words: Any, offsets: Any, f: Any, r: Any) -> Any:
    """Insert a fingerprint: 1 if it is new, 0 if it was there already, -1 if there is no room."""
    q, value = f >> r, f & ((U1 << r) - U1)
    found, at, behind = find(words, offsets, q, r, value)
    free = _free(words, offsets, q, r)
    if free >= U64(offsets.size) << U6 or free - q >= U64(OVERFLOW):
        return -1
    slot = free
    while slot > at:
        _set_remainder(words, slot, r, _remainder(words, slot - U1, r))
        slot -= U1
    slot = free
    while slot > behind:
        _set_flag(words, slot, r, U1, _flag(words, slot - U1, r, U1))
        slot -= U1
    _set_remainder(words, at, r, value)
    if _flag(words, q, r, U64(0)) != U64(0):
        _set_flag(words, behind - U1, r, U1, U64(0))
    _set_flag(words, q, r, U64(0), U1)
    _set_flag(words, behind, r, U1, U1)
    _move(offsets, q, free, 1)
    return 0 if found else 1


@inlined
def _next_quotient(words: Any, q: Any, blocks: Any, r: Any) -> Any:
    """Return the next quotient behind ``q`` that has a run, or the number of slots."""
    block = q >> U6
    rest = words[_base(block, r)] & (~U1 << (q & U63))
    while rest == U64(0):
        block += U1
        if block == blocks:
            return blocks << U6
        rest = words[_base(block, r)]
    return (block << U6) + trailing_zeros(rest)


@inlined
def _take(words: Any, offsets: Any, f: Any, r: Any) -> Any:
    """Remove a fingerprint once; tell whether it was there. What stood too far back moves up."""
    q, value = f >> r, f & ((U1 << r) - U1)
    found, at, behind = find(words, offsets, q, r, value)
    if not found:
        return False
    last, run, blocks = behind - U1, q, U64(offsets.size)
    alone = last == q or (last > U64(0) and _flag(words, last - U1, r, U1) != U64(0))
    if at == last and alone:
        _set_flag(words, q, r, U64(0), U64(0))
        _set_flag(words, last, r, U1, U64(0))
    else:
        _set_flag(words, last, r, U1, U64(0))
        _set_flag(words, last - U1, r, U1, U1)
    hole = at
    while True:
        while hole < last:
            _set_remainder(words, hole, r, _remainder(words, hole + U1, r))
            hole += U1
        run = _next_quotient(words, run, blocks, r)
        if run > hole:
            break
        last = hole + U1
        while _flag(words, last, r, U1) == U64(0):
            last += U1
        _set_flag(words, last, r, U1, U64(0))
        _set_flag(words, last - U1, r, U1, U1)
    _set_remainder(words, hole, r, U64(0))
    _move(offsets, q, hole, -1)
    return True


@inlined
def _fetch(words: Any, f: Any, r: Any) -> None:
    base = _base((f >> r) >> U6, r)
    prefetch(words, base)
    prefetch(words, base + U2 + ((((f >> r) & U63) * r) >> U6))


@kernel
def contains(words: Any, offsets: Any, r: Any, drop: Any, hashes: Any, out: Any) -> None:
    n = hashes.size
    for i in range(n):
        if i + AHEAD < n:
            _fetch(words, hashes[i + AHEAD] >> drop, r)
        f = hashes[i] >> drop
        out[i] = find(words, offsets, f >> r, r, f & ((U1 << r) - U1))[0]


@kernel
def add(words: Any, offsets: Any, r: Any, drop: Any, hashes: Any, new: Any) -> Any:
    """Add until there is no room, noting which were not there before; return how many were added."""
    n = hashes.size
    for i in range(n):
        if i + AHEAD < n:
            _fetch(words, hashes[i + AHEAD] >> drop, r)
        state = _insert(words, offsets, hashes[i] >> drop, r)
        if state == FULL:
            return i
        new[i] = state == 1
    return n


@kernel
def remove(words: Any, offsets: Any, r: Any, drop: Any, hashes: Any, out: Any) -> None:
    for i in range(hashes.size):
        out[i] = _take(words, offsets, hashes[i] >> drop, r)


@kernel
def fill(words: Any, offsets: Any, r: Any, fingerprints: Any) -> Any:
    """Put rising fingerprints into an empty table; tell whether there was room."""
    slots, behind, n = U64(offsets.size) << U6, U64(0), fingerprints.size
    block = U64(0)
    for i in range(n):
        f = fingerprints[i]
        q = f >> r
        while block < (q >> U6):
            block += U1
            offsets[block] = np.uint16(max(behind, block << U6) - (block << U6))
        slot = max(behind, q)
        if slot >= slots or slot - q >= U64(OVERFLOW):
            return False
        _set_flag(words, q, r, U64(0), U1)
        _set_remainder(words, slot, r, f & ((U1 << r) - U1))
        if i + 1 == n or fingerprints[i + 1] >> r != q:
            _set_flag(words, slot, r, U1, U1)
        behind = slot + U1
    while block + U1 < U64(offsets.size):
        block += U1
        offsets[block] = np.uint16(max(behind, block << U6) - (block << U6))
    return True


@kernel
def fingerprints(words: Any, blocks: Any, quotients: Any, r: Any, out: Any) -> Any:
    """List the fingerprints in rising order; return how many there are, -1 if the bits make no sense."""
    slots, slot, count, ends, runs = U64(blocks) << U6, U64(0), 0, U64(0), U64(0)
    for block in range(blocks):
        ends += popcount(words[_base(U64(block), r) + U1])
        rest = words[_base(U64(block), r)]
        while rest != U64(0):
            q = (U64(block) << U6) + trailing_zeros(rest)
            rest &= rest - U1
            slot, runs, ended = max(slot, q), runs + U1, False
            if q >= quotients or slot - q >= U64(OVERFLOW):
                return -1
            while not ended:
                if slot >= slots:
                    return -1
                f = (q << r) | _remainder(words, slot, r)
                if count > 0 and f < out[count - 1]:
                    return -1
                out[count] = f
                ended = _flag(words, slot, r, U1) != U64(0)
                count, slot = count + 1, slot + U1
    return count if ends == runs else -1
