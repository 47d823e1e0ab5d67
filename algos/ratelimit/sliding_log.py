"""Sliding log: the time of every request, and so the truth about any window.

    state    |  when the last leaves  |  start, count  |  ring of ``limit`` times  |

At most ``limit`` requests lie in any window (now - period, now], wherever it begins: what the other windows
approximate. It costs 8 bytes for each request of the limit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U64
from algos._fastcall import Method, Native, place, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.ratelimit._limiter import Kernels, Window
from algos.ratelimit._loops import NEVER, OWN, alone, run, run_all, told

LIMIT, PERIOD = range(OWN, OWN + 2)
RING, RING_AT = U1, U64(2)
U0, HALF, LOWER = U64(0), U64(32), U64(0xFFFF_FFFF)


@inlined
def _rule(state: Any) -> Any:
    return state[LIMIT], state[PERIOD]


@inlined
def _threshold(_rule: Any, now: Any) -> Any:
    return now


@inlined
def _left(rule: Any, table: Any, at: Any, now: Any) -> Any:
    """Return where the ring starts once what is past has left, how many there are, and the time."""
    limit, period = rule
    if table[at] <= now:
        return U0, U0, now
    start, count = table[at + RING] >> HALF, table[at + RING] & LOWER
    now = max(now, table[at] - period)  # the time of the last
    while count > U0 and table[at + RING_AT + start] + period <= now:
        start, count = start + U1, count - U1
        if start == limit:
            start = U0
    return start, count, now


@inlined
def _decide(rule: Any, table: Any, at: Any, now: Any, cost: Any, commit: Any) -> Any:
    limit, period = rule
    start, count, now = _left(rule, table, at, now)
    allowed = (cost <= limit) & (count + cost <= limit)
    retry = np.int64(0)
    if not allowed:
        retry = np.int64(NEVER)
        if cost <= limit:
            last = start + count + cost - limit - U1  # the last of those that have to leave
            last -= limit if last >= limit else U0
            retry = np.int64(table[at + RING_AT + last] + period - now)
    reset = table[at] - now if count else U0
    if allowed & (cost > U0):
        reset = period
        count += cost
        if commit:
            for i in range(cost):
                slot = start + count - U1 - i
                slot -= limit if slot >= limit else U0
                table[at + RING_AT + slot] = now
            table[at], table[at + RING] = now + period, (start << HALF) | count
    return allowed, np.int64(limit - count), retry, np.int64(reset)


@kernel
def _refund(state: Any, table: Any, at: Any, now: Any, cost: Any) -> None:
    """Take the latest requests out again."""
    limit, period = rule = _rule(state)
    start, count, now = _left(rule, table, at, now)
    count -= min(cost, count)
    table[at], table[at + RING] = U0, (start << HALF) | count
    if count:
        last = start + count - U1
        last -= limit if last >= limit else U0
        table[at] = table[at + RING_AT + last] + period


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


class SlidingLog(Window):
    """Limit keys to ``limit`` requests (1 to 65,535) in any ``period`` (seconds or a ``timedelta``).

    Exact, wherever the window begins. ``capacity`` is how many keys may be live at once, which is for a
    period after their last request; one without a place is denied or allowed as ``when_full`` says. O(1)
    amortised, 24 + 8 limit bytes per key. Safe from many threads.

    >>> limiter = SlidingLog(limit=2, period=60)
    >>> [limiter.allow("alice", 1, now * 10**9) for now in (0, 59, 59, 60, 61)]
    [True, True, False, True, False]
    """

    __slots__ = ()

    MAX_LIMIT = (1 << 16) - 1

    def _layout(self) -> tuple[int, tuple[int, ...]]:
        return 2 + self.limit, (self.limit, self._period)

    def _can_be(self, states: Any) -> bool:
        ring, limit = states[:, 1], U64(self.limit)
        return bool(((ring >> HALF < limit) & (ring & LOWER <= limit)).all())

    _kernels = Kernels(_allow, _explain, _refund)
    allow = Method(_allow_alone, "_allow_one")
    _told = Method(_check_alone, "_check_one")


_STATE, _TABLE = place(SlidingLog, "_state"), place(SlidingLog, "_table")
