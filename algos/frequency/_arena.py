"""Keys of any length, one behind the other in one array.

An entry's text is where in the arena its key is; keys that no entry points to are left out when it is full::

    arena | length, 4 bytes | key | length | key | ...
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U64, borrowed, load32, store16
from algos._jit import inlined, kernel
from algos.frequency._counts import U0

U4 = U64(4)
PENDING = U64(1 << 63)
"""Marks in ``texts`` the position, in the batch under way, of a key yet to be copied."""


@inlined
def put_text(arena: Any, at: Any, data: Any, start: Any, size: Any) -> Any:
    """Write a key, ``data[start : start + size]``, into the arena; return where it ends."""
    store16(arena, at, np.uint16(size & U64(0xFFFF)))
    store16(arena, at + U64(2), np.uint16(size >> U64(16)))
    at += U4
    for i in range(size):
        arena[at + i] = data[start + i]
    return at + size


@kernel
def copy_texts(texts: Any, entries: Any, rows: Any, data: Any, offsets: Any, arena: Any, used: Any) -> None:
    """Copy the keys of entries, each in a row of a column of text, to where the arena ends."""
    arena, data = borrowed(arena), borrowed(data)
    at = used[0]
    for i in range(U64(entries.size)):
        start, end = U64(offsets[rows[i]]), U64(offsets[rows[i] + 1])
        texts[entries[i]] = at
        at = put_text(arena, at, data, start, end - start)
    used[0] = at


@kernel
def live_bytes(texts: Any, entries: Any, arena: Any) -> Any:
    """Return how many bytes of the arena entries point to."""
    total = U0
    for i in range(entries.size):
        start = texts[entries[i]]
        if start & PENDING == U0:
            total += U4 + U64(load32(arena, start))
    return total


@kernel
def move_texts(texts: Any, entries: Any, arena: Any, out: Any) -> Any:
    """Copy the keys that entries point to, in their order, to another arena; return where they end."""
    arena, out = borrowed(arena), borrowed(out)
    at = U0
    for i in range(entries.size):
        start = texts[entries[i]]
        if start & PENDING == U0:
            texts[entries[i]] = at
            at = put_text(out, at, arena, start + U4, U64(load32(arena, start)))
    return at


@kernel
def sizes_of(texts: Any, arena: Any, out: Any) -> None:
    """Write the lengths of keys in the arena."""
    for i in range(texts.size):
        out[i] = load32(arena, texts[i])


@kernel
def copy_out(texts: Any, arena: Any, ends: Any, out: Any) -> None:
    """Copy keys of the arena to where they end, one after the other."""
    at = U0
    for i in range(texts.size):
        start = texts[i] + U4 - at
        while at < U64(ends[i]):
            out[at] = arena[start + at]
            at += U1
