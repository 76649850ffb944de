"""Fewer points, same shape; windows against loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.api.latency import LatencyWindow
from millrace.api.pattern import matches
from millrace.api.problems import Problem
from millrace.api.reduce import Series, Windows, downsampled, nice_width, reduced
from millrace.api.times import parse_time, rfc3339

readings = st.lists(
    st.tuples(
        st.integers(0, 60_000_000),
        st.one_of(st.floats(-1e6, 1e6, width=32), st.just(float("nan"))),
        st.sampled_from([192, 64, 0]),
    ),
    min_size=1,
    max_size=60,
)


def series_of(rows: list[tuple[int, float, int]]) -> Series:
    rows = sorted(rows, key=lambda row: row[0])
    return Series(
        np.array([r[0] for r in rows], np.int64),
        np.array([r[1] for r in rows]),
        np.array([r[2] for r in rows], np.uint8),
    )


@given(readings, st.sampled_from([1_000_000, 7_000_000, 60_000_000]))
def test_windows_of_raw_readings_are_what_a_loop_says(
    rows: list[tuple[int, float, int]], width_us: int
) -> None:
    series = series_of(rows)
    windows = Windows.of_series(series, 1_000_000).wider(width_us)
    for i, start in enumerate(windows.window_us.tolist()):
        inside = [
            (v, q)
            for t, v, q in zip(
                series.ts_us.tolist(), series.value.tolist(), series.quality.tolist(), strict=True
            )
            if t // 1_000_000 * 1_000_000 // width_us * width_us == start
        ]
        valid = [v for v, q in inside if v == v and q >= 64]
        assert (windows.all[i], windows.count[i]) == (len(inside), len(valid))
        if valid:
            assert (windows.min[i], windows.max[i]) == (min(valid), max(valid))
            assert (windows.first[i], windows.last[i]) == (valid[0], valid[-1])
            assert windows.sum[i] == pytest.approx(sum(valid), abs=1e-3)
        else:
            assert np.isnan([windows.min[i], windows.max[i], windows.first[i], windows.last[i]]).all()
    assert windows.all.sum() == len(rows)


@given(st.integers(4, 300), st.integers(1, 2_000), st.integers(0, 2**32))
def test_at_most_that_many_points_and_the_extremes_stay(points: int, count: int, seed: int) -> None:
    value = np.random.default_rng(seed).normal(size=count)
    series = Series(np.arange(count) * 1_000, value, np.full(count, 192, np.uint8))
    few = downsampled(series, points, "minmax")
    assert len(few) <= points
    assert (np.diff(few.ts_us) > 0).all()
    assert (few.value.min(), few.value.max()) == (value.min(), value.max())
    assert len(downsampled(series, points, "lttb")) <= points


@given(
    st.integers(1, 10**15), st.integers(3, 10_000), st.sampled_from([1_000_000, 60_000_000, 3_600_000_000])
)
def test_a_width_gives_at_most_that_many_windows(span_us: int, points: int, finest_us: int) -> None:
    width_us = nice_width(span_us, points, finest_us)
    assert span_us // width_us + 2 <= points
    assert width_us % finest_us == 0


def test_rollups_keep_lowest_and_highest_in_the_lines_direction() -> None:
    rows = [(0, 1.0, 9.0, 10.0, 2, 9.0, 1.0, 2), (60_000_000, 5.0, 5.0, 5.0, 1, 5.0, 5.0, 1)]
    windows = Windows(*(np.array(column) for column in zip(*rows, strict=True)))
    points, width_us = reduced(windows, 100, "minmax", 0, 120_000_000, 60_000_000)
    assert points.value.tolist() == [9.0, 1.0, 5.0]
    assert width_us == 60_000_000


@pytest.mark.parametrize(
    ("pattern", "path", "meant"),
    [
        ("", "a/b", True),
        ("acme/lyon/*", "acme/lyon/x/y", True),
        ("acme/lyon/*", "acme/lyon", False),
        ("acme/lyon", "acme/lyon/x", True),
        ("acme/lyon", "acme/lyonnais/x", False),
        ("acme/*/press-07/*", "acme/lyon/press-07/t", True),
        ("acme/*/press-07/*", "acme/lyon/hall/press-07/t", False),
        ("a.c/*", "abc/x", False),
        ("*", "anything/at/all", True),
    ],
)
def test_patterns(pattern: str, path: str, meant: bool) -> None:
    assert matches(pattern, path) is meant


@given(st.integers(0, 4_000_000_000_000_000))
def test_times_come_back(ts_us: int) -> None:
    assert parse_time(rfc3339(ts_us), "from") == ts_us
    assert parse_time(str(ts_us), "from") == ts_us


@pytest.mark.parametrize("text", ["", "now", "2026-01-05", "2026-01-05T08:00:00", "-5", "9" * 30, "٣"])
def test_what_is_no_time_is_named(text: str) -> None:
    with pytest.raises(Problem) as raised:
        parse_time(text, "to")
    assert raised.value.body["field"] == "to"


def test_latency_speaks_of_the_last_seconds_only() -> None:
    window = LatencyWindow()
    assert window.quantile_ms(0.5, 100.0) is None
    window.record(5_000, 100, 100.0)
    window.record(20, 99, 115.0)
    window.record(400, 1, 115.0)
    p50, p99 = window.quantile_ms(0.5, 116.0), window.quantile_ms(0.999, 116.0)
    assert p50 is not None
    assert 20 <= p50 <= 23
    assert p99 is not None
    assert 400 <= p99 <= 440
    assert sum(bucket["count"] for bucket in window.buckets(116.0)) == 100
