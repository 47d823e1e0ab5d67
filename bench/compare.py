"""``python -m bench compare A B``: what changed between two runs, variant by variant.

Machines drift by more than the differences looked for. So a variant's time in a slot is set against the
slot's pace, by which everything that is not ours was slower or faster in the same process.
A and B are folders of runs, or revisions of this repository, which are then raced side by side.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import pyarrow.parquet as pq

from bench import revisions, stats
from bench.options import REPORTS
from bench.options import parser as run_parser
from bench.report import comparison
from bench.report.load import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from bench.report.load import Race, Row, Run
    from bench.schema import Verdict
    from bench.stats import Interval

REFERENCES = {"peer", "limit", "exact"}
"""The roles whose times tell the machine's pace. The package they come from must not have changed."""
OURS_INSIDE = {"hash limit", "plain loop", "plain fuse loop"}
"""Yardsticks that run the library's own kernels: a change in those would hide behind them."""
POLISHES = 20  # each halves what is left, or better
FAILED = {"WRONG", "CRASHED", "TIMEOUT", "ERROR"}
ORDER: tuple[Verdict, ...] = ("slower", "faster", "undecided", "same", "")

Slots = dict[int, float]
"""Logarithms of times, or of paces, by slot."""


@dataclass(frozen=True)
class Side:
    """One of the two runs: its report, and the median warm times by task and contestant."""

    run: Run
    times: Mapping[tuple[str, str], Slots]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a run's folder."""
        columns = ["task", "contestant", "slot", "cold", "ns_item"]
        samples = pq.ParquetFile(folder / "samples.parquet").read(columns).to_pandas()
        warm = samples[~samples.cold & np.isfinite(samples.ns_item) & (samples.ns_item > 0)]
        medians = np.log(warm.groupby(["task", "contestant", "slot"]).ns_item.median())
        times: dict[tuple[str, str], Slots] = {}
        for (task, name, slot), time in medians.items():
            times.setdefault((task, name), {})[slot] = time
        return cls(load(folder), times)

    @cached_property
    def rows(self) -> dict[str, dict[str, Row]]:
        """Every contestant's row by task and name."""
        return {race.id: {row.contestant: row for row in race.rows} for race in self.run.races}

    def timed(self, row: Row | None) -> bool:
        """Whether a contestant came through, with times."""
        return row is not None and row.status == "ok" and (row.task, row.contestant) in self.times


class Pace(NamedTuple):
    """How slow the machine was in the slots of a family, and the tasks and names that tell it."""

    references: tuple[tuple[str, str], ...]
    a: Slots
    b: Slots

    @classmethod
    def of(cls, a: Side, b: Side, family: str) -> Self:
        """Find what was timed in both runs and cannot have changed, and how slow it was in each slot."""
        changed = versions(a.run, b.run)
        references = tuple(
            (race.id, row.contestant)
            for race in b.run.races
            if race.family == family and race.id in a.rows and race.op != "first_call"
            for row in race.rows
            if row.role in REFERENCES
            and row.contestant not in OURS_INSIDE
            and row.package not in changed
            and b.timed(row)
            and a.timed(a.rows[race.id].get(row.contestant))
        )
        slots = [(s, k) for s in (a, b) for k in sorted({k for r in references for k in s.times[r]})]
        times = [[side.times[r].get(slot, np.nan) for side, slot in slots] for r in references]
        paces = list(zip(slots, machine(np.array(times)), strict=True)) if references else []
        pace_a, pace_b = ({slot: pace for (of, slot), pace in paces if of is side} for side in (a, b))
        return cls(references, pace_a, pace_b)


