"""One key policy, whichever container the keys come in: NumPy, Arrow, pandas, polars, lists or none."""

from __future__ import annotations

import enum
import math
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import oracles
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from helpers import rng
from hypothesis import given
from hypothesis import strategies as st

from algos.filters import BloomFilter
from algos.hashing import hash64
from algos.hashing.keys import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable

NAN_WITH_PAYLOAD = np.array([0x7FF8DEADBEEF0001], np.uint64).view(np.float64)[0]
SIGNALLING_NAN = np.array([0x7FF0000000000001, 0xFFF0000000000001], np.uint64).view(np.float64)

INTS = [0, 1, -1, 7, 2**31, -(2**31), 2**63 - 1, -(2**63)]
UINTS = [0, 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]
TEXT = ["", "a", "abc", "hello world, this is long", "a\x00b", "\x00", "ß", "漢字", "🙂", "x" * 300]
BYTES = [b"", b"a", b"\x00", b"a\x00b", b"\xff\xfe", b"tail\x00", b"y" * 300]
FLOATS = [0.0, -0.0, 1.0, -1.5, 5e-324, 1e308, math.inf, -math.inf, math.nan]
HALVES = [0.0, -0.0, 1.0, 0.5, -2.0, 65504.0, math.inf, math.nan]


def padded(array: pa.Array) -> pa.Array:
    """Return the same array as a slice out of the middle of a longer one."""
    lead = pa.concat_arrays([array, array, array])
    return lead.slice(len(array), len(array))


def with_nulls(keys: list[Any]) -> list[Any]:
    """Put a null at the front, between any two and at the end."""
    return [None, *(x for key in keys for x in (key, None))]


