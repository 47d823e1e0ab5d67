"""A contestant in this process: its instances, its slices of the pool, and how a span of calls is timed."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from time import perf_counter_ns, thread_time_ns
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.env import preemptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.schema import Contestant, Quality, Slice, Status

LONGEST_SPAN_NS = 50_000_000
WARM_PASSES = 6
WARM_AGREEMENT = 0.05


class Span(NamedTuple):
    """Some calls in a row: the part of a sample that the clock knows.

    ``ns_item`` is the median of its pieces. What disturbs a shared machine comes in bursts that are shorter
    than a span, and a mean over a span carries every one of them.
    """

    items: int
    calls: int
    pieces: int
    wall_ns: int
    cpu_ns: int
    t0_ns: int
    nivcsw: int
    ns_item: float


@dataclass
class Arm:
    """One contestant, how it is timed, and how it fared."""

    contestant: Contestant
    status: Status = "ok"
    note: str = ""
    states: list[Any] = field(default_factory=list)
    pool: Sequence[Slice] = ()
    cursor: int = 0
    turns: int = 0
    calls: int = 1  # of a piece
    pieces: int = 1  # of a span
    span_ns: float = 0.0  # what a span is meant to take
    every: int = 1  # it has its turn in each round, or only in every third, ...
    item_ns: float = 0.0
    setup_ms: float | None = None
    first_call_ms: float | None = None
    state_bytes: int | None = None
    error: float | None = None
    quality: list[Quality] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The contestant's name."""
        return self.contestant.name

    @property
    def instance(self) -> int:
        """Which of the instances has its turn."""
        return self.turns % len(self.states)

    @property
    def call_ns(self) -> float:
        """What one call takes, as far as known."""
        return self.item_ns * self.pool[0].items

    def fail(self, status: Status, note: str) -> None:
        """Take the contestant out of the race, saying why, and free what it holds."""
        self.status, self.note, self.states = status, note, []

    def cut(self, limit: int) -> None:
        """Cut the query pool anew, into slices of at most ``limit`` items where the operation allows it."""
        self.pool, self.cursor = self.contestant.slices(limit), 0

    def span(self, calls: int, pieces: int = 1) -> Span:
        """Time ``pieces`` of ``calls`` calls each, on the next slices of the pool.

        The last result is dropped after the clock has stopped.
        """
        parts = [self.pool[(self.cursor + i) % len(self.pool)] for i in range(pieces * calls)]
        self.cursor = (self.cursor + len(parts)) % len(self.pool)
        runs = [parts[at : at + calls] for at in range(0, len(parts), calls)]
        payloads = [[part.payload for part in run] for run in runs]
        state, call, result = self.states[self.instance], self.contestant.call, None
        taken: list[int] = []
        preempted, cpu, first = preemptions(), thread_time_ns(), perf_counter_ns()
        for run in payloads:
            start = perf_counter_ns()
            for payload in run:
                result = call(state, payload)
            taken.append(perf_counter_ns() - start)
        wall = perf_counter_ns() - first
        cpu, preempted = thread_time_ns() - cpu, preemptions() - preempted
        del result
        items = [sum(part.items for part in run) for run in runs]
        ns_item = median(ns / max(n, 1) for ns, n in zip(taken, items, strict=True))
        return Span(sum(items), len(parts), pieces, wall, cpu, first, preempted, ns_item)

    def fastest(self, calls: int, patience_ns: float) -> int:
        """Return the least of three spans, or fewer if patience ends: one hiccup must not set the scale."""
        best = spent = self.span(calls).wall_ns
        for _ in range(2):
            if spent > 3 * patience_ns:
                break
            taken = self.span(calls).wall_ns
            best, spent = min(best, taken), spent + taken
        return best

    def warm(self) -> int:
        """Run short untimed passes until two agree or enough time has gone; return how many it took.

        A call that by itself takes longer than the longest span warms itself.
        """
        before, spent, passes = 0.0, 0, 0
        while passes < WARM_PASSES and spent < 2 * self.span_ns and self.call_ns <= LONGEST_SPAN_NS:
            span = self.span(max(1, self.calls * self.pieces // 3))
            passes, spent = passes + 1, spent + span.wall_ns
            if abs(span.ns_item - before) <= WARM_AGREEMENT * span.ns_item:
                break
            before = span.ns_item
        return passes
