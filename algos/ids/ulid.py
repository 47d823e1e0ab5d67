"""ULID: 48 bits of milliseconds and 80 random bits, as 26 letters and digits.

ulid/spec, with its monotonic mode: within a millisecond the random part of the next id is one more; where it
would pass its end there is no next id. Big-endian, and the same value in Crockford's base 32::

    milliseconds 48 | random 80        01BX5ZZKBK ACTAV9WEVGEMMVRZ

Text, bytes and time sort alike, in the order of creation. Who sees one id can guess those after it in the
same millisecond; where that matters, take UUIDs of version 7.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from algos._bits import U1, U64, byteswap, store64
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
from algos.ids._clock import OWN_CLOCK, TICK, ClockedKind, as_times, check_lead, grow, leading
from algos.ids._kind import MAX_IDS, is_free, random_word, wants
from algos.ids._text import CROCKFORD_PAIRS, CROCKFORD_VALUES, base32_text, read_base32, write_base32

if TYPE_CHECKING:
    from collections.abc import Callable

    from algos.ids._kind import Fill

MILLION = U64(1_000_000)
RANDOM_HIGH = 16
"""Bits of the random part in the first word."""


@inlined
def _words(tick: Any, high: Any, low: Any) -> Any:
    return (tick << U64(RANDOM_HIGH)) | high, low


@kernel
def _fill(tick: Any, high: Any, low: Any, words: Any) -> None:
    """Make ids whose random parts follow each other."""
    for i in range(U64(words.size >> 1)):
        number = low + i
        first, second = _words(tick, high + U64(number < low), number)
        words[U64(2) * i], words[U64(2) * i + U1] = byteswap(first), byteswap(second)


@Native
def _next(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, form = uint64s_of(me, _STATE), wants(arguments, count, names)
    if (form < 2) & is_free(state) & (state[OWN_CLOCK] != U64(0)):
        pool, now, high, low = uint64s_of(me, _POOL), now_ns() // MILLION, U64(0), U64(0)
        if now > state[TICK]:
            high, low = random_word(state, pool) >> U64(64 - RANDOM_HIGH), random_word(state, pool)
        done, tick, high, low = grow(state, U1, now, high, low, U1)
        if done == 1:
            scratch, (first, second) = bytes_of(me, _SCRATCH), _words(tick, high, low)
            if form == 1:
                store64(scratch, U64(0), byteswap(first))
                store64(scratch, U64(8), byteswap(second))
                return as_bytes(scratch, U64(0), U64(16))
            base32_text(first, second, 26, CROCKFORD_PAIRS, scratch, U64(0))
            return as_text(scratch, U64(0), U64(26))
    return slowly(me, "_next_one", arguments, count, names)


class Ulid(ClockedKind):
    """ULIDs, monotonic, from ChaCha20 keyed by the operating system.

    Ids of one generator ascend strictly, in every form. They may be ``max_lead_ms`` ahead of the clock, if
    that is set back. A millisecond whose random part is used up raises ``OverflowError`` (one in 2^80 / n).
    ``clock`` returns nanoseconds since 1970, for simulations. Reading, letters may be of either case. Safe
    from many threads; a forked child begins its own random parts.

    >>> Ulid(clock=lambda: 1_469_918_176_385_000_000).next()[:10]
    '01ARYZ6S41'
    """

    __slots__ = ()
    SIZE, WIDTH, NAME = 16, 26, "ULID"
    STRIDE = MAX_IDS  # nothing is random in each

    def __init__(self, *, max_lead_ms: int = 1000, clock: Callable[[], int] | None = None) -> None:
        """Begin at the time of the clock."""
        super().__init__(RANDOM_HIGH, check_lead(max_lead_ms), clock, 0)

    def _plan(self, n: int) -> Fill:
        tick, high, low = self._numbers(n, lambda: secrets.randbits(80), 1) if n else (0, 0, 0)

        def fill(at: int, out: Any) -> None:
            number = (high << 64 | low) + at
            parts = U64(number >> 64), U64(number & (1 << 64) - 1)
            _fill(U64(tick), *parts, out.reshape(-1).view("u8"))

        return fill

    def _forked(self) -> None:
        super()._forked()
        self._go_on_from(secrets.randbits(80))

    next = Method(_next, "_next_one")

    @staticmethod
    def _write(ids: Any, text: Any) -> None:
        write_base32(ids.reshape(-1), 16, 0, 26, CROCKFORD_PAIRS, text.reshape(-1))

    @classmethod
    def _read(cls, data: Any, offsets: Any, out: Any) -> tuple[int, int]:
        at, character = read_base32(data, offsets, 16, 0, 26, CROCKFORD_VALUES, 7, out.reshape(-1))
        return int(at), int(character)

    @classmethod
    def timestamps(cls, ids: Any) -> Any:
        """Return when ids were minted, to the millisecond: ``datetime64[ms]``."""
        return as_times(leading(cls.decode(ids), 6), "ms")


_STATE, _POOL, _SCRATCH = (place(Ulid, slot) for slot in ("_state", "_pool", "_scratch"))
