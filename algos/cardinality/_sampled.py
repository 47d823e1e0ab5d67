"""Bounds on what a sample tells of a set: how many keys it has, and what share of them is in another.

Each key is in the sample with the chance theta, so ``k`` of ``n`` keys are with a binomial chance. Bounds
are those of Clopper and Pearson: the ``n`` (or the share) at which ``k`` or more, or ``k`` or fewer, come
with just the chance that the confidence leaves to one side. They are exact where a sum of some hundred terms
tells them, else by the normal approximation with its correction for continuity, and with as many standard
deviations as are right for that ``k`` in the limit of small theta. DataSketches bounds its theta sketches
alike, for 1, 2 and 3 standard deviations.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np

NORMAL_FROM = 121
"""From that many on a plain normal approximation serves."""
EXACT_BELOW = 360.0
"""Where fewer keys than that are estimated, terms are summed."""
ALL = 1.0 - 1e-5
"""A sample of more than that has all keys, or all but one."""


def check_confidence(confidence: Any) -> float:
    """Return the confidence, or say which there can be."""
    if isinstance(confidence, bool) or not isinstance(confidence, (int, float, np.floating)):
        raise TypeError(f"confidence must be a float, not {type(confidence).__name__}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence={confidence} is outside 0 < confidence < 1; 0.95 is usual")
    return float(confidence)


def deviations(confidence: float) -> float:
    """Return how many standard deviations to either side have that confidence."""
    return NormalDist().inv_cdf(0.5 + confidence / 2.0)


def count_bounds(k: int, theta: float, confidence: float) -> tuple[float, float]:
    """Bound the keys of a set of which ``k`` are sampled, each with the chance ``theta``."""
    if theta >= 1.0:
        return float(k), float(k)
    tail, s = (1.0 - confidence) / 2.0, deviations(confidence)
    if k >= NORMAL_FROM:
        low, high = _normal(k, theta, -s) - 0.5, _normal(k, theta, s) + 0.5
    elif k == 0:
        low, high = 0.0, float(math.ceil(math.log(tail) / math.log1p(-theta)))
    elif theta > ALL:
        low, high = float(k), k + 1.0
    elif k <= EXACT_BELOW * theta:
        low, high = _fewest(k, theta, tail) - 1.0, _fewest(k + 1, theta, 1.0 - tail)
    else:
        least = k - 0.5 - _rate(k, tail)
        most = _rate(k + 1, 1.0 - tail) - k - 0.5
        low = _normal(k, theta, -least / math.sqrt(_rate(k, tail))) - 0.5
        high = _normal(k, theta, most / math.sqrt(_rate(k + 1, 1.0 - tail))) + 0.5
    if k == 1:
        low = float(math.floor(math.log1p(-tail) / math.log1p(-theta)))
    return max(float(k), min(low, k / theta)), max(high, k / theta)


def _normal(k: int, theta: float, s: float) -> float:
    """Return the ``n`` whose ``k`` sampled keys are ``s`` standard deviations from what is expected."""
    middle = (k + math.copysign(0.5, s)) / theta
    b = s * math.sqrt((1.0 - theta) / theta)
    return middle + 0.5 * b * b + 0.5 * b * math.sqrt(b * b + 4.0 * middle)


def _fewest(k: int, theta: float, chance: float) -> float:
    """Return the fewest keys of which ``k`` or more are sampled with more than a chance, term by term."""
    n, term = k, theta**k
    total = term
    while total <= chance:
        term *= (1.0 - theta) * n / (n + 1 - k)
        n += 1
        if total + term == total:
            break
        total += term
    return float(n)


def _rate(k: int, chance: float) -> float:
    """Return the mean of a Poisson number that is ``k`` or more with a chance."""
    low, high = 0.0, 16.0 + 4.0 * k - 2.0 * math.log(1.0 - chance)
    while high - low > 1e-13 * high:
        mean = (low + high) / 2.0
        term = total = math.exp(-mean)
        for i in range(1, k):
            term *= mean / i
            total += term
        low, high = (mean, high) if 1.0 - total < chance else (low, mean)
    return high


def share_bounds(k: int, n: int, theta: float, confidence: float) -> tuple[float, float]:
    """Bound the share of a set's keys that are of a kind, as ``k`` of the ``n`` sampled are.

    The sample, of distinct keys, is a part of the set: the larger the part, the narrower are the bounds.
    """
    if theta >= 1.0 or n == 0:
        return (k / n, k / n) if n else (0.0, 1.0 if theta < 1.0 else 0.0)
    s = deviations(confidence) * math.sqrt(1.0 - theta)
    tail = NormalDist().cdf(-s)
    return _least_share(k, n, tail, s), 1.0 - _least_share(n - k, n, tail, s)


def _least_share(k: int, n: int, tail: float, s: float) -> float:
    """Return the share with which ``k`` or more of ``n`` have the chance ``tail``, ``s`` deviations out.

    The inverse of the incomplete beta function, by formula 26.5.22 of Abramowitz and Stegun.
    """
    if k == 0:
        return 0.0
    if k == 1:
        return -math.expm1(math.log1p(-tail) / n)
    if k == n:
        return float(tail ** (1.0 / n))
    a, b = n - k + 1.0, float(k)
    scale = (s * s - 3.0) / 6.0
    h = 2.0 / (1.0 / (2.0 * a - 1.0) + 1.0 / (2.0 * b - 1.0))
    w = -s * math.sqrt(h + scale) / h
    w -= (1.0 / (2.0 * b - 1.0) - 1.0 / (2.0 * a - 1.0)) * (scale + 5.0 / 6.0 - 2.0 / (3.0 * h))
    return 1.0 - a / (a + b * math.exp(2.0 * w))
