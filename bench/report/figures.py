"""Charts as plain SVG: a few kilobytes each, coloured by the page's style sheet, the same every time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise, product
from typing import TYPE_CHECKING

from bench.report import fmt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from collections.abc import Set as AbstractSet

WIDTH, HEIGHT = 620, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 16, 44
_STEPS = (1.01, 1.02, 1.05, 1.1, 1.25, 1.5, 2, 5, 10, 100, 1e3, 1e6, 1e12, math.inf)  # of a ruler
_AWAY = [4 + sign * far for far in range(0, 90, 4) for sign in (-1, 1)]  # of a label from its point
_MOST_TICKS = 9  # to either side of 1
_LEAST_TICKS, _APART = 3, 34  # on an axis; pixels from tick to tick of a ruler
_CHAR, _BOLD, _LINE = 6.0, 6.6, 13.0  # of an 11 px label
_LEAST_NAMES, _LONGEST_NAME = 132.0, 36  # pixels, characters beside the lines of a chart
_SLOT = 6  # pixels from slot to slot
_GLYPHS = (
    "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0",  # circle
    "m-3-3h6v6h-6z",  # square
    "m0-4l4 7h-8z",  # triangle
    "m0-4l4 4-4 4-4-4z",  # diamond
    "m0 4l4-7h-8z",  # triangle, on its tip
    "m-3-3l6 6m0-6l-6 6",  # cross
    "m-4 0h8m-4-4v8",  # plus
)


@dataclass(frozen=True)
class Axis:
    """What an axis shows, how its values are written, and whether they are counted in powers of two."""

    label: str
    text: Callable[[float], str] = fmt.trim
    binary: bool = False


@dataclass(frozen=True)
class Point:
    """One contestant in a scatter chart."""

    name: str
    role: str
    x: float
    y: float
    note: str = ""
    on_frontier: bool = False


@dataclass(frozen=True)
class Line:
    """One contestant in a chart over size."""

    name: str
    role: str
    points: tuple[tuple[float, float], ...]


class Scale:
    """A logarithmic axis from values to pixels."""

    def __init__(self, values: Iterable[float], start: float, end: float, room: float = 0.06) -> None:
        logs = [math.log10(v) for v in values]
        lo, hi = min(logs), max(logs)
        pad = (hi - lo) * room or 0.04
        self.lo, self.hi, self.start, self.end = lo - pad, hi + pad, start, end

    def __call__(self, value: float) -> float:
        """Return the pixel of ``value``; what is off the axis sits at its end."""
        share = (min(max(math.log10(value), self.lo), self.hi) - self.lo) / (self.hi - self.lo)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return powers of ten, or a 1-2-5 series, or where the axis is short even steps."""
        low, high = 10**self.lo, 10**self.hi
        powers = range(math.floor(self.lo), math.ceil(self.hi) + 1)
        for steps in ((1,), (1, 2, 5)):
            found = [s * 10.0**p for p in powers for s in steps if low <= s * 10.0**p <= high]
            if len(found) >= 4:
                return found
        rough = (high - low) / 5
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(s * unit for s in (1, 2, 5, 10) if s * unit >= rough)
        return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]

    def binary_ticks(self) -> list[float]:
        """Return powers of 16, of 4 or of 2: the first of which there are enough."""
        low, high = self.lo / math.log10(2), self.hi / math.log10(2)
        powers = range(math.ceil(low), math.floor(high) + 1)
        several = ([2.0**p for p in powers if p % step == 0] for step in (4, 2))
        enough = (ticks for ticks in several if len(ticks) >= _LEAST_TICKS)
        return next(enough, [2.0**p for p in powers] or self.ticks())


def pareto(points: Sequence[Point], across: Axis, up: Axis, title: str, description: str) -> str:
    """Draw two costs against each other, with the frontier that nothing undercuts in both."""
    x = Scale((p.x for p in points), _LEFT, WIDTH - _RIGHT - 70)
    y = Scale((p.y for p in points), HEIGHT - _BOTTOM, _TOP, 0.1)
    frontier = sorted((x(p.x), y(p.y)) for p in points if p.on_frontier)
    corners = [(frontier[0][0], float(_TOP)), *frontier, (float(WIDTH - _RIGHT), frontier[-1][1])]
    steps = "".join(f"H{a:.0f}V{b:.0f}" for a, b in corners[1:])
    path = f'<path class="front" d="M{frontier[0][0]:.0f} {_TOP}{steps}"/>'
    labels = _Labels([(x(p.x), y(p.y)) for p in points], corners)
    spots = {p: labels.place(x(p.x), y(p.y), len(_label(p)) * _CHAR) for p in sorted(points, key=_precedence)}
    marks = "".join(
        _mark(p, x(p.x), y(p.y), spots[p]) for p in sorted(points, key=lambda p: p.role == "ours")
    )
    return _svg(title, description, _x_axis(x, across) + _y_axis(y, up) + path + marks)


