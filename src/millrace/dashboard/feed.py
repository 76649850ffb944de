"""What the page shows, asked of the API once for all browsers: figures often, anomalies and tags less so."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import httpx

from millrace import telemetry

FIGURES_EVERY_S = 1.0
ANOMALIES_EVERY_S = 2.0
TAGS_EVERY_S = 30.0
TAGS_MAX = 20_000
RATE_KEPT = 120
log = telemetry.logger(__name__)


@dataclass
class Feed:
    """`stats` is empty while the API does not answer, and `trouble` then says why."""

    client: httpx.AsyncClient
    stats: dict[str, Any] = field(default_factory=dict)
    anomalies: list[dict[str, Any]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=RATE_KEPT))
    trouble: str = "waiting for the platform"
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        """Begin to ask."""
        for ask, every_s in (
            (self._ask_stats, FIGURES_EVERY_S),
            (self._ask_anomalies, ANOMALIES_EVERY_S),
            (self._ask_tags, TAGS_EVERY_S),
        ):
            self._tasks.append(asyncio.create_task(self._again(ask, every_s)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.client.aclose()

    async def _again(self, ask: Any, every_s: float) -> None:
        while True:
            wait_s = every_s
            try:
                await ask()
            except (httpx.HTTPError, ValueError, KeyError) as error:
                self.trouble = f"the API does not answer ({type(error).__name__})"
                self.stats = {}
                wait_s = min(every_s, 1.0)
            await asyncio.sleep(wait_s)

    async def _get(self, path: str, **params: Any) -> Any:
        answer = await self.client.get(path, params=params)
        answer.raise_for_status()
        return answer.json()

    async def _ask_stats(self) -> None:
        self.stats = await self._get("/v1/stats")
        self.rates.append(self.stats["rate"])
        self.trouble = ""

    async def _ask_anomalies(self) -> None:
        self.anomalies = (await self._get("/v1/anomalies", limit=50))["anomalies"]

    async def _ask_tags(self) -> None:
        tags: list[str] = []
        cursor: str | None = ""
        while cursor is not None and len(tags) < TAGS_MAX:
            page = await self._get("/v1/tags", limit=1000, cursor=cursor)
            tags += [row["path"] for row in page["tags"]]
            cursor = page["next_cursor"]
        self.tags = list(dict.fromkeys(tags))
        if not self.tags:
            raise ValueError("no tag yet")

    async def history(self, path: str, from_us: int, points: int) -> dict[str, Any] | None:
        """Points of one tag; None when it cannot be had at the moment."""
        try:
            found: dict[str, Any] = await self._get(
                f"/v1/tags/{path}/history", **{"from": from_us, "points": points}
            )
        except (httpx.HTTPError, ValueError):
            return None
        return found

    def matching(self, text: str, count: int = 100) -> list[str]:
        """Tags that hold every word of a search, in order."""
        words = text.lower().split()
        found = []
        for path in self.tags:
            if all(word in path.lower() for word in words):
                found.append(path)
                if len(found) >= count:
                    break
        return found
