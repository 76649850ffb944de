"""Small segments -> large ones: a raw hour of one tag comes out of six files instead of sixty.

Memory is bounded: the merge walks the tags in order and holds about a million rows, whatever the files'
sizes.
The swap is one transaction; before it, counts and hash sums made from the merged rows must equal the sum of
what the old files' footers say, so a merge that lost or doubled a reading is never listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from millrace.accounting import hash_rows, tag_hash
from millrace.batch import U64
from millrace.durable import DISK, Disk, writing
from millrace.schema.hour_counts import HourCount, add_counts, count_hours
from millrace.schema.segments import Footer, SegmentError, read_metadata, read_rows, relative_name
from millrace.sinks.archive.files import listing
from millrace.sinks.archive.neighbours import Neighbours
from millrace.sinks.archive.parquet import SegmentWriter
from millrace.sinks.archive.sorting import SortedReadings, order_by_rank
from millrace.sinks.manifest import READINGS, Manifest, Segment

BLOCK_ROWS: Final = 1_000_000

Tag = tuple[str, str]


class Compactor:
    """Merges the segments of shards that this process owns, one block of rows a step."""

    def __init__(self, root: Path, manifest: Manifest, folder_id: str, disk: Disk = DISK) -> None:
        self._root = root
        self._manifest = manifest
        self._folder_id = folder_id
        self._disk = disk
        self._running: dict[int, Iterator[None]] = {}
        self._known: dict[int, tuple[int, Neighbours]] = {}  # by shard, with the epoch in which it holds
        self._refused: set[str] = set()  # files of a merge that failed: they are not tried again in this life

    def know(self, shard: int, epoch: int, listed: Sequence[Segment]) -> Neighbours:
        """Take the shard's segments from the manifest's list, read while holding `epoch`."""
        unwanted = self._refused | set(self._manifest.retired_before(shard, 0.0))
        known = Neighbours(s for s in listed if s.kind == READINGS and s.file not in unwanted)
        self._known[shard] = (epoch, known)
        return known

    def listed(self, shard: int, epoch: int, segments: Sequence[Segment]) -> None:
        """The sink has listed new ones."""
        known_epoch, known = self._known.get(shard, (-1, Neighbours()))
        for segment in segments:
            if known_epoch == epoch and segment.kind == READINGS:
                known.add(segment)

    def step(self, shard: int, epoch: int) -> bool:
        """Go on with the shard's merge, or begin one; whether there was anything to do. About a quarter
        second.

        SegmentError when files do not add up: they stay as they are.
        """
        merge = self._running.pop(shard, None) or self._begin(shard, epoch)
        if merge is None:
            return False
        try:
            if next(merge, self) is None:
                self._running[shard] = merge
        except BaseException:
            self._known.pop(shard, None)  # whether the swap was made is unknown: the manifest will say
            raise
        return True

    def abandon(self, shard: int) -> None:
        """Drop the shard's merge; its unfinished file is removed."""
        self._running.pop(shard, None)
        self._known.pop(shard, None)

    def _begin(self, shard: int, epoch: int) -> Iterator[None] | None:
        known_epoch, known = self._known.get(shard, (-1, Neighbours()))
        if known_epoch != epoch:
            known = self.know(shard, epoch, self._manifest.files(shard))
        run = known.next_run()
        return self._merge(shard, epoch, known, run) if run else None

    def _merge(self, shard: int, epoch: int, known: Neighbours, run: Sequence[Segment]) -> Iterator[None]:
        """Yields after each block; the swap is the last thing it does."""
        first, last = run[0].first_position, run[-1].last_position
        name = relative_name("seg", shard, epoch, first, last, run[-1].max_ts_us)
        wanted = add_counts(count for segment in run for count in segment.counts)
        try:
            with writing(self._root / name, self._disk) as file:
                writer = SegmentWriter(file)
                for block in merged_blocks([self._root / segment.file for segment in run]):
                    writer.write(block, _recounted(block))
                    yield
                if writer.counts != wanted:
                    raise SegmentError(f"{name}: the merged rows are not those of its {len(run)} files")
                writer.finish(folder_id=self._folder_id, shard=shard, epoch=epoch, first=first, last=last)
        except (SegmentError, FileNotFoundError):
            self._refused |= {segment.file for segment in run}
            raise
        merged = listing(name, shard, epoch, (first, last), writer, file)
        self._manifest.replace_segments(shard, epoch, merged, [segment.file for segment in run])
        known.replace(run, merged)


def merged_blocks(paths: Sequence[Path]) -> Iterator[SortedReadings]:
    """Rows of all files by tag and time, about BLOCK_ROWS at a time; equal times keep the files' order."""
    footers = [Footer(path, read_metadata(path)) for path in paths]
    rows: dict[Tag, int] = {}
    for footer in footers:
        for tag, count in zip(_tags(footer), np.diff(footer.facts.starts).tolist(), strict=True):
            rows[tag] = rows.get(tag, 0) + count
    block: list[Tag] = []
    held = 0
    for tag in sorted(rows):
        if block and held + rows[tag] > BLOCK_ROWS:
            yield _merged(paths, footers, block)
            block, held = [], 0
        block.append(tag)
        held += rows[tag]
    if block:
        yield _merged(paths, footers, block)


def _tags(footer: Footer) -> list[Tag]:
    return list(zip(footer.facts.paths, footer.facts.sources, strict=True))


def _merged(paths: Sequence[Path], footers: Sequence[Footer], block: Sequence[Tag]) -> SortedReadings:
    """One block of tags out of all files."""
    number = {tag: i for i, tag in enumerate(block)}
    parts = [
        part for path, footer in zip(paths, footers, strict=True) if (part := _stretch(path, footer, number))
    ]
    rank, ts_us, value, quality, late = (np.concatenate(column) for column in zip(*parts, strict=True))
    order, starts = order_by_rank(rank, len(block), ts_us)
    return SortedReadings(
        paths=[path for path, _ in block],
        sources=[source for _, source in block],
        starts=starts,
        ts_us=ts_us[order],
        value=value[order],
        quality=quality[order],
        late=late[order],
    )


def _stretch(path: Path, footer: Footer, number: dict[Tag, int]) -> list[Any]:
    """A block's rows in one file: rank, ts_us, value, quality, late. Neighbouring tags lie in one stretch."""
    starts = np.asarray(footer.facts.starts, np.int64)
    held = [(i, number[tag]) for i, tag in enumerate(_tags(footer)) if tag in number]
    if not held:
        return []
    first, last = held[0][0], held[-1][0] + 1
    rank = np.repeat(np.array([r for _, r in held], np.int32), np.diff(starts[first : last + 1]))
    columns = ("ts_us", "value", "quality", "late")
    return [rank, *read_rows(path, footer, int(starts[first]), int(starts[last]), columns)]


def _recounted(block: SortedReadings) -> list[HourCount]:
    """Counts and hash sums from the rows themselves."""
    tag_hashes: U64 = np.array([tag_hash(path) for path in block.paths], np.uint64)
    tag = np.repeat(np.arange(len(block.paths), dtype=np.int32), np.diff(block.starts))
    hashes = hash_rows(tag_hashes, tag, block.ts_us, block.value, block.quality)
    return count_hours(block.sources, block.starts, block.ts_us, hashes)
