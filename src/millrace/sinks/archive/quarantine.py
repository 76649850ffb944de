"""Rejects of a segment's positions written as one file; see schema/reject_files."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import zstandard

from millrace.batch import Reject
from millrace.durable import AsideFile
from millrace.schema.hour_counts import HourCount, add_counts
from millrace.schema.reject_files import as_line, counted_as
from millrace.schema.text import storable

_LINES_PER_CHUNK = 4_096


def write_rejects(file: AsideFile, rejects: Sequence[Reject]) -> None:
    """Lines of rejects, compressed, in order."""
    compressor = zstandard.ZstdCompressor(1).compressobj()
    encoder = msgspec.json.Encoder()
    for begin in range(0, len(rejects), _LINES_PER_CHUNK):
        lines = [encoder.encode(as_line(reject)) for reject in rejects[begin : begin + _LINES_PER_CHUNK]]
        file.write(compressor.compress(b"\n".join(lines) + b"\n"))
    file.write(compressor.flush())


def count_rejects(rejects: Sequence[Reject]) -> list[HourCount]:
    """Readings that the rejects stand for, per source and hour, as the ledger counts them."""
    counted = [(counted_as(reject), reject.count) for reject in rejects]
    return add_counts(HourCount(storable(c.source), c.hour_us, count, c.hash) for c, count in counted)
