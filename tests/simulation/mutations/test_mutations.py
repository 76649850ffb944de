"""One mutation per promise: the same death at the same place, once as shipped and once with the promise broken.

As shipped, everything answered is there once and `verify` says equal. Broken, something must say so: a promise whose
breach nobody notices is not kept, only hoped for. Durability itself (sync off) is broken in `power_loss`.
"""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from millrace.assets.tag import AssetModel, SourceModel, TagModel
from tests.simulation.real_platform import DIE_ONCE, Platform, Witness, check_equal, started, until

LOOK_S = 90.0
pytestmark = [pytest.mark.long, pytest.mark.requirement("S-19"), pytest.mark.requirement("B-08")]

COMMIT = """\
from millrace.sinks.postgres.sink import PostgresSink
transact, move = PostgresSink._transact, PostgresSink._move
"""
DIE_BEFORE_COMMIT = """\
def move_and_die(self, cursor, outputs, shards, marks):
    move(self, cursor, outputs, shards, marks)
    die_if_told()
PostgresSink._move = move_and_die
"""
POSITION_OUTSIDE = """\
def position_first(self, session, parts, shards):
    if is_told():
        with session.transaction(), session.cursor() as cursor:
            outputs = [part.output for part in parts]
            move(self, cursor, outputs, shards, {s: row.mark for s, row in shards.items()})
        die_if_told()
    return transact(self, session, parts, shards)
PostgresSink._transact = position_first
"""

SNAPSHOT = """\
from millrace.snapshot_keeper import SnapshotKeeper
write = SnapshotKeeper._write
def die_before_listing(self, run):
    if is_told():
        {trim}
        die_if_told()
    return write(self, run)
SnapshotKeeper._write = die_before_listing
"""
TRIM_FIRST = "self._stream.trim(run.shard, before=run.candidate.position)"

ACKNOWLEDGE_FIRST = """\
from concurrent.futures import Future
from millrace.ingest.appender import Appender
submit = Appender.submit
def taken_at_once(self, entry, series):
    submit(self, entry, series)
    done = Future()
    done.set_result(1)
    return done
Appender.submit = taken_at_once
"""


def critical(witness: Witness) -> AssetModel:
    tags = tuple(
        TagModel(path=tag, source=source, data_class="critical")
        for source, own in zip(witness.sources, witness.tags, strict=True)
        for tag in own
    )
    return AssetModel(sources=tuple(SourceModel(name=source) for source in witness.sources), tags=tags)


def strike_once(platform: Platform, trigger: Path, *, loaded_s: float) -> set[tuple[str, int]]:
    """A load, a death where the patch puts it, some more load; what the witness was told."""
    witness = Witness(platform)
    platform.publish(critical(witness))  # so that each batch has rows of its own in PostgreSQL
    witness.start()
    time.sleep(loaded_s)
    trigger.touch()
    until(lambda: not trigger.exists(), LOOK_S, "the death")
    time.sleep(5)
    witness.close()
    return witness.told


def test_rows_and_position_are_one_commit(tmp_path: Path, settings: dict[str, str]) -> None:
    trigger = tmp_path / "die"
    code = DIE_ONCE.format(trigger=str(trigger)) + COMMIT + DIE_BEFORE_COMMIT
    with started(tmp_path, settings, "millrace.worker", code) as platform:
        check_equal(platform, strike_once(platform, trigger, loaded_s=4.0))


def test_a_position_outside_the_rows_transaction_is_caught(tmp_path: Path, settings: dict[str, str]) -> None:
    trigger = tmp_path / "die"
    code = DIE_ONCE.format(trigger=str(trigger)) + COMMIT + POSITION_OUTSIDE
    with started(tmp_path, settings, "millrace.worker", code) as platform:
        strike_once(platform, trigger, loaded_s=4.0)
        exit_code, report = platform.verify("--full")
        assert exit_code == 1, report
        assert report["holes"], report


def snapshot_patch(trigger: Path, trim: str) -> str:
    return DIE_ONCE.format(trigger=str(trigger)) + SNAPSHOT.format(trim=trim)


def test_a_death_before_a_snapshot_is_listed_loses_nothing(tmp_path: Path, settings: dict[str, str]) -> None:
    trigger = tmp_path / "die"
    with started(tmp_path, settings, "millrace.worker", snapshot_patch(trigger, "pass")) as platform:
        check_equal(platform, strike_once(platform, trigger, loaded_s=14.0))


@pytest.mark.parametrize("loaded_s", [0.0, 14.0], ids=["first snapshot", "later snapshot"])
def test_a_stream_trimmed_before_its_snapshot_is_listed_is_caught(
    tmp_path: Path, settings: dict[str, str], loaded_s: float
) -> None:
    """Nobody goes on from a gap: the platform says that records are missing, and stops."""
    trigger = tmp_path / "die"
    with started(tmp_path, settings, "millrace.worker", snapshot_patch(trigger, TRIM_FIRST)) as platform:
        witness = Witness(platform)
        witness.start()
        time.sleep(loaded_s)
        trigger.touch()
        until(lambda: not trigger.exists(), LOOK_S, "the death")
        process = platform.process
        assert process is not None
        until(lambda: process.poll() is not None, 2 * LOOK_S, "the platform's end")
        assert "records are missing" in (tmp_path / "up.log").read_text()
        threading.Thread(target=witness.close, daemon=True).start()


def die_with_the_stream_asleep(platform: Platform, *, answers_on: bool = False) -> set[tuple[str, int]]:
    """The stream stops answering under load, then it and the door are killed; what the door had answered 202.

    `answers_on`: of a door that answers without it.
    """
    witness = Witness(platform, transport=platform.sender())
    witness.start()
    until(lambda: len(witness.told) > 500, LOOK_S, "a load")
    assert platform.kill("stream", signal.SIGSTOP)
    asleep = len(witness.told)
    time.sleep(1.5)
    if answers_on:
        until(lambda: len(witness.told) > asleep + 100, LOOK_S, "answers that nothing stands behind")
    assert platform.kill("api")
    assert platform.kill("stream")
    time.sleep(8)
    witness.close()
    return witness.told


def test_what_the_door_answered_is_in_the_stream(tmp_path: Path, settings: dict[str, str]) -> None:
    with started(tmp_path, settings, "millrace.api", "pass") as platform:
        check_equal(platform, die_with_the_stream_asleep(platform))


def test_a_door_that_answers_before_the_append_is_caught(tmp_path: Path, settings: dict[str, str]) -> None:
    with started(tmp_path, settings, "millrace.api", ACKNOWLEDGE_FIRST) as platform:
        told = die_with_the_stream_asleep(platform, answers_on=True)
        with pytest.raises(AssertionError, match="answered readings are lost"):
            check_equal(platform, told)
