"""Scalar calls that cost what a call costs: compiled functions that Python takes for its own builtins.

A Numba dispatcher looks at the types of its arguments at every call, and unpacks each array with a dozen
checks; in a filter that takes ten times as long as the lookup, and a Python method around it half as long
again. A ``Native`` is a function of the interpreter's own C interface instead (``METH_FASTCALL``), compiled
by its first call::

    @Native
    def _ask(me, arguments, count, names):
        key, seed = key_alone(arguments, count, names), key_of(me, SEED)
        if known(key, seed):
            return as_bool(holds(uint64s_of(me, WORDS), number_of(me, HASHES), xxh3_alone(key, seed)))
        return slowly(me, "_contains_one", arguments, count, names)

    class Filter:
        __contains__ = Method(_ask, "_contains_one")

``arguments`` points to objects, and so does ``me`` to those in its slots: ``place(Filter, "_words")`` tells
where in them one is. The plain case is one key that is exactly an ``int`` in [-2^63, 2^64), or a ``str`` or
``bytes`` of at most 64 KiB; every other is handed, as it came, to the Python method of the same meaning, as
is all where CPython or NumPy are not as they are known here. Only this library's own objects may be read in
place: nothing of them is checked.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.ccallback import CFunc
from numba.extending import intrinsic, models, register_model

from algos._jit import cached, inlined

if TYPE_CHECKING:
    from collections.abc import Callable

NONE, INT, TEXT, FLOAT = 0, 1, 2, 3
"""What a key is: of no kind that is known here, an int or a float as a word, or bytes somewhere."""
MOST_BYTES = 1 << 16
"""Longer keys are of no known kind: batches release the GIL."""
_DATA, _SHAPE, _STRIDES = 2, 4, 5
"""Where an array object keeps the address of its items, and those of its shape and strides, in words."""
_CHARACTERS = sys.getsizeof("") - 1
"""Where a ``str`` of ASCII keeps them, in bytes."""
_ITEMS = tuple.__basicsize__
"""Where a ``tuple`` keeps its items, in bytes."""
_FASTCALL, _KEYWORDS = 0x80, 0x02
_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_OBJECT = _I8.as_pointer()


class _Key(types.Type):
    """A key or a seed: what it was, its value or address, its length (an int's: 1 from 2^63 on, else 0)."""

    def __init__(self) -> None:
        super().__init__(name="hotpath key")


KEY = _Key()


@register_model(_Key)
class _KeyModel(models.StructModel):
    def __init__(self, manager: Any, given: Any) -> None:
        members = [("kind", types.int64), ("word", types.uint64), ("size", types.uint64)]
        super().__init__(manager, given, members)


def _call(builder: Any, name: str, gives: Any, *given: Any) -> Any:
    """Emit a call of the interpreter."""
    function = ir.FunctionType(gives, [value.type for value in given])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), given)


def _item(builder: Any, base: Any, index: Any) -> Any:
    """Emit the object that word ``index`` from ``base`` on points to."""
    objects = builder.inttoptr(base, _OBJECT.as_pointer())
    return builder.load(builder.gep(objects, [index]))


# Keys


def _emit_key(context: Any, builder: Any, item: Any) -> Any:
    b, pyapi = builder, context.get_python_api(builder)
    kind, word, size = (cgutils.alloca_once_value(b, _I64(0)) for _ in range(3))
    with b.if_then(cgutils.is_not_null(b, item), likely=True):  # a slot not filled yet
        is_a = pyapi.get_type(b.bitcast(item, pyapi.pyobj))

        def of(name: str) -> Any:
            return b.icmp_unsigned("==", is_a, b.bitcast(pyapi.get_c_object(name), is_a.type))

        with b.if_else(of("PyLong_Type")) as (number, other):
            with number:
                _emit_number(pyapi, item, kind, word, size)
            with other:
                with b.if_then(of("PyUnicode_Type")):
                    _emit_text(pyapi, item, kind, word, size)
                with b.if_then(of("PyBytes_Type")):
                    b.store(_call(b, "PyBytes_AsString", _I64, item), word)
                    b.store(_call(b, "PyBytes_Size", _I64, item), size)
                    b.store(_kind_of_bytes(b, size), kind)
    return _made(context, b, kind, word, size)


