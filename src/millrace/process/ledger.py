"""Counts and hash sums per (source, event hour) that wait for the next tick (law 15).

An open-addressing table in arrays, so that a kernel can add a batch without leaving compiled code.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from millrace.batch import I32, I64, LEDGER, U8, U64, Rows
from millrace.clock import HOUR_US

DUPLICATE, REJECTED, APPLIED, CRITICAL = 1, 2, 3, 4
"""What became of a reading; CRITICAL is applied too."""
HAS_1S, HAS_1M = 8, 16
"""Added to the fate of an applied reading whose tag has rollups of a second, of a minute."""

AMOUNTS = ("received", "duplicate", "rejected", "applied", "critical", "applied_1m", "applied_1s")
"""Columns, each with its hash sum."""
_APPLIED_1M, _APPLIED_1S = 5, 6
_FATE = 7

HOUR_MAX = 2**31 - 1
"""Hours are clipped to 0 … HOUR_MAX: a reject may carry any time."""

_FREE = np.int64(-1)


@numba.njit(cache=True)
def _add(
    keys: I64, counts: I64, hashes: U64, used: int, source: I32, hour: I64, fate: U8, row_hash: U64, start: int
) -> tuple[int, int]:
    """Add rows from `start`; stops at the row for which the table is too full. -> (next row, keys used)."""
    mask = len(keys) - 1
    last_key = np.int64(-2)
    place = 0
    for i in range(start, len(source)):
        key = (np.int64(source[i]) << 32) | hour[i]
        if key != last_key:
            place = int((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)) & mask
            while keys[place] != key and keys[place] != _FREE:
                place = (place + 1) & mask
            if keys[place] == _FREE:
                if 2 * used >= len(keys):
                    return i, used
                keys[place] = key
                used += 1
            last_key = key
        counts[place, 0] += 1
        hashes[place, 0] += row_hash[i]
        what = fate[i] & _FATE
        column = what if what < CRITICAL else APPLIED
        counts[place, column] += 1
        hashes[place, column] += row_hash[i]
        if what == CRITICAL:
            counts[place, CRITICAL] += 1
            hashes[place, CRITICAL] += row_hash[i]
        if fate[i] & HAS_1M:
            counts[place, _APPLIED_1M] += 1
            hashes[place, _APPLIED_1M] += row_hash[i]
        if fate[i] & HAS_1S:
            counts[place, _APPLIED_1S] += 1
            hashes[place, _APPLIED_1S] += row_hash[i]
    return len(source), used


class Ledger:
    """Additive rows since the last `drain`. Columns: AMOUNTS."""

    def __init__(self, capacity: int = 256) -> None:
        self._allocate(capacity)

    def _allocate(self, capacity: int) -> None:
        self._keys = np.full(capacity, _FREE, np.int64)
        self._counts = np.zeros((capacity, len(AMOUNTS)), np.int64)
        self._hashes = np.zeros((capacity, len(AMOUNTS)), np.uint64)
        self._used = 0

    def add(self, source: I32, ts_us: I64, fate: U8, row_hash: U64) -> None:
        """Count rows (n,) by what became of them, under the hour of their time."""
        self.add_hours(source, np.clip(ts_us // HOUR_US, 0, HOUR_MAX), fate, row_hash)

    def add_hours(self, source: I32, hour: I64, fate: U8, row_hash: U64) -> None:
        """Count rows (n,) by what became of them; `hour` since the epoch, 0 … HOUR_MAX."""
        row = 0
        while True:
            row, self._used = _add(
                self._keys, self._counts, self._hashes, self._used, source, hour, fate, row_hash, row
            )
            if row == len(source):
                return
            self._grow()

    def _grow(self) -> None:
        keys, counts, hashes = self._keys, self._counts, self._hashes
        self._allocate(2 * len(keys))
        mask = len(self._keys) - 1
        for old in np.flatnonzero(keys != _FREE):
            place = ((int(keys[old]) * 0x9E3779B97F4A7C15 & (2**64 - 1)) >> 40) & mask
            while self._keys[place] != _FREE:
                place = (place + 1) & mask
            self._keys[place] = keys[old]
            self._counts[place] = counts[old]
            self._hashes[place] = hashes[old]
            self._used += 1

    def drain(self) -> Rows:
        """All rows as LEDGER, ordered by (source, hour); the ledger is empty afterwards."""
        rows = self.rows()
        if self._used:
            self._allocate(256)
        return rows

    def rows(self) -> Rows:
        """All rows as LEDGER, ordered by (source, hour)."""
        used = np.flatnonzero(self._keys != _FREE)
        used = used[np.argsort(self._keys[used])]
        rows = np.zeros(len(used), LEDGER)
        rows["source"] = self._keys[used] >> 32
        rows["hour_us"] = (self._keys[used] & 0xFFFFFFFF) * HOUR_US
        for column, name in enumerate(AMOUNTS):
            rows[name] = self._counts[used, column]
            rows[name + "_hash"] = self._hashes[used, column]
        return rows

    def snapshot(self) -> dict[str, np.ndarray[Any, Any]]:
        """The rows that wait."""
        return {"ledger": self.rows()}

    def restore(self, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
        """The inverse of `snapshot`; columns that an older release did not count yet are 0."""
        rows = arrays["ledger"]
        amounts = [(column, name) for column, name in enumerate(AMOUNTS) if name in (rows.dtype.names or ())]
        self._allocate(max(256, 1 << int(4 * len(rows)).bit_length()))
        for row in rows:
            key = (int(row["source"]) << 32) | (int(row["hour_us"]) // HOUR_US)
            place = ((key * 0x9E3779B97F4A7C15 & (2**64 - 1)) >> 40) & (len(self._keys) - 1)
            while self._keys[place] != _FREE:
                place = (place + 1) & (len(self._keys) - 1)
            self._keys[place] = key
            self._used += 1
            for column, name in amounts:
                self._counts[place, column] = row[name]
                self._hashes[place, column] = row[name + "_hash"]
