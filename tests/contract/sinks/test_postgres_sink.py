"""The PostgreSQL sink against a real server: all of a batch with its position, or nothing."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from millrace import batch
from millrace.batch import CLOSED, LEVEL_US, OPENED, Output, Reason, Reject, TagInfo
from millrace.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US, HandClock
from millrace.errors import MillraceError, OwnershipLost
from millrace.schema.ids import event_id
from millrace.settings import Settings
from millrace.sinks.postgres import Owners, PostgresSink

Query = Callable[..., list[tuple[Any, ...]]]

TABLES = ("tag", "source", "reading", "rollup_1s", "rollup_1m", "rollup_1h", "ledger", "anomaly", "alarm",
          "alarm_event", "reject", "reject_count")  # fmt: skip


def counts(query: Query) -> dict[str, int]:
    return {table: query(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


def opened(sink: PostgresSink, owners: Owners, shard: int = 0) -> int:
    held = owners.acquire(shard)
    assert held is not None
    return sink.open_shard(held.ownership)


def spread(clock: HandClock, n: int, over_us: int, seed: int = 3) -> list[int]:
    rng = np.random.default_rng(seed)
    return sorted((clock.now_us() - rng.integers(0, over_us, n)).tolist())


def slow_rollups(rows: list[tuple[str, str, int, float, int]], width: int) -> dict[Any, tuple[Any, ...]]:
    """The obvious twin: all readings of a window at once."""
    windows: dict[Any, list[tuple[int, float, int]]] = defaultdict(list)
    for path, source, ts, value, quality in rows:
        windows[path, source, ts // width * width].append((ts, value, quality))
    found = {}
    for key, readings in windows.items():
        values = sorted(((ts, i, value) for i, (ts, value, q) in enumerate(readings) if q >= 64))
        only = [value for *_, value in values]
        extremes = (min(only), max(only), *values[0][::2], *values[-1][::2]) if values else (None,) * 6
        qualities = [q for *_, q in readings]
        found[key] = (
            len(readings), sum(q >= 192 for q in qualities), sum(64 <= q < 192 for q in qualities),
            sum(q < 64 for q in qualities), *extremes, pytest.approx(sum(only), rel=1e-12, abs=1e-9),
        )  # fmt: skip
    return found


def stored_rollups(query: Query, table: str) -> dict[Any, tuple[Any, ...]]:
    rows = query(
        "SELECT path, source, window_us, count, good, uncertain, bad, min, max, first_us, first, "
        "last_us, last, sum "
        f"FROM {table} JOIN tag ON tag.id = tag_id"
    )
    return {row[:3]: row[3:] for row in rows}


@pytest.mark.requirement("S-19")
def test_everything_of_a_batch_is_in_the_tables_with_its_position(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    assert opened(sink, owners) == 0
    made = plant()
    written = sink.write([made.output(spread(clock, 300, MINUTE_US))])
    assert (written.accepted, written.retry) == (300, ())
    stored = query("SELECT path, source, ts_us, value, quality FROM reading JOIN tag ON tag.id = tag_id")
    critical = [row for row in made.rows if int(row[0][-1]) % 2]
    assert sorted(map(repr, stored)) == sorted(map(repr, critical))
    assert query("SELECT applied, applied_at IS NOT NULL FROM shard WHERE shard = 0") == [(1, True)]


@pytest.mark.requirement("S-19")
def test_rollups_of_many_cuts_equal_the_slow_twin_over_all_readings(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    opened(sink, owners)
    made = plant()
    late = spread(clock, 60, 5 * HOUR_US, seed=5)
    for some in (spread(clock, 200, 3 * MINUTE_US), late, spread(clock, 200, 3 * MINUTE_US, seed=9)):
        sink.write(
            [made.output(some[::2], time_us=clock.now_us()), made.output(some[1::2], time_us=clock.now_us())]
        )
    for table, width in zip(("rollup_1s", "rollup_1m", "rollup_1h"), LEVEL_US, strict=True):
        assert stored_rollups(query, table) == slow_rollups(made.rows, width)


@pytest.mark.requirement("S-19")
def test_hash_sums_wrap_at_64_bits_and_agree_between_ledger_and_rollups(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    opened(sink, owners)
    made = plant()
    for seed in range(4):
        sink.write([made.output(spread(clock, 100, HOUR_US, seed))])
    ledger = query(
        "SELECT name, sum(applied), sum(applied_hash) FROM ledger JOIN source ON id = source_id GROUP BY 1"
    )
    rollup = query("SELECT source, sum(count), sum(hash) FROM rollup_1h JOIN tag ON id = tag_id GROUP BY 1")
    assert {name: (int(n), int(h) % 2**64) for name, n, h in ledger} == {
        name: (int(n), int(h) % 2**64) for name, n, h in rollup
    }


@pytest.mark.requirement("S-19")
def test_replaying_a_batch_adds_no_rows(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    opened(sink, owners)
    made = plant()
    outputs = [
        full(made.output(spread(clock, 50, MINUTE_US)), clock),
        made.output(spread(clock, 50, MINUTE_US, 4)),
    ]
    sink.write(outputs)
    before = counts(query), query("SELECT * FROM ledger"), query("SELECT * FROM rollup_1h")
    assert sink.write(outputs).accepted == 0
    assert sink.write(outputs[1:]).accepted == 0
    assert (counts(query), query("SELECT * FROM ledger"), query("SELECT * FROM rollup_1h")) == before


def test_an_output_that_straddles_the_applied_position_is_refused_whole(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    opened(sink, owners)
    made = plant()
    sink.write([made.output(spread(clock, 5, MINUTE_US))])
    before = counts(query)
    straddling = replace(made.output(spread(clock, 5, MINUTE_US), records=2), first_position=1)
    with pytest.raises(MillraceError, match="cut the read there"):
        sink.write([straddling])
    assert counts(query) == before


@pytest.mark.requirement("S-19")
def test_a_lost_epoch_changes_nothing_in_any_shard(
    url: str, sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    opened(sink, owners, 0)
    opened(sink, owners, 1)
    first, second = plant(), plant(shard=1)
    sink.write([first.output(spread(clock, 9, MINUTE_US)), second.output(spread(clock, 9, MINUTE_US))])
    before = counts(query), query("SELECT shard, applied FROM shard ORDER BY 1")
    query("UPDATE shard SET epoch = epoch + 1, owner = 'worker-2' WHERE shard = 1 RETURNING 1")
    with pytest.raises(OwnershipLost) as lost:
        sink.write([first.output(spread(clock, 9, MINUTE_US)), second.output(spread(clock, 9, MINUTE_US))])
    assert lost.value.shard == 1
    assert (counts(query), query("SELECT shard, applied FROM shard ORDER BY 1")) == before


@pytest.mark.requirement("S-19")
def test_an_epoch_lost_in_the_middle_of_the_transaction_rolls_everything_back(
    sink: PostgresSink,
    owners: Owners,
    clock: HandClock,
    plant: Any,
    query: Query,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened(sink, owners)
    made, move = plant(), sink._move

    def stolen_first(*arguments: Any) -> None:
        query("UPDATE shard SET epoch = epoch + 1 WHERE shard = 0 RETURNING 1")
        move(*arguments)

    monkeypatch.setattr(sink, "_move", stolen_first)
    with pytest.raises(OwnershipLost):
        sink.write([full(made.output(spread(clock, 9, MINUTE_US)), clock)])
    assert set(counts(query).values()) == {0}


def full(output: Output, clock: HandClock) -> Output:
    """The same output with an anomaly, an alarm and rejects."""
    output.anomalies = np.zeros(2, batch.ANOMALY)
    output.anomalies["kind"], output.anomalies["end_us"] = [OPENED, CLOSED], [10, 20]
    output.anomalies["start_us"] = 5
    output.alarms = np.zeros(2, batch.ALARM)
    output.alarms["slot"], output.alarms["rule"], output.alarms["kind"] = -1, 1, [OPENED, CLOSED]
    output.alarms["ts_us"], output.alarms["start_us"] = [30, 40], 25
    output.rejects = [
        Reject(1, i, "gateway", Reason.BAD_TIME, clock.now_us(), 0, "tag", b"x") for i in range(3)
    ]
    output.reject_counts = {Reason.BAD_TIME: 3}
    return output


def test_an_anomaly_and_an_alarm_are_one_row_each_however_often_they_are_told(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    opened(sink, owners)
    made = plant()
    sink.write([full(made.output(spread(clock, 9, MINUTE_US)), clock)])
    sink.write([full(made.output(spread(clock, 9, MINUTE_US)), clock)])
    path = made.infos[0].path
    expected = event_id(path, "gateway-0-a", "ewma", 5)
    assert query("SELECT id, path, detector, state, end_us FROM anomaly") == [(expected, path, "ewma", 1, 20)]
    assert query("SELECT source, rule, state, raised_us, returned_us, tag_id FROM alarm") == [
        ("gateway-0-a", "source-silence", "returned", 30, 40, None)
    ]
    assert query("SELECT event, ts_us FROM alarm_event ORDER BY ts_us") == [("raised", 30), ("returned", 40)]


@pytest.mark.parametrize("slots", [[-1], [-1, 0], [0, -1, -1]])
def test_anomalies_of_a_whole_source_and_of_a_tag_go_together(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query, slots: list[int]
) -> None:
    opened(sink, owners)
    made = plant()
    output = made.output(spread(clock, 9, MINUTE_US))
    output.anomalies = np.zeros(len(slots), batch.ANOMALY)
    output.anomalies["slot"], output.anomalies["start_us"] = slots, range(len(slots))
    output.anomalies["score"], output.anomalies["expected"] = np.inf, np.nan
    sink.write([output])
    ids = dict(query("SELECT path, id FROM tag"))
    found = query("SELECT tag_id, source, score, expected::text FROM anomaly ORDER BY start_us")
    tag_id = ids[made.infos[0].path]
    assert found == [(None if slot < 0 else tag_id, "gateway-0-a", np.inf, "NaN") for slot in slots]


@pytest.mark.requirement("B-02")
def test_rejects_beyond_the_minutes_bound_are_counted_but_not_kept(
    url: str, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    sink = PostgresSink(url, clock, Settings(rejects_kept_per_minute=4))
    opened(sink, owners)
    made = plant()
    for _ in range(3):
        sink.write([full(made.output(spread(clock, 3, SECOND_US), time_us=clock.now_us()), clock)])
    assert query("SELECT count(*) FROM reject") == [(4,)]
    assert query("SELECT reason, sum(count) FROM reject_count GROUP BY 1") == [("bad_time", 9)]
    sink.close()


@pytest.mark.requirement("S-19")
def test_strange_text_never_breaks_a_batch(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    opened(sink, owners)
    made = plant()
    output = made.output(spread(clock, 50, MINUTE_US))
    strange = ["a\0b", "a\ufffdb", "\ud800", "\udcff\udcfe", "", "ü\u202e\U0001f600"]
    output.tags = [
        replace(info, path=path, unit="\0") for info, path in zip(output.tags, strange, strict=True)
    ]
    output.sources = {0: "gate\0way", 1: "\udfff"}
    output.rejects = [Reject(1, 0, "\0", Reason.BAD_TAG, 1, 0, "\ud800\0", bytes(range(256)) * 9)]
    assert sink.write([output]).accepted == 50
    assert query("SELECT length(payload), tag FROM reject") == [(1024, "\ufffd\ufffd")]
    assert query("SELECT sum(count) FROM rollup_1h") == [(50,)]


def test_an_id_is_given_once_and_a_restart_burns_none(
    url: str, sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    opened(sink, owners)
    made = plant()
    sink.write([made.output(spread(clock, 9, MINUTE_US))])
    before = query("SELECT id, path, source FROM tag ORDER BY 1")
    for _ in range(3):
        again = PostgresSink(url, clock, Settings(), owner="worker-1")
        opened(again, owners)
        again.learn(0, made.infos, made.sources)
        again.write([made.output(spread(clock, 9, MINUTE_US))])
        again.close()
    assert query("SELECT id, path, source FROM tag ORDER BY 1") == before
    assert query("SELECT last_value FROM tag_id_seq") == [(before[-1][0],)]


def test_a_changed_tag_keeps_its_id_and_the_same_name_from_two_sources_is_two_tags(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    opened(sink, owners)
    made = plant()
    sink.write([made.output(spread(clock, 9, MINUTE_US))])
    (before,) = query("SELECT id FROM tag WHERE path = %s", [made.infos[0].path])
    output = made.output(spread(clock, 9, MINUTE_US))
    twin = TagInfo(6, made.infos[0].path, "other", *(getattr(made.infos[0], n) for n in
                   ("kind", "data_class", "modelled", "period_us", "unit")))  # fmt: skip
    output.tags = [replace(made.infos[0], unit="mbar"), twin]
    sink.write([output])
    found = query("SELECT source, id, unit FROM tag WHERE path = %s ORDER BY id", [made.infos[0].path])
    assert found[0] == ("gateway-0-a", before[0], "mbar")
    assert [row[0] for row in found] == ["gateway-0-a", "other"]


def test_a_slot_that_nobody_announced_is_an_error_and_writes_nothing(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    opened(sink, owners)
    output = plant().output(spread(clock, 9, MINUTE_US))
    output.tags.clear()
    with pytest.raises(MillraceError, match="learn"):
        sink.write([output])
    assert set(counts(query).values()) == {0}


@pytest.mark.requirement("S-20")
def test_readings_older_than_a_stores_retention_go_only_to_stores_that_still_owe_them(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    opened(sink, owners)
    ages = (HOUR_US, 26 * HOUR_US, 4 * DAY_US, 29 * DAY_US)
    made = plant(tags=2)
    output = made.output([clock.now_us() - age for age in ages for _ in range(20)], time_us=clock.now_us())
    sink.write([output])
    oldest = query(
        "SELECT (SELECT min(ts_us) FROM reading), (SELECT min(window_us) FROM rollup_1s), "
        "(SELECT min(window_us) FROM rollup_1m), (SELECT min(window_us) FROM rollup_1h)"
    )[0]
    hours = [(clock.now_us() - ts) / HOUR_US for ts in oldest]
    assert [math.floor(age) for age in hours] == [1, 26, 29 * 24, 29 * 24]
    assert query("SELECT sum(count) FROM rollup_1h") == [(80,)]


def test_positions_of_sixty_digits_are_kept_exactly(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    opened(sink, owners)
    made = plant(position=10**59 + 7)
    output = full(made.output(spread(clock, 9, MINUTE_US)), clock)
    output.rejects = [replace(output.rejects[0], position=position) for position in (1, 10**59 + 8, 10**20)]
    sink.write([output])
    assert owners.shards()[0].positions.applied == 10**59 + 8
    assert query("SELECT position FROM reject ORDER BY id") == [(1,), (10**59 + 8,), (10**20,)]


@pytest.mark.requirement("S-19")
def test_new_windows_written_straight_and_late_parts_of_them_are_one_row_each(
    url: str, sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    opened(sink, owners)
    made = plant(tags=3)
    sink.write([made.output([clock.now_us()])])
    start_us = clock.now_us() + HOUR_US  # beyond what another writer can have left
    for second in (0, 1, 1, 2, 0, 5, 4, 5, 70, 69, 3_700):
        sink.write([made.output([start_us + second * SECOND_US + i * 50_000 for i in range(12)])])
    clock.time_us += 3 * HOUR_US
    other = PostgresSink(url, clock, Settings(), owner="worker-1")  # knows none of the windows
    opened(other, owners)
    other.learn(0, made.infos, made.sources)
    for second in (70, 71, 70):
        other.write([made.output([start_us + second * SECOND_US + i * 50_000 for i in range(12)])])
    for table, width in zip(("rollup_1s", "rollup_1m", "rollup_1h"), LEVEL_US, strict=True):
        assert stored_rollups(query, table) == slow_rollups(made.rows, width)
    other.close()
