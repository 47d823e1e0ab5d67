"""Estimators of distinct counts from a row of registers, whatever the registers hold.

A register of HyperLogLog, UltraLogLog or ExaLogLog tells of events, each of which n keys leave out with a
chance of exp(-n / (m 2^u)). So the likelihood of n, with x = n / m, always has one form::

    ln L = -x alpha + sum over u of beta_u ln(1 - exp(-x / 2^u))

and it is greatest where ``alpha x = sum of beta_u g(x / 2^u)`` with ``g(y) = y / (e^y - 1)`` (Ertl: New
cardinality estimation algorithms for HyperLogLog sketches, 2017, section 4; ExaLogLog, 2025, section 3.2).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from algos._bits import U64
from algos._jit import inlined

LN2 = math.log(2.0)
FULL = 2.0**64
MOST_ITERATIONS = 200
"""Newton's steps come to an end by themselves, after ten at most where registers are of any stream."""


def _zeta(s: int, x: float) -> float:
    """Return the Hurwitz zeta function: the sum of 1 / (x + i)^s."""
    far = x + 1000.0
    head = sum((x + i) ** -s for i in range(1000))
    return head + far ** (1 - s) / (s - 1) + far**-s / 2.0 + s * far ** (-s - 1) / 12.0


def errors_of(base: float, history: int) -> tuple[float, float, float]:
    """Return the laws of registers that tell the highest level, and of so many below it which were reached.

    A hash reaches a level with a chance lower by the factor ``base`` than the one below. Of m registers, as m
    grows: the relative standard error of the likeliest count, times the root of m; its bias, relative and
    times m; and the error of the martingale estimate (Ertl: ExaLogLog, 2025, sections 2.2 to 3.3).
    """
    x = base**-history / (base - 1.0)
    second, third, log = _zeta(2, 1.0 + x), _zeta(3, 1.0 + x), math.log(base)
    bias = log * (1.0 + 2.0 * x) * third / second**2
    return math.sqrt(log / second), bias, math.sqrt(log * (1.0 + x) / 2.0)


@inlined
def likeliest(alpha: Any, beta: Any) -> Any:
    """Return the x at which ``alpha x = sum of beta_u g(x / 2^u)``: by Newton's method, from below.

    The difference of the two sides is concave and rises, so each step goes up and none beyond the root. The
    first is the root for the first two terms of g, 1 - y / 2, which are below it.
    """
    total = spread = 0.0
    for u in range(beta.size):
        total += beta[u]
        spread += math.ldexp(beta[u], -u)
    if total == 0.0:
        return 0.0
    if alpha == 0.0:
        return math.inf
    x = total / (alpha + 0.5 * spread)
    for _ in range(MOST_ITERATIONS):
        excess = slope = alpha * x
        for u in range(beta.size):
            if beta[u] != 0.0:
                y = math.ldexp(x, -u)
                g = y / math.expm1(y) if y < 700.0 else 0.0
                excess -= beta[u] * g
                slope += beta[u] * g * (y + g - 1.0)
        step = excess / slope
        if not step < -1e-15:
            break
        x -= x * step
    return x


@inlined
def sigma(x: Any) -> Any:
    """Return x + sum of x^(2^k) 2^(k-1), Ertl's function of the share of empty registers, below 1."""
    y, z, before = 1.0, x, -1.0
    while z != before:
        x *= x
        before = z
        z += x * y
        y += y
    return z


@inlined
def tau(x: Any) -> Any:
    """Return a third of 1 - x - sum of (1 - x^(2^-k))^2 2^-k, of the share of registers that are not full."""
    if x in (0.0, 1.0):
        return 0.0
    y, z, before = 1.0, 1.0 - x, -1.0
    while z != before:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1.0 - x) * (1.0 - x) * y
    return z / 3.0


@inlined
def linear(m: Any, empty: Any) -> Any:
    """Return Whang's linear count of ``m`` places of which some are empty."""
    return m * math.log(m / empty) if empty > 0.0 else math.inf


@inlined
def keys_per_change(gone: Any) -> Any:
    """Return 1 / the chance that a new key changes the state, of which that much of 2^64 is gone.

    All of 2^64 is as well 0, but then nothing changes any more.
    """
    return FULL / float(U64(0) - gone) if gone != U64(0) else 1.0


def linear_error(m: float, estimates: Any) -> Any:
    """Return the relative standard error of linear counts of ``m`` places: inf of inf, 0 of 0."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        load = np.minimum(estimates / m, 700.0)
        errors = np.sqrt(np.maximum(np.expm1(load) - load, 0.0)) / (load * math.sqrt(m))
    return np.where(np.isinf(estimates), np.inf, np.where(estimates == 0.0, 0.0, errors))


@inlined
def raw_2007(counts: Any, p: Any) -> Any:
    """Return the estimate of Flajolet and others of how often each rank is there, without corrections."""
    m, total = math.ldexp(1.0, p), 0.0
    for rank in range(66 - p):
        total += math.ldexp(float(counts[rank]), -rank)
    factor = 0.673 if p == 4 else 0.697 if p == 5 else 0.709 if p == 6 else 0.7213 / (1.0 + 1.079 / m)
    return factor * m * m / total


def around(estimates: Any, errors: Any) -> tuple[Any, Any]:
    """Return the counts that are below and above their estimates by a relative error.

    An error relative to what is counted, so that the upper one is inf from an error of 1 on; of an error of
    inf nothing is known.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.where(np.isinf(errors), 0.0, estimates / (1.0 + errors))
        high = np.where(errors < 1.0, estimates / np.maximum(1.0 - errors, 0.0), np.inf)
    return low, np.where(estimates == 0.0, 0.0, high)
