"""Who races in a task of the frequencies, and what each is handed."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.catalog import variants
from bench import limits
from bench.peers.frequency import (
    EXACT_TOP,
    HEAVY,
    SKETCHES,
    TOP,
    Entry,
    Heavy,
    OurHeavy,
    OurSketch,
    PythonCounter,
    Sketch,
)
from bench.schema import Contestant, Gate, Slice, Task
from bench.tasks import _frequency_quality as quality
from bench.tasks._rows import absent, null, program
from bench.workloads import streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from algos._variant import Variant
    from bench.workloads.streams import Form, Stream

    Call = Callable[[Any, Any], Any]
    Slices = Callable[[int], Sequence[Slice]]

STREAM, SCALARS = 1_000_000, 2**16
"""Keys in a stream, and in one whose keys are handed over one a call."""
SAMPLE = 2_000
SIGMAS = 5.0
ONE_ROW = math.exp(-1)
"""Of others' sketches it is enough that one row keeps its law: what all are worth is measured beside."""
LEAST_RECALL = 0.5
"""Who promises nothing and names fewer of the keys that came most is wrong, and its speed says nothing."""
FIRST_CALL = """\
from time import perf_counter_ns

import numpy as np

from bench.tasks._frequency import first

keys = np.arange(1000, dtype=np.int64)
run = first({name!r})
start = perf_counter_ns()
run(keys)
print(perf_counter_ns() - start)
"""


def contestants(task: Task, seed: int) -> list[Contestant]:
    """Make the data of a task from a seed and return everyone who races on it."""
    return list(OPERATIONS[task.op](task, seed))


def chosen(able: str) -> list[Variant]:
    """Return the variants whose class has a method, in the order of the registry."""
    return [variant for variant in variants("frequency") if hasattr(variant.load(), able)]


def entered(
    ours: Sequence[Any], anchor: str, others: Sequence[type[Entry]], kind: Any
) -> tuple[list[Any], list[Contestant]]:
    """Return everyone, the anchor and its control first, and rows of what is not installed."""
    first = [entry for entry in ours if entry.name == anchor]
    rest = [entry for entry in ours if entry.name != anchor]
    found: list[Any] = [*first, *(entry.control() for entry in first), *rest]
    missing: list[Contestant] = []
    for other in others:
        if kind in other.kinds:
            try:
                found.append(other(kind))
            except ImportError as error:
                missing.append(absent(other.name, other.role, other.package, error))
    return found, missing


def contestant(entry: Entry, call: Call, slices: Slices, **more: Any) -> Contestant:
    """Describe an entry."""
    common = {"package": entry.package, "input": entry.form}
    return Contestant(entry.name, entry.role, call, slices, **common | more)


def alone(payload: Any = None) -> Slices:
    """Count one thing as the work of a call."""
    part = Slice(1, payload)
    return lambda _: [part]


# ---------------------------------------------------------------------------------------------------
# Sketches of counters


class Field:
    """The stream of a task, and the sketches of one size that are entered in it."""

    def __init__(self, task: Task, seed: int, length: int, others: Sequence[type[Entry]]) -> None:
        self.task, self.counters = task, task.n
        if task.params.get("spread", "zipf") == "zipf":
            self.stream = streams.zipf(task.workload, length, seed)
        else:
            self.stream = streams.repeated(task.workload, length, 1, seed)
        kind = self.stream.kind
        ours = [OurSketch(variant, kind) for variant in sketches()]
        self.entries, self.absent = entered(ours, task.anchor, others, kind)

    def filled(self, entry: Sketch, _seed: int = 0) -> Any:
        """Make a sketch that has counted the stream."""
        state = entry.make(self.counters)
        entry.add(state, self.stream.form(entry.form))
        return state

    def empty(self, entry: Sketch, _seed: int = 0) -> Any:
        """Make a sketch."""
        return entry.make(self.counters)

    def row(self, entry: Sketch, call: Call, slices: Slices, **more: Any) -> Contestant:
        """Describe a sketch that goes on from the whole stream, unless it is said otherwise."""
        state = {"setup": partial(self.filled, entry), "nbytes": entry.nbytes}
        return contestant(entry, call, slices, **state | more)

    def quality(self, entry: Sketch) -> Any:
        """Say how a sketch's errors are measured; of those that take seconds for a stream they are not."""
        if entry.slow or entry.role == "control":
            return None
        return partial(quality.of_sketch, entry, self.task, self.stream)

    def rest(self, slices: Slices) -> Iterator[Contestant]:
        """Return the rows of those not installed, and the empty call."""
        yield from self.absent
        yield null(slices)


