"""Tags and their newest values: `/v1/tags`, `/v1/tags/{path}/latest`, `/v1/equipment/{path}/live`."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request

from millrace.api.dependencies import Dependencies, dependencies
from millrace.api.live_view import LatestValue
from millrace.api.owner import find_one, without_the_moved
from millrace.api.pattern import compiled, literal_prefix
from millrace.api.problems import Problem, bad_parameter, store_away
from millrace.api.store import Store, in_thread
from millrace.api.subscribers import json_value
from millrace.api.times import rfc3339
from millrace.assets.tag import CLASSES, KINDS
from millrace.batch import TAG_LENGTH_MAX, ValueKind

router = APIRouter(tags=["tags"])

EQUIPMENT_TAGS_MAX = 2_000
SCAN_AT_ONCE = 2_000  # each look joins and sorts the whole model, so a few large ones
SCAN_MAX = 20_000  # rows looked at for one page of a pattern with `*` in the middle

PathPattern = Annotated[
    str,
    Query(
        max_length=TAG_LENGTH_MAX,
        description="A path, or a pattern such as `acme/lyon/*`.",
        examples=["acme/lyon/*"],
    ),
]
SourceName = Annotated[
    str, Query(max_length=128, description="The source, where several say the same tag name.")
]

LIST_TAGS = """
SELECT coalesce(t.path, a.path) AS path, coalesce(t.source, a.source) AS source,
       coalesce(t.kind, a.kind) AS kind, coalesce(t.data_class, a.data_class) AS data_class,
       coalesce(t.modelled, true) AS modelled, coalesce(t.period_us, a.period_us) AS period_us,
       coalesce(t.unit, a.unit) AS unit, t.id IS NOT NULL AS has_readings,
       a.criticality, a.range_low, a.range_high, a.low_low, a.low, a.high, a.high_high,
       coalesce(a.states, '{}') AS states, coalesce(a.description, '') AS description
FROM tag t FULL JOIN asset_tag a ON a.path = t.path AND a.source = t.source
WHERE (coalesce(t.path, a.path), coalesce(t.source, a.source))
    > (%(path)s COLLATE "C", %(source)s COLLATE "C")
  AND starts_with(coalesce(t.path, a.path), %(prefix)s)
ORDER BY 1, 2 LIMIT %(limit)s
"""
ONE_TAG = """
SELECT t.id, t.path, t.source, t.kind, t.data_class, t.modelled, t.period_us, t.unit, t.shard,
       coalesce(a.states, '{}') AS states, a.path IS NOT NULL AS owned
