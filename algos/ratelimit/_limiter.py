"""What every limiter shares: keys, time, batches and single calls, decisions, their headers, and bytes.

Time is nanoseconds since 1970 that never step: the system's time when the limiter was made, and from then on
its monotonic clock. Times given by the caller may step back; each key then keeps to the time that its own
state implies, so that nothing is allowed twice.
"""

from __future__ import annotations

import math
import secrets
import time
from abc import ABC, abstractmethod
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np

from algos import _state
from algos._arguments import integer, whole_numbers
from algos._bits import U64, aligned_zeros
from algos._exclusive import Exclusive
from algos._lanes import SLOTS
from algos._pages import empty
from algos.errors import CorruptDataError
from algos.hashing.batch import KeyHasher
from algos.hashing.siphash import SIPHASH13
from algos.ratelimit._loops import (
    BLOCK,
    BUCKETS,
    CALLERS,
    CLOCK,
    MAX_COST,
    NOBODYS,
    OFFSET,
    OURS,
    WIDTH,
)
from algos.ratelimit._rate import MAX_TIME, SECOND, check_burst, check_limit, interval, whole_period
from algos.ratelimit._table import LOAD, NOWHERE, find, state_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from numpy.typing import NDArray

    Number = int | float | Fraction
    WhenFull = Literal["deny", "allow"]

MAX_KEYS = 1 << 36
SECRET_PARTS = tuple(f"secret{i}" for i in range(4))


class Decision(NamedTuple):
    """What a limiter says of one request; times are nanoseconds, and -1 is never."""

    allowed: bool
    limit: int
    remaining: int
    retry_after_ns: int
    reset_after_ns: int


class Decisions(NamedTuple):
    """What a limiter says of ``n`` requests: arrays of n, ``None`` where only ``allowed`` was asked for."""

    allowed: NDArray[np.bool_]
    limit: int
    remaining: NDArray[np.int64] | None = None
    retry_after_ns: NDArray[np.int64] | None = None
    reset_after_ns: NDArray[np.int64] | None = None


class Kernels(NamedTuple):
    """The compiled functions of a variant."""

    allow: Callable[..., None]  # state, table, hashes, nows, costs; into allowed
    explain: Callable[..., None]  # the same, with or without counting; into allowed and numbers (int64[3, n])
    refund: Any = None  # state, table, at, now, cost; not of those who do that by themselves


