"""What kinds of signatures share: made of rows, by threads, and compared place by place."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from algos._arguments import integer
from algos._bits import U32, U64
from algos._jit import kernel
from algos._threads import check_threads
from algos.hashing._keyed import Growing, check_hashes
from algos.similarity._rows import check_offsets, in_rows, rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PLACES = 1 << 16
_PACKED = (1, 2, 4, 8, 16)


@kernel
def _agreements(a: Any, b: Any, each_a: Any, each_b: Any, out: Any) -> None:
    """Count equal places of rows; of a matrix of one row, that row is taken for each."""
    for i in range(out.size):
        one, other, same = a[i * each_a], b[i * each_b], U32(0)
        for j in range(one.size):
            same = U32(same + U32(one[j] == other[j]))
        out[i] = same


@kernel
def _pack(signatures: Any, bits: Any, out: Any) -> None:
    """Keep so many upper bits of each place, mixed (MurmurHash3's finaliser), the first place lowest."""
    per_word, down = U64(64) // bits, U64(32) - bits
    for i in range(signatures.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = U64(0)
        for j in range(signatures.shape[1]):
            place = U64(j)
            h = U64(signatures[i, j])
            h = (h ^ (h >> U64(32))) & U64(0xFFFF_FFFF)
            h = ((h ^ (h >> U64(16))) * U64(0x85EBCA6B)) & U64(0xFFFF_FFFF)
            h = ((h ^ (h >> U64(13))) * U64(0xC2B2AE35)) & U64(0xFFFF_FFFF)
            out[i, place // per_word] |= ((h ^ (h >> U64(16))) >> down) << (place % per_word * bits)


class Signing(Growing):
    """What makes signatures of sets, and keeps the state of one set that grows."""

    __slots__ = ("_values",)
    _values: Any

    @property
    @abstractmethod
    def _places(self) -> int:
        """The number of values in a signature."""

    @abstractmethod
    def _sign(self, hashes: Any, starts: Any, out: Any) -> None:
        """Write the signature of each row of hashes, ``hashes[starts[i]:starts[i + 1]]``, into ``out``."""

    @property
    @abstractmethod
    def signature(self) -> Any:
        """The signature of the tokens added."""

    def _empty_signatures(self, n: int) -> Any:
        return np.empty((n, self._places), self._values.dtype)

    def signatures(self, rows: Any, *, threads: int = 1) -> Any:
        """Return the signature of each of ``n`` sets of tokens: ``[n, k]``; what was added plays no part.

        ``rows`` are an Arrow array of lists, a list of lists or sets, or a tuple ``(tokens, offsets)`` where
        row ``i`` is ``tokens[offsets[i]:offsets[i + 1]]``. Tokens are keys of one type; their order does not
        matter. Null tokens are skipped, and a null row is an empty set. The rows are shared by ``threads``.
        """
        threads = check_threads(threads)
        parts = rows_of(rows)
        out, base = self._empty_signatures(sum(map(len, parts))), 0
        for part in parts:
            part.tokens.hash_into(
                self._hasher.algorithm, self._hasher.word_seed, 0, 0, np.empty(0, np.uint64)
            )

            def work(lo: int, hi: int, part: Any = part, base: int = base) -> None:
                for at, hashes, starts, _ in part.blocks(self._hasher, lo, hi):
                    self._sign(hashes, starts, out[base + at : base + at + len(starts) - 1])

            in_rows(threads, part.offsets, work)
            base += len(part)
        return out

    def signatures_of_hashes(self, hashes: NDArray[np.uint64], offsets: Any, *, threads: int = 1) -> Any:
        """Return the signatures of sets of ready 64-bit hashes, well mixed in all bits.

        Set ``i`` is ``hashes[offsets[i]:offsets[i + 1]]``.
        """
        threads = check_threads(threads)
        hashes = check_hashes(hashes)
        offsets = check_offsets(offsets, len(hashes))
        out = self._empty_signatures(len(offsets) - 1)
        in_rows(threads, offsets, lambda lo, hi: self._sign(hashes, offsets[lo : hi + 1], out[lo:hi]))
        return out

    def add_many(self, tokens: Any, *, threads: int = 1) -> None:
        """Add ``n`` tokens, or any iterable, to the set; nulls are skipped. One writer at a time."""
        threads = check_threads(threads)
        for parts in self._hasher.batches(tokens):
            self._add_pieces(parts, threads)

    @property
    def nbytes(self) -> int:
        """The size of the state in memory, in bytes."""
        return int(self._values.nbytes)


class Minima(Signing):
    """Signatures of minima: the share of places at which two agree estimates the Jaccard similarity."""

    __slots__ = ()

    def _read(self, name: str, given: Any) -> Any:
        """Return signatures as a matrix, or say what they must be; a structure like this one is its own."""
        if isinstance(given, Minima):
            self._check_mergeable(given)
            given = given.signature
        if not isinstance(given, np.ndarray) or given.dtype != self._values.dtype or given.ndim not in {1, 2}:
            found = (
                f"{given.dtype}{list(given.shape)}" if isinstance(given, np.ndarray) else type(given).__name__
            )
            raise TypeError(
                f"{name} must be signatures, {self._values.dtype}[n, {self._places}], not {found}"
            )
        if given.shape[-1] != self._places:
            raise ValueError(f"{name} has signatures of {given.shape[-1]} values, here are {self._places}")
        return np.ascontiguousarray(np.atleast_2d(given))

    def jaccard(self, a: Any, b: Any) -> Any:
        """Estimate the Jaccard similarity of sets by their signatures.

        Of two signatures (``[k]``) it is a ``float``; of one and ``n``, or of ``n`` and ``n`` row by row,
        ``float64[n]``. The share of equal places: unbiased, with a standard error of sqrt(J (1 - J) / k).
        A structure of this kind may stand for its own signature. Two empty sets are alike: 1.
        """
        one, other = self._read("a", a), self._read("b", b)
        n = max(len(one), len(other)) if min(len(one), len(other)) else 0
        if len(one) != len(other) and 1 not in {len(one), len(other)}:
            raise ValueError(f"{len(one)} signatures and {len(other)}: give as many, or one")
        counts = np.empty(n, np.uint32)
        _agreements(one, other, int(len(one) > 1), int(len(other) > 1), counts)
        found = counts / self._places
        alone = all(not isinstance(x, np.ndarray) or x.ndim == 1 for x in (a, b))
        return float(found[0]) if alone else found

    def jaccard_matrix(self, a: Any, b: Any) -> NDArray[np.float64]:
        """Estimate the similarity of each of ``n`` sets to each of ``m``: ``float64[n, m]``."""
        one, other = self._read("a", a), self._read("b", b)
        counts = np.empty((len(one), len(other)), np.uint32)
        for i, row in enumerate(counts):
            _agreements(one[i : i + 1], other, 0, 1, row)
        return counts / self._places

    def pack(self, signatures: Any, bits: int) -> NDArray[np.uint64]:
        """Keep ``bits`` (1, 2, 4, 8 or 16) of each value: ``uint64[n, ceil(k bits / 64)]``.

        Li and König's b-bit signatures, of mixed values. For what they say see ``jaccard_packed``.
        """
        given, bits = self._read("signatures", signatures), _check_bits(bits)
        out = np.empty((len(given), -(-self._places * bits // 64)), np.uint64)
        _pack(given, U64(bits), out)
        return out if isinstance(signatures, np.ndarray) and signatures.ndim == 2 else out[0]

    def jaccard_packed(self, a: Any, b: Any, bits: int) -> Any:
        """Estimate the Jaccard similarity of sets by signatures packed to ``bits`` of each value.

        Values that differ agree in these bits with a chance of 2^-bits, so of the share P that agrees the
        estimate is ``(P - 2^-bits) / (1 - 2^-bits)``: unbiased for large universes, below 0 at times, with
        a standard error of sqrt(P (1 - P) / k) / (1 - 2^-bits). Shapes as of ``jaccard``.
        """
        bits = _check_bits(bits)
        words = -(-self._places * bits // 64)
        for name, given in (("a", a), ("b", b)):
            if not isinstance(given, np.ndarray) or given.dtype != np.uint64 or given.shape[-1:] != (words,):
                raise TypeError(f"{name} must be packed signatures, uint64[n, {words}]; pack makes them")
        differing = np.asarray(a ^ b)
        step = bits
        while step > 1:  # any bit that differs, moved to the lowest of its value
            step >>= 1
            differing |= differing >> U64(step)
        low = U64(sum(1 << at for at in range(0, 64, bits)))
        counts = np.bitwise_count(differing & low).sum(axis=-1, dtype=np.int64)
        share, chance = 1.0 - counts / self._places, 2.0**-bits
        found = (share - chance) / (1.0 - chance)
        return float(found) if found.ndim == 0 else found


def _check_bits(bits: Any) -> int:
    bits = integer("bits", bits)
    if bits not in _PACKED:
        raise ValueError(f"bits={bits} is not one of {_PACKED}, of which whole values fill a word")
    return bits


def check_places(name: str, value: Any, most: int = MAX_PLACES) -> int:
    """Return the number of values in a signature, or say which there can be."""
    value = integer(name, value)
    if not 1 <= value <= most:
        raise ValueError(f"{name}={value} is outside 1..{most}; 128 estimate within 0.044 (one sigma)")
    return value
