"""Limits within limits: so many of a key, of its tenant, and of all together; all or nothing.

A request names a path, its key first and then what is above that. Each level is a GCRA of its own, as in
``gcra.py``. A request is allowed if every level has room for it, and then counted by all of them; refused by
one it is counted by none, so a key that is over its limit takes nothing from its tenant's.

The keys of all levels live in one table, and as the hash of a key is another one at every level, a key and a
tenant of one name differ::

    table    |  bucket  |  ...  |  bucket  |  a bucket with no keys: what all together owe  |

A request needs its places all at once, and dead ones will do. So each is marked as live while the others are
looked for, lest one of them takes it; and where one key has no place, none is taken.

What is said of a request is what its tightest level says: the least that remains, and the longest to wait.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._arguments import integer, whole_numbers
from algos._bits import U1, U64, borrowed
from algos._fastcall import (
    NONE,
    Method,
    Native,
    as_bool,
    as_flag_and_numbers,
    items_of,
    key_of,
    kind_of,
    place,
    slowly,
    uint64s_of,
)
from algos._jit import inlined, kernel
from algos.ratelimit._arrivals import RULE_WORDS, asked, give_back, owed, remaining, rule_at, words_of
from algos.ratelimit._limiter import Kernels, Limiter
from algos.ratelimit._loops import (
    BLOCK,
    BUCKETS,
    FULL,
    MAX_COST,
    OWN,
    WIDTH,
    arguments_of,
    hash_of,
    look_up,
    without_place,
)
from algos.ratelimit._rate import as_parameters, check_burst, from_parameters, interval
from algos.ratelimit._table import NOWHERE, bucket_words, find, free_slot, state_of, store_if
from algos.ratelimit._table import place as place_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from algos._state import Parameters
    from algos.ratelimit._limiter import Number, WhenFull

    Rate = tuple[Number, int, Number | timedelta]

MAX_LEVELS = 4
LEVELS, KEYED = range(OWN, OWN + 2)
"""Words of the state: how many levels there are, and how many of these have keys; of a request the hashes of
its keys, their slots, what these held, and what each level would owe; and the rule of each level."""
HASHES, FOUND, HELD, AFTER, BELOW, RULES = (U64(KEYED + 1 + i * MAX_LEVELS) for i in range(6))
LEVEL = U64(0x9E37_79B9_7F4A_7C15)
U0 = U64(0)
MOST = np.int64(1 << 62)


@inlined
def _rule(state: Any, level: Any) -> Any:
    return rule_at(state, RULES + level * U64(RULE_WORDS))


@inlined
def _state_at(state: Any, slots: Any, first: Any, level: Any) -> Any:
    """Return where the state of a request's key is at a level."""
    slot = state[BUCKETS] * bucket_words(state[WIDTH]) + U1  # in the bucket with no keys
    if level < state[KEYED]:
        slot = slots[first + level]
    return state_of(slot, state[WIDTH])


@inlined
def _placed(
    state: Any, table: Any, hashes: Any, at: Any, slots: Any, first: Any, now: Any, commit: Any
) -> Any:
    """Have a slot for each key of a request, and tell whether all have one; some may have been found.

    Without ``commit`` new keys have the one of a new key's state, behind the buckets.
    """
    keyed, buckets, width = state[KEYED], state[BUCKETS], state[WIDTH]
    there = True
    for level in range(keyed):
        slot = slots[first + level]
        there = there and slot != NOWHERE and table[slot] == hashes[at + level]
    if there:
        return True
    marked, new = U0, U0
    while marked < keyed:
        h = hashes[at + marked]
        if commit:
            slot = place_of(table, buckets, width, h, now)
        else:
            slot = find(table, buckets, width, h)
            if slot == NOWHERE:
                slot, new = free_slot(table, buckets, width, h, now), new | U1 << marked
        if slot == NOWHERE:
            break
        slots[first + marked], state[HELD + marked] = slot, table[state_of(slot, width)]
        table[state_of(slot, width)] = NOWHERE
        marked += U1
    there = marked == keyed
    while marked:  # the last first: should two keys have one hash, they have one slot
        marked -= U1
        table[state_of(slots[first + marked], width)] = state[HELD + marked]
        if new >> marked & U1:
            slots[first + marked] = buckets * bucket_words(width)
    return there


