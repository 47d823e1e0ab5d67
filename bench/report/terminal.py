"""The short table after a run, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.report import banners, charts, facts, fmt, selfcheck, tables, words

if TYPE_CHECKING:
    from bench.report.load import Run

WIDTH = 100
_STYLES = {"slower": "green", "faster": "red"}


def show(run: Run, console: Console | None = None) -> None:
    """Print every task's anchor, its best peer, the verdict and the share of the limit."""
    console = console or Console()
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    for name in run.families:
        if duels := tables.duels(run.family(name)):
            console.print(_table(name, duels) if len(run.races) <= charts.MANY else _line(run, name))
    if findings := selfcheck.findings(run):
        console.print(_self_check(findings))
    for banner in banners.banners(run):
        console.print(Text(f"{banner.level}: {banner.text}"))


def _line(run: Run, family: str) -> Text:
    """Sum up a family of a run of very many tasks."""
    v = facts.verdict(run, family)
    calls = f"{v.wins} faster, {v.same} same, {v.losses} slower, {v.undecided} undecided"
    return Text(f"{words.op(family)}: {words.headline(v)}; {calls}.")


def _table(family: str, duels: list[tables.Duel]) -> Table:
    found = Table(title=Text(words.op(family)), title_justify="left", box=None, pad_edge=False)
    found.add_column("task", overflow="fold")
    found.add_column("ns/item", justify="right", no_wrap=True)
    found.add_column("best peer", max_width=16, no_wrap=True)
    found.add_column("times as fast", justify="right", no_wrap=True)
    found.add_column("verdict", no_wrap=True)
    found.add_column("visible", justify="right", no_wrap=True)
    found.add_column("of limit", justify="right", no_wrap=True)
    for duel in duels:
        found.add_row(*_row(duel))
    return found


def _row(duel: tables.Duel) -> list[Text]:
    share = fmt.percent(duel.anchor.limit_share, 2) if duel.anchor.limit_share else ""
    start = [Text(words.full(duel.race)), Text(fmt.cell_ns(duel.anchor.ns_item))]
    if duel.peer is None or duel.lead is None:
        return [*start, Text("none", "dim"), Text(), Text(), Text(), Text(share)]
    lead = f"{fmt.ratio(duel.lead.value)} {fmt.interval(duel.lead.lo, duel.lead.hi)}"
    verdict = Text(words.VERDICTS[duel.peer.verdict], _STYLES.get(duel.peer.verdict, ""))
    visible = Text(fmt.percent(duel.peer.mde, 2))
    return [*start, Text(duel.peer.contestant), Text(lead), verdict, visible, Text(share)]


def _self_check(findings: list[selfcheck.Finding]) -> Table:
    found = Table(title=Text("Self-check"), title_justify="left", box=None, pad_edge=False)
    for name in ("question", "found", "bound", "held"):
        found.add_column(name, overflow="fold")
    for finding in findings:
        found.add_row(*map(Text, selfcheck.cells(finding)), style="red" if finding.passed is False else "")
    return found
