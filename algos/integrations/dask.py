r"""Sketches of Dask collections: one for each partition where the partition is, merged as a tree.

::

    partition   partition   partition   partition        factory().add_many(...), on the workers
         \_________/             \_________/
            merge                  merge                 of MERGED sketches at a time
               \____________________/
                       merge                             one sketch, some kilobytes

Only the columns asked for are read, a worker holds a partition at a time, and what travels are sketches. The
result is that of one machine, bit for bit, where ``merge`` says so of the class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dask.delayed import delayed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dask.delayed import Delayed

MERGED = 16
"""Sketches merged by one task."""


def _parts_of(collection: Any, column: Any, beside: Sequence[Any]) -> list[Delayed]:
    """Return the partitions, those of a DataFrame cut down to the columns wanted."""
    if getattr(collection, "ndim", 1) == 2 and hasattr(collection, "columns"):
        missing = [name for name in (column, *beside) if name not in list(collection.columns)]
        if missing:
            raise ValueError(f"no column {missing[0]!r} in this DataFrame; it has {list(collection.columns)}")
        return list(collection[list(dict.fromkeys([column, *beside]))].to_delayed())
    if column is not None or beside:
        kind = type(collection).__name__
        raise ValueError(f"a {kind} has no columns, {column!r} or other; column=None takes all of it")
    parts = collection.to_delayed()
    return list(parts.ravel()) if hasattr(parts, "ravel") else list(parts)


def _counted(part: Any, column: Any, beside: dict[str, Any], factory: Callable[[], Any]) -> Any:
    """Return a sketch of one partition."""
    made = factory()
    keys = part if column is None else part[column]
    made.add_many(keys, **{name: part[other].to_numpy() for name, other in beside.items()})
    return made


def _merged(sketches: list[Any]) -> Any:
    """Merge sketches into a new one: those given may be wanted elsewhere."""
    first, *rest = sketches
    whole = type(first).from_bytes(first.to_bytes())
    for other in rest:
        whole.merge(other)
    return whole


def sketch(collection: Any, column: Any, factory: Callable[[], Any], **beside: Any) -> Delayed:
    """Sketch a column of a Dask DataFrame, or all of a Series, a one-dimensional Array or a Bag.

    ``factory`` makes an empty sketch, any class of this library that merges: ``HyperLogLog``, or
    ``lambda: CountMinSketch(1 << 16, 4)``. ``column`` is a DataFrame's, and ``None`` for the others; further
    columns go to ``add_many`` by name, as in ``weights="bytes"``. Lazy: ``compute()`` returns the sketch. One
    task a partition, and one for every 16 sketches to merge.

    Raises ``TypeError`` for a sketch that cannot be merged, ``ValueError`` for a column that is not there.

    >>> import dask.dataframe as dd, pandas as pd
    >>> from algos.cardinality import HyperLogLog
    >>> frame = dd.from_pandas(pd.DataFrame({"user": ["ann", "bob", "ann", "eve"]}), npartitions=2)
    >>> round(sketch(frame, "user", HyperLogLog).compute().estimate())
    3
    """
    empty = factory()
    if not hasattr(empty, "merge"):
        raise TypeError(f"a {type(empty).__name__} cannot be merged, and each partition has its own")
    parts = _parts_of(collection, column, list(beside.values()))
    level = [delayed(_counted)(part, column, beside, factory) for part in parts]
    while len(level) > 1:
        level = [delayed(_merged)(level[lo : lo + MERGED]) for lo in range(0, len(level), MERGED)]
    return level[0] if level else delayed(empty)
