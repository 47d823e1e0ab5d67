"""MinHash, SimHash and LSH indexes of other packages, and of NumPy, behind the same few verbs.

Everyone makes signatures of 128 values by its batch interface from the input it likes best: rensa from one
flat array of hashes or lists of text, datasketch from lists of 32-bit hashes or of bytes hashed by xxh32 (as
its documentation advises: its own SHA-1 is several times slower), gaoya from whole texts, which it splits.
rensa is here a second time with as many threads as it takes by default: from a copy of its library, since
the number is fixed for a process at its first use.

rensa's Rho sketches are left out: they take some positions of a text instead of its set of tokens, and what
they agree in is no estimate of the Jaccard similarity (of a tenth they make four tenths).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from functools import cache
from itertools import pairwise
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from algos.similarity import LshIndex, MinHash

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from algos._variant import Variant
    from bench.schema import Role
    from bench.workloads.documents import Form

PLACES, SEED = 128, 42
BANDS, ROWS = 16, 8
THRESHOLD = (1 / BANDS) ** (1 / ROWS)
WARMING = 4_096

Kind = Literal["hashes", "words"]
"""What documents are given as: hashes ready made, or text."""


def compares(variant: Variant) -> str:
    """Tell how a variant's signatures are compared: by ``jaccard`` or ``hamming``; else it is an index."""
    cls = variant.load()
    return next((name for name in ("jaccard", "hamming") if hasattr(cls, name)), "")


class Signer(ABC):
    """Who makes signatures of documents whose values agree as often as the sets are similar."""

    name: str
    package: str = ""
    role: Role = "peer"
    forms: ClassVar[dict[Kind, Form]]

    @abstractmethod
    def sign(self, kind: Kind, documents: Any) -> Any:
        """Return the signatures of documents in the form for their kind."""

    def matrix(self, signatures: Any) -> Any:
        """Return signatures as a matrix, a row each."""
        return np.array(signatures)

    def bits(self, signatures: Any) -> int:
        """Return how many bits a signature has."""
        del signatures
        return 32 * PLACES


class Ours(Signer):
    """A variant of this library that makes signatures; a new one appears here by itself."""

    role: Role = "ours"
    forms: ClassVar[dict[Kind, Form]] = {"hashes": "hashes", "words": "arrow"}
    threads = 1

    def __init__(self, variant: Variant, name: str = "") -> None:
        self.name, self.maker = name or variant.name, variant.load()(PLACES)

    def sign(self, kind: Kind, documents: Any) -> Any:
        if kind == "hashes":
            return self.maker.signatures_of_hashes(*documents, threads=self.threads)
        return self.maker.signatures(documents, threads=self.threads)

    def bits(self, signatures: Any) -> int:
        return 8 * int(signatures[0].nbytes)


class OnAllCores(Ours):
    """The same, with a thread for each core."""

    def __init__(self, variant: Variant) -> None:
        super().__init__(variant, f"{variant.name} (all cores)")
        self.threads = os.cpu_count() or 1


class Rensa(Signer):
    """rensa's R-MinHash: Rust."""

    name, package = "rensa RMinHash", "rensa"
    forms: ClassVar[dict[Kind, Form]] = {"hashes": "hashes unsigned", "words": "lists"}

    def __init__(self) -> None:
        self.cls = self._module().RMinHash

    def _module(self) -> ModuleType:
        import rensa

        return rensa

    def sign(self, kind: Kind, documents: Any) -> Any:
        if kind == "hashes":
            return self.cls.digest_matrix_from_flat_token_hashes(*documents, PLACES, SEED)
        return self.cls.digest_matrix_from_token_sets(documents, PLACES, SEED)

    def matrix(self, signatures: Any) -> Any:
        return np.array(signatures.to_rows(), np.uint32)


class RensaOnAllCores(Rensa):
    """The same, with its default number of threads."""

    name = "rensa RMinHash (all cores)"

    def _module(self) -> ModuleType:
        return _unpinned()


@cache
def _unpinned() -> ModuleType:
    """Load rensa's library from a copy, and have it start its threads while nothing limits them."""
    import rensa

    found = importlib.util.find_spec("rensa.rensa")
    source = Path(str(found.origin if found else rensa.__file__))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        copy = shutil.copy(source, folder)
        spec = importlib.util.spec_from_file_location("rensa", copy)
        if spec is None or spec.loader is None:
            raise ImportError(f"no module can be made of {copy}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    limit = os.environ.pop("RAYON_NUM_THREADS", None)
    hashes, offsets = np.arange(WARMING * PLACES, dtype=np.uint64), np.arange(WARMING + 1, dtype=np.uint64)
    module.RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets * PLACES, PLACES, SEED)
    if limit is not None:
        os.environ["RAYON_NUM_THREADS"] = limit
    return module


