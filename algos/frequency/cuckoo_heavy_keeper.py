"""Cuckoo Heavy Keeper: counts of the most frequent keys, which every other key has to earn in a lobby.

Ngo, Papatriantafilou: Cuckoo Heavy Keeper and the balancing act of maintaining heavy hitters in stream
processing, PVLDB 18, 2025. A line of eight slots is a lobby and seven counts; a key has a line in each half
of the table, by the two halves of its hash::

    line  | lobby | count | count | count | count | count | count | count |

A key that has a count gets its weight added, and a new one takes a free slot if there is one. Else it goes to
the lobby. Who is there and is not it loses: a count of c falls by one with a chance of 1.08^-c (Heavy Keeper,
ATC 2018), and at 0 the place is the new key's. At 16 in the lobby a key takes over the least count of the
line, if that is not the higher; and if it is, with the chance (lobby - 16) / (count - 16), so that in the
mean nobody gains. Who was there moves to its other line in place of the least count there, if that is a
lower one, and so on.

Counts of frequent keys are nearly exact, since what decays is never one of theirs; they may still be too
high, by what was taken over, or too low, by what was lost in the lobby or when a key was pushed out, and
nothing bounds either. Good for the top of a skewed stream in the least space; where bounds or merging
matter, take ``SpaceSaving`` or ``MisraGries``. ``add`` is O(1).

There is no ``merge``: what each of two tables dropped is unknown, and a sum of what is left has no law.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._bits import U1, U2, U3, U64, borrowed, mulhi, prefetch_near, rotl, trailing_zeros
from algos._fastcall import Method, Native, as_none, bytes_of, key_of, size_of, slowly, text_of, uint64s_of
from algos._jit import inlined, kernel
from algos._lanes import SLOTS, equal
from algos.errors import CorruptDataError
from algos.frequency._counts import COUNTERS, STATE, TOTAL, U0
from algos.frequency._entries import AHEAD, FRESH, keep_text
from algos.frequency._heavy import (
    ARENA,
    END,
    HASH_TABLE,
    MAX_CAPACITY,
    NEW,
    OWN,
    RAW,
    ROW,
    STRS,
    TEXT_TABLE,
    HeavyHitters,
    Reader,
    check_capacity,
    counted_here,
    has_room,
)
from algos.hashing.splitmix64 import GAMMA, splitmix64

if TYPE_CHECKING:
    from algos._state import Parameters

RANDOM = OWN
"""The word of the state that the random numbers are made of."""
PROMOTED = U64(16)
DECAY = 1.08
MAX_MOVES = 16
_HEAVY = U64(0xFE)
_HALF = U64(32)
ALL = (1 << 64) - 1
NOWHERE = U64(0xFFFF_FFFF_FFFF_FFFF)
TRIES = np.cumsum([0.0, *(DECAY**c for c in range(1, int(PROMOTED) + 1))])
"""How many others it takes, in the mean, to bring a count in the lobby down to 0; by the count."""


@inlined
def _bases(hashes: Any, h: Any) -> tuple[Any, Any]:
    """Return where the two lines of a key begin."""
    half = U64(hashes.size) >> U3 >> U1
    return mulhi(h, half) << U3, (half + mulhi(rotl(h, _HALF), half)) << U3


@inlined
def _chance(state: Any) -> Any:
    """Return a random number in [0, 1)."""
    state[RANDOM] += GAMMA
    return float(splitmix64(state[RANDOM], U0) >> U64(11)) * 2.0**-53


@inlined
def _smallest(counts: Any, base: Any) -> Any:
    """Return the slot of the least count of a line, its lobby aside."""
    slot = base + U1
    for other in range(base + U2, base + U64(SLOTS)):
        slot = other if counts[other] < counts[slot] else slot
    return slot


@inlined
def _rehome(hashes: Any, counts: Any, texts: Any, h: Any, count: Any, text: Any, base: Any) -> None:
    """Move a key that lost its place in a line to its other line, and whom it pushes out there, and so on."""
    for _ in range(MAX_MOVES):
        first, second = _bases(hashes, h)
        base = second if base == first else first
        slot = _smallest(counts, base)
        if counts[slot] >= count:
            return
        hashes[slot], h = h, hashes[slot]
        counts[slot], count = count, counts[slot]
        if texts.size:
            texts[slot], text = text, texts[slot]
        if count == U0:
            return


@inlined
def _promote(hashes: Any, counts: Any, texts: Any, state: Any, base: Any, h: Any, count: Any) -> Any:
    """Try to give a key from the lobby of a line a place there; return its slot, or ``NOWHERE``."""
    slot = _smallest(counts, base)
    least = counts[slot]
    if least > count and _chance(state) * float(least - PROMOTED) >= float(count - PROMOTED):
        return NOWHERE
    loser, text = hashes[slot], texts[slot] if texts.size else U0
    hashes[slot], counts[slot] = h, max(least, count)
    _rehome(hashes, counts, texts, loser, least, text, base)
    return slot


@inlined
def _decayed(count: Any, weight: Any, state: Any) -> Any:
    """Return what is left of a count in the lobby after another key of a weight."""
    once = TRIES[count] - TRIES[count - U1]
    if weight < once:
        return count - U64(_chance(state) * once < weight)
    rest = TRIES[count] - weight
    while count != U0 and TRIES[count - U1] >= rest:
        count -= U1
    return count


@inlined
def _in_lobby(hashes: Any, counts: Any, state: Any, h: Any, weight: Any) -> tuple[Any, Any]:
    """Return the lobby of a key without a count, and what it has there then: 0 if another is still there."""
    first, second = _bases(hashes, h)
    for base in (first, second):
        if counts[base] != U0 and hashes[base] == h:
            return base, counts[base] + weight
    for base in (first, second):
        if counts[base] == U0:
            return base, weight
    base = second if h & U1 != U0 else first
    before = counts[base]
    counts[base] = _decayed(before, float(weight), state)
    if counts[base] != U0:
        return base, U0
    return base, U64(max(1.0, float(weight) - TRIES[before]))


@inlined
def _take(hashes: Any, counts: Any, texts: Any, state: Any, h: Any, weight: Any) -> Any:
    """Count a key; return the slot of a count that it did not have before, or ``NOWHERE``."""
    first, second = _bases(hashes, h)
    empty, empty_too = equal(counts, first, U0), equal(counts, second, U0)
    here, there = equal(hashes, first, h) & ~empty & _HEAVY, equal(hashes, second, h) & ~empty_too & _HEAVY
    if here | there != U0:
        slot = first + trailing_zeros(here) if here != U0 else second + trailing_zeros(there)
        counts[slot] += weight
        return NOWHERE
    empty, empty_too = empty & _HEAVY, empty_too & _HEAVY
    if empty | empty_too != U0:
        slot = first + trailing_zeros(empty) if empty != U0 else second + trailing_zeros(empty_too)
        hashes[slot], counts[slot] = h, weight
        return slot
    base, count = _in_lobby(hashes, counts, state, h, weight)
    if count == U0:
        return NOWHERE
    slot = _promote(hashes, counts, texts, state, base, h, count) if count >= PROMOTED else NOWHERE
    hashes[base], counts[base] = h, min(count, PROMOTED) if slot == NOWHERE else U0
    return slot


@kernel
def _count(hashes: Any, counts: Any, texts: Any, state: Any, keys: Any, weights: Any, new: Any) -> None:
    hashes, counts, texts, state = borrowed(hashes), borrowed(counts), borrowed(texts), borrowed(state)
    each, one, listed, n = weights.size > 1, weights[0] if weights.size else U0, U0, U64(keys.size)
    for i in range(n):
        if i + AHEAD < n:
            for base in _bases(hashes, keys[i + AHEAD]):
                prefetch_near(hashes, base)
                prefetch_near(counts, base)
        weight = weights[i] if each else one
        if weight == U0:
            continue
        slot = _take(hashes, counts, texts, state, keys[i], weight)
        if slot != NOWHERE and texts.size:
            texts[slot] = FRESH | (state[ROW] + i)
            if new.size:
                new[listed] = keys[i]
                listed += U1
    state[NEW] = listed


@kernel
def _look_up(hashes: Any, counts: Any, wanted: Any, out: Any) -> None:
    """Write the slots of keys, those in a lobby too, or -1 for those that are not there."""
    hashes, counts = borrowed(hashes), borrowed(counts)
    for i in range(U64(wanted.size)):
        out[i] = -1
        for base in _bases(hashes, wanted[i]):
            found = equal(hashes, base, wanted[i]) & ~equal(counts, base, U0)
            if found != U0:
                out[i] = np.int64(base + trailing_zeros(found))


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, arena = uint64s_of(me, STATE), bytes_of(me, ARENA)
    plain, h, weight = counted_here(me, arguments, count, names, state)
    if not plain or not has_room(state, arena, arguments):
        return slowly(me, "_add_one", arguments, count, names)
    hashes, counts, texts = uint64s_of(me, HASH_TABLE), uint64s_of(me, COUNTERS), uint64s_of(me, TEXT_TABLE)
    slot = _take(hashes, counts, texts, state, h, weight)
    state[TOTAL] += weight
    if slot != NOWHERE and texts.size:
        key = key_of(arguments, 0)
        texts[slot] = state[END]
        state[END] = keep_text(arena, state[END], text_of(key), U0, size_of(key))
    return as_none()


class CuckooHeavyKeeper(HeavyHitters):
    """The most frequent of all keys, by ``capacity`` counts, rounded up to 14: a Cuckoo Heavy Keeper.

    An estimate may be too high or too low, without a bound; of a key that is nowhere it is 0. ``add`` is
    O(1). Memory: 18.3 bytes for each of ``capacity``, and the texts of as many keys twice. ``seed`` is that
    of the keys' hash and of the random numbers; the same keys in the same order leave the same counts.

    >>> sketch = CuckooHeavyKeeper(100)
    >>> sketch.add_many(["/", "/login", "/", "/cart", "/"], weights=[1, 1, 1, 1, 5])
    >>> sketch.top(1)
    (['/'], array([7]))
    """

    __slots__ = ()
    _WORDS = OWN + 1

    def __init__(self, capacity: int, *, seed: int = 0) -> None:
        self._begin((SLOTS - 1) * self._lines(check_capacity(capacity)), seed)
        self._state[RANDOM] = self.seed

    @staticmethod
    def _lines(capacity: int) -> int:
        return 2 * -(-capacity // (2 * (SLOTS - 1)))

    add = Method(_put, "_add_one")

    def __len__(self) -> int:
        """Return the number of keys that have a count, the lobbies aside."""
        return len(self._named())

    def _named(self) -> Any:
        slots = np.flatnonzero(self._counters)
        return slots[slots % SLOTS != 0]

    def _ordered(self) -> Any:
        slots = self._named()
        return slots[np.argsort(self._hashes[slots])]

    def _take_block(self, hashes: Any, weights: Any, new: Any) -> None:
        _count(self._hashes, self._counters, self._texts, self._state, hashes, weights, new)

    def _slots_of(self, hashes: Any) -> Any:
        out = np.empty(len(hashes), np.int64)
        _look_up(self._hashes, self._counters, hashes, out)
        return out

    def _named_slots_of(self, hashes: Any) -> Any:
        slots = self._slots_of(hashes)
        return np.where(slots % SLOTS == 0, -1, slots)

    def _hold_texts(self) -> None:
        super()._hold_texts()
        self._texts[::SLOTS] = FRESH  # who is in a lobby has none

    def _payload(self) -> Any:
        named = self._named() if self._texts.size else []
        texts = [self._text_at(int(start)) for start in self._texts[named]]
        live = np.where(self._counters > 0, self._hashes, U0)
        sizes = np.fromiter(map(len, texts), np.uint64, len(texts))
        parts = (self._kept_state(), live, self._counters, sizes, np.frombuffer(b"".join(texts), np.uint8))
        return np.concatenate([part.view(np.uint8) for part in parts])

    @classmethod
    def _restore(cls, parameters: Parameters, payload: memoryview) -> Self:
        capacity, seed = parameters.integer("capacity", 1, MAX_CAPACITY), parameters.integer("seed", 0, ALL)
        if capacity % (2 * (SLOTS - 1)):
            raise CorruptDataError(f"a capacity of {capacity} is no multiple of 14")
        self = cls(capacity, seed=seed)
        reader = Reader(payload)
        kind = reader.state(self._state, cls._DERIVED)
        slots = self._hashes.size
        self._hashes[:], self._counters[:] = reader.words(slots), reader.words(slots)
        named = self._named()
        sizes = reader.words(len(named) if kind in {STRS, RAW} else 0)
        texts = reader.texts(sizes, kind == STRS)
        self._check_places(kind)
        self._check_texts(self._hashes[named], texts)
        self._put_texts(named, texts)
        return self

    def _check_places(self, kind: int) -> None:
        """Refuse keys that are not where they belong, or twice, and lobbies with more than they can hold."""
        used = np.flatnonzero(self._counters)
        lobby = self._counters[::SLOTS]
        right = np.array_equal(self._slots_of(self._hashes[used]), used)
        counts = self._counters[used]
        if not right or (lobby > PROMOTED).any() or (len(used) and (kind == 0 or counts.max() > self.total)):
            raise CorruptDataError("the table is none that keys leave")
