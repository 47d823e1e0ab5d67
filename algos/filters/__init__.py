"""Membership filters: is this key in the set? ``False`` is certain, ``True`` errs at a chosen rate."""

from algos._variant import Variant, face

VARIANTS = (
    Variant(
        name="BloomFilter",
        target="algos.filters.bloom:BloomFilter",
        paper="Bloom: Space/time trade-offs in hash coding with allowable errors, CACM 1970",
        topics=("7.20", "16.5", "18.9", "21.3", "33.7"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="SplitBlockBloomFilter",
        target="algos.filters.splitblock:SplitBlockBloomFilter",
        paper="Putze, Sanders, Singler: Cache-, hash- and space-efficient Bloom filters, 2007",
        standard="Apache Parquet format, BloomFilter.md",
        topics=("7.20", "16.5", "18.9", "21.3", "33.7"),
        properties=frozenset({"mergeable", "standard"}),
    ),
    Variant(
        name="SplitBlock512Filter",
        target="algos.filters.splitblock512:SplitBlock512Filter",
        paper="Putze, Sanders, Singler: Cache-, hash- and space-efficient Bloom filters, 2007",
        topics=("7.20", "16.5", "18.9", "21.3", "33.7"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="BlockedBloomFilter",
        target="algos.filters.blocked_bloom:BlockedBloomFilter",
        paper="Putze, Sanders, Singler: Cache-, hash- and space-efficient Bloom filters, 2007",
        topics=("7.20", "16.5", "18.9", "21.3", "33.7"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="RegisterBlockedBloomFilter",
        target="algos.filters.register_blocked:RegisterBlockedBloomFilter",
        paper="Lang, Neumann, Kemper, Boncz: Performance-optimal filtering, VLDB 2019",
        topics=("7.20", "16.5", "18.9", "21.3", "33.7"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="CountingBloomFilter",
        target="algos.filters.counting:CountingBloomFilter",
        paper="Fan, Cao, Almeida, Broder: Summary cache, IEEE/ACM ToN 2000",
        topics=("7.20", "16.5", "18.9", "21.3", "33.7"),
        properties=frozenset({"mergeable", "removable"}),
    ),
    Variant(
        name="ScalableBloomFilter",
        target="algos.filters.scalable:ScalableBloomFilter",
        paper="Almeida, Baquero, Preguiça, Hutchison: Scalable Bloom filters, 2007",
        topics=("7.20", "16.5", "18.9", "21.3", "33.7"),
    ),
    Variant(
        name="CuckooFilter",
        target="algos.filters.cuckoo:CuckooFilter",
        paper="Fan, Andersen, Kaminsky, Mitzenmacher: Cuckoo filter, CoNEXT 2014",
        topics=("16.5", "18.9", "33.7"),
        properties=frozenset({"mergeable", "removable"}),
    ),
    Variant(
        name="QuotientFilter",
        target="algos.filters.quotient:QuotientFilter",
        paper="Pandey, Bender, Johnson, Patro: A general-purpose counting filter, SIGMOD 2017",
        topics=("16.5", "18.9", "33.7"),
        properties=frozenset({"mergeable", "removable"}),
    ),
    Variant(
        name="XorFilter",
        target="algos.filters.xor:XorFilter",
        paper="Graf, Lemire: Xor filters: faster and smaller than Bloom and cuckoo filters, JEA 25, 2020",
        topics=("7.20", "33.7"),
        properties=frozenset({"static"}),
    ),
    Variant(
        name="BinaryFuseFilter",
        target="algos.filters.binary_fuse:BinaryFuseFilter",
        paper="Graf, Lemire: Binary fuse filters: fast and smaller than xor filters, JEA 27, 2022",
        topics=("7.20", "33.7"),
        properties=frozenset({"static"}),
    ),
    Variant(
        name="RibbonFilter",
        target="algos.filters.ribbon:RibbonFilter",
        paper="Dillinger, Walzer: Ribbon filter: practically smaller than Bloom and xor, 2021",
        topics=("7.20", "33.7"),
        properties=frozenset({"static"}),
    ),
)

_FUNCTIONS = ("algos.filters.parquet:parquet_may_contain",)

__all__, __getattr__ = face(__name__, [*_FUNCTIONS, *(v.target for v in VARIANTS)])
