"""Fixed window in memory that processes share: one limit for all workers of a server.

``fixed_window.py`` says what the rule and the word of a key are, ``_shared.py`` how that is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from algos._bits import U1, U64
from algos._fastcall import Method, Native, place, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.ratelimit._limiter import Window
from algos.ratelimit._loops import NEVER
from algos.ratelimit._rate import check_limit, count_bits, whole_period
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

LIMIT, PERIOD, COUNT_BITS = range(FIRST, FIRST + 3)


@inlined
def _rule(state: Any) -> Any:
    return state[LIMIT], state[PERIOD], state[COUNT_BITS]


@inlined
def _threshold(rule: Any, now: Any) -> Any:
    _, period, bits = rule
    return (now // period << bits) - U1


@inlined
def _used(rule: Any, word: Any, now: Any) -> Any:
    """Return the number of the window, which another process may have begun already, and the count."""
    _, period, bits = rule
    window, held = now // period, word >> bits
    return max(window, held), (word & ((U1 << bits) - U1) if held >= window else U64(0))


@inlined
def _step(rule: Any, word: Any, now: Any, cost: Any) -> Any:
    limit, _, bits = rule
    window, used = _used(rule, word, now)
    return (cost <= limit) & (used + cost <= limit), (window << bits) | (used + min(cost, limit - used))


@inlined
def _tell(rule: Any, word: Any, now: Any, cost: Any, allowed: Any) -> Any:
    limit, period, _ = rule
    window, used = _used(rule, word, now)
    end = np.int64((window + U1) * period - now)
    wait = np.int64(0) if allowed else end if cost <= limit else np.int64(NEVER)
    return np.int64(limit - used), wait, end if used else np.int64(0)


@inlined
def _less(rule: Any, word: Any, now: Any, cost: Any) -> Any:
    window, used = _used(rule, word, now)
    return (window << rule[2]) | (used - min(used, cost))


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


class SharedFixedWindow(Shared, Window):
    """Limit keys to ``limit`` requests in each ``period`` since 1970, in all processes together.

    ``memory`` is zero at first, of ``size_of(capacity)`` bytes, and processes share it: a ``SharedMemory``,
    or an anonymous ``mmap`` that forked children have too. Give all processes the same arguments; whoever is
    first makes the memory a limiter's. It decides as ``FixedWindow`` does, by the clock that all processes
    have, and waits for another process only to give a new key its place; if one dies, nothing stays locked.
    Right only where it is compiled, not with ``NUMBA_DISABLE_JIT``. O(1), 16 bytes per key. Safe from many
    threads and processes.

    >>> import mmap
    >>> limiter = SharedFixedWindow(mmap.mmap(-1, SharedFixedWindow.size_of(1000)), limit=2, period=10**9)
    >>> [limiter.allow("alice") for _ in range(3)]
    [True, True, False]
    """

    __slots__ = ("_again", "_memory")

    def __init__(
        self, memory: Any, limit: int, period: Number | timedelta, *, when_full: WhenFull = "deny"
    ) -> None:
        """Join who is at the memory, or be the first."""
        self.limit, self._period = check_limit(limit, self.MAX_LIMIT), whole_period(period)
        self._again = (limit, period), when_full
        self._attach(memory, when_full, self._layout()[1])

    def _layout(self) -> tuple[int, tuple[int, ...]]:
        return 1, (self.limit, self._period, count_bits(self.limit, self._period))

    def _offset(self) -> int:
        return int(self._table[CREATED])

    _shared = SharedKernels(_ask, _give_back)
    allow = Method(_allow_alone, "_allow_one")
    _told = Method(_check_alone, "_check_one")


_STATE, _TABLE = place(SharedFixedWindow, "_state"), place(SharedFixedWindow, "_table")
