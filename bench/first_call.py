"""What a program pays before its first answer: fresh processes with an empty and with a filled cache.

Such a task's contestants hand over Python source text, which prints the nanoseconds of its own first
call as its last line. It runs once cold and three times warm, with a private NUMBA_CACHE_DIR.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any

from bench import barrier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.schema import Contestant, Status, Task

WARM_RUNS = 3


class FailedError(Exception):
    """A script that did not print its time."""

    def __init__(self, status: Status, note: str) -> None:
        super().__init__(note)
        self.status: Status = status


def measure(
    task: Task, contestants: Sequence[Contestant], env: Mapping[str, str], root: Path, step_seconds: float
) -> dict[str, Any]:
    """Run every contestant's script and return the results in the form of a slot's."""
    started = time.monotonic()
    rows: list[dict[str, Any]] = []
    samples: list[dict[str, Any]] = []
    for contestant in contestants:
        status: Status = "NOT INSTALLED" if contestant.missing else "ok"
        note = contestant.missing
        if not contestant.missing:
            try:
                samples += _samples(contestant, env, root, step_seconds)
            except FailedError as failure:
                status, note = failure.status, str(failure)
        rows.append({"contestant": contestant.name, "status": status, "note": note})
    seconds = time.monotonic() - started
    return {"task": task.id, "slot": 0, "seconds": seconds, "contestants": rows, "samples": samples}


def _samples(
    contestant: Contestant, env: Mapping[str, str], root: Path, step_seconds: float
) -> list[dict[str, Any]]:
    script = contestant.slices(1)[0].payload
    with tempfile.TemporaryDirectory(prefix="hotpath-") as cache:
        private = {**env, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(root)}
        times = [_run(script, private, root, step_seconds) for _ in range(1 + WARM_RUNS)]
    common = {"contestant": contestant.name, "items": 1, "calls": 1}
    return [
        {**common, "round": max(run - 1, 0), "cold": run == 0, "wall_ns": ns, "ns_item": ns}
        for run, ns in enumerate(times)
    ]


def _run(script: str, env: Mapping[str, str], root: Path, step_seconds: float) -> int:
    with tempfile.TemporaryFile() as out:
        process = barrier.start(["-c", script], env, root, out)
        try:
            code = process.wait(step_seconds)
        except subprocess.TimeoutExpired as expired:
            raise FailedError(
                "TIMEOUT", f"no answer from its first call after {step_seconds:g} s"
            ) from expired
        finally:
            barrier.kill(process)
        out.seek(0)
        lines = [line.strip() for line in out.read().decode(errors="replace").splitlines() if line.strip()]
    last = lines[-1] if lines else "it printed nothing"
    if code < 0:
        raise FailedError("CRASHED", f"{barrier.how(code)} in its first call")
    if code > 0 or not last.isdigit():
        raise FailedError("ERROR", last)
    return int(last)
