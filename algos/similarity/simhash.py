"""SimHash: in each bit of a signature, what most of a set's hashes have there.

Charikar: Similarity estimation techniques from rounding algorithms, STOC 2002; Manku, Jain, Das Sarma:
Detecting near-duplicates for web crawling, WWW 2007. A hash is a random direction's signs for its token, so a
bit is the sign of the sum of all tokens' weights along one direction, and two sets differ in a bit with a
chance of angle / pi: the Hamming distance d of two signatures estimates the cosine similarity of the weights
as cos(pi d / bits)::

    hashes      |  1 0 1 1 ...  |  1 1 0 0 ...  |  0 0 1 0 ...  |
    signature   |  1 0 1 0 ...  |     a tie of a bit is decided by the token whose hash is the least

The standard error of the angle is pi sqrt(p (1 - p) / bits), p = d / bits: good for finding what is nearly
alike, where p is small, and in an eighth of MinHash's space or less; bad for weak similarities. The law is
that of many tokens: sets of hundreds that differ in one are a tenth nearer. Repeated tokens weigh more.

Tokens are counted eight bits of a hash at once, in the bytes of a word, with a word for each remainder of the
bit's number by 8: shift, mask, add of one vector (the idea of Dynatrace's FastSimHash). Bytes are emptied
into wider counts before one can overflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from algos._arguments import integer
from algos._bits import U1, U3, U64, item_pointer, spread
from algos._fastcall import Method, Native, as_none, place, slowly, uint64s_of
from algos._jit import inlined, kernel, primitive
from algos._threads import check_threads, in_parts
from algos.errors import CorruptDataError
from algos.hashing._keyed import check_hashes, hash_alone, house_hasher
from algos.hashing.splitmix64 import SPLITMIX64, splitmix64
from algos.similarity._rows import check_offsets, in_rows, rows_of
from algos.similarity._signatures import Signing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algos._state import Parameters

WORD = U64(64)
FULL = U64(255)
"""Tokens counted in bytes before these are emptied."""
U7, U8 = U64(7), U64(8)
LOW = 0x0101010101010101
_NONE = U64(0xFFFF_FFFF_FFFF_FFFF)
_WIDTHS = (64, 128)


def _count_bytes_twin(hashes: Any, lo: Any, hi: Any, counts: Any) -> None:
    if not 0 <= int(lo) <= int(hi) <= len(hashes) or len(counts) != 8:
        raise IndexError(f"{lo}..{hi} of {len(hashes)} hashes, {len(counts)} words of counts")
    shifted = hashes[int(lo) : int(hi), None] >> np.arange(8, dtype=np.uint64)
    counts[:] = (shifted & U64(LOW)).sum(axis=0, dtype=np.uint64)


@primitive(_count_bytes_twin)
def count_bytes(typingctx: Any, hashes: Any, lo: Any, hi: Any, counts: Any) -> Any:
    """Count bits of at most 255 hashes: bit ``i + 8 j`` in byte ``j`` of ``counts[i]`` (uint64[8])."""
    signature = types.void(hashes, types.uint64, types.uint64, counts)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        b, row = builder, ir.VectorType(ir.IntType(64), 8)
        shifts = ir.Constant(row, list(range(8)))
        total = cgutils.alloca_once_value(b, ir.Constant(row, [0] * 8))
        with cgutils.for_range_slice(b, args[1], args[2], ir.IntType(64)(1), ir.IntType(64)) as (t, _):
            h = b.load(item_pointer(context, b, signature.args[0], args[0], t, 1))
            ones = b.and_(b.lshr(spread(b, h, 8), shifts), ir.Constant(row, [LOW] * 8))
            b.store(b.add(b.load(total), ones), total)
        target = item_pointer(context, b, signature.args[3], args[3], ir.IntType(64)(0), 8)
        store = b.store(b.load(total), b.bitcast(target, row.as_pointer()))
        store.align = 8
        return context.get_dummy_value()

    return signature, codegen


@inlined
def _word(h: Any, word: Any) -> Any:
    """Return a word of a token: its hash, or that mixed again."""
    return h if word == U64(0) else splitmix64(h, word)


@inlined
def _count(hashes: Any, lo: Any, hi: Any, word: Any, mixed: Any, counts: Any, total: Any) -> None:
    """Count the bits of a word of tokens ``lo..hi``: bit ``i + 8 j`` in ``total[8 i + j]``."""
    for m in range(WORD):
        total[m] = U64(0)
    while lo < hi:
        end = min(hi, lo + FULL)
        if word == U64(0):
            count_bytes(hashes, lo, end, counts)
        else:
            for t in range(lo, end):
                mixed[t - lo] = _word(hashes[t], word)
            count_bytes(mixed, U64(0), end - lo, counts)
        for m in range(WORD):
            total[m] += (counts[m >> U3] >> ((m & U7) << U3)) & FULL
        lo = end


@kernel
def _sign(hashes: Any, starts: Any, out: Any) -> None:
    """Write each row's majority, bit by bit; of an empty row 0."""
    mixed, counts, total = np.empty(FULL, np.uint64), np.empty(U8, np.uint64), np.empty(WORD, np.uint64)
    for i in range(U64(starts.size - 1)):
        lo, hi = U64(starts[i]), U64(starts[i + U1])
        for word in range(U64(out.shape[1])):
            _count(hashes, lo, hi, word, mixed, counts, total)
            more, same = U64(0), U64(0)
            for m in range(WORD):
                bit, twice = (m >> U3) + ((m & U7) << U3), total[m] << U1
                more |= U64(twice > hi - lo) << bit
                same |= U64(twice == hi - lo) << bit
            if same != U64(0):
                least = _NONE
                for t in range(lo, hi):
                    least = min(least, hashes[t])
                more |= same & (_word(least, word) if lo < hi else U64(0))
            out[i, word] = more


