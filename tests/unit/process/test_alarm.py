"""Alarms: limits with deadband and delays against a slow twin; silence and detector rules by example."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.batch import ANOMALY, CLOSED, OPENED, Rows
from millrace.process.alarm import ALARM_NAMES, ALARMS, AlarmBook
from millrace.process.alarm_rules import PRIORITIES
from millrace.process.detect import DETECTOR_NAMES, TagColumns

T0_US = 1_767_600_000_000_000
SECOND_US = 1_000_000
NO_ANOMALY = np.zeros(0, ANOMALY)


def columns_of(count: int, **fields: Any) -> TagColumns:
    values: dict[str, Any] = {
        "kind": 0, "modelled": True, "critical": True, "period_us": SECOND_US, "range_low": np.nan,
        "range_high": np.nan, "low_low": np.nan, "low": np.nan, "high": np.nan, "high_high": np.nan,
        "deadband": 0.0, "on_delay_us": 0, "off_delay_us": 0, "silence_us": 0, "detectors": -1,
    }  # fmt: skip
    types = {"kind": np.uint8, "modelled": np.bool_, "critical": np.bool_}
    whole = {"period_us", "on_delay_us", "off_delay_us", "silence_us", "detectors"}
    return TagColumns(
        **{
            name: np.full(count, value, np.int64 if name in whole else types.get(name, np.float64))
            for name, value in (values | fields).items()
        }
    )


def book_of(columns: TagColumns, source_silence_s: int = 10) -> AlarmBook:
    book = AlarmBook()
    book.grow(len(columns.kind), 1)
    book.configure(columns, np.array([source_silence_s * SECOND_US]))
    return book


def feed(book: AlarmBook, readings: list[tuple[int, float, float]]) -> Rows:
    """Readings (slot, second, value)."""
    rows = sorted(readings, key=lambda row: row[0])
    slot = np.array([row[0] for row in rows], np.int32)
    ts_us = np.array([T0_US + round(row[1] * SECOND_US) for row in rows], np.int64)
    return book.step(slot, ts_us, np.array([row[2] for row in rows], np.float64), NO_ANOMALY)


def tick(book: AlarmBook, second: float, heard: list[float], source: float = -1, active: bool = True) -> Rows:
    """A tick; when tags and the source were last heard. Source -1: never."""
    at = T0_US + round(second * SECOND_US)
    arrivals = np.array([T0_US + round(s * SECOND_US) for s in heard], np.int64)
    sources = np.array([T0_US + round(source * SECOND_US) if source >= 0 else 0])
    return book.tick(at, arrivals, sources, np.full(len(heard), active))


def told(rows: Rows) -> list[tuple[str, int, float, float]]:
    """(rule, kind, start in seconds, time in seconds)."""
    return [
        (
            ALARM_NAMES[row["rule"]],
            int(row["kind"]),
            (row["start_us"] - T0_US) / 1e6,
            (row["ts_us"] - T0_US) / 1e6,
        )
        for row in rows
    ]


# --- the slow twin ---------------------------------------------------------------------------------

LIMITS = {"low_low": -2.0, "low": -1.0, "high": 1.0, "high_high": 2.0}


class Twin:
    """One rule of one tag."""

    def __init__(self, rule: str, deadband: float, on_us: int, off_us: int) -> None:
        self.rule, self.deadband, self.on_us, self.off_us = rule, deadband, on_us, off_us
        self.sign = 1 if rule.startswith("high") else -1
        self.raised, self.pending_us, self.start_us, self.last_start_us = False, None, 0, 0
        self.rows: list[tuple[str, int, int, int]] = []

    def reading(self, t: int, x: float) -> None:
        self.waited(t - 1)  # a delay that ended before this reading; the old value held until then
        beyond = self.sign * (x - LIMITS[self.rule])
        if self.raised:
            back = beyond <= -self.deadband
            self.pending_us = (t if self.pending_us is None else self.pending_us) if back else None
        elif beyond > 0:
            if self.pending_us is None:
                self.pending_us, self.start_us = t, max(t, self.last_start_us + 1)
        else:
            self.pending_us = None
        self.waited(t)

    def waited(self, now: int) -> None:
        if self.pending_us is None:
            return
        end = self.pending_us + (self.off_us if self.raised else self.on_us)
        if now < end:
            return
        self.raised, self.pending_us = not self.raised, None
        if self.raised:
            self.last_start_us = self.start_us
        kind = OPENED if self.raised else CLOSED
        self.rows.append((self.rule, kind, self.start_us, max(end, self.start_us)))


values = st.sampled_from([-3.0, -2.0, -1.5, -1.0, -0.8, 0.0, 0.7, 1.0, 1.2, 1.9, 2.0, 2.5])
steps_us = st.sampled_from([0, 1, 400_000, SECOND_US, 3 * SECOND_US])
events = st.lists(
    st.tuples(st.just("reading"), steps_us, values) | st.tuples(st.just("tick"), steps_us, st.just(0.0)),
    max_size=50,
)


def assert_as_twin(
    events: list[tuple[str, int, float]],
    deadband: float,
    on_us: int,
    off_us: int,
    cuts: set[int],
    restart_at: int,
) -> None:
    """One tag with all four limits, batches cut, the book restored once, against a twin per rule."""
    columns = columns_of(
        2, deadband=deadband, on_delay_us=on_us, off_delay_us=off_us, silence_us=10**15, **LIMITS
    )
    book, fast = book_of(columns), []
    twins = [Twin(rule, deadband, on_us, off_us) for rule in LIMITS]
    batch: list[tuple[int, float, float]] = []
    now = arrived = newest = 0
    for place, (what, step_us, value) in enumerate(events):
        now += step_us
        if what == "tick" or place in cuts or place == restart_at:
            fast.append(feed(book, batch))
            batch = []
        if place == restart_at:
            arrays = book.snapshot()
            feed(book, [(1, 1e6, 9.0)])  # the old life must not reach into what it gave away
            book = AlarmBook()
            book.restore(arrays)
            book.configure(columns, np.array([10 * SECOND_US]))
        if what == "tick":
            fast.append(tick(book, now / 1e6, [arrived / 1e6, arrived / 1e6]))
            for twin in twins:
                twin.waited(T0_US + newest + max(0, now - arrived - SECOND_US))
        else:
            batch.append((1, now / 1e6, value))
            arrived = newest = now
            for twin in twins:
                twin.reading(T0_US + now, value)
    fast.append(feed(book, batch))
    rows = np.concatenate(fast)
    for twin in twins:
        mine = rows[rows["rule"] == ALARM_NAMES.index(twin.rule)]
        assert set(mine["slot"]) <= {1}
        got = [(twin.rule, *row) for row in mine[["kind", "start_us", "ts_us"]].tolist()]
        assert got == twin.rows


@pytest.mark.requirement("B-03")
@settings(max_examples=80)
@given(
    events=events,
    deadband=st.sampled_from([0.0, 0.25, 1.0]),
    on_us=st.sampled_from([0, SECOND_US, 2_500_000]),
    off_us=st.sampled_from([0, SECOND_US, 2_500_000]),
    cuts=st.sets(st.integers(0, 50), max_size=5),
    restart_at=st.integers(0, 50),
)
def test_limits_alarm_as_their_slow_twin(
    events: list[tuple[str, int, float]],
    deadband: float,
    on_us: int,
    off_us: int,
    cuts: set[int],
    restart_at: int,
) -> None:
    assert_as_twin(events, deadband, on_us, off_us, cuts, restart_at)


@pytest.mark.requirement("B-08")
@pytest.mark.parametrize("seed", range(12))
def test_a_long_log_of_limits_alarms_as_its_slow_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 400
    times = rng.choice([0, 1, 400_000, SECOND_US, 3 * SECOND_US], n)
    kinds = rng.choice(["reading", "reading", "tick"], n)
    levels = rng.choice([-2.5, -1.5, -0.8, 0.0, 0.7, 1.2, 2.5], n)
    log = [(str(k), int(t), float(x)) for k, t, x in zip(kinds, times, levels, strict=True)]
    delays = [0, SECOND_US, 2_500_000]
    cuts = {int(cut) for cut in rng.integers(0, n, 40)}
    deadband = [0.0, 0.25, 1.0][seed % 3]
    assert_as_twin(log, deadband, delays[seed % 3], delays[seed // 3 % 3], cuts, int(rng.integers(n)))


# --- limits by example -----------------------------------------------------------------------------


def test_hysteresis_keeps_an_alarm_inside_the_deadband() -> None:
    book = book_of(columns_of(1, high=80.0, deadband=2.0))
    assert told(feed(book, [(0, 0, 80.0), (0, 1, 80.5)])) == [("high", OPENED, 1, 1)]
    assert len(feed(book, [(0, 2, 79.0), (0, 3, 81.0), (0, 4, 78.5)])) == 0
    assert told(feed(book, [(0, 5, 78.0)])) == [("high", CLOSED, 1, 5)]


def test_an_on_delay_swallows_a_short_excursion() -> None:
    book = book_of(columns_of(1, high=80.0, on_delay_us=3 * SECOND_US))
    assert len(feed(book, [(0, 0, 90.0), (0, 1, 90.0), (0, 2, 70.0), (0, 3, 90.0), (0, 5, 90.0)])) == 0
    assert told(feed(book, [(0, 6, 90.0)])) == [("high", OPENED, 3, 6)]


def test_a_delay_ends_by_tick_when_no_reading_comes() -> None:
    book = book_of(columns_of(1, high=80.0, on_delay_us=3 * SECOND_US))
    feed(book, [(0, 0, 90.0)])
    assert len(tick(book, 3, [0])) == 0
    assert told(tick(book, 4, [0])) == [("high", OPENED, 0, 3)]


def test_a_restart_in_the_middle_of_a_delay_ends_it_at_the_same_tick() -> None:
    columns = columns_of(1, high=80.0, on_delay_us=3 * SECOND_US)
    first, later = book_of(columns), book_of(columns)
    feed(first, [(0, 0, 90.0)])
    tick(first, 1, [0], active=False)
    later.restore(first.snapshot())
    assert [len(tick(later, s, [0])) for s in range(2, 7)] == [len(tick(first, s, [0])) for s in range(2, 7)]
    assert later.raised_count() == first.raised_count() == 1


def test_an_old_reading_sent_late_does_not_end_its_delay_at_the_next_tick() -> None:
    """A backlog's readings are hours behind the ticks; only time since they came counts."""
    book = book_of(columns_of(1, high=80.0, on_delay_us=3 * SECOND_US))
    feed(book, [(0, 0, 90.0)])
    assert len(tick(book, 7200, [7199])) == 0
    assert len(feed(book, [(0, 1, 70.0)])) == 0
    assert len(tick(book, 7300, [7201], active=True)) == 1, "only the tag's own silence"


