"""Count-min limiter: fixed windows of any number of keys in constant memory, for no key is stored.

Four cells of a key say how many requests it had, and are shared with other keys: two in each of two cache
lines, and which these are is given by its hash::

    line    |  cell  |  cell  |  cell  |  cell  ||  cell  |  cell  |  cell  |  cell  |     one of each half
    cell    |  number of the window << bits of a count  |  count  |          number = floor(now / period)

None of the four is below what the key had, so the least of them is what is known of it, as if it were the
count of a ``FixedWindow``. A request that is allowed raises those below the new count to that, and no other:
the conservative update of Estan and Varghese. A cell of an earlier window is below all of a later one, so
nothing has to be cleared. Where the clock stepped back, a key's time is that of the earliest of its cells.

Counts are never too low: in a window no key is allowed more than ``limit``, and only refusals can be wrong.
Of N requests allowed in a window, a key is over-counted by N / w at most in the mean, where w = nbytes / 32,
and by e N / w or more with a chance of e^-2 at most, the lines being two (Cormode, Muthukrishnan 2005: e^-4
with four). Conservative updates make the mean less than half of that, and hardly one in a thousand is so far
off; while N / w is below the limit, some hundredths of a per cent of requests are refused wrongly.

One line for the four cells would be faster, and no good: who shares a line with a key at its limit shares all
cells one time in sixteen, and some hundred times as many requests were refused wrongly. With four lines it
was half as many, at twice the reads; that much is had from some more memory as well.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from algos._arguments import integer
from algos._bits import U1, U64, aligned_zeros, borrowed, mulhi, prefetch, rotl
from algos._fastcall import Method, Native, as_bool, as_flag_and_numbers, place, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.errors import CorruptDataError
from algos.ratelimit._limiter import Kernels, Limiter
from algos.ratelimit._loops import BUCKETS, NEVER, OWN, asked_alone
from algos.ratelimit._rate import MAX_TIME, SECOND, check_limit, count_bits, whole_period

if TYPE_CHECKING:
    from datetime import timedelta

    from algos._state import Parameters
    from algos.ratelimit._limiter import Number

LIMIT, PERIOD, COUNT_BITS = range(OWN, OWN + 3)
LINES = BUCKETS
LINE, HALF_LINE, LOW_HALF = U64(8), U64(4), U64(32)
U0, U2, U3, U34 = U64(0), U64(2), U64(3), U64(34)
AHEAD = U64(32)
"""Requests whose lines are under way."""
MAX_LIMIT = (1 << 32) - 1
LEAST_BYTES, MOST_BYTES = 1 << 10, 1 << 34


@inlined
def _rule(state: Any) -> Any:
    return state[LIMIT], state[PERIOD], state[COUNT_BITS]


@inlined
def _lines(lines: Any, h: Any) -> Any:
    """Return where the two lines of a key begin: by the upper bits of either half of its hash."""
    return mulhi(h, lines) * LINE, mulhi(rotl(h, LOW_HALF), lines) * LINE


@inlined
def _decide(rule: Any, table: Any, lines: Any, h: Any, now: Any, cost: Any, commit: Any) -> Any:
    limit, period, bits = rule
    one, two = _lines(lines, h)
    # By the lower bits of the halves, which lines are too few to depend on.
    a, b = one + ((h >> LOW_HALF) & U3), one + HALF_LINE + ((h >> U34) & U3)
    c, d = two + (h & U3), two + HALF_LINE + ((h >> U2) & U3)
    least = min(table[a], table[b], table[c], table[d])
    least = max(least, now // period << bits)
    window, count = least >> bits, least & ((U1 << bits) - U1)
    end = (window + U1) * period - now
    allowed = (cost <= limit) & (count + cost <= limit)
    taken = cost if allowed else U0
    if commit:
        # Without a branch, which would be taken as by chance; what is refused raises no cell.
        raised = least + taken if allowed else U0
        table[a], table[b] = max(table[a], raised), max(table[b], raised)
        table[c], table[d] = max(table[c], raised), max(table[d], raised)
    count += taken
    retry = np.int64(0) if allowed else np.int64(end) if cost <= limit else np.int64(NEVER)
    return allowed, np.int64(limit - count), retry, np.int64(end if count else U0)


@inlined
def _fetch(table: Any, lines: Any, h: Any) -> None:
    one, two = _lines(lines, h)
    prefetch(table, one)
    prefetch(table, two)


@kernel
def _allow(state: Any, table: Any, hashes: Any, nows: Any, costs: Any, allowed: Any) -> None:
    table, rule, lines, n = borrowed(table), _rule(state), state[LINES], U64(hashes.size)
    each_now, each_cost = U64(nows.size > 1), U64(costs.size > 1)
    for i in range(n):
        if i + AHEAD < n:
            _fetch(table, lines, hashes[i + AHEAD])
        allowed[i] = _decide(rule, table, lines, hashes[i], nows[i * each_now], costs[i * each_cost], True)[0]


@kernel
def _explain(
    state: Any, table: Any, hashes: Any, nows: Any, costs: Any, commit: Any, allowed: Any, fields: Any
) -> None:
    table, rule, lines, n = borrowed(table), _rule(state), state[LINES], U64(hashes.size)
    each_now, each_cost = U64(nows.size > 1), U64(costs.size > 1)
    for i in range(n):
        if i + AHEAD < n:
            _fetch(table, lines, hashes[i + AHEAD])
        now, cost = nows[i * each_now], costs[i * each_cost]
        answer = _decide(rule, table, lines, hashes[i], now, cost, commit)
        allowed[i], fields[0, i], fields[1, i], fields[2, i] = answer


@Native
def _allow_alone(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, table = uint64s_of(me, _STATE), uint64s_of(me, _TABLE)
    plain, h, cost, now = asked_alone(state, arguments, count, names)
    if not plain:
        return slowly(me, "_allow_one", arguments, count, names)
    return as_bool(_decide(_rule(state), table, state[LINES], h, now, cost, True)[0])


@Native
def _check_alone(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, table = uint64s_of(me, _STATE), uint64s_of(me, _TABLE)
    plain, h, cost, now = asked_alone(state, arguments, count, names)
    if not plain:
        return slowly(me, "_check_one", arguments, count, names)
    allowed, left, retry, reset = _decide(_rule(state), table, state[LINES], h, now, cost, True)
    return as_flag_and_numbers(allowed, (left, retry, reset))


class CountMinLimiter(Limiter):
    """Limit keys to ``limit`` requests in each ``period`` (seconds or a ``timedelta``) since 1970.

    Any number of keys in ``nbytes``, rounded down to whole lines of 64. As of a ``FixedWindow``, a key is
    never allowed more; some requests are refused wrongly, and few where in a window less than ``limit nbytes
    / 32`` are allowed of all keys together. Text keys are hashed by a secret key of the limiter's own. O(1).
    Safe from many threads.

    Counts are shared by keys, so that one can neither be forgotten nor given back to: ``reset`` and
    ``refund`` raise ``TypeError``.

    >>> limiter = CountMinLimiter(limit=2, period=60)
    >>> [limiter.allow("alice", 1, now * 10**9) for now in (0, 59, 59, 60)]
    [True, True, False, True]
    """

    __slots__ = ("_period",)

    def __init__(self, limit: int, period: Number | timedelta, *, nbytes: int = 1 << 20) -> None:
        """Begin without requests."""
        self.limit, self._period = check_limit(limit, MAX_LIMIT), whole_period(period)
        nbytes = integer("nbytes", nbytes)
        if not LEAST_BYTES <= nbytes <= MOST_BYTES:
            raise ValueError(f"nbytes={nbytes} is outside 2**10..2**34; take 100 for a key, or for ten")
        bits = count_bits(self.limit, self._period)
        lines = nbytes // 64
        self._table = aligned_zeros(8 * lines, np.uint64)
        self._begin(lines, 0, 0, (self.limit, self._period, bits))

    @property
    def window_ns(self) -> int:
        """The period, in nanoseconds."""
        return self._period

    def reset(self, key: Any) -> NoReturn:  # noqa: ARG002 - there is none to be forgotten
        """Raise ``TypeError``: no key can be forgotten alone."""
        raise TypeError("a CountMinLimiter cannot forget one key: its counts are of many; FixedWindow can")

    def refund(self, key: Any, cost: int = 1, now_ns: int | None = None) -> NoReturn:  # noqa: ARG002
        """Raise ``TypeError``: a count taken down could be another key's."""
        raise TypeError("a CountMinLimiter cannot give back: its counts are of many keys; FixedWindow can")

    def _parameters(self) -> dict[str, int]:
        return {"limit": self.limit, "period_ns": self._period}

    @classmethod
    def _made_from(cls, parameters: Parameters, common: dict[str, Any]) -> Self:
        period = Fraction(parameters.integer("period_ns", 1, MAX_TIME), SECOND)
        return cls(parameters.integer("limit", 1, MAX_LIMIT), period, **common)

    def _size(self) -> dict[str, Any]:
        return {"nbytes": self.nbytes}

    @classmethod
    def _size_from(cls, parameters: Parameters) -> dict[str, Any]:
        return {"nbytes": parameters.integer("nbytes", LEAST_BYTES, MOST_BYTES)}

    def _payload(self) -> Any:
        return self._table.astype("<u8")

    def _fill(self, payload: memoryview) -> None:
        if len(payload) != self.nbytes:
            raise CorruptDataError(f"{len(payload)} bytes are not cells of {self.nbytes} bytes")
        cells, bits = np.frombuffer(payload, "<u8"), U64(self._state[COUNT_BITS])
        counts, last = cells & ((U1 << bits) - U1), (MAX_TIME - 1) // self._period
        if (counts > self.limit).any() or (cells >> bits > last).any():
            raise CorruptDataError(f"some of {len(cells)} cells are of no limit of {self.limit}")
        self._table[:] = cells

    def __repr__(self) -> str:
        return f"<CountMinLimiter limit={self.limit}, period_ns={self._period}, {self.nbytes:,} bytes>"

    _kernels = Kernels(_allow, _explain)
    allow = Method(_allow_alone, "_allow_one")
    _told = Method(_check_alone, "_check_one")


_STATE, _TABLE = place(CountMinLimiter, "_state"), place(CountMinLimiter, "_table")
