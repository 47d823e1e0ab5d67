"""Rate limiters: asked once a request, and for batches of requests of a million keys.

Everyone has the same limit, ten requests a second and twenty at once, and what a batch is decided by is the
clock it has: requests of a batch come at one moment, or, where it says so, at the times they are given.
"""

from __future__ import annotations

from functools import partial

from bench.schema import Task
from bench.tasks._ratelimit import contestants

__all__ = ["TASKS", "contestants"]

MILLION, SOME = 1_000_000, 200_000

task = partial(Task, "ratelimit", anchor="Gcra")

TASKS: list[Task] = [
    task("allow_many", "zipf", MILLION, {"fields": "allowed", "input": "numpy"}, tier="quick"),
    task("allow_many", "zipf", MILLION, {"fields": "all", "input": "numpy"}),
    task("allow_many", "zipf", SOME // 10, {"fields": "allowed", "input": "numpy"}),
    task("allow_many", "zipf", MILLION, {"input": "arrow"}, tier="quick"),
    task("allow_many", "zipf", SOME, {"input": "list"}),
    task("allow", "one", 1, tier="quick"),
    task("allow", "shuffled", SOME, tier="quick"),
    task("first_call", "text", 1_000, tier="thorough"),
]
