"""One self-contained page: no network, no library, readable without JavaScript."""

from __future__ import annotations

import json
import math
import re
import shlex
from bisect import bisect_right
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from bench.report import (
    banners,
    charts,
    components,
    facts,
    figures,
    fmt,
    membership,
    needs,
    quality,
    selfcheck,
    tables,
    words,
)
from bench.report.jinja import environment

if TYPE_CHECKING:
    from jinja2 import Environment

    from bench.report.load import Row, Run

STEPS = (1.01, 1.25, 2.0, 5.0, 20.0)
"""Where the colour of a ratio changes; the same on the slower side."""

_CODES = {"faster": "f", "slower": "s", "same": "=", "undecided": "u"}
_FOREST = 190  # pixels


def page(run: Run) -> str:
    """Render the whole report."""
    findings = selfcheck.findings(run)
    template = _environment().get_template("template.html.j2")
    return template.render(
        run=run,
        detailed=len(run.races) <= charts.MANY,
        glyphs=Markup(figures.glyphs()),  # noqa: S704 - fixed text
        machine=words.machine(run),
        banners=banners.banners(run),
        families=[_family(run, name) for name in run.families if run.family(name)],
        coverage=components.coverage(run),
        first_calls=[(race, row) for race in run.first_calls for row in race.rows],
        controls_text=words.controls(facts.controls(run), facts.undecided_share(run)),
        alarms=facts.controls(run).alarms,
        agreement={
            "Control arms": _arms(tables.control_arms(run)),
            "Undecided, or beside a control that was called": _arms(tables.doubtful_arms(run)),
        },
        findings=[(f, selfcheck.cells(f)) for f in findings],
        checked_text=selfcheck.sentence(findings),
        checked=_arms([tables.arm(race, row) for race in run.self_check for row in race.rows if row.timed]),
        identity=words.identity(run),
        environment=list(words.flatten(run.env)),
    )


def _family(run: Run, name: str) -> dict[str, Any]:
    races = run.family(name)
    matrix = tables.matrix(races)
    return {
        "name": name,
        "verdict": facts.verdict(run, name),
        "operations": _operations(facts.by_operation(run, name)),
        "answers": needs.answers(run, name),
        "sheets": membership.sheets(run) if name == membership.FAMILY else (),
        "common": ", ".join(words.parameters(run.common(name))),
        "matrix": matrix,
        "data": _data(matrix, slots=len(run.races) <= charts.MANY),
        "duels": _duels(tables.duels(races)),
        "overall": _overall(facts.standings(races)),
        "charts": charts.draw(run, name),
        "checks": quality.checks(run, name),
        "measures": quality.measures(run, name),
        "profiles": quality.profiles(run, name),
        "variants": [v for v in run.catalog if v["family"] == name],
    }


# The score matrix


def css(row: Row | None) -> str:
    """Name a cell's look: ``f1`` to ``f5`` faster, ``s1`` to ``s5`` slower, ``e`` equal."""
    if row is None:
        return "n"
    if row.status != "ok":
        return "z" if row.status in {"WRONG", "CRASHED"} else "x"
    if row.role in tables.APART:
        return "c"
    if row.anchor or row.ratio is None:
        return "a" if row.anchor else "n"
    level = bisect_right(STEPS, max(row.ratio, 1 / row.ratio))
    return f"{'f' if row.ratio > 1 else 's'}{level}" if level else "e"


def datum(row: Row | None, usual: Row | None = None, *, slots: bool = False) -> str:
    """Pack a cell for the script, and leave out what goes without saying.

    The fields are ratio, verdict, visible difference in per cent, log distances to the interval's ends in
    thousandths (one does for both if they are equal), slots and rounds if they are not the ``usual`` ones;
    after a slash, the slots' medians.
    """
    if row is None or not row.timed or row.ratio is None:
        return ""
    below = above = visible = counted = ""
    if row.lo and row.hi and row.lo < row.hi:
        ends = [fmt.number(1000 * math.log(b / a), 2) for a, b in ((row.lo, row.ratio), (row.ratio, row.hi))]
        below, above = ends[0], ends[1] if ends[1] != ends[0] else ""
        visible = fmt.number(100 * (row.mde or 0.0), 2)
    if usual is None or (row.slots, row.rounds) != (usual.slots, usual.rounds):
        counted = f"{row.slots}x{row.rounds}"
    ratio = f"{row.ratio:.4g}".removeprefix("0")
    fields = [ratio, _CODES.get(row.verdict, ""), visible, below, above, counted]
    medians = (
        "/" + " ".join(fmt.number(ns).replace(",", "") for ns in row.slot_ns) if slots and row.slot_ns else ""
    )
    return " ".join(fields).rstrip() + medians


