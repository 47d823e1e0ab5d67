"""Tables in a Markdown file that are generated from a run: ``python -m bench.report.readme``.

A table stands between ``<!-- generated: NAME -->`` and ``<!-- end -->`` and names the run it comes from.
"""

from __future__ import annotations

import argparse
import re
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report import charts, facts, fmt, markdown, membership, quality, tables, words
from bench.report.load import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.report.load import Race, Row, Run

ROOT = Path(__file__).parents[2]
FILES = ("README.md", "docs/choose-filters.md", "docs/choose-limiters.md", "docs/choose-counters.md")
_BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rewrite(run: Run, text: str) -> str:
    """Return ``text`` with every generated block written anew from ``run``."""

    def block(match: re.Match[str]) -> str:
        if (name := match[2]) not in _BLOCKS:
            raise ValueError(
                f"no generated block is called {name!r}: use one of {', '.join(sorted(_BLOCKS))}"
            )
        return f"{match[1]}{_BLOCKS[name](run)}\n{match[3]}"

    return _BLOCK.sub(block, text)


def _run(run: Run) -> str:
    return (
        f"Run `{run.id}` of {words.moment(run.info.started)}: {markdown.escape(words.machine(run))}, "
        f"by `{shlex.join(run.info.command)}`.\n\n"
        + "\n\n".join(
            markdown.verdict_line(facts.verdict(run, name)) for name in run.families if run.family(name)
        )
    )


def _lookup(run: Run) -> str:
    """Write time per key and ratio to the anchor: over size, for every kind of key, and one key a call."""
    races = _lookups(run)
    matrix = tables.matrix(tuple(races))
    rows = [
        [column.name, tables.KINDS[column.role], *(_time(row) for row in cells)]
        for column, cells in zip(matrix.columns, _transposed(matrix), strict=True)
        if column.role in {*facts.RACED, "limit"}
    ]
    header = ["Contestant", "Kind", *(f"{race.workload}, {fmt.count(race.n)}" for race in races)]
    single = [race for race in races if race.op == "contains_one"]
    header[len(header) - len(single) :] = [
        f"{race.workload}, {fmt.count(race.n)}, one a call" for race in single
    ]
    body = markdown.table(header, rows, right=range(2, len(header)))
    return f"{body}\n\nNanoseconds per key, and times as fast as the anchor. {_source(run)}"


def _lookups(run: Run) -> list[Race]:
    """Choose the longest series of batch lookups, its like of other workloads, and a single lookup."""
    races = [race for race in run.family("filters") if race.finished]
    batch = charts.groups(tuple(race for race in races if race.op == "contains"))
    longest = max(batch, key=len, default=[])
    others = [
        race for race in races if longest and race.op == "contains" and race.params == longest[0].params
    ]
    single = [race for race in races if race.op == "contains_one"]
    return [*longest, *(race for race in others if race not in longest), *single[:1]]


def _transposed(matrix: tables.Matrix) -> list[list[Row | None]]:
    rows = [cells for _, group in matrix.groups for _, cells in group]
    return [list(column) for column in zip(*rows, strict=True)]


def _time(row: Row | None) -> str:
    if row is None or row.status != "ok":
        return row.status.lower() if row else ""
    return f"{fmt.cell_ns(row.ns_item)} ({fmt.ratio(row.ratio)})"


def _space(run: Run) -> str:
    law = "memory beyond the log2(1/rate) bits per key that any structure needs for its rate."
    return f"{markdown.space_table(run, 'filters')}\n\nAbove the minimum: {law} {_source(run)}"


def _source(run: Run) -> str:
    return f"Run `{run.id}`."


def _sheets(run: Run, key: str) -> str:
    """Write the tables of one kind that the report has for filters."""
    found = [s for s in membership.sheets(run) if s.key == key]
    tables = (f"**{markdown.escape(s.title)}**\n\n{markdown.sheet(s)} {_source(run)}" for s in found)
    return "\n\n".join(tables) or f"{_source(run)} It has no figures for this."