def _made(context: Any, b: Any, *members: Any) -> Any:
    """Emit the key of what its members' places hold."""
    key = cgutils.create_struct_proxy(KEY)(context, b)
    key.kind, key.word, key.size = map(b.load, members)
    return key._getvalue()


def _emit_float(context: Any, builder: Any, item: Any) -> Any:
    b, pyapi = builder, context.get_python_api(builder)
    kind, word, size = (cgutils.alloca_once_value(b, _I64(0)) for _ in range(3))
    is_a = pyapi.get_type(b.bitcast(item, pyapi.pyobj))
    with b.if_then(b.icmp_unsigned("==", is_a, b.bitcast(pyapi.get_c_object("PyFloat_Type"), is_a.type))):
        b.store(b.bitcast(_call(b, "PyFloat_AsDouble", ir.DoubleType(), item), _I64), word)
        b.store(_I64(FLOAT), kind)
    return _made(context, b, kind, word, size)


def _emit_number(pyapi: Any, item: Any, kind: Any, word: Any, size: Any) -> None:
    b = pyapi.builder
    overflow = cgutils.alloca_once_value(b, _I32(0))
    b.store(_call(b, "PyLong_AsLongLongAndOverflow", _I64, item, overflow), word)
    b.store(_I64(INT), kind)
    with b.if_then(b.icmp_unsigned("!=", b.load(overflow), _I32(0)), likely=False):
        b.store(_call(b, "PyLong_AsUnsignedLongLong", _I64, item), word)
        with b.if_then(cgutils.is_not_null(b, _call(b, "PyErr_Occurred", _OBJECT))):
            pyapi.err_clear()
            b.store(_I64(NONE), kind)
        b.store(_I64(1), size)


def _emit_text(pyapi: Any, item: Any, kind: Any, word: Any, size: Any) -> None:
    b = pyapi.builder
    data = _call(b, "PyUnicode_AsUTF8AndSize", _OBJECT, item, size)
    b.store(b.ptrtoint(data, _I64), word)
    with b.if_else(cgutils.is_null(b, data)) as (failed, encoded):
        with failed:  # a lone surrogate
            pyapi.err_clear()
        with encoded:
            b.store(_kind_of_bytes(b, size), kind)


def _kind_of_bytes(b: Any, size: Any) -> Any:
    return b.select(b.icmp_unsigned("<=", b.load(size), _I64(MOST_BYTES)), _I64(TEXT), _I64(NONE))


@intrinsic
def key_of(typingctx: Any, base: Any, index: Any) -> Any:
    """Take an object as a key."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _emit_key(context, builder, _item(builder, *args))

    return KEY(types.uint64, types.int64), codegen


@intrinsic
def items_of(typingctx: Any, base: Any, index: Any) -> Any:
    """Return where the items of an object are, to be taken by ``key_of``, and how many; none of no tuple."""
    words = types.UniTuple(types.uint64, 2)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        b, item, pyapi = builder, _item(builder, *args), context.get_python_api(builder)
        size = cgutils.alloca_once_value(b, _I64(0))
        is_a = pyapi.get_type(b.bitcast(item, pyapi.pyobj))
        with b.if_then(b.icmp_unsigned("==", is_a, b.bitcast(pyapi.get_c_object("PyTuple_Type"), is_a.type))):
            b.store(_call(b, "PyTuple_Size", _I64, item), size)
        first = b.add(b.ptrtoint(item, _I64), _I64(_ITEMS))
        return context.make_tuple(b, signature.return_type, [first, b.load(size)])

    return words(types.uint64, types.int64), codegen


def _alone(emit: Callable[..., Any]) -> Any:
    """Make the code generator of what the one argument of a call is; of no kind if there are others."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arguments, count, names = args
        none = cgutils.alloca_once_value(builder, cgutils.get_null_value(context.get_value_type(KEY)))
        plain = builder.and_(
            builder.icmp_unsigned("==", count, _I64(1)), builder.icmp_unsigned("==", names, _I64(0))
        )
        with builder.if_then(plain, likely=True):
            builder.store(emit(context, builder, _item(builder, arguments, _I64(0))), none)
        return builder.load(none)

    return KEY(types.uint64, types.uint64, types.uint64), codegen


