"""Anomalies, alarms and rejects of one transaction: few rows, one statement each, pipelined by the driver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from millrace.batch import OPENED, REASON_NAMES, REJECT_PAYLOAD_BYTES_MAX, Output, Reject, Rows
from millrace.clock import HOUR_US, MINUTE_US
from millrace.schema.ids import detector_name, event_id
from millrace.schema.text import storable
from millrace.sinks.postgres.connection import Cursor
from millrace.sinks.postgres.directory import Directory

UPSERT_ANOMALY: Final = """
INSERT INTO anomaly (id, tag_id, path, source, detector, state, start_us, end_us, score, value,
expected, shard)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
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
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
COUNT_REJECTS: Final = """
INSERT INTO reject_count AS r (shard, hour_us, reason, count) VALUES (%s, %s, %s, %s)
ON CONFLICT (shard, hour_us, reason) DO UPDATE SET count = r.count + excluded.count
"""


def upsert_anomalies(
    cursor: Cursor,
    outputs: Sequence[Output],
    directories: Mapping[int, Directory],
    detectors: tuple[str, ...],
) -> None:
    """Opened and closed anomalies, in order: the newest row of an anomaly is what stays."""
    rows = [
        _anomaly(row, output.shard, directories[output.shard], detectors)
        for output in outputs
        for row in output.anomalies
    ]
    if rows:
        cursor.executemany(UPSERT_ANOMALY, rows)


def _anomaly(row: Rows, shard: int, directory: Directory, detectors: tuple[str, ...]) -> tuple[object, ...]:
    tag_id, path, source = directory.subject(row)
    detector = detector_name(detectors, int(row["detector"]))
    start_us = int(row["start_us"])
    return (
        event_id(path, source, detector, start_us), tag_id, storable(path), storable(source), detector,
        int(row["kind"]), start_us, int(row["end_us"]), float(row["score"]), float(row["value"]),
        float(row["expected"]), shard,
    )  # fmt: skip


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
    tag_id, path, source = directory.subject(row)
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
            cursor.executemany(INSERT_REJECT, rows)
        counts: Counter[tuple[int, int, str]] = Counter()
        for output in outputs:
            for reason, count in output.reject_counts.items():
                hour_us = output.time_us - output.time_us % HOUR_US
                counts[output.shard, hour_us, REASON_NAMES[reason]] += count
        if counts:
            cursor.executemany(COUNT_REJECTS, [(*key, count) for key, count in sorted(counts.items())])
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
