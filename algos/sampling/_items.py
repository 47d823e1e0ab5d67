"""Items of any kind: batches from which a few are taken by position, and the few that are kept.

A sampler decides by positions alone. What an item is, is asked only of those it keeps: one take a batch.

===== ============================ ==================================== =================================
code  batches                      kept, and handed out as              stored as
===== ============================ ==================================== =================================
0     none yet                     an empty list
1     lists, tuples, ranges,       a list                               tags, lengths, bytes: ``None``,
      other iterables                                                   bool, int, float, str, bytes
2     NumPy arrays, pandas         a NumPy array, a row an item         dtype, shape of a row, bytes
      columns of NumPy's types
3     what speaks Arrow (pyarrow,  a pyarrow array; a table's rows are  Arrow's IPC stream
      polars, DuckDB, pandas)      structs
===== ============================ ==================================== =================================
"""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from algos._arrow import as_arrow, chunks_of, pyarrow
from algos.errors import CorruptDataError
from algos.hashing.keys import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTHING, LIST, NUMPY, ARROW = range(4)
_ACCEPTED = "a NumPy array, an Arrow array or table, a pandas or polars column, a list or another iterable"


class Batch:
    """Some items in a row: how many, of what kind, and how to take some by their positions."""

    __slots__ = ("code", "kind", "size", "take")

    def __init__(self, code: int, kind: Any, size: int, take: Callable[[Any], Any]) -> None:
        self.code, self.kind, self.size, self.take = code, kind, size, take


def batches(items: Any) -> Iterator[Batch]:
    """View a batch of items; an iterable becomes several, of which one at a time is held."""
    module = type(items).__module__.partition(".")[0]
    if isinstance(items, np.ndarray):
        yield _of_numpy(items)
    elif module == "pandas" and isinstance(getattr(items, "dtype", None), np.dtype):
        values = items.to_numpy()
        yield _of_list(values) if values.dtype.kind == "O" else _of_numpy(values)
    elif speaks_arrow(items):
        yield _of_arrow(items)
    elif isinstance(items, (str, bytes, bytearray, memoryview, Mapping)) or not isinstance(items, Iterable):
        hint = "; for one item use add" if not isinstance(items, Mapping) else "; pass its .items()"
        raise TypeError(f"a batch of items cannot be a {type(items).__name__}{hint}; it can be {_ACCEPTED}")
    elif isinstance(items, (list, tuple, range)):
        yield _of_list(items)
    else:
        rest = iter(items)
        while part := list(islice(rest, CHUNK)):
            yield _of_list(part)


def whole(items: Any) -> Batch:
    """View items that must be one batch, since others go with them one by one."""
    found = batches(items)
    if isinstance(items, Iterable) and not hasattr(items, "__len__"):
        raise TypeError(f"a {type(items).__name__} of items has no length to pair weights with: use a list")
    parts = list(found)
    return parts[0] if len(parts) == 1 else _of_list(list(items))


def single(item: Any) -> Batch:
    """View one item as a batch of its own, as one of a list."""
    return Batch(LIST, None, 1, lambda _: [item])


def keys_of(items: Any) -> Any:
    """Return a batch of items as one of keys, which is an array or a list."""
    return items if isinstance(items, np.ndarray) or speaks_arrow(items) else list(items)


def _of_list(items: Any) -> Batch:
    def take(positions: Any) -> list[Any]:
        return [items[at] for at in positions.tolist()]

    return Batch(LIST, None, len(items), take)


def _of_numpy(array: Any) -> Batch:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("a masked array hides items: pass array.compressed(), or an Arrow array with nulls")
    if array.ndim == 0:
        raise TypeError("an array without a dimension is no batch of items; for one item use add")
    kind = array.dtype.newbyteorder("=") if not array.dtype.isnative else array.dtype
    return Batch(NUMPY, (kind, array.shape[1:]), len(array), lambda positions: array[positions])


