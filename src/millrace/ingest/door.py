"""The front door, free of any web framework: admit, decode, frame, append, and only then say accepted.

One body is one source's and becomes one record. The order of the checks is the order of their cost: room,
share, size, then decoding. An answer is given only once the stream holds the record durably; an append whose
outcome stays unknown is a 503, never an acceptance.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from millrace import telemetry
from millrace.batch import REASON_NAMES, SOURCE_LENGTH_MAX, Frame, Incarnation
from millrace.clock import Clock
from millrace.errors import StreamFull, StreamUnavailable
from millrace.ingest.admission import Admission, ShardLag
from millrace.ingest.appender import Appender, QueueFull
from millrace.ingest.body import Body, framed
from millrace.ingest.disk import DiskGuard
from millrace.ingest.guard import Guard
from millrace.ingest.refusal import BUSY, STREAM_FULL, STREAM_UNAVAILABLE, TOO_MANY_SOURCES, Refusal
from millrace.protocols import ndjson
from millrace.protocols.limits import KEY_LENGTH_MAX, Limits
from millrace.protocols.tag_path import source_ok
from millrace.settings import Settings
from millrace.stream.contract import Entry, Stream, shard_of

INLINE_BYTES_MAX: Final = 16_384
"""Bodies up to this are decoded where they come in; larger ones in a thread, so that others do not wait."""
DECODING_BYTES_MAX: Final = 64_000_000
"""Bodies in hand, waiting for their source's turn or being decoded."""
REFUSING_S: Final = 2.0
"""How long after a refusal the ticks say that silence means nothing."""
RETRY_AFTER_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a body that is durable. `rejects` are (index in the body, name of the reason)."""

    accepted: int
    rejected: int
    rejects: tuple[tuple[int, str], ...]
    position: int
    incarnation: Incarnation
    seq: int


@dataclass(slots=True)
class _Source:
    """Frames of one source go one after the other; `seq` numbers those that came without an identity."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    seq: int = 0