def strided(array: np.ndarray) -> np.ndarray:
    """Return equal values that are not next to each other in memory."""
    spread = np.zeros(3 * len(array), array.dtype)
    spread[1::3] = array
    return spread[1::3]


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a copy that may not be written to."""
    array = array.copy()
    array.flags.writeable = False
    return array


def swapped(array: np.ndarray) -> np.ndarray:
    """Return equal values of the other byte order."""
    return array.astype(array.dtype.newbyteorder("S"))


ZOO: dict[str, tuple[Callable[[], Any], list[Any]]] = {
    "list-int": (lambda: INTS, INTS),
    "list-uint": (lambda: UINTS, UINTS),
    "list-both-signs-and-above-2^63": (lambda: [-1, 2**63, 5], [-1, 2**63, 5]),
    "list-str": (lambda: TEXT, TEXT),
    "list-bytes": (lambda: BYTES, BYTES),
    "list-float": (lambda: FLOATS, FLOATS),
    "list-int-nulls": (lambda: with_nulls(INTS), with_nulls(INTS)),
    "list-uint-nulls": (lambda: with_nulls(UINTS), with_nulls(UINTS)),
    "list-str-nulls": (lambda: with_nulls(TEXT), with_nulls(TEXT)),
    "list-bytes-nulls": (lambda: with_nulls(BYTES), with_nulls(BYTES)),
    "list-float-nulls": (lambda: with_nulls(FLOATS), with_nulls(FLOATS)),
    "list-only-nulls": (lambda: [None, None], [None, None]),
    "list-empty": (list, []),
    "tuple-int": (lambda: tuple(INTS), INTS),
    "tuple-str": (lambda: tuple(TEXT), TEXT),
    "tuple-empty": (tuple, []),
    "numpy-int64": (lambda: np.array(INTS), INTS),
    "numpy-uint64": (lambda: np.array(UINTS, np.uint64), UINTS),
    "numpy-int64-strided": (lambda: strided(np.array(INTS)), INTS),
    "numpy-int64-backwards": (lambda: np.array(INTS)[::-1], INTS[::-1]),
    "numpy-int64-read-only": (lambda: read_only(np.array(INTS)), INTS),
    "numpy-int64-big-endian": (lambda: swapped(np.array(INTS)), INTS),
    "numpy-uint32-big-endian": (lambda: swapped(np.array([1, 2**31], np.uint32)), [1, 2**31]),
    "numpy-int8-strided": (lambda: strided(np.array([-1, 2, -128], np.int8)), [-1, 2, -128]),
    "numpy-int16-unaligned": (lambda: np.frombuffer(b"\x00\x01\x00\xff\xff", np.int16, 2, 1), [1, -1]),
    "numpy-int-empty": (lambda: np.array([], np.int32), []),
    "numpy-float64": (lambda: np.array(FLOATS), FLOATS),
    "numpy-float64-read-only": (lambda: read_only(np.array(FLOATS)), FLOATS),
    "numpy-float64-big-endian": (lambda: swapped(np.array(FLOATS)), FLOATS),
    "numpy-float64-strided": (lambda: strided(np.array(FLOATS)), FLOATS),
    "numpy-float64-nan-payload": (lambda: np.array([NAN_WITH_PAYLOAD, -math.nan]), [math.nan] * 2),
    "numpy-float64-signalling-nan": (SIGNALLING_NAN.copy, [math.nan] * 2),
    "numpy-float32": (
        lambda: np.array([0.1, -0.0, math.nan], np.float32),
        [float(np.float32(0.1)), 0.0, math.nan],
    ),
    "numpy-float32-signalling-nan": (lambda: np.array([0x7F800001], np.uint32).view(np.float32), [math.nan]),
    "numpy-float16": (lambda: np.array(HALVES, np.float16), HALVES),
    "numpy-float16-big-endian": (lambda: swapped(np.array(HALVES, np.float16)), HALVES),
    "numpy-S": (lambda: np.array([b"", b"a", b"abc", b"a\x00b"]), [b"", b"a", b"abc", b"a\x00b"]),
    "numpy-S-full-width": (lambda: np.array([b"abc", b"xyz"]), [b"abc", b"xyz"]),
    "numpy-S-strided": (lambda: strided(np.array([b"abc", b"x", b"xyz"])), [b"abc", b"x", b"xyz"]),
    "numpy-S-full-width-strided": (lambda: strided(np.array([b"abc", b"xyz"])), [b"abc", b"xyz"]),
    "numpy-S-trailing-nul": (lambda: np.array([b"tail\x00", b"tail\x00\x00x"]), [b"tail", b"tail\x00\x00x"]),
    "numpy-S-empty": (lambda: np.array([], "S4"), []),
    "numpy-S-read-only": (lambda: read_only(np.array([b"abc", b"xyz"])), [b"abc", b"xyz"]),
    "numpy-U": (lambda: np.array(["", "a", "漢字🙂", "a\x00b"]), ["", "a", "漢字🙂", "a\x00b"]),
    "numpy-U-big-endian": (lambda: swapped(np.array(["a", "漢字"])), ["a", "漢字"]),
    "numpy-U-strided": (lambda: strided(np.array(["abc", "x"])), ["abc", "x"]),
    "numpy-U-trailing-nul": (lambda: np.array(["tail\x00"]), ["tail"]),
    "numpy-StringDType": (lambda: np.array(TEXT, np.dtypes.StringDType()), TEXT),
    "numpy-datetime64": (
        lambda: np.array(["1970-01-01", "2024-02-29", "1969-12-31"], "M8[D]"),
        [0, 19782, -1],
    ),
    "numpy-datetime64-ns": (lambda: np.array([0, 2**62, -5], "M8[ns]"), [0, 2**62, -5]),
    "numpy-datetime64-big-endian": (lambda: swapped(np.array([0, 7], "M8[s]")), [0, 7]),
    "numpy-timedelta64": (lambda: np.array([0, -3, 9], "m8[s]"), [0, -3, 9]),
    "arrow-int64": (lambda: pa.array(INTS), INTS),
    "arrow-uint64": (lambda: pa.array(UINTS, pa.uint64()), UINTS),
    "arrow-int64-nulls": (lambda: pa.array(with_nulls(INTS)), with_nulls(INTS)),
    "arrow-int64-sliced": (lambda: padded(pa.array(INTS)), INTS),
    "arrow-int64-sliced-nulls": (lambda: padded(pa.array(with_nulls(INTS))), with_nulls(INTS)),
    "arrow-int8": (lambda: pa.array([-1, 5, None], pa.int8()), [-1, 5, None]),
    "arrow-uint16-sliced": (lambda: padded(pa.array([1, 65535], pa.uint16())), [1, 65535]),
    "arrow-double": (lambda: pa.array(FLOATS), FLOATS),
    "arrow-double-sliced-nulls": (lambda: padded(pa.array(with_nulls(FLOATS))), with_nulls(FLOATS)),
    "arrow-float": (lambda: pa.array([0.5, -0.0, math.nan], pa.float32()), [0.5, 0.0, math.nan]),
    "arrow-halffloat": (lambda: pa.array(np.array(HALVES, np.float16)), HALVES),
    "arrow-date32": (lambda: pa.array([0, -1, None], pa.int32()).cast(pa.date32()), [0, -1, None]),
    "arrow-timestamp": (lambda: pa.array([0, 2**40], pa.timestamp("us", "UTC")), [0, 2**40]),
    "arrow-duration": (lambda: pa.array([0, -5], pa.duration("ms")), [0, -5]),
    "arrow-time32": (lambda: pa.array([0, 5], pa.time32("s")), [0, 5]),
    "arrow-string": (lambda: pa.array(TEXT), TEXT),
    "arrow-string-nulls": (lambda: pa.array(with_nulls(TEXT)), with_nulls(TEXT)),
    "arrow-string-sliced": (lambda: padded(pa.array(TEXT)), TEXT),
    "arrow-string-sliced-nulls": (lambda: padded(pa.array(with_nulls(TEXT))), with_nulls(TEXT)),
    "arrow-string-empty": (lambda: pa.array([], pa.string()), []),
    "arrow-string-empty-slice": (lambda: pa.array(TEXT).slice(3, 0), []),
    "arrow-string-only-nulls": (lambda: pa.array([None, None], pa.string()), [None, None]),
    "arrow-string-only-empty": (lambda: pa.array(["", ""]), ["", ""]),
    "arrow-large-string": (lambda: pa.array(TEXT, pa.large_string()), TEXT),
    "arrow-large-string-sliced": (
        lambda: padded(pa.array(with_nulls(TEXT), pa.large_string())),
        with_nulls(TEXT),
    ),
    "arrow-string-view": (lambda: pa.array(with_nulls(TEXT), pa.string_view()), with_nulls(TEXT)),
    "arrow-string-view-sliced": (lambda: pa.array(TEXT, pa.string_view()).slice(2, 5), TEXT[2:7]),
    "arrow-binary": (lambda: pa.array(with_nulls(BYTES), pa.binary()), with_nulls(BYTES)),
    "arrow-large-binary": (lambda: padded(pa.array(BYTES, pa.large_binary())), BYTES),
    "arrow-binary-view": (lambda: pa.array(with_nulls(BYTES), pa.binary_view()), with_nulls(BYTES)),
    "arrow-fixed": (
        lambda: pa.array([b"abcd", None, b"a\x00b\x00"], pa.binary(4)),
        [b"abcd", None, b"a\x00b\x00"],
    ),
    "arrow-fixed-sliced": (
        lambda: padded(pa.array([b"abcd", b"\x00" * 4], pa.binary(4))),
        [b"abcd", b"\x00" * 4],
    ),
    "arrow-fixed-empty": (lambda: pa.array([], pa.binary(4)), []),
    "arrow-fixed-0": (lambda: pa.array([b"", b""], pa.binary(0)), [b"", b""]),
    "arrow-dictionary": (lambda: pa.array(["a", "b", "a", None]).dictionary_encode(), ["a", "b", "a", None]),
    "arrow-dictionary-sliced": (
        lambda: padded(pa.array(["a", None, "b"]).dictionary_encode()),
        ["a", None, "b"],
    ),
    "arrow-dictionary-null-value": (
        lambda: pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0]), pa.array(["a", None])),
        ["a", None, None, "a"],
    ),
    "arrow-dictionary-sliced-values": (
        lambda: pa.DictionaryArray.from_arrays(
            pa.array([0, 1], pa.int8()), pa.array(["x", "a", "b"]).slice(1)
        ),
        ["a", "b"],
    ),
    "arrow-dictionary-int": (lambda: pa.array([5, 6, 5]).dictionary_encode(), [5, 6, 5]),
    "arrow-dictionary-only-nulls": (
        lambda: pa.array([None, None], pa.dictionary(pa.int8(), pa.string())),
        [None, None],
    ),
    "arrow-dictionary-empty": (lambda: pa.array([], pa.dictionary(pa.int8(), pa.string())), []),
    "arrow-null": (lambda: pa.nulls(3), [None] * 3),
    "arrow-chunked": (
        lambda: pa.chunked_array([TEXT[:2], [], [None], TEXT[2:]]),
        [*TEXT[:2], None, *TEXT[2:]],
    ),
    "arrow-chunked-int": (lambda: pa.chunked_array([INTS[:3], INTS[3:]]), INTS),
    "arrow-chunked-none": (lambda: pa.chunked_array([], pa.int64()), []),
    "arrow-chunked-dictionaries": (
        lambda: pa.chunked_array(
            [pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", "a"]).dictionary_encode()]
        ),
        ["a", "b", "c", "a"],
    ),
    "pandas-str": (lambda: pd.Series(with_nulls(TEXT), dtype="str"), with_nulls(TEXT)),
    "pandas-object": (lambda: pd.Series(with_nulls(TEXT), dtype=object), with_nulls(TEXT)),
    "pandas-object-int": (lambda: pd.Series([1, 2**63, None], dtype=object), [1, 2**63, None]),
    "pandas-object-bytes": (lambda: pd.Series(BYTES, dtype=object), BYTES),
    "pandas-object-nan-is-null": (lambda: pd.Series(["a", math.nan], dtype=object), ["a", None]),
    "pandas-int64": (lambda: pd.Series(INTS), INTS),
    "pandas-int32-reindexed": (lambda: pd.Series([1, 2, 3], [7, 5, 5], np.int32), [1, 2, 3]),
    "pandas-nullable-int": (lambda: pd.Series([1, None, -(2**62)], dtype="Int64"), [1, None, -(2**62)]),
    "pandas-nullable-uint": (lambda: pd.Series([2**64 - 1, None], dtype="UInt64"), [2**64 - 1, None]),
    "pandas-arrow-string": (lambda: pd.Series(["a", None], dtype=pd.ArrowDtype(pa.string())), ["a", None]),
    "pandas-arrow-int": (lambda: pd.Series([3, None], dtype=pd.ArrowDtype(pa.int32())), [3, None]),
    "pandas-category": (lambda: pd.Series(["a", "b", None, "a"], dtype="category"), ["a", "b", None, "a"]),
    "pandas-float": (lambda: pd.Series([0.5, -0.0]), [0.5, 0.0]),
    "pandas-index": (lambda: pd.Index([4, 5]), [4, 5]),
    "pandas-index-str": (lambda: pd.Index(["a", "b"]), ["a", "b"]),
    "pandas-datetime": (lambda: pd.Series(pd.to_datetime(["1970-01-02"])).astype("M8[s]"), [86400]),
    "pandas-datetime-zoned": (
        lambda: pd.Series(pd.to_datetime(["1970-01-02"], utc=True)).astype("datetime64[s, UTC]"),
        [86400],
    ),
    "pandas-sliced": (lambda: pd.Series(range(10))[2:8:2], [2, 4, 6]),
    "polars-str": (lambda: pl.Series(with_nulls(TEXT)), with_nulls(TEXT)),
    "polars-sliced": (lambda: pl.Series(TEXT).slice(2, 4), TEXT[2:6]),
    "polars-int": (lambda: pl.Series([1, None, -5]), [1, None, -5]),
    "polars-uint64": (lambda: pl.Series(UINTS, dtype=pl.UInt64), UINTS),
    "polars-float": (lambda: pl.Series([0.5, -0.0]), [0.5, 0.0]),
    "polars-binary": (lambda: pl.Series(BYTES), BYTES),
    "polars-categorical": (lambda: pl.Series(["a", None, "b"], dtype=pl.Categorical), ["a", None, "b"]),
    "polars-date": (lambda: pl.Series([0, 1], dtype=pl.Int32).cast(pl.Date), [0, 1]),
    "polars-empty": (lambda: pl.Series([], dtype=pl.String), []),
    "polars-two-chunks": (lambda: pl.Series(["a"]).append(pl.Series(["b"])), ["a", "b"]),
}


@pytest.mark.parametrize("name", ZOO)
def test_container_hashes_as_its_keys(name: str) -> None:
    """A container's hashes are those of the bytes that the policy assigns to its keys, in order."""
    make, keys = ZOO[name]
    container = make()
    if None in keys:
        with pytest.raises(ValueError, match="null"):
            hash64(container)
        return
    assert hash64(container).tolist() == [oracles.xxh3_64(oracles.key_bytes(k)) for k in keys]


