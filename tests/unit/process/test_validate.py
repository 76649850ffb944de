"""What is said of a reading: the kernel against a twin that anybody can read, compiled and interpreted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace.assets.tag import SourceModel, TagModel
from millrace.batch import INTEGER_EXACT_MAX, Reason, Record, ValueKind
from millrace.clock import DAY_US
from millrace.process import validate
from millrace.process.shard import ShardProcess
from millrace.process.state import ProcessLimits, ShardState
from millrace.process.validate import STUCK_CLOCK_REPEATS, Newest
from millrace.protocols import Limits, control, decode_record

T0 = 1_767_600_000_000_000
PAST_US, FUTURE_US = (30 * DAY_US, 400 * DAY_US), (5_000_000, 0)  # standard, critical

# Tags: kind, critical, states, range.
TAGS: list[tuple[ValueKind, bool, int, float, float]] = [
    (ValueKind.FLOAT, False, 0, math.nan, math.nan),
    (ValueKind.FLOAT, True, 0, -10.0, 10.0),
    (ValueKind.INTEGER, False, 0, math.nan, 100.0),
    (ValueKind.BOOL, True, 0, math.nan, math.nan),
    (ValueKind.STATE, False, 3, math.nan, math.nan),
]
EDGES_US = [T0 + bound + by for bound in (*(-p for p in PAST_US), *FUTURE_US) for by in (-1, 0, 1)]
Reading = tuple[int, int, float, int, int]  # slot, ts_us, value, quality, reason so far

reading = st.tuples(
    st.integers(0, len(TAGS) - 1),
    st.one_of(st.integers(T0 - 50, T0), st.sampled_from(EDGES_US), st.integers(-(2**61), 2**61)),
    st.one_of(
        st.sampled_from(
            [0.0, -0.0, 1.0, 2.0, 3.0, -1.0, 0.5, 10.0, 10.5, 100.0, 101.0, math.nan, math.inf, -math.inf]
        ),
        st.sampled_from([float(INTEGER_EXACT_MAX), float(INTEGER_EXACT_MAX) * 2]),
        st.floats(),
    ),
    st.sampled_from([192, 64, 63, 0]),
    st.sampled_from([0, 0, 0, 0, int(Reason.FOREIGN_SOURCE)]),
)


class Memory:
    """Per tag: newest time, value, quality, repeats, when it was last heard."""

    def __init__(self) -> None:
        self.newest: list[list[Any]] = [[-(2**62), math.nan, 0, 0, 0] for _ in TAGS]

    def judge(self, row: Reading, time_us: int) -> tuple[int, int]:
        """(reason, late) of one reading; the slow twin."""
        slot, ts_us, value, quality, reason = row
        if reason:
            return reason, 0
        of_tag = self.newest[slot]
        reason = int(slow_reason(row, of_tag))
        if reason:
            return reason, 0
        of_tag[4] = time_us
        if ts_us < of_tag[0]:
            return 0, 1
        of_tag[:4] = ts_us, value, quality, of_tag[3] + 1 if ts_us == of_tag[0] else 0
        return 0, 0


def slow_reason(row: Reading, of_tag: list[Any]) -> Reason:
    slot, ts_us, value, quality, _ = row
    kind, critical, states, low, high = TAGS[slot]
    if ts_us < T0 - PAST_US[critical]:
        return Reason.TIME_TOO_OLD
    if ts_us > T0 + FUTURE_US[critical]:
        return Reason.TIME_IN_FUTURE
    if math.isnan(value) and quality >= 64:
        return Reason.VALUE_MISSING
    if math.isinf(value):
        return Reason.NOT_FINITE
    if not math.isnan(value):
        if kind is ValueKind.INTEGER and (abs(value) > INTEGER_EXACT_MAX or value != int(value)):
            return Reason.INTEGER_INEXACT
        if kind is ValueKind.BOOL and value not in (0.0, 1.0):
            return Reason.WRONG_KIND
        if kind is ValueKind.STATE and value not in range(states):
            return Reason.UNKNOWN_STATE
        if (not math.isnan(low) and value < low) or (not math.isnan(high) and value > high):
            return Reason.OUT_OF_RANGE
    if ts_us == of_tag[0] and of_tag[3] >= STUCK_CLOCK_REPEATS:
        return Reason.STUCK_CLOCK
    return Reason.OK


def judged(readings: list[Reading], newest: Newest, time_us: int) -> list[tuple[int, int]]:
    """The kernel's answer, as the twin gives it."""
    kinds: list[Any] = [np.int32, np.int64, np.float64, np.uint8, np.uint8]
    slot, ts_us, value, quality, reason = (
        np.array([row[at] for row in readings], kind) for at, kind in enumerate(kinds)
    )
    late = np.zeros(len(readings), np.uint8)
    kind, critical, states, low, high = zip(*TAGS, strict=True)
    validate.judge(
        slot, ts_us, value, quality, np.full(len(readings), T0), np.array(PAST_US), np.array(FUTURE_US), time_us,
        np.array(critical), np.array(kind, np.uint8), np.array(states, np.int32), np.array(low), np.array(high),
        newest.ts_us, newest.value, newest.quality, newest.repeats, newest.arrival_us, reason, late,
    )  # fmt: skip
    return list(zip(reason.tolist(), late.tolist(), strict=True))


