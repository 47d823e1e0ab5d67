from algos import filters as filters
from algos import hashing as hashing

__version__: str
FAMILIES: tuple[str, ...]
