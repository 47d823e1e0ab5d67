"""Space-Saving: a fixed number of counters; a new key takes over the least of them, count and all.

Metwally, Agrawal, El Abbadi: Efficient computation of frequent and top-k elements in data streams, 2005::

    entry   | hash | value: its count, with what it took over | error: what it took over |   as of _heavy

Of equal values the first entry's goes. It is found without a heap or a list of buckets, which every key would
have to move in: values only grow, so all that are as low as the lowest are found in one pass of a hand over
the entries, while those before it are known to be higher. Entries are in blocks of about the root of their
number, each with a bound that none of its values is below; blocks that are known to be higher are skipped,
and the next lowest value is looked for among the bounds. Adding is O(1) amortised where weights are 1, since
each pass raises the lowest value, and O(sqrt capacity) for any weights.

The values sum to the total N, so the least, which bounds any error, is at most N / capacity, and every key
that had more than that is held. An entry's key had no more than its value, and no less than its value less
its error. A merge adds up both, a key that one of two did not hold counting as the least value there, and
keeps the highest (Cafaro, Pulimeno, Tempesta 2016; as mergeable as Agarwal, Cormode, Huang, Phillips, Wei,
Yi 2012 show): all of this still holds, but that the values may sum to less.

Half the bound of ``MisraGries``, and one for each key of its own, at twice the time for keys not held.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U64, borrowed
from algos._fastcall import Method, Native, as_none, bytes_of, place, slowly, uint32s_of, uint64s_of
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
from algos.frequency._counts import MOST_, STATE, TOTAL, U0, exact_sum
from algos.frequency._heavy import (
    ARENA,
    HASHES,
    HELD,
    TEXTS,
    VALUES,
    has_room,
    keep_alone,
    kept_alone,
)

LEAST, HERE, NEXT, END, SHIFT, STALE, BOUNDS = range(7)
"""Words of the finder: the lowest value when it was last looked for, the block that the hand is in, which of
those found in it come next and how many there are, the size of a block as a power of two, the words of the
index that stand for keys which are no more; then each block's bound, and the entries found in the last."""


@inlined
def _least_of(values: Any, start: Any, end: Any) -> Any:
    least = values[start]
    for e in range(start, end):
        least = min(least, values[e])
    return least


@inlined
def _next_least(finder: Any, values: Any, blocks: Any, shift: Any) -> tuple[Any, Any]:
    """Raise bounds until the first of the lowest is met; return its block and the value."""
    while True:
        low, b = _least_of(finder, U64(BOUNDS), U64(BOUNDS) + blocks), U0
        while finder[U64(BOUNDS) + b] != low:
            b += U1
        start = b << shift
        finder[U64(BOUNDS) + b] = _least_of(values, start, min(start + (U1 << shift), U64(values.size)))
        if finder[U64(BOUNDS) + b] == low:
            return b, low


@inlined
def _find_in_block(finder: Any, values: Any, first: Any, shift: Any) -> None:
    """Write down which entries of the hand's block are as low as the lowest; without a branch for each."""
    start, least, count = finder[HERE] << shift, finder[LEAST], U0
    for e in range(start, min(start + (U1 << shift), U64(values.size))):
        finder[first + count] = e
        count += U64(values[e] == least)
    finder[NEXT], finder[END] = U0, count


@kernel
def _victim(finder: Any, values: Any) -> Any:
    """Return the first entry of the lowest value."""
    finder, values = borrowed(finder), borrowed(values)
    shift = finder[SHIFT]
    blocks = (U64(values.size) + (U1 << shift) - U1) >> shift
    first = U64(BOUNDS) + blocks
    while True:
        while finder[NEXT] < finder[END]:
            e = finder[first + finder[NEXT]]
            finder[NEXT] += U1
            if values[e] == finder[LEAST]:  # not counted since
                return e
        b, least = finder[HERE], finder[LEAST]
        finder[U64(BOUNDS) + b] = max(finder[U64(BOUNDS) + b], least + U1)
        while b < blocks and finder[U64(BOUNDS) + b] > least:
            b += U1
        if b == blocks:
            b, finder[LEAST] = _next_least(finder, values, blocks, shift)
        finder[HERE] = b
        _find_in_block(finder, values, first, shift)


@inlined
def _take_over(
    finder: Any, index: Any, hashes: Any, values: Any, errors: Any, j: Any, h: Any, weight: Any
) -> Any:
    """Give a new key, whose place in the index is ``j``, the entry of the lowest value; return which.

    The word of the key before stays in the index, where no key is like it, until there are too many of them.
    """
    e = _victim(finder, values)
    hashes[e], errors[e] = h, values[e]
    values[e] += weight
    point(index, j, h, e)
    finder[STALE] += U1
    if finder[STALE] == U64(values.size):
        finder[STALE] = U0
        point_all(index, hashes, U64(values.size))
    return e


