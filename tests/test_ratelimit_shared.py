"""Limiters that processes share: they decide as one process does, and together admit exactly the limit."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import rng, scaled

from algos._fastcall import WORKS
from algos.ratelimit import FixedWindow, Gcra, SharedFixedWindow, SharedGcra
from algos.ratelimit import _shared as shared

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = 10**9
compiled = pytest.mark.skipif(not WORKS, reason="interpreted, a swap is no atomic operation")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")


def memory(cls: Any, capacity: int = 1000) -> Any:
    return mmap.mmap(-1, cls.size_of(capacity))


PLANS: list[tuple[Any, Any, tuple[Any, ...]]] = [
    (SharedGcra, Gcra, (1, 5)),
    (SharedGcra, Gcra, (3, 7)),
    (SharedGcra, Gcra, (29, 100, 60)),
    (SharedFixedWindow, FixedWindow, (5, 1)),
    (SharedFixedWindow, FixedWindow, (100, 60)),
]
every_plan = pytest.mark.parametrize(
    ("cls", "alone", "given"), PLANS, ids=lambda x: getattr(x, "__name__", str(x))
)
both = pytest.mark.parametrize("cls", [SharedGcra, SharedFixedWindow])


def of(cls: Any, limit: int, capacity: int = 1000, **options: Any) -> Any:
    """Return a limiter to so many requests in a time that does not pass."""
    given = (1, limit, 10**4) if cls is SharedGcra else (limit, 10**9)
    return cls(memory(cls, capacity), *given, **options)


class Clock:
    """What the limiters' clock says instead of the system's."""

    def __init__(self, limiter: Any) -> None:
        self.now, self.zero = 0, int(limiter._state[shared.OFFSET])

    def monotonic_ns(self) -> int:
        return (self.now - self.zero) % 2**64

    def __getattr__(self, name: str) -> Any:
        return getattr(shared_time, name)


shared_time = shared.time


@every_plan
def test_decisions_are_those_of_one_process(
    cls: Any, alone: Any, given: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the same times, with all that is said of them; alone and in batches, looked at and refunded."""
    limiter, twin, random = cls(memory(cls), *given), alone(*given), rng(5)
    clock = Clock(limiter)
    monkeypatch.setattr(shared, "time", clock)
    now = 1000 * twin.window_ns
    for _ in range(scaled(300, 60)):
        now += int(random.integers(0, twin.window_ns // twin.limit * 3))
        clock.now = now
        key, cost = f"key {random.integers(0, 4)}", int(random.choice([0, 1, 2, twin.limit, twin.limit + 1]))
        assert limiter.peek(key, cost) == twin.peek(key, cost, now)
        assert limiter._check_one(key, cost) == twin._check_one(key, cost, now)
        keys, costs = [f"key {i}" for i in random.integers(0, 4, 9)], random.integers(0, 4, 9)
        found, want = (
            limiter.allow_many(keys, cost=costs, fields="all"),
            twin.allow_many(keys, now, costs, "all"),
        )
        assert [column.tolist() for column in (found.allowed, *found[2:])] == [
            column.tolist() for column in (want.allowed, *want[2:])
        ]
        limiter.refund(key, 1)
        twin.refund(key, 1, now)


@both
def test_one_by_one(cls: Any) -> None:
    limiter = of(cls, 5)
    assert [limiter.allow("a"), limiter.allow("a", 2), limiter.allow("a", cost=3)] == [True, True, False]
    assert limiter.check("a")[:3] == (True, 5, 1)
    assert limiter.allow_many(["a", "a", "b"]).allowed.tolist() == [True, False, True]
    refused = limiter.check("a")
    assert refused.retry_after_ns > 0
    assert limiter.check("a", 6).retry_after_ns == -1
    assert int(limiter.headers(refused)["Retry-After"]) > 0
    limiter.reset("a")
    assert limiter.peek("a", 0).remaining == 5
    for key in (0, -1, 2**63, 2**64 - 1, b"a", "ä" * 40, 1.5):
        assert limiter.allow_many([key] * 6).allowed.tolist() == [key != 2**64 - 1] * 5 + [False]
        assert not limiter.allow(key)


@both
def test_wrong_arguments(cls: Any) -> None:
    given: tuple[Any, ...] = (1, 1)
    small, readonly = bytearray(64), bytes(cls.size_of(1000))
    other = memory(cls)
    other[:8] = b"nobody's"
    cases: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: cls(small, *given), ValueError, "too small|multiple of 64"),
        (lambda: cls(readonly, *given), ValueError, "read-only"),
        (lambda: cls("name", *given), TypeError, "SharedMemory"),
        (lambda: cls(other, *given), ValueError, "no limiter's"),
        (lambda: cls(memory(cls), *given, when_full="no"), ValueError, "when_full='no'"),
        (lambda: cls.size_of(0), ValueError, "capacity=0"),
        (lambda: of(cls, 1).allow("a", 1, 5), ValueError, "leave now_ns out"),
        (lambda: of(cls, 1).allow_many(["a"], 5), ValueError, "leave now_ns out"),
        (lambda: of(cls, 1).allow("a", -1), ValueError, "cost has -1"),
        (lambda: of(cls, 1).allow(None), ValueError, "null"),
        (lambda: of(cls, 1).to_bytes(), TypeError, "copy its memory"),
        (lambda: SharedGcra(memory(cls), 999, 1), ValueError, "round the rate"),
    ]
    for call, kind, said in cases:
        with pytest.raises(kind, match=said):
            call()


