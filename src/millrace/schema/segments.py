"""An archive segment: one Parquet file of one shard's readings between two positions.

How is one tag read without the rest? Rows are sorted by (path, source, time), cut into row groups of 32,768,
and the footer carries a directory: for every (path, source) its range of rows. A reader takes the directory,
reads the one or two row groups that hold the range, and cuts it out. Column statistics on the sorted path
let any other Parquet engine do nearly the same.

    <archive>/shard=3/date=2026-01-05/seg-3-7-1001-2040.parquet      readings; shard, epoch, first, last
    position <archive>/shard=3/date=2026-01-05/rej-3-7-1001-2040.ndjson.zst   rejects of the same positions,
    if there were any

`date` is the shard's time at which the segment closed; late readings of another day are in it too, so a
reader goes by the manifest's `min_ts_us` and `max_ts_us`, never by the folder.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from sys import intern
from threading import Lock
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from millrace.accounting import hash_rows, tag_hash
from millrace.batch import F64, I32, I64, U8
from millrace.clock import SECOND_US
from millrace.errors import MillraceError
from millrace.schema.hour_counts import HourCount, add_counts, count_hours

FORMAT_VERSION: Final = 1
ROW_GROUP_ROWS: Final = 32_768
FOOTERS_CACHED_MAX: Final = 256
FACTS_KEY: Final = b"millrace.segment"
_FACTS_BYTES_MAX: Final = 256 * 1024**2

ARROW_SCHEMA: Final = pa.schema(
    [
        pa.field("path", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("source", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("ts_us", pa.int64(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),  # NaN: a gap, quality below 64
        pa.field("quality", pa.uint8(), nullable=False),
        pa.field("late", pa.uint8(), nullable=False),
    ]
)


class SegmentError(MillraceError):
    """A segment file is damaged, of another format, or not what the manifest says."""


class TooManyRows(MillraceError):
    """A read would give more rows than the caller allows; ask for a shorter span."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment says of itself in its footer. `starts` has one more entry than `paths`: row ranges.

    Positions are texts because they may have 60 digits. `hours` is (source, hour_us, count, hash sum).
    """

    version: int
    folder_id: str
    shard: int
    epoch: int
    first_position: str
    last_position: str
    paths: tuple[str, ...]
    sources: tuple[str, ...]
    starts: tuple[int, ...]
    min_ts_us: int
    max_ts_us: int
    hours: tuple[tuple[str, int, int, int], ...]


# --- names ---------------------------------------------------------------------------------------

_NAME = re.compile(r"^(seg|rej)-(\d+)-(\d+)-(\d+)-(\d+)\.(parquet|ndjson\.zst)$")


@dataclass(frozen=True, slots=True)
class SegmentName:
    """What a file's name says."""

    kind: str  # seg or rej
    shard: int
    epoch: int
    first_position: int
    last_position: int


def shard_folder(shard: int) -> str:
    """Relative folder of a shard's files."""
    return f"shard={shard}"


