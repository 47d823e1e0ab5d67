"""What every membership filter shares: the batch loop, and what a filter that grows can do."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._threads import check_threads, in_parts
from algos.hashing._keyed import Growing, Keyed, all_hashes, check_hashes, house_hasher

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from algos.hashing.keys import Piece


class Filter(Keyed):
    """The face of a filter: one batch loop."""

    __slots__ = ()

    @abstractmethod
    def _probe(self, hashes: Any, out: Any) -> None:
        """Answer for ready hashes into ``out`` (bool[n])."""

    def _probe_piece(self, piece: Piece, out: Any) -> None:
        """Answer for one normalised piece of a batch into ``out``."""
        for lo, hashes in self._hasher.chunks(piece):
            self._probe(hashes, out[lo : lo + len(hashes)])

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


class GrowingFilter(Filter, Growing):
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

    def add_many(self, keys: Any, return_new: bool = False, *, threads: int = 1) -> NDArray[np.bool_] | None:
        """Add ``n`` keys, or any iterable; nulls are skipped. One writer at a time, but for its ``threads``.

        With ``return_new`` say for each key whether it was new (``bool[n]``), as if they had been added
        one by one, and so in one thread: of equal keys in the batch only the first can be. A false positive
        counts as not new.
        """
        threads = check_threads(threads)
        if return_new:
            return self._per_key(self._hasher.pieces(keys), self._insert_new)
        for parts in self._hasher.batches(keys):
            self._add_pieces(parts, threads)
        return None

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


def distinct(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return each hash once, in rising order. NumPy sorts with vectors, its ``unique`` does not."""
    ordered = np.sort(hashes)
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]
