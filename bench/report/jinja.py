"""The environment that the templates share: strict, escaping, with one way to write a number."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.report import fmt, words


@cache
def environment() -> Environment:
    """Return the environment over the templates of this folder."""
    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "number": fmt.number, "ratio": fmt.ratio, "percent": fmt.percent, "ns": fmt.ns,
        "cell_ns": fmt.cell_ns, "moment": words.moment, "op": words.op, "metric": words.metric,
        "task": words.task, "full": words.full,
    }  # fmt: skip
    env.globals |= {
        "interval": fmt.interval, "plural": fmt.plural, "figure": words.figure,
        "amount": words.amount, "verdicts": words.VERDICTS,
    }  # fmt: skip
    return env
