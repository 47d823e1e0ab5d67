"""Space-Saving: a fixed number of counts, the least of which goes over to whatever key is new.

Metwally, Agrawal, El Abbadi: Efficient computation of frequent and top-k elements in data streams, ICDT 2005.
While there is room a new key begins at its weight. Then it takes the place of the key with the least count,
and goes on from there::

    count - error  <=  how often the key came  <=  count          error: the count it took over, or 0

The counts sum to N, the sum of all weights, so the least of them is at most N / capacity: no error is larger,
every key that came more often is there, and one that is not came at most so often. Of equal least counts
one goes by chance. Merged sketches keep the bound (Agarwal et al.: Mergeable summaries, 2012).

The table is in ``_entries.py``; once it is full, a tree of minima (``_lows.py``) tells the least count,
whatever the weights. ``add`` is O(log capacity), and O(1) for frequent keys. Good for the top of a stream in
the least space that has a guarantee; ``MisraGries`` is faster, and has the same in twice as much.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U3, U64, borrowed
from algos._fastcall import (
    Method,
    Native,
    as_none,
    bytes_of,
    key_of,
    place,
    size_of,
    slowly,
    text_of,
    uint64s_of,
)
from algos._jit import inlined, kernel
from algos._lanes import SLOTS, equal
from algos.errors import CorruptDataError
from algos.frequency._counts import COUNTERS, STATE, TOTAL, U0, exact_sum
from algos.frequency._entries import AHEAD, FRESH, close_gap, fetch, keep_text, next_line, of_least_hash, seek
from algos.frequency._heavy import (
    ARENA,
    BESIDE_TABLE,
    CAPACITY,
    END,
    HASH_TABLE,
    NEW,
    ROW,
    TEXT_TABLE,
    USED,
    Bounded,
    counted_here,
    has_room,
)
from algos.frequency._lows import least_line, plant, tree_for, update


@inlined
def _grow(counts: Any, tree: Any, state: Any, slot: Any, weight: Any) -> None:
    """Raise the count of a key that is there."""
    before = counts[slot]
    counts[slot] = before + weight
    if state[USED] == state[CAPACITY] and tree[tree[1] + (slot >> U3)] == before - U1:
        update(tree, counts, slot >> U3)


@inlined
def _evict(hashes: Any, counts: Any, errors: Any, texts: Any, tree: Any, lines: Any, h: Any) -> Any:
    """Take the key of the least count out, for one of this hash; return that count."""
    line = least_line(tree, h)
    taken = tree[tree[1] + line] + U1
    gap = of_least_hash(hashes, line << U3, equal(counts, line << U3, taken))
    counts[gap] = U0
    last = close_gap(hashes, counts, errors, texts, lines, gap)
    while line != last:
        update(tree, counts, line)
        line = next_line(line, lines)
    update(tree, counts, last)
    return taken


@inlined
def _place_new(
    hashes: Any, counts: Any, errors: Any, texts: Any, tree: Any, state: Any, lines: Any, h: Any, weight: Any
) -> Any:
    """Give a new key a count, if need be the least; return its slot."""
    taken, full = U0, state[USED] == state[CAPACITY]
    if full:
        taken = _evict(hashes, counts, errors, texts, tree, lines, h)
    slot, _ = seek(hashes, counts, lines, h)
    hashes[slot], counts[slot], errors[slot] = h, taken + weight, taken
    if full:
        update(tree, counts, slot >> U3)
    else:
        state[USED] += U1
        if state[USED] == state[CAPACITY]:
            plant(tree, counts)
    return slot


@kernel
def _count(
    hashes: Any,
    counts: Any,
    errors: Any,
    texts: Any,
    tree: Any,
    state: Any,
    keys: Any,
    weights: Any,
    new: Any,
) -> None:
    hashes, counts, errors, texts = borrowed(hashes), borrowed(counts), borrowed(errors), borrowed(texts)
    tree, state, lines, n = borrowed(tree), borrowed(state), U64(hashes.size) >> U3, U64(keys.size)
    each, one, listed = weights.size > 1, weights[0] if weights.size else U0, U0
    for i in range(n):
        if i + AHEAD < n:
            fetch(hashes, counts, lines, keys[i + AHEAD])
        weight = weights[i] if each else one
        if weight == U0:
            continue
        slot, found = seek(hashes, counts, lines, keys[i])
        if found:
            _grow(counts, tree, state, slot, weight)
            continue
        slot = _place_new(hashes, counts, errors, texts, tree, state, lines, keys[i], weight)
        if texts.size:
            texts[slot] = FRESH | (state[ROW] + i)
            if new.size:
                new[listed] = keys[i]
                listed += U1
    state[NEW] = listed


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, arena = uint64s_of(me, STATE), bytes_of(me, ARENA)
    plain, h, weight = counted_here(me, arguments, count, names, state)
    if not plain or not has_room(state, arena, arguments):
        return slowly(me, "_add_one", arguments, count, names)
    hashes, counts = uint64s_of(me, HASH_TABLE), uint64s_of(me, COUNTERS)
    lines = U64(hashes.size) >> U3
    slot, found = seek(hashes, counts, lines, h)
    tree = uint64s_of(me, _TREE)
    state[TOTAL] += weight
    if found:
        _grow(counts, tree, state, slot, weight)
        return as_none()
    errors, texts = uint64s_of(me, BESIDE_TABLE), uint64s_of(me, TEXT_TABLE)
    slot = _place_new(hashes, counts, errors, texts, tree, state, lines, h, weight)
    if texts.size:
        key = key_of(arguments, 0)
        texts[slot] = state[END]
        state[END] = keep_text(arena, state[END], text_of(key), U0, size_of(key))
    return as_none()


class SpaceSaving(Bounded):
    """The most frequent of all keys, by ``capacity`` counts: a Space-Saving summary.

    An estimate is never too low, and too high by ``total / capacity`` at most; of a key without a count it
    is 0. ``add`` is O(log capacity). Memory: 36 bytes for each of ``capacity``, and texts of twice as many.

    >>> sketch = SpaceSaving(2)
    >>> sketch.add_many(["a", "b", "a", "a", "c"])
    >>> sketch.top(2), sketch.error
    ((['a', 'c'], array([3, 2])), 2)
    """

    __slots__ = ("_tree",)
    _BESIDE = True

    def __init__(self, capacity: int, *, seed: int = 0) -> None:
        self._begin(capacity, seed)

    add = Method(_put, "_add_one")

    def _lay(self) -> None:
        super()._lay()
        self._tree = tree_for(self._hashes.size // SLOTS)

    @property
    def nbytes(self) -> int:
        """The size of the table, the tree and the keys' texts, in bytes."""
        return super().nbytes + int(self._tree.nbytes)

    @property
    def error(self) -> int:
        """The most that an estimate is too high by, and that a key without a count can have come."""
        if len(self) < self.capacity:
            return 0
        return int(self._counters[self._counters > 0].min())

    def _take_block(self, hashes: Any, weights: Any, new: Any) -> None:
        table = self._hashes, self._counters, self._beside, self._texts, self._tree
        _count(*table, self._state, hashes, weights, new)

    def _errors(self, slots: Any) -> Any:
        return self._beside[slots].astype(np.int64)

    def merge(self, other: SpaceSaving) -> None:
        """Take in all that ``other`` counted: errors add up, and keep the bound of one sketch of everything.

        A key that one of the two lacks may have come to it as often as its least count; of the sums the
        ``capacity`` highest stay. Raises ``ValueError`` unless capacity and seed are the same, ``TypeError``
        for keys of another kind.
        """
        self._check_mergeable(other)
        self._room(other.total)
        if len(other):
            self._claim(other._kind())
        hashes, counts, errors = _united(self, other)
        kept = np.sort(np.lexsort((hashes, counts))[-self.capacity :])  # of equal counts the higher hashes
        named = {**other._texts_by_hash(), **self._texts_by_hash()}
        texts = [named[h] for h in hashes[kept].tolist()] if named else []
        total = self.total + other.total
        self._lay()
        self._state[END] = 0
        self._put_entries(hashes[kept], counts[kept], errors[kept], texts)
        self._state[TOTAL] = total

    def _ordered(self) -> Any:
        """Return the slots in use in an order in which keys put in come to be in the lines they are in."""
        used = self._counters.reshape(-1, SLOTS) > 0
        after = int(np.argmin(used.all(axis=1))) + 1  # a line with room: nobody went past it
        slots = np.flatnonzero(self._counters)
        return slots[np.lexsort((self._hashes[slots], (slots // SLOTS - after) % len(used)))]

    def _texts_by_hash(self) -> dict[int, bytes]:
        hashes, _, _, texts = self._entries()
        return dict(zip(hashes.tolist(), texts, strict=False))

    def _put_entries(self, hashes: Any, counts: Any, beside: Any, texts: list[bytes]) -> None:
        super()._put_entries(hashes, counts, beside, texts)
        if len(self) == self.capacity:
            plant(self._tree, self._counters)

    def _check_state(self) -> None:
        used = self._counters > 0
        if (self._beside[used] >= self._counters[used]).any():
            raise CorruptDataError("an error is no smaller than its count")
        if exact_sum(self._counters) > self.total:
            raise CorruptDataError(f"the counts sum to more than the total of {self.total}")


def _united(a: SpaceSaving, b: SpaceSaving) -> tuple[Any, Any, Any]:
    """Return all keys of two sketches, in order, with the sums of their counts and of their errors."""
    hashes = np.union1d(*(sketch._hashes[sketch._counters > 0] for sketch in (a, b)))
    counts, errors = np.zeros(len(hashes), np.uint64), np.zeros(len(hashes), np.uint64)
    for sketch in (a, b):
        slots, most = sketch._slots_of(hashes), np.uint64(sketch.error)
        counts += np.where(slots >= 0, sketch._counters[slots], most)
        errors += np.where(slots >= 0, sketch._beside[slots], most)
    return hashes, counts, errors


_TREE = place(SpaceSaving, "_tree")
