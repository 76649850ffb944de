"""A single reading as one record: what an AWS IoT Core rule puts. The same object as a line of NDJSON."""

from __future__ import annotations

from millrace.batch import REJECT_PAYLOAD_BYTES_MAX, DoorReject, Frame
from millrace.errors import ProtocolError
from millrace.protocols import json_text
from millrace.protocols.columns import Columns, no_readings
from millrace.protocols.json_reading import decode_one, diagnose
from millrace.protocols.limits import Limits


def decode(body: bytes, *, limits: Limits, received_ts_us: int) -> Columns:
    """One reading, or one reject that says why it is none."""
    line = body.strip()
    if decode_one(line) is None:
        reason, ts_us = diagnose(line)
        return no_readings((DoorReject(0, reason, line[:REJECT_PAYLOAD_BYTES_MAX], ts_us),))
    # one line for the columns, however the sender broke it: a line end inside a text is escaped in JSON
    flat = line.replace(b"\n", b" ")
    return json_text.decode(flat, content="ndjson", limits=limits, received_ts_us=received_ts_us)


def encode(frame: Frame) -> bytes:
    """A frame of one reading as its event."""
    if len(frame.ts_us) != 1:
        raise ProtocolError("too_many_readings", f"an event is one reading, found {len(frame.ts_us)}")
    return json_text.encode_ndjson(frame).rstrip()
