"""What a variant says of itself, in literals; imports nothing but the standard library."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PROPERTIES = frozenset({"exact", "keyed", "static", "mergeable", "removable", "ordered", "standard"})


class Variant(NamedTuple):
    """One algorithm of a family: its name, where its class lives, and where it comes from.

    A ``NamedTuple`` and not a dataclass, which would cost every ``import algos`` 11 ms.
    """

    name: str
    target: str  # "algos.filters.bloom:BloomFilter"
    paper: str
    standard: str = ""
    topics: tuple[str, ...] = ()  # component.topic numbers of the map, "7.20"
    properties: frozenset[str] = frozenset()

    @property
    def family(self) -> str:
        """The package the variant lives in."""
        return self.target.split(".")[1]

    def load(self) -> Any:
        """Import the class or function; until then nothing of it is loaded."""
        module, _, name = self.target.partition(":")
        return getattr(import_module(module), name)


def face(package: str, targets: Iterable[str]) -> tuple[list[str], Callable[[str], Any]]:
    """Make a family's ``__all__`` and ``__getattr__`` from its targets: a name loads when asked for."""
    where = {target.partition(":")[2]: target for target in targets}

    def load(name: str) -> Any:
        if name in where:
            return getattr(import_module(where[name].partition(":")[0]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {sorted(where)}")

    return sorted(where), load
