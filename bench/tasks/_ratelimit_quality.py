"""How wrong a limiter is, by how much is asked of it: a simulation, held against the log of what it allowed.

Of each of a hundred clients requests come at random (Poisson), as many on average as the limit times the
load. The truth is that of ``SlidingLog``: in the period before a request there were so many that were
allowed. What is allowed although the limit was reached is over-admission, what is denied although it was not
is a wrong denial: shares of all requests. Of a bucket that is no mistake: its rule is another, a burst and
its rate besides.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.ratelimit import ConcurrencyLimiter, CountMinLimiter
from bench.peers.ratelimit import batch
from bench.schema import Quality

if TYPE_CHECKING:
    from bench.peers.ratelimit import Ours

LOADS = (0.5, 0.9, 1.0, 1.1, 2.0)
LIMIT, PERIOD, CLIENTS, PERIODS = 100, 60, 100, 20
PERIOD_NS, SEED, START_NS = PERIOD * 10**9, 7, 10**18


@cache
def requests(load: float) -> tuple[Any, Any]:
    """Return the keys and times of requests at a load."""
    rng = np.random.default_rng(SEED)
    n = rng.poisson(load * LIMIT * CLIENTS * PERIODS)
    return rng.integers(0, CLIENTS, n), START_NS + np.sort(rng.integers(0, PERIODS * PERIOD_NS, n))


def before(keys: Any, times: Any, allowed: Any) -> Any:
    """Count for each request those of its key that were allowed in the period before it."""
    count = np.empty(len(keys), np.int64)
    for key in range(CLIENTS):
        mine = np.flatnonzero(keys == key)
        passed = np.concatenate([[0], np.cumsum(allowed[mine])])  # before each, and after the last
        gone = np.searchsorted(times[mine], times[mine] - PERIOD_NS, "right")
        count[mine] = passed[:-1] - passed[gone]
    return count


@cache
def errors(entry: Ours, load: float) -> tuple[float, float]:
    """Return the shares of requests wrongly allowed, and wrongly denied."""
    keys, times = requests(load)
    limiter = entry.limiter(LIMIT, LIMIT, PERIOD, CLIENTS)
    allowed = limiter.allow_many(batch(limiter, keys), times).allowed
    room = before(keys, times, allowed) < LIMIT
    return float(np.mean(allowed & ~room)), float(np.mean(~allowed & room))


def measure(entry: Ours, state: Any) -> list[Quality]:
    """Weigh a key; simulate what is wrong at each load, but for who counts no requests in a time."""
    found = []
    if entry.cls is not CountMinLimiter:  # which keeps none
        found = [Quality("bytes_per_key", state.limiter.nbytes / state.limiter.capacity)]
    if entry.cls is not ConcurrencyLimiter:
        for load in LOADS:
            over, under = errors(entry, load)
            found += [Quality(f"over_admission_{load:g}_rate", over), Quality(f"denial_{load:g}_rate", under)]
    return found
