"""Parquet's Bloom filter format: its header, its sizes, and the PLAIN bytes of values it hashes.

Apache Parquet format, ``BloomFilter.md``: xxHash64 with seed 0 over the PLAIN encoding (4 or 8 bytes
little-endian; a byte array without its length prefix), a Thrift compact header, then the bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from algos._bits import M32, U64
from algos._fastcall import FLOAT, INT, TEXT, float_alone, kind_of, size_of, word_of
from algos._jit import inlined
from algos.errors import CorruptDataError
from algos.hashing.batch import KeyHasher
from algos.hashing.keys import Dictionary, Piece, Text, Words, one, pieces
from algos.hashing.xxh64 import XXH64, words32, xxh64_alone, xxh64_word, xxh64_word32

TYPES = ("int32", "int64", "float", "double", "byte_array")
_INT32, _INT64, _FLOAT, _DOUBLE, _BYTE_ARRAY = (U64(at) for at in range(len(TYPES)))
_BELOW_ZERO, _IN_INT32 = U64(1 << 31), U64((1 << 31) + (1 << 32))
"""How many of the values that an int32 column takes are negative, and how many there are."""
MAX_BYTES = 128 << 20
"""The largest filter that writers make, whatever rate is asked for."""

_I32_FIELD = b"\x15"
_UNION_FIRST = b"\x1c\x1c\x00\x00"  # a union whose first member, an empty struct, is set
_REST = 3 * _UNION_FIRST + b"\x00"  # algorithm BLOCK, hash XXHASH, compression UNCOMPRESSED, stop


def bits(capacity: int, fpr: float) -> float:
    """Return the bits a Parquet writer plans for ``capacity`` distinct values, before rounding up."""
    return -8.0 * capacity / math.log1p(-(fpr**0.125))


def check_type(physical_type: Any) -> None:
    """Refuse a physical type whose values have no Bloom filter here."""
    if physical_type not in TYPES:
        raise ValueError(f"physical_type={physical_type!r} is not one of {', '.join(TYPES)}")


def header(nbytes: int) -> bytes:
    """Return the Thrift compact header of a filter of ``nbytes``."""
    number, varint = nbytes << 1, b""
    while number >= 0x80:
        varint += bytes([number & 0x7F | 0x80])
        number >>= 7
    return _I32_FIELD + varint + bytes([number]) + _REST


def bitset(data: bytes | bytearray | memoryview) -> memoryview:
    """Return the bits behind a header, or raise ``CorruptDataError`` saying what is wrong."""
    view = memoryview(data).cast("B")
    if bytes(view[:1]) != _I32_FIELD:
        raise CorruptDataError(
            f"the first byte of {len(view)} is not a Parquet Bloom filter header's (0x15); "
            "filters of the old Murmur3 form must be written again"
        )
    number = shift = 0
    at = 1
    while True:
        if at >= len(view) or shift > 28:
            raise CorruptDataError(f"the header of {len(view)} bytes has no valid size")
        byte, at = view[at], at + 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if bytes(view[at : at + len(_REST)]) != _REST:
        raise CorruptDataError(
            "the header names another algorithm, hash or compression than BLOCK, XXHASH, none"
        )
    nbytes, at = number >> 1, at + len(_REST)
    if number & 1 or len(view) - at != nbytes:
        raise CorruptDataError(f"the header promises {nbytes} bytes of bits, {len(view) - at} follow")
    if not nbytes or nbytes % 32:
        raise CorruptDataError(f"{nbytes} bytes of bits are not a whole number of 32-byte blocks")
    return view[at:]


class _Words32:
    """A piece of 4-byte values."""

    __slots__ = ("valid", "values")

    def __init__(self, values: Any, valid: Any) -> None:
        self.values = values
        self.valid = valid

    def __len__(self) -> int:
        return len(self.values)

    def cut(self, lo: int, hi: int) -> _Words32:
        """Return values ``lo..hi`` as a piece of their own."""
        return _Words32(self.values[lo:hi], None if self.valid is None else self.valid[lo:hi])

    def hash_into(self, algorithm: Any, seed: Any, lo: int, hi: int, out: Any) -> None:  # noqa: ARG002
        """Hash values ``lo..hi`` into ``out``: a column's hash is xxHash64 whatever was asked."""
        words32(self.values[lo:hi], seed, out)


