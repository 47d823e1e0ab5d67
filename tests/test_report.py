"""The report is checked on invented runs that hold every kind of result, since rendering sees only files."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from invented import (
    ANCHOR,
    ARMS,
    MIB,
    NON_ASCII,
    Checked,
    filter_tasks,
    sketch_tasks,
    write_run,
)

from bench.report import (
    banners,
    charts,
    facts,
    figures,
    fmt,
    html,
    needs,
    plots,
    quality,
    readme,
    render,
    selfcheck,
    tables,
    terminal_table,
)
from bench.report.load import Race, Row, load
from bench.schema import FILES, SLOTS, SUMMARY

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "reports" / "reference"
CSS = ROOT / "bench" / "report"
PAGES = {".html", ".md", ".svg"}
RENDER = "import sys, pathlib, bench.report; bench.report.render(pathlib.Path(sys.argv[1]))"


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


def change_summary(folder: Path, role: str, **values: object) -> None:
    """Change the first row of a role in a written run."""
    table = pq.read_table(folder / "summary.parquet").to_pylist()
    next(row for row in table if row["role"] == role).update(values)
    pq.write_table(pa.Table.from_pylist(table, schema=SUMMARY), folder / "summary.parquet")


def test_the_same_files_give_the_same_bytes(full: Path) -> None:
    """Rendering reads no clock and iterates in a fixed order, whatever the hash seed."""
    names = [str(path.relative_to(full)) for path in sorted(full.rglob("*.*")) if path.suffix in PAGES]
    assert {"index.html", "summary.md", "filters-size.svg", "components/index.html"} <= set(names)
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
    assert all(t.startswith("#") or t in {*FILES, "data:,", "components/index.html"} for t in targets)
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
        ratios = [float(re.split("[ /]", cell)[0]) if cell else None for cell in packed.split("|")[1:]]
        assert [ratio is not None for ratio in ratios] == [name in times for name in data["columns"]]
        for name, ratio in zip(data["columns"], ratios, strict=True):
            if ratio is not None:
                assert ratio / ratios[base] == pytest.approx(times["rbloom"] / times[name], rel=0.02)


def test_a_cell_is_packed_without_loss() -> None:
    """Its half width gives back the interval; a one-slot interval, which is lopsided, keeps both ends."""
    usual = Row("t", "a", "ours", "ok", slots=5, rounds=150)
    even = Row("t", "c", "peer", "ok", ns_item=1.0, ratio=0.5, lo=0.5 / 1.02, hi=0.5 * 1.02, mde=0.05,
               verdict="slower", slots=5, rounds=60, slot_ns=(1.0, 1234.5))  # fmt: skip
    assert html.datum(even, usual, slots=True) == ".5 s 5.0 20  5x60/1.00 1234"
    assert html.datum(even._replace(rounds=150), usual) == ".5 s 5.0 20"
    lopsided = Row("t", "c", "peer", "ok", ns_item=1.0, ratio=0.5, lo=0.49, hi=0.52, mde=0.07)
    assert html.datum(lopsided, usual) == ".5  7.0 20 39 0x0"
    assert html.datum(Row("t", "c", "peer", "WRONG"), usual) == ""


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
    lost = {v.name: v.losses for v in facts.by_operation(run, "filters")}
    assert lost == {"contains": 0, "contains_one": 2, "build": 0, "add": 0}


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
    assert answers["Least memory, false-positive rate 0.5 % or better"] == ["BinaryFuseFilter"]
    assert answers["Least memory, false-positive rate 0.1 % or better"] == ["CuckooFilter"]
    assert answers["Items can be removed again: the fastest lookup of those"] == ["CuckooFilter"]
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
    change_summary(folder, "control", ratio=1.05, lo=1.03, hi=1.07, verdict="faster")
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
    assert re.search(r'class="banner warn".*?waited for a CPU in 2 of 5 slots \(up to 28 %', page)


@pytest.mark.parametrize(("governor", "told"), [("powersave", True), ("performance", False), (None, False)])
def test_a_clock_that_changes_is_said_to_do_so(full: Path, governor: str | None, told: bool) -> None:
    """And what to do about it."""
    run = load(full)
    run.env["governor"] = governor
    said = [b.text for b in banners.banners(run)]
    assert any("cpupower frequency-set" in text for text in said) == told


def test_a_thousand_tasks_stay_within_a_megabyte_and_a_half(tmp_path: Path) -> None:
    """Twenty-five families of forty tasks with eleven contestants each, and what their slots said."""
    arms = tuple(
        arm for arm in ARMS if arm.role != "null" and arm.name not in {"set", "pybloom-live", NON_ASCII}
    )
    names = [f"family{i}" for i in range(25)]
    tasks = [replace(t, n=t.n + k) for name in names for k in (0, 1) for t in filter_tasks(name)[:20]]
    assert (len(tasks), len(arms)) == (1000, 11)
    page, _ = rendered(write_run(tmp_path, tasks, arms=arms))
    assert len(page.encode()) <= 1_500_000
    assert not re.search(r'"rows":\["[^"]*/', page)  # the medians of slots are left to smaller runs


def test_every_verdict_stands_beside_the_least_difference_it_would_have_called(full: Path, page: str) -> None:
    """A verdict of the same means little where only a difference of a tenth would have been seen."""
    tables = re.findall(r"<table.*?</table>", page, re.DOTALL)
    judging = [table for table in tables if '<th scope="col">Verdict</th>' in table]
    assert len(judging) == 3
    for table in judging:
        assert '<th scope="col">Verdict</th><th scope="col" class="r">Visible</th>' in table
        verdicts = re.findall(r"<td[^>]*>(?:ours faster|peer faster|same|undecided)<td class=r>(.*)", table)
        assert verdicts
        assert all(re.match(r"\d\S* %", visible) for visible in verdicts)
    lines = (full / "summary.md").read_text(encoding="utf-8").splitlines()
    header = [line for line in lines if "| Verdict |" in line]
    assert header
    assert all("| Verdict | Visible |" in line for line in header)


def test_slots_are_drawn_one_by_one(full: Path) -> None:
    """Each is a dot; one far outside the others is a cross and counted, one off the axis an arrow."""
    arm = next(arm for arm in tables.control_arms(load(full)) if not arm.outside)
    scale = figures.Scale([0.9, 1.1], 0, 190)
    drawn = figures.strip(1.0, 0.99, 1.01, arm.row.slot_ratios, arm.outside, scale)
    assert re.search(r"<path class=d d=\"(M\d+ \d+h0){5}\"/>", drawn)
    ratios = (1.0, 1.001, 0.999, 1.0, 1.08)
    arm = tables.arm(arm.race, arm.row._replace(slot_ratios=ratios))
    assert arm.outside == {4}
    drawn = figures.strip(1.0, 0.99, 1.01, (*ratios, 2.0), arm.outside, scale)
    assert [drawn.count(f"<path class={name} ") for name in "dov"] == [1, 1, 1]


def test_the_slots_of_doubtful_contestants_are_listed(tmp_path: Path) -> None:
    """A control that was called casts doubt on its whole task; an undecided contestant on itself."""
    folder = write_run(tmp_path, filter_tasks()[:3])
    change_summary(folder, "control", ratio=1.05, lo=1.03, hi=1.07, verdict="faster")
    run = load(folder)
    assert tables.control_arms(run)[0].row.verdict == "faster"
    doubted = [arm for arm in tables.doubtful_arms(run) if arm.race.id == run.races[0].id]
    timed = [r for r in run.races[0].rows if r.timed and r.role in facts.RACED and not r.anchor]
    assert len(doubted) == len(timed)


def test_a_repeated_slot_is_marked(tmp_path: Path) -> None:
    """A slot that lost a worker and ran again says so in words."""
    folder = write_run(tmp_path, filter_tasks()[:1])
    table = pq.read_table(folder / "slots.parquet").to_pylist()
    table[2]["attempts"] = 2
    pq.write_table(pa.Table.from_pylist(table, schema=SLOTS), folder / "slots.parquet")
    page, summary = rendered(folder)
    assert page.count('<td class="r bad">2, repeated') == 1
    assert "2, repeated" in summary


def test_every_operation_raced_at_three_sizes_is_drawn_over_size(full: Path) -> None:
    """Its longest series comes first, with the caches where it is drawn over bytes of state."""
    drawn = [c for c in charts.draw(load(full), "filters") if c.kind == "size"]
    names = [chart.series.name for chart in drawn if chart.series]
    for op in ("Lookup: ids", "Build: ids", "Insert: ids"):
        assert sum(name.startswith(op) for name in names) == 1
    assert all(all(f">{level}</text>" in c.svg for level in ("L1", "L2", "L3")) for c in drawn)


def test_lines_are_told_apart_without_colour(full: Path) -> None:
    """A chart's lines have marks of their own; what is not this library's is dashed, dotted or thin."""
    chart = next(c for c in charts.draw(load(full), "filters") if c.kind == "size")
    marks = re.findall(r"<g class=\"(\w+)\"><path class=\"line (g\d)\"", chart.svg)
    assert len({mark for role, mark in marks if role == "ours"}) == 4
    assert {mark for _, mark in marks} == {f"g{i}" for i in range(7)}
    style = (CSS / "template.html.j2").read_text()
    assert re.search(r"\.ours \.line\{[^}]*stroke-width:2", style)
    assert all(re.search(rf"\.{role} \.line{{stroke-dasharray", style) for role in ("exact", "limit"))


def test_items_are_counted_in_tens_and_bytes_in_twos() -> None:
    """An axis has at least three ticks, whatever its range."""
    for low, high in ((20_000, 1_000_000), (1, 10), (50, 60)):
        ticks = figures.Scale([low, high], 0, 500).ticks()
        assert len(ticks) >= 3
        assert all(float(f"{t:.2g}") == pytest.approx(t) for t in ticks)
    for low, high in ((2**10, 2**28), (9 * 2**10, 64 * 2**10), (3 * MIB, 9 * MIB)):
        ticks = figures.Scale([low, high], 0, 500).binary_ticks()
        assert len(ticks) >= 2
        assert all(math.log2(t) % 1 == 0 for t in ticks)


def test_the_names_on_a_ruler_do_not_touch() -> None:
    """From a narrow range to six decades there is room between two ticks, and 1 is one of them."""
    for low, high in ((0.99, 1.01), (0.9, 6.0), (0.2, 1.3), (1e-4, 100.0)):
        ruler = figures.ruler(figures.Scale([low, high, 0.9, 1.1], 0, 190))
        places = [int(x) for x in re.findall(r"x=(\d+)", ruler)]
        assert all(b - a >= 33 for a, b in pairwise(places))
        assert ">1</text>" in ruler


def test_growth_is_the_power_of_n_on_each_side_of_the_cache() -> None:
    """Times that are constant in the cache and grow with the square root past it have powers 0 and 1/2."""
    races = [
        Race(f"t{n}", "f", "op", "w", n, {}, {}, "", (
            Row(f"t{n}", "a", "ours", "ok", anchor=True, ns_item=time, ratio=1.0, state_bytes=n),
        ))
        for n, time in ((1000, 3.0), (10_000, 3.0), (10**8, 10.0), (10**10, 100.0))
    ]  # fmt: skip
    row = charts.series("f", races, MIB, sized=True).rows[0]
    assert row.powers == pytest.approx((0.0, 0.5))
    assert charts.series("f", races[:1], None, sized=False).rows[0].powers == (None,)


def test_the_charts_beside_the_summary_are_well_formed(full: Path) -> None:
    """They name everyone who is drawn, and load nothing."""
    drawn = {chart.kind: chart.data for chart in charts.draw(load(full), "filters")}
    for kind in ("size", "pareto"):
        path = full / f"filters-{kind}.svg"
        texts = [text for node in ET.parse(path).getroot().iter() if (text := (node.text or "").strip())]
        for item in (*drawn[kind].lines, *drawn[kind].points):
            assert any(item.name in text for text in texts)
        assert drawn[kind].up.label in texts
        assert not re.search(r'(href|src)="(?!#)', path.read_text(encoding="utf-8"))
        assert f"]({path.name})" in (full / "summary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("growth", [0.0, 1.0])
def test_errors_are_drawn_over_sizes_if_memory_grows_with_them(tmp_path: Path, growth: float) -> None:
    """And if all have the same memory, time is drawn against errors, and errors against nothing."""
    folder = write_run(tmp_path, sketch_tasks())
    quality_file = folder / "quality.parquet"
    rows = pq.read_table(quality_file)
    changed = []
    for row in rows.to_pylist():
        n = int(re.search(r"n=(\d+)", row["task"])[1])  # type: ignore[index]
        changed.append(row | ({"value": 1024.0 * n**growth} if row["metric"] == "bytes" else {}))
    pq.write_table(pa.Table.from_pylist(changed, schema=rows.schema), quality_file)
    drawn = charts.draw(load(folder), "sketches")
    pareto = next(chart for chart in drawn if chart.kind == "pareto")
    assert pareto.data.title.startswith("Time against error")
    sized = [chart for chart in drawn if chart.kind == "accuracy"]
    assert len(sized) == growth
    for chart in sized:
        assert chart.data.title == "Error over memory, Count distinct: ids, groups 1"
        assert {len(line.points) for line in chart.data.lines} == {3}


def test_a_family_with_other_metrics_needs_no_code_here(tmp_path: Path) -> None:
    """Its operations are named by their words, and its memory and errors are charted and chosen by."""
    folder = write_run(tmp_path, sketch_tasks())
    page, summary = rendered(folder)
    run = load(folder)
    assert quality.measures(run, "sketches") == quality.Measures(("bytes", "error"), "bytes", "error")
    assert [c.kind for c in charts.draw(run, "sketches")] == ["pareto", "accuracy"] + ["size"] * 2
    answers = {a.need: ([c.contestant for c in a.take], a.figure) for a in needs.answers(run, "sketches")}
    assert answers["Least memory, error 1 % or better"] == (["UltraLogLog"], "9 KiB")
    assert answers["Least memory, error 0.5 % or better"] == (["LinearCounter"], "64 KiB")
    where = "ids, groups 1, state in L2 (up to 1 MiB)"
    assert answers[f"Fastest count distinct: {where}"][0] == ["LinearCounter"]
    for text in (page, summary):
        assert "Count distinct" in text
        assert re.search(r"12 KiB.{1,40}0\.8\d* %", text)
        assert not re.search(r"bits per key|FPR|false-positive|\bNone\b|\bnan\b", text)


def test_what_more_is_better_of_is_charted_by_what_is_missing() -> None:
    """A recall of 0.98 is an error of 0.02."""
    assert quality.cost("recall", 0.98) == pytest.approx(0.02)
    assert quality.cost("error", 0.02) == 0.02
    assert [quality.is_memory(m) for m in ("bits_per_value", "bytes", "bytes_per_item", "rank_error")] == [
        True, True, True, False,
    ]  # fmt: skip


def test_the_self_check_is_an_appendix(tmp_path: Path) -> None:
    """It has no verdict, no matrix, no chart and no control arm among those of the families."""
    folder = write_run(tmp_path, filter_tasks(), check=Checked())
    page, summary = rendered(folder)
    run = load(folder)
    assert "selfcheck" not in run.families
    assert len(facts.controls(run).rows) == 26
    assert all(f.passed for f in selfcheck.findings(run))
    assert "Self-check failed" not in page + summary
    assert page.count('<table class="m"') == 1
    for text in (page, summary):
        assert "4 of 4 findings within their bounds" in text
        assert "0 of 20 arms called faster or slower" in text
        assert "6 of 6 arms whose visible difference is below 2.5 %; 0 with a wider one" in text


@pytest.mark.parametrize(
    ("check", "failure"),
    [
        (Checked(called=2), "2 of 20 arms called"),
        (Checked(missed=1), "5 of 6 arms"),
        (Checked(beside=1.2), "1.20\N{MULTIPLICATION SIGN} the time alone"),
        (Checked(cold=1.1), "1.10\N{MULTIPLICATION SIGN} the warm time"),
    ],
)
def test_a_failed_self_check_is_told_before_any_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], check: Checked, failure: str
) -> None:
    """Whatever the bound, page, summary and terminal say what was found."""
    folder = write_run(tmp_path, filter_tasks()[:1], check=check)
    page, summary = rendered(folder)
    terminal_table(folder)
    assert re.search(rf'class="banner alarm".*?Self-check failed.*?{re.escape(failure)}', page)
    assert "**Alarm:** Self-check failed" in summary
    assert "alarm: Self-check failed" in capsys.readouterr().out
    assert [f.passed for f in selfcheck.findings(load(folder))].count(False) == 1


def test_a_self_check_that_saw_too_little_is_not_told(tmp_path: Path) -> None:
    """Arms that could not have told 3 % pass nothing, and one slot judges nothing."""
    coarse = load(write_run(tmp_path / "coarse", [], check=Checked(missed=3, mde=0.04)))
    assert [f.passed for f in selfcheck.findings(coarse)] == [True, None, True, True]
    assert "6 with a wider one" in selfcheck.findings(coarse)[1].answer
    page, _ = rendered(write_run(tmp_path / "quick", [], check=Checked(), slots=1))
    assert [f.passed for f in selfcheck.findings(load(tmp_path / "quick"))] == [None] * 4
    assert "Self-check: 0 of 4 findings within their bounds; 4 not told" in page


def test_headings_go_down_one_level_at_a_time(page: str) -> None:
    """Who moves by headings misses none."""
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert all(re.search(f"<{tag}[ >]", page) for tag in ("header", "nav", "main"))
    assert '<html lang="en">' in page


def test_charts_say_what_they_show(page: str) -> None:
    """Each has a title and a description; those of costs give the figures, those over size a table."""
    drawn = re.findall(r'<svg class="chart".*?</figure>', page, re.DOTALL)
    assert drawn
    for chart in drawn:
        assert re.search(r'role="img"><title>[^<]+</title><desc>[^<]+</desc>', chart)
        assert "<table>" in chart or "On the frontier: " in chart


# Contrast


def colours(scheme: str) -> dict[str, tuple[float, float, float]]:
    """Read the style sheet's colours of one scheme."""
    sheet = (CSS / "base.css.j2").read_text()
    light, dark = re.findall(r":root\{(--paper:[^}]*)\}", sheet)[:2]
    found = dict(
        re.findall(r"--(\w+):(#\w{6})", light)
        + (re.findall(r"--(\w+):(#\w{6})", dark) if scheme == "dark" else [])
    )
    return {name: tuple(int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)) for name, code in found.items()}  # type: ignore[misc]


