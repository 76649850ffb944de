"""What an output becomes on the fast path: blobs of the live log, out of what is known of its shard.

Nothing here speaks to a server; `redis.py` does. A shard's owner keeps the tags, the newest values and where
the log stands, so that it can say an output as one blob, and say everything again to a store that lost it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from millrace.batch import Output, Rows, TagInfo
from millrace.schema.ids import detector_name, event_id
from millrace.schema.live import AlarmEvent, AnomalyEvent, Latest, LiveBlob
from millrace.schema.live_columns import columns_of

PART_ROWS = 200_000  # readings in one blob of a window that is published again
NO_LIMIT = 0


@dataclass(slots=True)
class WindowPart:
    """Raw readings of whole records `first_position … position`, in order of arrival.

    What the archive has not listed is one part: from `archived + 1` to the newest position that was
    processed, with all its readings, also those that still wait to be taken by the archive.
    """

    first_position: int
    position: int
    readings: Rows  # READING


@dataclass(slots=True)
class Seed:
    """All that the store must hold of a shard, out of its owner's state. `position`: the newest processed."""

    position: int
    time_us: int
    tags: list[TagInfo]
    latest: Latest
    window: list[WindowPart] = field(default_factory=list)
    sources: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class LiveShard:
    """What the sink knows of a shard that it writes for.

    `previous` is the position that the next blob follows, 0 when it follows none that the store has.
    """

    number: int
    epoch: int
    position: int = 0
    previous: int = 0
    tags: dict[int, TagInfo] = field(default_factory=dict)
    sources: dict[int, str] = field(default_factory=dict)
    latest: Latest = field(default_factory=lambda: Latest.of_size(64))
    time_us: int = 0
    tags_changed: bool = False
    latest_due_s: float = 0.0
    seeded: bool = False
    window_due: bool = False  # the store missed something: say the raw window again
    seeded_to: int = 0  # the last publication of everything held the raw readings up to here
    window_previous: int = 0
    sizes: deque[tuple[float, int]] = field(
        default_factory=deque
    )  # (when, bytes) of the log's blobs, oldest first
    held_bytes: int = 0

    def entries_max(self, size: int, now_s: float, keep_s: float, bytes_max: int) -> int:
        """How many entries the log may hold once a blob of `size` bytes is in it; NO_LIMIT: age decides alone."""
        self.sizes.append((now_s, size))
        self.held_bytes += size
        while len(self.sizes) > 1 and (self.sizes[0][0] < now_s - keep_s or self.held_bytes > bytes_max):
            self.held_bytes -= self.sizes.popleft()[1]
        return len(self.sizes) if self.held_bytes + size > bytes_max else NO_LIMIT

    def uncount(self) -> None:
        """The newest blob was not taken after all."""
        if self.sizes:
            self.held_bytes -= self.sizes.pop()[1]

    def absorb(self, output: Output, detectors: tuple[str, ...], rules: tuple[str, ...]) -> LiveBlob:
        """Take an output into what is known; its blob."""
        for tag in output.tags:
            self.tags[tag.slot] = tag
            self.tags_changed = True
        self.sources.update(output.sources)
        slot, ts_us, value, quality, late = columns_of(output.readings)
        self.latest = self.latest.take(slot, ts_us, value, quality, late)
        self.position, self.time_us = output.position, output.time_us
        blob = LiveBlob(
            self.number,
            self.epoch,
            output.first_position,
            output.position,
            self.previous,
            output.time_us,
            output.newest_received_us,
            slot,
            ts_us,
            value,
            quality,
            late,
            list(output.tags),
            [self._anomaly(row, detectors) for row in output.anomalies.tolist()],
            [self._alarm(row, rules) for row in output.alarms.tolist()],
        )
        self.previous = output.position
        return blob

    def _anomaly(self, row: tuple[Any, ...], detectors: tuple[str, ...]) -> AnomalyEvent:
        """A row of batch.ANOMALY, as Python's own values."""
        slot, number, detector, kind, start_us, end_us, score, value, expected = row
        path, source = self._concerned(slot, number)
        name = detector_name(detectors, detector)
        return AnomalyEvent(
            id=str(event_id(path, source, name, start_us)),
            path=path,
            source=source,
            detector=name,
            kind=kind,
            start_us=start_us,
            end_us=end_us,
            score=score,
            value=_finite(value),
            expected=_finite(expected),
        )

    def _alarm(self, row: tuple[Any, ...], rules: tuple[str, ...]) -> AlarmEvent:
        """A row of batch.ALARM, as Python's own values."""
        slot, number, rule, kind, start_us, ts_us, value, limit = row
        path, source = self._concerned(slot, number)
        name = detector_name(rules, rule)
        return AlarmEvent(
            id=str(event_id(path, source, name, start_us)),
            path=path,
            source=source,
            rule=name,
            kind=kind,
            start_us=start_us,
            ts_us=ts_us,
            value=_finite(value),
            limit=_finite(limit),
        )

    def _concerned(self, slot: int, number: int) -> tuple[str, str]:
        """(path, source) that an event speaks of; the path is empty for a whole source."""
        tag = self.tags.get(slot)
        if tag is not None:
            return tag.path, tag.source
        return "", self.sources.get(number, "unknown")

    def take(self, seed: Seed) -> None:
        """Everything that the owner's state says; all of it is to be published."""
        self.tags.update({tag.slot: tag for tag in seed.tags})
        self.sources.update(seed.sources)
        self.latest = seed.latest.grown(max(self.tags, default=-1) + 1)
        self.tags_changed, self.latest_due_s, self.seeded = True, 0.0, True
        self.seeded_to = 0

    def window_blobs(self, seed: Seed, said: Iterable[LiveBlob]) -> Iterator[LiveBlob]:
        """The seed's raw window as blobs.

        The first carries the tags, for who follows since before this start and has read no tag table, and the
        events of the blobs `said`, which may not be said themselves since the window holds their readings.
        """
        tags, told = seed.tags, [blob for blob in said if blob.shard == self.number]
        for part in seed.window:
            for blob in self._part_blobs(part):
                blob.tags, tags = tags, []
                blob.anomalies += [event for other in told for event in other.anomalies]
                blob.alarms += [event for other in told for event in other.alarms]
                told = []
                yield blob

    def _part_blobs(self, part: WindowPart) -> Iterator[LiveBlob]:
        previous, self.window_previous = self.window_previous, part.position
        for at in range(0, max(len(part.readings), 1), PART_ROWS):
            slot, ts_us, value, quality, late = columns_of(part.readings[at : at + PART_ROWS])
            yield LiveBlob(
                self.number,
                self.epoch,
                part.first_position,
                part.position,
                previous,
                self.time_us,
                0,
                slot,
                ts_us,
                value,
                quality,
                late,
                part=min(at // PART_ROWS, 255),
            )

    def forget(self, *, again: bool) -> None:
        """The store missed a blob; `again`: it is to be told everything once it is back."""
        self.previous, self.latest_due_s, self.tags_changed = 0, 0.0, True
        if again:
            self.seeded, self.window_due = False, True


def _finite(value: float) -> float | None:
    """JSON and MessagePack readers know no NaN."""
    return value if math.isfinite(value) else None
