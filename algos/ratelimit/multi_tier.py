"""Several rates at once: so many a second, and so many a day, all or nothing.

Each tier is a leaky bucket whose level is kept in b-ths of a nanosecond, where a request pays T = a / b:
whole numbers, and exact for any rational rate (``leaky_bucket.py``). A request is allowed if every tier has
room for it, and then counted by every tier; refused by one it is counted by none::

    state    |  when all are empty  |  then  |  level of tier 0  |  level of tier 1  |  ...  |

What is said of a request is what its tightest tier says: the least that remains, and the longest to wait.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._bits import U1, U64
from algos._fastcall import Method, Native, place, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.ratelimit._limiter import Kernels, Limiter
from algos.ratelimit._loops import NEVER, OWN, alone, run, run_all, told, whole
from algos.ratelimit._rate import as_parameters, check_burst, from_parameters, interval

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from algos._state import Parameters
    from algos.ratelimit._limiter import Number, WhenFull

TIERS = OWN
EACH, PARTS, BURST, TIER_WORDS = range(4)
"""Words of the state: how many tiers there are; and from ``OWN + 1`` on for each a, b and the burst."""
THEN, LEVELS = U1, U64(2)
U0 = U64(0)
MAX_TIERS = 8


@inlined
def _rule(state: Any) -> Any:
    return state


@inlined
def _threshold(_rule: Any, now: Any) -> Any:
    return now


@inlined
def _tier(state: Any, i: Any) -> Any:
    first = U64(OWN + 1) + U64(3) * i
    return state[first + U64(EACH)], state[first + U64(PARTS)], state[first + U64(BURST)]


@inlined
def _level(state: Any, table: Any, at: Any, now: Any, i: Any) -> Any:
    """Return the level of a tier now; a clock that stepped back does not count."""
    if table[at] <= now:
        return U0
    _, parts, _ = _tier(state, i)
    level, then = table[at + LEVELS + i], table[at + THEN]
    # The product may be more than a word, but then the bucket is empty.
    since = now - then
    passed = level if parts == U1 else level // parts
    return U0 if since > passed else level - since * parts


@inlined
def _decide(rule: Any, table: Any, at: Any, now: Any, cost: Any, commit: Any) -> Any:
    tiers = rule[TIERS]
    if table[at] > now:
        now = max(now, table[at + THEN])
    allowed, never, wait = True, False, U0
    for i in range(tiers):
        each, parts, burst = _tier(rule, i)
        pays, most = min(cost, burst) * each, burst * each
        after = _level(rule, table, at, now, i) + pays
        if after > most:
            wait = max(wait, whole(parts, after - most))
        never |= cost > burst
        allowed &= (after <= most) & (cost <= burst)
    remaining, reset = np.int64(1 << 62), U0
    for i in range(tiers):
        each, parts, burst = _tier(rule, i)
        level = _level(rule, table, at, now, i)
        if allowed:
            level += cost * each
            if commit:
                table[at + LEVELS + i] = level
        remaining = min(remaining, np.int64((burst * each - level) // each))
        reset = max(reset, whole(parts, level))
    if allowed & commit:
        table[at], table[at + THEN] = now + reset, now
    return allowed, remaining, np.int64(NEVER) if never else np.int64(wait), np.int64(reset)


@kernel
def _refund(state: Any, table: Any, at: Any, now: Any, cost: Any) -> None:
    if table[at] > now:
        now = max(now, table[at + THEN])
    reset = U0
    for i in range(state[TIERS]):
        each, parts, burst = _tier(state, i)
        level = _level(state, table, at, now, i)
        level -= min(level, min(cost, burst) * each)
        table[at + LEVELS + i] = level
        reset = max(reset, whole(parts, level))
    table[at], table[at + THEN] = now + reset, now


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


class MultiTier(Limiter):
    """Limit keys to several rates at once: ``tiers`` of (rate, burst, period), at most eight; all or nothing.

    As Gcra does each. ``limit`` is the least burst; of a decision, what remains is that of the tier with the
    least, and the time to wait that of the tier with the longest. ``capacity`` is how many keys may be live
    at once; one without a place is denied or allowed as ``when_full`` says. O(tiers), 24 + 8 tiers bytes per
    key. Safe from many threads.

    >>> limiter = MultiTier([(1, 2, 1), (3, 3, 86_400)])
    >>> [limiter.allow("alice", 1, now * 10**9) for now in (0, 0, 0, 5, 10)]
    [True, True, False, True, False]
    """

    __slots__ = ("tiers",)

    def __init__(
        self,
        tiers: Sequence[tuple[Number, int, Number | timedelta]],
        *,
        capacity: int = 65_536,
        when_full: WhenFull = "deny",
    ) -> None:
        """Begin without keys."""
        if not 1 <= len(tiers) <= MAX_TIERS:
            raise ValueError(f"{len(tiers)} tiers are outside 1..{MAX_TIERS}")
        each = [interval(rate, period) for rate, _, period in tiers]
        self.tiers = [(t, check_burst(burst, t)) for t, (_, burst, _) in zip(each, tiers, strict=True)]
        self.limit = min(burst for _, burst in self.tiers)
        words = [word for t, burst in self.tiers for word in (*t.as_integer_ratio(), burst)]
        self._set_up(capacity, when_full, 2 + len(tiers), (len(tiers), *words))

    @property
    def window_ns(self) -> int:
        """The time in which the least burst is regained, in nanoseconds, rounded up."""
        return max(math.ceil(burst * t) for t, burst in self.tiers if burst == self.limit)

    def _parameters(self) -> dict[str, int]:
        return as_parameters(self.tiers)

    @classmethod
    def _made_from(cls, parameters: Parameters, common: dict[str, Any]) -> Self:
        return cls(from_parameters(parameters, MAX_TIERS), **common)

    _kernels = Kernels(_allow, _explain, _refund)
    allow = Method(_allow_alone, "_allow_one")
    _told = Method(_check_alone, "_check_one")


_STATE, _TABLE = place(MultiTier, "_state"), place(MultiTier, "_table")
