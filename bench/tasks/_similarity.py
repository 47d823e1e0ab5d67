"""Who races in a task of similarity, and what each is handed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.catalog import variants
from bench import limits
from bench.peers.similarity import (
    BANDS,
    COMPARERS,
    FINDERS,
    INDEXES,
    ON_ALL_CORES,
    PLACES,
    ROWS,
    SIGNERS,
    SIMHASHES,
    Comparer,
    Finder,
    Index,
    OnAllCores,
    OurFinder,
    OurIndex,
    Ours,
    OursCompares,
    OurSimHash,
    Signer,
    compares,
)
from bench.schema import Contestant, Gate, Slice, Task
from bench.tasks._rows import absent, null, program
from bench.tasks._similarity_quality import (
    ALIKE,
    SIGMAS,
    agreement,
    cosine_law,
    differing,
    found_law,
    measure,
    measure_index,
    measure_simhash,
    partners,
)
from bench.workloads import documents as data

if TYPE_CHECKING:
    from algos._variant import Variant
    from bench.workloads.documents import Documents

INDEXED = (0.3, 0.0, 0.5, 0.0, 0.7, 0.0, 0.8, 0.0, 0.9, 0.0, 0.95, 0.0)
INDEX_LENGTH, WORDS_LENGTH, PAIR_LENGTH, QUERIES = 40, 100, 50, 10_000
FIRST_CALL = """\
from time import perf_counter_ns

import numpy as np

from algos.similarity import {name}

