"""History of one tag: which store answers which part of a span, joined without a gap and without a double.

    older                                                                      now
    |-- 1 h rollups --|-- 1 min rollups --|-- 1 s rollups --|-- live raw --|    a long span
    |-------------- archive segments -----------|--------- live raw -------|    raw

Raw: the boundary is a *position*, not a time. The manifest says up to which position the shard is archived;
the live window gives what its blobs hold above it. Rollups: a window is written once time has passed it, so
the newest part comes from the next finer level, and the last seconds from the live window.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from millrace.api.dependencies import Dependencies
from millrace.api.live_view import LiveRaw, TagRef
from millrace.api.problems import Problem
from millrace.api.reduce import Series, Windows, downsampled, reduced
from millrace.api.rollup_columns import read_windows
from millrace.api.store import Store
from millrace.api.window import Readings
from millrace.batch import LEVEL_US, DataClass
from millrace.clock import DAY_US, HOUR_US, SECOND_US
from millrace.errors import MillraceError, StoreUnavailable

LEVELS = ("1s", "1m", "1h")
KEPT_PERIOD_US = (500_000, 30 * SECOND_US)  # 1 s and 1 min exist for tags at least this fast (law 10)
RAW_SPAN_MAX_US = 6 * HOUR_US  # beyond it raw readings lie in too many segments to be looked through
RAW_ROWS_ENOUGH = 60_000
ROLLUP_ROWS_ENOUGH = 20_000
RAW_ROWS_MAX = 2_000_000
ROLLUP_ROWS_MAX = 240_000
SETTLED_US = 10 * SECOND_US  # a rollup window this far past is written, unless the store is away
FUTURE_US = 6 * SECOND_US  # a reading may be ahead of its receipt by this much
ATTEMPTS = 3  # a compaction may take a file away between the manifest and the read

MANIFEST = """
SELECT s.archived::text,
    coalesce(array_agg(g.file ORDER BY g.first_position) FILTER (WHERE g.file IS NOT NULL), '{}')
FROM shard s LEFT JOIN segment g ON g.shard = s.shard AND g.kind = 'readings' AND g.state <> 'retired'
    AND g.max_ts_us >= %s AND g.min_ts_us < %s
