"""Sketches over a real cluster of two processes: what it counts is what one machine counts."""

from __future__ import annotations

import re
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster
from helpers import ROOT, SMALL, rng, scaled

from algos.cardinality import (
    ExaLogLog,
    HyperLogLog,
    HyperLogLogPlusPlus,
    LinearCounter,
    RedisHyperLogLog,
    ThetaSketch,
    UltraLogLog,
)
from algos.frequency import (
    BlockedCountMinSketch,
    ConservativeCountMinSketch,
    CountMinSketch,
    CountSketch,
    MisraGries,
    SpaceSaving,
)
from algos.integrations.dask import sketch
from algos.similarity import MinHash, OnePermutationMinHash, SimHash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WORKERS, MEMORY = 2, 640 << 20
FILES, ROWS = scaled(20, 4), scaled(4_500_000, 200)
"""The files hold 8 bytes a row that do not compress: more than a worker may have."""

EXACT: dict[str, Callable[[], Any]] = {
    "HyperLogLog": HyperLogLog,
    "HyperLogLog-12": lambda: HyperLogLog(12, seed=7),
    "HyperLogLogPlusPlus": HyperLogLogPlusPlus,
    "UltraLogLog": UltraLogLog,
    "ExaLogLog": ExaLogLog,
    "LinearCounter": lambda: LinearCounter(1 << 16),
    "RedisHyperLogLog": RedisHyperLogLog,
    "CountMinSketch": lambda: CountMinSketch(1 << 12, 4),
    "BlockedCountMinSketch": lambda: BlockedCountMinSketch(1 << 12),
    "CountSketch": lambda: CountSketch(1 << 12, 5),
    "MinHash": MinHash,
    "OnePermutationMinHash": OnePermutationMinHash,
    "SimHash": SimHash,
}


@contextmanager
def cluster(memory: int) -> Iterator[Client]:
    """Start workers, which may take so many bytes; 0 for any."""
    with (
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, memory_limit=memory, dashboard_address=":0"
        ) as local,
        Client(local) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with cluster(0) as client:
        yield client


def counted(client: Client, lazy: Any) -> Any:
    """Have a sketch made, or fail: a worker that has no memory left waits for ever."""
    return client.compute(lazy).result(timeout=120)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Return rows of several kinds, nulls among them, some of whose keys are in several partitions."""
    random, n = rng(5), scaled(60_000, 600)
    keys = random.zipf(1.3, n) % 10_000
    text = pd.Series([f"user {key}" for key in keys], dtype="str").where(random.random(n) > 0.1)
    return pd.DataFrame({"key": keys, "text": text, "group": keys % 5, "bytes": random.integers(1, 1500, n)})


@pytest.fixture(scope="module")
def frame(table: pd.DataFrame) -> Any:
    return dd.from_pandas(table, npartitions=37)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("column", ["key", "text"])
def test_cluster_equals_one_machine(
    client: Client, frame: Any, table: pd.DataFrame, name: str, column: str
) -> None:
    """Bit for bit, for numbers and for text with nulls, whatever was where."""
    whole = EXACT[name]()
    whole.add_many(table[column])
    assert counted(client, sketch(frame, column, EXACT[name])) == whole


@pytest.mark.parametrize("column", ["key", "text"])
def test_theta_equals_one_machine_when_trimmed(
    client: Client, frame: Any, table: pd.DataFrame, column: str
) -> None:
    """Which hashes stay beyond the nominal ones depends on where the keys were; those do not."""
    factory = partial(ThetaSketch, 8)
    whole = factory()
    whole.add_many(table[column])
    found = counted(client, sketch(frame, column, factory))
    for made in (whole, found):
        made.trim()
    assert found == whole


@pytest.mark.parametrize(
    "factory",
    [partial(MisraGries, 200), partial(SpaceSaving, 200), partial(ConservativeCountMinSketch, 999, 4)],
)
def test_others_keep_their_bounds(client: Client, frame: Any, table: pd.DataFrame, factory: Any) -> None:
    """Of all keys, weighted by a further column: never below, and above by no more than is said."""
    found = counted(client, sketch(frame, "text", factory, weights="bytes"))
    there = table.dropna()
    true = there.groupby("text")["bytes"].sum()
    assert found.total == true.sum()
    names, counts = true.index.tolist(), true.to_numpy()
    if isinstance(found, ConservativeCountMinSketch):
        assert (found.estimate_many(names) >= counts).all()
        return
    low, high = found.bounds_many(names)
    kept = found.estimate_many(names) > 0
    assert (low <= counts).all()
    assert (counts[kept] <= high[kept]).all()
    assert (counts[~kept] <= found.error_bound).all()
    assert found.error_bound * 200 <= 2 * found.total


def test_more_than_a_worker_can_hold(tmp_path: Path) -> None:
    """A Parquet data set larger than a worker's memory goes through it, file by file."""
    whole, seen = HyperLogLog(), 0
    for i in range(FILES):
        keys = rng(6, i).integers(0, 2**63, ROWS)
        path = tmp_path / f"part.{i:03}.parquet"
        pq.write_table(
            pa.table({"key": keys, "other": np.zeros(ROWS, np.int8)}), path, compression="none",
            use_dictionary=["other"],
        )  # fmt: skip
        whole.add_many(keys)
        seen += path.stat().st_size
    assert SMALL or seen > MEMORY
    with cluster(MEMORY) as client:
        found = counted(client, sketch(dd.read_parquet(tmp_path), "key", HyperLogLog))
    assert found == whole
    assert found.estimate() == pytest.approx(FILES * ROWS, rel=5 * found.relative_error)


