"""Consistent probability sampling of traces: every service keeps the same ones.

OpenTelemetry specification, TraceState: Probability Sampling, and TraceState Handling (both in development,
as of 2026). A trace has 56 random bits R, the last 7 bytes of its id (W3C Trace Context Level 2) or an
explicit value; a sampler of probability p has the rejection threshold T = (1 - p) 2^56 and keeps a trace
when R >= T. What one keeps, one of a higher probability keeps too. The threshold travels with the trace::

    tracestate: ot=th:fd70a;rv:6e6d1a75832a2f,other=...
                   |        `-- R, 14 hexadecimal digits, where the id is not random
                   `-- T, without the zeros at its end: 1 %, each span kept stands for 2^56 / (2^56 - T)

T is rounded to ``precision`` hexadecimal digits that are not leading ``f``: 4 of them, which the
specification advises, are within 1 / 8192 of p. Nothing is random here, and nothing stored: a decision is a
comparison.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from llvmlite import ir
from numba import types

from algos._arguments import integer
from algos._arrow import as_arrow
from algos._bits import U1, U64, byteswap, item_pointer
from algos._fastcall import (
    TEXT,
    Method,
    Native,
    as_bool,
    key_alone,
    kind_of,
    place,
    size_of,
    slowly,
    text_of,
    uint64s_of,
)
from algos._jit import kernel, primitive
from algos._state import Stored
from algos.errors import CorruptDataError
from algos.hashing.keys import Dictionary, Text, pieces
from algos.sampling._items import speaks_arrow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from algos._state import Parameters

BITS, DIGITS = 56, 14
MOST = 1 << BITS
DEFAULT_PRECISION = 4
BINARY, HEX = 16, 32
"""Bytes of an id, and the digits of its text."""
MAX_MEMBERS, MAX_VALUE = 32, 256
"""Entries of a tracestate, and characters of one's value."""
_MASK, _BAD, _U2, _HEX = U64(MOST - 1), U64(1 << 63), U64(2), U64(HEX)
_TH, _RV = re.compile(r"[0-9a-f]{1,14}"), re.compile(r"[0-9a-f]{14}")
_ACCEPTED = (
    "uint8[n, 16], hexadecimal text (S32 arrays, Arrow, lists), 16 bytes each (Arrow, lists), "
    "or two uint64 columns, (high, low)"
)


def _randomness_twin(data: Any, at: Any) -> Any:
    text = data[int(at) : int(at) + HEX].tobytes()
    if not re.fullmatch(rb"[0-9a-fA-F]{32}", text):
        return _BAD
    return U64(int(text[-DIGITS:], 16))


@primitive(_randomness_twin)
def _randomness(typingctx: Any, data: Any, at: Any) -> Any:
    """Read the random bits of the id whose 32 digits are ``data[at:]``; more than 56 bits if it is none."""
    return types.uint64(data, types.uint64), _emit_randomness


def _emit_randomness(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    i8, i32, i64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
    whole = ir.VectorType(i8, HEX)

    def all_of(value: int) -> Any:
        return ir.Constant(whole, [value] * HEX)

    def digits(vector: Any, order: list[int]) -> Any:
        return builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(i32, len(order)), order))

    source = item_pointer(context, builder, signature.args[0], args[0], args[1], HEX)
    text = builder.load(builder.bitcast(source, whole.as_pointer()))
    text.align = 1
    digit = builder.sub(text, all_of(ord("0")))
    letter = builder.sub(builder.or_(text, all_of(0x20)), all_of(ord("a")))
    is_digit = builder.icmp_unsigned("<", digit, all_of(10))
    is_letter = builder.icmp_unsigned("<", letter, all_of(6))
    nibble = builder.select(is_digit, digit, builder.add(letter, all_of(10)))
    upper, lower = (digits(nibble, list(range(start, 15, -2))) for start in (30, 31))  # last byte first
    word = builder.or_(builder.shl(upper, ir.Constant(upper.type, [4] * 8)), lower)
    bits = builder.and_(builder.bitcast(word, i64), i64(MOST - 1))
    right = builder.bitcast(builder.or_(is_digit, is_letter), i32)
    return builder.select(builder.icmp_signed("==", right, i32(-1)), bits, i64(1 << 63))


