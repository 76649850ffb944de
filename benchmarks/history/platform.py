"""The platform of a history run: started and stopped on one data folder, under load or not."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.pipeline.plant import client, first_line, free_port, wait_ready
from benchmarks.workloads import Workload
from millrace.assets.publish import publish
from millrace.stream.valkey import ValkeyStream

STOP_S: Final = 60.0
DROP_CACHES: Final = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True, slots=True)
class Running:
    """What a started platform says of itself."""

    endpoints: dict[str, Any]
    pid: int

    @property
    def token(self) -> str:
        return Path(self.endpoints["token_file"]).read_text().strip()


def environment(home: Path, shards: int) -> dict[str, str]:
    """The shipped settings, but for ports, the page, and the bound of the disk: the store is larger than that."""
    return {
        "MILLRACE_HOME": str(home),
        "MILLRACE_SHARDS": str(shards),
        "MILLRACE_DASHBOARD": "false",
        "MILLRACE_DISK_MAX": "120GB",
    }


@contextlib.contextmanager
def platform(home: Path, settings: Mapping[str, str]) -> Iterator[Running]:
    """`millrace up` without its simulator; stopped as by Ctrl-C at the end."""
    environ = {**os.environ, **settings, "MILLRACE_API_PORT": str(free_port())}
    with (home.parent / "up.log").open("ab") as log:
        up = subprocess.Popen(
            [sys.executable, "-m", "millrace.cli", "up", "--no-simulate"],
            env=environ, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield Running(wait_ready(home, up), up.pid)
    finally:
        up.terminate()
        try:
            up.wait(STOP_S)
        except subprocess.TimeoutExpired:
            up.kill()
            up.wait(STOP_S)


@contextlib.contextmanager
def load(running: Running, name: str, seconds: float) -> Iterator[None]:
    """The workload's producer beside whatever the caller does."""
    endpoints = running.endpoints
    producer = client(
        "producer", name, "--stream-url", endpoints["stream_url"],
        "--shards", str(endpoints["shards"]), "--seconds", str(seconds),
    )  # fmt: skip
    try:
        first_line(producer, "ready")
        assert producer.stdin is not None
        producer.stdin.write(b"go\n")
        producer.stdin.flush()
        yield
    finally:
        producer.kill()
        producer.wait(10)


def give_model(running: Running, workload: Workload) -> None:
    """The workload's asset model, through the stream."""
    endpoints = running.endpoints
    stream = ValkeyStream(endpoints["stream_url"], shard_count=int(endpoints["shards"]), bytes_max=2 * 1024**3)
    try:
        publish(endpoints["postgres_url"], stream, workload.model, made_by="benchmark")
    finally:
        stream.close()


def drop_caches() -> bool:
    """Empty the system's page cache; False where that is not ours to do."""
    try:
        os.sync()
        DROP_CACHES.write_text("3\n")
    except OSError:
        return False
    return True
