"""Xid: 12 bytes that name a second, a machine, a process and a count, as 20 letters and digits.

rs/xid; big-endian, and in the extended base 32 of RFC 4648 without padding, lower case::

    seconds since 1970 32 | machine 24 | process 16 | counter 24        9m4e2mr0ui3e8a215n4g

Shorter than a UUID, and nothing needs to be numbered; but nothing is secret either: who has one id has a good
guess at the next. Text, bytes and seconds sort alike, and so do the ids of one generator.
"""

from __future__ import annotations

import hashlib
import os
import platform
from typing import TYPE_CHECKING, Any

from algos._arguments import integer
from algos._bits import U64
from algos._fastcall import Method, Native, as_bytes, as_text, bytes_of, place, slowly, uint64s_of
from algos.ids._clock import OWN_CLOCK
from algos.ids._counted import SIZE, CountedKind, minted
from algos.ids._kind import is_free, wants
from algos.ids._text import BASE32HEX_PAIRS, BASE32HEX_VALUES, base32_text, read_base32, word_at, write_base32

if TYPE_CHECKING:
    from collections.abc import Callable

DIGITS, SPARE = 20, 4
"""Twenty digits have 100 bits: the last four are 0."""


@Native
def _next(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, form = uint64s_of(me, _STATE), wants(arguments, count, names)
    if (form < 2) & is_free(state) & (state[OWN_CLOCK] != U64(0)):
        scratch = bytes_of(me, _SCRATCH)
        if minted(state, scratch):
            if form == 1:
                return as_bytes(scratch, U64(0), U64(SIZE))
            high, low = word_at(scratch, U64(0), 4), word_at(scratch, U64(4), 8)
            high, low = (high << U64(SPARE)) | (low >> U64(64 - SPARE)), low << U64(SPARE)
            base32_text(high, low, DIGITS, BASE32HEX_PAIRS, scratch, U64(SIZE))
            return as_text(scratch, U64(SIZE), U64(DIGITS))
    return slowly(me, "_next_one", arguments, count, names)


class Xid(CountedKind):
    """Xids of this process on ``machine`` (24 bits; of the host's name, if not given).

    Ids ascend until the counter, which begins at random, is at its end, and then take the next second. A
    forked child is another process. ``clock`` returns nanoseconds since 1970, for simulations. Safe from many
    threads.

    >>> Xid.timestamps(["9m4e2mr0ui3e8a215n4g"])
    array(['2011-03-22T17:50:19'], dtype='datetime64[s]')
    """

    __slots__ = ("machine",)
    WIDTH, NAME = DIGITS, "Xid"

    def __init__(self, machine: int | None = None, *, clock: Callable[[], int] | None = None) -> None:
        """Begin to count at random."""
        if machine is None:
            machine = int.from_bytes(hashlib.sha256(platform.node().encode()).digest()[:3], "big")
        if not 0 <= integer("machine", machine) < 1 << 24:
            raise ValueError(f"machine={machine} is outside 0..2**24 - 1")
        self.machine = int(machine)
        super().__init__(clock)

    def _process(self) -> int:
        return self.machine << 16 | os.getpid() & 0xFFFF

    next = Method(_next, "_next_one")

    @staticmethod
    def _write(ids: Any, text: Any) -> None:
        write_base32(ids.reshape(-1), SIZE, SPARE, DIGITS, BASE32HEX_PAIRS, text.reshape(-1))

    @classmethod
    def _read(cls, data: Any, offsets: Any, out: Any) -> tuple[int, int]:
        found = read_base32(data, offsets, SIZE, SPARE, DIGITS, BASE32HEX_VALUES, 31, out.reshape(-1))
        return int(found[0]), int(found[1])


_STATE, _SCRATCH = place(Xid, "_state"), place(Xid, "_scratch")
