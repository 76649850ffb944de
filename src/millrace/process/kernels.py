"""Compile every kernel, or load what was compiled before, while nobody waits: call it before the first batch.

Cold it takes some twenty seconds on one core, from numba's cache some tenths of a second.
"""

from __future__ import annotations

import numpy as np

from millrace.batch import ANOMALY
from millrace.clock import DAY_US, HOUR_US
from millrace.process.alarm import AlarmBook
from millrace.process.detect import Detection, TagColumns
from millrace.process.frame_warm_up import pass_two_frames
from millrace.process.rollup import Rollup
from millrace.protocols import ndjson


def compile_kernels() -> None:
    """Run all books of a shard once over one tag, then a whole shard; nothing is kept."""
    columns = _one_tag()
    detection, rollup, alarms = Detection(), Rollup(), AlarmBook()
    detection.configure(columns)
    rollup.configure(columns)
    alarms.configure(columns, np.array([HOUR_US]))
    slot, ts_us, value = np.zeros(2, np.int32), np.full(2, DAY_US), np.ones(2)
    quality, hashed = np.full(2, 192, np.uint8), np.zeros(2, np.uint64)
    detection.step(slot, ts_us, value)
    alarms.step(slot, ts_us, value, np.zeros(1, ANOMALY))
    for begin_us in (2 * HOUR_US, 0):  # the second is late: two rows wait and are folded
        rollup.step(slot, ts_us + begin_us, value, quality, hashed)
    heard, active = np.full(1, DAY_US), np.ones(1, np.bool_)
    detection.tick(DAY_US, heard, active)
    alarms.tick(DAY_US, heard, heard, active)
    rollup.tick(DAY_US)
    rollup.flush()
    ndjson.compile_kernels()  # of records that were put past the door
    pass_two_frames()


def _one_tag() -> TagColumns:
    nan, zero, yes = np.full(1, np.nan), np.zeros(1, np.int64), np.ones(1, np.bool_)
    return TagColumns(
        kind=np.zeros(1, np.uint8), modelled=yes, critical=yes, period_us=np.full(1, 100_000), range_low=nan,
        range_high=nan, low_low=nan, low=nan, high=np.zeros(1), high_high=nan, deadband=np.zeros(1),
        on_delay_us=zero, off_delay_us=zero, silence_us=zero, detectors=np.full(1, -1),
    )  # fmt: skip
