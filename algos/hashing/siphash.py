"""SipHash-2-4 and SipHash-1-3: keyed hashes that crafted keys cannot collide without the key.

Aumasson, Bernstein 2012. 2-4 is the paper's; 1-3 (one round a word, three at the end) is what CPython
and Rust hash their tables with. The key has 128 bits and is little-endian, as in the reference: as a
``seed`` it is ``int.from_bytes(key, "little")``. A secret random key is the answer to hostile input,
and the only difference to a fast hash that matters there.

>>> from algos.hashing import hash64
>>> key = int.from_bytes(bytes(range(16)), "little")
>>> hex(hash64(b"", "siphash24", seed=key)), hex(hash64(b"", "siphash13", seed=key))
('0x726fdb47dd0e0e31', '0xabac0158050fc4dc')
"""

from __future__ import annotations

from typing import Any

from numba import types

from algos._bits import U1, U64, borrowed, load64, partial64, rotl
from algos._fastcall import INT, NONE, as_int, as_none, key_of, kind_of, size_of, text_of, wide_of, word_of
from algos._jit import inlined, kernel, primitive
from algos.hashing._algorithm import Algorithm, alone
from algos.hashing._siplanes import LANES, START, emit

SHORT = 256
"""Bytes of a text, in the mean of some, up to which they are hashed side by side."""
V0, V1, V2, V3 = (U64(v) for v in START)
_R13, _R16, _R17, _R21, _R32 = (U64(r) for r in (13, 16, 17, 21, 32))
_N7, _N8, _N56, _END = (U64(n) for n in (7, 8, 56, 0xFF))


@inlined
def _round(a: Any, b: Any, c: Any, d: Any) -> Any:
    a, c = a + b, c + d
    b, d = rotl(b, _R13) ^ a, rotl(d, _R16) ^ c
    a, c = rotl(a, _R32) + d, c + b
    return a, rotl(b, _R17) ^ c, rotl(c, _R32), rotl(d, _R21) ^ a


@inlined
def _rounds(count: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    for _ in range(count):
        a, b, c, d = _round(a, b, c, d)
    return a, b, c, d


@inlined
def _absorb(count: Any, word: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    a, b, c, d = _rounds(count, a, b, c, d ^ word)
    return a ^ word, b, c, d


@inlined
def _finish(count: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    a, b, c, d = _rounds(count, a, b, c ^ _END, d)
    return a ^ b ^ c ^ d


@inlined
def siphash(data: Any, start: Any, n: Any, key: Any, rounds: Any, last: Any) -> Any:
    """Hash ``data[start : start + n]`` with ``rounds`` a word and ``last`` at the end (key: uint64[2])."""
    a, b, c, d = V0 ^ key[0], V1 ^ key[1], V2 ^ key[0], V3 ^ key[1]
    p, tail = start, start + (n & ~_N7)
    while p < tail:
        a, b, c, d = _absorb(rounds, load64(data, p), a, b, c, d)
        p += _N8
    rest = partial64(data, p, n & _N7) | (n << _N56)
    a, b, c, d = _absorb(rounds, rest, a, b, c, d)
    return _finish(last, a, b, c, d)


@inlined
def siphash_word(x: Any, key: Any, rounds: Any, last: Any) -> Any:
    """Hash one uint64 as its 8 bytes."""
    a, b, c, d = V0 ^ key[0], V1 ^ key[1], V2 ^ key[0], V3 ^ key[1]
    a, b, c, d = _absorb(rounds, x, a, b, c, d)
    a, b, c, d = _absorb(rounds, _N8 << _N56, a, b, c, d)
    return _finish(last, a, b, c, d)


@kernel
def _words24(values: Any, key: Any, out: Any) -> None:
    for i in range(values.size):
        out[i] = siphash_word(values[i], key, 2, 4)


@kernel
def _words13(values: Any, key: Any, out: Any) -> None:
    for i in range(values.size):
        out[i] = siphash_word(values[i], key, 1, 3)


def _lanes(rounds: int, last: int) -> Any:
    """Make what hashes ``LANES`` texts at a time, of which none ends in the first eight bytes of the data."""

    def twin(data: Any, offsets: Any, at: Any, low: Any, high: Any, out: Any) -> None:
        for i in range(int(at), int(at) + LANES):
            start = U64(offsets[i])
            out[i] = siphash(data, start, U64(offsets[i + 1]) - start, (low, high), rounds, last)

    @primitive(twin)
    def hashed(typingctx: Any, data: Any, offsets: Any, at: Any, low: Any, high: Any, out: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return emit(context, builder, signature, args, rounds, last)

        return types.void(data, offsets, types.uint64, types.uint64, types.uint64, out), codegen

    return hashed


_lanes24, _lanes13 = _lanes(2, 4), _lanes(1, 3)


@inlined
def _side_by_side(offsets: Any, i: Any, n: Any) -> Any:
    """Tell whether texts from ``i`` on may be hashed together: there are enough, and none of them is long."""
    if i + U64(LANES) > n:
        return False
    return (offsets[i + U1] >= 8) & (offsets[i + U64(LANES)] - offsets[i] <= LANES * SHORT)


@kernel
def _text24(data: Any, offsets: Any, key: Any, out: Any) -> None:
    data, offsets, out = borrowed(data), borrowed(offsets), borrowed(out)
    i, n, low, high = U64(0), U64(out.size), key[0], key[1]
    while i < n:
        if _side_by_side(offsets, i, n):
            _lanes24(data, offsets, i, low, high, out)
            i += U64(LANES)
        else:
            start = U64(offsets[i])
            out[i] = siphash(data, start, U64(offsets[i + U1]) - start, (low, high), 2, 4)
            i += U1


@kernel
def _text13(data: Any, offsets: Any, key: Any, out: Any) -> None:
    data, offsets, out = borrowed(data), borrowed(offsets), borrowed(out)
    i, n, low, high = U64(0), U64(out.size), key[0], key[1]
    while i < n:
        if _side_by_side(offsets, i, n):
            _lanes13(data, offsets, i, low, high, out)
            i += U64(LANES)
        else:
            start = U64(offsets[i])
            out[i] = siphash(data, start, U64(offsets[i + U1]) - start, (low, high), 1, 3)
            i += U1


@inlined
def _siphash_alone(arguments: Any, rounds: Any, last: Any) -> Any:
    key, (low, high, valid) = key_of(arguments, 0), wide_of(arguments, 1)
    if (kind_of(key) == NONE) | (valid == U64(0)):
        return as_none()
    if kind_of(key) == INT:
        return as_int(siphash_word(word_of(key), (low, high), rounds, last))
    return as_int(siphash(text_of(key), U64(0), size_of(key), (low, high), rounds, last))


@alone("siphash24")
def _one24(_me: Any, arguments: Any, _count: Any, _names: Any) -> Any:
    return _siphash_alone(arguments, 2, 4)


@alone("siphash13")
def _one13(_me: Any, arguments: Any, _count: Any, _names: Any) -> Any:
    return _siphash_alone(arguments, 1, 3)


SIPHASH24 = Algorithm("siphash24", 128, _words24, _text24)
SIPHASH13 = Algorithm("siphash13", 128, _words13, _text13)