class Limiter(Exclusive, ABC):
    """A limiter of keys: one rule, one table."""

    __slots__ = ("_hasher", "_table", "capacity", "limit", "when_full")
    _kernels: ClassVar[Kernels]
    _told: Any
    _VERSION = 1
    _SPARE: ClassVar[int] = 0
    """Buckets behind those of the keys that hold something as well: 0 or 1."""
    limit: int

    def _set_up(self, capacity: Any, when_full: Any, width: int, words: tuple[int, ...]) -> None:
        """Begin without keys: ``width`` words for each, and the words of the variant."""
        self.capacity = capacity = check_capacity(capacity)
        self.when_full = check_when_full(when_full)
        buckets = math.ceil(capacity / LOAD / SLOTS) + 1
        self._table = aligned_zeros((buckets + 1) * SLOTS * (1 + width) + 2 * int(BLOCK), np.uint64)
        self._begin(buckets, width, int(when_full == "allow"), words)

    def _begin(self, buckets: int, width: int, full: int, words: tuple[int, ...]) -> None:
        """Begin with the words of the state, those of the variant last."""
        offset = time.time_ns() - time.monotonic_ns()
        wait = math.ceil(self.window_ns / self.limit)
        self._hold((NOBODYS, offset, 0, 0, buckets, width, full, wait, *words))
        self._use_secret(secrets.randbits(128))

    def _use_secret(self, secret: int) -> None:
        self._hasher = KeyHasher(SIPHASH13, secret)
        self._state[CLOCK + 2 : CLOCK + 4] = self._hasher.word_seed

    @property
    @abstractmethod
    def window_ns(self) -> int:
        """The time in which ``limit`` requests are regained, in nanoseconds, rounded up."""

    @abstractmethod
    def _parameters(self) -> dict[str, int]:
        """Return what makes the limiter again, besides what every limiter has."""

    @classmethod
    @abstractmethod
    def _made_from(cls, parameters: _state.Parameters, common: dict[str, Any]) -> Self:
        """Make it again, without keys."""

    @property
    def nbytes(self) -> int:
        """The size of the table, in bytes: constant."""
        return int(self._table.nbytes)

    # Time and arguments

    def _times(self, now_ns: Any, n: int) -> Any:
        """Return the time of all requests, or of each; a limiter keeps to one clock."""
        whose = OURS if now_ns is None else CALLERS
        if int(self._state[CLOCK]) not in {NOBODYS, whose}:
            kept = "its own clock" if whose == CALLERS else "the times it is given"
            raise ValueError(f"this limiter goes by {kept}: give now_ns always, or never")
        if now_ns is None:
            nows = np.array([time.monotonic_ns() + int(self._state[OFFSET])], np.uint64)
        else:
            nows = whole_numbers("now_ns", now_ns, n, MAX_TIME - 1)
        self._state[CLOCK] = whose
        return nows

    def _hashed(self, keys: Any) -> Any:
        parts, base = [np.empty(0, np.uint64)], 0  # Arrow's may have no pieces
        for piece in self._hasher.pieces(keys):
            if piece.valid is not None and not piece.valid.all():
                position = base + int(np.argmin(piece.valid))
                raise ValueError(
                    f"the key at position {position} is null, and a request needs one; drop nulls"
                )
            parts.append(self._hasher.hashed(piece))
            base += len(piece)
        return parts[1] if len(parts) == 2 else np.concatenate(parts)

    def _hash_of(self, key: Any) -> Any:
        hashes = self._hasher.one(key)
        if hashes is None:
            raise ValueError("the key is null, and a request needs one")
        return hashes

    def _where(self, key: Any) -> int | None:
        width = self._state[WIDTH]
        slot = find(self._table, self._state[BUCKETS], width, self._hash_of(key)[0])
        return None if slot == NOWHERE else int(state_of(slot, width))

    # Requests

    def _decide(self, hashes: Any, nows: Any, costs: Any, allowed: Any) -> None:
        self._kernels.allow(self._state, self._table, hashes, nows, costs, allowed)

    def _explain(self, hashes: Any, nows: Any, costs: Any, count: bool, allowed: Any, numbers: Any) -> None:
        self._kernels.explain(self._state, self._table, hashes, nows, costs, count, allowed, numbers)

    def allow_many(
        self,
        keys: Any,
        now_ns: Any = None,
        cost: Any = None,
        fields: Literal["allowed", "all"] = "allowed",
    ) -> Decisions:
        """Decide on ``n`` requests in their order, as that many ``allow`` would.

        ``now_ns`` and ``cost`` (1) are one int for all or an array of n; ``fields="all"`` also says what
        remains and how long to wait. O(n), some ten nanoseconds each. Nulls are refused. Safe from many
        threads.
        """
        if fields not in {"allowed", "all"}:
            raise ValueError(f"fields={fields!r} is not 'allowed' or 'all'")
        hashes = self._hashed(keys)
        n = len(hashes)
        costs = whole_numbers("cost", 1 if cost is None else cost, n, MAX_COST)
        allowed = np.empty(n, np.bool_)
        numbers = empty((3, n if fields == "all" else 0), np.int64)
        with self._alone():
            nows = self._times(now_ns, n)
            if fields == "allowed":
                self._decide(hashes, nows, costs, allowed)
            else:
                self._explain(hashes, nows, costs, True, allowed, numbers)
        return Decisions(allowed, self.limit, *(numbers if fields == "all" else ()))

    def _allow_one(self, key: Any, cost: int = 1, now_ns: int | None = None) -> bool:
        """Tell whether a request of ``key`` is allowed, and if so count it. O(1). Safe from many threads."""
        return self._explain_one(key, cost, now_ns, count=True).allowed

    def check(self, key: Any, cost: int = 1, now_ns: int | None = None) -> Decision:
        """Decide as ``allow`` does, and say what remains and how long to wait."""
        found = self._told(key, cost) if now_ns is None else self._told(key, cost, now_ns)
        return Decision(found[0], self.limit, found[1], found[2], found[3])

    def _check_one(self, key: Any, cost: int = 1, now_ns: int | None = None) -> tuple[bool, int, int, int]:
        found = self._explain_one(key, cost, now_ns, count=True)
        return (found[0], *found[2:])

    def peek(self, key: Any, cost: int = 1, now_ns: int | None = None) -> Decision:
        """Say what ``check`` would, and count nothing; with ``cost=0`` it says how a key stands."""
        return self._explain_one(key, cost, now_ns, count=False)

    def _explain_one(self, key: Any, cost: Any, now_ns: Any, *, count: bool) -> Decision:
        hashes, costs = self._hash_of(key), whole_numbers("cost", cost, 1, MAX_COST)
        allowed, numbers = np.empty(1, np.bool_), np.empty((3, 1), np.int64)
        with self._alone():
            nows = self._times(now_ns, 1)
            self._explain(hashes, nows, costs, count, allowed, numbers)
        return Decision(bool(allowed[0]), self.limit, *map(int, numbers[:, 0]))

    def reset(self, key: Any) -> None:
        """Forget a key: its next request is as its first."""
        with self._alone():
            at = self._where(key)
            if at is not None:
                self._table[at : at + int(self._state[WIDTH])] = 0

    def refund(self, key: Any, cost: int = 1, now_ns: int | None = None) -> None:
        """Give back what an allowed request of ``cost`` took, as if it had not been."""
        costs = whole_numbers("cost", cost, 1, MAX_COST)
        with self._alone():
            now, at = self._times(now_ns, 1)[0], self._where(key)
            if at is not None:
                self._kernels.refund(self._state, self._table, U64(at), now, costs[0])

    def headers(self, decision: Decision, *, name: str = "default", legacy: bool = False) -> dict[str, str]:
        """Return the HTTP fields of a decision.

        ``RateLimit`` and ``RateLimit-Policy`` as in draft-ietf-httpapi-ratelimit-headers-10, with the time
        until more is available; ``Retry-After`` where it is not allowed, in seconds rounded up, so that who
        waits as long is not refused again; and ``X-RateLimit-*`` where old clients want them.
        """
        if not name.isascii() or not name.isprintable() or '"' in name or "\\" in name:
            raise ValueError(f"name={name!r} is not printable ASCII without quotes and backslashes")
        never = not decision.allowed and decision.retry_after_ns < 0
        wait = _seconds(self._more_after(decision) if decision.allowed else decision.retry_after_ns)
        fields = {
            "RateLimit-Policy": f'"{name}";q={decision.limit};w={_seconds(self.window_ns)}',
            "RateLimit": f'"{name}";r={decision.remaining}' + ("" if never else f";t={wait}"),
        }
        if not decision.allowed and not never:
            fields["Retry-After"] = str(wait)
        if legacy:
            fields |= {
                "X-RateLimit-Limit": str(decision.limit),
                "X-RateLimit-Remaining": str(decision.remaining),
                "X-RateLimit-Reset": str(wait),
            }
        return fields

    def _more_after(self, decision: Decision) -> int:
        """Return when one request more than remain will be allowed, at the latest, in nanoseconds."""
        return decision.reset_after_ns

    # Bytes

    def to_bytes(self) -> bytes:
        """Serialise with a checksum, and with the secret of the hash; ``from_bytes`` goes on from there."""
        with self._alone():
            payload, clock = self._payload(), int(self._state[CLOCK])
        words = {part: int(word) for part, word in zip(SECRET_PARTS, self._secret_parts(), strict=True)}
        parameters = {**self._parameters(), **self._size(), "clock": clock, **words}
        return _state.pack(type(self).__name__, self._VERSION, parameters, payload)

    def _size(self) -> dict[str, Any]:
        """Return what says how large the table is, and what is done when it is full."""
        return {"capacity": self.capacity, "full": self.when_full}

    @classmethod
    def _size_from(cls, parameters: _state.Parameters) -> dict[str, Any]:
        """Return the same as arguments."""
        return {
            "capacity": parameters.integer("capacity", 1, MAX_KEYS),
            "when_full": parameters.choice("full", ("deny", "allow")),
        }

    def _payload(self) -> Any:
        """Return what the table holds, in an array of its own."""
        keys, states = self._slots()
        used = np.flatnonzero(states[:, :, 0])
        rows = [used.astype("<u8"), keys.reshape(-1)[used], states.reshape(-1, states.shape[2])[used]]
        return np.ascontiguousarray(np.column_stack(rows))

    def _secret_parts(self) -> list[int]:
        return [self._hasher.seed >> 32 * i & 0xFFFF_FFFF for i in range(4)]

    def _slots(self) -> tuple[Any, Any]:
        """View the table as the keys of its buckets, and their states."""
        buckets, width = int(self._state[BUCKETS]) + self._SPARE, int(self._state[WIDTH])
        rows = self._table[: buckets * SLOTS * (1 + width)].reshape(buckets, -1)
        return rows[:, :SLOTS], rows[:, SLOTS:].reshape(buckets, SLOTS, width)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Self:
        """Make a limiter from ``to_bytes``; anything else raises ``CorruptDataError``."""
        parameters, payload = _state.unpack(cls.__name__, cls._VERSION, data)
        common = cls._size_from(parameters)
        clock = parameters.integer("clock", NOBODYS, CALLERS)
        secret = sum(parameters.integer(part, 0, 2**32 - 1) << 32 * i for i, part in enumerate(SECRET_PARTS))
        try:
            made = cls._made_from(parameters, common)
        except (ValueError, OverflowError, MemoryError) as error:
            raise CorruptDataError(f"no limiter has these parameters: {error}") from error
        made._use_secret(secret)
        made._state[CLOCK] = clock
        made._fill(payload)
        return made

    def _fill(self, payload: memoryview) -> None:
        """Let the table hold this, or raise ``CorruptDataError``."""
        keys, states = self._slots()
        width = states.shape[2]
        if len(payload) % (8 * (2 + width)):
            raise CorruptDataError(f"{len(payload)} bytes are not slots of {8 * (2 + width)} bytes")
        rows = np.frombuffer(payload, "<u8").reshape(-1, 2 + width)
        used, last = rows[:, 0], U64(keys.size)
        if (used >= last).any() or (used[1:] <= used[:-1]).any():
            raise CorruptDataError(f"the slots are not numbers in order below {keys.size}")
        if not self._can_be(rows[:, 2:]):
            raise CorruptDataError(f"some of {len(rows)} states are of no {type(self).__name__}")
        bucket, slot = np.divmod(used.astype(np.int64), SLOTS)
        keys[bucket, slot], states[bucket, slot] = rows[:, 1], rows[:, 2:]

    def _can_be(self, _states: Any) -> bool:
        """Tell whether states, uint64[n, width], are such that no kernel leaves its bounds."""
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._parameters().items())
        return f"<{type(self).__name__} {given}, {self.capacity:,} keys, {self.nbytes:,} bytes>"


