"""What every sampler shares: its arguments, the items in its slots, and their form in bytes.

The payload is the words of the state, what the sampler keeps for each slot, and the items::

    | state uint64[STATE] | columns, 8 bytes a slot | code of the items' kind | items |
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from algos._arguments import integer
from algos._state import Stored
from algos.errors import CorruptDataError
from algos.sampling import _numbers
from algos.sampling._items import NOTHING, keep_like, pack_items, unpack_items

if TYPE_CHECKING:
    from algos._state import Parameters
    from algos.sampling._items import Batch, Kept

MAX_K = (1 << 31) - 1
MAX_SEEN = 1 << 63
MAX_SEED = (1 << 64) - 1
SEEN, CODE = _numbers.WORDS, _numbers.WORDS + 1
"""Words of the state: how many items were offered, of what kind the kept ones are; then the variant's."""
OWN = _numbers.WORDS + 2


class Sampler(Stored):
    """Up to ``k`` of the items offered, and random numbers of its own."""

    __slots__ = ("_kept", "_seed", "_state", "k")
    STATE: int
    """Words of the state."""
    COLUMNS: int
    """Words that are kept for each slot."""

    def __init__(self, k: int, *, seed: int = 0) -> None:
        self.k, self._seed = integer("k", k), integer("seed", seed)
        if not 1 <= self.k <= MAX_K:
            raise ValueError(f"k={self.k} is outside 1..2**31 - 1, the items a sample can have")
        if not 0 <= self._seed <= MAX_SEED:
            raise ValueError(f"seed={self._seed} is outside 0 <= seed < 2**64")
        self._state = np.zeros(self.STATE, np.uint64)
        _numbers.seeded(self._state, np.uint64(self._seed))
        self._kept: Kept | None = None

    @property
    def seed(self) -> int:
        """The seed of the random numbers."""
        return self._seed

    @property
    def seen(self) -> int:
        """How many items were offered."""
        return int(self._state[SEEN])

    @abstractmethod
    def __len__(self) -> int:
        """How many items are in the sample."""

    def sample(self) -> Any:
        """Return the items sampled, a copy, in no particular order, O(k).

        NumPy's come as an array of their dtype, a row an item; Arrow's as a pyarrow array; others as a list.
        """
        return [] if self._kept is None else self._kept.pick(self._sampled())

    def _sampled(self) -> Any:
        """Return the slots of the sample."""
        return np.arange(len(self))

    def _admit(self, batch: Batch) -> Kept:
        """Return where the items of a batch can be kept; refuse a batch of another kind, or one too many."""
        if self.seen + batch.size > MAX_SEEN:
            raise OverflowError(f"{self.seen} and {batch.size} items are more than 2**63: make a new sampler")
        if self._kept is None:
            return keep_like(batch)
        self._kept.admit(batch)
        return self._kept

    def _keep(self, kept: Kept) -> Kept:
        self._kept, self._state[CODE] = kept, kept.CODE
        return kept

    def _check_mergeable(self, other: Any) -> None:
        """Refuse what cannot be merged."""
        if type(other) is not type(self):
            raise ValueError(f"cannot merge a {type(other).__name__} into a {type(self).__name__}")
        if other.k != self.k:
            raise ValueError(f"cannot merge samples with k={self.k} and k={other.k}; make both alike")
        if self.seen + other.seen > MAX_SEEN:
            raise OverflowError(f"{self.seen} and {other.seen} items are more than 2**63")
        if other._kept is not None:
            self._admit(other._kept.batch(len(other)))

    def _check_independent(self, other: Sampler) -> None:
        if other._seed == self._seed:
            raise ValueError(f"both samples have seed={self._seed}: give each stream a seed of its own")

    @property
    def nbytes(self) -> int:
        """The size of the state and the items in memory, in bytes; of a list without its objects."""
        kept = 0 if self._kept is None else self._kept.nbytes
        return int(self._state.nbytes) + 8 * self.COLUMNS * len(self) + kept

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self) or self._parameters() != other._parameters():
            return NotImplemented if type(other) is not type(self) else False
        try:
            return self.to_bytes() == other.to_bytes()
        except TypeError:  # objects
            return bool(
                np.array_equal(self._fixed(), other._fixed()) and _alike(self.sample(), other.sample())
            )

    __hash__ = None

    def _slots(self) -> int:
        """Return how many slots are used; those of the sample come first."""
        return len(self)

    def _fixed(self) -> Any:
        """Return all of the state but the items: uint64, the columns one after another."""
        return self._state

    def _parameters(self) -> dict[str, Any]:
        return {"k": self.k, "seed": self._seed}

    def _payload(self) -> Any:
        fixed = self._fixed().astype("<u8").tobytes()
        return np.frombuffer(fixed + pack_items(self._kept, np.arange(self._slots())), np.uint8)

    @classmethod
    def _restore(cls, parameters: Parameters, payload: memoryview) -> Self:
        self = cls.__new__(cls)
        self.k = parameters.integer("k", 1, MAX_K)
        self._seed = parameters.integer("seed", 0, MAX_SEED)
        self._configure(parameters)
        size = 8 * cls.STATE
        if len(payload) < size:
            raise CorruptDataError(f"a payload of {len(payload)} bytes has no state of {size}")
        self._state = np.frombuffer(payload[:size], "<u8").astype(np.uint64)
        if not self._state[: _numbers.WORDS].any() or int(self._state[SEEN]) > MAX_SEEN:
            raise CorruptDataError("no sampler has this state")
        slots = self._slots_claimed()
        end = size + 8 * cls.COLUMNS * slots
        if slots > self.k + 1 or len(payload) < end:
            raise CorruptDataError(f"a payload of {len(payload)} bytes has no {slots} items")
        self._kept = unpack_items(payload[end:], slots)
        if self._state[CODE] != (NOTHING if self._kept is None else self._kept.CODE):
            raise CorruptDataError("the items are not of the kind that they are said to be")
        self._check(np.frombuffer(payload[size:end], "<u8").astype(np.uint64).reshape(cls.COLUMNS, slots))
        return self

    def _configure(self, parameters: Parameters) -> None:
        """Take in parameters of the variant's own."""

    @abstractmethod
    def _slots_claimed(self) -> int:
        """Return how many slots a state that was read says are used."""

    @abstractmethod
    def _check(self, columns: Any) -> None:
        """Take in the columns; ``CorruptDataError`` if these and the state are no sampler's."""


def _alike(mine: Any, theirs: Any) -> bool:
    """Tell whether two samples have equal objects."""
    return type(mine) is type(theirs) and list(mine) == list(theirs)