class RensaC(Rensa):
    """rensa's C-MinHash: Rust; its values have 64 bits, and it has no flat batches."""

    name = "rensa CMinHash"
    forms: ClassVar[dict[Kind, Form]] = {"hashes": "hash rows", "words": "lists"}

    def __init__(self) -> None:
        self.cls = self._module().CMinHash

    def sign(self, kind: Kind, documents: Any) -> Any:
        if kind == "hashes":
            return self.cls.digests64_from_token_hash_sets(documents, PLACES, SEED)
        return self.cls.digests64_from_token_sets(documents, PLACES, SEED)

    def matrix(self, signatures: Any) -> Any:
        return np.array(signatures, np.uint64)

    def bits(self, signatures: Any) -> int:
        return 2 * super().bits(signatures)


class Datasketch(Signer):
    """datasketch's MinHash.bulk: NumPy."""

    name, package = "datasketch", "datasketch"
    forms: ClassVar[dict[Kind, Form]] = {"hashes": "ints", "words": "bytes"}

    def __init__(self) -> None:
        from datasketch import MinHash as Theirs
        from xxhash import xxh32_intdigest

        self.cls, self._hashes = Theirs, {"hashes": index, "words": xxh32_intdigest}

    def sign(self, kind: Kind, documents: Any) -> Any:
        return self.cls.bulk(documents, num_perm=PLACES, hashfunc=self._hashes[kind])

    def matrix(self, signatures: Any) -> Any:
        return np.array([signature.hashvalues for signature in signatures])


class Gaoya(Signer):
    """gaoya's MinHashStringIndex, of which the signatures are asked: Rust."""

    name, package = "gaoya", "gaoya"
    forms: ClassVar[dict[Kind, Form]] = {"words": "texts"}

    def __init__(self) -> None:
        from gaoya.minhash import MinHashStringIndex

        made = MinHashStringIndex(32, THRESHOLD, BANDS, ROWS, None, "word", False, None, "vec")
        self._sign = made.minhash_index.bulk_hash_docs

    def sign(self, kind: Kind, documents: Any) -> Any:
        del kind
        return self._sign(documents)


SIGNERS = (Rensa, RensaC, Datasketch, Gaoya)
ON_ALL_CORES = (Rensa, RensaOnAllCores)


# ---------------------------------------------------------------------------------------------------
# SimHash


class OurSimHash(Ours):
    """A variant of this library whose signatures are compared by their bits."""

    def __init__(self, variant: Variant, name: str = "") -> None:
        self.name, self.maker = name or variant.name, variant.load()(64)

    def matrix(self, signatures: Any) -> Any:
        return signatures[:, 0]


class GaoyaSimHash(Signer):
    """gaoya's SimHashStringIndex: Rust."""

    name, package = "gaoya", "gaoya"
    forms: ClassVar[dict[Kind, Form]] = {"words": "texts"}

    def __init__(self) -> None:
        from gaoya.simhash import SimHashStringIndex

        self._sign = SimHashStringIndex(64).index.par_bulk_doc2signatures

    def sign(self, kind: Kind, documents: Any) -> Any:
        del kind
        return self._sign(documents)

    def matrix(self, signatures: Any) -> Any:
        return np.array(signatures, np.uint64)

    def bits(self, signatures: Any) -> int:
        del signatures
        return 64


class NumpySimHash(GaoyaSimHash):
    """The majorities of bits in NumPy, document by document."""

    name, package = "NumPy", ""
    forms: ClassVar[dict[Kind, Form]] = {"hashes": "hashes"}

    def __init__(self) -> None:
        self._place = np.arange(64, dtype=np.uint64)

    def sign(self, kind: Kind, documents: Any) -> Any:
        del kind
        hashes, offsets = documents
        starts = offsets.tolist()
        bits = [
            np.unpackbits(hashes[lo:hi].view(np.uint8).reshape(-1, 8), axis=1, bitorder="little").sum(0)
            for lo, hi in pairwise(starts)
        ]
        most = np.array(bits) * 2 > np.diff(offsets)[:, None]
        return np.packbits(most, axis=1, bitorder="little").view(np.uint64)[:, 0]


SIMHASHES = (GaoyaSimHash, NumpySimHash)


# ---------------------------------------------------------------------------------------------------
# Comparing


