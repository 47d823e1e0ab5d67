"""Counters of one byte that rise by chance, the more rarely the higher they are.

A counter holds a level, and each hit raises it by one with a chance that its level decides::

    levels      uint8[size], one for each slot; a slot is chosen by the caller, or by a key's hash
    thresholds  uint64[256]: a hit raises level c if its random word | 1 is at most thresholds[c]
    rests       float64[256]: 1 / ln(1 - p(c)), by which a random number says how many hits raise nothing
    values      [256]: of how many hits level c is the sign, the sum of 1 / p(i) over the levels i below c

The expected value rises by one with each hit, whatever the level, so that it is an unbiased estimate of the
hits, up to the highest level. Many hits at once cost no more than the levels they raise: those in between are
drawn together. Random words are those of SplitMix64, numbered by what was added so far, and are stored with
the counters by that number; the same additions in the same order make the same counters.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from algos._arguments import integer, whole_numbers
from algos._bits import U1, U64, aligned_zeros, borrowed, mulhi32, prefetch
from algos._fastcall import (
    INT,
    Method,
    Native,
    as_none,
    bytes_of,
    key_alone,
    key_of,
    kind_of,
    place,
    slowly,
    uint64s_of,
    word_of,
)
from algos._jit import inlined, kernel
from algos.frequency._checks import MAX_WIDTH
from algos.frequency._counts import COUNTERS, MOST_, ONES, STATE, TOTAL, U0, Counts, counted_alone
from algos.hashing._keyed import SEED, hash_alone, house_hasher
from algos.hashing.splitmix64 import GAMMA, splitmix64

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algos._state import Parameters

DRAWN = 1
"""Where in the state the number of random words is that were drawn."""
BATCH = U64(64)
FAR_BYTES = 1 << 20
"""From this size on counters are fetched ahead."""
TOP = U64(255)
_U11, _ULP = U64(11), 2.0**-53


@inlined
def _random(seed: Any, number: Any) -> Any:
    """Return a random word by its number, from a place in the stream that the seed decides."""
    return splitmix64(number * GAMMA, splitmix64(seed, U0))


@inlined
def _after_one(level: Any, word: Any, thresholds: Any) -> Any:
    """Return the level after one hit."""
    return np.uint8(U64(level) + U64(word | U1 <= thresholds[level]))


@inlined
def _after_many(level: Any, hits: Any, word: Any, thresholds: Any, rests: Any) -> Any:
    """Return the level after many hits: the number of them that raise nothing is geometric."""
    at = U64(level)
    while hits > U1 and at < TOP:
        share = np.float64((word >> _U11) + U1) * _ULP
        idle = math.log(share) * rests[at]
        if idle >= np.float64(hits):
            return np.uint8(at)
        hits -= min(hits, U64(idle) + U1)
        at += U1
        word = splitmix64(word, U0)
    return _after_one(at, word, thresholds) if hits == U1 else np.uint8(at)


@inlined
def _raise_in_batches(
    levels: Any, tables: Any, slots: Any, weights: Any, seed: Any, drawn: Any, words: Any
) -> None:
    levels, slots, weights, words = borrowed(levels), borrowed(slots), borrowed(weights), borrowed(words)
    thresholds, rests = borrowed(tables[0]), borrowed(tables[1])
    n, each = U64(slots.size), U64(weights.size > 1)
    ones, far = weights.size == 1 and weights[0] == U1, levels.size >= FAR_BYTES
    for lo in range(U0, n, BATCH):
        for j in range(min(BATCH, n - lo)):
            words[j] = _random(seed, drawn + lo + j)
        if far:
            for i in range(lo + BATCH, min(lo + BATCH + BATCH, n)):
                prefetch(levels, slots[i])
        if ones:
            for j in range(min(BATCH, n - lo)):
                slot = slots[lo + j]
                levels[slot] = _after_one(levels[slot], words[j], thresholds)
        else:
            for j in range(min(BATCH, n - lo)):
                slot, hits = slots[lo + j], weights[(lo + j) * each]
                levels[slot] = _after_many(levels[slot], hits, words[j], thresholds, rests)


@kernel
def _raise(levels: Any, thresholds: Any, rests: Any, slots: Any, weights: Any, seed: Any, drawn: Any) -> None:
    words = np.empty(BATCH, np.uint64)
    _raise_in_batches(levels, (thresholds, rests), slots, weights, seed, drawn, words)


@kernel
def _slots_of(hashes: Any, size: Any, out: Any) -> None:
    for i in range(hashes.size):
        out[i] = mulhi32(hashes[i], size)


@kernel
def _look_up(levels: Any, values: Any, slots: Any, out: Any) -> None:
    for i in range(slots.size):
        out[i] = values[levels[slots[i]]]


@inlined
def _hit(me: Any, slot: Any) -> None:
    """Count one hit of a slot."""
    levels, state, seed = bytes_of(me, COUNTERS), uint64s_of(me, STATE), word_of(key_of(me, SEED))
    word = _random(seed, state[DRAWN])
    levels[slot] = _after_one(levels[slot], word, uint64s_of(me, _THRESHOLDS))
    state[DRAWN] += U1
    state[TOTAL] += U1


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h, weight = counted_alone(me, arguments, count, names)
    if not plain or weight != U1 or uint64s_of(me, STATE)[TOTAL] >= MOST_:
        return slowly(me, "_add_one", arguments, count, names)
    _hit(me, mulhi32(h, U64(bytes_of(me, COUNTERS).size)))
    return as_none()


@Native
def _put_slot(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    slot, seed = key_alone(arguments, count, names), key_of(me, SEED)
    size, total = U64(bytes_of(me, COUNTERS).size), uint64s_of(me, STATE)[TOTAL]
    if (kind_of(slot) != INT) | (kind_of(seed) != INT) | (word_of(slot) >= size) | (total >= MOST_):
        return slowly(me, "_add_one_slot", arguments, count, names)
    _hit(me, word_of(slot))
    return as_none()


@inlined
def level_alone(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    """Tell whether a call has one plain key, and return its level."""
    plain, h = hash_alone(me, arguments, count, names)
    levels = bytes_of(me, COUNTERS)
    return plain, levels[mulhi32(h, U64(levels.size))]


def tables(limits: list[int]) -> tuple[Any, Any]:
    """Return thresholds and rests for chances in multiples of 2^-64; nothing raises the last level."""
    thresholds = np.array([*(limit - 1 for limit in limits[:-1]), 0], np.uint64)
    rests = np.array([1.0 / math.log1p(-(limit / 2**64)) if limit < 2**64 else -0.0 for limit in limits])
    return thresholds, rests


class Levels(Counts):
    """``size`` counters of one byte, each at a level."""

    __slots__ = ("_rests", "_thresholds", "_values")
    WORDS: ClassVar[int] = 2
    FIRST: ClassVar[int] = 0
    _thresholds: Any
    _rests: Any
    _values: Any

    def _begin(self, size: int, seed: int) -> None:
        size = integer("size", size)
        if not 1 <= size <= MAX_WIDTH:
            raise ValueError(f"size={size} is outside 1..2**32 - 1; give a counter to each thing counted")
        self._use(house_hasher(seed))
        self._state = np.zeros(self.WORDS, np.uint64)
        self._counters = aligned_zeros(size, np.uint8)
        self._counters.fill(self.FIRST)
        self._set_law()

    @abstractmethod
    def _set_law(self) -> None:
        """Make the tables of thresholds, rests and values."""

    @property
    def size(self) -> int:
        """The number of counters."""
        return int(self._counters.size)

    @property
    def levels(self) -> NDArray[np.uint8]:
        """The levels, ``uint8[size]``: a view, which cannot be written, of what is and will be counted."""
        view = self._counters.view()
        view.flags.writeable = False
        return view

    def _slots(self, slots: Any) -> Any:
        return whole_numbers("slots", slots, np.size(slots), self.size - 1)

    def _add_one_slot(self, slot: int) -> None:
        """Count one hit of the counter at ``slot``."""
        self.add_slots(integer("slot", slot))

    def add_slots(self, slots: Any, weights: Any = None) -> None:
        """Count hits of the counters at ``slots``, ``n`` ints in 0..size-1, one after the other.

        ``weights`` is an int for all, or ``n`` of them; without it each is one hit.
        """
        found = self._slots(slots)
        words = ONES if weights is None else self._checked(weights, len(found))
        sums = self._gain(len(found), words)
        self._raise_slots(found, words)
        self._note(sums)

    def estimate_slots(self, slots: Any) -> Any:
        """Return the estimates of the counters at ``slots``, ``n`` ints in 0..size-1: an array of ``n``."""
        found = self._slots(slots)
        out = np.empty(len(found), self.ESTIMATE)
        _look_up(self._counters, self._values, found, out)
        return out

    def _raise_slots(self, slots: Any, weights: Any) -> None:
        drawn = self._state[DRAWN]
        tables = self._thresholds, self._rests
        _raise(self._counters, *tables, slots, weights, U64(self.seed), drawn)
        self._state[DRAWN] = (int(drawn) + len(slots)) & 0xFFFF_FFFF_FFFF_FFFF

    def _places(self, hashes: Any) -> Any:
        slots = np.empty(len(hashes), np.uint64)
        _slots_of(hashes, U64(self.size), slots)
        return slots

    def _count(self, hashes: Any, weights: Any, total: int) -> None:  # noqa: ARG002 - a byte never overflows
        self._raise_slots(self._places(hashes), weights)

    def _read(self, hashes: Any, out: Any) -> None:
        _look_up(self._counters, self._values, self._places(hashes), out)

    add = Method(_put, "_add_one")
    add_slot = Method(_put_slot, "_add_one_slot")

    def _take_levels(self, parameters: Parameters, payload: memoryview) -> Self:
        """Take size, seed and payload, once the parameters of the law are there."""
        size = parameters.integer("size", 1, MAX_WIDTH)
        self._use(house_hasher(parameters.integer("seed", 0, (1 << 64) - 1)))
        self._take_payload(payload, self.WORDS, size, np.uint8)
        self._set_law()
        return self


_THRESHOLDS, VALUES = place(Levels, "_thresholds"), place(Levels, "_values")
