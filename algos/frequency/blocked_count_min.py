"""Blocked Count-Min sketch: all counters of a key in one cache line.

The idea of blocked Bloom filters (Putze, Sanders, Singler 2007) for the sketch of Cormode and Muthukrishnan
(2005): the upper bits of a hash choose a line of sixteen counters, which is a small Count-Min sketch of its
own, and the lower bits choose a counter in each of its rows::

    line  | c c c c | c c c c | c c c c | c c c c |      uint32[16], 64 bytes; depth 4
            row 0     row 1     row 2     row 3
    line number: hash * lines / 2^64      counter in row r: bits 2r and 2r+1 of the hash

An estimate is the least of a key's counters and never too low, and a row's error is others' weights there,
N / width in the mean, as of the plain sketch. But the rows of a key share their line, and so their luck: a
key that never came finds a counter above t in all rows with the mean over lines of the product of the rows'
shares of such counters, and other keys' errors are no larger. Beside the plain sketch of the same size, for
2^20 draws of 2^20 keys in 2^14 to 2^18 counters, with depth 4:

    keys drawn          evenly          Zipf 0.8        Zipf 1.1        Zipf 1.5
    mean error          x 1.01 .. 1.06  x 1.04 .. 1.13  x 1.13 .. 1.44  x 1.8 and more, but 5 at most
    99 of 100 below     x 1.04 .. 1.17  x 1.16 .. 1.36  x 1.5 .. 1.6    x 2 and more
    above e N / width   none            6 in 10,000     7 in 10,000     2 in 10,000; of the plain sketch none

Those last are the keys that share a line with one of the most frequent and, one in 256, all counters as well.
With two rows the mean is smaller, but one key in 64 shares all of them; with eight, errors double.

A counter stays at 2^32 - 1 once it is there. Adding and asking are one cache miss whatever the depth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from algos._arguments import integer
from algos._bits import U1, U2, U32, U64, aligned_zeros, borrowed, item_pointer, mulhi32, prefetch, spread
from algos._fastcall import Method, Native, as_int, as_none, number_of, place, slowly, uint32s_of, uint64s_of
from algos._jit import inlined, kernel, primitive
from algos.errors import CorruptDataError
from algos.frequency._checks import MAX_WIDTH, check_width, least_bound
from algos.frequency._counts import COUNTERS, MOST_, STATE, TOTAL, U0, Linear, counted_alone
from algos.frequency._rows import BATCH, FULL, is_far, pool, read_rows, two_batches
from algos.hashing._keyed import hash_alone, house_hasher

if TYPE_CHECKING:
    from algos._state import Parameters

LINE, LINE_BITS = U64(16), U64(4)
DEPTHS = (2, 4)
AHEAD = U64(128)


@inlined
def _start(h: Any, counters: Any) -> Any:
    """Return where a key's line begins."""
    return mulhi32(h, U64(counters.size) >> LINE_BITS) << LINE_BITS


@inlined
def _row(depth: Any) -> Any:
    """Return how many counters of a line a row has, and the bits that choose one."""
    return LINE // depth, U64(3) if depth == U2 else U2


_ROW = ir.VectorType(ir.IntType(32), 16)


def _choices(depth: int) -> tuple[Any, Any]:
    """Return for each counter of a line which bits of a hash choose it, and what they then are."""
    per_row = 16 // depth
    row, counter = np.divmod(np.arange(16, dtype=np.uint32), np.uint32(per_row))
    shift = row * np.uint32(per_row.bit_length() - 1)
    return np.uint32(per_row - 1) << shift, counter << shift


