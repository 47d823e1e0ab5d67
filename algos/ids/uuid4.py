"""UUID version 4: 122 random bits.

RFC 9562, section 5.4. Big-endian; version and variant take six bits::

    random 48 | 0100 | random 12 | 10 | random 62

Nothing orders them: as keys of a B-tree each touches a page of its own, and pages end up three quarters full.
The chance that any two of n are equal is about n^2 / 2^123.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from algos._bits import U1, U64
from algos._fastcall import Method, Native, bytes_of, place, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.ids._entropy import new_key, stream
from algos.ids._kind import Kind, UuidReader, handed_uuid, is_free, random_word, wants

if TYPE_CHECKING:
    from algos.ids._kind import Fill

# In the words of a little-endian machine: byte 6 and byte 8.
_VERSION, _VERSION_BITS = U64(0x40 << 48), U64(0xF0 << 48)
_VARIANT, _VARIANT_BITS = U64(0x80), U64(0xC0)


@inlined
def _marked(first: Any, second: Any) -> Any:
    return (first & ~_VERSION_BITS) | _VERSION, (second & ~_VARIANT_BITS) | _VARIANT


@kernel
def _fill(key: Any, at: Any, words: Any) -> None:
    """Make ids ``at``.. of a key (uint64[2 n])."""
    noise = stream(key, 2 * at, words.size)
    for i in range(U64(0), U64(words.size), U64(2)):
        words[i], words[i + U1] = _marked(noise[i], noise[i + U1])


@Native
def _next(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, form = uint64s_of(me, _STATE), wants(arguments, count, names)
    if (form < 2) & is_free(state):
        pool = uint64s_of(me, _POOL)
        first, second = _marked(random_word(state, pool), random_word(state, pool))
        return handed_uuid(bytes_of(me, _SCRATCH), first, second, form)
    return slowly(me, "_next_one", arguments, count, names)


class Uuid4(UuidReader, Kind):
    """Random UUIDs, from ChaCha20 keyed by the operating system.

    122 random bits each. Safe from many threads; a forked child has entropy of its own.

    >>> Uuid4().take(2).shape
    (2, 16)
    """

    __slots__ = ()
    NAME, VERSION = "UUID version 4", 4

    def __init__(self) -> None:
        """Begin with a key from the operating system."""
        super().__init__()

    def _plan(self, n: int) -> Fill:
        del n
        key = new_key()
        return lambda at, out: _fill(key, at, out.reshape(-1).view("u8"))

    next = Method(_next, "_next_one")


_STATE, _POOL, _SCRATCH = (place(Uuid4, slot) for slot in ("_state", "_pool", "_scratch"))
