"""Every hash equals its reference library to the bit, for every length, seed and way to hand over keys."""

from __future__ import annotations

from typing import Any

import crc32c as crc32c_package
import mmh3
import numpy as np
import oracles
import pyarrow as pa
import pytest
import siphash24 as siphash_package
import xxhash
from helpers import SMALL, rng, split_lengths, splitmix_stream, vectors
from hypothesis import given
from hypothesis import strategies as st

from algos import catalog
from algos.hashing import crc32c, hash64, hash128

SEEDS = (0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, 2**127 + 2**63 + 5, 2**128 - 1)
BRANCHES = (
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    12,
    15,
    16,
    17,
    31,
    32,
    33,
    63,
    64,
    65,
    96,
    97,
    127,
    128,
    129,
    130,
    144,
)
LONG = (
    *(160, 191, 192, 193, 239, 240, 241, 255, 256, 257, 511, 512),
    *(1023, 1024, 1025, 1087, 1088, 1089, 2047, 2048, 2049, 4095, 4096, 4097, 10_000),
)
"""XXH3 changes its path at 16, 128, 240, and scrambles after every 1024 bytes."""

LENGTHS = (*BRANCHES, *LONG[:-1:3]) if SMALL else (*range(513), *LONG)


def sip(function: Any, data: bytes, seed: int) -> int:
    return int.from_bytes(function(data, key=seed.to_bytes(16, "little")).digest(), "little")


LIBRARY = {
    "xxh3": xxhash.xxh3_64_intdigest,
    "xxh64": xxhash.xxh64_intdigest,
    "murmur3_32": lambda data, seed: mmh3.hash(data, seed, signed=False),
    "murmur3_128": lambda data, seed: mmh3.hash64(data, seed, signed=False)[0],
    "murmur64a": oracles.murmur64a,
    "rapidhash": oracles.rapidhash,
    "siphash24": lambda data, seed: sip(siphash_package.siphash24, data, seed),
    "siphash13": lambda data, seed: sip(siphash_package.siphash13, data, seed),
    "crc32c": crc32c_package.crc32c,
}
"""The reference libraries. MurmurHash64A and rapidhash have none in Python: their twins stand on
``hash_lengths.json``, digests of the compiled C at every length of importance."""
TEXT = tuple(LIBRARY)
SEED_BITS = {"murmur3_32": 32, "murmur3_128": 32, "crc32c": 32, "siphash24": 128, "siphash13": 128}
LIBRARY_128 = {
    "xxh3": xxhash.xxh3_128_intdigest,
    "murmur3_128": lambda data, seed: mmh3.hash128(data, seed, signed=False),
}
WIDTHS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
EXTREMES = [
    0,
    1,
    2,
    255,
    256,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**63 - 1,
    2**63,
    2**63 + 1,
    2**64 - 2,
    2**64 - 1,
]


def seeds(algorithm: str) -> tuple[int, ...]:
    """Return the seeds an algorithm has."""
    return tuple(s for s in SEEDS if s < 2 ** SEED_BITS.get(algorithm, 64))


CASES = [pytest.param(name, seed, id=f"{name}-{seed:#x}") for name in TEXT for seed in seeds(name)]


def expected(algorithm: str, keys: list[bytes], seed: int) -> list[int]:
    """Hash every key with the reference library."""
    return [LIBRARY[algorithm](key, seed) for key in keys]


@pytest.mark.parametrize(
    "row", vectors("hashes"), ids=lambda r: f"{r['algorithm']}-{r['input_hex'][:16]}-{r['seed']}"
)
def test_golden_vector(row: dict[str, str]) -> None:
    """The published value of each algorithm comes out of ``hash64`` and of its twin."""
    data, seed, digest = bytes.fromhex(row["input_hex"]), row["seed"], int(row["digest_hex"], 16)
    assert hash64(data, row["algorithm"], seed=seed) == digest
    assert oracles.HASHES[row["algorithm"]](data, seed) == digest


@pytest.mark.parametrize("row", vectors("hash_lengths"), ids=lambda r: f"{r['algorithm']}-{r['seed']:#x}")
def test_digests_of_the_compiled_reference(row: dict[str, Any]) -> None:
    """The first n bytes of the SplitMix64 stream hash as in C, and so does the twin, on every branch."""
    stream = splitmix_stream(512).tobytes()
    keys = [stream[: int(n)] for n in row["digests_hex"]]
    want = [int(digest, 16) for digest in row["digests_hex"].values()]
    assert hash64(keys, row["algorithm"], seed=row["seed"]).tolist() == want
    assert [oracles.HASHES[row["algorithm"]](key, row["seed"]) for key in keys] == want


