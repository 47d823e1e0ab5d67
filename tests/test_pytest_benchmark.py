"""``pytest bench/test_race.py`` by hand: races are benchmarks of pytest-benchmark, with its options."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest
from helpers import ROOT
from pytest_benchmark.fixture import BenchmarkFixture

if TYPE_CHECKING:
    from pathlib import Path

FAMILY = """
from bench.schema import Contestant, Gate, Slice, Task

TASKS = [Task("zoo", op, "ints", 10, tier="quick", anchor="plain") for op in ("sums", "sorts", "lies")]

def contestants(task, seed):
    work = sorted if task.op == "sorts" else sum

    def slices(limit):
        return [Slice(100, range(100), work(range(100)))]

    def check(answer, part):
        return Gate(answer == part.truth, f"it is not {answer}")

    found = [
        Contestant("plain", "ours", lambda _, part: work(part), slices, check=check),
        Contestant("other", "peer", lambda _, part: work(list(part)), slices, check=check),
    ]
    if task.op == "lies":
        found.append(Contestant("liar", "ours", lambda _, part: -1, slices, check=check))
    return found
"""
TABLE = re.compile(
    r"^-+ benchmark(?: '([^']*)')?: \d+ tests -+\n(.*?)\n-+\n(.*?)\n-+\n", re.MULTILINE | re.DOTALL
)
SUMS, SORTS = "zoo.sums.ints.n=10", "zoo.sorts.ints.n=10"


class Done(NamedTuple):
    """What pytest said: its exit code, and by title the header and the rows' names of its tables."""

    code: int
    out: str
    tables: dict[str, tuple[str, list[str]]]


def race(folder: Path, *words: str, tasks: str = "sums or sorts") -> Done:
    """Run pytest on a family made up for it; the task in which someone is wrong only if it is asked for."""
    (folder / "families").mkdir(exist_ok=True)
    (folder / "families" / "zoo.py").write_text(FAMILY, "utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "bench/test_race.py",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        tasks,
    ]
    done = subprocess.run(
        [*command, f"--benchmark-storage=file://{folder / 'saved'}", *words],
        cwd=ROOT,
        env={**os.environ, "HOTPATH_TASKS": str(folder / "families")},
        capture_output=True,
        text=True,
        check=False,
    )
    tables = {
        title: (header, [re.split(r"\s{2,}", row)[0] for row in rows.split("\n")])
        for title, header, rows in TABLE.findall(done.stdout)
    }
    return Done(done.returncode, done.stdout + done.stderr, tables)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("by-hand")


@pytest.fixture(scope="module")
def first(folder) -> Done:
    """Race once, for several tests to look at and for others to compare with."""
    words = ["--benchmark-only", "--benchmark-save=first", f"--benchmark-json={folder / 'out.json'}"]
    return race(folder, *words, "--benchmark-columns=median,rounds", "--benchmark-sort=name")


def test_every_task_is_a_group_with_its_contestants(first):
    assert first.code == 0, first.out
    assert {title: names for title, (_, names) in first.tables.items()} == {
        SUMS: ["other", "plain"],
        SORTS: ["other", "plain"],
    }


def test_the_columns_are_those_asked_for(first):
    for header, _ in first.tables.values():
        assert re.sub(r"\s+", " ", header).strip() == "Name (time in ns) Median Rounds"


@pytest.mark.usefixtures("first")
def test_the_json_has_every_round_of_every_contestant_side_by_side(folder):
    told = json.loads((folder / "out.json").read_text("utf-8"))
    assert [(b["group"], b["name"]) for b in told["benchmarks"]] == [
        (SUMS, "plain"),
        (SUMS, "other"),
        (SORTS, "plain"),
        (SORTS, "other"),
    ]
    rounds = [len(b["stats"]["data"]) for b in told["benchmarks"]]
    assert rounds[0] == rounds[1] >= 5
    assert rounds[2] == rounds[3] >= 5
    assert {b["params"]["task"] for b in told["benchmarks"]} == {SUMS, SORTS}
    assert told["benchmarks"][1]["extra_info"]["role"] == "peer"
    assert "llvm_cpu" in told["machine_info"]


def saved(folder: Path) -> Path:
    (found,) = (folder / "saved").rglob("*_first.json")
    return found


