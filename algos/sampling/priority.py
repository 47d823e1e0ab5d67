"""Priority sampling: k items of a stream from which the weight of any part of it is estimated, without bias.

Duffield, Lund, Thorup: Priority sampling for estimation of arbitrary subset sums, JACM 2007. An item of
weight w has the priority w / u, u uniform in (0, 1); the k highest stay, and the next one is the threshold
t. An item of the sample stands for max(w, t), others for 0: the sum over any part, chosen when all is over,
is right in the mean, and so is the sum of t max(0, t - w) as its variance, for the errors of items are not
correlated. A part of weight S has a variance of at most S (sum of all) / (k - 1) (Alon, Duffield, Lund,
Thorup, PODS 2005), no more than the best unbiased scheme of one item less (Szegedy, STOC 2006)::

    state | xoshiro256++ 4 words | seen | kind of items | slots used | sums of weights, 8 lanes |
    slots | log(u / w) ... | w ... | heap of slots ... | item ... |   k + 1 of them, the heap's top is t's

The u of an item is SplitMix64's at the item's position, or, in a ``coordinated`` sample, the hash of the
item as a key: then samples of different days or of different weights have as many items in common as they
can, and so do changes between them little error. 64 items at a time are compared with the threshold; few
are looked at further.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types

from algos._bits import U1, U64, aligned_zeros, borrowed, item_pointer, spread, trailing_zeros
from algos._fastcall import Method, Native, as_none, number_of, place, real_of, slowly, uint64s_of
from algos._jit import inlined, kernel, primitive
from algos.errors import CorruptDataError
from algos.hashing.batch import hash64
from algos.hashing.splitmix64 import GAMMA, splitmix64
from algos.sampling._items import keys_of, single, whole
from algos.sampling._sampler import SEEN
from algos.sampling._weights import (
    BLOCK,
    LANES,
    SCALE,
    USED,
    Weighing,
    check_weights,
    heapify,
    may_pass,
    note,
    passed,
    rescale,
    rows_of,
    scaled_by,
    sift,
)

if TYPE_CHECKING:
    from algos._state import Parameters

_SEEN, _USED, _SCALE = U64(SEEN), U64(USED), U64(SCALE)
_BLOCK, _U0, _U12 = U64(BLOCK), U64(0), U64(12)
_PAGE = U64(1024)
"""Random words made at a time."""
_ONE, _BITS = U64(0x3FF0000000000000), 0x3FF0000000000000
_OFF = 1.0 - 2.0**-53
_SLACK = 2.0**-30
"""How much above the threshold's key the quick test lets through what is then decided by logarithms."""


@inlined
def _uniform(word: Any) -> Any:
    """Turn a random word into a number of (0, 1): an odd multiple of 2^-53."""
    return (float(word >> _U12) + 0.5) * 2.0**-52


def _candidates_twin(words: Any, start: Any, weights: Any, at: Any, one: Any, two: Any) -> Any:
    u = (words[int(start) : int(start) + BLOCK] >> _U12 | _ONE).view(np.float64) - _OFF
    found = (weights[int(at) : int(at) + BLOCK] * one) * two >= u
    return U64(int.from_bytes(np.packbits(found, bitorder="little").tobytes(), "little"))


@primitive(_candidates_twin)
def _candidates(typingctx: Any, words: Any, start: Any, weights: Any, at: Any, one: Any, two: Any) -> Any:
    """Compare ``BLOCK`` weights, each times ``one`` times ``two``, with the numbers of words: a bit for each.

    Vectors, since LLVM makes no words of comparisons.
    """
    given = (words, types.uint64, weights, types.uint64, types.float64, types.float64)
    return types.uint64(*given), _emit_candidates


