"""Similarity of sets: signatures whose agreement estimates it, and an index of those alike."""

from algos._variant import Variant, face

VARIANTS: tuple[Variant, ...] = ()

__all__, __getattr__ = face(__name__, (v.target for v in VARIANTS))
