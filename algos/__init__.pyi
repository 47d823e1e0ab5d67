from algos import cardinality as cardinality
from algos import filters as filters
from algos import frequency as frequency
from algos import hashing as hashing
from algos import ids as ids
from algos import ratelimit as ratelimit
from algos import sampling as sampling
from algos import similarity as similarity

__version__: str
FAMILIES: tuple[str, ...]
