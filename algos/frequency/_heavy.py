"""What finds the most frequent keys: keys of one kind, kept so that they can be named, and their ranks."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from algos._arguments import integer
from algos._bits import U8, U64, aligned_zeros
from algos._fastcall import INT, TEXT, is_str, key_of, kind_of, place, size_of
from algos._jit import inlined
from algos._lanes import SLOTS
from algos.errors import CorruptDataError
from algos.frequency._counts import MOST, ONES, TOTAL, U0, Counts, counted_alone
from algos.frequency._entries import FRESH, compact, fill, lines_for, live_bytes, look_up, settle
from algos.hashing._keyed import check_hashes, house_hasher
from algos.hashing.keys import CHUNK, Dictionary, Text
from algos.hashing.xxh3 import xxh3_word_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algos._state import Parameters
    from algos.hashing.keys import Piece

KIND, END, USED, CAPACITY, ROW, NEW, OWN = range(TOTAL + 1, TOTAL + 8)
"""Words of the state: what keys are; where the arena of texts ends; how many keys there are, and may be; of a
batch the number of its next key, and how many new ones are listed; and where the words of a variant begin."""
NOTHING, INTS, WORDS, FLOATS, STRS, RAW, HASHES = range(7)
KINDS = ("", "int", "uint64", "float", "str", "bytes", "ready hash")
MAX_CAPACITY = 1 << 28
_NO_WORDS = np.zeros(0, np.uint64)


def check_capacity(capacity: Any) -> int:
    """Return how many keys may be kept, or say which numbers are possible."""
    capacity = integer("capacity", capacity)
    if not 1 <= capacity <= MAX_CAPACITY:
        raise ValueError(f"capacity={capacity} is outside 1..2**28; 10 for each key looked for do well")
    return capacity


class Texts:
    """The texts of those keys of a piece that are not null, by their numbers."""

    __slots__ = ("_offsets", "_rows", "data")

    def __init__(self, piece: Piece) -> None:
        rows = piece.indices if isinstance(piece, Dictionary) else None
        if piece.valid is not None:
            kept = np.flatnonzero(piece.valid)
            rows = kept if rows is None else rows[kept]
        texts: Any = piece.values if isinstance(piece, Dictionary) else piece
        self._rows, self._offsets, self.data = rows, texts.offsets, texts.data

    def spans(self, numbers: Any) -> tuple[Any, Any]:
        """Return where in ``data`` texts begin, and their sizes."""
        rows = numbers if self._rows is None else self._rows[numbers]
        starts = self._offsets[rows].astype(np.int64)
        return starts, self._offsets[rows + 1].astype(np.int64) - starts


def piece_of(texts: list[bytes]) -> Text:
    """Return texts as a piece of keys."""
    ends = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=ends[1:])
    return Text(np.frombuffer(b"".join(texts), np.uint8), ends)


def kind_of_piece(piece: Piece) -> int:
    """Return of what kind keys are."""
    values = piece.values if isinstance(piece, Dictionary) else piece
    if isinstance(values, Text):
        return RAW if values.raw else STRS
    dtype = values.values.dtype
    return FLOATS if dtype.kind == "f" else WORDS if dtype == np.uint64 else INTS


@inlined
def counted_here(me: Any, arguments: Any, count: Any, names: Any, state: Any) -> tuple[Any, Any, Any]:
    """Tell whether a call is a plain one of a key of the sketch's kind and a weight above 0; return these."""
    plain, h, weight = counted_alone(me, arguments, count, names)
    if not plain or weight == U0 or weight > U64(MOST) - state[TOTAL]:
        return False, U0, U0
    kind = kind_of(key_of(arguments, 0))
    if kind == INT:
        return (state[KIND] == U64(INTS)) | (state[KIND] == U64(WORDS)), h, weight
    wanted = U64(STRS) if is_str(arguments, 0) else U64(RAW)
    return (kind == TEXT) & (state[KIND] == wanted), h, weight


@inlined
def has_room(state: Any, arena: Any, arguments: Any) -> Any:
    """Tell whether there is room for the text of a call's key, if it has one."""
    key = key_of(arguments, 0)
    return (kind_of(key) == INT) | (state[END] + U8 + size_of(key) <= U64(arena.size))