@kernel
def _keep_words(words: Any, threshold: Any, swap: Any, out: Any) -> None:
    """Decide by the second of two words, the bytes of which are in the order of the id or of a number."""
    for i in range(U64(out.size)):
        word = words[_U2 * i + U1]
        out[i] = ((byteswap(word) if swap else word) & _MASK) >= threshold


@kernel
def _keep_low(low: Any, threshold: Any, out: Any) -> None:
    for i in range(U64(out.size)):
        out[i] = (low[i] & _MASK) >= threshold


@kernel
def _keep_texts(data: Any, threshold: Any, out: Any) -> Any:
    """Decide by texts of 32 digits in a row; tell whether one is no id."""
    wrong = U64(0)
    for i in range(U64(out.size)):
        bits = _randomness(data, i * _HEX)
        wrong |= bits
        out[i] = bits >= threshold
    return wrong >= _BAD


@kernel
def _keep_strings(data: Any, offsets: Any, threshold: Any, out: Any) -> Any:
    """Decide by texts wherever they are; tell whether one is no id."""
    wrong = U64(0)
    for i in range(U64(out.size)):
        start = offsets[i]
        bits = _BAD
        if offsets[i + U1] - start == HEX:
            bits = _randomness(data, U64(start))
        wrong |= bits
        out[i] = bits >= threshold
    return wrong >= _BAD


