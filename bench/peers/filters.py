"""Membership filters, ours and others', behind the same few verbs.

Every filter is planned for the keys it gets and for one false-positive rate, ``FPR``; ours for others, or
for a number of bits per key, where a task asks for it. ``form`` is the input a filter likes best; whoever
hands it another form converts inside the clock. ``reach`` is the largest number of keys a filter is entered
with: beyond it, building alone would eat the time of everyone else, so what runs in the interpreter meets
the others on small sets, where it is at its best.
"""

from __future__ import annotations

import copy
import io
import sys
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from algos._variant import Variant
    from bench.schema import Role
    from bench.workloads.keys import Form, Kind

FPR = 0.01
INTERPRETED, NATIVE, VECTORISED = 30_000, 4_000_000, 13_000_000


class Adapter:
    """What is common to them: made empty and filled, asked key by key, fed Python objects.

    Each has ``nbytes``, the size of a filter's own memory, and, unless it has its own ``build``, ``make`` an
    empty filter and ``fill`` it, as many keys at a time as the package allows.

    ``trial`` is the number of misses spent on measuring the false-positive rate, ``promise`` that rate as
    the package states it.
    """

    name: str
    package: str = ""
    role: Role = "peer"
    form: Form = "list"
    takes: frozenset[Form] = frozenset()  # other forms it accepts as they are
    kinds: frozenset[Kind] = frozenset({"int", "text", "bytes"})
    reach = NATIVE
    trial = 2**17
    promise = FPR
    merges_again = True  # a merge done twice is a merge done once
    takes_hashes = False  # can be built of ready 64-bit hashes
    make: Callable[[int], Any]
    fill: Callable[[Any, Any], None]
    nbytes: Callable[[Any], int]

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.load()

    def load(self) -> None:
        """Import the package."""

    def build(self, keys: Any) -> Any:
        """Make a filter of keys."""
        state = self.make(len(keys))
        self.fill(state, keys)
        return state

    def contains_each(self, state: Any, keys: list[Any]) -> list[bool]:
        """Ask for one key after the other."""
        return [key in state for key in keys]

    def contains_many(self, state: Any, keys: Any) -> Any:
        """Ask for many keys in the way that suits the package best."""
        return self.contains_each(state, keys)


class Ours(Adapter):
    """A variant of this library; a new one appears here by itself.

    ``plan`` is what it is made with, beside the keys.
    """

    role: Role = "ours"
    takes = frozenset({"list", "ndarray", "arrow"})
    reach = VECTORISED
    trial = 2**20

    def __init__(self, variant: Variant, kind: Kind, **plan: Any) -> None:
        super().__init__(kind)
        self.filter, self.name, self.plan = variant.load(), variant.name, plan or {"fpr": FPR}
        self.promise = self.plan.get("fpr", 1.0)
        self.form = "ndarray" if kind == "int" else "arrow"
        if "removable" in variant.properties:  # it moves keys about while it is built
            self.reach = NATIVE
        self.takes_hashes = hasattr(self.filter, "build_hashes")
        self.merges_again = variant.properties & {"mergeable", "removable"} == {"mergeable"}

    def control(self) -> Ours:
        """Return the same variant once more, to be built and timed on its own."""
        again = copy.copy(self)
        again.name, again.role = f"{self.name} (control)", "control"
        return again

    def arranged(self, **more: Any) -> Ours:
        """Return the same variant with arguments that are not its usual ones, and named by them."""
        other = copy.copy(self)
        other.name = f"{self.name} {', '.join(f'{key}={value}' for key, value in more.items())}"
        other.plan = self.plan | more
        return other

    def possible(self, keys: Any) -> bool:
        """Tell whether it can be made as planned: not every variant reaches every rate."""
        try:
            self.build(keys[:1])
        except ValueError:
            return False
        return True

    def within(self, bits_per_key: float, keys: Any) -> Ours | None:
        """Return the same variant in the configuration that uses most of so much memory, if it can choose."""
        other, known = copy.copy(self), signature(self.filter.build).parameters
        rest = {key: value for key, value in self.plan.items() if key != "fpr"}
        other.promise = 1.0
        if "bits_per_key" in known:
            other.plan = rest | {"bits_per_key": bits_per_key}
            return other
        for bits in range(int(bits_per_key), 0, -1) if "bits" in known else ():
            other.plan = rest | {"bits": bits}
            if other.possible(keys) and 8 * other.nbytes(other.build(keys)) <= bits_per_key * len(keys):
                return other
        return None

    def make(self, capacity: int) -> Any:
        return self.filter(capacity, **self.plan)

    def fill(self, state: Any, keys: Any) -> None:
        state.add_many(keys)

    def build(self, keys: Any) -> Any:
        return self.filter.build(keys, **self.plan)

    def build_hashes(self, hashes: Any) -> Any:
        return self.filter.build_hashes(hashes, **self.plan)

    def contains_many(self, state: Any, keys: Any) -> Any:
        return state.contains_many(keys)

    def contains_hashes(self, state: Any, hashes: Any) -> Any:
        return state.contains_hashes(hashes)

    def nbytes(self, state: Any) -> int:
        return int(state.nbytes)

    def law(self, state: Any) -> float:
        """Return the chance that a random new key is found, given the bits set now."""
        return float(state.expected_fpr())

    def merge(self, state: Any, other: Any) -> Any:
        state.merge(other)
        return state

    def roundtrip(self, state: Any) -> Any:
        return self.filter.from_bytes(state.to_bytes())


