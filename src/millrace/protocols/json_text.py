"""NDJSON and JSON arrays of readings, to columns and back.

An array is decoded in one call (msgspec); only if that fails is each element decoded alone, and only one that fails
alone is looked at closely. So one bad reading costs the others nothing but a second pass. Lines: see `ndjson`.
A reading's index is its place among the body's readings.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
import numpy as np

from millrace.batch import I64, DoorReject, Frame, ValueKind
from millrace.errors import ProtocolError
from millrace.protocols import ndjson
from millrace.protocols.columns import Columns, no_readings
from millrace.protocols.json_columns import columns_of
from millrace.protocols.json_reading import Reading, encode_one, reading_json
from millrace.protocols.json_rows import of_rows, one_by_one
from millrace.protocols.limits import Limits

Content = Literal["ndjson", "json"]

_array = msgspec.json.Decoder(list[Reading])
_raw_array = msgspec.json.Decoder(list[msgspec.Raw])

_COMMAS_PER_READING: Final = 8
_FAILED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(body: bytes, *, content: Content, limits: Limits, received_ts_us: int) -> Columns:
    """Readings and rejects of a body; ProtocolError where it is not even a list of things (`bad_syntax`), or
    holds more than it may (`record_too_large`, `too_many_readings`)."""
    if len(body) > limits.bytes_max:
        raise ProtocolError("record_too_large", f"found {len(body)} bytes, wanted {limits.bytes_max} at most")
    decode_content = ndjson.decode if content == "ndjson" else _decode_array
    return decode_content(body, limits=limits, received_ts_us=received_ts_us)


def _decode_array(body: bytes, *, limits: Limits, received_ts_us: int) -> Columns:
    rows, index, refused = _elements(body, limits)
    if len(rows) + len(refused) > limits.readings_max:
        raise ndjson.too_many(len(rows) + len(refused), limits)
    if not rows:
        return no_readings(tuple(refused))
    numbers: dict[str, int] = {}
    return columns_of(
        of_rows(rows, numbers),
        tuple(numbers),
        index if refused else None,
        refused,
        lambda row: encode_one(rows[row]),
        limits=limits,
        received_ts_us=received_ts_us,
    )


def _elements(body: bytes, limits: Limits) -> tuple[list[Reading], I64, list[DoorReject]]:
    """Readings with their places, and the elements that are none."""
    try:
        rows = _array.decode(body)
        return rows, np.arange(len(rows)), []
    except _FAILED:
        pass
    if body.count(b",") > _COMMAS_PER_READING * limits.readings_max:
        raise ndjson.too_many(body.count(b","), limits)
    try:
        elements = [bytes(item) for item in _raw_array.decode(body)]
    except _FAILED as error:
        raise ProtocolError("bad_syntax", f"wanted a JSON array of readings: {error}") from None
    return one_by_one(elements, range(len(elements)))


def encode_ndjson(frame: Frame) -> bytes:
    """A frame's readings as NDJSON, one a line: what `decode` reads back bit for bit."""
    lines = [
        reading_json(
            frame.tags[tag],
            ts_us,
            value,
            kind,
            quality,
            _state(frame, kind, value),
            frame.units[tag] if frame.units else "",
        )
        for tag, ts_us, value, kind, quality in zip(
            frame.tag.tolist(),
            frame.ts_us.tolist(),
            frame.value.tolist(),
            frame.kinds[frame.tag].tolist(),
            frame.quality.tolist(),
            strict=True,
        )
    ]
    return b"".join(line + b"\n" for line in lines)


def encode_json(frame: Frame) -> bytes:
    """The same as a JSON array."""
    return b"[" + encode_ndjson(frame).rstrip().replace(b"\n", b",") + b"]"


def _state(frame: Frame, kind: int, value: float) -> str:
    return frame.states[int(value)] if kind == ValueKind.STATE and value == value else ""
