"""What of a shard is not archived yet: the open segment, and closed ones that wait to be written and
listed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from millrace.batch import I32, Output, Reject, Rows, TagInfo
from millrace.errors import MillraceError
from millrace.sinks.manifest import Segment

REJECT_WEIGHT_ROWS = 16
"""A reject takes about as much memory as this many readings: it counts so much towards the bounds."""


class UnknownSlot(MillraceError):
    """A reading of a tag that nobody announced: `announce` the restored state's tags before the first
    output."""


class TagTable:
    """Slot -> (path, source). A number is given once per (path, source), so a slot that changes its tag is
    safe."""

    def __init__(self) -> None:
        self.tags: list[tuple[str, str]] = []
        self._number: dict[tuple[str, str], int] = {}
        self._of_slot: I32 = np.full(1024, -1, np.int32)

    def announce(self, tags: Iterable[TagInfo]) -> None:
        for info in tags:
            key = (info.path, info.source)
            number = self._number.setdefault(key, len(self.tags))
            if number == len(self.tags):
                self.tags.append(key)
            if info.slot >= len(self._of_slot):
                grown = np.full(max(2 * len(self._of_slot), info.slot + 1), -1, np.int32)
                grown[: len(self._of_slot)] = self._of_slot
                self._of_slot = grown
            self._of_slot[info.slot] = number

    def numbers(self, shard: int, slots: I32) -> I32:
        """Numbers of tags; UnknownSlot when one was never announced."""
        if not len(slots):
            return np.zeros(0, np.int32)
        if int(slots.max()) >= len(self._of_slot):
            raise UnknownSlot(f"shard {shard}: slot {int(slots.max())} was never announced")
        numbers: I32 = self._of_slot[slots]
        if int(numbers.min()) < 0:
            raise UnknownSlot(f"shard {shard}: slot {int(slots[numbers < 0][0])} was never announced")
        return numbers


@dataclass(slots=True)
class Part:
    """Readings between two positions, as they came: of each output the `rows` (READING, n) and `tag` numbers (n,)."""

    first_position: int
    last_position: int
    time_us: int
    rows: list[Rows] = field(default_factory=list)
    tag: list[I32] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    traces: list[tuple[str, int]] = field(default_factory=list)  # (trace parent, position) of sampled frames
    row_count: int = 0
    written: list[Segment] | None = None
    """Files that are on the disk and wait to be listed; None: not written yet."""

    @property
    def weight_rows(self) -> int:
        return self.row_count + REJECT_WEIGHT_ROWS * len(self.rejects)

    def add(self, output: Output, tag: I32) -> None:
        """Append an output; `tag` are the tag numbers of its readings."""
        self.last_position = output.position
        self.time_us = max(self.time_us, output.time_us)
        if len(output.readings):
            self.rows.append(output.readings)
            self.tag.append(tag)
            self.row_count += len(output.readings)
        self.rejects.extend(output.rejects)
        self.traces.extend(output.traces)


@dataclass(slots=True)
class ShardBuffer:
    """One shard's readings on their way to the archive."""

    shard: int
    epoch: int
    taken: int
    """Newest position that was taken, archived or not."""
    archived: int
    age_max_s: float
    """Age at which the open segment closes: the first is shorter, so that shards do not all close at once."""
    table: TagTable = field(default_factory=TagTable)
    open: Part | None = None
    opened_s: float = 0.0
    closed: deque[Part] = field(default_factory=deque)
    close_at: int = 0
    """Position at which the open segment is to close whatever its size; 0: none asked for."""
    retry_at_s: float = 0.0
    failures: int = 0
    failure: str = ""

    @property
    def weight_rows(self) -> int:
        parts = [*self.closed, *([self.open] if self.open else [])]
        return sum(part.weight_rows for part in parts)

    def take(self, output: Output, now_s: float) -> None:
        """Append an output. Its tags count from its first reading on."""
        self.table.announce(output.tags)
        tag = self.table.numbers(self.shard, output.readings["slot"])
        if self.open is None:
            self.open = Part(output.first_position, output.position, output.time_us)
            self.opened_s = now_s
        self.open.add(output, tag)
        self.taken = output.position

    def due(self, now_s: float, rows_max: int) -> bool:
        """Whether the open segment is old or large enough, or was asked to close here."""
        if self.open is None:
            return False
        asked = 0 < self.close_at <= self.open.last_position
        return asked or self.open.weight_rows >= rows_max or now_s - self.opened_s >= self.age_max_s

    def close(self, age_max_s: float) -> None:
        """Put the open segment in the queue of those to be written."""
        if self.open is None:
            return
        self.closed.append(self.open)
        if self.close_at <= self.open.last_position:
            self.close_at = 0
        self.open = None
        self.age_max_s = age_max_s
