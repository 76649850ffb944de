"""Columns of live blobs: READING rows taken apart, packed in the narrowest exact types, read back.

Compiled code looks at the values, since a blob of one shard often holds some hundred readings: then twenty NumPy
calls cost more than the bytes that they make.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from millrace.batch import F64, I32, I64, QUALITY_GOOD, READING, U8, Rows

SLOT_WIDE: Final = 1
TIME_WIDE: Final = 2
VALUE_WIDE: Final = 4
QUALITY: Final = 8
LATE: Final = 16

Columns = tuple[I32, I64, F64, U8, U8]
"""slot, ts_us, value, quality, late, (n,) each."""


def columns_of(readings: Rows) -> Columns:
    """slot, ts_us, value, quality, late of READING rows, each contiguous."""
    n = len(readings)
    columns = (np.empty(n, np.int32), np.empty(n, np.int64), np.empty(n), np.empty(n, np.uint8), np.empty(n, np.uint8))
    _split(readings, *columns)
    return columns


@numba.njit(cache=True)
def _split(rows: Rows, slot: I32, ts_us: I64, value: F64, quality: U8, late: U8) -> None:
    for i in range(len(rows)):
        row = rows[i]
        slot[i], ts_us[i], value[i] = row["slot"], row["ts_us"], row["value"]
        quality[i], late[i] = row["quality"], row["late"]


@numba.njit(cache=True)
def take_newer(
    slot: I32, ts_us: I64, value: F64, quality: U8, late: U8, newest_us: I64, newest: F64, newest_quality: U8
) -> None:
    """Put readings (n,), in order of arrival, into the latest values (k,) unless a newer one is there."""
    for i in range(len(slot)):
        s = slot[i]
        if late[i] == 0 and ts_us[i] >= newest_us[s]:
            newest_us[s], newest[s], newest_quality[s] = ts_us[i], value[i], quality[i]


@numba.njit(cache=True)
def _survey(slot: I32, ts_us: I64, value: F64, quality: U8, late: U8) -> tuple[int, int]:
    """(oldest time, flags): what the narrow types cannot say exactly, and which columns there are at all."""
    flags = 0
    oldest = newest = ts_us[0]
    for i in range(len(slot)):
        oldest, newest = min(oldest, ts_us[i]), max(newest, ts_us[i])
        if slot[i] > 0xFFFF:
            flags |= SLOT_WIDE
        if not np.isnan(value[i]) and np.float64(np.float32(value[i])) != value[i]:
            flags |= VALUE_WIDE
        if quality[i] != QUALITY_GOOD:
            flags |= QUALITY
        if late[i] != 0:
            flags |= LATE
    if newest - oldest > 0xFFFF_FFFF:
        flags |= TIME_WIDE
    return oldest, flags


def compile_kernels() -> None:
    """Compile, or load what was compiled before, while nobody waits."""
    columns = columns_of(np.zeros(1, READING))
    pack_columns(columns)
    take_newer(*columns, np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.uint8))


def pack_columns(columns: Columns) -> tuple[int, list[npt.NDArray[Any]], int]:
    """Base time, columns in order of the format, flags."""
    slot, ts_us, value, quality, late = columns
    if not len(slot):
        return 0, [], 0
    base_us, flags = _survey(slot, ts_us, value, quality, late)
    packed: list[npt.NDArray[Any]] = [
        slot if flags & SLOT_WIDE else slot.astype(np.uint16),
        (ts_us - base_us).astype(np.int64 if flags & TIME_WIDE else np.uint32, copy=False),
        value if flags & VALUE_WIDE else value.astype(np.float32),
    ]
    if flags & QUALITY:
        packed.append(quality)
    if flags & LATE:
        packed.append(late)
    return base_us, packed, flags


def unpack_columns(data: bytes, at: int, count: int, flags: int, base_us: int) -> tuple[I32, I64, F64, U8, U8, int]:
    """Columns in their full types, and where they end."""

    def column(dtype: type) -> npt.NDArray[Any]:
        nonlocal at
        out: npt.NDArray[Any] = np.frombuffer(data, dtype, count, at)
        at += out.nbytes
        return out

    slot = column(np.int32 if flags & SLOT_WIDE else np.uint16).astype(np.int32)
    ts_us = column(np.int64 if flags & TIME_WIDE else np.uint32) + np.int64(base_us)
    value = column(np.float64 if flags & VALUE_WIDE else np.float32).astype(np.float64)
    quality = column(np.uint8).copy() if flags & QUALITY else np.full(count, QUALITY_GOOD, np.uint8)
    late = column(np.uint8).copy() if flags & LATE else np.zeros(count, np.uint8)
    return slot, ts_us, value, quality, late, at
