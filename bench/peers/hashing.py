"""Hash functions, ours and others', behind the same few verbs: a batch of keys, and one buffer.

``form`` is the input a function likes best: what is not in it already is made outside the clock, but for the
tasks in which all start from one form. Functions of one key at a time are called in a comprehension, the
fastest loop there is.
"""

from __future__ import annotations

import copy
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from algos.hashing import hash64

if TYPE_CHECKING:
    from collections.abc import Callable

    from algos._variant import Variant
    from bench.schema import Role

Form = Literal["ndarray", "arrow", "list", "bytes", "objects", "polars", "table"]
"""``bytes`` is a list of these, the 8 little-endian ones of an int; ``objects`` an array of Python's."""
Kind = Literal["int", "text"]
SIP_KEY = bytes(range(16))
"""Of SipHash, everywhere: a key of zeros would do as well, but nobody has one."""


class Entry:
    """What is common to them."""

    name: str
    package: str = ""
    role: Role = "peer"
    form: Form = "bytes"
    takes: frozenset[Form] = frozenset()
    function: str = ""
    one: Callable[[Any], Any]
    """Hash one key, ``bytes`` but for Python's own; not there where there is only a batch."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.load()

    def load(self) -> None:
        """Import the package, and the ``function`` of it that hashes one key."""
        if self.function:
            module, _, name = self.function.partition(":")
            self.one = getattr(import_module(module), name)

    def many(self, keys: Any) -> Any:
        """Hash a batch."""
        one = self.one
        return [one(key) for key in keys]


class Ours(Entry):
    """An algorithm of this library; a new one appears here by itself."""

    role: Role = "ours"
    takes = frozenset({"ndarray", "arrow", "list", "bytes"})

    def __init__(self, variant: Variant, kind: Kind) -> None:
        super().__init__(kind)
        self.name = variant.name
        self.algorithm = variant.load()
        self.form = "ndarray" if kind == "int" else "arrow"
        self.bits = 32 if self.name in {"murmur3_32", "crc32c"} else 64
        self.seed = int.from_bytes(SIP_KEY, "little") if "keyed" in variant.properties else 0
        name, seed = self.name, self.seed
        self.one = lambda key: hash64(key, name, seed=seed)

    def control(self) -> Ours:
        """Return the same algorithm once more."""
        again = copy.copy(self)
        again.name, again.role = f"{self.name} (control)", "control"
        return again

    def many(self, keys: Any) -> Any:
        return hash64(keys, self.algorithm.name, seed=self.seed)


class Xxhash3(Entry):
    """xxhash: XXH3 in C, one key a call."""

    name, package, function = "xxhash xxh3", "xxhash", "xxhash:xxh3_64_intdigest"


class Xxhash64(Entry):
    """xxhash: XXH64 in C, one key a call."""

    name, package, function = "xxhash xxh64", "xxhash", "xxhash:xxh64_intdigest"


class Mmh3Short(Entry):
    """mmh3: MurmurHash3's 32 bits in C, one key a call."""

    name, package, function = "mmh3 32", "mmh3", "mmh3:mmh3_32_uintdigest"


class Mmh3Long(Entry):
    """mmh3: MurmurHash3's 128 bits in C, one key a call."""

    name, package, function = "mmh3 128", "mmh3", "mmh3:mmh3_x64_128_uintdigest"


class Crc32c(Entry):
    """crc32c: the checksum in C, by the processor's instruction, one key a call."""

    name, package, function = "crc32c (package)", "crc32c", "crc32c:crc32c"


class Sklearn(Entry):
    """scikit-learn: MurmurHash3's 32 bits in C++, one key a call (batches only of int32)."""

    name, package = "sklearn murmurhash3_32", "scikit-learn"
    function = "sklearn.utils:murmurhash3_32"


class Python(Entry):
    """Python's own ``hash``: SipHash-1-3 of text, kept with the object; ints are their own hash."""

    name, form, function = "Python hash", "list", "builtins:hash"


class Siphash24(Entry):
    """siphash24: SipHash-2-4 in C, one key a call."""

    name, package = "siphash24 (package)", "siphash24"

    def load(self) -> None:
        from siphash24 import siphash24

        self.one = lambda data: siphash24(data, key=SIP_KEY).intdigest()


class Blake3(Entry):
    """blake3: a cryptographic hash in Rust, on one thread: what collision resistance costs."""

    name, package = "blake3", "blake3"

    def load(self) -> None:
        from blake3 import blake3

        self.one = lambda data: blake3(data).digest()


class Polars(Entry):
    """polars: ``Series.hash``, a batch in Rust on one thread (``POLARS_MAX_THREADS``)."""

    name, package, form = "polars hash", "polars", "polars"

    def load(self) -> None:
        import polars  # noqa: F401, ICN001 - its absence is what is asked for

    def many(self, keys: Any) -> Any:
        return keys.hash()


class Pandas(Entry):
    """pandas: ``hash_array``, a batch in C; ints by a mixer, text by SipHash-2-4."""

    name, package = "pandas hash_array", "pandas"

    def load(self) -> None:
        from pandas.util import hash_array

        self.hash = hash_array
        self.form = "ndarray" if self.kind == "int" else "objects"

    def many(self, keys: Any) -> Any:
        return self.hash(keys, categorize=False)


class Duckdb(Entry):
    """DuckDB: ``hash`` in a query on one thread, from an Arrow table to NumPy."""

    name, package, form = "duckdb hash", "duckdb", "table"

    def load(self) -> None:
        import duckdb

        self.connection = duckdb.connect(config={"threads": 1})

    def many(self, keys: Any) -> Any:
        self.connection.register("keys", keys)
        return self.connection.execute("SELECT hash(k) AS h FROM keys").fetchnumpy()["h"]


ONE_A_CALL = (Xxhash3, Xxhash64, Mmh3Short, Mmh3Long, Crc32c, Siphash24, Blake3)
PEERS = (Polars, Pandas, Duckdb, *ONE_A_CALL, Sklearn)
