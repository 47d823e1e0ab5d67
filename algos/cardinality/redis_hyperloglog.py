"""Redis's HyperLogLog: its registers, its estimate and its bytes, as ``PFADD`` and ``PFMERGE`` leave them.

Flajolet, Fusy, Gandouet, Meunier 2007, with 64-bit hashes; estimated as by Ertl: New cardinality estimation
algorithms for HyperLogLog sketches, 2017 (algorithm 6). A key is text, hashed by MurmurHash64A under the seed
``0xadc83b19``: the low 14 bits of the hash choose a register, and that keeps the highest rank, which is one
more than the zeros below the lowest set bit of the rest (51 if there is none).

======== ==========================================================================
bytes    meaning
======== ==========================================================================
4        ``HYLL``
1        encoding: 0 dense, 1 sparse
3        0
8        the count that was last asked for, and in its highest bit whether it is stale
12288    dense: 16384 registers of 6 bits, the first in the lowest bits
...      sparse: runs of registers, ``00llllll`` of 1..64 zeros, ``01llllll llllllll`` of
         1..16384 zeros, ``1vvvvvll`` of 1..4 registers with a value of 1..32
======== ==========================================================================

It is sparse until a value is above 32 or the bytes were more than 3000. In memory a register is a byte, and
while it is sparse the runs are kept besides. ``add`` is O(1), but where a register rises while it is sparse
O(number of runs). Standard error ``1.039 / sqrt(16384)``, 0.81 %. Good where Redis, or who reads its strings,
is at the other end; else an ``UltraLogLog`` tells more for its size.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._bits import U1, U64, borrowed, trailing_zeros
from algos._fastcall import (
    INT,
    NONE,
    Method,
    Native,
    as_none,
    bytes_of,
    key_alone,
    kind_of,
    place,
    size_of,
    slowly,
    text_of,
    uint64s_of,
    word_of,
)
from algos._jit import inlined, kernel
from algos._threads import check_threads
from algos.cardinality._decimal import decimal_hash, decimal_hashes
from algos.cardinality._redis_sparse import LEAST_ROOM, MAX_VALUE, raise_run, read_runs
from algos.cardinality._sampled import check_confidence, deviations
from algos.errors import CorruptDataError
from algos.hashing._keyed import Growing, check_hashes
from algos.hashing.batch import KeyHasher
from algos.hashing.keys import Dictionary, Words, one, pieces
from algos.hashing.murmur64a import MURMUR64A, murmur64a

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from algos import _state
    from algos.hashing.keys import Piece

SEED = 0xADC83B19
PRECISION = 14
REGISTERS = 1 << PRECISION
MAX_RANK = 64 - PRECISION + 1
DENSE, SPARSE = 0, 1
HEADER, DENSE_BYTES = 16, 12288
SPARSE_MAX_BYTES = 3000
"""Redis's default of ``hll-sparse-max-bytes``, its header included."""
ALPHA = 0.721347520444481703680
"""1 / (2 ln 2), as Redis has it."""
ERROR = 1.039 / math.sqrt(REGISTERS)
CARD, ENCODING, USED = range(3)
STALE = U64(1 << 63)
_SEED, _P, _INDEX = U64(SEED), U64(PRECISION), U64(REGISTERS - 1)
_SENTINEL = U64(1 << (MAX_RANK - 1))
_MAX_VALUE, _DENSE = U64(MAX_VALUE), U64(DENSE)
_MOST_RUNS = U64(SPARSE_MAX_BYTES - HEADER)


@inlined
def _rank(h: Any) -> Any:
    return trailing_zeros((h >> _P) | _SENTINEL) + U1


@inlined
def _raise(registers: Any, runs: Any, state: Any, index: Any, rank: Any) -> None:
    """Set a register to a rank above its own; become dense where the runs cannot say it."""
    if state[ENCODING] != _DENSE:
        size = U64(0)
        if rank <= _MAX_VALUE:
            size = raise_run(runs, state[USED], index, rank, _MOST_RUNS)
        state[USED] = size
        if size == U64(0):
            state[ENCODING] = _DENSE
    registers[index] = rank
    state[CARD] |= STALE


