"""Every task of the project; `nox -l` lists them. Versions live in pyproject.toml alone."""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "typecheck", "tests"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
SHARED = ".nox/hotpath"  # one environment for all sessions that import the project
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA", "RAYON")} | {
    "POLARS_MAX_THREADS": "1"
}
PORTABLE = {"x86-64-v3": "avx2", "nehalem": "sse42"}


def _install(session: nox.Session, group: str = "tests") -> None:
    """Bring the shared environment up to date with the project, all extras and a group."""
    groups = nox.project.dependency_groups(PYPROJECT, group)
    session.install("-q", "-e", ".[arrow,peers]", *groups)


def _cache(mode: str) -> dict[str, str]:
    """Give each way of compiling its own cache: Numba's does not know the difference."""
    return {"NUMBA_CACHE_DIR": str(Path(".cache/numba").resolve() / mode)}


@nox.session(tags=["check"])
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install("-q", *nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(tags=["check"], venv_location=SHARED)
def typecheck(session: nox.Session) -> None:
    """Check types with mypy --strict."""
    _install(session, "typecheck")
    session.run("mypy")


@nox.session(tags=["check"], venv_location=SHARED)
def tests(session: nox.Session) -> None:
    """Run the tests as users run the code: compiled."""
    _install(session)
    session.run("pytest", *session.posargs, env=_cache("jit"))


@nox.session(name="tests-checked", venv_location=SHARED)
def tests_checked(session: nox.Session) -> None:
    """Run the tests with every array index checked."""
    _install(session)
    env = _cache("checked") | {"NUMBA_BOUNDSCHECK": "1"}
    session.run("pytest", "-m", "not statistical and not bench", *session.posargs, env=env)


@nox.session(name="tests-python", venv_location=SHARED)
def tests_python(session: nox.Session) -> None:
    """Run the tests with kernels as plain Python, under coverage."""
    _install(session)
    env = _cache("python") | {"NUMBA_DISABLE_JIT": "1"}
    marks = "not statistical and not bench"
    session.run("coverage", "run", "-m", "pytest", "-m", marks, *session.posargs, env=env)
    session.run("coverage", "report", "--skip-covered", "--fail-under=90")


@nox.session(name="tests-portable", venv_location=SHARED)
def tests_portable(session: nox.Session) -> None:
    """Run the tests as compiled for processors without AVX-512, and without AVX."""
    _install(session)
    for name, mode in PORTABLE.items():
        env = _cache(mode) | {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": ""}
        session.run("pytest", "-m", "not statistical and not bench", *session.posargs, env=env)


@nox.session(default=False, venv_location=SHARED)
def bench(session: nox.Session) -> None:
    """Race all variants against each other, their peers and the machine; write a report."""
    _install(session)
    os.environ.pop("OPENBLAS_CORETYPE", None)
    session.run("python", "-m", "bench", *session.posargs, env=_cache("jit") | ONE_THREAD)


@nox.session(default=False, venv_location=SHARED)
def report(session: nox.Session) -> None:
    """Render the report of a finished run again: `nox -s report -- reports/<run>`."""
    _install(session)
    session.run("python", "-m", "bench", "report", *session.posargs)


@nox.session(default=False, venv_location=SHARED)
def docs(session: nox.Session) -> None:
    """Write README's generated tables from reports/reference and run the doctests."""
    _install(session)
    session.run("python", "-m", "bench.report.readme", *session.posargs)
    session.run("pytest", "--doctest-modules", "algos", env=_cache("jit"))


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Build the wheel and the sdist, and import the wheel in an empty environment."""
    session.install("-q", "build")
    session.run("python", "-m", "build", "--outdir", "dist")
    wheel = max(Path("dist").glob("*.whl"), key=lambda path: path.stat().st_mtime)
    session.install("-q", "--force-reinstall", str(wheel))
    code = "import sys, algos; assert 'numpy' not in sys.modules; from algos.filters import BloomFilter"
    session.chdir("dist")  # so that the wheel is imported, not the checkout
    session.run("python", "-c", f"{code}; BloomFilter(10).add('x')", env=_cache("jit"))
