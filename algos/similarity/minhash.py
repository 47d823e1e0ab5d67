"""MinHash: for each of k random orders of all tokens, the first that a set has.

Broder: On the resemblance and containment of documents, 1997. Two sets have the same first token of their
union in an order with a chance of J = |A and B| / |A or B|, so that the share of places at which two
signatures agree estimates J without bias, at a variance of J (1 - J) / k::

    signature   |  min over tokens of a[0] (h + b[0])  |  a[1] (h + b[1])  |  ...  |  a[k-1] (h + b[k-1])  |

An order is that of a (h + b) modulo 2^32, where h is the token's hash and a, drawn for each place, is odd: a
bijection (Bohman, Cooper, Frieze: Min-wise independent linear permutations, 2000: of n tokens each is first
with a chance of 1/n within O(log^3 n / n^1.5), and deviations cancel out in sums over many). Only 16 places
differ in b, since all it has to do is to keep the one h that no factor moves, -b, from being first
everywhere; so a token costs one add for 16 places and a multiply and a minimum for each. The tests hold the
mean square error to the law. The 32 bits of a hash agree by chance in one of 2^32 / n tokens of a set of n:
past 10^7 tokens take ``affine64``.

The signature of a union is the lesser of both in each place, so sets that grow in parts are merged exactly.
O(k) a token. Good for sets of any sizes, in all ranges of J; to find pairs among many see ``LshIndex``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from algos._arguments import integer
from algos._bits import U32, U64
from algos._fastcall import Method, Native, as_none, number_of, place, slowly, uint32s_of, uint64s_of
from algos._jit import kernel
from algos._threads import in_parts
from algos.errors import CorruptDataError
from algos.hashing._algorithm import Algorithm
from algos.hashing._keyed import hash_alone, house_hasher
from algos.hashing._sha1 import sha1
from algos.hashing.batch import KeyHasher
from algos.similarity._fold import (
    NARROW,
    VECTOR,
    WIDE,
    drawn_factors,
    fold_narrow,
    fold_shared_narrow,
    fold_shared_wide,
    fold_wide,
    whole_folds,
)
from algos.similarity._signatures import MAX_PLACES, Minima, check_places

if TYPE_CHECKING:
    from collections.abc import Callable

    from algos._state import Parameters

MERSENNE = U64((1 << 61) - 1)
U61 = U64(61)
M32 = U64(0xFFFF_FFFF)


@kernel
def _shifted(hashes: Any, starts: Any, a: Any, b: Any, values: Any) -> None:
    """Lower each row's signature, one after the other in ``values``, by ``a (h + b)`` of its hashes."""
    narrow, k = U64(NARROW * VECTOR // a.itemsize), U64(a.size)
    wide = narrow * U64(WIDE // NARROW)
    for i in range(U64(starts.size - 1)):
        lo, hi, at, base = U64(starts[i]), U64(starts[i + U64(1)]), U64(0), i * k
        while at + wide <= k:
            fold_shared_wide(hashes, lo, hi, a, b, at, values, base + at)
            at += wide
        while at < k:
            fold_shared_narrow(hashes, lo, hi, a, b, at, values, base + at)
            at += narrow


@kernel
def _affine(hashes: Any, starts: Any, a: Any, b: Any, values: Any) -> None:
    """Lower each row's signature by ``a h + b`` of its hashes, mixed."""
    narrow, k = U64(NARROW * VECTOR // a.itemsize), U64(a.size)
    wide = narrow * U64(WIDE // NARROW)
    for i in range(U64(starts.size - 1)):
        lo, hi, at, base = U64(starts[i]), U64(starts[i + U64(1)]), U64(0), i * k
        while at + wide <= k:
            fold_wide(hashes, lo, hi, a, b, at, values, base + at)
            at += wide
        while at < k:
            fold_narrow(hashes, lo, hi, a, b, at, values, base + at)
            at += narrow


@kernel
def _mersenne(hashes: Any, starts: Any, a: Any, b: Any, values: Any) -> None:
    """Lower it by ``(a h + b mod 2^64) mod (2^61 - 1) mod 2^32``, a and b in 64 bits."""
    k = U64(a.size)
    for i in range(U64(starts.size - 1)):
        for t in range(U64(starts[i]), U64(starts[i + U64(1)])):
            h = hashes[t] & M32
            for j in range(k):
                x = h * a[j] + b[j]
                x = (x & MERSENNE) + (x >> U61)
                x -= MERSENNE if x >= MERSENNE else U64(0)
                values[i * k + j] = min(values[i * k + j], U32(x & M32))


@kernel
def _premix(hashes: Any, out: Any) -> None:
    """Mix the lower 32 bits of hashes: MurmurHash3's finaliser."""
    for i in range(hashes.size):
        h = hashes[i] & M32
        h = ((h ^ (h >> U64(16))) * U64(0x85EBCA6B)) & M32
        h = ((h ^ (h >> U64(13))) * U64(0xC2B2AE35)) & M32
        out[i] = h ^ (h >> U64(16))


@Native
def _put(me: Any, arguments: Any, count: Any, names: Any) -> Any:
    plain, h = hash_alone(me, arguments, count, names)
    if not plain:
        return slowly(me, "_add_one", arguments, count, names)
    if number_of(me, _BITS) == U64(32):
        a, b, values = uint32s_of(me, _A), uint32s_of(me, _B), uint32s_of(me, _VALUES)
        for i in range(U64(values.size)):
            values[i] = min(values[i], U32((U32(h & M32) + b[i]) * a[i]))
    else:
        wide_a, wide_b, wide = uint64s_of(me, _A), uint64s_of(me, _B), uint64s_of(me, _VALUES)
        for i in range(U64(wide.size)):
            wide[i] = min(wide[i], (h + wide_b[i]) * wide_a[i])
    return as_none()


def _by_random_state(seed: int, k: int, _dtype: Any) -> tuple[Any, Any]:
    """Draw factors as datasketch 2.0 does, from a stream that NumPy never changes."""
    draw = np.random.RandomState(seed)
    a = draw.randint(0, 1 << 31, k, dtype=np.uint32) * U32(2) + U32(1)
    return a, draw.randint(0, 1 << 32, k, dtype=np.uint32)


def _by_random_state_below_mersenne(seed: int, k: int, _dtype: Any) -> tuple[Any, Any]:
    """Draw factors as datasketch did before."""
    draw, below = np.random.RandomState(seed), int(MERSENNE)
    pairs = [[draw.randint(low, below, dtype=np.uint64) for low in (1, 0)] for _ in range(k)]
    return tuple(np.array(pairs, np.uint64).T.copy())


def _no_words(values: Any, _seed: Any, _out: Any) -> None:
    if values.size:
        raise TypeError("datasketch hashes bytes: tokens must be str or bytes here, not numbers")


def _sha1_text(data: Any, offsets: Any, _seed: Any, out: Any) -> None:
    digests = np.empty((len(out), 20), np.uint8)
    sha1(np.empty(0, np.uint8), data, offsets, digests.reshape(-1))
    out[:] = digests[:, :4].copy().view("<u4")[:, 0]


SHA1_32 = Algorithm("sha1_32", 0, _no_words, _sha1_text)
"""The first 32 bits of SHA-1, as datasketch hashes bytes."""


class _Scheme(NamedTuple):
    """Whose values a signature has."""

    dtype: Any
    permutations: Callable[[int, int, Any], tuple[Any, Any]]
    hasher: Callable[[int], KeyHasher]
    kernel: Callable[..., None]
    seeds: int
    premixed: bool = False


def _sha1_hasher(_seed: int) -> KeyHasher:
    return KeyHasher(SHA1_32, 0)


SCHEMES = {
    "affine32": _Scheme(np.uint32, drawn_factors, house_hasher, _shifted, 1 << 64),
    "affine64": _Scheme(np.uint64, drawn_factors, house_hasher, _shifted, 1 << 64),
    "datasketch": _Scheme(np.uint32, _by_random_state, _sha1_hasher, _affine, 1 << 32, True),
    "datasketch-legacy": _Scheme(
        np.uint32, _by_random_state_below_mersenne, _sha1_hasher, _mersenne, 1 << 32
    ),
}


class MinHash(Minima):
    """Signatures of sets by ``permutations`` minima, whose agreement estimates the Jaccard similarity.

    ``signatures(rows)`` is ``uint32[n, permutations]``, some 0.01 ns for each token and permutation with
    AVX-512; ``jaccard`` compares. One structure is also the sketch of one set, to which ``add`` and
    ``add_many`` add, which ``merge`` unites bit for bit, and whose ``signature`` is that of all its tokens.
    The empty set's values are all the greatest there are. Repeated tokens change nothing.

    ``scheme`` is whose values they are: ``affine32``; ``affine64`` for sets of more than 10^7 tokens
    (``uint64``: twice the size, a third of the speed, and far less without AVX-512); ``datasketch``, bit for
    bit the default of that package's 2.0 (tokens ``str`` or ``bytes``, by SHA-1; its own seed is 1), and
    ``datasketch-legacy``, what it made before. Only signatures of one scheme, seed and number of permutations
    can be compared.

    >>> m = MinHash(128)
    >>> a, b = m.signatures([["to", "be", "or", "not"], ["not", "to", "be"]])
    >>> 0.6 < m.jaccard(a, b) < 0.9
    True
    """

    __slots__ = ("_a", "_b", "_bits", "_seed", "permutations", "scheme")

    def __init__(self, permutations: int = 128, *, seed: int = 0, scheme: str = "affine32") -> None:
        self.permutations = check_places("permutations", permutations)
        if scheme not in SCHEMES:
            raise ValueError(f"scheme={scheme!r} is not one of {', '.join(SCHEMES)}")
        self.scheme = scheme
        plan, self._seed = SCHEMES[scheme], integer("seed", seed)
        if not 0 <= self._seed < plan.seeds:
            raise ValueError(f"seed={seed} is outside 0 <= seed < {plan.seeds} of {scheme}")
        self._use(plan.hasher(self._seed))
        a, b = plan.permutations(self._seed, self.permutations, plan.dtype)
        size = len(a) if plan.kernel is _mersenne else whole_folds(len(a), a.dtype)
        self._a, self._b = np.resize(a, size), np.resize(b, size)
        self._values = np.full(size, np.iinfo(plan.dtype).max, plan.dtype)
        self._bits = 8 * self._values.itemsize

    @property
    def seed(self) -> int:
        """The seed of the permutations, and of the tokens' hash where it has one."""
        return self._seed

    @property
    def signature(self) -> Any:
        """The signature of the tokens added: a copy, ``[permutations]``."""
        return self._values[: self.permutations].copy()

    @property
    def _places(self) -> int:
        return self.permutations

    def _lower(self, hashes: Any, starts: Any, values: Any) -> None:
        """Lower the signatures of rows, one after the other in ``values``."""
        plan = SCHEMES[self.scheme]
        if plan.premixed:
            mixed = np.empty_like(hashes)
            _premix(hashes, mixed)
            hashes = mixed
        plan.kernel(hashes, starts, self._a, self._b, values)

    def _sign(self, hashes: Any, starts: Any, out: Any) -> None:
        values = out if out.shape[1] == self._a.size else np.empty((len(out), self._a.size), out.dtype)
        values.fill(np.iinfo(out.dtype).max)
        self._lower(hashes, starts, values.reshape(-1))
        if values is not out:
            out[:] = values[:, : self.permutations]

    def _insert(self, hashes: Any) -> None:
        self._lower(hashes, np.array([0, len(hashes)]), self._values)

    def _insert_in_threads(self, hashes: Any, threads: int) -> None:
        """Add ready hashes, every thread to values of its own; the least of all are kept."""

        def work(lo: int, hi: int) -> None:
            values = np.full_like(self._values, np.iinfo(self._values.dtype).max)
            self._lower(hashes[lo:hi], np.array([0, hi - lo]), values)
            found.append(values)

        found: list[Any] = []
        in_parts(threads, len(hashes), work)
        for values in found:
            np.minimum(self._values, values, out=self._values)

    def merge(self, other: MinHash) -> None:
        """Take in all tokens of ``other``: bit for bit as if they had been added here.

        Raises ``ValueError`` unless permutations, seed and scheme are the same.
        """
        self._check_mergeable(other)
        np.minimum(self._values, other._values, out=self._values)

    add = Method(_put, "_add_one")

    def _parameters(self) -> dict[str, Any]:
        return {"permutations": self.permutations, "seed": self.seed, "scheme": self.scheme}

    def _payload(self) -> Any:
        return self.signature

    @classmethod
    def _restore(cls, parameters: Parameters, payload: memoryview) -> Self:
        permutations = parameters.integer("permutations", 1, MAX_PLACES)
        scheme = parameters.choice("scheme", tuple(SCHEMES))
        dtype = np.dtype(SCHEMES[scheme].dtype)
        if len(payload) != permutations * dtype.itemsize:
            raise CorruptDataError(f"{len(payload)} bytes are not {permutations} values of {dtype.itemsize}")
        seed = parameters.integer("seed", 0, SCHEMES[scheme].seeds - 1)
        self = cls(permutations, seed=seed, scheme=scheme)
        self._values[:permutations] = np.frombuffer(payload, dtype.newbyteorder("<"))
        return self


_A, _B, _VALUES = place(MinHash, "_a"), place(MinHash, "_b"), place(MinHash, "_values")
_BITS = place(MinHash, "_bits")