def speaks_arrow(items: Any) -> bool:
    """Tell whether items are, or can be had as, an Arrow array."""
    module = type(items).__module__.partition(".")[0]
    return module in {"pyarrow", "pandas"} or any(
        hasattr(items, f"__arrow_c_{one}__") for one in ("stream", "array")
    )


def _of_arrow(items: Any) -> Batch:
    pa = pyarrow()
    items = as_arrow(items)
    chunks = chunks_of(items)
    starts = np.cumsum([0, *map(len, chunks)])
    kind = _plain(pa, items.type)

    def take(positions: Any) -> Any:
        """Take chunk by chunk: Arrow would put all of them together first."""
        order = np.argsort(positions, kind="stable")
        rising = positions[order]
        cuts = np.searchsorted(rising, starts)
        taken = [
            _taken(pa, chunk, pa.array(rising[lo:hi] - start))
            for chunk, start, lo, hi in zip(chunks, starts, cuts, cuts[1:], strict=False)
            if hi > lo
        ]
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return pa.concat_arrays(taken).take(pa.array(back))

    return Batch(ARROW, kind, len(items), take)


def _plain(pa: Any, kind: Any) -> Any:
    """Return the type that items of an Arrow type are kept as: of dictionaries and views, what they mean."""
    if pa.types.is_dictionary(kind):
        return _plain(pa, kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain(pa, field.type)) for field in kind])
    if pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(kind) else kind


def _taken(pa: Any, array: Any, indices: Any) -> Any:
    """Take some items of an array, as its plain type."""
    kind = array.type
    if pa.types.is_struct(kind):
        fields = [_taken(pa, child, indices) for child in array.flatten()]
        gone = array.is_null().take(indices)
        return pa.StructArray.from_arrays(fields, fields=list(_plain(pa, kind)), mask=gone)
    if pa.types.is_dictionary(kind):
        return _taken(pa, array.take(indices).dictionary_decode(), pa.array(np.arange(len(indices))))
    if not (pa.types.is_string_view(kind) or pa.types.is_binary_view(kind)):
        return array.take(indices)
    if 8 * len(indices) > len(array):
        return array.cast(_plain(pa, kind)).take(indices)
    return pa.array([array[at].as_py() for at in indices.to_pylist()], _plain(pa, kind))


# ---------------------------------------------------------------------------------------------------
# What is kept


class Kept(ABC):
    """The items in the slots of a sample."""

    __slots__ = ()
    CODE: int
    kind: Any
    """What batches must be like."""

    @abstractmethod
    def admit(self, batch: Batch) -> None:
        """Refuse, before anything is changed, a batch whose items cannot be kept beside these."""

    @abstractmethod
    def put(self, slots: Any, items: Any) -> None:
        """Put taken items into slots, each slot named once; new slots follow the last."""

    @abstractmethod
    def pick(self, slots: Any) -> Any:
        """Return the items of some slots, in that order, as a batch's ``take`` does."""

    @abstractmethod
    def lift(self, item: Any) -> Batch:
        """View one item as a batch of this kind."""

    @abstractmethod
    def packed(self, slots: Any) -> bytes:
        """Serialise the items of some slots; ``TypeError`` for what cannot be."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes held, as far as they are known: a list's objects are not counted."""

    def batch(self, count: int) -> Batch:
        """View the first slots as a batch."""
        return Batch(self.CODE, self.kind, count, self.pick)


class _Listed(Kept):
    __slots__ = ("items",)
    CODE = LIST
    kind = None

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def admit(self, batch: Batch) -> None:
        if batch.code != LIST:
            raise TypeError(f"this sample holds a list's items: pass {_name(batch)} as a list, .tolist()")

    def put(self, slots: Any, items: Any) -> None:
        kept = self.items
        for slot, item in zip(slots.tolist(), items, strict=True):
            if slot < len(kept):
                kept[slot] = item
            else:
                kept.append(item)

    def pick(self, slots: Any) -> Any:
        return [self.items[slot] for slot in slots.tolist()]

    def lift(self, item: Any) -> Batch:
        return single(item)

    def packed(self, slots: Any) -> bytes:
        return _pack_list(self.pick(slots))

    @property
    def nbytes(self) -> int:
        return 8 * len(self.items)


