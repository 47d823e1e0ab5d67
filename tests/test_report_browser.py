"""The page in headless Chromium: it asks the network for nothing, and mouse, keyboard and touch all work.

Chromium is driven over its DevTools protocol, through two pipes, which needs no library.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from invented import ANCHOR, Checked, filter_tasks, sketch_tasks, write_run

from bench.report import render
from bench.report.load import Row, load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.report.load import Race

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND",
         "--remote-debugging-pipe"]  # fmt: skip
LAUNCH = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]]
for fd, pipe in zip((3, 4), pipes):
    os.dup2(pipe, fd)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads commands from descriptor 3 and writes answers to 4."""
PATIENCE = 60  # seconds for an answer that takes milliseconds
CELL = "document.querySelectorAll('table.m')[{table}].tBodies[{body}].rows[{row}].cells[{column}]"
CELLS = "[...document.querySelectorAll('table.m td')].map(td => td.className + td.textContent).join()"
OUT = "document.querySelectorAll('output')[{table}].textContent"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page with"),
    pytest.mark.skipif(sys.platform == "win32", reason="the protocol's pipes are file descriptors 3 and 4"),
]


class Chromium:
    """One browser with one tab, and everything it said of itself."""

    def __init__(self, profile: Path) -> None:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                LAUNCH,
                str(commands),
                str(answers),
                str(CHROMIUM),
                *FLAGS,
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._received, self._session, self._last = b"", "", 0
        self.events: list[dict[str, Any]] = []
        tabs = self.call("Target.getTargets")["targetInfos"]
        tab = next(target["targetId"] for target in tabs if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        self._session = ""
        self.call("Browser.close")
        self._process.wait(PATIENCE)
        os.close(self._commands)
        os.close(self._answers)

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command and return its result."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._answers], [], [], PATIENCE)
            assert ready, f"Chromium said nothing for {PATIENCE} s"
            received = os.read(self._answers, 1 << 20)
            assert received, "Chromium is gone"
            self._received += received
        message, _, self._received = self._received.partition(b"\0")
        return dict(json.loads(message))

    def open(self, path: Path, width: int = 1280, scheme: str = "light") -> None:
        """Open a page in a window of this width, and wait until it is loaded."""
        self.events.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
                  mobile=width < 600)  # fmt: skip
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=path.as_uri())
        while not self.said("Page.loadEventFired"):
            self.events.append(self._receive())

    def said(self, method: str) -> list[dict[str, Any]]:
        """Return what was said of one kind since the page was opened."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def complaints(self) -> list[dict[str, Any]]:
        """Return every error and warning, and whatever was written to the console."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [complaint for kind in kinds for complaint in self.said(kind)]

    def requests(self) -> list[str]:
        """Return the addresses that were asked for; the empty icon is written into the page."""
        asked = [event["request"]["url"] for event in self.said("Network.requestWillBeSent")]
        return [url for url in asked if url != "data:,"]

    def run(self, script: str) -> Any:
        """Evaluate an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def place(self, element: str) -> tuple[float, float]:
        """Bring an element into view and return its centre."""
        self.run(f"{element}.scrollIntoView({{block: 'center', inline: 'center'}})")
        x, y = self.run(
            f"(() => {{ const b = {element}.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return x, y

    def click(self, element: str) -> None:
        """Press and release the left button over an element."""
        x, y = self.place(element)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def hover(self, element: str) -> None:
        """Move the mouse over an element."""
        x, y = self.place(element)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def tap(self, element: str) -> None:
        """Touch an element."""
        x, y = self.place(element)
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, key: str) -> None:
        """Press and release a key."""
        text = {"text": "\r"} if key == "Enter" else {}
        code = {"Enter": 13, "Tab": 9}.get(key, 0)
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text
            )


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    with contextlib.closing(browser):
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render a run of two families and a self-check."""
    folder = write_run(
        tmp_path_factory.mktemp("run"), [*filter_tasks(), *sketch_tasks()], check=Checked(called=2)
    )
    return render(folder)


@pytest.fixture(scope="module")
def race(report: Path) -> Race:
    """Return the race of the first line of the first matrix."""
    return load(report.parent).family("filters")[0]