@inlined
def _ask(state: Any, table: Any, slots: Any, first: Any, now: Any, cost: Any) -> Any:
    """Return whether all levels have room, and how long to wait; have what each would then owe."""
    allowed, retry = True, U0
    for level in range(state[LEVELS]):
        rule, at = _rule(state, level), _state_at(state, slots, first, level)
        tat, below, its_now = owed(rule, table, at, now)
        has_room, after, after_below, wait = asked(rule, tat, below, its_now, cost)
        state[AFTER + level], state[BELOW + level] = after, after_below
        allowed, retry = allowed & has_room, max(retry, U64(wait))  # as a word, never is the longest
    return allowed, np.int64(retry)


@inlined
def _count(state: Any, table: Any, slots: Any, first: Any, allowed: Any) -> None:
    """Let the levels owe that if the request was allowed."""
    for level in range(state[LEVELS]):
        at = _state_at(state, slots, first, level)
        store_if(allowed, table, at, state[AFTER + level])
        if state[WIDTH] != U1:
            store_if(allowed, table, at + U1, state[BELOW + level])


@inlined
def _numbers(state: Any, table: Any, slots: Any, first: Any, now: Any, allowed: Any) -> Any:
    """Return what remains, and until when anything is owed."""
    left, reset = MOST, U0
    for level in range(state[LEVELS]):
        rule, at = _rule(state, level), _state_at(state, slots, first, level)
        tat, below, its_now = owed(rule, table, at, now)
        if allowed:
            tat, below = state[AFTER + level], state[BELOW + level]
        reset = max(reset, tat - its_now)
        left = min(left, remaining(rule, tat - its_now, below))
    return left, np.int64(reset)


@kernel
def _allow(state: Any, table: Any, hashes: Any, nows: Any, costs: Any, allowed: Any) -> None:
    flat = hashes.ravel()
    state, table, flat = borrowed(state), borrowed(table), borrowed(flat)
    buckets, width, keyed, full = state[BUCKETS], state[WIDTH], state[KEYED], state[FULL] != U0
    each_now, each_cost, n, block = U64(nows.size > 1), U64(costs.size > 1), U64(allowed.size), BLOCK // keyed
    found, other = U64(table.size) - U64(2) * BLOCK, U64(table.size) - BLOCK
    look_up(table, buckets, width, flat, U0, found)
    for lo in range(U0, n, block):
        look_up(table, buckets, width, flat, (lo + block) * keyed, other)
        for i in range(lo, min(lo + block, n)):
            first, now = found + (i - lo) * keyed, nows[i * each_now]
            if _placed(state, table, flat, i * keyed, table, first, now, True):
                allowed[i], _ = _ask(state, table, table, first, now, costs[i * each_cost])
                _count(state, table, table, first, allowed[i])
            else:
                allowed[i] = full
        found, other = other, found


@kernel
def _explain(
    state: Any, table: Any, hashes: Any, nows: Any, costs: Any, commit: Any, allowed: Any, fields: Any
) -> None:
    flat = hashes.ravel()
    state, table, flat = borrowed(state), borrowed(table), borrowed(flat)
    buckets, width, keyed, full = state[BUCKETS], state[WIDTH], state[KEYED], state[FULL] != U0
    each_now, each_cost, n, block = U64(nows.size > 1), U64(costs.size > 1), U64(allowed.size), BLOCK // keyed
    found, other = U64(table.size) - U64(2) * BLOCK, U64(table.size) - BLOCK
    look_up(table, buckets, width, flat, U0, found)
    for lo in range(U0, n, block):
        look_up(table, buckets, width, flat, (lo + block) * keyed, other)
        for i in range(lo, min(lo + block, n)):
            first, now = found + (i - lo) * keyed, nows[i * each_now]
            if _placed(state, table, flat, i * keyed, table, first, now, commit):
                allowed[i], fields[1, i] = _ask(state, table, table, first, now, costs[i * each_cost])
                fields[0, i], fields[2, i] = _numbers(state, table, table, first, now, allowed[i])
                _count(state, table, table, first, allowed[i] & commit)
            else:
                allowed[i] = full
                fields[0, i], fields[1, i], fields[2, i] = without_place(state)
        found, other = other, found


