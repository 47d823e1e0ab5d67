"""What is raced for the frequencies: everyone counts right, and what is wrong does not pass."""

from __future__ import annotations

import math
import re
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import scaled

from algos.catalog import variants
from bench.peers import frequency as peers
from bench.peers.frequency import DEPTH, CounterTop, OurHeavy, OurSketch, PythonCounter
from bench.schema import Slice, Task
from bench.tasks import _frequency, _frequency_quality
from bench.tasks.frequency import TASKS, contestants
from bench.workloads import streams

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = {variant.name for variant in variants("frequency")}
SLOTS = {variant.name for variant in _frequency.chosen("add_slots")}
HEAVY = {variant.name for variant in _frequency.chosen("top")}
ROWS = {variant.name for variant in _frequency.sketches()}
RACES = [
    replace(task, n=min(task.n, scaled(16_384, 2048) if task.op != "top" else scaled(20_000, 2000)))
    for task in TASKS
    if task.op != "first_call"
]
PART = Slice(1, None)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams of some thousand keys."""
    monkeypatch.setattr(_frequency, "STREAM", scaled(20_000, 2000))
    monkeypatch.setattr(_frequency, "SCALARS", scaled(2000, 200))
    monkeypatch.setattr(_frequency, "SAMPLE", scaled(2000, 200))
    monkeypatch.setattr(streams, "UNIVERSE", 20_000)
    streams.zipf.cache_clear()


def sketch(name: str) -> OurSketch:
    (found,) = [OurSketch(variant, "int") for variant in _frequency.sketches() if variant.name == name]
    return found


def test_task_ids_are_unique_and_fit_into_file_names() -> None:
    ids = [task.id for task in TASKS]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9_.=-]{1,120}", name) for name in ids)


def test_tiers_keep_to_the_budget() -> None:
    tiers = Counter(task.tier for task in TASKS)
    assert 1 <= tiers["quick"] <= 8
    assert tiers["quick"] + tiers["default"] <= 34


def test_every_variant_races() -> None:
    """One that can do nothing that is raced would be left out unseen."""
    assert ROWS | HEAVY | SLOTS == NAMES
    assert not ROWS & HEAVY
    assert not (ROWS | HEAVY) & SLOTS


@pytest.mark.parametrize("task", RACES, ids=lambda task: task.id)
def test_everyone_counts_right(task: Task) -> None:
    """Each contestant that is installed passes the gate on the very data it would be timed on."""
    arms = contestants(task, 3)
    assert len({arm.name for arm in arms}) == len(arms)
    slots = task.op.startswith("touch")
    assert {arm.role for arm in arms} >= {"ours", "control", "null", "exact" if slots else "peer"}
    able = SLOTS if slots else HEAVY if task.op == "top" else ROWS
    names = {arm.name for arm in arms if arm.role == "ours"}
    assert names == able if task.op != "merge" else names <= able
    for arm in arms:
        if not arm.missing:
            state = arm.setup(3)
            for part in arm.slices(64)[:2]:
                answer = arm.call(state, part.payload)
                assert arm.check is None or arm.check(answer, part).ok, arm.name
            assert (arm.check is None) == (arm.role in {"limit", "null"})


def installed(classes: Any, form: Any) -> Iterator[Any]:
    """Make those packages' entries that are there; some have to be compiled."""
    for cls in classes:
        with suppress(ImportError):
            yield cls(form)


def test_everyone_has_the_same_memory() -> None:
    """As many bytes as there would be counters of 32 bits, but for what a package adds."""
    for entry in [*(OurSketch(v, "int") for v in _frequency.sketches()), *installed(peers.SKETCHES, "int")]:
        size = entry.nbytes(entry.make(2**14))
        assert 0.999 <= size / 2**16 <= 1.001, entry.name


