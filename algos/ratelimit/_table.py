"""Keyed tables of the limiters: buckets of eight slots, where a dead slot is as good as an empty one.

A key is a keyed SipHash-1-3 of 64 bits; two buckets are its own, by the two halves of that::

    bucket    |  8 keys, 64 bytes  |  8 x ``width`` words of state  |

The first word of a state says when it is dead: at or before that time the limiter would decide alike if it
had never seen the key. So nothing has to be swept, and no timer runs: a slot is reused once the whole of both
buckets was looked through and did not hold the key. A live key is never moved and never forgotten. Where both
buckets are full of live keys there is no place, and the limiter says yes or no as it was told to.

With eight slots and two choices a table at five eighths of its slots has no place for one key in some
billions.
"""

from __future__ import annotations

from typing import Any

from algos._bits import U1, U64, mulhi, prefetch, rotl, trailing_zeros
from algos._jit import inlined

SLOTS = 8
LOAD = 0.625
NOWHERE = U64(0xFFFF_FFFF_FFFF_FFFF)
_HALF = U64(32)
_SLOTS, _ALL = U64(SLOTS), U64((1 << SLOTS) - 1)


@inlined
def bucket_words(width: Any) -> Any:
    """Return the words of a bucket."""
    return _SLOTS * (U1 + width)


@inlined
def _matches(table: Any, base: Any, h: Any) -> Any:
    """Return which of a bucket's keys are this one: a bit each."""
    found = U64(0)
    for slot in range(SLOTS):
        found |= U64(table[base + U64(slot)] == h) << U64(slot)
    return found


@inlined
def _dead(table: Any, base: Any, width: Any, threshold: Any) -> Any:
    """Return which of a bucket's slots are dead."""
    found = U64(0)
    for slot in range(SLOTS):
        found |= U64(table[base + _SLOTS + U64(slot) * width] <= threshold) << U64(slot)
    return found


@inlined
def find(table: Any, buckets: Any, width: Any, h: Any) -> Any:
    """Return where the state of a key is, or ``NOWHERE``."""
    size = bucket_words(width)
    for base in (mulhi(h, buckets) * size, mulhi(rotl(h, _HALF), buckets) * size):
        found = _matches(table, base, h)
        if found:
            return base + _SLOTS + trailing_zeros(found) * width
    return NOWHERE


@inlined
def place(table: Any, buckets: Any, width: Any, h: Any, threshold: Any) -> Any:
    """Return where the state of a key is from now on, in a slot of its own; or ``NOWHERE``.

    States dead at ``threshold`` make way. The state found is what was there: whoever looks at it must take a
    dead one for none.
    """
    at = find(table, buckets, width, h)
    if at != NOWHERE:
        return at
    size = bucket_words(width)
    base, other = mulhi(h, buckets) * size, mulhi(rotl(h, _HALF), buckets) * size
    free = _dead(table, base, width, threshold)
    if free & (free - U1) == U64(0):  # one or none: the other may have more
        rest = _dead(table, other, width, threshold)
        if rest:
            base, free = other, rest
    if free == U64(0):
        return NOWHERE
    slot = trailing_zeros(free)
    table[base + slot] = h
    at = base + _SLOTS + slot * width
    for word in range(width):
        table[at + U64(word)] = U64(0)
    return at


@inlined
def fetch(table: Any, buckets: Any, width: Any, h: Any) -> Any:
    """Ask for the lines of a key's first bucket."""
    base = mulhi(h, buckets) * bucket_words(width)
    prefetch(table, base)
    prefetch(table, base + _SLOTS)
