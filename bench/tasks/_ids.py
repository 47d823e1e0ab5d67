"""Who races in a task of the ids, and what each is handed."""

from __future__ import annotations

import itertools
import uuid
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.catalog import variants
from algos.ids import Uuid5
from bench import limits
from bench.peers.ids import PEERS, Entry, Ours
from bench.schema import Contestant, Gate, Slice, Task
from bench.tasks._id_quality import measure
from bench.tasks._rows import absent, null, program
from bench.workloads.texts import texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NAMING = {"uuid": "", "uuid_utils": "uuid-utils"}
"""The modules with a uuid5 of a str, and their packages."""
NAME_LENGTH, SAMPLE = 30, 64
BYTES = {"binary": 16, "text": 36, "arrow": 36, "list": 36}
"""Of an id of the anchor's."""
FIRST_CALL = """\
from time import perf_counter_ns

from algos.ids import {name}

start = perf_counter_ns()
made = {name}({arguments})
made.{call}
print(perf_counter_ns() - start)
"""


def contestants(task: Task, seed: int) -> list[Contestant]:
    """Return everyone who races in a task; only names are made from a seed."""
    return list(OPERATIONS[task.op](task, seed))


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


def whole(n: int, _limit: int) -> list[Slice]:
    """Ask for ``n`` ids in one call, however many."""
    return [Slice(n, n)]


def counts(n: int, limit: int) -> list[Slice]:
    """Ask for ``n`` ids, in calls for as many as there may be in one: what costs the same one by one."""
    return [Slice(size, size) for lo in range(0, n, limit) if (size := min(limit, n - lo))]


def _take(task: Task, _seed: int) -> Iterator[Contestant]:
    """Mint a batch, ours in one call; what packages have is a list, whatever is asked for."""
    form = task.workload
    yield limits.new_array(BYTES[form] * task.n, task.n)
    entries, missing = entered(task.anchor)
    for entry in entries:
        call, check = partial(_batch, entry, form), partial(right, entry)
        make = entry.make_ahead if isinstance(entry, Ours) else entry.make
        given = form if form in entry.forms else "list"
        slices = partial(whole if isinstance(entry, Ours) else counts, task.n)
        measured = measure if form == "binary" and entry.role == "ours" else None
        yield _row(entry, call, slices, check, make, given, quality=measured)
    yield from missing
    yield null(partial(counts, task.n))


def _batch(entry: Entry, form: str, state: Any, n: int) -> Any:
    return entry.take(state, n, form)


def _next(task: Task, _seed: int) -> Iterator[Contestant]:
    """Mint one id a call, in the same Python loop for everyone."""
    slices = partial(counts, task.n)
    entries, missing = entered(task.anchor)
    for entry in entries:
        yield _row(entry, partial(_each, entry), slices, partial(right, entry), entry.make, "list")
    yield from missing
    yield null(slices)


def _each(entry: Entry, state: Any, n: int) -> list[Any]:
    one = entry.one(state)
    return [one() for _ in range(n)]


def _read(task: Task, _seed: int) -> Iterator[Contestant]:
    """Read a list of texts, each its own kind's."""
    entries, missing = entered(task.anchor)
    for entry in entries:
        if hasattr(entry, "read"):
            make = entry.make_ahead if isinstance(entry, Ours) else entry.make
            texts = entry.take(make(), task.n, "list")
            call, check = partial(_reads, entry), partial(all_read, entry)
            yield _row(entry, call, partial(_parts, texts), check, lambda: None, "list")
    yield from missing
    yield null(partial(counts, task.n))


def _parts(texts: list[str], limit: int) -> list[Slice]:
    return [Slice(len(part), part) for lo in range(0, len(texts), limit) if (part := texts[lo : lo + limit])]


def _reads(entry: Any, _state: Any, texts: list[str]) -> Any:
    return entry.read(texts)


def _name(task: Task, seed: int) -> Iterator[Contestant]:
    """Name a list of texts: everyone's ids must be Python's."""
    listed = texts(task.n, NAME_LENGTH, seed, vary=True).to_pylist()
    slices = partial(_parts, listed)
    row = partial(Contestant, slices=slices, check=named_right, input="list")
    yield row("Uuid5", "ours", _named, setup=lambda _: Uuid5("dns"))
    yield row("Uuid5 (control)", "control", _named, setup=lambda _: Uuid5("dns"))
    for module, package in NAMING.items():
        try:
            call = partial(_named_each, import_module(module))
        except ImportError as error:
            yield absent(f"{module} uuid5", "peer", package, error)
        else:
            yield row(f"{module} uuid5", "peer", call, package=package)
    yield null(slices)


def _named(state: Uuid5, names: list[str]) -> list[str]:
    return state.of(names, "list")


def _named_each(module: Any, _state: Any, names: list[str]) -> list[str]:
    uuid5, space = module.uuid5, module.UUID(str(uuid.NAMESPACE_DNS))
    return [str(uuid5(space, name)) for name in names]


def named_right(answer: list[str], part: Slice) -> Gate:
    """Pass ids that are those of Python's own, of the names that there are."""
    for name, got in zip(part.payload[:SAMPLE], answer, strict=False):
        if (want := str(uuid.uuid5(uuid.NAMESPACE_DNS, name))) != got:
            return Gate(ok=False, detail=f"{name!r} is named {got}, not {want}")
    return Gate(ok=len(answer) == part.items, detail=f"{len(answer)} ids of {part.items} names")


def _first_call(_task: Task, _seed: int) -> Iterator[Contestant]:
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


OPERATIONS: dict[str, Callable[[Task, int], Iterator[Contestant]]] = {
    "name": _name,
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