def curves(
    lines: Sequence[Line], across: Axis, up: Axis, marks: dict[str, int], title: str, description: str
) -> str:
    """Draw costs over size, both logarithmic, with the machine's cache sizes."""
    room = max(_LEAST_NAMES, *(_BOLD * len(_short(line.name, _LONGEST_NAME)) for line in lines))
    x = Scale((p[0] for line in lines for p in line.points), _LEFT, WIDTH - room - 26, 0.02)
    y = Scale((p[1] for line in lines for p in line.points), HEIGHT - _BOTTOM, _TOP + 12)
    caches = "".join(
        f'<path class="mark" d="M{x(size):.0f} {_TOP}V{HEIGHT - _BOTTOM}"/>'
        f'<text class="s" x="{x(size) + 3:.0f}" y="{_TOP + 8}">{escape(level)}</text>'
        for level, size in marks.items()
        if x.lo < math.log10(size) < x.hi
    )
    ends = sorted((y(line.points[-1][1]), i) for i, line in enumerate(lines))
    spread = dict(zip((i for _, i in ends), _spread([end for end, _ in ends]), strict=True))
    drawn = "".join(_curve(line, i, x, y, (WIDTH - room - 6, spread[i])) for i, line in enumerate(lines))
    return _svg(title, description, _x_axis(x, across) + _y_axis(y, up) + caches + drawn)


def whisker(
    value: float, lo: float | None, hi: float | None, scale: Scale, span: tuple[float, float] | None = None
) -> str:
    """Draw a ratio with its interval and its range; 1 and its 1 % band are the cell's background."""
    thin = f"<path class=w d=M{scale(span[0]):.0f},8H{scale(span[1]):.0f} />" if span else ""
    bar = f"<path d=M{scale(lo):.0f},8H{scale(hi):.0f} />" if lo and hi else ""
    return f"<svg>{thin}{bar}<circle cx={scale(value):.0f} /></svg>"


def strip(
    value: float,
    lo: float | None,
    hi: float | None,
    slots: Sequence[float],
    outside: AbstractSet[int],
    scale: Scale,
) -> str:
    """Draw the slots' own ratios from the first above to the last below, and under them what they come to.

    An arrow is off the axis; a cross is one of the slots ``outside``.
    """
    drawn = {"d": "", "o": "", "v": ""}
    for i, ratio in enumerate(slots):
        kind, path = _slot(ratio, scale, _SLOT * i + 4, outside=i in outside)
        drawn[kind] += path
    at = _SLOT * len(slots) + 8
    bar = f'<path d="M{scale(lo):.0f} {at}H{scale(hi):.0f}"/>' if lo and hi else ""
    dots = "".join(f'<path class={name} d="{d}"/>' for name, d in drawn.items() if d)
    centre = f'<circle cx={scale(value):.0f} style="cy:{at}px"/>'
    return f'<svg style="height:{at + 8}px">{dots}{bar}{centre}</svg>'


def _slot(ratio: float, scale: Scale, y: int, *, outside: bool) -> tuple[str, str]:
    x = scale(ratio)
    if not scale.lo <= math.log10(ratio) <= scale.hi:
        return "v", f"M{x:.0f} {y}l{-5 if ratio > 1 else 5}-3v6z"
    return ("o", f"M{x - 3:.0f} {y - 3}l6 6m0-6l-6 6") if outside else ("d", f"M{x:.0f} {y}h0")


def ruler(scale: Scale) -> str:
    """Draw the axis of a column of whiskers, for its header."""
    per_log = (scale.end - scale.start) / (scale.hi - scale.lo)
    step = next(s for s in _STEPS if math.log10(s) * per_log > _APART)
    counts = range(-_MOST_TICKS, _MOST_TICKS + 1)
    ticks = [step**k for k in counts] if step >= 2 else [1 + k * (step - 1) for k in counts]
    shown: list[float] = []
    for tick in sorted((tick for tick in ticks if tick > 0), key=lambda tick: abs(math.log(tick))):
        x = scale.start + (math.log10(tick) - scale.lo) * per_log
        if scale.start + 8 <= x <= scale.end - 8 and all(abs(scale(other) - x) >= _APART for other in shown):
            shown.append(tick)
    names = "".join(f"<text x={scale(tick):.0f} y=12>{fmt.trim(tick)}</text>" for tick in sorted(shown))
    return f"<svg aria-hidden=true class=mid>{names}</svg>"


def frontier(points: Sequence[Point]) -> list[Point]:
    """Mark the points that no other point beats in both directions."""

    def beaten(p: Point) -> bool:
        return any(q.x <= p.x and q.y <= p.y and (q.x, q.y) != (p.x, p.y) for q in points)

    return [replace(p, on_frontier=not beaten(p)) for p in points]


def _svg(title: str, description: str, body: str) -> str:
    said = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{said}{body}</svg>'


def _x_axis(x: Scale, axis: Axis) -> str:
    base, middle = HEIGHT - _BOTTOM, (x.start + x.end) / 2
    ticks = x.binary_ticks() if axis.binary else x.ticks()
    grid = "".join(f"M{x(v):.0f} {_TOP}V{base}" for v in ticks)
    names = "".join(f'<text x="{x(v):.0f}" y="{base + 16}">{escape(axis.text(v))}</text>' for v in ticks)
    name = f'<text x="{middle:.0f}" y="{HEIGHT - 8}">{escape(axis.label)}</text>'
    return f'<path class="grid" d="{grid}"/><g class="t mid">{names}{name}</g>'


