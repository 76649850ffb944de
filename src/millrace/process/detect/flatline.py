"""A value that stands still although it normally moves: a stuck sensor, a frozen gateway.

    score = run / limit,  limit = max(30, ln(1e-12) / ln(same))

`run` counts the readings in a row that stay within the resolution of the first of them; `same` is the
learned share of readings that repeat. A run of that length then has a chance of 10^-12 per run, were
repeats independent.

What the parameters trade:
- CHANCE 1e-12 and RUN_MIN 30: with 20 % repeats 30 readings are stuck, with 80 % 124. Fewer find it sooner
  and call every pause of a coarse sensor a fault.
- SAME_MAX 0.8: a signal that repeats more often (set points, counters of idle machines) does not normally
  vary and is never called stuck.
- WARM_UP 100 readings score 0. While a run is beyond its limit nothing is learned: a stuck sensor does not
  become normal by being stuck for long.

Resolution: a thousandth of the scale floor of `normal.py` (10^-7 of the range), else exact equality.
An idle machine whose sensors are exactly still looks the same as a stuck one; switch the detector off there.
Source: run length of a geometric law; the flatline test of quality control in oceanography (QARTOD) is the
fixed-count case.
"""

from __future__ import annotations

import numba
import numpy as np

from millrace.batch import F64, I32, I64
from millrace.process.detect.contract import Detector, TagColumns
from millrace.process.detect.normal import scale_floor

LOG_CHANCE = float(np.log(1e-12))
RUN_MIN = 30
SAME_MAX = 0.8
WARM_UP = 100
FORGET = 0.005
RESOLUTION_OF_FLOOR = 1e-3

ON, RESOLUTION = 0, 1
ANCHOR, RUN, SAME, COUNT = range(4)


def parameters(columns: TagColumns) -> F64:
    """(k, 2): on, resolution in the tag's unit."""
    return np.column_stack((np.ones(len(columns.kind)), scale_floor(columns) * RESOLUTION_OF_FLOOR))


def initial(count: int) -> F64:
    """State of tags that never had a reading, (k, 4)."""
    return np.zeros((count, 4))


@numba.njit(cache=True)
def step(slot: I32, ts_us: I64, value: F64, parameters: F64, state: F64, score: F64, expected: F64) -> None:
    """See `contract.Step`; a stuck value has no expected one."""
    for i in range(len(slot)):
        s = slot[i]
        score[i] = 0.0
        expected[i] = np.nan
        if parameters[s, ON] == 0.0:
            continue
        count = state[s, COUNT]
        repeats = count > 0.0 and abs(value[i] - state[s, ANCHOR]) <= parameters[s, RESOLUTION]
        run = 0.0
        if repeats:
            run = state[s, RUN] + 1.0
        else:
            state[s, ANCHOR] = value[i]
        state[s, RUN] = run
        state[s, COUNT] = count + 1.0
        same = state[s, SAME]
        if run >= RUN_MIN and count >= WARM_UP and same <= SAME_MAX:
            score[i] = run / max(float(RUN_MIN), LOG_CHANCE / np.log(max(same, 1e-12)))
        if count > 0.0 and score[i] <= 1.0:
            state[s, SAME] = same + max(FORGET, 1.0 / count) * ((1.0 if repeats else 0.0) - same)


FLATLINE = Detector(
    name="flatline",
    version=1,
    title="Value stands still although it normally moves",
    parameters=parameters,
    initial=initial,
    step=step,
    kinds=(0,),
    open_count=1,
    close_count=3,
)
