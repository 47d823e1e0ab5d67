"""What ids cost the index they are keys of, and whether they keep their order: simulations.

The index is a simulation of a B-tree's leaves, not a database measured.

Ids are inserted in the order they are minted, four a millisecond. A leaf holds 256; a full one is split in
halves, but for the last one when the new key goes behind all others: then a new leaf begins, as databases
have it. The last 200 leaves used are in memory, and an insertion into another is a miss. So much makes the
difference between kinds, and no more is claimed.

Order is that of ids minted while the clock stands, leaps and is set back, by up to two milliseconds at a
time.

Unpredictable are the bits of an id that the one before, of the same batch, does not tell: for each byte the
entropy of its values or, where less, of its steps.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.peers.ids import Ahead, paced
from bench.schema import Quality

if TYPE_CHECKING:
    from collections.abc import Iterable

LEAF, POOL = 256, 200
IDS, STEPPED, AT_ONCE, DRAWN = 100_000, 4_000, 4, 20_000


class Pace:
    """A clock a millisecond later whenever it is asked."""

    def __init__(self) -> None:
        self.now = time.time_ns() + 10 * 10**9

    def __call__(self) -> int:
        self.now += 10**6
        return self.now


class Stepping:
    """A clock that goes on, stands, leaps or is set back whenever it is asked."""

    def __init__(self) -> None:
        self.now, self._steps = time.time_ns() + 10 * 10**9, np.random.default_rng(5)

    def __call__(self) -> int:
        self.now += int(self._steps.choice([-2, 0, 1, 1, 3])) * 10**6
        return self.now


def insert(keys: Iterable[Any]) -> tuple[float, float]:
    """Insert keys; return the share of insertions that missed, and that of the leaves' places left empty."""
    leaves: list[list[Any]] = [[]]
    lowest: list[Any] = []  # of every leaf but the first
    names, recent, misses, n = [0], OrderedDict({0: None}), 0, 0
    for key in keys:
        at = bisect_right(lowest, key)
        if names[at] not in recent:
            misses += 1
        leaf, n = leaves[at], n + 1
        if len(leaf) == LEAF:
            last = at == len(leaves) - 1 and key > leaf[-1]
            cut = LEAF if last else LEAF // 2
            new, leaves[at] = leaf[cut:], leaf[:cut]
            leaves.insert(at + 1, new)
            lowest.insert(at, key if last else new[0])
            names.insert(at + 1, len(names))
            _use(recent, names[at])
            at += last or key >= new[0]
            leaf = leaves[at]
        leaf.insert(bisect_left(leaf, key), key)
        _use(recent, names[at])
    return misses / n, 1 - n / (LEAF * len(leaves))


def _use(recent: OrderedDict[int, None], name: int) -> None:
    recent[name] = None
    recent.move_to_end(name)
    if len(recent) > POOL:
        recent.popitem(last=False)


def _minted(cls: Any, clock: Any, count: int) -> list[Any]:
    mint, keys = paced(cls, clock), list[Any]()
    for _ in range(count // AT_ONCE):
        ids = mint.take(AT_ONCE)
        keys += ids.tolist() if ids.ndim == 1 else [row.tobytes() for row in ids]
    return keys


@cache
def _simulated(cls: Any) -> tuple[float, float]:
    return insert(_minted(cls, Pace(), IDS))


@cache
def _misplaced(cls: Any) -> tuple[float, float]:
    """Return the shares of ids that do not follow on the one before, and that were there already."""
    keys = _minted(cls, Stepping(), STEPPED)
    behind = sum(not one < following for one, following in pairwise(keys))
    return behind / len(keys), 1 - len(set(keys)) / len(keys)


def unpredictable(ids: Any) -> float:
    """Return the bits of an id (uint8[n, k]) that the one before does not tell."""
    return sum(min(_entropy(column), _entropy(np.diff(column))) for column in np.ascontiguousarray(ids.T))


def _entropy(values: Any) -> float:
    """Return the entropy of bytes, in bits, with Miller and Madow's correction of its bias."""
    seen = np.bincount(values, minlength=256)
    share = seen[seen > 0] / len(values)
    return float(-(share * np.log2(share)).sum()) + (len(share) - 1) / (2 * len(values) * np.log(2))


def _as_bytes(ids: Any) -> Any:
    return ids if ids.ndim == 2 else ids.astype(">i8").view(np.uint8).reshape(len(ids), 8)


def measure(state: Any) -> list[Quality]:
    """Simulate the index; say how large an id is."""
    ids, kind = state.take(1), state.__class__
    misses, slack = _simulated(kind)
    behind, twice = _misplaced(kind)
    return [
        Quality("bytes_per_id", float(np.asarray(ids).nbytes)),
        Quality("unpredictable_bits", unpredictable(_as_bytes(paced(kind, Ahead()).take(DRAWN)))),
        Quality("leaf_miss_rate", misses),
        Quality("leaf_slack_rate", slack),
        Quality("disorder_rate", behind),
        Quality("duplicate_rate", twice, theory=0.0, lo=twice, hi=twice, ok=not twice),
    ]
