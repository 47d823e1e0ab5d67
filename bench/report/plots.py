"""The two charts of a family as SVG files of their own, for Markdown, which cannot hold drawings.

The page draws its charts itself, so that they follow its colours; here matplotlib does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.report import charts, facts, words

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report.figures import Line, Point
    from bench.report.load import Run

_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "hotpath", "font.size": 9, "axes.grid": True}
_GRID: Any = {"color": "0.9", "linewidth": 0.6}
_MARKS = "osD^vPX*<>hp8d"  # told apart in grey


def names(run: Run) -> dict[str, list[str]]:
    """Say which files ``write`` makes of a run, family by family."""
    return {name: [f"{name}-{kind}.svg" for kind in _wanted(run, name)] for name in run.families}


def write(run: Run, folder: Path) -> None:
    """Draw memory against time, and time over size, of every family that has the figures for it."""
    for name in run.families:
        for kind, draw in _wanted(run, name).items():
            _save(draw, folder / f"{name}-{kind}.svg")


def _wanted(run: Run, family: str) -> dict[str, Any]:
    """Choose the charts: of the longest series of races that differ in size alone."""
    races = max(charts.groups(run.family(family)), key=len, default=[])
    wanted: dict[str, Any] = {}
    if len(races) >= charts.LEAST:
        over, lines = f"{words.group(races[0])}: time over size", charts.lines(races, sized=True)
        wanted["size"] = lambda axes: _size(axes, lines, facts.caches(run.env), over)
    crowded = [race for race in races if len(charts.points(run, race)) >= charts.LEAST]
    if crowded:
        points, title = charts.points(run, crowded[-1]), f"{words.full(crowded[-1])}: memory against time"
        wanted["pareto"] = lambda axes: _pareto(axes, points, title)
    return wanted


def _size(axes: Any, lines: list[Line], caches: dict[str, int], title: str) -> None:
    for mark, line in zip(_MARKS * len(lines), lines, strict=False):
        style = {"limit": ":", "exact": "--"}.get(line.role, "-")
        width = 2.0 if line.role == "ours" else 1.0
        axes.plot(*zip(*line.points, strict=True), style, marker=mark, ms=4, lw=width, label=line.name)
    for level, size in caches.items():
        axes.axvline(size, color="0.6", lw=0.8)
        axes.annotate(level, (size, 1.0), xycoords=("data", "axes fraction"), va="top", color="0.4")
    axes.set(xscale="log", yscale="log", xlabel="bytes of state", ylabel="ns per item", title=title)
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)


def _pareto(axes: Any, points: list[Point], title: str) -> None:
    for point in points:
        mark = "o" if point.role == "ours" else "s"
        axes.plot(point.x, point.y, mark, color="C0", mfc="C0" if point.on_frontier else "white")
        axes.annotate(f"  {point.name} {point.note}", (point.x, point.y), va="center")
    axes.set(xlabel="bits per key", ylabel="ns per item", yscale="log", title=title)
    axes.margins(x=0.3, y=0.15)


def _save(draw: Any, path: Path) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.0, 4.0), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.grid(**_GRID)
        axes.set_axisbelow(True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
