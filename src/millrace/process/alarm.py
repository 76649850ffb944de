"""Alarms: conditions that a person must act on. One table of rules, one book per shard.

    NORMAL -> (condition) RISING -> (on delay over) RAISED -> (condition gone) FALLING -> (off delay over)
    NORMAL

Limits: the condition is a value beyond the limit; it is gone once the value is back by more than the
deadband. Delays run in event time from reading to reading; when no reading comes, ticks carry them on from
the newest one. Detector rules follow the detector's anomalies, their delays run in ticks. Silence is
measured by ticks alone.

An alarm's id is made from (tag or source, rule, start): a start that is not after the last one of the same
tag and rule is put one microsecond behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from millrace.batch import ALARM, CLOSED, F64, I32, I64, OPENED, Bool, Rows
from millrace.clock import SECOND_US
from millrace.process.alarm_kernels import (
    CELL,
    FALLING,
    NORMAL,
    RAISED,
    follow_anomalies,
    step_limits,
    tick_delays,
)
from millrace.process.alarm_rules import (
    ALARM_NAMES,
    ALARMS,
    DETECTOR,
    LIMIT,
    SOURCE_SILENCE,
    TAG_SILENCE,
    Rule,
)
from millrace.process.arrays import capacity_for, collect, grown, plain
from millrace.process.detect.book import no_tags
from millrace.process.detect.contract import TagColumns
from millrace.process.detect.silence import allowed_silence_us
from millrace.process.detect.table import DETECTOR_NAMES

__all__ = ["ALARMS", "ALARM_NAMES", "AlarmBook", "Rule"]

LOW, HIGH = -1.0, 1.0

_SIDE: Final = {"low_low": LOW, "low": LOW, "high": HIGH, "high_high": HIGH}


@dataclass(slots=True)
class _Limits:
    """The limit rules' parameters: per rule number (r,) side; per tag (k, r) limit, (k,) the rest."""

    side: F64
    limit: F64
    deadband: F64
    on_delay_us: I64
    off_delay_us: I64
    quiet_low: F64  # between these a resting tag needs no look
    quiet_high: F64


