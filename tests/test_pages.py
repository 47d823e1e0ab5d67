"""Memory of large results: used again once they are gone, never before, and never more than is kept."""

from __future__ import annotations

import gc
import mmap
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from algos import _pages
from algos.hashing import hash64

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
needs_huge_pages = pytest.mark.skipif(
    not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no pages of which to choose"
)


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    gc.collect()
    _pages._kept.clear()
    yield
    _pages._kept.clear()


def address(array: Any) -> int:
    return int(array.ctypes.data)


@pytest.mark.parametrize(
    "nbytes", [0, 1, _pages.LEAST - 8, _pages.LEAST, 5 * MIB, _pages.MOST, _pages.MOST + 8]
)
def test_any_size(nbytes: int) -> None:
    """An array has the shape and type asked for, all of it can be written, and pickles are whole."""
    n = nbytes // 8
    array = _pages.empty((2, n // 2), np.int64)
    assert (array.shape, array.dtype, array.flags.c_contiguous) == ((2, n // 2), np.int64, True)
    array[:] = np.arange(array.size).reshape(array.shape)
    assert (array.reshape(-1) == np.arange(array.size)).all()
    if nbytes < 16 * MIB:
        assert (pickle.loads(pickle.dumps(array)) == array).all()


@needs_huge_pages
def test_pages_are_used_again_when_the_last_view_is_gone() -> None:
    first = _pages.empty((8 * MIB,), np.uint8)
    first[:] = 7
    where, part = address(first), first[5:10]
    del first
    other = _pages.empty((8 * MIB,), np.uint8)
    other[:] = 9
    assert address(other) != where
    assert part.tolist() == [7] * 5
    del part
    gc.collect()
    assert address(_pages.empty((7 * MIB,), np.uint8)) == where


@needs_huge_pages
def test_what_is_kept_is_bounded() -> None:
    """More than ``MOST`` bytes are never kept, and a small result does not hold much larger pages."""
    held = [_pages.empty((20 * MIB,), np.uint8) for _ in range(5)]
    del held
    gc.collect()
    assert 40 * MIB <= sum(map(len, _pages._kept)) <= _pages.MOST
    small = _pages.empty((5 * MIB,), np.uint8)
    assert all(len(pages) == 20 * MIB for pages in _pages._kept)
    assert small.size == 5 * MIB


@needs_huge_pages
def test_threads_do_not_share_pages() -> None:
    def fill(value: int) -> bool:
        good = True
        for _ in range(20):
            array = _pages.empty((5 * MIB,), np.uint8)
            array[::4096] = value
            good &= bool((array[::4096] == value).all())
        return good

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(fill, range(8)))


def test_without_such_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pages, "_ADVICE", None)
    assert _pages.empty((8 * MIB,), np.uint8).size == 8 * MIB
    assert not _pages._kept


def test_results_do_not_change_when_others_are_made() -> None:
    """A batch of hashes stands while its memory would do for the next."""
    keys = np.arange(MIB)
    first = hash64(keys)
    kept = first.copy()
    for seed in range(1, 4):
        hash64(keys, seed=seed)
    assert (first == kept).all()
