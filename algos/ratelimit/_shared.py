"""Limiters in memory that processes share: one limit for all workers of a server, by compare-and-swap.

The state of a key is one word, and who changes it swaps it for the new one if it still is what was decided
on; else another process was faster, and one decides anew. Nobody waits for anybody, but for who takes a slot
for a new key: that is done by one process at a time in each of the table's stripes, which hold all places of
a key::

    memory    |  header, 64 words  |  locks of the stripes, a line each  |  buckets as in ``_table.py``  |

A slot changes hands in three steps: its word, which is dead, is swapped for ``TAKEN``; its key becomes the
new one; its word is set. Who finds a key reads the word first and then the key again, so a word swapped is
the key's. A lock has the number of its process: of one that died the next to wait lets go, and frees what it
took.

There is a rule as elsewhere, and two inlined functions of words::

    step(rule, word, now, cost)             allowed, and the word then
    tell(rule, word, now, cost, allowed)    remaining, retry after, reset after, with the word as it is then
"""

from __future__ import annotations

import math
import mmap
import os
import secrets
import sys
import time
import zlib
from abc import abstractmethod
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from algos._arguments import whole_numbers
from algos._bits import U64, borrowed, mulhi, popcount, prefetch_near, rotl, trailing_zeros
from algos._fastcall import as_bool, as_flag_and_numbers
from algos._jit import inlined, kernel
from algos._lanes import SLOTS, at_most, equal, least
from algos.ratelimit._atomic import read, swap, write
from algos.ratelimit._limiter import Limiter, check_capacity, check_when_full
from algos.ratelimit._loops import FULL, MAX_COST, OFFSET, OURS, OWN, asked_alone, without_place
from algos.ratelimit._table import ENOUGH, LOAD, NOWHERE

if TYPE_CHECKING:
    from collections.abc import Callable

_MAGIC = int.from_bytes(b"HOTPATHs", "little")
MAGIC, READY, SECRET, CREATED, RULE = 0, 1, 2, 4, 8
"""Words of the header: whose it is; whether it is complete; two of the secret; what is added to the monotonic
clock, and what that said when the memory was first used; and the numbers of the rule from ``RULE`` on."""
HEADER, LINE = 64, 8
STRIPES, PER_STRIPE, PROCESS, FIRST = OWN, OWN + 1, OWN + 2, OWN + 3
"""Words of the state: how many stripes, and buckets of each; the process; and where the variant's begin."""
MOST_STRIPES, BUCKETS_OF_A_STRIPE = 256, 64
TAKEN = U64(0xFFFF_FFFF_FFFF_FFFF)
"""The word of a slot that changes hands."""
SPINS = 2_000
PATIENCE_S = 10.0
U0, _HALF, _SLOTS, _BUCKET = U64(0), U64(32), U64(SLOTS), U64(2 * SLOTS)
DENIED, ALLOWED, FULL_UP, STUCK = range(4)
"""Answers; the third, that a new key has no place, the fourth, that somebody keeps what one needs."""


# ---------------------------------------------------------------------------------------------------
# The table


@inlined
def _stripe(state: Any, h: Any) -> Any:
    return mulhi(h, state[STRIPES])


@inlined
def _bases(state: Any, h: Any) -> Any:
    """Return where the two buckets of a key begin, both in its stripe."""
    stripes, per = state[STRIPES], state[PER_STRIPE]
    first = U64(HEADER) + stripes * U64(LINE) + mulhi(h, stripes) * per * _BUCKET
    within = h * stripes  # what the stripe does not tell
    return first + mulhi(within, per) * _BUCKET, first + mulhi(rotl(within, _HALF), per) * _BUCKET


@inlined
def find(state: Any, table: Any, h: Any) -> Any:
    """Return the slot of a key, or ``NOWHERE``."""
    base, other = _bases(state, h)
    found = equal(table, base, h)
    if found == U0:
        base, found = other, equal(table, other, h)
    return base + trailing_zeros(found) if found else NOWHERE