def sketches() -> list[Variant]:
    """Return the variants that are rows of counters."""
    ranked = {variant.name for able in ("top", "add_slots") for variant in chosen(able)}
    return [variant for variant in chosen("estimate_many") if variant.name not in ranked]


def _add(task: Task, seed: int) -> Iterator[Contestant]:
    """Count batches, on and on."""
    field = Field(task, seed, STREAM, (*SKETCHES, PythonCounter))
    base = field.stream.base
    yield limits.random_raises(4 * field.counters, STREAM, seed)
    yield limits.raise_limit(field.counters, field.stream.form(base))
    for entry in field.entries:
        yield field.row(
            entry,
            partial(_added, entry),
            partial(field.stream.slices, entry.form),
            setup=partial(field.empty, entry),
            check=partial(counts_right, entry, field),
            quality=field.quality(entry),
        )
    yield from field.rest(partial(field.stream.slices, base))


def _added(entry: Sketch, state: Any, keys: Any) -> None:
    entry.add(state, keys)


def _add_one(task: Task, seed: int) -> Iterator[Contestant]:
    """Count keys one a call, in the same Python loop for everyone."""
    field = Field(task, seed, SCALARS, (*SKETCHES, PythonCounter))
    for entry in field.entries:
        form = _alone(entry)
        yield field.row(
            entry,
            partial(_added_each, entry),
            partial(field.stream.slices, form),
            setup=partial(field.empty, entry),
            check=partial(counts_right, entry, field),
            input=form,
        )
    yield from field.rest(partial(field.stream.slices, "list"))


def _alone(entry: Sketch) -> Form:
    """Return the form in which keys are handed over one a call."""
    return "list" if isinstance(entry, OurSketch) else entry.form


def _added_each(entry: Sketch, state: Any, keys: Any) -> None:
    entry.add_each(state, keys)


def _estimate(task: Task, seed: int) -> Iterator[Contestant]:
    """Ask for many keys, each once, of those that came."""
    field = Field(task, seed, STREAM, (*SKETCHES, PythonCounter))
    asked = field.stream.once()
    yield limits.prefetch_limit(4 * field.counters, len(asked), seed)
    for entry in field.entries:
        if not entry.slow:
            yield field.row(
                entry,
                partial(_estimated, entry),
                partial(asked.slices, entry.form),
                check=partial(estimates_right, entry, field),
                quality=field.quality(entry),
            )
    yield from field.rest(partial(asked.slices, field.stream.base))


def _estimated(entry: Sketch, state: Any, keys: Any) -> Any:
    return entry.estimate(state, keys)


def _estimated_each(entry: Sketch, state: Any, keys: Any) -> Any:
    return entry.estimate_each(state, keys)


def _estimate_one(task: Task, seed: int) -> Iterator[Contestant]:
    """Ask for keys one a call, in the same Python loop for everyone."""
    field = Field(task, seed, SCALARS, (*SKETCHES, PythonCounter))
    asked = field.stream.once()
    for entry in field.entries:
        form = _alone(entry)
        yield field.row(
            entry,
            partial(_estimated_each, entry),
            partial(asked.slices, form),
            check=partial(estimates_right, entry, field),
            input=form,
        )
    yield from field.rest(partial(asked.slices, "list"))


def _merge(task: Task, seed: int) -> Iterator[Contestant]:
    """Take one sketch into another, again and again."""
    field = Field(task, seed, SCALARS, (*SKETCHES, PythonCounter))
    yield limits.copy_limit(4 * field.counters, 1)
    for entry in field.entries:
        if hasattr(entry, "merge") and (entry.role == "peer" or _mergeable(entry)):
            yield field.row(
                entry,
                partial(_merged, entry),
                alone(),
                setup=partial(_two, field, entry),
                check=partial(merged_right, entry, field),
                nbytes=partial(_size_of_first, entry),
            )
    yield from field.rest(alone())


