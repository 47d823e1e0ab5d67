"""The harness on trial: what the self-check races, and what a turn's time is."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from time import perf_counter_ns

import pytest
from helpers import SMALL

from bench import selfcheck
from bench.arm import Arm
from bench.race import Protocol, Race
from bench.schema import Contestant, Slice


def busy(nanoseconds: int) -> None:
    ends = perf_counter_ns() + nanoseconds
    while perf_counter_ns() < ends:
        pass


def test_a_burst_in_a_minority_of_its_pieces_does_not_move_the_time_of_a_turn() -> None:
    bursts = iter([0, 0, 5_000_000, 0, 5_000_000, 0, 0])
    arm = Arm(Contestant("bursts", "ours", lambda _, __: busy(100_000 + next(bursts)), lambda _: []))
    arm.states, arm.pool = [None], [Slice(1000, None)]
    span = arm.span(calls=1, pieces=7)
    assert (span.items, span.calls, span.pieces) == (7000, 7, 7)
    assert span.wall_ns > 10_000_000
    assert 100 <= span.ns_item < 1000


@pytest.mark.parametrize("task", selfcheck.TASKS, ids=lambda task: task.id)
def test_everyone_in_the_self_check_gives_the_right_sum(task, monkeypatch) -> None:
    monkeypatch.setattr(selfcheck, "POOL", 2**8 if SMALL else 2**16)
    monkeypatch.setattr(selfcheck, "SWEEP", 2**16)
    race = Race(
        task, selfcheck.contestants(task, seed=3), Protocol(1, 1, seconds=0.1, cache_bytes=1 << 16), 3
    )
    race.prepare()
    assert {arm.status for arm in race.arms} == {"ok"}
    assert any(arm.name == task.anchor for arm in race.arms)


def test_a_contestant_with_more_work_does_so_many_per_cent_more_of_it_and_none_twice() -> None:
    task = selfcheck.TASKS[0]
    found = {c.name: c.slices(1000) for c in selfcheck.contestants(task, seed=1)}
    plain, more = found["kernel"], found["3 % more work 1"]
    assert Counter(part.items for part in plain) == Counter(part.items for part in more) == {1000: len(plain)}
    assert {len(part.payload) for part in plain} == {1000}
    assert {len(part.payload) for part in more} == {1030}
    starts = [part.payload.__array_interface__["data"][0] for part in more]
    assert {b - a for a, b in pairwise(starts)} == {1030 * 8}


def test_a_wrong_sum_is_found() -> None:
    kernel = next(c for c in selfcheck.contestants(selfcheck.TASKS[0], seed=1) if c.name == "kernel")
    part = kernel.slices(100)[0]
    answer = kernel.call(kernel.setup(0), part.payload)
    assert kernel.check is not None
    assert kernel.check(answer, part).ok
    assert not kernel.check(answer + answer.__class__(1), part).ok
