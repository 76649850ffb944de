"""What each store was given since the newest accounting mark, so that the stores can be counted *at*
the mark.

The flow goes on while `verify` counts. Stopping every shard at its mark until the last one is there would
hold up monitoring, so from a mark on the sink keeps, per (source, hour), what it added to ledger, rollups and
readings, in the same transaction. `verify` takes one PostgreSQL snapshot at any time after that, counts
everything, and subtracts. A row that a store lost is missing from the count and not from the subtraction: it
shows.

This costs nothing while no mark is followed; following ends `FOLLOW_US` after the mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from millrace import names
from millrace.batch import I32, I64, LEVEL_1H, LEVEL_1M, LEVEL_1S, Output, Reason, Rows
from millrace.clock import HOUR_US, MINUTE_US
from millrace.sinks.postgres.connection import Cursor
from millrace.sinks.postgres.directory import Directory
from millrace.sinks.postgres.merge import merge_ledger
from millrace.sinks.postgres.rows import LEDGER, Part, amounts_layout, copy_amounts, merge_amounts

FOLLOW_US: Final = 15 * MINUTE_US
"""Of the shard's time. A `verify` that has not taken its snapshot by then must place another mark."""

TABLE: Final = "since_mark"
ROLLUP_AMOUNT: Final = {
    LEVEL_1H: names.TABLE_ROLLUP_1H,
    LEVEL_1M: names.TABLE_ROLLUP_1M,
    LEVEL_1S: names.TABLE_ROLLUP_1S,
}
LEDGER_AMOUNTS: Final = tuple(name for name in LEDGER.names if name not in ("hour_us", "shard", "source_id"))
SINCE: Final = amounts_layout(
    *(name for name in LEDGER_AMOUNTS if not name.endswith("_hash")),
    *ROLLUP_AMOUNT.values(),
    "reading",
    "reject_count",
)
STAGING: Final = f"CREATE TEMP TABLE staging_{TABLE} ({SINCE.definition}) ON COMMIT DELETE ROWS"
MERGE: Final = merge_amounts(TABLE, SINCE)

_ROW: Final = np.dtype(
    [
        (name, np.uint64 if name.endswith("_hash") else np.int64)
        for name in SINCE.names
        if name not in ("shard", "source_id")
    ]
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A shard's newest mark: its number (0: none is followed), its position, the shard's time there."""

    number: int
    position: int
    time_us: int


NO_MARK: Final = Mark(0, 0, 0)


def follow(
    cursor: Cursor, parts: Sequence[Part], directories: Mapping[int, Directory], marks: Mapping[int, Mark]
) -> dict[int, Mark]:
    """Add what comes after each shard's mark; the marks as they stand after these outputs.

    A new mark starts from nothing. `parts` are in order of position per shard; an output ends at its mark.
    """
    after = dict(marks)
    followed: list[Part] = []
    started: set[int] = set()
    for part in parts:
        shard = part.output.shard
        expired = after[shard].number and part.output.time_us - after[shard].time_us > FOLLOW_US
        if part.output.mark or expired:
            is_new = part.output.mark > 0
            after[shard] = (
                Mark(part.output.mark, part.output.position, part.output.time_us) if is_new else NO_MARK
            )
            started.add(shard)
            followed = [other for other in followed if other.output.shard != shard]
        elif after[shard].number:
            followed.append(part)
    if started:
        cursor.execute("DELETE FROM since_mark WHERE shard = ANY(%s)", [sorted(started)])
    if followed:
        _add(cursor, followed, directories)
    return after


def _add(cursor: Cursor, parts: Sequence[Part], directories: Mapping[int, Directory]) -> None:
    found = [amounts for part in parts for amounts in _amounts(part, directories[part.output.shard])]
    if not found:
        return
    merged = merge_ledger(
        np.concatenate([rows for rows, _, _ in found]),
        np.concatenate([ids for _, ids, _ in found]).astype(np.int64),
        np.concatenate([np.full(len(rows), shard, np.int64) for rows, _, shard in found]),
    )
    copy_amounts(cursor, f"staging_{TABLE}", SINCE, *merged)
    cursor.execute(MERGE.encode())


def _amounts(part: Part, directory: Directory) -> list[tuple[Rows, I32, int]]:
    """(amounts, source ids, shard) of an output's ledger rows, of its rollups and critical readings that are
    owed, and of its rejects."""
    output = part.output
    hours: I64 = part.critical["ts_us"] // HOUR_US * HOUR_US
    ones = np.ones(len(part.critical), np.int64)
    return [
        (_of_ledger(output), directory.source_ids(output.ledger["source"]), output.shard),
        *_of_rollups(part, directory),
        (
            _of("reading", hours, ones, part.critical["hash"]),
            directory.source_ids_of(part.critical["slot"]),
            output.shard,
        ),
        *_of_rejects(output),
    ]


def _of_rollups(part: Part, directory: Directory) -> Iterator[tuple[Rows, I32, int]]:
    for level, amount in ROLLUP_AMOUNT.items():
        rows = part.rollups[part.rollups["level"] == level]
        if len(rows):
            hours: I64 = rows["window_us"] // HOUR_US * HOUR_US
            ids = directory.source_ids_of(rows["slot"])
            yield _of(amount, hours, rows["count"], rows["hash"]), ids, part.output.shard


def _of_rejects(output: Output) -> Iterator[tuple[Rows, I32, int]]:
    """One amount a shard: `reject_count` knows no sources."""
    # what PostgreSQL refused is applied: the ledger does not count it as rejected, and verify leaves it out
    count = sum(number for reason, number in output.reject_counts.items() if reason != Reason.STORE_REFUSED)
    if count:
        zero = np.zeros(1, np.int64)
        yield _of("reject_count", zero, zero + count, np.zeros(1, np.uint64)), np.zeros(1, np.int32), output.shard


def _of_ledger(output: Output) -> Rows:
    rows = np.zeros(len(output.ledger), _ROW)
    for name in ("hour_us", *LEDGER_AMOUNTS):
        rows[name] = output.ledger[name]
    return rows


def _of(amount: str, hour_us: I64, count: I64, total: Rows) -> Rows:
    rows = np.zeros(len(hour_us), _ROW)
    rows["hour_us"], rows[amount], rows[amount + "_hash"] = hour_us, count, total
    return rows
