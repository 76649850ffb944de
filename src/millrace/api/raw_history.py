"""Raw readings of one tag, joined out of three stores without a gap and without a double.

    positions of the shard    0 ---------------- archived ------- applied ------- newest
    archive                   ==========================
    PostgreSQL                ===================================                 critical tags only
    live window                      - - - - - - - ==================== - - ======  it may have holes

A position decides who answers for a reading, never its time: a late one lies anywhere. Rows of PostgreSQL carry
no position; what of them lies behind the archive's end is what they are more than the archive, row for row.
Readings of the live window that may be in one of the others too (a window that was published again straddles
positions) are taken for what they are more. Two readings of one time, value and quality are both readings: so what
they are compared with is the archive's finest files, since a compacted one holds older readings as well.
PostgreSQL holds a tag's readings since it turned critical, and fills a hole of the window if that was before.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from millrace.api.dependencies import Dependencies
from millrace.api.live_view import ANY_TIME_US, NO_SLOT, LiveRaw, TagRef
from millrace.api.problems import Problem
from millrace.api.reduce import Series
from millrace.api.store import Store
from millrace.api.window import Readings
from millrace.assets.tag import CLASSES, AssetModel
from millrace.batch import DataClass
from millrace.clock import SECOND_US
from millrace.errors import MillraceError

ROWS_MAX = 2_000_000
ATTEMPTS = 3  # a compaction may take a file away between the manifest and the read

NEWEST_FILES = 8  # of a shard, some minutes: where a tag's newest archived reading is looked for

MANIFEST = """
SELECT s.archived::text, s.applied::text,
    coalesce(array_agg(g.file ORDER BY g.first_position) FILTER (WHERE g.file IS NOT NULL), '{}')
FROM shard s LEFT JOIN segment g ON g.shard = s.shard AND g.kind = 'readings' AND g.state <> 'retired'
    AND g.max_ts_us >= %s AND g.min_ts_us < %s
WHERE s.shard = %s GROUP BY s.archived, s.applied
"""
# A compacted-away file stays ten minutes; what is asked for here is of the last one or two.
FINEST_FILES = """
WITH there AS (
    SELECT file, first_position, last_position FROM segment
    WHERE shard = %(shard)s AND kind = 'readings' AND last_position >= %(from)s AND last_position <= %(archived)s
        AND (state <> 'retired' OR retired_at > now() - interval '5 minutes'))
SELECT file FROM there WHERE NOT EXISTS (
    SELECT FROM there part WHERE part.file <> there.file
        AND part.first_position >= there.first_position AND part.last_position <= there.last_position)