@pytest.mark.parametrize("name", ZOO)
def test_container_in_a_filter(name: str) -> None:
    """Keys added from a container are found from it and one by one; its nulls are skipped and never found."""
    make, keys = ZOO[name]
    present = [k for k in keys if k is not None]
    by_batch, by_one = BloomFilter(1000), BloomFilter(1000)
    by_batch.add_many(make())
    for key in present:
        by_one.add(key)
    assert by_batch == by_one
    assert by_batch.contains_many(make()).tolist() == [k is not None for k in keys]
    assert [k in by_batch for k in keys] == [k is not None for k in keys]
    assert BloomFilter(1000).contains_many(make()).tolist() == [False] * len(keys)


@pytest.mark.parametrize("name", ZOO)
def test_container_is_left_as_it_was(name: str) -> None:
    """Hashing reads a container and changes nothing in it."""
    make, _ = ZOO[name]
    container, untouched = make(), make()
    BloomFilter(100).add_many(container)
    if isinstance(container, np.ndarray):
        assert container.tobytes() == untouched.tobytes()
    else:
        assert str(container) == str(untouched)


def test_scalar_types_agree_with_their_batches() -> None:
    """A NumPy scalar is the key that its Python value is."""
    for value in (np.int8(-5), np.uint64(2**64 - 1), np.float32(0.5), np.float16(-0.0), np.float64("nan")):
        assert hash64(value) == hash64(value.item())
    assert hash64(np.datetime64("1970-01-02", "s")) == hash64(86400)
    assert hash64(np.timedelta64(-3, "s")) == hash64(-3)
    assert hash64(np.str_("漢")) == hash64("漢")
    assert hash64(np.bytes_(b"abc")) == hash64(b"abc")


