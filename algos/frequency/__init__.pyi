from algos._variant import Variant
from algos.frequency.blocked_count_min import BlockedCountMinSketch as BlockedCountMinSketch
from algos.frequency.conservative import ConservativeCountMinSketch as ConservativeCountMinSketch
from algos.frequency.count_min import CountMinSketch as CountMinSketch
from algos.frequency.count_sketch import CountSketch as CountSketch
from algos.frequency.cuckoo_heavy_keeper import CuckooHeavyKeeper as CuckooHeavyKeeper
from algos.frequency.lfu import LfuCounters as LfuCounters
from algos.frequency.misra_gries import MisraGries as MisraGries
from algos.frequency.morris import MorrisCounters as MorrisCounters
from algos.frequency.space_saving import SpaceSaving as SpaceSaving

VARIANTS: tuple[Variant, ...]
