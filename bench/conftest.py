"""The ``race`` fixture: a race whose samples become ordinary pytest-benchmark results.

Of pytest-benchmark it uses three private names, ``config._benchmarksession``, ``BenchmarkFixture._mode`` and
``BenchmarkFixture._make_stats``, which a test of this project pins.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture, PauseInstrumentation

from bench import barrier, env, plan
from bench.race import Protocol, Race

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.arm import Arm
    from bench.schema import Contestant, Status, Task

Racer = Callable[["Task"], "list[Arm]"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--race-job", type=Path, help="the orders of a slot, as python -m bench writes them")


def pytest_benchmark_generate_machine_info() -> dict[str, Any]:
    """Describe the machine as a run does: pytest-benchmark's own way takes over a second."""
    return env.stable()


class Slot:
    """What the races of one process share: its orders, and where results go."""

    def __init__(self, job: plan.Job) -> None:
        barrier.die_first()
        self.job, self.work = job, Path(job.work)
        self.output = barrier.Output()
        self.crumb = barrier.Breadcrumb(self.work / "breadcrumb", job.supervisor)

    def step(self, task: str, contestant: str, phase: str) -> None:
        """Undo what was done to the output, and say what comes next."""
        self.output.restore()
        self.crumb.drop(task, contestant, phase)

    def hold(self, task: Task) -> Race | None:
        """Hold a task's race as ordered; None if there are no contestants."""
        started = time.monotonic()
        self.step(task.id, "", "data")
        try:
            contestants = plan.contestants_of(
                task, self.job.seed, peers=self.job.peers, variants=self.job.variants
            )
        except Exception as error:  # a broken declaration costs its own task and no other
            race, found = None, plan.broken(task, self.job.slot, error)
            fixed = time.monotonic() - started
        else:
            self._write(f"entrants/{task.id}.json", [plan.entrant(c) for c in contestants])
            race = self._race(task, contestants)
            race.prepare()
            fixed = time.monotonic() - started
            _run(race)
            if self.job.slot == 0:
                race.measure_quality()
            rows = [_told(arm) for arm in race.arms]
            found = {"task": task.id, "slot": self.job.slot, "contestants": rows, "samples": race.samples}
        self.step("", "", "results")
        found |= {"seconds": time.monotonic() - started, "fixed_seconds": fixed}
        self._write(f"slots/{self.job.slot}/{task.id}.json", found)
        return race

    def _race(self, task: Task, contestants: list[Contestant]) -> Race:
        job = self.job
        barred: dict[str, tuple[Status, str]] = {
            entry["contestant"]: (entry["status"], entry["note"])  # type: ignore[misc]
            for entry in job.quarantine
            if entry["task"] == task.id
        }
        protocol = Protocol(job.rounds, job.least_rounds, job.seconds, env.last_level_cache())
        return Race(
            task,
            contestants,
            protocol,
            job.seed,
            mark=partial(self.step, task.id),
            barred=barred,
        )

    def _write(self, name: str, value: Any) -> None:
        """Put results where the supervisor finds them, or say why that is impossible."""
        try:
            plan.write_json(self.work / name, value)
        except OSError as error:
            self.step("", "", f"results: {error.strerror}")
            raise

    def close(self) -> None:
        """Say which BLAS kernels everything loaded here has chosen."""
        self.step("", "", "end")
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
        with _dying():
            race = slot.hold(task)
        if race is not None:
            _publish(request, race)
        return []

    return in_slot if slot else by_hand


@contextmanager
def _dying() -> Iterator[None]:
    """Die at once of what is not caught: pytest would tidy up first, and nobody knew at whose step it was."""
    try:
        yield
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


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
        fixture.param, fixture.params = race.task.id, {"task": race.task.id}
        fixture.extra_info.update(role=arm.contestant.role, error=arm.error, state_bytes=arm.state_bytes)
        fixture._mode = "race"
        items = arm.calls * arm.pool[0].items
        stats = fixture._make_stats(items)  # type: ignore[no-untyped-call]
        for seconds in times:
            stats.update(seconds * items)
