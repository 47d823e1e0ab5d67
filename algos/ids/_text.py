"""Binary ids as text and back: hexadecimal with and without dashes, two base 32 alphabets, base 62.

Kernels write ``n`` ids of a fixed width into one byte array, and read texts wherever they are, strictly: what
is no id is told by its position and that of the character. Digits are written in pairs from a table of 1,024,
and dashed UUIDs by a shuffle of vectors; texts of digits in ascending order sort as their ids do.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from algos._bits import U8, U64, item_pointer, store16
from algos._jit import inlined, kernel, primitive

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
BASE32HEX = "0123456789abcdefghijklmnopqrstuv"
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
HEX = "0123456789abcdef"
UUID_WIDTH = 36
DASHES = (8, 13, 18, 23)
BAD = np.uint8(255)
U5, U6, U10, U12, U31, U64_ = (U64(i) for i in (5, 6, 10, 12, 31, 64))


def pairs(alphabet: str) -> Any:
    """Return the table of all two digits, as they lie in memory: uint16[n^2]."""
    return np.frombuffer("".join(a + b for a in alphabet for b in alphabet).encode(), "<u2").astype(np.uint16)


def values(alphabet: str, **same: str) -> Any:
    """Return the value of each byte as a digit, 255 for what is none; ``same`` are further spellings."""
    table = np.full(256, BAD, np.uint8)
    for value, digit in enumerate(alphabet):
        table[ord(digit)] = value
    for digit, spellings in same.items():
        for spelling in spellings:
            table[ord(spelling)] = table[ord(digit)]
    return table


CROCKFORD_PAIRS, BASE32HEX_PAIRS = pairs(CROCKFORD), pairs(BASE32HEX)
HEX_PAIRS, BASE62_PAIRS = pairs(HEX), pairs(BASE62)
LOWER = {digit: digit.lower() for digit in CROCKFORD if digit.isalpha()}
CROCKFORD_VALUES = values(CROCKFORD, **LOWER)
"""Crockford's letters in either case. His I, L and O for 1, 1 and 0 are for people who read aloud."""
BASE32HEX_VALUES, BASE62_VALUES = values(BASE32HEX), values(BASE62)
HEX_VALUES = values(HEX, **{digit: digit.upper() for digit in "abcdef"})
BASE62_DIGITS = np.frombuffer(BASE62.encode(), np.uint8).copy()


# ---------------------------------------------------------------------------------------------------
# UUIDs

_NIBBLES = [place for at in range(16) for place in (at, 16 + at)]
_FIRST = [*range(8), 32, *range(8, 12), 32, *range(12, 16), 32, *range(16, 20), 32, *range(20, 28)]
_LAST = [28, 29, 30, 31]


def _uuid_text_twin(ids: Any, at: Any, out: Any, to: Any) -> None:
    digits = ids[int(at) : int(at) + 16].tobytes().hex()
    text = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    out[int(to) : int(to) + UUID_WIDTH] = np.frombuffer(text.encode(), np.uint8)


@primitive(_uuid_text_twin)
def uuid_text(typingctx: Any, ids: Any, at: Any, out: Any, to: Any) -> Any:
    """Write the 16 bytes ``ids[at:]`` as the 36 characters ``out[to:]``."""
    return types.void(ids, types.uint64, out, types.uint64), _emit_uuid_text


def _emit_uuid_text(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    ids, at, out, to = args
    i8, i32 = ir.IntType(8), ir.IntType(32)
    bytes16, bytes32 = ir.VectorType(i8, 16), ir.VectorType(i8, 32)

    def shuffle(a: Any, b: Any, order: list[int]) -> Any:
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(i32, len(order)), order))

    source = item_pointer(context, builder, signature.args[0], ids, at, 16)
    word = builder.load(builder.bitcast(source, bytes16.as_pointer()))
    word.align = 1
    upper = builder.lshr(word, ir.Constant(bytes16, [4] * 16))
    nibble = shuffle(upper, builder.and_(word, ir.Constant(bytes16, [15] * 16)), _NIBBLES)
    letter = builder.icmp_unsigned(">", nibble, ir.Constant(bytes32, [9] * 32))
    base = (ir.Constant(bytes32, [ord("a") - 10] * 32), ir.Constant(bytes32, [ord("0")] * 32))
    digits = builder.add(nibble, builder.select(letter, *base))
    target = item_pointer(context, builder, signature.args[2], out, to, UUID_WIDTH)
    dashes = ir.Constant(bytes32, [ord("-")] * 32)
    for order, offset in ((_FIRST, 0), (_LAST, len(_FIRST))):
        part = shuffle(digits, dashes, order)
        place = builder.bitcast(builder.gep(target, [i32(offset)]), part.type.as_pointer())
        builder.store(part, place).align = 1
    return context.get_dummy_value()


