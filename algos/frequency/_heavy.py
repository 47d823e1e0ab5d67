"""What every summary of heavy hitters shares: keys that it counts and gives back.

A counter is an entry of parallel arrays::

    hashes[e]  the house hash of its key
    values[e]  what it counts
    texts[e]   where in the arena its key is, for text and bytes only
    arena      length, 4 bytes | key | length | key | ...

Under one seed the hash of a number is a bijection of its 8 bytes: numbers are given back by inverting it, and
take no space of their own. Of text the bytes are kept. While a batch is counted, an entry only notes which
of its keys it is of; those that are still there at the end are copied, so no key costs more than its count.
Two texts of one hash count as one: of n distinct ones, that happens with a chance of n^2 / 2^65.
"""

from __future__ import annotations

from abc import abstractmethod
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from algos._arguments import integer
from algos._bits import U64
from algos._fastcall import (
    INT,
    TEXT,
    is_str,
    key_alone,
    key_of,
    kind_of,
    known,
    place,
    size_of,
    text_of,
)
from algos._jit import inlined
from algos.errors import CorruptDataError
from algos.frequency._arena import (
    PENDING,
    U4,
    copy_out,
    copy_texts,
    live_bytes,
    move_texts,
    put_text,
    sizes_of,
)
from algos.frequency._checks import check_share
from algos.frequency._counts import MOST, MOST_, TOTAL, U0, Weighed, counted_alone, exact_sum
from algos.hashing._keyed import SEED, house_hasher
from algos.hashing.keys import Dictionary, Text, one
from algos.hashing.xxh3 import xxh3_alone, xxh3_word_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algos._state import Parameters
    from algos.hashing.keys import Piece

HELD, USED, KIND, OWN = range(TOTAL + 1, TOTAL + 5)
"""Words of the state: the entries that have a key, the bytes of the arena in use, what the keys are; those of
a kind of summary follow."""
KINDS = "none", "int", "uint", "float", "str", "bytes"
_INT, _UINT, _STR, _BYTES = (U64(KINDS.index(kind)) for kind in ("int", "uint", "str", "bytes"))
MAX_CAPACITY = 1 << 26
LONGEST = (1 << 32) - 1
"""The length that a key may have, in bytes."""


# One key


@inlined
def _fits(kind: Any, key: Any, text: Any) -> Any:
    """Tell whether a plain key is of a summary's kind."""
    if kind_of(key) == INT:
        return (kind == _UINT) | ((kind == _INT) & (size_of(key) == U0))
    return kind == (_STR if text else _BYTES)


@inlined
def kept_alone(me: Any, state: Any, arguments: Any, count: Any, names: Any) -> tuple[Any, Any, Any, Any]:
    """Tell whether a call has one plain key of the kind and a weight that there is room for; return these."""
    plain, h, weight = counted_alone(me, arguments, count, names)
    if not plain:
        return False, key_of(me, SEED), h, weight
    key = key_of(arguments, 0)
    fits = _fits(state[KIND], key, is_str(arguments, 0)) and weight <= MOST_ - state[TOTAL]
    return fits, key, h, weight


@inlined
def asked_alone(me: Any, state: Any, arguments: Any, count: Any, names: Any) -> tuple[Any, Any]:
    """Tell whether a call has one plain key of the kind, and return its hash."""
    seed, key = key_of(me, SEED), key_alone(arguments, count, names)
    if known(key, seed) and _fits(state[KIND], key, is_str(arguments, 0)):
        return True, xxh3_alone(key, seed)
    return False, U0


@inlined
def has_room(state: Any, arena: Any, key: Any) -> Any:
    """Tell whether the arena has room for a key."""
    return kind_of(key) != TEXT or state[USED] + U4 + size_of(key) <= U64(arena.size)


@inlined
def write_alone(state: Any, arena: Any, key: Any) -> None:
    """Write the key of a new entry, which is to point to where the arena ended."""
    if kind_of(key) == TEXT:
        state[USED] = put_text(arena, state[USED], text_of(key), U0, size_of(key))


