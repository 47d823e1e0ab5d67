"""One-permutation MinHash: a token is hashed once, into one of k bins, each of which keeps its least value.

Li, Owen, Zhang: One permutation hashing, 2012. A token costs the same for any k. Bins that no token fell into
would disagree with others' in a way that depends on sizes; they borrow the value of a bin that has one::

    bin         |  3  |  -  |  0  |  7  |  -  |      the upper 32 bits of a hash choose it, the lower compete
    signature   |  3  |  7  |  0  |  7  |  0  |      bins 1 and 4 borrowed from 3 and 2

Which bin to borrow from must follow from the number of the empty one alone, so that two sets which agree
there borrow alike: the estimate then is unbiased. ``optimal`` (Shrivastava: Optimal densification for fast
and accurate minwise hashing, ICML 2017) takes the first with a value in a random order of the empty bin's
own: here one that is drawn, and if that is empty too the MinHash of the numbers of all with a value, found as
fast. ``fast`` (Mai, Rao, Kapilevich, Rossi, Abbasi-Yadkori, Sinha: On densification for minwise
hashing, UAI 2020) has each bin with a value offer it to random ones, round by round, until none is empty:
O(k log k). All lend about as often then, which helps sets of much fewer tokens than bins.

The variance is that of MinHash, J (1 - J) / k, for sets of many more tokens than bins, and a little less for
as many. A set of a tenth of k has half as much again, or with ``fast`` a tenth more. Good for long sets, of
some hundred tokens and more for k = 128, and for large k; shorter ones are faster by ``MinHash``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._arguments import integer
from algos._bits import U1, U32, U32_, U64, borrowed
from algos._fastcall import Method, Native, as_none, place, slowly, uint32s_of
from algos._jit import inlined, kernel
from algos._threads import in_parts
from algos.errors import CorruptDataError
from algos.hashing._keyed import hash_alone, house_hasher
from algos.hashing.splitmix64 import GAMMA, SPLITMIX64, splitmix64
from algos.similarity._fold import (
    NARROW,
    VECTOR,
    WIDE,
    drawn_factors,
    fold_shared_narrow,
    fold_shared_wide,
    whole_folds,
)
from algos.similarity._signatures import MAX_PLACES, Minima, check_places

if TYPE_CHECKING:
    from algos._state import Parameters

EMPTY = U32(0xFFFF_FFFF)
MOST = U32(0xFFFF_FFFE)
M32 = U64(0xFFFF_FFFF)
LABEL = U64(0xFFFF)
"""Where in a bin's label, which is random above, its number is."""
BLOCK = U64(256)
FEW = U64(4)
"""The first lenders of a quarter of all bins are sought one by one; those of more at once."""
DENSIFICATIONS = ("optimal", "fast")


@inlined
def _bin_and_value(h: Any, bins: Any) -> tuple[Any, Any]:
    """Return the bin that a hash falls into, and what it has to say there."""
    return U32(((h >> U32_) * bins) >> U32_), min(U32(h & M32), MOST)


@inlined
def _draw(seed: Any, this: Any, attempt: Any, bins: Any) -> Any:
    """Draw a bin: a function of a bin and of how many were drawn for it before."""
    return ((splitmix64(this * GAMMA + attempt, seed) >> U32_) * bins) >> U32_


@kernel
def _fill(hashes: Any, starts: Any, bins: Any, values: Any) -> None:
    """Lower the bins of each row, one row after the other in ``values``, by its hashes.

    Which bins a block of them is of is found first, in a vector loop.
    """
    hashes, values = borrowed(hashes), borrowed(values)
    chosen, least = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.uint32)
    for i in range(U64(starts.size - 1)):
        base, end = i * bins, U64(starts[i + U1])
        for lo in range(U64(starts[i]), end, BLOCK):
            count = min(BLOCK, end - lo)
            for j in range(count):
                chosen[j], least[j] = _bin_and_value(hashes[lo + j], bins)
            for j in range(count):
                at = base + U64(chosen[j])
                values[at] = min(values[at], least[j])


