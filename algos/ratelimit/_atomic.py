"""Words that other processes change as well."""

from __future__ import annotations

from typing import Any

from numba import types

from algos._bits import item_pointer
from algos._jit import primitive


def _swap_twin(table: Any, index: Any, old: Any, new: Any) -> bool:
    if table[int(index)] != old:
        return False
    table[int(index)] = new
    return True


@primitive(_swap_twin)
def swap(typingctx: Any, table: Any, index: Any, old: Any, new: Any) -> Any:
    """Set ``table[index]`` to ``new`` if it is ``old``; tell whether it was. Atomic where it is compiled."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = item_pointer(context, builder, signature.args[0], args[0], args[1], 1)
        found = builder.cmpxchg(pointer, args[2], args[3], "seq_cst", "seq_cst")
        return builder.extract_value(found, 1)

    return types.boolean(table, types.uint64, types.uint64, types.uint64), codegen


def _read_twin(table: Any, index: Any) -> Any:
    return table[int(index)]


@primitive(_read_twin)
def read(typingctx: Any, table: Any, index: Any) -> Any:
    """Return ``table[index]`` as it is now, before anything that is read after it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = item_pointer(context, builder, signature.args[0], args[0], args[1], 1)
        return builder.load_atomic(pointer, "seq_cst", 8)

    return types.uint64(table, types.uint64), codegen


def _write_twin(table: Any, index: Any, word: Any) -> None:
    table[int(index)] = word


@primitive(_write_twin)
def write(typingctx: Any, table: Any, index: Any, word: Any) -> Any:
    """Set ``table[index]``, after all that was written before it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = item_pointer(context, builder, signature.args[0], args[0], args[1], 1)
        builder.store_atomic(args[2], pointer, "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(table, types.uint64, types.uint64), codegen
