from algos._variant import Variant
from algos.ratelimit._limiter import Decision as Decision
from algos.ratelimit._limiter import Decisions as Decisions
from algos.ratelimit.concurrency import ConcurrencyLimiter as ConcurrencyLimiter
from algos.ratelimit.count_min import CountMinLimiter as CountMinLimiter
from algos.ratelimit.fixed_window import FixedWindow as FixedWindow
from algos.ratelimit.gcra import Gcra as Gcra
from algos.ratelimit.hierarchical import Hierarchical as Hierarchical
from algos.ratelimit.leaky_bucket import LeakyBucket as LeakyBucket
from algos.ratelimit.multi_tier import MultiTier as MultiTier
from algos.ratelimit.shared_fixed_window import SharedFixedWindow as SharedFixedWindow
from algos.ratelimit.shared_gcra import SharedGcra as SharedGcra
from algos.ratelimit.sliding_counter import SlidingCounter as SlidingCounter
from algos.ratelimit.sliding_log import SlidingLog as SlidingLog
from algos.ratelimit.token_bucket import TokenBucket as TokenBucket

VARIANTS: tuple[Variant, ...]
