"""The table of wire formats. To add one: write its file, add its row here (`docs/add/protocol.md`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from millrace.batch import Frame
from millrace.protocols import frame, json_event, json_text, kpl
from millrace.protocols.columns import Columns
from millrace.protocols.limits import Limits


class Decode(Protocol):
    """Readings of one body; ProtocolError where it is no such body at all."""

    def __call__(self, body: bytes, *, limits: Limits, received_ts_us: int) -> Columns: ...


@dataclass(frozen=True, slots=True)
class Format:
    """A row of PROTOCOLS.

    `content_types`: what a request calls it (none: not taken over HTTP). `sniff` looks at a record's bytes.
    `decode` is None for the two that are more than columns: a frame has an identity, an aggregate is many
    records.
    `encode` is None for what others send and we never do.
    """

    name: str
    content_types: tuple[str, ...]
    sniff: Callable[[bytes], bool]
    decode: Decode | None
    encode: Callable[[Frame], bytes] | None


def _first(data: bytes) -> bytes:
    return data[:64].lstrip()[:1]


def _is_event(data: bytes) -> bool:
    return _first(data) == b"{" and b"\n" not in data.strip()


ARROW_CONTINUATION: Final = b"\xff\xff\xff\xff"


def _arrow_decode(body: bytes, *, limits: Limits, received_ts_us: int) -> Columns:
    from millrace.protocols import arrow  # pyarrow is heavy, and a producer's install has none

    return arrow.decode(body, limits=limits, received_ts_us=received_ts_us)


def _arrow_encode(source: Frame) -> bytes:
    from millrace.protocols import arrow

    return arrow.encode(source)


PROTOCOLS: Final[tuple[Format, ...]] = (
    Format(
        "frame",
        ("application/vnd.millrace.frame",),
        lambda data: data[:4] == frame.MAGIC,
        None,
        frame.encode,
    ),
    Format("kpl", (), lambda data: data[:4] == kpl.MAGIC, None, None),
    Format(
        "arrow",
        ("application/vnd.apache.arrow.stream",),
        lambda data: data[:4] == ARROW_CONTINUATION,
        _arrow_decode,
        _arrow_encode,
    ),
    Format(
        "json",
        ("application/json",),
        lambda data: _first(data) == b"[",
        partial(json_text.decode, content="json"),
        json_text.encode_json,
    ),
    Format("json_event", (), _is_event, json_event.decode, json_event.encode),
    Format(
        "ndjson",
        ("application/x-ndjson", "application/ndjson", "application/jsonl"),
        lambda data: _first(data) == b"{",
        partial(json_text.decode, content="ndjson"),
        json_text.encode_ndjson,
    ),
)

BY_NAME: Final = {row.name: row for row in PROTOCOLS}
_BY_CONTENT_TYPE: Final = {kind: row for row in PROTOCOLS for kind in row.content_types}


def sniff(data: bytes) -> str | None:
    """Name of the format that a record's bytes look like; None if like none."""
    return next((row.name for row in PROTOCOLS if row.sniff(data)), None)


def by_content_type(content_type: str) -> Format | None:
    """The format that a request's `Content-Type` names, its parameters ignored."""
    return _BY_CONTENT_TYPE.get(content_type.partition(";")[0].strip().lower())
