"""The archive sink: outputs -> segments, each listed together with *archived*.

A segment closes by size, by age on the sink's own clock, at an accounting mark, or at a position that
somebody asked for.
It is written aside, synced, renamed, its folder synced, and only then listed in the manifest, in the
transaction that moves *archived*. Whatever fails on the way (no space, no PostgreSQL) leaves the part in
memory, and it is tried again later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import RLock

from millrace import telemetry
from millrace.batch import Output, TagInfo
from millrace.clock import Clock
from millrace.durable import DISK, Disk
from millrace.errors import MillraceError, OwnershipLost, StoreUnavailable
from millrace.settings import Settings
from millrace.sinks.archive.buffer import Part, ShardBuffer
from millrace.sinks.archive.cleanup import remove_retired, remove_unlisted
from millrace.sinks.archive.compaction import Compactor
from millrace.sinks.archive.files import SegmentFiles
from millrace.sinks.contract import Ownership, Written
from millrace.sinks.manifest import Manifest

RETRY_FIRST_S = 0.5
RETRY_MAX_S = 10.0
UPKEEP_STEP_S = 1.0
UPKEEP_IDLE_S = 30.0

log = telemetry.logger(__name__)


class ArchiveSink:
    """Takes outputs of the shards it was opened for. `write` and `maintain` belong to one thread, the rest
    to any.

    `write(())` every second or so lets segments close by age when nothing comes. `failure` says in words why
    nothing is being listed at the moment; it is empty when all is well.
    """

    name = "archive"
    durable = True

    def __init__(
        self,
        root: Path,
        manifest: Manifest,
        settings: Settings,
        clock: Clock,
        *,
        folder_id: str = "",
        disk: Disk = DISK,
    ) -> None:
        self._root = root
        self._manifest = manifest
        self._settings = settings
        self._clock = clock
        self._disk = disk
        self._files = SegmentFiles(root, folder_id, disk)
        self._compactor = Compactor(root, manifest, folder_id, disk)
        self._shards: dict[int, ShardBuffer] = {}
        self._lock = RLock()
        self._upkeep_at_s = clock.monotonic_s() + UPKEEP_IDLE_S

    # --- ownership -------------------------------------------------------------------------------

    def open_shard(self, ownership: Ownership, archived: int = 0) -> int:
        """Begin to write for a shard; the position up to which the archive holds everything.

        `archived` is the shard's row in PostgreSQL; without it, the newest listed file says. Files that an
        earlier owner wrote and never listed are removed.
        """
        shard, epoch = ownership.shard, ownership.epoch
        listed = self._manifest.files(shard)
        remove_unlisted(self._root, shard, epoch, {segment.file for segment in listed}, self._disk)
        self._compactor.know(shard, epoch, listed)
        archived = max([archived, *(segment.last_position for segment in listed)])
        age_s = self._settings.segment_age_s * (0.5 + 0.5 * (shard * 0.618 % 1))
        with self._lock:
            self._shards[shard] = ShardBuffer(shard, epoch, archived, archived, age_s)
        return archived

    def announce(self, shard: int, tags: Iterable[TagInfo]) -> None:
        """Tell the tags of a state restored from a snapshot, before the first output after it."""
        with self._lock:
            self._shards[shard].table.announce(tags)

    def close_shard(self, shard: int) -> None:
        """Stop writing for a shard. What is not listed is in the stream still: the next owner replays it."""
        with self._lock:
            self._shards.pop(shard, None)
        self._compactor.abandon(shard)

    def close(self) -> None:
        """Let go of everything."""
        for shard in list(self._shards):
            self.close_shard(shard)

    # --- the flow --------------------------------------------------------------------------------

    def write(self, outputs: Sequence[Output]) -> Written:
        """Take outputs, close what is due, write and list what is closed.

        `retry` holds what was not taken because a shard's segments cannot be written or listed and it buffers
        as many rows as it may. Offering an output twice is harmless: positions taken are skipped.
        """
        accepted = 0
        retry: list[Output] = []
        for output in outputs:
            buffer = self._shards[output.shard]
            if buffer.closed and buffer.weight_rows >= 2 * self._settings.segment_rows_max:
                self._settle(buffer)
            if buffer.closed and buffer.weight_rows >= 2 * self._settings.segment_rows_max:
                retry.append(output)
            elif output.position > buffer.taken:
                self._take(buffer, output)
                accepted += len(output.readings)
        self._settle_all()
        self._maintain_now_and_then()
        return Written(accepted, 0, tuple(retry))

    def _take(self, buffer: ShardBuffer, output: Output) -> None:
        with self._lock:
            now_s = self._clock.monotonic_s()
            buffer.take(output, now_s)
            if output.mark or buffer.due(now_s, self._settings.segment_rows_max):
                buffer.close(self._settings.segment_age_s)

    def close_at(self, shard: int, position: int) -> None:
        """Close the shard's segment with the output that ends at (or first passes) this position."""
        with self._lock:
            self._shards[shard].close_at = position

    def position(self, shard: int) -> int:
        """*archived*: everything up to here is in listed segments."""
        return self._shards[shard].archived

    @property
    def failure(self) -> str:
        """Why segments are not being listed at the moment, in words; empty when all is well."""
        return "; ".join(buffer.failure for buffer in list(self._shards.values()) if buffer.failure)

    # --- writing and listing ---------------------------------------------------------------------

    def _settle_all(self) -> None:
        for buffer in list(self._shards.values()):
            with self._lock:
                if buffer.due(self._clock.monotonic_s(), self._settings.segment_rows_max):
                    buffer.close(self._settings.segment_age_s)
            self._settle(buffer)

    def _settle(self, buffer: ShardBuffer) -> None:
        """Write and list the shard's closed parts, oldest first, up to the first that cannot be."""
        while buffer.closed and self._clock.monotonic_s() >= buffer.retry_at_s:
            part = buffer.closed[0]
            begin_s = self._clock.monotonic_s()
            try:
                self._list(buffer, part)
            except (OSError, StoreUnavailable) as error:
                self._put_off(buffer, error)
                return
            except OwnershipLost:
                self.close_shard(buffer.shard)
                raise
            with self._lock:
                buffer.closed.popleft()
                buffer.archived = part.last_position
                buffer.failures = 0
                buffer.failure = ""
            seconds = self._clock.monotonic_s() - begin_s
            telemetry.archived(buffer.shard, part.row_count, seconds, part.traces)

    def _list(self, buffer: ShardBuffer, part: Part) -> None:
        if part.written is None:
            part.written = self._files.write(buffer.shard, buffer.epoch, buffer.table.tags, part)
        self._manifest.list_segment(buffer.shard, buffer.epoch, part.last_position, part.written)
        self._compactor.listed(buffer.shard, buffer.epoch, part.written)

    def _put_off(self, buffer: ShardBuffer, error: Exception) -> None:
        telemetry.will_retry(self.name)
        wait_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2**buffer.failures)
        buffer.failures = min(buffer.failures + 1, 16)
        buffer.retry_at_s = self._clock.monotonic_s() + wait_s
        log.warning("archive_put_off", shard=buffer.shard, error=repr(error), wait_s=wait_s)
        buffer.failure = f"shard {buffer.shard}: {type(error).__name__}: {error}; next try in {wait_s:.1f} s"

    # --- upkeep ----------------------------------------------------------------------------------

    def maintain(self) -> bool:
        """One step of compaction and cleaning; whether there was anything to do. `write` calls it now and
        then."""
        for buffer in list(self._shards.values()):
            try:
                if self._compactor.step(buffer.shard, buffer.epoch):
                    return True
                if remove_retired(self._root, self._manifest, buffer.shard, buffer.epoch, self._disk):
                    return True
            except OwnershipLost:
                self.close_shard(buffer.shard)
                raise
            except (OSError, MillraceError) as error:
                log.warning("archive_upkeep_failed", shard=buffer.shard, error=str(error))
        return False

    def _maintain_now_and_then(self) -> None:
        if self._clock.monotonic_s() >= self._upkeep_at_s:
            pause_s = UPKEEP_STEP_S if self.maintain() else UPKEEP_IDLE_S
            self._upkeep_at_s = self._clock.monotonic_s() + pause_s
