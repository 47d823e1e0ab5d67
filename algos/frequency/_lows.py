"""Which line of a table of counts has the least: a tree of minima, eight to a node.

::

    tree   | where each level begins, 16 words | least of each line | of each 8 lines | of each 64 | ... |

A count of 0 is none. Counts are kept less 1, so that none is the highest of all; what is behind the last line
is that, too. A count that grows changes something only if it was the least of its line, and then as far up
as it was the least of a node.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U3, U8, U64, aligned_zeros, trailing_zeros
from algos._jit import inlined, kernel
from algos._lanes import SLOTS, equal, lowest_after

U0, U7 = U64(0), U64(7)
NONE = U64(0xFFFF_FFFF_FFFF_FFFF)
_HEADER = 16


def tree_for(lines: int) -> Any:
    """Return the tree of so many lines, none of which has counts."""
    starts, at = [], _HEADER
    while True:
        nodes = -(-lines // SLOTS)
        starts.append(at)
        at += SLOTS * nodes
        if nodes == 1:
            break
        lines = nodes
    tree = aligned_zeros(at, np.uint64)
    tree[:_HEADER] = 0
    tree[0] = len(starts)
    tree[1 : 1 + len(starts)] = starts
    tree[_HEADER:] = NONE
    return tree


@inlined
def update(tree: Any, counts: Any, line: Any) -> None:
    """Note that counts of a line have changed."""
    value = lowest_after(counts, line << U3, U1)
    for level in range(U1, tree[0] + U1):
        at = tree[level] + line
        if tree[at] == value:
            return
        tree[at] = value
        value = lowest_after(tree, tree[level] + (line >> U3 << U3), U0)
        line >>= U3


@inlined
def least_line(tree: Any, h: Any) -> Any:
    """Return a line that has the least of all counts; there must be one.

    Of several it is one by chance, by the bits of a hash: were it the first, lines would empty one after the
    other while those not yet reached filled up, and searches there took a hundred times as long.
    """
    line, level = U0, tree[0]
    value = lowest_after(tree, tree[level], U0)
    while level != U0:
        base, turn = tree[level] + (line << U3), (h >> (U3 * level)) & U7
        found = equal(tree, base, value)
        line = (line << U3) + ((trailing_zeros((found | found << U8) >> turn) + turn) & U7)
        level -= U1
    return line


@kernel
def plant(tree: Any, counts: Any) -> None:
    """Note all counts of a table."""
    for line in range(U64(counts.size) >> U3):
        update(tree, counts, line)
