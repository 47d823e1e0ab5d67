"""Scalar calls that cost what a call costs: kernels entered past Numba's dispatcher.

A dispatcher looks at the types of its arguments at every call, and unpacks each array with a dozen checks; in
a filter that takes ten times as long as the lookup. A function made by ``scalar`` has one signature, so its
compiled wrapper is called itself. Its arguments are unpacked here: a key as what is hashed of it, an array as
its address and size. Only this library's own objects may be passed, since nothing of an array is checked.

::

    @scalar(WORDS64, NUMBER)
    def _ask(key, seed, held, hash_count):
        found = contains(array(held), number(hash_count), xxh3_alone(key, seed))
        return answer(key, seed, found)

``_ask`` is compiled by its first call, which then puts the wrapper in its own place in its module. It returns
a bool (with ``gives=WORD`` an int), or ``None`` for a key that is not exactly an ``int`` of 64 signed bits or
a ``str`` or ``bytes`` of at most 64 KiB, for
a seed that is no ``int`` below 2^63, and always where NumPy or Python are not as they are known here: then
the caller takes the way that batches take.
"""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import NativeValue, box, intrinsic, models, register_model, unbox

from algos._jit import cached, inlined

if TYPE_CHECKING:
    from collections.abc import Callable

NONE, INT, TEXT = 0, 1, 2
"""What a key is: of no kind that is known here, an int as a word, or bytes somewhere."""
MOST_BYTES = 1 << 16
"""Longer keys are of no known kind: batches release the GIL."""
_DATA, _SHAPE, _STRIDES = 2, 4, 5
"""Where an array object keeps the address of its items, and those of its shape and strides, in words."""
_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)


class _Key(types.Type):
    """A key or a seed: what it was, its value or address, its length."""

    def __init__(self) -> None:
        super().__init__(name="hotpath key")