def test_splitmix64_stream() -> None:
    """Hashing 0, gamma, 2 gamma, ... gives the published stream of the generator."""
    golden = [int(x, 16) for x in vectors("splitmix64")["stream_hex"]]
    states = np.arange(len(golden), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert hash64(states, "splitmix64").tolist() == golden


@pytest.mark.parametrize(("algorithm", "seed"), CASES)
def test_twin_equals_library(algorithm: str, seed: int) -> None:
    """The naive twin that other tests lean on equals the reference library at every length."""
    keys = split_lengths(LENGTHS[::7] if not SMALL else LENGTHS, seed % 1000)
    assert [oracles.HASHES[algorithm](k, seed) for k in keys] == expected(algorithm, keys, seed)


@pytest.mark.parametrize(("algorithm", "seed"), CASES)
def test_binary_of_every_length(algorithm: str, seed: int) -> None:
    """Arrow binary arrays, lists and single values of any length hash as the library does."""
    keys = split_lengths(LENGTHS, 1)
    want = expected(algorithm, keys, seed)
    assert hash64(pa.array(keys, pa.binary()), algorithm, seed=seed).tolist() == want
    assert hash64(pa.array(keys, pa.large_binary()), algorithm, seed=seed).tolist() == want
    assert hash64(keys, algorithm, seed=seed).tolist() == want
    assert [hash64(k, algorithm, seed=seed) for k in keys[::17]] == want[::17]


@pytest.mark.parametrize(("algorithm", "seed"), CASES[::3])
def test_texts_of_mixed_lengths(algorithm: str, seed: int) -> None:
    """Short beside long, empty ones, from anywhere in a column, at both ends of its data."""
    for most in (3, 9, 40, 600):
        lengths = rng(4, most).integers(0, most, 60 if SMALL else 400)
        keys = split_lengths([int(n) for n in lengths], 5)
        column, want = pa.array(keys, pa.binary()), expected(algorithm, keys, seed)
        for lo, hi in (
            (0, len(keys)),
            (0, 8),
            (1, 10),
            (7, 40),
            (13, len(keys) - 3),
            (len(keys) - 9, len(keys)),
        ):
            assert hash64(column[lo:hi], algorithm, seed=seed).tolist() == want[lo:hi]


@pytest.mark.parametrize("algorithm", TEXT)
def test_single_value_of_every_length(algorithm: str) -> None:
    """A single ``bytes`` of any length hashes as the library does, and gives a Python int."""
    keys = split_lengths(LENGTHS, 2)
    got = [hash64(k, algorithm) for k in keys]
    assert got == expected(algorithm, keys, 0)
    assert {type(h) for h in got} == {int}


@pytest.mark.parametrize(("algorithm", "seed"), CASES)
def test_text_of_every_length(algorithm: str, seed: int) -> None:
    """Strings hash as their UTF-8 bytes, also where characters take two, three or four of them."""
    alphabet = "aZ09 \x00éß漢字🙂"
    keys = [
        "".join(alphabet[i] for i in rng(3, n).integers(0, len(alphabet), n)) for n in LENGTHS if n <= 512
    ]
    want = expected(algorithm, [k.encode() for k in keys], seed)
    assert hash64(pa.array(keys), algorithm, seed=seed).tolist() == want
    assert hash64(keys, algorithm, seed=seed).tolist() == want
    assert [hash64(k, algorithm, seed=seed) for k in keys[::17]] == want[::17]


@pytest.mark.parametrize("offset", [0, 1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("algorithm", TEXT)
def test_unaligned_start(algorithm: str, offset: int) -> None:
    """A value's position in the data buffer does not matter, and neither do its neighbours."""
    keys = [b"\xff" * offset, *split_lengths(BRANCHES, 4), b"\xff" * 64]
    assert hash64(pa.array(keys, pa.binary()), algorithm).tolist() == expected(algorithm, keys, 0)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("algorithm", [*TEXT, "splitmix64"])
def test_integers_of_every_width(algorithm: str, width: str) -> None:
    """An integer hashes as its 8 little-endian bytes in two's complement, whatever its width."""
    info = np.iinfo(width)
    edges = [
        v for v in (*EXTREMES, -1, -2, -128, -(2**31), -(2**63), -(2**63) + 1) if info.min <= v <= info.max
    ]
    drawn = rng(5).integers(info.min, info.max, 200, dtype=width, endpoint=True)
    array = np.concatenate([np.array(edges, width), drawn])
    want = integers_hashed(algorithm, array.tolist(), 0)
    assert hash64(array, algorithm).tolist() == want
    assert hash64(pa.array(array), algorithm).tolist() == want
    assert hash64(array.tolist(), algorithm).tolist() == want
    assert [hash64(v, algorithm) for v in array[:20].tolist()] == want[:20]
    assert [hash64(v, algorithm) for v in array[:20]] == want[:20]


def integers_hashed(algorithm: str, values: list[int], seed: int) -> list[int]:
    """Hash integers by the reference library, or by the twin where there is none."""
    if algorithm == "splitmix64":
        return [oracles.splitmix64((v + seed) % 2**64) for v in values]
    return expected(algorithm, [oracles.key_bytes(v) for v in values], seed)


@pytest.mark.parametrize(
    ("algorithm", "seed"),
    [pytest.param(a, s, id=f"{a}-{s:#x}") for a in (*TEXT, "splitmix64") for s in seeds(a)],
)
def test_integers_under_every_seed(algorithm: str, seed: int) -> None:
    """Seeds at the edges of 32 and 64 bits meet keys at the edges of 63 and 64 bits."""
    array = np.array(EXTREMES, np.uint64)
    want = integers_hashed(algorithm, EXTREMES, seed)
    assert hash64(array, algorithm, seed=seed).tolist() == want
    assert hash64(EXTREMES, algorithm, seed=seed).tolist() == want
    assert [hash64(v, algorithm, seed=seed) for v in EXTREMES] == want


@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(0, 2**128 - 1))
def test_random_bytes(keys: list[bytes], seed: int) -> None:
    """Any bytes under any seed hash as the libraries do."""
    for algorithm in TEXT:
        s = seed % 2 ** SEED_BITS.get(algorithm, 64)
        assert hash64(pa.array(keys, pa.binary()), algorithm, seed=s).tolist() == expected(algorithm, keys, s)


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 15, 16, 17, 127, 128, 129, 255, 256, 257])
@pytest.mark.parametrize("algorithm", [*TEXT, "splitmix64"])
def test_batch_of_any_size(algorithm: str, n: int) -> None:
    """No batch size, whole vectors or not, changes a hash; an empty batch gives an empty array."""
    keys = rng(6).integers(0, 2**64, n, dtype=np.uint64)
    got = hash64(keys, algorithm, seed=9)
    assert got.dtype == np.uint64
    assert got.shape == (n,)
    assert got.tolist() == integers_hashed(algorithm, keys.tolist(), 9)


