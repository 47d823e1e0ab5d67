"""The kernel of MinHash: permutations of many hashes, a lane of a vector each, and their minima.

So many permutations as there are registers for keep their factors and minima there, over all tokens of a set;
a token then costs one broadcast, and for each vector a multiply, an add and a minimum. Where lanes of all
vectors share what is added, one add does for all, and ``a (h + b)`` is a third faster than ``a h + b``. No
lane is padded and nothing is left to reduce: a set of 20 tokens is as fast per token as one of 2,000. The
width of a value is the dtype of the arrays: 32 bits or 64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from algos._bits import U64, item_pointer, spread
from algos._jit import primitive, target_has
from algos.hashing.splitmix64 import GAMMA, SPLITMIX64

VECTOR = 64
"""Bytes of a vector; where registers are narrower, LLVM takes several."""
NARROW = 2
"""Vectors folded at once with 16 registers of 32 bytes: two for each of a, b and the minima, four left."""
WIDE = 8 if target_has("avx512f") else NARROW
"""With 32 registers of 64 bytes all of 128 permutations."""
_I32, _I64 = ir.IntType(32), ir.IntType(64)


def whole_folds(k: int, dtype: Any) -> int:
    """Return how many permutations are folded for ``k``: a whole number of the least at once."""
    least = NARROW * VECTOR // np.dtype(dtype).itemsize
    return -(-k // least) * least


def drawn_factors(seed: int, k: int, dtype: Any) -> tuple[Any, Any]:
    """Draw a and b of ``a (h + b)`` from the words of SplitMix64: the first ``k`` are those of any more."""
    words = np.empty(2 * max(k, VECTOR), np.uint64)
    with np.errstate(over="ignore"):
        SPLITMIX64.words(np.arange(len(words), dtype=np.uint64) * GAMMA, U64(seed), words)
    drawn = (words >> U64(64 - 8 * np.dtype(dtype).itemsize)).astype(dtype).reshape(-1, 2)
    return drawn[:k, 0] | drawn.dtype.type(1), drawn[np.arange(k) % (VECTOR // drawn.itemsize), 1]


def _twin(vectors: int, shared: bool) -> Any:
    def fold(hashes: Any, lo: Any, hi: Any, a: Any, b: Any, at: Any, values: Any, place: Any) -> None:
        lo, hi, at, place = map(int, (lo, hi, at, place))
        n = vectors * VECTOR // values.itemsize
        if not (0 <= lo <= hi <= len(hashes) and at + n <= min(len(a), len(b)) and place + n <= len(values)):
            raise IndexError(f"{lo}..{hi} of {len(hashes)} hashes, {at} + {n} of {len(a)} permutations")
        if lo < hi:
            h, factors, terms = hashes[lo:hi].astype(a.dtype)[:, None], a[at : at + n], b[at : at + n]
            found = ((h + terms) * factors if shared else h * factors + terms).min(axis=0)
            np.minimum(values[place : place + n], found, out=values[place : place + n])

    return fold


def _generator(vectors: int, shared: bool) -> Any:
    def generator(
        typingctx: Any, hashes: Any, lo: Any, hi: Any, a: Any, b: Any, at: Any, values: Any, place: Any
    ) -> Any:
        word = types.uint64
        signature = types.void(hashes, word, word, a, b, word, values, word)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _emit(context, builder, signature, args, vectors, shared)
            return context.get_dummy_value()

        return signature, codegen

    return generator


def _emit(context: Any, b: Any, signature: Any, args: Any, vectors: int, shared: bool) -> None:
    hashes, lo, hi, factors, terms, at, values, place = args
    kinds = signature.args
    bits = kinds[6].dtype.bitwidth
    lane = ir.IntType(bits)
    width = 8 * VECTOR // bits
    row = ir.VectorType(lane, width)

    def pointers(kind: Any, array: Any, index: Any) -> list[Any]:
        first = item_pointer(context, b, kind, array, index, vectors * width)
        return [b.bitcast(b.gep(first, [_I64(i * width)]), row.as_pointer()) for i in range(vectors)]

    def loaded(pointer: Any) -> Any:
        value = b.load(pointer)
        value.align = bits // 8
        return value

    a_rows = [loaded(p) for p in pointers(kinds[3], factors, at)]
    b_rows = [loaded(p) for p in pointers(kinds[4], terms, at)]
    targets = pointers(kinds[6], values, place)
    slots = [cgutils.alloca_once_value(b, loaded(p)) for p in targets]
    with cgutils.for_range_slice(b, lo, hi, _I64(1), _I64, inc=True) as (t, _):
        item = item_pointer(context, b, kinds[0], hashes, t, 1)
        h = b.load(b.bitcast(item, lane.as_pointer()))  # of 64 bits the lower 32
        h = spread(b, h, width)
        if shared:
            h = b.add(h, b_rows[0])
        for a_row, b_row, slot in zip(a_rows, b_rows, slots, strict=True):
            product, least = b.mul(h, a_row), b.load(slot)
            value = product if shared else b.add(product, b_row)
            b.store(b.select(b.icmp_unsigned("<", value, least), value, least), slot)
    for slot, target in zip(slots, targets, strict=True):
        store = b.store(b.load(slot), target)
        store.align = bits // 8


def _folds(vectors: int, shared: bool) -> Any:
    return primitive(_twin(vectors, shared))(_generator(vectors, shared))


fold_narrow, fold_wide = _folds(NARROW, False), _folds(WIDE, False)
"""Lower ``values`` from ``place`` on to the minima over ``hashes[lo:hi]`` of ``a h + b``, from ``at`` on.

Narrow is the least that is folded at once, and wide as many permutations as there are registers for.
"""

fold_shared_narrow, fold_shared_wide = _folds(NARROW, True), _folds(WIDE, True)
"""Do the same with ``a (h + b)``, where b repeats itself after a vector."""
