"""Row groups pruned by the file's own Bloom filters: whoever wrote it, whatever the type or the damage."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import VECTORS, rng, scaled
from pyarrow.parquet import encryption as pe

from algos.errors import CorruptDataError
from algos.filters import parquet_may_contain

if TYPE_CHECKING:
    from pathlib import Path

GROUP, GROUPS = 100, 4
N = GROUP * GROUPS


def write(path: Path, **columns: pa.Array) -> str:
    """Write a file of four row groups, every column with filters that hardly ever err."""
    table = pa.table(columns)
    options = {"ndv": GROUP, "fpp": 1e-6}
    filtered = {name: options for name, column in columns.items() if not pa.types.is_boolean(column.type)}
    pq.write_table(table, path, row_group_size=GROUP, bloom_filter_options=filtered)
    return str(path)


def spread(kind: pa.DataType) -> pa.Array:
    """Make distinct values of a type, in rising order."""
    numbers = np.arange(N)
    made: dict[pa.DataType, Any] = {
        pa.string(): [f"user:{i:05d}" for i in numbers],
        pa.large_string(): [f"user:{i:05d}" for i in numbers],
        pa.binary(): [f"b{i:05d}".encode() for i in numbers],
        pa.binary(4): [int(i).to_bytes(4, "big") for i in numbers],
        pa.date32(): [dt.date(2020, 1, 1) + dt.timedelta(int(i)) for i in numbers],
        pa.timestamp("us"): [dt.datetime(2020, 1, 1) + dt.timedelta(hours=int(i)) for i in numbers],  # noqa: DTZ001
        pa.timestamp("ms", "UTC"): [
            dt.datetime(2020, 1, 1, int(i) % 24, tzinfo=dt.UTC) + dt.timedelta(int(i)) for i in numbers
        ],
        pa.time64("us"): [dt.time(int(i) // 60, int(i) % 60) for i in numbers],
        pa.decimal128(7, 2): [Decimal(int(i) - 200) / 100 for i in numbers],
        pa.decimal128(15, 2): [Decimal(int(i) - 200) / 100 for i in numbers],
        pa.decimal128(30, 2): [Decimal(int(i) - 200) / 100 for i in numbers],
    }
    if kind in made:
        return pa.array(made[kind], kind)
    return pa.array(numbers - 50 if not str(kind).startswith("u") else numbers).cast(kind)


KINDS = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.binary(), pa.binary(4), pa.date32()),
    *(pa.timestamp("us"), pa.timestamp("ms", "UTC"), pa.time64("us")),
    *(pa.decimal128(7, 2), pa.decimal128(15, 2), pa.decimal128(30, 2)),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_value_is_in_its_row_group_and_no_other(tmp_path: Path, kind: pa.DataType) -> None:
    """One value, a list, a NumPy or an Arrow array of any type: the mask is the row groups that hold it."""
    column = (
        spread(kind)
        if not str(kind).endswith("int8")
        else pa.array(np.arange(N) // 4 - 50 * (kind == pa.int8())).cast(kind)
    )
    path = write(tmp_path / "f.parquet", k=column, other=pa.array(range(N)))
    for at in (0, 99, 100, 250, 399):
        value = column[at]
        want = [value in set(column[g * GROUP : (g + 1) * GROUP]) for g in range(GROUPS)]
        assert parquet_may_contain(path, "k", pa.array([value.as_py()], kind)).tolist() == want
        assert parquet_may_contain(path, "k", value.as_py()).tolist() == want
    several = column.take(pa.array([5, 205]))
    want = [any(v in set(column[g * GROUP : (g + 1) * GROUP]) for v in several) for g in range(GROUPS)]
    assert parquet_may_contain(path, "k", several).tolist() == want
    assert parquet_may_contain(path, "k", several.to_pylist()).tolist() == want


def test_values_are_cast_to_the_column(tmp_path: Path) -> None:
    """An int64 asked of an int32 column, or text of digits, is cast; what cannot be held is an error."""
    path = write(
        tmp_path / "f.parquet", k=pa.array(range(N), pa.int32()), t=pa.array([str(i) for i in range(N)])
    )
    assert parquet_may_contain(path, "k", np.array([150], np.int64)).tolist() == [False, True, False, False]
    assert parquet_may_contain(path, "k", 150.0).tolist() == [False, True, False, False]
    assert parquet_may_contain(path, "k", "150").tolist() == [False, True, False, False]
    assert parquet_may_contain(path, "t", 150).tolist() == [False, True, False, False]
    for impossible in (2**40, "150x", 1.5):
        with pytest.raises(ValueError, match=r".+"):
            parquet_may_contain(path, "k", impossible)


def test_nulls_and_nothing_are_in_no_row_group(tmp_path: Path) -> None:
    path = write(tmp_path / "f.parquet", k=pa.array([None, *range(N - 1)]))
    assert not parquet_may_contain(path, "k", None).any()
    assert not parquet_may_contain(path, "k", []).any()
    assert parquet_may_contain(path, "k", [None, 7]).tolist() == [True, False, False, False]


def test_dictionary_and_nested_columns(tmp_path: Path) -> None:
    """A dictionary column is asked by its values, a nested one by the dotted path to its leaf."""
    words = pa.array([f"w{i}" for i in range(N)])
    nested = pa.array([{"a": i, "b": f"x{i}"} for i in range(N)])
    table = pa.table({"d": words.dictionary_encode(), "s": nested})
    options = {name: {"ndv": GROUP, "fpp": 1e-6} for name in ("d", "s.a", "s.b")}
    path = tmp_path / "f.parquet"
    pq.write_table(table, path, row_group_size=GROUP, bloom_filter_options=options)
    assert parquet_may_contain(path, "d", "w250").tolist() == [False, False, True, False]
    assert parquet_may_contain(path, "s.a", 250).tolist() == [False, False, True, False]
    assert parquet_may_contain(path, "s.b", "x250").tolist() == [False, False, True, False]


def test_a_row_group_without_a_filter_may_hold_anything(tmp_path: Path) -> None:
    """DuckDB writes a filter only where a dictionary was worth it: the others stay in the mask."""
    path = tmp_path / "f.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT CASE WHEN i < 20480 THEN i % 100 ELSE i END AS k FROM range(40960) t(i)) "
            f"TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 20480)"
        )
        probed = probe(connection, path, "k", 5000)
    found = parquet_may_contain(path, "k", 5000).tolist()
    assert found == probed
    assert found[-1]


def probe(connection: Any, path: Path, column: str, value: Any) -> list[bool]:
    """Ask DuckDB's own reader, which says of each row group whether its filter excludes the value."""
    rows = connection.execute(
        f"SELECT row_group_id, bloom_filter_excludes FROM parquet_bloom_probe('{path}', '{column}', ?)",
        [value],
    ).fetchall()
    return [not excluded for _, excluded in sorted(rows)]


