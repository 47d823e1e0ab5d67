"""Sizes for the three test modes, and a reader of the Bloom filters inside Parquet files."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numba import config

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALL = bool(config.DISABLE_JIT)
"""Kernels run interpreted, some microseconds per key: sizes shrink, and nothing else changes."""

ROOT = Path(__file__).parents[1]
VECTORS = Path(__file__).parent / "vectors"


def scaled(full: int, small: int) -> int:
    """Choose a size: ``full`` with the JIT, ``small`` without."""
    return small if SMALL else full


def vectors(name: str) -> Any:
    """Read one file of golden values."""
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


def rng(*seed: int) -> np.random.Generator:
    """Return the generator of one seeded stream."""
    return np.random.default_rng(seed)


def splitmix_stream(n: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return the first ``n`` values of SplitMix64 from seed 0: distinct keys that any language can make."""
    with np.errstate(over="ignore"):
        x = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def random_keys(seed: int, n: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return ``n`` distinct random uint64 keys."""
    keys = np.unique(rng(seed).integers(0, 2**64, n + 64, dtype=np.uint64))
    return rng(seed, 1).permutation(keys)[:n]


# ---------------------------------------------------------------------------------------------------
# The serialised form, read and written from its description alone


def take_apart(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Read the documented format: magic, header, payload."""
    assert data[:8] == b"HOTPATH\x01"
    (length,) = struct.unpack_from("<I", data, 8)
    size, checksum = struct.unpack_from("<QI", data, 12 + length)
    payload = data[12 + length + 12 :]
    assert size == len(payload)
    assert checksum == zlib.crc32(data[: 12 + length + 8] + payload)
    return json.loads(data[12 : 12 + length]), payload


def put_together(header: Any, payload: bytes) -> bytes:
    """Write the documented format around any header and payload, checksum right."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    start = b"HOTPATH\x01" + struct.pack("<I", len(text)) + text + struct.pack("<Q", len(payload))
    return start + struct.pack("<I", zlib.crc32(start + payload)) + payload


def payload(structure: Any) -> bytes:
    """Return a structure's packed state."""
    return take_apart(structure.to_bytes())[1]


# ---------------------------------------------------------------------------------------------------
# Thrift's compact protocol, as far as Parquet's metadata needs it


class Compact:
    """A reader of thrift compact structs into ``{field id: value}``."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def varint(self) -> int:
        result = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            result |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return result

    def zigzag(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def take(self, n: int) -> bytes:
        self.at += n
        return self.data[self.at - n : self.at]

    def value(self, kind: int) -> Any:
        if kind in {1, 2}:
            return kind == 1
        if kind == 3:
            return self.take(1)[0]
        if kind in {4, 5, 6}:
            return self.zigzag()
        if kind == 7:
            return struct.unpack("<d", self.take(8))[0]
        if kind == 8:
            return self.take(self.varint())
        if kind == 12:
            return self.struct()
        head = self.take(1)[0]  # 9, 10: a list or set
        size = self.varint() if head >> 4 == 15 else head >> 4
        if head & 15 in {1, 2}:
            return [byte == 1 for byte in self.take(size)]
        return [self.value(head & 15) for _ in range(size)]

    def struct(self) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        field = 0
        while head := self.take(1)[0]:
            field = field + (head >> 4) if head >> 4 else self.zigzag()
            fields[field] = self.value(head & 15)
        return fields


def parquet_filters(file: bytes) -> list[dict[str, bytes]]:
    """Return per row group the Bloom filters of a Parquet file, header and bitset, by column path."""
    (length,) = struct.unpack("<I", file[-8:-4])
    found = []
    for group in Compact(file, len(file) - 8 - length).struct()[4]:
        filters = {}
        for column in group[1]:
            meta = column[3]
            if 14 in meta:
                reader = Compact(file, meta[14])
                header = reader.struct()
                path = b".".join(meta[3]).decode()
                filters[path] = file[meta[14] : reader.at + header[1]]
        found.append(filters)
    return found


def bitset(filter_bytes: bytes) -> bytes:
    """Return the bitset behind a Parquet Bloom filter's header."""
    reader = Compact(filter_bytes)
    size = reader.struct()[1]
    return filter_bytes[reader.at : reader.at + size]


def arrow_filter(values: pa.Array, ndv: int, fpp: float, row_group: int | None = None) -> list[bytes]:
    """Let Arrow write ``values`` with a Bloom filter; return the filter of each row group."""
    sink = io.BytesIO()
    options = {"k": {"ndv": ndv, "fpp": fpp}}
    pq.write_table(pa.table({"k": values}), sink, row_group_size=row_group, bloom_filter_options=options)
    return [group["k"] for group in parquet_filters(sink.getvalue())]


def split_lengths(lengths: Sequence[int], seed: int) -> list[bytes]:
    """Return one random byte string per length."""
    stream = rng(seed)
    return [stream.bytes(n) for n in lengths]