start = perf_counter_ns()
{call}
print(perf_counter_ns() - start)
"""

Slices = Callable[[int], Sequence[Slice]]


def contestants(task: Task, seed: int) -> list[Contestant]:
    """Make the data of a task from a seed and return everyone who races on it."""
    return list(OPERATIONS[task.op](task, seed))


def ours(compared: str) -> list[Variant]:
    """Return the variants whose signatures are compared so; without a name the indexes."""
    return [variant for variant in variants("similarity") if compares(variant) == compared]


def entered(
    found: Sequence[Variant], make: Any, anchor: str, others: Sequence[Any]
) -> tuple[list[Any], list[Contestant]]:
    """Return the variants, the anchor and its control first, and packages; and what is missing."""
    first = next(variant for variant in found if variant.name == anchor)
    control = make(first, f"{anchor} (control)")
    control.role = "control"
    entries = [make(first), control, *(make(variant) for variant in found if variant is not first)]
    missing: list[Contestant] = []
    for other in others:
        try:
            entries.append(other())
        except ImportError as error:
            missing.append(absent(other.name, other.role, other.package, error))
    return entries, missing


def _row(
    entry: Signer | Comparer | Index | Finder, call: Any, slices: Slices, form: str, **more: Any
) -> Contestant:
    return Contestant(entry.name, entry.role, call, slices, package=entry.package, input=form, **more)


# ---------------------------------------------------------------------------------------------------
# Signatures


def _cut(documents: Documents, form: Any, limit: int) -> list[Slice]:
    """Cut documents into slices of whole pairs, of about ``limit`` tokens; the truth is each pair's."""
    step = 2 * max(1, limit // (2 * documents.length))
    return [
        Slice(documents.length * (hi - lo), documents.form(form, lo, hi), documents.truth[lo // 2 : hi // 2])
        for lo in range(0, len(documents), step)
        if (hi := min(lo + step, len(documents)))
    ]


def _signatures(task: Task, seed: int) -> Iterator[Contestant]:
    """Make signatures, everyone of its favourite form, of hashes ready made or of text.

    With ``threads`` in one call, and whoever can on all cores too.
    """
    kind, length, all_cores = task.workload, task.params["length"], "threads" in task.params
    documents = data.planted(2 * (task.n // (2 * length)), length, ALIKE, seed)
    found = ours("jaccard")
    entries, missing = entered(found, Ours, task.anchor, ON_ALL_CORES if all_cores else SIGNERS)
    if all_cores:
        entries += [OnAllCores(variant) for variant in found]
    for entry in entries:
        if kind in entry.forms:
            measured = None if all_cores or entry.role == "control" else partial(measure, entry, kind, length)
            yield _signing(entry, kind, documents, partial(agrees, entry), measured, whole=all_cores)
    yield from missing
    yield null(partial(_cut, documents, "hashes"))


def _simhash(task: Task, seed: int) -> Iterator[Contestant]:
    """Make SimHash's signatures, of 64 bits."""
    kind, length = task.workload, task.params["length"]
    documents = data.planted(2 * (task.n // (2 * length)), length, ALIKE, seed)
    entries, missing = entered(ours("hamming"), OurSimHash, task.anchor, SIMHASHES)
    for entry in entries:
        if kind in entry.forms:
            quality = partial(measure_simhash, entry, kind, length) if entry.role != "control" else None
            yield _signing(entry, kind, documents, partial(differs, entry, length), quality)
    yield from missing
    yield null(partial(_cut, documents, "hashes"))


def _signing(
    entry: Signer, kind: Any, documents: Documents, check: Any, quality: Any, *, whole: bool = False
) -> Contestant:
    form, sign = entry.forms[kind], entry.sign

    def slices(limit: int) -> list[Slice]:
        return _cut(documents, form, documents.tokens.size if whole else limit)

    return _row(entry, lambda _, part: sign(kind, part), slices, form, check=check, quality=quality)


def _jaccard(task: Task, seed: int) -> Iterator[Contestant]:
    """Compare pairs of signatures made before; reading both is the least it takes."""
    documents = data.planted(2 * task.n, PAIR_LENGTH, ALIKE, seed)
    entries, missing = entered(ours("jaccard"), OursCompares, task.anchor, COMPARERS)

    def slices(entry: Comparer, limit: int) -> list[Slice]:
        made = prepared(entry)
        one, other = made[::2], made[1::2]
        return [
            Slice(len(part), (part, other[lo : lo + limit]), documents.truth[lo : lo + limit])
            for lo in range(0, task.n, limit)
            if len(part := one[lo : lo + limit])
        ]

    @cache
    def prepared(entry: Comparer) -> Any:
        made = entry.prepare(documents.form(entry.form))
        if isinstance(made, np.ndarray):  # both sides next to each other in memory
            return (
                np.concatenate([made[::2], made[1::2]])
                .reshape(2, -1, made.shape[1])
                .swapaxes(0, 1)
                .reshape(made.shape)
            )
        return made

    yield limits.read_limit(2 * 4 * PLACES * task.n, task.n)
    for entry in entries:
        yield _row(entry, _compare(entry), partial(slices, entry), entry.form, check=partial(near, entry))
    yield from missing
    yield null(partial(slices, entries[0]))


def _compare(entry: Comparer) -> Any:
    return lambda _state, pairs: entry.compare(pairs)


# ---------------------------------------------------------------------------------------------------
# Indexes


def _indexed(n: int, seed: int) -> Documents:
    return data.planted(n, INDEX_LENGTH, INDEXED, seed)


def _index(task: Task, seed: int) -> Iterator[Contestant]:
    """Build an index of signatures made before, in one call."""
    documents = _indexed(task.n, seed)
    entries, missing = entered(ours(""), OurIndex, task.anchor, INDEXES)

    def slices(entry: Index, _limit: int) -> list[Slice]:
        return [Slice(task.n, _prepared(entry, documents))]

    for entry in entries:
        check = partial(built_right, entry, documents)
        yield _row(entry, _build(entry), partial(slices, entry), _given(entry), check=check)
    yield from missing
    yield null(lambda _: [Slice(task.n, None)])


@cache
def _prepared(entry: Index, documents: Documents) -> Any:
    return entry.prepare(documents.form(entry.form))


def _given(entry: Index) -> str:
    """Say what an index is handed: ours an array, packages a list of their own objects."""
    return "ndarray" if isinstance(entry, OurIndex) else "list"


def _build(entry: Index) -> Any:
    return lambda _state, signatures: entry.build(signatures)


def _candidates(task: Task, seed: int) -> Iterator[Contestant]:
    """Ask an index for the candidates of some of its own documents, whose signatures are ready."""
    documents = _indexed(task.n, seed)
    asked = min(task.n, QUERIES)
    entries, missing = entered(ours(""), OurIndex, task.anchor, INDEXES)

    def slices(entry: Index, limit: int) -> list[Slice]:
        made = _prepared(entry, documents)
        ends = [(lo, min(lo + limit, asked)) for lo in range(0, asked, limit)]
        return [Slice(hi - lo, made[lo:hi], (lo, hi)) for lo, hi in ends]

    for entry in entries:
        yield _row(
            entry,
            entry.query,
            partial(slices, entry),
            _given(entry),
            setup=partial(_built, entry, documents),
            check=partial(candidates_right, entry, documents),
            nbytes=entry.nbytes if isinstance(entry, OurIndex) else None,
            quality=partial(measure_index, entry, documents, asked) if entry.role != "control" else None,
        )
    yield from missing
    yield null(partial(slices, entries[0]))


def _built(entry: Index, documents: Documents, _seed: int) -> Any:
    return entry.build(_prepared(entry, documents))


def _near_duplicates(task: Task, seed: int) -> Iterator[Contestant]:
    """Go from documents of text to the candidates of each, in one call."""
    documents = data.planted(task.n, WORDS_LENGTH, INDEXED, seed)
    entries, missing = entered(ours("jaccard"), OurFinder, task.anchor, FINDERS)

    def slices(entry: Finder, _limit: int) -> list[Slice]:
        return [Slice(task.n, documents.form(entry.form), (0, task.n))]

    for entry in entries:
        check = partial(candidates_right, entry, documents)
        yield _row(entry, _find(entry), partial(slices, entry), entry.form, check=check)
    yield from missing
    yield null(partial(slices, entries[0]))


def _find(entry: Finder) -> Any:
    return lambda _state, documents: entry.find(documents)


def _first_call(_task: Task, _seed: int) -> Iterator[Contestant]:
    """Hand over the source of a program that times its own first signatures."""
    for variant in variants("similarity"):
        call = f"{variant.name}().signatures([range(100)])"
        if not compares(variant):
            call = f"{variant.name}().add([0], np.zeros((1, 128), np.uint32))"
        yield program(variant.name, FIRST_CALL.format(name=variant.name, call=call))


OPERATIONS: dict[str, Callable[[Task, int], Iterator[Contestant]]] = {
    "signatures": _signatures,
    "simhash": _simhash,
    "jaccard": _jaccard,
    "index": _index,
    "candidates": _candidates,
    "near_duplicates": _near_duplicates,
    "first_call": _first_call,
}


# ---------------------------------------------------------------------------------------------------
# The gate


def agrees(entry: Signer, answer: Any, part: Slice) -> Gate:
    """Pass signatures of which pairs agree as they are similar, in the mean of all pairs, within 5 sigma."""
    made = entry.matrix(answer)
    if len(made) != 2 * len(part.truth) or made.shape[1] != PLACES:
        return Gate(ok=False, detail=f"signatures {made.shape} of {2 * len(part.truth)} documents")
    return _within(agreement(made), part.truth, part.truth * (1 - part.truth) / PLACES)


def differs(entry: Signer, length: int, answer: Any, part: Slice) -> Gate:
    """Pass signatures of which pairs differ in as many bits as their angle says, within 5 sigma."""
    made = entry.matrix(answer)
    if made.shape != (2 * len(part.truth),):
        return Gate(ok=False, detail=f"signatures {made.shape} of {2 * len(part.truth)} documents")
    share = cosine_law(part.truth, length)
    return _within(differing(made), share, share * (1 - share) / 64)


def near(entry: Comparer, answer: Any, part: Slice) -> Gate:
    """Pass similarities that are the true ones, within 5 sigma of each; of sets exactly."""
    if len(answer) != part.items:
        return Gate(ok=False, detail=f"{len(answer)} similarities of {part.items} pairs")
    found, scatter = np.array(answer), np.sqrt(part.truth * (1 - part.truth) / PLACES)
    off = np.abs(found - part.truth) - (1e-9 if entry.exact else SIGMAS * scatter + 1 / PLACES)
    at = int(np.argmax(off))
    detail = f"pair {at}: said {found[at]:.3f}, is {part.truth[at]:.3f}"
    return Gate(ok=bool(off[at] <= 0), detail=detail * bool(off[at] > 0))


def _within(found: Any, truth: Any, variance: Any) -> Gate:
    """Pass figures that are the true ones in the mean: single ones scatter, and not quite normally."""
    error, bound = float((found - truth).mean()), SIGMAS * float(np.sqrt(variance.sum())) / len(truth)
    detail = f"{found.mean():.4f} in the mean, {truth.mean():.4f} expected within {bound:.4f}"
    return Gate(ok=abs(error) <= bound, detail=detail * (abs(error) > bound))


def built_right(entry: Index, documents: Documents, answer: Any, _part: Slice) -> Gate:
    """Pass an index that finds what it was given, and those like it."""
    asked = min(len(documents), 512)
    found = entry.query(answer, _prepared(entry, documents)[:asked])
    return _found(entry.listed(found), documents, 0, exact=entry.exact)


def candidates_right(entry: Index | Finder, documents: Documents, answer: Any, part: Slice) -> Gate:
    """Pass candidates among which is each document itself, and as many of the others as the S-curve says."""
    lo, hi = part.truth
    listed = entry.listed(answer)
    if len(listed) != hi - lo:
        return Gate(ok=False, detail=f"{len(listed)} answers to {hi - lo} queries")
    return _found(listed, documents, lo, exact=entry.exact)


def _found(listed: list[list[int]], documents: Documents, lo: int, *, exact: bool) -> Gate:
    for at, candidates in enumerate(listed, lo):
        if at not in candidates:
            return Gate(ok=False, detail=f"document {at} is not among its own candidates {candidates[:9]}")
    found, expected, scatter = partners(listed, documents, lo), *found_law(documents, lo, len(listed), exact)
    ok = abs(found - expected) <= SIGMAS * scatter + 1e-9
    detail = f"{found} partners, {expected:.1f} expected of {BANDS} bands of {ROWS}"
    return Gate(ok=ok, detail=detail * (not ok))
