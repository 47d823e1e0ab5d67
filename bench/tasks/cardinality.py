"""Distinct counts at an error of 0.8 %: every variant, packages, exact baselines.

A batch is counted afresh, from an empty sketch to the count, which is what engines offer; or it is added to a
counter that has long been running, which nothing new changes any more. Both do the same work every time.
``copies`` is how often each key comes. In groups the error is 3.4 %, and the rows of all groups together are
past the caches that a single counter stays in.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench.schema import Task
from bench.tasks._cardinality import contestants

if TYPE_CHECKING:
    from bench.schema import Tier

__all__ = ["TASKS", "contestants"]

SOME, MILLION = 100_000, 1_000_000

task = partial(Task, "cardinality", anchor="HyperLogLog")


def count(workload: str, n: int, tier: Tier = "default", copies: int = 1) -> Task:
    """Declare a batch that is counted afresh."""
    return task("count", workload, n, {"copies": copies}, tier)


def groups(n: int, groups: int, tier: Tier = "default") -> Task:
    """Declare a batch of which each key has a group to be counted in."""
    return task("groups", "ids", n, {"groups": groups}, tier)


TASKS: list[Task] = [
    count("ids", SOME, "quick"),
    count("ids", MILLION, "quick"),
    count("ids", 10 * MILLION),
    count("ids", SOME, "thorough", copies=10),
    count("ids", MILLION, copies=10),
    count("ids", 10 * MILLION, "thorough", copies=10),
    count("text12", SOME, "thorough"),
    count("text12", MILLION, "quick"),
    count("varied20", MILLION),
    count("fixed30", MILLION, "thorough"),
    count("text12", MILLION, "thorough", copies=10),
    task("add", "ids", MILLION, tier="quick"),
    task("add", "text12", MILLION),
    task("add", "varied20", MILLION, tier="thorough"),
    task("add_one", "ids", SOME, tier="quick"),
    task("add_one", "text12", SOME),
    groups(MILLION, 10_000, "quick"),
    groups(MILLION, 100, "thorough"),
    groups(10 * MILLION, 10_000, "thorough"),
    task("estimate", "ids", SOME, tier="quick"),
    task("merge", "ids", SOME, tier="quick"),
    task("serialise", "ids", SOME),
    task("first_call", "ids", 1_000, tier="thorough"),
]
