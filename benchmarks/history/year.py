"""`python -m benchmarks.history.year`: ask a store that is a year old, cold and warm, while the platform works.

Builds 10,000 tags with a year of 1 h rollups, a week of 1 min rollups and hours of archive at 100,000 readings/s, then
starts the platform with 10,000 readings/s coming in and asks random tags through the API. Prints one JSON report with
the goals beside it. `--small` is the same in under a minute, for every change; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform as machine_of
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg

from benchmarks.history import archive, rollups
from benchmarks.history.ask import Asker, Parameters
from benchmarks.history.platform import Running, drop_caches, environment, give_model, load, platform
from benchmarks.pipeline.machine import Usage, durability
from benchmarks.workloads import Workload, workload
from millrace import names
from millrace.clock import DAY_US, HOUR_US
from millrace.local.servers import running as servers_running
from millrace.process.rollup import PERIOD_1M_MAX_US
from millrace.settings import load as load_settings

MINUTE_US: Final = 60_000_000
LIVE: Final = "plant-10k"
ARCHIVED: Final = "plant-100k"
FRESH_PERIOD_US_MAX: Final = 500_000  # only of a tag that is read that often can freshness be judged
ALL_POINTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Size:
    """How large the store is, and how much is asked."""

    year_tags: int = 10_000
    year_days: int = 365
    week_tags: int = 10_000  # of those that have 1 min rollups: every 30 s or more often
    week_days: int = 7
    archive_minutes: float = 120.0
    asked: int = 200
    warm_up_s: float = 20.0


SMALL: Final = Size(
    year_tags=50, week_tags=20, week_days=2, archive_minutes=1.0, asked=15, warm_up_s=3.0
)
GOALS: Final = {"year": 200.0, "last_15_minutes": 200.0, "archive_hour": 1_000.0}
"""p99 in milliseconds; the last 15 minutes also fresh to one second."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a store of seconds, for every change")
    for name, what in (
        ("year_tags", "tags with a year of 1 h rollups"),
        ("week_tags", "tags with a week of 1 min rollups, at most"),
        ("archive_minutes", "archive at 100,000 readings/s"),
        ("asked", "questions of each kind"),
    ):
        kind = type(getattr(Size(), name))
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=what)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="keep the data folder here; one that is there is asked as it is")
    chosen = parser.parse_args()
    given = {name: value for name in Size.__dataclass_fields__ if (value := getattr(chosen, name, None)) is not None}
    size = replace(SMALL if chosen.small else Size(), **given)
    with tempfile.TemporaryDirectory(prefix="millrace-history-") as folder:
        home = chosen.keep or Path(folder) / "home"
        report = measure(size, home, chosen.shards, chosen.seed)
    print(json.dumps(report, indent=2))
    return 1 if report["missed"] and not chosen.small else 0


def measure(size: Size, home: Path, shards: int, seed: int) -> dict[str, Any]:
    """Build (unless it is there), ask, compare with the goals."""
    live, settings = workload(LIVE), environment(home, shards)
    said = home / "benchmark.json"
    built = json.loads(said.read_text()) if said.exists() else build(size, home, settings, live)
    said.write_text(json.dumps(built))
    cold = drop_caches()
    with platform(home, settings) as running:
        answers = asked(size, running, live, built, random.Random(seed))
        servers = durability(running.endpoints["postgres_url"], running.endpoints["stream_url"])
    return {
        "built": built,
        "page_cache_dropped": cold,
        "load": LIVE,
        "seed": seed,
        "machine": f"{os.cpu_count()} cores, {machine_of.machine()}, Python {machine_of.python_version()}",
        "durability": servers,
        **answers,
        "missed": missed(answers),
    }


# --- building -------------------------------------------------------------------------------------


def build(size: Size, home: Path, settings: dict[str, str], live: Workload) -> dict[str, Any]:
    """The store, a year later; what is in it, and what it took."""
    with platform(home, settings) as running:  # makes the folder, the schema and the model
        give_model(running, live)
        time.sleep(1.0)
    configured, now_us = load_settings({**settings}), time.time_ns() // 1_000
    with servers_running(configured) as (_, servers), _pool() as pool:
        url = servers.addresses.postgres_url
        took = _build_rollups(size, url, configured.shards, live, now_us, pool)
        begin_s = time.monotonic()
        took["postgres_bytes"] = settle(url)
        took["settle_s"] = round(time.monotonic() - begin_s, 1)
        begin_s, now_us = time.monotonic(), time.time_ns() // 1_000
        cycle_us = workload(ARCHIVED).cycle_us
        cycles = archive.whole_cycles(size.archive_minutes, cycle_us)
        readings = archive.fill(url, configured, ARCHIVED, now_us, cycles, pool)
        took["archive"] = {
            "readings": readings,
            "bytes": archive.size_bytes(home),
            "files": archive.files(home),
            "seconds": round(time.monotonic() - begin_s, 1),
        }
    return {"archive_span_us": (now_us - cycles * cycle_us, now_us), **took}


