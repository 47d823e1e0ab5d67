"""KSUID: 32 bits of seconds and 128 random bits, as 27 letters and digits.

segmentio/ksuid; big-endian, and the same value in base 62, whose digits ascend as bytes do::

    seconds since 2014-05-13T16:53:20Z 32 | random 128        0ujtsYcgvSTl8PAuAdqWYSMnLOv

Text, bytes and time sort alike; within a second the order is random.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from algos._bits import U1, U2, U3, U32_, U64, store16, store64
from algos._fastcall import (
    Method,
    Native,
    as_bytes,
    as_text,
    bytes_of,
    now_ns,
    place,
    slowly,
    uint64s_of,
)
from algos._jit import inlined, kernel
from algos.errors import HotpathError
from algos.ids._clock import as_times, leading
from algos.ids._entropy import new_key, stream
from algos.ids._kind import FIRST, Kind, is_free, random_word, wants
from algos.ids._text import BAD, BASE62_DIGITS, BASE62_PAIRS, BASE62_VALUES, put_word, word_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from algos.ids._kind import Fill

EPOCH = 1_400_000_000
SIZE, DIGITS, LIMBS = 20, 27, 5
BASE, TWO_DIGITS, FIVE_DIGITS = U64(62), U64(62**2), U64(62**5)
BILLION = U64(10**9)
M32 = U64(0xFFFFFFFF)
OWN_CLOCK = FIRST
"""The word of the state that says whether the clock is the system's."""


@inlined
def _put(seconds: Any, first: Any, second: Any, out: Any, at: Any) -> None:
    put_word(out, at, 4, seconds)
    store64(out, at + U64(4), first)
    store64(out, at + U64(12), second)


@inlined
def _divided(rest: Any, limb: Any) -> tuple[Any, Any]:
    """Return quotient and rest of a number of two limbs by 62^5."""
    part = (rest << U32_) | limb
    quotient = part // FIVE_DIGITS
    return quotient, part - quotient * FIVE_DIGITS


@inlined
def _five(out: Any, at: Any, rest: Any) -> None:
    """Write a number below 62^5 as five digits."""
    fours = rest // TWO_DIGITS
    store16(out, at + U3, BASE62_PAIRS[rest - fours * TWO_DIGITS])
    one = fours // TWO_DIGITS
    store16(out, at + U1, BASE62_PAIRS[fours - one * TWO_DIGITS])
    out[at] = BASE62_DIGITS[one]


@inlined
def _text(ids: Any, at: Any, out: Any, to: Any) -> None:
    """Write 20 bytes as 27 digits: divided by 62^5 again and again, what remains is five of them.

    A quotient has a limb less every time but the first, and limbs are in registers, not an array, which
    halves the time.
    """
    a, b, c = word_at(ids, at, 4), word_at(ids, at + U64(4), 4), word_at(ids, at + U64(8), 4)
    d, e = word_at(ids, at + U64(12), 4), word_at(ids, at + U64(16), 4)
    for group in range(U64(2)):
        a, rest = _divided(U64(0), a)
        b, rest = _divided(rest, b)
        c, rest = _divided(rest, c)
        d, rest = _divided(rest, d)
        e, rest = _divided(rest, e)
        _five(out, to + U64(22) - U64(5) * group, rest)
    b, rest = _divided(U64(0), b)
    c, rest = _divided(rest, c)
    d, rest = _divided(rest, d)
    e, rest = _divided(rest, e)
    _five(out, to + U64(12), rest)
    c, rest = _divided(U64(0), c)
    d, rest = _divided(rest, d)
    e, rest = _divided(rest, e)
    _five(out, to + U64(7), rest)
    d, rest = _divided(U64(0), d)
    e, rest = _divided(rest, e)
    _five(out, to + U2, rest)
    store16(out, to, BASE62_PAIRS[e])


