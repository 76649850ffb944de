"""The model's own limits: a value beyond `low` or `high` (`low_low`, `high_high` where those are missing).

    score = max(0, 1 + (x - high) / width, 1 + (low - x) / width)

`width` is half the distance of the limits: the score is 0 in the middle, 1 at a limit, 2 half a band beyond
it. With one limit only it is a tenth of the limit (at least the deadband). False alarms: none beyond what
the model asks for; off where the model has no limit. A reading on the limit is not beyond it.
"""

from __future__ import annotations

import numba
import numpy as np

from millrace.batch import F64, I32, I64
from millrace.process.detect.contract import Detector, TagColumns

ON, LOW, HIGH, WIDTH = 0, 1, 2, 3
_WIDTH_OF_LIMIT = 0.1


def parameters(columns: TagColumns) -> F64:
    """(k, 4): on, low or -inf, high or inf, width."""
    low = np.where(np.isnan(columns.low), columns.low_low, columns.low)
    high = np.where(np.isnan(columns.high), columns.high_high, columns.high)
    lone = np.abs(np.where(np.isnan(low), high, low)) * _WIDTH_OF_LIMIT
    both = (high - low) / 2.0
    width = np.where(np.isnan(both), np.fmax(lone, columns.deadband), both)
    on = ~(np.isnan(low) & np.isnan(high))
    width = np.where(width > 0.0, width, 1.0)  # limits that meet, or a lone limit at 0
    return np.column_stack(
        (on.astype(np.float64), np.nan_to_num(low, nan=-np.inf), np.nan_to_num(high, nan=np.inf), width)
    )


def initial(count: int) -> F64:
    """No state: (k, 0)."""
    return np.zeros((count, 0))


@numba.njit(cache=True)
def step(slot: I32, ts_us: I64, value: F64, parameters: F64, state: F64, score: F64, expected: F64) -> None:
    """See `contract.Step`; `expected` is the nearer limit once it is passed."""
    for i in range(len(slot)):
        s = slot[i]
        score[i] = 0.0
        expected[i] = np.nan
        if parameters[s, ON] == 0.0:
            continue
        over = (value[i] - parameters[s, HIGH]) / parameters[s, WIDTH]
        under = (parameters[s, LOW] - value[i]) / parameters[s, WIDTH]
        score[i] = max(0.0, 1.0 + max(over, under))
        if over > 0.0:
            expected[i] = parameters[s, HIGH]
        elif under > 0.0:
            expected[i] = parameters[s, LOW]


LIMITS = Detector(
    name="limits",
    version=1,
    title="Value beyond the limits of the asset model",
    parameters=parameters,
    initial=initial,
    step=step,
    kinds=(0, 2),
    open_count=1,
    close_count=3,
)
