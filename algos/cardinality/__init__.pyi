from algos._variant import Variant
from algos.cardinality.hyperloglog import HyperLogLog as HyperLogLog

VARIANTS: tuple[Variant, ...]
