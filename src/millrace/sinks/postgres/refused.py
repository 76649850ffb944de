"""Readings that PostgreSQL refuses although `validate` let them through: found, put aside, counted (law 12).

The second line of defence: what a store could refuse, `validate` refuses. A reading that is refused here after all
stays *applied*: the archive and the rollups hold it, and nothing can be taken back from them. What changes, in the
transaction that leaves it out, is what the table of raw readings owes: the ledger's `critical` of its hour is one less,
with its hash, and a reject says which reading it is. So `verify` counts equal, and nothing is lost in silence.
Such a reject is never replayed: the reading would be applied twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import psycopg

from millrace import names
from millrace.batch import LEDGER, Bool, Output, Reason, Reject, Rows, TagInfo, ValueKind
from millrace.clock import HOUR_US
from millrace.errors import StoreUnavailable
from millrace.protocols.json_reading import reading_json
from millrace.sinks.postgres.connection import Cursor
from millrace.sinks.postgres.directory import Directory
from millrace.sinks.postgres.rows import READING, Part, copy, reading_rows

REFUSING: Final = ("22", "23")
"""SQLSTATE classes that speak of the rows: data exceptions, violated constraints."""
UNIQUE: Final = "23505"
CHECK: Final = "23514"

TRIALS_MAX: Final = 1_000
"""Tries to find the refused rows of one write: some 50 of them. With more, the table is the trouble, not the rows."""


def is_outdated(error: psycopg.Error) -> bool:
    """What this process held for known is not so: a partition was dropped, or a new owner wrote our window first."""
    return error.sqlstate == UNIQUE or (error.sqlstate == CHECK and error.diag.constraint_name is None)


def is_refusal(error: psycopg.Error) -> bool:
    """The rows are the trouble, not the server: the same write can never work."""
    return (error.sqlstate or "").startswith(REFUSING) and not is_outdated(error)


def without_refused(
    cursor: Cursor, parts: Sequence[Part], directories: Mapping[int, Directory]
) -> list[Part]:
    """The parts without the readings that the table does not take; nothing of the trials stays."""
    trials = iter(range(TRIALS_MAX))
    return [_kept(part, directories[part.output.shard], cursor, trials) for part in parts]


def _kept(part: Part, directory: Directory, cursor: Cursor, trials: Iterator[int]) -> Part:
    refused = np.zeros(len(part.critical), np.bool_)
    for place in _refused(cursor, reading_rows(part, directory), trials):
        refused[place] = True
    if not refused.any():
        return part
    return Part(_told(part, refused, directory), part.critical[~refused], part.rollups)


def _refused(cursor: Cursor, rows: Rows, trials: Iterator[int]) -> Iterator[int]:
    """Places of the rows that the table does not take: halves of what was refused, down to the row."""
    waiting = [(0, len(rows))]
    while waiting:
        begin, end = waiting.pop()
        if begin == end or _is_taken(cursor, rows[begin:end], trials):
            continue
        if end - begin == 1:
            yield begin
        else:
            middle = (begin + end) // 2
            waiting += [(middle, end), (begin, middle)]


def _is_taken(cursor: Cursor, rows: Rows, trials: Iterator[int]) -> bool:
    if next(trials, None) is None:
        raise StoreUnavailable(
            f"PostgreSQL refuses more readings than {TRIALS_MAX} trials can find: see its log"
        )
    try:
        with cursor.connection.transaction(force_rollback=True):
            copy(cursor, names.TABLE_READING, READING, [rows])
    except psycopg.Error as error:
        if not is_refusal(error):
            raise
        return False
    return True


def _told(part: Part, refused: Bool, directory: Directory) -> Output:
    """The output that says what became of the refused readings."""
    output, rows = part.output, part.critical[refused]
    counts = dict(output.reject_counts)
    counts[Reason.STORE_REFUSED] = counts.get(Reason.STORE_REFUSED, 0) + len(rows)
    tags = [directory.tags[int(slot)] for slot in rows["slot"]]
    rejects = [
        _reject(output, tag, row, int(i))
        for tag, row, i in zip(tags, rows, np.flatnonzero(refused), strict=True)
    ]
    ledger = np.concatenate([output.ledger, _not_owed(rows, tags, directory)])
    return replace(output, ledger=ledger, rejects=[*output.rejects, *rejects], reject_counts=counts)


def _not_owed(rows: Rows, tags: Sequence[TagInfo], directory: Directory) -> Rows:
    """Ledger rows that take the readings off what the table of raw readings owes."""
    numbers = {name: number for number, name in directory.sources.items()}
    ledger = np.zeros(len(rows), LEDGER)
    ledger["source"] = [numbers[tag.source] for tag in tags]
    ledger["hour_us"] = rows["ts_us"] // HOUR_US * HOUR_US
    ledger["critical"] = -1
    ledger["critical_hash"] = np.zeros(len(rows), np.uint64) - rows["hash"]  # modulo 2^64
    return ledger


def _reject(output: Output, tag: TagInfo, row: Rows, index: int) -> Reject:
    """`position` and `index` are of the batch: a reading does not know its record any more."""
    value, ts_us = float(row["value"]), int(row["ts_us"])
    is_state = tag.kind == ValueKind.STATE and 0 <= value < len(tag.states)
    return Reject(
        position=output.position,
        index=index,
        source=tag.source,
        reason=Reason.STORE_REFUSED,
        received_ts_us=output.newest_received_us,
        ts_us=ts_us,
        tag=tag.path,
        payload=reading_json(
            tag.path,
            ts_us,
            value,
            tag.kind,
            int(row["quality"]),
            tag.states[int(value)] if is_state else "",
            tag.unit,
        ),
    )
