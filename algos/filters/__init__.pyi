from algos._variant import Variant
from algos.filters.binary_fuse import BinaryFuseFilter as BinaryFuseFilter
from algos.filters.bloom import BloomFilter as BloomFilter
from algos.filters.cuckoo import CuckooFilter as CuckooFilter
from algos.filters.splitblock import SplitBlockBloomFilter as SplitBlockBloomFilter

VARIANTS: tuple[Variant, ...]
