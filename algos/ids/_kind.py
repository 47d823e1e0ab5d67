"""What every kind of id shares: minting in batches and alone, the forms of a batch, parsing, locks and forks.

A generator has one array of words as its state. ``next`` is a native function, which holds the GIL and so
cannot be interrupted; batches change the state under a lock, with the word ``BUSY`` set, which sends native
calls of other threads to the lock as well. Only the numbers of a batch are decided there: that it takes
them, and where they begin. The ids themselves are then made in blocks, by kernels without the GIL.

A forked child has its own entropy, and where two processes must not mint under one number it refuses.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from algos._arguments import integer
from algos._bits import U64, partial64, store64
from algos._exclusive import BUSY, Exclusive
from algos._fastcall import (
    TEXT,
    WORKS,
    Native,
    as_bytes,
    as_text,
    bytes_of,
    key_alone,
    kind_of,
    new_list,
    number_of,
    put,
    size_of,
    text_of,
)
from algos._jit import inlined
from algos._pages import empty
from algos.hashing.keys import Dictionary, Text, pieces
from algos.ids._entropy import KEY_WORDS, POOL, draw, new_key
from algos.ids._text import HEX_VALUES, UUID_WIDTH, read_uuids, uuid_text, write_uuids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Fill = Callable[[int, Any], None]
    Form = Literal["binary", "text", "arrow", "list", "uuid"]

AT, FIRST = 1, 2
"""Words of the state: where in the pool the next word is (0: no key yet); where the words of a kind begin."""
BLOCK = 4096
"""Ids made at a time: their bytes and text are in L2 while they are worked on."""
MAX_IDS = 1 << 32


# ---------------------------------------------------------------------------------------------------
# Native calls

_TEXT_WORD, _BINARY_WORD = (U64(int.from_bytes(word, "little")) for word in (b"text", b"binary"))


@inlined
def wants(arguments: Any, count: Any, names: Any) -> Any:
    """Return the form that a call of ``next`` asks for: 0 text, 1 binary, 2 what only Python can tell."""
    if count == U64(0) and names == U64(0):
        return 0
    form = key_alone(arguments, count, names)
    if kind_of(form) != TEXT or size_of(form) > U64(8):
        return 2
    word = partial64(text_of(form), U64(0), size_of(form))
    if size_of(form) == U64(4) and word == _TEXT_WORD:
        return 0
    return 1 if size_of(form) == U64(6) and word == _BINARY_WORD else 2


@inlined
def is_free(state: Any) -> Any:
    """Tell whether a native call may change the state: nobody else does, and there is entropy."""
    return (state[BUSY] == U64(0)) & (state[AT] != U64(0))


@inlined
def random_word(state: Any, pool: Any) -> Any:
    """Draw a word from a generator's pool."""
    word, state[AT] = draw(pool, state[AT])
    return word


@inlined
def handed_uuid(scratch: Any, first: Any, second: Any, form: Any) -> Any:
    """Return an id of two words, as they lie in memory, as ``str`` or ``bytes``."""
    store64(scratch, U64(0), first)
    store64(scratch, U64(8), second)
    if form == 1:
        return as_bytes(scratch, U64(0), U64(16))
    uuid_text(scratch, U64(0), scratch, U64(16))
    return as_text(scratch, U64(16), U64(UUID_WIDTH))


@Native
def _texts(_me: Any, arguments: Any, _count: Any, _names: Any) -> Any:
    """Return the texts of one array, so many bytes each, as a list of ``str``."""
    data, width = bytes_of(arguments, 0), number_of(arguments, 1)
    size = U64(data.size) // width
    made = new_list(size)
    if made:
        for i in range(size):
            put(made, i, as_text(data, i * width, width))
    return made


def _as_list(text: Any) -> list[str]:
    width = text.shape[1]
    if _TEXTS:
        listed: list[str] = _TEXTS(text.reshape(-1), width)
        return listed
    joined = text.tobytes().decode("ascii")
    return [joined[at : at + width] for at in range(0, len(joined), width)]


_TEXTS = _texts.bind(None) if WORKS else None


# ---------------------------------------------------------------------------------------------------
# Forms


