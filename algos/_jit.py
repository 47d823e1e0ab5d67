"""Compiling: the ``kernel`` decorator, its cache that cannot be stale, and primitives with a twin.

Numba's own cache looks at one source file, so a kernel keeps old machine code when a callee or a
constant in another file changes. Here the stamp of a kernel covers every file it really stands on:
the ground (``algos/*.py``), ``hashing``, its own family, the families that one imports, the versions
of Numba and llvmlite, and the bounds-check setting. Entries carry that stamp and their key in the
data file itself, and updates hold a lock, so any number of processes may share a cache folder.
Where Numba's internals are not the ones known here, kernels work uncached.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import llvmlite
import numba
from llvmlite import binding
from numba import config, njit
from numba.core import caching
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    F = TypeVar("F", bound=Callable[..., Any])

ROOT = Path(__file__).parent
_WITH_AVX2 = {"x86-64-v3", "x86-64-v4", "haswell", "skylake", "znver3", "znver4"}
_WITH_SSE42 = {"nehalem", "x86-64-v2"} | _WITH_AVX2
_IMPORT = re.compile(r"^\s*(?:from|import)\s+algos\.([a-z]\w*)", re.MULTILINE)


def sources(file: Path) -> list[Path]:
    """List the source files that a kernel defined in ``file`` depends on."""
    found = set(ROOT.glob("*.py")) | set((ROOT / "hashing").glob("*.py"))
    todo = set(file.parent.glob("*.py")) if file.parent.parent == ROOT else {file}
    while todo:
        found |= todo
        families = {name for f in todo for name in _IMPORT.findall(f.read_text(encoding="utf-8"))}
        todo = {f for name in families for f in (ROOT / name).glob("*.py")} - found
    return sorted(found)


@cache
def stamp(file: Path) -> bytes:
    """Digest everything that decides the machine code of the kernels in ``file``'s family."""
    digest = hashlib.sha256(repr((numba.__version__, llvmlite.__version__, config.BOUNDSCHECK)).encode())
    for path in sources(file):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.digest()


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold an exclusive lock beside ``path``; without one where the file system has none."""
    with open(path + ".lock", "ab") as file:  # noqa: PTH123 - Numba deals in str paths
        if sys.platform == "win32":
            import msvcrt

            with contextlib.suppress(OSError):
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _CacheFile(caching.IndexDataCacheFile):  # type: ignore[misc]
    """An index and its data files, safe against other processes and against a kill half-way."""

    def save(self, key: Any, data: Any) -> None:
        with _locked(self._index_path):
            overloads = self._load_index()
            taken = set(overloads.values())
            free = (self._data_name(i) for i in range(1, len(taken) + 2))
            name = overloads.get(key) or next(n for n in free if n not in taken)
            self._save_data(name, (self._source_stamp, key, data))
            self._save_index({**overloads, key: name})

    def _load_index(self) -> Any:
        # All of it is unpickled before its stamp is looked at: types that are no more, half a file.
        with contextlib.suppress(Exception):
            return super()._load_index()
        return {}

    def load(self, key: Any) -> Any:
        entry = None
        with contextlib.suppress(Exception):
            entry = super().load(key)
        # Another process may have given this data file to other code since the index was read.
        if entry is None or entry[:2] != (self._source_stamp, key):
            return None
        return entry[2]


class _Cache(caching.FunctionCache):  # type: ignore[misc]
    _cache_file: Any

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        old = self._cache_file
        base = self._impl.filename_base
        self._cache_file = _CacheFile(old._cache_path, base, stamp(Path(function.__code__.co_filename)))


_INTERNALS = all(
    hasattr(owner, name)
    for owner, names in (
        (caching, ("FunctionCache", "IndexDataCacheFile")),
        (caching.IndexDataCacheFile, ("_load_index", "_save_index", "_save_data", "_data_name")),
    )
    for name in names
)


def target_has(feature: str) -> bool:
    """Whether the processor that kernels are compiled for, not always the host, has a feature."""
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return False
    if config.CPU_NAME in {None, "", "host"} and config.CPU_FEATURES is None:
        return bool(binding.get_host_cpu_features().get(feature))
    named = {"sse4.2": _WITH_SSE42, "avx2": _WITH_AVX2}.get(feature, set())
    return config.CPU_NAME in named or f"+{feature}" in (config.CPU_FEATURES or "")


def kernel(function: F) -> F:
    """Compile ``function`` on first call, without the GIL, cached on disk under its family's stamp."""
    return cast("F", cached(njit(nogil=True, error_model="numpy")(function), function))


def cached(compiled: Any, function: Callable[..., Any]) -> Any:
    """Keep on disk what is compiled of ``function``."""
    if _INTERNALS and hasattr(compiled, "_cache"):
        with contextlib.suppress(AttributeError, TypeError, RuntimeError, OSError):  # uncached then
            compiled._cache = _Cache(function)
    return compiled


def inlined(function: F) -> F:
    """Compile ``function`` into every kernel that calls it; it has no cache entry of its own."""
    return cast("F", njit(nogil=True, error_model="numpy", forceinline=True)(function))


def primitive(twin: F) -> Callable[[Callable[..., Any]], F]:
    """Make an LLVM intrinsic from a code generator; with the JIT off, ``twin`` stands in for it."""

    def decorate(generator: Callable[..., Any]) -> F:
        return twin if config.DISABLE_JIT else cast("F", intrinsic(generator))

    return decorate
