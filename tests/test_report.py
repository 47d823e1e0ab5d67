"""The report is checked on invented runs that hold every kind of result, since rendering sees only files."""

from __future__ import annotations

import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.report import facts, fmt, html, needs, readme, render, terminal_table
from bench.report.load import Row, load
from bench.schema import FILES, QUALITY, SAMPLES, SLOTS, SUMMARY, Task

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "reports" / "reference"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
KIB, MIB = 2**10, 2**20
RENDER = "import sys, pathlib, bench.report; bench.report.render(pathlib.Path(sys.argv[1]))"
HOSTILE = "<script>alert('x')</script>"
NON_ASCII = "фильтр Блума"
ANCHOR = "SplitBlockBloomFilter"


@dataclass(frozen=True)
class Arm:
    """An invented contestant: its time in the cache and past it, its bits per key and error rate."""

    name: str
    role: str
    ns: float
    miss: float = 0.0  # ns more once the state is past the L2 cache
    bits: float = 0.0
    fpr: float | None = None
    limit: str = ""


ARMS = (
    Arm(ANCHOR, "ours", 0.95, 1.6, 10.5, 0.0103),
    Arm("BloomFilter", "ours", 2.1, 5.2, 9.6, 0.0099),
    Arm("BinaryFuseFilter", "ours", 1.2, 2.9, 9.04, 0.0039),
    Arm("CuckooFilter", "ours", 1.9, 3.0, 12.6, 0.00092),
    Arm("rbloom", "peer", 46.0, 30.0, 9.6, 0.0101),
    Arm("fastbloom-rs", "peer", 71.0, 33.0, 10.8, 0.0097),
    Arm("pyfusefilter", "peer", 1.21, 3.4, 9.1, 0.0039),
    Arm("pybloom-live", "peer", 1392.0, 40.0, 9.6, 0.0100),
    Arm(HOSTILE, "peer", 12_101.0, 40.0, 9.6, 0.0100),
    Arm(NON_ASCII, "peer", 64.0, 21.0, 16.0, 0.0046),
    Arm("set", "exact", 48.0, 60.0, 520.0, 0.0),
    Arm("sorted search", "exact", 88.0, 140.0, 64.0, 0.0),
    Arm(f"{ANCHOR} again", "control", 0.95, 1.6, 10.5),
    Arm("empty call", "null", 0.003),
    Arm("random lines", "limit", 0.7, 1.1),
)


@dataclass
class Files:
    """The rows of a run about to be written."""

    tasks: list[Task] = field(default_factory=list)
    summary: list[dict[str, object]] = field(default_factory=list)
    quality: list[dict[str, object]] = field(default_factory=list)


def filter_tasks(family: str = "filters") -> list[Task]:
    """About thirty races as the filters family declares them."""
    lookups = [
        Task(family, "contains", "ids", n, {"hits": hits, "fpr": 0.01}, anchor=ANCHOR)
        for n in (10_000, 200_000, 2_000_000, 20_000_000, 60_000_000)
        for hits in (0, 50, 100)
    ]
    texts = [
        Task(family, "contains", "words", n, {"hits": 50, "fpr": 0.01}) for n in (10_000, 200_000, 2_000_000)
    ]
    scalar = [Task(family, "contains_one", "ids", n, {"hits": 50}) for n in (10_000, 2_000_000)]
    builds = [
        Task(family, op, "ids", n, {"fpr": 0.01})
        for op in ("build", "add")
        for n in (10_000, 2_000_000, 20_000_000)
    ]
    firsts = [
        Task(family, "first_call", name, 1000, {}) for name in (ANCHOR, "BinaryFuseFilter", "CuckooFilter")
    ]
    return [*lookups, *texts, *scalar, *builds, *firsts]


def write_run(
    folder: Path, tasks: list[Task], *, slots: int = 5, finished: int | None = None, **info: object
) -> Path:
    """Write the files of an invented run in which the first ``finished`` tasks were measured."""
    rng = random.Random(7)
    files = Files(tasks=tasks)
    for task in tasks[:finished]:
        _race(files, task, slots, rng)
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows, schema in (
        ("samples", [], SAMPLES),
        ("summary", files.summary, SUMMARY),
        ("quality", files.quality, QUALITY),
        ("slots", _slots(slots, rng), SLOTS),
    ):
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"{name}.parquet")
    _write_json(folder, files, finished, slots, info)
    return folder


