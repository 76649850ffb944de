"""Ownership, snapshots, skips: who may write, and from where a restart replays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from millrace.clock import MINUTE_US, HandClock
from millrace.errors import DataFolderError, OwnershipLost, StoreUnavailable
from millrace.schema.hour_counts import HourCount
from millrace.settings import Settings
from millrace.sinks.contract import Ownership
from millrace.sinks.manifest import QUARANTINE, Segment
from millrace.sinks.postgres import Owners, PostgresManifest, PostgresSink
from millrace.sinks.postgres.connection import application_name

Query = Callable[..., list[tuple[Any, ...]]]


def expire(query: Query, shard: int) -> None:
    query("UPDATE shard SET lease_until = now() - interval '1 s' WHERE shard = %s RETURNING 1", [shard])


def test_a_shard_has_one_owner_until_it_is_released_or_its_lease_runs_out(
    url: str, owners: Owners, query: Query
) -> None:
    other = Owners(url, "worker-2", Settings())
    first = owners.acquire(0)
    assert first is not None
    assert other.acquire(0) is None
    owners.release(first.ownership)
    second = other.acquire(0)
    assert second is not None
    assert second.ownership.epoch == first.ownership.epoch + 1
    expire(query, 0)
    third = owners.acquire(0)
    assert third is not None
    assert third.ownership.epoch == first.ownership.epoch + 2
    with pytest.raises(StoreUnavailable):  # its sessions were ended with its lease
        other.renew([second.ownership])
    assert other.renew([second.ownership]) == [second.ownership]
    assert owners.renew([third.ownership]) == []
    other.close()


def test_an_owner_that_restarts_under_its_name_gets_a_new_epoch_at_once(owners: Owners) -> None:
    epochs = [held.ownership.epoch for held in (owners.acquire(2), owners.acquire(2)) if held]
    assert epochs == [1, 2]


def test_a_wish_is_seen_by_the_owner_and_gone_after_the_hand_over(url: str, owners: Owners) -> None:
    other = Owners(url, "worker-2", Settings())
    held = owners.acquire(1)
    assert held is not None
    other.want(1)
    assert owners.shards()[1].wanted_by == "worker-2"
    owners.release(held.ownership)
    assert other.acquire(1) is not None
    assert owners.shards()[1].wanted_by == ""
    other.close()


@pytest.mark.requirement("S-19")
def test_a_stopped_owner_in_mid_transaction_holds_nobody_up(
    url: str, owners: Owners, clock: HandClock, plant: Any, query: Query
) -> None:
    held = owners.acquire(0)
    assert held is not None
    stopped = psycopg.connect(url, application_name=application_name("worker-1"))
    stopped.execute(
        "INSERT INTO tag (path, source, tag_hash, shard, kind, data_class, "
        "modelled, period_us, unit) "
        "VALUES ('acme/lyon/line-0/press/tag-0', 'gateway-0-a', 0, 0, 0, 0, true, 0, '')"
    )
    expire(query, 0)
    other = Owners(url, "worker-2", Settings())
    taken = other.acquire(0)
    assert taken is not None
    sink = PostgresSink(url, clock, Settings(), owner="worker-2")
    sink.open_shard(taken.ownership)
    assert sink.write([plant().output([clock.now_us() - MINUTE_US])]).accepted == 1
    with pytest.raises(psycopg.OperationalError):
        stopped.execute("SELECT 1")
    sink.close()
    other.close()


def test_a_database_of_another_data_folder_is_refused_and_untouched(url: str, owners: Owners) -> None:
    assert owners.identity() == "folder-1/1"
    for identity, shards in (("folder-2/1", 4), ("folder-1/1", 8)):
        with pytest.raises(DataFolderError, match="folder-1/1 with 4 shards"):
            owners.prepare(identity, shards)
    assert len(owners.shards()) == 4


@pytest.mark.requirement("S-19")
def test_a_snapshot_is_listed_only_behind_applied_and_archived_and_trims_to_the_older_of_two(
    owners: Owners, query: Query
) -> None:
    held = owners.acquire(0)
    assert held is not None
    mine = held.ownership
    query("UPDATE shard SET applied = 50, archived = 20 WHERE shard = 0 RETURNING 1")
    assert owners.list_snapshot(mine, 30, "30.snap") is None
    assert owners.snapshots(0) == []
    trims, gone = [], []
    for position in (5, 10, 20):
        gone.append(owners.list_snapshot(mine, position, f"{position}.snap"))
        trims.append(owners.shards()[0].positions.snapshot)
    assert gone == [[], [], ["5.snap"]]
    assert trims == [0, 5, 10]
    assert owners.snapshots(0) == [(20, "20.snap"), (10, "10.snap")]
    with pytest.raises(OwnershipLost):
        owners.list_snapshot(Ownership(0, mine.epoch - 1), 15, "15.snap")


def test_three_deaths_in_one_record_are_counted_across_restarts_and_a_skip_needs_the_epoch(
    owners: Owners,
) -> None:
    held = owners.acquire(3)
    assert held is not None
    assert [owners.count_death(3, 10**30) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(OwnershipLost):
        owners.skip(Ownership(3, 99), 10**30)
    assert owners.skips(3) == set()
    owners.skip(held.ownership, 10**30)
    assert owners.skips(3) == {10**30}
    owners.forget_deaths(3, 10**30)
    assert owners.count_death(3, 10**30) == 1


def segment(file: str, first: int, last: int, kind: str = "readings") -> Segment:
    counts = (HourCount("gateway", 0, 3, 2**64 - 1), HourCount("ü", 3_600_000_000, 4, 7))
    return Segment(file, 0, 1, first, last, 7, 1, 2, 100, "ab" * 32, kind, counts)


@pytest.mark.requirement("S-19")
def test_segments_are_listed_together_with_archived_or_not_at_all(
    url: str, owners: Owners, query: Query
) -> None:
    held = owners.acquire(0)
    assert held is not None
    manifest = PostgresManifest(url, Settings())
    epoch = held.ownership.epoch
    files = [segment("a", 1, 10**40), segment("b", 1, 10**40, QUARANTINE)]
    manifest.list_segment(0, epoch, 10**40, files)
    manifest.list_segment(0, epoch, 10**40, files)  # an unknown outcome repeated
    assert manifest.files(0) == files
    with pytest.raises(OwnershipLost):
        manifest.list_segment(0, epoch - 1, 10**41, [segment("c", 1, 2)])
    assert len(manifest.files(0)) == 2
    assert owners.shards()[0].positions.archived == 10**40
    manifest.list_segment(0, epoch, 10**40 + 5, [])
    assert owners.shards()[0].positions.archived == 10**40 + 5
    manifest.close()


def test_compaction_swaps_in_one_step_and_retired_files_go_only_after_their_time(
    url: str, owners: Owners, query: Query
) -> None:
    held = owners.acquire(0)
    assert held is not None
    manifest = PostgresManifest(url, Settings())
    epoch = held.ownership.epoch
    manifest.list_segment(0, epoch, 9, [segment("a", 1, 4), segment("b", 5, 9)])
    manifest.replace_segments(0, epoch, segment("ab", 1, 9), ["a", "b"])
    assert query("SELECT file, state FROM segment ORDER BY 1") == [
        ("a", "retired"), ("ab", "listed"), ("b", "retired")
    ]  # fmt: skip
    assert manifest.retired_before(0, 60) == []
    assert sorted(manifest.retired_before(0, -1)) == ["a", "b"]
    manifest.forget(0, epoch, ["a", "b", "ab"])
    assert [s.file for s in manifest.files(0)] == ["ab"]
    manifest.close()
