"""Ids of 64 bits that a numbered node mints: time, node, sequence, as an int64 that sorts by time.

    0 | milliseconds since an epoch | node | sequence

No two generators may have one node number at a time. So a forked child has none until it is given one, and
whoever takes a number over waits until the ids of its last owner, which may have been ahead of the clock, are
past.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from algos._arguments import integer
from algos._bits import U1, U64
from algos._fastcall import now_ns
from algos._jit import inlined, kernel
from algos._pages import empty
from algos.errors import HotpathError
from algos.hashing.keys import Text, Words
from algos.ids._clock import BITS, COUNT, LEAD, OWN, SINCE, UNTIL, ClockedKind, advance, check_lead, spread
from algos.ids._kind import MAX_IDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from algos.ids._clock import Run
    from algos.ids._kind import Fill

NODE, TIME_SHIFT, EPOCH, GOES_ON = range(OWN, OWN + 4)
"""Words of the state: the node, where it belongs; the bits below the time; tick 0 since 1970; whether the
sequence goes on in a new millisecond."""
MILLION = U64(1_000_000)
ORPHAN = (1 << 64) - 1
"""``SINCE`` of a generator that may not mint."""


class Layout(NamedTuple):
    """The bits of an id, 63 in all, and when its time begins, in milliseconds since 1970."""

    time_bits: int
    node_bits: int
    sequence_bits: int
    epoch_ms: int
    sequence_goes_on: bool = False
    """Whether the sequence goes on in a new millisecond, or begins at 0."""


@inlined
def minted(state: Any) -> Any:
    """Mint one id by the system's clock; return whether there is one, and it."""
    now, begin = now_ns() // MILLION - state[EPOCH], U64(0)
    if state[GOES_ON]:
        begin = (state[COUNT] + U1) & ((U1 << state[BITS]) - U1)
    granted, tick, count = advance(state, U1, now, begin)
    return granted != U64(0), (tick << state[TIME_SHIFT]) | state[NODE] | count


@kernel
def _fill(tick: Any, count: Any, bits: Any, shift: Any, node: Any, out: Any) -> None:
    """Make ids whose sequence follows each other."""
    mask = (U1 << bits) - U1
    for i in range(U64(out.size)):
        t = count + i
        out[i] = np.int64(((tick + (t >> bits)) << shift) | node | (t & mask))


class NodeKind(ClockedKind):
    """A generator of ids of one node."""

    __slots__ = ("layout",)
    SIZE = 8
    STRIDE = MAX_IDS  # nothing is random in each

    def __init__(self, node: int, layout: Layout, max_lead_ms: int, clock: Callable[[], int] | None) -> None:
        """Begin as a node, once its last owner's ids are past."""
        self.layout = layout
        bits, lead = layout.sequence_bits, check_lead(max_lead_ms)
        shift = bits + layout.node_bits
        super().__init__(bits, lead, clock, 0, shift, layout.epoch_ms, int(layout.sequence_goes_on))
        self._state[UNTIL] = (1 << layout.time_bits) - 1
        self.renumber(node)

    @property
    def node(self) -> int:
        """The node's number."""
        return int(self._state[NODE]) >> self.layout.sequence_bits

    def renumber(self, node: int) -> None:
        """Mint as another node from now on, as a forked child must before it mints at all."""
        most = (1 << self.layout.node_bits) - 1
        if not 0 <= integer("node", node) <= most:
            raise ValueError(
                f"node={node} is outside 0..{most}, the {self.layout.node_bits} bits of the layout"
            )
        with self._lock:
            self._state[SINCE] = self._now()[1] + int(self._state[LEAD]) + 1
            self._state[NODE] = int(node) << self.layout.sequence_bits

    def _tick(self, now_ns: int) -> int:
        return now_ns // self.TICK_NS - self.layout.epoch_ms

    def _first_count(self, now_ns: int) -> int:
        del now_ns
        following = (int(self._state[COUNT]) + 1) & (1 << self.layout.sequence_bits) - 1
        return following if self.layout.sequence_goes_on else 0

    def _forked(self) -> None:
        super()._forked()
        self._state[SINCE] = ORPHAN

    def _plan(self, n: int) -> Fill:
        if int(self._state[SINCE]) == ORPHAN:
            raise HotpathError(
                f"this is a forked child, and its parent mints as node {self.node}: .renumber() it first"
            )
        bits, shift, node = (self._state[word] for word in (BITS, TIME_SHIFT, NODE))

        def make(run: Run, offset: int, _at: int, out: Any) -> None:
            _fill(U64(run.tick), U64(run.first + offset), bits, shift, node, out)

        return spread(self._runs(n), make)

    @classmethod
    def _empty(cls, n: int) -> Any:
        return empty((n,), np.int64)

    @classmethod
    def _parsed(cls, part: Any, base: int) -> Any:
        if isinstance(part, Words) and part.values.dtype.kind in "iu":
            return part.values
        if isinstance(part, Text):
            return super()._parsed(part, base)
        raise TypeError(f"{cls.NAME}s are ints or text, not {part.values.dtype}")

    @classmethod
    def _checked(cls, ids: Any) -> Any:
        if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= 1 << 63):
            at = int(np.argmax((ids < 0) | (ids > np.iinfo(np.int64).max)))
            raise ValueError(f"the id at position {at} is {ids[at]}: no {cls.NAME} is negative or of 64 bits")
        return ids.astype(np.int64)

    def parts(self, ids: Any) -> dict[str, Any]:
        """Return what ids are made of: ``timestamp`` (datetime64[ms]), ``node``, ``sequence``: arrays."""
        words = self.decode(ids)
        _, node_bits, sequence_bits, epoch, _ = self.layout
        return {
            "timestamp": ((words >> node_bits + sequence_bits) + epoch).view("M8[ms]"),
            "node": words >> sequence_bits & (1 << node_bits) - 1,
            "sequence": words & (1 << sequence_bits) - 1,
        }

    def timestamps(self, ids: Any) -> Any:
        """Return when ids were minted, to the millisecond: ``datetime64[ms]``."""
        return self.parts(ids)["timestamp"]
