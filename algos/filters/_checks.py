"""Checks of a filter's arguments: each returns what it was given, or says value, bound and remedy."""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._arguments import integer

DEFAULT_FPR = 0.01
MAX_CAPACITY = 1 << 40


def check_capacity(capacity: Any) -> int:
    """Return the number of keys to plan for, or say which numbers are possible."""
    capacity = integer("capacity", capacity)
    if not 1 <= capacity <= MAX_CAPACITY:
        raise ValueError(f"capacity={capacity} is outside 1..2**40; plan for at least one key")
    return capacity


def check_count(count: Any) -> int:
    """Return a number of keys, or say which numbers are possible."""
    count = integer("count", count)
    if count < 0:
        raise ValueError(f"count={count} is below 0; it is a number of keys")
    return count


def check_fpr(fpr: Any) -> float:
    """Return the false-positive rate, or say which are possible."""
    if isinstance(fpr, bool) or not isinstance(fpr, (int, float, np.floating)):
        raise TypeError(f"fpr must be a float, not {type(fpr).__name__}")
    if not 0.0 < fpr < 1.0:
        raise ValueError(f"fpr={fpr} is outside 0 < fpr < 1; 0.01 is one false positive in a hundred")
    return float(fpr)


def check_bits_per_key(bits_per_key: Any) -> float:
    """Return the bits per key, or say which are possible."""
    if isinstance(bits_per_key, bool) or not isinstance(bits_per_key, (int, float, np.number)):
        raise TypeError(f"bits_per_key must be a number, not {type(bits_per_key).__name__}")
    if not 1.0 <= bits_per_key <= 256.0:
        raise ValueError(f"bits_per_key={bits_per_key} is outside 1..256; 10 gives about 1 % false positives")
    return float(bits_per_key)


def only_one(**given: Any) -> None:
    """Refuse two ways of asking for a size at once."""
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ValueError(f"{' and '.join(named)} are both given; each decides the size, so give one")
