"""Items to sample: positions of a stream, weights, and the ids of traces.

A sampler does not look at items, so these are their own positions: what is in a sample tells what chance it
had. Weights are lognormal, as sizes of requests and prices of orders are: of a million the heaviest hundredth
has a fifth of the sum. Ids of traces are 16 random bytes (W3C Trace Context, level 2).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Form = Literal["ndarray", "list", "arrow", "table", "polars"]
TraceForm = Literal["binary", "arrow", "list", "ints"]
SIGMA = 1.5
BATCH = 1 << 16


def _polars(array: Any) -> Any:
    import polars as pl

    return pl.Series(values=array)


FORMS: dict[Form, Callable[[Any], Any]] = {
    "ndarray": lambda array: array,
    "list": lambda array: array.tolist(),
    "arrow": pa.array,
    "table": lambda array: pa.table({"item": array}),
    "polars": _polars,
}


class Stream:
    """Items and their weights in every form, whole or in batches; each is made once, on demand."""

    def __init__(self, n: int, seed: int) -> None:
        self.n = n
        self.items = np.arange(n)
        self.weights: NDArray[np.float64] = np.random.default_rng(seed).lognormal(0.0, SIGMA, n)
        self._made: dict[tuple[str, Form], Any] = {}

    def whole(self, form: Form, column: Literal["items", "weights"] = "items") -> Any:
        """Return a column as one."""
        if (column, form) not in self._made:
            self._made[column, form] = FORMS[form](getattr(self, column))
        return self._made[column, form]

    def batches(self, form: Form, column: Literal["items", "weights"] = "items") -> list[Any]:
        """Return a column as it comes, batch by batch."""
        array = getattr(self, column)
        if (made := f"{column} in batches", form) not in self._made:
            parts = [FORMS[form](array[lo : lo + BATCH]) for lo in range(0, self.n, BATCH)]
            self._made[made, form] = parts
        return self._made[made, form]


@lru_cache(maxsize=2)
def stream(n: int, seed: int) -> Stream:
    """Return a stream of ``n`` items."""
    return Stream(n, seed)


class Traces:
    """Ids of traces in every form."""

    def __init__(self, n: int, seed: int) -> None:
        self.binary = np.frombuffer(np.random.default_rng(seed).bytes(16 * n), np.uint8).reshape(n, 16)
        self._forms: dict[TraceForm, Any] = {"binary": self.binary}

    def __len__(self) -> int:
        return len(self.binary)

    def form(self, form: TraceForm) -> Any:
        """Return all ids: ``uint8[n, 16]``, 32 hexadecimal digits in Arrow or a list, or Python's ints."""
        if form not in self._forms:
            self._forms[form] = TRACE_FORMS[form](self)
        return self._forms[form]

    def listed(self) -> list[str]:
        """List the ids as texts."""
        text = self.binary.tobytes().hex()
        return [text[at : at + 32] for at in range(0, len(text), 32)]

    def randomness(self) -> NDArray[np.uint64]:
        """Return the last 56 bits of each."""
        low = np.ascontiguousarray(self.binary[:, 8:]).view(">u8").reshape(-1)
        return low.astype(np.uint64) & np.uint64(2**56 - 1)


TRACE_FORMS: dict[TraceForm, Callable[[Traces], Any]] = {
    "list": lambda traces: traces.listed(),
    "arrow": lambda traces: pa.array(traces.form("list")),
    "ints": lambda traces: [int(one, 16) for one in traces.form("list")],
}


@lru_cache(maxsize=2)
def traces(n: int, seed: int) -> Traces:
    """Return the ids of ``n`` traces."""
    return Traces(n, seed)
