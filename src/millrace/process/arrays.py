"""Arrays as kernels were compiled for and as the state grows: contiguous, writable, doubled when full."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.batch import Rows

CAPACITY_MIN = 64
ROWS_AT_ONCE = 256


def plain(column: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The column as a contiguous writable array of that type; copied only if it is not.

    A read-only or strided array is another type to numba: it would compile the kernel anew in the middle of
    the flow.
    """
    flags = column.flags
    if column.dtype == dtype and flags.c_contiguous and flags.writeable and flags.aligned:
        return column
    return np.array(column, dtype, order="C", copy=True)


def capacity_for(count: int, capacity: int) -> int:
    """Room for `count` rows: the same, or doubled until they fit."""
    capacity = max(capacity, CAPACITY_MIN)
    while capacity < count:
        capacity *= 2
    return capacity


def grown(array: npt.NDArray[Any], capacity: int, fill: Any = 0) -> npt.NDArray[Any]:
    """The array with its first axis as long as `capacity`; new rows hold `fill`."""
    if len(array) == capacity:
        return array
    out = np.zeros((capacity, *array.shape[1:]), array.dtype)
    if fill:
        out[len(array) :] = fill
    out[: len(array)] = array
    return out


def collect(dtype: np.dtype[Any], kernel: Callable[[Rows, int], tuple[int, int]], end: int) -> Rows:
    """All rows of a kernel that stops when its output is full: (out, begin) -> (rows written, go on at).

    Most calls write next to nothing, so the output starts small.
    """
    parts = [np.zeros(0, dtype)]
    begin, room = 0, ROWS_AT_ONCE
    while begin < end:
        out = np.zeros(room, dtype)
        written, begin = kernel(out, begin)
        parts.append(out[:written])
        room *= 4
    return parts[-1] if len(parts) <= 2 else np.concatenate(parts)
