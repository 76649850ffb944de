"""COPY of readings and ledger rows: columns in, one statement a table.

Ledger rows go into a temp table of the session first, from where one statement adds them to what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numba
import numpy as np

from millrace import names
from millrace.batch import I64, LEVEL_1M, LEVEL_1S, LEVEL_US, U8, Output, Rows
from millrace.schema.binary import HEADER, TRAILER, Layout
from millrace.sinks.postgres.connection import Cursor
from millrace.sinks.postgres.directory import Directory
from millrace.sinks.postgres.merge import merge_ledger, signed


def amounts_layout(*amounts: str) -> Layout:
    """Counts and hash sums by (shard, source, hour)."""
    columns = [(name, "i8") for amount in amounts for name in (amount, amount + "_hash")]
    return Layout(("hour_us", "i8"), *columns, ("shard", "i4"), ("source_id", "i4"))


def merge_amounts(table: str, layout: Layout) -> str:
    """Statement that adds what was staged to a table of counts and hash sums."""
    amounts = [name for name in layout.names if name not in ("hour_us", "shard", "source_id")]
    sums = ", ".join(f"{amount} = wrapping_add(t.{amount}, excluded.{amount})" for amount in amounts)
    return (
        f"INSERT INTO {table} AS t ({layout.columns}) SELECT {layout.columns} FROM staging_{table} "
        f"ON CONFLICT (shard, source_id, hour_us) DO UPDATE SET {sums}"  # nosec B608
    )


READING: Final = Layout(("ts_us", "i8"), ("value", "f8"), ("tag_id", "i4"), ("quality", "i2"))
LEDGER: Final = amounts_layout(
    "received", "duplicate", "rejected", "applied", "critical", "applied_1m", "applied_1s"
)

STAGING: Final = f"CREATE TEMP TABLE staging_{names.TABLE_LEDGER} ({LEDGER.definition}) ON COMMIT DELETE ROWS"

MERGE_LEDGER: Final = merge_amounts(names.TABLE_LEDGER, LEDGER)


@dataclass(frozen=True, slots=True)
class Floor:
    """The oldest event times that each store still owes: older rows are not written there."""

    reading_us: int = 0
    rollup_1s_us: int = 0
    rollup_1m_us: int = 0

    def of_level(self, level: int) -> int:
        return {LEVEL_1S: self.rollup_1s_us, LEVEL_1M: self.rollup_1m_us}.get(level, 0)


@dataclass(frozen=True, slots=True)
class Part:
    """One output with its critical readings, chosen while the directory stood at it."""

    output: Output
    critical: Rows
    rollups: Rows


def part_of(output: Output, directory: Directory, floor: Floor) -> Part:
    """What of an output PostgreSQL keeps: critical readings and rollup windows that are still owed."""
    return Part(output, _owed_readings(output.readings, directory, floor), _owed_rollups(output.rollups, floor))


def _owed_readings(readings: Rows, directory: Directory, floor: Floor) -> Rows:
    if not len(readings):
        return readings
    owed = np.empty(len(readings), readings.dtype)
    count = _take_owed(readings, directory.critical, floor.reading_us, owed)
    if count < 0:
        directory.critical_of(readings["slot"])  # raises: nobody announced the slot
    return owed[:count]


@numba.njit(cache=True)
def _take_owed(readings: Rows, critical: U8, floor_us: int, owed: Rows) -> int:
    """Copy what is critical and not too old; how many, or -1 where a slot is unknown. A batch of one shard is small,
    and masks in NumPy cost it 20 us."""
    count = 0
    for i in range(len(readings)):
        slot = readings[i]["slot"]
        if slot < 0 or slot >= len(critical):
            return -1
        if critical[slot] != 0 and readings[i]["ts_us"] >= floor_us:
            owed[count] = readings[i]
            count += 1
    return count


def _owed_rollups(rollups: Rows, floor: Floor) -> Rows:
    if not len(rollups):
        return rollups
    floors = np.array([floor.of_level(level) for level in range(len(LEVEL_US))], np.int64)
    kept = rollups["window_us"] >= floors[rollups["level"]]
    return rollups if kept.all() else rollups.compress(kept)


def copy_readings(cursor: Cursor, parts: Sequence[Part], directories: Mapping[int, Directory]) -> int:
    """Critical readings, straight into the partitions; how many."""
    parts = [part for part in parts if len(part.critical)]
    if parts:
        pieces = (reading_rows(part, directories[part.output.shard]) for part in parts)
        copy(cursor, names.TABLE_READING, READING, pieces)
    return sum(len(part.critical) for part in parts)


def reading_rows(part: Part, directory: Directory) -> Rows:
    """The critical readings of one output as the table takes them."""
    rows = READING.rows(len(part.critical))
    rows["tag_id"] = directory.tag_ids(part.critical["slot"])
    for name in ("ts_us", "value", "quality"):
        rows[name] = part.critical[name]
    return rows


def merge_ledger_of(cursor: Cursor, outputs: Sequence[Output], directories: Mapping[int, Directory]) -> None:
    """Ledger rows, added to what the table holds of their hours."""
    outputs = [output for output in outputs if len(output.ledger)]
    if not outputs:
        return
    ids = [directories[output.shard].source_ids(output.ledger["source"]) for output in outputs]
    shards = [np.full(len(output.ledger), output.shard, np.int64) for output in outputs]
    ledger = np.concatenate([output.ledger for output in outputs])
    merged = merge_ledger(ledger, np.concatenate(ids).astype(np.int64), np.concatenate(shards))
    copy_amounts(cursor, f"staging_{names.TABLE_LEDGER}", LEDGER, *merged)
    cursor.execute(MERGE_LEDGER.encode())


def copy_amounts(
    cursor: Cursor, table: str, layout: Layout, merged: Rows, source_id: I64, shard: I64
) -> None:
    """Counts and hash sums into a staging table."""
    rows = layout.rows(len(merged))
    rows["source_id"], rows["shard"] = source_id, shard
    for name in layout.names:
        if name not in ("source_id", "shard"):
            rows[name] = signed(merged[name]) if name.endswith("_hash") else merged[name]
    copy(cursor, table, layout, [rows])


def copy(cursor: Cursor, table: str, layout: Layout, pieces: Iterable[Rows]) -> None:
    """Rows of a layout into a table, one statement. Pieces of some hundred kilobytes are made in memory that a core's
    cache holds; as one array, a hundred thousand rows take three times as long to encode."""
    statement = f"COPY {table} ({layout.columns}) FROM STDIN (FORMAT binary)"
    with cursor.copy(statement.encode()) as sending:
        sending.write(HEADER)
        for rows in pieces:
            sending.write(rows.tobytes())
        sending.write(TRAILER)
