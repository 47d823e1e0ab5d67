"""Distinct counts, ours and others', behind the same few verbs.

All are planned for the same relative standard error, ``ERROR``, as far as they let themselves be planned;
``error`` is what each states. Ints are handed over as Python's own where a package has no batches, and a
batch is then the fastest loop there is, ``deque(map(update, keys), 0)``. ``least`` and ``reach`` bound
the batches that one is entered with as a whole: threads need some to start, and who is slow would only take
others' time.
"""

from __future__ import annotations

import copy
import io
import math
import os
import pickle
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from algos._variant import Variant
    from bench.schema import Role
    from bench.workloads.keys import Kind
    from bench.workloads.streams import Form, Stream

ERROR, ERROR_IN_GROUPS = 0.0085, 0.034
POLARS_STREAMING_ERROR, DUCKDB_ERROR = 1.04 / 16, 1.04 / 32
"""What engines err by that cannot be planned: ours race at these errors too."""
INTERPRETED, NATIVE, VECTORISED = 100_000, 1_000_000, 10_000_000
THREADS = os.cpu_count() or 1
IN_A_GROUP = 10_000
"""Keys in a group that those are planned for who have to know."""


class Entry(ABC):
    """What is common to them: a batch counted afresh.

    ``prepare`` makes of a stream what ``count`` is handed, and ``grouped`` what ``count_groups`` is, which
    returns the groups and their counts, or counts of groups in their order.
    """

    name: str
    package: str = ""
    role: Role = "peer"
    form: Form = "list"
    kinds: frozenset[Kind] = frozenset({"int", "text"})
    least, reach = 0, NATIVE
    error = ERROR
    sampled = True  # its error is measured: it is not the same as another one's

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.load()

    def load(self) -> None:  # noqa: B027 - not all are of a package
        """Import the package."""

    def prepare(self, stream: Stream) -> Any:
        """Return a stream in the form that is liked best."""
        return stream.form(self.form)

    @abstractmethod
    def count(self, keys: Any) -> float:
        """Count the distinct keys of a batch."""

    def grouped(self, stream: Stream, groups: Any) -> Any:
        """Return a stream and its groups."""
        return stream.form(self.form), groups


class Kept(Entry):
    """A counter that goes on: made, added to in batches or one key after the other, asked, merged, stored.

    ``update`` is its method that adds a key.
    """

    update = "update"

    @abstractmethod
    def make(self, keys: int) -> Any:
        """Make a counter for about so many distinct keys."""

    def add(self, state: Any, keys: Any) -> None:
        """Add a batch of keys in the fastest way that the package has."""
        deque(map(getattr(state, self.update), keys), 0)

    def add_each(self, state: Any, keys: Any) -> None:
        """Add one key after the other."""
        add = getattr(state, self.update)
        for key in keys:
            add(key)

    def estimate(self, state: Any) -> float:
        """Return how many distinct keys there were."""
        return float(state.get_estimate())

    def count(self, keys: Any) -> float:
        state = self.make(len(keys))
        self.add(state, keys)
        return self.estimate(state)


# ---------------------------------------------------------------------------------------------------
# Ours


