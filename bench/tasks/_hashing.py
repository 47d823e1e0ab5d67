"""Who races in a task of the hash functions, and what each is handed."""

from __future__ import annotations

import re
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from algos.catalog import variants
from bench import limits
from bench.peers.hashing import (
    ONE_A_CALL,
    PEERS,
    Crc32c,
    Entry,
    Mmh3Short,
    Ours,
    Python,
    Siphash24,
    Xxhash3,
    Xxhash64,
)
from bench.schema import Contestant, Gate, Slice, Task
from bench.tasks._hash_quality import measure
from bench.tasks._rows import absent, null, program
from bench.workloads import texts
from bench.workloads.keys import snowflakes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.peers.hashing import Form, Kind

    Call = Callable[[Any, Any], Any]

SCALARS = 2**16
SAMPLE = 64
BUFFERS_BYTES = 64 << 20
FIRST_CALL = """\
from time import perf_counter_ns

import numpy as np

from algos.hashing import hash64

keys = np.arange(1000, dtype=np.int64)
start = perf_counter_ns()
hash64(keys, {name!r})
print(perf_counter_ns() - start)
"""


def contestants(task: Task, seed: int) -> list[Contestant]:
    """Make the data of a task from a seed and return everyone who races on it."""
    return list(OPERATIONS[task.op](task, seed))


class Keys:
    """Keys in every form; each is made once, on demand, and cut into views."""

    def __init__(self, workload: str, n: int, seed: int) -> None:
        self.n = n
        self.kind: Kind = "int" if workload == "ids" else "text"
        self.base: Form = "ndarray" if self.kind == "int" else "arrow"
        if self.kind == "int":
            made: Any = snowflakes(n, seed, 0)
        else:
            lengths, length = re.fullmatch(r"(fixed|varied)(\d+)", workload).groups()  # type: ignore[union-attr]
            made = texts.texts(n, int(length), seed, vary=lengths == "varied")
        self._forms: dict[Form, Any] = {self.base: made}

    def form(self, form: Form) -> Any:
        """Return all keys in a form."""
        if form not in self._forms:
            self._forms[form] = CONVERSIONS[self.kind, form](self._forms[self.base])
        return self._forms[form]

    def slices(self, form: Form, limit: int) -> list[Slice]:
        """Cut the keys into slices of ``limit``; the truth about each is where it starts."""
        keys, starts = self.form(form), range(0, self.n, limit)
        return [Slice(min(limit, self.n - lo), keys[lo : lo + limit], lo) for lo in starts]


def _polars(keys: Any) -> Any:
    import polars as pl

    return pl.Series(values=keys)


CONVERSIONS: dict[tuple[Kind, Form], Callable[[Any], Any]] = {
    ("int", "arrow"): pa.array,
    ("int", "list"): lambda keys: keys.tolist(),
    ("int", "bytes"): lambda keys: [word.tobytes() for word in keys],
    ("int", "polars"): _polars,
    ("int", "table"): lambda keys: pa.table({"k": keys}),
    ("text", "list"): lambda keys: keys.to_pylist(),
    ("text", "bytes"): lambda keys: keys.cast(pa.binary()).to_pylist(),
    ("text", "objects"): lambda keys: keys.to_numpy(zero_copy_only=False),
    ("text", "polars"): _polars,
    ("text", "table"): lambda keys: pa.table({"k": keys}),
}
"""From an array of ints, or an Arrow array of texts, to what others like."""


def ours(kind: Kind, anchor: str) -> list[Ours]:
    """Return every algorithm that hashes such keys, the anchor and its control first."""
    entries = [Ours(variant, kind) for variant in variants("hashing")]
    entries = [entry for entry in entries if kind == "int" or entry.algorithm.text]
    first = next(entry for entry in entries if entry.name == anchor)
    return [first, first.control(), *(entry for entry in entries if entry is not first)]


def entered(kind: Kind, anchor: str, others: Sequence[type[Entry]]) -> tuple[list[Entry], list[Contestant]]:
    """Return who hashes such keys, and rows for the packages that are not installed."""
    entries: list[Entry] = [*ours(kind, anchor)]
    missing: list[Contestant] = []
    for other in others:
        try:
            entries.append(other(kind))
        except ImportError as error:
            missing.append(absent(other.name, other.role, other.package, error))
    return entries, missing


def row(entry: Entry, call: Call, slices: Any, check: Any, form: Form, **more: Any) -> Contestant:
    """Describe an entry."""
    more |= {"check": check, "package": entry.package, "input": form}
    return Contestant(entry.name, entry.role, call, slices, **more)


# ---------------------------------------------------------------------------------------------------
# Operations


