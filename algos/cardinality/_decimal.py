"""MurmurHash64A of integers as decimal text, which is made in registers and never stored.

Eight digits are a word, the first in its lowest byte, as they would be loaded from memory: fours, pairs and
single digits are split off in all lanes at once.
"""

from __future__ import annotations

from typing import Any

from algos._bits import U1, U3, U8, U16, U32_, U63, U64, trailing_zeros
from algos._jit import inlined, kernel
from algos.hashing.murmur64a import M, murmur64a_end, murmur64a_mix

_U0, _E4, _E8 = U64(0), U64(10**4), U64(10**8)
_ASCII = U64(0x3030303030303030)
_MINUS, _SIGN_SHIFT = U64(ord("-")), U64(56)
_HUNDREDTH, _BY_100, _EVERY_32 = U64(5243), U64(19), U64(0x0000007F_0000007F)
_TENTH, _BY_10, _EVERY_16 = U64(103), U64(10), U64(0x000F000F000F000F)


@inlined
def _digits(v: Any) -> Any:
    """Return the eight digits of a number below 10^8, a byte each."""
    high = v // _E4
    v = high | ((v - high * _E4) << U32_)
    high = ((v * _HUNDREDTH) >> _BY_100) & _EVERY_32
    v = high | ((v - high * U64(100)) << U16)
    high = ((v * _TENTH) >> _BY_10) & _EVERY_16
    return high | ((v - high * U64(10)) << U8)


@inlined
def decimal_hash(word: Any, negative: Any, seed: Any) -> Any:
    """Hash an int's decimal text: of a uint64, or of an int64 below 0 (MurmurHash64A)."""
    v = _U0 - word if negative else word
    # Three words of text, and how many of their bytes, all zeros, come before the first digit.
    upper = v // _E8
    first, second, third = _U0, _U0, _digits(v - upper * _E8)
    if upper == _U0:
        before = U16 + min(trailing_zeros(third) >> U3, U64(7))
    else:
        top = upper // _E8
        second = _digits(upper - top * _E8)
        if top == _U0:
            before = U8 + (trailing_zeros(second) >> U3)
        else:
            first = _digits(top)
            before = trailing_zeros(first) >> U3
    first, second, third = first + _ASCII, second + _ASCII, third + _ASCII
    if negative:
        before -= U1
        bits = (before & U64(7)) << U3
        minus = (_ASCII & U64(0xFF)) ^ _MINUS
        if before < U8:
            first ^= minus << bits
        elif before < U16:
            second ^= minus << bits
        else:
            third ^= minus << bits
    size = U64(24) - before
    h = seed ^ (size * M)
    shift = (before & U64(7)) << U3
    # Shifted by 64 a word keeps its bits; so in two steps, the first of which is by 63 at most.
    back = U63 - shift
    if before >= U16:
        a, b, c = third >> shift, _U0, _U0
    elif before >= U8:
        a, b, c = (second >> shift) | ((third << back) << U1), third >> shift, _U0
    else:
        a = (first >> shift) | ((second << back) << U1)
        b, c = (second >> shift) | ((third << back) << U1), third >> shift
    left = size
    if left >= U8:
        h = murmur64a_mix(h, a)
        a, b, left = b, c, left - U8
    if left >= U8:
        h = murmur64a_mix(h, a)
        a, left = b, left - U8
    if left != _U0:
        h = (h ^ a) * M
    return murmur64a_end(h)


@kernel
def decimal_hashes(words: Any, signed: Any, seed: Any, out: Any) -> None:
    """Hash the decimal texts of integers, whose highest bit is a sign if they are signed."""
    for i in range(U64(words.size)):
        out[i] = decimal_hash(words[i], signed and words[i] >> U63 != _U0, seed)
