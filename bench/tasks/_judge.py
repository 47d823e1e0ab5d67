"""The gate of the filters, and the properties they have beside speed."""

from __future__ import annotations

from math import log2, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.peers.filters import Adapter, Ours
from bench.schema import Gate, Quality

if TYPE_CHECKING:
    from bench.schema import Slice
    from bench.workloads.keys import Column

SIGMAS = 4.0
"""Half width of the intervals: chance leaves the truth out once in 16,000, so hundreds of rows stay quiet."""
LENIENCE = 2.0
"""A filter that certainly errs so many times as often as promised is wrong, and its speed says nothing."""


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Return Wilson's interval of a rate, ``SIGMAS`` wide to either side."""
    z2 = SIGMAS**2 / trials
    rate = hits / trials
    centre = (rate + z2 / 2) / (1 + z2)
    half = sqrt(z2 * (rate * (1 - rate) + z2 / 4)) / (1 + z2)
    return max(0.0, centre - half), min(1.0, centre + half)


def judge(answer: Any, part: Slice, *, promise: float) -> Gate:
    """Pass answers without a false negative, and with about as many false positives as promised."""
    found = np.asarray(answer, np.bool_)
    if found.shape != part.truth.shape:
        return Gate(ok=False, detail=f"{found.shape} answers to {part.truth.shape} queries")
    wrong = part.truth & ~found if promise else found != part.truth
    if wrong.any():
        at = int(np.argmax(wrong))
        return Gate(ok=False, detail=f"query {at}, {part.payload[at]!r}: said {bool(found[at])}")
    misses = int(np.count_nonzero(~part.truth))
    if not misses:
        return Gate(ok=True)
    false = int(np.count_nonzero(found & ~part.truth))
    low, _ = wilson(false, misses)
    broken = low > LENIENCE * promise
    detail = f"{false} of {misses} misses found, promised {100 * promise:.3g} %" if broken else ""
    return Gate(ok=not detail, detail=detail, error=false / misses)


def all_found(answer: Any, keys: Any) -> Gate:
    """Pass a filter that answers yes for all these members."""
    found = np.asarray(answer, np.bool_)
    if found.all():
        return Gate(ok=True)
    return Gate(ok=False, detail=f"lost {keys[int(np.argmin(found))]!r} and {np.sum(~found) - 1} others")


def measure(adapter: Adapter, members: int, misses: Column, state: Any) -> list[Quality]:
    """Measure the false-positive rate on keys never put in, and weigh the memory against it.

    Ours are held against their own law, for the bits set now; a package against its promise, which is
    only shown. The bits per key stand beside the fewest that any filter of the rate can use: of the law where
    it held, which is more precise than what was counted.
    """
    bits = 8 * adapter.nbytes(state) / members
    if adapter.role == "exact":
        return [Quality("bits_per_key", bits)]
    tried = misses.head(adapter.trial)
    false = int(np.count_nonzero(adapter.contains_many(state, tried.form(adapter.form))))
    rate, (low, high) = false / len(tried), wilson(false, len(tried))
    law = adapter.law(state) if isinstance(adapter, Ours) else adapter.promise
    held = low <= law <= high if isinstance(adapter, Ours) else None
    return [
        Quality("fpr", rate, theory=law, lo=low, hi=high, ok=held),
        Quality("bits_per_key", bits, theory=log2(1 / sure) if (sure := law if held else rate) else None),
    ]
