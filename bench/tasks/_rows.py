"""Rows that every family has: the empty call, a package that is not there, a program of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.schema import Contestant, Slice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.schema import Role


def nothing(_state: Any, _payload: Any) -> None:
    """Do nothing: what a call costs by itself."""


def null(slices: Callable[[int], Sequence[Slice]]) -> Contestant:
    """Race the empty call."""
    return Contestant("null", "null", nothing, slices)


def absent(name: str, role: Role, package: str, error: ImportError) -> Contestant:
    """Return the row of a package that is not installed, which says so."""
    missing = f"{error}; pip install {package}"
    return Contestant(name, role, nothing, lambda _: [], package=package, missing=missing)


def program(name: str, source: str) -> Contestant:
    """Hand over the source of a program that times itself."""
    part = Slice(1, source)
    return Contestant(name, "ours", nothing, lambda _: [part])
