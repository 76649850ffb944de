"""Cores and memory of the platform's processes, and the servers' durability settings."""

from __future__ import annotations

from dataclasses import dataclass, field

import psutil
import psycopg
import valkey

POSTGRES_SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method")
STREAM_SETTINGS = ("appendonly", "appendfsync", "maxmemory-policy")


@dataclass
class Usage:
    """CPU seconds and peak memory by kind of process, sampled. Processes that come and go are counted while seen."""

    root: int
    cpu_s: dict[int, tuple[str, float]] = field(default_factory=dict)
    begin_s: dict[int, float] = field(default_factory=dict)
    rss: dict[str, list[int]] = field(default_factory=dict)

    def sample(self) -> None:
        now: dict[str, int] = {}
        for process in self._family():
            try:
                name, times = kind_of(process), process.cpu_times()
                memory = process.memory_info()
            except psutil.Error:
                continue
            total = times.user + times.system
            self.begin_s.setdefault(process.pid, total)
            self.cpu_s[process.pid] = (name, total)
            now[name] = now.get(name, 0) + memory.rss - memory.shared
        for name, size in now.items():
            self.rss.setdefault(name, []).append(size)

    def _family(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self.root)
            return [root, *root.children(recursive=True)]
        except psutil.Error:
            return []

    def report(self, seconds: float) -> dict[str, object]:
        cores: dict[str, float] = {}
        for pid, (name, total) in self.cpu_s.items():
            cores[name] = cores.get(name, 0.0) + (total - self.begin_s[pid]) / seconds
        memory = {name: {"first_mb": sizes[0] // 10**6, "max_mb": max(sizes) // 10**6, "last_mb": sizes[-1] // 10**6}
                  for name, sizes in sorted(self.rss.items())}  # fmt: skip
        return {
            "cores": {name: round(value, 3) for name, value in sorted(cores.items())},
            "cores_total": round(sum(cores.values()), 3),
            "memory": memory,
        }


def kind_of(process: psutil.Process) -> str:
    """worker, api, postgres, stream, cache, supervisor, producer or client."""
    words = " ".join(process.cmdline()) or process.name()
    for mark, name in (
        ("millrace.worker", "worker"), ("millrace.api", "api"), ("millrace.dashboard", "dashboard"),
        ("pipeline.producer", "producer"), ("pipeline.follower", "client"), ("pipeline.committed", "client"),
        ("postgres", "postgres"), ("cache", "cache"), ("valkey", "stream"), ("millrace.cli", "supervisor"),
    ):  # fmt: skip
        if mark in words:
            return name
    return "other"


def durability(postgres_url: str, stream_url: str) -> dict[str, str]:
    """What the servers themselves say."""
    found = {}
    with psycopg.connect(postgres_url) as connection:
        for name in POSTGRES_SETTINGS:
            row = connection.execute(f"SHOW {name}".encode()).fetchone()
            found[f"postgres.{name}"] = str(row[0]) if row else "?"
    client = valkey.Valkey.from_url(stream_url.replace("valkey://", "redis://"))
    for name in STREAM_SETTINGS:
        found[f"stream.{name}"] = str(client.config_get(name).get(name))
    client.close()
    return found
