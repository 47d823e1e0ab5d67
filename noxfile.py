"""Every task of the project; `nox -l` lists them. Versions live in pyproject.toml alone."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "typecheck", "tests"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
ENV = Path(".nox/hotpath").resolve()  # one environment for all sessions that import the project
HARNESS = ("tests/test_bench_*", "tests/test_report*", "tests/test_pytest_benchmark.py")
FASTER = ["-m", "not statistical", *(f"--ignore-glob={name}" for name in HARNESS)]
PORTABLE = {"x86-64-v3": "avx2", "nehalem": "sse42"}


def _python(session: nox.Session, group: str = "tests") -> str:
    """Bring the shared environment up to date with the project, all extras and a group; return its Python."""
    python = str(ENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    if not Path(python).exists():
        session.run(sys.executable, "-m", "venv", str(ENV), external=True)
    wanted, installed = Path("pyproject.toml").read_bytes(), ENV / f"installed-{group}.toml"
    if not installed.exists() or installed.read_bytes() != wanted:
        uv = ["uv", "pip", "install", "--python", python]
        pip = uv if shutil.which("uv") else [python, "-m", "pip", "install"]
        groups = nox.project.dependency_groups(PYPROJECT, group)
        session.run(*pip, "-q", "-e", ".[arrow,peers]", *groups, external=True)
        installed.write_bytes(wanted)
    return python


def _cache(mode: str) -> dict[str, str]:
    """Give each way of compiling its own cache: Numba's does not know the difference."""
    return {"NUMBA_CACHE_DIR": str(Path(".cache/numba").resolve() / mode)}


BENCH = _cache("jit") | {"OPENBLAS_CORETYPE": None}
PATIENCE = {"interrupt_timeout": 60.0, "terminate_timeout": 60.0}  # Ctrl-C still writes a report


@nox.session(tags=["check"])
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install("-q", *nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(tags=["check"], venv_backend="none")
def typecheck(session: nox.Session) -> None:
    """Check types with mypy --strict."""
    session.run(_python(session, "typecheck"), "-m", "mypy", external=True)


@nox.session(tags=["check"], venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the tests as users run the code: compiled."""
    session.run(_python(session), "-m", "pytest", *session.posargs, env=_cache("jit"), external=True)


@nox.session(name="tests-checked", venv_backend="none")
def tests_checked(session: nox.Session) -> None:
    """Run the tests with every array index checked."""
    env = _cache("checked") | {"NUMBA_BOUNDSCHECK": "1"}
    session.run(_python(session), "-m", "pytest", *FASTER, *session.posargs, env=env, external=True)


@nox.session(name="tests-python", venv_backend="none")
def tests_python(session: nox.Session) -> None:
    """Run the tests with kernels as plain Python, under coverage."""
    env, python = _cache("python") | {"NUMBA_DISABLE_JIT": "1"}, _python(session)
    coverage = [python, "-m", "coverage"]
    session.run(*coverage, "run", "-m", "pytest", *FASTER, *session.posargs, env=env, external=True)
    session.run(*coverage, "report", "--skip-covered", "--fail-under=90", external=True)


@nox.session(name="tests-portable", venv_backend="none")
def tests_portable(session: nox.Session) -> None:
    """Run the tests as compiled for processors without AVX-512, and without AVX."""
    python = _python(session)
    for name, mode in PORTABLE.items():
        env = _cache(mode) | {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": ""}
        session.run(python, "-m", "pytest", *FASTER, *session.posargs, env=env, external=True)


@nox.session(default=False, venv_backend="none")
def bench(session: nox.Session) -> None:
    """Race all variants against each other, their peers and the machine; write a report."""
    session.run(_python(session), "-m", "bench", *session.posargs, env=BENCH, external=True, **PATIENCE)


@nox.session(default=False, venv_backend="none")
def report(session: nox.Session) -> None:
    """Render the report of a finished run again: `nox -s report -- reports/<run>`."""
    session.run(_python(session), "-m", "bench", "report", *session.posargs, external=True)


@nox.session(default=False, venv_backend="none")
def compare(session: nox.Session) -> None:
    """Say what changed between two runs or revisions: `nox -s compare -- A B`."""
    command = ("-m", "bench", "compare", *session.posargs)
    session.run(_python(session), *command, env=BENCH, external=True, **PATIENCE)


@nox.session(default=False, venv_backend="none")
def docs(session: nox.Session) -> None:
    """Write the generated tables of README and docs, from reports/reference and by simulation."""
    python = _python(session)
    session.run(python, "-m", "bench.report.readme", external=True)
    session.run(python, "-m", "bench.simulate", external=True)


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