class AlarmBook:
    """The alarms of one shard over its tags 0 … k-1 and its sources."""

    def __init__(self) -> None:
        self.count = 0
        self.sources = 0
        self._capacity = 0
        self._time_us = 0
        self._cells: Rows = np.zeros((0, len(ALARMS)), CELL)
        self._busy = np.zeros(0, np.uint32)
        self._newest_us = np.zeros(0, np.int64)
        self._suspended_us = np.zeros(0, np.int64)
        self._source_cells: Rows = np.zeros(0, CELL)
        self._source_silence_us = np.zeros(0, np.int64)
        self._rule_on_us = np.array([rule.on_delay_us for rule in ALARMS], np.int64)
        self._rule_off_us = np.array([rule.off_delay_us for rule in ALARMS], np.int64)
        self._rule_of = _rules_of_detectors()
        self._tag_silent = _number(TAG_SILENCE)
        self._source_silent = _number(SOURCE_SILENCE)
        self._set_columns(no_tags())

    def grow(self, count: int, sources: int) -> None:
        """Tags 0 … count-1 and sources 0 … sources-1 exist; no rule looks at new ones until `configure`."""
        self.count, self.sources = max(self.count, count), max(self.sources, sources)
        if len(self._source_cells) < self.sources:
            room = capacity_for(self.sources, len(self._source_cells))
            self._source_cells = grown(self._source_cells, room)
            self._source_silence_us = grown(self._source_silence_us, room)
        capacity = capacity_for(self.count, self._capacity)
        if capacity == self._capacity:
            return
        self._capacity = capacity
        self._cells = grown(self._cells, capacity)
        self._busy = grown(self._busy, capacity)
        self._newest_us = grown(self._newest_us, capacity)
        self._suspended_us = grown(self._suspended_us, capacity)
        self._set_columns(self._columns)

    def configure(self, columns: TagColumns, source_silence_us: I64) -> None:
        """Take what the model says of all tags and sources (s,); state is kept.

        An alarm whose limit or rule is gone returns to normal at the tag's next reading or anomaly.
        """
        self.grow(len(columns.kind), len(source_silence_us))
        self._set_columns(columns)
        self._source_silence_us[: len(source_silence_us)] = source_silence_us

    def step(self, slot: I32, ts_us: I64, value: F64, anomalies: Rows) -> Rows:
        """Readings in time order inside their tag, sorted by (slot, arrival), and the anomalies in them."""
        slot, ts_us, value = plain(slot, np.int32), plain(ts_us, np.int64), plain(value, np.float64)
        p = self._limits
        rows = collect(ALARM,
            lambda out, begin: step_limits(
                slot, ts_us, value, p.side, p.limit, p.deadband, p.on_delay_us, p.off_delay_us, p.quiet_low,
                p.quiet_high, self._newest_us, self._busy, self._cells, out, begin,
            ),
            len(slot),
        )  # fmt: skip
        if len(anomalies) == 0:
            return rows
        return np.concatenate([rows, self._follow(anomalies)])

    def tick(self, time_us: int, last_arrival_us: I64, source_last_arrival_us: I64, active: Bool) -> Rows:
        """Time has passed. Arrivals (k,), (s,) on the shard's clock, 0: never.

        Where `active` (k,) is False the tag's timers are suspended and start again once it is active.
        A source's timer is restarted by its arrival alone.
        """
        self._time_us = time_us
        k = min(self.count, len(last_arrival_us))
        active = plain(active[:k], np.bool_)
        self._suspended_us[:k][~active] = time_us
        arrived_us = np.where(
            last_arrival_us[:k] > 0, np.maximum(last_arrival_us[:k], self._suspended_us[:k]), 0
        )
        p = self._limits
        delays = collect(ALARM,
            lambda out, begin: tick_delays(
                time_us, arrived_us, self._newest_us, active, p.on_delay_us, p.off_delay_us, self._rule_on_us,
                self._rule_off_us, len(p.side), self._busy, self._cells, out, begin,
            ),
            k,
        )  # fmt: skip
        tags = self._tick_tags(time_us, last_arrival_us[:k], arrived_us, active)
        return np.concatenate([delays, tags, self._tick_sources(time_us, source_last_arrival_us)])

    def raised_count(self) -> int:
        """Alarms that are raised now."""
        tags = np.isin(self._cells["phase"][: self.count], (RAISED, FALLING))
        return int(tags.sum() + (self._source_cells["phase"] == RAISED).sum())

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """The whole state as copies; cells that were never touched are left out."""
        k = self.count
        tag, rule = np.nonzero((self._cells["phase"][:k] != NORMAL) | (self._cells["last_start_us"][:k] != 0))
        return {
            "count": np.array([k, self.sources]),
            "time_us": np.array([self._time_us]),
            "newest_us": self._newest_us[:k].copy(),
            "suspended_us": self._suspended_us[:k].copy(),
            "busy": self._busy[:k].copy(),
            "tag": tag.astype(np.int32),
            "rule": rule.astype(np.uint8),
            "cell": self._cells[tag, rule],
            "source_cell": self._source_cells[: self.sources].copy(),
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take a snapshot's state; limits come by `configure` as always."""
        k, sources = (int(number) for number in arrays["count"])
        self.grow(k, sources)
        self._time_us = int(arrays["time_us"][0])
        self._newest_us[:k] = arrays["newest_us"]
        self._suspended_us[:k] = arrays["suspended_us"]
        self._busy[:k] = arrays["busy"]
        self._cells[arrays["tag"], arrays["rule"]] = arrays["cell"]
        self._source_cells[:sources] = arrays["source_cell"]

    def _set_columns(self, columns: TagColumns) -> None:
        self._columns = columns
        self._limits = _limits(columns, self._capacity)
        self._allowed_us = grown(allowed_silence_us(columns), self._capacity, np.iinfo(np.int64).max)
        applies = np.zeros((self._capacity, len(ALARMS)), np.bool_)
        for number, rule in enumerate(ALARMS):
            applies[: len(columns.kind), number] = columns.critical if rule.critical_only else True
        applies[: len(columns.kind), self._tag_silent] &= columns.modelled
        self._applies = applies

    def _follow(self, anomalies: Rows) -> Rows:
        return collect(ALARM,
            lambda out, begin: follow_anomalies(
                anomalies, self._rule_of, self._rule_on_us, self._rule_off_us, self._applies, self._time_us,
                self._busy, self._cells, out, begin,
            ),
            len(anomalies),
        )  # fmt: skip

    def _tick_tags(self, time_us: int, last_us: I64, arrived_us: I64, active: Bool) -> Rows:
        """Tags that fell silent or spoke again; an alarm that is raised lasts until a reading comes."""
        k, rule = len(last_us), self._tag_silent
        cells, allowed_us = self._cells[:k, rule], self._allowed_us[:k]
        looks = active & self._applies[:k, rule] & (arrived_us > 0)
        raised = cells["phase"] == RAISED
        falls = looks & ~raised & (time_us - arrived_us > allowed_us)
        speaks = raised & (active & (time_us - last_us <= allowed_us) | ~self._applies[:k, rule])
        rows = _silence(cells, falls, speaks, arrived_us, last_us, allowed_us, time_us, rule)
        rows["slot"], rows["source"] = np.flatnonzero(falls | speaks), -1
        return rows

    def _tick_sources(self, time_us: int, last_us: I64) -> Rows:
        n = min(self.sources, len(last_us))
        cells, last_us, allowed_us = self._source_cells[:n], last_us[:n], self._source_silence_us[:n]
        raised = cells["phase"] == RAISED
        silent = (last_us > 0) & (allowed_us > 0) & (time_us - last_us > allowed_us)
        falls, speaks = silent & ~raised, raised & ~silent
        rows = _silence(cells, falls, speaks, last_us, last_us, allowed_us, time_us, self._source_silent)
        rows["slot"], rows["source"] = -1, np.flatnonzero(falls | speaks)
        return rows


def _silence(
    cells: Rows,
    falls: Bool,
    speaks: Bool,
    since_us: I64,
    last_us: I64,
    allowed_us: I64,
    time_us: int,
    rule: int,
) -> Rows:
    """Raise where `falls`, return to normal where `speaks`; rows by number, value and limit in seconds."""
    number = np.flatnonzero(falls | speaks)
    rows = np.zeros(len(number), ALARM)
    if len(number) == 0:
        return rows
    touched = cells[number]
    falling = falls[number]
    start_us = np.maximum(since_us[number], touched["last_start_us"] + 1)
    touched["start_us"] = np.where(falling, start_us, touched["start_us"])
    touched["last_start_us"] = touched["start_us"]
    touched["phase"] = np.where(falling, RAISED, NORMAL)
    cells[number] = touched
    rows["rule"], rows["kind"] = rule, np.where(falling, OPENED, CLOSED)
    rows["start_us"] = touched["start_us"]
    rows["ts_us"] = np.where(falling, time_us, np.clip(last_us[number], touched["start_us"], time_us))
    rows["value"] = np.maximum(time_us - np.where(falling, since_us[number], last_us[number]), 0) / SECOND_US
    rows["limit"] = allowed_us[number] / SECOND_US
    return rows


def _limits(columns: TagColumns, capacity: int) -> _Limits:
    """The limit rules' parameters, padded to the capacity with tags that have no limit."""
    names = [rule.of for rule in ALARMS if rule.condition == LIMIT]
    side = np.array([_SIDE[name] for name in names])
    limit = np.full((capacity, len(names)), np.nan)
    limit[: len(columns.kind)] = np.column_stack([getattr(columns, name) for name in names])
    quiet_low = np.nan_to_num(limit[:, side == LOW], nan=-np.inf).max(axis=1, initial=-np.inf)
    quiet_high = np.nan_to_num(limit[:, side == HIGH], nan=np.inf).min(axis=1, initial=np.inf)
    return _Limits(
        side,
        limit,
        grown(np.maximum(np.nan_to_num(columns.deadband), 0.0), capacity),
        grown(np.maximum(columns.on_delay_us, 0), capacity),
        grown(np.maximum(columns.off_delay_us, 0), capacity),
        quiet_low,
        quiet_high,
    )


def _rules_of_detectors() -> I64:
    """Rule number by detector number, -1 where no rule looks at the detector."""
    names = {rule.of: number for number, rule in enumerate(ALARMS) if rule.condition == DETECTOR}
    return np.array([names.get(name, -1) for name in DETECTOR_NAMES], np.int64)


def _number(condition: str) -> int:
    return next(number for number, rule in enumerate(ALARMS) if rule.condition == condition)
