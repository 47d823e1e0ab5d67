"""What holds for the package as a whole: imports, names, the catalogue, and a cache that cannot be stale."""

from __future__ import annotations

import ast
import doctest
import json
import os
import pickle
import platform
import re
import shutil
import subprocess
import sys
import types
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numba
import oracles
import pytest
from helpers import ROOT, SMALL
from numba import config

import algos
from algos import _jit, catalog
from algos._variant import PROPERTIES, Variant

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = ROOT / "algos"
FILES = [p.relative_to(ROOT) for p in sorted(PACKAGE.rglob("*.py"))]
FAMILIES = [pytest.param(name, id=name) for name in algos.FAMILIES]
VARIANTS = [pytest.param(v, id=f"{v.family}-{v.name}") for v in catalog.variants()]


def run(script: str, cwd: Path = ROOT, **environment: str) -> Any:
    """Run a script in a fresh interpreter and return the JSON it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(cwd), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ---------------------------------------------------------------------------------------------------
# Imports


HEAVY = """
import json, sys
before = set(sys.modules)
{}
heavy = ("numpy", "numba", "llvmlite", "scipy", "pyarrow", "pandas", "dataclasses", "inspect")
print(json.dumps([m for m in sys.modules if m.partition(".")[0] in heavy and m not in before]))
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import algos",
        "import algos.catalog; algos.catalog.variants()",
        "import algos.errors",
        *(f"import algos.{name}; dir(algos.{name})" for name in algos.FAMILIES),
    ],
)
def test_import_is_light(statement: str) -> None:
    """Importing the package, a family's face or the whole catalogue loads neither NumPy nor Numba."""
    assert run(HEAVY.format(statement)) == []


@pytest.mark.parametrize("variant", catalog.variants("filters"), ids=lambda v: v.name)
def test_a_variant_loads_no_sibling(variant: Variant) -> None:
    """Loading one filter imports no other filter's module, and no optional package."""
    loaded = run(
        "import json, sys\n"
        f"from algos.filters import {variant.name}\n"
        "print(json.dumps([m for m in sys.modules if m.partition('.')[0] in "
        "('algos', 'pyarrow', 'pandas', 'polars')]))"
    )
    siblings = {v.target.partition(":")[0] for v in catalog.variants("filters")}
    assert siblings.intersection(loaded) == {variant.target.partition(":")[0]}
    assert not {"pyarrow", "pandas", "polars"}.intersection(loaded)


# ---------------------------------------------------------------------------------------------------
# Names


def stub_names(stub: Path) -> set[str]:
    """Return the public names a stub re-exports or declares."""
    names = set()
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            names |= {a.asname for a in node.names if a.asname == a.name}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
    return names - {"VARIANTS", "FAMILIES", "__version__", "__getattr__", "__dir__", "__all__"}


@pytest.mark.parametrize("name", ["", *algos.FAMILIES])
def test_stub_lists_the_names_of_the_package(name: str) -> None:
    """A lazy package and its ``.pyi`` speak of the same names."""
    module = import_module(f"algos.{name}".rstrip("."))
    public = set(module.__all__) - {"VARIANTS", "FAMILIES", "__version__"}
    assert stub_names(PACKAGE / name / "__init__.pyi") == public


@pytest.mark.parametrize("name", FAMILIES)
def test_every_export_resolves(name: str) -> None:
    """Each name a family offers exists, and an unknown one is an AttributeError that lists them."""
    family = import_module(f"algos.{name}")
    for export in family.__all__:
        assert getattr(family, export) is not None
    with pytest.raises(AttributeError, match="NoSuchThing"):
        _ = family.NoSuchThing


def test_families_resolve() -> None:
    """``algos`` offers each family as an attribute, and an unknown one is an AttributeError."""
    for name in algos.FAMILIES:
        assert isinstance(getattr(algos, name), types.ModuleType)
        assert name in dir(algos)
    with pytest.raises(AttributeError, match="nosuchfamily"):
        _ = algos.nosuchfamily


@pytest.mark.parametrize("variant", catalog.variants("filters"), ids=lambda v: v.name)
def test_public_class_is_documented(variant: Variant) -> None:
    """Each class and each of its public methods says what it does."""
    cls = variant.load()
    public = {n: m for n in dir(cls) if not n.startswith("_") for m in [getattr(cls, n)]}
    said = {n: m.__doc__ for n, m in public.items() if not isinstance(m, types.MemberDescriptorType)}
    assert cls.__doc__
    assert [n for n, text in said.items() if not text] == []


@pytest.mark.parametrize("path", FILES, ids=str)
def test_examples_in_docstrings(path: Path) -> None:
    """What a docstring shows is what comes out."""
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    assert doctest.testmod(import_module(name)).failed == 0


