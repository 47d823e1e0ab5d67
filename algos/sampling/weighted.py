"""Weighted reservoir sampling: k of a stream, one after another drawn by weight, without replacement.

Efraimidis, Spirakis: Weighted random sampling with a reservoir, IPL 2006, algorithm A-ExpJ. Give each item
the key E / w, E from the exponential distribution, and keep the k smallest: the smallest is item i with the
chance w_i / (sum of all), the next is drawn alike of the rest, and so on. With T the largest key kept, the
sum of the weights up to the next item that comes in is exponential too, of mean 1 / T: it is drawn once,
and what is skipped is only added up, 64 weights at a time::

    state | xoshiro256++ 4 words | seen | kind of items | slots used | sums of weights, 8 lanes |
          | T x weight left to skip | place in the block of 64 | T x weights of the block, 8 lanes |
    slots | log key ... | heap of slots ... | item ... |

One addition an item, about what reading the weights takes, and k log(N / k) times three logarithms and a
heap's step. Whether a block holds the next item is decided by the same rounded sums as within it, so that
batches, single items and any cut of the stream come to the same sample. Weights of 0 are never drawn.

Good for samples in which heavy items are more likely; an item's chance has no closed form, so estimates of
sums are those of ``PrioritySample``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from algos._bits import U1, U64, borrowed
from algos._fastcall import Method, Native, as_none, number_of, place, real_of, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.errors import CorruptDataError
from algos.sampling._items import single, whole
from algos.sampling._numbers import exponential, uniform
from algos.sampling._sampler import SEEN
from algos.sampling._weights import (
    BLOCK,
    LANES,
    MORE,
    SCALE,
    USED,
    Weighing,
    block_sum,
    check_weights,
    heapify,
    lanes_sum,
    may_pass,
    note,
    passed,
    rescale,
    row_fits,
    scaled_by,
    sift,
    total_of,
)

LEFT, INSIDE, SUMS = MORE, MORE + 1, MORE + 2
_SEEN, _USED, _SCALE, _LEFT, _INSIDE, _SUMS = (U64(word) for word in (SEEN, USED, SCALE, LEFT, INSIDE, SUMS))
_BLOCK, _LANES, _LANE, _U0 = U64(BLOCK), U64(LANES), U64(LANES - 1), U64(0)
_LEAST = 5e-324


@inlined
def _jump(state: Any, key: Any) -> None:
    """Draw how much weight is skipped, in units of 1 / T, ``key`` being log T, and begin to add up."""
    reals = state.view(np.float64)
    rescale(state, key)
    reals[_LEFT] = exponential(state)
    state[_INSIDE] = _U0
    for lane in range(_LANES):
        reals[_SUMS + lane] = 0.0


@inlined
def _comes_in(state: Any, keys: Any, heap: Any, k: Any, weight: Any) -> Any:
    """Replace the largest key by that of an item known to be below it; return its slot.

    E, given that E < T w, by inversion.
    """
    slot = heap[_U0]
    below = -math.log1p(uniform(state) * math.expm1(-scaled_by(state, weight)))
    keys[slot] = math.log(max(below, _LEAST)) - math.log(weight)
    sift(keys, heap, k, _U0)
    _jump(state, keys[heap[_U0]])
    return slot


@inlined
def _turn(state: Any, sums: Any) -> None:
    """Begin the next block: what this one weighs is no more to be skipped."""
    state.view(np.float64)[_LEFT] -= lanes_sum(sums, _U0)
    state[_INSIDE] = _U0
    for lane in range(_LANES):
        sums[lane] = 0.0


@inlined
def _skip(state: Any, sums: Any, weights: Any, i: Any) -> Any:
    """Return the item that the jump ends at, or that there is none.

    By blocks, by rows, one by one: each step is taken only if the jump does not end in it.
    """
    n, reals = U64(weights.size), state.view(np.float64)
    left, one, two = reals[_LEFT], reals[_SCALE], reals[_SCALE + U1]
    while i < n:
        inside = state[_INSIDE]
        if inside == _U0:
            while i + _BLOCK <= n:
                total = block_sum(weights, i, one, two)
                if total >= left:
                    break
                left -= total
                i += _BLOCK
            reals[_LEFT] = left
            if i == n:
                break
        if inside & _LANE == _U0 and i + _LANES <= n and row_fits(weights, i, one, two, sums, left):
            i, inside = i + _LANES, inside + _LANES
        else:
            lane = inside & _LANE
            sums[lane] += (weights[i] * one) * two
            if lanes_sum(sums, _U0) >= left:
                return i
            i, inside = i + U1, inside + U1
        state[_INSIDE] = inside
        if inside == _BLOCK:
            _turn(state, sums)
            left = reals[_LEFT]
    return n


@kernel
def _choose(state: Any, keys: Any, heap: Any, k: Any, weights: Any, chosen: Any, changed: Any) -> Any:
    """Offer items; return how many slots changed, see ``note``."""
    state, keys, heap, weights = borrowed(state), borrowed(keys), borrowed(heap), borrowed(weights)
    n, count, i, used = U64(weights.size), _U0, _U0, state[_USED]
    state[_SEEN] += n
    reals = state.view(np.float64)
    while used < k and i < n:
        if weights[i] > 0.0:
            keys[used] = math.log(exponential(state)) - math.log(weights[i])
            heap[used] = used
            count = note(chosen, changed, count, used, i)
            used += U1
            if used == k:
                heapify(keys, heap, k)
                _jump(state, keys[heap[_U0]])
        i += U1
    state[_USED] = used
    sums = reals[_SUMS : _SUMS + _LANES]
    while i < n:
        i = _skip(state, sums, weights, i)
        if i < n:
            slot = _comes_in(state, keys, heap, k, weights[i])
            count = note(chosen, changed, count, slot, i)
            i += U1
    return count


@kernel
def _resume(state: Any, key: Any) -> None:
    """Draw another jump: what was left of the old one is as long as any."""
    _jump(state, key)


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    """Pass over an item that the jump does not end at."""
    if count == U64(2) and names == _U0:
        state, weight = uint64s_of(me, _STATE), real_of(arguments, 1)
        if may_pass(state, number_of(me, _K), weight):
            sums, lane = state.view(np.float64)[_SUMS : _SUMS + _LANES], state[_INSIDE] & _LANE
            before = sums[lane]
            sums[lane] += scaled_by(state, weight)
            if lanes_sum(sums, _U0) < state.view(np.float64)[_LEFT]:
                passed(state, weight)
                state[_INSIDE] += U1
                if state[_INSIDE] == _BLOCK:
                    _turn(state, sums)
                return as_none()
            sums[lane] = before
    return slowly(me, "_add_one", arguments, count, names)


class WeightedReservoirSample(Weighing):
    """A sample of ``k`` items of a stream, drawn by weight without replacement.

    The first item is ``i`` with the chance ``w_i / sum(w)``, the second by weight of the others, and so on.
    Weights are finite numbers from 0 on; 0 is never drawn, so that fewer than ``k`` items with a weight
    make a smaller sample. Items are of any kind, one kind for a sampler, as in ``ReservoirSample``. O(n),
    about a memory read an item. Memory: the sample and 32 bytes for each of ``k``.

    >>> s = WeightedReservoirSample(2, seed=1)
    >>> s.add_many(["often", "seldom", "never", "often"], [1e9, 1e-9, 0, 1e9])
    >>> s.sample(), s.seen
    (['often', 'often'], 4)
    """

    __slots__ = ()
    STATE = MORE + 2 + LANES

    def __len__(self) -> int:
        """How many items are in the sample."""
        return self._slots()

    def add_many(self, items: Any, weights: Any) -> None:
        """Offer a batch of items, each with a weight; a wrong one is a ``ValueError`` that adds nothing."""
        batch = whole(items)
        self._offer(batch, check_weights(weights, batch.size))

    def _add_one(self, item: Any, weight: float) -> None:
        """Offer one item."""
        batch = single(item) if self._kept is None else self._kept.lift(item)
        self._offer(batch, check_weights([weight], 1))

    add = Method(_put, "_add_one")

    def _offer(self, batch: Any, weights: Any) -> None:
        kept = self._admit(batch)
        self._weigh(batch.size, weights)
        self._keep(kept)
        keys = self._columns[0]
        count = _choose(self._state, keys, self._heap, U64(self.k), weights, self._chosen, self._changed)
        self._take(kept, batch, count)

    def merge(self, other: WeightedReservoirSample) -> None:
        """Take in the sample of another stream: as likely as any sample of both streams, O(k log k).

        The ``k`` smallest keys of both stay. Streams are sampled independently only under different seeds:
        the same seed is a ``ValueError``, as is another ``k``, and items of another kind are a
        ``TypeError``.
        """
        self._check_mergeable(other)
        self._check_independent(other)
        if self._unite(other):
            _resume(self._state, self._columns[0, self._heap[0]])

    def _check(self, columns: Any) -> None:
        super()._check(columns)
        sums, left = self._state.view(np.float64)[SUMS : SUMS + LANES], self._state.view(np.float64)[LEFT]
        inside = int(self._state[INSIDE])
        idle = inside == 0 and not self._state[LEFT:].any()
        going = inside < BLOCK and 0 < left < np.inf and (sums >= 0).all() and total_of(sums) < left
        if not (going if self._slots() == self.k else idle):
            raise CorruptDataError(f"no jump has {left} left after {inside} weights of a block")


_STATE, _K = place(WeightedReservoirSample, "_state"), place(WeightedReservoirSample, "k")
