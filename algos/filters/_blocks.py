"""Blocks of eight lanes: what the split-block filters share, whether a lane is 32 or 64 bits wide.

A key has one bit in each lane of one block. The width is the dtype of the words, so the kernels are written
once: uint32 gives Parquet's 256-bit blocks, uint64 the 512-bit ones of a whole cache line.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from algos._bits import M32, U1, U3, U32_, U64, item_pointer, prefetch, prefetch_near
from algos._jit import inlined, kernel, primitive
from algos.filters._common import BitFilter, check_count, invert
from algos.hashing.keys import Words
from algos.hashing.xxh3 import XXH3, xxh3_key, xxh3_word

SALT = np.array(
    [0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31],
    np.uint32,
)
MAX_BLOCKS = 1 << 32
MAX_BITS_PER_KEY = 2048.0
BATCH = 96
"""Keys per step: their blocks and those being probed fit L1 and L2 together; 64..192 measure alike."""
NEAR_BYTES = 512 << 10
"""Up to half of a usual L2, blocks are fetched into L1."""
KEYS_AHEAD = 16 * BATCH
"""How far ahead the keys themselves are fetched: read in bursts, they would else come a third slower."""

_I32, _V8 = ir.IntType(32), ir.VectorType(ir.IntType(32), 8)


def _mask(builder: Any, h: Any, lane: int) -> Any:
    """Emit the bits of a hash in the eight lanes: each by the top bits of its product with a salt."""
    key = builder.insert_element(ir.Constant(_V8, ir.Undefined), builder.trunc(h, _I32), _I32(0))
    key = builder.shuffle_vector(key, key, ir.Constant(_V8, [0] * 8))
    product = builder.mul(key, ir.Constant(_V8, [int(s) for s in SALT]))
    bit = builder.lshr(product, ir.Constant(_V8, [33 - lane.bit_length()] * 8))
    lanes = ir.VectorType(ir.IntType(lane), 8)
    return builder.shl(ir.Constant(lanes, [1] * 8), builder.zext(bit, lanes) if lane > 32 else bit)


def _block(context: Any, builder: Any, signature: Any, args: Any) -> tuple[Any, Any, int]:
    """Emit the address of a block and its load; the state is aligned to 64 bytes."""
    lane = signature.args[0].dtype.bitwidth
    pointer = item_pointer(context, builder, signature.args[0], args[0], args[1], 8)
    pointer = builder.bitcast(pointer, ir.VectorType(ir.IntType(lane), 8).as_pointer())
    block = builder.load(pointer)
    block.align = lane
    return pointer, block, lane


def _mask_twin(words: Any, h: Any) -> Any:
    shift = np.uint32(33 - (8 * words.itemsize).bit_length())
    bit = (np.uint32(h & M32) * SALT) >> shift
    return words.dtype.type(1) << bit.astype(words.dtype)


def _block_test_twin(words: Any, start: Any, h: Any) -> Any:
    return not (~words[int(start) : int(start) + 8] & _mask_twin(words, h)).any()


@primitive(_block_test_twin)
def block_test(typingctx: Any, words: Any, start: Any, h: Any) -> Any:
    """Tell whether all eight bits of ``h`` are set in the block at ``words[start]``."""
    signature = types.boolean(words, types.uint64, types.uint64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, block, lane = _block(context, builder, signature, args)
        missing = builder.and_(builder.not_(block), _mask(builder, args[2], lane))
        whole = ir.IntType(8 * lane)
        return builder.icmp_unsigned("==", builder.bitcast(missing, whole), whole(0))

    return signature, codegen


def _block_set_twin(words: Any, start: Any, h: Any) -> None:
    words[int(start) : int(start) + 8] |= _mask_twin(words, h)


@primitive(_block_set_twin)
def block_set(typingctx: Any, words: Any, start: Any, h: Any) -> Any:
    """Set the eight bits of ``h`` in the block at ``words[start]``."""
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


@kernel
def contains_words(words: Any, values: Any, seed: Any, out: Any) -> None:
    """Hash (XXH3) and probe 64-bit keys: fused, because two kernels cost a third more in cache."""
    blocks, key, n = U64(words.size >> 3), xxh3_key(np.uint64(seed)), values.size
    near = words.nbytes <= NEAR_BYTES
    hashes, starts = np.empty(2 * BATCH, np.uint64), np.empty(2 * BATCH, np.uint64)
    for step in range((n + BATCH - 1) // BATCH + 1):
        new, old = (step & 1) * BATCH, BATCH - (step & 1) * BATCH
        lo = step * BATCH
        coming = max(0, min(BATCH, n - lo))
        for j in range(lo + KEYS_AHEAD, min(lo + KEYS_AHEAD + BATCH, n), 8):
            prefetch(values, j)
        for j in range(coming):
            h = xxh3_word(values[lo + j], key)
            hashes[new + j] = h
            starts[new + j] = block_start(h, blocks)
        before = max(0, lo - BATCH)
        going = min(lo - before, n - before)
        both = min(coming, going)
        if near:
            for j in range(both):
                prefetch_near(words, starts[new + j])
                out[before + j] = block_test(words, starts[old + j], hashes[old + j])
        else:
            for j in range(both):
                prefetch(words, starts[new + j])
                out[before + j] = block_test(words, starts[old + j], hashes[old + j])
        for j in range(both, coming):
            prefetch(words, starts[new + j])
        for j in range(both, going):
            out[before + j] = block_test(words, starts[old + j], hashes[old + j])


@kernel
def contains(words: Any, hashes: Any, out: Any) -> None:
    blocks, n = U64(words.size >> 3), hashes.size
    ahead = min(BATCH, n)
    for i in range(ahead):
        prefetch(words, block_start(hashes[i], blocks))
    for i in range(n - ahead):
        prefetch(words, block_start(hashes[i + ahead], blocks))
        out[i] = block_test(words, block_start(hashes[i], blocks), hashes[i])
    for i in range(n - ahead, n):
        out[i] = block_test(words, block_start(hashes[i], blocks), hashes[i])


@kernel
def add(words: Any, hashes: Any) -> None:
    blocks, n = U64(words.size >> 3), hashes.size
    ahead = min(BATCH, n)
    for i in range(ahead):
        prefetch(words, block_start(hashes[i], blocks))
    for i in range(n - ahead):
        prefetch(words, block_start(hashes[i + ahead], blocks))
        block_set(words, block_start(hashes[i], blocks), hashes[i])
    for i in range(n - ahead, n):
        block_set(words, block_start(hashes[i], blocks), hashes[i])


@kernel
def add_new(words: Any, hashes: Any, out: Any) -> None:
    blocks = U64(words.size >> 3)
    for i in range(hashes.size):
        start = block_start(hashes[i], blocks)
        out[i] = not block_test(words, start, hashes[i])
        block_set(words, start, hashes[i])


@kernel
def density(words: Any, lane: Any) -> Any:
    """Return the mean over blocks of the product of their lanes' shares of set bits."""
    total = 0.0
    for block in range(words.size >> 3):
        share = 1.0
        for k in range(8):
            word, count = U64(words[8 * block + k]), U64(0)
            for bit in range(64):
                count += (word >> U64(bit)) & U1
            share *= count / lane
        total += share
    return total / (words.size >> 3)


def law(bits_per_key: float, lane: int) -> float:
    """Return the false-positive rate at ``bits_per_key``: the Poisson sum over a block's load."""
    load = 8 * lane / bits_per_key
    if load > 40.0 * lane:  # e^-40 of the bits are not set
        return 1.0
    i = np.arange(1, int(load + 12.0 * math.sqrt(load) + 30.0))
    weight = np.exp(i * math.log(load) - load - np.cumsum(np.log(i)))  # an empty block finds nothing
    return float(np.sum(weight * (1.0 - (1.0 - 1.0 / lane) ** i) ** 8))


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

    def _insert(self, hashes: Any) -> None:
        add(self._words, hashes)

    def _insert_new(self, hashes: Any, out: Any) -> None:
        add_new(self._words, hashes, out)
