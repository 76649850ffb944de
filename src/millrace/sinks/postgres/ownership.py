"""Who owns a shard: one row each, an epoch that rises with every change of owner, a lease on the
server's clock.

A lease only decides when another may take over. What protects the data is the epoch: every transaction that
writes for a shard compares it, so an owner that was stopped past its lease and wakes up writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from millrace.errors import DataFolderError, OwnershipLost
from millrace.settings import Settings
from millrace.sinks.contract import Ownership
from millrace.sinks.postgres.connection import Connection, Cursor, application_name

ACQUIRE: Final = """
UPDATE shard s SET owner = %(owner)s, epoch = s.epoch + 1, wanted_by = '',
    lease_until = clock_timestamp() + %(lease_s)s * interval '1 second'
FROM (SELECT shard, owner FROM shard WHERE shard = %(shard)s FOR UPDATE) b
WHERE s.shard = b.shard AND (b.owner IN ('', %(owner)s) OR s.lease_until < clock_timestamp())
RETURNING s.epoch, s.applied, s.archived, s.snapshot, s.model_number, s.mark, s.time_us, b.owner
"""
RENEW: Final = """
UPDATE shard s SET lease_until = clock_timestamp() + %(lease_s)s * interval '1 second'
FROM unnest(%(shards)s::int[], %(epochs)s::bigint[]) AS h (shard, epoch)
WHERE s.shard = h.shard AND s.epoch = h.epoch AND s.owner = %(owner)s RETURNING s.shard
"""
POSITIONS: Final = """
SELECT shard, owner, epoch, applied, archived, snapshot, model_number, mark, time_us, wanted_by,
    lease_until < clock_timestamp() FROM shard ORDER BY shard
"""
SNAPSHOTS_KEPT: Final = 2


@dataclass(frozen=True, slots=True)
class Positions:
    """The three positions of a shard, and what was applied with them."""

    applied: int
    archived: int
    snapshot: int
    model_number: int = 0
    mark: int = 0
    time_us: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """A shard that was acquired, with its positions as they stood in that statement."""

    ownership: Ownership
    positions: Positions


@dataclass(frozen=True, slots=True)
class ShardRow:
    """What everybody may know of a shard. `free`: nobody owns it, or its lease has run out."""

    shard: int
    owner: str
    epoch: int
    positions: Positions
    wanted_by: str
    free: bool


def guard(cursor: Cursor, shard: int, epoch: int) -> None:
    """Lock the shard's row for this transaction; OwnershipLost when the epoch has moved on."""
    row = cursor.execute("SELECT epoch FROM shard WHERE shard = %s FOR UPDATE", [shard]).fetchone()
    if row is None or row[0] != epoch:
        raise OwnershipLost(shard, epoch)


