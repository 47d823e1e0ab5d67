"""The race's vocabulary: tasks, contestants, and the columns of every result file.

Everything the harness writes and the report reads is named here and nowhere else.
Time is nanoseconds, size is bytes; a ratio is ``anchor time / contestant time``,
so above 1 is faster, everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SCHEMA_VERSION = 1

Role = Literal["ours", "peer", "exact", "control", "null", "limit"]
"""``exact`` is a baseline that never errs (set, sorted search): shown, never counted as a peer."""

UNJUDGED = {"null", "limit"}
"""Roles that get no verdict."""

Status = Literal["ok", "WRONG", "CRASHED", "TIMEOUT", "NOT INSTALLED", "NOT RUN", "ERROR"]
Verdict = Literal["faster", "slower", "same", "undecided", ""]
Tier = Literal["quick", "default", "thorough"]


@dataclass(frozen=True)
class Task:
    """One race: what is done, to which data, at which size. Declared as data in ``bench/tasks``."""

    family: str
    op: str
    workload: str
    n: int
    params: dict[str, Any] = field(default_factory=dict)
    tier: Tier = "default"
    anchor: str = ""
    title: str = ""

    @property
    def id(self) -> str:
        """A readable, stable, file-name-safe identity: ``filters.contains.ids.n=200000.hits=50``."""
        tail = [f"{k}={v}" for k, v in sorted(self.params.items())]
        return ".".join([self.family, self.op, self.workload, f"n={self.n}", *tail])


@dataclass(frozen=True)
class Slice:
    """Items handed to one call: ``items`` of them, ``payload`` in the contestant's own input form."""

    items: int
    payload: Any
    truth: Any = None  # the oracle's answer for exactly these items


@dataclass
class Contestant:
    """One arm of a race, as callables; the harness knows nothing else about it.

    ``setup(seed)`` makes a fresh instance (a new allocation at a new address).
    ``call(state, payload)`` is what is timed.
    ``slices(limit)`` cuts the task's query pool into ``Slice`` of at most ``limit`` items, in the
    contestant's favourite input form; conversion happens here, outside the clock.
    ``check(answer, slice)`` returns the gate's finding.
    """

    name: str
    role: Role
    call: Callable[[Any, Any], Any]
    slices: Callable[[int], Sequence[Slice]]
    setup: Callable[[int], Any] = lambda _seed: None
    check: Callable[[Any, Slice], Gate] | None = None
    nbytes: Callable[[Any], int] | None = None
    quality: Callable[[Any], list[Quality]] | None = None
    estimate_setup: Callable[[], float] | None = None  # seconds a setup at this n would take
    package: str = ""  # distribution to name in "not installed" and in the environment
    input: str = ""  # "list", "ndarray", "arrow": what it was handed
    missing: str = ""  # why it cannot run at all; the row says so


@dataclass(frozen=True)
class Gate:
    """The gate's finding on one answer: right, or the first differing input; and the error rate."""

    ok: bool
    detail: str = ""
    error: float | None = None  # share of wrong answers an approximate structure is entitled to


@dataclass(frozen=True)
class Quality:
    """A measured property beside speed, with the law it is held against."""

    metric: str  # "fpr", "bits_per_key", "false_negatives", ...
    value: float
    theory: float | None = None
    lo: float | None = None
    hi: float | None = None
    ok: bool | None = None  # None: informative, nothing to be held against


_S, _F, _I = pa.string(), pa.float64(), pa.int64()
_FS = pa.list_(_F)

SAMPLES = pa.schema(
    [  # one row per contestant, slot, round
        ("task", _S), ("contestant", _S), ("role", _S),
        ("slot", pa.int16()), ("round", pa.int16()), ("order", pa.int16()),
        ("instance", pa.int8()), ("cold", pa.bool_()), ("items", _I), ("calls", pa.int32()),
        ("pieces", pa.int16()),
        ("wall_ns", _F), ("cpu_ns", _F), ("t0_ns", _I), ("nivcsw", pa.int32()),
        ("warm_passes", pa.int16()), ("ns_item", _F),
    ]
)  # fmt: skip

SUMMARY = pa.schema(
    [  # one row per task and contestant, also for those that did not run
        ("task", _S), ("contestant", _S), ("role", _S), ("status", _S), ("note", _S),
        ("package", _S), ("input", _S), ("anchor", pa.bool_()),
        ("ns_item", _F), ("ns_q1", _F), ("ns_q3", _F), ("ns_cold", _F),
        ("ratio", _F), ("lo", _F), ("hi", _F), ("mde", _F), ("p_value", _F), ("verdict", _S),
        ("slots", pa.int16()), ("rounds", pa.int32()), ("instances", pa.int16()),
        ("items", _I), ("state_bytes", _I), ("setup_ms", _F), ("first_call_ms", _F),
        ("error", _F), ("limit", _S), ("limit_share", _F), ("limit_lo", _F), ("limit_hi", _F),
        ("slot_ns", _FS), ("slot_ratios", _FS),
    ]
)  # fmt: skip
"""``limit_share`` = the yardstick's time / the contestant's time: 1.0 is the machine's limit. ``slot_ns`` are
the medians of the slots; ``slot_ratios`` the ratios of those in which the anchor was timed too, of which the
interval is made."""

QUALITY = pa.schema(
    [  # one row per task, contestant, metric
        ("task", _S), ("contestant", _S), ("metric", _S),
        ("value", _F), ("theory", _F), ("lo", _F), ("hi", _F), ("ok", pa.bool_()),
    ]
)  # fmt: skip

SLOTS = pa.schema(
    [  # one row per worker process: what disturbed it
        ("slot", pa.int16()), ("family", _S), ("seconds", _F), ("load1", _F),
        ("psi_cpu", _F), ("steal", _F), ("nivcsw", _I), ("pythonhashseed", _I), ("attempts", pa.int16()),
    ]
)  # fmt: skip

FILES = ("samples.parquet", "summary.parquet", "quality.parquet", "slots.parquet",
         "tasks.json", "catalog.json", "env.json", "run.json")  # fmt: skip
"""The JSON files hold plain values:

* ``run.json``: ``schema`` (version), ``run_id``, ``command`` (its words), ``tier``, ``budget`` (seconds),
  ``variants`` (chosen), ``families``, ``peers``,
  ``seed``, ``slots`` (planned per task), ``rounds``, ``stamp`` (of the code), ``fingerprint``,
  ``started``, ``ended`` (UTC, ISO 8601), ``partial``, ``reason`` (why partial), ``resume`` (how to go on).
* ``env.json``: ``id``, the stable facts by name (``cpu``, ``cores``, ``governor``, ``python``...;
  ``caches`` is ``{"l1d", "l2", "l3"}`` in bytes), and under ``volatile`` those of the moment (``load``,
  ``pressure_cpu``, ``memory_total``, ``commit``, ``dirty``, ``packages``, ``blas``, ``environment``, ...).
* ``tasks.json``: a list of tasks, the fields of ``Task`` and ``id``.
* ``catalog.json``: a list of variants, the fields of ``algos``'s ``Variant`` and ``family``.
"""
