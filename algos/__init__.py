"""Hotpath: the algorithms on the hot path of distributed systems.

Each family is a package: ``from algos.filters import BloomFilter``. Importing ``algos`` loads
neither NumPy nor Numba; a variant's kernels load when its class is first asked for.
"""

from importlib import import_module

__version__ = "0.1.0"

FAMILIES = ("hashing", "filters", "cardinality", "frequency", "sampling", "similarity", "ids", "ratelimit")

__all__ = [
    "FAMILIES",
    "__version__",
    "cardinality",
    "filters",
    "frequency",
    "hashing",
    "ids",
    "ratelimit",
    "sampling",
    "similarity",
]


def __getattr__(name: str) -> object:
    if name in FAMILIES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its families are {FAMILIES}")


def __dir__() -> list[str]:
    return __all__