class _Numpy(Kept):
    __slots__ = ("array", "kind")
    CODE = NUMPY

    def __init__(self, array: Any) -> None:
        self.array, self.kind = array, (array.dtype, array.shape[1:])

    def admit(self, batch: Batch) -> None:
        if batch.code != NUMPY or (batch.kind != self.kind and not self._widened(batch)):
            raise TypeError(
                f"this sample holds NumPy {_row(*self.kind)}, no {_name(batch)}: "
                f"convert the batch, or take a sampler of its own for it"
            )

    def _widened(self, batch: Batch) -> bool:
        """Make room for longer text, whose width is what the batch happens to need."""
        dtype, row = batch.kind
        mine, shape = self.kind
        if row != shape or dtype.kind != mine.kind or dtype.kind not in "SU":
            return False
        if dtype.itemsize > mine.itemsize:
            self.array, self.kind = self.array.astype(dtype), batch.kind
        return True

    def put(self, slots: Any, items: Any) -> None:
        need = int(slots.max(initial=-1)) + 1
        if need > len(self.array):
            grown = np.empty((max(need, 2 * len(self.array)), *self.array.shape[1:]), self.array.dtype)
            grown[: len(self.array)] = self.array
            self.array = grown
        self.array[slots] = items

    def pick(self, slots: Any) -> Any:
        return self.array[slots]

    def lift(self, item: Any) -> Batch:
        dtype, row = self.kind
        given = np.asarray(item)
        alike = given.dtype.kind == dtype.kind or (given.dtype.kind, dtype.kind) == ("i", "u")
        plain = type(item) in {bool, int, float, complex, str, bytes} or isinstance(item, (list, tuple))
        if given.shape != row or not (given.dtype == dtype or (plain and alike)):
            found = f"a {type(item).__name__}" if plain else f"NumPy {_row(given.dtype, given.shape)}"
            raise TypeError(f"this sample holds NumPy {_row(dtype, row)}, no {found}")
        array = given[None] if dtype.kind in "SU" else np.array([item], dtype)
        return Batch(NUMPY, (array.dtype, array.shape[1:]), 1, lambda _: array)

    def packed(self, slots: Any) -> bytes:
        array = self.pick(slots)
        if array.dtype.kind not in _SIMPLE or array.nbytes < len(array):
            raise TypeError(
                f"items of dtype {array.dtype} are not serialised: "
                f"keep numbers, dates or fixed-width text, or an Arrow array"
            )
        name, row = array.dtype.str.encode(), array.shape[1:]
        head = struct.pack(f"<BB{len(row)}Q", len(name), len(row), *row)
        return head[:2] + name + head[2:] + np.ascontiguousarray(array).tobytes()

    @property
    def nbytes(self) -> int:
        return int(self.array.nbytes)


_SIMPLE = "biufcmMSU"