@pytest.mark.parametrize(
    ("least", "most"), [(0, 20), (4, 8), (0, 140), (6, 18), (15, 45), (30, 300), (127, 130)]
)
@pytest.mark.parametrize("n", [511, 512, 513, 719, 720, 721] + ([] if SMALL else [9599, 9600, 9601, 20_000]))
def test_batch_of_texts_of_many_lengths(n: int, least: int, most: int) -> None:
    """Sorted by length or not, wherever a block or a part of the batch ends, texts hash as they do alone."""
    stream = rng(8, n, most)
    keys = [stream.bytes(int(k)) for k in stream.integers(least, most + 1, n)]
    alike = n // 3
    keys[alike : 2 * alike] = [key[:1] * most for key in keys[alike : 2 * alike]]
    want = expected("xxh3", keys, 7)
    assert hash64(pa.array(keys, pa.binary()), seed=7).tolist() == want
    assert hash64(pa.array(keys, pa.large_binary())[1:], seed=7).tolist() == want[1:]


WIDE = [pytest.param(name, seed, id=f"{name}-{seed:#x}") for name in LIBRARY_128 for seed in seeds(name)]


@pytest.mark.parametrize(("algorithm", "seed"), WIDE)
def test_128_bits(algorithm: str, seed: int) -> None:
    """``hash128`` gives both halves of every key, low half first, and one int for a single key."""
    keys = split_lengths(LENGTHS, 7)
    want = [LIBRARY_128[algorithm](key, seed) for key in keys]
    got = hash128(pa.array(keys, pa.binary()), algorithm, seed=seed)
    assert (got.dtype, got.shape) == (np.uint64, (len(keys), 2))
    assert [low | high << 64 for low, high in got.tolist()] == want
    assert [hash128(key, algorithm, seed=seed) for key in keys[::17]] == want[::17]
    words = np.array(EXTREMES, np.uint64)
    want = [LIBRARY_128[algorithm](oracles.key_bytes(word), seed) for word in EXTREMES]
    assert [low | high << 64 for low, high in hash128(words, algorithm, seed=seed).tolist()] == want


