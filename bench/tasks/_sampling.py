"""Who races in a task of the samplers, and what each is handed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.catalog import variants
from bench import limits
from bench.peers.sampling import (
    ARRAY,
    STREAMING,
    TRACING,
    UNIFORM,
    WEIGHTED,
    Ours,
    OurTraces,
    PlainPython,
    Sampler,
    Streaming,
    Tracing,
    weighted,
)
from bench.schema import Contestant, Gate, Slice, Task
from bench.tasks._rows import absent, null, program
from bench.tasks._sampling_quality import SIGMAS, inclusion, measure
from bench.workloads import items as data

if TYPE_CHECKING:
    from algos._variant import Variant
    from bench.workloads.items import Stream

K, PARTS = 1_000, 16
THRESHOLD = int((1 - 0.05) * 2**56)
"""Of the traces one in twenty is kept."""
SCALARS = 1 << 16
FIRST_CALL = """\
from time import perf_counter_ns

from algos.sampling import {name}

start = perf_counter_ns()
{call}
print(perf_counter_ns() - start)
"""
CALLS = {
    None: '{name}(0.01).keep_many(["5b8efff798038103d2fe6c1ee1a2b9c4"])',
    False: "made = {name}(100)\nmade.add_many(range(1000))",
    True: "made = {name}(100)\nmade.add_many(range(1000), range(1000))",
}

Slices = Callable[[int], Sequence[Slice]]


def contestants(task: Task, seed: int) -> list[Contestant]:
    """Make the data of a task from a seed and return everyone who races on it."""
    return list(OPERATIONS[task.op](task, seed))


def entered(
    ours: Sequence[Variant], make: Any, anchor: str, others: Sequence[Any]
) -> tuple[list[Any], list[Contestant]]:
    """Return the variants, the anchor and its control first, and packages; and what is missing."""
    first = next(variant for variant in ours if variant.name == anchor)
    control = make(first, f"{anchor} (control)")
    control.role = "control"
    entries = [make(first), control, *(make(variant) for variant in ours if variant is not first)]
    missing: list[Contestant] = []
    for other in others:
        try:
            entries.append(other())
        except ImportError as error:
            missing.append(absent(other.name, other.role, other.package, error))
    return entries, missing


def samplers(*, by_weight: bool) -> list[Variant]:
    """Return the variants that sample items with weights, or without."""
    return [variant for variant in variants("sampling") if weighted(variant) is by_weight]


def tracing() -> list[Variant]:
    """Return the variants that sample traces."""
    return [variant for variant in variants("sampling") if weighted(variant) is None]


def _row(entry: Sampler | Tracing, call: Any, slices: Slices, form: str, **more: Any) -> Contestant:
    return Contestant(entry.name, entry.role, call, slices, package=entry.package, input=form, **more)


# ---------------------------------------------------------------------------------------------------
# Samples


def _sample(task: Task, seed: int) -> Iterator[Contestant]:
    """Sample uniformly what comes in batches, or is all there."""
    stream, whole = data.stream(task.n, seed), task.workload == "array"
    entries, missing = entered(samplers(by_weight=False), Ours, task.anchor, ARRAY if whole else UNIFORM)

    def slices(entry: Sampler, _limit: int) -> list[Slice]:
        batches = [stream.whole(entry.form)] if whole else stream.batches(entry.form)
        return [Slice(task.n, (batches, None))]

    for entry in entries:
        check, quality = partial(right, entry, stream, False), partial(measure, entry, False)
        measured = quality if entry.role != "control" and not whole else None
        yield _row(entry, _whole(entry), partial(slices, entry), entry.form, check=check, quality=measured)
    yield from missing
    yield null(partial(slices, entries[0]))


def _sample_weighted(task: Task, seed: int) -> Iterator[Contestant]:
    """Sample by weight what comes in batches; to read the weights is the least it takes."""
    stream = data.stream(task.n, seed)
    entries, missing = entered(samplers(by_weight=True), Ours, task.anchor, WEIGHTED)

    def slices(entry: Sampler, _limit: int) -> list[Slice]:
        batches = stream.batches(entry.form), stream.batches(entry.form, "weights")
        return [Slice(task.n, batches)]

    yield limits.read_limit(stream.weights.nbytes, task.n)
    for entry in entries:
        check, quality = partial(right, entry, stream, True), partial(measure, entry, True)
        measured = quality if entry.role != "control" else None
        yield _row(entry, _whole(entry), partial(slices, entry), entry.form, check=check, quality=measured)
    yield from missing
    yield null(partial(slices, entries[0]))


def _whole(entry: Sampler) -> Any:
    return lambda _state, columns: entry.sample(columns[0], columns[1], K)


def _offer(task: Task, seed: int) -> Iterator[Contestant]:
    """Sample a list of items offered one a call, in the same Python loop for everyone."""
    stream = data.stream(task.n, seed)
    entries, missing = entered(samplers(by_weight=False), Ours, task.anchor, (*STREAMING, PlainPython))
    slices: Slices = lambda _: [Slice(task.n, stream.whole("list"))]  # noqa: E731
    for entry in entries:
        yield _row(entry, partial(_each, entry), slices, "list", check=partial(right, entry, stream, False))
    yield from missing
    yield null(slices)


def _offer_weighted(task: Task, seed: int) -> Iterator[Contestant]:
    """Sample a list of items and weights, as above."""
    stream = data.stream(task.n, seed)
    entries, missing = entered(samplers(by_weight=True), Ours, task.anchor, STREAMING)
    columns = stream.whole("list"), stream.whole("list", "weights")
    slices: Slices = lambda _: [Slice(task.n, columns)]  # noqa: E731
    for entry in entries:
        check = partial(right, entry, stream, True)
        yield _row(entry, partial(_each_weighted, entry), slices, "list", check=check)
    yield from missing
    yield null(slices)


def _each(entry: Streaming, _state: Any, items: list[int]) -> Any:
    state = entry.make(K)
    offer = entry.one(state)
    for item in items:
        offer(item)
    return entry.ask(state)


def _each_weighted(entry: Streaming, _state: Any, columns: tuple[list[int], list[float]]) -> Any:
    state = entry.make(K)
    offer = entry.one(state)
    for item, weight in zip(*columns, strict=True):
        offer(item, weight)
    return entry.ask(state)


def _merge(task: Task, seed: int) -> Iterator[Contestant]:
    """Merge samples of two streams, the one into the other, again and again; an item is one of a sample."""
    stream = data.stream(task.n, seed)
    uniform, by_weight = samplers(by_weight=False), samplers(by_weight=True)
    entries, missing = entered([*uniform, *by_weight], Ours, task.anchor, STREAMING)
    slices: Slices = lambda _: [Slice(K, None)]  # noqa: E731
    for entry in entries:
        if isinstance(entry, Ours) and not hasattr(entry.cls, "merge"):
            continue
        check, setup = partial(kept, entry, task.n), partial(_halves, entry, stream)
        yield _row(entry, partial(_united, entry), slices, entry.form, setup=setup, check=check)
    yield from missing
    yield null(slices)


def _halves(entry: Streaming, stream: Stream, _seed: int) -> tuple[Any, Any]:
    """Sample either half of a stream; ours that take no weights do without."""
    pair, middle = (entry.make(K), entry.make(K)), stream.n // 2
    items, weights = stream.whole(entry.form), stream.whole(entry.form, "weights")
    bare = isinstance(entry, Ours) and not entry.weighted
    for state, part in zip(pair, (slice(middle), slice(middle, None)), strict=True):
        entry.feed(state, items[part], None if bare else weights[part])
    return pair


def _united(entry: Any, pair: tuple[Any, Any], _payload: Any) -> Any:
    if isinstance(entry, Ours):
        pair[0].merge(pair[1])
        return pair[0]
    return entry.merge(*pair)


# ---------------------------------------------------------------------------------------------------
# Traces


def _keep_many(task: Task, seed: int) -> Iterator[Contestant]:
    """Decide on a batch of traces: binary ids, or text."""
    traces, form = data.traces(task.n, seed), task.params["input"]

    def slices(limit: int) -> list[Slice]:
        ids, truth = traces.form(form), traces.randomness() >= np.uint64(THRESHOLD)
        starts = range(0, task.n, limit)
        return [
            Slice(len(truth[lo : lo + limit]), ids[lo : lo + limit], truth[lo : lo + limit]) for lo in starts
        ]

    if form != "list":
        yield limits.read_limit({"binary": 16, "arrow": 32}[form] * task.n, task.n)
    entries, missing = entered(tracing(), OurTraces, task.anchor, TRACING)
    for entry in entries:
        if form in entry.forms:
            setup = partial(_thresholded, entry)
            yield _row(entry, entry.keep_many, slices, form, setup=setup, check=partial(decided, entry))
    yield from (row for row in missing if form in {"list", "ints"})
    yield null(slices)


def _keep(task: Task, seed: int) -> Iterator[Contestant]:
    """Decide on one trace a call, in the same Python loop for everyone: text, or ints where it must be."""
    traces = data.traces(min(task.n, SCALARS), seed)

    def slices(form: Any, limit: int) -> list[Slice]:
        ids, truth = traces.form(form), traces.randomness() >= np.uint64(THRESHOLD)
        return [
            Slice(len(part), part, truth[lo : lo + limit])
            for lo in range(0, len(ids), limit)
            if (part := ids[lo : lo + limit])
        ]

    entries, missing = entered(tracing(), OurTraces, task.anchor, TRACING)
    for entry in entries:
        form = next((form for form in ("list", "ints") if form in entry.forms), None)
        if form:
            call, setup = partial(_ask_each, entry), partial(_thresholded, entry)
            given, check = partial(slices, form), partial(decided, entry)
            yield _row(entry, call, given, form, setup=setup, check=check)
    yield from missing
    yield null(partial(slices, "list"))


def _thresholded(entry: Tracing, _seed: int) -> Any:
    return entry.make(THRESHOLD)


def _ask_each(entry: Tracing, state: Any, ids: list[Any]) -> list[bool]:
    keep = entry.one(state)
    return [keep(trace) for trace in ids]


def _first_call(_task: Task, _seed: int) -> Iterator[Contestant]:
    """Hand over the source of a program that times its own first sample."""
    for variant in variants("sampling"):
        call = CALLS[weighted(variant)].format(name=variant.name)
        yield program(variant.name, FIRST_CALL.format(name=variant.name, call=call))


OPERATIONS: dict[str, Callable[[Task, int], Iterator[Contestant]]] = {
    "sample": _sample,
    "sample_weighted": _sample_weighted,
    "offer": _offer,
    "offer_weighted": _offer_weighted,
    "merge": _merge,
    "keep_many": _keep_many,
    "keep": _keep,
    "first_call": _first_call,
}


# ---------------------------------------------------------------------------------------------------
# The gate


def right(entry: Sampler, stream: Stream, by_weight: bool, answer: Any, _part: Slice) -> Gate:
    """Pass different items of the stream, of each part of which there are as many as the law has it."""
    found = np.array(entry.listed(answer))
    chances = inclusion(entry.law, stream.weights if by_weight else None, stream.n, K)
    if fault := _wrong(found, stream.n, float(chances.sum())):
        return Gate(ok=False, detail=fault)
    order = np.argsort(stream.weights) if by_weight else stream.items
    part = np.empty(stream.n, np.int64)  # as much of the sample is expected of each
    part[order] = np.minimum(np.cumsum(chances[order]) * (PARTS / K), PARTS - 1).astype(np.int64)
    expected = np.bincount(part, chances, PARTS)
    scatter = np.sqrt(np.bincount(part, chances * (1 - chances), PARTS))
    counts = np.bincount(part[found], minlength=PARTS)
    far = np.abs(counts - expected) - SIGMAS * scatter - 1
    at = int(np.argmax(far))
    detail = f"{counts[at]} items of part {at} of {PARTS}, of which {expected[at]:.1f} are expected"
    return Gate(ok=bool(far[at] <= 0), detail=detail * bool(far[at] > 0))


def _wrong(found: Any, n: int, expected: float) -> str:
    """Say what is wrong with a sample of positions, if anything is."""
    if abs(len(found) - expected) > 1 - 1e-6:
        return f"{len(found)} items, not {expected:.4g}"
    if outside := found[(found < 0) | (found >= n)].tolist():
        return f"item {outside[0]} is not one of {n}"
    return f"{twice} items are there twice" if (twice := len(found) - len(np.unique(found))) else ""


def kept(entry: Streaming, n: int, answer: Any, _part: Slice) -> Gate:
    """Pass a sampler that holds ``K`` items of the stream; merged again and again, some are there twice."""
    found = np.array(entry.listed(entry.ask(answer)))
    ok = 0 < len(found) <= K and (len(found) == K or not entry.full)
    ok = ok and bool((found >= 0).all() and (found < n).all())
    return Gate(ok=ok, detail=f"{len(found)} items, not {K} of {n}" * (not ok))


def decided(entry: Tracing, answer: Any, part: Slice) -> Gate:
    """Pass decisions that are those of the threshold; of who has another rule, about as many."""
    found, truth = np.asarray(answer, np.bool_), part.truth
    if len(found) != part.items:
        return Gate(ok=False, detail=f"{len(found)} decisions on {part.items} traces")
    if not entry.exact:
        share, kept_share = 1 - THRESHOLD / 2**56, float(found.mean())
        bound = SIGMAS * np.sqrt(share * (1 - share) / len(found)) + 1 / len(found)
        return Gate(ok=bool(abs(kept_share - share) <= bound), detail=f"{kept_share:.2%} were kept")
    if (found != truth).any():
        at = int(np.argmax(found != truth))
        return Gate(ok=False, detail=f"trace {at}, {part.payload[at]}: said {bool(found[at])}")
    return Gate(ok=True)