class Ours(Kept):
    """A variant of this library; a new one appears here by itself."""

    role: Role = "ours"
    update = "add"
    reach = VECTORISED

    def __init__(self, variant: Variant, kind: Kind, error: float = ERROR) -> None:
        super().__init__(kind)
        self.cls, self.name, self.error = variant.load(), variant.name, error
        self.form = "ndarray" if kind == "int" else "arrow"
        self.groups = "groups" in signature(self.cls.add_many).parameters
        self.threads: dict[str, int] = {}
        self.plans: dict[int, dict[str, Any]] = {}

    def control(self) -> Ours:
        """Return the same variant once more, to be built and timed on its own."""
        again = copy.copy(self)
        again.name, again.role = f"{self.name} (control)", "control"
        return again

    def coarser(self, error: float) -> Ours:
        """Return the same variant, of registers, planned for another error, and named by its precision."""
        other = copy.copy(self)
        other.error, other.plans = error, {}
        other.name = f"{self.name} precision={other.make(0).precision}"
        return other

    def in_threads(self) -> Ours:
        """Return the same variant with its batches on all processors."""
        other = copy.copy(self)
        other.name, other.threads, other.sampled = f"{self.name}, all threads", {"threads": THREADS}, False
        return other

    def make(self, keys: int) -> Any:
        """Make the smallest counter that errs by no more, of those for so many keys where it has to know."""
        if keys not in self.plans:  # once, and not while it is timed
            self.plans[keys] = self.planned(keys)
        return self.cls(**self.plans[keys])

    def planned(self, keys: int) -> dict[str, Any]:
        """Return the arguments that it is made with."""
        known = signature(self.cls).parameters
        if "precision" in known:
            fine = (p for p in range(4, 19) if stated(self.cls(precision=p)) <= self.error)
            return {"precision": next(fine)}
        if "lg_k" in known:
            return {"lg_k": math.ceil(math.log2(self.error**-2))}
        return {"bits": bits_for(keys, self.error)} if "bits" in known else {}

    def add(self, state: Any, keys: Any) -> None:
        state.add_many(keys, **self.threads)

    def estimate(self, state: Any) -> float:
        return float(state.estimate())

    def law(self, state: Any) -> float:
        """Return the relative standard error that the counter states, from the interval of one of them."""
        low, high = state.interval(math.erf(math.sqrt(0.5)))
        return float((high - low) / 2 / state.estimate())

    def count_groups(self, part: tuple[Any, Any]) -> Any:
        keys, groups = part
        state = self.make(IN_A_GROUP)
        state.add_many(keys, groups=groups)
        return state.estimate()

    def merge(self, state: Any, other: Any) -> None:
        state.merge(other)

    def dump(self, state: Any) -> bytes:
        return bytes(state.to_bytes())

    def restore(self, data: bytes) -> Any:
        return self.cls.from_bytes(data)

    def nbytes(self, state: Any) -> int:
        return int(state.nbytes)


def stated(counter: Any) -> float:
    """Return the relative standard error of a counter by registers, whatever it holds."""
    return float(counter.relative_error)


def bits_for(keys: int, error: float) -> int:
    """Return the fewest bits, a power of 1.05, of which a linear counter of so many keys errs by no more."""
    bits = 64.0
    while (
        math.sqrt(math.expm1(t := keys / bits) - t) / t / math.sqrt(bits) > error
        if keys / bits < 500
        else True
    ):
        bits *= 1.05
    return int(bits)


# ---------------------------------------------------------------------------------------------------
# Packages that keep a sketch


class DataSketchesHll(Kept):
    """DataSketches: HLL of a byte a register, C++, with a martingale estimate, which is lost in a union."""

    name, package = "datasketches HLL", "datasketches"
    lg_k, error = 14, 0.8326 / 2**7

    def load(self) -> None:
        import datasketches

        self.module = datasketches

    def make(self, keys: int) -> Any:
        del keys
        return self.module.hll_sketch(self.lg_k, self.module.tgt_hll_type.HLL_8)

    def into(self, state: Any) -> Any:
        """Return the union of one sketch, to merge others into."""
        union = self.module.hll_union(self.lg_k)
        union.update(state)
        return union

    def merge(self, state: Any, other: Any) -> None:
        state.update(other)

    def dump(self, state: Any) -> bytes:
        return bytes(state.serialize_compact())

    def restore(self, data: bytes) -> Any:
        return self.module.hll_sketch.deserialize(data)

    def nbytes(self, state: Any) -> int:
        return int(state.get_updatable_serialization_bytes())

    def count_groups(self, part: tuple[Any, Any]) -> Any:
        """Count in a dict of sketches, as it is usually done."""
        made: Any = defaultdict(lambda: self.module.hll_sketch(10, self.module.tgt_hll_type.HLL_8))
        for key, group in zip(*part, strict=True):
            made[group].update(key)
        return list(made), [sketch.get_estimate() for sketch in made.values()]

    def grouped(self, stream: Stream, groups: Any) -> Any:
        return stream.form("list"), groups.tolist()


