"""Who races in a task of the distinct counts, and what each is handed."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.catalog import variants
from bench import limits
from bench.peers.cardinality import (
    DUCKDB_ERROR,
    ENGINES,
    ERROR,
    ERROR_IN_GROUPS,
    EXACT,
    GROUPED,
    KEPT,
    NATIVE,
    POLARS_STREAMING_ERROR,
    Entry,
    Kept,
    Ours,
)
from bench.schema import Contestant, Gate, Slice, Task
from bench.tasks._cardinality_quality import measure
from bench.tasks._rows import absent, null, program
from bench.workloads import streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Call = Callable[[Any, Any], Any]
    Slices = Callable[[int], Sequence[Slice]]

SIGMAS = 5.0
"""So many standard errors from the truth a count is wrong: chance alone does that once in 1.7 million."""
SCALARS = 2**16
NEAR = 2**15
"""Keys whose hashes stay in the cache."""
FIRST_CALL = """\
from time import perf_counter_ns

import numpy as np

from algos.catalog import variants
from bench.peers.cardinality import Ours

(variant,) = [variant for variant in variants("cardinality") if variant.name == {name!r}]
keys = np.arange(1000, dtype=np.int64)
start = perf_counter_ns()
Ours(variant, "int").count(keys)
print(perf_counter_ns() - start)
"""


def contestants(task: Task, seed: int) -> list[Contestant]:
    """Make the data of a task from a seed and return everyone who races on it."""
    return list(OPERATIONS[task.op](task, seed))


class Field:
    """The stream of a task and who is entered in it; one not installed stays as a row that says so."""

    def __init__(self, task: Task, seed: int, others: Sequence[type[Entry]], error: float = ERROR) -> None:
        self.stream = streams.repeated(task.workload, task.n, task.params.get("copies", 1), seed)
        self.keys = len(self.stream.distinct)
        kind = self.stream.kind
        ours = [Ours(variant, kind, error) for variant in variants("cardinality")]
        self.anchor = next(entry for entry in ours if entry.name == task.anchor)
        rest = [entry for entry in ours if entry is not self.anchor]
        self.entries: list[Any] = [self.anchor, self.anchor.control(), *rest]
        self.absent: list[Contestant] = []
        for other in others:
            if other.least <= task.n <= other.reach and kind in other.kinds:
                self._enter(other)

    def _enter(self, other: type[Entry]) -> None:
        try:
            self.entries.append(other(self.stream.kind))
        except ImportError as error:
            self.absent.append(absent(other.name, other.role, other.package, error))

    @cached_property
    def state_bytes(self) -> int:
        """The size of the anchor, with all keys, which is that of the yardsticks."""
        return self.anchor.nbytes(self.filled(self.anchor))

    def filled(self, entry: Kept, _seed: int = 0) -> Any:
        """Make a counter that has all keys of the stream."""
        state = entry.make(self.keys)
        entry.add(state, self.stream.form(entry.form))
        return state

    def halves(self, entry: Any, _seed: int = 0) -> tuple[Any, Any]:
        """Make two counters, each with half of the keys; the first as what others are merged into."""
        keys, middle = self.stream.form(entry.form), len(self.stream) // 2
        pair = entry.make(self.keys), entry.make(self.keys)
        entry.add(pair[0], keys[:middle])
        entry.add(pair[1], keys[middle:])
        return (entry.into(pair[0]) if hasattr(entry, "into") else pair[0]), pair[1]

    def contestant(self, entry: Entry, call: Call, slices: Slices, **more: Any) -> Contestant:
        """Describe an entry."""
        common = {"package": entry.package, "input": entry.form}
        return Contestant(entry.name, entry.role, call, slices, **common | more)

    def kept(self, entry: Any) -> dict[str, Any]:
        """Describe the state of a counter that goes on."""
        return {"setup": partial(self.filled, entry), "nbytes": entry.nbytes}

    def rest(self, slices: Slices) -> Iterator[Contestant]:
        """Return the rows of those not installed, and the empty call."""
        yield from self.absent
        yield null(slices)


def alone(payload: Any = None) -> Slices:
    """Count one thing as the work of a call."""
    part = Slice(1, payload)
    return lambda _: [part]


# ---------------------------------------------------------------------------------------------------
# Operations


def _count(task: Task, seed: int) -> Iterator[Contestant]:
    """Count a batch, from an empty counter to the count."""
    field = Field(task, seed, (*KEPT, *ENGINES, *EXACT))
    yield limits.hash_limit(partial(_near, field))
    more = [field.anchor.coarser(error) for error in (POLARS_STREAMING_ERROR, DUCKDB_ERROR)]
    more += [field.anchor.in_threads()] if task.n >= NATIVE else []
    for entry in (*field.entries, *more):
        yield field.contestant(
            entry,
            partial(_counted, entry),
            _prepared(field, entry),
            check=partial(near, entry.error, field.keys),
            quality=partial(measure, entry, field.keys) if field.stream.kind == "int" else None,
        )
    yield from field.rest(partial(_whole, field, field.anchor))


def _counted(entry: Entry, _state: Any, keys: Any) -> float:
    return entry.count(keys)


def _whole(field: Field, entry: Entry, _limit: int) -> list[Slice]:
    return field.stream.whole(entry.form)


def _near(field: Field, limit: int) -> list[Slice]:
    return field.stream.slices(field.stream.base, min(limit, NEAR))


def _prepared(field: Field, entry: Entry) -> Slices:
    """Hand over the whole stream, prepared once, when it is first asked for."""
    made: list[Slice] = []

    def slices(_limit: int) -> list[Slice]:
        if not made:
            made.append(Slice(len(field.stream), entry.prepare(field.stream)))
        return made

    return slices


def _add(task: Task, seed: int) -> Iterator[Contestant]:
    """Add batches to a counter that has all keys already."""
    field = Field(task, seed, KEPT)
    form = field.stream.base
    yield limits.hash_limit(partial(_near, field))
    for entry in field.entries:
        yield field.contestant(
            entry,
            partial(_added, entry),
            partial(field.stream.slices, entry.form),
            check=partial(holds, entry, field.keys),
            quality=partial(measure, entry, field.keys) if field.stream.kind == "int" else None,
            **field.kept(entry),
        )
    yield from field.rest(partial(field.stream.slices, form))


def _added(entry: Kept, state: Any, keys: Any) -> Any:
    entry.add(state, keys)
    return state


def _add_one(task: Task, seed: int) -> Iterator[Contestant]:
    """Add keys one a call, in the same Python loop for everyone, to a counter that has them already."""
    field = Field(task, seed, KEPT)

    def slices(form: streams.Form, limit: int) -> list[Slice]:
        return field.stream.slices(form, limit)[: max(1, SCALARS // limit)]

    for entry in field.entries:
        form: streams.Form = "list" if isinstance(entry, Ours) else entry.form
        yield field.contestant(
            entry,
            partial(_added_each, entry),
            partial(slices, form),
            check=partial(holds, entry, field.keys),
            input=form,
            **field.kept(entry),
        )
    yield from field.rest(partial(slices, "list"))


def _added_each(entry: Kept, state: Any, keys: Any) -> Any:
    entry.add_each(state, keys)
    return state


def _estimate(task: Task, seed: int) -> Iterator[Contestant]:
    """Ask a counter for its count."""
    field = Field(task, seed, KEPT)
    yield limits.copy_limit(field.state_bytes, 1)
    for entry in field.entries:
        check = partial(near, entry.error, field.keys)
        yield field.contestant(entry, partial(_asked, entry), alone(), check=check, **field.kept(entry))
    yield from field.rest(alone())


def _asked(entry: Kept, state: Any, _payload: Any) -> float:
    return entry.estimate(state)


def _merge(task: Task, seed: int) -> Iterator[Contestant]:
    """Take one counter into another; done again, it changes nothing more."""
    field = Field(task, seed, KEPT)
    yield limits.copy_limit(field.state_bytes, 1)
    for entry in field.entries:
        yield field.contestant(
            entry,
            partial(_merged, entry),
            alone(),
            setup=partial(field.halves, entry),
            check=partial(holds, entry, field.keys),
            nbytes=partial(_size_of_second, entry),
        )
    yield from field.rest(alone())


def _size_of_second(entry: Any, pair: tuple[Any, Any]) -> int:
    return int(entry.nbytes(pair[1]))


def _merged(entry: Any, pair: tuple[Any, Any], _payload: Any) -> Any:
    entry.merge(*pair)
    return pair[0]


def _serialise(task: Task, seed: int) -> Iterator[Contestant]:
    """Turn a counter into bytes and the bytes into a counter."""
    field = Field(task, seed, KEPT)
    yield limits.copy_limit(field.state_bytes, 1)
    for entry in field.entries:
        check = partial(holds, entry, field.keys)
        yield field.contestant(entry, partial(_stored, entry), alone(), check=check, **field.kept(entry))
    yield from field.rest(alone())


def _stored(entry: Any, state: Any, _payload: Any) -> Any:
    return entry.restore(entry.dump(state))


def _groups(task: Task, seed: int) -> Iterator[Contestant]:
    """Count a batch in groups, afresh: every key has one, and each key comes once in all."""
    field = Field(task, seed, GROUPED, ERROR_IN_GROUPS)
    groups = np.random.default_rng(seed).integers(0, task.params["groups"], task.n)
    truth = np.bincount(groups, minlength=task.params["groups"])
    for entry in field.entries:
        if not isinstance(entry, Ours) or entry.groups:
            yield field.contestant(
                entry,
                partial(_counted_in_groups, entry),
                _grouped(field, entry, groups),
                check=partial(
                    near_in_groups, max(entry.error, ERROR_IN_GROUPS) if entry.error else 0.0, truth
                ),
            )
    yield from field.rest(_grouped(field, field.anchor, groups))


def _counted_in_groups(entry: Any, _state: Any, part: Any) -> Any:
    return entry.count_groups(part)


def _grouped(field: Field, entry: Any, groups: Any) -> Slices:
    made: list[Slice] = []

    def slices(_limit: int) -> list[Slice]:
        if not made:
            made.append(Slice(len(field.stream), entry.grouped(field.stream, groups)))
        return made

    return slices


def _first_call(_task: Task, _seed: int) -> Iterator[Contestant]:
    """Hand over the source of a program that times its own first count."""
    for variant in variants("cardinality"):
        yield program(variant.name, FIRST_CALL.format(name=variant.name))


OPERATIONS: dict[str, Callable[[Task, int], Iterator[Contestant]]] = {
    "count": _count,
    "add": _add,
    "add_one": _add_one,
    "estimate": _estimate,
    "merge": _merge,
    "serialise": _serialise,
    "groups": _groups,
    "first_call": _first_call,
}


# ---------------------------------------------------------------------------------------------------
# The gate


def near(error: float, truth: int, answer: float, _part: Slice) -> Gate:
    """Pass a count that is off by no more than its standard error explains."""
    off = abs(answer / truth - 1)
    if error and off <= SIGMAS * error:
        return Gate(ok=True, error=off)
    return Gate(ok=off == 0, detail="" if off == 0 else f"counted {answer:.0f} of {truth} distinct keys")


def holds(entry: Kept, truth: int, state: Any, part: Slice) -> Gate:
    """Pass a counter that has so many keys."""
    return near(entry.error, truth, entry.estimate(state), part)


def near_in_groups(error: float, truth: Any, answer: Any, _part: Slice) -> Gate:
    """Pass counts of groups that are off by no more, taken together."""
    numbers, counts = answer if isinstance(answer, tuple) else (np.arange(len(answer)), answer)
    found = np.zeros(len(truth))
    found[np.asarray(numbers)] = counts
    there = truth > 0
    off = float(np.sqrt(np.mean((found[there] / truth[there] - 1) ** 2)))
    if off <= error * (1 + SIGMAS / np.sqrt(2 * there.sum())):
        return Gate(ok=True, error=off if error else None)
    at = int(np.argmax(np.abs(found - truth)))
    return Gate(ok=False, detail=f"group {at}: counted {found[at]:.0f} of {truth[at]}")
