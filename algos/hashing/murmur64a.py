"""MurmurHash64A: the 64-bit MurmurHash2, which Redis counts distinct keys with.

Appleby 2008. One multiply-and-shift lane of 8-byte words. Seed: 64 bits; Redis's is ``0xadc83b19``.
Superseded by MurmurHash3 everywhere but in formats that began with it.

>>> from algos.hashing import hash64
>>> hex(hash64("hello", "murmur64a"))
'0x1e68d17c457bf117'
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U63, U64, borrowed, load64, partial64
from algos._fastcall import INT, as_int, as_none, key_of, kind_of, known_below, size_of, text_of, word_of
from algos._jit import inlined, kernel
from algos.hashing._algorithm import Algorithm, alone

M = U64(0xC6A4A7935BD1E995)
R = U64(47)
_N7, _N8 = U64(7), U64(8)


@inlined
def murmur64a_mix(h: Any, word: Any) -> Any:
    """Take 8 bytes, a word, into a state."""
    k = word * M
    k = (k ^ (k >> R)) * M
    return (h ^ k) * M


@inlined
def murmur64a_end(h: Any) -> Any:
    """Return the hash that a state is."""
    h = (h ^ (h >> R)) * M
    return h ^ (h >> R)


@inlined
def murmur64a(data: Any, start: Any, n: Any, seed: Any) -> Any:
    """Hash ``data[start : start + n]`` (uint8 array; uint64 start, length and seed)."""
    h, p, tail = seed ^ (n * M), start, start + (n & ~_N7)
    while p < tail:
        h = murmur64a_mix(h, load64(data, p))
        p += _N8
    rest = n & _N7
    if rest:
        h = (h ^ partial64(data, p, rest)) * M
    return murmur64a_end(h)


@kernel
def _words(values: Any, seed: Any, out: Any) -> None:
    start = np.uint64(seed) ^ (_N8 * M)
    for i in range(values.size):
        out[i] = murmur64a_end(murmur64a_mix(start, values[i]))


@kernel
def _text(data: Any, offsets: Any, seed: Any, out: Any) -> None:
    s, data = np.uint64(seed), borrowed(data)
    for i in range(out.size):
        start = U64(offsets[i])
        out[i] = murmur64a(data, start, U64(offsets[i + 1]) - start, s)


@alone("murmur64a")
def _one(_me: Any, arguments: Any, _count: Any, _names: Any) -> Any:
    key, seed = key_of(arguments, 0), key_of(arguments, 1)
    if not known_below(key, seed, U63):
        return as_none()
    s = word_of(seed)
    if kind_of(key) == INT:
        h = murmur64a_end(murmur64a_mix(s ^ (_N8 * M), word_of(key)))
    else:
        h = murmur64a(text_of(key), U64(0), size_of(key), s)
    return as_int(h)


MURMUR64A = Algorithm("murmur64a", 64, _words, _text)