@pytest.mark.parametrize("value", [np.str_("a\x00"), np.bytes_(b"a\x00")])
def test_numpy_text_scalar_keeps_its_trailing_nul(value: Any) -> None:
    """A single NumPy string still has its trailing NULs, so they are part of the key."""
    assert hash64(value) == hash64(value.item())


def test_policy_in_so_many_words() -> None:
    """-1 is 2^64-1; -0.0 is 0.0; 1.0 is not 1; "a" is b"a"; no NaN differs from another."""
    assert hash64(-1) == hash64(2**64 - 1)
    assert hash64(-0.0) == hash64(0.0)
    assert hash64(1.0) != hash64(1)
    assert hash64("a") == hash64(b"a")
    assert hash64(float("nan")) == hash64(-float("nan")) == hash64(NAN_WITH_PAYLOAD)


def test_values_under_nulls_do_not_matter() -> None:
    """Whatever bytes lie under an Arrow null, wild offsets' worth of them included, it stays a null."""
    values = pa.py_buffer(np.array([1, 2, 3], np.int64).tobytes())
    masked = pa.Array.from_buffers(pa.int64(), 3, [pa.py_buffer(bytes([0b101])), values])
    f = BloomFilter(100)
    f.add_many(masked)
    assert f.contains_many([1, 2, 3]).tolist() == [True, False, True]


