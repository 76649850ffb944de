"""One tag's rollup windows out of PostgreSQL, a column at a time: no Python object per value.

A year of 1 h windows is 8,760 rows of eight columns. As rows they cost the API 5.7 ms with the interpreter locked,
while it also follows every live reading; as eight arrays in the server's binary form they cost 0.7 ms
(docs/decisions/0012-long-histories.md). What an array looks like there is PostgreSQL's `array_send`: five int32
(dimensions, whether there are NULLs, type of the elements, count, lower bound), then length and bytes of each element.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from millrace.api.reduce import Windows
from millrace.api.store import Store

_COLUMNS: Final = (
    ("window_us", "window_us", "i8"),
    ("lowest", "coalesce(min, 'NaN')", "f8"),
    ("highest", "coalesce(max, 'NaN')", "f8"),
    ("total", "sum", "f8"),
    ("valid", "(good + uncertain)::bigint", "i8"),
    ("earliest", "coalesce(first, 'NaN')", "f8"),
    ("latest", "coalesce(last, 'NaN')", "f8"),
    ("everything", "count::bigint", "i8"),
)
"""(name, SQL, type), in the order of `Windows`. NULL becomes NaN: an array without NULLs has elements of one width."""

QUERY: Final = (
    f"SELECT {', '.join(f'array_send(array_agg({name}))' for name, _, _ in _COLUMNS)} "  # nosec B608
    f"FROM (SELECT {', '.join(f'{what} AS {name}' for name, what, _ in _COLUMNS)} FROM {{table}} "
    "WHERE tag_id = %s AND window_us >= %s AND window_us < %s ORDER BY window_us LIMIT {limit}) AS chosen"
)
_HEAD_BYTES: Final = 20
_LENGTH_AT: Final = 12


def read_windows(store: Store, table: str, tag_id: int, from_us: int, to_us: int, rows_max: int) -> Windows:
    """The tag's first `rows_max` windows with from_us <= window < to_us, in order of time; StoreUnavailable."""
    sql = QUERY.format(table=table, limit=int(rows_max))
    return windows_of(store.tuples(sql, [tag_id, from_us, to_us])[0])


def windows_of(arrays: Sequence[bytes | None]) -> Windows:
    """Windows out of the arrays of the query; all of them are None where there was no row."""
    columns = [
        _column(array, kind) for array, (_, _, kind) in zip(arrays, _COLUMNS, strict=True) if array is not None
    ]
    return Windows(*columns) if columns else Windows.none()


def _column(array: bytes, kind: str) -> npt.NDArray[Any]:
    count = int.from_bytes(array[_LENGTH_AT : _LENGTH_AT + 4], "big")
    wire = np.dtype([("length", ">i4"), ("value", ">" + kind)])
    return np.frombuffer(array, wire, count, _HEAD_BYTES)["value"].astype(kind)