def mixed(a: Any, b: Any, share: float) -> Any:
    """Mix two colours as the style sheet does."""
    return tuple(share * x + (1 - share) * y for x, y in zip(a, b, strict=True))


def contrast(a: Any, b: Any) -> float:
    """Return the contrast ratio of the Web Content Accessibility Guidelines."""

    def luminance(colour: Any) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("scheme", "strength"), [("light", 1.0), ("dark", 0.76)])
def test_text_has_contrast(scheme: str, strength: float) -> None:
    """At least 4.5 to 1, on the page and on every cell of the matrix, in the light and in the dark."""
    known = colours(scheme)
    assert f"--k:{strength:g}".replace("0.", ".") in (CSS / "base.css.j2").read_text()
    paper, ink, wash = known["paper"], known["ink"], known["wash"]
    for text in ("ink", "soft", "ours", "alarm", "loss"):
        for ground in (paper, wash):
            assert contrast(known[text], ground) >= 4.5, text
    small = mixed(ink, paper, 0.88)
    for share in (0.10, 0.20, 0.31, 0.43, 0.55):
        for side in ("fast", "slow"):
            cell = mixed(known[side], paper, share * strength)
            assert min(contrast(ink, cell), contrast(small, cell)) >= 4.5, (side, share)


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
    judged = [line for line in lines if "ours faster" in line or "peer faster" in line]
    assert len(judged) == 26
    assert all(re.search(r"(ours|peer) faster +\d\S* % ", line) for line in judged)


