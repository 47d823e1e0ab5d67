"""Ids of 12 bytes: seconds, five bytes of the process, and a counter that begins at random.

Big-endian::

    seconds since 1970 32 | process 40 | counter 24

A process mints 2^24 in a second; then it takes the seconds to come, five at most, and waits.
"""

from __future__ import annotations

import secrets
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from algos._bits import U1, U8, U32_, U64
from algos._fastcall import now_ns
from algos._jit import inlined, kernel
from algos.ids._clock import COUNT, OWN, ClockedKind, advance, as_times, leading, spread
from algos.ids._kind import MAX_IDS
from algos.ids._text import put_word

if TYPE_CHECKING:
    from collections.abc import Callable

    from algos.ids._clock import Run
    from algos.ids._kind import Fill

SIZE, COUNTER_BITS, LEAD_S = 12, 24, 5
PROCESS = OWN
"""The word of the state that says which process this is."""
MASK, BYTE = U64((1 << COUNTER_BITS) - 1), U64(255)
BILLION = U64(10**9)


@inlined
def _put(seconds: Any, process: Any, count: Any, out: Any, at: Any) -> None:
    put_word(out, at, 8, (seconds << U32_) | (process >> U8))
    put_word(out, at + U8, 4, ((process & BYTE) << U64(COUNTER_BITS)) | count)


@kernel
def _fill(seconds: Any, process: Any, count: Any, out: Any) -> None:
    """Make ids whose counters follow each other."""
    for i in range(U64(out.size // SIZE)):
        t = count + i
        _put(seconds + (t >> U64(COUNTER_BITS)), process, t & MASK, out, i * U64(SIZE))


@inlined
def minted(state: Any, scratch: Any) -> Any:
    """Mint one id by the system's clock into the beginning of ``scratch``; return whether there is one."""
    begin = (state[COUNT] + U1) & MASK
    granted, seconds, count = advance(state, U1, now_ns() // BILLION, begin)
    if granted:
        _put(seconds, state[PROCESS], count, scratch, U64(0))
    return granted != U64(0)


class CountedKind(ClockedKind):
    """A generator of ids of one process."""

    __slots__ = ()
    SIZE = SIZE
    STRIDE = MAX_IDS  # nothing is random in each
    TICK_NS, TICK_BITS = 1_000_000_000, 32

    def __init__(self, clock: Callable[[], int] | None) -> None:
        """Begin to count at random."""
        super().__init__(COUNTER_BITS, LEAD_S, clock, self._process())
        self._state[COUNT] = secrets.randbits(COUNTER_BITS)

    @abstractmethod
    def _process(self) -> int:
        """Return the 40 bits of this process."""

    def _first_count(self, now_ns: int) -> int:
        del now_ns
        return (int(self._state[COUNT]) + 1) & (1 << COUNTER_BITS) - 1

    def _forked(self) -> None:
        super()._forked()
        self._state[PROCESS] = self._process()

    def _plan(self, n: int) -> Fill:
        process = self._state[PROCESS]

        def make(run: Run, offset: int, _at: int, out: Any) -> None:
            _fill(U64(run.tick), process, U64(run.first + offset), out.reshape(-1))

        return spread(self._runs(n), make)

    @classmethod
    def timestamps(cls, ids: Any) -> Any:
        """Return when ids were minted, to the second: ``datetime64[s]``."""
        return as_times(leading(cls.decode(ids), 4), "s")