@kernel
def _sign_weighted(hashes: Any, weights: Any, starts: Any, out: Any) -> None:
    """Write the signs of each row's sums of weights, which count against a bit that is not set."""
    total = np.empty(WORD, np.float64)
    for i in range(U64(starts.size - 1)):
        lo, hi, least = U64(starts[i]), U64(starts[i + U1]), _NONE
        for t in range(lo, hi):
            least = min(least, hashes[t])
        for word in range(U64(out.shape[1])):
            total[:] = 0.0
            for t in range(lo, hi):
                h, w = _word(hashes[t], word), weights[t]
                for bit in range(WORD):
                    total[bit] += w if (h >> bit) & U1 else -w
            more, same = U64(0), U64(0)
            for bit in range(WORD):
                more |= U64(total[bit] > 0.0) << bit
                same |= U64(total[bit] == 0.0) << bit
            out[i, word] = more | (same & (_word(least, word) if lo < hi else U64(0)))


@kernel
def _tally(hashes: Any, values: Any) -> None:
    """Add tokens to a state: how many more have each bit than have it not, and then the least hash."""
    mixed, counts, total = np.empty(FULL, np.uint64), np.empty(U8, np.uint64), np.empty(WORD, np.uint64)
    n, bits = U64(hashes.size), U64(values.size - 1)
    for word in range(bits >> U64(6)):
        _count(hashes, U64(0), n, word, mixed, counts, total)
        for m in range(WORD):
            values[(word << U64(6)) + (m >> U3) + ((m & U7) << U3)] += (total[m] << U1) - n
    for t in range(n):
        values[bits] = min(values[bits], hashes[t])


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if not plain:
        return slowly(me, "_add_one", arguments, count, names)
    values = uint64s_of(me, _VALUES)
    bits = U64(values.size - 1)
    for word in range(bits >> U64(6)):
        own, base = _word(h, word), word << U64(6)
        for bit in range(WORD):
            values[base + bit] += (((own >> bit) & U1) << U1) - U1
    values[bits] = min(values[bits], h)
    return as_none()


