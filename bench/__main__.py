"""The command line, ``python -m bench``."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import run
from bench.plan import EFFORTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.plan import Plan


def main(argv: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    try:
        if argv[:1] == ["report"]:
            run.report(_report_parser().parse_args(argv[1:]).folder)
            return 0
        plan, folder = _planned(argv)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return run.Supervisor(plan, folder).run()


def _planned(argv: Sequence[str]) -> tuple[Plan, Path]:
    """Return the new plan the options ask for, or the old one they name."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.resume is None:
        return run.create(options, argv)
    if vars(options) != vars(parser.parse_args([])) | {"resume": options.resume}:
        raise ValueError("a resumed run keeps the options it was started with: give --resume no others")
    return run.resume(options.resume)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Race every variant and write a report.",
        epilog="python -m bench report FOLDER renders a run anew.",
    )
    tier = parser.add_mutually_exclusive_group()
    quick = f"one slot, at most {EFFORTS['quick'].rounds} rounds: not a verdict"
    tier.add_argument(
        "--quick", dest="tier", action="store_const", const="quick", default="default", help=quick
    )
    tier.add_argument(
        "--thorough", dest="tier", action="store_const", const="thorough", help="as long as it takes"
    )
    parser.add_argument("--family", nargs="+", default=[], metavar="F", help="only these families")
    parser.add_argument("--task", nargs="+", default=[], metavar="GLOB", help="only tasks whose id matches")
    parser.add_argument("--no-peers", action="store_true", help="leave other packages out")
    parser.add_argument(
        "--resume", nargs="?", const="", metavar="FOLDER", help="go on with a stopped run (the latest)"
    )
    parser.add_argument("--out", metavar="FOLDER", help="where to write (reports/<date>-<machine>)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all data and orders (0)")
    return parser


def _report_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench report", description="Render a run's report anew.")
    parser.add_argument("folder", type=Path, help="the run's folder")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a CI that stops the run gets its report too
    sys.exit(main(sys.argv[1:]))
