"""What docs/choose-limiters.md says of other packages, found by running them by a clock of the tests' own.

A finding is held against the tables where the version is the one written there; of another version it is only
looked for, and the tables are to be brought up to date.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import limits.storage.memory
import limits.strategies
import pyrate_limiter
import pyrate_limiter.limiter
import pytest
import throttled
import throttled.store.memory
import token_bucket.storage
from helpers import ROOT, SMALL

from bench.peers import ratelimit

pytestmark = [
    pytest.mark.skipif(SMALL, reason="nothing of this library runs here"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
]
TEXT = (ROOT / "docs" / "choose-limiters.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([\w-]+)` ([\d.]+), ([\w ]+) \| ([\w |]+) \|$", re.MULTILINE)
NEAR = 0.001
"""Seconds within which a wait is right."""


class Clock:
    """The system's time and the monotonic clock, in nanoseconds; both go by the test."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.wall, self.steady = 1_800_000_000 * 10**9, 5_000 * 10**9

    def go(self, seconds: float) -> None:
        self.wall += round(seconds * 1e9)
        self.steady += round(seconds * 1e9)

    def time(self) -> float:
        return self.wall / 1e9

    def monotonic(self) -> float:
        return self.steady / 1e9

    def monotonic_ns(self) -> int:
        return self.steady


