"""Theta sketch: the keys whose hashes are below a threshold, which is lowered as they become too many.

Dasgupta, Lang, Rhodes, Thaler: A framework for estimating stream expression cardinalities, ICDT 2016; the
QuickSelect sketch of Apache DataSketches, whose hashes, threshold and bytes these are. Like it:

* a key's hash is the first half of MurmurHash3_x64_128 of its bytes, shifted right by one; 0 stands for an
  empty slot, so such a key is dropped;
* a hash below ``theta64`` (2^63 - 1 at first) is retained. Once there are more than 15/16 of ``2^(lg_k + 1)``
  of them, ``theta64`` becomes the ``k + 1``-th smallest, and only the ``k = 2^lg_k`` below it stay.

Each key of the set is so among the retained with a chance of ``theta``, whatever other keys there are, and
``retained / theta`` is their number. What is below both thresholds of two sketches tells the same of any
expression of the two sets.

``add`` is O(1), amortised; past ``k`` keys most cost a hash and one comparison. 32 k bytes. The standard
error is at most ``1 / sqrt(k - 1)``, 1.6 % at ``lg_k = 12``; an intersection's grows as the sets are larger
than it (``interval`` tells). Good for set expressions and for keys to be looked at again; for a mere count an
``UltraLogLog`` has the same error in a tenth of the space.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from algos._arguments import integer
from algos._bits import U1, U64, aligned_zeros
from algos._fastcall import (
    INT,
    NONE,
    Method,
    Native,
    as_none,
    key_alone,
    kind_of,
    place,
    size_of,
    slowly,
    text_of,
    uint64s_of,
    word_of,
)
from algos._jit import kernel
from algos.cardinality._compact_theta import read_compact, write_compact
from algos.cardinality._sampled import check_confidence, count_bounds, share_bounds
from algos.cardinality._theta_table import (
    COUNT,
    LIMIT,
    SEED,
    SEEN,
    THETA,
    U0,
    add_hashes,
    add_words,
    fill,
    gather,
    slot_of,
)
from algos.errors import CorruptDataError
from algos.hashing._keyed import Growing, check_hashes
from algos.hashing.batch import KeyHasher
from algos.hashing.keys import Dictionary, Text, Words, one, pieces
from algos.hashing.murmur3_128 import MURMUR3_128, murmur3_128, murmur3_128_word

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algos import _state
    from algos.hashing.keys import Piece

MAX_THETA = (1 << 63) - 1
DEFAULT_SEED = 9001
MIN_LG_K, MAX_LG_K = 5, 26
_LG_LEAST, _LG_GROWTH, _LG_ROOM = 6, 3, 2
"""The table begins with 64 to 256 slots, grows eightfold, and ends with four for each of ``k``, of which less
than half are used: with two, as DataSketches has it, most lines are full before theta is lowered."""


@kernel
def _shared(a: Any, b: Any, out: Any) -> None:
    """Note which of rising hashes ``a`` are among rising hashes ``b``."""
    j, n = U64(0), U64(b.size)
    for i in range(U64(a.size)):
        while j < n and b[j] < a[i]:
            j += U1
        out[i] = j < n and b[j] == a[i]


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    key = key_alone(arguments, count, names)
    kind = kind_of(key)
    if kind == NONE:
        return slowly(me, "_add_one", arguments, count, names)
    state, table = uint64s_of(me, _STATE), uint64s_of(me, _TABLE)
    if kind == INT:
        h = murmur3_128_word(word_of(key), state[SEED]) >> U1
    elif size_of(key) == U0:
        return as_none()
    else:
        h = murmur3_128(text_of(key), U0, size_of(key), state[SEED])[0] >> U1
    state[SEEN] = U1
    if h < state[THETA] and h != U0:
        at = slot_of(table, h)
        if table[at] != h:
            if state[COUNT] >= state[LIMIT]:
                return slowly(me, "_add_one", arguments, count, names)
            table[at] = h
            state[COUNT] += U1
    return as_none()


class Jaccard(NamedTuple):
    """An estimate of a Jaccard index between its bounds."""

    low: float
    estimate: float
    high: float


class _Hasher(KeyHasher):
    """The hash of DataSketches, of house keys but for the empty text, which is no key."""

    __slots__ = ()

    def __init__(self, seed: int) -> None:
        super().__init__(MURMUR3_128._replace(seed_bits=64), seed)

    def pieces(self, keys: Any) -> list[Piece]:
        """Normalise a batch of keys; empty texts become nulls."""
        found = pieces(keys)
        for piece in found:
            _without_empty(piece)
        return found

    def _one_piece(self, key: Any) -> Piece | None:
        piece = one(key)
        if piece is not None:
            _without_empty(piece)
        return piece if piece is None or piece.valid is None else None


def _without_empty(piece: Piece) -> None:
    texts = piece.values if isinstance(piece, Dictionary) else piece
    if not isinstance(texts, Text):
        return
    some = texts.offsets[1:] != texts.offsets[:-1]
    if not some.all():
        some = some[piece.indices] if isinstance(piece, Dictionary) else some
        piece.valid = some if piece.valid is None else piece.valid & some


class ThetaSketch(Growing):
    """A theta sketch of nominally ``k = 2^lg_k`` hashes: DataSketches' own, for counts and set expressions.

    It has, after the same keys, the threshold and the hashes of DataSketches' update sketch of the same
    ``lg_k`` (5..26) and ``seed`` (64 bits). An int is its 64 bits, a ``float`` those of a float64, text its
    UTF-8; empty text is no key. Standard error below ``1 / sqrt(k - 1)``, exact while there are no more than
    15/8 ``k`` keys. ``add`` is O(1), 32 ``k`` bytes at most.

    >>> a, b = ThetaSketch(), ThetaSketch()
    >>> a.add_many(range(3000))
    >>> b.add_many(range(1000, 4000))
    >>> a.union(b).estimate(), a.intersection(b).estimate(), a.difference(b).estimate()
    (4000.0, 2000.0, 1000.0)
    """

    __slots__ = ("_state", "_table", "lg_k")

    def __init__(self, lg_k: int = 12, *, seed: int = DEFAULT_SEED) -> None:
        self.lg_k = integer("lg_k", lg_k)
        if not MIN_LG_K <= self.lg_k <= MAX_LG_K:
            raise ValueError(f"lg_k={lg_k} is outside {MIN_LG_K}..{MAX_LG_K}; 12 has an error of 1.6 %")
        self._begin(seed)

    def _begin(self, seed: int) -> None:
        self._use(_Hasher(seed))
        self._state = np.array([MAX_THETA, 0, 0, 0, self.seed], np.uint64)
        self._lay(np.empty(0, np.uint64))

    def _lay(self, hashes: Any) -> None:
        """Retain these hashes alone, in the smallest table that they do not half fill, or in the largest."""
        full = self.lg_k + _LG_ROOM
        lg = _LG_LEAST + (full - _LG_LEAST) % _LG_GROWTH
        while lg < full and len(hashes) >= 1 << (lg - 1):
            lg += _LG_GROWTH
        self._table = aligned_zeros(1 << lg, np.uint64)
        self._state[COUNT] = len(hashes)
        self._state[LIMIT] = _most(self.lg_k) if lg == full else 1 << (lg - 1)
        fill(self._table, hashes)

    @property
    def theta64(self) -> int:
        """The threshold below which hashes are retained; 2^63 - 1 while all are."""
        return int(self._state[THETA])

    @property
    def theta(self) -> float:
        """The chance that a key is among the retained, in (0, 1]; 1 while the sketch is exact."""
        return float(self.theta64) / float(MAX_THETA)

    @property
    def is_empty(self) -> bool:
        """Whether no key has come."""
        return not self._state[SEEN]

    def __len__(self) -> int:
        """Return the number of retained hashes."""
        return int(self._state[COUNT])

    def retained(self) -> NDArray[np.uint64]:
        """Return the retained hashes in rising order, ``uint64[len(self)]``, O(k log k)."""
        return np.sort(self._hashes())

    def _hashes(self) -> Any:
        out = np.empty(len(self) + 1, np.uint64)  # one more, for the empty slots after the last hash
        gather(self._table, out)
        return out[:-1]

    @property
    def nbytes(self) -> int:
        """The size of the table and its words, in bytes."""
        return int(self._table.nbytes + self._state.nbytes)

    def add_many(self, keys: Any) -> None:
        """Add ``n`` keys, or any iterable, one after the other; nulls are skipped. One writer at a time."""
        for parts in self._hasher.batches(keys):
            for part in parts:
                self._insert_piece(part)

    def add_hashes(self, hashes: NDArray[np.uint64]) -> None:
        """Add keys of which the hash is known: ``hash64(keys, "murmur3_128", seed=seed)``, ``uint64[n]``."""
        self._insert(check_hashes(hashes))

    def _insert_piece(self, piece: Piece) -> None:
        if isinstance(piece, Words) and piece.valid is None:
            for _, values in piece.spans():
                self._seen(len(values))
                at = 0
                while at < len(values):
                    at = int(add_words(self._table, self._state, values, at))
                    self._make_room()
        else:
            super()._insert_piece(piece)

    def _insert(self, hashes: Any) -> None:
        self._seen(len(hashes))
        self._add(hashes, U1)

    def _seen(self, count: int) -> None:
        if count:
            self._state[SEEN] = 1

    def _add(self, hashes: Any, shift: Any) -> None:
        at = 0
        while at < len(hashes):
            at = int(add_hashes(self._table, self._state, hashes, shift, at))
            self._make_room()

    def _make_room(self) -> None:
        """Grow, or lower theta, where there are more hashes than there may be."""
        if self._state[COUNT] <= self._state[LIMIT]:
            return
        if self._table.size < 1 << self.lg_k + _LG_ROOM:
            self._lay(self._hashes())
        else:
            self.trim()

    def trim(self) -> None:
        """Keep the ``k`` smallest hashes at most: theta becomes the next one. O(k)."""
        k = 1 << self.lg_k
        if len(self) > k:
            hashes = np.partition(self._hashes(), k)
            self._state[THETA] = hashes[k]
            self._lay(hashes[:k])

    def estimate(self) -> float:
        """Return the number of distinct keys: retained hashes over theta. Unbiased; O(1)."""
        return len(self) / self.theta

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return bounds of the number of distinct keys, which hold with a chance of ``confidence``.

        They follow from the binomial law of ``len(self)`` samples, for results of set expressions too. Those
        of DataSketches, for 1, 2 and 3 standard deviations, are the same; up to 120 samples to four digits.
        O(1).
        """
        return count_bounds(len(self), self.theta, check_confidence(confidence))

    def _check_seed(self, other: Any) -> None:
        if not isinstance(other, ThetaSketch):
            raise TypeError(f"the other must be a ThetaSketch, not {type(other).__name__}")
        if other.seed != self.seed:
            raise ValueError(f"seeds {self.seed} and {other.seed} hash keys differently; make both alike")

    def merge(self, other: ThetaSketch) -> None:
        """Take in all keys of ``other``.

        More hashes may stay retained than if all keys had come to one sketch, which is no error; after
        ``trim`` both have the same, bit for bit. Raises ``ValueError`` unless ``lg_k`` and seed are the same.
        """
        if type(other) is not type(self) or other.lg_k != self.lg_k:
            raise ValueError(f"cannot merge {other!r} into {self!r}; union takes sketches of two sizes")
        self._check_seed(other)
        self._unite(other)

    def _unite(self, other: ThetaSketch) -> None:
        hashes = other._hashes()
        if other.theta64 < self.theta64:
            mine = self._hashes()
            self._state[THETA] = other.theta64
            self._lay(mine[mine < other._state[THETA]])
        self._state[SEEN] |= other._state[SEEN]
        self._add(hashes, U0)

    def _result(self, other: ThetaSketch, theta: int, hashes: Any) -> Self:
        """Make the sketch of an expression from the hashes below its theta."""
        made = self.__class__(max(self.lg_k, other.lg_k), seed=self.seed)
        made._state[THETA] = theta
        made._state[SEEN] = len(hashes) > 0 or theta < MAX_THETA
        made._lay(hashes)
        return made

    def union(self, other: ThetaSketch) -> Self:
        """Return a sketch of the keys of either: of the larger ``lg_k``, at most ``k`` hashes, O(k).

        Raises ``ValueError`` for another seed, as all set expressions do.
        """
        self._check_seed(other)
        made = self._result(other, MAX_THETA, np.empty(0, np.uint64))
        made._unite(self)
        made._unite(other)
        made.trim()
        return made

    def _below_both(self, other: ThetaSketch) -> tuple[int, Any, Any]:
        """Return the lower theta, this sketch's hashes below it, and which of them the other has."""
        self._check_seed(other)
        theta, mine = min(self.theta64, other.theta64), self.retained()
        mine = mine[: np.searchsorted(mine, U64(theta))]
        shared = np.empty(len(mine), np.bool_)
        _shared(mine, other.retained(), shared)
        return theta, mine, shared

    def intersection(self, other: ThetaSketch) -> Self:
        """Return a sketch of the keys of both, O(k log k).

        Its relative error is about ``sqrt(|A or B| / |A and B| / k)``.
        """
        theta, mine, shared = self._below_both(other)
        if self.is_empty or other.is_empty:
            theta = MAX_THETA
        return self._result(other, theta, mine[shared])

    def difference(self, other: ThetaSketch) -> Self:
        """Return a sketch of the keys of this that are not of ``other``, O(k log k)."""
        theta, mine, shared = self._below_both(other)
        if self.is_empty:
            theta = MAX_THETA
        return self._result(other, theta, mine[~shared])

    def jaccard(self, other: ThetaSketch, confidence: float = 0.95) -> Jaccard:
        """Return the share of the keys of either that are of both, and its bounds; 1 for two empty sets.

        The bounds hold with a chance of ``confidence``. Standard error ``sqrt(J (1 - J) / n)`` for ``n``
        hashes of the union. O(k log k).
        """
        confidence = check_confidence(confidence)
        theta, mine, shared = self._below_both(other)
        if self.is_empty and other.is_empty:
            return Jaccard(1.0, 1.0, 1.0)
        theirs, both = other._hashes(), int(np.count_nonzero(shared))
        either = len(mine) - both + int(np.count_nonzero(theirs < U64(theta)))
        low, high = share_bounds(both, either, theta / MAX_THETA, confidence)
        return Jaccard(low, both / either if either else 0.0, high)

    def to_datasketches_bytes(self) -> bytes:
        """Serialise as a compact, ordered theta sketch of DataSketches, serial version 3; O(k log k)."""
        return write_compact(self.theta64, self.retained(), self.is_empty, self.seed)

    @classmethod
    def from_datasketches_bytes(
        cls, data: bytes | bytearray | memoryview, lg_k: int = 12, *, seed: int = DEFAULT_SEED
    ) -> Self:
        """Make a sketch of a compact one of DataSketches, serial version 1 to 4, compressed or not.

        It says nothing of its size: the sketch is of ``lg_k``, or a larger one where it has more hashes. More
        keys can be added. Raises ``CorruptDataError`` for other bytes, or for those of another ``seed``.
        """
        self = cls(lg_k, seed=seed)
        theta, hashes, empty = read_compact(data, self.seed)
        while self.lg_k < MAX_LG_K and len(hashes) > _most(self.lg_k):
            self.lg_k += 1
        self._take_stored(theta, hashes, empty)
        return self

    def _take_stored(self, theta: int, hashes: Any, empty: bool) -> None:
        """Take stored hashes, which have to rise, and to be what a theta of that size leaves."""
        if len(hashes) > _most(self.lg_k):
            raise CorruptDataError(f"{len(hashes)} hashes are more than a sketch of lg_k={self.lg_k} retains")
        if len(hashes) and not (hashes[0] > 0 and hashes[-1] < theta and (hashes[1:] > hashes[:-1]).all()):
            raise CorruptDataError(f"{len(hashes)} hashes do not rise between 0 and theta64={theta}")
        if empty and (len(hashes) or theta != MAX_THETA):
            raise CorruptDataError(f"an empty sketch has {len(hashes)} hashes and theta64={theta}")
        self._state[THETA], self._state[SEEN] = theta, not empty
        self._lay(hashes)

    def _parameters(self) -> dict[str, Any]:
        return {"lg_k": self.lg_k, "seed": self.seed, "theta64": self.theta64, "empty": self.is_empty}

    def _payload(self) -> Any:
        return self.retained().astype("<u8", copy=False)

    @classmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        if len(payload) % 8:
            raise CorruptDataError(f"{len(payload)} bytes are not a whole number of 8-byte hashes")
        self = cls.__new__(cls)
        self.lg_k = parameters.integer("lg_k", MIN_LG_K, MAX_LG_K)
        self._begin(parameters.integer("seed", 0, (1 << 64) - 1))
        theta = parameters.integer("theta64", 1, MAX_THETA)
        self._take_stored(theta, np.frombuffer(payload, "<u8"), parameters.choice("empty", (True, False)))
        return self

    add = Method(_put, "_add_one")


def _most(lg_k: int) -> int:
    """Return the most hashes that are retained before theta is lowered."""
    return 15 << (lg_k - 3)


_STATE, _TABLE = place(ThetaSketch, "_state"), place(ThetaSketch, "_table")
