"""Ids: golden values, forms, order, strict reading, clocks that misbehave, threads and forks."""

from __future__ import annotations

import base64
import itertools
import math
import os
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import oracles
import pyarrow as pa
import pytest
from helpers import SMALL, rng, scaled
from hypothesis import given
from hypothesis import strategies as st

from algos.errors import HotpathError
from algos.hashing import hash64
from algos.ids import (
    VARIANTS,
    Ksuid,
    Layout,
    NanoId,
    ObjectId,
    Snowflake,
    Tsid,
    Ulid,
    Uuid4,
    Uuid5,
    Uuid7,
    Xid,
    _clock,
    collision_probability,
)
from algos.ids._entropy import GROUP, chacha20
from algos.ids._kind import AT, Kind, Mint, Reader

MINTS: dict[str, Any] = {
    "Uuid4": Uuid4,
    "Uuid7": Uuid7,
    "Uuid7 method 2": lambda **more: Uuid7(2, **more),
    "Uuid7 method 3": lambda **more: Uuid7(3, **more),
    "Uuid7 12 bits": lambda **more: Uuid7(counter_bits=12, **more),
    "Uuid7 42 bits": lambda **more: Uuid7(counter_bits=42, **more),
    "Ulid": Ulid,
    "Snowflake": lambda **more: Snowflake(5, **{"max_lead_ms": 0, **more}),
    "Snowflake discord": lambda **more: Snowflake(33, "discord", **{"max_lead_ms": 0, **more}),
    "Snowflake instagram": lambda **more: Snowflake(1341, "instagram", **{"max_lead_ms": 0, **more}),
    "Tsid": lambda **more: Tsid(5, **{"max_lead_ms": 0, **more}),
    "Ksuid": Ksuid,
    "Xid": Xid,
    "ObjectId": ObjectId,
    "NanoId": NanoId,
    "NanoId of 13": lambda: NanoId(30, "0123456789abc"),
}
every_mint = pytest.mark.parametrize("name", MINTS)
ORDERED = [name for name in MINTS if name.partition(" ")[0] in {"Uuid7", "Ulid", "Snowflake", "Tsid"}]
BY_SECOND = ["Ksuid", "Xid", "ObjectId"]
TIMED = [*ORDERED, *BY_SECOND]
NOW = 1_795_882_000_123_456_789
READERS: list[type[Reader]] = [Uuid4, Uuid5, Uuid7, Ulid, Snowflake, Tsid, Ksuid, Xid, ObjectId]


