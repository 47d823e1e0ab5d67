"""Samplers of other packages, of NumPy and of plain Python, behind the same few verbs.

Some take a stream as it comes, item by item (datasketches: its calls made by ``map``, the fastest loop there
is) or in batches, and hold no more than the sample. Others choose from what is all there (NumPy, polars,
DuckDB, Python's random): asked to sample a stream they keep all of it, and then choose, knowing how many
there are. That is the fastest way there is for whoever has the memory, so it is in the table.

Laws are what a sampler promises an item's chance to be, and what the gate holds it to.
"""

from __future__ import annotations

import inspect
import math
import random
from abc import ABC, abstractmethod
from collections import deque
from importlib import import_module
from itertools import count, repeat
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from algos._variant import Variant
    from bench.schema import Role
    from bench.workloads.items import Form, TraceForm

Law = Literal["successive", "threshold", "proportional"]
"""By weight: drawn one after the other; all above a threshold and in proportion below; all in proportion."""


def weighted(variant: Variant) -> bool | None:
    """Tell whether a variant samples items with weights, or without; None if it is no sampler of items."""
    method = getattr(variant.load(), "add_many", None)
    return None if method is None else "weights" in inspect.signature(method).parameters


class Sampler(ABC):
    """What is common to them: a sample of ``k`` of a stream of batches, with weights or without."""

    name: str
    package: str = ""
    role: Role = "peer"
    form: Form = "list"
    law: Law = "successive"
    full = True
    """Whether there are always ``k`` in a sample, if that many have a weight."""

    @abstractmethod
    def sample(self, batches: Sequence[Any], weights: Sequence[Any] | None, k: int) -> Any:
        """Return a new sample of a stream."""

    def listed(self, sample: Any) -> list[int]:
        """List a sample that was returned."""
        return sample.tolist() if isinstance(sample, np.ndarray) else list(sample)


class Streaming(Sampler):
    """Who holds no more than the sample: made, fed and asked."""

    @abstractmethod
    def make(self, k: int) -> Any:
        """Return a new sampler, unlike others."""

    @abstractmethod
    def feed(self, state: Any, items: Any, weights: Any = None) -> None:
        """Offer a batch."""

    @abstractmethod
    def ask(self, state: Any) -> Any:
        """Return the sample."""

    def one(self, state: Any) -> Callable[..., Any]:
        """Return what is called for a single item."""
        return state.update

    def sum_of(self, _state: Any, _wanted: Any) -> float | None:
        """Estimate the sum of the weights of wanted items, of a sampler that can."""
        return None

    def sample(self, batches: Sequence[Any], weights: Sequence[Any] | None, k: int) -> Any:
        state = self.make(k)
        for batch, own in zip(batches, weights or repeat(None), strict=False):
            self.feed(state, batch, own)
        return self.ask(state)


class Ours(Streaming):
    """A sampler of this library; a new one appears here by itself."""

    role: Role = "ours"
    form: Form = "ndarray"

    def __init__(self, variant: Variant, name: str = "") -> None:
        self.name, self.cls, self._seeds = name or variant.name, variant.load(), count()
        self.weighted = weighted(variant)
        self.estimates = hasattr(self.cls, "estimate_sum")
        self.law: Law = "threshold" if self.estimates else "successive"

    def make(self, k: int) -> Any:
        return self.cls(k, seed=next(self._seeds))

    def feed(self, state: Any, items: Any, weights: Any = None) -> None:
        if weights is None and self.weighted:
            weights = np.ones(len(items))
        if weights is None:
            state.add_many(items)
        else:
            state.add_many(items, weights)

    def ask(self, state: Any) -> Any:
        return state.sample()

    def one(self, state: Any) -> Callable[..., Any]:
        return state.add

    def sum_of(self, _state: Any, _wanted: Any) -> float | None:
        return float(_state.estimate_sum(_wanted).total) if self.estimates else None


