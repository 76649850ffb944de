"""The rollups recounted: what each table's rows add up to, by (source, hour).

A day of 10,000 tags is 14.4 million rows of a minute, an hour of them up to 36 million of a second. So the fast pass
recounts whole partitions, newest first, until it has seen ROWS_FAST rows; of older ones it sees only that they are
there and not empty. `full` recounts all, and lets the values of each table be told against the next coarser one's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from millrace import names
from millrace.clock import HOUR_US, MINUTE_US
from millrace.schema import partitions
from millrace.verify.progress import Tell
from millrace.verify.report import Hole
from millrace.verify.tally import Tally

ROWS_FAST: Final = 10_000_000
"""Rows of a table that the fast pass recounts; the newest partition always, and `rollup_1h` whole: it is small."""

RECOUNT: Final = """
SELECT coalesce(t.source, '(no tag)'), hour_us, sum(readings), sum(hash), sum(windows)::bigint FROM (
    SELECT tag_id, window_us - window_us %% 3600000000 AS hour_us, sum(count) AS readings, sum(hash) AS hash,
        count(*) AS windows
    FROM {partition} WHERE window_us >= %s GROUP BY 1, 2
) w LEFT JOIN tag t ON t.id = w.tag_id GROUP BY 1, 2
"""
IS_FILLED: Final = "SELECT EXISTS (SELECT FROM {partition})"

COARSER: Final = {
    names.TABLE_ROLLUP_1M: (names.TABLE_ROLLUP_1H, HOUR_US),
    names.TABLE_ROLLUP_1S: (names.TABLE_ROLLUP_1M, MINUTE_US),
}
# Windows of the same readings (count and hash sum are equal) must say the same of their values. While a window is
# open, or where the model gave or took a resolution inside it, the readings differ and nothing is said.
DISAGREE: Final = """
SELECT t.source, c.window_us - c.window_us %% 3600000000 AS hour_us, count(*), min(t.path) FROM (
    SELECT tag_id, window_us - window_us %% {width_us} AS window_us, sum(count) AS count, sum(hash) AS hash,
        min(min) AS min, max(max) AS max, sum(sum) AS sum, min(first_us) AS first_us, max(last_us) AS last_us
    FROM {partition} WHERE window_us >= %s GROUP BY 1, 2
) f JOIN {coarser} c USING (tag_id, window_us) JOIN tag t ON t.id = c.tag_id
WHERE c.window_us >= %s AND c.window_us < %s AND c.count = f.count AND mod(f.hash - c.hash, 18446744073709551616) = 0
AND (c.min IS DISTINCT FROM f.min OR c.max IS DISTINCT FROM f.max
    OR c.first_us IS DISTINCT FROM f.first_us OR c.last_us IS DISTINCT FROM f.last_us
    OR abs(c.sum - f.sum) > 1e-9 * c.count * greatest(abs(c.min), abs(c.max)))
GROUP BY 1, 2
"""


@dataclass(slots=True)
class Rollups:
    """One table. `uncovered`: hours whose partition the fast pass left out."""

    rows: Tally = field(default_factory=Tally)
    uncovered: set[int] = field(default_factory=set)
    holes: list[Hole] = field(default_factory=list)


def count(
    connection: psycopg.Connection[Any], table: str, from_us: int, *, full: bool, tell: Tell
) -> Rollups:
    """Recount a table from `from_us` on; a partition that is missing or empty holds nothing, and shows."""
    found = Rollups()
    seen = 0
    whole = full or table == names.TABLE_ROLLUP_1H
    starts = _starts(connection, table, from_us)
    for done, start_us in enumerate(starts):
        tell(table, done, len(starts))
        name = partitions.name_of(table, start_us)
        if not whole and seen >= ROWS_FAST and _is_filled(connection, name):
            found.uncovered.update(range(start_us, start_us + partitions.WIDTH_US[table], HOUR_US))
            continue
        for source, hour_us, readings, total, windows in _rows(connection, RECOUNT, name, from_us):
            found.rows.add(source, hour_us, readings, total)
            seen += windows
        if full and table in COARSER:
            found.holes.extend(_disagreeing(connection, table, start_us, from_us))
    tell(table, len(starts), len(starts))
    return found


def _starts(connection: psycopg.Connection[Any], table: str, from_us: int) -> list[int]:
    width_us = partitions.WIDTH_US[table]
    there = {start for name, start in partitions.existing(connection) if name == table}
    return sorted((start for start in there if start + width_us > from_us), reverse=True)


def _is_filled(connection: psycopg.Connection[Any], name: str) -> bool:
    row = connection.execute(IS_FILLED.format(partition=name).encode()).fetchone()
    return bool(row and row[0])


def _rows(connection: psycopg.Connection[Any], statement: str, name: str, from_us: int) -> list[Any]:
    return connection.execute(statement.format(partition=name).encode(), [from_us]).fetchall()


def _disagreeing(
    connection: psycopg.Connection[Any], table: str, start_us: int, from_us: int
) -> Iterator[Hole]:
    """Hours in which windows of the same readings say other values than the next coarser table."""
    coarser, width_us = COARSER[table]
    statement = DISAGREE.format(
        partition=partitions.name_of(table, start_us), coarser=coarser, width_us=width_us
    )
    until_us = start_us + partitions.WIDTH_US[table]
    rows = connection.execute(statement.encode(), [from_us, start_us, until_us]).fetchall()
    for source, hour_us, windows, path in sorted(rows):
        detail = f"values differ from {coarser} in {windows} windows of it, the first tag is {path}"
        yield Hole(table, source, hour_us, 0, 0, detail=detail)