class Clock:
    """A clock that stands until it is moved, or somebody sleeps."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += math.ceil(seconds * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(_clock, "sleep", made.sleep)
    return made


def test_every_variant_is_here() -> None:
    assert {name.partition(" ")[0] for name in MINTS} | {"Uuid5"} == {variant.name for variant in VARIANTS}


# ---------------------------------------------------------------------------------------------------
# Golden values

GOLDEN: list[tuple[type[Reader], str, str]] = [
    (Uuid7, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "017f22e279b07cc398c4dc0c0c07398f"),  # RFC 9562, A.6
    (Uuid4, "919108f7-52d1-4320-9bac-f847db4148a8", "919108f752d143209bacf847db4148a8"),  # RFC 9562, A.3
    (Uuid5, "2ed6657d-e927-568b-95e1-2665a8aea6a2", "2ed6657de927568b95e12665a8aea6a2"),  # RFC 9562, A.4
    (Ulid, "01ARZ3NDEKTSV4RRFFQ69G5FAV", "01563e3ab5d3d6764c61efb99302bd5b"),  # ulid/spec
    (Ulid, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "ff" * 16),
    (Ulid, "0" * 26, "00" * 16),
    (Ksuid, "0ujtsYcgvSTl8PAuAdqWYSMnLOv", "0669f7efb5a1cd34b5f99d1154fb6853345c9735"),  # segmentio/ksuid
    (Ksuid, "0ujzPyRiIAffKhBux4PvQdDqMHY", "066a029c73fc1aa3b2446246d6e89fcd909e8fe8"),
    (Ksuid, "0" * 27, "00" * 20),
    (Ksuid, "aWgEPTl1tmebfsQzFP4bxwgy80V", "ff" * 20),
    (Xid, "9m4e2mr0ui3e8a215n4g", "4d88e15b60f486e428412dc9"),  # rs/xid
    (Xid, "0" * 20, "00" * 12),
    (ObjectId, "4d88e15b60f486e428412dc9", "4d88e15b60f486e428412dc9"),
]


@pytest.mark.parametrize(("kind", "text", "binary"), GOLDEN, ids=lambda value: str(value)[:12])
def test_golden(kind: type[Reader], text: str, binary: str) -> None:
    row = np.frombuffer(bytes.fromhex(binary), np.uint8)
    assert (kind.decode([text]) == row).all()
    assert (kind.decode([row.tobytes()]) == row).all()
    written = np.empty((1, kind.WIDTH), np.uint8)
    kind._write(row.reshape(1, -1), written)
    assert written.tobytes().decode() == text


def test_golden_times() -> None:
    ms = {
        Uuid7.timestamps(["017F22E2-79B0-7CC3-98C4-DC0C0C07398F"])[0]: 1_645_557_742_000,
        Ulid.timestamps(["7ZZZZZZZZZZZZZZZZZZZZZZZZZ"])[0]: 281_474_976_710_655,
        Snowflake(0, "discord", max_lead_ms=0).timestamps([175_928_847_299_117_063])[0]: 1_462_015_105_796,
    }
    assert {stamp.astype(np.int64): stamp.dtype for stamp in ms} == dict.fromkeys(
        ms.values(), np.dtype("M8[ms]")
    )
    seconds = {
        Ksuid.timestamps(["0ujtsYcgvSTl8PAuAdqWYSMnLOv"])[0]: 1_507_608_047,
        Xid.timestamps(["9m4e2mr0ui3e8a215n4g"])[0]: 0x4D88E15B,
        ObjectId.timestamps(["FFFFFFFF0000000000000000"])[0]: 0xFFFFFFFF,
    }
    assert [stamp.astype(np.int64) for stamp in seconds] == list(seconds.values())


def test_golden_parts() -> None:
    """Discord's documented example, and Instagram's."""
    parts = Snowflake(0, "discord", max_lead_ms=0).parts(["175928847299117063"])
    assert (parts["node"][0] >> 5, parts["node"][0] & 31, parts["sequence"][0]) == (1, 0, 7)
    parts = Snowflake(0, "instagram", max_lead_ms=0).parts([1_387_263_000 << 23 | 1341 << 10 | 905])
    assert (parts["node"][0], parts["sequence"][0]) == (1341, 905)
    assert parts["timestamp"][0].astype(np.int64) == 1_387_263_000 + 1_314_220_021_721


def test_chacha20_is_that_of_the_rfc() -> None:
    """RFC 8439, A.1: the key of zeros at counter 0 and 1; the key 00 ff 00.. at counter 2."""
    out = np.empty(GROUP, np.uint32)
    chacha20(np.zeros(8, np.uint32), np.uint64(0), out)
    lanes = out.reshape(16, 16)
    first = "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7da41597c5157488d7724e03fb8d84a37"
    assert lanes[:, 0].tobytes().hex().startswith(first)
    second = (
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed29b721769ce64e43d57133b074d839d5"
    )
    assert lanes[:, 1].tobytes().hex().startswith(second)
    key = np.zeros(8, np.uint32)
    key[0] = 0xFF00
    chacha20(key, np.uint64(2), out)
    assert (
        out.reshape(16, 16)[:, 0]
        .tobytes()
        .hex()
        .startswith("72d54dfbf12ec44b362692df94137f328fea8da73990265e")
    )


def test_chacha20_counts_in_64_bits() -> None:
    """Block 2^32 - 1 is followed by block 2^32, and a stream may begin anywhere."""
    a, b = np.empty(2 * GROUP, np.uint32), np.empty(GROUP, np.uint32)
    key = np.arange(8, dtype=np.uint32)
    chacha20(key, np.uint64(2**32 - 16), a)
    chacha20(key, np.uint64(2**32), b)
    assert (a[GROUP:] == b).all()
    assert (a[:GROUP] != b).any()


# ---------------------------------------------------------------------------------------------------
# Uuid5


@given(st.lists(st.text(max_size=150), max_size=40), st.sampled_from(["dns", "url", "oid", "x500"]))
def test_uuid5_is_pythons(names: list[str], space: str) -> None:
    wanted = [str(uuid.uuid5(getattr(uuid, f"NAMESPACE_{space.upper()}"), name)) for name in names]
    assert Uuid5(space).of(names, "list") == wanted


@pytest.mark.parametrize(
    "size", [0, 1, 38, 39, 40, 47, 48, 49, 102, 103, 104, 111, 112, 113, scaled(5000, 200)]
)
def test_uuid5_pads_as_sha1_does(size: int) -> None:
    name, space = "x" * size, uuid.uuid4()
    assert Uuid5(space).one(name) == str(uuid.uuid5(space, name))
    assert Uuid5(space).one(name.encode(), "binary") == uuid.uuid5(space, name).bytes
    assert Uuid5(space).one(name, "uuid") == uuid.uuid5(space, name)


def test_uuid5_takes_what_batches_take() -> None:
    names = ["a", "bb", "ccc" * 30]
    listed = Uuid5("url").of(names, "list")
    for given_names in (pa.array(names), pa.chunked_array([names[:1], names[1:]]), np.array(names)):
        assert Uuid5("url").of(given_names, "list") == listed
    assert Uuid5("url").of([]).shape == (0, 16)
    with pytest.raises(TypeError, match="text"):
        Uuid5("url").of([1, 2])
    with pytest.raises(ValueError, match="null"):
        Uuid5("url").of(["a", None])
    with pytest.raises(ValueError, match="'dns'"):
        Uuid5("nonsense")
    with pytest.raises(TypeError, match=r"uuid\.UUID"):
        Uuid5(5)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------
# Forms


@every_mint
@pytest.mark.parametrize("n", [0, 1, 2, 17, scaled(10_000, 40)])
def test_forms_of_a_batch(name: str, n: int) -> None:
    mint = MINTS[name]()
    binary, text, arrow, listed = (mint.take(n, form) for form in ("binary", "text", "arrow", "list"))
    assert len(binary) == len(text) == len(arrow) == len(listed) == n
    assert binary.dtype == (np.int64 if binary.ndim == 1 else np.uint8)
    assert text.dtype == f"S{mint.WIDTH}"
    assert pa.types.is_string(arrow.type)
    assert {type(one) for one in listed} <= {str}
    everything = [*text.astype(str).tolist(), *arrow.to_pylist(), *listed]
    assert {len(one) for one in everything} <= {mint.WIDTH}
    for ids in (text, arrow, listed, text.astype(str), pa.chunked_array([arrow, arrow])):
        back = mint.decode(ids)
        assert back.dtype == binary.dtype
        assert back.shape == (len(ids), *binary.shape[1:])
    assert (mint.decode(binary) == binary).all()
    decoded = mint.decode(everything)
    assert len({row.tobytes() for row in np.concatenate([binary, decoded])}) == 4 * n


@every_mint
def test_forms_of_one(name: str) -> None:
    mint = MINTS[name]()
    texts = [mint.next() for _ in range(50)] + [mint.next("text"), mint.next(form="text")]
    assert {type(one) for one in texts} == {str}
    binaries = [mint.next("binary") for _ in range(50)] + [mint.next(form="binary")]
    assert len({type(one) for one in binaries}) == 1
    assert isinstance(binaries[0], (bytes, int))
    rows = np.concatenate([mint.decode(texts), mint.decode(binaries)])
    assert len({row.tobytes() for row in rows}) == len(rows) == len(texts) + len(binaries)


def test_uuids_are_uuids() -> None:
    for mint, version in ((Uuid4(), 4), (Uuid7(), 7)):
        ids = [*mint.take(20, "uuid"), mint.next("uuid"), *(uuid.UUID(mint.next()) for _ in range(20))]
        ids += [uuid.UUID(bytes=mint.next("binary")) for _ in range(20)]
        assert {(one.version, one.variant) for one in ids} == {(version, uuid.RFC_4122)}
        assert [one.bytes for one in ids] == [row.tobytes() for row in mint.decode(ids)]


@every_mint
def test_wrong_forms_and_counts(name: str) -> None:
    mint = MINTS[name]()
    for call in (mint.take, lambda _n, form: mint.next(form)):
        for form in ("txt", "", "binarx", "texttext", "x" * 100, None, 5):
            with pytest.raises(ValueError, match="form="):
                call(1, form)
    with pytest.raises(ValueError, match="form='list'"):
        mint.next("list")
    with pytest.raises(TypeError):
        mint.next("text", "binary")
    for n in (-1, 2**32 + 1):
        with pytest.raises(ValueError, match=f"n={n}"):
            mint.take(n)
    for n in (1.0, "1", True, None):
        with pytest.raises(TypeError, match="n must be an int"):
            mint.take(n)


# ---------------------------------------------------------------------------------------------------
# Text is right: against other writers


def test_texts_are_those_of_others() -> None:
    n = scaled(2000, 60)
    rows = rng(1).integers(0, 256, (n, 20), np.uint8)
    texts: dict[Any, Any] = {
        ObjectId: lambda raw: raw.hex(),
        Xid: lambda raw: base64.b32hexencode(raw).decode().rstrip("=").lower(),
        Ksuid: lambda raw: oracles.in_base(int.from_bytes(raw, "big"), 27, _text_alphabet("BASE62")),
        Ulid: lambda raw: oracles.in_base(int.from_bytes(raw, "big"), 26, _text_alphabet("CROCKFORD")),
    }
    for kind, write in texts.items():
        ids = np.ascontiguousarray(rows[:, : kind.SIZE])
        out = np.empty((n, kind.WIDTH), np.uint8)
        kind._write(ids, out)
        made = [bytes(row).decode() for row in out]
        assert made == [write(row.tobytes()) for row in ids]
        assert (kind.decode(made) == ids).all()
    words = rng(2).integers(0, 2**63, n, np.int64)
    words[:4] = 0, 1, 2**63 - 1, 2**62
    out = np.empty((n, 13), np.uint8)
    Tsid._write(words, out)
    made = [bytes(row).decode() for row in out]
    assert made == [oracles.in_base(int(word), 13, _text_alphabet("CROCKFORD")) for word in words]
    assert (Tsid.decode(made) == words).all()
    out = np.empty((n, 19), np.uint8)
    Snowflake._write(words, out)
    assert [bytes(row).decode() for row in out] == [f"{word:019d}" for word in words]


def _text_alphabet(name: str) -> str:
    from algos.ids import _text

    alphabet: str = getattr(_text, name)
    return alphabet


@pytest.mark.parametrize("kind", READERS, ids=lambda kind: kind.__name__)
def test_reading_is_strict(kind: type[Reader]) -> None:
    """A wrong character anywhere, a wrong length, a number too large: each is told with its place."""
    size = kind.WIDTH
    mint = MINTS.get(kind.__name__, lambda: None)()
    good = Uuid5("dns").one("a") if mint is None else mint.next()
    for at in range(size):
        for wrong in ("!", "\x00", "~", "/", ":", "@", "`", "{"):
            text = good[:at] + wrong + good[at + 1 :]
            with pytest.raises(ValueError, match=rf"position 1 is no .* character at {at}$"):
                kind.decode([good, text, "zz"])
    shorter = [good[:-1], good + good[-1], good + "\x00", " " + good, ""]
    if kind is Snowflake:  # text of fewer digits is what others write
        shorter = [good + good[-1], good + "\x00", " " + good, ""]
    for text in shorter:
        with pytest.raises(ValueError, match=r"position 0 is no"):
            kind.decode([text])
    for text in ("é" * size, "\U0001f600" * size, "x" * 5000):
        with pytest.raises(ValueError, match="position 0"):
            kind.decode(pa.array([text]))
    with pytest.raises(ValueError, match="position 1 is null"):
        kind.decode([good, None])
    with pytest.raises(ValueError, match="position 2 is no"):
        kind.decode(pa.chunked_array([[good, good], ["?"]]))
    with pytest.raises(TypeError):
        kind.decode([1.5])
    with pytest.raises(TypeError, match="dictionary_decode"):
        kind.decode(pa.array([good, good]).dictionary_encode())
    if not issubclass(kind, (Snowflake, Tsid)):
        with pytest.raises(TypeError, match="not numbers"):
            kind.decode([1])
        with pytest.raises(ValueError, match=f"{kind.SIZE} bytes"):
            kind.decode(np.zeros((1, 3), np.uint8))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Ulid, "8ZZZZZZZZZZZZZZZZZZZZZZZZZ"),
        (Ulid, "80000000000000000000000000"),
        (Ulid, "01ARZ3NDEKTSV4RRFFQ69G5FAU"),
        (Ulid, "01ARZ3NDEKTSV4RRFFQ69G5FAI"),
        (Tsid, "8000000000000"),
        (Ksuid, "aWgEPTl1tmebfsQzFP4bxwgy80W"),
        (Ksuid, "a" * 27),
        (Ksuid, "0ujtsYcgvSTl8PAuAdqWYSMnLO!"),
        (Xid, "9m4e2mr0ui3e8a215n4h"),
        (Xid, "9M4E2MR0UI3E8A215N4G"),
        (Snowflake, "9223372036854775808"),
        (Snowflake, "-1"),
        (Uuid4, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"),
        (Uuid7, "017f22e2-79b0-7cc3-58c4-dc0c0c07398f"),
        (Uuid7, "{17f22e2-79b0-7cc3-98c4-dc0c0c07398}"),
        (Uuid7, "017f22e279b0-7cc3-98c4-dc0c0c07398f-"),
    ],
)
def test_what_is_no_id(kind: Any, text: str) -> None:
    with pytest.raises(ValueError, match="position 0"):
        kind.decode([text])


def test_either_case_where_it_says_so() -> None:
    for kind, text in ((Ulid, Ulid().next()), (ObjectId, ObjectId().next()), (Uuid7, Uuid7().next())):
        assert (kind.decode([text.lower()]) == kind.decode([text.upper()])).all()  # type: ignore[attr-defined]


@given(st.lists(st.integers(-(2**63), 2**64 - 1), min_size=1, max_size=20))
def test_ints_out_of_range(values: list[int]) -> None:
    """Int ids are those of 63 bits; another is told by its position."""
    wrong = [not 0 <= value < 2**63 for value in values]
    for given_ids in (values, np.array(values, np.uint64) if min(values) >= 0 else values):
        if any(wrong):
            with pytest.raises(ValueError, match=f"position {wrong.index(True)} is"):
                Snowflake.decode(given_ids)
        else:
            assert Snowflake.decode(given_ids).tolist() == values


@pytest.mark.parametrize("kind", [kind for kind in READERS if kind.SIZE != 8], ids=lambda kind: kind.__name__)
@given(st.data())
def test_any_bytes_have_a_text(kind: type[Reader], data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.binary(min_size=kind.SIZE, max_size=kind.SIZE)))
    if kind.SIZE == 16 and kind is not Ulid:
        raw[6] = raw[6] & 15 | kind.VERSION << 4  # type: ignore[attr-defined]
        raw[8] = raw[8] & 63 | 128
    row, out = np.frombuffer(bytes(raw), np.uint8).reshape(1, -1), np.empty((1, kind.WIDTH), np.uint8)
    kind._write(row, out)
    assert kind.decode([out.tobytes().decode()]).tobytes() == bytes(raw)


# ---------------------------------------------------------------------------------------------------
# Order


def sortable(mint: Any, ids: Any) -> list[Any]:
    rows = mint.decode(ids)
    return rows.tolist() if rows.ndim == 1 else [row.tobytes() for row in rows]


@pytest.mark.parametrize("name", ORDERED)
def test_order_of_creation(name: str) -> None:
    """Alone or in batches, in every form: text, binary and creation ascend alike, and strictly."""
    mint, texts = MINTS[name](), []
    for n in (1, 3, scaled(5000, 20), 1):
        texts += mint.take(n, "list")
        texts += [mint.next() for _ in range(scaled(500, 5))]
        texts += mint.take(n, "text").astype(str).tolist()
        one = mint.next("binary")
        whole = np.array([one]) if isinstance(one, int) else np.frombuffer(one, np.uint8).reshape(1, -1)
        row = np.empty((1, mint.WIDTH), np.uint8)
        mint._written(whole, row)
        texts.append(row.tobytes().decode())
    assert texts == sorted(texts)
    assert len(set(texts)) == len(texts)
    binary = sortable(mint, texts)
    assert binary == sorted(binary)


@pytest.mark.parametrize("name", BY_SECOND)
def test_order_of_seconds(name: str, clock: Clock) -> None:
    mint = MINTS[name](clock=clock)
    texts = []
    for _ in range(5):
        texts.append(mint.take(10, "list"))
        clock.now += 10**9
    for before, after in itertools.pairwise(texts):
        assert max(before) < min(after)
        assert max(sortable(mint, before)) < min(sortable(mint, after))


@pytest.mark.parametrize("name", TIMED)
def test_ids_have_the_time(name: str, clock: Clock) -> None:
    """An id says when it was minted, by the clock given and by the system's."""
    mint = MINTS[name](clock=clock)
    unit = "s" if name in BY_SECOND else "ms"
    for n in (1, 5):
        assert mint.timestamps(mint.take(n))[0] == np.datetime64(clock.now, "ns").astype(f"M8[{unit}]")
        clock.now += 7 * 10**9
    mint = MINTS[name]()
    for _ in range(3):
        before = np.datetime64("now") - np.timedelta64(1, "s")
        stamps = mint.timestamps([mint.next(), *mint.take(3, "list")])
        after = np.datetime64("now") + np.timedelta64(2, "s")
        assert (before <= stamps).all()
        assert (stamps <= after).all()


