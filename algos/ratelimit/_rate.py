"""Rates as they are written, 7 a day or 3 a second, kept as exact fractions of a nanosecond."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from numbers import Rational
from typing import TYPE_CHECKING, Any

from algos._arguments import integer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from algos._state import Parameters

SECOND = 10**9
MAX_TIME = 1 << 62
MAX_DENOMINATOR = 1 << 32
MAX_BURST = 1 << 50


def exact(name: str, value: Any) -> Fraction:
    """Return a positive rational: an int, a ``Fraction``, or a float by the decimal that it is written as."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Rational)):
        raise TypeError(f"{name} must be an int, a Fraction or a float, not {type(value).__name__}")
    try:
        made = Fraction(repr(value)) if isinstance(value, float) else Fraction(value)
    except ValueError:
        made = Fraction(0)
    if made <= 0:
        raise ValueError(f"{name}={value} is not above 0; a limiter that allows nothing needs no limiter")
    return made


def nanoseconds(name: str, period: Any) -> Fraction:
    """Return a period, in seconds or a ``timedelta``, as nanoseconds."""
    if isinstance(period, timedelta):
        period = Fraction(period // timedelta(microseconds=1), 10**6)
    return exact(name, period) * SECOND


def interval(rate: Any, period: Any) -> Fraction:
    """Return the nanoseconds that one request pays for, T = period / rate."""
    each = nanoseconds("period", period) / exact("rate", rate)
    if each.denominator > MAX_DENOMINATOR:
        raise ValueError(
            f"rate={rate} per period={period} s is one in {each} ns, finer than 2**-32 ns; round it"
        )
    return each


def check_burst(burst: Any, each: Fraction) -> int:
    """Return the requests that may come at once."""
    burst = integer("burst", burst)
    if not 1 <= burst <= MAX_BURST:
        raise ValueError(f"burst={burst} is outside 1..2**50")
    if burst * each.numerator >= MAX_TIME or burst * each >= MAX_TIME:
        raise ValueError(f"burst={burst} at one request in {float(each):.3g} ns is paid off after 146 years")
    return burst


def whole_period(period: Any) -> int:
    """Return a period of whole nanoseconds."""
    ns = nanoseconds("period", period)
    if ns.denominator != 1 or ns >= MAX_TIME:
        raise ValueError(f"period={period} s is not a whole number of nanoseconds below 2**62; round it")
    return int(ns)


def check_limit(limit: Any, most: int) -> int:
    """Return how many requests a window has."""
    limit = integer("limit", limit)
    if not 1 <= limit <= most:
        raise ValueError(f"limit={limit} is outside 1..{most}")
    return limit


def as_parameters(rates: Sequence[tuple[Fraction, int]]) -> dict[str, int]:
    """Return what makes rates again, each the nanoseconds that one request pays for and a burst."""
    made = {"rates": len(rates)}
    for i, (t, burst) in enumerate(rates):
        made |= {f"numerator{i}": t.numerator, f"denominator{i}": t.denominator, f"burst{i}": burst}
    return made


def from_parameters(parameters: Parameters, most: int) -> list[tuple[int, int, Fraction]]:
    """Return these rates, at most so many, as one request in a period."""
    rates = []
    for i in range(parameters.integer("rates", 1, most)):
        a, b = (parameters.integer(f"{name}{i}", 1, MAX_TIME) for name in ("numerator", "denominator"))
        rates.append((1, parameters.integer(f"burst{i}", 1, MAX_BURST), Fraction(a, b * SECOND)))
    return rates


def count_bits(limit: int, period_ns: int) -> int:
    """Return how many bits of a word count requests; in the others there is room for any window's number."""
    bits = limit.bit_length()
    if bits + ((MAX_TIME - 1) // period_ns).bit_length() > 64:
        raise ValueError(f"limit={limit} in {period_ns} ns does not fit: take a longer period, or Gcra")
    return bits
