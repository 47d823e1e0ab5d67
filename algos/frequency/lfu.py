"""LFU counters: how often things in a cache are used, in a byte each, as Redis counts it.

The law of Redis's LFU policies (redis.conf and evict.c, since 4.0; the idea is Morris's, 1978). A counter
begins at level 5, so that what is new is not thrown out at once, and a hit raises level c with

    p = 1 / ((c - 5) f + 1),    f = log_factor;    p = 1 below 5

up to 255. Level c stands for ``(c - 5) + f (c - 5) (c - 6) / 2`` hits, an unbiased estimate while nothing
decays: with f = 10 the highest level stands for 311,500. The variance for n hits is about 2/3 sqrt(2f) n^1.5,
so that relative errors fall as n^(-1/4): with f = 10 from 31 % at 1,000 hits to 10 % at 100,000.

Time lowers every level by one for each ``decay_minutes``, and never below 0. Redis does that to a key when it
next looks at it, so where ``decay_minutes`` is 1 levels are those of Redis. With more, each use begins a
period afresh there, and what is used often never decays; here it does.

Good for deciding what a cache keeps: an array of levels by slot, to be compared. A hit is O(1), a decay
O(size), by vectors of counters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._arguments import integer
from algos._bits import U64
from algos._fastcall import Method, Native, as_int, slowly, uint64s_of
from algos.errors import CorruptDataError
from algos.frequency._levels import VALUES, Levels, level_alone, tables

if TYPE_CHECKING:
    from algos._state import Parameters

INIT = 5
CARRIED = 2
"""Where in the state the minutes are that lowered nothing yet."""
MOST_FACTOR, MOST_MINUTES = 1 << 30, 1 << 40


def _check(name: str, value: Any, least: int, most: int, remedy: str) -> int:
    value = integer(name, value)
    if not least <= value <= most:
        raise ValueError(f"{name}={value} is outside {least}..{most}; {remedy}")
    return value


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, level = level_alone(me, arguments, count, names)
    if plain:
        return as_int(uint64s_of(me, VALUES)[level])
    return slowly(me, "_estimate_one", arguments, count, names)


class LfuCounters(Levels):
    """``size`` counters of one byte, by the law of Redis's LFU, for a cache of so many slots.

    ``levels`` (``uint8[size]``) are what Redis shows as ``OBJECT FREQ``; ``estimate_slots`` tells of how many
    hits each is the sign. Keys may also choose a counter by their hash, which some then share. What is drawn
    by chance is decided by ``seed`` and by all that was added before. O(1). Memory: a byte a counter.

    >>> lfu = LfuCounters(1000)
    >>> lfu.add_slots([3, 4], weights=[1, 100_000])
    >>> lfu.levels[[2, 3]].tolist(), 120 < int(lfu.levels[4]) < 170
    ([5, 6], True)
    >>> lfu.decay(minutes=2)
    >>> lfu.levels[[2, 3]].tolist()
    [3, 4]
    """

    __slots__ = ("decay_minutes", "log_factor")
    WORDS, FIRST = 3, INIT
    log_factor: int
    decay_minutes: int

    def __init__(self, size: int, log_factor: int = 10, decay_minutes: int = 1, *, seed: int = 0) -> None:
        self.log_factor = _check("log_factor", log_factor, 0, MOST_FACTOR, "Redis has 10")
        self.decay_minutes = _check("decay_minutes", decay_minutes, 1, MOST_MINUTES, "Redis has 1")
        self._begin(size, seed)

    def decay(self, minutes: int) -> None:
        """Let ``minutes`` pass, which lower every level by one for each ``decay_minutes``; O(size)."""
        passed = _check("minutes", minutes, 0, MOST_MINUTES, "time only passes") + int(self._state[CARRIED])
        periods, rest = divmod(passed, self.decay_minutes)
        lost = np.uint8(min(periods, 255))
        np.maximum(self._counters, lost, out=self._counters)
        np.subtract(self._counters, lost, out=self._counters)
        self._state[CARRIED] = U64(rest)

    def reset_slots(self, slots: Any) -> None:
        """Set the counters at ``slots``, ints in 0..size-1, to the level of what is new, 5."""
        self._counters[self._slots(slots)] = INIT

    estimate = Method(_ask, "_estimate_one")

    def _set_law(self) -> None:
        above = [max(0, c - INIT) for c in range(256)]
        self._thresholds, self._rests = tables([2**64 // (c * self.log_factor + 1) for c in above])
        self._values = np.array([c + self.log_factor * (c * (c - 1) // 2) for c in above], np.int64)

    def _parameters(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "log_factor": self.log_factor,
            "decay_minutes": self.decay_minutes,
            "seed": self.seed,
        }

    @classmethod
    def _restore(cls, parameters: Parameters, payload: memoryview) -> Self:
        self = cls.__new__(cls)
        self.log_factor = parameters.integer("log_factor", 0, MOST_FACTOR)
        self.decay_minutes = parameters.integer("decay_minutes", 1, MOST_MINUTES)
        self._take_levels(parameters, payload)
        if self._state[CARRIED] >= self.decay_minutes:
            raise CorruptDataError(f"{self._state[CARRIED]} minutes are carried, of {self.decay_minutes}")
        return self
