"""Scores become intervals: the kernel against a slow, obvious twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.batch import ANOMALY, CLOSED, OPENED
from millrace.process.detect import intervals

Row = tuple[int, int, int, float, float]  # kind, start, end, peak score, value at the peak


def twin(
    readings: list[tuple[int, float]], open_count: int, close_count: int, close_score: float
) -> list[Row]:
    """Rows of one tag and detector; reading i has the value i."""
    rows: list[Row] = []
    high: list[tuple[float, int, int]] = []  # (score, time, value) of the interval's readings over 1.0
    is_open, calm, last_start, start = False, 0, 0, 0
    for i, (t, score) in enumerate(readings):
        if not is_open:
            high = [*high, (score, t, i)] if score > 1 else []
            if high and len(high) == open_count:
                is_open, calm = True, 0
                start = last_start = max(high[0][1], last_start + 1)
                rows.append(row(OPENED, start, high))
        else:
            if score > 1:
                high.append((score, t, i))
            calm = calm + 1 if score < close_score else 0
            if calm == close_count:
                rows.append(row(CLOSED, start, high))
                is_open, high = False, []
    return rows


def row(kind: int, start: int, high: list[tuple[float, int, int]]) -> Row:
    peak = max(score for score, _, _ in high)
    value = next(i for score, _, i in high if score == peak)
    return kind, start, max(high[-1][1], start), peak, float(value)


scores = st.sampled_from([0.0, 0.5, 0.69, 0.7, 0.9, 1.0, 1.0001, 1.5, 3.0])


def assert_as_twin(
    tags: list[list[tuple[int, float]]], open_count: int, close_count: int, room: int, cut: int
) -> None:
    counts = np.array([open_count]), np.array([close_count]), np.array([0.7])
    cells, busy = np.zeros((1, len(tags)), intervals.INTERVAL), np.zeros(len(tags), np.uint32)
    fast: list[list[Row]] = [[] for _ in tags]
    times = [(1_000 + np.cumsum([dt for dt, _ in tag], dtype=np.int64)) for tag in tags]
    for begin, end in ((0, cut), (cut, 10_000)):
        parts = [range(len(tag))[begin:end] for tag in tags]
        slot = np.repeat(np.arange(len(tags), dtype=np.int32), [len(part) for part in parts])
        ts_us = np.array([times[s][i] for s, part in enumerate(parts) for i in part], np.int64)
        value = np.array([i for part in parts for i in part], np.float64)
        score = np.array([[tags[s][i][1] for s, part in enumerate(parts) for i in part]], np.float64)
        place = 0
        while place < len(slot):
            out = np.zeros(room, ANOMALY)  # a small one: it must stop when it is full and go on
            written, place = intervals.step(
                slot, ts_us, value, score, score, np.zeros(1, np.uint8), *counts, busy, cells, out, place
            )
            for r in out[:written]:
                assert r["score"] == r["expected"]
                fast[r["slot"]].append(
                    (
                        int(r["kind"]),
                        int(r["start_us"]),
                        int(r["end_us"]),
                        float(r["score"]),
                        float(r["value"]),
                    )
                )
    for s, tag in enumerate(tags):
        readings = [(int(t), score) for t, (_, score) in zip(times[s], tag, strict=True)]
        assert fast[s] == twin(readings, open_count, close_count, 0.7)


@settings(max_examples=60)
@given(
    tags=st.lists(st.lists(st.tuples(st.integers(0, 2), scores), max_size=40), min_size=1, max_size=3),
    open_count=st.integers(1, 3),
    close_count=st.integers(1, 3),
    room=st.integers(1, 5),
    cut=st.integers(0, 40),
)
def test_intervals_open_and_close_as_their_slow_twin(
    tags: list[list[tuple[int, float]]], open_count: int, close_count: int, room: int, cut: int
) -> None:
    assert_as_twin(tags, open_count, close_count, room, cut)


@pytest.mark.parametrize("seed", range(12))
def test_a_long_log_opens_and_closes_as_its_slow_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = [0.0, 0.5, 0.69, 0.7, 0.9, 1.0, 1.0001, 3.0]
    tags = [[(int(rng.integers(3)), float(rng.choice(levels))) for _ in range(400)] for _ in range(3)]
    assert_as_twin(tags, 1 + seed % 3, 1 + seed // 3 % 3, 4, 200)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_two_intervals_of_one_instant_start_at_different_times(count: int) -> None:
    readings = [(1_000, score) for score in [2.0, 0.0, 2.0, 0.0, 2.0] for _ in range(count)]
    starts = [start for kind, start, *_ in twin(readings, count, count, 0.7) if kind == OPENED]
    assert starts == [1_000, 1_001, 1_002]