@kernel
def _write(ids: Any, out: Any) -> None:
    for i in range(U64(ids.size // SIZE)):
        _text(ids, i * U64(SIZE), out, i * U64(DIGITS))


@kernel
def _read(data: Any, offsets: Any, table: Any, out: Any) -> Any:
    limbs = np.empty(LIMBS, np.uint64)
    for i in range(offsets.size - 1):
        if offsets[i + 1] - offsets[i] != DIGITS:
            return i, -1
        limbs[:] = U64(0)
        carry = U64(0)
        for k in range(DIGITS):
            digit = table[data[offsets[i] + k]]
            if digit == BAD:
                return i, k
            carry = carry * BASE + U64(digit)
            if k % 5 == 1:  # two digits, and then five times five
                for limb in range(LIMBS - 1, -1, -1):
                    part = limbs[limb] * FIVE_DIGITS + carry
                    limbs[limb], carry = part & M32, part >> U32_
                if carry:
                    return i, 0
        for limb in range(LIMBS):
            put_word(out, U64(SIZE * i + 4 * limb), 4, limbs[limb])
    return -1, -1


@kernel
def _fill(key: Any, at: Any, seconds: Any, out: Any) -> None:
    """Make ids ``at``.. of a key."""
    n = out.size // SIZE
    noise = stream(key, 2 * at, 2 * n)
    for i in range(U64(n)):
        _put(seconds, noise[U64(2) * i], noise[U64(2) * i + U1], out, i * U64(SIZE))


@Native
def _next(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, form = uint64s_of(me, _STATE), wants(arguments, count, names)
    if (form < 2) & is_free(state) & (state[OWN_CLOCK] != U64(0)):
        seconds = now_ns() // BILLION - U64(EPOCH)
        if seconds <= M32:
            pool, scratch = uint64s_of(me, _POOL), bytes_of(me, _SCRATCH)
            _put(seconds, random_word(state, pool), random_word(state, pool), scratch, U64(0))
            if form == 1:
                return as_bytes(scratch, U64(0), U64(SIZE))
            _text(scratch, U64(0), scratch, U64(SIZE))
            return as_text(scratch, U64(SIZE), U64(DIGITS))
    return slowly(me, "_next_one", arguments, count, names)


class Ksuid(Kind):
    """KSUIDs, from ChaCha20 keyed by the operating system.

    128 random bits each. Ids of different seconds sort by time, those of one in no order. ``clock`` returns
    nanoseconds since 1970, for simulations. Safe from many threads; a forked child has entropy of its own.

    >>> Ksuid.timestamps(["0ujtsYcgvSTl8PAuAdqWYSMnLOv"])
    array(['2017-10-10T04:00:47'], dtype='datetime64[s]')
    """

    __slots__ = ("_clock",)
    SIZE, WIDTH, NAME = SIZE, DIGITS, "KSUID"

    def __init__(self, *, clock: Callable[[], int] | None = None) -> None:
        """Begin with a key from the operating system."""
        super().__init__(int(clock is None and hasattr(time, "clock_gettime")))
        self._clock = clock or time.time_ns

    def _plan(self, n: int) -> Fill:
        del n
        now_ns, key = self._clock(), new_key()
        seconds = now_ns // 10**9 - EPOCH
        if not 0 <= seconds < 1 << 32:
            raise HotpathError(f"the clock is at {now_ns} ns since 1970, where there is no KSUID")
        return lambda at, out: _fill(key, at, U64(seconds), out.reshape(-1))

    next = Method(_next, "_next_one")

    @staticmethod
    def _write(ids: Any, text: Any) -> None:
        _write(ids.reshape(-1), text.reshape(-1))

    @classmethod
    def _read(cls, data: Any, offsets: Any, out: Any) -> tuple[int, int]:
        at, character = _read(data, offsets, BASE62_VALUES, out.reshape(-1))
        return int(at), int(character)

    @classmethod
    def timestamps(cls, ids: Any) -> Any:
        """Return when ids were minted, to the second: ``datetime64[s]``."""
        return as_times(leading(cls.decode(ids), 4) + EPOCH, "s")


_STATE, _POOL, _SCRATCH = (place(Ksuid, slot) for slot in ("_state", "_pool", "_scratch"))
