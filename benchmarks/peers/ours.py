"""The job on Millrace as shipped: durable stream, accounting, all detectors, archive, PostgreSQL.

The producer (`producer.py`) reads the file with our NDJSON decoder and appends to the stream itself. Producer, worker,
stream and cache are counted from their start, imports included, like the peers; the API and the supervisor stand
beside (they make the ticks).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import psycopg

from benchmarks.history.platform import environment, platform
from benchmarks.peers import job
from benchmarks.peers.outcome import Spent
from benchmarks.peers.producer import SOURCE, STREAM_BYTES_MAX
from benchmarks.pipeline.machine import kind_of
from millrace.assets.load import model_of
from millrace.assets.publish import publish
from millrace.assets.tag import TagModel
from millrace.stream.valkey import ValkeyStream

SHARDS: Final = 1  # a file is one source, and a source is one shard's
WAIT_S_MAX: Final = 900.0
LOOK_EVERY_S: Final = 0.5
SEGMENT_AGE_S: Final = 10.0
COUNTED: Final = ("worker", "stream", "cache")
STORES: Final = (
    "rollups of 1 s, 1 min and 1 h, anomalies, alarms; the input in a durable stream; the raw readings in the archive; "
    "snapshots of the state; an account of every reading"
)

COPY_ROLLUPS: Final = """
INSERT INTO peer_rollup
SELECT t.path, r.window_us, r.count, r.min, r.max, r.sum, r.first, r.last FROM rollup_1s r JOIN tag t ON t.id = r.tag_id
"""
COPY_ANOMALIES: Final = """
INSERT INTO peer_anomaly
SELECT path, start_us, end_us, value, expected, score, state FROM anomaly WHERE detector = 'ewma'
"""
POSITIONS: Final = "SELECT min(applied)::text, min(archived)::text FROM shard"


@dataclass(frozen=True, slots=True)
class Ours:
    """A row of ours. `detectors`: names out of our table, None: all seven, as shipped; all else is as shipped."""

    name: str
    options: str
    detectors: tuple[str, ...] | None


OURS: Final = (
    Ours("millrace", "as shipped, all seven detectors; recovery cannot be turned off", None),
    Ours("millrace, EWMA alone", "the one detector that the peers run, else as shipped", ("ewma",)),
)


@dataclass
class Platform:
    """One platform for one file; `run` once. `detectors`: see `Ours`."""

    url: str
    stream_url: str
    pid: int
    detectors: tuple[str, ...] | None = None

    def run(self, file: str, url: str) -> Spent:
        """Send the file, wait until rollups are committed and readings archived; CPU seconds of producer, worker,
        stream and cache."""
        began_s = time.perf_counter()
        with open(file, "rb") as lines:
            readings = sum(1 for _ in lines)
        self._give_model(file)
        start_s = self._cpu_s().get("worker", 0.0)
        command = [sys.executable, "-m", "benchmarks.peers.producer", file, self.stream_url, str(SHARDS)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S_MAX, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-2_000:])
        sent = json.loads(done.stdout)
        committed_s = self._wait(readings, int(sent["position"])) - began_s
        parts = self._cpu_s() | {"producer": sent["cpu_s"], "of worker, start": start_s}
        cpu_s = sum(parts.get(kind, 0.0) for kind in (*COUNTED, "producer"))
        return Spent(round(cpu_s, 3), parts, committed_s=round(committed_s, 3))

    def collect(self) -> None:
        """Copy our 1 s rollups and EWMA anomalies to where the comparison looks; outside of what is measured."""
        with psycopg.connect(self.url) as connection:
            connection.execute(COPY_ROLLUPS)
            connection.execute(COPY_ANOMALIES)

    def _give_model(self, file: str) -> None:
        """Every tag of the file: 100 ms, so that there are 1 s rollups."""
        paths = set()
        with open(file, "rb") as lines:
            for line in lines:
                path = job.decode_line(line).tag
                if path in paths:
                    break
                paths.add(path)
        tags = [
            TagModel(path=path, source=SOURCE, period_us=100_000, detectors=self.detectors) for path in sorted(paths)
        ]
        model = model_of(tags)
        stream = ValkeyStream(self.stream_url, shard_count=SHARDS, bytes_max=STREAM_BYTES_MAX)
        publish(self.url, stream, model, made_by="benchmark")
        stream.close()

    def _wait(self, readings: int, position: int) -> float:
        """Until the stores hold everything; when the rows were committed, before all was archived. RuntimeError says
        what they hold instead."""
        until_s, committed_s = time.perf_counter() + WAIT_S_MAX, 0.0
        applied = archived = held = 0
        with psycopg.connect(self.url, autocommit=True) as connection:
            while time.perf_counter() < until_s:
                row = connection.execute(POSITIONS).fetchone()
                applied, archived = (int(text) for text in row) if row else (0, 0)
                if applied >= position and not committed_s:
                    committed_s = time.perf_counter()
                if min(applied, archived) >= position:
                    found = connection.execute("SELECT coalesce(sum(count), 0) FROM rollup_1s").fetchone()
                    held = int(found[0]) if found else 0
                    if held == readings:
                        return committed_s
                time.sleep(LOOK_EVERY_S)
        raise RuntimeError(
            f"found applied {applied}, archived {archived}, {held} readings in rollups; wanted {position}, {readings}"
        )

    def _cpu_s(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for process in psutil.Process(self.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                times, kind = process.cpu_times(), kind_of(process)
                found[kind] = found.get(kind, 0.0) + times.user + times.system
        return {kind: round(seconds, 2) for kind, seconds in found.items()}


@contextlib.contextmanager
def ours(home: Path, detectors: tuple[str, ...] | None = None) -> Iterator[Platform]:
    """A platform for one run, with one shard and one worker, since the input is one source."""
    settings = environment(home, SHARDS) | {
        "MILLRACE_WORKERS": "1",
        "MILLRACE_SEGMENT_AGE_S": str(SEGMENT_AGE_S),
    }
    with platform(home, settings) as running:
        yield Platform(running.endpoints["postgres_url"], running.endpoints["stream_url"], running.pid, detectors)
