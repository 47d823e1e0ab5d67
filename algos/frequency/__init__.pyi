from algos._variant import Variant
from algos.frequency.count_min import CountMinSketch as CountMinSketch

VARIANTS: tuple[Variant, ...]
