"""Distinct counts: how many different keys, in a few kilobytes, with a known error."""

from algos._variant import Variant, face

VARIANTS: tuple[Variant, ...] = ()

__all__, __getattr__ = face(__name__, (v.target for v in VARIANTS))
