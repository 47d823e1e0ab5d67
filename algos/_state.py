"""The one serialised form of every structure, and reading it without trusting it.

======== =====================================================================
bytes    meaning
======== =====================================================================
8        magic ``HOTPATH`` and the format's number, 1
4        length of the header, little-endian like everything else
...      header: JSON ``{"kind": ..., "version": ..., "parameters": {...}}``
8        length of the payload
4        CRC-32 of all that comes before and of the payload
...      payload: the structure's packed state
======== =====================================================================
"""

from __future__ import annotations

import json
import struct
import zlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

from algos.errors import CorruptDataError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC = b"HOTPATH\x01"
_MAX_HEADER = 1 << 16


class Parameters:
    """The parameters of a serialised structure; each is checked as it is read."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def integer(self, name: str, low: int, high: int) -> int:
        """Return an int in ``low..high``, both included."""
        value = self._values.get(name)
        if type(value) is not int or not low <= value <= high:
            raise CorruptDataError(f"parameter {name}={value!r} is not an int in {low}..{high}")
        return value

    def number(self, name: str, low: float, high: float) -> float:
        """Return a float in ``low..high``, both included."""
        value = self._values.get(name)
        if type(value) is not float or not low <= value <= high:
            raise CorruptDataError(f"parameter {name}={value!r} is not a float in {low}..{high}")
        return value

    def choice(self, name: str, options: tuple[Any, ...]) -> Any:
        """Return one of ``options``."""
        value = self._values.get(name, Ellipsis)  # a missing one is none of the options, not even None
        if not any(value == option and type(value) is type(option) for option in options):
            raise CorruptDataError(f"parameter {name}={value!r} is not one of {options}")
        return value


def pack(kind: str, version: int, parameters: Mapping[str, Any], payload: Any) -> bytes:
    """Serialise a structure; ``payload`` is any C-contiguous buffer."""
    header = json.dumps({"kind": kind, "version": version, "parameters": parameters}).encode()
    body = memoryview(payload).cast("B")
    start = MAGIC + struct.pack("<I", len(header)) + header + struct.pack("<Q", len(body))
    checksum = zlib.crc32(body, zlib.crc32(start))
    return b"".join((start, struct.pack("<I", checksum), body))


def unpack(kind: str, version: int, data: Any) -> tuple[Parameters, memoryview]:
    """Return the parameters and the payload, or raise ``CorruptDataError`` saying what is wrong."""
    view = memoryview(data).cast("B")
    if bytes(view[:8]) != MAGIC:
        raise CorruptDataError(
            f"these {len(view)} bytes do not start with {MAGIC!r}: not a Hotpath structure"
        )
    if len(view) < 12:
        raise CorruptDataError(f"truncated: {len(view)} bytes hold no header")
    length = int.from_bytes(view[8:12], "little")
    body = 12 + length + 12
    if length > _MAX_HEADER or len(view) < body:
        raise CorruptDataError(f"truncated: a header of {length} bytes does not fit in {len(view)} bytes")
    size = int.from_bytes(view[body - 12 : body - 4], "little")
    if len(view) != body + size:
        raise CorruptDataError(f"expected a payload of {size} bytes, found {len(view) - body}")
    if zlib.crc32(view[body:], zlib.crc32(view[: body - 4])) != int.from_bytes(
        view[body - 4 : body], "little"
    ):
        raise CorruptDataError("the checksum does not match: these bytes were altered")
    return Parameters(_parameters(kind, version, bytes(view[12 : 12 + length]))), view[body:]


def _parameters(kind: str, version: int, header: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(header)
        found, number, parameters = fields["kind"], fields["version"], fields["parameters"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptDataError(f"unreadable header: {error}") from error
    if found != kind:
        raise CorruptDataError(f"this is a {found!r}, not a {kind!r}: use that class's from_bytes")
    if number != version:
        raise CorruptDataError(f"{kind} version {number!r} is unknown; this library reads version {version}")
    if not isinstance(parameters, dict):
        raise CorruptDataError("unreadable header: parameters must be an object")
    return parameters


class Stored(ABC):
    """A structure that is its parameters and a payload: serialised, pickled, compared and shown by them."""

    __slots__ = ()
    _VERSION = 1

    @abstractmethod
    def _parameters(self) -> dict[str, Any]:
        """Return what, with the payload, makes the structure again."""

    @abstractmethod
    def _payload(self) -> Any:
        """Return the packed state, without padding: an array."""

    @classmethod
    @abstractmethod
    def _restore(cls, parameters: Parameters, payload: memoryview) -> Self:
        """Make the structure from checked parameters and a payload yet to be checked."""

    def _alike(self) -> Self:
        """Return a structure that shares all that this one has, to be given a state of its own."""
        twin = object.__new__(type(self))
        for name in (name for cls in type(self).__mro__ for name in getattr(cls, "__slots__", ())):
            setattr(twin, name, getattr(self, name))
        return twin

    def to_bytes(self) -> bytes:
        """Serialise, with a checksum; ``from_bytes`` on any machine makes the same structure."""
        return pack(type(self).__name__, self._VERSION, self._parameters(), self._payload())

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Self:
        """Make a structure from ``to_bytes``; anything else raises ``CorruptDataError``."""
        return cls._restore(*unpack(cls.__name__, cls._VERSION, data))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_bytes, (self.to_bytes(),)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """The size of the state in memory, in bytes."""

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._parameters().items())
        return f"<{type(self).__name__} {given}, {self.nbytes:,} bytes>"