@inlined
def _take(state: Any, table: Any, h: Any, threshold: Any, word: Any) -> Any:
    """Give a key a slot with its first word, under the lock; tell whether there was one."""
    base, other = _bases(state, h)
    free = at_most(table, base + _SLOTS, threshold)
    if popcount(free) < ENOUGH:
        rest = at_most(table, other + _SLOTS, threshold)
        if popcount(rest) > popcount(free):
            base = other
    while True:
        slot = base + least(table, base + _SLOTS)
        old = read(table, slot + _SLOTS)
        if old > threshold:
            return False
        if swap(table, slot + _SLOTS, old, TAKEN):  # else its key was asked for meanwhile
            write(table, slot, h)
            write(table, slot + _SLOTS, word)
            return True


@inlined
def ask(rule: Any, step: Any, threshold: Any, state: Any, table: Any, h: Any, now: Any, cost: Any) -> Any:
    """Decide on a request and count it; return the answer and the word then."""
    numbers, lock = rule(state), U64(HEADER) + _stripe(state, h) * U64(LINE)
    for _ in range(SPINS):
        slot = find(state, table, h)
        if slot != NOWHERE:
            word = read(table, slot + _SLOTS)
            if word == TAKEN or read(table, slot) != h:
                continue
            allowed, then = step(numbers, word, now, cost)
            if not allowed:
                return DENIED, word
            if swap(table, slot + _SLOTS, word, then):
                return ALLOWED, then
            continue
        allowed, then = step(numbers, U0, now, cost)
        if not allowed:
            return DENIED, U0
        if not swap(table, lock, U0, state[PROCESS]):
            continue
        there = find(state, table, h) != NOWHERE  # another may have put it there
        placed = not there and _take(state, table, h, threshold(numbers, now), then)
        write(table, lock, U0)
        if placed:
            return ALLOWED, then
        if not there:
            return FULL_UP, U0
    return STUCK, U0


@inlined
def run_shared(
    rule: Any,
    step: Any,
    threshold: Any,
    tell: Any,
    state: Any,
    table: Any,
    hashes: Any,
    now: Any,
    costs: Any,
    commit: Any,
    allowed: Any,
    fields: Any,
    start: Any,
) -> Any:
    """Decide on requests from ``start`` on; return where it was stuck, or their number.

    What remains and how long to wait is said where ``fields`` (int64[3, n]) has room for it.
    """
    state, table, numbers, n = borrowed(state), borrowed(table), rule(state), U64(hashes.size)
    each, ahead, told = U64(costs.size > 1), U64(48), fields.size > 0
    for i in range(U64(start), n):
        h, cost = hashes[i], costs[i * each]
        if i + ahead < n:
            base, _ = _bases(state, hashes[i + ahead])
            prefetch_near(table, base)
            prefetch_near(table, base + _SLOTS)
        if commit:
            answer, word = ask(rule, step, threshold, state, table, h, now, cost)
            if answer == STUCK:
                return i
            if answer == FULL_UP:
                allowed[i] = state[FULL] != U0
                if told:
                    fields[0, i], fields[1, i], fields[2, i] = without_place(state)
                continue
            allowed[i] = answer == ALLOWED
        else:
            slot = find(state, table, h)
            word = read(table, slot + _SLOTS) if slot != NOWHERE else U0
            word = U0 if word == TAKEN else word
            allowed[i], then = step(numbers, word, now, cost)
            word = then if allowed[i] else word
        if told:
            fields[0, i], fields[1, i], fields[2, i] = tell(numbers, word, now, cost, allowed[i])
    return n


@inlined
def alone_shared(
    rule: Any, step: Any, threshold: Any, state: Any, table: Any, arguments: Any, count: Any, names: Any
) -> Any:
    """Answer ``allow(key, cost)``: an object, or 0 if not here."""
    plain, h, cost, now = asked_alone(state, arguments, count, names)
    if not plain:
        return U0
    answer, _ = ask(rule, step, threshold, state, table, h, now, cost)
    if answer == STUCK:
        return U0
    return as_bool((answer == ALLOWED) | ((answer == FULL_UP) & (state[FULL] != U0)))


@inlined
def told_shared(
    rule: Any,
    step: Any,
    threshold: Any,
    tell: Any,
    state: Any,
    table: Any,
    arguments: Any,
    count: Any,
    names: Any,
) -> Any:
    """Answer ``check(key, cost)``: a tuple of a bool, what remains, and the times to wait."""
    plain, h, cost, now = asked_alone(state, arguments, count, names)
    if not plain:
        return U0
    answer, word = ask(rule, step, threshold, state, table, h, now, cost)
    if answer == STUCK:
        return U0
    if answer == FULL_UP:
        return as_flag_and_numbers(state[FULL] != U0, without_place(state))
    return as_flag_and_numbers(answer == ALLOWED, tell(rule(state), word, now, cost, answer == ALLOWED))


