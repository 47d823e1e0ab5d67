"""The chief charts of each family as SVG files of their own, for Markdown, which cannot hold drawings.

The page draws its charts itself, so that they follow its colours; here matplotlib draws the same figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.report import charts

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report.charts import Chart, Data
    from bench.report.figures import Line, Point
    from bench.report.load import Run

_KINDS = ("size", "pareto", "cost")
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "hotpath", "font.size": 9, "axes.grid": True}
_GRID: Any = {"color": "0.9", "linewidth": 0.6}
_MARKS = "osD^vPX*<>hp8d"  # told apart in grey
_DASHES = {"limit": ":", "exact": "--"}


def captions(run: Run, family: str) -> dict[str, str]:
    """Say which files ``write`` makes of a family, and what each shows."""
    return {f"{family}-{kind}.svg": chart.caption for kind, chart in _chosen(run, family).items()}


def write(run: Run, folder: Path) -> None:
    """Draw every family's longest series over size, and its first chart of each other kind."""
    for family in run.families:
        for kind, chart in _chosen(run, family).items():
            _draw(chart.data, folder / f"{family}-{kind}.svg")


def _chosen(run: Run, family: str) -> dict[str, Chart]:
    if len(run.races) > charts.MANY:  # some tenths of a second each; the page has its own
        return {}
    drawn = charts.draw(run, family)
    return {kind: found[0] for kind in _KINDS if (found := [chart for chart in drawn if chart.kind == kind])}


def _draw(data: Data, path: Path) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.0, 4.2), layout="constrained")
        axes = figure.add_subplot()
        axes.set_xscale("log" if data.lines else "linear")
        axes.set(yscale="log", xlabel=data.across.label, ylabel=data.up.label, title=data.title)
        _lines(axes, data.lines)
        _points(axes, data.points)
        _levels(axes, data.levels)
        if data.across.binary and data.lines:
            axes.xaxis.set_major_locator(LogLocator(base=4))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        for axis, kind in ((axes.xaxis, data.across), (axes.yaxis, data.up)):
            axis.set_major_formatter(FuncFormatter(lambda value, _, kind=kind: kind.text(value)))
            axis.set_minor_formatter(NullFormatter())
        axes.grid(**_GRID)
        axes.set_axisbelow(True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _lines(axes: Any, lines: tuple[Line, ...]) -> None:
    for mark, line in zip(_MARKS * len(lines), lines, strict=False):
        width, filled = (2.0, None) if line.role == "ours" else (1.0, "white")
        style = _DASHES.get(line.role, "-")
        axes.plot(
            *zip(*line.points, strict=True), style, marker=mark, mfc=filled, ms=4, lw=width, label=line.name
        )
    if lines:
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)


def _points(axes: Any, points: tuple[Point, ...]) -> None:
    for point in points:
        mark = "o" if point.role == "ours" else "s"
        axes.plot(point.x, point.y, mark, color="C0", mfc="C0" if point.on_frontier else "white")
        name, beside = f"{point.name} {point.note}".strip(), {"xytext": (7, 0), "textcoords": "offset points"}
        axes.annotate(name, (point.x, point.y), va="center", **beside)
    if points:
        axes.margins(x=0.3, y=0.15)


def _levels(axes: Any, levels: tuple[tuple[str, int], ...]) -> None:
    low, high = axes.get_xlim()
    for level, size in levels:
        if low < size < high:
            axes.axvline(size, color="0.6", lw=0.8)
            axes.annotate(level, (size, 1.0), xycoords=("data", "axes fraction"), va="top", color="0.4")
