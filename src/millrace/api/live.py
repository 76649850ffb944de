"""The follower: reads every shard's live log by blocking XREAD; latest values, raw windows, newest events.

All of `/latest`, `/live` and the fresh end of `/history` come from here; no request asks the real-time store.
One thread writes, under one lock that is held for microseconds; request handlers take it to read.
A store that is away or lost its data changes nothing here but that nothing new comes; what was held stays.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec
import valkey
from valkey.exceptions import ValkeyError

from millrace import names, telemetry
from millrace.api.lag import LagMeter
from millrace.api.latency import LatencyWindow
from millrace.api.subscribers import EventId, Message, Subscriber, missed, readings_json
from millrace.api.window import Readings, Window
from millrace.batch import OPENED, TagInfo
from millrace.clock import Clock
from millrace.errors import ProtocolError
from millrace.schema import live
from millrace.schema.live import AlarmEvent, AnomalyEvent, Latest, LiveBlob

log = telemetry.logger(__name__)

BLOCK_MS = 500
BLOBS_A_TURN = 256
LOAD_AGAIN_S = 1.0
RETRY_S = (0.1, 0.2, 0.5, 1.0)
EVENTS_KEPT = 10_000
SUBSCRIBERS_MAX = 256
_json = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class TagRef:
    """Where a tag lives: a shard and its slot there."""

    shard: int
    slot: int


@dataclass(slots=True)
class LatestValue:
    """A tag and the newest of its readings; `ts_us` 0: none yet."""

    tag: TagInfo
    ts_us: int
    value: float
    quality: int


@dataclass(slots=True)
class LiveRaw:
    """A tag's raw readings behind a position. `complete`: none is missing between that position and now.

    `straddling` are of a window that was published again: some lie below the position, most above.
    """

    straddling: Readings
    readings: Readings
    complete: bool
    complete_since_us: int

    @classmethod
    def nothing(cls) -> LiveRaw:
        return cls(Readings.none(), Readings.none(), True, 0)


@dataclass(slots=True)
class _ShardView:
    window: Window
    tags: list[TagInfo | None] = field(default_factory=list)
    latest: Latest = field(default_factory=lambda: Latest.of_size(64))
    time_us: int = 0
    last_id: bytes = b"0"


class LiveFollower:
    """Start it with `start()`; `ready` is set once every shard's log was read to its end."""

    def __init__(
        self, url: str, clock: Clock, *, shard_count: int, window_s: float = 130.0, bytes_max: int = 1024**3
    ) -> None:
        self._client = valkey.Valkey.from_url(url, socket_timeout=5.0, socket_connect_timeout=1.0)
        self._clock = clock
        age_us = round(window_s * 1e6)
        self._shards = [_ShardView(Window(bytes_max // shard_count, age_us)) for _ in range(shard_count)]
        self._by_path: dict[str, list[TagRef]] = {}
        self._anomalies: OrderedDict[str, AnomalyEvent] = OrderedDict()
        self._alarms: OrderedDict[str, AlarmEvent] = OrderedDict()
        self._events: deque[tuple[int, str, AnomalyEvent | AlarmEvent]] = deque(maxlen=EVENTS_KEPT)
        self._subscribers: set[Subscriber] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-follower", daemon=True)
        self.instance = secrets.token_hex(4)
        self.turn = 0
        self.ready = threading.Event()
        self.connected = False
        self._load_again_s = 0.0  # when to read the published values again; 0: not due
        self.visible = LatencyWindow()
        self.lag = LagMeter(shard_count)
        self.rows = 0

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
        view = self._shards[shard]
        try:
            if tags:
                self._learn(shard, live.decode_tags(tags))
            if latest:
                blob = live.decode_latest(latest)
                view.latest = _newer(blob.latest, view.latest)
                view.time_us = max(view.time_us, blob.time_us)
        except ProtocolError as error:
            log.error("latest_unreadable", shard=shard, error=str(error))

    def _read_turn(self) -> None:
        streams: Any = {names.live_key(n): view.last_id for n, view in enumerate(self._shards)}
        block = BLOCK_MS if self.ready.is_set() else 20
        answer: Any = self._client.xread(streams, count=BLOBS_A_TURN, block=block)
        if not answer:
            self.ready.set()
            return
        pairs = answer.items() if isinstance(answer, Mapping) else answer
        fresh = self.ready.is_set()
        by_shard = {int(key.rsplit(b":", 1)[1]): self._decoded(key, entries) for key, entries in pairs}
        self._take_turn(by_shard, fresh)

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
            taken = [blob for shard, blobs in by_shard.items() for blob in blobs if self._take(shard, blob)]
            if self._subscribers:
                self._tell(taken, now_us)
        if fresh:
            now_s = self._clock.monotonic_s()
            for blob in taken:
                age_us = now_us - blob.received_us if blob.received_us else 0
                self.lag.note(blob.shard, len(blob) if age_us else 0, age_us / 1e6, now_s)
                if age_us and len(blob):
                    self.visible.record(age_us / 1000, len(blob), now_s)

    def _take(self, shard: int, blob: LiveBlob) -> bool:
        view = self._shards[shard]
        if blob.tags:
            self._learn(shard, blob.tags)
            self._load_again_s = self._clock.monotonic_s() + LOAD_AGAIN_S
        if not view.window.add(blob, self.turn):
            return False
        self.rows += len(blob)
        view.time_us = blob.time_us
        if len(blob):
            view.latest = view.latest.grown(int(blob.slot.max()) + 1)
            newer = (blob.late == 0) & (blob.ts_us >= view.latest.ts_us[blob.slot])
            if newer.all():
                view.latest.take(blob.slot, blob.ts_us, blob.value, blob.quality)
            else:
                view.latest.take(blob.slot[newer], blob.ts_us[newer], blob.value[newer], blob.quality[newer])
        self._take_events(blob)
        return True

    def _take_events(self, blob: LiveBlob) -> None:
        for anomaly in blob.anomalies:
            _keep(self._anomalies, anomaly.id, anomaly)
            self._events.append((self.turn, "anomaly", anomaly))
        for alarm in blob.alarms:
            _keep(self._alarms, alarm.id, alarm)
            self._events.append((self.turn, "alarm", alarm))

    def _learn(self, shard: int, tags: Iterable[TagInfo]) -> None:
        view, tags = self._shards[shard], list(tags)
        room = max((tag.slot for tag in tags), default=-1) + 1
        view.tags.extend([None] * (room - len(view.tags)))
        for tag in tags:
            before = view.tags[tag.slot]
            view.tags[tag.slot] = tag
            ref = TagRef(shard, tag.slot)
            if before is None or before.path != tag.path:
                refs = self._by_path.setdefault(tag.path, [])
                if ref not in refs:
                    refs.append(ref)
        for subscriber in self._subscribers:
            subscriber.learn(shard, tags, len(view.tags))

    # --- fan-out ----------------------------------------------------------------------------------

    def _tell(self, blobs: list[LiveBlob], now_us: int) -> None:
        event_id = str(EventId(self.instance, self.turn, now_us))
        for subscriber in self._subscribers:
            messages = [m for blob in blobs for m in self._messages(subscriber, blob, event_id)]
            if messages:
                subscriber.offer(messages, now_us)

    def _messages(self, subscriber: Subscriber, blob: LiveBlob, event_id: str) -> list[Message]:
        out = []
        mask = subscriber.masks.get(blob.shard)
        if mask is not None and len(blob):
            wanted = mask.take(blob.slot, mode="clip") & (blob.slot < len(mask))
            if wanted.any():
                rows = Readings(
                    blob.ts_us[wanted], blob.value[wanted], blob.quality[wanted], blob.late[wanted]
                )
                tags = self._shards[blob.shard].tags
                data = readings_json(tags, blob.slot[wanted], rows, blob.received_us)
                out.append(Message(event_id, "readings", data))
        for event, kind in [(a, "anomaly") for a in blob.anomalies] + [(a, "alarm") for a in blob.alarms]:
            if subscriber.wants(event.path, event.source):
                out.append(Message(event_id, kind, _json.encode(event)))
        return out

    def subscribe(
        self, patterns: tuple[str, ...], source: str, loop: asyncio.AbstractEventLoop, last_id: str = ""
    ) -> tuple[Subscriber, list[Message]] | None:
        """A new client and what it has to be told first; None when there are as many as there may be."""
        subscriber = Subscriber(patterns, source, loop)
        with self._lock:
            if len(self._subscribers) >= SUBSCRIBERS_MAX:
                return None
            for shard, view in enumerate(self._shards):
                subscriber.learn(shard, [tag for tag in view.tags if tag is not None], len(view.tags))
            first = self._since(subscriber, EventId.parse(last_id), bool(last_id))
            self._subscribers.add(subscriber)
        return subscriber, first

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """The client is gone."""
        with self._lock:
            self._subscribers.discard(subscriber)

    def _since(self, subscriber: Subscriber, last: EventId | None, asked: bool) -> list[Message]:
        """What came after an event, or a `missed` event saying from when on nothing can be told."""
        now_us = self._clock.now_us()
        here = EventId(self.instance, self.turn, now_us)
        if not asked:
            return []
        if last is None or last.instance != self.instance or last.turn > self.turn:
            reason = "api_restarted" if last else "unknown_event_id"
            return [Message(str(here), "missed", missed(reason, last.time_us if last else 0, now_us))]
        oldest = max((view.window.oldest_turn for view in self._shards), default=0)
        messages = []
        if last.turn + 1 < oldest:
            messages.append(Message(str(here), "missed", missed("too_old", last.time_us, now_us)))
            return messages
        return self._resumed(subscriber, last)

    def _resumed(self, subscriber: Subscriber, last: EventId) -> list[Message]:
        out: list[tuple[int, Message]] = []
        for shard, view in enumerate(self._shards):
            mask = subscriber.masks.get(shard)
            if mask is None:
                continue
            for turn, slots, rows in view.window.since_turn(last.turn, mask):
                event_id = str(EventId(self.instance, turn, last.time_us))
                out.append((turn, Message(event_id, "readings", readings_json(view.tags, slots, rows, 0))))
        for turn, kind, event in self._events:
            if turn > last.turn and subscriber.wants(event.path, event.source):
                event_id = str(EventId(self.instance, turn, last.time_us))
                out.append((turn, Message(event_id, kind, _json.encode(event))))
        return [message for _, message in sorted(out, key=lambda pair: pair[0])]

    # --- what request handlers ask ----------------------------------------------------------------

    def find(self, path: str, source: str = "") -> list[tuple[TagRef, TagInfo]]:
        """The tags of that path: more than one where several sources say the same name."""
        with self._lock:
            return [
                (ref, tag)
                for ref in self._by_path.get(path, ())
                if (tag := self._shards[ref.shard].tags[ref.slot]) is not None
                and (not source or tag.source == source)
            ]

    def latest(self, refs: Iterable[TagRef]) -> list[LatestValue]:
        """Newest readings."""
        out = []
        with self._lock:
            for ref in refs:
                view = self._shards[ref.shard]
                tag = view.tags[ref.slot] if ref.slot < len(view.tags) else None
                have = view.latest
                if tag is None:
                    continue
                if ref.slot >= len(have.ts_us):
                    out.append(LatestValue(tag, 0, float("nan"), 0))
                else:
                    at = ref.slot
                    out.append(
                        LatestValue(tag, int(have.ts_us[at]), float(have.value[at]), int(have.quality[at]))
                    )
        return out

    def below(self, path: str) -> list[TagRef]:
        """All tags under an equipment, a line, … in order of path."""
        prefix = path.rstrip("/") + "/"
        with self._lock:
            found = [(p, ref) for p, refs in self._by_path.items() if p.startswith(prefix) for ref in refs]
        return [ref for _, ref in sorted(found, key=lambda pair: pair[0])]

    def raw(self, ref: TagRef, after_position: int = 0) -> LiveRaw:
        """A tag's raw readings that lie behind a position of its shard."""
        with self._lock:
            window = self._shards[ref.shard].window
            complete = window.position > 0 and window.complete_from <= after_position
            return LiveRaw(*window.tag(ref.slot, after_position), complete, window.complete_since_us)

    def open_alarms(self, path: str = "") -> list[AlarmEvent]:
        """Alarms that are active, newest first."""
        prefix = path.rstrip("/") + "/"
        with self._lock:
            return [
                alarm
                for alarm in reversed(self._alarms.values())
                if alarm.kind == OPENED and (not path or alarm.path == path or alarm.path.startswith(prefix))
            ]

    def newest_anomalies(self, count: int) -> list[AnomalyEvent]:
        """Newest first."""
        with self._lock:
            return list(islice(reversed(self._anomalies.values()), count))

    def newest_alarms(self, count: int) -> list[AlarmEvent]:
        """Newest first."""
        with self._lock:
            return list(islice(reversed(self._alarms.values()), count))

    def figures(self) -> dict[str, Any]:
        """Counts for `/v1/stats`."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            return {
                "tags": sum(len(refs) for refs in self._by_path.values()),
                "window_rows": sum(len(view.window) for view in self._shards),
                "window_bytes": sum(view.window.nbytes for view in self._shards),
                "subscribers": len(self._subscribers),
                "rows": self.rows,
                "connected": self.connected,
                "newest_time_us": max((view.time_us for view in self._shards), default=0),
                "p50_ms": self.visible.quantile_ms(0.5, now_s),
                "p99_ms": self.visible.quantile_ms(0.99, now_s),
            }


def _newer(published: Latest, have: Latest) -> Latest:
    """Slot by slot the newer of both."""
    count = max(len(published.ts_us), len(have.ts_us))
    published = published.grown(count)
    have = have.grown(len(published.ts_us))
    count = len(published.ts_us)
    take = have.ts_us[:count] > published.ts_us
    published.ts_us[take], published.value[take] = have.ts_us[:count][take], have.value[:count][take]
    published.quality[take] = have.quality[:count][take]
    return published


def _keep(events: OrderedDict[str, Any], key: str, event: Any) -> None:
    """Newest at the end, bounded."""
    events[key] = event
    events.move_to_end(key)
    if len(events) > EVENTS_KEPT:
        events.popitem(last=False)
