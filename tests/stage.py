"""A stage for the command line: a made-up family, a report that only counts, a supervisor to be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from math import inf
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from helpers import ROOT

from bench import options, plan, run
from bench.__main__ import main
from bench.plan import Effort, Plan
from bench.schema import Task

if TYPE_CHECKING:
    import pytest

SUPERVISOR = """
import runpy, sys
from types import SimpleNamespace
from bench import options, run
sys.modules["bench.report"] = SimpleNamespace(
    render=lambda folder: folder / "index.html", terminal_table=lambda folder: None
)
run.stamp = options.stamp = lambda root=None: "fixed"
runpy.run_module("bench", run_name="__main__", alter_sys=True)
"""


class Stage:
    """Runs the command line in this process on a made-up family."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, family: str, source: str) -> None:
        families = tmp_path / "families"
        families.mkdir()
        (families / f"{family}.py").write_text(source, "utf-8")
        self.folder, self.pid, self.gate = tmp_path / "run", tmp_path / "pid", tmp_path / "gate"
        self.rendered = 0
        monkeypatch.setenv("HOTPATH_TASKS", str(families))
        monkeypatch.setenv("HOTPATH_STEP_TIMEOUT", "2")
        monkeypatch.setenv("STAGE", str(tmp_path))
        report = ModuleType("bench.report")
        vars(report).update(render=self.render, terminal_table=lambda _: None)
        monkeypatch.setitem(sys.modules, "bench.report", report)
        for module in (run, options):  # the tests must not mind who edits the code meanwhile
            monkeypatch.setattr(module, "stamp", lambda _root=None: "fixed")
        monkeypatch.setattr(options, "REPORTS", tmp_path / "reports")
        effort = Effort(2, 3, 6, 3, seconds=60.0, step_seconds=60.0)
        monkeypatch.setitem(plan.EFFORTS, "default", effort)
        monkeypatch.setattr(plan, "BUDGETED", replace(effort, task_seconds=inf))

    def render(self, where: Path) -> Path:
        assert where == self.folder
        self.rendered += 1
        return where / "index.html"

    def __call__(self, *words: str) -> int:
        code = main(words if "--resume" in words else [*words, "--out", str(self.folder)])
        assert self.rendered == (code != 2)
        return code

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a supervisor in a process of its own, whose steps may take long."""
        command = [sys.executable, "-c", SUPERVISOR, *words, "--out", str(self.folder)]
        patient = {**os.environ, "HOTPATH_STEP_TIMEOUT": "600"}
        return subprocess.Popen(
            command, cwd=ROOT, env=patient, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def blocked(self) -> int:
        """Wait until a contestant blocks, and return the process id of its worker."""
        wait_for(lambda: self.pid.exists() and self.pid.read_text())
        return int(self.pid.read_text())


def planned(**changes) -> Plan:
    """Make a plan of one task, but for the changes."""
    known = {
        "run_id": "r",
        "command": [],
        "tier": "default",
        "budget": None,
        "peers": True,
        "variants": [],
        "seed": 0,
        "stamp": "fixed",
        "fingerprint": "f",
        "started": "2026-01-01T00:00:00+00:00",
        "env": {"id": "f", "volatile": {"packages": {}}},
        "tasks": [plan.describe(Task("zoo", "pair", "ints", 10, anchor="plain"))],
    }
    return Plan(**(known | changes))


def table(folder: Path, name: str) -> list[dict]:
    return pq.read_table(folder / f"{name}.parquet").to_pylist()


def summary(folder: Path) -> dict[tuple[str, str], dict]:
    return {(row["task"].split(".")[1], row["contestant"]): row for row in table(folder, "summary")}


def info(folder: Path, name: str = "run"):
    return json.loads((folder / f"{name}.json").read_text("utf-8"))


def wait_for(condition, seconds: float = 30.0) -> None:
    """Poll until something has come true; the bound only keeps a failure from hanging."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process runs; on Linux one that nobody has waited for does not."""
    try:
        if sys.platform == "linux":
            return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return True