def column(chromium: Chromium, table: int, name: str) -> int:
    """Find a contestant's column, whose button is in the same place as its cells."""
    names = f"[...document.querySelectorAll('table.m')[{table}].querySelectorAll('thead button')]"
    return int(chromium.run(f"{names}.findIndex(button => button.textContent === '{name}')"))


def cell(at: int, *, table: int = 0, body: int = 0, row: int = 1) -> str:
    """Address a cell of a matrix; its first line is the second row, under the operation's name."""
    return CELL.format(table=table, body=body, row=row, column=at)


def button(at: int, table: int = 0) -> str:
    return f"document.querySelectorAll('table.m')[{table}].querySelectorAll('thead button')[{at}]"


def row(race: Race, name: str) -> Row:
    return next(row for row in race.rows if row.contestant == name)


def test_the_pages_ask_for_nothing_and_complain_of_nothing(chromium: Chromium, report: Path) -> None:
    """No request but for the page itself, and an empty console, while everything on it is used."""
    components = report.parent / "components"
    for path in (report, components / "index.html", components / "16-message-queue.html"):
        chromium.open(path)
        for i in range(chromium.run("document.querySelectorAll('table.m button').length")):
            chromium.run(f"document.querySelectorAll('table.m button')[{i}].click()")
        chromium.run(
            "document.querySelectorAll('table.m td').forEach(td =>"
            " td.dispatchEvent(new PointerEvent('pointerover', {bubbles: true})))"
        )
        assert chromium.requests() == [path.as_uri()]
        assert chromium.complaints() == []


def test_a_broken_page_would_be_noticed(chromium: Chromium, tmp_path: Path) -> None:
    """What the test above looks for is seen if it is there."""
    path = tmp_path / "broken.html"
    path.write_text(
        "<link rel=stylesheet href=http://a.invalid/x.css><script>console.log(1); none()</script>"
    )
    chromium.open(path)
    assert "http://a.invalid/x.css" in chromium.requests()
    assert len(chromium.complaints()) >= 3


def test_a_click_on_a_column_makes_it_the_anchor_and_back(
    chromium: Chromium, report: Path, race: Race
) -> None:
    """Every cell becomes the column's time over its own, the live region says so, and nothing is lost."""
    chromium.open(report)
    before = chromium.run(CELLS)
    at = column(chromium, 0, "rbloom")
    chromium.click(button(at))
    for name in ("rbloom", "BloomFilter", "CuckooFilter", "pybloom-live"):
        shown = chromium.run(f"{cell(column(chromium, 0, name))}.firstChild.data")
        assert float(shown) == pytest.approx(
            (row(race, name).ratio or 0) / (row(race, "rbloom").ratio or 1), rel=0.01
        )
    assert chromium.run(f"{cell(at)}.className") == "a"
    assert chromium.run(f"{button(at)}.getAttribute('aria-pressed')") == "true"
    assert chromium.run(OUT.format(table=0)).startswith("Ratios are relative to rbloom")
    assert chromium.run("document.querySelector('output').getAttribute('aria-live')") == "polite"
    chromium.click(button(0))
    assert chromium.run(OUT.format(table=0)) == "Ratios are relative to each task's anchor."
    assert chromium.run(CELLS) == before


def test_every_family_has_a_matrix_of_its_own(chromium: Chromium, report: Path) -> None:
    """Re-anchoring one leaves the others as they were."""
    chromium.open(report)
    filters = chromium.run("document.querySelectorAll('table.m')[0].textContent")
    sketches = chromium.run("document.querySelectorAll('table.m')[1].textContent")
    chromium.click(button(column(chromium, 1, "datasketches"), table=1))
    assert chromium.run("document.querySelectorAll('table.m')[0].textContent") == filters
    assert chromium.run("document.querySelectorAll('table.m')[1].textContent") != sketches
    assert "datasketches" in chromium.run(OUT.format(table=1))


