"""A request's body as columns: which decoder reads which content type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from millrace.batch import Frame, Incarnation
from millrace.errors import ProtocolError
from millrace.ingest.refusal import Refusal
from millrace.protocols import frame as frame_codec
from millrace.protocols import json_text
from millrace.protocols.columns import Columns
from millrace.protocols.limits import Limits

FRAME_TYPE: Final = "application/vnd.millrace.frame"
ARROW_TYPES: Final = ("application/vnd.apache.arrow.stream",)
NDJSON_TYPES: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl", "text/plain")
JSON_TYPES: Final = ("application/json",)
CONTENT_TYPES: Final = (*NDJSON_TYPES, *JSON_TYPES, *ARROW_TYPES, FRAME_TYPE)

TOO_LARGE: Final = frozenset({"record_too_large", "too_many_readings", "compression_bomb"})


@dataclass(frozen=True, slots=True)
class Body:
    """What one request brought. `incarnation` and `seq`: the sender's identity, both or neither."""

    source: str
    content_type: str
    data: bytes
    content_encoding: str = ""
    incarnation: Incarnation | None = None
    seq: int | None = None
    key: bytes = b""
    trace: str = ""


def framed(
    body: Body, incarnation: Incarnation, seq: int, *, limits: Limits, received_ts_us: int
) -> tuple[Frame, bytes]:
    """The one record that a body becomes, stamped; Refusal (400, 413, 415) when it can be none.

    `incarnation` and `seq` are its identity, unless the body is a producer's own frame.
    """
    kind = body.content_type.partition(";")[0].strip().lower()
    if kind not in CONTENT_TYPES:
        wanted = ", ".join(CONTENT_TYPES)
        raise Refusal(415, "unknown_format", f"found content type {kind[:80]!r}, wanted one of {wanted}")
    try:
        data = _inflated(body, limits)
        if kind == FRAME_TYPE:
            frame = _frame(data, body.source)
            data = frame_codec.traced(data, body.trace) if body.trace else data
            return frame, frame_codec.stamp(data, received_ts_us)
        columns = _columns(kind, data, limits=limits, received_ts_us=received_ts_us)
        frame = columns.frame(body.source, incarnation, seq, received_ts_us, key=body.key, trace=body.trace)
        return frame, frame_codec.encode(frame)
    except ProtocolError as error:
        raise Refusal(413 if error.reason in TOO_LARGE else 400, error.reason, error.detail) from None


def _columns(kind: str, data: bytes, *, limits: Limits, received_ts_us: int) -> Columns:
    if kind in ARROW_TYPES:
        from millrace.protocols import arrow  # a heavy import that many doors never need

        return arrow.decode(data, limits=limits, received_ts_us=received_ts_us)
    content: json_text.Content = "ndjson" if kind in NDJSON_TYPES else "json"
    return json_text.decode(data, content=content, limits=limits, received_ts_us=received_ts_us)


def _inflated(body: Body, limits: Limits) -> bytes:
    if body.content_encoding in ("", "identity"):
        return body.data
    if body.content_encoding not in ("gzip", "zstd"):
        found = body.content_encoding[:40]
        raise Refusal(415, "unknown_format", f"found content encoding {found!r}, wanted gzip, zstd or none")
    from millrace.protocols.inflate import inflate

    return inflate(body.data, body.content_encoding, limits.bytes_max)


def _frame(data: bytes, source: str) -> Frame:
    """A producer's own frame: whole, of this source, and in no series that only the flow itself may use."""
    frame = frame_codec.decode(data)
    if source and frame.source != source:
        raise ProtocolError("bad_source", f"the frame says {frame.source!r}, the request {source!r}")
    if frame.replay or frame.anonymous:
        raise ProtocolError("bad_schema", "a sender's frame is neither a replay nor anonymous")
    return frame
