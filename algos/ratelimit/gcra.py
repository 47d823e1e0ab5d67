"""GCRA: one time per key says all that a token bucket knows.

ITU-T I.371, the generic cell rate algorithm in its virtual scheduling form. With T = period / rate, the time
that one request pays for, a key has its theoretical arrival time, when all it was granted is paid off. A
request of ``cost`` c at ``now`` is allowed if the key would then owe no more than ``burst``::

    tat' = max(tat, now) + c T          allowed iff tat' - now <= burst T, else nothing changes

Times are whole nanoseconds and T is the fraction a / b. A tat is kept as its ceiling and the b-ths it lies
below that, so 7 a day or 3 a second never drift. In any closed interval of length W at most burst + floor(W /
T) are allowed. A tat in the past is as good as none: a key takes 16 bytes, or 24 where b > 1, and only while
it owes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U64
from algos._fastcall import Method, Native, place, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.ratelimit._arrivals import asked, give_back, owed, remaining, rule_at, words_of
from algos.ratelimit._limiter import Bucket, Kernels
from algos.ratelimit._loops import OWN, alone, run, run_all, told
from algos.ratelimit._table import either, store_if


@inlined
def _rule(state: Any) -> Any:
    return rule_at(state, U64(OWN))


@inlined
def _threshold(_rule: Any, now: Any) -> Any:
    return now


@inlined
def _decide(rule: Any, table: Any, at: Any, now: Any, cost: Any, commit: Any) -> Any:
    tat, below, now = owed(rule, table, at, now)
    allowed, after, after_below, retry = asked(rule, tat, below, now, cost)
    store_if(allowed & commit, table, at, after)
    if rule[1] != U1:
        store_if(allowed & commit, table, at + U1, after_below)
    reset, below = either(allowed, after, tat) - now, either(allowed, after_below, below)
    return allowed, remaining(rule, reset, below), retry, np.int64(reset)


@kernel
def _allow(state: Any, table: Any, hashes: Any, nows: Any, costs: Any, allowed: Any) -> None:
    run(_rule, _threshold, _decide, state, table, hashes, nows, costs, allowed)


@kernel
def _explain(
    state: Any, table: Any, hashes: Any, nows: Any, costs: Any, commit: Any, allowed: Any, fields: Any
) -> None:
    run_all(_rule, _threshold, _decide, state, table, hashes, nows, costs, commit, allowed, fields)


@kernel
def _refund(state: Any, table: Any, at: Any, now: Any, cost: Any) -> None:
    give_back(_rule(state), table, at, now, cost)


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


class Gcra(Bucket):
    """Limit keys to ``rate`` requests per ``period`` (seconds or a ``timedelta``), ``burst`` of them at once.

    Exact for any rational rate. A new key may have its whole burst. ``capacity`` is how many keys may be live
    at once, which is while they owe something; one without a place is denied or allowed as ``when_full``
    says. Text keys are hashed by a secret key of the limiter's own. O(1), 16 or 24 bytes per key. Safe from
    many threads.

    >>> limiter = Gcra(rate=1, burst=2)
    >>> [limiter.allow("alice", 1, now) for now in (0, 0, 0, 10**9)]
    [True, True, False, True]
    """

    __slots__ = ()

    def _layout(self, a: int, b: int) -> tuple[int, tuple[int, ...]]:
        return 1 if b == 1 else 2, words_of(a, b, self.burst)

    _kernels = Kernels(_allow, _explain, _refund)
    allow = Method(_allow_alone, "_allow_one")
    _told = Method(_check_alone, "_check_one")


_STATE, _TABLE = place(Gcra, "_state"), place(Gcra, "_table")
