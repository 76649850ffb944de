"""History of one tag: which store answers which part of a span, joined without a gap and without a double.

    older                                                                      now
    |-- 1 h rollups --|-- 1 min rollups --|-- 1 s rollups --|-- live raw --|    a long span
    |-------------- archive segments -----------|--------- live raw -------|    raw

Raw: the boundary is a *position*, not a time (`raw_history.py`). Rollups: a window is written once time has
passed it, so the newest part comes from the next finer level, and the last seconds from the live window.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from millrace.api.dependencies import Dependencies
from millrace.api.live_view import FUTURE_US
from millrace.api.raw_history import RawHistory, Tag
from millrace.api.reduce import Series, Windows, downsampled, reduced
from millrace.api.rollup_columns import read_windows
from millrace.api.store import Store
from millrace.batch import LEVEL_US
from millrace.clock import DAY_US, HOUR_US, SECOND_US
from millrace.errors import StoreUnavailable

LEVELS = ("1s", "1m", "1h")
KEPT_PERIOD_US = (500_000, 30 * SECOND_US)  # 1 s and 1 min exist for tags at least this fast (law 10)
RAW_SPAN_MAX_US = 6 * HOUR_US  # beyond it raw readings lie in too many segments to be looked through
RAW_ROWS_ENOUGH = 60_000
ROLLUP_ROWS_ENOUGH = 20_000
ROLLUP_ROWS_MAX = 240_000
SETTLED_US = 10 * SECOND_US  # a rollup window this far past is written, unless the store is away


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
        self._store, self._tag, self._now_us = store, tag, now_us
        self._raw = RawHistory(needs, store, tag)
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
        """Raw readings of a span, out of all stores that hold some."""
        found = self._raw.read(from_us, to_us)
        if not found.complete:
            self._note("the newest readings are not all in the live window yet; the archive will have them")
        return found.series

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
            newest = self.raw(from_us, to_us) if to_us - from_us <= 2 * HOUR_US else Series.joined([])
            parts.append(Windows.of_series(newest, SECOND_US))
        return parts

    def _rollup(self, level: int, from_us: int, to_us: int) -> Windows:
        table = f"rollup_{LEVELS[level]}"
        return read_windows(self._store, table, self._tag.id, from_us, to_us, ROLLUP_ROWS_MAX)

    def _note(self, text: str) -> None:
        self._complete = False
        self._notes.append(text)
