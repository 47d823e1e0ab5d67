"""The machine a run was made on: what identifies it, what disturbed it.

The stable part decides whether two runs may be resumed into one, and its digest is the short id in
the run folder's name. The volatile part is for the reader. A fact the platform does not tell is None.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import time
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NamedTuple

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "pyarrow", "pandas", "pytest", "pytest-benchmark")
WATCHED = ("NUMBA_", "OMP_", "OPENBLAS_", "MKL_", "KMP_", "RAYON_", "POLARS_", "MALLOC_", "PYTHON")
CPU = Path("/sys/devices/system/cpu")
FALLBACK_L3 = 32 << 20


def fingerprint() -> dict[str, Any]:
    """Return the machine's ``id``, its stable facts by name, and the ``volatile`` ones of the moment."""
    facts = stable()
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return {"id": digest[:8], **facts, "volatile": volatile()}


def stable() -> dict[str, Any]:
    """Return the facts that make figures comparable: hardware, kernel settings, compilers."""
    cpu = _cpuinfo()
    llvm_cpu, features = _llvm()
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": cpu.get("model name") or platform.processor() or None,
        "cpu_signature": "/".join(cpu.get(k, "?") for k in ("cpu family", "model", "stepping")),
        "microcode": cpu.get("microcode"),
        "cores": os.cpu_count(),
        "caches": caches(),
        "llvm_cpu": llvm_cpu,
        "features": features,
        "smt": _read(CPU / "smt/control"),
        "governor": _read(CPU / "cpu0/cpufreq/scaling_governor"),
        "boost": _read(CPU / "cpufreq/boost"),
        "transparent_hugepages": _read(Path("/sys/kernel/mm/transparent_hugepage/enabled")),
        "aslr": _read(Path("/proc/sys/kernel/randomize_va_space")),
        "cgroup_cpu_max": _read(Path("/sys/fs/cgroup/cpu.max")),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": versions(["numpy", "numba", "llvmlite"]),
    }


def volatile() -> dict[str, Any]:
    """Return the circumstances of the moment: load, pressure, memory, commit, environment."""
    memory = dict(line.split(":", 1) for line in (_read(Path("/proc/meminfo")) or "").splitlines())
    return {
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "pressure_cpu": _read(Path("/proc/pressure/cpu")),
        "memory_total": memory.get("MemTotal", "").strip() or None,
        "memory_available": memory.get("MemAvailable", "").strip() or None,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
        "packages": versions(PACKAGES),
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(WATCHED)},
    }


def versions(distributions: list[str] | tuple[str, ...]) -> dict[str, str | None]:
    """Return the installed version of each distribution, None for those that are not installed."""
    found: dict[str, str | None] = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def blas_cores() -> list[dict[str, Any]]:
    """Return which kernels each BLAS loaded in this process has chosen; needs threadpoolctl."""
    try:
        threadpool_info = import_module("threadpoolctl").threadpool_info
    except ImportError:
        return []
    keep = ("user_api", "internal_api", "version", "architecture", "num_threads")
    pools = [{k: pool.get(k) for k in keep} for pool in threadpool_info()]
    return sorted(pools, key=str)


def caches() -> dict[str, int | None]:
    """Return the bytes of core 0's caches: ``{"l1d", "l2", "l3"}``."""
    sizes: dict[str, int | None] = {"l1d": None, "l2": None, "l3": None}
    for index in sorted((CPU / "cpu0/cache").glob("index*")):
        level, kind, size = (_read(index / name) or "" for name in ("level", "type", "size"))
        if size.endswith(("K", "M")) and kind != "Instruction":
            name = "l1d" if level == "1" else f"l{level}"
            sizes[name] = int(size[:-1]) << (10 if size.endswith("K") else 20)
    return sizes


def last_level_cache() -> int:
    """Return the bytes of the last-level cache, or a common size where the platform does not tell."""
    sizes = caches()
    return sizes["l3"] or sizes["l2"] or FALLBACK_L3


class Disturbance(NamedTuple):
    """Counters whose growth over a worker's life says how much else the machine was doing."""

    clock: float
    pressure_us: float
    steal: int
    ticks: int
    preemptions: int

    @classmethod
    def now(cls) -> Disturbance:
        """Read the counters; absent ones are 0 and therefore show no disturbance."""
        pressure = (_read(Path("/proc/pressure/cpu")) or "total=0").splitlines()[0]
        stat = (_read(Path("/proc/stat")) or "cpu").splitlines()[0].split()[1:9]
        ticks = [int(t) for t in stat]
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_nivcsw if resource else 0
        total_us = float(pressure.rsplit("total=", 1)[-1])
        return cls(time.monotonic(), total_us, ticks[7] if len(ticks) > 7 else 0, sum(ticks), children)

    def since(self, start: Disturbance) -> dict[str, Any]:
        """Return the growth since ``start``: seconds, shares of pressure and steal, preemptions."""
        seconds = self.clock - start.clock
        return {
            "seconds": seconds,
            "load1": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "psi_cpu": (self.pressure_us - start.pressure_us) / max(seconds * 1e6, 1.0),
            "steal": (self.steal - start.steal) / max(self.ticks - start.ticks, 1),
            "nivcsw": self.preemptions - start.preemptions,
        }


def preemptions() -> int:
    """Return how often this thread was made to give up its core so far."""
    if resource is None:
        return 0
    who = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
    return resource.getrusage(who).ru_nivcsw


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _cpuinfo() -> dict[str, str]:
    first = (_read(Path("/proc/cpuinfo")) or "").split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _llvm() -> tuple[str | None, str | None]:
    try:
        from llvmlite import binding
    except ImportError:
        return None, None
    active = [name for name, on in sorted(binding.get_host_cpu_features().items()) if on]
    return binding.get_host_cpu_name(), " ".join(active)


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
