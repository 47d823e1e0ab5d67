"""The loops of every limiter: requests in batches, and alone.

A limiter is a rule over a table of states: three inlined functions that each variant has::

    rule(state)                                  the numbers of the rule, once for all requests
    threshold(rule, now)                         states whose first word is at most this are dead
    decide(rule, table, at, now, cost, commit)   allowed, remaining, retry after, reset after

``state`` holds the words below, and from ``OWN`` on those of the variant; ``at`` is where in the table the
state of a key begins. Without ``commit`` a request leaves no trace.

A batch looks the keys of ``BLOCK`` requests up, all at once, while it decides on those of the block before,
one after the other: the processor works on many lookups together, but waits whenever it took a request for
refused that is not. A slot found may by then be another key's, and so is looked up again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U64, borrowed
from algos._fastcall import (
    INT,
    NONE,
    as_bool,
    as_flag_and_numbers,
    key_of,
    kind_of,
    monotonic_ns,
    size_of,
    text_of,
    word_of,
)
from algos._jit import inlined
from algos.hashing.siphash import siphash, siphash_word
from algos.ratelimit._rate import MAX_TIME
from algos.ratelimit._table import NOWHERE, bucket_words, fetch, find_ahead, free_slot, place, state_of

BUSY, CLOCK, OFFSET, KEY_LOW, KEY_HIGH, BUCKETS, WIDTH, FULL, WAIT, OWN = range(10)
"""Words of the state: whether a batch is at it; whose clock decides; what the monotonic clock lacks; the
secret of the hash; the buckets of the table and the words of a key's state; whether keys without a place are
allowed, and how long they are told to wait if not; and where the words of a variant begin."""
NOBODYS, OURS, CALLERS = 0, 1, 2
"""Whose clock: nobody's yet, this library's, or that of the times given."""
NEVER = -1
MAX_COST = 1 << 50
AHEAD, BLOCK = U64(64), U64(16)
"""Requests whose buckets are under way; and those looked up together."""
U0 = U64(0)


@inlined
def whole(parts: Any, total: Any) -> Any:
    """Return the nanoseconds that so many ``parts``-ths of one are, rounded up."""
    if parts == U1:
        return total
    return (total + parts - U1) // parts


@inlined
def without_place(state: Any) -> Any:
    """Return what remains for a key without a place, and the times that it has to wait."""
    wait = np.int64(0) if state[FULL] != U0 else np.int64(state[WAIT])
    return np.int64(0), wait, wait


@inlined
def look_up(table: Any, buckets: Any, width: Any, hashes: Any, lo: Any, found: Any) -> None:
    """Look a block of keys from ``lo`` on up; their slots are ``table[found:]`` then."""
    n = U64(hashes.size)
    for i in range(lo, min(lo + BLOCK, n)):
        if i + AHEAD < n:
            fetch(table, buckets, width, hashes[i + AHEAD])
        table[found + i - lo] = find_ahead(table, buckets, width, hashes[i])


@inlined
def run(
    rule: Any,
    threshold: Any,
    decide: Any,
    state: Any,
    table: Any,
    hashes: Any,
    nows: Any,
    costs: Any,
    allowed: Any,
) -> None:
    """Decide on requests one after the other; ``nows`` and ``costs`` have one item for all or for each."""
    state, table = borrowed(state), borrowed(table)
    numbers, buckets, width, n = rule(state), state[BUCKETS], state[WIDTH], U64(hashes.size)
    each_now, each_cost, full = U64(nows.size > 1), costs.size > 1, state[FULL] != U0
    one = costs[0] if costs.size else U1
    found, other = U64(table.size) - U64(2) * BLOCK, U64(table.size) - BLOCK
    look_up(table, buckets, width, hashes, U0, found)
    for lo in range(U0, n, BLOCK):
        look_up(table, buckets, width, hashes, lo + BLOCK, other)
        for i in range(lo, min(lo + BLOCK, n)):
            slot, now = table[found + i - lo], nows[i * each_now]
            if slot == NOWHERE or table[slot] != hashes[i]:
                slot = place(table, buckets, width, hashes[i], threshold(numbers, now))
            if slot == NOWHERE:
                allowed[i] = full
            else:
                at = state_of(slot, width)
                allowed[i] = decide(numbers, table, at, now, costs[i] if each_cost else one, True)[0]
        found, other = other, found


@inlined
def run_all(
    rule: Any,
    threshold: Any,
    decide: Any,
    state: Any,
    table: Any,
    hashes: Any,
    nows: Any,
    costs: Any,
    commit: Any,
    allowed: Any,
    fields: Any,
) -> None:
    """Do the same, and say what remains and how long to wait, in rows of ``fields`` (int64[3, n])."""
    state, table = borrowed(state), borrowed(table)
    numbers, buckets, width, n = rule(state), state[BUCKETS], state[WIDTH], U64(hashes.size)
    each_now, each_cost, full = U64(nows.size > 1), costs.size > 1, state[FULL] != U0
    one = costs[0] if costs.size else U1
    found, other = U64(table.size) - U64(2) * BLOCK, U64(table.size) - BLOCK
    look_up(table, buckets, width, hashes, U0, found)
    for lo in range(U0, n, BLOCK):
        look_up(table, buckets, width, hashes, lo + BLOCK, other)
        for i in range(lo, min(lo + BLOCK, n)):
            slot, now = table[found + i - lo], nows[i * each_now]
            if slot == NOWHERE or table[slot] != hashes[i]:
                dead = threshold(numbers, now)
                if commit:
                    slot = place(table, buckets, width, hashes[i], dead)
                elif free_slot(table, buckets, width, hashes[i], dead) != NOWHERE:
                    slot = buckets * bucket_words(width)  # behind the last bucket: zeros
                else:
                    slot = NOWHERE
            if slot == NOWHERE:
                allowed[i] = full
                fields[0, i], fields[1, i], fields[2, i] = without_place(state)
            else:
                at = state_of(slot, width)
                answer = decide(numbers, table, at, now, costs[i] if each_cost else one, commit)
                allowed[i], fields[0, i], fields[1, i], fields[2, i] = answer
        found, other = other, found


@inlined
def arguments_of(state: Any, arguments: Any, count: Any, names: Any) -> Any:
    """Read the arguments ``key, cost, now_ns``, of which the last two may lack, but for the key.

    Return whether they are plain, the cost and the time.
    """
    cost = U1
    if (names != U0) | (count == U0) | (count > U64(3)) | (state[BUSY] != U0):
        return False, U0, U0
    if state[CLOCK] != U64(CALLERS if count == U64(3) else OURS):
        return False, U0, U0
    if count > U1:
        given = key_of(arguments, 1)
        if (kind_of(given) != INT) | (word_of(given) > U64(MAX_COST)):
            return False, U0, U0
        cost = word_of(given)
    if count == U64(3):
        given = key_of(arguments, 2)
        if (kind_of(given) != INT) | (word_of(given) >= U64(MAX_TIME)):
            return False, U0, U0
        return True, cost, word_of(given)
    now = monotonic_ns()  # 0 if there is none to be read here
    return now != U0, cost, now + state[OFFSET]


@inlined
def hash_of(state: Any, key: Any) -> Any:
    """Hash a key of a known kind."""
    secret = state[KEY_LOW], state[KEY_HIGH]
    if kind_of(key) == INT:
        return siphash_word(word_of(key), secret, 1, 3)
    return siphash(text_of(key), U0, size_of(key), secret, 1, 3)


@inlined
def asked_alone(state: Any, arguments: Any, count: Any, names: Any) -> Any:
    """Read all of the arguments; return whether they are plain, the key's hash, cost and time."""
    plain, cost, now = arguments_of(state, arguments, count, names)
    if not plain:
        return False, U0, U0, U0
    key = key_of(arguments, 0)
    if kind_of(key) == NONE:
        return False, U0, U0, U0
    return True, hash_of(state, key), cost, now


