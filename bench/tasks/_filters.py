"""Who races in a task of the filters, and what each is handed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.catalog import variants
from algos.hashing import hash64
from bench import limits
from bench.peers.filters import (
    EXACT,
    FPR,
    PEERS,
    Adapter,
    FastbloomRs,
    Ours,
    PybloomLive,
    Pyfusefilter,
    PythonSet,
    Rbloom,
    SavableRbloom,
    XorSingleheader,
)
from bench.schema import Contestant, Gate, Slice, Task
from bench.tasks._judge import all_found, judge, measure
from bench.tasks._rows import absent, null, program
from bench.workloads import keys as data

if TYPE_CHECKING:
    from algos._variant import Variant
    from bench.workloads.keys import Form

Call = Callable[[Any, Any], Any]
Slices = Callable[[int], Sequence[Slice]]

NOT_EVERYWHERE = frozenset(
    {
        *("BlockedBloomFilter", "RegisterBlockedBloomFilter", "CountingBloomFilter", "ScalableBloomFilter"),
        *("QuotientFilter", "XorFilter", "RibbonFilter"),
    }
)
"""Variants that race in quick and thorough tasks only: a default run has no time for all in all."""
ARRANGED: dict[str, tuple[dict[str, Any], ...]] = {"BinaryFuseFilter": ({"arity": 4},)}
"""Arguments with which a variant races once more in thorough tasks ..."""
ARRANGED_FOR_TEXT: dict[str, tuple[dict[str, Any], ...]] = {
    "SplitBlockBloomFilter": ({"physical_type": "byte_array"},)
}
"""... and in all that have no ints: Parquet's filters hash by xxHash64."""
SCALARS = 2**16
SWEPT = {"fpr", "bits_per_key"}
"""Parameters of tasks in which our variants are planned otherwise than everyone is; packages stay out."""
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
    return list(OPERATIONS[task.op](task, seed))


def entrants(task: Task) -> list[Variant]:
    """Return the variants that race in a task."""
    left_out = NOT_EVERYWHERE if task.tier == "default" else frozenset()
    return [variant for variant in variants("filters") if variant.name not in left_out]


