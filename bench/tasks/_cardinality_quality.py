"""How far counts are off, over many streams, against what theory expects of so much memory.

The error is the root mean square of relative errors, of ``KEYS`` distinct keys: more than ten for each
register, where the laws hold. Who is slow has fewer streams, and by the chi-square distribution a wider
interval. What a byte is worth is told by the product of bits and relative variance, which a sketch has at any
size.
"""

from __future__ import annotations

import math
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.peers.cardinality import Kept, Ours
from bench.schema import Quality
from bench.workloads.streams import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.peers.cardinality import Entry

KEYS, SPREAD = 200_000, 0x1E37_79B9_7F4B
MOST, LEAST, SECONDS = 200, 6, 0.25
"""Streams, at most and at least, and the seconds after which there are no more."""
SIGMAS = 4.0
BOUNDED = {"ThetaSketch"}
"""Those whose theory is the most that they err, and not what they do."""

_measured: dict[str, tuple[float, int]] = {}


def measure(entry: Entry, keys: int, _state: Any) -> list[Quality]:
    """Measure the error, and weigh a counter of so many keys, in memory and stored."""
    if entry.role == "exact" or not entry.sampled:
        return []
    error = _error(entry)
    if not isinstance(entry, Kept):
        return [Quality("relative_error", error[0], entry.error, error[1], error[2])]
    size: Any = entry
    state = _filled(entry, keys)
    found = [Quality("bytes", size.nbytes(state)), Quality("serialised_bytes", len(size.dump(state)))]
    state = _filled(entry, KEYS)
    bits, law = 8 * size.nbytes(state), entry.law(state) if isinstance(entry, Ours) else entry.error
    laws: dict[str, Callable[[float], float]] = {
        "relative_error": float,
        "variance_times_memory": lambda e: bits * e * e,
    }
    for metric, worth in laws.items():
        value, low, high = map(worth, error)
        held = low <= worth(law) and (worth(law) <= high or entry.name in BOUNDED)
        found.append(Quality(metric, value, worth(law), low, high, held if isinstance(entry, Ours) else None))
    return found


def _filled(entry: Kept, keys: int) -> Any:
    state = entry.make(keys)
    entry.add(state, stream(keys, 0).form(entry.form))
    return state


def stream(keys: int, seed: int) -> Stream:
    """Return distinct ints, others with every seed."""
    every = np.arange(keys)
    return Stream((every + seed * keys) * SPREAD, every)


def _error(entry: Entry) -> tuple[float, float, float]:
    """Return the error and its interval; the same counter is measured once in a process."""
    if entry.name not in _measured:
        squares: list[float] = []
        start = perf_counter()
        while len(squares) < LEAST or (len(squares) < MOST and perf_counter() - start < SECONDS):
            counted = entry.count(entry.prepare(stream(KEYS, 1 + len(squares))))
            squares.append((counted / KEYS - 1) ** 2)
        _measured[entry.name] = math.sqrt(math.fsum(squares) / len(squares)), len(squares)
    error, streams = _measured[entry.name]
    return error, error / math.sqrt(_share(streams, SIGMAS)), error / math.sqrt(_share(streams, -SIGMAS))


def _share(streams: int, sigmas: float) -> float:
    """Return a quantile of chi-square over its degrees of freedom (Wilson and Hilferty 1931)."""
    spread = 2 / (9 * streams)
    return max(1 - spread + sigmas * math.sqrt(spread), 0.05) ** 3
