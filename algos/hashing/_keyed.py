"""What every structure shares whose keys are hashed: the hash, adding in batches and alone, and merging."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from algos._fastcall import key_alone, key_of, known, place
from algos._jit import inlined
from algos._state import Stored
from algos.hashing._algorithm import ONE
from algos.hashing.batch import KeyHasher
from algos.hashing.keys import streamed
from algos.hashing.xxh3 import XXH3, xxh3_alone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from algos.hashing.keys import Piece


class Keyed(Stored):
    """A structure whose keys are hashed."""

    __slots__ = ("_hasher", "_scalar_seed")
    BESIDE: ClassVar[str] = "items"
    """What a column beside keys has, if it takes one."""
    _hasher: KeyHasher

    def _use(self, hasher: KeyHasher) -> None:
        """Hash keys by ``hasher`` from now on."""
        self._hasher = hasher
        self._scalar_seed = hasher.seed if hasher.algorithm is XXH3 else None  # scalar calls hash by XXH3

    @property
    def seed(self) -> int:
        """The seed of the keys' hash."""
        return int(self._hasher.seed)

    def _batches(self, keys: Any, column: Any = None) -> Iterator[list[tuple[Piece, Any]]]:
        """Yield batches of keys: pieces, each with its part of a column, which has an item for each key."""
        if column is not None and streamed(keys):
            raise TypeError(f"{self.BESIDE} cannot go with a {type(keys).__name__} of keys: use a list")
        for parts in self._hasher.batches(keys):
            given, base = sum(map(len, parts)), 0
            if column is not None and len(column) != given:
                raise ValueError(
                    f"{given} keys and {len(column)} {self.BESIDE} for them; give one for each key"
                )
            batch = []
            for part in parts:
                batch.append((part, None if column is None else column[base : base + len(part)]))
                base += len(part)
            yield batch

    def _paired(self, keys: Any, column: Any = None) -> Iterator[tuple[Piece, Any]]:
        """Yield keys piece by piece, each with its part of a column."""
        for batch in self._batches(keys, column):
            yield from batch

    def _blocks_of(self, part: Piece, column: Any = None) -> Iterator[tuple[Any, Any]]:
        """Yield the hashes of a piece block by block, nulls left out, each with its part of a column.

        The hashes' array is used again for the next block.
        """
        for lo, hashes in self._hasher.chunks(part):
            n = len(hashes)
            kept = slice(None) if part.valid is None else part.valid[lo : lo + n]
            yield hashes[kept], None if column is None else column[lo : lo + n][kept]

    def _like(self) -> dict[str, Any]:
        """Return what must be the same to merge."""
        return {**self._parameters(), "nbytes": self.nbytes}  # a size that the parameters may not tell

    def _check_mergeable(self, other: Any) -> None:
        """Refuse to merge structures whose states mean different things."""
        if type(other) is not type(self):
            raise ValueError(f"cannot merge a {type(other).__name__} into a {type(self).__name__}")
        mine, theirs = self._like(), other._like()
        differing = [f"{k}={mine[k]!r} and {theirs[k]!r}" for k in mine if mine[k] != theirs[k]]
        if differing:
            raise ValueError(f"cannot merge structures with {', '.join(differing)}; make both alike")


SEED = place(Keyed, "_scalar_seed")


@inlined
def hash_alone(me: Any, arguments: Any, count: Any, names: Any) -> tuple[Any, Any]:
    """Tell whether a call of the structure ``me`` has one plain key, and return its hash."""
    key, seed = key_alone(arguments, count, names), key_of(me, SEED)
    return (True, xxh3_alone(key, seed)) if known(key, seed) else (False, np.uint64(0))


class Growing(Keyed):
    """A structure that takes keys one by one and in batches."""

    __slots__ = ()

    @abstractmethod
    def _insert(self, hashes: Any) -> None:
        """Add ready hashes."""

    def add(self, key: Any) -> None:
        """Add one key; ``None`` is a null and is skipped."""
        self._add_one(key)

    def _add_one(self, key: Any) -> None:
        """Add one key; ``None`` is a null and is skipped."""
        found = ONE[XXH3.name](key, self._scalar_seed)
        hashes = self._hasher.one(key) if found is None else np.array([found], np.uint64)
        if hashes is not None:
            self._insert(hashes)

    def _blocks(self, keys: Any, column: Any = None) -> Iterator[tuple[Any, Any]]:
        """Yield the hashes of keys block by block, nulls left out, each with its part of a column."""
        for part, given in self._paired(keys, column):
            yield from self._blocks_of(part, given)

    def _add_pieces(self, parts: list[Piece], threads: int = 1) -> None:
        for part in parts:
            if threads == 1:
                self._insert_piece(part)
            else:
                self._insert_in_threads(self._hasher.hashed(part, threads), threads)

    def _insert_piece(self, piece: Piece) -> None:
        """Add the keys of one normalised piece of a batch that are not null."""
        for hashes, _ in self._blocks_of(piece):
            self._insert(hashes)

    def _insert_in_threads(self, hashes: Any, _threads: int) -> None:
        """Add ready hashes. What a key does to most filters depends on those before it: one at a time."""
        self._insert(hashes)

    def add_hashes(self, hashes: NDArray[np.uint64]) -> None:
        """Add ready 64-bit hashes (``uint64[n]``), well mixed in all bits."""
        self._insert(check_hashes(hashes))


def all_hashes(hasher: KeyHasher, keys: Any) -> NDArray[np.uint64]:
    """Hash a whole batch; nulls are left out."""
    found = [hasher.hashed(part) for part in hasher.pieces(keys)]
    return found[0] if len(found) == 1 else np.concatenate([np.empty(0, np.uint64), *found])


def house_hasher(seed: int) -> KeyHasher:
    """Return the house keys' hash, XXH3-64, under ``seed``."""
    return KeyHasher(XXH3, seed)


def check_hashes(hashes: Any) -> NDArray[np.uint64]:
    """Return ready hashes as a contiguous uint64 array; anything else is refused, not converted."""
    if not isinstance(hashes, np.ndarray) or hashes.dtype != np.uint64 or hashes.ndim != 1:
        found = (
            f"{hashes.dtype}{list(hashes.shape)}" if isinstance(hashes, np.ndarray) else type(hashes).__name__
        )
        raise TypeError(f"hashes must be a uint64[n] NumPy array, not {found}; hash64 makes one")
    return np.ascontiguousarray(hashes)
