"""What changed between two runs, for the terminal and for a pull request."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.report import banners, fmt, terminal, words
from bench.report.markdown import escape, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.compare import Change, Comparison, Unmatched
    from bench.report.load import Run
    from bench.schema import Verdict

READING = (
    "Times are nanoseconds per item at one pace of the machine: each slot's are corrected by how much slower "
    "or faster all else was in it. The change is the time in A over that in B: below 1, B is slower. "
    "Intervals are at 95 %. A change is called if its whole interval is beyond 1 % and it stands among all "
    "that were tested (Benjamini-Hochberg). Visible is the least change that would have been called."
)
VERDICTS: tuple[Verdict, ...] = ("slower", "faster", "same", "undecided")
CHANGED: tuple[Verdict, ...] = ("slower", "faster")
HEADER = ["Task", "Variant", "ns in A", "ns in B", "Change", "95 % interval", "Verdict", "Visible"]
STYLES = {"slower": "red", "faster": "green"}


def headline(c: Comparison) -> str:
    """Say in one sentence whether B is slower."""
    if not c.changes:
        said = "Nothing to compare: no variant was timed in both runs"
    elif c.count("") == len(c.changes):
        said = "No verdict: runs of one slot cannot tell a change from their own luck"
    else:
        compared = fmt.plural(len(c.changes), "comparison")
        said = f"B is called slower in {c.count('slower') or 'none'} of {compared}"
    fails = f", and {fmt.plural(c.worse, 'variant')} failed that did not fail in A" if c.worse else ""
    return f"{said}{fails}."


def totals(c: Comparison) -> str:
    """Count the verdicts, and say what shares were called and left undecided."""
    judged = len(c.changes) - c.count("")
    if not judged:
        return f"Without a verdict: {len(c.changes):,}."
    counts = ", ".join(f"{c.count(verdict):,} {verdict}" for verdict in VERDICTS)
    called, undecided = c.count(*CHANGED) / judged, c.count("undecided") / judged
    return f"{counts}; {fmt.percent(called, 2)} called, {fmt.percent(undecided, 2)} left open."


def warnings(c: Comparison) -> Iterator[str]:
    """Say what makes the two runs less comparable, and what each warns of itself."""
    a, b = c.a.info, c.b.info
    if a.fingerprint != b.fingerprint:
        yield (
            f"Different machines, {a.fingerprint} in A and {b.fingerprint} in B: reason enough for a change."
        )
    if a.tier != b.tier:
        yield f"Different tiers: {a.tier} in A, {b.tier} in B."
    if a.stamp != b.stamp and not c.side_by_side:
        yield f"Different code, of the library or of the benchmark: {a.stamp} in A, {b.stamp} in B."
    if c.versions:
        listed = ", ".join(f"{name} {old} and {new}" for name, (old, new) in c.versions.items())
        yield f"Different packages, not used as references: {listed}."
    for side, run in (("A", c.a), ("B", c.b)):
        yield from (f"{side}: {banner.text}" for banner in banners.banners(run) if banner.level != "note")


def markdown(c: Comparison) -> str:
    """Write the comparison for a pull request: the verdict, what changed, and the rest folded away."""
    changed = [change for change in c.changes if change.verdict in CHANGED]
    worse = [one for one in c.unmatched if one.worse]
    parts = [
        f"### Benchmark: `{c.a.id}` (A) against `{c.b.id}` (B)",
        f"**{escape(headline(c))}** {escape(totals(c))}",
        *(f"> {escape(text)}" for text in warnings(c)),
    ]
    if worse:
        parts.append(_unmatched(worse))
    if changed:
        parts += [_changes(changed), READING]
    if c.changes:
        parts += _folded(f"All {fmt.plural(len(c.changes), 'comparison')}", _changes(c.changes))
    if c.unmatched:
        parts += _folded(f"Not compared: {len(c.unmatched):,}", _unmatched(c.unmatched))
    parts += _folded("The two runs", _identities(c))
    return "\n\n".join(parts) + "\n"


def _folded(title: str, text: str) -> list[str]:
    return [f"<details><summary>{title}</summary>", text, "</details>"]


def _changes(changes: Iterable[Change]) -> str:
    return table(HEADER, map(_cells, changes), right=(2, 3, 4, 7))


def _cells(c: Change) -> list[str]:
    bounded = not math.isnan(c.change.lo)
    return [
        words.full(c.race),
        c.variant,
        fmt.number(c.a, 4),
        fmt.number(c.b, 4),
        fmt.number(c.change.ratio, 3),
        fmt.interval(c.change.lo, c.change.hi) if bounded else "",
        c.verdict or "no verdict",
        fmt.percent(c.change.mde, 2) if bounded else "",
    ]


def _unmatched(found: Iterable[Unmatched]) -> str:
    return table(["Task", "Variant", "Why"], ([words.full(u.race), u.variant, u.reason] for u in found))


def _identities(c: Comparison) -> str:
    a, b = (dict([*words.identity(run), ("commit", _commit(run))]) for run in (c.a, c.b))
    sides = table(["", "A", "B"], ([name, a.get(name, ""), b.get(name, "")] for name in a | b))
    return f"{sides}\n\nThe machine's pace is that of {escape(', '.join(c.references)) or 'nothing'}."


def _commit(run: Run) -> str:
    moment = run.env.get("volatile", {})
    return f"{moment.get('commit') or ''}{' with changes' if moment.get('dirty') else ''}"


def show(c: Comparison, *, everything: bool = False, console: Console | None = None) -> None:
    """Print the changes that were called, or everything, and the verdict below."""
    console = console or Console()
    console.width = min(console.width, terminal.WIDTH) if console.is_terminal else terminal.WIDTH
    if changes := [change for change in c.changes if everything or change.verdict in CHANGED]:
        console.print(_terminal_table(changes))
    for one in c.unmatched:
        if everything or one.worse:
            console.print(Text(f"{words.full(one.race)}: {one.variant}: {one.reason}"))
    for text in warnings(c):
        console.print(Text(text))
    console.print(Text(headline(c), "bold"))
    console.print(Text(totals(c)))


def _terminal_table(changes: list[Change]) -> Table:
    found = Table(box=None, pad_edge=False)
    found.add_column("task", overflow="fold")
    found.add_column("variant", overflow="fold")
    found.add_column("A", justify="right", no_wrap=True)
    found.add_column("B", justify="right", no_wrap=True)
    found.add_column("change", justify="right", no_wrap=True)
    found.add_column("verdict", no_wrap=True)
    found.add_column("visible", justify="right", no_wrap=True)
    for change in changes:
        task, variant, a, b, ratio, interval, verdict, visible = _cells(change)
        styled = Text(verdict, STYLES.get(change.verdict, ""))
        found.add_row(*map(Text, (task, variant, a, b, f"{ratio} {interval}")), styled, Text(visible))
    return found