def relative_name(kind: str, shard: int, epoch: int, first: int, last: int, time_us: int) -> str:
    """Path of a file relative to the archive's root, with forward slashes."""
    day = datetime.fromtimestamp(max(time_us, 0) // SECOND_US, UTC).date().isoformat()
    ending = "parquet" if kind == "seg" else "ndjson.zst"
    return f"{shard_folder(shard)}/date={day}/{kind}-{shard}-{epoch}-{first}-{last}.{ending}"


def parse_name(file: str) -> SegmentName | None:
    """The parts of a file's name; None when it is not one of ours."""
    match = _NAME.match(PurePosixPath(file).name)
    if match is None:
        return None
    kind, *numbers, _ = match.groups()
    return SegmentName(kind, *(int(number) for number in numbers))


# --- facts in the footer -------------------------------------------------------------------------


def encode_facts(facts: Facts) -> bytes:
    """Text for the footer: Parquet wants UTF-8 there."""
    return base64.b64encode(zstandard.compress(msgspec.msgpack.encode(facts), 1))


def decode_facts(metadata: pq.FileMetaData, file: Path) -> Facts:
    """Facts out of a footer; SegmentError when there are none that we can read."""
    raw = (metadata.metadata or {}).get(FACTS_KEY)
    if raw is None:
        raise SegmentError(f"{file}: no Millrace segment (its footer lacks {FACTS_KEY.decode()})")
    try:
        inflated = zstandard.ZstdDecompressor().decompress(
            base64.b64decode(raw), max_output_size=_FACTS_BYTES_MAX
        )
        facts = msgspec.msgpack.decode(inflated, type=Facts)
    except (ValueError, msgspec.DecodeError, zstandard.ZstdError) as error:
        raise SegmentError(f"{file}: the footer's directory cannot be read ({error})") from None
    if facts.version != FORMAT_VERSION:
        raise SegmentError(f"{file}: segment format {facts.version}, this release reads {FORMAT_VERSION}")
    return facts


class Footer:
    """A parsed footer, with the directory ready to be searched."""

    __slots__ = ("facts", "group_starts", "metadata")

    def __init__(self, file: Path, metadata: pq.FileMetaData) -> None:
        self.metadata = metadata
        facts = decode_facts(metadata, file)
        # Interned: all cached footers share one copy of each name, so a footer costs some 200 KB,
        # not twice that.
        self.facts = msgspec.structs.replace(
            facts, paths=tuple(map(intern, facts.paths)), sources=tuple(map(intern, facts.sources))
        )
        groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self.group_starts: I64 = np.concatenate([[0], np.cumsum(groups, dtype=np.int64)])

    def ranges(self, path: str, source: str | None) -> list[tuple[int, int]]:
        """Row ranges of a path: one per source that the file holds it from."""
        facts = self.facts
        tags = range(bisect_left(facts.paths, path), bisect_right(facts.paths, path))
        return [
            (facts.starts[i], facts.starts[i + 1])
            for i in tags
            if source is None or facts.sources[i] == source
        ]

    def groups(self, first: int, last: int) -> range:
        """Row groups that hold the rows from `first` up to before `last`."""
        begin = int(np.searchsorted(self.group_starts, first, "right")) - 1
        return range(begin, int(np.searchsorted(self.group_starts, last, "left")))


class FooterCache:
    """Footers by file, the least recently used forgotten. Segments never change once they have their name."""

    def __init__(self, entries_max: int = FOOTERS_CACHED_MAX) -> None:
        self._entries_max = entries_max
        self._footers: OrderedDict[Path, Footer] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._footers)

    def get(self, file: Path) -> Footer:
        """The footer of a file; reads it when it is not held. FileNotFoundError when the file is gone."""
        with self._lock:
            if (footer := self._footers.get(file)) is not None:
                self._footers.move_to_end(file)
                return footer
        footer = Footer(file, read_metadata(file))
        with self._lock:
            self._footers[file] = footer
            while len(self._footers) > self._entries_max:
                self._footers.popitem(last=False)
        return footer


def read_metadata(file: Path) -> pq.FileMetaData:
    """Parquet's own footer; SegmentError when the file is no Parquet."""
    try:
        return pq.read_metadata(file)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise SegmentError(f"{file}: not a readable Parquet file ({error})") from None


FOOTERS = FooterCache()

# --- reading -------------------------------------------------------------------------------------


def read_tag(
    files: Iterable[Path],
    path: str,
    source: str | None,
    from_us: int,
    to_us: int,
    *,
    rows_max: int = 5_000_000,
    footers: FooterCache = FOOTERS,
) -> tuple[I64, F64, U8]:
    """One tag's readings with from_us <= ts_us < to_us, in time order: ts_us, value, quality, (n,) each.

    `source` None takes the path from every source. Equal times keep the files' order: give them by position.
    Safe to call from several threads. TooManyRows past `rows_max`; FileNotFoundError when a file is gone
    (ask the manifest again: it was compacted); SegmentError when one is damaged.
    """
    parts: list[tuple[I64, F64, U8]] = []
    held = 0
    for file in files:
        for part in _read_ranges(file, path, source, from_us, to_us, footers):
            held += len(part[0])
            if held > rows_max:
                raise TooManyRows(f"{path}: more than {rows_max} readings in the span; ask for a shorter one")
            parts.append(part)
    return _in_time_order(parts)