@both
def test_who_comes_second_must_agree(cls: Any) -> None:
    memory_ = memory(cls)
    first = cls(memory_, 3, 5)
    assert first.allow("a")
    second = cls(memory_, 3, 5)
    assert second.peek("a", 0).remaining == first.peek("a", 0).remaining < second.limit
    for given, options in (((3, 6), {}), ((2, 5), {}), ((3, 5), {"when_full": "allow"})):
        with pytest.raises(ValueError, match="same arguments"):
            cls(memory_, *given, **options)
    other = SharedFixedWindow if cls is SharedGcra else SharedGcra
    with pytest.raises(ValueError, match="another rule"):
        other(memory_, 3, 5)


@both
@pytest.mark.parametrize("policy", ["deny", "allow"])
def test_a_full_table(cls: Any, policy: Any) -> None:
    """Keys without a place are told what was said, for a while; no live limit is forgotten for them."""
    limiter, keys = of(cls, 1, 100, when_full=policy), np.arange(3000)
    places = (len(limiter._table) - shared.HEADER) // 2
    first, again = limiter.allow_many(keys).allowed, limiter.allow_many(keys, fields="all")
    placed = int(np.sum(~again.allowed)) if policy == "allow" else int(first.sum())
    assert limiter.capacity <= placed <= places
    if policy == "deny":
        assert not again.allowed.any()
        assert (again.retry_after_ns > 0).all()
    nobody = int(keys[~first][0]) if policy == "deny" else int(keys[again.allowed][0])
    assert limiter.allow(nobody) is limiter.peek(nobody).allowed is (policy == "allow") or policy == "deny"


