"""`GET /v1/tags/{path}/history`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from millrace.api.dependencies import Dependencies, dependencies
from millrace.api.history import Answer, Question, history
from millrace.api.owner import ambiguous, find_one
from millrace.api.problems import bad_parameter, store_away
from millrace.api.raw_history import Tag
from millrace.api.store import in_thread
from millrace.api.tags import ONE_TAG, SourceName, unknown_tag
from millrace.api.times import parse_time, rfc3339
from millrace.assets.tag import KINDS
from millrace.clock import DAY_US, HOUR_US
from millrace.stream.contract import shard_of

router = APIRouter(tags=["tags"])

POINTS_MAX = 100_000
SPAN_MAX_US = 20 * 366 * DAY_US
DEFAULT_SPAN_US = HOUR_US
TimeText = Annotated[str, Query(max_length=40, description="RFC 3339 or integer microseconds since 1970.")]
_json = msgspec.json.Encoder()


@router.get("/v1/tags/{path:path}/history", summary="Points of a span, shape kept")
async def tag_history(
    request: Request,
    path: str,
    from_: Annotated[TimeText, Query(alias="from")] = "",
    to: TimeText = "",
    points: Annotated[int, Query(ge=1, le=POINTS_MAX)] = 1000,
    agg: Annotated[
        Literal["minmax", "lttb", "avg", "min", "max", "sum", "count", "first", "last", "raw"],
        Query(description="`minmax` and `lttb` keep the shape; `raw` gives readings as they came."),
    ] = "minmax",
    source: SourceName = "",
) -> Response:
    """Raw readings or rollups, whichever is fine enough; `level` says which. Columns of equal length.

    The span is `from <= ts < to`; the last hour by default. `complete` is false, with `notes`, when something
    that belongs to the span cannot be read at the moment.
    """
    needs = dependencies(request)
    question = _question(needs, from_, to, points, agg)
    tag = await in_thread(needs.queries, _tag, needs, path, source)
    answer = await in_thread(needs.queries, history, needs, tag, question)
    body = await in_thread(needs.queries, _body, tag, question, answer)
    return Response(body, media_type="application/json")


def _question(needs: Dependencies, from_: str, to: str, points: int, agg: str) -> Question:
    now_us = needs.clock.now_us()
    to_us = parse_time(to, "to") if to else now_us + 1
    from_us = parse_time(from_, "from") if from_ else to_us - DEFAULT_SPAN_US
    if from_us >= to_us:
        raise bad_parameter("from", from_ or from_us, "a time before `to`")
    if to_us - from_us > SPAN_MAX_US:
        raise bad_parameter("from", from_, "a span of at most 20 years")
    return Question(from_us, to_us, points, agg)


def _tag(needs: Dependencies, path: str, source: str) -> Tag:
    """The tag as the store and the live windows know it."""
    if needs.store is None:
        raise store_away("PostgreSQL")
    rows = needs.store.rows(ONE_TAG, [path, source, source])
    if len(rows) > 1 and not rows[0]["owned"]:
        raise ambiguous(path, [row["source"] for row in rows])
    found = find_one(needs, path, source or (rows[0]["source"] if rows else ""))
    if rows:
        row = rows[0]
        ref = found[0] if found else None
        return Tag(
            row["id"],
            path,
            row["source"],
            row["kind"],
            row["data_class"],
            row["period_us"],
            row["unit"],
            row["shard"],
            ref,
        )
    if found is None:
        raise unknown_tag(path, source)
    ref, info = found
    shard = shard_of(info.source, needs.settings.shards)
    return Tag(-1, path, info.source, info.kind, info.data_class, info.period_us, info.unit, shard, ref)


def _body(tag: Tag, question: Question, answer: Answer) -> bytes:
    value = answer.series.value
    gaps = np.isnan(value)
    values: list[Any] = value.tolist()
    for at in np.flatnonzero(gaps):
        values[at] = None
    return _json.encode(
        {
            "tag": tag.path,
            "source": tag.source,
            "kind": KINDS[tag.kind],
            "unit": tag.unit,
            "from": rfc3339(question.from_us),
            "to": rfc3339(question.to_us),
            "agg": question.agg,
            "level": answer.level,
            "window_us": answer.width_us or None,
            "complete": answer.complete,
            "notes": answer.notes,
            "points": len(values),
            "ts_us": answer.series.ts_us.tolist(),
            "value": values,
            "quality": answer.series.quality.tolist(),
        }
    )
