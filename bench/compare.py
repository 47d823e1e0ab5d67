"""``python -m bench compare A B``: what changed between two runs, variant by variant.

No absolute time is compared: machines drift by more than the differences looked for. In each run a variant is
measured against references that are not ours, round by round, and these ratios are what is compared.
A and B are folders of runs, or revisions of this repository, which are then raced side by side.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import geometric_mean
from typing import TYPE_CHECKING, NamedTuple, Self

import pyarrow.parquet as pq

from bench import revisions, stats
from bench.options import REPORTS
from bench.options import parser as run_parser
from bench.report import comparison
from bench.report.load import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.report.load import Race, Row, Run
    from bench.schema import Verdict
    from bench.stats import Interval, Rounds

REFERENCES = (("peer",), ("limit",), ("exact",))
"""The roles a variant may be measured against, the steadier first: the slots of a run on a quiet machine
differ by 1.2 % against packages, 2 % against yardsticks, which are all memory, 3 % against exact ones."""
ENOUGH = 0.25  # of a variant's rounds must be a reference's too: slow ones race in every third
OURS_INSIDE = {"hash limit", "plain loop"}
"""Yardsticks that run the library's own kernels: a change in those would hide behind them."""
FAILED = {"WRONG", "CRASHED", "TIMEOUT", "ERROR"}
ORDER: tuple[Verdict, ...] = ("slower", "faster", "undecided", "same", "")

Slots = dict[int, "Rounds"]


@dataclass(frozen=True)
class Side:
    """One of the two runs: its report, and the warm times by task and contestant, slot and round."""

    run: Run
    times: Mapping[tuple[str, str], Slots]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a run's folder."""
        columns = ["task", "contestant", "slot", "round", "cold", "ns_item"]
        table = pq.ParquetFile(folder / "samples.parquet").read(columns)
        times: dict[tuple[str, str], Slots] = {}
        for task, name, slot, round_, cold, ns in zip(*(table[c].to_pylist() for c in columns), strict=True):
            if not cold and stats.usable(ns):
                times.setdefault((task, name), {}).setdefault(slot, {})[round_] = ns
        return cls(load(folder), times)

    @cached_property
    def rows(self) -> dict[str, dict[str, Row]]:
        """Every contestant's row by task and name."""
        return {race.id: {row.contestant: row for row in race.rows} for race in self.run.races}

    def timed(self, row: Row | None) -> bool:
        """Whether a contestant came through, with times."""
        return row is not None and row.status == "ok" and (row.task, row.contestant) in self.times

    def shared(self, task: str, variant: str, reference: str) -> float:
        """Return the share of a variant's rounds in which a reference was timed too."""
        own, other = self.times[task, variant], self.times[task, reference]
        both = sum(len(rounds.keys() & other.get(slot, {}).keys()) for slot, rounds in own.items())
        return both / sum(len(rounds) for rounds in own.values())

    def baseline(self, task: str, variant: str, references: Sequence[str]) -> Slots:
        """Return the references' mean time of every round in which they and the variant were timed."""
        found: Slots = {}
        for slot, own in self.times[task, variant].items():
            others = [self.times[task, name].get(slot, {}) for name in references]
            if rounds := own.keys() & set.intersection(*(set(other) for other in others)):
                found[slot] = {r: geometric_mean(other[r] for other in others) for r in rounds}
        return found


class Change(NamedTuple):
    """A variant's ratio, ``references' time / its own``, in A and in B; ``change`` is B's over A's."""

    race: Race
    variant: str
    references: tuple[str, ...]
    a: Interval
    b: Interval
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
            elif change := _change(a, b, race, name):
                changes.append(change)
            else:
                unmatched.append(Unmatched(race, name, "nothing to measure it against was timed in both"))
    return Comparison(a.run, b.run, _judged(changes), tuple(sorted(unmatched, key=lambda u: not u.worse)))


def references(a: Side, b: Side, task: str, variant: str) -> tuple[str, ...]:
    """Choose what a variant is measured against: packages, else yardsticks, else exact baselines.

    Those that race in a quarter of its rounds or more come first: with the others there are few rounds left.
    """
    changed = versions(a.run, b.run)
    candidates = {
        name: row.role
        for name, row in b.rows[task].items()
        if b.timed(row)
        and a.timed(a.rows[task].get(name))
        and row.package not in changed
        and name not in OURS_INSIDE
    }
    for share in (ENOUGH, 0.0):
        for roles in REFERENCES:
            found = [
                name
                for name, role in candidates.items()
                if role in roles and min(side.shared(task, variant, name) for side in (a, b)) > share
            ]
            if found:
                return tuple(found)
    return ()


def versions(a: Run, b: Run) -> dict[str, tuple[str | None, str | None]]:
    """Return the packages known to both runs in different versions."""
    old, new = (run.env.get("volatile", {}).get("packages", {}) for run in (a, b))
    return {
        name: (old[name], new[name]) for name in sorted(old.keys() & new.keys()) if old[name] != new[name]
    }


def _change(a: Side, b: Side, race: Race, variant: str) -> Change | None:
    """Compare the ratios of a variant; slots that ran side by side, on equal data, are compared in pairs."""
    if not (chosen := references(a, b, race.id, variant)):
        return None
    base_a, base_b = (side.baseline(race.id, variant, chosen) for side in (a, b))
    difference = stats.difference
    if revisions.side_by_side(a.run.id, b.run.id):
        both, difference = base_a.keys() & base_b.keys(), stats.paired_difference
        base_a, base_b = ({slot: base[slot] for slot in both} for base in (base_a, base_b))
    ratio_a = stats.compare(base_a, a.times[race.id, variant])
    ratio_b = stats.compare(base_b, b.times[race.id, variant])
    change = difference(ratio_a, ratio_b)  # NaN if there is no slot, or no round, to compare
    return Change(race, variant, chosen, ratio_a, ratio_b, change) if change.ratio > 0 else None


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