class HeavyHitters(Counts):
    """A table of at most ``capacity`` keys of one kind, with a count each."""

    __slots__ = ("_arena", "_beside", "_hashes", "_texts", "capacity")
    _BESIDE = False
    """Whether a key has a second number."""
    _WORDS = OWN
    _DERIVED: ClassVar[tuple[int, ...]] = (END, ROW, NEW)
    """Words of the state that follow from the keys."""
    capacity: int

    def _begin(self, capacity: Any, seed: int) -> None:
        self.capacity = check_capacity(capacity)
        self._use(house_hasher(seed))
        self._state = np.zeros(self._WORDS, np.uint64)
        self._state[CAPACITY] = self.capacity
        self._lay()

    def _lay(self) -> None:
        """Make an empty table."""
        slots = SLOTS * self._lines(self.capacity)
        self._hashes, self._counters = aligned_zeros(slots, np.uint64), aligned_zeros(slots, np.uint64)
        self._beside = aligned_zeros(slots if self._BESIDE else 0, np.uint64)
        self._arena = np.zeros(0, np.uint8)
        self._hold_texts()

    def _hold_texts(self) -> None:
        """Have a place for the text of each slot, if keys are texts."""
        slots = self._hashes.size if self._kind() in {STRS, RAW} else 0
        self._texts = aligned_zeros(slots, np.uint64) if slots else _NO_WORDS

    @staticmethod
    def _lines(capacity: int) -> int:
        return lines_for(capacity)

    def __len__(self) -> int:
        """Return the number of keys that there are counts of."""
        return int(self._state[USED])

    @property
    def nbytes(self) -> int:
        """The size of the table and of the keys' texts, in bytes."""
        arrays = (self._hashes, self._counters, self._beside, self._texts, self._arena)
        return sum(int(array.nbytes) for array in arrays)

    # Adding

    @abstractmethod
    def _take_block(self, hashes: Any, weights: Any, new: Any) -> None:
        """Count ready hashes with a weight each, or one for all; list the new in ``new`` if it has room."""

    def _claim(self, kind: int) -> None:
        """Begin with keys of a kind, or refuse those of another."""
        mine = self._kind()
        if mine == NOTHING:
            self._state[KIND] = kind
            self._hold_texts()
        elif mine != kind and {mine, kind} != {INTS, WORDS}:
            raise TypeError(f"this sketch has keys of type {KINDS[mine]}, not {KINDS[kind]}: use another")

    def add_many(self, keys: Any, weights: Any = None) -> None:
        """Count ``n`` keys, or any iterable, one after the other; nulls are skipped. One writer at a time.

        ``weights`` is an int for all, or ``n`` of them; without it each key counts once, and with 0 not at
        all. Keys of a sketch are of one kind: int, float, str or bytes.
        """
        every, column = self._column(weights)
        for piece, given in self._paired(keys, column):
            self._take_piece(piece, every if given is None else given)

    def _take_piece(self, piece: Piece, weights: Any) -> None:
        n = len(piece) if piece.valid is None else int(np.count_nonzero(piece.valid))
        if not n:
            return
        if weights.size == 1:
            self._gain(n, weights)  # before anything is counted
        self._claim(kind_of_piece(piece))
        if not self._texts.size:
            for hashes, given in self._blocks_of(piece, None if weights.size == 1 else weights):
                self._take(hashes, weights if given is None else given)
            return
        self._state[[ROW, NEW]] = 0
        new = np.empty(len(piece) if len(piece) <= CHUNK else 0, np.uint64)
        try:
            for hashes, given in self._blocks_of(piece, None if weights.size == 1 else weights):
                self._take(hashes, weights if given is None else given, new)
                self._state[ROW] += np.uint64(len(hashes))
        finally:  # nothing may refer to the batch any more
            self._keep(Texts(piece), new[: int(self._state[NEW])] if new.size else None)

    def _take(self, hashes: Any, weights: Any, new: Any = _NO_WORDS) -> None:
        sums = self._gain(len(hashes), weights)
        self._take_block(hashes, weights, new)
        self._note(sums)

    def _keep(self, texts: Texts, new: Any) -> None:
        """Copy the texts of keys that came with a batch, which are listed by their hashes, or are not."""
        slots = self._named() if new is None else self._named_slots_of(new)
        slots = np.unique(slots[(slots >= 0) & (self._texts[slots] >= FRESH)])
        starts, sizes = texts.spans((self._texts[slots] ^ FRESH).astype(np.int64))
        need = int(sizes.sum()) + 8 * len(sizes)
        if int(self._state[END]) + need > self._arena.size:
            self._clear_up(need)
        end = self._state[END]
        self._state[END] = settle(self._texts, slots, texts.data, starts, sizes, self._arena, end)

    def _clear_up(self, need: int) -> None:
        """Move all texts but the new ones to an arena with room for what comes."""
        live = int(live_bytes(self._counters, self._texts, self._arena))
        arena = np.empty(2 * live + 2 * need + 1024, np.uint8)
        self._state[END] = compact(self._counters, self._texts, self._arena, arena)
        self._arena = arena

    def _count(self, hashes: Any, weights: Any, total: int) -> None:
        del total
        self._take_block(hashes, weights, _NO_WORDS)

    def add_hashes(self, hashes: NDArray[np.uint64], weights: Any = None) -> None:
        """Count ready 64-bit hashes (``uint64[n]``), well mixed in all bits, which then are the keys."""
        hashes = check_hashes(hashes)
        words = ONES if weights is None else self._checked(weights, len(hashes))
        if len(hashes):
            self._gain(len(hashes), words)  # before anything is counted
            self._claim(HASHES)
            self._take(hashes, words)

    def _add_one(self, key: Any, weight: int = 1) -> None:
        """Count one key ``weight`` times; ``None`` is a null and is skipped."""
        words = self._checked(integer("weight", weight), 1)
        piece = self._hasher._one_piece(key)
        if piece is not None:
            self._take_piece(piece, words)

    # Asking

    def _slots_of(self, hashes: Any) -> Any:
        out = np.empty(len(hashes), np.int64)
        look_up(self._hashes, self._counters, U64(self._hashes.size // SLOTS), hashes, out)
        return out

    def _named_slots_of(self, hashes: Any) -> Any:
        """Return the slots of keys that can be named, and -1 for others."""
        return self._slots_of(hashes)

    def _estimates(self, slots: Any) -> Any:
        """Return the estimates for the keys of slots, int64[n]."""
        return self._counters[slots].astype(np.int64)

    def _read(self, hashes: Any, out: Any) -> None:
        slots = self._slots_of(hashes)
        there = slots >= 0
        out[:] = 0
        out[there] = self._estimates(slots[there])

    def _kind(self) -> int:
        return int(self._state[KIND])

    def _named(self) -> Any:
        """Return the slots of keys that can be named."""
        return np.flatnonzero(self._counters)

    def top(self, k: int) -> tuple[Any, NDArray[np.int64]]:
        """Return the ``k`` keys of the highest estimates, all if there are fewer, and these: int64, falling.

        Keys are an array of int64, uint64 or float64, or a list of ``str`` or ``bytes``. Those of equal
        estimates are in the order of their hashes. O(capacity log capacity).
        """
        k = integer("k", k)
        if k < 0:
            raise ValueError(f"k={k} is below 0; it is a number of keys")
        slots = self._named()
        estimates = self._estimates(slots)
        order = np.lexsort((self._hashes[slots], -estimates))[:k]
        return self._keys_at(slots[order]), estimates[order]

    def _keys_at(self, slots: Any) -> Any:
        """Return the keys of slots."""
        kind, hashes = self._kind(), self._hashes[slots]
        if kind in {STRS, RAW}:
            found = [self._text_at(int(start)) for start in self._texts[slots]]
            return found if kind == RAW else [text.decode() for text in found]
        if kind in {NOTHING, HASHES}:
            return hashes if kind == HASHES else np.zeros(0, np.int64)
        return xxh3_word_of(hashes, self.seed).view({INTS: "i8", WORDS: "u8", FLOATS: "f8"}[kind])

    def _text_at(self, start: int) -> bytes:
        size = int.from_bytes(self._arena[start : start + 8].tobytes(), "little")
        return self._arena[start + 8 : start + 8 + size].tobytes()

    # Merging and storing

    def _size(self) -> dict[str, int]:
        return {}  # texts may take what they need

    def _parameters(self) -> dict[str, Any]:
        return {"capacity": self.capacity, "seed": self.seed}

    def _ordered(self) -> Any:
        """Return the slots in use, by their hashes."""
        slots = np.flatnonzero(self._counters)
        return slots[np.argsort(self._hashes[slots])]

    def _entries(self) -> tuple[Any, ...]:
        """Return all keys in their order: hashes, counts, second numbers; and their texts."""
        slots = self._ordered()
        texts = [self._text_at(int(s)) for s in self._texts[slots]] if self._texts.size else []
        beside = self._beside[slots] if self._BESIDE else self._beside
        return self._hashes[slots], self._counters[slots], beside, texts

    def _kept_state(self) -> Any:
        """Return the words of the state that do not follow from the entries."""
        state = self._state.copy()
        state[list(self._DERIVED)] = 0
        return state

    def _payload(self) -> Any:
        hashes, counts, beside, texts = self._entries()
        sizes = np.fromiter(map(len, texts), np.uint64, len(texts))
        parts = (self._kept_state(), hashes, counts, beside, sizes, np.frombuffer(b"".join(texts), np.uint8))
        return np.concatenate([part.view(np.uint8) for part in parts])

    @classmethod
    def _restore(cls, parameters: Parameters, payload: memoryview) -> Self:
        self = cls.__new__(cls)
        capacity = parameters.integer("capacity", 1, MAX_CAPACITY)
        self._begin(capacity, parameters.integer("seed", 0, (1 << 64) - 1))
        reader = Reader(payload)
        kind = reader.state(self._state, cls._DERIVED)
        used = int(self._state[USED])
        hashes, counts = reader.words(used), reader.words(used)
        beside = reader.words(used if cls._BESIDE else 0)
        sizes = reader.words(used if kind in {STRS, RAW} else 0)
        texts = reader.texts(sizes, kind == STRS)
        if len(np.unique(hashes)) != used or (used and (counts.min() < 1 or counts.max() > MOST)):
            raise CorruptDataError("the keys are not distinct, each with a count")
        self._check_texts(hashes, texts)
        self._put_entries(hashes, counts, beside, texts)
        if not np.array_equal(self._hashes[self._ordered()], hashes):
            raise CorruptDataError("the keys are not in their order")
        self._check_state()
        return self

    def _check_texts(self, hashes: Any, texts: list[bytes]) -> None:
        """Refuse texts of other hashes than they are said to have."""
        if texts and (self._hasher.hashed(piece_of(texts)) != hashes).any():
            raise CorruptDataError("keys do not have the hashes that they are said to have")

    def _put_entries(self, hashes: Any, counts: Any, beside: Any, texts: list[bytes]) -> None:
        """Put distinct keys into the empty table."""
        slots = np.empty(len(hashes), np.uint64)
        fill(self._hashes, self._counters, self._beside, hashes, counts, beside, slots)
        self._state[USED] = len(hashes)
        self._put_texts(slots, texts)

    def _put_texts(self, slots: Any, texts: list[bytes]) -> None:
        """Keep the texts of these slots, if keys are texts."""
        self._hold_texts()
        if self._texts.size:
            self._texts[slots] = FRESH | np.arange(len(slots), dtype=np.uint64)
            self._keep(Texts(piece_of(texts)), None)

    def _check_state(self) -> None:
        """Refuse a state that no keys leave."""


class Bounded(HeavyHitters):
    """Counts that are off by no more than they tell."""

    __slots__ = ()

    @property
    @abstractmethod
    def error(self) -> int:
        """The most that an estimate is too high by, and that a key without a count can have come."""

    @abstractmethod
    def _errors(self, slots: Any) -> Any:
        """Return the most that the estimates for the keys of slots are too high by."""

    def bounds_many(self, keys: Any) -> tuple[Any, Any]:
        """Return for ``n`` keys how often each came at least, and at most: int64[n] twice. Nulls: 0."""
        parts = [np.zeros((2, 0), np.int64)]
        for piece in self._hasher.pieces(keys):
            slots = self._slots_of(self._hasher.hashed(piece))
            there, bounds = slots >= 0, np.zeros((2, len(slots)), np.int64)
            bounds[1] = self.error
            bounds[1, there] = self._estimates(slots[there])
            bounds[0, there] = bounds[1, there] - self._errors(slots[there])
            parts.append(np.zeros((2, len(piece)), np.int64))
            parts[-1][:, slice(None) if piece.valid is None else piece.valid] = bounds
        low, high = np.concatenate(parts, axis=1)
        return low, high


class Reader:
    """Reads arrays from a payload, and no more than there is."""

    def __init__(self, payload: memoryview) -> None:
        self._rest = payload

    def take(self, size: int) -> memoryview:
        if size > len(self._rest):
            raise CorruptDataError(f"{size - len(self._rest)} bytes are missing at the end")
        part, self._rest = self._rest[:size], self._rest[size:]
        return part

    def state(self, into: Any, derived: tuple[int, ...]) -> int:
        """Read the words of a state of the same capacity, but the derived ones; return the kind of keys."""
        words = self.words(len(into))
        used, kind = int(words[USED]), int(words[KIND])
        if words[CAPACITY] != into[CAPACITY] or used > int(into[CAPACITY]) or words[TOTAL] > MOST:
            raise CorruptDataError(f"{used} keys of {words[TOTAL]} in all are more than there can be")
        if kind >= len(KINDS) or (used and not kind):
            raise CorruptDataError(f"keys are of no kind {kind}")
        kept = np.isin(np.arange(len(into)), derived, invert=True)
        into[kept] = words[kept]
        return kind

    def words(self, n: int) -> Any:
        return np.frombuffer(self.take(8 * n), "<u8").astype(np.uint64)

    def texts(self, sizes: Any, decodable: bool) -> list[bytes]:
        """Return texts of these sizes, which make up the rest."""
        found = [bytes(self.take(int(size))) for size in sizes]
        if self._rest:
            raise CorruptDataError(f"{len(self._rest)} bytes are left over at the end")
        if decodable:
            try:
                for text in found:
                    text.decode()
            except UnicodeDecodeError as error:
                raise CorruptDataError(f"a key is no UTF-8: {error}") from error
        return found


HASH_TABLE, BESIDE_TABLE, TEXT_TABLE, ARENA = (
    place(HeavyHitters, slot) for slot in ("_hashes", "_beside", "_texts", "_arena")
)
