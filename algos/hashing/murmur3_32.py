"""MurmurHash3_x86_32: the 32-bit hash of Iceberg buckets, Guava and scikit-learn's hashing trick.

Appleby 2011. 32 bits, widened to uint64 with zero upper bits; seed 32 bits. A filter over this hash
has a floor of false positives of about n / 2^32: use a 64-bit hash there.

>>> from algos.hashing import hash64
>>> hex(hash64("hello", "murmur3_32"))
'0x248bfa47'
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U32, U32_, U64, borrowed, load32, rotl32
from algos._fastcall import INT, as_int, as_none, key_of, kind_of, known_below, size_of, text_of, word_of
from algos._jit import inlined, kernel
from algos.hashing._algorithm import Algorithm, alone

C1 = U32(0xCC9E2D51)
C2 = U32(0x1B873593)
_N1, _N2, _N3, _N4 = (U64(n) for n in (1, 2, 3, 4))
_R13, _R15, _R16 = (U32(r) for r in (13, 15, 16))


@inlined
def _scramble(k: Any) -> Any:
    return U32(rotl32(U32(k * C1), _R15) * C2)


@inlined
def _mix(h: Any, k: Any) -> Any:
    return U32(rotl32(U32(h ^ _scramble(k)), _R13) * U32(5) + U32(0xE6546B64))


@inlined
def _finish(h: Any, n: Any) -> Any:
    h = U32(h ^ n)
    h = U32((h ^ (h >> _R16)) * U32(0x85EBCA6B))
    h = U32((h ^ (h >> _R13)) * U32(0xC2B2AE35))
    return U32(h ^ (h >> _R16))


@inlined
def murmur3_32(data: Any, start: Any, n: Any, seed: Any) -> Any:
    """Hash ``data[start : start + n]`` (uint8 array; uint64 start and length, uint32 seed)."""
    h, p, tail = seed, start, start + (n & ~_N3)
    while p < tail:
        h = _mix(h, load32(data, p))
        p += _N4
    rest = n & _N3
    if rest:
        k = U32(data[p])
        if rest >= _N2:
            k = U32(k | (U32(data[p + _N1]) << U32(8)))
        if rest == _N3:
            k = U32(k | (U32(data[p + _N2]) << _R16))
        h = U32(h ^ _scramble(k))
    return _finish(h, U32(n))


@inlined
def _word(x: Any, seed: Any) -> Any:
    """Hash one uint64 as its 8 bytes."""
    return _finish(_mix(_mix(seed, U32(x & U64(0xFFFFFFFF))), U32(x >> U64(32))), U32(8))


@kernel
def _words(values: Any, seed: Any, out: Any) -> None:
    s = np.uint32(seed)
    for i in range(values.size):
        out[i] = _word(values[i], s)


@kernel
def _text(data: Any, offsets: Any, seed: Any, out: Any) -> None:
    s, data = np.uint32(seed), borrowed(data)
    for i in range(out.size):
        start = U64(offsets[i])
        out[i] = murmur3_32(data, start, U64(offsets[i + 1]) - start, s)


@alone("murmur3_32")
def _one(_me: Any, arguments: Any, _count: Any, _names: Any) -> Any:
    key, seed = key_of(arguments, 0), key_of(arguments, 1)
    if not known_below(key, seed, U32_):
        return as_none()
    s = U32(word_of(seed))
    h = _word(word_of(key), s) if kind_of(key) == INT else murmur3_32(text_of(key), U64(0), size_of(key), s)
    return as_int(h)


MURMUR3_32 = Algorithm("murmur3_32", 32, _words, _text)
