"""Rollup rows: new windows by COPY straight into the table, the others added to what is there.

Nearly every row opens a window that the table does not hold yet. Since a shard has one writer, this process
knows which: a window newer than the newest one that it wrote for the tag. Measured (docs/decisions/0005):
5.4 us of server time a row through staging and `ON CONFLICT`, 3.2 us by COPY. The rest is staged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from millrace import names
from millrace.batch import I64, LEVEL_1H, LEVEL_1M, LEVEL_1S, Bool, Rows
from millrace.clock import SECOND_US
from millrace.schema.binary import Layout
from millrace.sinks.postgres.connection import Cursor
from millrace.sinks.postgres.directory import Directory
from millrace.sinks.postgres.merge import merge_rollups, signed
from millrace.sinks.postgres.rows import Part, copy

ROLLUP: Final = Layout(
    ("window_us", "i8"), ("min", "f8"), ("max", "f8"), ("sum", "f8"), ("first_us", "i8"), ("first", "f8"),
    ("last_us", "i8"), ("last", "f8"), ("hash", "i8"), ("tag_id", "i4"), ("count", "i4"), ("good", "i4"),
    ("uncertain", "i4"), ("bad", "i4"),
)  # fmt: skip
ROLLUP_TABLE: Final = {
    LEVEL_1S: names.TABLE_ROLLUP_1S,
    LEVEL_1M: names.TABLE_ROLLUP_1M,
    LEVEL_1H: names.TABLE_ROLLUP_1H,
}

STAGING: Final = tuple(
    f"CREATE TEMP TABLE staging_{table} ({ROLLUP.definition}) ON COMMIT DELETE ROWS"
    for table in ROLLUP_TABLE.values()
)

MERGE_ROLLUP: Final = """
INSERT INTO {table} AS r (window_us, min, max, sum, first_us, first, last_us, last, hash, tag_id, count, good,
    uncertain, bad)
SELECT window_us, nullif(min, 'NaN'), nullif(max, 'NaN'), sum,
    CASE WHEN first <> 'NaN' THEN first_us END, nullif(first, 'NaN'),
    CASE WHEN last <> 'NaN' THEN last_us END, nullif(last, 'NaN'), hash, tag_id, count, good, uncertain, bad
FROM staging_{table}
ON CONFLICT (tag_id, window_us) DO UPDATE SET
    min = least(r.min, excluded.min), max = greatest(r.max, excluded.max), sum = r.sum + excluded.sum,
    first_us = least(r.first_us, excluded.first_us),
    first = CASE WHEN r.first_us <= excluded.first_us OR excluded.first_us IS NULL
            THEN r.first ELSE excluded.first END,
    last_us = greatest(r.last_us, excluded.last_us),
    last = CASE WHEN r.last_us > excluded.last_us OR excluded.last_us IS NULL 
           THEN r.last ELSE excluded.last END,
    hash = wrapping_add(r.hash, excluded.hash), count = r.count + excluded.count,
    good = r.good + excluded.good,
    uncertain = r.uncertain + excluded.uncertain, bad = r.bad + excluded.bad
"""

ROWS_PER_PIECE: Final = 1_024

AHEAD_US: Final = 60 * SECOND_US
"""How far ahead of our time a window in the tables can lie: well beyond what `validate` lets through."""


class RollupWriter:
    """Knows the newest window that was committed per level and tag id, once it has written one."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """A shard came or went, or a transaction failed: know nothing, until each tag's next window."""
        self._newest: dict[int, I64] = {level: np.zeros(0, np.int64) for level in ROLLUP_TABLE}
        self._foreign_until_us = 0  # windows up to there may be in the tables although we did not write them
        self._proposed: list[tuple[int, I64, I64]] = []

    def write(
        self, cursor: Cursor, parts: Sequence[Part], directories: Mapping[int, Directory], now_us: int
    ) -> None:
        """Rollup rows of these parts, inside the caller's transaction. `now_us` is edge time."""
        self._proposed = []
        if not self._foreign_until_us:
            self._foreign_until_us = max(now_us, *(part.output.time_us for part in parts)) + AHEAD_US
        parts = [part for part in parts if len(part.rollups)]
        if not parts:
            return
        rows = np.concatenate([part.rollups for part in parts])
        ids = np.concatenate([directories[part.output.shard].tag_ids(part.rollups["slot"]) for part in parts])
        for level in ROLLUP_TABLE:
            chosen = rows["level"] == level
            if chosen.any():
                self._write_level(cursor, level, *merge_rollups(rows.compress(chosen), ids[chosen].astype(np.int64)))

    def keep_proposed(self) -> None:
        """The transaction is committed: its windows are known now."""
        for level, tag_id, window_us in self._proposed:
            known = self._newest[level]
            known[tag_id] = np.maximum(known[tag_id], window_us)
        self._proposed = []

    def _write_level(self, cursor: Cursor, level: int, merged: Rows, tag_id: I64) -> None:
        table = ROLLUP_TABLE[level]
        is_new = self._is_new(level, merged, tag_id)
        if is_new.all():
            copy(cursor, table, ROLLUP, _pieces(merged, tag_id))
        else:
            if is_new.any():
                copy(cursor, table, ROLLUP, _pieces(merged.compress(is_new), tag_id[is_new]))
            copy(cursor, f"staging_{table}", ROLLUP, _pieces(merged.compress(~is_new), tag_id[~is_new]))
            cursor.execute(MERGE_ROLLUP.format(table=table).encode())
        # Sorted by tag and window: the last row of a tag is its newest window.
        last = np.append(tag_id[1:] != tag_id[:-1], True)
        self._proposed.append((level, tag_id[last], merged["window_us"][last]))

    def _is_new(self, level: int, merged: Rows, tag_id: I64) -> Bool:
        """Windows that the table surely lacks. Those without a value hold NULLs, which only staging makes."""
        known = self._newest[level]
        top = int(tag_id.max()) + 1
        if top > len(known):
            grown = np.zeros(max(top, 2 * len(known)), np.int64)
            grown[: len(known)] = known
            known = self._newest[level] = grown
        is_new: Bool = (merged["window_us"] > np.maximum(known[tag_id], self._foreign_until_us)) & ~np.isnan(
            merged["first"]
        )
        return is_new


def _pieces(merged: Rows, tag_id: I64) -> Iterator[Rows]:
    """Rows as the table takes them, some at a time."""
    for begin in range(0, len(merged), ROWS_PER_PIECE):
        yield _rows(merged[begin : begin + ROWS_PER_PIECE], tag_id[begin : begin + ROWS_PER_PIECE])


def _rows(merged: Rows, tag_id: I64) -> Rows:
    rows = ROLLUP.rows(len(merged))
    for name in ROLLUP.names:
        if name not in ("tag_id", "hash"):
            rows[name] = merged[name]
    rows["tag_id"], rows["hash"] = tag_id, signed(merged["hash"])
    return rows