@pytest.mark.parametrize("kind", ["BIGINT", "INTEGER", "VARCHAR", "DOUBLE", "FLOAT"])
def test_files_of_duckdb_and_its_probe(tmp_path: Path, kind: str) -> None:
    """Over a file that DuckDB wrote, every answer is that of its own probe."""
    path = tmp_path / "f.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT CAST((i // 2048) * 1000 + i % 50 AS {kind}) AS k FROM range(8192) t(i)) "
            f"TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048, BLOOM_FILTER_FALSE_POSITIVE_RATIO 0.01)"
        )
        for number in rng(5).integers(0, 5000, scaled(60, 10)).tolist():
            value = {"VARCHAR": str, "DOUBLE": float, "FLOAT": float}.get(kind, int)(number)
            assert parquet_may_contain(path, "k", value).tolist() == probe(connection, path, "k", value)


@pytest.mark.parametrize("name", ["stats", "with_length"])
def test_files_of_parquet_testing(name: str) -> None:
    """The format's own test files: what is in them is found, what is not is not."""
    path = VECTORS / f"data_index_bloom_encoding_{name}.parquet"
    there = pq.read_table(path).column("String").to_pylist()
    for value in there:
        assert parquet_may_contain(path, "String", value).any()
    assert not any(parquet_may_contain(path, "String", f"absent {i}").any() for i in range(5))


# ---------------------------------------------------------------------------------------------------
# What cannot be answered


def test_a_file_without_filters_says_so(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"k": [1, 2]}), path)
    with pytest.raises(ValueError, match=r"no Bloom filter in any of 1 row groups"):
        parquet_may_contain(path, "k", 1)


def test_an_unknown_column_names_those_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "f.parquet", k=pa.array(range(N)), other=pa.array(range(N)))
    with pytest.raises(ValueError, match=r"no column 'x': choose of k, other"):
        parquet_may_contain(path, "x", 1)
    with pytest.raises(FileNotFoundError):
        parquet_may_contain(tmp_path / "none.parquet", "k", 1)


def test_a_column_of_booleans_has_no_filter(tmp_path: Path) -> None:
    path = write(tmp_path / "f.parquet", k=pa.array(range(N)), flag=pa.array([True] * N))
    with pytest.raises(ValueError, match="flag"):
        parquet_may_contain(path, "flag", True)


class Keys(pe.KmsClient):
    """Wraps nothing: keys in the open, for the test alone."""

    def __init__(self, _config: Any) -> None:
        super().__init__()

    def wrap_key(self, key: bytes, _name: str) -> bytes:
        return key.hex()

    def unwrap_key(self, key: bytes, _name: str) -> bytes:
        return bytes.fromhex(key.decode() if isinstance(key, bytes) else key)


@pytest.mark.parametrize("plaintext_footer", [True, False])
def test_an_encrypted_file_is_refused(tmp_path: Path, plaintext_footer: bool) -> None:
    """Whether the footer or a column is encrypted, the error says to decrypt first."""
    factory = pe.CryptoFactory(Keys)
    config = pe.EncryptionConfiguration(
        footer_key="f", column_keys={"c": ["k"]}, plaintext_footer=plaintext_footer
    )
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
    path = tmp_path / "f.parquet"
    with pq.ParquetWriter(path, pa.schema([("k", pa.int64())]), encryption_properties=properties) as writer:
        writer.write_table(pa.table({"k": [1, 2, 3]}))
    with pytest.raises(ValueError, match="encrypted"):
        parquet_may_contain(path, "k", 1)


def test_any_truncation_is_an_error_and_no_crash(tmp_path: Path) -> None:
    """A file cut anywhere, or with bytes of its footer changed, is refused or answered, never misread."""
    whole = tmp_path / "f.parquet"
    write(whole, k=pa.array(range(N)))
    data, cut = whole.read_bytes(), tmp_path / "cut.parquet"
    for size in (
        0,
        3,
        4,
        7,
        8,
        11,
        12,
        len(data) // 2,
        len(data) - 9,
        len(data) - 8,
        len(data) - 4,
        len(data) - 1,
    ):
        cut.write_bytes(data[:size])
        with pytest.raises(CorruptDataError):
            parquet_may_contain(cut, "k", 1)
    for trial in range(scaled(300, 30)):
        forged = bytearray(data)
        at = len(data) - 1 - int(rng(trial).integers(0, 400))
        forged[at] ^= 1 << (trial % 8)
        cut.write_bytes(bytes(forged))
        try:
            answer = parquet_may_contain(cut, "k", 1)
        except (ValueError, OSError):
            continue
        assert answer.dtype == np.bool_
