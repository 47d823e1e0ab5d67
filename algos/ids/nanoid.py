"""NanoID: random text of any length over any alphabet.

ai/nanoid: a character is a random byte's lowest bits, as many as the alphabet needs; where they name none,
the next byte decides, so that every character is as likely as any other. The customary 21 characters of 64
have 126 random bits::

    bits = ceil(log2(alphabet))        character = alphabet[byte & (2^bits - 1)], or none
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from algos._arguments import integer
from algos._bits import U1, U8, U64
from algos._fastcall import Method, Native, as_bytes, as_text, bytes_of, number_of, place, slowly, uint64s_of
from algos._jit import kernel
from algos._pages import empty
from algos.hashing.keys import Text
from algos.ids._entropy import GROUP, chacha20, new_key
from algos.ids._kind import Mint, all_there, is_free, random_word, wants

if TYPE_CHECKING:
    from algos.ids._kind import Fill

ALPHABET = "useandom-26T198340PX75pxJACKVERYMINDBUSHWOLF_GQZbfghjklqvwyzrict"
MAX_SIZE = 1 << 16


@kernel
def _fill(key: Any, places: Any, letters: Any, out: Any) -> None:
    """Fill ``out`` with characters; ``places`` is a power of two long, of which so many are ``letters``."""
    noise, block, done = np.empty(16 * GROUP, np.uint32), U64(0), U64(0)
    mask, size = np.uint8(places.size - 1), U64(out.size)
    while done < size:
        chacha20(key, block, noise)
        block += U64(noise.size // 16)
        source, at = noise.view(np.uint8), U64(0)
        if letters == places.size:
            step = min(U64(source.size), size - done)
            for i in range(step):
                out[done + i] = places[source[i] & mask]
            done += step
            continue
        while at < U64(source.size) and done < size:
            # Of so many bytes none can be a character too many, and no branch has to be guessed.
            for _ in range(min(U64(source.size) - at, size - done)):
                choice = source[at] & mask
                out[done] = places[choice]
                done += U64(choice < letters)
                at += U1


@Native
def _next(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, form = uint64s_of(me, _STATE), wants(arguments, count, names)
    if (form < 2) & is_free(state):
        pool, text, places = uint64s_of(me, _POOL), bytes_of(me, _SCRATCH), bytes_of(me, _PLACES)
        letters, mask = number_of(me, _LETTERS), U64(places.size - 1)
        size, done, left, word = U64(text.size), U64(0), 0, U64(0)
        while done < size:
            if left == 0:
                left, word = 8, random_word(state, pool)
            choice = word & mask
            text[done] = places[choice]
            done += U64(choice < letters)
            left, word = left - 1, word >> U8
        return as_bytes(text, U64(0), size) if form == 1 else as_text(text, U64(0), size)
    return slowly(me, "_next_one", arguments, count, names)


class NanoId(Mint):
    """NanoIDs of ``size`` characters (1 to 65,536) of an ``alphabet`` of 2 to 128 ASCII characters.

    ``size * log2(len(alphabet))`` random bits each, from ChaCha20 keyed by the operating system; every
    character is as likely as any other. The binary form is the characters, uint8[n, size]. Safe from many
    threads; a forked child has entropy of its own.

    >>> len(NanoId().next()), set(NanoId(size=100, alphabet="ab").next()) <= {"a", "b"}
    (21, True)
    """

    __slots__ = ("WIDTH", "_letters", "_places", "alphabet")

    def __init__(self, size: int = 21, alphabet: str = ALPHABET) -> None:
        """Begin with a key from the operating system."""
        if not 1 <= integer("size", size) <= MAX_SIZE:
            raise ValueError(f"size={size} is outside 1..{MAX_SIZE}")
        if not isinstance(alphabet, str) or not alphabet.isascii() or len(set(alphabet)) != len(alphabet) > 0:
            raise ValueError(f"alphabet={alphabet!r} is not a str of different ASCII characters")
        if len(alphabet) < 2:
            raise ValueError(f"alphabet={alphabet!r} has fewer than two characters, and nothing to choose")
        super().__init__()
        self.WIDTH, self.alphabet, self._letters = int(size), alphabet, len(alphabet)
        self._places = np.zeros(1 << (len(alphabet) - 1).bit_length(), np.uint8)
        self._places[: len(alphabet)] = np.frombuffer(alphabet.encode(), np.uint8)
        self._scratch = np.zeros(self.WIDTH, np.uint8)

    @property
    def size(self) -> int:
        """The characters of an id."""
        return self.WIDTH

    @property
    def entropy_bits(self) -> float:
        """The random bits of an id."""
        return self.WIDTH * math.log2(len(self.alphabet))

    def _plan(self, n: int) -> Fill:
        del n
        return lambda _, out: _fill(new_key(), self._places, self._letters, out.reshape(-1))

    next = Method(_next, "_next_one")

    def _room(self, n: int) -> Any:
        return empty((n, self.WIDTH), np.uint8)

    def _written(self, ids: Any, text: Any) -> None:
        text[:] = ids

    def decode(self, ids: Any) -> Any:
        """Return ids as their characters, uint8[n, size]; what is none is a ``ValueError`` saying where."""
        if isinstance(ids, np.ndarray) and ids.dtype == np.uint8 and ids.ndim == 2:
            ids = ids.view(f"S{ids.shape[1]}").reshape(-1)
        made, base = [self._room(0)], 0
        for part in all_there(ids):
            made.append(self._parsed(part, base))
            base += len(part)
        return np.concatenate(made)

    def _parsed(self, part: Any, base: int) -> Any:
        if not isinstance(part, Text):
            raise TypeError("NanoIDs are text, bytes or uint8[n, size], not numbers")
        wrong = np.diff(part.offsets) != self.WIDTH
        if wrong.any():
            at = int(np.argmax(wrong))
            length = int(part.offsets[at + 1] - part.offsets[at])
            raise ValueError(f"the id at position {base + at} has {length} characters, not {self.WIDTH}")
        rows = part.data[part.offsets[0] : part.offsets[-1]].reshape(-1, self.WIDTH)
        foreign = ~np.isin(rows, self._places[: self._letters])
        if foreign.any():
            at, character = np.argwhere(foreign)[0].tolist()
            raise ValueError(
                f"the id at position {base + at} has a character at {character} that is not of the alphabet"
            )
        return np.array(rows)


_STATE, _POOL, _SCRATCH = (place(NanoId, slot) for slot in ("_state", "_pool", "_scratch"))
_PLACES, _LETTERS = place(NanoId, "_places"), place(NanoId, "_letters")
