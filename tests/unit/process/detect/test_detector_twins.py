"""Every detector kernel against a slow, obvious twin: one reading, one tag, plain Python."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.process.detect import DETECTORS
from millrace.process.detect.contract import Detector

Reading = tuple[float, float]  # time in seconds, value
Twin = Callable[[list[Reading], float], list[float]]

T0_US = 1_767_600_000_000_000
MAD = math.sqrt(math.pi / 2)
STEPPED = {detector.name: detector for detector in DETECTORS if detector.step is not None}


def clip(x: float, limit: float) -> float:
    return max(-limit, min(limit, x))


def ewma_twin(readings: list[Reading], floor: float) -> list[float]:
    scores = []
    mean = scale = reach = pulses = 0.0
    seen = outside = 0
    for _, x in readings:
        score = 0.0
        if seen == 0:
            mean, scale, outside, seen = x, 0.0, 0, 1
            scores.append(score)
            continue
        pulses *= 1 - 1 / 2000
        believed = max(scale, floor, 1e-5 * abs(mean) + 1e-12)
        deviation = x - mean
        if seen >= 60:
            score = abs(deviation) / (8 * believed)
            if score > 1:
                pulses += outside == 0
                outside += 1
                if pulses > 5:
                    score = abs(deviation) / (1.25 * reach)
                reach = max(abs(deviation), reach * (1 - 1 / 20000))
            else:
                outside = 0
            deviation = clip(deviation, 3 * believed)
        mean += max(0.05, 1 / (seen + 1)) * deviation
        scale += max(0.01, 1 / seen) * (MAD * abs(deviation) - scale)
        seen = 0 if outside >= 50 else seen + 1
        scores.append(score)
    return scores


def cusum_twin(readings: list[Reading], floor: float) -> list[float]:
    scores = []
    mean = sigma = high = low = before = correlation = 0.0
    seen = over = 0
    for _, x in readings:
        score = 0.0
        if seen == 0:
            mean, seen = x, 1
            sigma = high = low = before = correlation = over = 0
            scores.append(score)
            continue
        believed = max(sigma, floor, 1e-5 * abs(mean) + 1e-12)
        z = (x - mean) / believed
        if seen >= 200:
            r = max(0.0, min(0.98, correlation))
            limit = 12 * (1 + r) / (1 - r)
            high = min(1.5 * limit, max(0.0, high + clip(z, 4) - 1))
            low = min(1.5 * limit, max(0.0, low - clip(z, 4) - 1))
            score = max(high, low) / limit
            z = clip(z, 3)
        over = over + 1 if score > 1 else 0
        follow = max(1 / 2000, 1 / (seen + 1))
        mean += follow * z * believed
        sigma += max(1 / 2000, 1 / seen) * (MAD * abs(z) * believed - sigma)
        correlation += follow * (clip(z, 3) * before - correlation)
        before = clip(z, 3)
        seen = 0 if over >= 200 else seen + 1
        scores.append(score)
    return scores


def flatline_twin(readings: list[Reading], floor: float) -> list[float]:
    scores = []
    anchor, same, run = math.nan, 0.0, 0
    for seen, (_, x) in enumerate(readings):
        repeats = seen > 0 and abs(x - anchor) <= floor * 1e-3
        run = run + 1 if repeats else 0
        anchor = anchor if repeats else x
        score = 0.0
        if run >= 30 and seen >= 100 and same <= 0.8:
            score = run / max(30, math.log(1e-12) / math.log(max(same, 1e-12)))
        if seen > 0 and score <= 1:
            same += max(0.005, 1 / seen) * (repeats - same)
        scores.append(score)
    return scores


def rate_twin(readings: list[Reading], floor: float) -> list[float]:
    scores = [0.0] if readings else []
    normal = usual_s = moves = jumps = reach = 0.0
    for seen in range(1, len(readings)):
        (t0, x0), (t1, x1) = readings[seen - 1], readings[seen]
        dt_s, dt_usual_s = max(t1 - t0, 0.0), max(usual_s, 1e-6)
        rate = abs(x1 - x0) / max(dt_s, dt_usual_s / 2)
        believed = max(normal, (floor + 1e-5 * abs(x0) + 1e-12) / dt_usual_s)
        jumps *= 1 - 1 / 2000
        learned, score = rate, 0.0
        if seen == 1:
            learned = abs(x1 - x0) / max(dt_s, 1e-6)
        if seen >= 60:
            learned, dt_s = min(rate, 4 * believed), min(dt_s, 4 * dt_usual_s)
            if moves > 0.5:
                score = rate / (15 * believed)
                if score > 1:
                    jumps += 1
                    if jumps > 5:
                        score = rate / (1.25 * reach)
                    reach = max(rate, reach * (1 - 1 / 20000))
        share = max(0.01, 1 / seen)
        normal += share * (learned - normal)
        usual_s += share * (dt_s - usual_s)
        moves += share * ((x1 != x0) - moves)
        scores.append(score)
    return scores


def limits_twin(readings: list[Reading], floor: float) -> list[float]:
    low, high = -2.0, 2.0  # what `run` gives every tag
    half = (high - low) / 2
    return [max(0.0, 1 + (x - high) / half, 1 + (low - x) / half) for _, x in readings]


def oscillation_twin(readings: list[Reading], floor: float) -> list[float]:
    scores = []
    mean = scale = peak = share = 0.0
    side = 0
    for seen, (_, x) in enumerate(readings):
        if seen == 0:
            mean = x
            scores.append(0.0)
            continue
        believed = max(scale, floor, 1e-5 * abs(mean) + 1e-12)
        deviation, score = x - mean, 0.0
        size = abs(deviation)
        if seen >= 200:
            z = deviation / believed
            share *= 1 - 0.001
            now = 1 if z > 1 else -1 if z < -1 else 0
            if now != 0 and now != side:
                if side != 0:
                    share += 0.1 * ((peak > 3) - share)
                side, peak = now, 0.0
            peak = max(peak, z * side)
            score = share / 0.6
            size = min(size, 3 * believed)
        mean += max(0.01, 1 / (seen + 1)) * deviation
        scale += max(0.001, 1 / seen) * (MAD * size - scale)
        scores.append(score)
    return scores


TWINS: dict[str, Twin] = {
    "ewma": ewma_twin,
    "cusum": cusum_twin,
    "flatline": flatline_twin,
    "rate_of_change": rate_twin,
    "limits": limits_twin,
    "oscillation": oscillation_twin,
}


def kernel_scores(detector: Detector, tags: list[list[Reading]], floor: float) -> list[list[float]]:
    """Scores of several tags out of one call of the kernel, readings sorted by tag."""
    slot = np.repeat(np.arange(len(tags), dtype=np.int32), [len(tag) for tag in tags])
    flat = [reading for tag in tags for reading in tag]
    ts_us = np.array([T0_US + round(t * 1e6) for t, _ in flat], np.int64)
    value = np.array([x for _, x in flat], np.float64)
    parameters = {
        "flatline": np.tile([1.0, floor * 1e-3], (len(tags), 1)),
        "limits": np.tile([1.0, -2.0, 2.0, 2.0], (len(tags), 1)),
    }.get(detector.name, np.tile([1.0, floor], (len(tags), 1)))
    score, expected = np.full(len(flat), np.nan), np.full(len(flat), np.nan)
    assert detector.step is not None
    detector.step(slot, ts_us, value, parameters, detector.initial(len(tags)), score, expected)
    return [score[slot == s].tolist() for s in range(len(tags))]


def seeded_signals() -> dict[str, list[Reading]]:
    """Noise with everything in it that moves a detector from one branch into another."""
    rng = np.random.default_rng(20_260_105)
    n = 3_000
    noise = rng.normal(20.0, 0.5, n)
    wild = noise.copy()
    wild[500], wild[900:960], wild[1500:2000], wild[2300:2500] = 60.0, 25.0, 26.0, 20.125
    wild[2600:] += 4 * np.sin(np.arange(400) / 2.0)
    pulses = noise + 40.0 * (np.arange(n) % 50 < 8)
    coarse = np.round(noise)
    steps = rng.integers(0, 2_000, n) / 1000.0
    even = np.arange(n) * 1.0
    signals = {
        "noise": (even, noise),
        "wild": (even, wild),
        "pulses": (even, pulses),
        "coarse": (even, coarse),
        "flat": (even, np.full(n, 7.25)),
        "uneven": (np.cumsum(steps).round(3), wild),
        "equal times": (np.floor(even / 3), wild),
        "huge": (even, rng.choice([-1e300, 1e300, 0.0, 5.0], n)),
        "empty": (even[:0], noise[:0]),
        "one row": (even[:1], noise[:1]),
    }
    return {name: list(zip(t.tolist(), x.tolist(), strict=True)) for name, (t, x) in signals.items()}


def bounded(tag: list[Reading]) -> list[Reading]:
    return [(t, clip(x, 1e150)) for t, x in tag]


@pytest.mark.parametrize("name", sorted(TWINS))
@pytest.mark.parametrize("floor", [0.0, 0.05])
def test_kernel_scores_as_its_slow_twin(name: str, floor: float) -> None:
    signals = seeded_signals()
    fast = kernel_scores(STEPPED[name], list(signals.values()), floor)
    for (signal, tag), scores in zip(signals.items(), fast, strict=True):
        if signal == "huge" and name in {"flatline", "limits"}:
            slow = TWINS[name](tag, floor)
        else:
            slow = TWINS[name](bounded(tag), floor)
        np.testing.assert_allclose(scores, slow, rtol=1e-6, atol=1e-9, err_msg=signal)
        assert np.isfinite(scores).all(), signal


def test_every_detector_that_steps_has_a_twin() -> None:
    assert set(TWINS) == set(STEPPED)


values = st.one_of(
    st.floats(-1e6, 1e6, allow_nan=False), st.sampled_from([0.0, 1.0, -1.0, 20.0, 1e-300]), st.floats(18, 22)
)


@settings(max_examples=25)
@given(
    tag=st.lists(st.tuples(st.integers(0, 3), values), max_size=30),
    rest=st.lists(st.tuples(st.integers(0, 3), values), min_size=1, max_size=6),
)
def test_kernel_scores_any_signal_as_its_slow_twin(
    tag: list[tuple[int, float]], rest: list[tuple[int, float]]
) -> None:
    steps = tag + rest * 50  # long enough to leave every warm-up
    times = np.cumsum([dt for dt, _ in steps]).tolist()
    readings = [(float(t), x) for t, (_, x) in zip(times, steps, strict=True)]
    for name, twin in TWINS.items():
        fast = kernel_scores(STEPPED[name], [readings], 0.01)[0]
        np.testing.assert_allclose(fast, twin(readings, 0.01), rtol=1e-5, atol=1e-6, err_msg=name)


def test_kernels_say_the_same_interpreted_as_compiled() -> None:
    """The interpreter checks bounds and types that compiled code takes for granted."""
    env = dict(os.environ, NUMBA_DISABLE_JIT="1")
    chosen = [
        str(Path(__file__)) + "::test_kernel_scores_as_its_slow_twin",
        str(Path(__file__).with_name("test_intervals.py"))
        + "::test_intervals_open_and_close_as_their_slow_twin",
        str(Path(__file__).parents[1] / "test_rollup.py") + "::test_rows_of_a_window_merge_to_its_slow_twin",
        str(Path(__file__).parents[1] / "test_alarm.py") + "::test_limits_alarm_as_their_slow_twin",
    ]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *chosen],
        env=env, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