class Bucket(Limiter):
    """A limiter to ``rate`` requests per ``period``, ``burst`` of them at once."""

    __slots__ = ("burst", "interval_ns")

    def __init__(
        self,
        rate: Number,
        burst: int,
        period: Number | timedelta = 1,
        *,
        capacity: int = 65_536,
        when_full: WhenFull = "deny",
    ) -> None:
        """Begin without keys."""
        self.interval_ns = interval(rate, period)
        self.burst = self.limit = check_burst(burst, self.interval_ns)
        self._set_up(capacity, when_full, *self._layout(*self.interval_ns.as_integer_ratio()))

    @abstractmethod
    def _layout(self, a: int, b: int) -> tuple[int, tuple[int, ...]]:
        """Return the words of a key's state, and those of the variant, for one request in a / b ns."""

    @property
    def window_ns(self) -> int:
        """The time in which a spent burst is regained, in nanoseconds, rounded up."""
        return math.ceil(self.burst * self.interval_ns)

    def _more_after(self, decision: Decision) -> int:
        taken = self.burst - decision.remaining
        return max(0, decision.reset_after_ns - math.floor((taken - 1) * self.interval_ns)) if taken else 0

    def _parameters(self) -> dict[str, int]:
        a, b = self.interval_ns.as_integer_ratio()
        return {"numerator": a, "denominator": b, "burst": self.burst}

    @classmethod
    def _made_from(cls, parameters: _state.Parameters, common: dict[str, Any]) -> Self:
        a, b = (parameters.integer(name, 1, MAX_TIME) for name in ("numerator", "denominator"))
        return cls(1, parameters.integer("burst", 1, MAX_COST), Fraction(a, b * SECOND), **common)


