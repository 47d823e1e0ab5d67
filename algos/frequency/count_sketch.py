"""Count sketch: how often each key came, without bias, in rows of counters that keys share with signs.

Charikar, Chen, Farach-Colton: Finding frequent items in data streams, 2002. A key adds its weight to one
counter of each row with a sign of its own there; the estimate is the median over rows of the counter with
that sign again::

    row 0 | c | c | c | ... | c |     counters: int64[depth * width], row after row
    row 1 | c | c | c | ... | c |     place in row r: (hash * a^r mod 2^64) * width / 2^64
    ...                               sign in row r: bit 32 + r of (hash ^ hash >> 32) * golden ratio

Others' weights in a counter come with either sign alike. So a row's error is 0 in the mean and its variance
at most F2 / width, F2 being the sum of the squared counts; and as it is symmetric, the median, of an odd
number of rows, has no bias either. By Chebyshev a row is off by t or more with a chance of at most p = F2 /
(width t^2), and the median only where more than half of the rows are so on one side: twice the tail of a
binomial law of p / 2.

F2 is small where counts are even, N^2 / keys, and then errors are far below the N / width of Count-Min
sketches; where single keys have most of N they are not, and errors have both signs. Weights may be negative:
what was added can be taken away, and the difference of two streams be asked for. Counters never overflow.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from algos._bits import U1, U2, U32_, U63, U64, borrowed, mulhi32, prefetch
from algos._fastcall import Method, Native, as_none, as_signed, number_of, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.frequency._checks import MAX_DEPTH, check_depth, check_share, least_bound
from algos.frequency._counts import (
    COUNTERS,
    MOST,
    MOST_,
    ONES,
    STATE,
    TOTAL,
    U0,
    Linear,
    counted_alone,
    exact_sum,
)
from algos.frequency._rows import BATCH, DEPTH, STEP, WIDTH, Rows, is_far, shares
from algos.hashing._keyed import hash_alone
from algos.hashing.splitmix64 import GAMMA

SUM = 1
"""Where in the state the sum of weights is, as two's complement; before it that of their magnitudes."""


@inlined
def _signs(h: Any) -> Any:
    """Return a key's signs, a bit for each row; 1 is minus."""
    return ((h ^ (h >> U32_)) * GAMMA) >> U32_


@inlined
def _signed(word: Any, sign: Any) -> Any:
    """Return a word, or its negative where ``sign`` is 1."""
    return (word ^ (U0 - sign)) + sign


@inlined
def _locate(shape: Any, counters: Any, hashes: Any, lo: Any, count: Any, places: Any, at: Any) -> None:
    """Write where the counters of so many keys from ``lo`` on are, row after row, each above its sign."""
    width, depth, far = shape
    factor, base = U1, U0
    for r in range(depth):
        for j in range(count):
            place = base + mulhi32(hashes[lo + j] * factor, width)
            places[at + j] = place << U1 | (_signs(hashes[lo + j]) >> r & U1)
        if far:
            for j in range(count):
                prefetch(counters, places[at + j] >> U1)
        factor *= STEP
        base += width
        at += BATCH


@inlined
def _count_rows(shape: Any, counters: Any, hashes: Any, weights: Any, places: Any) -> None:
    counters, hashes = borrowed(counters), borrowed(hashes)
    weights, places = borrowed(weights), borrowed(places)
    n, each, new, old = U64(hashes.size), U64(weights.size > 1), U0, U64(places.size) >> U1
    _locate(shape, counters, hashes, U0, min(BATCH, n), places, new)
    for lo in range(U0, n, BATCH):
        new, old, following = old, new, lo + BATCH
        if following < n:
            _locate(shape, counters, hashes, following, min(BATCH, n - following), places, new)
        for row in range(old, old + (U64(places.size) >> U1), BATCH):
            for j in range(min(BATCH, n - lo)):
                found = places[row + j]
                counters[found >> U1] += _signed(weights[(lo + j) * each], found & U1)


