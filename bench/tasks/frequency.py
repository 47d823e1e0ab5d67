"""How often keys came: sketches of counters at equal memory, and those that name what came most; and exactly.

``n`` is the number of counters of 32 bits that fit into the memory of a sketch: 64 KiB, 1 MiB and 16 MiB. A
stream of a million keys, by Zipf's law or each once, goes on and on. Heavy hitters are found from nothing to
the 100 keys named, and there ``n`` is the length of the stream; where slots are counted, their number.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench.schema import Task
from bench.tasks._frequency import contestants

if TYPE_CHECKING:
    from bench.schema import Tier

__all__ = ["TASKS", "contestants"]

KIB_64, MIB_1, MIB_16 = 2**14, 2**18, 2**22
MILLION = 1_000_000

task = partial(Task, "frequency", anchor="CountMinSketch")


def counted(op: str, workload: str, n: int, tier: Tier = "default", spread: str = "zipf") -> Task:
    """Declare a stream whose keys come by a law: Zipf's, or each once."""
    return task(op, workload, n, {"spread": spread}, tier)


def top(workload: str, n: int, tier: Tier = "default") -> Task:
    """Declare a stream by Zipf's law of which the most frequent keys are to be named."""
    return task("top", workload, n, tier=tier, anchor="MisraGries")


TASKS: list[Task] = [
    counted("add", "ids", KIB_64),
    counted("add", "ids", MIB_1, "quick"),
    counted("add", "ids", MIB_16, "quick"),
    counted("add", "ids", KIB_64, "thorough", "once"),
    counted("add", "ids", MIB_1, "thorough", "once"),
    counted("add", "ids", MIB_16, spread="once"),
    counted("add", "varied20", MIB_1),
    counted("add", "text12", MIB_16, "thorough"),
    counted("estimate", "ids", KIB_64),
    counted("estimate", "ids", MIB_1, "quick"),
    counted("estimate", "ids", MIB_16),
    counted("estimate", "varied20", MIB_1, "thorough"),
    counted("add_one", "ids", MIB_1, "quick"),
    counted("add_one", "varied20", MIB_1),
    counted("estimate_one", "ids", MIB_1),
    task("merge", "ids", MIB_1),
    task("serialise", "ids", MIB_1),
    top("ids", MILLION // 10),
    top("ids", MILLION, "quick"),
    top("ids", 10 * MILLION),
    top("varied20", MILLION, "quick"),
    top("varied20", 10 * MILLION, "thorough"),
    task("touch", "slots", MILLION, tier="quick", anchor="LfuCounters"),
    task("touch_one", "slots", MILLION, anchor="LfuCounters"),
    task("first_call", "ids", 1_000, tier="thorough"),
]