def _two(field: Field, entry: Sketch, seed: int) -> tuple[Any, Any]:
    return field.filled(entry, seed), field.filled(entry, seed)


def _merged(entry: Sketch, pair: tuple[Any, Any], _payload: Any) -> None:
    entry.merge(*pair)


def _size_of_first(entry: Sketch, pair: tuple[Any, Any]) -> int:
    return entry.nbytes(pair[0])


def _mergeable(entry: Any) -> bool:
    return entry.role == "exact" or hasattr(entry.cls, "merge")


def _serialise(task: Task, seed: int) -> Iterator[Contestant]:
    """Turn a sketch into bytes and the bytes into a sketch."""
    field = Field(task, seed, SCALARS, SKETCHES)
    yield limits.copy_limit(4 * field.counters, 1)
    for entry in field.entries:
        if entry.dump:
            yield field.row(
                entry,
                partial(_stored, entry),
                alone(),
                check=partial(restored_right, entry, field),
            )
    yield from field.rest(alone())


def _stored(entry: Sketch, state: Any, _payload: Any) -> Any:
    return entry.restore(entry.dump(state))


# ---------------------------------------------------------------------------------------------------
# Heavy hitters, and slots


def _top(task: Task, seed: int) -> Iterator[Contestant]:
    """Name the keys that came most, from nothing."""
    stream = streams.zipf(task.workload, task.n, seed)
    ours = [OurHeavy(variant, stream.kind) for variant in chosen("top")]
    entries, missing = entered(ours, task.anchor, (*HEAVY, *EXACT_TOP), stream.kind)
    whole = partial(_whole, stream, stream.base)
    yield limits.hash_limit(whole)
    for entry in entries:
        if task.n <= entry.reach:
            yield contestant(
                entry,
                partial(_named, entry),
                _prepared(stream, entry),
                check=partial(named_right, entry, stream),
                quality=partial(quality.of_heavy, entry, stream) if entry.role != "control" else None,
            )
    yield from missing
    yield null(whole)


def _named(entry: Heavy, _state: Any, keys: Any) -> Any:
    return entry.top(keys, TOP)


def _whole(stream: Stream, form: Form, _limit: int) -> list[Slice]:
    return stream.whole(form)


def _prepared(stream: Stream, entry: Heavy) -> Slices:
    """Hand over the whole stream, prepared once, when it is first asked for."""
    made: list[Slice] = []

    def slices(_limit: int) -> list[Slice]:
        if not made:
            made.append(Slice(len(stream), entry.prepare(stream)))
        return made

    return slices


class Slots:
    """Counters of a byte, or exact ones, at given slots."""

    package, form = "", "ndarray"

    def __init__(self, name: str, role: Any, make: Callable[[int], Any], add: Call, one: Any) -> None:
        self.name, self.role, self.make, self.add, self.one = name, role, make, add, one

    def control(self) -> Slots:
        """Return the same once more."""
        return Slots(f"{self.name} (control)", "control", self.make, self.add, self.one)


def _slots() -> list[Slots]:
    """Return the variants that count at slots."""
    return [
        Slots(v.name, "ours", v.load(), lambda s, at: s.add_slots(at), lambda s: s.add_slot)
        for v in chosen("add_slots")
    ]


EXACT_SLOTS = (
    Slots("np.add.at", "exact", partial(np.zeros, dtype=np.int64), lambda s, at: np.add.at(s, at, 1), None),
    Slots("list", "exact", lambda n: [0] * n, None, lambda counts: partial(_raise, counts)),  # type: ignore[arg-type]
)


def _raise(counts: list[int], slot: int) -> None:
    counts[slot] += 1


def _touch(task: Task, seed: int) -> Iterator[Contestant]:
    """Count hits of slots, many at once."""
    slots = streams.zipf("ids", STREAM, seed).index % task.n
    yield from _touched(task, slots, lambda entry: entry.add, lambda entry, state, at: entry.add(state, at))


