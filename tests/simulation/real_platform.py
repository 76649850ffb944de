"""The whole platform as its users start it, a load with a witness that stands outside, and an axe.

The witness is the producer's own log: what it was told is durable. Nothing of the platform is asked for it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import psycopg

from millrace.assets.publish import publish
from millrace.assets.tag import AssetModel
from millrace.clock import EdgeClock
from millrace.errors import Unavailable
from millrace.ingest.delivery import Delivery, Outcome, Outgoing, Transport
from millrace.ingest.http_sender import HttpSender
from millrace.ingest.producer import Producer
from millrace.protocols import frame as frame_codec
from millrace.stream.valkey import ValkeyStream

Found = TypeVar("Found")

# Above the platform's own bounds: whether it keeps those is not what a busy machine should decide.
READY_S = 330.0
STOP_S = 120.0
VERB_S = 150.0
ANSWER_S = 60.0
BACK_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def outside_pytest() -> dict[str, str]:
    """Our environment as a user's terminal has it: the page's library behaves otherwise inside a test."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "NICEGUI_"))}


def small(**more: str) -> dict[str, str]:
    """Settings of a platform for tests: a port of its own, no page, few shards, two workers on however many cores,
    content with little free disk.
    """
    return {
        "MILLRACE_API_PORT": str(free_port()),
        "MILLRACE_DASHBOARD": "false",
        "MILLRACE_SHARDS": "4",
        "MILLRACE_WORKERS": "2",
        "MILLRACE_DISK_FREE_MIN": "128MiB",
        **more,
    }


@dataclass
class Platform:
    """`millrace up` on a data folder of its own."""

    home: Path
    settings: dict[str, str]
    simulate: bool = False
    process: subprocess.Popen[bytes] | None = None
    endpoints: dict[str, Any] = field(default_factory=dict)
    killed: set[int] = field(default_factory=set)

    @property
    def environ(self) -> dict[str, str]:
        return {**outside_pytest(), **self.settings, "MILLRACE_HOME": str(self.home)}

    def start(self) -> None:
        """Start and wait until it is ready; bounded."""
        log = (self.home.parent / "up.log").open("ab")
        command = [sys.executable, "-m", "millrace.cli", "up"]
        command += ["--simulate" if self.simulate else "--no-simulate"]
        self.process = subprocess.Popen(command, env=self.environ, stdout=log, stderr=log)
        until = time.monotonic() + READY_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise AssertionError(f"millrace up ended: {self._said()}")
            found = self._read()
            if found and found["ready"] and found["pid"] == self.process.pid:
                self.endpoints = found
                return
            time.sleep(0.1)
        raise AssertionError(f"not ready: {self._said()}")

    def _read(self) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = json.loads((self.home / "run" / "endpoints.json").read_text())
        except (OSError, ValueError):
            return None
        return content

    def pid(self, name: str) -> int:
        """Process id of a child, the supervisor's own for `supervisor`; 0 while it is being started again."""
        if name == "supervisor":
            return self.process.pid if self.process else 0
        found = self._read() or {"pids": {}}
        return int(found["pids"].get(name) or 0)

    def kill(self, name: str, number: int = signal.SIGKILL) -> bool:
        """Send a signal; whether there was anybody to take it. Who was killed before and still has a name is dead."""
        pid = self.pid(name)
        if not pid or pid in self.killed:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        if number == signal.SIGKILL:
            self.killed.add(pid)
        return True

    def stop(self) -> None:
        """Ctrl-C. One that hangs, or ends badly, is a fault of the platform: killed, and the test fails."""
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
            raise AssertionError(f"it did not stop within {STOP_S:.0f} s of Ctrl-C: {self._said()}") from None
        assert code == 0, f"it stopped with exit code {code}: {self._said()}"

    def _said(self) -> str:
        return (self.home.parent / "up.log").read_text()[-2000:]

    def millrace(self, *verb: str, timeout_s: float = VERB_S) -> subprocess.CompletedProcess[str]:
        """As typed into a terminal; the program that the installation made."""
        program = Path(sys.executable).with_name("millrace")
        return subprocess.run(
            [program, *verb], env=self.environ, capture_output=True, text=True, timeout=timeout_s
        )

    def said(self, *verb: str) -> str:
        """What a verb that succeeds prints."""
        done = self.millrace(*verb)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def told(self, *verb: str) -> Any:
        """What it answers with `--json`."""
        return json.loads(self.said(*verb, "--json"))

    @contextmanager
    def plant(self, scenario: str) -> Iterator[subprocess.Popen[bytes]]:
        """A plant of this scenario, started the way a user starts one."""
        file = self.home.parent / "scenario.yaml"
        file.write_text(scenario)
        command = [sys.executable, "-m", "millrace.cli", "simulate", "--scenario", str(file)]
        process = subprocess.Popen(command, env=self.environ, stdout=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(STOP_S)

    def verify(self, *extra: str) -> tuple[int, dict[str, Any]]:
        """Exit code and report of `millrace verify --json`, asked once the servers are back from a kill."""
        until(self.serves, BACK_S, "PostgreSQL and the stream answer")
        done = self.millrace("verify", "--json", "--timeout-s", "120", *extra, timeout_s=200)
        try:
            report: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            report = {"stdout": done.stdout, "stderr": done.stderr}
        return done.returncode, report

    def serves(self) -> bool:
        """Whether the servers answer that a recount needs."""
        try:
            self.query("SELECT 1")
            self.stream().close()
        except (psycopg.Error, Unavailable):
            return False
        return True

    def client(self) -> httpx.Client:
        """For the API, with its token."""
        token = Path(self.endpoints["token_file"]).read_text().strip()
        url = self.endpoints["api_url"]
        return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=ANSWER_S)

    def sender(self) -> HttpSender:
        """A producer's way through the front door."""
        return HttpSender(self.endpoints["api_url"], Path(self.endpoints["token_file"]).read_text().strip())

    def stream(self) -> ValkeyStream:
        url, shards = self.endpoints["stream_url"], int(self.endpoints["shards"])
        return ValkeyStream(url, shard_count=shards, bytes_max=2**31)

    def publish(self, model: AssetModel) -> None:
        """Put an asset model in force."""
        stream = self.stream()
        publish(self.endpoints["postgres_url"], stream, model, made_by="test")
        stream.close()

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.endpoints["postgres_url"], autocommit=True) as connection:
            return connection.execute(statement.encode(), parameters).fetchall()

    def archived(self) -> dict[tuple[str, int], int]:
        """How often each (path, ts) is in the archive's listed files."""
        import pyarrow.parquet as pq

        found: dict[tuple[str, int], int] = {}
        files = self.query("SELECT file FROM segment WHERE state <> 'retired' AND kind = 'readings'")
        for (file,) in files:
            table = pq.read_table(self.home / "archive" / file, columns=["path", "ts_us"])
            paths = table["path"].to_pylist()
            for key in zip(paths, table["ts_us"].to_pylist(), strict=True):
                found[key] = found.get(key, 0) + 1
        return found


