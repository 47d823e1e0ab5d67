"""Limits of many: paths of keys that are limited together, and keys that are counted without being kept."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import put_together, random_keys, rng, scaled, take_apart
from hypothesis import given
from hypothesis import strategies as st

from algos.errors import CorruptDataError
from algos.ratelimit import CountMinLimiter, Decision, FixedWindow, Gcra, Hierarchical
from algos.ratelimit._table import SLOTS

SECOND = 10**9
NEVER = -1
NOW = 10**18


class LevelsTwin:
    """A GCRA for each key of a path, in fractions: all are asked before any counts."""

    def __init__(self, levels: Any, overall: Any = None) -> None:
        rates = [*levels, *([] if overall is None else [overall])]
        self.rules = [(Fraction(period) * SECOND / Fraction(rate), burst) for rate, burst, period in rates]
        self.tats = dict[Any, Fraction]()

    def levels(self, path: Any, now: int) -> Any:
        for level, (each, burst) in enumerate(self.rules):
            name = level, path[level] if level < len(path) else None
            tat = self.tats.get(name, Fraction(0))
            its_now = max(now, math.ceil(tat - burst * each))
            yield name, each, burst, max(tat, Fraction(its_now)), its_now

    def __call__(self, path: Any, cost: int, now: int) -> tuple[bool, int, int, int]:
        found = list(self.levels(path, now))
        over = [math.ceil(tat + (cost - burst) * each - at) for _, each, burst, tat, at in found]
        allowed = max(over) <= 0
        if allowed:
            found = [(name, each, burst, tat + cost * each, at) for name, each, burst, tat, at in found]
            self.tats |= {name: tat for name, _, _, tat, _ in found}
        retry = NEVER if any(cost > burst for _, burst in self.rules) else max(0, *over)
        left = min(burst - math.ceil((tat - at) / each) for _, each, burst, tat, at in found)
        return allowed, left, retry, max(math.ceil(tat - at) for _, _, _, tat, at in found)

    def refund(self, path: Any, cost: int, now: int) -> None:
        for name, each, burst, tat, at in self.levels(path, now):
            self.tats[name] = max(tat - min(cost, burst) * each, Fraction(at))


PLANS: list[tuple[Any, Any]] = [
    ([(3, 5, 1)], None),
    ([(3, 5, 1)], (10, 20, 1)),
    ([(1, 4, 1), (2, 9, 1)], None),
    ([(3, 5, 1), (7, 6, 1)], (Fraction(22, 7), 8, Fraction(1, 2))),
    ([(1000, 3, 1), (5, 4, 1), (999_983, 7, 60)], (2, 5, 1)),
    ([(1, 3, 1), (1, 3, 1), (1, 2, 1), (1, 4, 1)], None),
    ([(10**9, 2**20, 1), (1, 2**20, Fraction(1, 10**9))], None),
]


def pairs() -> list[Any]:
    """Return what makes a limiter and its twin."""

    def both(levels: Any, overall: Any) -> tuple[Any, Any]:
        return Hierarchical(levels, overall=overall), LevelsTwin(levels, overall)

    return [pytest.param(partial(both, *plan), id=f"plan{i}") for i, plan in enumerate(PLANS)]


every_plan = pytest.mark.parametrize("make", pairs())


def paths(limiter: Any, seed: int, n: int, *, back: bool = False) -> list[tuple[Any, int, int]]:
    """Return paths, costs and times: five keys of three tenants, some of one name; gaps, and steps back."""
    random, now, made = rng(seed), 10**15 + 7 * seed, []
    step = max(2, limiter.window_ns // limiter.limit)
    for _ in range(n):
        kind = random.integers(0, 10)
        if kind < 6:
            now += int(random.integers(0, step // 4 + 2))
        elif kind == 6:
            now += int(random.integers(0, 9 * step))
        elif kind == 7 and back:
            now -= int(random.integers(0, 3 * step))
        path = tuple(f"name {random.integers(0, 5 if level == 0 else 3)}" for level in range(limiter._keyed))
        cost = int(random.choice([0, 1, 1, 1, 1, 2, limiter.limit, limiter.limit + 1]))
        made.append((path, cost, now))
    return made


@every_plan
@pytest.mark.parametrize("back", [False, True])
def test_decisions_are_the_twins(make: Any, back: bool) -> None:
    for seed in range(scaled(4, 1)):
        limiter, twin = make()
        for path, cost, now in paths(limiter, seed, scaled(500, 60), back=back):
            got = limiter.check(path, cost, now)
            assert (got.allowed, *got[2:]) == twin(path, cost, now), (path, cost, now)


@every_plan
def test_batches_are_the_same_requests(make: Any) -> None:
    """In batches of any size, of lists, Arrow's and NumPy's columns, and alone: the same decisions."""
    limiter, twin = make()
    asked = paths(limiter, 9, scaled(3000, 120), back=True)
    columns = [list(column) for column in zip(*(path for path, _, _ in asked), strict=True)]
    costs, nows = np.array([cost for _, cost, _ in asked]), np.array([now for _, _, now in asked])
    want = [twin(*request) for request in asked]
    assert [limiter.allow(*request) for request in asked] == [each[0] for each in want]
    forms: list[Any] = [list, lambda column: pa.array(column, pa.string()), np.array]
    for fields in ("allowed", "all"):
        for form in forms:
            parts, _ = make()
            found: list[Any] = []
            for lo, hi in pairwise([0, 1, 3, 3, 10, 50, 181, len(asked)]):
                keys = tuple(form(column[lo:hi]) for column in columns)
                got = parts.allow_many(keys, nows[lo:hi], costs[lo:hi], fields)
                numbers = (
                    () if fields == "allowed" else (got.remaining, got.retry_after_ns, got.reset_after_ns)
                )
                found += zip(got.allowed.tolist(), *(part.tolist() for part in numbers), strict=True)
            assert found == [each[: len(found[0])] for each in want]


@given(
    st.lists(
        st.tuples(st.integers(1, 10**6), st.integers(1, 9), st.fractions(Fraction(1, 10**6), 10**6)),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
    st.lists(
        st.tuples(st.integers(0, 255), st.integers(0, 10), st.integers(-(10**9), 10**10), st.booleans()),
        max_size=40,
    ),
)
def test_any_levels_are_gcras(rates: Any, overall: bool, steps: Any) -> None:
    """In exact rationals, with refunds between, whatever the clock does."""
    overall = overall and len(rates) > 1
    plan = (rates[:-1], rates[-1]) if overall else (rates, None)
    try:
        limiter = Hierarchical(plan[0], overall=plan[1])
    except ValueError:
        return  # finer than 2^-32 ns
    twin, now = LevelsTwin(*plan), NOW
    for names, cost, step, refund in steps:
        now += step
        path = tuple(names >> 2 * level & 3 for level in range(len(plan[0])))
        if refund:
            limiter.refund(path, cost, now)
            twin.refund(path, cost, now)
        got = limiter.check(path, cost, now)
        assert (got.allowed, *got[2:]) == twin(path, cost, now)


def left(limiter: Any, *path: Any) -> int:
    return int(limiter.peek(path, 0, NOW).remaining)


def test_all_or_nothing() -> None:
    """What one level refuses takes nothing from another."""
    plan = [(1, 2, 3600), (1, 5, 3600)]
    alone = [Hierarchical([rate]) for rate in plan]
    limiter = Hierarchical(plan, overall=(1, 6, 3600))
    assert [limiter.allow(("a", "t"), 1, NOW) for _ in range(50)] == [True] * 2 + [False] * 48
    assert left(limiter, "b", "t") == 2  # three are left to the tenant
    assert [limiter.allow(("b", "t"), 1, NOW) for _ in range(50)] == [True] * 2 + [False] * 48
    assert left(limiter, "c", "t") == 1
    assert [limiter.allow(("c", "t"), cost, NOW) for cost in (2, 1, 1)] == [False, True, False]
    assert left(limiter, "c", "u") == 1  # of c's two, and of the six of all
    assert limiter.check(("c", "u"), 1, NOW).allowed
    assert [limiter.check((key, "v"), 1, NOW).allowed for key in "def"] == [False] * 3
    for key in "def":  # refused by the last level, they have all that is theirs
        limiter.refund(("a", "t"), 1, NOW)
        assert limiter.allow((key, "v"), 1, NOW)
    assert [alone[0].allow(("a",), 1, NOW) for _ in range(3)] == [True, True, False]


def test_a_key_is_one_whatever_is_above_it() -> None:
    """And a key, a tenant and everyone of one name are three."""
    limiter = Hierarchical([(1, 1, 3600), (1, 9, 3600), (1, 9, 3600)])
    assert limiter.allow(("x", "x", "x"), 1, NOW)
    assert not limiter.allow(("x", "y", "y"), 1, NOW)
    assert limiter.allow(("y", "x", "x"), 1, NOW)
    assert left(limiter, "z", "x", "z") == 1
    assert int(limiter.check(("z", "x", "x"), 1, NOW).remaining) == 0
    assert limiter.peek(("w", "x", "w"), 1, NOW).reset_after_ns == 4 * 3600 * SECOND


def test_one_level_is_gcra() -> None:
    """Decision for decision, with bursts, refusals and their waits."""
    n = scaled(20_000, 200)
    keys, nows = rng(1).integers(0, 50, n), NOW + np.arange(n) * 10**7
    costs = rng(2).integers(0, 8, n)
    one, other = Hierarchical([(7, 6, 3)]), Gcra(7, 6, 3)
    for got, want in zip(
        one.allow_many((keys,), nows, costs, "all"), other.allow_many(keys, nows, costs, "all"), strict=True
    ):
        assert np.array_equal(got, want)


@every_plan
def test_peeking_changes_nothing(make: Any) -> None:
    limiter, _ = make()
    for path, cost, now in paths(limiter, 4, scaled(300, 40)):
        seen = limiter.peek(path, cost, now)
        assert limiter.peek(path, cost, now) == seen
        assert limiter.check(path, cost, now) == seen


def test_reset_forgets_one_level() -> None:
    limiter = Hierarchical([(1, 2, 3600), (1, 3, 3600)], overall=(1, 9, 3600))
    for _ in range(2):
        assert limiter.allow(("a", "t"), 1, NOW)
    limiter.reset(("a", "nobody"))
    assert [limiter.allow(("a", "t"), 1, NOW) for _ in range(2)] == [True, False]
    limiter.reset(("b", "t"), level=1)
    assert [limiter.allow(("a", "t"), 1, NOW) for _ in range(2)] == [True, False]
    assert left(limiter, "b", "u") == 2
    for level in (-1, 2):
        with pytest.raises(ValueError, match=rf"level={level} is outside 0..1"):
            limiter.reset(("a", "t"), level)


def test_refund_is_of_all_levels() -> None:
    limiter = Hierarchical([(1, 2, 3600), (1, 2, 3600)], overall=(1, 2, 3600))
    assert limiter.allow(("a", "t"), 2, NOW)
    limiter.refund(("a", "t"), 1, NOW)
    assert left(limiter, "a", "t") == left(limiter, "b", "u") == 1
    limiter.refund(("nobody", "nobody"), 1, NOW)  # all together are given it back
    assert (left(limiter, "a", "t"), left(limiter, "b", "t"), left(limiter, "b", "u")) == (1, 1, 2)
    for _ in range(3):
        limiter.refund(("a", "t"), 2, NOW)
    assert left(limiter, "a", "t") == 2


# ---------------------------------------------------------------------------------------------------
# Tables of paths


def live(limiter: Any) -> int:
    """Return how many slots say that a key owes something."""
    return int((limiter._slots()[1][:, :, 0] > NOW).sum())


@pytest.mark.parametrize("keyed", [1, 2, 3, 4])
def test_the_places_of_a_request_do_not_take_each_others(keyed: int) -> None:
    """In a table far too small, no key of any level is allowed more than its burst: none is forgotten."""
    bursts = [3, 7, 11, 15][:keyed]
    limiter = Hierarchical([(1, burst, 10**6) for burst in bursts], capacity=1)
    slots = limiter._slots()[0].size - SLOTS
    n, random = scaled(3000, 300), rng(keyed)
    names = [random.integers(0, many, n) for many in (25, 12, 6, 3)[:keyed]]
    said = []
    for path in zip(*map(np.ndarray.tolist, names), strict=True):
        seen = limiter.peek(path, 1, NOW)
        said.append(limiter.check(path, 1, NOW))
        assert said[-1] == seen
    allowed = np.array([decision.allowed for decision in said])
    assert 0 < live(limiter) <= slots
    for burst, column in zip(bursts, names, strict=True):
        assert np.bincount(column[allowed]).max() <= burst
    twin = LevelsTwin([(1, burst, 10**6) for burst in bursts])
    had = [twin(path, 1, NOW)[0] if got else None for got, *path in zip(allowed, *names, strict=True)]
    assert False not in had  # what is allowed, would be so were there no others
    counted = sum(len(set(column[allowed].tolist())) for column in names)
    assert live(limiter) == counted  # and each has a place of its own


@pytest.mark.parametrize("policy", ["deny", "allow"])
@pytest.mark.parametrize("batch", [False, True])
def test_a_request_without_a_place(policy: Any, batch: bool) -> None:
    """It is decided on as was said, takes nothing from the levels that have one, and no place."""
    limiter = Hierarchical(
        [(1, 9, 10**6), (1, 900, 10**6)], overall=(1, 900, 10**6), capacity=1, when_full=policy
    )
    for key in range(500):
        limiter.allow((key, "t"), 1, NOW)
    full, stands, data = live(limiter), limiter.peek((0, "t"), 0, NOW), limiter.to_bytes()
    assert stands.reset_after_ns == (full - 2) * 10**6 * SECOND  # as many keys have asked of t
    new = [f"new {i}" for i in range(20)]
    if batch:
        got = limiter.allow_many((new, ["t"] * 20), NOW, fields="all")
        assert got.remaining is not None
        assert (got.allowed == (policy == "allow")).all()
        assert not got.remaining.any()
        wait = 0 if policy == "allow" else math.ceil(limiter.window_ns / 9)
        assert got.retry_after_ns is not None
        assert (got.retry_after_ns == wait).all()
        assert (limiter.allow_many((new, new), NOW).allowed == (policy == "allow")).all()
    else:
        assert {limiter.allow((key, "t"), 1, NOW) for key in new} == {policy == "allow"}
        wait = 0 if policy == "allow" else math.ceil(limiter.window_ns / 9)
        for said in (limiter.check, limiter.peek):
            assert said(("new", "t"), 1, NOW) == Decision(policy == "allow", 9, 0, wait, wait)
    assert (live(limiter), limiter.peek((0, "t"), 0, NOW)) == (full, stands)
    assert take_apart(limiter.to_bytes())[1] == take_apart(data)[1]
    assert limiter.allow((0, "t"), 1, NOW)


def test_a_dead_place_is_enough_for_one() -> None:
    """A request with one key too many for the places there are is refused whole, and the place stays free."""
    limiter = Hierarchical([(1, 900, 10**6)] * 2, capacity=1)
    slots = limiter._slots()[0].size - SLOTS  # but for those of all together
    for key in range(500):  # each takes a place, but for the tenant's one
        limiter.allow((key, "t"), 1, NOW)
    assert live(limiter) == slots
    held = limiter._slots()[0].reshape(-1).tolist()
    one = next(key for key in range(500) if int(limiter._hash_of((key, "t"))[0, 0]) in held)
    limiter.reset((one, "t"))
    for i in range(100):
        assert not limiter.allow((f"new {i}", f"new {i}"), 1, NOW)
    assert live(limiter) == slots - 1
    assert limiter.allow((one, "t"), 1, NOW)
    assert live(limiter) == slots


def test_many_paths_in_a_table_that_turns_over() -> None:
    """Keys come and go for ever in a table of the live ones."""
    n, tenants = scaled(1_000_000, 2000), 50
    limiter = Hierarchical([(1, 1, 1), (10**6, 10**6, 1)], capacity=scaled(20_000, 200))
    keys, nows = np.arange(n), NOW + np.arange(n) * (SECOND // scaled(10_000, 50))
    for lo in range(0, n, 100_000):
        part = slice(lo, lo + 100_000)
        assert limiter.allow_many((keys[part], keys[part] % tenants), nows[part]).allowed.all()


# ---------------------------------------------------------------------------------------------------
# Arguments, bytes, threads of paths


def small(**options: Any) -> Hierarchical:
    return Hierarchical([(1, 5, 3600), (1, 50, 3600)], **options)


def test_paths_of_every_kind() -> None:
    names: list[Any] = ["a", b"b", "", 0, -1, 1, 2**63, 2**64 - 2, "ä" * 70, "x" * 100_000, 1.5, np.int32(7)]
    limiter = Hierarchical([(1, 1, 3600), (1, 10**6, 3600)], overall=(1, 10**6, 3600))
    for name in names:
        path = name, name
        assert limiter.allow(path, 1, NOW)
        assert not limiter.allow(path, 1, NOW)
        assert limiter.allow_many(([name], [name]), NOW).allowed.tolist() == [False]
        assert limiter.peek((name, 3), 1, NOW).allowed is False
    assert limiter.peek(("new", "a"), 0, NOW).reset_after_ns == len(names) * 3600 * SECOND
    for none in ([], np.empty(0, int), pa.chunked_array([], pa.string())):
        assert limiter.allow_many((none, none), NOW).allowed.tolist() == []


def test_wrong_paths_and_levels() -> None:
    rate = (1, 5, 3600)
    cases: list[tuple[Any, type[Exception], str]] = [
        (lambda: Hierarchical([]), ValueError, "0 levels are not 1 to 4"),
        (lambda: Hierarchical([], overall=rate), ValueError, "1 levels are not 1 to 4, of which one"),
        (lambda: Hierarchical([rate] * 5), ValueError, "5 levels"),
        (lambda: Hierarchical([rate] * 4, overall=rate), ValueError, "5 levels"),
        (lambda: Hierarchical([(0, 1, 1)]), ValueError, "rate=0"),
        (lambda: Hierarchical([rate, (1, 0, 1)]), ValueError, "burst=0"),
        (lambda: Hierarchical([rate], overall=(1, 1, 0)), ValueError, "period=0"),
        (lambda: small(capacity=0), ValueError, "capacity=0"),
        (lambda: small(when_full="no"), ValueError, "when_full='no'"),
        (lambda: small().allow("a"), TypeError, "a tuple of 2 keys, not str"),
        (lambda: small().allow(["a", "b"]), TypeError, "a tuple of 2 keys, not list"),
        (lambda: small().allow(("a",)), TypeError, "a tuple of 2 keys, not one of 1"),
        (lambda: small().allow(("a", "b", "c")), TypeError, "not one of 3"),
        (lambda: small().allow(("a", None)), ValueError, "null"),
        (lambda: small().allow(("a", True)), TypeError, "bool"),
        (lambda: small().allow(("a", 2**64)), OverflowError, "outside"),
        (lambda: small().allow(("a", "b"), -1), ValueError, "cost has -1"),
        (lambda: small().allow(("a", "b"), 1, 2**62), ValueError, "now_ns"),
        (lambda: small().allow(), TypeError, "key"),
        (lambda: small().refund("a"), TypeError, "a tuple of 2 keys"),
        (lambda: small().reset(("a",)), TypeError, "a tuple of 2 keys"),
        (lambda: small().reset(("a", "b"), "1"), TypeError, "level"),
        (lambda: small().allow_many(["a", "b"]), TypeError, r"columns, not list; of paths, tuple\(zip"),
        (lambda: small().allow_many((["a"],)), TypeError, "a tuple of 2 columns, not one of 1"),
        (lambda: small().allow_many((["a"], ["b", "c"])), ValueError, r"\[1, 2\] items"),
        (lambda: small().allow_many(("a", "b")), TypeError, "str"),
        (lambda: small().allow_many((["a"], [None])), ValueError, "position 0 is null"),
        (lambda: small().allow_many((["a"], ["b"]), [1, 2]), ValueError, "2 items for 1"),
    ]
    for call, kind, said in cases:
        with pytest.raises(kind, match=said):
            call()


def test_paths_by_the_systems_clock() -> None:
    limiter = Hierarchical([(1, 3, 3600), (1, 4, 3600)])
    got = [
        limiter.allow(("a", "t")),
        limiter.allow_many((["a"], ["t"])).allowed[0],
        limiter.allow(("a", "t")),
    ]
    assert [*got, limiter.allow(("a", "t")), limiter.allow(("b", "t")), limiter.allow(("b", "t"))] == [
        *(True, True, True, False),
        *(True, False),
    ]
    assert 0 < limiter.check(("b", "t")).retry_after_ns <= 3600 * SECOND
    with pytest.raises(ValueError, match="now_ns always, or never"):
        limiter.allow(("a", "t"), 1, 5)


def test_headers_are_of_the_tightest() -> None:
    limiter = Hierarchical([(1, 5, 1), (1, 2, 60)])
    for _ in range(2):
        decision = limiter.check(("a", "t"), 1, NOW)
    assert limiter.headers(decision) == {
        "RateLimit-Policy": '"default";q=2;w=120',
        "RateLimit": '"default";r=0;t=120',
    }
    assert limiter.headers(limiter.check(("b", "t"), 1, NOW))["Retry-After"] == "60"


@every_plan
def test_paths_go_on_from_bytes(make: Any) -> None:
    """Whether serialised or pickled, a limiter decides as it would have."""
    limiter, twin = make()
    asked = paths(limiter, 5, scaled(300, 60))
    for i, request in enumerate(asked):
        if i % 50 == 20:
            again = Hierarchical.from_bytes(limiter.to_bytes())
            assert again.to_bytes() == limiter.to_bytes()
            limiter = pickle.loads(pickle.dumps(again))
            assert repr(limiter) == repr(again)
        assert limiter.allow(*request) == twin(*request)[0]


def in_threads(work: Any) -> int:
    """Return what twenty threads have counted together."""
    with ThreadPoolExecutor(20) as pool:
        jobs = [pool.submit(copy_context().run, work, i) for i in range(20)]
        return sum(job.result() for job in jobs)


def test_threads_share_all_levels() -> None:
    """Alone and in batches from twenty threads at once, exactly the tenant's limit is allowed."""
    most = scaled(4000, 60)
    limiter = Hierarchical([(1, most // 4, 10**6), (1, most, 10**6)])

    def work(i: int) -> int:
        count = sum(limiter.allow((key, "t"), 1, NOW) for key in range(5) for _ in range(most // 50))
        keys = np.arange(5).repeat(most // 50 + i)
        return count + int(limiter.allow_many((keys, np.full(len(keys), 7)), NOW).allowed.sum())

    tenants = [limiter._hash_of((0, name))[0, 1] for name in ("t", 7)]
    assert tenants[0] != tenants[1]
    assert in_threads(work) == most // 4 * 5
    got = Hierarchical([(1, most, 10**6), (1, most, 10**6)])

    def ask(i: int) -> int:
        count = sum(got.allow((i, "t"), 1, NOW) for _ in range(most // 10))
        return count + int(got.allow_many(([i] * (most // 10), ["t"] * (most // 10)), NOW).allowed.sum())

    assert in_threads(ask) == most


# ---------------------------------------------------------------------------------------------------
# Count-min


class CellsTwin:
    """The same cells in Python ints, at the places that the hashes of a limiter give."""

    def __init__(self, limiter: CountMinLimiter) -> None:
        self.of, self.lines = limiter, limiter.nbytes // 64
        self.cells = [(0, 0)] * (limiter.nbytes // 8)

    def __call__(self, key: Any, cost: int, now: int) -> tuple[bool, int, int, int]:
        h = int(self.of._hash_of(key)[0])
        upper, lower = h >> 32, h & 0xFFFF_FFFF
        one, two = 8 * (h * self.lines >> 64), 8 * ((lower << 32 | upper) * self.lines >> 64)
        at = one + upper % 4, one + 4 + upper // 4 % 4, two + lower % 4, two + 4 + lower // 4 % 4
        limit, period = self.of.limit, self.of.window_ns
        window, count = max(min(self.cells[i] for i in at), (now // period, 0))
        allowed, end = count + cost <= limit, (window + 1) * period - now
        if allowed:
            count += cost
            for i in at:
                self.cells[i] = max(self.cells[i], (window, count))
        return allowed, limit - count, 0 if allowed else end if cost <= limit else NEVER, end if count else 0


LIMITS: list[tuple[int, Any]] = [
    (1, 1),
    (3, 1),
    (100, 60),
    (5, Fraction(1, 1000)),
    (2**32 - 1, 3600),
    (2, Fraction(1, 10**9)),
]


def asked_of_many(limit: int, period: Any, seed: int, n: int, keys: int) -> tuple[Any, Any, Any]:
    """Return keys, costs and times, which rise and at times step back."""
    random, ns = rng(seed), int(Fraction(period) * SECOND)
    steps = random.integers(0, ns // 3 + 2, n) * random.choice([0, 0, 0, 1, 1, -1], n)
    nows = 10**15 + np.maximum.accumulate(np.abs(np.cumsum(np.abs(steps)))) + np.minimum(steps, 0)
    return random.integers(0, keys, n), random.choice([0, 1, 1, 1, 2, limit, limit + 1], n), nows


@pytest.mark.parametrize(("limit", "period"), LIMITS)
@pytest.mark.parametrize("keys", [3, 2000])
def test_counts_are_the_twins(limit: int, period: Any, keys: int) -> None:
    """Alone with all that is said of them, alone by ``allow``, in batches of any size: the same decisions."""
    made = CountMinLimiter(limit, period, nbytes=4096)
    names, costs, nows = asked_of_many(limit, period, 3, scaled(3000, 150), keys)
    copies = [CountMinLimiter.from_bytes(made.to_bytes()) for _ in range(3)]
    twin = CellsTwin(made)
    want = [twin(*map(int, request)) for request in zip(names, costs, nows, strict=True)]
    for request, answer in zip(zip(names, costs, nows, strict=True), want, strict=True):
        got = made.check(*map(int, request))
        assert (got.allowed, *got[2:]) == answer
    assert [copies[0].allow(*map(int, each)) for each in zip(names, costs, nows, strict=True)] == [
        answer[0] for answer in want
    ]
    found: list[Any] = []
    for lo, hi in pairwise([0, 1, 3, 3, 10, 50, 101, len(names)]):
        part = slice(lo, hi)
        got = copies[1].allow_many(pa.array(names[part]), nows[part], costs[part], "all")
        numbers: list[Any] = [got.allowed, got.remaining, got.retry_after_ns, got.reset_after_ns]
        found += zip(*(each.tolist() for each in numbers), strict=True)
        assert np.array_equal(copies[2].allow_many(names[part], nows[part], costs[part]).allowed, got.allowed)
    assert found == want
    assert made.to_bytes() == copies[0].to_bytes() == copies[1].to_bytes() == copies[2].to_bytes()
    bits = limit.bit_length()
    assert made._table.tolist() == [window << bits | count for window, count in twin.cells]


@pytest.mark.parametrize(("limit", "period"), LIMITS)
def test_with_room_it_is_a_fixed_window(limit: int, period: Any) -> None:
    """Decision for decision, also where the clock steps back: no two of few keys share four cells."""
    n = scaled(100_000, 300)
    names, costs, nows = asked_of_many(limit, period, 5, n, scaled(1000, 20))
    one, other = CountMinLimiter(limit, period, nbytes=1 << 26), FixedWindow(limit, period)
    for got, want in zip(
        one.allow_many(names, nows, costs, "all"), other.allow_many(names, nows, costs, "all"), strict=True
    ):
        assert np.array_equal(got, want)


@pytest.mark.parametrize("nbytes", [1024, 1 << 14, 1 << 18])
def test_never_more_than_the_limit(nbytes: int) -> None:
    """A million requests of more keys than there are cells: none has more, and no count is too low."""
    limit, n, windows = 5, scaled(1_000_000, 1500), 4
    limiter = CountMinLimiter(limit, 60, nbytes=nbytes)
    keys = (rng(7).pareto(0.9, n) * 10).astype(np.int64) % scaled(300_000, 300)
    window = np.sort(rng(8).integers(0, windows, n))
    nows = 600 * SECOND + window * 60 * SECOND + rng(9).integers(0, 60 * SECOND, n)
    allowed = limiter.allow_many(keys, nows).allowed
    for each in range(windows):
        had = np.bincount(keys[allowed & (window == each)])
        assert had.max() == limit
    last = (windows - 1) * 60 * SECOND + 600 * SECOND
    seen = np.flatnonzero(had)[: scaled(2000, 50)]
    for key in seen.tolist():
        assert limit - limiter.peek(key, 0, last).remaining >= had[key]


def test_a_new_window_begins_with_nothing() -> None:
    limiter = CountMinLimiter(3, 60, nbytes=1024)
    keys = np.arange(5000)
    assert limiter.allow_many(keys, 60 * SECOND).allowed.sum() < 500
    later = 120 * SECOND
    assert limiter.check("a", 3, later - 1).retry_after_ns == 1
    assert limiter.check("a", 3, later) == Decision(True, 3, 0, 0, 60 * SECOND)


def test_a_clock_ahead_does_not_spread() -> None:
    """Cells of a time to come are passed over: only who has no others goes by that time."""
    limiter = CountMinLimiter(2, 60, nbytes=4096)
    assert limiter.allow("ahead", 2, NOW + 3600 * SECOND)
    assert limiter.check("ahead", 1, NOW).retry_after_ns > 3600 * SECOND
    keys = np.arange(40)
    for window in range(3):
        got = limiter.allow_many(np.tile(keys, 3), NOW + window * 60 * SECOND).allowed.reshape(3, -1)
        assert not got[2].any()
        assert got[0].sum() >= 36


@pytest.mark.statistical
def test_the_law_of_the_counts() -> None:
    """Over many seeds: at most N / w too much in the mean, and e N / w or more for one key in e^2 at most."""
    n, limit, means, much = scaled(200_000, 2000), 1000, [], []
    nbytes = 1 << (16 if n > 10_000 else 11)
    for seed in range(scaled(100, 3)):
        limiter = CountMinLimiter(limit, 60, nbytes=nbytes)
        keys = (rng(seed).pareto(1.1, n) * 100).astype(np.int64) % 100_000
        had = np.bincount(keys[limiter.allow_many(keys, NOW).allowed], minlength=100_000)
        some = np.flatnonzero(had)
        at = limiter.allow_many(some, NOW, 0, "all").remaining
        assert at is not None
        over = limit - at - had[some]
        assert over.min() >= 0
        law = had.sum() * 32 / nbytes
        means.append(over.mean() / law)
        much.append((over >= math.e * law).mean())
    assert np.mean(means) <= 1
    assert np.mean(much) <= math.exp(-2)


def test_counts_of_keys_of_every_kind() -> None:
    limiter = CountMinLimiter(1, 3600, nbytes=1 << 20)
    names: list[Any] = ["a", b"b", "", 0, -1, 1, 2**63, 2**64 - 2, "ä" * 70, "x" * 100_000, 1.5, np.int32(7)]
    for name in names:
        assert limiter.allow(name, 1, NOW)
        assert not limiter.allow(name, 1, NOW)
        assert limiter.allow_many([name], NOW).allowed.tolist() == [False]
    words = random_keys(1, 100)
    assert limiter.allow_many(words, NOW).allowed.all()
    assert not any(limiter.allow(int(word), 1, NOW) for word in words)
    assert not limiter.allow_many(pa.array(words), NOW).allowed.any()
    for none in ([], np.empty(0, int), pa.chunked_array([], pa.string())):
        assert limiter.allow_many(none, NOW, fields="all").allowed.tolist() == []
    for name in (None, True, [1], 2**64):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            limiter.allow(name, 1, NOW)


def test_wrong_limits_and_sizes() -> None:
    cases: list[tuple[Any, type[Exception], str]] = [
        (lambda: CountMinLimiter(0, 1), ValueError, "limit=0"),
        (lambda: CountMinLimiter(2**32, 1), ValueError, "limit"),
        (lambda: CountMinLimiter(2**31, Fraction(1, 10**9)), ValueError, "longer period"),
        (lambda: CountMinLimiter(1, Fraction(1, 7)), ValueError, "whole number"),
        (lambda: CountMinLimiter(1, 1, nbytes=1023), ValueError, r"nbytes=1023 is outside 2\*\*10..2\*\*34"),
        (lambda: CountMinLimiter(1, 1, nbytes=2**35), ValueError, "nbytes"),
        (lambda: CountMinLimiter(1, 1, nbytes=1e6), TypeError, "nbytes"),
        (lambda: CountMinLimiter(1, 1, capacity=5), TypeError, "capacity"),
        (lambda: CountMinLimiter(1, 1).allow("a", -1), ValueError, "cost has -1"),
        (lambda: CountMinLimiter(1, 1).allow("a", 1, -1), ValueError, "now_ns has -1"),
        (lambda: CountMinLimiter(1, 1).allow_many(["a", None]), ValueError, "position 1 is null"),
        (lambda: CountMinLimiter(1, 1).reset("a"), TypeError, "cannot forget one key.*FixedWindow can"),
        (lambda: CountMinLimiter(1, 1).refund("a"), TypeError, "cannot give back.*FixedWindow can"),
    ]
    for call, kind, said in cases:
        with pytest.raises(kind, match=said):
            call()
    assert CountMinLimiter(1, 1, nbytes=1100).nbytes == 1088
    assert (
        CountMinLimiter(7, 60).headers(Decision(True, 7, 5, 0, SECOND))["RateLimit-Policy"].endswith("w=60")
    )


# ---------------------------------------------------------------------------------------------------
# Bytes


def used_path() -> Any:
    limiter = Hierarchical([(1, 5, 3600), (7, 9, 3600)], overall=(1, 50, 3600), capacity=20)
    limiter.allow_many((np.arange(30) % 12, np.arange(30) % 3), NOW)
    return limiter


def used_cells() -> Any:
    limiter = CountMinLimiter(5, 60, nbytes=1024)
    limiter.allow_many(np.arange(30), NOW)
    return limiter


@pytest.mark.parametrize("make", [used_path, used_cells])
def test_altered_bytes(make: Any) -> None:
    """Altered anywhere, its checksum right or not, a limiter is refused or decides somehow."""
    limiter, random = make(), rng(11)
    data = limiter.to_bytes()
    header, payload = take_apart(data)
    text = data[12 : len(data) - len(payload) - 12]
    keys = np.arange(9)
    for i in range(scaled(10_000, 60)):
        kind, pieces = i % 4, [bytearray(text), bytearray(payload), bytearray(data)]
        for _ in range(random.integers(1, 4)):
            piece = pieces[min(kind, 2)]
            piece[random.integers(0, len(piece))] = random.choice([*b"0123456789", *random.bytes(4)])
        cut = int(random.integers(0, len(data)))
        wrong = bytes(pieces[2][:cut]) if kind == 3 else bytes(pieces[2])
        if kind < 2:
            wrong = put_together(bytes(pieces[0]), bytes(pieces[1]))
        try:
            made = type(limiter).from_bytes(wrong)
        except CorruptDataError:
            continue
        when = None if made._state[1] == 1 else NOW
        made.allow_many((keys, keys) if make is used_path else keys, when, fields="all")
        assert made.to_bytes()
    assert header["kind"] == type(limiter).__name__


@pytest.mark.parametrize("make", [used_path, used_cells])
def test_bytes_of_another_shape(make: Any) -> None:
    limiter = make()
    header, payload = take_apart(limiter.to_bytes())
    for wrong in (payload[:-8], payload + b"\0" * 8, payload[:-1]):
        with pytest.raises(CorruptDataError):
            type(limiter).from_bytes(put_together(header, wrong))
    with pytest.raises(CorruptDataError, match="use that class's"):
        Gcra.from_bytes(limiter.to_bytes())
    if make is used_cells:
        for cell in (6, 2**64 - 1):  # a count above the limit, a window after the last
            altered = np.frombuffer(payload, "<u8").copy()
            altered[3] = cell
            with pytest.raises(CorruptDataError, match="of no limit of 5"):
                CountMinLimiter.from_bytes(put_together(header, altered.tobytes()))


def test_counts_go_on_from_bytes() -> None:
    limiter = used_cells()
    again = pickle.loads(pickle.dumps(limiter))
    assert again.to_bytes() == limiter.to_bytes()
    assert repr(again) == repr(limiter) == "<CountMinLimiter limit=5, period_ns=60000000000, 1,024 bytes>"
    for key in range(60):
        for cost in (1, 3):
            assert again.check(key, cost, NOW) == limiter.check(key, cost, NOW)
