"""One self-contained page: no network, no library, readable without JavaScript."""

from __future__ import annotations

import json
import math
import re
import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from bench.report import banners, charts, facts, figures, fmt, needs, tables, words

if TYPE_CHECKING:
    from bench.report.load import Row, Run

STEPS = (1.01, 1.25, 2.0, 5.0, 20.0)
"""Where the colour of a ratio changes; the same on the slower side."""

_CODES = {"faster": "f", "slower": "s", "same": "=", "undecided": "u"}
_FOREST = 190  # pixels


def page(run: Run) -> str:
    """Render the whole report."""
    template = _environment().get_template("template.html.j2")
    return template.render(
        run=run,
        machine=words.machine(run),
        banners=banners.banners(run),
        families=[_family(run, name) for name in run.families if run.family(name)],
        first_calls=[(race, row) for race in run.first_calls for row in race.rows],
        controls=_controls(run),
        controls_text=words.controls(facts.controls(run), facts.undecided_share(run)),
        identity=words.identity(run),
        environment=list(words.flatten(run.env)),
    )


def _family(run: Run, name: str) -> dict[str, Any]:
    races = run.family(name)
    matrix = tables.matrix(races)
    return {
        "name": name,
        "verdict": facts.verdict(run, name),
        "answers": needs.answers(run, name),
        "common": ", ".join(words.parameters(run.common(name))),
        "matrix": matrix,
        "data": _data(matrix),
        "duels": _duels(tables.duels(races)),
        "overall": _overall(facts.standings(races)),
        "charts": charts.draw(run, name),
        "checks": facts.checks(run, name),
        "space": facts.space(run, name),
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
    level = sum(max(row.ratio, 1 / row.ratio) >= step for step in STEPS)
    return f"{'f' if row.ratio > 1 else 's'}{level}" if level else "e"


def datum(row: Row | None) -> str:
    """Pack a cell for the script: ratio, verdict, and log distance in thousandths to its interval's ends.

    An interval over slots is symmetric in logs, so that one distance does for both ends.
    """
    if row is None or not row.timed or row.ratio is None:
        return ""
    packed = [f"{row.ratio:.4g}".removeprefix("0"), _CODES.get(row.verdict, "")]
    if row.lo and row.hi and row.lo < row.hi:
        ends = [fmt.number(1000 * math.log(b / a), 2) for a, b in ((row.lo, row.ratio), (row.ratio, row.hi))]
        packed += ends[:1] if ends[0] == ends[1] else ends
    return " ".join(packed)


def _data(matrix: tables.Matrix) -> Markup:
    """Embed a matrix's ratios for the script that re-anchors them."""
    rows = ["|".join(datum(cell) for cell in cells) for _, group in matrix.groups for _, cells in group]
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


def _controls(run: Run) -> dict[str, Any]:
    rows = tables.worst_controls(run)
    near = [v for _, row in rows for v in (row.ratio, row.lo, row.hi) if v and 0.95 < v < 1.05]
    scale = figures.Scale([*near, 0.97, 1.03], 0, _FOREST)
    plots = [_whisker(row.ratio or 1.0, row.lo, row.hi, scale) for _, row in rows]
    band = (scale(1.01) - scale(0.99)) / _FOREST * 100
    return {
        **_axis(scale),
        "band": band,
        "facts": facts.controls(run),
        "rows": list(zip(rows, plots, strict=True)),
    }


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
    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "number": fmt.number, "ratio": fmt.ratio, "percent": fmt.percent, "ns": fmt.ns,
        "cell_ns": fmt.cell_ns, "moment": words.moment, "op": words.op, "metric": words.metric,
        "task": words.task, "full": words.full, "breakable": _breakable, "command": shlex.join, "css": css,
    }  # fmt: skip
    env.globals |= {
        "interval": fmt.interval, "plural": fmt.plural, "figure": words.figure, "lead": facts.lead,
        "verdicts": words.VERDICTS, "kinds": tables.KINDS, "edges": _edges, "steps": STEPS,
        "minimum": words.MINIMUM, "headline": words.headline,
    }  # fmt: skip
    return env


def _breakable(name: str) -> Markup:
    """Let a long name break before its capitals and after its hyphens."""
    pieces = re.split(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[-_/])", name)
    return Markup("<wbr>").join(escape(piece) for piece in pieces)
