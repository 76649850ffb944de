from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from millrace.local.child import LOG_BYTES_MAX, Child, end_stale, wait_until

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); "
    "time.sleep(60)",
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path


def up(child: Child) -> Child:
    child.start()
    assert wait_until(lambda: "up" in child.last_lines(), wait_s=60, child=child)
    return child


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_child_that_stops_when_asked_is_not_killed(home: Path) -> None:
    child = up(Child("sleeper", SLEEPER, home=home))
    assert child.stop()
    assert child.exit_code == -signal.SIGTERM


def test_a_child_that_does_not_listen_is_killed_within_the_bound(home: Path) -> None:
    child = up(Child("stubborn", STUBBORN, home=home, stop_wait_s=0.3))
    assert not child.stop()
    assert child.exit_code == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_child_dies_with_a_killed_parent(home: Path) -> None:
    script = (
        "import time; from pathlib import Path; from millrace.local.child import Child\n"
        f"c = Child('sleeper', {SLEEPER!r}, home=Path({str(home)!r})); c.start(); print(c.pid, "
        f"flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.kill()
    assert wait_until(lambda: gone(pid), wait_s=60)


def test_what_a_killed_supervisor_left_running_is_ended_at_the_next_start(home: Path) -> None:
    orphan = subprocess.Popen(STUBBORN, stdout=subprocess.DEVNULL, start_new_session=True)
    records = home / "run" / "processes"
    records.mkdir(parents=True)
    started = psutil.Process(orphan.pid).create_time()
    time.sleep(0.5)
    (records / "worker-0.json").write_text(
        json.dumps({"pid": orphan.pid, "started": started, "stop_signal": int(signal.SIGINT)})
    )
    assert end_stale(home) == ["worker-0"]
    assert gone(orphan.pid)
    assert not list(records.iterdir())


def test_a_stranger_with_a_recorded_pid_is_left_alone(home: Path) -> None:
    records = home / "run" / "processes"
    records.mkdir(parents=True)
    (records / "worker-0.json").write_text(
        json.dumps({"pid": os.getpid(), "started": 12345.0, "stop_signal": 15})
    )
    (records / "worker-1.json").write_text("{ torn")
    assert end_stale(home) == []
    assert not list(records.iterdir())


def test_a_log_is_bounded_and_its_newer_part_stays(home: Path) -> None:
    child = Child("sleeper", SLEEPER, home=home)
    child.log.write_bytes(b"x" * (LOG_BYTES_MAX + 1))
    up(child)
    assert child.log.stat().st_size < 1_000
    assert child.log.with_suffix(".log.1").stat().st_size == LOG_BYTES_MAX + 1
    child.stop()


def test_a_child_does_not_hear_the_terminals_interrupt(home: Path) -> None:
    child = up(Child("sleeper", SLEEPER, home=home))
    assert os.getpgid(child.pid) != os.getpgid(0)
    child.stop()
