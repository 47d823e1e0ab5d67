"""Distinct counts: how many different keys, in a few kilobytes, with a known error."""

from algos._variant import Variant, face

VARIANTS: tuple[Variant, ...] = (
    Variant(
        name="LinearCounter",
        target="algos.cardinality.linear:LinearCounter",
        paper="Whang, Vander-Zanden, Taylor: A linear-time probabilistic counting algorithm, TODS 1990",
        topics=("21.6", "26.10"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="HyperLogLog",
        target="algos.cardinality.hyperloglog:HyperLogLog",
        paper="Flajolet, Fusy, Gandouet, Meunier: HyperLogLog, AofA 2007; estimators of Ertl, 2017",
        topics=("7.11", "12.3", "13.7", "21.6", "26.10"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="HyperLogLogPlusPlus",
        target="algos.cardinality.hyperloglogplusplus:HyperLogLogPlusPlus",
        paper="Heule, Nunkesser, Hall: HyperLogLog in practice, EDBT 2013",
        topics=("7.11", "12.3", "13.7", "21.6", "26.10"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="UltraLogLog",
        target="algos.cardinality.ultraloglog:UltraLogLog",
        paper="Ertl: UltraLogLog, a practical and more space-efficient alternative to HyperLogLog, VLDB 2024",
        topics=("7.11", "12.3", "13.7", "21.6", "26.10"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="ExaLogLog",
        target="algos.cardinality.exaloglog:ExaLogLog",
        paper="Ertl: ExaLogLog, space-efficient and practical approximate distinct counting, EDBT 2025",
        topics=("7.11", "12.3", "13.7", "21.6", "26.10"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="ThetaSketch",
        target="algos.cardinality.theta:ThetaSketch",
        paper="Dasgupta et al.: A framework for estimating stream expression cardinalities, ICDT 2016",
        standard="Apache DataSketches, theta sketch, compact serial version 3",
        topics=("12.3", "13.7", "21.6", "26.10"),
        properties=frozenset({"mergeable", "standard"}),
    ),
    Variant(
        name="RedisHyperLogLog",
        target="algos.cardinality.redis_hyperloglog:RedisHyperLogLog",
        paper="Ertl: New cardinality estimation algorithms for HyperLogLog sketches, 2017",
        standard="Redis 7, PFADD, PFCOUNT and PFMERGE: the HYLL string",
        topics=("7.11", "12.3", "26.10"),
        properties=frozenset({"mergeable", "standard"}),
    ),
)

__all__, __getattr__ = face(__name__, (v.target for v in VARIANTS))