def test_a_model_that_drops_a_limit_clears_its_alarm() -> None:
    book = book_of(columns_of(1, high=80.0))
    feed(book, [(0, 0, 90.0)])
    book.configure(columns_of(1), np.array([10 * SECOND_US]))
    assert told(feed(book, [(0, 1, 90.0)])) == [("high", CLOSED, 0, 1)]
    assert book.raised_count() == 0


def test_many_alarms_in_one_batch_all_come_out() -> None:
    book = book_of(columns_of(3_000, high=80.0, high_high=85.0))
    rows = feed(book, [(slot, 0, 90.0) for slot in range(3_000)] + [(slot, 1, 0.0) for slot in range(3_000)])
    assert len(rows) == 4 * 3_000


# --- silence ---------------------------------------------------------------------------------------


@pytest.mark.requirement("S-17")
def test_a_dead_source_alarms_within_its_limit_plus_two_seconds_and_clears_when_it_speaks() -> None:
    book = book_of(columns_of(1, critical=False))
    rows = [tick(book, s, [0], source=0) for s in range(1, 30)]
    assert told(np.concatenate(rows)) == [("source_silent", OPENED, 0, 11)]
    rows = tick(book, 30, [30], source=30)
    assert told(rows) == [("source_silent", CLOSED, 0, 30)]
    assert (rows["slot"][0], rows["source"][0]) == (-1, 0)


