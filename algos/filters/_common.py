"""What every membership filter shares: the batch loop, bytes, pickling, and checks of arguments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos import _state
from algos._fastcall import key_alone, key_of, known, place
from algos._jit import inlined
from algos._threads import check_threads, in_parts
from algos.filters._checks import check_hashes
from algos.hashing._algorithm import ONE
from algos.hashing.batch import KeyHasher
from algos.hashing.xxh3 import XXH3, xxh3_alone

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from algos.hashing.keys import Piece


class Filter(ABC):
    """The face of a filter: one batch loop, one serialised form."""

    __slots__ = ("_hasher", "_scalar_seed")
    _VERSION = 1
    _hasher: KeyHasher

    def _use(self, hasher: KeyHasher) -> None:
        """Hash keys by ``hasher`` from now on."""
        self._hasher = hasher
        self._scalar_seed = hasher.seed if hasher.algorithm is XXH3 else None  # scalar calls hash by XXH3

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

            def work(lo: int, hi: int, part: Piece = part, answers: Any = answers) -> None:
                self._probe_piece(part.cut(lo, hi), answers[lo:hi])

            in_parts(threads, len(part), work)
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
        return self._contains_one(key)

    def _contains_one(self, key: Any) -> bool:
        """Look one key up in the way of the batches, whatever it is."""
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


SEED = place(Filter, "_scalar_seed")


@inlined
def hash_alone(me: Any, arguments: Any, count: Any, names: Any) -> tuple[Any, Any]:
    """Tell whether a call of the filter ``me`` has one plain key, and return its hash."""
    key, seed = key_alone(arguments, count, names), key_of(me, SEED)
    return (True, xxh3_alone(key, seed)) if known(key, seed) else (False, np.uint64(0))


class GrowingFilter(Filter):
    """A filter that takes keys after it is made, for which it was planned for ``capacity`` of them."""

    __slots__ = ()
    capacity: int

    @property
    def bits_per_key(self) -> float:
        """The filter's bits divided by the keys it was planned for."""
        return 8.0 * self.nbytes / self.capacity

    @abstractmethod
    def _insert_new(self, hashes: Any, out: Any) -> None:
        """Add ready hashes one after the other and note in ``out`` which were not there before."""

    def _insert(self, hashes: Any) -> None:
        """Add ready hashes; to be overridden where not asking what was new is faster."""
        self._insert_new(hashes, np.empty(len(hashes), np.bool_))

    def add(self, key: Any) -> None:
        """Add one key; ``None`` is a null and is skipped."""
        self._add_one(key)

    def _add_one(self, key: Any) -> None:
        """Add one key; ``None`` is a null and is skipped."""
        found = ONE[XXH3.name](key, self._scalar_seed)
        hashes = self._hasher.one(key) if found is None else np.array([found], np.uint64)
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
        for part in parts:
            if threads == 1:
                self._insert_piece(part)
            else:
                self._insert_in_threads(self._hasher.hashed(part, threads), threads)

    def _insert_piece(self, piece: Piece) -> None:
        """Add the keys of one normalised piece of a batch that are not null."""
        for lo, hashes in self._hasher.chunks(piece):
            self._insert(hashes if piece.valid is None else hashes[piece.valid[lo : lo + len(hashes)]])

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


def count_keys(parts: list[Piece]) -> int:
    """Return the number of keys that are not null, at least 1: what a filter of them is planned for."""
    return max(1, sum(len(p) if p.valid is None else int(np.count_nonzero(p.valid)) for p in parts))


def all_hashes(hasher: KeyHasher, keys: Any) -> NDArray[np.uint64]:
    """Hash a whole batch; nulls are left out."""
    found = [hasher.hashed(part) for part in hasher.pieces(keys)]
    return found[0] if len(found) == 1 else np.concatenate([np.empty(0, np.uint64), *found])


def distinct(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return each hash once, in rising order. NumPy sorts with vectors, its ``unique`` does not."""
    ordered = np.sort(hashes)
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def house_hasher(seed: int) -> KeyHasher:
    """Return the house keys' hash, XXH3-64, under ``seed``."""
    return KeyHasher(XXH3, seed)
