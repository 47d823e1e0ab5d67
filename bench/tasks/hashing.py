"""Hash functions: integers, texts of one length and of many, and long buffers; ours against packages.

A batch is a million integers, or texts of 32 MB altogether, handed over in slices. Buffers are hashed one a
call, and an item is a byte.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench.schema import Task
from bench.tasks._hashing import contestants

if TYPE_CHECKING:
    from bench.schema import Tier

__all__ = ["TASKS", "contestants"]

MILLION, TEXT_BYTES = 1_000_000, 32_000_000
KIB, MIB = 1 << 10, 1 << 20

task = partial(Task, "hashing", anchor="xxh3")


def text(length: int, lengths: str, tier: Tier = "default", style: str = "favourite") -> Task:
    """Declare a batch of texts, ``fixed`` or ``varied`` in length; ``style`` is the input."""
    n = min(MILLION, TEXT_BYTES // length)
    return task("hash", f"{lengths}{length}", n, {"input": style}, tier)


TASKS: list[Task] = [
    task("hash", "ids", MILLION, {"input": "favourite"}, "quick"),
    task("hash", "ids", MILLION, {"input": "numpy"}),
    text(4, "fixed", "thorough"),
    text(12, "fixed", "quick"),
    text(30, "fixed"),
    text(100, "fixed"),
    text(4, "varied", "thorough"),
    text(12, "varied", "quick"),
    text(30, "varied"),
    text(100, "varied"),
    text(12, "varied", style="arrow"),
    task("hash_one", "ids", MILLION),
    task("hash_one", "varied12", MILLION),
    task("digest", "buffer", KIB, tier="quick"),
    task("digest", "buffer", 64 * KIB),
    task("digest", "buffer", MIB),
    task("digest", "buffer", 16 * MIB, tier="quick"),
    task("first_call", "ids", 1_000, tier="thorough"),
]
