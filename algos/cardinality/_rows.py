"""What counters share that are a row of registers, or one for each group: adding, groups, merging, storing.

A counter counts without groups, in one row, or with them: then it holds a row for each group, one behind the
other, and grows by doubling to the highest group there was. Which of the two it does is decided by its first
keys. Rows are bytes; what these mean is the variant's business, whose kernels do all that is done to them.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from algos._arguments import integer, whole_numbers
from algos._bits import aligned_zeros
from algos._fastcall import place
from algos._threads import check_threads, in_parts
from algos.cardinality._estimators import around
from algos.cardinality._sampled import check_confidence, deviations
from algos.errors import CorruptDataError
from algos.hashing._keyed import Growing, check_hashes, house_hasher
from algos.hashing.keys import Words
from algos.hashing.xxh3 import XXH3

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algos._state import Parameters
    from algos.hashing.keys import Piece

MAX_BYTES = 1 << 34
"""So much the rows of all groups may take: a wrong group number shall not take the machine's memory."""
_NOTHING = np.zeros(0, np.uint8)


class RowCounter(Growing):
    """A counter of distinct keys whose state is one row of bytes, or one for each group."""

    __slots__ = ("_groups", "_registers", "_rows")
    BESIDE = "groups"
    _PAD: ClassVar[int] = 0
    """Bytes behind the last row that kernels may read, and write as they were."""
    METHODS: ClassVar[tuple[str, ...]]
    """The names of the estimators; the first is the default."""
    _registers: Any
    _rows: Any
    _groups: int | None

    # To be given by the variant

    @property
    @abstractmethod
    def _row(self) -> int:
        """The size of a row, in bytes."""

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """Return the parameters that two counters must have in common, but for the seed."""

    @abstractmethod
    def _put(self, hashes: Any) -> None:
        """Add ready hashes to ``_registers``."""

    @abstractmethod
    def _put_words(self, words: Any) -> None:
        """Hash 64-bit keys by XXH3 and add them to ``_registers``."""

    @abstractmethod
    def _put_groups(self, hashes: Any, groups: Any) -> None:
        """Add ready hashes to the rows of their groups, all of which are there."""

    @abstractmethod
    def _unite(self, mine: Any, theirs: Any, rows: int) -> None:
        """Merge so many rows into as many others."""

    @abstractmethod
    def _estimates(self, method: str, rows: Any, out: Any) -> None:
        """Estimate the count of each row."""

    @abstractmethod
    def _errors(self, estimates: Any) -> Any:
        """Return the relative standard error of estimates by the default method."""

    @abstractmethod
    def _check_rows(self, rows: Any, count: int) -> bool:
        """Tell whether so many rows hold nothing that no stream of keys leaves."""

    # Making

    def _begin(self, seed: int) -> None:
        self._use(house_hasher(seed))
        self._groups, self._rows = None, _NOTHING
        self._registers = self._zeros(1)

    def _zeros(self, rows: int) -> Any:
        return aligned_zeros(rows * self._row + self._PAD, np.uint8)

    @classmethod
    def _made(cls, settings: dict[str, Any], seed: int) -> Self:
        """Return an empty counter of these parameters."""
        make: Any = cls
        made: Self = make(**settings, seed=seed)
        return made

    def _twin(self) -> Self:
        """Return a counter like this one without its keys."""
        return self._made(self._settings(), self.seed)

    def _is_empty(self) -> bool:
        """Tell whether nothing was counted, with groups or without."""
        return self._groups is None and not self._registers.any()

    # Adding

    def add_many(self, keys: Any, groups: Any = None, *, threads: int = 1) -> None:
        """Count ``n`` keys, or any iterable of keys; nulls are skipped. O(n), one pass.

        With ``groups``, an array of ``n`` ints from 0 on, each key is counted in the row of its group; the
        counter grows to the highest of them. Without groups the work is shared by ``threads``, which pays
        from some millions of keys on. One writer at a time.

        Raises ``ValueError`` for groups on a counter that has counted without them, and the other way round,
        and for one so high that the rows would take more than 16 GiB.
        """
        threads = check_threads(threads)
        if groups is None:
            self._check_ungrouped()
            for parts in self._hasher.batches(keys):
                self._add_pieces(parts, threads)
            return
        numbers = self._check_groups(groups)
        for hashes, part in self._blocks(keys, numbers):
            self._reach(part)
            self._insert_groups(hashes, part)
        self._reach(numbers)

    def add_hashes(self, hashes: NDArray[np.uint64], groups: Any = None) -> None:
        """Count ready hashes (``uint64[n]``), well mixed in all 64 bits, in ``groups`` as by ``add_many``."""
        hashes = check_hashes(hashes)
        if groups is None:
            self._check_ungrouped()
            self._insert(hashes)
            return
        numbers = self._check_groups(groups)
        if len(numbers) != len(hashes):
            raise ValueError(f"{len(hashes)} hashes and {len(numbers)} groups for them; give one for each")
        self._reach(numbers)
        self._insert_groups(hashes, numbers)

    def _add_one(self, key: Any) -> None:
        """Count one key; ``None`` is a null and is skipped."""
        self._check_ungrouped()
        super()._add_one(key)

    def _insert(self, hashes: Any) -> None:
        self._put(hashes)

    def _insert_groups(self, hashes: Any, groups: Any) -> None:
        self._put_groups(hashes, groups)

    def _insert_piece(self, piece: Any) -> None:
        if self._hasher.algorithm is XXH3 and isinstance(piece, Words) and piece.valid is None:
            for _, words in piece.spans():
                self._insert_words(words)
        else:
            super()._insert_piece(piece)

    def _insert_words(self, words: Any) -> None:
        self._put_words(words)

    def _add_pieces(self, parts: list[Piece], threads: int = 1) -> None:
        for part in parts:
            self._insert_in_parts(part, threads)

    def _insert_in_parts(self, piece: Piece, threads: int) -> None:
        """Hash and count a piece in threads, each but the first with a counter of its own, then merged."""
        if threads > 1:  # what a dictionary needs only once
            piece.hash_into(self._hasher.algorithm, self._hasher.word_seed, 0, 0, np.empty(0, np.uint64))
        others: list[Any] = []

        def work(lo: int, hi: int) -> None:
            mine = self if lo == 0 else self._twin()
            mine._insert_piece(piece.cut(lo, hi))
            if lo:
                others.append(mine)

        in_parts(threads, len(piece), work)
        for other in others:
            self.merge(other)

    # Groups

    @property
    def groups(self) -> int | None:
        """The number of groups, or ``None`` if the counter counts without."""
        return self._groups

    def __getitem__(self, group: int) -> Self:
        """Return the counter of one group, a copy."""
        group = integer("group", group)
        if self._groups is None:
            raise ValueError("this counter counts without groups: it has no rows to choose from")
        if not 0 <= group < self._groups:
            raise IndexError(f"group {group} is outside 0..{self._groups - 1}")
        single = self._twin()
        single._take_row(self, group)
        return single

    def _take_row(self, other: Self, group: int) -> None:
        """Become what a group of another counter is."""
        row = other._rows[group * self._row : (group + 1) * self._row]
        self._registers[: self._row] = row

    def _check_ungrouped(self) -> None:
        if self._groups is not None:
            raise ValueError("this counter counts with groups: give each key its group")

    def _check_groups(self, groups: Any) -> Any:
        """Return group numbers in bounds as words; refuse them where keys were counted without."""
        array = np.asarray(groups)
        if array.ndim != 1:
            raise TypeError(f"groups must be an array of ints, one for each key, not of shape {array.shape}")
        most = MAX_BYTES // self._row - 1
        numbers = whole_numbers("groups", array if len(array) else array.astype(np.int64), len(array), most)
        if self._groups is None and not self._is_empty():
            raise ValueError("this counter has counted keys without groups; use another for groups")
        return numbers

    def _begin_groups(self) -> None:
        self._groups, self._registers, self._rows = 0, _NOTHING, self._zeros(0)

    def _reach(self, numbers: Any) -> None:
        """Have rows for all of these groups; from now on the counter counts with groups."""
        if self._groups is None:
            self._begin_groups()
        if len(numbers):
            self._grow(int(numbers.max()) + 1)

    def _grow(self, groups: int) -> None:
        """Have rows for so many groups, if there are fewer; room for twice as many is a later growth less."""
        assert self._groups is not None
        room = (len(self._rows) - self._PAD) // self._row
        if groups > room:
            used = self._groups * self._row
            rows = self._zeros(min(max(groups, 2 * room), MAX_BYTES // self._row))
            rows[:used] = self._rows[:used]
            self._rows = rows
        self._groups = max(self._groups, groups)

    def _used(self) -> Any:
        """Return the rows that there are, without padding."""
        rows = self._registers if self._groups is None else self._rows
        return rows[: self._row * (1 if self._groups is None else self._groups)]

    def _padded(self) -> Any:
        """Return them with it."""
        return self._registers if self._groups is None else self._rows

    # Asking

    def estimate(self, method: str | None = None) -> Any:
        """Return how many distinct keys were counted: a float, or ``float64[groups]``. O(nbytes).

        ``method`` is one of ``METHODS``, whose first is the default. 0.0 for none; inf where the state is
        full, which takes more keys than there are hashes.
        """
        method = self._check_method(method)
        out = np.empty(1 if self._groups is None else self._groups)
        self._estimates_of(method, out)
        return float(out[0]) if self._groups is None else out

    def _estimates_of(self, method: str, out: Any) -> None:
        """Estimate the count of each row there is."""
        self._estimates(method, self._padded(), out)

    def _check_method(self, method: str | None) -> str:
        """Return the method, or say which there are."""
        if method is None:
            return self.METHODS[0]
        if method not in self.METHODS:
            raise ValueError(f"method={method!r} is not one of {', '.join(self.METHODS)}")
        return method

    def interval(self, confidence: float = 0.95) -> tuple[Any, Any]:
        """Return ``(low, high)``, floats or ``float64[groups]``, that hold the count with that confidence.

        By the default estimator's theoretical relative standard error, as if errors were normal: for counts
        from some hundreds on. O(nbytes).
        """
        errors = deviations(check_confidence(confidence))
        estimates = np.atleast_1d(self.estimate())
        low, high = around(estimates, errors * self._errors(estimates))
        return (float(low[0]), float(high[0])) if self._groups is None else (low, high)

    # Merging and storing

    def merge(self, other: Self) -> None:
        """Take in all keys of ``other``, row by row: bit for bit as if they had been counted here. O(nbytes).

        Raises ``ValueError`` unless parameters and seed are the same, and both count with groups or both
        without.
        """
        self._check_mergeable(other)
        if (self._groups is None) != (other._groups is None):
            if other._is_empty():
                return
            if not self._is_empty():
                raise ValueError("cannot merge a counter with groups and one without")
            self._begin_groups()
        self._merge(other)

    def _merge(self, other: Self) -> None:
        if other._groups is not None:
            self._grow(other._groups)
        self._unite(self._padded(), other._padded(), 1 if other._groups is None else other._groups)

    def _check_mergeable(self, other: Any) -> None:
        if type(other) is not type(self):
            raise ValueError(f"cannot merge a {type(other).__name__} into a {type(self).__name__}")
        mine, theirs = ({**f._settings(), "seed": f.seed} for f in (self, other))
        differing = [f"{k}={mine[k]!r} and {theirs[k]!r}" for k in mine if mine[k] != theirs[k]]
        if differing:
            raise ValueError(f"cannot merge counters with {', '.join(differing)}; {self._remedy(other)}")

    def _remedy(self, _other: Self) -> str:
        return "make both alike"

    @property
    def nbytes(self) -> int:
        """The size of the rows that there are, in bytes."""
        return int(self._used().nbytes)

    def _parameters(self) -> dict[str, Any]:
        return {
            **self._settings(),
            "groups": -1 if self._groups is None else self._groups,
            "seed": self.seed,
        }

    def _payload(self) -> Any:
        return self._used()

    @classmethod
    @abstractmethod
    def _settings_from(cls, parameters: Parameters) -> dict[str, Any]:
        """Return the checked parameters."""

    @classmethod
    def _restore(cls, parameters: Parameters, payload: memoryview) -> Self:
        settings = cls._settings_from(parameters)
        self = cls._made(settings, parameters.integer("seed", 0, (1 << 64) - 1))
        groups = parameters.integer("groups", -1, MAX_BYTES // self._row)
        if groups >= 0:
            if groups * self._row > len(payload):  # before so much is allocated for them
                raise CorruptDataError(f"{len(payload)} bytes are not {groups} rows of {self._row}")
            self._begin_groups()
            self._grow(groups)
        self._take(payload, 1 if groups < 0 else groups)
        return self

    def _take(self, payload: memoryview, rows: int) -> None:
        """Take so many rows from a payload."""
        if len(payload) != rows * self._row:
            raise CorruptDataError(f"{len(payload)} bytes are not {rows} rows of {self._row}")
        self._padded()[: len(payload)] = np.frombuffer(payload, np.uint8)
        self._refuse_unless(self._check_rows(self._padded(), rows))

    @staticmethod
    def _refuse_unless(right: Any) -> None:
        if not right:
            raise CorruptDataError("some registers hold what no keys can leave in them")


ROW = place(RowCounter, "_registers")
