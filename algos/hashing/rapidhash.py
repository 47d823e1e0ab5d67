"""rapidhash V3: one wide multiply for every 16 bytes, the fastest hash that needs no vector unit.

De Carli 2025, after Wang Yi's wyhash; version 3 of the reference in its plain form (neither micro nor
nano, default secret). Versions differ in every digest, so the version belongs to the name. Seed: 64 bits.
For 8-byte keys in batches XXH3 is faster, since vector units have no wide multiply.

>>> from algos.hashing import hash64
>>> hash64("hello", "rapidhash")
3327445792987248966
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U63, U64, borrowed, load32, load64, mulhi
from algos._fastcall import INT, as_int, as_none, key_of, kind_of, known_below, size_of, text_of, word_of
from algos._jit import inlined, kernel
from algos.hashing._algorithm import Algorithm, alone

S0, S1, S2, S3, S4, S5, S6, S7 = (
    U64(s)
    for s in (
        *(0x2D358DCCAA6C78A5, 0x8BB84B93962EACC9, 0x4B33A62ED433D4A3, 0x4D5A2DA51DE1AA47),
        *(0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x90ED1765281C388C, 0xAAAAAAAAAAAAAAAA),
    )
)
_N0, _N1, _N4, _N8, _N16, _N32, _N45 = (U64(n) for n in (0, 1, 4, 8, 16, 32, 45))
_N48, _N64, _N80, _N96, _N112 = (U64(n) for n in (48, 64, 80, 96, 112))


@inlined
def _mix(a: Any, b: Any) -> Any:
    return (a * b) ^ mulhi(a, b)


@inlined
def _mix16(data: Any, p: Any, secret: Any, seed: Any) -> Any:
    return _mix(load64(data, p) ^ secret, load64(data, p + _N8) ^ seed)


@inlined
def _seeded(seed: Any) -> Any:
    return seed ^ _mix(seed ^ S2, S1)


@inlined
def _finish(a: Any, b: Any, seed: Any, n: Any) -> Any:
    a, b = a ^ S1, b ^ seed
    return _mix((a * b) ^ S7, mulhi(a, b) ^ S1 ^ n)


@inlined
def _short(data: Any, start: Any, n: Any, seed: Any) -> Any:
    """Hash up to 16 bytes: two overlapping words of 8 or 4, or three single bytes."""
    if n >= _N8:
        return _finish(load64(data, start), load64(data, start + n - _N8), seed ^ n, n)
    if n >= _N4:
        return _finish(U64(load32(data, start)), U64(load32(data, start + n - _N4)), seed ^ n, n)
    if n:
        ends = (U64(data[start]) << _N45) | U64(data[start + n - _N1])
        return _finish(ends, U64(data[start + (n >> _N1)]), seed, n)
    return _finish(_N0, _N0, seed, n)


@inlined
def _wide(data: Any, p: Any, n: Any, seed: Any) -> Any:
    """Take 112 bytes at a time in seven lanes until 112 or fewer are left."""
    a = b = c = d = e = f = g = seed
    while n > _N112:
        a = _mix16(data, p, S0, a)
        b = _mix16(data, p + _N16, S1, b)
        c = _mix16(data, p + _N32, S2, c)
        d = _mix16(data, p + _N48, S3, d)
        e = _mix16(data, p + _N64, S4, e)
        f = _mix16(data, p + _N80, S5, f)
        g = _mix16(data, p + _N96, S6, g)
        p, n = p + _N112, n - _N112
    return p, n, (a ^ b) ^ (c ^ d) ^ (e ^ f) ^ g


@inlined
def _long(data: Any, p: Any, n: Any, seed: Any) -> Any:
    """Hash more than 16 bytes; what the length is mixed in as is what the lanes have left."""
    if n > _N112:
        p, n, seed = _wide(data, p, n, seed)
    if n > _N16:
        seed = _mix16(data, p, S2, seed)
    if n > _N32:
        seed = _mix16(data, p + _N16, S2, seed)
    if n > _N48:
        seed = _mix16(data, p + _N32, S1, seed)
    if n > _N64:
        seed = _mix16(data, p + _N48, S1, seed)
    if n > _N80:
        seed = _mix16(data, p + _N64, S2, seed)
    if n > _N96:
        seed = _mix16(data, p + _N80, S1, seed)
    return _finish(load64(data, p + n - _N16) ^ n, load64(data, p + n - _N8), seed, n)


@inlined
def rapidhash(data: Any, start: Any, n: Any, seeded: Any) -> Any:
    """Hash ``data[start : start + n]``; ``seeded`` is the seed after its own mixing."""
    if n <= _N16:
        return _short(data, start, n, seeded)
    return _long(data, start, n, seeded)


@kernel
def _words(values: Any, seed: Any, out: Any) -> None:
    s = _seeded(np.uint64(seed)) ^ _N8
    for i in range(values.size):
        out[i] = _finish(values[i], values[i], s, _N8)


@kernel
def _text(data: Any, offsets: Any, seed: Any, out: Any) -> None:
    s, data = _seeded(np.uint64(seed)), borrowed(data)
    for i in range(out.size):
        start = U64(offsets[i])
        out[i] = rapidhash(data, start, U64(offsets[i + 1]) - start, s)


@alone("rapidhash")
def _one(_me: Any, arguments: Any, _count: Any, _names: Any) -> Any:
    key, seed = key_of(arguments, 0), key_of(arguments, 1)
    if not known_below(key, seed, U63):
        return as_none()
    s = _seeded(word_of(seed))
    if kind_of(key) == INT:
        h = _finish(word_of(key), word_of(key), s ^ _N8, _N8)
    else:
        h = rapidhash(text_of(key), U64(0), size_of(key), s)
    return as_int(h)


RAPIDHASH = Algorithm("rapidhash", 64, _words, _text)
