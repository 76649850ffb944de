"""Rows of the quarantine: what was refused, why, and in a form that can be sent again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from millrace.batch import I64, U8, CountedAs, Frame, Reason, Record, Reject, ValueKind
from millrace.protocols.json_reading import reading_json


def of_door(frame: Frame, position: int, counted: Sequence[CountedAs]) -> Iterator[Reject]:
    """Readings that the door (or the decoder) refused."""
    for refused, counted_as in zip(frame.rejects, counted, strict=True):
        yield Reject(
            position=position,
            index=refused.index,
            source=frame.source,
            reason=refused.reason,
            received_ts_us=frame.received_ts_us,
            ts_us=refused.ts_us,
            tag="",
            payload=refused.payload,
            counted=counted_as,
        )


def of_readings(
    frame: Frame, position: int, rows: I64, reasons: U8, counted: Sequence[CountedAs]
) -> Iterator[Reject]:
    """Readings of a frame that `process` refused; `rows` are indexes into the frame's columns."""
    for row, counted_as in zip(rows, counted, strict=True):
        tag = int(frame.tag[row])
        yield Reject(
            position=position,
            index=int(row),
            source=frame.source,
            reason=Reason(int(reasons[row])),
            received_ts_us=frame.received_ts_us,
            ts_us=int(frame.ts_us[row]),
            tag=frame.tags[tag],
            payload=_payload(frame, int(row), tag),
            counted=counted_as,
        )


def of_record(record: Record, reason: Reason, counted: CountedAs) -> Reject:
    """A whole record that could not be processed."""
    return Reject(
        position=record.position,
        index=0,
        source="",
        reason=reason,
        received_ts_us=record.arrival_us,
        ts_us=0,
        tag="",
        payload=record.data[:1024],
        counted=counted,
    )


def _payload(frame: Frame, row: int, tag: int) -> bytes:
    value, kind = float(frame.value[row]), ValueKind(int(frame.kinds[tag]))
    text = ""
    if kind == ValueKind.STATE and not np.isnan(value) and 0 <= value < len(frame.states):
        text = frame.states[int(value)]
    unit = frame.units[tag] if frame.units else ""
    return reading_json(
        frame.tags[tag], int(frame.ts_us[row]), value, kind, int(frame.quality[row]), text, unit
    )
