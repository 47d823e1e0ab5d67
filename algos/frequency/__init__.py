"""Frequencies: how often a key came, and which came most, in memory that does not grow."""

from algos._variant import Variant, face

VARIANTS: tuple[Variant, ...] = (
    Variant(
        name="CountMinSketch",
        target="algos.frequency.count_min:CountMinSketch",
        paper="Cormode, Muthukrishnan: An improved data stream summary: the count-min sketch, 2005",
        topics=("4.10", "7.3", "29.10"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="ConservativeCountMinSketch",
        target="algos.frequency.conservative:ConservativeCountMinSketch",
        paper="Estan, Varghese: New directions in traffic measurement and accounting, SIGCOMM 2002",
        topics=("4.10", "7.3", "29.10"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="BlockedCountMinSketch",
        target="algos.frequency.blocked_count_min:BlockedCountMinSketch",
        paper="Putze, Sanders, Singler: Cache-, hash- and space-efficient Bloom filters, 2007",
        topics=("4.10", "7.3", "29.10"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="CountSketch",
        target="algos.frequency.count_sketch:CountSketch",
        paper="Charikar, Chen, Farach-Colton: Finding frequent items in data streams, ICALP 2002",
        topics=("4.10", "7.3", "29.10"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="MisraGries",
        target="algos.frequency.misra_gries:MisraGries",
        paper="Misra, Gries: Finding repeated elements, Science of Computer Programming 2, 1982",
        topics=("4.10", "7.3", "29.7", "29.10"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="SpaceSaving",
        target="algos.frequency.space_saving:SpaceSaving",
        paper="Metwally, Agrawal, El Abbadi: Efficient computation of frequent and top-k elements, ICDT 2005",
        topics=("4.10", "7.3", "29.7", "29.10"),
        properties=frozenset({"mergeable"}),
    ),
    Variant(
        name="CuckooHeavyKeeper",
        target="algos.frequency.cuckoo_heavy_keeper:CuckooHeavyKeeper",
        paper="Ngo, Papatriantafilou: Cuckoo Heavy Keeper, PVLDB 18, 2025",
        topics=("4.10", "7.3", "29.7", "29.10"),
    ),
    Variant(
        name="MorrisCounters",
        target="algos.frequency.morris:MorrisCounters",
        paper="Morris: Counting large numbers of events in small registers, CACM 1978",
        topics=("7.3", "7.7"),
    ),
    Variant(
        name="LfuCounters",
        target="algos.frequency.lfu:LfuCounters",
        paper="Morris: Counting large numbers of events in small registers, CACM 1978",
        standard="Redis 7.0, maxmemory-policy lfu (redis.conf, evict.c)",
        topics=("7.3", "7.7"),
        properties=frozenset({"standard"}),
    ),
)

__all__, __getattr__ = face(__name__, (v.target for v in VARIANTS))
