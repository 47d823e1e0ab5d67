"""Rows of counters, in each of which a key has one: where that is, and what Count-Min sketches read of it.

The counters of ``depth`` rows of ``width`` follow one another. A key's place in row ``r`` is that of
``hash * a^r mod 2^64`` as a fraction of 2^64: the states of a linear congruential generator that starts at
the hash. Whether two keys meet in several rows is then a matter of the lattice of its successive states, for
this multiplier as good as lattices get in up to eight dimensions (Steele, Vigna: Computationally easy,
spectrally good multipliers for congruential pseudorandom number generators, 2022). Places ``h1 + r h2`` are
no cheaper, and of two keys that meet in two rows there, more than one in three meet in the next as well.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from algos._bits import U1, U2, U32, U64, aligned_zeros, borrowed, mulhi32, prefetch
from algos._fastcall import Method, Native, as_int, number_of, place, slowly, uint32s_of
from algos._jit import inlined, kernel
from algos.errors import CorruptDataError
from algos.frequency._checks import MAX_DEPTH, MAX_WIDTH, check_depth, check_share, check_width, least_bound
from algos.frequency._counts import COUNTERS, U0, Counts
from algos.hashing._keyed import hash_alone, house_hasher

if TYPE_CHECKING:
    from algos._state import Parameters

STEP = U64(0xD1342543DE82EF95)
BATCH = U64(64)
"""Keys whose places are found, in a vector loop, while the counters of those before them are used."""
FAR_BYTES = 8 << 20
"""From this size on counters are fetched ahead: below it, out of order, misses overlap well enough."""
FULL = U64(0xFFFF_FFFF)


@inlined
def locate(shape: Any, counters: Any, hashes: Any, lo: Any, count: Any, places: Any, at: Any) -> None:
    """Write where the counters of so many keys from ``lo`` on are, row after row."""
    width, depth, far = shape
    factor, base = U1, U0
    for _ in range(depth):
        for j in range(count):
            places[at + j] = base + mulhi32(hashes[lo + j] * factor, width)
        if far:
            for j in range(count):
                prefetch(counters, places[at + j])
        factor *= STEP
        base += width
        at += BATCH


@inlined
def raised(value: Any, weight: Any) -> Any:
    """Return a 32-bit counter with a weight below 2^63 added, or its most where that is more."""
    return U32(min(U64(value) + weight, FULL))


@inlined
def count_rows(
    find: Any, shape: Any, counters: Any, hashes: Any, weights: Any, filling: Any, places: Any
) -> None:
    """Add weights to the counters that ``find`` finds; only where ``filling`` might one reach its most.

    To watch for that costs a third.
    """
    counters, hashes = borrowed(counters), borrowed(hashes)
    weights, places = borrowed(weights), borrowed(places)
    n, each, new, old = U64(hashes.size), U64(weights.size > 1), U0, U64(places.size) >> U1
    find(shape, counters, hashes, U0, min(BATCH, n), places, new)
    for lo in range(U0, n, BATCH):
        new, old, following = old, new, lo + BATCH
        if following < n:
            find(shape, counters, hashes, following, min(BATCH, n - following), places, new)
        for row in range(old, old + (U64(places.size) >> U1), BATCH):
            if filling:
                for j in range(min(BATCH, n - lo)):
                    at = places[row + j]
                    counters[at] = raised(counters[at], weights[(lo + j) * each])
            else:
                for j in range(min(BATCH, n - lo)):
                    counters[places[row + j]] += U32(weights[(lo + j) * each])


@inlined
def read_rows(find: Any, shape: Any, counters: Any, hashes: Any, places: Any, out: Any) -> None:
    """Write the least of the counters that ``find`` finds for each key."""
    counters, hashes, places, out = borrowed(counters), borrowed(hashes), borrowed(places), borrowed(out)
    n, new, old = U64(hashes.size), U0, U64(places.size) >> U1
    find(shape, counters, hashes, U0, min(BATCH, n), places, new)
    for lo in range(U0, n, BATCH):
        new, old, following = old, new, lo + BATCH
        if following < n:
            find(shape, counters, hashes, following, min(BATCH, n - following), places, new)
        for j in range(min(BATCH, n - lo)):
            out[lo + j] = np.int64(counters[places[old + j]])
        for row in range(old + BATCH, old + (U64(places.size) >> U1), BATCH):
            for j in range(min(BATCH, n - lo)):
                out[lo + j] = min(out[lo + j], np.int64(counters[places[row + j]]))


@inlined
def two_batches(depth: Any) -> Any:
    """Return space for the places of two batches."""
    return np.empty(U2 * BATCH * depth, np.uint64)


@inlined
def is_far(counters: Any) -> Any:
    """Tell whether counters are to be fetched ahead."""
    return counters.size * counters.itemsize >= FAR_BYTES


@inlined
def least(counters: Any, width: Any, depth: Any, h: Any) -> Any:
    """Return the least of a key's counters."""
    x, base, found = h, U0, FULL
    for _ in range(depth):
        found = min(found, U64(counters[base + mulhi32(x, width)]))
        x *= STEP
        base += width
    return found


