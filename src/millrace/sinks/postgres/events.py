"""Anomalies, alarms and rejects of one transaction: few rows, and few statements.

Anomalies and rejects go as arrays, one statement for all of them: one a row, pipelined by the driver, takes some 30 us
of this thread and as much of the server. They are binary (`%b`): arrays as text take thrice as long. Alarms are rare
enough for the plain way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from millrace.batch import OPENED, REASON_NAMES, REJECT_PAYLOAD_BYTES_MAX, Output, Reject, Rows
from millrace.clock import HOUR_US, MINUTE_US
from millrace.schema.ids import detector_name, event_id
from millrace.schema.text import storable
from millrace.sinks.postgres.connection import Cursor
from millrace.sinks.postgres.directory import Directory

UPSERT_ANOMALY: Final = """
INSERT INTO anomaly (id, tag_id, path, source, detector, state, start_us, end_us, score, value,
expected, shard)
SELECT * FROM unnest(%b::uuid[], %b::int[], %b::text[], %b::text[], %b::text[], %b::smallint[], %b::bigint[],
    %b::bigint[], %b::float8[], %b::float8[], %b::float8[], %b::int[])
ON CONFLICT (id) DO UPDATE SET state = excluded.state, end_us = excluded.end_us, score = excluded.score,
    value = excluded.value, expected = excluded.expected
"""
UPSERT_ALARM: Final = """
INSERT INTO alarm (id, tag_id, path, source, rule, state, start_us, raised_us, returned_us, value,
limit_value, shard)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, value = excluded.value,
    returned_us = coalesce(excluded.returned_us, alarm.returned_us)
"""
INSERT_ALARM_EVENT: Final = """
INSERT INTO alarm_event (alarm_id, ts_us, event, value) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
INSERT_REJECT: Final = """
INSERT INTO reject (position, received_ts_us, ts_us, shard, index, count, reason, source, tag, payload)
SELECT * FROM unnest(%b::numeric[], %b::bigint[], %b::bigint[], %b::int[], %b::int[], %b::int[], %b::text[],
    %b::text[], %b::text[], %b::bytea[])
"""
COUNT_REJECTS: Final = """
INSERT INTO reject_count AS r (shard, hour_us, reason, count)
SELECT * FROM unnest(%b::int[], %b::bigint[], %b::text[], %b::bigint[])
ON CONFLICT (shard, hour_us, reason) DO UPDATE SET count = r.count + excluded.count
"""


def upsert_anomalies(
    cursor: Cursor,
    outputs: Sequence[Output],
    directories: Mapping[int, Directory],
    detectors: tuple[str, ...],
) -> None:
    """Opened and closed anomalies, in order: the newest row of an anomaly is what stays, here and in the table."""
    rows = [
        _anomaly(row, output.shard, directories[output.shard], detectors)
        for output in outputs
        for row in output.anomalies.tolist()
    ]
    if rows:
        cursor.execute(UPSERT_ANOMALY, _columns({row[0]: row for row in rows}.values()))


def _anomaly(
    row: tuple[Any, ...], shard: int, directory: Directory, detectors: tuple[str, ...]
) -> tuple[object, ...]:
    """A row of batch.ANOMALY, as Python's own values (a field of a NumPy row costs 100 ns), as the table takes it."""
    slot, number, detector, kind, start_us, end_us, score, value, expected = row
    tag_id, path, source = directory.subject(slot, number)
    name = detector_name(detectors, detector)
    return (
        event_id(path, source, name, start_us), tag_id, storable(path), storable(source), name,
        kind, start_us, end_us, score, value, expected, shard,
    )  # fmt: skip


def _columns(rows: Iterable[tuple[object, ...]]) -> list[list[object]]:
    """Rows, at least one, as one array a column."""
    return [list(column) for column in zip(*rows, strict=True)]


def upsert_alarms(
    cursor: Cursor, outputs: Sequence[Output], directories: Mapping[int, Directory], rules: tuple[str, ...]
) -> None:
    """Alarms that were raised or returned to normal, and the event of each."""
    alarms = [
        _alarm(row, output.shard, directories[output.shard], rules)
        for output in outputs
        for row in output.alarms
    ]
    if not alarms:
        return
    cursor.executemany(UPSERT_ALARM, alarms)
    events = [
        (alarm[0], alarm[8] or alarm[7], "returned" if alarm[8] is not None else "raised", alarm[9])
        for alarm in alarms
    ]
    cursor.executemany(INSERT_ALARM_EVENT, events)


def _alarm(row: Rows, shard: int, directory: Directory, rules: tuple[str, ...]) -> tuple[object, ...]:
    tag_id, path, source = directory.subject(int(row["slot"]), int(row["source"]))
    rule = detector_name(rules, int(row["rule"]))
    start_us, ts_us = int(row["start_us"]), int(row["ts_us"])
    raised = int(row["kind"]) == OPENED
    return (
        event_id(path, source, rule, start_us), tag_id, storable(path), storable(source), rule,
        "active" if raised else "returned", start_us, ts_us, None if raised else ts_us,
        float(row["value"]), float(row["limit"]), shard,
    )  # fmt: skip


class Quarantine:
    """Keeps at most `per_minute` rejects of a shard's minute as rows; counts all of them.

    The bound is per process: after a restart a minute may keep as many again.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._kept: dict[int, tuple[int, int]] = {}  # shard -> (minute, rows kept in it), as committed
        self._proposed: dict[int, tuple[int, int]] = {}

    def write(self, cursor: Cursor, outputs: Sequence[Output]) -> int:
        """Rows and counts of these outputs; how many rows."""
        self._proposed = dict(self._kept)
        rows = [_reject(output.shard, reject) for output in outputs for reject in self._within(output)]
        if rows:
            cursor.execute(INSERT_REJECT, _columns(rows))
        counts: Counter[tuple[int, int, str]] = Counter()
        for output in outputs:
            for reason, count in output.reject_counts.items():
                hour_us = output.time_us - output.time_us % HOUR_US
                counts[output.shard, hour_us, REASON_NAMES[reason]] += count
        if counts:
            cursor.execute(COUNT_REJECTS, _columns((*key, count) for key, count in sorted(counts.items())))
        return len(rows)

    def keep_proposed(self) -> None:
        """The transaction is committed: its rows count against the bound."""
        self._kept = self._proposed

    def _within(self, output: Output) -> list[Reject]:
        minute = output.time_us // MINUTE_US
        newest, kept = self._proposed.get(output.shard, (minute, 0))
        if newest != minute:
            kept = 0
        taken = output.rejects[: max(0, self._per_minute - kept)]
        self._proposed[output.shard] = (minute, kept + len(taken))
        return taken


def _reject(shard: int, reject: Reject) -> tuple[object, ...]:
    return (
        reject.position, reject.received_ts_us, reject.ts_us, shard, reject.index, reject.count,
        REASON_NAMES[reject.reason], storable(reject.source), storable(reject.tag),
        reject.payload[:REJECT_PAYLOAD_BYTES_MAX],
    )  # fmt: skip
