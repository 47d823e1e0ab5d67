"""Split-block filters inside Parquet files: written as Arrow writes them, read whoever wrote them."""

from __future__ import annotations

import contextlib
import io
import math
from typing import Any

import numpy as np
import oracles
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import SMALL, VECTORS, Compact, arrow_filter, bitset, parquet_filters, rng, scaled, vectors
from hypothesis import given
from hypothesis import strategies as st

from algos.errors import CorruptDataError
from algos.filters import SplitBlockBloomFilter

TYPES = ("int32", "int64", "float", "double", "byte_array")


def values(physical_type: str, n: int, seed: int = 1) -> pa.Array:
    """Return ``n`` distinct values of a column, those that no policy may touch among them."""
    stream = rng(seed, n)
    if physical_type == "int32":
        edges, drawn = [0, -1, 2**31 - 1, -(2**31)], stream.permutation(2 * n + 8)[:n] - n
        return pa.array([*edges, *drawn.tolist()][:n], pa.int32())
    if physical_type == "int64":
        drawn = stream.integers(-(2**63), 2**63 - 1, n)
        return pa.array([0, -1, 2**63 - 1, -(2**63), *drawn.tolist()][:n], pa.int64())
    if physical_type == "byte_array":
        return pa.array(["", "a", "a\x00b", "漢字🙂", *(f"user:{i * 7919}:é" for i in range(n))][:n])
    edges = [0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324 if physical_type == "double" else 1e-45]
    drawn = stream.standard_normal(n).astype(np.float32 if physical_type == "float" else np.float64)
    return pa.array([*edges, *drawn.tolist()][:n], pa.float32() if physical_type == "float" else pa.float64())


def plain(value: Any, physical_type: str) -> bytes:
    """Encode one value as Parquet's PLAIN encoding does, a byte array without its length."""
    if physical_type == "byte_array":
        return value.encode() if isinstance(value, str) else value
    dtype = {"int32": "<i4", "int64": "<i8", "float": "<f4", "double": "<f8"}[physical_type]
    return np.array([value], dtype).tobytes()


