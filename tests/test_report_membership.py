"""How the report lets one choose a filter: its tables are held against the files they are made from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from invented import ANCHOR, ARMS, filter_tasks, sketch_tasks, write_run

from bench.report import charts, membership, readme, render
from bench.report.load import Run, load
from bench.schema import QUALITY, Task

if TYPE_CHECKING:
    from pathlib import Path

N, HITS = 200_000, (0, 25, 50, 75, 100)
PLANS: tuple[dict[str, float], ...] = ({"fpr": 0.1}, {"fpr": 0.001}, {"bits_per_key": 10.0})
FACTORS = {"fpr=0.1": (10.0, 0.6), "fpr=0.001": (0.1, 1.5), "bits_per_key": (1.1, 0.95)}
"""By the plan of a task: what an invented filter's rate and memory are multiplied by."""


def lookup(hits: int = 50, **plan: float) -> Task:
    return Task("filters", "contains", "ids", N, {"hits": hits, "input": "favourite", **plan}, anchor=ANCHOR)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a run with all shares of hits, with sweeps, and a build."""
    tasks = [lookup(hits) for hits in HITS] + [lookup(**plan) for plan in PLANS]
    tasks.append(Task("filters", "build", "ids", N, {}, anchor=ANCHOR))
    found = write_run(tmp_path_factory.mktemp("membership"), tasks)
    rows = pq.read_table(found / "quality.parquet").to_pylist()
    for row in rows:
        for plan, factors in FACTORS.items():
            if plan in row["task"]:
                factor = factors[0 if row["metric"] == "fpr" else 1]
                row["value"] *= factor
                row["theory"] = row["theory"] and row["theory"] * factor
    pq.write_table(pa.Table.from_pylist(rows, schema=QUALITY), found / "quality.parquet")
    return found


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return load(folder)


def sheet(run: Run, key: str) -> membership.Sheet:
    (found,) = [sheet for sheet in membership.sheets(run) if sheet.key == key]
    return found


def column(found: membership.Sheet, name: str) -> list[str]:
    return [row[found.header.index(name)] for row in found.rows]


def timed(run: Run, task: Task) -> dict[str, float]:
    (race,) = [race for race in run.races if race.id == task.id]
    return {row.contestant: row.ns_item for row in race.rows if row.timed and row.ns_item}


def configurations(run: Run) -> list[dict[str, Any]]:
    """Gather the configurations of a swept field once more, the slow way."""
    found = []
    for task in (*(lookup(hits) for hits in HITS if hits == 50), *(lookup(**plan) for plan in PLANS)):
        rate, bits = next((v for plan, v in FACTORS.items() if plan in task.id), (1.0, 1.0))
        for arm in ARMS:
            ns = timed(run, task).get(arm.name)
            if arm.role in {"ours", "peer"} and arm.fpr and ns:
                found.append({"name": arm.name, "ns": ns, "fpr": arm.fpr * rate, "bits": arm.bits * bits})
    return found


def test_the_customary_table_has_everyone_at_every_share_of_hits(run: Run) -> None:
    table = sheet(run, "table")
    assert table.header[3:8] == ("0 %", "25 %", "50 %", "75 %", "100 %")
    assert set(column(table, "Filter")) == {
        row.contestant
        for race in run.races
        if race.id == lookup().id
        for row in race.rows
        if row.timed and row.role in {"ours", "peer", "exact"}
    }
    kinds = column(table, "Kind")
    assert kinds == sorted(kinds, key=["this library", "peer", "exact baseline"].index)
    row = dict(zip(table.header, table.rows[column(table, "Filter").index(ANCHOR)], strict=True))
    build = timed(run, Task("filters", "build", "ids", N, {}))[ANCHOR]
    assert float(row["Add"]) == pytest.approx(build, rel=0.01)
    assert float(row["25 %"]) == pytest.approx(timed(run, lookup(25))[ANCHOR], rel=0.01)
    assert row["Bits per key"] == "10.5"
    assert row["False positives"] == "1.03 %"
    assert row["Above minimum"].rstrip(" %") == f"{100 * (10.5 / math.log2(1 / 0.0103) - 1):.0f}"


def test_the_rate_is_that_of_the_law(run: Run) -> None:
    """What was counted scatters by as much as a choice may depend on."""
    races = [race for race in run.races if race.id == lookup().id]
    rates = {config.name: config.rate for config in membership._configs(run, races)}
    laws = {arm.name: arm.fpr for arm in ARMS if arm.role == "ours"}
    assert {name: rates[name] for name in laws} == pytest.approx(laws)
    assert rates["set"] == 0.0


@pytest.mark.parametrize("mistake", membership.COSTS)
def test_who_is_best_by_the_cost_of_a_mistake_is_best(run: Run, mistake: float) -> None:
    table = sheet(run, "costs")
    row = table.rows[membership.COSTS.index(mistake)]
    allowed = configurations(run)
    pairs = [row[i : i + 2] for i in range(1, len(row), 2)]
    for limit, (best, takes) in zip((math.inf, *membership.SPACES), pairs, strict=True):
        costs = {
            (c["name"], c["fpr"]): c["ns"] + c["fpr"] * mistake for c in allowed if c["bits"] <= limit * 1.001
        }
        name, _ = min(costs, key=lambda key: costs[key])
        assert best.split(" (")[0] == name
        value, unit = takes.split()
        scale = {"ns": 1.0, "\N{MICRO SIGN}s": 1e3, "ms": 1e6}[unit]
        assert float(value.replace(",", "")) * scale == pytest.approx(min(costs.values()), rel=0.02)


def test_a_dear_mistake_wants_a_smaller_rate(run: Run) -> None:
    best = column(sheet(run, "costs"), "Best")
    assert best[0] != best[-1]
    assert best[-1].endswith("0.1 %)")


@pytest.mark.parametrize(("key", "by"), [("rates", "Planned for"), ("spaces", "Bits per key")])
def test_nothing_on_a_frontier_is_beaten_in_both(run: Run, key: str, by: str) -> None:
    table = sheet(run, key)
    other = "Bits per key" if key == "rates" else "False positives"
    for plan in set(column(table, by)):
        rows = [dict(zip(table.header, row, strict=True)) for row in table.rows if row[0] == plan]
        points = [(float(row["ns"]), float(row[other].rstrip(" %"))) for row in rows]
        for row, point in zip(rows, points, strict=True):
            beaten = any(all(b <= a for a, b in zip(point, p, strict=True)) and p != point for p in points)
            assert (row["Frontier"] == "yes") is not beaten


def test_only_ours_are_planned_otherwise(run: Run) -> None:
    ours = {arm.name for arm in ARMS if arm.role == "ours"}
    assert set(column(sheet(run, "rates"), "Filter")) <= ours
    assert set(column(sheet(run, "spaces"), "Filter")) <= ours


def test_the_chart_of_costs_shows_who_is_best_somewhere_and_the_exact(run: Run) -> None:
    ((race, curves),) = membership.cost_curves(run)
    assert (race.workload, race.n) == ("ids", N)
    assert [curve.role for curve in curves].count("exact") == 1
    for curve in curves[:-1]:
        others = [other for other in curves if other is not curve and other.role != "exact"]
        assert any(all(y <= other.points[i][1] for other in others) for i, (_, y) in enumerate(curve.points))
    assert "cost" in [chart.kind for chart in charts.draw(run, "filters")]


def test_page_summary_and_blocks_hold_the_tables(folder: Path, run: Run) -> None:
    render(folder)
    for name in ("index.html", "summary.md"):
        text = (folder / name).read_text("utf-8")
        for found in membership.sheets(run):
            assert found.title.split(":")[0] in text
    assert (folder / "filters-cost.svg").exists()
    blocks = "".join(
        f"<!-- generated: filters-{key} -->\n<!-- end -->\n" for key in ("table", "rates", "spaces", "costs")
    )
    written = readme.rewrite(run, blocks)
    assert written.count(run.id) == 4
    assert "no figures" not in written


@pytest.mark.parametrize("tasks", [filter_tasks()[:1], sketch_tasks(), [lookup(0)], [lookup(fpr=0.1)]])
def test_runs_without_these_figures_say_so(tmp_path: Path, tasks: list[Task]) -> None:
    folder = write_run(tmp_path, tasks)
    render(folder)
    run = load(folder)
    assert "table" not in [sheet.key for sheet in membership.sheets(run)]
    assert "no figures" in readme.rewrite(run, "<!-- generated: filters-table -->\n<!-- end -->\n")


def test_frontiers_are_found_among_equals() -> None:
    points = [(1.0, 5.0), (2.0, 5.0), (2.0, 3.0), (3.0, 4.0), (3.0, 3.0), (4.0, 1.0)]
    assert membership._frontier(points) == {(1.0, 5.0), (2.0, 3.0), (4.0, 1.0)}
    assert membership._frontier([]) == set()
