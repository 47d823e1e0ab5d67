"""The birthday bound: how likely random ids are to be equal.

Of n ids with b random bits the chance that any two are equal is 1 - prod (1 - i 2^-b), for i below n; and 1 -
exp(-n (n - 1) / 2^(b + 1)) to within a relative n / 2^b. A UUID of version 4 has 122 random bits, a ULID 80 a
millisecond, and a UUID of version 7 as many as its counter leaves it, in each millisecond again.
"""

from __future__ import annotations

import math
from typing import Any


def collision_probability(n: Any, bits: Any) -> float:
    """Return the chance that any two of ``n`` ids with ``bits`` random bits each are equal.

    >>> round(collision_probability(2.71e18, 122), 2)
    0.5
    """
    for name, value in (("n", n), ("bits", bits)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise ValueError(f"{name}={value!r} is not a number from 0 on")
    if n < 2:
        return 0.0
    log_pairs = math.log2(n) + math.log2(n - 1) - 1 - bits
    if math.log2(n) > bits:
        return 1.0
    return -math.expm1(-(2.0**log_pairs)) if log_pairs < 1000 else 1.0
