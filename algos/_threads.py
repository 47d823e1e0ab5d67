"""Work cut into parts for threads: kernels hold no GIL, so parts of a batch run on as many cores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from algos._arguments import integer

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST = 8192
"""Items a part has at least: a thread costs as much as a few thousand of them."""


def check_threads(threads: Any) -> int:
    """Return the number of threads, or say which there can be."""
    threads = integer("threads", threads)
    if threads < 1:
        raise ValueError(f"threads={threads} is below 1; os.cpu_count() is the most that can help")
    return threads


def in_parts(threads: int, n: int, work: Callable[[int, int], None]) -> None:
    """Call ``work(lo, hi)`` for parts that make up ``range(n)``, each in a thread of its own."""
    parts = min(threads, -(-n // LEAST))
    if parts <= 1:
        work(0, n)
        return
    ends = [n * part // parts for part in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        jobs = [  # in the caller's context: NumPy's errstate is part of it
            pool.submit(copy_context().run, work, lo, hi) for lo, hi in pairwise(ends)
        ]
    for job in jobs:
        job.result()
