"""The random numbers of a sampler: xoshiro256++, its state in the sampler's own array.

Blackman, Vigna: Scrambled linear pseudorandom number generators, ACM TOMS 2021. The four words of the state
are made of the seed by SplitMix64 twice, so that neighbouring seeds have nothing in common. Numbers are
drawn only where a decision is due, in the order of the stream: how a stream is cut into batches changes
nothing.
"""

from __future__ import annotations

import math
from typing import Any

from algos._bits import U1, U64, mulhi, rotl
from algos._jit import inlined, kernel
from algos.hashing.splitmix64 import GAMMA, splitmix64

WORDS = 4
"""Words of the state, the first ones of the sampler's."""
_U0, _U2, _U3, _U11, _U12, _U17, _U23, _U45 = (U64(i) for i in (0, 2, 3, 11, 12, 17, 23, 45))
_STEP = 2.0**-53


@kernel
def seeded(state: Any, seed: Any) -> None:
    """Put the four words that a seed stands for at the start of ``state``."""
    base = splitmix64(seed, _U0)
    for i in range(U64(WORDS)):
        state[i] = splitmix64(base, i * GAMMA)


@inlined
def draw(state: Any) -> Any:
    """Return the next random word."""
    s0, s1, s2, s3 = state[_U0], state[U1], state[_U2], state[_U3]
    word = rotl(s0 + s3, _U23) + s0
    t = s1 << _U17
    s2 ^= s0
    s3 ^= s1
    state[U1] = s1 ^ s2
    state[_U0] = s0 ^ s3
    state[_U2] = s2 ^ t
    state[_U3] = rotl(s3, _U45)
    return word


@inlined
def uniform(state: Any) -> Any:
    """Draw from (0, 1): an odd multiple of 2^-54, so that neither end ever comes."""
    return (float(draw(state) >> _U11) + 0.5) * _STEP


@inlined
def exponential(state: Any) -> Any:
    """Draw from the exponential distribution of mean 1, above 0."""
    return -math.log(uniform(state))


@inlined
def below(state: Any, n: Any) -> Any:
    """Draw a uint64 in ``[0, n)``, each with the same chance.

    Lemire: Fast random integer generation in an interval, 2019: a product's upper word, the lower one telling
    the few draws that would favour some.
    """
    word = draw(state)
    low = word * n
    if low < n:
        least = (_U0 - n) % n
        while low < least:
            word = draw(state)
            low = word * n
    return mulhi(word, n)
