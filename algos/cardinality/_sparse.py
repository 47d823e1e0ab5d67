"""Counters that begin sparse: of few keys a small hash table holds the registers that are not empty.

A token is the number of a register and its value, ``index << 6 | rank``, and the table has a slot of 32 bits
for each, three quarters of which are used at most (linear probing)::

    token   | index, up to 25 bits | rank, 6 bits |            0 is a free slot

It holds what the registers would, so that nothing shows when they take over: at 3/32 as many tokens as
registers, where the table would have outgrown half of them. Serialised, the tokens are sorted.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from algos._bits import U1, U6, U63, U64, leading_zeros
from algos._fastcall import place
from algos._jit import inlined, kernel
from algos.cardinality import _bytes
from algos.cardinality._ranks import coarser, token_of
from algos.cardinality._registers import RegisterCounter
from algos.errors import CorruptDataError
from algos.hashing.keys import CHUNK
from algos.hashing.splitmix64 import GAMMA
from algos.hashing.xxh3 import XXH3

LEAST_SLOTS = 16
_U3 = U64(3)
_NO_TOKENS = np.zeros(0, np.uint32)


@inlined
def room_of(table: Any) -> Any:
    """Return how many tokens a table may hold."""
    return (U64(table.size) >> U64(2)) * _U3


@inlined
def put_token(table: Any, token: Any) -> Any:
    """Put a token into a table that has a free slot; return 1 if its register was not there."""
    last = U64(table.size) - U1
    at = ((token >> U6) * GAMMA) >> (leading_zeros(last))
    while True:
        found = U64(table[at])
        if found == U64(0):
            table[at] = np.uint32(token)
            return U1
        if found >> U6 == token >> U6:
            if found < token:
                table[at] = np.uint32(token)
            return U64(0)
        at = (at + U1) & last


@kernel
def _to_tokens(hashes: Any, precision: Any, out: Any) -> None:
    for i in range(hashes.size):
        out[i] = np.uint32(token_of(hashes[i], U64(precision)))


@kernel
def _put_tokens(table: Any, filled: Any, tokens: Any) -> Any:
    """Put tokens until one too many is in the table; return how many of them."""
    room, used, i = room_of(table), filled[0], 0
    while i < tokens.size and used <= room:
        used += put_token(table, U64(tokens[i]))
        i += 1
    filled[0] = used
    return i


@kernel
def _put_in_registers(tokens: Any, drop: Any, registers: Any) -> None:
    for i in range(tokens.size):
        token = U64(tokens[i])
        if token != U64(0):
            index, rank = coarser(token >> U6, token & U63, U64(drop))
            if rank > U64(registers[index]):
                registers[index] = np.uint8(rank)


@kernel
def _coarser_tokens(tokens: Any, drop: Any) -> None:
    for i in range(tokens.size):
        token = U64(tokens[i])
        index, rank = coarser(token >> U6, token & U63, U64(drop))
        tokens[i] = np.uint32((index << U6) | rank)


def _tokens_of(row: Any) -> Any:
    """Return the tokens of the registers of a row that are not empty."""
    used = np.flatnonzero(row)
    return (used << 6 | row[used]).astype(np.uint32)


class SparseCounter(RegisterCounter):
    """A counter of registers of a byte that begins as a table of tokens."""

    __slots__ = ("_filled", "_tokens")
    _tokens: Any
    """The table; without slots where registers have taken over."""

    @property
    def _fine(self) -> int:
        """The precision of the tokens."""
        return self.precision

    @property
    def _row(self) -> int:
        return 1 << self.precision

    def _begin(self, seed: int) -> None:
        super()._begin(seed)
        self._filled = np.zeros(1, np.uint64)
        self._tokens = _NO_TOKENS
        if self._most_slots() >= LEAST_SLOTS and not self.martingale:
            self._tokens, self._registers = np.zeros(LEAST_SLOTS, np.uint32), self._registers[:0]

    def _most_slots(self) -> int:
        """Return the size of the largest table: it takes half of what the registers do."""
        return self._row // 8

    def _is_empty(self) -> bool:
        return super()._is_empty() and not self._filled[0]

    def _is_sparse(self) -> bool:
        return len(self._tokens) > 0

    def _begin_groups(self) -> None:
        super()._begin_groups()
        self._tokens = _NO_TOKENS

    def _put(self, hashes: Any) -> None:
        _bytes.add(self._registers, self.precision, hashes)

    def _put_words(self, words: Any) -> None:
        _bytes.add_words(self._registers, self.precision, words, self._hasher.word_seed)

    def _put_groups(self, hashes: Any, groups: Any) -> None:
        _bytes.add_groups(self._rows, self.precision, hashes, groups)

    def _follow(self, rows: Any, hashes: Any, groups: Any) -> None:
        _bytes.follow(rows, self.precision, hashes, groups, self._sums, self._gone)

    def _find_gone(self, rows: Any, out: Any) -> None:
        _bytes.find_gone(rows, self.precision, out)

    def _unite(self, mine: Any, theirs: Any, rows: int) -> None:
        _bytes.unite(mine, theirs[: rows * self._row])

    def _shrink(self, rows: Any, target: Self) -> None:
        _bytes.shrink(rows, self.precision - target.precision, target._used())

    def _check_rows(self, rows: Any, count: int) -> bool:
        rows = rows[: count * self._row]
        if len(rows) and rows.max() > 65 - self.precision:
            return False
        # Of few keys there would be tokens: the same counter has the same bytes.
        least = 0 if self._fine > self.precision else self._few(self._most_slots())
        begins_sparse = self._groups is None and not self.martingale and self._most_slots() >= LEAST_SLOTS
        return not begins_sparse or int(np.count_nonzero(rows)) > least

    def _insert(self, hashes: Any) -> None:
        if self._is_sparse() and len(hashes) >= self._row // 8 and self._insert_in_row(hashes):
            return
        if self._is_sparse() and len(hashes):
            tokens = np.empty(min(len(hashes), CHUNK), np.uint32)
            for lo in range(0, len(hashes), CHUNK):
                part = hashes[lo : lo + CHUNK]
                _to_tokens(part, self._fine, tokens)
                if not self._add_tokens(tokens[: len(part)]):
                    hashes = hashes[lo:]
                    break
            else:
                return
        super()._insert(hashes)

    def _insert_in_row(self, hashes: Any) -> bool:
        """Add so many hashes that registers take less time; they stay if they tell of too many tokens.

        ``False``, and nothing was added, if they do not, and finer tokens would tell more.
        """
        row = self._zeros(1)
        _bytes.add(row, self.precision, hashes)
        _put_in_registers(self._tokens, self._fine - self.precision, row)
        if np.count_nonzero(row != 0) > self._few(self._most_slots()):
            self._have_registers(row)
            return True
        return self._fine == self.precision and self._add_tokens(_tokens_of(row))

    def _insert_words(self, words: Any) -> None:
        lo = 0
        if self._is_sparse():
            hashes = np.empty(min(len(words), CHUNK), np.uint64)
            while self._is_sparse() and lo < len(words):
                part = words[lo : lo + CHUNK]
                XXH3.words(part, self._hasher.word_seed, hashes)
                self._insert(hashes[: len(part)])
                lo += len(part)
        if lo < len(words):
            super()._insert_words(words[lo:])

    def _add_tokens(self, tokens: Any) -> bool:
        """Add tokens; ``False`` if registers took over on the way, which have only some of them."""
        at = _put_tokens(self._tokens, self._filled, tokens)
        if self._filled[0] > self._few(len(self._tokens)):
            self._resize(int(self._filled[0]) + len(tokens) - at)
            at += _put_tokens(self._tokens, self._filled, tokens[at:])
            if self._filled[0] > self._few(len(self._tokens)):
                self._spread()
                return False
            self._resize(int(self._filled[0]))
        return True

    @staticmethod
    def _few(slots: int) -> int:
        """Return how many tokens a table may hold."""
        return 3 * (slots // 4)

    def _resize(self, tokens: int) -> None:
        """Have a table no larger than that many tokens need, but no larger than the largest."""
        slots = LEAST_SLOTS
        while self._few(slots) < tokens and slots < self._most_slots():
            slots *= 2
        if slots != len(self._tokens):
            held, self._filled[0] = self._tokens[self._tokens != 0], 0
            self._tokens = np.zeros(slots, np.uint32)
            _put_tokens(self._tokens, self._filled, held)

    def _spread(self) -> None:
        """Let registers take over."""
        row = self._zeros(1)
        _put_in_registers(self._tokens, self._fine - self.precision, row)
        self._have_registers(row)

    def _have_registers(self, row: Any) -> None:
        """Let a row of registers take over."""
        self._registers, self._tokens = row, _NO_TOKENS
        self._filled[0] = 0

    def _sorted_tokens(self) -> Any:
        return np.sort(self._tokens[self._tokens != 0])

    def _take_row(self, other: Self, group: int) -> None:
        row = other._rows[group * self._row : (group + 1) * self._row]
        few = np.count_nonzero(row) <= self._few(self._most_slots())
        if self._is_sparse() and self._fine == self.precision and few:
            self._add_tokens(_tokens_of(row))
            return
        if self._is_sparse():
            self._spread()
        super()._take_row(other, group)

    def _merge(self, other: Self) -> None:
        if other._is_sparse():
            tokens = other._sorted_tokens()
            if not self._is_sparse() or not self._add_tokens(tokens):
                _put_in_registers(tokens, self._fine - self.precision, self._registers)
            return
        if self._is_sparse():
            self._spread()
        super()._merge(other)

    def _write_to(self, small: Self) -> None:
        if self._is_sparse():
            tokens = self._sorted_tokens()
            _coarser_tokens(tokens, self._fine - small._fine)
            if not small._is_sparse() or not small._add_tokens(tokens):
                _put_in_registers(tokens, small._fine - small.precision, small._registers)
        else:
            if small._is_sparse():
                small._spread()
            super()._write_to(small)

    def _used(self) -> Any:
        return self._sorted_tokens().view(np.uint8) if self._is_sparse() else super()._used()

    @property
    def nbytes(self) -> int:
        """The size of the table or of the registers, in bytes."""
        return int(self._tokens.nbytes) if self._is_sparse() else super().nbytes

    def _take(self, payload: memoryview, rows: int) -> None:
        sparse = self._is_sparse() and len(payload) != self._row
        if not sparse:
            if self._is_sparse():
                self._spread()
            super()._take(payload, rows)
            return
        if len(payload) % 4 or len(payload) // 4 > self._few(self._most_slots()):
            raise CorruptDataError(f"{len(payload)} bytes are neither few tokens nor {self._row} registers")
        tokens = np.frombuffer(payload, "<u4").astype(np.uint32)
        indices, ranks = tokens >> np.uint32(6), tokens & np.uint32(63)
        rising = (indices[1:] > indices[:-1]).all() and (len(tokens) == 0 or indices[-1] < 1 << self._fine)
        self._refuse_unless(rising and ((ranks > 0) & (ranks <= 65 - self._fine)).all())
        self._add_tokens(tokens)


TOKENS, FILLED = place(SparseCounter, "_tokens"), place(SparseCounter, "_filled")
