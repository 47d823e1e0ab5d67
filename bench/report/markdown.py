"""The same tables in Markdown, verdicts first, as GitHub shows them."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING

from bench.report import banners, facts, fmt, membership, needs, plots, quality, selfcheck, tables, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.report.load import Row, Run

_TIMES = "\N{MULTIPLICATION SIGN}"
_MARKUP = str.maketrans({
    "&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "`": "&#96;", "*": "\\*", "_": "\\_"
})  # fmt: skip
_READING = (
    "A factor is how many times faster this library's anchor is than the fastest peer of a task. "
    "A ratio in a table is the anchor's time over the contestant's: above 1 is faster. Intervals are at 95 %."
)


def summary(run: Run) -> str:
    """Write the whole summary."""
    parts = [
        f"# Hotpath benchmark `{run.id}`",
        escape(words.machine(run)),
        *(f"> **{b.level.capitalize()}:** {escape(b.text)}" for b in banners.banners(run)),
        *(verdict_line(facts.verdict(run, name)) for name in run.families if run.family(name)),
        _READING,
    ]
    for name in run.families:
        parts += _family(run, name) if run.family(name) else []
    parts += [*_first_calls(run), *_slots(run), *_self_check(run), *_reproduce(run)]
    return "\n\n".join(parts) + "\n"


def verdict_line(v: facts.Judgement) -> str:
    """Write one family's verdict as a paragraph."""
    if v.overall is None or v.worst is None:
        return f"**{words.op(v.name)}:** no task has both this library's anchor and a peer measured yet."
    race, peer = v.worst
    against = f"{escape(words.full(race))}, against {escape(peer.contestant)}"
    unjudged = f", {v.unjudged} without a verdict" if v.unjudged else ""
    visible = f", at a median visible difference of {fmt.percent(v.visible, 2)}" if v.visible else ""
    exact = f" {fmt.ratio(v.exact.value)}{_TIMES} the best exact baseline." if v.exact else ""
    return (
        f"**{words.op(v.name)}: {words.headline(v)}**{_spaced(fmt.interval(v.overall.lo, v.overall.hi))}, "
        f"the geometric mean of {fmt.plural(len(v.duels), 'task')}; "
        f"at worst {fmt.ratio(facts.lead(peer).value)}{_TIMES} ({against}). {v.wins} faster, {v.same} same, "
        f"{v.losses} slower, {v.undecided} undecided{unjudged}{visible}; {v.wrong} wrong.{exact}"
    )


def _spaced(text: str) -> str:
    return f" {text}" if text else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Write a table, its cells escaped; the columns ``right`` are aligned to the right."""
    aligned = set(right)
    lines = [list(header), ["---:" if i in aligned else "---" for i in range(len(header))]]
    lines += [[escape(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escape(text: str) -> str:
    """Keep names and notes from being read as markup."""
    return " ".join(text.translate(_MARKUP).split())


def sheet(found: membership.Sheet) -> str:
    """Write a family's own table with its caption."""
    return f"{table(found.header, found.rows, right=found.right)}\n\n{escape(found.caption)}"


def space_table(run: Run, family: str) -> str:
    """Write what a family's contestants were measured by beside speed."""
    metrics, profiles = quality.measures(run, family).metrics, quality.profiles(run, family)
    wasted = any(p.wasted is not None for p in profiles)
    rows = (
        [
            p.contestant,
            tables.KINDS[p.role],
            *(words.figure(m, p.values.get(m)) for m in metrics),
            *([fmt.percent(p.wasted, 2)] if wasted else []),
        ]
        for p in profiles
    )
    names = [words.metric(m).capitalize() for m in metrics]
    header = ["Contestant", "Kind", *names, *(["Above the minimum"] if wasted else [])]
    return table(header, rows, right=range(2, len(header)))


def _family(run: Run, name: str) -> Iterator[str]:
    races = run.family(name)
    yield f"## {words.op(name)}"
    if len(operations := facts.by_operation(run, name)) > 1:
        yield "### Operation by operation"
        yield _operations(operations)
    if answers := needs.answers(run, name):
        yield "### Which one for me?"
        header = ["You need", "Take", "Figure", "At", "Ahead of", "Seen in"]
        yield table(
            header,
            (
                [
                    a.need,
                    " or ".join(words.candidate(c) for c in a.take),
                    a.figure,
                    a.price,
                    a.ahead,
                    a.basis,
                ]
                for a in answers
            ),
            right=(2,),
        )
    for file, caption in plots.captions(run, name).items():
        yield f"![{escape(caption.partition('.')[0])}]({file})"
        yield escape(caption)
    yield "### Score matrix"
    yield "Ratio to the anchor, and ns per item."
    yield from _matrix(tables.matrix(races))
    if duels := tables.duels(races):
        yield "### Task by task"
        yield words.VISIBLE
        yield _duels(duels)
        yield "### All tasks together"
        yield _overall(facts.standings(races))
    for found in membership.sheets(run) if name == membership.FAMILY else ():
        yield f"### {escape(found.title)}"
        yield sheet(found)
    if quality.profiles(run, name):
        yield "### Beside speed"
        yield words.MINIMUM
        yield space_table(run, name)
    if checks := quality.checks(run, name):
        yield "### Quality against theory"
        yield _checks(checks)


