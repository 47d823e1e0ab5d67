"""Cuckoo Heavy Keeper: frequent keys in two tables, which a key must first show itself worthy of in a lobby.

Ngo, Papatriantafilou: Cuckoo Heavy Keeper and the balancing act of maintaining heavy hitters in stream
processing, VLDB 2025 (arXiv:2412.12873). A key has a bucket in each table: a lobby and three heavy places::

    hashes  | lobby | heavy | heavy | heavy | lobby | ...     the house hash of the key
    values  | lobby | heavy | heavy | heavy | lobby | ...     its count; 0: the place is free
    bucket  table 0: lower half of the hash * buckets / 2^32;  table 1: upper half, likewise

A key that has a place is counted there, and a new one takes a free place, a heavy one first. Else it stands
up to the lobby of one of its buckets: a weight of 1 takes 1 from a count of c there with a chance of 1.08^-c,
and who takes the last has the lobby. At 16 a key in a lobby is promoted: it takes the place of the least
heavy key of the bucket, if that had less, or with a chance that makes up for what it had more, in which case
it goes on from that count. The key that had the place moves to its other bucket, and the least one there
moves on in turn; one of less than 0.8 / capacity of the total is let go instead, and so is the tenth.

So rare keys never touch the heavy ones: counts of frequent keys are nearly exact, and those of others mostly
too low. There are no bounds, and no merge: a count depends on what else was in its buckets at the time. Keys
are told apart by whole hashes, not by 16 bits of them as in the paper, and given back. Chances are drawn from
a stream that the seed and all keys before decide: the same keys leave the same state, one by one or in
batches. A weight takes from a lobby what so many keys would in the mean. Adding and asking are O(1): two
lines of hashes, and one of values.

Good for little memory and streams of little skew. ``SpaceSaving`` has bounds, ``MisraGries`` is faster where
most keys are held, and both merge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types

from algos._bits import (
    M32,
    U1,
    U32_,
    U64,
    aligned_zeros,
    borrowed,
    item_pointer,
    prefetch,
    spread,
    trailing_zeros,
)
from algos._fastcall import Method, Native, as_int, as_none, bytes_of, slowly, uint64s_of
from algos._jit import inlined, kernel, primitive
from algos.errors import CorruptDataError
from algos.frequency._arena import PENDING
from algos.frequency._counts import STATE, TOTAL, U0
from algos.frequency._heavy import (
    ARENA,
    HASHES,
    HELD,
    OWN,
    TEXTS,
    USED,
    VALUES,
    Heavy,
    asked_alone,
    check_capacity,
    has_room,
    kept_alone,
    write_alone,
)
from algos.hashing.splitmix64 import GAMMA, splitmix64

if TYPE_CHECKING:
    from numpy.typing import NDArray

RANDOM = OWN
"""Word of the state: where the stream of chances is."""
PLACES, PLACES_LOG = U64(4), U64(2)
HEAVY, BUCKET_PAIR = 3, 6
PROMOTED = U64(16)
"""A key of this count leaves the lobby, if there is a place for it."""
DECAY = 1.08
KEPT = 0.8
"""What of an even share of the total a key must have to be moved, and not let go."""
MOVES = 10
NONE = U64((1 << 64) - 1)
COST = DECAY ** np.arange(int(PROMOTED) + 1)
"""What weight it takes in the mean to take 1 from a count."""
COST_OF_ALL = np.cumsum(COST) - 1.0
"""What it takes to take all of it."""
NEAR_BYTES = 1 << 20
"""Up to a usual L2, nothing is fetched ahead."""
AHEAD = U64(32)


def _equal_twin(hashes: Any, start: Any, h: Any) -> Any:
    return U64(sum(1 << i for i in range(4) if hashes[int(start) + i] == h))


@primitive(_equal_twin)
def _equal(typingctx: Any, hashes: Any, start: Any, h: Any) -> Any:
    """Tell which of the four words from ``start`` on equal another: a bit for each."""
    signature = types.uint64(hashes, types.uint64, types.uint64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        b, lanes = builder, ir.VectorType(ir.IntType(64), 4)
        pointer = item_pointer(context, b, signature.args[0], args[0], args[1], 4)
        words = b.load(b.bitcast(pointer, lanes.as_pointer()))
        words.align = 32
        equal = b.bitcast(b.icmp_unsigned("==", words, spread(b, args[2], 4)), ir.IntType(4))
        return b.zext(equal, ir.IntType(64))

    return signature, codegen


@inlined
def _buckets(buckets: Any, h: Any) -> tuple[Any, Any]:
    """Return where the two buckets of a key begin."""
    one = ((h & M32) * buckets) >> U32_
    two = ((h >> U32_) * buckets) >> U32_
    return one << PLACES_LOG, (buckets + two) << PLACES_LOG


@inlined
def _place_of(hashes: Any, values: Any, one: Any, two: Any, h: Any) -> Any:
    """Return the place that a key has, or ``NONE``."""
    there = _equal(hashes, one, h) | (_equal(hashes, two, h) << PLACES)
    if h == U0:  # as in places that are free
        there &= ~(_equal(values, one, U0) | (_equal(values, two, U0) << PLACES))
    if there == U0:
        return NONE
    bit = trailing_zeros(there)
    return one + bit if bit < PLACES else two + bit - PLACES


@inlined
def _drawn(state: Any) -> Any:
    """Return the next number of chance, from 0 to 1."""
    bits = splitmix64(state[RANDOM], U0)
    state[RANDOM] += GAMMA
    return float(bits >> U64(11)) * 2.0**-53


@inlined
def _least_heavy(values: Any, start: Any) -> Any:
    """Return the first heavy place of a bucket that has the least count."""
    least = start + U1
    for i in range(2, HEAVY + 1):
        if values[start + U64(i)] < values[least]:
            least = start + U64(i)
    return least


@inlined
def _other_bucket(buckets: Any, h: Any, e: Any) -> Any:
    """Return where the bucket of a key begins that its place is not in."""
    one, two = _buckets(buckets, h)
    return two if e < buckets << PLACES_LOG else one


@kernel
def _move_on(state: Any, hashes: Any, values: Any, texts: Any, h: Any, value: Any, text: Any, e: Any) -> None:
    """Find a place for a key that had place ``e``, and for those that this drives out; let the last go."""
    buckets, with_text = U64(values.size) >> U64(3), texts.size > 0
    share = KEPT * float(state[TOTAL]) / (0.75 * float(values.size))
    for _ in range(MOVES):
        if float(value) < share:
            break
        e = _least_heavy(values, _other_bucket(buckets, h, e))
        h, hashes[e] = hashes[e], h
        value, values[e] = values[e], value
        if with_text:
            text, texts[e] = texts[e], text
        if value == U0:
            return
    state[HELD] -= U1


@kernel
def _promote(state: Any, hashes: Any, values: Any, texts: Any, lobby: Any) -> None:
    """Give the key of a lobby a heavy place of its bucket, by chance."""
    e, count, text = _least_heavy(values, lobby), values[lobby], U0
    before = values[e]
    if before > count and _drawn(state) * float(before - PROMOTED) >= float(count - PROMOTED):
        values[lobby] = PROMOTED
        return
    h = hashes[e]
    hashes[e], values[e] = hashes[lobby], max(before, count)
    hashes[lobby], values[lobby] = U0, U0
    if texts.size:
        text, texts[e] = texts[e], texts[lobby]
    if before:
        _move_on(state, hashes, values, texts, h, before, text, e)


@inlined
def _won(state: Any, values: Any, lobby: Any, weight: Any) -> Any:
    """Take from a lobby what a weight does; return what is left of the weight if it took all, else 0."""
    count, w = values[lobby], float(weight)
    if w < COST[count]:
        left = count - U64(_drawn(state) * COST[count] < w)
    else:
        left = count
        while left and COST_OF_ALL[left - U1] + w >= COST_OF_ALL[count]:
            left -= U1
    values[lobby] = left
    return U0 if left else max(U1, weight - min(weight, U64(COST_OF_ALL[count])))


@kernel
def _enter(
    state: Any, hashes: Any, values: Any, texts: Any, one: Any, two: Any, h: Any, weight: Any, text: Any
) -> Any:
    """Give a new key a free place, or let it stand up to a lobby; tell whether it has a place then."""
    e, count = _least_heavy(values, one), weight
    if values[e]:
        e = _least_heavy(values, two)
    if values[e]:
        e = one if values[one] == U0 else two
    if values[e]:
        e = two if h & U1 else one
        count = _won(state, values, e, weight)
        if count == U0:
            return False
    else:
        state[HELD] += U1
    hashes[e], values[e] = h, count
    if texts.size:
        texts[e] = text
    if e & (PLACES - U1) == U0 and count >= PROMOTED:
        _promote(state, hashes, values, texts, e)
    return True


@inlined
def _count_one(state: Any, hashes: Any, values: Any, texts: Any, h: Any, weight: Any, text: Any) -> Any:
    """Count a key; tell whether it was given a place."""
    one, two = _buckets(U64(values.size) >> U64(3), h)
    e = _place_of(hashes, values, one, two, h)
    state[TOTAL] += weight
    if e == NONE:
        return weight != U0 and _enter(state, hashes, values, texts, one, two, h, weight, text)
    values[e] += weight
    if e & (PLACES - U1) == U0 and values[e] >= PROMOTED:
        _promote(state, hashes, values, texts, e)
    return False


@kernel
def _count(state: Any, hashes: Any, values: Any, texts: Any, keys: Any, weights: Any, base: Any) -> None:
    state, hashes, values, texts = borrowed(state), borrowed(hashes), borrowed(values), borrowed(texts)
    keys, weights, each, n = borrowed(keys), borrowed(weights), U64(weights.size > 1), U64(keys.size)
    far, buckets = hashes.nbytes + values.nbytes > NEAR_BYTES, U64(values.size) >> U64(3)
    for i in range(n):
        if far and i + AHEAD < n:
            one, two = _buckets(buckets, keys[i + AHEAD])
            prefetch(hashes, one)
            prefetch(hashes, two)
            prefetch(values, one)
            prefetch(values, two)
        _count_one(state, hashes, values, texts, keys[i], weights[i * each], PENDING | (U64(base) + i))


@kernel
def _find_all(hashes: Any, values: Any, wanted: Any, out: Any) -> None:
    hashes, values, buckets = borrowed(hashes), borrowed(values), U64(values.size) >> U64(3)
    for i in range(wanted.size):
        one, two = _buckets(buckets, wanted[i])
        out[i] = np.int64(_place_of(hashes, values, one, two, wanted[i]))


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, arena = uint64s_of(me, STATE), bytes_of(me, ARENA)
    plain, key, h, weight = kept_alone(me, state, arguments, count, names)
    if plain and has_room(state, arena, key):
        table = uint64s_of(me, HASHES), uint64s_of(me, VALUES), uint64s_of(me, TEXTS)
        if _count_one(state, *table, h, weight, state[USED]):
            write_alone(state, arena, key)
        return as_none()
    return slowly(me, "_add_one", arguments, count, names)


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = asked_alone(me, uint64s_of(me, STATE), arguments, count, names)
    if plain:
        hashes, values = uint64s_of(me, HASHES), uint64s_of(me, VALUES)
        one, two = _buckets(U64(values.size) >> U64(3), h)
        e = _place_of(hashes, values, one, two, h)
        return as_int(U0 if e == NONE else values[e])
    return slowly(me, "_estimate_one", arguments, count, names)


class CuckooHeavyKeeper(Heavy):
    """A table of ``capacity`` heavy places, rounded up to whole buckets, for ints, floats, text or bytes.

    Counts of the keys that came most are nearly exact, without bounds; see ``SpaceSaving`` for these. ``add``
    and ``estimate`` are O(1). Memory: 22 bytes for a heavy place, and for text 15 more and up
    to twice the key. One sketch has keys of one kind.

    >>> sketch = CuckooHeavyKeeper(capacity=100)
    >>> sketch.add_many(["ann", "bob", "ann", "eve"], weights=[1, 2, 3, 1])
    >>> sketch.top(2), sketch.estimate("eve"), sketch.total
    ((['ann', 'bob'], array([4, 2])), 1, 7)
    """

    __slots__ = ()
    STATE_WORDS = OWN + 1

    def __init__(self, capacity: int, *, seed: int = 0) -> None:
        self._begin(-(-check_capacity(capacity) // BUCKET_PAIR) * BUCKET_PAIR, seed)
        self._make_table()

    def _make_table(self) -> None:
        """Make places, all free."""
        places = self.capacity // BUCKET_PAIR * 8
        self._hashes, self._values = (aligned_zeros(places, np.uint64) for _ in range(2))
        self._state[RANDOM] = self._hasher.word_seed

    add = Method(_put, "_add_one")
    estimate = Method(_ask, "_estimate_one")

    def heavy_hitters(
        self, share: float | None = None, *, threshold: int | None = None
    ) -> tuple[Any, NDArray[np.int64]]:
        """Return the keys whose estimates are above ``share`` of the total, or above ``threshold``.

        Some may be missing, and some be there by mistake, most of them near the threshold. Keys and
        estimates are as of ``top``.
        """
        limit, entries = self._limit(share, threshold), self._entries()
        chosen = entries[self._values[entries] > limit]
        return self._ordered(chosen, len(chosen))

    def _entries(self) -> Any:
        return np.flatnonzero(self._values)

    def _count(self, hashes: Any, weights: Any, base: int) -> None:
        _count(self._state, self._hashes, self._values, self._texts, hashes, weights, base)

    def _find(self, hashes: Any, out: Any) -> None:
        _find_all(self._hashes, self._values, hashes, out)

    def _numbers(self) -> list[Any]:
        return [self._values]

    def _count_numbers(self, held: int) -> int:  # noqa: ARG002 - those of free places are stored too
        return self.capacity // BUCKET_PAIR * 8

    def _take_numbers(self, numbers: Any, held: int) -> Any:
        random = self._state[RANDOM]
        self._make_table()
        self._values[:], self._state[HELD], self._state[RANDOM] = numbers, held, random
        entries = self._entries()
        if len(entries) != held or self.capacity % BUCKET_PAIR:
            raise CorruptDataError(f"{len(entries)} keys, not {held}, in a capacity of {self.capacity}")
        return entries

    def _check_entries(self) -> None:
        entries, buckets = self._entries(), U64(self.capacity // BUCKET_PAIR)
        hashes = self._hashes[entries]
        halves = (hashes & M32) * buckets >> U32_, ((hashes >> U32_) * buckets >> U32_) + buckets
        bucket = entries.view(np.uint64) >> PLACES_LOG
        if not np.where(bucket < buckets, bucket == halves[0], bucket == halves[1]).all():
            raise CorruptDataError("a key in a bucket that is not its own")
        if len(np.unique(hashes)) < len(hashes):
            raise CorruptDataError("a key that has two places")
        if (self._values[::4] > PROMOTED).any():
            raise CorruptDataError(f"a lobby of more than {PROMOTED}")