@intrinsic
def key_alone(typingctx: Any, arguments: Any, count: Any, names: Any) -> Any:
    """Take the one argument of a call as a key."""
    return _alone(_emit_key)


@intrinsic
def float_alone(typingctx: Any, arguments: Any, count: Any, names: Any) -> Any:
    """Take it, where exactly a ``float``, as one of kind ``FLOAT``: floats are no plain keys."""
    return _alone(_emit_float)


@intrinsic
def is_str(typingctx: Any, base: Any, index: Any) -> Any:
    """Tell whether an object is exactly a ``str``: a key of kind ``TEXT`` may be bytes too."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pyapi = context.get_python_api(builder)
        is_a = pyapi.get_type(builder.bitcast(_item(builder, *args), pyapi.pyobj))
        wanted = builder.bitcast(pyapi.get_c_object("PyUnicode_Type"), is_a.type)
        return builder.icmp_unsigned("==", is_a, wanted)

    return types.boolean(types.uint64, types.int64), codegen


@intrinsic
def real_of(typingctx: Any, base: Any, index: Any) -> Any:
    """Take an object that is exactly a ``float``, or an ``int`` of 64 bits, as a float64; others are NaN."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        b, item, pyapi = builder, _item(builder, *args), context.get_python_api(builder)
        real = cgutils.alloca_once_value(b, ir.DoubleType()(float("nan")))
        is_a, overflow = pyapi.get_type(b.bitcast(item, pyapi.pyobj)), cgutils.alloca_once(b, _I32)

        def of(name: str) -> Any:
            return b.icmp_unsigned("==", is_a, b.bitcast(pyapi.get_c_object(name), is_a.type))

        with b.if_then(of("PyFloat_Type")):
            b.store(_call(b, "PyFloat_AsDouble", ir.DoubleType(), item), real)
        with b.if_then(of("PyLong_Type")):
            word = _call(b, "PyLong_AsLongLongAndOverflow", _I64, item, overflow)
            with b.if_then(b.icmp_unsigned("==", b.load(overflow), _I32(0))):
                b.store(b.sitofp(word, ir.DoubleType()), real)
        return b.load(real)

    return types.float64(types.uint64, types.int64), codegen


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


@inlined
def known(key: Any, seed: Any) -> Any:
    """Tell whether a key is of a known kind, and its seed an int."""
    return (kind_of(key) != NONE) & (kind_of(seed) == INT)


@inlined
def known_below(key: Any, seed: Any, bits: Any) -> Any:
    """Tell the same, the seed being an int of so few bits."""
    return known(key, seed) & (word_of(seed) >> bits == np.uint64(0))


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
def text_of(typingctx: Any, key: Any) -> Any:
    """View a key of kind ``TEXT`` as its bytes."""
    array_type = types.Array(types.uint8, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=args[0])
        return _view(context, builder, array_type, given.word, given.size)

    return array_type(key), codegen


# State


