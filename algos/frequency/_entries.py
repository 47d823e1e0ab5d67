"""The table of the most frequent keys: their hashes and counts in lines of eight slots, and their texts.

::

    line     |  8 hashes, a cache line  |        |  8 counts, another  |       a count of 0: an empty slot

A key is in the line that its hash chooses, or, where that is full, in the next one with room. So a line that
is not full ends every search, and whatever empties a slot of a full line has to look after those behind it.

A number need not be kept: of 8 bytes XXH3 is a bijection, so that its hash tells it. Of a text there is where
it is in the arena: its length, 8 bytes, and its bytes. While a batch is counted it is where it is in the
batch, marked by ``FRESH``; what is still there at the end is copied. Texts of one hash, of which two of 10^9
have a chance of 3 %, are one key.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U3, U8, U64, borrowed, load64, mulhi, prefetch_near, store64, trailing_zeros
from algos._jit import inlined, kernel
from algos._lanes import SLOTS, equal

U0 = U64(0)
FRESH = U64(1 << 63)
AHEAD = U64(12)
"""Keys whose lines are under way while others are counted."""


def lines_for(capacity: int) -> int:
    """Return the lines of a table for so many keys, three quarters full at most."""
    return -(-4 * (capacity + 1) // (3 * SLOTS))


@inlined
def next_line(line: Any, lines: Any) -> Any:
    """Return the line after one, the first after the last."""
    return U0 if line + U1 == lines else line + U1


@inlined
def fetch(hashes: Any, counts: Any, lines: Any, h: Any) -> None:
    """Ask for the line of a key."""
    base = mulhi(h, lines) << U3
    prefetch_near(hashes, base)
    prefetch_near(counts, base)


@inlined
def seek(hashes: Any, counts: Any, lines: Any, h: Any) -> tuple[Any, Any]:
    """Return the slot of a key and True, or the empty one where it belongs and False."""
    line = mulhi(h, lines)
    while True:
        base = line << U3
        empty = equal(counts, base, U0)
        here = equal(hashes, base, h) & ~empty
        if here | empty != U0:
            return base + trailing_zeros(here if here != U0 else empty), here != U0
        line = next_line(line, lines)


@inlined
def move(hashes: Any, counts: Any, beside: Any, texts: Any, source: Any, target: Any) -> None:
    """Move a key to an empty slot."""
    hashes[target], counts[target], counts[source] = hashes[source], counts[source], U0
    if beside.size:
        beside[target] = beside[source]
    if texts.size:
        texts[target] = texts[source]


@inlined
def of_least_hash(hashes: Any, base: Any, chosen: Any) -> Any:
    """Return the slot of the least hash of those chosen in a line: whichever slots its keys are in."""
    slot = base + trailing_zeros(chosen)
    chosen &= chosen - U1
    while chosen != U0:
        other = base + trailing_zeros(chosen)
        slot = other if hashes[other] < hashes[slot] else slot
        chosen &= chosen - U1
    return slot


@inlined
def close_gap(hashes: Any, counts: Any, beside: Any, texts: Any, lines: Any, gap: Any) -> Any:
    """Fill a slot just emptied of a line that was full, from the lines behind, as long as that makes gaps.

    Return the line of the last gap.
    """
    line = gap >> U3
    if equal(counts, line << U3, U0) != U1 << (gap & U64(7)):
        return line  # nobody ever went past it
    at, passed = next_line(line, lines), U1
    while True:
        full, fits = equal(counts, at << U3, U0) == U0, U0
        for k in range(U64(SLOTS)):
            # How many lines a key is behind its own; it went past the gap if they are no fewer than these.
            slot = (at << U3) + k
            fits |= U64(counts[slot] != U0 and _distance(hashes[slot], at, lines) >= passed) << k
        if fits != U0:
            slot = of_least_hash(hashes, at << U3, fits)
            move(hashes, counts, beside, texts, slot, gap)
            gap, passed = slot, U0
        if not full:
            return gap >> U3
        at, passed = next_line(at, lines), passed + U1


@inlined
def _distance(h: Any, line: Any, lines: Any) -> Any:
    """Return how many lines a line is behind that of a key."""
    own = mulhi(h, lines)
    return line - own if line >= own else line + lines - own


@inlined
def _counted_up_to(counts: Any, most: Any) -> Any:
    """Count the keys of at most so many."""
    n = U0
    for i in range(U64(counts.size)):
        n += U64(counts[i] - U1 < most)
    return n


@inlined
def rank(counts: Any, wanted: Any) -> Any:
    """Return the least count that at least so many keys do not exceed; there must be as many."""
    high = U1
    while _counted_up_to(counts, high) < wanted:
        high <<= U1
    low = (high >> U1) + U1
    while low < high:
        middle = low + ((high - low) >> U1)
        if _counted_up_to(counts, middle) < wanted:
            low = middle + U1
        else:
            high = middle
    return high


@inlined
def lower(counts: Any, by: Any) -> Any:
    """Lower all counts, none below 0; return how many are left."""
    left = U0
    for i in range(U64(counts.size)):
        counts[i] -= min(counts[i], by)
        left += U64(counts[i] != U0)
    return left


@inlined
def tidy(hashes: Any, counts: Any, beside: Any, texts: Any, lines: Any) -> None:
    """Move keys as near to their lines as there is room, after others have left.

    Once round is enough but for keys whose lines are at the end of the table and who are at its start.
    """
    again = True
    while again:
        again, moved = False, False
        for slot in range(lines << U3):
            own = mulhi(hashes[slot], lines)
            if counts[slot] == U0 or own == slot >> U3:
                continue
            again |= own > slot >> U3
            while own != slot >> U3:
                empty = equal(counts, own << U3, U0)
                if empty != U0:
                    move(hashes, counts, beside, texts, slot, (own << U3) + trailing_zeros(empty))
                    moved = True
                    break
                own = next_line(own, lines)
        again &= moved


# Texts


@inlined
def keep_text(arena: Any, end: Any, text: Any, start: Any, size: Any) -> Any:
    """Write a text to the arena; return its end then."""
    store64(arena, end, size)
    end += U8
    if size >= U8:  # the last eight bytes twice, in part
        for i in range(U0, size - U8, U8):
            store64(arena, end + i, load64(text, start + i))
        store64(arena, end + size - U8, load64(text, start + size - U8))
    else:
        for i in range(size):
            arena[end + i] = text[start + i]
    return end + size


@kernel
def settle(texts: Any, slots: Any, data: Any, starts: Any, sizes: Any, arena: Any, end: Any) -> Any:
    """Copy the texts of slots to the arena; return its end."""
    end = U64(end)
    for i in range(slots.size):
        texts[slots[i]] = end
        end = keep_text(arena, end, data, U64(starts[i]), U64(sizes[i]))
    return end


@inlined
def _is_kept(counts: Any, texts: Any, slot: Any) -> Any:
    """Tell whether the text of a slot is in the arena."""
    return (counts[slot] != U0) & (texts[slot] & FRESH == U0)


@kernel
def live_bytes(counts: Any, texts: Any, arena: Any) -> Any:
    """Return how much of the arena is used."""
    total = U0
    for slot in range(U64(texts.size)):
        if _is_kept(counts, texts, slot):
            total += U8 + load64(arena, texts[slot])
    return total


@kernel
def compact(counts: Any, texts: Any, arena: Any, out: Any) -> Any:
    """Copy the texts of all keys to another arena; return its end."""
    end = U0
    for slot in range(U64(texts.size)):
        if _is_kept(counts, texts, slot):
            start = texts[slot]
            texts[slot] = end
            end = keep_text(out, end, arena, start + U8, load64(arena, start))
    return end


@kernel
def look_up(hashes: Any, counts: Any, lines: Any, wanted: Any, out: Any) -> None:
    """Write the slots of keys, or -1 for those that are not there."""
    hashes, counts = borrowed(hashes), borrowed(counts)
    n = U64(wanted.size)
    for i in range(n):
        if i + AHEAD < n:
            fetch(hashes, counts, lines, wanted[i + AHEAD])
        slot, found = seek(hashes, counts, lines, wanted[i])
        out[i] = np.int64(slot) if found else np.int64(-1)


@kernel
def fill(
    hashes: Any, counts: Any, beside: Any, new: Any, new_counts: Any, new_beside: Any, slots: Any
) -> None:
    """Put distinct keys into a table; note their slots."""
    lines = U64(hashes.size) >> U3
    for i in range(U64(new.size)):
        slot, _ = seek(hashes, counts, lines, new[i])
        hashes[slot], counts[slot], slots[i] = new[i], new_counts[i], slot
        if beside.size:
            beside[slot] = new_beside[i]
