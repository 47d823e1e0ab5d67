"""Tables, figures and pages from a run's result files, and from nothing else.

No kernel is imported and no clock is read: the same files give the same bytes, for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report import components, html, markdown, plots, terminal
from bench.report.load import load

if TYPE_CHECKING:
    from pathlib import Path


def render(folder: Path) -> Path:
    """Write the page, those of the components, ``summary.md`` and its charts; return the page's path."""
    run = load(folder)
    page = folder / "index.html"
    page.write_text(html.page(run), encoding="utf-8", newline="\n")
    components.write(run, folder)
    plots.write(run, folder)
    (folder / "summary.md").write_text(markdown.summary(run), encoding="utf-8", newline="\n")
    return page


def terminal_table(folder: Path) -> None:
    """Print a run's short table."""
    terminal.show(load(folder))
