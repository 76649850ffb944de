"""No reading for too long: a dropout of a tag. Driven by ticks, so a replay sees the same silence.

    score = (time - last arrival) / allowed silence

The allowed silence is the model's `silence_us`, else ten periods, at least ten seconds. Ten periods: one
lost reading in two still gives a false opening only once in about a thousand stretches. Off for tags
without a model: nothing says how often they should speak (their source's silence raises an alarm all the
same).
"""

from __future__ import annotations

import numba
import numpy as np

from millrace.batch import F64, I64
from millrace.clock import SECOND_US
from millrace.process.detect.contract import Detector, TagColumns

PERIODS = 10
SILENCE_MIN_US = 10 * SECOND_US

ON, SILENCE_US = 0, 1


def allowed_silence_us(columns: TagColumns) -> I64:
    """How long each tag may say nothing, (k,), in microseconds."""
    own = np.maximum(columns.period_us * PERIODS, SILENCE_MIN_US)
    allowed: I64 = np.where(columns.silence_us > 0, columns.silence_us, own)
    return allowed


def parameters(columns: TagColumns) -> F64:
    """(k, 2): on, allowed silence in microseconds."""
    on = columns.modelled.astype(np.float64)
    return np.column_stack((on, allowed_silence_us(columns).astype(np.float64)))


def initial(count: int) -> F64:
    """No state of its own: (k, 0). Arrivals and suspended timers are the book's."""
    return np.zeros((count, 0))


@numba.njit(cache=True)
def tick(time_us: int, last_arrival_us: I64, parameters: F64, state: F64, score: F64) -> None:
    """See `contract.Tick`; a tag that never had a reading (arrival 0) scores 0."""
    for s in range(len(last_arrival_us)):
        score[s] = 0.0
        if parameters[s, ON] != 0.0 and last_arrival_us[s] > 0:
            score[s] = max(0.0, (time_us - last_arrival_us[s]) / parameters[s, SILENCE_US])


SILENCE = Detector(
    name="silence",
    version=1,
    title="No reading for too long",
    parameters=parameters,
    initial=initial,
    step=None,
    tick=tick,
    kinds=(0, 1, 2, 3),
    open_count=1,
    close_count=1,
)
