"""Rate limiters: exact by twins in fractions, alone as in batches, in any order, whatever the clock does."""

from __future__ import annotations

import math
import os
import pickle
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import timedelta
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import rng, scaled
from hypothesis import given
from hypothesis import strategies as st

from algos.errors import CorruptDataError
from algos.ratelimit import (
    VARIANTS,
    ConcurrencyLimiter,
    Decision,
    FixedWindow,
    Gcra,
    LeakyBucket,
    MultiTier,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
)
from algos.ratelimit._loops import CLOCK, OURS
from algos.ratelimit._table import SLOTS

SECOND = 10**9
NEVER = -1


# ---------------------------------------------------------------------------------------------------
# Twins: the rules as they are worded, in fractions


class GcraTwin:
    """Virtual scheduling; what token bucket and leaky bucket must equal."""

    def __init__(self, rate: Any, burst: int, period: Any = 1) -> None:
        self.each = Fraction(period) * SECOND / Fraction(rate)
        self.burst, self.tats = burst, dict[Any, Fraction]()

    def __call__(self, key: Any, cost: int, now: int) -> tuple[bool, int, int, int]:
        most, tat = self.burst * self.each, self.tats.get(key, Fraction(0))
        now = max(now, math.ceil(tat - most))
        tat = max(tat, Fraction(now))
        after = tat + cost * self.each
        allowed = after - now <= most
        if allowed:
            self.tats[key] = tat = after
        retry = 0 if allowed else math.ceil(after - most - now) if cost <= self.burst else NEVER
        return allowed, self.burst - math.ceil((tat - now) / self.each), retry, math.ceil(tat - now)


class FixedTwin:
    def __init__(self, limit: int, period: Any) -> None:
        self.limit, self.period, self.held = (
            limit,
            int(Fraction(period) * SECOND),
            dict[Any, tuple[int, int]](),
        )

    def __call__(self, key: Any, cost: int, now: int) -> tuple[bool, int, int, int]:
        window, count = self.held.get(key, (0, 0))
        if window < now // self.period:
            window, count = now // self.period, 0
        end = (window + 1) * self.period - now
        allowed = count + cost <= self.limit
        if allowed:
            count += cost
            self.held[key] = window, count
        retry = 0 if allowed else end if cost <= self.limit else NEVER
        return allowed, self.limit - count, retry, end if count else 0


class LogTwin:
    def __init__(self, limit: int, period: Any) -> None:
        self.limit, self.period, self.held = limit, int(Fraction(period) * SECOND), dict[Any, list[int]]()

    def __call__(self, key: Any, cost: int, now: int) -> tuple[bool, int, int, int]:
        log = self.held.get(key, [])
        now = max([now, *log[-1:]])
        log = [at for at in log if at > now - self.period]
        allowed, retry = len(log) + cost <= self.limit, 0
        if not allowed:
            retry = NEVER if cost > self.limit else log[len(log) + cost - self.limit - 1] + self.period - now
        else:
            log = log + [now] * cost
            if cost:
                self.held[key] = log
        return allowed, self.limit - len(log), retry, log[-1] + self.period - now if log else 0


class CounterTwin:
    def __init__(self, limit: int, period: Any) -> None:
        self.limit, self.period = limit, int(Fraction(period) * SECOND)
        self.held = dict[Any, tuple[int, int, int]]()

    def __call__(self, key: Any, cost: int, now: int) -> tuple[bool, int, int, int]:
        window, last, current = self.held.get(key, (-9, 0, 0))
        k = now // self.period
        if window > k:
            now, k = window * self.period, window
        if window < k:
            window, last, current = k, current if window == k - 1 else 0, 0
        weight = last * Fraction((k + 1) * self.period - now, self.period) + current
        allowed, retry = weight + cost <= self.limit, 0
        if allowed:
            current, weight = current + cost, weight + cost
            self.held[key] = window, last, current
        elif cost > self.limit:
            retry = NEVER
        else:
            retry = self.wait(last, current, k, cost) - now
        reset = (k + 2) * self.period - now if current else (k + 1) * self.period - now if last else 0
        return allowed, max(0, math.floor(self.limit - weight)), retry, reset

    def wait(self, last: int, current: int, k: int, cost: int) -> int:
        if current + cost > self.limit:
            last, current, k = current, 0, k + 1
        room = self.limit - current - cost
        if last <= room:
            return k * self.period
        return (k + 1) * self.period - math.floor(Fraction(room * self.period, last))


