"""Samplers: every cut of a stream gives the same sample, and each item its known chance."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from helpers import rng, scaled

from algos.sampling import ReservoirSample


def chi_square_bound(freedom: int) -> float:
    """Return what a chi-square of so many degrees of freedom exceeds with a chance below 1e-6.

    Laurent and Massart 2000: P(X > d + 2 sqrt(d t) + 2 t) <= e^-t.
    """
    t = math.log(1e6)
    return freedom + 2 * math.sqrt(freedom * t) + 2 * t


def chi_square(found: Any, expected: Any) -> float:
    """Return the chi-square of counts."""
    return float((((found - expected) ** 2) / expected).sum())


@pytest.mark.statistical
@pytest.mark.parametrize(("n", "k"), [(10, 3), (20, 1), (12, 11), (40, 7)])
def test_each_item_and_each_pair_has_its_chance(n: int, k: int) -> None:
    """Over many seeds, items come k / n of the time, and pairs k (k - 1) / n (n - 1)."""
    runs = scaled(20_000, 100)
    pairs, items = np.zeros((n, n)), np.arange(n)
    for seed in range(runs):
        s = ReservoirSample(k, seed=seed)
        s.add_many(items)
        there = np.zeros(n)
        there[s.sample()] = 1
        pairs += np.outer(there, there)
    singles = pairs.diagonal()
    # counts of one run are negatively correlated: their sum of squares has n - 1 degrees, shrunk by 1 - k / n
    assert chi_square(singles, runs * k / n) * (1 - 1 / n) / (1 - k / n) < chi_square_bound(n - 1)
    if k > 1:
        upper = pairs[np.triu_indices(n, 1)]
        chance = k * (k - 1) / (n * (n - 1))
        z = (upper - runs * chance) / math.sqrt(runs * chance * (1 - chance))
        assert np.abs(z).max() < 5.5


def test_a_cut_changes_nothing() -> None:
    """At once, in parts, one by one, as an array or from a generator: one sample."""
    items = np.arange(scaled(5000, 300))
    whole = ReservoirSample(20, seed=9)
    whole.add_many(items)
    cut = ReservoirSample(20, seed=9)
    for part in np.split(items, sorted(rng(1).integers(0, len(items), 17))):
        cut.add_many(part)
    assert cut == whole
    single, streamed = ReservoirSample(20, seed=9), ReservoirSample(20, seed=9)
    for item in items.tolist():
        single.add(item)
    streamed.add_many(item for item in items.tolist())
    assert single == streamed
    assert single.sample() == whole.sample().tolist()
    assert pickle.loads(pickle.dumps(whole)) == whole
