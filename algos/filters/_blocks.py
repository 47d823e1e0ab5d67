"""Blocks of eight lanes: what the split-block filters share, whether a lane is 32 or 64 bits wide.

A key has one bit in each lane of one block. The width is the dtype of the words, so the kernels are written
once: uint32 gives Parquet's 256-bit blocks, uint64 the 512-bit ones of a whole cache line.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from algos._bits import M32, U1, U3, U32_, U63, U64, item_pointer, popcount, prefetch, prefetch_near, spread
from algos._jit import inlined, kernel, primitive, target_has
from algos.filters._bit_filter import BitFilter, invert, loads
from algos.filters._checks import check_count
from algos.filters._pipeline import overlap
from algos.hashing.keys import Words
from algos.hashing.splitmix64 import GAMMA
from algos.hashing.xxh3 import XXH3, xxh3_key, xxh3_word

SALT = np.array(
    [0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31],
    np.uint32,
)
SHIFTS = [16, 22, 28, 34, 40, 46, 52, 58]
"""Where in a key the six bits of each 64-bit lane are."""
MAX_BLOCKS = 1 << 32
MAX_BITS_PER_KEY = 2048.0
BATCH = 96
"""Keys per step: their blocks and those being probed fit L1 and L2 together; 64..192 measure alike."""
NEAR_BYTES = 512 << 10
"""Up to half of a usual L2, blocks are fetched into L1."""
PLAIN_BYTES = 256 << 10 if target_has("sse4.2") and not target_has("avx2") else 0
"""Up to this size keys are looked up one after the other: with vectors of 16 bytes that is faster, and with
wider ones, or in any larger filter, slower (x86-64-v4, v3 and Nehalem's set, measured on Zen 4)."""
KEYS_AHEAD = 16 * BATCH
"""How far ahead the keys themselves are fetched: read in bursts, they would else come a third slower."""

_I32, _V8 = ir.IntType(32), ir.VectorType(ir.IntType(32), 8)


def _wide_mask(builder: Any, key: Any) -> Any:
    """Emit a key's bits in lanes of 64 bits: each by six bits of its own; rotations count modulo 64."""
    lanes = ir.VectorType(ir.IntType(64), 8)
    count = builder.lshr(spread(builder, key, 8), ir.Constant(lanes, SHIFTS))
    ones = ir.Constant(lanes, [1] * 8)
    rotation = ir.FunctionType(lanes, [lanes] * 3)
    rotate = cgutils.get_or_insert_function(builder.module, rotation, "llvm.fshl.v8i64")
    return builder.call(rotate, [ones, ones, count])


def _mask(builder: Any, key: Any, lane: int) -> Any:
    """Emit a key's bits in the eight lanes: of 32 bits, each by the top bits of its product with a salt."""
    if lane == 64:
        return _wide_mask(builder, key)
    key = spread(builder, builder.trunc(key, _I32), 8)
    product = builder.mul(key, ir.Constant(_V8, [int(s) for s in SALT]))
    bit = builder.lshr(product, ir.Constant(_V8, [27] * 8))
    return builder.shl(ir.Constant(_V8, [1] * 8), bit)


def _block(context: Any, builder: Any, signature: Any, args: Any) -> tuple[Any, Any, int]:
    """Emit the address of a block and its load; the state is aligned to 64 bytes."""
    lane = signature.args[0].dtype.bitwidth
    pointer = item_pointer(context, builder, signature.args[0], args[0], args[1], 8)
    pointer = builder.bitcast(pointer, ir.VectorType(ir.IntType(lane), 8).as_pointer())
    block = builder.load(pointer)
    block.align = lane
    return pointer, block, lane


def _mask_twin(words: Any, key: Any) -> Any:
    if words.itemsize == 8:
        return U1 << (key >> np.array(SHIFTS, np.uint64) & U63)
    return np.uint32(1) << ((np.uint32(key & M32) * SALT) >> np.uint32(27))


def _lane_key_twin(words: Any, h: Any) -> Any:
    return h * GAMMA if words.itemsize == 8 else h


@primitive(_lane_key_twin)
def lane_key(typingctx: Any, words: Any, h: Any) -> Any:
    """Return what the lanes choose their bits by: a hash's lower half, or for 64-bit lanes 48 mixed bits."""
    signature = types.uint64(words, types.uint64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = signature.args[0].dtype.bitwidth == 64
        return builder.mul(args[1], ir.IntType(64)(int(GAMMA))) if wide else args[1]

    return signature, codegen


def _block_test_twin(words: Any, start: Any, key: Any) -> Any:
    return not (~words[int(start) : int(start) + 8] & _mask_twin(words, key)).any()


@primitive(_block_test_twin)
def block_test(typingctx: Any, words: Any, start: Any, key: Any) -> Any:
    """Tell whether all eight bits of ``key`` are set in the block at ``words[start]``."""
    signature = types.boolean(words, types.uint64, types.uint64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, block, lane = _block(context, builder, signature, args)
        missing = builder.and_(builder.not_(block), _mask(builder, args[2], lane))
        whole = ir.IntType(8 * lane)
        return builder.icmp_unsigned("==", builder.bitcast(missing, whole), whole(0))

    return signature, codegen


def _lanes_missing_twin(words: Any, start: Any, key: Any) -> Any:
    found = words[int(start) : int(start) + 8] & _mask_twin(words, key)
    return np.packbits(found == 0, bitorder="little")[0]


@primitive(_lanes_missing_twin)
def lanes_missing(typingctx: Any, words: Any, start: Any, key: Any) -> Any:
    """Return which of the eight bits of ``key`` are not set in the block at ``words[start]``: a uint8.

    To keep it and compare many at once later is a third faster than to make a bool of each.
    """
    return types.uint8(words, types.uint64, types.uint64), _emit_lanes_missing


def _emit_lanes_missing(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    _, block, lane = _block(context, builder, signature, args)
    common = builder.and_(block, _mask(builder, args[2], lane))
    missing = builder.icmp_unsigned("==", common, ir.Constant(common.type, [0] * 8))
    return builder.bitcast(missing, ir.IntType(8))


@primitive(_lanes_missing_twin)
def lanes_missing_by_halves(typingctx: Any, words: Any, start: Any, key: Any) -> Any:
    """Return the same, but load 64 bytes as two halves.

    Past the cache a line comes faster so than by one load of all of it, which LLVM would make of the two (at
    64 MiB by a third on Zen 4, a tenth on Zen 5).
    """
    signature = types.uint8(words, types.uint64, types.uint64)
    return signature, _emit_lanes_missing if words.dtype.bitwidth == 32 else _emit_by_halves


def _emit_by_halves(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    word = ir.IntType(64)
    start = builder.ptrtoint(item_pointer(context, builder, signature.args[0], args[0], args[1], 8), word)
    # That the second half follows the first is hidden from LLVM.
    apart = builder.asm(ir.FunctionType(word, [word]), "", "=r,0", [start], side_effect=False)
    halves = []
    for address in (start, builder.add(apart, word(32))):
        half = builder.load(builder.inttoptr(address, ir.VectorType(word, 4).as_pointer()))
        half.align = 32
        halves.append(half)
    block = builder.shuffle_vector(*halves, ir.Constant(ir.VectorType(_I32, 8), list(range(8))))
    missing = builder.and_(builder.not_(block), _mask(builder, args[2], 64))
    some = builder.icmp_unsigned("!=", missing, ir.Constant(missing.type, [0] * 8))
    return builder.bitcast(some, ir.IntType(8))


def _block_set_twin(words: Any, start: Any, key: Any) -> None:
    words[int(start) : int(start) + 8] |= _mask_twin(words, key)


@primitive(_block_set_twin)
def block_set(typingctx: Any, words: Any, start: Any, key: Any) -> Any:
    """Set the eight bits of ``key`` in the block at ``words[start]``."""
    signature = types.void(words, types.uint64, types.uint64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, block, lane = _block(context, builder, signature, args)
        store = builder.store(builder.or_(block, _mask(builder, args[2], lane)), pointer)
        store.align = lane
        return context.get_dummy_value()

    return signature, codegen


@inlined
def block_start(h: Any, blocks: Any) -> Any:
    """Return where in the words the block of a hash starts."""
    return (((h >> U32_) * blocks) >> U32_) << U3


@inlined
def holds(words: Any, h: Any) -> Any:
    """Tell whether all bits of a single hash are set."""
    return block_test(words, block_start(h, U64(words.size >> 3)), lane_key(words, h))


@inlined
def put(words: Any, h: Any) -> None:
    """Set all bits of a single hash."""
    block_set(words, block_start(h, U64(words.size >> 3)), lane_key(words, h))


@inlined
def _read_ahead(keys: Any, lo: Any) -> None:
    for j in range(lo + KEYS_AHEAD, min(lo + KEYS_AHEAD + BATCH, keys.size), 8):
        prefetch(keys, j)


@inlined
def _probe_step(
    words: Any, starts: Any, keys: Any, new: Any, old: Any, coming: Any, missing: Any, out: Any
) -> None:
    """Fetch the blocks of ``coming`` keys, from ``new`` on, while those from ``old`` on are looked up."""
    going = out.size
    both = min(coming, going)
    if words.nbytes <= NEAR_BYTES:
        for j in range(both):
            prefetch_near(words, starts[new + j])
            missing[j] = lanes_missing(words, starts[old + j], keys[old + j])
    else:
        for j in range(both):
            prefetch(words, starts[new + j])
            missing[j] = lanes_missing_by_halves(words, starts[old + j], keys[old + j])
    for j in range(both, coming):
        prefetch(words, starts[new + j])
    for j in range(both, going):
        missing[j] = lanes_missing(words, starts[old + j], keys[old + j])
    for j in range(going):
        out[j] = missing[j] == np.uint8(0)


@kernel
def contains_words(words: Any, values: Any, seed: Any, out: Any) -> None:
    """Hash (XXH3) and probe 64-bit keys: fused, because two kernels cost a third more in cache."""
    blocks, key, n = U64(words.size >> 3), xxh3_key(np.uint64(seed)), values.size
    if words.nbytes <= PLAIN_BYTES:
        for i in range(n):
            out[i] = holds(words, xxh3_word(values[i], key))
        return
    keys, starts = np.empty(2 * BATCH, np.uint64), np.empty(2 * BATCH, np.uint64)
    missing = np.empty(BATCH, np.uint8)
    for step in range((n + BATCH - 1) // BATCH + 1):
        new, old = (step & 1) * BATCH, BATCH - (step & 1) * BATCH
        lo = step * BATCH
        coming = max(0, min(BATCH, n - lo))
        _read_ahead(values, lo)
        for j in range(coming):
            h = xxh3_word(values[lo + j], key)
            keys[new + j] = lane_key(words, h)
            starts[new + j] = block_start(h, blocks)
        _probe_step(words, starts, keys, new, old, coming, missing, out[max(0, lo - BATCH) : min(lo, n)])


@kernel
def contains(words: Any, hashes: Any, out: Any) -> None:
    """Probe ready hashes, in the same steps."""
    blocks, n = U64(words.size >> 3), hashes.size
    if words.nbytes <= PLAIN_BYTES:
        for i in range(n):
            out[i] = holds(words, hashes[i])
        return
    keys, starts = np.empty(2 * BATCH, np.uint64), np.empty(2 * BATCH, np.uint64)
    missing = np.empty(BATCH, np.uint8)
    for step in range((n + BATCH - 1) // BATCH + 1):
        new, old = (step & 1) * BATCH, BATCH - (step & 1) * BATCH
        lo = step * BATCH
        coming = max(0, min(BATCH, n - lo))
        _read_ahead(hashes, lo)
        for j in range(coming):
            keys[new + j] = lane_key(words, hashes[lo + j])
            starts[new + j] = block_start(hashes[lo + j], blocks)
        _probe_step(words, starts, keys, new, old, coming, missing, out[max(0, lo - BATCH) : min(lo, n)])


@inlined
def _fetch(state: Any, k: Any) -> None:
    words, starts, _ = state
    prefetch(words, starts[k])


@inlined
def _put(state: Any, k: Any) -> Any:
    words, starts, keys = state
    block_set(words, starts[k], keys[k])
    return True


@inlined
def _put_new(state: Any, k: Any) -> Any:
    """Set a key's bits; tell whether one of them was not set before."""
    words, starts, keys = state
    new = not block_test(words, starts[k], keys[k])
    block_set(words, starts[k], keys[k])
    return new


@kernel
def add_words(words: Any, values: Any, seed: Any) -> None:
    """Hash (XXH3) and add 64-bit keys, fused as lookups are."""
    blocks, key, n = U64(words.size >> 3), xxh3_key(np.uint64(seed)), values.size
    keys, starts = np.empty(2 * BATCH, np.uint64), np.empty(2 * BATCH, np.uint64)
    state, done = (words, starts, keys), np.empty(BATCH, np.bool_)
    for step in range((n + BATCH - 1) // BATCH + 1):
        new, old = (step & 1) * BATCH, BATCH - (step & 1) * BATCH
        lo = step * BATCH
        coming = max(0, min(BATCH, n - lo))
        _read_ahead(values, lo)
        for j in range(coming):
            h = xxh3_word(values[lo + j], key)
            keys[new + j] = lane_key(words, h)
            starts[new + j] = block_start(h, blocks)
        overlap(_fetch, _put, state, new, old, coming, done[: min(lo, n) - max(0, lo - BATCH)])


@kernel
def add(words: Any, hashes: Any) -> None:
    """Add ready hashes, in the same steps."""
    blocks, n = U64(words.size >> 3), hashes.size
    keys, starts = np.empty(2 * BATCH, np.uint64), np.empty(2 * BATCH, np.uint64)
    state, done = (words, starts, keys), np.empty(BATCH, np.bool_)
    for step in range((n + BATCH - 1) // BATCH + 1):
        new, old = (step & 1) * BATCH, BATCH - (step & 1) * BATCH
        lo = step * BATCH
        coming = max(0, min(BATCH, n - lo))
        _read_ahead(hashes, lo)
        for j in range(coming):
            keys[new + j] = lane_key(words, hashes[lo + j])
            starts[new + j] = block_start(hashes[lo + j], blocks)
        overlap(_fetch, _put, state, new, old, coming, done[: min(lo, n) - max(0, lo - BATCH)])


@kernel
def add_new(words: Any, hashes: Any, out: Any) -> None:
    """Add ready hashes one after the other; ``out`` (bool[n]) notes which had a bit that was not set."""
    blocks, n = U64(words.size >> 3), hashes.size
    keys, starts = np.empty(2 * BATCH, np.uint64), np.empty(2 * BATCH, np.uint64)
    state = words, starts, keys
    for step in range((n + BATCH - 1) // BATCH + 1):
        new, old = (step & 1) * BATCH, BATCH - (step & 1) * BATCH
        lo = step * BATCH
        coming = max(0, min(BATCH, n - lo))
        _read_ahead(hashes, lo)
        for j in range(coming):
            keys[new + j] = lane_key(words, hashes[lo + j])
            starts[new + j] = block_start(hashes[lo + j], blocks)
        overlap(_fetch, _put_new, state, new, old, coming, out[max(0, lo - BATCH) : min(lo, n)])


@kernel
def density(words: Any, lane: Any) -> Any:
    """Return the mean over blocks of the product of their lanes' shares of set bits."""
    total = 0.0
    for block in range(words.size >> 3):
        share = 1.0
        for k in range(8):
            share *= popcount(U64(words[8 * block + k])) / lane
        total += share
    return total / (words.size >> 3)


def law(bits_per_key: float, lane: int) -> float:
    """Return the false-positive rate at ``bits_per_key``: the Poisson sum over a block's load."""
    load = 8 * lane / bits_per_key
    if load > 40.0 * lane:  # e^-40 of the bits are not set
        return 1.0
    keys, weight = loads(load)  # an empty block finds nothing
    return float(np.sum(weight * (1.0 - (1.0 - 1.0 / lane) ** keys) ** 8))


@cache
def bits_for(fpr: float, lane: int) -> float:
    """Return the fewest bits per key at which ``law`` keeps ``fpr``."""
    return invert(lambda bits: law(bits, lane), fpr, MAX_BITS_PER_KEY)


class EightLanes(BitFilter):
    """What a filter of such blocks does whatever their width: all but its size."""

    __slots__ = ()

    def expected_fpr(self, count: int | None = None) -> float:
        """Return the chance that a key never added is found.

        For the bits set now it is exact over random keys, O(nbytes); with ``count`` it is the law for
        that many keys, before they are added.
        """
        lane = 8 * self._words.itemsize
        if count is None:
            return float(density(self._words, float(lane)))
        count = check_count(count)
        return law(8.0 * self.nbytes / count, lane) if count else 0.0

    def _probe_piece(self, piece: Any, out: Any) -> None:
        if self._hasher.algorithm is XXH3 and isinstance(piece, Words):
            for lo, values in piece.spans():
                contains_words(self._words, values, self._hasher.word_seed, out[lo : lo + len(values)])
        else:
            super()._probe_piece(piece, out)

    def _probe(self, hashes: Any, out: Any) -> None:
        contains(self._words, hashes, out)

    def _insert_piece(self, piece: Any) -> None:
        if self._hasher.algorithm is XXH3 and isinstance(piece, Words) and piece.valid is None:
            for _, values in piece.spans():
                add_words(self._words, values, self._hasher.word_seed)
        else:
            super()._insert_piece(piece)

    def _insert(self, hashes: Any) -> None:
        add(self._words, hashes)

    def _insert_new(self, hashes: Any, out: Any) -> None:
        add_new(self._words, hashes, out)
