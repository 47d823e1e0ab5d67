"""Snowflake: 63 bits of time, node and sequence, which a database keeps as an integer.

Twitter's layout of 2010, and those made after it; the sequence begins at 0 in each millisecond but for
Instagram's, where it goes on::

    twitter     41 time since 2010-11-04 | 10 node              | 12 sequence
    discord     41 time since 2015-01-01 | 5 worker, 5 process  | 12 sequence
    instagram   41 time since 2011-08-24 | 13 shard             | 10 sequence

A node mints at most 2^12 (2^10) ids a millisecond for long; a batch may borrow as much time as it may lead.
Ids above 2^53 are not exact in JSON as JavaScript reads it: send the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from algos._arguments import integer
from algos._bits import U64, store16
from algos._fastcall import Method, Native, as_int, as_text, bytes_of, place, slowly, uint64s_of
from algos._jit import inlined, kernel
from algos.ids._clock import OWN_CLOCK
from algos.ids._kind import is_free, wants
from algos.ids._node import Layout, NodeKind, minted
from algos.ids._text import pairs

if TYPE_CHECKING:
    from collections.abc import Callable

LAYOUTS = {
    "twitter": Layout(41, 10, 12, 1_288_834_974_657),
    "discord": Layout(41, 10, 12, 1_420_070_400_000),
    "instagram": Layout(41, 13, 10, 1_314_220_021_721, sequence_goes_on=True),
}
DIGITS = 19
TEN, HUNDRED, TEN_DIGITS, ZERO = U64(10), U64(100), U64(10**10), U64(ord("0"))
DECIMAL_PAIRS = pairs("0123456789")


@inlined
def _decimal(value: Any, out: Any, to: Any) -> None:
    """Write a number in 19 digits: the upper nine and the lower ten, neither waiting for the other."""
    upper, lower = value // TEN_DIGITS, value % TEN_DIGITS
    for pair in range(U64(5)):
        store16(out, to + U64(17) - U64(2) * pair, DECIMAL_PAIRS[lower % HUNDRED])
        lower //= HUNDRED
    for pair in range(U64(4)):
        store16(out, to + U64(7) - U64(2) * pair, DECIMAL_PAIRS[upper % HUNDRED])
        upper //= HUNDRED
    out[to] = np.uint8(ZERO + upper)


@kernel
def _write(ids: Any, out: Any) -> None:
    for i in range(U64(ids.size)):
        _decimal(U64(ids[i]), out, i * U64(DIGITS))


@kernel
def _read(data: Any, offsets: Any, out: Any) -> Any:
    """Read texts of up to 19 digits."""
    for i in range(offsets.size - 1):
        value, length = U64(0), offsets[i + 1] - offsets[i]
        if not 1 <= length <= DIGITS:
            return i, -1
        for k in range(length):
            digit = U64(data[offsets[i] + k]) - ZERO
            if digit > U64(9):
                return i, k
            value = value * TEN + digit
        if value >> U64(63):
            return i, 0
        out[i] = np.int64(value)
    return -1, -1


@Native
def _next(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    state, form = uint64s_of(me, _STATE), wants(arguments, count, names)
    if (form < 2) & is_free(state) & (state[OWN_CLOCK] != U64(0)):
        done, value = minted(state)
        if done:
            if form == 1:
                return as_int(value)
            scratch = bytes_of(me, _SCRATCH)
            _decimal(value, scratch, U64(0))
            return as_text(scratch, U64(0), U64(DIGITS))
    return slowly(me, "_next_one", arguments, count, names)


class Snowflake(NodeKind):
    """Snowflakes of one ``node``, in Twitter's, Discord's or Instagram's layout or a ``Layout`` of one's own.

    Ids ascend strictly, in every form; text is zero-padded to 19 digits, and ``next("binary")`` an int. They
    may be ``max_lead_ms`` ahead of the clock, which is what a batch can borrow; then minting waits. So a new
    generator mints its first id ``max_lead_ms`` after it was made: the node's last owner may have been ahead.
    Discord's worker and process are the upper and lower five bits of ``node``. ``clock`` returns nanoseconds
    since 1970, for simulations. Safe from many threads; a forked child must be given a node by ``renumber``.

    >>> ids = Snowflake(5, max_lead_ms=0)
    >>> ids.parts(ids.take(2))["node"]
    array([5, 5])
    """

    __slots__ = ()
    WIDTH, NAME = DIGITS, "Snowflake"

    def __init__(
        self,
        node: int,
        layout: Literal["twitter", "discord", "instagram"] | Layout = "twitter",
        *,
        max_lead_ms: int = 1000,
        clock: Callable[[], int] | None = None,
    ) -> None:
        """Begin as a node, ``max_lead_ms`` from now."""
        super().__init__(node, _checked_layout(layout), max_lead_ms, clock)

    next = Method(_next, "_next_one")

    @staticmethod
    def _write(ids: Any, text: Any) -> None:
        _write(ids, text.reshape(-1))

    @classmethod
    def _read(cls, data: Any, offsets: Any, out: Any) -> tuple[int, int]:
        at, character = _read(data, offsets, out)
        return int(at), int(character)


def _checked_layout(layout: Any) -> Layout:
    if not isinstance(layout, (str, Layout)):
        raise TypeError(f"layout must be a name or a Layout, not {type(layout).__name__}")
    if isinstance(layout, str):
        if layout not in LAYOUTS:
            raise ValueError(f"layout={layout!r} is none of {', '.join(map(repr, LAYOUTS))}")
        return LAYOUTS[layout]
    bits = [integer("a layout's bits", width) for width in layout[:3]]
    if min(bits) < 0 or not 1 <= bits[2] <= 42 or bits[0] < 1 or sum(bits) > 63:
        raise ValueError(f"{layout} has not 1 to 42 bits of sequence, and 63 or fewer in all")
    if layout.epoch_ms < 0:
        raise ValueError(f"epoch_ms={layout.epoch_ms} is before 1970")
    return layout


_STATE, _SCRATCH = place(Snowflake, "_state"), place(Snowflake, "_scratch")