def _write_json(
    folder: Path, files: Files, finished: int | None, slots: int, info: dict[str, object]
) -> None:
    partial = finished is not None
    documents = {
        "tasks": [
            {"id": t.id, "family": t.family, "op": t.op, "workload": t.workload, "n": t.n, "params": t.params,
             "tier": t.tier, "anchor": t.anchor, "title": t.title}
            for t in files.tasks
        ],
        "catalog": [
            {"name": "BloomFilter", "family": "filters", "paper": "Bloom 1970", "standard": "",
             "topics": ["7.20", "10.4"], "properties": ["mergeable"]},
            {"name": ANCHOR, "family": "filters", "paper": "Putze, Sanders & Singler 2007",
             "standard": "Apache Parquet", "topics": ["22.9"], "properties": ["mergeable", "standard"]},
            {"name": "BinaryFuseFilter", "family": "filters", "paper": "Graf & Lemire 2022", "standard": "",
             "topics": ["10.4"], "properties": ["static"]},
            {"name": "CuckooFilter", "family": "filters", "paper": "Fan et al. 2014", "standard": "",
             "topics": ["16.3"], "properties": ["removable", "mergeable"]},
        ],
        "env": {
            "id": "a1b2c3d4", "cpu": "AMD EPYC 9R45", "cores": 2, "system": "Linux",
            "python": "CPython 3.11.7",
            "caches": {"l1d": 48 * KIB, "l2": MIB, "l3": 32 * MIB},
            "features": "avx512f gfni", "governor": None, "transparent_hugepages": "madvise",
            "packages": {"numba": "0.68.1", "llvmlite": "0.50.0", "numpy": "2.4.6"},
            "volatile": {"load": [1.2, 0.9, 0.8], "packages": {"rbloom": "1.5.2", "fastbloom-rs": "0.5.9"}},
        },
        "run": {
            "schema": 1, "run_id": "2026-11-24-a1b2c3d4",
            "command": ["python", "-m", "bench", "--family", "filters"],
            "tier": "quick" if slots == 1 else "default", "started": "2026-11-24T22:10:00Z",
            "ended": "2026-11-24T22:14:40Z", "partial": partial, "reason": "interrupted" if partial else "",
            "resume": "nox -s bench -- --resume reports/2026-11-24-a1b2c3d4" if partial else "",
            "seed": 20261124, "stamp": "9f8e7d6c", "slots": slots, "rounds": 30, **info,
        },
    }  # fmt: skip
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")


def _slots(slots: int, rng: random.Random) -> list[dict[str, object]]:
    return [
        {"slot": i, "family": "filters", "seconds": 40 + rng.random(), "load1": 1.4,
         "psi_cpu": 0.04 + 0.06 * i, "steal": 0.0, "nivcsw": 120 + i, "pythonhashseed": 1000 + i,
         "attempts": 1}
        for i in range(slots)
    ]  # fmt: skip


def _race(files: Files, task: Task, slots: int, rng: random.Random) -> None:
    if task.op == "first_call":
        files.summary.append(
            _row(task, Arm(task.workload, "ours", 1.0), True) | {"ns_item": 1.1e8, "ns_cold": 2.9e9}
        )
        return
    anchor = _time(ARMS[0], task)
    for arm in ARMS:
        row = _row(task, arm, arm is ARMS[0])
        row |= _status(arm, task) or _timing(arm, task, anchor, slots, rng)
        files.summary.append(row)
        if row["status"] == "ok" and arm.bits and arm.role != "control":
            files.quality += _quality(task, arm, rng)


def _row(task: Task, arm: Arm, anchor: bool) -> dict[str, object]:
    return {"task": task.id, "contestant": arm.name, "role": arm.role, "status": "ok", "note": "",
            "package": arm.name if arm.role == "peer" else "", "input": "ndarray", "anchor": anchor,
            "verdict": ""}  # fmt: skip


def _status(arm: Arm, task: Task) -> dict[str, object] | None:
    if arm.name == "pybloom-live" and task.n >= 20_000_000:
        return {"status": "NOT RUN", "note": "would take 41 s"}
    if arm.name == HOSTILE and task.op != "contains":
        return {"status": "WRONG", "note": "key 17: False, the oracle says True"}
    if arm.name == HOSTILE and task.n >= 2_000_000:
        return {"status": "TIMEOUT", "note": "no answer in 60 s"}
    if arm.name == "fastbloom-rs" and task.op == "build":
        return {"status": "CRASHED", "note": "signal 11"}
    if arm.name == NON_ASCII and task.op == "contains_one":
        return {"status": "NOT INSTALLED", "note": "pip install blüm"}
    if arm.name == "sorted search" and task.op == "add":
        return {"status": "ERROR", "note": "ValueError: not sorted"}
    return None


