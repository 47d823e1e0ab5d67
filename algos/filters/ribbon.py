"""Ribbon filter: the smallest filter that can be built fast, at any number of bits.

Dillinger, Walzer: Ribbon filter: practically smaller than Bloom and xor, 2021; homogeneous, 64 wide. A key
is an equation over a ribbon of 64 neighbouring rows of a table of ``bits`` columns: the rows it chooses XOR
to nothing, in every column::

    hash = fmix64(key + a G)     start = (hash * starts) >> 64      rows = start + { i : bit i of c }
    c = (hash * odd) with its last bit set

Keys in order of their starts are eliminated as they come, which fills one band of the table from top to
bottom; then rows are given from the bottom up, free ones at random. Since the right side is nothing, no key
can contradict the others, and building never fails. A stranger's equation holds by chance, or because it
follows from the keys': fpr = 2^-bits + (1 - 2^-bits) c, where c is the share of all equations that do. It is
some per cent of the rate; but once in a few hundred times keys crowd so much somewhere that whatever starts
there is found, a tenth of all strangers if the filter is small. So c is counted, exactly, and where it is too
much another ``a`` is taken. Space: ``bits (1 + (4 + bits / 4) / 64)`` bits per key, 9 % over what the rate
needs at 7 bits; a lookup reads two words for every column, all within three lines, which makes it slower than
a fuse.

The table is kept in blocks of 64 rows, one word for each column::

    block b:   column 0 of rows 64 b .. 64 b + 63  |  column 1  |  ...  |  column bits - 1
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._bits import (
    U1,
    U2,
    U6,
    U63,
    U64,
    aligned_zeros,
    leading_zeros,
    mulhi,
    popcount,
    prefetch,
    trailing_zeros,
)
from algos._fastcall import Method, Native, as_bool, number_of, place, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.errors import CorruptDataError
from algos.filters._checks import DEFAULT_FPR, check_fpr, only_one
from algos.filters._common import StaticFilter, distinct
from algos.filters._pipeline import overlap
from algos.hashing._keyed import check_hashes, hash_alone, house_hasher
from algos.hashing.murmur3_128 import fmix64
from algos.hashing.splitmix64 import GAMMA, splitmix64

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algos import _state

ODD = U64(0xC28F82822B650BED)
WIDTH = 64
MAX_BITS = 32
MAX_KEYS = 1 << 40
MAX_ATTEMPTS = 32
FEW_BITS = 7
CROWDED = 0.2
CROWDED_FEW = 0.045
"""What share of the rate may be added to it by equations that follow from the band.

Where bits are few, most bands keep to the lower one, the more so the more keys there are, and 7 bits then
take no more than a tenth over the least space. With more bits the share is larger.
"""
BATCH = 64
"""Keys whose blocks are under way while others are probed."""


@inlined
def _start(h: Any, starts: Any) -> Any:
    return mulhi(h, starts)


@inlined
def _rows(h: Any) -> Any:
    """Return which of the 64 rows from its start a key's equation has: always the first."""
    return fmix64(h * ODD) | U1


def _shift(attempt: int) -> int:
    """Return what an attempt adds to the keys' hashes."""
    return (attempt + 1) * int(GAMMA) & (1 << 64) - 1


@kernel
def _mix(hashes: Any, shift: Any, out: Any) -> None:
    """Fill in the hashes by which starts and rows are chosen; their order is that of the starts."""
    for i in range(hashes.size):
        out[i] = fmix64(hashes[i] + shift)


@kernel
def _band(hashes: Any, starts: Any, band: Any) -> None:
    """Eliminate the equations one after the other; those that follow from others vanish."""
    for i in range(hashes.size):
        h = hashes[i]
        at, rows = _start(h, starts), _rows(h)
        while rows != U64(0):
            skip = trailing_zeros(rows)
            at, rows = at + skip, rows >> skip
            if band[at] == U64(0):
                band[at] = rows
                break
            rows ^= band[at]


