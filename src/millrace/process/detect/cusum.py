"""Two-sided cumulative sum against a learned reference: finds drifts and small lasting steps.

    high = max(0, high + z - k),  low = max(0, low - z - k),  score = max(high, low) / h'

`z` is the deviation from the reference in its robust standard deviations, clipped at 4 so that a lone spike
is no drift. The reference is learned from the first 200 readings and then follows very slowly (1/2,000).

What the parameters trade:
- SLACK k = 1 sigma: shifts under 1 sigma are never called a drift. k = 0.5 (textbook) reacts to half that,
  but a reference learned from 200 correlated readings is itself off by that much.
- LIMIT h = 12: expected false alarms on independent Gaussian noise, after Siegmund, are one side every
  (exp(2k(h + 1.166)) - …) / 2k² readings, about 10^11; river's and Page's usual h = 5 with k = 0.5 is one
  in 470. A shift of 2 sigma is found after 12 readings, of 3 sigma after 6.
- Correlated noise: neighbours that lean the same way carry less news. h' = h · (1 + r) / (1 - r) with the
  learned lag-1 correlation r (0 … 0.98), the variance inflation of an AR(1); so the false alarm rate keeps
  its order of magnitude and the delay grows by the same factor.
- FOLLOW 1/2,000: a drift slower than 1 sigma in 2,000 readings is followed, not reported.
- RELEARN 200 readings over the limit: the new level is the new reference.

Source: Page 1954; Siegmund 1985 (run length); Johnson and Bagshaw 1974 (serial correlation).
"""

from __future__ import annotations

import numba
import numpy as np

from millrace.batch import F64, I32, I64
from millrace.process.detect.contract import Detector
from millrace.process.detect.normal import VALUE_MAX, with_floor

SLACK = 1.0
LIMIT = 12.0
Z_MAX = 4.0
LEARN_Z_MAX = 3.0
WARM_UP = 200
FOLLOW = 1 / 2_000
RELEARN = 200
SUM_MAX = 1.5  # in limits: so that the sum comes back soon after the drift is over
CORRELATION_MAX = 0.98
SIGMA_PER_MAD = 1.2533141373155001
RELATIVE_FLOOR = 1e-5

ON, FLOOR = 0, 1
MEAN, SIGMA, COUNT, HIGH, LOW, PREVIOUS, CORRELATION, OVER = range(8)


def initial(count: int) -> F64:
    """State of tags that never had a reading, (k, 8): one cache line a tag."""
    return np.zeros((count, 8))


@numba.njit(cache=True)
def step(slot: I32, ts_us: I64, value: F64, parameters: F64, state: F64, score: F64, expected: F64) -> None:
    """See `contract.Step`; `expected` is the reference."""
    for i in range(len(slot)):
        s = slot[i]
        score[i] = 0.0
        expected[i] = np.nan
        if parameters[s, ON] == 0.0:
            continue
        x = min(max(value[i], -VALUE_MAX), VALUE_MAX)
        count = state[s, COUNT]
        if count == 0.0:
            state[s, :] = 0.0
            state[s, MEAN], state[s, COUNT] = x, 1.0
            continue
        mean = state[s, MEAN]
        sigma = max(state[s, SIGMA], parameters[s, FLOOR], RELATIVE_FLOOR * abs(mean) + 1e-12)
        z = (x - mean) / sigma
        expected[i] = mean
        if count >= WARM_UP:
            score[i] = _accumulate(s, min(max(z, -Z_MAX), Z_MAX), state)
            z = min(max(z, -LEARN_Z_MAX), LEARN_Z_MAX)
        state[s, OVER] = state[s, OVER] + 1.0 if score[i] > 1.0 else 0.0
        _learn(s, z, sigma, count, state)
        state[s, COUNT] = 0.0 if state[s, OVER] >= RELEARN else count + 1.0


@numba.njit(cache=True, inline="always")
def _accumulate(s: int, z: float, state: F64) -> float:
    """Move both sums by one reading; the score."""
    r = min(max(state[s, CORRELATION], 0.0), CORRELATION_MAX)
    limit = LIMIT * (1.0 + r) / (1.0 - r)
    state[s, HIGH] = min(max(state[s, HIGH] + z - SLACK, 0.0), SUM_MAX * limit)
    state[s, LOW] = min(max(state[s, LOW] - z - SLACK, 0.0), SUM_MAX * limit)
    score: float = max(state[s, HIGH], state[s, LOW]) / limit
    return score


@numba.njit(cache=True, inline="always")
def _learn(s: int, z: float, sigma: float, count: float, state: F64) -> None:
    """Let the reference follow: plain averages at first, then very slowly."""
    follow = follow_sigma = FOLLOW
    if count < 1.0 / FOLLOW:
        follow, follow_sigma = max(FOLLOW, 1.0 / (count + 1.0)), 1.0 / count
    state[s, MEAN] += follow * z * sigma
    state[s, SIGMA] += follow_sigma * (SIGMA_PER_MAD * abs(z) * sigma - state[s, SIGMA])
    near = min(max(z, -LEARN_Z_MAX), LEARN_Z_MAX)
    state[s, CORRELATION] += follow * (near * state[s, PREVIOUS] - state[s, CORRELATION])
    state[s, PREVIOUS] = near


CUSUM = Detector(
    name="cusum",
    version=1,
    title="Value drifts away from its reference",
    parameters=with_floor,
    initial=initial,
    step=step,
    kinds=(0,),
    open_count=1,
    close_count=5,
)