def _data(matrix: tables.Matrix, *, slots: bool) -> Markup:
    """Embed a matrix's figures for the script that re-anchors them and tells them."""
    rows = []
    for cells in (cells for _, group in matrix.groups for _, cells in group):
        usual = next((row for row in cells if row and row.anchor), None)
        counted = f"{usual.slots}x{usual.rounds}" if usual else ""
        rows.append("|".join([counted, *(datum(row, usual, slots=slots) for row in cells)]))
    names = [column.name for column in matrix.columns]
    text = json.dumps({"columns": names, "rows": rows}, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - nothing in it can end the script element


def _edges(matrix: tables.Matrix) -> list[int]:
    """Return the positions of the columns that open a new role, from 1, the row header included."""
    starts = [sum(n for _, n in matrix.spans[:i]) for i in range(len(matrix.spans))]
    return [start + 2 for start in starts]


# Forests


def _duels(found: list[tables.Duel]) -> dict[str, Any]:
    leads = [duel.lead for duel in found if duel.lead]
    scale = _scale([v for lead in leads for v in (lead.value, lead.lo, lead.hi) if v])
    plots = [_whisker(d.lead.value, d.lead.lo, d.lead.hi, scale) if d.lead else "" for d in found]
    return {
        **_axis(scale),
        "rows": list(zip(found, plots, strict=True)),
        "anchors": list(dict.fromkeys(duel.anchor.contestant for duel in found)),
        "limits": sorted({duel.anchor.limit for duel in found if duel.anchor.limit}),
    }


def _overall(found: list[facts.Candidate]) -> dict[str, Any]:
    scale = _scale([row.ratio or 1.0 for c in found for row in c.rows])
    plots = [_whisker(c.ratio, c.lo, c.hi, scale, (c.worst, c.best)) for c in found]
    return {**_axis(scale), "rows": list(zip(found, plots, strict=True))}


def _operations(found: list[facts.Judgement]) -> dict[str, Any]:
    leads = [v.overall for v in found if v.overall]
    scale = _scale([v for lead in leads for v in (lead.value, lead.lo, lead.hi) if v])
    plots = [_whisker(v.overall.value, v.overall.lo, v.overall.hi, scale) if v.overall else "" for v in found]
    return {**_axis(scale), "rows": list(zip(found, plots, strict=True))}


def _arms(found: list[tables.Arm]) -> dict[str, Any]:
    near = [v for arm in found for v in (arm.row.ratio, *arm.row.slot_ratios) if v and 0.8 < v < 1.25]
    scale = figures.Scale([*near, 0.97, 1.03], 0, _FOREST)
    plots = [
        Markup(figures.strip(row.ratio or 1.0, row.lo, row.hi, row.slot_ratios, arm.outside, scale))  # noqa: S704 - numbers only
        for arm in found
        for row in [arm.row]
    ]
    band = (scale(1.01) - scale(0.99)) / _FOREST * 100
    return {**_axis(scale), "band": band, "rows": list(zip(found, plots, strict=True))}


def _scale(values: list[float]) -> figures.Scale:
    return figures.Scale([*values, 0.9, 1.1], 0, _FOREST)


def _axis(scale: figures.Scale) -> dict[str, Any]:
    return {"one": scale(1.0) / _FOREST * 100, "ruler": Markup(figures.ruler(scale))}  # noqa: S704 - numbers only


def _whisker(
    value: float,
    lo: float | None,
    hi: float | None,
    scale: figures.Scale,
    span: tuple[float, float] | None = None,
) -> Markup:
    return Markup(figures.whisker(value, lo, hi, scale, span))  # noqa: S704 - numbers only


# Jinja


@cache
def _environment() -> Environment:
    env = environment()
    env.filters |= {"breakable": _breakable, "command": shlex.join, "css": css, "count": fmt.count}
    env.globals |= {
        "lead": facts.lead, "kinds": tables.KINDS, "edges": _edges, "steps": STEPS, "minimum": words.MINIMUM,
        "visible": words.VISIBLE, "headline": words.headline, "called": tables.CALLED,
        "waiting": banners.PSI_ALARM, "stolen": banners.STEAL_ALARM,
    }  # fmt: skip
    return env


def _breakable(name: str) -> Markup:
    """Let a long name break before its capitals and after its hyphens."""
    pieces = re.split(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[-_/])", name)
    return Markup("<wbr>").join(escape(piece) for piece in pieces)
