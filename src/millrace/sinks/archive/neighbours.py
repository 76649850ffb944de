"""Which of a shard's segments to merge next, without asking the manifest again.

The owner of a shard is the only one who lists its segments or retires them, so it knows them from the list that it
read when it took the shard over. A year of 100,000 readings/s is 65,000 segments a shard: to read that list every 30 s
took 4 s each time (docs/decisions/0013-a-year-of-segments.md). Those too large for any merge are only gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from millrace.sinks.manifest import Segment

FILES_MIN: Final = 8
GROWTH_MIN: Final = 4
"""Neighbours are worth a merge when they are so many, and together so much larger than the largest of them:
then a reading is rewritten once per fourfold growth of its file, four or five times in all. Tiny files
(class 0) always are."""
FILES_MAX: Final = 64
ROWS_MAX: Final = 8_000_000
HELD_MAX: Final = 4_096
"""Segments held a shard, the newest: older ones that found no neighbours until then are left as they are."""


class Neighbours:
    """One shard's listed segments of readings in the order of their positions, as far as a merge may want them."""

    def __init__(self, listed: Iterable[Segment] = ()) -> None:
        self._held: list[Segment] = []
        for segment in sorted(listed, key=lambda segment: segment.first_position):
            self.add(segment)

    def __len__(self) -> int:
        return len(self._held)

    def add(self, segment: Segment) -> None:
        """The newest one, just listed."""
        if self._held and _is_gap(segment) and _is_gap(self._held[-1]):
            return
        self._held.append(replace(segment, counts=()) if _is_gap(segment) else segment)
        del self._held[:-HELD_MAX]

    def replace(self, run: Sequence[Segment], merged: Segment) -> None:
        """The swap of a merge was made."""
        gone = {segment.file for segment in run}
        kept = Neighbours([*(segment for segment in self._held if segment.file not in gone), merged])
        self._held = kept._held

    def next_run(self) -> list[Segment]:
        """Those to merge next; none: nothing to do."""
        return choose(self._held)


def choose(listed: Sequence[Segment]) -> list[Segment]:
    """The neighbours to merge next: smallest size classes first; else none."""
    ordered = sorted(listed, key=lambda segment: segment.first_position)
    for size_class in range(_size_class(ROWS_MAX)):
        for run in _runs(ordered, size_class):
            rows = [segment.rows for segment in run]
            grows = size_class == 0 or sum(rows) >= GROWTH_MIN * max(rows)
            if len(run) >= FILES_MIN and grows:
                return run
    return []


def _is_gap(segment: Segment) -> bool:
    return _size_class(segment.rows) >= _size_class(ROWS_MAX)


def _size_class(rows: int) -> int:
    """Sizes of one class differ at most eightfold; everything under 4,096 rows is one class."""
    return max(0, (max(rows, 1).bit_length() - 12 + 2) // 3)


def _runs(ordered: Sequence[Segment], size_class: int) -> Iterator[list[Segment]]:
    """Neighbours of at most that class, cut so that no merge is larger than it may be."""
    run: list[Segment] = []
    rows = 0
    for segment in ordered:
        fits = _size_class(segment.rows) <= size_class
        if run and (not fits or rows + segment.rows > ROWS_MAX or len(run) == FILES_MAX):
            yield run
            run, rows = [], 0
        if fits:
            run.append(segment)
            rows += segment.rows
    if run:
        yield run