def _read_ranges(
    file: Path, path: str, source: str | None, from_us: int, to_us: int, footers: FooterCache
) -> Iterator[tuple[I64, F64, U8]]:
    footer = footers.get(file)
    if footer.facts.max_ts_us < from_us or footer.facts.min_ts_us >= to_us:
        return
    for first, last in footer.ranges(path, source):
        ts_us, value, quality = read_rows(file, footer, first, last, ("ts_us", "value", "quality"))
        begin, end = np.searchsorted(ts_us, (from_us, to_us), "left")
        if begin < end:
            yield ts_us[begin:end], value[begin:end], quality[begin:end]


def read_rows(file: Path, footer: Footer, first: int, last: int, columns: Sequence[str]) -> list[Any]:
    """Rows from `first` up to before `last` of number columns, as NumPy arrays; reads their row groups
    only."""
    groups = footer.groups(first, last)
    try:
        with pq.ParquetFile(file, metadata=footer.metadata, memory_map=False) as parquet:
            table = parquet.read_row_groups(list(groups), columns=list(columns), use_threads=False)
    except (pa.ArrowInvalid, pa.ArrowException) as error:
        raise SegmentError(f"{file}: rows {first} to {last} cannot be read ({error})") from None
    offset = int(footer.group_starts[groups.start])
    table = table.slice(first - offset, last - first)
    return [table.column(name).to_numpy() for name in columns]


def _in_time_order(parts: Sequence[tuple[I64, F64, U8]]) -> tuple[I64, F64, U8]:
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.float64), np.zeros(0, np.uint8)
    ts_us, value, quality = (np.concatenate(column) for column in zip(*parts, strict=True))
    if np.any(ts_us[1:] < ts_us[:-1]):
        order = np.argsort(ts_us, kind="stable")
        ts_us, value, quality = ts_us[order], value[order], quality[order]
    return ts_us, value, quality


def recount(file: Path) -> list[HourCount]:
    """Counts and hash sums made from the rows themselves: what `verify --full` compares with the manifest.

    Bounded memory: a row group at a time. SegmentError when the file cannot be read.
    """
    footer = Footer(file, read_metadata(file))
    counts: list[HourCount] = []
    for first, last in zip(footer.group_starts[:-1].tolist(), footer.group_starts[1:].tolist(), strict=True):
        counts = add_counts([*counts, *_count_group(file, footer, first, last)])
    return counts


def _count_group(file: Path, footer: Footer, first: int, last: int) -> list[HourCount]:
    """Counts of one row group, by the names in its rows rather than by the directory."""
    with pq.ParquetFile(file, metadata=footer.metadata) as parquet:
        group = int(np.searchsorted(footer.group_starts, first, "right")) - 1
        table = parquet.read_row_group(group, use_threads=False)
    paths, sources = _dictionary(table, "path"), _dictionary(table, "source")
    ts_us, value, quality = (table.column(name).to_numpy() for name in ("ts_us", "value", "quality"))
    tag_hashes = np.array([tag_hash(path) for path in paths[0]], np.uint64)
    hashes = hash_rows(tag_hashes, paths[1], ts_us, value, quality)
    changed = (np.diff(paths[1]) != 0) | (np.diff(sources[1]) != 0)
    run_starts = np.concatenate([[0], np.flatnonzero(changed) + 1, [last - first]]).astype(np.int64)
    names = [sources[0][i] for i in sources[1][run_starts[:-1]].tolist()]
    return count_hours(names, run_starts, ts_us, hashes)


def _dictionary(table: pa.Table, name: str) -> tuple[list[str], I32]:
    """Texts and codes of a dictionary column."""
    column: Any = table.column(name).unify_dictionaries().combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    return list(column.dictionary.to_pylist()), np.asarray(column.indices.to_numpy(), np.int32)
