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
    Variant(
        name="OnePermutationMinHash",
        target="algos.similarity.one_permutation:OnePermutationMinHash",
        paper="Shrivastava: Optimal densification for fast and accurate minwise hashing, ICML 2017",
        topics=("34.12",),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="SimHash",
        target="algos.similarity.simhash:SimHash",
        paper="Charikar: Similarity estimation techniques from rounding algorithms, STOC 2002",
        topics=("34.12",),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="LshIndex",
        target="algos.similarity.lsh:LshIndex",
        paper="Indyk, Motwani: Approximate nearest neighbors, STOC 1998",
        topics=("34.12",),
        properties=frozenset({"mergeable", "removable"}),
    ),
)

__all__, __getattr__ = face(__name__, (v.target for v in VARIANTS))