class SimHash(Signing):
    """Signatures of ``bits`` (64 or 128) whose Hamming distance estimates the cosine similarity of sets.

    ``signatures(rows)`` is ``uint64[n, bits / 64]``, some 0.5 ns a token. Tokens count as often as they are
    there, or as much as given weights say. One structure is also the sketch of one multiset: ``add`` and
    ``add_many`` count tokens, and ``merge`` unites bit for bit. The empty set's signature is 0.

    >>> s = SimHash(128)
    >>> a, b = s.signatures([range(1000), range(100, 1100)])
    >>> 0.7 < s.cosine(a, b) < 1
    True
    """

    __slots__ = ("bits",)

    def __init__(self, bits: int = 64, *, seed: int = 0) -> None:
        self.bits = integer("bits", bits)
        if self.bits not in _WIDTHS:
            raise ValueError(f"bits={bits} is not one of {_WIDTHS}")
        self._use(house_hasher(integer("seed", seed)))
        self._values = self._none()

    def _none(self) -> Any:
        """Return the state of an empty set."""
        values = np.zeros(self.bits + 1, np.uint64)
        values[-1] = _NONE
        return values

    @property
    def signature(self) -> NDArray[np.uint64]:
        """The signature of the tokens added: ``uint64[bits / 64]``."""
        tally, least = self._values[:-1].view(np.int64), self._values[-1]
        if least == _NONE and not tally.any():
            return np.zeros(self._places, np.uint64)
        own = np.full(self._places, least)
        for word in range(1, self._places):
            SPLITMIX64.words(own[:1], U64(word), own[word : word + 1])
        ties = (own[:, None] >> np.arange(64, dtype=np.uint64) & U1).reshape(-1).astype(np.bool_)
        bits = np.where(tally == 0, ties, tally > 0)
        return np.packbits(bits, bitorder="little").view("<u8").astype(np.uint64, copy=False)

    @property
    def _places(self) -> int:
        return self.bits // 64

    def signatures(
        self, rows: Any, weights: NDArray[np.float64] | None = None, *, threads: int = 1
    ) -> NDArray[np.uint64]:
        """Return the signature of each of ``n`` sets of tokens: ``uint64[n, bits / 64]``.

        ``rows`` are an Arrow array of lists, a list of lists or sets, or a tuple ``(tokens, offsets)``, as of
        ``MinHash.signatures``. ``weights`` (``float64[tokens]``, finite) has one for each token of all rows,
        one row after the other, nulls too; without it each weighs 1. Rounding of their sums may decide a tie.
        """
        threads, parts = check_threads(threads), rows_of(rows)
        weights = _check_weights(weights, sum(len(part.tokens) for part in parts))
        out, base, first = self._empty_signatures(sum(map(len, parts))), 0, 0
        for part in parts:
            part.prime(self._hasher)
            column = None if weights is None else weights[first : first + len(part.tokens)]

            def work(lo: int, hi: int, part: Any = part, base: int = base, column: Any = column) -> None:
                for at, hashes, starts, own in part.blocks(self._hasher, lo, hi, column):
                    self._sign_some(hashes, own, starts, out[base + at : base + at + len(starts) - 1])

            in_rows(threads, part.offsets, work)
            base, first = base + len(part), first + len(part.tokens)
        return out

    def signatures_of_hashes(
        self,
        hashes: NDArray[np.uint64],
        offsets: Any,
        weights: NDArray[np.float64] | None = None,
        *,
        threads: int = 1,
    ) -> NDArray[np.uint64]:
        """Return the signatures of sets of ready 64-bit hashes, ``hashes[offsets[i]:offsets[i + 1]]``."""
        threads, hashes = check_threads(threads), check_hashes(hashes)
        offsets, weights = check_offsets(offsets, len(hashes)), _check_weights(weights, len(hashes))
        out = self._empty_signatures(len(offsets) - 1)
        in_rows(
            threads,
            offsets,
            lambda lo, hi: self._sign_some(hashes, weights, offsets[lo : hi + 1], out[lo:hi]),
        )
        return out

    def _sign_some(self, hashes: Any, weights: Any, starts: Any, out: Any) -> None:
        if weights is None:
            _sign(hashes, starts, out)
        else:
            _sign_weighted(hashes, weights, starts, out)

    def _sign(self, hashes: Any, starts: Any, out: Any) -> None:
        _sign(hashes, starts, out)

    def _insert(self, hashes: Any) -> None:
        _tally(hashes, self._values)

    def _insert_in_threads(self, hashes: Any, threads: int) -> None:
        """Add ready hashes, every thread to a state of its own; their sum is kept."""

        def work(lo: int, hi: int) -> None:
            values = self._none()
            _tally(hashes[lo:hi], values)
            found.append(values)

        found: list[Any] = []
        in_parts(threads, len(hashes), work)
        for values in found:
            self._unite(values)

    def _unite(self, values: Any) -> None:
        self._values[:-1] += values[:-1]
        self._values[-1] = min(self._values[-1], values[-1])

    def merge(self, other: SimHash) -> None:
        """Count all tokens of ``other``: bit for bit as if they had been added here.

        Raises ``ValueError`` unless bits and seed are the same.
        """
        self._check_mergeable(other)
        self._unite(other._values)

    def hamming(self, a: Any, b: Any) -> Any:
        """Count the bits in which signatures differ.

        Of two (``uint64[bits / 64]``) it is an ``int``; of arrays of them, broadcast as NumPy does without
        their last axis, ``int64``: ``hamming(a[:, None], b)`` is the matrix of all pairs.
        """
        for name, given in (("a", a), ("b", b)):
            if not isinstance(given, np.ndarray) or given.dtype != np.uint64:
                raise TypeError(f"{name} must be signatures, uint64[n, {self._places}]")
            if given.shape[-1:] != (self._places,):
                raise ValueError(f"{name} has the shape {given.shape}, not (..., {self._places})")
        found = np.bitwise_count(a ^ b).sum(axis=-1, dtype=np.int64)
        return int(found) if found.ndim == 0 else found

    def cosine(self, a: Any, b: Any) -> Any:
        """Estimate the cosine similarity of sets by their signatures: cos(pi hamming / bits), -1 to 1.

        Of two it is a ``float``, of more ``float64``, shaped as by ``hamming``. Of unweighted sets the cosine
        is |A and B| / sqrt(|A| |B|).
        """
        found = np.cos(np.pi / self.bits * np.asarray(self.hamming(a, b)))
        return float(found) if found.ndim == 0 else found

    add = Method(_put, "_add_one")

    def _parameters(self) -> dict[str, Any]:
        return {"bits": self.bits, "seed": self.seed}

    def _payload(self) -> Any:
        return self._values

    @classmethod
    def _restore(cls, parameters: Parameters, payload: memoryview) -> Self:
        bits = parameters.choice("bits", _WIDTHS)
        if len(payload) != 8 * (bits + 1):
            raise CorruptDataError(f"{len(payload)} bytes are not {bits + 1} words of 8")
        self = cls(bits, seed=parameters.integer("seed", 0, (1 << 64) - 1))
        self._values[:] = np.frombuffer(payload, "<u8")
        return self


def _check_weights(weights: Any, n: int) -> Any:
    """Return the weights of ``n`` tokens as float64, or say what is wrong with them."""
    if weights is None:
        return None
    array = np.asarray(weights)
    if array.dtype.kind not in "iuf" or array.ndim != 1:
        raise TypeError(f"weights must be an array of {n} numbers, not {type(weights).__name__}")
    if len(array) != n:
        raise ValueError(f"{len(array)} weights for {n} tokens; give one for each")
    array = np.ascontiguousarray(array, np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"weight {array[~np.isfinite(array)][0]} is not finite")
    return array


_VALUES = place(SimHash, "_values")
