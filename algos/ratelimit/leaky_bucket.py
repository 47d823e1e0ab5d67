"""Leaky bucket: a level that rises by each request and leaks at the rate; as a meter, and as a queue.

Turner 1986, in the continuous-state form of ITU-T I.371. Requests pay T = a / b nanoseconds each; the level
is kept in b-ths of a nanosecond, so whole numbers are exact::

    level' = max(0, level - (now - then) b) + c a          allowed iff level' <= burst a

As a meter it decides as GCRA and the token bucket do. As a queue, ``delay`` says how long a request that is
let in has to wait for those before it: none waits longer than (burst - 1) T.

    state    |  when it is empty  |  then  |  level  |
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._arguments import whole_numbers
from algos._bits import U1, U64
from algos._fastcall import Method, Native, place, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.ratelimit._limiter import Bucket, Kernels
from algos.ratelimit._loops import MAX_COST, NEVER, OWN, alone, run, run_all, told, whole

NUMERATOR, PARTS, BURST = range(OWN, OWN + 3)
"""Words of the state: a, b, and the burst."""
THEN, LEVEL = U1, U64(2)
U0 = U64(0)


@inlined
def _rule(state: Any) -> Any:
    return state[NUMERATOR], state[PARTS], state[BURST]


@inlined
def _threshold(_rule: Any, now: Any) -> Any:
    return now


@inlined
def _level(rule: Any, table: Any, at: Any, now: Any) -> Any:
    """Return the level now, and the time, which is not before what the level implies."""
    each, parts, burst = rule
    if table[at] <= now:
        return U0, now
    then, level = table[at + THEN], table[at + LEVEL]
    if now >= then:
        leaked = (now - then) * parts
        return level - min(level, leaked), now
    # The clock stepped back: as far as the level, which is then higher, is still one that can be.
    earliest = then - (burst * each - level) // parts
    now = max(now, earliest)
    return level + (then - now) * parts, now


@inlined
def _decide(rule: Any, table: Any, at: Any, now: Any, cost: Any, commit: Any) -> Any:
    each, parts, burst = rule
    level, now = _level(rule, table, at, now)
    pays, most = min(cost, burst) * each, burst * each
    allowed = (cost <= burst) & (level + pays <= most)
    retry = np.int64(0)
    if not allowed:
        retry = np.int64(whole(parts, level + pays - most) if cost <= burst else NEVER)
    else:
        level += pays
    reset = whole(parts, level)
    if allowed & commit:
        table[at], table[at + THEN], table[at + LEVEL] = now + reset, now, level
    return allowed, np.int64((most - level) // each), retry, np.int64(reset)


@kernel
def _refund(state: Any, table: Any, at: Any, now: Any, cost: Any) -> None:
    each, parts, burst = rule = _rule(state)
    level, now = _level(rule, table, at, now)
    level -= min(level, min(cost, burst) * each)
    table[at], table[at + THEN], table[at + LEVEL] = now + whole(parts, level), now, level


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


class LeakyBucket(Bucket):
    """Limit keys to ``rate`` requests per ``period`` (seconds or a ``timedelta``): a meter, or a queue.

    ``allow`` and its kin are the meter: a request that would make the bucket of ``burst`` overflow is
    refused. ``delay`` is the queue. Exact for any rational rate. ``capacity`` is how many keys may be live at
    once, which is while their bucket is not empty; one without a place is denied or allowed as ``when_full``
    says. O(1), 32 bytes per key. Safe from many threads.

    >>> limiter = LeakyBucket(rate=1, burst=3)
    >>> [limiter.delay("alice", 1, 0) for _ in range(4)]
    [0, 1000000000, 2000000000, -1]
    """

    __slots__ = ()

    def _layout(self, a: int, b: int) -> tuple[int, tuple[int, ...]]:
        return 3, (a, b, self.burst)

    def delay(self, key: Any, cost: int = 1, now_ns: int | None = None) -> int:
        """Let a request into the queue; return the nanoseconds it has to wait, or -1 if it is not let in."""
        hashes, costs = self._hash_of(key), whole_numbers("cost", cost, 1, MAX_COST)
        allowed, numbers = np.empty(1, np.bool_), np.empty((3, 1), np.int64)
        with self._alone():
            nows = self._times(now_ns, 1)
            _explain(self._state, self._table, hashes, nows, np.zeros(1, np.uint64), False, allowed, numbers)
            wait = int(numbers[2, 0])  # until those before it have leaked
            _explain(self._state, self._table, hashes, nows, costs, True, allowed, numbers)
        return wait if allowed[0] else NEVER

    _kernels = Kernels(_allow, _explain, _refund)
    allow = Method(_allow_alone, "_allow_one")
    _told = Method(_check_alone, "_check_one")


_STATE, _TABLE = place(LeakyBucket, "_state"), place(LeakyBucket, "_table")
