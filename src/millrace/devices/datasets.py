"""Labelled CSV datasets as they are published: a time column, signals, and what is known to be wrong.

Known are SKAB (`waico/SKAB`, a water circulation rig, `;`-separated, columns `anomaly` and `changepoint`)
and NAB (`numenta/NAB`, `timestamp,value`, labels in a file of their own). Any other CSV works if its first
column is a time and the others are numbers. Data is read where it lies and never copied.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from millrace.batch import F64, I64, Bool
from millrace.clock import SECOND_US
from millrace.devices.nab_labels import windows_of
from millrace.errors import SettingError

FILE_BYTES_MAX: Final = 500_000_000
SECONDS_MAX: Final = 2.0**42  # the distance of two such times fits an int64 of microseconds
LABEL_COLUMNS: Final = ("anomaly", "changepoint")

UNITS: Final = {
    "accelerometer1rms": "g",
    "accelerometer2rms": "g",
    "current": "A",
    "pressure": "bar",
    "temperature": "degC",
    "thermocouple": "degC",
    "voltage": "V",
    "volume-flow-raterms": "l/min",
}
"""Units of SKAB's sensors; a signal that is not listed is dimensionless."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows in order of time. `ts_us` (n,), `values` (n, k) with NaN where a cell is empty, `anomaly` (n,)."""

    name: str
    signals: tuple[str, ...]
    ts_us: I64
    values: F64
    anomaly: Bool
    labelled: bool

    @property
    def duration_us(self) -> int:
        return int(self.ts_us[-1] - self.ts_us[0])


def read_dataset(path: Path) -> Dataset:
    """A dataset out of a CSV file; SettingError names the line that cannot be read."""
    try:
        size = path.stat().st_size
        if size > FILE_BYTES_MAX:
            raise SettingError(str(path), got=f"{size} bytes", want=f"at most {FILE_BYTES_MAX}")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        got = (isinstance(error, OSError) and error.strerror) or str(error)
        raise SettingError(str(path), got=got, want="a CSV file that can be read as UTF-8") from None
    first = text.split("\n", 1)[0]
    rows = csv.reader(text.splitlines(), delimiter=max(";,\t", key=first.count))
    try:
        header = [signal_name(cell) for cell in next(rows, [])]
        _check_header(path, header, first)
        return _dataset(path, header, rows)
    except csv.Error as error:
        want = "cells of a time and of numbers"
        raise SettingError(f"{path}:{rows.line_num}", got=str(error), want=want) from None


def _check_header(path: Path, header: list[str], said: str) -> None:
    """A signal at least, and no two of one name: a tag has one value at a time."""
    signals = [name for name in header[1:] if name not in LABEL_COLUMNS]
    if not signals:
        raise SettingError(f"{path}:1", got=said[:80], want="a time column and at least one signal")
    twice = next((name for name, count in Counter(signals).items() if count > 1), None)
    if twice:
        raise SettingError(
            f"{path}:1", got=f"more than one {twice}", want="a name of its own for each signal"
        )


def _dataset(path: Path, header: list[str], rows: Iterator[list[str]]) -> Dataset:
    times: list[int] = []
    cells: list[list[float]] = []
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        try:
            times.append(time_us(row[0]))
            cells.append([float(cell) if cell.strip() else math.nan for cell in row[1:]])
            if len(row) != len(header):
                raise ValueError(f"{len(row)} cells")
        except ValueError as error:
            want = f"a time and {len(header) - 1} numbers"
            raise SettingError(f"{path}:{line}", got=str(error), want=want) from None
    if not times:
        raise SettingError(str(path), got="a header only", want="at least one row")
    order = np.argsort(np.array(times, np.int64), kind="stable")
    values = np.array(cells, np.float64)[order]
    signals = [index for index, name in enumerate(header[1:]) if name not in LABEL_COLUMNS]
    ts_us = np.array(times, np.int64)[order]
    in_rows = "anomaly" in header
    anomaly = values[:, header.index("anomaly") - 1] > 0.5 if in_rows else _in_windows(path, ts_us)
    return Dataset(
        name=dataset_name(path),
        signals=tuple(header[1 + index] for index in signals),
        ts_us=ts_us,
        values=np.ascontiguousarray(values[:, signals]),
        anomaly=np.zeros(len(ts_us), bool) if anomaly is None else anomaly,
        labelled=anomaly is not None,
    )


def _in_windows(path: Path, ts_us: I64) -> Bool | None:
    """Which rows NAB's labels call abnormal; None where they say nothing of this recording."""
    windows = windows_of(path)
    if windows is None:
        return None
    inside = np.zeros(len(ts_us), bool)
    for begin, end in windows:
        try:
            inside |= (ts_us >= time_us(begin)) & (ts_us <= time_us(end))
        except ValueError as error:
            want = "two times for each window"
            raise SettingError(f"the labels of {path}", got=str(error), want=want) from None
    return inside


def time_us(text: str) -> int:
    """Microseconds out of an ISO time (UTC where it names no zone) or a number of seconds since 1970."""
    try:
        seconds = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text.strip())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * SECOND_US)
    if not abs(seconds) < SECONDS_MAX:  # NaN too
        raise ValueError(f"time {text[:40]}")
    return round(seconds * SECOND_US)


def signal_name(text: str) -> str:
    """A header's cell as a name in a tag's path: lower case, one dash for anything else."""
    return re.sub(r"[^a-z0-9]+", "-", text.strip().lower()).strip("-") or "signal"


def dataset_name(path: Path) -> str:
    """`valve1/0` for `…/valve1/0.csv`: a file's number alone says nothing."""
    return f"{signal_name(path.parent.name)}/{signal_name(path.stem)}"
