"""What samples by weight share: weights, and the slots of the smallest keys.

A key is the logarithm of a random number divided by the item's weight, so that weights from 5e-324 to
1.8e308 are told apart alike; small keys stay. The slots are in a heap of their numbers whose top has the
largest key, the next to go. Sums of weights are eight, by the lane ``position & 7``: a whole vector is
added at once, and yet each number is rounded in the order of the stream, however that is cut.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types

from algos._bits import U1, U64, item_pointer, spread
from algos._jit import inlined, kernel, primitive
from algos.errors import CorruptDataError
from algos.sampling._items import LIST
from algos.sampling._sampler import CODE, OWN, SEEN, Sampler

if TYPE_CHECKING:
    from algos.sampling._items import Kept

LANES = 8
ROWS = 8
BLOCK = LANES * ROWS
"""Weights that are looked at together."""
USED, TOTAL, SCALE = OWN, OWN + 1, OWN + 1 + LANES
"""Words of the state: how many slots are used; the sums of all weights, by lane; e ** the largest key."""
MORE = SCALE + 2
_SEEN, _CODE, _USED, _TOTAL, _SCALE = (U64(word) for word in (SEEN, CODE, USED, TOTAL, SCALE))
_LANES, _LANE, _U0, _LIST = U64(LANES), U64(LANES - 1), U64(0), U64(LIST)
_IN_RANGE, _SHIFT = 600.0, 600.0 * math.log(2.0)
_LARGE, _SMALL = 2.0**600, 2.0**-600
_LEAST_KEY, _MOST_KEY = -1455.0, 749.0
"""What the ends of the range of floats make of the logarithm of a number by a weight."""


# ---------------------------------------------------------------------------------------------------
# Weights


def check_weights(weights: Any, n: int) -> Any:
    """Return weights as a contiguous float64[n]."""
    array = np.asarray(weights)
    if array.dtype.kind not in "iuf" or array.ndim != 1:
        raise TypeError(f"weights must be {n} numbers, not {array.dtype}{list(array.shape)}")
    if len(array) != n:
        raise ValueError(f"{n} items and {len(array)} weights; give one for each item")
    return np.ascontiguousarray(array, np.float64)


def _sum_up_twin(weights: Any, at: Any, sums: Any) -> Any:
    rows = weights[int(at) : int(at) + BLOCK].reshape(ROWS, LANES)
    for row in rows:
        sums += row
    return bool(((rows >= 0.0) & (rows < math.inf)).all())


@primitive(_sum_up_twin)
def _sum_up(typingctx: Any, weights: Any, at: Any, sums: Any) -> Any:
    """Add ``BLOCK`` weights from ``at`` on to the eight sums; tell whether all of them are weights."""
    return types.boolean(weights, types.uint64, sums), _emit_sum_up


def _emit_sum_up(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    weights, at, sums = args
    lanes, mask = ir.VectorType(ir.DoubleType(), LANES), ir.VectorType(ir.IntType(1), LANES)
    place = item_pointer(context, builder, signature.args[2], sums, ir.IntType(64)(0), LANES)
    place = builder.bitcast(place, lanes.as_pointer())
    total, right = builder.load(place), ir.Constant(mask, [1] * LANES)
    total.align = 8
    for value in rows_of(context, builder, signature.args[0], weights, at):
        total = builder.fadd(total, value)
        for operator, bound in ((">=", 0.0), ("<", math.inf)):
            found = builder.fcmp_ordered(operator, value, ir.Constant(lanes, [bound] * LANES))
            right = builder.and_(right, found)
    builder.store(total, place).align = 8
    word = builder.bitcast(right, ir.IntType(LANES))
    return builder.icmp_signed("==", word, word.type(-1))


def rows_of(context: Any, builder: Any, array_type: Any, weights: Any, at: Any) -> list[Any]:
    """Emit the loads of ``BLOCK`` weights from ``at`` on, a vector of ``LANES`` each."""
    first = item_pointer(context, builder, array_type, weights, at, BLOCK)
    lanes, found = ir.VectorType(ir.DoubleType(), LANES), []
    for row in range(ROWS):
        place = builder.gep(first, [ir.IntType(64)(LANES * row)])
        found.append(builder.load(builder.bitcast(place, lanes.as_pointer())))
        found[-1].align = 8
    return found


@kernel
def _added(weights: Any, state: Any) -> Any:
    """Add weights to the sums, after the items seen; tell whether one is none, and then add nothing."""
    n, lane, i = U64(weights.size), state[_SEEN], _U0
    sums, right = state.view(np.float64)[_TOTAL : _TOTAL + _LANES].copy(), True
    while i < n:
        while (lane + i) & _LANE == _U0 and i + U64(BLOCK) <= n:
            right &= _sum_up(weights, i, sums)
            i += U64(BLOCK)
        if i < n:
            sums[(lane + i) & _LANE] += weights[i]
            right &= weights[i] >= 0.0 and weights[i] < math.inf
            i += U1
    if right:
        state.view(np.float64)[_TOTAL : _TOTAL + _LANES] = sums
    return not right


@inlined
def lanes_sum(sums: Any, at: Any) -> Any:
    """Add up eight lanes, in the order that ``block_sum`` does."""
    evens = (sums[at] + sums[at + U64(4)]) + (sums[at + U64(2)] + sums[at + U64(6)])
    odds = (sums[at + U1] + sums[at + U64(5)]) + (sums[at + U64(3)] + sums[at + U64(7)])
    return evens + odds


@kernel
def total_of(sums: Any) -> Any:
    """Add up eight lanes, for Python."""
    return lanes_sum(sums, _U0)


def _block_sum_twin(weights: Any, at: Any, one: Any, two: Any) -> Any:
    rows = weights[int(at) : int(at) + BLOCK].reshape(ROWS, LANES)
    sums = np.zeros(LANES)
    for row in rows:
        sums += (row * one) * two
    return lanes_sum(sums, _U0)


@primitive(_block_sum_twin)
def block_sum(typingctx: Any, weights: Any, at: Any, one: Any, two: Any) -> Any:
    """Add up ``BLOCK`` weights from ``at`` on, each times ``one`` times ``two``, lane by lane.

    Vectors, since LLVM may not change the order of floating-point sums.
    """
    return types.float64(weights, types.uint64, types.float64, types.float64), _emit_block_sum


def _emit_block_sum(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    weights, at, one, two = args
    one, two = spread(builder, one, LANES), spread(builder, two, LANES)
    total = ir.Constant(one.type, [0.0] * LANES)
    for value in rows_of(context, builder, signature.args[0], weights, at):
        total = builder.fadd(total, builder.fmul(builder.fmul(value, one), two))
    return _across(builder, total)


def _across(builder: Any, total: Any) -> Any:
    """Emit the sum of eight lanes, as ``lanes_sum`` adds them up."""
    for half in (4, 2, 1):
        low, high = (
            builder.shuffle_vector(total, total, ir.Constant(ir.VectorType(ir.IntType(32), half), part))
            for part in (list(range(half)), list(range(half, 2 * half)))
        )
        total = builder.fadd(low, high)
    return builder.extract_element(total, _I0)


def _row_fits_twin(weights: Any, at: Any, one: Any, two: Any, sums: Any, left: Any) -> bool:
    more = sums + (weights[int(at) : int(at) + LANES] * one) * two
    fits = bool(lanes_sum(more, _U0) < left)
    if fits:
        sums[:] = more
    return fits


@primitive(_row_fits_twin)
def row_fits(typingctx: Any, weights: Any, at: Any, one: Any, two: Any, sums: Any, left: Any) -> Any:
    """Add eight weights, scaled alike, to the lanes if their sum stays below ``left``; tell if so."""
    given = (weights, types.uint64, types.float64, types.float64, sums, types.float64)
    return types.boolean(*given), _emit_row_fits


def _emit_row_fits(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    weights, at, one, two, sums, left = args
    one, two = spread(builder, one, LANES), spread(builder, two, LANES)
    row = item_pointer(context, builder, signature.args[0], weights, at, LANES)
    place = item_pointer(context, builder, signature.args[4], sums, ir.IntType(64)(0), LANES)
    row, place = (builder.bitcast(pointer, one.type.as_pointer()) for pointer in (row, place))
    value, total = builder.load(row), builder.load(place)
    value.align = total.align = 8
    more = builder.fadd(total, builder.fmul(builder.fmul(value, one), two))
    fits = builder.fcmp_ordered("<", _across(builder, more), left)
    builder.store(builder.select(fits, more, total), place).align = 8
    return fits


_I0 = ir.IntType(32)(0)


@inlined
def rescale(state: Any, key: Any) -> None:
    """Note ``e ** key`` as two factors, for a weight to be multiplied by without leaving the range."""
    reals = state.view(np.float64)
    if key > _IN_RANGE:
        reals[_SCALE], reals[_SCALE + U1] = _LARGE, math.exp(key - _SHIFT)
    elif key < -_IN_RANGE:
        reals[_SCALE], reals[_SCALE + U1] = _SMALL, math.exp(key + _SHIFT)
    else:
        reals[_SCALE], reals[_SCALE + U1] = 1.0, math.exp(key)


@inlined
def scaled_by(state: Any, weight: Any) -> Any:
    """Return a weight times ``e ** the largest key``."""
    reals = state.view(np.float64)
    return (weight * reals[_SCALE]) * reals[_SCALE + U1]


@inlined
def passed(state: Any, weight: Any) -> None:
    """Count an item that is passed over."""
    reals = state.view(np.float64)
    reals[_TOTAL + (state[_SEEN] & _LANE)] += weight
    state[_SEEN] += U1


@inlined
def may_pass(state: Any, size: Any, weight: Any) -> Any:
    """Tell whether an item may be passed over: all slots are used, for any objects, and its weight is one."""
    return (state[_CODE] == _LIST) & (state[_USED] == size) & (weight >= 0.0) & (weight < math.inf)


# ---------------------------------------------------------------------------------------------------
# The heap


@inlined
def sift(keys: Any, heap: Any, size: Any, at: Any) -> None:
    """Let the slot at a place of the heap sink to where it belongs."""
    slot = heap[at]
    key = keys[slot]
    while True:
        child = U64(2) * at + U1
        if child >= size:
            break
        if child + U1 < size and keys[heap[child + U1]] > keys[heap[child]]:
            child += U1
        if keys[heap[child]] <= key:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = slot


@inlined
def heapify(keys: Any, heap: Any, size: Any) -> None:
    """Make a heap of the slots in any order."""
    at = size >> U1
    while at > _U0:
        at -= U1
        sift(keys, heap, size, at)


@kernel
def _rebuilt(keys: Any, heap: Any, size: Any) -> None:
    """Make a heap of the first slots."""
    for slot in range(size):
        heap[slot] = slot
    heapify(keys, heap, size)


@kernel
def _rescaled(state: Any, key: Any) -> None:
    rescale(state, key)


@kernel
def _is_heap(keys: Any, heap: Any, seen: Any) -> Any:
    """Tell whether it is a heap of all slots, ``seen`` being as many zeros."""
    size = U64(heap.size)
    for at in range(size):
        if heap[at] >= size or seen[heap[at]]:
            return False
        seen[heap[at]] = True
    risen = _U0
    for at in range(U1, size):
        risen += U64(keys[heap[at]] > keys[heap[(at - U1) >> U1]])
    return risen == _U0


@inlined
def note(chosen: Any, changed: Any, count: Any, slot: Any, position: Any) -> Any:
    """Note that a slot has the item at a position; return how many slots are noted."""
    fresh = chosen[slot] == _U0
    if fresh:
        changed[count] = slot
    chosen[slot] = position + U1
    return count + U64(fresh)


class Weighing(Sampler):
    """A sample of the items with the smallest keys."""

    __slots__ = ("_changed", "_chosen", "_columns", "_heap")
    STATE = MORE
    COLUMNS = 2
    SLACK = 0.0
    """How much above the largest key its scale is."""

    def __init__(self, k: int, *, seed: int = 0) -> None:
        super().__init__(k, seed=seed)
        self._columns: Any = np.zeros((self.COLUMNS - 1, 0))
        self._heap: Any = np.zeros(0, np.uint64)
        self._chosen, self._changed = self._heap, self._heap

    @property
    def _most(self) -> int:
        """How many slots there can be."""
        return self.k

    def _room(self, slots: int) -> None:
        """Make room for so many slots: for what is kept of each, and for what a batch changes."""
        had = len(self._heap)
        if slots > had:
            more = min(self._most, max(slots, 2 * had)) - had
            self._columns = np.pad(self._columns, ((0, 0), (0, more)))
            self._heap = np.pad(self._heap, (0, more))
            self._chosen, self._changed = np.zeros_like(self._heap), np.empty_like(self._heap)

    @property
    def total_weight(self) -> float:
        """The sum of the weights of all items offered."""
        return float(total_of(self._state.view(np.float64)[TOTAL:SCALE]))

    def _slots(self) -> int:
        return int(self._state[USED])

    def _weigh(self, n: int, weights: Any) -> None:
        """Add checked weights to the sums, or say which is none; make room for what may be kept."""
        if _added(weights, self._state):
            wrong = ~((weights >= 0) & (weights < np.inf))
            at = int(np.argmax(wrong))
            raise ValueError(f"the weight at position {at} is {weights[at]}: weights are finite, from 0 on")
        self._room(min(self._most, self._slots() + n))

    def _take(self, kept: Kept, batch: Any, count: Any) -> None:
        """Take the items that were chosen of a batch."""
        if count:
            slots = self._changed[: int(count)].astype(np.int64)
            positions = self._chosen[slots].astype(np.int64) - 1
            self._chosen[slots] = 0
            kept.put(slots, batch.take(positions))

    def _unite(self, other: Weighing) -> bool:
        """Keep the smallest keys of both; tell whether slots are full then."""
        mine, theirs = self._slots(), other._slots()
        both = np.concatenate([self._columns[0, :mine], other._columns[0, :theirs]])
        stay = np.argsort(both, kind="stable")[: self._most]
        out = np.setdiff1d(np.arange(mine), stay, assume_unique=True)
        come = np.sort(stay[stay >= mine]) - mine
        slots = np.concatenate([out, np.arange(mine, len(stay))])
        self._room(len(stay))
        if other._kept is not None:
            taken = other._kept.pick(come)
            self._keep(self._admit(other._kept.batch(theirs))).put(slots, taken)
        self._columns[:, slots] = other._columns[:, come]
        _rebuilt(self._columns[0], self._heap, U64(len(stay)))
        self._state[USED] = len(stay)
        self._state[SEEN] += other._state[SEEN]
        self._state.view(np.float64)[TOTAL:SCALE] += other._state.view(np.float64)[TOTAL:SCALE]
        full = len(stay) == self._most
        if full:
            _rescaled(self._state, both[stay[-1]] + self.SLACK)
        return full

    def _fixed(self) -> Any:
        used = self._slots()
        columns = [self._columns[:, :used].reshape(-1).view(np.uint64), self._heap[:used]]
        return np.concatenate([self._state, *columns])

    def _slots_claimed(self) -> int:
        return min(int(self._state[USED]), 1 << 32)

    def _check(self, columns: Any) -> None:
        used, seen = self._slots(), self.seen
        self._columns, self._heap = columns[:-1].view(np.float64), columns[-1].copy()
        sums = self._state.view(np.float64)[TOTAL:SCALE]
        keys = self._columns[0]
        if used > min(self._most, seen) or not (sums >= 0).all():
            raise CorruptDataError(f"no {used} of {seen} items are kept, and the weights come to {sums}")
        if not ((keys >= _LEAST_KEY) & (keys <= _MOST_KEY)).all():
            raise CorruptDataError("these are no keys of weights")
        if used == self._most and not _is_heap(keys, self._heap, np.zeros(used, np.bool_)):
            raise CorruptDataError("the slots are in no heap")
        if used < self._most and (self._heap != np.arange(used)).any():
            raise CorruptDataError("slots that are not full are not in order")
        self._state[SCALE : SCALE + 2] = 0
        if used == self._most:
            _rescaled(self._state, keys[self._heap[0]] + self.SLACK)
        self._chosen, self._changed = np.zeros(used, np.uint64), np.empty(used, np.uint64)
