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
        name="BlockedCountMinSketch",
        target="algos.frequency.blocked_count_min:BlockedCountMinSketch",
        paper="Putze, Sanders, Singler: Cache-, hash- and space-efficient Bloom filters, 2007",
        topics=("4.10", "7.3", "29.10"),
        properties=frozenset({"mergeable"}),
    ),
)

__all__, __getattr__ = face(__name__, (v.target for v in VARIANTS))
