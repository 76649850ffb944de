"""All detectors of one shard: parameters, state as arrays, one step for readings, one for ticks.

The output is the same for any cut of a shard's records into batches, as long as a batch ends where a tick is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.batch import ANOMALY, CLOSED_DETECTOR_CHANGED, F64, I32, I64, Bool, Rows, empty
from millrace.process.arrays import capacity_for, collect, grown, plain
from millrace.process.detect import intervals
from millrace.process.detect.contract import Detector, TagColumns
from millrace.process.detect.intervals import INTERVAL
from millrace.process.detect.table import DETECTORS

Arrays = dict[str, npt.NDArray[Any]]


def fingerprint(detector: Detector) -> str:
    """Changes when the detector's meaning or its state's form does."""
    width = detector.initial(0).shape[1]
    counts = f"{detector.open_count}/{detector.close_count}/{detector.close_score}"
    return f"{detector.name}:{detector.version}:{width}:{counts}"


class Detection:
    """The detectors of one shard over its tags 0 … k-1."""

    def __init__(self, detectors: tuple[Detector, ...] = DETECTORS) -> None:
        self.detectors = detectors
        self.count = 0
        self._capacity = 0
        self._parameters: list[F64] = [np.zeros((0, _width(detector))) for detector in detectors]
        self._state: list[F64] = [detector.initial(0) for detector in detectors]
        self._cells: Rows = np.zeros((len(detectors), 0), INTERVAL)
        self._busy = np.zeros(0, np.uint32)
        self._suspended_us = np.zeros(0, np.int64)
        self._stepped = [j for j, detector in enumerate(detectors) if detector.step is not None]
        self._ticked = [j for j, detector in enumerate(detectors) if detector.tick is not None]
        self._numbers = np.array(self._stepped, np.uint8)
        self._open_count = np.array([detector.open_count for detector in detectors], np.int64)
        self._close_count = np.array([detector.close_count for detector in detectors], np.int64)
        self._close_score = np.array([detector.close_score for detector in detectors], np.float64)
        self._score: F64 = np.zeros((len(self._stepped), 0))
        self._expected: F64 = np.zeros((len(self._stepped), 0))

    def grow(self, count: int) -> None:
        """Tags 0 … count-1 exist; new ones have no parameters until `configure`, and score nothing."""
        self.count = max(self.count, count)
        capacity = capacity_for(self.count, self._capacity)
        if capacity == self._capacity:
            return
        for j, detector in enumerate(self.detectors):
            fresh = detector.initial(capacity)
            fresh[: self._capacity] = self._state[j]
            self._state[j] = fresh
            self._parameters[j] = grown(self._parameters[j], capacity)
        cells = np.zeros((len(self.detectors), capacity), INTERVAL)
        cells[:, : self._capacity] = self._cells
        self._cells = cells
        self._busy = grown(self._busy, capacity)
        self._suspended_us = grown(self._suspended_us, capacity)
        self._capacity = capacity

    def configure(self, columns: TagColumns) -> None:
        """Take what the model says of all tags; state is kept."""
        count = len(columns.kind)
        self.grow(count)
        for j, detector in enumerate(self.detectors):
            allowed = np.isin(columns.kind, np.array(detector.kinds, np.uint8))
            on = ((columns.detectors >> j) & 1).astype(bool) & allowed
            parameters = np.array(detector.parameters(columns), np.float64, order="C")
            parameters[:, 0] *= on
            self._parameters[j][:count] = parameters

    def step(self, slot: I32, ts_us: I64, value: F64) -> Rows:
        """Readings in time order inside their tag, sorted by (slot, arrival) -> ANOMALY rows."""
        n = len(slot)
        if n == 0:
            return empty(ANOMALY)
        slot, ts_us, value = plain(slot, np.int32), plain(ts_us, np.int64), plain(value, np.float64)
        if self._score.shape[1] < n:
            self._score = np.zeros((len(self._stepped), capacity_for(n, 1024)))
            self._expected = np.zeros_like(self._score)
        for row, j in enumerate(self._stepped):
            kernel = self.detectors[j].step
            assert kernel is not None
            kernel(
                slot, ts_us, value, self._parameters[j], self._state[j], self._score[row], self._expected[row]
            )
        return collect(ANOMALY,
            lambda out, begin: intervals.step(
                slot, ts_us, value, self._score, self._expected, self._numbers, self._open_count,
                self._close_count, self._close_score, self._busy, self._cells, out, begin,
            ),
            len(self._stepped) * n,
        )  # fmt: skip

    def tick(self, time_us: int, last_arrival_us: I64, active: Bool) -> Rows:
        """Time has passed -> ANOMALY rows. `last_arrival_us` (k,) on the shard's clock, 0: never.

        Where `active` is False the timers are suspended: nothing opens or closes, and once active again
        silence is measured from the last suspended tick, but an open silence lasts until a reading comes.
        """
        k = min(self.count, len(last_arrival_us))
        last_us, active = plain(last_arrival_us[:k], np.int64), plain(active[:k], np.bool_)
        self._suspended_us[:k][~active] = time_us
        rows = [self._tick_one(j, time_us, last_us, active) for j in self._ticked]
        return np.concatenate(rows) if rows else empty(ANOMALY)

    def _tick_one(self, j: int, time_us: int, last_us: I64, active: Bool) -> Rows:
        k = len(last_us)
        cells = self._cells[j]
        rested_us = np.where(last_us > 0, np.maximum(last_us, self._suspended_us[:k]), 0)
        since_us = np.where(cells["is_open"][:k] == 1, last_us, rested_us)
        score = np.zeros(k)
        kernel = self.detectors[j].tick
        assert kernel is not None
        kernel(time_us, since_us, self._parameters[j], self._state[j], score)
        close_score = self.detectors[j].close_score
        return collect(
            ANOMALY,
            lambda out, begin: intervals.tick(
                time_us, last_us, since_us, active, score, j, close_score, self._busy, cells, out, begin
            ),
            k,
        )

    def open_count(self) -> int:
        """Anomalies that are open now."""
        return int(np.count_nonzero(self._cells["is_open"]))

    def fingerprints(self) -> dict[str, str]:
        """Per detector: kept beside a snapshot, compared at `restore`."""
        return {detector.name: fingerprint(detector) for detector in self.detectors}

    def snapshot(self) -> Arrays:
        """The whole state as copies. Intervals that were never touched are left out."""
        k = self.count
        arrays: Arrays = {"count": np.array([k]), "suspended_us": self._suspended_us[:k].copy()}
        for j, detector in enumerate(self.detectors):
            cells = self._cells[j, :k]
            touched = np.flatnonzero((cells["last_start_us"] != 0) | (cells["run"] != 0))
            arrays[f"{detector.name}.state"] = self._state[j][:k].copy()
            arrays[f"{detector.name}.slot"] = touched
            arrays[f"{detector.name}.interval"] = cells[touched]
        return arrays

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], fingerprints: Mapping[str, str]) -> Rows:
        """Take a snapshot's state; parameters come by `configure` as always.

        A detector whose fingerprint changed starts cold: the rows close its open anomalies
        (`CLOSED_DETECTOR_CHANGED`).
        """
        self.grow(int(arrays["count"][0]))
        k = self.count
        self._suspended_us[:k] = arrays["suspended_us"]
        rows = [empty(ANOMALY)]
        for j, detector in enumerate(self.detectors):
            if f"{detector.name}.state" not in arrays:
                continue
            slot, cells = arrays[f"{detector.name}.slot"], arrays[f"{detector.name}.interval"]
            if fingerprints.get(detector.name) != fingerprint(detector):
                rows.append(self._start_cold(j, slot, cells))
                continue
            self._state[j][:k] = arrays[f"{detector.name}.state"]
            self._cells[j, slot] = cells
            at_work = (cells["is_open"] == 1) | (cells["run"] != 0)
            self._busy[slot[at_work]] |= np.uint32(1 << j)
        return np.concatenate(rows)

    def _start_cold(self, j: int, slot: npt.NDArray[Any], cells: Rows) -> Rows:
        """Keep only when intervals started (ids must not repeat); the rows that close the open ones."""
        self._cells["last_start_us"][j, slot] = cells["last_start_us"]
        is_open = cells["is_open"] == 1
        rows = np.zeros(int(is_open.sum()), ANOMALY)
        rows["slot"], rows["source"] = slot[is_open], -1
        rows["detector"], rows["kind"] = j, CLOSED_DETECTOR_CHANGED
        rows["score"] = cells["peak"][is_open]
        for field in ("start_us", "end_us", "value", "expected"):
            rows[field] = cells[field][is_open]
        return rows


def _width(detector: Detector) -> int:
    """Columns of the detector's parameters."""
    return int(detector.parameters(no_tags()).shape[1])


def no_tags() -> TagColumns:
    """The columns of no tags at all."""
    f64, i64 = np.zeros(0), np.zeros(0, np.int64)
    flags = np.zeros(0, np.bool_)
    return TagColumns(
        kind=np.zeros(0, np.uint8), modelled=flags, critical=flags, period_us=i64,
        range_low=f64, range_high=f64, low_low=f64, low=f64, high=f64, high_high=f64, deadband=f64,
        on_delay_us=i64, off_delay_us=i64, silence_us=i64, detectors=i64,
    )  # fmt: skip
