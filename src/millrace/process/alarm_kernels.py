"""The states of an alarm, as kernels: limits over readings, detector rules over anomalies, delays by tick.

Every kernel fills `out` from its start and stops when it might overflow; it says how many rows it wrote and
where to go on. `busy` (k,) has bit r set while rule r of the tag is not NORMAL.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np

from millrace.batch import CLOSED, F64, I32, I64, OPENED, U32, Bool, Rows
from millrace.clock import SECOND_US

NORMAL, RISING, RAISED, FALLING = range(4)

TICK_US: Final = SECOND_US
"""An arrival is known to the tick before it: delays by tick are held back by one, so that none ends early."""

CELL: Final = np.dtype(
    [
        ("start_us", np.int64),  # when the condition began
        ("since_us", np.int64),  # when the delay began: event time for limits, tick time for detectors
        ("last_start_us", np.int64),  # of the newest alarm; 0: never
        ("value", np.float64),
        ("limit", np.float64),
        ("phase", np.uint8),
    ],
    align=True,
)
"""State of one (tag, rule)."""


@numba.njit(cache=True)
def _put(row: Rows, slot: int, rule: int, kind: int, ts_us: int, cell: Rows) -> None:
    row["slot"], row["source"], row["rule"], row["kind"] = slot, -1, rule, kind
    row["start_us"], row["ts_us"] = cell["start_us"], max(ts_us, cell["start_us"])
    row["value"], row["limit"] = cell["value"], cell["limit"]


@numba.njit(cache=True)
def _begin(cell: Rows, start_us: int, since_us: int, value: float, limit: float) -> None:
    """The condition has come: NORMAL -> RISING."""
    cell["start_us"] = max(start_us, cell["last_start_us"] + 1)
    cell["since_us"] = since_us
    cell["value"], cell["limit"], cell["phase"] = value, limit, RISING


@numba.njit(cache=True)
def _expire(
    cell: Rows, now_us: int, ts_us: int, on_delay_us: int, off_delay_us: int, slot: int, rule: int, row: Rows
) -> int:
    """Leave RISING or FALLING if its delay is over at `now_us`; rows written (0 or 1), at `ts_us`."""
    if cell["phase"] == RISING and now_us - cell["since_us"] >= on_delay_us:
        cell["phase"] = RAISED
        cell["last_start_us"] = cell["start_us"]
        _put(row, slot, rule, OPENED, ts_us, cell)
        return 1
    if cell["phase"] == FALLING and now_us - cell["since_us"] >= off_delay_us:
        cell["phase"] = NORMAL
        _put(row, slot, rule, CLOSED, ts_us, cell)
        return 1
    return 0


@numba.njit(cache=True)
def step_limits(
    slot: I32, ts_us: I64, value: F64, side: F64, limit: F64, deadband: F64, on_delay_us: I64,
    off_delay_us: I64, quiet_low: F64, quiet_high: F64, newest_us: I64, busy: U32, cells: Rows, out: Rows,
    begin: int,
) -> tuple[int, int]:  # fmt: skip
    """Limits over readings from `begin` on; (rows written, where to go on)."""
    written = 0
    for i in range(begin, len(slot)):
        s, v, t = slot[i], value[i], ts_us[i]
        if busy[s] == 0 and quiet_low[s] <= v <= quiet_high[s]:
            newest_us[s] = t
            continue
        if written + 2 * len(side) > len(out):
            return written, i
        newest_us[s] = t
        for rule in range(len(side)):
            cell = cells[s, rule]
            if cell["phase"] == NORMAL and np.isnan(limit[s, rule]):
                continue
            delay_us = on_delay_us[s] if cell["phase"] == RISING else off_delay_us[s]
            if t > cell["since_us"] + delay_us:  # the old value held until now
                end_us = cell["since_us"] + delay_us
                written += _expire(cell, t, end_us, on_delay_us[s], off_delay_us[s], s, rule, out[written])
            beyond = side[rule] * (v - limit[s, rule])
            _judge(cell, beyond > 0.0, not beyond > -deadband[s], t, v, limit[s, rule])
            written += _expire(cell, t, t, on_delay_us[s], off_delay_us[s], s, rule, out[written])
            bit = np.uint32(1) << np.uint32(rule)
            if cell["phase"] == NORMAL:
                busy[s] &= ~bit
            else:
                busy[s] |= bit
    return written, len(slot)


@numba.njit(cache=True)
def _judge(cell: Rows, is_beyond: bool, is_back: bool, ts_us: int, value: float, limit: float) -> None:
    """A reading says whether the condition is there, gone, or neither (inside the deadband)."""
    if cell["phase"] == NORMAL:
        if is_beyond:
            _begin(cell, ts_us, ts_us, value, limit)
    elif cell["phase"] == RISING:
        if not is_beyond:
            cell["phase"] = NORMAL
    elif cell["phase"] == RAISED:
        if is_back:
            cell["phase"], cell["since_us"], cell["value"] = FALLING, ts_us, value
    elif not is_back:
        cell["phase"] = RAISED


@numba.njit(cache=True)
def follow_anomalies(
    anomalies: Rows, rule_of: I64, on_delay_us: I64, off_delay_us: I64, applies: Bool, time_us: int,
    busy: U32, cells: Rows, out: Rows, begin: int,
) -> tuple[int, int]:  # fmt: skip
    """Detector rules over ANOMALY rows from `begin` on; (rows written, where to go on)."""
    written = 0
    for i in range(begin, len(anomalies)):
        if written == len(out):
            return written, i
        row = anomalies[i]
        s = row["slot"]
        rule = rule_of[row["detector"]]
        if rule < 0 or s < 0:
            continue
        cell = cells[s, rule]
        if row["kind"] == OPENED:
            if cell["phase"] == NORMAL and applies[s, rule]:
                _begin(cell, row["start_us"], time_us, row["value"], row["expected"])
            elif cell["phase"] == FALLING:
                cell["phase"] = RAISED
        elif cell["phase"] == RISING:
            cell["phase"] = NORMAL
        elif cell["phase"] == RAISED:
            cell["phase"], cell["since_us"] = FALLING, time_us
        written += _expire(
            cell, time_us, row["end_us"], on_delay_us[rule], off_delay_us[rule], s, rule, out[written]
        )
        bit = np.uint32(1) << np.uint32(rule)
        busy[s] = busy[s] & ~bit if cell["phase"] == NORMAL else busy[s] | bit
    return written, len(anomalies)


@numba.njit(cache=True)
def tick_delays(
    time_us: int, arrived_us: I64, newest_us: I64, active: Bool, on_delay_us: I64, off_delay_us: I64,
    rule_on_us: I64, rule_off_us: I64, limits: int, busy: U32, cells: Rows, out: Rows, begin: int,
) -> tuple[int, int]:  # fmt: skip
    """Delays that end by tick, from slot `begin` on; (rows written, slot to go on with)."""
    written = 0
    rules = cells.shape[1]
    for s in range(begin, len(arrived_us)):
        if busy[s] == 0 or not active[s]:
            continue
        if written + rules > len(out):
            return written, s
        for rule in range(rules):
            cell = cells[s, rule]
            if cell["phase"] != RISING and cell["phase"] != FALLING:
                continue
            on_us, off_us, now_us = rule_on_us[rule], rule_off_us[rule], time_us
            if rule < limits:
                on_us, off_us = on_delay_us[s], off_delay_us[s]
                now_us = newest_us[s] + max(time_us - arrived_us[s] - TICK_US, 0)
            end_us = cell["since_us"] + (on_us if cell["phase"] == RISING else off_us)
            gone = _expire(cell, now_us, end_us, on_us, off_us, s, rule, out[written])
            written += gone
            if gone and cell["phase"] == NORMAL:
                busy[s] &= ~(np.uint32(1) << np.uint32(rule))
    return written, len(arrived_us)
