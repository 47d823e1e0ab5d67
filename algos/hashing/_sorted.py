"""Texts of many lengths, hashed by length class: branches that go as the last one went.

What a hash does to a text depends on the class that its length is of. Where classes follow no pattern, a
branch mispredicted costs as much as a short text's hash. So texts are taken in blocks: the number of each is
put into the row of its class, and the rows are then hashed one after the other::

    lengths  12 30 7 29 16 ...   ->   4..8: 2 ...   9..16: 0 4 ...   17..32: 1 3 ...

How far the rows are filled are the bytes of one word, so that no text waits for the one before it in memory.
The next block's bytes are fetched meanwhile, since rows do not read them in the order that caches guess.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U64, prefetch_beyond
from algos._jit import inlined

BLOCK, SPAN = U64(160), U64(9600)
"""Texts sorted at a time: so many a byte can count. And those of which it is asked at a time whether to."""
ROWS = 8 * 256
_FEW, _LOOKED_AT, _CHANGES = U64(512), U64(16), 2
"""Texts too few to sort; those looked at, and how often the class must change among them."""
_LONG = U64(128)
"""Bytes in the mean from which on a branch matters little, and reading in order much."""
_ROW, _FULL, _LINE = U64(8), U64(255), U64(64)


def shifts_of(*ends: int) -> Any:
    """Return for each length which byte counts it, in bits; the last entry is for all that are longer.

    Classes are given by their longest texts; there are at most eight, with that of the longer ones.
    """
    table = 8 * np.searchsorted(ends, np.arange(ends[-1] + 2))
    return table.astype(np.uint8)


@inlined
def length_of(offsets: Any, i: Any) -> Any:
    """Return the length of text ``i``."""
    return U64(offsets[i + U1]) - U64(offsets[i])


@inlined
def _shift(offsets: Any, i: Any, shifts: Any) -> Any:
    return U64(shifts[min(length_of(offsets, i), U64(shifts.size - 1))])


@inlined
def mixed(offsets: Any, lo: Any, hi: Any, shifts: Any) -> Any:
    """Tell whether texts ``lo..hi`` are worth sorting, going by the first of them."""
    if hi - lo < _FEW or U64(offsets[hi]) - U64(offsets[lo]) > _LONG * (hi - lo):
        return False
    changes, before = 0, _shift(offsets, lo, shifts)
    for i in range(lo, lo + _LOOKED_AT):
        shift = _shift(offsets, i, shifts)
        changes += shift != before
        before = shift
    return changes >= _CHANGES


@inlined
def sort(offsets: Any, lo: Any, count: Any, shifts: Any, rows: Any) -> Any:
    """Put the numbers of ``count`` texts from ``lo`` on into ``rows``; return how many each has, in bytes."""
    counts = U64(0)
    for k in range(count):
        shift = _shift(offsets, lo + U64(k), shifts)
        rows[(shift << U64(5)) + ((counts >> shift) & _FULL)] = k
        counts += U1 << shift
    return counts


@inlined
def row(counts: Any, c: Any) -> tuple[Any, Any]:
    """Return where the row of class ``c`` starts and ends."""
    start = U64(c) << _ROW
    return start, start + ((counts >> (U64(c) << U64(3))) & _FULL)


@inlined
def fetch(data: Any, offsets: Any, i: Any, lines: Any) -> None:
    """Fetch so many cache lines, one or two, of text ``i``, if there is one."""
    at = U64(offsets[min(i, U64(offsets.size - 1))])
    prefetch_beyond(data, at)
    if lines > 1:
        prefetch_beyond(data, at + _LINE)