class VarOpt(Streaming):
    """datasketches' VarOpt: C++, an item a call."""

    name, package = "datasketches var_opt", "datasketches"
    law: Law = "threshold"

    def __init__(self) -> None:
        from datasketches import var_opt_sketch, var_opt_union

        self._make, self._union = var_opt_sketch, var_opt_union

    def make(self, k: int) -> Any:
        return self._make(k)

    def feed(self, state: Any, items: Any, weights: Any = None) -> None:
        deque(map(state.update, items) if weights is None else map(state.update, items, weights), 0)

    def ask(self, state: Any) -> Any:
        return [item for item, _ in state]

    def sum_of(self, _state: Any, _wanted: Any) -> float | None:
        return float(_state.estimate_subset_sum(lambda item: bool(_wanted([item])[0]))["estimate"])

    def merge(self, a: Any, b: Any) -> Any:
        """Return a sketch of both."""
        union = self._union(a.k)
        union.update(a)
        union.update(b)
        return union.get_result()


class Ebpps(VarOpt):
    """datasketches' EB-PPS: C++, an item a call; heavy items make its sample smaller than ``k``."""

    name = "datasketches ebpps"
    law: Law = "proportional"
    full = False

    def __init__(self) -> None:
        from datasketches import ebpps_sketch

        self._make = ebpps_sketch

    def ask(self, state: Any) -> Any:
        return list(state)

    def sum_of(self, _state: Any, _wanted: Any) -> float | None:
        return None

    def merge(self, a: Any, b: Any) -> Any:
        a.merge(b)
        return a


class PlainPython(Streaming):
    """Li's algorithm L in Python, as anyone would write it: most items cost a comparison."""

    name = "plain Python"

    def make(self, k: int) -> Any:
        return _Plain(k)

    def feed(self, state: Any, items: Any, weights: Any = None) -> None:
        del weights
        state.extend(items)

    def ask(self, state: Any) -> Any:
        return state.kept


class _Plain:
    """A sample that grows."""

    def __init__(self, k: int) -> None:
        self.k, self.kept, self.seen, self.next, self.w = k, list[Any](), 0, k, 1.0

    def _skip(self) -> None:
        self.w *= math.exp(math.log(random.random()) / self.k)
        self.next += 1 + int(math.log(random.random()) / math.log(1.0 - self.w))

    def update(self, item: Any) -> None:
        """Offer an item."""
        if self.seen < self.k:
            self.kept.append(item)
            if len(self.kept) == self.k:
                self.next -= 1
                self._skip()
        elif self.seen == self.next:
            self.kept[random.randrange(self.k)] = item
            self._skip()
        self.seen += 1

    def extend(self, items: Sequence[Any]) -> None:
        """Offer a batch: only those taken are looked at."""
        at = 0
        while self.seen < self.k and at < len(items):
            self.update(items[at])
            at += 1
        start, end = self.seen - at, self.seen - at + len(items)
        while self.seen >= self.k and self.next < end:
            self.kept[random.randrange(self.k)] = items[self.next - start]
            self._skip()
        self.seen = end


# ---------------------------------------------------------------------------------------------------
# From what is all there


class NumpyChoice(Sampler):
    """NumPy's Generator.choice without replacement."""

    name, form = "NumPy choice", "ndarray"

    def __init__(self) -> None:
        self._rng = np.random.default_rng(1)

    def sample(self, batches: Sequence[Any], weights: Sequence[Any] | None, k: int) -> Any:
        items = batches[0] if len(batches) == 1 else np.concatenate(batches)
        if weights is None:
            return items[self._rng.choice(len(items), k, replace=False, shuffle=False)]
        share = np.concatenate(weights)
        share /= share.sum()
        return items[self._rng.choice(len(items), k, replace=False, p=share, shuffle=False)]


class NumpyKeys(Sampler):
    """Efraimidis' and Spirakis' keys in NumPy, batch by batch: the smallest of a column stay."""

    name, form = "NumPy keys", "ndarray"

    def __init__(self) -> None:
        self._rng = np.random.default_rng(1)

    def sample(self, batches: Sequence[Any], weights: Sequence[Any] | None, k: int) -> Any:
        kept, keys = batches[0][:0], np.empty(0)
        for items, own in zip(batches, weights or [], strict=True):
            drawn = self._rng.standard_exponential(len(items)) / own
            kept, keys = np.concatenate([kept, items]), np.concatenate([keys, drawn])
            stay = np.argpartition(keys, k - 1)[:k] if len(keys) > k else slice(None)
            kept, keys = kept[stay], keys[stay]
        return kept


class PolarsSample(Sampler):
    """polars' Series.sample: Rust."""

    name, package, form = "polars sample", "polars", "polars"

    def __init__(self) -> None:
        import polars as pl

        self._concat = pl.concat

    def sample(self, batches: Sequence[Any], weights: Sequence[Any] | None, k: int) -> Any:
        del weights
        return (batches[0] if len(batches) == 1 else self._concat(batches)).sample(k)


