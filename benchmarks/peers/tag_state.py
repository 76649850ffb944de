"""What an engine keeps and computes per tag: our shipped EWMA detector in plain Python, and the open 1 s rollup.

It is the slow twin of `millrace.process.detect.ewma` with `intervals` (there are the reasons of the numbers), so that
everyone runs the same rule and every anomaly can be compared; `tests/unit/peers` holds the two together. Left out is
what no file of the comparison has: values beyond 1e150, a range or deadband in the model, late readings.
This file runs in the peers' own environment too: it needs the standard library only.
"""

from __future__ import annotations

from typing import Any, Final

ALPHA: Final = 0.05
BETA: Final = 0.01
LIMIT_SIGMA: Final = 8.0
CLIP_SIGMA: Final = 3.0
WARM_UP: Final = 60
RELEARN: Final = 50
PULSES_MAX: Final = 5.0
PULSES_KEPT: Final = 1.0 - 1 / 2_000
REACH_KEPT: Final = 1.0 - 1 / 20_000
REACH_MARGIN: Final = 1.25
SIGMA_PER_MAD: Final = 1.2533141373155001
RELATIVE_FLOOR: Final = 1e-5
CLOSE_COUNT: Final = 3
CLOSE_SCORE: Final = 0.7
SETTLED: Final = 1.0 / BETA  # readings after which neither weight changes

WINDOW_US: Final = 1_000_000
OPENED, CLOSED = 0, 1  # `batch.OPENED`, `batch.CLOSED`

ROLLUP, ANOMALY = 0, 1
Row = tuple[Any, ...]  # (ROLLUP, tag, window_us, count, …) or (ANOMALY, tag, start_us, …)


class TagState:
    """One tag: the detector's state, the anomaly that is open, the window that is open. Picklable."""

    __slots__ = (
        "calm", "count", "end_us", "first", "high", "last", "last_start_us", "low", "mean", "opened", "outside",
        "peak", "pulses", "reach", "scale", "seen", "tag", "total", "window_us",
    )  # fmt: skip

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.mean = self.scale = self.pulses = self.reach = 0.0
        self.seen = self.outside = 0
        self.opened: Row | None = None  # the row of the open anomaly, as it was when it opened
        self.peak: tuple[float, float, float] = (0.0, 0.0, 0.0)  # value, expected, score
        self.end_us = self.last_start_us = self.calm = 0
        self.window_us = -1
        self.count = 0
        self.low = self.high = self.total = self.first = self.last = 0.0

    def step(self, ts_us: int, value: float, rows: list[Row]) -> None:
        """Take one reading; append the rows that are complete with it."""
        expected, score = self.mean, self.judge(value)
        if score > 1.0 or self.opened is not None:
            self.mark(ts_us, value, expected, score, rows)
        window_us = ts_us - ts_us % WINDOW_US
        if window_us != self.window_us:
            self.close_window(rows)
            self.window_us, self.count, self.total = window_us, 0, 0.0
            self.low = self.high = self.first = value
        self.count += 1
        self.total += value
        self.last = value
        if value < self.low:
            self.low = value
        if value > self.high:
            self.high = value

    def judge(self, value: float) -> float:
        """Score of a reading, 1 is the limit; learns from it. Branches stand for min and max, which cost a call."""
        seen = self.seen
        if seen == 0:
            self.mean, self.scale, self.outside, self.seen = value, 0.0, 0, 1
            return 0.0
        mean, scale = self.mean, self.scale
        away = value - mean
        size = clipped = away if away > 0.0 else -away
        floor = RELATIVE_FLOOR * (mean if mean > 0.0 else -mean) + 1e-12
        believed = scale if scale > floor else floor
        self.pulses *= PULSES_KEPT
        score, alpha, beta = 0.0, ALPHA, BETA
        if seen >= WARM_UP:
            if size > CLIP_SIGMA * believed:
                clipped = CLIP_SIGMA * believed
            score = size / (LIMIT_SIGMA * believed)
            if score > 1.0:
                score = self.leave_band(size, score)
            else:
                self.outside = 0
        if seen < SETTLED:
            alpha, beta = max(ALPHA, 1.0 / (seen + 1.0)), 1.0 / seen
        self.mean = mean + alpha * (clipped if away > 0.0 else -clipped)
        self.scale = scale + beta * (SIGMA_PER_MAD * clipped - scale)
        self.seen = 0 if self.outside >= RELEARN else seen + 1
        return score

    def leave_band(self, size: float, score: float) -> float:
        """Book a reading outside the band; the score it gets, given how often the signal goes there."""
        if self.outside == 0:
            self.pulses += 1.0
        self.outside += 1
        if self.pulses > PULSES_MAX:
            score = size / (REACH_MARGIN * self.reach)
        self.reach = max(size, self.reach * REACH_KEPT)
        return score

    def mark(self, ts_us: int, value: float, expected: float, score: float, rows: list[Row]) -> None:
        """Open an anomaly, go on with it, or close it: then its row is complete."""
        if self.opened is None:
            start_us = max(ts_us, self.last_start_us + 1)
            self.opened = (ANOMALY, self.tag, start_us, start_us, value, expected, score, OPENED)
            self.peak, self.end_us, self.last_start_us, self.calm = (value, expected, score), ts_us, start_us, 0
            return
        if score > 1.0:
            self.end_us = ts_us
            if score > self.peak[2]:
                self.peak = (value, expected, score)
        self.calm = self.calm + 1 if score < CLOSE_SCORE else 0
        if self.calm >= CLOSE_COUNT:
            start_us = self.opened[2]
            rows.append((ANOMALY, self.tag, start_us, max(self.end_us, start_us), *self.peak, CLOSED))
            self.opened = None

    def close_window(self, rows: list[Row]) -> None:
        """Append the open window, if there is one."""
        if self.count:
            numbers = (self.window_us, self.count, self.low, self.high, self.total, self.first, self.last)
            rows.append((ROLLUP, self.tag, *numbers))
            self.count = 0

    def finish(self, rows: list[Row]) -> None:
        """The input has ended: the open window, and the open anomaly as it was when it opened."""
        self.close_window(rows)
        if self.opened is not None:
            rows.append(self.opened)
            self.opened = None

    def __getstate__(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        for name, value in zip(self.__slots__, state, strict=True):
            setattr(self, name, value)
