"""The pages of the components are checked against the map, and against invented runs with known answers."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from algos import catalog
from bench.report import components, html
from bench.report.load import load
from bench.schema import QUALITY, SUMMARY, Task

MAP = Path(components.__file__).with_name("map")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WRITE = """
import sys, pathlib
from bench.report import components
from bench.report.load import load
components.write(load(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[1]))
print(*sys.modules)
"""
HOSTILE = '<i>x</i> & "y"'
ANCHOR, OTHER, PEER, SLOW_PEER = "SplitBlockBloomFilter", "BloomFilter", "rbloom", "pybloom-live"
NS = {ANCHOR: 2.0, OTHER: 8.0, HOSTILE: 50.0, PEER: 40.0, SLOW_PEER: 900.0}
X = "\N{MULTIPLICATION SIGN}"
WOBBLE = (1.0, 1.4, 0.8, 1.2, 0.7)  # of the anchor alone, slot by slot

TOPICS = list(csv.DictReader((MAP / "topics.csv").read_text(encoding="utf-8").splitlines()))
NUMBERS = [f"{row['component']}.{row['topic']}" for row in TOPICS]
CATALOG = [
    # 7.20 is of lsm and filters, 16.5 of filters, 15.10 of sync and hashing, 2.4 of hashing
    {"name": OTHER, "family": "filters", "topics": ["7.20", "16.5"]},
    {"name": ANCHOR, "family": "filters", "topics": ["7.20", "16.5"]},
    {"name": HOSTILE, "family": "filters", "topics": ["16.5"]},
    {"name": "xxh3", "family": "hashing", "topics": ["2.4", "15.10"]},
    {"name": "SieveCache", "family": "caching", "topics": ["2.2"]},
]


# Invented runs


def tasks() -> list[Task]:
    """Three sizes of lookups, of which only the anchor finishes the last, and one build without a peer."""
    lookups = [Task("filters", "contains", "ids", n, {"hits": 50}, anchor=ANCHOR) for n in (1000, 2000, 9000)]
    return [*lookups, Task("filters", "build", "ids", 1000, anchor=ANCHOR)]


def rows_of(task: Task, slots: int) -> list[dict[str, Any]]:
    names = {"build": [ANCHOR, OTHER]}.get(task.op, [ANCHOR] if task.n == 9000 else list(NS))
    return [summary_row(task, name, slots) for name in names]


def summary_row(task: Task, name: str, slots: int) -> dict[str, Any]:
    """Time a contestant as ``NS`` says, twice as long at 2000 unless it is the anchor."""
    time = NS[name] * (2 if task.n == 2000 and name != ANCHOR else 1)
    anchor, ratio = name == ANCHOR, NS[ANCHOR] / time
    by_slot = [] if anchor else [ratio * wobble for wobble in WOBBLE[:slots]]
    ends = (math.nan, math.nan) if slots == 1 else (1.0, 1.0) if anchor else (ratio * 0.5, ratio * 2)
    return {
        "task": task.id, "contestant": name, "role": "peer" if name in {PEER, SLOW_PEER} else "ours",
        "status": "ok", "note": "", "anchor": anchor, "ns_item": time, "ratio": ratio, "lo": ends[0],
        "hi": ends[1], "mde": 1.51, "slots": slots, "slot_ratios": by_slot,
        "verdict": "" if anchor or slots == 1 else "slower" if ratio < 0.5 else "undecided",
    }  # fmt: skip


@dataclass
class Invented:
    """What an invented run's files hold."""

    summary: list[dict[str, Any]] = field(default_factory=list)
    quality: list[dict[str, Any]] = field(default_factory=list)


def write_run(folder: Path, *, slots: int = 5, claims: list[dict[str, Any]] = CATALOG) -> Path:
    """Write the files of an invented run."""
    found = Invented()
    for task in tasks():
        found.summary += rows_of(task, slots)
        if task.op == "contains":
            found.quality += [{"task": task.id, "contestant": OTHER, "metric": "fpr", "value": 0.0123}]
    entries = [{"paper": "", "standard": "", "properties": [], **entry} for entry in claims]
    documents = {
        "tasks": [{**vars(task), "id": task.id} for task in tasks()],
        "catalog": entries,
        "run": {"run_id": "2026-11-24-a1b2c3d4", "tier": "quick" if slots == 1 else "default"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(found.summary, schema=SUMMARY), folder / "summary.parquet")
    pq.write_table(pa.Table.from_pylist(found.quality, schema=QUALITY), folder / "quality.parquet")
    return folder


class Reader(HTMLParser):
    """Read a page's ids, addresses, and tables as rows of text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.hrefs: list[str] = []
        self.rows: list[list[str]] = []
        self.tags: Counter[str] = Counter()
        self.inside = False  # of a table
        self.feed(page)
        self.rows = [[" ".join(cell.split()) for cell in row] for row in self.rows]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags[tag] += 1
        self.inside |= tag == "table"
        self.ids += [found["id"] or ""] if "id" in found else []
        self.hrefs += [found["href"] or ""] if tag == "a" else []
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
        elif tag == "div":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        self.inside &= tag != "table"

    def handle_data(self, data: str) -> None:
        if self.inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def row(self, first: str) -> list[str]:
        """Return the first row that starts so."""
        return next(row for row in self.rows if row[0] == first)


def written(folder: Path) -> dict[str, str]:
    """Write a run's pages and return them by name."""
    components.write(load(folder), folder)
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((folder / "components").iterdir())}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[str, str]:
    return written(folder)