class Lock:
    """A lock that says so when somebody has to wait for it."""

    waits = threading.Event()

    def __init__(self, kind: Callable[[], Any] = threading.RLock) -> None:
        self.lock = kind()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self.lock.acquire(blocking=False):
            return True
        if not blocking:
            return False
        self.waits.set()
        return bool(self.lock.acquire(timeout=timeout))

    def release(self) -> None:
        self.lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Timer:
    """A timer that never goes off: what it would do is done when a test says so."""

    def __init__(self, interval: float, function: Callable[[], None]) -> None:
        self.interval, self.function = interval, function

    def start(self) -> None:
        pass

    def is_alive(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Put a clock, locks and timers of the tests' own in the place of each package's."""
    clock = Clock()
    times = SimpleNamespace(time=clock.time, monotonic=clock.monotonic)
    threads = SimpleNamespace(RLock=Lock, Lock=lambda: Lock(threading.Lock), Timer=Timer)
    for module in (limits.storage.memory, limits.strategies, throttled.utils, token_bucket.storage):
        monkeypatch.setattr(module, "time", times)
    for module in (limits.storage.memory, throttled.store.memory, throttled.throttled):
        monkeypatch.setattr(module, "threading", threads)
    monkeypatch.setattr(pyrate_limiter.clocks, "monotonic_ns", clock.monotonic_ns)
    for name in ("buckets.in_memory_bucket", "buckets.state_bucket", "limiter"):
        monkeypatch.setattr(sys.modules[f"pyrate_limiter.{name}"], "RLock", Lock)
    monkeypatch.setattr(ratelimit, "monotonic_ns", clock.monotonic_ns)
    return clock


# ---------------------------------------------------------------------------------------------------
# The packages, each as it is made by default


class Limits:
    """A strategy of limits."""

    package = "limits"

    def __init__(self, clock: Clock, kind: str, rate: int, period: int) -> None:
        self.clock = clock
        self.storage = limits.storage.MemoryStorage()
        self.item = limits.RateLimitItemPerSecond(rate, period)
        self.limiter: Any = limits.strategies.STRATEGIES[kind](self.storage)

    def ask(self, key: str, cost: int = 1) -> bool:
        return bool(self.limiter.hit(self.item, key, cost=cost))

    def wait(self, key: str, _cost: int = 1) -> float | None:
        """Return the seconds to wait that it tells; -1 is never, and ``None`` that it does not say."""
        return self.limiter.get_window_stats(self.item, key).reset_time - self.clock.time()

    def told_of_too_much(self, key: str, cost: int) -> str:
        del key, cost
        return "nothing"

    def left(self, key: str) -> float:
        return self.limiter.get_window_stats(self.item, key).remaining

    def reset(self, key: str) -> None:
        self.limiter.clear(self.item, key)

    def tidy(self) -> None:
        """Do what its thread does."""
        self.storage.timer.function()

    def __len__(self) -> int:
        return max(len(self.storage.storage), len(self.storage.events), len(self.storage.expirations))


class Throttled:
    """A limiter of throttled-py."""

    package = "throttled-py"

    def __init__(self, clock: Clock, kind: str, rate: int, period: int) -> None:
        del clock
        quota = throttled.per_duration(timedelta(seconds=period), rate, rate)
        self.store = throttled.MemoryStore()
        self.limiter = throttled.Throttled(using=kind, quota=quota, store=self.store)
        self.told: Any = None

    def ask(self, key: str, cost: int = 1) -> bool:
        self.told = self.limiter.limit(key, cost)
        return not self.told.limited

    def wait(self, _key: str, _cost: int = 1) -> float | None:
        return self.told.state.retry_after

    def told_of_too_much(self, key: str, cost: int) -> str:
        return "wait" if self.wait(key, cost) else "nothing"

    def left(self, key: str) -> float:
        return self.limiter.peek(key).remaining

    def tidy(self) -> None:
        pass

    def __len__(self) -> int:
        return len(self.store._backend.get_client())


class Pyrate:
    """Buckets of pyrate-limiter, a bucket for each key, asked as its Limiter asks them."""

    package = "pyrate-limiter"

    def __init__(self, clock: Clock, kind: str, rate: int, period: int) -> None:
        self.clock, self.kind, self.rate = clock, kind, rate
        self.rates = [pyrate_limiter.Rate(rate, 1000 * period)]
        self.buckets: dict[str, Any] = {}

    def bucket(self, key: str) -> Any:
        if key not in self.buckets:
            make = pyrate_limiter.InMemoryBucket if self.kind == "log" else pyrate_limiter.StateBucket
            self.buckets.setdefault(key, make(self.rates))
        return self.buckets[key]

    def ask(self, key: str, cost: int = 1) -> bool:
        bucket = self.bucket(key)
        return bool(bucket.put(pyrate_limiter.RateItem(key, bucket.now(), cost)))

    def wait(self, key: str, cost: int = 1) -> float | None:
        bucket = self.bucket(key)
        told = bucket.waiting(pyrate_limiter.RateItem(key, bucket.now(), cost))
        return told if told < 0 else told / 1000

    def told_of_too_much(self, key: str, cost: int) -> str:
        return "never" if self.wait(key, cost) == -1 else "wait"

    def left(self, key: str) -> float:
        return self.rate - self.bucket(key).count()

    def reset(self, key: str) -> None:
        self.bucket(key).flush()

    def tidy(self) -> None:
        for bucket in self.buckets.values():
            bucket.leak(bucket.now())

    def __len__(self) -> int:
        return len(self.buckets)


class TokenBucket:
    """A limiter of token_bucket."""

    package = "token_bucket"

    def __init__(self, clock: Clock, kind: str, rate: int, period: int) -> None:
        del clock, kind
        self.storage = token_bucket.MemoryStorage()
        self.limiter = token_bucket.Limiter(rate / period, rate, self.storage)

    def ask(self, key: str, cost: int = 1) -> bool:
        return self.limiter.consume(key, cost)

    def wait(self, _key: str, _cost: int = 1) -> float | None:
        return None

    def told_of_too_much(self, key: str, cost: int) -> str:
        del key, cost
        return "nothing"

    def left(self, key: str) -> float:
        return self.storage.get_token_count(key)

    def tidy(self) -> None:
        pass

    def __len__(self) -> int:
        return len(self.storage._buckets)


PEERS: dict[tuple[str, str], tuple[type[Any], str]] = {
    ("limits", "fixed window"): (Limits, "fixed-window"),
    ("limits", "moving window"): (Limits, "moving-window"),
    ("limits", "sliding window counter"): (Limits, "sliding-window-counter"),
    ("throttled-py", "fixed window"): (Throttled, "fixed_window"),
    ("throttled-py", "sliding window"): (Throttled, "sliding_window"),
    ("throttled-py", "token bucket"): (Throttled, "token_bucket"),
    ("throttled-py", "leaking bucket"): (Throttled, "leaking_bucket"),
    ("throttled-py", "GCRA"): (Throttled, "gcra"),
    ("pyrate-limiter", "log"): (Pyrate, "log"),
    ("pyrate-limiter", "GCRA"): (Pyrate, "state"),
    ("token_bucket", "token bucket"): (TokenBucket, ""),
}
TABLES: list[tuple[str, ...]] = ROW.findall(TEXT)
New = Callable[[int, int], Any]
"""Makes a peer of a rate and a period, with the clock where it was at first."""


def maker(which: tuple[str, str], clock: Clock) -> New:
    def new(rate: int, period: int) -> Any:
        clock.reset()
        return PEERS[which][0](clock, PEERS[which][1], rate, period)

    return new


@pytest.mark.parametrize("which", PEERS, ids=" ".join)
def test_what_is_said_of_a_package(which: tuple[str, str], clock: Clock) -> None:
    found = [finding(maker(which, clock), clock) for finding in FINDINGS]
    said = [
        cell.strip() for name, _, kind, cells in TABLES if (name, kind) == which for cell in cells.split("|")
    ]
    releases = {release for name, release, *_ in TABLES if name == which[0]}
    if {version(which[0])} == releases:
        assert said == found


def test_every_peer_is_in_both_tables() -> None:
    assert [(name, kind) for name, _, kind, _ in TABLES] == 2 * list(PEERS)


# ---------------------------------------------------------------------------------------------------
# What is found of each


def most_in_a_window(new: New, clock: Clock) -> str:
    """Ask for ten times what is allowed, and look for the shortest stretch in which it is exceeded."""
    most = 0
    for late, first in itertools.product((0, 2.5, 5, 9.5), (1, 10)):
        peer = new(10, 10)
        clock.go(late)
        passed = [clock.steady for _ in range(first) if peer.ask("a")]
        clock.go(9.4)
        for _ in range(60):
            passed += [clock.steady for _ in range(12) if peer.ask("a")]
            clock.go(0.2)
        most = max(most, *(sum(t <= other < t + 9.9e9 for other in passed) for t in passed))
    assert most in {10, 19, 20}
    return "L" if most == 10 else "2L"


def keeps_up_the_rate(new: New, clock: Clock) -> str:
    """Ask at nine tenths of a rate: all is to pass."""
    for rate, period in ((3, 1), (90, 60), (7, 86400), (1, 49), (7, 10), (100, 3600), (1000, 1)):
        peer = new(rate, period)
        for _ in range(max(600, 2 * rate)):
            if not peer.ask("a"):
                return "no"
            clock.go(period / rate / 0.9)
    return "yes"


def refused_costs_nothing(new: New, clock: Clock) -> str:
    """Ask as before, but not for what was refused: nothing else is to change."""
    for seed in range(60):
        rng = random.Random(seed)
        steps = [(rng.choice([0, 0.3, 1, 2.5, 4, 7]), rng.choice([1, 1, 2, 5, 9])) for _ in range(12)]
        runs: list[tuple[list[bool], int]] = []
        for _ in range(2):
            peer, passed = new(10, 10), []
            for i, (seconds, cost) in enumerate(steps):
                clock.go(seconds)
                passed.append((not runs or runs[0][0][i]) and peer.ask("a", cost))
            runs.append((passed, allowed(peer, 20)))
        if runs[0] != runs[1]:
            return "no"
    return "yes"


def lets_the_clock_step(new: New, clock: Clock) -> str:
    """Set the system's time an hour on, or back: nothing is to change."""
    runs = []
    for step in (0, 3600, -3600):
        peer, passed = new(10, 60), []
        for i in range(200):
            clock.wall += step * 10**9 * (i == 100)
            passed.append(peer.ask("a"))
            clock.go(1.3)
        runs.append(passed)
    return yes(runs[0] == runs[1] == runs[2])


def keeps_limits(new: New, clock: Clock) -> str:
    """Use up the one request an hour of a key, ask for many others, and ask again."""
    peer = new(1, 3600)
    assert allowed(peer, 2) == 1
    for i in range(3000):
        peer.ask(f"other {i}")
    clock.go(60)
    peer.tidy()
    return yes(not peer.ask("a"))


def holds_under_threads(new: New, clock: Clock) -> str:
    """Let a thread ask for the one request there is while another one is held up, wherever that can be."""
    for before in (None, 10.0, 20.0):

        def made(before: float | None = before) -> Any:
            peer = new(1, 10)
            if before is not None:
                assert peer.ask("a")
                clock.go(before)
            return peer

        if any(answers.count(True) > 1 for _, answers in interleaved(made, ask, ask)):
            return "no"
    return "yes"


def tells_to_wait(new: New, clock: Clock) -> str:
    """Wait as told: it is to be enough, and half of it is not."""
    found = set()
    for seed in range(150):

        def refused(seed: int = seed) -> tuple[Any, float | None]:
            rng = random.Random(seed)
            rate, period = rng.choice([(10, 10), (3, 1), (7, 60), (1, 49), (5, 3600)])
            peer = new(rate, period)
            clock.go(rng.random() * period)
            while peer.ask("a"):
                clock.go(rng.random() * period / rate)
            return peer, peer.wait("a")

        peer, told = refused()
        if told is None:
            found.add("none")
            continue
        clock.go(told + NEAR)
        if not peer.ask("a"):
            found.add("short")
        peer, told = refused()
        assert told is not None
        clock.go(told / 2)
        if told > 2 and peer.ask("a"):
            found.add("long")
    assert len(found) <= 1
    return found.pop() if found else "right"


def says_of_too_much(new: New, clock: Clock) -> str:
    """Ask for more than can ever be had at once: the answer is to be never."""
    peer = new(10, 10)
    assert not peer.ask("a", 11)
    told = peer.told_of_too_much("a", 11)
    clock.go(100)
    assert not peer.ask("a", 11)
    return str(told)


def can_look(new: New, clock: Clock) -> str:
    """Look at what is left, right after asking and much later."""
    peer = new(10, 10)
    assert allowed(peer, 4) == 4
    now = [peer.left("a"), peer.left("a")]
    clock.go(50)
    return yes([*now, peer.left("a")] == [6, 6, 10])


def can_forget(new: New, clock: Clock) -> str:
    """Let go of one key's state."""
    del clock
    peer = new(10, 10)
    if not hasattr(peer, "reset"):
        return "no"
    assert [allowed(peer, 20), allowed(peer, 20, "b")] == [10, 10]
    peer.reset("a")
    return yes([allowed(peer, 20), allowed(peer, 20, "b")] == [10, 0])


def lets_go_of_idle_keys(new: New, clock: Clock) -> str:
    """Ask for many keys once, and look for them long after."""
    peer = new(10, 10)
    for i in range(100):
        peer.ask(f"user {i}")
    clock.go(1000)
    peer.tidy()
    return yes(not len(peer))


FINDINGS = (
    most_in_a_window,
    keeps_up_the_rate,
    refused_costs_nothing,
    lets_the_clock_step,
    keeps_limits,
    holds_under_threads,
    tells_to_wait,
    says_of_too_much,
    can_look,
    can_forget,
    lets_go_of_idle_keys,
)
"""The columns of both tables, in their order."""


def yes(is_so: object) -> str:
    return "yes" if is_so else "no"


def allowed(peer: Any, times: int, key: str = "a") -> int:
    """Count how many of so many requests pass."""
    return sum(peer.ask(key) for _ in range(times))


def held_up(stop: int, first: Callable[[], Any], second: Callable[[], Any]) -> list[Any] | None:
    """Hold one thread up while another one does its part; return what both answer, or ``None``.

    Among the places where a thread can lose the GIL are the beginning of a function and the return of one in
    C. The first stands still at one of these, if it comes to so many, until the second is done or has to wait
    for a lock.
    """
    answers: list[Any] = []
    places = itertools.count()
    stopped, on, Lock.waits = threading.Event(), threading.Event(), threading.Event()

    def profile(_frame: object, event: str, _of: object) -> None:
        if event in {"call", "c_return"} and next(places) == stop:
            sys.setprofile(None)
            stopped.set()
            on.wait()

    def answer(ask: Callable[[], Any]) -> None:
        try:
            answers.append(ask())
        except KeyError as error:
            answers.append(error)

    def run_first() -> None:
        sys.setprofile(profile)
        answer(first)
        sys.setprofile(None)
        over.set()
        stopped.set()

    def run_second() -> None:
        answer(second)
        Lock.waits.set()

    over = threading.Event()
    threads = [threading.Thread(target=run) for run in (run_first, run_second)]
    threads[0].start()
    stopped.wait()
    reached = not over.is_set()
    if reached:
        threads[1].start()
        Lock.waits.wait()
        on.set()
        threads[1].join()
    threads[0].join()
    return answers if reached else None


def interleaved(made: Callable[[], Any], first: Callable[[Any], Any], second: Callable[[Any], Any]) -> Any:
    """Hold the first up wherever that can be, each time on a new peer; yield it, and what both answer."""
    for stop in itertools.count():
        peer = made()
        answers = held_up(stop, lambda peer=peer: first(peer), lambda peer=peer: second(peer))
        if answers is None:
            return
        yield peer, answers


def ask(peer: Any) -> Any:
    return peer.ask("a")


# ---------------------------------------------------------------------------------------------------
# What is said below the tables


@pytest.mark.parametrize("which", PEERS, ids=" ".join)
def test_what_holds_of_all(which: tuple[str, str], clock: Clock) -> None:
    """Buckets are full at first, keys are apart, and a fork has limits of its own."""
    peer = maker(which, clock)(10, 10)
    assert [allowed(peer, 20), allowed(peer, 20, "b")] == [10, 10]
    peer = maker(which, clock)(10, 10)
    child = os.fork()
    if child == 0:  # pragma: no cover - in the child
        os._exit(allowed(peer, 20))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 10
    assert allowed(peer, 20) == 10


def test_token_bucket_gives_back_what_others_took(clock: Clock) -> None:
    """A thread that is held up at the clock writes the tokens that there were before."""

    def made() -> Any:
        peer = maker(("token_bucket", "token bucket"), clock)(10, 10)
        peer.ask("b")
        return peer

    most = 0
    for peer, answers in interleaved(made, ask, lambda peer: allowed(peer, 10)):
        most = max(most, sum(answers) + allowed(peer, 10))
    assert most == 20


def test_the_thread_of_limits_can_meet_a_key_that_is_gone(clock: Clock) -> None:
    def made() -> Any:
        peer = maker(("limits", "fixed window"), clock)(10, 10)
        assert ask(peer)
        assert peer.ask("b")
        clock.go(20)
        return peer

    found = interleaved(made, lambda peer: peer.tidy(), lambda peer: peer.left("b"))
    assert any(isinstance(answer, KeyError) for _, answers in found for answer in answers)
    assert made().storage.timer.interval == 0.01


def test_limits_joins_what_makes_a_key(clock: Clock) -> None:
    peer = maker(("limits", "moving window"), clock)(1, 10)
    assert peer.limiter.hit(peer.item, "a", "b")
    assert not peer.limiter.hit(peer.item, "a/b")
    assert peer.limiter.hit(peer.item, "1")
    assert not peer.limiter.hit(peer.item, 1)


def test_limits_takes_back_from_a_fixed_window_by_its_storage(clock: Clock) -> None:
    peer = maker(("limits", "fixed window"), clock)(10, 10)
    assert allowed(peer, 10) == 10
    peer.storage.decr(peer.item.key_for("a"), 3)
    assert allowed(peer, 10) == 3


def test_limiters_of_throttled_share_the_keys_of_one_store(clock: Clock) -> None:
    del clock
    store = throttled.MemoryStore()
    few, many = (throttled.Throttled(quota=throttled.per_hour(n), store=store) for n in (2, 100))
    assert [many.limit("a").limited for _ in range(2)] == [False, False]
    many.limit("a", 97)
    assert few.limit("a").state.remaining == 0
    with pytest.raises(ZeroDivisionError):
        throttled.per_duration(timedelta(seconds=0.5), 1)


def test_a_limiter_of_pyrate_is_one_bucket_for_all_names(clock: Clock) -> None:
    limiter = pyrate_limiter.Limiter(
        pyrate_limiter.limiter.SingleBucketFactory(
            pyrate_limiter.InMemoryBucket([pyrate_limiter.Rate(1, 10_000)]), schedule_leak=False
        )
    )
    assert limiter.try_acquire("a", blocking=False)
    assert not limiter.try_acquire("b", blocking=False)


def test_pyrate_refuses_while_another_thread_asks(clock: Clock) -> None:
    """It does not wait for the lock that all keys share."""
    rates = [pyrate_limiter.Rate(10, 10_000)]

    def made() -> Any:
        bucket = pyrate_limiter.StateBucket(rates)
        return pyrate_limiter.Limiter(pyrate_limiter.limiter.SingleBucketFactory(bucket, schedule_leak=False))

    def acquire(limiter: Any) -> Any:
        return limiter.try_acquire("a", blocking=False)

    assert any(False in answers for _, answers in interleaved(made, acquire, acquire))


def test_pyrate_rounds_the_interval_to_microseconds(clock: Clock) -> None:
    """Of 700,000 requests a second 500,000 pass."""
    bucket = pyrate_limiter.StateBucket([pyrate_limiter.Rate(700_000, 1000, burst=2000)])
    passed = 0
    for _ in range(200):
        clock.go(0.001)
        passed += sum(bucket.put(pyrate_limiter.RateItem("a", bucket.now())) for _ in range(700))
    assert passed == 2000 + 199 * 500


# ---------------------------------------------------------------------------------------------------
# The bench's own


@pytest.mark.parametrize("entry", ratelimit.PEERS)
def test_what_the_bench_makes_of_them(entry: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit passes at once, keys are apart, and many are asked as one by one."""
    monkeypatch.setattr(pyrate_limiter.abstracts.bucket.Leaker, "start", lambda _: None)  # its thread
    many = ["a"] * 12 + ["b"] * 9
    want = [True] * 10 + [False] * 2 + [True] * 9
    for together in (False, True):
        made = entry().make(10, 10, 60)
        if entry is ratelimit.ClosureOfOne:
            many, want = ["a"] * 12, [True] * 10 + [False] * 2
        assert (made.allow_many(many) if together else [made.allow(key) for key in many]) == want
        clock.go(120)
        assert made.allow("a")


@pytest.mark.parametrize("entry", [ratelimit.Closure, ratelimit.ClosureOfOne])
def test_the_closures_are_gcra(entry: Any, clock: Clock) -> None:
    """Their answers are those of exact fractions, at any rate and burst, and under threads."""
    for rate, burst, period in (
        (10, 10, 10),
        (3, 1, 1),
        (3, 7, 1),
        (7, 3, 86400),
        (10**9, 5, 1),
        (999, 50, 7),
    ):
        rng = random.Random(rate)
        ask_one, ask_many = (entry().make(rate, burst, period) for _ in range(2))
        interval = Fraction(period * 10**9, rate)
        due: dict[str, Fraction] = {}
        for _ in range(300):
            keys = ["a"] if entry is ratelimit.ClosureOfOne else rng.choices("abc", k=3)
            want = []
            for key in keys:
                at = max(due.get(key, Fraction(0)), Fraction(clock.steady))
                want.append(at - clock.steady <= interval * (burst - 1))
                if want[-1]:
                    due[key] = at + interval
            assert [ask_one.allow(key) for key in keys] == want
            assert ask_many.allow_many(keys) == want
            clock.steady += rng.choice(
                [0, 1, int(interval), int(interval) + 1, int(rng.random() * 2 * interval)]
            )

    def made() -> Any:
        return SimpleNamespace(ask=entry().make(1, 1, 10).allow)

    assert all(answers.count(True) == 1 for _, answers in interleaved(made, ask, ask))
