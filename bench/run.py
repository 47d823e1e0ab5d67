"""The supervisor of ``python -m bench``: one worker process at a time, slot by slot, whatever they do.

It runs the slots of different families in turn, survives contestants that crash or hang, goes on where an
earlier run was stopped, and leaves a valid report in every case. How long one setup, gate or turn may take
is the tier's to say, or HOTPATH_STEP_TIMEOUT's, in seconds.
"""

from __future__ import annotations

import importlib
import os
import shutil
from functools import cached_property
from typing import TYPE_CHECKING

from bench import barrier, env, first_call, results
from bench.budget import LEAST_SECONDS, Budget
from bench.plan import ROOT, Job, broken, contestants_of, entrant, now, stamp, write_json
from bench.progress import Reporter, shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.plan import Plan
    from bench.schema import Task

ONE_THREAD = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS",
)  # fmt: skip
PYTEST = (
    "-m", "pytest", "-q", "-s", "-W", "default", "-p", "pytest_benchmark.plugin", "-p", "no:cacheprovider",
    "bench/test_race.py",
)  # fmt: skip
UNWANTED = ("OPENBLAS_CORETYPE", "PYTEST_ADDOPTS", "PYTEST_PLUGINS")
WIDE = 0.03  # an interval below this fits into the band of "same" with room to be off centre
INTERRUPTED = 130


class HaltError(Exception):
    """The run cannot go on; what is finished is still reported."""


