"""Who races in a task of the rate limiters, and what each is handed."""

from __future__ import annotations

import time
from collections import Counter
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from algos.catalog import variants
from algos.ratelimit import Hierarchical
from bench import limits
from bench.peers.ratelimit import PEERS, ClosureOfOne, Entry, Ours, batch
from bench.schema import Contestant, Gate, Slice, Task
from bench.tasks._ratelimit_quality import measure
from bench.tasks._rows import absent, null, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RATE, BURST, PERIOD = 10, 20, 1
REQUESTS, SKEW, SPACING_NS = 2_000_000, 1.1, 500
"""Requests in the pool; the exponent of their spread over the keys; the time between two that have times."""
SAMPLE = 2_000
START_NS = 10**18
FIRST_CALL = """\
from time import perf_counter_ns

from bench.peers.ratelimit import Ours
from algos.catalog import variants

(variant,) = [variant for variant in variants("ratelimit") if variant.name == {name!r}]
start = perf_counter_ns()
Ours(variant).make(10, 20, 1).allow("user1")
print(perf_counter_ns() - start)
"""


def contestants(task: Task, seed: int) -> list[Contestant]:
    """Return everyone who races in a task."""
    return list(OPERATIONS[task.op](task, seed))


def entered(anchor: str) -> tuple[list[Entry], list[Contestant]]:
    """Return every limiter, the anchor and its control first, and packages; and what is missing."""
    ours = [Ours(variant) for variant in variants("ratelimit")]
    first = next(limiter for limiter in ours if limiter.name == anchor)
    control = Ours(next(v for v in variants("ratelimit") if v.name == anchor), f"{anchor} (control)")
    control.role = "control"
    entries: list[Entry] = [first, control, *(limiter for limiter in ours if limiter is not first)]
    missing: list[Contestant] = []
    for peer in PEERS:
        try:
            entries.append(peer())
        except ImportError as error:
            missing.append(absent(peer.name, peer.role, peer.package, error))
    return entries, missing


@cache
def requested(keys: int, seed: int) -> Any:
    """Draw the keys of the pool's requests by Zipf's law: int64s, of which none tells how frequent it is."""
    rng = np.random.default_rng(seed)
    weights = np.cumsum(np.arange(1, keys + 1) ** -SKEW)
    ranks = np.searchsorted(weights, rng.random(REQUESTS) * weights[-1])
    return rng.permutation(keys)[ranks]


def named(keys: Any) -> list[str]:
    """Name keys as clients are named: 9 to 15 characters, each key an object of its own."""
    return [f"user:{key}:eu" for key in keys.tolist()]


# ---------------------------------------------------------------------------------------------------
# Batches


def _allow_many(task: Task, seed: int) -> Iterator[Contestant]:
    keys = requested(task.n, seed)
    if "fields" in task.params:
        yield from _by_times(task, keys, seed)
    else:
        yield from _by_clock(task, named(keys))


class Timed:
    """A limiter that goes by given times, which go on from batch to batch."""

    def __init__(self, limiter: Any, fields: str) -> None:
        self.limiter, self.fields, self.now = limiter, fields, START_NS
        self.room = np.empty(REQUESTS, np.int64)

    def allow_many(self, part: tuple[Any, Any]) -> Any:
        """Decide on keys, which come so long after now."""
        keys, after = part
        times = np.add(after, self.now, out=self.room[: len(after)])
        self.now += len(keys) * SPACING_NS
        return self.limiter.allow_many(batch(self.limiter, keys), times, fields=self.fields)


def _by_times(task: Task, keys: Any, seed: int) -> Iterator[Contestant]:
    """Decide on ints, each with its time: no package can."""
    entries, _ = entered(task.anchor)
    after = np.arange(len(keys)) * SPACING_NS

    def slices(limit: int) -> list[Slice]:
        parts = [keys[lo : lo + limit] for lo in range(0, len(keys), limit)]
        return [Slice(len(part), (part, after[: len(part)])) for part in parts]

    size = 0
    for entry in entries:
        if isinstance(entry, Ours) and entry.timed:
            made = partial(_timed, entry, task)
            size = size or entry.limiter(RATE, BURST, PERIOD, task.n).nbytes
            yield Contestant(
                entry.name,
                entry.role,
                _all,
                slices,
                setup=made,
                check=partial(exact, entry),
                nbytes=lambda state: state.limiter.nbytes,
                quality=partial(measure, entry) if entry.role == "ours" else None,
                input="ndarray",
            )
    yield limits.prefetch_limit(size, len(keys), seed)
    yield limits.random_reads(size, len(keys), seed)
    yield null(slices)


def _timed(entry: Ours, task: Task, _seed: int) -> Timed:
    """Return a limiter that knows all clients: each has made a request."""
    state, clients = (
        Timed(entry.limiter(RATE, BURST, PERIOD, task.n), task.params["fields"]),
        np.arange(task.n),
    )
    for lo in range(0, task.n, SAMPLE):
        part = clients[lo : lo + SAMPLE]
        state.allow_many((part, np.zeros_like(part)))
    return state