def of_size(nbytes: int, physical_type: str) -> SplitBlockBloomFilter:
    """Make an empty filter of exactly so many bytes."""
    f = SplitBlockBloomFilter(nbytes // 4, bits_per_key=32, physical_type=physical_type)
    assert f.nbytes == nbytes
    return f


# ---------------------------------------------------------------------------------------------------
# The bits


@pytest.mark.parametrize("row", vectors("split_block")["rows"], ids=lambda r: f"{len(r['keys'])}-keys")
def test_golden_block(row: dict[str, Any]) -> None:
    """One block of a few integers is the published one."""
    f = of_size(32, "int64")
    f.add_many(row["keys"])
    assert bitset(f.to_parquet_bytes()).hex() == row["bitset_hex"]


@pytest.mark.parametrize("physical_type", TYPES)
@pytest.mark.parametrize("n", [1, 2, 7, 100, scaled(10_000, 300)])
def test_bytes_equal_arrow(physical_type: str, n: int) -> None:
    """Header and bits are, byte for byte, those that Arrow writes for the same column."""
    column = values(physical_type, n)
    (written,) = arrow_filter(column, n, 0.01)
    f = of_size(len(bitset(written)), physical_type)
    f.add_many(column)
    assert f.to_parquet_bytes() == written


@pytest.mark.parametrize("physical_type", TYPES)
def test_planned_size_equals_arrow(physical_type: str) -> None:
    """Planned for the same number and rate, the filter has the size that Arrow chooses, and its bits."""
    for n, fpp in ((1, 0.5), (1, 0.01), (100, 0.01), (3000, 0.05), (scaled(20_000, 3000), 0.001)):
        column = values(physical_type, n)
        (written,) = arrow_filter(column, n, fpp)
        f = SplitBlockBloomFilter(n, fpr=fpp, physical_type=physical_type)
        if f.nbytes == len(bitset(written)):  # Arrow folds a filter that came out emptier than planned
            f.add_many(column)
            assert f.to_parquet_bytes() == written
        else:
            assert f.nbytes > len(bitset(written))


FOLDED = {1: 32, 100: 128, 1000: 2048, **({} if SMALL else {100_000: 131072})}


@pytest.mark.parametrize("n", FOLDED)
def test_folded_filter_equals_one_built_at_its_size(n: int) -> None:
    """Arrow folds a filter planned for 10^6 values down to those it got; the bits are the same as ours."""
    column = pa.array(range(n), pa.int64())
    (written,) = arrow_filter(column, 1_000_000, 0.01)
    assert len(bitset(written)) == FOLDED[n]
    f = of_size(FOLDED[n], "int64")
    f.add_many(column)
    assert f.to_parquet_bytes() == written


@pytest.mark.parametrize("physical_type", TYPES)
@pytest.mark.parametrize("n", [1, 2, 7, 100, scaled(10_000, 300)])
@pytest.mark.parametrize("fpp", [0.5, 0.05, 0.01, 1e-4])
def test_built_and_folded_as_arrow_does(physical_type: str, n: int, fpp: float) -> None:
    """``build`` makes the very bytes that Arrow writes, planned for the column's length and folded."""
    column = values(physical_type, n)
    (written,) = arrow_filter(column, n, fpp)
    assert (
        SplitBlockBloomFilter.build(column, fpr=fpp, physical_type=physical_type).to_parquet_bytes()
        == written
    )


@pytest.mark.parametrize("fpp", [0.5, 0.05, 0.01])
def test_fold_equals_arrows(fpp: float) -> None:
    """Planned for 100 times the values that came, ``fold`` makes the very bytes that Arrow writes."""
    for n in (1, 10, 60, 100, 500, scaled(5000, 500)):
        column = values("int64", n, seed=n)
        (written,) = arrow_filter(column, 100 * n, fpp)
        f = SplitBlockBloomFilter(100 * n, fpr=fpp, physical_type="int64")
        f.add_many(column)
        f.fold(fpp)
        assert f.to_parquet_bytes() == written, n
        assert f.contains_many(column).all()
        f.fold(fpp)
        assert f.to_parquet_bytes() == written


def test_fold_to_the_last_block_and_not_at_all() -> None:
    """An empty filter folds to one block, one at its rate stays, an odd number of blocks is not split."""
    f = of_size(1024, "int64")
    f.fold(0.01)
    assert f.nbytes == 32
    full = of_size(64, "int64")
    full.add_many(list(range(100)))
    full.fold(0.01)
    assert full.nbytes == 64
    odd = SplitBlockBloomFilter.from_parquet_bytes(header(b"\xc0\x01") + bytes(96), "int64")
    odd.fold(0.5)
    assert odd.nbytes == 96
    with pytest.raises(ValueError, match="physical_type"):
        SplitBlockBloomFilter(10).fold(0.01)
    for wrong in (0, 1, 1.5, -1):
        with pytest.raises(ValueError, match="fpr"):
            full.fold(wrong)


LOGICAL = [
    (pa.array([1, -2, 127], pa.int8()), "int32"),
    (pa.array([1, -2, 2**15 - 1], pa.int16()), "int32"),
    (pa.array([1, 255], pa.uint8()), "int32"),
    (pa.array([1, 2**16 - 1], pa.uint16()), "int32"),
    (pa.array([1, 2**32 - 1], pa.uint32()), "int32"),
    (pa.array([1, 2**64 - 1], pa.uint64()), "int64"),
    (pa.array([1, -2], pa.int32()).cast(pa.date32()), "int32"),
    (pa.array([1, 2], pa.int32()).cast(pa.time32("ms")), "int32"),
    (pa.array([1, -2], pa.timestamp("us")), "int64"),
    (pa.array([1, -2], pa.duration("us")), "int64"),
    (pa.array([b"a", b"b\x00c"], pa.binary()), "byte_array"),
    (pa.array(["a", "bc"], pa.large_string()), "byte_array"),
    (pa.array(["a", "bc" * 20], pa.string_view()), "byte_array"),
    (pa.array([b"abcd", b"efgh"], pa.binary(4)), "byte_array"),
]


@pytest.mark.parametrize(("column", "physical_type"), LOGICAL, ids=[str(c.type) for c, _ in LOGICAL])
def test_logical_types_equal_arrow(column: pa.Array, physical_type: str) -> None:
    """Arrow's narrower, unsigned, temporal and other text types hash as the type they are stored in."""
    (written,) = arrow_filter(column, 100, 0.01)
    f = of_size(len(bitset(written)), physical_type)
    f.add_many(column)
    assert f.to_parquet_bytes() == written


def test_nulls_are_not_in_the_filter() -> None:
    """Like Arrow, adding skips nulls, in every container, and in a batch of nothing else."""
    column = pa.array([1, None, 3, None], pa.int64())
    (written,) = arrow_filter(column, 100, 0.01)
    f = of_size(len(bitset(written)), "int64")
    f.add_many(column)
    f.add(None)
    f.add_many([None, None])
    f.add_many(pa.nulls(3))
    assert f.to_parquet_bytes() == written
    assert f.contains_many(column).tolist() == [True, False, True, False]


@pytest.mark.parametrize("physical_type", TYPES)
def test_batches_without_any_value(physical_type: str) -> None:
    """Empty and all-null batches fit a column of any type, and answer False."""
    f = of_size(32, physical_type)
    for batch in (
        [],
        (),
        [None, None],
        pa.nulls(2),
        pd.Series([None], dtype=object),
        pa.array([], pa.null()),
    ):
        f.add_many(batch)
        assert not f.contains_many(batch).any()
    assert None not in f
    assert f == of_size(32, physical_type)


@pytest.mark.parametrize("physical_type", TYPES)
def test_row_groups(physical_type: str) -> None:
    """Each row group's filter holds its own rows, all of them, and answers as the naive filter does."""
    n = scaled(3000, 300)
    column = values(physical_type, n)
    written = arrow_filter(column, n, 0.05, row_group=n // 3)
    assert len(written) == 3
    for i, data in enumerate(written):
        f = SplitBlockBloomFilter.from_parquet_bytes(data, physical_type)
        rows = column[i * (n // 3) : (i + 1) * (n // 3)]
        assert f.contains_many(rows).all()
        hashes = [oracles.xxh64(plain(v, physical_type)) for v in rows.to_pylist()]
        assert oracles.split_block_bytes(hashes, f.nbytes // 32) == bitset(data)


# ---------------------------------------------------------------------------------------------------
# No house policy: the standard's bytes


def test_zeros_and_nans_differ_by_their_bits() -> None:
    """-0.0 is not 0.0 and a NaN is its bits, in columns of either float type."""
    for physical_type in ("float", "double"):
        f = of_size(1024, physical_type)
        f.add(0.0)
        assert 0.0 in f
        assert -0.0 not in f
        f.add(math.nan)
        assert f.contains_many([math.nan, -math.nan]).tolist() == [True, False]


def test_int32_and_int64_differ() -> None:
    """A value hashes over 4 bytes in an int32 column and over 8 in an int64 column."""
    narrow, wide = of_size(32, "int32"), of_size(32, "int64")
    narrow.add(5)
    wide.add(5)
    assert bitset(narrow.to_parquet_bytes()) != bitset(wide.to_parquet_bytes())
    assert narrow != wide


@pytest.mark.parametrize("physical_type", TYPES)
def test_containers_agree(physical_type: str) -> None:
    """A list, NumPy, pandas and polars say the same of a column as Arrow does, and so does ``in``."""
    column = values(physical_type, 60)
    listed = column.to_pylist()
    f = of_size(2048, physical_type)
    f.add_many(column)
    batches: list[Any] = [listed, tuple(listed), pl.Series(column)]
    batches += [column.slice(0), pa.chunked_array([column[:7], column[7:]]), column.dictionary_encode()]
    if physical_type == "byte_array":
        batches += [pd.Series(listed), pd.Series(listed, dtype=object)]
    else:
        batches += [column.to_numpy(), column.to_numpy()[::-1]]
        if physical_type in {"int32", "int64"}:  # in pandas NaN is no float but a null
            batches.append(pd.Series(column.to_numpy()))
    for batch in batches:
        other = of_size(2048, physical_type)
        other.add_many(batch)
        assert other == f, type(batch)
        assert f.contains_many(batch).all(), type(batch)
    one_by_one = of_size(2048, physical_type)
    for value in listed:
        one_by_one.add(value)
        assert value in f
    assert one_by_one == f


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=50))
def test_any_int32(keys: list[int]) -> None:
    """Any integers set the bits of a naive filter in an int32 column, scalar and batch alike."""
    check_naive(keys, "int32")


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50))
def test_any_int64(keys: list[int]) -> None:
    """Any integers set the bits of a naive filter in an int64 column, scalar and batch alike."""
    check_naive(keys, "int64")


@given(st.lists(st.floats(width=32), max_size=50))
def test_any_float(keys: list[float]) -> None:
    """Any float32 set the bits of a naive filter in a float column, scalar and batch alike."""
    check_naive(keys, "float")


@given(st.lists(st.floats(), max_size=50))
def test_any_double(keys: list[float]) -> None:
    """Any floats set the bits of a naive filter in a double column, scalar and batch alike."""
    check_naive(keys, "double")


@given(st.lists(st.binary(max_size=70), max_size=50))
def test_any_byte_array(keys: list[bytes]) -> None:
    """Any bytes set the bits of a naive filter in a byte array column, scalar and batch alike."""
    check_naive(keys, "byte_array")


def check_naive(keys: list[Any], physical_type: str) -> None:
    """Compare the bits of a batch and of single adds with the naive filter over the twin of XXH64."""
    batch, single = of_size(128, physical_type), of_size(128, physical_type)
    batch.add_many(keys)
    for key in keys:
        single.add(key)
    want = oracles.split_block_bytes([oracles.xxh64(plain(k, physical_type)) for k in keys], 4)
    assert bitset(batch.to_parquet_bytes()) == want
    assert single == batch
    assert batch.contains_many(keys).all()
    assert all(k in batch for k in keys)


WRONG_KEYS = [
    *(("int32", k, TypeError) for k in ("a", b"a", 1.0, True)),
    *(("int32", k, OverflowError) for k in (2**32, -(2**31) - 1, 2**63)),
    *(("int64", k, TypeError) for k in ("a", b"a", 1.0, True)),
    *(("float", k, TypeError) for k in ("a", 1, True)),
    *(("double", k, TypeError) for k in ("a", 1, True)),
    *(("byte_array", k, TypeError) for k in (1, 1.0, True)),
]


@pytest.mark.parametrize(("physical_type", "key", "error"), WRONG_KEYS)
def test_keys_of_another_type(physical_type: str, key: Any, error: type[Exception]) -> None:
    """A key that cannot stand in such a column is refused, alone and in a batch, and nothing is added."""
    f = of_size(32, physical_type)
    with pytest.raises(error):
        f.add(key)
    with pytest.raises(error):
        f.add_many([key])
    with pytest.raises(error):
        f.contains_many([key])
    assert f == of_size(32, physical_type)


def test_double_too_large_for_a_float_column() -> None:
    """A double beyond float32 cannot stand in a float column: refused or never found, and no warning."""
    f = of_size(32, "float")
    f.add(math.inf)
    with contextlib.suppress(OverflowError):
        assert 1e300 not in f


def test_null_slots_are_not_range_checked() -> None:
    """What lies under a null of a 64-bit array does not make an int32 column overflow."""
    raw = pa.py_buffer(np.array([1, 2**40], np.int64).tobytes())
    array = pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b"\x01"), raw])
    f = of_size(32, "int32")
    f.add_many(array)
    assert f.contains_many(array).tolist() == [True, False]


