"""Keys: anything key-like, normalised once into pieces that a hash kernel can read in one pass.

The policy, the same in every process and on every platform:

- an ``int`` is its 8 bytes, little-endian two's complement, in [-2^63, 2^64); so ``-1`` and
  ``uint64(2**64 - 1)`` are one key. All integer widths agree.
- a ``bool`` is refused: whether ``True`` is 1 is not ours to say.
- a ``float`` of any width is the 8 bytes of its float64, with -0.0 = 0.0 and one NaN; ``1.0`` is not ``1``.
- ``str`` is its UTF-8, ``bytes`` is itself. NumPy ``S`` and ``U`` arrays lose trailing NULs, as NumPy does.
- ``datetime64``, ``timedelta64`` and Arrow's temporal types are their int64.
- nulls (Arrow's, ``None`` in a list, and all that pandas calls missing: NaN, NaT, NA) are skipped when
  adding and never found.

A structure that follows a standard replaces this policy by the standard's own ``Plain`` encoding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, ValuesView
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

import numpy as np

from algos._arrow import chunks_of, pyarrow
from algos._jit import kernel

if TYPE_CHECKING:
    from algos.hashing._algorithm import Algorithm

CHUNK = 8192
"""Keys converted or hashed at a time: their 64 KiB are still in L2 when they are consumed."""

_PYTHON_KEYS = (int, str, bytes, float)
_ACCEPTED = (
    "NumPy int, float, bytes, text or datetime64 arrays, Arrow arrays (pyarrow, polars, DuckDB), "
    "pandas Series, or lists of int, str, bytes or float"
)


class Words:
    """A piece of fixed-width keys: a one-dimensional integer or float array."""

    __slots__ = ("valid", "values")

    def __init__(self, values: Any, valid: Any = None) -> None:
        self.values = values
        self.valid = valid

    def __len__(self) -> int:
        return len(self.values)

    @property
    def kind(self) -> str:
        """What the keys are: ``"int"``, ``"uint"`` (those of 64 bits) or ``"float"``."""
        if self.values.dtype.kind == "f":
            return "float"
        return "uint" if self.values.dtype == np.uint64 else "int"

    def cut(self, lo: int, hi: int) -> Words:
        """Return keys ``lo..hi`` as a piece of their own."""
        return Words(self.values[lo:hi], None if self.valid is None else self.valid[lo:hi])

    def spans(self) -> Iterator[tuple[int, Any]]:
        """Yield ``(position, uint64 words)``: the array itself where it is 64 bits wide, else chunks."""
        values = self.values
        if values.dtype.kind in "iu" and values.dtype.itemsize == 8 and values.flags.c_contiguous:
            yield 0, values.view(np.uint64)
            return
        for lo in range(0, len(values), CHUNK):
            yield lo, self._words(lo, lo + CHUNK)

    def _words(self, lo: int, hi: int) -> Any:
        part = self.values[lo:hi]
        if part.dtype == np.int64 and part.flags.c_contiguous:
            return part.view(np.uint64)
        if part.dtype.kind == "f":
            with np.errstate(invalid="ignore"):  # signalling NaNs
                part = part.astype(np.float64) + 0.0  # -0.0 becomes 0.0
            part[np.isnan(part)] = np.nan
            return part.view(np.uint64)
        wide = np.uint64 if part.dtype.kind == "u" else np.int64
        return np.ascontiguousarray(part, wide).view(np.uint64)

    def hash_into(self, algorithm: Algorithm, seed: Any, lo: int, hi: int, out: Any) -> None:
        """Hash keys ``lo..hi`` into ``out``, a row each."""
        if hi - lo <= CHUNK:
            algorithm.words(self._words(lo, hi), seed, out)
            return
        for at, words in Words(self.values[lo:hi]).spans():
            algorithm.words(words, seed, out[at : at + len(words)])


class Text:
    """A piece of variable-width keys: ``data[offsets[i]:offsets[i + 1]]``."""

    __slots__ = ("data", "kind", "offsets", "valid")

    def __init__(self, data: Any, offsets: Any, valid: Any = None, kind: str = "str") -> None:
        if not _in_bounds(offsets, data.size):
            raise ValueError(f"string offsets must rise within the {data.size} bytes of their data")
        self.data = data
        self.offsets = offsets
        self.valid = valid
        self.kind = kind  # what the keys are, "str" or "bytes", which is all the same to their hash

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def cut(self, lo: int, hi: int) -> Text:
        """Return keys ``lo..hi`` as a piece of their own."""
        part = Text.__new__(Text)  # whose offsets are known to rise
        part.data, part.offsets, part.kind = self.data, self.offsets[lo : hi + 1], self.kind
        part.valid = None if self.valid is None else self.valid[lo:hi]
        return part

    def hash_into(self, algorithm: Algorithm, seed: Any, lo: int, hi: int, out: Any) -> None:
        """Hash keys ``lo..hi`` into ``out``, a row each."""
        if algorithm.text is None:
            raise TypeError(f"{algorithm.name} hashes integers only; use xxh3 for text")
        algorithm.text(self.data, self.offsets[lo : hi + 1], seed, out)


class Dictionary:
    """A piece of dictionary-encoded keys: each distinct value is hashed once, then gathered."""

    __slots__ = ("_hashes", "_of", "indices", "valid", "values")

    def __init__(self, indices: Any, values: Words | Text, valid: Any = None) -> None:
        if values.valid is not None:
            named = values.valid[indices]
            valid = named if valid is None else valid & named
        self.indices = indices
        self.values = values
        self.valid = valid
        self._of: Any = None
        self._hashes: Any = None

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def kind(self) -> str:
        """What the distinct values are."""
        return self.values.kind

    def cut(self, lo: int, hi: int) -> Dictionary:
        """Return keys ``lo..hi`` as a piece of their own, which knows the hashes that this one knows."""
        part = Dictionary.__new__(Dictionary)
        part.indices, part.values = self.indices[lo:hi], self.values
        part.valid = None if self.valid is None else self.valid[lo:hi]
        part._of, part._hashes = self._of, self._hashes
        return part

    def hash_into(self, algorithm: Algorithm, seed: Any, lo: int, hi: int, out: Any) -> None:
        """Hash keys ``lo..hi`` into ``out``, a row each."""
        if self._of != (algorithm, seed):
            self._hashes = np.empty((len(self.values), *out.shape[1:]), np.uint64)
            self.values.hash_into(algorithm, seed, 0, len(self.values), self._hashes)
            self._of = (algorithm, seed)
        np.take(self._hashes, self.indices[lo:hi], axis=0, out=out)


Piece = Words | Text | Dictionary


@kernel
def _in_bounds(offsets: Any, size: Any) -> Any:
    """Tell whether the offsets never fall and stay inside ``size`` bytes."""
    if offsets.size == 0 or offsets[0] < 0 or offsets[offsets.size - 1] > size:
        return False
    falls = 0
    for i in range(offsets.size - 1):
        falls += offsets[i + 1] < offsets[i]
    return falls == 0


def ready(keys: Any) -> Any:
    """Return the words of keys that need no normalising, 64-bit integers in an array; ``None`` for others."""
    if type(keys) is not np.ndarray or keys.ndim != 1 or not keys.flags.c_contiguous:
        return None
    dtype = keys.dtype
    return keys.view(np.uint64) if dtype.itemsize == 8 and dtype.kind in "iu" and dtype.isnative else None


def pieces(keys: Any) -> list[Piece]:
    """Normalise a batch of keys; raise a ``TypeError`` that says what is accepted."""
    if isinstance(keys, np.ndarray):
        return [_from_numpy(keys)]
    if isinstance(keys, (list, tuple)):
        return [_from_list(list(keys))]
    module = type(keys).__module__.partition(".")[0]
    if module == "pandas":
        return _from_pandas(keys)
    if module == "pyarrow" or hasattr(keys, "__arrow_c_stream__") or hasattr(keys, "__arrow_c_array__"):
        return _from_arrow(keys)
    hint = "; for one key use the method without _many" if isinstance(keys, (str, bytes)) else ""
    raise TypeError(f"a batch of keys cannot be a {type(keys).__name__}{hint}; it can be {_ACCEPTED}")


def streamed(keys: Any) -> bool:
    """Tell whether keys come one by one: from a generator, a set, a range, a deque, the values of a dict."""
    return isinstance(keys, (Iterator, AbstractSet, ValuesView, range, deque))


def one(key: Any) -> Piece | None:
    """Normalise a single key to a piece of length 1; ``None`` (a null) gives ``None``."""
    if key is None:
        return None
    if type(key) is int and -(1 << 63) <= key < 1 << 63:  # the common case, without a list's checks
        return Words(np.array([key], np.int64))
    if isinstance(key, np.generic):
        return _from_numpy(np.array([key]))
    return _from_list([key])


def _from_numpy(array: Any) -> Piece:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("a masked array hides keys: pass array.compressed(), or an Arrow array with nulls")
    if array.ndim != 1:
        raise TypeError(f"keys must be one-dimensional, not of shape {array.shape}; use .ravel()")
    kind = array.dtype.kind
    if kind in "iufmM":
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        if kind == "f" and array.dtype.itemsize > 8:
            raise TypeError(f"{array.dtype} keys have no float64 form; use .astype('float64')")
        return Words(array.view(np.int64) if kind in "mM" else array)
    if kind == "S":
        return _from_fixed(array)
    if kind in "UT":
        return _from_list(array.tolist())
    if kind == "b":
        raise TypeError("bool keys are refused: say what you mean with .astype('uint8')")
    remedy = "use .tolist() for Python ints and strings, or .astype() for numbers"
    raise TypeError(f"an array of dtype {array.dtype} has no keys; {remedy}")


def _from_fixed(array: Any) -> Text:
    """Take an ``S`` array; each key ends where NumPy says it ends, before trailing NULs."""
    lengths = np.char.str_len(array).astype(np.int64)
    width = array.dtype.itemsize
    if width and (lengths == width).all():
        data = np.ascontiguousarray(array).view(np.uint8)
        return Text(data, np.arange(0, (len(array) + 1) * width, width), kind="bytes")
    return _from_bytes(array.tolist(), "bytes")


def _from_bytes(values: list[bytes], kind: str) -> Text:
    return Text(np.frombuffer(b"".join(values), np.uint8), _ends(values), kind=kind)


def _from_str(values: list[str]) -> Text:
    joined = "".join(values)
    if joined.isascii():  # three times faster than encoding one by one
        return Text(np.frombuffer(joined.encode(), np.uint8), _ends(values))
    return _from_bytes(_encoded(values), "str")


def _ends(values: list[Any]) -> Any:
    """Return where each value starts and ends once they are joined."""
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, values), np.int64, len(values)), out=offsets[1:])
    return offsets


def _from_list(values: list[Any]) -> Piece:
    """Take Python objects of one type; ``None`` is a null."""
    kinds = set(map(type, values))
    nulls = type(None) in kinds
    kinds.discard(type(None))
    kind = kinds.pop() if kinds else int
    if kinds or not (kind in _PYTHON_KEYS or issubclass(kind, np.generic)):
        raise TypeError(_first_stranger(values))
    if not nulls:
        return _of_one_kind(values, kind)
    piece = _of_one_kind([kind() if v is None else v for v in values], kind)
    piece.valid = np.fromiter((v is not None for v in values), np.bool_, len(values))
    return piece


def _of_one_kind(values: list[Any], kind: type) -> Piece:
    if kind is int:
        return Words(_int_words(values))
    if kind is float:
        return Words(np.array(values, np.float64))
    if kind is str:
        return _from_str(values)
    if kind is bytes:
        return _from_bytes(values, "bytes")
    if len({value.dtype for value in values}) > 1:
        raise TypeError(f"NumPy keys of one {kind.__name__} but several dtypes; put them into one array")
    return _from_numpy(np.array(values))


def _first_stranger(values: list[Any]) -> str:
    """Describe the first key that is of no accepted type, or not of the type of those before it."""
    first = type(next(v for v in values if v is not None))
    for i, value in enumerate(values):
        if value is None:
            continue
        if type(value) not in _PYTHON_KEYS:
            kind = f"{type(value).__name__}, not int, str, bytes or float"
            hint = "; whether True is 1 is yours to say: use int()" if type(value) is bool else ""
            return f"key {value!r} at position {i} is a {kind}{hint}"
        if type(value) is not first:
            kinds = f"{type(value).__name__}, those before it are {first.__name__}"
            return f"key {value!r} at position {i} is a {kinds}: a batch holds keys of one type"
    raise AssertionError("called for a batch of one type")


def _int_words(values: list[int]) -> Any:
    try:
        return np.array(values, np.int64)
    except OverflowError:
        for i, value in enumerate(values):
            if not -(1 << 63) <= value < 1 << 64:
                raise OverflowError(f"key {value} at position {i} is outside [-2**63, 2**64)") from None
        return np.array([value & 0xFFFF_FFFF_FFFF_FFFF for value in values], np.uint64)


def _encoded(values: list[str]) -> list[bytes]:
    try:
        return [value.encode() for value in values]
    except UnicodeEncodeError as error:
        i = next(i for i, value in enumerate(values) if not _encodable(value))
        message = f"key {values[i]!r} at position {i} has a lone surrogate and so no UTF-8"
        raise ValueError(message) from error


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _from_pandas(series: Any) -> list[Piece]:
    if not hasattr(series, "dtype") or getattr(series, "ndim", 0) != 1:
        raise TypeError(f"a pandas {type(series).__name__} has no keys; pass one column of it")
    if isinstance(series.dtype, np.dtype):
        if series.dtype.kind != "O":
            piece, nulls = _from_numpy(series.to_numpy()), np.asarray(series.isna())
            piece.valid = ~nulls if nulls.any() else None
            return [piece]
        return [_from_list([None if null else v for v, null in zip(series, series.isna(), strict=True)])]
    return _from_arrow(pyarrow().array(series, from_pandas=True))


def _from_arrow(keys: Any) -> list[Piece]:
    pa = pyarrow()
    return [_from_arrow_array(pa, chunk) for chunk in chunks_of(keys)]


def _from_arrow_array(pa: Any, array: Any) -> Piece:
    """Look at an Arrow array's buffers; nothing is copied but the types that have no offsets."""
    kind, t = array.type, pa.types
    valid = _validity(array)
    if t.is_dictionary(kind):
        values = _from_arrow_array(pa, array.dictionary)
        if isinstance(values, Dictionary):
            raise TypeError(f"keys of Arrow type {kind} are dictionaries of dictionaries; unpack one")
        indices = array.indices.fill_null(0).to_numpy(zero_copy_only=False)
        if valid is not None and not len(values):
            return Words(np.zeros(len(array), np.int64), valid)
        return Dictionary(indices, values, valid)
    if t.is_null(kind):
        return Words(np.zeros(len(array), np.int64), np.zeros(len(array), np.bool_))
    if t.is_integer(kind) or t.is_floating(kind) or t.is_temporal(kind):
        return Words(_fixed_values(kind, array), valid)
    if t.is_string_view(kind) or t.is_binary_view(kind):
        flat = pa.large_binary() if t.is_binary_view(kind) else pa.large_string()
        return _from_arrow_array(pa, array.cast(flat))
    if t.is_fixed_size_binary(kind):
        return Text(*_fixed_binary(kind.byte_width, array), valid, "bytes")
    if t.is_string(kind) or t.is_binary(kind):
        return Text(*_offsets_and_data(array, np.int32), valid, "bytes" if t.is_binary(kind) else "str")
    if t.is_large_string(kind) or t.is_large_binary(kind):
        return Text(*_offsets_and_data(array, np.int64), valid, "bytes" if t.is_large_binary(kind) else "str")
    raise TypeError(f"keys of Arrow type {kind} are not supported; cast to an integer, float or string type")


