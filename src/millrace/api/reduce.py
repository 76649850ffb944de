"""Fewer points with the shape kept: what `/history` does once it has the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tsdownsample import LTTBDownsampler, MinMaxDownsampler

from millrace.batch import F64, I64, U8

_LTTB = LTTBDownsampler()  # type: ignore[no-untyped-call]
_MIN_MAX = MinMaxDownsampler()  # type: ignore[no-untyped-call]


@dataclass(slots=True)
class Series:
    """Points in order of time: ts_us, value, quality (n,). A gap is NaN."""

    ts_us: I64
    value: F64
    quality: U8

    def where(self, keep: I64 | np.ndarray[tuple[int], np.dtype[np.bool_]] | slice) -> Series:
        return Series(self.ts_us[keep], self.value[keep], self.quality[keep])

    def __len__(self) -> int:
        return len(self.ts_us)

    @classmethod
    def joined(cls, parts: list[Series]) -> Series:
        """Parts put into order of time; equal times keep the order of the parts."""
        ts_us = np.concatenate([part.ts_us for part in parts]) if parts else np.zeros(0, np.int64)
        out = cls(
            ts_us,
            np.concatenate([part.value for part in parts]) if parts else np.zeros(0),
            np.concatenate([part.quality for part in parts]) if parts else np.zeros(0, np.uint8),
        )
        if len(ts_us) > 1 and (np.diff(ts_us) < 0).any():
            return out.where(np.argsort(ts_us, kind="stable"))
        return out


@dataclass(slots=True)
class Windows:
    """Rollup windows in order of time, (n,) each.

    `count` are good and uncertain values, `all` those of any quality; `min` … `last` NaN where there is none.
    """

    window_us: I64
    min: F64
    max: F64
    sum: F64
    count: I64
    first: F64
    last: F64
    all: I64

    @classmethod
    def none(cls) -> Windows:
        real, whole = np.zeros(0), np.zeros(0, np.int64)
        return cls(whole, real, real, real, whole, real, real, whole)

    @classmethod
    def of_series(cls, series: Series, width_us: int) -> Windows:
        """What the rollup of raw readings is."""
        if not len(series):
            return cls.none()
        window_us = series.ts_us // width_us * width_us
        starts = np.flatnonzero(np.r_[True, window_us[1:] != window_us[:-1]])
        valid = ~np.isnan(series.value) & (series.quality >= 64)
        count = np.add.reduceat(valid.astype(np.int64), starts)
        low = np.minimum.reduceat(np.where(valid, series.value, np.inf), starts)
        high = np.maximum.reduceat(np.where(valid, series.value, -np.inf), starts)
        first, last = _first_and_last(series.value, valid, starts)
        none = count == 0
        return cls(
            window_us[starts],
            np.where(none, np.nan, low),
            np.where(none, np.nan, high),
            np.add.reduceat(np.where(valid, series.value, 0.0), starts),
            count,
            first,
            last,
            np.diff(np.r_[starts, len(series)]).astype(np.int64),
        )

    @classmethod
    def joined(cls, parts: list[Windows], width_us: int) -> Windows:
        """Parts in order of time, merged into windows of one width."""
        parts = [part for part in parts if len(part.window_us)]
        if not parts:
            return cls.none()
        columns = [np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__]
        return cls(*columns).wider(width_us)

    def wider(self, width_us: int) -> Windows:
        """The same in windows of `width_us`."""
        if not len(self.window_us):
            return self
        wide = self.window_us // width_us * width_us
        starts = np.flatnonzero(np.r_[True, wide[1:] != wide[:-1]])
        first, last = _first_and_last(np.where(self.count > 0, self.first, np.nan), self.count > 0, starts)
        _, last = _first_and_last(np.where(self.count > 0, self.last, np.nan), self.count > 0, starts)
        return Windows(
            wide[starts],
            np.fmin.reduceat(self.min, starts),
            np.fmax.reduceat(self.max, starts),
            np.add.reduceat(self.sum, starts),
            np.add.reduceat(self.count, starts),
            first,
            last,
            np.add.reduceat(self.all, starts),
        )


def _first_and_last(
    value: F64, valid: np.ndarray[tuple[int], np.dtype[np.bool_]], starts: I64
) -> tuple[F64, F64]:
    """First and last valid value of each group; NaN where there is none."""
    at = np.arange(len(value))
    first = np.minimum.reduceat(np.where(valid, at, len(value)), starts)
    last = np.maximum.reduceat(np.where(valid, at, -1), starts)
    padded = np.r_[value, np.nan]
    return padded[first], padded[last]


def downsampled(series: Series, points: int, agg: str) -> Series:
    """At most `points` of a series, shape kept; a short one comes as it is, gaps and all."""
    if len(series) <= points:
        return series
    series = series.where(~np.isnan(series.value))
    if len(series) <= points or points < 4:
        return series.where(slice(0, points))
    if agg == "lttb":
        at = _LTTB.downsample(series.ts_us, series.value, n_out=points)
    else:
        at = _MIN_MAX.downsample(series.ts_us, series.value, n_out=points // 2 * 2)
    return series.where(np.unique(at).astype(np.int64))


def shape_of(windows: Windows) -> Series:
    """Two points a window, its lowest and its highest, in an order that keeps the line's direction.

    The extremes' own times are not kept by a rollup: they are drawn at a quarter and three quarters of it.
    """
    n = len(windows.window_us)
    width_us = int(np.diff(windows.window_us).min()) if n > 1 else 1_000_000
    rising = ~(windows.first > windows.last)
    value = np.empty(2 * n)
    value[0::2] = np.where(rising, windows.min, windows.max)
    value[1::2] = np.where(rising, windows.max, windows.min)
    ts_us = np.empty(2 * n, np.int64)
    ts_us[0::2] = windows.window_us + width_us // 4
    ts_us[1::2] = windows.window_us + 3 * width_us // 4
    quality = np.repeat(np.where(windows.count > 0, 192, 0).astype(np.uint8), 2)
    flat = np.repeat(windows.min == windows.max, 2)
    flat[0::2] = False  # one point is enough where lowest and highest are the same
    return Series(ts_us, value, quality).where(~flat)


def _average(windows: Windows) -> F64:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(windows.count > 0, windows.sum / windows.count, np.nan)


COLUMN: dict[str, Callable[[Windows], F64]] = {
    "avg": _average,
    "min": lambda windows: windows.min,
    "max": lambda windows: windows.max,
    "sum": lambda windows: np.where(windows.count > 0, windows.sum, np.nan),
    "count": lambda windows: windows.all.astype(np.float64),
    "first": lambda windows: windows.first,
    "last": lambda windows: windows.last,
}


def reduced(
    windows: Windows, points: int, agg: str, from_us: int, to_us: int, finest_us: int
) -> tuple[Series, int]:
    """At most `points` points of windows, and the width of the windows behind them."""
    if agg in COLUMN:
        width_us = nice_width(to_us - from_us, points, finest_us)
        wide = windows.wider(width_us)
        value = COLUMN[agg](wide)
        return Series(wide.window_us, value, np.where(wide.count > 0, 192, 0).astype(np.uint8)), width_us
    return downsampled(shape_of(windows), points, agg), finest_us


WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


def nice_width(span_us: int, points: int, finest_us: int) -> int:
    """The finest width a person would choose that gives at most `points` windows over a span."""
    for width_s in WIDTHS_S:
        width_us = width_s * 1_000_000
        if width_us >= finest_us and width_us % finest_us == 0 and span_us // width_us + 2 <= points:
            return width_us
    days = -(-span_us // (86_400_000_000 * max(points - 2, 1)))
    return int(days) * 86_400_000_000