# ---------------------------------------------------------------------------------------------------
# The bytes


def test_reads_the_golden_file() -> None:
    """The filter of apache/parquet-testing holds its four words, and comes back out byte for byte."""
    data = (VECTORS / "bloom_filter.xxhash.bin").read_bytes()
    f = SplitBlockBloomFilter.from_parquet_bytes(data, "byte_array")
    words = ["hello", "parquet", "bloom", "filter"]
    assert f.contains_many(words).all()
    assert f.contains_many(pa.array(words)).all()
    assert not f.contains_many(["Hello", "parquet ", "", "blooms", "filte"]).any()
    assert f.to_parquet_bytes() == data
    assert f.nbytes == 1024


@pytest.mark.parametrize("file", ["stats", "with_length"])
def test_reads_the_filters_of_golden_files(file: str) -> None:
    """Files of other writers, with and without the filter's length in the metadata, hold their words."""
    data = (VECTORS / f"data_index_bloom_encoding_{file}.parquet").read_bytes()
    ((name, written),) = parquet_filters(data)[0].items()
    f = SplitBlockBloomFilter.from_parquet_bytes(written, "byte_array")
    words = pq.read_table(io.BytesIO(data))[name]
    assert len(words) == 14
    assert f.contains_many(words).all()
    assert not f.contains_many(["hello", "PARQUET", "bloom", "filter", "Hello "]).any()
    assert f.to_parquet_bytes() == written


