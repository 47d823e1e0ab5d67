"""Who races in a task of the filters, what each is handed, and how its answers are judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from math import sqrt
from time import perf_counter
from typing import Any

import numpy as np

from algos.catalog import variants
from algos.hashing import hash64
from bench import limits
from bench.peers.filters import (
    EXACT,
    FPR,
    PEERS,
    Adapter,
    Ours,
    PythonSet,
    SavableRbloom,
    XorSingleheader,
    optimal_bits,
)
from bench.schema import Contestant, Gate, Quality, Slice, Task
from bench.workloads import keys as data
from bench.workloads.keys import Form

Call = Callable[[Any, Any], Any]
Slices = Callable[[int], Sequence[Slice]]

ANCHOR = "SplitBlockBloomFilter"
SIGMAS = 4.0
"""Half width of the intervals: chance leaves the truth out once in 16,000, so hundreds of rows stay quiet."""
WORST_FPR = 2 * FPR
"""A filter that certainly errs more often has broken its promise, and its speed says nothing."""
SCALARS = 2**16
SAMPLE = 2**12
TRIED_KEYS = 5_000
SMALL_SET = 300_000
FORMS: dict[str, Form] = {"numpy": "ndarray", "arrow": "arrow", "list": "list"}
CONVERSIONS: dict[tuple[Form, Form], Callable[[Any], Any]] = {
    ("ndarray", "list"): lambda keys: keys.tolist(),
    ("arrow", "list"): lambda keys: keys.to_pylist(),
    ("arrow", "ndarray"): lambda keys: keys.to_numpy(),
    ("list", "ndarray"): np.array,
}
FIRST_CALL = """\
from time import perf_counter_ns

import numpy as np

from {module} import {name}

