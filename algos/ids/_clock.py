"""Ids that begin with the time: a tick and a counter that never go back, and never far ahead.

The state is the last id's tick and counter. A batch takes the counters that follow, and carries over into the
ticks to come once they are used up: it borrows. So order and uniqueness do not depend on the clock:

- it steps back, or stands: ids go on from the last one.
- ids are more than ``max_lead_ms`` ahead of it: minting waits, at most ``PATIENCE_NS``; where that will not
  do, since the clock stepped back by more, it is an error.
- a node number may be in use until ``max_lead_ms`` after its last owner ended: so long its next owner waits.
"""

from __future__ import annotations

import time
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from algos._arguments import integer
from algos._bits import U1, U64
from algos._jit import inlined, kernel
from algos.errors import HotpathError
from algos.ids._kind import FIRST, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from algos.ids._kind import Fill

TICK, COUNT, BITS, FINE, LEAD, SINCE, UNTIL, OWN_CLOCK, OWN = range(FIRST, FIRST + 9)
"""Words of the state: the last id's tick and counter; the counter's bits, and whether it is a fraction of the
tick and follows the clock; how many ticks ids may be ahead; the first and last tick of a clock by which there
are ids; whether it is the system's; and where the words of a kind begin."""
PATIENCE_NS = 5 * 10**9
MAX_LEAD_MS = 5000
sleep = time.sleep


class Run(NamedTuple):
    """So many ids in a row: the tick and counter of the first."""

    n: int
    tick: int
    first: int


@inlined
def advance(state: Any, n: Any, now: Any, count: Any) -> Any:
    """Take up to ``n`` ids, the clock being at tick ``now``, where a counter begins at ``count``.

    Return how many, and the tick and counter of the first; if none, the tick that it would have.
    """
    last, at, bits = state[TICK], state[COUNT], state[BITS]
    mask, end = (U1 << bits) - U1, min(now + state[LEAD], state[UNTIL])
    tick, first = now, count
    if (now < last) | ((now == last) & ((state[FINE] == U64(0)) | (count <= at))):
        first = at + U1
        tick, first = last + (first >> bits), first & mask
    if (tick > end) | (now < state[SINCE]):
        return U64(0), tick, first
    granted = min(n, ((end - tick + U1) << bits) - first)
    final = first + granted - U1
    state[TICK], state[COUNT] = tick + (final >> bits), final & mask
    return granted, tick, first


@inlined
def grow(state: Any, n: Any, now: Any, high: Any, low: Any, step: Any) -> Any:
    """Take ``n`` numbers of two words, each ``step`` more than the one before.

    In a new tick the first is that given; ``COUNT`` has the lower word of the last, and ``OWN`` the upper
    one, which has ``BITS``. Return 1, or 0 for a tick that cannot be had yet, or 2 where the numbers are used
    up; the tick, and the first number.
    """
    tick = now
    if now <= state[TICK]:
        tick, low = state[TICK], state[COUNT] + step
        high = state[OWN] + U64(low < step)
    final = low + (n - U1) * step
    carried = high + U64(final < low)
    if (tick > min(now + state[LEAD], state[UNTIL])) | (now < state[SINCE]):
        return 0, tick, high, low
    if carried >> state[BITS]:
        return 2, tick, high, low
    state[TICK], state[COUNT], state[OWN] = tick, final, carried
    return 1, tick, high, low


@kernel
def _grow(state: Any, n: Any, now: Any, high: Any, low: Any, step: Any) -> Any:
    return grow(state, n, now, high, low, step)


@kernel
def _advance(state: Any, n: Any, now: Any, count: Any) -> Any:
    return advance(state, n, now, count)