# ---------------------------------------------------------------------------------------------------
# Counters


def test_ulids_go_on_by_one(clock: Clock) -> None:
    """The example of ulid/spec, and its end."""
    clock.now = int(Ulid.timestamps(["01BX5ZZKBKACTAV9WEVGEMMVRY"])[0].astype(np.int64)) * 10**6
    mint = Ulid(clock=clock)
    mint.take(1)
    start(mint, "01BX5ZZKBKACTAV9WEVGEMMVRY")
    assert mint.take(2, "list") == ["01BX5ZZKBKACTAV9WEVGEMMVRZ", "01BX5ZZKBKACTAV9WEVGEMMVS0"]
    start(mint, "01BX5ZZKBKZZZZZZZZZZZZZZZX")
    assert mint.next() == "01BX5ZZKBKZZZZZZZZZZZZZZZY"
    with pytest.raises(OverflowError, match="used up"):
        mint.take(2)
    assert mint.next() == "01BX5ZZKBKZZZZZZZZZZZZZZZZ"
    for _ in range(2):
        with pytest.raises(OverflowError, match="millisecond"):
            mint.next()
    clock.now += 10**6
    assert mint.next() > "01BX5ZZKBM"


def start(mint: Any, text: str) -> None:
    """Let an id have been the last."""
    number = int.from_bytes(Ulid.decode([text]).tobytes(), "big") & (1 << 80) - 1
    mint._state[_clock.OWN], mint._state[_clock.COUNT] = number >> 64, number & (1 << 64) - 1


