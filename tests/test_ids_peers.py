"""What docs/choose-ids.md says of other packages, found by running them: order, forks, layout.

A finding is held against the table where the version is the one written there; of another version it is only
looked for, and the table is to be brought up to date.
"""

from __future__ import annotations

import os
import re
import time
from importlib.metadata import version
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from helpers import ROOT, SMALL

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.skipif(SMALL, reason="nothing of this library runs here"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
]
TEXT = (ROOT / "docs" / "choose-ids.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([\w-]+)` ([\d.]+) \| (\w+) \| (\w+) \| (\w+) \|", re.MULTILINE)
TABLE = {name: (release, *said) for name, release, *said in ROW.findall(TEXT)}
MANY = 2000


def _uuid_utils() -> Callable[[], str]:
    import uuid_utils

    return lambda: str(uuid_utils.uuid7())


def _fastuuid() -> Callable[[], str]:
    import fastuuid

    return lambda: str(fastuuid.uuid7())


def _ulid_transform() -> Callable[[], str]:
    import ulid_transform

    mint: Callable[[], str] = ulid_transform.ulid_now
    return mint


def _python_ulid() -> Callable[[], str]:
    from ulid import ULID

    return lambda: str(ULID())


def _cyksuid() -> Callable[[], str]:
    from cyksuid.v2 import ksuid

    return lambda: str(ksuid())


def _uuid7() -> Callable[[], str]:
    from uuid_extensions import uuid7

    return lambda: str(uuid7())


PEERS: dict[str, Callable[[], Callable[[], str]]] = {
    "uuid-utils": _uuid_utils,
    "fastuuid": _fastuuid,
    "ulid-transform": _ulid_transform,
    "python-ulid": _python_ulid,
    "cyksuid": _cyksuid,
    "uuid7": _uuid7,
}
RANDOM = {
    "uuid-utils": 16,
    "fastuuid": 16,
    "ulid-transform": 10,
    "python-ulid": 10,
    "cyksuid": 8,
    "uuid7": 16,
}
"""Where in its text the random part of an id begins."""


def ascends(mint: Callable[[], str]) -> bool:
    """Tell whether many ids, minted as fast as can be, are in the order of creation."""
    return all(a < b for a, b in pairwise(mint() for _ in range(MANY)))


def forks_apart(mint: Callable[[], str], random: int) -> bool:
    """Tell whether forked children and their parent have random parts of their own."""
    mint()
    tails: list[str] = []
    for _ in range(4):
        read, write = os.pipe()
        if os.fork() == 0:  # pragma: no cover - in the child
            try:
                os.write(write, " ".join(mint()[random:] for _ in range(50)).encode())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as made:
            tails += made.read().split()
        os.wait()
    tails += [mint()[random:] for _ in range(50)]
    return len(set(tails)) == len(tails) == 250


def has_its_layout(name: str, mint: Callable[[], str]) -> bool:
    """Tell whether an id has the time where its standard has it."""
    from algos import ids

    kind: Any = {"ulid-transform": ids.Ulid, "python-ulid": ids.Ulid, "cyksuid": ids.Ksuid}.get(
        name, ids.Uuid7
    )
    try:
        stamp = kind.timestamps([mint()])[0].astype("M8[s]").astype(int)
    except ValueError:
        return False
    return abs(int(stamp) - time.time()) < 3600


@pytest.mark.parametrize("name", PEERS)
def test_what_is_said_of_a_package(name: str) -> None:
    mint = PEERS[name]()
    apart = forks_apart(mint, RANDOM[name])  # before it has minted much
    found = [has_its_layout(name, mint), ascends(mint), apart]
    release, *said = TABLE[name]
    if version(name) == release:
        assert said == ["yes" if is_so else "no" for is_so in found]


def test_every_package_is_in_the_table() -> None:
    assert TABLE.keys() == PEERS.keys()