class DataSketchesCpc(DataSketchesHll):
    """DataSketches: CPC, compressed when stored; what it takes before that it does not tell."""

    name, lg_k, error = "datasketches CPC", 13, 0.5887 / 2**6.5
    count_groups: Any = None

    def make(self, keys: int) -> Any:
        del keys
        return self.module.cpc_sketch(self.lg_k)

    def into(self, state: Any) -> Any:
        union = self.module.cpc_union(self.lg_k)
        union.update(state)
        return union

    def estimate(self, state: Any) -> float:
        return float(
            state.get_result().get_estimate() if hasattr(state, "get_result") else state.get_estimate()
        )

    def dump(self, state: Any) -> bytes:
        return bytes(state.serialize())

    def restore(self, data: bytes) -> Any:
        return self.module.cpc_sketch.deserialize(data)

    def nbytes(self, state: Any) -> int:
        return len(state.serialize())


class DataSketchesTheta(DataSketchesCpc):
    """DataSketches: the update theta sketch. Its table has, as it fills, up to 2k slots of 8 bytes."""

    name, lg_k, error = "datasketches theta", 14, 1 / 2**7

    def make(self, keys: int) -> Any:
        del keys
        return self.module.update_theta_sketch(self.lg_k)

    def into(self, state: Any) -> Any:
        union = self.module.theta_union(self.lg_k)
        union.update(state)
        return union

    def dump(self, state: Any) -> bytes:
        return bytes(state.compact().serialize())

    def restore(self, data: bytes) -> Any:
        return self.module.compact_theta_sketch.deserialize(data)

    def nbytes(self, state: Any) -> int:
        del state
        return 16 << self.lg_k


class HllC(Kept):
    """HLL: C, over text and bytes; an int is its eight bytes. Only consecutive ints can be added at once."""

    name, package, update = "HLL (C)", "HLL", "add"
    error = 1.04 / 2**7

    def load(self) -> None:
        import HLL

        self.module = HLL
        self.form = "bytes" if self.kind == "int" else "list"

    def make(self, keys: int) -> Any:
        del keys
        return self.module.HyperLogLog(14)

    def estimate(self, state: Any) -> float:
        return float(state.cardinality())

    def merge(self, state: Any, other: Any) -> None:
        state.merge(other)

    def dump(self, state: Any) -> bytes:
        return pickle.dumps(state)

    def restore(self, data: bytes) -> Any:
        return pickle.loads(data)  # noqa: S301 - its own, of a moment ago

    def nbytes(self, state: Any) -> int:
        return int(state.size())


class Datasketch(Kept):
    """datasketch: HyperLogLog++, Python over NumPy registers; with xxhash's XXH3 it takes half as long."""

    name, package, reach, form = "datasketch HLL++", "datasketch", INTERPRETED, "bytes"
    error = 1.04 / 2**7

    def load(self) -> None:
        import datasketch
        import xxhash

        self.cls, self.hash = datasketch.HyperLogLogPlusPlus, xxhash.xxh3_64_intdigest

    def make(self, keys: int) -> Any:
        del keys
        return self.cls(14, hashfunc=self.hash)

    def estimate(self, state: Any) -> float:
        return float(state.count())

    def merge(self, state: Any, other: Any) -> None:
        state.merge(other)

    def dump(self, state: Any) -> bytes:
        data = bytearray(state.bytesize())
        state.serialize(data)
        return bytes(data)

    def restore(self, data: bytes) -> Any:
        return self.cls.deserialize(data)

    def nbytes(self, state: Any) -> int:
        return int(state.reg.nbytes)


