"""Samples of a stream: a few of many, each with a known chance."""

from algos._variant import Variant, face

VARIANTS: tuple[Variant, ...] = ()

__all__, __getattr__ = face(__name__, (v.target for v in VARIANTS))
