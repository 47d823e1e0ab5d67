"""What a sample is worth: whether everyone has the chance that is promised, and how well sums come out.

Chances: of 2,000 items 50 are sampled a thousand times, the stream in two parts. How often each was there
has the scatter of drawing without replacement: chi-square, of as many degrees of freedom, 1 to each.

Sums: of 10,000 items with lognormal weights 100 are sampled 400 times, and the weight of half of all items
is estimated, by what each sampler has for it: the error is the root of the mean square, relative. Theory for
a uniform sample is its variance, for others the bound of sqrt(sum of all / (sum wanted (k - 1))) (Alon,
Duffield, Lund, Thorup, 2005), which whoever estimates sums should keep.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from bench.peers.sampling import Ours, Streaming
from bench.schema import Quality
from bench.workloads.items import FORMS, SIGMA

if TYPE_CHECKING:
    from bench.peers.sampling import Law, Sampler

SIGMAS = 5.0
"""Of the gate."""
HALF_WIDTH = 4.0
"""Of intervals, in sigmas: hundreds of rows stay quiet."""
N, K, TRIALS = 2_000, 50, 1_000
SUM_N, SUM_K, SUM_TRIALS = 10_000, 100, 400


def inclusion(law: Law, weights: Any, n: int, k: int) -> Any:
    """Return each item's chance to be in a sample: by the law, for large n exactly.

    One after the other is 1 - exp(-w t), above a threshold min(1, w t), with t such that ``k`` are expected.
    In proportion, the chance is w t as far as the heaviest may have 1.
    """
    if weights is None:
        return np.full(n, k / n)
    if law == "proportional":
        return weights * min(k / weights.sum(), 1 / weights.max())
    chance = _successive if law == "successive" else _threshold
    least = 0.1 / weights.max()
    most = least
    while chance(weights, most).sum() < k:
        most *= 4
    return chance(weights, brentq(lambda t: chance(weights, t).sum() - k, 0, most, rtol=1e-9))


def _successive(weights: Any, t: float) -> Any:
    return -np.expm1(-weights * t)


def _threshold(weights: Any, t: float) -> Any:
    return np.minimum(1.0, weights * t)


def _spread(value: float, trials: int) -> tuple[float, float]:
    """Return the interval of a variance that was measured so many times."""
    low, high = (chi2.ppf(norm.cdf([HALF_WIDTH, -HALF_WIDTH]), trials) / trials).tolist()
    return value / low, value / high


def _taken(entry: Sampler, trials: int, n: int, k: int) -> Any:
    """Sample a stream again and again; return how often each item was there."""
    counts, convert = np.zeros(n), FORMS[entry.form]
    parts = [convert(np.arange(lo, lo + n // 2)) for lo in (0, n // 2)]
    for _ in range(trials):
        counts[entry.listed(entry.sample(parts, None, k))] += 1
    return counts


def _chi_square(entry: Sampler) -> Quality:
    """Measure how far counts are from equal chances."""
    p, counts = K / N, _taken(entry, TRIALS, N, K)
    expected = TRIALS * p
    value = float(((counts - expected) ** 2).sum() / (expected * (1 - p) * N / (N - 1)) / (N - 1))
    low, high = _spread(value, N - 1)
    ok = bool(low <= 1 <= high) if isinstance(entry, Ours) else None
    return Quality("inclusion_chi_square", value, theory=1.0, lo=low, hi=high, ok=ok)


@cache
def _weighted() -> tuple[Any, Any]:
    """Return weights, and whether each is wanted."""
    rng = np.random.default_rng(7)
    return rng.lognormal(0.0, SIGMA, SUM_N), rng.random(SUM_N) < 0.5


def _sums(entry: Sampler, by_weight: bool) -> Any:
    """Estimate the sum again and again: by its own means, or as a uniform sample tells it."""
    weights, wanted = _weighted()
    convert = FORMS[entry.form]
    items, own = convert(np.arange(SUM_N)), convert(weights)
    for _ in range(SUM_TRIALS):
        if not by_weight:
            sample = np.array(entry.listed(entry.sample([items], None, SUM_K)))
            yield SUM_N / SUM_K * float((weights * wanted)[sample].sum())
        elif isinstance(entry, Streaming):
            state = entry.make(SUM_K)
            entry.feed(state, items, own)
            yield entry.sum_of(state, lambda items: wanted[np.asarray(items)])


def _sum_error(entry: Sampler, by_weight: bool) -> list[Quality]:
    """Measure the error of sums, of a sampler that tells any."""
    weights, wanted = _weighted()
    truth, found = float(weights[wanted].sum()), list(_sums(entry, by_weight))
    if None in found or not found:
        return []
    squares = float(np.mean((np.array(found) / truth - 1) ** 2))
    if by_weight:
        law = weights.sum() / truth / (SUM_K - 1)
    else:
        law = SUM_N**2 * (1 - SUM_K / SUM_N) / SUM_K * np.var(weights * wanted, ddof=1) / truth**2
    low, high = _spread(squares, SUM_TRIALS)
    ok = None
    if isinstance(entry, Ours):
        ok = bool(low <= law) if by_weight else bool(low <= law <= high)
    value, theory, low, high = (float(np.sqrt(x)) for x in (squares, law, low, high))
    return [Quality("subset_sum_error", value, theory=theory, lo=low, hi=high, ok=ok)]


def measure(entry: Sampler, by_weight: bool, _state: Any) -> list[Quality]:
    """Measure what a sampler's samples are worth; of ours, say what an item takes."""
    found = [] if by_weight else [_chi_square(entry)]
    found += _sum_error(entry, by_weight)
    if isinstance(entry, Ours):
        state = entry.make(K)
        entry.feed(state, np.arange(N), np.ones(N) if by_weight else None)
        found.append(Quality("bytes_per_item", state.nbytes / K))
    return found
