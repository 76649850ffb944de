"""How far each shard's worker is behind, and what it gets through, as its live blobs show.

Ticks give every shard a blob a second, so a shard that says nothing for longer is behind by at least that.
"""

from __future__ import annotations

from dataclasses import dataclass

QUIET_S = 1.5
"""A shard that is up says something this often, whatever comes."""
RATE_OVER_S = 1.0
FORGOTTEN_S = 30.0
"""After that long without a word nothing is known of a shard's lag (no worker, or no real-time store)."""


@dataclass(slots=True)
class _Meter:
    seen_s: float = 0.0
    lag_s: float = 0.0
    rows: int = 0
    since_s: float = 0.0
    rate: float = 0.0


class LagMeter:
    """Noted by the follower's thread, asked by the door's."""

    def __init__(self, shard_count: int) -> None:
        self._meters = [_Meter() for _ in range(shard_count)]

    def note(self, shard: int, rows: int, lag_s: float, now_s: float) -> None:
        """A blob of `rows` readings whose newest was received `lag_s` ago."""
        meter = self._meters[shard]
        meter.seen_s = now_s
        meter.lag_s = lag_s if rows else 0.0
        meter.rows += rows
        if now_s - meter.since_s >= RATE_OVER_S:
            meter.rate = meter.rows / (now_s - meter.since_s) if meter.since_s else 0.0
            meter.rows, meter.since_s = 0, now_s

    def lags(self, now_s: float) -> dict[int, tuple[float, float]]:
        """Per shard that said something lately: (lag in seconds, readings per second that it gets through)."""
        found = {}
        for shard, meter in enumerate(self._meters):
            quiet_s = now_s - meter.seen_s
            if meter.seen_s and quiet_s < FORGOTTEN_S:
                found[shard] = (max(meter.lag_s, quiet_s - QUIET_S), meter.rate)
        return found