def _time(arm: Arm, task: Task) -> float:
    past = 1 / (1 + (MIB * 4 / max(1.0, task.n * arm.bits / 8)) ** 2)
    scale = {"build": 2.2, "add": 1.7, "contains_one": 1.0}.get(task.op, 1.0) * (
        5 if task.workload == "words" else 1
    )
    scalar = 105.0 if task.op == "contains_one" and arm.role in {"ours", "control"} else 0.0
    return (arm.ns + arm.miss * past) * scale + scalar


def _timing(arm: Arm, task: Task, anchor: float, slots: int, rng: random.Random) -> dict[str, object]:
    time = _time(arm, task)
    ratio = math.exp(math.log(anchor / time) + rng.gauss(0, 0.002))
    half = 0.004 + 0.006 * rng.random()
    lo, hi = (ratio * math.exp(-half), ratio * math.exp(half)) if slots > 1 else (math.nan, math.nan)
    if arm is ARMS[0]:
        ratio = lo = hi = 1.0
    share = _time(ARMS[-1], task) / time
    return {
        "ns_item": time, "ns_q1": time * 0.99, "ns_q3": time * 1.02, "ns_cold": time * 1.8,
        "ratio": ratio, "lo": lo, "hi": hi, "mde": 2 * half + 0.01, "p_value": 0.01,
        "verdict": _call(lo, hi) if slots > 1 and arm is not ARMS[0] else "", "slots": slots,
        "rounds": 30 * slots, "instances": 3, "items": 100_000, "state_bytes": int(task.n * arm.bits / 8),
        "setup_ms": 12.0, "first_call_ms": 80.0, "error": arm.fpr, "limit": "random lines",
        "limit_share": share, "limit_lo": share * 0.98, "limit_hi": share * 1.02,
    }  # fmt: skip


def _call(lo: float, hi: float) -> str:
    if lo > 1.01:
        return "faster"
    if hi < 0.99:
        return "slower"
    return "same" if lo > 0.98 and hi < 1.02 else "undecided"


def _quality(task: Task, arm: Arm, rng: random.Random) -> list[dict[str, object]]:
    bits = {"task": task.id, "contestant": arm.name, "metric": "bits_per_key", "value": arm.bits,
            "theory": None, "lo": None, "hi": None, "ok": None}  # fmt: skip
    if arm.fpr is None:
        return [bits]
    value = arm.fpr * (1 + rng.gauss(0, 0.01)) * (1.3 if arm.name == "fastbloom-rs" else 1)
    lo, hi = arm.fpr * 0.97, arm.fpr * 1.03
    fpr = bits | {
        "metric": "fpr",
        "value": value,
        "theory": arm.fpr,
        "lo": lo,
        "hi": hi,
        "ok": lo <= value <= hi,
    }
    return [bits, fpr]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render a complete run that has every status."""
    folder = write_run(tmp_path_factory.mktemp("report") / "full", filter_tasks())
    render(folder)
    return folder


@pytest.fixture(scope="module")
def page(full: Path) -> str:
    return (full / "index.html").read_text(encoding="utf-8")


def rendered(folder: Path) -> tuple[str, str]:
    """Return the page and the summary of a run."""
    render(folder)
    return (folder / "index.html").read_text(encoding="utf-8"), (folder / "summary.md").read_text(
        encoding="utf-8"
    )


def test_the_same_files_give_the_same_bytes(full: Path) -> None:
    """Rendering reads no clock and iterates in a fixed order, whatever the hash seed."""
    names = ["index.html", "summary.md", "filters-size.svg", "filters-pareto.svg"]
    first = [(full / name).read_bytes() for name in names]
    subprocess.run(
        [sys.executable, "-c", RENDER, str(full)], check=True, env={**os.environ, "PYTHONHASHSEED": "77"}
    )
    assert first == [(full / name).read_bytes() for name in names]


def test_rendering_imports_no_kernel(full: Path) -> None:
    """An old run renders without the library that made it."""
    script = f"{RENDER}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script, str(full)], check=True, capture_output=True, text=True
    )
    loaded = set(done.stdout.split())
    assert not {name for name in loaded if name.split(".")[0] in {"algos", "numba"}}


def test_every_status_is_a_word_on_the_page(page: str) -> None:
    """What did not run says so, and why, instead of leaving a hole."""
    for status in ("WRONG", "CRASHED", "TIMEOUT", "NOT INSTALLED", "NOT RUN", "ERROR"):
        assert re.search(rf"<td class=[xz]>{status}<p>\S", page), status


def test_the_page_loads_nothing(page: str) -> None:
    """No address, no import, no frame: the page is one file."""
    assert "http" not in page.replace("http-equiv", "")
    targets = re.findall(r"(?:src|href|action|data)=\"?([^\s\">]+)", page)
    assert all(t.startswith("#") or t in FILES or t == "data:," for t in targets)
    assert not re.search(r"@import|<iframe|<object|<img|fetch\(|XMLHttpRequest", page)


def test_names_are_escaped_everywhere(full: Path, page: str) -> None:
    """A contestant's name cannot become markup, in the page, its embedded data, or the summary."""
    assert re.findall(r"<script>.{13}", page, re.DOTALL) == ['<script>\n"use strict"']
    assert "alert(&#39;x&#39;)" in page
    assert NON_ASCII in page
    assert "<script>" not in (full / "summary.md").read_text(encoding="utf-8")


