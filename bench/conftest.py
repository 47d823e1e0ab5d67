"""The ``race`` fixture: a race whose samples become ordinary pytest-benchmark results.

Of pytest-benchmark it uses three private names, ``config._benchmarksession``, ``BenchmarkFixture._mode`` and
``BenchmarkFixture._make_stats``, which a test of this project pins.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture, PauseInstrumentation

from bench import env, plan
from bench.barrier import Breadcrumb
from bench.race import Protocol, Race

if TYPE_CHECKING:
    from bench.arm import Arm
    from bench.schema import Status, Task

Racer = Callable[["Task"], "list[Arm]"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--race-job", type=Path, help="the orders of a slot, as python -m bench writes them")


def pytest_benchmark_generate_machine_info() -> dict[str, Any]:
    """Describe the machine as a run does: pytest-benchmark's own way takes over a second."""
    return env.stable()


MOST_SECONDS = 6.0


class Slot:
    """What the races of one process share: its orders, its time, and where results go."""

    def __init__(self, job: plan.Job) -> None:
        self.job = job
        self.ends = time.monotonic() + job.seconds
        self.left = len(job.tasks)
        self.work = Path(job.work)
        self.crumb = Breadcrumb(self.work / "breadcrumb")

    def share(self) -> float:
        """Share out what seconds are left anew, so that short tasks make room for long ones.

        A task asked for alone does not get all of a family's time: its rounds are done long before.
        """
        self.left -= 1
        share = max(self.ends - time.monotonic(), 0.0) / (self.left + 1)
        return share if math.isinf(share) else min(share, MOST_SECONDS)

    def race(self, task: Task) -> Race:
        """Prepare a task's race as ordered."""
        job = self.job
        self.crumb.drop(task.id, "", "data")
        contestants = plan.contestants_of(task, job.seed, peers=job.peers)
        plan.write_json(self.work / "entrants" / f"{task.id}.json", [plan.entrant(c) for c in contestants])
        barred: dict[str, tuple[Status, str]] = {
            entry["contestant"]: (entry["status"], entry["note"])  # type: ignore[misc]
            for entry in job.quarantine
            if entry["task"] == task.id
        }
        protocol = Protocol(job.rounds, job.least_rounds, self.share(), env.last_level_cache())
        return Race(
            task,
            contestants,
            protocol,
            job.seed,
            mark=lambda contestant, phase: self.crumb.drop(task.id, contestant, phase),
            barred=barred,
        )

    def finish(self, task: Task, results: dict[str, Any]) -> None:
        """Put a task's results where the supervisor finds them."""
        self.crumb.drop(task.id, "", "results")
        plan.write_json(self.work / "slots" / str(self.job.slot) / f"{task.id}.json", results)

    def close(self) -> None:
        """Say which BLAS kernels everything loaded here has chosen."""
        self.crumb.drop("", "", "end")
        self.crumb.close()
        plan.write_json(self.work / "blas.json", env.blas_cores())


@pytest.fixture(scope="session")
def slot(pytestconfig: pytest.Config) -> Any:
    """Hold the slot this process runs, or None when the race is run by hand."""
    orders = pytestconfig.getoption("--race-job")
    if orders is None:
        yield None
        return
    slot = Slot(plan.Job.read(orders))
    yield slot
    slot.close()


@pytest.fixture
def race(request: pytest.FixtureRequest, benchmark: Any, slot: Slot | None) -> Racer:
    """Race one task; the contestants appear in pytest-benchmark's table, JSON and comparisons."""
    benchmark._mode = "race"  # this fixture itself publishes nothing

    def by_hand(task: Task) -> list[Arm]:
        race = Race(
            task, plan.contestants_of(task, seed=0), Protocol(cache_bytes=env.last_level_cache()), seed=0
        )
        race.prepare()
        if benchmark.enabled:
            _run(race)
        _publish(request, race)
        return race.arms

    def in_slot(task: Task) -> list[Arm]:
        assert slot is not None
        try:
            race = slot.race(task)
        except Exception as error:  # a broken declaration costs its own task and no other
            slot.finish(task, plan.broken(task, slot.job.slot, error))
            return []
        race.prepare()
        _run(race)
        if slot.job.slot == 0:
            race.measure_quality()
        _publish(request, race)
        rows = [_told(arm) for arm in race.arms]
        slot.finish(
            task, {"task": task.id, "slot": slot.job.slot, "contestants": rows, "samples": race.samples}
        )
        return []

    return in_slot if slot else by_hand


def _told(arm: Arm) -> dict[str, Any]:
    """Return what a slot knows of a contestant beside its samples."""
    plain = ("status", "note", "setup_ms", "first_call_ms", "state_bytes", "error")
    return {
        "contestant": arm.name,
        **{name: getattr(arm, name) for name in plain},
        "instances": len(arm.states),
        "items": arm.pool[0].items if arm.pool else None,
        "quality": [asdict(quality) for quality in arm.quality],
    }


def _run(race: Race) -> None:
    """Race without the tracers and profilers that may be looking on."""
    with PauseInstrumentation():  # type: ignore[no-untyped-call]
        race.run()


def _publish(request: pytest.FixtureRequest, race: Race) -> None:
    """Feed one pytest-benchmark result per contestant, in seconds per item, so that nested slices compare."""
    session = request.config._benchmarksession  # type: ignore[attr-defined]
    for arm in race.arms:
        times = [s["ns_item"] * 1e-9 for s in race.samples if s["contestant"] == arm.name and not s["cold"]]
        if not times:
            continue
        options = {**session.options, "logger": session.logger, "warner": request.node.warn}
        fixture = BenchmarkFixture(  # type: ignore[no-untyped-call]
            request.node, add_stats=session.benchmarks.append, disabled=False, **options
        )
        fixture.name, fixture.group = arm.name, race.task.id
        fixture.fullname = f"{request.node.nodeid}::{arm.name}"
        fixture.param, fixture.params = None, None
        fixture.extra_info.update(role=arm.contestant.role, error=arm.error, state_bytes=arm.state_bytes)
        fixture._mode = "race"
        items = arm.calls * arm.pool[0].items
        stats = fixture._make_stats(items)  # type: ignore[no-untyped-call]
        for seconds in times:
            stats.update(seconds * items)