def _errors(run: Run) -> str:
    """Write how often each limiter is wrong at each load: allowed wrongly, and denied wrongly."""
    figures = {p.contestant: p.values for p in quality.profiles(run, "ratelimit") if p.role == "ours"}
    loads = [name.split("_")[1] for name in next(iter(figures.values()), {}) if name.startswith("denial_")]
    wrong = ("over_admission", "denial")
    if not loads:
        return f"{_source(run)} It has no figures for this."
    rows = [
        [name, *(" / ".join(fmt.percent(values[f"{way}_{load}_rate"], 2) for way in wrong) for load in loads)]
        for name, values in figures.items()
        if f"denial_{loads[0]}_rate" in values
    ]
    header = ["Limiter", *(f"load {load}" for load in loads)]
    return f"{markdown.table(header, rows, right=range(1, len(header)))}\n\n{_source(run)}"


def _beside(run: Run, family: str, op: str, once: tuple[str, ...], each: str = "") -> str:
    """Write times of an operation, beside them what is measured once, behind each what is at that task."""
    races = [race for race in run.family(family) if race.op == op and race.finished]
    if not races:
        return f"{_source(run)} It has no figures for this."
    values = {race.id: run.qualities.get(race.id, {}) for race in races}
    matrix = tables.matrix(tuple(races))
    rows = []
    for column, cells in zip(matrix.columns, _transposed(matrix), strict=True):
        if column.role in {*facts.RACED, "limit"}:
            known = {name: x for race in races for name, x in values[race.id].get(column.name, {}).items()}
            told = [words.figure(name, known[name], 2) if name in known else "" for name in once]
            times = []
            for race, row in zip(races, cells, strict=True):
                error = values[race.id].get(column.name, {}).get(each)
                times.append(_time(row) + (f", {words.figure(each, error, 2)}" if error is not None else ""))
            rows.append([column.name, tables.KINDS[column.role], *told, *times])
    header = ["Contestant", "Kind", *map(words.metric, once), *map(words.task, races)]
    beside = f", and the {words.metric(each)}" if each else ""
    said = f"Nanoseconds an item, times as fast as the anchor in brackets{beside}. {_source(run)}"
    return f"{markdown.table(header, rows, right=range(2, len(header)))}\n\n{said}"


_BLOCKS: dict[str, Callable[[Run], str]] = {
    "run": _run,
    "filters-lookup": _lookup,
    "filters-space": _space,
    "ratelimit-errors": _errors,
    "cardinality-count": partial(
        _beside,
        family="cardinality",
        op="count",
        once=("bytes", "serialised_bytes", "relative_error", "variance_times_memory"),
    ),
    **{
        f"cardinality-{op}": partial(_beside, family="cardinality", op=op, once=())
        for op in ("add_one", "groups", "merge", "estimate")
    },
    "frequency-add": partial(_beside, family="frequency", op="add", once=(), each="relative_error"),
    "frequency-add_one": partial(_beside, family="frequency", op="add_one", once=()),
    "frequency-top": partial(
        _beside, family="frequency", op="top", once=("bytes", "precision", "named_error"), each="recall"
    ),
    "frequency-touch": partial(_beside, family="frequency", op="touch", once=("bytes", "counter_error")),
    **{f"filters-{key}": partial(_sheets, key=key) for key in ("table", "rates", "spaces", "costs")},
}


def main() -> None:
    """Rewrite the tables of files, by default those made from the reference run."""
    parser = argparse.ArgumentParser(prog="python -m bench.report.readme", description=main.__doc__)
    parser.add_argument("--run", type=Path, default=ROOT / "reports" / "reference", help="folder of the run")
    parser.add_argument("files", type=Path, nargs="*", default=[ROOT / name for name in FILES])
    options = parser.parse_args()
    run = load(options.run)
    for file in options.files:
        text = file.read_text(encoding="utf-8")
        file.write_text(rewrite(run, text), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
