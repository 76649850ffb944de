"""The whole platform loses its power under load: what it had answered is there afterwards, once, and `verify --full`
says equal.

Its processes are recorded as the supervisor starts them, with the options that ship. The data folder is then cut back,
PostgreSQL, stream, archive and snapshots at the same moment, to what was synced by then, and the platform is started
on it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from power_cut import Entry, Op, acknowledge, promises
from recorded_server import Recording, build_recorder

from millrace.assets.tag import AssetModel, SourceModel, TagModel
from millrace.ingest.delivery import Delivery, Outcome, Outgoing
from millrace.protocols import frame as frame_codec
from tests.simulation.real_platform import Platform, Witness, check_equal, patched

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.requirement("S-19"),
    pytest.mark.requirement("B-08"),
]

LOAD_S = 12.0
LOAD_MAX_S = 200.0
ANSWERS_MIN = 150
CUTS = 3

RECORD_SERVERS = """\
import os
from millrace.local.child import Child
start = Child.start
def recorded(self):
    if self._environ is not None:
        self._environ = {**self._environ, **{k: v for k, v in os.environ.items() if k.startswith(('LD_', 'POWER_'))}}
    start(self)
Child.start = recorded
"""
"""The supervisor starts its servers with a clean environment; the recorder has to be in it."""

SNAPSHOT_OFTEN = """\
if 'millrace.worker' in ' '.join(sys.orig_argv):
    from millrace.snapshot_keeper import SnapshotKeeper
    keep = SnapshotKeeper.__init__
    def often(self, *arguments, interval_s, **more):
        keep(self, *arguments, interval_s=2.0, **more)
    SnapshotKeeper.__init__ = often
"""
"""So that the stream is trimmed behind snapshots while the test lasts."""

UNSYNCED = {
    "database": """\
import millrace.local.durability as durability
import millrace.local.postgres as postgres
postgres.SETTINGS["fsync"] = "off"
durability.POSTGRES_WANTED["fsync"].add("off")
""",
    "stream": """\
import millrace.stream.durability as durability
durability.WANTED["appendfsync"] = "everysec"
""",
}
"""Servers that do not sync before they answer, and a platform that does not refuse them as it would."""


class RecordedWitness(Witness):
    """Also writes what it was told into the recorder's log, where it lies between the syncs."""

    def __init__(self, platform: Platform, recording: Recording) -> None:
        super().__init__(platform, transport=platform.sender())
        self._log = recording.open_log()
        self.answers = 0

    def _note(self, outcomes: Sequence[tuple[Outgoing, Delivery]]) -> None:
        super()._note(outcomes)
        for outgoing, delivery in outcomes:
            if delivery.outcome is Outcome.TAKEN:
                frame = frame_codec.decode(outgoing.data)
                rows = zip(frame.tag.tolist(), frame.ts_us.tolist(), strict=True)
                self.answers += 1
                acknowledge(self._log, [[frame.tags[tag], ts] for tag, ts in rows])

    def close(self) -> None:
        super().close()
        os.close(self._log)


def model(witness: Witness) -> AssetModel:
    """Half of the tags critical and with rollups of a second."""
    tags = tuple(
        TagModel(path=path, source=source, period_us=100_000 if i % 2 else 60_000_000,
                 data_class="critical" if i % 2 else "standard", range_high=1e6)
        for source, paths in zip(witness.sources, witness.tags, strict=True) for i, path in enumerate(paths)
    )  # fmt: skip
    return AssetModel(sources=tuple(SourceModel(name=source) for source in witness.sources), tags=tags)


def send_bad_readings(platform: Platform) -> None:
    """Some that the door refuses and one that `process` does: the quarantine must survive too."""
    bad = [{"tag": "acme/odd", "ts": "yesterday", "value": 1}, {"tag": "acme/odd", "ts": 0, "value": 1}]
    bad.append({"tag": "acme/lyon/l1/gw-0/t1", "ts": int(time.time() * 1e6), "value": 1e9})
    good = {"tag": "acme/lyon/fine", "ts": int(time.time() * 1e6), "value": 1.0}
    body = "\n".join(json.dumps(row) for row in [*bad, good])
    with platform.client() as client:
        headers = {"Content-Type": "application/x-ndjson", "Millrace-Source": "odd"}
        assert client.post("/v1/readings", content=body, headers=headers).status_code == 202