class Rbloom(Adapter):
    """rbloom: Bloom, Rust, over Python's ``hash``. A comprehension over ``in`` beats ``map`` by a quarter."""

    name, package = "rbloom", "rbloom"

    def load(self) -> None:
        import rbloom

        self.bloom = rbloom.Bloom

    def make(self, capacity: int) -> Any:
        return self.bloom(capacity, FPR)

    def fill(self, state: Any, keys: Any) -> None:
        state.update(keys)

    def nbytes(self, state: Any) -> int:
        return int(state.size_in_bits // 8)

    def merge(self, state: Any, other: Any) -> Any:
        state.update(other)
        return state


class SavableRbloom(Rbloom):
    """rbloom as it can be saved: it refuses to with the built-in ``hash``, so ints are their own hash."""

    def make(self, capacity: int) -> Any:
        return self.bloom(capacity, FPR, _itself)

    def roundtrip(self, state: Any) -> Any:
        return self.bloom.load_bytes(state.save_bytes(), _itself)


def _itself(key: int) -> int:
    return key


class FastbloomRs(Adapter):
    """fastbloom-rs: Bloom, Rust, with batch calls; its outer class adds a Python check of every key."""

    name, package = "fastbloom-rs", "fastbloom-rs"

    def load(self) -> None:
        import fastbloom_rs

        self.builder, self.bloom = fastbloom_rs.PyFilterBuilder, fastbloom_rs.PyBloomFilter
        self.suffix = {"int": "int", "text": "str", "bytes": "bytes"}[self.kind]

    def make(self, capacity: int) -> Any:
        return self.builder(capacity, FPR).build_bloom_filter()

    def fill(self, state: Any, keys: Any) -> None:
        getattr(state, f"add_{self.suffix}_batch")(keys)

    def contains_each(self, state: Any, keys: list[Any]) -> list[bool]:
        contains = getattr(state, f"contains_{self.suffix}")
        return [contains(key) for key in keys]

    def contains_many(self, state: Any, keys: Any) -> Any:
        return getattr(state, f"contains_{self.suffix}_batch")(keys)

    def nbytes(self, state: Any) -> int:
        return len(state.get_bytes())

    def merge(self, state: Any, other: Any) -> Any:
        state.union(other)
        return state

    def roundtrip(self, state: Any) -> Any:
        return self.bloom.from_bytes(state.get_bytes(), state.hashes())


class Pyfusefilter(Adapter):
    """pyfusefilter: binary fuse, C behind cffi, each key hashed in Python as the text of itself.

    Its ``hash`` hands xxhash a ``str``, which xxhash 4 refuses; then the same hash of the same text,
    encoded, takes its place.
    """

    name, package = "pyfusefilter", "pyfusefilter"
    reach = INTERPRETED
    trial = 2**14
    promise = 1 / 256

    def load(self) -> None:
        from pyfusefilter import pyfusefilter
        from xxhash import xxh64_intdigest

        self.fuse = pyfusefilter.Fuse8
        try:
            pyfusefilter.hash("")
        except TypeError:
            pyfusefilter.hash = lambda key: xxh64_intdigest(str(key).encode())

    def build(self, keys: Any) -> Any:
        return self.fuse(keys)

    def nbytes(self, state: Any) -> int:
        return int(state.size_in_bytes())

    def roundtrip(self, state: Any) -> Any:
        return self.fuse.deserialize(state.serialize())


class XorSingleheader(Adapter):
    """xor_singleheader: the binary fuse authors' C library, fed a ready array of distinct uint64."""

    name, package = "xor_singleheader (C)", "pyfusefilter"
    form = "ndarray"
    takes_hashes = True

    def load(self) -> None:
        from pyfusefilter._xorfilter import ffi, lib

        self.ffi, self.lib = ffi, lib

    def build_hashes(self, hashes: Any) -> Any:
        state = self.ffi.new("binary_fuse8_t *")
        if not self.lib.binary_fuse8_allocate(len(hashes), state):
            raise MemoryError(f"no memory for a filter of {len(hashes)} keys")
        state = self.ffi.gc(state, self.lib.binary_fuse8_free)
        if not self.lib.binary_fuse8_populate(self.ffi.from_buffer("uint64_t[]", hashes), len(hashes), state):
            raise ValueError(f"found no seed for these {len(hashes)} keys")
        return state

    def contains_hashes(self, state: Any, hashes: Any) -> list[bool]:
        contain = self.lib.binary_fuse8_contain
        return [contain(key, state) for key in hashes.tolist()]

    def nbytes(self, state: Any) -> int:
        return int(state.ArrayLength)


class PybloomLive(Adapter):
    """pybloom-live: Bloom, Python over bitarray and xxhash; ``skip_check`` is its faster way to add."""

    name, package = "pybloom-live", "pybloom-live"
    reach = INTERPRETED
    trial = 2**13

    def load(self) -> None:
        import pybloom_live

        self.bloom = pybloom_live.BloomFilter

    def make(self, capacity: int) -> Any:
        return self.bloom(capacity, FPR)

    def fill(self, state: Any, keys: Any) -> None:
        for key in keys:
            state.add(key, skip_check=True)

    def nbytes(self, state: Any) -> int:
        return int(state.bitarray.nbytes)

    def merge(self, state: Any, other: Any) -> Any:
        return state.union(other)

    def roundtrip(self, state: Any) -> Any:
        file = io.BytesIO()
        state.tofile(file)
        file.seek(0)
        return self.bloom.fromfile(file)


class Pyprobables(Adapter):
    """pyprobables: Bloom, pure Python, over text and bytes only. With MD5 it is three times its default."""

    name, package = "pyprobables", "pyprobables"
    reach = INTERPRETED
    trial = 2**12

    def load(self) -> None:
        import probables
        from probables.hashes import default_md5

        self.bloom, self.hash = probables.BloomFilter, default_md5

    def make(self, capacity: int) -> Any:
        return self.bloom(est_elements=capacity, false_positive_rate=FPR, hash_function=self.hash)

    def fill(self, state: Any, keys: Any) -> None:
        for key in keys:
            state.add(str(key) if self.kind == "int" else key)

    def contains_each(self, state: Any, keys: list[Any]) -> list[bool]:
        return (
            [str(key) in state for key in keys] if self.kind == "int" else super().contains_each(state, keys)
        )

    def nbytes(self, state: Any) -> int:
        return int(state.bloom_length)


class PythonSet(Adapter):
    """Python's ``set``; its size leaves out the key objects, 32 bytes and more each."""

    name, role = "Python set", "exact"
    promise = 0.0
    reach = 1_000_000

    def make(self, _capacity: int) -> Any:
        return set()

    def fill(self, state: Any, keys: Any) -> None:
        state.update(keys)

    def merge(self, state: Any, other: Any) -> Any:
        state |= other
        return state

    def nbytes(self, state: Any) -> int:
        return sys.getsizeof(state)


class SortedSearch(Adapter):
    """A sorted array, searched by ``np.searchsorted``."""

    name, package, role = "np.searchsorted", "numpy", "exact"
    promise = 0.0
    form = "ndarray"
    kinds: frozenset[Kind] = frozenset({"int"})

    def build(self, keys: Any) -> Any:
        return np.sort(keys)

    def contains_many(self, state: Any, keys: Any) -> Any:
        place = np.searchsorted(state, keys)
        return state[np.minimum(place, len(state) - 1)] == keys

    def nbytes(self, state: Any) -> int:
        return int(state.nbytes)


class IsIn(SortedSearch):
    """``np.isin``, which keeps nothing between calls and so sorts the members in each."""

    name = "np.isin"
    reach = INTERPRETED

    def build(self, keys: Any) -> Any:
        return keys.copy()

    def contains_many(self, state: Any, keys: Any) -> Any:
        return np.isin(keys, state)


class PandasIndex(SortedSearch):
    """``pandas.Index.get_indexer``: a hash table in C, made at the first lookup and kept."""

    name, package = "pandas.Index", "pandas"

    def load(self) -> None:
        import pandas as pd

        self.index = pd.Index

    def build(self, keys: Any) -> Any:
        index = self.index(keys.copy())
        index.get_indexer(keys[:1])
        return index

    def contains_many(self, state: Any, keys: Any) -> Any:
        return state.get_indexer(keys) >= 0

    def nbytes(self, state: Any) -> int:
        return int(state.memory_usage())


PEERS = (Rbloom, FastbloomRs, Pyfusefilter, PybloomLive, Pyprobables)
EXACT = (PythonSet, SortedSearch, IsIn, PandasIndex)
