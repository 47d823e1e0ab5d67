"""The worked example of docs/add-a-variant.md still goes from file to row by the steps written there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from helpers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

TEXT = (ROOT / "docs" / "add-a-variant.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:python|text)\n(.*?)```", TEXT, re.DOTALL)


def block(start: str) -> str:
    """Return the one code block of the document that starts so."""
    (found,) = [text for text in BLOCKS if text.startswith(start)]
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the project, with the example taken through the document's first two steps."""
    root = tmp_path_factory.mktemp("hotpath")
    for name in ("algos", "bench", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    family = root / "algos" / "filters"
    shutil.copy(ROOT / "docs" / "onebit.py", family)
    init = (family / "__init__.py").read_text("utf-8")
    assert init.count("\n)\n") == 1
    (family / "__init__.py").write_text(
        init.replace("\n)\n", f"\n{block('    Variant(').rstrip()}\n)\n"), "utf-8"
    )
    with (family / "__init__.pyi").open("a", encoding="utf-8") as stub:
        stub.write(block("from algos.filters.onebit"))
    return root


def python(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree), "NUMBA_CACHE_DIR": str(tree / "cache")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_kernel_shown_is_the_examples() -> None:
    assert block("@kernel") in (ROOT / "docs" / "onebit.py").read_text("utf-8")


def test_the_example_behaves_as_every_filter_must(tree: Path) -> None:
    done = python(
        tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_filters.py", "-k", "OneBitFilter"
    )
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 100


def test_the_example_has_its_row_in_the_report(tree: Path) -> None:
    chosen = ("--variant", "OneBitFilter", "--task", "filters.merge.ids.n=20000")
    done = python(tree, "-m", "bench", "--no-peers", *chosen, "--budget", "10s", "--out", "out")
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(tree / "out" / "summary.parquet").to_pylist()
    assert [row["status"] for row in rows if row["contestant"] == "OneBitFilter"] == ["ok"]
    assert "OneBitFilter" in (tree / "out" / "index.html").read_text("utf-8")