def test_examples_in_the_readme() -> None:
    """What the README shows is what comes out."""
    result = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert result.attempted > 0
    assert result.failed == 0


# ---------------------------------------------------------------------------------------------------
# The catalogue


@pytest.mark.parametrize("variant", VARIANTS)
def test_variant_literals_are_sane(variant: Variant) -> None:
    """A variant's name, topics and properties follow the catalogue's rules, and its target loads."""
    assert re.fullmatch(r"algos\.[a-z0-9_.]+:[A-Za-z_][A-Za-z0-9_]*", variant.target)
    assert variant.family in algos.FAMILIES
    assert all(re.fullmatch(r"([1-9]|[12]\d|3[0-6])\.[1-9]\d?", t) for t in variant.topics)
    assert variant.properties <= PROPERTIES
    assert ("standard" in variant.properties) == bool(variant.standard)
    assert not {"static", "removable"} <= variant.properties
    assert variant.paper
    assert variant.load() is not None


def test_variant_names_are_unique() -> None:
    """Within a family no name and no target appears twice."""
    for family in algos.FAMILIES:
        listed = catalog.variants(family)
        assert len({v.name for v in listed}) == len({v.target for v in listed}) == len(listed)


@pytest.mark.parametrize("variant", catalog.variants("filters"), ids=lambda v: v.name)
def test_properties_are_what_the_class_can_do(variant: Variant) -> None:
    """``mergeable``, ``removable`` and ``static`` are claimed exactly where the methods exist."""
    cls = variant.load()
    assert ("mergeable" in variant.properties) == hasattr(cls, "merge")
    assert ("removable" in variant.properties) == hasattr(cls, "remove_many")
    assert ("static" in variant.properties) != hasattr(cls, "add_many")


# ---------------------------------------------------------------------------------------------------
# Floors: who may import whom


def imported(path: Path) -> set[str]:
    """Return every module a file imports at any depth, ``from a import b`` also as ``a.b``."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide what the cache stamp must see"
            names |= {node.module or "", *(f"{node.module}.{a.name}" for a in node.names)}
    return names


@pytest.mark.parametrize("path", FILES, ids=str)
def test_arrows_point_downwards(path: Path) -> None:
    """The ground imports no family, ``hashing`` none but itself, and nobody the catalogue or the bench."""
    names = imported(ROOT / path)
    roots = {n.partition(".")[0] for n in names}
    families = {n.split(".")[1] for n in names if n.startswith("algos.")} & set(algos.FAMILIES)
    assert not roots & {"bench", "tests"}
    assert not {n for n in names if n.startswith("algos.catalog")}
    if len(path.parts) == 2:
        assert not families
    elif path.parts[1] == "hashing":
        assert families <= {"hashing"}


@pytest.mark.parametrize("family", [f for f in algos.FAMILIES if f != "hashing"])
def test_no_variant_imports_a_sibling(family: str) -> None:
    """Within a family only files with a leading underscore are shared."""
    modules = {v.target.partition(":")[0] for v in catalog.variants(family)}
    for module in modules:
        path = ROOT / (module.replace(".", "/") + ".py")
        assert not imported(path) & (modules - {module}), path


@pytest.mark.parametrize("path", FILES, ids=str)
def test_the_cache_stamp_covers_what_a_file_imports(path: Path) -> None:
    """Whatever a file imports of the package, at any remove, is in the stamp of its kernels."""
    todo, seen = [PACKAGE / "__init__.py", ROOT / path], set()
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            places = [ROOT / name.replace(".", "/") for name in imported(file) if name.startswith("algos")]
            todo += [f for p in places for f in (p.with_suffix(".py"), p / "__init__.py") if f.exists()]
    assert seen <= set(_jit.sources(ROOT / path))


def test_optional_packages_are_imported_late() -> None:
    """NumPy and Numba suffice; but for a module of ``integrations``, which is named after what it needs."""
    for path in FILES:
        own = {path.stem} if path.parts[1] == "integrations" else set()
        body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
        top = {a.name for node in body if isinstance(node, ast.Import) for a in node.names}
        top |= {node.module or "" for node in body if isinstance(node, ast.ImportFrom)}
        third = {n.partition(".")[0] for n in top} - set(sys.stdlib_module_names) - {"algos"}
        assert third <= {"numpy", "numba", "llvmlite"} | own, path


# ---------------------------------------------------------------------------------------------------
# The cache

jit_only = pytest.mark.skipif(SMALL, reason="nothing is compiled when the JIT is off")
plain_jit_only = pytest.mark.skipif(
    bool(SMALL or config.BOUNDSCHECK), reason="what it tests does not depend on the mode"
)

WORK = """
import gc, json
import numpy as np
from numba.core.dispatcher import Dispatcher
from algos.hashing import hash64
from algos.filters import BloomFilter, CuckooFilter
keys = np.arange(3, dtype=np.uint64)
answers = [hash64(keys, name).tolist() for name in ("splitmix64", "xxh64")]
f = BloomFilter(10)
f.add_many(keys)
answers.append(f.contains_many(keys).tolist())
answers.append(CuckooFilter(10).contains_many(keys).tolist())
hits, misses = {}, {}
for d in [o for o in gc.get_objects() if isinstance(o, Dispatcher)]:
    module = d.py_func.__module__
    if type(d._cache).__module__ == "algos._jit":  # not what is inlined into others
        hits[module] = hits.get(module, 0) + sum(d.stats.cache_hits.values())
        misses[module] = misses.get(module, 0) + sum(d.stats.cache_misses.values())