@inlined
def keep_alone(state: Any, texts: Any, arena: Any, key: Any, e: Any) -> None:
    """Keep the key of a new entry."""
    if texts.size:
        texts[e] = state[USED]
        write_alone(state, arena, key)


# The class


class Heavy(Weighed):
    """A summary of the keys that came most, which it gives back."""

    __slots__ = ("_arena", "_hashes", "_texts", "_values", "capacity")
    STATE_WORDS: ClassVar[int] = OWN
    COLUMNS: ClassVar[tuple[str, ...]] = ("_values",)
    """The arrays with an item for each entry, besides those of its key."""
    capacity: int
    _arena: Any
    _hashes: Any
    _texts: Any
    _values: Any

    def _begin(self, capacity: int, seed: int) -> None:
        """Begin without keys; the arrays of entries are to follow."""
        self.capacity = capacity
        self._use(house_hasher(seed))
        self._state = np.zeros(self.STATE_WORDS, np.uint64)
        self._arena, self._texts = np.zeros(0, np.uint8), np.zeros(0, np.uint64)

    @abstractmethod
    def _entries(self) -> Any:
        """Return the entries that have a key, in their order."""

    @abstractmethod
    def _count(self, hashes: Any, weights: Any, base: int) -> None:
        """Count ready hashes, with a weight each or one for all.

        Of new entries for text note the position of the key, counted from ``base`` on, as pending.
        """

    @abstractmethod
    def _find(self, hashes: Any, out: Any) -> None:
        """Write the entries of hashes into ``out`` (int64[n]), -1 for none."""

    # What it knows

    @property
    def nbytes(self) -> int:
        """The size of the counters and of the keys, in bytes."""
        names = "_state", "_hashes", *self.COLUMNS, "_texts", "_arena"
        return sum(getattr(self, name).nbytes for name in names)

    def __len__(self) -> int:
        """Return the number of keys held."""
        return int(self._state[HELD])

    def _kind(self) -> str:
        return KINDS[self._state[KIND]]

    def _is_text(self) -> bool:
        return self._kind() in {"str", "bytes"}

    # Adding

    def add(self, key: Any, weight: int = 1) -> None:
        """Count one key ``weight`` times; ``None`` is a null and is skipped."""
        self._add_one(key, weight)

    def _add_one(self, key: Any, weight: int = 1) -> None:
        """Count one key ``weight`` times; ``None`` is a null and is skipped."""
        words = self._checked(integer("weight", weight), 1)
        piece = one(key)
        if piece is not None:
            self._take([(piece, None)], words)

    def add_many(self, keys: Any, weights: Any = None) -> None:
        """Count ``n`` keys, or any iterable, one after the other; nulls are skipped. One writer at a time.

        ``weights`` is an int for all, or ``n`` of them; without it each key counts once.
        """
        every, column = self._column(weights)
        for batch in self._batches(keys, column):
            self._take(batch, every)

    def _take(self, batch: list[tuple[Piece, Any]], every: Any) -> None:
        """Count pieces of keys, all of which are looked at before the first is counted."""
        kept, mass = [], 0
        for part, weights in batch:
            n = len(part) if part.valid is None else int(np.count_nonzero(part.valid))
            if weights is None:
                mass += n * int(every[0])
            else:
                mass += exact_sum(weights if part.valid is None else weights[part.valid])
            if n:
                kept.append((part, weights))
        self._room(mass)
        self._become([part for part, _ in kept])
        for part, weights in kept:
            self._take_piece(part, every, weights)

    def _become(self, parts: list[Piece]) -> None:
        """Check that keys are of the kind of those before them, or that they may be the first."""
        kind = self._kind()
        for part in parts:
            kind = self._common(kind, part.kind)
            if kind in {"str", "bytes"} and _longest(part) > LONGEST:
                raise ValueError("a key is longer than 2**32 - 1 bytes; add a hash of it, as bytes")
        self._set_kind(kind)

    def _set_kind(self, kind: str) -> None:
        self._state[KIND] = KINDS.index(kind)
        if self._is_text() and not len(self._texts):
            self._texts = np.zeros(len(self._values), np.uint64)

    @staticmethod
    def _common(kind: str, other: str) -> str:
        """Return what keys of two kinds are together, or say that there is no such thing."""
        if "none" in {kind, other} or kind == other:
            return other if kind == "none" else kind
        if {kind, other} == {"int", "uint"}:
            return "uint"
        names = (name.removeprefix("u") for name in (other, kind))
        raise TypeError("{} keys in a sketch of {} keys: use one sketch for each kind".format(*names))

    def _take_piece(self, part: Piece, every: Any, column: Any) -> None:
        """Count the keys of a piece that are not null, and copy the text of those that are held then."""
        base = 0
        try:
            for hashes, weights in self._blocks_of(part, column):
                if len(hashes):
                    self._count(hashes, every if weights is None else weights, base)
                    base += len(hashes)
        finally:  # interrupted or not, none may be left pending
            if self._is_text():
                self._keep(part, self._held_of(part))

    def _held_of(self, part: Piece) -> Any:
        """Return entries among which are all whose keys are in a piece."""
        if len(part) * 8 >= len(self._values):
            return self._entries()
        found = self._found(self._hasher.hashed(part))
        return np.unique(found[found >= 0])

    # Text

    def _keep(self, part: Piece, entries: Any) -> None:
        """Copy the keys of those among entries that are new with a piece."""
        entries = entries[self._texts[entries] >= PENDING]
        if not len(entries):
            return
        chosen = (self._texts[entries] & ~PENDING).astype(np.int64)
        if part.valid is not None:
            chosen = np.flatnonzero(part.valid)[chosen]
        if isinstance(part, Dictionary):
            chosen, part = part.indices[chosen].astype(np.int64), part.values
        assert isinstance(part, Text)
        sizes = part.offsets[chosen + 1] - part.offsets[chosen]
        self._make_arena(int(sizes.sum(dtype=np.int64)) + 4 * len(entries))
        used = self._state[USED : USED + 1]
        copy_texts(self._texts, entries, chosen, part.data, part.offsets, self._arena, used)

    def _make_arena(self, more: int) -> None:
        """Make room for more bytes of keys: leave out those of entries that are no more."""
        if int(self._state[USED]) + more > len(self._arena):
            entries = self._entries()
            arena = np.zeros(2 * (int(live_bytes(self._texts, entries, self._arena)) + more) + 64, np.uint8)
            self._state[USED] = move_texts(self._texts, entries, self._arena, arena)
            self._arena = arena

    # Asking

    def _found(self, hashes: Any) -> Any:
        """Return the entries of hashes, -1 for none: ``int64[n]``."""
        out = np.empty(len(hashes), np.int64)
        self._find(hashes, out)
        return out

    def _entries_of(self, keys: Any) -> tuple[Any, Any]:
        """Return the entries of keys, -1 for none, and which keys are null."""
        parts = self._hasher.pieces(keys)
        for part in parts:
            if len(part) and (part.valid is None or part.valid.any()):
                self._common(self._kind(), part.kind)
        out, base = np.empty(sum(map(len, parts)), np.int64), 0
        nulls = np.zeros(len(out), np.bool_)
        for part in parts:
            for lo, hashes in self._hasher.chunks(part):
                self._find(hashes, out[base + lo : base + lo + len(hashes)])
            if part.valid is not None:
                nulls[base : base + len(part)] = ~part.valid
            base += len(part)
        out[nulls] = -1
        return out, nulls

    def estimate(self, key: Any) -> int:
        """Return the estimate for one key; 0 if it is not held."""
        return self._estimate_one(key)

    def _estimate_one(self, key: Any) -> int:
        """Return the estimate for one key; 0 if it is not held."""
        piece = one(key)
        if piece is None:
            return 0
        self._common(self._kind(), piece.kind)
        entry = int(self._found(self._hasher.hashed(piece))[0])
        return int(self._values[entry]) if entry >= 0 else 0

    def estimate_many(self, keys: Any) -> NDArray[np.int64]:
        """Return the estimates for ``n`` keys, 0 for nulls and for those that are not held: ``int64[n]``.

        Safe from many threads while nobody adds.
        """
        entries, _ = self._entries_of(keys)
        return np.where(entries >= 0, self._values[entries], U0).view(np.int64)

    def top(self, k: int) -> tuple[Any, NDArray[np.int64]]:
        """Return the ``k`` keys of the highest estimates, fewer if fewer are held, and these: ``int64[k]``.

        Estimates fall; of equal ones the lesser key comes first. The keys are as they were added: an
        ``int64`` array (``uint64`` once a key came as such, or was 2^63 or more), a ``float64`` array, a
        list of ``str`` or of ``bytes``. O(capacity + k log k).
        """
        k = integer("k", k)
        if k < 0:
            raise ValueError(f"k={k} is below 0; len(sketch) keys are all that are held")
        entries = self._entries()
        values, k = self._values[entries], min(k, len(entries))
        least = np.partition(values, len(values) - k)[len(values) - k] if k else MOST_
        return self._ordered(entries[values >= least], k)

    def _limit(self, share: Any, threshold: Any) -> Any:
        """Return the threshold, as a word."""
        if (share is None) == (threshold is None):
            raise TypeError("give either a share of the total or a threshold")
        if threshold is None:
            top, bottom = check_share("share", share).as_integer_ratio()
            return U64(self.total * top // bottom)
        threshold = integer("threshold", threshold)
        if not 0 <= threshold <= MOST:
            raise ValueError(f"threshold={threshold} is outside 0..2**63 - 1, what a key can have")
        return U64(threshold)

    def _ordered(self, entries: Any, k: int) -> tuple[Any, NDArray[np.int64]]:
        """Return the first ``k`` of entries in falling order of their estimates, and of keys that rise."""
        keys, values = self._keys(entries), self._values[entries].view(np.int64)
        if isinstance(keys, list):
            counts = values.tolist()
            chosen = sorted(range(len(keys)), key=lambda i: (-counts[i], keys[i]))[:k]
            return [keys[i] for i in chosen], values[chosen]
        order = np.lexsort((keys, -values))[:k]
        return keys[order], values[order]

    def _keys(self, entries: Any) -> Any:
        """Return the keys of entries."""
        kind = self._kind()
        if self._is_text():
            sizes, data = self._text_of(entries)
            whole, ends = data.tobytes(), accumulate(sizes.tolist(), initial=0)
            found = [whole[lo:hi] for lo, hi in pairwise(ends)]
            return [text.decode() for text in found] if kind == "str" else found
        words = xxh3_word_of(self._hashes[entries], self.seed)
        return words.view({"float": np.float64, "uint": np.uint64}.get(kind, np.int64))

    def _text_of(self, entries: Any) -> tuple[Any, Any]:
        """Return the lengths of the keys of entries, and their bytes, joined."""
        texts, sizes = self._texts[entries], np.empty(len(entries), np.uint32)
        sizes_of(texts, self._arena, sizes)
        ends = np.cumsum(sizes, dtype=np.int64)
        data = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
        copy_out(texts, self._arena, ends, data)
        return sizes, data

    # Merging and storing

    def _like(self) -> dict[str, Any]:
        return {"capacity": self.capacity, "seed": self.seed}

    def _parameters(self) -> dict[str, Any]:
        return {"capacity": self.capacity, "seed": self.seed, "keys": self._kind(), "held": len(self)}

    @abstractmethod
    def _numbers(self) -> list[Any]:
        """Return what is stored of entries besides their keys, as words."""

    @abstractmethod
    def _count_numbers(self, held: int) -> int:
        """Return how many words that is, of so many entries."""

    @abstractmethod
    def _take_numbers(self, numbers: Any, held: int) -> Any:
        """Make so many entries of such words; return them, their keys being yet to come."""

    @abstractmethod
    def _check_entries(self) -> None:
        """Refuse entries that no keys lead to."""

    def _payload(self) -> Any:
        """Return state and columns, then the hashes, or of text the lengths and the bytes."""
        entries = self._entries()
        words = [self._state[[TOTAL, *range(OWN, self.STATE_WORDS)]], *self._numbers()]
        if not self._is_text():
            return np.concatenate([*words, self._hashes[entries]]).astype("<u8").view(np.uint8)
        sizes, data = self._text_of(entries)
        columns = np.concatenate(words).astype("<u8"), sizes.astype("<u4"), data
        return np.concatenate([column.view(np.uint8) for column in columns])

    @classmethod
    def _restore(cls, parameters: Parameters, payload: memoryview) -> Self:
        capacity = parameters.integer("capacity", 1, MAX_CAPACITY)
        held = parameters.integer("held", 0, 2 * capacity)
        kind = parameters.choice("keys", KINDS)
        self = cls.__new__(cls)
        self._begin(capacity, parameters.integer("seed", 0, (1 << 64) - 1))
        own = 1 + self.STATE_WORDS - OWN
        words = own + self._count_numbers(held)
        rest = len(payload) - 8 * words
        if rest < 4 * held or (kind not in {"str", "bytes"} and rest != 8 * held):
            raise CorruptDataError(f"{len(payload)} bytes are not those of {held} counters")
        numbers = np.frombuffer(payload[: 8 * words], "<u8").astype(np.uint64)
        self._state[[TOTAL, *range(OWN, self.STATE_WORDS)]] = numbers[:own]
        if self.total > MOST or (held and kind == "none"):
            raise CorruptDataError(f"a total of {self.total}, of keys of kind {kind}")
        entries = self._take_numbers(numbers[own:], held)
        values = self._values[entries]
        if held and (int(values.min()) < 1 or int(values.max()) > self.total):
            raise CorruptDataError(f"counters of more than a total of {self.total}, or of nothing")
        self._set_kind(kind)
        if self._is_text():
            self._take_texts(entries, payload[8 * words :])
        else:
            self._hashes[entries] = np.frombuffer(payload[8 * words :], "<u8")
        self._check_entries()
        return self

    def _take_texts(self, entries: Any, payload: memoryview) -> None:
        """Copy the keys of entries, and hash them again."""
        held = len(entries)
        offsets = np.zeros(held + 1, np.int64)
        np.cumsum(np.frombuffer(payload[: 4 * held], "<u4"), out=offsets[1:])
        data = np.frombuffer(payload[4 * held :], np.uint8)
        if offsets[held] != len(data):
            raise CorruptDataError(f"{len(data)} bytes of keys, not {offsets[held]}")
        if self._kind() == "str":
            body = data.tobytes()
            try:
                for lo, hi in pairwise(offsets):
                    body[lo:hi].decode()
            except UnicodeDecodeError as error:
                raise CorruptDataError(f"a key is no UTF-8: {error}") from error
        part = Text(data, offsets, kind=self._kind())
        self._hashes[entries] = self._hasher.hashed(part)
        self._texts[entries] = PENDING | np.arange(held, dtype=np.uint64)
        self._keep(part, entries)


HASHES, VALUES, TEXTS, ARENA = (place(Heavy, f"_{name}") for name in ("hashes", "values", "texts", "arena"))


def check_capacity(capacity: Any) -> int:
    """Return the number of counters, or say how many there can be."""
    capacity = integer("capacity", capacity)
    if not 1 <= capacity <= MAX_CAPACITY:
        raise ValueError(f"capacity={capacity} is outside 1..2**26; ten for each key to be found is plenty")
    return capacity


def _longest(part: Piece) -> int:
    """Return a length that no key of a piece exceeds."""
    text = part.values if isinstance(part, Dictionary) else part
    if not isinstance(text, Text) or text.data.size <= LONGEST:
        return 0
    return int(np.diff(text.offsets).max())
