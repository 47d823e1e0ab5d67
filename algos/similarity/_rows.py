"""Rows of tokens: sets given in any form, as one piece of tokens and where in it each row starts.

A row is a set of tokens, and tokens are keys (``algos.hashing.keys``). Rows can be

- an Arrow array of lists (``list``, ``large_list``, fixed sizes; sliced, chunked; polars, DuckDB),
- a list, or any iterable, of lists, tuples, sets or arrays,
- a tuple ``(tokens, offsets)``: row ``i`` is ``tokens[offsets[i]:offsets[i + 1]]``.

Null tokens are skipped, and a null row is an empty set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from algos._arrow import chunks_of, pyarrow
from algos._threads import in_parts
from algos.hashing.keys import pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from algos.hashing.batch import KeyHasher
    from algos.hashing.keys import Piece

BLOCK = 1 << 15
"""Tokens hashed at a time, but for rows that are longer: their 256 KiB of hashes are in L2 when read."""
_FORMS = "an Arrow array of lists, a list of lists or sets, or a tuple (tokens, offsets)"


class Joined:
    """Several pieces of tokens as one."""

    __slots__ = ("_ends", "_pieces", "valid")

    def __init__(self, parts: list[Piece]) -> None:
        self._pieces = parts
        self._ends = np.cumsum([0, *map(len, parts)])
        self.valid = None
        if any(part.valid is not None for part in parts):
            all_valid = (np.ones(len(p), np.bool_) if p.valid is None else p.valid for p in parts)
            self.valid = np.concatenate(list(all_valid))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def hash_into(self, algorithm: Any, seed: Any, lo: int, hi: int, out: Any) -> None:
        """Hash tokens ``lo..hi`` into ``out``."""
        for piece, start in zip(self._pieces, self._ends.tolist(), strict=False):
            a, b = max(lo, start), min(hi, start + len(piece))
            if a < b:
                piece.hash_into(algorithm, seed, a - start, b - start, out[a - lo : b - lo])
            elif not hi:  # what a dictionary needs only once
                piece.hash_into(algorithm, seed, 0, 0, out)


class Rows(NamedTuple):
    """Some rows: tokens, of which those that ``valid`` denies are none, and where each row starts."""

    tokens: Any
    offsets: Any
    valid: Any

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def prime(self, hasher: KeyHasher) -> None:
        """Hash what a dictionary needs only once, before threads begin."""
        self.tokens.hash_into(hasher.algorithm, hasher.word_seed, 0, 0, np.empty(0, np.uint64))

    def blocks(
        self, hasher: KeyHasher, lo: int, hi: int, column: Any = None
    ) -> Iterator[tuple[int, Any, Any, Any]]:
        """Yield rows ``lo..hi`` block by block: the first's number, hashes, and where in them each starts.

        Last comes the block's part of a column, an array with an item for each token. The hashes' array is
        used again for the next block.
        """
        buffer = np.empty(min(BLOCK, int(self.offsets[hi] - self.offsets[lo])), np.uint64)
        while lo < hi:
            first = int(self.offsets[lo])
            end = int(np.searchsorted(self.offsets, first + BLOCK, "right")) - 1
            end = min(max(end, lo + 1), hi)
            last = int(self.offsets[end])
            n = last - first
            hashes = buffer[:n] if n <= len(buffer) else np.empty(n, np.uint64)
            self.tokens.hash_into(hasher.algorithm, hasher.word_seed, first, last, hashes)
            starts = self.offsets[lo : end + 1] - first
            part = None if column is None else column[first:last]
            if self.valid is not None:
                kept = self.valid[first:last]
                hashes, starts = hashes[kept], np.concatenate(([0], np.cumsum(kept)))[starts]
                part = None if part is None else part[kept]
            yield lo, hashes, starts, part
            lo = end


def rows_of(rows: Any) -> list[Rows]:
    """Normalise rows; raise a ``TypeError`` that says what they can be."""
    if isinstance(rows, tuple):
        return [_flat(rows)]
    if type(rows).__module__.partition(".")[0] == "pandas":
        rows = _of_pandas(rows)
    if hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__"):
        return _of_arrow(rows)
    if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable):
        raise TypeError(f"rows cannot be a {type(rows).__name__}; they can be {_FORMS}")
    return [_of_list(list(rows))]


def check_offsets(offsets: Any, size: int) -> Any:
    """Return the offsets of rows in ``size`` tokens as int64, or say what is wrong with them."""
    array = np.asarray(offsets)
    if array.ndim != 1 or array.dtype.kind not in "iu" or not len(array):
        raise TypeError(f"offsets must be one-dimensional ints, one more than rows, not {_kind(offsets)}")
    array = array.astype(np.int64, "C", copy=False)
    if array[0] < 0 or array[-1] > size or (array[1:] < array[:-1]).any():
        raise ValueError(f"offsets must rise from 0 or more to {size}, the number of tokens, or less")
    return array


def _kind(value: Any) -> str:
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__


def _flat(pair: tuple[Any, ...]) -> Rows:
    if len(pair) != 2:
        raise TypeError(f"a tuple of rows is (tokens, offsets), not of {len(pair)}; rows are a list")
    tokens = _joined(pieces(pair[0]))
    return Rows(tokens, check_offsets(pair[1], len(tokens)), tokens.valid)


def _joined(parts: list[Piece]) -> Any:
    return parts[0] if len(parts) == 1 else Joined(parts)


def _of_list(rows: list[Any]) -> Rows:
    """Take Python rows; ``None`` is a null."""
    for i, row in enumerate(rows):
        if row is not None and (isinstance(row, (str, bytes, Mapping)) or not isinstance(row, Iterable)):
            raise TypeError(f"row {i} is a {type(row).__name__}, not a set of tokens; split it into tokens")
    arrays = {row.dtype if isinstance(row, np.ndarray) and row.ndim == 1 else None for row in rows}
    if len(arrays) == 1 and None not in arrays:
        tokens: Any = np.concatenate(rows)
        lengths = list(map(len, rows))
    else:
        known = [row if isinstance(row, (list, tuple, set, frozenset)) else _listed(row) for row in rows]
        tokens, lengths = list(chain.from_iterable(known)), list(map(len, known))
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    try:
        piece = pieces(tokens)[0]
    except (TypeError, ValueError, OverflowError) as error:
        error.add_note("positions are counted through all rows, from the first token of the first on")
        raise
    return Rows(piece, offsets, piece.valid)


def _listed(row: Any) -> list[Any]:
    if row is None:
        return []
    return row.tolist() if isinstance(row, np.ndarray) else list(row)


def _of_pandas(rows: Any) -> Any:
    """Return a column as Arrow's array if it is one, else as the list of its objects."""
    if getattr(rows, "ndim", 0) != 1:
        raise TypeError(f"a pandas {type(rows).__name__} is no column of rows; pass one column of it")
    if type(rows.dtype).__name__ == "ArrowDtype":
        return pyarrow().array(rows, from_pandas=True)
    return [None if row is None or isinstance(row, float) else row for row in rows]


