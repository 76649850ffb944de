"""The supervisor over real servers and stand-ins for our own processes: what it starts, mends and stops."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from millrace.local import endpoints
from millrace.local.endpoints import Endpoints
from tests.simulation.real_platform import free_port

STAND_INS = Path(__file__).parent / "stand_ins"
USUAL = ("worker-0=stand_in_worker", "api=stand_in_api")
WAIT_S = 60.0


class Run:
    """One supervisor process."""

    def __init__(self, home: Path, *roles: str, **more: str) -> None:
        self.home = home
        self.said = home.with_name(f"said-{time.monotonic_ns()}")
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")} | {
            "MILLRACE_HOME": str(home),
            "MILLRACE_SHARDS": "2",
            "MILLRACE_API_PORT": str(free_port()),
            "MILLRACE_DASHBOARD": "false",
            "PYTHONPATH": os.pathsep.join([str(STAND_INS), "src"]),
            **{f"MILLRACE_{name}": value for name, value in more.items()},
        }
        command = [sys.executable, str(STAND_INS / "stand_in_up.py"), *(roles or USUAL)]
        with self.said.open("wb") as out:
            self.process = subprocess.Popen(command, env=environ, stdout=out, stderr=subprocess.STDOUT)

    @property
    def text(self) -> str:
        return self.said.read_text()

    def ready(self) -> Endpoints:
        """Wait until it says that it is ready."""
        return self.until(lambda found: found.ready)

    def until(self, true) -> Endpoints:  # type: ignore[no-untyped-def]
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            found = endpoints.find(self.home)
            if found is not None and true(found):
                return found
            assert self.process.poll() is None, self.text
            time.sleep(0.05)
        raise AssertionError(f"waited {WAIT_S} s\n{self.text}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(WAIT_S)


@contextmanager
def run(home: Path, *roles: str, **more: str) -> Iterator[Run]:
    started = Run(home, *roles, **more)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
            started.process.wait()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.requirement("B-01")
def test_it_says_where_everything_is_and_stops_cleanly(home: Path) -> None:
    with run(home) as platform:
        found = platform.ready()
        assert set(found.pids) == {"postgres", "stream", "cache", "worker-0", "api"}
        platform.until(lambda found: found.api_url in platform.text and found.token in platform.text)
        platform.until(lambda found: "10.0k/s" in platform.text)
        assert platform.stop() == 0, platform.text
        assert not [name for name, pid in found.pids.items() if alive(pid)]
        assert not endpoints.path_of(home).exists()
        assert "was killed" not in platform.text
    with run(home) as again:
        assert again.ready().identity == found.identity


@pytest.mark.requirement("B-01")
def test_stopped_before_it_is_ready_it_stops_cleanly_and_says_no_address(home: Path) -> None:
    with run(home, "worker-0=stand_in_worker") as platform:
        found = platform.until(lambda found: True)
        assert platform.stop() == 0, platform.text
        assert found.api_url not in platform.text
        assert "stopped; `millrace up` goes on from here" in platform.text
        assert not endpoints.path_of(home).exists()


@pytest.mark.requirement("B-01")
def test_a_second_start_is_refused_and_harms_nothing(home: Path) -> None:
    with run(home) as platform:
        found = platform.ready()
        with run(home) as second:
            assert second.process.wait(WAIT_S) == 2
            assert f"already running on {home} as pid {platform.process.pid}" in second.text
            assert found.api_url in second.text
            assert "Traceback" not in second.text
        assert platform.ready().pids == found.pids
        assert all(alive(pid) for pid in found.pids.values())


@pytest.mark.parametrize("victim", ["worker-0", "api", "postgres", "stream", "cache"])
def test_a_killed_process_is_started_again(home: Path, victim: str) -> None:
    with run(home) as platform:
        before = platform.ready().pids
        os.kill(before[victim], signal.SIGKILL)
        after = platform.until(lambda found: found.pids[victim] not in (0, before[victim])).pids
        assert {name for name in before if before[name] != after[name]} == {victim}
        assert f"{victim} died (SIGKILL)" in platform.text
        assert platform.stop() == 0, platform.text


@pytest.mark.requirement("S-19")
def test_a_process_that_dies_with_its_servers_waits_for_them(home: Path) -> None:
    """A death of absence is no reason to give up: the worker is started once the servers answer."""
    with run(home) as platform:
        before = platform.ready().pids
        victims = [before[name] for name in ("postgres", "stream", "worker-0")]
        # It looks again when all are gone, however long one of them takes.
        platform.process.send_signal(signal.SIGSTOP)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        platform.until(lambda found: not any(alive(pid) for pid in victims))
        platform.process.send_signal(signal.SIGCONT)
        after = platform.until(
            lambda found: not {0, *before.values()} & {found.pids[name] for name in ("postgres", "worker-0")}
        ).pids
        started_s = {
            name: psutil.Process(after[name]).create_time() for name in ("postgres", "stream", "worker-0")
        }
        assert max(started_s, key=lambda name: started_s[name]) == "worker-0"
        assert platform.text.count("worker-0 died") == 1
        assert platform.stop() == 0, platform.text


def test_a_hopeless_worker_stops_the_platform_with_its_last_words(home: Path) -> None:
    with run(home, "worker-0=stand_in_dying", "api=stand_in_api") as platform:
        assert platform.process.wait(WAIT_S) == 1
        assert "worker-0 died 5 times within a minute" in platform.text
        assert "the last words of a hopeless child" in platform.text
        assert "Traceback" not in platform.text


def test_a_hopeless_page_does_not_stop_the_flow(home: Path) -> None:
    with run(home, *USUAL, "dashboard=stand_in_dying") as platform:
        platform.until(lambda found: found.ready and "stays off" in platform.text)
        assert platform.stop() == 0


def test_a_taken_port_is_named_before_anything_starts(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with run(home, API_PORT=str(port)) as platform:
            assert platform.process.wait(WAIT_S) == 2
            assert "MILLRACE_API_PORT" in platform.text
            assert str(port) in platform.text
            assert not home.exists()
    with run(home, SHARDS="3") as platform:
        assert platform.ready().shards == 3


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_killed_supervisor_takes_its_children_along_and_the_next_start_goes_on(home: Path) -> None:
    with run(home) as platform:
        before = platform.ready()
        platform.process.kill()
        platform.process.wait()
    with run(home) as again:
        after = again.ready()
        assert after.identity == before.identity
        assert not [name for name, pid in before.pids.items() if alive(pid)]
        assert again.stop() == 0
