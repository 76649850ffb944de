"""Counts and hash sums per source and event hour: what a store says that it holds, in a few bytes.

They are made from rows that are sorted by tag and time, so a run of one tag and one hour is contiguous and
the kernel needs no table: it emits one entry a run, and the few runs are added up afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numba
import numpy as np

from millrace.batch import I64, U64
from millrace.clock import HOUR_US

_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True, order=True)
class HourCount:
    """Readings of one source whose time lies in one hour; `hash` is their sum modulo 2^64."""

    source: str
    hour_us: int
    count: int
    hash: int


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def _runs(
    starts: I64, ts_us: I64, hashes: U64, hour_us: int, tag: I64, hour: I64, count: I64, total: U64
) -> int:
    n = 0
    for t in range(len(starts) - 1):
        opened = False
        for i in range(starts[t], starts[t + 1]):
            h = (ts_us[i] // hour_us) * hour_us
            if not opened or hour[n - 1] != h:
                tag[n] = t
                hour[n] = h
                count[n] = 0
                total[n] = np.uint64(0)
                opened = True
                n += 1
            count[n - 1] += 1
            total[n - 1] += hashes[i]
    return n


@numba.njit(cache=True, nogil=True)  # type: ignore[misc]
def _run_count(starts: I64, ts_us: I64, hour_us: int) -> int:
    n = 0
    for t in range(len(starts) - 1):
        for i in range(starts[t], starts[t + 1]):
            if i == starts[t] or ts_us[i] // hour_us != ts_us[i - 1] // hour_us:
                n += 1
    return n


def count_hours(sources: Sequence[str], starts: I64, ts_us: I64, hashes: U64) -> list[HourCount]:
    """Counts of rows sorted by tag and time, ordered by source and hour.

    `sources` (k,) is each tag's source, `starts` (k+1,) each tag's first row, `ts_us` and `hashes` are (n,).
    """
    runs = int(_run_count(starts, ts_us, HOUR_US))
    tag, hour, count = (np.empty(runs, np.int64) for _ in range(3))
    total = np.empty(runs, np.uint64)
    _runs(starts, ts_us, hashes, HOUR_US, tag, hour, count, total)
    return add_counts(
        HourCount(sources[t], h, c, s)
        for t, h, c, s in zip(tag.tolist(), hour.tolist(), count.tolist(), total.tolist(), strict=True)
    )


def add_counts(counts: Iterable[HourCount]) -> list[HourCount]:
    """One entry per source and hour, ordered; counts add up, sums modulo 2^64."""
    totals: dict[tuple[str, int], tuple[int, int]] = {}
    for entry in counts:
        count, total = totals.get((entry.source, entry.hour_us), (0, 0))
        totals[entry.source, entry.hour_us] = (count + entry.count, (total + entry.hash) & _MASK)
    return [HourCount(source, hour, *sums) for (source, hour), sums in sorted(totals.items())]
