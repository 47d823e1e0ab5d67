"""Concurrency limiter: so many requests of a key at a time, however long they take.

    state    |  when the last lease ends  |  requests under way  |

A request that never says it is done would hold its place for ever; so a key that has not been asked for
longer than ``lease`` is forgotten with all its requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from algos._bits import U1, U64
from algos._fastcall import Method, Native, place, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.ratelimit._limiter import Kernels, Window
from algos.ratelimit._loops import NEVER, OWN, alone, run, run_all, told

if TYPE_CHECKING:
    from datetime import timedelta

    from algos.ratelimit._limiter import Number, WhenFull

LIMIT, LEASE = range(OWN, OWN + 2)
UNDER_WAY = U1
U0 = U64(0)


@inlined
def _rule(state: Any) -> Any:
    return state[LIMIT], state[LEASE]


@inlined
def _threshold(_rule: Any, now: Any) -> Any:
    return now


@inlined
def _decide(rule: Any, table: Any, at: Any, now: Any, cost: Any, commit: Any) -> Any:
    (limit, lease), ends, count = rule, table[at], U0
    if ends > now:
        count = table[at + UNDER_WAY]
    allowed = (cost <= limit) & (count + cost <= limit)
    retry = np.int64(0)
    if allowed:
        count += cost
        if count:
            ends = max(ends, now + lease)
        if commit:
            table[at], table[at + UNDER_WAY] = ends, count
    else:
        retry = np.int64(ends - now) if cost <= limit else np.int64(NEVER)
    return allowed, np.int64(limit - count), retry, np.int64(ends - now if count else U0)


@kernel
def _refund(state: Any, table: Any, at: Any, now: Any, cost: Any) -> None:
    """Let requests be done; a key without any is forgotten."""
    if table[at] > now:
        table[at + UNDER_WAY] -= min(cost, table[at + UNDER_WAY])
        if table[at + UNDER_WAY] == U0:
            table[at] = U0


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


class ConcurrencyLimiter(Window):
    """Limit keys to ``limit`` requests at a time.

    ``acquire`` (the ``allow`` of other limiters) takes a place, ``release`` gives it back. A key not asked
    for longer than ``lease`` (seconds or a ``timedelta``) is forgotten with what it holds, so that a lost
    request cannot hold a place for ever. What is said to wait is at most that long. ``capacity`` is how many
    keys may be live at once; one without a place is denied or allowed as ``when_full`` says. O(1), 24 bytes
    per key. Safe from many threads.

    >>> limiter = ConcurrencyLimiter(limit=1)
    >>> limiter.acquire("alice"), limiter.acquire("alice"), limiter.release("alice"), limiter.acquire("alice")
    (True, False, None, True)
    """

    __slots__ = ()

    def __init__(
        self,
        limit: int,
        lease: Number | timedelta = 3600,
        *,
        capacity: int = 65_536,
        when_full: WhenFull = "deny",
    ) -> None:
        """Begin without keys."""
        super().__init__(limit, lease, capacity=capacity, when_full=when_full)

    def _layout(self) -> tuple[int, tuple[int, ...]]:
        return 2, (self.limit, self._period)

    _kernels = Kernels(_allow, _explain, _refund)
    allow = Method(_allow_alone, "_allow_one")
    _told = Method(_check_alone, "_check_one")
    acquire = Method(_allow_alone, "_allow_one")

    def release(self, key: Any, cost: int = 1, now_ns: int | None = None) -> None:
        """Say that a request is done."""
        self.refund(key, cost, now_ns)


_STATE, _TABLE = place(ConcurrencyLimiter, "_state"), place(ConcurrencyLimiter, "_table")