class DuckDbReservoir(Sampler):
    """DuckDB's USING SAMPLE reservoir, over Arrow: C++."""

    name, package, form = "DuckDB reservoir", "duckdb", "table"

    def __init__(self) -> None:
        import duckdb

        self._connection = duckdb.connect(config={"threads": 1})

    def sample(self, batches: Sequence[Any], weights: Sequence[Any] | None, k: int) -> Any:
        del weights
        import pyarrow as pa

        self._connection.register("items", pa.concat_tables(batches))
        query = f"select item from items using sample reservoir({k} rows)"  # noqa: S608
        return self._connection.execute(query).fetchnumpy()["item"]


class PythonRandom(Sampler):
    """Python's random.sample."""

    name = "random.sample"

    def sample(self, batches: Sequence[Any], weights: Sequence[Any] | None, k: int) -> Any:
        del weights
        return random.sample(batches[0], k)


STREAMING = (VarOpt, Ebpps)
UNIFORM = (*STREAMING, PlainPython, NumpyChoice, PolarsSample, DuckDbReservoir)
ARRAY = (NumpyChoice, PolarsSample, DuckDbReservoir, PythonRandom)
WEIGHTED = (*STREAMING, NumpyChoice, NumpyKeys)


# ---------------------------------------------------------------------------------------------------
# Traces


class Tracing(ABC):
    """Who decides which traces are kept, by the 56 bits of their ids that are random."""

    name: str
    package: str = ""
    role: Role = "peer"
    forms: tuple[TraceForm, ...]
    exact = True
    """Whether it goes by the threshold of the specification, for the gate to know its answers."""

    def keep_many(self, state: Any, ids: Any) -> Any:
        """Decide on a batch."""
        one = self.one(state)
        return [one(trace) for trace in ids]

    @abstractmethod
    def make(self, threshold: int) -> Any:
        """Return a sampler that keeps traces from a threshold of 2^56 on."""

    @abstractmethod
    def one(self, state: Any) -> Callable[[Any], bool]:
        """Return what is called for a single trace."""


class OurTraces(Tracing):
    """A sampler of traces of this library; a new one appears here by itself."""

    role: Role = "ours"
    forms = ("binary", "arrow", "list")

    def __init__(self, variant: Variant, name: str = "") -> None:
        self.name, self.cls = name or variant.name, variant.load()

    def make(self, threshold: int) -> Any:
        return self.cls.from_th(f"{threshold:014x}")

    def keep_many(self, state: Any, ids: Any) -> Any:
        return state.keep_many(ids)

    def one(self, state: Any) -> Callable[[Any], bool]:
        return state.keep


class NumpyTraces(Tracing):
    """The comparison in NumPy, of binary ids."""

    name, forms = "NumPy", ("binary",)

    def make(self, threshold: int) -> Any:
        return np.uint64(threshold)

    def keep_many(self, state: Any, ids: Any) -> Any:
        return (ids.view(">u8")[:, 1] & np.uint64(2**56 - 1)) >= state

    one: Any = None  # not alone


class PythonTraces(Tracing):
    """The comparison in plain Python: of text, the last 14 digits as a number."""

    name, forms = "plain Python", ("list",)

    def make(self, threshold: int) -> Any:
        return threshold

    def one(self, state: Any) -> Callable[[Any], bool]:
        return lambda trace: int(trace[18:], 16) >= state


class OpenTelemetry(Tracing):
    """opentelemetry-sdk's TraceIdRatioBased: Python, of ints; it goes by the lower 64 bits, from 0 on."""

    name, package, forms, exact = "OpenTelemetry SDK", "opentelemetry-sdk", ("ints",), False

    def __init__(self) -> None:
        self._module = import_module("opentelemetry.sdk.trace.sampling")

    def make(self, threshold: int) -> Any:
        return self._module.TraceIdRatioBased(1 - threshold / 2**56)

    def one(self, state: Any) -> Callable[[Any], bool]:
        ask, kept = state.should_sample, self._module.Decision.RECORD_AND_SAMPLE
        return lambda trace: ask(None, trace, "span").decision is kept


TRACING: tuple[type[Tracing], ...] = (NumpyTraces, PythonTraces, OpenTelemetry)