@kernel
def _crowded(band: Any, starts: Any) -> Any:
    """Return the share of all equations that follow from the band: those hold whatever is in the rows.

    The band's equations each begin at a row of their own. Eliminated once more, from the bottom up, each also
    ends at one; then what follows from the band, from a row to the 63rd below it, are the sums of those that
    begin and end there. So if one begins at that row, and d end there that begin below it, 2^d do of 2^63.
    """
    ending = np.zeros(WIDTH, np.uint64)  # by the last of its rows, modulo 64, which is bit 63
    ends, share = U64(0), 0.0  # bit i: whether one ends i rows below
    for i in range(band.size):
        at = U64(band.size - 1 - i)
        rows, ends, last = band[at], ends << U1, U63
        if rows == U64(0):
            continue
        if at < starts:
            share += np.float64(U1 << popcount(ends)) * 2.0**-63
        while True:
            skip = leading_zeros(rows)
            rows, last = rows << skip, last - skip
            if (ends >> last) & U1 == U64(0):
                break
            rows ^= ending[(at + last) & U63]
        ends |= U1 << last
        ending[(at + last) & U63] = rows
    return share / starts


@kernel
def _solve(band: Any, bits: Any, seed: Any, table: Any) -> None:
    """Give the rows from the last to the first; where the band is empty, at random."""
    window = np.zeros(bits, np.uint64)  # of each column: the rows below the one at hand
    for at in range(band.size - 1, -1, -1):
        rows, free = band[at], splitmix64(U64(at), seed)
        for j in range(bits):
            above = window[j] << U1
            bit = popcount(above & rows) & U1
            if rows == U64(0):
                bit = (free >> U64(j)) & U1
            window[j] = above | bit
        if at & 63 == 0:
            for j in range(bits):
                table[(at >> 6) * bits + j] = window[j]


@inlined
def _holds(table: Any, bits: Any, at: Any, rows: Any) -> Any:
    """Tell whether an equation holds in every column."""
    block, shift = (at >> U6) * bits, at & U63
    low, high = rows << shift, (rows >> U1) >> (U63 - shift)
    odd = U64(0)
    for j in range(bits):
        odd |= popcount((table[block + U64(j)] & low) ^ (table[block + bits + U64(j)] & high))
    return odd & U1 == U64(0)


@inlined
def _fetch(state: Any, k: Any) -> None:
    table, bits, at, _ = state
    block = (at[k] >> U6) * bits
    prefetch(table, block)
    prefetch(table, block + bits)
    prefetch(table, block + bits + bits - U1)


@inlined
def _test(state: Any, k: Any) -> Any:
    table, bits, at, rows = state
    return _holds(table, bits, at[k], rows[k])


