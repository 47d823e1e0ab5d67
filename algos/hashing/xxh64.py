"""XXH64: the 64-bit hash of the xxHash specification, and the hash of Parquet's Bloom filters.

Collet 2014. Four accumulators over 32-byte stripes, then 8-, 4- and 1-byte tails, then an avalanche.
Seed: 64 bits. Five multiplies for an 8-byte key, which AVX2 cannot vectorise: for structures that
need no standard hash, XXH3 is as good and faster there.

>>> from algos.hashing import hash64
>>> hex(hash64("abc", "xxh64"))
'0x44bc2cf5ad770999'
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U63, U64, borrowed, load32, load64, rotl
from algos._fastcall import INT, as_int, as_none, key_of, kind_of, known_below, size_of, text_of, word_of
from algos._jit import inlined, kernel
from algos.hashing._algorithm import Algorithm, alone

P1 = U64(0x9E3779B185EBCA87)
P2 = U64(0xC2B2AE3D27D4EB4F)
P3 = U64(0x165667B19E3779F9)
P4 = U64(0x85EBCA77C2B2AE63)
P5 = U64(0x27D4EB2F165667C5)
_R1, _R7, _R11, _R12, _R18, _R23, _R27, _R31 = (U64(r) for r in (1, 7, 11, 12, 18, 23, 27, 31))
_N1, _N4, _N8, _N16, _N24, _N32 = (U64(n) for n in (1, 4, 8, 16, 24, 32))


@inlined
def _round(accumulator: Any, lane: Any) -> Any:
    return rotl(accumulator + lane * P2, _R31) * P1


@inlined
def _merge(h: Any, accumulator: Any) -> Any:
    return (h ^ _round(U64(0), accumulator)) * P1 + P4


@inlined
def avalanche(h: Any) -> Any:
    """Finish a hash: every input bit reaches every output bit."""
    h = (h ^ (h >> U64(33))) * P2
    h = (h ^ (h >> U64(29))) * P3
    return h ^ (h >> U64(32))


@inlined
def _tail8(h: Any, lane: Any) -> Any:
    return rotl(h ^ _round(U64(0), lane), _R27) * P1 + P4


@inlined
def _tail4(h: Any, lane: Any) -> Any:
    return rotl(h ^ (lane * P1), _R23) * P2 + P3


@inlined
def _stripes(data: Any, start: Any, end: Any, seed: Any) -> Any:
    v1, v2, v3, v4 = seed + P1 + P2, seed + P2, seed, seed - P1
    p = start
    while p + _N32 <= end:
        v1 = _round(v1, load64(data, p))
        v2 = _round(v2, load64(data, p + _N8))
        v3 = _round(v3, load64(data, p + _N16))
        v4 = _round(v4, load64(data, p + _N24))
        p += _N32
    h = rotl(v1, _R1) + rotl(v2, _R7) + rotl(v3, _R12) + rotl(v4, _R18)
    return p, _merge(_merge(_merge(_merge(h, v1), v2), v3), v4)


@inlined
def xxh64(data: Any, start: Any, n: Any, seed: Any) -> Any:
    """Hash ``data[start : start + n]`` (uint8 array; uint64 start, length and seed)."""
    p, end, h = start, start + n, seed + P5
    if n >= _N32:
        p, h = _stripes(data, start, end, seed)
    h += n
    while p + _N8 <= end:
        h = _tail8(h, load64(data, p))
        p += _N8
    if p + _N4 <= end:
        h = _tail4(h, U64(load32(data, p)))
        p += _N4
    while p < end:
        h = rotl(h ^ (U64(data[p]) * P5), _R11) * P1
        p += _N1
    return avalanche(h)


@inlined
def xxh64_word(value: Any, seed: Any) -> Any:
    """Hash a uint64 as its 8 little-endian bytes."""
    return avalanche(_tail8(seed + P5 + _N8, value))


@inlined
def xxh64_word32(value: Any, seed: Any) -> Any:
    """Hash a uint64 below 2^32 as 4 bytes."""
    return avalanche(_tail4(seed + P5 + _N4, value))


@kernel
def _words(values: Any, seed: Any, out: Any) -> None:
    s = np.uint64(seed)
    for i in range(values.size):
        out[i] = xxh64_word(values[i], s)


@kernel
def words32(values: Any, seed: Any, out: Any) -> None:
    """Hash uint32 values as their 4 little-endian bytes (Parquet's int32 and float)."""
    s = np.uint64(seed)
    for i in range(values.size):
        out[i] = xxh64_word32(U64(values[i]), s)


@kernel
def _text(data: Any, offsets: Any, seed: Any, out: Any) -> None:
    s, data = np.uint64(seed), borrowed(data)
    for i in range(out.size):
        start = U64(offsets[i])
        out[i] = xxh64(data, start, U64(offsets[i + 1]) - start, s)


@inlined
def xxh64_alone(key: Any, seed: Any) -> Any:
    """Hash the known key of a scalar call as batches are, by a uint64 seed."""
    if kind_of(key) == INT:
        return xxh64_word(word_of(key), seed)
    return xxh64(text_of(key), U64(0), size_of(key), seed)


@alone("xxh64")
def _one(_me: Any, arguments: Any, _count: Any, _names: Any) -> Any:
    key, seed = key_of(arguments, 0), key_of(arguments, 1)
    if not known_below(key, seed, U63):
        return as_none()
    return as_int(xxh64_alone(key, word_of(seed)))


XXH64 = Algorithm("xxh64", 64, _words, _text)
