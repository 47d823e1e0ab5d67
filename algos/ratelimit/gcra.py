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
from algos.ratelimit._limiter import Bucket, Kernels
from algos.ratelimit._loops import NEVER, OWN, alone, run, run_all, told

NUMERATOR, PARTS, T_NS, T_PARTS, BURST, BURST_NS, BURST_PARTS = range(OWN, OWN + 7)
"""Words of the state: a, b, and T and burst T as whole nanoseconds and b-ths; the burst."""
U0 = U64(0)


@inlined
def _rule(state: Any) -> Any:
    return (
        *(state[NUMERATOR], state[PARTS], state[T_NS], state[T_PARTS]),
        *(state[BURST], state[BURST_NS], state[BURST_PARTS]),
    )


@inlined
def _threshold(_rule: Any, now: Any) -> Any:
    return now


@inlined
def _paid_for(rule: Any, cost: Any) -> Any:
    """Return the nanoseconds and b-ths that a request pays for."""
    a, b, t_ns, t_parts, _, _, _ = rule
    if b == U1:
        return cost * a, U0
    if cost == U1:
        return t_ns, t_parts
    return cost * a // b, cost * a % b


@inlined
def _owed(rule: Any, tat: Any, below: Any, now: Any) -> Any:
    """Return a key's tat, the b-ths below it, and the time, which is not before what the key implies."""
    _, b, _, _, _, burst_ns, burst_parts = rule
    # No key owes more than the burst, so a clock before that stepped back.
    earliest = tat - burst_ns - U64(below + burst_parts >= b)
    now = max(now, earliest if tat > burst_ns else U0)
    idle = tat <= now
    return now if idle else tat, U0 if idle else below, now


@inlined
def _decide_whole(rule: Any, table: Any, at: Any, now: Any, cost: Any, commit: Any) -> Any:
    """Decide where T is a whole number of nanoseconds, as most are: a third less to do."""
    t, _, _, _, burst, most, _ = rule
    tat = table[at]
    now = max(
        now, tat - min(tat, most)
    )  # no key owes more than the burst, so a clock before that stepped back
    tat, pays = max(tat, now), min(cost, burst) * t
    owes = tat + pays - now
    allowed = (owes <= most) & (cost <= burst)
    if allowed & commit:
        table[at] = now + owes
    retry = np.int64(0) if allowed else np.int64(owes - most) if cost <= burst else np.int64(NEVER)
    reset = owes if allowed else tat - now
    return allowed, np.int64(burst - (reset + t - U1) // t), retry, np.int64(reset)


@inlined
def _decide(rule: Any, table: Any, at: Any, now: Any, cost: Any, commit: Any) -> Any:
    a, b, _, _, burst, burst_ns, burst_parts = rule
    if b == U1:
        return _decide_whole(rule, table, at, now, cost, commit)
    tat, below, now = _owed(rule, table[at], table[at + U1] if b != U1 else U0, now)
    pays, pays_parts = _paid_for(rule, min(cost, burst))
    borrow = U64(pays_parts > below)
    after, after_below = tat + pays + borrow, below - pays_parts + borrow * b
    owes = after - now
    allowed = (owes <= burst_ns) | ((owes == burst_ns + U1) & (after_below + burst_parts >= b))
    allowed &= cost <= burst
    if allowed & commit:
        table[at] = after
        if b != U1:
            table[at + U1] = after_below
    # Of what is too much the last b-ths: pays - below - burst, their ceiling 1, 0, -1 or -2 nanoseconds.
    rest, whole_ns = np.int64(pays_parts) - np.int64(below) - np.int64(burst_parts), np.int64(b)
    over = np.int64(tat + pays - burst_ns - now) + np.int64(rest > 0)
    over -= np.int64(rest <= -whole_ns) + np.int64(rest <= -np.int64(2) * whole_ns)
    retry = np.int64(0) if allowed else over if cost <= burst else np.int64(NEVER)
    reset = (after if allowed else tat) - now
    used = (reset * b - (after_below if allowed else below) + a - U1) // a
    return allowed, np.int64(burst - used), retry, np.int64(reset)


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
    rule, b = _rule(state), state[PARTS]
    tat, below, now = _owed(rule, table[at], table[at + U1] if b != U1 else U0, now)
    pays, pays_parts = _paid_for(rule, min(cost, state[BURST]))
    below += pays_parts
    if below >= b:
        below, pays = below - b, pays + U1
    if tat <= now + pays:  # nothing is owed any more
        tat, below, pays = now, U0, U0
    table[at] = tat - pays
    if b != U1:
        table[at + U1] = below


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
        whole = self.burst * a
        return 1 if b == 1 else 2, (a, b, a // b, a % b, self.burst, whole // b, whole % b)

    _kernels = Kernels(_allow, _explain, _refund)
    allow = Method(_allow_alone, "_allow_one")
    _told = Method(_check_alone, "_check_one")


_STATE, _TABLE = place(Gcra, "_state"), place(Gcra, "_table")
