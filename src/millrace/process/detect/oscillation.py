"""A value that swings from side to side: a hunting control loop, a loose mounting, a sticking valve.

The signal is detrended by its slow mean (alpha 0.01). A half-wave ends when the value crosses to the other
side by more than one normal scale; it is a *swing* if it reached beyond 3 normal scales. The score is the
recent share of half-waves that are swings over 0.6: about nine swings in a row reach 1.

What the parameters trade:
- SWING 3 scales: on Gaussian noise one half-wave in some 60 is a swing, nine in a row have a chance of
  10^-16. Oscillations of less than 3 times the normal scatter are not seen.
- FOLLOW 0.1 per half-wave: a smaller one wants more cycles. FADE 0.001 per reading lets the score go when
  the signal stops crossing at all; it also hides oscillations with periods over about 130 readings.
- FORGET 0.001: an oscillation that lasts some thousand readings becomes the normal scatter.
- WARM_UP 200 readings score 0, nothing clipped, so that a signal that cycles by nature is learned as one.

Source: Hägglund 1995 (zero crossings and size of half-waves), with the size judged by the peak.
"""

from __future__ import annotations

import numba
import numpy as np

from millrace.batch import F64, I32, I64
from millrace.process.detect.contract import Detector
from millrace.process.detect.normal import VALUE_MAX, with_floor

ALPHA = 0.01
FORGET = 0.001
SWING = 3.0
CLIP = 3.0
FOLLOW = 0.1
FADE = 0.001
SHARE_LIMIT = 0.6
WARM_UP = 200
SIGMA_PER_MAD = 1.2533141373155001
RELATIVE_FLOOR = 1e-5

ON, FLOOR = 0, 1
MEAN, SCALE, COUNT, SIDE, PEAK, SHARE = range(6)


def initial(count: int) -> F64:
    """State of tags that never had a reading, (k, 6)."""
    return np.zeros((count, 6))


@numba.njit(cache=True)
def step(slot: I32, ts_us: I64, value: F64, parameters: F64, state: F64, score: F64, expected: F64) -> None:
    """See `contract.Step`; `expected` is the trend."""
    for i in range(len(slot)):
        s = slot[i]
        score[i] = 0.0
        expected[i] = np.nan
        if parameters[s, ON] == 0.0:
            continue
        x = min(max(value[i], -VALUE_MAX), VALUE_MAX)
        count = state[s, COUNT]
        if count == 0.0:
            state[s, MEAN], state[s, COUNT] = x, 1.0
            continue
        mean = state[s, MEAN]
        expected[i] = mean
        deviation = x - mean
        scale = max(state[s, SCALE], parameters[s, FLOOR], RELATIVE_FLOOR * abs(mean) + 1e-12)
        size = abs(deviation)
        if count >= WARM_UP:
            _cross(s, deviation / scale, state)
            score[i] = state[s, SHARE] / SHARE_LIMIT
            size = min(size, CLIP * scale)
        alpha, forget = ALPHA, FORGET
        if count < 1.0 / FORGET:
            alpha, forget = max(ALPHA, 1.0 / (count + 1.0)), 1.0 / count
        state[s, MEAN] = mean + alpha * deviation
        state[s, SCALE] += forget * (SIGMA_PER_MAD * size - state[s, SCALE])
        state[s, COUNT] = count + 1.0


@numba.njit(cache=True, inline="always")
def _cross(s: int, z: float, state: F64) -> None:
    """Follow the half-wave; at its end, count it as a swing or not."""
    side = state[s, SIDE]
    state[s, SHARE] *= 1.0 - FADE
    if (z > 1.0 and side <= 0.0) or (z < -1.0 and side >= 0.0):
        if side != 0.0:
            state[s, SHARE] += FOLLOW * ((1.0 if state[s, PEAK] > SWING else 0.0) - state[s, SHARE])
        state[s, SIDE] = 1.0 if z > 0.0 else -1.0
        state[s, PEAK] = 0.0
    if z * state[s, SIDE] > state[s, PEAK]:
        state[s, PEAK] = abs(z)


OSCILLATION = Detector(
    name="oscillation",
    version=1,
    title="Value swings from side to side",
    parameters=with_floor,
    initial=initial,
    step=step,
    kinds=(0,),
    open_count=1,
    close_count=3,
)
