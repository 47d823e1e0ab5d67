"""Generators of ids, ours and others', behind the same few verbs: one id, a batch of them, and reading.

Packages mint one id a call and are called in a comprehension, the fastest loop there is; but for fastuuid,
which has batches. Some have ids of other guarantees than ours, and are faster for it: whether their ids
ascend, and whether forked children repeat them, is in docs/choose-ids.md.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from importlib import import_module
from typing import TYPE_CHECKING, Any

from algos.ids import NanoId, Snowflake, Tsid, Uuid4

if TYPE_CHECKING:
    from collections.abc import Callable

    from algos._variant import Variant
    from bench.schema import Role

LEAD_MS = 200
"""Of node-numbered generators, whose first id comes so long after they are made."""


class Entry(ABC):
    """What is common to them; those that read texts have ``read`` as well."""

    name: str
    package: str = ""
    role: Role = "peer"
    forms: frozenset[str] = frozenset({"list"})
    """What it mints: ``list``, ``text``, ``arrow``, ``binary``; a package's batch is a list of texts."""
    ordered = False

    def make(self) -> Any:
        """Return a new generator, where there is one."""
        return None

    @abstractmethod
    def one(self, state: Any) -> Callable[[], Any]:
        """Return what mints the text of one id."""

    def take(self, state: Any, n: int, form: str) -> Any:
        """Mint a batch."""
        del form
        one = self.one(state)
        return [one() for _ in range(n)]


class Ahead:
    """A clock that is a minute later whenever it is asked: no batch has to wait for it."""

    def __init__(self) -> None:
        self.now = time.time_ns()

    def __call__(self) -> int:
        self.now += 60 * 10**9
        return self.now


def paced(cls: Any, clock: Any) -> Any:
    """Return a generator of a kind by a clock, where it has one."""
    if cls in {Snowflake, Tsid}:
        return cls(1, max_lead_ms=0, clock=clock)
    return cls() if cls in {NanoId, Uuid4} else cls(clock=clock)


class Ours(Entry):
    """A kind of this library; a new one appears here by itself."""

    role: Role = "ours"
    forms = frozenset({"list", "text", "arrow", "binary"})

    def __init__(self, variant: Variant, name: str = "") -> None:
        self.name, self.cls = name or variant.name, variant.load()
        self.ordered = "ordered" in variant.properties

    def make(self) -> Any:
        return self.cls(1, max_lead_ms=LEAD_MS) if self.cls in {Snowflake, Tsid} else self.cls()

    def make_ahead(self) -> Any:
        """Return a generator for batches in close order, more than a real clock allows a node."""
        return self.cls(1, clock=Ahead()) if self.cls in {Snowflake, Tsid} else self.cls()

    def one(self, state: Any) -> Callable[[], Any]:
        made: Callable[[], Any] = state.next
        return made

    def take(self, state: Any, n: int, form: str) -> Any:
        return state.take(n, form)

    def read(self, texts: Any) -> Any:
        return NANOID.decode(texts) if self.cls is NanoId else self.cls.decode(texts)


NANOID = NanoId()


class Function(Entry):
    """A package with a function that mints an id, which may have to be made a ``str``."""

    function: str
    as_text = True

    def __init__(self) -> None:
        module, _, name = self.function.partition(":")
        self._mint = getattr(import_module(module), name)

    def one(self, state: Any) -> Callable[[], Any]:
        del state
        mint: Callable[[], Any] = self._mint
        return (lambda: str(mint())) if self.as_text else mint


class StdlibUuid4(Function):
    """Python's own uuid: os.urandom for each id."""

    name, function = "uuid uuid4", "uuid:uuid4"

    def read(self, texts: Any) -> Any:
        import uuid

        return [uuid.UUID(text) for text in texts]


class UtilsUuid4(Function):
    """uuid-utils: Rust."""

    name, package, function = "uuid_utils uuid4", "uuid-utils", "uuid_utils:uuid4"


class UtilsUuid7(Function):
    """uuid-utils: Rust; its ids ascend."""

    name, package, function, ordered = "uuid_utils uuid7", "uuid-utils", "uuid_utils:uuid7", True

    def read(self, texts: Any) -> Any:
        import uuid_utils

        return [uuid_utils.UUID(text) for text in texts]


class FastUuid7(Entry):
    """fastuuid: Rust, with a batch of its own."""

    name, package = "fastuuid uuid7", "fastuuid"

    def __init__(self) -> None:
        import fastuuid

        self._module = fastuuid

    def one(self, state: Any) -> Callable[[], Any]:
        del state
        mint = self._module.uuid7
        return lambda: str(mint())

    def take(self, state: Any, n: int, form: str) -> Any:
        del state, form
        return self._module.uuid7_as_strings_bulk(n)

    def read(self, texts: Any) -> Any:
        parse = self._module.UUID
        return [parse(text) for text in texts]


class UlidTransform(Function):
    """ulid-transform: C; its ids do not ascend within a millisecond, and repeat in forked children."""

    name, package = "ulid-transform", "ulid-transform"
    function, as_text = "ulid_transform:ulid_now", False

    def read(self, texts: Any) -> Any:
        from ulid_transform import ulid_to_bytes

        return [ulid_to_bytes(text) for text in texts]


class PythonUlid(Function):
    """python-ulid: Python; its ids ascend."""

    name, package, function, ordered = "python-ulid", "python-ulid", "ulid:ULID", True

    def read(self, texts: Any) -> Any:
        from ulid import ULID

        return [ULID.from_str(text) for text in texts]


class CyKsuid(Function):
    """cyksuid: Cython."""

    name, package, function = "cyksuid", "cyksuid", "cyksuid.v2:ksuid"

    def read(self, texts: Any) -> Any:
        from cyksuid.v2 import parse

        return [parse(text.encode()) for text in texts]


class SnowflakeId(Entry):
    """snowflake-id: Python, in Twitter's layout; an id is an int."""

    name, package, ordered = "snowflake-id", "snowflake-id", True

    def __init__(self) -> None:
        from snowflake import SnowflakeGenerator

        self._make = SnowflakeGenerator

    def make(self) -> Any:
        return self._make(42)

    def one(self, state: Any) -> Callable[[], Any]:
        mint = state.__next__

        def text() -> str:
            while (made := mint()) is None:  # the millisecond is used up
                pass
            return str(made)

        return text


class TsidPy(Function):
    """tsidpy: Python."""

    name, package, function = "tsidpy", "tsidpy", "tsidpy:TSID.create"

    def __init__(self) -> None:
        from tsidpy import TSID

        self._mint = TSID.create


class NanoIdPackage(Function):
    """nanoid: Python."""

    name, package, function, as_text = "nanoid (package)", "nanoid", "nanoid:generate", False


class FastNanoId(Function):
    """fastnanoid: Rust."""

    name, package, function, as_text = "fastnanoid", "fastnanoid", "fastnanoid:generate", False


class Bson(Function):
    """bson of pymongo: Python; its ids ascend within a process."""

    name, package, function = "bson ObjectId", "pymongo", "bson:ObjectId"

    def read(self, texts: Any) -> Any:
        from bson import ObjectId

        return [ObjectId(text) for text in texts]


PEERS = (
    StdlibUuid4,
    UtilsUuid4,
    UtilsUuid7,
    FastUuid7,
    UlidTransform,
    PythonUlid,
    CyKsuid,
    SnowflakeId,
    TsidPy,
    NanoIdPackage,
    FastNanoId,
    Bson,
)
