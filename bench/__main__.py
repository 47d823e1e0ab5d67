"""The command line, ``python -m bench``."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import options, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.plan import Plan


def main(argv: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    if argv[:1] == ["compare"]:
        from bench import compare

        return compare.main(argv[1:])
    try:
        if argv[:1] == ["report"]:
            run.report(_report_parser().parse_args(argv[1:]).folder)
            return 0
        plan, folder = _planned(argv)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return run.Supervisor(plan, folder).run()


def _planned(argv: Sequence[str]) -> tuple[Plan, Path]:
    """Return the new plan the options ask for, or the old one they name."""
    parser = options.parser()
    given = parser.parse_args(argv)
    if given.resume is None:
        return options.create(given, argv)
    if vars(given) != vars(parser.parse_args([])) | {"resume": given.resume}:
        raise ValueError("a resumed run keeps the options it was started with: give --resume no others")
    return options.resume(given.resume)


def _report_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench report", description="Render a run's report anew.")
    parser.add_argument("folder", type=Path, help="the run's folder")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a CI that stops the run gets its report too
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(run.INTERRUPTED)
