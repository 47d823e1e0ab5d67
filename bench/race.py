"""One race: all contestants of one task in one process, turn by turn.

Everyone is gated first: an answer that is not the oracle's is reported and never timed. Then come
rounds; in a round each contestant has one turn, in random order. A turn warms the caches the others
have emptied, with other slices of the query pool, and only then times a span of calls. This file
knows nothing of pytest, files, or verdicts: it turns callables into samples.
"""

from __future__ import annotations

import gc
import random
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import stats
from bench.arm import LONGEST_SPAN_NS, Arm, Span
from bench.plan import first_line
from bench.schema import UNJUDGED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from bench.schema import Contestant, Status, Task

PROBE = 64  # items of the first calls, which must not take long whoever makes them
PROBE_GROWTH = 32
BATCH = 262_144  # items of a call, where the operation can be cut
POOL_PARTS = 4  # a pool is cut into at least this many slices, so that there are others to warm with
LONG_CALL_NS = 1_000_000  # slices are nested so that no call takes longer, where items are what takes time
PATIENCE_NS = 10 * LONG_CALL_NS  # to find out whether a call was long or interrupted
SPAN_NS = 200_000
PIECES = 7  # of a span, timed one by one; fewer where calls are so long that so many would take ...
PIECES_NS = 5_000_000  # ... longer than this, or than there is time for
MOST_CALLS = 1 << 20  # in one piece, should the clock stand still
REFILLS = 10  # a span lasts this many times as long as the state takes to come back into the cache
REFILL_BYTES_PER_NS = 10
TURN_SPANS = 3  # a turn's warming takes up to two spans
SLOW, SLOW_EVERY = 50, 3  # that many times slower than the anchor, or too dear: a turn in every third round
GATE_NS = 30_000_000
SETUP_SHARE = 0.5  # in relation to the seconds; a contestant that uses up its part has fewer instances
INSTANCES = 5
DEAR_NS = 400_000_000  # a setup above this is not made again
COMPILED = {"ours", "control", "limit"}  # whose first setup and first call may be a compiler's work ...
COMPILE_NS = 1_600_000_000  # ... which rarely takes longer
HOPELESS_NS = 5e9
STEADY, LOOK_EVERY = 0.01, 5  # an interval over rounds this narrow is enough; how often to look, in rounds
COLD_ROUNDS = 2


@dataclass(frozen=True)
class Protocol:
    """How long to race: rounds, fewer (but not below ``least_rounds``) when all is steady or time is up.

    The seconds are those of the rounds: what setups and the gate take is nobody's choice.
    """

    rounds: int = 15
    least_rounds: int = 5
    seconds: float = 4.0
    cache_bytes: int = 32 << 20


