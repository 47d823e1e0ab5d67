"""Checks of a sketch's arguments: each returns what it was given, or says value, bound and remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from algos._arguments import integer

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_WIDTH = (1 << 32) - 1
MAX_DEPTH = 32


def check_width(width: Any) -> int:
    """Return the counters of a row, or say how many there can be."""
    width = integer("width", width)
    if not 1 <= width <= MAX_WIDTH:
        raise ValueError(f"width={width} is outside 1..2**32 - 1; from_error chooses one by the error")
    return width


def check_depth(depth: Any) -> int:
    """Return the number of rows, or say how many there can be."""
    depth = integer("depth", depth)
    if not 1 <= depth <= MAX_DEPTH:
        raise ValueError(f"depth={depth} is outside 1..{MAX_DEPTH}; 4 rows fail one key in 50, 7 one in 1000")
    return depth


def check_share(name: str, value: Any) -> float:
    """Return a number between 0 and 1, neither included."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating)):
        raise TypeError(f"{name} must be a float, not {type(value).__name__}")
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name}={value} is outside 0 < {name} < 1; 0.01 is one in a hundred")
    return float(value)


def least_bound(law: Callable[[int], float], most: int, confidence: Any) -> int:
    """Return the least number up to ``most`` that, by a falling law, is exceeded by the rest of keys only."""
    failing = 1.0 - check_share("confidence", confidence)
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if law(middle) <= failing else (middle + 1, high)
    return low
