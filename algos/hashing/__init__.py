"""Hash functions for batches: one ``hash64`` over NumPy, Arrow, pandas, polars and Python keys.

Each algorithm is a file of its own and equals its reference implementation to the bit.
"""

from algos._variant import Variant, face

VARIANTS = (
    Variant(
        name="splitmix64",
        target="algos.hashing.splitmix64:SPLITMIX64",
        paper="Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014",
        properties=frozenset({"exact"}),
    ),
    Variant(
        name="xxh64",
        target="algos.hashing.xxh64:XXH64",
        paper="Collet: xxHash, 2014",
        standard="xxHash specification, XXH64; Apache Parquet Bloom filter hash",
        topics=("2.4",),
        properties=frozenset({"exact", "standard"}),
    ),
    Variant(
        name="xxh3",
        target="algos.hashing.xxh3:XXH3",
        paper="Collet: XXH3, 2019",
        standard="xxHash specification, XXH3 64 bits, default secret",
        topics=("2.4",),
        properties=frozenset({"exact", "standard"}),
    ),
    Variant(
        name="murmur3_32",
        target="algos.hashing.murmur3_32:MURMUR3_32",
        paper="Appleby: MurmurHash3, 2011",
        standard="MurmurHash3_x86_32; Apache Iceberg bucket transform",
        properties=frozenset({"exact", "standard"}),
    ),
    Variant(
        name="murmur3_128",
        target="algos.hashing.murmur3_128:MURMUR3_128",
        paper="Appleby: MurmurHash3, 2011",
        standard="MurmurHash3_x64_128; Apache Cassandra tokens use its first half",
        topics=("2.4",),
        properties=frozenset({"exact", "standard"}),
    ),
    Variant(
        name="murmur64a",
        target="algos.hashing.murmur64a:MURMUR64A",
        paper="Appleby: MurmurHash2, 2008",
        standard="MurmurHash64A; Redis HyperLogLog",
        properties=frozenset({"exact", "standard"}),
    ),
    Variant(
        name="rapidhash",
        target="algos.hashing.rapidhash:RAPIDHASH",
        paper="De Carli: rapidhash V3, 2025",
        properties=frozenset({"exact"}),
    ),
    Variant(
        name="siphash24",
        target="algos.hashing.siphash:SIPHASH24",
        paper="Aumasson, Bernstein: SipHash: a fast short-input PRF, INDOCRYPT 2012",
        standard="SipHash-2-4",
        properties=frozenset({"exact", "keyed", "standard"}),
    ),
    Variant(
        name="siphash13",
        target="algos.hashing.siphash:SIPHASH13",
        paper="Aumasson, Bernstein: SipHash: a fast short-input PRF, INDOCRYPT 2012",
        standard="SipHash-1-3; hash tables of CPython and Rust",
        properties=frozenset({"exact", "keyed", "standard"}),
    ),
    Variant(
        name="crc32c",
        target="algos.hashing.crc32:CRC32C",
        paper="Castagnoli, Braeuer, Herrmann: Optimization of cyclic redundancy-check codes, 1993",
        standard="RFC 3720, appendix B.4",
        properties=frozenset({"exact", "standard"}),
    ),
)

__all__, __getattr__ = face(
    __name__,
    [
        *("algos.hashing.batch:hash64", "algos.hashing.batch:hash128", "algos.hashing.crc32:crc32c"),
        *(v.target for v in VARIANTS),
    ],
)
