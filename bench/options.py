"""What the command line asks for: a new run, planned and with a folder, or an old one to go on with."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from bench import env
from bench.plan import EFFORTS, ROOT, SELF_CHECK, Plan, describe, now, select, stamp, tasks_of
from bench.progress import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.schema import Task, Tier

REPORTS = ROOT / "reports"
UNITS = {"s": 1, "m": 60, "h": 3600}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options of a run."""
    found = argparse.ArgumentParser(
        prog="python -m bench",
        description="Race every variant and write a report.",
        epilog="python -m bench report FOLDER renders a run anew; python -m bench compare A B compares two.",
    )
    effort = found.add_mutually_exclusive_group()
    quick = f"one slot, at most {EFFORTS['quick'].rounds} rounds: not a verdict"
    effort.add_argument(
        "--quick", dest="tier", action="store_const", const="quick", default="default", help=quick
    )
    effort.add_argument(
        "--thorough",
        dest="tier",
        action="store_const",
        const="thorough",
        help="every task, as long as it takes",
    )
    budget = "its tasks in about so much time altogether, the more processes the more there is: 90s, 10m, 1h"
    found.add_argument("--budget", type=duration, metavar="TIME", help=budget)
    found.add_argument("--family", nargs="+", default=[], metavar="F", help="only these families")
    found.add_argument("--task", nargs="+", default=[], metavar="GLOB", help="only tasks whose id matches")
    variant = (
        "only these variants of ours, beside each task's anchor, packages, baselines and yardsticks; "
        "a task in which none of them races is not run"
    )
    found.add_argument("--variant", nargs="+", default=[], metavar="NAME", help=variant)
    found.add_argument("--no-peers", action="store_true", help="leave other packages out")
    self_check = "race known answers too, to see what the verdicts are worth here; given alone, nothing else"
    found.add_argument("--self-check", action="store_true", help=self_check)
    found.add_argument(
        "--resume", nargs="?", const="", metavar="FOLDER", help="go on with a stopped run (the latest)"
    )
    found.add_argument("--out", metavar="FOLDER", help="where to write (reports/<date>-<machine>)")
    found.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all data and orders (0)")
    return found


def duration(text: str) -> float:
    """Return the seconds of a length of time such as 90s, 10m or 1.5h."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    seconds = float(match[1]) * UNITS[match[2]] if match else 0.0
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time: write, say, 90s, 10m or 1h")
    return seconds


def create(options: argparse.Namespace, command: Sequence[str], root: Path = ROOT) -> tuple[Plan, Path]:
    """Decide what to run with the code below ``root``, and write it into a new folder."""
    tier: Tier = options.tier
    chosen: list[Task] = []
    if not options.self_check or options.family or options.task or options.variant:
        chosen = select(tier, options.family, options.task, options.variant)
        if not chosen:
            raise ValueError(f"no task of tier {tier} matches: try --thorough, or another --family or --task")
    if options.self_check:
        chosen += tasks_of(SELF_CHECK)
    machine, started = env.fingerprint(), now()
    run_id = f"{started:%Y-%m-%dT%H%M%SZ}-{machine['id']}"
    folder = Path(options.out).resolve() if options.out else REPORTS / run_id
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: choose another --out, or --resume {folder}")
    plan = Plan(
        run_id=run_id,
        command=["nox", "-s", "bench", "--", *_without_out(command)],
        tier=tier,
        budget=options.budget,
        peers=not options.no_peers,
        variants=options.variant,
        seed=options.seed,
        stamp=stamp(root),
        fingerprint=machine["id"],
        started=started.isoformat(),
        tasks=[describe(task) for task in chosen],
        env=machine,
    )
    plan.write(folder)
    (folder / "work").mkdir()
    return plan, folder


def _without_out(words: Sequence[str]) -> list[str]:
    """Leave the folder out of a command that is to be given again."""
    out = argparse.ArgumentParser(add_help=False)
    out.add_argument("--out")
    return out.parse_known_args(words)[1]


def resume(name: str) -> tuple[Plan, Path]:
    """Find the run to go on with; refuse what could not be one measurement with the rest."""
    folder = _find(name)
    plan = Plan.read(folder)
    if not (folder / "work").exists():
        raise ValueError(
            f"{folder} is complete; it can only be rendered anew: python -m bench report {folder}"
        )
    if (code := stamp()) != plan.stamp:
        raise ValueError(
            f"{folder} was measured with code {plan.stamp}, which is now {code}: "
            "check out the code of that run, or start a new one without --resume"
        )
    if (machine := env.fingerprint()["id"]) != plan.fingerprint:
        raise ValueError(
            f"{folder} was measured on machine {plan.fingerprint}, this one is {machine}: "
            "resume it there, or start a new run without --resume"
        )
    _discard_damaged(folder / "work")
    return plan, folder


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


def _discard_damaged(work: Path) -> None:
    """Remove what a power cut has left half-written, so that it is measured again."""
    for path in [path for path in sorted(work.rglob("[!.]*.json")) if not _whole(path)]:
        print(f"{shown(path)} is damaged: what it held is measured again")
        without = work.glob(f"slots/*/{path.name}") if path.parent.name == "entrants" else ()
        for lost in (path, *without):
            lost.unlink(missing_ok=True)


def _whole(path: Path) -> bool:
    try:
        json.loads(path.read_text("utf-8"))
    except ValueError:
        return False
    return True