def _emit_candidates(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    words, start, weights, at, one, two = args
    one, two = spread(builder, one, LANES), spread(builder, two, LANES)
    integers, i64 = ir.VectorType(ir.IntType(64), LANES), ir.IntType(64)

    def all_of(value: Any) -> Any:
        return ir.Constant(integers, [value] * LANES)

    first = item_pointer(context, builder, signature.args[0], words, start, BLOCK)
    found = i64(0)
    for row, weight in enumerate(rows_of(context, builder, signature.args[2], weights, at)):
        place = builder.gep(first, [i64(LANES * row)])
        word = builder.load(builder.bitcast(place, integers.as_pointer()))
        word.align = 8
        bits = builder.or_(builder.lshr(word, all_of(12)), all_of(_BITS))
        u = builder.fsub(builder.bitcast(bits, one.type), ir.Constant(one.type, [_OFF] * LANES))
        mask = builder.fcmp_ordered(">=", builder.fmul(builder.fmul(weight, one), two), u)
        byte = builder.zext(builder.bitcast(mask, ir.IntType(LANES)), i64)
        found = builder.or_(found, builder.shl(byte, i64(LANES * row)))
    return found


@inlined
def _make(words: Any, n: Any, first: Any, base: Any) -> None:
    """Make the words of the items from position ``first`` on."""
    for j in range(n):
        words[j] = splitmix64((first + j) * GAMMA, base)


@inlined
def _insert(state: Any, keys: Any, kept: Any, heap: Any, size: Any, word: Any, weight: Any) -> Any:
    """Take an item in whose key is below the largest; return its slot, or ``size``."""
    key = math.log(_uniform(word)) - math.log(weight)
    slot = heap[_U0]
    if key >= keys[slot]:
        return size
    keys[slot], kept[slot] = key, weight
    sift(keys, heap, size, _U0)
    rescale(state, keys[heap[_U0]] + _SLACK)
    return slot


@kernel
def _choose(
    state: Any,
    columns: Any,
    heap: Any,
    size: Any,
    words: Any,
    weights: Any,
    chosen: Any,
    changed: Any,
    makes: Any,
) -> Any:
    """Offer items, whose words are given, or made here by their positions; return how many slots changed."""
    state, heap, words, weights = borrowed(state), borrowed(heap), borrowed(words), borrowed(weights)
    keys, kept, reals = borrowed(columns[0]), borrowed(columns[1]), borrowed(state.view(np.float64))
    n, count, used, first, i = U64(weights.size), _U0, state[_USED], state[_SEEN], _U0
    state[_SEEN] += n
    while i < n:
        page, end = i, min(i + _PAGE, n)
        if makes:
            _make(words, end - page, first + page, state[_U0])
        off = page if makes else _U0
        while used < size and i < end:
            if weights[i] > 0.0:
                keys[used] = math.log(_uniform(words[i - off])) - math.log(weights[i])
                kept[used], heap[used] = weights[i], used
                count = note(chosen, changed, count, used, i)
                used += U1
                if used == size:
                    heapify(keys, heap, size)
                    rescale(state, keys[heap[_U0]] + _SLACK)
            i += U1
        while i < end:
            one, two, found = reals[_SCALE], reals[_SCALE + U1], _U0
            while found == _U0 and i + _BLOCK <= end:
                found = _candidates(words, i - off, weights, i, one, two)
                i += _BLOCK
            at = i - _BLOCK
            if found == _U0 and i < end:
                found = U64(scaled_by(state, weights[i]) >= _uniform(words[i - off]))
                at, i = i, i + U1
            while found != _U0:
                j = at + trailing_zeros(found)
                slot = _insert(state, keys, kept, heap, size, words[j - off], weights[j])
                if slot < size:
                    count = note(chosen, changed, count, slot, j)
                found &= found - U1
    state[_USED] = used
    return count


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    """Pass over an item whose priority is below the threshold."""
    if count == U64(2) and names == _U0 and number_of(me, _COORDINATED) == _U0:
        state, weight = uint64s_of(me, _STATE), real_of(arguments, 1)
        if may_pass(state, number_of(me, _K) + U1, weight):
            word = splitmix64(state[_SEEN] * GAMMA, state[_U0])
            if scaled_by(state, weight) < _uniform(word):
                passed(state, weight)
                return as_none()
    return slowly(me, "_add_one", arguments, count, names)


class SumEstimate(NamedTuple):
    """A sum of weights as a sample tells it, and the variance of that, both right in the mean."""

    total: float
    variance: float


class PrioritySample(Weighing):
    """A sample of ``k`` items of a stream, for unbiased estimates of the weight of any part of that.

    Weights are finite numbers from 0 on; 0 is never sampled. Items are of any kind, one kind for a sampler,
    as in ``ReservoirSample``. With ``coordinated=True`` an item's chance hangs on its hash under ``seed``:
    items are keys (see ``algos.hashing``), none may come twice, and samples of one seed agree on as many
    keys as they can. O(n), about a memory read an item. Memory: the sample and 40 bytes for each of ``k``.

    >>> s = PrioritySample(100, seed=1)
    >>> s.add_many(range(10_000), [1 + i % 10 for i in range(10_000)])
    >>> total, variance = s.estimate_sum(lambda items: [i % 2 == 0 for i in items])  # in truth 25,000
    >>> abs(total - 25_000) < 3 * variance**0.5
    True
    """

    __slots__ = ("_words", "coordinated")
    COLUMNS = 3
    SLACK = _SLACK

    def __init__(self, k: int, *, coordinated: bool = False, seed: int = 0) -> None:
        if not isinstance(coordinated, bool):
            raise TypeError(f"coordinated must be a bool, not {type(coordinated).__name__}")
        super().__init__(k, seed=seed)
        self.coordinated = coordinated
        self._words = aligned_zeros(int(_PAGE), np.uint64)

    @property
    def _most(self) -> int:
        return self.k + 1

    def __len__(self) -> int:
        """How many items are in the sample."""
        return min(self.k, self._slots())

    @property
    def threshold(self) -> float:
        """The highest priority of those not in the sample; 0 while nothing with a weight is left out."""
        if self._slots() <= self.k:
            return 0.0
        with np.errstate(over="ignore"):
            return float(np.exp(-self._columns[0, self._heap[0]]))

    def _sampled(self) -> Any:
        """Return the slots of the sample: all but that of the threshold."""
        slots = np.arange(self._slots())
        return slots if len(slots) <= self.k else np.delete(slots, int(self._heap[0]))

    def add_many(self, items: Any, weights: Any) -> None:
        """Offer a batch of items, each with a weight; a wrong one is a ``ValueError`` that adds nothing."""
        batch = whole(items)
        self._offer(items, batch, check_weights(weights, batch.size))

    def _add_one(self, item: Any, weight: float) -> None:
        """Offer one item."""
        batch = single(item) if self._kept is None else self._kept.lift(item)
        self._offer([item], batch, check_weights([weight], 1))

    add = Method(_put, "_add_one")

    def _offer(self, items: Any, batch: Any, weights: Any) -> None:
        kept, words = self._admit(batch), self._words
        if self.coordinated:
            words = hash64(keys_of(items), seed=self._seed)
        self._weigh(batch.size, weights)
        self._keep(kept)
        places = (self._columns, self._heap, U64(self._most), words, weights, self._chosen, self._changed)
        self._take(kept, batch, _choose(self._state, *places, not self.coordinated))

    def adjusted_weights(self) -> Any:
        """Return what each item of ``sample()`` stands for, float64: its weight, at least the threshold."""
        return np.maximum(self._columns[1, self._sampled()], self.threshold)

    def estimate_sum(self, where: Any = None) -> SumEstimate:
        """Estimate the sum of the weights of all items offered, or of those for which ``where`` holds, O(k).

        ``where`` is a bool for each item of ``sample()``, or a function of that which returns them.
        Unbiased, and so is the variance; where ``k`` or fewer items have a weight both are exact.
        """
        weights = self._columns[1, self._sampled()]
        mask = np.ones(len(weights), np.bool_) if where is None else where
        mask = np.asarray(mask(self.sample()) if callable(mask) else mask)
        if mask.shape != weights.shape or (mask.dtype != np.bool_ and mask.size):
            raise TypeError(
                f"where must be {len(weights)} bools, one for each item of the sample, "
                f"not {mask.dtype}{list(mask.shape)}"
            )
        weights, t = weights[mask.astype(np.bool_)], self.threshold
        with np.errstate(over="ignore"):  # a variance may be beyond the range
            variance = (t * np.maximum(t - weights, 0.0)).sum()
            return SumEstimate(float(np.maximum(weights, t).sum()), float(variance))

    def merge(self, other: PrioritySample) -> None:
        """Take in the sample of another stream: as one of both streams would be, O(k log k).

        The highest priorities of both stay. Streams are sampled independently only under different seeds:
        the same seed is a ``ValueError``. Coordinated samples, on the other hand, need the same seed, and
        the same key must not be in both streams; then the merged sample is just what adding everything to
        one gives. Another ``k`` is a ``ValueError``, and items of another kind are a ``TypeError``.
        """
        self._check_mergeable(other)
        if other.coordinated != self.coordinated:
            raise ValueError("cannot merge a coordinated sample and one that is not; make both alike")
        if not self.coordinated:
            self._check_independent(other)
        elif other._seed != self._seed:
            raise ValueError(
                f"coordinated samples have seeds {self._seed} and {other._seed}; make both alike"
            )
        self._unite(other)

    def _parameters(self) -> dict[str, Any]:
        return {**super()._parameters(), "coordinated": self.coordinated}

    def _configure(self, parameters: Parameters) -> None:
        self.coordinated = parameters.choice("coordinated", (False, True))
        self._words = aligned_zeros(int(_PAGE), np.uint64)

    def _check(self, columns: Any) -> None:
        super()._check(columns)
        weights = self._columns[1]
        if not ((weights > 0) & (weights < np.inf)).all():
            raise CorruptDataError("an item of the sample has no weight")


_STATE, _K = place(PrioritySample, "_state"), place(PrioritySample, "k")
_COORDINATED = place(PrioritySample, "coordinated")