@inlined
def _first_lenders(labels: Any, a: Any, b: Any, first: Any) -> None:
    """Find for each bin the least ``a (h + b)`` of the lenders' labels."""
    narrow, k, n, at = U64(NARROW * VECTOR // 4), U64(a.size), U64(labels.size), U64(0)
    wide = narrow * U64(WIDE // NARROW)
    first[:] = EMPTY
    while at + wide <= k:
        fold_shared_wide(labels, U64(0), n, a, b, at, first, at)
        at += wide
    while at < k:
        fold_shared_narrow(labels, U64(0), n, a, b, at, first, at)
        at += narrow


@inlined
def _first_lender(labels: Any, a: Any, b: Any) -> Any:
    """Find it for one bin."""
    least = EMPTY
    for i in range(labels.size):
        least = min(least, U32(a * U32(U32(labels[i]) + b)))
    return least


@inlined
def _count_empty(values: Any, base: Any, bins: Any) -> Any:
    empty = U64(0)
    for j in range(bins):
        empty += U64(values[base + j] == EMPTY)
    return empty


@kernel
def _borrow(values: Any, bins: Any, draws: Any, labels: Any, orders: Any) -> None:
    """Let each empty bin borrow from the first with a value in its own order; without one all stay empty."""
    a, b, back = orders[0], orders[1], orders[2]
    idle, lenders = np.empty(bins, np.uint64), np.empty(bins, np.uint64)
    lent, first = np.empty(bins, np.uint32), np.empty(a.size, np.uint32)
    for base in range(U64(0), U64(values.size), bins):
        empties = _count_empty(values, base, bins)
        if empties == U64(0) or empties == bins:
            continue
        empty, some = U64(0), U64(0)
        for j in range(bins):  # without a branch, which would be taken as by chance
            is_empty = values[base + j] == EMPTY
            idle[empty], lenders[some] = j, labels[j]
            empty += U64(is_empty)
            some += U64(not is_empty)
        left = U64(0)
        for i in range(empty):
            lent[i] = values[base + draws[idle[i]]]
            left += U64(lent[i] == EMPTY)
        few = left * FEW < bins
        if not few:
            _first_lenders(lenders[:some], a, b, first)
        for i in range(empty):
            j = idle[i]
            if lent[i] == EMPTY:
                found = _first_lender(lenders[:some], a[j], b[j]) if few else first[j]
                lent[i] = values[base + (U64(U32(found * back[j]) - b[j]) & LABEL)]
        for i in range(empty):
            values[base + idle[i]] = lent[i]


@kernel
def _lend(values: Any, bins: Any, seed: Any) -> None:
    """Let each bin with a value offer it to others until none is empty; rows without one stay empty."""
    lenders = np.empty(bins, np.uint64)
    for base in range(U64(0), U64(values.size), bins):
        some = U64(0)
        for j in range(bins):
            lenders[some] = j
            some += U64(values[base + j] != EMPTY)
            if some == bins:
                break
        left = bins - some if some else U64(0)
        attempt = U64(0)
        while left:
            for i in range(some):
                other = base + _draw(seed, lenders[i], attempt, bins)
                if values[other] == EMPTY:
                    values[other] = values[base + lenders[i]]
                    left -= U1
            attempt += U1


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if not plain:
        return slowly(me, "_add_one", arguments, count, names)
    values = uint32s_of(me, _VALUES)
    chosen, value = _bin_and_value(h, U64(values.size))
    values[U64(chosen)] = min(values[U64(chosen)], value)
    return as_none()


def _inverse(a: Any) -> Any:
    """Return what odd numbers are multiplied by to be 1 modulo 2^32, by Newton's steps."""
    found = a.copy()  # right in 3 bits
    for _ in range(4):
        found *= U32(2) - a * found
    return found


class OnePermutationMinHash(Minima):
    """Signatures of sets by the minima of ``bins`` bins, whose agreement estimates the Jaccard similarity.

    ``signatures(rows)`` is ``uint32[n, bins]``, O(1) for each token and O(bins) for each set. ``jaccard``
    compares: unbiased, with MinHash's standard error for sets of as many tokens as bins and more, and up to a
    half above it for small ones. One structure is also the sketch of one set, which grows and merges bit for
    bit. The empty set's values are all 2^32 - 1. ``densification`` is how empty bins are filled: ``optimal``,
    or ``fast``, which errs less for sets of much fewer tokens than bins and takes longer.

    >>> m = OnePermutationMinHash(64)
    >>> a, b = m.signatures([range(1000), range(500, 1500)])
    >>> 0.1 < m.jaccard(a, b) < 0.6
    True
    """

    __slots__ = ("_draws", "_labels", "_orders", "bins", "densification")

    def __init__(self, bins: int = 128, *, seed: int = 0, densification: str = "optimal") -> None:
        self.bins = check_places("bins", bins)
        if densification not in DENSIFICATIONS:
            raise ValueError(f"densification={densification!r} is not one of {', '.join(DENSIFICATIONS)}")
        self.densification = densification
        self._use(house_hasher(integer("seed", seed)))
        self._values = np.full(self.bins, EMPTY)
        size = whole_folds(self.bins, np.uint32)
        a, b = drawn_factors(self.seed, size, np.uint32)
        self._orders = np.stack((a, b, _inverse(a)))
        words = np.empty(self.bins, np.uint64)
        SPLITMIX64.words(np.arange(self.bins, dtype=np.uint64), U64(self.seed), words)
        self._draws = (words >> U32_) * U64(self.bins) >> U32_
        self._labels = words & (M32 ^ LABEL) | np.arange(self.bins, dtype=np.uint64)

    @property
    def signature(self) -> Any:
        """The signature of the tokens added: ``uint32[bins]``."""
        values = self._values.copy()
        self._densify(values)
        return values

    @property
    def _places(self) -> int:
        return self.bins

    def _densify(self, values: Any) -> None:
        if self.densification == "optimal":
            _borrow(values, U64(self.bins), self._draws, self._labels, self._orders)
        else:
            _lend(values, U64(self.bins), U64(self.seed))

    def _sign(self, hashes: Any, starts: Any, out: Any) -> None:
        out.fill(EMPTY)
        _fill(hashes, starts, U64(self.bins), out.reshape(-1))
        self._densify(out.reshape(-1))

    def _insert(self, hashes: Any) -> None:
        _fill(hashes, np.array([0, len(hashes)]), U64(self.bins), self._values)

    def _insert_in_threads(self, hashes: Any, threads: int) -> None:
        """Add ready hashes, every thread to bins of its own; the least of all are kept."""

        def work(lo: int, hi: int) -> None:
            values = np.full(self.bins, EMPTY)
            _fill(hashes[lo:hi], np.array([0, hi - lo]), U64(self.bins), values)
            found.append(values)

        found: list[Any] = []
        in_parts(threads, len(hashes), work)
        for values in found:
            np.minimum(self._values, values, out=self._values)

    def merge(self, other: OnePermutationMinHash) -> None:
        """Take in all tokens of ``other``: bit for bit as if they had been added here.

        Raises ``ValueError`` unless bins, seed and densification are the same.
        """
        self._check_mergeable(other)
        np.minimum(self._values, other._values, out=self._values)

    add = Method(_put, "_add_one")

    def _parameters(self) -> dict[str, Any]:
        return {"bins": self.bins, "seed": self.seed, "densification": self.densification}

    def _payload(self) -> Any:
        return self._values

    @classmethod
    def _restore(cls, parameters: Parameters, payload: memoryview) -> Self:
        bins = parameters.integer("bins", 1, MAX_PLACES)
        if len(payload) != 4 * bins:
            raise CorruptDataError(f"{len(payload)} bytes are not {bins} values of 4")
        seed = parameters.integer("seed", 0, (1 << 64) - 1)
        self = cls(bins, seed=seed, densification=parameters.choice("densification", DENSIFICATIONS))
        self._values[:] = np.frombuffer(payload, "<u4")
        return self


_VALUES = place(OnePermutationMinHash, "_values")
