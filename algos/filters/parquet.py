"""Which row groups of a Parquet file may hold a value, by the file's own Bloom filters.

Apache Parquet format: the footer is a Thrift structure (compact protocol) that says where each column
chunk's split-block Bloom filter lies. Only the footer and the filters are read, never the data: a point
lookup over a large file costs a few kilobytes.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from algos.errors import CorruptDataError
from algos.filters.splitblock import SplitBlockBloomFilter

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import NDArray

MAGIC, ENCRYPTED_MAGIC = b"PAR1", b"PARE"
TAIL = 8  # bytes: the footer's length and the magic
HEADER_BYTES = 64  # more than a filter's header ever takes
MAX_DEPTH = 32
ROW_GROUPS, COLUMNS = 4, 1  # fields of FileMetaData and RowGroup
META_DATA, CRYPTO_METADATA = 3, 8  # fields of ColumnChunk
PATH_IN_SCHEMA, FILTER_OFFSET, FILTER_LENGTH = 3, 14, 15  # fields of ColumnMetaData
PHYSICAL = {
    "INT32": "int32",
    "INT64": "int64",
    "FLOAT": "float",
    "DOUBLE": "double",
    "BYTE_ARRAY": "byte_array",
    "FIXED_LEN_BYTE_ARRAY": "byte_array",
}

Fields = dict[int, Any]


class _Thrift:
    """Reads Thrift's compact protocol: structures become dicts by field number."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def fields(self, depth: int = 0) -> Fields:
        """Read a structure."""
        found: Fields = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            found[number] = self._value(head & 15, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise CorruptDataError(f"the footer nests more than {MAX_DEPTH} lists and structures")
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 7:
            return self._take(8)
        if kind == 8:
            return self._take(self._varint())
        if kind in (9, 10):
            return self._list(depth)
        if kind == 12:
            return self.fields(depth + 1)
        raise CorruptDataError(f"the footer has a value of unknown kind {kind} at byte {self.at}")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        count, kind = head >> 4, head & 15
        if count == 15:
            count = self._varint()
        if count > len(self.data) - self.at:  # every item takes a byte at least
            raise CorruptDataError(f"the footer promises {count} items in {len(self.data) - self.at} bytes")
        if kind in (1, 2):
            return [self._byte() == 1 for _ in range(count)]
        return [self._value(kind, depth + 1) for _ in range(count)]

    def _zigzag(self) -> int:
        number = self._varint()
        return number >> 1 ^ -(number & 1)

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number
            if shift > 63:
                raise CorruptDataError(f"the footer has a number of more than 64 bits at byte {self.at}")

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise CorruptDataError(f"the footer ends at byte {len(self.data)}, in the middle of a value")
        self.at += count
        return self.data[self.at - count : self.at]


class _Chunk(NamedTuple):
    """Where a column chunk's filter lies; no offset if it has none, no length if the writer left it out."""

    offset: int | None
    length: int | None


def parquet_may_contain(path: str | os.PathLike[str], column: str, values: Any) -> NDArray[np.bool_]:
    """Tell for each row group of a Parquet file whether it may hold one of ``values``: ``bool[row groups]``.

    ``False`` is certain: the row group need not be read for ``column IN values``. ``True`` also stands for
    a row group that has no filter. ``column`` is a name, for a nested one the dotted path to its leaf.
    Values (one, or a batch) are cast to the column's own type, but for a nested one, whose they must have;
    nulls are in no filter. Needs pyarrow, for the schema. O(filter bytes + row groups * values).

    Raises ``ValueError`` for an unknown column, one that is encrypted or has no filter in any row group, or
    is of a type that filters are not made of; ``CorruptDataError`` for bytes that are not a whole Parquet
    file; and what Arrow raises (``ArrowInvalid``, a ``ValueError``) for values the column cannot hold.

    >>> import pyarrow as pa, pyarrow.parquet as pq, tempfile
    >>> table = pa.table({"id": pa.array([1, 2, 3, 100, 200, 300])})
    >>> with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
    ...     options = {"id": {"ndv": 3, "fpp": 0.001}}
    ...     pq.write_table(table, file.name, row_group_size=3, bloom_filter_options=options)
    ...     parquet_may_contain(file.name, "id", 200).tolist()
    [False, True]
    """
    with Path(path).open("rb") as file:
        chunks = list(_chunks(_footer(file), column))
        if all(chunk.offset is None for chunk in chunks):
            raise ValueError(
                f"column {column!r} has no Bloom filter in any of {len(chunks)} row groups: write the file "
                "with filters (pyarrow: bloom_filter_options)"
            )
        physical_type, keys = _plain(path, column, values)
        mask = np.ones(len(chunks), np.bool_)
        for group, chunk in enumerate(chunks):
            if chunk.offset is not None:
                held = SplitBlockBloomFilter.from_parquet_bytes(_filter(file, chunk), physical_type)
                mask[group] = held.contains_many(keys).any()
    return mask


def _footer(file: BinaryIO) -> Fields:
    """Read the file's metadata."""
    size = file.seek(0, 2)
    file.seek(max(0, size - TAIL))
    tail = file.read(TAIL)
    if tail[-4:] == ENCRYPTED_MAGIC:
        raise ValueError("the file's footer is encrypted: decrypt it first")
    if size < 4 + TAIL or tail[-4:] != MAGIC:
        raise CorruptDataError(f"{file.name}: {size} bytes that do not end in PAR1: not a whole Parquet file")
    length = struct.unpack("<I", tail[:4])[0]
    if length > size - 4 - TAIL:
        raise CorruptDataError(f"{file.name}: a footer of {length} bytes does not fit in {size}: truncated")
    file.seek(size - TAIL - length)
    return _Thrift(file.read(length)).fields()


def _chunks(footer: Fields, column: str) -> Iterator[_Chunk]:
    """Find the column's chunk in every row group."""
    groups = _typed(footer.get(ROW_GROUPS), list)
    for group in groups:
        columns = {}
        for chunk in _typed(_typed(group, dict).get(COLUMNS), list):
            meta = _typed(chunk, dict).get(META_DATA)
            if meta is None:
                raise ValueError("a column's metadata is encrypted: decrypt the file first")
            names = _typed(_typed(meta, dict).get(PATH_IN_SCHEMA), list)
            path = b".".join(_typed(name, bytes) for name in names)
            columns[path.decode(errors="replace")] = chunk
        if column not in columns:
            raise ValueError(f"no column {column!r}: choose of {', '.join(sorted(columns)) or 'none at all'}")
        chunk = columns[column]
        meta = chunk[META_DATA]
        if CRYPTO_METADATA in chunk:
            raise ValueError(f"column {column!r} is encrypted, and so is its filter: decrypt the file first")
        offset, length = meta.get(FILTER_OFFSET), meta.get(FILTER_LENGTH)
        if not all(number is None or isinstance(number, int) for number in (offset, length)):
            raise CorruptDataError(f"column {column!r}: its filter is said to lie at {offset!r:.40}")
        yield _Chunk(offset, length)


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise CorruptDataError(f"the footer has {value!r:.40} where a {kind.__name__} belongs")
    return value


def _filter(file: BinaryIO, chunk: _Chunk) -> bytes:
    """Read a filter with its header; a writer that left its length out has put it into the header."""
    assert chunk.offset is not None
    size = file.seek(0, 2)
    if not 0 <= chunk.offset < size:
        raise CorruptDataError(f"a filter at byte {chunk.offset} is not within the file's {size}")
    file.seek(chunk.offset)
    if chunk.length is not None:
        return file.read(max(0, min(chunk.length, size)))
    thrift = _Thrift(file.read(HEADER_BYTES))
    nbytes = _typed(thrift.fields().get(1), int)
    file.seek(chunk.offset)
    return file.read(max(0, min(thrift.at + nbytes, size)))


def _plain(path: str | os.PathLike[str], column: str, values: Any) -> tuple[str, Any]:
    """Return the column's physical type, and the values as it stores them."""
    try:
        import pyarrow as pa
        from pyarrow import parquet as pq
    except ImportError:
        raise TypeError("Parquet schemas need pyarrow (pip install 'hotpath[arrow]')") from None
    try:
        with pq.ParquetFile(path) as file:
            leaves = (file.schema.column(i) for i in range(len(file.schema.names)))
            leaf = next((leaf for leaf in leaves if leaf.path == column), None)
            kind = file.schema_arrow.field(column).type if column in file.schema_arrow.names else None
    except (pa.ArrowException, OSError) as error:
        raise CorruptDataError(f"Arrow cannot read the file's schema: {error}") from error
    if leaf is None:
        raise CorruptDataError(f"row groups have a column {column!r} that the schema does not have")
    if leaf.physical_type not in PHYSICAL:
        raise ValueError(f"column {column!r} is of type {leaf.physical_type}, of which no filters are made")
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        values = [values]
    if isinstance(values, np.ndarray) or not hasattr(values, "__arrow_c_array__"):
        values = pa.array(values)
    if kind is not None:
        values = values.cast(kind.value_type if pa.types.is_dictionary(kind) else kind)
    return PHYSICAL[leaf.physical_type], _stored(pa, leaf, values)


def _stored(pa: Any, leaf: Any, values: Any) -> Any:
    """Return Arrow values as what the column's physical type stores of them."""
    kind, types = values.type, pa.types
    if types.is_decimal(kind):
        scaled = [None if v is None else int(v.as_py().scaleb(kind.scale)) for v in values]
        if leaf.physical_type in ("INT32", "INT64"):
            return pa.array(scaled, pa.int64())
        width = leaf.length if leaf.physical_type == "FIXED_LEN_BYTE_ARRAY" else None
        return [None if v is None else _big_endian(v, width) for v in scaled]
    if types.is_float16(kind):
        return [None if v is None else np.float16(v).tobytes() for v in values.to_pylist()]
    if leaf.physical_type in ("INT32", "INT64") and not types.is_integer(kind):
        return values.cast(pa.int32() if leaf.physical_type == "INT32" else pa.int64())
    return values


def _big_endian(value: int, width: int | None) -> bytes:
    return value.to_bytes(width or max(1, (value.bit_length() + 8) // 8), "big", signed=True)