@inlined
def give_back(rule: Any, less: Any, state: Any, table: Any, h: Any, now: Any, cost: Any) -> None:
    """Take a cost from what a key has used: ``less(rule, word, now, cost)`` is the word then."""
    for _ in range(SPINS):
        slot = find(state, table, h)
        if slot == NOWHERE:
            return
        word = read(table, slot + _SLOTS)
        if word == TAKEN or read(table, slot) != h:
            continue
        if swap(table, slot + _SLOTS, word, less(rule(state), word, now, cost)):
            return


@kernel
def _swap(table: Any, index: Any, old: Any, new: Any) -> Any:
    return swap(table, U64(index), U64(old), U64(new))


@kernel
def _read(table: Any, index: Any) -> Any:
    return read(table, U64(index))


@kernel
def _write(table: Any, index: Any, word: Any) -> None:
    write(table, U64(index), U64(word))


@kernel
def _let_go(state: Any, table: Any, h: Any) -> None:
    """Free what a process that is no more took in a key's stripe, and its lock."""
    stripe, per = _stripe(state, h), state[PER_STRIPE]
    first = U64(HEADER) + state[STRIPES] * U64(LINE) + stripe * per * _BUCKET
    for bucket in range(per):
        for slot in range(_SLOTS):
            swap(table, first + bucket * _BUCKET + _SLOTS + slot, TAKEN, U0)
    write(table, U64(HEADER) + stripe * U64(LINE), U0)


# ---------------------------------------------------------------------------------------------------
# The face


class SharedKernels(NamedTuple):
    """The compiled functions of a variant."""

    ask: Callable[..., Any]  # state, table, hashes, now, costs, commit, allowed, fields, start; to where
    give_back: Callable[..., None]  # state, table, hash, now, cost


