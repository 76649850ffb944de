"""A committed position survives every power cut together with its rows, and the test would notice if it did
not."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import psycopg
import pytest
from power_cut import Op, acknowledge, promises
from recorded_postgres import give, new_cluster, server_on
from recorded_server import Recording, build_recorder

BATCHES = 60
ROWS = 40
CUTS = 3
SEED = 20_260_105


def new_stores(root: Path) -> None:
    """A cluster with a position and its rows, stopped."""
    new_cluster(root)
    server, url = server_on(root)
    server.start()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE shard (shard int PRIMARY KEY, applied numeric)")
        connection.execute("CREATE TABLE reading (position numeric, value float8)")
        connection.execute("INSERT INTO shard VALUES (0, 0)")
    server.stop()


def record_commits(work: Path, *, position_apart: bool = False, **options: str) -> Recording:
    """Rows and their position, one transaction each, with checkpoints between; acknowledged when
    committed."""
    recorder = build_recorder(work)
    root = work / "live"
    new_stores(root)
    recording = Recording.begin(root, work)
    server, url = server_on(root, recording.environment(recorder), **options)
    server.start()
    log = recording.open_log()
    try:
        with psycopg.connect(url) as connection:
            for position in range(1, BATCHES + 1):
                connection.execute("UPDATE shard SET applied = %s WHERE applied < %s", [position, position])
                if position_apart:
                    connection.commit()
                connection.execute(
                    "INSERT INTO reading SELECT %s, random() FROM generate_series(1, %s)", [position, ROWS]
                )
                connection.commit()
                acknowledge(log, position)
                if position % 25 == 0:
                    connection.execute("CHECKPOINT")
                    connection.commit()
    finally:
        os.close(log)
        server.kill()
    recording.finish()
    return recording


def broken_after_cut(recording: Recording, at: int, target: Path, rng: Random | None) -> str:
    """What is wrong with a server started on the remains; empty: nothing."""
    folder = recording.cut(at, target, rng)
    (folder / "postmaster.pid").unlink(missing_ok=True)
    give(folder)
    server, url = server_on(folder, fsync="off")  # this one need not outlive anything
    try:
        server.start()
    except RuntimeError as error:
        return f"does not start: {error}"
    try:
        with psycopg.connect(url) as connection:
            applied = connection.execute("SELECT applied FROM shard").fetchone()
            rows = connection.execute("SELECT count(*), max(position) FROM reading").fetchone()
    except psycopg.Error as error:
        return f"cannot be read: {error}"
    finally:
        server.kill()
    assert applied is not None
    assert rows is not None
    promised = max(promises(recording.entries, at), default=0)
    if applied[0] < promised:
        return f"acknowledged {promised}, applied {applied[0]}"
    if rows[0] != applied[0] * ROWS or (rows[1] or 0) != applied[0]:
        return f"applied {applied[0]}, but {rows[0]} rows up to {rows[1]}"
    return ""


def cuts(recording: Recording) -> list[tuple[int, Random | None]]:
    rng = Random(SEED)
    acknowledged = [e.order for e in recording.entries if e.op is Op.ACK]
    orders = [e.order for e in recording.entries if e.order > acknowledged[0]]
    chosen = [(rng.choice(orders), Random(i) if i % 2 else None) for i in range(CUTS)]
    return [*chosen, (acknowledged[-1] + 1, None)]


@pytest.mark.requirement("S-19")
def test_a_committed_position_and_its_rows_survive_every_power_cut(work: Path) -> None:
    recording = record_commits(work)
    for at, rng in cuts(recording):
        assert broken_after_cut(recording, at, work / "cut", rng) == "", f"cut at {at}, seed {SEED}"


@pytest.mark.parametrize(
    "weaker", [{"fsync": "off"}, {"synchronous_commit": "off", "wal_writer_delay": "10s"}]
)
def test_a_database_that_does_not_sync_its_commits_is_caught(work: Path, weaker: dict[str, str]) -> None:
    recording = record_commits(work, **weaker)
    assert any(broken_after_cut(recording, at, work / "cut", rng) for at, rng in cuts(recording)[::-1])


def test_a_position_committed_apart_from_its_rows_is_caught(work: Path) -> None:
    recording = record_commits(work, position_apart=True)
    commits = [e.order for e in recording.entries if e.op is Op.SYNC]
    assert any(broken_after_cut(recording, at + 1, work / "cut", None) for at in commits[-8:-4])