def test_refuses_the_murmur3_form() -> None:
    """The abandoned Murmur3 form of the same filter is refused, not misread."""
    with pytest.raises(CorruptDataError):
        SplitBlockBloomFilter.from_parquet_bytes((VECTORS / "bloom_filter.bin").read_bytes(), "byte_array")


@pytest.mark.parametrize("physical_type", TYPES)
@pytest.mark.parametrize("nbytes", [32, 64, 128, 4096, 8192, 1 << 20])
def test_parquet_round_trip(physical_type: str, nbytes: int) -> None:
    """``from_parquet_bytes(to_parquet_bytes())`` has the same bits, at every width of the size."""
    f = of_size(nbytes, physical_type)
    column = values(physical_type, 50)
    f.add_many(column)
    data = f.to_parquet_bytes()
    back = SplitBlockBloomFilter.from_parquet_bytes(data, physical_type)
    assert back.to_parquet_bytes() == data
    assert back.contains_many(column).all()
    assert back.physical_type == physical_type
    reader = Compact(data)
    assert reader.struct() == {1: nbytes, 2: {1: {}}, 3: {1: {}}, 4: {1: {}}}
    assert len(data) - reader.at == nbytes
    back.add_many(column)
    assert back.to_parquet_bytes() == data


@pytest.mark.parametrize("physical_type", TYPES)
def test_own_round_trip(physical_type: str) -> None:
    """Our own bytes keep the physical type, and the filter goes on growing the standard's way."""
    f = SplitBlockBloomFilter.build(values(physical_type, 50), physical_type=physical_type)
    back = SplitBlockBloomFilter.from_bytes(f.to_bytes())
    assert back == f
    more = values(physical_type, 80, seed=2)
    f.add_many(more)
    back.add_many(more)
    assert back.to_parquet_bytes() == f.to_parquet_bytes()


