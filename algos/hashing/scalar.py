"""The house hash of a single key, inside a scalar call."""

from __future__ import annotations

from typing import Any

from algos._bits import U64
from algos._fastcall import INT, TEXT, kind_of, size_of, text_of, word_of
from algos._jit import inlined
from algos.hashing.xxh3 import xxh3, xxh3_key, xxh3_word


@inlined
def hash_of(key: Any, seed: Any) -> Any:
    """Hash a key by XXH3-64, as batches are; 0 for what is of no known kind."""
    kind, s = kind_of(key), word_of(seed)
    if kind == INT:
        return xxh3_word(word_of(key), xxh3_key(s))
    return xxh3(text_of(key), U64(0), size_of(key), s) if kind == TEXT else U64(0)
