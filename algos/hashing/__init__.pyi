from algos._variant import Variant
from algos.hashing.batch import hash64 as hash64
from algos.hashing.batch import hash128 as hash128
from algos.hashing.crc32 import CRC32C as CRC32C
from algos.hashing.crc32 import crc32c as crc32c
from algos.hashing.murmur3_32 import MURMUR3_32 as MURMUR3_32
from algos.hashing.murmur3_128 import MURMUR3_128 as MURMUR3_128
from algos.hashing.murmur64a import MURMUR64A as MURMUR64A
from algos.hashing.rapidhash import RAPIDHASH as RAPIDHASH
from algos.hashing.siphash import SIPHASH13 as SIPHASH13
from algos.hashing.siphash import SIPHASH24 as SIPHASH24
from algos.hashing.splitmix64 import SPLITMIX64 as SPLITMIX64
from algos.hashing.xxh3 import XXH3 as XXH3
from algos.hashing.xxh64 import XXH64 as XXH64

VARIANTS: tuple[Variant, ...]