@Native
def _ask(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    key = key_alone(arguments, count, names)
    if kind_of(key) == TEXT and size_of(key) == _HEX:
        bits = _randomness(text_of(key), U64(0))
        if bits < _BAD:
            return as_bool(bits >= uint64s_of(me, _STATE)[0])
    return slowly(me, "_keep_one", arguments, count, names)


class TraceState(NamedTuple):
    """What OpenTelemetry's entry of a ``tracestate`` says of sampling: integers below 2^56, or ``None``."""

    threshold: int | None
    randomness: int | None


def _text(threshold: int) -> str:
    """Return a threshold as it travels: without trailing zeros."""
    return f"{threshold:014x}".rstrip("0") or "0"


def _rounded(probability: Fraction, precision: int) -> int:
    """Return the threshold of a probability below 1, to so many digits besides leading ``f``."""
    exact = MOST - math.floor(probability * MOST + Fraction(1, 2))
    _, exponent = math.frexp(probability)
    unit = 16 ** (DIGITS - min(DIGITS, precision + exponent // -4))
    return (exact + unit // 2) // unit * unit


def _members(header: str) -> tuple[list[str], list[str]]:
    """Split a ``tracestate`` into the pairs of OpenTelemetry's entry and the other entries."""
    entries = [entry for entry in (part.strip(" \t") for part in header.split(",")) if entry]
    ours = [entry[3:] for entry in entries if entry.startswith("ot=")]
    others = [entry for entry in entries if not entry.startswith("ot=")]
    return [pair for pair in ours[0].split(";") if pair] if ours else [], others


class ConsistentTraceSampler(Stored):
    """Keeps traces with a ``probability`` of 2^-56 to 1, the same ones wherever it runs.

    ``precision`` is how many hexadecimal digits of the threshold count (1..14; 14: all of (1 - p) 2^56), so
    that it is short where it travels. The probability that then holds, exactly, is ``probability``; its
    inverse is ``adjusted_count``, what a span that is kept stands for. Trace ids must be random in their
    last 7 bytes, as W3C Trace Context Level 2 has them, or come with an explicit ``rv``. O(1) a trace.

    >>> sampler = ConsistentTraceSampler(0.01)
    >>> sampler.th, round(sampler.adjusted_count)
    ('fd70a', 100)
    >>> sampler.keep("5b8efff798038103d2fc6c1ee1a2b9c4")
    False
    >>> sampler.keep_many(["5b8efff798038103d2fc6c1ee1a2b9c4", "5b8efff798038103d2ffb1c4a0f2e971"]).tolist()
    [False, True]
    >>> sampler.mark("ot=rv:ff6d1a75832a2f,other=1")
    'ot=rv:ff6d1a75832a2f;th:fd70a,other=1'
    """

    __slots__ = ("_state",)

    def __init__(self, probability: float | Fraction, *, precision: int = DEFAULT_PRECISION) -> None:
        if isinstance(probability, bool) or not isinstance(probability, (int, float, Fraction, np.floating)):
            raise TypeError(f"probability must be a number, not {type(probability).__name__}")
        if not Fraction(1, MOST) <= probability <= 1:  # NaN too
            raise ValueError(
                f"probability={probability} is outside 2**-56..1; 0 is no sampling: keep nothing"
            )
        precision = integer("precision", precision)
        if not 1 <= precision <= DIGITS:
            raise ValueError(f"precision={precision} is outside 1..{DIGITS} hexadecimal digits")
        exact = Fraction(probability)
        self._hold(0 if exact == 1 else _rounded(exact, precision))

    def _hold(self, threshold: int) -> None:
        self._state = np.array([threshold], np.uint64)

    @classmethod
    def from_th(cls, th: str) -> Self:
        """Make the sampler whose threshold is ``th``, 1 to 14 lowercase hexadecimal digits."""
        if not isinstance(th, str) or not _TH.fullmatch(th):
            raise ValueError(f"th={th!r} is not 1 to 14 lowercase hexadecimal digits")
        self = cls.__new__(cls)
        self._hold(int(th.ljust(DIGITS, "0"), 16))
        return self

    @property
    def threshold(self) -> int:
        """T, how many of 2^56 traces are rejected."""
        return int(self._state[0])

    @property
    def th(self) -> str:
        """The threshold as it travels in a ``tracestate``."""
        return _text(self.threshold)

    @property
    def probability(self) -> float:
        """The chance of a trace to be kept: (2^56 - T) / 2^56."""
        return (MOST - self.threshold) / MOST

    @property
    def adjusted_count(self) -> float:
        """How many traces one that is kept stands for."""
        return MOST / (MOST - self.threshold)

    def _keep_one(self, trace_id: str | bytes | int, tracestate: str = "") -> bool:
        """Tell whether a trace is kept.

        ``trace_id`` is 32 hexadecimal digits, 16 bytes or an int; an ``rv`` in its ``tracestate`` goes
        before it. Raises ``ValueError`` for what is no id.
        """
        if isinstance(trace_id, int) and not isinstance(trace_id, bool):
            if not 0 <= trace_id < 1 << 128:
                raise ValueError(f"trace id {trace_id} is outside 0 <= id < 2**128")
            bits = trace_id & (MOST - 1)
        elif isinstance(trace_id, bytes) and len(trace_id) == BINARY:
            bits = int.from_bytes(trace_id[-BITS // 8 :], "big")
        elif isinstance(trace_id, (str, bytes)):
            return self._keep_text(trace_id, tracestate)
        else:
            raise TypeError(f"a trace id is text, bytes or an int, not a {type(trace_id).__name__}")
        explicit = self.read(tracestate).randomness
        return (bits if explicit is None else explicit) >= self.threshold

    keep = Method(_ask, "_keep_one")

    def _keep_text(self, trace_id: str | bytes, tracestate: str) -> bool:
        text = trace_id.encode("utf-8", "replace") if isinstance(trace_id, str) else trace_id
        if not re.fullmatch(rb"[0-9a-fA-F]{32}", text):
            raise ValueError(f"trace id {trace_id!r} is not 32 hexadecimal digits")
        return self._keep_one(bytes.fromhex(text.decode()), tracestate)

    def keep_many(self, trace_ids: Any, rv: Any = None) -> NDArray[np.bool_]:
        """Tell which traces are kept: bool[n].

        ``trace_ids`` are ``uint8[n, 16]``, hexadecimal text (``S32`` arrays, Arrow, lists of ``str``), 16
        bytes each (Arrow, lists), or two ``uint64`` columns, ``(high, low)`` or ``uint64[n, 2]``. Nulls are
        not kept. ``rv`` has an explicit value for each: ``uint64[n]``, or text with a null where there is
        none. O(n), below a nanosecond each. Raises ``ValueError`` for what is no id, and says where.
        """
        kept = self._decided(trace_ids)
        if rv is not None:
            _override(kept, rv, self.threshold)
        return kept

    def _decided(self, ids: Any) -> Any:
        threshold = self._state[0]
        if isinstance(ids, tuple) and len(ids) == 2 and all(isinstance(one, np.ndarray) for one in ids):
            high, low = (_word_column(column) for column in ids)
            if len(high) != len(low):
                raise ValueError(f"columns of {len(high)} and {len(low)} words are no ids")
            out = np.empty(len(low), np.bool_)
            _keep_low(low, threshold, out)
            return out
        if isinstance(ids, np.ndarray):
            return self._of_array(ids)
        if speaks_arrow(ids):
            ids = as_arrow(ids)
            binary = "binary" in str(getattr(ids.type, "value_type", ids.type))
        else:
            some = ids if isinstance(ids, (list, tuple)) else ()
            binary = isinstance(next((one for one in some if one is not None), None), bytes)
        made, base = [np.empty(0, np.bool_)], 0
        for part in pieces(ids):
            made.append(self._of_piece(part, binary, base))
            base += len(part)
        return np.concatenate(made)

    def _of_array(self, ids: Any) -> Any:
        out, threshold = np.empty(len(ids) if ids.ndim else 0, np.bool_), self._state[0]
        plain = np.ascontiguousarray(ids)
        if ids.dtype == np.uint64 and ids.ndim == 2 and ids.shape[1] == 2:
            _keep_words(plain.reshape(-1), threshold, False, out)
        elif (ids.dtype == np.uint8 and ids.ndim == 2 and ids.shape[1] == BINARY) or (
            ids.dtype.kind in "SV" and ids.dtype.itemsize == BINARY and ids.ndim == 1
        ):
            _keep_words(_as_words(plain.view(np.uint8)), threshold, True, out)
        elif ids.dtype.kind in "SU" and ids.ndim == 1:
            given = plain.astype("S") if ids.dtype.kind == "U" else plain
            fits = given.dtype.itemsize == HEX
            text = given if fits else given.astype(f"S{HEX}")
            if not (fits or (text == given).all()) or _keep_texts(text.view(np.uint8), threshold, out):
                raise ValueError(_first_wrong(given.tolist()))
        else:
            raise TypeError(f"trace ids cannot be {ids.dtype}{list(ids.shape)}; they can be {_ACCEPTED}")
        return out

    def _of_piece(self, part: Any, binary: bool, base: int) -> Any:
        if isinstance(part, Dictionary):
            found = self._of_piece(part.values, binary, base)[part.indices]
        elif isinstance(part, Text):
            found = self._of_text(part, binary, base)
        elif len(part) and (part.valid is None or part.valid.any()):
            raise TypeError(f"trace ids cannot be numbers of 64 bits; they can be {_ACCEPTED}")
        else:
            return np.zeros(len(part), np.bool_)
        return found if part.valid is None else found & part.valid

    def _of_text(self, part: Text, binary: bool, base: int) -> Any:
        if part.valid is not None:  # what is behind a null is anything
            return self._of_valid(part, binary, base)
        out, offsets = np.empty(len(part), np.bool_), part.offsets
        if binary:
            lengths = np.diff(offsets)
            if (lengths != BINARY).any():
                at = int(np.argmax(lengths != BINARY))
                raise ValueError(
                    f"the trace id at position {base + at} has {lengths[at]} bytes, not {BINARY}"
                )
            _keep_words(_as_words(part.data[offsets[0] : offsets[-1]]), self._state[0], True, out)
        elif _keep_strings(part.data, offsets, self._state[0], out):
            texts = [bytes(part.data[lo:hi]) for lo, hi in pairwise(offsets)]
            raise ValueError(_first_wrong(texts, base))
        return out

    def _of_valid(self, part: Text, binary: bool, base: int) -> Any:
        """Decide one by one of a piece with nulls."""
        size, out = (BINARY if binary else HEX), np.zeros(len(part), np.bool_)
        for at in np.flatnonzero(part.valid).tolist():
            one = bytes(part.data[part.offsets[at] : part.offsets[at + 1]])
            if len(one) != size:
                raise ValueError(f"the trace id at position {base + at} is {one!r}, not {size} characters")
            out[at] = self._keep_one(one)
        return out

    @staticmethod
    def read(tracestate: str) -> TraceState:
        """Read the threshold and the explicit randomness of a ``tracestate``; what is malformed is not there.

        >>> ConsistentTraceSampler.read("ot=th:c;rv:6e6d1a75832a2f") == (0xC0000000000000, 0x6E6D1A75832A2F)
        True
        """
        pairs = dict(pair.split(":", 1) for pair in _members(tracestate)[0] if ":" in pair)
        th, rv = _TH.fullmatch(pairs.get("th", "")), _RV.fullmatch(pairs.get("rv", ""))
        return TraceState(int(th[0].ljust(DIGITS, "0"), 16) if th else None, int(rv[0], 16) if rv else None)

    def mark(self, tracestate: str, *, downstream: bool = False) -> str:
        """Return the ``tracestate`` of a span that is kept: with this ``th``, and moved to the front.

        ``downstream`` is for spans that were sampled before: a higher threshold of theirs stays, since a
        later sampler cannot make them any less rare. Raises ``ValueError`` where the entry has no room.
        """
        pairs, others = _members(tracestate)
        threshold = self.threshold
        if downstream:
            threshold = max(threshold, self.read(tracestate).threshold or 0)
        kept = [pair for pair in pairs if not pair.startswith("th:")]
        value = ";".join([*kept, f"th:{_text(threshold)}"])
        if len(value) > MAX_VALUE:
            raise ValueError(f"the entry ot would have {len(value)} characters, of {MAX_VALUE} it may have")
        return ",".join([f"ot={value}", *others[: MAX_MEMBERS - 1]])

    @property
    def nbytes(self) -> int:
        """The size of the state in memory, in bytes."""
        return int(self._state.nbytes)

    def _parameters(self) -> dict[str, Any]:
        return {"threshold": self.threshold}

    def _payload(self) -> Any:
        return self._state[:0]

    @classmethod
    def _restore(cls, parameters: Parameters, payload: memoryview) -> Self:
        if payload:
            raise CorruptDataError(f"a threshold has no payload, not {len(payload)} bytes of it")
        self = cls.__new__(cls)
        self._hold(parameters.integer("threshold", 0, MOST - 1))
        return self


def _as_words(data: Any) -> Any:
    """View bytes as words; copied where words cannot begin there."""
    flat = data.reshape(-1)
    return (flat.copy() if flat.ctypes.data % 8 else flat).view(np.uint64)


def _word_column(column: Any) -> Any:
    if column.dtype not in {np.dtype(np.uint64), np.dtype(np.int64)} or column.ndim != 1:
        raise TypeError(f"a column of ids is uint64[n], not {column.dtype}{list(column.shape)}")
    return np.ascontiguousarray(column).view(np.uint64)


def _first_wrong(texts: Sequence[bytes], base: int = 0) -> str:
    """Say which text is no id."""
    at = next(i for i, text in enumerate(texts) if not re.fullmatch(rb"[0-9a-fA-F]{32}", text))
    return f"the trace id at position {base + at} is {texts[at][:40]!r}, not {HEX} hexadecimal digits"


def _override(kept: Any, rv: Any, threshold: int) -> None:
    """Decide anew by the explicit randomness that there is."""
    if isinstance(rv, np.ndarray) and rv.dtype == np.uint64 and rv.shape == kept.shape:
        if rv.size and int(rv.max()) >= MOST:
            raise ValueError(f"rv has {rv.max()} at position {int(rv.argmax())}, not below 2**56")
        kept[:] = rv >= U64(threshold)
        return
    texts = as_arrow(rv).to_pylist() if speaks_arrow(rv) else list(rv)
    if len(texts) != len(kept):
        raise ValueError(f"{len(kept)} trace ids and {len(texts)} values of rv; give one for each, or None")
    for at, text in enumerate(texts):
        if text is None:
            continue
        if not isinstance(text, str) or not _RV.fullmatch(text):
            raise ValueError(f"rv has {text!r} at position {at}, not 14 lowercase hexadecimal digits")
        kept[at] = int(text, 16) >= threshold


_STATE = place(ConsistentTraceSampler, "_state")
