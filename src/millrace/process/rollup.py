"""Rollups: count, min, max, sum, first, last of a tag over 1 s, 1 min and 1 h.

Every tag has 1 h; by the model's period also 1 min (up to 30 s) and 1 s (up to 500 ms); a tag without a
model has 1 h and 1 min. A window's row leaves once the tag's time passes the window, or at a tick when it
is past and nothing came for the tag for two seconds; a later reading of the same window leaves as a further
row: rows are additive.

Rows leave at ticks only, 1 s rows at once, the others spread over about eight ticks; rows that wait are
state, and what comes for their window meanwhile is merged into them. Merging adds in order of arrival, so
the output is the same, bit for bit, for any cut into batches.

How a store merges two rows of one window, the older one first: add counts, sum and hash; the smaller min,
the larger max (NaN is none); `first` of the smaller `first_us`, the older row's if equal; `last` of the
larger `last_us`, the younger row's if equal. A row whose `first` is NaN has no value: its times are 0 and
say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from millrace.batch import F64, I32, I64, LEVEL_1H, LEVEL_1M, LEVEL_1S, LEVEL_US, ROLLUP, U8, U64, Rows, empty
from millrace.clock import SECOND_US
from millrace.process.arrays import capacity_for, grown, plain
from millrace.process.detect.contract import TagColumns

SILENT_US: Final = 2 * SECOND_US
PERIOD_1S_MAX_US: Final = 500_000
PERIOD_1M_MAX_US: Final = 30 * SECOND_US
SPREAD_TICKS: Final = (1, 8, 8)
ROWS_PER_TICK_MIN: Final = 16

_EMPTY = np.iinfo(np.int64).min
_SPANS = LEVEL_US
_LEVELS = len(LEVEL_US)
_UNMODELLED = (1 << LEVEL_1H) | (1 << LEVEL_1M)

_SUMS = [
    ("sum", np.float64),
    ("min", np.float64),
    ("max", np.float64),
    ("first_us", np.int64),
    ("first", np.float64),
    ("last_us", np.int64),
    ("last", np.float64),
    ("hash", np.uint64),
    ("count", np.int32),
    ("good", np.int32),
    ("uncertain", np.int32),
    ("bad", np.int32),
]
CELL: Final = np.dtype(_SUMS, align=True)
"""An open window of one (tag, level): 80 bytes."""


def levels_of(columns: TagColumns) -> U8:
    """Bits of the levels that each tag has, (k,)."""
    minute = (columns.period_us <= PERIOD_1M_MAX_US).astype(np.uint8) << LEVEL_1M
    second = (columns.period_us <= PERIOD_1S_MAX_US).astype(np.uint8) << LEVEL_1S
    levels: U8 = np.where(columns.modelled, (1 << LEVEL_1H) | minute | second, _UNMODELLED).astype(np.uint8)
    return levels


@numba.njit(cache=True)
def _clear(cell: Rows) -> None:
    cell["count"], cell["good"], cell["uncertain"], cell["bad"] = 0, 0, 0, 0
    cell["min"], cell["max"], cell["sum"] = np.nan, np.nan, 0.0
    cell["first_us"], cell["first"], cell["last_us"], cell["last"] = 0, np.nan, 0, np.nan
    cell["hash"] = np.uint64(0)


@numba.njit(cache=True)
def _add(cell: Rows, ts_us: int, value: float, quality: int, hashed: int) -> None:
    """One reading more."""
    cell["count"] += 1
    cell["hash"] += np.uint64(hashed)
    if quality < 64:
        cell["bad"] += 1
        return
    if quality < 192:
        cell["uncertain"] += 1
    else:
        cell["good"] += 1
    if np.isnan(value):
        return
    cell["sum"] += value
    if not value >= cell["min"]:
        cell["min"] = value
    if not value <= cell["max"]:
        cell["max"] = value
    if np.isnan(cell["first"]) or ts_us < cell["first_us"]:
        cell["first_us"], cell["first"] = ts_us, value
    if np.isnan(cell["last"]) or ts_us >= cell["last_us"]:
        cell["last_us"], cell["last"] = ts_us, value


@numba.njit(cache=True)
def _put(row: Rows, slot: int, level: int, window_us: int, cell: Rows) -> None:
    """A window as a ROLLUP row."""
    row["slot"], row["level"], row["window_us"] = slot, level, window_us
    row["count"], row["good"] = cell["count"], cell["good"]
    row["uncertain"], row["bad"] = cell["uncertain"], cell["bad"]
    row["min"], row["max"], row["sum"] = cell["min"], cell["max"], cell["sum"]
    row["first_us"], row["first"] = cell["first_us"], cell["first"]
    row["last_us"], row["last"] = cell["last_us"], cell["last"]
    row["hash"] = cell["hash"]


@numba.njit(cache=True)
def _step(
    slot: I32, ts_us: I64, value: F64, quality: U8, hashed: U64, levels: U8, windows: I64, cells: Rows,
    seen_us: I64, time_us: int, waiting: Rows, held: int, begin: int,
) -> tuple[int, int]:  # fmt: skip
    """Take readings from `begin` on; (rows waiting, where to go on): stops when `waiting` might overflow."""
    for i in range(begin, len(slot)):
        if held + _LEVELS > len(waiting):
            return held, i
        s = slot[i]
        t = ts_us[i]
        seen_us[s] = time_us
        for level in range(_LEVELS):
            if not (levels[s] >> level) & 1:
                continue
            span = _SPANS[level]
            window = windows[s, level]
            if window != _EMPTY and t < window:  # late: a row of its own, merged while it waits
                row = waiting[held]
                row["slot"], row["level"], row["window_us"] = s, level, t - t % span
                _clear(row)
                _add(row, t, value[i], quality[i], hashed[i])
                held += 1
                continue
            cell = cells[s, level]
            if window == _EMPTY or t >= window + span:
                if window != _EMPTY:
                    _put(waiting[held], s, level, window, cell)
                    held += 1
                windows[s, level] = t - t % span
                _clear(cell)
            _add(cell, t, value[i], quality[i], hashed[i])
    return held, len(slot)


@numba.njit(cache=True)
def _close(
    count: int, time_us: int, silent_us: int, windows: I64, cells: Rows, seen_us: I64, waiting: Rows,
    held: int, begin: int,
) -> tuple[int, int]:  # fmt: skip
    """Close the windows of tags that said nothing for `silent_us` and whose end is past."""
    for s in range(begin, count):
        if time_us - seen_us[s] < silent_us:
            continue
        if held + _LEVELS > len(waiting):
            return held, s
        for level in range(_LEVELS):
            window = windows[s, level]
            if window != _EMPTY and window + _SPANS[level] <= time_us:
                _put(waiting[held], s, level, window, cells[s, level])
                windows[s, level] = _EMPTY
                held += 1
    return held, count


@numba.njit(cache=True)
def _merge(into: Rows, row: Rows) -> None:
    """Add a younger row of the same window."""
    into["count"] += row["count"]
    into["good"] += row["good"]
    into["uncertain"] += row["uncertain"]
    into["bad"] += row["bad"]
    into["hash"] += row["hash"]
    if np.isnan(row["first"]):
        return
    into["sum"] += row["sum"]
    if not row["min"] >= into["min"]:
        into["min"] = row["min"]
    if not row["max"] <= into["max"]:
        into["max"] = row["max"]
    if np.isnan(into["first"]) or row["first_us"] < into["first_us"]:
        into["first_us"], into["first"] = row["first_us"], row["first"]
    if np.isnan(into["last"]) or row["last_us"] >= into["last_us"]:
        into["last_us"], into["last"] = row["last_us"], row["last"]


@numba.njit(cache=True)
def _fold(rows: Rows) -> int:
    """Merge neighbours of one (slot, level, window) in place; how many rows are left."""
    kept = 0
    for i in range(1, len(rows)):
        a, b = rows[kept], rows[i]
        if a["slot"] == b["slot"] and a["level"] == b["level"] and a["window_us"] == b["window_us"]:
            _merge(a, b)
            continue
        kept += 1
        if kept != i:
            rows[kept] = b
    return kept + 1


class Rollup:
    """Open windows and waiting rows of one shard's tags 0 … k-1."""

    def __init__(self) -> None:
        self.count = 0
        self._capacity = 0
        self._time_us = 0
        self._levels: U8 = np.zeros(0, np.uint8)
        self._windows: I64 = np.zeros((0, _LEVELS), np.int64)
        self._cells: Rows = np.zeros((0, _LEVELS), CELL)
        self._seen_us: I64 = np.zeros(0, np.int64)
        self._waiting: Rows = np.zeros(1024, ROLLUP)
        self._held = 0
        self._quota = [0] * _LEVELS

    def grow(self, count: int) -> None:
        """Tags 0 … count-1 exist; without a model until `configure` says otherwise."""
        self.count = max(self.count, count)
        self._capacity = capacity_for(self.count, self._capacity)
        self._levels = grown(self._levels, self._capacity, _UNMODELLED)
        self._windows = grown(self._windows, self._capacity, _EMPTY)
        self._cells = grown(self._cells, self._capacity)
        self._seen_us = grown(self._seen_us, self._capacity)

    def configure(self, columns: TagColumns) -> None:
        """Take the levels from the model; an open window of a level that a tag lost still leaves."""
        self.grow(len(columns.kind))
        self._levels[: len(columns.kind)] = levels_of(columns)

    @property
    def levels(self) -> U8:
        """Bits of the levels that readings are rolled up to now, by slot; longer than there are tags."""
        return self._levels

    def step(self, slot: I32, ts_us: I64, value: F64, quality: U8, hashed: U64) -> None:
        """All applied readings, sorted by (slot, arrival). Whether one is late its window decides."""
        columns = (
            plain(slot, np.int32), plain(ts_us, np.int64), plain(value, np.float64), plain(quality, np.uint8),
            plain(hashed, np.uint64),
        )  # fmt: skip
        begin = 0
        while begin < len(slot):
            self._held, begin = _step(
                *columns, self._levels, self._windows, self._cells, self._seen_us, self._time_us,
                self._waiting, self._held, begin,
            )  # fmt: skip
            self._make_room(begin < len(slot))

    def tick(self, time_us: int) -> Rows:
        """Time has passed: the ROLLUP rows whose turn it is. An earlier time than before is a clock step."""
        if time_us < self._time_us:
            np.minimum(self._seen_us, time_us, out=self._seen_us)
        self._time_us = time_us
        self._close(time_us, SILENT_US)
        self._settle()
        return self._leave()

    def flush(self) -> Rows:
        """At a mark: every row that waits and every open window so far; what comes later are further rows."""
        self._close(np.iinfo(np.int64).max, 0)
        self._settle()
        rows = self._waiting[: self._held].copy()
        self._held = 0
        self._quota = [0] * _LEVELS
        return rows

    @property
    def waiting(self) -> int:
        """Rows that wait for their turn."""
        return self._held

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """The whole state as copies; only open windows are in it."""
        k = self.count
        tag, level = np.nonzero(self._windows[:k] != _EMPTY)
        return {
            "count": np.array([k]),
            "time_us": np.array([self._time_us]),
            "quota": np.array(self._quota),
            "seen_us": self._seen_us[:k].copy(),
            "levels": self._levels[:k].copy(),
            "tag": tag.astype(np.int32),
            "level": level.astype(np.uint8),
            "window_us": self._windows[tag, level],
            "cell": self._cells[tag, level],
            "waiting": self._waiting[: self._held].copy(),
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take a snapshot's state."""
        self.grow(int(arrays["count"][0]))
        k = self.count
        self._time_us = int(arrays["time_us"][0])
        self._quota = [int(quota) for quota in arrays["quota"]]
        self._seen_us[:k] = arrays["seen_us"]
        self._levels[:k] = arrays["levels"]
        self._windows[arrays["tag"], arrays["level"]] = arrays["window_us"]
        self._cells[arrays["tag"], arrays["level"]] = arrays["cell"]
        self._held = len(arrays["waiting"])
        self._waiting = grown(self._waiting, capacity_for(self._held + _LEVELS, len(self._waiting)))
        self._waiting[: self._held] = arrays["waiting"]

    def _close(self, time_us: int, silent_us: int) -> None:
        begin = 0
        while begin < self.count:
            self._held, begin = _close(
                self.count, time_us, silent_us, self._windows, self._cells, self._seen_us, self._waiting,
                self._held, begin,
            )  # fmt: skip
            self._make_room(begin < self.count)

    def _make_room(self, full: bool) -> None:
        """Fold what waits; double the room if that does not help."""
        if not full:
            return
        self._settle()
        if self._held > len(self._waiting) // 2:
            self._waiting = grown(self._waiting, 2 * len(self._waiting))

    def _settle(self) -> None:
        """Sort what waits by (level, window, slot), stably, and merge rows of one window, older first."""
        if self._held < 2:
            return
        rows = self._waiting[: self._held]
        rows = rows.take(np.lexsort((rows["slot"], rows["window_us"], rows["level"])))  # indexing: 25 times as long
        self._held = int(_fold(rows))
        self._waiting[: self._held] = rows[: self._held]

    def _leave(self) -> Rows:
        """Take this tick's share of the waiting rows, oldest windows first within each level."""
        if self._held == 0:
            return empty(ROLLUP)
        rows = self._waiting[: self._held]
        ends = np.searchsorted(rows["level"], np.arange(_LEVELS + 1))
        goes = np.zeros(len(rows), np.bool_)
        for level in range(_LEVELS):
            begin, end = int(ends[level]), int(ends[level + 1])
            goes[begin : begin + self._share(level, end - begin)] = True
        leaving, staying = rows.compress(goes), rows.compress(~goes)
        self._held = len(staying)
        self._waiting[: self._held] = staying
        return leaving

    def _share(self, level: int, waiting: int) -> int:
        """Rows of a level that leave at this tick: never fewer than before until the level is empty."""
        share = max(self._quota[level], ROWS_PER_TICK_MIN, -(-waiting // SPREAD_TICKS[level]))
        self._quota[level] = 0 if waiting <= share else share
        return min(share, waiting)