class Comparer(ABC):
    """Who estimates the similarity of pairs, of signatures made before."""

    name: str
    package: str = ""
    role: Role = "peer"
    exact = False
    form: Form = "hashes"

    @abstractmethod
    def prepare(self, documents: Any) -> Sequence[Any]:
        """Make what is compared of documents in its form."""

    def compare(self, pairs: tuple[Any, Any]) -> Any:
        """Return how similar the documents of each pair are."""
        return [one.jaccard(other) for one, other in zip(*pairs, strict=True)]


class OursCompares(Comparer):
    """A variant of this library."""

    role: Role = "ours"

    def __init__(self, variant: Variant, name: str = "") -> None:
        self.name, self.maker = name or variant.name, variant.load()(PLACES)

    def prepare(self, documents: Any) -> Sequence[Any]:
        return self.maker.signatures_of_hashes(*documents)

    def compare(self, pairs: tuple[Any, Any]) -> Any:
        return self.maker.jaccard(*pairs)


class NumpyCompares(Comparer):
    """NumPy: the mean of what is equal."""

    name = "NumPy"

    def prepare(self, documents: Any) -> Sequence[Any]:
        return MinHash(PLACES).signatures_of_hashes(*documents)

    def compare(self, pairs: tuple[Any, Any]) -> Any:
        return (pairs[0] == pairs[1]).mean(axis=1)


class RensaCompares(Comparer):
    """rensa: a pair a call."""

    name, package, form = "rensa RMinHash", "rensa", "lists"

    def __init__(self) -> None:
        import rensa

        self.cls = rensa.RMinHash

    def prepare(self, documents: Any) -> Sequence[Any]:
        return self.cls.from_token_sets(documents, PLACES, SEED)


class DatasketchCompares(Comparer):
    """datasketch: a pair a call."""

    name, package, form = "datasketch", "datasketch", "ints"

    def __init__(self) -> None:
        from datasketch import MinHash as Theirs

        self.cls = Theirs

    def prepare(self, documents: Any) -> Sequence[Any]:
        return self.cls.bulk(documents, num_perm=PLACES, hashfunc=index)


class PythonSets(Comparer):
    """Python's sets, compared as they are."""

    name, form, exact = "Python set", "sets", True
    role: Role = "exact"

    def prepare(self, documents: Any) -> Sequence[Any]:
        return documents

    def compare(self, pairs: tuple[Any, Any]) -> Any:
        found = [(len(one & other), len(one) + len(other)) for one, other in zip(*pairs, strict=True)]
        return [common / (both - common) for common, both in found]


COMPARERS = (NumpyCompares, RensaCompares, DatasketchCompares, PythonSets)


# ---------------------------------------------------------------------------------------------------
# Indexes


class Index(ABC):
    """Who finds candidates: all of 16 bands of 8 values."""

    name: str
    package: str = ""
    role: Role = "peer"
    form: Form = "hashes"
    exact = False

    @abstractmethod
    def prepare(self, documents: Any) -> Any:
        """Make signatures of documents in its form."""

    @abstractmethod
    def build(self, signatures: Any) -> Any:
        """Make an index of signatures: the first has the id 0."""

    @abstractmethod
    def query(self, built: Any, signatures: Any) -> Any:
        """Return the candidates of each."""

    def listed(self, answer: Any) -> list[list[int]]:
        """List the ids in an answer."""
        return answer

    def nbytes(self, _built: Any) -> int | None:
        """Return the size of an index that tells it."""
        return None


def _cut(answer: tuple[Any, Any]) -> list[list[int]]:
    starts, ids = (part.tolist() for part in answer)
    return [ids[lo:hi] for lo, hi in pairwise(starts)]


class OurIndex(Index):
    """An index of this library, of MinHash signatures; a new one appears here by itself."""

    role: Role = "ours"
    signer: Any = MinHash

    def __init__(self, variant: Variant, name: str = "") -> None:
        self.name, self.cls = name or variant.name, variant.load()

    def prepare(self, documents: Any) -> Any:
        return self.signer(PLACES).signatures_of_hashes(*documents)

    def build(self, signatures: Any) -> Any:
        made = self.cls(THRESHOLD, PLACES, bands=BANDS, rows=ROWS)
        made.add(np.arange(len(signatures)), signatures)
        return made

    def query(self, built: Any, signatures: Any) -> Any:
        return built.query(signatures)

    def listed(self, answer: Any) -> list[list[int]]:
        return _cut(answer)

    def nbytes(self, _built: Any) -> int | None:
        return int(_built.nbytes)


