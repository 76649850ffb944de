"""The API process: `python -m millrace.api`. A composition root: it may know ingest, stream and archive."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import uvicorn

from millrace import counter_report, telemetry, tracing
from millrace.api.app import create_app
from millrace.api.dependencies import AcceptedBody, Dependencies, SentBody
from millrace.api.header_bound import BoundedHeaders
from millrace.api.live import LiveFollower
from millrace.api.replay import Replay
from millrace.api.store import Store
from millrace.batch import F64, I64, U8
from millrace.clock import EdgeClock
from millrace.ingest.admission import ShardLag
from millrace.ingest.body import Body
from millrace.ingest.disk import DiskGuard
from millrace.ingest.door import Door
from millrace.ingest.ticker import Ticker
from millrace.long_lived import keep_for_good
from millrace.names import SERVICE_API
from millrace.protocols.limits import Limits
from millrace.schema import segments
from millrace.settings import Settings, load
from millrace.stream.valkey import ValkeyStream

DRAIN_S = 5


class DoorOfBodies:
    """The API's idea of a door over ingest's."""

    def __init__(self, door: Door, trace_ratio: float) -> None:
        self._door = door
        self._trace_ratio = trace_ratio
        self._rng = random.Random()

    def admit(self, source: str, content_length: int) -> None:
        self._door.admit(source, content_length)

    async def accept(self, sent: SentBody) -> AcceptedBody:
        """A sampled body's trace begins here, or goes on from the sender's, and travels in the frame."""
        if not sent.trace and self._rng.random() >= self._trace_ratio:
            return await self._pass_on(sent, "")
        with tracing.span(tracing.SPAN_INGEST, parent=sent.trace, source=sent.source):
            return await self._pass_on(sent, tracing.trace_parent() or sent.trace)

    async def _pass_on(self, sent: SentBody, trace: str) -> AcceptedBody:
        return await self._door.accept(
            Body(
                source=sent.source,
                content_type=sent.content_type,
                data=sent.data,
                content_encoding=sent.content_encoding,
                incarnation=sent.incarnation,
                seq=sent.seq,
                key=sent.key,
                trace=trace,
            )
        )


class Archive:
    """`read_tag` over the archive's own root."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(
        self, files: Sequence[str], path: str, source: str, from_us: int, to_us: int, rows_max: int
    ) -> tuple[I64, F64, U8]:
        whole = [self._root / file for file in files]
        return segments.read_tag(whole, path, source, from_us, to_us, rows_max=rows_max)


def window_s(settings: Settings) -> float:
    """How long the live windows reach: two segment ages and the time it takes to list one."""
    return 2 * settings.segment_age_s + 10


def compose(settings: Settings, clock: EdgeClock, stream: ValkeyStream) -> tuple[Dependencies, Door, Ticker]:
    """Everything that the API process runs."""
    guard = DiskGuard(
        settings.home,
        free_min_bytes=settings.disk_free_min_bytes,
        folder_max_bytes=settings.disk_max_bytes,
        clock=clock,
    )
    live = LiveFollower(
        settings.cache_url,
        clock,
        shard_count=settings.shards,
        window_s=window_s(settings),
        bytes_max=settings.cache_bytes_max,
    )
    store = Store(settings.postgres_url)

    def lags() -> dict[int, ShardLag]:
        return {shard: ShardLag(*lag) for shard, lag in live.lag.lags(clock.monotonic_s()).items()}

    door = Door(stream, settings, clock, disk=guard, lags=lags, known_sources=known_sources(settings))
    process = f"{SERVICE_API}-{os.getpid()}"
    ticker = Ticker(stream, process=process, clock=clock, refusing=door.refusing)
    needs = Dependencies(
        settings=settings,
        clock=clock,
        live=live,
        token=settings.api_token,
        store=store,
        replay=Replay(store, stream, Limits.of(settings), clock),
        door=DoorOfBodies(door, settings.trace_ratio),
        read_tag=Archive(settings.home / "archive"),
        disk=lambda: {
            "used_bytes": guard.folder_bytes,
            "max_bytes": settings.disk_max_bytes,
            "free_bytes": guard.free_bytes,
        },
        closed=lambda: door.closed,
        ready_checks={"stream": lambda: stream.headroom() is not None},
    )
    return needs, door, ticker


def known_sources(settings: Settings) -> list[str]:
    """Sources that were let in before this process: they count for the bound of sources."""
    with psycopg.connect(settings.postgres_url, connect_timeout=5) as connection:
        rows = connection.execute("SELECT name FROM source LIMIT %s", [settings.sources_max]).fetchall()
    return [str(row[0]) for row in rows]


def main() -> None:
    """Serve until SIGTERM or SIGINT; open requests get five seconds."""
    settings = load(os.environ)
    telemetry.set_up_logs(level=settings.log_level, json_lines=settings.log_json, service=SERVICE_API)
    tracing.set_up_traces(service=SERVICE_API, environ=os.environ)
    clock = EdgeClock()
    stream = ValkeyStream(
        settings.stream_url, shard_count=settings.shards, bytes_max=settings.stream_bytes_max
    )
    needs, door, ticker = compose(settings, clock, stream)
    config: Any = uvicorn.Config(
        create_app(needs),
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http=BoundedHeaders,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=DRAIN_S,
        backlog=512,
    )
    keep_for_good()
    door.start()
    ticker.start()
    needs.live.start()
    try:
        with counter_report.reporting(service=SERVICE_API, environ=os.environ):
            uvicorn.Server(config).run()
    finally:
        ticker.close()
        door.close()
        needs.live.close()
        stream.close()


if __name__ == "__main__":
    main()
