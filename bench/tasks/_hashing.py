"""Who races in a task of the hash functions, and what each is handed."""

from __future__ import annotations

from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
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
from bench.workloads import texts
from bench.workloads.keys import snowflakes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.peers.hashing import Form, Kind

SCALARS = 2**16
SAMPLE = 64
BUFFERS_BYTES = 64 << 20
FORMS: dict[str, Form] = {"numpy": "ndarray", "arrow": "arrow"}
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

    def __init__(self, task: Task, seed: int) -> None:
        self.n = task.n
        self.kind: Kind = "int" if task.workload == "ids" else "text"
        self._forms: dict[Form, Any] = {}
        if self.kind == "int":
            self._forms["ndarray"] = snowflakes(task.n, seed, 0)
        else:
            vary, length = task.workload.startswith("varied"), int(task.workload.lstrip("fixedvar"))
            self._forms["arrow"] = texts.texts(task.n, length, seed, vary=vary)

    def form(self, form: Form) -> Any:
        """Return all keys in a form."""
        if form not in self._forms:
            self._forms[form] = MAKERS[self.kind, form](self)
        return self._forms[form]

    def slices(self, form: Form, limit: int) -> list[Slice]:
        """Cut the keys into slices of ``limit``."""
        keys = self.form(form)
        parts = (keys[lo : lo + limit] for lo in range(0, self.n, limit))
        return [Slice(len(part), part, lo) for part, lo in zip(parts, range(0, self.n, limit), strict=True)]

    @cached_property
    def nbytes(self) -> int:
        """The size of the keys as arrays."""
        return int(self.form("ndarray" if self.kind == "int" else "arrow").nbytes)

    def enter(self, others: Sequence[type[Entry]]) -> Iterator[Entry | Contestant]:
        """Yield every entry, and a row for each package that is not installed."""
        for other in others:
            if self.kind in other.kinds:
                try:
                    yield other(self.kind)
                except ImportError as error:
                    missing = f"{error}; pip install {other.package}"
                    yield _row(other, lambda _, keys: keys, lambda _: [], missing=missing)


def _polars(keys: Keys) -> Any:
    import polars as pl

    return pl.from_arrow(keys.form("arrow"))


MAKERS: dict[tuple[Kind, Form], Callable[[Keys], Any]] = {
    ("int", "arrow"): lambda keys: pa.array(keys.form("ndarray")),
    ("int", "list"): lambda keys: keys.form("ndarray").tolist(),
    ("int", "bytes"): lambda keys: [word.tobytes() for word in keys.form("ndarray")],
    ("int", "polars"): _polars,
    ("text", "list"): lambda keys: keys.form("arrow").to_pylist(),
    ("text", "bytes"): lambda keys: keys.form("arrow").cast(pa.binary()).to_pylist(),
    ("text", "objects"): lambda keys: np.array(keys.form("list"), object),
    ("text", "polars"): _polars,
}
CONVERSIONS: dict[tuple[Kind, Form, Form], Callable[[Any], Any]] = {
    ("int", "ndarray", "arrow"): pa.array,
    ("int", "ndarray", "list"): lambda keys: keys.tolist(),
    ("int", "ndarray", "bytes"): lambda keys: [word.tobytes() for word in keys],
    ("text", "arrow", "bytes"): lambda keys: keys.cast(pa.binary()).to_pylist(),
    ("text", "arrow", "list"): lambda keys: keys.to_pylist(),
    ("text", "arrow", "objects"): lambda keys: keys.to_numpy(zero_copy_only=False),
}


def _row(entry: Entry | type[Entry], call: Any, slices: Any, **more: Any) -> Contestant:
    return Contestant(entry.name, entry.role, call, slices, package=entry.package, **more)


def ours(kind: Kind, anchor: str) -> list[Ours]:
    """Return every algorithm that hashes such keys, the anchor and its control first."""
    entries = [entry for entry in (Ours(v, kind) for v in variants("hashing")) if kind in entry.kinds]
    first = next(entry for entry in entries if entry.name == anchor)
    return [first, first.control(), *(entry for entry in entries if entry is not first)]


