"""When each sensor is read and what it then says: the kernel between the machines' state and readings.

Reading k of a tag is due at `phase + k·period + jitter(k)`; noise is a hash of (tag, k). So a reading is
the same whatever window it is asked in.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np

from millrace.batch import F64, I64, U32, Rows
from millrace.clock import SECOND_US
from millrace.devices.equipment import HUNT, RUNNING, STROKE, SWING
from millrace.devices.latent import AMBIENT, CYCLE, ENERGY, HEAT, LOAD, RUN, STATE, WEAR, bell, mixed, uniform

SAMPLE: Final = np.dtype(
    [
        ("machine", np.int32),
        ("form", np.uint8),  # MEASURED … METER
        ("wave", np.uint8),
        ("period_us", np.int64),
        ("phase_us", np.int64),
        ("jitter_us", np.int64),
        ("offset", np.float64),
        ("run", np.float64),
        ("load", np.float64),
        ("heat", np.float64),
        ("wear", np.float64),
        ("ambient", np.float64),
        ("amplitude", np.float64),
        ("wave_us", np.float64),
        ("noise", np.float64),
        ("resolution", np.float64),
        ("low", np.float64),
        ("high", np.float64),
        ("scale", np.float64),  # counters and meters: units per cycle or per hour of full load
    ]
)
"""One row a tag: how it is sampled."""

MEASURED, STATE_CODE, ON, COUNTER, METER = range(5)


@numba.njit(cache=True)
def _wave(kind: int, cycle: float, time_us: int, wave_us: float, shift: float) -> float:
    """-1 … 1, or 0 … 1 for what moves with the machine's cycle."""
    if kind == HUNT:
        return float(np.sin(2.0 * np.pi * (float(time_us % int(wave_us)) / wave_us + shift)))
    phase = cycle - np.floor(cycle)
    if kind == STROKE:
        return float(np.sin(np.pi * phase / 0.35) ** 2) if phase < 0.35 else 0.0
    if kind == SWING:
        swung = phase + 0.15 * shift
        return float(0.5 - 0.5 * np.cos(2.0 * np.pi * (swung - np.floor(swung))))
    return 0.0


@numba.njit(cache=True)
def _between(before: F64, after: F64, column: int, share: float) -> float:
    return float(before[column] + (after[column] - before[column]) * share)


@numba.njit(cache=True)
def _measured(
    s: np.void, before: F64, after: F64, share: float, time_us: int, tag: int, bits: np.uint64
) -> float:
    run = _between(before, after, RUN, share)
    value = (
        s["offset"]
        + s["run"] * run
        + s["load"] * _between(before, after, LOAD, share)
        + s["heat"] * _between(before, after, HEAT, share)
        + s["wear"] * _between(before, after, WEAR, share) * run
        + s["ambient"] * (_between(before, after, AMBIENT, share) - 20.0)
        + s["noise"] * bell(bits)
    )
    if s["amplitude"] != 0.0:
        cycle = _between(before, after, CYCLE, share)
        wave = _wave(s["wave"], cycle, time_us, s["wave_us"], uniform(mixed(7, tag, 1)))
        value += s["amplitude"] * wave * (1.0 if s["wave"] == HUNT else run)
    return float(min(max(value, s["low"]), s["high"]))


@numba.njit(cache=True)
def _value(
    s: np.void, before: F64, after: F64, share: float, time_us: int, tag: int, bits: np.uint64
) -> float:
    form = s["form"]
    if form == MEASURED:
        value = _measured(s, before, after, share, time_us, tag, bits)
        return float(np.float32(np.round(value / s["resolution"]) * s["resolution"]))
    if form == STATE_CODE:
        return float(before[STATE])
    if form == ON:
        return 1.0 if before[STATE] == RUNNING else 0.0
    column = CYCLE if form == COUNTER else ENERGY
    return float(np.floor(_between(before, after, column, share) * s["scale"]))


@numba.njit(cache=True)
def sample(
    samples: Rows,
    before: F64,
    after: F64,
    seed: int,
    from_us: int,
    to_us: int,
    tag_out: U32,
    ts_out: I64,
    value_out: F64,
) -> int:
    """Readings due in [from_us, to_us), inside one second of the grid, by tag then time.

    `before`/`after` (machines, 8) are the state at the second's begin and end. Fills the columns; how many
    readings there are (more than the columns hold: they were cut, ask again with longer ones).
    """
    second_us = (from_us // SECOND_US) * SECOND_US
    count = 0
    for tag in range(len(samples)):
        s = samples[tag]
        period_us = s["period_us"]
        k = (from_us - s["phase_us"] - s["jitter_us"]) // period_us
        while True:
            nominal_us = s["phase_us"] + k * period_us
            if nominal_us >= to_us:
                break
            bits = mixed(seed, tag, k)
            due_us = nominal_us + int(uniform(mixed(seed + 5, tag, k)) * s["jitter_us"])
            k += 1
            if due_us < from_us or due_us >= to_us:
                continue
            if count < len(ts_out):
                share = float(due_us - second_us) / SECOND_US
                machine = s["machine"]
                tag_out[count] = tag
                ts_out[count] = due_us
                value_out[count] = _value(s, before[machine], after[machine], share, due_us, tag, bits)
            count += 1
    return count
