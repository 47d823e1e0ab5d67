"""Naive twins: every algorithm again, in plain Python integers, as its paper or standard words it.

Nothing here is fast and nothing here imports ``algos``: a twin that shared code with its original
would share its mistakes. The twins of hashes are checked against the reference libraries first.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

M32 = (1 << 32) - 1
M64 = (1 << 64) - 1
M128 = (1 << 128) - 1


def rotl32(x: int, r: int) -> int:
    """Rotate a 32-bit word left."""
    return ((x << r) | (x >> (32 - r))) & M32


def rotl64(x: int, r: int) -> int:
    """Rotate a 64-bit word left."""
    return ((x << r) | (x >> (64 - r))) & M64


def u32(data: bytes, at: int = 0) -> int:
    """Read four bytes, little-endian."""
    return int.from_bytes(data[at : at + 4], "little")


def u64(data: bytes, at: int = 0) -> int:
    """Read eight bytes, little-endian."""
    return int.from_bytes(data[at : at + 8], "little")


# ---------------------------------------------------------------------------------------------------
# Keys: the written policy of the library


def key_bytes(key: Any) -> bytes:
    """Return the bytes that stand for a key: the one policy of the library, in words of one line each."""
    if isinstance(key, bytes):
        return bytes(key)
    if isinstance(key, str):
        return str(key).encode("utf-8")
    if isinstance(key, (float, np.floating)):
        value = float(key)
        if math.isnan(value):
            return struct.pack("<Q", 0x7FF8 << 48)
        return struct.pack("<d", value + 0.0)  # -0.0 + 0.0 is 0.0
    return (int(key) & M64).to_bytes(8, "little")


# ---------------------------------------------------------------------------------------------------
# MurmurHash3 (Appleby 2011, smhasher/src/MurmurHash3.cpp) and the two integer finalisers


def fmix64(x: int) -> int:
    """MurmurHash3's 64-bit finaliser."""
    x = ((x ^ (x >> 33)) * 0xFF51AFD7ED558CCD) & M64
    x = ((x ^ (x >> 33)) * 0xC4CEB9FE1A85EC53) & M64
    return x ^ (x >> 33)


def splitmix64(state: int) -> int:
    """Return the output of SplitMix64 whose state was ``state`` before its step (Steele et al. 2014)."""
    x = (state + 0x9E3779B97F4A7C15) & M64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & M64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & M64
    return x ^ (x >> 31)


def murmur3_32(data: bytes, seed: int = 0) -> int:
    """MurmurHash3_x86_32."""
    h = seed
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = (rotl32((u32(data, at) * 0xCC9E2D51) & M32, 15) * 0x1B873593) & M32
        h = (rotl32(h ^ k, 13) * 5 + 0xE6546B64) & M32
    h ^= (rotl32((u32(data, whole) * 0xCC9E2D51) & M32, 15) * 0x1B873593) & M32
    h ^= len(data)
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & M32
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & M32
    return h ^ (h >> 16)


def murmur3_x64_128(data: bytes, seed: int = 0) -> tuple[int, int]:
    """MurmurHash3_x64_128 as its two halves ``(h1, h2)``."""
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    h1 = h2 = seed
    whole = len(data) & ~15
    for at in range(0, whole, 16):
        h1 ^= (rotl64((u64(data, at) * c1) & M64, 31) * c2) & M64
        h1 = ((rotl64(h1, 27) + h2) * 5 + 0x52DCE729) & M64
        h2 ^= (rotl64((u64(data, at + 8) * c2) & M64, 33) * c1) & M64
        h2 = ((rotl64(h2, 31) + h1) * 5 + 0x38495AB5) & M64
    h2 ^= (rotl64((u64(data, whole + 8) * c2) & M64, 33) * c1) & M64
    h1 ^= (rotl64((u64(data, whole) * c1) & M64, 31) * c2) & M64
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & M64
    h2 = (h2 + h1) & M64
    h1, h2 = fmix64(h1), fmix64(h2)
    h1 = (h1 + h2) & M64
    return h1, (h2 + h1) & M64


