"""The arithmetic of GCRA: theoretical arrival times in whole nanoseconds, and the b-ths they lie below that.

With T = a / b nanoseconds for a request, a rule is the words of ``words_of``. What a key owes is its tat, and
where b > 1 the b-ths below it: the words of its state.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U64
from algos._jit import inlined
from algos.ratelimit._loops import NEVER
from algos.ratelimit._table import either

RULE_WORDS = 7
_NEVER = U64(NEVER & (1 << 64) - 1)
U0, U2, U3, U4, U5, U6 = (U64(i) for i in (0, 2, 3, 4, 5, 6))


def words_of(a: int, b: int, burst: int) -> tuple[int, ...]:
    """Return the words of a rule: a, b, and T as whole nanoseconds and b-ths; the burst, and burst T so."""
    return a, b, a // b, a % b, burst, burst * a // b, burst * a % b


@inlined
def rule_at(state: Any, at: Any) -> Any:
    """Return a rule from the words of a state."""
    return (
        *(state[at], state[at + U1], state[at + U2], state[at + U3]),
        *(state[at + U4], state[at + U5], state[at + U6]),
    )


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
def owed(rule: Any, table: Any, at: Any, now: Any) -> Any:
    """Return a key's tat, the b-ths below it, and the time, which is not before what the key implies."""
    _, b, _, _, _, most, most_parts = rule
    tat = table[at]
    # No key owes more than the burst, so a clock before that stepped back.
    if b == U1:
        now = max(now, tat - min(tat, most))
        return max(tat, now), U0, now
    below = table[at + U1]
    earliest = tat - most - U64(below + most_parts >= b)
    now = max(now, earliest if tat > most else U0)
    idle = tat <= now
    return now if idle else tat, U0 if idle else below, now


@inlined
def asked(rule: Any, tat: Any, below: Any, now: Any, cost: Any) -> Any:
    """Return whether a request is allowed, what it would leave as tat and below, and how long to wait."""
    a, b, _, _, burst, most, most_parts = rule
    if b == U1:  # as most are: a third less to do
        owes = tat + min(cost, burst) * a - now
        allowed = (owes <= most) & (cost <= burst)
        over = owes - most if cost <= burst else _NEVER
        return allowed, now + owes, U0, np.int64(either(allowed, U0, over))
    pays, pays_parts = _paid_for(rule, min(cost, burst))
    borrow = U64(pays_parts > below)
    after, after_below = tat + pays + borrow, below - pays_parts + borrow * b
    owes = after - now
    allowed = (owes <= most) | ((owes == most + U1) & (after_below + most_parts >= b))
    allowed &= cost <= burst
    # Of what is too much the last b-ths: pays - below - burst, their ceiling 1, 0, -1 or -2 nanoseconds.
    rest, whole_ns = np.int64(pays_parts) - np.int64(below) - np.int64(most_parts), np.int64(b)
    over = np.int64(tat + pays - most - now) + np.int64(rest > 0)
    over -= np.int64(rest <= -whole_ns) + np.int64(rest <= -np.int64(2) * whole_ns)
    return allowed, after, after_below, np.int64(0) if allowed else over if cost <= burst else np.int64(NEVER)


@inlined
def remaining(rule: Any, owes: Any, below: Any) -> Any:
    """Return how many requests a key may still have at once, which owes so many nanoseconds but the b-ths."""
    a, b, _, _, burst, _, _ = rule
    return np.int64(burst - (owes * b - below + a - U1) // a)


@inlined
def give_back(rule: Any, table: Any, at: Any, now: Any, cost: Any) -> None:
    """Let a key owe so much less."""
    _, b, _, _, burst, _, _ = rule
    tat, below, now = owed(rule, table, at, now)
    pays, pays_parts = _paid_for(rule, min(cost, burst))
    below += pays_parts
    if below >= b:
        below, pays = below - b, pays + U1
    if tat <= now + pays:  # nothing is owed any more
        tat, below, pays = now, U0, U0
    table[at] = tat - pays
    if b != U1:
        table[at + U1] = below
