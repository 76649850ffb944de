"""The door and the producer over a real stream server that dies: an answer means they are there."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from millrace.batch import Frame, Incarnation
from millrace.clock import EdgeClock
from millrace.errors import StreamUnavailable
from millrace.ingest.body import Body
from millrace.ingest.delivery import Delivery, Outgoing
from millrace.ingest.door import Door
from millrace.ingest.producer import Producer
from millrace.ingest.refusal import Refusal
from millrace.protocols import frame as frame_codec
from millrace.settings import Settings
from millrace.stream.contract import Entry

SHARDS = 4
SEED = 20_260_106
ACCEPTED_MIN = 50
Server = Any  # see conftest.py


def body(source: str, seq: int, count: int = 3) -> Body:
    now_us = EdgeClock().now_us()
    lines = (f'{{"tag":"a/b","ts":{now_us + i},"value":{seq}}}' for i in range(count))
    return Body(
        source, "application/x-ndjson", "\n".join(lines).encode(), incarnation=Incarnation(1, 1), seq=seq
    )


def stored(server: Server) -> list[Frame]:
    stream = server.stream(SHARDS)
    after, frames = dict.fromkeys(range(SHARDS), 0), []
    while got := stream.read(after, count_max=1_000, wait_s=0):
        for shard, records in got.items():
            after[shard] = records[-1].position
            frames += [frame_codec.decode(record.data) for record in records]
    return frames


def kills(server: Server, rng: random.Random, times: int) -> None:
    for _ in range(times):
        time.sleep(rng.uniform(0.1, 0.4))
        server.kill()
        server.start()


@pytest.mark.requirement("S-19")
def test_what_the_door_accepted_survives_kills_of_the_stream(server: Server) -> None:
    """Senders as the law wants them: one body in flight each, the same identity until it is accepted."""
    accepted: dict[str, int] = {}
    statuses: set[int] = set()

    async def sender(door: Door, source: str, stop: asyncio.Event) -> None:
        seq = 1
        while not stop.is_set():
            try:
                await door.accept(body(source, seq))
            except Refusal as refusal:
                statuses.add(refusal.status)
                await asyncio.sleep(0.01)
            else:
                accepted[source] = seq
                seq += 1

    async def run() -> None:
        door = Door(server.stream(SHARDS), Settings(), EdgeClock())
        door.start()
        stop = asyncio.Event()
        senders = [asyncio.ensure_future(sender(door, f"gw-{i}", stop)) for i in range(8)]
        await asyncio.to_thread(kills, server, random.Random(SEED), 4)
        async with asyncio.timeout(60):
            while sum(accepted.values()) <= ACCEPTED_MIN:
                await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*senders)
        door.close()

    asyncio.run(run())
    assert statuses <= {429, 503}
    by_source: dict[str, list[Frame]] = {}
    for frame in stored(server):
        by_source.setdefault(frame.source, []).append(frame)
    for source, newest in accepted.items():
        frames = by_source[source]
        assert set(range(1, newest + 1)) <= {frame.seq for frame in frames}
        first_seen = list(dict.fromkeys(frame.seq for frame in frames))
        assert first_seen == sorted(first_seen)  # nothing overtook a frame that was being retried


@pytest.mark.requirement("S-19")
def test_a_stream_that_died_before_the_answer_is_503_and_the_resend_is_the_same_identity(
    server: Server,
) -> None:
    async def run() -> None:
        door = Door(server.stream(SHARDS), Settings(), EdgeClock())
        door.start()
        sent = body("gw", 1)
        server.signal(signal.SIGSTOP)  # it cannot write, so there can be no answer …
        waiting = asyncio.ensure_future(door.accept(sent))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        server.kill()  # … and now there never will be
        with pytest.raises(Refusal) as refusal:
            await waiting
        assert (refusal.value.status, refusal.value.reason) == (503, "stream_unavailable")
        server.start()
        answer = await door.accept(sent)
        assert (answer.accepted, answer.seq) == (3, 1)
        door.close()

    asyncio.run(run())
    assert {(frame.source, frame.seq) for frame in stored(server)} == {("gw", 1)}


@pytest.mark.requirement("S-19")
def test_an_answer_that_was_lost_leaves_the_identity_twice_with_equal_bytes(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The append happens, its answer comes too late: the door repeats it, `process` counts it once."""
    monkeypatch.setattr("millrace.stream.valkey.CALL_TIMEOUT_S", 0.3)
    stream, timed_out = server.stream(SHARDS), threading.Event()
    append = stream.append

    def noticed(entries: Sequence[Entry]) -> list[int]:
        try:
            return append(entries)
        except StreamUnavailable:
            timed_out.set()
            raise

    monkeypatch.setattr(stream, "append", noticed)

    async def run() -> None:
        door = Door(stream, Settings(), EdgeClock())
        door.start()
        await door.accept(body("gw", 1))
        timed_out.clear()
        server.signal(signal.SIGSTOP)
        waiting = asyncio.ensure_future(door.accept(body("gw", 2)))
        assert await asyncio.to_thread(timed_out.wait, 60)
        server.signal(signal.SIGCONT)
        assert (await waiting).seq == 2
        door.close()

    asyncio.run(run())
    frames = [frame for frame in stored(server) if frame.seq == 2]
    assert len(frames) >= 2
    assert len({(frame.content_hash, frame.received_ts_us, frame.incarnation) for frame in frames}) == 1


@pytest.mark.requirement("S-19")
def test_what_a_producer_was_told_is_delivered_survives_kills_of_the_stream(server: Server) -> None:
    told: set[tuple[str, int]] = set()

    def witness(settled: Any) -> None:
        frames: list[tuple[Outgoing, Delivery]] = settled
        told.update((frame.source, frame.seq) for frame, _ in frames)

    producer = Producer(
        server.stream(SHARDS).append,
        shard_count=SHARDS,
        clock=EdgeClock(),
        linger_s=0.005,
        rng=random.Random(SEED),
        on_delivered=witness,
    )
    producer.start()
    killer = threading.Thread(target=kills, args=(server, random.Random(SEED), 4))
    killer.start()
    number = 0
    while killer.is_alive():
        for source in range(10):
            producer.send(f"gw-{source}", ["a"], np.array([number]), np.array([float(number)]))
        number += 1
        time.sleep(0.002)
    killer.join()
    assert producer.close(timeout_s=60.0) == 0
    frames = stored(server)
    assert told <= {(frame.source, frame.seq) for frame in frames}
    for source in range(10):
        unique = {frame.seq: frame for frame in frames if frame.source == f"gw-{source}"}
        values = [value for seq in sorted(unique) for value in unique[seq].value]
        assert values == list(range(number))  # every reading, each in one identity, in order