def _validity(array: Any) -> Any:
    if not array.null_count:
        return None
    return array.is_valid().to_numpy(zero_copy_only=False)


def _fixed_values(kind: Any, array: Any) -> Any:
    """View an Arrow primitive array's values, nulls included."""
    if kind.bit_width > 64:
        raise TypeError(
            f"keys of Arrow type {kind} are wider than 64 bits; cast to an integer or string type"
        )
    t = pyarrow().types
    letter = "f" if t.is_floating(kind) else "u" if t.is_unsigned_integer(kind) else "i"
    buffer = array.buffers()[1]
    dtype = np.dtype(f"{letter}{kind.bit_width // 8}")
    if buffer is None:
        return np.zeros(len(array), dtype)
    return np.frombuffer(buffer, dtype, len(array), array.offset * dtype.itemsize)


def _fixed_binary(width: int, array: Any) -> tuple[Any, Any]:
    buffer = array.buffers()[1]
    if buffer is None or width == 0:
        return np.zeros(0, np.uint8), np.zeros(len(array) + 1, np.int64)
    data = np.frombuffer(buffer, np.uint8, len(array) * width, array.offset * width)
    return data, np.arange(len(array) + 1, dtype=np.int64) * width


def _offsets_and_data(array: Any, dtype: Any) -> tuple[Any, Any]:
    _, offsets, data = array.buffers()
    if offsets is None or len(array) == 0:
        return np.zeros(0, np.uint8), np.zeros(len(array) + 1, dtype)
    width = np.dtype(dtype).itemsize
    rows = np.frombuffer(offsets, dtype, len(array) + 1, array.offset * width)
    return np.frombuffer(b"" if data is None else data, np.uint8), rows