def test_the_page_can_be_read_by_a_screen_reader(page: str) -> None:
    """Tables have captions and scoped headers, scrolling boxes a name and a place in the tab order."""
    tables = re.findall(r"<table.*?</table>", page, re.DOTALL)
    assert tables
    assert all("<caption" in table and "scope=" in table for table in tables)
    assert re.search(r'<a class="skip" href="#main">', page)
    boxes = re.findall(r'<div class="box[^>]*>', page)
    assert all('tabindex="0"' in box and 'aria-label="' in box for box in boxes)


def test_ids_are_unique_and_links_lead_somewhere(page: str) -> None:
    """Two sections never share an anchor."""
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_embedded_ratios_re_anchor_to_the_ratio_of_times(full: Path, page: str) -> None:
    """Dividing by a column's ratios makes that contestant the anchor: its time over the others'."""
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    run = load(full)
    base = data["columns"].index("rbloom")
    races = [
        race
        for op in dict.fromkeys(r.op for r in run.family("filters"))
        for race in run.family("filters")
        if race.op == op
    ]
    for race, packed in zip(races, data["rows"], strict=True):
        times = {row.contestant: row.ns_item for row in race.rows if row.timed}
        ratios = [float(cell.split(" ")[0]) if cell else None for cell in packed.split("|")]
        assert [ratio is not None for ratio in ratios] == [name in times for name in data["columns"]]
        for name, ratio in zip(data["columns"], ratios, strict=True):
            if ratio is not None:
                assert ratio / ratios[base] == pytest.approx(times["rbloom"] / times[name], rel=0.02)


def test_an_interval_survives_its_packing() -> None:
    """The embedded half width gives back the ends; a one-slot interval, which is lopsided, keeps both."""
    even = Row("t", "c", "peer", "ok", ns_item=1.0, ratio=0.5, lo=0.5 / 1.02, hi=0.5 * 1.02, verdict="slower")
    assert html.datum(even).split(" ") == [".5", "s", "20"]
    lopsided = Row("t", "c", "peer", "ok", ns_item=1.0, ratio=0.5, lo=0.49, hi=0.52)
    assert html.datum(lopsided).split(" ") == [".5", "", "20", "39"]
    assert html.datum(Row("t", "c", "peer", "WRONG")) == ""


def test_colours_are_symmetric_and_equal_in_between() -> None:
    """Twice as fast and half as fast are equally far from white."""

    def css(ratio: float) -> str:
        return html.css(Row("t", "c", "peer", "ok", ns_item=1.0, ratio=ratio))

    assert [css(r) for r in (1.0, 1.005, 1 / 1.005)] == ["e"] * 3
    for ratio in (1.1, 1.5, 3.0, 10.0, 100.0):
        assert css(ratio)[1:] == css(1 / ratio)[1:]
        assert (css(ratio)[0], css(1 / ratio)[0]) == ("f", "s")