def _touch_one(task: Task, seed: int) -> Iterator[Contestant]:
    """Count hits of slots one a call, in the same Python loop for everyone."""
    slots = (streams.zipf("ids", STREAM, seed).index[:SCALARS] % task.n).tolist()
    yield from _touched(task, slots, lambda entry: entry.one, _touched_each)


def _touched_each(entry: Slots, state: Any, slots: Any) -> None:
    touch = entry.one(state)
    for slot in slots:
        touch(slot)


def _touched(task: Task, slots: Any, able: Any, call: Any) -> Iterator[Contestant]:
    def slices(limit: int) -> list[Slice]:
        return [
            Slice(len(part), part)
            for lo in range(0, len(slots), limit)
            if len(part := slots[lo : lo + limit])
        ]

    entries, _ = entered(_slots(), task.anchor, (), "int")
    for entry in (*entries, *EXACT_SLOTS):
        if able(entry) is not None:
            ours = entry.role != "exact"
            yield contestant(
                entry,
                partial(call, entry),
                slices,
                setup=lambda _, entry=entry: entry.make(task.n),
                check=partial(touched_right, entry, call),
                nbytes=(lambda state: state.nbytes) if ours or task.op == "touch" else None,
                quality=partial(quality.of_slots, entry) if entry.role == "ours" else None,
            )
    yield null(slices)


def first(name: str) -> Callable[[Any], Any]:
    """Return what a variant's first call is: to count keys, and to ask."""
    (variant,) = [variant for variant in variants("frequency") if variant.name == name]
    if hasattr(cls := variant.load(), "top"):
        return lambda keys: OurHeavy(variant, "int").top(keys, TOP)
    made = cls(1024) if hasattr(cls, "add_slots") else OurSketch(variant, "int").make(4096)

    def run(keys: Any) -> Any:
        made.add_many(keys)
        return made.estimate_many(keys)

    return run


def _first_call(_task: Task, _seed: int) -> Iterator[Contestant]:
    """Hand over the source of a program that times its own first counts."""
    for variant in variants("frequency"):
        yield program(variant.name, FIRST_CALL.format(name=variant.name))


OPERATIONS: dict[str, Callable[[Task, int], Iterator[Contestant]]] = {
    "add": _add,
    "add_one": _add_one,
    "estimate": _estimate,
    "estimate_one": _estimate_one,
    "merge": _merge,
    "serialise": _serialise,
    "top": _top,
    "touch": _touch,
    "touch_one": _touch_one,
    "first_call": _first_call,
}


# ---------------------------------------------------------------------------------------------------
# The gate


def within(entry: Sketch, estimates: Any, truth: Any, law: tuple[float, float]) -> Gate:
    """Pass estimates that are not too low, and of which few are above the bound."""
    found = np.asarray(estimates, np.float64)
    if found.shape != truth.shape:
        return Gate(ok=False, detail=f"{len(found)} estimates for {len(truth)} keys")
    off = found - truth
    low = off < 0 if entry.never_low else np.zeros(len(off), np.bool_)
    if low.any():
        at = int(np.argmax(low))
        return Gate(ok=False, detail=f"key {at} came {truth[at]} times: said {found[at]:.0f}")
    bound, share = law
    share = max(share, ONE_ROW) if entry.role == "peer" else share
    above, n = int(np.count_nonzero(np.abs(off) > bound)), len(off)
    if certainly_more(above, n, share):
        return Gate(ok=False, detail=f"{above} of {n} estimates are wrong by more than {bound:.0f}")
    return Gate(ok=True, error=above / n if share else None)


def certainly_more(hits: int, n: int, share: float) -> bool:
    """Tell whether so many of ``n`` are more than chance makes of a share: Chernoff, at ``SIGMAS``."""
    if hits <= n * share or share == 0:
        return hits > n * share
    rate = hits / n
    rest = (1 - rate) * math.log((1 - rate) / (1 - share)) if rate < 1 else 0.0
    return n * (rate * math.log(rate / share) + rest) > SIGMAS**2 / 2