class Hyperloglog(Kept):
    """hyperloglog: Python over NumPy, by SHA-1 of msgpack; it merges by ``update``."""

    name, package, reach, update = "hyperloglog", "hyperloglog", INTERPRETED, "add"
    error = 1.04 / 2**7

    def load(self) -> None:
        import hyperloglog

        self.cls = hyperloglog.HyperLogLog

    def make(self, keys: int) -> Any:
        del keys
        return self.cls(ERROR)

    def add(self, state: Any, keys: Any) -> None:
        state.add_bulk(keys)

    def estimate(self, state: Any) -> float:
        return float(state.card())

    def merge(self, state: Any, other: Any) -> None:
        state.update(other)

    def dump(self, state: Any) -> bytes:
        file = io.BytesIO()
        pickle.dump(state, file)
        return file.getvalue()

    def restore(self, data: bytes) -> Any:
        return pickle.loads(data)  # noqa: S301 - its own, of a moment ago

    def nbytes(self, state: Any) -> int:
        return int(state.M.nbytes)


# ---------------------------------------------------------------------------------------------------
# Engines: a batch is counted and nothing is kept


class Polars(Entry):
    """polars: ``approx_n_unique``, Rust, on one thread (``POLARS_MAX_THREADS``); it cannot be planned."""

    name, package, form, reach = "polars approx_n_unique", "polars", "polars", VECTORISED
    approximate, engine = True, "in-memory"

    def load(self) -> None:
        import polars as pl

        self.pl = pl
        self.column = pl.col("k").approx_n_unique() if self.approximate else pl.col("k").n_unique()

    def count(self, keys: Any) -> float:
        return float(keys.approx_n_unique() if self.approximate else keys.n_unique())

    def grouped(self, stream: Stream, groups: Any) -> Any:
        return self.pl.DataFrame({"k": stream.form("polars"), "g": groups}).lazy()

    def count_groups(self, frame: Any) -> Any:
        found = frame.group_by("g").agg(self.column).collect(engine=self.engine)
        return found["g"], found["k"]


class PolarsStreaming(Polars):
    """polars' streaming engine, which lazy queries go to: its sketch has 256 registers, an error of 6.5 %."""

    name, engine, error = "polars streaming approx_n_unique", "streaming", POLARS_STREAMING_ERROR

    def prepare(self, stream: Stream) -> Any:
        return self.pl.DataFrame({"k": stream.form("polars")}).lazy().select(self.column)

    def count(self, keys: Any) -> float:
        return float(keys.collect(engine="streaming").item())


class PolarsThreads(PolarsStreaming):
    """The same on all processors, as it runs by default: in a process of its own, since threads are its.

    Asking it there takes some microseconds more. The other engine has one thread for a column.
    """

    name, sampled, least = "polars streaming approx_n_unique, all threads", False, NATIVE

    def prepare(self, stream: Stream) -> Any:
        environment = {k: v for k, v in os.environ.items() if k != "POLARS_MAX_THREADS"}
        command, pipe = [sys.executable, "-c", COUNT_APART], subprocess.PIPE
        child = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment)
        assert child.stdin is not None
        data = io.BytesIO()
        self.pl.DataFrame({"k": stream.form("polars")}).write_ipc_stream(data)
        child.stdin.write(b"%d\n" % data.tell() + data.getvalue())
        return child

    def count(self, keys: Any) -> float:
        keys.stdin.write(b"?")
        keys.stdin.flush()
        return float(keys.stdout.readline())


COUNT_APART = """
import io
import sys
import polars as pl

orders = sys.stdin.buffer
frame = pl.read_ipc_stream(io.BytesIO(orders.read(int(orders.readline())))).rechunk().lazy()
query = frame.select(pl.col("k").approx_n_unique())
while orders.read(1):
    print(query.collect().item(), flush=True)
"""


