"""`POST /v1/readings`: a body of one source in; 202 once the stream holds it durably."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from millrace import telemetry
from millrace.api.auth import INGEST_PATH
from millrace.api.dependencies import AcceptedBody, Dependencies, SentBody, dependencies
from millrace.api.problems import Problem
from millrace.batch import QUALITY_GOOD, SOURCE_LENGTH_MAX, Incarnation

router = APIRouter(tags=["readings"])
_json = msgspec.json.Encoder()

INCARNATION = re.compile(r"(\d{1,18})-([0-9a-fA-F]{1,16})")
SEQ_MAX = 2**63 - 1
KEY_BYTES_MAX = 200
REJECTS_SHOWN_MAX = 1_000
TRACE_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
READING = {
    "type": "object",
    "required": ["tag", "ts", "value"],
    "additionalProperties": False,
    "properties": {
        "tag": {
            "type": "string",
            "description": "enterprise/site/area/line/equipment/tag, 256 bytes at most",
        },
        "ts": {
            "oneOf": [{"type": "string", "format": "date-time"}, {"type": "integer"}],
            "description": "RFC 3339 with an offset, or microseconds since 1970 in UTC",
        },
        "value": {"type": ["number", "boolean", "string", "null"], "description": "a text is a state"},
        "quality": {"type": "integer", "minimum": 0, "maximum": 255, "default": QUALITY_GOOD},
        "unit": {"type": "string", "description": "compared with the asset model's: `wrong_unit` if another"},
    },
}
BODY = {
    "required": True,
    "content": {
        "application/x-ndjson": {"schema": {"type": "string", "description": "one reading a line"}},
        "application/json": {"schema": {"type": "array", "items": READING}},
        "application/vnd.apache.arrow.stream": {"schema": {"type": "string", "format": "binary"}},
    },
}


@router.post(
    INGEST_PATH,
    status_code=202,
    summary="Send readings",
    openapi_extra={
        "requestBody": BODY,
        "parameters": [
            {"name": name, "in": "header", "schema": {"type": "string"}, "description": text}
            for name, text in (
                ("Millrace-Source", "The gateway or device that sends; the token's own name by default."),
                ("Millrace-Incarnation", "`<start in microseconds>-<hex nonce>`: one life of the sender."),
                ("Millrace-Seq", "Number of this frame in its incarnation; a resend keeps it."),
                (
                    "Idempotency-Key",
                    "For senders without the two above; kept for the last 10,000 per source.",
                ),
            )
        ],
    },
)
async def post_readings(request: Request) -> Response:
    """202 with what was accepted and what was refused, once the stream holds the readings durably."""
    needs = dependencies(request)
    try:
        if needs.door is None:
            raise Problem(503, "no_ingest", "this process takes no readings")
        source = _source(request, needs)
        needs.door.admit(source, _content_length(request))
        incarnation, seq = _identity(request)
        sent = SentBody(
            source=source,
            content_type=request.headers.get("content-type", "application/x-ndjson"),
            data=await _body(request, needs.settings.body_bytes_max),
            content_encoding=request.headers.get("content-encoding", "").strip().lower(),
            incarnation=incarnation,
            seq=seq,
            key=_key(request),
            trace=_trace(request),
        )
        accepted = await needs.door.accept(sent)
    except Exception as error:
        if isinstance(error, Problem):
            telemetry.refused(error.code)  # found before the door was asked, which counts its own
        refused = _refusal(error)
        if refused is None:
            raise
        raise refused from None
    return Response(_json.encode(_answer(accepted)), 202, media_type="application/json")


def _answer(accepted: AcceptedBody) -> dict[str, Any]:
    """`reasons` counts all of the rejects, of which `rejects` names the first."""
    rejects = [{"index": index, "reason": reason} for index, reason in accepted.rejects[:REJECTS_SHOWN_MAX]]
    return {
        "accepted": accepted.accepted,
        "rejected": accepted.rejected,
        "reasons": Counter(reason for _, reason in accepted.rejects),
        "rejects": rejects,
    }


def _refusal(error: Exception) -> Problem | None:
    """A door's `Refusal` as a problem; None for what is not a refusal."""
    if isinstance(error, Problem):
        return error
    status, reason = getattr(error, "status", None), getattr(error, "reason", None)
    if not isinstance(status, int) or not isinstance(reason, str):
        return None
    retry_after_s = float(getattr(error, "retry_after_s", 0.0))
    headers = (
        {"Retry-After": str(max(1, round(retry_after_s)))} if retry_after_s or status in (429, 503) else {}
    )
    advice = "send the same again, with the same identity, after Retry-After" if headers else ""
    return Problem(
        status,
        reason,
        str(getattr(error, "detail", error)),
        headers=headers,
        what_to_do=advice,
        more={"retry_after_s": retry_after_s} if headers else None,
    )


def _source(request: Request, needs: Dependencies) -> str:
    source = request.headers.get("millrace-source", "") or needs.token_source
    try:
        source = source.encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise _bad_header("Millrace-Source", source, "UTF-8") from None
    if len(source.encode()) > SOURCE_LENGTH_MAX or not source.isprintable():
        wanted = f"printable text of at most {SOURCE_LENGTH_MAX} bytes"
        raise _bad_header("Millrace-Source", source, wanted, "bad_source")
    return source


def _identity(request: Request) -> tuple[Incarnation | None, int | None]:
    said, seq_said = request.headers.get("millrace-incarnation"), request.headers.get("millrace-seq")
    if said is None and seq_said is None:
        return None, None
    match = INCARNATION.fullmatch(said or "")
    if match is None:
        raise _bad_header(
            "Millrace-Incarnation", said, "<start in microseconds>-<hex nonce>, with Millrace-Seq"
        )
    if seq_said is None or not seq_said.isdecimal() or len(seq_said) > 19 or int(seq_said) > SEQ_MAX:
        raise _bad_header("Millrace-Seq", seq_said, "a whole number from 0, with Millrace-Incarnation")
    return Incarnation(int(match[1]), int(match[2], 16)), int(seq_said)


def _key(request: Request) -> bytes:
    key = request.headers.get("idempotency-key", "").encode("latin-1")
    if len(key) > KEY_BYTES_MAX:
        raise _bad_header("Idempotency-Key", f"{len(key)} bytes", f"at most {KEY_BYTES_MAX} bytes")
    return key


def _content_length(request: Request) -> int:
    said = request.headers.get("content-length", "")
    return int(said) if said.isdecimal() and len(said) < 16 else 0


def _trace(request: Request) -> str:
    """The sender's trace parent, where it is one."""
    said = request.headers.get("traceparent", "")
    return said if TRACE_PARENT.fullmatch(said) else ""


def _bad_header(name: str, found: object, wanted: str, code: str = "bad_header") -> Problem:
    return Problem(
        400, code, f"{name}: found {found!r}, wanted {wanted}", field=name, found=found, wanted=wanted
    )


async def _body(request: Request, bytes_max: int) -> bytes:
    """The body, read no further than it may be long."""
    if _content_length(request) > bytes_max:
        raise _too_large(_content_length(request), bytes_max)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > bytes_max:
            raise _too_large(size, bytes_max)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(found: int, wanted: int) -> Problem:
    return Problem(
        413,
        "body_too_large",
        f"a body of {found} bytes or more, wanted at most {wanted}",
        found=found,
        wanted=f"at most {wanted} bytes",
        what_to_do="send it in parts",
    )
