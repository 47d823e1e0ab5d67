"""What every class asks of its arguments."""

from __future__ import annotations

from typing import Any


def integer(name: str, value: Any) -> int:
    """Return an argument that must be an int, NumPy's included; a bool is none."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    return int(value)
