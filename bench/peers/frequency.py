"""Frequencies, ours and others', behind the same few verbs.

Sketches of counters are planned for the same memory, four rows of as many counters as fit; those that name
the keys that came most, for ``CAPACITY`` keys at a time, where they can be told. Ints are handed over as
Python's own where a package has no batches, as text where it takes nothing else, and a batch is then the
fastest loop there is, ``deque(map(update, keys), 0)``.
"""

from __future__ import annotations

import copy
import math
import pickle
from abc import ABC, abstractmethod
from collections import Counter, deque
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from algos._variant import Variant
    from bench.schema import Role
    from bench.workloads.keys import Kind
    from bench.workloads.streams import Form, Stream

DEPTH, COUNTER_BYTES = 4, 4
CAPACITY, TOP = 4096, 100
SLOW, NATIVE, VECTORISED = 100_000, 1_000_000, 10_000_000
SHARES = {"MisraGries": 2 / CAPACITY, "SpaceSaving": 1 / CAPACITY}
"""What counts are off by at most, as a share of all that came; of a sketch that is not here, any."""
MEDIANS = {"CountSketch": 3}
"""Sketches whose estimates err to both sides, and how many rows these have: an odd number."""
FAILING = 0.01
"""Of the keys, the share that may be wrong by more than the bound that is asked for."""


class Entry(ABC):
    """What is common to them."""

    name: str
    package: str = ""
    role: Role = "peer"
    form: Form = "list"
    kinds: frozenset[Kind] = frozenset({"int", "text"})

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.load()

    def load(self) -> None:  # noqa: B027 - not all are of a package
        """Import the package."""


class OurEntry(Entry):
    """A variant of this library; a new one appears here by itself."""

    role: Role = "ours"

    def __init__(self, variant: Variant, kind: Kind) -> None:
        super().__init__(kind)
        self.cls, self.name = variant.load(), variant.name
        self.form = "ndarray" if kind == "int" else "arrow"

    def control(self) -> Any:
        """Return the same variant once more, to be built and timed on its own."""
        again = copy.copy(self)
        again.name, again.role = f"{self.name} (control)", "control"
        return again

    def nbytes(self, state: Any) -> int:
        return int(state.nbytes)

    def dump(self, state: Any) -> bytes:
        return bytes(state.to_bytes())

    def restore(self, data: bytes) -> Any:
        return self.cls.from_bytes(data)

    def merge(self, state: Any, other: Any) -> None:
        state.merge(other)


# ---------------------------------------------------------------------------------------------------
# Sketches of counters


class Sketch(Entry):
    """Counters for any number of keys: added to and asked, in batches or one key after the other.

    ``update`` and ``ask`` are its methods for one key, ``width`` that of a row of a sketch made for so many
    counters of 32 bits. An estimate is never too low, and wrong by more than the bound for few keys.
    """

    update, ask = "update", "get_estimate"
    never_low = True
    slow = False  # interpreted: a million keys take seconds
    counter_bytes = COUNTER_BYTES

    def width(self, counters: int) -> int:
        """Return how many of its counters a row has, in the memory of so many of 32 bits."""
        return counters * COUNTER_BYTES // self.counter_bytes // DEPTH

    @abstractmethod
    def make(self, counters: int) -> Any:
        """Make a sketch in the memory of so many counters of 32 bits."""

    def add(self, state: Any, keys: Any) -> None:
        """Count a batch of keys in the fastest way that the package has."""
        deque(map(getattr(state, self.update), keys), 0)

    def add_each(self, state: Any, keys: Any) -> None:
        """Count one key after the other."""
        add = getattr(state, self.update)
        for key in keys:
            add(key)

    def estimate(self, state: Any, keys: Any) -> Any:
        """Estimate many keys in the fastest way that the package has."""
        return self.estimate_each(state, keys)

    def estimate_each(self, state: Any, keys: Any) -> list[float]:
        """Estimate one key after the other."""
        ask = getattr(state, self.ask)
        return [ask(key) for key in keys]

    def bound(self, state: Any, counters: int, total: int) -> tuple[float, float]:
        """Return what an estimate is too high by at most, and for which share of keys by more."""
        del state
        return math.e * total / self.width(counters), math.exp(-DEPTH)

    @abstractmethod
    def nbytes(self, state: Any) -> int:
        """Return the size of the counters."""

    def merge(self, state: Any, other: Any) -> None:
        state.merge(other)

    def dump(self, state: Any) -> bytes:
        return pickle.dumps(state)

    def restore(self, data: bytes) -> Any:
        return pickle.loads(data)  # noqa: S301 - its own, of a moment ago


