"""What every membership filter shares: the batch loop, bytes, pickling, and checks of arguments."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos import _state
from algos._bits import aligned_zeros
from algos._threads import check_threads, in_parts
from algos.errors import CorruptDataError
from algos.hashing.batch import KeyHasher
from algos.hashing.xxh3 import XXH3

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from algos.hashing.keys import Piece

DEFAULT_FPR = 0.01
MAX_CAPACITY = 1 << 40


def check_capacity(capacity: Any) -> int:
    """Return the number of keys to plan for, or say which numbers are possible."""
    if isinstance(capacity, bool) or not hasattr(capacity, "__index__"):
        raise TypeError(f"capacity must be an int, not {type(capacity).__name__}")
    capacity = int(capacity)
    if not 1 <= capacity <= MAX_CAPACITY:
        raise ValueError(f"capacity={capacity} is outside 1..2**40; plan for at least one key")
    return capacity


def check_count(count: Any) -> int:
    """Return a number of keys, or say which numbers are possible."""
    if isinstance(count, bool) or not hasattr(count, "__index__"):
        raise TypeError(f"count must be an int, not {type(count).__name__}")
    count = int(count)
    if count < 0:
        raise ValueError(f"count={count} is below 0; it is a number of keys")
    return count


def check_fpr(fpr: Any) -> float:
    """Return the false-positive rate, or say which are possible."""
    if isinstance(fpr, bool) or not isinstance(fpr, (int, float, np.floating)):
        raise TypeError(f"fpr must be a float, not {type(fpr).__name__}")
    if not 0.0 < fpr < 1.0:
        raise ValueError(f"fpr={fpr} is outside 0 < fpr < 1; 0.01 is one false positive in a hundred")
    return float(fpr)


def check_bits_per_key(bits_per_key: Any) -> float:
    """Return the bits per key, or say which are possible."""
    if isinstance(bits_per_key, bool) or not isinstance(bits_per_key, (int, float, np.number)):
        raise TypeError(f"bits_per_key must be a number, not {type(bits_per_key).__name__}")
    if not 1.0 <= bits_per_key <= 256.0:
        raise ValueError(f"bits_per_key={bits_per_key} is outside 1..256; 10 gives about 1 % false positives")
    return float(bits_per_key)


def only_one(**given: Any) -> None:
    """Refuse two ways of asking for a size at once."""
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ValueError(f"{' and '.join(named)} are both given; each decides the size, so give one")


def check_hashes(hashes: Any) -> NDArray[np.uint64]:
    """Return ready hashes as a contiguous uint64 array; anything else is refused, not converted."""
    if not isinstance(hashes, np.ndarray) or hashes.dtype != np.uint64 or hashes.ndim != 1:
        found = (
            f"{hashes.dtype}{list(hashes.shape)}" if isinstance(hashes, np.ndarray) else type(hashes).__name__
        )
        raise TypeError(f"hashes must be a uint64[n] NumPy array, not {found}; hash64 makes one")
    return np.ascontiguousarray(hashes)


class Filter(ABC):
    """The face of a filter: one batch loop, one serialised form."""

    __slots__ = ()
    _VERSION = 1
    _hasher: KeyHasher

    @abstractmethod
    def _probe(self, hashes: Any, out: Any) -> None:
        """Answer for ready hashes into ``out`` (bool[n])."""

    @abstractmethod
    def _parameters(self) -> dict[str, Any]:
        """Return what, with the payload, makes the filter again."""

    @abstractmethod
    def _payload(self) -> Any:
        """Return the packed state, without padding."""

    @classmethod
    @abstractmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        """Make the filter from checked parameters and a payload yet to be checked."""

    def _probe_piece(self, piece: Piece, out: Any) -> None:
        """Answer for one normalised piece of a batch into ``out``."""
        for lo, hashes in self._hasher.chunks(piece):
            self._probe(hashes, out[lo : lo + len(hashes)])

    def _probe_parts(self, piece: Piece, out: Any, threads: int) -> None:
        """Answer for one piece in threads."""
        in_parts(threads, len(piece), lambda lo, hi: self._probe_piece(piece.cut(lo, hi), out[lo:hi]))

    @property
    def seed(self) -> int:
        """The seed of the keys' hash."""
        return int(self._hasher.seed)

    @property
    def nbytes(self) -> int:
        """The size of the filter's bits, in bytes."""
        return int(self._payload().nbytes)

    def contains_many(self, keys: Any, *, threads: int = 1) -> NDArray[np.bool_]:
        """Tell for each of ``n`` keys whether it may be in the filter: ``bool[n]``.

        ``False`` is certain; nulls are ``False``. The work is shared by ``threads``. Safe from many threads
        while nobody adds.
        """
        threads = check_threads(threads)
        parts = self._hasher.pieces(keys)
        out = np.empty(sum(map(len, parts)), np.bool_)
        base = 0
        for part in parts:
            answers = out[base : base + len(part)]
            self._probe_parts(part, answers, threads)
            if part.valid is not None:
                answers &= part.valid
            base += len(part)
        return out

    def contains_hashes(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Tell for each ready 64-bit hash (``uint64[n]``) whether it may be in the filter."""
        hashes = check_hashes(hashes)
        out = np.empty(len(hashes), np.bool_)
        self._probe(hashes, out)
        return out

    def __contains__(self, key: Any) -> bool:
        hashes = self._hasher.one(key)
        if hashes is None:
            return False
        out = np.empty(1, np.bool_)
        self._probe(hashes, out)
        return bool(out[0])

    def to_bytes(self) -> bytes:
        """Serialise, with a checksum; ``from_bytes`` on any machine makes the same filter."""
        return _state.pack(type(self).__name__, self._VERSION, self._parameters(), self._payload())

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Self:
        """Make a filter from ``to_bytes``; anything else raises ``CorruptDataError``."""
        return cls._restore(*_state.unpack(cls.__name__, cls._VERSION, data))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_bytes, (self.to_bytes(),)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._parameters().items())
        return f"<{type(self).__name__} {given}, {self.nbytes:,} bytes>"


class GrowingFilter(Filter):
    """A filter that takes keys after it is made."""

    __slots__ = ()

    @abstractmethod
    def _insert(self, hashes: Any) -> None:
        """Add ready hashes."""

    @abstractmethod
    def _insert_new(self, hashes: Any, out: Any) -> None:
        """Add ready hashes one after the other and note in ``out`` which were not there before."""

    def add(self, key: Any) -> None:
        """Add one key; ``None`` is a null and is skipped."""
        hashes = self._hasher.one(key)
        if hashes is not None:
            self._insert(hashes)

    def add_many(self, keys: Any, return_new: bool = False, *, threads: int = 1) -> NDArray[np.bool_] | None:
        """Add ``n`` keys; nulls are skipped. One writer at a time, but for its own ``threads``.

        With ``return_new`` say for each key whether it was new (``bool[n]``), as if they had been added
        one by one, and so in one thread: of equal keys in the batch only the first can be. A false positive
        counts as not new.
        """
        threads = check_threads(threads)
        parts = self._hasher.pieces(keys)
        if return_new:
            return self._per_key(parts, self._insert_new)
        self._add_pieces(parts, threads)
        return None

    def _add_pieces(self, parts: list[Piece], threads: int = 1) -> None:
        if threads == 1:
            for hashes in self._hasher.present(parts):
                self._insert(hashes)
            return
        for part in parts:
            self._insert_in_threads(self._hasher.hashed(part, threads), threads)

    def _insert_in_threads(self, hashes: Any, _threads: int) -> None:
        """Add ready hashes. What a key does to most filters depends on those before it: one at a time."""
        self._insert(hashes)

    def _per_key(self, parts: list[Piece], action: Callable[[Any, Any], None]) -> NDArray[np.bool_]:
        """Return what ``action(hashes, out)`` says of each key; nulls are kept from it and are ``False``."""
        out, base = np.zeros(sum(map(len, parts)), np.bool_), 0
        for part in parts:
            for lo, hashes in self._hasher.chunks(part):
                chosen = slice(None) if part.valid is None else part.valid[lo : lo + len(hashes)]
                kept = hashes[chosen]
                answers = np.empty(len(kept), np.bool_)
                action(kept, answers)
                out[base + lo : base + lo + len(hashes)][chosen] = answers
            base += len(part)
        return out

    def add_hashes(self, hashes: NDArray[np.uint64]) -> None:
        """Add ready 64-bit hashes (``uint64[n]``), well mixed in all bits."""
        self._insert(check_hashes(hashes))

    def _check_mergeable(self, other: Any) -> None:
        """Refuse to merge filters whose bits mean different things."""
        if type(other) is not type(self):
            raise ValueError(f"cannot merge a {type(other).__name__} into a {type(self).__name__}")
        mine, theirs = ({**f._parameters(), "nbytes": f.nbytes} for f in (self, other))
        differing = [f"{k}={mine[k]!r} and {theirs[k]!r}" for k in mine if mine[k] != theirs[k]]
        if differing:
            raise ValueError(f"cannot merge filters with {', '.join(differing)}; make both alike")


class RemovableFilter(GrowingFilter):
    """A filter that keys can be removed from."""

    __slots__ = ()

    @abstractmethod
    def _remove(self, hashes: Any, out: Any) -> None:
        """Remove ready hashes once each and note in ``out`` which were there."""

    def remove(self, key: Any) -> bool:
        """Remove a key once; ``False`` if it was not there. Only keys that were added may be removed."""
        hashes = self._hasher.one(key)
        return hashes is not None and bool(self.remove_hashes(hashes)[0])

    def remove_many(self, keys: Any) -> NDArray[np.bool_]:
        """Remove ``n`` keys once each; ``bool[n]`` tells which were there. Nulls are ``False``."""
        return self._per_key(self._hasher.pieces(keys), self._remove)

    def remove_hashes(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Remove ready 64-bit hashes (``uint64[n]``) once each; ``bool[n]`` tells which were there."""
        hashes = check_hashes(hashes)
        out = np.empty(len(hashes), np.bool_)
        self._remove(hashes, out)
        return out


class BitFilter(GrowingFilter):
    """A filter of bits that are only ever set, planned for ``capacity`` keys: it merges by OR."""

    __slots__ = ()
    _words: Any
    capacity: int

    @abstractmethod
    def __init__(
        self, capacity: int, fpr: float | None = None, bits_per_key: float | None = None, *, seed: int = 0
    ) -> None:
        """Make an empty filter."""

    @classmethod
    def build(
        cls, keys: Any, fpr: float | None = None, bits_per_key: float | None = None, *, seed: int = 0
    ) -> Self:
        """Make a filter of all ``keys``, sized for their number (with repeats)."""
        parts = house_hasher(seed).pieces(keys)
        self = cls(count_keys(parts), fpr, bits_per_key, seed=seed)
        self._add_pieces(parts)
        return self

    @property
    def bits_per_key(self) -> float:
        """The filter's bits divided by the keys it was planned for."""
        return 8.0 * self.nbytes / self.capacity

    def merge(self, other: Self) -> None:
        """Take in all keys of ``other``: bit for bit as if they had been added here.

        Raises ``ValueError`` unless size and parameters are the same.
        """
        self._check_mergeable(other)
        np.bitwise_or(self._words, other._words, out=self._words)

    def _insert_in_threads(self, hashes: Any, threads: int) -> None:
        """Add ready hashes, every thread to a filter of its own; these are then merged."""

        def work(lo: int, hi: int) -> None:
            mine = self if lo == 0 else self._empty()
            mine._insert(hashes[lo:hi])
            if lo:
                others.append(mine._words)

        others: list[Any] = []
        in_parts(threads, len(hashes), work)
        for words in others:
            np.bitwise_or(self._words, words, out=self._words)

    def _empty(self) -> Self:
        """Return a filter like this one without its keys."""
        twin = object.__new__(type(self))
        slots: tuple[str, ...] = type(self).__slots__
        for name in slots:
            setattr(twin, name, getattr(self, name))
        twin._words = aligned_zeros(self._words.size, self._words.dtype)
        return twin

    def _payload(self) -> Any:
        return self._words

    def _take_words(self, payload: memoryview, unit: int, dtype: str, most: int) -> None:
        """Copy the words of a payload, a whole number of ``unit`` bytes but no more than ``most`` of them."""
        if not payload or len(payload) % unit or len(payload) > unit * most:
            raise CorruptDataError(f"{len(payload)} bytes are not a whole number of {unit}-byte blocks")
        found = np.frombuffer(payload, dtype)
        self._words = aligned_zeros(found.size, found.dtype)
        self._words[:] = found


class StaticFilter(Filter):
    """A filter built once from all keys: by ``build`` or ``build_hashes``, which do not call ``__init__``."""

    __slots__ = ()
    _keys: int
    bits: int

    def __init__(self, *_: Any, **__: Any) -> None:
        raise TypeError(f"all keys must be known at once: use {type(self).__name__}.build(keys)")

    @classmethod
    @abstractmethod
    def build_hashes(
        cls, hashes: NDArray[np.uint64], fpr: float | None = None, bits: int | None = None, *, seed: int = 0
    ) -> Self:
        """Make a filter of ready 64-bit hashes (``uint64[n]``); ``seed`` is the one they were made with."""

    @classmethod
    def build(
        cls, keys: Any, fpr: float | None = None, bits: int | None = None, *, seed: int = 0, **more: Any
    ) -> Self:
        """Make a filter of all distinct ``keys``; nulls are skipped. Takes what ``build_hashes`` takes."""
        return cls.build_hashes(all_hashes(house_hasher(seed), keys), fpr, bits, seed=seed, **more)

    def __len__(self) -> int:
        """Return the number of distinct keys."""
        return self._keys

    @property
    def bits_per_key(self) -> float:
        """The filter's bits divided by its keys."""
        return 8.0 * self.nbytes / max(1, self._keys)

    def expected_fpr(self) -> float:
        """Return the chance that a key not in the set is found: ``2^-bits``, or 0 for the empty set."""
        return 2.0**-self.bits if self._keys else 0.0


def occupancy_law(bits_per_key: float, block: int, hash_count: int) -> float:
    """Return the false-positive rate of ``hash_count`` bits per key in one of many blocks of ``block`` bits.

    A block holds Poisson(block / bits_per_key) keys. After ``m`` random bits ``j`` are set with a chance
    that follows from that after ``m - 1``, and a stranger's bits are all among them with (j / block)^k.
    """
    load = block / bits_per_key
    if load * hash_count > 40.0 * block:  # e^-40 of the bits are not set
        return 1.0
    keys = np.arange(1, int(load + 12.0 * math.sqrt(load) + 30.0))
    weight = np.exp(keys * math.log(load) - load - np.cumsum(np.log(keys)))
    share = np.arange(block + 1) / block
    hit, chance, total = share**hash_count, np.zeros(block + 1), 0.0
    chance[0] = 1.0
    for w in weight:
        for _ in range(hash_count):
            grown = chance * (1.0 - share)
            chance *= share
            chance[1:] += grown[:-1]
        total += float(w * (chance @ hit))
    return total


def invert(law: Callable[[float], float], fpr: float, most: float) -> float:
    """Return the fewest bits per key, up to ``most``, at which a falling ``law`` keeps ``fpr``."""
    low, high = 0.125, most
    if not law(high) <= fpr <= law(low):
        raise ValueError(f"fpr={fpr} is outside {law(high):.2g}..{law(low):.3g}, all that this filter can do")
    while high - low > 1e-6 * high:
        middle = (low + high) / 2.0
        low, high = (middle, high) if law(middle) > fpr else (low, middle)
    return high


def count_keys(parts: list[Piece]) -> int:
    """Return the number of keys that are not null, at least 1: what a filter of them is planned for."""
    return max(1, sum(len(p) if p.valid is None else int(np.count_nonzero(p.valid)) for p in parts))


def all_hashes(hasher: KeyHasher, keys: Any) -> NDArray[np.uint64]:
    """Hash a whole batch; nulls are left out."""
    parts = hasher.pieces(keys)
    out, end = np.empty(sum(map(len, parts)), np.uint64), 0
    for hashes in hasher.present(parts):
        out[end : end + len(hashes)] = hashes
        end += len(hashes)
    return out[:end]


def distinct(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return each hash once, in rising order. NumPy sorts with vectors, its ``unique`` does not."""
    ordered = np.sort(hashes)
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def house_hasher(seed: int) -> KeyHasher:
    """Return the house keys' hash, XXH3-64, under ``seed``."""
    return KeyHasher(XXH3, seed)
