"""TSID: 63 bits of time, node and counter, as 13 letters and digits.

f4b6a3/tsid-creator; the value of a Snowflake since 2020 in Crockford's base 32::

    milliseconds since 2020-01-01 41 | node | counter: 22 together        0C4EY1RAQ3H41

Half as long as a ULID, and an integer to the database; but nodes have to be numbered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from algos._arguments import integer
from algos._bits import U64
from algos._fastcall import Method, Native, as_int, as_text, bytes_of, place, slowly, uint64s_of
from algos.ids._clock import OWN_CLOCK
from algos.ids._kind import is_free, wants
from algos.ids._node import Layout, NodeKind, minted
from algos.ids._text import CROCKFORD_PAIRS, CROCKFORD_VALUES, base32_text, read_base32, write_base32

if TYPE_CHECKING:
    from collections.abc import Callable

EPOCH_MS = 1_577_836_800_000
NODE_AND_COUNTER = 22
DIGITS = 13


@Native
def _next(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, form = uint64s_of(me, _STATE), wants(arguments, count, names)
    if (form < 2) & is_free(state) & (state[OWN_CLOCK] != U64(0)):
        done, value = minted(state)
        if done:
            if form == 1:
                return as_int(value)
            scratch = bytes_of(me, _SCRATCH)
            base32_text(U64(0), value, DIGITS, CROCKFORD_PAIRS, scratch, U64(0))
            return as_text(scratch, U64(0), U64(DIGITS))
    return slowly(me, "_next_one", arguments, count, names)


class Tsid(NodeKind):
    """TSIDs of one ``node`` of ``node_bits`` (0 to 20); the other of 22 bits count.

    Ids ascend strictly, in every form; ``next("binary")`` is an int. They may be ``max_lead_ms`` ahead of the
    clock; then minting waits, and so a new generator mints its first id ``max_lead_ms`` after it was made.
    ``clock`` returns nanoseconds since 1970, for simulations. Reading, letters may be of either case. Safe
    from many threads; a forked child must be given a node by ``renumber``.

    >>> len(Tsid(1, max_lead_ms=0).next())
    13
    """

    __slots__ = ()
    WIDTH, NAME = DIGITS, "TSID"

    def __init__(
        self,
        node: int,
        node_bits: int = 10,
        *,
        max_lead_ms: int = 1000,
        clock: Callable[[], int] | None = None,
    ) -> None:
        """Begin as a node, ``max_lead_ms`` from now."""
        if not 0 <= integer("node_bits", node_bits) <= 20:
            raise ValueError(f"node_bits={node_bits} is outside 0..20; 10 leave 12 to count")
        layout = Layout(41, int(node_bits), NODE_AND_COUNTER - int(node_bits), EPOCH_MS)
        super().__init__(node, layout, max_lead_ms, clock)

    next = Method(_next, "_next_one")

    @staticmethod
    def _write(ids: Any, text: Any) -> None:
        big = ids.astype(">i8").view(np.uint8)
        write_base32(big, 8, 0, DIGITS, CROCKFORD_PAIRS, text.reshape(-1))

    @classmethod
    def _read(cls, data: Any, offsets: Any, out: Any) -> tuple[int, int]:
        big = np.empty((len(out), 8), np.uint8)
        at, character = read_base32(data, offsets, 8, 0, DIGITS, CROCKFORD_VALUES, 7, big.reshape(-1))
        out[:] = big.view(">i8").reshape(-1)
        return int(at), int(character)


_STATE, _SCRATCH = place(Tsid, "_state"), place(Tsid, "_scratch")
