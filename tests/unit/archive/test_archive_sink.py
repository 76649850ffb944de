"""Nothing that the sink took is lost, and *archived* never passes what is listed."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from archive_making import T0_US, MemoryManifest, output, reading_rows, reject, tag_info

from millrace import telemetry
from millrace.clock import HandClock
from millrace.durable import Disk
from millrace.errors import OwnershipLost
from millrace.schema.reject_files import read_rejects
from millrace.schema.segments import read_tag
from millrace.settings import Settings
from millrace.sinks.archive import ArchiveSink
from millrace.sinks.archive.buffer import UnknownSlot
from millrace.sinks.archive.sink import RETRY_MAX_S
from millrace.sinks.contract import Ownership
from millrace.store_thread import StoreThread

TAGS = [tag_info(i) for i in range(5)]
OpenSink = Callable[..., ArchiveSink]


def some_rows(n: int, at: int = 0):
    return reading_rows(TAGS, np.arange(n) % 5, T0_US + at + np.arange(n), np.arange(n) + 0.5)


def files_of(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def test_a_segment_closes_by_age_and_is_listed_with_archived(
    open_sink: OpenSink, manifest: MemoryManifest, clock: HandClock, tmp_path: Path
) -> None:
    sink = open_sink()
    assert sink.write([output(1, some_rows(10), tags=TAGS), output(2, some_rows(10, 10))]).accepted == 20
    assert manifest.calls == []
    clock.sleep(61)
    sink.write([])
    (segment,) = manifest.listed()
    assert (segment.rows, segment.first_position, segment.last_position) == (20, 1, 2)
    assert manifest.archived[0] == sink.position(0) == 2
    content = (tmp_path / segment.file).read_bytes()
    assert segment.bytes == len(content)
    assert segment.sha256 == hashlib.sha256(content).hexdigest()
    assert sum(c.count for c in segment.counts) == 20


def test_a_mark_closes_the_segment_at_once(open_sink: OpenSink, manifest: MemoryManifest) -> None:
    sink = open_sink()
    sink.write([output(1, some_rows(10), tags=TAGS), output(2, mark=1), output(3, some_rows(5, 20))])
    assert [s.last_position for s in manifest.listed()] == [2]
    assert sink.position(0) == 2


def test_a_segment_closes_by_rows(open_sink: OpenSink, manifest: MemoryManifest) -> None:
    sink = open_sink(segment_rows_max=1000)
    sink.write([output(i + 1, some_rows(400, 400 * i), tags=TAGS) for i in range(6)])
    assert [s.rows for s in manifest.listed()] == [1200, 1200]


def test_a_segment_closes_at_an_asked_position(open_sink: OpenSink, manifest: MemoryManifest) -> None:
    sink = open_sink()
    sink.close_at(0, 2)
    sink.write([output(i, some_rows(5, i), tags=TAGS) for i in (1, 2, 3)])
    assert [s.last_position for s in manifest.listed()] == [2]


def test_without_rows_only_archived_moves(
    open_sink: OpenSink, manifest: MemoryManifest, clock: HandClock, tmp_path: Path
) -> None:
    sink = open_sink()
    sink.write([output(7)])
    clock.sleep(61)
    sink.write([])
    assert manifest.listed() == []
    assert manifest.archived[0] == sink.position(0) == 7
    assert files_of(tmp_path) == []


@pytest.mark.requirement("S-19")
def test_rejects_are_all_in_a_quarantine_file_of_the_same_listing(
    open_sink: OpenSink, manifest: MemoryManifest, tmp_path: Path
) -> None:
    sink = open_sink()
    odd = [reject(1), reject(1, b"\xff\x00\n", source="", ts_us=0), reject(1, b"x", source="\ud800", count=7)]
    sink.write([output(1, some_rows(3), tags=TAGS, rejects=odd, mark=1)])
    assert len(manifest.calls) == 1
    kinds = {segment.kind: segment for segment in manifest.listed()}
    kept = list(read_rejects(tmp_path / kinds["quarantine"].file))
    assert [row["payload"] for row in kept] == [r.payload for r in odd]
    assert kinds["quarantine"].rows == 3
    assert {c.source: c.count for c in kinds["quarantine"].counts} == {"gw-1": 1, "unknown": 1, "\ufffd": 7}


class FullDisk(Disk):
    """Has no space until `full` is taken back."""

    full = True

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        if self.full:
            super().write(descriptor, memoryview(data)[: len(memoryview(data)) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(descriptor, data)


@pytest.mark.requirement("S-19")
def test_a_full_disk_loses_nothing_and_is_answered_with_retry(
    tmp_path: Path, manifest: MemoryManifest, clock: HandClock
) -> None:
    disk = FullDisk()
    sink = ArchiveSink(tmp_path, manifest, Settings(segment_rows_max=1000), clock, disk=disk)
    sink.open_shard(Ownership(0, 1))
    waiting = [output(i + 1, some_rows(500, 500 * i), tags=TAGS) for i in range(8)]
    answer = sink.write(waiting)
    assert answer.retry == tuple(waiting[4:])
    assert "No space" in sink.failure
    assert files_of(tmp_path) == []
    disk.full = False
    clock.sleep(60)
    again = sink.write(answer.retry)
    assert again.retry == ()
    sink.write([output(9, mark=1)])
    assert sum(s.rows for s in manifest.listed()) == 4000
    assert sink.position(0) == 9
    assert sink.failure == ""


@pytest.mark.requirement("S-19")
def test_postgres_away_keeps_the_written_file_and_lists_it_later(
    open_sink: OpenSink, manifest: MemoryManifest, clock: HandClock, tmp_path: Path
) -> None:
    sink = open_sink()
    manifest.away = True
    sink.write([output(1, some_rows(10), tags=TAGS, mark=1)])
    assert sink.position(0) == 0
    before = files_of(tmp_path)
    manifest.away = False
    clock.sleep(1)
    sink.write([])
    assert [s.file for s in manifest.listed()] == before
    assert sink.position(0) == 1


def test_each_try_to_write_or_list_that_failed_is_counted_long_before_the_buffer_is_full(
    open_sink: OpenSink, manifest: MemoryManifest, clock: HandClock
) -> None:
    """An alarm counts them: what fits into the buffer may be the readings of hours."""
    counted = "sink_retries_total{archive}"
    sink, before = open_sink(), telemetry.totals()[counted]
    manifest.away = True
    for tries in range(1, 8):
        answer = sink.write([output(1, some_rows(10), tags=TAGS, mark=1)] if tries == 1 else [])
        assert answer.retry == ()
        assert telemetry.totals()[counted] == before + tries
        clock.sleep(RETRY_MAX_S)
    assert RETRY_MAX_S <= 60, "each minute has one"
    manifest.away = False
    sink.write([])
    assert telemetry.totals()[counted] == before + 7


def test_a_put_off_of_a_full_buffer_is_counted_once(
    open_sink: OpenSink, manifest: MemoryManifest, clock: HandClock
) -> None:
    """By the sink alone: its thread, which offers the same again, counts no second one."""
    counted = "sink_retries_total{archive}"
    sink = open_sink(segment_rows_max=1000)
    store = StoreThread(sink, clock, interval_s=1.0, on_lost=lambda _shard: None)
    store.open_shard(Ownership(0, 1))
    for i in range(8):
        store.offer(output(i + 1, some_rows(500, 500 * i), tags=TAGS))
    manifest.away, before = True, telemetry.totals()[counted]
    for tries in range(1, 4):
        assert store._turn(0.0) > 0, "put off"
        assert telemetry.totals()[counted] == before + tries
        clock.sleep(RETRY_MAX_S)
    manifest.away = False
    assert store._turn(0.0) == 0
    assert telemetry.totals()[counted] == before + 3
    assert store.written == {0: 8}


def test_a_lost_answer_to_the_listing_lists_once(
    open_sink: OpenSink, manifest: MemoryManifest, clock: HandClock
) -> None:
    sink = open_sink()
    manifest.answer_lost = True
    sink.write([output(1, some_rows(10), tags=TAGS, mark=1)])
    clock.sleep(1)
    sink.write([])
    assert [s.rows for s in manifest.listed()] == [10]


def test_an_old_owner_raises_and_stops(open_sink: OpenSink, manifest: MemoryManifest) -> None:
    sink = open_sink(epoch=1)
    manifest.epoch[0] = 2
    with pytest.raises(OwnershipLost):
        sink.write([output(1, some_rows(10), tags=TAGS, mark=1)])
    assert manifest.listed() == []
    with pytest.raises(KeyError):
        sink.position(0)


@pytest.mark.requirement("S-19")
def test_a_new_owner_removes_what_was_never_listed_and_nothing_else(
    open_sink: OpenSink, manifest: MemoryManifest, tmp_path: Path
) -> None:
    sink = open_sink(epoch=1)
    sink.write([output(1, some_rows(10), tags=TAGS, mark=1)])
    manifest.away = True
    sink.write([output(2, some_rows(10), mark=2)])
    folder = (tmp_path / manifest.listed()[0].file).parent
    (folder / "seg-0-1-9-9.parquet.aside").write_bytes(b"half")
    (folder / "seg-0-3-9-9.parquet").write_bytes(b"of a newer owner")
    (folder / "notes.txt").write_bytes(b"not ours")
    assert len(files_of(tmp_path)) == 5
    manifest.away = False
    assert open_sink(epoch=2).position(0) == 1
    kept = {Path(f).name for f in files_of(tmp_path)}
    assert kept == {Path(manifest.listed()[0].file).name, "seg-0-3-9-9.parquet", "notes.txt"}


def test_offering_an_output_twice_adds_no_rows(open_sink: OpenSink, manifest: MemoryManifest) -> None:
    sink = open_sink()
    first = output(1, some_rows(10), tags=TAGS)
    sink.write([first])
    sink.write([first, output(2, mark=1)])
    assert [s.rows for s in manifest.listed()] == [10]


def test_a_slot_that_changes_its_tag_keeps_older_rows_under_the_old_name(
    open_sink: OpenSink, manifest: MemoryManifest, tmp_path: Path
) -> None:
    sink = open_sink()
    moved = tag_info(0, "acme/new", "gw-9")
    sink.write([output(1, some_rows(1), tags=TAGS)])
    sink.write([output(2, reading_rows([moved], [0], [T0_US + 9], [9.0]), tags=[moved], mark=1)])
    file = tmp_path / manifest.listed()[0].file
    assert read_tag([file], TAGS[0].path, None, 0, 2**62)[1].tolist() == [0.5]
    assert read_tag([file], "acme/new", "gw-9", 0, 2**62)[1].tolist() == [9.0]


def test_a_slot_that_nobody_announced_stops_the_sink(open_sink: OpenSink) -> None:
    sink = open_sink()
    with pytest.raises(UnknownSlot, match="never announced"):
        sink.write([output(1, some_rows(5))])
    sink.announce(0, TAGS)
    assert sink.write([output(1, some_rows(5))]).accepted == 5
