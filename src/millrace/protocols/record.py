"""A stream record to frames: whatever its bytes are, something comes back and nothing is raised."""

from __future__ import annotations

from dataclasses import replace

from millrace.batch import REJECT_PAYLOAD_BYTES_MAX, DoorReject, Frame, Reason, Record
from millrace.errors import ProtocolError
from millrace.protocols import frame, kpl
from millrace.protocols.columns import no_readings
from millrace.protocols.limits import Limits
from millrace.protocols.table import BY_NAME, sniff
from millrace.protocols.tag_path import source_ok

UNKNOWN_SOURCE = "unknown"


def decode_record(record: Record, limits: Limits) -> list[Frame]:
    """The frames of a record, at least one; never raises.

    A record put past our ingest has no identity: its frame is `anonymous`, received when the stream took it;
    its source is the partition key. What cannot be read is a frame of one reject. Over all frames of a record
    the rejects' indexes are distinct.
    """
    if record.data[:4] == kpl.MAGIC:
        return _aggregate(record, limits)
    return [_one(record.data, record.partition_key, record.arrival_us, limits)]


def rejected(data: bytes, source: str, received_ts_us: int, reason: str) -> Frame:
    """A record that is one reject, whole."""
    reject = DoorReject(0, Reason[reason.upper()], data[:REJECT_PAYLOAD_BYTES_MAX])
    return no_readings((reject,)).frame(_source(source), received_ts_us=received_ts_us, anonymous=True)


def _source(partition_key: str) -> str:
    return partition_key if source_ok(partition_key) else UNKNOWN_SOURCE


def _one(data: bytes, partition_key: str, arrival_us: int, limits: Limits) -> Frame:
    """A record, or a part of an aggregate, that is one frame."""
    try:
        if data[:4] == frame.MAGIC:
            return _own(frame.decode(data), partition_key, arrival_us)
        row = BY_NAME.get(sniff(data) or "")
        if row is None or row.decode is None:
            raise ProtocolError("unknown_format", f"found {data[:8]!r}")
        columns = row.decode(data, limits=limits, received_ts_us=arrival_us)
        return columns.frame(_source(partition_key), received_ts_us=arrival_us, anonymous=True)
    except ProtocolError as error:
        return rejected(data, partition_key, arrival_us, error.reason)


def _own(decoded: Frame, partition_key: str, arrival_us: int) -> Frame:
    """A frame of our own format, which may have come without passing our ingest."""
    if partition_key and decoded.source != partition_key:
        # it lies in another source's shard: taking it would give the source two states and no order
        raise ProtocolError("bad_source", f"a frame of {decoded.source!r} under {partition_key[:80]!r}")
    if decoded.received_ts_us <= 0:
        decoded.received_ts_us = arrival_us
    return decoded


def _aggregate(record: Record, limits: Limits) -> list[Frame]:
    try:
        parts = kpl.decode(record.data, limits=limits)
    except ProtocolError as error:
        return [rejected(record.data, record.partition_key, record.arrival_us, error.reason)]
    frames, before = [], 0
    for part in parts:
        one = _one(part.data, part.partition_key, record.arrival_us, limits)
        one.rejects = tuple(replace(reject, index=reject.index + before) for reject in one.rejects)
        before += one.count
        frames.append(one)
    return frames