keys = np.arange(1000, dtype=np.int64)
start = perf_counter_ns()
{name}.build(keys).contains_many(keys)
print(perf_counter_ns() - start)
"""


def contestants(task: Task, seed: int) -> list[Contestant]:
    """Make the data of a task from a seed and return everyone who races on it."""
    return list(FIELDS[task.op](task, seed))


class Field:
    """The keys of a task and the filters entered in it; one not installed stays as a row that says so."""

    def __init__(self, task: Task, seed: int, others: Sequence[type[Adapter]]) -> None:
        self.task, self.seed = task, seed
        self.members, self.misses = data.workload(task.workload, task.n, seed)
        kind = self.members.kind
        known = {variant.name: variant for variant in variants("filters")}
        entries: list[Adapter] = [Ours(variant, kind) for variant in known.values()]
        entries.append(Ours(known[task.anchor], kind, control=True))
        self.adapters = [entry for entry in entries if task.n <= entry.reach]
        self.absent: list[Contestant] = []
        self.anchor = Ours(known[ANCHOR], kind)
        for other in others:
            if task.n <= other.reach and kind in other.kinds:
                self._enter(other)

    def _enter(self, other: type[Adapter]) -> None:
        try:
            self.adapters.append(other(self.members.kind))
        except ImportError as error:
            row = Contestant(other.name, other.role, nothing, lambda _: [], package=other.package)
            row.missing = f"{error}; pip install {other.package}"
            self.absent.append(row)

    @cached_property
    def state_bytes(self) -> int:
        """The size of a split-block filter of these keys: the yardsticks work on as much."""
        return self.anchor.nbytes(self.anchor.make(self.task.n))

    def whole(self, form: Form) -> Slices:
        """Hand over all members at once."""
        return lambda _: [Slice(self.task.n, self.members.form(form))]

    def together(self) -> Slices:
        """Count all members as one call's work, and hand over nothing."""
        return lambda _: [Slice(self.task.n, None)]

    def build(self, adapter: Adapter, seed: int) -> Any:
        """Set up a filter of all members."""
        return adapter.build(self.members.form(adapter.form))

    def estimate(self, adapter: Adapter) -> float:
        """Foretell the seconds ``build`` takes from a nested one of 1 % of the members."""
        some = self.members.head(min(max(1, self.task.n // 100), TRIED_KEYS))
        keys = some.form(adapter.form)
        start = perf_counter()
        adapter.build(keys)
        return (perf_counter() - start) * self.task.n / len(some)

    def holds(self, adapter: Adapter, built: Any, _: Slice) -> Gate:
        """Pass a filter that has every member of an even sample."""
        sample = self.members.take(data.even_sample(self.task.n, min(self.task.n, SAMPLE)))
        found = np.asarray(adapter.contains_many(built, sample.form(adapter.form)), np.bool_)
        return all_found(found, sample.form("list"))

    def contestant(self, adapter: Adapter, call: Call, slices: Slices, **more: Any) -> Contestant:
        """Describe an entry; only packages are asked to foretell a setup, ours would compile in it."""
        if "setup" in more and adapter.role in {"peer", "exact"}:
            more["estimate_setup"] = partial(self.estimate, adapter)
        more = {"input": adapter.form, "package": adapter.package, **more}
        return Contestant(adapter.name, adapter.role, call, slices, **more)

    def prefetch_limit(self, items: int, *, whole: bool = False) -> Contestant:
        """Return the yardstick of one random cache line per item, in a table as big as the anchor's."""
        lines = data.Column(limits.random_lines(self.state_bytes, items, self.seed).view(np.int64))
        pool = data.Pool(lines, np.zeros(items, np.bool_))
        return Contestant(
            "prefetch limit",
            "limit",
            lambda table, some: limits.prefetch_lines(table, some.view(np.uint64)),
            lambda limit: pool.slices("ndarray", items if whole else limit),
            setup=lambda _: limits.table(self.state_bytes),
            nbytes=lambda table: int(table.nbytes),
            input="ndarray",
        )


# ---------------------------------------------------------------------------------------------------
# Operations


def _contains(task: Task, seed: int) -> Iterator[Contestant]:
    """Look many keys up; ``input`` is everyone's favourite, or the one form that all start from."""
    field = Field(task, seed, (*PEERS, *EXACT))
    pool = data.pool(task.workload, task.n, seed, task.params["hits"], data.POOL)
    yield field.prefetch_limit(data.POOL)
    yield _plain_loop(field, pool) if field.members.kind == "int" else _hash_limit(pool)
    for adapter in field.adapters:
        form = FORMS.get(task.params["input"], adapter.form)
        yield field.contestant(
            adapter,
            converting(adapter, form),
            partial(pool.slices, form),
            setup=partial(field.build, adapter),
            check=partial(judge, exact=adapter.role == "exact"),
            nbytes=adapter.nbytes,
            quality=partial(measure, adapter, field),
            input=form,
        )
    yield from field.absent
    yield Contestant("null", "null", nothing, partial(pool.slices, field.anchor.form))


def _plain_loop(field: Field, pool: data.Pool) -> Contestant:
    def call(words: Any, keys: Any) -> Any:
        out = np.empty(len(keys), np.bool_)
        limits.plain_lookup(words, keys.view(np.uint64), out)
        return out

    return Contestant(
        "plain loop",
        "limit",
        call,
        partial(pool.slices, "ndarray"),
        setup=lambda seed: field.build(field.anchor, seed)._words,
        check=partial(judge, exact=False),
        nbytes=lambda words: int(words.nbytes),
        input="ndarray",
    )


def _hash_limit(pool: data.Pool) -> Contestant:
    """Return the yardstick of hashing the keys and doing nothing with the hashes."""
    slices = partial(pool.slices, "arrow")
    return Contestant("hash limit", "limit", lambda _, keys: hash64(keys), slices, input="arrow")


def _contains_one(task: Task, seed: int) -> Iterator[Contestant]:
    """Look keys up one a call, in the same Python loop for everyone."""
    field = Field(task, seed, (*PEERS, PythonSet))
    pool = data.pool(task.workload, task.n, seed, task.params["hits"], SCALARS)
    slices = partial(pool.slices, "list")
    for adapter in field.adapters:
        yield field.contestant(
            adapter,
            adapter.contains_each,
            slices,
            setup=partial(field.build, adapter),
            check=partial(judge, exact=adapter.role == "exact"),
            nbytes=adapter.nbytes,
            input="list",
        )
    yield from field.absent
    yield Contestant("null", "null", nothing, slices)


def _build(task: Task, seed: int) -> Iterator[Contestant]:
    """Make a filter of keys in everyone's favourite form."""
    field = Field(task, seed, (*PEERS, PythonSet) if task.n <= SMALL_SET else PEERS)
    yield field.prefetch_limit(task.n, whole=True)
    for adapter in field.adapters:
        call, slices = discarding_state(adapter.build), field.whole(adapter.form)
        yield field.contestant(adapter, call, slices, check=partial(field.holds, adapter))
    yield from field.absent
    yield Contestant("null", "null", nothing, field.together())


def _build_hashes(task: Task, seed: int) -> Iterator[Contestant]:
    """Make a binary fuse filter of one uint64 array, as its authors' C library and as ours do."""
    field = Field(task, seed, (XorSingleheader,))
    # XXH3 is a bijection of eight bytes, so distinct ids have distinct hashes.
    hashes = hash64(field.members.form("ndarray"))
    part = Slice(task.n, hashes)
    sample = hashes[:: max(1, task.n // SAMPLE)]

    def check(adapter: Any, built: Any, _: Slice) -> Gate:
        return all_found(np.asarray(adapter.contains_hashes(built, sample), np.bool_), sample)

    yield Contestant(
        "copy limit",
        "limit",
        limits.copy_words_to,
        lambda _: [part],
        setup=lambda _: np.ones(task.n, np.uint64),
        input="ndarray",
    )
    for adapter in field.adapters:
        if hasattr(adapter, "build_hashes"):
            call = discarding_state(adapter.build_hashes)
            yield field.contestant(
                adapter, call, lambda _: [part], check=partial(check, adapter), input="ndarray"
            )
    yield from field.absent
    yield Contestant("null", "null", nothing, lambda _: [part])