def test_wrong_counts_do_not_pass() -> None:
    """Too low, too high for too many, too few answers: each is caught and said."""
    count_min, truth = sketch("CountMinSketch"), np.full(1000, 10)
    law = (5.0, 0.01)
    assert _frequency.within(count_min, truth, truth, law).error == 0
    assert "999 estimates for 1000" in _frequency.within(count_min, truth[1:], truth, law).detail
    low = truth - (np.arange(1000) == 7)
    assert "key 7 came 10 times: said 9" in _frequency.within(count_min, low, truth, law).detail
    high = truth + 6 * (np.arange(1000) < 40)
    assert (
        "40 of 1000 estimates are wrong by more than 5"
        in _frequency.within(count_min, high, truth, law).detail
    )
    assert _frequency.within(peers.DataSketchesCountMin("int"), high, truth, law).ok
    assert not _frequency.within(PythonCounter("int"), high, truth, (0.0, 0.0)).ok
    assert _frequency.within(PythonCounter("int"), truth, truth, (0.0, 0.0)).error is None


def test_few_keys_may_err_by_chance() -> None:
    """One of three is no proof against one in a hundred, and forty of a thousand are."""
    found = [_frequency.certainly_more(*given) for given in ((1, 3, 0.01), (40, 1000, 0.01), (3, 3, 1e-6))]
    assert found == [False, True, True]
    assert [_frequency.certainly_more(hits, 9, 0.0) for hits in (0, 1)] == [False, True]


class Says(CounterTop):
    """Names what it is told to."""

    def __init__(self, share: float | None) -> None:
        self.share = share


def test_wrong_names_do_not_pass() -> None:
    """A frequent key that is missing, and a count that is too far off."""
    index = np.repeat(np.arange(200), np.arange(1001, 801, -1))
    stream = streams.Stream(np.arange(200) + 5000, np.random.default_rng(0).permutation(index))
    keys, counts = np.arange(100) + 5000, stream.counts[:100]
    assert _frequency.named_right(Says(0.0), stream, (keys, counts), PART).ok
    found = _frequency.named_right(Says(0.0), stream, (keys[1:], counts[1:]), PART)
    assert "key 0 came 1001 times and is not named" in found.detail
    found = _frequency.named_right(Says(0.0), stream, (keys, counts + (keys == 5003)), PART)
    assert "key 3 came 998 times: said 999" in found.detail
    assert _frequency.named_right(Says(1e-4), stream, (keys, counts + 9), PART).error == 0
    assert _frequency.named_right(Says(None), stream, (keys[:60], None), PART).error == pytest.approx(0.4)
    assert not _frequency.named_right(Says(None), stream, (keys[:40], None), PART).ok
    named, recall, precision = _frequency_quality.judged(stream, keys + 50, None, 100)
    assert (len(named), recall, precision) == (50, 0.5, 0.5)


def test_names_of_every_form_are_read() -> None:
    """Arrays, Arrow and bytes; a tie with the last one is as right as it is."""
    texts = pa.array(["a", "b", "c", "d"])
    stream = streams.Stream(texts, np.array([0, 0, 0, 1, 1, 2, 2, 3]))
    for keys in (["a", "c"], pa.array(["a", "c"]), np.array([b"a", b"c"]), np.array(["a", "c"])):
        assert _frequency_quality.judged(stream, keys, [3, 2], 2) == ({0: 3, 2: 2}, 1.0, 1.0)


def test_slots_that_count_wrong_do_not_pass() -> None:
    """A counter that hardly rises, and an exact one that misses a hit."""

    def lazy(_entry: Any, state: Any, at: Any) -> None:
        state.add_slots(at[:100])

    entry = next(entry for entry in _frequency._slots() if entry.name == "MorrisCounters")
    part = Slice(4, np.zeros(4, np.int64))
    assert "of 2000 hits" in _frequency.touched_right(entry, lazy, None, part).detail or scaled(0, 1)
    exact = _frequency.EXACT_SLOTS[0]
    assert not _frequency.touched_right(exact, lambda e, s, at: e.add(s, at[1:]), None, part).ok
    assert _frequency.touched_right(exact, lambda e, s, at: e.add(s, at), None, part).ok


