"""One shard in this worker's hands: its process, how far it has come, what its successor would have to know."""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from millrace import telemetry
from millrace.batch import Output, Record, Rows, TagInfo
from millrace.inflight import Inflight
from millrace.process.shard import ShardProcess
from millrace.process.state import ShardState

log = telemetry.logger(__name__)

STEP_BYTES_MAX = 512 * 1024
"""Records that one step takes together: about 40,000 readings, whose columns fit a core's cache. Whoever catches up
reads millions at once; a step of 400,000 takes a sixth more CPU a reading, for memory that is new each time."""
DEATHS_MAX = 3
"""Deaths inside one and the same lone record after which it is quarantined whole (law 12)."""


@dataclass(slots=True)
class Candidate:
    """A snapshot that waits until both stores have passed its position."""

    position: int
    arrays: dict[str, np.ndarray[Any, Any]]
    plain: bytes


@dataclass(slots=True)
class Deaths:
    """What is written down about records that killed a worker. All calls are durable before they return."""

    count: Callable[[int, int], int]  # (shard, position) -> deaths so far, this attempt included
    skip: Callable[[int, int], None]  # (shard, position): quarantine the record from now on
    survived: Callable[[int, int], None]


@dataclass(slots=True)
class ShardRun:
    """`position`: the newest processed record. `suspects`: records in hand when the last owner died (first, last)."""

    shard: int
    epoch: int
    process_: ShardProcess
    position: int
    applied_at_start: int
    archived_at_start: int
    inflight: Inflight
    deaths: Deaths
    skips: set[int] = field(default_factory=set)
    suspects: tuple[int, int] = (0, 0)
    candidate: Candidate | None = None
    snapshot_due_s: float = 0.0
    window: deque[tuple[int, int, Rows]] = field(default_factory=deque)  # (first, last, READING): not archived yet
    _window_to: int = field(init=False)
    _introduced: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._window_to = self.position

    @property
    def state(self) -> ShardState:
        return self.process_.state

    def process(self, records: Sequence[Record]) -> Iterator[Output]:
        """Outputs of the records; none straddles *applied* or *archived*, and suspects go one by one."""
        for part, lone in self._parts(records):
            first, last = part[0].position, part[-1].position
            if lone:
                self._weigh(last)
            self.inflight.take(first, last)
            outputs = self.process_.step(part, frozenset(self.skips))
            self._put_down(last)
            if lone:
                self.deaths.survived(self.shard, last)
            self.position = last
            for output in outputs:
                # From just behind the one before: positions have gaps, the window has none.
                self.window.append((self._window_to + 1, output.position, output.readings))
                self._window_to = output.position
                yield output

    def _put_down(self, last: int) -> None:
        """Processed up to here. Suspects that are still ahead stay named: whoever ends before them, by a hand-over or a
        kill, leaves them to its successor, who would else take them among others again, which nobody counts."""
        if last < self.suspects[1]:
            self.inflight.take(max(last + 1, self.suspects[0]), self.suspects[1])
        else:
            self.inflight.put_down()

    def _parts(self, records: Sequence[Record]) -> Iterator[tuple[Sequence[Record], bool]]:
        """Pieces of the records with whether each is a suspect alone; after the first moments only size cuts them."""
        if not self.suspects[1] and records[0].position > max(self.applied_at_start, self.archived_at_start):
            yield from ((piece, False) for piece in _pieces(records))
            return
        positions = [record.position for record in records]
        first, last = self.suspects
        cuts = {bisect_right(positions, p) for p in (self.applied_at_start, self.archived_at_start)}
        alone = range(bisect_right(positions, first - 1), bisect_right(positions, last)) if last else range(0)
        cuts |= {*alone, *(place + 1 for place in alone)}
        begin = 0
        for end in sorted(cuts - {0} | {len(records)}):
            if end > begin:
                yield from ((piece, begin in alone) for piece in _pieces(records[begin:end]))
                begin = end
        if positions and positions[-1] >= last:
            self.suspects = (0, 0)

    def _weigh(self, position: int) -> None:
        """Count this attempt at a lone record before it is made; skip the record when it killed too often."""
        if position in self.skips:
            return
        if self.deaths.count(self.shard, position) > DEATHS_MAX:
            self.deaths.skip(self.shard, position)
            self.skips.add(position)
            log.error("record_quarantined", shard=self.shard, position=position, deaths=DEATHS_MAX)

    def introduced(self, sink: str, output: Output) -> Output:
        """The first output that a sink sees after a start names every tag and source, not just the new ones."""
        if sink in self._introduced:
            return output
        self._introduced.add(sink)
        return dataclasses.replace(output, tags=self.all_tags(), sources=self.all_sources())

    def all_tags(self) -> list[TagInfo]:
        tags, sources = self.state.tags, self.state.sources.rows
        return [tags.info(slot, sources[tags.sources[slot]].name) for slot in range(tags.count)]

    def all_sources(self) -> dict[int, str]:
        return {number: row.name for number, row in enumerate(self.state.sources.rows)}

    def forget_archived(self, archived: int) -> None:
        """The window holds what no listed segment holds."""
        while self.window and self.window[0][1] <= archived:
            self.window.popleft()

    def take_candidate(self) -> None:
        """Copy the state as it is now; it is listed once the stores have passed it."""
        arrays, plain = self.state.snapshot()
        self.candidate = Candidate(self.position, arrays, plain)


def _pieces(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """The records again, no piece larger than a step takes; a record that is larger is a piece alone."""
    begin, size = 0, 0
    for place, record in enumerate(records):
        size += len(record.data)
        if size > STEP_BYTES_MAX and place > begin:
            yield records[begin:place]
            begin, size = place, len(record.data)
    yield records[begin:]
