"""What the API holds of the live logs in memory: tags, latest values, raw windows, newest events.

One thread writes, under one lock that is held for microseconds; request handlers take it to read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from millrace.api.window import Readings, Window
from millrace.batch import OPENED, TagInfo
from millrace.schema.live import AlarmEvent, AnomalyEvent, Latest, LatestBlob, LiveBlob

EVENTS_KEPT = 10_000
FUTURE_US = 6_000_000  # a reading may be ahead of its receipt by this much


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


NO_SLOT = -1  # of a tag that is in no live window
ANY_TIME_US = 2**62


@dataclass(slots=True)
class LiveRaw:
    """A tag's raw readings behind the archive's end.

    `readings` are of blobs behind `applied` (the archive's end where none was given), `doubtful` of those before:
    another store holds all or some of them too. `doubtful_from` is the position at which these begin.
    What is missing from `readings`, if anything, has a time before `missing_before_us`; 0: nothing is.
    """

    doubtful: Readings
    readings: Readings
    doubtful_from: int
    missing_before_us: int

    @property
    def complete(self) -> bool:
        return self.missing_before_us == 0


@dataclass(slots=True)
class ShardView:
    """One shard: its tags by slot. `last_id` is the newest entry of its log that was read."""

    window: Window
    tags: list[TagInfo | None] = field(default_factory=list)
    latest: Latest = field(default_factory=lambda: Latest.of_size(64))
    time_us: int = 0
    last_id: bytes = b"0"


class LiveView:
    """Writers hold `_lock` at each call of a `_` method; the others take it themselves."""

    def __init__(self, shard_count: int, *, window_us: int, bytes_max: int) -> None:
        self._shards = [ShardView(Window(bytes_max // shard_count, window_us)) for _ in range(shard_count)]
        self._by_path: dict[str, list[TagRef]] = {}
        self._anomalies: OrderedDict[str, AnomalyEvent] = OrderedDict()
        self._alarms: OrderedDict[str, AlarmEvent] = OrderedDict()
        self._lock = threading.Lock()
        self.rows = 0
        self.connected = False

    # --- what the logs bring ----------------------------------------------------------------------

    def _note_tags(self, shard: int, tags: Iterable[TagInfo]) -> None:
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

    def _note_published(self, shard: int, published: LatestBlob) -> None:
        """Latest values as their owner published them; what a blob brought stays where it is newer."""
        view = self._shards[shard]
        view.latest = _newer(published.latest, view.latest)
        view.time_us = max(view.time_us, published.time_us)

    def _note(self, shard: int, blob: LiveBlob, turn: int) -> bool:
        """Take a blob that a turn brought; False when it brings nothing new."""
        view = self._shards[shard]
        if not view.window.add(blob, turn):
            return False
        self.rows += len(blob)
        view.time_us = blob.time_us
        view.latest = view.latest.take(blob.slot, blob.ts_us, blob.value, blob.quality, blob.late)
        self._note_events(blob)
        return True

    def _note_events(self, blob: LiveBlob) -> None:
        for anomaly in blob.anomalies:
            _keep(self._anomalies, anomaly.id, anomaly)
        for alarm in blob.alarms:
            _keep(self._alarms, alarm.id, alarm)

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

    def raw(self, ref: TagRef, archived: int = 0, applied: int = 0, reached: int = 0) -> LiveRaw:
        """A tag's raw readings that lie behind a position of its shard.

        `reached`: what is known to be processed; a window that is not there yet lacks what came since.
        """
        known = max(archived, applied)
        with self._lock:
            window = self._shards[ref.shard].window
            doubtful, readings = window.tag(ref.slot, archived, known)
            first = window.first_position_above(archived)
            behind = not self.connected or window.position < max(known, reached, 1)
            return LiveRaw(doubtful, readings, first, ANY_TIME_US if behind else _missing(window, known))

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

    def _held(self) -> dict[str, int]:
        """Sizes, for `/v1/stats`."""
        return {
            "tags": sum(len(refs) for refs in self._by_path.values()),
            "window_rows": sum(len(view.window) for view in self._shards),
            "window_bytes": sum(view.window.nbytes for view in self._shards),
        }


def _missing(window: Window, position: int) -> int:
    """Times before which a reading behind a position may be missing; 0: the window has them all."""
    return 0 if window.complete_from <= position else window.complete_since_us + FUTURE_US


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
