"""Samplers: a thousand of a stream, of an array, by weight, item by item; merged; and of traces.

A stream comes in batches, and who cannot sample it as it comes keeps it all. Who makes an item a call has it
as a list of Python's.
"""

from __future__ import annotations

from functools import partial

from bench.schema import Task
from bench.tasks._sampling import contestants

__all__ = ["TASKS", "contestants"]

MILLION, SOME = 1_000_000, 100_000
RESERVOIR, WEIGHTED, TRACES = "ReservoirSample", "WeightedReservoirSample", "ConsistentTraceSampler"

task = partial(Task, "sampling", anchor=RESERVOIR)

TASKS: list[Task] = [
    task("sample", "stream", MILLION, tier="quick"),
    task("sample", "stream", 10 * MILLION),
    task("sample", "array", MILLION, tier="quick"),
    task("sample", "array", 10 * MILLION),
    task("sample_weighted", "stream", MILLION, tier="quick", anchor=WEIGHTED),
    task("sample_weighted", "stream", 10 * MILLION, anchor=WEIGHTED),
    task("offer", "items", SOME, tier="quick"),
    task("offer", "items", MILLION),
    task("offer_weighted", "items", SOME, tier="quick", anchor=WEIGHTED),
    task("offer_weighted", "items", MILLION, anchor=WEIGHTED),
    task("merge", "stream", SOME, tier="quick"),
    task("keep_many", "traces", MILLION, {"input": "binary"}, tier="quick", anchor=TRACES),
    task("keep_many", "traces", MILLION, {"input": "arrow"}, anchor=TRACES),
    task("keep_many", "traces", SOME, {"input": "list"}, anchor=TRACES),
    task("keep", "traces", SOME, tier="quick", anchor=TRACES),
    task("first_call", "text", 1_000, tier="thorough"),
]
