"""Count-Min sketch: how often each key came, never too low, in rows of counters that keys share.

Cormode, Muthukrishnan: An improved data stream summary: the count-min sketch and its applications, 2005.
A key adds its weight to one counter of each row, and the least of its counters is the estimate::

    row 0 | c | c | c | ... | c |     counters: uint32[depth * width], row after row
    row 1 | c | c | c | ... | c |     place in row r: (hash * a^r mod 2^64) * width / 2^64
    ...

Others' weights in a counter are N / width in the mean, N being the sum of all, so that by Markov they are
more than e N / width in one row with a chance of 1/e, and in all of them with e^-depth. This holds for any
keys and weights that were chosen without knowing the seed. It is a bound for the tail: where few keys have
most of N, errors are far smaller, and where N is spread evenly, near N / width for every key.

A counter stays at 2^32 - 1 once it is there, and an estimate of that much means as much or more. Adding and
asking are O(depth), a cache miss for each row once the counters are larger than the cache. Good for
estimates to be merged, and for joins. ``ConservativeCountMinSketch`` has smaller errors, and merges less
exactly; ``BlockedCountMinSketch`` one miss for all rows; ``CountSketch`` no bias, and negative weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U64, mulhi32
from algos._fastcall import Method, Native, as_none, number_of, slowly, uint32s_of, uint64s_of
from algos._jit import kernel
from algos.frequency._counts import COUNTERS, MOST_, STATE, TOTAL, U0, Linear, counted_alone
from algos.frequency._rows import (
    DEPTH,
    FULL,
    STEP,
    WIDTH,
    LeastOfRows,
    count_rows,
    is_far,
    locate,
    raised,
    two_batches,
)


@kernel
def _count(counters: Any, width: Any, depth: Any, hashes: Any, weights: Any, filling: Any) -> None:
    shape = width, depth, is_far(counters)
    count_rows(locate, shape, counters, hashes, weights, filling, two_batches(depth))


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, x, weight = counted_alone(me, arguments, count, names)
    state = uint64s_of(me, STATE)
    if plain and weight <= MOST_ - state[TOTAL]:
        counters, width, base = uint32s_of(me, COUNTERS), number_of(me, WIDTH), U0
        for _ in range(number_of(me, DEPTH)):
            at = base + mulhi32(x, width)
            counters[at] = raised(counters[at], weight)
            x *= STEP
            base += width
        state[TOTAL] += weight
        return as_none()
    return slowly(me, "_add_one", arguments, count, names)


class CountMinSketch(LeastOfRows, Linear):
    """A Count-Min sketch of ``depth`` rows of ``width`` 32-bit counters.

    An estimate is never too low, and too high by more than ``e * total / width`` for one key in e^depth at
    most. ``add`` and ``estimate`` are O(depth). Memory: 4 width depth bytes. Merging is exact.

    >>> sketch = CountMinSketch.from_error(epsilon=0.001, delta=0.01)
    >>> sketch.width, sketch.depth
    (2719, 5)
    >>> sketch.add_many(["a", "b", "a"], weights=[1, 5, 2])
    >>> sketch.estimate("a"), sketch.estimate_many(["a", "b", "c"]).tolist(), sketch.total
    (3, [3, 5, 0], 8)
    """

    __slots__ = ()

    add = Method(_put, "_add_one")

    def _count(self, hashes: Any, weights: Any, total: int) -> None:
        _count(self._counters, U64(self.width), U64(self.depth), hashes, weights, total > FULL)

    def inner_product(self, other: CountMinSketch) -> float:
        """Return an estimate of the sum over keys of the products of their counts: the size of a join.

        Never too low, and too high by more than ``e * total * other.total / width`` with a chance of
        e^-depth at most. Raises ``ValueError`` unless size, depth and seed are the same.
        """
        self._check_mergeable(other)
        mine, theirs = (s._counters.reshape(s.depth, s.width).astype(np.float64) for s in (self, other))
        return float(np.einsum("ij,ij->i", mine, theirs).min())

    def _possible(self) -> bool:
        rows = self._counters.reshape(self.depth, self.width)
        sums, full = rows.sum(axis=1, dtype=np.uint64), (rows == FULL).any(axis=1)
        return bool(((sums == self._state[TOTAL]) | (full & (sums < self._state[TOTAL]))).all())
