"""The generated parts of Markdown files, from ``<!-- generated: NAME -->`` to ``<!-- end -->``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(text: str, writers: Mapping[str, Callable[[], str]]) -> str:
    """Return ``text`` with every generated block written anew by the writer of its name."""

    def block(match: re.Match[str]) -> str:
        if (name := match[2]) not in writers:
            raise ValueError(
                f"no generated block is called {name!r}: use one of {', '.join(sorted(writers))}"
            )
        return f"{match[1]}{writers[name]()}\n{match[3]}"

    return _BLOCK.sub(block, text)
