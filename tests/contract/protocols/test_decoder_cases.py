"""Golden records: bytes that once came, or that an older version wrote, and what they must always mean.

Each folder of `tests/cases/decoders` holds `record.bin` and `expect.json`. A changed meaning breaks a promise
to whoever has such records in a stream: add a folder, never edit one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millrace.batch import Frame, Record, ValueKind
from millrace.protocols import Limits, decode_record

CASES = Path(__file__).parents[2] / "cases" / "decoders"


def meaning(frame: Frame) -> dict[str, Any]:
    """A frame as JSON can hold it, values bit for bit."""
    rows = zip(
        frame.tag.tolist(), frame.ts_us.tolist(), frame.value.tolist(), frame.quality.tolist(), strict=True
    )
    return {
        "source": frame.source,
        "identity": None
        if frame.anonymous
        else [frame.incarnation.start_us, frame.incarnation.nonce, frame.seq],
        "received_ts_us": frame.received_ts_us,
        "key": frame.key.decode(),
        "trace": frame.trace,
        "readings": [
            [
                frame.tags[tag],
                ValueKind(int(frame.kinds[tag])).name,
                ts_us,
                _value(frame, tag, value),
                quality,
                *([frame.units[tag]] if frame.units else []),
            ]
            for tag, ts_us, value, quality in rows
        ],
        "rejects": [[r.index, r.reason.name, r.ts_us, r.payload.hex()] for r in frame.rejects],
    }


def _value(frame: Frame, tag: int, value: float) -> str | None:
    if value != value:
        return None
    return frame.states[int(value)] if frame.kinds[tag] == ValueKind.STATE else value.hex()


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_a_golden_record_means_what_it_always_meant(case: Path) -> None:
    expect = json.loads((case / "expect.json").read_text())
    record = Record(1, expect["arrival_us"], expect["partition_key"], (case / "record.bin").read_bytes())
    assert [meaning(frame) for frame in decode_record(record, Limits())] == expect["frames"]
