"""The outside client: follows tags over `GET /v1/live` and notes when each reading was received.

Prints one JSON line per run: latency from due to received, over all followed readings that are not late.
"""

from __future__ import annotations

import argparse
import http.client
import json
import time
from urllib.parse import urlencode, urlsplit

import msgspec
import numpy as np


class Row(msgspec.Struct):
    tag: str
    ts_us: int
    late: bool


class Event(msgspec.Struct):
    readings: list[Row]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--api-url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, default=10.0)
    parser.add_argument("tags", nargs="+")
    chosen = parser.parse_args()
    seen_us, due_us = follow(chosen.api_url, chosen.token, chosen.tags, chosen.seconds)
    print(json.dumps(quantiles(seen_us, due_us, chosen.warm_up)), flush=True)
    return 0


def follow(api_url: str, token: str, tags: list[str], seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """(received, due) in microseconds of each followed reading."""
    parts = urlsplit(api_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    query = urlencode([("path", tag) for tag in tags])
    connection.request("GET", f"/v1/live?{query}", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"/v1/live answered {answer.status}: {answer.read()[:500]!r}")
    print("following", flush=True)
    decoder = msgspec.json.Decoder(Event)
    seen: list[int] = []
    due: list[int] = []
    kind = b""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        line = answer.readline()
        if line.startswith(b"event:"):
            kind = line[6:].strip()
        elif line.startswith(b"data:") and kind == b"readings":
            now_us = time.time_ns() // 1_000
            for row in decoder.decode(line[5:]).readings:
                if not row.late:
                    seen.append(now_us)
                    due.append(row.ts_us)
        elif line.startswith(b"data:") and kind == b"missed":
            raise SystemExit(f"the follower was told that it missed something: {line!r}")
    return np.array(seen, np.int64), np.array(due, np.int64)


def quantiles(seen_us: np.ndarray, due_us: np.ndarray, warm_up_s: float) -> dict[str, float]:
    """Milliseconds; the worst second is the one with the highest 99th percentile."""
    if not len(seen_us):
        return {"readings": 0}
    keep = seen_us >= seen_us[0] + warm_up_s * 1e6
    latency_ms = (seen_us[keep] - due_us[keep]) / 1e3
    second = seen_us[keep] // 1_000_000
    worst = max((float(np.quantile(latency_ms[second == s], 0.99)) for s in np.unique(second)), default=0.0)
    return {
        "readings": len(latency_ms),
        "p50_ms": round(float(np.quantile(latency_ms, 0.5)), 1),
        "p99_ms": round(float(np.quantile(latency_ms, 0.99)), 1),
        "p999_ms": round(float(np.quantile(latency_ms, 0.999)), 1),
        "max_ms": round(float(latency_ms.max()), 1),
        "worst_second_p99_ms": round(worst, 1),
    }


if __name__ == "__main__":
    raise SystemExit(main())
