"""Token bucket: ``burst`` tokens, refilled one by one, of which a request takes ``cost``.

Tokens are counted: whole ones, and the time at which the last of them came, as its ceiling in nanoseconds and
the b-ths below, where one comes every T = a / b. Refilling is done when somebody asks::

    state    |  when it is full  |  time of the last token  |  b-ths below  |  tokens  | k = floor((now -
    time) / T)         tokens = min(burst, tokens + k)         time = now if full, else time + k T

Decision for decision it equals GCRA, which needs a third of the memory and none of the divisions: take it to
have tokens to look at.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U64
from algos._fastcall import Method, Native, place, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.ratelimit._limiter import Bucket, Kernels
from algos.ratelimit._loops import NEVER, OWN, alone, run, run_all, told, whole

NUMERATOR, PARTS, BURST = range(OWN, OWN + 3)
"""Words of the state: a, b, and the burst."""
TIME, BELOW, TOKENS = U1, U64(2), U64(3)
U0 = U64(0)


@inlined
def _rule(state: Any) -> Any:
    return state[NUMERATOR], state[PARTS], state[BURST]


@inlined
def _threshold(_rule: Any, now: Any) -> Any:
    return now


@inlined
def _refilled(rule: Any, table: Any, at: Any, now: Any) -> Any:
    """Return the tokens now, the b-ths of a nanosecond since the last came, and the time."""
    each, parts, burst = rule
    if table[at] <= now:
        return burst, U0, now
    time, below, tokens = table[at + TIME], table[at + BELOW], table[at + TOKENS]
    if now >= time:
        since = (now - time) * parts + below
        return tokens + since // each, since % each, now
    # The clock stepped back: tokens are taken away again, as many as there are.
    earliest = time - min(time, (tokens * each + below) // parts)
    now = max(now, earliest)
    gone = (time - now) * parts
    if gone <= below:
        return tokens, below - gone, now
    gone -= below
    missing = (gone + each - U1) // each
    return tokens - missing, missing * each - gone, now


@inlined
def _keep(rule: Any, table: Any, at: Any, now: Any, tokens: Any, since: Any, reset: Any) -> None:
    """Keep a state whose last token came ``since`` ago: the ceiling of that time, and the b-ths below."""
    _, parts, _ = rule
    full = since if parts == U1 else since // parts
    table[at], table[at + TIME], table[at + TOKENS] = now + reset, now - full, tokens
    table[at + BELOW] = since - full * parts


@inlined
def _decide(rule: Any, table: Any, at: Any, now: Any, cost: Any, commit: Any) -> Any:
    each, parts, burst = rule
    tokens, since, now = _refilled(rule, table, at, now)
    allowed = cost <= tokens
    retry = np.int64(0)
    if allowed:
        tokens -= cost
    elif cost <= burst:
        retry = np.int64(whole(parts, (cost - tokens) * each - since))
    else:
        retry = np.int64(NEVER)
    reset = whole(parts, (burst - tokens) * each - since)
    if allowed & commit:
        _keep(rule, table, at, now, tokens, since, reset)
    return allowed, np.int64(tokens), retry, np.int64(reset)


@kernel
def _refund(state: Any, table: Any, at: Any, now: Any, cost: Any) -> None:
    each, parts, burst = rule = _rule(state)
    tokens, since, now = _refilled(rule, table, at, now)
    tokens = min(burst, tokens + min(cost, burst))
    if tokens == burst:
        since = U0
    reset = whole(parts, (burst - tokens) * each - since)
    _keep(rule, table, at, now, tokens, since, reset)


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


class TokenBucket(Bucket):
    """Limit keys to ``rate`` requests per ``period`` (seconds or a ``timedelta``), ``burst`` of them at once.

    Exact for any rational rate. A bucket begins full. ``capacity`` is how many keys may be live at once,
    which is while their bucket is not full; one without a place is denied or allowed as ``when_full`` says.
    O(1), 40 bytes per key. Safe from many threads.

    >>> limiter = TokenBucket(rate=1, burst=2)
    >>> [limiter.allow("alice", 1, now) for now in (0, 0, 0, 10**9)]
    [True, True, False, True]
    """

    __slots__ = ()

    def _layout(self, a: int, b: int) -> tuple[int, tuple[int, ...]]:
        return 4, (a, b, self.burst)

    _kernels = Kernels(_allow, _explain, _refund)
    allow = Method(_allow_alone, "_allow_one")
    _told = Method(_check_alone, "_check_one")


_STATE, _TABLE = place(TokenBucket, "_state"), place(TokenBucket, "_table")