class OurSketch(OurEntry, Sketch):
    """A sketch of this library."""

    update, ask = "add", "estimate"

    def __init__(self, variant: Variant, kind: Kind) -> None:
        super().__init__(variant, kind)
        self.never_low, self.depth = self.name not in MEDIANS, MEDIANS.get(self.name, DEPTH)
        tried = self.cls(1024, self.depth)
        self.counter_bytes = tried.nbytes // (tried.width * self.depth)

    def make(self, counters: int) -> Any:
        return self.cls(counters * COUNTER_BYTES // self.counter_bytes // self.depth, self.depth)

    def add(self, state: Any, keys: Any) -> None:
        state.add_many(keys)

    def estimate(self, state: Any, keys: Any) -> Any:
        return state.estimate_many(keys)

    def bound(self, state: Any, counters: int, total: int) -> tuple[float, float]:
        del counters, total
        return float(state.error_bound(1 - FAILING)), FAILING


class DataSketchesCountMin(Sketch):
    """DataSketches: Count-Min of counters of 64 bits, floats, C++."""

    name, package, counter_bytes = "datasketches count-min", "datasketches", 8

    def load(self) -> None:
        import datasketches

        self.cls = datasketches.count_min_sketch

    def make(self, counters: int) -> Any:
        return self.cls(DEPTH, self.width(counters))

    def nbytes(self, state: Any) -> int:
        return int(8 * state.num_hashes * state.num_buckets)

    def dump(self, state: Any) -> bytes:
        return bytes(state.serialize())

    def restore(self, data: bytes) -> Any:
        return self.cls.deserialize(data)


class Bounter(Sketch):
    """bounter: conservative Count-Min, C, over text and bytes, with a HyperLogLog of 64 KiB of its own."""

    name, package, update = "bounter count-min", "bounter", "increment"

    def load(self) -> None:
        from bounter import CountMinSketch

        self.cls = CountMinSketch
        self.form = "bytes" if self.kind == "int" else "list"

    def make(self, counters: int) -> Any:
        return self.cls(width=self.width(counters), depth=DEPTH)

    def add(self, state: Any, keys: Any) -> None:
        state.update(keys)

    def estimate_each(self, state: Any, keys: Any) -> list[float]:
        return [state[key] for key in keys]

    def nbytes(self, state: Any) -> int:
        return int(state.size())


class Cmsketch(Sketch):
    """cmsketch: Count-Min, C++, of ints below 2^31 and of text; so an id is its digits."""

    name, package, form, update, ask = "cmsketch", "cmsketch", "text", "insert", "count"

    def load(self) -> None:
        import cmsketch

        self.cls: Any = cmsketch.CountMinSketchStr

    def make(self, counters: int) -> Any:
        return self.cls(self.width(counters), DEPTH)

    def nbytes(self, state: Any) -> int:
        return int(COUNTER_BYTES * state.get_width() * state.get_depth())

    dump: Any = None


class Pyprobables(Sketch):
    """pyprobables: Count-Min, Python, over text; by MD5, its faster hash."""

    name, package, form, update, ask = "pyprobables", "pyprobables", "text", "add", "check"
    slow = True

    def load(self) -> None:
        from probables import CountMinSketch
        from probables.hashes import default_md5

        self.cls, self.hash = CountMinSketch, default_md5

    def make(self, counters: int) -> Any:
        return self.cls(width=self.width(counters), depth=DEPTH, hash_function=self.hash)

    def merge(self, state: Any, other: Any) -> None:
        state.join(other)

    def dump(self, state: Any) -> bytes:
        return bytes(state)

    def restore(self, data: bytes) -> Any:
        return self.cls.frombytes(data, hash_function=self.hash)

    def nbytes(self, state: Any) -> int:
        return int(COUNTER_BYTES * state.width * state.depth)


class PythonCounter(Sketch):
    """``collections.Counter``, which counts a batch in C; its size leaves out keys and counts."""

    name, role, update = "collections.Counter", "exact", ""

    def make(self, counters: int) -> Any:
        del counters
        return Counter()

    def add(self, state: Any, keys: Any) -> None:
        state.update(keys)

    def add_each(self, state: Any, keys: Any) -> None:
        for key in keys:
            state[key] += 1

    def estimate_each(self, state: Any, keys: Any) -> list[float]:
        return [state[key] for key in keys]

    def bound(self, state: Any, counters: int, total: int) -> tuple[float, float]:
        del state, counters, total
        return 0.0, 0.0

    def merge(self, state: Any, other: Any) -> None:
        state.update(other)

    def nbytes(self, state: Any) -> int:
        return int(state.__sizeof__())


# ---------------------------------------------------------------------------------------------------
# The keys that came most


class Heavy(Entry):
    """Names the ``k`` keys that came most in a batch, from nothing to the answer, and about how often.

    ``share`` is what a count is wrong by at most, of all that came; whose share is ``None`` promises nothing.
    ``reach`` is the longest stream that one is entered with: beyond it, it would only take others' time.
    """

    share: float | None = 0.0
    reach = VECTORISED

    def prepare(self, stream: Stream) -> Any:
        """Return a stream in the form that is liked best."""
        return stream.form(self.form)

    @abstractmethod
    def top(self, keys: Any, k: int) -> tuple[Any, Any]:
        """Return keys and counts, the most frequent first; or no counts."""


class OurHeavy(OurEntry, Heavy):
    """A variant of this library that names keys."""

    def __init__(self, variant: Variant, kind: Kind) -> None:
        super().__init__(variant, kind)
        self.share = SHARES.get(self.name)
        known = signature(self.cls).parameters
        self.size = {"capacity": CAPACITY} if "capacity" in known else {}

    def make(self) -> Any:
        """Make one for so many keys, where it can be told."""
        return self.cls(**self.size)

    def filled(self, keys: Any) -> Any:
        """Make one of a batch."""
        state = self.make()
        state.add_many(keys)
        return state

    def top(self, keys: Any, k: int) -> tuple[Any, Any]:
        found, counts = self.filled(keys).top(k)
        return found, counts


class DataSketchesItems(Heavy):
    """DataSketches: frequent items, of Python objects, C++; of a table of 4096 three quarters are used."""

    name, package, share = "datasketches frequent items", "datasketches", 3.5 / CAPACITY
    sketch, reach = "frequent_items_sketch", NATIVE

    def load(self) -> None:
        import datasketches

        self.cls = getattr(datasketches, self.sketch)
        self.order = datasketches.frequent_items_error_type.NO_FALSE_NEGATIVES

    def top(self, keys: Any, k: int) -> tuple[Any, Any]:
        state = self.cls(int(math.log2(CAPACITY)))
        deque(map(state.update, keys), 0)
        found = state.get_frequent_items(self.order)[:k]
        return [item[0] for item in found], [item[1] for item in found]


class DataSketchesStrings(DataSketchesItems):
    """DataSketches: frequent strings."""

    name, sketch = "datasketches frequent strings", "frequent_strings_sketch"
    kinds: frozenset[Kind] = frozenset({"text"})


class CrickSpaceSaving(Heavy):
    """crick: Space-Saving, C, of an array of ints or a list of objects; slow for so many keys at a time."""

    name, package, share, reach = "crick Space-Saving", "crick", 1 / CAPACITY, SLOW

    def load(self) -> None:
        from crick import SpaceSaving

        self.cls, self.dtype = SpaceSaving, "i8" if self.kind == "int" else "O"
        self.form = "ndarray" if self.kind == "int" else "list"

    def top(self, keys: Any, k: int) -> tuple[Any, Any]:
        state = self.cls(CAPACITY, self.dtype)
        state.update(keys)
        found = state.topk(k)
        return [item[0] for item in found], [item[1] for item in found]


class DuckDbTop(Heavy):
    """duckdb: ``approx_top_k`` of a table of its own, C++, on one thread; it tells no counts."""

    name, package = "duckdb approx_top_k", "duckdb"
    share: float | None = None
    query = f"SELECT approx_top_k(k, {TOP}) FROM keys"  # noqa: S608 - a number

    def load(self) -> None:
        import duckdb

        self.module = duckdb

    def prepare(self, stream: Stream) -> Any:
        own, given = self.module.connect(config={"threads": 1}), pa.table({"k": stream.form("arrow")})
        own.register("given", given)
        own.execute("CREATE TABLE keys AS SELECT * FROM given").fetchall()
        own.unregister("given")
        return own

    def top(self, keys: Any, k: int) -> tuple[Any, Any]:
        del k
        return keys.execute(self.query).fetchall()[0][0], None


class DuckDbGroups(DuckDbTop):
    """duckdb: ``GROUP BY``, sorted."""

    name, role, share = "duckdb group by", "exact", 0.0
    query = f"SELECT k, count(*) AS n FROM keys GROUP BY k ORDER BY n DESC LIMIT {TOP}"  # noqa: S608

    def top(self, keys: Any, k: int) -> tuple[Any, Any]:
        del k
        found = keys.execute(self.query).fetchall()
        return [key for key, _ in found], [count for _, count in found]


class CounterTop(Heavy):
    """``collections.Counter``."""

    name, role, reach = "collections.Counter", "exact", NATIVE

    def top(self, keys: Any, k: int) -> tuple[Any, Any]:
        found = Counter(keys).most_common(k)
        return [key for key, _ in found], [count for _, count in found]


class PolarsCounts(Heavy):
    """polars: ``value_counts``, sorted, on one thread (``POLARS_MAX_THREADS``)."""

    name, package, role, form = "polars value_counts", "polars", "exact", "polars"

    def top(self, keys: Any, k: int) -> tuple[Any, Any]:
        found = keys.value_counts(sort=True).head(k)
        return found["k"].to_list(), found["count"]


class PandasCounts(Heavy):
    """pandas: ``value_counts``."""

    name, package, role, form = "pandas value_counts", "pandas", "exact", "pandas"
    kinds: frozenset[Kind] = frozenset({"int"})

    def top(self, keys: Any, k: int) -> tuple[Any, Any]:
        found = keys.value_counts().head(k)
        return found.index.tolist(), found


class UniqueCounts(Heavy):
    """``np.unique`` with counts, which sorts."""

    name, package, role, form = "np.unique", "numpy", "exact", "ndarray"
    kinds: frozenset[Kind] = frozenset({"int"})

    def top(self, keys: Any, k: int) -> tuple[Any, Any]:
        found, counts = np.unique(keys, return_counts=True)
        most = np.argpartition(counts, -min(k, len(counts)))[-k:]
        most = most[np.argsort(-counts[most])]
        return found[most], counts[most]


SKETCHES = (DataSketchesCountMin, Bounter, Cmsketch, Pyprobables)
HEAVY = (DataSketchesItems, DataSketchesStrings, CrickSpaceSaving, DuckDbTop)
EXACT_TOP = (CounterTop, PolarsCounts, PandasCounts, UniqueCounts, DuckDbGroups)