# ---------------------------------------------------------------------------------------------------
# XXH64 and XXH3-64 (xxHash specification 0.2.0, doc/xxhash_spec.md)

P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
PRIME_MX1, PRIME_MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25
XXH3_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)


def _xxh64_round(acc: int, lane: int) -> int:
    return (rotl64((acc + lane * P64_2) & M64, 31) * P64_1) & M64


def _xxh64_avalanche(h: int) -> int:
    h = ((h ^ (h >> 33)) * P64_2) & M64
    h = ((h ^ (h >> 29)) * P64_3) & M64
    return h ^ (h >> 32)


def xxh64(data: bytes, seed: int = 0) -> int:
    """XXH64."""
    at, n = 0, len(data)
    if n >= 32:
        acc = [(seed + P64_1 + P64_2) & M64, (seed + P64_2) & M64, seed, (seed - P64_1) & M64]
        while at + 32 <= n:
            acc = [_xxh64_round(a, u64(data, at + 8 * i)) for i, a in enumerate(acc)]
            at += 32
        h = sum(rotl64(a, r) for a, r in zip(acc, (1, 7, 12, 18), strict=True)) & M64
        for a in acc:
            h = ((h ^ _xxh64_round(0, a)) * P64_1 + P64_4) & M64
    else:
        h = (seed + P64_5) & M64
    h = (h + n) & M64
    while at + 8 <= n:
        h = (rotl64(h ^ _xxh64_round(0, u64(data, at)), 27) * P64_1 + P64_4) & M64
        at += 8
    if at + 4 <= n:
        h = (rotl64(h ^ ((u32(data, at) * P64_1) & M64), 23) * P64_2 + P64_3) & M64
        at += 4
    for byte in data[at:]:
        h = (rotl64(h ^ ((byte * P64_5) & M64), 11) * P64_1) & M64
    return _xxh64_avalanche(h)


def _fold(a: int, b: int) -> int:
    product = a * b
    return (product & M64) ^ (product >> 64)


def _xxh3_avalanche(h: int) -> int:
    h = ((h ^ (h >> 37)) * PRIME_MX1) & M64
    return h ^ (h >> 32)


def _xxh3_mix(data: bytes, at: int, secret_at: int, seed: int) -> int:
    low = u64(XXH3_SECRET, secret_at) + seed
    high = u64(XXH3_SECRET, secret_at + 8) - seed
    return _fold(u64(data, at) ^ (low & M64), u64(data, at + 8) ^ (high & M64))


def _xxh3_0_to_16(data: bytes, seed: int) -> int:
    n, s = len(data), XXH3_SECRET
    if n == 0:
        return _xxh64_avalanche(seed ^ u64(s, 56) ^ u64(s, 64))
    if n <= 3:
        combined = (data[0] << 16) | (data[n >> 1] << 24) | data[n - 1] | (n << 8)
        return _xxh64_avalanche(combined ^ (((u32(s) ^ u32(s, 4)) + seed) & M64))
    if n <= 8:
        seed ^= int.from_bytes((seed & M32).to_bytes(4, "little"), "big") << 32
        combined = u32(data, n - 4) + (u32(data) << 32)
        h = combined ^ (((u64(s, 8) ^ u64(s, 16)) - seed) & M64)
        h = ((h ^ rotl64(h, 49) ^ rotl64(h, 24)) * PRIME_MX2) & M64
        h = ((h ^ ((h >> 35) + n)) * PRIME_MX2) & M64
        return h ^ (h >> 28)
    low = u64(data) ^ (((u64(s, 24) ^ u64(s, 32)) + seed) & M64)
    high = u64(data, n - 8) ^ (((u64(s, 40) ^ u64(s, 48)) - seed) & M64)
    swapped = int.from_bytes(low.to_bytes(8, "little"), "big")
    return _xxh3_avalanche((n + swapped + high + _fold(low, high)) & M64)


