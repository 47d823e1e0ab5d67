from algos._variant import Variant

VARIANTS: tuple[Variant, ...]
