"""What a program pays before its first answer: fresh processes with an empty and with a filled cache.

Such a task's contestants hand over Python source text, which prints the nanoseconds of its own first
call as its last line. It runs once cold and three times warm, with a private NUMBA_CACHE_DIR.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any

from bench import barrier, plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.schema import Contestant, Status, Task

WARM_RUNS = 3


class FailedError(Exception):
    """A script that did not print its time."""

    def __init__(self, status: Status, note: str) -> None:
        super().__init__(note)
        self.status: Status = status


def measure(
    task: Task, seed: int, env: Mapping[str, str], step_seconds: float, *, peers: bool
) -> dict[str, Any]:
    """Run every contestant's script and return a slot's results, as a slot writes them."""
    started = time.monotonic()
    rows, samples = [], []
    for contestant in plan.contestants_of(task, seed, peers=peers):
        row = {
            "contestant": contestant.name,
            "role": contestant.role,
            "package": contestant.package,
            "input": contestant.input,
            "status": "NOT INSTALLED" if contestant.missing else "ok",
            "note": contestant.missing,
        }
        rows.append(row)
        if contestant.missing:
            continue
        try:
            samples += _samples(contestant, env, step_seconds)
        except FailedError as failure:
            row |= {"status": failure.status, "note": str(failure)}
    seconds = time.monotonic() - started
    return {"task": task.id, "slot": 0, "seconds": seconds, "contestants": rows, "samples": samples}


def _samples(contestant: Contestant, env: Mapping[str, str], step_seconds: float) -> list[dict[str, Any]]:
    script = contestant.slices(1)[0].payload
    with tempfile.TemporaryDirectory(prefix="hotpath-") as cache:
        private = {**env, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(plan.ROOT)}
        times = [_run(script, private, step_seconds) for _ in range(1 + WARM_RUNS)]
    return [
        {
            "contestant": contestant.name,
            "round": max(run - 1, 0),
            "cold": run == 0,
            "items": 1,
            "calls": 1,
            "wall_ns": ns,
            "ns_item": ns,
        }
        for run, ns in enumerate(times)
    ]


def _run(script: str, env: Mapping[str, str], step_seconds: float) -> int:
    with tempfile.TemporaryFile() as out:
        process = barrier.start(["-c", script], env, out)
        try:
            code = process.wait(step_seconds)
        except subprocess.TimeoutExpired as expired:
            raise FailedError(
                "TIMEOUT", f"its first call gave no answer within {step_seconds:g} s"
            ) from expired
        finally:
            barrier.kill(process)
        out.seek(0)
        lines = out.read().decode(errors="replace").split("\n") or [""]
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if code < 0:
        raise FailedError("CRASHED", f"{barrier.how(code)} in its first call")
    if code > 0 or not last.isdigit():
        raise FailedError("ERROR", last or "printed nothing")
    return int(last)
