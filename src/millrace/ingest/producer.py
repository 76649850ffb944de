"""The producer client of gateways and the simulated plant: readings in, frames out, retried until taken.

A frame's identity is (source, incarnation, seq) and its bytes never change, so that a frame sent twice counts
once. One append is in flight at a time, for all sources together. What waits is bounded: when the buffer is
full, `send` takes less than it was given and says how much.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from millrace import tracing
from millrace.batch import F64, FRAME_READINGS_MAX, I64, U8, U32, Incarnation
from millrace.clock import Clock
from millrace.errors import ProtocolError
from millrace.ingest.delivery import Delivery, Outcome, Outgoing, StreamTransport, Transport
from millrace.ingest.disk_buffer import DiskBuffer, Kept
from millrace.ingest.pending import READING_BYTES, Pending
from millrace.protocols import frame as frame_codec
from millrace.protocols.dictionary import Dictionary
from millrace.protocols.frame_write import READINGS_MAX, encode_plain
from millrace.protocols.tag_path import source_ok
from millrace.settings import MIB
from millrace.stream.contract import Entry, shard_of

GROUP_BYTES_MAX: Final = 8_000_000
GROUP_FRAMES_MAX: Final = 2_048
TOGETHER_MIN: Final = 4
"""Frames that are worth a kernel's calls; fewer are encoded one by one."""
RETRY_FIRST_S: Final = 0.05
RETRY_MAX_S: Final = 5.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Series:
    """One source's way out: what waits as readings, what waits as frames, and when it may be tried again."""

    pending: Pending
    shard: int
    next_seq: int = 1
    frames: deque[Outgoing] = field(default_factory=deque)
    not_before_s: float = 0.0
    retry_s: float = 0.0


@dataclass(slots=True)
class Counts:
    """Readings since the start, but `frames` and `retries`. `refused` will never be taken."""

    accepted: int = 0
    delivered: int = 0
    refused: int = 0
    frames: int = 0
    retries: int = 0
    last_trouble: str = ""


