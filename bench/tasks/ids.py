"""Ids: minted alone, and in batches as binary, text, Arrow or a list of Python's; and read.

Everyone mints ids of its own kind: what they cost is compared, not what they are worth to a database.
"""

from __future__ import annotations

from functools import partial

from bench.schema import Task
from bench.tasks._ids import contestants

__all__ = ["TASKS", "contestants"]

MILLION, SOME = 1_000_000, 100_000

task = partial(Task, "ids", anchor="Uuid7")

TASKS: list[Task] = [
    task("take", "binary", MILLION, tier="quick"),
    task("take", "text", MILLION, tier="quick"),
    task("take", "arrow", MILLION),
    task("take", "list", SOME, tier="quick"),
    task("next", "text", SOME, tier="quick"),
    task("read", "list", SOME, tier="quick"),
    task("name", "varied30", SOME, anchor="Uuid5"),
    task("first_call", "text", 1_000, tier="thorough"),
]
