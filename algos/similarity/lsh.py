"""LSH index: finds the signatures that are alike without comparing each with each.

Indyk, Motwani, STOC 1998; Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, section 3.4. A signature
is cut into ``bands`` of ``rows`` values, and two are candidates if they agree in all values of a band. Sets
of similarity s are with a chance of ``1 - (1 - s^rows)^bands``, an S-curve whose steepest part lies at about
``(1 / bands)^(1 / rows)``.

A band is hashed to one word, and of each band there is a sorted array of words, an item each::

    entry       |  upper bits of the band's hash           |  position  |     as many bits as positions need
    directory   where entries with these upper bits start: one of 4 bytes for some 8 entries

so that an item costs 8 bytes a band, and half a byte. Looking up is a directory's entry and a line of the
array. Equal bands stand side by side, whence all duplicates are found in one pass.

What is added comes in runs, sorted each, and a run is united with the one before it while that is not twice
its size (as in a log-structured merge tree, O'Neil et al. 1996): an entry is sorted O(log n) times, and there
are O(log n) runs to look into. Removed items are marked, and dropped once they are half of a run.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from algos._arguments import integer
from algos._bits import U1, U63, U64, borrowed, prefetch
from algos._jit import inlined, kernel
from algos._state import Stored
from algos.errors import CapacityError, CorruptDataError
from algos.hashing.splitmix64 import GAMMA, splitmix64
from algos.similarity._signatures import check_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algos._state import Parameters

MAX_PERMUTATIONS = 4096
MAX_ITEMS = 1 << 32
DENSE = 3
"""A directory has an entry for 2^3 of a band's, or a little more."""
AHEAD = 16
"""Queries whose lines are under way."""
QUERIES = 1 << 16
"""Queries answered at a time."""
POSITION = U64(40)
"""Where in a match the query's number starts, above the position."""
U29 = U64(29)


@kernel
def _hash_bands(signatures: Any, rows: Any, out: Any) -> None:
    """Hash the bands of each signature to ``out[band, i]``."""
    for i in range(signatures.shape[0]):
        for band in range(out.shape[0]):
            h = U64(band) * GAMMA
            for j in range(band * rows, (band + 1) * rows):
                h = (h ^ U64(signatures[i, j])) * U64(0xD6E8FEB86659FD93)
                h ^= h >> U29
            out[band, i] = splitmix64(h, U64(0))


@inlined
def _bucket(h: Any, directory_bits: Any) -> Any:
    return (h >> U1) >> (U63 - directory_bits)


@kernel
def _direct(entries: Any, directory_bits: Any, directory: Any) -> None:
    """Note for each band where the entries of each bucket start."""
    for band in range(entries.shape[0]):
        following = U64(0)
        for i in range(entries.shape[1]):
            bucket = _bucket(entries[band, i], directory_bits)
            while following <= bucket:
                directory[band, following] = i
                following += U1
        while following < U64(directory.shape[1]):
            directory[band, following] = entries.shape[1]
            following += U1


@kernel
def _find(entries: Any, directory: Any, directory_bits: Any, low: Any, hashes: Any, ranges: Any) -> Any:
    """Find for each query and band where its entries start and end; return how many they are."""
    total, n = U64(0), hashes.shape[1]
    for band in range(hashes.shape[0]):
        own, starts, wanted = borrowed(entries[band]), borrowed(directory[band]), borrowed(hashes[band])
        for i in range(n + 2 * AHEAD):
            if i < n:
                prefetch(starts, _bucket(wanted[i], directory_bits))
            j = i - AHEAD
            if 0 <= j < n:
                at = U64(starts[_bucket(wanted[j], directory_bits)])
                if at < U64(own.size):
                    prefetch(own, at)
            j -= AHEAD
            if j >= 0:
                least, most = wanted[j] & ~low, wanted[j] | low
                at = U64(starts[_bucket(wanted[j], directory_bits)])
                while at < U64(own.size) and own[at] < least:
                    at += U1
                end = at
                while end < U64(own.size) and own[end] <= most:
                    end += U1
                ranges[band, j, 0], ranges[band, j, 1] = at, end
                total += end - at
    return total


@kernel
def _collect(entries: Any, low: Any, ranges: Any, alive: Any, first: Any, matches: Any, at: Any) -> Any:
    """Write each match, of items that are alive: the query's number above the position."""
    for band in range(ranges.shape[0]):
        for i in range(ranges.shape[1]):
            for e in range(ranges[band, i, 0], ranges[band, i, 1]):
                position = entries[band, e] & low
                matches[at] = (U64(i) << POSITION) | (first + position)
                at += U1 if alive[position] else U64(0)
    return at


