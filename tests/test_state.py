"""The serialised form: it comes back equal, anywhere, and nothing else is ever believed."""

from __future__ import annotations

import copy
import os
import pickle
import struct
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from helpers import ROOT, SMALL, put_together, rng, take_apart
from hypothesis import given
from hypothesis import strategies as st

from algos import catalog
from algos.errors import CorruptDataError, HotpathError

FILTERS = {v.name: v.load() for v in catalog.variants("filters")}
GROWING = {name: cls for name, cls in FILTERS.items() if hasattr(cls, "add_many")}
KEYS = np.arange(1, 40, dtype=np.int64)
QUERIES = np.arange(*((-20, 60) if SMALL else (-300, 300)), dtype=np.int64)

every_filter = pytest.mark.parametrize("name", FILTERS)


def example(name: str) -> Any:
    """Build a small filter of a kind."""
    return FILTERS[name].build(KEYS, seed=7)


def use(f: Any) -> None:
    """Do everything with a filter that could read or write out of range."""
    f.contains_many(QUERIES)
    f.contains_hashes(rng(1).integers(0, 2**64, 300, dtype=np.uint64))
    assert (5 in f) in {True, False}
    assert 0 <= f.expected_fpr() <= 1
    _ = f.nbytes, f.bits_per_key, repr(f)
    if hasattr(f, "remove_many"):
        f.remove_many(QUERIES)
    if hasattr(f, "add_many"):
        try:
            f.add_many(QUERIES, return_new=True)
        except HotpathError:
            assert hasattr(f, "remove_many")  # only a structure of slots can be full
    assert type(f).from_bytes(f.to_bytes()) == f


def believe_or_refuse(cls: Any, data: bytes) -> None:
    """Hostile bytes raise ``CorruptDataError``, or make a filter that works."""
    try:
        f = cls.from_bytes(data)
    except CorruptDataError:
        return
    use(f)


@every_filter
def test_bytes_come_back_equal(name: str) -> None:
    """``from_bytes(to_bytes())`` is equal and gives the same answers, parameters and bytes."""
    f = example(name)
    back = FILTERS[name].from_bytes(f.to_bytes())
    assert back == f
    assert back.to_bytes() == f.to_bytes()
    assert (back.contains_many(QUERIES) == f.contains_many(QUERIES)).all()
    assert (back.seed, back.nbytes, back.bits_per_key, back.expected_fpr()) == (
        *(f.seed, f.nbytes, f.bits_per_key, f.expected_fpr()),
    )


@every_filter
def test_format_is_the_documented_one(name: str) -> None:
    """An independent reader of the documented layout understands the bytes, and can write them."""
    data = example(name).to_bytes()
    header, payload = take_apart(data)
    assert header["kind"] == name
    assert header["version"] == 1
    assert FILTERS[name].from_bytes(put_together(header, payload)) == example(name)


@every_filter
@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, np.uint8)])
def test_any_buffer_is_read(name: str, make: Any) -> None:
    """``from_bytes`` takes any buffer, and the filter does not hang on to it."""
    f = example(name)
    buffer = make(f.to_bytes())
    back = FILTERS[name].from_bytes(buffer)
    if isinstance(buffer, bytearray):
        buffer[:] = bytes(len(buffer))
    assert back == f
    use(back)


@every_filter
def test_growing_after_reading(name: str) -> None:
    """A filter that was read back grows as the original does."""
    f = example(name)
    back = FILTERS[name].from_bytes(f.to_bytes())
    if name in GROWING:
        more = KEYS[:5] + 1000
        f.add_many(more)
        back.add_many(more)
        assert back == f
        assert back.contains_many(more).all()


@every_filter
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(name: str, protocol: int) -> None:
    """Pickling goes through the bytes and comes back equal under every protocol."""
    f = example(name)
    assert pickle.loads(pickle.dumps(f, protocol)) == f


@every_filter
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies_are_independent(name: str, duplicate: Any) -> None:
    """A copy is equal, and what is added to the one is not in the other."""
    f = example(name)
    twin = duplicate(f)
    assert twin == f
    if name in GROWING:
        twin.add_many(KEYS[:5] + 5000)
        assert twin != f
        assert f == example(name)


@every_filter
def test_equality(name: str) -> None:
    """Equal keys and parameters make equal filters; another seed, set, kind or type does not."""
    cls = FILTERS[name]
    f = example(name)
    assert f == example(name)
    assert f != cls.build(KEYS, seed=8)
    assert f != cls.build(KEYS + 1000, seed=7)
    assert f != 5
    assert f != f.to_bytes()
    for other in FILTERS:
        if other != name:
            assert f != example(other)
    with pytest.raises(TypeError, match="unhashable"):
        hash(f)


@every_filter
def test_every_truncation_is_refused(name: str) -> None:
    """Bytes cut off anywhere, or continued, are no filter."""
    data = example(name).to_bytes()
    for n in range(len(data)):
        with pytest.raises(CorruptDataError):
            FILTERS[name].from_bytes(data[:n])
    for extra in (b"\x00", data):
        with pytest.raises(CorruptDataError):
            FILTERS[name].from_bytes(data + extra)


@every_filter
def test_every_single_bit_flip_is_refused(name: str) -> None:
    """No single bit of a state can turn without ``from_bytes`` noticing."""
    data = example(name).to_bytes()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptDataError):
            FILTERS[name].from_bytes(flipped)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("other", FILTERS)
