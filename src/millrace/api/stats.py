"""`GET /v1/stats`: counts since start, rate, lag, latency, disk. Sampled twice a second at most."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request

from millrace import telemetry
from millrace.api.dependencies import Dependencies, dependencies
from millrace.api.latency import LatencyWindow
from millrace.api.quantile import quantile_s
from millrace.api.store import in_thread
from millrace.errors import Unavailable

router = APIRouter(tags=["stats"])

SAMPLE_EVERY_S = 0.5
RATE_OVER_S = 5.0
LATENCY_OVER_S = 10.0
DISK_OVER_S = 600.0
DISK_SPAN_MIN_S = 60.0  # servers that start take room ahead: their first seconds are no pace
SHARDS = """
SELECT shard, owner, epoch, applied::text, archived::text, snapshot::text, time_us, model_number
FROM shard ORDER BY shard
"""

Totals = dict[str, float]


@dataclass(slots=True)
class StatsSampler:
    """Keeps a few minutes of counters, so that rates and quantiles speak of now and not of the whole past."""

    needs: Dependencies
    started_us: int
    samples: deque[tuple[float, Totals]] = field(default_factory=lambda: deque(maxlen=64))
    disk: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=128))
    shards: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def sample(self) -> None:
        """Take a sample unless there is a fresh one."""
        with self.lock:
            now_s = self.needs.clock.monotonic_s()
            if self.samples and now_s - self.samples[-1][0] < SAMPLE_EVERY_S:
                return
            self.samples.append((now_s, telemetry.totals()))
            self._sample_shards()
            self._sample_disk(now_s)

    def _sample_shards(self) -> None:
        if self.needs.store is None:
            return
        try:
            self.shards = self.needs.store.rows(SHARDS)
        except Unavailable:
            self.shards = []

    def _sample_disk(self, now_s: float) -> None:
        if self.needs.disk and (not self.disk or now_s - self.disk[-1][0] > DISK_OVER_S / 100):
            self.disk.append((now_s, self.needs.disk()["used_bytes"]))

    def _before(self, age_s: float) -> tuple[float, Totals]:
        """The newest sample at least that old, or the oldest there is."""
        now_s = self.samples[-1][0]
        older = [sample for sample in self.samples if sample[0] <= now_s - age_s]
        return older[-1] if older else self.samples[0]

    def rate_per_s(self, name: str) -> float:
        """Growth of a counter per second."""
        (then_s, then), (now_s, now) = self._before(RATE_OVER_S), self.samples[-1]
        span_s = now_s - then_s
        return (now.get(name, 0.0) - then.get(name, 0.0)) / span_s if span_s > 0 else 0.0

    def quantiles_ms(self, histogram: str) -> dict[str, float | None]:
        """p50 and p99 of the newest seconds."""
        then, now = self._before(LATENCY_OVER_S)[1], self.samples[-1][1]
        recent = {
            name: value - then.get(name, 0.0) for name, value in now.items() if name.startswith(histogram)
        }
        return {
            name: None if math.isnan(seconds) else round(seconds * 1000, 1)
            for name, seconds in (
                ("p50", quantile_s(recent, histogram, 0.5)),
                ("p99", quantile_s(recent, histogram, 0.99)),
            )
        }

    def hours_left(self, used_bytes: int, max_bytes: int) -> float | None:
        """Hours until the bound at the pace of the last minutes; None when nothing grows, or none can be told yet."""
        (then_s, then), (now_s, _) = self.disk[0], self.disk[-1]
        pace = (used_bytes - then) / (now_s - then_s) if now_s - then_s >= DISK_SPAN_MIN_S else 0.0
        return round(max(max_bytes - used_bytes, 0) / pace / 3600, 1) if pace > 0 else None

    def figures(self) -> dict[str, Any]:
        """The answer."""
        now = self.samples[-1][1]
        live = self.needs.live.figures()
        by_reason = _by_reason(now)
        visible: LatencyWindow = self.needs.live.visible
        now_s = self.needs.clock.monotonic_s()
        return {
            "started_us": self.started_us,
            "uptime_s": round((self.needs.clock.now_us() - self.started_us) / 1e6, 1),
            "accepted": int(now.get("ingest_readings_accepted_total", 0)),
            "rejected": sum(by_reason.values()),
            "rejected_by_reason": by_reason,
            "received": int(now.get("process_readings_received_total", 0)),
            "duplicate": int(now.get("process_readings_duplicate_total", 0)),
            "processed": int(now.get("process_readings_applied_total", 0)),
            "late": int(now.get("process_readings_late_total", 0)),
            "stored": int(now.get("sink_readings_applied_total", 0)),
            "archived": int(now.get("sink_readings_archived_total", 0)),
            "anomalies": int(now.get("process_anomalies_opened_total", 0)),
            "alarms": int(now.get("process_alarms_raised_total", 0)),
            "rate": round(self.rate_per_s("process_readings_applied_total"), 1),
            "lag_ms": self._lag_ms(),
            "latency_ms": {
                "visible": {"p50": live.pop("p50_ms"), "p99": live.pop("p99_ms")},
                "durable": self.quantiles_ms("latency_durable_seconds"),
            },
            "latency_histogram": visible.buckets(now_s),
            "disk": self._disk(),
            "ingest_closed": self._closed(),
            "live": live,
            "shards": self.shards,
        }

    def _lag_ms(self) -> float | None:
        """Age of the newest processed record, of the shard that is furthest behind."""
        totals = self.samples[-1][1]
        lags_s = [value for name, value in totals.items() if name.startswith("process_lag_seconds{")]
        if lags_s:
            return round(max(lags_s) * 1000, 1)
        times = [shard["time_us"] for shard in self.shards if shard["time_us"]]
        return round(max(self.needs.clock.now_us() - min(times), 0) / 1000, 1) if times else None

    def _closed(self) -> dict[str, str] | None:
        """Why nobody is let in at present, such as a disk that is nearly full; None while the door is open."""
        closed = self.needs.closed()
        return None if closed is None else {"reason": closed[0], "detail": closed[1]}

    def _disk(self) -> dict[str, Any]:
        if self.needs.disk is None or not self.disk:
            return {}
        disk: dict[str, Any] = dict(self.needs.disk())
        return disk | {"hours_left": self.hours_left(disk["used_bytes"], disk["max_bytes"])}


def _by_reason(totals: Totals) -> dict[str, int]:
    """Rejects by reason. The flow counts what the door refused too, once the record came by."""
    prefix = "process_readings_rejected_total{"
    out = {
        name[len(prefix) : -1]: int(value)
        for name, value in totals.items()
        if name.startswith(prefix) and value > 0
    }
    return dict(sorted(out.items(), key=lambda pair: -pair[1]))


@router.get("/v1/stats", summary="Counts since start, lag, latency")
async def stats(request: Request) -> dict[str, Any]:
    """Latencies are of the last ten seconds, in milliseconds; counts are since the platform's start."""
    sampler: StatsSampler = request.app.state.stats
    await in_thread(dependencies(request).queries, sampler.sample)
    return sampler.figures()
