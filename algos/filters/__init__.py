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
        name="BinaryFuseFilter",
        target="algos.filters.binary_fuse:BinaryFuseFilter",
        paper="Graf, Lemire: Binary fuse filters: fast and smaller than xor filters, JEA 27, 2022",
        topics=("7.20", "33.7"),
        properties=frozenset({"static"}),
    ),
    Variant(
        name="CuckooFilter",
        target="algos.filters.cuckoo:CuckooFilter",
        paper="Fan, Andersen, Kaminsky, Mitzenmacher: Cuckoo filter, CoNEXT 2014",
        topics=("16.5", "18.9", "33.7"),
        properties=frozenset({"mergeable", "removable"}),
    ),
)

__all__, __getattr__ = face(__name__, [v.target for v in VARIANTS])