@inlined
def alone(
    rule: Any,
    threshold: Any,
    decide: Any,
    state: Any,
    table: Any,
    arguments: Any,
    count: Any,
    names: Any,
) -> Any:
    """Answer ``allow(key, cost, now_ns)``: an object, or 0 if not here."""
    plain, h, cost, now = asked_alone(state, arguments, count, names)
    if not plain:
        return U0
    numbers = rule(state)
    slot = place(table, state[BUCKETS], state[WIDTH], h, threshold(numbers, now))
    if slot == NOWHERE:
        return as_bool(state[FULL] != U0)
    at = state_of(slot, state[WIDTH])
    return as_bool(decide(numbers, table, at, now, cost, True)[0])


@inlined
def told(
    rule: Any,
    threshold: Any,
    decide: Any,
    state: Any,
    table: Any,
    arguments: Any,
    count: Any,
    names: Any,
) -> Any:
    """Answer ``check(key, cost, now_ns)``: a tuple of a bool, what remains, and the times to wait."""
    plain, h, cost, now = asked_alone(state, arguments, count, names)
    if not plain:
        return U0
    numbers = rule(state)
    slot = place(table, state[BUCKETS], state[WIDTH], h, threshold(numbers, now))
    if slot == NOWHERE:
        return as_flag_and_numbers(state[FULL] != U0, without_place(state))
    at = state_of(slot, state[WIDTH])
    allowed, remaining, retry, reset = decide(numbers, table, at, now, cost, True)
    return as_flag_and_numbers(allowed, (remaining, retry, reset))
