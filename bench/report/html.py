"""One self-contained page: no network, no library, readable without JavaScript."""

from __future__ import annotations

import json
import math
import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from bench.report import facts, figures, fmt, needs, words
from bench.report.load import Race, Row, Run

STEPS = (1.01, 1.25, 2.0, 5.0, 20.0)
"""Where the colour of a ratio changes; the same on the slower side."""

_CONTESTANTS = ("ours", "peer", "exact")
_APART = ("control", "null", "limit")
_ROLES = {"ours": "this library", "peer": "peers", "exact": "exact", "control": "control", "null": "empty call", "limit": "yardstick"}
_KINDS = {"ours": "this library", "peer": "peer", "exact": "exact baseline", "control": "control"}
_CODES = {"faster": "f", "slower": "s", "same": "=", "undecided": "u"}
_FOREST = 220  # pixels
_WORST = 30  # control arms listed
_CHARTS = 6  # of one family; half of that in a run of very many tasks, to bound the page
_MANY = 400


@dataclass(frozen=True)
class Cell:
    """One cell of the score matrix."""

    css: str
    text: str
    small: str
    data: str  # what the script needs, see ``_datum``


@dataclass(frozen=True)
class Column:
    """One contestant of the score matrix."""

    name: str
    role: str


@dataclass(frozen=True)
class Matrix:
    """The score matrix of one family: its columns, and its rows grouped by operation."""

    columns: tuple[Column, ...]
    spans: tuple[tuple[str, str, int], ...]  # role, its name, columns
    groups: tuple[tuple[str, tuple[tuple[Race, tuple[Cell, ...]], ...]], ...]

    @property
    def edges(self) -> tuple[int, ...]:
        """The positions, counted from 1 and after the row header, of the columns that open a new role."""
        roles = [column.role for column in self.columns]
        return tuple(i + 2 for i, role in enumerate(roles) if i == 0 or roles[i - 1] != role)


@dataclass(frozen=True)
class Duel:
    """One line of the task table: this library's anchor against the best peer, and against the machine."""

    race: Race
    anchor: Row
    peer: Row | None
    lead: facts.Lead | None
    plot: Markup


def page(run: Run) -> str:
    """Render the whole report."""
    return _environment().get_template("template.html.j2").render(
        run=run,
        machine=machine(run),
        banners=facts.banners(run),
        families=[_family(run, name) for name in run.families if run.family(name)],
        first_calls=[(race, row) for race in run.first_calls for row in race.rows],
        controls=_controls(run),
        undecided=facts.undecided_share(run),
        environment=list(flatten(run.env)),
        steps=STEPS,
        data=_data,
        caches=facts.caches(run.env),
    )


def machine(run: Run) -> str:
    """Describe the machine in one line."""
    env = run.env
    sizes = ", ".join(f"{level} {fmt.size(size)}" for level, size in facts.caches(env).items())
    versions = dict(env.get("packages") or {})
    parts = [
        str(env.get("cpu") or "unknown CPU"),
        fmt.plural(int(env["cores"]), "core") if env.get("cores") else "",
        sizes,
        str(env.get("python") or ""),
        *(f"{name} {versions[name]}" for name in ("numba", "numpy") if name in versions),
    ]
    return " \N{MIDDLE DOT} ".join(part for part in parts if part)


