"""The stream in memory, for tests and simulations: the same promises, but it ends with the process."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from millrace.batch import Record
from millrace.clock import Clock, EdgeClock
from millrace.errors import StreamFull, StreamUnavailable
from millrace.protocols.control import is_control
from millrace.settings import GIB
from millrace.stream.contract import Entry, Headroom, Span
from millrace.stream.durability import memory_max
from millrace.stream.position import SEQUENCE_BITS


@dataclass(slots=True)
class _Log:
    positions: list[int] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    newest: int = 0
    trimmed: bool = False


class MemoryStream:
    """Safe for use by several threads. `unavailable` makes every call fail, as a dead server would."""

    def __init__(self, shard_count: int, *, clock: Clock | None = None, bytes_max: int = GIB) -> None:
        self.shard_count = shard_count
        self.unavailable = False
        self._clock = clock or EdgeClock()
        self._bytes_max = bytes_max
        self._logs = [_Log() for _ in range(shard_count)]
        self._bytes_held = 0
        self._identity: str | None = None
        self._changed = threading.Condition()

    def append(self, entries: Sequence[Entry]) -> list[int]:
        with self._changed:
            self._check_available()
            self._check_room(entries)
            positions = [self._put(entry) for entry in entries]
            self._changed.notify_all()
            return positions

    def read(self, after: Mapping[int, int], *, count_max: int, wait_s: float) -> dict[int, list[Record]]:
        with self._changed:
            self._check_available()
            found = self._after(after, count_max)
            if not found and wait_s > 0:
                self._changed.wait_for(lambda: self.unavailable or self._any_after(after), wait_s)
                self._check_available()
                found = self._after(after, count_max)
            return found

    def trim(self, shard: int, before: int) -> None:
        with self._changed:
            self._check_available()
            log = self._logs[shard]
            cut = bisect_left(log.positions, before)
            log.trimmed |= cut > 0
            self._bytes_held -= sum(_size(record) for record in log.records[:cut])
            del log.positions[:cut], log.records[:cut]

    def span(self, shard: int) -> Span:
        with self._changed:
            self._check_available()
            log = self._logs[shard]
            return Span(log.positions[0] if log.positions else 0, log.newest, log.trimmed)

    def headroom(self) -> Headroom:
        with self._changed:
            self._check_available()
            return Headroom(self._bytes_held, self._bytes_max)

    def identity(self) -> str | None:
        return self._identity

    def claim_identity(self, identity: str) -> None:
        self._identity = identity

    def close(self) -> None:
        """Nothing to let go of."""

    def _put(self, entry: Entry) -> int:
        log = self._logs[entry.shard]
        now_us = self._clock.now_us()
        position = max(log.newest + 1, (now_us // 1_000) << SEQUENCE_BITS)
        record = Record(position, now_us, entry.partition_key, bytes(entry.data))
        log.positions.append(position)
        log.records.append(record)
        log.newest = position
        self._bytes_held += _size(record)
        return position

    def _after(self, after: Mapping[int, int], count_max: int) -> dict[int, list[Record]]:
        found = {}
        for shard, position in after.items():
            log = self._logs[shard]
            start = bisect_right(log.positions, position)
            if records := log.records[start : start + count_max]:
                found[shard] = records
        return found

    def _any_after(self, after: Mapping[int, int]) -> bool:
        return any(
            self._logs[shard].positions and self._logs[shard].positions[-1] > position
            for shard, position in after.items()
        )

    def _check_available(self) -> None:
        if self.unavailable:
            raise StreamUnavailable("stream in memory: set unavailable")

    def _check_room(self, entries: Sequence[Entry]) -> None:
        control = all(is_control(entry.data) for entry in entries)
        bound = memory_max(self._bytes_max) if control else self._bytes_max
        if self._bytes_held + sum(len(entry.data) for entry in entries) >= bound:
            raise StreamFull(f"stream holds {self._bytes_held} of {bound} bytes")


def _size(record: Record) -> int:
    return len(record.data) + len(record.partition_key)
