"""Followers of `/v1/live`: what each wants, a bounded queue each, and what it missed when it is too slow."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from millrace.api.pattern import matches
from millrace.api.window import Readings
from millrace.batch import I32, I64, Bool, TagInfo, ValueKind

QUEUE_BYTES_MAX = 8 * 1024**2  # a client that is this far behind is told what it missed
EMPTY: I64 = np.zeros(0, np.int64)
_json = msgspec.json.Encoder()


@dataclass(slots=True)
class Message:
    """One server-sent event."""

    id: str
    event: str
    data: bytes

    def encoded(self) -> bytes:
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (self.id.encode(), self.event.encode(), self.data)


@dataclass(slots=True)
class EventId:
    """`<instance>-<turn>-<time>`: a turn of one follower, and when it was, for who comes back to another."""

    instance: str
    turn: int
    time_us: int

    def __str__(self) -> str:
        return f"{self.instance}-{self.turn}-{self.time_us}"

    @classmethod
    def parse(cls, text: str) -> EventId | None:
        instance, _, rest = text.partition("-")
        turn, _, time_us = rest.partition("-")
        if not (instance and turn.isdecimal() and time_us.isdecimal() and len(rest) < 60):
            return None
        return cls(instance, int(turn), int(time_us))


@dataclass(slots=True, eq=False)
class Subscriber:
    """One client. The follower's thread offers, the client's coroutine takes."""

    patterns: tuple[str, ...]
    source: str
    loop: asyncio.AbstractEventLoop
    masks: dict[int, Bool] = field(default_factory=dict)
    _queue: deque[Message] = field(default_factory=deque)
    _bytes: int = 0
    _missed_from_us: int = 0
    _missed_events: int = 0
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    def wants(self, path: str, source: str) -> bool:
        """Whether a tag, or an event of it, is for this client. A whole source's events carry no path."""
        if self.source and source != self.source:
            return False
        return not self.patterns or any(matches(pattern, path) for pattern in self.patterns)

    def learn(self, shard: int, tags: Iterable[TagInfo], room: int) -> None:
        """Note which of these tags are wanted. A mask is longer than its shard has tags: its last place says no."""
        mask = self.masks.get(shard)
        if mask is None or len(mask) <= room:
            grown = np.zeros(max(room * 2, 64), np.bool_)
            if mask is not None:
                grown[: len(mask)] = mask
            mask = self.masks[shard] = grown
        for tag in tags:
            mask[tag.slot] = self.wants(tag.path, tag.source)

    def wanted(self, shard: int, slot: I32) -> I64:
        """Places of the wanted readings among these slots (n,)."""
        mask = self.masks.get(shard)
        return EMPTY if mask is None else np.flatnonzero(mask.take(slot, mode="clip"))

    def offer(self, messages: list[Message], now_us: int) -> None:
        """From the follower's thread; never waits."""
        try:
            self.loop.call_soon_threadsafe(self._push, messages, now_us)
        except RuntimeError:  # the loop is closed: the client is gone
            return

    def _push(self, messages: list[Message], now_us: int) -> None:
        for message in messages:
            size = len(message.data)
            if self._missed_events or self._bytes + size > QUEUE_BYTES_MAX:
                self._missed_from_us = self._missed_from_us or now_us
                self._missed_events += 1
                continue
            self._queue.append(message)
            self._bytes += size
        self._ready.set()

    async def take(self, wait_s: float) -> list[Message]:
        """What came, at most a queue full; empty when nothing came for `wait_s`."""
        if not self._queue and not self._missed_events:
            self._ready.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._ready.wait()
            except TimeoutError:
                return []
        out = list(self._queue)
        self._queue.clear()
        self._bytes = 0
        return out

    def missed(self, now_us: int) -> bytes | None:
        """Data of a `missed` event when this client was too slow since it was last asked."""
        if not self._missed_events:
            return None
        data = missed("too_slow", self._missed_from_us, now_us, self._missed_events)
        self._missed_events, self._missed_from_us = 0, 0
        return data


def missed(reason: str, from_us: int, to_us: int, events: int | None = None) -> bytes:
    """What a client did not get and where to ask for it."""
    return _json.encode(
        {
            "reason": reason,
            "from_us": from_us,
            "to_us": to_us,
            "events": events,
            "what_to_do": "ask /v1/tags/{path}/history for this span",
        }
    )


def readings_json(tags: list[TagInfo | None], slots: I32, rows: Readings, received_us: int) -> bytes:
    """Data of a `readings` event, of one shard's readings."""
    return readings_data(readings_of(tags, slots, rows), received_us)


def readings_data(readings: list[dict[str, Any]], received_us: int) -> bytes:
    """Data of a `readings` event; `received_us` is the newest receipt among them."""
    return _json.encode({"received_us": received_us, "readings": readings})


def readings_of(tags: list[TagInfo | None], slots: I32, rows: Readings) -> list[dict[str, Any]]:
    """Readings of one shard as they are told."""
    out = []
    columns = (
        slots.tolist(),
        rows.ts_us.tolist(),
        rows.value.tolist(),
        rows.quality.tolist(),
        rows.late.tolist(),
    )
    for slot, ts_us, value, quality, late in zip(*columns, strict=True):
        tag = tags[slot] if slot < len(tags) else None
        if tag is not None:
            out.append(
                {
                    "tag": tag.path,
                    "source": tag.source,
                    "ts_us": ts_us,
                    "value": json_value(tag.kind, value),
                    "quality": quality,
                    "late": bool(late),
                }
            )
    return out


def json_value(kind: ValueKind | int, value: float) -> float | int | bool | None:
    """A value as JSON: a gap is null, a bool true or false, an integer or a state's code a whole number."""
    if not math.isfinite(value):
        return None
    if kind == ValueKind.BOOL:
        return bool(value)
    if kind in (ValueKind.INTEGER, ValueKind.STATE):
        return int(value)
    return value