def _operations(found: list[facts.Judgement]) -> str:
    header = ["Operation", "Times as fast", "95 % interval", "Tasks", "Faster", "Same", "Slower", "Undecided",
              "Visible, median"]  # fmt: skip
    rows = (
        [words.op(v.name), fmt.ratio(v.overall.value), fmt.interval(v.overall.lo, v.overall.hi),
         *map(str, (len(v.duels), v.wins, v.same, v.losses, v.undecided)), fmt.percent(v.visible, 2)]
        if v.overall
        else [words.op(v.name), "no task with a peer", *[""] * (len(header) - 2)]
        for v in found
    )  # fmt: skip
    return table(header, rows, right=(1, *range(3, len(header))))


def _matrix(matrix: tables.Matrix) -> Iterator[str]:
    header = [escape(column.name) for column in matrix.columns]
    for op, rows in matrix.groups:
        body = ([words.task(race), *(_cell(row) for row in cells)] for race, cells in rows)
        yield table([words.op(op), *header], body, right=range(1, len(header) + 1))


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    if row.status != "ok":
        return f"{row.status} ({textwrap.shorten(row.note, 60)})" if row.note else row.status
    return f"{fmt.ratio(row.ratio)} ({fmt.cell_ns(row.ns_item)})"


def _duels(found: list[tables.Duel]) -> str:
    header = [
        "Task",
        "Anchor",
        "ns/item",
        "Best peer",
        "Times as fast",
        "95 % interval",
        "Verdict",
        "Visible",
        "Of the limit",
    ]
    return table(header, (_duel(duel) for duel in found), right=(2, 4, 7, 8))


def _duel(d: tables.Duel) -> list[str]:
    share = fmt.percent(d.anchor.limit_share, 2) if d.anchor.limit_share else ""
    start = [words.full(d.race), d.anchor.contestant, fmt.cell_ns(d.anchor.ns_item)]
    if d.peer is None or d.lead is None:
        return [*start, "none finished", "", "", "", "", share]
    ratio, interval = fmt.ratio(d.lead.value), fmt.interval(d.lead.lo, d.lead.hi)
    verdict = words.VERDICTS[d.peer.verdict]
    return [*start, d.peer.contestant, ratio, interval, verdict, fmt.percent(d.peer.mde, 2), share]


def _overall(found: list[facts.Candidate]) -> str:
    header = ["Contestant", "Kind", "Tasks", "Ratio", "95 % interval", "Worst", "Best"]
    rows = (
        [c.contestant, tables.KINDS[c.role], str(c.tasks), fmt.ratio(c.ratio), fmt.interval(c.lo, c.hi),
         fmt.ratio(c.worst), fmt.ratio(c.best)]
        for c in found
    )  # fmt: skip
    return table(header, rows, right=(2, 3, 5, 6))


def _checks(found: list[quality.Check]) -> str:
    def written(c: quality.Check) -> list[str]:
        value, theory, lo, hi = (
            words.figure(c.metric, x) for x in (c.worst.value, c.worst.theory, c.worst.lo, c.worst.hi)
        )
        held = f"{c.ok} of {c.held}" if c.held else "informative"
        return [c.contestant, words.metric(c.metric), value, theory, f"[{lo}, {hi}]", held]

    return table(
        ["Contestant", "Metric", "Value", "Theory", "Interval", "Held"], map(written, found), right=(2, 3)
    )


def _first_calls(run: Run) -> Iterator[str]:
    rows = [
        [row.contestant, race.family, fmt.ns(row.ns_item), fmt.ns(row.ns_cold), f"{row.status} {row.note}"]
        for race in run.first_calls
        for row in race.rows
    ]
    if rows:
        yield "## The first call"
        yield table(["Contestant", "Family", "Compiled before", "Empty cache", "Status"], rows, right=(2, 3))


def _slots(run: Run) -> Iterator[str]:
    yield "## How the slots agree"
    yield words.controls(facts.controls(run), facts.undecided_share(run))
    if arms := tables.control_arms(run):
        yield _arms(arms)
    if arms := tables.doubtful_arms(run):
        yield "### Undecided, or beside a control that was called"
        yield _arms(arms)
    if run.slots:
        yield "### Interference, slot by slot"
        header = ["Slot", "Family", "Seconds", "Load", "Waiting", "Stolen", "Pre-empted", "Attempts"]
        rows = (
            [str(s.slot), s.family, fmt.number(s.seconds), fmt.number(s.load1, 2), fmt.percent(s.psi_cpu, 2),
             fmt.percent(s.steal, 2), fmt.count(s.nivcsw),
             fmt.count(s.attempts) + (", repeated" if (s.attempts or 1) > 1 else "")]
            for s in run.slots
        )  # fmt: skip
        yield table(header, rows, right=range(2, 8))


def _arms(arms: list[tables.Arm]) -> str:
    header = ["Task", "Contestant", "Ratio", "95 % interval", "Slot by slot", "Far out", "Verdict", "Visible"]
    rows = (
        [words.full(arm.race), arm.row.contestant, fmt.number(arm.row.ratio, 4),
         fmt.interval(arm.row.lo, arm.row.hi), " ".join(map(fmt.ratio, arm.row.slot_ratios)),
         str(len(arm.outside) or ""), arm.row.verdict or "no verdict", fmt.percent(arm.row.mde, 2)]
        for arm in arms
    )  # fmt: skip
    return table(header, rows, right=(2, 5, 7))


def _self_check(run: Run) -> Iterator[str]:
    if findings := selfcheck.findings(run):
        yield "## Self-check"
        yield escape(selfcheck.sentence(findings))
        yield table(["What is asked", "Found", "Bound", "Held"], map(selfcheck.cells, findings))


def _reproduce(run: Run) -> Iterator[str]:
    yield "## Reproduce"
    yield f"```\n{shlex.join(run.info.command)}\n```"
    yield table(["Run", ""], words.identity(run))
    yield table(["Environment", ""], words.flatten(run.env))