class Window(Limiter):
    """A limiter to ``limit`` requests in a ``period``."""

    __slots__ = ("_period",)
    MAX_LIMIT: ClassVar[int] = (1 << 32) - 1

    def __init__(
        self,
        limit: int,
        period: Number | timedelta,
        *,
        capacity: int = 65_536,
        when_full: WhenFull = "deny",
    ) -> None:
        """Begin without keys."""
        self.limit, self._period = check_limit(limit, self.MAX_LIMIT), whole_period(period)
        self._set_up(capacity, when_full, *self._layout())

    @abstractmethod
    def _layout(self) -> tuple[int, tuple[int, ...]]:
        """Return the words of a key's state, and those of the variant."""

    @property
    def window_ns(self) -> int:
        """The period, in nanoseconds."""
        return self._period

    def _parameters(self) -> dict[str, int]:
        return {"limit": self.limit, "period_ns": self._period}

    @classmethod
    def _made_from(cls, parameters: _state.Parameters, common: dict[str, Any]) -> Self:
        period = Fraction(parameters.integer("period_ns", 1, MAX_TIME), SECOND)
        return cls(parameters.integer("limit", 1, cls.MAX_LIMIT), period, **common)


def check_capacity(capacity: Any) -> int:
    """Return how many keys may be live at once."""
    capacity = integer("capacity", capacity)
    if not 1 <= capacity <= MAX_KEYS:
        raise ValueError(f"capacity={capacity} is outside 1..2**36; plan for the keys that are live at once")
    return capacity


def check_when_full(when_full: Any) -> WhenFull:
    """Return what a key without a place is told."""
    if when_full not in {"deny", "allow"}:
        raise ValueError(f"when_full={when_full!r} is not 'deny' or 'allow'")
    answer: WhenFull = when_full
    return answer


def _seconds(ns: int) -> int:
    return max(0, -(-ns // SECOND))
