"""Questions to `GET /v1/tags/{path}/history`, one after the other as a person asks, timed from outside."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import numpy as np

TIMEOUT_S: Final = 30.0
Parameters = Callable[[int], dict[str, Any]]
"""Time of asking, us -> query parameters."""


@dataclass(slots=True)
class Told:
    """What a round of the same question gave. Freshness: how old the newest point was at the answer."""

    ms: list[float] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    fresh_ms: list[float] = field(default_factory=list)
    levels: set[str] = field(default_factory=set)
    incomplete: int = 0
    failures: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """Quantiles, in milliseconds."""
        if not self.ms:
            return {"asked": 0, "failures": self.failures[:3]}
        found: dict[str, Any] = {
            "asked": len(self.ms),
            "p50_ms": _quantile(self.ms, 0.5),
            "p99_ms": _quantile(self.ms, 0.99),
            "max_ms": round(max(self.ms), 1),
            "points_median": int(np.median(self.points)),
            "levels": sorted(self.levels),
            "incomplete": self.incomplete,
        }
        if self.fresh_ms:
            found["fresh_p50_ms"] = _quantile(self.fresh_ms, 0.5)
            found["fresh_p99_ms"] = _quantile(self.fresh_ms, 0.99)
        if self.failures:
            found["failures"] = self.failures[:3]
        return found


class Asker:
    """One connection to the API."""

    def __init__(self, api_url: str, token: str) -> None:
        where = urlsplit(api_url)
        self._connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=TIMEOUT_S)
        self._headers = {"Authorization": f"Bearer {token}"}

    def ask(self, paths: Sequence[str], parameters: Parameters, *, fresh: bool = False) -> Told:
        """The question for each path, in order."""
        told = Told()
        for path in paths:
            self._ask(told, path, parameters, fresh=fresh)
        return told

    def _ask(self, told: Told, path: str, parameters: Parameters, *, fresh: bool) -> None:
        query = urlencode(parameters(time.time_ns() // 1_000))
        begin_s = time.perf_counter()
        self._connection.request("GET", f"/v1/tags/{quote(path)}/history?{query}", headers=self._headers)
        response = self._connection.getresponse()
        body = response.read()
        took_ms = (time.perf_counter() - begin_s) * 1e3
        now_us = time.time_ns() // 1_000
        if response.status != 200:
            told.failures.append(f"{path}: {response.status} {body[:200].decode(errors='replace')}")
            return
        answer = json.loads(body)
        told.ms.append(took_ms)
        told.points.append(answer["points"])
        told.levels.add(answer["level"])
        told.incomplete += not answer["complete"]
        if fresh and answer["ts_us"]:
            told.fresh_ms.append((now_us - answer["ts_us"][-1]) / 1e3)

    def close(self) -> None:
        self._connection.close()


def _quantile(values: Sequence[float], share: float) -> float:
    return round(float(np.quantile(values, share)), 1)
