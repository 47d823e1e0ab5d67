"""How wrong a limiter is, by how much is asked of it: a simulation, held against the log of all requests.

Of each of some hundred clients requests come at random (Poisson), as many on average as the limit times the
load. The truth is ``SlidingLog``: at most the limit in any window of the period. What the limiter allows and
the log would not have allowed is over-admission, what it denies and the log would not is a wrong denial:
shares of all requests. A bucket is another rule and not a mistake: it allows a burst and its rate besides.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.ratelimit import ConcurrencyLimiter, SlidingLog
from bench.schema import Quality

if TYPE_CHECKING:
    from bench.peers.ratelimit import Ours

LOADS = (0.5, 0.9, 1.0, 1.1, 2.0)
LIMIT, PERIOD, CLIENTS, PERIODS = 100, 60, 100, 20
SEED, START_NS = 7, 10**18


@cache
def requests(load: float) -> tuple[Any, Any]:
    """Return the keys and times of requests at a load."""
    rng = np.random.default_rng(SEED)
    n = rng.poisson(load * LIMIT * CLIENTS * PERIODS)
    times = np.sort(rng.integers(0, PERIODS * PERIOD * 10**9, n))
    return rng.integers(0, CLIENTS, n), times + START_NS


@cache
def truth(load: float) -> Any:
    """Return what the log allows."""
    return SlidingLog(LIMIT, PERIOD, capacity=CLIENTS).allow_many(*requests(load)).allowed


@cache
def errors(entry: Ours, load: float) -> tuple[float, float]:
    """Return the shares of requests wrongly allowed, and wrongly denied."""
    keys, times = requests(load)
    found = entry.limiter(LIMIT, LIMIT, PERIOD, CLIENTS).allow_many(keys, times).allowed
    right = truth(load)
    return float(np.mean(found & ~right)), float(np.mean(~found & right))


def measure(entry: Ours, state: Any) -> list[Quality]:
    """Weigh a key; simulate what is wrong at each load, but for who counts no requests in a time."""
    found = [Quality("bytes_per_key", state.limiter.nbytes / state.limiter.capacity)]
    if entry.cls is not ConcurrencyLimiter:
        for load in LOADS:
            over, under = errors(entry, load)
            found += [Quality(f"over_admission_{load:g}_rate", over), Quality(f"denial_{load:g}_rate", under)]
    return found
