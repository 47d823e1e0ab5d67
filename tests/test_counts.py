"""Sketches of counter arrays: their naive twins, their laws, and what may be told and stored of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import random_keys, rng, scaled
from hypothesis import given
from hypothesis import strategies as st

from algos.frequency import CountMinSketch
from algos.hashing import hash64

M64 = 2**64 - 1
STEP = 0xD1342543DE82EF95
FULL = 2**32 - 1


class NaiveCountMin:
    """Rows of counters as the documentation has them, in Python's ints."""

    def __init__(self, width: int, depth: int) -> None:
        self.width = width
        self.rows = [[0] * width for _ in range(depth)]

    def places(self, h: int) -> list[int]:
        return [((h * STEP**r & M64) * self.width) >> 64 for r in range(len(self.rows))]

    def add(self, h: int, weight: int) -> None:
        for row, at in zip(self.rows, self.places(h), strict=True):
            row[at] = min(FULL, row[at] + weight)

    def estimate(self, h: int) -> int:
        return min(row[at] for row, at in zip(self.rows, self.places(h), strict=True))


hashes_and_weights = st.lists(
    st.tuples(
        st.one_of(st.integers(0, M64), st.sampled_from([0, 1, 2**63, M64])),
        st.one_of(st.integers(0, 9), st.sampled_from([0, FULL - 1, FULL, 2**40])),
    ),
    max_size=200,
)


def columns(items: list[tuple[int, int]]) -> tuple[Any, Any]:
    return np.array([h for h, _ in items], np.uint64), np.array([w for _, w in items], np.uint64)


@given(hashes_and_weights, st.integers(1, 50), st.integers(1, 9))
def test_counters_are_the_naive_ones(items: list[tuple[int, int]], width: int, depth: int) -> None:
    """Any hashes and weights make the documented counters and estimates, in any number of rows."""
    naive, sketch = NaiveCountMin(width, depth), CountMinSketch(width, depth)
    for h, w in items:
        naive.add(h, w)
    hashes, weights = columns(items)
    sketch.add_hashes(hashes, weights)
    assert sketch._counters.reshape(depth, width).tolist() == naive.rows
    assert sketch.estimate_hashes(hashes).tolist() == [naive.estimate(h) for h, _ in items]
    assert sketch.total == sum(w for _, w in items)


def test_keys_are_hashed_by_the_house() -> None:
    """Keys, ready hashes and single keys make the same counters."""
    keys = random_keys(1, scaled(20_000, 300))
    one, two, three = (CountMinSketch(97, 4, seed=5) for _ in range(3))
    one.add_many(keys)
    two.add_hashes(hash64(keys, seed=5))
    for key in keys.tolist():
        three.add(key)
    assert one == two == three
    assert one.estimate_many(keys[:50]).tolist() == [one.estimate(k) for k in keys[:50].tolist()]


def test_sized_by_the_error() -> None:
    """Width and depth are those of the paper, and of DataSketches' suggestions."""
    sketch = CountMinSketch.from_error(0.01, 0.01)
    assert (sketch.width, sketch.depth) == (272, 5)
    assert rng(1) is not None
