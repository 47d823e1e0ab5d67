"""CRC-32C (Castagnoli): the checksum of iSCSI, ext4, Kafka, RocksDB and TFRecord.

RFC 3720, appendix B.4. The processor's own instruction where it has one (SSE4.2), in three streams for
long data, since each waits three cycles for the one before; tables of eight bytes elsewhere. A checksum
and not a hash of quality: linear, 32 bits, widened to uint64 by ``hash64``, whose ``seed`` is the
checksum of what came before.

>>> from algos.hashing import crc32c, hash64
>>> hex(crc32c(b"123456789")), crc32c(b"6789", crc32c(b"12345")) == crc32c(b"123456789")
('0xe3069283', True)
>>> hex(hash64(b"123456789", "crc32c"))
'0xe3069283'
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from algos._bits import M32, U32_, U64, borrowed, load64
from algos._fastcall import INT, as_int, as_none, key_of, kind_of, known_below, size_of, text_of, word_of
from algos._jit import inlined, kernel, primitive, target_has
from algos.hashing._algorithm import Algorithm, alone

POLYNOMIAL = 0x82F63B78  # x^32 + x^28 + ... with the bits reversed
STREAM = 4096  # bytes of each of the three streams
_N8, _BYTE, _STREAM, _THREE = (U64(n) for n in (8, 0xFF, STREAM, 3 * STREAM))


def _byte_tables(count: int) -> Any:
    """Return what every value of a byte leaves behind when 1, 2, ... ``count`` zero bytes follow it."""
    tables = np.zeros((count, 256), np.uint32)
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, crc >> 1 ^ np.uint32(POLYNOMIAL), crc >> 1).astype(np.uint32)
    tables[0] = crc
    for k in range(1, count):
        tables[k] = tables[k - 1] >> 8 ^ crc[tables[k - 1] & 0xFF]
    return tables


def _shift_tables(zeros: int) -> Any:
    """Return what every value of each of a CRC's four bytes becomes after so many zero bytes."""
    step = _TABLE[0]
    columns = (np.uint32(1) << np.arange(32, dtype=np.uint32)).astype(np.uint32)
    columns = columns >> 8 ^ step[columns & 0xFF]  # the operator of one zero byte, by its columns
    for _ in range(zeros.bit_length() - 1):  # squared until it is that of all of them
        bits = columns[:, None] >> np.arange(32, dtype=np.uint32) & 1
        columns = np.bitwise_xor.reduce(np.where(bits, columns, 0).astype(np.uint32), axis=1)
    bits = np.arange(256, dtype=np.uint32)[:, None] >> np.arange(8, dtype=np.uint32) & 1
    parts = [np.where(bits, columns[8 * k : 8 * k + 8], 0).astype(np.uint32) for k in range(4)]
    return np.array([np.bitwise_xor.reduce(part, axis=1) for part in parts], np.uint32)


_TABLE = _byte_tables(8)
_SHIFT = _shift_tables(STREAM)


def _table_step(crc: Any, word: Any) -> Any:
    """Take in eight bytes: each byte's trace after those that follow it, by table."""
    x = crc ^ word
    crc = U64(_TABLE[7, x & _BYTE])
    for k in range(1, 8):
        crc ^= U64(_TABLE[7 - k, (x >> U64(8 * k)) & _BYTE])
    return crc


@primitive(_table_step)
def _instruction(typingctx: Any, crc: Any, word: Any) -> Any:
    """Take in eight bytes by SSE4.2's own instruction."""
    signature = word(word, word)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        function_type = ir.FunctionType(word, [word, word])
        function = builder.module.declare_intrinsic("llvm.x86.sse42.crc32.64.64", (), function_type)
        return builder.call(function, args)

    return signature, codegen


_step = _instruction if target_has("sse4.2") else inlined(_table_step)


@inlined
def _shifted(crc: Any) -> Any:
    """Return the CRC after as many zero bytes as a stream has."""
    return U64(
        _SHIFT[0, crc & _BYTE]
        ^ _SHIFT[1, (crc >> U64(8)) & _BYTE]
        ^ _SHIFT[2, (crc >> U64(16)) & _BYTE]
        ^ _SHIFT[3, crc >> U64(24)]
    )


@inlined
def _streams(data: Any, p: Any, crc: Any) -> Any:
    """Take in three streams' worth of bytes, all three at a time."""
    a, b, c = crc, U64(0), U64(0)
    end = p + _STREAM
    while p < end:
        a = _step(a, load64(data, p))
        b = _step(b, load64(data, p + _STREAM))
        c = _step(c, load64(data, p + _STREAM + _STREAM))
        p += _N8
    return _shifted(_shifted(a) ^ b) ^ c


@inlined
def _crc(data: Any, start: Any, n: Any, before: Any) -> Any:
    """Return the CRC-32C of ``data[start : start + n]`` after data of CRC ``before``, as a uint64."""
    crc, p, end = before ^ M32, start, start + n
    while p + _THREE <= end:
        crc = _streams(data, p, crc)
        p += _THREE
    while p + _N8 <= end:
        crc = _step(crc, load64(data, p))
        p += _N8
    while p < end:
        crc = (crc >> U64(8)) ^ U64(_TABLE[0, (crc ^ U64(data[p])) & _BYTE])
        p += U64(1)
    return crc ^ M32


@kernel
def _words(values: Any, seed: Any, out: Any) -> None:
    start = np.uint64(seed) ^ M32
    for i in range(values.size):
        out[i] = _step(start, values[i]) ^ M32


@kernel
def _text(data: Any, offsets: Any, seed: Any, out: Any) -> None:
    s, data = np.uint64(seed), borrowed(data)
    for i in range(out.size):
        start = U64(offsets[i])
        out[i] = _crc(data, start, U64(offsets[i + 1]) - start, s)


@alone("crc32c")
def _one(_me: Any, arguments: Any, _count: Any, _names: Any) -> Any:
    key, seed = key_of(arguments, 0), key_of(arguments, 1)
    if not known_below(key, seed, U32_):
        return as_none()
    s = word_of(seed)
    if kind_of(key) == INT:
        h = _step(s ^ M32, word_of(key)) ^ M32
    else:
        h = _crc(text_of(key), U64(0), size_of(key), s)
    return as_int(h)


@kernel
def _checksum(data: Any, before: Any) -> Any:
    return _crc(data, U64(0), U64(data.size), np.uint64(before))


def crc32c(data: Any, value: int = 0) -> int:
    """Return the CRC-32C of a buffer (``bytes``, ``memoryview``, ``array``, contiguous NumPy array ...).

    ``value`` is the checksum of what came before it: a stream is checksummed piece by piece. O(bytes).
    Raises ``TypeError`` for what is no buffer, ``ValueError`` for a value outside 32 bits.

    >>> crc32c(b"")
    0
    """
    before = CRC32C.check_seed(value)
    view = memoryview(data)
    if not view.contiguous:
        raise ValueError("the buffer is not contiguous: pass a copy of it")
    return int(_checksum(np.frombuffer(view.cast("B"), np.uint8), np.uint64(before)))


CRC32C = Algorithm("crc32c", 32, _words, _text)