def test_any_buffer_is_read() -> None:
    """bytes, bytearray, memoryview and an Arrow buffer are all read, and not held on to."""
    data = of_size(32, "int64").to_parquet_bytes()
    for form in (data, bytearray(data), memoryview(data), pa.py_buffer(data), np.frombuffer(data, np.uint8)):
        f = SplitBlockBloomFilter.from_parquet_bytes(form, "int64")
        f.add(1)
    assert of_size(32, "int64").to_parquet_bytes() == data


def test_every_truncation_is_refused() -> None:
    """Bytes cut off anywhere, or continued, are no Parquet filter."""
    data = of_size(64, "int64").to_parquet_bytes()
    for n in range(len(data)):
        with pytest.raises(CorruptDataError):
            SplitBlockBloomFilter.from_parquet_bytes(data[:n], "int64")
    with pytest.raises(CorruptDataError):
        SplitBlockBloomFilter.from_parquet_bytes(data + b"\x00", "int64")


def test_every_bit_flip_of_the_header_is_refused() -> None:
    """No bit of the header can turn unnoticed (the format has no checksum over the bits themselves)."""
    data = of_size(64, "int64").to_parquet_bytes()
    for bit in range(8 * (len(data) - 64)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptDataError):
            SplitBlockBloomFilter.from_parquet_bytes(flipped, "int64")