def test_offsets_that_lie_are_refused() -> None:
    """Arrow offsets outside their data, or falling, raise before a kernel reads anything."""
    data = pa.py_buffer(b"abcdef")
    lies = [(pa.string(), np.int32, o) for o in ([0, 5, 3], [0, -4, 3], [4, 2, 6], [0, 2**31 - 1, 6])]
    lies.append((pa.large_binary(), np.int64, [0, 2**40, 3]))
    for kind, dtype, offsets in lies:
        rows = pa.py_buffer(np.array(offsets, dtype).tobytes())
        array = pa.Array.from_buffers(kind, 2, [None, rows, data])  # Arrow itself looks at the ends only
        with pytest.raises(ValueError, match="offsets"):
            hash64(array)


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**64 - 1)), max_size=30))
def test_scalar_equals_batch_for_ints(keys: list[int | None]) -> None:
    """One by one or all at once, integers and nulls fare the same."""
    check_scalar_equals_batch(keys)


@given(st.lists(st.one_of(st.none(), st.text(max_size=40)), max_size=30))
def test_scalar_equals_batch_for_text(keys: list[str | None]) -> None:
    """One by one or all at once, text and nulls fare the same."""
    check_scalar_equals_batch(keys)


@given(st.lists(st.one_of(st.none(), st.binary(max_size=40)), max_size=30))
def test_scalar_equals_batch_for_bytes(keys: list[bytes | None]) -> None:
    """One by one or all at once, bytes and nulls fare the same."""
    check_scalar_equals_batch(keys)


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=30))
def test_scalar_equals_batch_for_floats(keys: list[float | None]) -> None:
    """One by one or all at once, floats and nulls fare the same."""
    check_scalar_equals_batch(keys)