@contextmanager
def running(folder: Path, settings: dict[str, str], *, simulate: bool = False) -> Iterator[Platform]:
    """A whole platform with its data below `folder`, stopped with Ctrl-C whatever became of the test."""
    platform = Platform(folder / "home", settings, simulate)
    try:
        platform.start()
        yield platform
    finally:
        platform.stop()


class Witness:
    """Sends readings with distinct times through the real producer, and remembers what it was told is durable."""

    def __init__(
        self, platform: Platform, *, sources: int = 6, tags: int = 10, transport: Transport | None = None
    ) -> None:
        """`transport`: such as `platform.sender()`; without one, straight into the stream."""
        self.platform = platform
        self.sources = [f"gw-{number}" for number in range(sources)]
        self.tags = [[f"acme/lyon/l1/{source}/t{i}" for i in range(tags)] for source in self.sources]
        self.clock = EdgeClock()
        self.told: set[tuple[str, int]] = set()
        self._stream: ValkeyStream | None = None
        self._stop = threading.Event()
        self._rng = np.random.default_rng(1)
        self.producer = Producer(
            transport or self._append,
            shard_count=int(platform.endpoints["shards"]),
            clock=self.clock,
            on_delivered=self._note,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _append(self, entries: Sequence[Any]) -> list[int]:
        if self._stream is None:
            self._stream = self.platform.stream()
        try:
            return self._stream.append(entries)
        except Unavailable:
            self._stream.close()
            self._stream = None
            raise

    def _note(self, outcomes: Sequence[tuple[Outgoing, Delivery]]) -> None:
        for outgoing, delivery in outcomes:
            if delivery.outcome is Outcome.TAKEN:
                frame = frame_codec.decode(outgoing.data)
                self.told.update(
                    (frame.tags[tag], int(ts)) for tag, ts in zip(frame.tag, frame.ts_us, strict=True)
                )

    def start(self) -> None:
        self.producer.start()
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            now_us = self.clock.now_us()
            for source, tags in zip(self.sources, self.tags, strict=True):
                n = len(tags)
                self.producer.send(source, tags, np.full(n, now_us), self._rng.normal(50, 1, n))

    def close(self) -> None:
        """Stop sending; what waits is delivered or given up, bounded."""
        self._stop.set()
        self._thread.join(10)
        self.producer.close(30.0)


def until(found: Callable[[], Found], timeout_s: float, what: str) -> Found:
    """What is found once there is something; bounded."""
    end_s = time.monotonic() + timeout_s
    while not (value := found()):
        assert time.monotonic() < end_s, f"not within {timeout_s} s: {what}"
        time.sleep(0.1)
    return value


def check_equal(platform: Platform, told: set[tuple[str, int]]) -> None:
    """The platform's own recount, then ours: all that was answered is there, nothing is there twice."""
    code, report = platform.verify("--full")
    assert code == 0, report
    archived = platform.archived()
    assert told, "the witness was told nothing"
    lost = [key for key in told if key not in archived]
    assert not lost, f"{len(lost)} of {len(told)} answered readings are lost, the first is {lost[:1]}"
    twice = [key for key, count in archived.items() if count > 1]
    assert not twice, f"{len(twice)} readings are there twice, the first is {twice[:1]}"


DIE_ONCE = """\
import os, signal
def die_if_told():
    try:
        os.unlink({trigger!r})
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
def is_told():
    return os.path.exists({trigger!r})
"""
"""A file is the order to die; whoever removes it dies, so one process does."""


def patched(folder: Path, module: str, code: str) -> str:
    """PYTHONPATH of a start whose processes run `code` first where their command line names `module`."""
    folder.mkdir()
    lines = "".join(f"    {line}\n" for line in code.splitlines())
    (folder / "sitecustomize.py").write_text(
        f"import sys\nif {module!r} in ' '.join(sys.orig_argv):\n{lines}"
    )
    return os.pathsep.join(part for part in (str(folder), os.environ.get("PYTHONPATH", "")) if part)


@contextmanager
def started(tmp_path: Path, settings: dict[str, str], module: str, code: str) -> Iterator[Platform]:
    """A platform whose `module` runs with `code`."""
    path = patched(tmp_path / "patch", module, code)
    with running(tmp_path, {**settings, "PYTHONPATH": path}) as platform:
        yield platform