def test_bytes_of_another_kind_are_refused(name: str, other: str) -> None:
    """Each class reads its own bytes only, and the message names the kind that was found."""
    if name != other:
        with pytest.raises(CorruptDataError, match=other):
            FILTERS[name].from_bytes(example(other).to_bytes())


@every_filter
@pytest.mark.parametrize("garbage", [b"", b"\x00", b"HOTPATH", b"HOTPATH\x01", b"\xff" * 100, bytes(1000)])
def test_garbage_is_refused(name: str, garbage: bytes) -> None:
    """Bytes that were never a filter are a ``CorruptDataError``, which is a ``ValueError``."""
    with pytest.raises(CorruptDataError):
        FILTERS[name].from_bytes(garbage)
    with pytest.raises(ValueError, match=r"."):
        FILTERS[name].from_bytes(garbage)


@every_filter
@pytest.mark.parametrize("wrong", [None, 5, "text", [1, 2]])
def test_what_is_no_buffer_is_a_type_error(name: str, wrong: object) -> None:
    """An object without bytes is a ``TypeError``."""
    with pytest.raises(TypeError):
        FILTERS[name].from_bytes(wrong)


@every_filter
def test_huge_declared_lengths_are_refused(name: str) -> None:
    """A header or payload that claims to be huge is refused before anything is allocated for it."""
    data = example(name).to_bytes()
    (length,) = struct.unpack_from("<I", data, 8)
    for claim in (2**31 - 1, 2**31, 2**32 - 1, 2**16 + 1):
        with pytest.raises(CorruptDataError):
            FILTERS[name].from_bytes(data[:8] + struct.pack("<I", claim) + data[12:])
    for claim in (2**63 - 1, 2**63, 2**64 - 1, 2**40):
        lie = data[: 12 + length] + struct.pack("<Q", claim) + data[12 + length + 8 :]
        with pytest.raises(CorruptDataError):
            FILTERS[name].from_bytes(lie)


HOSTILE = (
    *(0, 1, -1, 2, 3, 7, 63, 255, 256, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**62, 2**63),
    *(
        2**64 - 1,
        2**64,
        10**30,
        None,
        "x",
        "",
        1.5,
        1e308,
        float("nan"),
        float("inf"),
        True,
        False,
        [],
        [1],
        {},
    ),
)


@every_filter
def test_hostile_parameters_under_a_valid_checksum(name: str) -> None:
    """Whatever a parameter claims, the bytes are refused or make a filter that answers."""
    cls = FILTERS[name]
    header, payload = take_apart(example(name).to_bytes())
    for parameter in header["parameters"]:
        for value in HOSTILE:
            parameters = {**header["parameters"], parameter: value}
            believe_or_refuse(cls, put_together({**header, "parameters": parameters}, payload))
        parameters = {k: v for k, v in header["parameters"].items() if k != parameter}
        with pytest.raises(CorruptDataError):
            cls.from_bytes(put_together({**header, "parameters": parameters}, payload))


@every_filter
def test_hostile_headers_under_a_valid_checksum(name: str) -> None:
    """A header that is no JSON object of the known shape is refused."""
    header, payload = take_apart(example(name).to_bytes())
    wrong: list[Any] = [
        *(b"", b"{", b"\xff\xfe", b"null", b"[]", b"5", b'"x"', b"{}", b"[" * 60_000, b"9" * 60_000),
        *({**header, "version": v} for v in (0, 2, -1, "1", None, 2**70)),
        *({**header, "kind": k} for k in ("", None, 5, name.lower(), name + "\x00")),
        *({**header, "parameters": p} for p in (None, [], 5, "x", {})),
        *({k: v for k, v in header.items() if k != gone} for gone in header),
    ]
    for text in wrong:
        with pytest.raises(CorruptDataError):
            FILTERS[name].from_bytes(put_together(text, payload))


@every_filter
def test_hostile_payloads_under_a_valid_checksum(name: str) -> None:
    """A payload of another length, or of any other bits, is refused or makes a filter that answers."""
    cls = FILTERS[name]
    header, payload = take_apart(example(name).to_bytes())
    n = len(payload)
    stream = rng(3)
    for other in (b"", payload[:-1], payload + b"\x00", payload[: n // 2], payload * 2, payload + bytes(8)):
        believe_or_refuse(cls, put_together(header, other))
    for other in (bytes(n), b"\xff" * n, *(stream.bytes(n) for _ in range(5 if SMALL else 50))):
        believe_or_refuse(cls, put_together(header, other))


@given(st.data())
def test_altered_payloads_under_a_valid_checksum(data: st.DataObject) -> None:
    """Some bytes of a payload overwritten, checksum mended: refused, or a filter that answers."""
    name = data.draw(st.sampled_from(sorted(FILTERS)))
    header, payload = take_apart(example(name).to_bytes())
    altered = bytearray(payload)
    for at, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(payload) - 1), st.integers(0, 255)), min_size=1, max_size=9)
    ):
        altered[at] = value
    believe_or_refuse(FILTERS[name], put_together(header, bytes(altered)))


def test_bytes_do_not_depend_on_the_process() -> None:
    """Processes with other hash seeds make the same bytes from the same text keys."""
    script = (
        "import sys, zlib\nfrom algos import catalog\n"
        "keys = ['key:%d' % i for i in range(50)]\n"
        "for v in catalog.variants('filters'):\n"
        "    print(v.name, zlib.crc32(v.load().build(keys, seed=3).to_bytes()))\n"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert len(printed.pop().splitlines()) == len(FILTERS)
