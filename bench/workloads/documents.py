"""Documents to compare: sets of tokens, pair by pair of a similarity that is known exactly.

Documents ``2 i`` and ``2 i + 1`` are a pair: of the tokens that each has, as many are in both as bring the
Jaccard similarity nearest to the one wanted. Nobody else has them. Tokens are in no order. As text a token
is a real English word and a number that is its own, as shingles of a document are: ``harbour48213``.

Everything is a pure function of ``(n, length, similarities, seed)``.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from algos.hashing import hash64
from bench.workloads.keys import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Form = Literal["hashes", "hashes unsigned", "hash rows", "ints", "arrow", "lists", "bytes", "texts", "sets"]
VOCABULARY = 2**12


def shared(length: int, similarity: float) -> int:
    """Return how many of ``length`` tokens two documents share to be about so similar."""
    return round(2 * length * similarity / (1 + similarity))


def jaccard(length: int, common: int) -> float:
    """Return the similarity of two documents of ``length`` tokens, ``common`` of which are in both."""
    return common / (2 * length - common)


class Documents:
    """Documents of one length in every form, each made once, on demand."""

    def __init__(self, tokens: NDArray[np.int64], truth: NDArray[np.float64]) -> None:
        self.tokens, self.truth = tokens, truth
        self._forms: dict[Form, Any] = {}

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def length(self) -> int:
        """The number of tokens of each."""
        return self.tokens.shape[1]

    def form(self, form: Form, lo: int = 0, hi: int | None = None) -> Any:
        """Return documents ``lo`` to ``hi``, by default all, as contestants want them."""
        if form not in self._forms:
            self._forms[form] = FORMS[form](self)
        made, hi = self._forms[form], len(self) if hi is None else hi
        if isinstance(made, tuple):
            hashes, offsets = made
            return hashes[lo * self.length : hi * self.length], offsets[: hi - lo + 1]
        return made[lo:hi]

    def offsets(self) -> NDArray[np.int64]:
        """Return where each document starts, and the last one ends."""
        return np.arange(len(self) + 1) * self.length


@cache
def vocabulary() -> pa.Array:
    """Return the most frequent English words of letters alone."""
    plain = (word for word in words() if word.isascii() and word.isalpha() and len(word) > 2)
    return pa.array([word for word, _ in zip(plain, range(VOCABULARY), strict=False)])


def spelt(tokens: NDArray[np.int64]) -> pa.Array:
    """Spell tokens: a word that repeats itself, and the number that tells them apart."""
    word = vocabulary().take(pa.array(tokens % VOCABULARY))
    return pc.binary_join_element_wise(word, pa.array(tokens).cast(pa.string()), "")


def _arrow(documents: Documents) -> pa.Array:
    offsets = pa.array(documents.offsets().astype(np.int32))
    return pa.ListArray.from_arrays(offsets, spelt(documents.tokens.reshape(-1)))


def _hashes(documents: Documents) -> tuple[Any, Any]:
    return hash64(documents.tokens.reshape(-1)), documents.offsets()


def _unsigned(documents: Documents) -> tuple[Any, Any]:
    hashes, offsets = documents.form("hashes")
    return hashes, offsets.astype(np.uint64)


def _ints(documents: Documents) -> list[list[int]]:
    """List the lower halves of hashes."""
    hashes = documents.form("hashes")[0].astype(np.uint32)
    return hashes.reshape(documents.tokens.shape).tolist()


def _bytes(documents: Documents) -> list[list[bytes]]:
    return [[token.encode() for token in tokens] for tokens in documents.form("lists")]


FORMS: dict[Form, Callable[[Documents], Any]] = {
    "hashes": _hashes,
    "hashes unsigned": _unsigned,
    "hash rows": lambda documents: [*documents.form("hashes")[0].reshape(documents.tokens.shape)],
    "ints": _ints,
    "arrow": _arrow,
    "lists": lambda documents: documents.form("arrow").to_pylist(),
    "bytes": _bytes,
    "texts": lambda documents: [" ".join(tokens) for tokens in documents.form("lists")],
    "sets": lambda documents: [set(tokens) for tokens in documents.tokens.tolist()],
}


@lru_cache(maxsize=4)
def planted(n: int, length: int, similarities: tuple[float, ...], seed: int) -> Documents:
    """Make ``n`` documents of ``length`` tokens, of similarities that take turns from pair to pair."""
    pairs = n // 2
    common = np.array([shared(length, wanted) for wanted in similarities])[
        np.arange(pairs) % len(similarities)
    ]
    place = np.arange(length)
    second = np.where(place < common[:, None], place, length + place)
    tokens = np.stack([np.broadcast_to(place, second.shape), second], axis=1)
    tokens = tokens + (2 * length * np.arange(pairs))[:, None, None]
    tokens = np.random.default_rng(seed).permuted(tokens.reshape(2 * pairs, length), axis=1)
    truth = common / (2 * length - common)
    return Documents(tokens + seed % 2**20 * 2**40, truth)
