"""Every variant of every family in one registry, read by the tests, the bench and the report."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from algos import FAMILIES

if TYPE_CHECKING:
    from algos._variant import Variant


def variants(family: str | None = None) -> tuple[Variant, ...]:
    """Return the variants of one family, or of all, in the order the families list them.

    Importing the catalogue loads no kernel, no NumPy and no Numba.

    >>> [v.name for v in variants("filters")][:2]
    ['BloomFilter', 'SplitBlockBloomFilter']
    """
    names = FAMILIES if family is None else (family,)
    return tuple(v for name in names for v in import_module(f"algos.{name}").VARIANTS)