class _Arrow(Kept):
    """Arrow's arrays never change: what is put is appended, and what is dropped goes when half is."""

    __slots__ = ("_at", "_parts", "_total", "kind")
    CODE = ARROW

    def __init__(self, array: Any) -> None:
        self.kind, self._parts, self._total = array.type, [array], len(array)
        self._at = np.arange(len(array))

    def admit(self, batch: Batch) -> None:
        if batch.code != ARROW or batch.kind != self.kind:
            raise TypeError(
                f"this sample holds Arrow {self.kind}, no {_name(batch)}: "
                f"cast the batch, or take a sampler of its own for it"
            )

    def put(self, slots: Any, items: Any) -> None:
        need = int(slots.max(initial=-1)) + 1
        if need > len(self._at):
            grown = np.zeros(need, np.int64)
            grown[: len(self._at)] = self._at
            self._at = grown
        self._at[slots] = self._total + np.arange(len(slots))
        self._parts.append(items)
        self._total += len(items)
        if self._total > 2 * len(self._at) + CHUNK:
            self._compact()

    def _compact(self) -> None:
        self._parts = [self.pick(np.arange(len(self._at)))]
        self._total, self._at = len(self._at), np.arange(len(self._at))

    def pick(self, slots: Any) -> Any:
        pa = pyarrow()
        if len(self._parts) > 1:
            self._parts = [pa.concat_arrays(self._parts)]
        return self._parts[0].take(pa.array(self._at[slots]))

    def lift(self, item: Any) -> Batch:
        pa = pyarrow()
        found = type(item).__name__
        try:
            alike = item is None or _sort(pa, pa.array([item]).type) == _sort(pa, self.kind)
            array = pa.array([item if alike else None], self.kind)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise TypeError(f"this sample holds Arrow {self.kind}, no {found}: {error}") from None
        if not alike:
            raise TypeError(f"this sample holds Arrow {self.kind}, no {found}")
        return Batch(ARROW, self.kind, 1, lambda _: array)

    def packed(self, slots: Any) -> bytes:
        pa = pyarrow()
        column = pa.record_batch([self.pick(slots)], ["items"])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, column.schema) as writer:
            writer.write_batch(column)
        return bytes(sink.getvalue())

    @property
    def nbytes(self) -> int:
        return int(sum(part.nbytes for part in self._parts) + self._at.nbytes)


def _sort(pa: Any, kind: Any) -> str:
    """Return of what sort a type's values are: Arrow makes integers of floats, and text of bytes, unasked."""
    for sort in ("integer", "floating", "boolean", "string", "large_string", "binary", "large_binary"):
        if getattr(pa.types, f"is_{sort}")(kind):
            return sort.removeprefix("large_")
    return "binary" if pa.types.is_fixed_size_binary(kind) else "other"


def _row(dtype: Any, row: Any) -> str:
    return f"{dtype}{list(row)} rows" if row else f"{dtype} items"


def _name(batch: Batch) -> str:
    if batch.code == LIST:
        return "list of objects"
    return f"NumPy {_row(*batch.kind)}" if batch.code == NUMPY else f"Arrow {batch.kind}"


def keep_like(batch: Batch) -> Kept:
    """Return room for items like those of a batch."""
    if batch.code == LIST:
        return _Listed([])
    if batch.code == NUMPY:
        dtype, row = batch.kind
        return _Numpy(np.empty((0, *row), dtype))
    pa = pyarrow()
    try:
        return _Arrow(pa.array([], batch.kind).take(pa.array([], pa.int64())))
    except pa.ArrowNotImplementedError as error:
        raise TypeError(f"items of Arrow type {batch.kind} cannot be taken one by one: cast them") from error


# ---------------------------------------------------------------------------------------------------
# Bytes


def pack_items(kept: Kept | None, slots: Any) -> bytes:
    """Serialise the items of some slots: a byte that says of what kind they are, and they."""
    return bytes([NOTHING]) if kept is None else bytes([kept.CODE]) + kept.packed(slots)


def unpack_items(data: memoryview, n: int) -> Kept | None:
    """Read ``n`` items back; ``CorruptDataError`` for whatever is not exactly those."""
    code = data[0] if len(data) else -1
    rest = data[1:]
    if code == NOTHING and not rest and n == 0:
        return None
    if code == LIST:
        return _Listed(_unpack_list(rest, n))
    if code == NUMPY:
        return _Numpy(_unpack_numpy(rest, n))
    if code == ARROW:
        return _Arrow(_unpack_arrow(rest, n))
    raise CorruptDataError(f"{n} items of an unknown kind, {code}")


_EMPTY = 1 << 20
"""Items without a bit of their own, Arrow's nulls, that bytes may claim."""
_TAGS = {type(None): 0, bool: 1, int: 2, float: 3, str: 4, bytes: 5}


def _pack_list(items: list[Any]) -> bytes:
    try:
        tags = bytes([_TAGS[type(item)] for item in items])
    except KeyError as error:
        raise TypeError(
            f"a sample with a {error.args[0].__name__} is not serialised: of a list only None, bool, int, "
            f"float, str and bytes are; or sample the positions, and keep the objects elsewhere"
        ) from None
    texts = [_item_bytes(item) for item in items]
    lengths = np.fromiter(map(len, texts), "<u8", len(texts))
    return tags + lengths.tobytes() + b"".join(texts)