def _hash(task: Task, seed: int) -> Iterator[Contestant]:
    """Hash a batch; ``input`` is everyone's favourite, or the one form that all start from."""
    keys = Keys(task.workload, task.n, seed)
    yield limits.copy_limit(max(keys.form(keys.base).nbytes, 8 * keys.n), keys.n)
    entries, missing = entered(keys.kind, task.anchor, PEERS)
    for entry in entries:
        form = keys.base if task.params["input"] != "favourite" else entry.form
        measured = partial(measure, entry) if isinstance(entry, Ours) and keys.kind == "int" else None
        call, check = _converted(entry, keys.kind, form), partial(agrees, entry, keys)
        yield row(entry, call, partial(keys.slices, form), check, form, quality=measured)
    yield from missing
    yield null(partial(keys.slices, keys.base))


def _converted(entry: Entry, kind: Kind, form: Form) -> Call:
    """Return a batch hash that starts from ``form``, converting inside the clock where it must."""
    if form == entry.form or form in entry.takes:
        return lambda _, keys: entry.many(keys)
    convert = CONVERSIONS[kind, entry.form]
    return lambda _, keys: entry.many(convert(keys))


def _hash_one(task: Task, seed: int) -> Iterator[Contestant]:
    """Hash one key a call, in the same Python loop for everyone."""
    keys = Keys(task.workload, SCALARS, seed)
    entries, missing = entered(keys.kind, task.anchor, (*ONE_A_CALL, Python))
    for entry in entries:
        form: Form = "list" if isinstance(entry, Ours) else entry.form
        check = partial(agrees, entry, keys)
        yield row(entry, partial(_each, entry.one), partial(keys.slices, form), check, form)
    yield from missing
    yield null(partial(keys.slices, "list"))


def _each(one: Callable[[Any], int], _state: Any, keys: Any) -> list[int]:
    return [one(key) for key in keys]


def _digest(task: Task, seed: int) -> Iterator[Contestant]:
    """Hash one long buffer a call; buffers together are larger than the caches, but for the smallest task."""
    count = max(2, min(1024, BUFFERS_BYTES // task.n))
    slices = [Slice(task.n, buffer) for buffer in texts.buffers(task.n, count, seed)]
    yield limits.copy_limit(task.n, task.n)
    entries, missing = entered("text", task.anchor, ONE_A_CALL)
    for entry in entries:
        call = partial(_once, entry.one)
        yield row(entry, call, lambda _: slices, partial(same_digest, entry), "bytes")
    yield from missing
    yield null(lambda _: slices)


def _once(one: Callable[[Any], Any], _state: Any, buffer: bytes) -> Any:
    return one(buffer)


def _first_call(_task: Task, _seed: int) -> Iterator[Contestant]:
    """Hand over the source of a program that times its own first hash."""
    for variant in variants("hashing"):
        yield program(variant.name, FIRST_CALL.format(name=variant.name))


OPERATIONS: dict[str, Callable[[Task, int], Iterator[Contestant]]] = {
    "hash": _hash,
    "hash_one": _hash_one,
    "digest": _digest,
    "first_call": _first_call,
}


# ---------------------------------------------------------------------------------------------------
# The gate


REFERENCES = {
    "xxh3": Xxhash3,
    "xxh64": Xxhash64,
    "murmur3_32": Mmh3Short,
    "crc32c": Crc32c,
    "siphash24": Siphash24,
}
"""The packages whose digests ours must equal; a variant without one is tested elsewhere."""


@cache
def reference(name: str) -> Callable[[bytes], int] | None:
    """Return what another's library makes of a key, if there is one and it is installed."""
    try:
        entry = REFERENCES[name]("text")
    except (KeyError, ImportError):
        return None
    one = entry.one
    return lambda key: one(key) % 2**64  # siphash24 has signed digests


def agrees(entry: Entry, keys: Keys, answer: Any, part: Slice) -> Gate:
    """Pass a batch whose first keys hash as by the reference, or else at least to different hashes."""
    count = min(SAMPLE, part.items)
    sample = keys.form("bytes")[part.truth : part.truth + count]
    if len(answer) != part.items:
        return Gate(ok=False, detail=f"{len(answer)} hashes of {part.items} keys")
    return _same(entry, sample, list(answer[:count]))


def same_digest(entry: Entry, answer: Any, part: Slice) -> Gate:
    """Pass a buffer's digest that is the reference's."""
    return _same(entry, [part.payload], [answer])


def _same(entry: Entry, sample: list[bytes], found: list[Any]) -> Gate:
    known = reference(entry.name.removesuffix(" (control)")) if isinstance(entry, Ours) else None
    wanted = [known(key) for key in sample] if known else found
    for key, want, got in zip(sample, wanted, found, strict=True):
        if want != got:
            return Gate(ok=False, detail=f"{key[:32]!r} hashed to {got:#x}, not {want:#x}")
    different = len(set(sample)) - len(set(found))
    return Gate(ok=not different, detail=f"{different} of {len(sample)} keys share a hash" * bool(different))