def check_scalar_equals_batch(keys: list[Any]) -> None:
    """Compare adding, asking and hashing one by one with the batch, and with Arrow's form of it."""
    present = [k for k in keys if k is not None]
    assert hash64(present).tolist() == [hash64(k) for k in present]
    batch, single = BloomFilter(50), BloomFilter(50)
    batch.add_many(keys)
    for key in keys:
        single.add(key)
    assert batch == single
    queries = [*keys, *(other(k) for k in present)]
    assert batch.contains_many(queries).tolist() == [q in batch for q in queries]


def other(key: Any) -> Any:
    """Return another key of the same type."""
    if isinstance(key, int):
        return key ^ 1
    if isinstance(key, float):
        return 0.1
    return key + ("x" if isinstance(key, str) else b"x")


# ---------------------------------------------------------------------------------------------------
# What is no key


class Colour(enum.Enum):
    """Something that is no key."""

    RED = 1


BAD_BATCHES = {
    "str": ("abc", "str"),
    "bytes": (b"abc", "bytes"),
    "int": (5, "int"),
    "float": (0.5, "float"),
    "none": (None, "NoneType"),
    "dict": ({1: 2}, "dict"),
    "numpy-scalar": (np.int64(3), "int64"),
    "numpy-0d": (np.array(3), r"\(\)"),
    "numpy-2d": (np.zeros((2, 2), np.int64), r"\(2, 2\)"),
    "numpy-bool": (np.array([True]), "bool"),
    "numpy-object": (np.array([1, "a"], object), "object"),
    "numpy-complex": (np.array([1j]), "complex128"),
    "numpy-longdouble": (np.array([1], np.longdouble), "float64|longdouble"),
    "numpy-void": (np.zeros(2, "V4"), "V4"),
    "numpy-record": (np.zeros(2, [("a", "i4")]), "dtype"),
    "list-bool": ([True], "position 0"),
    "list-int-then-bool": ([1, 0, True], "position 2"),
    "list-null-then-bool": ([None, False], "position 1"),
    "list-mixed": ([1, 2, "a"], "position 2"),
    "list-mixed-after-null": ([None, 1, 2, "a"], "position 3"),
    "list-mixed-str-first-after-null": ([None, "a", "b", 1], "position 3"),
    "list-int-and-float": ([1, 2.0], "position 1"),
    "list-str-and-bytes": (["a", b"a"], "position 1"),
    "list-object": ([1, object()], "position 1"),
    "list-enum": ([Colour.RED], "position 0"),
    "list-list": ([[1]], "position 0"),
    "list-tuple": ([(1, 2)], "position 0"),
    "list-bytearray": ([bytearray(b"x")], "position 0"),
    "arrow-bool": (pa.array([True]), "bool"),
    "arrow-list": (pa.array([[1]]), "list"),
    "arrow-struct": (pa.array([{"a": 1}]), "struct"),
    "arrow-decimal": (pa.array([1], pa.decimal128(5)), "decimal"),
    "arrow-dictionary-bool": (pa.array([True]).dictionary_encode(), "bool"),
    "arrow-interval": (pa.nulls(1, pa.month_day_nano_interval()), "64 bits"),
    "arrow-dictionary-of-dictionary": (
        pa.DictionaryArray.from_arrays(pa.array([0]), pa.array(["a"]).dictionary_encode()),
        "dictionaries",
    ),
    "arrow-table": (pa.table({"a": [1]}), "struct|Table"),
    "pandas-bool": (pd.Series([True]), "bool"),
    "pandas-boolean": (pd.Series([True, None], dtype="boolean"), "bool"),
    "pandas-object-mixed": (pd.Series([1, "a"], dtype=object), "position 1"),
    "pandas-frame": (pd.DataFrame({"a": [1]}), "DataFrame"),
    "polars-bool": (pl.Series([True]), "bool"),
    "polars-list": (pl.Series([[1]]), "list"),
    "polars-frame": (pl.DataFrame({"a": [1]}), "struct|DataFrame"),
}


