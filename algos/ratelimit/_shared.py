"""Limiters in memory that processes share: one limit for all workers of a server, by compare-and-swap.

The state of a key is one word, and who changes it swaps it for the new one if it still is what was decided on;
else another process was faster, and one decides anew. Nobody waits for anybody, but for who takes a slot for a
new key: that is done by one process at a time in each of the table's stripes, which hold all places of a key::

    memory    |  header, 64 words  |  locks of the stripes, a cache line each  |  buckets as in ``_table.py``  |

A slot changes hands in three steps: its word, which is dead, is swapped for ``TAKEN``; its key becomes the new
one; its word is set. Who finds a key reads the word first and then the key again, so a word swapped is the
key's. A lock has the number of its process: of one that died the next to wait lets go, and frees what it took.

There is a rule as elsewhere, and two inlined functions of words::

    step(rule, word, now, cost)             allowed, and the word then
    tell(rule, word, now, cost, allowed)    remaining, retry after, reset after, with the word as it is then
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from llvmlite import ir
from numba import types

from algos._bits import U1, U64, borrowed, item_pointer, mulhi, prefetch, rotl, trailing_zeros
from algos._fastcall import INT, NONE, as_bool, key_of, kind_of, monotonic_ns, size_of, text_of, word_of
from algos._jit import inlined, primitive
from algos.hashing.siphash import siphash, siphash_word
from algos.ratelimit._limiter import Limiter, whole_numbers
from algos.ratelimit._loops import BUSY, CLOCK, FULL, KEY_HIGH, KEY_LOW, MAX_COST, OFFSET, OURS, OWN
from algos.ratelimit._table import NOWHERE, SLOTS, at_most, equal

if TYPE_CHECKING:
    from multiprocessing.shared_memory import SharedMemory

MAGIC, READY, SECRET, CREATED, RULE = 0, 1, 2, 4, 8
"""Words of the header: whose it is; whether it is complete; two of the secret; what is added to the monotonic
clock, and what that said when the memory was first used; and the numbers of the rule from ``RULE`` on."""
HEADER, LINE = 64, 8
STRIPES, PER_STRIPE, PROCESS, SHARED = OWN, OWN + 1, OWN + 2, OWN + 3
"""Words of the state: how many stripes, and buckets of each; the process; and where the variant's begin."""
MOST_STRIPES, BUCKETS_OF_A_STRIPE = 256, 64
TAKEN = U64(0xFFFF_FFFF_FFFF_FFFF)
"""The word of a slot that changes hands."""
SPINS = 2_000
PATIENCE_S = 10.0
U0, _HALF, _SLOTS, _BUCKET = U64(0), U64(32), U64(SLOTS), U64(2 * SLOTS)
DENIED, ALLOWED, STUCK = 0, 1, 2


# ---------------------------------------------------------------------------------------------------
# Words that others change


def _swap_twin(table: Any, index: Any, old: Any, new: Any) -> bool:
    if table[int(index)] != old:
        return False
    table[int(index)] = new
    return True


@primitive(_swap_twin)
def swap(typingctx: Any, table: Any, index: Any, old: Any, new: Any) -> Any:
    """Set ``table[index]`` to ``new`` if it is ``old``; tell whether it was. Atomic where it is compiled."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = item_pointer(context, builder, signature.args[0], args[0], args[1], 1)
        found = builder.cmpxchg(pointer, args[2], args[3], "seq_cst", "seq_cst")
        return builder.extract_value(found, 1)

    return types.boolean(table, types.uint64, types.uint64, types.uint64), codegen


def _read_twin(table: Any, index: Any) -> Any:
    return table[int(index)]


@primitive(_read_twin)
def read(typingctx: Any, table: Any, index: Any) -> Any:
    """Return ``table[index]`` as it is now, before anything that is read after it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = item_pointer(context, builder, signature.args[0], args[0], args[1], 1)
        return builder.load_atomic(pointer, "seq_cst", 8)

    return types.uint64(table, types.uint64), codegen


def _write_twin(table: Any, index: Any, word: Any) -> None:
    table[int(index)] = word


