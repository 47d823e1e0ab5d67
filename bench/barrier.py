"""The crash barrier: what a worker was doing when it died, hung, or was told to stop.

The worker overwrites one small file before every step; the supervisor reads it. The clock in it is the
machine's monotonic one, which both processes share.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING, NamedTuple

from bench.plan import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.schema import Status

SIZE = 4096
POLL_SECONDS = 0.02
START_SECONDS = 60.0  # imports are nobody's fault and may be slow on a busy disk


class Step(NamedTuple):
    """What a worker is about to do: no contestant means the harness's own work, no task its start."""

    task: str
    contestant: str
    phase: str
    at: float


class Breadcrumb:
    """The file a worker leaves its steps in."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb", buffering=0)

    def drop(self, task: str, contestant: str, phase: str) -> None:
        """Say what comes next, in two system calls."""
        step = json.dumps(Step(task, contestant, phase, time.monotonic())).encode()
        self._file.seek(0)
        self._file.write(step.ljust(SIZE))

    def close(self) -> None:
        """Leave the last step as it is."""
        self._file.close()

    @staticmethod
    def read(path: Path) -> Step | None:
        """Read the last step, or None while one is being written."""
        try:
            return Step(*json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


class End(NamedTuple):
    """How a worker came to its end, and at which step."""

    step: Step
    status: Status
    note: str


def start(arguments: Sequence[str], env: Mapping[str, str], out: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a Python in a process group of its own, which a Ctrl-C at the terminal does not reach."""
    command = [sys.executable, *arguments]
    return subprocess.Popen(
        command,
        env=dict(env),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and everything it has started, and wait for it."""
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def watch(
    process: subprocess.Popen[bytes], crumb: Path, step_seconds: float, on_step: Callable[[Step], None]
) -> End:
    """Follow a worker to its end; kill it when one step takes longer than it may."""
    last = Step("", "", "start", time.monotonic())
    for step in _steps(process, crumb):
        if step.at > last.at:
            last = step
            on_step(step)
        allowed = step_seconds if last.task else max(step_seconds, START_SECONDS)
        if time.monotonic() - last.at > allowed:
            kill(process)
            return End(last, "TIMEOUT", f"no answer from its {last.phase} after {allowed:g} s")
    last = Breadcrumb.read(crumb) or last
    return End(
        last, "ok" if process.returncode == 0 else "CRASHED", f"{how(process.returncode)} in its {last.phase}"
    )


def how(returncode: int) -> str:
    """Name an exit: the signal, or the exit code."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def _steps(process: subprocess.Popen[bytes], crumb: Path) -> Iterator[Step]:
    last = Step("", "", "start", 0.0)
    while process.poll() is None:
        last = Breadcrumb.read(crumb) or last
        yield last
        time.sleep(POLL_SECONDS)