def _item_bytes(item: Any) -> bytes:
    if item is None:
        return b""
    if isinstance(item, int):  # a bool too
        return int(item).to_bytes(item.bit_length() // 8 + 1, "little", signed=True)
    if isinstance(item, float):
        return struct.pack("<d", item)
    return item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item


def _unpack_list(data: memoryview, n: int) -> list[Any]:
    if len(data) < 9 * n:
        raise CorruptDataError(f"{len(data)} bytes hold no {n} items of a list")
    ends, size = [], 9 * n
    for length in np.frombuffer(data[n : 9 * n], "<u8").tolist():
        ends.append((size, size + length))
        size += length
    if size != len(data):
        raise CorruptDataError(f"{n} items of a list claim {size} bytes, not {len(data)}")
    return [_item(tag, bytes(data[lo:hi])) for tag, (lo, hi) in zip(data[:n], ends, strict=True)]


def _item(tag: int, text: bytes) -> Any:
    if tag == 5:
        return text
    try:
        item = _ITEM[tag](text)
        if isinstance(item, float) or _item_bytes(item) == text:
            return item
    except (ValueError, LookupError, struct.error):
        pass
    raise CorruptDataError(f"an item of a list has tag {tag} and {len(text)} bytes")


def _whole_number(text: bytes) -> int:
    return int.from_bytes(text, "little", signed=True)


_ITEM: tuple[Callable[[bytes], Any], ...] = (
    lambda _: None,
    lambda text: {0: False, 1: True}[_whole_number(text)],
    _whole_number,
    lambda text: struct.unpack("<d", text)[0],
    lambda text: text.decode("utf-8", "surrogatepass"),
)


def _unpack_numpy(data: memoryview, n: int) -> Any:
    if len(data) < 2 or len(data) < 2 + data[0] + 8 * data[1]:
        raise CorruptDataError(f"{len(data)} bytes hold no NumPy items")
    at = 2 + data[0]
    name, rest = bytes(data[2:at]), data[at + 8 * data[1] :]
    row = struct.unpack_from(f"<{data[1]}Q", data, at)
    try:
        dtype = np.dtype(name.decode("ascii"))
        simple = dtype.kind in _SIMPLE and dtype.isnative and dtype.str.encode() == name
    except (TypeError, ValueError, SyntaxError, OverflowError, MemoryError):
        simple = False
    if not simple or len(row) > 31 or max(row, default=0) >= 1 << 48:
        raise CorruptDataError(f"items of dtype {name!r} and rows of shape {row}")
    if n * math.prod(row) * dtype.itemsize != len(rest) or n > len(rest):
        raise CorruptDataError(f"{n} rows {row} of {dtype} are not {len(rest)} bytes")
    return np.frombuffer(rest, dtype).reshape(n, *row).copy()


def _unpack_arrow(data: memoryview, n: int) -> Any:
    pa = pyarrow()
    try:
        with pa.ipc.open_stream(pa.py_buffer(bytes(data))) as reader:
            table = reader.read_all()
        table.validate(full=True)
        items = table.column("items").combine_chunks() if table.num_columns == 1 else None
        if isinstance(items, pa.ChunkedArray):
            items = pa.concat_arrays(items.chunks) if items.num_chunks else pa.array([], items.type)
        _ = None if items is None else pa.array([], items.type)  # fields may have names that are no text
    except (pa.ArrowException, ValueError, TypeError, LookupError, OSError, MemoryError) as error:
        raise CorruptDataError(f"unreadable Arrow items: {error}") from error
    if (
        items is None
        or len(items) != n
        or n > max(8 * len(data), _EMPTY)
        or _plain(pa, items.type) != items.type
    ):
        raise CorruptDataError(f"Arrow data that are not one column of {n} items")
    return items
