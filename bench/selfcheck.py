"""The harness on trial, on this machine: it must call what differs, and nothing else.

``again`` races a kernel against itself, built anew at other addresses, and against itself with 3 % more work.
``alone`` and ``beside`` race one table in the last-level cache against a loop that touches no memory, without
and with contestants that sweep the caches in between: a turn's warming must make up for them.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from algos._bits import U64
from algos._jit import kernel
from algos.hashing import hash64
from algos.hashing.splitmix64 import splitmix64
from bench.limits import written
from bench.schema import Contestant, Gate, Slice, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

KIB, MIB = 1 << 10, 1 << 20
POOL = 1 << 21  # keys, more than fit into most caches
AGAIN, MORE, EVICTORS = 5, 3, 3  # contestants of a kind
PERCENT = 3
SWEEP = 64 * MIB

task = partial(Task, "selfcheck", workload="table")
TASKS = [
    *(task("again", n=size, anchor="kernel") for size in (16 * KIB, 256 * KIB, 4 * MIB, 64 * MIB)),
    task("alone", n=4 * MIB, anchor="compute"),
    task("beside", n=4 * MIB, anchor="compute"),
]


@kernel
def look_up(table: Any, keys: Any) -> Any:
    """Add up a word of the table for every key, wherever its hash says."""
    total, mask = U64(0), U64(table.size - 1)
    for key in keys:
        total += table[splitmix64(key, U64(0)) & mask]
    return total


@kernel
def compute(keys: Any) -> Any:
    """Hash over and over, as often as there are keys, of which none is read: no neighbour can slow that."""
    total = U64(0)
    for _ in range(keys.size):
        total = splitmix64(total, U64(0))
    return total


def contestants(task: Task, seed: int) -> list[Contestant]:
    """Make the data of a task from a seed and return everyone who races on it."""
    count = POOL + POOL * PERCENT // 100
    keys = np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)
    return list(OPERATIONS[task.op](task.n, keys))


def _again(nbytes: int, keys: NDArray[np.uint64]) -> Iterator[Contestant]:
    yield _table("kernel", "ours", nbytes, keys)
    for i in range(1, AGAIN + 1):
        yield _table(f"again {i}", "control", nbytes, keys)
    for i in range(1, MORE + 1):
        yield _table(f"{PERCENT} % more work {i}", "ours", nbytes, keys, PERCENT)


def _alone(nbytes: int, keys: NDArray[np.uint64]) -> Iterator[Contestant]:
    yield Contestant("compute", "ours", lambda _, part: compute(part), partial(_slices, keys, 0))
    yield _table("table", "ours", nbytes, keys)


def _beside(nbytes: int, keys: NDArray[np.uint64]) -> Iterator[Contestant]:
    yield from _alone(nbytes, keys)
    for i in range(1, EVICTORS + 1):
        yield Contestant(
            f"evictor {i}",
            "limit",
            lambda swept, _: swept.sum(),
            lambda _: [Slice(SWEEP // 8, None)],
            setup=lambda _: written(SWEEP),
        )


def _table(name: str, role: Any, nbytes: int, keys: NDArray[np.uint64], more: int = 0) -> Contestant:
    return Contestant(
        name,
        role,
        look_up,
        partial(_slices, keys, more),
        setup=lambda _: _filled(nbytes),
        check=partial(_check, _filled(nbytes)),
        nbytes=attrgetter("nbytes"),
    )


def _filled(nbytes: int) -> NDArray[np.uint64]:
    table = written(nbytes)
    table[:] = np.arange(table.size, dtype=np.uint64)
    return table


def _slices(keys: NDArray[np.uint64], more: int, limit: int) -> list[Slice]:
    """Cut the pool into slices of ``limit`` keys, and so many per cent more that are not counted."""
    limit = min(limit, POOL)
    size = limit + limit * more // 100
    return [Slice(limit, keys[i * size : (i + 1) * size]) for i in range(POOL // limit)]


def _check(table: NDArray[np.uint64], answer: Any, part: Slice) -> Gate:
    places = hash64(part.payload, "splitmix64") & np.uint64(table.size - 1)
    return Gate(ok=bool(table[places].sum() == answer))


OPERATIONS: dict[str, Callable[[int, NDArray[np.uint64]], Iterator[Contestant]]] = {
    "again": _again,
    "alone": _alone,
    "beside": _beside,
}