class Door:
    """Used by one event loop; `start` before, `close` after."""

    def __init__(
        self,
        stream: Stream,
        settings: Settings,
        clock: Clock,
        *,
        lags: Callable[[], Mapping[int, ShardLag]] = dict,
        disk: DiskGuard | None = None,
        rng: random.Random | None = None,
        known_sources: Iterable[str] = (),
    ) -> None:
        """`lags`: the shards' lag as their owners measured it; `known_sources` count for `sources_max`."""
        rng = rng or random.Random()
        self._clock = clock
        self._shard_count = stream.shard_count
        self._limits = Limits.of(settings)
        self._sources_max = settings.sources_max
        self._sources = {source: _Source() for source in known_sources}
        self._guard = Guard(stream, disk)
        self._appender = Appender(stream, clock=clock, rng=rng)
        self._admission = Admission(
            clock,
            shard_count=stream.shard_count,
            rate_max=settings.ingest_rate_max,
            sources_max=settings.sources_max,
            lags=lags,
        )
        self._decoders = ThreadPoolExecutor(2, thread_name_prefix="decode")
        self._decoding_bytes = 0
        self._refused_s: dict[int, float] = {}  # shard -> when its readings were last turned away
        self.incarnation = Incarnation(clock.now_us(), rng.getrandbits(63))

    def start(self) -> None:
        """Kernels first: compiled at the first request, they would hold it up for seconds."""
        ndjson.compile_kernels()
        self._guard.start()
        self._appender.start()

    def close(self) -> None:
        """Append what was let in, at most five seconds; the guard stops."""
        self._appender.close()
        self._guard.close()
        self._decoders.shutdown(wait=False, cancel_futures=True)

    @property
    def closed(self) -> tuple[str, str] | None:
        """Why nobody is let in, reason and detail; None while the door is open."""
        return self._guard.refusal

    def refusing(self, shard: int) -> bool:
        """For the ticks: readings of this shard are being turned away, or were a moment ago."""
        refused_s = self._refused_s.get(shard, float("-inf"))
        return self._guard.refusing or self._clock.monotonic_s() - refused_s < REFUSING_S

    def admit(self, source: str, content_length: int = 0) -> None:
        """May be asked before the body is read; Refusal when it need not be. `accept` asks it again."""
        try:
            self._admit(source, content_length)
        except Refusal as refusal:
            self._count_refusal(refusal, source)
            raise

    async def accept(self, body: Body) -> Accepted:
        """Durable when this returns; Refusal says why not."""
        try:
            self._admit(body.source, len(body.data))
            return await self._accept(body)
        except Refusal as refusal:
            self._count_refusal(refusal, body.source)
            raise

    def _admit(self, source: str, size: int) -> None:
        if not source_ok(source):
            raise Refusal(
                400, "bad_source", f"wanted 1 to {SOURCE_LENGTH_MAX} bytes without control characters"
            )
        if source not in self._sources and len(self._sources) >= self._sources_max:
            raise Refusal(
                403, TOO_MANY_SOURCES, f"{self._sources_max} sources send already (MILLRACE_SOURCES_MAX)"
            )
        if size > self._limits.bytes_max:
            raise Refusal(
                413, "record_too_large", f"found {size} bytes, wanted {self._limits.bytes_max} at most"
            )
        self._guard.check()
        self._admission.admit(source)

    async def _accept(self, body: Body) -> Accepted:
        _check_identity(body)
        size = len(body.data)
        if self._decoding_bytes + size > DECODING_BYTES_MAX:
            raise _busy(f"{self._decoding_bytes} bytes of bodies are in hand")
        self._decoding_bytes += size
        try:
            source = self._sources.setdefault(body.source, _Source())
            async with source.turn:
                frame, done = await self._frame_and_submit(body, source)
        finally:
            self._decoding_bytes -= size
        position = await _durable(asyncio.wrap_future(done)) if done else 0
        return _accepted(frame, position)

    async def _frame_and_submit(self, body: Body, source: _Source) -> tuple[Frame, Future[int] | None]:
        """One source's bodies pass here in turn, so that their frames reach the stream in order."""
        received_ts_us = self._clock.now_us()
        frame, data = await self._decoded(body, source, received_ts_us)
        self._admission.pay(body.source, frame.count)
        if not frame.count:
            return frame, None
        entry = Entry(shard_of(frame.source, self._shard_count), frame.source, data)
        try:
            return frame, self._appender.submit(entry, (frame.source, frame.incarnation))
        except QueueFull as error:
            raise _busy(str(error)) from None

    async def _decoded(self, body: Body, source: _Source, received_ts_us: int) -> tuple[Frame, bytes]:
        if body.seq is None:
            source.seq += 1
        incarnation = body.incarnation or self.incarnation
        seq = source.seq if body.seq is None else body.seq
        work = partial(framed, body, incarnation, seq, limits=self._limits, received_ts_us=received_ts_us)
        try:
            if len(body.data) <= INLINE_BYTES_MAX:
                return work()
            return await asyncio.get_running_loop().run_in_executor(self._decoders, work)
        except Refusal:
            self._admission.pay(body.source, 1 + len(body.data) // 100)  # trying cost as much as taking
            raise

    def _count_refusal(self, refusal: Refusal, source: str) -> None:
        telemetry.refused(refusal.reason)
        if refusal.retryable:
            self._refused_s[shard_of(source, self._shard_count)] = self._clock.monotonic_s()


def _check_identity(body: Body) -> None:
    if (body.incarnation is None) != (body.seq is None):
        raise Refusal(
            400, "bad_schema", "found half an identity, wanted incarnation and sequence number, or neither"
        )
    if body.seq is not None and not 0 <= body.seq < 2**63:
        raise Refusal(400, "bad_schema", f"found sequence number {body.seq}, wanted 0 to 2^63 - 1")
    if len(body.key) > KEY_LENGTH_MAX:
        detail = f"found an Idempotency-Key of {len(body.key)} bytes, wanted {KEY_LENGTH_MAX} at most"
        raise Refusal(400, "bad_schema", detail)


async def _durable(done: asyncio.Future[int]) -> int:
    """The record's position once the stream holds it."""
    started_s = time.perf_counter()
    try:
        position = await done
    except StreamFull as error:
        raise Refusal(429, STREAM_FULL, str(error), retry_after_s=5.0) from None
    except StreamUnavailable as error:
        raise Refusal(
            503,
            STREAM_UNAVAILABLE,
            f"the readings may or may not be stored, send them again with the same identity: {error}",
            retry_after_s=RETRY_AFTER_S,
        ) from None
    telemetry.INGEST_APPEND_SECONDS.observe(time.perf_counter() - started_s)
    return position


def _busy(detail: str) -> Refusal:
    return Refusal(429, BUSY, detail, retry_after_s=RETRY_AFTER_S)


def _accepted(frame: Frame, position: int) -> Accepted:
    telemetry.INGEST_READINGS_ACCEPTED.inc(len(frame.ts_us))
    telemetry.INGEST_FRAMES_APPENDED.inc()
    telemetry.door_rejected(Counter(reject.reason for reject in frame.rejects))
    rejects = tuple((reject.index, REASON_NAMES[reject.reason]) for reject in frame.rejects)
    return Accepted(len(frame.ts_us), len(rejects), rejects, position, frame.incarnation, frame.seq)
