"""Fixed window: a count per key that begins anew with each period.

    state    |  number of the window << bits of a count  |  count  |          number = floor(now / period)

Cheapest and coarsest: in a window of its own exactly ``limit``, but in any window up to twice as many, at the
end of one and the beginning of the next. A count of an earlier window is dead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U64
from algos._fastcall import Method, Native, place, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.ratelimit._limiter import Kernels, Window
from algos.ratelimit._loops import NEVER, OWN, alone, run, run_all, told
from algos.ratelimit._rate import count_bits
from algos.ratelimit._table import store_if

LIMIT, PERIOD, COUNT_BITS = range(OWN, OWN + 3)


@inlined
def _rule(state: Any) -> Any:
    return state[LIMIT], state[PERIOD], state[COUNT_BITS]


@inlined
def _threshold(rule: Any, now: Any) -> Any:
    _, period, bits = rule
    window = now // period << bits
    return window - U64(window != U64(0))


@inlined
def _decide(rule: Any, table: Any, at: Any, now: Any, cost: Any, commit: Any) -> Any:
    limit, period, bits = rule
    window, held = now // period, table[at]
    count = held & ((U1 << bits) - U1) if held >> bits >= window else U64(0)
    window = max(window, held >> bits)  # later than now if the clock stepped back
    end = (window + U1) * period - now
    allowed = (cost <= limit) & (count + cost <= limit)
    store_if(allowed & commit, table, at, (window << bits) | (count + cost))
    count += cost if allowed else U64(0)
    retry = np.int64(0) if allowed else np.int64(end) if cost <= limit else np.int64(NEVER)
    return allowed, np.int64(limit - count), retry, np.int64(end if count else U64(0))


@kernel
def _refund(state: Any, table: Any, at: Any, now: Any, cost: Any) -> None:
    bits = state[COUNT_BITS]
    held, mask = table[at], (U1 << bits) - U1
    if held >> bits >= now // state[PERIOD]:
        table[at] = held - min(cost, held & mask)


@kernel
def _allow(state: Any, table: Any, hashes: Any, nows: Any, costs: Any, allowed: Any) -> None:
    run(_rule, _threshold, _decide, state, table, hashes, nows, costs, allowed)


@kernel
def _explain(
    state: Any, table: Any, hashes: Any, nows: Any, costs: Any, commit: Any, allowed: Any, fields: Any
) -> None:
    run_all(_rule, _threshold, _decide, state, table, hashes, nows, costs, commit, allowed, fields)


@Native
def _allow_alone(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, table = uint64s_of(me, _STATE), uint64s_of(me, _TABLE)
    answer = alone(_rule, _threshold, _decide, state, table, arguments, count, names)
    return answer or slowly(me, "_allow_one", arguments, count, names)


@Native
def _check_alone(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, table = uint64s_of(me, _STATE), uint64s_of(me, _TABLE)
    answer = told(_rule, _threshold, _decide, state, table, arguments, count, names)
    return answer or slowly(me, "_check_one", arguments, count, names)


class FixedWindow(Window):
    """Limit keys to ``limit`` requests in each ``period`` (seconds or a ``timedelta``) since 1970.

    In a window that begins anywhere up to twice the limit. ``capacity`` is how many keys may be live at once,
    which is until their window ends; one without a place is denied or allowed as ``when_full`` says. O(1), 16
    bytes per key. Safe from many threads.

    >>> limiter = FixedWindow(limit=2, period=60)
    >>> [limiter.allow("alice", 1, now * 10**9) for now in (0, 59, 59, 60)]
    [True, True, False, True]
    """

    __slots__ = ()

    def _layout(self) -> tuple[int, tuple[int, ...]]:
        return 1, (self.limit, self._period, count_bits(self.limit, self._period))

    _kernels = Kernels(_allow, _explain, _refund)
    allow = Method(_allow_alone, "_allow_one")
    _told = Method(_check_alone, "_check_one")


_STATE, _TABLE = place(FixedWindow, "_state"), place(FixedWindow, "_table")