def _raise_line_twin(counters: Any, start: Any, h: Any, depth: Any, weight: Any) -> None:
    rows, at, bits = int(depth), int(start), int(h)
    for _ in range(rows):
        i = at + bits % (16 // rows)
        counters[i] = min(int(counters[i]) + int(weight), int(FULL))
        bits //= 16 // rows
        at += 16 // rows


@primitive(_raise_line_twin)
def _raise_line(typingctx: Any, counters: Any, start: Any, h: Any, depth: Any, weight: Any) -> Any:
    """Add a weight to a hash's counters of the line at ``counters[start]``, to ``FULL`` at most."""
    signature = types.void(counters, types.uint64, types.uint64, types.uint64, types.uint32)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = item_pointer(context, builder, signature.args[0], args[0], args[1], 16)
        pointer = builder.bitcast(pointer, _ROW.as_pointer())
        line, nothing = builder.load(pointer), ir.Constant(_ROW, [0] * 16)
        line.align = 64
        low = spread(builder, builder.trunc(args[2], ir.IntType(32)), 16)
        of_two = builder.icmp_unsigned("==", args[3], args[3].type(2))
        bits, chosen = (
            builder.select(of_two, *(ir.Constant(_ROW, words.tolist()) for words in both))
            for both in zip(_choices(2), _choices(4), strict=True)
        )
        here = builder.icmp_unsigned("==", builder.and_(low, bits), chosen)
        weights = builder.select(here, spread(builder, args[4], 16), nothing)
        of_both = ir.FunctionType(_ROW, [_ROW, _ROW])
        add = cgutils.get_or_insert_function(builder.module, of_both, "llvm.uadd.sat.v16i32")
        builder.store(builder.call(add, [line, weights]), pointer).align = 64
        return context.get_dummy_value()

    return signature, codegen


@inlined
def _locate(shape: Any, counters: Any, hashes: Any, lo: Any, count: Any, places: Any, at: Any) -> None:
    """Write where the counters of so many keys from ``lo`` on are, row after row."""
    depth, far = shape
    per_row, bits = _row(depth)
    for j in range(count):
        places[at + j] = _start(hashes[lo + j], counters)
    if far:
        for j in range(count):
            prefetch(counters, places[at + j])
    for r in range(U1, depth):
        for j in range(count):
            chosen = hashes[lo + j] >> (r * bits) & (per_row - U1)
            places[at + r * BATCH + j] = places[at + j] + r * per_row + chosen
    for j in range(count):
        places[at + j] += hashes[lo + j] & (per_row - U1)


@kernel
def _count(counters: Any, depth: Any, hashes: Any, weights: Any) -> None:
    counters, hashes, weights = borrowed(counters), borrowed(hashes), borrowed(weights)
    n, each = U64(hashes.size), U64(weights.size > 1)
    ahead = AHEAD if is_far(counters) else n
    for i in range(n):
        if i + ahead < n:
            prefetch(counters, _start(hashes[i + ahead], counters))
        h, weight = hashes[i], U32(min(weights[i * each], FULL))
        _raise_line(counters, _start(h, counters), h, depth, weight)


@kernel
def _read(counters: Any, depth: Any, hashes: Any, out: Any) -> None:
    read_rows(_locate, (depth, is_far(counters)), counters, hashes, two_batches(depth), out)


@kernel
def _above(counters: Any, depth: Any, t: Any) -> Any:
    """Count the choices of a line and a counter in each of its rows of which all counters are above ``t``."""
    total, per_row = U0, _row(depth)[0]
    for start in range(U0, U64(counters.size), LINE):
        choices = U1
        for row in range(start, start + LINE, per_row):
            above = U0
            for i in range(row, row + per_row):
                above += U64(counters[i] > t)
            choices *= above
        total += choices
    return total


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if not plain:
        return slowly(me, "_estimate_one", arguments, count, names)
    counters, depth, found = uint32s_of(me, COUNTERS), number_of(me, _DEPTH), FULL
    at, (per_row, bits) = _start(h, counters), _row(depth)
    for _ in range(depth):
        found = min(found, U64(counters[at + (h & (per_row - U1))]))
        h >>= bits
        at += per_row
    return as_int(found)


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h, weight = counted_alone(me, arguments, count, names)
    state = uint64s_of(me, STATE)
    if not plain or weight > MOST_ - state[TOTAL]:
        return slowly(me, "_add_one", arguments, count, names)
    counters, depth = uint32s_of(me, COUNTERS), number_of(me, _DEPTH)
    _raise_line(counters, _start(h, counters), h, depth, U32(min(weight, FULL)))
    state[TOTAL] += weight
    return as_none()


def _check_depth(depth: Any) -> int:
    depth = integer("depth", depth)
    if depth not in DEPTHS:
        raise ValueError(f"depth={depth} is not 2 or 4, the rows that pay in a line; 4 is right for most")
    return depth


class BlockedCountMinSketch(Linear):
    """A Count-Min sketch of ``depth``, 2 or 4, rows of ``width`` counters, rounded up to whole lines.

    An estimate is never too low; what it is too high by follows the law of this module. ``add`` and
    ``estimate`` touch one cache line, O(1). Memory: 4 width depth bytes. Merging is exact.

    >>> sketch = BlockedCountMinSketch(1000)
    >>> sketch.add_many(["a", "b", "a"], weights=[1, 5, 2])
    >>> sketch.estimate("a"), sketch.estimate_many(["a", "b", "c"]).tolist(), sketch.width
    (3, [3, 5, 0], 1000)
    """

    __slots__ = ("depth",)
    depth: int

    def __init__(self, width: int, depth: int = 4, *, seed: int = 0) -> None:
        self.depth = _check_depth(depth)
        self._use(house_hasher(seed))
        lines = -(-check_width(width) * self.depth // 16)
        self._state = np.zeros(1, np.uint64)
        self._counters = aligned_zeros(16 * lines, np.uint32)

    @property
    def width(self) -> int:
        """The counters of a row, in all lines together."""
        return int(self._counters.size) // self.depth

    def error_bound(self, confidence: float = 0.99) -> int:
        """Return what an estimate is too high by at most, with this ``confidence``; it is never too low.

        By the law of this module for the counters as they are, O(nbytes).
        """
        choices = len(self._counters) // 16 * (16 // self.depth) ** self.depth

        def law(t: int) -> float:
            return int(_above(self._counters, U64(self.depth), U64(t))) / choices

        return least_bound(law, int(self._counters.max()), confidence)

    def _count(self, hashes: Any, weights: Any, total: int) -> None:
        del total
        _count(self._counters, U64(self.depth), hashes, weights)

    def _read(self, hashes: Any, out: Any) -> None:
        _read(self._counters, U64(self.depth), hashes, out)

    def _pool(self, counters: Any) -> None:
        pool(self._counters, counters)

    estimate = Method(_ask, "_estimate_one")
    add = Method(_put, "_add_one")

    def _parameters(self) -> dict[str, Any]:
        return {"width": self.width, "depth": self.depth, "seed": self.seed}

    @classmethod
    def _restore(cls, parameters: Parameters, payload: memoryview) -> Self:
        self = cls.__new__(cls)
        width = parameters.integer("width", 1, MAX_WIDTH)
        self.depth = parameters.choice("depth", DEPTHS)
        self._use(house_hasher(parameters.integer("seed", 0, (1 << 64) - 1)))
        if width * self.depth % 16:
            raise CorruptDataError(f"{width * self.depth} counters are not a whole number of lines")
        self._take_payload(payload, 1, width * self.depth, np.uint32)
        if not self._possible():
            raise CorruptDataError(f"no keys of a total of {self.total} make these counters")
        return self

    def _possible(self) -> bool:
        """Tell whether rows sum to the same in each line, and to the total in all, but for full counters."""
        lines = self._counters.reshape(-1, self.depth, 16 // self.depth)
        sums, full = lines.sum(axis=2, dtype=np.uint64), (lines == FULL).any(axis=2)
        most = sums.max(axis=1)
        known = int(most.sum())
        return bool(((sums == most[:, None]) | full).all()) and (
            known == self.total or (known < self.total and bool(full.any()))
        )


_DEPTH = place(BlockedCountMinSketch, "depth")