ITERABLES: dict[str, Callable[[list[str]], Any]] = {
    "generator": lambda keys: (key for key in keys),
    "iterator": iter,
    "set": set,
    "dict-keys": lambda keys: dict.fromkeys(keys).keys(),
    "dict-values": lambda keys: dict(enumerate(keys)).values(),
    "deque": deque,
}


@pytest.mark.parametrize("name", ITERABLES)
@pytest.mark.parametrize("n", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1])
def test_iterables_are_added_block_by_block(name: str, n: int) -> None:
    """What can only be iterated over is added like a list of its items; asking needs an order."""
    keys = [f"key {i}" for i in range(n)]
    whole, streamed = BloomFilter(10_000), BloomFilter(10_000)
    whole.add_many(keys)
    streamed.add_many(ITERABLES[name](keys))
    assert streamed == whole
    with pytest.raises(TypeError, match="cannot be a"):
        streamed.contains_many(ITERABLES[name](keys))


def test_error_within_an_iterable_says_where() -> None:
    """A bad key of a later block is counted from the start of its block, and the note says where that is."""
    keys = (i if i != CHUNK + 2 else True for i in range(CHUNK + 5))
    with pytest.raises(TypeError, match="position 2") as caught:
        BloomFilter(100).add_many(keys)
    assert f"from item {CHUNK} " in caught.value.__notes__[0]


def test_range_is_its_ints() -> None:
    whole, streamed = BloomFilter(100), BloomFilter(100)
    whole.add_many(np.arange(-5, 50, 3))
    streamed.add_many(range(-5, 50, 3))
    assert streamed == whole


@pytest.mark.parametrize("name", BAD_BATCHES)
def test_bad_batch(name: str) -> None:
    """What is no batch of keys is a TypeError that names the culprit, and nothing is added."""
    batch, named = BAD_BATCHES[name]
    f = BloomFilter(100)
    with pytest.raises(TypeError, match=named):
        f.add_many(batch)
    with pytest.raises(TypeError, match=named):
        f.contains_many(batch)
    assert f == BloomFilter(100)


@pytest.mark.parametrize(
    "key",
    [True, np.True_, object(), [1], (1,), {1}, 1j, bytearray(b"x"), Colour.RED, np.array([1]), pa.array([1])],
)
def test_bad_single_key(key: object) -> None:
    """What is no key is a TypeError in ``in`` and ``add`` alike."""
    f = BloomFilter(100)
    with pytest.raises(TypeError):
        _ = key in f
    with pytest.raises(TypeError):
        f.add(key)
    assert f == BloomFilter(100)


def test_none_has_no_hash() -> None:
    """A single null is a ValueError, as one in a batch is."""
    with pytest.raises(ValueError, match="null"):
        hash64(None)


def test_arrow_keys_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pyarrow is missing, keys that need it are a TypeError that says what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TypeError, match="pip install"):
        hash64(pl.Series(["a"]))


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_pandas_nat_is_a_null(zone: str | None) -> None:
    """A missing time is a null in pandas, with a time zone and without."""
    times = pd.Series(pd.to_datetime([None, "2020-01-01"])).dt.tz_localize(zone)
    f = BloomFilter(100)
    f.add_many(times)
    assert f.contains_many(times).tolist() == [False, True]


