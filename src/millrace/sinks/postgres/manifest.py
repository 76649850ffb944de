"""The archive's manifest in PostgreSQL: `sinks.manifest.Manifest`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from millrace.schema.hour_counts import HourCount
from millrace.schema.text import storable
from millrace.settings import Settings
from millrace.sinks.manifest import LISTED, RETIRED, Segment
from millrace.sinks.postgres.connection import Connection
from millrace.sinks.postgres.ownership import guard

INSERT: Final = """
INSERT INTO segment (file, kind, shard, epoch, first_position, last_position, rows, min_ts_us,
max_ts_us, bytes,
    sha256, counts, state) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT
    (file) DO NOTHING
"""
COLUMNS: Final = """file, shard, epoch, first_position, last_position, rows, min_ts_us, max_ts_us, bytes,
    sha256, kind,
    counts"""


class PostgresManifest:
    """Not thread-safe: the archive's thread has its own."""

    def __init__(self, url: str, settings: Settings, *, owner: str = "") -> None:
        self._connection = Connection(url, owner=owner, idle_s=settings.ownership_s)

    def close(self) -> None:
        self._connection.close()

    def list_segment(self, shard: int, epoch: int, archived: int, segments: Sequence[Segment]) -> None:
        with self._connection.transaction() as cursor:
            guard(cursor, shard, epoch)
            if segments:
                cursor.executemany(INSERT, [_row(segment) for segment in segments])
            cursor.execute(
                "UPDATE shard SET archived = greatest(archived, %s) WHERE shard = %s", [archived, shard]
            )

    def replace_segments(self, shard: int, epoch: int, new: Segment, retired: Sequence[str]) -> None:
        with self._connection.transaction() as cursor:
            guard(cursor, shard, epoch)
            cursor.execute(INSERT, _row(new))
            cursor.execute(
                "UPDATE segment SET state = %s, retired_at = now() WHERE file = ANY(%s) AND shard = %s "
                "AND retired_at IS NULL",
                [RETIRED, list(retired), shard],
            )

    def files(self, shard: int) -> list[Segment]:
        with self._connection.transaction() as cursor:
            rows = cursor.execute(
                f"SELECT {COLUMNS} FROM segment WHERE shard = %s ORDER BY first_position, file".encode(),  # nosec B608
                [shard],
            ).fetchall()
        return [segment_of(row) for row in rows]

    def retired_before(self, shard: int, age_s: float) -> list[str]:
        with self._connection.transaction() as cursor:
            rows = cursor.execute(
                "SELECT file FROM segment WHERE shard = %s AND retired_at < now() - %s * interval '1 second'",
                [shard, age_s],
            ).fetchall()
        return [file for (file,) in rows]

    def forget(self, shard: int, epoch: int, files: Sequence[str]) -> None:
        with self._connection.transaction() as cursor:
            guard(cursor, shard, epoch)
            cursor.execute(
                "DELETE FROM segment WHERE shard = %s AND state = %s AND file = ANY(%s)",
                [shard, RETIRED, list(files)],
            )


def segment_of(row: Sequence[Any]) -> Segment:
    """A Segment out of a row of COLUMNS."""
    *head, first, last, rows, low, high, size, sha256, kind, counts = row
    file, shard, epoch = head
    hours = tuple(HourCount(source, hour_us, count, total) for source, hour_us, count, total in counts)
    return Segment(file, shard, epoch, int(first), int(last), rows, low, high, size, sha256, kind, hours)


def _row(segment: Segment) -> tuple[object, ...]:
    counts = json.dumps([[storable(c.source), c.hour_us, c.count, c.hash] for c in segment.counts])
    return (
        segment.file, segment.kind, segment.shard, segment.epoch, segment.first_position,
        segment.last_position,
        segment.rows, segment.min_ts_us, segment.max_ts_us, segment.bytes, segment.sha256, counts, LISTED,
    )  # fmt: skip