class Race:
    """One task's race: ``prepare()``, then ``run()``; the findings are in ``arms`` and ``samples``."""

    def __init__(
        self,
        task: Task,
        contestants: Sequence[Contestant],
        protocol: Protocol,
        seed: int,
        *,
        mark: Callable[[str, str], None] = lambda _contestant, _phase: None,
        barred: Mapping[str, tuple[Status, str]] | None = None,
    ) -> None:
        self.task, self.protocol, self.seed, self.mark = task, protocol, seed, mark
        self.rng = random.Random(seed)
        self.arms = [Arm(contestant) for contestant in contestants]
        self.samples: list[dict[str, Any]] = []
        self.limit = 0  # items a call is handed, known once the pool has been seen
        self.ballast: list[bytearray] = []
        self.ends = float("inf")
        for arm in self.arms:
            if arm.name in (barred or {}):
                arm.fail(*(barred or {})[arm.name])
            elif arm.contestant.missing:
                arm.fail("NOT INSTALLED", arm.contestant.missing)

    @property
    def running(self) -> list[Arm]:
        """Those still in the race."""
        return [arm for arm in self.arms if arm.status == "ok"]

    def prepare(self) -> None:
        """Set up, gate and calibrate everyone; compilation and first calls happen here."""
        arms = self.rng.sample(self.running, len(self.running))
        self._each(arms, "setup", self._set_up)
        arms.sort(key=lambda arm: arm.name != self.task.anchor)  # the anchor's speed sets the scale
        self._each(arms, "gate", self._probe)
        self._each(arms, "gate", self._gate)
        self.ends = perf_counter_ns() + self.protocol.seconds * 1e9
        spare_ns = self.protocol.seconds * 1e9 / max(len(self.running), 1)
        self._each(arms, "calibrate", lambda arm: self._calibrate(arm, spare_ns))

    def run(self) -> None:
        """Time everyone in rounds, warm and then cold."""
        with _quiet():
            for round_ in range(self.protocol.rounds):
                if round_ >= self.protocol.least_rounds and (
                    perf_counter_ns() > self.ends or (round_ % LOOK_EVERY == 0 and self._steady())
                ):
                    break
                self._round(round_, [arm for arm in self.running if round_ % arm.every == 0])
            self._cold_rounds()

    def measure_quality(self) -> None:
        """Ask every contestant that can tell for its error rate, size and the like."""
        self._each(self.running, "quality", _measure_quality)

    def _each(self, arms: Sequence[Arm], phase: str, action: Callable[[Arm], None]) -> None:
        for arm in arms:
            if arm.status == "ok":
                with self._step(arm, phase):
                    action(arm)

    @contextmanager
    def _step(self, arm: Arm, phase: str) -> Iterator[None]:
        """Leave the contestant's name behind in case it takes the process down; catch what it raises."""
        self.mark(arm.name, phase)
        try:
            yield
        except (Exception, SystemExit) as error:
            arm.fail("ERROR", f"{type(error).__name__}: {first_line(error)} (in its {phase})")

    def _set_up(self, arm: Arm) -> None:
        estimate = arm.contestant.estimate_setup
        if estimate is not None and (seconds := estimate()) * 1e9 > HOPELESS_NS:
            arm.fail("NOT RUN", f"would take {seconds:.0f} s at this n")
            return
        share_ns = self.protocol.seconds * 1e9 * SETUP_SHARE / len(self.arms)
        taken: list[int] = []
        while len(taken) < INSTANCES:
            self.mark(arm.name, "setup")
            self.ballast.append(bytearray(self.rng.randrange(1 << 20)))  # so that no two lie alike
            start = perf_counter_ns()
            arm.states.append(arm.contestant.setup((self.seed + len(taken)) % 2**32))
            taken.append(perf_counter_ns() - start)
            compiling = len(taken) == 1 and arm.contestant.role in COMPILED and taken[0] < COMPILE_NS
            if not compiling and (taken[-1] > DEAR_NS or len(taken) * min(taken) > share_ns):
                break
        arm.setup_ms = min(taken) / 1e6
        if arm.contestant.nbytes is not None:
            arm.state_bytes = int(arm.contestant.nbytes(arm.states[0]))

    def _probe(self, arm: Arm) -> None:
        """Find out what an item costs, on growing slices, and cut the pool accordingly.

        It grows on past a long call as long as the call, and not its items, is what takes the time.
        """
        limit, before = PROBE, float("inf")
        arm.cut(limit)
        first_ns = arm.span(1).wall_ns
        arm.first_call_ms = first_ns / 1e6
        self.limit = self.limit or min(BATCH, max(1, sum(part.items for part in arm.pool) // POOL_PARTS))
        known_ns = first_ns if first_ns > DEAR_NS and arm.contestant.role not in COMPILED else 0
        while True:
            call_ns = known_ns or arm.fastest(1, patience_ns=PATIENCE_NS)
            arm.item_ns = call_ns / max(arm.pool[0].items, 1)
            long = call_ns > LONG_CALL_NS and arm.item_ns > before / 2
            if long or limit >= self.limit or arm.pool[0].items > limit or call_ns > HOPELESS_NS:
                break
            limit, before, known_ns = min(limit * PROBE_GROWTH, self.limit), arm.item_ns, 0
            arm.cut(limit)
        if call_ns > HOPELESS_NS:
            arm.fail("NOT RUN", f"one call takes {call_ns / 1e9:.0f} s at this n")
        elif arm.item_ns > SLOW * self._reference_ns():
            arm.every = SLOW_EVERY
        fitting = 1 << int(LONG_CALL_NS / arm.item_ns).bit_length() >> 1 if long else self.limit
        arm.cut(min(max(fitting, 1), self.limit))

    def _reference_ns(self) -> float:
        """Return what an item costs the anchor, or the fastest of ours where the anchor is out."""
        known = [arm for arm in self.running if arm.item_ns and arm.contestant.role == "ours"]
        anchor = [arm.item_ns for arm in known if arm.name == self.task.anchor]
        return min(anchor or [arm.item_ns for arm in known], default=float("inf"))

    def _gate(self, arm: Arm) -> None:
        """Check the first instance's answers to all slices, and the others' to one.

        Slices there is no time to check are dropped from the pool, so they are not timed either.
        """
        check = arm.contestant.check
        if check is None:
            return
        errors: list[tuple[float, int]] = []
        deadline = perf_counter_ns() + GATE_NS
        for instance, state in enumerate(arm.states):
            for count, part in enumerate(arm.pool):
                if count and (instance or perf_counter_ns() > deadline):
                    arm.pool = arm.pool if instance else arm.pool[:count]
                    break
                finding = check(arm.contestant.call(state, part.payload), part)
                if not finding.ok:
                    arm.fail("WRONG", finding.detail)
                    return
                if finding.error is not None and instance == 0:
                    errors.append((finding.error, part.items))
        if errors:
            arm.error = float(np.average([e for e, _ in errors], weights=[max(n, 1) for _, n in errors]))

    def _calibrate(self, arm: Arm, spare_ns: float) -> None:
        """Choose how many calls make a piece, how many pieces a span, and whether its turns are rare."""
        refill = min(arm.state_bytes or 0, self.protocol.cache_bytes) / REFILL_BYTES_PER_NS
        affordable = spare_ns / self.protocol.least_rounds / TURN_SPANS
        arm.span_ns = max(SPAN_NS, min(REFILLS * refill, LONGEST_SPAN_NS, affordable))
        piece_ns, taken = arm.span_ns / PIECES, arm.call_ns
        while taken < piece_ns / 8 and arm.calls < MOST_CALLS:
            arm.calls = max(arm.calls + 1, int(arm.calls * min(10.0, piece_ns / max(taken, 1.0))))
            taken = arm.fastest(arm.calls, piece_ns)
        arm.calls, calls = min(MOST_CALLS, max(1, round(arm.calls * piece_ns / max(taken, 1.0)))), arm.calls
        taken *= arm.calls / calls
        room = max(arm.span_ns, min(PIECES_NS, affordable))
        arm.pieces = max(1, min(PIECES, int(room / max(taken, 1.0))))
        if arm.name != self.task.anchor and arm.pieces * taken > 2 * affordable:
            arm.every = SLOW_EVERY

    def _round(self, round_: int, arms: list[Arm]) -> None:
        self.rng.shuffle(arms)
        for order, arm in enumerate(arms):
            with self._step(arm, "turn"):
                passes = arm.warm()
                span = arm.span(arm.calls, arm.pieces)
                self._record(arm, span, round=round_, order=order, cold=False, warm_passes=passes)

    def _steady(self) -> bool:
        """Whether more rounds would add nothing that other processes do not blur: decided on width alone."""
        times: dict[str, stats.Rounds] = {}
        for sample in self.samples:
            times.setdefault(sample["contestant"], {})[sample["round"]] = sample["ns_item"]
        anchor = times.pop(self.task.anchor, {})
        judged = [arm for arm in self.running if arm.every == 1 and arm.contestant.role not in UNJUDGED]
        others = [times[arm.name] for arm in judged if arm.name in times]
        return all(stats.compare({0: anchor}, {0: other}).width < STEADY for other in others)

    def _cold_rounds(self) -> None:
        """Time single calls right after everything has been pushed out of the caches."""
        near = SLOW * self._reference_ns()
        junk = _junk(2 * self.protocol.cache_bytes)
        for round_ in range(COLD_ROUNDS):
            arms = [arm for arm in self.running if arm.item_ns <= near and arm.call_ns <= LONGEST_SPAN_NS]
            self.rng.shuffle(arms)
            for order, arm in enumerate(arms):
                with self._step(arm, "turn"):
                    junk.sum()
                    self._record(arm, arm.span(1), round=round_, order=order, cold=True, warm_passes=0)

    def _record(self, arm: Arm, span: Span, **where: Any) -> None:
        who = {"contestant": arm.name, "instance": arm.instance}
        self.samples.append(who | where | span._asdict())
        arm.turns += 1


def _measure_quality(arm: Arm) -> None:
    if arm.contestant.quality is not None:
        arm.quality = arm.contestant.quality(arm.states[0])


@cache
def _junk(nbytes: int) -> NDArray[np.int64]:
    """Return memory to read through; of ones, since untouched zeros would all be one page."""
    return np.ones(nbytes // 8, np.int64)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the garbage collector, and all that it would have to walk through, out of the rounds."""
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
