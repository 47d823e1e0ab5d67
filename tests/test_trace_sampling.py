"""Consistent probability sampling: the specification's tables, every form of ids, and what a header says."""

from __future__ import annotations

import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from helpers import put_together, rng, scaled, take_apart
from hypothesis import given
from hypothesis import strategies as st

from algos.errors import CorruptDataError
from algos.sampling import ConsistentTraceSampler

# OpenTelemetry specification 1377f53, tracestate-probability-sampling.md, the table of 1-in-N probabilities:
# th for a precision of 3, 4 and 5, and the adjusted counts
ONE_IN_N = {
    1: ("0 0 0", (1, 1, 1)),
    2: ("8 8 8", (2, 2, 2)),
    3: ("aab aaab aaaab", (3.0007326007326007, 3.00004577706569, 3.0000028610256777)),
    4: ("c c c", (4, 4, 4)),
    5: ("ccd cccd ccccd", (5.001221001221001, 5.0000762951094835, 5.0000047683761295)),
    8: ("e e e", (8, 8, 8)),
    10: ("e66 e666 e6666", (9.990243902439024, 9.99938968568813, 9.999961853172863)),
    16: ("f f f", (16, 16, 16)),
    100: ("fd71 fd70a fd70a4", (100.05496183206107, 99.99771123402633, 100.00009536752259)),
    1000: ("ffbe7 ffbe77 ffbe76d", (999.5958055290753, 1000.012874769029, 1000.0016987352618)),
    10_000: ("fff972 fff9724 fff97247", (9998.340882002383, 9999.830725674266, 9999.99370426336)),
    100_000: ("ffff584 ffff583a ffff583a5", (100013.21013412817, 99999.238556461, 99999.96614643588)),
    1_000_000: ("ffffef4 ffffef39 ffffef391", (1001624.8358208955, 999992.38556461, 1000006.9374699865)),
}

# pkg/sampling of the OpenTelemetry Collector, ExampleProbabilityToThreshold*: all 14 digits
EXACT = [
    (1 / 3, "aaaaaaaaaaaaac"),
    *((np.nextafter(15 / 16, 0), "10000000000008"), (15 / 16, "1"), (0.5, "8"), (0.25, "c")),
    *((np.nextafter(0.5, 0), "80000000000004"), (np.nextafter(0.25, 0), "c0000000000002")),
    *((np.nextafter(0.125, 0), "e0000000000001"), (np.nextafter(1 / 16, 0), "f")),
    *((i * 2.0**-56, f"{2**56 - i:x}".rstrip("0")) for i in (1, 2, 3, 4, 8, 16)),
]


@pytest.mark.parametrize("n", ONE_IN_N)
def test_the_table_of_the_specification(n: int) -> None:
    """One in n, to a precision of 3, 4 and 5: threshold and adjusted count."""
    texts, counts = ONE_IN_N[n]
    for precision, th, count in zip((3, 4, 5), texts.split(), counts, strict=True):
        sampler = ConsistentTraceSampler(1 / n, precision=precision)
        assert sampler.th == th
        assert sampler.adjusted_count == pytest.approx(count, rel=1e-15)
        assert sampler == ConsistentTraceSampler.from_th(th)


@pytest.mark.parametrize(("probability", "th"), EXACT)
def test_all_digits(probability: float, th: str) -> None:
    """With 14 digits a threshold is (1 - p) 2^56, rounded as the Collector does."""
    assert ConsistentTraceSampler(probability, precision=14).th == th


def test_examples_of_the_specification() -> None:
    """25 % is th:c; 1 % is 0xfd70a4...; an rv of 43.1 % is kept from 56.9 % on."""
    assert ConsistentTraceSampler(0.25).threshold == 0xC0000000000000
    assert ConsistentTraceSampler(0.01, precision=5).threshold == 71337018784743424
    assert ConsistentTraceSampler(0.01, precision=5).th == "fd70a4"
    rv = 0x6E6D1A75832A2F
    at = ConsistentTraceSampler(Fraction(2**56 - rv, 2**56), precision=14)
    assert at.threshold == rv
    ids = f"{0:018x}{rv:014x}"
    assert at.keep(ids)
    assert not ConsistentTraceSampler(Fraction(2**56 - rv - 1, 2**56), precision=14).keep(ids)