@inlined
def _read_rows(shape: Any, counters: Any, hashes: Any, places: Any, values: Any, out: Any) -> None:
    counters, hashes, places = borrowed(counters), borrowed(hashes), borrowed(places)
    values, out = borrowed(values), borrowed(out)
    n, new, old = U64(hashes.size), U0, U64(places.size) >> U1
    _locate(shape, counters, hashes, U0, min(BATCH, n), places, new)
    for lo in range(U0, n, BATCH):
        new, old, following = old, new, lo + BATCH
        if following < n:
            _locate(shape, counters, hashes, following, min(BATCH, n - following), places, new)
        for i in range(U64(values.size)):  # of the last batch some, or all, are of no key
            found = places[old + i]
            values[i] = np.int64(_signed(counters[found >> U1], found & U1))
        _sort_rows(values)
        middle = (U64(values.size) // BATCH >> U1) * BATCH
        for j in range(min(BATCH, n - lo)):
            out[lo + j] = values[middle + j]


@inlined
def _sort_rows(values: Any) -> None:
    """Sort the values of each key of a batch over its rows: neighbours change places, all keys' at once."""
    depth = U64(values.size) // BATCH
    for turn in range(depth):
        for row in range((turn & U1) * BATCH, (depth - U1) * BATCH, U2 * BATCH):
            for j in range(row, row + BATCH):
                a, b = values[j], values[j + BATCH]
                values[j], values[j + BATCH] = min(a, b), max(a, b)


@kernel
def _count(counters: Any, width: Any, depth: Any, hashes: Any, weights: Any) -> None:
    places = np.zeros(U2 * BATCH * depth, np.uint64)
    _count_rows((width, depth, is_far(counters)), counters, hashes, weights, places)


@kernel
def _read(counters: Any, width: Any, depth: Any, hashes: Any, out: Any) -> None:
    places, values = np.zeros(U2 * BATCH * depth, np.uint64), np.empty(BATCH * depth, np.int64)
    _read_rows((width, depth, is_far(counters)), counters, hashes, places, values, out)


@inlined
def _value(counters: Any, width: Any, h: Any, r: Any) -> Any:
    """Return what row ``r`` says of a key."""
    x = h
    for _ in range(r):
        x *= STEP
    return np.int64(_signed(counters[r * width + mulhi32(x, width)], _signs(h) >> r & U1))


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if not plain:
        return slowly(me, "_estimate_one", arguments, count, names)
    counters, width, depth = uint64s_of(me, COUNTERS), number_of(me, WIDTH), number_of(me, DEPTH)
    median = np.int64(0)
    for r in range(depth):
        value, below, above = _value(counters, width, h, r), U0, U0
        for other in range(depth):
            another = _value(counters, width, h, other)
            below += U64(another < value)
            above += U64(another > value)
        if (below <= depth >> U1) & (above <= depth >> U1):
            median = value
    return as_signed(median)


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h, weight = counted_alone(me, arguments, count, names)
    state, magnitude = uint64s_of(me, STATE), _signed(weight, weight >> U63)
    if not plain or magnitude > MOST_ - state[TOTAL]:
        return slowly(me, "_add_one", arguments, count, names)
    counters, width, x, base = uint64s_of(me, COUNTERS), number_of(me, WIDTH), h, U0
    for r in range(number_of(me, DEPTH)):
        counters[base + mulhi32(x, width)] += _signed(weight, _signs(h) >> r & U1)
        x *= STEP
        base += width
    state[TOTAL] += magnitude
    state[SUM] += weight
    return as_none()


def _failing(shares: Any) -> float:
    """Return the chance that more than half of the rows are off by more than t, all on one side.

    ``shares`` are the rows' chances of being off by more, on either side alike.
    """
    chances = np.zeros(len(shares) + 1)  # of so many rows being off on one side
    chances[0] = 1.0
    for share in shares:
        chances[1:] += (chances[:-1] - chances[1:]) * (share / 2.0)
        chances[0] *= 1.0 - share / 2.0
    return 2.0 * float(chances[len(shares) // 2 + 1 :].sum())


def _row_share(depth: int, delta: float) -> float:
    """Return the chance of failing that each row may have for the median to fail with ``delta``."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _failing([middle] * depth) <= delta else (low, middle)
    return low


class CountSketch(Rows, Linear):
    """A count sketch of ``depth`` rows, an odd number, of ``width`` 64-bit counters.

    Estimates have no bias, and ``error_bound`` says how far they are off. Weights may be negative; their
    magnitudes may sum to 2^63 - 1. ``add`` and ``estimate`` are O(depth). Memory: 8 width depth bytes.
    Merging is exact.

    >>> sketch = CountSketch.from_error(epsilon=0.01, delta=0.01)
    >>> sketch.add_many(["a", "b", "a"], weights=[5, 7, -2])
    >>> sketch.estimate("a"), sketch.estimate_many(["a", "b", "c"]).tolist(), sketch.total
    (3, [3, 7, 0], 10)
    """

    __slots__ = ()
    COUNTER, WORDS = np.uint64, 2

    @classmethod
    def from_error(cls, epsilon: float, delta: float, *, seed: int = 0) -> Self:
        """Make a sketch off by more than ``epsilon * sqrt(F2)`` for a share ``delta`` of keys at most.

        It is the one of the fewest counters for which the law of this module says so.
        """
        epsilon, delta = check_share("epsilon", epsilon), check_share("delta", delta)
        shares = {depth: _row_share(depth, delta) for depth in range(1, MAX_DEPTH, 2)}
        depth = min(shares, key=lambda d: d / shares[d])
        return cls(math.ceil(1.0 / (shares[depth] * epsilon**2)), depth, seed=seed)

    @staticmethod
    def _check_depth(depth: Any) -> int:
        if check_depth(depth) % 2 == 0:
            raise ValueError(
                f"depth={depth} is even, and a median of so many rows no better: use {depth - 1}"
            )
        return int(depth)

    @property
    def total(self) -> int:
        """The sum of all weights added."""
        return int(self._state.view(np.int64)[SUM])

    def error_bound(self, confidence: float = 0.99) -> int:
        """Return what an estimate is off by at most, with this ``confidence``, O(nbytes).

        The counters tell: a key that never came finds one of a magnitude above t in a row with the row's
        share of such, and errs by more than t where most rows do so on one side.
        """
        magnitudes = np.abs(self._counters.view(np.int64)).reshape(self.depth, self.width)
        return least_bound(lambda t: _failing(shares(magnitudes > t)), int(magnitudes.max()), confidence)

    def inner_product(self, other: CountSketch) -> float:
        """Return an estimate of the sum over keys of the products of their counts: the size of a join.

        Of a sketch with itself it is F2, the sum of the squared counts; a row's standard error is then
        ``F2 sqrt(2 / width)``. Raises ``ValueError`` unless size, depth and seed are the same.
        """
        self._check_mergeable(other)
        mine, theirs = (
            s._counters.view(np.int64).reshape(s.depth, s.width).astype(np.float64) for s in (self, other)
        )
        return float(np.median(np.einsum("ij,ij->i", mine, theirs)))

    def _checked(self, weights: Any, n: int) -> Any:
        array = np.asarray(weights)
        if array.dtype.kind not in "iu" or array.ndim > 1:
            raise TypeError(f"weights must be an int or an array of {n} ints, not {type(weights).__name__}")
        if array.ndim == 1 and len(array) != n:
            raise ValueError(f"weights has {len(array)} items for {n} keys")
        wrong = array > MOST if array.dtype == np.uint64 else array < -MOST
        if wrong.any():
            raise ValueError(f"weights has {array[wrong].reshape(-1)[0]}, outside -(2**63 - 1)..2**63 - 1")
        return np.atleast_1d(array.astype(np.int64, "C", copy=False).view(np.uint64))

    def _sums(self, weights: Any) -> tuple[int, ...]:
        if weights is ONES:
            return 1, 1
        signed = weights.view(np.int64)
        return exact_sum(np.abs(signed).view(np.uint64)), int(signed.sum())

    def _count(self, hashes: Any, weights: Any, total: int) -> None:  # noqa: ARG002 - counters are wide enough
        _count(self._counters, U64(self.width), U64(self.depth), hashes, weights)

    def _read(self, hashes: Any, out: Any) -> None:
        _read(self._counters, U64(self.width), U64(self.depth), hashes, out)

    def _pool(self, counters: Any) -> None:
        self._counters += counters

    estimate = Method(_ask, "_estimate_one")
    add = Method(_put, "_add_one")

    def _possible(self) -> bool:
        counters = self._counters.view(np.int64).reshape(self.depth, self.width)
        if (counters == np.iinfo(np.int64).min).any() or not -MOST <= self.total <= MOST:
            return False
        magnitude = int(self._state[TOTAL])
        return abs(self.total) <= magnitude and all(
            exact_sum(np.abs(row).view(np.uint64)) <= magnitude for row in counters
        )