class PlainHasher(KeyHasher):
    """Keys of a Parquet column: the standard's bytes and hash in place of the house policy."""

    __slots__ = ("physical_type",)

    def __init__(self, physical_type: str, seed: int) -> None:
        check_type(physical_type)
        if seed != 0:
            raise ValueError(f"seed={seed}: Parquet fixes the seed at 0; leave it out")
        super().__init__(XXH64, 0)
        self.physical_type = physical_type

    def pieces(self, keys: Any) -> list[Any]:
        return [self._plain(piece) for piece in pieces(keys)]

    def _one_piece(self, key: Any) -> Any:
        piece = one(key)
        return None if piece is None else self._plain(piece)

    def _plain(self, piece: Piece) -> Any:
        """Encode a house piece as the physical type, or say why it cannot be one."""
        if not len(piece) or (piece.valid is not None and not piece.valid.any()):
            return Words(np.zeros(len(piece), np.int64), np.zeros(len(piece), np.bool_))
        if isinstance(piece, Dictionary):
            return Dictionary(piece.indices, self._plain(piece.values), piece.valid)
        if isinstance(piece, Text) != (self.physical_type == "byte_array"):
            kind = "text" if isinstance(piece, Text) else "numbers"
            raise TypeError(
                f"{kind} cannot be keys of a Parquet column of physical type {self.physical_type}"
            )
        if isinstance(piece, Text):
            return piece
        return self._numbers(piece)

    def _numbers(self, piece: Words) -> Any:
        values, wanted = piece.values, "f" if self.physical_type in ("float", "double") else "iu"
        if values.dtype.kind not in wanted:
            raise TypeError(
                f"{values.dtype} keys in a Parquet column of type {self.physical_type}; cast them"
            )
        if self.physical_type == "double":
            return Words(np.ascontiguousarray(values, np.float64).view(np.uint64), piece.valid)
        if self.physical_type == "float":
            return _Words32(_as_float32(values, piece.valid).view(np.uint32), piece.valid)
        if self.physical_type == "int32":
            return _Words32(_as_int32(values, piece.valid), piece.valid)
        return piece


@inlined
def plain_alone(key: Any, column: Any, arguments: Any, count: Any, names: Any) -> tuple[Any, Any]:
    """Tell whether a call has one value that a column, named by its index in ``TYPES``, takes as it is.

    And return its hash, as ``PlainHasher`` makes it. ``key`` is what the call has if that is no float.
    """
    zero, kind, word = U64(0), kind_of(key), word_of(key)
    if (column == _BYTE_ARRAY) & (kind == TEXT) | (column == _INT64) & (kind == INT):
        return True, xxh64_alone(key, zero)
    if column == _INT32:
        inside = (word + _BELOW_ZERO < _IN_INT32) & (size_of(key) == zero)
        return (True, xxh64_word32(word & M32, zero)) if (kind == INT) & inside else (False, zero)
    given = float_alone(arguments, count, names)
    if (kind_of(given) != FLOAT) | (column != _FLOAT) & (column != _DOUBLE):
        return False, zero
    if column == _DOUBLE:
        return True, xxh64_word(word_of(given), zero)
    narrow = np.float32(U64(word_of(given)).view(np.float64))
    if not np.isfinite(narrow):  # what a column refuses, among others
        return False, zero
    return True, xxh64_word32(U64(np.float32(narrow).view(np.uint32)), zero)


def _refuse(outside: Any, values: Any, valid: Any, bounds: str) -> None:
    """Raise for the first value outside; what lies under a null does not count."""
    if valid is not None:
        outside = outside & valid
    if outside.any():
        i = int(np.argmax(outside))
        raise OverflowError(f"key {values[i]} at position {i} is outside {bounds}")


def _as_int32(values: Any, valid: Any) -> Any:
    """Take integers as 32-bit two's complement."""
    if values.dtype.itemsize > 4:
        over = values > 0xFFFF_FFFF
        outside = over if values.dtype.kind == "u" else over | (values < -(1 << 31))
        _refuse(outside, values, valid, "[-2**31, 2**32) of an int32 column")
    return np.ascontiguousarray(values.astype(np.int64).astype(np.uint32))


def _as_float32(values: Any, valid: Any) -> Any:
    """Round floats to 32 bits, as a column stores them."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.ascontiguousarray(values, np.float32)
    _refuse(np.isinf(rounded) & ~np.isinf(values), values, valid, "the range of a float column")
    return rounded