@primitive(_write_twin)
def write(typingctx: Any, table: Any, index: Any, word: Any) -> Any:
    """Set ``table[index]``, after all that was written before it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = item_pointer(context, builder, signature.args[0], args[0], args[1], 1)
        builder.store_atomic(args[2], pointer, "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(table, types.uint64, types.uint64), codegen


# ---------------------------------------------------------------------------------------------------
# The table


@inlined
def _stripe(state: Any, h: Any) -> Any:
    return mulhi(h, state[STRIPES])


@inlined
def _bases(state: Any, h: Any) -> Any:
    """Return where the two buckets of a key begin, both in its stripe."""
    stripes, per = state[STRIPES], state[PER_STRIPE]
    first = U64(HEADER) + stripes * U64(LINE) + mulhi(h, stripes) * per * _BUCKET
    within = h * stripes  # what the stripe does not tell
    return first + mulhi(within, per) * _BUCKET, first + mulhi(rotl(within, _HALF), per) * _BUCKET


@inlined
def find(state: Any, table: Any, h: Any) -> Any:
    """Return the slot of a key, or ``NOWHERE``."""
    base, other = _bases(state, h)
    found = equal(table, base, h)
    if found == U0:
        base, found = other, equal(table, other, h)
    return base + trailing_zeros(found) if found else NOWHERE


@inlined
def _take(state: Any, table: Any, h: Any, threshold: Any, word: Any) -> Any:
    """Give a key a slot with its first word, under the lock; tell whether there was one."""
    base, other = _bases(state, h)
    free = at_most(table, base + _SLOTS, threshold)
    if free & (free - U1) == U0:  # one or none: the other may have more
        rest = at_most(table, other + _SLOTS, threshold)
        if rest:
            base, free = other, rest
    while free:
        slot = base + trailing_zeros(free)
        old = read(table, slot + _SLOTS)
        if old <= threshold and swap(table, slot + _SLOTS, old, TAKEN):
            write(table, slot, h)
            write(table, slot + _SLOTS, word)
            return True
        free &= free - U1  # its key was asked for meanwhile
    return False


@inlined
def ask(rule: Any, step: Any, threshold: Any, state: Any, table: Any, h: Any, now: Any, cost: Any) -> Any:
    """Decide on a request and count it; return the answer and the word then.

    ``STUCK`` where a lock or a slot stays taken: it may be that who took it is no more.
    """
    numbers, lock = rule(state), U64(HEADER) + _stripe(state, h) * U64(LINE)
    for _ in range(SPINS):
        slot = find(state, table, h)
        if slot != NOWHERE:
            word = read(table, slot + _SLOTS)
            if word == TAKEN or read(table, slot) != h:
                continue
            allowed, then = step(numbers, word, now, cost)
            if not allowed:
                return DENIED, word
            if swap(table, slot + _SLOTS, word, then):
                return ALLOWED, then
            continue
        allowed, then = step(numbers, U0, now, cost)
        if not allowed:
            return DENIED, U0
        if not swap(table, lock, U0, state[PROCESS]):
            continue
        there = find(state, table, h) != NOWHERE  # another may have put it there
        placed = not there and _take(state, table, h, threshold(numbers, now), then)
        write(table, lock, U0)
        if placed:
            return ALLOWED, then
        if not there:
            return (ALLOWED if state[FULL] != U0 else DENIED), U0
    return STUCK, U0


@inlined
def run_shared(
    rule: Any,
    step: Any,
    threshold: Any,
    tell: Any,
    state: Any,
    table: Any,
    hashes: Any,
    now: Any,
    costs: Any,
    commit: Any,
    allowed: Any,
    fields: Any,
    start: Any,
) -> Any:
    """Decide on requests from ``start`` on; return where it was stuck, or their number.

    What remains and how long to wait is said where ``fields`` (int64[3, n]) has room for it.
    """
    state, table, numbers, n = borrowed(state), borrowed(table), rule(state), U64(hashes.size)
    each, ahead, told = U64(costs.size > 1), U64(32), fields.size > 0
    for i in range(U64(start), n):
        h, cost = hashes[i], costs[i * each]
        if i + ahead < n:
            base, _ = _bases(state, hashes[i + ahead])
            prefetch(table, base)
            prefetch(table, base + _SLOTS)
        if commit:
            answer, word = ask(rule, step, threshold, state, table, h, now, cost)
            if answer == STUCK:
                return i
            allowed[i] = answer == ALLOWED
        else:
            slot = find(state, table, h)
            word = read(table, slot + _SLOTS) if slot != NOWHERE else U0
            word = U0 if word == TAKEN else word
            allowed[i], then = step(numbers, word, now, cost)
            word = then if allowed[i] else word
        if told:
            fields[0, i], fields[1, i], fields[2, i] = tell(numbers, word, now, cost, allowed[i])
    return n


@inlined
def alone_shared(
    rule: Any,
    step: Any,
    threshold: Any,
    state: Any,
    table: Any,
    arguments: Any,
    count: Any,
    names: Any,
) -> Any:
    """Answer ``allow(key, cost)``, of which the last may lack: an object, or 0 if not here."""
    if (names != U0) | (count == U0) | (count > U64(2)) | (state[BUSY] != U0):
        return U0
    key, cost, now = key_of(arguments, 0), U1, monotonic_ns()
    if (kind_of(key) == NONE) | (now == U0):
        return U0
    if count == U64(2):
        given = key_of(arguments, 1)
        if (kind_of(given) != INT) | (word_of(given) > U64(MAX_COST)):
            return U0
        cost = word_of(given)
    secret = state[KEY_LOW], state[KEY_HIGH]
    if kind_of(key) == INT:
        h = siphash_word(word_of(key), secret, 1, 3)
    else:
        h = siphash(text_of(key), U0, size_of(key), secret, 1, 3)
    answer, _ = ask(rule, step, threshold, state, table, h, now + state[OFFSET], cost)
    return U0 if answer == STUCK else as_bool(answer == ALLOWED)


# ---------------------------------------------------------------------------------------------------
# The face


def words_of(memory: Any) -> Any:
    """View a writable buffer, or a ``SharedMemory``, as words."""
    buffer = getattr(memory, "buf", memory)
    try:
        view = memoryview(buffer).cast("B")
    except TypeError:
        raise TypeError(f"memory must be a SharedMemory or a buffer, not {type(memory).__name__}") from None
    if view.readonly:
        raise ValueError("memory is read-only; a limiter has to write to it")
    words = np.frombuffer(view[: len(view) // 8 * 8], np.uint64)
    if words.ctypes.data % 64:
        raise ValueError("memory does not begin at a cache line; take SharedMemory or mmap")
    return words


def stripes_of(buckets: int) -> int:
    """Return how many stripes so many buckets have: a power of two."""
    return min(MOST_STRIPES, 1 << max(0, buckets // BUCKETS_OF_A_STRIPE).bit_length() - 1 if buckets >= 128 else 1)
