"""Counters found by the hashes of their keys, with bounds for all keys, in the table of two summaries.

Entries are held without gaps, in order, and an index finds them by open addressing::

    index[j]   upper bits of the hash | e + 1, or 0: from j = the hash's lower bits on; four for an entry

A value is never below what its key had.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._bits import U1, U32, U32_, U64, aligned_zeros, borrowed, prefetch
from algos._fastcall import Native, as_int, place, slowly, uint32s_of, uint64s_of
from algos._jit import inlined, kernel
from algos.errors import CorruptDataError
from algos.frequency._counts import STATE, TOTAL, U0
from algos.frequency._heavy import (
    HASHES,
    HELD,
    USED,
    VALUES,
    Heavy,
    asked_alone,
    check_capacity,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = U64(64)
"""Keys that are looked up together."""
FAR_BYTES = 8 << 20
"""From this size on an index is fetched ahead; a smaller one, though past L2, would suffer from it."""
FEWEST = 64
"""Entries that there is room for from the beginning on."""


@inlined
def find(index: Any, hashes: Any, h: Any) -> tuple[Any, Any]:
    """Return the place of a hash in the index, and its entry + 1; 0 where it has none, at a free place."""
    mask, upper, j = U64(index.size) - U1, h >> U32_, h & (U64(index.size) - U1)
    while True:
        word = U64(index[j])
        if word == U0:
            return j, U0
        if word ^ upper <= mask | (word & mask) and hashes[(word & mask) - U1] == h:
            return j, word & mask
        j = (j + U1) & mask


@inlined
def fetch(index: Any, hashes: Any, values: Any, keys: Any, start: Any) -> None:
    """Fetch the places of a block of keys in a large index, and the entries of those a block before."""
    mask, n = U64(index.size) - U1, U64(keys.size)
    for i in range(start + BLOCK, min(start + BLOCK + BLOCK, n)):
        prefetch(index, keys[i] & mask)
    for i in range(start, min(start + BLOCK, n)):
        e = U64(index[keys[i] & mask]) & mask
        if e != U0:
            prefetch(hashes, e - U1)
            prefetch(values, e - U1)


@inlined
def point(index: Any, j: Any, h: Any, e: Any) -> None:
    """Let a place of the index point to an entry."""
    mask = U64(index.size) - U1
    index[j] = U32((h >> U32_) & ~mask | (e + U1))


@kernel
def point_all(index: Any, hashes: Any, held: Any) -> None:
    """Make the index of entries anew."""
    index, hashes = borrowed(index), borrowed(hashes)
    mask = U64(index.size) - U1
    index[:] = U32(0)
    for e in range(U64(held)):
        j = hashes[e] & mask
        while index[j] != U32(0):
            j = (j + U1) & mask
        point(index, j, hashes[e], e)


@kernel
def fill(index: Any, hashes: Any) -> Any:
    """Make the index of entries that may not all be distinct: tell whether they are."""
    for e in range(U64(hashes.size)):
        j, found = find(index, hashes, hashes[e])
        if found:
            return False
        point(index, j, hashes[e], e)
    return True


@kernel
def _find_all(index: Any, hashes: Any, wanted: Any, out: Any) -> None:
    """Write the entry of each wanted hash, or -1."""
    index, hashes = borrowed(index), borrowed(hashes)
    for i in range(U64(wanted.size)):
        out[i] = np.int64(find(index, hashes, wanted[i])[1]) - np.int64(1)


@Native
def estimate_alone(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    """Return the estimate of one plain key."""
    plain, h = asked_alone(me, uint64s_of(me, STATE), arguments, count, names)
    if plain:
        found = find(uint32s_of(me, INDEX), uint64s_of(me, HASHES), h)[1]
        return as_int(uint64s_of(me, VALUES)[found - U1] if found else U0)
    return slowly(me, "_estimate_one", arguments, count, names)


class Counters(Heavy):
    """A summary whose counters are never too low."""

    __slots__ = ("_index",)
    _index: Any

    def _start(self, capacity: Any, seed: int) -> None:
        """Begin without keys, with room for some."""
        self._begin(check_capacity(capacity), seed)
        self._make_room(FEWEST)

    def _make_room(self, room: int) -> None:
        """Make room for entries, as many as the capacity at most."""
        held, room = len(self), min(room, self.capacity)
        for name in ("_hashes", *self.COLUMNS, *(["_texts"] if self._is_text() else [])):
            new = aligned_zeros(room, np.uint64)
            if held:
                new[:held] = getattr(self, name)[:held]
            setattr(self, name, new)
        self._index = aligned_zeros(1 << (4 * room - 1).bit_length(), np.uint32)
        point_all(self._index, self._hashes, held)

    @property
    @abstractmethod
    def error_bound(self) -> int:
        """The most that any key which is not held had, and that any estimate is too high by."""

    @property
    def nbytes(self) -> int:
        """The size of the counters, of their index and of the keys, in bytes."""
        return super().nbytes + int(self._index.nbytes)

    @abstractmethod
    def _lowest(self, entries: Any) -> Any:
        """Return the least that the keys of entries had."""

    @abstractmethod
    def _count_from(self, hashes: Any, weights: Any, at: int, base: int) -> int:
        """Count hashes from ``at`` on; return where there is no room for a new one, and may be made some."""

    def _count(self, hashes: Any, weights: Any, base: int) -> None:
        at = self._count_from(hashes, weights, 0, base)
        while at < len(hashes):
            self._make_room(2 * len(self._values))
            at = self._count_from(hashes, weights, at, base)

    def _entries(self) -> Any:
        return np.arange(len(self))

    def _find(self, hashes: Any, out: Any) -> None:
        _find_all(self._index, self._hashes, hashes, out)

    def bounds_many(self, keys: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what each of ``n`` keys had at least, and what at most: two ``int64[n]``.

        Of a key that is not held these are 0 and ``error_bound``, of a null 0 and 0.
        """
        entries, nulls = self._entries_of(keys)
        held = entries >= 0
        lower = np.where(held, self._lowest(entries), U0)
        upper = np.where(held, self._values[entries], U64(self.error_bound))
        upper[nulls] = 0
        return lower.view(np.int64), upper.view(np.int64)

    def heavy_hitters(
        self, share: float | None = None, *, threshold: int | None = None, guaranteed: bool = False
    ) -> tuple[Any, NDArray[np.int64]]:
        """Return all keys that may have had more than ``share`` of the total, or more than ``threshold``.

        None of them is missing. With ``guaranteed`` only those that certainly had: none is there by mistake.
        Keys and estimates are as of ``top``. Raises ``ValueError`` for a threshold below ``error_bound``, of
        keys that would be missing, unless ``guaranteed``.
        """
        limit = self._limit(share, threshold)
        entries = self._entries()
        if guaranteed:
            chosen = self._lowest(entries) > limit
        elif limit < self.error_bound:
            raise ValueError(
                f"keys above the threshold of {limit} may be missing, up to error_bound={self.error_bound}: "
                "raise it or the capacity, or ask for those guaranteed"
            )
        else:
            chosen = self._values[entries] > limit
        chosen = entries[chosen]
        return self._ordered(chosen, len(chosen))

    # Merging

    def _united(self, other: Self) -> tuple[dict[str, Any], Any]:
        """Return the entries of both, whatever their number, in the order of their hashes, and their floor.

        A key that only one of them holds may have had as much as the floor of the other there.
        """
        self._check_mergeable(other)
        kind = self._common(self._kind(), other._kind())
        self._room(other.total)
        self._set_kind(kind)
        both = [(s, s._entries()) for s in (self, other)]
        floors = [U64(s.error_bound) for s, _ in both]
        absent = np.repeat(floors[::-1], [len(self), len(other)])

        def joined(name: str) -> Any:
            return np.concatenate([getattr(s, name)[entries] for s, entries in both])

        hashes, first, where, times = np.unique(joined("_hashes"), True, True, True)
        columns = {"_hashes": hashes}
        for name in self.COLUMNS:
            summed = np.where(times == 1, absent[first], U0)
            np.add.at(summed, where, joined(name))
            columns[name] = summed
        if self._is_text():
            shift = np.repeat([U0, self._state[USED]], [len(self), len(other)])
            columns["_texts"] = (joined("_texts") + shift)[first]
        return columns, floors[0] + floors[1]

    def _hold(self, columns: dict[str, Any], chosen: Any, other: Self) -> None:
        """Hold those chosen of the entries of this and another, all that it counted being taken in."""
        arenas = [s._arena[: int(s._state[USED])] for s in (self, other)]
        for name, column in columns.items():
            setattr(self, name, column[chosen])
        self._state[HELD] = len(chosen)
        self._state[TOTAL] += other._state[TOTAL]
        self._make_room(max(FEWEST, 1 << len(chosen).bit_length()))
        if self._is_text():
            self._arena, self._state[USED] = np.concatenate(arenas), sum(map(len, arenas))
            self._make_arena(1)  # without the keys that are no more

    # Storing

    def _numbers(self) -> list[Any]:
        return [getattr(self, name)[: len(self)] for name in self.COLUMNS]

    def _count_numbers(self, held: int) -> int:
        return held * len(self.COLUMNS)

    def _take_numbers(self, numbers: Any, held: int) -> Any:
        if held > self.capacity:
            raise CorruptDataError(f"{held} counters in a capacity of {self.capacity}")
        self._make_room(max(held, FEWEST))
        self._state[HELD] = held
        for name, column in zip(self.COLUMNS, numbers.reshape(len(self.COLUMNS), held), strict=True):
            getattr(self, name)[:held] = column
        return self._entries()

    def _check_entries(self) -> None:
        if not fill(self._index, self._hashes[: len(self)]):
            raise CorruptDataError("a key has two counters")


INDEX = place(Counters, "_index")
