from algos._variant import Variant
from algos.sampling.reservoir import ReservoirSample as ReservoirSample

VARIANTS: tuple[Variant, ...]