def test_a_source_that_never_spoke_is_not_silent() -> None:
    book = book_of(columns_of(1, critical=False))
    assert len(tick(book, 1_000, [0], source=-1)) == 0


def test_a_critical_tag_that_falls_silent_alarms_and_a_standard_one_does_not() -> None:
    critical, standard = book_of(columns_of(1)), book_of(columns_of(1, critical=False))
    assert told(tick(critical, 11, [0], source=11)) == [("tag_silent", OPENED, 0, 11)]
    assert len(tick(critical, 12, [0], source=12)) == 0
    assert told(tick(critical, 13, [13], source=13)) == [("tag_silent", CLOSED, 0, 13)]
    assert len(tick(standard, 11, [0], source=11)) == 0


def test_twenty_seconds_without_a_stream_raise_no_tag_alarm() -> None:
    book = book_of(columns_of(1))
    tick(book, 1, [1])
    assert len(tick(book, 21, [1], active=False)) == 0
    assert len(tick(book, 31, [1])) == 0
    assert told(tick(book, 32, [1])) == [("tag_silent", OPENED, 21, 32)]


# --- detectors -------------------------------------------------------------------------------------


def anomaly(detector: str, kind: int, start_s: int, end_s: int) -> Rows:
    rows = np.zeros(1, ANOMALY)
    rows["detector"], rows["kind"] = DETECTOR_NAMES.index(detector), kind
    rows["start_us"], rows["end_us"] = T0_US + start_s * SECOND_US, T0_US + end_s * SECOND_US
    rows["score"], rows["value"], rows["expected"] = 1.5, 7.0, 3.0
    return rows