@pytest.fixture(scope="module")
def readers(pages: dict[str, str]) -> dict[str, Reader]:
    return {name: Reader(page) for name, page in pages.items()}


# The map


def test_the_map_is_whole() -> None:
    """36 components and their topics are numbered without a gap, and each topic says what it is."""
    found = components.components()
    assert [component.number for component in found] == list(range(1, 37))
    assert len({component.file for component in found}) == 36
    for component in found:
        numbers = [f"{component.number}.{i}" for i in range(1, len(component.topics) + 1)]
        assert [topic.number for topic in component.topics] == numbers
    kinds = Counter(row["hot_path"] for row in TOPICS)
    assert kinds == {"yes": 217, "simulation": 78, "no": 175}
    for row in TOPICS:
        hot = row["hot_path"] != "no"
        assert bool(row["algorithm"]) == bool(row["family"]) == hot, row
        assert all(value == " ".join(value.split()) for value in row.values()), row


@pytest.mark.parametrize("variant", catalog.variants(), ids=lambda v: f"{v.family}.{v.name}")
def test_a_variant_claims_topics_that_its_family_serves(variant: Any) -> None:
    """A claim of the catalogue is a topic of the map that has a hot path and names the variant's family."""
    known = {number: row for number, row in zip(NUMBERS, TOPICS, strict=True) if row["hot_path"] != "no"}
    for topic in variant.topics:
        assert topic in known, f"{variant.name} claims {topic}, which has no hot path in the map"
        families = known[topic]["family"].split(";")
        assert variant.family in families, f"{variant.name} claims {topic}, which is of {families}"
    assert len(set(variant.topics)) == len(variant.topics)


# The pages


def test_every_topic_is_on_exactly_one_page(readers: dict[str, Reader]) -> None:
    """There are 36 pages beside the overview, and a topic is on the page of its component."""
    assert len(readers) == 37
    for name, reader in readers.items():
        found = [i for i in reader.ids if re.fullmatch(r"\d+\.\d+", i)]
        own = [number for number in NUMBERS if name.startswith(f"{int(number.split('.')[0]):02}-")]
        assert sorted(found) == sorted(own), name


def test_states_agree_with_the_catalogue(readers: dict[str, Reader]) -> None:
    """A topic is covered, in part where one of its families has no variant, not yet, or has no hot path."""
    states = {}
    for reader in readers.values():
        states |= {row[0]: row[2] for row in reader.rows if row and re.fullmatch(r"\d+\.\d+", row[0])}
    for number, row in zip(NUMBERS, TOPICS, strict=True):
        claiming = {entry["family"] for entry in CATALOG if number in entry["topics"]}
        if row["hot_path"] == "no":
            assert number not in states
            continue
        missing = [family for family in row["family"].split(";") if family not in claiming]
        state = "not yet" if not claiming else "in part" if missing else "covered"
        assert states[number].startswith(state), number
        assert ("simulation" in states[number]) == (row["hot_path"] == "simulation"), number
    assert states["7.20"] == "in part not yet: lsm"
    assert states["2.2"] == "covered simulation"


def test_the_overview_counts_what_the_pages_show(folder: Path, readers: dict[str, Reader]) -> None:
    """Covered, raced, not yet, by kind, and topics: of each component, and of all together."""
    overview = readers["index.html"]
    assert overview.row("16")[1:8] == ["Message queue", "1", "1", "12", "7", "6", "20"]
    assert overview.row("2")[1:8] == ["CDN", "2", "0", "6", "4", "4", "12"]
    assert overview.rows[-1][1:8] == ["All", "5", "2", "290", "217", "78", "470"]
    columns = list(zip(*(row[2:8] for row in overview.rows[1:-1]), strict=True))
    assert [str(sum(map(int, column))) for column in columns] == overview.rows[-1][2:8]
    total = components.coverage(load(folder))
    assert (total.covered, total.raced, total.hot, total.topics) == (5, 2, 295, 470)
    assert "variants for 5 of them and figures for 2" in total.sentence