def test_ulids_carry_into_the_upper_word(clock: Clock) -> None:
    mint = Ulid(clock=clock)
    mint.take(1)
    mint._state[_clock.OWN], mint._state[_clock.COUNT] = 5, 2**64 - 3
    rows = mint.take(scaled(5000, 10))
    tail = [int.from_bytes(row[6:].tobytes(), "big") for row in rows]
    assert tail == [(5 << 64) + 2**64 - 2 + i for i in range(len(rows))]


@pytest.mark.parametrize("bits", [12, 13, 26, 42])
def test_counters_of_uuid7(bits: int, clock: Clock) -> None:
    """The counter has its bits where the RFC wants them, begins in its lower half, and carries into time."""
    mint = Uuid7(counter_bits=bits, clock=clock)
    n = scaled(9000, 30)
    rows = mint.take(n)
    words = [int.from_bytes(row.tobytes(), "big") for row in rows]
    assert {word >> 76 & 15 for word in words} == {7}
    assert {word >> 62 & 3 for word in words} == {2}
    values = [((word >> 64 & 0xFFF) << 62 | word & (1 << 62) - 1) >> 74 - bits for word in words]
    assert values[0] < 1 << bits - 1
    ticks = [word >> 80 for word in words]
    whole = [tick << bits | value for tick, value in zip(ticks, values, strict=True)]
    assert whole == [whole[0] + i for i in range(n)]
    assert ticks[0] == clock.now // 10**6
    noise = [word & (1 << 74 - bits) - 1 for word in words]
    assert len(set(noise)) > 0.99 * n