class Producer:
    """Safe for use by several threads. Either `start()` it, or call `flush()` yourself."""

    def __init__(
        self,
        append: Callable[[Sequence[Entry]], list[int]] | Transport,
        *,
        shard_count: int,
        clock: Clock,
        linger_s: float = 0.05,
        frame_readings_max: int = FRAME_READINGS_MAX,
        buffer_bytes_max: int = 64 * MIB,
        folder: Path | None = None,
        rng: random.Random | None = None,
        trace_ratio: float = 0.0,
        on_delivered: Callable[[Sequence[tuple[Outgoing, Delivery]]], None] | None = None,
    ) -> None:
        """`append`: a stream's, or a transport such as `HttpSender`.

        `folder`: frames are kept there, synced, before `send` returns; they outlive the process.
        `trace_ratio`: share of frames whose trace begins here, at most one a call; none while traces are off.
        `on_delivered`: told of each frame that was taken or refused for good, in the flushing thread.
        """
        self._transport = append if isinstance(append, Transport) else StreamTransport(append)
        self._shard_count = shard_count
        self._clock = clock
        self._linger_s = linger_s
        self._readings_max = frame_readings_max
        self._buffer_bytes_max = buffer_bytes_max
        self._rng = rng or random.Random()
        self._trace_ratio = trace_ratio
        self._on_delivered = on_delivered
        self._series: dict[str, _Series] = {}
        self._active: dict[str, _Series] = {}  # those with anything to send, the longest waiting first
        self._bytes = 0
        self._lock = threading.RLock()
        self._flushing = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self.counts = Counts()
        self.incarnation = Incarnation(clock.now_us(), self._rng.getrandbits(63))
        self._disk = DiskBuffer(folder, self.incarnation) if folder else None
        if self._disk:
            self._resume(self._disk)

    def dictionary(self, source: str) -> Dictionary:
        """The source's tags by number, for a sender that keeps the numbers."""
        with self._lock:
            return self._series_of(source).pending.dictionary

    def send(
        self, source: str, tags: Sequence[str] | U32, ts_us: I64, value: F64, quality: U8 | None = None
    ) -> int:
        """How many of the readings (n,), from the first on, were taken; durable if there is a folder.

        `tags`: names, or indexes out of `dictionary(source)`. `quality` None: all good. ProtocolError, and none is
        taken, for a source or an index that no frame can say: found later, it would cost those that wait beside it.
        """
        with self._lock:
            series = self._series_of(source)
            room = max(0, self._buffer_bytes_max - self.buffered_bytes) // READING_BYTES
            count = min(len(ts_us), room)
            if count == 0:
                return 0
            if isinstance(tags, np.ndarray):
                _check_known(tags[:count], series.pending.dictionary)
            self._add(
                series,
                tags[:count],
                ts_us[:count],
                value[:count],
                None if quality is None else quality[:count],
            )
            if self._disk and not self._keep(series, self._disk):
                return 0
            self._active[source] = series
            self.counts.accepted += count
        if count >= self._readings_max or room - count < count:
            self._wake.set()
        return count

    @property
    def buffered_bytes(self) -> int:
        """Of readings and frames that wait, in memory or on disk."""
        return max(self._bytes, self._disk.bytes_held if self._disk else 0)

    @property
    def unsent(self) -> int:
        """Readings taken and neither delivered nor refused."""
        return self.counts.accepted - self.counts.delivered - self.counts.refused

    def start(self) -> None:
        """Flush every `linger_s` in a thread of our own."""
        self._thread = threading.Thread(target=self._run, name="producer", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 10.0) -> int:
        """Send what waits, within the time; how many readings were not sent (kept, if there is a folder)."""
        self._closing = True
        self._wake.set()
        if self._thread:
            self._thread.join(timeout_s)
        deadline_s = self._clock.monotonic_s() + timeout_s
        while self.unsent and self._clock.monotonic_s() < deadline_s:
            if not self.flush():
                self._clock.sleep(RETRY_FIRST_S)
        self._transport.close()
        with self._lock:
            if self._disk:
                self._disk.close()
                self._disk = None
        return self.unsent

    def flush(self) -> int:
        """Cut frames of what waits and deliver one group; how many frames were taken or refused for good."""
        with self._flushing:
            with self._lock:
                group = self._group(self._clock.monotonic_s())
            if not group:
                return 0
            self._prepare(group)
            return self._settle(group, self._transport.deliver(group))

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._linger_s)
            self._wake.clear()
            try:
                while self.flush() >= GROUP_FRAMES_MAX // 2 and not self._closing:
                    pass  # more than a group waits: do not linger
            except Exception:  # the thread must outlive any one frame
                log.exception("producer_flush_failed")

    # --- readings to frames ---

    def _series_of(self, source: str) -> _Series:
        series = self._series.get(source)
        if series is None:
            if not source_ok(source):
                raise ProtocolError("bad_source", f"found source {source[:80]!r}")
            series = self._series[source] = _Series(Pending(source), shard_of(source, self._shard_count))
        return series

    def _add(
        self, series: _Series, tags: Sequence[str] | U32, ts_us: I64, value: F64, quality: U8 | None
    ) -> None:
        rows = series.pending.rows
        if isinstance(tags, np.ndarray):
            series.pending.add(tags, ts_us, value, quality)
        else:
            self._add_named(series.pending, tags, np.asarray(ts_us), np.asarray(value), quality)
        self._bytes += READING_BYTES * (series.pending.rows - rows)

    @staticmethod
    def _add_named(pending: Pending, tags: Sequence[str], ts_us: I64, value: F64, quality: U8 | None) -> None:
        indexes = np.zeros(len(tags), np.uint32)
        good = np.ones(len(tags), np.bool_)
        for i, tag in enumerate(tags):
            try:
                indexes[i] = pending.dictionary.index(tag)
            except ProtocolError as error:
                good[i] = False
                reading = {"tag": tag[:1024], "ts": int(ts_us[i]), "value": float(value[i])}
                pending.refuse(i, error.reason, reading, int(ts_us[i]))
        if good.any():
            pending.add(indexes[good], ts_us[good], value[good], None if quality is None else quality[good])

    def _cut(self, series: _Series) -> list[Outgoing]:
        """What waits as readings becomes frames with their identities."""
        pending = series.pending
        self._bytes -= READING_BYTES * pending.rows
        made = pending.cut(self.incarnation, series.next_seq, self._readings_max)
        frames = [
            Outgoing(pending.source, series.shard, self.incarnation, seq, readings, data)
            for seq, (readings, data) in enumerate(made, series.next_seq)
        ]
        series.next_seq += len(frames)
        return frames

    def _cut_together(self, many: Sequence[_Series]) -> None:
        """One frame of each source whose readings are such as every linger brings; what else waits, waits on."""
        many = [series for series in many if 0 < series.pending.rows <= min(self._readings_max, READINGS_MAX)]
        if len(many) < TOGETHER_MIN:
            return
        whole = [series.pending.frame(self.incarnation, series.next_seq) for series in many]
        for series, frame, data in zip(many, whole, encode_plain(whole), strict=True):
            if data is not None:
                self._bytes -= READING_BYTES * series.pending.rows
                series.pending.clear()
                self._queue(
                    series,
                    [Outgoing(frame.source, series.shard, frame.incarnation, frame.seq, frame.count, data)],
                )
                series.next_seq += 1

    def _queue(self, series: _Series, frames: Sequence[Outgoing]) -> None:
        series.frames.extend(frames)
        self._bytes += sum(len(frame.data) for frame in frames)

    def _keep(self, series: _Series, disk: DiskBuffer) -> bool:
        """Frames of what waits, synced to disk; False when the disk took none: nothing waits then."""
        frames = self._cut(series)
        try:
            disk.keep([Kept(frame.source, frame.seq, frame.readings, frame.data) for frame in frames])
        except OSError as error:
            self.counts.last_trouble = f"buffer on disk: {error}"
            log.error("producer_buffer_failed", error=str(error))
            series.next_seq -= len(frames)
            return False
        self._queue(series, frames)
        return True

    def _resume(self, disk: DiskBuffer) -> None:
        """Go on with what an earlier life left."""
        self.incarnation = disk.incarnation
        for source, newest in disk.newest.items():
            self._series_of(source).next_seq = newest + 1
        for kept in disk.unsent():
            series = self._series_of(kept.source)
            self._queue(
                series,
                [Outgoing(kept.source, series.shard, disk.incarnation, kept.seq, kept.readings, kept.data)],
            )
            self._active[kept.source] = series
            self.counts.accepted += kept.readings

    # --- frames to the transport ---

    def _group(self, now_s: float) -> list[Outgoing]:
        """The next call's frames: of each source that may send now, in order, up to the bounds of a call."""
        group: list[Outgoing] = []
        size = 0
        self._cut_together(list(islice(self._active.values(), GROUP_FRAMES_MAX)))
        for series in self._active.values():
            if series.pending.rows:
                self._queue(series, self._cut(series))
            if series.not_before_s > now_s:
                continue
            for _, frame in zip(range(self._transport.frames_per_source), series.frames, strict=False):
                if len(group) >= GROUP_FRAMES_MAX or size >= GROUP_BYTES_MAX:
                    return group
                group.append(frame)
                size += len(frame.data)
        return group

    def _prepare(self, group: Sequence[Outgoing]) -> None:
        """What is done to a frame once, before it is first offered: its bytes never change after that."""
        fresh = [frame for frame in group if not frame.offered]
        if self._trace_ratio and self._rng.random() < self._trace_ratio * len(fresh):
            self._trace(self._rng.choice(fresh))
        now_us = self._clock.now_us()
        for frame in fresh:
            if self._transport.direct:  # straight into the stream, we are the ingest: received is now
                frame.data = frame_codec.stamp(frame.data, now_us)
            frame.offered = True

    def _trace(self, frame: Outgoing) -> None:
        """Begin a trace, which every stage behind goes on with: it travels in the frame."""
        begun = tracing.begin_span(
            tracing.SPAN_SEND, source=frame.source, seq=frame.seq, readings=frame.readings
        )
        if begun is None:
            return
        length = len(frame.data)
        frame.span, frame.trace = begun
        frame.data = frame_codec.traced(frame.data, frame.trace)
        with self._lock:
            self._bytes += len(frame.data) - length

    def _settle(self, group: Sequence[Outgoing], deliveries: Sequence[Delivery]) -> int:
        settled = []
        with self._lock:
            for frame, delivery in zip(group, deliveries, strict=True):
                if delivery.outcome is Outcome.LATER:
                    self._put_off(self._series[frame.source], delivery)
                else:
                    self._finish(frame, delivery)
                    settled.append((frame, delivery))
            if self._disk and settled:
                self._disk.taken([(frame.source, frame.seq) for frame, _ in settled])
        if self._on_delivered and settled:
            self._on_delivered(settled)
        return len(settled)

    def _finish(self, frame: Outgoing, delivery: Delivery) -> None:
        if frame.span is not None:
            frame.span.end()
        series = self._series[frame.source]
        series.frames.popleft()
        series.retry_s = 0.0
        self._bytes -= len(frame.data)
        self.counts.frames += 1
        if delivery.outcome is Outcome.TAKEN:
            self.counts.delivered += frame.readings
        else:
            self.counts.refused += frame.readings
            self.counts.last_trouble = delivery.detail
            log.error("frame_refused", source=frame.source, seq=frame.seq, detail=delivery.detail)
        del self._active[frame.source]  # to the end of the line, if anything is left
        if series.frames or series.pending.rows:
            self._active[frame.source] = series

    def _put_off(self, series: _Series, delivery: Delivery) -> None:
        """The same bytes again after a pause: it doubles, jitters, and is no shorter than asked for."""
        self.counts.retries += 1
        self.counts.last_trouble = delivery.detail
        series.retry_s = min(max(2 * series.retry_s, RETRY_FIRST_S), RETRY_MAX_S)
        pause_s = max(delivery.retry_after_s, series.retry_s * self._rng.uniform(0.5, 1.0))
        series.not_before_s = self._clock.monotonic_s() + pause_s


def _check_known(tags: U32, dictionary: Dictionary) -> None:
    highest = int(tags.max())
    if highest >= len(dictionary):
        raise ProtocolError("bad_schema", f"found tag index {highest}, wanted one of {len(dictionary)} given")