@kernel
def _agreements(queries: Any, of: Any, signatures: Any, positions: Any, out: Any) -> None:
    """Count in how many values each query agrees with its candidate."""
    for i in range(of.size):
        query, other, same = of[i], positions[i], 0
        for j in range(queries.shape[1]):
            same += queries[query, j] == signatures[other, j]
        out[i] = same


@inlined
def _root(parents: Any, x: Any) -> Any:
    while parents[x] != x:
        parents[x] = parents[parents[x]]
        x = parents[x]
    return x


@inlined
def _unite(parents: Any, x: Any, y: Any) -> None:
    """Let the earlier of two roots be that of both."""
    parents[max(x, y)] = min(x, y)


@inlined
def _alike(signatures: Any, x: Any, y: Any, least: Any) -> Any:
    same = 0
    for j in range(signatures.shape[1]):
        same += signatures[x, j] == signatures[y, j]
    return same >= least


@kernel
def _components(entries: Any, low: Any, signatures: Any, least: Any, parents: Any) -> None:
    """Unite items that share a band, and where ``least`` is not 0 agree in so many values."""
    for band in range(entries.shape[0]):
        lo, n = 0, entries.shape[1]
        while lo < n:
            hi = lo + 1
            while hi < n and (entries[band, hi] | low) == (entries[band, lo] | low):
                hi += 1
            for later in range(lo + 1, hi):
                x = entries[band, later] & low
                for earlier in range(later - 1 if least == 0 else lo, later):
                    y = entries[band, earlier] & low
                    a, b = _root(parents, x), _root(parents, y)
                    if a != b and (least == 0 or _alike(signatures, x, y, least)):
                        _unite(parents, a, b)
            lo = hi
    for i in range(U64(parents.size)):
        parents[i] = _root(parents, i)


class _Run(NamedTuple):
    """Items added together, in the order they came, and of each band their entries in the order of hashes."""

    ids: Any
    alive: Any
    entries: Any
    directory: Any
    low: Any
    """The bits of an entry that are its position: as many as there have ever been for these items."""
    signatures: Any


def _low(n: int) -> Any:
    """Return the bits of a position among ``n``."""
    return U64((1 << max(n - 1, 0).bit_length()) - 1)


def _directory_bits(n: int) -> int:
    return max(0, n.bit_length() - DENSE)


def _run_of(ids: Any, hashes: Any, low: Any, signatures: Any) -> _Run:
    """Make a run of items and their bands' hashes (uint64[bands, n]), which become its entries."""
    n = len(ids)
    low = max(low, _low(n))
    hashes &= ~low
    hashes |= np.arange(n, dtype=np.uint64)
    hashes.sort(axis=1)
    bits = _directory_bits(n)
    directory = np.empty((len(hashes), (1 << bits) + 1), np.uint32)
    _direct(hashes, U64(bits), directory)
    return _Run(ids, np.ones(n, np.bool_), hashes, directory, low, signatures)


def _hashes_of(run: _Run) -> Any:
    """Return the hashes of a run's items that are alive, as far as they are kept: uint64[bands, n]."""
    hashes = np.empty_like(run.entries)
    for row, own in zip(run.entries, hashes, strict=True):
        own[row & run.low] = row & ~run.low
    return hashes if run.alive.all() else np.ascontiguousarray(hashes[:, run.alive])


def _united(runs: list[_Run]) -> _Run:
    """Make one run of the items of several that are alive."""
    ids = np.concatenate([run.ids[run.alive] for run in runs])
    hashes = np.concatenate([_hashes_of(run) for run in runs], axis=1)
    kept = [run.signatures[run.alive] for run in runs if run.signatures is not None]
    low = max(run.low for run in runs)
    return _run_of(ids, hashes, low, np.concatenate(kept) if kept else None)