class Owners:
    """Shards as one worker sees them; `owner` names it and is never shared by two processes alive.

    Every call may raise StoreUnavailable. Not thread-safe.
    """

    def __init__(self, url: str, owner: str, settings: Settings) -> None:
        self._connection = Connection(url, owner=owner, idle_s=settings.ownership_s)
        self._owner = owner
        self._lease_s = settings.ownership_s

    def close(self) -> None:
        self._connection.close()

    # --- the data folder's identity (law 14) -----------------------------------------------------

    def identity(self) -> str | None:
        """Id and generation that this database belongs to; None for a new one."""
        with self._connection.transaction() as cursor:
            row = cursor.execute("SELECT identity FROM data_folder").fetchone()
        return None if row is None else str(row[0])

    def prepare(self, identity: str, shard_count: int) -> None:
        """Claim a new database for a data folder and make its shard rows; DataFolderError when it is
        another's."""
        with self._connection.transaction() as cursor:
            cursor.execute(
                "INSERT INTO data_folder (identity, shards) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [identity, shard_count],
            )
            row = cursor.execute("SELECT identity, shards FROM data_folder").fetchone()
            if row != (identity, shard_count):
                found = f"{row[0]} with {row[1]} shards" if row else "nothing"
                raise DataFolderError(
                    f"PostgreSQL belongs to data folder {found}, wanted {identity} with "
                    f"{shard_count} shards: "
                    "name the database that belongs to this folder, or start with an empty folder and "
                    "database"
                )
            cursor.execute(
                "INSERT INTO shard (shard) SELECT generate_series(0, %s - 1) ON CONFLICT DO NOTHING",
                [shard_count],
            )

    # --- ownership ---------------------------------------------------------------------------------

    def acquire(self, shard: int) -> Held | None:
        """Take a shard that is free, released or already ours, under a new epoch; None when another holds it.

        The sessions of an owner whose lease ran out are ended: stopped in mid-transaction it may hold locks.
        """
        parameters = {"owner": self._owner, "lease_s": self._lease_s, "shard": shard}
        with self._connection.transaction() as cursor:
            row = cursor.execute(ACQUIRE, parameters).fetchone()
        if row is None:
            return None
        epoch, applied, archived, snapshot, model_number, mark, time_us, before = row
        if before not in ("", self._owner):
            self._end_sessions(before)
        positions = Positions(int(applied), int(archived), int(snapshot), model_number, mark, time_us)
        return Held(Ownership(shard, epoch), positions)

    def renew(self, ownerships: Iterable[Ownership]) -> list[Ownership]:
        """Prolong leases; those that are lost."""
        held = list(ownerships)
        parameters = {
            "owner": self._owner,
            "lease_s": self._lease_s,
            "shards": [ownership.shard for ownership in held],
            "epochs": [ownership.epoch for ownership in held],
        }
        with self._connection.transaction() as cursor:
            kept = {row[0] for row in cursor.execute(RENEW, parameters).fetchall()}
        return [ownership for ownership in held if ownership.shard not in kept]

    def release(self, ownership: Ownership) -> None:
        """Let a shard go, so that another may take it at once; nothing happens when it is lost already."""
        with self._connection.transaction() as cursor:
            cursor.execute(
                "UPDATE shard SET owner = '', lease_until = '-infinity' WHERE shard = %s AND epoch = %s",
                [ownership.shard, ownership.epoch],
            )

    def shards(self) -> list[ShardRow]:
        """All shards, in order."""
        with self._connection.transaction() as cursor:
            found = cursor.execute(POSITIONS).fetchall()
        return [
            ShardRow(
                shard, owner, epoch,
                Positions(int(applied), int(archived), int(snapshot), model_number, mark, time_us),
                wanted_by, free=not owner or expired,
            )
            for shard, owner, epoch, applied, archived, snapshot, model_number, mark, time_us, wanted_by,
            expired
            in found
        ]  # fmt: skip

    def want(self, shard: int) -> None:
        """Ask the present owner to hand a shard over; it sees the wish in `shards()` and releases when
        it can."""
        with self._connection.transaction() as cursor:
            cursor.execute(
                "UPDATE shard SET wanted_by = %s WHERE shard = %s AND owner <> %s",
                [self._owner, shard, self._owner],
            )

    def _end_sessions(self, owner: str) -> None:
        with self._connection.transaction() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s "
                "AND usename = current_user AND datname = current_database() AND pid <> pg_backend_pid()",
                [application_name(owner)],
            )

    # --- snapshots -----------------------------------------------------------------------------------

    def list_snapshot(
        self, ownership: Ownership, position: int, file: str, *, sha256: str = "", size_bytes: int = 0
    ) -> list[str] | None:
        """List a snapshot once applied and archived have reached it, and keep the newest two.

        Returns the files that are off the list now and may be deleted; None: too early, nothing changed.
        The shard's `snapshot` becomes the older of two kept: the stream may be trimmed to it.
        """
        shard, epoch = ownership.shard, ownership.epoch
        with self._connection.transaction() as cursor:
            row = cursor.execute(
                "SELECT epoch, least(applied, archived) FROM shard WHERE shard = %s FOR UPDATE", [shard]
            ).fetchone()
            if row is None or row[0] != epoch:
                raise OwnershipLost(shard, epoch)
            if int(row[1]) < position:
                return None
            cursor.execute(
                "INSERT INTO snapshot (shard, position, epoch, file, sha256, bytes) "
                "VALUES (%s, %s, %s, %s, %s, %s) "
                "ON CONFLICT (shard, position) DO UPDATE SET epoch = excluded.epoch, file = excluded.file, "
                "sha256 = excluded.sha256, bytes = excluded.bytes",
                [shard, position, epoch, file, sha256, size_bytes],
            )
            gone = cursor.execute(
                "DELETE FROM snapshot WHERE shard = %s AND position NOT IN (SELECT position FROM snapshot "
                "WHERE shard = %s ORDER BY position DESC LIMIT %s) RETURNING file",
                [shard, shard, SNAPSHOTS_KEPT],
            ).fetchall()
            cursor.execute(
                "UPDATE shard SET snapshot = (SELECT CASE WHEN count(*) >= %s THEN min(position) ELSE 0 END "
                "FROM snapshot WHERE shard = %s) WHERE shard = %s",
                [SNAPSHOTS_KEPT, shard, shard],
            )
        return [file for (file,) in gone]

    def snapshots(self, shard: int) -> list[tuple[int, str]]:
        """(position, file) of the listed snapshots, newest first."""
        with self._connection.transaction() as cursor:
            rows = cursor.execute(
                "SELECT position, file FROM snapshot WHERE shard = %s ORDER BY position DESC", [shard]
            ).fetchall()
        return [(int(position), file) for position, file in rows]

    # --- records that kill their worker (law 12) -----------------------------------------------------

    def skips(self, shard: int) -> set[int]:
        """Positions whose records are rejected whole; read before any replay."""
        with self._connection.transaction() as cursor:
            rows = cursor.execute("SELECT position FROM skip WHERE shard = %s", [shard]).fetchall()
        return {int(position) for (position,) in rows}

    def skip(self, ownership: Ownership, position: int, reason: str = "processing_failed") -> None:
        """Give a record up for good."""
        with self._connection.transaction() as cursor:
            guard(cursor, ownership.shard, ownership.epoch)
            cursor.execute(
                "INSERT INTO skip (shard, position, reason) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                [ownership.shard, position, reason],
            )

    def count_death(self, shard: int, position: int) -> int:
        """One more death inside this lone record; how many there were."""
        with self._connection.transaction() as cursor:
            row = cursor.execute(
                "INSERT INTO death AS d (shard, position, deaths) VALUES (%s, %s, 1) "
                "ON CONFLICT (shard, position) DO UPDATE SET deaths = d.deaths + 1, last_at = now() "
                "RETURNING deaths",
                [shard, position],
            ).fetchone()
        return int(row[0]) if row else 0

    def forget_deaths(self, shard: int, up_to: int) -> None:
        """Records up to there were processed after all."""
        with self._connection.transaction() as cursor:
            cursor.execute("DELETE FROM death WHERE shard = %s AND position <= %s", [shard, up_to])
