from algos._variant import Variant
from algos.hashing.batch import hash64 as hash64
from algos.hashing.murmur3_32 import MURMUR3_32 as MURMUR3_32
from algos.hashing.murmur3_128 import MURMUR3_128 as MURMUR3_128
from algos.hashing.splitmix64 import SPLITMIX64 as SPLITMIX64
from algos.hashing.xxh3 import XXH3 as XXH3
from algos.hashing.xxh64 import XXH64 as XXH64

VARIANTS: tuple[Variant, ...]
