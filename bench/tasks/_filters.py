"""Who races in a task of the filters, what each is handed, and how its answers are judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import sqrt
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from algos.catalog import variants
from algos.hashing import hash64
from bench import limits
from bench.peers.filters import (
    EXACT,
    FPR,
    PEERS,
    Adapter,
    Ours,
    PythonSet,
    SavableRbloom,
    XorSingleheader,
    optimal_bits,
)
from bench.schema import Contestant, Gate, Quality, Role, Slice, Task
from bench.workloads import keys as data
from bench.workloads.keys import Column, Form, Kind, Workload, even_sample

Check = Callable[[Any, Slice], Gate]

SIGMAS = 4.0
"""Width of the intervals: one true value in 16,000 falls outside by chance, so a run of hundreds is quiet."""
WORST_FPR = 2 * FPR
"""A filter that certainly errs more than this has not kept its promise, and its speed says nothing."""
SCALARS = 2**16
SAMPLE = 2**12
DEAR_KEYS = 300_000
FORMS: dict[str, Form] = {"numpy": "ndarray", "arrow": "arrow", "list": "list"}
CONVERSIONS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("ndarray", "list"): lambda keys: keys.tolist(),
    ("arrow", "list"): lambda keys: keys.to_pylist(),
    ("arrow", "ndarray"): lambda keys: keys.to_numpy(),
    ("list", "ndarray"): np.array,
}


def contestants(task: Task, seed: int) -> list[Contestant]:
    """Make the data of a task from a seed and return everyone who races on it."""
    return FIELDS[task.op](task, seed)


# ---------------------------------------------------------------------------------------------------
# Entries


def ours(task: Task, kind: Kind) -> list[Adapter]:
    """Enter every variant that can take part at this size, and the anchor again as the control."""
    entries = [Ours(variant, kind) for variant in variants("filters")]
    again = next(Ours(v, kind, f"{v.name} (control)") for v in variants("filters") if v.name == task.anchor)
    again.role = "control"
    return [entry for entry in (*entries, again) if task.n <= entry.reach]


def others(
    task: Task, kind: Kind, classes: Sequence[Callable[[Kind], Adapter]]
) -> tuple[list[Adapter], list[Contestant]]:
    """Enter the packages that suit these keys and this size; return apart those not installed."""
    entries, absent = [], []
    for make in classes:
        if task.n > make.reach or kind not in make.kinds:
            continue
        try:
            entries.append(make(kind))
        except ImportError as error:
            absent.append(_absent(make, error))
    return entries, absent


def _absent(adapter: Any, error: ImportError) -> Contestant:
    reason = f"{error}: pip install {adapter.package}"
    nothing = partial(Contestant, adapter.name, adapter.role, _nothing, lambda limit: [])
    return nothing(package=adapter.package, missing=reason)
