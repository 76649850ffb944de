"""Quantile of a histogram as `telemetry.totals()` has it: counts below upper bounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def quantile_s(values: Mapping[str, float], histogram: str, share: float) -> float:
    """Quantile of a histogram in `totals()`, in seconds; NaN when it is empty.

    Linear inside its bucket, so as exact as the buckets are narrow.
    """
    buckets = sorted(
        (float(name[len(histogram) + 8 : -1]), count)
        for name, count in values.items()
        if name.startswith(histogram + "_bucket{")
    )
    if not buckets or buckets[-1][1] <= 0:
        return float("nan")
    return _interpolated(buckets, share * buckets[-1][1])


def _interpolated(buckets: Iterable[tuple[float, float]], wanted: float) -> float:
    lower, below = 0.0, 0.0
    for upper, count in buckets:
        if count >= wanted:
            if upper == float("inf"):
                return lower
            return lower + (upper - lower) * (wanted - below) / max(count - below, 1e-12)
        lower, below = upper, count
    return lower
