from algos._variant import Variant
from algos.frequency.blocked_count_min import BlockedCountMinSketch as BlockedCountMinSketch
from algos.frequency.count_min import CountMinSketch as CountMinSketch

VARIANTS: tuple[Variant, ...]