ORDER BY first_position
"""
NEWEST = """
SELECT file FROM segment WHERE shard = %s AND kind = 'readings' AND state <> 'retired' AND last_position <= %s
ORDER BY last_position DESC LIMIT %s
"""
CHANGES_MAX = 8  # of the asset model that are looked through
MODELS = f"""
SELECT model FROM model_change WHERE made_at > to_timestamp(%s) ORDER BY number DESC LIMIT {CHANGES_MAX + 1}
"""  # nosec B608
# The sender's from PostgreSQL's, and how late a reading comes: the longer, the more is looked at.
CLOCKS_APART_S = 60
IS_THERE = "SELECT 1 FROM reading WHERE tag_id = %s AND ts_us = %s LIMIT 1"
# One statement, one snapshot: the rows are exactly those up to `applied`. `ctid` keeps equal times as they came.
CRITICAL_ROWS = f"""
SELECT s.applied::text, s.reading_floor_us, r.ts_us, r.value, r.quality
FROM shard s LEFT JOIN reading r ON r.tag_id = %s AND r.ts_us >= %s AND r.ts_us < %s
WHERE s.shard = %s ORDER BY r.ts_us, r.ctid LIMIT {ROWS_MAX + 1}
"""  # nosec B608


@dataclass(frozen=True, slots=True)
class Tag:
    """What a history needs to know of a tag. `ref` is None for a tag that is in no live window."""

    id: int
    path: str
    source: str
    kind: int
    data_class: int
    period_us: int
    unit: str
    shard: int
    ref: TagRef | None


@dataclass(frozen=True, slots=True)
class Raw:
    """Readings in order of time. Not `complete`: some that were accepted could not be read."""

    series: Series
    complete: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """The shard's archive up to position `archived`, its files of the span. It is processed to `applied` or further."""

    archived: int
    applied: int
    files: list[str]


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows of PostgreSQL up to `applied`. Readings before `floor_us` are not owed there."""

    applied: int
    floor_us: int
    series: Series


NOT_ASKED = Stored(0, 0, Series.joined([]))


class RawHistory:
    """Reads one tag. Blocking."""

    def __init__(self, needs: Dependencies, store: Store, tag: Tag) -> None:
        self._needs, self._store, self._tag = needs, store, tag

    def read(self, from_us: int, to_us: int) -> Raw:
        """from_us <= ts < to_us."""
        for _ in range(ATTEMPTS - 1):
            try:
                return self._joined(from_us, to_us)
            except FileNotFoundError:
                continue
        return self._joined(from_us, to_us)

    def _joined(self, from_us: int, to_us: int) -> Raw:
        manifest = self._manifest(from_us, to_us)
        live, stored = self._live(manifest, 0), NOT_ASKED
        if live.missing_before_us > from_us and self._in_postgres:
            stored = self._stored(from_us, to_us)
            live = self._live(manifest, stored.applied)
        archive = self._segments(manifest.files, from_us, to_us)
        newer = without(stored.series, archive)
        known = Series.joined([self._archived_again(manifest, live, from_us, to_us), newer])
        parts = [archive, newer, without(_series(live.doubtful), known), _series(live.readings)]
        complete = live.missing_before_us <= from_us
        if complete and stored is not NOT_ASKED:
            complete = stored.floor_us <= from_us and self._was_critical(manifest, stored)
        return Raw(_cut(Series.joined(parts), from_us, to_us), complete)

    @property
    def _in_postgres(self) -> bool:
        """Whether every reading of the tag is there; one without an id may be there since we looked."""
        return self._tag.id > 0 and self._tag.data_class == DataClass.CRITICAL

    def _manifest(self, from_us: int, to_us: int) -> Manifest:
        rows = self._store.tuples(MANIFEST, [from_us, to_us, self._tag.shard])
        if not rows:
            return Manifest(0, 0, [])
        archived, applied, files = rows[0]
        return Manifest(int(archived), int(applied), list(files))

    def _live(self, manifest: Manifest, applied: int) -> LiveRaw:
        """A tag that no window knows has no readings there; whether the window has all is asked just the same."""
        ref = self._tag.ref or TagRef(self._tag.shard, NO_SLOT)
        return self._needs.live.raw(ref, manifest.archived, applied, manifest.applied)

    def _stored(self, from_us: int, to_us: int) -> Stored:
        tag = self._tag
        rows = self._store.tuples(CRITICAL_ROWS, [tag.id, from_us, to_us, tag.shard])
        if not rows:
            return NOT_ASKED
        if len(rows) > ROWS_MAX:
            raise _too_much(f"{tag.path}: more than {ROWS_MAX} readings in the span", status=422)
        applied, floor_us = int(rows[0][0]), int(rows[0][1])
        return Stored(applied, floor_us, _of_tuples([row[2:] for row in rows if row[2] is not None]))

    def _was_critical(self, manifest: Manifest, stored: Stored) -> bool:
        """Whether it was by the end of the archive, its newest reading there is in PostgreSQL too, and ever since.

        Not known counts as no, such as of a tag without a reading in the newest files.
        """
        rows = self._store.tuples(NEWEST, [self._tag.shard, manifest.archived, NEWEST_FILES])
        for (file,) in rows:
            held = self._segments([file], stored.floor_us, ANY_TIME_US)
            if len(held):
                newest_us = int(held.ts_us[-1])
                there = bool(self._store.tuples(IS_THERE, [self._tag.id, newest_us]))
                return there and self._stayed_critical(newest_us)
        return False

    def _stayed_critical(self, since_us: int) -> bool:
        """Whether no change of the model since then was undone by another: one alone left it what it is now."""
        since_s = since_us / SECOND_US - CLOCKS_APART_S
        models = [model for (model,) in self._store.tuples(MODELS, [since_s])]
        if len(models) < 2:
            return True
        return len(models) <= CHANGES_MAX and all(map(self._critical_in, models))

    def _critical_in(self, model: bytes) -> bool:
        wanted = (self._tag.path, self._tag.source, CLASSES[DataClass.CRITICAL])
        tags = msgspec.msgpack.decode(model, type=AssetModel).tags
        return any((tag.path, tag.source, tag.data_class) == wanted for tag in tags)

    def _archived_again(self, manifest: Manifest, live: LiveRaw, from_us: int, to_us: int) -> Series:
        """What the archive has of the positions that the live window's doubtful readings are of."""
        if not len(live.doubtful):
            return Series.joined([])
        asked = {"shard": self._tag.shard, "from": live.doubtful_from, "archived": manifest.archived}
        files = [file for (file,) in self._store.tuples(FINEST_FILES, asked)]
        return self._segments(files, from_us, to_us)

    def _segments(self, files: list[str], from_us: int, to_us: int) -> Series:
        if not files or self._needs.read_tag is None:
            return Series.joined([])
        tag = self._tag
        try:
            return Series(*self._needs.read_tag(files, tag.path, tag.source, from_us, to_us, ROWS_MAX))
        except FileNotFoundError:
            raise
        except MillraceError as error:
            raise _too_much(str(error), status=503 if error.retryable else 422) from error


def without(series: Series, held: Series) -> Series:
    """Rows of a series less those that `held` has too, row for row: two there take two away here."""
    if not len(series) or not len(held):
        return series
    there = Counter(_keys(held.where(np.isin(held.ts_us, series.ts_us))))
    keep = []
    for key in _keys(series):
        there[key] -= 1
        keep.append(there[key] < 0)
    return series.where(np.array(keep, np.bool_))


def _keys(series: Series) -> list[tuple[int, int, int]]:
    """Time, value and quality; all gaps are the same, whatever bits a store gave its NaN."""
    value = np.where(np.isnan(series.value), np.nan, series.value)
    return list(
        zip(series.ts_us.tolist(), value.view(np.int64).tolist(), series.quality.tolist(), strict=True)
    )


def _series(readings: Readings) -> Series:
    return Series(readings.ts_us, readings.value, readings.quality)


def _cut(series: Series, from_us: int, to_us: int) -> Series:
    low, high = np.searchsorted(series.ts_us, (from_us, to_us))
    return series.where(slice(int(low), int(high)))


def _of_tuples(rows: list[tuple[Any, ...]]) -> Series:
    return Series(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.float64),
        np.array([row[2] for row in rows], np.uint8),
    )


def _too_much(detail: str, *, status: int) -> Problem:
    return Problem(status, "archive_unreadable", detail, what_to_do="ask for a shorter span, or another agg")