def test_further_columns_go_by_name(client: Client, frame: Any, table: pd.DataFrame) -> None:
    whole = HyperLogLog(10)
    whole.add_many(table["text"], groups=table["group"].to_numpy())
    assert counted(client, sketch(frame, "text", lambda: HyperLogLog(10), groups="group")) == whole


@pytest.mark.parametrize("parts", [1, 2, 16, 17, 300])
def test_any_number_of_partitions(parts: int) -> None:
    """The tree has as many levels as it needs; Arrays and Bags have no columns."""
    n = max(parts, 600)
    whole = HyperLogLog()
    whole.add_many(np.arange(n))
    array = da.arange(n, chunks=-(-n // parts))
    assert sketch(array, None, HyperLogLog).compute(scheduler="sync") == whole
    series = dd.from_pandas(pd.Series(np.arange(n)), npartitions=parts)
    assert sketch(series, None, HyperLogLog).compute(scheduler="sync") == whole
    texts = [f"{i}" for i in range(n)]
    bag = db.from_sequence(texts, npartitions=parts)
    whole = HyperLogLog()
    whole.add_many(texts)
    assert sketch(bag, None, HyperLogLog).compute(scheduler="sync") == whole


def test_what_cannot_be_sketched(frame: Any) -> None:
    with pytest.raises(TypeError, match="object cannot be merged"):
        sketch(frame, "key", object)
    with pytest.raises(ValueError, match="no column 'nothing'"):
        sketch(frame, "nothing", HyperLogLog)
    with pytest.raises(ValueError, match="no column 'nothing'"):
        sketch(frame, "key", HyperLogLog, groups="nothing")
    with pytest.raises(ValueError, match="no column None"):
        sketch(frame, None, HyperLogLog)
    with pytest.raises(ValueError, match="has no columns"):
        sketch(frame["key"], "key", HyperLogLog)
    with pytest.raises(ValueError, match="cannot merge"):
        sketch(frame, "key", lambda: HyperLogLog(4, martingale=True)).compute(scheduler="sync")


def test_batches_of_duckdb() -> None:
    """Whoever has batches in Arrow needs no more than ``add_many`` and ``merge``."""
    whole, parts = HyperLogLog(), list[HyperLogLog]()
    n = scaled(3_000_000, 3_000)
    whole.add_many(np.arange(n) % 1_000)
    for batch in pa.RecordBatchReader.from_stream(duckdb.sql(f"select range % 1000 as key from range({n})")):
        part = HyperLogLog()
        part.add_many(batch["key"])
        parts.append(part)
    assert SMALL or len(parts) > 1
    first, *rest = parts
    for part in rest:
        first.merge(part)
    assert first == whole


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # Dask's own
def test_the_documented_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of docs/sketches-in-a-cluster.md count what is there."""
    users = [f"user {i}" for i in range(3000)]
    (tmp_path / "visits").mkdir()
    for i in range(4):
        pq.write_table(
            pa.table({"user": users[500 * i : 500 * i + 1500]}), tmp_path / "visits" / f"{i}.parquet"
        )
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "sketches-in-a-cluster.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(code, names)
    whole = HyperLogLog()
    whole.add_many(users)
    assert names["users"] == whole
    rows = []
    for i in range(4):
        batches = pq.ParquetFile(tmp_path / "visits" / f"{i}.parquet").iter_batches(400)
        rows += [batch["sketch"][0].as_py() for batch in names["count"](batches)]
    assert names["total"](rows) == whole
