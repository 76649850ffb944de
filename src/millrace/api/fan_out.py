"""Fan-out: what each follower of `/v1/live` is told, and what it missed when it comes back."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from millrace.api.live_view import EVENTS_KEPT, ShardView
from millrace.api.subscribers import (
    EventId,
    Message,
    Subscriber,
    missed,
    readings_data,
    readings_json,
    readings_of,
)
from millrace.api.window import Readings
from millrace.batch import TagInfo
from millrace.schema.live import AlarmEvent, AnomalyEvent, LiveBlob

SUBSCRIBERS_MAX = 256
_json = msgspec.json.Encoder()


class FanOut:
    """Not thread-safe: the lock over `shards` is held at each call."""

    def __init__(self, shards: Sequence[ShardView]) -> None:
        self._shards = shards
        self._events: deque[tuple[int, str, AnomalyEvent | AlarmEvent]] = deque(maxlen=EVENTS_KEPT)
        self._subscribers: set[Subscriber] = set()
        self.instance = secrets.token_hex(4)

    def __len__(self) -> int:
        return len(self._subscribers)

    def learn(self, shard: int, tags: Sequence[TagInfo]) -> None:
        """New tags, or changed ones: who wants them."""
        for subscriber in self._subscribers:
            subscriber.learn(shard, tags, len(self._shards[shard].tags))

    def keep(self, blob: LiveBlob, turn: int) -> None:
        """Events that a client which comes back may have missed."""
        self._events.extend((turn, "anomaly", anomaly) for anomaly in blob.anomalies)
        self._events.extend((turn, "alarm", alarm) for alarm in blob.alarms)

    def tell(self, blobs: Sequence[LiveBlob], turn: int, now_us: int) -> None:
        """Everything that one turn brought, to everybody who wants it."""
        event_id = str(EventId(self.instance, turn, now_us))
        for subscriber in self._subscribers:
            messages = self._messages(subscriber, blobs, event_id)
            if messages:
                subscriber.offer(messages, now_us)

    def _messages(self, subscriber: Subscriber, blobs: Sequence[LiveBlob], event_id: str) -> list[Message]:
        """One event of all fresh readings of a turn, however many shards spoke: an event costs its reader as much as
        thirty readings. Windows that are said again have no receipt and an event of their own."""
        out = []
        for again in (True, False):
            told = [blob for blob in blobs if (blob.received_us == 0) is again]
            readings = [reading for blob in told for reading in self._readings(subscriber, blob)]
            if readings:
                received_us = max(blob.received_us for blob in told)
                out.append(Message(event_id, "readings", readings_data(readings, received_us)))
        for blob in blobs:
            for event, kind in [(a, "anomaly") for a in blob.anomalies] + [(a, "alarm") for a in blob.alarms]:
                if subscriber.wants(event.path, event.source):
                    out.append(Message(event_id, kind, _json.encode(event)))
        return out

    def _readings(self, subscriber: Subscriber, blob: LiveBlob) -> list[dict[str, Any]]:
        at = subscriber.wanted(blob.shard, blob.slot)
        if not len(at):
            return []
        rows = Readings(blob.ts_us[at], blob.value[at], blob.quality[at], blob.late[at])
        return readings_of(self._shards[blob.shard].tags, blob.slot[at], rows)

    def join(self, subscriber: Subscriber, last_id: str, turn: int, now_us: int) -> list[Message] | None:
        """What a new client has to be told first; None when there are as many as there may be."""
        if len(self._subscribers) >= SUBSCRIBERS_MAX:
            return None
        for shard, view in enumerate(self._shards):
            subscriber.learn(shard, [tag for tag in view.tags if tag is not None], len(view.tags))
        first = self._since(subscriber, last_id, EventId(self.instance, turn, now_us)) if last_id else []
        self._subscribers.add(subscriber)
        return first

    def leave(self, subscriber: Subscriber) -> None:
        """The client is gone."""
        self._subscribers.discard(subscriber)

    def _since(self, subscriber: Subscriber, last_id: str, here: EventId) -> list[Message]:
        """What came after an event, or a `missed` event saying from when on nothing can be told."""
        last = EventId.parse(last_id)
        if last is None or last.instance != here.instance or last.turn > here.turn:
            reason, from_us = ("api_restarted", last.time_us) if last else ("unknown_event_id", 0)
            return [Message(str(here), "missed", missed(reason, from_us, here.time_us))]
        if last.turn + 1 < max(self._oldest_event_turn, *(view.window.oldest_turn for view in self._shards)):
            return [Message(str(here), "missed", missed("too_old", last.time_us, here.time_us))]
        return self._resumed(subscriber, last)

    @property
    def _oldest_event_turn(self) -> int:
        """The oldest turn of which all anomalies and alarms are kept."""
        full = len(self._events) == self._events.maxlen
        return self._events[0][0] + 1 if full else 0

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
