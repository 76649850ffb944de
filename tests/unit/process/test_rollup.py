"""Rollups: whatever the cuts, ticks and marks, a window's rows merge to a slow twin's of all its readings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.batch import LEVEL_1H, LEVEL_1M, LEVEL_1S, LEVEL_US, ROLLUP, Rows
from millrace.process.detect import TagColumns
from millrace.process.rollup import SPREAD_TICKS, Rollup

T0_US = 1_767_600_000_000_000  # on the hour
SECOND_US = 1_000_000
Reading = tuple[int, int, float, int, int]  # slot, ts_us, value, quality, hash
Key = tuple[int, int, int]
Window = dict[str, Any]


def columns_of(period_us: list[int], modelled: bool = True) -> TagColumns:
    k = len(period_us)
    nan, zero, yes = np.full(k, np.nan), np.zeros(k, np.int64), np.full(k, modelled)
    return TagColumns(
        kind=np.zeros(k, np.uint8), modelled=yes, critical=yes, period_us=np.array(period_us, np.int64),
        range_low=nan, range_high=nan, low_low=nan, low=nan, high=nan, high_high=nan, deadband=np.zeros(k),
        on_delay_us=zero, off_delay_us=zero, silence_us=zero, detectors=zero,
    )  # fmt: skip


FAST, MEDIUM, SLOW = 500_000, 30 * SECOND_US, 30 * SECOND_US + 1
LEVELS = {0: (0, 1, 2), 1: (1, 2), 2: (2,)}  # of the three tags below


def book() -> Rollup:
    rollup = Rollup()
    rollup.grow(3)
    rollup.configure(columns_of([FAST, MEDIUM, SLOW]))
    return rollup


def twin(readings: list[Reading]) -> dict[Key, Window]:
    """All windows of all readings, in order of arrival."""
    grouped: dict[Key, list[Reading]] = {}
    for reading in readings:
        for level in LEVELS[reading[0]]:
            window = reading[1] // LEVEL_US[level] * LEVEL_US[level]
            grouped.setdefault((reading[0], level, window), []).append(reading)
    return {key: summary(rows) for key, rows in grouped.items()}


def summary(rows: list[Reading]) -> Window:
    valued = [(ts, value) for _, ts, value, quality, _ in rows if quality >= 64 and not math.isnan(value)]
    first = min(valued, key=lambda row: row[0], default=(0, math.nan))  # the earlier arrival of equal times
    last = max(reversed(valued), key=lambda row: row[0], default=(0, math.nan))  # the later one
    values = [value for _, value in valued]
    return {
        "count": len(rows),
        "good": sum(row[3] >= 192 for row in rows),
        "uncertain": sum(64 <= row[3] < 192 for row in rows),
        "bad": sum(row[3] < 64 for row in rows),
        "min": min(values, default=math.nan),
        "max": max(values, default=math.nan),
        "sum": math.fsum(values),
        "first_us": first[0], "first": first[1], "last_us": last[0], "last": last[1],
        "hash": sum(row[4] for row in rows) % 2**64,
    }  # fmt: skip


def merged(rows: Rows) -> dict[Key, Window]:
    """What a store holds after it merged the rows in the order in which they came."""
    out: dict[Key, Window] = {}
    for row in rows:
        new = {
            name: row[name].item()
            for name in ROLLUP.names or ()
            if name not in {"slot", "level", "window_us"}
        }
        key = (int(row["slot"]), int(row["level"]), int(row["window_us"]))
        out[key] = merge(out[key], new) if key in out else new
    return out


def merge(old: Window, new: Window) -> Window:
    out = {name: old[name] + new[name] for name in ("count", "good", "uncertain", "bad", "sum")}
    out["hash"] = (old["hash"] + new["hash"]) % 2**64
    if math.isnan(new["first"]) or math.isnan(old["first"]):
        return out | {n: (old if math.isnan(new["first"]) else new)[n] for n in VALUED}
    early = old if old["first_us"] <= new["first_us"] else new
    late = new if new["last_us"] >= old["last_us"] else old
    return out | {
        "min": min(old["min"], new["min"]), "max": max(old["max"], new["max"]),
        "first_us": early["first_us"], "first": early["first"],
        "last_us": late["last_us"], "last": late["last"],
    }  # fmt: skip


VALUED = ("min", "max", "first_us", "first", "last_us", "last")


def assert_same_windows(got: dict[Key, Window], wanted: dict[Key, Window]) -> None:
    assert set(got) == set(wanted)
    for key, window in wanted.items():
        for name, value in window.items():
            size = 1e9 * window["count"] if name == "sum" else 0.0  # what the values may cancel out to
            np.testing.assert_allclose(
                got[key][name], value, rtol=0, atol=1e-12 * size, err_msg=f"{key} {name}"
            )


def feed(rollup: Rollup, readings: list[Reading]) -> None:
    rows = sorted(readings, key=lambda row: row[0])  # stable: arrival stays within a tag
    columns = list(zip(*rows, strict=True)) if rows else [[]] * 5
    types = (np.int32, np.int64, np.float64, np.uint8, np.uint64)
    slot, ts_us, value, quality, hashed = (np.array(c, t) for c, t in zip(columns, types, strict=True))
    rollup.step(slot, ts_us, value, quality, hashed)


# A log: readings, ticks ("tick", time) and marks ("mark",), in order.
Event = tuple[Any, ...]


def run(log: list[Event], cuts: set[int], restart_at: int = -1) -> list[Rows]:
    """Rows of each tick and mark; readings since the last cut, tick or mark are one batch."""
    rollup, out, batch = book(), [], []
    for place, event in enumerate(log):
        if place in cuts or place == restart_at or event[0] in ("tick", "mark"):
            feed(rollup, batch)
            batch = []
        if place == restart_at:
            arrays = rollup.snapshot()
            feed(rollup, [(0, T0_US, 1e9, 192, 1)])  # the old life must not reach into what it gave away
            rollup = Rollup()
            rollup.restore(arrays)
            rollup.configure(columns_of([FAST, MEDIUM, SLOW]))
        if event[0] == "tick":
            out.append(rollup.tick(T0_US + event[1]))
        elif event[0] == "mark":
            out.append(rollup.flush())
        else:
            batch.append(event)
    feed(rollup, batch)
    return [*out, rollup.flush()]


reading = st.tuples(
    st.integers(0, 2),
    # in order mostly, some of it hours late, many at equal times
    st.integers(-2, 6).map(lambda n: T0_US + n * 400_000)
    | st.integers(-20, 400).map(lambda n: T0_US + n * 250_000)
    | st.integers(-9, 9).map(lambda n: T0_US + n * 1_800 * SECOND_US),
    st.floats(-1e9, 1e9) | st.sampled_from([0.0, -0.0, 1.5]),
    st.sampled_from([192, 192, 200, 64, 100]),
    st.integers(0, 2**64 - 1),
)
gap = reading.map(lambda row: (row[0], row[1], math.nan, 0, row[4]))
bad = reading.map(lambda row: (*row[:3], 63, row[4]))
tick = st.integers(0, 120).map(lambda n: ("tick", n * SECOND_US))
logs = st.lists(reading | reading | reading | gap | bad | tick | st.just(("mark",)), min_size=8, max_size=60)


@settings(max_examples=60)
@given(log=logs, cuts=st.sets(st.integers(0, 60), max_size=10))
def test_rows_of_a_window_merge_to_its_slow_twin(log: list[Event], cuts: set[int]) -> None:
    rows = np.concatenate(run(log, cuts))
    assert (rows["count"] > 0).all(), "an empty window leaves nothing"
    assert_same_windows(merged(rows), twin([event for event in log if len(event) == 5]))


def long_log(seed: int, n: int = 600) -> list[Event]:
    """Readings nearly in order, some late by seconds or hours, gaps, bad ones, ticks and a few marks."""
    rng = np.random.default_rng(seed)
    log: list[Event] = []
    for now_us in np.arange(n) * 200_000:
        what = rng.random()
        if what < 0.15:
            log.append(("tick", int(now_us)))
        elif what < 0.16:
            log.append(("mark",))
        else:
            late_us = int(rng.choice([0, 0, 0, 0, 200_000, 1_500_000, 90 * SECOND_US, 3_700 * SECOND_US]))
            quality = int(rng.choice([192, 192, 64, 0]))
            value = float("nan") if quality == 0 and rng.random() < 0.5 else float(rng.normal(0, 1e3))
            slot, hashed = int(rng.integers(3)), int(rng.integers(2**63))
            log.append((slot, T0_US + int(now_us) - late_us, value, quality, hashed))
    return log


def assert_cuts_and_restarts_change_nothing(log: list[Event], cuts: set[int], restart_at: int) -> None:
    whole = run(log, set())
    for other in (run(log, cuts), run(log, set(), restart_at), run(log, cuts, restart_at)):
        differ = [i for i, (a, b) in enumerate(zip(other, whole, strict=True)) if a.tobytes() != b.tobytes()]
        assert not differ, "ticks and marks whose rows differ"


@pytest.mark.requirement("B-08")
@settings(max_examples=60)
@given(log=logs, cuts=st.sets(st.integers(0, 60), max_size=10), restart_at=st.integers(0, 60))
def test_any_cut_and_any_restart_give_the_same_rows_at_every_tick(
    log: list[Event], cuts: set[int], restart_at: int
) -> None:
    assert_cuts_and_restarts_change_nothing(log, cuts, restart_at)


@pytest.mark.requirement("B-08")
@pytest.mark.parametrize("seed", range(6))
def test_a_long_log_gives_the_same_rows_however_it_is_cut(seed: int) -> None:
    rng = np.random.default_rng(1_000 + seed)
    log = long_log(seed)
    cuts = {int(cut) for cut in rng.integers(0, len(log), 200)}
    assert_cuts_and_restarts_change_nothing(log, cuts, int(rng.integers(len(log))))
    readings = [event for event in log if len(event) == 5]
    assert_same_windows(merged(np.concatenate(run(log, cuts))), twin(readings))


def test_a_window_leaves_when_the_tags_time_passes_it() -> None:
    rollup = book()
    rollup.tick(T0_US)
    feed(rollup, [(0, T0_US, 1.0, 192, 1), (0, T0_US + 900_000, 2.0, 192, 2)])
    assert len(rollup.tick(T0_US + SECOND_US)) == 0
    feed(rollup, [(0, T0_US + SECOND_US, 3.0, 192, 3)])
    rows = rollup.tick(T0_US + SECOND_US + 1)
    assert rows[["level", "window_us", "count", "sum"]].tolist() == [(LEVEL_1S, T0_US, 2, 3.0)]


def test_a_quiet_tags_window_leaves_two_seconds_after_its_last_reading() -> None:
    rollup = book()
    rollup.tick(T0_US)
    feed(rollup, [(0, T0_US, 1.0, 192, 1)])
    assert len(rollup.tick(T0_US + SECOND_US)) == 0
    assert rollup.tick(T0_US + 2 * SECOND_US)["level"].tolist() == [LEVEL_1S]
    assert len(rollup.tick(T0_US + 59 * SECOND_US)) == 0
    assert rollup.tick(T0_US + 60 * SECOND_US)["level"].tolist() == [LEVEL_1M]


def test_of_equal_times_the_first_is_first_and_the_last_is_last() -> None:
    rollup = book()
    feed(rollup, [(2, T0_US, value, 192, 1) for value in (5.0, 1.0, 9.0, 2.0)])
    feed(rollup, [(2, T0_US + 3600 * SECOND_US, value, 192, 0) for value in (3.0, 4.0)])
    feed(rollup, [(2, T0_US, 7.0, 192, 1)])  # late: merged into the row that waits
    rows = rollup.flush()
    assert rows[["count", "first", "last", "min", "max"]].tolist() == [
        (5, 5.0, 7.0, 1.0, 9.0),
        (2, 3.0, 4.0, 3.0, 4.0),
    ]


def test_a_restart_does_not_forget_when_a_tag_last_spoke() -> None:
    rollup, later = book(), Rollup()
    rollup.tick(T0_US)
    feed(rollup, [(0, T0_US, 1.0, 192, 1)])
    later.restore(rollup.snapshot())
    assert len(later.tick(T0_US + SECOND_US)) == 0
    assert later.tick(T0_US + 2 * SECOND_US)["level"].tolist() == [LEVEL_1S]


def test_late_readings_of_one_window_wait_as_one_row() -> None:
    rollup = book()
    feed(rollup, [(2, T0_US + 2 * 3600 * SECOND_US, 0.0, 192, 0)])
    feed(rollup, [(2, T0_US + n, 1.0, 192, n) for n in range(5_000)])
    rows = rollup.tick(T0_US + 2 * 3600 * SECOND_US)
    assert rows[["window_us", "count"]].tolist() == [(T0_US, 5_000)]


def test_readings_after_a_mark_are_further_rows_of_the_same_window() -> None:
    rollup = book()
    feed(rollup, [(2, T0_US, 1.0, 192, 1)])
    assert rollup.flush()["count"].tolist() == [1]
    assert len(rollup.flush()) == 0
    feed(rollup, [(2, T0_US + 1, 2.0, 192, 1)])
    assert rollup.flush()[["count", "sum"]].tolist() == [(1, 2.0)]


def test_the_hour_is_spread_over_ticks_and_done_within_ten_seconds() -> None:
    k = 10_000
    rollup = Rollup()
    rollup.grow(k)
    rollup.configure(columns_of([SLOW] * k))
    slot = np.arange(k, dtype=np.int32)
    rollup.step(
        slot,
        np.full(k, T0_US),
        np.ones(k),
        np.full(k, 192, np.uint8),
        slot.astype(np.uint64),
    )
    hour_us = T0_US + 3600 * SECOND_US
    counts = [len(rollup.tick(hour_us + s * SECOND_US)) for s in range(4)]
    later = Rollup()
    later.restore(rollup.snapshot())
    for s in range(4, 12):
        counts.append(len(rollup.tick(hour_us + s * SECOND_US)))
        assert len(later.tick(hour_us + s * SECOND_US)) == counts[-1], "the share is state"
    assert sum(counts) == k
    assert max(counts) <= math.ceil(k / SPREAD_TICKS[LEVEL_1H])
    assert not any(counts[10:])


@pytest.mark.parametrize(
    ("period_us", "modelled", "levels"),
    [
        (FAST, True, [LEVEL_1S, LEVEL_1M, LEVEL_1H]),
        (FAST + 1, True, [LEVEL_1M, LEVEL_1H]),
        (MEDIUM, True, [LEVEL_1M, LEVEL_1H]),
        (SLOW, True, [LEVEL_1H]),
        (FAST, False, [LEVEL_1M, LEVEL_1H]),
        (SLOW, False, [LEVEL_1M, LEVEL_1H]),
    ],
)
def test_levels_follow_the_models_period(period_us: int, modelled: bool, levels: list[int]) -> None:
    rollup = Rollup()
    rollup.grow(1)
    rollup.configure(columns_of([period_us], modelled))
    feed(rollup, [(0, T0_US, 1.0, 192, 1)])
    assert rollup.flush()["level"].tolist() == levels


def test_a_window_of_a_level_that_the_model_took_away_still_leaves() -> None:
    rollup = book()
    feed(rollup, [(0, T0_US, 1.0, 192, 1)])
    rollup.configure(columns_of([SLOW] * 3))
    assert rollup.tick(T0_US + 100 * SECOND_US)["level"].tolist() == [LEVEL_1S, LEVEL_1M]


def test_growth_to_100_000_tags_keeps_open_windows() -> None:
    rollup = book()
    feed(rollup, [(1, T0_US, 1.0, 192, 1)])
    rollup.grow(100_000)
    n = 100_000
    slot = np.arange(n, dtype=np.int32)
    rollup.step(
        slot,
        np.full(n, T0_US + 1),
        np.ones(n),
        np.full(n, 192, np.uint8),
        slot.astype(np.uint64),
    )
    rows = rollup.flush()
    assert rows[(rows["slot"] == 1) & (rows["level"] == LEVEL_1H)]["count"].tolist() == [2]
    assert int(rows[rows["level"] == LEVEL_1H]["count"].sum()) == n + 1


def test_a_clock_set_back_does_not_hold_windows_back() -> None:
    rollup = book()
    rollup.tick(T0_US + 3600 * SECOND_US)
    feed(rollup, [(0, T0_US, 1.0, 192, 1)])
    rollup.tick(T0_US + SECOND_US)
    assert rollup.tick(T0_US + 3 * SECOND_US)["level"].tolist() == [LEVEL_1S]
