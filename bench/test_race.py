"""The race as a pytest-benchmark test: one test per task, all its contestants in the one table.

``pytest bench/test_race.py`` races the quick tasks in this one process, with the options of
pytest-benchmark; only how long is raced, and how often, is the race's own affair. Since one process
cannot judge, there are no verdicts. ``python -m bench`` runs the same test in its slots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import plan

if TYPE_CHECKING:
    from bench.conftest import Racer
    from bench.schema import Task

pytestmark = pytest.mark.filterwarnings("default")  # what a peer warns of is its own affair


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    orders = metafunc.config.getoption("--race-job")
    chosen = plan.find(plan.Job.read(orders).tasks) if orders else plan.select("quick")
    tasks = [task for task in chosen if task.op != "first_call"]
    metafunc.parametrize("task", tasks, ids=[task.id for task in tasks])


def test_race(task: Task, race: Racer) -> None:
    """Everyone gives the right answers to the data they are timed on, and is timed."""
    wrong = [f"{arm.name}: {arm.note}" for arm in race(task) if arm.status == "WRONG"]
    assert not wrong
