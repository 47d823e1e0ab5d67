"""Morris counters: a byte that counts to millions, in an array of them.

Morris: Counting large numbers of events in small registers, 1978; Flajolet: Approximate counting: a detailed
analysis, 1985. Of a counter at level c one hit in (1 + 1/a)^c raises it, and it stands for

    v(c) = a ((1 + 1/a)^c - 1) hits

which is an unbiased estimate of the hits n, whose variance is n (n - 1) / 2a: its relative error is about
1 / sqrt(2a) whatever n. The highest level is 255, where counting ends. So ``a`` is a matter of how far:

    a        8         10        16        30        60        120
    error    25 %      22 %      18 %      13 %      9 %       6 %
    ends at  9e13      3.6e11    8.3e7     1.3e5     4.0e3     8.9e2

Keys that share a slot are counted together; give them slots of their own, or a size well above their number.
Good for many counters in little memory, where a tenth or a fifth off is no matter. O(1); many hits at once
cost O(levels raised).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._fastcall import Method, Native, as_float, float64s_of, slowly
from algos.frequency._levels import VALUES, Levels, level_alone, tables

if TYPE_CHECKING:
    from algos._state import Parameters

LEAST_A, MOST_A = 0.125, float(1 << 20)


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, level = level_alone(me, arguments, count, names)
    if plain:
        return as_float(float64s_of(me, VALUES)[level])
    return slowly(me, "_estimate_one", arguments, count, names)


class MorrisCounters(Levels):
    """``size`` Morris counters of one byte, whose estimates have a relative error of ``1 / sqrt(2a)``.

    Keys choose a counter by their hash, and slots by number: ``add_slots``. Estimates are ``float``. What is
    drawn by chance is decided by ``seed`` and by all that was added before. O(1). Memory: a byte a counter.

    >>> counters = MorrisCounters(1000, a=16)
    >>> counters.add_many(["a", "b"], weights=[1, 1000])
    >>> counters.estimate("a"), 500 < counters.estimate("b") < 1500, counters.estimate("c")
    (1.0, True, 0.0)
    """

    __slots__ = ("a",)
    ESTIMATE = np.float64
    a: float

    def __init__(self, size: int, a: float = 30.0, *, seed: int = 0) -> None:
        if isinstance(a, bool) or not isinstance(a, (int, float, np.number)):
            raise TypeError(f"a must be a number, not {type(a).__name__}")
        if not LEAST_A <= a <= MOST_A:
            raise ValueError(f"a={a} is outside 1/8..2**20; 30 counts to 10^5, with an error of 13 %")
        self.a = float(a)
        self._begin(size, seed)

    @property
    def standard_error(self) -> float:
        """The relative standard error of estimates: ``1 / sqrt(2a)``."""
        return 1.0 / math.sqrt(2.0 * self.a)

    estimate = Method(_ask, "_estimate_one")

    def _set_law(self) -> None:
        rise, levels = math.log1p(1.0 / self.a), np.arange(256)
        chances = np.exp(-rise * levels).tolist()
        self._thresholds, self._rests = tables([max(1, int(p * 2**64)) for p in chances])
        self._values = self.a * np.expm1(rise * levels)

    def _parameters(self) -> dict[str, Any]:
        return {"size": self.size, "a": self.a, "seed": self.seed}

    @classmethod
    def _restore(cls, parameters: Parameters, payload: memoryview) -> Self:
        self = cls.__new__(cls)
        self.a = parameters.number("a", LEAST_A, MOST_A)
        return self._take_levels(parameters, payload)