def test_monotonic_random(clock: Clock) -> None:
    """Method 2: steps are random, from 1 to 2^33, about 2^32; a new millisecond begins anew."""
    mint, n = Uuid7(2, clock=clock), scaled(5000, 40)
    numbers = [tail_of(row) for row in [*mint.take(n), *mint.take(n)]]
    steps = np.diff(np.array(numbers, object)).astype(float)
    assert steps.min() >= 1
    assert steps.max() < 2**33
    assert abs(steps.mean() / 2**32 - 1) < 5 / math.sqrt(len(steps))
    assert len(set(steps)) > 0.99 * len(steps)
    clock.now += 10**6
    assert abs(tail_of(mint.take(1)[0]) - numbers[-1]) > 2**40


def tail_of(row: Any) -> int:
    word = int.from_bytes(row.tobytes(), "big")
    return (word >> 64 & 0xFFF) << 62 | word & (1 << 62) - 1


def test_fractions_of_uuid7(clock: Clock) -> None:
    """Method 3: the RFC's example has .1234 of a millisecond as 0x1f9; ids in one fraction take the next."""
    clock.now = NOW // 10**6 * 10**6 + 123_400
    mint = Uuid7(3, clock=clock)
    fractions = [tail_of(row) >> 62 for row in [*mint.take(1), *mint.take(3)]]
    assert fractions == [int(0.1234 * 4096) + i for i in range(4)]
    clock.now += 500_000
    assert tail_of(mint.take(1)[0]) >> 62 == int(0.6234 * 4096)
    ids = mint.take(5000)
    assert Uuid7.timestamps(ids)[-1] - Uuid7.timestamps(ids)[0] == np.timedelta64(1, "ms")


@pytest.mark.parametrize("name", ["Snowflake", "Snowflake discord", "Tsid"])
def test_sequences_begin_at_0(name: str, clock: Clock) -> None:
    mint = MINTS[name](clock=clock)
    for _ in range(3):
        assert mint.parts(mint.take(5))["sequence"].tolist() == [0, 1, 2, 3, 4]
        clock.now += 10**6


