"""Count-Min sketch with conservative updates: what a key needs not be raised for it is not.

Estan, Varghese: New directions in traffic measurement and accounting, 2002. The rows are those of
``CountMinSketch``. A key of weight w raises to ``least + w`` those of its counters that are below, where
``least`` is its estimate, and leaves the others as they are::

    row 0 | 7 |                       row 0 | 7 |
    row 1 | 4 |   add(key, 2)  ->     row 1 | 6 |      the estimate, 4, becomes 6; so much at least is true
    row 2 | 5 |                       row 2 | 6 |

No counter is ever above the plain sketch's, and none of a key's below what the key counts; so the plain
sketch's bound holds, and errors are a fraction of its: few keys raise all of their counters. The order of
keys matters: a batch is counted in its order, one key after the other. Weights cannot be negative.

Sums of such sketches keep both promises, and are not what one sketch of everything would be, which may be
lower. Good for the best estimates in given memory, at about twice the time of the plain sketch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U64, borrowed, mulhi32
from algos._fastcall import Method, Native, as_none, number_of, slowly, uint32s_of, uint64s_of
from algos._jit import inlined, kernel
from algos.frequency._counts import COUNTERS, MOST_, STATE, TOTAL, U0, Pooled, counted_alone
from algos.frequency._rows import (
    BATCH,
    DEPTH,
    STEP,
    WIDTH,
    LeastOfRows,
    is_far,
    least,
    locate,
    raised,
    two_batches,
)


@inlined
def _count_in_turn(shape: Any, counters: Any, hashes: Any, weights: Any, places: Any) -> None:
    counters, hashes = borrowed(counters), borrowed(hashes)
    weights, places = borrowed(weights), borrowed(places)
    n, each, new, old = U64(hashes.size), U64(weights.size > 1), U0, U64(places.size) >> U1
    locate(shape, counters, hashes, U0, min(BATCH, n), places, new)
    for lo in range(U0, n, BATCH):
        new, old, following = old, new, lo + BATCH
        if following < n:
            locate(shape, counters, hashes, following, min(BATCH, n - following), places, new)
        for j in range(min(BATCH, n - lo)):
            first, last = old + j, old + j + (U64(places.size) >> U1)
            goal = counters[places[first]]
            for at in range(first + BATCH, last, BATCH):
                goal = min(goal, counters[places[at]])
            goal = raised(goal, weights[(lo + j) * each])
            for at in range(first, last, BATCH):
                counters[places[at]] = max(counters[places[at]], goal)


@kernel
def _count(counters: Any, width: Any, depth: Any, hashes: Any, weights: Any) -> None:
    _count_in_turn((width, depth, is_far(counters)), counters, hashes, weights, two_batches(depth))


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, x, weight = counted_alone(me, arguments, count, names)
    state = uint64s_of(me, STATE)
    if not plain or weight > MOST_ - state[TOTAL]:
        return slowly(me, "_add_one", arguments, count, names)
    counters, width, depth = uint32s_of(me, COUNTERS), number_of(me, WIDTH), number_of(me, DEPTH)
    goal, base = raised(least(counters, width, depth, x), weight), U0
    for _ in range(depth):
        at = base + mulhi32(x, width)
        counters[at] = max(counters[at], goal)
        x *= STEP
        base += width
    state[TOTAL] += weight
    return as_none()


class ConservativeCountMinSketch(LeastOfRows, Pooled):
    """A Count-Min sketch of ``depth`` rows of ``width`` 32-bit counters, updated conservatively.

    An estimate is never too low, never above that of a ``CountMinSketch`` of the same size and seed, and so
    too high by more than ``e * total / width`` for one key in e^depth at most. ``add`` and ``estimate`` are
    O(depth). Memory: 4 width depth bytes.

    A merged sketch keeps these bounds, for all keys of both; it is not the sketch that had counted all of
    them, whose estimates may be lower. Which is also why one batch cannot be counted by several threads.

    >>> sketch = ConservativeCountMinSketch.from_error(epsilon=0.001, delta=0.01)
    >>> sketch.add_many(["a", "b", "a"], weights=[1, 5, 2])
    >>> sketch.estimate("a"), sketch.estimate_many(["a", "b", "c"]).tolist(), sketch.total
    (3, [3, 5, 0], 8)
    """

    __slots__ = ()

    def merge(self, other: ConservativeCountMinSketch) -> None:
        """Add the counters of ``other``: estimates are then never too low for what both counted.

        And never above those of a merged ``CountMinSketch``. Raises ``ValueError`` unless size, depth and
        seed are the same.
        """
        super().merge(other)

    add = Method(_put, "_add_one")

    def _count(self, hashes: Any, weights: Any, total: int) -> None:  # noqa: ARG002 - the least is watched
        _count(self._counters, U64(self.width), U64(self.depth), hashes, weights)

    def _possible(self) -> bool:
        sums = self._counters.reshape(self.depth, self.width).sum(axis=1, dtype=np.uint64)
        return bool((sums <= self._state[TOTAL]).all())
