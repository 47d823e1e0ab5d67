"""What the verdicts of a race are worth: ``python -m bench.simulate`` finds out, and writes it down.

Two arms are simulated turn by turn, disturbed as machines disturb them, and judged by the code that judges
a run, thousands of times in each cell of a grid. A cell's seed is its own, so its figures do not
depend on which others are simulated.
"""

from __future__ import annotations

import argparse
import math
import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.plan import ROOT
from bench.report import blocks
from bench.report.markdown import table
from bench.run import WIDE
from bench.stats import MANY, Bounds, location, over_slots, survivors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]

DOCUMENT = ROOT / "docs" / "how-it-is-measured.md"
TRIALS = 4000
CHUNK = 100  # trials at a time, so that their turns stay in the cache
RUNS, TASKS, REAL = 500, 200, 0.1

SLOTS = (5, 10)
ROUNDS = 30
PROCESS_SD = (0.001, 0.005, 0.01, 0.015)
NOISE = (0.005, 0.02, 0.1)
EFFECTS = (0.0, 0.01, 0.02, 0.03, 0.05)


class Cell(NamedTuple):
    """A true effect, how it is measured, and what disturbs the measurement; shares, not percent."""

    disturbance: str
    slots: int
    process_sd: float
    noise: float
    effect: float
    rounds: int = ROUNDS
    most_slots: int = 0

    @property
    def text(self) -> str:
        """The cell in words."""
        sizes = f"process SD {_percent(self.process_sd)}, noise {_percent(self.noise)}"
        return f"{self.disturbance}, {self.slots} slots, {sizes}, effect +{_percent(self.effect)}"


class Outcome(NamedTuple):
    """How often the interval held the truth, how often each verdict fell, the median detectable effect."""

    coverage: float
    faster: float
    slower: float
    same: float
    undecided: float
    mde: float


class Claim(NamedTuple):
    """Something that holds in every cell it is about: a figure between ``least`` and ``most``."""

    text: str
    bound: str
    figure: Callable[[Outcome], float]
    least: float = -math.inf
    most: float = math.inf
    about: Callable[[Cell, Outcome], bool] = lambda _cell, _outcome: True


CLAIMS = (
    Claim("the interval holds the truth", "at least 92 %", lambda o: o.coverage, least=0.92),
    Claim("the interval holds the truth", "at most 98 %", lambda o: o.coverage, most=0.98),
    Claim(
        "no effect is called faster or slower",
        "at most 5 %",
        lambda o: o.faster + o.slower,
        most=0.05,
        about=lambda cell, _: cell.effect == 0,
    ),
    Claim(
        "+3 % is called faster, where the median detectable effect is below 2.5 %",
        "at least 95 %",
        lambda o: o.faster,
        least=0.95,
        about=lambda cell, o: cell.effect == 0.03 and o.mde < 0.025,
    ),
)


def _none(_rng: np.random.Generator, _shape: tuple[int, ...]) -> Array:
    return np.zeros(2, np.float32)[:, None, None, None]


