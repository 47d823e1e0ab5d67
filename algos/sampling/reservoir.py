"""Reservoir sampling: k of a stream of any length, each subset of k with the same chance.

Li: Reservoir-sampling algorithms of time complexity O(n (1 + log(N/n))), ACM TOMS 1994, algorithm L. Give
each item a random number from (0, 1) and keep the k smallest; then it is enough to know the largest of
those, W, for how many items lie before the next one below W is geometric, and which of the k it replaces is
uniform::

    state | xoshiro256++ 4 words | seen | kind of items | next one taken | log W |
    slots | item | item | ... k of them

O(k (1 + log(N / k))) for N items of a sequence: what is skipped is not looked at. W is kept as its
logarithm, so that nothing underflows below 2^63 items. Each item is in the sample with the chance k / N,
each pair with k (k - 1) / (N (N - 1)).

Good for an unbiased look at a stream whose length nobody knows. Where all items are there at once, NumPy's
``Generator.choice`` is faster still; where they have weights, see ``WeightedReservoirSample``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from algos._bits import U1, U64, borrowed
from algos._fastcall import Method, Native, as_none, place, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.errors import CorruptDataError
from algos.sampling._items import LIST, batches, single
from algos.sampling._numbers import below, exponential, uniform
from algos.sampling._sampler import CODE, OWN, SEEN, Sampler

NEXT, LOG_W = OWN, OWN + 1
NEVER = U64((1 << 64) - 1)
_SEEN, _CODE, _NEXT, _LOG_W = U64(SEEN), U64(CODE), U64(NEXT), U64(LOG_W)
_FAR = 2.0**63
_LEAST_LOG_W = -200.0
_LN2 = math.log(2.0)
_U0, _LIST = U64(0), U64(LIST)


@inlined
def _skip(state: Any, after: Any) -> Any:
    """Draw which item is the next to be taken, ``after`` being the first that can."""
    log_w = state.view(np.float64)[_LOG_W]
    # log(1 - W), exact at both ends: Mächler, Accurately computing log(1 - exp(-|a|)), 2012
    beyond = math.log(-math.expm1(log_w)) if log_w > -_LN2 else math.log1p(-math.exp(log_w))
    items = exponential(state) / -beyond
    state[_NEXT] = after + U64(items) if items < _FAR else NEVER


@inlined
def _shrink(state: Any, k: Any) -> None:
    """Draw the largest of k numbers below W: the new W."""
    state.view(np.float64)[_LOG_W] -= exponential(state) / float(k)


@kernel
def _choose(state: Any, k: Any, n: Any, chosen: Any, changed: Any) -> Any:
    """Offer ``n`` items; return how many slots changed.

    Those slots are in ``changed`` and 1 + the position of their new item in ``chosen``, which is 0 elsewhere.
    """
    state = borrowed(state)
    first, count = state[_SEEN], _U0
    end = first + n
    at = first
    while at < min(k, end):
        changed[count], chosen[at] = at, at - first + U1
        count, at = count + U1, at + U1
    if first < k <= end:
        _shrink(state, k)
        _skip(state, k)
    state[_SEEN] = end
    while k <= end and state[_NEXT] < end:
        at = state[_NEXT]
        slot = below(state, k)
        if chosen[slot] == _U0:
            changed[count] = slot
            count += U1
        chosen[slot] = at - first + U1
        _shrink(state, k)
        _skip(state, at + U1)
    return count


@kernel
def _numbers(state: Any, log_w: Any, out: Any) -> None:
    """Draw the logarithms of the numbers of all kept items: of ``k`` the largest is W, of fewer any."""
    for i in range(out.size):
        out[i] = log_w + math.log(uniform(state))
    if log_w < 0.0:
        out[below(state, U64(out.size))] = log_w


@kernel
def _resume(state: Any, log_w: Any) -> None:
    """Go on with another W after the items seen."""
    state.view(np.float64)[_LOG_W] = log_w
    _skip(state, state[_SEEN])


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    """Pass over an item that is not taken; what it is does not matter where items are any objects."""
    if count == U1 and names == _U0:
        state = uint64s_of(me, _STATE)
        if state[_CODE] == _LIST and state[_SEEN] < state[_NEXT]:
            state[_SEEN] += U1
            return as_none()
    return slowly(me, "_add_one", arguments, count, names)


class ReservoirSample(Sampler):
    """A uniform sample of ``k`` items of a stream, without replacement.

    Items are of any kind, one kind for a sampler (lists and other iterables are one, NumPy arrays of a
    dtype and shape of rows another, Arrow arrays of a type a third); another is a ``TypeError``. Nulls are
    items. The same ``seed`` and stream make the same sample however the stream is cut. ``add`` is O(1) and
    ``add_many`` O(k log(1 + n / seen)) amortised. Memory: the sample and 16 bytes for each of ``k``.

    >>> s = ReservoirSample(3, seed=1)
    >>> s.add_many(range(10**12))
    >>> len(s), s.seen
    (3, 1000000000000)
    >>> all(0 <= item < 10**12 for item in s.sample())
    True
    """

    __slots__ = ("_changed", "_chosen")
    STATE, COLUMNS = OWN + 2, 0

    def __init__(self, k: int, *, seed: int = 0) -> None:
        super().__init__(k, seed=seed)
        self._chosen = self._changed = np.zeros(0, np.uint64)

    def __len__(self) -> int:
        """How many items are in the sample."""
        return min(self.k, self.seen)

    def add_many(self, items: Any) -> None:
        """Offer a batch: a NumPy array (a row an item), an Arrow or pandas column, any iterable."""
        for batch in batches(items):
            self._offer(batch)

    def _add_one(self, item: Any) -> None:
        """Offer one item."""
        self._offer(single(item) if self._kept is None else self._kept.lift(item))

    add = Method(_put, "_add_one")

    def _offer(self, batch: Any) -> None:
        kept = self._keep(self._admit(batch))
        need = min(self.k, self.seen + batch.size)
        if need > len(self._chosen):
            self._chosen = np.zeros(min(self.k, max(need, 2 * len(self._chosen))), np.uint64)
            self._changed = np.empty_like(self._chosen)
        count = _choose(self._state, U64(self.k), U64(batch.size), self._chosen, self._changed)
        if count:
            slots = self._changed[: int(count)].astype(np.int64)
            positions = self._chosen[slots].astype(np.int64) - 1
            self._chosen[slots] = 0
            kept.put(slots, batch.take(positions))

    def merge(self, other: ReservoirSample) -> None:
        """Take in the sample of another stream, O(k log k): as likely as any sample of both streams.

        Each item is given the random number that it can have had, and the ``k`` smallest stay. Streams are
        sampled independently only under different seeds: the same seed is a ``ValueError``, as is another
        ``k``, and items of another kind are a ``TypeError``.
        """
        self._check_mergeable(other)
        self._check_independent(other)
        if other._kept is None:
            return
        mine, theirs = self._drawn(self), self._drawn(other)
        both = np.concatenate([mine, theirs])
        stay = np.argsort(both, kind="stable")[: self.k]
        out = np.setdiff1d(np.arange(len(mine)), stay, assume_unique=True)
        come = stay[stay >= len(mine)] - len(mine)
        slots = np.concatenate([out, np.arange(len(mine), len(stay))])
        items = other._kept.pick(come)
        self._keep(self._admit(other._kept.batch(len(other)))).put(slots, items)
        self._state[SEEN] += other._state[SEEN]
        if len(stay) == self.k:
            _resume(self._state, both[stay[-1]])

    def _drawn(self, of: ReservoirSample) -> Any:
        """Draw the numbers of the items of a sample, as logarithms."""
        numbers = np.empty(len(of))
        _numbers(self._state, of._state.view(np.float64)[LOG_W], numbers)
        return numbers

    def _slots_claimed(self) -> int:
        return len(self)

    def _check(self, _columns: Any) -> None:
        seen, after = int(self._state[SEEN]), int(self._state[NEXT])
        log_w = float(self._state.view(np.float64)[LOG_W])
        full = after >= seen and _LEAST_LOG_W <= log_w < 0.0
        if not (full if seen >= self.k else after == 0 and self._state[LOG_W] == 0):
            raise CorruptDataError(f"after {seen} items none takes item {after} next at log W = {log_w}")
        self._chosen = self._changed = np.zeros(0, np.uint64)


_STATE = place(ReservoirSample, "_state")