def _by_clock(task: Task, keys: list[str]) -> Iterator[Contestant]:
    """Decide on texts, by everyone's own clock; packages and plain Python have them as a list."""
    columns, clients = {"list": keys, "arrow": pa.array(keys)}, sorted(set(keys))

    def slices(form: str, limit: int) -> list[Slice]:
        column = columns[form]
        return [
            Slice(len(part), part)
            for lo in range(0, len(keys), limit)
            if len(part := column[lo : lo + limit])
        ]

    entries, missing = entered(task.anchor)
    for entry in entries:
        if entry.name != ClosureOfOne.name:
            form = task.params["input"] if isinstance(entry, Ours) else "list"
            yield _row(entry, _all, partial(slices, form), form, clients)
    yield from missing
    yield null(partial(slices, "list"))


# ---------------------------------------------------------------------------------------------------
# Single calls


def _allow(task: Task, seed: int) -> Iterator[Contestant]:
    """Ask once a request, in the same Python loop for everyone: for one key, or for many in no order."""
    keys = named(np.random.default_rng(seed).permutation(task.n)) if task.n > 1 else ["user1"] * SAMPLE

    def slices(limit: int) -> list[Slice]:
        return [
            Slice(len(part), part) for lo in range(0, len(keys), limit) if (part := keys[lo : lo + limit])
        ]

    entries, missing = entered(task.anchor)
    for entry in entries:
        if task.n == 1 or entry.name != ClosureOfOne.name:
            yield _row(entry, _each, slices, "list", keys if task.n > 1 else [])
    yield from missing
    yield null(slices)


def _all(state: Any, part: Any) -> Any:
    return state.allow_many(part)


def _each(state: Any, keys: list[str]) -> list[bool]:
    if isinstance(state.owner, Hierarchical):  # whose users make a path of a key at every call
        allow = state.owner.allow
        return [allow((key,)) for key in keys]
    allow = state.allow
    return [allow(key) for key in keys]


def _known(made: Any, clients: list[str]) -> Any:
    """Let a limiter know all clients: each has made a request."""
    for lo in range(0, len(clients), SAMPLE):
        made.allow_many(clients[lo : lo + SAMPLE])
    return made


def _row(
    entry: Entry, call: Any, slices: Callable[[int], Sequence[Slice]], form: str, clients: list[str]
) -> Contestant:
    return Contestant(
        entry.name,
        entry.role,
        call,
        slices,
        setup=lambda _: _known(entry.make(RATE, BURST, PERIOD), clients),
        check=partial(bounded, entry),
        nbytes=(lambda state: state.owner.nbytes) if isinstance(entry, Ours) else None,
        package=entry.package,
        input=form,
    )


def _first_call(_task: Task, _seed: int) -> Iterator[Contestant]:
    """Hand over the source of a program that times its own first request."""
    for variant in variants("ratelimit"):
        yield program(variant.name, FIRST_CALL.format(name=variant.name))


OPERATIONS: dict[str, Callable[[Task, int], Iterator[Contestant]]] = {
    "allow_many": _allow_many,
    "allow": _allow,
    "first_call": _first_call,
}


# ---------------------------------------------------------------------------------------------------
# The gate


def exact(entry: Ours, answer: Any, part: Slice) -> Gate:
    """Pass as many decisions as requests, and a new limiter that decides on these by the rule."""
    if len(answer.allowed) != part.items:
        return Gate(ok=False, detail=f"{len(answer.allowed)} decisions on {part.items} requests")
    keys, after = (column[:SAMPLE] for column in part.payload)
    limiter = entry.limiter(RATE, BURST, PERIOD)
    found = limiter.allow_many(batch(limiter, keys), after + START_NS).allowed
    want = np.array(list(rule(keys.tolist(), after.tolist())), np.bool_)
    if entry.bursts and not np.array_equal(found, want):
        at = int(np.argmax(found != want))
        return Gate(ok=False, detail=f"request {at} of key {keys[at]}: said {found[at]}")
    return within(Counter(keys[found].tolist()), 0)


def rule(keys: list[int], times: list[int]) -> Iterator[bool]:
    """Decide by GCRA in plain Python."""
    interval, due = PERIOD * 10**9 // RATE, dict[int, int]()
    for key, now in zip(keys, times, strict=True):
        at = max(now, due.get(key, now))
        if allowed := at - now <= (BURST - 1) * interval:
            due[key] = at + interval
        yield allowed


def bounded(entry: Entry, answer: Any, part: Slice) -> Gate:
    """Pass as many answers as requests, and a new limiter that allows a key its burst, at most twice."""
    if len(answer) != part.items:
        return Gate(ok=False, detail=f"{len(answer)} answers to {part.items} requests")
    keys = list(part.payload[:SAMPLE])
    keys = [key.as_py() for key in keys] if isinstance(part.payload, pa.Array) else keys
    start = time.monotonic()
    made = entry.make(RATE, BURST, PERIOD)
    allowed = Counter(key for key in keys if made.allow(key))
    for key, asked in Counter(keys).items():
        if allowed[key] < min(asked, BURST if entry.bursts else RATE):
            return Gate(ok=False, detail=f"{allowed[key]} of {asked} requests of {key!r} were allowed")
    return within(allowed, time.monotonic() - start)


def within(allowed: Counter[Any], seconds: float) -> Gate:
    """Pass no more than twice the burst, and what came back meanwhile."""
    key, most = max(allowed.items(), key=lambda item: item[1], default=("", 0))
    bound = 2 * BURST + RATE * seconds / PERIOD + 1
    return Gate(ok=most <= bound, detail=f"{most} requests of {key!r} were allowed")
