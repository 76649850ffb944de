"""Kills change no answer: the same log, once undisturbed and once under the axe, gives the same stores.

There is no API process here, so the only ticks are those of the log: time itself is part of the input.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from millrace import settings as settings_of
from millrace.assets.tag import SourceModel, TagModel
from millrace.batch import Frame, Incarnation
from millrace.errors import Unavailable
from millrace.identity import claim
from millrace.local.folder import DataFolder
from millrace.local.servers import Servers
from millrace.protocols import control
from millrace.protocols.frame import encode
from millrace.schema import migrate
from millrace.sinks.postgres import Owners
from millrace.stream.contract import Entry, shard_of
from millrace.stream.valkey import ValkeyStream
from millrace.verify import verify

SHARDS = 2
SECONDS = 150
T0 = 1_767_600_000_000_000
WAIT_S = 120.0

# What the stores must agree on. Ids are made of tag, detector or rule and start, so they are compared too.
QUESTIONS = {
    "anomalies": "SELECT id, path, source, detector, state, start_us, end_us, score, value, expected FROM anomaly",
    "alarms": "SELECT id, path, source, rule, state, start_us, raised_us, returned_us, value, limit_value FROM alarm",
    "alarm events": "SELECT alarm_id, ts_us, event, value FROM alarm_event",
    "readings": "SELECT path, source, ts_us, value, r.quality FROM reading r JOIN tag ON tag.id = tag_id",
    "ledger": "SELECT s.name, hour_us, sum(received), sum(duplicate), sum(rejected), sum(applied), sum(critical) "
    "FROM ledger l JOIN source s ON s.id = l.source_id GROUP BY 1, 2",
    "rejects": "SELECT source, tag, ts_us, reason, payload FROM reject",
}
EXACT = "window_us, min, max, first_us, first, last_us, last, hash, count, good, uncertain, bad"
ROLLUPS = ("rollup_1s", "rollup_1m", "rollup_1h")


@dataclass
class Machine:
    """Servers and two workers without the supervisor, so that the test alone decides who dies."""

    home: Path
    folder: DataFolder = field(init=False)
    servers: Servers = field(init=False)
    stream: ValkeyStream = field(init=False)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.environ = {
            **os.environ,
            "MILLRACE_HOME": str(self.home),
            "MILLRACE_SHARDS": str(SHARDS),
            "MILLRACE_SEGMENT_AGE_S": "2",
            "MILLRACE_OWNERSHIP_S": "2",
        }
        settings = settings_of.load(self.environ)
        self.folder = DataFolder.open(settings)
        self.servers = Servers(self.folder, settings)
        self.servers.start()
        addresses = self.servers.addresses
        self.environ |= {
            "MILLRACE_POSTGRES_URL": addresses.postgres_url,
            "MILLRACE_STREAM_URL": addresses.stream_url,
            "MILLRACE_CACHE_URL": addresses.cache_url,
        }
        migrate(addresses.postgres_url)
        self.stream = ValkeyStream(
            addresses.stream_url, shard_count=SHARDS, bytes_max=settings.stream_bytes_max
        )
        owners = Owners(addresses.postgres_url, "test", settings)
        claim(self.folder.identity.text, stream=self.stream, registry=owners)
        owners.close()
        self.workers = [self._worker(index) for index in range(2)]

    def _worker(self, index: int) -> subprocess.Popen[bytes]:
        log = (self.home / "logs" / f"worker-{index}.log").open("ab")
        command = [sys.executable, "-m", "millrace.worker", "--index", str(index), "--of", "2"]
        return subprocess.Popen(command, env=self.environ, stdout=log, stderr=log)

    def kill(self, index: int) -> None:
        """SIGKILL a worker and start it again."""
        self.workers[index].kill()
        self.workers[index].wait(10)
        self.workers[index] = self._worker(index)

    def kill_server(self, name: str) -> None:
        """SIGKILL a server and start it again."""
        server = next(server for server in self.servers.embedded if server.child.name == name)
        before = server.child.pid
        assert before
        os.kill(before, signal.SIGKILL)
        until_s = time.monotonic() + WAIT_S
        while time.monotonic() < until_s:
            if (
                not server.child.pid
            ):  # sessions of a killed PostgreSQL hold its memory for a moment: then once more
                time.sleep(0.3)
                server.launch()
            elif server.child.pid != before and server.answers():
                return
            time.sleep(0.1)
        raise AssertionError(f"{name} does not start again: {server.child.last_lines()}")

    def append(self, entry: Entry) -> None:
        """Until the stream has it: an unknown outcome is repeated with the same bytes, as a producer would."""
        until_s = time.monotonic() + WAIT_S
        while time.monotonic() < until_s:
            try:
                self.stream.append([entry])
                return
            except Unavailable:
                time.sleep(0.05)
        raise AssertionError("the stream did not come back")

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.servers.addresses.postgres_url, autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchall()

    def settle(self) -> None:
        """Everything applied and archived, counted at a mark."""
        report = verify(
            self.servers.addresses.postgres_url,
            self.home / "archive",
            self.stream,
            full=True,
            timeout_s=WAIT_S,
        )
        assert report.equal, "\n".join(report.lines())

    def close(self) -> None:
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait(60)
        self.stream.close()
        self.servers.stop()
        self.folder.close()


def script(seed: int) -> Iterator[Entry]:
    """A log of both shards: model, readings with faults, late ones and duplicates, a dead source, ticks."""
    rng = np.random.default_rng(seed)
    names = [f"gw-{i}" for i in range(6)]
    tags = {name: tuple(f"acme/lyon/l1/{name}/t{i}" for i in range(8)) for name in names}
    for shard in range(SHARDS):
        own = [name for name in names if shard_of(name, SHARDS) == shard]
        models = tuple(
            TagModel(path=tag, source=name, period_us=250_000, high=60.0, deadband=1.0, on_delay_us=1_000_000,
                     data_class="critical" if place % 2 else "standard")
            for name in own for place, tag in enumerate(tags[name])
        )  # fmt: skip
        chunk = control.ModelChunk(1, 0, 1, True, tuple(SourceModel(name=name) for name in own), models)
        yield Entry(shard, "model", control.encode(chunk))
    seq = 0
    for second in range(SECONDS):
        for quarter in range(4):
            seq += 1
            for place, name in enumerate(names):
                if place == 2 and 60 <= second < 90:
                    continue  # this one is dead for half a minute
                at_us = T0 + second * 1_000_000 + quarter * 250_000
                yield frame_of(name, tags[name], seq, at_us, rng, fault=second % 40 > 34 and place == 0)
                if rng.random() < 0.02:
                    yield frame_of(name, tags[name], seq, at_us, np.random.default_rng(seq), fault=False)
        for shard in range(SHARDS):
            yield Entry(shard, "tick", control.encode(control.Tick(T0 + (second + 1) * 1_000_000, "test")))


def frame_of(
    name: str, tags: tuple[str, ...], seq: int, at_us: int, rng: np.random.Generator, *, fault: bool
) -> Entry:
    n = len(tags)
    ts_us = np.full(n, at_us) - np.where(rng.random(n) < 0.03, rng.integers(0, 90_000_000, n), 0)
    value = np.round(rng.normal(50, 1, n) + (25 if fault else 0), 3)
    frame = Frame(
        source=name,
        incarnation=Incarnation(1, 1),
        seq=seq,
        received_ts_us=at_us,
        tags=tags,
        kinds=np.zeros(n, np.uint8),
        tag=np.arange(n, dtype=np.uint32),
        ts_us=ts_us,
        value=value,
        quality=np.full(n, 192, np.uint8),
    )
    return Entry(shard_of(name, SHARDS), name, encode(frame))


def answers(machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = {name: sorted(machine.query(question)) for name, question in QUESTIONS.items()}
    for table in ROLLUPS:
        rows = machine.query(
            f"SELECT path, source, {EXACT}, sum FROM {table} r JOIN tag ON tag.id = tag_id ORDER BY 1, 2, 3"
        )
        found[table] = [row[:-1] for row in rows]
        found[f"sums of {table}"] = [row[-1] for row in rows]
    return found


def play(home: Path, seed: int, axe: random.Random | None) -> dict[str, Any]:
    """The whole log through a machine; with an axe, something dies about every second."""
    machine = Machine(home)
    try:
        struck_s = time.monotonic()
        for number, entry in enumerate(script(seed)):
            machine.append(entry)
            if number % 100 == 0:
                time.sleep(0.12)
            if axe and time.monotonic() - struck_s > 1.2:
                struck_s = time.monotonic()
                victim = axe.choice(["worker", "worker", "worker", "postgres", "stream", "cache"])
                if victim == "worker":
                    machine.kill(axe.randrange(2))
                else:
                    machine.kill_server(victim)
        machine.settle()
        return answers(machine)
    finally:
        machine.close()


@pytest.mark.long
@pytest.mark.requirement("B-08")
@pytest.mark.requirement("S-19")
def test_random_kills_change_no_answer(tmp_path: Path, rng: random.Random) -> None:
    calm = play(tmp_path / "calm", 5, None)
    struck = play(tmp_path / "struck", 5, rng)
    assert len(calm["anomalies"]) > 0
    assert len(calm["alarms"]) > 0
    for name in calm:
        if name.startswith("sums of"):
            np.testing.assert_allclose(struck[name], calm[name], rtol=1e-12, err_msg=name)
        elif name != "ledger":
            assert struck[name] == calm[name], name
    # A repeated append is one more duplicate; everything else must be the same.
    assert [row[5:] for row in struck["ledger"]] == [row[5:] for row in calm["ledger"]]
