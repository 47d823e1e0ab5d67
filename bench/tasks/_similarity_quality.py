"""How well signatures estimate, and how well an index finds, beside what theory expects.

Signatures: of pairs of a tenth, a half and nine tenths in common, up to 1,000 each, the root of the mean
square error of the share of places that agree; theory is sqrt(J (1 - J) / k). SimHash's error is that of the
share of bits that differ, beside sqrt(p (1 - p) / 64), p = arccos(cosine) / pi.

An index: the share of documents whose partner is found, beside the mean of the S-curve over these; and how
many candidates there are, without the document itself, for each partner that is above the threshold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import chi2, norm

from bench.peers.similarity import BANDS, PLACES, ROWS, THRESHOLD, OurIndex, Ours
from bench.schema import Quality
from bench.tasks._judge import wilson
from bench.workloads.documents import jaccard, planted, shared

if TYPE_CHECKING:
    from bench.peers.similarity import Index, Signer
    from bench.workloads.documents import Documents

ALIKE = (0.1, 0.5, 0.9)
SIGMAS = 5.0
"""Of the gate."""
HALF_WIDTH = 4.0
"""Of intervals, in sigmas: hundreds of rows stay quiet."""
PAIRS, TOKENS = 1_000, 200_000


def agreement(signatures: Any) -> Any:
    """Return in which share of places both signatures of each pair agree."""
    return (signatures[::2] == signatures[1::2]).mean(axis=1)


def differing(words: Any) -> Any:
    """Return in which share of bits both words of each pair differ."""
    return np.bitwise_count(words[::2] ^ words[1::2]) / 64


def cosine_law(similarity: Any, length: int) -> Any:
    """Return the share of bits in which documents differ: their angle, by the tokens that they share."""
    common = 2 * length * similarity / (1 + similarity)
    return np.arccos(np.clip(common / length, -1.0, 1.0)) / np.pi


def _root(squares: float, trials: int) -> tuple[float, float, float]:
    """Return the root of a mean square of so many errors, and its interval."""
    low, high = (chi2.ppf(norm.cdf([HALF_WIDTH, -HALF_WIDTH]), trials) / trials).tolist()
    return float(np.sqrt(squares)), float(np.sqrt(squares / low)), float(np.sqrt(squares / high))


def _made(entry: Signer, kind: Any, length: int, wanted: float, seed: int) -> tuple[Any, float, int]:
    """Sign pairs of one similarity; return the matrix, the similarity and how many pairs they are."""
    pairs = max(2, min(PAIRS, TOKENS // length))
    documents = planted(2 * pairs, length, (wanted,), seed)
    made = entry.matrix(entry.sign(kind, documents.form(entry.forms[kind])))
    return made, jaccard(length, shared(length, wanted)), pairs


def measure(entry: Signer, kind: Any, length: int, _state: Any) -> list[Quality]:
    """Measure the errors of the estimate, and say how large a signature is.

    Ours are held to the law where documents have as many tokens as signatures have values.
    """
    found = []
    for at, wanted in enumerate(ALIKE):
        made, truth, pairs = _made(entry, kind, length, wanted, 11 + at)
        error, low, high = _root(float(((agreement(made) - truth) ** 2).mean()), pairs)
        law = float(np.sqrt(truth * (1 - truth) / PLACES))
        ok = bool(low <= law) if isinstance(entry, Ours) and length >= PLACES else None
        found.append(Quality(f"jaccard_{wanted:g}_error", error, theory=law, lo=low, hi=high, ok=ok))
    sample = planted(2, length, ALIKE, 1)
    bits = entry.bits(entry.sign(kind, sample.form(entry.forms[kind])))
    return [*found, Quality("bits_per_signature", bits)]


def measure_simhash(entry: Signer, kind: Any, length: int, _state: Any) -> list[Quality]:
    """Measure the error of the share of bits that differ."""
    found = []
    for at, wanted in enumerate(ALIKE):
        made, truth, pairs = _made(entry, kind, length, wanted, 11 + at)
        share = float(cosine_law(truth, length))
        error, low, high = _root(float(((differing(made) - share) ** 2).mean()), pairs)
        law = float(np.sqrt(share * (1 - share) / 64))
        ok = bool(low <= law <= high) if isinstance(entry, Ours) else None
        found.append(Quality(f"hamming_{wanted:g}_error", error, theory=law, lo=low, hi=high, ok=ok))
    return [*found, Quality("bits_per_signature", 64)]


# ---------------------------------------------------------------------------------------------------
# Indexes


def found_law(documents: Documents, lo: int, count: int, exact: bool) -> tuple[float, float]:
    """Return how many of some documents should find their partner, and the standard deviation.

    Both of a pair find each other, or neither does: they are not counted as two.
    """
    similarity = documents.truth[np.arange(lo, lo + count) // 2]
    chance = 1 - (1 - similarity**ROWS) ** BANDS
    if exact:
        chance = (similarity >= THRESHOLD).astype(float)
    return float(chance.sum()), float(np.sqrt(2 * (chance * (1 - chance)).sum()))


def partners(listed: list[list[int]], documents: Documents, lo: int) -> int:
    """Count the documents that found their partner, if they have any in common."""
    has = documents.truth > 0
    return sum(at ^ 1 in found for at, found in enumerate(listed, lo) if has[at // 2])


def measure_index(entry: Index, documents: Documents, asked: int, built: Any) -> list[Quality]:
    """Measure what is found of an index's own documents, and what else is."""
    made = entry.prepare(documents.form(entry.form, 0, asked))
    listed = entry.listed(entry.query(built, made))
    similarity = documents.truth[np.arange(asked) // 2]
    found, have = partners(listed, documents, 0), int(np.count_nonzero(similarity))
    law = found_law(documents, 0, asked, entry.exact)[0] / have
    low, high = wilson(found // 2, have // 2)  # pairs, of which both find each other
    ok = bool(low <= law <= high) if isinstance(entry, OurIndex) else None
    others = sum(len(candidates) - 1 for candidates in listed)
    above = int(np.count_nonzero(similarity >= THRESHOLD))
    size = entry.nbytes(built)
    return [
        Quality("recall", found / have, theory=law, lo=low, hi=high, ok=ok),
        Quality("candidates_per_true_pair", others / max(above, 1)),
        *([Quality("bytes_per_signature", size / len(documents))] if size else []),
    ]
