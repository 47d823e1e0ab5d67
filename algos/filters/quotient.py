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

from algos._bits import U1, U2, U6, U63, U64, U64_, aligned_zeros, popcount, prefetch, trailing_zeros
from algos._jit import inlined, kernel
from algos.errors import CapacityError, CorruptDataError
from algos.filters._common import (
    DEFAULT_FPR,
    RemovableFilter,
    all_hashes,
    check_capacity,
    check_count,
    check_fpr,
    house_hasher,
    only_one,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algos import _state

LOAD = 0.95
MAX_BITS = 60  # of a fingerprint
MIN_QUOTIENT_BITS = 6
FULL, OVERFLOW = -1, 1 << 16
AHEAD = 16
"""Keys whose blocks are under way while others are looked up."""


@inlined
def _base(block: Any, r: Any) -> Any:
    return block * (r + U2)


@inlined
def _remainder(words: Any, slot: Any, r: Any) -> Any:
    base, bit = _base(slot >> U6, r) + U2, (slot & U63) * r
    at, shift = base + (bit >> U6), bit & U63
    value = words[at] >> shift
    if shift + r > U64_:
        value |= words[at + U1] << (U64_ - shift)
    return value & ((U1 << r) - U1)


@inlined
def _set_remainder(words: Any, slot: Any, r: Any, value: Any) -> None:
    base, bit = _base(slot >> U6, r) + U2, (slot & U63) * r
    at, shift, mask = base + (bit >> U6), bit & U63, (U1 << r) - U1
    words[at] = (words[at] & ~(mask << shift)) | (value << shift)
    if shift + r > U64_:
        back = U64_ - shift
        words[at + U1] = (words[at + U1] & ~(mask >> back)) | (value >> back)


@inlined
def _flag(words: Any, slot: Any, r: Any, which: Any) -> Any:
    return (words[_base(slot >> U6, r) + which] >> (slot & U63)) & U1


@inlined
def _set_flag(words: Any, slot: Any, r: Any, which: Any, value: Any) -> None:
    at, bit = _base(slot >> U6, r) + which, U1 << (slot & U63)
    words[at] = (words[at] & ~bit) | (bit * value)


@inlined
def _select(word: Any, rank: Any) -> Any:
    """Return the position of the set bit that has ``rank`` others below it, by halves."""
    at, width = U64(0), U64(32)
    while width != U64(0):
        low = popcount((word >> at) & ((U1 << width) - U1))
        if rank >= low:
            rank -= low
            at += width
        width >>= U1
    return at


@inlined
def _behind(words: Any, offsets: Any, q: Any, r: Any) -> Any:
    """Return the slot behind the last run of a quotient up to ``q``; at most ``q`` if slot q is free."""
    block, i = q >> U6, q & U63
    start = (block << U6) + U64(offsets[block])
    rank = popcount(words[_base(block, r)] & (~U64(0) >> (U63 - i)))
    if rank == U64(0):
        return start
    at = start >> U6
    ends = words[_base(at, r) + U1] & (~U64(0) << (start & U63))
    count = popcount(ends)
    while count < rank:
        rank -= count
        at += U1
        ends = words[_base(at, r) + U1]
        count = popcount(ends)
    return (at << U6) + _select(ends, rank - U1) + U1


@inlined
def _free(words: Any, offsets: Any, q: Any, r: Any) -> Any:
    """Return the first free slot from ``q`` on; it may lie behind the last."""
    slots, at = U64(offsets.size) << U6, q
    while at < slots:
        behind = _behind(words, offsets, at, r)
        if behind <= at:
            break
        at = behind
    return at


@inlined
def _find(words: Any, offsets: Any, q: Any, r: Any, value: Any) -> tuple[Any, Any, Any]:
    """Return whether a run holds a remainder, the first slot with one not below it, and the slot behind.

    For a quotient without a run the slot is where its run would begin.
    """
    behind = _behind(words, offsets, q, r)
    if _flag(words, q, r, U64(0)) == U64(0):
        return False, max(behind, q), max(behind, q)
    at = behind - U1
    while True:
        if _remainder(words, at, r) < value:
            return at + U1 < behind and _remainder(words, at + U1, r) == value, at + U1, behind
        if at == q or _flag(words, at - U1, r, U1) != U64(0) or at == U64(0):
            return _remainder(words, at, r) == value, at, behind
        at -= U1


@inlined
def _move(offsets: Any, q: Any, last: Any, by: Any) -> None:
    """Note that the runs from quotient ``q`` on now end ``by`` slots later, up to the slot ``last``."""
    for block in range(np.int64(q >> U6) + 1, np.int64(last >> U6) + 1):
        offsets[block] = np.uint16(np.int64(offsets[block]) + by)


@inlined
def _insert(words: Any, offsets: Any, f: Any, r: Any) -> Any:
    """Insert a fingerprint: 1 if it is new, 0 if it was there already, -1 if there is no room."""
    q, value = f >> r, f & ((U1 << r) - U1)
    found, at, behind = _find(words, offsets, q, r, value)
    free = _free(words, offsets, q, r)
    if free >= U64(offsets.size) << U6 or free - q >= U64(OVERFLOW):
        return -1
    slot = free
    while slot > at:
        _set_remainder(words, slot, r, _remainder(words, slot - U1, r))
        slot -= U1
    slot = free
    while slot > behind:
        _set_flag(words, slot, r, U1, _flag(words, slot - U1, r, U1))
        slot -= U1
    _set_remainder(words, at, r, value)
    if _flag(words, q, r, U64(0)) != U64(0):
        _set_flag(words, behind - U1, r, U1, U64(0))
    _set_flag(words, q, r, U64(0), U1)
    _set_flag(words, behind, r, U1, U1)
    _move(offsets, q, free, 1)
    return 0 if found else 1


@inlined
def _next_quotient(words: Any, q: Any, blocks: Any, r: Any) -> Any:
    """Return the next quotient behind ``q`` that has a run, or the number of slots."""
    block = q >> U6
    rest = words[_base(block, r)] & (~U1 << (q & U63))
    while rest == U64(0):
        block += U1
        if block == blocks:
            return blocks << U6
        rest = words[_base(block, r)]
    return (block << U6) + trailing_zeros(rest)


@inlined
def _take(words: Any, offsets: Any, f: Any, r: Any) -> Any:
    """Remove a fingerprint once; tell whether it was there. What stood too far back moves up."""
    q, value = f >> r, f & ((U1 << r) - U1)
    found, at, behind = _find(words, offsets, q, r, value)
    if not found:
        return False
    last, run, blocks = behind - U1, q, U64(offsets.size)
    alone = last == q or (last > U64(0) and _flag(words, last - U1, r, U1) != U64(0))
    if at == last and alone:
        _set_flag(words, q, r, U64(0), U64(0))
        _set_flag(words, last, r, U1, U64(0))
    else:
        _set_flag(words, last, r, U1, U64(0))
        _set_flag(words, last - U1, r, U1, U1)
    hole = at
    while True:
        while hole < last:
            _set_remainder(words, hole, r, _remainder(words, hole + U1, r))
            hole += U1
        run = _next_quotient(words, run, blocks, r)
        if run > hole:
            break
        last = hole + U1
        while _flag(words, last, r, U1) == U64(0):
            last += U1
        _set_flag(words, last, r, U1, U64(0))
        _set_flag(words, last - U1, r, U1, U1)
    _set_remainder(words, hole, r, U64(0))
    _move(offsets, q, hole, -1)
    return True


@inlined
def _fetch(words: Any, f: Any, r: Any) -> None:
    base = _base((f >> r) >> U6, r)
    prefetch(words, base)
    prefetch(words, base + U2 + ((((f >> r) & U63) * r) >> U6))


@kernel
def _contains(words: Any, offsets: Any, r: Any, drop: Any, hashes: Any, out: Any) -> None:
    n = hashes.size
    for i in range(n):
        if i + AHEAD < n:
            _fetch(words, hashes[i + AHEAD] >> drop, r)
        f = hashes[i] >> drop
        out[i] = _find(words, offsets, f >> r, r, f & ((U1 << r) - U1))[0]


@kernel
def _add(words: Any, offsets: Any, r: Any, drop: Any, hashes: Any, new: Any) -> Any:
    """Add until there is no room, noting which were not there before; return how many were added."""
    n = hashes.size
    for i in range(n):
        if i + AHEAD < n:
            _fetch(words, hashes[i + AHEAD] >> drop, r)
        state = _insert(words, offsets, hashes[i] >> drop, r)
        if state == FULL:
            return i
        new[i] = state == 1
    return n


@kernel
def _remove(words: Any, offsets: Any, r: Any, drop: Any, hashes: Any, out: Any) -> None:
    for i in range(hashes.size):
        out[i] = _take(words, offsets, hashes[i] >> drop, r)


@kernel
def _fill(words: Any, offsets: Any, r: Any, fingerprints: Any) -> Any:
    """Put rising fingerprints into an empty table; tell whether there was room."""
    slots, behind, n = U64(offsets.size) << U6, U64(0), fingerprints.size
    block = U64(0)
    for i in range(n):
        f = fingerprints[i]
        q = f >> r
        while block < (q >> U6):
            block += U1
            offsets[block] = np.uint16(max(behind, block << U6) - (block << U6))
        slot = max(behind, q)
        if slot >= slots or slot - q >= U64(OVERFLOW):
            return False
        _set_flag(words, q, r, U64(0), U1)
        _set_remainder(words, slot, r, f & ((U1 << r) - U1))
        if i + 1 == n or fingerprints[i + 1] >> r != q:
            _set_flag(words, slot, r, U1, U1)
        behind = slot + U1
    while block + U1 < U64(offsets.size):
        block += U1
        offsets[block] = np.uint16(max(behind, block << U6) - (block << U6))
    return True


@kernel
def _fingerprints(words: Any, blocks: Any, quotients: Any, r: Any, out: Any) -> Any:
    """List the fingerprints in rising order; return how many there are, -1 if the bits make no sense."""
    slots, slot, count, ends, runs = U64(blocks) << U6, U64(0), 0, U64(0), U64(0)
    for block in range(blocks):
        ends += popcount(words[_base(U64(block), r) + U1])
        rest = words[_base(U64(block), r)]
        while rest != U64(0):
            q = (U64(block) << U6) + trailing_zeros(rest)
            rest &= rest - U1
            slot, runs, ended = max(slot, q), runs + U1, False
            if q >= quotients or slot - q >= U64(OVERFLOW):
                return -1
            while not ended:
                if slot >= slots:
                    return -1
                f = (q << r) | _remainder(words, slot, r)
                if count > 0 and f < out[count - 1]:
                    return -1
                out[count] = f
                ended = _flag(words, slot, r, U1) != U64(0)
                count, slot = count + 1, slot + U1
    return count if ends == runs else -1


def _blocks(quotient_bits: int) -> int:
    """Return the blocks of a table: its quotients, and room behind the last for what is pushed there."""
    return (1 << quotient_bits) // 64 + math.ceil(10 * math.sqrt(1 << quotient_bits) / 64)


def _plan(capacity: int) -> int:
    """Return the bits of a quotient at which so many fingerprints leave some room."""
    return max(MIN_QUOTIENT_BITS, math.ceil(math.log2(capacity / LOAD)))


class QuotientFilter(RemovableFilter):
    """A quotient filter for at least ``capacity`` keys: keys can go, and it grows and merges without them.

    ``bits`` of remainder (1 to 32), or the fewest that keep ``fpr`` (default 0.01). The number of slots is a
    power of two. No false negatives as long as only keys that were added are removed. ``add``, ``remove``
    and ``in`` are O(1) on average. At 95 % load ``add`` raises ``CapacityError`` and loses nothing: then
    ``grow``. Memory: ``(bits + 2) / load`` bits per key.

    >>> f = QuotientFilter(1000)
    >>> f.add_many([1, 2, 3])
    >>> f.remove(2), f.contains_many([1, 2, 3]).tolist()
    (True, [True, False, True])
    >>> f.grow()
    >>> 3 in f
    True
    """

    __slots__ = ("_hasher", "_offsets", "_used", "_words", "bits", "quotient_bits")

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
        self._hasher = house_hasher(seed)
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
        if not _fill(self._words, self._offsets, U64(bits), fingerprints):
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
        count = _fingerprints(self._words, len(self._offsets), quotients, U64(self.bits), out)
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
    def capacity(self) -> int:
        """The number of keys that fit, 95 % of the slots."""
        return int(LOAD * (1 << self.quotient_bits))

    @property
    def bits_per_key(self) -> float:
        """The filter's bits divided by the keys that fit."""
        return 8.0 * self.nbytes / self.capacity

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

    def _probe(self, hashes: Any, out: Any) -> None:
        _contains(self._words, self._offsets, U64(self.bits), self._drop, hashes, out)

    def _insert(self, hashes: Any) -> None:
        self._insert_new(hashes, np.empty(len(hashes), np.bool_))

    def _insert_new(self, hashes: Any, out: Any) -> None:
        fitting = min(len(hashes), self.capacity - self._used)
        args = self._words, self._offsets, U64(self.bits), self._drop
        added = int(_add(*args, hashes[:fitting], out))
        self._used += added
        if added < len(hashes):
            raise CapacityError(
                f"{self._used:,} of {1 << self.quotient_bits:,} slots are in use and a key found no place; "
                "the keys before it are in, it and those after it are not. Call grow() and add them"
            )

    def _remove(self, hashes: Any, out: Any) -> None:
        _remove(self._words, self._offsets, U64(self.bits), self._drop, hashes, out)
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
        self._hasher = house_hasher(parameters.integer("seed", 0, (1 << 64) - 1))
        self._clear(quotient_bits, bits)
        self._words[:] = np.frombuffer(payload, "<u8")
        self._refill(quotient_bits, bits, self._stored())
        return self