class _Held(types.Type):
    """A contiguous array that outlives the call, by its address and its size in bytes."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"hotpath array of {dtype}")


class _Number(types.Type):
    """An int below 2^64, taken as it is."""

    def __init__(self) -> None:
        super().__init__(name="hotpath number")


class _Answer(types.Type):
    """False, True, or None."""

    def __init__(self) -> None:
        super().__init__(name="hotpath answer")


class _Word(types.Type):
    """An int below 2^64, or None."""

    def __init__(self) -> None:
        super().__init__(name="hotpath word")


KEY, NUMBER, ANSWER, WORD = _Key(), _Number(), _Answer(), _Word()
BYTES, UINT16S = _Held(types.uint8), _Held(types.uint16)
WORDS32, WORDS64 = _Held(types.uint32), _Held(types.uint64)


@register_model(_Key)
class _KeyModel(models.StructModel):
    def __init__(self, manager: Any, given: Any) -> None:
        members = [("kind", types.int64), ("word", types.uint64), ("size", types.uint64)]
        super().__init__(manager, given, members)


@register_model(_Held)
class _HeldModel(models.StructModel):
    def __init__(self, manager: Any, given: Any) -> None:
        super().__init__(manager, given, [("data", types.uint64), ("nbytes", types.uint64)])


@register_model(_Word)
class _WordModel(models.StructModel):
    def __init__(self, manager: Any, given: Any) -> None:
        super().__init__(manager, given, [("known", types.boolean), ("value", types.uint64)])


@register_model(_Number)
@register_model(_Answer)
class _IntModel(models.PrimitiveModel):
    def __init__(self, manager: Any, given: Any) -> None:
        super().__init__(manager, given, _I64)


# From Python and back


@unbox(_Key)
def _unbox_key(typ: Any, item: Any, c: Any) -> Any:
    b, key = c.builder, cgutils.create_struct_proxy(typ)(c.context, c.builder)
    kind, word, size = (cgutils.alloca_once_value(b, _I64(0)) for _ in range(3))
    is_a = c.pyapi.get_type(item)

    def of(name: str) -> Any:
        return b.icmp_unsigned("==", is_a, b.bitcast(c.pyapi.get_c_object(name), is_a.type))

    def short(size: Any) -> Any:
        return b.select(b.icmp_unsigned("<=", b.load(size), _I64(MOST_BYTES)), _I64(TEXT), _I64(NONE))

    with b.if_else(of("PyLong_Type")) as (number, other):
        with number:
            overflow = cgutils.alloca_once_value(b, _I32(0))
            function = ir.FunctionType(_I64, [item.type, _I32.as_pointer()])
            convert = cgutils.get_or_insert_function(b.module, function, "PyLong_AsLongLongAndOverflow")
            b.store(b.call(convert, [item, overflow]), word)
            fits = b.icmp_signed("==", b.load(overflow), _I32(0))
            b.store(b.select(fits, _I64(INT), _I64(NONE)), kind)
        with other:
            with b.if_then(of("PyUnicode_Type")):
                function = ir.FunctionType(_I8.as_pointer(), [item.type, _I64.as_pointer()])
                encode = cgutils.get_or_insert_function(b.module, function, "PyUnicode_AsUTF8AndSize")
                data = b.call(encode, [item, size])
                b.store(b.ptrtoint(data, _I64), word)
                with b.if_else(cgutils.is_null(b, data)) as (failed, encoded):
                    with failed:  # a lone surrogate
                        c.pyapi.err_clear()
                    with encoded:
                        b.store(short(size), kind)
            with b.if_then(of("PyBytes_Type")):
                for name, slot in (("PyBytes_AsString", word), ("PyBytes_Size", size)):
                    function = ir.FunctionType(_I64, [item.type])
                    read = cgutils.get_or_insert_function(b.module, function, name)
                    b.store(b.call(read, [item]), slot)
                b.store(short(size), kind)
    key.kind, key.word, key.size = b.load(kind), b.load(word), b.load(size)
    return NativeValue(key._getvalue())


@unbox(_Held)
def _unbox_held(typ: Any, item: Any, c: Any) -> Any:
    b, held = c.builder, cgutils.create_struct_proxy(typ)(c.context, c.builder)
    fields = b.bitcast(item, _I64.as_pointer())
    data, shape, strides = (b.load(b.gep(fields, [_I32(at)])) for at in (_DATA, _SHAPE, _STRIDES))
    length, itemsize = (b.load(b.inttoptr(at, _I64.as_pointer())) for at in (shape, strides))
    held.data, held.nbytes = data, b.mul(length, itemsize)
    return NativeValue(held._getvalue())


@unbox(_Number)
def _unbox_number(typ: Any, item: Any, c: Any) -> Any:
    function = ir.FunctionType(_I64, [item.type])
    convert = cgutils.get_or_insert_function(c.builder.module, function, "PyLong_AsUnsignedLongLongMask")
    value = c.builder.call(convert, [item])
    failed = cgutils.alloca_once_value(c.builder, cgutils.false_bit)
    with c.builder.if_then(c.builder.icmp_signed("==", value, _I64(-1)), likely=False):
        c.builder.store(c.pyapi.c_api_error(), failed)
    return NativeValue(value, is_error=c.builder.load(failed))


@box(_Answer)
def _box_answer(typ: Any, value: Any, c: Any) -> Any:
    b = c.builder
    yes, no, none = (c.pyapi.get_c_object(f"_Py_{name}Struct") for name in ("True", "False", "None"))
    known = b.select(b.icmp_signed("==", value, _I64(1)), yes, no)
    answer = b.select(b.icmp_signed("<", value, _I64(0)), none, known)
    c.pyapi.incref(answer)
    return answer


@box(_Word)
def _box_word(typ: Any, value: Any, c: Any) -> Any:
    b, word = c.builder, cgutils.create_struct_proxy(typ)(c.context, c.builder, value=value)
    none = c.pyapi.get_c_object("_Py_NoneStruct")
    made = cgutils.alloca_once_value(b, none)
    with b.if_else(word.known) as (known, unknown):
        with known:
            b.store(c.pyapi.long_from_ulonglong(word.value), made)
        with unknown:
            c.pyapi.incref(none)
    return b.load(made)


# Inside


def _view(context: Any, builder: Any, array_type: Any, data: Any, nbytes: Any) -> Any:
    """Emit an array over memory that it does not own."""
    item = context.get_data_type(array_type.dtype)
    itemsize = _I64(context.get_abi_sizeof(item))
    made = context.make_array(array_type)(context, builder)
    context.populate_array(
        made,
        data=builder.inttoptr(data, item.as_pointer()),
        shape=[builder.udiv(nbytes, itemsize)],
        strides=[itemsize],
        itemsize=itemsize,
        meminfo=None,
    )
    return made._getvalue()


@intrinsic
def array(typingctx: Any, held: Any) -> Any:
    """View what is held as an array."""
    array_type = types.Array(held.dtype, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=args[0])
        return _view(context, builder, array_type, given.data, given.nbytes)

    return array_type(held), codegen


@intrinsic
def number(typingctx: Any, given: Any) -> Any:
    """Return what is given as a uint64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return args[0]

    return types.uint64(given), codegen


