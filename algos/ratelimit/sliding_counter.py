"""Sliding counter: two fixed windows, the last counted by as much of it as the sliding window still covers.

As Cloudflare counts requests (Matthews: How we built rate limiting capable of scaling to millions of domains,
2017). With e the time since the current window began::

    state    |  when the next window has passed  |  last count << 32 | current count  |
    allowed iff  last (period - e) / period + current + cost <= limit

It takes the last window's requests to have been spread evenly, and is wrong where they were not: far below
the limit hardly ever, near it in some per cent of its answers. In any window at most twice the limit.
Compared in 128 bits, so nothing is rounded.
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
COUNTS = U1
U0, U2, HALF, LOWER = U64(0), U64(2), U64(32), U64(0xFFFF_FFFF)


@inlined
def _rule(state: Any) -> Any:
    return state[LIMIT], state[PERIOD]


@inlined
def _threshold(_rule: Any, now: Any) -> Any:
    return now


@inlined
def _share(count: Any, time: Any, period: Any) -> Any:
    """Return floor(count time / period) for time <= period, and what is left.

    The product has up to 94 bits. The quotient in floats is at most one off, and what is left then tells, for
    that fits into 64 bits again.
    """
    quotient = U64(np.float64(count) * (np.float64(time) / np.float64(period)))
    left = np.int64(count * time - quotient * period)
    if left < 0:
        return quotient - U1, U64(left) + period
    if U64(left) >= period:
        return quotient + U1, U64(left) - period
    return quotient, U64(left)


@inlined
def _counts(rule: Any, table: Any, at: Any, now: Any) -> Any:
    """Return the last and the current count, and when the current window began, and the time."""
    _, period = rule
    began = now // period * period
    until, counts = table[at], table[at + COUNTS]
    if until <= now:
        return U0, U0, began, now
    held = until - U2 * period  # when the window of the current count began
    if held >= began:  # the same window, or a later one if the clock stepped back
        return counts >> HALF, counts & LOWER, held, max(now, held)
    return counts & LOWER, U0, began, now


@inlined
def _decide(rule: Any, table: Any, at: Any, now: Any, cost: Any, commit: Any) -> Any:
    limit, period = rule
    last, current, began, now = _counts(rule, table, at, now)
    covered, left = _share(last, period - (now - began), period)
    weight = covered + U64(left != U0) + current  # rounded up: whole requests are compared
    allowed = (cost <= limit) & (weight + cost <= limit)
    retry = np.int64(0)
    if allowed:
        current, weight = current + cost, weight + cost
        if commit:
            table[at], table[at + COUNTS] = began + U2 * period, (last << HALF) | current
    elif cost > limit:
        retry = np.int64(NEVER)
    else:
        retry = np.int64(_wait(limit, period, last, current, began, cost) - now)
    reset = U0
    if current:
        reset = began + U2 * period - now
    elif last:
        reset = began + period - now
    return allowed, np.int64(limit - min(limit, weight)), retry, np.int64(reset)


@inlined
def _wait(limit: Any, period: Any, last: Any, current: Any, began: Any, cost: Any) -> Any:
    """Return when a request will be allowed if nobody else asks: in this window, or in the next."""
    if current + cost > limit:  # its own count has to become the last one
        last, current, began = current, U0, began + period
    room = limit - current - cost
    if last <= room:
        return began
    # The time that may still be covered, floor(room period / last): in floats some thousands off at most.
    quotient = np.int64(np.float64(room) * (np.float64(period) / np.float64(last)))
    left = np.int64(room * period) - quotient * np.int64(last)
    return began + period - U64(quotient + left // np.int64(last))


@kernel
def _refund(state: Any, table: Any, at: Any, now: Any, cost: Any) -> None:
    """Take requests out of the current window, or of the last one if they were in that."""
    last, current, began, now = _counts(_rule(state), table, at, now)
    now_given = min(cost, current)
    current, last = current - now_given, last - min(cost - now_given, last)
    table[at], table[at + COUNTS] = began + U2 * state[PERIOD], (last << HALF) | current


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


class SlidingCounter(Window):
    """Limit keys to about ``limit`` requests in any ``period`` (seconds or a ``timedelta``).

    ``capacity`` is how many keys may be live at once, which is for two periods; one without a place is denied
    or allowed as ``when_full`` says. O(1), 24 bytes per key. Safe from many threads.

    >>> limiter = SlidingCounter(limit=2, period=60)
    >>> [limiter.allow("alice", 1, now * 10**9) for now in (0, 59, 61, 90)]
    [True, True, False, True]
    """

    __slots__ = ()

    def _layout(self) -> tuple[int, tuple[int, ...]]:
        return 2, (self.limit, self._period)

    _kernels = Kernels(_allow, _explain, _refund)
    allow = Method(_allow_alone, "_allow_one")
    _told = Method(_check_alone, "_check_one")


_STATE, _TABLE = place(SlidingCounter, "_state"), place(SlidingCounter, "_table")
