"""The compact theta sketch of Apache DataSketches as bytes.

Its format is described with the library's sources (theta sketch, serial versions 1 to 4). Little-endian:

======== ===============================================================
bytes    meaning
======== ===============================================================
1        size of what precedes the hashes, in 8-byte longs
1        serial version: 3
1        type: 3, a compact sketch
2        0
1        flags: 2 read-only, 4 empty, 8 compact, 16 hashes rise
2        hash of the seed
4, 4     number of hashes, 0; not where there is one or none
8        theta, where hashes are missing
8 each   hashes
======== ===============================================================

Version 4 has, instead, in the fourth and fifth byte the bits of a difference and the bytes of the number of
hashes; theta, if it has one; the number of hashes; and their differences, highest bit first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos.errors import CorruptDataError
from algos.hashing.batch import hash64

MAX_THETA = (1 << 63) - 1
COMPACT_SKETCH = 3
READ_ONLY, EMPTY, COMPACT, ORDERED = 2, 4, 8, 16


def seed_hash(seed: int) -> int:
    """Return the 16 bits by which sketches of different seeds are told apart."""
    return hash64(seed.to_bytes(8, "little"), "murmur3_128") & 0xFFFF


def write_compact(theta: int, hashes: Any, empty: bool, seed: int) -> bytes:
    """Serialise rising hashes below ``theta``."""
    longs = 3 if theta < MAX_THETA else 2 if len(hashes) > 1 else 1
    flags = READ_ONLY | COMPACT | ORDERED | (EMPTY if empty else 0)
    start = bytes((longs, 3, COMPACT_SKETCH, 0, 0, flags)) + seed_hash(seed).to_bytes(2, "little")
    if longs > 1:
        start += len(hashes).to_bytes(8, "little")
    if longs > 2:
        start += theta.to_bytes(8, "little")
    return start + hashes.astype("<u8", copy=False).tobytes()


class _Bytes:
    """A reader that refuses to read beyond the end."""

    __slots__ = ("_at", "_view")

    def __init__(self, data: Any) -> None:
        self._view, self._at = memoryview(data).cast("B"), 0

    def take(self, n: int) -> memoryview:
        if self._at + n > len(self._view):
            raise CorruptDataError(f"truncated: {len(self._view)} bytes, of {self._at + n} or more")
        self._at += n
        return self._view[self._at - n : self._at]

    def integer(self, n: int) -> int:
        return int.from_bytes(self.take(n), "little")

    def hashes(self, n: int) -> Any:
        return np.frombuffer(self.take(8 * n), "<u8").astype(np.uint64)


def read_compact(data: Any, seed: int) -> tuple[int, Any, bool]:
    """Return theta, the rising hashes, and whether the sketch is empty; bytes after them are ignored."""
    source = _Bytes(data)
    longs, version, kind, three, four, flags = source.take(6)
    found = source.integer(2)
    longs &= 0x3F  # above it are bits of other kinds of sketches
    if kind != COMPACT_SKETCH:
        raise CorruptDataError(
            f"sketch type {kind} is not {COMPACT_SKETCH}, a compact theta sketch: compact it"
        )
    if version > 1 and found != seed_hash(seed):
        raise CorruptDataError(f"seed hash {found:#06x} is not of seed={seed}; give the one it was made with")
    if version == 4:
        return _read_compressed(source, longs, three, four)
    if version not in {1, 2, 3} or longs not in {1, 2, 3}:
        raise CorruptDataError(f"serial version {version} with {longs} longs is unknown")
    if version == 3 and flags & EMPTY:
        return MAX_THETA, np.empty(0, np.uint64), True
    theta, count = MAX_THETA, 1 if version == 3 else 0
    if longs > 1 or version == 1:
        count = source.integer(8) & 0xFFFF_FFFF
    if longs > 2 or version == 1:
        theta = source.integer(8)
    hashes = source.hashes(count)
    if not flags & ORDERED or version < 3:
        hashes = np.sort(hashes)
    return _checked(theta, hashes, version < 3 and not count and theta == MAX_THETA)


def _checked(theta: int, hashes: Any, empty: bool) -> tuple[int, Any, bool]:
    if not 0 < theta <= MAX_THETA:
        raise CorruptDataError(f"theta64={theta} is outside 1..2**63 - 1")
    return theta, hashes, empty


def _read_compressed(source: _Bytes, longs: int, width: int, bytes_of_count: int) -> tuple[int, Any, bool]:
    """Read the differences of version 4."""
    if not 1 <= width <= 63 or not 1 <= bytes_of_count <= 4 or longs not in {1, 2}:
        raise CorruptDataError(
            f"{width} bits each, a number of {bytes_of_count} bytes, {longs} longs: unknown"
        )
    theta = source.integer(8) if longs == 2 else MAX_THETA
    count = source.integer(bytes_of_count)
    packed = np.frombuffer(source.take(-(-count * width // 8)), np.uint8)
    differences = np.zeros(count, np.uint64)
    bits = np.unpackbits(packed, count=count * width).reshape(count, width)
    for column in range(width):
        differences = (differences << np.uint64(1)) | bits[:, column]
    hashes = np.cumsum(differences, dtype=np.uint64)
    return _checked(theta, hashes, False)
