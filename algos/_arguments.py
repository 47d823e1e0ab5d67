"""What every class asks of its arguments."""

from __future__ import annotations

from typing import Any

import numpy as np


def integer(name: str, value: Any) -> int:
    """Return an argument that must be an int, NumPy's included; a bool is none."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    return int(value)


def whole_numbers(name: str, value: Any, n: int, most: int) -> Any:
    """Return ints in 0..``most``: one for all, or ``n``."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise TypeError(f"{name} must be an int or an array of {n} ints, not {type(value).__name__}")
    if array.ndim == 1 and len(array) != n:
        raise ValueError(f"{name} has {len(array)} items for {n} keys")
    wide = array.astype(np.int64 if array.dtype.kind == "i" else np.uint64, "C", copy=False)
    words = np.atleast_1d(wide.view(np.uint64))
    if words.size and words.max() > most:  # as a word, what is negative is more than anything
        wrong = array.reshape(-1)[int(np.argmax(words > most))]
        raise ValueError(f"{name} has {wrong}, outside 0..{most}")
    return words
