"""XXH3-64: the xxHash specification's modern 64-bit hash, default secret; the house hash of Hotpath.

Collet 2019. Length classes 0, 1-3, 4-8, 9-16, 17-128, 129-240 and above; the last runs eight
accumulators over 64-byte stripes. Seed: 64 bits. Two multiplies for an 8-byte key and no data-dependent
branch, so that integer batches vectorise on AVX2 and AVX-512 alike.

>>> from algos.hashing import hash64
>>> hex(hash64("abc"))
'0x78af5f94892f3950'
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from algos._bits import (
    M32,
    U32_,
    U63,
    U64,
    borrowed,
    byteswap,
    item_pointer,
    load32,
    load64,
    mulhi,
    rotl,
    spread,
    store64,
)
from algos._fastcall import INT, as_int, as_none, key_of, kind_of, known_below, size_of, text_of, word_of
from algos._jit import inlined, kernel, primitive
from algos.hashing._algorithm import Algorithm, alone
from algos.hashing._sorted import BLOCK, ROWS, SPAN, fetch, length_of, mixed, row, shifts_of, sort
from algos.hashing.xxh64 import P1, P2, P3, P4, P5
from algos.hashing.xxh64 import avalanche as xxh64_avalanche

SECRET = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
        "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
        "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
        "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
    ),
    np.uint8,
)
assert SECRET.size == 192  # one lost byte would pass every test below 65 bytes

WORDS = np.array([int.from_bytes(SECRET[i : i + 8].tobytes(), "little") for i in range(185)], np.uint64)
"""The secret as a little-endian word from every byte position."""

_K0 = WORDS[56] ^ WORDS[64]
_K3 = (WORDS[0] ^ (WORDS[0] >> U64(32))) & U64(0xFFFFFFFF)
_K8 = WORDS[8] ^ WORDS[16]
_K16A, _K16B = WORDS[24] ^ WORDS[32], WORDS[40] ^ WORDS[48]
_AHEAD = 768
"""How many words ahead a batch is fetched, beyond its end as well, where the next chunk is: 512..1024 measure
alike, and without it L3 and memory take a seventh longer."""
_CHUNK = U64(8192)
"""Hashes that are consumed from L2, over and over in the same place, which need no fetching."""
_SHIFTS = shifts_of(3, 8, 16, 32, 64, 96, 128)
_PRIME32_1 = U64(0x9E3779B1)
_PRIME_MX1 = U64(0x165667919E3779F9)
PRIME_MX2 = U64(0x9FB21C651E98DF25)
_START = np.array([0xC2B2AE3D, P1, P2, P3, P4, 0x85EBCA77, P5, 0x9E3779B1], np.uint64)

_N0, _N1, _N3, _N4, _N8, _N11, _N16 = (U64(n) for n in (0, 1, 3, 4, 8, 11, 16))
_N32, _N48, _N64, _N96, _N128, _N144, _N160, _N240 = (U64(n) for n in (32, 48, 64, 96, 128, 144, 160, 240))
_BLOCK, _SCRAMBLE_AT, _LAST_AT = U64(1024), U64(128), 121
_R24, _R28, _R35, _R37, _R47, _R49 = (U64(r) for r in (24, 28, 35, 37, 47, 49))


@inlined
def _fold(a: Any, b: Any) -> Any:
    return (a * b) ^ mulhi(a, b)


@inlined
def avalanche(h: Any) -> Any:
    """Finish all but the short lengths."""
    h = (h ^ (h >> _R37)) * _PRIME_MX1
    return h ^ (h >> U32_)


@inlined
def _finish8(x: Any, n: Any) -> Any:
    x ^= rotl(x, _R49) ^ rotl(x, _R24)
    x *= PRIME_MX2
    x ^= (x >> _R35) + n
    x *= PRIME_MX2
    return x ^ (x >> _R28)


@inlined
def xxh3_key(seed: Any) -> Any:
    """Return what an 8-byte input is XORed with, secret and seed in one."""
    swapped = byteswap(seed & M32)  # the low half's bytes reversed, already shifted into the upper half
    return _K8 - (seed ^ swapped)


@inlined
def xxh3_word(x: Any, key: Any) -> Any:
    """Hash one uint64 as its 8 bytes; ``key`` is ``xxh3_key(seed)``."""
    return _finish8(((x >> U32_) + (x << U32_)) ^ key, _N8)


def _turned(x: Any, r: int) -> Any:
    return (x << U64(r)) | (x >> U64(64 - r))


def xxh3_word_of(hashes: Any, seed: int) -> Any:
    """Return the words (uint64[n]) that have these hashes: of 8 bytes the hash is a bijection.

    Of ``x ^ rotl(x, 24) ^ rotl(x, 49)``, a polynomial of three terms over a ring of 64, the 64th power is the
    identity, so its inverse is the 63rd.
    """
    inverse = U64(pow(int(PRIME_MX2), -1, 1 << 64))
    x = (hashes ^ (hashes >> _R28) ^ (hashes >> U64(56))) * inverse
    x = (x ^ ((x >> _R35) + _N8)) * inverse
    for a, b in ((24, 49), (48, 34), (32, 4)):
        x = x ^ _turned(x, a) ^ _turned(x, b)
    x = _turned(x, 56) ^ xxh3_key(U64(seed))
    return _turned(x, 32)


@inlined
def _short(data: Any, start: Any, n: Any, seed: Any) -> Any:
    if n > _N8:
        low = load64(data, start) ^ (_K16A + seed)
        high = load64(data, start + n - _N8) ^ (_K16B - seed)
        return avalanche(n + byteswap(low) + high + _fold(low, high))
    if n >= _N4:
        x = U64(load32(data, start + n - _N4)) + (U64(load32(data, start)) << U32_)
        return _finish8(x ^ xxh3_key(seed), n)
    if n:
        first, middle, last = U64(data[start]), U64(data[start + (n >> _N1)]), U64(data[start + n - _N1])
        return xxh64_avalanche(((first << _N16) | (middle << _R24) | last | (n << _N8)) ^ (_K3 + seed))
    return xxh64_avalanche(seed ^ _K0)


@inlined
def mix16(data: Any, p: Any, at: Any, seed: Any) -> Any:
    """Mix 16 bytes at ``p`` with 16 of the secret at ``at``."""
    return _fold(load64(data, p) ^ (WORDS[at] + seed), load64(data, p + _N8) ^ (WORDS[at + _N8] - seed))


@inlined
def _medium(data: Any, start: Any, n: Any, seed: Any) -> Any:
    """Hash 17..128 bytes from both ends towards the middle."""
    end, h = start + n, n * P1
    if n > _N32:
        if n > _N64:
            if n > _N96:
                h += mix16(data, start + _N48, _N96, seed)
                h += mix16(data, end - _N64, U64(112), seed)
            h += mix16(data, start + _N32, _N64, seed)
            h += mix16(data, end - _N48, U64(80), seed)
        h += mix16(data, start + _N16, _N32, seed)
        h += mix16(data, end - _N32, _N48, seed)
    h += mix16(data, start, U64(0), seed)
    h += mix16(data, end - _N16, _N16, seed)
    return avalanche(h)


@kernel
def _long(data: Any, start: Any, n: Any, seed: Any) -> Any:
    """Hash 129..240 bytes."""
    h = n * P1
    for i in range(8):
        at = U64(i) * _N16
        h += mix16(data, start + at, at, seed)
    h = avalanche(h)
    for i in range(8, n // _N16):
        at = U64(i) * _N16
        h += mix16(data, start + at, at - _N128 + _N3, seed)
    return avalanche(h + mix16(data, start + n - _N16, U64(119), seed))


def _stripes_twin(acc: Any, data: Any, p: Any, count: Any, secret: Any) -> None:
    for i in range(int(count)):
        for lane in range(8):
            step = U64(8 * lane)
            value = load64(data, p + U64(64 * i) + step)
            keyed = value ^ load64(secret, U64(8 * i) + step)
            acc[lane ^ 1] += value
            acc[lane] += (keyed & M32) * (keyed >> U32_)


@primitive(_stripes_twin)
def _stripes(typingctx: Any, acc: Any, data: Any, p: Any, count: Any, secret: Any) -> Any:
    """Take ``count`` stripes of 64 bytes into the eight accumulators; each has its own 64 of the secret."""
    signature = types.void(acc, data, types.uint64, types.uint64, secret)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = ir.VectorType(ir.IntType(64), 8)

        def at(k: int, index: Any, nbytes: Any) -> Any:
            pointer = item_pointer(context, builder, signature.args[k], args[k], index, nbytes)
            return builder.bitcast(pointer, lanes.as_pointer())

        def load(pointer: Any) -> Any:
            value = builder.load(pointer)
            value.align = 1
            return value

        word = ir.IntType(64)
        half, low = (ir.Constant(lanes, [v] * 8) for v in (32, 0xFFFF_FFFF))
        swap = ir.Constant(ir.VectorType(ir.IntType(32), 8), [1, 0, 3, 2, 5, 4, 7, 6])
        target = at(0, word(0), 8)
        total = cgutils.alloca_once_value(builder, load(target))
        with cgutils.for_range(builder, args[3]) as loop:
            p = builder.add(args[2], builder.shl(loop.index, word(6)))
            value = load(at(1, p, 64))
            keyed = builder.xor(value, load(at(4, builder.shl(loop.index, word(3)), 64)))
            product = builder.mul(builder.and_(keyed, low), builder.lshr(keyed, half))
            swapped = builder.shuffle_vector(value, value, swap)
            builder.store(builder.add(builder.load(total), builder.add(product, swapped)), total)
        builder.store(builder.load(total), target).align = 8
        return context.get_dummy_value()

    return signature, codegen


@inlined
def _scramble(acc: Any, secret: Any) -> None:
    for lane in range(8):
        key = load64(secret, _SCRAMBLE_AT + U64(lane) * _N8)
        acc[lane] = (acc[lane] ^ (acc[lane] >> _R47) ^ key) * _PRIME32_1


@inlined
def accumulate(data: Any, start: Any, n: Any, seed: Any) -> Any:
    """Return the accumulators of more than 240 bytes, and the secret derived from the seed."""
    secret = np.empty(192, np.uint8)
    for i in range(0, 192, 16):
        store64(secret, U64(i), WORDS[i] + seed)
        store64(secret, U64(i + 8), WORDS[i + 8] - seed)
    acc, p, end = _START.copy(), start, start + n
    while p + _BLOCK < end:
        _stripes(acc, data, p, _N16, secret)
        _scramble(acc, secret)
        p += _BLOCK
    _stripes(acc, data, p, (end - p - _N1) // _N64, secret)
    _stripes(acc, data, end - _N64, _N1, secret[_LAST_AT:])
    return acc, secret


@inlined
def merge(acc: Any, secret: Any, at: Any, h: Any) -> Any:
    """Fold the accumulators, each pair under its part of the secret, into one word."""
    for i in range(4):
        key = at + U64(i) * _N16
        h += _fold(acc[2 * i] ^ load64(secret, key), acc[2 * i + 1] ^ load64(secret, key + _N8))
    return avalanche(h)


@kernel
def _huge(data: Any, start: Any, n: Any, seed: Any) -> Any:
    """Hash more than 240 bytes."""
    acc, secret = accumulate(data, start, n, seed)
    return merge(acc, secret, _N11, n * P1)


@inlined
def xxh3(data: Any, start: Any, n: Any, seed: Any) -> Any:
    """Hash ``data[start : start + n]`` (uint8 array; uint64 start, length and seed)."""
    if n <= _N16:
        return _short(data, start, n, seed)
    if n <= _N128:
        return _medium(data, start, n, seed)
    if n <= _N240:
        return _long(data, start, n, seed)
    return _huge(data, start, n, seed)


def _eight_twin(values: Any, i: Any, key: Any, _far: Any, out: Any) -> None:
    for j in range(int(i), int(i) + 8):
        out[j] = xxh3_word(values[j], key)


@primitive(_eight_twin)
def _eight(typingctx: Any, values: Any, i: Any, key: Any, far: Any, out: Any) -> Any:
    """Hash ``values[i : i + 8]``, and fetch the values to come and their places in ``out``, ``far`` ahead."""
    signature = types.void(values, types.uint64, types.uint64, types.uint64, out)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        b, (_, i, key, far, _) = builder, args
        word, half, byte = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()
        lanes = ir.VectorType(word, 8)
        rotation, fetching = (
            ir.FunctionType(lanes, [lanes] * 3),
            ir.FunctionType(ir.VoidType(), [byte] + [half] * 3),
        )
        rotate = cgutils.get_or_insert_function(b.module, rotation, "llvm.fshl.v8i64")
        fetch = b.module.declare_intrinsic("llvm.prefetch", [byte], fetching)

        def all_of(number: Any) -> Any:
            return ir.Constant(lanes, [int(number)] * 8)

        def turned(x: Any, bits: int) -> Any:
            return b.call(rotate, [x, x, all_of(bits)])

        def at(k: int) -> Any:
            pointer = item_pointer(context, b, signature.args[k], args[k], i, 8)
            return b.bitcast(pointer, lanes.as_pointer())

        def ask(pointer: Any, distance: Any, write: int) -> None:
            ahead = b.gep(b.bitcast(pointer, word.as_pointer()), [distance])
            b.call(fetch, [b.bitcast(ahead, byte), half(write), half(3), half(1)])

        source, target = at(0), at(4)
        ask(source, word(_AHEAD), 0)
        ask(target, far, 1)
        x = b.load(source)
        x.align = 8
        x = b.xor(turned(x, 32), spread(b, key, 8))
        x = b.mul(b.xor(b.xor(x, turned(x, 49)), turned(x, 24)), all_of(PRIME_MX2))
        x = b.mul(b.xor(x, b.add(b.lshr(x, all_of(35)), all_of(8))), all_of(PRIME_MX2))
        b.store(b.xor(x, b.lshr(x, all_of(28))), target).align = 8
        return context.get_dummy_value()

    return signature, codegen


@kernel
def _words(values: Any, seed: Any, out: Any) -> None:
    key, n, i = xxh3_key(np.uint64(seed)), U64(values.size), U64(0)
    far = U64(_AHEAD) if n > _CHUNK else U64(0)
    while i + _N8 <= n:
        _eight(values, i, key, far, out)
        i += _N8
    for j in range(i, n):
        out[j] = xxh3_word(values[j], key)


@inlined
def _to159(data: Any, start: Any, n: Any, seed: Any) -> Any:
    """Hash 129..159 bytes; the ninth 16 are mixed also where they do not count, which none could predict."""
    h = n * P1
    for i in range(8):
        at = U64(i) * _N16
        h += mix16(data, start + at, at, seed)
    ninth = mix16(data, start + min(_N128, n - _N16), _N3, seed)
    h = avalanche(h) + (ninth if n >= _N144 else _N0)
    return avalanche(h + mix16(data, start + n - _N16, U64(119), seed))


@inlined
def _by_class(data: Any, offsets: Any, lo: Any, hi: Any, seed: Any, out: Any) -> None:
    """Hash texts ``lo..hi`` class by class: branches go as the last ones went, but where a row ends."""
    rows = np.empty(ROWS, np.uint8)
    for i in range(lo, lo + BLOCK):
        fetch(data, offsets, i, 2)
    while lo < hi:
        count = min(BLOCK, hi - lo)
        counts = sort(offsets, lo, count, _SHIFTS, rows)
        for c in range(8):
            start, end = row(counts, c)
            for k in range(start, end):
                i = lo + U64(rows[k])
                fetch(data, offsets, i + BLOCK, 1 if c < 4 else 2)
                n = length_of(offsets, i)
                if c == 7 and n < _N160:
                    out[i] = _to159(data, U64(offsets[i]), n, seed)
                else:
                    out[i] = xxh3(data, U64(offsets[i]), n, seed)
        lo += count


@inlined
def _in_turn(data: Any, offsets: Any, lo: Any, hi: Any, seed: Any, out: Any) -> None:
    """Hash texts ``lo..hi`` one after the other."""
    while lo < hi:
        out[lo] = xxh3(data, U64(offsets[lo]), length_of(offsets, lo), seed)
        lo += _N1


@kernel
def _text(data: Any, offsets: Any, seed: Any, out: Any) -> None:
    s, data, lo, n = np.uint64(seed), borrowed(data), U64(0), U64(out.size)
    while lo < n:
        hi = min(lo + SPAN, n)
        if mixed(offsets, lo, hi, _SHIFTS):
            _by_class(data, offsets, lo, hi, s, out)
        else:
            _in_turn(data, offsets, lo, hi, s, out)
        lo = hi


@inlined
def xxh3_alone(key: Any, seed: Any) -> Any:
    """Hash the known key of a scalar call as batches are."""
    s = word_of(seed)
    if kind_of(key) == INT:
        return xxh3_word(word_of(key), xxh3_key(s))
    return xxh3(text_of(key), U64(0), size_of(key), s)


@alone("xxh3")
def _one(_me: Any, arguments: Any, _count: Any, _names: Any) -> Any:
    key, seed = key_of(arguments, 0), key_of(arguments, 1)
    if not known_below(key, seed, U63):
        return as_none()
    return as_int(xxh3_alone(key, seed))


XXH3 = Algorithm("xxh3", 64, _words, _text)
