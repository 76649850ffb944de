"""A closed part of a shard -> its files on the disk, whole and synced, not yet listed."""

from __future__ import annotations

from pathlib import Path

from millrace.durable import DISK, AsideFile, Disk, writing
from millrace.schema.hour_counts import count_hours
from millrace.schema.segments import relative_name
from millrace.sinks.archive.buffer import Part
from millrace.sinks.archive.parquet import SegmentWriter
from millrace.sinks.archive.quarantine import count_rejects, write_rejects
from millrace.sinks.archive.sorting import sort_readings
from millrace.sinks.manifest import QUARANTINE, Segment


class SegmentFiles:
    """Writes a shard's closed parts under the archive's root. OSError when the disk does not take them."""

    def __init__(self, root: Path, folder_id: str, disk: Disk = DISK) -> None:
        self._root = root
        self._folder_id = folder_id
        self._disk = disk

    def write(self, shard: int, epoch: int, tags: list[tuple[str, str]], part: Part) -> list[Segment]:
        """Files of a part: one of readings, one of rejects, either missing when there are none."""
        files = []
        if part.row_count:
            files.append(self._write_readings(shard, epoch, tags, part))
        if part.rejects:
            files.append(self._write_rejects(shard, epoch, part))
        return files

    def _write_readings(self, shard: int, epoch: int, tags: list[tuple[str, str]], part: Part) -> Segment:
        readings, hashes = sort_readings(tags, list(zip(part.tag, part.rows, strict=True)))
        counts = count_hours(readings.sources, readings.starts, readings.ts_us, hashes)
        first, last = part.first_position, part.last_position
        name = relative_name("seg", shard, epoch, first, last, part.time_us)
        with writing(self._root / name, self._disk) as file:
            writer = SegmentWriter(file)
            writer.write(readings, counts)
            writer.finish(folder_id=self._folder_id, shard=shard, epoch=epoch, first=first, last=last)
        return listing(name, shard, epoch, (first, last), writer, file)

    def _write_rejects(self, shard: int, epoch: int, part: Part) -> Segment:
        first, last = part.first_position, part.last_position
        name = relative_name("rej", shard, epoch, first, last, part.time_us)
        with writing(self._root / name, self._disk) as file:
            write_rejects(file, part.rejects)
        times = [reject.ts_us or reject.received_ts_us for reject in part.rejects]
        return Segment(
            file=name,
            shard=shard,
            epoch=epoch,
            first_position=first,
            last_position=last,
            rows=len(part.rejects),
            min_ts_us=min(times),
            max_ts_us=max(times),
            bytes=file.size_bytes,
            sha256=file.sha256,
            kind=QUARANTINE,
            counts=tuple(count_rejects(part.rejects)),
        )


def listing(
    name: str, shard: int, epoch: int, positions: tuple[int, int], writer: SegmentWriter, file: AsideFile
) -> Segment:
    """The manifest's row of a finished file of readings."""
    return Segment(
        file=name,
        shard=shard,
        epoch=epoch,
        first_position=positions[0],
        last_position=positions[1],
        rows=writer.rows,
        min_ts_us=writer.min_ts_us,
        max_ts_us=writer.max_ts_us,
        bytes=file.size_bytes,
        sha256=file.sha256,
        counts=tuple(writer.counts),
    )
