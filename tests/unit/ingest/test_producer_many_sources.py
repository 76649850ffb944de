"""Many sources in one producer: their frames are encoded together, and are what they would be one by one."""

from __future__ import annotations

import pytest

from millrace.clock import HandClock
from millrace.errors import ProtocolError
from millrace.protocols import frame as frame_codec
from millrace.protocols.frame_write import encode_plain
from millrace.stream.memory import MemoryStream
from tests.unit.ingest.test_producer import SHARDS, Unsteady, columns, flush_until_empty, made, stored


def sent_by_many(monkeypatch: pytest.MonkeyPatch, *, together_min: int) -> list[tuple[str, bytes]]:
    """What a producer appends for ten sources in three lingers; one has a tag that cannot be, one has much."""
    monkeypatch.setattr("millrace.ingest.producer.TOGETHER_MIN", together_min)
    stream, clock = Unsteady(), HandClock()
    stream.plan = ["ok", "before", "after"]
    producer = made(stream.append, clock, frame_readings_max=300)
    for linger in range(3):
        for number in range(10):
            count = 700 if number == 3 else 1 + number
            tags = [f"a/b{i % 7}" for i in range(count)]
            if number == 5:
                tags[0] = "a//b"
            producer.send(f"gw-{number}", tags, *columns(count, 1_000 * linger))
        producer.flush()
        clock.sleep(0.1)
    flush_until_empty(producer, clock)
    return [(frame.source, frame_codec.encode(frame)) for frame in stored(stream.stream)]


def test_frames_of_many_sources_encoded_together_are_those_encoded_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one_by_one = sent_by_many(monkeypatch, together_min=1_000)
    called: list[int] = []
    monkeypatch.setattr(
        "millrace.ingest.producer.encode_plain", lambda frames: called.append(len(frames)) or encode_plain(frames)
    )
    assert sent_by_many(monkeypatch, together_min=4) == one_by_one
    assert called
    assert min(called) >= 4


def test_a_frame_that_cannot_be_sent_takes_no_other_source_with_it() -> None:
    stream, clock = MemoryStream(SHARDS), HandClock()
    producer = made(stream.append, clock)
    for number in range(6):
        producer.send(f"gw-{number}", ["a/b"] * 2, *columns(2))
    producer._series["gw-0"].pending.source = "no\nsource"  # `send` lets no such thing in
    with pytest.raises(ProtocolError):
        producer.flush()
    producer.flush()
    assert {frame.source for frame in stored(stream)} == {f"gw-{number}" for number in range(1, 6)}
