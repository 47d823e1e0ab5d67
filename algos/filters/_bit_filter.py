"""What filters share whose bits are only ever set: sizes, merging, storing, and the laws of blocks."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from algos._bits import aligned_zeros
from algos._fastcall import place
from algos._threads import in_parts
from algos.errors import CorruptDataError
from algos.filters._checks import (
    DEFAULT_FPR,
    MAX_CAPACITY,
    check_bits_per_key,
    check_capacity,
    check_count,
    check_fpr,
    only_one,
)
from algos.filters._common import GrowingFilter, count_keys
from algos.hashing._keyed import house_hasher

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from algos import _state


class BitFilter(GrowingFilter):
    """A filter of bits that are only ever set, planned for ``capacity`` keys: it merges by OR."""

    __slots__ = ("_words", "capacity")
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
        twin = self._alike()
        twin._words = aligned_zeros(self._words.size, self._words.dtype)
        return twin

    def _payload(self) -> Any:
        return self._words

    @classmethod
    def _stored(
        cls, parameters: _state.Parameters, payload: memoryview, unit: int, dtype: str, most: int
    ) -> Self:
        """Make a filter of what all of them store."""
        self = cls.__new__(cls)
        self.capacity = parameters.integer("capacity", 1, MAX_CAPACITY)
        self._use(house_hasher(parameters.integer("seed", 0, (1 << 64) - 1)))
        self._take_words(payload, unit, dtype, most)
        return self

    def _take_words(self, payload: memoryview, unit: int, dtype: str, most: int) -> None:
        """Copy the words of a payload, a whole number of ``unit`` bytes but no more than ``most`` of them."""
        if not payload or len(payload) % unit or len(payload) > unit * most:
            raise CorruptDataError(f"{len(payload)} bytes are not a whole number of {unit}-byte blocks")
        found = np.frombuffer(payload, dtype)
        self._words = aligned_zeros(found.size, found.dtype)
        self._words[:] = found


WORDS = place(BitFilter, "_words")


class HashCountFilter(BitFilter):
    """A filter of ``hash_count`` bits for each key, in whole blocks of ``BLOCK_BITS``."""

    __slots__ = ("hash_count",)
    BLOCK_BITS: ClassVar[int]
    MAX_BLOCKS: ClassVar[int]
    MAX_HASHES: ClassVar[int]
    hash_count: int

    @staticmethod
    @abstractmethod
    def _size_for(fpr: float) -> tuple[float, int]:
        """Return the bits per key, and the hashes, that keep ``fpr``."""

    @staticmethod
    @abstractmethod
    def _hashes_for(bits_per_key: float) -> int:
        """Return the best number of hashes."""

    def __init__(
        self, capacity: int, fpr: float | None = None, bits_per_key: float | None = None, *, seed: int = 0
    ) -> None:
        only_one(fpr=fpr, bits_per_key=bits_per_key)
        self.capacity = check_capacity(capacity)
        self._use(house_hasher(seed))
        if bits_per_key is None:
            per_key, self.hash_count = self._size_for(check_fpr(DEFAULT_FPR if fpr is None else fpr))
        else:
            per_key = check_bits_per_key(bits_per_key)
            self.hash_count = self._hashes_for(per_key)
        blocks = math.ceil(per_key * self.capacity / self.BLOCK_BITS)
        if blocks > self.MAX_BLOCKS:
            raise ValueError(
                f"{blocks} blocks are more than the {self.MAX_BLOCKS:,} a hash can choose from; ask for less"
            )
        self._words = aligned_zeros(blocks * self.BLOCK_BITS // 64, np.uint64)

    def _parameters(self) -> dict[str, Any]:
        return {"capacity": self.capacity, "hash_count": self.hash_count, "seed": self.seed}

    @classmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        self = cls._stored(parameters, payload, cls.BLOCK_BITS // 8, "<u8", cls.MAX_BLOCKS)
        self.hash_count = parameters.integer("hash_count", 1, cls.MAX_HASHES)
        return self


HASHES = place(HashCountFilter, "hash_count")


class OneBlockFilter(HashCountFilter):
    """A filter in which all of a key's bits are in one block."""

    __slots__ = ()

    def expected_fpr(self, count: int | None = None) -> float:
        """Return the chance that a key never added is found.

        For the bits set now it is the mean over blocks of ``(share of set bits)^k``, O(nbytes); with
        ``count`` it is the law for that many keys, before they are added.
        """
        if count is None:
            words = np.bitwise_count(self._words.reshape(-1, self.BLOCK_BITS // 64))
            return float(((words.sum(axis=1) / self.BLOCK_BITS) ** self.hash_count).mean())
        count = check_count(count)
        return occupancy_law(8.0 * self.nbytes / count, self.BLOCK_BITS, self.hash_count) if count else 0.0


def loads(mean: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the numbers of keys that a block may hold, 0 left out, and the Poisson chance of each."""
    keys = np.arange(1, int(mean + 12.0 * math.sqrt(mean) + 30.0))
    return keys, np.exp(keys * math.log(mean) - mean - np.cumsum(np.log(keys)))


def occupancy_law(bits_per_key: float, block: int, hash_count: int) -> float:
    """Return the false-positive rate of ``hash_count`` bits per key in one of many blocks of ``block`` bits.

    A block holds Poisson(block / bits_per_key) keys. After ``m`` random bits ``j`` are set with a chance
    that follows from that after ``m - 1``, and a stranger's bits are all among them with (j / block)^k.
    """
    load = block / bits_per_key
    if load * hash_count > 40.0 * block:  # e^-40 of the bits are not set
        return 1.0
    share = np.arange(block + 1) / block
    hit, chance, total = share**hash_count, np.zeros(block + 1), 0.0
    chance[0] = 1.0
    for w in loads(load)[1]:
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