class Field:
    """The keys of a task and the filters entered in it; one not installed stays as a row that says so."""

    def __init__(self, task: Task, seed: int, others: Sequence[type[Adapter]]) -> None:
        self.n, self.seed = task.n, seed
        self.members, self.misses = data.workload(task.workload, task.n, seed)
        self.kind = self.members.kind
        entries = list(self._ours(task))
        self.anchor = next(entry for entry in entries if entry.name == task.anchor)
        rivals = [entry for entry in entries if entry is not self.anchor and task.n <= entry.reach]
        self.adapters: list[Any] = [self.anchor, self.anchor.control(), *rivals]
        self.absent: list[Contestant] = []
        for other in others:
            if task.n <= other.reach and self.kind in other.kinds:
                self._enter(other)

    def _ours(self, task: Task) -> Iterator[Ours]:
        """Plan the variants for the rate or the space that the task asks for; who cannot is left out."""
        space = task.params.get("bits_per_key")
        for variant in entrants(task):
            usual = Ours(variant, self.kind, fpr=task.params.get("fpr", FPR))
            more = ARRANGED.get(variant.name, ()) if task.tier == "thorough" else ()
            parquet = ARRANGED_FOR_TEXT.get(variant.name, ()) if self.kind != "int" else ()
            for entry in (usual, *(usual.arranged(**options) for options in (*more, *parquet))):
                keys = self.members.form(entry.form)
                planned = entry.within(space, keys) if space else entry
                if planned and planned.possible(keys):
                    yield planned

    def _enter(self, other: type[Adapter]) -> None:
        try:
            self.adapters.append(other(self.kind))
        except ImportError as error:
            self.absent.append(absent(other.name, other.role, other.package, error))

    @cached_property
    def state_bytes(self) -> int:
        """The size of the anchor's state, which is the size of the yardsticks'."""
        return self.anchor.nbytes(self.anchor.make(self.n))

    def build(self, adapter: Adapter, _seed: int = 0) -> Any:
        """Make a filter of all members."""
        return adapter.build(self.members.form(adapter.form))

    def halves(self, adapter: Adapter, _seed: int = 0) -> tuple[Any, Any]:
        """Make two filters planned for all members, each with half of them."""
        keys, middle = self.members.form(adapter.form), self.n // 2
        pair = adapter.make(self.n), adapter.make(self.n)
        adapter.fill(pair[0], keys[:middle])
        adapter.fill(pair[1], keys[middle:])
        return pair

    def contestant(self, adapter: Adapter, call: Call, slices: Slices, **more: Any) -> Contestant:
        """Describe an entry. Only others foretell their setup: ours would be compiling while at it."""
        if "setup" in more and adapter.role in {"peer", "exact"}:
            more["estimate_setup"] = partial(self.estimate, adapter)
        common = {"package": adapter.package, "input": adapter.form}
        return Contestant(adapter.name, adapter.role, call, slices, **common | more)

    def estimate(self, adapter: Adapter) -> float:
        """Foretell the seconds it takes to build, from a nested build of 1 % of the members."""
        some = self.members.head(min(max(1, self.n // 100), TRIED_KEYS))
        keys, seconds = some.form(adapter.form), inf
        for _ in range(2):  # a package's first build may be loading the rest of it
            start = perf_counter()
            adapter.build(keys)
            seconds = min(seconds, perf_counter() - start)
        return seconds * self.n / len(some)

    def holds(self, adapter: Adapter, built: Any, _: Slice) -> Gate:
        """Pass a filter that has an even sample of the members."""
        sample = self.members.take(data.even_sample(self.n, min(self.n, SAMPLE)))
        return all_found(adapter.contains_many(built, sample.form(adapter.form)), sample.form("list"))

    def all_keys(self, form: Form) -> Slices:
        """Hand over all members in one call, however many are asked for."""
        return lambda _: [Slice(self.n, self.members.form(form))]

    def whole(self, payload: Any = None) -> Slices:
        """Count all members as the work of one call."""
        part = Slice(self.n, payload)
        return lambda _: [part]

    def rest(self, slices: Slices) -> Iterator[Contestant]:
        """Return the rows of those not installed, and the empty call."""
        yield from self.absent
        yield null(slices)


def on_payload(method: Callable[[Any], Any]) -> Call:
    """Call a method with the payload; there is no state."""
    return lambda _, payload: method(payload)


def on_state(method: Callable[[Any], Any]) -> Call:
    """Call a method with the state; there is no payload."""
    return lambda state, _: method(state)


def converted(adapter: Adapter, form: Form) -> Call:
    """Return a batch lookup that starts from ``form``, converting inside the clock where it must."""
    if form == adapter.form or form in adapter.takes:
        return adapter.contains_many
    convert = CONVERSIONS[form, adapter.form]
    return lambda state, keys: adapter.contains_many(state, convert(keys))


# ---------------------------------------------------------------------------------------------------
# Operations


def _contains(task: Task, seed: int) -> Iterator[Contestant]:
    """Look many keys up; ``input`` is everyone's favourite, or the one form that all start from.

    ``fpr`` and ``bits_per_key`` plan our variants for another rate than everyone's, or for so much memory.
    """
    usual = SWEPT.isdisjoint(task.params)
    field = Field(task, seed, (*PEERS, *EXACT) if usual else ())
    pool = data.pool(task.workload, task.n, seed, task.params["hits"], data.POOL)
    yield limits.prefetch_limit(field.state_bytes, data.POOL, seed)
    if field.kind == "int" and usual:
        given = field.members.form("ndarray"), FPR, partial(pool.slices, "ndarray")
        fused = any(adapter.name == "BinaryFuseFilter" for adapter in field.adapters)
        for plain in (limits.plain_loop, *([limits.plain_fuse_loop] if fused else [])):
            loop = plain(*given)
            loop.check = partial(judge, promise=FPR)
            yield loop
    elif field.kind != "int":
        yield limits.hash_limit(partial(pool.slices, "arrow"))
    for adapter in field.adapters:
        form = FORMS.get(task.params["input"], adapter.form)
        yield field.contestant(
            adapter,
            converted(adapter, form),
            partial(pool.slices, form),
            setup=partial(field.build, adapter),
            check=partial(judge, promise=adapter.promise),
            nbytes=adapter.nbytes,
            quality=partial(measure, adapter, task.n, field.misses),
            input=form,
        )
    yield from field.rest(partial(pool.slices, field.anchor.form))


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
            check=partial(judge, promise=adapter.promise),
            nbytes=adapter.nbytes,
            input="list",
        )
    yield from field.rest(slices)


def _build(task: Task, seed: int) -> Iterator[Contestant]:
    """Make a filter of all keys, in everyone's favourite form."""
    field = Field(task, seed, (*PEERS, PythonSet) if task.n <= SMALL_SET else PEERS)
    yield limits.prefetch_limit(field.state_bytes, task.n, seed, whole=True)
    for adapter in field.adapters:
        yield field.contestant(
            adapter,
            on_payload(adapter.build),
            field.all_keys(adapter.form),
            check=partial(field.holds, adapter),
        )
    yield from field.rest(field.whole())


def _build_hashes(task: Task, seed: int) -> Iterator[Contestant]:
    """Make a binary fuse filter of one array of uint64: ours, and the C library of its authors."""
    field = Field(task, seed, (XorSingleheader,))
    # XXH3 maps eight bytes to 64 bits one to one: distinct ids have distinct hashes.
    hashes = hash64(field.members.form("ndarray"))
    sample = hashes[:: max(1, task.n // SAMPLE)]
    yield limits.copy_limit(hashes.nbytes, task.n)
    for adapter in field.adapters:
        if adapter.takes_hashes:
            yield field.contestant(
                adapter,
                on_payload(adapter.build_hashes),
                field.whole(hashes),
                check=partial(_holds_hashes, adapter, sample),
                input="ndarray",
            )
    yield from field.rest(field.whole())


def _holds_hashes(adapter: Any, sample: Any, built: Any, _: Slice) -> Gate:
    return all_found(adapter.contains_hashes(built, sample), sample)


def _merge(task: Task, seed: int) -> Iterator[Contestant]:
    """Take one filter into another of the same plan; done again, it changes nothing more."""
    field = Field(task, seed, (Rbloom, FastbloomRs, PybloomLive, PythonSet))
    yield limits.copy_limit(field.state_bytes, task.n)
    for adapter in field.adapters:
        if adapter.merges_again:
            yield field.contestant(
                adapter,
                on_state(partial(_merged, adapter)),
                field.whole(),
                setup=partial(field.halves, adapter),
                check=partial(field.holds, adapter),
            )
    yield from field.rest(field.whole())


def _merged(adapter: Any, pair: tuple[Any, Any]) -> Any:
    return adapter.merge(*pair)


def _serialise(task: Task, seed: int) -> Iterator[Contestant]:
    """Turn a filter into bytes and the bytes into a filter."""
    field = Field(task, seed, (SavableRbloom, FastbloomRs, Pyfusefilter, PybloomLive))
    yield limits.copy_limit(field.state_bytes, task.n)
    for adapter in field.adapters:
        yield field.contestant(
            adapter,
            on_state(adapter.roundtrip),
            field.whole(),
            setup=partial(field.build, adapter),
            check=partial(field.holds, adapter),
            nbytes=adapter.nbytes,
        )
    yield from field.rest(field.whole())


def _first_call(task: Task, _seed: int) -> Iterator[Contestant]:
    """Hand over the source of a program that times its own first build and lookup."""
    for variant in entrants(task):
        module, _, name = variant.target.partition(":")
        source = FIRST_CALL.format(module=module, name=name)
        yield program(variant.name, source)


OPERATIONS: dict[str, Callable[[Task, int], Iterator[Contestant]]] = {
    "contains": _contains,
    "contains_one": _contains_one,
    "build": _build,
    "build_hashes": _build_hashes,
    "merge": _merge,
    "serialise": _serialise,
    "first_call": _first_call,
}
