"""Linear counting: a bit for each of m places, and how many of them no key has.

Whang, Vander-Zanden, Taylor: A linear-time probabilistic counting algorithm for database applications, 1990.
A hash sets the bit at ``(hash * m) >> 64``; of n keys a share of e^(-n/m) is not set, so that n is about
``-m ln(share of zeros)``::

    state | m bits, from the lowest of each byte on, and zeros to the next 8 bytes |

``add`` is O(1). Relative standard error: sqrt(e^t - t - 1) / (t sqrt m) at a load of t = n / m. With 10^6
bits it is 0.07 % up to 10^5 keys, 0.09 % at 10^6 and 0.24 % at 5 * 10^6; from some 10^7 on all bits are set.
The most precise where the keys are known in advance not to be far more than the bits; others go on for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from algos._arguments import integer
from algos._bits import U1, U3, U64, borrowed, mulhi, popcount, prefetch
from algos._fastcall import Method, Native, as_none, bytes_of, number_of, place, slowly
from algos._jit import inlined, kernel
from algos.cardinality._estimators import linear, linear_error
from algos.cardinality._ranks import AHEAD, BLOCK
from algos.cardinality._rows import ROW, RowCounter
from algos.hashing._keyed import hash_alone
from algos.hashing.xxh3 import xxh3_key, xxh3_word

if TYPE_CHECKING:
    from algos._state import Parameters

MAX_BITS = 1 << 33
U7 = U64(7)


@inlined
def _put(rows: Any, start: Any, bits: Any, h: Any) -> None:
    """Set the bit of a hash in the row that starts at a byte."""
    bit = mulhi(h, bits)
    at = start + (bit >> U3)
    rows[at] = np.uint8(U64(rows[at]) | (U1 << (bit & U7)))


@kernel
def _add(rows: Any, bits: Any, hashes: Any) -> None:
    rows, hashes, n, bits = borrowed(rows), borrowed(hashes), U64(hashes.size), U64(bits)
    for i in range(n):
        if i + AHEAD < n:
            prefetch(rows, mulhi(hashes[i + AHEAD], bits) >> U3)
        _put(rows, U64(0), bits, hashes[i])


@kernel
def _add_words(rows: Any, bits: Any, words: Any, seed: Any) -> None:
    """Hash (XXH3) and count 64-bit keys in one row, block by block."""
    rows, words, n, bits = borrowed(rows), borrowed(words), U64(words.size), U64(bits)
    hashes, key, lo = np.empty(BLOCK, np.uint64), xxh3_key(np.uint64(seed)), U64(0)
    while lo < n:
        count = min(BLOCK, n - lo)
        for i in range(count):
            hashes[i] = xxh3_word(words[lo + i], key)
        for i in range(count):
            prefetch(rows, mulhi(hashes[i], bits) >> U3)
        for i in range(count):
            _put(rows, U64(0), bits, hashes[i])
        lo += count


@kernel
def _add_groups(rows: Any, row: Any, bits: Any, hashes: Any, groups: Any) -> None:
    """Count ready hashes, each in the row of its group."""
    rows, hashes, groups = borrowed(rows), borrowed(hashes), borrowed(groups)
    n, row, bits = U64(hashes.size), U64(row), U64(bits)
    for i in range(n):
        if i + AHEAD < n:
            prefetch(rows, groups[i + AHEAD] * row + (mulhi(hashes[i + AHEAD], bits) >> U3))
        _put(rows, groups[i] * row, bits, hashes[i])


@kernel
def _estimate_rows(words: Any, bits: Any, out: Any) -> None:
    """Count the bits that are set in each row of words."""
    per_row = words.size // max(1, out.size)
    for g in range(out.size):
        used = U64(0)
        for i in range(g * per_row, (g + 1) * per_row):
            used += popcount(words[i])
        out[g] = linear(float(bits), float(bits) - float(used))


@Native
def _add_alone(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    rows = bytes_of(me, ROW)
    if plain and rows.size:
        _put(rows, U64(0), number_of(me, _BITS), h)
        return as_none()
    return slowly(me, "_add_one", arguments, count, names)


class LinearCounter(RowCounter):
    """A linear counter of ``bits`` places, 8..2^33.

    ``add`` is O(1), ``estimate`` O(bits). Any order of the same keys, in any batches and merges, leaves the
    same bytes. With all places taken the estimate is inf. There is one method of ``estimate``, ``"linear"``.

    >>> counter = LinearCounter(100_000)
    >>> counter.add_many(range(20_000))
    >>> round(counter.estimate()), [round(x) for x in counter.interval(0.95)]
    (19952, [19862, 20043])
    """

    __slots__ = ("bits",)
    METHODS = ("linear",)

    def __init__(self, bits: int, *, seed: int = 0) -> None:
        self.bits = integer("bits", bits)
        if not 8 <= bits <= MAX_BITS:
            raise ValueError(
                f"bits={bits} is outside 8..2**33; take about as many as there are distinct keys"
            )
        self._begin(seed)

    @property
    def _row(self) -> int:
        return -(-self.bits // 64) * 8

    @property
    def relative_error(self) -> Any:
        """The estimate's relative standard error, in theory: a float or ``float64[groups]``; inf if full."""
        errors = self._errors(np.atleast_1d(self.estimate()))
        return float(errors[0]) if self._groups is None else errors

    def _errors(self, estimates: Any) -> Any:
        return linear_error(float(self.bits), estimates)

    def _settings(self) -> dict[str, Any]:
        return {"bits": self.bits}

    @classmethod
    def _settings_from(cls, parameters: Parameters) -> dict[str, Any]:
        return {"bits": parameters.integer("bits", 8, MAX_BITS)}

    add = Method(_add_alone, "_add_one")

    def _put(self, hashes: Any) -> None:
        _add(self._registers, self.bits, hashes)

    def _put_words(self, words: Any) -> None:
        _add_words(self._registers, self.bits, words, self._hasher.word_seed)

    def _put_groups(self, hashes: Any, groups: Any) -> None:
        _add_groups(self._rows, self._row, self.bits, hashes, groups)

    def _unite(self, mine: Any, theirs: Any, rows: int) -> None:
        used = rows * self._row
        np.bitwise_or(mine[:used], theirs[:used], out=mine[:used])

    def _estimates(self, method: str, rows: Any, out: Any) -> None:  # noqa: ARG002 - there is one
        _estimate_rows(rows[: len(out) * self._row].view(np.uint64), self.bits, out)

    def _check_rows(self, rows: Any, count: int) -> bool:
        last = rows[: count * self._row].view("<u8")[self._row // 8 - 1 :: self._row // 8]
        used = self.bits % 64
        return used == 0 or not (last >> np.uint64(used)).any()


_BITS = place(LinearCounter, "bits")