def flatten(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Turn a nested document into lines of name and text, in the order of the names."""
    lines: list[tuple[str, str]] = []
    for key in sorted(values, key=lambda key: (key == "volatile", key)):
        value = values[key]
        lines += flatten(value) if key == "volatile" else [(key.replace("_", " "), _text(value))]
    return lines


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(value[key])}" for key in sorted(value))
    if isinstance(value, list):
        return " ".join(_text(item) for item in value)
    return fmt.NONE if value is None else str(value)


def _family(run: Run, name: str) -> dict[str, Any]:
    races = run.family(name)
    return {
        "name": name,
        "verdict": facts.verdict(run, name),
        "answers": needs.answers(run, name),
        "matrix": _matrix(races),
        "standings": _standings(races),
        "duels": _duels(races),
        "charts": [*_paretos(run, name), *_curves(run, name)][: _CHARTS if len(run.races) <= _MANY else _CHARTS // 2],
        "common": ", ".join(words.parameter(*p) for p in sorted(run.common(name).items())),
        "checks": facts.checks(run, name),
        "space": facts.space(run, name),
        "variants": [v for v in run.catalog if v.get("family", name) == name],
    }


# The score matrix


def _matrix(races: tuple[Race, ...]) -> Matrix:
    columns = _columns(races)
    groups = [
        (op, tuple((race, _cells(race, columns)) for race in races if race.op == op))
        for op in dict.fromkeys(race.op for race in races)
    ]
    spans = [(role, _ROLES[role], sum(c.role == role for c in columns)) for role in dict.fromkeys(c.role for c in columns)]
    return Matrix(columns, tuple(spans), tuple(groups))


def _columns(races: tuple[Race, ...]) -> tuple[Column, ...]:
    """Anchors first, then by role, in the order in which contestants first appear."""
    seen: dict[tuple[str, str], bool] = {}
    for race in races:
        for row in race.rows:
            seen[row.role, row.contestant] = seen.get((row.role, row.contestant), False) or row.anchor
    order = [*_CONTESTANTS, *_APART]
    keys = sorted(seen, key=lambda key: (order.index(key[0]), not seen[key]))
    return tuple(Column(name, role) for role, name in keys)


def _cells(race: Race, columns: tuple[Column, ...]) -> tuple[Cell, ...]:
    rows = {(row.role, row.contestant): row for row in race.rows}
    return tuple(_cell(rows.get((column.role, column.name))) for column in columns)


def _cell(row: Row | None) -> Cell:
    if row is None:
        return Cell("n", "", "", "")
    if row.status != "ok":
        return Cell("z" if row.status in {"WRONG", "CRASHED"} else "x", row.status, row.note, "")
    if row.role in _APART:
        css = "c"
    else:
        css = "a" if row.anchor else tint(row.ratio)
    return Cell(css, fmt.ratio(row.ratio), fmt.number(row.ns_item), _datum(row))


def _datum(row: Row) -> str:
    """Pack a cell for the script: ratio, verdict, and log distance in thousandths to its interval's ends.

    An interval over slots is symmetric in logs, so that one distance does for both ends.
    """
    if not row.timed or row.ratio is None:
        return ""
    words = [f"{row.ratio:.4g}".removeprefix("0"), _CODES.get(row.verdict, "")]
    if row.lo and row.hi and row.lo < row.hi:
        ends = [fmt.number(1000 * math.log(b / a), 2) for a, b in ((row.lo, row.ratio), (row.ratio, row.hi))]
        words += ends[:1] if ends[0] == ends[1] else ends
    return " ".join(words)


def tint(ratio: float | None) -> str:
    """Name the colour of a ratio: ``f1`` to ``f5`` faster, ``s1`` to ``s5`` slower, ``e`` equal."""
    if ratio is None:
        return "n"
    level = sum(max(ratio, 1 / ratio) >= step for step in STEPS)
    return f"{'f' if ratio > 1 else 's'}{level}" if level else "e"


def _data(matrix: Matrix) -> Markup:
    """Embed a matrix's ratios for the script that re-anchors them."""
    rows = ["|".join(cell.data for cell in cells) for _, group in matrix.groups for _, cells in group]
    names = [column.name for column in matrix.columns]
    text = json.dumps({"columns": names, "rows": rows}, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - nothing in it can end the script element


# Forests


@dataclass(frozen=True)
class Standing:
    """One contestant over all tasks it finished."""

    candidate: facts.Candidate
    worst: float
    best: float
    plot: Markup


def _standings(races: tuple[Race, ...]) -> dict[str, Any]:
    found: dict[tuple[str, str], list[Row]] = {}
    for race in races:
        for row in race.rows:
            if row.role in _CONTESTANTS and row.timed and race.finished:
                found.setdefault((row.contestant, row.role), []).append(row)
    ranked = sorted((facts.candidate(*key, rows) for key, rows in found.items()), key=lambda c: (-c.ratio, c.contestant))
    spans = [[row.ratio or 1.0 for row in c.rows] for c in ranked]
    scale = _forest_scale([v for span in spans for v in span])
    return {
        "one": _one(scale),
        "rows": [
            Standing(c, min(s), max(s), _range(c, min(s), max(s), scale)) for c, s in zip(ranked, spans, strict=True)
        ],
    }


def _range(c: facts.Candidate, worst: float, best: float, scale: figures.Scale) -> Markup:
    return Markup(figures.whisker(c.ratio, c.lo, c.hi, scale, (worst, best)))  # noqa: S704 - numbers only


def _duels(races: tuple[Race, ...]) -> dict[str, Any]:
    pairs = [(race, race.anchor, race.best("peer")) for race in races]
    leads = [facts.lead(peer) for _, anchor, peer in pairs if anchor and peer]
    scale = _forest_scale([v for lead in leads for v in (lead.value, lead.lo, lead.hi) if v])
    rows = []
    for race, anchor, peer in pairs:
        if anchor is None:
            continue
        lead = facts.lead(peer) if peer else None
        plot = figures.whisker(lead.value, lead.lo, lead.hi, scale) if lead else ""
        rows.append(Duel(race, anchor, peer, lead, Markup(plot)))  # noqa: S704 - numbers only
    anchors = list(dict.fromkeys(duel.anchor.contestant for duel in rows))
    return {"one": _one(scale), "rows": rows, "anchors": anchors, "limits": sorted({r.anchor.limit for r in rows if r.anchor.limit})}


def _controls(run: Run) -> dict[str, Any]:
    arms = facts.controls(run)
    values = [v for _, row in arms.rows for v in (row.ratio, row.lo, row.hi) if v]
    scale = figures.Scale([*values, 0.97, 1.03], 0, _FOREST)
    worst = sorted(arms.rows, key=lambda arm: (arm[1].verdict not in {"faster", "slower"}, -abs(math.log(arm[1].ratio or 1.0))))
    rows = [
        (race, row, Markup(figures.whisker(row.ratio or 1.0, row.lo, row.hi, scale)))  # noqa: S704
        for race, row in worst[:_WORST]
    ]
    return {"facts": arms, "rows": rows, "one": _one(scale), "band": (scale(1.01) - scale(0.99)) / _FOREST * 100}


def _forest_scale(values: list[float]) -> figures.Scale:
    return figures.Scale([*values, 0.9, 1.1], 0, _FOREST)


def _one(scale: figures.Scale) -> float:
    return scale(1.0) / _FOREST * 100


# Charts


@dataclass(frozen=True)
class Chart:
    """A drawn chart with its caption."""

    svg: Markup
    caption: str


def _paretos(run: Run, family: str) -> list[Chart]:
    """One chart where the state is in the cache and one where it is not, each at the task with most figures."""
    table = run.qualities
    levels = facts.caches(run.env)
    best: dict[str, tuple[Race, list[figures.Point]]] = {}
    for race in run.family(family):
        points = _points(race, table)
        place = facts.residence(race, levels)
        if len(points) >= 3 and (place not in best or len(points) > len(best[place][1])):
            best[place] = (race, points)
    places = [place for place in ("L2", "L3", "memory", "") if place in best]
    return [_pareto(*best[place]) for place in dict.fromkeys([*places[:1], *places[-1:]])]


def _points(race: Race, table: dict[tuple[str, str, str], float]) -> list[figures.Point]:
    if race.op != "contains":
        return []
    found = []
    for row in race.rows:
        bits = table.get((race.id, row.contestant, "bits_per_key"))
        error = table.get((race.id, row.contestant, "fpr"))
        if row.role in _CONTESTANTS and row.timed and bits and row.ns_item:
            note = "exact" if row.role == "exact" else fmt.percent(error, 2) if error is not None else ""
            found.append(figures.Point(row.contestant, row.role, bits, row.ns_item, note))
    return figures.frontier(found)


def _pareto(race: Race, points: list[figures.Point]) -> Chart:
    on = [p.name for p in points if p.on_frontier]
    title = f"Memory against time at {words.full(race)}. On the frontier: {', '.join(on)}."
    svg = figures.pareto(points, "bits per key", "ns per item", title)
    caption = (
        f"Memory against time: {words.full(race)}. Left and low is better; the number beside a name is its measured "
        "false-positive rate, so compare like with like. Filled: on the frontier, nothing is both smaller and faster."
    )
    return Chart(Markup(svg), caption)  # noqa: S704 - names are escaped where they are drawn


def _curves(run: Run, family: str) -> list[Chart]:
    levels = facts.caches(run.env)
    charts = []
    for races in _series(run.family(family)):
        name = words.group(races[0])
        svg = figures.curves(_lines(races), levels, "bytes of state", "ns per item", f"Time over size: {name}")
        charts.append(Chart(Markup(svg), f"Time over size: {name}. Dotted: this machine's caches."))  # noqa: S704
    return charts


def _series(races: tuple[Race, ...]) -> list[list[Race]]:
    """For every operation and workload, the longest series of at least three sizes that differ in nothing else."""
    groups: dict[tuple[str, str], dict[str, list[Race]]] = {}
    for race in sorted((race for race in races if race.finished), key=lambda race: race.n):
        same = groups.setdefault((race.op, race.workload), {})
        same.setdefault(json.dumps(race.params, sort_keys=True), []).append(race)
    longest = [max(same.values(), key=len) for same in groups.values()]
    return [series for series in longest if len({race.n for race in series}) >= 3 and _lines(series)]


def _lines(races: list[Race]) -> list[figures.Line]:
    points: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for race in races:
        for row in race.rows:
            if row.role in {*_CONTESTANTS, "limit"} and row.timed and row.state_bytes and row.ns_item:
                points.setdefault((row.contestant, row.role), []).append((row.state_bytes, row.ns_item))
    return [figures.Line(name, role, tuple(found)) for (name, role), found in points.items() if len(found) > 1]


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
        "number": fmt.number, "ns": fmt.ns, "size": fmt.size, "count": fmt.count, "percent": fmt.percent,
        "op": words.op, "metric": words.metric, "task": words.task, "full": words.full, "breakable": _breakable,
        "ratio": fmt.ratio, "words": shlex.join,
    }  # fmt: skip
    env.globals |= {
        "kinds": _KINDS,
        "interval": fmt.interval, "plural": fmt.plural, "figure": words.figure,
        "verdicts": words.VERDICTS, "lead": facts.lead, "roles": _ROLES,
    }  # fmt: skip
    return env


def _breakable(name: str) -> Markup:
    """Let a long name break before its capitals and after its hyphens."""
    pieces = re.split(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[-_/])", name)
    return Markup("<wbr>").join(escape(piece) for piece in pieces)
