"""What counters share whose row is registers, each chosen by the first bits of a hash."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from algos._arguments import integer
from algos._fastcall import place
from algos.cardinality._rows import RowCounter
from algos.errors import CorruptDataError
from algos.hashing._keyed import Growing

if TYPE_CHECKING:
    from algos.hashing.keys import Piece


class RegisterCounter(RowCounter):
    """A counter of ``2^precision`` registers, each chosen by the first bits of a hash.

    With ``martingale`` it also keeps, for each row, the sum of 1 / the chance that a new key changes a
    register, taken before each change (Cohen; Ting; both 2014), and of that chance how much of 2^64 is gone:
    an exact sum over the registers.
    """

    __slots__ = ("_gone", "_sums", "martingale", "precision")
    PRECISIONS: ClassVar[tuple[int, int]]
    UNIT_ERRORS: ClassVar[dict[str, float]]
    """By method: the relative standard error times the root of the number of registers."""
    precision: int
    martingale: bool

    @abstractmethod
    def _follow(self, rows: Any, hashes: Any, groups: Any) -> None:
        """Add ready hashes to the rows of their groups, one after the other, and to their sums."""

    @abstractmethod
    def _find_gone(self, rows: Any, out: Any) -> None:
        """Write how much of 2^64 the chance of a change is below 1, for each row."""

    @abstractmethod
    def _shrink(self, rows: Any, target: Self) -> None:
        """Write rows, as they are at the precision of ``target``, to its rows."""

    def _start(self, precision: int, martingale: Any, seed: int) -> None:
        """Set what all of them have."""
        self.precision = self._check_precision(precision)
        if not isinstance(martingale, bool):
            raise TypeError(f"martingale must be a bool, not {type(martingale).__name__}")
        self.martingale = martingale
        self._sums, self._gone = np.zeros(int(martingale)), np.zeros(int(martingale), np.uint64)
        self._begin(seed)

    def _check_precision(self, precision: Any) -> int:
        precision = integer("precision", precision)
        low, high = self.PRECISIONS
        if not low <= precision <= high:
            raise ValueError(f"precision={precision} is outside {low}..{high}; 2**precision is the registers")
        return precision

    # Adding

    def _insert(self, hashes: Any) -> None:
        if self.martingale:
            self._follow(self._registers, hashes, _FIRST)
        else:
            self._put(hashes)

    def _insert_piece(self, piece: Any) -> None:
        if self.martingale:  # chunk by chunk: one kernel less for what is no faster fused
            Growing._insert_piece(self, piece)
        else:
            super()._insert_piece(piece)

    def _insert_in_parts(self, piece: Piece, threads: int) -> None:
        # The sums of a martingale are of the keys in their order.
        super()._insert_in_parts(piece, 1 if self.martingale else threads)

    def _insert_groups(self, hashes: Any, groups: Any) -> None:
        if self.martingale:
            self._follow(self._rows, hashes, groups)
        else:
            self._put_groups(hashes, groups)

    # Groups

    def _begin_groups(self) -> None:
        super()._begin_groups()
        self._sums, self._gone = np.zeros(0), np.zeros(0, np.uint64)

    def _grow(self, groups: int) -> None:
        super()._grow(groups)
        room = (len(self._rows) - self._PAD) // self._row
        if self.martingale and room > len(self._sums):
            more = room - len(self._sums)
            self._sums = np.append(self._sums, np.zeros(more))
            self._gone = np.append(self._gone, np.zeros(more, np.uint64))

    def _take_row(self, other: Self, group: int) -> None:
        super()._take_row(other, group)
        if self.martingale:
            self._sums[0], self._gone[0] = other._sums[group], other._gone[group]

    # Asking

    def _check_method(self, method: str | None) -> str:
        if self.martingale and method in {None, "martingale"}:
            return "martingale"
        if method == "martingale":
            raise ValueError("method='martingale' needs a counter made with martingale=True")
        return super()._check_method(method)

    def _estimates_of(self, method: str, out: Any) -> None:
        if method == "martingale":
            out[:] = self._sums[: len(out)]
        else:
            super()._estimates_of(method, out)

    @property
    def relative_error(self) -> float:
        """The relative standard error of the default estimator, in theory, for counts well above 2^precision.

        It is less for smaller ones.
        """
        return self._unit_errors()[self._check_method(None)] * 2.0 ** (-self.precision / 2.0)

    def _unit_errors(self) -> dict[str, float]:
        return self.UNIT_ERRORS

    def _errors(self, estimates: Any) -> Any:
        return np.full(len(estimates), self.relative_error)

    # Merging, shrinking, storing

    def merge(self, other: Self) -> None:
        """Take in all keys of ``other``, row by row: bit for bit as if they had been counted here. O(nbytes).

        Raises ``ValueError`` unless parameters and seed are the same, and both count with groups or both
        without; and with ``martingale``, whose estimate is of one stream in its order.
        """
        super().merge(other)

    def _check_mergeable(self, other: Any) -> None:
        super()._check_mergeable(other)
        self._refuse_if_martingale("merge counters")

    def _refuse_if_martingale(self, what: str) -> None:
        if self.martingale:
            raise ValueError(
                f"cannot {what} with martingale=True: their estimate is of one stream, in the order it had; "
                "count with martingale=False"
            )

    def _remedy(self, other: Self) -> str:
        if other.precision == self.precision:
            return super()._remedy(other)
        return f"take the finer one's downsize({min(self.precision, other.precision)})"

    def downsize(self, precision: int) -> Self:
        """Return a counter of the same keys at a lower precision, as if counted so: bit for bit. O(nbytes).

        Raises ``ValueError`` for a higher one, and with ``martingale``.
        """
        self._refuse_if_martingale("downsize counters")
        precision = self._check_precision(precision)
        if precision > self.precision:
            raise ValueError(f"precision={precision} is above {self.precision}: lost bits do not come back")
        small = self._made({**self._settings(), "precision": precision}, self.seed)
        if self._groups is not None:
            small._begin_groups()
            small._grow(self._groups)
        self._write_to(small)
        return small

    def _write_to(self, small: Self) -> None:
        """Write all that was counted to an empty counter of no higher precision."""
        self._shrink(self._padded(), small)

    def _payload(self) -> Any:
        rows = super()._payload()
        if not self.martingale:
            return rows
        sums = self._sums[: 1 if self._groups is None else self._groups]
        return np.concatenate([rows, sums.astype("<f8").view(np.uint8)])

    def _take(self, payload: memoryview, rows: int) -> None:
        if not self.martingale:
            super()._take(payload, rows)
            return
        cut = rows * self._row
        if len(payload) != cut + 8 * rows:
            raise CorruptDataError(f"{len(payload)} bytes are not {rows} rows of {self._row} and their sums")
        super()._take(payload[:cut], rows)
        sums = np.frombuffer(payload[cut:], "<f8")
        self._refuse_unless((np.isfinite(sums) & (sums >= 0.0)).all())
        self._sums[:rows] = sums
        self._find_gone(self._padded(), self._gone[:rows])


_FIRST = np.zeros(1, np.uint64)
PRECISION, SUMS, GONE = (place(RegisterCounter, name) for name in ("precision", "_sums", "_gone"))