def test_mouse_touch_and_keyboard_read_the_same_of_a_cell(
    chromium: Chromium, report: Path, race: Race
) -> None:
    """The interval, the verdict, the least visible difference, both medians, slots and rounds."""
    chromium.open(report)
    fuse, anchor = row(race, "BinaryFuseFilter"), row(race, ANCHOR)
    target = cell(column(chromium, 0, "BinaryFuseFilter"))
    said = []
    for reach in (chromium.hover, chromium.tap, lambda element: chromium.run(f"{element}.focus()")):
        chromium.hover("document.querySelector('h1')")
        chromium.run("document.activeElement.blur(); document.querySelector('output').textContent = ''")
        reach(target)
        said.append(chromium.run(OUT.format(table=0)))
    assert said[0] == said[1] == said[2]
    assert said[0].startswith("BinaryFuseFilter, Lookup: ids, 10k, 0 % hits: ")
    lo, hi = fuse.lo or 0, fuse.hi or 0
    for part in (
        f"{fuse.ratio:.3f}\N{MULTIPLICATION SIGN} as fast as {anchor.contestant} [{lo:.3f}, {hi:.3f}]",
        f"slower, visible {100 * (fuse.mde or 0):.1f} %",
        f"median {fuse.ns_item:.2f} ns/item against {anchor.ns_item:.3f} ns/item of {anchor.contestant}",
        "5 slots, 150 rounds",
        "slot by slot " + ", ".join(f"{ns:.2f}" for ns in fuse.slot_ns),
    ):
        assert part in said[0]


def test_a_cell_names_the_anchor_of_the_moment(chromium: Chromium, report: Path, race: Race) -> None:
    """After re-anchoring, the other median is the new anchor's, and the ratio to it is told too."""
    chromium.open(report)
    chromium.click(button(column(chromium, 0, "rbloom")))
    chromium.hover(cell(column(chromium, 0, "BloomFilter")))
    said = chromium.run(OUT.format(table=0))
    rbloom, bloom = row(race, "rbloom"), row(race, "BloomFilter")
    assert f"{(bloom.ratio or 0) / (rbloom.ratio or 1):.1f}\N{MULTIPLICATION SIGN} as fast as rbloom" in said
    assert f"against {rbloom.ns_item:.1f} ns/item of rbloom" in said


def test_what_did_not_run_says_why(chromium: Chromium, report: Path) -> None:
    """A narrow cell shortens its note; the line below does not."""
    chromium.open(report)
    chromium.hover("document.querySelector('table.m td.x')")
    assert chromium.run(OUT.format(table=0)).endswith(": TIMEOUT: no answer in 60 s.")


def test_the_keyboard_reaches_everything(chromium: Chromium, report: Path) -> None:
    """First past the header; Tab and Enter work the columns, arrows the cells, one of which is a tab stop."""
    chromium.open(report)
    chromium.press("Tab")
    assert chromium.run("document.activeElement.getAttribute('href')") == "#main"
    assert chromium.run("document.activeElement.getBoundingClientRect().x") >= 0
    at = column(chromium, 0, "rbloom")
    chromium.run(f"{button(at - 1)}.focus()")
    chromium.press("Tab")
    assert chromium.run("document.activeElement.textContent") == "rbloom"
    assert chromium.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    chromium.press("Enter")
    assert chromium.run(f"{cell(at)}.firstChild.data") == "1.00"
    chromium.run(f"{cell(1)}.focus()")
    for key, there in (("ArrowRight", cell(2)), ("ArrowDown", cell(2, row=2)), ("ArrowLeft", cell(1, row=2))):
        chromium.press(key)
        assert chromium.run(f"document.activeElement === {there}"), key
        assert chromium.run(f"getComputedStyle({there}).outlineStyle") == "solid"
    assert (
        chromium.run("document.querySelectorAll('table.m')[0].querySelectorAll('[tabindex=\"0\"]').length")
        == 1
    )


@pytest.mark.parametrize("name", ["index.html", "components/index.html", "components/16-message-queue.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_fits_a_phone(chromium: Chromium, report: Path, name: str, scheme: str) -> None:
    """What is wider than 390 pixels scrolls in a box of its own."""
    chromium.open(report.parent / name, 390, scheme)
    assert chromium.run("document.documentElement.scrollWidth") == 390
    assert chromium.run("innerWidth") == 390


def test_the_dark_is_dark(chromium: Chromium, report: Path) -> None:
    """The page follows the system's colour scheme."""
    shades = {}
    for scheme in ("light", "dark"):
        chromium.open(report, scheme=scheme)
        colour = chromium.run("getComputedStyle(document.documentElement).backgroundColor")
        shades[scheme] = sum(map(int, colour.strip("rgb()").split(",")))
    assert shades["dark"] < 150
    assert shades["light"] > 600
