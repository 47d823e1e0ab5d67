"""The crash barrier: what a worker was doing when it died, hung, or was told to stop.

The worker overwrites one small file before every step; the supervisor reads it. The clock in it is the
machine's monotonic one, which both processes share.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.schema import Status

SIZE = 4096
POLL_SECONDS = 0.02
START_SECONDS = 60.0  # imports are nobody's fault and may be slow on a busy disk
LOG_BYTES = 1 << 20
PR_SET_PDEATHSIG = 1
FIRST_TO_GO = 500  # of 1000, when the system is out of memory


class Step(NamedTuple):
    """What a worker is about to do: no contestant means the harness's own work, no task its start or end."""

    task: str
    contestant: str
    phase: str
    at: float


class Breadcrumb:
    """The file a worker leaves its steps in, for as long as its supervisor is there to read them."""

    def __init__(self, path: Path, supervisor: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file, self._supervisor = path.open("wb", buffering=0), supervisor

    def drop(self, task: str, contestant: str, phase: str) -> None:
        """Say what comes next, in a few system calls."""
        if os.getppid() != self._supervisor:
            os._exit(1)
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


def start(
    arguments: Sequence[str], env: Mapping[str, str], root: Path, out: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start a Python in a process group of its own, which a Ctrl-C at the terminal does not reach."""
    command = [sys.executable, *arguments]
    return subprocess.Popen(
        command,
        env=dict(env),
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        start_new_session=True,
    )


def die_first() -> None:
    """Let this process die with its supervisor, at the latest, and before it where memory runs out."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_GO), "ascii")


class Output:
    """The stdout and stderr of this process, which no contestant closes or redirects for the next."""

    def __init__(self) -> None:
        self._copies = os.dup(1), os.dup(2)
        self._open()

    def restore(self) -> None:
        """Make both what they were when this was made."""
        for descriptor, copy in enumerate(self._copies, start=1):
            os.dup2(copy, descriptor)
        if sys.stdout.closed or sys.stderr.closed:
            self._open()

    @staticmethod
    def _open() -> None:
        sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1, closefd=False) for n in (1, 2))


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and everything it has started, and wait for it."""
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError):  # nothing is left of the group
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def watch(
    process: subprocess.Popen[bytes],
    crumb: Path,
    log: Path,
    step_seconds: float,
    on_step: Callable[[Step], None],
) -> End:
    """Follow a worker to its end; kill it when one step takes longer than it may."""
    last = Step("", "", "start", time.monotonic())
    while process.poll() is None:
        step = Breadcrumb.read(crumb)
        if step is not None and step.at > last.at:
            last = step
            on_step(step)
        allowed = step_seconds if last.task else max(step_seconds, START_SECONDS)
        if time.monotonic() - last.at > allowed:
            kill(process)
            return End(last, "TIMEOUT", f"no answer from its {last.phase} after {allowed:g} s")
        if log.stat().st_size > LOG_BYTES:
            os.truncate(log, 0)
        time.sleep(POLL_SECONDS)
    last = Breadcrumb.read(crumb) or last
    finished = process.returncode == 0 and last.phase == "end"
    return End(last, "ok" if finished else "CRASHED", f"{how(process.returncode)} in its {last.phase}")


def how(returncode: int) -> str:
    """Name an exit: the signal, or the exit code."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"
