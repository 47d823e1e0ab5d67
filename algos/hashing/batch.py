"""Hashing of batches: the public ``hash64``, and the chunks that every keyed structure consumes.

Hash and probe are two kernels: one hash kernel per algorithm and key form fills a chunk of hashes,
one probe kernel per structure consumes it. The chunk stays in L2 between the two, and nothing needs
compiling for a pair of hash and structure.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from algos._pages import empty
from algos._threads import in_parts
from algos.hashing._algorithm import ONE
from algos.hashing.crc32 import CRC32C
from algos.hashing.keys import CHUNK, one, pieces, ready, streamed
from algos.hashing.murmur3_32 import MURMUR3_32
from algos.hashing.murmur3_128 import BOTH_LANES, MURMUR3_128
from algos.hashing.murmur64a import MURMUR64A
from algos.hashing.rapidhash import RAPIDHASH
from algos.hashing.siphash import SIPHASH13, SIPHASH24
from algos.hashing.splitmix64 import SPLITMIX64
from algos.hashing.xxh3 import XXH3
from algos.hashing.xxh3_128 import XXH3_128
from algos.hashing.xxh64 import XXH64

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from algos.hashing._algorithm import Algorithm
    from algos.hashing.keys import Piece

_64_BITS = {
    a.name: a
    for a in (
        *(XXH3, XXH64, MURMUR3_128, MURMUR64A, MURMUR3_32),
        *(RAPIDHASH, SIPHASH24, SIPHASH13, CRC32C, SPLITMIX64),
    )
}
_128_BITS = {a.name: a for a in (XXH3_128, BOTH_LANES)}


def _named(name: str, algorithms: dict[str, Algorithm]) -> Algorithm:
    """Return the algorithm of that name, or say which there are."""
    try:
        return algorithms[name]
    except (KeyError, TypeError):
        raise ValueError(f"algorithm={name!r} is not one of {', '.join(algorithms)}") from None


class KeyHasher:
    """The house keys of a structure: one algorithm, one seed, the key policy of ``keys``."""

    __slots__ = ("algorithm", "seed", "word_seed")

    def __init__(self, algorithm: Algorithm, seed: int) -> None:
        self.algorithm = algorithm
        self.seed = algorithm.check_seed(seed)
        self.word_seed = algorithm.words_of(self.seed)

    def pieces(self, keys: Any) -> list[Piece]:
        """Normalise a batch of keys."""
        return pieces(keys)

    def batches(self, keys: Any) -> Iterator[list[Piece]]:
        """Normalise a batch of keys, or any iterable of keys, of which so many at a time are held."""
        if not streamed(keys):
            yield self.pieces(keys)
            return
        base, rest = 0, iter(keys)
        while part := list(islice(rest, CHUNK)):
            try:
                yield self.pieces(part)
            except (TypeError, ValueError, OverflowError) as error:
                error.add_note(f"positions are counted from item {base} of the iterable on")
                raise
            base += len(part)

    def _one_piece(self, key: Any) -> Piece | None:
        return one(key)

    def one(self, key: Any) -> Any:
        """Hash a single key to a uint64[1], through the kernels of the batch; a null gives ``None``."""
        piece = self._one_piece(key)
        if piece is None:
            return None
        out = np.empty(1, np.uint64)
        piece.hash_into(self.algorithm, self.word_seed, 0, 1, out)
        return out

    def hashed(self, piece: Piece, threads: int = 1) -> Any:
        """Hash all keys of a piece that are not null, in threads."""
        out = np.empty(len(piece), np.uint64)
        piece.hash_into(self.algorithm, self.word_seed, 0, 0, out[:0])  # what a dictionary needs only once

        def work(lo: int, hi: int) -> None:
            piece.hash_into(self.algorithm, self.word_seed, lo, hi, out[lo:hi])

        in_parts(threads, len(piece), work)
        return out if piece.valid is None else out[piece.valid]

    def chunks(self, piece: Piece) -> Iterator[tuple[int, Any]]:
        """Yield ``(position, hashes)`` chunk by chunk; each chunk's array is used again for the next."""
        buffer = np.empty(min(CHUNK, len(piece)), np.uint64)
        for lo in range(0, len(piece), CHUNK):
            hi = min(lo + CHUNK, len(piece))
            hashes = buffer[: hi - lo]
            piece.hash_into(self.algorithm, self.word_seed, lo, hi, hashes)
            yield lo, hashes


