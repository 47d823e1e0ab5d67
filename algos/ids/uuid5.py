"""UUID version 5: the id of a name in a namespace, the same wherever it is made.

RFC 9562, section 5.5. The first 128 bits of SHA-1 over the namespace's 16 bytes and the name's UTF-8, but for
six bits of version and variant::

    SHA-1 48 | 0101 | SHA-1 12 | 10 | SHA-1 62

SHA-1 here is a standard's choice, not a defence: who wants to can make two names with one id.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.hashing._sha1 import sha1
from algos.hashing.keys import Text
from algos.ids._kind import UuidReader, all_there, check_form, handed_over

if TYPE_CHECKING:
    from algos.ids._kind import Form

NAMESPACES = {
    "dns": uuid.NAMESPACE_DNS,
    "url": uuid.NAMESPACE_URL,
    "oid": uuid.NAMESPACE_OID,
    "x500": uuid.NAMESPACE_X500,
}
DIGEST = 20


class Uuid5(UuidReader):
    """The UUIDs of names in a ``namespace``: ``"dns"``, ``"url"``, ``"oid"``, ``"x500"`` or a ``uuid.UUID``.

    O(bytes), sixteen names at once. Nothing is random, and nothing is kept.

    >>> Uuid5("dns").one("www.example.com")
    '2ed6657d-e927-568b-95e1-2665a8aea6a2'
    """

    __slots__ = ("namespace",)
    NAME, VERSION = "UUID version 5", 5

    def __init__(self, namespace: str | uuid.UUID) -> None:
        """Take a namespace."""
        if isinstance(namespace, str):
            if namespace not in NAMESPACES:
                known = ", ".join(map(repr, NAMESPACES))
                raise ValueError(f"namespace={namespace!r} is not one of {known}, nor a uuid.UUID")
            namespace = NAMESPACES[namespace]
        if not isinstance(namespace, uuid.UUID):
            raise TypeError(f"namespace must be a str or a uuid.UUID, not {type(namespace).__name__}")
        self.namespace = namespace

    def of(self, names: Any, form: Form = "binary") -> Any:
        """Return the ids of ``n`` names: lists of ``str`` or ``bytes``, NumPy or Arrow arrays of text.

        ``form`` as in the ``take`` of other kinds: ``"binary"`` (uint8[n, 16]), ``"text"``, ``"arrow"``,
        ``"list"``, ``"uuid"``.
        """
        check_form(form, self.FORMS)
        made = [self._of_piece(part) for part in all_there(names)]
        ids = np.concatenate(made) if made else self._empty(0)
        if form == "binary":
            return ids
        text = np.empty((len(ids), self.WIDTH), np.uint8)
        self._write(ids, text)
        return handed_over(text, form)

    def one(self, name: str | bytes, form: Form = "text") -> Any:
        """Return the id of one name: a ``str``, or for ``"binary"`` bytes, or a ``UUID``."""
        if form == "binary":
            return self.of([name]).tobytes()
        return self.of([name], "list" if form == "text" else form)[0]

    def _of_piece(self, part: Any) -> Any:
        if not isinstance(part, Text):
            raise TypeError("names are text or bytes, not numbers; what text a number has is yours to say")
        digests = np.empty((len(part), DIGEST), np.uint8)
        sha1(np.frombuffer(self.namespace.bytes, np.uint8), part.data, part.offsets, digests.reshape(-1))
        ids = digests[:, : self.SIZE].copy()
        ids[:, 6] = ids[:, 6] & 0x0F | self.VERSION << 4
        ids[:, 8] = ids[:, 8] & 0x3F | 0x80
        return ids