@kernel
def _add(registers: Any, runs: Any, state: Any, hashes: Any) -> None:
    registers, runs, state = borrowed(registers), borrowed(runs), borrowed(state)
    for i in range(U64(hashes.size)):
        index, rank = hashes[i] & _INDEX, _rank(hashes[i])
        if rank > U64(registers[index]):
            _raise(registers, runs, state, index, rank)


@kernel
def _merge(registers: Any, runs: Any, state: Any, other: Any) -> None:
    """Raise registers to those of another, in their order, as Redis merges."""
    registers, runs, state = borrowed(registers), borrowed(runs), borrowed(state)
    for index in range(U64(REGISTERS)):
        if other[index] > registers[index]:
            _raise(registers, runs, state, index, U64(other[index]))


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    key = key_alone(arguments, count, names)
    kind = kind_of(key)
    if kind == NONE:
        return slowly(me, "_add_one", arguments, count, names)
    if kind == INT:
        negative = (size_of(key) == U64(0)) & (word_of(key) >> U64(63) != U64(0))
        h = decimal_hash(word_of(key), negative, _SEED)
    else:
        h = murmur64a(text_of(key), U64(0), size_of(key), _SEED)
    registers, state = bytes_of(me, _REGISTERS), uint64s_of(me, _STATE)
    index, rank = h & _INDEX, _rank(h)
    if rank > U64(registers[index]):
        _raise(registers, bytes_of(me, _RUNS), state, index, rank)
    return as_none()


class _Decimals(Words):
    """A piece of integer keys, each of which is its decimal text."""

    __slots__ = ()

    def cut(self, lo: int, hi: int) -> Words:
        """Return keys ``lo..hi`` as a piece of their own."""
        return _Decimals(self.values[lo:hi], None if self.valid is None else self.valid[lo:hi])

    def hash_into(self, _algorithm: Any, seed: Any, lo: int, hi: int, out: Any) -> None:
        """Hash keys ``lo..hi`` into ``out``."""
        signed = self.values.dtype.kind == "i"
        for at, words in Words(self.values[lo:hi]).spans():
            decimal_hashes(words, signed, seed, out[at : at + len(words)])


class _Hasher(KeyHasher):
    """The hash of Redis: of text, and of integers as decimal text."""

    __slots__ = ()

    def pieces(self, keys: Any) -> list[Piece]:
        """Normalise a batch of keys."""
        found = pieces(keys)
        if isinstance(keys, (list, tuple)):
            found = [_with_signs(found[0], keys)]
        return [_textual(piece) for piece in found]

    def _one_piece(self, key: Any) -> Piece | None:
        piece = one(key)
        return None if piece is None else _textual(piece)


def _with_signs(piece: Piece, keys: Any) -> Piece:
    """Take a list of ints again, as text, where there are both some below 0 and some from 2^63 on."""
    if isinstance(piece, Words) and piece.values.dtype == np.uint64:
        given = [0 if key is None else int(key) for key in keys]
        if min(given, default=0) < 0:
            return pieces([None if key is None else str(int(key)) for key in keys])[0]
    return piece


def _textual(piece: Piece) -> Piece:
    if isinstance(piece, Dictionary):
        return Dictionary(piece.indices, _plain(piece.values), piece.valid)
    return _plain(piece)


def _plain(piece: Any) -> Any:
    if not isinstance(piece, Words):
        return piece
    if piece.values.dtype.kind == "f":
        raise TypeError("float keys have no one text: give the text that Redis is given, as repr(x)")
    return _Decimals(piece.values, piece.valid)


