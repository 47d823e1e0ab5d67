"""XXH3-128: the 128-bit hash of the xxHash specification, for content addresses and de-duplication.

Collet 2019. The length classes, secret and accumulators of XXH3-64, with both halves of the products
kept; above 240 bytes its low half is XXH3-64. Seed: 64 bits.

>>> from algos.hashing import hash128
>>> hex(hash128("abc", "xxh3"))
'0x6b05ab6733a618578af5f94892f3950'
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import M32, U32, U32_, U64, borrowed, byteswap, load32, load64, mulhi, rotl32
from algos._jit import inlined, kernel
from algos.hashing._algorithm import Algorithm
from algos.hashing.xxh3 import PRIME_MX2, WORDS, accumulate, avalanche, merge, mix16
from algos.hashing.xxh64 import P1, P2, P4
from algos.hashing.xxh64 import avalanche as xxh64_avalanche

PRIME32_2 = U64(0x85EBCA77)
_K0A, _K0B = WORDS[64] ^ WORDS[72], WORDS[80] ^ WORDS[88]
_K3A = (WORDS[0] ^ (WORDS[0] >> U32_)) & M32
_K3B = (WORDS[8] ^ (WORDS[8] >> U32_)) & M32
_K8 = WORDS[16] ^ WORDS[24]
_K16A, _K16B = WORDS[32] ^ WORDS[40], WORDS[48] ^ WORDS[56]

_N0, _N1, _N2, _N3, _N4, _N8 = (U64(n) for n in (0, 1, 2, 3, 4, 8))
_N16, _N24, _N28, _N32, _N35, _N54 = (U64(n) for n in (16, 24, 28, 32, 35, 54))
_N103, _N117, _N128, _N240 = (U64(n) for n in (103, 117, 128, 240))


@inlined
def _keyed8(x: Any, n: Any, seed: Any) -> Any:
    """Hash 4..8 bytes, given as their first and last 4 in one word."""
    value = x ^ (_K8 + (seed ^ byteswap(seed & M32)))
    factor = P1 + (n << _N2)
    low, high = value * factor, mulhi(value, factor)
    high += low << _N1
    low ^= high >> _N3
    low = (low ^ (low >> _N35)) * PRIME_MX2
    return low ^ (low >> _N28), avalanche(high)


@inlined
def _short(data: Any, start: Any, n: Any, seed: Any) -> Any:
    if n > _N8:
        first, last = load64(data, start), load64(data, start + n - _N8)
        a, b = first ^ last ^ (_K16A - seed), last ^ (_K16B + seed)
        low = a * P1 + ((n - _N1) << _N54)
        high = mulhi(a, P1) + b + (b & M32) * (PRIME32_2 - _N1)
        low ^= byteswap(high)
        return avalanche(low * P2), avalanche(mulhi(low, P2) + high * P2)
    if n >= _N4:
        return _keyed8(U64(load32(data, start)) + (U64(load32(data, start + n - _N4)) << U32_), n, seed)
    if n:
        first, middle, last = U64(data[start]), U64(data[start + (n >> _N1)]), U64(data[start + n - _N1])
        x = (first << _N16) | (middle << _N24) | last | (n << _N8)
        turned = U64(rotl32(U32(byteswap(x) >> U32_), U32(13)))
        return xxh64_avalanche(x ^ (_K3A + seed)), xxh64_avalanche(turned ^ (_K3B - seed))
    return xxh64_avalanche(seed ^ _K0A), xxh64_avalanche(seed ^ _K0B)


@inlined
def _mix32(low: Any, high: Any, data: Any, p: Any, q: Any, at: Any, seed: Any) -> Any:
    """Mix 16 bytes at ``p`` and 16 at ``q`` into the two accumulators."""
    low = (low + mix16(data, p, at, seed)) ^ (load64(data, q) + load64(data, q + _N8))
    high = (high + mix16(data, q, at + _N16, seed)) ^ (load64(data, p) + load64(data, p + _N8))
    return low, high


@inlined
def _finish(low: Any, high: Any, n: Any, seed: Any) -> Any:
    return avalanche(low + high), _N0 - avalanche(low * P1 + high * P4 + (n - seed) * P2)


@inlined
def _medium(data: Any, start: Any, n: Any, seed: Any) -> Any:
    """Hash 17..128 bytes from both ends, the innermost pair first."""
    low, high, pairs = n * P1, _N0, ((n - _N1) >> U64(5)) + _N1
    for i in range(pairs):
        at = (pairs - _N1 - U64(i)) * _N16
        low, high = _mix32(low, high, data, start + at, start + n - at - _N16, at + at, seed)
    return _finish(low, high, n, seed)


@inlined
def _long(data: Any, start: Any, n: Any, seed: Any) -> Any:
    """Hash 129..240 bytes."""
    low, high = n * P1, _N0
    for i in range(4):
        at = U64(i) * _N32
        low, high = _mix32(low, high, data, start + at, start + at + _N16, at, seed)
    low, high = avalanche(low), avalanche(high)
    for i in range(4, n // _N32):
        at = U64(i) * _N32
        low, high = _mix32(low, high, data, start + at, start + at + _N16, at - _N128 + _N3, seed)
    end = start + n
    low, high = _mix32(low, high, data, end - _N16, end - _N32, _N103, _N0 - seed)
    return _finish(low, high, n, seed)


@kernel
def _huge(data: Any, start: Any, n: Any, seed: Any) -> Any:
    acc, secret = accumulate(data, start, n, seed)
    return merge(acc, secret, U64(11), n * P1), merge(acc, secret, _N117, ~(n * P2))


@inlined
def xxh3_128(data: Any, start: Any, n: Any, seed: Any) -> Any:
    """Hash ``data[start : start + n]`` to its low and high half (uint8 array; uint64 start, length, seed)."""
    if n <= _N16:
        return _short(data, start, n, seed)
    if n <= _N128:
        return _medium(data, start, n, seed)
    if n <= _N240:
        return _long(data, start, n, seed)
    return _huge(data, start, n, seed)


@kernel
def _words(values: Any, seed: Any, out: Any) -> None:
    s = np.uint64(seed)
    for i in range(values.size):
        out[i, 0], out[i, 1] = _keyed8(values[i], _N8, s)


@kernel
def _text(data: Any, offsets: Any, seed: Any, out: Any) -> None:
    s, data = np.uint64(seed), borrowed(data)
    for i in range(out.shape[0]):
        start = U64(offsets[i])
        out[i, 0], out[i, 1] = xxh3_128(data, start, U64(offsets[i + 1]) - start, s)


XXH3_128 = Algorithm("xxh3", 64, _words, _text)
