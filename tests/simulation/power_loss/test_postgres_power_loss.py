"""What the sink called written survives every power cut, rows and position together, and the test would notice if
it did not. The sink is the product's, and so are the server's settings."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest
from power_cut import Op, acknowledge, promises
from recorded_postgres import give, new_cluster, server_on
from recorded_server import Recording, build_recorder

from millrace.clock import HOUR_US, SECOND_US, EdgeClock
from millrace.local.postgres import SETTINGS
from millrace.schema import migrate
from millrace.settings import Settings
from millrace.sinks.postgres import Owners, PostgresSink
from millrace.verify import stores
from millrace.verify.archive import Files
from millrace.verify.compare import compare
from tests.contract.sinks.conftest import Plant

WRITES = 40
ROWS = 40
CUTS = 3
CUTS_LONG = 15
SYNCS_MAX = 20
PRODUCT = {name: value.strip("'") for name, value in SETTINGS.items()} | {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
}
"""As shipped, but for the way to reach it."""


class PositionApart(PostgresSink):
    """Mutation: the position in a transaction of its own, before the rows."""

    def _transact(self, session: Any, parts: Any, shards: Any) -> Any:
        with session.transaction(), session.cursor() as cursor:
            outputs = [part.output for part in parts]
            super()._move(
                cursor, outputs, shards, {shard: standing.mark for shard, standing in shards.items()}
            )
        return super()._transact(session, parts, shards)

    def _move(self, *arguments: Any) -> None:
        """Done before."""


@dataclass
class Run:
    """A recording, and what was written in it: `rows_at[p]` rows of the plant up to position p."""

    recording: Recording
    plant: Plant
    rows_at: list[int]

    def critical_at(self, position: int) -> Counter[tuple[Any, ...]]:
        rows = self.plant.rows[: self.rows_at[position]]
        critical = {info.path for info in self.plant.infos if info.data_class}
        return Counter(
            (path, ts, repr(value), quality) for path, _, ts, value, quality in rows if path in critical
        )


def new_stores(root: Path) -> None:
    """A migrated database with one shard, stopped."""
    new_cluster(root)
    server, url = server_on(root, **PRODUCT)
    server.start()
    migrate(url)
    owners = Owners(url, "worker-0", Settings())
    owners.prepare("folder-1", 1)
    owners.close()
    server.stop()


def record_writes(work: Path, sink_type: type[PostgresSink] = PostgresSink, **options: str) -> Run:
    """Outputs through the sink, acknowledged when it said so, with checkpoints between."""
    recorder = build_recorder(work)
    root = work / "live"
    new_stores(root)
    recording = Recording.begin(root, work)
    server, url = server_on(root, recording.environment(recorder), **{**PRODUCT, **options})
    server.start()
    log = recording.open_log()
    run = Run(recording, Plant(), [0])
    try:
        write_all(url, sink_type, run, log)
    finally:
        os.close(log)
        server.kill()
    recording.finish()
    return run


def write_all(url: str, sink_type: type[PostgresSink], run: Run, log: int) -> None:
    clock, settings = EdgeClock(), Settings()
    owners = Owners(url, "worker-0", settings)
    held = owners.acquire(0)
    assert held is not None
    sink = sink_type(url, clock, settings, owner="worker-0")
    sink.open_shard(held.ownership)
    now_us = clock.now_us()
    for position in range(1, WRITES + 1):
        begin_us = now_us - position % 4 * HOUR_US  # late ones too: partitions are made on the way
        written = sink.write(
            [run.plant.output([begin_us + i * SECOND_US for i in range(-ROWS, 0)], time_us=now_us)]
        )
        assert written.accepted == ROWS
        run.rows_at.append(len(run.plant.rows))
        acknowledge(log, position)
        if position % 15 == 0:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("CHECKPOINT")
    sink.close()
    owners.close()


def broken_after_cut(run: Run, at: int, target: Path, rng: Random | None) -> str:
    """What is wrong with a server started on the remains; empty: nothing."""
    folder = run.recording.cut(at, target, rng)
    (folder / "postmaster.pid").unlink(missing_ok=True)
    give(folder)
    server, url = server_on(folder, **{**PRODUCT, "fsync": "off"})  # this one need not outlive anything
    try:
        server.start()
    except RuntimeError as error:
        return f"does not start: {error}"
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            return out_of_step(run, connection, max(promises(run.recording.entries, at), default=0))
    except psycopg.Error as error:
        return f"cannot be read: {error}"
    finally:
        server.kill()


def out_of_step(run: Run, connection: psycopg.Connection[Any], promised: int) -> str:
    """Every critical reading up to *applied*, no other, and the accounting of `verify` says equal."""
    found = connection.execute("SELECT applied FROM shard").fetchone()
    applied = int(found[0]) if found else -1
    if applied < promised:
        return f"acknowledged {promised}, applied {applied}"
    rows = connection.execute(
        "SELECT path, ts_us, value, r.quality FROM reading r JOIN tag ON tag.id = tag_id"
    ).fetchall()
    wanted = run.critical_at(applied)
    have = Counter((path, ts, repr(value), quality) for path, ts, value, quality in rows)
    if have != wanted:
        return (
            f"applied {applied}: {(wanted - have).total()} rows lack, {(have - wanted).total()} are too many"
        )
    report = compare(stores.count(connection, {}, full=True), Files(), full=True, seconds_taken=0.0)
    holes = [hole for hole in report.holes if hole.stage != "archive"]  # there is none here
    if holes or report.applied != run.rows_at[applied]:
        return f"applied {applied}: {report.applied} in the ledger, holes {holes}"
    return ""


def cuts(run: Run, rng: Random, count: int = CUTS) -> list[tuple[int, Random | None]]:
    """Random moments, every other one with unsynced bytes surviving in part, and the very end."""
    entries = run.recording.entries
    acknowledged = [e.order for e in entries if e.op is Op.ACK]
    orders = [e.order for e in entries if e.order > acknowledged[0]]
    chosen = [(rng.choice(orders), Random(rng.random()) if i % 2 else None) for i in range(count)]
    return [*chosen, (acknowledged[-1] + 1, None)]


@pytest.mark.requirement("S-19")
def test_what_the_sink_wrote_and_its_position_survive_every_power_cut(work: Path, rng: Random) -> None:
    run = record_writes(work)
    assert len(promises(run.recording.entries, 1 << 60)) == WRITES
    for at, chance in cuts(run, rng):
        assert broken_after_cut(run, at, work / "cut", chance) == "", f"cut at {at}"


@pytest.mark.long
@pytest.mark.requirement("S-19")
def test_what_the_sink_wrote_survives_power_cuts_at_many_moments(work: Path, rng: Random) -> None:
    run = record_writes(work)
    for at, chance in cuts(run, rng, CUTS_LONG):
        assert broken_after_cut(run, at, work / "cut", chance) == "", f"cut at {at}"


@pytest.mark.parametrize(
    "weaker", [{"fsync": "off"}, {"synchronous_commit": "off", "wal_writer_delay": "10s"}]
)
def test_a_database_that_does_not_sync_its_commits_is_caught(
    work: Path, weaker: dict[str, str], rng: Random
) -> None:
    run = record_writes(work, **weaker)
    assert any(broken_after_cut(run, at, work / "cut", chance) for at, chance in cuts(run, rng)[::-1])


def test_a_position_committed_apart_from_its_rows_is_caught(work: Path) -> None:
    run = record_writes(work, PositionApart)
    entries = run.recording.entries
    last = max(e.order for e in entries if e.op is Op.ACK)
    syncs = [e.order for e in entries if e.op is Op.SYNC and e.order < last]
    # Of two commits the first is broken; between them may lie syncs that the server makes by itself.
    assert any(broken_after_cut(run, at + 1, work / "cut", None) for at in syncs[-5:-SYNCS_MAX:-1])
