"""The operational store: everything of a batch and its position in one transaction, or nothing.

One transaction takes the outputs of all shards of a worker. It reads epoch and position of each shard first
(what is applied already is left out, which settles a commit of unknown outcome), writes the rows, and moves
the positions last, guarded by the epoch: a worker that lost a shard meanwhile writes nothing at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final

import numpy as np
import psycopg

from millrace import names, telemetry
from millrace.batch import I64, LEVEL_US, Output, Reason, TagInfo
from millrace.clock import DAY_US, HOUR_US, Clock
from millrace.errors import MillraceError, OwnershipLost, StoreUnavailable
from millrace.schema import partitions
from millrace.settings import Settings
from millrace.sinks.contract import Ownership, Written
from millrace.sinks.postgres import events, refused, rollups, rows, since_mark
from millrace.sinks.postgres.connection import Connection, Cursor
from millrace.sinks.postgres.directory import Directory
from millrace.sinks.postgres.rows import Floor, Part
from millrace.sinks.postgres.since_mark import Mark

log = telemetry.logger(__name__)

READ_SHARDS: Final = """
SELECT shard, epoch, applied, reading_floor_us, rollup_1s_floor_us, rollup_1m_floor_us, mark, mark_position,
    mark_time_us
FROM shard WHERE shard = ANY(%s)
"""
MOVE_SHARDS: Final = """
UPDATE shard s SET applied = n.applied, time_us = greatest(s.time_us, n.time_us),
    model_number = greatest(s.model_number, n.model_number), mark = n.mark, mark_position = n.mark_position,
    mark_time_us = n.mark_time_us, reading_floor_us = n.reading_floor_us,
    rollup_1s_floor_us = n.rollup_1s_floor_us, rollup_1m_floor_us = n.rollup_1m_floor_us,
    applied_at = clock_timestamp()