WHERE s.shard = %s GROUP BY s.archived
"""
CRITICAL_ROWS = """
SELECT ts_us, value, quality FROM reading
WHERE tag_id = %s AND ts_us >= %s AND ts_us < %s ORDER BY ts_us LIMIT {limit}
"""


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
class Question:
    """from_us <= ts < to_us, at most `points` of `agg`."""

    from_us: int
    to_us: int
    points: int
    agg: str


@dataclass(slots=True)
class Answer:
    """Points, and where they came from. Not `complete`: something that should be there could not be read."""

    series: Series
    level: str
    width_us: int
    complete: bool
    notes: list[str] = field(default_factory=list)


def history(needs: Dependencies, tag: Tag, question: Question) -> Answer:
    """Blocking; called in the bounded pool."""
    if needs.store is None:
        raise StoreUnavailable("PostgreSQL is not configured")
    now_us = needs.clock.now_us()
    level = choose_level(needs, tag, question, now_us)
    reader = _Reader(needs, needs.store, tag, now_us)
    if level == "raw":
        return reader.raw_answer(question)
    return reader.rollup_answer(question, LEVELS.index(level))


def choose_level(needs: Dependencies, tag: Tag, question: Question, now_us: int) -> str:
    """The finest source that is kept for the tag and the span, and whose rows are few enough to read."""
    span_us = min(question.to_us, now_us + FUTURE_US) - question.from_us
    if question.agg == "raw":
        return "raw"
    if span_us <= RAW_SPAN_MAX_US and span_us / max(tag.period_us, 1_000) <= RAW_ROWS_ENOUGH:
        return "raw"
    settings = needs.settings
    kept_us = (settings.rollup_1s_retention_days * DAY_US, settings.rollup_1m_retention_days * DAY_US)
    for level, width_us in enumerate(LEVEL_US[:2]):
        kept = tag.period_us <= KEPT_PERIOD_US[level] and question.from_us >= now_us - kept_us[level]
        if kept and span_us / width_us <= ROLLUP_ROWS_ENOUGH:
            return LEVELS[level]
    return "1h"


class _Reader:
    """Reads the parts of one answer."""

    def __init__(self, needs: Dependencies, store: Store, tag: Tag, now_us: int) -> None:
        self._needs, self._store, self._tag, self._now_us = needs, store, tag, now_us
        self._notes: list[str] = []
        self._complete = True

    # --- raw --------------------------------------------------------------------------------------

    def raw_answer(self, question: Question) -> Answer:
        series = self.raw(question.from_us, question.to_us)
        if question.agg == "raw" and len(series) > question.points:
            self._notes.append(f"{len(series)} readings in the span, the first {question.points} are here")
            self._complete = False
            series = series.where(slice(0, question.points))
        elif question.agg not in ("minmax", "lttb", "raw"):
            windows = Windows.of_series(series, SECOND_US)
            span = (question.from_us, question.to_us)
            series, width_us = reduced(windows, question.points, question.agg, *span, SECOND_US)
            return Answer(series, "raw", width_us, self._complete, self._notes)
        series = downsampled(series, question.points, question.agg)
        return Answer(series, "raw", 0, self._complete, self._notes)

    def raw(self, from_us: int, to_us: int) -> Series:
        """Raw readings of a span: archived ones from segments, newer ones from the live window."""
        for attempt in range(ATTEMPTS):
            archived, files = self._manifest(from_us, to_us)
            live = self._live(archived)
            try:
                archive = self._segments(files, from_us, to_us)
            except FileNotFoundError:
                if attempt + 1 == ATTEMPTS:
                    raise
                continue
            break
        if live.complete or self._tag.data_class != DataClass.CRITICAL:
            if not live.complete and to_us > live.complete_since_us - FUTURE_US:
                self._note(
                    "the newest readings are not all in the live window yet; the archive will have them"
                )
            new = _without(_series(live.straddling), archive)
            return _cut(Series.joined([archive, new, _series(live.readings)]), from_us, to_us)
        return self._with_store(archive, live, from_us, to_us)

    def _with_store(self, archived: Series, live: LiveRaw, from_us: int, to_us: int) -> Series:
        """The live window has a hole: a critical tag's raw readings are in PostgreSQL too."""
        start_us = max(from_us, self._now_us - self._needs.settings.reading_retention_h * HOUR_US)
        sql = CRITICAL_ROWS.format(limit=RAW_ROWS_MAX)
        rows = self._store.tuples(sql, [self._tag.id, start_us, to_us])
        stored = _of_tuples(rows)
        newest_us = int(stored.ts_us[-1]) if len(stored) else start_us
        fresh = _series(live.readings)
        parts = [archived.where(archived.ts_us < start_us), stored, fresh.where(fresh.ts_us > newest_us)]
        return _cut(Series.joined(parts), from_us, to_us)

    def _manifest(self, from_us: int, to_us: int) -> tuple[int, list[str]]:
        rows = self._store.tuples(MANIFEST, [from_us, to_us, self._tag.shard])
        return (int(rows[0][0]), list(rows[0][1])) if rows else (0, [])

    def _live(self, after_position: int) -> LiveRaw:
        if self._tag.ref is None:
            return LiveRaw.nothing()
        return self._needs.live.raw(self._tag.ref, after_position)

    def _segments(self, files: list[str], from_us: int, to_us: int) -> Series:
        if not files or self._needs.read_tag is None:
            return _of_tuples([])
        tag = self._tag
        try:
            ts_us, value, quality = self._needs.read_tag(
                files, tag.path, tag.source, from_us, to_us, RAW_ROWS_MAX
            )
        except FileNotFoundError:
            raise
        except MillraceError as error:
            raise Problem(
                503 if error.retryable else 422,
                "archive_unreadable",
                str(error),
                what_to_do="ask for a shorter span, or another agg",
            ) from error
        return Series(ts_us, value, quality)

    # --- rollups ----------------------------------------------------------------------------------

    def rollup_answer(self, question: Question, level: int) -> Answer:
        width_us = LEVEL_US[level]
        from_us = question.from_us // width_us * width_us
        windows = Windows.joined(self._cascade(from_us, question.to_us, level), width_us)
        span = (question.from_us, question.to_us)
        series, width_us = reduced(windows, question.points, question.agg, *span, width_us)
        return Answer(series, LEVELS[level], width_us, self._complete, self._notes)

    def _cascade(self, from_us: int, to_us: int, level: int) -> list[Windows]:
        """Windows of a level up to where it is settled, then of the next finer one, then live raw."""
        parts: list[Windows] = []
        settled_us = self._now_us - SETTLED_US
        for finer in range(level, -1, -1):
            until_us = min(settled_us // LEVEL_US[finer] * LEVEL_US[finer], to_us)
            if until_us <= from_us:
                continue
            part = self._rollup(finer, from_us, until_us)
            if finer < level and not len(part.window_us):  # this tag's period is too long for a finer rollup
                break
            parts.append(part)
            from_us = until_us
        if to_us > from_us:
            newest = self.raw(from_us, to_us) if to_us - from_us <= 2 * HOUR_US else _of_tuples([])
            parts.append(Windows.of_series(newest, SECOND_US))
        return parts

    def _rollup(self, level: int, from_us: int, to_us: int) -> Windows:
        table = f"rollup_{LEVELS[level]}"
        return read_windows(self._store, table, self._tag.id, from_us, to_us, ROLLUP_ROWS_MAX)

    def _note(self, text: str) -> None:
        self._complete = False
        self._notes.append(text)


def _series(readings: Readings) -> Series:
    return Series(readings.ts_us, readings.value, readings.quality)


def _without(series: Series, held: Series) -> Series:
    """Rows of a series less those that `held` has too, row for row: two there take two away here."""
    if not len(series):
        return series
    there = Counter(zip(held.ts_us.tolist(), held.value.tobytes().hex(" ", 8).split(), strict=True))
    keep = []
    for key in zip(series.ts_us.tolist(), series.value.tobytes().hex(" ", 8).split(), strict=True):
        there[key] -= 1
        keep.append(there[key] < 0)
    return series.where(np.array(keep, np.bool_))


def _cut(series: Series, from_us: int, to_us: int) -> Series:
    low, high = np.searchsorted(series.ts_us, (from_us, to_us))
    return series.where(slice(int(low), int(high)))


def _of_tuples(rows: list[tuple[Any, ...]]) -> Series:
    return Series(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.float64),
        np.array([row[2] for row in rows], np.uint8),
    )
