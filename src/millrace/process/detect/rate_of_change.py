"""A value that moves much faster than it normally does.

    score = rate / (15 · normal rate),  rate = |x - previous| / max(dt, half the usual dt)

`normal rate` is the mean of the rates, each clipped at 4 normal rates so that a jump does not hide the next
one.

What the parameters trade:
- LIMIT 15: on Gaussian white noise a jump of 17 sigma; one false opening in far over 10^15 readings with even
  spacing, about 10^-9 per reading where the spacing halves at random (the divisor is bounded by half the
  usual). On smooth signals (temperatures) it is the most sensitive of all: the step shows before the value
  is unusual.
- MOVES_MIN 0.5: a signal that repeats its value more often moves in steps by nature and is not judged.
- WARM_UP 60 readings score 0; FORGET 0.01 is a memory of 100 readings.
- A signal that jumps again and again (over 5 times within about 2,000 readings) has that as its normal;
  from then on only a rate 25 % beyond the recent ones scores above 1.

Source: the rate-of-change test of IOOS QARTOD, with a learned instead of a fixed limit.
"""

from __future__ import annotations

import numba
import numpy as np

from millrace.batch import F64, I32, I64
from millrace.process.detect.contract import Detector
from millrace.process.detect.normal import VALUE_MAX, with_floor

LIMIT = 15.0
CLIP = 4.0
FORGET = 0.01
WARM_UP = 60
MOVES_MIN = 0.5
JUMPS_MAX = 5.0
JUMPS_FORGET = 1 / 2_000
REACH_FORGET = 1 / 20_000
REACH_MARGIN = 1.25
RELATIVE_FLOOR = 1e-5
DT_MIN_S = 1e-6

ON, FLOOR = 0, 1
PREVIOUS, PREVIOUS_US, RATE, DT_S, COUNT, MOVES, JUMPS, REACH = range(8)


def initial(count: int) -> F64:
    """State of tags that never had a reading, (k, 8); a float64 holds microseconds exactly until 2255."""
    return np.zeros((count, 8))


@numba.njit(cache=True)
def step(slot: I32, ts_us: I64, value: F64, parameters: F64, state: F64, score: F64, expected: F64) -> None:
    """See `contract.Step`; `expected` is the value before."""
    for i in range(len(slot)):
        s = slot[i]
        score[i] = 0.0
        expected[i] = np.nan
        if parameters[s, ON] == 0.0:
            continue
        x = min(max(value[i], -VALUE_MAX), VALUE_MAX)
        count = state[s, COUNT]
        if count > 0.0:
            expected[i] = state[s, PREVIOUS]
            dt_s = max((ts_us[i] - state[s, PREVIOUS_US]) * 1e-6, 0.0)
            score[i] = _judge(s, x, dt_s, count, parameters[s, FLOOR], state)
        state[s, PREVIOUS] = x
        state[s, PREVIOUS_US] = ts_us[i]
        state[s, COUNT] = count + 1.0


@numba.njit(cache=True, inline="always")
def _judge(s: int, x: float, dt_s: float, count: float, floor: float, state: F64) -> float:
    """Score of the move to `x`; learns from it."""
    usual_s = max(state[s, DT_S], DT_MIN_S)
    move = abs(x - state[s, PREVIOUS])
    rate = move / max(dt_s, 0.5 * usual_s)
    normal = max(state[s, RATE], (floor + RELATIVE_FLOOR * abs(state[s, PREVIOUS]) + 1e-12) / usual_s)
    state[s, JUMPS] *= 1.0 - JUMPS_FORGET
    score = 0.0
    learned_rate, learned_dt_s = rate, dt_s
    if count == 1.0:
        learned_rate = move / max(dt_s, DT_MIN_S)
    if count >= WARM_UP:
        learned_rate = min(rate, CLIP * normal)
        learned_dt_s = min(dt_s, CLIP * usual_s)
        if state[s, MOVES] > MOVES_MIN:
            score = rate / (LIMIT * normal)
            if score > 1.0:
                score = _jump(s, rate, score, state)
    follow = FORGET if count >= 1.0 / FORGET else 1.0 / count
    state[s, RATE] += follow * (learned_rate - state[s, RATE])
    state[s, DT_S] += follow * (learned_dt_s - state[s, DT_S])
    state[s, MOVES] += follow * ((1.0 if move > 0.0 else 0.0) - state[s, MOVES])
    return score


@numba.njit(cache=True, inline="always")
def _jump(s: int, rate: float, score: float, state: F64) -> float:
    """Book a jump; the score it gets, given how often the signal jumps."""
    state[s, JUMPS] += 1.0
    if state[s, JUMPS] > JUMPS_MAX:
        score = rate / (REACH_MARGIN * state[s, REACH])
    state[s, REACH] = max(rate, state[s, REACH] * (1.0 - REACH_FORGET))
    return score


RATE_OF_CHANGE = Detector(
    name="rate_of_change",
    version=1,
    title="Value moves much faster than normal",
    parameters=with_floor,
    initial=initial,
    step=step,
    kinds=(0,),
    open_count=1,
    close_count=3,
)