print(json.dumps([answers, {k: v for k, v in hits.items() if v}, {k: v for k, v in misses.items() if v}]))
"""


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    """Copy the package, to be edited, with a compilation cache of its own."""
    shutil.copytree(PACKAGE, tmp_path / "algos", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def work(sandbox: Path) -> tuple[Any, dict[str, int], dict[str, int]]:
    """Use hashes and filters in a fresh process; return the answers, cache hits and misses by module."""
    answers, hits, misses = run(WORK, sandbox, NUMBA_CACHE_DIR=str(sandbox / "cache"))
    return answers, hits, misses


@plain_jit_only
def test_cache_is_warm_until_a_file_it_stands_on_changes(sandbox: Path) -> None:
    """The second process compiles nothing; an edit recompiles what stands on the file, and only that."""
    cold = work(sandbox)
    assert cold[1] == {}
    assert {"algos.hashing.splitmix64", "algos.hashing.xxh64", "algos.filters._bloom"} <= cold[2].keys()

    warm = work(sandbox)
    assert warm == (cold[0], cold[2], {})

    family = sandbox / "algos" / "filters" / "bloom.py"
    family.write_text(family.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
    _, hits, misses = work(sandbox)
    assert {name for name in misses if not name.startswith("algos.filters.")} == set()
    assert {"algos.filters._bloom", "algos.filters.cuckoo"} <= misses.keys()
    assert {"algos.hashing.splitmix64", "algos.hashing.xxh64"} <= hits.keys()

    ground = sandbox / "algos" / "_bits.py"
    ground.write_text(ground.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
    answers, hits, misses = work(sandbox)
    assert (answers, hits, misses) == (cold[0], {}, cold[2])


@plain_jit_only
def test_an_edited_constant_reaches_the_machine_code(sandbox: Path) -> None:
    """A constant changed in a file below changes the answers of kernels above, warm cache or not."""
    script = (
        "import json\nimport numpy as np\nfrom algos.hashing.splitmix64 import SPLITMIX64\n"
        "out = np.zeros(1, np.uint64)\nSPLITMIX64.words(out.copy(), 0, out)\nprint(json.dumps(int(out[0])))"
    )
    cache = {"NUMBA_CACHE_DIR": str(sandbox / "cache")}
    assert run(script, sandbox, **cache) == oracles.splitmix64(0)
    file = sandbox / "algos" / "hashing" / "splitmix64.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("0x9E3779B97F4A7C15", "0x9E3779B97F4A7C16"), encoding="utf-8")
    assert run(script, sandbox, **cache) == oracles.splitmix64(1)


STAMPEDE = """
import json, os, sys
import numpy as np
from numba import njit
njit(lambda: 0)()  # what every process pays once is paid before the fork: the children race harder
golden = [16294208416658607535, 10451216379200822465, 10905525725756348110]

def child(kind):
    from algos.hashing.splitmix64 import SPLITMIX64
    values = np.arange(3, dtype=np.uint64)
    values.flags.writeable = bool(kind & 1)
    out = np.zeros(3, np.uint64)
    SPLITMIX64.words(values, np.uint64(0) if kind & 2 else 0, out)
    misses = sum(SPLITMIX64.words.stats.cache_misses.values())
    return out.tolist() == golden, misses

alive, wrong, compiled = {}, [], 0
for i in range(200):
    if len(alive) == 16:
        pid, status = os.wait()
        alive.pop(pid)
        if status:
            wrong.append(status)
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = 0 if child(i % 4)[0] else 1
        finally:
            os._exit(status)
    alive[pid] = i
while alive:
    pid, status = os.wait()
    alive.pop(pid)
    if status:
        wrong.append(status)