FROM unnest(%s::int[], %s::bigint[], %s::numeric[], %s::bigint[], %s::bigint[], %s::bigint[], %s::numeric[],
    %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
    AS n (shard, epoch, applied, time_us, model_number, mark, mark_position, mark_time_us, reading_floor_us,
          rollup_1s_floor_us, rollup_1m_floor_us)
WHERE s.shard = n.shard AND s.epoch = n.epoch AND s.applied < n.applied
RETURNING s.shard
"""


@dataclass(slots=True)
class Standing:
    """Where a shard stands before a transaction, and what it still owes."""

    applied: int
    floor: Floor
    mark: Mark


Shards = dict[int, Standing]


class PostgresSink:
    """The sink of `stream -> process -> PostgreSQL`. Not thread-safe: one thread writes.

    `owner` names this worker's sessions; `detectors` and `rules` are the names of DETECTORS and ALARMS
    in order.
    """

    name = "postgres"
    durable = True

    def __init__(
        self, url: str, clock: Clock, settings: Settings, *,
        owner: str = "", detectors: Sequence[str] = (), rules: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._connection = Connection(
            url,
            owner=owner,
            idle_s=settings.ownership_s,
            setup=(*rollups.STAGING, rows.STAGING, since_mark.STAGING),
        )
        self._clock = clock
        self._settings = settings
        self._detectors, self._rules = tuple(detectors), tuple(rules)
        self._quarantine = events.Quarantine(settings.rejects_kept_per_minute)
        self._rollups = rollups.RollupWriter()
        self._directories: dict[int, Directory] = {}
        self._epochs: dict[int, int] = {}
        self._partitions: set[partitions.Partition] = set()

    def open_shard(self, ownership: Ownership) -> int:
        """Begin to write for a shard; *applied*. OwnershipLost when the epoch is not the shard's newest."""
        shard, epoch = ownership.shard, ownership.epoch
        with self._connection.transaction() as cursor:
            row = cursor.execute("SELECT epoch, applied FROM shard WHERE shard = %s", [shard]).fetchone()
        if row is None or row[0] != epoch:
            raise OwnershipLost(shard, epoch)
        self._epochs[shard] = epoch
        self._directories[shard] = Directory(shard)
        self._rollups.forget()  # another owner may have written since
        return int(row[1])

    def learn(self, shard: int, tags: Iterable[TagInfo], sources: Mapping[int, str]) -> None:
        """Slots and sources that the shard's state knows already: call it after a snapshot was restored.

        Outputs announce a slot once, when it is first applied; those announcements lie before the snapshot.
        """
        self._directories[shard].learn(tags, sources)

    def write(self, outputs: Sequence[Output]) -> Written:
        """All outputs in one transaction. What is applied already changes nothing and is not counted.

        OwnershipLost names the shard, and nothing was written for any. When PostgreSQL is away the
        answer is `retry` with all of them.
        """
        if not outputs:
            return Written(0, 0)
        try:
            return self._write(outputs)
        except StoreUnavailable:
            telemetry.will_retry(self.name)
            return Written(0, 0, retry=tuple(outputs))

    def close_shard(self, shard: int) -> None:
        self._directories.pop(shard, None)
        self._epochs.pop(shard, None)

    def close(self) -> None:
        self._connection.close()

    def _write(self, outputs: Sequence[Output]) -> Written:
        try:
            with self._connection.session() as session:
                shards = self._read_shards(session, outputs)
                parts = self._parts(outputs, shards)
                if not parts:
                    return Written(0, 0)  # what they announced is still to be proposed
                self._make_partitions(session, parts)
                written = self._transact_what_is_taken(session, parts, shards)
        except (StoreUnavailable, psycopg.Error, OwnershipLost) as error:
            self._forget_proposed()
            if isinstance(error, psycopg.Error) and refused.is_outdated(error):
                self._partitions.clear()
                raise StoreUnavailable(f"PostgreSQL: {error}") from error
            raise
        self._keep_proposed()
        return written

    def _read_shards(self, session: psycopg.Connection[Any], outputs: Sequence[Output]) -> Shards:
        wanted = sorted({output.shard for output in outputs})
        found = {row[0]: row[1:] for row in session.execute(READ_SHARDS, [wanted]).fetchall()}
        for shard in wanted:
            if shard not in found or found[shard][0] != self._epochs.get(shard):
                raise OwnershipLost(shard, self._epochs.get(shard, 0))
        newest = {output.shard: output.time_us for output in outputs}
        return {
            shard: Standing(
                int(applied), self._floor(newest[shard], Floor(*row[:3])), Mark(row[3], int(row[4]), row[5])
            )
            for shard, (_, applied, *row) in found.items()
        }

    def _floor(self, time_us: int, before: Floor) -> Floor:
        """Nothing is past its retention before edge time *and* the shard's time are past it; it never
        falls back."""
        now_us = min(self._clock.now_us(), time_us)
        settings = self._settings

        def cut(table: str, retention_us: int) -> int:
            return partitions.start_of(table, max(0, now_us - retention_us))

        return Floor(
            max(before.reading_us, cut(names.TABLE_READING, settings.reading_retention_h * HOUR_US)),
            max(before.rollup_1s_us, cut(names.TABLE_ROLLUP_1S, settings.rollup_1s_retention_days * DAY_US)),
            max(before.rollup_1m_us, cut(names.TABLE_ROLLUP_1M, settings.rollup_1m_retention_days * DAY_US)),
        )

    def _parts(self, outputs: Sequence[Output], shards: Shards) -> list[Part]:
        """Outputs that are not applied yet. The directory moves with them: a tag's class counts as of
        its output."""
        parts = []
        for output in outputs:
            applied, floor = shards[output.shard].applied, shards[output.shard].floor
            directory = self._directories[output.shard]
            directory.learn(output.tags, output.sources)
            if output.position <= applied:
                continue
            if output.first_position <= applied:
                raise MillraceError(
                    f"shard {output.shard}: found an output from {output.first_position} to "
                    f"{output.position}, "
                    f"wanted one that begins after the applied position {applied}: cut the read there"
                )
            parts.append(rows.part_of(output, directory, floor))
        return parts

    def _make_partitions(self, session: psycopg.Connection[Any], parts: Sequence[Part]) -> None:
        wanted = partitions.around(self._clock.now_us()) | _partitions_of(parts)
        if not wanted <= self._partitions:
            self._partitions = partitions.ensure(session, wanted)

    def _transact_what_is_taken(
        self, session: psycopg.Connection[Any], parts: Sequence[Part], shards: Shards
    ) -> Written:
        """The transaction; where the server refuses rows, again without the readings that it refuses.

        Where no reading is the trouble, nothing can be put aside without a hole in the accounting: the write waits,
        loudly, and goes through once the table is mended.
        """
        try:
            return self._transact(session, parts, shards)
        except psycopg.Error as error:
            if not refused.is_refusal(error):
                raise
            kept = self._without_refused(session, parts)
        try:
            written = self._transact(session, kept, shards)
        except psycopg.Error as error:
            if not refused.is_refusal(error):
                raise
            log.error("store_refuses", error=str(error).strip(), sqlstate=error.sqlstate)
            raise StoreUnavailable(f"PostgreSQL refuses what is no reading: {error}") from error
        count = sum(_refused_of(part.output) for part in kept)
        telemetry.store_refused(count)
        log.error("readings_refused_by_store", count=count, see="GET /v1/rejects?reason=store_refused")
        return written

    def _without_refused(self, session: psycopg.Connection[Any], parts: Sequence[Part]) -> list[Part]:
        self._forget_proposed()
        try:
            with session.transaction(force_rollback=True), session.cursor() as cursor:
                for directory in self._directories.values():
                    directory.propose(cursor)
                return refused.without_refused(cursor, parts, self._directories)
        finally:
            self._forget_proposed()

    def _transact(self, session: psycopg.Connection[Any], parts: Sequence[Part], shards: Shards) -> Written:
        outputs = [part.output for part in parts]
        with session.transaction(), session.cursor() as cursor:
            for directory in self._directories.values():
                directory.propose(cursor)
            rows.copy_readings(cursor, parts, self._directories)
            self._rollups.write(cursor, parts, self._directories, self._clock.now_us())
            events.upsert_anomalies(cursor, outputs, self._directories, self._detectors)
            events.upsert_alarms(cursor, outputs, self._directories, self._rules)
            self._quarantine.write(cursor, outputs)
            rows.merge_ledger_of(cursor, outputs, self._directories)
            marks = since_mark.follow(cursor, parts, self._directories, {s: shards[s].mark for s in shards})
            self._move(cursor, outputs, shards, marks)
        accepted = sum(len(output.readings) - _refused_of(output) for output in outputs)
        return Written(accepted, sum(sum(output.reject_counts.values()) for output in outputs))

    def _move(
        self, cursor: Cursor, outputs: Sequence[Output], shards: Shards, marks: Mapping[int, Mark]
    ) -> None:
        """Last statement of the transaction: its row locks live only as long as the commit takes."""
        newest = {output.shard: output for output in outputs}
        columns = zip(
            *(
                (
                    shard, self._epochs[shard], output.position, output.time_us, output.model_number,
                    *astuple(marks[shard]), *astuple(shards[shard].floor),
                )
                for shard, output in sorted(newest.items())
            ),
            strict=True,
        )  # fmt: skip
        moved = {row[0] for row in cursor.execute(MOVE_SHARDS, [list(c) for c in columns]).fetchall()}
        lost = sorted(set(newest) - moved)
        if lost:
            raise OwnershipLost(lost[0], self._epochs[lost[0]])

    def _keep_proposed(self) -> None:
        self._quarantine.keep_proposed()
        self._rollups.keep_proposed()
        for directory in self._directories.values():
            directory.keep_proposed()

    def _forget_proposed(self) -> None:
        self._rollups.forget()
        for directory in self._directories.values():
            directory.forget_proposed()


def _refused_of(output: Output) -> int:
    return output.reject_counts.get(Reason.STORE_REFUSED, 0)


def _partitions_of(parts: Sequence[Part]) -> set[partitions.Partition]:
    wanted = _partitions_at(names.TABLE_READING, [part.critical["ts_us"] for part in parts if len(part.critical)])
    rolled_up = [part.rollups for part in parts if len(part.rollups)]
    for level, table in enumerate(rollups.ROLLUP_TABLE.values()):
        wanted |= _partitions_at(table, [rows["window_us"][rows["level"] == level] for rows in rolled_up])
    return wanted


def _partitions_at(table: str, times_us: Sequence[I64]) -> set[partitions.Partition]:
    if not times_us:
        return set()
    width_us = partitions.WIDTH_US[table]
    return {(table, int(start) * width_us) for start in np.unique(np.concatenate(times_us) // width_us)}


assert tuple(rollups.ROLLUP_TABLE) == tuple(range(len(LEVEL_US)))
