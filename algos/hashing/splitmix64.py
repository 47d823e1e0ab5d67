"""SplitMix64: the finaliser of Java's SplittableRandom, a bijection of 64-bit words.

Steele, Lea, Flood 2014 (Stafford's variant 13). ``hash(x) = mix(x + seed + golden gamma)``, so that
hashing 0, gamma, 2 gamma, ... with seed 0 gives the generator's published stream. For integers
only: it takes 8 bytes, two multiplies, no collisions. Good for spreading ids; not a text hash.

>>> from algos.hashing import hash64
>>> hex(hash64(0, "splitmix64"))
'0xe220a8397b1dcdaf'
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U63, U64
from algos._fastcall import INT, as_int, as_none, key_of, kind_of, known_below, word_of
from algos._jit import inlined, kernel
from algos.hashing._algorithm import Algorithm, alone

GAMMA = U64(0x9E3779B97F4A7C15)


@inlined
def splitmix64(x: Any, seed: Any) -> Any:
    """Hash one uint64."""
    z = x + seed + GAMMA
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return z ^ (z >> U64(31))


@kernel
def _words(values: Any, seed: Any, out: Any) -> None:
    s = np.uint64(seed)
    for i in range(values.size):
        out[i] = splitmix64(values[i], s)


@alone("splitmix64")
def _one(_me: Any, arguments: Any, _count: Any, _names: Any) -> Any:
    key, seed = key_of(arguments, 0), key_of(arguments, 1)
    if not known_below(key, seed, U63) or kind_of(key) != INT:
        return as_none()
    return as_int(splitmix64(word_of(key), word_of(seed)))


SPLITMIX64 = Algorithm("splitmix64", 64, _words, None)
