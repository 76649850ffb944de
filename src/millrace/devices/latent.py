"""What the machines do, second by second: run, load, heat, wear, cycles. No sensor is in here yet.

State advances on a fixed grid of whole seconds, so readings never depend on how time was cut. All
randomness is a hash of (seed, machine, second or slot): the same seed and start give the same plant.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np

from millrace.batch import F64
from millrace.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from millrace.devices.equipment import FAULT, IDLE, RUNNING, SETUP

RUN, LOAD, HEAT, WEAR, CYCLE, ENERGY, AMBIENT, STATE = range(8)
COLUMNS: Final = 8
"""Columns of the latent state, (machines, 8) float64. CYCLE counts, ENERGY is hours of full load, AMBIENT
degC."""

CYCLE_S, HEAT_S, SHIFTS, LINE = range(4)
"""Columns of a machine's parameters, (machines, 4). SHIFTS: 3 round the clock, 2 from 06 to 22, 1 from 06
to 14."""

SLOT_US: Final = 10 * MINUTE_US  # a machine keeps a state for about that long
WEAR_LIFE_S: Final = 400 * 3_600.0  # running time from new to maintenance
DAYS_TO_MONDAY: Final = 3  # 1970-01-01 was a Thursday


@numba.njit(cache=True, inline="always")
def mixed(seed: int, a: int, b: int) -> np.uint64:
    """64 random bits of three numbers (SplitMix64's finaliser, twice)."""
    x = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(a)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB) + np.uint64(b)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@numba.njit(cache=True, inline="always")
def uniform(bits: np.uint64) -> float:
    """0 <= u < 1 out of the upper 53 bits."""
    return float(bits >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@numba.njit(cache=True)
def chance(seed: int, a: int, b: int) -> float:
    """0 <= u < 1 of three numbers."""
    return uniform(mixed(seed, a, b))


@numba.njit(cache=True, inline="always")
def bell(bits: np.uint64) -> float:
    """Nearly normal, variance 1, bounded by 3.47: the sum of four 16-bit uniforms. A sensor's noise has no
    tails."""
    low = np.uint64(0xFFFF)
    total = (
        float(bits & low)
        + float((bits >> np.uint64(16)) & low)
        + float((bits >> np.uint64(32)) & low)
        + float(bits >> np.uint64(48))
    )
    return (total / 65536.0 - 2.0) * 1.7320508075688772


@numba.njit(cache=True)
def on_shift(time_us: int, shifts: int) -> bool:
    """Whether a line with that many shifts works at that time (UTC); only three-shift lines work at
    weekends."""
    if shifts >= 3:
        return True
    weekday = (time_us // DAY_US + DAYS_TO_MONDAY) % 7
    hour = (time_us % DAY_US) // HOUR_US
    return weekday < 5 and 6 <= hour < (22 if shifts == 2 else 14)


@numba.njit(cache=True)
def state_at(seed: int, machine: int, time_us: int, shifts: int) -> int:
    """idle, setup, running or fault: mostly running on shift, with short stops, each decided per ten
    minutes."""
    if not on_shift(time_us, shifts):
        return IDLE
    slot = time_us // SLOT_US
    drawn = chance(seed, machine, slot)
    if drawn < 0.93:
        return RUNNING
    into_us = time_us - slot * SLOT_US
    if drawn < 0.96:
        return SETUP if into_us < 4 * MINUTE_US else RUNNING
    if drawn < 0.99:
        return IDLE if into_us < 2 * MINUTE_US else RUNNING
    return FAULT if into_us < MINUTE_US else RUNNING


@numba.njit(cache=True)
def advance(state: F64, parameters: F64, seed: int, from_s: int, seconds: int) -> None:
    """Move every machine on by whole seconds, in place; `from_s` is the second that `state` stands at."""
    for step in range(seconds):
        second = from_s + step + 1
        time_us = second * SECOND_US
        day = 2.0 * np.pi * float(second % 86_400) / 86_400.0
        ambient = 20.0 - 3.5 * np.cos(day - 0.8)
        for machine in range(state.shape[0]):
            _one_second(state[machine], parameters[machine], seed, machine, second, time_us)
            state[machine, AMBIENT] = ambient


@numba.njit(cache=True)
def _one_second(row: F64, parameter: F64, seed: int, machine: int, second: int, time_us: int) -> None:
    code = state_at(seed, machine, time_us, int(parameter[SHIFTS]))
    running = 1.0 if code == RUNNING else 0.0
    recipe = 0.55 + 0.4 * chance(seed + 1, int(parameter[LINE]), second // 1_800)
    if code == SETUP:
        recipe *= 0.15
        running = 0.3
    row[RUN] += (running - row[RUN]) * 0.4  # 2 s to speed
    row[LOAD] += (recipe * running - row[LOAD]) * 0.2
    row[LOAD] += 0.012 * running * bell(mixed(seed + 2, machine, second))
    row[LOAD] = min(max(row[LOAD], 0.0), 1.2)
    row[HEAT] += (row[LOAD] - row[HEAT]) / parameter[HEAT_S]  # first-order lag: warm-up and cooling
    row[WEAR] += row[RUN] * (0.4 + 0.6 * row[LOAD]) / WEAR_LIFE_S
    if row[WEAR] >= 1.0:
        row[WEAR] = 0.0  # maintenance
    row[CYCLE] += row[RUN] / parameter[CYCLE_S]
    row[ENERGY] += (0.08 + 0.92 * row[LOAD]) / 3_600.0
    row[STATE] = code


def first_state(parameters: F64, seed: int, at_s: int) -> F64:
    """Machines as they stand before the burn-in: (machines, 8). Counters go on rising from one start to the
    next."""
    state = np.zeros((len(parameters), COLUMNS))
    ages = np.array([chance(seed + 3, machine, 0) for machine in range(len(parameters))])
    state[:, WEAR] = 0.6 * ages
    since_2026_s = max(at_s - 1_767_225_600, 0)
    state[:, CYCLE] = np.floor(since_2026_s / parameters[:, CYCLE_S])
    state[:, ENERGY] = np.floor(since_2026_s / 3_600)
    state[:, AMBIENT] = 20.0
    return state
