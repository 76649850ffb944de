"""Quarantine files: the rejects of a segment's positions, a JSON object a line, zstd. All of them, whatever PostgreSQL
keeps.

Each line says where the ledger counts it (`counted`), so that the files can be recounted against the ledger without
knowing the limits that judged it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from millrace.accounting import payload_hash
from millrace.batch import REASON_NAMES, CountedAs, Reject
from millrace.clock import HOUR_US
from millrace.errors import MillraceError
from millrace.schema.hour_counts import HourCount
from millrace.schema.text import storable

UNKNOWN_SOURCE = "unknown"


class RejectFileError(MillraceError):
    """A quarantine file is damaged."""


class _Counted(msgspec.Struct):
    source: str
    hour_us: int
    hash: str


class _Line(msgspec.Struct):
    """What a recount reads of a line; `counted` is missing in files of older releases."""

    count: int
    counted: _Counted | None = None


def as_line(reject: Reject) -> dict[str, Any]:
    """A reject as the object of its line. Numbers beyond 2^53 are texts: JSON readers round them."""
    counted = counted_as(reject)
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
        "counted": {
            "source": storable(counted.source),
            "hour_us": counted.hour_us,
            "hash": f"{counted.hash:016x}",
        },
    }


def counted_as(reject: Reject) -> CountedAs:
    """Where a reject counts: as `process` says; else under its own or the received hour, `unknown` without a source
    (law 15)."""
    if reject.counted is not None:
        return reject.counted
    hour_us = (reject.ts_us or reject.received_ts_us) // HOUR_US * HOUR_US
    return CountedAs(reject.source or UNKNOWN_SOURCE, hour_us, payload_hash(reject.payload))


def read_rejects(path: Path) -> Iterator[dict[str, Any]]:
    """Rejects out of a quarantine file, one at a time; `payload` is bytes again."""
    decoder = msgspec.json.Decoder()
    for line in _lines(path):
        row: dict[str, Any] = decoder.decode(line)
        row["payload"] = row["payload"].encode("latin-1")
        yield row


def recount(path: Path) -> list[HourCount]:
    """Counts and hash sums made from the lines. RejectFileError when the file cannot be read."""
    decoder = msgspec.json.Decoder(_Line)
    totals: dict[tuple[str, int], tuple[int, int]] = {}
    try:
        for line in _lines(path):
            row = decoder.decode(line)
            if row.counted is not None:
                key = (row.counted.source, row.counted.hour_us)
                count, total = totals.get(key, (0, 0))
                totals[key] = (count + row.count, (total + int(row.counted.hash, 16)) % 2**64)
    except (ValueError, msgspec.MsgspecError, zstandard.ZstdError) as error:
        raise RejectFileError(f"{path}: not a readable quarantine file ({error})") from None
    return [HourCount(source, hour_us, *sums) for (source, hour_us), sums in sorted(totals.items())]


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        rest = b""
        while chunk := stream.read(1 << 20):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
    if rest:
        yield rest


def _clean(text: str) -> str:
    """Text that can be UTF-8: lone surrogates of a hostile sender cannot."""
    return text.encode("utf-8", "replace").decode()