def test_128_bits_of_a_dictionary_and_of_nothing() -> None:
    """A dictionary hashes its values once, whatever width they hash to."""
    keys = pa.array(["b", "a", "b", "c"] * 5).dictionary_encode()
    assert hash128(keys).tolist() == hash128(keys.to_pylist()).tolist()
    assert hash128([]).shape == (0, 2)
    with pytest.raises(ValueError, match=r"rapidhash.* is not one of xxh3, murmur3_128"):
        hash128([1], "rapidhash")


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 12_287, 12_288, 12_289, 24_576, 40_000])
def test_crc32c_of_a_buffer(n: int) -> None:
    """Any buffer, whole or piece by piece, has the checksum the package gives it."""
    data = rng(8, n).integers(0, 256, n, dtype=np.uint8)
    whole = crc32c_package.crc32c(data.tobytes())
    assert crc32c(data) == crc32c(data.tobytes()) == crc32c(memoryview(data)) == whole
    for cut in (0, 1, n // 3, n):
        assert crc32c(data[cut:], crc32c(data[:cut])) == whole
    assert crc32c(data[: n // 8 * 8].view(np.uint64)) == crc32c(data[: n // 8 * 8])


@pytest.mark.parametrize(
    ("data", "value", "error", "said"),
    [
        ("text", 0, TypeError, "str"),
        (b"", -1, ValueError, "seed=-1"),
        (b"", 2**32, ValueError, str(2**32)),
        (np.zeros((4, 4), np.uint8)[:, 1], 0, ValueError, "not contiguous"),
    ],
)
def test_crc32c_refuses_what_is_no_buffer_or_no_checksum(
    data: Any, value: int, error: type, said: str
) -> None:
    with pytest.raises(error, match=said):
        crc32c(data, value)


def test_default_is_xxh3_with_seed_0() -> None:
    """Without an algorithm named it is XXH3, and the seed is 0."""
    assert hash64("abc") == xxhash.xxh3_64_intdigest(b"abc")


def test_every_catalogued_hash_is_tested() -> None:
    """The names this file tests are the names the catalogue lists."""
    assert {v.name for v in catalog.variants("hashing")} == {*TEXT, "splitmix64"}


@pytest.mark.parametrize("algorithm", [*TEXT, "splitmix64"])
def test_seed_out_of_range(algorithm: str) -> None:
    """A seed wider than the algorithm's own is refused, not cut, and the message says which it was."""
    for seed in (-1, 2 ** SEED_BITS.get(algorithm, 64), 2**200):
        with pytest.raises(ValueError, match=str(seed)):
            hash64([1], algorithm, seed=seed)


@pytest.mark.parametrize("seed", [None, 1.0, "1", True])
def test_seed_of_wrong_type(seed: object) -> None:
    """A seed that is no integer is a TypeError."""
    with pytest.raises(TypeError, match="seed"):
        hash64([1], seed=seed)


@pytest.mark.parametrize("seed", [np.uint64(2**64 - 1), np.int8(7), np.uint32(5)])
def test_seed_may_be_a_numpy_integer(seed: np.integer) -> None:
    """A NumPy integer is as good a seed as an int."""
    assert hash64(b"abc", seed=seed) == xxhash.xxh3_64_intdigest(b"abc", int(seed))


@pytest.mark.parametrize("name", ["md5", "XXH3", "", None])
def test_unknown_algorithm(name: object) -> None:
    """An unknown algorithm is a ValueError that names those there are."""
    with pytest.raises(ValueError, match="xxh64"):
        hash64([1], name)


@pytest.mark.parametrize("keys", ["text", b"bytes", ["text"], [b"bytes"], pa.array(["text"])])
def test_splitmix64_takes_integers_only(keys: object) -> None:
    """SplitMix64 is a bijection of words: text is a TypeError."""
    with pytest.raises(TypeError, match="splitmix64"):
        hash64(keys, "splitmix64")


@pytest.mark.parametrize("keys", [[1, None], [None, "a"], pa.array([1, None, 3]), pa.array(["a", None])])
def test_null_has_no_hash(keys: object) -> None:
    """A null cannot be hashed: the error says where it stands."""
    with pytest.raises(ValueError, match="null"):
        hash64(keys)


def test_result_is_writable_and_its_own() -> None:
    """The hashes are a fresh array: changing them changes neither the keys nor a second answer."""
    keys = np.arange(4, dtype=np.uint64)
    first = hash64(keys)
    first[:] = 0
    assert keys.tolist() == [0, 1, 2, 3]
    assert hash64(keys).any()
