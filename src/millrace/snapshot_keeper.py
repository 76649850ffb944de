"""Snapshots of a worker's shards: taken by the pipeline, written and listed beside it, the stream trimmed behind.

A snapshot at position P counts once *applied* and *archived* have reached P. Two are kept; the stream is
trimmed to the older (law 7). Writing and listing happen on one background thread, one snapshot at a time.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from millrace import snapshots, telemetry
from millrace.clock import Clock
from millrace.durable import make_folders
from millrace.errors import DataFolderError, MillraceError, OwnershipLost, SnapshotError, Unavailable
from millrace.process.state import FORMAT, ProcessLimits, ShardState
from millrace.shard_run import ShardRun
from millrace.sinks.contract import Ownership
from millrace.stream.contract import Stream

log = telemetry.logger(__name__)

META_STATE = "state"


class Listing(Protocol):
    """Where snapshots are listed: the operational store."""

    def list_snapshot(
        self, ownership: Ownership, position: int, file: str, *, sha256: str = "", size_bytes: int = 0
    ) -> list[str] | None: ...

    def snapshots(self, shard: int) -> list[tuple[int, str]]: ...


class SnapshotKeeper:
    """`folder` is shared storage; `identity` the data folder's. `listing` is used by the background thread only."""

    def __init__(
        self, folder: Path, identity: str, listing: Listing, stream: Stream, clock: Clock, *, interval_s: float
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._listing = listing
        self._stream = stream
        self._clock = clock
        self.interval_s = interval_s
        self._background = ThreadPoolExecutor(1, thread_name_prefix="snapshots")
        self._under_way: dict[int, Future[bool]] = {}
        make_folders(folder)

    # --- reading back -----------------------------------------------------------------------------

    def restore(self, shard: int, listed: list[tuple[int, str]], limits: ProcessLimits) -> tuple[ShardState, int]:
        """The newest snapshot that can be read, and its position; a new state when none was ever listed."""
        problems = []
        for position, file in listed:
            try:
                found = snapshots.read(self._folder / file, folder_id=self._identity)
                return ShardState.restored(found.arrays, found.meta[META_STATE], limits), position
            except SnapshotError as error:
                log.error("snapshot_unreadable", shard=shard, file=file, error=str(error))
                problems.append(str(error))
        if problems:
            raise DataFolderError(
                f"shard {shard}: no listed snapshot can be read ({'; '.join(problems)}): "
                "put the files back from a copy, or begin anew with `millrace reset`"
            )
        return ShardState(shard, limits), 0

    # --- writing ----------------------------------------------------------------------------------

    def is_due(self, run: ShardRun) -> bool:
        return run.candidate is None and self._clock.monotonic_s() >= run.snapshot_due_s

    def take(self, run: ShardRun) -> None:
        """Copy the state as it is now."""
        run.take_candidate()
        run.snapshot_due_s = self._clock.monotonic_s() + self.interval_s

    def list_if_ready(self, run: ShardRun, *, applied: int, archived: int) -> None:
        """Write and list the candidate once the stores have passed it; gather the outcome at a later call."""
        under_way = self._under_way.get(run.shard)
        if under_way is not None:
            if under_way.done():
                del self._under_way[run.shard]
                self._conclude(run, under_way)
            return
        if run.candidate is not None and min(applied, archived) >= run.candidate.position:
            self._under_way[run.shard] = self._background.submit(self._write, run)

    def _conclude(self, run: ShardRun, done: Future[bool]) -> None:
        """After an outage the candidate stays and is tried again; a lost shard has no further use for it."""
        error = done.exception()
        if isinstance(error, OwnershipLost) or (error is None and done.result()):
            run.candidate = None
        elif error is not None and not isinstance(error, MillraceError | OSError):
            raise error
        elif error is not None:
            log.warning("snapshot_put_off", shard=run.shard, error=str(error))

    def _write(self, run: ShardRun) -> bool:
        candidate = run.candidate
        if candidate is None:
            return True
        ownership = Ownership(run.shard, run.epoch)
        meta = {META_STATE: candidate.plain, "format": FORMAT}
        file = snapshots.write(
            self._folder, run.shard, run.epoch, candidate.position, candidate.arrays, meta, folder_id=self._identity
        )
        gone = self._listing.list_snapshot(
            ownership, candidate.position, file.path.name, sha256=file.checksum, size_bytes=file.size_bytes
        )
        if gone is None:
            return False
        listed = self._listing.snapshots(run.shard)
        snapshots.remove_unlisted(self._folder, run.shard, run.epoch, [name for _, name in listed])
        if len(listed) > 1:
            self._stream.trim(run.shard, before=min(position for position, _ in listed))
        return True

    def settle(self, timeout_s: float) -> None:
        """Wait for what is under way."""
        for under_way in list(self._under_way.values()):
            try:
                under_way.result(timeout_s)
            except (Unavailable, OSError, TimeoutError, MillraceError) as error:
                log.warning("snapshot_put_off", error=str(error))

    def forget(self, shard: int) -> None:
        self._under_way.pop(shard, None)

