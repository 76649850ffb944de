"""A sampled frame is one trace from the door to every sink; what is not sampled leaves no span."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import psycopg
import pytest
from api_platform import SHARDS, TOKEN, CacheServer, Platform
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from millrace import tracing
from millrace.api.__main__ import DoorOfBodies
from millrace.api.dependencies import SentBody
from millrace.clock import EdgeClock
from millrace.errors import StreamUnavailable
from millrace.ingest.delivery import StreamTransport
from millrace.ingest.http_sender import HttpSender
from millrace.ingest.producer import Producer
from millrace.process.kernels import compile_kernels
from millrace.protocols import frame
from millrace.settings import Settings
from millrace.worker import Worker
from tests.waiting import wait_for

TRACE, SENDER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SPANS = {"ingest", "process", "sink.redis", "sink.postgres", "sink.archive"}


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    return exporter


@pytest.fixture
def worker(platform: Platform, postgres: str, cache: CacheServer, tmp_path: Path) -> Iterator[Worker]:
    """The whole of a worker, on a thread, over the stream of the platform's door."""
    home = tmp_path / "worker"
    (home / "archive").mkdir(parents=True)
    settings = Settings(
        home=home, shards=SHARDS, postgres_url=postgres, cache_url=cache.url, segment_age_s=1.0
    )
    compile_kernels()  # as a worker's process does before shards are its own
    worker = Worker(settings, index=0, workers=1, clock=EdgeClock(), stream=platform.stream)
    stopping = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stopping,), daemon=True)
    thread.start()
    yield worker
    stopping.set()
    thread.join(60)
    assert not thread.is_alive()
    with psycopg.connect(
        postgres, autocommit=True
    ) as connection:  # a worker's process would end its sessions
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'millrace worker%'"
        )


def send(platform: Platform, **headers: str) -> None:
    now_us = platform.live._clock.now_us()
    body = json.dumps({"tag": "acme/lyon/a/b/c/t", "ts": now_us, "value": 1})
    answer = platform.client.post(
        "/v1/readings", content=body, headers={"Millrace-Source": "gw-1", **headers}
    )
    assert answer.json()["accepted"] == 1


def named(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def of(span: ReadableSpan) -> tuple[str, str, str]:
    """(trace, span, parent) in hex."""
    context, parent = span.get_span_context(), span.parent
    assert context is not None
    assert parent is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}", f"{parent.span_id:016x}"


def test_a_sampled_frame_is_one_trace_from_the_door_to_every_sink(
    platform: Platform, worker: Worker, spans: InMemorySpanExporter
) -> None:
    send(platform)  # not sampled: the door of this platform samples none by itself
    send(platform, traceparent=f"00-{TRACE}-{SENDER}-01")
    wait_for(lambda: named(spans).keys() >= SPANS, "a span of each stage", 60)
    found = spans.get_finished_spans()
    assert sorted(span.name for span in found) == sorted(SPANS), (
        "one span a stage, and none of the other frame"
    )
    trace, ingest, sender = of(named(spans)["ingest"])
    assert (trace, sender) == (TRACE, SENDER)
    assert {of(span)[0] for span in found} == {TRACE}
    behind = [span for span in found if span.name != "ingest"]
    assert {of(span)[2] for span in behind} == {ingest}
    assert (
        len(
            {(cast(Any, span.attributes)["shard"], cast(Any, span.attributes)["position"]) for span in behind}
        )
        == 1
    )


class IntoTheStream:
    """A producer straight into the stream, as the simulated plant sends."""

    def __init__(self, platform: Platform) -> None:
        self.transport = StreamTransport(platform.stream.append)


class OverTheDoor:
    """A gateway's producer, whose frames travel as bodies."""

    def __init__(self, platform: Platform) -> None:
        self.transport = HttpSender(platform.url, TOKEN)


@pytest.mark.parametrize(("way", "stages"), [(IntoTheStream, set()), (OverTheDoor, {"ingest"})])
def test_a_producers_sampled_frame_is_one_trace_from_send_to_every_sink(
    platform: Platform, worker: Worker, spans: InMemorySpanExporter, way: Any, stages: set[str]
) -> None:
    """One call's frames of three sources: one is sampled, and no other leaves a span."""
    clock = EdgeClock()
    producer = Producer(way(platform).transport, shard_count=SHARDS, clock=clock, trace_ratio=1.0)
    now_us = np.array([clock.now_us()])
    for number in range(3):
        assert producer.send(f"gw-{number}", [f"acme/lyon/a/b/c/t{number}"], now_us, np.ones(1)) == 1
    assert producer.flush() == 3
    assert producer.buffered_bytes == 0
    producer.close()
    wanted = SPANS - {"ingest"} | {"send"} | stages
    wait_for(lambda: named(spans).keys() >= wanted, "a span of each stage", 60)
    found = named(spans)
    assert sorted(span.name for span in spans.get_finished_spans()) == sorted(wanted)
    sent = found["send"]
    context = sent.get_span_context()
    assert context is not None
    assert sent.parent is None
    assert {of(span)[0] for span in found.values() if span is not sent} == {f"{context.trace_id:032x}"}
    before = of(found["ingest"])[1] if stages else f"{context.span_id:016x}"
    assert {of(found[name])[2] for name in SPANS - {"ingest"}} == {before}


def test_a_frame_that_is_sent_again_is_the_same_bytes_in_the_same_trace(spans: InMemorySpanExporter) -> None:
    offered: list[bytes] = []

    def append(entries: Any) -> list[int]:
        offered.extend(entry.data for entry in entries)
        if len(offered) < 3:
            raise StreamUnavailable("not yet")
        return [1]

    clock = EdgeClock()
    producer = Producer(append, shard_count=SHARDS, clock=clock, trace_ratio=1.0)
    producer.send("gw", ["t"], np.array([clock.now_us()]), np.ones(1))
    producer.close()
    assert len(offered) == 3
    assert set(offered) == {offered[0]}
    [sent] = spans.get_finished_spans()
    context = sent.get_span_context()
    assert context is not None
    assert frame.decode(offered[0]).trace[:-3] == f"00-{context.trace_id:032x}-{context.span_id:016x}"


@pytest.mark.parametrize(("ratio", "sampled"), [(1.0, 20), (0.0, 0)])
def test_the_door_samples_the_share_it_was_told_to(
    spans: InMemorySpanExporter, ratio: float, sampled: int
) -> None:
    traces: list[str] = []

    class Taking:
        async def accept(self, body: Any) -> None:
            traces.append(body.trace)

    door = DoorOfBodies(cast(Any, Taking()), ratio)

    async def accept() -> None:
        for _ in range(20):
            await door.accept(SentBody("gw", "application/x-ndjson", b"", "", None, None, b"", ""))

    asyncio.run(accept())
    assert [len(trace) for trace in traces if trace] == [55] * sampled
    assert len(spans.get_finished_spans()) == sampled
    assert len(set(traces) - {""}) == sampled