def test_figures_are_the_runs(readers: dict[str, Reader]) -> None:
    """The task is the largest that most variants finished; the factor is to the fastest peer there."""
    page = readers["16-message-queue.html"]
    topic = page.row("16.5")
    assert topic[5:] == [OTHER, "Lookup", "16.0", f"5.00{X}", "[5.00, 5.00]", "ours faster", "1.0 %"]
    assert page.row(ANCHOR)[1:] == ["Lookup", "2.00", f"40.0{X}", "[20.0, 80.0]", "ours faster", "151 %"]
    heads = [row[0] for row in page.rows if len(row) == 1]
    assert heads[0] == f"Lookup: ids, 2k; best peer {PEER}, 80.0 ns"


def test_every_operation_is_shown_with_its_range_and_quality(pages: dict[str, str]) -> None:
    """An operation without a peer has times alone; quality is the family's."""
    _, _, part = pages["16-message-queue.html"].partition('<h2 id="filters">')
    rows = Reader(part).rows
    assert [row for row in rows if row[0] == OTHER] == [
        [OTHER, "16.0", f"5.00{X}", "[5.00, 5.00]", "ours faster", "1.0 %", f"5.00 to 5.00{X}", "2"],
        [OTHER, "8.00", "no peer in this task", "", "1"],
        [OTHER, "1.2 % FPR"],
    ]
    assert next(row for row in rows if row[0] == ANCHOR)[-2:] == [f"20.0 to 40.0{X}", "3"]


def test_a_variant_is_compared_with_a_peer_slot_by_slot(tmp_path: Path) -> None:
    """The anchor's wobble, which is in both ratios, cancels; with a slot missing nothing can be paired."""
    folder = write_run(tmp_path)
    table = pq.read_table(folder / "summary.parquet").to_pylist()
    for row in table:
        if row["contestant"] == PEER:
            row["slot_ratios"] = row["slot_ratios"][1:]
    pq.write_table(pa.Table.from_pylist(table, schema=SUMMARY), folder / "summary.parquet")
    topic = Reader(written(folder)["16-message-queue.html"]).row("16.5")
    assert topic[-3:] == ["", "no verdict", ""]


def test_a_slower_variant_says_so(readers: dict[str, Reader]) -> None:
    """Rows that this library loses are kept."""
    assert readers["16-message-queue.html"].row(HOSTILE)[1:] == [
        "Lookup",
        "100",
        f"0.800{X}",
        "[0.800, 0.800]",
        "peer faster",
        "1.0 %",
    ]


def test_a_wrong_answer_is_a_word_and_not_a_figure(tmp_path: Path) -> None:
    """What was not timed says why, and does not count as raced."""
    folder = write_run(tmp_path)
    table = pq.read_table(folder / "summary.parquet").to_pylist()
    for row in table:
        if row["contestant"] in {ANCHOR, OTHER, HOSTILE}:
            row |= {"status": "WRONG", "note": "key 17: False", "ns_item": None, "ratio": None}
    pq.write_table(pa.Table.from_pylist(table, schema=SUMMARY), folder / "summary.parquet")
    pages = written(folder)
    assert Reader(pages["16-message-queue.html"]).row("16.5")[-1] == "WRONG key 17: False"
    assert components.coverage(load(folder)).raced == 0
    assert "This library gave wrong answers" in pages["16-message-queue.html"]


def test_a_variant_that_was_not_raced_says_so(readers: dict[str, Reader]) -> None:
    """The catalogue may know more than a run measured."""
    assert readers["02-cdn.html"].row("2.4")[5:] == ["xxh3", "not in this run"]
    assert readers["15-object-block-file-storage.html"].row("15.10")[5:] == ["xxh3", "not in this run"]


def test_one_slot_gives_no_verdict(tmp_path: Path) -> None:
    """A quick run's factors are shown without intervals, and the page says what they are worth."""
    page = written(write_run(tmp_path, slots=1))["16-message-queue.html"]
    assert Reader(page).row("16.5")[-3:] == ["", "no verdict", ""]
    assert "not a verdict" in page