def _array_of(dtype: Any) -> Any:
    array_type = types.Array(dtype, 1, "C")

    @intrinsic
    def read(typingctx: Any, base: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            fields = builder.bitcast(_item(builder, *args), _I64.as_pointer())
            data, shape, strides = (
                builder.load(builder.gep(fields, [_I32(at)])) for at in (_DATA, _SHAPE, _STRIDES)
            )
            length, itemsize = (
                builder.load(builder.inttoptr(at, _I64.as_pointer())) for at in (shape, strides)
            )
            return _view(context, builder, array_type, data, builder.mul(length, itemsize))

        return array_type(types.uint64, types.int64), codegen

    return read


bytes_of, uint16s_of = _array_of(types.uint8), _array_of(types.uint16)
uint32s_of, uint64s_of = _array_of(types.uint32), _array_of(types.uint64)
float64s_of = _array_of(types.float64)
"""View a contiguous array object, or its bytes, that outlives the call."""


@intrinsic
def number_of(typingctx: Any, base: Any, index: Any) -> Any:
    """Take an int below 2^64 as it is."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "PyLong_AsUnsignedLongLongMask", _I64, _item(builder, *args))

    return types.uint64(types.uint64, types.int64), codegen


@intrinsic
def wide_of(typingctx: Any, base: Any, index: Any) -> Any:
    """Take an int below 2^128 as its lower and upper word, and 1; all 0 for what is none."""
    words = types.UniTuple(types.uint64, 3)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        b, item, pyapi = builder, _item(builder, *args), context.get_python_api(builder)
        slots = [cgutils.alloca_once_value(b, _I64(0)) for _ in range(3)]
        is_a = pyapi.get_type(b.bitcast(item, pyapi.pyobj))
        with b.if_then(b.icmp_unsigned("==", is_a, b.bitcast(pyapi.get_c_object("PyLong_Type"), is_a.type))):
            width, overflow = _call(b, "PyLong_FromLong", _OBJECT, _I64(64)), cgutils.alloca_once(b, _I32)
            upper = _call(b, "PyNumber_Rshift", _OBJECT, item, width)
            rest = _call(b, "PyNumber_Rshift", _OBJECT, upper, width)
            above = _call(b, "PyLong_AsLongLongAndOverflow", _I64, rest, overflow)
            with b.if_then(b.icmp_unsigned("==", above, _I64(0))):  # -1 if it does not fit
                for slot, word in ((slots[0], item), (slots[1], upper)):
                    b.store(_call(b, "PyLong_AsUnsignedLongLongMask", _I64, word), slot)
                b.store(_I64(1), slots[2])
            for made in (width, upper, rest):
                _call(b, "Py_DecRef", ir.VoidType(), made)
        return context.make_tuple(b, signature.return_type, [b.load(slot) for slot in slots])

    return words(types.uint64, types.int64), codegen


@intrinsic
def uint64s_at(typingctx: Any, address: Any, count: Any) -> Any:
    """View so many words from an address on."""
    array_type = types.Array(types.uint64, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address, count = args
        return _view(context, builder, array_type, address, builder.mul(count, _I64(8)))

    return array_type(types.uint64, types.uint64), codegen


# Results


def _emit_bool(context: Any, builder: Any, flag: Any) -> Any:
    pyapi = context.get_python_api(builder)
    yes, no = (pyapi.get_c_object(f"_Py_{name}Struct") for name in ("True", "False"))
    answer = builder.select(flag, yes, no)
    pyapi.incref(answer)
    return builder.ptrtoint(answer, _I64)


@intrinsic
def as_bool(typingctx: Any, value: Any) -> Any:
    """Return ``True`` or ``False``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _emit_bool(context, builder, args[0])

    return types.uint64(types.boolean), codegen


@intrinsic
def as_none(typingctx: Any) -> Any:
    """Return ``None``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pyapi = context.get_python_api(builder)
        none = pyapi.get_c_object("_Py_NoneStruct")
        pyapi.incref(none)
        return builder.ptrtoint(none, _I64)

    return types.uint64(), codegen


@intrinsic
def as_int(typingctx: Any, value: Any) -> Any:
    """Return a uint64 as an ``int``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "PyLong_FromUnsignedLongLong", _I64, args[0])

    return types.uint64(types.uint64), codegen


@intrinsic
def as_signed(typingctx: Any, value: Any) -> Any:
    """Return an int64 as an ``int``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "PyLong_FromLongLong", _I64, args[0])

    return types.uint64(types.int64), codegen


@intrinsic
def as_float(typingctx: Any, value: Any) -> Any:
    """Return a float64 as a ``float``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "PyFloat_FromDouble", _I64, args[0])

    return types.uint64(types.float64), codegen