@kernel
def write_uuids(ids: Any, out: Any) -> None:
    """Write ids (uint8[16 n]) as text (uint8[36 n])."""
    for i in range(U64(ids.size) // U64(16)):
        uuid_text(ids, i * U64(16), out, i * U64(UUID_WIDTH))


_DIGITS = [at for at in range(UUID_WIDTH) if at not in DASHES]


def _read_uuid_twin(data: Any, at: Any, out: Any, to: Any) -> bool:
    text = data[int(at) : int(at) + UUID_WIDTH].tobytes()
    digits = bytes(text[place] for place in _DIGITS)
    if any(text[place] != ord("-") for place in DASHES) or not re.fullmatch(rb"[0-9a-fA-F]{32}", digits):
        return False
    out[int(to) : int(to) + 16] = np.frombuffer(bytes.fromhex(digits.decode()), np.uint8)
    return True


@primitive(_read_uuid_twin)
def _read_uuid(typingctx: Any, data: Any, at: Any, out: Any, to: Any) -> Any:
    """Read the 36 characters ``data[at:]`` into the 16 bytes ``out[to:]``; tell whether they are a UUID's."""
    return types.boolean(data, types.uint64, out, types.uint64), _emit_read_uuid


def _emit_read_uuid(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    data, at, out, to = args
    i8, i32 = ir.IntType(8), ir.IntType(32)
    first = ir.VectorType(i8, 32)

    def all_of(value: int) -> Any:
        return ir.Constant(first, [value] * 32)

    def shuffle(a: Any, b: Any, order: list[int]) -> Any:
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(i32, len(order)), order))

    source = item_pointer(context, builder, signature.args[0], data, at, UUID_WIDTH)
    parts = []
    for offset, size in ((0, 32), (32, 4)):
        pointer = builder.bitcast(builder.gep(source, [i32(offset)]), ir.VectorType(i8, size).as_pointer())
        part = builder.load(pointer)
        part.align = 1
        parts.append(part)
    head, tail = parts[0], shuffle(parts[1], parts[1], [0, 1, 2, 3] * 8)
    text = shuffle(head, tail, _DIGITS)
    digit = builder.sub(text, all_of(ord("0")))
    letter = builder.sub(builder.or_(text, all_of(0x20)), all_of(ord("a")))
    is_digit = builder.icmp_unsigned("<", digit, all_of(10))
    is_letter = builder.icmp_unsigned("<", letter, all_of(6))
    nibble = builder.select(is_digit, digit, builder.add(letter, all_of(10)))
    upper, lower = (shuffle(nibble, nibble, list(range(start, 32, 2))) for start in (0, 1))
    word = builder.or_(builder.shl(upper, ir.Constant(upper.type, [4] * 16)), lower)
    target = item_pointer(context, builder, signature.args[2], out, to, 16)
    builder.store(word, builder.bitcast(target, word.type.as_pointer())).align = 1
    dashes = shuffle(head, head, list(DASHES))
    are_dashes = builder.icmp_unsigned("==", dashes, ir.Constant(dashes.type, [ord("-")] * 4))
    right = builder.icmp_signed("==", builder.bitcast(builder.or_(is_digit, is_letter), i32), i32(-1))
    return builder.and_(
        right, builder.icmp_signed("==", builder.bitcast(are_dashes, ir.IntType(4)), ir.IntType(4)(-1))
    )


@kernel
def read_uuids(data: Any, offsets: Any, table: Any, out: Any) -> Any:
    """Read texts as ids (uint8[16 n]); return the first that is none and its first wrong character, or -1."""
    for i in range(offsets.size - 1):
        start = offsets[i]
        if offsets[i + 1] - start != UUID_WIDTH:
            return i, -1
        if not _read_uuid(data, U64(start), out, U64(16 * i)):
            for k in range(UUID_WIDTH):
                c = data[start + k]
                dash = k == 8 or k == 13 or k == 18 or k == 23  # noqa: PLR1714 - a tuple is searched at run time
                if (dash and c != 45) or (not dash and table[c] == BAD):
                    return i, k
    return -1, -1


