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
    Variant(
        name="WeightedReservoirSample",
        target="algos.sampling.weighted:WeightedReservoirSample",
        paper="Efraimidis, Spirakis: Weighted random sampling with a reservoir, IPL 97, 2006",
        topics=("26.3", "26.16"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="PrioritySample",
        target="algos.sampling.priority:PrioritySample",
        paper="Duffield, Lund, Thorup: Priority sampling for estimation of arbitrary subset sums, JACM 2007",
        topics=("26.3", "26.16"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="ConsistentTraceSampler",
        target="algos.sampling.trace:ConsistentTraceSampler",
        paper="OpenTelemetry: Consistent probability sampling, OTEP 235",
        standard="OpenTelemetry specification, tracestate-probability-sampling.md",
        topics=("26.3", "26.16"),
        properties=frozenset({"standard"}),
    ),
)

__all__, __getattr__ = face(__name__, (v.target for v in VARIANTS))
