"""Numbers as people read them: three significant digits and the unit that fits."""

from __future__ import annotations

import math

NONE = "\N{EN DASH}"
_TIMES = ((1e9, "s"), (1e6, "ms"), (1e3, "\N{MICRO SIGN}s"))
_COUNTS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_SIZES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def number(value: float | None, digits: int = 3) -> str:
    """Write ``value`` with so many significant digits: ``0.0123``, ``1.23``, ``12,300``.

    >>> number(12345.6), number(0.012345), number(9.999)
    ('12,346', '0.0123', '10.0')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    text = f"{value:.{digits - 1}e}"
    rounded, decimals = float(text), digits - 1 - int(text.partition("e")[2])
    return f"{rounded:.{digits - 1}g}" if decimals > 7 else f"{value:,.{max(0, decimals)}f}"


def trim(value: float) -> str:
    """Write a round number without the zeros that would claim precision: ``1``, ``0.5``, ``10,000``."""
    text = number(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def ratio(value: float | None) -> str:
    """Write a ratio: three significant digits, two below a tenth."""
    return number(value, 3 if value is None or value >= 0.0995 else 2)


def ns(value: float | None) -> str:
    """Write a time given in nanoseconds: ``1.23 ns``, ``45.6 µs`` from 10,000 ns on."""
    if value is None:
        return NONE
    if value < 1e4:
        return f"{number(value)} ns"
    scale, unit = next(pair for pair in _TIMES if value >= pair[0])
    return f"{number(value / scale)} {unit}"


def round_ns(value: float) -> str:
    """Write a round time given in nanoseconds, in the unit that fits: ``100 ns``, ``1 \N{MICRO SIGN}s``."""
    scale, unit = next((pair for pair in _TIMES if value >= pair[0]), (1.0, "ns"))
    return f"{trim(value / scale)} {unit}"


def cell_ns(value: float | None) -> str:
    """Write a time in nanoseconds for a narrow cell: the bare number, from 100,000 on with its unit."""
    return ns(value) if value and value >= 1e5 else number(value)


def size(value: float | None) -> str:
    """Write a size given in bytes: ``1.5 MiB``."""
    return NONE if value is None else _scaled(value, _SIZES, " B")


def count(value: float | None) -> str:
    """Write how many: ``200k``, ``1.5M``."""
    return NONE if value is None else _scaled(value, _COUNTS, "", gap="")


def percent(value: float | None, digits: int = 3) -> str:
    """Write a share as a percentage: ``0.984 %``."""
    return NONE if value is None else f"{number(100 * value, digits)} %"


def interval(lo: float | None, hi: float | None) -> str:
    """Write a ratio's interval, or nothing where there is none."""
    return "" if lo is None or hi is None else f"[{ratio(lo)}, {ratio(hi)}]"


def plural(n: int, noun: str) -> str:
    """Write a count with its noun: ``1 task``, ``30 tasks``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _scaled(value: float, units: tuple[tuple[float, str], ...], plain: str, gap: str = " ") -> str:
    scale, unit = next((pair for pair in units if value >= pair[0]), (1, ""))
    text = trim(value / scale)
    return f"{text}{gap}{unit}" if unit else f"{text}{plain}"