def test_pandas_nan_is_a_null() -> None:
    """NaN is what pandas calls missing, whatever holds the column; in a NumPy array it is a key."""
    nan = float("nan")
    for kind in ("float64", "Float64", object):
        series = pd.Series([nan, 1.5]).astype(kind)
        f = BloomFilter(100)
        f.add_many(series)
        assert f.contains_many(series).tolist() == [False, True]
        assert nan not in f
        assert 1.5 in f
    f.add_many(np.array([nan]))
    assert nan in f


def test_bad_hash64_input() -> None:
    """``hash64`` refuses what is no key as the structures do."""
    for keys in (True, [True], object(), {1}, np.array([True]), 1j, [1, "a"]):
        with pytest.raises(TypeError):
            hash64(keys)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**30, -(10**30)])
def test_int_out_of_range(value: int) -> None:
    """An int outside [-2^63, 2^64) is an OverflowError that names the value and where it stands."""
    with pytest.raises(OverflowError, match=rf"{value}.*position 2"):
        hash64([1, 2, value])
    with pytest.raises(OverflowError, match=str(value)):
        hash64(value)
    with pytest.raises(OverflowError, match=str(value)):
        _ = value in BloomFilter(10)


@pytest.mark.parametrize("batch", [["ok", "\ud800"], np.array(["ok", "\udfff"]), ("ok", "x\udc80")])
def test_lone_surrogate(batch: Any) -> None:
    """A lone surrogate has no UTF-8: a ValueError that names its position."""
    with pytest.raises(ValueError, match=r"position 1.*surrogate"):
        hash64(batch)
    with pytest.raises(ValueError, match="surrogate"):
        hash64("\ud800")


@pytest.mark.parametrize("value", [math.nan, 0.0])
def test_masked_array_is_not_taken_unmasked(value: float) -> None:
    """A masked value is a null or the array is refused; it is never silently a key."""
    masked = np.ma.masked_array([1.0, value], mask=[False, True])
    f = BloomFilter(100)
    try:
        f.add_many(masked)
    except TypeError:
        return
    assert value not in f


def test_numpy_scalars_in_a_list_fare_as_alone() -> None:
    """``x in f`` and ``f.contains_many([x])`` agree for NumPy scalars too."""
    for key in (
        np.int64(3),
        np.uint8(7),
        np.float32(0.5),
        np.str_("a"),
        np.bytes_(b"a"),
        np.datetime64(5, "s"),
    ):
        f = BloomFilter(100)
        f.add(key)
        assert f.contains_many([key]).tolist() == [key in f]


def test_long_batches_cross_every_chunk_boundary() -> None:
    """Batches around the chunk size give, at every position, the hash of the key that stands there."""
    for n in (8191, 8192, 8193, 16385):
        keys = rng(11, n).integers(0, 2**64, n, dtype=np.uint64)
        text = pa.array(keys).cast(pa.string())
        whole = hash64(keys)
        at = [0, 1, 127, 128, 8190, n // 2, n - 2, n - 1]
        assert [int(whole[i]) for i in at] == [oracles.xxh3_64(oracles.key_bytes(int(keys[i]))) for i in at]
        hashes = hash64(text)
        assert [int(hashes[i]) for i in at] == [oracles.xxh3_64(str(keys[i]).encode()) for i in at]
        chunked = pa.chunked_array([text[:5000], text[5000:5001], text[5001:]])
        assert (hash64(chunked) == hashes).all()
        assert (hash64(text.dictionary_encode()) == hashes).all()


def test_nulls_far_into_a_batch() -> None:
    """A null beyond the first chunk is seen, and its position is named."""
    keys = [*range(20_000), None]
    with pytest.raises(ValueError, match="20000"):
        hash64(keys)
    f = BloomFilter(30_000)
    f.add_many(pa.array(keys))
    found = f.contains_many(pa.array(keys))
    assert found[:-1].all()
    assert not found[-1]