def test_instagrams_sequence_goes_on(clock: Clock) -> None:
    mint, found = Snowflake(1, "instagram", max_lead_ms=1000, clock=clock), []
    clock.now += 2 * 10**9
    for _ in range(6):
        found += mint.parts(mint.take(300))["sequence"].tolist()
        clock.now += 10**6
    assert found == [(found[0] + i) % 1024 for i in range(1800)]


@pytest.mark.parametrize("name", ["Xid", "ObjectId"])
def test_counters_of_24_bits(name: str, clock: Clock) -> None:
    """They carry into the next second, so that ids stay different and ascend."""
    mint = MINTS[name](clock=clock)
    first = mint.take(1)
    mint._state[_clock.COUNT] = 2**24 - 3
    ids = mint.take(5)
    assert ids[:, 9:].tolist() == [[255, 255, 254], [255, 255, 255], [0, 0, 0], [0, 0, 1], [0, 0, 2]]
    assert [row.tobytes() for row in ids] == sorted(row.tobytes() for row in ids)
    assert mint.timestamps(ids).astype(np.int64).tolist() == [NOW // 10**9] * 2 + [NOW // 10**9 + 1] * 3
    assert (ids[:, 4:9] == first[:, 4:9]).all()


def test_fields_of_xid() -> None:
    ids = Xid(machine=0xABCDEF).take(3)
    assert ids[:, 4:7].tolist() == [[0xAB, 0xCD, 0xEF]] * 3
    assert {int.from_bytes(row[7:9].tobytes(), "big") for row in ids} == {os.getpid() & 0xFFFF}
    with pytest.raises(ValueError, match="machine="):
        Xid(machine=2**24)


# ---------------------------------------------------------------------------------------------------
# Clocks


@pytest.mark.parametrize("name", ORDERED)
def test_a_clock_that_steps_about(name: str, clock: Clock) -> None:
    """However it steps, ids ascend, none is twice, and nobody waits for more than 5 seconds."""
    mint, random, texts = MINTS[name](clock=clock, max_lead_ms=2000), rng(3), []
    clock.now += 3 * 10**9
    for _ in range(scaled(100_000, 15)):
        clock.now += int(random.choice([0, 1, -1, 999, -(10**6), 10**6, 10**7, -(10**8), 3 * 10**8]))
        texts += mint.take(int(random.choice([1, 1, 2, 50], p=[0.4, 0.3, 0.2, 0.1])), "list")
    assert all(a < b for a, b in itertools.pairwise(texts))
    assert max(clock.slept, default=0) <= _clock.PATIENCE_NS / 1e9


@pytest.mark.parametrize("name", [name for name in TIMED if name != "Ksuid"])  # which has no order to keep
def test_a_clock_set_back_too_far(name: str, clock: Clock) -> None:
    """It is an error that says by how much, not an hour of waiting, and ids go on once the clock is back."""
    mint = MINTS[name](clock=clock)
    (before,) = mint.take(1, "list")
    clock.now -= 3600 * 10**9
    with pytest.raises(HotpathError, match="set back"):
        mint.take(1)
    with pytest.raises(HotpathError, match="set back"):
        mint.next()
    clock.now += 3601 * 10**9
    assert mint.next() > before
    assert sum(clock.slept) <= 0.002


@pytest.mark.parametrize("name", TIMED)
def test_times_without_ids(name: str, clock: Clock) -> None:
    """Before the epoch and after the last tick there is none, and that is said."""
    mint = MINTS[name](clock=clock)
    ends = {"Ksuid": 1_400_000_000 + 2**32, "Xid": 2**32, "ObjectId": 2**32}
    end = ends.get(
        name, 2**48 // 1000 if name.startswith(("Uuid7", "Ulid")) else 2**41 // 1000 + 1_577_836_800
    )
    clock.now = (end + 1) * 10**9
    for call in (mint.next, lambda: mint.take(3)):
        with pytest.raises(HotpathError, match="1970"):
            call()
    clock.now = -(10**9)
    with pytest.raises(HotpathError, match="1970"):
        mint.take(1)


def test_the_last_tick(clock: Clock) -> None:
    """Of 41 bits: what is left of it is minted, and then no more."""
    layout = Layout(41, 10, 12, 1000)
    clock.now = (2**41 - 2 + 1000) * 10**6
    mint = Snowflake(0, layout, max_lead_ms=0, clock=clock)
    clock.now += 10**6
    assert mint.take(4096).max() == (2**41 - 1) << 22 | 4095
    with pytest.raises(HotpathError, match="used up"):
        mint.take(1)


@pytest.mark.parametrize(("lead", "per_ms"), [(0, 4096), (3, 4096), (1000, 4096)])
def test_the_lead_is_kept(lead: int, per_ms: int, clock: Clock) -> None:
    """No id is more than ``max_lead_ms`` ahead of the clock; a batch beyond waits as long as it must."""
    mint = Snowflake(1, max_lead_ms=lead, clock=clock)
    clock.now += (lead + 1) * 10**6
    begin, n = clock.now, (lead + 3) * per_ms
    ids = mint.take(n)
    assert len(set(ids.tolist())) == n
    assert (np.diff(ids) > 0).all()
    ahead = mint.timestamps(ids).astype(np.int64) - clock.now // 10**6
    assert ahead.max() <= lead
    assert sum(clock.slept) * 1000 == pytest.approx(2, abs=0.01)
    assert mint.timestamps(ids).astype(np.int64)[0] == begin // 10**6


@pytest.mark.parametrize("lead", [0, 10, 1000])
@pytest.mark.parametrize("make", [Snowflake, Tsid])
def test_a_restart_waits_for_the_last_owner(make: Any, lead: int, clock: Clock) -> None:
    """The next process on a node cannot repeat ids of the one before, however far ahead these were."""
    before = make(7, max_lead_ms=lead, clock=clock)
    clock.now += (lead + 1) * 10**6
    old = before.take(4096 * (lead + 1))
    after = make(7, max_lead_ms=lead, clock=clock)
    new = after.take(10)
    assert new.min() > old.max()
    assert sum(clock.slept) * 1000 == pytest.approx(lead + 1, abs=0.01)


def test_waits_are_real() -> None:
    """With the system's clock: a node mints what it may at once, and the rest in time."""
    mint = Snowflake(3, max_lead_ms=2)
    ids = mint.take(4096 * 5)
    assert len(set(ids.tolist())) == len(ids)
    more = [mint.next("binary") for _ in range(scaled(20_000, 100))]
    assert ids.max() < more[0]
    assert all(a < b for a, b in itertools.pairwise(more))


@pytest.mark.parametrize("wrong", [-1, 5001])
def test_wrong_leads(wrong: int) -> None:
    for make in (Uuid7, Ulid, lambda **more: Snowflake(1, **more), lambda **more: Tsid(1, **more)):
        with pytest.raises(ValueError, match=f"max_lead_ms={wrong}"):
            make(max_lead_ms=wrong)


# ---------------------------------------------------------------------------------------------------
# Arguments


def test_wrong_arguments() -> None:
    cases: list[tuple[Any, type[Exception], str]] = [
        (lambda: Uuid7(4), ValueError, "method=4"),  # type: ignore[arg-type]
        (lambda: Uuid7(counter_bits=11), ValueError, "counter_bits=11"),
        (lambda: Uuid7(counter_bits=43), ValueError, "12..42"),
        (lambda: Uuid7("1"), TypeError, "method"),  # type: ignore[arg-type]
        (lambda: Snowflake(1024), ValueError, "0..1023"),
        (lambda: Snowflake(-1), ValueError, "node=-1"),
        (lambda: Snowflake(True), TypeError, "node"),
        (lambda: Snowflake(0, "mastodon"), ValueError, "'twitter'"),  # type: ignore[arg-type]
        (lambda: Snowflake(0, 5), TypeError, "layout"),  # type: ignore[arg-type]
        (lambda: Snowflake(0, Layout(50, 10, 12, 0)), ValueError, "63"),
        (lambda: Snowflake(0, Layout(41, 10, 0, 0)), ValueError, "sequence"),
        (lambda: Snowflake(0, Layout(41, 10, 12, -1)), ValueError, "epoch_ms=-1"),
        (lambda: Tsid(0, node_bits=21), ValueError, "0..20"),
        (lambda: Tsid(4, node_bits=2), ValueError, "0..3"),
        (lambda: NanoId(0), ValueError, "size=0"),
        (lambda: NanoId(5, ""), ValueError, "alphabet=''"),
        (lambda: NanoId(5, "a"), ValueError, "fewer than two"),
        (lambda: NanoId(5, "aba"), ValueError, "different"),
        (lambda: NanoId(5, "äö"), ValueError, "ASCII"),
        (lambda: collision_probability(-1, 5), ValueError, "n=-1"),
        (lambda: collision_probability(1, "5"), ValueError, "bits='5'"),
    ]
    for call, kind, said in cases:
        with pytest.raises(kind, match=said):
            call()


# ---------------------------------------------------------------------------------------------------
# Randomness


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["Uuid4", "Uuid7", "Uuid7 method 3", "Ksuid", "Uuid7 12 bits"])
@pytest.mark.parametrize("alone", [True, False])
def test_random_bits_are_fair(name: str, alone: bool) -> None:
    """Every random bit is set in half of the ids (exact binomial bounds), and no other bit is random."""
    mint, n = MINTS[name](), scaled(20_000, 200)
    rows = mint.decode([mint.next("binary") for _ in range(n)] if alone else mint.take(n))
    ones = np.unpackbits(rows, axis=1).sum(axis=0)
    low, high = oracles.binomial_bounds(0.5, n)
    fixed = {"Uuid4": 0, "Ksuid": 32}.get(name, 48 + {"Uuid7": 26}.get(name, 12))
    random = list(range(fixed, 8 * mint.SIZE))
    if mint.SIZE == 16:
        random = [bit for bit in random if bit not in {48, 49, 50, 51, 64, 65}]
        if name == "Uuid7":
            random = [bit for bit in random if bit >= 80]
        elif fixed:
            random = [bit for bit in random if bit >= 66]
    assert all(low <= ones[bit] <= high for bit in random), ones