@given(st.floats(2.0**-56, 1.0), st.integers(1, 14))
def test_rounding_is_within_half_a_digit(probability: float, precision: int) -> None:
    """Rounded thresholds are as near as their digits allow, and never reject all."""
    sampler = ConsistentTraceSampler(probability, precision=precision)
    exact = (1 - Fraction(probability)) * 2**56
    digits = len(sampler.th)
    assert digits <= min(14, precision + len(sampler.th) - len(sampler.th.lstrip("f")))
    unit = Fraction(16) ** (14 - min(14, precision + max(0, int(-np.frexp(probability)[1]) // 4)))
    assert abs(sampler.threshold - exact) <= unit / 2 + Fraction(1, 2)
    assert 0 <= sampler.threshold < 2**56
    assert sampler.probability == (2**56 - sampler.threshold) / 2**56


def naive(ids: Any, threshold: int) -> Any:
    """Decide from the last seven bytes of ids, bytes[16] each."""
    return np.array([int.from_bytes(one[9:], "big") >= threshold for one in ids], np.bool_)


def ids_of(n: int) -> tuple[Any, list[bytes]]:
    """Return random ids, some of them with the highest bits set or at the ends of the range."""
    ids = rng(5).integers(0, 256, (n, 16), dtype=np.uint8)
    ids[0], ids[1], ids[2, 8:], ids[3, 9:] = 0, 255, 255, 0
    return ids, [one.tobytes() for one in ids]


IDS, PLAIN = ids_of(scaled(3000, 60))
HEXES = [one.hex() for one in PLAIN]
WORDS = IDS.view(">u8").astype(np.uint64)
FORMS = {
    "uint8[n, 16]": IDS,
    "columns": (WORDS[:, 0].copy(), WORDS[:, 1].copy()),
    "signed columns": (WORDS[:, 0].view(np.int64), WORDS[:, 1].view(np.int64)),
    "uint64[n, 2]": WORDS,
    "S32": np.array(HEXES, "S32"),
    "S40": np.array(HEXES, "S40"),
    "U32": np.array(HEXES),
    "upper": np.array([text.upper() for text in HEXES], "S32"),
    "S16": np.frombuffer(IDS.tobytes(), "S16"),
    "V16": np.frombuffer(IDS.tobytes(), "V16"),
    "strided": np.repeat(IDS, 2, axis=0)[::2],
    "unaligned": np.frombuffer(b"x" + IDS.tobytes(), np.uint8, offset=1).reshape(-1, 16),
    "list of str": HEXES,
    "list of bytes": PLAIN,
    "string": pa.array(HEXES),
    "sliced": pa.array(["zz", *HEXES, "y"])[1:-1],
    "chunked": pa.chunked_array([HEXES[:7], HEXES[7:7], HEXES[7:]]),
    "large_string": pa.array(HEXES, pa.large_string()),
    "string_view": pa.array(HEXES, pa.string_view()),
    "dictionary": pa.array(HEXES).dictionary_encode(),
    "fixed binary": pa.array(PLAIN, pa.binary(16)),
    "binary": pa.array([b"x" * 16, *PLAIN])[1:],
    "polars": pl.Series(HEXES),
    "polars binary": pl.Series(PLAIN),
    "pandas": pd.Series(HEXES),
    "pandas objects": pd.Series(HEXES, dtype=object),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("probability", [1.0, 0.3, 2.0**-56])
def test_every_form_of_ids(form: str, probability: float) -> None:
    """Whatever form ids have, the decisions are those of the naive twin."""
    sampler = ConsistentTraceSampler(probability)
    kept = sampler.keep_many(FORMS[form])
    assert kept.dtype == np.bool_
    assert (kept == naive(PLAIN, sampler.threshold)).all()
    assert kept[1]
    assert kept[3] == (probability == 1.0)


def test_one_by_one() -> None:
    """A trace alone, as text in either case, bytes or an int, is decided as in a batch."""
    sampler = ConsistentTraceSampler(0.4)
    want = naive(PLAIN, sampler.threshold).tolist()
    assert [sampler.keep(one) for one in HEXES] == want
    assert [sampler.keep(one.upper()) for one in HEXES] == want
    assert [sampler.keep(one.encode()) for one in HEXES] == want
    assert [sampler.keep(one) for one in PLAIN] == want
    assert [sampler.keep(int.from_bytes(one, "big")) for one in PLAIN] == want


@given(st.binary(min_size=16, max_size=16), st.floats(2.0**-56, 1.0), st.floats(2.0**-56, 1.0))
def test_consistency(trace: bytes, one: float, two: float) -> None:
    """What is kept at a probability is kept at every higher one."""
    low, high = (ConsistentTraceSampler(p) for p in sorted((one, two)))
    assert low.threshold >= high.threshold
    assert high.keep(trace) >= low.keep(trace)


@pytest.mark.statistical
def test_the_probability_is_the_share_kept() -> None:
    """Of random ids the share kept is binomial."""
    n = 1_000_000
    low = rng(7).integers(0, 2**64, n, dtype=np.uint64)
    for probability in (0.5, 0.1, 0.001):
        sampler = ConsistentTraceSampler(probability)
        kept = int(sampler.keep_many((low, low)).sum())
        p = sampler.probability
        assert abs(kept - n * p) < 5 * (n * p * (1 - p)) ** 0.5


def test_nulls_are_not_kept() -> None:
    """A null keeps its place and is not kept, whatever is behind it."""
    sampler = ConsistentTraceSampler(1.0)
    holes = [*HEXES[:5], None, *HEXES[5:9]]
    want = [one is not None for one in holes]
    for ids in (holes, pa.array(holes), pa.array(holes).dictionary_encode(), pl.Series(holes)):
        assert sampler.keep_many(ids).tolist() == want
    binary = [None if one is None else bytes.fromhex(one) for one in holes]
    for ids in (pa.array(binary), pa.array(binary, pa.binary(16))):
        assert sampler.keep_many(ids).tolist() == want
    assert sampler.keep_many([None, None]).tolist() == [False, False]
    assert sampler.keep_many([None, bytes(16)]).tolist() == [False, True]
    with pytest.raises(ValueError, match="position 1"):
        sampler.keep_many([None, "x"])


def test_no_ids() -> None:
    """An empty batch gives an empty answer."""
    sampler = ConsistentTraceSampler(0.5)
    for ids in (
        IDS[:0],
        [],
        pa.array([], pa.string()),
        np.zeros(0, "S32"),
        np.zeros(0, str),
        (WORDS[:0, 0], WORDS[:0, 1]),
    ):
        assert sampler.keep_many(ids).tolist() == []


WRONG_IDS: list[tuple[Any, type[Exception], str]] = [
    ([HEXES[0], "0" * 31], ValueError, "position 1"),
    ([HEXES[0], "0" * 33], ValueError, "position 1"),
    ([HEXES[0], "0" * 31 + "g"], ValueError, "position 1"),
    ([HEXES[0], "g" + "0" * 31], ValueError, "position 1"),
    ([HEXES[0], "-" * 32], ValueError, "position 1"),
    ([b"x" * 15], ValueError, "position 0"),
    (np.array([HEXES[0], "/" * 32], "S32"), ValueError, "position 1"),
    (np.array([HEXES[0][:31]], "S"), ValueError, "position 0"),
    (np.array([HEXES[0] + "0"], "S"), ValueError, "position 0"),
    (pa.array([HEXES[0], ":" * 32]), ValueError, "position 1"),
    (pa.array([HEXES[0], "é" * 16]), ValueError, "position 1"),
    (pa.chunked_array([[HEXES[0]], ["@" * 32]]), ValueError, "position 1"),
    (pa.array([b"x" * 17]), ValueError, "17 bytes"),
    (np.zeros(3, np.uint64), TypeError, "uint64"),
    (np.zeros((3, 15), np.uint8), TypeError, "15"),
    (np.zeros((3, 16), np.int16), TypeError, "int16"),
    ([1, 2], TypeError, "numbers"),
    ("0" * 32, TypeError, "str"),
    (None, TypeError, "NoneType"),
    ((WORDS[:, 0], WORDS[:3, 1]), ValueError, "3 words"),
    ((WORDS[:, 0].astype(float), WORDS[:, 1]), TypeError, "float64"),
]


@pytest.mark.parametrize(("ids", "error", "says"), WRONG_IDS)
def test_what_is_no_id(ids: Any, error: type[Exception], says: str) -> None:
    """What is no id is an error that says where and what."""
    with pytest.raises(error, match=says):
        ConsistentTraceSampler(0.5).keep_many(ids)


@pytest.mark.parametrize(
    ("one", "error"),
    [
        *(
            (one, ValueError)
            for one in ("", "0" * 31, "0" * 33, "g" * 32, "é" * 16, b"", b"x" * 32, -1, 2**128)
        ),
        *((one, TypeError) for one in (None, True, 1.5, [], np.uint64(5))),
    ],
)
def test_what_is_no_id_alone(one: Any, error: type[Exception]) -> None:
    """The same holds for a single one."""
    with pytest.raises(error):
        ConsistentTraceSampler(0.5).keep(one)


@pytest.mark.parametrize("probability", [0, 0.0, -0.1, 1.1, float("nan"), float("inf"), 2.0**-57, 2])
def test_what_is_no_probability(probability: float) -> None:
    """Probabilities are from 2^-56 to 1."""
    with pytest.raises(ValueError, match="outside"):
        ConsistentTraceSampler(probability)


def test_wrong_arguments() -> None:
    """Types and bounds are checked at the call."""
    for probability in ("0.5", None, True, 0.5j):
        with pytest.raises(TypeError, match="probability"):
            ConsistentTraceSampler(probability)  # type: ignore[arg-type]
    for precision in (0, 15, -1):
        with pytest.raises(ValueError, match="precision"):
            ConsistentTraceSampler(0.5, precision=precision)
    with pytest.raises(TypeError, match="precision"):
        ConsistentTraceSampler(0.5, precision=4.0)  # type: ignore[arg-type]
    for th in ("", "C", "0x1", "0" * 15, "g", " c", "c ", "c\n", None, 5):
        with pytest.raises(ValueError, match="th="):
            ConsistentTraceSampler.from_th(th)  # type: ignore[arg-type]


def test_explicit_randomness() -> None:
    """An rv goes before the id: in a header, as words, as text with nulls."""
    sampler = ConsistentTraceSampler(0.5)
    low, high = f"{0:032x}", "f" * 32
    assert not sampler.keep(low)
    assert sampler.keep(low, "ot=rv:80000000000000")
    assert not sampler.keep(high, "a=b, ot=th:0;rv:7fffffffffffff")
    assert sampler.keep(high, tracestate="ot=rv:7fffffffffffff0")  # malformed: as if there were none
    assert sampler.keep(bytes(16), "ot=rv:ffffffffffffff")
    ids, texts = [low, high, high, low], ["f" * 14, "0" * 14, None, None]
    want = [True, False, True, False]
    for rv in (texts, pa.array(texts), pl.Series(texts)):
        assert sampler.keep_many(ids, rv).tolist() == want
    words = np.array([2**55, 2**55 - 1, 0, 2**56 - 1], np.uint64)
    assert sampler.keep_many(ids, rv=words).tolist() == [True, False, False, True]
    for wrong in (
        texts[:3],
        ["F" * 14, *texts[1:]],
        ["f" * 13, *texts[1:]],
        [5, *texts[1:]],
        words << np.uint64(1),
    ):
        with pytest.raises(ValueError, match="rv"):
            sampler.keep_many(ids, wrong)


READ = {
    "": (None, None),
    "ot=th:0": (0, None),
    " ot=th:1 ": (1 << 52, None),
    "ot=th:c": (0xC0000000000000, None),
    " , ot=th:1, , other=value ": (1 << 52, None),
    ",,,": (None, None),
    "ot=th:100;rv:abcdabcdabcdff": (1 << 52, 0xABCDABCDABCDFF),
    "ot=rv:ffffffffffffff,unknown=value,other=something": (None, 2**56 - 1),
    "ot=th:c;rv:d29d6a7215ced0;pn:abc,zz=vendorcontent": (0xC0000000000000, 0xD29D6A7215CED0),
    "ot=x1y2z3:1-2-3;y1:y_1;xy:-;th:50": (0x50000000000000, None),
    "ot=rv:3;p:2": (None, None),
    "ot=th:$": (None, None),
    "ot=th:0x1p+3": (None, None),
    "ot=th:14.5": (None, None),
    "ot=th:-1": (None, None),
    "ot=th:C": (None, None),
    "ot=th:ffffffffffffffff": (None, None),
    "ot=th:100000000000000": (None, None),
    "ot=rv:100000000000000": (None, None),
    "ot=th:": (None, None),
    "ot=": (None, None),
    "ot=;:;=,ot": (None, None),
    "tenant@ot=th:8": (None, None),
    "other=th:8": (None, None),
}


@pytest.mark.parametrize("header", READ)
def test_reading_a_tracestate(header: str) -> None:
    """Known values are found wherever they are, and what is malformed is not there."""
    assert ConsistentTraceSampler.read(header) == READ[header]


@pytest.mark.parametrize(
    ("header", "marked"),
    [
        ("", "ot=th:8"),
        ("ot=th:c", "ot=th:8"),
        ("ot=rv:abcdefabcdefab", "ot=rv:abcdefabcdefab;th:8"),
        ("ot=p:8;th:1;r:62", "ot=p:8;r:62;th:8"),
        ("a=b, ot=th:1;x:y ,c=d", "ot=x:y;th:8,a=b,c=d"),
        ("a=b", "ot=th:8,a=b"),
    ],
)
def test_marking_a_tracestate(header: str, marked: str) -> None:
    """The threshold is set, the entry comes to the front, and all else stays."""
    assert ConsistentTraceSampler(0.5).mark(header) == marked
    assert ConsistentTraceSampler.read(marked).threshold == 2**55


def test_marking_downstream() -> None:
    """A later sampler raises thresholds and never lowers one."""
    sampler = ConsistentTraceSampler(0.5)
    for before, after in (("0", "8"), ("7", "8"), ("8", "8"), ("c", "c")):
        assert sampler.mark(f"ot=th:{before}", downstream=True) == f"ot=th:{after}"
    assert sampler.mark("ot=rv:00000000000001", downstream=True) == "ot=rv:00000000000001;th:8"


def test_bounds_of_a_tracestate() -> None:
    """An entry of more than 256 characters is refused; of more than 32 entries the last ones go."""
    sampler = ConsistentTraceSampler(0.5)
    assert len(sampler.mark("ot=x:" + "y" * 249)) == 3 + 256
    with pytest.raises(ValueError, match="257"):
        sampler.mark("ot=x:" + "y" * 250)
    many = [f"k{i}=v" for i in range(32)]
    assert sampler.mark(",".join(many)).split(",") == ["ot=th:8", *many[:31]]


@given(st.text(st.sampled_from("ot=th:;,rv 0cfx@\t"), max_size=40))
def test_any_header(header: str) -> None:
    """Whatever came in, reading does not fail, and a marked header reads back."""
    sampler = ConsistentTraceSampler(0.25)
    before = sampler.read(header)
    marked = sampler.mark(header)
    assert sampler.read(marked) == (sampler.threshold, before.randomness)
    assert sampler.mark(marked) == marked


def test_bytes() -> None:
    """A sampler is its threshold."""
    sampler = ConsistentTraceSampler(0.01)
    assert (
        ConsistentTraceSampler.from_bytes(sampler.to_bytes())
        == sampler
        == pickle.loads(pickle.dumps(sampler))
    )
    assert sampler != ConsistentTraceSampler(0.02)
    assert "ConsistentTraceSampler" in repr(sampler)
    header, payload = take_apart(sampler.to_bytes())
    for threshold in (-1, 2**56, 2**64, None, "c", 1.0, True):
        forged = {**header, "parameters": {"threshold": threshold}}
        with pytest.raises(CorruptDataError):
            ConsistentTraceSampler.from_bytes(put_together(forged, payload))
    with pytest.raises(CorruptDataError):
        ConsistentTraceSampler.from_bytes(put_together(header, b"x"))
