"""The short table after a run, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.report import banners, fmt, tables, words

if TYPE_CHECKING:
    from bench.report.load import Run

WIDTH = 100
_STYLES = {"slower": "green", "faster": "red"}


def show(run: Run, console: Console | None = None) -> None:
    """Print every task's anchor, its best peer, the verdict and the share of the limit."""
    console = console or Console()
    console = Console(file=console.file, width=min(console.width, WIDTH), color_system=None) if not console.is_terminal else console
    for name in run.families:
        if duels := tables.duels(run.family(name)):
            console.print(_table(name, duels), width=min(console.width, WIDTH))
    for banner in banners.banners(run):
        console.print(Text(f"{banner.level}: {banner.text}"), width=min(console.width, WIDTH))


def _table(family: str, duels: list[tables.Duel]) -> Table:
    found = Table(title=Text(words.op(family)), title_justify="left", box=None, pad_edge=False)
    found.add_column("task", ratio=1, overflow="fold")
    for name in ("ns/item", "best peer", "times faster", "verdict", "of limit"):
        found.add_column(name, justify="left" if name in {"best peer", "verdict"} else "right", overflow="ellipsis")
    for duel in duels:
        found.add_row(*_row(duel))
    return found


def _row(duel: tables.Duel) -> list[Text]:
    share = fmt.percent(duel.anchor.limit_share, 2) if duel.anchor.limit_share else ""
    start = [Text(words.full(duel.race)), Text(fmt.number(duel.anchor.ns_item))]
    if duel.peer is None or duel.lead is None:
        return [*start, Text("none", "dim"), Text(), Text(), Text(share)]
    lead = f"{fmt.ratio(duel.lead.value)} {fmt.interval(duel.lead.lo, duel.lead.hi)}"
    verdict = Text(words.VERDICTS[duel.peer.verdict], _STYLES.get(duel.peer.verdict, ""))
    return [*start, Text(duel.peer.contestant), Text(lead), verdict, Text(share)]
