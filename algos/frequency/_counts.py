"""What every array of counters shares whose keys are hashed: weights, batches, estimates, and merging."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from algos._arguments import integer, whole_numbers
from algos._bits import M32, U1, U32_, U64, aligned_zeros
from algos._fastcall import INT, key_of, kind_of, known, place, size_of, word_of
from algos._jit import inlined, kernel
from algos._threads import check_threads, in_parts
from algos.errors import CorruptDataError
from algos.hashing._keyed import SEED, Growing, Keyed, check_hashes
from algos.hashing.xxh3 import xxh3_alone

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algos.hashing.keys import Piece

U0 = U64(0)
MOST = (1 << 63) - 1
"""The most that weights may sum to, so that no sum of them ever wraps."""
MOST_ = U64(MOST)
ONES = np.ones(1, np.uint64)
TOTAL = 0
"""Where in the state the sum of the weights is, or of their magnitudes."""


@kernel
def _halves(words: Any) -> tuple[Any, Any]:
    """Sum the upper and the lower halves of words; neither sum overflows."""
    upper, lower = U0, U0
    for i in range(words.size):
        upper += words[i] >> U32_
        lower += words[i] & M32
    return upper, lower


def exact_sum(words: Any) -> int:
    """Return the sum of words, however large."""
    upper, lower = _halves(words)
    return (int(upper) << 32) + int(lower)


@inlined
def counted_alone(me: Any, arguments: Any, count: Any, names: Any) -> tuple[Any, Any, Any]:
    """Tell whether a call has one plain key and at most an int64 for its weight; return hash and weight."""
    weight, seed = U1, key_of(me, SEED)
    if (names != U0) | (count == U0) | (count > U64(2)):
        return False, U0, U0
    if count == U64(2):
        given = key_of(arguments, 1)
        if (kind_of(given) != INT) | (size_of(given) != U0):
            return False, U0, U0
        weight = word_of(given)
    key = key_of(arguments, 0)
    if not known(key, seed):
        return False, U0, U0
    return True, xxh3_alone(key, seed), weight


class Weighed(Keyed):
    """What counts keys by weights that sum to less than 2^63."""

    __slots__ = ("_state",)
    BESIDE = "weights"
    _state: NDArray[np.uint64]

    @property
    def total(self) -> int:
        """The sum of all weights added."""
        return int(self._state[TOTAL])

    def _room(self, mass: int) -> None:
        """Refuse weights that would sum to more than the state holds."""
        total = int(self._state[TOTAL]) + mass
        if total > MOST:
            raise OverflowError(f"the weights would sum to {total}, above 2**63 - 1: begin a new sketch")

    def _checked(self, weights: Any, n: int) -> Any:
        """Return weights as words, one for all or ``n``, or say which there can be."""
        return whole_numbers("weights", weights, n, MOST)

    def _column(self, weights: Any) -> tuple[Any, Any]:
        """Return the one weight for all keys, or those for each of them."""
        if weights is None or np.ndim(weights) == 0:
            return ONES if weights is None else self._checked(weights, 1), None
        return None, self._checked(weights, len(weights))


STATE = place(Weighed, "_state")


class Counts(Weighed, Growing):
    """Counters that keys share by their hashes."""

    __slots__ = ("_counters",)
    ESTIMATE: ClassVar[Any] = np.int64
    _counters: Any

    @abstractmethod
    def _count(self, hashes: Any, weights: Any, total: int) -> None:
        """Count ready hashes in their order, with a weight each or one for all; these make the ``total``."""

    @abstractmethod
    def _read(self, hashes: Any, out: Any) -> None:
        """Write the estimates of ready hashes into ``out``."""

    @property
    def nbytes(self) -> int:
        """The size of the counters, in bytes."""
        return int(self._counters.nbytes)

    # Adding

    def _sums(self, weights: Any) -> tuple[int, ...]:
        """Return what weights add to the first words of the state."""
        return (1,) if weights is ONES else (exact_sum(weights),)

    def _gain(self, n: int, weights: Any) -> tuple[int, ...]:
        """Return what ``n`` keys of these weights add to the state, if there is room for it."""
        sums = self._sums(weights)
        if weights.size == 1:
            sums = tuple(n * each for each in sums)
        self._room(sums[TOTAL])
        return sums

    def _note(self, sums: tuple[int, ...]) -> None:
        """Add sums to the state."""
        for at, gain in enumerate(sums):
            self._state[at] = (int(self._state[at]) + gain) & 0xFFFF_FFFF_FFFF_FFFF

    def _take(self, hashes: Any, weights: Any) -> None:
        sums = self._gain(len(hashes), weights)
        self._count(hashes, weights, int(self._state[TOTAL]) + sums[TOTAL])
        self._note(sums)

    def _insert(self, hashes: Any) -> None:
        self._take(hashes, ONES)

    def _column(self, weights: Any) -> tuple[Any, Any]:
        every, column = super()._column(weights)
        if column is not None:
            self._room(self._sums(column)[TOTAL])  # before anything is counted
        return every, column

    def add(self, key: Any, weight: int = 1) -> None:
        """Count one key ``weight`` times; ``None`` is a null and is skipped."""
        self._add_one(key, weight)

    def _add_one(self, key: Any, weight: int = 1) -> None:
        """Count one key ``weight`` times; ``None`` is a null and is skipped."""
        words = self._checked(integer("weight", weight), 1)
        hashes = self._hasher.one(key)
        if hashes is not None:
            self._take(hashes, words)

    def add_many(self, keys: Any, weights: Any = None) -> None:
        """Count ``n`` keys, or any iterable, one after the other; nulls are skipped. One writer at a time.

        ``weights`` is an int for all, or ``n`` of them; without it each key counts once.
        """
        every, column = self._column(weights)
        for hashes, given in self._blocks(keys, column):
            self._take(hashes, every if given is None else given)

    def add_hashes(self, hashes: NDArray[np.uint64], weights: Any = None) -> None:
        """Count ready 64-bit hashes (``uint64[n]``), well mixed in all bits, as ``add_many`` counts keys."""
        hashes = check_hashes(hashes)
        self._take(hashes, ONES if weights is None else self._checked(weights, len(hashes)))

    # Asking

    def estimate(self, key: Any) -> Any:
        """Return the estimate for one key; 0 for a null."""
        return self._estimate_one(key)

    def _estimate_one(self, key: Any) -> Any:
        """Return the estimate for one key; 0 for a null."""
        hashes, out = self._hasher.one(key), np.zeros(1, self.ESTIMATE)
        if hashes is not None:
            self._read(hashes, out)
        return out[0].item()

    def estimate_many(self, keys: Any) -> Any:
        """Return the estimates for ``n`` keys, 0 for nulls: ``int64[n]``, of Morris counters ``float64[n]``.

        Safe from many threads while nobody adds.
        """
        parts = self._hasher.pieces(keys)
        out, base = np.empty(sum(map(len, parts)), self.ESTIMATE), 0
        for part in parts:
            answers = out[base : base + len(part)]
            for lo, hashes in self._hasher.chunks(part):
                self._read(hashes, answers[lo : lo + len(hashes)])
            if part.valid is not None:
                answers[~part.valid] = 0
            base += len(part)
        return out

    def estimate_hashes(self, hashes: NDArray[np.uint64]) -> Any:
        """Return the estimates for ready 64-bit hashes (``uint64[n]``), as ``estimate_many`` for keys."""
        hashes = check_hashes(hashes)
        out = np.empty(len(hashes), self.ESTIMATE)
        self._read(hashes, out)
        return out

    # Storing

    def _payload(self) -> Any:
        return np.concatenate((self._state.view(np.uint8), self._counters.view(np.uint8)))

    def _take_payload(self, payload: memoryview, words: int, counters: int, dtype: Any) -> None:
        """Copy so many words of state and so many counters from a payload."""
        want = 8 * words + counters * np.dtype(dtype).itemsize
        if len(payload) != want:
            raise CorruptDataError(f"{len(payload)} bytes are not the {want} of {counters} counters")
        self._state = np.frombuffer(payload[: 8 * words], "<u8").astype(np.uint64)
        self._counters = aligned_zeros(counters, dtype)
        self._counters[:] = np.frombuffer(payload[8 * words :], np.dtype(dtype).newbyteorder("<"))
        if self._state[TOTAL] > MOST:
            raise CorruptDataError(f"a total of {self._state[TOTAL]} is above 2**63 - 1")


COUNTERS = place(Counts, "_counters")


class Pooled(Counts):
    """Counters that merge by being added up."""

    __slots__ = ()

    @abstractmethod
    def _pool(self, counters: Any) -> None:
        """Add others' counters to these."""

    def merge(self, other: Self) -> None:
        """Add all that ``other`` counted, bit for bit as if it had been counted here.

        Raises ``ValueError`` unless size, depth and seed are the same.
        """
        self._check_mergeable(other)
        self._room(int(other._state[TOTAL]))
        self._pool(other._counters)
        self._state += other._state


