from algos._variant import Variant
from algos.sampling.priority import PrioritySample as PrioritySample
from algos.sampling.reservoir import ReservoirSample as ReservoirSample
from algos.sampling.trace import ConsistentTraceSampler as ConsistentTraceSampler
from algos.sampling.weighted import WeightedReservoirSample as WeightedReservoirSample

VARIANTS: tuple[Variant, ...]
