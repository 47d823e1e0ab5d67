"""Keyed tables of the limiters: buckets of eight slots, where a dead slot is as good as an empty one.

A key is a keyed SipHash-1-3 of 64 bits; two buckets are its own, by the two halves of that::

    bucket    |  8 keys, a cache line  |  8 x ``width`` words of state  |

The first word of a state says when it is dead: at or before that time the limiter would decide alike if it
had never seen the key. So nothing has to be swept, and no timer runs: a slot is reused once the whole of both
buckets was looked through and did not hold the key. A live key is never moved and never forgotten. Where both
buckets are full of live keys there is no place, and the limiter says yes or no as it was told to.

With eight slots and two choices, a table whose live keys take five eighths of it has a place for every key
but one in millions.
"""

from __future__ import annotations

from typing import Any

from algos._bits import U1, U64, mulhi, opaque, popcount, prefetch_near, rotl, trailing_zeros
from algos._jit import inlined
from algos._lanes import SLOTS, at_most, equal, least

LOAD = 0.625
ENOUGH = U64(4)
"""Free slots of the first bucket with which the second is not looked at: more keys are found at once so."""
NOWHERE = U64(0xFFFF_FFFF_FFFF_FFFF)
_SLOTS, _WITHIN, _HALF = U64(SLOTS), U64(SLOTS - 1), U64(32)


@inlined
def bucket_words(width: Any) -> Any:
    """Return the words of a bucket."""
    return _SLOTS * (U1 + width)


@inlined
def state_of(slot: Any, width: Any) -> Any:
    """Return where the state of a slot begins; a slot is where its key is."""
    if width == U1:
        return slot + _SLOTS
    within = slot & _WITHIN
    return slot - within + _SLOTS + within * width


@inlined
def find(table: Any, buckets: Any, width: Any, h: Any) -> Any:
    """Return the slot of a key, or ``NOWHERE``."""
    base = mulhi(h, buckets) * bucket_words(width)
    found = equal(table, base, h)
    if found == U64(0):
        base = mulhi(rotl(h, _HALF), buckets) * bucket_words(width)
        found = equal(table, base, h)
        if found == U64(0):
            return NOWHERE
    return base + trailing_zeros(found)


@inlined
def _dead(table: Any, base: Any, width: Any, threshold: Any) -> Any:
    """Return which slots of a bucket are dead: a bit each."""
    if width == U1:
        return at_most(table, base + _SLOTS, threshold)
    found = U64(0)
    for slot in range(_SLOTS):
        found |= U64(table[base + _SLOTS + slot * width] <= threshold) << slot
    return found


@inlined
def _oldest(table: Any, base: Any, width: Any) -> Any:
    """Return the slot of a bucket that died first, or is empty: who comes again may still find its own."""
    if width == U1:
        return least(table, base + _SLOTS)
    slot: Any = U64(0)
    for other in range(U1, _SLOTS):
        if table[base + _SLOTS + other * width] < table[base + _SLOTS + slot * width]:
            slot = other
    return slot


@inlined
def either(flag: Any, word: Any, other: Any) -> Any:
    """Return a word if a flag is set and else the other, without a branch.

    What is allowed is as good as random, and a wrong guess costs as much as half a decision.
    """
    return other ^ ((other ^ word) & opaque(U64(0) - U64(flag)))


@inlined
def store_if(flag: Any, table: Any, at: Any, word: Any) -> None:
    """Store a word if a flag is set, without a branch."""
    table[at] = either(flag, word, table[at])


@inlined
def free_slot(table: Any, buckets: Any, width: Any, h: Any, threshold: Any) -> Any:
    """Return a slot for a new key, whose state is dead at ``threshold``, or ``NOWHERE``."""
    size = bucket_words(width)
    base, other = mulhi(h, buckets) * size, mulhi(rotl(h, _HALF), buckets) * size
    free = _dead(table, base, width, threshold)
    if popcount(free) < ENOUGH:
        rest = _dead(table, other, width, threshold)
        if popcount(rest) > popcount(free):
            base, free = other, rest
    return base + _oldest(table, base, width) if free else NOWHERE


@inlined
def place(table: Any, buckets: Any, width: Any, h: Any, threshold: Any) -> Any:
    """Return the slot that is a key's from now on, or ``NOWHERE``.

    States dead at ``threshold`` make way. The state found is what was there: whoever looks at it must take a
    dead one for none.
    """
    slot = find(table, buckets, width, h)
    if slot != NOWHERE:
        return slot
    slot = free_slot(table, buckets, width, h, threshold)
    if slot == NOWHERE:
        return NOWHERE
    table[slot] = h
    at = state_of(slot, width)
    for word in range(width):
        table[at + word] = U64(0)
    return slot


@inlined
def fetch(table: Any, buckets: Any, width: Any, h: Any) -> None:
    """Ask for the keys of a key's first bucket, and for its states where they are a line."""
    base = mulhi(h, buckets) * bucket_words(width)
    prefetch_near(table, base)
    if width == U1:
        prefetch_near(table, base + _SLOTS)


@inlined
def find_ahead(table: Any, buckets: Any, width: Any, h: Any) -> Any:
    """Return the slot of a key, or ``NOWHERE``, and ask for its state, or the first of its bucket."""
    slot = find(table, buckets, width, h)
    if width != U1:
        near = mulhi(h, buckets) * bucket_words(width) if slot == NOWHERE else slot
        prefetch_near(table, state_of(near, width))
    return slot