def test_quality_of_sketches() -> None:
    """The bound holds, less memory errs more, and a sketch that errs too often does not keep its law."""
    stream = streams.zipf("ids", scaled(20_000, 2000), 3)
    errors = {}
    for size in (1024, 16_384):
        task = Task("frequency", "add", "ids", size, {"spread": "zipf"})
        for name in sorted(ROWS):
            found = {f.metric: f for f in _frequency_quality.of_sketch(sketch(name), task, stream, None)}
            assert set(found) == {"bytes", "relative_error", "unbounded_rate"}
            assert found["unbounded_rate"].ok, name
            errors[name, size] = found["relative_error"].value
        assert errors["ConservativeCountMinSketch", size] <= errors["CountMinSketch", size]
    assert all(errors[name, 1024] > errors[name, 16_384] for name in ROWS)

    class Low(OurSketch):
        def bound(self, state: Any, counters: int, total: int) -> tuple[float, float]:
            del state, counters, total
            return 0.5, 0.01

    (variant,) = [variant for variant in variants("frequency") if variant.name == "CountMinSketch"]
    wrong = Low(variant, "int")
    wrong.name = "low"
    task = Task("frequency", "add", "ids", 1024, {"spread": "zipf"})
    assert not _frequency_quality.of_sketch(wrong, task, stream, None)[-1].ok
    found = _frequency_quality.of_sketch(PythonCounter("int"), task, stream, None)
    assert [figure.metric for figure in found] == ["bytes"]


def test_quality_of_names_and_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = streams.zipf("ids", scaled(20_000, 2000), 3)
    for variant in _frequency.chosen("top"):
        found = {
            f.metric: f.value for f in _frequency_quality.of_heavy(OurHeavy(variant, "int"), stream, None)
        }
        assert found.keys() == {"bytes", "recall", "precision", "named_error"}
        assert found["recall"] > 0.9, variant.name
    assert _frequency_quality.of_heavy(CounterTop("int"), stream, None) == []
    monkeypatch.setattr(_frequency_quality, "SLOTS", scaled(1000, 100))
    monkeypatch.setattr(_frequency_quality, "HITS", scaled(1000, 100))
    for entry in _frequency._slots():
        figures = _frequency_quality.of_slots(entry, SimpleNamespace(nbytes=7))
        assert figures[0].value == 7
        assert figures[1].ok, entry.name


@pytest.mark.statistical
def test_rows_of_cmsketch_err_together() -> None:
    """docs/choose-counters.md says so: its four rows err as one does; DataSketches' and bounter's do not."""
    keys, width = [f"user:{i}" for i in range(100_000)], 8192
    bound = math.e * len(keys) / width
    off = {}
    pytest.importorskip("cmsketch", reason="cmsketch has no wheels for this Python")
    for entry in installed((peers.Cmsketch, peers.DataSketchesCountMin, peers.Bounter), "text"):
        state = entry.make(width * DEPTH * entry.counter_bytes // 4)
        entry.add(state, keys)
        off[entry.name] = np.asarray(entry.estimate(state, keys[:20_000])) - 1
    above = {name: float((errors > bound).mean()) for name, errors in off.items()}
    assert above["cmsketch"] > math.exp(-DEPTH) > 100 * max(v for n, v in above.items() if n != "cmsketch")
    assert float(off["cmsketch"].mean()) > len(keys) / width  # more than a single row of any hash
    from cmsketch import CountMinSketchInt

    ints = CountMinSketchInt(width, DEPTH)
    numbers = np.random.default_rng(0).integers(0, 2**31, len(keys)).tolist()
    for number in numbers:
        ints.insert(number)
    assert np.mean([ints.count(number) for number in numbers[:2000]]) > 3 * len(keys) / width
    with pytest.raises(TypeError):
        ints.insert(2**40)


def test_the_first_call_times_itself(capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = [task for task in TASKS if task.op == "first_call"]
    arms = contestants(task, 3)
    assert {arm.name for arm in arms} == NAMES
    for arm in arms:
        exec(arm.slices(1)[0].payload, {})
        assert int(capsys.readouterr().out) > 0
