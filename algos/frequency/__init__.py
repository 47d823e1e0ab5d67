"""Frequencies: how often a key came, and which came most, in memory that does not grow."""

from algos._variant import Variant, face

VARIANTS: tuple[Variant, ...] = ()

__all__, __getattr__ = face(__name__, (v.target for v in VARIANTS))
