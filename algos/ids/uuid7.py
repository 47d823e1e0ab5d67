"""UUID version 7: 48 bits of milliseconds, then what keeps the ids of one millisecond in order.

RFC 9562, section 5.7, and the three methods of section 6.2; big-endian::

    milliseconds 48 | 0111 | a 12 | 10 | b 62

    method 1    a and the top of b are a counter of 12 to 42 bits, begun at random in its lower half, so
                that it has room; 26 bits let a batch of 33 million share a millisecond. The rest is random.
    method 2    a and b are one number of 74 bits, begun at random in its lower half; from one id to the next
                it grows by a random amount, 2^32 on average.
    method 3    a is the fraction of the millisecond, in 4,096ths; where ids come faster than these, the next
                takes the next. b is random.

Text, bytes and time sort alike, in the order of creation, whatever the clock does (``_clock.py``). Another
generator knows nothing of this one's counter: between two processes order is that of their clocks.
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

from algos._arguments import integer
from algos._bits import U1, U64, byteswap
from algos._fastcall import Method, Native, bytes_of, now_ns, place, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.ids._clock import (
    BITS,
    FINE,
    OWN,
    OWN_CLOCK,
    TICK,
    ClockedKind,
    advance,
    as_times,
    check_lead,
    grow,
    leading,
    spread,
)
from algos.ids._entropy import new_key, stream
from algos.ids._kind import UuidReader, handed_uuid, is_free, random_word, wants

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from algos.ids._clock import Run
    from algos.ids._kind import Fill

MILLION = U64(1_000_000)
MIN_COUNTER, MAX_COUNTER = 12, 42
MONOTONIC_STEP = 1 << 32
METHOD = OWN + 1


@inlined
def _packed(tick: Any, count: Any, bits: Any, noise: Any) -> Any:
    """Return an id as two words in memory: a counter of so many bits, and the rest random."""
    below = bits - U64(12)
    room = U64(62) - below
    high = (tick << U64(16)) | U64(0x7000) | (count >> below)
    low = U64(1 << 63) | ((count & ((U1 << below) - U1)) << room) | (noise & ((U1 << room) - U1))
    return byteswap(high), byteswap(low)


@inlined
def _numbered(tick: Any, high: Any, low: Any) -> Any:
    """Return an id as two words in memory: one number of 74 bits."""
    above = (high << U64(2)) | (low >> U64(62))
    first = (tick << U64(16)) | U64(0x7000) | above
    return byteswap(first), byteswap(U64(1 << 63) | (low & U64((1 << 62) - 1)))


@kernel
def _fill_counted(key: Any, at: Any, tick: Any, count: Any, bits: Any, words: Any) -> None:
    """Make ids ``at``.. of a key, counted from ``count`` on."""
    noise = stream(key, at, words.size >> 1)
    mask = (U1 << bits) - U1
    for i in range(U64(words.size >> 1)):
        t = count + i
        words[U64(2) * i], words[U64(2) * i + U1] = _packed(tick + (t >> bits), t & mask, bits, noise[i])


@kernel
def _fill_numbered(key: Any, at: Any, tick: Any, high: Any, low: Any, words: Any) -> None:
    """Make ids ``at``.. of a key, from a number on, 2^32 apart and up to as much off."""
    noise = stream(key, at, words.size >> 1)
    for i in range(U64(words.size >> 1)):
        number = low + i * U64(MONOTONIC_STEP)
        upper = high + U64(number < low)
        words[U64(2) * i], words[U64(2) * i + U1] = _numbered(tick, upper, number | (noise[i] >> U64(32)))


@inlined
def _fraction(ns: Any) -> Any:
    """Return the 4,096ths of the millisecond."""
    return (ns % MILLION) * U64(4096) // MILLION


@inlined
def _fresh(high: Any, low: Any) -> Any:
    """Return a random number of 73 bits, in whole steps."""
    return high >> U64(55), low & ~U64(MONOTONIC_STEP - 1)


@Native
def _next(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, form = uint64s_of(me, _STATE), wants(arguments, count, names)
    if (form < 2) & is_free(state) & (state[OWN_CLOCK] != U64(0)):
        pool, scratch, ns = uint64s_of(me, _POOL), bytes_of(me, _SCRATCH), now_ns()
        now, noise = ns // MILLION, random_word(state, pool)
        if state[METHOD] == U64(2):
            high, low = U64(0), U64(0)
            if now > state[TICK]:
                high, low = _fresh(random_word(state, pool), random_word(state, pool))
            done, tick, high, low = grow(state, U1, now, high, low, U64(MONOTONIC_STEP))
            if done == 1:
                first, second = _numbered(tick, high, low | (noise >> U64(32)))
                return handed_uuid(scratch, first, second, form)
        else:
            begin = U64(0)
            if state[FINE]:
                begin = _fraction(ns)
            elif now > state[TICK]:
                begin = random_word(state, pool) >> (U64(65) - state[BITS])
            granted, tick, number = advance(state, U1, now, begin)
            if granted:
                first, second = _packed(tick, number, state[BITS], noise)
                return handed_uuid(scratch, first, second, form)
    return slowly(me, "_next_one", arguments, count, names)


class Uuid7(UuidReader, ClockedKind):
    """UUIDs in order of time, from ChaCha20 keyed by the operating system.

    ``method`` 1, 2 or 3 of RFC 9562, section 6.2; ``counter_bits`` (12 to 42) is the counter of method 1. Ids
    of one generator ascend strictly, in every form. They may be ``max_lead_ms`` ahead of the clock; method 3
    mints 4,096 a millisecond, method 1 ``2^counter_bits``, and then waits. Random bits: 74 less the counter
    with method 1, 62 with method 3, 32 and where the millisecond began with method 2. ``clock`` returns
    nanoseconds since 1970, for simulations. Safe from many threads; a forked child has entropy of its own.

    >>> ids = Uuid7(clock=lambda: 1_645_557_742_000_000_000).take(3, "list")
    >>> ids == sorted(ids), ids[0][:15]
    (True, '017f22e2-79b0-7')
    """

    __slots__ = ("counter_bits", "method")
    NAME, VERSION = "UUID version 7", 7

    def __init__(
        self,
        method: Literal[1, 2, 3] = 1,
        counter_bits: int = 26,
        *,
        max_lead_ms: int = 1000,
        clock: Callable[[], int] | None = None,
    ) -> None:
        """Begin at the time of the clock."""
        if integer("method", method) not in {1, 2, 3}:
            raise ValueError(f"method={method} is not 1, 2 or 3 of RFC 9562, section 6.2")
        if not MIN_COUNTER <= integer("counter_bits", counter_bits) <= MAX_COUNTER:
            raise ValueError(f"counter_bits={counter_bits} is outside {MIN_COUNTER}..{MAX_COUNTER}")
        self.method, self.counter_bits = int(method), int(counter_bits)
        bits = {1: self.counter_bits, 2: 10, 3: 12}[self.method]
        super().__init__(bits, check_lead(max_lead_ms), clock, 0, self.method, fine=self.method == 3)

    def _first_count(self, now_ns: int) -> int:
        if self.method == 3:
            return now_ns % 1_000_000 * 4096 // 1_000_000
        return secrets.randbits(self.counter_bits - 1)

    def _plan(self, n: int) -> Fill:
        key = new_key()
        if self.method == 2 and n:
            start = self._numbers(n, _fresh_number, MONOTONIC_STEP)
            return partial(_numbered_part, key, start)
        bits = U64(int(self._state[BITS]))

        def make(run: Run, offset: int, at: int, out: Any) -> None:
            words = out.reshape(-1).view("u8")
            _fill_counted(key, at, U64(run.tick), U64(run.first + offset), bits, words)

        return spread(self._runs(n), make)

    def _forked(self) -> None:
        super()._forked()
        if self.method == 1:
            self._go_on_from(secrets.randbits(self.counter_bits - 1))
        elif self.method == 2:
            self._go_on_from(_fresh_number())

    next = Method(_next, "_next_one")

    @classmethod
    def timestamps(cls, ids: Any) -> Any:
        """Return when ids were minted, to the millisecond: ``datetime64[ms]``."""
        return as_times(leading(cls.decode(ids), 6), "ms")


def _fresh_number() -> int:
    return secrets.randbits(73) & ~(MONOTONIC_STEP - 1)


def _numbered_part(key: Any, start: tuple[int, int, int], at: int, out: Any) -> None:
    tick, high, low = start
    number = (high << 64 | low) + at * MONOTONIC_STEP
    parts = U64(number >> 64), U64(number & (1 << 64) - 1)
    _fill_numbered(key, at, U64(tick), *parts, out.reshape(-1).view("u8"))


_STATE, _POOL, _SCRATCH = (place(Uuid7, slot) for slot in ("_state", "_pool", "_scratch"))
