"""Quotient filter: a sorted list of fingerprints that needs no keys to grow, to merge, or to forget.

Bender et al.: Don't thrash, VLDB 2012, in the layout of Pandey, Bender, Johnson, Patro: A general-purpose
counting filter, SIGMOD 2017. A fingerprint is the top bits of the hash; its upper part, the quotient, says
in which slot it should lie, and only the rest is stored, as near behind that slot as there is room::

    hash   |  quotient, q bits  |  remainder, r bits  |  not used     |
    block  |  occupied: 64 bits  |  run ends: 64 bits  |  64 remainders of r bits, r words  |

The remainders of one quotient are a run, sorted; runs are in the order of their quotients. Bit i of the
first word says that quotient i has a run, a bit of the second that a run ends in that slot; the number of a
quotient among the occupied is the number of its run's end. ``offsets`` (16 bits a block, made from the
rest) say how far the runs before a block reach into it, so a lookup never looks further than its own run.

The law: with n fingerprints fpr = 1 - (1 - 2^-(q + r))^n, about 2^-r when full, in (r + 2.25) / 0.95 bits
per key. It counts: a key added twice must be removed twice.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._bits import U1, U64, aligned_zeros
from algos._fastcall import Method, Native, as_bool, number_of, place, slowly, uint16s_of, uint64s_of
from algos.errors import CapacityError, CorruptDataError
from algos.filters._checks import DEFAULT_FPR, check_capacity, check_count, check_fpr, only_one
from algos.filters._common import RemovableFilter
from algos.filters._quotients import add, contains, fill, find, fingerprints, remove
from algos.hashing._keyed import all_hashes, hash_alone, house_hasher

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algos import _state

LOAD = 0.95
MAX_BITS = 60  # of a fingerprint
MIN_QUOTIENT_BITS = 6


def _blocks(quotient_bits: int) -> int:
    """Return the blocks of a table: its quotients, and room behind the last for what is pushed there."""
    return (1 << quotient_bits) // 64 + math.ceil(10 * math.sqrt(1 << quotient_bits) / 64)


def _plan(capacity: int) -> int:
    """Return the bits of a quotient at which so many fingerprints leave some room."""
    return max(MIN_QUOTIENT_BITS, math.ceil(math.log2(capacity / LOAD)))


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if plain:
        words, offsets, bits = uint64s_of(me, _WORDS), uint16s_of(me, _OFFSETS), number_of(me, _BITS)
        f = h >> (U64(64) - number_of(me, _QUOTIENT_BITS) - bits)
        return as_bool(find(words, offsets, f >> bits, bits, f & ((U1 << bits) - U1))[0])
    return slowly(me, "_contains_one", arguments, count, names)


class QuotientFilter(RemovableFilter):
    """A quotient filter for at least ``capacity`` keys: keys can go, and it grows and merges without them.

    ``bits`` of remainder (60 with the quotient's), or the fewest that keep ``fpr`` (default 0.01). The
    number of slots is a power of two. No false negatives as long as only keys that were added are removed.
    ``add``, ``remove`` and ``in`` are O(1) on average. At 95 % load ``add`` raises ``CapacityError`` and
    loses nothing: then ``grow``. Memory: ``(bits + 2) / load`` bits per key.

    >>> f = QuotientFilter(1000)
    >>> f.add_many([1, 2, 3])
    >>> f.remove(2), f.contains_many([1, 2, 3]).tolist()
    (True, [True, False, True])
    >>> f.grow()
    >>> 3 in f
    True
    """

    __slots__ = ("_offsets", "_used", "_words", "bits", "quotient_bits")

    def __init__(
        self, capacity: int, fpr: float | None = None, bits: int | None = None, *, seed: int = 0
    ) -> None:
        only_one(fpr=fpr, bits=bits)
        quotient_bits = _plan(check_capacity(capacity))
        if bits is None:
            bits = max(1, math.ceil(-math.log2(check_fpr(DEFAULT_FPR if fpr is None else fpr))))
        elif isinstance(bits, bool) or not hasattr(bits, "__index__") or bits < 1:
            raise ValueError(f"bits={bits!r} is not an int of at least 1")
        if not quotient_bits + bits <= MAX_BITS:
            raise ValueError(
                f"{quotient_bits} bits of quotient and {bits} of remainder are more than the {MAX_BITS} of a "
                "fingerprint; ask for less"
            )
        self._use(house_hasher(seed))
        self._clear(quotient_bits, int(bits))

    def _clear(self, quotient_bits: int, bits: int) -> None:
        """Make an empty table."""
        self.quotient_bits, self.bits = quotient_bits, bits
        blocks = _blocks(quotient_bits)
        self._words = aligned_zeros(blocks * (bits + 2), np.uint64)
        self._offsets = np.zeros(blocks, np.uint16)
        self._used = 0

    @classmethod
    def build(cls, keys: Any, fpr: float | None = None, bits: int | None = None, *, seed: int = 0) -> Self:
        """Make a filter of all ``keys``, each as often as it is there, O(n log n): they are sorted first."""
        hashes = all_hashes(house_hasher(seed), keys)
        self = cls(max(1, len(hashes)), fpr, bits, seed=seed)
        self._refill(self.quotient_bits, self.bits, np.sort(hashes >> self._drop))
        return self

    def _refill(self, quotient_bits: int, bits: int, fingerprints: NDArray[np.uint64]) -> None:
        """Put rising fingerprints into a table of this size; leave things as they were if they do not fit."""
        before = self.quotient_bits, self.bits, self._words, self._offsets, self._used
        self._clear(quotient_bits, bits)
        if not fill(self._words, self._offsets, U64(bits), fingerprints):
            self.quotient_bits, self.bits, self._words, self._offsets, self._used = before
            raise CapacityError(
                f"{len(fingerprints):,} fingerprints do not fit into 2**{quotient_bits} slots: "
                "too many are equal"
            )
        self._used = len(fingerprints)

    def _stored(self) -> NDArray[np.uint64]:
        """Return all fingerprints in rising order."""
        out = np.empty(64 * len(self._offsets), np.uint64)
        quotients = U64(1 << self.quotient_bits)
        count = fingerprints(self._words, len(self._offsets), quotients, U64(self.bits), out)
        if count < 0:
            raise CorruptDataError("the runs of this quotient filter contradict one another")
        return out[:count]

    @property
    def _drop(self) -> Any:
        return U64(64 - self.quotient_bits - self.bits)

    def __len__(self) -> int:
        """Return the number of keys in the filter, each as often as it was added."""
        return self._used

    @property
    def capacity(self) -> int:  # type: ignore[override] # here it follows from the table
        """The number of keys that fit, 95 % of the slots."""
        return int(LOAD * (1 << self.quotient_bits))

    @property
    def nbytes(self) -> int:
        """The size of the table, in bytes."""
        return int(self._words.nbytes + self._offsets.nbytes)

    def expected_fpr(self, count: int | None = None) -> float:
        """Return the chance that a key never added is found, with what it holds or with ``count`` keys."""
        keys = self._used if count is None else check_count(count)
        return -math.expm1(keys * math.log1p(-(2.0 ** -(self.quotient_bits + self.bits))))

    def grow(self) -> None:
        """Double the number of slots, by a bit that each remainder gives up: no key is needed, O(n).

        Fingerprints keep their bits, so the false-positive rate is what it was for the same keys. Raises
        ``CapacityError`` when the remainders have no bit left.
        """
        if self.bits == 1:
            raise CapacityError("remainders of 1 bit have none left to grow by: build a filter of more bits")
        self._refill(self.quotient_bits + 1, self.bits - 1, self._stored())

    def merge(self, other: QuotientFilter) -> None:
        """Take in all keys of ``other``, each as often as it is there, growing as needed: O(n).

        Equals, bit for bit, having added all keys to one filter of that size. Sizes may differ as long as
        fingerprints are of equal bits and seeds are equal, else ``ValueError``.
        """
        if type(other) is not type(self):
            raise ValueError(f"cannot merge a {type(other).__name__} into a QuotientFilter")
        mine, theirs = ((f.quotient_bits + f.bits, f.seed) for f in (self, other))
        if mine != theirs:
            raise ValueError(
                f"cannot merge fingerprints of {mine[0]} bits under seed {mine[1]} with {theirs[0]} bits "
                f"under seed {theirs[1]}; make both alike"
            )
        together = np.sort(np.concatenate([self._stored(), other._stored()]))
        quotient_bits = max(self.quotient_bits, other.quotient_bits, _plan(max(1, len(together))))
        if quotient_bits >= mine[0]:
            raise CapacityError(f"{len(together):,} keys are too many for fingerprints of {mine[0]} bits")
        self._refill(quotient_bits, mine[0] - quotient_bits, together)

    __contains__ = Method(_ask, "_contains_one")

    def _probe(self, hashes: Any, out: Any) -> None:
        contains(self._words, self._offsets, U64(self.bits), self._drop, hashes, out)

    def _insert_new(self, hashes: Any, out: Any) -> None:
        fitting = min(len(hashes), self.capacity - self._used)
        args = self._words, self._offsets, U64(self.bits), self._drop
        added = int(add(*args, hashes[:fitting], out))
        self._used += added
        if added < len(hashes):
            raise CapacityError(
                f"{self._used:,} of {1 << self.quotient_bits:,} slots are in use and a key found no place; "
                "the keys before it are in, it and those after it are not. Call grow() and add them"
            )

    def _remove(self, hashes: Any, out: Any) -> None:
        remove(self._words, self._offsets, U64(self.bits), self._drop, hashes, out)
        self._used -= int(out.sum())

    def _parameters(self) -> dict[str, Any]:
        return {"quotient_bits": self.quotient_bits, "bits": self.bits, "seed": self.seed}

    def _payload(self) -> Any:
        return self._words

    @classmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        quotient_bits = parameters.integer("quotient_bits", MIN_QUOTIENT_BITS, MAX_BITS - 1)
        bits = parameters.integer("bits", 1, MAX_BITS - quotient_bits)
        nbytes = 8 * _blocks(quotient_bits) * (bits + 2)
        if len(payload) != nbytes:
            raise CorruptDataError(
                f"a table of 2**{quotient_bits} slots has {nbytes} bytes, not {len(payload)}"
            )
        self = cls.__new__(cls)
        self._use(house_hasher(parameters.integer("seed", 0, (1 << 64) - 1)))
        self._clear(quotient_bits, bits)
        self._words[:] = np.frombuffer(payload, "<u8")
        self._refill(quotient_bits, bits, self._stored())
        return self


_WORDS, _OFFSETS = place(QuotientFilter, "_words"), place(QuotientFilter, "_offsets")
_BITS, _QUOTIENT_BITS = place(QuotientFilter, "bits"), place(QuotientFilter, "quotient_bits")