def _of_arrow(rows: Any) -> list[Rows]:
    pa = pyarrow()
    return [_of_lists(pa, chunk) for chunk in chunks_of(rows)]


def _of_lists(pa: Any, array: Any) -> Rows:
    """Look at an array of lists; only those that have no offsets are copied."""
    kind, t = array.type, pa.types
    if t.is_null(kind):
        array = array.cast(pa.list_(pa.int64()))
    elif t.is_fixed_size_list(kind) or t.is_list_view(kind) or t.is_large_list_view(kind):
        array = array.cast(pa.large_list(kind.value_type))
    elif not (t.is_list(kind) or t.is_large_list(kind)):
        raise TypeError(f"rows of Arrow type {kind} are no lists of tokens; they can be {_FORMS}")
    offsets = np.asarray(array.offsets).astype(np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    tokens = _joined(pieces(array.values.slice(first, last - first)))
    offsets = check_offsets(offsets - first, len(tokens))
    valid = tokens.valid
    if array.null_count:  # whose offsets may enclose something
        inside = np.repeat(array.is_valid().to_numpy(zero_copy_only=False), np.diff(offsets))
        valid = inside if valid is None else valid & inside
    return Rows(tokens, offsets, valid)


def in_rows(threads: int, offsets: Any, work: Callable[[int, int], None]) -> None:
    """Call ``work(lo, hi)`` for parts that make up all rows, of as many tokens each, in threads."""
    first, n = int(offsets[0]), int(offsets[-1] - offsets[0])
    if threads == 1 or not n:
        work(0, len(offsets) - 1)
        return

    def part(lo: int, hi: int) -> None:
        rows = np.searchsorted(offsets, (first + lo, first + hi)).tolist()
        if not lo:
            rows[0] = 0
        if hi == n:
            rows[1] = len(offsets) - 1
        work(*rows)

    in_parts(threads, n, part)
