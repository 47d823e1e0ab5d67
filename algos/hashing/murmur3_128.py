"""MurmurHash3_x64_128: two 64-bit lanes over 16-byte blocks; ``hash128`` returns both.

Appleby 2011. The first lane is what Cassandra's tokens, Druid and Elasticsearch routing build on.
Seed 32 bits, as in the reference.

>>> from algos.hashing import hash64
>>> hash64("hello", "murmur3_128")
14688674573012802306
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U32_, U64, borrowed, load64, opaque, partial64, rotl
from algos._fastcall import INT, as_int, as_none, key_of, kind_of, known_below, size_of, text_of, word_of
from algos._jit import inlined, kernel
from algos.hashing._algorithm import Algorithm, alone

C1 = U64(0x87C37B91114253D5)
C2 = U64(0x4CF5AD432745937F)
_R27, _R31, _R33 = (U64(r) for r in (27, 31, 33))
_N8, _N15, _N16 = (U64(n) for n in (8, 15, 16))


@inlined
def fmix64(k: Any) -> Any:
    """Finish a lane: MurmurHash3's 64-bit avalanche, a bijection."""
    k = (k ^ (k >> _R33)) * U64(0xFF51AFD7ED558CCD)
    k = (k ^ (k >> _R33)) * U64(0xC4CEB9FE1A85EC53)
    return k ^ (k >> _R33)


@inlined
def _scramble1(k: Any) -> Any:
    return rotl(k * C1, _R31) * C2


@inlined
def _scramble2(k: Any) -> Any:
    return rotl(k * C2, _R33) * C1


@inlined
def _finish(h1: Any, h2: Any, n: Any) -> Any:
    h1, h2 = h1 ^ n, h2 ^ n
    h1 += h2
    h2 += h1
    h1, h2 = fmix64(h1), fmix64(h2)
    h1 += h2
    return h1, h2 + h1


@inlined
def murmur3_128(data: Any, start: Any, n: Any, seed: Any) -> Any:
    """Hash ``data[start : start + n]`` to two uint64 (uint8 array; uint64 start, length, seed)."""
    h1, h2, p, tail = seed, seed, start, start + (n & ~_N15)
    while p < tail:
        h1 ^= _scramble1(load64(data, p))
        # LLVM would make h2's sum of h1's summands, which puts a cycle into the chain from step to step.
        h1 = opaque((rotl(h1, _R27) + h2) * U64(5) + U64(0x52DCE729))
        h2 ^= _scramble2(load64(data, p + _N8))
        h2 = (rotl(h2, _R31) + h1) * U64(5) + U64(0x38495AB5)
        p += _N16
    rest = n & _N15
    if rest > _N8:
        h2 ^= _scramble2(partial64(data, p + _N8, rest - _N8))
        rest = _N8
    if rest:
        h1 ^= _scramble1(partial64(data, p, rest))
    return _finish(h1, h2, n)


@inlined
def murmur3_128_word(word: Any, seed: Any) -> Any:
    """Hash the 8 bytes of a word to the first of the two (uint64 both)."""
    return _finish(seed ^ _scramble1(word), seed, _N8)[0]


@kernel
def _words(values: Any, seed: Any, out: Any) -> None:
    s = np.uint64(seed)
    for i in range(values.size):
        out[i] = murmur3_128_word(values[i], s)


@kernel
def _text(data: Any, offsets: Any, seed: Any, out: Any) -> None:
    s, data = np.uint64(seed), borrowed(data)
    for i in range(out.size):
        start = U64(offsets[i])
        out[i] = murmur3_128(data, start, U64(offsets[i + 1]) - start, s)[0]


@alone("murmur3_128")
def _one(_me: Any, arguments: Any, _count: Any, _names: Any) -> Any:
    key, seed = key_of(arguments, 0), key_of(arguments, 1)
    if not known_below(key, seed, U32_):
        return as_none()
    s = word_of(seed)
    if kind_of(key) == INT:
        h = murmur3_128_word(word_of(key), s)
    else:
        h = murmur3_128(text_of(key), U64(0), size_of(key), s)[0]
    return as_int(h)


@kernel
def _words128(values: Any, seed: Any, out: Any) -> None:
    s = np.uint64(seed)
    for i in range(values.size):
        out[i, 0], out[i, 1] = _finish(s ^ _scramble1(values[i]), s, _N8)


@kernel
def _text128(data: Any, offsets: Any, seed: Any, out: Any) -> None:
    s, data = np.uint64(seed), borrowed(data)
    for i in range(out.shape[0]):
        start = U64(offsets[i])
        out[i, 0], out[i, 1] = murmur3_128(data, start, U64(offsets[i + 1]) - start, s)


MURMUR3_128 = Algorithm("murmur3_128", 32, _words, _text)
BOTH_LANES = Algorithm("murmur3_128", 32, _words128, _text128)
