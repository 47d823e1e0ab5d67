"""Streams of keys in which keys come again: each so many times, or by Zipf's law; and the truth about them.

Integers are ids that systems make, texts those ids in base32 (``text12``) or random ones of one length or of
many (``fixed30``, ``varied20``), and everything is a pure function of name, sizes and seed. Streams are in no
order: sorted ones flatter whoever sorts, and come from no system whose keys repeat.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from bench.schema import Slice
from bench.workloads import keys, texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.workloads.keys import Kind

Form = Literal["ndarray", "arrow", "list", "bytes", "text", "polars", "pandas"]

ZIPF, UNIVERSE = 1.1, 1_000_000
"""The exponent of Zipf's law, and how many keys there are to draw from."""


class Stream:
    """Keys of a stream in every form, made once and on demand; ``index`` says which key each of them is."""

    def __init__(self, distinct: Any, index: Any) -> None:
        self.distinct, self.index = distinct, index
        self.kind: Kind = "int" if isinstance(distinct, np.ndarray) else "text"
        self.base: Form = "ndarray" if self.kind == "int" else "arrow"
        self._forms: dict[Form, Any] = {self.base: distinct.take(index)}

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def counts(self) -> Any:
        """How often each of the distinct keys comes, ``int64[distinct]``."""
        return np.bincount(self.index, minlength=len(self.distinct))

    def form(self, form: Form) -> Any:
        """Return all keys in a form."""
        if form not in self._forms:
            self._forms[form] = CONVERSIONS[self.kind, form](self._forms[self.base])
        return self._forms[form]

    def slices(self, form: Form, limit: int) -> list[Slice]:
        """Cut the stream into slices of ``limit``; the truth about each is which keys it holds."""
        found, cuts = self.form(form), range(0, len(self), limit)
        parts = [(found[lo : lo + limit], self.index[lo : lo + limit]) for lo in cuts]
        return [Slice(len(index), part, index) for part, index in parts]

    def whole(self, form: Form) -> list[Slice]:
        """Hand over the whole stream at once."""
        return [Slice(len(self), self.form(form), self.index)]

    def once(self) -> Stream:
        """Return every key that comes, once, in no order."""
        there = np.flatnonzero(self.counts)
        return Stream(self.distinct, np.random.default_rng(len(there)).permutation(there))


def _polars(column: Any) -> Any:
    import polars as pl

    return pl.Series("k", column)


def _pandas(column: Any) -> Any:
    import pandas as pd

    return pd.Series(column)


CONVERSIONS: dict[tuple[Kind, Form], Callable[[Any], Any]] = {
    ("int", "arrow"): pa.array,
    ("int", "list"): lambda column: column.tolist(),
    ("int", "bytes"): lambda column: [word.tobytes() for word in column],
    ("int", "text"): lambda column: list(map(str, column.tolist())),
    ("int", "polars"): _polars,
    ("int", "pandas"): _pandas,
    ("text", "list"): lambda column: column.to_pylist(),
    ("text", "bytes"): lambda column: column.cast(pa.binary()).to_pylist(),
    ("text", "text"): lambda column: column.to_pylist(),
    ("text", "polars"): _polars,
}
"""From an array of ints, or an Arrow array of texts, to what others like."""


def distinct(name: str, n: int, seed: int) -> Any:
    """Make ``n`` distinct keys: ``int64[n]``, or an Arrow array of texts."""
    if match := re.fullmatch(r"(fixed|varied)(\d+)", name):
        return texts.texts(n, int(match[2]), seed, vary=match[1] == "varied")
    members = keys.workload(name, n, seed).members
    return members.form("ndarray" if members.kind == "int" else "arrow")


@lru_cache(maxsize=2)
def repeated(name: str, n: int, copies: int, seed: int) -> Stream:
    """Make a stream of ``n`` keys in which each comes ``copies`` times, in no order."""
    index = np.random.default_rng(seed).permutation(n) % (n // copies)
    return Stream(distinct(name, n // copies, seed), index)


@lru_cache(maxsize=2)
def zipf(name: str, n: int, seed: int) -> Stream:
    """Draw a stream of ``n`` keys by Zipf's law; which key is how frequent is in no relation to its value."""
    rng = np.random.default_rng(seed)
    shares = np.arange(1, UNIVERSE + 1) ** -ZIPF
    # How often each comes is drawn first: the same as drawing key by key, in a tenth of the time.
    index = np.repeat(rng.permutation(UNIVERSE), rng.multinomial(n, shares / shares.sum()))
    rng.shuffle(index)
    return Stream(distinct(name, UNIVERSE, seed), index)
