"""SipHash of eight texts at a time, a lane of a vector for each.

Alone, a text of some words is bound by the chain of additions and rotations through it, and by the guess of
how many words it has. Side by side, eight texts share both: a lane that has no more words keeps its state
while others go on. Bytes after the last whole word are read as the last eight of the text, shifted; so a text
has to end eight bytes or more from the beginning of the data.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from algos._bits import item_pointer, spread

LANES = 8
_I32, _I64 = ir.IntType(32), ir.IntType(64)
_ROW = ir.VectorType(_I64, LANES)
START = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


def _all(word: int) -> Any:
    return ir.Constant(_ROW, [word] * LANES)


def _rotated(b: Any, row: Any, by: int) -> Any:
    return b.or_(b.shl(row, _all(by)), b.lshr(row, _all(64 - by)))


def _round(b: Any, s: list[Any]) -> list[Any]:
    v0, v1, v2, v3 = s
    v0, v2 = b.add(v0, v1), b.add(v2, v3)
    v1, v3 = b.xor(_rotated(b, v1, 13), v0), b.xor(_rotated(b, v3, 16), v2)
    v0, v2 = b.add(_rotated(b, v0, 32), v3), b.add(v2, v1)
    return [
        v0,
        b.xor(_rotated(b, v1, 17), v2),
        _rotated(b, v2, 32),
        b.xor(_rotated(b, v3, 21), v0),
    ]


def _absorbed(b: Any, s: list[Any], words: Any, rounds: int) -> list[Any]:
    s = [*s[:3], b.xor(s[3], words)]
    for _ in range(rounds):
        s = _round(b, s)
    return [b.xor(s[0], words), *s[1:]]


def _row(b: Any, words: list[Any]) -> Any:
    row = ir.Constant(_ROW, ir.Undefined)
    for lane, word in enumerate(words):
        row = b.insert_element(row, word, _I32(lane))
    return row


def _loaded(b: Any, base: Any, addresses: list[Any]) -> Any:
    """Emit the eight bytes at each lane's address."""
    words = [b.load(b.bitcast(b.gep(base, [address]), _I64.as_pointer())) for address in addresses]
    for word in words:
        word.align = 1
    return _row(b, words)


def emit(context: Any, builder: Any, signature: Any, args: Any, rounds: int, last: int) -> Any:
    """Emit hashes of ``LANES`` texts: data, offsets, which is the first, two words of the key, out."""
    b = builder
    data, offsets, at, k0, k1, out = args
    first = item_pointer(context, b, signature.args[1], offsets, at, LANES + 1)
    bounds = [b.sext(b.load(b.gep(first, [_I64(j)])), _I64) for j in range(LANES + 1)]
    starts, ends = bounds[:-1], [b.sub(end, _I64(8)) for end in bounds[1:]]
    base = context.make_array(signature.args[0])(context, b, data).data
    item_pointer(context, b, signature.args[0], data, ends[-1], 8)
    sizes = [b.sub(end, start) for start, end in zip(starts, bounds[1:], strict=True)]
    counts = [b.lshr(size, _I64(3)) for size in sizes]
    most = counts[0]
    for count in counts[1:]:
        most = b.select(b.icmp_unsigned(">", count, most), count, most)
    keys = [spread(b, k, LANES) for k in (k0, k1)]
    slots = [cgutils.alloca_once_value(b, b.xor(_all(word), keys[i & 1])) for i, word in enumerate(START)]
    with cgutils.for_range(b, most) as loop:
        offset = b.shl(loop.index, _I64(3))
        has = [b.icmp_unsigned("<", loop.index, count) for count in counts]
        places = zip(has, starts, ends, strict=True)
        words = _loaded(b, base, [b.select(more, b.add(start, offset), end) for more, start, end in places])
        mask = b.icmp_unsigned("<", spread(b, loop.index, LANES), _row(b, counts))
        before = [b.load(slot) for slot in slots]
        for slot, old, new in zip(slots, before, _absorbed(b, before, words, rounds), strict=True):
            b.store(b.select(mask, new, old), slot)
    length = _row(b, sizes)
    left = b.shl(b.and_(length, _all(7)), _all(3))  # in bits
    rest = b.lshr(_loaded(b, base, ends), b.and_(b.sub(_all(64), left), _all(63)))
    rest = b.select(b.icmp_unsigned("==", left, _all(0)), _all(0), rest)
    rest = b.or_(rest, b.shl(length, _all(56)))
    s = _absorbed(b, [b.load(slot) for slot in slots], rest, rounds)
    s = [s[0], s[1], b.xor(s[2], _all(0xFF)), s[3]]
    for _ in range(last):
        s = _round(b, s)
    target = item_pointer(context, b, signature.args[5], out, at, LANES)
    store = b.store(b.xor(b.xor(s[0], s[1]), b.xor(s[2], s[3])), b.bitcast(target, _ROW.as_pointer()))
    store.align = 8
    return context.get_dummy_value()