def test_without_a_catalogue_nothing_is_covered(tmp_path: Path) -> None:
    """The map stands on its own: a folder without a single file still has its pages."""
    for folder in (write_run(tmp_path / "bare", claims=[]), tmp_path / "empty"):
        folder.mkdir(exist_ok=True)
        pages = written(folder)
        assert len(pages) == 37
        assert components.coverage(load(folder)).covered == 0
        assert not any(re.search(r"\b(None|nan|inf|Undefined)\b", page) for page in pages.values())


def test_names_are_escaped(pages: dict[str, str], readers: dict[str, Reader]) -> None:
    """A variant's name cannot become markup, nor end an attribute."""
    page, reader = pages["16-message-queue.html"], readers["16-message-queue.html"]
    assert "<i>" not in page
    assert reader.tags["i"] == 0
    assert f"filters.{HOSTILE}" in reader.ids
    assert f"#filters.{HOSTILE}" in reader.hrefs


def test_links_lead_somewhere(folder: Path, readers: dict[str, Reader]) -> None:
    """Ids are unique, and a link's page and place exist: here, on a neighbour, or in the main report."""
    main = Reader(html.page(load(folder)))
    found = {**readers, "../index.html": main}
    for name, reader in readers.items():
        assert len(reader.ids) == len(set(reader.ids)), name
        for href in reader.hrefs:
            page, _, place = href.partition("#")
            assert not place or place in found[page or name].ids, (name, href)
            assert not page or page in found, (name, href)


def test_pages_form_a_chain(readers: dict[str, Reader]) -> None:
    """Each page links to the overview, to the main report and to its neighbours."""
    names = sorted(readers.keys() - {"index.html"})
    for i, name in enumerate(names):
        around = [*names[max(0, i - 1) : i], *names[i + 1 : i + 2]]
        links = [href for href in readers[name].hrefs if "#" not in href]
        assert links == ["../index.html", "index.html", *around]
    assert readers["index.html"].hrefs == ["#main", "../index.html", *names]


def test_pages_load_nothing_and_run_nothing(pages: dict[str, str]) -> None:
    """No address, no import, no script: a page is one file of text."""
    for page in pages.values():
        assert not re.search(r"https?:|//\w|@import|<(script|iframe|object|img|link rel=\"style)", page)
        assert not re.search(r"url\((?!#)", page)


def test_pages_can_be_read_by_a_screen_reader(pages: dict[str, str]) -> None:
    """Tables have captions and scoped headers, scrolling boxes a name and a place in the tab order."""
    for name, page in pages.items():
        tables = re.findall(r"<table.*?</table>", page, re.DOTALL)
        assert tables, name
        assert all("<caption" in table and "scope=" in table for table in tables)
        assert all(
            'tabindex="0"' in b and "aria-label=" in b for b in re.findall(r'<div class="box[^>]*>', page)
        )
        assert '<a class="skip" href="#main">' in page
        assert len(re.findall(r"<h1>", page)) == 1


def test_the_same_files_give_the_same_bytes_without_a_kernel(folder: Path, pages: dict[str, str]) -> None:
    """Another process with another hash seed writes the same pages, and imports none of the library."""
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(folder)],
        check=True, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": "77"},
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert {
        path.name: path.read_text(encoding="utf-8") for path in (folder / "components").iterdir()
    } == pages
    assert not {name for name in done.stdout.split() if name.split(".")[0] in {"algos", "numba"}}


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the pages with")
@pytest.mark.parametrize("name", ["index.html", "16-message-queue.html"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_a_page_without_scrolling_it_sideways(
    folder: Path, pages: dict[str, str], name: str, width: int
) -> None:
    """Only the boxes scroll, at phone width as on a desk, and nothing is fetched."""
    check = """<script>addEventListener("load", () => {
      const page = document.documentElement, loaded = performance.getEntriesByType("resource").length;
      parent.postMessage([innerWidth, page.scrollWidth <= innerWidth, loaded].join(" "), "*");
    });</script>"""
    frame = f"""<script>addEventListener("message", e => {{ document.title = e.data; }});</script>
    <iframe src="checked-{name}" style="border:0;width:{width}px;height:900px"></iframe>"""
    (folder / f"checked-{name}").write_text(
        pages[name].replace("<style>", check + "<style>", 1), encoding="utf-8"
    )
    path = folder / "frame.html"  # a window cannot be as narrow as a phone
    path.write_text(frame, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND",
             "--window-size=1400,900", "--virtual-time-budget=2000", "--dump-dom"]  # fmt: skip
    done = subprocess.run(
        [str(CHROMIUM), *flags, path.as_uri()], capture_output=True, text=True, timeout=60, check=True
    )
    assert re.search(r"<title>(.*?)</title>", done.stdout)[1] == f"{width} true 0"  # type: ignore[index]