@pytest.mark.usefixtures("first")
def test_a_saved_run_is_compared_contestant_by_contestant(folder):
    done = race(folder, "--benchmark-compare", "--benchmark-group-by=param:task", "--benchmark-autosave")
    assert done.code == 0, done.out
    for task in (SUMS, SORTS):
        assert sorted(done.tables[f"task={task}"][1]) == [
            "other (0001_first)",
            "other (NOW)",
            "plain (0001_first)",
            "plain (NOW)",
        ]
    assert len(list((folder / "saved").rglob("0002_*.json"))) == 1


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize(("factor", "code"), [(1e-3, 1), (1e3, 0)])
def test_a_regression_fails_the_comparison(folder, tmp_path, factor, code):
    record = json.loads(saved(folder).read_text("utf-8"))
    for benchmark in record["benchmarks"]:
        benchmark["stats"]["median"] *= factor
    other = tmp_path / "saved" / saved(folder).parent.name / "0001_first.json"
    other.parent.mkdir(parents=True)
    other.write_text(json.dumps(record), "utf-8")
    done = race(tmp_path, "--benchmark-compare=0001", "--benchmark-compare-fail=median:50%", tasks="sums")
    assert done.code == code, done.out
    assert ("Performance has regressed" in done.out) == bool(code)


def test_contestants_can_be_followed_through_the_tasks_and_a_wrong_one_is_not_timed(folder):
    words = ["--benchmark-group-by=name", "--benchmark-name=long", "--benchmark-sort=fullname"]
    done = race(folder, *words, tasks="zoo")
    test, tasks = "bench/test_race.py::test_race[{}]::{}", ("zoo.lies.ints.n=10", SORTS, SUMS)
    assert {title: names for title, (_, names) in done.tables.items()} == {
        name: [test.format(task, name) for task in tasks] for name in ("plain", "other")
    }
    assert "1 failed, 2 passed" in done.out
    assert "liar: it is not -1" in done.out


def test_disabled_races_check_every_answer_and_time_nothing(folder, tmp_path):
    done = race(
        folder, "--benchmark-disable", f"--benchmark-json={tmp_path / 'out.json'}", tasks="sums or lies"
    )
    assert "1 failed, 1 passed, 1 deselected" in done.out
    assert "liar: it is not -1" in done.out
    assert done.tables == {}
    assert not (tmp_path / "out.json").exists()


def test_skipped_races_are_skipped(folder):
    done = race(folder, "--benchmark-skip")
    assert (done.code, done.tables) == (0, {})
    assert "2 skipped, 1 deselected" in done.out


GONE = (
    "pytest-benchmark no longer has {}, which the `race` fixture of bench/conftest.py uses: "
    "use there what took its place, or pin pytest-benchmark below this version in pyproject.toml"
)


def test_the_private_names_of_pytest_benchmark_are_still_there(request):
    session = getattr(request.config, "_benchmarksession", None)
    assert session is not None, GONE.format("config._benchmarksession")
    for name in ("benchmarks", "options", "logger"):
        assert hasattr(session, name), GONE.format(f"config._benchmarksession.{name}")
    accepted = inspect.signature(BenchmarkFixture.__init__).parameters
    given = {"node", "add_stats", "logger", "warner", "disabled", *session.options}
    required = {name for name, p in accepted.items() if p.default is inspect.Parameter.empty} - {"self"}
    assert required <= given, GONE.format(f"a BenchmarkFixture without {required - given}")
    assert given <= accepted.keys(), GONE.format(f"BenchmarkFixture's argument {given - accepted.keys()}")
    added: list[object] = []
    fixture = BenchmarkFixture(
        request.node,
        add_stats=added.append,
        logger=session.logger,
        warner=None,
        disabled=False,
        **session.options,
    )
    assert getattr(fixture, "_mode", "gone") is None, GONE.format("BenchmarkFixture._mode")
    assert hasattr(fixture, "_make_stats"), GONE.format("BenchmarkFixture._make_stats")
    for name in ("name", "fullname", "group", "param", "params", "extra_info"):
        assert hasattr(fixture, name), GONE.format(f"BenchmarkFixture.{name}")
    made = fixture._make_stats(10)
    made.update(50.0)
    assert added == [made], GONE.format("a _make_stats that publishes what it makes")
    assert made.stats.data == [5.0], GONE.format("Stats of seconds per iteration")
