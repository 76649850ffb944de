"""Rejects of a segment's positions as one file: a JSON object a line, zstd. All of them, whatever PostgreSQL
keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from millrace.accounting import payload_hash
from millrace.batch import REASON_NAMES, Reject
from millrace.clock import HOUR_US
from millrace.durable import AsideFile
from millrace.schema.hour_counts import HourCount, add_counts

UNKNOWN_SOURCE = "unknown"
_LINES_PER_CHUNK = 4_096


def write_rejects(file: AsideFile, rejects: Sequence[Reject]) -> None:
    """Lines of rejects, compressed, in order."""
    compressor = zstandard.ZstdCompressor(1).compressobj()
    encoder = msgspec.json.Encoder()
    for begin in range(0, len(rejects), _LINES_PER_CHUNK):
        lines = [encoder.encode(_as_json(reject)) for reject in rejects[begin : begin + _LINES_PER_CHUNK]]
        file.write(compressor.compress(b"\n".join(lines) + b"\n"))
    file.write(compressor.flush())


def read_rejects(path: Path) -> Iterator[dict[str, Any]]:
    """Rejects out of a quarantine file, one at a time; `payload` is bytes again."""
    decoder = msgspec.json.Decoder()
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        rest = b""
        while chunk := stream.read(1 << 20):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                row: dict[str, Any] = decoder.decode(line)
                row["payload"] = row["payload"].encode("latin-1")
                yield row


def count_rejects(rejects: Sequence[Reject]) -> list[HourCount]:
    """Readings that the rejects stand for, per source and hour (law 15: by the received hour without a
    time)."""
    return add_counts(
        HourCount(
            _clean(reject.source) or UNKNOWN_SOURCE,
            (reject.ts_us or reject.received_ts_us) // HOUR_US * HOUR_US,
            reject.count,
            payload_hash(reject.payload),
        )
        for reject in rejects
    )


def _as_json(reject: Reject) -> dict[str, Any]:
    return {
        "position": str(reject.position),
        "index": reject.index,
        "source": _clean(reject.source),
        "reason": REASON_NAMES[reject.reason],
        "received_ts_us": reject.received_ts_us,
        "ts_us": reject.ts_us,
        "tag": _clean(reject.tag),
        "payload": reject.payload.decode("latin-1"),  # any byte survives
        "count": reject.count,
    }


def _clean(text: str) -> str:
    """Text that can be UTF-8: lone surrogates of a hostile sender cannot."""
    return text.encode("utf-8", "replace").decode()