class ClockedKind(Kind):
    """A generator of ids that begin with the time."""

    __slots__ = ("_clock",)
    TICK_NS: ClassVar[int] = 1_000_000
    TICK_BITS: ClassVar[int] = 48

    def __init__(
        self, bits: int, lead: int, clock: Callable[[], int] | None, *words: int, fine: bool = False
    ) -> None:
        """Begin with a counter of so many bits, and ids at most ``lead`` ticks ahead of the clock."""
        until, own = (1 << self.TICK_BITS) - 1, int(clock is None and hasattr(time, "clock_gettime"))
        super().__init__(0, 0, bits, int(fine), lead, 0, until, own, *words)
        self._clock = clock or time.time_ns

    def _tick(self, now_ns: int) -> int:
        """Return the tick of a time."""
        return now_ns // self.TICK_NS

    def _first_count(self, now_ns: int) -> int:
        """Return where the counter of a new tick begins."""
        del now_ns
        return 0

    def _now(self) -> tuple[int, int]:
        """Return the time, and its tick if there can be ids of it."""
        now_ns = self._clock()
        now = self._tick(now_ns)
        if not 0 <= now <= int(self._state[UNTIL]):
            raise HotpathError(f"the clock is at {now_ns} ns since 1970, where there is no {self.NAME}")
        return now_ns, now

    def _runs(self, n: int) -> list[Run]:
        """Take ``n`` ids that are counted, waiting where the clock has to come after."""
        runs = []
        while n:
            now_ns, now = self._now()
            granted, tick, count = _advance(self._state, U64(n), U64(now), U64(self._first_count(now_ns)))
            if granted:
                runs.append(Run(int(granted), int(tick), int(count)))
                n -= int(granted)
            else:
                self._wait(int(tick), now)
        return runs

    def _numbers(self, n: int, number: Callable[[], int], step: int) -> tuple[int, int, int]:
        """Take ``n`` numbers of two words; return the tick of all, and the first one."""
        while True:
            _, now = self._now()
            first = number()
            high, low = U64(first >> 64), U64(first & (1 << 64) - 1)
            done, tick, high, low = _grow(self._state, U64(n), U64(now), high, low, U64(step))
            if done == 1:
                return int(tick), int(high), int(low)
            if done == 2:
                raise OverflowError(
                    f"the numbers of this millisecond are used up by {n} {self.NAME}s: take fewer, or again "
                    "in a millisecond"
                )
            self._wait(int(tick), now)

    def _go_on_from(self, number: int) -> None:
        """Let the next id be one after this number, in a tick without ids yet."""
        self._state[TICK] += 1
        self._state[OWN], self._state[COUNT] = number >> 64, number & (1 << 64) - 1

    def _wait(self, tick: int, now: int) -> None:
        """Wait until an id of this tick may be minted."""
        if tick > int(self._state[UNTIL]):
            raise HotpathError(f"there is no {self.NAME} after this time: its bits of time are used up")
        ticks = max(tick - int(self._state[LEAD]), int(self._state[SINCE])) - now
        if ticks * self.TICK_NS > PATIENCE_NS:
            seconds = ticks * self.TICK_NS / 1e9
            raise HotpathError(
                f"the clock has {seconds:.3f} s to go before there can be another {self.NAME}: it was set "
                "back; let it come after, or make a new generator"
            )
        sleep(ticks * self.TICK_NS / 1e9)


def spread(runs: list[Run], make: Callable[[Run, int, int, Any], None]) -> Fill:
    """Return what fills an array with ids of several runs.

    ``make(run, offset, at, out)`` makes those from ``offset`` in a run on, which are ids ``at``.. of the
    batch.
    """
    starts = [0, *accumulate(run.n for run in runs)]

    def fill(at: int, out: Any) -> None:
        for run, start in zip(runs, starts, strict=False):
            lo, hi = max(at, start), min(at + len(out), start + run.n)
            if lo < hi:
                make(run, lo - start, lo, out[lo - at : hi - at])

    return fill


def check_lead(max_lead_ms: Any) -> int:
    """Return how far ids may be ahead of the clock."""
    lead = integer("max_lead_ms", max_lead_ms)
    if not 0 <= lead <= MAX_LEAD_MS:
        raise ValueError(f"max_lead_ms={lead} is outside 0..{MAX_LEAD_MS}; a restart waits as long")
    return lead


def leading(ids: Any, size: int) -> Any:
    """Return the first ``size`` bytes of each id as a number: int64[n]."""
    padded = np.zeros((len(ids), 8), np.uint8)
    padded[:, 8 - size :] = ids[:, :size]
    return padded.view(">i8").reshape(-1).astype(np.int64)


def as_times(values: Any, unit: str) -> Any:
    """Return int64 ticks since 1970 as ``datetime64``."""
    return values.view(f"M8[{unit}]")