def test_the_verdict_is_the_mean_of_the_best_peers(full: Path) -> None:
    """Only peers count, each task by its fastest, and a wrong or crashed peer is none."""
    run = load(full)
    verdict = facts.verdict(run, "filters")
    best = [
        max(row.ratio or 0 for row in race.rows if row.role == "peer" and row.timed)
        for race in run.family("filters")
    ]
    assert verdict.overall is not None
    assert verdict.overall.value == pytest.approx(math.exp(-sum(map(math.log, best)) / len(best)))
    assert (verdict.overall.lo or 0) < verdict.overall.value < (verdict.overall.hi or 0)
    assert verdict.wins + verdict.same + verdict.losses + verdict.undecided == len(best)
    assert [race.op for race, _ in verdict.lost] == ["contains_one"] * 2


def test_the_summary_shows_the_verdict_first(full: Path) -> None:
    """GitHub's first screen answers the question."""
    lines = (full / "summary.md").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("**Filters: ") and "the best peer" in line for line in lines[:14])
    widths = [line.count("|") for line in lines if line.startswith("|")]
    assert widths


def test_choices_come_from_the_figures(full: Path) -> None:
    """The fastest, the smallest and the removable are those of the run, and a near tie is called one."""
    found = needs.answers(load(full), "filters")
    answers = {a.need: [c.contestant for c in a.take] for a in found}
    assert answers["Smallest at a false-positive rate of 1 % or better"] == ["BinaryFuseFilter"]
    assert answers["Keys can be removed again: the fastest lookup of those"] == ["CuckooFilter"]
    assert answers["Others must read it: Apache Parquet"] == [ANCHOR]
    assert any(c.role == "peer" for a in found for c in a.take)
    a = facts.candidate(
        "a", "ours", [Row("t", "a", "ours", "ok", ns_item=1, ratio=1.0, lo=0.98, hi=1.02, slots=5)]
    )
    b = facts.candidate(
        "b", "ours", [Row("t", "b", "ours", "ok", ns_item=1, ratio=0.99, lo=0.97, hi=1.01, slots=5)]
    )
    assert facts.tied(a, b)


def test_a_control_arm_called_different_is_an_alarm(tmp_path: Path) -> None:
    """A false verdict is told before any figure."""
    folder = write_run(tmp_path, filter_tasks())
    table = pq.read_table(folder / "summary.parquet").to_pylist()
    control = next(row for row in table if row["role"] == "control")
    control |= {"ratio": 1.05, "lo": 1.03, "hi": 1.07, "verdict": "faster"}
    pq.write_table(pa.Table.from_pylist(table, schema=SUMMARY), folder / "summary.parquet")
    page, summary = rendered(folder)
    assert re.search(r'class="banner alarm".*?1 of 26 control arms called different', page)
    assert "**Alarm:** 1 of 26 control arms" in summary


@pytest.mark.parametrize("finished", [0, 1, 9])
def test_an_interrupted_run_has_a_valid_report(tmp_path: Path, finished: int) -> None:
    """What was measured is shown, and how to go on; with nothing measured that is all."""
    page, summary = rendered(write_run(tmp_path, filter_tasks(), finished=finished))
    for text in (page, summary):
        assert f"Interrupted: {finished} of 29 tasks measured" in text
        assert "nox -s bench -- --resume" in text
    assert page.rstrip().endswith("</html>")
    assert not re.search(r"\b(None|nan|inf)\b", page)


def test_an_empty_folder_of_results_still_renders(tmp_path: Path) -> None:
    """A run stopped before its first task has no Parquet at all."""
    page, summary = rendered(tmp_path)
    assert "Nothing has been measured yet" in page
    assert summary.startswith("# Hotpath benchmark")


def test_a_quick_run_gives_no_verdict(tmp_path: Path) -> None:
    """One slot's figures are shown, and said not to be a verdict."""
    page, summary = rendered(write_run(tmp_path, filter_tasks(), slots=1))
    assert "not a verdict" in page
    assert "not a verdict" in summary
    assert "ours faster" not in page
    assert "no verdict" in page


def test_a_busy_machine_is_said_to_be_one(page: str) -> None:
    """More than a fifth of the time waiting for a CPU goes to the top of the page."""
    assert re.search(r'class="banner warn".*?waited for a CPU in 2 of 5 slots \(up to 28', page)


def test_a_thousand_tasks_stay_within_a_megabyte_and_a_half(tmp_path: Path) -> None:
    """Twenty-five families of forty tasks with fifteen contestants each."""
    names = [f"family{i}" for i in range(25)]
    tasks = [replace(t, n=t.n + k) for name in names for k in (0, 1) for t in filter_tasks(name)[:20]]
    assert len(tasks) == 1000
    page, _ = rendered(write_run(tmp_path, tasks))
    assert len(page.encode()) <= 1_500_000