# ---------------------------------------------------------------------------------------------------
# Operations


def _hash(task: Task, seed: int) -> Iterator[Contestant]:
    """Hash a batch; ``input`` is everyone's favourite, or the one form that all start from."""
    keys = Keys(task, seed)
    yield limits.copy_limit(max(keys.nbytes, 8 * keys.n), keys.n)
    for entry in (*ours(keys.kind, task.anchor), *keys.enter(PEERS)):
        if isinstance(entry, Contestant):
            yield entry
            continue
        form = FORMS.get(task.params["input"], entry.form)
        yield _row(
            entry,
            _converted(entry, keys.kind, form),
            partial(keys.slices, form),
            check=partial(agrees, entry, keys),
            quality=partial(measure, entry) if isinstance(entry, Ours) and keys.kind == "int" else None,
            input=form,
        )
    yield Contestant("null", "null", _nothing, partial(keys.slices, ours(keys.kind, task.anchor)[0].form))


def _converted(entry: Entry, kind: Kind, form: Form) -> Callable[[Any, Any], Any]:
    """Return a batch hash that starts from ``form``, converting inside the clock where it must."""
    if form == entry.form or form in entry.takes:
        return lambda _, keys: entry.many(keys)
    if entry.form == "polars":
        import polars as pl

        return lambda _, keys: entry.many(pl.Series(values=keys))
    convert = CONVERSIONS[kind, form, entry.form]
    return lambda _, keys: entry.many(convert(keys))


def _hash_one(task: Task, seed: int) -> Iterator[Contestant]:
    """Hash one key a call, in the same Python loop for everyone."""
    keys = Keys(Task(task.family, task.op, task.workload, SCALARS), seed)
    for entry in (*ours(keys.kind, task.anchor), *keys.enter((*ONE_A_CALL, Python))):
        if isinstance(entry, Contestant):
            yield entry
            continue
        form: Form = "list" if isinstance(entry, Ours) else entry.form
        yield _row(
            entry,
            partial(_each, entry.one),
            partial(keys.slices, form),
            check=partial(agrees, entry, keys),
            input=form,
        )
    yield Contestant("null", "null", _nothing, partial(keys.slices, "list"))


def _each(one: Callable[[Any], int], _state: Any, keys: Any) -> list[int]:
    return [one(key) for key in keys]


def _digest(task: Task, seed: int) -> Iterator[Contestant]:
    """Hash one long buffer a call; buffers together are larger than the caches, but for the smallest task."""
    count = max(2, min(1024, BUFFERS_BYTES // task.n))
    data = [row.tobytes() for row in texts.buffers(task.n, count, seed)]
    slices = [Slice(task.n, buffer, number) for number, buffer in enumerate(data)]
    yield limits.copy_limit(task.n, task.n)
    keys = Keys(Task(task.family, task.op, "fixed8", 1), seed)
    for entry in (*ours("text", task.anchor), *keys.enter(ONE_A_CALL)):
        if isinstance(entry, Contestant):
            yield entry
            continue
        yield _row(
            entry,
            partial(_once, entry.one),
            lambda _: slices,
            check=partial(same_digest, entry),
            input="bytes",
        )
    yield Contestant("null", "null", _nothing, lambda _: slices)


def _once(one: Callable[[Any], Any], _state: Any, buffer: bytes) -> Any:
    return one(buffer)


def _first_call(_task: Task, _seed: int) -> Iterator[Contestant]:
    """Hand over the source of a program that times its own first hash."""
    for variant in variants("hashing"):
        source = FIRST_CALL.format(name=variant.name)
        yield Contestant(variant.name, "ours", _nothing, partial(_program, source))


def _program(source: str, _limit: int) -> list[Slice]:
    return [Slice(1, source)]


def _nothing(_state: Any, _payload: Any) -> None:
    """Do nothing: what a call costs by itself."""


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
