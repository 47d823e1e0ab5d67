"""Rate limiters of other packages, and of plain Python, behind the same few verbs.

``make(rate, burst, period)`` returns what has an ``allow(key)``: ``rate`` requests a ``period`` of whole
seconds. A window has no burst of its own and lets ``rate`` through at once. Packages are asked once a
request, and for many in a comprehension, the fastest loop there is; none of them has batches.

Each is asked in its cheapest way that neither waits nor raises, which is not always the one in its examples:
pyrate-limiter's buckets without the Limiter around them, in a third of the time, and throttled-py's limiters
without what validates a call. The threads with which limits (every 10 ms) and pyrate-limiter (every 10 s)
walk over all their keys are left out: they would run in the turns of others. So these two are faster here
than in use, and keep more. What they hold to is in docs/choose-limiters.md: their limits are not the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from functools import partial
from math import gcd
from mmap import mmap
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, NamedTuple

from algos.ratelimit import CountMinLimiter, Hierarchical, MultiTier
from algos.ratelimit._limiter import Bucket
from algos.ratelimit._shared import Shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from algos._variant import Variant
    from bench.schema import Role

CAPACITY, MANY = 1_000_000, 1_000_000
ROOM = 2**40
"""Keys a store may hold that would else let go of limits in force."""


class Asked(NamedTuple):
    """A limiter: what is asked for a key, what answers for many, and what must live as long."""

    allow: Callable[[str], Any]
    allow_many: Callable[[Iterable[str]], list[bool]]
    owner: Any = None


def one_by_one(allow: Callable[[str], bool], owner: Any = None) -> Asked:
    """Ask for many keys in a comprehension."""
    return Asked(allow, lambda keys: [allow(key) for key in keys], owner)


class Entry(ABC):
    """What is common to them; ``bursts`` tells whether a burst is chosen apart from the rate."""

    name: str
    package: str = ""
    role: Role = "peer"
    bursts = True

    @abstractmethod
    def make(self, rate: int, burst: int, period: int) -> Asked:
        """Return a new limiter."""


class Ours(Entry):
    """A limiter of this library; a new one appears here by itself. A window lets ``burst`` pass at once."""

    role: Role = "ours"

    def __init__(self, variant: Variant, name: str = "") -> None:
        self.name, self.cls = name or variant.name, variant.load()
        self.bursts = issubclass(self.cls, (Bucket, MultiTier, Hierarchical))
        self.timed = not issubclass(self.cls, Shared)

    def limiter(self, rate: int, burst: int, period: int, capacity: int = CAPACITY) -> Any:
        """Return a new limiter, for so many keys where it has to know."""
        window = Fraction(burst * period, rate)
        if self.cls is MultiTier:
            return self.cls(
                [(rate, burst, period), (100 * rate, 100 * burst, 60 * period)], capacity=capacity
            )
        if issubclass(self.cls, Shared):
            memory = mmap(-1, self.cls.size_of(capacity))
            return self.cls(memory, rate, burst, period) if self.bursts else self.cls(memory, burst, window)
        if self.cls is Hierarchical:  # of a key and of all of them, who never come near it
            everyone = MANY * rate, MANY * burst, period
            return self.cls([(rate, burst, period)], overall=everyone, capacity=capacity)
        if self.cls is CountMinLimiter:
            return self.cls(burst, window, nbytes=max(1 << 16, 16 * capacity))
        if self.bursts:
            return self.cls(rate, burst, period, capacity=capacity)
        return self.cls(burst, window, capacity=capacity)

    def make(self, rate: int, burst: int, period: int) -> Asked:
        limiter = self.limiter(rate, burst, period)
        if self.cls is Hierarchical:
            one = limiter.allow
            return Asked(lambda key: one((key,)), lambda keys: limiter.allow_many((keys,)).allowed, limiter)
        return Asked(limiter.allow, lambda keys: limiter.allow_many(keys).allowed, limiter)


def batch(limiter: Any, keys: Any) -> Any:
    """Return a batch of keys as a limiter takes it: paths have a column for each level."""
    return (keys,) if isinstance(limiter, Hierarchical) else keys


# ---------------------------------------------------------------------------------------------------
# Plain Python


def exact(rate: int, period: int) -> tuple[int, Callable[[], int]]:
    """Return the interval between requests in a unit in which it is whole, and a clock that counts in it.

    Where that is the nanosecond, the clock is the system's own.
    """
    total, clock = period * 10**9, monotonic_ns
    scale = rate // gcd(rate, total)
    return total * scale // rate, clock if scale == 1 else lambda: clock() * scale


class Closure(Entry):
    """GCRA over a dict, the fastest limiter found that is Python alone; it never lets go of a key.

    A subscript in ``try`` costs less than ``get``, and cells cost no more than arguments' defaults. A batch
    is decided at one moment.
    """

    name, role = "pure Python closure", "exact"

    def make(self, rate: int, burst: int, period: int) -> Asked:
        interval, clock = exact(rate, period)
        reach = interval * (burst - 1)
        due: dict[str, int] = {}

        def allow(key: str) -> bool:
            now = clock()
            try:
                at = due[key]
            except KeyError:
                at = now
            if at <= now:
                due[key] = now + interval
                return True
            if at - now <= reach:
                due[key] = at + interval
                return True
            return False

        def allow_many(keys: Iterable[str]) -> list[bool]:
            allowed: list[bool] = []
            now = clock()
            latest, fresh, put, states = now + reach, now + interval, allowed.append, due
            for key in keys:
                try:
                    at = states[key]
                except KeyError:
                    at = now
                if at <= now:
                    states[key] = fresh
                    put(True)
                elif at <= latest:
                    states[key] = at + interval
                    put(True)
                else:
                    put(False)
            return allowed

        return Asked(allow, allow_many)


class ClosureOfOne(Entry):
    """The same for a single key: its state is a cell."""

    name, role = "pure Python closure, one key", "exact"

    def make(self, rate: int, burst: int, period: int) -> Asked:
        interval, clock = exact(rate, period)
        reach, due = interval * (burst - 1), 0

        def allow(_key: str) -> bool:
            nonlocal due
            now = clock()
            if due <= now:
                due = now + interval
                return True
            if due - now <= reach:
                due += interval
                return True
            return False

        return one_by_one(allow)


# ---------------------------------------------------------------------------------------------------
# Packages


class Limits(Entry):
    """A strategy of limits: its item is made once."""

    package, bursts = "limits", False
    strategy: str

    def __init__(self) -> None:
        from limits import RateLimitItemPerSecond, storage, strategies

        class Unswept(storage.MemoryStorage):  # type: ignore[misc, unused-ignore]
            def _MemoryStorage__schedule_expiry(self) -> None:
                """Start no thread."""

        self._item, self._storage = RateLimitItemPerSecond, Unswept
        self._strategy = strategies.STRATEGIES[self.strategy]

    def make(self, rate: int, burst: int, period: int) -> Asked:
        del burst
        limiter = self._strategy(self._storage())
        return one_by_one(partial(limiter.hit, self._item(rate, period)), limiter)


class LimitsFixed(Limits):
    name, strategy = "limits fixed window", "fixed-window"


class LimitsMoving(Limits):
    name, strategy = "limits moving window", "moving-window"


class LimitsCounter(Limits):
    name, strategy = "limits sliding counter", "sliding-window-counter"


class Throttled(Entry):
    """A limiter of throttled-py, its store so large that no limit in force is let go of."""

    package = "throttled-py"
    kind: str
    room = ROOM

    def __init__(self) -> None:
        import throttled

        self._module = throttled

    def make(self, rate: int, burst: int, period: int) -> Asked:
        from datetime import timedelta

        quota = self._module.per_duration(timedelta(seconds=period), rate, burst)
        store = self._module.MemoryStore(options={"MAX_SIZE": self.room})
        limiter = self._module.Throttled(using=self.kind, quota=quota, store=store).limiter
        ask = limiter.limit
        return Asked(
            lambda key: not ask(key).limited, lambda keys: [not ask(key).limited for key in keys], limiter
        )


class ThrottledFixed(Throttled):
    name, kind, bursts = "throttled fixed window", "fixed_window", False


class ThrottledCounter(Throttled):
    name, kind, bursts = "throttled sliding window", "sliding_window", False


class ThrottledToken(Throttled):
    name, kind = "throttled token bucket", "token_bucket"


class ThrottledLeaking(Throttled):
    name, kind = "throttled leaking bucket", "leaking_bucket"


class ThrottledGcra(Throttled):
    name, kind = "throttled GCRA", "gcra"


class PyrateGcra(Entry):
    """A bucket of pyrate-limiter for each key, which is the user's to make."""

    name, package = "pyrate-limiter GCRA", "pyrate-limiter"

    def __init__(self) -> None:
        import pyrate_limiter

        self._module = pyrate_limiter

    def make(self, rate: int, burst: int, period: int) -> Asked:
        rates = [self._module.Rate(rate, 1000 * period, burst)]
        algorithm = self._module.GCRA()
        return self._of(lambda: self._module.StateBucket(rates, algorithm))

    def _of(self, new: Callable[[], Any]) -> Asked:
        item, now = self._module.RateItem, self._module.MonotonicClock().now
        buckets: dict[str, Callable[[Any], bool]] = {}

        def allow(key: str) -> bool:
            try:
                put = buckets[key]
            except KeyError:
                put = buckets.setdefault(key, new().put)  # another thread may have been faster
            return put(item(key, now()))

        return one_by_one(allow)


class PyrateLog(PyrateGcra):
    """Its default: a log of requests for each key."""

    name, bursts = "pyrate-limiter log", False

    def make(self, rate: int, burst: int, period: int) -> Asked:
        del burst
        rates = [self._module.Rate(rate, 1000 * period)]
        return self._of(partial(self._module.InMemoryBucket, rates))


class TokenBucket(Entry):
    """token_bucket; it never lets go of a key."""

    name, package = "token_bucket", "token-bucket"

    def __init__(self) -> None:
        import token_bucket

        self._module = token_bucket

    def make(self, rate: int, burst: int, period: int) -> Asked:
        limiter = self._module.Limiter(rate / period, burst, self._module.MemoryStorage())
        return one_by_one(limiter.consume)


PEERS = (
    Closure,
    ClosureOfOne,
    TokenBucket,
    LimitsFixed,
    LimitsMoving,
    LimitsCounter,
    ThrottledFixed,
    ThrottledCounter,
    ThrottledToken,
    ThrottledLeaking,
    ThrottledGcra,
    PyrateLog,
    PyrateGcra,
)