class Supervisor:
    """Brings one plan to its end in its folder, with the code below ``root``."""

    def __init__(self, plan: Plan, folder: Path, root: Path = ROOT) -> None:
        self.plan, self.folder, self.work, self.root = plan, folder, folder / "work", root
        self.effort, self.budget, self.over = plan.effort, Budget(plan, self.work), False
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
                self.first_calls()
                for slot in range(self.effort.most_slots):
                    self.slot(slot)
        except KeyboardInterrupt:
            reason, code = "interrupted", INTERRUPTED
        except HaltError as halt:
            reason, code = str(halt), 1
        except OSError as error:  # a full disk, for one
            reason, code = _told(error), 1
        try:
            self.finish(reason)
        except KeyboardInterrupt:
            code = self._unreported("interrupted", INTERRUPTED)
        except OSError as error:
            code = self._unreported(_told(error), 1)
        return code

    def first_calls(self) -> None:
        """Time the first calls of fresh processes, once per run."""
        for task in self.plan.first_calls():
            if self._pending(0, [task.id]):
                self.reporter.step(barrier.Step(task.id, "", "first call", 0.0), self.done())
                self._first_call(task)
                self.reporter.stage(task.id, self.done())

    def slot(self, slot: int) -> None:
        """Race every task of every family in a slot; in those past the planned ones, where more is needed."""
        for family in self.plan.families:
            if slot < self.effort.slots:
                self._slot(slot, family, self.plan.raced(family))
            elif (wide := self._wide(family)) and self.budget.affords(family, wide):
                self.reporter.extend(len(wide))
                self._slot(slot, family, wide)

    def finish(self, reason: str = "") -> None:
        """Merge and render what there is; a reason says why it is not all."""
        resumable = self.root == ROOT and stamp(self.root) == self.plan.stamp
        again = self._again if reason and resumable else ""
        results.merge(self.folder, self.plan, ended=now().isoformat(), reason=reason, resume=again)
        if not reason:
            shutil.rmtree(self.work)
        report(self.folder)
        if reason:
            self.reporter.say(f"Stopped: {reason}. The report holds what is finished.")
        if again:
            self.reporter.say(f"To go on: {again}")

    @property
    def _again(self) -> str:
        return f"nox -s bench -- --resume {shown(self.folder)}"

    def _unreported(self, why: str, code: int) -> int:
        """Say what to do about a report that is not, or not wholly, written."""
        if self.work.exists():
            self.reporter.say(f"No report: {why}. What is finished is kept; to go on: {self._again}")
        else:
            folder = shown(self.folder)
            self.reporter.say(f"No report: {why}. All is measured; to render it: nox -s report -- {folder}")
        return code

    def _wide(self, family: str) -> list[str]:
        """Return the tasks with wide intervals: decided once, on width alone, not to seek a verdict.

        With a budget they are all of them: it is there to be used, and slots are its best use.
        """
        wide = WIDE if self.plan.budget is None else 0.0
        return [task for task in self.plan.raced(family) if self._widths[task] > wide]

    @cached_property
    def _widths(self) -> dict[str, float]:
        return results.widths(self.folder, self.plan, self.effort.slots)

    def _slot(self, slot: int, family: str, tasks: Sequence[str]) -> None:
        """Run one family's tasks in one worker, and in another for as long as one dies on the way."""
        died: set[tuple[str, str]] = set()
        if not self._pending(slot, tasks):
            return
        while pending := self._pending(slot, tasks):
            if stamp(self.root) != self.plan.stamp:
                raise HaltError("the code was edited while the run was going on: start a new one")
            end = self._worker(slot, family, pending, len(tasks))
            left = self._pending(slot, tasks)
            who = end.step.task, end.step.contestant
            if not left or (end.status == "ok" and left != pending):
                continue
            if end.status == "CRASHED" and who not in died:  # it may not have been its own doing
                died.add(who)
                self.reporter.say(f"{_named(*who)}: {end.note}; once more, in a new worker")
            elif end.step.task in left:
                self._bar(end)
            elif left == pending:
                raise HaltError(f"a worker got nowhere ({end.note}): see {shown(self._log(slot, family))}")
        self.reporter.stage(f"slot {slot} of {family}", self.done())

    def _worker(self, slot: int, family: str, tasks: Sequence[str], due: int) -> barrier.End:
        """Run one worker process to its end, and write down what disturbed it."""
        seed = self.plan.slot_seed(slot)
        job = Job(
            supervisor=os.getpid(),
            work=str(self.work),
            slot=slot,
            seed=seed,
            tasks=list(tasks),
            seconds=self._rounds(slot, family, tasks, due),
            peers=self.plan.peers,
            variants=self.plan.variants,
            rounds=self.effort.rounds,
            least_rounds=self.effort.least_rounds,
            quarantine=results.quarantine(self.work),
        )
        orders, crumb, log = self.work / "job.json", self.work / "breadcrumb", self._log(slot, family)
        write_json(orders, vars(job))
        crumb.unlink(missing_ok=True)
        log.parent.mkdir(exist_ok=True)
        before = env.Disturbance.now()
        with log.open("ab") as out:
            process = barrier.start([*PYTEST, f"--race-job={orders}"], worker_env(seed), self.root, out)
        try:
            return barrier.watch(
                process, crumb, log, self.step_seconds, lambda step: self.reporter.step(step, self.done())
            )
        finally:
            barrier.kill(process)
            attempt = len(list((self.work / "workers").glob(f"{slot}.{family}.*.json")))
            record = {"slot": slot, "family": family, "attempt": attempt, "pythonhashseed": seed}
            record |= env.Disturbance.now().since(before)
            write_json(self.work / "workers" / f"{slot}.{family}.{attempt}.json", record)

    def _rounds(self, slot: int, family: str, tasks: Sequence[str], due: int) -> float:
        """Return the seconds of every task's rounds; say so, once, if a run must take longer than it may."""
        seconds = self.budget.seconds(slot, family, tasks, due)
        rounds = self.budget.rounds(tasks, seconds)
        if rounds == LEAST_SECONDS and not self.over:
            self.over = True
            self.reporter.say(
                f"{seconds:.0f} s are too few for a slot of {len(tasks)} tasks of {family}: "
                "each is given the least it needs, and the run takes longer."
            )
        return rounds

    def _first_call(self, task: Task) -> None:
        seed = self.plan.slot_seed(0)
        try:
            contestants = contestants_of(task, seed, peers=self.plan.peers, variants=self.plan.variants)
            write_json(self.work / "entrants" / f"{task.id}.json", [entrant(c) for c in contestants])
            found = first_call.measure(task, contestants, worker_env(seed), self.root, self.step_seconds)
        except Exception as error:
            found = broken(task, 0, error)
        write_json(self._result(0, task.id), found)

    def _pending(self, slot: int, tasks: Sequence[str]) -> list[str]:
        """Return the tasks not yet finished in a slot, without those whose data cannot be made."""
        dead = {entry["task"] for entry in results.quarantine(self.work) if not entry["contestant"]}
        return [task for task in tasks if task not in dead and not self._result(slot, task).exists()]

    def _bar(self, end: barrier.End) -> None:
        """Keep a contestant that took its worker down out of that task for the rest of the run."""
        task, name = end.step.task, end.step.contestant
        entry = {"task": task, "contestant": name, "status": end.status, "note": end.note}
        write_json(self.work / "quarantine.json", [*results.quarantine(self.work), entry])
        self.reporter.say(f"{_named(task, name)}: {end.note}; {end.status}, and out of this race")

    def _result(self, slot: int, task: str) -> Path:
        return self.work / "slots" / str(slot) / f"{task}.json"

    def _log(self, slot: int, family: str) -> Path:
        return self.work / "logs" / f"{slot}.{family}.log"


def worker_env(seed: int) -> dict[str, str]:
    """Return the environment of a worker: one thread, its own hash seed, no tuning from outside."""
    kept = {key: value for key, value in os.environ.items() if key not in UNWANTED}
    own = {"PYTHONHASHSEED": str(seed), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return kept | dict.fromkeys(ONE_THREAD, "1") | own


def report(folder: Path) -> None:
    """Render a folder's results and print the short table."""
    if not (folder / "run.json").exists():
        raise ValueError(f"no run.json in {folder}: name the folder of a run")
    rendering = importlib.import_module("bench.report")
    page = rendering.render(folder)
    rendering.terminal_table(folder)
    print(f"report: {shown(page)}")


def _named(task: str, contestant: str) -> str:
    return f"{contestant or 'the data'} of {task}" if task else "a worker"


def _told(error: OSError) -> str:
    return ": ".join(str(part) for part in (error.strerror, error.filename) if part) or str(error)