class RedisHyperLogLog(Growing):
    """Redis's HyperLogLog of 2^14 registers: a count within 0.81 %, standard error, in Redis's own bytes.

    Keys are text: ``str`` as UTF-8, ``bytes``, and an int as its decimal text; so ``1`` and ``"1"`` are one
    key. A float is a ``TypeError``. After any ``add`` and ``add_many`` it has, byte for byte, what ``PFADD``
    of the same keys in the same order makes (Redis 7, default settings); after ``count`` what ``PFCOUNT``
    leaves. The library's own ``to_bytes`` is without that cached count. ``add`` is O(1); 19 KiB.

    >>> h = RedisHyperLogLog()
    >>> h.add_many(["foo", "bar", "zap"])
    >>> h.count(), h.to_redis_bytes()[16:].hex()
    (3, '5cb39042078448588058e7')
    """

    __slots__ = ("_registers", "_runs", "_state")

    def __init__(self) -> None:
        self._use(_Hasher(MURMUR64A, SEED))
        self._registers = np.zeros(REGISTERS, np.uint8)
        self._state = np.array([STALE, SPARSE, 2], np.uint64)
        self._hold(np.array([0x7F, 0xFF], np.uint8))

    def _hold(self, runs: Any) -> None:
        """Keep runs, with the room to add some."""
        self._runs = np.zeros(max(LEAST_ROOM, SPARSE_MAX_BYTES, len(runs)) + LEAST_ROOM, np.uint8)
        self._runs[: len(runs)] = runs
        self._state[USED] = len(runs)

    @property
    def is_sparse(self) -> bool:
        """Whether the bytes are sparse: runs of registers instead of each of them."""
        return bool(self._state[ENCODING] == SPARSE)

    @property
    def nbytes(self) -> int:
        """The size of the registers and the runs in memory, in bytes."""
        return int(self._registers.nbytes + self._runs.nbytes + self._state.nbytes)

    def add_many(self, keys: Any, *, threads: int = 1) -> None:
        """Add ``n`` keys, or any iterable; nulls are skipped. One writer at a time; ``threads`` hash."""
        threads = check_threads(threads)
        for parts in self._hasher.batches(keys):
            self._add_pieces(parts, threads)

    def add_hashes(self, hashes: NDArray[np.uint64]) -> None:
        """Add keys of known hashes: ``hash64(texts, "murmur64a", seed=0xadc83b19)``, ``uint64[n]``."""
        self._insert(check_hashes(hashes))

    def _insert(self, hashes: Any) -> None:
        _add(self._registers, self._runs, self._state, hashes)

    def estimate(self) -> float:
        """Return the number of distinct keys, unbiased at any number of them. O(number of registers)."""
        counts = np.bincount(self._registers, minlength=64)
        m = float(REGISTERS)
        z = m * _tau((m - counts[MAX_RANK]) / m)
        for rank in range(MAX_RANK - 1, 0, -1):
            z = (z + float(counts[rank])) * 0.5
        z += m * _sigma(counts[0] / m)
        return ALPHA * m * m / z if z else math.inf

    def count(self) -> int:
        """Return the estimate as ``PFCOUNT`` does: rounded, and kept until a register rises."""
        if self._state[CARD] & STALE:
            found = self.estimate()
            # Where all registers are full, as no keys make them, C has nothing else to say.
            self._state[CARD] = _rounded(found) if found < STALE else STALE
        return int(self._state[CARD])

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return bounds of the number of distinct keys, which hold with a chance of ``confidence``.

        The estimate is taken for normal, of the standard error 0.81 %; for few keys they are wider than need
        be.
        """
        spread = deviations(check_confidence(confidence)) * ERROR
        found = self.estimate()
        return found / (1.0 + spread), found / (1.0 - spread)

    def merge(self, other: RedisHyperLogLog) -> None:
        """Take in all keys of ``other`` as ``PFMERGE`` does, which leaves the registers of adding them here.

        Dense if either is. While it stays sparse, its runs may be cut at other places than by adding.
        """
        if type(other) is not type(self):
            raise ValueError(f"cannot merge a {type(other).__name__} into a {type(self).__name__}")
        self._state[ENCODING] &= other._state[ENCODING]
        _merge(self._registers, self._runs, self._state, other._registers.copy())
        self._state[CARD] |= STALE

    def to_redis_bytes(self) -> bytes:
        """Return the value of the key in Redis: what ``GET`` returns and ``SET`` takes."""
        card = self._state[CARD].astype("<u8").tobytes()
        return b"HYLL" + bytes((int(self._state[ENCODING]), 0, 0, 0)) + card + self._body()

    def _body(self) -> bytes:
        if self.is_sparse:
            return bytes(self._runs[: int(self._state[USED])])
        a, b, c, d = self._registers.reshape(-1, 4).T
        packed = np.stack([a | b << 6, b >> 2 | c << 4, c >> 4 | d << 2], axis=1)
        return packed.tobytes()

    @classmethod
    def from_redis_bytes(cls, data: bytes | bytearray | memoryview) -> Self:
        """Make one of the value of a key in Redis; what Redis would not count is a ``CorruptDataError``."""
        view = memoryview(data).cast("B")
        if len(view) < HEADER or bytes(view[:4]) != b"HYLL":
            raise CorruptDataError(
                f"these {len(view)} bytes do not start with 'HYLL': not a HyperLogLog of Redis"
            )
        self = cls()
        self._take_body(view[4], view[HEADER:])
        self._state[CARD] = int.from_bytes(view[8:HEADER], "little")
        return self

    def _take_body(self, encoding: int, body: memoryview) -> None:
        found = np.frombuffer(body, np.uint8)
        if encoding not in {DENSE, SPARSE}:
            raise CorruptDataError(f"encoding {encoding} is neither {DENSE}, dense, nor {SPARSE}, sparse")
        if encoding == SPARSE:
            if not read_runs(found, self._registers):
                raise CorruptDataError(f"{len(found)} bytes are not runs of {REGISTERS} registers")
            self._hold(found)
            return
        if len(found) != DENSE_BYTES:
            raise CorruptDataError(f"{len(found)} bytes are not {DENSE_BYTES}, of {REGISTERS} registers")
        a, b, c = found.reshape(-1, 3).T
        rows = np.stack([a, a >> 6 | b << 2, b >> 4 | c << 4, c >> 2], axis=1)
        self._registers[:] = (rows & 63).reshape(-1)
        self._state[ENCODING], self._state[USED] = DENSE, 0

    def _parameters(self) -> dict[str, Any]:
        return {"encoding": int(self._state[ENCODING])}

    def _payload(self) -> Any:
        return np.frombuffer(self._body(), np.uint8)

    @classmethod
    def _restore(cls, parameters: _state.Parameters, payload: memoryview) -> Self:
        self = cls()
        self._take_body(parameters.integer("encoding", DENSE, SPARSE), payload)
        return self

    add = Method(_put, "_add_one")


def _tau(x: float) -> float:
    """Sum what registers at the highest rank stand for (Ertl, algorithm 6)."""
    if x in {0.0, 1.0}:
        return 0.0
    y, z = 1.0, 1.0 - x
    while True:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1.0 - x) ** 2 * y
        if z == before:
            return z / 3.0


def _sigma(x: float) -> float:
    """Sum what registers at 0 stand for (Ertl, algorithm 5)."""
    if x == 1.0:
        return math.inf
    y, z = 1.0, x
    while True:
        x *= x
        before = z
        z += x * y
        y += y
        if z == before:
            return z


def _rounded(x: float) -> int:
    """Round half up, of what is not negative, as C does."""
    whole = int(x)
    return whole + (x - whole >= 0.5)


_REGISTERS, _RUNS = place(RedisHyperLogLog, "_registers"), place(RedisHyperLogLog, "_runs")
_STATE = place(RedisHyperLogLog, "_state")
