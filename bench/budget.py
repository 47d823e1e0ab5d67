"""How a family's seconds are shared out, over its slots and over the tasks of a slot.

What a task costs before its first round (data, setups, the gate) is nobody's choice, and so not bounded. All
tasks of a slot have equally long for their rounds: what is left when the costs that earlier slots have shown
are taken off, and at least as much as it takes to measure something.
"""

from __future__ import annotations

import json
from functools import cache
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.plan import Plan

WORKER_START_SECONDS = 2.0
LEAST_SECONDS = 0.5  # for the rounds of a task in a slot


class Cost(NamedTuple):
    """The seconds of a task in a slot, and those of them before its first round."""

    seconds: float
    fixed: float


class Budget:
    """What a plan's families may take and have taken, by the files of the run."""

    def __init__(self, plan: Plan, work: Path) -> None:
        self.plan, self.work = plan, work

    def spent(self, family: str) -> float:
        """Return the seconds a family has had so far, in workers and in first calls."""
        workers = (self.work / "workers").glob(f"*.{family}.*.json")
        calls = [t["id"] for t in self.plan.tasks if (t["family"], t["op"]) == (family, "first_call")]
        return sum(_read(path).seconds for path in workers) + sum(
            cost.seconds for task in calls for cost in self.costs(task)
        )

    def seconds(self, slot: int, family: str, tasks: Sequence[str], due: int) -> float:
        """Return the seconds for these of the ``due`` tasks of a slot, of all slots to come that fit."""
        effort, left = self.plan.effort, self.plan.seconds(family) - self.spent(family)
        slots = effort.slots - slot
        if slots <= 0:
            slots = min(effort.most_slots - slot, max(1, int(left / self.usual(tasks))))
        to_come = len(tasks) + (slots - 1) * due
        return max(left * len(tasks) / to_come - WORKER_START_SECONDS, 0.0)

    def rounds(self, tasks: Sequence[str], seconds: float) -> float:
        """Return how long each of these tasks has for its rounds, if all of them have ``seconds``.

        What nobody knows the cost of yet is taken to cost as much as its rounds.
        """
        known = [min(cost.fixed for cost in costs) for costs in map(self.costs, tasks) if costs]
        parts = 2 * len(tasks) - len(known)
        spare = (seconds - sum(known)) / parts
        return min(max(spare, LEAST_SECONDS), self.plan.effort.task_seconds)

    def affords(self, family: str, tasks: Sequence[str]) -> bool:
        """Whether one more slot of these tasks, like those before, fits into what a family has left."""
        return self.spent(family) + self.usual(tasks) <= self.plan.seconds(family)

    def usual(self, tasks: Sequence[str]) -> float:
        """Return what a slot of these tasks has taken, going by what they have taken so far."""
        return WORKER_START_SECONDS + sum(fmean(cost.seconds for cost in self.costs(task)) for task in tasks)

    def costs(self, task: str) -> list[Cost]:
        """Return what a task has cost in each slot so far."""
        paths = [folder / f"{task}.json" for folder in (self.work / "slots").glob("*")]
        return [_read(path) for path in paths if path.exists()]


@cache
def _read(path: Path) -> Cost:
    """Read a file of a slot or a worker, which once written stays as it is."""
    told = json.loads(path.read_text("utf-8"))
    return Cost(told["seconds"], told.get("fixed_seconds", 0.0))