def test_results_of_a_later_schema_are_refused(tmp_path: Path) -> None:
    """An unknown schema is named with the remedy instead of being misread."""
    (tmp_path / "run.json").write_text(json.dumps({"schema": 99}))
    with pytest.raises(ValueError, match=r"schema 99.*render it with the version"):
        load(tmp_path)


def test_the_terminal_table_fits_a_hundred_columns(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line or two for every task, with the best peer and the verdict."""
    terminal_table(full)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert sum("ours faster" in line or "peer faster" in line for line in lines) == 26


def test_generated_tables_carry_the_run_and_are_stable(full: Path) -> None:
    """Rewriting twice changes nothing, text around the blocks stays, and an unknown block is an error."""
    blocks = "\n\n".join(
        f"<!-- generated: {n} -->\nold\n<!-- end -->" for n in ("run", "filters-lookup", "filters-space")
    )
    run = load(full)
    once = readme.rewrite(run, f"# Title\n\n{blocks}\n\nlast line\n")
    assert readme.rewrite(run, once) == once
    assert once.startswith("# Title\n")
    assert once.endswith("last line\n")
    assert once.count("2026-11-24-a1b2c3d4") == 3
    assert "\nold\n" not in once
    with pytest.raises(ValueError, match=r"'speed'.*filters-lookup"):
        readme.rewrite(run, "<!-- generated: speed -->\n<!-- end -->")


@pytest.mark.skipif(not REFERENCE.exists(), reason="there is no reference run yet")
def test_the_readme_is_generated_from_the_reference_run() -> None:
    """Every figure in the README is of the committed run; ``python -m bench.report.readme`` writes them."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.rewrite(load(REFERENCE), text) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, fmt.NONE),
        (0, "0"),
        (0.012345, "0.0123"),
        (9.999, "10.0"),
        (12345.6, "12,346"),
        (1e-12, "1e-12"),
        (-2.5, "-2.50"),
    ],
)
def test_numbers_have_three_significant_digits(value: float | None, text: str) -> None:
    """Figures are as precise as they can be read."""
    assert fmt.number(value) == text


def test_units_fit_their_values() -> None:
    """Nanoseconds up to ten thousand of them, then the unit that fits; sizes in binary units."""
    assert [fmt.ns(v) for v in (0.5, 9_999, 45_000, 2.9e9)] == ["0.500 ns", "9,999 ns", "45.0 µs", "2.90 s"]
    assert [fmt.size(v) for v in (512, 1536, MIB)] == ["512 B", "1.5 KiB", "1 MiB"]
    assert [fmt.count(v) for v in (17, 200_000, 1_500_000)] == ["17", "200k", "1.5M"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page with")
def test_a_browser_opens_the_page_without_an_error(full: Path, page: str, tmp_path: Path) -> None:
    """The script re-anchors a column and reports no error, with the network switched off."""
    check = """<script>
    window.addEventListener("error", e => { document.title = "error " + e.message; });
    addEventListener("load", () => {
      const buttons = [...document.querySelectorAll("table.m thead button")];
      const column = buttons.findIndex(button => button.textContent === "rbloom");
      buttons[column].click();
      const cell = document.querySelector("table.m tbody tr:nth-child(2)").cells[column];
      const anchors = document.querySelectorAll("table.m td.a").length;
      const loaded = performance.getEntriesByType("resource").length;
      const first = document.querySelector("table.m tbody td[tabindex='0']");
      first.focus();
      first.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true}));
      console.assert(document.querySelector("output").textContent === document.activeElement.title);
      const reached = document.activeElement.title.split(",")[0];
      document.title = [reached, cell.firstChild.data, anchors, loaded].join(" ");
    });
    </script>"""
    path = tmp_path / "checked.html"
    path.write_text(page.replace("<style>", check + "<style>", 1), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-quic", f"--user-data-dir={tmp_path}",
             "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=2000", "--dump-dom"]  # fmt: skip
    done = subprocess.run(
        [str(CHROMIUM), *flags, path.as_uri()], capture_output=True, text=True, timeout=60, check=True
    )
    assert re.search(r"<title>(.*?)</title>", done.stdout)[1] == "BloomFilter 1.00 26 0"  # type: ignore[index]
