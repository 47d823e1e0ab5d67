"""Runs of registers: the sparse encoding of Redis's HyperLogLog, changed one register at a time.

======================= ===================================================
``00llllll``            l + 1 registers of 0: a short run, up to 64
``01llllll llllllll``   l + 1 registers of 0: a long run, up to 16384
``1vvvvvll``            l + 1 registers of v + 1: up to 4, of 1..32
======================= ===================================================

The bytes depend on the order of changes, since runs of equal values are joined only near the last change.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from algos._bits import U1, U2, U3, U8, U64
from algos._jit import inlined, kernel

MAX_VALUE = 32
LEAST_ROOM = 8
"""Bytes beyond the runs that a change may write to."""
_U0, _VALUES, _LONG, _REST = U64(0), U64(0x80), U64(0x40), U64(0x3F)
_SHORTEST_LONG, _MOST_VALUES, _V = U64(64), U64(4), U64(31)
_JOINED = 5
"""Runs looked at, from the one before a change on, for others to join."""
ALL = U64(1 << 14)


@inlined
def _is_long(byte: Any) -> Any:
    return byte & (_VALUES | _LONG) == _LONG


@inlined
def _value(byte: Any) -> Any:
    """Return the value of a run's registers."""
    return ((byte >> U2) & _V) + U1 if byte & _VALUES != _U0 else _U0


@inlined
def _length(runs: Any, at: Any, byte: Any) -> Any:
    """Return the registers of a run."""
    if byte & _VALUES != _U0:
        return (byte & U3) + U1
    if byte & _LONG != _U0:
        return (((byte & _REST) << U8) | U64(runs[at + U1])) + U1
    return (byte & _REST) + U1


@inlined
def _emit(word: Any, filled: Any, value: Any, length: Any) -> tuple[Any, Any]:
    """Append a run of ``length`` registers, if any, to the bytes of a word."""
    if length == _U0:
        return word, filled
    if value != _U0:
        run, size = _VALUES | ((value - U1) << U2) | (length - U1), U1
    elif length <= _SHORTEST_LONG:
        run, size = length - U1, U1
    else:
        run, size = (_LONG | ((length - U1) >> U8)) | (((length - U1) & U64(0xFF)) << U8), U2
    return word | (run << (filled << U3)), filled + size


@inlined
def _move(runs: Any, source: Any, target: Any, end: Any) -> None:
    """Move the bytes from ``source`` up to ``end`` to ``target``."""
    if target > source:
        for k in range(end - source):
            runs[target + (end - source) - U1 - k] = runs[end - U1 - k]
    elif target < source:
        for k in range(end - source):
            runs[target + k] = runs[source + k]


@inlined
def _join(runs: Any, at: Any, used: Any) -> Any:
    """Join runs of one value that are neighbours, from ``at`` on; return the bytes left."""
    for _ in range(_JOINED):
        if at >= used:
            break
        byte = U64(runs[at])
        if byte & _VALUES == _U0:
            at += U2 if _is_long(byte) else U1
            continue
        if at + U1 < used:
            after = U64(runs[at + U1])
            length = (byte & U3) + (after & U3) + U2
            if after & _VALUES != _U0 and _value(after) == _value(byte) and length <= _MOST_VALUES:
                runs[at + U1] = (byte & ~U3) | (length - U1)
                _move(runs, at + U1, at, used)
                used -= U1
                continue
        at += U1
    return used


@kernel
def raise_run(runs: Any, used: Any, index: Any, value: Any, most: Any) -> Any:
    """Set a register to a higher value; return the bytes used, or 0 if they were more than ``most``."""
    at, before, first = _U0, _U0, _U0
    byte = U64(runs[0])
    length = _length(runs, at, byte)
    while index >= first + length:
        before = at
        at += U2 if _is_long(byte) else U1
        first += length
        byte = U64(runs[at])
        length = _length(runs, at, byte)
    word, filled = _emit(_U0, _U0, _value(byte), index - first)
    word, filled = _emit(word, filled, value, U1)
    word, filled = _emit(word, filled, _value(byte), first + length - U1 - index)
    size = U2 if _is_long(byte) else U1
    if filled > size and used + filled - size > most:
        return _U0
    _move(runs, at + size, at + filled, used)
    used = used + filled - size
    for k in range(filled):
        runs[at + k] = (word >> (k << U3)) & U64(0xFF)
    return _join(runs, before, used)


@kernel
def _read(runs: Any, registers: Any) -> Any:
    at, first, used = _U0, _U0, U64(runs.size)
    while at < used:
        byte = U64(runs[at])
        size = U2 if _is_long(byte) else U1
        if at + size > used:
            return False
        length = _length(runs, at, byte)
        if first + length > ALL:
            return False
        for k in range(length):
            registers[first + k] = _value(byte)
        first += length
        at += size
    return first == ALL


def read_runs(runs: Any, registers: Any) -> bool:
    """Fill the registers from runs; tell whether those are whole and of just so many."""
    return bool(_read(np.ascontiguousarray(runs), registers))
