"""Partitions come before they are needed and go only when nobody owes them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from millrace import names
from millrace.clock import DAY_US, HOUR_US, HandClock
from millrace.schema import partitions
from millrace.settings import Settings
from millrace.sinks.postgres import Owners, PostgresSink, Retention

Query = Callable[..., list[tuple[Any, ...]]]


def opened(sink: PostgresSink, owners: Owners, *shards: int) -> None:
    for shard in shards:
        held = owners.acquire(shard)
        assert held is not None
        sink.open_shard(held.ownership)


def starts(query: Query, table: str) -> list[int]:
    rows = query(
        "SELECT relname FROM pg_class JOIN pg_inherits ON oid = inhrelid WHERE inhparent = %s::regclass",
        [table],
    )
    return sorted(partitions.start_in(name) for (name,) in rows)


@pytest.mark.requirement("S-20")
def test_a_partition_goes_only_when_edge_time_and_every_shards_time_are_past_it(
    url: str, sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    opened(sink, owners, 0, 1, 2, 3)
    plants = [plant(shard=shard) for shard in range(4)]
    begin_us = clock.now_us()
    sink.write([p.output([begin_us - 1], time_us=begin_us) for p in plants])
    retention = Retention(url, clock, Settings())
    hour = partitions.start_of(names.TABLE_READING, begin_us - 1)

    clock.time_us = begin_us + 25 * HOUR_US  # edge time is past it, no shard's is
    assert retention.sweep() == []
    sink.write([p.output([clock.now_us()], time_us=clock.now_us()) for p in plants[:3]])  # one shard lags
    assert retention.sweep() == []
    sink.write([plants[3].output([begin_us - 2], time_us=begin_us + HOUR_US)])  # its backlog still needs it
    assert query("SELECT count(*) FROM reading WHERE ts_us < %s", [begin_us])[0][0] >= 1
    assert retention.sweep() == []
    sink.write([plants[3].output([clock.now_us()], time_us=clock.now_us())])
    assert partitions.name_of(names.TABLE_READING, hour) in retention.sweep()
    assert hour not in starts(query, names.TABLE_READING)
    assert query("SELECT sum(count) FROM rollup_1h") == [(9,)]
    retention.close()


@pytest.mark.requirement("S-20")
def test_a_wall_clock_set_forward_drops_nothing(
    url: str, sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    opened(sink, owners, 0)
    sink.write([plant().output([clock.now_us()], time_us=clock.now_us())])
    clock.time_us += 400 * DAY_US
    retention = Retention(url, clock, Settings())
    assert retention.sweep() == []
    retention.close()


@pytest.mark.requirement("S-20")
def test_rollups_of_a_second_go_after_three_days_of_a_minute_after_ninety_of_an_hour_never(
    url: str, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    query("DELETE FROM shard WHERE shard > 0 RETURNING 1")
    sink = PostgresSink(url, clock, Settings())
    opened(sink, owners, 0)
    made = plant()
    begin_us = clock.now_us()
    retention = Retention(url, clock, Settings())
    held = {table: [] for table in partitions.WIDTH_US}
    for day in (0, 2, 4, 89, 92):
        clock.time_us = begin_us + day * DAY_US
        sink.write([made.output([clock.now_us()], time_us=clock.now_us())])
        retention.sweep()
        for table, kept in held.items():
            kept.append(min(starts(query, table)) <= begin_us)
    assert held == {
        "reading": [True, False, False, False, False],
        "rollup_1s": [True, True, False, False, False],
        "rollup_1m": [True, True, True, True, False],
        "rollup_1h": [True, True, True, True, True],
    }
    retention.close()
    sink.close()


def test_a_drop_cut_short_is_finished_by_the_next_sweep(url: str, query: Query) -> None:
    partition = (names.TABLE_READING, 0)
    with psycopg.connect(url, autocommit=True) as connection:
        partitions.ensure(connection, [partition])
        reader = psycopg.connect(url)
        reader.execute("SELECT count(*) FROM reading")
        connection.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            partitions.drop(connection, partition)
        reader.close()
        partitions.drop(connection, partition)
        assert partition not in partitions.existing(connection)
        assert partition in partitions.ensure(connection, [partition])


def test_many_makers_of_one_partition_do_not_disturb_each_other_or_a_writer(url: str, query: Query) -> None:
    writer = psycopg.connect(url)
    wanted = [(table, 40 * width) for table, width in partitions.WIDTH_US.items()]
    with psycopg.connect(url, autocommit=True) as connection:
        partitions.ensure(connection, [(names.TABLE_READING, 0)])
    writer.execute("INSERT INTO reading VALUES (1, 1, 1, 1)")  # holds its locks until the end
    failures: list[BaseException] = []

    def make() -> None:
        try:
            with psycopg.connect(url, autocommit=True, options="-c lock_timeout=60s") as connection:
                partitions.ensure(connection, wanted)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert failures == []
    with psycopg.connect(url) as connection:
        assert set(wanted) <= partitions.existing(connection)
    writer.close()