class TiersTwin:
    """A GCRA for each tier, asked together; the clock of a live key does not go back."""

    def __init__(self, tiers: Any) -> None:
        self.tiers = [(Fraction(period) * SECOND / Fraction(rate), burst) for rate, burst, period in tiers]
        self.held = dict[Any, tuple[int, list[Fraction]]]()

    def __call__(self, key: Any, cost: int, now: int) -> tuple[bool, int, int, int]:
        then, tats = self.held.get(key, (0, [Fraction(0)] * len(self.tiers)))
        if max(tats) > now:
            now = max(now, then)
        tats = [max(tat, Fraction(now)) for tat in tats]
        over = [tat + cost * t - now - burst * t for tat, (t, burst) in zip(tats, self.tiers, strict=True)]
        allowed = max(over) <= 0
        if allowed:
            tats = [tat + cost * t for tat, (t, _) in zip(tats, self.tiers, strict=True)]
            self.held[key] = now, tats
        retry = 0 if allowed else math.ceil(max(over))
        if any(cost > burst for _, burst in self.tiers):
            retry = NEVER
        left = [burst - math.ceil((tat - now) / t) for tat, (t, burst) in zip(tats, self.tiers, strict=True)]
        return allowed, min(left), retry, math.ceil(max(tats) - now)


class ConcurrencyTwin:
    def __init__(self, limit: int, lease: Any) -> None:
        self.limit, self.lease, self.held = limit, int(Fraction(lease) * SECOND), dict[Any, tuple[int, int]]()

    def __call__(self, key: Any, cost: int, now: int) -> tuple[bool, int, int, int]:
        ends, count = self.held.get(key, (0, 0))
        if ends <= now:
            count = 0
        allowed = count + cost <= self.limit
        if allowed:
            count += cost
            ends = max(ends, now + self.lease) if count else ends
            self.held[key] = ends, count
        retry = 0 if allowed else ends - now if cost <= self.limit else NEVER
        return allowed, self.limit - count, retry, ends - now if count else 0


BUCKETS = (Gcra, TokenBucket, LeakyBucket)
WINDOWS = {
    FixedWindow: FixedTwin,
    SlidingLog: LogTwin,
    SlidingCounter: CounterTwin,
    ConcurrencyLimiter: ConcurrencyTwin,
}
TIERS: list[list[tuple[Any, int, Any]]] = [
    [(3, 5, 1)],
    [(3, 5, 1), (100, 20, 60)],
    [(7, 3, 1), (1000, 50, 86_400), (Fraction(22, 7), 4, Fraction(1, 1000))],
]
RATES: list[tuple[Any, int, Any]] = [
    (1, 1, 1),
    (3, 5, 1),
    (7, 3, 86_400),
    (10**9, 2**20, 1),
    (Fraction(1, 3), 2, 1),
    (Fraction(22, 7), 4, Fraction(1, 1000)),
    (999_983, 7, 60),
    (1, 2**30, Fraction(1, 10**9)),
]
LIMITS: list[tuple[int, Any]] = [
    (1, 1),
    (3, 1),
    (100, 60),
    (5, Fraction(1, 1000)),
    (7, 86_400),
    (2, Fraction(1, 10**9)),
]
NAMES = [variant.name for variant in VARIANTS if not variant.name.startswith(("Shared", "Hierarchical"))]
KEYED = [name for name in NAMES if name != "CountMinLimiter"]  # that know each key


def makers() -> list[Any]:
    """Return what makes a limiter and its twin, for every rule and every plan."""
    plans: list[tuple[Any, Any, tuple[Any, ...]]] = [
        *((cls, GcraTwin, rate) for cls in BUCKETS for rate in RATES),
        *((cls, twin, limit) for cls, twin in WINDOWS.items() for limit in LIMITS),
        *((MultiTier, TiersTwin, (tiers,)) for tiers in TIERS),
    ]

    def both(cls: Any, twin: Any, given: Any) -> tuple[Any, Any]:
        return cls(*given), twin(*given)

    return [
        pytest.param(partial(both, *plan), id=f"{plan[0].__name__}-{'-'.join(map(str, plan[2]))}")
        for plan in plans
    ]


