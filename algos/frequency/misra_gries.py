"""Misra-Gries: counters for the keys that came most; when all are taken, all are lowered by their median.

Misra, Gries: Finding repeated elements, 1982; many at a time and with weights as Anderson, Bevin, Lang,
Liberty, Rhodes, Thaler: A high-performance algorithm for identifying frequent items in data streams, 2017
(DataSketches' frequent items)::

    state   | total | entries | floor: what all were lowered by, together | ...
    entry   | hash | value: its count + the floor of then |            as of _heavy

A key comes in at the floor, so its value is what it had at most. When there is no counter for a new key, the
floor rises to the median of the values, found exactly, and all entries that are not above it go: O(capacity)
for half of the capacity, so adding is O(1) amortised, whatever the weights.

Each time, more than half of the counters lose as much as the floor rises by, and they cannot lose more than
was added: for any stream of weight N, floor <= N / (capacity // 2 + 1). A key had no less than its value less
the floor, and no more than its value; if it is not held, no more than the floor. Any tree of merges keeps
this (Agarwal, Cormode, Huang, Phillips, Wei, Yi: Mergeable summaries, 2012). Streams with few frequent keys
have a floor that is far lower.

The fastest of the family. ``SpaceSaving`` has a bound of half the size, and one for each key of its own; on
streams that fall off steadily the two err alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U64, borrowed, opaque
from algos._fastcall import Method, Native, as_none, bytes_of, slowly, uint32s_of, uint64s_of
from algos._jit import inlined, kernel
from algos.errors import CorruptDataError
from algos.frequency._arena import PENDING
from algos.frequency._counters import (
    BLOCK,
    FAR_BYTES,
    INDEX,
    Counters,
    estimate_alone,
    fetch,
    find,
    point,
    point_all,
)
from algos.frequency._counts import STATE, TOTAL, U0, exact_sum
from algos.frequency._heavy import (
    ARENA,
    HASHES,
    HELD,
    OWN,
    TEXTS,
    VALUES,
    has_room,
    keep_alone,
    kept_alone,
)

FLOOR = OWN
"""Word of the state: what all were lowered by, together."""
FEW, MOST_OF = U64(8), U64(48)
"""Keys of a block that were not held, between which branches are guesses in the next."""


@inlined
def _below(values: Any, held: Any, limit: Any) -> Any:
    """Return how many of the values are not above a limit."""
    total = U0
    for e in range(held):
        total += U64(values[e] <= limit)
    return total


@inlined
def _median(values: Any, held: Any, floor: Any) -> Any:
    """Return the lower median of values, all above the floor.

    By halving the range that it is in: a pass over the counters takes a fraction of a nanosecond for each,
    and the median of most streams is near the floor.
    """
    half, low, step = (held + U1) >> U1, floor, U1
    while _below(values, held, low + step) < half:
        low += step
        step += step
    high = low + step
    while high - low > U1:
        middle = low + ((high - low) >> U1)
        if _below(values, held, middle) < half:
            low = middle
        else:
            high = middle
    return high


@kernel
def _raise_floor(state: Any, index: Any, hashes: Any, values: Any, texts: Any, floor: Any) -> None:
    """Let all entries go that are not above a floor; those that stay keep their order."""
    hashes, values, texts = borrowed(hashes), borrowed(values), borrowed(texts)
    left, with_text = U0, texts.size > 0
    for e in range(state[HELD]):
        value = values[e]
        hashes[left], values[left] = hashes[e], value
        if with_text:
            texts[left] = texts[e]
        left += U64(value > floor)
    state[HELD], state[FLOOR] = left, floor
    point_all(index, hashes, left)


@kernel
def _purge(state: Any, index: Any, hashes: Any, values: Any, texts: Any) -> None:
    _raise_floor(state, index, hashes, values, texts, _median(borrowed(values), state[HELD], state[FLOOR]))


@inlined
def _count_most(
    index: Any, hashes: Any, values: Any, keys: Any, weights: Any, each: Any, start: Any, end: Any, left: Any
) -> Any:
    """Count the keys of a block that have the first place looked at; return how many others are left.

    Nothing branches on what the keys are, which nobody could predict: a quarter faster.
    """
    mask, count = U64(index.size) - U1, U0
    for i in range(start, end):
        h = keys[i]
        word = U64(index[h & mask])
        e = word & mask
        e -= U64(e != U0)
        same = opaque(U64((hashes[e] == h) & (word != U0)))
        values[e] += weights[i * each] & (U0 - same)
        left[count] = i
        count += U1 - same
    return count


@kernel
def _count(
    state: Any, index: Any, hashes: Any, values: Any, texts: Any, keys: Any, weights: Any, full: Any, at: Any,
    base: Any,
) -> Any:  # fmt: skip
    """Count keys from ``at`` on; unless ``full``, return where there is no room for a new one."""
    index, hashes, values, texts = borrowed(index), borrowed(hashes), borrowed(values), borrowed(texts)
    keys, weights, each, n = borrowed(keys), borrowed(weights), U64(weights.size > 1), U64(keys.size)
    room, with_text, held, start = U64(values.size), texts.size > 0, state[HELD], U64(at)
    left, missed, far = np.empty(BLOCK, np.uint64), U0, index.nbytes >= FAR_BYTES
    while start < n:
        end = min(start + BLOCK, n)
        if far:
            fetch(index, hashes, values, keys, end)
        # As long as no purge can come between, it is all the same which of the keys that are held come first.
        apart = (held + BLOCK <= room) & (missed >= FEW) & (missed <= MOST_OF)
        count = end - start
        if apart:
            count = _count_most(index, hashes, values, keys, weights, each, start, end, left)
        missed = count if apart else U0
        for k in range(count):
            i = left[k] if apart else start + k
            h, weight = keys[i], weights[i * each]
            j, found = find(index, hashes, h)
            if found:
                values[found - U1] += weight
            elif weight:
                if held == room:
                    state[HELD] = held
                    if not full:
                        return i
                    _purge(state, index, hashes, values, texts)
                    held, j = state[HELD], find(index, hashes, h)[0]
                hashes[held], values[held] = h, state[FLOOR] + weight
                point(index, j, h, held)
                if with_text:
                    texts[held] = PENDING | (U64(base) + i)
                held += U1
                missed += U64(not apart)
        start = end
    state[HELD] = held
    return n


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state = uint64s_of(me, STATE)
    plain, key, h, weight = kept_alone(me, state, arguments, count, names)
    if plain:
        index, hashes, values = uint32s_of(me, INDEX), uint64s_of(me, HASHES), uint64s_of(me, VALUES)
        j, found = find(index, hashes, h)
        if found:
            values[found - U1] += weight
            state[TOTAL] += weight
            return as_none()
        e, arena = state[HELD], bytes_of(me, ARENA)
        if weight and e < U64(values.size) and has_room(state, arena, key):
            hashes[e], values[e] = h, state[FLOOR] + weight
            point(index, j, h, e)
            keep_alone(state, uint64s_of(me, TEXTS), arena, key, e)
            state[HELD] += U1
            state[TOTAL] += weight
            return as_none()
    return slowly(me, "_add_one", arguments, count, names)


class MisraGries(Counters):
    """At most ``capacity`` counters for the keys that came most, ints, floats, text or bytes.

    ``error_bound``, which is at most ``2 * total / capacity``, says what estimates are too high by at most,
    and what keys had at most that are not held. ``add`` is O(1) amortised. Memory: 32 to 48 bytes for a
    counter, and for text 12 more and up to twice the key. One sketch has keys of one kind.

    >>> sketch = MisraGries(capacity=100)
    >>> sketch.add_many(["ann", "bob", "ann", "eve"], weights=[1, 2, 3, 1])
    >>> sketch.top(2)
    (['ann', 'bob'], array([4, 2]))
    >>> sketch.heavy_hitters(0.5), sketch.estimate("eve"), sketch.error_bound
    ((['ann'], array([4])), 1, 0)
    """

    __slots__ = ()
    STATE_WORDS = FLOOR + 1

    def __init__(self, capacity: int, *, seed: int = 0) -> None:
        self._start(capacity, seed)

    add = Method(_put, "_add_one")
    estimate = Method(estimate_alone, "_estimate_one")

    def _count_from(self, hashes: Any, weights: Any, at: int, base: int) -> int:
        full = len(self._values) == self.capacity
        table = self._state, self._index, self._hashes, self._values, self._texts
        end = int(_count(*table, hashes, weights, full, at, base))
        self._state[TOTAL] += exact_sum(weights[at:end]) if weights.size > 1 else int(weights[0]) * (end - at)
        return end

    @property
    def error_bound(self) -> int:
        """The most that any key which is not held had, and that any estimate is too high by."""
        return int(self._state[FLOOR])

    def _lowest(self, entries: Any) -> Any:
        return self._values[entries] - self._state[FLOOR]

    def merge(self, other: MisraGries) -> None:
        """Take in all that ``other`` counted, O(capacity).

        Not as if it had been counted here, but ``error_bound`` stays within its law for the total of both,
        in any tree of merges, and the order of two is all the same. Raises ``ValueError`` unless capacity
        and seed are the same, and ``TypeError`` if the keys are of two kinds.
        """
        columns, floor = self._united(other)
        values = columns["_values"]
        more = len(values) - self.capacity
        if more > 0:
            floor = np.partition(values, more - 1)[more - 1]
        self._hold(columns, np.flatnonzero(values > floor), other)
        self._state[FLOOR] = floor

    def _check_entries(self) -> None:
        super()._check_entries()
        floor, values = self.error_bound, self._values[: len(self)]
        # What the floor rose by, more than half of the counters lost each time.
        if len(values) and int(values.min()) <= floor:
            raise CorruptDataError(f"a counter that is not above the floor of {floor}")
        if exact_sum(values - U64(floor)) + floor * (self.capacity // 2 + 1) > self.total:
            raise CorruptDataError(f"counters and a floor that need more than a total of {self.total}")
