"""Sorted readings -> the bytes of a segment file.

Times are delta coded, values either split by byte or plain, whichever makes the first row group smaller:
noise fills every byte of a float64 and gains from splitting (8.5 against 9.9 bytes a reading), a value of a
few decimals repeats and gains from zstd seeing it whole (5.6 against 8.2). Measured in
benchmarks/micro/archive.py.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from millrace.batch import I64
from millrace.durable import AsideFile
from millrace.schema.hour_counts import HourCount, add_counts
from millrace.schema.segments import (
    ARROW_SCHEMA,
    FACTS_KEY,
    FORMAT_VERSION,
    ROW_GROUP_ROWS,
    Facts,
    encode_facts,
)
from millrace.sinks.archive.sorting import SortedReadings

_ENCODINGS: Final[tuple[dict[str, str], ...]] = (
    {"ts_us": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"},
    {"ts_us": "DELTA_BINARY_PACKED", "value": "PLAIN"},
)
_OPTIONS: Final[dict[str, Any]] = {
    "version": "2.6",
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": ["path", "source", "quality", "late"],
    "write_page_index": True,
}


class SegmentWriter:
    """Takes blocks of sorted readings, each wholly after the one before, and ends with the directory."""

    def __init__(self, file: AsideFile) -> None:
        self._out: Any = file  # pyarrow takes any object with write, tell, flush, close
        self._writer: pq.ParquetWriter | None = None
        self._paths: list[str] = []
        self._sources: list[str] = []
        self._starts: list[int] = [0]
        self._counts: list[HourCount] = []
        self.min_ts_us = 0
        self.max_ts_us = 0

    @property
    def rows(self) -> int:
        return self._starts[-1]

    @property
    def counts(self) -> list[HourCount]:
        """Per source and hour, of all blocks so far."""
        return self._counts

    def write(self, block: SortedReadings, counts: list[HourCount]) -> None:
        """Append a block; `counts` are its own. An empty block is nothing."""
        if not len(block):
            return
        table = _table(block)
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._out, ARROW_SCHEMA, column_encoding=_smaller_encoding(table), **_OPTIONS
            )
        low, high = int(block.ts_us.min()), int(block.ts_us.max())
        self.min_ts_us = low if not self.rows else min(self.min_ts_us, low)
        self.max_ts_us = high if not self.rows else max(self.max_ts_us, high)
        self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        self._counts = add_counts([*self._counts, *counts])
        self._starts += (block.starts[1:] + self.rows).tolist()
        self._paths += block.paths
        self._sources += block.sources

    def finish(self, *, folder_id: str, shard: int, epoch: int, first: int, last: int) -> None:
        """Write the footer. At least one row must have been written."""
        assert self._writer is not None
        facts = Facts(
            version=FORMAT_VERSION,
            folder_id=folder_id,
            shard=shard,
            epoch=epoch,
            first_position=str(first),
            last_position=str(last),
            paths=tuple(self._paths),
            sources=tuple(self._sources),
            starts=tuple(self._starts),
            min_ts_us=self.min_ts_us,
            max_ts_us=self.max_ts_us,
            hours=tuple((c.source, c.hour_us, c.count, c.hash) for c in self._counts),
        )
        self._writer.add_key_value_metadata({FACTS_KEY.decode(): encode_facts(facts).decode()})
        self._writer.close()


def _table(block: SortedReadings) -> pa.Table:
    counts = np.diff(block.starts)
    columns = [
        _repeated(block.paths, counts),
        _repeated(block.sources, counts),
        pa.array(block.ts_us),
        pa.array(block.value),
        pa.array(block.quality),
        pa.array(block.late),
    ]
    return pa.Table.from_arrays(columns, schema=ARROW_SCHEMA)


def _repeated(texts: list[str], counts: I64) -> pa.Array[Any]:
    """Each text as often as `counts` says, as a dictionary in the texts' order."""
    known = sorted(set(texts))
    number = {text: i for i, text in enumerate(known)}
    codes = np.array([number[text] for text in texts], np.int32)
    return pa.DictionaryArray.from_arrays(np.repeat(codes, counts), pa.array(known, pa.string()))


def _smaller_encoding(table: pa.Table) -> dict[str, str]:
    """The value encoding that makes the block's first row group smaller."""
    sample = table.select(["ts_us", "value"]).slice(0, ROW_GROUP_ROWS)
    sizes = [_size(sample, encoding) for encoding in _ENCODINGS]
    return _ENCODINGS[sizes.index(min(sizes))]


def _size(table: pa.Table, encoding: dict[str, str]) -> int:
    out = pa.BufferOutputStream()
    pq.write_table(
        table, out, column_encoding=encoding, use_dictionary=False, compression="zstd", compression_level=1
    )
    return int(out.getvalue().size)