class Linear(Pooled):
    """Counters that are sums over keys, in any order: sums of sketches are sketches of all."""

    __slots__ = ()

    def add_many(self, keys: Any, weights: Any = None, *, threads: int = 1) -> None:
        """Count ``n`` keys, or any iterable; nulls are skipped. One writer at a time, but for ``threads``.

        ``weights`` is an int for all, or ``n`` of them; without it each key counts once. All threads but
        one count in sketches of their own, which are then merged.
        """
        if check_threads(threads) == 1:
            super().add_many(keys, weights)
            return
        every, column = self._column(weights)
        for part, given in self._paired(keys, column):
            self._count_in_threads(part, every, given, threads)

    def _count_in_threads(self, part: Piece, every: Any, column: Any, threads: int) -> None:
        if every is not None:
            self._gain(len(part), every)
        twins: list[Any] = []

        def work(lo: int, hi: int) -> None:
            mine = self
            if lo:
                mine = self._empty()
                twins.append(mine)
            for hashes, given in mine._blocks_of(part.cut(lo, hi), None if column is None else column[lo:hi]):
                mine._take(hashes, every if given is None else given)

        in_parts(threads, len(part), work)
        for twin in twins:
            self.merge(twin)

    def _empty(self) -> Self:
        """Return a sketch like this one that has counted nothing."""
        twin = self._alike()
        twin._counters = aligned_zeros(self._counters.size, self._counters.dtype)
        twin._state = np.zeros_like(self._state)
        return twin