def machine(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what all of a slot has in common, from log times of references (rows) in slots (columns).

    Every reference has a time of its own, every slot a pace; NaN is a slot without the reference. A pace is a
    median, so no single reference, nor what happened to it in one process, sets it (Tukey's median polish).
    """
    own = np.nanmean(times, axis=1, keepdims=True)
    for _ in range(POLISHES):
        pace = np.nanmedian(times - own, axis=0)
        own = np.nanmean(times - pace, axis=1, keepdims=True)
    return pace


class Change(NamedTuple):
    """A variant's nanoseconds per item in A and in B, both at one pace of the machine.

    ``change`` is A's time over B's: below 1, B is slower.
    """

    race: Race
    variant: str
    a: float
    b: float
    change: Interval
    verdict: Verdict = ""


class Unmatched(NamedTuple):
    """A variant, or all of a task's, that cannot be compared, and why; ``worse`` if it fails in B alone."""

    race: Race
    variant: str
    reason: str
    worse: bool = False


@dataclass(frozen=True)
class Comparison:
    """Two runs compared, what matters first."""

    a: Run
    b: Run
    changes: tuple[Change, ...]
    unmatched: tuple[Unmatched, ...]
    references: tuple[str, ...]

    def count(self, *verdicts: Verdict) -> int:
        """Count the changes with one of these verdicts."""
        return sum(change.verdict in verdicts for change in self.changes)

    @property
    def side_by_side(self) -> bool:
        """Whether the slots of the two ran in turn."""
        return revisions.side_by_side(self.a.id, self.b.id)

    @property
    def versions(self) -> dict[str, tuple[str | None, str | None]]:
        """The packages that changed between the runs, with both versions."""
        return versions(self.a, self.b)

    @property
    def worse(self) -> int:
        """How many variants fail in B alone."""
        return sum(one.worse for one in self.unmatched)


def compare(a: Side, b: Side) -> Comparison:
    """Compare every variant of every task of two runs."""
    changes: list[Change] = []
    unmatched: list[Unmatched] = []
    paces = {family: Pace.of(a, b, family) for family in {*a.run.families, *b.run.families}}
    for race in {race.id: race for race in (*a.run.races, *b.run.races)}.values():
        if race.id not in a.rows or race.id not in b.rows:
            unmatched.append(Unmatched(race, "every variant", _alone(race.id in a.rows)))
            continue
        rows_a, rows_b = a.rows[race.id], b.rows[race.id]
        for name in [row.contestant for row in (rows_a | rows_b).values() if row.role == "ours"]:
            if not (a.timed(rows_a.get(name)) and b.timed(rows_b.get(name))):
                unmatched += _unmatched(race, name, rows_a.get(name), rows_b.get(name))
            elif race.op == "first_call":  # timed once a run: there is nothing to judge by
                continue
            elif change := _change(a, b, race, name, paces[race.family]):
                changes.append(change)
            else:
                unmatched.append(Unmatched(race, name, "nothing to measure it against was timed in both"))
    used = {name for pace in paces.values() for _task, name in pace.references}
    unmatched.sort(key=lambda one: not one.worse)
    return Comparison(a.run, b.run, _judged(changes), tuple(unmatched), tuple(sorted(used)))


def versions(a: Run, b: Run) -> dict[str, tuple[str | None, str | None]]:
    """Return the packages known to both runs in different versions."""
    old, new = (run.env.get("volatile", {}).get("packages", {}) for run in (a, b))
    return {
        name: (old[name], new[name]) for name in sorted(old.keys() & new.keys()) if old[name] != new[name]
    }


def _change(a: Side, b: Side, race: Race, variant: str, pace: Pace) -> Change | None:
    """Compare the times of a variant, slot beside slot where the two runs' slots have the same data."""
    own_a, own_b = (
        {slot: time - paces[slot] for slot, time in side.times[race.id, variant].items() if slot in paces}
        for side, paces in ((a, pace.a), (b, pace.b))
    )
    difference = stats.difference
    if _pairs(a, b, min(len(own_a), len(own_b))):
        both, difference = sorted(own_a.keys() & own_b.keys()), stats.paired_difference
        own_a, own_b = ({slot: own[slot] for slot in both} for own in (own_a, own_b))
    if not (own_a and own_b):
        return None
    speed_a, speed_b = (stats.from_slots(-np.array([*own.values()])) for own in (own_a, own_b))
    return Change(race, variant, 1 / speed_a.ratio, 1 / speed_b.ratio, difference(speed_a, speed_b))


def _pairs(a: Side, b: Side, slots: int) -> bool:
    """Whether slots of the same number are to be compared in pairs.

    Those that ran side by side always; others of equal data only where pairing can afford to halve the
    degrees of freedom.
    """
    alike = a.run.info.seed is not None and a.run.info.seed == b.run.info.seed
    return revisions.side_by_side(a.run.id, b.run.id) or (alike and slots >= stats.MANY)


def _judged(changes: list[Change]) -> tuple[Change, ...]:
    """Enter the verdicts, which depend on all changes, and sort by what they call for."""
    verdicts = stats.judge([change.change for change in changes])
    judged = [change._replace(verdict=verdict) for change, verdict in zip(changes, verdicts, strict=True)]
    return tuple(sorted(judged, key=lambda c: (ORDER.index(c.verdict), -abs(math.log(c.change.ratio)))))


def _unmatched(race: Race, variant: str, row_a: Row | None, row_b: Row | None) -> Iterator[Unmatched]:
    """Say why a variant was not timed in both runs, unless it did not run in either."""
    if row_a is None or row_b is None:
        yield Unmatched(race, variant, _alone(row_a is not None))
        return
    worse = row_b.status in FAILED and row_a.status not in FAILED
    if worse or "ok" in {row_a.status, row_b.status}:
        yield Unmatched(race, variant, f"{_told(row_a)} in A, {_told(row_b)} in B", worse)


def _alone(in_a: bool) -> str:
    return "raced in A only" if in_a else "raced in B only"


def _told(row: Row) -> str:
    return f"{row.status} ({row.note})" if row.note else row.status


def main(argv: Sequence[str]) -> int:
    """Run it; return 1 if B is slower or fails where A did not, 2 if there is nothing to compare."""
    try:
        options = _parser().parse_args(argv)
        code, folders = _folders(options, argv)
        a, b = (Side.read(folder) for folder in folders)
        found = compare(a, b)
        if options.markdown == "-":
            print(comparison.markdown(found), end="")
        else:
            comparison.show(found, everything=options.all)
        if options.markdown not in {None, "-"}:
            Path(options.markdown).write_text(comparison.markdown(found), encoding="utf-8", newline="\n")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if code or found.count("slower") or found.worse:
        return code or 1
    return 0 if found.changes else 2


def _folders(options: argparse.Namespace, argv: Sequence[str]) -> tuple[int, list[Path]]:
    """Return the folders of the two runs, and the exit code of making them where revisions are named."""
    names = [options.a, options.b]
    folders = [folder for name in names if (folder := _folder(name))]
    if len(folders) == 2:
        unasked = vars(run_parser().parse_args([]))
        if any(getattr(options, name) != value for name, value in unasked.items()):
            raise ValueError("these runs are over: options of the race are for comparing two revisions")
        return 0, folders
    for name in names:
        if not _folder(name) and not revisions.commit(name):
            raise ValueError(
                f"no run.json in {name} or {REPORTS / name}, and no commit for git rev-parse {name}: "
                "name two folders of runs or two revisions"
            )
    if folders:
        raise ValueError(
            f"{names[0]} and {names[1]} are a run and a revision: name two folders or two revisions"
        )
    return revisions.race(names, options, argv)


def _folder(name: str) -> Path | None:
    """Return the folder of the run of this name, if there is one."""
    return next((path for path in (Path(name), REPORTS / name) if (path / "run.json").exists()), None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench compare",
        description="Compare two runs through their in-run ratios; exit with 1 if B is slower anywhere.",
        epilog="Options of the race apply to revisions, which are raced first.",
        parents=[run_parser()],
        conflict_handler="resolve",
    )
    what = "a folder of a run, its name in reports/, a revision, or . for the working tree"
    parser.add_argument("a", metavar="A", help=what)
    parser.add_argument("b", metavar="B", help="the same")
    parser.add_argument("--all", action="store_true", help="print every comparison, not only what changed")
    parser.add_argument("--markdown", metavar="FILE", help="write it for a pull request; - prints it instead")
    return parser
