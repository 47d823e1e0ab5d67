"""What is raced for the filters: the keys, the truth about them, and that everyone entered answers right."""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.peers.filters import Pyfusefilter
from bench.schema import Gate, Slice, Task
from bench.tasks import _filters, _judge
from bench.tasks.filters import TASKS, contestants
from bench.workloads import keys as data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.schema import Contestant

SEED = 3
WORKLOADS = sorted(data.WORKLOADS)
POOL = 1024


@pytest.fixture(autouse=True)
def _small_pools(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Shrink the pools, and leave no small one behind."""
    monkeypatch.setattr(data, "POOL", POOL)
    monkeypatch.setattr(_filters, "SCALARS", POOL)
    yield
    data.workload.cache_clear()
    data.pool.cache_clear()


def small(op: str, workload: str = "ids", n: int = 300, **params: Any) -> Task:
    anchor = "BinaryFuseFilter" if op == "build_hashes" else "SplitBlockBloomFilter"
    params = {"hits": 50, "input": "favourite"} | params
    return Task("filters", op, workload, n, params, tier="thorough", anchor=anchor)


# ---------------------------------------------------------------------------------------------------
# Keys


@pytest.mark.parametrize("name", WORKLOADS)
def test_keys_are_distinct_and_no_miss_is_a_member(name: str) -> None:
    """The oracle is the construction: nothing needs looking up to know the truth."""
    members, misses = (column.form("list") for column in data.workload(name, 2000, SEED))
    assert len(members) == 2000
    assert len(misses) == POOL
    assert len({*members, *misses}) == len(members) + len(misses)


@pytest.mark.parametrize("name", WORKLOADS)
def test_keys_are_a_function_of_the_seed(name: str) -> None:
    """Two workers of one slot race on the same keys, two slots on others."""
    made = [data.WORKLOADS[name](500, 500, seed) for seed in (1, 1, 2)]
    first, again, other = ([half.tolist() for half in pair] for pair in made)
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_column_is_the_same_keys_in_every_form(name: str) -> None:
    members = data.workload(name, 200, SEED).members
    objects = members.form("list")
    kind = {"int": int, "text": str, "bytes": bytes}[members.kind]
    assert all(type(key) is kind for key in objects)
    assert members.form("arrow").to_pylist() == objects
    raw = [key.encode() if isinstance(key, str) else key for key in objects]
    assert members.form("ndarray").tolist() == [k.rstrip(b"\0") if isinstance(k, bytes) else k for k in raw]
    assert members.form("list") is objects


@pytest.mark.parametrize("hits", [0, 25, 50, 100])
@pytest.mark.parametrize("name", ["ids", "words"])
def test_a_pool_knows_the_truth(name: str, hits: int) -> None:
    members = set(data.workload(name, 700, SEED).members.form("list"))
    pool = data.pool(name, 700, SEED, hits, POOL)
    queries = pool.queries.form("list")
    assert pool.truth.tolist() == [key in members for key in queries]
    assert pool.truth.sum() == POOL * hits // 100
    assert len(set(queries)) >= min(700, POOL * hits // 100)
    if 0 < hits < 100:
        assert 0.2 < np.mean(pool.truth[1:] != pool.truth[:-1]) < 0.7, "hits and misses are not shuffled"


def test_slices_are_nested_cuts_of_one_pool() -> None:
    pool = data.pool("text12", 300, SEED, 50, POOL)
    small_cut, large_cut = pool.slices("arrow", 100), pool.slices("arrow", 400)
    assert [part.items for part in small_cut] == [100] * 10 + [24]
    joined = [key for part in small_cut for key in part.payload.to_pylist()]
    assert joined == [key for part in large_cut for key in part.payload.to_pylist()]
    assert np.concatenate([part.truth for part in large_cut]).tolist() == pool.truth.tolist()
    assert pool.slices("arrow", 400) is large_cut, "the next contestant should be handed the same slices"


def test_ids_equal_a_plain_loop() -> None:
    """Milliseconds, node and sequence stand where Snowflake puts them, across the pieces of the batch."""
    n, lane, stride = 2**15 + 1000, 1, 3
    ids = data.snowflakes(n, SEED, lane, stride)
    start = data.EPOCH_MS + 86_400_000 * SEED
    for i in (0, 1, 7, 8, 2**15 - 1, 2**15, n - 1):
        node = ((i * (data.GOLDEN + 2 * SEED)) % 2**64 >> 55) << 1 | lane
        assert ids[i] == (start + i // 8 * stride) << 22 | node << 12 | i % 8
    assert ids.max() < 2**60


def test_text12_is_the_ids_in_base_32() -> None:
    ids = data.workload("ids", 100, SEED).members.form("list")
    texts = data.workload("text12", 100, SEED).members.form("list")
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    assert ["".join(alphabet[i >> s & 31] for s in range(55, -1, -5)) for i in ids] == texts


def test_uuids_are_of_version_4() -> None:
    uuids = data.workload("uuids", 100, SEED).misses.form("list")
    assert {(key[6] >> 4, key[8] >> 6, len(key)) for key in uuids} == {(4, 2, 16)}


def test_urls_look_like_urls() -> None:
    """Lengths are skewed to the right around the mean; hosts are shared, and some are popular."""
    urls = data.workload("urls", 5000, SEED).members.form("list")
    lengths = np.array([len(url) for url in urls])
    assert all(re.fullmatch(r"https://www\.[a-z]+\.com/[a-z]+/[a-z]+(-[a-z]+)+", url) for url in urls[:500])
    assert 50 < lengths.mean() < 75
    assert np.median(lengths) < lengths.mean()
    hosts = Counter(url.split("/")[2] for url in urls)
    assert max(hosts.values()) > 10 * np.median(list(hosts.values()))


def test_real_names_keep_a_fifth_back() -> None:
    with pytest.raises(ValueError, match=r"n=32,148 of these 32,\d{3} names leaves too few misses"):
        data.workload("cities", 32_148, SEED)


def test_urls_end_where_their_numbers_do() -> None:
    with pytest.raises(ValueError, match="at most 16,777,216"):
        data.workload("urls", data.MAX_URLS, SEED)


# ---------------------------------------------------------------------------------------------------
# Tasks


def test_task_ids_are_unique_and_fit_into_file_names() -> None:
    ids = [task.id for task in TASKS]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9_.=-]{1,120}", name) for name in ids)


def test_tiers_keep_to_the_budget() -> None:
    """A family may show 8 tasks in the quick run and 34 in the default one."""
    tiers = Counter(task.tier for task in TASKS)
    assert 1 <= tiers["quick"] <= 8
    assert tiers["quick"] + tiers["default"] <= 34


# ---------------------------------------------------------------------------------------------------
# Contestants

RACES = [
    *(small("contains", name) for name in WORKLOADS),
    *(small("contains", "ids", hits=hits) for hits in (0, 100)),
    *(small("contains", "ids", input=form) for form in ("numpy", "arrow", "list")),
    *(small("contains", "text12", input=form) for form in ("arrow", "list")),
    *(small("contains_one", name) for name in ("ids", "words", "uuids")),
    *(small("build", name) for name in ("ids", "urls")),
    *(small(op) for op in ("build_hashes", "merge", "serialise")),
    *(small("contains", fpr=fpr) for fpr in (0.1, 0.0001)),
    *(small("contains", n=3000, bits_per_key=bits) for bits in (10.0, 20.0)),
]


@pytest.mark.parametrize("task", RACES, ids=lambda task: task.id)
def test_everyone_answers_right(task: Task) -> None:
    """Each contestant that is installed passes the gate on the very data it would be timed on."""
    arms = contestants(task, SEED)
    assert {"SplitBlockBloomFilter", "BinaryFuseFilter"} & {arm.name for arm in arms}
    assert {arm.role for arm in arms} >= {"ours", "control", "null"}
    assert len({arm.name for arm in arms}) == len(arms)
    for arm in arms:
        if not arm.missing:
            _check(arm)


def _check(arm: Contestant) -> None:
    assert arm.estimate_setup is None or arm.estimate_setup() < 5
    state = arm.setup(SEED)
    for part in arm.slices(256)[:2]:
        answer = arm.call(state, part.payload)
        assert arm.check is None or arm.check(answer, part).ok, arm.name
    assert (arm.check is None) == (arm.name.endswith("limit") or arm.name == "null")
    assert arm.nbytes is None or arm.nbytes(state) > 0
    for quality in arm.quality(state) if arm.quality else ():
        assert quality.ok is not False, f"{arm.name}: {quality}"


@pytest.mark.parametrize("tier", ["quick", "default", "thorough"])
@pytest.mark.parametrize(("workload", "parquet"), [("words", True), ("text12", True), ("ids", False)])
def test_parquets_filter_races_wherever_there_is_text(tier: str, workload: str, parquet: bool) -> None:
    arms = contestants(replace(small("contains", workload), tier=tier), SEED)
    assert ("SplitBlockBloomFilter physical_type=byte_array" in {arm.name for arm in arms}) is parquet


def test_the_first_call_times_itself(capsys: pytest.CaptureFixture[str]) -> None:
    arms = contestants(small("first_call"), SEED)
    assert [arm.name for arm in arms][:2] == ["BloomFilter", "SplitBlockBloomFilter"]
    exec(compile(arms[1].slices(1)[0].payload, "first call", "exec"), {})
    assert int(capsys.readouterr().out.splitlines()[-1]) > 0


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("rbloom", "rbloom"),
        ("fastbloom_rs", "fastbloom-rs"),
        ("pyfusefilter", "pyfusefilter"),
        ("pybloom_live", "pybloom-live"),
        ("probables", "pyprobables"),
        ("pandas", "pandas.Index"),
    ],
)
def test_a_package_not_installed_is_a_row_that_says_so(
    module: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    absent = {arm.name: arm for arm in contestants(small("contains"), SEED) if arm.missing}
    assert absent[name].missing.endswith(f"pip install {absent[name].package}")


def test_a_package_enters_no_race_beyond_its_reach() -> None:
    names = {arm.name for arm in contestants(small("contains", n=40_000), SEED)}
    assert {"rbloom", "fastbloom-rs", "Python set"} <= names
    assert not {"pyfusefilter", "pybloom-live", "pyprobables", "np.isin"} & names


def test_the_yardstick_is_as_big_as_the_anchor() -> None:
    arms = {arm.name: arm for arm in contestants(small("contains", n=5000), SEED)}
    limit, anchor = arms["prefetch limit"], arms["SplitBlockBloomFilter"]
    assert limit.nbytes is not None
    assert anchor.nbytes is not None
    assert 0 <= limit.nbytes(limit.setup(0)) - anchor.nbytes(anchor.setup(0)) < 64


def test_pyfusefilter_is_given_a_hash_that_works() -> None:
    """Version 4 of xxhash takes no text; the same hash of the same text, encoded, does."""
    pyfusefilter = pytest.importorskip("pyfusefilter.pyfusefilter")
    xxhash = pytest.importorskip("xxhash")
    peer = Pyfusefilter("int")
    state = peer.build([1, 2, 3])
    assert peer.contains_each(state, [1, 2, 3]) == [True] * 3
    assert pyfusefilter.hash(7) == xxhash.xxh64_intdigest(b"7")


# ---------------------------------------------------------------------------------------------------
# Gate


def part(truth: list[bool]) -> Slice:
    return Slice(len(truth), list(range(100, 100 + len(truth))), np.array(truth))


def test_a_false_negative_is_wrong_and_named() -> None:
    gate = _judge.judge([True, False, False], part([True, False, True]), promise=0.01)
    assert not gate.ok
    assert gate.detail == "query 2, 102: said False"


def test_false_positives_are_counted_where_they_are_allowed() -> None:
    answer, truth = np.zeros(1000, bool), [False] * 1000
    answer[5] = True
    assert _judge.judge(answer, part(truth), promise=0.01) == Gate(ok=True, error=0.001)
    assert _judge.judge(answer, part(truth), promise=0.0).detail == "query 5, 105: said True"


def test_a_filter_that_always_says_yes_is_wrong() -> None:
    gate = _judge.judge([True] * 1000, part([False] * 1000), promise=0.01)
    assert not gate.ok
    assert gate.detail == "1000 of 1000 misses found, promised 1 %"


def test_answers_must_be_as_many_as_queries() -> None:
    assert not _judge.judge([True], part([True, True]), promise=0.01).ok
    assert not _judge.judge(None, part([True, True]), promise=0.01).ok


def test_a_lost_member_is_named() -> None:
    assert _judge.all_found([True, False, False], ["a", "b", "c"]).detail == "lost 'b' and 1 others"
    assert _judge.all_found([True], ["a"]).ok


@pytest.mark.parametrize(("hits", "trials"), [(0, 50), (3, 100), (50, 100), (100, 100), (10_000, 2**20)])
def test_wilson_inverts_the_score_test(hits: int, trials: int) -> None:
    """At either end of the interval the observed rate is exactly SIGMAS standard errors away."""
    rate = hits / trials
    for end in _judge.wilson(hits, trials):
        if 0.0 < end < 1.0:
            score = abs(rate - end) / np.sqrt(end * (1 - end) / trials)
            assert score == pytest.approx(_judge.SIGMAS)
