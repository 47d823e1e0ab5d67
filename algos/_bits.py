"""Bit idioms for kernels: 64-bit constants, rotations, wide multiplies, unaligned loads, prefetch.

In Numba ``uint64 op int`` is int64, so every operand here and in the kernels is an explicit
``np.uint64`` (or ``np.uint32``). LLVM recognises the plain idioms (popcount, the four-multiply ``mulhi``) and
emits the single instruction, so only loads, prefetches and rotations need intrinsics. Those take
``(array, index)``, check the index when ``NUMBA_BOUNDSCHECK`` is on, and have a NumPy twin for when
the JIT is off. Little-endian machines only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils

from algos._jit import inlined, primitive
from algos._pages import HUGE_PAGE, new_pages

U64 = np.uint64
U32 = np.uint32

U1, U2, U3, U6, U8, U16, U32_, U63, U64_ = (U64(i) for i in (1, 2, 3, 6, 8, 16, 32, 63, 64))
M32 = U64(0xFFFF_FFFF)


def _rotl_twin(x: Any, r: Any) -> Any:
    return (x << r) | (x >> (U64_ - r))


def _opaque_twin(x: Any) -> Any:
    return x


@primitive(_opaque_twin)
def opaque(typingctx: Any, x: Any) -> Any:
    """Return a uint64 as one the compiler knows nothing of: sums across it stay in the order they have."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        return builder.asm(ir.FunctionType(word, [word]), "", "=r,0", args, side_effect=False)

    return types.uint64(types.uint64), codegen


@primitive(_rotl_twin)
def rotl(typingctx: Any, x: Any, r: Any) -> Any:
    """Rotate a uint64 left by ``r`` (uint64, 1..63).

    LLVM knows the idiom as well, but takes it apart where a product is rotated, for two multiplies.
    """
    return types.uint64(types.uint64, types.uint64), _rotation(64)


def _rotl32_twin(x: Any, r: Any) -> Any:
    return U32((x << r) | (x >> (U32(32) - r)))


@primitive(_rotl32_twin)
def rotl32(typingctx: Any, x: Any, r: Any) -> Any:
    """Rotate a uint32 left by ``r`` (uint32, 1..31)."""
    return types.uint32(types.uint32, types.uint32), _rotation(32)


def _rotation(bits: int) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(bits)
        rotation = ir.FunctionType(word, [word] * 3)
        rotate = cgutils.get_or_insert_function(builder.module, rotation, f"llvm.fshl.i{bits}")
        return builder.call(rotate, [args[0], args[0], args[1]])

    return codegen


@inlined
def mulhi(a: Any, b: Any) -> Any:
    """Return the upper 64 bits of the 128-bit product of two uint64."""
    al, ah, bl, bh = a & M32, a >> U32_, b & M32, b >> U32_
    low = al * bl
    mid = ah * bl + (low >> U32_)
    cross = al * bh + (mid & M32)
    return ah * bh + (mid >> U32_) + (cross >> U32_)


@inlined
def mulhi32(a: Any, b: Any) -> Any:
    """Return ``(a * b) >> 64`` for ``b < 2**32``: two 32-bit multiplies, so that loops vectorise."""
    return ((a >> U32_) * b + (((a & M32) * b) >> U32_)) >> U32_


@inlined
def popcount(x: Any) -> Any:
    """Count the bits of a uint64 that are set."""
    x -= (x >> U1) & U64(0x5555555555555555)
    x = (x & U64(0x3333333333333333)) + ((x >> U2) & U64(0x3333333333333333))
    x = (x + (x >> U64(4))) & U64(0x0F0F0F0F0F0F0F0F)
    return (x * U64(0x0101010101010101)) >> U64(56)


@inlined
def trailing_zeros(x: Any) -> Any:
    """Count the zeros below the lowest bit of a uint64 that is set; 64 if none is."""
    return popcount(~x & (x - U1))


def _leading_zeros_twin(x: Any) -> Any:
    return U64(64 - int(x).bit_length())


