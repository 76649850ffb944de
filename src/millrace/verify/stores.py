"""PostgreSQL's tables counted up to the mark, in one repeatable-read snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import psycopg

from millrace import names
from millrace.accounting import hash_rows
from millrace.batch import I32, I64, U64, Reason
from millrace.clock import DAY_US
from millrace.schema import partitions
from millrace.schema.binary import HEADER, Layout, native
from millrace.verify import rollups
from millrace.verify.progress import Tell, nobody
from millrace.verify.report import Hole
from millrace.verify.tally import MASK, Key, Tally

OPTIONS: Final = (
    "-c statement_timeout=600s -c client_min_messages=warning -c application_name=millrace-verify"
)

FAST_DAYS: Final = 31
"""The fast pass compares hours that can still change: readings are accepted up to 30 days past."""
FAST_READINGS_HASHED: Final = 10_000_000
"""Raw readings that the fast pass hashes again, newest hours first; older hours are counted only."""

STAGES: Final = ("received", "duplicate", "rejected", "applied", "critical", "applied_1m", "applied_1s")
ROLLUPS: Final = (names.TABLE_ROLLUP_1H, names.TABLE_ROLLUP_1M, names.TABLE_ROLLUP_1S)

READING: Final = Layout(("ts_us", "i8"), ("value", "f8"), ("tag_id", "i4"), ("quality", "i2"))

# An amount is NULL where an older release, which did not count it, began the hour.
LEDGER: Final = """
SELECT s.name, hour_us, coalesce({amount}, 0), coalesce({amount}_hash, 0)
FROM ledger JOIN source s ON s.id = source_id WHERE hour_us >= %s
"""
OLDER: Final = """
SELECT s.name, hour_us FROM ledger JOIN source s ON s.id = source_id WHERE hour_us >= %s AND applied_1m IS NULL
"""
SINCE: Final = """
SELECT s.name, hour_us, {amount}, {amount}_hash FROM since_mark JOIN source s ON s.id = source_id WHERE
hour_us >= %s
"""
FLOORS: Final = """
SELECT s.name, max(reading_floor_us), max(rollup_1m_floor_us), max(rollup_1s_floor_us)
FROM (SELECT DISTINCT shard, source_id FROM ledger) l JOIN source s ON s.id = l.source_id JOIN shard USING (shard)
GROUP BY 1
"""
STORE_REFUSED: Final = Reason.STORE_REFUSED.name.lower()
"""Readings that PostgreSQL refused are applied, in archive and rollups: for the ledger they are no rejects."""
# By shard over all time: `reject_count` is kept by the hour in which a reject was applied, the ledger by its own.
REJECT_COUNTS: Final = """
SELECT shard, coalesce(l.rejected, 0) - coalesce(m.rejected, 0), coalesce(c.count, 0) - coalesce(m.count, 0)
FROM shard
LEFT JOIN (SELECT shard, sum(rejected) AS rejected FROM ledger GROUP BY 1) l USING (shard)
LEFT JOIN (SELECT shard, sum(count) AS count FROM reject_count WHERE reason <> %(applied)s GROUP BY 1) c USING (shard)
LEFT JOIN (SELECT shard, sum(rejected) AS rejected, sum(reject_count) AS count FROM since_mark GROUP BY 1) m
    USING (shard)