def record(platform: Platform, work: Path, patch: str) -> Recording:
    """A new platform's folder, and everything that its processes wrote and synced under load."""
    recorder = build_recorder(work)
    platform.start()
    platform.publish(model(Witness(platform)))
    platform.stop()
    recording = Recording.begin(platform.home, work)
    plain = dict(platform.settings)
    code = RECORD_SERVERS + SNAPSHOT_OFTEN + patch
    paths = [patched(work / "patch", "millrace", code), *filter(None, [os.environ.get("PYTHONPATH")])]
    platform.settings |= recording.environment(recorder) | {"PYTHONPATH": os.pathsep.join(paths)}
    platform.start()
    witness = RecordedWitness(platform, recording)
    witness.start()
    begin_s = time.monotonic()
    while time.monotonic() - begin_s < LOAD_S or witness.answers < ANSWERS_MIN:
        assert time.monotonic() - begin_s < LOAD_MAX_S, f"{witness.answers} answers in {LOAD_MAX_S} s"
        send_bad_readings(platform)
        time.sleep(0.3)
    witness.close()
    platform.stop()
    platform.settings = plain
    recording.finish()
    return recording


def lose_power(recording: Recording, at: int, work: Path, rng: Random | None) -> None:
    """Put what the disk holds in the data folder's place, with the owners and modes that its files had."""
    live, cut = recording.root, work / "cut"
    whole = work / "whole"
    if not whole.exists():
        live.rename(whole)
    shutil.rmtree(live, ignore_errors=True)
    recording.cut(at, cut, rng)
    for path in [cut, *cut.rglob("*")]:
        _as_it_was(path, whole / path.relative_to(cut))
    cut.rename(live)


def _as_it_was(path: Path, was: Path) -> None:
    """What is gone in the folder that went on belongs to whom its folder belongs."""
    private = 0o700 if path.is_dir() else 0o600
    known = next(place for place in (was, *was.parents) if place.exists())
    stat = known.stat()
    os.chown(path, stat.st_uid, stat.st_gid)
    path.chmod(stat.st_mode & 0o777 if known == was else private)


def told_before(recording: Recording, at: int) -> set[tuple[str, int]]:
    answered: list[Any] = promises(recording.entries, at)
    return {(path, ts_us) for rows in answered for path, ts_us in rows}


def start_and_check(platform: Platform, told: set[tuple[str, int]]) -> None:
    platform.start()
    check_equal(platform, told)


def answers(recording: Recording) -> list[Entry]:
    return [entry for entry in recording.entries if entry.op is Op.ACK]


@pytest.fixture
def platform(work: Path, settings: dict[str, str]) -> Iterator[Platform]:
    running = Platform(work / "home", settings)
    yield running
    running.stop()


def test_what_was_answered_survives_a_power_cut_of_everything(
    platform: Platform, work: Path, rng: random.Random
) -> None:
    recording = record(platform, work, "")
    told = answers(recording)
    for number in range(CUTS):
        at = rng.randint(told[50].order, told[-1].order + 1)
        lose_power(recording, at, work, Random(rng.random()) if number % 2 else None)
        start_and_check(platform, told_before(recording, at))
        assert platform.query("SELECT count(*) > 0 FROM reject_count")[0][0]
        platform.stop()


@pytest.mark.parametrize("server", UNSYNCED)
def test_a_server_that_does_not_sync_before_it_answers_is_caught(
    platform: Platform, work: Path, server: str
) -> None:
    recording = record(platform, work, UNSYNCED[server])
    told = answers(recording)
    # A server may have synced by itself right before one of them, but hardly before each.
    tried = (told[-1], told[-90], told[-45], told[-120])
    assert any(is_broken_after_cut(platform, recording, entry.order + 1, work) for entry in tried)


def is_broken_after_cut(platform: Platform, recording: Recording, at: int, work: Path) -> bool:
    """Whether the platform does not start on what is left, or something that was answered is missing."""
    lose_power(recording, at, work, None)
    try:
        start_and_check(platform, told_before(recording, at))
    except AssertionError as error:
        print(str(error)[-600:])
        return True
    finally:
        platform.stop()
    return False