@overload
def hash64(keys: str | bytes | float, algorithm: str = ..., *, seed: int = ...) -> int: ...
@overload
def hash64(keys: Any, algorithm: str = ..., *, seed: int = ...) -> NDArray[np.uint64]: ...
def hash64(keys: Any, algorithm: str = "xxh3", *, seed: int = 0) -> Any:
    """Hash a batch of ``n`` keys to ``uint64[n]``, or a single key to an ``int``.

    ``algorithm`` is ``xxh3``, ``xxh64``, ``murmur3_128`` (its first 64 bits), ``murmur64a``, ``rapidhash``,
    ``siphash24`` or ``siphash13`` (``seed``: the 128-bit key), ``murmur3_32`` or ``crc32c`` (32 bits,
    widened), or ``splitmix64`` (integers only). Which bytes of a key are hashed is the policy of
    ``algos.hashing.keys``. O(total bytes), one pass, no copy of NumPy or Arrow buffers.

    Raises ``TypeError`` for what is no key, ``OverflowError`` for an int outside [-2^63, 2^64), and
    ``ValueError`` for an unknown algorithm, a seed too wide for it, or a null, which has no hash.

    >>> import numpy as np
    >>> hash64(np.arange(3), "xxh64")
    array([ 3803688792395291579, 11468921228449061269, 16917558970995453360],
          dtype=uint64)
    >>> hash64("abc") == int(hash64(["abc"])[0])
    True
    """
    try:
        found = ONE[algorithm](keys, seed)
    except (KeyError, TypeError):
        found = None  # for _named to say what there is
    if found is not None:
        return found
    single = _single(keys)
    hashes = _hashed([keys] if single else keys, _named(algorithm, _64_BITS), seed, ())
    return int(hashes[0]) if single else hashes


@overload
def hash128(keys: str | bytes | float, algorithm: str = ..., *, seed: int = ...) -> int: ...
@overload
def hash128(keys: Any, algorithm: str = ..., *, seed: int = ...) -> NDArray[np.uint64]: ...
def hash128(keys: Any, algorithm: str = "xxh3", *, seed: int = 0) -> Any:
    """Hash a batch of ``n`` keys to ``uint64[n, 2]``, low half first, or a single key to an ``int``.

    ``algorithm`` is ``xxh3`` (XXH3-128) or ``murmur3_128``. Wide enough that keys can be told apart by
    their hashes alone: two of 10^12 agree with a chance of 10^-15. Keys, cost and errors as of ``hash64``.

    >>> hash128(["hello"], "murmur3_128").tolist() == [[14688674573012802306, 6565844092913065241]]
    True
    >>> hash128("hello", "murmur3_128") == 6565844092913065241 << 64 | 14688674573012802306
    True
    """
    single = _single(keys)
    hashes = _hashed([keys] if single else keys, _named(algorithm, _128_BITS), seed, (2,))
    return int(hashes[0, 1]) << 64 | int(hashes[0, 0]) if single else hashes


def _single(keys: Any) -> bool:
    return keys is None or isinstance(keys, (str, bytes, int, float, np.generic))


def _hashed(keys: Any, algorithm: Algorithm, seed: int, width: tuple[int, ...]) -> NDArray[np.uint64]:
    """Hash a batch to rows of ``width`` words."""
    words = ready(keys)
    if words is not None:  # of L2's size, half of what a call costs besides the hashing is in what follows
        out = empty((len(words), *width), np.uint64)
        algorithm.words(words, algorithm.words_of(algorithm.check_seed(seed)), out)
        return out
    hasher = KeyHasher(algorithm, seed)
    parts = hasher.pieces(keys)
    out = empty((sum(map(len, parts)), *width), np.uint64)
    base = 0
    for part in parts:
        if part.valid is not None and not part.valid.all():
            position = base + int(np.argmin(part.valid))
            raise ValueError(f"key at position {position} is null and has no hash; drop nulls")
        part.hash_into(hasher.algorithm, hasher.word_seed, 0, len(part), out[base : base + len(part)])
        base += len(part)
    return out