@intrinsic
def as_bytes(typingctx: Any, data: Any, start: Any, size: Any) -> Any:
    """Return ``size`` bytes of a uint8 array from ``start`` on as ``bytes``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array, start, size = args
        source = builder.gep(context.make_array(signature.args[0])(context, builder, array).data, [start])
        return _call(builder, "PyBytes_FromStringAndSize", _I64, source, size)

    return types.uint64(data, types.uint64, types.uint64), codegen


@intrinsic
def as_text(typingctx: Any, data: Any, start: Any, size: Any) -> Any:
    """Return them, ASCII and at least one, as a ``str``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array, start, size = args
        source = builder.gep(context.make_array(signature.args[0])(context, builder, array).data, [start])
        made = _call(builder, "PyUnicode_New", _I64, size, _I32(127))
        with builder.if_then(builder.icmp_unsigned("!=", made, _I64(0)), likely=True):
            target = builder.inttoptr(builder.add(made, _I64(_CHARACTERS)), _OBJECT)
            cgutils.raw_memcpy(builder, target, source, size, 1)
        return made

    return types.uint64(data, types.uint64, types.uint64), codegen


@intrinsic
def as_flag_and_numbers(typingctx: Any, flag: Any, numbers: Any) -> Any:
    """Return a ``tuple`` of a ``bool`` and so many ``int``, from an int64 each."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rest = [
            _call(builder, "PyLong_FromLongLong", _I64, number)
            for number in cgutils.unpack_tuple(builder, args[1])
        ]
        made = _call(builder, "PyTuple_New", _I64, _I64(1 + len(rest)))
        for at, item in enumerate([_emit_bool(context, builder, args[0]), *rest]):
            _call(builder, "PyTuple_SetItem", _I32, made, _I64(at), item)
        return made

    return types.uint64(types.boolean, numbers), codegen


@intrinsic
def new_list(typingctx: Any, size: Any) -> Any:
    """Return a list of so many objects yet to be put into it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "PyList_New", _I64, args[0])

    return types.uint64(types.uint64), codegen


@intrinsic
def put(typingctx: Any, items: Any, at: Any, item: Any) -> Any:
    """Put an object, which is the list's then, into a new list."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _call(builder, "PyList_SetItem", _I32, *args)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64), codegen


def _clock(name: str, kept_by: Any) -> Any:
    here = f"clock_gettime({name})" in time.get_clock_info(kept_by).implementation

    @intrinsic
    def read(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if not here:
                return _I64(0)
            read = cgutils.alloca_once(builder, _I64, size=2)
            _call(builder, "clock_gettime", _I32, _I32(getattr(time, name)), read)
            seconds, rest = (builder.load(builder.gep(read, [_I32(at)])) for at in (0, 1))
            return builder.add(builder.mul(seconds, _I64(10**9)), rest)

        return types.uint64(), codegen

    return read


now_ns, monotonic_ns = _clock("CLOCK_REALTIME", "time"), _clock("CLOCK_MONOTONIC", "monotonic")
"""Return what ``time.time_ns`` and ``time.monotonic_ns`` do; 0 where they read another clock."""


@intrinsic(prefer_literal=True)
def slowly(typingctx: Any, me: Any, name: Any, arguments: Any, count: Any, names: Any) -> Any:
    """Hand the call to the method ``name`` of ``me``."""
    method = name.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        me, _, arguments, count, names = args
        text = context.insert_const_string(builder.module, method)
        bound = _call(builder, "PyObject_GetAttrString", _I64, me, text)
        result = cgutils.alloca_once_value(builder, _I64(0))
        with builder.if_then(builder.icmp_unsigned("!=", bound, _I64(0)), likely=True):
            builder.store(_call(builder, "PyObject_Vectorcall", _I64, bound, arguments, count, names), result)
            _call(builder, "Py_DecRef", ir.VoidType(), bound)
        return builder.load(result)

    return types.uint64(types.uint64, name, types.uint64, types.uint64, types.uint64), codegen


# The functions themselves


def _word_at(address: int, index: int) -> int:
    """Read a word of an object."""
    return ctypes.c_ssize_t.from_address(address + 8 * index).value


def place(owner: type, slot: str) -> int:
    """Return which word of an object of a class a slot is: the one that changes with it."""
    if not WORKS:
        return 0
    like: Any = type("Like", (owner,), {"__slots__": ()})
    like.__abstractmethods__ = frozenset()
    probe, held = like.__new__(like), object()
    setattr(probe, slot, held)
    return [_word_at(id(probe), at) for at in range(like.__basicsize__ // 8)].index(id(held))


def _layout_is_known() -> bool:
    """Tell whether arrays, texts and tuples look as they are taken to here, which is in no contract."""
    text = "".join(map(chr, range(48, 64)))
    if ctypes.string_at(id(text) + _CHARACTERS, len(text)) != text.encode():
        return False
    pair = text, object()
    if [_word_at(id(pair) + _ITEMS, at) for at in range(2)] != [*map(id, pair)]:
        return False
    array = np.arange(3, dtype=np.uint16)
    if _word_at(id(array), _DATA) != array.ctypes.data:
        return False
    return [_word_at(_word_at(id(array), at), 0) for at in (_SHAPE, _STRIDES)] == [3, 2]


def _supported() -> bool:
    """Tell whether there can be such calls here, or only the way of the batches."""
    locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    return not config.DISABLE_JIT and sys.implementation.name == "cpython" and locked and _layout_is_known()


WORKS = _supported()


class _Definition(ctypes.Structure):
    """A ``PyMethodDef``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_KEPT: list[Any] = []
