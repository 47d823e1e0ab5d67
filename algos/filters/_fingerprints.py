"""What filters of 8- or 16-bit fingerprints share: sizes, checks of arguments, and the seeds to try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from algos._bits import U1, U2, U8, U32_, U64, aligned_zeros, prefetch
from algos._jit import inlined
from algos.errors import CorruptDataError
from algos.filters._checks import DEFAULT_FPR, check_fpr, only_one
from algos.hashing._keyed import check_hashes
from algos.hashing.splitmix64 import GAMMA, SPLITMIX64

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTYPES: dict[int, np.dtype[Any]] = {8: np.dtype("<u1"), 16: np.dtype("<u2")}
MAX_KEYS = 1 << 31
MAX_ATTEMPTS = 100


@inlined
def own(h: Any, mask: Any) -> Any:
    """Return a key's own fingerprint."""
    return (h ^ (h >> U32_)) & mask


@inlined
def fetch3(state: Any, k: Any) -> None:
    """Prefetch the three fingerprints of a step's key."""
    fingerprints, at0, at1, at2, _ = state
    prefetch(fingerprints, at0[k])
    prefetch(fingerprints, at1[k])
    prefetch(fingerprints, at2[k])


@inlined
def holds3(state: Any, k: Any) -> Any:
    """Tell whether they XOR to the key's own."""
    fingerprints, at0, at1, at2, mine = state
    return fingerprints[at0[k]] ^ fingerprints[at1[k]] ^ fingerprints[at2[k]] == mine[k]


@inlined
def holds_one(data: Any, bits: Any, positions: Any, h: Any) -> Any:
    """Tell the same of a single hash, from the bytes of all fingerprints."""
    found = U64(0)
    for at in positions:
        if bits == U8:
            found ^= U64(data[at])
        else:
            found ^= U64(data[U2 * at]) | (U64(data[U2 * at + U1]) << U8)
    return found == own(h, (U1 << bits) - U1)


def checked(hashes: Any, fpr: Any, bits: Any) -> tuple[NDArray[np.uint64], int]:
    """Return the hashes and the bits of fingerprint to build with, or say what is wrong with them."""
    only_one(fpr=fpr, bits=bits)
    if bits is None:
        bits = _bits_for(check_fpr(DEFAULT_FPR if fpr is None else fpr))
    elif bits not in tuple(DTYPES):
        raise ValueError(f"bits={bits!r} is not one of {tuple(DTYPES)}")
    hashes = check_hashes(hashes)
    if len(hashes) > MAX_KEYS:
        raise ValueError(f"{len(hashes)} keys are more than the {MAX_KEYS:,} of one filter; build several")
    return hashes, int(bits)


def _bits_for(fpr: float) -> int:
    for bits in DTYPES:
        if 2.0**-bits <= fpr:
            return bits
    raise ValueError(f"fpr={fpr} is below the {2.0**-16:.2g} of 16-bit fingerprints; use RibbonFilter")


def stored(payload: memoryview, keys: int, positions: int, bits: int) -> NDArray[Any]:
    """Copy the fingerprints of a payload, if it has as many as so many keys need."""
    if len(payload) != positions * bits // 8:
        raise CorruptDataError(f"{keys} keys have {positions} fingerprints, not {len(payload)} bytes")
    fingerprints = aligned_zeros(positions, DTYPES[bits])
    fingerprints[:] = np.frombuffer(payload, DTYPES[bits])
    return fingerprints


def seeds(state: Any) -> NDArray[np.uint64]:
    """Return the seeds to try, one after the other: a SplitMix64 stream, as in the C library."""
    found = np.empty(MAX_ATTEMPTS, np.uint64)
    SPLITMIX64.words(state + np.arange(MAX_ATTEMPTS, dtype=np.uint64) * GAMMA, U64(0), found)
    return found
