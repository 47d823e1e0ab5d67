"""The supervisor of ``python -m bench``: one worker process at a time, slot by slot, whatever they do.

It writes the plan first, runs the slots of different families in turn, survives contestants that crash
or hang, goes on where an earlier run was stopped, and leaves a valid report in every case. How long one
setup, gate or turn may take is the tier's to say, or HOTPATH_STEP_TIMEOUT's, in seconds.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench import barrier, env, first_call, results
from bench.plan import (
    ROOT,
    Job,
    Plan,
    broken,
    contestants_of,
    describe,
    entrant,
    select,
    stamp,
    write_json,
)
from bench.progress import Reporter

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bench.schema import Tier

REPORTS = ROOT / "reports"
ONE_THREAD = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS",
)  # fmt: skip
PYTEST = (
    "-m", "pytest", "-q", "-s", "-W", "default", "-p", "pytest_benchmark.plugin", "-p", "no:cacheprovider",
    "bench/test_race.py",
)  # fmt: skip
UNWANTED = ("OPENBLAS_CORETYPE", "PYTEST_ADDOPTS", "PYTEST_PLUGINS")
WORKER_START_SECONDS = 2.0
WIDE = 0.03  # an interval below this fits into the band of "same" with room to be off centre
INTERRUPTED = 130


class HaltError(Exception):
    """The run cannot go on; what is finished is still reported."""


class Supervisor:
    """Brings one plan to its end in its folder."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder, self.work = plan, folder, folder / "work"
        self.effort = plan.effort
        self.step_seconds = float(os.environ.get("HOTPATH_STEP_TIMEOUT") or self.effort.step_seconds)
        per_slot = sum(len(plan.raced(family)) for family in plan.families)
        total = per_slot * self.effort.slots + len(plan.first_calls())
        self.reporter = Reporter(total, self.done())

    def done(self) -> int:
        """How many (slot, task) are finished, here or in the run that is resumed."""
        return len(list((self.work / "slots").glob("*/[!.]*.json")))

    def run(self) -> int:
        """Race everything, then merge and render; return the exit code."""
        reason, code = "", 0
        try:
            with self.reporter:
                self._everything()
        except KeyboardInterrupt:
            reason, code = "interrupted", INTERRUPTED
        except HaltError as halt:
            reason, code = str(halt), 1
        goes_on = reason and stamp() == self.plan.stamp
        again = f"nox -s bench -- --resume {_shown(self.folder)}" if goes_on else ""
        results.merge(self.folder, self.plan, ended=_now().isoformat(), reason=reason, resume=again)
        if not reason:
            shutil.rmtree(self.work)
        report(self.folder)
        if reason:
            self.reporter.say(f"Stopped: {reason}. The report holds what is finished.")
        if again:
            self.reporter.say(f"To go on: {again}")
        return code

    def _everything(self) -> None:
        self._first_calls()
        for slot in range(self.effort.slots):
            for family in self.plan.families:
                self._slot(slot, family, self.plan.raced(family))
        self._wide_ones()

    def _wide_ones(self) -> None:
        """Give tasks with wide intervals more slots: decided once, on width alone, not to seek a verdict."""
        found = results.widths(self.folder, self.plan, self.effort.slots)
        for slot in range(self.effort.slots, self.effort.most_slots):
            for family in self.plan.families:
                tasks = [task for task in self.plan.raced(family) if found[task] > WIDE]
                if tasks and self._spent(family) * (1 + 1 / slot) < self.effort.seconds:
                    self.reporter.extend(len(tasks))
                    self._slot(slot, family, tasks)

    def _slot(self, slot: int, family: str, tasks: Sequence[str]) -> None:
        """Run one family's tasks in one worker, and in another for as long as one dies on the way."""
        if not self._pending(slot, tasks):
            return
        while pending := self._pending(slot, tasks):
            if stamp() != self.plan.stamp:
                raise HaltError("the code was edited while the run was going on: start a new one")
            end = self._worker(slot, family, pending)
            if end.step.task in pending and end.status != "ok" and end.step.phase != "results":
                self._bar(end)
            elif self._pending(slot, tasks) == pending:
                raise HaltError(f"a worker got nowhere ({end.note}): see {_shown(self._log(slot, family))}")
        self.reporter.stage(f"slot {slot} of {family}", self.done())

    def _worker(self, slot: int, family: str, tasks: Sequence[str]) -> barrier.End:
        """Run one worker process to its end, and write down what disturbed it."""
        seed = self.plan.slot_seed(slot)
        job = Job(
            work=str(self.work),
            slot=slot,
            seed=seed,
            tasks=list(tasks),
            peers=self.plan.peers,
            rounds=self.effort.rounds,
            least_rounds=self.effort.least_rounds,
            seconds=self._seconds(slot, family),
            quarantine=results.quarantine(self.work),
        )
        orders, crumb, log = self.work / "job.json", self.work / "breadcrumb", self._log(slot, family)
        write_json(orders, vars(job))
        crumb.unlink(missing_ok=True)
        log.parent.mkdir(exist_ok=True)
        before = env.Disturbance.now()
        with log.open("ab") as out:
            process = barrier.start([*PYTEST, f"--race-job={orders}"], worker_env(seed), out)
        try:
            return barrier.watch(
                process, crumb, self.step_seconds, lambda step: self.reporter.step(step, self.done())
            )
        finally:
            barrier.kill(process)
            attempt = len(list((self.work / "workers").glob(f"{slot}.{family}.*.json")))
            record = {"slot": slot, "family": family, "attempt": attempt, "pythonhashseed": seed}
            record |= env.Disturbance.now().since(before)
            write_json(self.work / "workers" / f"{slot}.{family}.{attempt}.json", record)

    def _first_calls(self) -> None:
        """Time the first calls of fresh processes, once per run."""
        for task in self.plan.first_calls():
            if self._pending(0, [task.id]):
                self.reporter.step(barrier.Step(task.id, "", "first call", 0.0), self.done())
                seed = self.plan.slot_seed(0)
                try:
                    contestants = contestants_of(task, seed, peers=self.plan.peers)
                    write_json(self.work / "entrants" / f"{task.id}.json", [entrant(c) for c in contestants])
                    found = first_call.measure(task, contestants, worker_env(seed), self.step_seconds)
                except Exception as error:
                    found = broken(task, 0, error)
                write_json(self._result(0, task.id), found)
                self.reporter.stage(task.id, self.done())

    def _pending(self, slot: int, tasks: Sequence[str]) -> list[str]:
        """Return the tasks not yet finished in a slot, without those whose data cannot be made."""
        dead = {entry["task"] for entry in results.quarantine(self.work) if not entry["contestant"]}
        return [task for task in tasks if task not in dead and not self._result(slot, task).exists()]

    def _bar(self, end: barrier.End) -> None:
        """Keep a contestant that took its worker down out of that task for the rest of the run."""
        task, name = end.step.task, end.step.contestant
        entry = {"task": task, "contestant": name, "status": end.status, "note": end.note}
        write_json(self.work / "quarantine.json", [*results.quarantine(self.work), entry])
        self.reporter.say(f"{end.status} {name or 'the data'} in {task}: {end.note}")

    def _seconds(self, slot: int, family: str) -> float:
        """Return a slot's seconds: what the family has left, shared by the slots to come."""
        left = self.effort.seconds - self._spent(family)
        last = self.effort.slots if slot < self.effort.slots else self.effort.most_slots
        return max(left / (last - slot) - WORKER_START_SECONDS, 0.0)

    def _spent(self, family: str) -> float:
        """Return the seconds a family has had so far, in workers and in first calls."""
        workers = (self.work / "workers").glob(f"*.{family}.*.json")
        calls = (self._result(0, task.id) for task in self.plan.first_calls() if task.family == family)
        paths = [*workers, *(path for path in calls if path.exists())]
        return sum(json.loads(path.read_text("utf-8"))["seconds"] for path in paths)

    def _result(self, slot: int, task: str) -> Path:
        return self.work / "slots" / str(slot) / f"{task}.json"

    def _log(self, slot: int, family: str) -> Path:
        return self.work / "logs" / f"{slot}.{family}.log"