@contextmanager
def interpreted() -> Iterator[None]:
    """The kernels as plain Python."""
    kernels = {name: found for name, found in vars(validate).items() if hasattr(found, "py_func")}
    try:
        for name, kernel in kernels.items():
            setattr(validate, name, kernel.py_func)
        yield
    finally:
        for name, kernel in kernels.items():
            setattr(validate, name, kernel)


def remembered(newest: Newest) -> str:
    columns = [
        getattr(newest, name)[: len(TAGS)] for name in ("ts_us", "value", "quality", "repeats", "arrival_us")
    ]
    return repr([[column[slot].item() for column in columns] for slot in range(len(TAGS))])


def check(batches: list[list[Reading]]) -> None:
    newest, memory = Newest(), Memory()
    for number, readings in enumerate(batches):
        expected = [memory.judge(row, number) for row in readings]
        assert judged(readings, newest, number) == expected
    assert remembered(newest) == repr(memory.newest)


@pytest.mark.requirement("S-19")
@settings(max_examples=150)
@given(st.lists(st.lists(reading, max_size=30), max_size=4))
@example([[]])
@example([[(1, T0, math.nan, 0, 0)]])
@example([[(0, T0 - PAST_US[1], 1.0, 192, 0), (1, T0 - PAST_US[1], 1.0, 192, 0)]])
def test_the_kernel_says_what_the_slow_twin_says(batches: list[list[Reading]]) -> None:
    check(batches)


@pytest.mark.requirement("S-19")
@settings(max_examples=60)
@given(st.lists(st.lists(reading, max_size=20), max_size=3))
@example([[]])
@example([[(1, T0, math.nan, 0, 0)]])
def test_the_kernel_means_the_same_interpreted(batches: list[list[Reading]]) -> None:
    with interpreted():
        check(batches)


def test_a_stuck_clock_is_refused_after_its_bound_and_forgiven_at_the_next_time() -> None:
    same = [(0, T0, 1.0, 192, 0)] * (STUCK_CLOCK_REPEATS + 3)
    check([same, [(0, T0 + 1, 1.0, 192, 0), (0, T0 + 1, 1.0, 192, 0)]])


# --- by class, from the settings to the outputs ---------------------------------------------------


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize(("age_days", "applied"), [(0, ["c", "s"]), (29, ["c", "s"]), (31, ["c"]), (401, [])])
def test_the_bounds_of_time_are_those_of_the_tags_class(log: Any, age_days: int, applied: list[str]) -> None:
    """Standard readings may be 30 days old, critical ones 400; each is accounted for in its own hour."""
    tags = tuple(
        TagModel(path=name, source="gw", data_class=kind)
        for name, kind in [("c", "critical"), ("s", "standard")]
    )
    log.put(control.encode(control.ModelChunk(1, 0, 1, True, (SourceModel(name="gw"),), tags)), "model")
    at_s = -age_days * 86_400.0
    log.frame("gw", [("c", at_s, 1.0), ("s", at_s, 1.0)], received=0)
    log.tick(1)
    process = ShardProcess(ShardState(0, ProcessLimits(past_us=PAST_US, future_us=FUTURE_US)), decode)
    *_, output = process.step(log.records)
    paths = {tag.slot: tag.path for tag in output.tags}
    assert sorted(paths[slot] for slot in output.readings["slot"].tolist()) == applied
    assert output.reject_counts == ({Reason.TIME_TOO_OLD: 2 - len(applied)} if len(applied) < 2 else {})
    own_hour = age_days * DAY_US <= max(PAST_US)
    hours = {int(row["hour_us"]) for row in output.ledger}
    assert hours == {(T0 - age_days * DAY_US * own_hour) // 3_600_000_000 * 3_600_000_000}


def decode(record: Record) -> Any:
    return decode_record(record, Limits(past_max_us=max(PAST_US)))