@kernel
def _read(counters: Any, width: Any, depth: Any, hashes: Any, out: Any) -> None:
    read_rows(locate, (width, depth, is_far(counters)), counters, hashes, two_batches(depth), out)


@kernel
def pool(counters: Any, others: Any) -> None:
    """Add others' 32-bit counters to these."""
    for i in range(counters.size):
        counters[i] = raised(counters[i], U64(others[i]))


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        return as_int(least(uint32s_of(me, COUNTERS), number_of(me, WIDTH), number_of(me, DEPTH), h))
    return slowly(me, "_estimate_one", arguments, count, names)


def shares(flags: Any) -> Any:
    """Return for each row the share of its items that are true."""
    return np.array([np.count_nonzero(row) for row in flags]) / flags.shape[1]


class Rows(Counts):
    """A sketch of ``depth`` rows of ``width`` counters."""

    __slots__ = ("depth", "width")
    COUNTER: ClassVar[Any] = np.uint32
    WORDS: ClassVar[int] = 1
    width: int
    depth: int

    def __init__(self, width: int, depth: int, *, seed: int = 0) -> None:
        self.width, self.depth = check_width(width), self._check_depth(depth)
        self._use(house_hasher(seed))
        self._state = np.zeros(self.WORDS, np.uint64)
        self._counters = aligned_zeros(self.width * self.depth, self.COUNTER)

    @staticmethod
    def _check_depth(depth: Any) -> int:
        return check_depth(depth)

    def _parameters(self) -> dict[str, Any]:
        return {"width": self.width, "depth": self.depth, "seed": self.seed}

    @classmethod
    def _restore(cls, parameters: Parameters, payload: memoryview) -> Self:
        self = cls.__new__(cls)
        self.width = parameters.integer("width", 1, MAX_WIDTH)
        self.depth = parameters.integer("depth", 1, MAX_DEPTH)
        self._use(house_hasher(parameters.integer("seed", 0, (1 << 64) - 1)))
        self._take_payload(payload, cls.WORDS, self.width * self.depth, cls.COUNTER)
        if not self._possible():
            raise CorruptDataError(f"no keys of a total of {self.total} make these counters")
        return self

    @abstractmethod
    def _possible(self) -> bool:
        """Tell whether the counters can be those of what the state says was added."""


WIDTH, DEPTH = place(Rows, "width"), place(Rows, "depth")


class LeastOfRows(Rows):
    """A Count-Min sketch: no counter of a key is below what the key counts, and the least is its estimate."""

    __slots__ = ()

    @classmethod
    def from_error(cls, epsilon: float, delta: float, *, seed: int = 0) -> Self:
        """Make a sketch that is wrong by more than ``epsilon * total`` for a share ``delta`` of keys at most.

        ``width = ceil(e / epsilon)``, ``depth = ceil(ln(1 / delta))``.
        """
        width = math.ceil(math.e / check_share("epsilon", epsilon))
        return cls(width, math.ceil(-math.log(check_share("delta", delta))), seed=seed)

    def error_bound(self, confidence: float = 0.99) -> int:
        """Return what an estimate is too high by at most, with this ``confidence``; it is never too low.

        The counters tell: a key that never came finds one above t in each row with the product of the rows'
        shares of such, and other keys' errors are no larger. At most ``total / width / (1 - confidence)^(1 /
        depth)``, usually a fraction of it. O(nbytes).
        """
        rows = self._counters.reshape(self.depth, self.width)
        return least_bound(lambda t: float(shares(rows > t).prod()), int(rows.max()), confidence)

    def _read(self, hashes: Any, out: Any) -> None:
        _read(self._counters, U64(self.width), U64(self.depth), hashes, out)

    def _pool(self, counters: Any) -> None:
        pool(self._counters, counters)

    estimate = Method(_ask, "_estimate_one")
