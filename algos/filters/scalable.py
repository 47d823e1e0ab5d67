"""Scalable Bloom filter: Bloom filters in layers, for a set nobody knows the size of.

Almeida, Baquero, Preguiça, Hutchison: Scalable Bloom filters, 2007. When a layer holds the keys it was
planned for, a new one of twice the capacity and half the false-positive rate begins::

    layer i:  capacity_i = capacity 2^i,   fpr_i = (fpr / 2) 2^-i,   so that all of them together keep fpr

A key is added to the last layer unless one finds it already, so repeats cost no space. A lookup asks every
layer, O(log(n / capacity)) of them; a filter planned for the right size is faster and up to a third
smaller. Two of them cannot merge: the layers of both would be over-full, and the promised rate broken.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from algos._bits import U1, U64, aligned_zeros
from algos._fastcall import Method, Native, as_bool, place, slowly, uint64s_at, uint64s_of
from algos.errors import CapacityError, CorruptDataError
from algos.filters._bloom import MIN_FPR, add, contains, found_now, holds, law, words_for
from algos.filters._checks import DEFAULT_FPR, MAX_CAPACITY, check_capacity, check_count, check_fpr
from algos.filters._common import GrowingFilter, count_keys
from algos.hashing._keyed import hash_alone, house_hasher

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algos import _state

GROWTH = 2
TIGHTENING = 0.5
MAX_LAYERS = 40


class _Layer(NamedTuple):
    words: NDArray[np.uint64]
    hash_count: int
    capacity: int

    def contains(self, hashes: Any) -> NDArray[np.bool_]:
        """Tell which hashes this layer finds."""
        out = np.empty(len(hashes), np.bool_)
        contains(self.words, self.hash_count, hashes, out)
        return out


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        directory, found = uint64s_of(me, _DIRECTORY), False
        for at in range(U64(0), U64(directory.size), U64(3)):
            words = uint64s_at(directory[at], directory[at + U1])
            found |= holds(words, directory[at + U64(2)], h)
        return as_bool(found)
    return slowly(me, "_contains_one", arguments, count, names)


class ScalableBloomFilter(GrowingFilter):
    """A Bloom filter that grows: ``fpr`` (default 0.01) holds however many keys are added.

    ``capacity`` is what the first layer is planned for. There are no false negatives. ``add`` and ``in``
    are O(k) for each layer. Memory: 12 to 25 bits per key at 1 %. Raises ``CapacityError`` when the next
    layer would need more than a Bloom filter can have.

    >>> f = ScalableBloomFilter(100)
    >>> f.add_many(list(range(100_000)))
    >>> len(f) > 99_000, 77 in f, f.expected_fpr() < 0.01
    (True, True, True)
    """

    __slots__ = ("_directory", "_layers", "_used", "capacity", "fpr")

    def __init__(self, capacity: int, fpr: float | None = None, *, seed: int = 0) -> None:
        fpr = check_fpr(DEFAULT_FPR if fpr is None else fpr)
        if fpr * TIGHTENING < MIN_FPR:
            raise ValueError(f"fpr={fpr} is below what a first layer can have, {MIN_FPR / TIGHTENING:.2g}")
        self._set_up(check_capacity(capacity), fpr, seed)
        self._hold([self._layer(0)])
        self._used = 0

    def _set_up(self, capacity: int, fpr: float, seed: int) -> None:
        self.capacity, self.fpr = capacity, fpr
        self._use(house_hasher(seed))

    def _hold(self, layers: list[_Layer]) -> None:
        """Ask these layers from now on."""
        places = [(layer.words.ctypes.data, layer.words.size, layer.hash_count) for layer in layers]
        self._layers, self._directory = layers, np.array(places, np.uint64).ravel()

    def _plan(self, number: int) -> tuple[int, float]:
        """Return a layer's capacity and false-positive rate."""
        return self.capacity * GROWTH**number, self.fpr * (1.0 - TIGHTENING) * TIGHTENING**number

    def _planned(self, number: int) -> tuple[int, float]:
        """Return the same, unless no Bloom filter can be that large or that sure."""
        capacity, fpr = self._plan(number)
        if number == MAX_LAYERS or capacity > MAX_CAPACITY or fpr < MIN_FPR:
            raise CapacityError(
                f"layer {number} would hold {capacity} keys at {fpr:.2g}, more than a Bloom filter can: "
                "start with a larger capacity"
            )
        return capacity, fpr

    def _layer(self, number: int) -> _Layer:
        capacity, fpr = self._planned(number)
        words, hash_count = words_for(capacity, fpr)
        return _Layer(aligned_zeros(words, np.uint64), hash_count, capacity)

    @classmethod
    def build(cls, keys: Any, fpr: float | None = None, *, seed: int = 0) -> Self:
        """Make a filter of all ``keys``, its first layer planned for their number, O(k n)."""
        parts = house_hasher(seed).pieces(keys)
        self = cls(count_keys(parts), fpr, seed=seed)
        self._add_pieces(parts)
        return self

    def __len__(self) -> int:
        """Return the number of keys that were new when they were added."""
        return self._used + sum(layer.capacity for layer in self._layers[:-1])

    @property
    def bits_per_key(self) -> float:
        """The bits of all layers divided by the keys they are planned for."""
        return 8.0 * self.nbytes / sum(layer.capacity for layer in self._layers)

    @property
    def nbytes(self) -> int:
        """The size of all layers, in bytes."""
        return sum(layer.words.nbytes for layer in self._layers)

    def expected_fpr(self, count: int | None = None) -> float:
        """Return the chance that a key never added is found in some layer.

        For the bits set now it is exact; with ``count`` it is the law for that many keys, before they are
        added.
        """
        if count is None:
            return 1.0 - prod(1.0 - found_now(layer.words, layer.hash_count) for layer in self._layers)
        left, number, missed = check_count(count), 0, 1.0
        while left:
            capacity, fpr = self._planned(number)
            words, hash_count = words_for(capacity, fpr)
            missed *= 1.0 - law(64 * words, hash_count, min(left, capacity))
            left, number = left - min(left, capacity), number + 1
        return 1.0 - missed

    __contains__ = Method(_ask, "_contains_one")

    def _probe(self, hashes: Any, out: Any) -> None:
        out[:] = self._layers[-1].contains(hashes)
        for layer in self._layers[:-1]:
            out |= layer.contains(hashes)

    def _insert_new(self, hashes: Any, out: Any) -> None:
        while len(hashes):
            if self._used == self._layers[-1].capacity:
                self._hold([*self._layers, self._layer(len(self._layers))])
                self._used = 0
            last = self._layers[-1]
            part, answers = hashes[: last.capacity - self._used], out[: last.capacity - self._used]
            answers[:] = False
            unknown = np.ones(len(part), np.bool_)
            for layer in self._layers[:-1]:
                unknown &= ~layer.contains(part)
            fresh = np.empty(np.count_nonzero(unknown), np.bool_)
            add(last.words, last.hash_count, part[unknown], fresh)
            answers[unknown] = fresh
            self._used += int(np.count_nonzero(fresh))
            hashes, out = hashes[len(part) :], out[len(part) :]

    def _parameters(self) -> dict[str, Any]:
        return {
            "capacity": self.capacity,
            "fpr": self.fpr,
            "seed": self.seed,
            "layers": len(self._layers),
            "used": self._used,
        }

    def _payload(self) -> Any:
        return np.concatenate([layer.words for layer in self._layers])

    @classmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        self = cls.__new__(cls)
        self._set_up(
            parameters.integer("capacity", 1, MAX_CAPACITY),
            parameters.number("fpr", MIN_FPR, 1.0),
            parameters.integer("seed", 0, (1 << 64) - 1),
        )
        layers = parameters.integer("layers", 1, MAX_LAYERS)
        sizes = [words_for(*self._plan(number))[0] for number in range(layers)]
        if 8 * sum(sizes) != len(payload):
            raise CorruptDataError(f"{layers} layers have {8 * sum(sizes)} bytes, not {len(payload)}")
        words = np.frombuffer(payload, "<u8")
        self._hold([self._layer(number) for number in range(layers)])
        for layer, part in zip(self._layers, np.split(words, np.cumsum(sizes)[:-1]), strict=True):
            layer.words[:] = part
        self._used = parameters.integer("used", 0, self._layers[-1].capacity)
        return self


_DIRECTORY = place(ScalableBloomFilter, "_directory")
