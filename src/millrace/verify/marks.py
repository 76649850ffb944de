"""Marks: a record in each shard's log up to which everything is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import psycopg

from millrace.clock import Clock
from millrace.errors import StoreUnavailable
from millrace.protocols import control
from millrace.stream.contract import Entry, Stream
from millrace.verify.progress import Tell, nobody

PARTITION_KEY: Final = "millrace-verify"
LOCK: Final = 0x766572696679  # "verify": one at a time, because a new mark ends the counting of an older one
LOCK_WAIT_S: Final = 60
POLL_S: Final = 0.05

Database = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Placed:
    """One mark in every shard: its number, and its position by shard."""

    number: int
    positions: dict[int, int]


def place(connection: Database, stream: Stream, clock: Clock) -> Placed:
    """Append a mark to every shard, under the lock that keeps another `verify` out until this session
    ends."""
    connection.execute(f"SET lock_timeout = '{LOCK_WAIT_S}s'".encode())
    connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
    row = connection.execute("SELECT coalesce(max(mark), 0) FROM shard").fetchone()
    now_us = clock.now_us()
    number = max(now_us, int(row[0]) + 1 if row else 0)
    data = control.encode(control.Mark(number, now_us))
    entries = [Entry(shard, PARTITION_KEY, data) for shard in range(stream.shard_count)]
    return Placed(number, dict(enumerate(stream.append(entries))))


def wait(connection: Database, placed: Placed, clock: Clock, timeout_s: float, tell: Tell = nobody) -> None:
    """Until *applied* and *archived* of every shard have reached its mark; StoreUnavailable names who
    has not."""
    end_s = clock.monotonic_s() + timeout_s
    shards = len(placed.positions)
    while behind := _behind(connection, placed):
        tell("marks", shards - len({line.split(":")[0] for line in behind}), shards)
        if clock.monotonic_s() >= end_s:
            raise StoreUnavailable(
                f"verify waited {timeout_s:g} s for its marks: " + "; ".join(behind)
                + ". Is a worker running? Look at `millrace stats`, or wait longer with --timeout-s."
            )  # fmt: skip
        clock.sleep(POLL_S)


def _behind(connection: Database, placed: Placed) -> list[str]:
    found = {
        row[0]: row[1:] for row in connection.execute("SELECT shard, applied, archived FROM shard").fetchall()
    }
    return [
        f"shard {shard}: {what} {int(at)}, wanted {position}"
        for shard, position in placed.positions.items()
        for what, at in zip(("applied", "archived"), found.get(shard, (0, 0)), strict=True)
        if at < position
    ]


def check(connection: Database, placed: Placed) -> dict[int, int]:
    """Inside the snapshot: every shard is still counted from this mark. Positions of the marks by shard."""
    rows = connection.execute("SELECT shard, mark, mark_position FROM shard").fetchall()
    found = {shard: (mark, int(position)) for shard, mark, position in rows}
    for shard, position in placed.positions.items():
        if found.get(shard) != (placed.number, position):
            raise StoreUnavailable(
                f"shard {shard}: found mark {found.get(shard)}, wanted {(placed.number, position)}: "
                "the mark is too long ago or another one came; run verify again"
            )
    return placed.positions
