"""Whatever contestants, disks, clocks and signals do, a run ends in a report that says so."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from itertools import count
from typing import TYPE_CHECKING

import pytest
from stage import Stage, alive, info, summary, table, wait_for

from bench import arm, barrier, env, options, plan, race, results, run
from bench.barrier import Breadcrumb, Step
from bench.plan import ROOT
from bench.race import Protocol, Race
from bench.schema import Contestant, Gate, Slice, Task

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

ROGUES = """
import ctypes, os, resource, subprocess, sys, time
from pathlib import Path
from bench.schema import Contestant, Gate, Slice, Task

STAGE = Path(os.environ["STAGE"])
OPS = ["calm", "fates", "killed", "blocked", "unwritten", "dataless", "deadly", "lost"]
TASKS = [Task("rogues", op, "ints", 10, tier="quick", anchor="plain") for op in OPS]
CALLS = iter(range(1 << 60))
MORE = 256 << 20

def total(state, payload):
    return sum(payload)

def says(state, payload):
    print("still there, whatever the others do to it")
    return sum(payload)

def eats(state, payload):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before, eaten = resource.getrlimit(resource.RLIMIT_AS), []
    resource.setrlimit(resource.RLIMIT_AS, (used + MORE, before[1]))
    try:
        while True:
            eaten.append(bytearray(MORE // 8))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)

def exits(state, payload):
    sys.exit("enough")

def leaves(state, payload):
    os._exit(0)

def interrupts(state, payload):
    raise KeyboardInterrupt

def segfaults(state, payload):
    ctypes.string_at(0)

def sleeps(state, payload):
    time.sleep(3600)

def raises(state, payload):
    raise RuntimeError("it broke\\nsecond line")

def tires(state, payload):
    if next(CALLS) > 500:
        raise KeyError("tired")
    return sum(payload)

def floods(state, payload):
    for stream in (1, 2):
        os.write(stream, b"spam " * 2000)
    return sum(payload)

def closes(state, payload):
    sys.stdout.close()
    for stream in (1, 2):
        try:
            os.close(stream)
        except OSError:
            pass
    return sum(payload)

def redirects(state, payload):
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    return sum(payload)

def is_killed_once(state, payload):
    crumb, mark = STAGE / "run" / "work" / "breadcrumb", STAGE / "mark"
    if '"turn"' in crumb.read_text() and not mark.exists():
        mark.touch()
        subprocess.run(["kill", "-9", str(os.getpid())])
    return sum(payload)

def blocks(state, payload):
    (STAGE / "pid").write_text(str(os.getpid()))
    while not (STAGE / "gate").exists():
        time.sleep(0.01)
    return sum(payload)

def fills_the_disk(seed):
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

def contestants(task, seed):
    if task.op == "dataless":
        raise LookupError("no such data")
    if task.op == "deadly":
        os._exit(3)
    if task.op == "lost":
        sys.exit("no data")

    def slices(limit):
        parts = [range(i, i + 50) for i in range(0, 500, 50)]
        return [Slice(50, part, sum(part)) for part in parts]

    def check(answer, part):
        return Gate(answer == part.truth, f"the sum from {part.payload[0]} on is {part.truth}, not {answer}")

    def crooked(answer, part):
        raise ValueError("cannot tell")

    def entry(name, call=total, role="peer", **more):
        return Contestant(name, role, call, slices, **{"check": check} | more)

    found = [entry("plain", role="ours"), entry("again", role="control")]
    if task.op == "fates":
        found += [entry(rogue.__name__, rogue) for rogue in (
            eats, exits, leaves, interrupts, segfaults, sleeps, raises, tires, floods, closes, redirects, says
        )]
        found += [
            entry("wrong", lambda state, payload: -1),
            entry("ungated", check=crooked),
            entry("unready", setup=lambda seed: 1 // 0),
            entry("absent", missing="pip install absent"),
            entry("hopeless", estimate_setup=lambda: 77.4),
        ]
    if task.op == "killed":
        found.append(entry("victim", is_killed_once))
    if task.op == "blocked":
        found.append(entry("blocks", blocks))
    if task.op == "unwritten":
        found.append(entry("greedy", setup=fills_the_disk))
    return found
"""


@pytest.fixture
def bench(monkeypatch, tmp_path) -> Stage:
    return Stage(monkeypatch, tmp_path, "rogues", ROGUES)


@pytest.fixture
def folder(bench) -> Path:
    return bench.folder


# Contestants


def test_whatever_a_contestant_does_it_has_a_row_and_the_others_are_timed(bench, folder, capfd):
    assert bench("--quick", "--task", "fates") == 0
    rows = {name: row for (_, name), row in summary(folder).items()}
    wrong = rows.pop("wrong")
    assert (wrong["status"], wrong["ns_item"]) == ("WRONG", None)
    assert wrong["note"].startswith("the sum from ")
    assert {name: (row["status"], row["note"]) for name, row in rows.items() if row["status"] != "ok"} == {
        "eats": ("ERROR", "MemoryError:  (in its gate)"),
        "exits": ("ERROR", "SystemExit: enough (in its gate)"),
        "leaves": ("CRASHED", "exit code 0 in its gate"),
        "interrupts": ("CRASHED", "exit code 1 in its gate"),
        "segfaults": ("CRASHED", "SIGSEGV in its gate"),
        "sleeps": ("TIMEOUT", "no answer from its gate after 2 s"),
        "raises": ("ERROR", "RuntimeError: it broke (in its gate)"),
        "tires": ("ERROR", rows["tires"]["note"]),
        "ungated": ("ERROR", "ValueError: cannot tell (in its gate)"),
        "unready": ("ERROR", "ZeroDivisionError: integer division or modulo by zero (in its setup)"),
        "absent": ("NOT INSTALLED", "pip install absent"),
        "hopeless": ("NOT RUN", "would take 77 s at this n"),
    }
    assert rows["tires"]["note"].startswith("KeyError: 'tired' (in its ")
    timed = {s["contestant"] for s in table(folder, "samples") if s["contestant"] != "tires"}
    assert timed == {"plain", "again", "floods", "closes", "redirects", "says"}
    assert all(rows[name]["ns_item"] > 0 for name in timed)
    (slot,) = table(folder, "slots")
    assert slot["attempts"] == 8  # the one that timed out took a worker down, the three others two each
    told = capfd.readouterr().out
    assert "segfaults of rogues.fates.ints.n=10: SIGSEGV in its gate; once more, in a new worker" in told
    assert "SIGSEGV in its gate; CRASHED, and out of this race" in told


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_a_worker_killed_from_outside_costs_nobody_a_figure(bench, folder):
    assert bench("--quick", "--task", "killed") == 0
    assert {row["status"] for row in summary(folder).values()} == {"ok"}
    (slot,) = table(folder, "slots")
    assert slot["attempts"] == 2


def test_a_task_whose_data_cannot_be_made_costs_no_other_task(bench, folder):
    assert bench("--quick", "--task", "dataless", "deadly", "lost", "calm") == 0
    rows = summary(folder)
    assert {op: (row["status"], row["note"]) for (op, name), row in rows.items() if name == "plain"} == {
        "calm": ("ok", ""),
        "dataless": ("ERROR", "LookupError: no such data"),
        "deadly": ("CRASHED", "exit code 3 in its data"),
        "lost": ("CRASHED", "exit code 1 in its data"),
    }


def test_a_flood_of_output_does_not_fill_the_disk(tmp_path):
    flood = f"""
import os, time
for _ in range(3):
    os.write(1, bytes({barrier.LOG_BYTES}))
    os.write(2, bytes({barrier.LOG_BYTES}))
    while os.fstat(1).st_size > {barrier.LOG_BYTES}: time.sleep(0.001)
"""
    log = tmp_path / "log"
    with log.open("ab") as out:
        process = barrier.start(["-c", flood], os.environ, ROOT, out)
    end = barrier.watch(process, tmp_path / "crumb", log, 20.0, lambda _step: None)
    assert (process.returncode, end.status) == (0, "CRASHED")  # it has not come to a worker's end
    assert log.stat().st_size <= barrier.LOG_BYTES


# Clocks


def held(monkeypatch, clock) -> Race:
    def slices(limit: int) -> list[Slice]:
        return [Slice(10, range(10))]

    check = lambda answer, _: Gate(answer == 45)  # noqa: E731
    entrants = [
        Contestant(name, "ours", lambda _, part: sum(part), slices, check=check) for name in ("anchor", "b")
    ]
    monkeypatch.setattr(arm, "perf_counter_ns", clock)
    monkeypatch.setattr(race, "MOST_CALLS", 8)
    one = Race(Task("zoo", "pair", "ints", 10, anchor="anchor"), entrants, Protocol(6, 3, 1.0, 1 << 16), 1)
    one.prepare()
    one.run()
    return one


def test_a_clock_that_stands_still_ends_nothing_but_the_figures(monkeypatch):
    one = held(monkeypatch, lambda: 0)
    assert {each.status for each in one.arms} == {"ok"}
    assert {s["ns_item"] for s in one.samples} == {0.0}


def test_a_clock_that_steps_back_ends_nothing_but_the_figures(monkeypatch):
    ticks = count(step=-1000)
    one = held(monkeypatch, lambda: next(ticks))
    assert {each.status for each in one.arms} == {"ok"}
    assert all(s["ns_item"] < 0 for s in one.samples)


# Disks


def full(path: object) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_a_full_disk_stops_the_run_with_a_report_and_it_can_go_on(bench, folder, monkeypatch, capsys):
    with monkeypatch.context() as patched:

        def write(path, value):
            if path.name == "job.json" and value["slot"] == 1:
                raise full(path)
            plan.write_json(path, value)

        patched.setattr(run, "write_json", write)
        assert bench("--task", "calm") == 1
    assert info(folder)["reason"] == f"No space left on device: {folder / 'work' / 'job.json'}"
    assert info(folder)["resume"] in capsys.readouterr().out
    assert summary(folder)["calm", "plain"]["slots"] == 1
    bench.rendered = 0
    assert bench("--resume", str(folder)) == 0
    assert summary(folder)["calm", "plain"]["slots"] >= 2


@pytest.mark.parametrize("error", [full("summary.parquet"), KeyboardInterrupt()])
def test_what_stops_the_merging_is_told_and_nothing_is_lost(bench, folder, monkeypatch, capsys, error):
    def merge(*_, **__):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(run.Supervisor, "slot", lambda *_: None)
        patched.setattr(results, "merge", merge)
        code = run.Supervisor(*created(bench, "--quick", "--task", "calm")).run()
    assert code == (run.INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1)
    told = capsys.readouterr().out
    assert f"What is finished is kept; to go on: nox -s bench -- --resume {folder}" in told
    assert ("interrupted" in told) == isinstance(error, KeyboardInterrupt)
    assert ("No space left on device: summary.parquet" in told) != isinstance(error, KeyboardInterrupt)
    assert bench("--resume", str(folder)) == 0
    assert summary(folder)["calm", "plain"]["status"] == "ok"


@pytest.mark.parametrize("error", [full("index.html"), KeyboardInterrupt()])
def test_what_stops_the_rendering_is_told_and_nothing_is_lost(bench, folder, monkeypatch, capsys, error):
    def render(_):
        raise error

    monkeypatch.setattr(run.Supervisor, "slot", lambda *_: None)
    monkeypatch.setattr(sys.modules["bench.report"], "render", render)
    assert run.Supervisor(*created(bench, "--quick", "--task", "calm")).run() in {1, run.INTERRUPTED}
    assert f"All is measured; to render it: nox -s report -- {folder}" in capsys.readouterr().out
    assert info(folder)["partial"] is False


def test_a_worker_that_cannot_write_its_results_stops_the_run_and_says_why(bench, folder, capsys):
    assert bench("--quick", "--task", "calm", "unwritten") == 1
    assert "a worker got nowhere (exit code 1 in its results: File too large)" in info(folder)["reason"]
    assert info(folder)["reason"] in capsys.readouterr().out.replace("\n", "")
    rows = summary(folder)
    assert rows["calm", "plain"]["status"] == "ok"
    assert rows["unwritten", "greedy"]["status"] == "NOT RUN"


def created(bench: Stage, *words: str):
    return options.create(options.parser().parse_args([*words, "--out", str(bench.folder)]), words)


# Signals


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_partial_report_and_resuming_finishes_it(bench, folder, how):
    with bench.start("--quick", "--task", "calm", "blocked") as supervisor:
        worker = bench.blocked()
        supervisor.send_signal(how)
        told, _ = supervisor.communicate(timeout=30)
    assert supervisor.returncode == run.INTERRUPTED
    assert not alive(worker)
    assert info(folder)["resume"] == f"nox -s bench -- --resume {folder}"
    assert info(folder)["resume"] in told
    assert (info(folder)["partial"], info(folder)["reason"]) == (True, "interrupted")
    rows = summary(folder)
    assert rows["calm", "plain"]["status"] == "ok"
    assert (rows["blocked", "blocks"]["status"], rows["blocked", "blocks"]["role"]) == ("NOT RUN", "peer")
    if how == signal.SIGTERM:
        return
    before = {s["t0_ns"] for s in table(folder, "samples")}
    bench.gate.touch()
    assert bench("--resume", str(folder)) == 0
    assert info(folder)["partial"] is False
    assert not (folder / "work").exists()
    assert before < {s["t0_ns"] for s in table(folder, "samples")}  # nothing finished was raced again
    assert summary(folder)["blocked", "blocks"]["status"] == "ok"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends a child with its parent")
def test_a_killed_supervisor_takes_its_worker_along_and_what_is_damaged_is_raced_again(bench, folder, capsys):
    with bench.start("--quick", "--task", "calm", "blocked") as supervisor:
        worker = bench.blocked()
        supervisor.kill()
        supervisor.communicate(timeout=30)
    wait_for(lambda: not alive(worker))
    (result,) = (folder / "work" / "slots").glob("*/*.json")
    kept = result.read_text("utf-8")
    result.write_text(kept[: len(kept) // 2], "utf-8")
    bench.gate.touch()
    assert bench("--resume", str(folder)) == 0
    assert "is damaged: what it held is measured again" in capsys.readouterr().out
    assert {row["status"] for row in summary(folder).values()} == {"ok"}
    assert {row["slots"] for row in summary(folder).values()} == {1}


def test_a_worker_whose_supervisor_is_gone_takes_no_further_step(tmp_path):
    step = "import sys, pathlib; from bench.barrier import Breadcrumb; "
    step += "Breadcrumb(pathlib.Path(sys.argv[1]), 1 << 30).drop('task', '', 'data'); print('went on')"
    done = subprocess.run(
        [sys.executable, "-c", step, str(tmp_path / "crumb")], cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert (tmp_path / "crumb").read_bytes() == b""


def test_files_without_which_others_mean_nothing_are_discarded_with_them(tmp_path):
    for name in ("slots/0/a.json", "slots/0/b.json", "slots/1/a.json", "entrants/b.json"):
        plan.write_json(tmp_path / name, {})
    (tmp_path / "entrants" / "a.json").write_bytes(bytes(100))  # as a file system may leave it
    options._discard_damaged(tmp_path)
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json"))
    assert left == ["entrants/b.json", "slots/0/b.json"]


def test_a_damaged_plan_is_an_error_that_says_what_to_do(bench, folder, capsys):
    (folder / "work").mkdir(parents=True)
    (folder / "plan.json").write_text('{"run_id":', "utf-8")
    assert bench("--resume", str(folder)) == 2
    assert f"{folder / 'plan.json'} is damaged: start a new run" in capsys.readouterr().err
    (folder / "plan.json").write_text("{}", "utf-8")
    assert bench("--resume", str(folder)) == 2
    assert "planned by another version of the bench" in capsys.readouterr().err


# What disturbs a slot


def test_disturbance_is_what_the_counters_grew_by_during_the_slot(monkeypatch):
    machine = {
        "/proc/pressure/cpu": "some avg10=9.00 avg60=1.00 avg300=0.00 total=1000000\nfull avg10=0.00 total=7",
        "/proc/stat": "cpu  100 0 50 800 5 0 0 45 30 0\ncpu0 1 2 3 4 5 6 7 8",
    }
    monkeypatch.setattr(env, "_read", lambda path: machine.get(str(path)))
    monkeypatch.setattr(env.time, "monotonic", lambda: 100.0)
    before = env.Disturbance.now()
    machine["/proc/pressure/cpu"] = "some avg10=0.00 avg60=1.00 avg300=0.00 total=3000000\nfull total=9"
    machine["/proc/stat"] = "cpu  150 0 60 820 5 0 0 65 30 0\ncpu0 1 2 3 4 5 6 7 8"
    monkeypatch.setattr(env.time, "monotonic", lambda: 110.0)
    told = env.Disturbance.now().since(before)
    assert told["seconds"] == 10.0
    assert told["psi_cpu"] == pytest.approx(0.2)  # 2 s of 10 s
    assert told["steal"] == pytest.approx(0.2)  # 20 of 100 ticks


def test_counters_a_machine_does_not_have_show_no_disturbance(monkeypatch):
    monkeypatch.setattr(env, "_read", lambda _: None)
    told = env.Disturbance.now().since(env.Disturbance.now())
    assert (told["psi_cpu"], told["steal"], told["nivcsw"]) == (0.0, 0.0, 0)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be made to share a core")
def test_a_workers_preemptions_are_counted_when_it_has_ended():
    crowded = """
import os, resource, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
twin = os.fork()
ends = time.monotonic() + 0.3
while time.monotonic() < ends: pass
if twin:
    os.wait()
    print(sum(resource.getrusage(who).ru_nivcsw for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
"""
    before = env.Disturbance.now()
    done = subprocess.run([sys.executable, "-c", crowded], capture_output=True, check=True)
    counted = env.Disturbance.now().since(before)["nivcsw"]
    assert counted >= int(done.stdout) > 0


def test_a_breadcrumb_is_the_last_step_and_nothing_of_longer_ones_before(tmp_path):
    crumb = Breadcrumb(tmp_path / "crumb", os.getppid())
    crumb.drop("a.task.with.a.long.name", "contestant", "gate")
    crumb.drop("b", "", "data")
    crumb.close()
    last = Breadcrumb.read(tmp_path / "crumb")
    assert last is not None
    assert last[:3] == Step("b", "", "data", 0.0)[:3]
    assert Breadcrumb.read(tmp_path / "none") is None