def _xxh3_17_to_240(data: bytes, seed: int) -> int:
    n = len(data)
    acc = (n * P64_1) & M64
    if n <= 128:
        for i in range((n - 1) // 32, -1, -1):
            acc += _xxh3_mix(data, 16 * i, 32 * i, seed) + _xxh3_mix(
                data, n - 16 * (i + 1), 32 * i + 16, seed
            )
        return _xxh3_avalanche(acc & M64)
    for i in range(8):
        acc += _xxh3_mix(data, 16 * i, 16 * i, seed)
    acc = _xxh3_avalanche(acc & M64)
    for i in range(8, n // 16):
        acc += _xxh3_mix(data, 16 * i, 16 * (i - 8) + 3, seed)
    return _xxh3_avalanche((acc + _xxh3_mix(data, n - 16, 136 - 17, seed)) & M64)


def _xxh3_accumulate(acc: list[int], stripe: bytes, secret: bytes) -> None:
    for i in range(8):
        value = u64(stripe, 8 * i)
        key = value ^ u64(secret, 8 * i)
        acc[i ^ 1] = (acc[i ^ 1] + value) & M64
        acc[i] = (acc[i] + (key & M32) * (key >> 32)) & M64


def _xxh3_long(data: bytes, seed: int) -> int:
    secret = b"".join(
        struct.pack("<QQ", (u64(XXH3_SECRET, i) + seed) & M64, (u64(XXH3_SECRET, i + 8) - seed) & M64)
        for i in range(0, 192, 16)
    )
    acc = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    n = len(data)
    stripes = (n - 1) // 64
    for i in range(stripes):
        _xxh3_accumulate(acc, data[64 * i :], secret[8 * (i % 16) :])
        if i % 16 == 15:
            for lane in range(8):
                mixed = acc[lane] ^ (acc[lane] >> 47) ^ u64(secret, 128 + 8 * lane)
                acc[lane] = (mixed * P32_1) & M64
    _xxh3_accumulate(acc, data[n - 64 :], secret[192 - 64 - 7 :])
    h = (n * P64_1) & M64
    for i in range(4):
        keys = u64(secret, 11 + 16 * i), u64(secret, 19 + 16 * i)
        h += _fold(acc[2 * i] ^ keys[0], acc[2 * i + 1] ^ keys[1])
    return _xxh3_avalanche(h & M64)


def xxh3_64(data: bytes, seed: int = 0) -> int:
    """XXH3, 64 bits, default secret, any seed."""
    if len(data) <= 16:
        return _xxh3_0_to_16(data, seed)
    if len(data) <= 240:
        return _xxh3_17_to_240(data, seed)
    return _xxh3_long(data, seed)


# ---------------------------------------------------------------------------------------------------
# MurmurHash64A (Appleby 2008, smhasher/src/MurmurHash2.cpp), rapidhash V3 (De Carli 2025, rapidhash.h),
# SipHash (Aumasson, Bernstein 2012), CRC-32C (RFC 3720)


def murmur64a(data: bytes, seed: int = 0) -> int:
    """MurmurHash64A."""
    m = 0xC6A4A7935BD1E995
    h = seed ^ ((len(data) * m) & M64)
    whole = len(data) & ~7
    for at in range(0, whole, 8):
        k = (u64(data, at) * m) & M64
        k = ((k ^ (k >> 47)) * m) & M64
        h = ((h ^ k) * m) & M64
    if len(data) > whole:
        h = ((h ^ u64(data, whole)) * m) & M64
    h = ((h ^ (h >> 47)) * m) & M64
    return h ^ (h >> 47)


RAPID_SECRET = (
    *(0x2D358DCCAA6C78A5, 0x8BB84B93962EACC9, 0x4B33A62ED433D4A3, 0x4D5A2DA51DE1AA47),
    *(0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x90ED1765281C388C, 0xAAAAAAAAAAAAAAAA),
)


def rapidhash(data: bytes, seed: int = 0) -> int:
    """rapidhash, version 3."""
    s, n = RAPID_SECRET, len(data)
    seed ^= _fold(seed ^ s[2], s[1])
    a = b = 0
    if n >= 17:
        left, at = n, 0
        if left > 112:
            lanes = [seed] * 7
            while left > 112:
                lanes = [
                    _fold(u64(data, at + 16 * i) ^ s[i], u64(data, at + 16 * i + 8) ^ lane)
                    for i, lane in enumerate(lanes)
                ]
                left, at = left - 112, at + 112
            seed = 0
            for lane in lanes:
                seed ^= lane
        for i, secret in enumerate((2, 2, 1, 1, 2, 1)):
            if left > 16 * (i + 1):
                seed = _fold(u64(data, at + 16 * i) ^ s[secret], u64(data, at + 16 * i + 8) ^ seed)
        a, b, n = u64(data, len(data) - 16) ^ left, u64(data, len(data) - 8), left
    elif n >= 8:
        a, b, seed = u64(data), u64(data, n - 8), seed ^ n
    elif n >= 4:
        a, b, seed = u32(data), u32(data, n - 4), seed ^ n
    elif n:
        a, b = (data[0] << 45) | data[n - 1], data[n >> 1]
    product = (a ^ s[1]) * (b ^ seed)
    return _fold((product & M64) ^ s[7], (product >> 64) ^ s[1] ^ n)


def siphash(data: bytes, key: int, rounds: int, last: int) -> int:
    """SipHash with ``rounds`` a word and ``last`` at the end."""
    k0, k1 = key & M64, key >> 64
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def turn(times: int) -> None:
        for _ in range(times):
            for a, b, c, d, r in ((0, 1, 2, 3, (13, 16)), (2, 1, 0, 3, (17, 21))):
                v[a], v[c] = (v[a] + v[b]) & M64, (v[c] + v[d]) & M64
                v[b], v[d] = rotl64(v[b], r[0]) ^ v[a], rotl64(v[d], r[1]) ^ v[c]
                v[a] = rotl64(v[a], 32)

    whole = len(data) & ~7
    words = [u64(data, at) for at in range(0, whole, 8)]
    for word in (*words, u64(data[whole:]) | (len(data) & 0xFF) << 56):
        v[3] ^= word
        turn(rounds)
        v[0] ^= word
    v[2] ^= 0xFF
    turn(last)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def crc32c(data: bytes, before: int = 0) -> int:
    """CRC-32C, bit by bit."""
    crc = before ^ M32
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ M32


HASHES = {
    "xxh3": xxh3_64,
    "xxh64": xxh64,
    "murmur3_32": murmur3_32,
    "murmur3_128": lambda data, seed=0: murmur3_x64_128(data, seed)[0],
    "murmur64a": murmur64a,
    "rapidhash": rapidhash,
    "siphash24": lambda data, seed=0: siphash(data, seed, 2, 4),
    "siphash13": lambda data, seed=0: siphash(data, seed, 1, 3),
    "crc32c": crc32c,
}


# ---------------------------------------------------------------------------------------------------
# Filters: naive twins of whole structures over ready hashes

SPLIT_BLOCK_SALTS = (
    *(0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D),
    *(0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31),
)
"""Parquet format, BloomFilter.md."""


def split_block_words(hashes: Iterable[int], blocks: int) -> list[list[int]]:
    """Insert hashes into a split block Bloom filter as the Parquet format words it."""
    words = [[0] * 8 for _ in range(blocks)]
    for h in hashes:
        block = words[((h >> 32) * blocks) >> 32]
        for lane, salt in enumerate(SPLIT_BLOCK_SALTS):
            block[lane] |= 1 << ((((h & M32) * salt) & M32) >> 27)
    return words


def split_block_bytes(hashes: Iterable[int], blocks: int) -> bytes:
    """Return the bitset of a split block Bloom filter: little-endian words, block after block."""
    return b"".join(struct.pack("<8I", *block) for block in split_block_words(hashes, blocks))


def fuse_layout(n: int) -> dict[str, int]:
    """Return the sizes of a 3-wise binary fuse filter of ``n`` distinct keys (xor_singleheader, 2026)."""
    length = 4 if n == 0 else min(1 << math.floor(math.log(n) / math.log(3.33) + 2.25), 262144)
    factor = 0.0 if n <= 1 else max(1.125, 0.875 + 0.25 * math.log(1e6) / math.log(n))
    capacity = math.floor(n * factor + 0.5)
    while length > 256 and -(-capacity // (length // 2)) - 2 <= 64:
        length //= 2
    count = max(1, -(-capacity // length) - 2)
    return {"segment_length": length, "segment_count": count, "array_length": (count + 2) * length}


def fuse_slots(key: int, seed: int, layout: dict[str, int]) -> tuple[int, int, int, int]:
    """Return a key's three slots in a binary fuse filter, and its hash."""
    h = fmix64((key + seed) & M64)
    length, mask = layout["segment_length"], layout["segment_length"] - 1
    first = (h * layout["segment_count"] * length) >> 64
    return first, (first + length) ^ ((h >> 18) & mask), (first + 2 * length) ^ (h & mask), h


def fuse_holds(key: int, seed: int, layout: dict[str, int], fingerprints: Sequence[int], bits: int) -> bool:
    """Probe a binary fuse filter as its paper words it."""
    a, b, c, h = fuse_slots(key, seed, layout)
    mask = (1 << bits) - 1
    return int(fingerprints[a]) ^ int(fingerprints[b]) ^ int(fingerprints[c]) == (h ^ (h >> 32)) & mask


# ---------------------------------------------------------------------------------------------------
# Laws and bounds

CONFIDENCE = 1 - 1e-6
"""Of every statistical statement in these tests, two-sided: one wrong alarm in a million seeds."""


def bloom_positions(h: int, bits: int, count: int) -> list[int]:
    """Return a key's bits by the documented rule: enhanced double hashing on a circle of 2^64, scaled."""
    point, step, positions = h, rotl64(h, 32) | 1, []
    for i in range(count):
        positions.append((point * bits) >> 64)
        point = (point + step) & M64
        step = (step + i * 0x9E3779B97F4A7C15) & M64
    return positions


def bloom_fpr(bits: int, hashes: int, keys: int) -> float:
    """Bloom 1970: ``(1 - e^(-kn/m))^k``."""
    return (-math.expm1(-hashes * keys / bits)) ** hashes


def split_block_fpr(blocks: int, keys: int) -> float:
    """Sum over the Poisson load of a block: ``sum_i Pois(i; n/B) (1 - (31/32)^i)^8``."""
    load = keys / blocks
    terms = np.arange(int(load + 40 * math.sqrt(load) + 40))
    hit = (1 - (31 / 32) ** terms) ** 8
    return float((stats.poisson.pmf(terms, load) * hit).sum())


def split_block_mean(blocks: int, keys: int) -> float:
    """Return the exact mean of the rate: the same sum over the binomial load of a block."""
    terms = np.arange(keys + 1)
    return float((stats.binom.pmf(terms, keys, 1 / blocks) * (1 - (31 / 32) ** terms) ** 8).sum())


def cuckoo_fpr(fingerprint_bits: int, load: float) -> float:
    """Fan et al. 2014: ``1 - (1 - q)^(2b)`` over the occupied of two buckets of ``b = 4`` slots.

    ``q`` is the chance that two fingerprints are equal: the sum of squares, 0 having become 1.
    """
    q = (2**fingerprint_bits - 2) / 4**fingerprint_bits + (2 / 2**fingerprint_bits) ** 2
    return 1 - (1 - q) ** (8 * load)


def binomial_bounds(p: float, n: int, confidence: float = CONFIDENCE) -> tuple[int, int]:
    """Return the counts between which Binomial(n, p) lies with the stated confidence (exact quantiles)."""
    low, high = stats.binom.interval(confidence, n, p)
    return int(low), int(high)


def student(sample: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Student's interval for the mean behind independent runs, one figure per seed."""
    mean, error = float(np.mean(sample)), float(stats.sem(sample))
    reach = float(stats.t.ppf((1 + confidence) / 2, len(sample) - 1)) * error
    return mean - reach, mean + reach


def chi_square_p(counts: Sequence[int]) -> float:
    """Return how likely counts as uneven as these, or more, are of equally likely things."""
    return float(stats.chisquare(counts).pvalue)


def in_base(value: int, width: int, alphabet: str) -> str:
    """Write a number in so many digits, digit by digit."""
    digits = []
    for _ in range(width):
        value, digit = divmod(value, len(alphabet))
        digits.append(alphabet[digit])
    assert value == 0
    return "".join(reversed(digits))
