"""Judge readings one by one, in order of arrival: time, value, range, stuck clock; mark the late ones.

One kernel, because order inside a tag matters: its newest time decides what is late (law 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np

from millrace.batch import F64, I32, I64, INTEGER_EXACT_MAX, U8, Bool, Reason, ValueKind
from millrace.process.detect.contract import TagColumns

STUCK_CLOCK_REPEATS = 1_000
"""Readings of one tag with one and the same time; the next is a reject (`stuck_clock`)."""

_OLD, _FUTURE = int(Reason.TIME_TOO_OLD), int(Reason.TIME_IN_FUTURE)
_MISSING, _INFINITE = int(Reason.VALUE_MISSING), int(Reason.NOT_FINITE)
_INEXACT, _RANGE = int(Reason.INTEGER_INEXACT), int(Reason.OUT_OF_RANGE)
_STUCK, _STATE, _KIND = int(Reason.STUCK_CLOCK), int(Reason.UNKNOWN_STATE), int(Reason.WRONG_KIND)
_BOOL, _INTEGER, _STATES = int(ValueKind.BOOL), int(ValueKind.INTEGER), int(ValueKind.STATE)


@dataclass(slots=True)
class Newest:
    """Per slot: newest time and its value, repeats of that time, the shard's time when a reading last came."""

    ts_us: I64 = field(default_factory=lambda: np.full(64, -(2**62), np.int64))
    value: F64 = field(default_factory=lambda: np.full(64, np.nan))
    quality: U8 = field(default_factory=lambda: np.zeros(64, np.uint8))
    repeats: I64 = field(default_factory=lambda: np.zeros(64, np.int64))
    arrival_us: I64 = field(default_factory=lambda: np.zeros(64, np.int64))

    def grow(self, count: int, time_us: int) -> None:
        """Room for `count` slots; new ones count as heard at `time_us`."""
        size = len(self.ts_us)
        while size < count:
            self.ts_us = np.concatenate([self.ts_us, np.full(size, -(2**62), np.int64)])
            self.value = np.concatenate([self.value, np.full(size, np.nan)])
            self.quality = np.concatenate([self.quality, np.zeros(size, np.uint8)])
            self.repeats = np.concatenate([self.repeats, np.zeros(size, np.int64)])
            self.arrival_us = np.concatenate([self.arrival_us, np.zeros(size, np.int64)])
            size *= 2

    def snapshot(self) -> dict[str, np.ndarray[Any, Any]]:
        return {f"newest_{name}": getattr(self, name).copy() for name in self.__slots__}

    def restore(self, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
        for name in self.__slots__:
            setattr(self, name, arrays[f"newest_{name}"].copy())


@numba.njit(cache=True)
def _form(ts: int, value: float, quality: int, received: int, past: int, future: int) -> int:
    """What can be said of a reading without knowing its tag."""
    if ts < received - past:
        return _OLD
    if ts > received + future:
        return _FUTURE
    if np.isnan(value):
        return _MISSING if quality >= 64 else 0
    if np.isinf(value):
        return _INFINITE
    return 0


@numba.njit(cache=True)
def _meaning(value: float, kind: int, state_count: int, low: float, high: float) -> int:
    """What can be said of a value by its tag's model."""
    if np.isnan(value):
        return 0
    if kind == _INTEGER:
        if abs(value) > INTEGER_EXACT_MAX or value != np.floor(value):
            return _INEXACT
    elif kind == _BOOL:
        if value != 0.0 and value != 1.0:
            return _KIND
    elif kind == _STATES and (value != np.floor(value) or value < 0.0 or value >= state_count):
        return _STATE
    if value < low or value > high:  # false where the limit is NaN
        return _RANGE
    return 0


@numba.njit(cache=True)
def judge(
    slot: I32,
    ts_us: I64,
    value: F64,
    quality: U8,
    received_us: I64,
    past_us: I64,
    future_us: I64,
    time_us: int,
    critical: Bool,
    kind: U8,
    state_count: I32,
    range_low: F64,
    range_high: F64,
    newest_ts: I64,
    newest_value: F64,
    newest_quality: U8,
    repeats: I64,
    arrival_us: I64,
    reason: U8,
    late: U8,
) -> None:
    """Fill `reason` and `late` (n,) for rows whose reason is still 0; move each tag's newest on.

    `past_us` and `future_us` are by data class, which `critical` (slots,) tells; both bounds are allowed themselves.
    A refused reading changes nothing but its reason. Rows come in order of arrival.
    """
    for i in range(len(slot)):
        if reason[i] != 0:
            continue
        s = slot[i]
        of_class = 1 if critical[s] else 0
        past, future = past_us[of_class], future_us[of_class]
        found = _form(ts_us[i], value[i], quality[i], received_us[i], past, future)
        if found == 0:
            found = _meaning(value[i], kind[s], state_count[s], range_low[s], range_high[s])
        if found == 0 and ts_us[i] == newest_ts[s] and repeats[s] >= STUCK_CLOCK_REPEATS:
            found = _STUCK
        if found != 0:
            reason[i] = found
            continue
        arrival_us[s] = time_us
        if ts_us[i] < newest_ts[s]:
            late[i] = 1
            continue
        repeats[s] = repeats[s] + 1 if ts_us[i] == newest_ts[s] else 0
        newest_ts[s] = ts_us[i]
        newest_value[s] = value[i]
        newest_quality[s] = quality[i]


def judge_readings(
    newest: Newest,
    columns: TagColumns,
    state_count: I32,
    slot: I32,
    ts_us: I64,
    value: F64,
    quality: U8,
    received_us: I64,
    reason: U8,
    *,
    past_us: Sequence[int],
    future_us: Sequence[int],
    time_us: int,
) -> U8:
    """Reasons in place; the late flags (n,) as the answer."""
    late = np.zeros(len(slot), np.uint8)
    judge(
        slot,
        ts_us,
        value,
        quality,
        received_us,
        np.array(past_us, np.int64),
        np.array(future_us, np.int64),
        time_us,
        columns.critical,
        columns.kind,
        state_count,
        columns.range_low,
        columns.range_high,
        newest.ts_us,
        newest.value,
        newest.quality,
        newest.repeats,
        newest.arrival_us,
        reason,
        late,
    )
    return late
