"""Similarity of sets: signatures of short and long documents, compared; and indexes of those alike.

Signatures have 128 values, and an item is a token. Documents are pairs of known similarity; those of an index
are as alike as 30 to 95 %, and every other one is like none.
"""

from __future__ import annotations

from functools import partial

from bench.schema import Task
from bench.tasks._similarity import contestants

__all__ = ["TASKS", "contestants"]

TOKENS, SHORT, MEDIUM, LONG = 400_000, 20, 200, 2_000
MINHASH, INDEX, SIMHASH = "MinHash", "LshIndex", "SimHash"

task = partial(Task, "similarity", anchor=MINHASH)

TASKS: list[Task] = [
    task("signatures", "hashes", TOKENS, {"length": SHORT}, tier="quick"),
    task("signatures", "hashes", TOKENS, {"length": MEDIUM}, tier="quick"),
    task("signatures", "hashes", TOKENS, {"length": LONG}, tier="quick"),
    task("signatures", "hashes", 10 * TOKENS, {"length": MEDIUM, "threads": "all"}),
    task("signatures", "words", TOKENS // 4, {"length": SHORT}),
    task("signatures", "words", TOKENS // 4, {"length": MEDIUM}, tier="quick"),
    task("signatures", "words", TOKENS // 4, {"length": LONG}),
    task("simhash", "hashes", TOKENS, {"length": MEDIUM}, anchor=SIMHASH),
    task("simhash", "words", TOKENS // 4, {"length": MEDIUM}, tier="quick", anchor=SIMHASH),
    task("jaccard", "pairs", 10_000, tier="quick"),
    task("index", "documents", 10_000, tier="quick", anchor=INDEX),
    task("index", "documents", 100_000, anchor=INDEX),
    task("candidates", "documents", 10_000, tier="quick", anchor=INDEX),
    task("candidates", "documents", 100_000, anchor=INDEX),
    task("near_duplicates", "words", 2_000),
    task("first_call", "text", 1_000, tier="thorough"),
]
