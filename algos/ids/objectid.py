"""ObjectId: the 12 bytes of a MongoDB document, as 24 hexadecimal digits.

BSON specification and MongoDB's ObjectId specification; big-endian::

    seconds since 1970 32 | random, of the process 40 | counter 24        4d88e15b60f486e428412dc9

Text, bytes and seconds sort alike, and so do the ids of one generator. The time is unsigned, until 2106.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from algos._bits import U64, store16
from algos._fastcall import Method, Native, as_bytes, as_text, bytes_of, place, slowly, uint64s_of
from algos.ids._clock import OWN_CLOCK
from algos.ids._counted import SIZE, CountedKind, minted
from algos.ids._kind import is_free, wants
from algos.ids._text import HEX_PAIRS, HEX_VALUES, read_hex, write_hex

if TYPE_CHECKING:
    from collections.abc import Callable

DIGITS = 24


@Native
def _next(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, form = uint64s_of(me, _STATE), wants(arguments, count, names)
    if (form < 2) & is_free(state) & (state[OWN_CLOCK] != U64(0)):
        scratch = bytes_of(me, _SCRATCH)
        if minted(state, scratch):
            if form == 1:
                return as_bytes(scratch, U64(0), U64(SIZE))
            for i in range(U64(SIZE)):
                store16(scratch, U64(SIZE) + U64(2) * i, HEX_PAIRS[scratch[i]])
            return as_text(scratch, U64(SIZE), U64(DIGITS))
    return slowly(me, "_next_one", arguments, count, names)


class ObjectId(CountedKind):
    """ObjectIds of this process, as MongoDB's drivers make them.

    Ids ascend until the counter, which begins at random, is at its end, and then take the next second. A
    forked child has random bytes of its own. ``clock`` returns nanoseconds since 1970, for simulations.
    Reading, letters may be of either case. Safe from many threads.

    >>> ObjectId.timestamps(["ffffffff0000000000000000"])
    array(['2106-02-07T06:28:15'], dtype='datetime64[s]')
    """

    __slots__ = ()
    WIDTH, NAME = DIGITS, "ObjectId"

    def __init__(self, *, clock: Callable[[], int] | None = None) -> None:
        """Begin to count at random."""
        super().__init__(clock)

    def _process(self) -> int:
        return secrets.randbits(40)

    next = Method(_next, "_next_one")

    @staticmethod
    def _write(ids: Any, text: Any) -> None:
        write_hex(ids.reshape(-1), HEX_PAIRS, text.reshape(-1))

    @classmethod
    def _read(cls, data: Any, offsets: Any, out: Any) -> tuple[int, int]:
        at, character = read_hex(data, offsets, DIGITS, HEX_VALUES, out.reshape(-1))
        return int(at), int(character)


_STATE, _SCRATCH = place(ObjectId, "_state"), place(ObjectId, "_scratch")