def _y_axis(y: Scale, axis: Axis) -> str:
    middle, ticks = (y.start + y.end) / 2, y.ticks()
    grid = "".join(f"M{_LEFT} {y(v):.0f}H{WIDTH - _RIGHT}" for v in ticks)
    names = "".join(f'<text x="{_LEFT - 6}" y="{y(v) + 4:.0f}">{escape(axis.text(v))}</text>' for v in ticks)
    at = f'x="12" y="{middle:.0f}" transform="rotate(-90 12 {middle:.0f})"'
    name = f'<text class="t mid" {at}>{escape(axis.label)}</text>'
    return f'<path class="grid" d="{grid}"/><g class="t end">{names}</g>{name}'


def _curve(line: Line, number: int, x: Scale, y: Scale, label: tuple[float, float]) -> str:
    at = [(x(a), y(b)) for a, b in line.points]
    path = " ".join(f"{a:.0f} {b:.0f}" for a, b in at)
    (start, label_y), glyph = label, f"g{number % len(_GLYPHS)}"
    leader = f"M{at[-1][0] + 5:.0f} {at[-1][1]:.0f}L{start - 16:.0f} {label_y:.0f}"
    return (
        f'<g class="{escape(line.role)}"><path class="line {glyph}" d="M{path}"/>'
        f'<path class="lead" d="{leader}"/><path class="{glyph}" d="M{start - 9:.0f} {label_y:.0f}h0"/>'
        f'<text x="{start:.0f}" y="{label_y + 4:.0f}">{escape(_short(line.name, _LONGEST_NAME))}</text></g>'
    )


def glyphs() -> str:
    """Define the marks that tell a chart's lines apart without colour: ``g0``... and, filled, ``o0``..."""
    box = 'viewBox="-5 -5 10 10" markerWidth="10" markerHeight="10" markerUnits="userSpaceOnUse"'
    found = (
        f'<marker id="{name}{i}" {box}><path class="{css}" d="M0 0{path}"/></marker>'
        for name, css in (("g", "glyph"), ("o", "glyph on"))
        for i, path in enumerate(_GLYPHS)
    )
    return f"<defs>{''.join(found)}</defs>"


def _label(p: Point) -> str:
    return _short(p.name, 24) + (f", {p.note}" if p.note else "")


def _precedence(p: Point) -> tuple[bool, bool, str]:
    """Say whose label gets the spot beside its point."""
    return not p.on_frontier, p.role != "ours", p.name


def _mark(p: Point, x: float, y: float, spot: tuple[float, float, str]) -> str:
    at_x, at_y, anchor = spot
    far = abs(at_y - 4 - y) > 10
    leader = f'<path class="lead" d="M{x:.0f} {y:.0f}L{at_x:.0f} {at_y - 4:.0f}"/>' if far else ""
    circle = f'<circle cx="{x:.0f}" cy="{y:.0f}" r="4.5"/>'
    square = f'<rect x="{x - 4:.0f}" y="{y - 4:.0f}" width="8" height="8"/>'
    text = f'<text class="{anchor}" x="{at_x:.0f}" y="{at_y:.0f}">{escape(_label(p))}</text>'
    css = f"{escape(p.role)} dot{' on' if p.on_frontier else ''}"
    return f'{leader}<g class="{css}">{circle if p.role == "ours" else square}{text}</g>'


class _Labels:
    """Places labels beside their points so that none covers another, a point or a step of the frontier."""

    def __init__(self, points: Sequence[tuple[float, float]], corners: Sequence[tuple[float, float]]) -> None:
        self._taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
        for (a, b), (c, d) in pairwise(corners):
            self._taken += [(a, b - 1, c, b + 1), (c - 1, min(b, d), c + 1, max(b, d))]

    def place(self, x: float, y: float, width: float) -> tuple[float, float, str]:
        """Return the first free position: right, left, above, below, then further away."""
        sides = ((8, "start", 0.0), (-8, "end", width))
        for dy, (dx, anchor, back) in product(_AWAY, sides):
            left = x + dx - back
            box = (left, y + dy - 10, left + width, y + dy + 3)
            inside = left >= _LEFT and box[2] <= WIDTH and box[1] >= 0 and box[3] < HEIGHT - _BOTTOM
            if inside and self._free(box):
                self._taken.append(box)
                return x + dx, y + dy, anchor
        return x + 8, y + 4, "start"

    def _free(self, box: tuple[float, float, float, float]) -> bool:
        return all(box[2] <= t[0] or t[2] <= box[0] or box[3] <= t[1] or t[3] <= box[1] for t in self._taken)


def _spread(ends: Sequence[float]) -> list[float]:
    """Push sorted label positions apart to one line each, within the chart."""
    placed: list[float] = []
    for end in ends:
        placed.append(max(end, placed[-1] + _LINE) if placed else max(end, _TOP))
    limit = float(HEIGHT - _BOTTOM)
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - _LINE
    return placed


def _short(name: str, limit: int) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"