class Shared(Limiter):
    """A limiter in memory that processes share."""

    __slots__ = ()
    _again: tuple[tuple[Any, ...], str]
    _memory: Any
    _shared: ClassVar[SharedKernels]

    @staticmethod
    def size_of(capacity: int) -> int:
        """Return how many bytes of memory so many keys need that are live at once."""
        buckets = math.ceil(check_capacity(capacity) / LOAD / SLOTS) + 1
        stripes = _stripes_of(buckets)
        return 8 * (HEADER + stripes * (LINE + math.ceil(buckets / stripes) * int(_BUCKET)))

    def _attach(self, memory: Any, when_full: Any, words: tuple[int, ...]) -> None:
        """Take memory, and make what is in it the first time; the words are those of the rule."""
        full = int(check_when_full(when_full) == "allow")
        table = _words_of(memory)
        stripes, per = _stripes_in(len(table))
        self._memory, self._table, self.when_full = memory, table, when_full
        self.capacity = int(stripes * per * SLOTS * LOAD)
        rule = (zlib.crc32(type(self).__name__.encode()), full, *words)
        if _swap(table, MAGIC, 0, _MAGIC):
            secret = secrets.randbits(128)
            offset = time.time_ns() - time.monotonic_ns()
            table[SECRET : SECRET + 2] = secret & (1 << 64) - 1, secret >> 64
            table[CREATED : CREATED + 2] = offset, time.monotonic_ns()
            table[RULE : RULE + len(rule)] = rule
            _write(table, READY, 1)
        self._wait_until_made()
        if tuple(map(int, table[RULE : RULE + len(rule)])) != rule:
            raise ValueError("the memory is a limiter's of another rule; all need the same arguments")
        wait = math.ceil(self.window_ns / self.limit)
        self._hold((OURS, self._offset() % 2**64, 0, 0, 0, 1, full, wait, stripes, per, os.getpid(), *words))
        self._use_secret(int(table[SECRET]) | int(table[SECRET + 1]) << 64)

    def _wait_until_made(self) -> None:
        until = time.monotonic() + PATIENCE_S
        if _read(self._table, MAGIC) != _MAGIC:
            raise ValueError("the memory is not zero and no limiter's: give memory of its own")
        while not _read(self._table, READY):
            if time.monotonic() > until:
                raise RuntimeError(f"who began with this memory did not end in {PATIENCE_S} s: make it anew")
            time.sleep(0.001)

    @abstractmethod
    def _offset(self) -> int:
        """Return what is added to the monotonic clock."""

    def _forked(self) -> None:
        super()._forked()
        self._state[PROCESS] = os.getpid()

    def _times(self, now_ns: Any, _n: int) -> Any:
        if now_ns is not None:
            raise ValueError("a shared limiter goes by the clock that all processes have: leave now_ns out")
        return np.array([(time.monotonic_ns() + int(self._state[OFFSET])) % 2**64], np.uint64)

    def _decide(self, hashes: Any, nows: Any, costs: Any, allowed: Any) -> None:
        self._explain(hashes, nows, costs, True, allowed, np.empty((3, 0), np.int64))

    def _explain(self, hashes: Any, nows: Any, costs: Any, count: bool, allowed: Any, numbers: Any) -> None:
        at, until = 0, time.monotonic() + PATIENCE_S
        given = self._state, self._table, hashes, nows[0], costs, count, allowed, numbers
        while (at := int(self._shared.ask(*given, at))) < len(hashes):
            self._wait_for(hashes[at], until)

    def _wait_for(self, h: Any, until: float) -> None:
        """Wait for who has taken a key's stripe; let go for one that died."""
        lock = HEADER + int(h) * int(self._state[STRIPES]) // 2**64 * LINE
        process = int(_read(self._table, lock))
        if process and not _is_alive(process):
            if _swap(self._table, lock, process, os.getpid()):
                _let_go(self._state, self._table, h)
        elif time.monotonic() > until:
            raise RuntimeError(f"process {process} keeps this memory locked for {PATIENCE_S} s: end it")
        else:
            time.sleep(0.0001)

    def reset(self, key: Any) -> None:
        """Forget a key: its next request is as its first."""
        self.refund(key, self.limit)

    def refund(self, key: Any, cost: int = 1, now_ns: int | None = None) -> None:
        """Give back what an allowed request of ``cost`` took, as if it had not been."""
        costs = whole_numbers("cost", cost, 1, MAX_COST)
        with self._alone():
            now = self._times(now_ns, 1)[0]
            self._shared.give_back(self._state, self._table, self._hash_of(key)[0], now, costs[0])

    def to_bytes(self) -> bytes:
        """Refuse: what is in memory is everybody's."""
        raise TypeError("a shared limiter has no bytes of its own: copy its memory")

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), self._memory, *self._again)


def _made_again(cls: Any, memory: Any, given: tuple[Any, ...], when_full: str) -> Any:
    return cls(memory, *given, when_full=when_full)


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # where there is no asking without ending it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _mapped(memory: Any) -> Any:
    """Map shared memory once more: while there are views of its own mapping it could not be closed."""
    if sys.platform == "win32":
        return mmap.mmap(-1, memory.size, tagname=memory.name)
    return mmap.mmap(memory._fd, memory.size)


def _words_of(memory: Any) -> Any:
    """View a ``SharedMemory``, or a writable buffer, as words."""
    try:
        view = memoryview(_mapped(memory) if isinstance(memory, SharedMemory) else memory).cast("B")
    except TypeError:
        raise TypeError(f"memory must be a SharedMemory or a buffer, not {type(memory).__name__}") from None
    if view.readonly:
        raise ValueError("memory is read-only; a limiter writes to it")
    words = np.frombuffer(view[: len(view) // 8 * 8], np.uint64)
    if words.ctypes.data % 64:
        raise ValueError("memory does not begin at a multiple of 64: take SharedMemory or mmap")
    return words


def _stripes_of(buckets: int) -> int:
    """Return how many stripes so many buckets make: a power of two."""
    return min(MOST_STRIPES, 1 << max(1, buckets // BUCKETS_OF_A_STRIPE).bit_length() - 1)


def _stripes_in(words: int) -> tuple[int, int]:
    """Return how many stripes there are in memory of so many words, and the buckets of each."""
    stripes = _stripes_of((words - HEADER - LINE) // int(_BUCKET))
    per = (words - HEADER - stripes * LINE) // (stripes * int(_BUCKET))
    if per < 2:
        raise ValueError(f"memory of {8 * words} bytes is too small: take size_of(capacity)")
    return stripes, per