@kernel
def _refund(state: Any, table: Any, hashes: Any, now: Any, cost: Any) -> None:
    for level in range(state[LEVELS]):
        if level < state[KEYED]:
            slot = find(table, state[BUCKETS], state[WIDTH], hashes[0, level])
            if slot == NOWHERE:
                continue
            state[FOUND + level] = slot
        give_back(_rule(state, level), table, _state_at(state, state, FOUND, level), now, cost)


@inlined
def _asked_alone(state: Any, table: Any, arguments: Any, count: Any, names: Any) -> Any:
    """Read ``path, cost, now_ns``; return whether they are plain and all keys have a slot, cost and time."""
    plain, cost, now = arguments_of(state, arguments, count, names)
    if not plain:
        return False, False, U0, U0
    keys, size = items_of(arguments, 0)
    if size != state[KEYED]:
        return False, False, U0, U0
    for level in range(size):
        key = key_of(keys, np.int64(level))
        if kind_of(key) == NONE:
            return False, False, U0, U0
        state[HASHES + level], state[FOUND + level] = hash_of(state, key) ^ level * LEVEL, NOWHERE
    return True, _placed(state, table, state, HASHES, state, FOUND, now, True), cost, now


@Native
def _allow_alone(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, table = uint64s_of(me, _STATE), uint64s_of(me, _TABLE)
    plain, placed, cost, now = _asked_alone(state, table, arguments, count, names)
    if not plain:
        return slowly(me, "_allow_one", arguments, count, names)
    if not placed:
        return as_bool(state[FULL] != U0)
    allowed, _ = _ask(state, table, state, FOUND, now, cost)
    _count(state, table, state, FOUND, allowed)
    return as_bool(allowed)


@Native
def _check_alone(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, table = uint64s_of(me, _STATE), uint64s_of(me, _TABLE)
    plain, placed, cost, now = _asked_alone(state, table, arguments, count, names)
    if not plain:
        return slowly(me, "_check_one", arguments, count, names)
    if not placed:
        return as_flag_and_numbers(state[FULL] != U0, without_place(state))
    allowed, retry = _ask(state, table, state, FOUND, now, cost)
    left, reset = _numbers(state, table, state, FOUND, now, allowed)
    _count(state, table, state, FOUND, allowed)
    return as_flag_and_numbers(allowed, (left, retry, reset))


class Hierarchical(Limiter):
    """Limit keys and what is above them: ``levels`` of (rate, burst, period), the keys' first, at most four.

    A request names a path, a tuple of a key for each level: ``allow((key, tenant))``. A key is the same one
    whatever is above it. ``overall`` is one more level, that of all keys together, which no path names. Each
    level decides as Gcra does, and a request is allowed by all of them or counted by none. ``allow_many``
    takes a tuple of columns of keys. ``limit`` is the least burst; of a decision, what remains is that of the
    level with the least, and the time to wait that of the level with the longest. ``capacity`` is how many
    keys of all levels may be live at once; a request with one that has no place is denied or allowed as
    ``when_full`` says, and not counted. O(levels), 16 bytes per key, or 24 where one request of a level pays
    for no whole number of nanoseconds. Safe from many threads.

    >>> limiter = Hierarchical([(1, 2, 1), (1, 3, 1)])
    >>> [limiter.allow((key, "tenant"), 1, 0) for key in ("a", "a", "a", "b", "b")]
    [True, True, False, True, False]
    """

    __slots__ = ("_levels", "_overall")
    _SPARE = 1

    def __init__(
        self,
        levels: Sequence[Rate],
        *,
        overall: Rate | None = None,
        capacity: int = 65_536,
        when_full: WhenFull = "deny",
    ) -> None:
        """Begin without keys."""
        rates = [*levels, *([] if overall is None else [overall])]
        if not levels or len(rates) > MAX_LEVELS:
            raise ValueError(f"{len(rates)} levels are not 1 to {MAX_LEVELS}, of which one at least has keys")
        each = [interval(rate, period) for rate, _, period in rates]
        self._levels = [(t, check_burst(burst, t)) for t, (_, burst, _) in zip(each, rates, strict=True)]
        self._overall = overall is not None
        self.limit = min(burst for _, burst in self._levels)
        words = [word for t, burst in self._levels for word in words_of(*t.as_integer_ratio(), burst)]
        width = 1 if all(t.denominator == 1 for t in each) else 2
        scratch = [0] * int(RULES - HASHES)
        self._set_up(capacity, when_full, width, (len(rates), len(levels), *scratch, *words))

    @property
    def window_ns(self) -> int:
        """The time in which the least burst is regained, in nanoseconds, rounded up."""
        return max(math.ceil(burst * t) for t, burst in self._levels if burst == self.limit)

    @property
    def _keyed(self) -> int:
        return len(self._levels) - self._overall

    def _hashed(self, keys: Any) -> Any:
        if not isinstance(keys, tuple) or len(keys) != self._keyed:
            raise TypeError(
                f"keys must be a tuple of {self._keyed} columns, {_said(keys)}; of paths, tuple(zip(*paths))"
            )
        columns = [super(Hierarchical, self)._hashed(column) for column in keys]
        lengths = [len(column) for column in columns]
        if len(set(lengths)) > 1:
            raise ValueError(f"the columns of keys have {lengths} items, and a request needs one of each")
        hashes = np.empty((lengths[0], len(columns)), np.uint64)
        for level, column in enumerate(columns):
            np.bitwise_xor(column, _of_level(level), out=hashes[:, level])
        return hashes

    def _hash_of(self, key: Any) -> Any:
        if not isinstance(key, tuple) or len(key) != self._keyed:
            raise TypeError(f"a path must be a tuple of {self._keyed} keys, {_said(key)}")
        hashes = np.array([[super(Hierarchical, self)._hash_of(name)[0] for name in key]])
        return hashes ^ np.array([_of_level(level) for level in range(len(key))])

    def reset(self, key: Any, level: int = 0) -> None:
        """Forget a path's key at a level, the first if none is given; what the others have had stays."""
        if not 0 <= integer("level", level) < self._keyed:
            raise ValueError(f"level={level} is outside 0..{self._keyed - 1}, the levels with keys")
        with self._alone():
            h = self._hash_of(key)[0, level]
            slot, width = find(self._table, self._state[BUCKETS], self._state[WIDTH], h), self._state[WIDTH]
            if slot != NOWHERE:
                at = int(state_of(slot, width))
                self._table[at : at + int(width)] = 0

    def refund(self, key: Any, cost: int = 1, now_ns: int | None = None) -> None:
        """Give back at all levels what an allowed request of ``cost`` took, as if it had not been."""
        hashes, costs = self._hash_of(key), whole_numbers("cost", cost, 1, MAX_COST)
        with self._alone():
            _refund(self._state, self._table, hashes, self._times(now_ns, 1)[0], costs[0])

    def _parameters(self) -> dict[str, int]:
        return {**as_parameters(self._levels), "keyed": self._keyed}

    @classmethod
    def _made_from(cls, parameters: Parameters, common: dict[str, Any]) -> Self:
        levels = from_parameters(parameters, MAX_LEVELS)
        keyed = parameters.integer("keyed", max(1, len(levels) - 1), len(levels))
        return cls(levels[:keyed], overall=levels[-1] if keyed < len(levels) else None, **common)

    _kernels = Kernels(_allow, _explain)
    allow = Method(_allow_alone, "_allow_one")
    _told = Method(_check_alone, "_check_one")


def _of_level(level: int) -> Any:
    """Return what a key's hash is changed by at a level."""
    return U64(level * int(LEVEL) % 2**64)


def _said(keys: Any) -> str:
    return f"not one of {len(keys)}" if isinstance(keys, tuple) else f"not {type(keys).__name__}"


_STATE, _TABLE = place(Hierarchical, "_state"), place(Hierarchical, "_table")