class PolarsExact(Polars):
    """polars: ``n_unique``, a hash table."""

    name, role, approximate, error = "polars n_unique", "exact", False, 0.0


class DuckDb(Entry):
    """duckdb: ``approx_count_distinct`` of a table of its own, C++, on one thread: 1,024 registers, 3.3 %."""

    name, package, reach, error = "duckdb approx_count_distinct", "duckdb", VECTORISED, DUCKDB_ERROR
    threads, function = 1, "approx_count_distinct(k)"

    def load(self) -> None:
        import duckdb

        self.module = duckdb

    def prepare(self, stream: Stream) -> Any:
        return self._own(pa.table({"k": stream.form("arrow")}))

    def grouped(self, stream: Stream, groups: Any) -> Any:
        return self._own(pa.table({"k": stream.form("arrow"), "g": groups}))

    def _own(self, table: Any) -> Any:
        own = self.module.connect(config={"threads": self.threads})
        own.register("given", table)
        own.execute("CREATE TABLE keys AS SELECT * FROM given").fetchall()
        own.unregister("given")
        return own

    def count(self, keys: Any) -> float:
        return float(keys.execute(f"SELECT {self.function} FROM keys").fetchall()[0][0])  # noqa: S608

    def count_groups(self, own: Any) -> Any:
        found = own.execute(f"SELECT g, {self.function} AS n FROM keys GROUP BY g").fetchnumpy()  # noqa: S608
        return found["g"], found["n"]


class DuckDbThreads(DuckDb):
    """The same on all processors, as it runs by default."""

    name, threads, sampled, least = "duckdb approx_count_distinct, all threads", THREADS, False, NATIVE


class DuckDbExact(DuckDb):
    """duckdb: ``COUNT(DISTINCT k)``."""

    name, role, function, error, reach = "duckdb count distinct", "exact", "COUNT(DISTINCT k)", 0.0, NATIVE


class PythonSet(Entry):
    """Python's ``set``."""

    name, role, error = "Python set", "exact", 0.0

    def count(self, keys: Any) -> float:
        return len(set(keys))


class SortedArray(Entry):
    """NumPy's sort, and counting where neighbours differ: ``np.unique`` hashes, which takes longer."""

    name, package, role, form, error, reach = "np.sort", "numpy", "exact", "ndarray", 0.0, VECTORISED
    kinds: frozenset[Kind] = frozenset({"int"})

    def count(self, keys: Any) -> float:
        found = np.sort(keys)
        return int(np.count_nonzero(found[1:] != found[:-1])) + 1


class Unique(SortedArray):
    """``np.unique``."""

    name, reach = "np.unique", INTERPRETED

    def count(self, keys: Any) -> float:
        return len(np.unique(keys))


class PandasUnique(Entry):
    """pandas: ``nunique``, a hash table in C."""

    name, package, role, form, error = "pandas nunique", "pandas", "exact", "pandas", 0.0
    kinds: frozenset[Kind] = frozenset({"int"})

    def load(self) -> None:
        import pandas as pd

        self.frame = pd.DataFrame

    def count(self, keys: Any) -> float:
        return int(keys.nunique())

    def grouped(self, stream: Stream, groups: Any) -> Any:
        return self.frame({"k": stream.form("pandas"), "g": groups})

    def count_groups(self, frame: Any) -> Any:
        found = frame.groupby("g")["k"].nunique()
        return found.index, found


KEPT = (DataSketchesHll, DataSketchesCpc, DataSketchesTheta, HllC, Datasketch, Hyperloglog)
ENGINES = (Polars, PolarsStreaming, PolarsThreads, DuckDb, DuckDbThreads)
EXACT = (PythonSet, SortedArray, Unique, PolarsExact, PandasUnique, DuckDbExact)
GROUPED = (DataSketchesHll, Polars, PolarsStreaming, DuckDb, PolarsExact, PandasUnique, DuckDbExact)