def example(name: str, limit: int, **options: Any) -> Any:
    """Return a limiter of that name to so many requests an hour or a day."""
    (cls,) = [variant.load() for variant in VARIANTS if variant.name == name]
    if cls is MultiTier:
        return cls([(limit, limit, 86_400), (10 * limit, 10 * limit, 1)], **options)
    return cls(1, limit, 3600, **options) if cls in BUCKETS else cls(limit, 24 * 3600, **options)


every_limiter = pytest.mark.parametrize("make", makers())


def requests(seed: int, n: int, step: int, most: int, *, back: bool = False) -> list[tuple[str, int, int]]:
    """Return keys, costs and times: bursts, gaps, equal times, and steps back where asked for."""
    random, now, made = rng(seed), 10**15 + 7 * seed, []
    for _ in range(n):
        kind = random.integers(0, 10)
        if kind < 6:
            now += int(random.integers(0, max(2, step)))
        elif kind == 6:
            now += int(random.integers(0, 20 * step + 2))
        elif kind == 7 and back:
            now -= int(random.integers(0, 3 * step + 2))
        cost = int(random.choice([0, 1, 1, 1, 2, most, most + 1]))
        made.append((f"key {random.integers(0, 3)}", cost, now))
    return made


def pace(limiter: Any) -> tuple[int, int]:
    """Return the mean time between requests at the limit, in nanoseconds, and the limit."""
    return max(1, limiter.window_ns // limiter.limit), limiter.limit


@every_limiter
@pytest.mark.parametrize("back", [False, True])
def test_decisions_are_the_twins(make: Any, back: bool) -> None:
    """Alone, with all that is said of them."""
    for seed in range(scaled(4, 1)):
        limiter, twin = make()
        step, most = pace(limiter)
        for key, cost, now in requests(seed, scaled(400, 60), step, most, back=back):
            want = twin(key, cost, now)
            got = limiter.check(key, cost, now)
            assert (got.allowed, *got[2:]) == want, (key, cost, now)
            assert got.limit == most


@every_limiter
def test_batches_are_the_same_requests(make: Any) -> None:
    """In batches of any size, alone by ``allow``, and in one go: the same decisions, and the same tables."""
    asked = requests(9, scaled(3000, 120), *pace(make()[0]), back=True)
    keys, costs, nows = ([request[i] for request in asked] for i in range(3))
    limiter, twin = make()
    want = [twin(*request) for request in asked]
    alone = [limiter.allow(*request) for request in asked]
    assert alone == [each[0] for each in want]
    for fields in ("allowed", "all"):
        whole, _ = make()
        got = whole.allow_many(keys, np.array(nows), np.array(costs), fields)
        assert got.allowed.tolist() == alone
        if fields == "all":
            numbers = np.column_stack([got.remaining, got.retry_after_ns, got.reset_after_ns])
            assert numbers.tolist() == [list(each[1:]) for each in want]
        parts, _ = make()
        cuts = [0, 1, 3, 3, 10, 50, len(keys)]
        found: list[bool] = []
        for lo, hi in pairwise(cuts):
            part = parts.allow_many(
                pa.array(keys[lo:hi], pa.string()),
                np.array(nows[lo:hi], int),
                np.array(costs[lo:hi], int),
                fields,
            )
            found += part.allowed.tolist()
        assert found == alone


@given(
    st.integers(1, 10**6),
    st.integers(1, 50),
    st.fractions(Fraction(1, 10**6), 10**6),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(-(10**9), 10**10)), max_size=60),
)
def test_gcra_is_the_token_bucket(rate: int, burst: int, period: Fraction, steps: Any) -> None:
    """Decision for decision, in exact rationals, whatever the clock does; so is the leaky bucket."""
    try:
        limiters = [cls(rate, burst, period) for cls in BUCKETS]
    except ValueError:
        return  # finer than 2^-32 ns
    twin, now = GcraTwin(rate, burst, period), 10**18
    for key, cost, step in steps:
        now += step
        want = twin(key, cost, now)
        for limiter in limiters:
            got = limiter.check(key, cost, now)
            assert (got.allowed, *got[2:]) == want


# ---------------------------------------------------------------------------------------------------
# Bounds that hold in any window


