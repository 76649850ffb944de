"""The producer client: identities, bounds, retries, and its buffer on disk."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from millrace.batch import Frame, Incarnation
from millrace.clock import EdgeClock, HandClock
from millrace.errors import DataFolderError, ProtocolError, StreamUnavailable
from millrace.ingest.delivery import Delivery, Outcome, Outgoing, StreamTransport
from millrace.ingest.disk import DiskGuard
from millrace.ingest.disk_buffer import DiskBuffer, Kept
from millrace.ingest.producer import Producer
from millrace.protocols import frame as frame_codec
from millrace.stream.contract import Entry
from millrace.stream.memory import MemoryStream

T_US = 1_767_600_000_000_000
SHARDS = 4


def columns(count: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return T_US + np.arange(first, first + count) * 1_000, np.arange(first, first + count, dtype=np.float64)


def stored(stream: MemoryStream) -> list[Frame]:
    """All frames, by source and in the order of their shard."""
    got = stream.read(dict.fromkeys(range(SHARDS), 0), count_max=10_000, wait_s=0)
    return sorted(
        (frame_codec.decode(record.data) for records in got.values() for record in records),
        key=lambda f: f.source,
    )


class Unsteady:
    """A stream whose appends fail on demand: before they happen, or after (the outcome is unknown)."""

    def __init__(self) -> None:
        self.stream = MemoryStream(SHARDS)
        self.plan: list[str] = []
        self.calls: list[list[bytes]] = []

    def append(self, entries: Sequence[Entry]) -> list[int]:
        self.calls.append([entry.data for entry in entries])
        step = self.plan.pop(0) if self.plan else "ok"
        if step == "before":
            raise StreamUnavailable("refused")
        positions = self.stream.append(entries)
        if step == "after":
            raise StreamUnavailable("connection lost")
        return positions


def made(append: object, clock: HandClock | None = None, **options: object) -> Producer:
    return Producer(append, shard_count=SHARDS, clock=clock or HandClock(), rng=random.Random(7), **options)  # type: ignore[arg-type]


def flush_until_empty(producer: Producer, clock: HandClock) -> None:
    for _ in range(200):
        if not producer.unsent:
            return
        producer.flush()
        clock.sleep(0.5)
    raise AssertionError(producer.counts)


def test_readings_of_a_source_become_one_frame_a_flush_numbered_without_gaps() -> None:
    stream, clock = MemoryStream(SHARDS), HandClock()
    producer = made(stream.append, clock)
    for round_ in range(3):
        ts_us, value = columns(10, first=10 * round_)
        for source in ("gw-a", "gw-b"):
            assert producer.send(source, ["line/temp"] * 4, ts_us[:4], value[:4]) == 4
            assert (
                producer.send(source, ["line/rpm"] * 6, ts_us[4:], value[4:], np.full(6, 64, np.uint8)) == 6
            )
        producer.flush()
    frames = stored(stream)
    assert [(frame.source, frame.seq, len(frame.ts_us)) for frame in frames] == [
        (source, seq, 10) for source in ("gw-a", "gw-b") for seq in (1, 2, 3)
    ]
    assert {frame.incarnation for frame in frames} == {producer.incarnation}
    assert [frames[0].tags[i] for i in frames[0].tag] == ["line/temp"] * 4 + ["line/rpm"] * 6
    assert frames[2].value.tolist() == list(range(20, 30))
    assert frames[0].quality.tolist() == [192] * 4 + [64] * 6
    assert all(frame.received_ts_us == clock.now_us() for frame in frames)


def test_indexes_out_of_the_dictionary_mean_their_tags() -> None:
    stream = MemoryStream(SHARDS)
    producer = made(stream.append)
    dictionary = producer.dictionary("gw")
    indexes = np.array([dictionary.index(tag) for tag in ("a", "b", "a")], np.uint32)
    producer.send("gw", indexes, *columns(3))
    producer.send("gw", ["c", "b"], *columns(2))
    producer.flush()
    (frame,) = stored(stream)
    assert [frame.tags[i] for i in frame.tag] == ["a", "b", "a", "c", "b"]


def test_a_unit_said_of_an_index_travels_with_its_readings() -> None:
    stream = MemoryStream(SHARDS)
    producer = made(stream.append)
    dictionary = producer.dictionary("gw")
    indexes = np.array([dictionary.index("a", unit=unit) for unit in ("bar", "", "bar")], np.uint32)
    producer.send("gw", indexes, *columns(3))
    producer.flush()
    (frame,) = stored(stream)
    assert [(frame.tags[i], frame.units[i]) for i in frame.tag] == [("a", "bar"), ("a", ""), ("a", "bar")]


def test_the_callers_arrays_may_be_used_again_after_send() -> None:
    stream = MemoryStream(SHARDS)
    producer = made(stream.append)
    ts_us, value = columns(3)
    producer.send("gw", ["a", "b", "c"], ts_us, value)
    ts_us[:] = 0
    value[:] = -1
    producer.flush()
    assert stored(stream)[0].value.tolist() == [0, 1, 2]


@pytest.mark.requirement("S-19")
def test_a_retry_has_the_same_identity_and_the_same_bytes() -> None:
    unsteady, clock = Unsteady(), HandClock()
    unsteady.plan = ["after", "before", "after", "ok"]
    producer = made(unsteady.append, clock)
    producer.send("gw", ["a"] * 5, *columns(5))
    flush_until_empty(producer, clock)
    assert len(unsteady.calls) == 4
    assert len({call[0] for call in unsteady.calls}) == 1  # the stamp of the first append as well
    frames = stored(unsteady.stream)
    assert [(frame.seq, frame.content_hash) for frame in frames] == [(1, frames[0].content_hash)] * 3
    assert producer.counts.delivered == 5


@pytest.mark.requirement("S-19")
def test_nothing_of_a_source_overtakes_a_frame_that_is_being_retried() -> None:
    rng = random.Random(11)
    unsteady, clock = Unsteady(), HandClock()
    unsteady.plan = [rng.choice(["ok", "before", "after"]) for _ in range(60)]
    producer = made(unsteady.append, clock, frame_readings_max=7)
    for round_ in range(60):
        for source in ("gw-a", "gw-b", "gw-c"):
            producer.send(source, ["a"] * 10, *columns(10, first=10 * round_))
        producer.flush()
        clock.sleep(rng.random())
    flush_until_empty(producer, clock)
    for source in ("gw-a", "gw-b", "gw-c"):
        first_seen: dict[int, Frame] = {}
        for frame in stored(unsteady.stream):
            if frame.source == source:
                assert frame.seq <= max(first_seen, default=0) + 1
                first_seen.setdefault(frame.seq, frame)
        assert list(first_seen) == sorted(first_seen)
        assert [v for frame in first_seen.values() for v in frame.value] == list(range(600))


def test_pauses_between_retries_double_are_jittered_and_bounded() -> None:
    unsteady, clock = Unsteady(), HandClock()
    unsteady.plan = ["before"] * 500
    producer = made(unsteady.append, clock)
    producer.send("gw", ["a"], *columns(1))
    called_s: list[float] = []
    for _ in range(6_000):
        calls = len(unsteady.calls)
        producer.flush()
        if len(unsteady.calls) > calls:
            called_s.append(clock.monotonic_s())
        clock.sleep(0.01)
    pauses = np.diff(called_s)
    assert pauses[0] < 0.1
    assert 2.4 < pauses[-1] <= 5.02
    assert len(set(np.round(pauses[-5:], 2))) > 1


def test_a_full_buffer_takes_a_part_says_so_and_goes_on_when_emptied() -> None:
    unsteady, clock = Unsteady(), HandClock()
    unsteady.plan = ["before"] * 5
    producer = made(unsteady.append, clock, buffer_bytes_max=21_000)
    taken = [producer.send("gw", ["a"] * 300, *columns(300, first=300 * i)) for i in range(6)]
    assert taken == [300, 300, 300, 100, 0, 0]
    assert producer.buffered_bytes <= 21_000
    flush_until_empty(producer, clock)
    assert producer.send("gw", ["a"] * 300, *columns(300)) == 300
    assert producer.counts.accepted == 1_300


def test_a_frame_never_holds_more_than_it_may() -> None:
    stream = MemoryStream(SHARDS)
    producer = made(stream.append, frame_readings_max=100)
    producer.send("gw", ["a"] * 250, *columns(250))
    producer.flush()
    assert [len(frame.ts_us) for frame in stored(stream)] == [100, 100, 50]


def test_a_frame_too_large_for_a_record_is_cut_and_nothing_is_lost() -> None:
    stream = MemoryStream(SHARDS)
    producer = made(stream.append, buffer_bytes_max=10**9)
    rng = np.random.default_rng(3)
    value = rng.random(65_536)
    ts_us = T_US + rng.integers(0, 10**12, 65_536)
    tags = [f"acme/lyon/{rng.bytes(12).hex()}/{i}" for i in range(40_000)]
    producer.send("gw", [tags[i % 40_000] for i in range(65_536)], ts_us, value)
    producer.flush()
    frames = stored(stream)
    assert len(frames) > 1
    assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))
    assert np.concatenate([frame.value for frame in frames]).tolist() == value.tolist()
    assert [f.tags[i] for f in frames for i in f.tag] == [tags[i % 40_000] for i in range(65_536)]


def test_a_reading_whose_tag_no_frame_can_hold_travels_as_a_reject() -> None:
    stream = MemoryStream(SHARDS)
    producer = made(stream.append)
    producer.send("gw", ["good", "bad\ntag", "x" * 300, "good"], *columns(4))
    producer.flush()
    (frame,) = stored(stream)
    assert frame.value.tolist() == [0, 3]
    assert [(reject.index, reject.reason.name) for reject in frame.rejects] == [
        (1, "BAD_TAG"),
        (2, "TAG_TOO_LONG"),
    ]
    assert producer.counts.delivered == 4


def test_the_thread_sends_what_waits_and_close_drains() -> None:
    stream = MemoryStream(SHARDS)
    producer = made(stream.append, EdgeClock(), linger_s=0.01)
    producer.start()
    producer.send("gw", ["a"] * 5, *columns(5))
    stream.read(dict.fromkeys(range(SHARDS), 0), count_max=1, wait_s=60.0)
    producer.send("gw", ["a"] * 5, *columns(5))
    assert producer.close() == 0
    assert sum(frame.count for frame in stored(stream)) == 10


def test_close_is_bounded_and_says_what_it_could_not_send() -> None:
    stream = MemoryStream(SHARDS)
    stream.unavailable = True
    producer = made(stream.append, EdgeClock())
    producer.start()
    producer.send("gw", ["a"] * 5, *columns(5))
    assert producer.close(timeout_s=0.2) == 5


class Door:
    """A transport that answers by plan and remembers the order of arrival."""

    direct = False
    frames_per_source = 1

    def __init__(self) -> None:
        self.answers: dict[str, list[Delivery]] = {}
        self.arrived: list[tuple[str, int]] = []

    def deliver(self, frames: Sequence[Outgoing]) -> list[Delivery]:
        assert len({frame.source for frame in frames}) == len(frames)
        self.arrived += [(frame.source, frame.seq) for frame in frames]
        return [(self.answers.get(f.source) or [Delivery(Outcome.TAKEN)]).pop(0) for f in frames]

    def close(self) -> None:
        pass


def test_one_sources_wait_is_not_the_others_and_retry_after_is_honoured() -> None:
    door, clock = Door(), HandClock()
    producer = made(door, clock)
    door.answers["slow"] = [Delivery(Outcome.LATER, retry_after_s=7.0), Delivery(Outcome.TAKEN)]
    for second in range(10):
        for source in ("slow", "fast"):
            producer.send(source, ["a"], *columns(1, first=second))
        producer.flush()
        clock.sleep(1.0)
    assert [seq for source, seq in door.arrived if source == "fast"] == list(range(1, 11))
    slow = [seq for source, seq in door.arrived if source == "slow"]
    assert slow[:3] == [1, 1, 2]
    assert len(slow) == 4  # at 0 s, then from 7 s on


def test_what_will_never_be_taken_is_counted_told_and_does_not_block() -> None:
    door, told = Door(), []
    producer = made(door, on_delivered=told.extend)
    door.answers["gw"] = [Delivery(Outcome.REFUSED, detail="413: too large"), Delivery(Outcome.TAKEN)]
    producer.send("gw", ["a"] * 3, *columns(3))
    producer.flush()
    producer.send("gw", ["a"] * 2, *columns(2))
    producer.flush()
    assert (producer.counts.refused, producer.counts.delivered, producer.unsent) == (3, 2, 0)
    assert [(frame.seq, delivery.outcome.name) for frame, delivery in told] == [(1, "REFUSED"), (2, "TAKEN")]
    assert "413" in producer.counts.last_trouble


def test_a_producer_beside_the_door_stops_before_the_disk_is_full(tmp_path: Path) -> None:
    stream, clock = MemoryStream(SHARDS), HandClock()
    disk = DiskGuard(tmp_path, free_min_bytes=10**18, folder_max_bytes=10**18, clock=clock)
    producer = made(StreamTransport(stream.append, disk=disk), clock)
    producer.send("gw", ["a"] * 3, *columns(3))
    assert producer.flush() == 0
    assert "disk_nearly_full" in producer.counts.last_trouble
    assert stored(stream) == []
    disk._free_min_bytes = 1
    flush_until_empty(producer, clock)
    assert len(stored(stream)) == 1


# --- the buffer on disk ---


@pytest.mark.requirement("S-19")
def test_what_send_took_is_sent_by_the_next_life_with_the_same_identities(tmp_path: Path) -> None:
    stream, clock = MemoryStream(SHARDS), HandClock()
    stream.unavailable = True
    first = made(stream.append, clock, folder=tmp_path)
    for i in range(5):
        assert first.send("gw", ["a"] * 10, *columns(10, first=10 * i)) == 10
    assert first.close(timeout_s=0.1) == 50
    stream.unavailable = False
    clock.sleep(60.0)
    second = made(stream.append, clock, folder=tmp_path)
    assert second.incarnation == first.incarnation
    assert second.unsent == 50
    second.send("gw", ["b"] * 10, *columns(10))
    flush_until_empty(second, clock)
    assert [(frame.seq, frame.incarnation) for frame in stored(stream)] == [
        (seq, first.incarnation) for seq in range(1, 7)
    ]
    second.close()
    made(stream.append, clock, folder=tmp_path).close()  # a life that sends nothing
    third = made(stream.append, clock, folder=tmp_path)
    assert third.unsent == 0
    third.send("gw", ["a"], *columns(1))
    third.flush()
    assert (
        stored(stream)[-1].seq == 7
    )  # a number is never used twice, though all its frames are gone from the disk


def test_without_a_disk_each_life_is_another_incarnation() -> None:
    stream, clock = MemoryStream(SHARDS), HandClock()
    first = Producer(stream.append, shard_count=SHARDS, clock=clock)
    clock.sleep(0.001)
    assert Producer(stream.append, shard_count=SHARDS, clock=clock).incarnation > first.incarnation


def test_a_second_producer_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    first = made(MemoryStream(SHARDS).append, folder=tmp_path)
    with pytest.raises(DataFolderError, match="another producer"):
        made(MemoryStream(SHARDS).append, folder=tmp_path)
    first.close()


def test_the_buffer_on_disk_is_bounded_and_empties(tmp_path: Path) -> None:
    stream, clock = MemoryStream(SHARDS), HandClock()
    stream.unavailable = True
    producer = made(stream.append, clock, folder=tmp_path, buffer_bytes_max=50_000)
    rng = np.random.default_rng(5)
    taken = 0
    for i in range(100):
        taken += producer.send("gw", ["a"] * 100, columns(100, first=100 * i)[0], rng.random(100))
    assert taken < 10_000
    assert sum(path.stat().st_size for path in tmp_path.glob("*.log")) < 60_000
    stream.unavailable = False
    flush_until_empty(producer, clock)
    assert sum(frame.count for frame in stored(stream)) == taken
    assert producer.close() == 0


def test_files_whose_frames_are_taken_are_removed_in_order(tmp_path: Path) -> None:
    buffer = DiskBuffer(tmp_path, Incarnation(1, 2), segment_bytes=2_000)
    for seq in range(1, 41):
        buffer.keep([Kept("gw", seq, 1, bytes(300))])
        if seq % 2:
            buffer.taken([("gw", seq)])
    many = len(list(tmp_path.glob("*.log")))
    buffer.close()
    again = DiskBuffer(tmp_path, Incarnation(9, 9), segment_bytes=2_000)
    assert again.incarnation == Incarnation(1, 2)
    assert [kept.seq for kept in again.unsent()] == list(range(2, 41, 2))
    assert again.newest == {"gw": 40}
    again.taken([("gw", seq) for seq in range(2, 41, 2)])
    assert many > 3
    assert len(list(tmp_path.glob("*.log"))) == 1
    again.close()


@pytest.mark.parametrize("cut", [1, 5, 9, 100, 305, 315])
def test_a_torn_tail_costs_only_what_was_never_answered(tmp_path: Path, cut: int) -> None:
    buffer = DiskBuffer(tmp_path, Incarnation(1, 2))
    buffer.keep([Kept("gw", 1, 1, bytes(300))])
    buffer.keep([Kept("gw", 2, 1, bytes(300))])
    buffer.close()
    (path,) = tmp_path.glob("*.log")
    path.write_bytes(path.read_bytes()[:-cut])
    again = DiskBuffer(tmp_path, Incarnation(9, 9))
    assert [kept.seq for kept in again.unsent()] == [1]
    again.close()


def test_a_full_disk_takes_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clock = MemoryStream(SHARDS), HandClock()
    stream.unavailable = True
    producer = made(stream.append, clock, folder=tmp_path)
    assert producer.send("gw", ["a"], *columns(1)) == 1

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", full)
        assert producer.send("gw", ["a"] * 2, *columns(2)) == 0
    assert "No space" in producer.counts.last_trouble
    producer.close(timeout_s=0.0)
    producer = made(stream.append, clock, folder=tmp_path)
    assert producer.unsent == 1  # what was refused is not there either
    stream.unavailable = False
    assert producer.send("gw", ["a"] * 3, *columns(3)) == 3
    flush_until_empty(producer, clock)
    producer.close()
    assert [(frame.seq, frame.count) for frame in stored(stream)] == [(1, 1), (2, 3)]
    again = made(stream.append, clock, folder=tmp_path)
    assert again.unsent == 0
    again.close()


CHILD = """
    import sys
    import numpy as np
    from pathlib import Path
    from millrace.clock import EdgeClock
    from millrace.ingest.producer import Producer
    from millrace.stream.memory import MemoryStream
    stream = MemoryStream(4)
    stream.unavailable = True
    producer = Producer(stream.append, shard_count=4, clock=EdgeClock(), folder=Path(sys.argv[1]))
    producer.start()
    for i in range(100_000):
        took = producer.send(f"gw-{i % 3}", ["a"], np.array([i]), np.array([float(i)]))
        print(i, took, flush=True)
