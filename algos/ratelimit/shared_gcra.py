"""GCRA in memory that processes share: one limit for all workers of a server.

``gcra.py`` says what the rule is. A key's theoretical arrival time is one word here, counted in b-ths of a
nanosecond (T = a / b) since the memory was first used, and so exact; ``_shared.py`` says how it is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from algos._bits import U64
from algos._fastcall import Method, Native, place, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.ratelimit._limiter import Bucket
from algos.ratelimit._loops import NEVER, whole
from algos.ratelimit._rate import check_burst, interval
from algos.ratelimit._shared import (
    CREATED,
    FIRST,
    Shared,
    SharedKernels,
    alone_shared,
    give_back,
    run_shared,
    told_shared,
)

if TYPE_CHECKING:
    from datetime import timedelta

    from algos.ratelimit._limiter import Number, WhenFull

NUMERATOR, PARTS, BURST = range(FIRST, FIRST + 3)
"""Words of the state: a, b, and the burst."""
MAX_PARTS = 58
"""Of a nanosecond: five years of them are below 2^63."""
U0 = U64(0)


@inlined
def _rule(state: Any) -> Any:
    return state[NUMERATOR], state[PARTS], state[BURST]


@inlined
def _threshold(rule: Any, now: Any) -> Any:
    return now * rule[1]


@inlined
def _step(rule: Any, tat: Any, now: Any, cost: Any) -> Any:
    a, b, burst = rule
    after = max(tat, now * b) + min(cost, burst) * a
    return (after - now * b <= burst * a) & (cost <= burst), after


@inlined
def _tell(rule: Any, tat: Any, now: Any, cost: Any, allowed: Any) -> Any:
    a, b, burst = rule
    owes, most = max(tat, now * b) - now * b, burst * a
    wait = np.int64(0)
    if not allowed:
        wait = np.int64(whole(b, owes + cost * a - most)) if cost <= burst else np.int64(NEVER)
    return np.int64((most - min(owes, most)) // a), wait, np.int64(whole(b, owes))


@inlined
def _less(rule: Any, tat: Any, now: Any, cost: Any) -> Any:
    a, b, burst = rule
    return max(tat - min(tat, min(cost, burst) * a), now * b)


@kernel
def _ask(
    state: Any,
    table: Any,
    hashes: Any,
    now: Any,
    costs: Any,
    commit: Any,
    allowed: Any,
    fields: Any,
    start: Any,
) -> Any:
    return run_shared(
        _rule,
        _step,
        _threshold,
        _tell,
        state,
        table,
        hashes,
        now,
        costs,
        commit,
        allowed,
        fields,
        start,
    )


@kernel
def _give_back(state: Any, table: Any, h: Any, now: Any, cost: Any) -> None:
    give_back(_rule, _less, state, table, h, now, cost)


@Native
def _allow_alone(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, table = uint64s_of(me, _STATE), uint64s_of(me, _TABLE)
    answer = alone_shared(_rule, _step, _threshold, state, table, arguments, count, names)
    return answer or slowly(me, "_allow_one", arguments, count, names)


@Native
def _check_alone(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, table = uint64s_of(me, _STATE), uint64s_of(me, _TABLE)
    answer = told_shared(_rule, _step, _threshold, _tell, state, table, arguments, count, names)
    return answer or slowly(me, "_check_one", arguments, count, names)


class SharedGcra(Shared, Bucket):
    """Limit keys to ``rate`` requests per ``period``, ``burst`` of them at once, in all processes together.

    ``memory`` is zero at first, of ``size_of(capacity)`` bytes, and processes share it: a ``SharedMemory``,
    or an anonymous ``mmap`` that forked children have too. Give all processes the same arguments; whoever is
    first makes the memory a limiter's. It decides as ``Gcra`` does, by the clock that all processes have, and
    waits for another process only to give a new key its place; if one dies, nothing stays locked. In
    nanoseconds, period / rate may have a denominator of at most 58. Right only where it is compiled, not with
    ``NUMBA_DISABLE_JIT``. O(1), 16 bytes per key. Safe from many threads and processes.

    >>> import mmap
    >>> limiter = SharedGcra(mmap.mmap(-1, SharedGcra.size_of(1000)), rate=1, burst=2, period=3600)
    >>> [limiter.allow("alice") for _ in range(3)]
    [True, True, False]
    """

    __slots__ = ("_again", "_memory")

    def __init__(
        self,
        memory: Any,
        rate: Number,
        burst: int,
        period: Number | timedelta = 1,
        *,
        when_full: WhenFull = "deny",
    ) -> None:
        """Join who is at the memory, or be the first."""
        self.interval_ns = interval(rate, period)
        self.burst = self.limit = check_burst(burst, self.interval_ns)
        self._again = (rate, burst, period), when_full
        _, words = self._layout(*self.interval_ns.as_integer_ratio())
        self._attach(memory, when_full, words)

    def _layout(self, a: int, b: int) -> tuple[int, tuple[int, ...]]:
        if b > MAX_PARTS:
            raise ValueError(f"one request in {a}/{b} ns is finer than 1/{MAX_PARTS} ns; round the rate")
        return 1, (a, b, self.burst)

    def _offset(self) -> int:
        return 1 - int(self._table[CREATED + 1])

    _shared = SharedKernels(_ask, _give_back)
    allow = Method(_allow_alone, "_allow_one")
    _told = Method(_check_alone, "_check_one")


_STATE, _TABLE = place(SharedGcra, "_state"), place(SharedGcra, "_table")