def follow(book: AlarmBook, rows: Rows) -> Rows:
    return book.step(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0), rows)


def test_a_stuck_critical_sensor_alarms_while_its_anomaly_is_open() -> None:
    book = book_of(columns_of(1))
    assert told(follow(book, anomaly("flatline", OPENED, 0, 40))) == [("stuck", OPENED, 0, 40)]
    assert told(follow(book, anomaly("flatline", CLOSED, 0, 60))) == [("stuck", CLOSED, 0, 60)]
    standard = book_of(columns_of(1, critical=False))
    assert len(follow(standard, anomaly("flatline", OPENED, 0, 40))) == 0


def test_detector_rules_with_an_off_delay_do_not_chatter() -> None:
    book = book_of(columns_of(1, silence_us=10**15))
    tick(book, 0, [0])
    assert told(follow(book, anomaly("cusum", OPENED, 0, 1))) == [("drift", OPENED, 0, 1)]
    assert len(follow(book, anomaly("cusum", CLOSED, 0, 5))) == 0
    assert len(tick(book, 30, [30])) == 0
    assert len(follow(book, anomaly("cusum", OPENED, 31, 32))) == 0
    assert len(follow(book, anomaly("cusum", CLOSED, 31, 35))) == 0
    assert len(tick(book, 89, [89])) == 0
    assert told(tick(book, 90, [90])) == [("drift", CLOSED, 0, 90)]


def test_detectors_without_a_rule_raise_no_alarm() -> None:
    assert len(follow(book_of(columns_of(1)), anomaly("ewma", OPENED, 0, 1))) == 0


# --- the table -------------------------------------------------------------------------------------


def test_the_table_says_what_an_operator_needs() -> None:
    assert len(set(ALARM_NAMES)) == len(ALARMS) <= 32, "bits of `busy`"
    assert ALARM_NAMES[:4] == ("low_low", "low", "high", "high_high"), "the kernel takes limits first"
    for rule in ALARMS:
        assert rule.priority in PRIORITIES
        assert rule.title
        assert rule.message.endswith(".")
        assert rule.response.endswith(".")
        if rule.condition == "detector":
            assert rule.of in DETECTOR_NAMES


def test_growth_to_100_000_tags_keeps_raised_alarms() -> None:
    book = book_of(columns_of(1, high=80.0))
    feed(book, [(0, 0, 90.0)])
    book.grow(100_000, 500)
    book.configure(columns_of(100_000, high=80.0), np.full(500, 10 * SECOND_US))
    assert told(feed(book, [(0, 1, 0.0), (99_999, 1, 90.0)])) == [
        ("high", CLOSED, 0, 1),
        ("high", OPENED, 1, 1),
    ]
    assert book.raised_count() == 1


def test_nothing_in_gives_nothing_out() -> None:
    book = AlarmBook()
    assert len(feed(book, [])) == 0
    assert len(tick(book, 1, [])) == 0
    book.restore(book.snapshot())
