"""Hours of archive at 100,000 readings/s, written and listed by the real archive sink.

The newest minutes are segments of a minute, as they close; older ones have the size to which compaction brings them.
Only the flow in front of the sink is missing, so the folder is not in account: `verify` is not for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.workloads import Workload, source_edges, workload
from millrace.accounting import hash_rows, tag_hash
from millrace.batch import (
    ALARM,
    ANOMALY,
    I64,
    LEDGER,
    READING,
    ROLLUP,
    U64,
    DataClass,
    Output,
    Rows,
    TagInfo,
    ValueKind,
    empty,
)
from millrace.clock import SECOND_US, EdgeClock
from millrace.durable import make_folders
from millrace.settings import Settings
from millrace.sinks.archive import ArchiveSink
from millrace.sinks.archive.neighbours import FILES_MIN, ROWS_MAX
from millrace.sinks.postgres import Owners, PostgresManifest
from millrace.stream.contract import shard_of

SMALL_SEGMENTS: Final = FILES_MIN - 1  # one more and the sink would begin to merge them
OWNER: Final = "benchmark"


@dataclass(frozen=True, slots=True)
class Cycle:
    """One cycle of a shard's readings; times are offsets. `hashes` (k,) by slot."""

    shard: int
    tags: list[TagInfo]
    hashes: U64
    rows: Rows
    offset_us: I64


def fill(
    url: str, settings: Settings, name: str, end_us: int, cycles: int, pool: ProcessPoolExecutor
) -> int:
    """`cycles` cycles of the workload that end at `end_us`, for every shard; how many readings. A shard is a task."""
    make_folders(settings.home / "archive")
    task = partial(_fill_shard, url, settings, name, end_us, cycles)
    return sum(pool.map(task, range(settings.shards)))


def _fill_shard(url: str, settings: Settings, name: str, end_us: int, cycles: int, shard: int) -> int:
    """One shard's segments, by an owner of its own."""
    owners = Owners(url, f"{OWNER}-{shard}", settings)
    manifest = PostgresManifest(url, settings, owner=f"{OWNER}-{shard}")
    large = settings.model_copy(update={"segment_rows_max": 2 * ROWS_MAX, "segment_age_s": 3600.0})
    sink = ArchiveSink(
        settings.home / "archive", manifest, large, EdgeClock(), folder_id=owners.identity() or ""
    )
    try:
        held = owners.acquire(shard)
        if held is None:
            raise SystemExit(f"shard {shard} is not free: is another platform running on this folder?")
        sink.open_shard(held.ownership)
        offered = _workload(name)
        rows = _write(sink, cycle_of(offered, shard, settings.shards), offered.cycle_us, end_us, cycles)
        sink.close_shard(shard)
        owners.release(held.ownership)
        return rows
    finally:
        sink.close()
        manifest.close()
        owners.close()


@lru_cache(maxsize=1)
def _workload(name: str) -> Workload:
    return workload(name)


def cycle_of(workload: Workload, shard: int, shards: int) -> Cycle:
    """A shard's part of the workload's cycle, as `process` would have let it through."""
    columns, edges = workload.columns, source_edges(workload.shape)
    of_row = np.diff(columns.edges)
    source = np.repeat(np.tile(np.arange(workload.shape.sources), len(of_row) // workload.shape.sources), of_row)
    number = columns.tag + edges[source]
    ours = np.array([shard_of(name, shards) == shard for name in workload.source_names])
    chosen = np.flatnonzero(ours[source] & ~columns.bad)
    used, slot = np.unique(number[chosen], return_inverse=True)
    rows = np.zeros(len(chosen), READING)
    rows["slot"], rows["value"] = slot, columns.value[chosen]
    rows["quality"], rows["late"] = columns.quality[chosen], columns.late[chosen]
    tags = [_tag(workload, int(tag), place) for place, tag in enumerate(used)]
    hashes = np.array([tag_hash(tag.path) for tag in tags], np.uint64)
    return Cycle(shard, tags, hashes, rows, columns.offset_us[chosen])


def _tag(workload: Workload, number: int, slot: int) -> TagInfo:
    source = int(np.searchsorted(source_edges(workload.shape), number, side="right")) - 1
    data_class = DataClass.CRITICAL if workload.critical[number] else DataClass.STANDARD
    period_us = int(workload.period_us[number])
    name = workload.source_names[source]
    return TagInfo(slot, workload.paths[number], name, ValueKind.FLOAT, data_class, True, period_us, "degC")


def _write(sink: ArchiveSink, cycle: Cycle, cycle_us: int, end_us: int, cycles: int) -> int:
    """The newest cycles are a segment each; before them as many make one as compaction would have put together."""
    if not len(cycle.rows):
        return 0
    sink.announce(cycle.shard, cycle.tags)
    merged = max(min(FILES_MIN, ROWS_MAX // len(cycle.rows)), 1)
    for number in range(cycles):
        left = cycles - 1 - number
        is_last = left < SMALL_SEGMENTS or (left - SMALL_SEGMENTS) % merged == 0
        base_us = end_us - (left + 1) * cycle_us
        sink.write([_output(cycle, number + 1, base_us, cycle_us, closes=is_last)])
        if sink.failure:
            raise SystemExit(sink.failure)
    return len(cycle.rows) * cycles


def _output(cycle: Cycle, position: int, base_us: int, cycle_us: int, *, closes: bool) -> Output:
    rows = cycle.rows.copy()
    rows["ts_us"] = cycle.offset_us + base_us
    # Values of a cycle again and again would halve the file: a step a cycle, in the two decimals that sensors give.
    rows["value"] = np.round(rows["value"] + 0.01 * position, 2)
    rows["hash"] = hash_rows(cycle.hashes, rows["slot"], rows["ts_us"], rows["value"], rows["quality"])
    return Output(
        cycle.shard, position, position, base_us + cycle_us, 1, rows,
        empty(ROLLUP), empty(ANOMALY), empty(ALARM), empty(LEDGER), mark=int(closes),
    )  # fmt: skip


def size_bytes(home: Path) -> int:
    """Bytes of the archive's files."""
    return sum(path.stat().st_size for path in _segments(home))


def files(home: Path) -> int:
    """How many there are."""
    return sum(1 for _ in _segments(home))


def _segments(home: Path) -> Iterator[Path]:
    return (home / "archive").rglob("*.parquet")


def whole_cycles(minutes: float, cycle_us: int) -> int:
    """Cycles that make up so many minutes."""
    return max(round(minutes * 60 * SECOND_US / cycle_us), 1)
