"""Replaying rejects, so that twice is once.

A replay sends kept rejects again, as frames of a series of its own: the frame's identity is (source, replay,
number). The number is written on the rejects' rows and committed *before* the frame is appended. Whoever dies
between the two finds the rows with their number at the next `begin_replay` and appends the same frame under
the same identity: if the first append did happen, `process` knows the second for a duplicate.

    for lot in begin_replay(connection, RejectFilter(reason="foreign_source")):
        append(frame_of(lot))          # Frame(source=lot.source, seq=lot.number, replay=True, …)
        finish_replay(connection, lot)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

import psycopg

from millrace.clock import DAY_US

LOT_ROWS_MAX: Final = 1_000
"""Rejects that travel in one frame."""
ROWS_MAX: Final = 100_000
"""Rejects that one call takes; the rest waits for the next call."""

SERIES_LOCK: Final = 0x7265706C6179  # "replay"


@dataclass(frozen=True, slots=True)
class RejectFilter:
    """Which rejects; empty or None: any. Times are of receipt, `until_us` exclusive. `ids` names single
    rows."""

    reason: str = ""
    source: str = ""
    tag: str = ""
    from_us: int = 0
    until_us: int = 400 * 365 * DAY_US
    ids: tuple[int, ...] | None = None
    rows_max: int = field(default=ROWS_MAX)


@dataclass(frozen=True, slots=True)
class StoredReject:
    """A reject as PostgreSQL keeps it."""

    id: int
    source: str
    payload: bytes
    received_ts_us: int
    ts_us: int
    reason: str
    tag: str


@dataclass(frozen=True, slots=True)
class Lot:
    """Rejects that go into one frame: `number` is the frame's seq in its source's replay series."""

    source: str
    number: int
    rejects: tuple[StoredReject, ...]


COLUMNS: Final = "id, source, payload, received_ts_us, ts_us, reason, tag"

UNFINISHED: Final = f"""
SELECT series, {COLUMNS} FROM reject
WHERE series IS NOT NULL AND replayed_at IS NULL AND (%(source)s = '' OR source = %(source)s)
ORDER BY source, series, id
"""  # nosec B608
CHOSEN: Final = """
SELECT id, source FROM reject
WHERE series IS NULL AND source <> '' AND reason <> 'store_refused' AND (%(reason)s = '' OR reason = %(reason)s)
    AND (%(source)s = '' OR source = %(source)s) AND (%(tag)s = '' OR tag = %(tag)s)
    AND received_ts_us >= %(from_us)s AND received_ts_us < %(until_us)s
    AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s::bigint[]))
ORDER BY source, id LIMIT %(rows_max)s
"""
NEXT_NUMBER: Final = """
INSERT INTO replay_series AS r (source, newest) VALUES (%s, 1)
ON CONFLICT (source) DO UPDATE SET newest = r.newest + 1 RETURNING newest
"""


def begin_replay(connection: psycopg.Connection[Any], wanted: RejectFilter) -> list[Lot]:
    """Lots to append, in this order: first those that an earlier replay began and never finished.

    Their numbers are committed when this returns. Rejects without a source cannot be sent again and are
    never chosen, nor are those that a store refused: the archive has applied them. `connection` must not be
    inside a transaction.
    """
    with connection.transaction():
        # Two replays at once must not give out numbers in one order and append in another.
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [SERIES_LOCK])
        for source, ids in _lots_of(connection, wanted):
            number = connection.execute(NEXT_NUMBER, [source]).fetchone()
            assert number is not None
            connection.execute("UPDATE reject SET series = %s WHERE id = ANY(%s)", [number[0], ids])
        rows = connection.execute(UNFINISHED.encode(), {"source": wanted.source}).fetchall()
    return [
        Lot(source, number, tuple(StoredReject(*row[1:]) for row in group))
        for (source, number), group in groupby(rows, key=lambda row: (row[2], row[0]))
    ]


def finish_replay(connection: psycopg.Connection[Any], lot: Lot) -> None:
    """The lot's frame is durably in the stream."""
    with connection.transaction():
        connection.execute(
            "UPDATE reject SET replayed_at = now() WHERE source = %s AND series = %s AND replayed_at IS NULL",
            [lot.source, lot.number],
        )


def _lots_of(connection: psycopg.Connection[Any], wanted: RejectFilter) -> Iterable[tuple[str, list[int]]]:
    parameters = {name: getattr(wanted, name) for name in ("reason", "source", "tag", "from_us", "until_us")}
    parameters["ids"] = None if wanted.ids is None else list(wanted.ids)
    parameters["rows_max"] = min(wanted.rows_max, ROWS_MAX)
    rows = connection.execute(CHOSEN, parameters).fetchall()
    for source, group in groupby(rows, key=lambda row: row[1]):
        ids = [number for number, _ in group]
        for start in range(0, len(ids), LOT_ROWS_MAX):
            yield source, ids[start : start + LOT_ROWS_MAX]