@pytest.mark.statistical
@pytest.mark.parametrize("letters", [2, 3, 10, 33, 64, 100, 128])
@pytest.mark.parametrize("alone", [True, False])
def test_no_character_is_preferred(letters: int, alone: bool) -> None:
    """Chi-square over the alphabet, at p > 1e-6."""
    alphabet = "".join(map(chr, range(letters)))
    mint, n = NanoId(50, alphabet), scaled(4000, 40)
    texts = [mint.next() for _ in range(n)] if alone else mint.take(n, "list")
    seen = Counter("".join(texts))
    assert oracles.chi_square_p([seen[character] for character in alphabet]) > 1e-6


def test_words_are_wiped_once_drawn() -> None:
    """What was minted cannot be read in memory afterwards, and the key of the next pool is there alone."""
    mint = Uuid4()
    texts = [mint.next() for _ in range(10)]
    if not SMALL:
        at = int(mint._state[AT])
        assert not mint._pool[4:at].any()
        assert mint._pool[at:].all()
    assert len(set(texts)) == 10


@pytest.mark.parametrize(("n", "bits"), [(2, 1), (23, math.log2(365)), (5, 3), (200, 16), (1000, 20)])
def test_collisions_are_the_birthday_bound(n: int, bits: float) -> None:
    exact = 1 - math.prod(1 - i / 2**bits for i in range(n))
    assert collision_probability(n, bits) == pytest.approx(exact, rel=max(0.04, 3 * n / 2**bits))
    assert collision_probability(1, bits) == collision_probability(0, bits) == 0
    assert collision_probability(10, 2) == 1