def test_of_very_many_tasks_the_terminal_and_markdown_show_less(
    full: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each family, and no charts beside the summary."""
    monkeypatch.setattr(charts, "MANY", 0)
    terminal_table(full)
    said = capsys.readouterr().out
    assert "Filters: " in said
    assert "undecided." in said
    assert "ns/item" not in said
    assert plots.captions(load(full), "filters") == {}


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


def test_a_generated_table_of_times_and_what_is_beside_them(tmp_path: Path) -> None:
    """Memory in a column of its own, errors behind the times, and a sentence where there is nothing."""
    run = load(write_run(tmp_path, sketch_tasks()))
    table = readme._beside(run, "sketches", "count_distinct", ("bytes",), "error")
    header, *rows = [line for line in table.splitlines() if line.startswith("|")]
    assert header.startswith("| Contestant | Kind | memory | ids, 10k, groups 1 |")
    assert re.search(r"\| HyperLogLog \| this library \| \S+ KiB \| \S+ \(1\.00\), \S+ % \|", "\n".join(rows))
    assert f"and the error. Run `{run.id}`." in table
    assert readme._beside(run, "frequency", "add", ()) == f"Run `{run.id}`. It has no figures for this."


@pytest.mark.parametrize("name", readme.FILES)
def test_tables_are_generated_from_the_reference_run(name: str) -> None:
    """Every figure in these files is of the committed run; ``python -m bench.report.readme`` writes them."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "<!-- generated: " in text
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
