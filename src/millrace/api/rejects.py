"""The quarantine: what was not accepted and why, and how to send it again."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request

from millrace.api.dependencies import dependencies
from millrace.api.problems import Problem, bad_parameter, store_away
from millrace.api.store import in_thread
from millrace.api.times import TIME_MAX_US, parse_time, rfc3339
from millrace.batch import REASON_NAMES
from millrace.errors import nearest
from millrace.schema.quarantine import ROWS_MAX, RejectFilter

router = APIRouter(tags=["rejects"])

BODY_BYTES_MAX = 64 * 1024
TimeText = Annotated[
    str, Query(max_length=40, description="Time of receipt, RFC 3339 or integer microseconds.")
]

LIST = """
SELECT id, shard, position::text, index, source, tag, reason, received_ts_us, ts_us, count, payload,
       series, replayed_at IS NOT NULL AS replayed
FROM reject
WHERE id < %(before)s AND (%(reason)s = '' OR reason = %(reason)s)
  AND (%(source)s = '' OR source = %(source)s) AND (%(tag)s = '' OR tag = %(tag)s)
  AND received_ts_us >= %(from_us)s AND received_ts_us < %(to_us)s
ORDER BY id DESC LIMIT %(limit)s
"""
COUNTS = "SELECT reason, sum(count)::bigint AS count FROM reject_count GROUP BY reason ORDER BY 2 DESC"


class ReplayRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Which rejects to send again: all given conditions hold; at least one is needed."""

    ids: list[int] | None = None
    reason: str = ""
    source: str = ""
    tag: str = ""
    from_: str = msgspec.field(default="", name="from")
    to: str = ""
    limit: int = 10_000


IDS_MAX = 10_000
"""Of one call; more are replayed by a condition, or in several calls."""
REPLAY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "ids": {"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": IDS_MAX},
        "reason": {"type": "string"},
        "source": {"type": "string"},
        "tag": {"type": "string"},
        "from": {"type": "string"},
        "to": {"type": "string"},
        "limit": {"type": "integer", "minimum": 1, "maximum": ROWS_MAX},
    },
}


@router.get("/v1/rejects", summary="What was not accepted, and why")
async def rejects(
    request: Request,
    reason: Annotated[str, Query(max_length=60)] = "",
    source: Annotated[str, Query(max_length=128)] = "",
    tag: Annotated[str, Query(max_length=256)] = "",
    from_: Annotated[TimeText, Query(alias="from")] = "",
    to: TimeText = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[
        str, Query(max_length=20, pattern=r"^\d*$", description="`next_cursor` of the page before.")
    ] = "",
) -> dict[str, Any]:
    """Newest first. `counts` counts all, also those beyond what PostgreSQL keeps."""
    needs = dependencies(request)
    if needs.store is None:
        raise store_away("PostgreSQL")
    _known(reason)
    wanted = {
        "before": min(int(cursor or 2**62), 2**62),
        "reason": reason,
        "source": source,
        "tag": tag,
        "from_us": parse_time(from_, "from") if from_ else 0,
        "to_us": parse_time(to, "to") if to else TIME_MAX_US,
        "limit": limit + 1,
    }
    rows = await in_thread(needs.queries, needs.store.rows, LIST, wanted)
    counts = await in_thread(needs.queries, needs.store.rows, COUNTS)
    more = len(rows) > limit
    rows = rows[:limit]
    return {
        "rejects": [_reject_json(row) for row in rows],
        "counts": {row["reason"]: row["count"] for row in counts},
        "next_cursor": str(rows[-1]["id"]) if more else None,
    }


def _reject_json(row: dict[str, Any]) -> dict[str, Any]:
    out = dict(row)
    out["payload"] = bytes(row["payload"]).decode("utf-8", "replace")
    out["received"] = rfc3339(row["received_ts_us"])
    out["ts_us"] = row["ts_us"] or None
    return out


@router.post(
    "/v1/rejects/replay",
    status_code=202,
    summary="Send rejects again",
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": REPLAY_SCHEMA}}}
    },
)
async def replay(request: Request) -> dict[str, int]:
    """In a series of their own, so that a reject is sent once however often this is called."""
    needs = dependencies(request)
    if needs.replay is None:
        raise Problem(503, "no_replay", "this process cannot send rejects again")
    wanted = _filter(await _small_body(request))
    return await in_thread(needs.queries, needs.replay, wanted)


async def _small_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise Problem(413, "body_too_large", f"a body of over {BODY_BYTES_MAX} bytes")
    return body


def _filter(body: bytes) -> RejectFilter:
    try:
        asked = msgspec.json.decode(body or b"{}", type=ReplayRequest)
    except (msgspec.DecodeError, ValueError) as error:
        raise Problem(
            400, "bad_body", str(error), wanted='{"ids": […]} or {"reason", "source", "tag", "from", "to"}'
        ) from None
    if not (asked.ids or asked.reason or asked.source or asked.tag or asked.from_):
        raise Problem(
            400,
            "bad_body",
            "no condition was given, so all rejects were meant",
            wanted="ids, reason, source, tag or from",
            what_to_do='name them, such as {"reason":"foreign_source"}',
        )
    if not 1 <= asked.limit <= ROWS_MAX:
        raise bad_parameter("limit", asked.limit, f"1 to {ROWS_MAX}")
    if asked.ids and len(asked.ids) > IDS_MAX:
        raise bad_parameter("ids", f"{len(asked.ids)} ids", f"{IDS_MAX} at most, or a condition")
    if asked.ids and not all(0 < number < 2**63 for number in asked.ids):
        raise bad_parameter("ids", "a number that is no id", "ids as /v1/rejects gives them")
    _known(asked.reason)
    return RejectFilter(
        reason=asked.reason,
        source=_text(asked.source),
        tag=_text(asked.tag),
        from_us=parse_time(asked.from_, "from") if asked.from_ else 0,
        until_us=parse_time(asked.to, "to") if asked.to else TIME_MAX_US,
        ids=tuple(asked.ids) if asked.ids else None,
        rows_max=asked.limit,
    )


def _text(text: str) -> str:
    """PostgreSQL takes no NUL; no tag or source has one."""
    return text.replace("\0", "")


def _known(reason: str) -> None:
    known = [name for name in REASON_NAMES if name and name != "ok"]  # codes between them are free
    if reason and reason not in known:
        raise bad_parameter("reason", reason, f"one of {', '.join(known)}{nearest(reason, known)}")
