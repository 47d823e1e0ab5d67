from algos._variant import Variant
from algos.similarity.minhash import MinHash as MinHash

VARIANTS: tuple[Variant, ...]
