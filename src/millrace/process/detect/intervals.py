"""Scores into anomalies: the one kernel that opens and closes intervals, per (tag, detector).

    open_count readings in a row over 1.0       -> OPENED, start at the first of them
    close_count readings in a row under close_score -> CLOSED, end at the newest reading over 1.0
    in between                                   -> the interval goes on

Two anomalies of one tag and detector never start at the same time (their id is made from it): a start that
is not after the last one is put one microsecond behind it.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np

from millrace.batch import CLOSED, F64, I32, I64, OPENED, U8, U32, Bool, Rows

INTERVAL: Final = np.dtype(
    [
        ("start_us", np.int64),
        ("end_us", np.int64),
        ("last_start_us", np.int64),  # of the newest interval that was opened; 0: never
        ("peak", np.float64),
        ("value", np.float64),
        ("expected", np.float64),
        ("run", np.int32),  # readings in a row over 1.0 (closed) or under the close score (open)
        ("is_open", np.uint8),
    ],
    align=True,
)
"""State of one (tag, detector)."""


@numba.njit(cache=True)
def step(
    slot: I32,
    ts_us: I64,
    value: F64,
    score: F64,
    expected: F64,
    numbers: U8,
    open_count: I64,
    close_count: I64,
    close_score: F64,
    busy: U32,
    cells: Rows,
    out: Rows,
    begin: int,
) -> tuple[int, int]:
    """Take scores (rows, capacity >= n) of the detectors `numbers` (rows,) for n readings.

    `busy` (k,): bit j while detector j's interval is not at rest. `cells` (detectors, k) INTERVAL. Fills
    `out` from its start; returns (rows written, where to go on), the latter rows * n when all is done.
    """
    n = len(slot)
    written = 0
    for row in range(begin // n, len(numbers)):
        j = numbers[row]
        bit = np.uint32(1) << np.uint32(j)
        for i in range(begin - row * n if begin > row * n else 0, n):
            s = slot[i]
            x = score[row, i]
            if x <= 1.0 and not busy[s] & bit:
                continue
            if written == len(out):
                return written, row * n + i
            cell = cells[j, s]
            if cell["is_open"]:
                if _go_on(cell, ts_us[i], value[i], x, expected[row, i], close_count[j], close_score[j]):
                    _put(out[written], s, j, CLOSED, cell)
                    written += 1
                    busy[s] &= ~bit
            elif x > 1.0:
                busy[s] |= bit
                if _begin(cell, ts_us[i], value[i], x, expected[row, i], open_count[j]):
                    _put(out[written], s, j, OPENED, cell)
                    written += 1
            else:
                cell["run"] = 0
                busy[s] &= ~bit
    return written, len(numbers) * n


@numba.njit(cache=True)
def tick(
    time_us: int,
    last_us: I64,
    since_us: I64,
    active: Bool,
    score: F64,
    number: int,
    close_score: float,
    busy: U32,
    cells: Rows,
    out: Rows,
    begin: int,
) -> tuple[int, int]:
    """Take the scores (k,) of a tick-driven detector; tags that are not active stay as they are.

    `since_us` is where an interval starts that opens now, `last_us` where one ends that closes now.
    Returns (rows written, slot to go on with), the latter k when all is done.
    """
    bit = np.uint32(1) << np.uint32(number)
    written = 0
    for s in range(begin, len(last_us)):
        x = score[s]
        if not active[s] or (x <= 1.0 and not busy[s] & bit):
            continue
        if written == len(out):
            return written, s
        cell = cells[s]
        if not cell["is_open"]:
            busy[s] |= bit
            _begin(cell, since_us[s], np.nan, x, np.nan, 0)
            cell["end_us"] = time_us
            _put(out[written], s, number, OPENED, cell)
            written += 1
        elif x >= close_score:
            cell["end_us"] = time_us
            cell["peak"] = max(cell["peak"], x)
        else:
            if last_us[s] > cell["start_us"]:
                cell["end_us"] = min(last_us[s], time_us)  # an arrival may be put ahead, as a grace
            cell["is_open"] = 0
            cell["run"] = 0
            busy[s] &= ~bit
            _put(out[written], s, number, CLOSED, cell)
            written += 1
    return written, len(last_us)


@numba.njit(cache=True)
def _begin(cell: Rows, ts_us: int, value: float, score: float, expected: float, open_count: int) -> bool:
    """A closed interval sees a score over 1.0; whether it opens now."""
    if cell["run"] == 0:
        cell["start_us"] = ts_us
        cell["peak"] = -1.0
    cell["run"] += 1
    cell["end_us"] = ts_us
    if score > cell["peak"]:
        cell["peak"], cell["value"], cell["expected"] = score, value, expected
    if cell["run"] < open_count:
        return False
    cell["start_us"] = max(cell["start_us"], cell["last_start_us"] + 1)
    cell["last_start_us"] = cell["start_us"]
    cell["is_open"] = 1
    cell["run"] = 0
    return True


@numba.njit(cache=True)
def _go_on(
    cell: Rows, ts_us: int, value: float, score: float, expected: float, close_count: int, close_score: float
) -> bool:
    """An open interval sees a score; whether it closes now."""
    if score > 1.0:
        cell["end_us"] = ts_us
        if score > cell["peak"]:
            cell["peak"], cell["value"], cell["expected"] = score, value, expected
    cell["run"] = cell["run"] + 1 if score < close_score else 0
    if cell["run"] < close_count:
        return False
    cell["is_open"] = 0
    cell["run"] = 0
    return True


@numba.njit(cache=True)
def _put(row: Rows, slot: int, number: int, kind: int, cell: Rows) -> None:
    """Write an ANOMALY row."""
    row["slot"], row["source"], row["detector"], row["kind"] = slot, -1, number, kind
    row["start_us"], row["end_us"] = cell["start_us"], max(cell["end_us"], cell["start_us"])
    row["score"], row["value"], row["expected"] = cell["peak"], cell["value"], cell["expected"]
