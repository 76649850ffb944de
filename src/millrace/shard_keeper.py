"""Which shards this worker owns: taking over, prolonging, handing over, letting go.

A worker prefers the shards whose number is its own modulo the workers. A shard of another worker it takes only
after that one has been gone for a while, and gives it back when the other asks. Leases are prolonged by a
thread of their own, so that a long batch loses nothing.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from millrace import telemetry
from millrace.clock import Clock
from millrace.errors import DataFolderError, OwnershipLost, Unavailable
from millrace.inflight import Inflight
from millrace.process.shard import Decode, ShardProcess
from millrace.process.state import ProcessLimits
from millrace.shard_run import Deaths, ShardRun
from millrace.sinks.archive import ArchiveSink
from millrace.sinks.contract import Ownership, Sink
from millrace.sinks.postgres import Held, Owners
from millrace.sinks.postgres.ownership import ShardRow
from millrace.snapshot_keeper import SnapshotKeeper
from millrace.store_thread import StoreThread
from millrace.stream.contract import Stream

log = telemetry.logger(__name__)

LOOK_EVERY_S = 0.5
DRAIN_S = 8.0


@dataclass(slots=True)
class ShardKeeper:
    """`owners` belongs to the pipeline's thread, `renewing` to the lease thread (one connection each)."""

    index: int
    workers: int
    owners: Owners
    renewing: Owners
    stream: Stream
    stores: dict[str, StoreThread]
    archive: ArchiveSink
    fast: Sink
    snapshots: SnapshotKeeper
    clock: Clock
    decode: Decode
    limits: ProcessLimits
    inflight_folder: Path
    ownership_s: float
    runs: dict[int, ShardRun] = field(default_factory=dict)
    _lost: set[int] = field(default_factory=set)
    _free_since_s: dict[int, float] = field(default_factory=dict)
    _next_look_s: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to prolong leases."""
        self._thread = threading.Thread(target=self._renew, name="leases", daemon=True)
        self._thread.start()

    def lose(self, shard: int) -> None:
        """Another owns the shard; may be called from any thread, is carried out at the next turn."""
        self._lost.add(shard)

    def turn(self) -> None:
        """Between two batches: let go, take over, keep snapshots going. PostgreSQL away: what we have stays."""
        while self._lost:
            self._drop(self._lost.pop())
        self._keep_snapshots()
        now_s = self.clock.monotonic_s()
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + LOOK_EVERY_S
        try:
            self._look(self.owners.shards(), now_s)
        except Unavailable as error:
            log.warning("ownership_unknown", error=str(error))

    # --- taking over ------------------------------------------------------------------------------

    def _look(self, rows: list[ShardRow], now_s: float) -> None:
        for row in rows:
            if row.shard in self.runs:
                if row.wanted_by and row.wanted_by != row.owner:
                    self._hand_over(row.shard)
            elif row.shard % self.workers == self.index:
                if not self._take(row.shard):
                    self.owners.want(row.shard)
            elif not row.free:
                self._free_since_s.pop(row.shard, None)
            elif now_s - self._free_since_s.setdefault(row.shard, now_s) > self.ownership_s:
                self._take(row.shard)

    def _take(self, shard: int) -> bool:
        held = self.owners.acquire(shard)
        if held is None:
            return False
        try:
            self.runs[shard] = self._open(held)
        except OwnershipLost:
            return False
        self._free_since_s.pop(shard, None)
        log.info("shard_taken", shard=shard, epoch=held.ownership.epoch, position=self.runs[shard].position)
        return True

    def _open(self, held: Held) -> ShardRun:
        shard, positions = held.ownership.shard, held.positions
        state, position = self.snapshots.restore(shard, self.owners.snapshots(shard), self.limits)
        check_span(self.stream, shard, applied=positions.applied, snapshot=position)
        archived = self.archive.open_shard(held.ownership, positions.archived)
        self.stores["postgres"].open_shard(held.ownership)
        self.fast.open_shard(held.ownership)
        inflight = Inflight(self.inflight_folder / f"shard-{shard}")
        suspects = inflight.held()
        return ShardRun(
            shard=shard,
            epoch=held.ownership.epoch,
            process_=ShardProcess(state, self.decode),
            position=position,
            applied_at_start=positions.applied,
            archived_at_start=archived,
            inflight=inflight,
            deaths=self._deaths(held.ownership),
            skips=self.owners.skips(shard),
            suspects=(suspects.first, suspects.last),
            snapshot_due_s=self.clock.monotonic_s() + self.snapshots_stagger_s(shard),
        )

    def snapshots_stagger_s(self, shard: int) -> float:
        """Shards take their snapshots at different moments."""
        return self.snapshots.interval_s * (0.3 + 0.7 * (shard * 0.618 % 1))

    def _deaths(self, ownership: Ownership) -> Deaths:
        return Deaths(
            count=self.owners.count_death,
            skip=lambda _shard, position: self.owners.skip(ownership, position),
            survived=self.owners.forget_deaths,
        )

    # --- letting go -------------------------------------------------------------------------------

    def _drop(self, shard: int) -> None:
        run = self.runs.pop(shard, None)
        if run is None:
            return
        for store in self.stores.values():
            store.close_shard(shard)
        self.fast.close_shard(shard)
        self.snapshots.forget(shard)
        run.inflight.close()
        log.info("shard_dropped", shard=shard, epoch=run.epoch)

    def _hand_over(self, shard: int) -> None:
        """Another worker is back and asks for its shard."""
        run = self.runs[shard]
        self.stores["postgres"].drain(DRAIN_S)
        self._drop(shard)
        self.owners.release(Ownership(shard, run.epoch))

    def close(self) -> None:
        """A clean end: stores drained, a snapshot of each shard listed, shards released. Bounded."""
        for run in self.runs.values():
            if run.position > 0 and run.candidate is None:
                self.snapshots.take(run)
            if run.candidate is not None:
                self.archive.close_at(run.shard, run.candidate.position)
        for store in self.stores.values():
            store.drain(DRAIN_S)
        self._await_archive()
        self._keep_snapshots()
        self.snapshots.settle(DRAIN_S)
        self._stop.set()
        for shard in list(self.runs):
            self._release_quietly(shard)

    def _await_archive(self) -> None:
        """Until every asked-for segment is listed; the archive thread works on it."""
        until_s = self.clock.monotonic_s() + DRAIN_S
        while self.clock.monotonic_s() < until_s:
            waiting = [
                run
                for run in self.runs.values()
                if run.candidate is not None and self.archive.position(run.shard) < run.candidate.position
            ]
            if not waiting:
                return
            self.clock.sleep(0.05)

    def _release_quietly(self, shard: int) -> None:
        epoch = self.runs[shard].epoch
        self._drop(shard)
        try:
            self.owners.release(Ownership(shard, epoch))
        except Unavailable as error:
            log.warning("release_failed", shard=shard, error=str(error))

    # --- upkeep -----------------------------------------------------------------------------------

    def _keep_snapshots(self) -> None:
        for run in self.runs.values():
            if run.shard in self._lost:
                continue
            archived = self.archive.position(run.shard)
            applied = self.stores["postgres"].written.get(run.shard, run.applied_at_start)
            run.forget_archived(archived)
            if self.snapshots.is_due(run) and run.position > max(run.applied_at_start, run.archived_at_start):
                self.snapshots.take(run)
                self.archive.close_at(run.shard, run.position)
            self.snapshots.list_if_ready(run, applied=applied, archived=archived)

    def _renew(self) -> None:
        while not self._stop.wait(self.ownership_s / 3):
            held = [Ownership(run.shard, run.epoch) for run in list(self.runs.values())]
            try:
                for lost in self.renewing.renew(held):
                    self.lose(lost.shard)
            except Unavailable as error:
                log.warning("leases_not_prolonged", error=str(error))


def check_span(stream: Stream, shard: int, *, applied: int, snapshot: int) -> None:
    """Law 14: a stream that ends before *applied* or begins after the snapshot belongs to another history."""
    span = stream.span(shard)
    if span.newest < applied:
        raise DataFolderError(
            f"shard {shard}: the stream ends at {span.newest}, but PostgreSQL has applied up to {applied}: "
            "the stream's files are older than the database. Put the right files back, or `millrace reset`"
        )
    if span.first > snapshot if snapshot else span.trimmed:
        raise DataFolderError(
            f"shard {shard}: the stream begins at {span.first}, after the snapshot at {snapshot}: records are missing. "
            "Put the right files back, or `millrace reset`"
        )


