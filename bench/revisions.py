"""Two revisions of the library raced by today's benchmark, slot beside slot.

Each side is a scratch copy of what a worker needs: today's ``bench`` and the revision's ``algos``. Slot k of
one side runs right before or after slot k of the other, with the same seeds, so that the two can be compared
in pairs. What they leave are two ordinary report folders.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench import run
from bench.options import REPORTS, create
from bench.plan import ROOT, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.plan import Plan

WORKING_TREE = "."
LOOK = """
import json, algos
from bench.plan import families, first_line, tasks_of

def trouble(family):
    try:
        tasks_of(family)
    except Exception as error:
        return f"{type(error).__name__}: {first_line(error)}"

print(json.dumps([algos.__file__, {family: trouble(family) for family in families()}]))
"""


def commit(name: str) -> str:
    """Return the commit a revision names, ``.`` for the working tree, or nothing if it names none."""
    if name == WORKING_TREE:
        return name
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    try:
        return _git(*words).decode().strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def side_by_side(a: str, b: str) -> bool:
    """Whether two run ids are those of the two sides of one comparison."""
    return a.startswith("compare-") and (a[:-1], a[-2:], b[-2:]) == (b[:-1], "/A", "/B")


def race(names: Sequence[str], options: argparse.Namespace, argv: Sequence[str]) -> tuple[int, list[Path]]:
    """Race two revisions as the options of a run ask for; return the exit code and the two folders."""
    if options.resume is not None:
        raise ValueError("a comparison cannot be gone on with: start it again, without --resume")
    commits = [commit(name) for name in names]
    short = "-".join(sha[:10].replace(WORKING_TREE, "tree") for sha in commits)
    run_id = f"compare-{short}-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"
    parent = Path(options.out) if options.out else REPORTS / run_id
    with tempfile.TemporaryDirectory(prefix="hotpath-") as scratch:
        os.environ["NUMBA_CACHE_DIR"] = f"{scratch}/numba"  # what is compiled in the trees goes with them
        sides = []
        for letter, sha in zip("AB", commits, strict=True):
            root = Path(scratch).resolve() / letter
            broken = _copy(sha, root)
            half = {"out": str(parent / letter), "budget": options.budget and options.budget / 2}
            plan, folder = create(argparse.Namespace(**vars(options) | half), ["compare", *argv], root)
            plan = _described(plan, f"{run_id}/{letter}", sha)
            plan.write(folder)
            write_json(folder / "work" / "quarantine.json", _unable(plan, broken))
            sides.append(run.Supervisor(plan, folder, root))
        return _in_turn(sides), [side.folder for side in sides]


def _in_turn(sides: Sequence[run.Supervisor]) -> int:
    """Run every slot of one side and then of the other, taking turns at being first."""
    reason, code = "", 0
    try:
        for slot in range(sides[0].effort.most_slots):
            for side in sides if slot % 2 == 0 else reversed(sides):
                side.slot(slot)
    except KeyboardInterrupt:
        reason, code = "interrupted", run.INTERRUPTED
    except (run.HaltError, OSError) as error:
        reason, code = str(error), 1
    for side in sides:
        side.finish(reason)
    return code


def _copy(sha: str, root: Path) -> dict[str, str]:
    """Make the tree a side's workers run in; return the families that its library cannot race, and why."""
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "bench", root / "bench", ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", root)
    look = [sys.executable, "-c", LOOK]
    try:
        if sha == WORKING_TREE:
            shutil.copytree(ROOT / "algos", root / "algos", ignore=skip)
        else:
            with tarfile.open(fileobj=io.BytesIO(_git("archive", sha, "algos"))) as archive:
                archive.extractall(root, filter="data")
        seen = subprocess.run(look, cwd=root, env=run.worker_env(0), capture_output=True, check=True)
    except subprocess.CalledProcessError as error:
        why = error.stderr.decode().strip().rpartition("\n")[2]
        raise ValueError(f"{sha} holds no library to race ({why}): name a revision that does") from error
    imported, trouble = json.loads(seen.stdout)
    if not Path(imported).is_relative_to(root):
        raise ValueError(f"workers in {root} would import {imported}: unset PYTHONSAFEPATH")
    return {family: why.replace(f"{root}{os.sep}", "") for family, why in trouble.items() if why}


def _described(plan: Plan, run_id: str, sha: str) -> Plan:
    """Return a side's plan, which names its commit, without the tasks that are timed but once."""
    origin = {} if sha == WORKING_TREE else {"commit": sha, "dirty": False}
    machine = plan.env | {"volatile": plan.env["volatile"] | origin}
    tasks = [task for task in plan.tasks if task["op"] != "first_call"]
    return replace(plan, run_id=run_id, tasks=tasks, env=machine)


def _unable(plan: Plan, broken: dict[str, str]) -> list[dict[str, str]]:
    """Take the tasks out of the race whose declarations a side's library lacks something for."""
    return [
        {"task": task["id"], "contestant": "", "status": "ERROR", "note": broken[task["family"]]}
        for task in plan.tasks
        if task["family"] in broken
    ]


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True).stdout
