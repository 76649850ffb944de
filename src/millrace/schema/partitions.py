"""Time partitions: made before they are needed, dropped when no store owes them any more.

A partition is made as a table of its own and then attached: ATTACH takes SHARE UPDATE EXCLUSIVE on the
parent, which
no reader or writer waits for; `CREATE TABLE … PARTITION OF` would take ACCESS EXCLUSIVE and stop all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg import sql

from millrace import names
from millrace.clock import DAY_US, HOUR_US

WIDTH_US: Final = {
    names.TABLE_READING: HOUR_US,
    names.TABLE_ROLLUP_1S: HOUR_US,
    names.TABLE_ROLLUP_1M: DAY_US,
    names.TABLE_ROLLUP_1H: 28 * DAY_US,
}
"""Width of a partition by table; starts are multiples of it since 1970."""

VACUUMED_OFTEN: Final = frozenset({names.TABLE_ROLLUP_1M, names.TABLE_ROLLUP_1H})
"""Tables whose key alone answers a history. It does so for vacuumed pages only, and a partition that nothing is written
to any more is never vacuumed again: little may be left over."""

AHEAD: Final = 2
"""Partitions kept ready beyond the current one."""

COLUMN: Final = {table: "ts_us" if table == names.TABLE_READING else "window_us" for table in WIDTH_US}

Partition = tuple[str, int]  # (table, start_us)


def start_of(table: str, ts_us: int) -> int:
    """Start of the partition that holds that time."""
    return ts_us - ts_us % WIDTH_US[table]


def name_of(table: str, start_us: int) -> str:
    """`reading_2026010508`: the table and the UTC hour at which the partition starts."""
    return f"{table}_{datetime.fromtimestamp(start_us // 1_000_000, UTC):%Y%m%d%H}"


def start_in(name: str) -> int:
    """The start that a partition's name tells."""
    stamp = datetime.strptime(name.rsplit("_", 1)[1], "%Y%m%d%H").replace(tzinfo=UTC)
    return int(stamp.timestamp()) * 1_000_000


def around(now_us: int) -> set[Partition]:
    """The current partition of each table and the next ones."""
    return {
        (table, start_of(table, now_us) + step * width)
        for table, width in WIDTH_US.items()
        for step in range(AHEAD + 1)
    }


def existing(connection: psycopg.Connection[Any]) -> set[Partition]:
    """The partitions that are attached now."""
    rows = connection.execute(
        "SELECT p.relname, c.relname FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent "
        "JOIN pg_class c ON c.oid = i.inhrelid WHERE p.relname = ANY(%s) AND p.relkind = 'p' "
        "AND NOT i.inhdetachpending",
        [list(WIDTH_US)],
    ).fetchall()
    return {(table, start_in(name)) for table, name in rows}


def ensure(connection: psycopg.Connection[Any], wanted: Iterable[Partition]) -> set[Partition]:
    """Make what is missing of them, in a transaction of its own; what exists afterwards.

    An empty partition harms nobody, so it need not be part of the transaction that fills it; nobody
    waits for a long transaction to end that way.
    """
    missing = set(wanted) - existing(connection)
    for table in sorted({table for table, _ in missing}):
        with connection.transaction():
            # Serialises makers of this table's partitions: readers and writers do not notice.
            connection.execute(
                sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(sql.Identifier(table))
            )
            there = existing(connection)
            for partition in sorted(missing - there):
                if partition[0] == table:
                    _make(connection, *partition)
    return existing(connection)


def _make(connection: psycopg.Connection[Any], table: str, start_us: int) -> None:
    parts = {
        "parent": sql.Identifier(table),
        "child": sql.Identifier(name_of(table, start_us)),
        "from_us": sql.Literal(start_us),
        "to_us": sql.Literal(start_us + WIDTH_US[table]),
    }
    # A leftover that was detached and not yet dropped has the name but is no partition.
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {child}").format(**parts))
    connection.execute(sql.SQL("CREATE TABLE {child} (LIKE {parent} INCLUDING ALL)").format(**parts))
    if table in VACUUMED_OFTEN:
        connection.execute(
            sql.SQL(
                "ALTER TABLE {child} SET (autovacuum_vacuum_insert_scale_factor = 0.02, "
                "autovacuum_vacuum_insert_threshold = 20000)"
            ).format(**parts)
        )
    connection.execute(
        sql.SQL(
            "ALTER TABLE {parent} ATTACH PARTITION {child} FOR VALUES FROM ({from_us}) TO ({to_us})"
        ).format(**parts)
    )


def drop(connection: psycopg.Connection[Any], partition: Partition) -> None:
    """Take a partition away without stopping readers; needs autocommit.

    Detached concurrently first: queries under way finish, new ones do not see it. A drop that was cut
    short in the middle is finished by the next call.
    """
    parts = {"parent": sql.Identifier(partition[0]), "child": sql.Identifier(name_of(*partition))}
    pending = connection.execute(
        "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass(%s)", [name_of(*partition)]
    ).fetchone()
    if pending is not None:
        mode = sql.SQL("FINALIZE" if pending[0] else "CONCURRENTLY")
        connection.execute(
            sql.SQL("ALTER TABLE {parent} DETACH PARTITION {child} {mode}").format(**parts, mode=mode)
        )
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {child}").format(**parts))
