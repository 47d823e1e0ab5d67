"""Similarity of sets: signatures whose agreement estimates it, and an index of those alike."""

from algos._variant import Variant, face

VARIANTS: tuple[Variant, ...] = (
    Variant(
        name="MinHash",
        target="algos.similarity.minhash:MinHash",
        paper="Broder: On the resemblance and containment of documents, 1997",
        topics=("34.12",),
        properties=frozenset({"mergeable"}),
    ),
)

__all__, __getattr__ = face(__name__, (v.target for v in VARIANTS))
