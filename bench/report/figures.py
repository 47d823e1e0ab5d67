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

WIDTH, HEIGHT = 620, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 16, 44
_STEPS = (1.01, 1.02, 1.05, 1.1, 1.25, 1.5, 2, 5, 10, 100, 1e3, 1e6, 1e12, math.inf)  # of a ruler
_AWAY = [4 + sign * far for far in range(0, 90, 4) for sign in (-1, 1)]  # of a label from its point
_MOST_TICKS = 9  # to either side of 1
_CHAR, _LINE = 6.0, 13.0  # of an 11 px label


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

    def byte_ticks(self) -> list[float]:
        """Return powers of 16, which read well as sizes."""
        powers = range(math.floor(self.lo / math.log10(2)), math.ceil(self.hi / math.log10(2)) + 1)
        return [2.0**p for p in powers if p % 4 == 0 and self.lo <= p * math.log10(2) <= self.hi]


def pareto(points: Sequence[Point], x_label: str, y_label: str, title: str) -> str:
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
    axes = _x_axis(x, x.ticks(), fmt.trim, x_label) + _y_axis(y, y_label)
    return _svg(title, axes + path + marks)


def curves(lines: Sequence[Line], marks: dict[str, int], x_label: str, y_label: str, title: str) -> str:
    """Draw time over size, both logarithmic, with the machine's cache sizes."""
    x = Scale((p[0] for line in lines for p in line.points), _LEFT, WIDTH - 150, 0.02)
    y = Scale((p[1] for line in lines for p in line.points), HEIGHT - _BOTTOM, _TOP + 12)
    caches = "".join(
        f'<path class="mark" d="M{x(size):.0f} {_TOP}V{HEIGHT - _BOTTOM}"/>'
        f'<text class="s" x="{x(size) + 3:.0f}" y="{_TOP + 8}">{escape(level)}</text>'
        for level, size in marks.items()
        if x.lo < math.log10(size) < x.hi
    )
    ends = sorted((y(line.points[-1][1]), i) for i, line in enumerate(lines))
    spread = dict(zip((i for _, i in ends), _spread([end for end, _ in ends]), strict=True))
    drawn = "".join(_curve(line, x, y, spread[i]) for i, line in enumerate(lines))
    return _svg(title, _x_axis(x, x.byte_ticks(), fmt.size, x_label) + _y_axis(y, y_label) + caches + drawn)


def whisker(
    value: float, lo: float | None, hi: float | None, scale: Scale, span: tuple[float, float] | None = None
) -> str:
    """Draw a ratio with its interval and its range; 1 and its 1 % band are the cell's background."""
    thin = f"<path class=w d=M{scale(span[0]):.0f},8H{scale(span[1]):.0f} />" if span else ""
    bar = f"<path d=M{scale(lo):.0f},8H{scale(hi):.0f} />" if lo and hi else ""
    return f"<svg>{thin}{bar}<circle cx={scale(value):.0f} /></svg>"


def ruler(scale: Scale) -> str:
    """Draw the axis of a column of whiskers, for its header."""
    per_log = (scale.end - scale.start) / (scale.hi - scale.lo)
    step = next(s for s in _STEPS if math.log10(s) * per_log > 36)
    counts = range(-_MOST_TICKS, _MOST_TICKS + 1)
    ticks = [step**k for k in counts] if step >= 2 else [1 + k * (step - 1) for k in counts]
    margin = 8 / per_log
    shown = [
        tick for tick in ticks if tick > 0 and scale.lo + margin <= math.log10(tick) <= scale.hi - margin
    ]
    names = "".join(f"<text x={scale(tick):.0f} y=12>{fmt.trim(tick)}</text>" for tick in shown)
    return f"<svg aria-hidden=true class=mid>{names}</svg>"


def frontier(points: Sequence[Point]) -> list[Point]:
    """Mark the points that no other point beats in both directions."""

    def beaten(p: Point) -> bool:
        return any(q.x <= p.x and q.y <= p.y and (q.x, q.y) != (p.x, p.y) for q in points)

    return [replace(p, on_frontier=not beaten(p)) for p in points]


def _svg(title: str, body: str) -> str:
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}"'
    return f'<svg class="chart" {box} role="img"><title>{escape(title)}</title>{body}</svg>'


def _x_axis(x: Scale, ticks: Sequence[float], text: Callable[[float], str], label: str) -> str:
    base, middle = HEIGHT - _BOTTOM, (x.start + x.end) / 2
    grid = "".join(f"M{x(v):.0f} {_TOP}V{base}" for v in ticks)
    names = "".join(f'<text x="{x(v):.0f}" y="{base + 16}">{escape(text(v))}</text>' for v in ticks)
    name = f'<text x="{middle:.0f}" y="{HEIGHT - 8}">{escape(label)}</text>'
    return f'<path class="grid" d="{grid}"/><g class="t mid">{names}{name}</g>'


def _y_axis(y: Scale, label: str) -> str:
    middle, ticks = (y.start + y.end) / 2, y.ticks()
    grid = "".join(f"M{_LEFT} {y(v):.0f}H{WIDTH - _RIGHT}" for v in ticks)
    names = "".join(f'<text x="{_LEFT - 6}" y="{y(v) + 4:.0f}">{fmt.trim(v)}</text>' for v in ticks)
    at = f'x="12" y="{middle:.0f}" transform="rotate(-90 12 {middle:.0f})"'
    name = f'<text class="t mid" {at}>{escape(label)}</text>'
    return f'<path class="grid" d="{grid}"/><g class="t end">{names}</g>{name}'


def _curve(line: Line, x: Scale, y: Scale, label_y: float) -> str:
    path = " ".join(f"{x(a):.0f} {y(b):.0f}" for a, b in line.points)
    end_x, end_y = x(line.points[-1][0]), y(line.points[-1][1])
    start = WIDTH - 142
    leader = f'<path class="lead" d="M{end_x + 5:.0f} {end_y:.0f}L{start - 4} {label_y:.0f}"/>'
    name = f'<text x="{start}" y="{label_y + 4:.0f}">{escape(_short(line.name, 24))}</text>'
    return f'<g class="{escape(line.role)}"><path class="line" d="M{path}"/>{leader}{name}</g>'


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