def counts_right(entry: Sketch, field: Field, _answer: Any, part: Slice) -> Gate:
    """Pass who counts the first keys of a batch right in a new sketch, in the same way."""
    state, keys, index = entry.make(field.counters), part.payload[:SAMPLE], part.truth[:SAMPLE]
    (entry.add_each if field.task.op == "add_one" else entry.add)(state, keys)
    _, at, truth = np.unique(index, return_index=True, return_counts=True)
    law = entry.bound(state, field.counters, len(index))
    return within(entry, entry.estimate(state, picked(keys, at)), truth, law)


def estimates_right(entry: Sketch, field: Field, answer: Any, part: Slice) -> Gate:
    """Pass estimates of keys of the whole stream."""
    law = _law(entry, field)
    return within(entry, answer, field.stream.counts[part.truth], law)


def _law(entry: Sketch, field: Field) -> tuple[float, float]:
    """Return the bound of a sketch of the whole stream; it is the same for all of them."""
    known: dict[Any, tuple[float, float]] = field.__dict__.setdefault("laws", {})
    if entry.name not in known:
        state = field.filled(entry) if isinstance(entry, OurSketch) else None
        known[entry.name] = entry.bound(state, field.counters, len(field.stream))
    return known[entry.name]


def _sampled(field: Field) -> tuple[Any, Any]:
    """Return where some of the keys are that came, and how often each did."""
    at = np.unique(field.stream.index[:SAMPLE], return_index=True)[1]
    return at, field.stream.counts[field.stream.index[at]]


def picked(keys: Any, at: Any) -> Any:
    """Return the keys at these places."""
    return [keys[i] for i in at.tolist()] if isinstance(keys, list) else keys.take(at)


def restored_right(entry: Sketch, field: Field, answer: Any, _part: Slice) -> Gate:
    """Pass a sketch that has counted the whole stream."""
    at, truth = _sampled(field)
    keys = picked(field.stream.form(entry.form), at)
    return within(entry, entry.estimate(answer, keys), truth, _law(entry, field))


def merged_right(entry: Any, field: Field, _answer: Any, _part: Slice) -> Gate:
    """Pass who merges two halves of the stream into a new sketch of the whole."""
    pair, keys = (field.empty(entry), field.empty(entry)), field.stream.form(entry.form)
    middle = len(field.stream) // 2
    entry.add(pair[0], keys[:middle])
    entry.add(pair[1], keys[middle:])
    entry.merge(*pair)
    return restored_right(entry, field, pair[0], _part)


def named_right(entry: Heavy, stream: Stream, answer: Any, _part: Slice) -> Gate:
    """Pass who names all keys that came more often than its law says, with counts as right as it says."""
    keys, said = answer
    named, recall, _ = quality.judged(stream, keys, said, TOP)
    if entry.share is None:
        return Gate(
            ok=recall >= LEAST_RECALL, detail=f"named {recall:.0%} of the {TOP} keys", error=1 - recall
        )
    slack = entry.share * len(stream)
    counts = stream.counts
    order = np.argsort(-counts, kind="stable")[:TOP]
    sure = order[counts[order] > counts[order[-1]] + slack]
    missing = [int(i) for i in sure if int(i) not in named]
    if missing:
        return Gate(ok=False, detail=f"key {missing[0]} came {counts[missing[0]]} times and is not named")
    for index, count in named.items():
        if count is not None and abs(count - counts[index]) > slack:
            return Gate(ok=False, detail=f"key {index} came {counts[index]} times: said {count}")
    return Gate(ok=True, error=1 - recall if slack else None)


def touched_right(entry: Slots, call: Any, _answer: Any, part: Slice) -> Gate:
    """Pass who counts hits of one slot about right, in a new array."""
    state, hits = entry.make(16), SAMPLE
    call(entry, state, np.full(hits, 3) if isinstance(part.payload, np.ndarray) else [3] * hits)
    if entry.role == "exact":
        return Gate(ok=state[3] == hits, detail=f"said {state[3]} of {hits} hits")
    said = float(state.estimate_slots(np.array([3]))[0])
    off = abs(said / hits - 1)
    return Gate(
        ok=off <= SIGMAS * quality.spread(state, hits), detail=f"said {said} of {hits} hits", error=off
    )