# ---------------------------------------------------------------------------------------------------
# Threads and forks


@every_mint
def test_threads(name: str) -> None:
    """Twenty threads on one generator, alone and in batches, in two forms: no id twice."""
    mint = MINTS[name]()

    def work(i: int) -> list[Any]:
        alone = [mint.next() for _ in range(scaled(300, 3))]
        return alone + mint.take(scaled(500, 5), "list") + mint.take(i, "arrow").to_pylist()

    with ThreadPoolExecutor(20) as pool:
        found = [one for part in pool.map(work, range(20)) for one in part]
    assert len(set(found)) == len(found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("name", [name for name in MINTS if not name.startswith(("Snowflake", "Tsid"))])
def test_forks(name: str) -> None:
    """Eight children and their parent, at once: no id twice, and each goes on in order."""
    mint, n = MINTS[name](), scaled(20_000, 20)
    mint.take(3)
    texts = [mint.next() for _ in range(5)]
    for made in forked(8, lambda: [mint.next() for _ in range(5)] + mint.take(n, "list")):
        if name in ORDERED:
            assert made == sorted(made)
            assert texts[4] < made[0]
        texts += made
    texts += [mint.next() for _ in range(5)] + mint.take(n, "list")
    assert len(set(texts)) == len(texts) == 9 * (n + 5) + 5


@pytest.mark.statistical
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("kind", [Uuid4, Uuid7, Ulid, Ksuid, Xid, ObjectId])
def test_eight_million_ids_of_forked_workers(kind: Any) -> None:
    """All different, told by 64-bit hashes of which two are equal once in 600,000 such tests."""
    mint, n = kind(), scaled(1_000_000, 100)
    mint.next()

    def work() -> list[str]:
        return [hash64(mint.take(n, "text")).tobytes().hex()]

    words = [np.frombuffer(bytes.fromhex(made), np.uint64) for (made,) in forked(8, work)]
    assert len(np.unique(np.concatenate(words))) == 8 * n


def forked(children: int, work: Any) -> list[list[str]]:
    """Do work in forked children, all at once; return the texts each returned."""
    pipes = []
    for _ in range(children):
        read, write = os.pipe()
        if os.fork() == 0:  # pragma: no cover - in the child
            status = 1
            try:
                with os.fdopen(write, "w") as out:
                    out.write("\n".join(work()))
                status = 0
            finally:
                os._exit(status)
        os.close(write)
        pipes.append(read)

    def lines(read: int) -> list[str]:
        with os.fdopen(read) as made:
            return made.read().split("\n")

    with ThreadPoolExecutor(children) as pool:
        made = list(pool.map(lines, pipes))
    assert [os.wait()[1] for _ in pipes] == [0] * children
    return made


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("make", [Snowflake, Tsid])
def test_a_forked_node_refuses(make: Any) -> None:
    """Until it is given a number of its own; then it mints, and its parent goes on as it was."""
    mint = make(1, max_lead_ms=0)
    mint.next()

    def work() -> list[str]:
        said = []
        for call in (mint.next, lambda: mint.take(5)):
            try:
                call()
            except HotpathError as error:
                said.append(str(error))
        mint.renumber(2)
        return [*said, mint.next(), str(mint.node), str(mint.parts([mint.next()])["node"][0])]

    ((one, other, _, node, minted),) = forked(1, work)
    assert one == other
    assert "renumber" in one
    assert (node, minted) == ("2", "2")
    assert mint.parts([mint.next()])["node"].tolist() == [1]
    with pytest.raises(ValueError, match="node=1024"):
        mint.renumber(1024)


def test_a_lock_held_at_a_fork_is_not_held_in_the_child() -> None:
    mint = Uuid7()
    with mint._alone():
        if hasattr(os, "fork"):
            ((text,),) = forked(1, lambda: [mint.next()])
            assert uuid.UUID(text).version == 7
    assert uuid.UUID(mint.next()).version == 7


def test_generators_are_freed() -> None:
    import gc
    import weakref

    mint = Uuid7()
    mint.next()
    gone = weakref.ref(mint)
    del mint
    gc.collect()
    assert gone() is None


def test_kinds_share_their_shape() -> None:
    for variant in VARIANTS:
        cls = variant.load()
        assert issubclass(cls, (Mint, Reader))
        assert issubclass(cls, Kind) or variant.name in {"NanoId", "Uuid5"}
        assert hasattr(cls, "timestamps") == (variant.name not in {"Uuid4", "Uuid5", "NanoId"})
        assert ("ordered" in variant.properties) == any(name.startswith(variant.name) for name in ORDERED)
