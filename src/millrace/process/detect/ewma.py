"""Exponentially weighted mean with a robust scale: finds spikes and sudden large steps.

    score = |x - mean| / (8 · scale)

`mean` follows with alpha 0.05; `scale` is the mean absolute deviation times 1.2533 (a standard deviation,
were the signal normal), with beta 0.01. Both are fed with deviations clipped at 3 scales, so an outlier
moves them no more than a plausible reading would: it neither drags the mean nor hides the next outlier.

What the parameters trade:
- LIMIT_SIGMA 8: on Gaussian noise one false opening in 10^15 readings; at 6 it would be one in 5·10^8,
  which is one every hour and a half at 100,000 readings/s. Steps under 8 sigma are left to `cusum`.
- ALPHA 0.05 follows trends (memory 20 readings); a smaller one scores slow ramps as abnormal.
- BETA 0.01 forgets a scatter in 100 readings; a larger one makes the limit itself noisy (5 % now).
- WARM_UP 60 readings score 0: plain averages, nothing clipped, so that a pulsing signal is learned as one.
- RELEARN 50 readings in a row outside are a new normal: it learns anew instead of alarming for ever.
- A signal that leaves its band again and again (over 5 times within about 2,000 readings: press strokes,
  valve pulses) has that as its normal; from then on only what reaches 25 % beyond the recent pulses scores
  above 1.

Autocorrelation widens the residual's tail no further than the scale, which is measured on the same residuals.
Source: Roberts 1959 (EWMA control chart); Huber 1964 (clipped deviations); Cipra 1992 (robust smoothing).
"""

from __future__ import annotations

import numba
import numpy as np

from millrace.batch import F64, I32, I64
from millrace.process.detect.contract import Detector
from millrace.process.detect.normal import VALUE_MAX, with_floor

ALPHA = 0.05
BETA = 0.01
LIMIT_SIGMA = 8.0
CLIP_SIGMA = 3.0
WARM_UP = 60
RELEARN = 50
PULSES_MAX = 5.0
PULSES_FORGET = 1 / 2_000
REACH_FORGET = 1 / 20_000
REACH_MARGIN = 1.25
SIGMA_PER_MAD = 1.2533141373155001  # sqrt(pi / 2): mean absolute deviation to standard deviation
RELATIVE_FLOOR = 1e-5

ON, FLOOR = 0, 1
MEAN, SCALE, COUNT, OUTSIDE, PULSES, REACH = range(6)


def initial(count: int) -> F64:
    """State of tags that never had a reading, (k, 6)."""
    return np.zeros((count, 6))


@numba.njit(cache=True)
def step(slot: I32, ts_us: I64, value: F64, parameters: F64, state: F64, score: F64, expected: F64) -> None:
    """See `contract.Step`; `expected` is the mean before the reading."""
    for i in range(len(slot)):
        s = slot[i]
        score[i] = 0.0
        expected[i] = np.nan
        if parameters[s, ON] == 0.0:
            continue
        x = min(max(value[i], -VALUE_MAX), VALUE_MAX)
        count = state[s, COUNT]
        if count == 0.0:
            state[s, MEAN], state[s, SCALE], state[s, COUNT], state[s, OUTSIDE] = x, 0.0, 1.0, 0.0
            continue
        mean = state[s, MEAN]
        size = abs(x - mean)
        scale = max(state[s, SCALE], parameters[s, FLOOR], RELATIVE_FLOOR * abs(mean) + 1e-12)
        expected[i] = mean
        clipped = size
        state[s, PULSES] *= 1.0 - PULSES_FORGET
        if count >= WARM_UP:
            clipped = min(size, CLIP_SIGMA * scale)
            score[i] = size / (LIMIT_SIGMA * scale)
            if score[i] > 1.0:
                score[i] = _outside(s, size, score[i], state)
            else:
                state[s, OUTSIDE] = 0.0
        alpha, beta = ALPHA, BETA
        if count < 1.0 / BETA:
            alpha, beta = max(ALPHA, 1.0 / (count + 1.0)), 1.0 / count
        state[s, MEAN] = mean + alpha * (clipped if x > mean else -clipped)
        state[s, SCALE] += beta * (SIGMA_PER_MAD * clipped - state[s, SCALE])
        state[s, COUNT] = 0.0 if state[s, OUTSIDE] >= RELEARN else count + 1.0


@numba.njit(cache=True, inline="always")
def _outside(s: int, size: float, score: float, state: F64) -> float:
    """Book a reading outside the band; the score it gets, given how often the signal goes there."""
    if state[s, OUTSIDE] == 0.0:
        state[s, PULSES] += 1.0
    state[s, OUTSIDE] += 1.0
    if state[s, PULSES] > PULSES_MAX:
        score = size / (REACH_MARGIN * state[s, REACH])
    state[s, REACH] = max(size, state[s, REACH] * (1.0 - REACH_FORGET))
    return score


EWMA = Detector(
    name="ewma",
    version=1,
    title="Value far from its recent mean",
    parameters=with_floor,
    initial=initial,
    step=step,
    kinds=(0,),
    open_count=1,
    close_count=3,
)