"""


@pytest.mark.requirement("S-19")
def test_a_killed_producer_loses_nothing_that_send_took(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    taken = [int(child.stdout.readline().split()[0]) for _ in range(50)]
    time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    taken += [int(line.split()[0]) for line in child.stdout if line.endswith("1\n")]
    child.wait()
    stream, clock = MemoryStream(SHARDS), HandClock()
    producer = made(stream.append, clock, folder=tmp_path)
    flush_until_empty(producer, clock)
    producer.close()
    values = sorted(int(value) for frame in stored(stream) for value in frame.value)
    assert len(values) - len(taken) in (0, 1)  # one may have been kept and not answered for
    assert set(taken) <= set(values)
    assert len(values) == len(set(values))


@pytest.mark.requirement("S-19")
def test_what_no_frame_can_say_is_told_at_once_and_costs_none_that_wait() -> None:
    stream, clock = MemoryStream(SHARDS), HandClock()
    producer = made(stream.append, clock)
    ts_us, value = columns(2)
    assert producer.send("gw", ["a", "b"], ts_us, value) == 2
    with pytest.raises(ProtocolError, match=r"bad_schema: found tag index 2, wanted one of 2 given"):
        producer.send("gw", np.array([0, 2], np.uint32), ts_us, value)
    with pytest.raises(ProtocolError, match="bad_source: found source 'two"):
        producer.send("two\nlines", ["a", "b"], ts_us, value)
    flush_until_empty(producer, clock)
    assert [(frame.source, frame.value.tolist()) for frame in stored(stream)] == [("gw", [0.0, 1.0])]
    assert (producer.counts.accepted, producer.counts.delivered) == (2, 2)