"""What builtin functions point to; they may outlive whoever made them."""


class Native:
    """A function of ``(me, arguments, count, names)``, the addresses that CPython calls a builtin with."""

    __slots__ = ("_compiled", "function")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._compiled: Any = None

    def _definition(self, name: str, doc: str | None) -> Any:
        """Return the definition of the compiled function: a name, and a signature with what it means."""
        if self._compiled is None:
            signature = (types.uint64,) * 4, types.uint64
            made = CFunc(self.function, signature, locals={}, options={"error_model": "numpy"})
            cached(made, self.function).compile()
            self._compiled = made
        text = doc and f"{name}{doc}".encode()
        definition = _Definition(name.encode(), self._compiled.address, _FASTCALL | _KEYWORDS, text)
        _KEPT.append((self._compiled, definition))
        return ctypes.byref(definition)

    def bind(self, me: Any) -> Callable[..., Any]:
        """Return a builtin function whose ``me`` is this."""
        make = ctypes.pythonapi.PyCFunction_NewEx
        make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
        made: Callable[..., Any] = make(self._definition(self.function.__name__, None), me, None)
        return made

    def method(self, owner: type, name: str, doc: str | None) -> Any:
        """Return a method descriptor for a class."""
        make = ctypes.pythonapi.PyDescr_NewMethod
        make.restype, make.argtypes = ctypes.py_object, [ctypes.py_object, ctypes.c_void_p]
        return make(owner, self._definition(name, doc))


def _doc_of(slow: Any) -> str:
    """Return a signature as a builtin's documentation begins with it, and the documentation."""
    given = inspect.signature(slow).parameters.values()
    plain = inspect.Signature([parameter.replace(annotation=inspect.Parameter.empty) for parameter in given])
    return f"{plain}\n--\n\n{slow.__doc__ or ''}".replace("(self", "($self", 1)


class Method:
    """A method that is ``native``; it means what the method ``slow`` does; compiled by its first use."""

    __slots__ = ("_name", "_native", "_owner", "_slow")

    def __init__(self, native: Native, slow: str) -> None:
        self._native, self._slow = native, slow

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name
        if not WORKS:
            setattr(owner, name, getattr(owner, self._slow))

    def __get__(self, instance: Any, owner: type) -> Any:
        doc = _doc_of(getattr(self._owner, self._slow))
        setattr(self._owner, self._name, self._native.method(self._owner, self._name, doc))
        return getattr(owner if instance is None else instance, self._name)