FROM tag t LEFT JOIN asset_tag a ON a.path = t.path AND a.source = t.source
WHERE t.path = %s AND (%s::text = '' OR t.source = %s) ORDER BY owned DESC, t.source LIMIT 10
"""
STATES = "SELECT path, states FROM asset_tag WHERE path = ANY(%s) AND cardinality(states) > 0"


@router.get("/v1/tags", summary="The asset model, paged")
async def list_tags(
    request: Request,
    path: PathPattern = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str, Query(max_length=1000, description="`next_cursor` of the page before.")] = "",
) -> dict[str, Any]:
    """Tags in order of path and source, those of the model and those that merely sent readings."""
    needs = dependencies(request)
    if needs.store is None:
        raise store_away("PostgreSQL")
    rows, more = await in_thread(needs.queries, _page, needs.store, path, limit, _cursor(cursor))
    last = rows[-1] if rows else None
    next_cursor = _encoded(last["path"], last["source"]) if last and more else None
    return {"tags": [_tag_json(row) for row in rows], "next_cursor": next_cursor}


def _page(
    store: Store, pattern: str, limit: int, after: tuple[str, str]
) -> tuple[list[dict[str, Any]], bool]:
    """Rows of one page, and whether there may be more."""
    match = compiled(pattern) if pattern else None
    found: list[dict[str, Any]] = []
    seen = 0
    at_once = limit + 1 if match is None else max(limit + 1, SCAN_AT_ONCE)
    while seen < SCAN_MAX:
        bounds = {"path": after[0], "source": after[1], "prefix": literal_prefix(pattern), "limit": at_once}
        rows = store.rows(LIST_TAGS, bounds)
        seen += len(rows)
        found += [row for row in rows if match is None or match.fullmatch(row["path"])]
        if len(found) > limit or len(rows) < at_once:
            return found[:limit], len(found) > limit
        after = (rows[-1]["path"], rows[-1]["source"])
    return found[:limit], True


def _tag_json(row: dict[str, Any]) -> dict[str, Any]:
    out = {key: value for key, value in row.items() if value is not None}
    out["kind"] = KINDS[row["kind"]]
    out["data_class"] = CLASSES[row["data_class"]]
    return out


def _encoded(path: str, source: str) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([path, source])).decode().rstrip("=")


def _cursor(text: str) -> tuple[str, str]:
    if not text:
        return "", ""
    try:
        padded = text.encode() + b"=" * (-len(text) % 4)
        path, source = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=tuple[str, str])
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise bad_parameter("cursor", text, "`next_cursor` of an earlier page") from None
    return path, source


# --- newest values --------------------------------------------------------------------------------


def unknown_tag(path: str, source: str) -> Problem:
    shown = f"{path} from {source}" if source else path
    return Problem(
        404,
        "unknown_tag",
        f"no reading of {shown} ever came",
        field="path",
        found=path,
        what_to_do="GET /v1/tags?path=… lists what there is",
    )


@router.get("/v1/tags/{path:path}/latest", summary="The newest reading of a tag")
async def latest(request: Request, path: str, source: SourceName = "") -> dict[str, Any]:
    """From memory: what the fast path said last, usually some 50 ms old."""
    needs = dependencies(request)
    found = needs.live.find(path, source)
    one = found[0] if len(found) == 1 else await in_thread(needs.queries, find_one, needs, path, source)
    if one is None:
        raise unknown_tag(path, source)
    ref, tag = one
    states = await state_names(needs, [path]) if tag.kind == ValueKind.STATE else {}
    return latest_json(needs.live.latest([ref])[0], states)


async def state_names(needs: Dependencies, paths: list[str]) -> dict[str, list[str]]:
    """Texts of discrete states by tag; empty where the store does not answer: the code still shows."""
    if needs.store is None or not paths:
        return {}
    try:
        rows = await in_thread(needs.queries, needs.store.rows, STATES, [paths])
    except Exception:  # a label is not worth an error
        return {}
    return {row["path"]: row["states"] for row in rows}


def latest_json(latest: LatestValue, states: dict[str, list[str]]) -> dict[str, Any]:
    """One tag's newest reading as the API says it."""
    tag = latest.tag
    out: dict[str, Any] = {
        "tag": tag.path,
        "source": tag.source,
        "kind": KINDS[tag.kind],
        "unit": tag.unit,
        "modelled": tag.modelled,
        "ts": rfc3339(latest.ts_us) if latest.ts_us else None,
        "ts_us": latest.ts_us or None,
        "value": json_value(tag.kind, latest.value),
        "quality": latest.quality if latest.ts_us else None,
        "state": None,
    }
    texts = states.get(tag.path)
    if tag.kind == ValueKind.STATE and texts and latest.ts_us and 0 <= latest.value < len(texts):
        out["state"] = texts[int(latest.value)]
    return out


@router.get("/v1/equipment/{path:path}/live", summary="The newest reading of every tag of an equipment")
async def equipment_live(request: Request, path: str) -> dict[str, Any]:
    """Latest of all its tags, its state (its `state` tag, if it has one), open alarms."""
    needs = dependencies(request)
    path = path.rstrip("/")
    refs = needs.live.below(path)
    if not refs:
        raise Problem(404, "unknown_equipment", f"no tag below {path} is known", field="path", found=path)
    values = needs.live.latest(refs[:EQUIPMENT_TAGS_MAX])
    values = await in_thread(needs.queries, without_the_moved, needs, values)
    named = [value.tag.path for value in values if value.tag.kind == ValueKind.STATE]
    states = await state_names(needs, named)
    tags = [latest_json(value, states) for value in values]
    own = next((tag for tag in tags if tag["tag"] == f"{path}/state"), None)
    return {
        "equipment": path,
        "state": (own["state"] or own["value"]) if own else None,
        "tags": tags,
        "tags_left_out": max(len(refs) - EQUIPMENT_TAGS_MAX, 0),
        "open_alarms": [msgspec.to_builtins(alarm) for alarm in needs.live.open_alarms(path)],
    }
