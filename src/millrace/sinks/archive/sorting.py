"""Readings in order of arrival -> readings by tag and time, in three passes over the rows.

A comparison sort of 750,000 rows would cost ten times as much as writing them. Tags are few, so their rows
are placed by counting; readings of one tag nearly always come in time order, so only the tags in which one
did not are sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from millrace.batch import F64, I32, I64, U8, U64, Rows


@dataclass(slots=True)
class SortedReadings:
    """Readings by (path, source), time, arrival. `starts` (k+1,) is each tag's first row, no tag is empty.

    Columns are (n,): `ts_us` int64, `value` float64, `quality` uint8, `late` uint8.
    """

    paths: list[str]
    sources: list[str]
    starts: I64
    ts_us: I64
    value: F64
    quality: U8
    late: U8

    def __len__(self) -> int:
        return len(self.ts_us)


@numba.njit(cache=True, nogil=True)
def order_by_rank(rank: I32, ranks: int, ts_us: I64) -> tuple[I64, I64]:
    """Row order by (rank, ts_us, arrival), and each rank's first place in it."""
    starts = np.zeros(ranks + 1, np.int64)
    for i in range(len(rank)):
        starts[rank[i] + 1] += 1
    for r in range(ranks):
        starts[r + 1] += starts[r]
    place = starts[:-1].copy()
    order = np.empty(len(rank), np.int64)
    newest = np.full(ranks, np.iinfo(np.int64).min)
    disordered = np.zeros(ranks, np.bool_)
    for i in range(len(rank)):
        r = rank[i]
        order[place[r]] = i
        place[r] += 1
        if ts_us[i] < newest[r]:
            disordered[r] = True
        newest[r] = ts_us[i]
    for r in range(ranks):
        if disordered[r]:
            rows = order[starts[r] : starts[r + 1]].copy()
            order[starts[r] : starts[r + 1]] = rows[np.argsort(ts_us[rows], kind="mergesort")]
    return order, starts


@numba.njit(cache=True, nogil=True)
def gather(rows: Rows, order: I64, ts_us: I64, value: F64, quality: U8, late: U8, hashes: U64) -> None:
    """Columns in that order. A row lies in one cache line: one visit for all of its fields, not one for each."""
    for i in range(len(order)):
        row = rows[order[i]]
        ts_us[i], value[i], quality[i], late[i] = row["ts_us"], row["value"], row["quality"], row["late"]
        hashes[i] = row["hash"]


def sort_readings(tag: I32, tags: Sequence[tuple[str, str]], rows: Rows) -> tuple[SortedReadings, U64]:
    """`rows` (READING, n) by tag and time, and their hashes in that order.

    `tag` (n,) is each row's index into `tags`, which are (path, source).
    """
    used = np.flatnonzero(np.bincount(tag, minlength=len(tags)))
    by_name = sorted(used.tolist(), key=tags.__getitem__)
    rank_of = np.zeros(len(tags), np.int32)
    rank_of[by_name] = np.arange(len(by_name), dtype=np.int32)
    ts_us = np.ascontiguousarray(rows["ts_us"])
    order, starts = order_by_rank(rank_of[tag], len(by_name), ts_us)
    n = len(rows)
    readings = SortedReadings(
        paths=[tags[i][0] for i in by_name],
        sources=[tags[i][1] for i in by_name],
        starts=starts,
        ts_us=np.empty(n, np.int64),
        value=np.empty(n, np.float64),
        quality=np.empty(n, np.uint8),
        late=np.empty(n, np.uint8),
    )
    hashes = np.empty(n, np.uint64)
    gather(rows, order, readings.ts_us, readings.value, readings.quality, readings.late, hashes)
    return readings, hashes
