"""What limits the conclusions from a run, in sentences to be read before any figure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.report import facts, fmt, selfcheck

if TYPE_CHECKING:
    from bench.report.load import Run

PSI_ALARM = 0.20  # share of the time in which some task waited for a CPU
STEAL_ALARM = 0.01


@dataclass(frozen=True)
class Banner:
    """One sentence the reader must have seen before any figure."""

    level: str  # "alarm" | "warn" | "note"
    text: str


def banners(run: Run) -> list[Banner]:
    """Everything that limits what may be concluded from this run, the gravest first."""
    found = [
        _wrong_banner(run, ours=True),
        *_self_check_banners(run),
        _control_banner(run),
        _partial_banner(run),
        _quick_banner(run),
        _noise_banner(run),
        _clock_banner(run),
        _wrong_banner(run, ours=False),
    ]
    return [banner for banner in found if banner]


def _wrong_banner(run: Run, *, ours: bool) -> Banner | None:
    rows = [
        row
        for race in (*run.races, *run.self_check)
        for row in race.rows
        if row.status == "WRONG" and (row.role == "ours") == ours
    ]
    if not rows:
        return None
    tasks = Counter(row.contestant for row in rows)
    names = ", ".join(f"{name} in {fmt.plural(n, 'task')}" for name, n in tasks.items())
    whose = "This library gave wrong answers" if ours else "Wrong answers of others"
    return Banner("alarm" if ours else "note", f"{whose}, which are not timed: {names}.")


def _control_banner(run: Run) -> Banner | None:
    arms = facts.controls(run)
    if not arms.alarms:
        return None
    return Banner(
        "alarm",
        f"{arms.alarms} of {fmt.plural(len(arms.rows), 'control arm')} called different from itself "
        f"({arms.faster} faster, {arms.slower} slower): distrust close verdicts of those tasks.",
    )


def _self_check_banners(run: Run) -> list[Banner]:
    return [
        Banner("alarm", f"Self-check failed. {f.question}: {f.answer}; the bound is {f.bound}.")
        for f in selfcheck.findings(run)
        if f.passed is False
    ]


def _partial_banner(run: Run) -> Banner | None:
    if not run.info.partial:
        return None
    races = (*run.races, *run.self_check)
    done = sum(race.finished for race in races)
    reason = run.info.reason or "interrupted"
    resume = f"; resume with: {run.info.resume}" if run.info.resume else ""
    return Banner(
        "warn",
        f"{reason[:1].upper()}{reason[1:]}: {done} of {fmt.plural(len(races), 'task')} measured{resume}.",
    )


def _quick_banner(run: Run) -> Banner | None:
    if run.info.tier != "quick":
        return None
    return Banner(
        "warn", "Quick run, one slot: not a verdict. One process cannot tell a difference from its own luck."
    )


def _noise_banner(run: Run) -> Banner | None:
    busy = [s for s in run.slots if (s.psi_cpu or 0.0) > PSI_ALARM]
    stolen = [s for s in run.slots if (s.steal or 0.0) > STEAL_ALARM]
    if not busy and not stolen:
        return None
    parts = []
    if busy:
        worst = max(s.psi_cpu or 0.0 for s in busy)
        slots = fmt.plural(len(run.slots), "slot")
        parts.append(
            f"tasks waited for a CPU in {len(busy)} of {slots} (up to {fmt.percent(worst, 2)} of the time)"
        )
    if stolen:
        worst = max(s.steal or 0.0 for s in stolen)
        parts.append(f"the hypervisor took time in {len(stolen)} (up to {fmt.percent(worst, 2)})")
    return Banner("warn", f"Busy machine: {'; '.join(parts)}. Expect wider intervals.")


def _clock_banner(run: Run) -> Banner | None:
    governor = run.env.get("governor")
    if governor in {None, "", "performance"}:
        return None
    return Banner(
        "note",
        f"The CPU's governor is {governor}, so its clock changes while it measures. "
        "Steadier: cpupower frequency-set -g performance.",
    )
