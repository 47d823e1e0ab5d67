"""The kernel of MinHash: permutations ``a h + b`` of many hashes, a lane of a vector each, and their minima.

So many permutations as there are registers for keep both factors and their minimum there, over all tokens of
a set; a token then costs one broadcast, and for each vector a multiply, an add and a minimum. No lane is
padded, and nothing is left to reduce: a set of 20 tokens is as fast per token as one of 2,000. The width of
a value is the dtype of the arrays: 32 bits or 64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from algos._bits import item_pointer
from algos._jit import primitive, target_has

VECTOR = 64
"""Bytes of a vector; where registers are narrower, LLVM takes several."""
NARROW = 2
"""Vectors folded at once with 16 registers of 32 bytes: two for each of a, b and the minima, four left."""
WIDE = 8 if target_has("avx512f") else NARROW
"""With 32 registers of 64 bytes all of 128 permutations."""
_I32, _I64 = ir.IntType(32), ir.IntType(64)


def lanes(dtype: Any) -> int:
    """Return how many permutations make up the least that is folded at once."""
    return NARROW * VECTOR // np.dtype(dtype).itemsize


def _twin(vectors: int) -> Any:
    def fold(hashes: Any, lo: Any, hi: Any, a: Any, b: Any, at: Any, values: Any, place: Any) -> None:
        n, kind, lo, hi, at, place = vectors * VECTOR // values.itemsize, values.dtype, *map(int, (lo, hi, at, place))
        if not (0 <= lo <= hi <= len(hashes) and at + n <= len(a) and place + n <= len(values)):
            raise IndexError(f"{lo}..{hi} of {len(hashes)} hashes, {at} + {n} of {len(a)} permutations")
        if lo < hi:
            h = hashes[lo:hi].astype(kind)[:, None]
            least = (h * a[at : at + n] + b[at : at + n]).min(axis=0)
            np.minimum(values[place : place + n], least, out=values[place : place + n])

    return fold


def _generator(vectors: int) -> Any:
    def generator(
        typingctx: Any, hashes: Any, lo: Any, hi: Any, a: Any, b: Any, at: Any, values: Any, place: Any
    ) -> Any:
        word = types.uint64
        signature = types.void(hashes, word, word, a, b, word, values, word)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _emit(context, builder, signature, args, vectors)
            return context.get_dummy_value()

        return signature, codegen

    return generator


def _emit(context: Any, b: Any, signature: Any, args: Any, vectors: int) -> None:
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
        one = b.insert_element(ir.Constant(row, ir.Undefined), h, _I32(0))
        h = b.shuffle_vector(one, one, ir.Constant(ir.VectorType(_I32, width), [0] * width))
        for a_row, b_row, slot in zip(a_rows, b_rows, slots, strict=True):
            value, least = b.add(b.mul(h, a_row), b_row), b.load(slot)
            b.store(b.select(b.icmp_unsigned("<", value, least), value, least), slot)
    for slot, target in zip(slots, targets, strict=True):
        store = b.store(b.load(slot), target)
        store.align = bits // 8


fold_narrow = primitive(_twin(NARROW))(_generator(NARROW))
"""Lower ``values`` from ``place`` on to the minima of ``a h + b`` over ``hashes[lo:hi]``, factors from ``at`` on."""

fold_wide = primitive(_twin(WIDE))(_generator(WIDE))
"""Do the same for as many permutations as there are registers for."""
