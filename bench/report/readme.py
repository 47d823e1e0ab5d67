"""Tables in a Markdown file that are generated from a run: ``python -m bench.report.readme``.

A table stands between ``<!-- generated: NAME -->`` and ``<!-- end -->`` and names the run it comes from.
"""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report import facts, fmt, markdown, tables, words
from bench.report.load import Run, load

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rewrite(run: Run, text: str) -> str:
    """Return ``text`` with every generated block written anew from ``run``."""

    def block(match: re.Match[str]) -> str:
        if (name := match[2]) not in _BLOCKS:
            raise ValueError(f"no generated block is called {name!r}: use one of {', '.join(sorted(_BLOCKS))}")
        return f"{match[1]}{_BLOCKS[name](run)}\n{match[3]}"

    return _BLOCK.sub(block, text)


def _run(run: Run) -> str:
    return (
        f"Run `{run.id}` of {run.info.get('started', '')[:10]}: {markdown.escape(words.machine(run))}, "
        f"by `{shlex.join(run.info.get('command') or [])}`.\n\n"
        + "\n\n".join(markdown.verdict_line(facts.verdict(run, name)) for name in run.families if run.family(name))
    )


def _lookup(run: Run) -> str:
    """Nanoseconds per key and the ratio to the anchor, by where the anchor's state lives."""
    levels = facts.caches(run.env)
    races = [race for race in run.family("filters") if race.op == "contains" and race.finished]
    places = [place for place in facts.PLACES if any(facts.residence(race, levels) == place for race in races)]
    columns = [[race for race in races if facts.residence(race, levels) == place] for place in places]
    found = [{(c.contestant, c.role): c for c in tables.overall(tuple(group))} for group in columns]
    names = sorted(
        dict.fromkeys(key for column in found for key in column),
        key=lambda key: (-max(column[key].ratio for column in found if key in column), key),
    )
    header = ["Contestant", "Kind", *(words.place(place, levels).removeprefix(", ") for place in places)]
    rows = ([name, tables.KINDS[role], *(_time(c.get((name, role))) for c in found)] for name, role in names)
    body = markdown.table(header, rows, right=range(2, 2 + len(places)))
    return f"{body}\n\nNanoseconds per key, and times as fast as the anchor; geometric means. {_source(run)}"


def _time(c: facts.Candidate | None) -> str:
    return fmt.NONE if c is None else f"{fmt.number(c.ns)} ({fmt.ratio(c.ratio)})"


def _space(run: Run) -> str:
    note = "Above the minimum: memory beyond log2(1/rate) bits per key, below which no structure can reach the rate."
    return f"{markdown.space_table(run, 'filters')}\n\n{note} {_source(run)}"


def _source(run: Run) -> str:
    return f"Run `{run.id}`."


_BLOCKS: dict[str, Callable[[Run], str]] = {"run": _run, "filters-lookup": _lookup, "filters-space": _space}


def main() -> None:
    """Rewrite a file's tables, by default the README's from the reference run."""
    parser = argparse.ArgumentParser(prog="python -m bench.report.readme", description=main.__doc__)
    parser.add_argument("--run", type=Path, default=ROOT / "reports" / "reference", help="folder of the run")
    parser.add_argument("file", type=Path, nargs="?", default=ROOT / "README.md")
    options = parser.parse_args()
    text = options.file.read_text(encoding="utf-8")
    options.file.write_text(rewrite(load(options.run), text), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
