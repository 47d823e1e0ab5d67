"""How far a run is: a live bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from types import TracebackType

    from bench.barrier import Step

EARLY = 0.05  # of all units: before that, nobody knows how long one takes


class Reporter:
    """Tells of units done (a task in a slot is one) and of what is being timed."""

    def __init__(self, total: int, done: int, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self.total, self.done, self.begun = total, done, done
        self.started = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self._line = self._bar.add_task("starting", total=total, completed=done)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, step: Step, done: int) -> None:
        """Show what a worker is doing; only a terminal is told that often."""
        self._bar.update(
            self._line, description=escape(f"{step.task} {step.contestant}".strip()), completed=done
        )

    def stage(self, name: str, done: int) -> None:
        """Say that a slot of a family, or the like, has come to its end."""
        self.done = done
        self._bar.update(self._line, completed=done)
        self.say(f"{done}/{self.total} {name}{self._left()}")

    def say(self, text: str) -> None:
        """Print a line, above the bar where there is one."""
        self.console.print(escape(text))

    def extend(self, units: int) -> None:
        """Make room for work that was decided on later."""
        self.total += units
        self._bar.update(self._line, total=self.total)

    def _left(self) -> str:
        fresh, left = self.done - self.begun, self.total - self.done
        if fresh < EARLY * self.total or left <= 0:
            return ""
        seconds = (time.monotonic() - self.started) / fresh * left
        return f", about {seconds / 60:.0f} min left" if seconds >= 90 else f", about {seconds:.0f} s left"


def shown(path: Path) -> str:
    """Return a path as short as it can be typed."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
