"""The front door over a stream in memory: what it lets in, what it answers, what reaches the stream."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from millrace.batch import Frame, Incarnation
from millrace.clock import EdgeClock, HandClock
from millrace.errors import StreamUnavailable
from millrace.ingest import disk as disk_of
from millrace.ingest.body import FRAME_TYPE, Body
from millrace.ingest.disk import DiskGuard, sizes_under
from millrace.ingest.door import Accepted, Door
from millrace.ingest.refusal import Refusal
from millrace.protocols import control
from millrace.protocols import frame as frame_codec
from millrace.settings import Settings
from millrace.stream.contract import Entry, shard_of
from millrace.stream.memory import MemoryStream

SHARDS = 4
NDJSON = "application/x-ndjson"


class Stream(MemoryStream):
    """Counts calls, and fails by plan: before the append, or after it (the outcome is unknown)."""

    def __init__(self, **options: int) -> None:
        super().__init__(SHARDS, **options)
        self.plan: list[str] = []
        self.sync_s = 0.0
        self.calls: list[list[Entry]] = []

    def append(self, entries: Sequence[Entry]) -> list[int]:
        self.calls.append(list(entries))
        step = self.plan.pop(0) if self.plan else "ok"
        time.sleep(self.sync_s)
        if step == "before":
            raise StreamUnavailable("refused")
        positions = super().append(entries)
        if step == "after":
            raise StreamUnavailable("connection lost")
        return positions

    def frames(self) -> list[Frame]:
        got = self.read(dict.fromkeys(range(SHARDS), 0), count_max=10_000, wait_s=0)
        return [frame_codec.decode(record.data) for records in got.values() for record in records]


def with_door(stream: MemoryStream, work: Callable[[Door], Awaitable[object]], **options: object) -> None:
    """Runs `work` with a started door in an event loop; options are settings, but `disk` and `lags`."""

    async def run() -> None:
        parts = {name: options.pop(name) for name in ("disk", "lags", "known_sources") if name in options}
        door = Door(stream, Settings(**options), EdgeClock(), rng=random.Random(3), **parts)  # type: ignore[arg-type]
        door.start()
        try:
            await work(door)
        finally:
            door.close()

    asyncio.run(run())


def lines(*values: object, tag: str = "line/temp") -> bytes:
    now_us = EdgeClock().now_us()
    return b"\n".join(
        json.dumps({"tag": tag, "ts": now_us + i, "value": v}).encode() for i, v in enumerate(values)
    )


async def refused(awaitable: Awaitable[Accepted]) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        await awaitable
    return refusal.value


def test_a_body_becomes_one_stamped_record_of_its_source() -> None:
    stream = Stream()

    async def work(door: Door) -> None:
        before_us = EdgeClock().now_us()
        answer = await door.accept(Body("gw", NDJSON, lines(1.5, 2.5, 3.5), key=b"k-1"))
        assert (answer.accepted, answer.rejected, answer.rejects) == (3, 0, ())
        (frame,) = stream.frames()
        assert (frame.source, frame.value.tolist(), frame.key) == ("gw", [1.5, 2.5, 3.5], b"k-1")
        assert before_us <= frame.received_ts_us <= EdgeClock().now_us()
        assert (frame.incarnation, frame.seq) == (door.incarnation, answer.seq)
        record = stream.read({shard_of("gw", SHARDS): 0}, count_max=1, wait_s=0)[shard_of("gw", SHARDS)][0]
        assert record.position == answer.position
        assert record.partition_key == "gw"

    with_door(stream, work)


def test_rejects_at_the_door_travel_in_the_same_record() -> None:
    stream = Stream()
    body = lines(1.0) + b"\nnot json\n" + lines(2.0) + b'\n{"tag":"t","ts":12,"value":1}'

    async def work(door: Door) -> None:
        answer = await door.accept(Body("gw", NDJSON, body))
        assert (answer.accepted, answer.rejected) == (2, 2)
        assert dict(answer.rejects)[1] == "bad_syntax"
        (frame,) = stream.frames()
        assert [(reject.index, reject.reason.name.lower()) for reject in frame.rejects] == list(
            answer.rejects
        )
        assert frame.count == 4

    with_door(stream, work)


def test_a_body_of_rejects_only_is_stored_and_an_empty_one_is_nothing() -> None:
    stream = Stream()

    async def work(door: Door) -> None:
        assert (await door.accept(Body("gw", NDJSON, b"nonsense"))).rejected == 1
        assert (await door.accept(Body("gw", "application/json", b"[]"))).accepted == 0
        assert len(stream.frames()) == 1

    with_door(stream, work)


@pytest.mark.requirement("S-19")
def test_the_senders_identity_is_kept_and_a_resend_has_the_same_content_hash() -> None:
    stream, life = Stream(), Incarnation(1_000, 42)

    async def work(door: Door) -> None:
        body = lines(1, 2)
        for _ in range(2):
            answer = await door.accept(Body("gw", NDJSON, body, incarnation=life, seq=9))
            assert (answer.incarnation, answer.seq) == (life, 9)
        first, second = stream.frames()
        assert (first.incarnation, first.seq, first.content_hash) == (
            second.incarnation,
            second.seq,
            second.content_hash,
        )

    with_door(stream, work)


def test_bodies_without_identity_are_numbered_by_source_in_the_doors_own_incarnation() -> None:
    stream = Stream()

    async def work(door: Door) -> None:
        small, large = lines(1), lines(*range(2_000))  # the large one is decoded in a thread
        await asyncio.gather(
            *(door.accept(Body(f"gw-{i % 3}", NDJSON, large if i % 5 == 0 else small)) for i in range(60))
        )
        for source in ("gw-0", "gw-1", "gw-2"):
            assert [f.seq for f in stream.frames() if f.source == source] == list(range(1, 21))

    with_door(stream, work)


def test_concurrent_bodies_share_appends() -> None:
    stream = Stream()
    stream.sync_s = 0.02

    async def work(door: Door) -> None:
        answers = await asyncio.gather(*(door.accept(Body(f"gw-{i}", NDJSON, lines(i))) for i in range(200)))
        assert sum(answer.accepted for answer in answers) == 200
        assert len(stream.calls) < 50

    with_door(stream, work)


def producer_frame(source: str = "gw", **options: object) -> bytes:
    return frame_codec.encode(
        Frame(
            source,
            Incarnation(5, 6),
            7,
            0,
            ("a",),
            np.zeros(1, np.uint8),
            np.zeros(2, np.uint32),
            np.array([1, 2]),
            np.array([1.0, 2.0]),
            np.full(2, 192, np.uint8),
            **options,  # type: ignore[arg-type]
        )
    )


def test_a_producers_frame_goes_in_as_it_is_but_for_the_stamp() -> None:
    stream, data = Stream(), producer_frame()

    async def work(door: Door) -> None:
        answer = await door.accept(Body("gw", FRAME_TYPE, data))
        assert (answer.accepted, answer.incarnation, answer.seq) == (2, Incarnation(5, 6), 7)
        (entry,) = stream.calls[0]
        stamp_us = frame_codec.decode(entry.data).received_ts_us
        assert stamp_us > 0
        assert entry.data == frame_codec.stamp(data, stamp_us)

    with_door(stream, work)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (Body("gw", "image/png", b"x"), 415, "unknown_format"),
        (Body("gw", NDJSON, b"x", content_encoding="br"), 415, "unknown_format"),
        (Body("gw", NDJSON, b" " * 3_000), 413, "record_too_large"),
        (Body("gw", "application/json", b'{"tag": '), 400, "bad_syntax"),
        (Body("", NDJSON, b"x"), 400, "bad_source"),
        (Body("s" * 129, NDJSON, b"x"), 400, "bad_source"),
        (Body("new\nline", NDJSON, b"x"), 400, "bad_source"),
        (Body("gw", NDJSON, b"x", seq=3), 400, "bad_schema"),
        (Body("gw", NDJSON, b"x", incarnation=Incarnation(1, 1)), 400, "bad_schema"),
        (Body("gw", NDJSON, b"x", incarnation=Incarnation(1, 1), seq=-1), 400, "bad_schema"),
        (Body("gw", NDJSON, b"x", key=b"k" * 300), 400, "bad_schema"),
        (Body("gw", FRAME_TYPE, b"MRF1 and nothing more"), 400, "truncated"),
        (Body("gw", FRAME_TYPE, producer_frame("other")), 400, "bad_source"),
        (Body("gw", FRAME_TYPE, producer_frame(replay=True)), 400, "bad_schema"),
        (Body("gw", FRAME_TYPE, producer_frame(anonymous=True)), 400, "bad_schema"),
        (
            Body("gw", FRAME_TYPE, producer_frame()[:-1] + bytes([producer_frame()[-1] ^ 1])),
            400,
            "checksum_mismatch",
        ),
    ],
    ids=lambda value: value.source[:8] + value.content_type[-6:] if isinstance(value, Body) else str(value),
)
def test_a_body_that_can_be_no_record_is_refused_with_its_reason(
    body: Body, status: int, reason: str
) -> None:
    stream = Stream()

    async def work(door: Door) -> None:
        refusal = await refused(door.accept(body))
        assert (refusal.status, refusal.reason) == (status, reason)
        assert refusal.detail
        assert not refusal.retryable
        assert stream.frames() == []
        assert not door.refusing(shard_of(body.source, SHARDS))

    with_door(stream, work, body_bytes_max=2_048)


def test_a_body_that_makes_too_large_a_record_is_413() -> None:
    rng = random.Random(5)

    async def work(door: Door) -> None:
        body = b"\n".join(lines(rng.random(), tag=rng.randbytes(100).hex()) for _ in range(12_000))
        refusal = await refused(door.accept(Body("gw", NDJSON, body)))
        assert (refusal.status, refusal.reason) == (413, "record_too_large")

    with_door(Stream(), work)


@pytest.mark.requirement("S-19")
def test_an_unknown_outcome_is_tried_again_with_the_same_bytes_and_then_accepted() -> None:
    stream = Stream()
    stream.plan = ["after", "before", "after", "ok"]

    async def work(door: Door) -> None:
        answer = await door.accept(Body("gw", NDJSON, lines(1)))
        assert answer.accepted == 1
        assert len({entries[0].data for entries in stream.calls}) == 1
        assert len(stream.frames()) == 3  # the same identity thrice: `process` counts it once

    with_door(stream, work)


@pytest.mark.requirement("S-19")
def test_an_outcome_that_stays_unknown_is_503_and_never_an_acceptance() -> None:
    stream = Stream()
    stream.plan = ["after"] * 100

    async def work(door: Door) -> None:
        refusal = await refused(door.accept(Body("gw", NDJSON, lines(1))))
        assert (refusal.status, refusal.reason) == (503, "stream_unavailable")
        assert refusal.retry_after_s > 0
        assert len(stream.calls) < 100
        assert door.refusing(shard_of("gw", SHARDS))

    with_door(stream, work)


def test_frames_behind_a_failed_one_of_their_source_fail_with_it() -> None:
    """Else the second would be in the stream before the first is sent again, and the first be too old."""
    stream = Stream()
    stream.plan = ["before"] * 12  # as many as one group is tried, and no more

    async def work(door: Door) -> None:
        life = Incarnation(1, 1)
        first = asyncio.ensure_future(door.accept(Body("gw", NDJSON, lines(1), incarnation=life, seq=1)))
        while not stream.calls:  # the first is on its way, and is tried again for seconds
            await asyncio.sleep(0.001)
        second = door.accept(Body("gw", NDJSON, lines(2), incarnation=life, seq=2))
        other = door.accept(Body("other", NDJSON, lines(3)))
        answers = await asyncio.gather(first, second, other, return_exceptions=True)
        assert [isinstance(answer, Refusal) for answer in answers] == [True, True, False]
        assert [frame.source for frame in stream.frames()] == ["other"]

    with_door(_ThenSteady(stream), work)


def _ThenSteady(stream: Stream) -> Stream:  # noqa: N802 -- reads as a kind of stream
    """The stream heals once the first group was given up (it is down while only gw sends)."""
    steady = stream.append

    def append(entries: Sequence[Entry]) -> list[int]:
        stream.plan = ["before"] if {entry.partition_key for entry in entries} == {"gw"} else []
        return steady(entries)

    stream.append = append  # type: ignore[method-assign]
    return stream


def test_a_full_stream_is_429_and_the_ticks_hear_of_it() -> None:
    stream = Stream(bytes_max=50_000)
    stream.append([Entry(0, "x", bytes(49_000))])

    async def work(door: Door) -> None:
        refusal = await refused(door.accept(Body("gw", NDJSON, lines(*range(3_000)))))
        assert (refusal.status, refusal.reason) == (429, "stream_full")
        assert refusal.retry_after_s > 0
        assert door.refusing(shard_of("gw", SHARDS))
        tick = control.encode(control.Tick(1, "api"))
        stream.append([Entry(0, "tick", tick)])

    with_door(stream, work)


def test_a_nearly_full_disk_is_429_until_there_is_room(tmp_path: Path) -> None:
    free = [10**6]
    clock = EdgeClock()
    disk = DiskGuard(tmp_path, free_min_bytes=10**9, folder_max_bytes=10**12, clock=clock)
    disk._look = lambda: setattr(disk, "free_bytes", free[0])  # type: ignore[method-assign]

    async def work(door: Door) -> None:
        refusal = await refused(door.accept(Body("gw", NDJSON, lines(1))))
        assert (refusal.status, refusal.reason) == (429, "disk_nearly_full")
        assert "MILLRACE_DISK_FREE_MIN" in refusal.detail
        assert all(door.refusing(shard) for shard in range(SHARDS))
        free[0] = 10**10
        for _ in range(1_200):
            await asyncio.sleep(0.05)
            try:
                await door.accept(Body("gw", NDJSON, lines(1)))
                return
            except Refusal:
                continue
        raise AssertionError("still refused")

    with_door(Stream(), work, disk=disk)


def test_the_data_folder_has_a_bound(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(bytes(1_000_000))
    assert 1_000_000 <= sum(sizes_under(tmp_path)) < 1_100_000
    full = DiskGuard(tmp_path, free_min_bytes=1, folder_max_bytes=1_000_000, clock=EdgeClock())
    assert "MILLRACE_DISK_MAX" in full.check()
    roomy = DiskGuard(tmp_path, free_min_bytes=1, folder_max_bytes=10_000_000, clock=EdgeClock())
    assert roomy.check() == ""


def test_a_folder_of_many_files_is_added_up_whole_over_several_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_of, "FILES_A_LOOK", 4)
    for number in range(30):
        folder = tmp_path / f"{number % 3}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}").write_bytes(bytes(4096))
    clock = HandClock(0)
    guard = DiskGuard(tmp_path, free_min_bytes=1, folder_max_bytes=30 * 4096, clock=clock)
    said = [guard.check() for _ in range(8)]
    assert said[:7] == [""] * 7  # not before all is known
    assert "MILLRACE_DISK_MAX" in said[7]
    for file in (tmp_path / "0").iterdir():
        file.unlink()
    clock.sleep(disk_of.FOLDER_PACE_S)
    assert [guard.check() for _ in range(6)][-1] == ""


def test_one_source_more_than_may_send_is_turned_away() -> None:
    async def work(door: Door) -> None:
        for source in ("a", "b", "known"):
            await door.accept(Body(source, NDJSON, lines(1)))
        refusal = await refused(door.accept(Body("c", NDJSON, lines(1))))
        assert (refusal.status, refusal.reason) == (403, "too_many_sources")
        await door.accept(Body("a", NDJSON, lines(1)))

    with_door(Stream(), work, sources_max=3, known_sources=["known"])


def test_a_source_in_debt_is_refused_before_its_body_is_decoded() -> None:
    async def work(door: Door) -> None:
        await door.accept(Body("gw", NDJSON, lines(*range(1_000))))
        refusal = await refused(door.accept(Body("gw", "image/png", b"undecodable")))
        assert (refusal.status, refusal.reason) == (429, "rate")
        assert 0 < refusal.retry_after_s <= 30
        with pytest.raises(Refusal):
            door.admit("gw")
        assert door.refusing(shard_of("gw", SHARDS))

    with_door(Stream(), work, ingest_rate_max=100)


def test_a_body_that_cannot_be_decoded_is_paid_for() -> None:
    async def work(door: Door) -> None:
        statuses = [
            (await refused(door.accept(Body("gw", "application/json", b"[" + b" " * 10_000)))).status
            for _ in range(20)
        ]
        assert statuses[0] == 400
        assert 429 in statuses

    with_door(Stream(), work, ingest_rate_max=100)


def test_a_request_given_up_does_not_hurt_the_others() -> None:
    stream = Stream()
    stream.plan = ["before"] * 3

    async def work(door: Door) -> None:
        tasks = [asyncio.ensure_future(door.accept(Body(f"gw-{i}", NDJSON, lines(i)))) for i in range(20)]
        await asyncio.sleep(0.01)
        for task in tasks[::2]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(answer, Accepted) for answer in answers[1::2])

    with_door(stream, work)


def test_what_waits_for_a_stuck_stream_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.ingest.appender.WAITING_ENTRIES_MAX", 30)
    stream = Stream()
    stream.plan = ["before"] * 1_000

    async def work(door: Door) -> None:
        answers = await asyncio.gather(
            *(door.accept(Body(f"gw-{i}", NDJSON, lines(i))) for i in range(200)), return_exceptions=True
        )
        reasons = [answer.reason for answer in answers if isinstance(answer, Refusal)]
        assert len(reasons) == 200
        assert reasons.count("queue_full") > 100

    with_door(stream, work)