class RensaLsh(Index):
    """rensa's RMinHashLSH: Rust."""

    name, package, form = "rensa RMinHashLSH", "rensa", "lists"

    def __init__(self) -> None:
        import rensa

        self._rensa = rensa

    def prepare(self, documents: Any) -> Any:
        return self._rensa.RMinHash.from_token_sets(documents, PLACES, SEED)

    def build(self, signatures: Any) -> Any:
        made = self._rensa.RMinHashLSH(THRESHOLD, PLACES, BANDS)
        made.insert_many(signatures)
        return made

    def query(self, built: Any, signatures: Any) -> Any:
        return built.query_all(signatures)


class DatasketchLsh(Index):
    """datasketch's MinHashLSH: Python's dicts; filled in a session, and asked one by one."""

    name, package, form = "datasketch MinHashLSH", "datasketch", "ints"

    def __init__(self, hashed: Any = index) -> None:
        import datasketch

        self._module, self._hashed = datasketch, hashed

    def prepare(self, documents: Any) -> Any:
        return self._module.MinHash.bulk(documents, num_perm=PLACES, hashfunc=self._hashed)

    def build(self, signatures: Any) -> Any:
        made = self._module.MinHashLSH(num_perm=PLACES, params=(BANDS, ROWS))
        with made.insertion_session() as session:
            for name, signature in enumerate(signatures):
                session.insert(name, signature, check_duplication=False)
        return made

    def query(self, built: Any, signatures: Any) -> Any:
        return [built.query(signature) for signature in signatures]


INDEXES = (RensaLsh, DatasketchLsh)


# ---------------------------------------------------------------------------------------------------
# From documents to candidates


class Finder(ABC):
    """Who finds for each of some documents of text those that are like it."""

    name: str
    package: str = ""
    role: Role = "peer"
    form: Form
    exact = False

    @abstractmethod
    def find(self, documents: Any) -> Any:
        """Return the candidates of each document, by their numbers."""

    def listed(self, answer: Any) -> list[list[int]]:
        """List the numbers in an answer."""
        return answer


class OurFinder(Finder):
    """Signatures of a variant of this library, and its index."""

    role: Role = "ours"
    form: Form = "arrow"

    def __init__(self, variant: Variant, name: str = "") -> None:
        self.name, self.maker = name or variant.name, variant.load()(PLACES)

    def find(self, documents: Any) -> Any:
        signatures = self.maker.signatures(documents)
        made = LshIndex(THRESHOLD, PLACES, bands=BANDS, rows=ROWS)
        made.add(np.arange(len(signatures)), signatures)
        return made.query(signatures)

    def listed(self, answer: Any) -> list[list[int]]:
        return _cut(answer)


class RensaFinder(Finder):
    """rensa: its sketches and its index."""

    name, package = "rensa", "rensa"
    form: Form = "lists"

    def __init__(self) -> None:
        self._lsh: Index = RensaLsh()

    def find(self, documents: Any) -> Any:
        signatures = self._lsh.prepare(documents)
        return self._lsh.query(self._lsh.build(signatures), signatures)


class DatasketchFinder(RensaFinder):
    """datasketch: its sketches, of bytes hashed by xxh32, and its index."""

    name, package = "datasketch", "datasketch"
    form: Form = "bytes"

    def __init__(self) -> None:
        from xxhash import xxh32_intdigest

        self._lsh = DatasketchLsh(xxh32_intdigest)


class GaoyaFinder(Finder):
    """gaoya: its index does it all, of texts; here without its threshold, below which it drops candidates."""

    name, package, form = "gaoya", "gaoya", "texts"

    def __init__(self) -> None:
        from gaoya.minhash import MinHashStringIndex

        self._make = MinHashStringIndex

    def find(self, documents: Any) -> Any:
        made = self._make(32, 0.0, BANDS, ROWS, None, "word", False, None, "vec")
        made.par_bulk_insert_docs(list(range(len(documents))), documents)
        return made.par_bulk_query(documents)


class PythonFinder(Finder):
    """Python: documents by their tokens, and all pairs that share one, exactly."""

    name, form, exact = "all pairs, exactly", "lists", True
    role: Role = "exact"

    def find(self, documents: Any) -> Any:
        by_token: dict[Any, list[int]] = {}
        sets = [set(document) for document in documents]
        for number, tokens in enumerate(sets):
            for token in tokens:
                by_token.setdefault(token, []).append(number)
        found = []
        for tokens in sets:
            common: dict[int, int] = {}
            for token in tokens:
                for other in by_token[token]:
                    common[other] = common.get(other, 0) + 1
            found.append([o for o, c in common.items() if c >= THRESHOLD * len(tokens | sets[o])])
        return found


FINDERS = (RensaFinder, DatasketchFinder, GaoyaFinder, PythonFinder)