def _as_arrow(text: Any) -> Any:
    """Hand texts over to Arrow without a copy."""
    try:
        import pyarrow as pa
    except ImportError:
        raise TypeError("form='arrow' needs pyarrow: pip install 'hotpath[arrow]'") from None
    n, width = text.shape
    offsets, made = np.arange(0, (n + 1) * width, width), pa.LargeStringArray
    if n * width <= np.iinfo(np.int32).max:
        offsets, made = offsets.astype(np.int32), pa.StringArray
    return made.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(text))


def _as_fixed(text: Any) -> Any:
    return text.reshape(-1).view(f"S{text.shape[1]}")


OUT_OF_TEXT: dict[str, Callable[[Any], Any]] = {"text": _as_fixed, "arrow": _as_arrow, "list": _as_list}


def handed_over(text: Any, form: str) -> Any:
    """Return texts (uint8[n, characters]) in a form."""
    if form == "uuid":
        return [uuid.UUID(one) for one in _as_list(text)]
    return OUT_OF_TEXT[form](text)


def check_form(form: Any, forms: tuple[str, ...]) -> None:
    """Refuse a form that there is not."""
    if form not in forms:
        raise ValueError(f"form={form!r} is not one of {', '.join(map(repr, forms))}")


class Mint(Exclusive, ABC):
    """A generator of ids."""

    __slots__ = ("_pool", "_scratch")
    WIDTH: int
    """Characters of an id's text."""
    FORMS: tuple[str, ...] = ("binary", "text", "arrow", "list")
    STRIDE = BLOCK
    """Binary ids that are made at a time, with the random words for them."""

    def __init__(self, *words: int) -> None:
        """Begin with the words of the kind."""
        self._pool, self._scratch = np.zeros(POOL, np.uint64), np.zeros(64, np.uint8)
        self._hold((0, *words))

    @abstractmethod
    def _plan(self, n: int) -> Fill:
        """Take ``n`` ids, alone at the state; return what makes ids ``at``.. into an array of some."""

    @abstractmethod
    def _room(self, n: int) -> Any:
        """Return room for binary ids."""

    @abstractmethod
    def _written(self, ids: Any, text: Any) -> None:
        """Write binary ids as text, uint8[n, WIDTH]."""

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep everyone else from the state; there is a key then."""
        with super()._alone():
            if not self._state[AT]:
                self._pool[:KEY_WORDS] = new_key().view(np.uint64)
                self._state[AT] = POOL
            yield

    def _forked(self) -> None:
        """Begin anew in a child: what its parent knows is not its own."""
        super()._forked()
        self._pool[:] = 0
        self._state[AT] = 0

    def take(self, n: int, form: Form = "binary") -> Any:
        """Mint ``n`` ids, in order.

        ``form``: ``"binary"`` a NumPy array; ``"text"`` a NumPy array of fixed-width bytes; ``"arrow"`` a
        ``StringArray`` (pyarrow); ``"list"`` a list of ``str``; UUIDs also ``"uuid"``, a list of
        ``uuid.UUID``. O(n), a few nanoseconds each. Safe from many threads.
        """
        n = integer("n", n)
        if not 0 <= n <= MAX_IDS:
            raise ValueError(f"n={n} is outside 0..2**32; take several batches")
        check_form(form, self.FORMS)
        with self._alone():
            fill = self._plan(n)
        if form == "binary":
            out = self._room(n)
            for at in range(0, n, self.STRIDE):
                fill(at, out[at : at + self.STRIDE])
            return out
        text, ids = empty((n, self.WIDTH), np.uint8), self._room(min(n, BLOCK))
        for at in range(0, n, BLOCK):
            part = ids[: n - at]
            fill(at, part)
            self._written(part, text[at : at + BLOCK])
        return handed_over(text, form)

    def _next_one(self, form: Form = "text") -> Any:
        """Mint one id, a ``str``.

        For ``"binary"`` it is bytes, or an int where ids have 64 bits; UUIDs also come as ``"uuid"``.
        """
        check_form(form, ("text", *(other for other in self.FORMS if other in {"binary", "uuid"})))
        if form == "binary":
            one = self.take(1)
            return one.tobytes() if one.dtype == np.uint8 else int(one[0])
        return self.take(1, "uuid" if form == "uuid" else "list")[0]


class Reader(ABC):
    """A kind of ids as it is read: text and back."""

    __slots__ = ()
    SIZE: int
    """Bytes of an id."""
    WIDTH: int
    """Characters of its text."""
    NAME: str
    """What one is called in messages."""

    @staticmethod
    @abstractmethod
    def _write(ids: Any, text: Any) -> None:
        """Write binary ids as text, uint8[n, WIDTH]."""

    @classmethod
    @abstractmethod
    def _read(cls, data: Any, offsets: Any, out: Any) -> tuple[int, int]:
        """Read texts as binary ids; return the first that is none and its first wrong character."""

    @classmethod
    def _empty(cls, n: int) -> Any:
        """Return room for binary ids."""
        return empty((n, cls.SIZE), np.uint8)

    @classmethod
    def decode(cls, ids: Any) -> Any:
        """Return ids in their binary form, from any form: arrays, Arrow, lists of text, bytes or ``UUID``.

        What is not a whole id of this kind is a ``ValueError`` that says where.
        """
        if isinstance(ids, np.ndarray) and ids.dtype == np.uint8 and ids.ndim == 2:
            if ids.shape[1] != cls.SIZE:
                raise ValueError(f"a binary {cls.NAME} has {cls.SIZE} bytes, not {ids.shape[1]}")
            return cls._checked(np.ascontiguousarray(ids))
        if isinstance(ids, (list, tuple)):
            ids = [one.bytes if isinstance(one, uuid.UUID) else one for one in ids]
            if ids and all(isinstance(one, bytes) and len(one) == cls.SIZE for one in ids):
                return cls._checked(np.frombuffer(b"".join(ids), np.uint8).reshape(-1, cls.SIZE))
        made, base = [], 0
        for part in all_there(ids):
            made.append(cls._parsed(part, base))
            base += len(part)
        return cls._checked(np.concatenate(made) if made else cls._empty(0))

    @classmethod
    def _parsed(cls, part: Any, base: int) -> Any:
        """Parse one piece of texts, the first of which is at position ``base`` of all."""
        if not isinstance(part, Text):
            raise TypeError(f"{cls.NAME}s are text, bytes or uint8[n, {cls.SIZE}], not numbers")
        out = cls._empty(len(part))
        at, character = cls._read(part.data, part.offsets, out)
        if at >= 0:
            text = bytes(part.data[part.offsets[at] : part.offsets[at + 1]]).decode("utf-8", "replace")
            raise ValueError(cls._complaint(text, base + at, character))
        return out

    @classmethod
    def _complaint(cls, text: str, at: int, character: int) -> str:
        where = f"the id at position {at} is no {cls.NAME}: {text[:48]!r}"
        if character < 0:
            return f"{where} has {len(text)} characters, not {cls.WIDTH}"
        return f"{where} has a wrong character at {character}"

    @classmethod
    def _checked(cls, ids: Any) -> Any:
        """Return binary ids once they are known to be of this kind."""
        return ids


def all_there(ids: Any) -> list[Any]:
    """Return the pieces of a batch without nulls."""
    parts = [part for part in pieces(ids) if len(part)]
    for part in parts:
        if isinstance(part, Dictionary):
            raise TypeError(
                "dictionary-encoded text: pass .dictionary_decode(), or .cast(pl.String) in polars"
            )
        if part.valid is not None and not part.valid.all():
            raise ValueError(f"the id at position {int(np.argmin(part.valid))} is null; drop nulls first")
    return parts


class Kind(Mint, Reader):
    """A generator of ids of one size."""

    __slots__ = ()

    def _room(self, n: int) -> Any:
        return self._empty(n)

    def _written(self, ids: Any, text: Any) -> None:
        self._write(ids, text)


class UuidReader(Reader):
    """UUIDs of one version, RFC 9562."""

    __slots__ = ()
    SIZE, WIDTH = 16, UUID_WIDTH
    FORMS = (*Mint.FORMS, "uuid")
    VERSION: int

    @staticmethod
    def _write(ids: Any, text: Any) -> None:
        write_uuids(ids.reshape(-1), text.reshape(-1))

    @classmethod
    def _read(cls, data: Any, offsets: Any, out: Any) -> tuple[int, int]:
        at, character = read_uuids(data, offsets, HEX_VALUES, out.reshape(-1))
        return int(at), int(character)

    @classmethod
    def _checked(cls, ids: Any) -> Any:
        right = (ids[:, 6] >> 4 == cls.VERSION) & (ids[:, 8] >> 6 == 2)
        if not right.all():
            at = int(np.argmin(right))
            raise ValueError(
                f"the id at position {at} is no {cls.NAME}: {uuid.UUID(bytes=ids[at].tobytes())}"
            )
        return ids
