"""The follower: reads every shard's live log by blocking XREAD into the live view, and tells who follows.

All of `/latest`, `/live` and the fresh end of `/history` come from here; no request asks the real-time store.
A store that is away or lost its data changes nothing here but that nothing new comes; what was held stays.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping
from typing import Any

import valkey
from valkey.exceptions import ValkeyError

from millrace import names, telemetry
from millrace.api.fan_out import FanOut
from millrace.api.lag import LagMeter
from millrace.api.latency import LatencyWindow
from millrace.api.live_view import LiveView
from millrace.api.subscribers import Message, Subscriber
from millrace.batch import TagInfo
from millrace.clock import Clock
from millrace.errors import ProtocolError
from millrace.schema import live
from millrace.schema.live import LiveBlob

log = telemetry.logger(__name__)

BLOCK_MS = 500
BLOBS_A_TURN = 256
LOAD_AGAIN_S = 1.0
TURN_S = 0.01
"""The logs are read no more often than this: two workers' blobs of one moment come as one turn or two, not one by one.
A blob waits for it only behind another; a turn costs 0.2 ms here and as much again for those who follow."""
RETRY_S = (0.1, 0.2, 0.5, 1.0)


class LiveFollower(LiveView):
    """Start it with `start()`; `ready` is set once every shard's log was read to its end."""

    def __init__(
        self, url: str, clock: Clock, *, shard_count: int, window_s: float = 130.0, bytes_max: int = 1024**3
    ) -> None:
        super().__init__(shard_count, window_us=round(window_s * 1e6), bytes_max=bytes_max)
        self._client = valkey.Valkey.from_url(url, socket_timeout=5.0, socket_connect_timeout=1.0)
        self._clock = clock
        self._fan_out = FanOut(self._shards)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-follower", daemon=True)
        self.instance = self._fan_out.instance
        self.turn = 0
        self.ready = threading.Event()
        self._load_again_s = 0.0  # when to read the published values again; 0: not due
        self.visible = LatencyWindow()
        self.lag = LagMeter(shard_count)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def close(self) -> None:
        """Stop; waits at most a few seconds for the blocking read to end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=BLOCK_MS / 1000 + 2)
        self._client.close()  # type: ignore[no-untyped-call]

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                if not self.connected:
                    self._load()
                    self.connected = True
                self._read_turn()
                self._load_if_due()
                failures = 0
            except ValkeyError as error:
                if self.connected or failures == 0:
                    log.warning("real_time_store_away", error=str(error)[:200])
                self.connected = False
                self._stopping.wait(RETRY_S[min(failures, len(RETRY_S) - 1)])
                failures += 1
            except Exception:  # a bug must not stop the live page for ever
                log.exception("live_follower_failed")
                self._stopping.wait(1.0)

    def _load(self) -> None:
        """Tag tables and latest values, as last published; the logs bring what came after."""
        keys = [names.latest_key(shard) for shard in range(len(self._shards))]
        found: list[Any] = self._client.mget(keys + [live.tags_key(key) for key in keys])  # type: ignore[assignment]
        for shard in range(len(self._shards)):
            with self._lock:
                self._load_shard(shard, found[shard], found[shard + len(keys)])

    def _load_if_due(self) -> None:
        """An owner that began after us has published its latest values behind the tags that it introduced."""
        if self._load_again_s and self._clock.monotonic_s() >= self._load_again_s:
            self._load_again_s = 0.0
            self._load()

    def _load_shard(self, shard: int, latest: bytes | None, tags: bytes | None) -> None:
        try:
            if tags:
                self._learn(shard, live.decode_tags(tags))
            if latest:
                self._note_published(shard, live.decode_latest(latest))
        except ProtocolError as error:
            log.error("latest_unreadable", shard=shard, error=str(error))

    def _read_turn(self) -> None:
        streams: Any = {names.live_key(n): view.last_id for n, view in enumerate(self._shards)}
        block = BLOCK_MS if self.ready.is_set() else 20
        answer: Any = self._client.xread(streams, count=BLOBS_A_TURN, block=block)
        if not answer:
            self.ready.set()
            return
        begin_s = self._clock.monotonic_s()
        pairs = answer.items() if isinstance(answer, Mapping) else answer
        fresh = self.ready.is_set()
        by_shard = {int(key.rsplit(b":", 1)[1]): self._decoded(key, entries) for key, entries in pairs}
        self._take_turn(by_shard, fresh)
        if fresh:
            self._clock.sleep(max(0.0, TURN_S - (self._clock.monotonic_s() - begin_s)))

    def _decoded(self, key: bytes, entries: Any) -> list[LiveBlob]:
        shard = int(key.rsplit(b":", 1)[1])
        rows = entries[0] if entries and isinstance(entries[0], list) else entries
        blobs = []
        for entry_id, fields in rows:
            self._shards[shard].last_id = entry_id
            try:
                blobs.append(live.decode(fields[live.BLOB_FIELD]))
            except (ProtocolError, KeyError) as error:
                log.error("live_blob_unreadable", shard=shard, entry=entry_id.decode(), error=str(error))
        return blobs

    def _take_turn(self, by_shard: dict[int, list[LiveBlob]], fresh: bool) -> None:
        """Everything that one read brought, as one turn."""
        now_us = self._clock.now_us()
        with self._lock:
            self.turn += 1
            told = (self._take(shard, blob) for shard, blobs in by_shard.items() for blob in blobs)
            taken = [blob for blob in told if blob is not None]
            self._fan_out.tell(taken, self.turn, now_us)
        if fresh:
            now_s = self._clock.monotonic_s()
            for blob in taken:
                age_us = now_us - blob.received_us if blob.received_us else 0
                self.lag.note(blob.shard, len(blob) if age_us else 0, age_us / 1e6, now_s)
                if age_us and len(blob):
                    self.visible.record(age_us / 1000, len(blob), now_s)
                    telemetry.visible(len(blob), age_us / 1e6)

    def _take(self, shard: int, blob: LiveBlob) -> LiveBlob | None:
        """What of a blob there is to tell; of a window that was here all the time its events, which may be new."""
        if blob.tags:
            self._learn(shard, blob.tags)
            self._load_again_s = self._clock.monotonic_s() + LOAD_AGAIN_S
        if self._shards[shard].window.pass_over(blob):
            blob = blob.events()
            self._note_events(blob)
        elif not self._note(shard, blob, self.turn):
            return None
        self._fan_out.keep(blob, self.turn)
        return blob

    def _learn(self, shard: int, tags: Iterable[TagInfo]) -> None:
        tags = list(tags)
        self._note_tags(shard, tags)
        self._fan_out.learn(shard, tags)

    # --- who follows ------------------------------------------------------------------------------

    def subscribe(
        self, patterns: tuple[str, ...], source: str, loop: asyncio.AbstractEventLoop, last_id: str = ""
    ) -> tuple[Subscriber, list[Message]] | None:
        """A new client and what it has to be told first; None when there are as many as there may be."""
        subscriber = Subscriber(patterns, source, loop)
        with self._lock:
            first = self._fan_out.join(subscriber, last_id, self.turn, self._clock.now_us())
        return None if first is None else (subscriber, first)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """The client is gone."""
        with self._lock:
            self._fan_out.leave(subscriber)

    def figures(self) -> dict[str, Any]:
        """Counts for `/v1/stats`."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            return self._held() | {
                "subscribers": len(self._fan_out),
                "rows": self.rows,
                "connected": self.connected,
                "newest_time_us": max((view.time_us for view in self._shards), default=0),
                "p50_ms": self.visible.quantile_ms(0.5, now_s),
                "p99_ms": self.visible.quantile_ms(0.99, now_s),
            }
