"""Eight words that fill a cache line, looked at all at once: what tables of keys are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from algos._bits import U64, item_pointer, spread
from algos._jit import primitive

SLOTS = 8


def _row(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Emit the eight words from a place on."""
    pointer = item_pointer(context, builder, signature.args[0], args[0], args[1], SLOTS)
    words = builder.load(builder.bitcast(pointer, ir.VectorType(ir.IntType(64), SLOTS).as_pointer()))
    words.align = 8 * SLOTS
    return words


def _mask(builder: Any, sign: str, words: Any, word: Any) -> Any:
    """Emit which of eight words compare so with another: a bit each."""
    found = builder.icmp_unsigned(sign, words, spread(builder, word, SLOTS))
    return builder.bitcast(found, ir.IntType(SLOTS))


def _compare(context: Any, builder: Any, signature: Any, args: Any, sign: str) -> Any:
    """Emit which of eight words compare so with another: a bit each."""
    words = _row(context, builder, signature, args)
    return builder.zext(_mask(builder, sign, words, args[2]), ir.IntType(64))


def _equal_twin(table: Any, base: Any, word: Any) -> Any:
    return U64(np.packbits(table[int(base) : int(base) + SLOTS] == word, bitorder="little")[0])


@primitive(_equal_twin)
def equal(typingctx: Any, table: Any, base: Any, word: Any) -> Any:
    """Return which of the eight words from ``base`` on are this one: a bit each."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _compare(context, builder, signature, args, "==")

    return types.uint64(table, types.uint64, types.uint64), codegen


def _at_most_twin(table: Any, base: Any, word: Any) -> Any:
    return U64(np.packbits(table[int(base) : int(base) + SLOTS] <= word, bitorder="little")[0])


@primitive(_at_most_twin)
def at_most(typingctx: Any, table: Any, base: Any, word: Any) -> Any:
    """Return which of the eight words from ``base`` on are at most this one: a bit each."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _compare(context, builder, signature, args, "<=")

    return types.uint64(table, types.uint64, types.uint64), codegen


def _lowest(builder: Any, words: Any) -> Any:
    """Emit the least of eight words."""
    reduce = ir.FunctionType(ir.IntType(64), [words.type])
    name = f"llvm.vector.reduce.umin.v{SLOTS}i64"
    return builder.call(cgutils.get_or_insert_function(builder.module, reduce, name), [words])


def _lowest_after_twin(table: Any, base: Any, below: Any) -> Any:
    with np.errstate(over="ignore"):
        return (table[int(base) : int(base) + SLOTS] - below).min()


@primitive(_lowest_after_twin)
def lowest_after(typingctx: Any, table: Any, base: Any, below: Any) -> Any:
    """Return the least of the eight words from ``base`` on, each less ``below``: what was less wraps."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = _row(context, builder, signature, args)
        return _lowest(builder, builder.sub(words, spread(builder, args[2], SLOTS)))

    return types.uint64(table, types.uint64, types.uint64), codegen


def _least_twin(table: Any, base: Any) -> Any:
    return U64(np.argmin(table[int(base) : int(base) + SLOTS]))


@primitive(_least_twin)
def least(typingctx: Any, table: Any, base: Any) -> Any:
    """Return which of the eight words from ``base`` on is the least, the first of several."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = _row(context, builder, signature, args)
        found = _mask(builder, "==", words, _lowest(builder, words))
        return builder.zext(builder.cttz(found, ir.IntType(1)(1)), ir.IntType(64))

    return types.uint64(table, types.uint64), codegen