ORDER BY 1
"""


@dataclass(slots=True)
class Counted:
    """What PostgreSQL holds up to the mark.

    `rollups` by table. `floors`: by table and source, the hour from which the table owes; it owes all where there is
    none. `unhashed`: hours of `reading` that were counted and not hashed. `older`: hours that a release began whose
    ledger did not say what each resolution owes, nor where rejects count.
    """

    from_us: int
    ledger: dict[str, Tally]
    rollups: dict[str, rollups.Rollups]
    reading: Tally
    floors: dict[str, dict[str, int]]
    unhashed: set[int] = field(default_factory=set)
    older: set[Key] = field(default_factory=set)
    holes: list[Hole] = field(default_factory=list)


@contextmanager
def snapshot(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """One view of all tables; retention waits with dropping partitions until it ends."""
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    with connection.transaction():
        connection.execute("LOCK TABLE reading, rollup_1s, rollup_1m, rollup_1h IN ACCESS SHARE MODE")
        yield


def count(
    connection: psycopg.Connection[Any], at: Mapping[int, int], *, full: bool, tell: Tell = nobody
) -> Counted:
    """Count all tables. `at` are the marks' positions: what came after is subtracted (see
    sinks/postgres/since_mark)."""
    del at  # the caller has checked that `since_mark` begins there
    newest = connection.execute("SELECT coalesce(max(time_us), 0) FROM shard").fetchone()
    from_us = 0 if full or newest is None else max(0, int(newest[0]) - FAST_DAYS * DAY_US)
    from_us -= from_us % partitions.WIDTH_US["reading"]

    def tally(statement: str) -> Tally:
        return Tally().add_all(connection.execute(statement.encode(), [from_us]).fetchall())

    since = {amount: tally(SINCE.format(amount=amount)) for amount in (*STAGES, *ROLLUPS, "reading")}
    ledger = {amount: tally(LEDGER.format(amount=amount)).without(since[amount]) for amount in STAGES}
    counted = Counted(from_us, ledger, {}, Tally(), _floors(connection))
    counted.older.update(connection.execute(OLDER, [from_us]).fetchall())
    counted.holes.extend(_reject_counts(connection))
    for table in ROLLUPS:
        found = rollups.count(connection, table, from_us, full=full, tell=tell)
        found.rows = found.rows.without(since[table])
        counted.rollups[table] = found
    _count_readings(connection, counted, since["reading"], full=full, tell=tell)
    return counted


def _floors(connection: psycopg.Connection[Any]) -> dict[str, dict[str, int]]:
    tables = (names.TABLE_READING, names.TABLE_ROLLUP_1M, names.TABLE_ROLLUP_1S)
    rows = connection.execute(FLOORS).fetchall()
    return {table: {row[0]: row[place] for row in rows} for place, table in enumerate(tables, 1)}


def _reject_counts(connection: psycopg.Connection[Any]) -> Iterator[Hole]:
    for shard, wanted, found in connection.execute(REJECT_COUNTS, {"applied": STORE_REFUSED}).fetchall():
        if wanted != found:
            yield Hole("reject_count", f"shard {shard}", 0, int(wanted), int(found))


def _count_readings(
    connection: psycopg.Connection[Any], counted: Counted, since: Tally, *, full: bool, tell: Tell
) -> None:
    tags = _Tags(connection)
    hashed = 0
    counts = Tally()
    starts = sorted((start for table, start in partitions.existing(connection) if table == "reading"), reverse=True)
    for done, start_us in enumerate(starts):
        tell("reading", done, len(starts))
        name = partitions.name_of(names.TABLE_READING, start_us)
        if full or hashed < FAST_READINGS_HASHED:
            hashed += _hash_partition(connection, name, start_us, tags, counts)
        else:
            counted.unhashed.add(start_us)
            rows = connection.execute(f"SELECT tag_id, count(*) FROM {name} GROUP BY 1".encode()).fetchall()  # nosec B608
            counts.add_all((tags.source_of(tag_id), start_us, count, 0) for tag_id, count in rows)
    tell("reading", len(starts), len(starts))
    counted.reading = counts.without(since)


def _hash_partition(
    connection: psycopg.Connection[Any], name: str, hour_us: int, tags: _Tags, into: Tally
) -> int:
    """Read a partition's rows, hash each from what is stored, add them up by source."""
    count = 0
    statement = f"COPY (SELECT {READING.columns} FROM {name}) TO STDOUT (FORMAT binary)"  # nosec B608
    with connection.cursor().copy(statement.encode()) as copy:
        for rows in _blocks(copy):
            tag_id = native(rows["tag_id"])
            hashes = hash_rows(
                tags.hashes,
                tag_id,
                native(rows["ts_us"]),
                native(rows["value"]),
                rows["quality"].astype(np.uint8),
            )
            _add_by_source(tags, tag_id, hashes, hour_us, into)
            count += len(rows)
    return count


def _blocks(copy: psycopg.Copy, rows_max: int = 200_000) -> Iterator[Any]:
    """Rows of a COPY, a bounded number at a time: the server sends one message a row."""
    held, prefix = bytearray(), len(HEADER)
    for message in copy:
        held += message
        if len(held) - prefix >= rows_max * READING.dtype.itemsize:
            yield np.frombuffer(bytes(held), READING.dtype, offset=prefix)
            held, prefix = bytearray(), 0
    yield np.frombuffer(bytes(held[: len(held) - 2]), READING.dtype, offset=prefix)


def _add_by_source(tags: _Tags, tag_id: I32, hashes: U64, hour_us: int, into: Tally) -> None:
    source = tags.source_number[tag_id]
    counts: I64 = np.bincount(source, minlength=len(tags.sources))
    sums = np.zeros(len(tags.sources), np.uint64)
    np.add.at(sums, source, hashes)
    for number in np.flatnonzero(counts).tolist():
        into.add(tags.sources[number], hour_us, int(counts[number]), int(sums[number]) & MASK)


class _Tags:
    """Tag ids -> hash and source; the source of an id that no tag has is `(no tag)`."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        rows = connection.execute("SELECT id, source, tag_hash FROM tag").fetchall()
        top = max((row[0] for row in rows), default=0) + 1
        self.sources: list[str] = ["(no tag)", *sorted({row[1] for row in rows})]
        numbers = {name: number for number, name in enumerate(self.sources)}
        self.hashes: U64 = np.zeros(top, np.uint64)
        self.source_number: I32 = np.zeros(top, np.int32)
        for tag_id, source, tag_hash in rows:
            self.hashes[tag_id] = tag_hash & MASK
            self.source_number[tag_id] = numbers[source]

    def source_of(self, tag_id: int) -> str:
        known = 0 <= tag_id < len(self.source_number)
        return self.sources[int(self.source_number[tag_id])] if known else self.sources[0]
