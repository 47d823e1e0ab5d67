"""What frequencies have beside speed: how far estimates are off, which keys are named, and memory.

The error of a sketch of counters is the mean over all keys that came of what an estimate is off by, relative
to the key's count: keys that came once count as much as the most frequent one, and in little memory their
errors are many times their counts. Its law is a bound that few keys may be above.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.peers.frequency import TOP, OurHeavy, OurSketch
from bench.schema import Quality
from bench.tasks._judge import wilson

if TYPE_CHECKING:
    from bench.peers.frequency import Heavy, Sketch
    from bench.schema import Task
    from bench.workloads.streams import Stream

SIGMAS = 4.0
SLOTS, HITS = 1_000, 1_000

_known: dict[tuple[str, str], list[Quality]] = {}


def of_sketch(entry: Sketch, task: Task, stream: Stream, _state: Any) -> list[Quality]:
    """Count the stream in a new sketch and ask for every key that came; of one stream and size, once."""
    key = entry.name, f"{task.workload} {task.n} {task.params}"
    if key not in _known:
        state = entry.make(task.n)
        entry.add(state, stream.form(entry.form))
        _known[key] = _of_counts(entry, task, stream, state)
    return _known[key]


def _of_counts(entry: Sketch, task: Task, stream: Stream, state: Any) -> list[Quality]:
    if entry.role == "exact":
        return [Quality("bytes", entry.nbytes(state))]
    asked = stream.once()
    truth = stream.counts[asked.index]
    off = np.abs(np.asarray(entry.estimate(state, asked.form(entry.form))) - truth)
    bound, share = entry.bound(state, task.n, len(stream))
    above = int(np.count_nonzero(off > bound))
    low, high = wilson(above, len(off))
    held = low <= share if isinstance(entry, OurSketch) else None
    return [
        Quality("bytes", entry.nbytes(state)),
        Quality("relative_error", float(np.mean(off / truth))),
        Quality("unbounded_rate", above / len(off), theory=share, lo=low, hi=high, ok=held),
    ]


def judged(stream: Stream, keys: Any, counts: Any, k: int) -> tuple[dict[int, Any], float, float]:
    """Return what was named, as numbers of keys with their counts, the recall and the precision.

    Keys that came as often as the last of the ``k`` are as right as it is.
    """
    least = np.partition(stream.counts, -k)[-k]
    heavy = np.flatnonzero(stream.counts >= max(least, 1))
    heavy_keys = stream.distinct.take(heavy)
    plain = heavy_keys.tolist() if stream.kind == "int" else heavy_keys.to_pylist()
    numbers = dict(zip(plain, heavy.tolist(), strict=True))
    listed = [_plain(key) for key in (keys.tolist() if hasattr(keys, "tolist") else list(keys))]
    said = [None] * len(listed) if counts is None else list(counts)
    named = {numbers[key]: count for key, count in zip(listed, said, strict=True) if key in numbers}
    right = min(len(named), k)
    return named, right / k, right / max(len(listed), 1)


def _plain(key: Any) -> Any:
    return key.decode() if isinstance(key, bytes) else key


def of_heavy(entry: Heavy, stream: Stream, _state: Any) -> list[Quality]:
    """Name the keys that came most, and compare with those that did."""
    if entry.role == "exact":
        return []
    keys, counts = entry.top(entry.prepare(stream), TOP)
    named, recall, precision = judged(stream, keys, counts, TOP)
    found = [Quality("recall", recall), Quality("precision", precision)]
    if counts is not None and named:
        off = [abs(float(count) / stream.counts[i] - 1) for i, count in named.items()]
        found.append(Quality("named_error", float(np.mean(off))))
    if isinstance(entry, OurHeavy):
        found.append(Quality("bytes", entry.nbytes(entry.filled(entry.prepare(stream)))))
    return found


def spread(state: Any, hits: int) -> float:
    """Return the relative standard error that the law of a counter of a byte states for so many hits."""
    if hasattr(state, "standard_error"):
        return float(state.standard_error)
    return math.sqrt(2 / 3 * math.sqrt(2 * state.log_factor) / math.sqrt(hits))


def of_slots(entry: Any, state: Any) -> list[Quality]:
    """Count ``HITS`` hits in each of many counters, and compare what they say with the law."""
    made = entry.make(SLOTS)
    made.add_slots(np.random.default_rng(0).permutation(SLOTS * HITS) % SLOTS)
    squares = (np.asarray(made.estimate_slots(np.arange(SLOTS)), np.float64) / HITS - 1) ** 2
    mean, half = float(squares.mean()), SIGMAS * float(squares.std()) / math.sqrt(SLOTS)
    value, law = math.sqrt(mean), spread(made, HITS)
    low, high = math.sqrt(max(mean - half, 0.0)), math.sqrt(mean + half)
    return [
        Quality("bytes", state.nbytes),
        Quality("counter_error", value, theory=law, lo=low, hi=high, ok=low <= law <= high),
    ]
