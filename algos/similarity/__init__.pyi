from algos._variant import Variant
from algos.similarity.lsh import LshIndex as LshIndex
from algos.similarity.minhash import MinHash as MinHash
from algos.similarity.one_permutation import OnePermutationMinHash as OnePermutationMinHash
from algos.similarity.simhash import SimHash as SimHash

VARIANTS: tuple[Variant, ...]
