from algos._variant import Variant
from algos.filters.binary_fuse import BinaryFuseFilter as BinaryFuseFilter
from algos.filters.blocked_bloom import BlockedBloomFilter as BlockedBloomFilter
from algos.filters.bloom import BloomFilter as BloomFilter
from algos.filters.counting import CountingBloomFilter as CountingBloomFilter
from algos.filters.cuckoo import CuckooFilter as CuckooFilter
from algos.filters.parquet import parquet_may_contain as parquet_may_contain
from algos.filters.quotient import QuotientFilter as QuotientFilter
from algos.filters.register_blocked import RegisterBlockedBloomFilter as RegisterBlockedBloomFilter
from algos.filters.ribbon import RibbonFilter as RibbonFilter
from algos.filters.scalable import ScalableBloomFilter as ScalableBloomFilter
from algos.filters.splitblock import SplitBlockBloomFilter as SplitBlockBloomFilter
from algos.filters.splitblock512 import SplitBlock512Filter as SplitBlock512Filter
from algos.filters.xor import XorFilter as XorFilter

VARIANTS: tuple[Variant, ...]
