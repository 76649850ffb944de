"""Anomalies and alarms: the record out of PostgreSQL, the newest seconds out of the live feed, one list."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request

from millrace.api.dependencies import dependencies
from millrace.api.pattern import literal_prefix, matches
from millrace.api.problems import bad_parameter, store_away
from millrace.api.store import Store, in_thread
from millrace.api.tags import PathPattern, SourceName
from millrace.api.times import TIME_MAX_US, parse_time, rfc3339
from millrace.batch import CLOSED_DETECTOR_CHANGED, OPENED
from millrace.schema.live import AlarmEvent, AnomalyEvent

router = APIRouter(tags=["events"])

# Rows looked at for one page of a pattern with `*` in the middle; the next page goes on there.
SCAN_MAX = 20_000
SCAN_AT_ONCE = 2_000
Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str, Query(max_length=80, description="`next_cursor` of the page before.")]
TimeText = Annotated[str, Query(max_length=40, description="RFC 3339 or integer microseconds since 1970.")]

ANOMALIES = """
SELECT id, path, source, detector, state, start_us, end_us, score, value, expected FROM anomaly
WHERE (%(detector)s = '' OR detector = %(detector)s) AND (%(source)s = '' OR source = %(source)s)
  AND end_us >= %(from_us)s AND start_us < %(to_us)s AND starts_with(path, %(prefix)s)
  AND (start_us, id) < (%(before_us)s, %(before_id)s::uuid)
ORDER BY start_us DESC, id DESC LIMIT %(limit)s
"""
ALARMS = """
SELECT id, path, source, rule, state, start_us, raised_us, returned_us, value, limit_value FROM alarm
WHERE (%(state)s = 'all' OR state = %(state)s) AND (%(source)s = '' OR source = %(source)s)
  AND coalesce(returned_us, %(to_us)s) >= %(from_us)s AND start_us < %(to_us)s
  AND starts_with(path, %(prefix)s)
  AND (start_us, id) < (%(before_us)s, %(before_id)s::uuid)
