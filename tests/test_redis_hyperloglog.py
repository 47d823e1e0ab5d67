"""Redis's HyperLogLog: the bytes of a real server, and a naive twin of it, whatever is added."""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import SMALL, put_together, rng, scaled, take_apart
from hypothesis import given
from hypothesis import strategies as st

from algos.cardinality import RedisHyperLogLog
from algos.errors import CorruptDataError
from algos.hashing import hash64

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 0xADC83B19
M = 1 << 14

# ---------------------------------------------------------------------------------------------------
# A naive twin: runs as a list, encoded anew whenever they are asked for


def text(key: Any) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode()


def murmur64a(key: bytes) -> int:
    m, mask, n = 0xC6A4A7935BD1E995, 2**64 - 1, len(key)
    h = SEED ^ (n * m & mask)
    for i in range(0, n - n % 8, 8):
        k = int.from_bytes(key[i : i + 8], "little") * m & mask
        k = (k ^ (k >> 47)) * m & mask
        h = (h ^ k) * m & mask
    if n % 8:
        h = (h ^ int.from_bytes(key[n - n % 8 :], "little")) * m & mask
    h = (h ^ (h >> 47)) * m & mask
    return h ^ (h >> 47)


class Twin:
    """``PFADD`` on a list of runs ``[length, value]``."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = [[M, 0]]
        self.dense: list[int] | None = None

    def add(self, key: Any) -> None:
        h = murmur64a(text(key))
        index, rest = h & (M - 1), h >> 14 | 1 << 50
        self.set(index, (rest & -rest).bit_length())

    def set(self, index: int, value: int) -> None:
        if self.dense is not None:
            self.dense[index] = max(self.dense[index], value)
            return
        first = at = 0
        while index >= first + self.runs[at][0]:
            first += self.runs[at][0]
            at += 1
        length, old = self.runs[at]
        if old >= value:
            return
        parts = [[index - first, old], [1, value], [first + length - 1 - index, old]]
        changed = [*self.runs[:at], *(part for part in parts if part[0]), *self.runs[at + 1 :]]
        size = len(self.encode(changed))
        if value > 32 or (size > 3000 - 16 and size > len(self.encode(self.runs))):
            self.dense = [value for length, value in self.runs for _ in range(length)]
            self.set(index, value)
            return
        self.runs = changed
        at = max(0, at - 1)
        for _ in range(5):
            if at + 1 >= len(self.runs):
                break
            (n, v), (m, w) = self.runs[at : at + 2]
            if v and v == w and n + m <= 4:
                self.runs[at : at + 2] = [[n + m, v]]
            else:
                at += 1

    @staticmethod
    def encode(runs: list[list[int]]) -> bytes:
        out = bytearray()
        for length, value in runs:
            if value:
                out.append(0x80 | (value - 1) << 2 | length - 1)
            elif length <= 64:
                out.append(length - 1)
            else:
                out += bytes((0x40 | (length - 1) >> 8, (length - 1) & 255))
        return bytes(out)

    def registers(self) -> list[int]:
        return self.dense or [value for length, value in self.runs for _ in range(length)]

    def body(self) -> bytes:
        if self.dense is None:
            return self.encode(self.runs)
        return sum(v << 6 * i for i, v in enumerate(self.dense)).to_bytes(12288, "little")


def added(keys: Any) -> RedisHyperLogLog:
    h = RedisHyperLogLog()
    h.add_many(keys)
    return h


def body(h: RedisHyperLogLog) -> bytes:
    return h.to_redis_bytes()[16:]


# ---------------------------------------------------------------------------------------------------
# Golden values


def test_golden_bytes() -> None:
    """What redis-server 7.0.15 gave for GET of an empty value, and after ``PFADD h foo bar zap``."""
    h = RedisHyperLogLog()
    assert h.to_redis_bytes().hex() == "48594c4c0100000000000000000000807fff"
    h.add_many(["foo", "bar", "zap"])
    assert h.to_redis_bytes().hex() == "48594c4c0100000000000000000000805cb39042078448588058e7"
    assert h.count() == 3
    assert h.to_redis_bytes()[8:16] == bytes((3, 0, 0, 0, 0, 0, 0, 0))
    h.add("foo")
    assert h.to_redis_bytes()[8:16] == bytes((3, 0, 0, 0, 0, 0, 0, 0))
    h.add("baz")
    assert h.to_redis_bytes()[8:16] == bytes((3, 0, 0, 0, 0, 0, 0, 0x80))


@pytest.mark.skipif(SMALL, reason="a million keys take minutes where kernels are interpreted")
def test_golden_counts() -> None:
    """``PFCOUNT`` of the decimal texts 0..N-1, and the digest of all bytes, of redis-server 7.0.15."""
    h, done = RedisHyperLogLog(), 0
    for n, count in ((1000, 1001), (10_000, 9987), (100_000, 99_565), (1_000_000, 1_009_972)):
        h.add_many(np.arange(done, n), threads=2)
        assert h.count() == count
        assert len(h.to_redis_bytes()) == (1923 if n == 1000 else 12304)
        done = n
    digest = "b9554ba75d93784b9d36dc868449220404c27e13c92ff6d3ccf32cc009a49494"
    assert hashlib.sha256(h.to_redis_bytes()).hexdigest() == digest


# ---------------------------------------------------------------------------------------------------
# The twin


@given(st.lists(st.one_of(st.integers(-(2**63), 2**64 - 1), st.text(), st.binary(max_size=40)), max_size=40))
def test_any_keys(keys: list[Any]) -> None:
    """Key by key and, of one type, at once: the bytes of the twin."""
    twin, h = Twin(), RedisHyperLogLog()
    for key in keys:
        twin.add(key)
        h.add(key)
    assert body(h) == twin.body()
    for kind in (int, str, bytes):
        some, twin = [key for key in keys if isinstance(key, kind)], Twin()
        for key in some:
            twin.add(key)
        assert body(added(some)) == twin.body()


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 32)), max_size=120), st.integers(0, M - 41))
def test_crowded_registers(changes: list[tuple[int, int]], base: int) -> None:
    """Neighbouring registers raised in any order are cut into runs, and joined, as in the twin."""
    twin, h = Twin(), RedisHyperLogLog()
    for index, value in changes:
        twin.set(base + index, value)
        h.add_hashes(np.array([base + index | 1 << (13 + value)], np.uint64))
        assert body(h) == twin.body()


@pytest.mark.parametrize("stream", range(scaled(6, 1)))
def test_until_dense(stream: int) -> None:
    """From the first key to past the change to dense, batch by batch, the bytes of the twin."""
    twin, h, alone = Twin(), RedisHyperLogLog(), RedisHyperLogLog()
    source = rng(7, stream)
    while h.is_sparse:
        keys = source.integers(-1000 * stream, 5000, scaled(150, 400)).tolist()
        h.add_many(keys)
        for key in keys:
            twin.add(key)
            alone.add(key)
        assert body(h) == body(alone) == twin.body()
    assert twin.dense is not None
    assert h._registers.tolist() == twin.registers()


def test_a_high_value_makes_it_dense() -> None:
    """A rank of 32 is a run still, 33 is not; 51 is the highest."""
    h, twin = RedisHyperLogLog(), Twin()
    for index, rank in ((5, 32), (9, 33), (11, 51)):
        h.add_hashes(np.array([index | (1 << (13 + rank)) % 2**64], np.uint64))
        twin.set(index, rank)
        assert h.is_sparse == (rank == 32)
        assert body(h) == twin.body()


def test_decimal_texts() -> None:
    """Integers of any width and sign, alone and in arrays, are hashed as their decimal text."""
    edges = [10**k + d for k in range(20) for d in (-1, 0, 1)] + [
        2**k + d for k in (31, 32, 63) for d in (-1, 0)
    ]
    source = rng(1)
    wide = source.integers(0, 2**64, scaled(5000, 100), dtype=np.uint64)
    unsigned = np.append(
        np.array(edges, np.uint64), wide >> source.integers(0, 64, len(wide), dtype=np.uint64)
    )
    unsigned = np.append(unsigned, np.uint64(2**64 - 1))
    signed = unsigned.view(np.int64)
    for array in (unsigned, signed, -signed, signed.astype(np.int16), unsigned.astype(np.uint8)):
        texts = [str(v) for v in array.tolist()]
        alone = RedisHyperLogLog()
        for v in array.tolist():
            alone.add(v)
        same = [added(array), added(array.tolist()), added(pa.array(array)), added(texts), alone]
        same.append(RedisHyperLogLog())
        same[-1].add_hashes(hash64(texts, "murmur64a", seed=SEED))
        assert len({h.to_redis_bytes() for h in same}) == 1


def test_signs_in_one_list() -> None:
    """A list may hold both -1 and 2^64 - 1, which are other texts, and nulls."""
    assert added([-1, None, 2**64 - 1]) == added(["-1", str(2**64 - 1)])
    assert added([np.uint64(2**64 - 1)]) == added([str(2**64 - 1)])


def test_forms_of_keys() -> None:
    """Lists, arrays, Arrow with nulls, dictionaries and generators of the same keys are one."""
    texts = ["a", "", "grüße", "x" * 100_000, "a"]
    column = pa.array([*texts, None])
    want = added(texts)
    one = RedisHyperLogLog()
    for key in (*texts, None):
        one.add(key)
    for form in (column, column.dictionary_encode(), column[:-1], [t.encode() for t in texts], iter(texts)):
        assert added(form) == want == one
    assert added(pa.array([7, None, 7]).dictionary_encode()) == added(["7"])


def test_what_has_no_text_is_refused() -> None:
    """Floats, bools and other objects raise; nothing is added."""
    h = RedisHyperLogLog()
    for wrong in (1.5, True, object(), np.float32(1)):
        with pytest.raises(TypeError):
            h.add(wrong)
        with pytest.raises(TypeError):
            h.add_many([wrong])
    with pytest.raises(TypeError, match="repr"):
        h.add_many(np.arange(3.0))
    with pytest.raises(TypeError, match="float"):
        h.add_many(pa.array([1.5]).dictionary_encode())
    with pytest.raises(TypeError):
        h.add_hashes(np.arange(3))
    with pytest.raises(OverflowError):
        h.add(2**64)
    with pytest.raises(ValueError, match="threads"):
        h.add_many([1], threads=0)
    for confidence in (0, 1, 1.5, math.nan):
        with pytest.raises(ValueError, match="confidence"):
            h.interval(confidence)
    with pytest.raises(TypeError, match="confidence"):
        h.interval("0.95")
    assert h == RedisHyperLogLog()


# ---------------------------------------------------------------------------------------------------
# Merging


@pytest.mark.parametrize(
    ("one", "two"), [(0, 0), (50, 0), (0, 50), (700, 700), (1100, 900), (50, 4000), (4000, 50)]
)
def test_merge(one: int, two: int) -> None:
    """A merge raises registers in their order, as the twin does, and is dense if either is."""
    one, two = scaled(one, min(one, 400 + one // 10)), scaled(two, min(two, 400 + two // 10))
    a, b = added(range(one)), added(range(1000, 1000 + two))
    want, other = Twin(), Twin()
    for key in range(one):
        want.add(key)
    for key in range(1000, 1000 + two):
        other.add(key)
    if want.dense or other.dense:
        want.dense = want.registers()
    for index, value in enumerate(other.registers()):
        want.set(index, value)
    before = b.to_redis_bytes()
    a.merge(b)
    assert body(a) == want.body()
    assert b.to_redis_bytes() == before
    assert a.count() == added([*range(one), *range(1000, 1000 + two)]).count()


def test_merge_with_itself_and_strangers() -> None:
    """Merged with itself nothing changes but the cache; another kind is refused."""
    h = added(range(100))
    want = body(h)
    h.count()
    h.merge(h)
    assert body(h) == want
    assert h.to_redis_bytes()[15] == 0x80
    with pytest.raises(ValueError, match="cannot merge"):
        h.merge("x")  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------
# Bytes


@pytest.mark.parametrize("n", [0, 1, scaled(1000, 100), 3000])
def test_round_trips(n: int) -> None:
    """Redis's bytes and the library's own give the same back, and take more keys alike."""
    h = added(range(n))
    copies = [RedisHyperLogLog.from_bytes(h.to_bytes()), pickle.loads(pickle.dumps(h))]
    copies.append(RedisHyperLogLog.from_redis_bytes(h.to_redis_bytes()))
    h.count()
    counted = RedisHyperLogLog.from_redis_bytes(h.to_redis_bytes())
    assert counted.to_redis_bytes() == h.to_redis_bytes()
    for copy in (*copies, counted):
        assert copy == h
        assert copy.count() == h.count()
        assert copy.is_sparse == h.is_sparse
    for other in (h, *copies):
        other.add_many(range(500, 500 + scaled(3000, 200)))
    assert len({body(other) for other in (h, *copies)}) == 1


def answers(h: RedisHyperLogLog) -> None:
    """Use whatever was read: nothing crashes, and what it writes it reads."""
    assert h.estimate() >= 0
    assert h.count() >= 0
    assert RedisHyperLogLog.from_redis_bytes(h.to_redis_bytes()).to_redis_bytes() == h.to_redis_bytes()
    h.add_many(np.arange(20))
    h.merge(added(range(20, 30)))
    h.add("x")
    assert RedisHyperLogLog.from_redis_bytes(h.to_redis_bytes()) == h


@pytest.mark.parametrize("n", [3, 300, 3000])
def test_hostile_redis_bytes(n: int) -> None:
    """Bytes altered, cut or lengthened anywhere are refused, or are a counter that works."""
    good, source, read = added(range(n)).to_redis_bytes(), rng(3, n), 0
    for trial in range(scaled(35_000, 40)):
        bad = bytearray(good)
        for _ in range(1 + trial % 3):
            bad[source.integers(min(len(bad), 4000))] = source.integers(256)
        if trial % 5 == 4:
            bad = bad[: source.integers(len(bad))]
        try:
            h = RedisHyperLogLog.from_redis_bytes(bad)
        except CorruptDataError:
            continue
        read += 1
        if read % 50 == 1:
            answers(h)
    assert read


def test_bytes_that_are_none() -> None:
    """Too short, of another magic, encoding, size or number of registers: refused, with the reason."""
    good = added(range(10)).to_redis_bytes()
    for bad in (
        b"",
        b"HYLL",
        good[:15],
        b"XYLL" + good[4:],
        good[:4] + b"\x02" + good[5:],
        good[:4] + b"\0" + good[5:],
    ):
        with pytest.raises(CorruptDataError):
            RedisHyperLogLog.from_redis_bytes(bad)
    head = good[:16]
    for runs in (b"", b"\x7f", b"\x7f\xfe", b"\x7f\xff\x00", b"\x7f\xff\x80", b"\x7f\xfe\x81", b"\x3f" * 255):
        with pytest.raises(CorruptDataError, match="runs"):
            RedisHyperLogLog.from_redis_bytes(head + runs)
    with pytest.raises(CorruptDataError, match="12288"):
        RedisHyperLogLog.from_redis_bytes(good[:4] + b"\0" + good[5:16] + bytes(12287))
    answers(RedisHyperLogLog.from_redis_bytes(head + b"\x40\x00" * M))  # no shorter, and more than 3000 bytes
    answers(RedisHyperLogLog.from_redis_bytes(head + b"\x80" * M))
    full = RedisHyperLogLog.from_redis_bytes(good[:4] + b"\0" + good[5:16] + b"\xff" * 12288)
    assert full.count() == 1 << 63
    answers(full)


def test_hostile_house_bytes() -> None:
    """Forged parameters and payloads under a right checksum are refused."""
    header, payload = take_apart(added(range(10)).to_bytes())
    for encoding in (0, 2, -1, 1.0, True, None, "1", 2**70):
        with pytest.raises(CorruptDataError):
            RedisHyperLogLog.from_bytes(
                put_together({**header, "parameters": {"encoding": encoding}}, payload)
            )
    for bad in (b"", payload[:-1], payload + b"\0", bytes(12288)):
        with pytest.raises(CorruptDataError):
            RedisHyperLogLog.from_bytes(put_together(header, bad))


# ---------------------------------------------------------------------------------------------------
# The law


@pytest.mark.statistical
@pytest.mark.parametrize("n", [100, 3000, 40_000, 300_000])
def test_error(n: int) -> None:
    """Over 200 sets of random keys: no bias, the stated error at most, and intervals that hold.

    From n = 10 m on the error is the stated one within 15 %, three deviations of a standard deviation of 200.
    """
    trials = 200
    errors, inside = [], 0
    for trial in range(trials):
        h = RedisHyperLogLog()
        h.add_hashes(rng(n, trial).integers(0, 2**64, n, dtype=np.uint64))
        errors.append(h.estimate() / n - 1)
        low, high = h.interval(0.95)
        inside += low <= n <= high
    rms = math.sqrt(np.mean(np.square(errors)))
    law = 1.039 / 128
    assert abs(np.mean(errors)) < 3 * law / math.sqrt(trials)
    assert rms < 1.15 * law
    assert n < 10 * M or rms > 0.85 * law
    assert inside >= 0.95 * trials - 3 * math.sqrt(0.05 * 0.95 * trials)


# ---------------------------------------------------------------------------------------------------
# A real server


class Redis:
    """A connection of a few lines."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def __call__(self, *words: Any) -> Any:
        sent = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(sent), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in sent)]
        self.socket.sendall(b"".join(parts))
        line = self.file.readline()
        if line[:1] == b"-":
            raise RuntimeError(line.decode())
        if line[:1] == b"$":
            return self.file.read(int(line[1:]) + 2)[:-2] if int(line[1:]) >= 0 else None
        return int(line[1:]) if line[:1] == b":" else line[1:-2]

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = os.environ.get("HOTPATH_REDIS_SERVER") or shutil.which("redis-server")
    if not server:
        pytest.skip("no redis-server on PATH nor in HOTPATH_REDIS_SERVER")
    place = tmp_path_factory.mktemp("redis")
    options = ["--port", "0", "--unixsocket", "s", "--save", "", "--daemonize", "no"]
    with subprocess.Popen([server, *options], cwd=place, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "ready to accept connections" in line.lower():
                break
        else:
            pytest.skip(f"{server} does not start here")
        here = Path.cwd()
        os.chdir(place)  # a socket's path has to be short
        try:
            connection = Redis(Path("s"))
        finally:
            os.chdir(here)
        yield connection
        connection.close()
        process.terminate()
        process.stdout.read()


def test_server_adds_alike(redis: Redis) -> None:
    """Random keys, many of them again, one batch after the other, until dense: the server's bytes."""
    for stream in range(scaled(30, 1)):
        source, h = rng(11, stream), RedisHyperLogLog()
        redis("DEL", "h")
        redis("PFADD", "h")
        for step in range(25):
            keys = source.integers(0, 200 << source.integers(8), scaled(150, 60)).tolist()
            h.add_many(keys)
            redis("PFADD", "h", *keys)
            assert h.to_redis_bytes() == redis("GET", "h")
            if step % 4 == stream % 4:
                assert h.count() == redis("PFCOUNT", "h")
                assert h.to_redis_bytes() == redis("GET", "h")


def test_server_merges_alike(redis: Redis) -> None:
    """``PFMERGE`` of sparse and dense: the server's bytes; and it reads what is written here."""
    for one, two in ((0, 10), (10, 0), (600, 600), (1100, 1100), (10, 3000), (3000, 10), (3000, 3000)):
        a, b = added(range(one)), added([f"k{i}" for i in range(two)])
        redis("SET", "a", a.to_redis_bytes())
        redis("SET", "b", b.to_redis_bytes())
        redis("PFMERGE", "a", "b")
        a.merge(b)
        assert a.to_redis_bytes() == redis("GET", "a")
        assert a.count() == redis("PFCOUNT", "a")
        redis("PFADD", "a", *range(10_000, 10_050))
        a.add_many(range(10_000, 10_050))
        assert a.to_redis_bytes() == redis("GET", "a")


def test_server_refuses_alike(redis: Redis) -> None:
    """Altered bytes that are read here are what the server counts, to the same number."""
    good, source = added(range(300)).to_redis_bytes(), rng(5)
    for _ in range(scaled(2000, 10)):
        bad = bytearray(good)
        bad[source.integers(16, len(bad))] = source.integers(256)
        bad[15] |= 0x80
        redis("SET", "x", bytes(bad))
        try:
            count = RedisHyperLogLog.from_redis_bytes(bad).count()
        except CorruptDataError:
            continue
        assert count == redis("PFCOUNT", "x")