@kernel
def _count(
    state: Any, finder: Any, index: Any, hashes: Any, values: Any, errors: Any, texts: Any, keys: Any,
    weights: Any, full: Any, at: Any, base: Any,
) -> Any:  # fmt: skip
    """Count keys from ``at`` on; unless ``full``, return where there is no room for a new one."""
    index, hashes, values, texts = borrowed(index), borrowed(hashes), borrowed(values), borrowed(texts)
    errors, finder, keys, weights = borrowed(errors), borrowed(finder), borrowed(keys), borrowed(weights)
    room, with_text, held, total = U64(values.size), texts.size > 0, state[HELD], state[TOTAL]
    each, n, i = U64(weights.size > 1), U64(keys.size), U64(at)
    far = index.nbytes >= FAR_BYTES
    while i < n:
        if far and i % BLOCK == U0:
            fetch(index, hashes, values, keys, i + BLOCK)
        h, weight = keys[i], weights[i * each]
        j, found = find(index, hashes, h)
        if found:
            values[found - U1] += weight
        elif weight:
            if held < room:
                e = held
                hashes[e], values[e], errors[e] = h, weight, U0
                point(index, j, h, e)
                held += U1
            elif full:
                e = _take_over(finder, index, hashes, values, errors, j, h, weight)
            else:
                break
            if with_text:
                texts[e] = PENDING | (U64(base) + i)
        total += weight
        i += U1
    state[HELD], state[TOTAL] = held, total
    return i


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
        e, arena, finder = state[HELD], bytes_of(me, ARENA), uint64s_of(me, _FINDER)
        if weight and has_room(state, arena, key) and (e < U64(values.size) or finder.size):
            errors = uint64s_of(me, _ERRORS)
            if e < U64(values.size):
                hashes[e], values[e], errors[e] = h, weight, U0
                point(index, j, h, e)
                state[HELD] += U1
            else:
                e = _take_over(finder, index, hashes, values, errors, j, h, weight)
            keep_alone(state, uint64s_of(me, TEXTS), arena, key, e)
            state[TOTAL] += weight
            return as_none()
    return slowly(me, "_add_one", arguments, count, names)


class SpaceSaving(Counters):
    """``capacity`` counters for the keys that came most, ints, floats, text or bytes.

    Every key that had more than ``total / capacity`` is held, and no estimate is too high by more than that;
    ``error_bound`` says by how much at most. ``add`` is O(1) amortised, with weights O(sqrt capacity).
    Memory: 40 to 56 bytes for a counter, and for text 12 more and up to twice the key.
    One sketch has keys of one kind.

    >>> sketch = SpaceSaving(capacity=2)
    >>> sketch.add_many(["ann", "bob", "ann", "eve"], weights=[1, 2, 3, 1])
    >>> sketch.top(2), sketch.error_bound
    ((['ann', 'eve'], array([4, 3])), 3)
    >>> sketch.bounds_many(["ann", "bob", "eve"])
    (array([4, 0, 1]), array([4, 3, 3]))
    """

    __slots__ = ("_errors", "_finder")
    _errors: Any
    COLUMNS = ("_values", "_errors")

    def __init__(self, capacity: int, *, seed: int = 0) -> None:
        self._start(capacity, seed)

    def _make_room(self, room: int) -> None:
        super()._make_room(room)
        room = len(self._values)
        shift = (room.bit_length() + 1) // 2
        if room < self.capacity:  # none is taken over yet
            self._finder = np.zeros(0, np.uint64)
        else:
            self._finder = np.zeros(BOUNDS - (-room >> shift) + (1 << shift), np.uint64)
            self._finder[SHIFT] = shift

    add = Method(_put, "_add_one")
    estimate = Method(estimate_alone, "_estimate_one")

    def _count_from(self, hashes: Any, weights: Any, at: int, base: int) -> int:
        table = self._index, self._hashes, self._values, self._errors, self._texts
        full = len(self._values) == self.capacity
        return int(_count(self._state, self._finder, *table, hashes, weights, full, at, base))

    @property
    def error_bound(self) -> int:
        """The most that any key which is not held had, and that any estimate is too high by; O(capacity)."""
        return int(self._values.min()) if len(self) == self.capacity else 0

    def _lowest(self, entries: Any) -> Any:
        return self._values[entries] - self._errors[entries]

    def merge(self, other: SpaceSaving) -> None:
        """Take in all that ``other`` counted, O(capacity).

        Not as if it had been counted here, but all bounds hold for the total of both, in any tree of merges,
        and the order of two is all the same. Raises ``ValueError`` unless capacity and seed are the same,
        and ``TypeError`` if the keys are of two kinds.
        """
        columns, _ = self._united(other)
        highest = np.argsort(MOST_ - columns["_values"], kind="stable")[: self.capacity]
        self._hold(columns, np.sort(highest), other)

    def _check_entries(self) -> None:
        super()._check_entries()
        values, errors = self._values[: len(self)], self._errors[: len(self)]
        if (errors >= values).any() or (len(self) < self.capacity and errors.any()):
            raise CorruptDataError("a counter that took over more than it has")
        summed = exact_sum(values)
        if summed > self.total or (len(self) < self.capacity and summed < self.total):
            raise CorruptDataError(f"counters of {summed} for a total of {self.total}")


_ERRORS, _FINDER = place(SpaceSaving, "_errors"), place(SpaceSaving, "_finder")
