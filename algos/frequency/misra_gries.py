"""Misra-Gries: counts of the most frequent keys, lowered together whenever there are too many keys.

Misra, Gries: Finding repeated elements, 1982; with the purge of Anderson, Bevin, Lang, Liberty, Rhodes,
Thaler: A high-performance algorithm for identifying frequent items in data streams, IMC 2017, as in
Apache DataSketches. A key has a count, and a new one begins at its weight. Once there are more keys than
``capacity``, the median of all counts is taken from each, and those left with none go::

    count  <=  how often the key came  <=  count + error        error: all medians so far

A purge takes the median from at least half of the counts, so ``error <= 2 N / capacity`` for weights that sum
to N, and no key that came more often is lost; with the few frequent keys of real streams it is far less.
Merged sketches keep the bound (Agarwal et al.: Mergeable summaries, 2012). The state depends on the keys and
their order, and not on how they are cut into batches.

``add`` is O(1), amortised. The table is in ``_entries.py``. Good for the keys above a share of everything,
with bounds on both sides and merging; ``SpaceSaving`` has the smaller error where space is short and is
slower, ``CuckooHeavyKeeper`` smaller ones still, and no bounds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U3, U64, borrowed
from algos._fastcall import Method, Native, as_none, bytes_of, key_of, size_of, slowly, text_of, uint64s_of
from algos._jit import inlined, kernel
from algos.errors import CorruptDataError
from algos.frequency._counts import COUNTERS, STATE, TOTAL, U0, exact_sum
from algos.frequency._entries import (
    AHEAD,
    FRESH,
    fetch,
    keep_text,
    lower,
    rank,
    seek,
    tidy,
)
from algos.frequency._heavy import (
    ARENA,
    BESIDE_TABLE,
    CAPACITY,
    END,
    HASH_TABLE,
    NEW,
    OWN,
    ROW,
    TEXT_TABLE,
    USED,
    Bounded,
    Texts,
    counted_here,
    has_room,
    piece_of,
)

ERROR = OWN


@inlined
def _purge(hashes: Any, counts: Any, beside: Any, texts: Any, state: Any, lines: Any) -> None:
    """Take the median of all counts from each."""
    by = rank(counts, (state[USED] + U1) >> U1)
    state[USED] = lower(counts, by)
    state[ERROR] += by
    tidy(hashes, counts, beside, texts, lines)


@kernel
def _count(
    hashes: Any, counts: Any, beside: Any, texts: Any, state: Any, keys: Any, weights: Any, new: Any
) -> None:
    hashes, counts, beside, texts = borrowed(hashes), borrowed(counts), borrowed(beside), borrowed(texts)
    state, lines, n, listed = borrowed(state), U64(hashes.size) >> U3, U64(keys.size), U0
    each, one = weights.size > 1, weights[0] if weights.size else U0
    for i in range(n):
        if i + AHEAD < n:
            fetch(hashes, counts, lines, keys[i + AHEAD])
        weight = weights[i] if each else one
        if weight == U0:
            continue
        slot, found = seek(hashes, counts, lines, keys[i])
        counts[slot] += weight
        if found:
            continue
        hashes[slot] = keys[i]
        state[USED] += U1
        if texts.size:
            texts[slot] = FRESH | (state[ROW] + i)
            if new.size:
                new[listed] = keys[i]
                listed += U1
        if state[USED] > state[CAPACITY]:
            _purge(hashes, counts, beside, texts, state, lines)
    state[NEW] = listed


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, arena = uint64s_of(me, STATE), bytes_of(me, ARENA)
    plain, h, weight = counted_here(me, arguments, count, names, state)
    if not plain or not has_room(state, arena, arguments):
        return slowly(me, "_add_one", arguments, count, names)
    hashes, counts, texts = uint64s_of(me, HASH_TABLE), uint64s_of(me, COUNTERS), uint64s_of(me, TEXT_TABLE)
    lines = U64(hashes.size) >> U3
    slot, found = seek(hashes, counts, lines, h)
    counts[slot] += weight
    state[TOTAL] += weight
    if not found:
        hashes[slot] = h
        state[USED] += U1
        if texts.size:
            key = key_of(arguments, 0)
            texts[slot] = state[END]
            state[END] = keep_text(arena, state[END], text_of(key), U0, size_of(key))
        if state[USED] > state[CAPACITY]:
            _purge(hashes, counts, uint64s_of(me, BESIDE_TABLE), texts, state, lines)
    return as_none()


class MisraGries(Bounded):
    """The most frequent of all keys, by at most ``capacity`` counts: a Misra-Gries summary.

    An estimate is 0 for a key without a count, and else at most ``error`` too high and never too low. ``add``
    is O(1), amortised. Memory: 22 bytes for each of ``capacity``, and the texts of as many keys twice.

    >>> sketch = MisraGries(100)
    >>> sketch.add_many(["/", "/login", "/", "/cart", "/"], weights=[1, 1, 1, 1, 5])
    >>> sketch.top(1), sketch.estimate("/login"), sketch.error
    ((['/'], array([7])), 1, 0)
    """

    __slots__ = ()
    _WORDS = OWN + 1

    def __init__(self, capacity: int, *, seed: int = 0) -> None:
        self._begin(capacity, seed)

    add = Method(_put, "_add_one")

    @property
    def error(self) -> int:
        """The most that an estimate is too high by, and that a key without a count can have come."""
        return int(self._state[ERROR])

    def _take_block(self, hashes: Any, weights: Any, new: Any) -> None:
        table = self._hashes, self._counters, self._beside, self._texts
        _count(*table, self._state, hashes, weights, new)

    def _estimates(self, slots: Any) -> Any:
        return (self._counters[slots] + self._state[ERROR]).astype(np.int64)

    def _errors(self, slots: Any) -> Any:
        return np.full(len(slots), self.error)

    def merge(self, other: MisraGries) -> None:
        """Take in all that ``other`` counted: errors add up, and keep the bound of one sketch of everything.

        Raises ``ValueError`` unless capacity and seed are the same, ``TypeError`` for keys of another kind.
        """
        self._check_mergeable(other)
        hashes, counts, _, texts = other._entries()
        error, lost = other._state[ERROR], other._state[TOTAL] - counts.sum(dtype=np.uint64)
        self._room(other.total)
        if len(hashes):
            self._claim(other._kind())
            self._state[ROW] = 0
            self._take(hashes, counts)
            if self._texts.size:
                self._keep(Texts(piece_of(texts)), None)
        self._state[TOTAL] += lost
        self._state[ERROR] += error

    def _check_state(self) -> None:
        counted = exact_sum(self._counters)
        # Each unit of error took as much from more than half of the keys that there were.
        if counted + self.error * ((self.capacity + 2) // 2) > self.total:
            raise CorruptDataError(
                f"a total of {self.total} leaves no error of {self.error} beside {counted}"
            )
