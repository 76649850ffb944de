"""Readings in order of arrival -> readings by tag and time, in one pass over the rows.

A comparison sort of 750,000 rows would cost ten times as much as writing them. Tags are few, so their rows
are placed by counting; readings of one tag nearly always come in time order, so only the tags in which one
did not are sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from millrace.batch import F64, I32, I64, U8, U64, Bool, Rows


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


def sort_readings(
    tags: Sequence[tuple[str, str]], parts: Sequence[tuple[I32, Rows]]
) -> tuple[SortedReadings, U64]:
    """Readings of all parts by tag and time, and their hashes in that order.

    `parts` are in order of arrival: each row's index into `tags`, which are (path, source), and the rows (READING, n).
    Each row goes to its place at once: joined first, a million rows would be copied through the memory twice more.
    """
    counts = np.sum([np.bincount(tag, minlength=len(tags)) for tag, _ in parts], axis=0)
    by_name = sorted(np.flatnonzero(counts).tolist(), key=tags.__getitem__)
    rank_of = np.zeros(len(tags), np.int32)
    rank_of[by_name] = np.arange(len(by_name), dtype=np.int32)
    starts = np.zeros(len(by_name) + 1, np.int64)
    np.cumsum(counts[by_name], out=starts[1:])
    n = int(starts[-1])
    columns = np.empty(n, np.int64), np.empty(n), np.empty(n, np.uint8), np.empty(n, np.uint8), np.empty(n, np.uint64)
    place, newest = starts[:-1].copy(), np.full(len(by_name), np.iinfo(np.int64).min)
    disordered = np.zeros(len(by_name), np.bool_)
    for tag, rows in parts:
        _scatter(rows, rank_of, tag, place, newest, disordered, *columns)
    _sort_tags(starts, disordered, *columns)
    paths, sources = [tags[i][0] for i in by_name], [tags[i][1] for i in by_name]
    return SortedReadings(paths, sources, starts, *columns[:4]), columns[4]


@numba.njit(cache=True, nogil=True)
def _scatter(
    rows: Rows, rank_of: I32, tag: I32, place: I64, newest: I64, disordered: Bool, ts_us: I64, value: F64,
    quality: U8, late: U8, hashes: U64,
) -> None:  # fmt: skip
    """Rows to their tags' next places. Those are neighbours: the lines that are written to stay in the cache."""
    for i in range(len(rows)):
        row = rows[i]
        r = rank_of[tag[i]]
        p = place[r]
        place[r] = p + 1
        ts_us[p], value[p], quality[p], late[p] = row["ts_us"], row["value"], row["quality"], row["late"]
        hashes[p] = row["hash"]
        if row["ts_us"] < newest[r]:
            disordered[r] = True
        newest[r] = row["ts_us"]


@numba.njit(cache=True, nogil=True)
def _sort_tags(
    starts: I64, disordered: Bool, ts_us: I64, value: F64, quality: U8, late: U8, hashes: U64
) -> None:
    """Rows of each disordered tag by time; among equal times the earlier arrival is first."""
    for r in np.flatnonzero(disordered):
        begin, end = starts[r], starts[r + 1]
        order = np.argsort(ts_us[begin:end], kind="mergesort")
        ts_us[begin:end] = ts_us[begin:end][order]
        value[begin:end] = value[begin:end][order]
        quality[begin:end] = quality[begin:end][order]
        late[begin:end] = late[begin:end][order]
        hashes[begin:end] = hashes[begin:end][order]