@kernel
def _contains(table: Any, bits: Any, starts: Any, shift: Any, hashes: Any, out: Any) -> None:
    n, bits = hashes.size, U64(bits)
    at, rows = np.empty(2 * BATCH, np.uint64), np.empty(2 * BATCH, np.uint64)
    state = table, bits, at, rows
    for step in range((n + BATCH - 1) // BATCH + 1):
        new, old = (step & 1) * BATCH, BATCH - (step & 1) * BATCH
        lo = step * BATCH
        coming = max(0, min(BATCH, n - lo))
        for j in range(coming):
            h = fmix64(hashes[lo + j] + shift)
            at[new + j], rows[new + j] = _start(h, starts), _rows(h)
        overlap(_fetch, _test, state, new, old, coming, out[max(0, lo - BATCH) : min(lo, n)])


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        table, bits = uint64s_of(me, _TABLE), number_of(me, _BITS)
        h = fmix64(h + number_of(me, _SHIFT))
        starts = (U64(table.size) // bits - U2) * U64(WIDTH) + U1
        found = _holds(table, bits, _start(h, starts), _rows(h))
        return as_bool(found & (number_of(me, _KEYS) != U64(0)))
    return slowly(me, "_contains_one", arguments, count, names)


def _table_rows(keys: int, bits: int) -> int:
    """Return the rows of the table: those the band needs, in whole blocks."""
    per_key = 1.0 + (4.0 + bits / 4.0) / WIDTH
    return WIDTH * math.ceil((keys * per_key + WIDTH) / WIDTH)


def _tolerated(bits: int) -> float:
    return CROWDED_FEW if bits <= FEW_BITS else CROWDED


def _bits_for(fpr: float) -> int:
    bits = max(1, math.ceil(-math.log2(fpr)))
    if bits > MAX_BITS:
        raise ValueError(f"fpr={fpr} is below the {2.0**-MAX_BITS:.2g} of {MAX_BITS} bits; keep an exact set")
    return bits


class RibbonFilter(StaticFilter):
    """A ribbon filter: built once from all keys, then only asked, in the least space.

    ``bits`` (1 to 32), or the fewest that keep ``fpr`` (default 0.01). No false negatives. Building is
    O(n log n), of which most is sorting, and takes about 30 bytes of working memory per key; a lookup is
    O(bits). Memory: 7.6 bits per key at 0.8 %. Made by ``build`` or ``build_hashes``.

    >>> f = RibbonFilter.build(["a", "b", "c"], bits=20)
    >>> f.contains_many(["a", "b", "z"])
    array([ True,  True, False])
    """

    __slots__ = ("_attempt", "_crowded", "_keys", "_shift", "_table", "bits")

    _crowded: float

    def _set_up(self, bits: int, seed: int, keys: int, attempt: int) -> None:
        self.bits = bits
        self._attempt, self._shift = attempt, _shift(attempt)
        self._use(house_hasher(seed))
        self._keys = keys
        # One block more than there are rows, so that every equation can be read from two.
        self._table = aligned_zeros((_table_rows(keys, bits) // WIDTH + 1) * bits, np.uint64)

    @classmethod
    def build_hashes(
        cls, hashes: NDArray[np.uint64], fpr: float | None = None, bits: int | None = None, *, seed: int = 0
    ) -> Self:
        """Make a filter of ready 64-bit hashes (``uint64[n]``); ``seed`` is the one they were made with."""
        only_one(fpr=fpr, bits=bits)
        if bits is None:
            bits = _bits_for(check_fpr(DEFAULT_FPR if fpr is None else fpr))
        elif isinstance(bits, bool) or not hasattr(bits, "__index__") or not 1 <= bits <= MAX_BITS:
            raise ValueError(f"bits={bits!r} is not an int in 1..{MAX_BITS}")
        hashes = check_hashes(hashes)
        if len(hashes) > MAX_KEYS:
            raise ValueError(f"{len(hashes)} keys are more than the 2**40 of one filter; build several")
        self, mixed = cls.__new__(cls), np.empty_like(hashes)
        for attempt in range(MAX_ATTEMPTS):
            _mix(hashes, U64(_shift(attempt)), mixed)
            ordered = distinct(mixed)
            self._set_up(int(bits), seed, len(ordered), attempt)
            band = np.zeros(self._rows, np.uint64)
            _band(ordered, self._starts, band)
            self._crowded = float(_crowded(band, self._starts))
            if self._crowded <= _tolerated(self.bits) * 2.0**-self.bits:
                break
        _solve(band, self.bits, U64(seed), self._table)
        return self

    def expected_fpr(self) -> float:
        """Return the chance that a key not in the set is found: ``2^-bits`` and the share that follows."""
        return super().expected_fpr() * (1 - self._crowded) + self._crowded

    @property
    def _rows(self) -> int:
        return (self._table.size // self.bits - 1) * WIDTH

    @property
    def _starts(self) -> Any:
        return U64(self._rows - WIDTH + 1)

    __contains__ = Method(_ask, "_contains_one")

    def _probe(self, hashes: Any, out: Any) -> None:
        if not self._keys:
            out[:] = False
            return
        _contains(self._table, self.bits, self._starts, U64(self._shift), hashes, out)

    def _parameters(self) -> dict[str, Any]:
        own = {"attempt": self._attempt, "crowded": self._crowded, "seed": self.seed}
        return {"keys": self._keys, "bits": self.bits, **own}

    def _payload(self) -> Any:
        return self._table

    @classmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        bits, keys = parameters.integer("bits", 1, MAX_BITS), parameters.integer("keys", 0, MAX_KEYS)
        nbytes = 8 * bits * (_table_rows(keys, bits) // WIDTH + 1)
        if len(payload) != nbytes:
            raise CorruptDataError(f"{keys} keys have a table of {nbytes} bytes, not {len(payload)}")
        self = cls.__new__(cls)
        attempt = parameters.integer("attempt", 0, MAX_ATTEMPTS - 1)
        self._set_up(bits, parameters.integer("seed", 0, (1 << 64) - 1), keys, attempt)
        self._crowded = parameters.number("crowded", 0.0, 1.0)
        self._table[:] = np.frombuffer(payload, "<u8")
        return self


_TABLE, _BITS = place(RibbonFilter, "_table"), place(RibbonFilter, "bits")
_SHIFT, _KEYS = place(RibbonFilter, "_shift"), place(RibbonFilter, "_keys")