print(json.dumps([wrong, [child(kind) for kind in range(4)]]))
"""


@plain_jit_only
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_hundred_processes_share_an_empty_cache(tmp_path: Path) -> None:
    """200 processes, 16 at a time, 4 signatures of one kernel: all are right, and no entry is lost."""
    wrong, afterwards = run(STAMPEDE, NUMBA_CACHE_DIR=str(tmp_path))
    assert wrong == []
    assert afterwards == [[True, 0]] * 4
    assert not list(tmp_path.rglob("*.tmp*"))
    assert len(list(tmp_path.rglob("*.nbc"))) == 4


@jit_only
def test_kernels_are_cached_through_the_known_internals() -> None:
    """Numba's private names that the cache is built on exist in the version installed."""
    from algos.hashing.splitmix64 import SPLITMIX64

    assert _jit._INTERNALS
    assert type(SPLITMIX64.words._cache) is _jit._Cache


@plain_jit_only
def test_bounds_checked_code_has_a_cache_of_its_own() -> None:
    """Machine code with bounds checks is never taken for code without, and the other way round."""
    script = (
        "import json\nfrom pathlib import Path\nfrom algos import _jit\n"
        "print(json.dumps(_jit.stamp(Path(_jit.__file__)).hex()))"
    )
    assert run(script, NUMBA_BOUNDSCHECK="1") != run(script)


@plain_jit_only
def test_damaged_cache_is_not_believed(tmp_path: Path) -> None:
    """A cache entry swapped for another signature's is compiled afresh, not run."""
    script = (
        "import json\nimport numpy as np\nfrom algos.hashing.splitmix64 import SPLITMIX64\n"
        "out = np.zeros(1, np.uint64)\n"
        "v = np.zeros(1, np.uint64)\nSPLITMIX64.words(v, 0, out)\n"
        "v.flags.writeable = False\nSPLITMIX64.words(v, 0, out)\n"
        "print(json.dumps(out.tolist()))"
    )
    golden = [16294208416658607535]
    assert run(script, NUMBA_CACHE_DIR=str(tmp_path)) == golden
    one, two = sorted(tmp_path.rglob("*.nbc"))
    shutil.copy(one, tmp_path / "spare")
    shutil.copy(two, one)
    shutil.copy(tmp_path / "spare", two)
    assert run(script, NUMBA_CACHE_DIR=str(tmp_path)) == golden


@plain_jit_only
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize(
    "left",
    [b"", b"\x80\x05", pickle.dumps(numba.__version__) + b"calgos._jit\nNo_More\n."],
    ids=["empty", "cut", "unknown-type"],
)
def test_unreadable_cache_is_made_anew(suffix: str, left: bytes, tmp_path: Path) -> None:
    """Cache files cut short, or of types that a newer version no longer has, are no entries, and replaced."""
    script = "from algos.hashing import hash64\nprint(hash64(['abc']).tolist())"
    golden = [0x78AF5F94892F3950]
    assert run(script, NUMBA_CACHE_DIR=str(tmp_path)) == golden
    files = list(tmp_path.rglob(f"*.{suffix}"))
    assert files
    for file in files:
        file.write_bytes(left)
    assert run(script, NUMBA_CACHE_DIR=str(tmp_path)) == golden
    assert all(file.read_bytes() != left for file in files)


PORTABLE = """
import json
import numpy as np
from algos.filters import SplitBlockBloomFilter, _blocks
from algos.hashing import hash64, xxh3
keys = np.arange(1000)
f = SplitBlockBloomFilter.build(keys)
right = bool(f.contains_many(keys).all() and f.contains_hashes(hash64(keys)).all())
kernels = (xxh3._words, _blocks.add, _blocks.contains, _blocks.contains_words)
text = "".join(asm for k in kernels for asm in k.inspect_asm().values())
print(json.dumps([right, hash64(["abc"]).tolist(), *(r in text for r in ("%xmm", "%ymm", "%zmm"))]))
"""


@plain_jit_only
@pytest.mark.skipif(platform.machine().lower() not in {"x86_64", "amd64"}, reason="x86 vector registers")
@pytest.mark.parametrize(("cpu", "ymm"), [("x86-64-v3", True), ("nehalem", False)])
def test_code_for_lesser_processors(cpu: str, ymm: bool, tmp_path: Path) -> None:
    """Compiled for AVX2 the kernels vectorise without AVX-512, for SSE without AVX, and answer alike."""
    environment = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    right, hashes, *registers = run(PORTABLE, **environment)
    assert right
    assert hashes == [0x78AF5F94892F3950]
    assert registers == [True, ymm, False]
