from algos import filters as filters
from algos import hashing as hashing
from algos import ids as ids
from algos import ratelimit as ratelimit

__version__: str
FAMILIES: tuple[str, ...]
