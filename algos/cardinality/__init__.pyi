from algos._variant import Variant
from algos.cardinality.exaloglog import ExaLogLog as ExaLogLog
from algos.cardinality.hyperloglog import HyperLogLog as HyperLogLog
from algos.cardinality.hyperloglogplusplus import HyperLogLogPlusPlus as HyperLogLogPlusPlus
from algos.cardinality.linear import LinearCounter as LinearCounter
from algos.cardinality.redis_hyperloglog import RedisHyperLogLog as RedisHyperLogLog
from algos.cardinality.theta import ThetaSketch as ThetaSketch
from algos.cardinality.ultraloglog import UltraLogLog as UltraLogLog

VARIANTS: tuple[Variant, ...]
