"""Who races in a task of the ids, and what each is handed."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.catalog import variants
from bench import limits
from bench.peers.ids import PEERS, Entry, Ours
from bench.schema import Contestant, Gate, Slice, Task
from bench.tasks._id_quality import measure
from bench.tasks._rows import absent, null, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BYTES = {"binary": 16, "text": 36, "arrow": 36, "list": 36}
"""Of an id of the anchor's."""
ALONE = 1000
"""Ids that are minted one a call between two looks at the clock."""
FIRST_CALL = """\
from time import perf_counter_ns

from algos.ids import {name}

start = perf_counter_ns()
made = {name}({arguments})
made.{call}
print(perf_counter_ns() - start)
"""


def contestants(task: Task, seed: int) -> list[Contestant]:
    """Return everyone who races in a task; what they mint is not made from a seed."""
    del seed
    return list(OPERATIONS[task.op](task))


def entered(anchor: str) -> tuple[list[Entry], list[Contestant]]:
    """Return every kind that mints, the anchor and its control first, and packages; and what is missing."""
    kinds = [Ours(variant) for variant in variants("ids") if variant.name != "Uuid5"]
    first = next(kind for kind in kinds if kind.name == anchor)
    control = Ours(next(v for v in variants("ids") if v.name == anchor), f"{anchor} (control)")
    control.role = "control"
    entries: list[Entry] = [first, control, *(kind for kind in kinds if kind is not first)]
    missing: list[Contestant] = []
    for peer in PEERS:
        try:
            entries.append(peer())
        except ImportError as error:
            missing.append(absent(peer.name, peer.role, peer.package, error))
    return entries, missing


def counts(n: int, limit: int) -> list[Slice]:
    """Ask for ``n`` ids, or as many as there may be in a call."""
    return [Slice(min(n, limit), min(n, limit))]


def _take(task: Task) -> Iterator[Contestant]:
    """Mint a batch. A package has none but lists: it races where these are asked for, or any text."""
    form, slices = task.workload, partial(counts, task.n)
    yield limits.new_array(BYTES[form] * task.n, task.n)
    entries, missing = entered(task.anchor)
    for entry in entries:
        call, check = partial(_batch, entry, form), partial(right, entry)
        make = entry.make_ahead if isinstance(entry, Ours) else entry.make
        given = form if form in entry.forms else "list"
        measured = measure if form == "binary" and entry.role == "ours" else None
        yield _row(entry, call, slices, check, make, given, quality=measured)
    yield from missing
    yield null(slices)


def _batch(entry: Entry, form: str, state: Any, n: int) -> Any:
    return entry.take(state, n, form)


def _next(task: Task) -> Iterator[Contestant]:
    """Mint one id a call, in the same Python loop for everyone."""
    slices = partial(counts, min(task.n, ALONE))
    entries, missing = entered(task.anchor)
    for entry in entries:
        yield _row(entry, partial(_each, entry), slices, partial(right, entry), entry.make, "list")
    yield from missing
    yield null(slices)


def _each(entry: Entry, state: Any, n: int) -> list[Any]:
    one = entry.one(state)
    return [one() for _ in range(n)]


def _read(task: Task) -> Iterator[Contestant]:
    """Read a list of texts, each its own kind's."""
    entries, missing = entered(task.anchor)
    for entry in entries:
        if type(entry).read is not Entry.read:
            make = entry.make_ahead if isinstance(entry, Ours) else entry.make
            texts = entry.take(make(), task.n, "list")
            call, check = partial(_reads, entry), partial(all_read, entry)
            yield _row(entry, call, partial(_parts, texts), check, lambda: None, "list")
    yield from missing
    yield null(partial(counts, task.n))


def _parts(texts: list[str], limit: int) -> list[Slice]:
    return [Slice(len(part), part) for lo in range(0, len(texts), limit) if (part := texts[lo : lo + limit])]


def _reads(entry: Entry, _state: Any, texts: list[str]) -> Any:
    return entry.read(texts)


def _first_call(_task: Task) -> Iterator[Contestant]:
    """Hand over the source of a program that times its own first id."""
    for variant in variants("ids"):
        arguments = {"Snowflake": "1, max_lead_ms=0", "Tsid": "1, max_lead_ms=0", "Uuid5": '"dns"'}
        call = 'one("a")' if variant.name == "Uuid5" else "next()"
        source = FIRST_CALL.format(name=variant.name, arguments=arguments.get(variant.name, ""), call=call)
        yield program(variant.name, source)


def _row(
    entry: Entry,
    call: Callable[[Any, Any], Any],
    slices: Callable[[int], Sequence[Slice]],
    check: Any,
    make: Callable[[], Any],
    form: str,
    **more: Any,
) -> Contestant:
    return Contestant(
        entry.name,
        entry.role,
        call,
        slices,
        setup=lambda _seed: make(),
        check=check,
        package=entry.package,
        input=form,
        **more,
    )


OPERATIONS: dict[str, Callable[[Task], Iterator[Contestant]]] = {
    "take": _take,
    "next": _next,
    "read": _read,
    "first_call": _first_call,
}


# ---------------------------------------------------------------------------------------------------
# The gate


def right(entry: Entry, answer: Any, part: Slice) -> Gate:
    """Pass ids that are as many as asked for, all different, and in order where that is promised."""
    if len(answer) != part.items:
        return Gate(ok=False, detail=f"{len(answer)} ids, not {part.items}")
    if isinstance(answer, np.ndarray):
        answer = answer.tolist() if answer.ndim == 1 else [row.tobytes() for row in answer]
    elif not isinstance(answer, list):
        answer = answer.to_pylist()
    if len(set(answer)) != len(answer):
        return Gate(ok=False, detail=f"{len(answer) - len(set(answer))} ids are there twice")
    if entry.ordered:
        for at, (one, following) in enumerate(itertools.pairwise(answer)):
            if not one < following:
                return Gate(ok=False, detail=f"id {at + 1}, {following!r}, does not follow on {one!r}")
    return Gate(ok=True)


def all_read(_entry: Entry, answer: Any, part: Slice) -> Gate:
    """Pass as many ids as there were texts, all different as these were."""
    rows = [row.tobytes() for row in answer] if isinstance(answer, np.ndarray) else answer
    found = len(set(rows))
    return Gate(ok=found == part.items, detail=f"{found} different ids of {part.items} texts")
