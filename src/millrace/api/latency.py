"""Latency over the last seconds: a histogram a second, quantiles over the newest ten."""

from __future__ import annotations

import threading
from bisect import bisect_right

import numpy as np

from millrace.batch import F64

EDGES_MS: F64 = np.concatenate([[0.0], np.geomspace(1.0, 60_000.0, 120)])
"""Bucket edges: 9 % wide from 1 ms to a minute."""
KEPT_S = 10
_EDGES = EDGES_MS.tolist()


class LatencyWindow:
    """Counts per bucket and second; safe to record and read from different threads."""

    def __init__(self) -> None:
        self._counts = np.zeros((KEPT_S, len(EDGES_MS)), np.int64)
        self._second = [-1] * KEPT_S
        self._lock = threading.Lock()

    def record(self, latency_ms: float, count: int, now_s: float) -> None:
        """`count` readings that took `latency_ms`."""
        bucket = bisect_right(_EDGES, max(latency_ms, 0.0)) - 1
        second = int(now_s)
        with self._lock:
            row = second % KEPT_S
            if self._second[row] != second:
                self._second[row] = second
                self._counts[row] = 0
            self._counts[row, bucket] += count

    def _sum(self, now_s: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        with self._lock:
            rows = [row for row, second in enumerate(self._second) if second > int(now_s) - KEPT_S]
            return np.asarray(self._counts[rows].sum(axis=0))

    def quantile_ms(self, share: float, now_s: float) -> float | None:
        """Upper edge of the bucket that holds the quantile; None when nothing was recorded."""
        counts = self._sum(now_s)
        total = int(counts.sum())
        if not total:
            return None
        bucket = int(np.searchsorted(np.cumsum(counts), share * total))
        return round(float(EDGES_MS[min(bucket + 1, len(EDGES_MS) - 1)]), 2)

    def buckets(self, now_s: float) -> list[dict[str, float]]:
        """Non-empty buckets, coarse enough to draw: `{"from_ms", "to_ms", "count"}`."""
        counts = self._sum(now_s)
        edges = [0, 1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000, 60_000]
        at = np.searchsorted(EDGES_MS, edges)
        out = []
        for i in range(len(edges) - 1):
            count = int(counts[at[i] : at[i + 1]].sum())
            out.append({"from_ms": float(edges[i]), "to_ms": float(edges[i + 1]), "count": float(count)})
        return out