@cache
def _best_bands(threshold: float, permutations: int, weights: tuple[float, float]) -> tuple[int, int]:
    """Return bands and rows for the least weighted area of false positives and false negatives.

    The S-curve is a polynomial of degree bands * rows, integrated exactly by half as many nodes.
    """
    nodes, shares = np.polynomial.legendre.leggauss(min(permutations // 2 + 1, 256))
    below, above = threshold * (nodes + 1.0) / 2.0, 1.0 - (1.0 - threshold) * (nodes + 1.0) / 2.0
    least, best = np.inf, (1, 1)
    for rows in range(1, permutations + 1):
        found, lost = 1.0 - below**rows, 1.0 - above**rows
        for bands in range(1, permutations // rows + 1):
            positives = threshold / 2.0 * float(shares @ (1.0 - found**bands))
            negatives = (1.0 - threshold) / 2.0 * float(shares @ lost**bands)
            cost = weights[0] * positives + weights[1] * negatives
            if cost < least:
                least, best = cost, (bands, rows)
    return best


def _share(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{name}={value!r} is not a number in 0..1")
    return float(value)


class LshIndex(Stored):
    """An index of MinHash signatures that finds those whose sets' similarity is about ``threshold`` or more.

    ``signatures`` are ``uint32`` or ``uint64[n, permutations]``, of ``MinHash`` or ``OnePermutationMinHash``,
    all of one scheme and seed, and ``ids`` are ``int64``, each of which should be there once. ``bands`` and
    ``rows`` are chosen so that the areas of false positives and false negatives under the S-curve, weighted
    by ``weights``, are least together, or given. With ``keep_signatures`` candidates can be checked.

    ``add`` is O(bands log n) an item, ``query`` O(bands log n) and what it finds. Memory: 8.5 bytes for each
    band of an item and 9 for the item, and its signature if kept. Reading from many threads is safe.

    >>> from algos.similarity import MinHash
    >>> signatures = MinHash(128).signatures([range(1000), range(5000, 6000), range(10, 1000)])
    >>> index = LshIndex(0.8, 128)
    >>> index.add([10, 20, 30], signatures)
    >>> starts, ids = index.query(signatures)
    >>> [ids[lo:hi].tolist() for lo, hi in zip(starts[:-1], starts[1:])]
    [[10, 30], [20], [10, 30]]
    """

    __slots__ = ("_runs", "bands", "keep_signatures", "permutations", "rows", "threshold")

    def __init__(
        self,
        threshold: float = 0.8,
        permutations: int = 128,
        *,
        bands: int | None = None,
        rows: int | None = None,
        weights: tuple[float, float] = (0.5, 0.5),
        keep_signatures: bool = False,
    ) -> None:
        self.threshold = _share("threshold", threshold)
        self.permutations = check_places("permutations", permutations, MAX_PERMUTATIONS)
        if (bands is None) != (rows is None):
            raise ValueError("give both bands and rows, or neither")
        if bands is None:
            false_positives, false_negatives = (_share("weights", w) for w in weights)
            bands, rows = _best_bands(self.threshold, self.permutations, (false_positives, false_negatives))
        self.bands, self.rows = integer("bands", bands), integer("rows", rows)
        if min(self.bands, self.rows) < 1 or self.bands * self.rows > self.permutations:
            raise ValueError(f"{bands} bands of {rows} rows do not fit into {permutations} values")
        self.keep_signatures = bool(keep_signatures)
        self._runs: list[_Run] = []

    def probability(self, similarity: float) -> float:
        """Return the chance that sets of this Jaccard similarity are candidates: 1 - (1 - s^rows)^bands."""
        return float(1.0 - (1.0 - _share("similarity", similarity) ** self.rows) ** self.bands)

    def __len__(self) -> int:
        """Return the number of items."""
        return sum(int(np.count_nonzero(run.alive)) for run in self._runs)

    @property
    def nbytes(self) -> int:
        """The size of the index in memory, in bytes."""
        return sum(int(part.nbytes) for run in self._runs for part in run if part is not None)

    def _read(self, signatures: Any) -> Any:
        """Return signatures as a matrix, or say what they must be."""
        given = signatures
        if not isinstance(given, np.ndarray) or given.dtype not in {np.dtype("u4"), np.dtype("u8")}:
            raise TypeError(f"signatures must be uint32 or uint64[n, {self.permutations}] of NumPy")
        if given.ndim not in {1, 2} or given.shape[-1] != self.permutations:
            raise ValueError(f"signatures have the shape {given.shape}, not [n, {self.permutations}]")
        return np.ascontiguousarray(np.atleast_2d(given))

    def _hashed(self, signatures: Any) -> Any:
        hashes = np.empty((self.bands, len(signatures)), np.uint64)
        _hash_bands(signatures, self.rows, hashes)
        return hashes

    def add(self, ids: Any, signatures: Any) -> None:
        """Add ``n`` items: their ids (``int64[n]``) and signatures. One writer at a time."""
        given, ids = self._read(signatures), np.atleast_1d(np.asarray(ids))
        if ids.dtype.kind not in "iu" or ids.ndim != 1:
            raise TypeError(f"ids must be an array of ints, not {ids.dtype}{list(ids.shape)}")
        if len(ids) != len(given):
            raise ValueError(f"{len(ids)} ids for {len(given)} signatures; give one for each")
        if ids.dtype == np.uint64 and (ids >> U63).any():
            raise OverflowError(f"id {ids.max()} is above 2**63 - 1")
        kept = given.copy() if self.keep_signatures else None
        self._append(ids.astype(np.int64), self._hashed(given), U64(0), kept)

    def _append(self, ids: Any, hashes: Any, low: Any, signatures: Any) -> None:
        """Add a run of items, and unite it with those before it that are not twice as large."""
        if not len(ids):
            return
        if len(ids) + sum(len(run.ids) for run in self._runs) > MAX_ITEMS:
            raise CapacityError(f"an index has room for 2**32 items, not for {len(ids)} more; begin another")
        runs = [*self._runs, _run_of(ids, hashes, low, signatures)]
        while len(runs) > 1 and len(runs[-2].ids) < 2 * len(runs[-1].ids):
            runs[-2:] = [_united(runs[-2:])]
        self._runs = runs

    def remove(self, ids: Any) -> int:
        """Remove all items of these ids, O(n); return how many there were."""
        wanted, removed, runs = np.atleast_1d(np.asarray(ids)), 0, []
        if wanted.dtype.kind not in "iu":
            raise TypeError(f"ids must be ints, not {wanted.dtype}")
        for run in self._runs:
            found = run.alive & np.isin(run.ids, wanted)
            removed += int(np.count_nonzero(found))
            alive = run.alive & ~found
            left = int(np.count_nonzero(alive))
            changed = run._replace(alive=alive)
            if left:
                runs.append(_united([changed]) if 2 * left < len(alive) else changed)
        self._runs = runs
        return removed

    def query(
        self, signatures: Any, *, at_least: float | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the candidates of each of ``n`` signatures: ``starts`` (``int64[n + 1]``) and ``ids``.

        Those of signature ``i`` are ``ids[starts[i]:starts[i + 1]]``, in the order they were added, each item
        once. With ``at_least`` only those whose signatures agree in this share of values, if they are kept.
        """
        given, least = self._read(signatures), self._least(at_least)
        counts, found = [np.zeros(1, np.int64)], [np.empty(0, np.int64)]
        for lo in range(0, len(given), QUERIES):
            part = given[lo : lo + QUERIES]
            matches = self._matches(part)
            of, positions = (matches >> POSITION).astype(np.int64), matches & _low(1 << int(POSITION))
            ids, kept = self._named(part, of, positions.astype(np.int64), least)
            found.append(ids[kept])
            counts.append(np.bincount(of[kept], minlength=len(part)))
        return np.cumsum(np.concatenate(counts)), np.concatenate(found)

    def _matches(self, signatures: Any) -> Any:
        """Return the distinct matches of some queries, each the query's number above a position."""
        hashes, first, parts = self._hashed(signatures), 0, []
        for run in self._runs:
            bits = U64(_directory_bits(len(run.ids)))
            ranges = np.empty((*hashes.shape, 2), np.uint32)
            n = _find(run.entries, run.directory, bits, run.low, hashes, ranges)
            matches = np.empty(n + 1, np.uint64)
            n = _collect(run.entries, run.low, ranges, run.alive, U64(first), matches, U64(0))
            parts.append(matches[:n])
            first += len(run.ids)
        found = np.sort(np.concatenate([np.empty(0, np.uint64), *parts]))
        new = np.ones(len(found), np.bool_)
        np.not_equal(found[1:], found[:-1], out=new[1:])
        return found[new]

    def _named(self, queries: Any, of: Any, positions: Any, least: int) -> tuple[Any, Any]:
        """Return the ids of matches, and which of them agree in so many values with their query."""
        ids, kept, first = np.empty(len(of), np.int64), np.ones(len(of), np.bool_), 0
        for run in self._runs:
            here = (positions >= first) & (positions < first + len(run.ids))
            own = positions[here] - first
            ids[here] = run.ids[own]
            if least:
                same = np.empty(len(own), np.int64)
                _agreements(queries, of[here], run.signatures, own, same)
                kept[here] = same >= least
            first += len(run.ids)
        return ids, kept

    def _least(self, at_least: float | None) -> int:
        """Return in how many values signatures must agree."""
        if at_least is None:
            return 0
        if not self.keep_signatures:
            raise ValueError("at_least compares signatures, which this index has not: keep_signatures=True")
        return int(np.ceil(_share("at_least", at_least) * self.permutations - 1e-9))

    def duplicates(self, *, at_least: float | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the ids of all items, in the order they were added, and for each the first of its group.

        A group is a connected component of candidates, of which with ``at_least`` those count whose
        signatures agree in this share of values. Items to be kept are those where both are the same. One pass
        over the bands; with ``at_least`` quadratic in the number of items that share a band.
        """
        least = self._least(at_least)
        if not self._runs:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        run = self._one_run()
        parents = np.arange(len(run.ids), dtype=np.uint64)
        kept = run.signatures if least else np.empty((0, 0), np.uint32)
        _components(run.entries, run.low, kept, least, parents)
        return run.ids.copy(), run.ids[parents]

    def _one_run(self) -> _Run:
        """Return all items in one run."""
        if len(self._runs) == 1 and self._runs[0].alive.all():
            return self._runs[0]
        return _united(self._runs)

    def merge(self, other: LshIndex) -> None:
        """Add all items of ``other``: as if they had been added here.

        Raises ``ValueError`` unless both were made alike.
        """
        if type(other) is not type(self):
            raise ValueError(f"cannot merge a {type(other).__name__} into a {type(self).__name__}")
        mine, theirs = self._plan(), other._plan()
        if mine != theirs:
            raise ValueError(f"cannot merge an index of {theirs} into one of {mine}; make both alike")
        for run in other._runs:
            kept = None if run.signatures is None else run.signatures[run.alive]
            self._append(run.ids[run.alive], _hashes_of(run), run.low, kept)

    def _plan(self) -> dict[str, Any]:
        return {
            "threshold": self.threshold,
            "permutations": self.permutations,
            "bands": self.bands,
            "rows": self.rows,
            "keep_signatures": self.keep_signatures,
        }

    def _parameters(self) -> dict[str, Any]:
        kept, n = self._runs[0].signatures if self._runs else None, len(self)
        return {
            **self._plan(),
            "items": n,
            "position_bits": max(int(low).bit_length() for low in (_low(n), *(r.low for r in self._runs))),
            "value_bytes": 0 if kept is None else max(r.signatures.itemsize for r in self._runs),
        }

    def _payload(self) -> Any:
        if not self._runs:
            return np.empty(0, np.uint8)
        run = self._one_run()
        parts = [run.ids, np.ascontiguousarray(_hashes_of(run))]
        if run.signatures is not None:
            parts.append(run.signatures)
        return np.concatenate([part.reshape(-1).view(np.uint8) for part in parts])

    @classmethod
    def _restore(cls, parameters: Parameters, payload: memoryview) -> Self:
        permutations = parameters.integer("permutations", 1, MAX_PERMUTATIONS)
        bands = parameters.integer("bands", 1, permutations)
        rows = parameters.integer("rows", 1, permutations // bands)
        threshold = parameters.number("threshold", 0.0, 1.0)
        keep = parameters.choice("keep_signatures", (False, True))
        n = parameters.integer("items", 0, MAX_ITEMS)
        width = parameters.choice("value_bytes", (4, 8) if keep and n else (0,))
        ends = np.cumsum([8 * n, 8 * n * bands, n * permutations * width])
        if len(payload) != ends[-1]:
            raise CorruptDataError(f"{len(payload)} bytes are not {n} items of {bands} bands")
        self = cls(threshold, permutations, bands=bands, rows=rows, keep_signatures=keep)
        ids = np.frombuffer(payload[: ends[0]], "<i8").astype(np.int64)
        hashes = np.frombuffer(payload[ends[0] : ends[1]], "<u8").astype(np.uint64).reshape(bands, n)
        kept = None
        if width:
            kept = np.frombuffer(payload[ends[1] :], f"<u{width}").astype(f"u{width}")
            kept = kept.reshape(n, permutations)
        self._append(ids, hashes, _low(1 << parameters.integer("position_bits", 0, 32)), kept)
        return self