ORDER BY start_us DESC, id DESC LIMIT %(limit)s
"""
LAST_ID = UUID(int=2**128 - 1)
Row = dict[str, Any]


@router.get("/v1/anomalies", summary="Intervals that a detector marks")
async def anomalies(
    request: Request,
    from_: Annotated[TimeText, Query(alias="from")] = "",
    to: TimeText = "",
    path: PathPattern = "",
    detector: Annotated[str, Query(max_length=100)] = "",
    source: SourceName = "",
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Row:
    """Newest first, with the peak score (1.0 is the detector's limit) and what it says in words.

    A page of a pattern that few tags match may hold less than `limit`, or nothing, and still have a next one.
    """
    needs = dependencies(request)
    wanted = _bounds(from_, to, path, source, cursor) | {"detector": detector}
    live = (
        []
        if cursor
        else [
            _anomaly_of(event)
            for event in needs.live.newest_anomalies(SCAN_MAX)
            if (not detector or event.detector == detector) and _in(event, event.end_us, wanted, path)
        ]
    )
    rows, rest = await in_thread(
        needs.queries, _rows, needs.store, ANOMALIES, wanted, path, limit, _anomaly_row
    )
    return _page("anomalies", rows, live, limit, rest)


@router.get("/v1/alarms", summary="Conditions that a person must act on")
async def alarms(
    request: Request,
    state: Literal["active", "returned", "all"] = "active",
    from_: Annotated[TimeText, Query(alias="from")] = "",
    to: TimeText = "",
    path: PathPattern = "",
    source: SourceName = "",
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Row:
    """Newest first. Read only here."""
    needs = dependencies(request)
    wanted = _bounds(from_, to, path, source, cursor) | {"state": state}
    newest = (
        []
        if cursor
        else [
            _alarm_of(event)
            for event in needs.live.newest_alarms(SCAN_MAX)
            if _in(event, event.ts_us if event.kind != OPENED else TIME_MAX_US, wanted, path)
        ]
    )
    rows, rest = await in_thread(needs.queries, _rows, needs.store, ALARMS, wanted, path, limit, _alarm_row)
    return _page("alarms", rows, newest, limit, rest, keep=lambda row: state in ("all", row["state"]))


def _bounds(from_: str, to: str, path: str, source: str, cursor: str) -> Row:
    before_us, before_id = TIME_MAX_US, LAST_ID
    if cursor:
        start, _, text = cursor.partition("_")
        try:
            before_us, before_id = int(start), UUID(text)
        except ValueError:
            raise bad_parameter("cursor", cursor, "`next_cursor` of an earlier page") from None
        if not 0 <= before_us <= TIME_MAX_US:
            raise bad_parameter("cursor", cursor, "`next_cursor` of an earlier page")
    return {
        "from_us": parse_time(from_, "from") if from_ else 0,
        "to_us": parse_time(to, "to") if to else TIME_MAX_US,
        "prefix": literal_prefix(path),
        "source": source,
        "before_us": before_us,
        "before_id": before_id,
    }


def _in(event: AnomalyEvent | AlarmEvent, end_us: int, wanted: Row, pattern: str) -> bool:
    return (
        end_us >= wanted["from_us"]
        and event.start_us < wanted["to_us"]
        and (not wanted["source"] or event.source == wanted["source"])
        and matches(pattern, event.path)
    )


def _rows(
    store: Store | None, sql: str, wanted: Row, pattern: str, limit: int, shaped: Callable[[Row], Row]
) -> tuple[list[Row], str | None]:
    """At most limit + 1 rows that match the pattern, and where to go on; None when everything was looked at."""
    if store is None:
        raise store_away("PostgreSQL")
    found: list[Row] = []
    seen, rest = 0, None
    at_once = limit + 1 if literal_prefix(pattern) == pattern.removesuffix("*") else SCAN_AT_ONCE
    while seen < SCAN_MAX and len(found) <= limit:
        rows = store.rows(sql, dict(wanted, limit=at_once))
        seen += len(rows)
        found += [shaped(row) for row in rows if matches(pattern, row["path"])]
        if len(rows) < at_once:
            return found[: limit + 1], None
        wanted = dict(wanted, before_us=rows[-1]["start_us"], before_id=rows[-1]["id"])
        rest = _cursor_of(rows[-1])
    return found[: limit + 1], rest


def _cursor_of(row: Row) -> str:
    return f"{row['start_us']}_{row['id']}"


def _page(
    name: str,
    stored: list[Row],
    live: list[Row],
    limit: int,
    rest: str | None,
    keep: Callable[[Row], bool] = lambda row: True,
) -> Row:
    """Both, each id once; what the live feed says is never older than the store. `rest`: not looked at yet."""
    by_id = {row["id"]: row for row in stored} | {row["id"]: row for row in live}
    kept = [row for row in by_id.values() if keep(row)]
    rows = sorted(kept, key=lambda row: (row["start_us"], row["id"]), reverse=True)
    more = len(rows) > limit
    rows = rows[:limit]
    return {name: rows, "next_cursor": _cursor_of(rows[-1]) if more else rest}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _anomaly_row(row: Row) -> Row:
    return _anomaly_of(
        AnomalyEvent(
            id=str(row["id"]),
            path=row["path"],
            source=row["source"],
            detector=row["detector"],
            kind=row["state"],
            start_us=row["start_us"],
            end_us=row["end_us"],
            score=row["score"],
            value=_finite(row["value"]),
            expected=_finite(row["expected"]),
        )
    )


def _anomaly_of(event: AnomalyEvent) -> Row:
    state = "open" if event.kind == OPENED else "closed"
    return {
        "id": event.id,
        "path": event.path or None,
        "source": event.source,
        "detector": event.detector,
        "state": "detector_changed" if event.kind == CLOSED_DETECTOR_CHANGED else state,
        "start": rfc3339(event.start_us),
        "end": rfc3339(event.end_us),
        "start_us": event.start_us,
        "end_us": event.end_us,
        "score": event.score,
        "value": event.value,
        "expected": event.expected,
        "explanation": _explained(event),
    }


def _explained(event: AnomalyEvent) -> str:
    """One sentence for a person."""
    what = event.path or f"source {event.source}"
    said = f"{event.detector}: {what}"
    if event.value is not None:
        said += f" was {event.value:.6g}"
        if event.expected is not None:
            said += f", expected about {event.expected:.6g}"
    return said + f"; {event.score:.3g} times its limit at the peak"


def _alarm_row(row: Row) -> Row:
    return {
        "id": str(row["id"]),
        "path": row["path"] or None,
        "source": row["source"],
        "rule": row["rule"],
        "state": row["state"],
        "start": rfc3339(row["start_us"]),
        "start_us": row["start_us"],
        "raised_us": row["raised_us"],
        "returned_us": row["returned_us"],
        "value": _finite(row["value"]),
        "limit": _finite(row["limit_value"]),
    }


def _alarm_of(event: AlarmEvent) -> Row:
    is_open = event.kind == OPENED
    return {
        "id": event.id,
        "path": event.path or None,
        "source": event.source,
        "rule": event.rule,
        "state": "active" if is_open else "returned",
        "start": rfc3339(event.start_us),
        "start_us": event.start_us,
        "raised_us": event.ts_us if is_open else None,
        "returned_us": None if is_open else event.ts_us,
        "value": event.value,
        "limit": event.limit,
    }
