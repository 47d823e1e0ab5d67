"""Objects that change with every call: one call at a time, and what a fork leaves of them.

A native call holds the GIL from beginning to end, so none comes between. A batch releases it: it takes the
lock and sets the word ``BUSY`` of the state, and native calls that see this go the long way round, to the
same lock.
"""

from __future__ import annotations

import os
import weakref
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUSY = 0
"""The word of the state that says whether a batch is at it."""
_LIVING: weakref.WeakSet[Exclusive] = weakref.WeakSet()


def _after_fork() -> None:
    for each in list(_LIVING):
        each._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Exclusive:
    """An object with a state, whose first word is ``BUSY``, and a lock."""

    __slots__ = ("__weakref__", "_lock", "_state")

    def _hold(self, words: Sequence[int]) -> None:
        """Begin with the words of the state, ``BUSY`` aside."""
        self._state = np.array([0, *words], np.uint64)
        self._lock = Lock()
        _LIVING.add(self)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep everyone else from the state."""
        with self._lock:
            self._state[BUSY] = 1
            try:
                yield
            finally:
                self._state[BUSY] = 0

    def _forked(self) -> None:
        """Begin anew in a child: whoever held the lock is not there."""
        self._lock = Lock()
        self._state[BUSY] = 0