# ---------------------------------------------------------------------------------------------------
# Digits of 4 and 5 bits


@inlined
def word_at(ids: Any, at: Any, size: Any) -> Any:
    """Read ``size`` < 9 bytes, the most significant first."""
    value = U64(0)
    for k in range(size):
        value = (value << U8) | U64(ids[at + U64(k)])
    return value


@inlined
def put_word(out: Any, at: Any, size: Any, value: Any) -> None:
    """Write the lowest ``size`` < 9 bytes of a word, the most significant first."""
    for k in range(size):
        out[at + U64(k)] = np.uint8(value >> (U8 * U64(size - 1 - k)) & U64(255))


@inlined
def base32_text(high: Any, low: Any, width: Any, table: Any, out: Any, to: Any) -> None:
    """Write the lowest ``5 width`` bits of two words as ``width`` digits, by pairs from the last.

    A word has six pairs, so that none waits for the one before.
    """
    end, pairs_ = to + U64(width), U64(width >> 1)
    middle, top = (low >> U64(60)) | (high << U64(4)), high >> U64(56)
    for pair in range(min(pairs_, U6)):
        store16(out, end - U64(2) * (pair + U64(1)), table[(low >> (U10 * pair)) & U64(1023)])
    for pair in range(U6, min(pairs_, U12)):
        store16(out, end - U64(2) * (pair + U64(1)), table[(middle >> (U10 * (pair - U6))) & U64(1023)])
    for pair in range(U12, pairs_):
        store16(out, end - U64(2) * (pair + U64(1)), table[(top >> (U10 * (pair - U12))) & U64(1023)])
    if width & 1:  # 13 digits
        out[to] = np.uint8(table[middle & U31] >> np.uint16(8))


@kernel
def write_base32(ids: Any, size: Any, shift: Any, width: Any, table: Any, out: Any) -> None:
    """Write ids of ``size`` bytes (uint8[size n]), shifted left by some bits, as ``width`` digits each."""
    upper = size - 8
    for i in range(U64(ids.size) // U64(size)):
        at = i * U64(size)
        high, low = word_at(ids, at, upper), word_at(ids, at + U64(upper), 8)
        if shift:
            high, low = (high << U64(shift)) | (low >> (U64_ - U64(shift))), low << U64(shift)
        base32_text(high, low, width, table, out, i * U64(width))


@kernel
def read_base32(
    data: Any, offsets: Any, size: Any, shift: Any, width: Any, table: Any, most: Any, out: Any
) -> Any:
    """Read texts as ids; the first digit is at most ``most``, and the ``shift`` bits of the last are 0."""
    for i in range(offsets.size - 1):
        start = offsets[i]
        if offsets[i + 1] - start != width:
            return i, -1
        high, low = U64(0), U64(0)
        for k in range(width):
            digit = table[data[start + k]]
            if digit == BAD or (k == 0 and digit > most):
                return i, k
            high, low = (high << U5) | (low >> U64(59)), (low << U5) | U64(digit)
        if shift:
            if low & ((U64(1) << U64(shift)) - U64(1)):
                return i, width - 1
            high, low = high >> U64(shift), (low >> U64(shift)) | (high << (U64_ - U64(shift)))
        put_word(out, U64(i * size), size - 8, high)
        put_word(out, U64(i * size + size - 8), 8, low)
    return -1, -1


@kernel
def write_hex(ids: Any, table: Any, out: Any) -> None:
    """Write bytes as two digits each."""
    for i in range(U64(ids.size)):
        store16(out, U64(2) * i, table[ids[i]])


@kernel
def read_hex(data: Any, offsets: Any, width: Any, table: Any, out: Any) -> Any:
    """Read texts of ``width`` digits, two a byte."""
    for i in range(offsets.size - 1):
        start = offsets[i]
        if offsets[i + 1] - start != width:
            return i, -1
        for k in range(width):
            digit = table[data[start + k]]
            if digit == BAD:
                return i, k
            at = (i * width + k) >> 1
            out[at] = out[at] | digit if k & 1 else digit << 4
    return -1, -1
