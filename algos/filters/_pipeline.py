"""How lookups overlap cache misses with arithmetic: a batch goes in steps of some dozen keys.

In each step a kernel first hashes its keys in a vector loop; then one loop fetches what those keys will read
and looks up the keys of the step before, whose lines have come meanwhile. Nothing depends on a branch.
"""

from __future__ import annotations

from typing import Any

from algos._bits import U64
from algos._jit import inlined


@inlined
def overlap(fetch: Any, test: Any, state: Any, new: Any, old: Any, coming: Any, out: Any) -> None:
    """Fetch for ``coming`` keys, from ``new`` on, while those from ``old`` on are tested into ``out``.

    ``fetch(state, k)`` and ``test(state, k)`` are inlined; ``state`` is a tuple of one-dimensional arrays and
    numbers. One loop for both is up to a quarter faster than one after the other.
    """
    new, old, coming, going = U64(new), U64(old), U64(coming), U64(out.size)  # no index can be negative
    both = min(coming, going)
    for j in range(both):
        fetch(state, new + j)
        out[j] = test(state, old + j)
    for j in range(both, coming):
        fetch(state, new + j)
    for j in range(both, going):
        out[j] = test(state, old + j)
