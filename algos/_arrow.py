"""Arrow's arrays, which pyarrow takes from whoever speaks its C interface; imported when there is one."""

from __future__ import annotations

from typing import Any


def pyarrow() -> Any:
    """Return pyarrow, or say that it is needed."""
    try:
        import pyarrow as pa
    except ImportError:
        raise TypeError("this input speaks Arrow: install pyarrow (pip install 'hotpath[arrow]')") from None
    return pa


def as_arrow(values: Any) -> Any:
    """Return an Arrow array, chunked or not, of what is one or speaks Arrow."""
    pa = pyarrow()
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    return pa.chunked_array(values) if hasattr(values, "__arrow_c_stream__") else pa.array(values)


def chunks_of(values: Any) -> list[Any]:
    """Return the arrays that such values consist of."""
    values = as_arrow(values)
    return list(values.chunks) if hasattr(values, "chunks") else [values]