def _pool() -> ProcessPoolExecutor:
    """A process a core, each with an interpreter of its own."""
    return ProcessPoolExecutor(os.cpu_count(), get_context("spawn"))


def _build_rollups(
    size: Size, url: str, shards: int, live: Workload, now_us: int, pool: ProcessPoolExecutor
) -> dict[str, Any]:
    """Both tables: tags (by number), rows, seconds."""
    with psycopg.connect(url, autocommit=True) as connection:
        ids = rollups.insert_tags(connection, live, shards)
    by_minute = np.flatnonzero(live.period_us <= PERIOD_1M_MAX_US)
    took: dict[str, Any] = {}
    for table, tags, days, width_us in (
        (names.TABLE_ROLLUP_1H, np.arange(len(ids))[: size.year_tags], size.year_days, HOUR_US),
        (names.TABLE_ROLLUP_1M, by_minute[: size.week_tags], size.week_days, MINUTE_US),
    ):
        begin_s, to_us = time.monotonic(), now_us // width_us * width_us
        rows = rollups.fill(url, table, ids[tags], to_us - days * DAY_US, to_us, width_us, pool)
        took[table] = {"tags": len(tags), "rows": rows, "seconds": round(time.monotonic() - begin_s, 1)}
    return took


def settle(url: str) -> int:
    """What autovacuum would have done to a store in a year, then the bytes of the database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(row[0]) if row else 0


# --- asking ---------------------------------------------------------------------------------------


def asked(size: Size, running: Running, live: Workload, built: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Each question of random tags: once cold, the same again warm."""
    begin_s = time.monotonic()
    usage = Usage(running.pid)
    with load(running, LIVE, seconds=3_600.0):
        time.sleep(size.warm_up_s)
        usage.sample()
        asker = Asker(running.endpoints["api_url"], running.token)
        try:
            found: dict[str, Any] = {}
            asking = [
                (name, rng.sample(list(paths), min(size.asked, len(paths))), parameters, fresh)
                for name, paths, parameters, fresh in questions(live, built)
            ]
            for temperature in ("cold", "warm"):
                found[temperature] = {
                    name: asker.ask(paths, parameters, fresh=fresh).report()
                    for name, paths, parameters, fresh in asking
                }
        finally:
            asker.close()
        usage.sample()
    return {**found, "platform": usage.report(time.monotonic() - begin_s - size.warm_up_s)}


def questions(live: Workload, built: dict[str, Any]) -> list[tuple[str, Sequence[str], Parameters, bool]]:
    """(name, tags to choose from, parameters, whether freshness is judged)."""
    fast = [live.paths[tag] for tag in (live.period_us <= FRESH_PERIOD_US_MAX).nonzero()[0]]
    by_minute = [live.paths[tag] for tag in (live.period_us <= PERIOD_1M_MAX_US).nonzero()[0]]
    first_us, end_us = built["archive_span_us"]
    hour_us = min(HOUR_US, end_us - first_us)
    return [
        ("year", live.paths[: built[names.TABLE_ROLLUP_1H]["tags"]], _span(365 * DAY_US, points=2_000), False),
        ("week", by_minute[: built[names.TABLE_ROLLUP_1M]["tags"]], _span(7 * DAY_US, points=2_000), False),
        ("last_15_minutes", fast, _span(15 * MINUTE_US, points=ALL_POINTS, agg="raw"), True),
        ("archive_hour", live.paths, _fixed(first_us, first_us + hour_us, points=ALL_POINTS, agg="raw"), False),
    ]


def _span(span_us: int, **others: Any) -> Parameters:
    return lambda now_us: {"from": now_us - span_us, "to": now_us + MINUTE_US, **others}


def _fixed(from_us: int, to_us: int, **others: Any) -> Parameters:
    return lambda _: {"from": from_us, "to": to_us, **others}


def missed(answers: dict[str, Any]) -> list[str]:
    """Goals that the answers miss, in words."""
    out = []
    for temperature in ("cold", "warm"):
        for name, goal_ms in GOALS.items():
            told = answers[temperature][name]
            if told.get("failures") or not told["asked"]:
                out.append(f"{name}, {temperature}: {told.get('failures')}")
            elif told["p99_ms"] > goal_ms:
                out.append(f"{name}, {temperature}: p99 {told['p99_ms']} ms, wanted {goal_ms:g} ms")
            if told.get("fresh_p99_ms", 0) > 1_000:
                out.append(f"{name}, {temperature}: newest point {told['fresh_p99_ms']} ms old, wanted 1 s")
    return out


if __name__ == "__main__":
    sys.exit(main())
