"""Memory for large results: the pages of one that is gone are handed out again.

A new page is zeroed by the system before it is written, which costs as much as making what is written there;
and what is larger than 32 MiB glibc returns to the system at once. Polars and Arrow keep such pages too. At
most ``MOST`` bytes are kept.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import weakref
from math import prod
from typing import Any, cast

import numpy as np

HUGE_PAGE = 2 << 20
LEAST, MOST = 2 * HUGE_PAGE, 64 << 20
_ADVICE = getattr(mmap, "MADV_HUGEPAGE", None)
_kept: list[mmap.mmap] = []


def new_pages(nbytes: int) -> mmap.mmap | None:
    """Return zeros in pages of their own, huge ones if there are; ``None`` where the system has none."""
    if _ADVICE is None:
        return None
    try:
        pages = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"cannot allocate {nbytes:,} bytes; ask for less") from error
    with contextlib.suppress(OSError):  # a kernel without them
        pages.madvise(_ADVICE)
    return pages


def _taken(nbytes: int) -> mmap.mmap | None:
    """Return kept pages that fit, or new ones."""
    for pages in list(_kept):
        if nbytes <= len(pages) <= 2 * nbytes:
            with contextlib.suppress(ValueError):  # another thread was first
                _kept.remove(pages)
                return pages
    return new_pages(-(-nbytes // HUGE_PAGE) * HUGE_PAGE)


def _keep(pages: mmap.mmap) -> None:
    """Keep pages that nobody uses any more, in place of those kept for longest."""
    _kept.append(pages)
    while sum(map(len, _kept)) > MOST:
        with contextlib.suppress(IndexError):
            _kept.pop(0)


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return an array for a result, of whatever was in its memory."""
    nbytes = prod(shape) * np.dtype(dtype).itemsize
    pages = _taken(nbytes) if LEAST <= nbytes <= MOST else None
    if pages is None:
        return np.empty(shape, dtype)
    memory = (ctypes.c_char * len(pages)).from_buffer(pages)
    weakref.finalize(memory, _keep, pages).atexit = False
    raw: Any = np.frombuffer(cast("Any", memory), np.uint8, nbytes)
    return raw.view(dtype).reshape(shape)
