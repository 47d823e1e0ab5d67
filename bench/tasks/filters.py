"""Membership filters at 1 % false positives: every variant, packages, exact baselines, the machine.

Sizes are those at which a split-block filter is about 0.01, 0.25, 4, 16, 64 and 256 MiB, and ``SMALL``, at
which packages that run in the interpreter take part. ``TABLE`` is past L2 and small enough for every variant:
there they race over all shares of hits, over rates and over space. Tasks in which one call takes seconds are
left to the thorough run.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from bench.schema import Task
from bench.tasks._filters import contestants

if TYPE_CHECKING:
    from bench.schema import Tier

__all__ = ["TASKS", "contestants"]

SPLIT_BLOCK, FUSE = "SplitBlockBloomFilter", "BinaryFuseFilter"
TINY, SMALL, MILLION = 8_000, 20_000, 1_000_000
KIB_256, MIB_4, MIB_16, MIB_64, MIB_256 = 200_000, 3_200_000, 12_800_000, 51_200_000, 204_800_000
TABLE = 3_000_000
URLS = 250_000
WORDS, CITIES = 250_000, 25_000  # members; the rest of the names, and typos, are misses

task = partial(Task, "filters", anchor=SPLIT_BLOCK)


def contains(
    workload: str, n: int, tier: Tier = "default", *, hits: int = 50, style: str = "favourite", **plan: float
) -> Task:
    """Declare a batch lookup; ``style`` is the input: everyone's favourite, or the same for all."""
    params: dict[str, Any] = {"hits": hits, "input": style}
    return task("contains", workload, n, params | plan, tier)


TASKS: list[Task] = [
    # Lookups over the size of the state, from the innermost cache to memory
    contains("ids", TINY, "thorough"),
    contains("ids", SMALL),
    contains("ids", KIB_256, "quick"),
    contains("ids", MIB_4),
    contains("ids", MIB_16, "quick"),
    contains("ids", MIB_64),
    contains("ids", MIB_256, "thorough"),
    # ... over the share of hits
    contains("ids", KIB_256, hits=0),
    contains("ids", KIB_256, hits=100),
    *(contains("ids", TABLE, "thorough", hits=hits) for hits in (0, 25, 50, 75, 100)),
    # ... over the rate and the space that ours are planned for
    *(contains("ids", KIB_256, fpr=fpr) for fpr in (0.1, 0.001)),
    *(contains("ids", TABLE, "thorough", fpr=fpr) for fpr in (0.1, 0.001, 0.0001)),
    *(contains("ids", TABLE, "thorough", bits_per_key=bits) for bits in (10.0, 14.0, 20.0)),
    # ... over the kind of key
    contains("words", WORDS, "quick"),
    contains("words", WORDS, "thorough", hits=0),
    contains("words", WORDS, "thorough", hits=100),
    contains("cities", CITIES, "thorough"),
    contains("uuids", MILLION, "thorough"),
    contains("text12", MILLION, "quick"),
    contains("urls", URLS),
    contains("urls", 2 * MILLION, "thorough"),
    # ... and from one input for all: whoever wants another form converts inside the clock
    contains("ids", KIB_256, "quick", style="numpy"),
    contains("ids", MILLION, "thorough", style="numpy"),
    contains("ids", MILLION, "thorough", style="list"),
    contains("text12", MILLION, style="arrow"),
    contains("words", WORDS, style="arrow"),
    # One key a call
    task("contains_one", "ids", KIB_256, {"hits": 50}, "quick"),
    task("contains_one", "words", WORDS, {"hits": 50}, "thorough"),
    # Building
    task("build", "ids", SMALL),
    task("build", "ids", KIB_256),
    task("build", "ids", MILLION, tier="quick"),
    *(task("build", "ids", n, tier="thorough") for n in (TABLE, MIB_16, MIB_64, MIB_256)),
    task("build", "words", WORDS),
    task("build", "urls", MILLION, tier="thorough"),
    task("build_hashes", "ids", MILLION, tier="quick", anchor=FUSE),
    task("build_hashes", "ids", 10 * MILLION, tier="thorough", anchor=FUSE),
    # The rest of a filter's life
    task("merge", "ids", SMALL),
    task("merge", "ids", MILLION),
    task("serialise", "ids", SMALL),
    task("serialise", "ids", MILLION),
    task("first_call", "ids", 1_000),
]
