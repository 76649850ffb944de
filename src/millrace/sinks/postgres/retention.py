"""What PostgreSQL does not owe any more, dropped partition by partition.

A partition goes only when every shard's floor is past its end. The sink writes that floor with each batch: it
is the older of edge time and the shard's own newest applied time, less the retention. So a shard that is
hours behind keeps the partitions that its backlog still needs, and a wall clock set forward deletes nothing.
"""

from __future__ import annotations

from typing import Final

from millrace import names
from millrace.clock import DAY_US, Clock
from millrace.schema import partitions
from millrace.settings import Settings
from millrace.sinks.postgres.connection import Connection

REJECTS_KEPT_DAYS: Final = 30  # rows only: all rejects are in the archive's quarantine files

FLOORS: Final = """
SELECT min(reading_floor_us), min(rollup_1s_floor_us), min(rollup_1m_floor_us), min(time_us) FROM shard
"""


class Retention:
    """Run `sweep` every few minutes, by one process or several: they do not disturb each other."""

    def __init__(self, url: str, clock: Clock, settings: Settings) -> None:
        self._connection = Connection(url, owner="retention", idle_s=settings.ownership_s)
        self._clock = clock

    def sweep(self) -> list[str]:
        """Make the next partitions, drop what nobody owes; the names of what was dropped."""
        with self._connection.session() as session:
            row = session.execute(FLOORS).fetchone()
            if row is None or row[0] is None:
                return []
            *floors, time_us = row
            there = partitions.ensure(session, partitions.around(self._clock.now_us()))
            owed_from = dict(
                zip((names.TABLE_READING, names.TABLE_ROLLUP_1S, names.TABLE_ROLLUP_1M), floors, strict=True)
            )
            gone = sorted(p for p in there if p[1] + partitions.WIDTH_US[p[0]] <= owed_from.get(p[0], 0))
            for partition in gone:
                partitions.drop(session, partition)
            oldest_us = min(self._clock.now_us(), time_us) - REJECTS_KEPT_DAYS * DAY_US
            session.execute("DELETE FROM reject WHERE received_ts_us < %s", [oldest_us])
        return [partitions.name_of(*partition) for partition in gone]

    def close(self) -> None:
        self._connection.close()
