"""Samples of a stream: a few of many, each with a known chance."""

from algos._variant import Variant, face

VARIANTS: tuple[Variant, ...] = (
    Variant(
        name="ReservoirSample",
        target="algos.sampling.reservoir:ReservoirSample",
        paper="Li: Reservoir-sampling algorithms of time complexity O(n(1 + log(N/n))), ACM TOMS 1994",
        topics=("26.3", "26.18"),
        properties=frozenset({"mergeable"}),
    ),
)

__all__, __getattr__ = face(__name__, (v.target for v in VARIANTS))