def admitted(limiter: Any, seed: int) -> list[int]:
    """Return the times of a greedy client's requests that were allowed."""
    step, _ = pace(limiter)
    random, now, times = rng(seed), 10**15, []
    for _ in range(scaled(3000, 150)):
        now += int(random.choice([0, 1, step // 3, step, 7 * step]))
        if limiter.allow("greedy", 1, now):
            times.append(now)
    return times


def most_in(times: list[int], window: int, *, closed: bool) -> int:
    """Return the most requests in any window of a length, half open or closed."""
    most, lo = 0, 0
    for hi, at in enumerate(times):
        while times[lo] < at - window if closed else times[lo] <= at - window:
            lo += 1
        most = max(most, hi - lo + 1)
    return most


@pytest.mark.parametrize("seed", range(5))
def test_bounds_in_any_window(seed: int) -> None:
    for limit, period in ((1, 1), (5, 1), (30, 10)):
        window = period * SECOND
        assert most_in(admitted(SlidingLog(limit, period), seed), window, closed=False) <= limit
        for cls in (FixedWindow, SlidingCounter):
            assert most_in(admitted(cls(limit, period), seed), window, closed=False) <= 2 * limit
        for cls in BUCKETS:
            times = admitted(cls(limit, limit, period), seed)
            each = window // limit
            for length in (each, 2 * each + 1, window, 3 * window):
                assert most_in(times, length, closed=True) <= limit + length // each


def test_the_double_burst_of_fixed_windows() -> None:
    """At the end of a window and the beginning of the next: the bound is met."""
    limiter = FixedWindow(10, 60)
    now = 60 * SECOND * 1000
    assert [limiter.allow("a", 1, now - 1) for _ in range(11)] == [True] * 10 + [False]
    assert [limiter.allow("a", 1, now) for _ in range(11)] == [True] * 10 + [False]


def test_an_idle_key_refused_reports_nothing_negative() -> None:
    for limiter in (
        Gcra(1, 5),
        TokenBucket(1, 5),
        LeakyBucket(1, 5),
        FixedWindow(5, 1),
        SlidingLog(5, 1),
        SlidingCounter(5, 1),
    ):
        limiter.allow("a", 1, 10**18)
        assert limiter.check("a", 6, 10**18 + 10**15) == Decision(False, 5, 5, NEVER, 0)
        assert limiter.check("new", 6, 10**18 + 10**15) == Decision(False, 5, 5, NEVER, 0)


# ---------------------------------------------------------------------------------------------------
# Peek, reset, refund


@every_limiter
def test_peeking_changes_nothing(make: Any) -> None:
    limiter, _ = make()
    step, most = pace(limiter)
    for key, cost, now in requests(4, scaled(300, 40), step, most):
        seen = limiter.peek(key, cost, now)
        assert limiter.peek(key, cost, now) == seen
        assert limiter.check(key, cost, now) == seen


@every_limiter
def test_reset_forgets(make: Any) -> None:
    limiter, _ = make()
    now, most = 10**15, limiter.limit
    first = limiter.check("a", most, now)
    assert first.allowed
    assert not limiter.allow("a", 1, now)
    limiter.reset("a")
    limiter.reset("nobody")
    assert limiter.check("a", most, now) == first


@every_limiter
def test_refund_takes_back(make: Any) -> None:
    """What is refunded can be had again, and no more than that."""
    limiter, _ = make()
    now, most = 10**15, limiter.limit
    assert limiter.allow("a", most, now)
    limiter.refund("a", 1, now)
    limiter.refund("nobody", 1, now)
    assert limiter.peek("a", 0, now).remaining == 1
    assert [limiter.allow("a", 1, now) for _ in range(2)] == [True, False]
    limiter.refund("a", most, now)
    limiter.refund("a", most, now)
    assert limiter.peek("a", 0, now).remaining == most


# ---------------------------------------------------------------------------------------------------
# Tables


@pytest.mark.parametrize("cls", [Gcra, FixedWindow])
def test_a_table_of_many_keys_that_come_and_go(cls: Any) -> None:
    """Ten million keys through a million places, of which one in a hundred is live: none of these is lost."""
    capacity, n = scaled(1_000_000, 500), scaled(10_000_000, 3000)
    limiter = cls(1, 1, capacity=capacity)
    size, live = limiter.nbytes, capacity // 100
    nows = 10**18 + np.arange(n) * (SECOND // live)
    for lo in range(0, n, 1_000_000):
        part = nows[lo : lo + 1_000_000]
        keys = np.arange(lo, lo + len(part))
        assert limiter.allow_many(keys, part).allowed.all()
        last = keys[-live // 2 :] if len(keys) > live // 2 else keys
        at = np.full(len(last), part[-1])
        again = limiter.allow_many(last, at)
        if cls is Gcra:
            assert not again.allowed.any()
    assert limiter.nbytes == size


@pytest.mark.parametrize("policy", ["deny", "allow"])
def test_a_full_table(policy: Any) -> None:
    """Keys without a place are denied or allowed as was said; no live limit is forgotten for them."""
    limiter = Gcra(1, 1, 3600, capacity=100, when_full=policy)
    now, keys = 10**18, np.arange(5000)
    first = limiter.allow_many(keys, now).allowed
    again = limiter.allow_many(keys, now).allowed
    placed = limiter._table.size // (2 * SLOTS) * SLOTS
    assert (again == (policy == "allow")).sum() >= len(keys) - placed
    if policy == "deny":
        assert first.sum() <= placed
        assert not again.any()
        outside = int(keys[~first][0])
        refused = limiter.check(outside, 1, now)
        assert refused == limiter.peek(outside, 1, now) == limiter.check(outside, cost=1, now_ns=now)
        assert refused.retry_after_ns == 3600 * SECOND
        assert limiter.headers(refused)["Retry-After"] == "3600"
    later = limiter.allow_many(keys, now + 3600 * SECOND).allowed
    assert later.sum() >= first.sum() if policy == "deny" else later.all()


@pytest.mark.parametrize("cls", [Gcra, FixedWindow])
def test_a_table_holds_its_capacity(cls: Any) -> None:
    capacity = scaled(200_000, 300)
    limiter = cls(1, 1 if cls is Gcra else 10**6, capacity=capacity)
    keys = rng(3).permutation(10 * capacity)[:capacity]
    assert limiter.allow_many(keys, 10**18).allowed.all()
    assert not limiter.allow_many(keys, 10**18).allowed.any()


def everything_of(limiter: Any, keys: list[str], now: int) -> list[Decision]:
    return [limiter.peek(key, 0, now) for key in keys]


@every_limiter
def test_bytes_and_pickles_go_on(make: Any) -> None:
    """What is restored decides alike, and hashes alike; the bytes of a table are the same again."""
    limiter, _ = make()
    asked = requests(11, scaled(200, 40), *pace(limiter))
    for request in asked:
        limiter.allow(*request)
    keys, now = sorted({key for key, _, _ in asked}), asked[-1][2]
    for restore in (lambda x: type(x).from_bytes(x.to_bytes()), lambda x: pickle.loads(pickle.dumps(x))):
        again = restore(limiter)
        assert again.to_bytes() == limiter.to_bytes()
        assert repr(again) == repr(limiter)
        assert everything_of(again, keys, now) == everything_of(limiter, keys, now)
        for key in keys:
            assert again.check(key, 1, now + 1) == limiter.check(key, 1, now + 1)
        with pytest.raises(ValueError, match="now_ns always, or never"):
            again.allow("a")


@pytest.mark.parametrize("name", KEYED)
def test_bytes_that_were_changed(name: str) -> None:
    """Whatever is in them: an error, or a limiter that answers. Their checksum is made to fit."""
    limiter = example(name, 3, capacity=40)
    for key in range(30):
        limiter.allow(key, 1, 10**18)
    whole, random = bytearray(limiter.to_bytes()), rng(8)
    where = 12 + int.from_bytes(whole[8:12], "little") + 8
    for _ in range(scaled(2000, 30)):
        data = bytearray(whole)
        for _ in range(random.integers(1, 4)):
            data[random.integers(len(data))] = random.integers(256)
        if random.integers(2):
            data[where : where + 4] = zlib.crc32(data[where + 4 :], zlib.crc32(data[:where])).to_bytes(
                4, "little"
            )
        try:
            restored = type(limiter).from_bytes(bytes(data))
        except CorruptDataError:
            continue
        now = None if restored._state[CLOCK] == OURS else 10**18
        restored.allow_many(np.arange(60), now, fields="all")
        restored.refund(3, 2, now)
    for data in (b"", b"HOTPATH", bytes(whole[:-1]), bytes(whole) + b"x"):
        with pytest.raises(CorruptDataError):
            type(limiter).from_bytes(data)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")
def test_a_forked_child_is_not_locked() -> None:
    """Its copy of a limiter that was in use goes on by itself."""
    limiter = Gcra(1, 5, 3600)
    assert limiter.allow("a")
    with limiter._alone():
        child = os.fork()
        if not child:
            os._exit(int(not (limiter.allow("a") and limiter.allow_many(["a"]).allowed.all())))
        assert os.waitpid(child, 0)[1] == 0
    assert limiter.peek("a", 0).remaining == 4


def test_keys_of_every_kind() -> None:
    limiter = Gcra(1, 1)
    keys: list[Any] = ["a", b"a", "", b"", 0, -1, 1, 2**63, 2**64 - 1, "ä" * 70, "x" * 100_000, 1.5]
    for key in keys:
        first = limiter.allow(key, 1, 10**18)
        assert first is (key not in {b"a", b"", 2**64 - 1} or key == b"x")
        assert limiter.allow(key, 1, 10**18) is False
        assert limiter.allow_many([key], 10**18).allowed.tolist() == [False]
    for key in (None, True, [1], 2**64):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            limiter.allow(key, 1, 10**18)


# ---------------------------------------------------------------------------------------------------
# Clocks and arguments


@pytest.mark.parametrize("name", NAMES)
def test_clocks_are_not_mixed(name: str) -> None:
    own, given_ = example(name, 5), example(name, 5)
    assert own.allow("a")
    assert given_.allow("a", 1, 5)
    for call in (
        lambda: own.allow("a", 1, 5),
        lambda: own.allow_many(["a"], 5),
        lambda: given_.allow("a"),
        lambda: given_.peek("a"),
    ):
        with pytest.raises(ValueError, match="now_ns always, or never"):
            call()
    assert own.allow("a")
    assert given_.allow("a", now_ns=6)


@pytest.mark.parametrize("name", NAMES)
def test_the_systems_clock(name: str) -> None:
    """Alone and in batches, a limiter goes by the same clock."""
    limiter = example(name, 3)
    found = [limiter.allow("a"), limiter.allow_many(["a"]).allowed[0], limiter.allow("a"), limiter.allow("a")]
    assert found == [True, True, True, False]
    decision = limiter.check("a")
    # A day's window may end a day from now, and a sliding counter still has some of it in the next.
    assert 0 < decision.retry_after_ns <= 2 * 24 * 3600 * SECOND
    assert not limiter.allow_many(["a"]).allowed[0]


def test_wrong_arguments() -> None:
    cases: list[tuple[Any, type[Exception], str]] = [
        (lambda: Gcra(0, 1), ValueError, "rate=0"),
        (lambda: Gcra(-1, 1), ValueError, "rate=-1"),
        (lambda: Gcra("1", 1), TypeError, "rate"),
        (lambda: Gcra(True, 1), TypeError, "rate"),
        (lambda: Gcra(1, 0), ValueError, "burst=0"),
        (lambda: Gcra(1, 2**51), ValueError, "burst"),
        (lambda: Gcra(1, 2**40, 3600), ValueError, "146 years"),
        (lambda: Gcra(1, 1.5), TypeError, "burst"),
        (lambda: Gcra(1, 1, 0), ValueError, "period=0"),
        (lambda: Gcra(1, 1, float("inf")), ValueError, "period"),
        (lambda: Gcra(1, 1, float("nan")), ValueError, "period"),
        (lambda: Gcra(2**40 + 1, 1, 1), ValueError, "finer"),
        (lambda: Gcra(1, 1, capacity=0), ValueError, "capacity=0"),
        (lambda: Gcra(1, 1, when_full="no"), ValueError, "when_full='no'"),
        (lambda: FixedWindow(0, 1), ValueError, "limit=0"),
        (lambda: FixedWindow(2**32, 1), ValueError, "limit"),
        (lambda: FixedWindow(2**31, Fraction(1, 10**9)), ValueError, "longer period"),
        (lambda: FixedWindow(1, Fraction(1, 7)), ValueError, "whole number"),
        (lambda: SlidingLog(2**16, 1), ValueError, "65535"),
        (lambda: Gcra(1, 1).allow("a", -1), ValueError, "cost has -1"),
        (lambda: Gcra(1, 1).allow("a", 1.5), TypeError, "cost"),
        (lambda: Gcra(1, 1).allow("a", 1, -1), ValueError, "now_ns has -1"),
        (lambda: Gcra(1, 1).allow("a", 1, 2**62), ValueError, "now_ns"),
        (lambda: Gcra(1, 1).allow_many(["a"], [1, 2]), ValueError, "2 items for 1"),
        (lambda: Gcra(1, 1).allow_many(["a"], fields="some"), ValueError, "fields='some'"),
        (lambda: Gcra(1, 1).allow_many(["a", None]), ValueError, "position 1 is null"),
        (lambda: Gcra(1, 1).allow_many("a"), TypeError, "str"),
        (lambda: Gcra(1, 1).allow(), TypeError, "key"),
    ]
    for call, kind, said in cases:
        with pytest.raises(kind, match=said):
            call()


def test_rates_as_they_are_written() -> None:
    assert Gcra(10, 1, timedelta(minutes=1)).interval_ns == 6 * SECOND
    assert Gcra(0.1, 1).interval_ns == 10 * SECOND
    assert Gcra(7, 1, 86_400).interval_ns == Fraction(86_400 * SECOND, 7)


@pytest.mark.parametrize("rate", [3, 7, 999_983, Fraction(22, 7)])
def test_no_drift(rate: Any) -> None:
    """A client as fast as it may gets its rate to the request, over as long as one likes."""
    for cls in BUCKETS:
        limiter, now, n = cls(rate, 2, 60), 10**18, scaled(5000, 200)
        begin = now
        assert limiter.allow("a", 1, now)
        for _ in range(n):
            assert limiter.allow("a", 1, now)
            wait = limiter.peek("a", 1, now).retry_after_ns
            assert not limiter.peek("a", 1, now + wait - 1).allowed
            now += wait
        assert now - begin == math.ceil(n * limiter.interval_ns)


# ---------------------------------------------------------------------------------------------------
# Headers


def test_headers() -> None:
    limiter = FixedWindow(100, 60)
    fields = limiter.headers(limiter.check("a", 50, 90 * SECOND))
    assert fields == {"RateLimit-Policy": '"default";q=100;w=60', "RateLimit": '"default";r=50;t=30'}
    refused = limiter.headers(limiter.check("a", 51, 90 * SECOND + 1), name="burst", legacy=True)
    assert refused == {
        "RateLimit-Policy": '"burst";q=100;w=60',
        "RateLimit": '"burst";r=50;t=30',
        "Retry-After": "30",
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "50",
        "X-RateLimit-Reset": "30",
    }
    assert "Retry-After" not in limiter.headers(limiter.check("a", 101, 91 * SECOND))
    assert limiter.headers(Decision(False, 5, 0, 1, 1))["Retry-After"] == "1"
    assert limiter.headers(Decision(False, 5, 0, SECOND + 1, 1))["Retry-After"] == "2"
    with pytest.raises(ValueError, match="name="):
        limiter.headers(limiter.check("a", 1, 91 * SECOND), name='a"b')


# ---------------------------------------------------------------------------------------------------
# Threads


@pytest.mark.parametrize("name", NAMES)
def test_threads_share_a_limit(name: str) -> None:
    """Alone and in batches from twenty threads at once, exactly the limit is allowed."""
    limit, now = scaled(5000, 60), 11_574 * 86_400 * SECOND
    limiter = example(name, limit)

    def work(i: int) -> int:
        count = sum(limiter.allow("a", 1, now) for _ in range(limit // 10))
        return count + int(limiter.allow_many(["a"] * (limit // 10 + i), now).allowed.sum())

    with ThreadPoolExecutor(20) as pool:
        jobs = [pool.submit(copy_context().run, work, i) for i in range(20)]
        assert sum(job.result() for job in jobs) == limit


def test_delays_of_the_queue() -> None:
    """Each waits for those before it; who would wait for longer than the bucket is deep is not let in."""
    queue = LeakyBucket(3, 4)
    assert [queue.delay("a", 1, 10**18) for _ in range(5)] == [0, 333_333_334, 666_666_667, SECOND, NEVER]
    assert queue.delay("a", 1, 10**18 + SECOND // 2) == 833_333_334
    assert queue.delay("b", 2, 10**18 + SECOND // 2) == 0
    assert queue.delay("b", 5, 10**18 + SECOND // 2) == NEVER
