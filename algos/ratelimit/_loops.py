"""The loops of every limiter: requests in batches, and alone.

A limiter is a rule over a table of states. The rule is a pair of inlined functions that each variant has::

    threshold(state, now)                            states whose first word is at most this are dead
    decide(state, table, at, now, cost, commit)      allowed, remaining, retry after, reset after

``state`` holds the words below, and from ``OWN`` on those of the variant; ``at`` is where in the table the
state of a key begins. Without ``commit`` nothing is counted.
"""

from __future__ import annotations

from typing import Any

from algos._bits import U1, U64
from algos._fastcall import (
    INT,
    NONE,
    as_bool,
    key_of,
    kind_of,
    monotonic_ns,
    size_of,
    text_of,
    word_of,
)
from algos._jit import inlined
from algos.hashing.siphash import siphash, siphash_word
from algos.ratelimit._table import NOWHERE, bucket_words, fetch, find, place

BUSY, CLOCK, OFFSET, KEY_LOW, KEY_HIGH, BUCKETS, WIDTH, FULL, OWN = range(9)
"""Words of the state: whether a batch is at it; whose clock decides; what the monotonic clock lacks; the
secret of the hash; the buckets of the table and the words of a key's state; whether keys without a place are
allowed; and where the words of a variant begin."""
NOBODYS, OURS, CALLERS = 0, 1, 2
"""Whose clock: nobody's yet, this library's, or that of the times given."""
NEVER = -1
MAX_COST = 1 << 50
MAX_TIME = 1 << 62
AHEAD = U64(24)
"""Requests whose buckets are under way."""
U0 = U64(0)


@inlined
def run(
    decide: Any,
    threshold: Any,
    state: Any,
    table: Any,
    hashes: Any,
    nows: Any,
    costs: Any,
    allowed: Any,
) -> None:
    """Decide on requests one after the other; ``nows`` and ``costs`` have one item for all or for each."""
    buckets, width, n = state[BUCKETS], state[WIDTH], U64(hashes.size)
    each_now, each_cost = U64(nows.size > 1), U64(costs.size > 1)
    for i in range(min(AHEAD, n)):
        fetch(table, buckets, width, hashes[i])
    for i in range(n):
        if i + AHEAD < n:
            fetch(table, buckets, width, hashes[i + AHEAD])
        now = nows[i * each_now]
        at = place(table, buckets, width, hashes[i], threshold(state, now))
        if at == NOWHERE:
            allowed[i] = state[FULL] != U0
        else:
            allowed[i] = decide(state, table, at, now, costs[i * each_cost], True)[0]


@inlined
def run_all(
    decide: Any,
    threshold: Any,
    state: Any,
    table: Any,
    hashes: Any,
    nows: Any,
    costs: Any,
    commit: Any,
    allowed: Any,
    numbers: Any,
) -> None:
    """Do the same, and say what remains and how long to wait, in rows of ``numbers`` (int64[3, n])."""
    buckets, width, n = state[BUCKETS], state[WIDTH], U64(hashes.size)
    each_now, each_cost = U64(nows.size > 1), U64(costs.size > 1)
    for i in range(min(AHEAD, n)):
        fetch(table, buckets, width, hashes[i])
    for i in range(n):
        if i + AHEAD < n:
            fetch(table, buckets, width, hashes[i + AHEAD])
        now = nows[i * each_now]
        if commit:
            at = place(table, buckets, width, hashes[i], threshold(state, now))
        else:
            at = find(table, buckets, width, hashes[i])
            if at == NOWHERE:
                at = buckets * bucket_words(width)  # the state of a new key, behind the buckets
        if at == NOWHERE:
            allowed[i], numbers[0, i], numbers[1, i], numbers[2, i] = state[FULL] != U0, 0, 0, 0
        else:
            found = decide(state, table, at, now, costs[i * each_cost], commit)
            allowed[i], numbers[0, i], numbers[1, i], numbers[2, i] = found


@inlined
def alone(decide: Any, threshold: Any, state: Any, table: Any, arguments: Any, count: Any, names: Any) -> Any:
    """Answer ``allow(key, cost, now_ns)``, of which the last two may lack: an object, or 0 if not here."""
    if (names != U0) | (count == U0) | (count > U64(3)) | (state[BUSY] != U0):
        return U0
    key, cost, now = key_of(arguments, 0), U1, U0
    if (kind_of(key) == NONE) | (state[CLOCK] != U64(CALLERS if count == U64(3) else OURS)):
        return U0
    if count > U1:
        given = key_of(arguments, 1)
        if (kind_of(given) != INT) | (word_of(given) > U64(MAX_COST)):
            return U0
        cost = word_of(given)
    if count == U64(3):
        given = key_of(arguments, 2)
        if (kind_of(given) != INT) | (word_of(given) >= U64(MAX_TIME)):
            return U0
        now = word_of(given)
    else:
        now = monotonic_ns()
        if now == U0:  # there is none to be read here
            return U0
        now += state[OFFSET]
    secret = state[KEY_LOW], state[KEY_HIGH]
    if kind_of(key) == INT:
        h = siphash_word(word_of(key), secret, 1, 3)
    else:
        h = siphash(text_of(key), U0, size_of(key), secret, 1, 3)
    at = place(table, state[BUCKETS], state[WIDTH], h, threshold(state, now))
    if at == NOWHERE:
        return as_bool(state[FULL] != U0)
    return as_bool(decide(state, table, at, now, cost, True)[0])