def worker_env(seed: int) -> dict[str, str]:
    """Return the environment of a worker: one thread, its own hash seed, no tuning from outside."""
    kept = {key: value for key, value in os.environ.items() if key not in UNWANTED}
    own = {"PYTHONHASHSEED": str(seed), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return kept | dict.fromkeys(ONE_THREAD, "1") | own


def create(options: argparse.Namespace, command: Sequence[str]) -> tuple[Plan, Path]:
    """Decide what to run, and write it into a new folder."""
    tier: Tier = options.tier
    tasks = [describe(task) for task in select(tier, options.family, options.task)]
    if not tasks:
        raise ValueError(f"no task of tier {tier} matches: try --thorough, or another --family or --task")
    machine, started = env.fingerprint(), _now()
    run_id = f"{started:%Y-%m-%dT%H%M%SZ}-{machine['id']}"
    folder = Path(options.out).resolve() if options.out else REPORTS / run_id
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: choose another --out, or --resume {folder}")
    plan = Plan(
        run_id=run_id,
        command=["python", "-m", "bench", *command],
        tier=tier,
        peers=not options.no_peers,
        seed=options.seed,
        stamp=stamp(),
        fingerprint=machine["id"],
        started=started.isoformat(),
        tasks=tasks,
        env=machine,
    )
    plan.write(folder)
    (folder / "work").mkdir()
    return plan, folder


def resume(name: str) -> tuple[Plan, Path]:
    """Find the run to go on with; refuse what could not be one measurement with the rest."""
    folder = _find(name)
    plan = Plan.read(folder)
    if not (folder / "work").exists():
        raise ValueError(
            f"{folder} is complete; it can only be rendered anew: python -m bench report {folder}"
        )
    if (now := stamp()) != plan.stamp:
        raise ValueError(
            f"{folder} was measured with code {plan.stamp}, which is now {now}: "
            "check out the code of that run, or start a new one without --resume"
        )
    if (now := env.fingerprint()["id"]) != plan.fingerprint:
        raise ValueError(
            f"{folder} was measured on machine {plan.fingerprint}, this one is {now}: "
            "resume it there, or start a new run without --resume"
        )
    return plan, folder


def report(folder: Path) -> None:
    """Render a folder's results and print the short table."""
    rendering = importlib.import_module("bench.report")
    page = rendering.render(folder)
    rendering.terminal_table(folder)
    print(f"report: {_shown(page)}")


def _find(name: str) -> Path:
    if not name:
        stopped = sorted(path.parent for path in REPORTS.glob("*/work"))
        if not stopped:
            raise ValueError(
                f"no stopped run in {REPORTS}: name its folder, or start a new run without --resume"
            )
        return stopped[-1]
    folder = next((path for path in (Path(name), REPORTS / name) if (path / "plan.json").exists()), None)
    if folder is None:
        raise ValueError(f"no plan.json in {name} or {REPORTS / name}: name the folder of a stopped run")
    return folder.resolve()


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
