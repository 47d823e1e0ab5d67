"""What every test runs under: the tests' own folder on the path, and seeded, unhurried hypothesis."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # `tests` itself is a name other packages install

from helpers import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator

hypothesis.settings.register_profile(
    "hotpath",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=10 if SMALL else 40,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.load_profile("hotpath")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Silence NumPy's overflow warnings where kernels run interpreted: there uint64 is meant to wrap."""
    with np.errstate(over="ignore" if SMALL else "warn"):
        return (yield)