@primitive(_leading_zeros_twin)
def leading_zeros(typingctx: Any, x: Any) -> Any:
    """Count the zeros above the highest bit of a uint64 that is set; 64 if none is."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.IntType(1)(0))

    return types.uint64(types.uint64), codegen


@inlined
def byteswap(x: Any) -> Any:
    """Reverse the bytes of a uint64."""
    x = ((x & U64(0x00FF00FF00FF00FF)) << U8) | ((x >> U8) & U64(0x00FF00FF00FF00FF))
    x = ((x & U64(0x0000FFFF0000FFFF)) << U16) | ((x >> U16) & U64(0x0000FFFF0000FFFF))
    return (x << U32_) | (x >> U32_)


@inlined
def partial64(data: Any, start: Any, n: Any) -> Any:
    """Read ``n`` < 9 bytes as a little-endian uint64."""
    value, shift = U64(0), U64(0)
    for i in range(n):
        value |= U64(data[start + U64(i)]) << shift
        shift += U8
    return value


def item_pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, count: int) -> Any:
    """Point at ``array[index]`` for an access of ``count`` items, checked when bounds checking is on."""
    struct = context.make_array(array_type)(context, builder, array)
    if config.BOUNDSCHECK:
        length = builder.extract_value(struct.shape, 0)
        cgutils.do_boundscheck(context, builder, index, length)
        cgutils.do_boundscheck(context, builder, builder.add(index, index.type(count - 1)), length)
    return builder.gep(struct.data, [index])


def spread(builder: Any, value: Any, count: int) -> Any:
    """Emit a vector of so many times a value."""
    i32 = ir.IntType(32)
    one = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    one = builder.insert_element(one, value, i32(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(i32, count), [0] * count))


def _checked(array: Any, index: Any, count: int) -> int:
    """Return ``index`` as an int once ``count`` items from it are known to lie inside ``array``."""
    i = int(index)
    if not 0 <= i <= len(array) - count:
        raise IndexError(f"index {i} is out of bounds for {count} items of an array of {len(array)}")
    return i


def _borrowed_twin(array: Any) -> Any:
    return array


@primitive(_borrowed_twin)
def borrowed(typingctx: Any, array: Any) -> Any:
    """View an array without owning it: the caller's argument outlives the kernel.

    Numba counts a reference, atomically, around every branchy function it inlines; at one string per
    call that was half of the time.
    """
    signature = array(array)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        struct = context.make_array(signature.args[0])(context, builder, args[0])
        struct.meminfo = cgutils.get_null_value(struct.meminfo.type)
        struct.parent = cgutils.get_null_value(struct.parent.type)
        return struct._getvalue()

    return signature, codegen


def _load(bits: int) -> Any:
    """Make the code generator of an unaligned little-endian load of ``bits`` from a byte array."""

    def generator(typingctx: Any, array: Any, index: Any) -> Any:
        signature = types.Integer.from_bitwidth(bits, signed=False)(array, types.uint64)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = item_pointer(context, builder, signature.args[0], args[0], args[1], bits // 8)
            value = builder.load(builder.bitcast(pointer, ir.IntType(bits).as_pointer()))
            value.align = 1
            return value

        return signature, codegen

    return generator


def _load64_twin(array: Any, index: Any) -> Any:
    i = _checked(array, index, 8)
    return U64(int.from_bytes(array[i : i + 8].tobytes(), "little"))


def _load32_twin(array: Any, index: Any) -> Any:
    i = _checked(array, index, 4)
    return U32(int.from_bytes(array[i : i + 4].tobytes(), "little"))


load64 = primitive(_load64_twin)(_load(64))
load32 = primitive(_load32_twin)(_load(32))


def _store(bits: int) -> Any:
    """Make the code generator of an unaligned little-endian store of ``bits`` to a byte array."""

    def generator(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
        word = types.Integer.from_bitwidth(bits, signed=False)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = item_pointer(context, builder, signature.args[0], args[0], args[1], bits // 8)
            store = builder.store(args[2], builder.bitcast(pointer, ir.IntType(bits).as_pointer()))
            store.align = 1
            return context.get_dummy_value()

        return types.void(array, types.uint64, word), codegen

    return generator


def _store64_twin(array: Any, index: Any, value: Any) -> None:
    i = _checked(array, index, 8)
    array[i : i + 8] = np.frombuffer(int(value).to_bytes(8, "little"), np.uint8)


def _store16_twin(array: Any, index: Any, value: Any) -> None:
    i = _checked(array, index, 2)
    array[i : i + 2] = np.frombuffer(int(value).to_bytes(2, "little"), np.uint8)


store64 = primitive(_store64_twin)(_store(64))
store16 = primitive(_store16_twin)(_store(16))


def _prefetch_twin(array: Any, index: Any) -> None:
    _checked(array, index, 1)


def _prefetch_beyond_twin(_array: Any, _index: Any) -> None:
    pass


def _prefetch(locality: int, *, inside: bool = True) -> Any:
    """Make the code generator of a prefetch for reading: 3 into all levels, 2 into L2 and beyond."""

    def generator(typingctx: Any, array: Any, index: Any) -> Any:
        signature = types.void(array, types.uint64)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if inside:
                pointer = item_pointer(context, builder, signature.args[0], args[0], args[1], 1)
            else:
                start = context.make_array(signature.args[0])(context, builder, args[0]).data
                pointer = builder.gep(start, [args[1]])
            pointer = builder.bitcast(pointer, ir.IntType(8).as_pointer())
            i32 = ir.IntType(32)
            function_type = ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32])
            function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], function_type)
            builder.call(function, [pointer, i32(0), i32(locality), i32(1)])
            return context.get_dummy_value()

        return signature, codegen

    return generator


prefetch = primitive(_prefetch_twin)(_prefetch(2))
"""Ask for the cache line of ``array[index]`` to be in L2, without waiting for it.

Into L2 and not L1, because far more misses may be under way there (48 against 24 on Zen 4): random lines of
64 MiB come twice as fast, and an L2 hit is short enough to be hidden by what runs meanwhile.
"""

prefetch_near = primitive(_prefetch_twin)(_prefetch(3))
"""Ask for the line to be in L1: for what is in L2 already, where it saves a second visit."""

prefetch_beyond = primitive(_prefetch_beyond_twin)(_prefetch(3, inside=False))
"""Ask for it also where the array has ended: that never faults, and there may be the next part of a whole."""

LINE = 64


def aligned_zeros(n: int, dtype: Any) -> Any:
    """Return ``n`` zeros whose first byte starts a cache line and, where there are many, a huge page.

    Memory that an allocator hands out again keeps its small pages, and random reads then wait for page
    walks besides; so a large state asks the system for pages of its own.
    """
    nbytes = n * np.dtype(dtype).itemsize
    pages = new_pages(nbytes + HUGE_PAGE) if nbytes >= 2 * HUGE_PAGE else None
    if pages is None:
        raw, align = np.zeros(nbytes + LINE, np.uint8), LINE
    else:
        raw, align = np.frombuffer(pages, np.uint8), HUGE_PAGE
    start = -raw.ctypes.data % align
    return raw[start : start + nbytes].view(dtype)
