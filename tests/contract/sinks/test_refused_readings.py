"""Readings that PostgreSQL refuses by itself: put aside one by one, counted, and everything else goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from millrace import telemetry
from millrace.batch import Output
from millrace.clock import EdgeClock, HandClock
from millrace.schema.quarantine import RejectFilter, begin_replay
from millrace.sinks.postgres import Owners, PostgresSink
from millrace.store_thread import StoreThread

Query = Callable[..., list[tuple[Any, ...]]]

REFUSED = 666.0
NO_SUCH_VALUE = "ALTER TABLE reading ADD CONSTRAINT no_such_value CHECK (value <> 666) NOT VALID"


def opened(sink: PostgresSink, owners: Owners) -> None:
    held = owners.acquire(0)
    assert held is not None
    sink.open_shard(held.ownership)


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def output_of(made: Any, clock: HandClock, *, rows: int = 60, refused: tuple[int, ...] = ()) -> Output:
    """Readings of one minute, all of critical tags where `refused` says so."""
    now_us = clock.now_us()
    output: Output = made.output([now_us - i * 1_000 for i in range(rows)], time_us=now_us)
    for place in refused:
        output.readings["slot"][place], output.readings["value"][place] = 1, REFUSED
        output.readings["quality"][place] = 192
    output.ledger = made.ledger(output.readings)
    return output


def refused_total() -> float:
    return telemetry.totals()["sink_readings_refused_total{store_refused}"]


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("refused", [(17,), (0, 59), tuple(range(60))], ids=["one", "both-ends", "all"])
def test_what_the_server_refuses_is_put_aside_by_row_and_the_rest_is_stored(
    sink: PostgresSink,
    owners: Owners,
    clock: HandClock,
    plant: Any,
    url: str,
    query: Query,
    refused: tuple[int, ...],
) -> None:
    opened(sink, owners)
    made = plant()
    sink.write([output_of(made, clock)])
    execute(url, NO_SUCH_VALUE)
    before, counted = query("SELECT count(*) FROM reading")[0][0], refused_total()
    output = output_of(made, clock, refused=refused)
    critical = int((output.readings["slot"] % 2).sum())
    written = sink.write([output])
    assert (written.accepted, written.rejected, written.retry) == (60 - len(refused), len(refused), ())
    assert query("SELECT count(*) FROM reading")[0][0] == before + critical - len(refused)
    rejects = query("SELECT source, tag, ts_us, payload FROM reject WHERE reason = 'store_refused'")
    assert sorted(ts_us for *_, ts_us, _ in rejects) == sorted(
        output.readings["ts_us"][list(refused)].tolist()
    )
    assert {json.loads(payload)["value"] for *_, payload in rejects} == {REFUSED}
    assert query("SELECT sum(count) FROM reject_count WHERE reason = 'store_refused'") == [(len(refused),)]
    assert refused_total() == counted + len(refused)
    assert query("SELECT applied FROM shard WHERE shard = 0") == [(2,)]


@pytest.mark.requirement("S-19")
def test_a_reading_of_a_new_tag_is_refused_as_any_other(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, url: str, query: Query
) -> None:
    opened(sink, owners)
    execute(url, NO_SUCH_VALUE)
    assert sink.write([output_of(plant(), clock, refused=(3,))]).rejected == 1
    assert query("SELECT count(*) FROM tag") == [(6,)]


@pytest.mark.requirement("S-19")
def test_a_refused_reading_is_not_sent_again_because_the_archive_has_applied_it(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, url: str
) -> None:
    opened(sink, owners)
    execute(url, NO_SUCH_VALUE)
    sink.write([output_of(plant(), clock, refused=(3,))])
    with psycopg.connect(url, autocommit=True) as connection:
        assert begin_replay(connection, RejectFilter(reason="store_refused")) == []
        assert begin_replay(connection, RejectFilter(source="gateway-0-b")) == []


@pytest.mark.requirement("S-19")
def test_refused_what_is_no_reading_the_write_waits_and_goes_through_once_the_table_is_mended(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, url: str, query: Query
) -> None:
    opened(sink, owners)
    made = plant()
    sink.write([output_of(made, clock)])
    execute(url, "ALTER TABLE rollup_1h ADD CONSTRAINT none CHECK (count < 0) NOT VALID")
    output = output_of(made, clock)
    assert sink.write([output]).retry == (output,)
    assert query("SELECT applied FROM shard WHERE shard = 0") == [(1,)]
    execute(url, "ALTER TABLE rollup_1h DROP CONSTRAINT none")
    assert sink.write([output]).accepted == 60
    assert query("SELECT sum(count) FROM rollup_1h") == [(120,)]


@pytest.mark.requirement("S-19")
def test_more_refused_readings_than_may_be_searched_for_wait_like_a_server_that_is_away(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, url: str, query: Query
) -> None:
    opened(sink, owners)
    made = plant()
    execute(url, "ALTER TABLE reading ADD CONSTRAINT none CHECK (value IS NULL) NOT VALID")
    output = output_of(made, clock, rows=2_000, refused=tuple(range(2_000)))
    assert sink.write([output]).retry == (output,)
    assert query("SELECT (SELECT count(*) FROM reject), (SELECT count(*) FROM tag)") == [(0, 0)]


@pytest.mark.requirement("S-19")
def test_a_refused_reading_ends_no_store_thread(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, url: str, query: Query
) -> None:
    store = StoreThread(sink, EdgeClock(), interval_s=0.01, on_lost=lambda _shard: None)
    held = owners.acquire(0)
    assert held is not None
    store.open_shard(held.ownership)
    execute(url, NO_SUCH_VALUE)
    store.start()
    made = plant()
    for refused in ((5,), (), (7, 8)):
        store.offer(output_of(made, clock, refused=refused))
    assert store.drain(30.0)
    store.stop()
    assert store.failure is None
    assert store.written == {0: 3}
    assert query("SELECT count(*) FROM reject WHERE reason = 'store_refused'") == [(3,)]


@pytest.mark.requirement("S-19")
def test_a_sink_that_asks_for_a_retry_is_counted_each_time(
    sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, url: str
) -> None:
    store = StoreThread(sink, EdgeClock(), interval_s=0.01, on_lost=lambda _shard: None)
    held = owners.acquire(0)
    assert held is not None
    store.open_shard(held.ownership)
    execute(url, "ALTER TABLE ledger ADD CONSTRAINT none CHECK (received < 0) NOT VALID")
    before = telemetry.totals()["sink_retries_total{postgres}"]
    store.offer(output_of(plant(), clock))
    assert [store._turn(0.0) > 0 for _ in range(3)] == [True, True, True]
    assert telemetry.totals()["sink_retries_total{postgres}"] == before + 3
    execute(url, "ALTER TABLE ledger DROP CONSTRAINT none")
    assert store._turn(0.0) == 0.0
    assert store.unavailable == ""
