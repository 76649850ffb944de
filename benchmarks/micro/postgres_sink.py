"""What a row costs in PostgreSQL: readings with BRIN or btree, rollups, ledger; bytes per row on disk.

    python -m benchmarks.micro.postgres_sink [--rate 10000] [--seconds 20]

Starts its own server with the durable settings of the embedded one. `server` and `client` are CPU seconds
(user + system) of the backend and of this process; `rate` is how many critical
readings a second of plant time holds.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import psycopg

from millrace import accounting, batch
from millrace.batch import DataClass, Output, TagInfo, ValueKind, empty
from millrace.clock import HOUR_US, SECOND_US, HandClock
from millrace.schema import migrate
from millrace.settings import Settings
from millrace.sinks.postgres import Owners, PostgresSink

TAGS = 10_000
COMMITS_PER_S = 5


def outputs(rate: int, seconds: int, now_us: int) -> list[Output]:
    """One output per commit: `rate` critical readings a second over 10,000 tags, no rollups."""
    rng = np.random.default_rng(1)
    n = rate // COMMITS_PER_S
    hashes = rng.integers(0, 2**63, TAGS, dtype=np.uint64)
    made = []
    for step in range(seconds * COMMITS_PER_S):
        readings = np.zeros(n, batch.READING)
        readings["slot"] = rng.integers(0, TAGS, n)
        readings["ts_us"] = (
            now_us - seconds * SECOND_US + (step * SECOND_US + rng.integers(0, SECOND_US, n)) // COMMITS_PER_S
        )
        readings["value"], readings["quality"] = rng.normal(size=n), 192
        readings["hash"] = accounting.hash_rows(
            hashes, *(readings[c] for c in ("slot", "ts_us", "value", "quality"))
        )
        made.append(
            Output(0, step + 1, step + 1, now_us, 1, readings, empty(batch.ROLLUP), empty(batch.ANOMALY),
                   empty(batch.ALARM), ledger(readings))
        )  # fmt: skip
    made[0].tags = [TagInfo(i, f"acme/lyon/tag-{i}", f"gateway-{i % 100}", ValueKind.FLOAT,
    DataClass.CRITICAL, True,
                            100_000, "") for i in range(TAGS)]  # fmt: skip
    made[0].sources = {i: f"gateway-{i}" for i in range(100)}
    return made


def ledger(readings: Any) -> Any:
    rows = np.zeros(100, batch.LEDGER)
    rows["source"], rows["hour_us"] = np.arange(100), readings["ts_us"][0] // HOUR_US * HOUR_US
    rows["received"] = rows["applied"] = rows["critical"] = len(readings) // 100
    return rows


def with_rollups(made: list[Output]) -> list[Output]:
    """The same outputs with 2,000 rows of 1 s rollups each (10,000 tags a second) and no readings."""
    for step, output in enumerate(made):
        rows = np.zeros(TAGS // COMMITS_PER_S, batch.ROLLUP)
        rows["slot"] = np.arange(len(rows)) + step % COMMITS_PER_S * len(rows)
        rows["window_us"] = (output.time_us // SECOND_US + 100 + step // COMMITS_PER_S) * SECOND_US
        rows["count"] = rows["good"] = 10
        for name in ("min", "max", "sum", "first", "last"):
            rows[name] = 1.5
        output.rollups, output.readings = rows, empty(batch.READING)
    return made


def run(server: Any, name: str, made: list[Output], *, index: str = "") -> None:
    server.create_database(name)
    url = server.url(name)
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        if index:
            connection.execute("DROP INDEX reading_ts")
            connection.execute(index.encode())
        measure(url, connection, name, made)


def measure(url: str, connection: Any, name: str, made: list[Output]) -> None:
    settings = Settings()
    owners = Owners(url, "bench", settings)
    owners.prepare("bench/1", 1)
    held = owners.acquire(0)
    assert held is not None
    sink = PostgresSink(url, HandClock(made[0].time_us), settings, owner="bench")
    sink.open_shard(held.ownership)
    sink.write(made[:1])  # tags, partitions, compiled merge
    row = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'millrace bench' "
                             "ORDER BY backend_start DESC LIMIT 1").fetchone()  # fmt: skip
    backend = psutil.Process(row[0])
    wal = connection.execute("SELECT pg_current_wal_lsn()").fetchone()[0]
    before, own, commits = cpu(backend), own_cpu(), []
    for output in made[1:]:
        start = time.perf_counter()
        assert not sink.write([output]).retry
        commits.append(time.perf_counter() - start)
    rows = sum(len(o.readings) + len(o.rollups) for o in made[1:])
    server_us, client_us = (
        1e6 * (now - then) / rows for now, then in ((cpu(backend), before), (own_cpu(), own))
    )
    wal_bytes = connection.execute("SELECT pg_current_wal_lsn() - %s", [wal]).fetchone()[0]
    table = "rollup_1s" if len(made[1].rollups) else "reading"
    size = connection.execute(
        "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = %s::regclass",
        [table],
    ).fetchone()[0]
    ms = 1e3 * np.quantile(commits, [0.5, 0.99])
    print(f"{name:28} {rows:>9,} rows  server {server_us:5.2f} us  client {client_us:5.2f} us  "
          f"commit p50 {ms[0]:6.1f} ms p99 {ms[1]:6.1f} ms  {float(size) / rows:6.1f} B/row  "
          f"WAL {float(wal_bytes) / rows:6.1f} B/row")  # fmt: skip
    sink.close()


def read_one_tag(server: Any, name: str) -> None:
    """A quarter of the stored span of one tag, out of `reading`."""
    with psycopg.connect(server.url(name)) as connection:
        row = connection.execute("SELECT min(ts_us), max(ts_us) FROM reading").fetchone()
        assert row is not None
        start = time.perf_counter()
        for tag in range(1, 21):
            connection.execute("SELECT ts_us, value, quality FROM reading "
                               "WHERE tag_id = %s AND ts_us BETWEEN %s AND %s",
                               [tag, row[0], row[0] + (row[1] - row[0]) // 4]).fetchall()  # fmt: skip
        print(f"{name:28} one tag, a quarter of the span: {(time.perf_counter() - start) / 20 * 1e3:.1f} ms")


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "contract" / "sinks"))
    from conftest import Server

    folder = Path(tempfile.mkdtemp(prefix="mr-pg-", dir="/tmp"))
    server = Server(folder)
    now_us = 1_767_600_000_000_000
    try:
        server.create()
        made = outputs(options.rate, options.seconds, now_us)
        run(server, f"reading_brin_{options.rate}", made)
        read_one_tag(server, f"reading_brin_{options.rate}")
        btree = "CREATE INDEX reading_tag ON reading (tag_id, ts_us)"
        run(server, f"reading_btree_{options.rate}", made, index=btree)
        read_one_tag(server, f"reading_btree_{options.rate}")
        run(server, "rollup_1s_10000_tags", with_rollups(made))
    finally:
        if server.process is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