def _drift(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Slow down by 20 % over the slot; a turn comes at any time of its round, as among many contestants."""
    when = np.arange(shape[-1], dtype=np.float32) + rng.random((2, *shape), np.float32)
    return np.float32(np.log(1.2) / shape[-1]) * when


def _outliers(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Take ten times as long in three rounds of ten, in one arm or the other."""
    luck = rng.random(shape, np.float32)
    return np.float32(np.log(10)) * np.stack([luck < 0.15, luck > 0.85])


def _one_sided(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Take ten times as long in three rounds of ten, always in the same arm."""
    hit = rng.random(shape, np.float32) < 0.3
    return np.float32(np.log(10)) * np.stack([np.zeros_like(hit), hit])


def _bimodal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Take 7.8 or 20.9 ms, drawn for every turn."""
    return np.float32(np.log(20.9 / 7.8)) * (rng.random((2, *shape), np.float32) < 0.5)


DISTURBANCES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "none": _none,
    "drift": _drift,
    "outliers": _outliers,
    "bimodal": _bimodal,
}
BEYOND = DISTURBANCES | {"one-sided outliers": _one_sided}


def grid() -> list[Cell]:
    """Return every cell."""
    return [Cell(*values) for values in product(DISTURBANCES, SLOTS, PROCESS_SD, NOISE, EFFECTS)]


def simulate(cell: Cell, trials: int = TRIALS) -> Outcome:
    """Judge a cell's effect so many times."""
    rng = np.random.default_rng([*repr(cell).encode()])
    sizes = [min(CHUNK, trials - done) for done in range(0, trials, CHUNK)]
    logs = np.concatenate([_slots(rng, cell, size) for size in sizes])
    found, truth = _judged(cell, logs), 1 + cell.effect
    verdicts = found.verdict
    called = {name: float(np.mean(verdicts == name)) for name in ("faster", "slower", "same", "undecided")}
    coverage = float(np.mean((found.lo <= truth) & (truth <= found.hi)))
    return Outcome(coverage, mde=float(np.median(found.mde)), **called)


def _slots(rng: np.random.Generator, cell: Cell, trials: int) -> Array:
    """Simulate the log ratios that slots report: the effect, the process's luck, and what the turns add."""
    shape = (trials, max(cell.slots, cell.most_slots), cell.rounds)
    noise = rng.standard_normal((2, *shape), np.float32) * np.float32(cell.noise)
    base, other = noise + BEYOND[cell.disturbance](rng, shape)
    return location(base, other) + rng.normal(np.log1p(cell.effect), cell.process_sd, shape[:-1])


def _judged(cell: Cell, logs: Array) -> Bounds:
    """Judge as a run does: a wide interval is made anew from more slots, if there are to be any."""
    first, last = over_slots(logs[:, : cell.slots]), over_slots(logs)
    return Bounds(*(np.where(first.width > WIDE, b, a) for a, b in zip(first, last, strict=True)))


class Discoveries(NamedTuple):
    """The share of a run's calls that are false, and the share of its real effects that are called."""

    false: float
    found: float


def run_of_tasks(process_sd: float, effect: float, null: float) -> tuple[Discoveries, Discoveries]:
    """Judge runs of tasks of which one in ten has a real effect, one by one and together."""
    rng = np.random.default_rng([*repr((process_sd, effect, null)).encode()])
    real = np.arange(TASKS) < REAL * TASKS
    truth = np.log1p(np.where(real, effect, null))
    found = over_slots(rng.normal(truth[:, None], process_sd, (RUNS, TASKS, SLOTS[0])))
    alone = np.isin(found.verdict, ["faster", "slower"])
    together = alone & [survivors(p_values.tolist()) for p_values in np.asarray(found.p_value)]
    return _discoveries(alone, real), _discoveries(together, real)


def _discoveries(called: NDArray[np.bool_], real: NDArray[np.bool_]) -> Discoveries:
    false = (called & ~real).sum(axis=1) / np.maximum(called.sum(axis=1), 1)
    return Discoveries(float(false.mean()), float(called[:, real].mean()))


def worst(claim: Claim, outcomes: Mapping[Cell, Outcome]) -> tuple[Cell, float]:
    """Return the cell in which a claim comes nearest to failing, and its figure there."""
    about = {cell: claim.figure(o) for cell, o in outcomes.items() if claim.about(cell, o)}
    cell = min(about, key=lambda cell: min(about[cell] - claim.least, claim.most - about[cell]))
    return cell, about[cell]


def holds(claim: Claim, figure: float) -> bool:
    """Say whether a figure is within a claim's bounds."""
    return claim.least <= figure <= claim.most


def row(cell: Cell, outcome: Outcome) -> list[str]:
    """Write a cell of the grid as a row of its table."""
    known = [_percent(share) for share in (cell.process_sd, cell.noise, cell.effect)]
    return [*known, *(f"{100 * share:.1f}" for share in outcome[:-1]), f"{100 * outcome.mde:.2f} %"]


def claims_table(outcomes: Mapping[Cell, Outcome]) -> str:
    """Write what is claimed, and for each claim the cell in which it comes nearest to failing."""
    rows = []
    for claim in CLAIMS:
        cell, figure = worst(claim, outcomes)
        about = sum(claim.about(*item) for item in outcomes.items())
        kept = "holds" if holds(claim, figure) else "FAILS"
        rows.append([claim.text, claim.bound, str(about), kept, _share(figure), cell.text])
    return table(["Claim", "Bound", "Cells", "", "Worst", "There"], rows, right=(2, 4))


def overview_table(outcomes: Mapping[Cell, Outcome]) -> str:
    """Write the worst figure of every claim by disturbance and slots."""
    rows = []
    for group in product(DISTURBANCES, SLOTS):
        own = {cell: outcome for cell, outcome in outcomes.items() if cell[:2] == group}
        rows.append([*map(str, group), *(_share(worst(claim, own)[1]) for claim in CLAIMS)])
    header = ["Disturbance", "Slots", "Coverage, lowest", "Coverage, highest", "False calls, most",
              "+3 % found, least"]  # fmt: skip
    return table(header, rows, right=range(1, 6))


def beyond_table(trials: int) -> str:
    """Write how the protocol's variations fare, each under all that may disturb it."""
    usual, (few, many) = tuple(DISTURBANCES), SLOTS
    variations: dict[str, tuple[Sequence[str], int, int, int]] = {
        f"{few} slots, {many} where the interval is wide": (usual, few, ROUNDS, many),
        "10 turns a slot": (usual, few, 10, 0),
        "4 turns a slot": (usual, few, 4, 0),
        f"{MANY} slots, trimmed": (usual, MANY, 10, 0),
        f"{2 * MANY} slots, trimmed": (usual, 2 * MANY, 10, 0),
        "outliers always in the same arm": (["one-sided outliers"], few, ROUNDS, 0),
    }
    rows = []
    for text, (disturbances, slots, rounds, most) in variations.items():
        conditions = product(disturbances, [slots], PROCESS_SD, NOISE, [0.0], [rounds], [most])
        found = [simulate(Cell(*values), trials) for values in conditions]
        coverage = sorted(o.coverage for o in found)
        false = max(o.faster + o.slower for o in found)
        rows.append([text, str(len(found)), _share(coverage[0]), _share(coverage[-1]), _share(false)])
    header = ["Protocol", "Cells", "Coverage, lowest", "Coverage, highest", "False calls, most"]
    return table(header, rows, right=range(1, 5))


def discoveries_table() -> str:
    """Write what judging a run's tasks together does to false calls, and what it costs."""
    rows = []
    for process_sd, effect, null in product((0.005, 0.01), (0.03, 0.05), (0.0, 0.01)):
        alone, together = run_of_tasks(process_sd, effect, null)
        shares = (alone.false, together.false, alone.found, together.found)
        known = [_percent(process_sd), f"+{_percent(effect)}", f"+{_percent(null)}" if null else "none"]
        rows.append([*known, *map(_share, shares)])
    header = ["Slot SD", "Real effects", "The others", "False, each alone", "False, together",
              "Found, each alone", "Found, together"]  # fmt: skip
    return table(header, rows, right=range(7))


def cell_tables(outcomes: Mapping[Cell, Outcome]) -> str:
    """Write every cell of the grid, one folded table for each disturbance and number of slots."""
    header = ["Process SD", "Noise", "Effect", "Covered", "faster", "slower", "same", "undecided",
              "Detectable"]  # fmt: skip
    parts = []
    for disturbance, slots in product(DISTURBANCES, SLOTS):
        rows = [row(*item) for item in outcomes.items() if item[0][:2] == (disturbance, slots)]
        title = f"{disturbance}, {slots} slots: {len(rows)} cells"
        body = table(header, rows, right=range(9))
        parts.append(f"<details><summary>{title}</summary>\n\n{body}\n\n</details>")
    return "\n\n".join(parts)


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def main() -> int:
    """Simulate the whole grid and write the generated parts of docs/how-it-is-measured.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=main.__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS, metavar="N", help=f"in each cell ({TRIALS:,})")
    parser.add_argument("file", type=Path, nargs="?", default=DOCUMENT)
    options = parser.parse_args()
    text = options.file.read_text(encoding="utf-8")
    outcomes = {cell: simulate(cell, options.trials) for cell in grid()}
    print(claims_table(outcomes))
    options.file.write_text(document(text, outcomes, options.trials), encoding="utf-8", newline="\n")
    return int(not all(holds(claim, worst(claim, outcomes)[1]) for claim in CLAIMS))


def document(text: str, outcomes: Mapping[Cell, Outcome], trials: int) -> str:
    """Return a text with every generated block written anew."""
    writers = {
        "claims": lambda: f"{claims_table(outcomes)}\n\n{len(outcomes)} cells, {trials:,} trials in each.",
        "overview": lambda: overview_table(outcomes),
        "beyond": lambda: beyond_table(trials),
        "runs": discoveries_table,
        "cells": lambda: cell_tables(outcomes),
    }
    return blocks.fill(text, writers)


if __name__ == "__main__":
    sys.exit(main())