def header(size: bytes, algorithm: bytes = b"\x1c\x00\x00") -> bytes:
    """Return a header with a size, in its raw varint, and an algorithm of choice."""
    return b"\x15" + size + b"\x1c" + algorithm + 2 * b"\x1c\x1c\x00\x00" + b"\x00"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x15",
        b"\x15" + b"\xff" * 100,
        header(b"\x00"),
        header(b"\x01"),
        header(b"\x3f") + bytes(32),  # -32
        header(b"\x20") + bytes(16),  # half a block
        header(b"\xff\xff\xff\xff\x0f"),
        header(b"\xfe\xff\xff\xff\x0f"),
        header(b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
        header(b"\x40", b"\x2c\x00\x00") + bytes(32),  # the second member of the union
        header(b"\x40", b"\x00") + bytes(32),  # an empty union
        bytes(100),
        b"\xff" * 100,
        b"PAR1" + bytes(60),
    ],
)
def test_hostile_headers(data: bytes) -> None:
    """A header that is cut, huge, negative, uneven or of another algorithm is a ``CorruptDataError``."""
    with pytest.raises(CorruptDataError):
        SplitBlockBloomFilter.from_parquet_bytes(data, "int64")


@given(st.binary(max_size=80))
def test_arbitrary_bytes_never_crash(data: bytes) -> None:
    """Any bytes at all are refused, or are a filter."""
    for candidate in (data, header(b"\x40") + data, header(b"\x40") + data.ljust(32, b"\x55")[:32]):
        try:
            f = SplitBlockBloomFilter.from_parquet_bytes(candidate, "int64")
        except CorruptDataError:
            continue
        f.contains_many(np.arange(20))
        assert f.to_parquet_bytes() == candidate


@pytest.mark.parametrize("wrong", ["", "string", "INT64", "int16", 5, None])
def test_unknown_physical_type(wrong: Any) -> None:
    """A physical type that Parquet does not have is a ValueError that lists them; reading needs one."""
    data = of_size(32, "int64").to_parquet_bytes()
    with pytest.raises(ValueError, match="byte_array"):
        SplitBlockBloomFilter.from_parquet_bytes(data, wrong)
    if wrong is not None:
        with pytest.raises(ValueError, match="byte_array"):
            SplitBlockBloomFilter(10, physical_type=wrong)


def test_house_keys_have_no_parquet_form() -> None:
    """Without a physical type there is nothing a Parquet reader would understand."""
    with pytest.raises(ValueError, match="physical_type"):
        SplitBlockBloomFilter(10).to_parquet_bytes()


def test_seed_is_fixed() -> None:
    """The standard's seed is 0; another one is refused."""
    with pytest.raises(ValueError, match="seed"):
        SplitBlockBloomFilter(10, seed=1, physical_type="int64")


def test_merge_needs_the_same_physical_type() -> None:
    """Filters of unlike columns, or of house keys, do not merge; alike ones do, as if built at once."""
    f = of_size(256, "int64")
    for other in (of_size(256, "int32"), SplitBlockBloomFilter(64, bits_per_key=32)):
        with pytest.raises(ValueError, match="physical_type"):
            f.merge(other)
    two, both = of_size(256, "int64"), of_size(256, "int64")
    f.add_many([1, 2])
    two.add_many([3])
    both.add_many([1, 2, 3])
    f.merge(two)
    assert f == both


@pytest.mark.parametrize("nbytes", [96, 32 * 5, 32 * 1000])
def test_any_number_of_blocks_is_read(nbytes: int) -> None:
    """The format allows any number of blocks, not only powers of two: such a filter is read rightly."""
    keys = list(range(20))
    bits = oracles.split_block_bytes([oracles.xxh64(plain(k, "int64")) for k in keys], nbytes // 32)
    size = nbytes << 1
    varint = b""
    while size >= 128:
        varint += bytes([size & 127 | 128])
        size >>= 7
    f = SplitBlockBloomFilter.from_parquet_bytes(header(varint + bytes([size])) + bits, "int64")
    assert f.contains_many(keys).all()
    assert f.nbytes == nbytes