@compiled
@both
def test_threads_share_a_limit(cls: Any) -> None:
    """Alone and in batches, by two limiters at one memory: exactly the limit is allowed."""
    limit, size = scaled(20_000, 60), memory(cls)
    given = (1, limit, 10**4) if cls is SharedGcra else (limit, 10**9)
    limiters = [cls(size, *given) for _ in range(2)]

    def work(i: int) -> int:
        limiter = limiters[i % 2]
        count = sum(limiter.allow("a") for _ in range(limit // 10))
        return count + int(limiter.allow_many(["a"] * (limit // 10 + i)).allowed.sum())

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(work, range(12))) == limit


def children(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run ``work`` in forked children at once; return their answers."""
    pipes = [os.pipe() for _ in range(count)]
    for number, (_, end) in enumerate(pipes):
        if not os.fork():
            status = 1
            try:
                with open(end, "wb") as file:  # noqa: PTH123 - a descriptor
                    file.write(pickle.dumps(work(number)))
                status = 0
            finally:
                os._exit(status)
    answers = []
    for begin, end in pipes:
        os.close(end)
        with open(begin, "rb") as file:  # noqa: PTH123 - a descriptor
            answers.append(pickle.loads(file.read()))
    for _ in pipes:
        assert os.wait()[1] == 0
    return answers


@compiled
@forks
@both
def test_eight_processes_admit_exactly_the_limit(cls: Any) -> None:
    limit = 100_000
    limiter = of(cls, limit)
    limiter.allow("warm"), limiter.allow_many(["warm"])

    def work(_: int) -> int:
        alone = sum(limiter.allow("k") for _ in range(limit // 8))
        return alone + int(limiter.allow_many(["k"] * (limit // 8)).allowed.sum())

    assert sum(children(8, work)) == limit
    assert not limiter.allow("k")


@compiled
@forks
@both
def test_eight_processes_bring_the_same_keys(cls: Any) -> None:
    """In orders of their own, into a table that they fill: each key has one place, and its limit."""
    keys = 2000
    limiter = of(cls, 3, keys)
    limiter.allow("warm"), limiter.allow_many(["warm"])

    def work(number: int) -> Any:
        admitted = np.zeros(keys, np.int64)
        for round_ in range(2):
            order = rng(8 * round_ + number).permutation(keys)
            if number % 2:
                admitted[order] += limiter.allow_many(order).allowed
            else:
                admitted[order] += [limiter.allow(key) for key in order.tolist()]
        return admitted

    assert (sum(children(8, work)) == 3).all()


@compiled
@both
def test_processes_of_their_own_take_it_by_name(cls: Any) -> None:
    """Spawned, with a limiter that was pickled."""
    memory_ = SharedMemory(create=True, size=cls.size_of(1000))
    try:
        limiter = cls(memory_, *((1, 50, 10**4) if cls is SharedGcra else (50, 10**9)))
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            assert sum(pool.map(limiter.allow, ["k"] * 80, chunksize=40)) == 50
        assert not limiter.allow("k")
        memory_.close()
        assert not limiter.allow("k")  # it has a mapping of its own
    finally:
        memory_.close()
        memory_.unlink()


def dead_process() -> int:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


@forks
@both
def test_of_a_process_that_died_nothing_stays_locked(cls: Any) -> None:
    """Whoever waits next lets its lock go, and frees the slot that it was about to fill."""
    limiter = of(cls, 2)
    assert limiter.allow("a")
    for lock in range(int(limiter._state[shared.STRIPES])):
        limiter._table[shared.HEADER + lock * shared.LINE] = dead_process()
    slot = int(np.flatnonzero(limiter._table == limiter._hash_of("a")[0])[0])
    empty = next(at for at in range(slot // 16 * 16, slot // 16 * 16 + 8) if not limiter._table[at])
    limiter._table[empty + 8] = shared.TAKEN
    assert limiter.allow_many([f"new {i}" for i in range(20)] + ["a", "a"]).allowed.tolist() == [
        True
    ] * 21 + [False]
    assert limiter._table[empty + 8] != shared.TAKEN
    assert limiter.allow("newer")


@forks
@both
def test_of_a_process_that_lives_the_lock_is_waited_for(cls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "PATIENCE_S", 0.05)
    limiter = of(cls, 2)
    limiter._table[shared.HEADER :: shared.LINE][: int(limiter._state[shared.STRIPES])] = os.getpid()
    with pytest.raises(RuntimeError, match=f"process {os.getpid()} keeps"):
        limiter.allow("a")


@both
def test_who_began_and_did_not_end(cls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "PATIENCE_S", 0.05)
    memory_ = memory(cls)
    cls(memory_, 1, 1)
    memory_[8:16] = bytes(8)
    with pytest.raises(RuntimeError, match="make it anew"):
        cls(memory_, 1, 1)


@both
def test_forked_children_lock_by_their_own_number(cls: Any) -> None:
    limiter = of(cls, 2)
    limiter._state[shared.PROCESS] = 1
    limiter._forked()
    assert limiter._state[shared.PROCESS] == os.getpid()
    assert limiter.capacity >= 1000
    assert sys.getsizeof(limiter) < 1000