@intrinsic
def text_of(typingctx: Any, key: Any) -> Any:
    """View a key of kind ``TEXT`` as its bytes."""
    array_type = types.Array(types.uint8, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=args[0])
        return _view(context, builder, array_type, given.word, given.size)

    return array_type(key), codegen


def _member(name: str, of: Any) -> Any:
    @intrinsic
    def read(typingctx: Any, key: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            given = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=args[0])
            return getattr(given, name)

        return of(key), codegen

    return read


kind_of = _member("kind", types.int64)
word_of = _member("word", types.uint64)
size_of = _member("size", types.uint64)


@intrinsic
def _as_answer(typingctx: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return args[0]

    return ANSWER(types.int64), codegen


@inlined
def known(key: Any, seed: Any) -> Any:
    """Tell whether key and seed are of a known kind."""
    return (kind_of(key) != NONE) & (kind_of(seed) == INT)


@inlined
def answer(key: Any, seed: Any, found: Any) -> Any:
    """Make an answer of ``found``: None if key or seed are of no known kind."""
    return _as_answer(np.int64(found) if known(key, seed) else np.int64(-1))


@intrinsic
def _as_word(typingctx: Any, known: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        made = cgutils.create_struct_proxy(signature.return_type)(context, builder)
        made.known, made.value = args
        return made._getvalue()

    return WORD(types.boolean, types.uint64), codegen


@inlined
def word(valid: Any, seed: Any, bits: Any, value: Any) -> Any:
    """Make a word of ``value``: None if it is not ``valid``, or the seed no int of so few bits."""
    valid &= (kind_of(seed) == INT) & (word_of(seed) >> bits == np.uint64(0))
    return _as_word(valid, value)


# The call itself


def _layout_is_known() -> bool:
    """Tell whether objects look as they are read here, which is not in the contracts of NumPy and CPython."""
    probe = np.arange(3, dtype=np.uint16)
    fields = (ctypes.c_ssize_t * 6).from_address(id(probe))
    if fields[_DATA] != probe.ctypes.data:
        return False
    shape, strides = (ctypes.c_ssize_t.from_address(fields[at]).value for at in (_SHAPE, _STRIDES))
    return (shape, strides) == (3, 2)


WORKS = not config.DISABLE_JIT and sys.implementation.name == "cpython" and _layout_is_known()
"""Whether there are such calls here, or only the way of the batches."""


def _unknown(*_: Any) -> None:
    """Stand in for every scalar function where there are none."""


def scalar(
    *state: Any, gives: Any = ANSWER, home: dict[str, Any] | None = None, name: str | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a scalar function of ``(key, seed, *state)``; see the module.

    Its place is ``home[name]``: by default what it is called in its module.
    """

    def decorate(function: Any) -> Callable[..., Any]:
        if not WORKS:
            return _unknown
        signature = gives(KEY, KEY, *state)

        def first(*arguments: Any) -> Any:
            compiled = cached(njit(error_model="numpy")(function), function)
            compiled.compile(signature)
            entry = compiled.overloads[signature.args].entry_point
            (function.__globals__ if home is None else home)[name or function.__name__] = entry
            return entry(*arguments)

        return first

    return decorate
