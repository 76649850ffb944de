"""One child process: started so that it dies with us, its log kept, its pid on record, stopped within a
bound.

The record (`run/processes/<name>.json`: pid and start time) is how the next start finds what a killed
supervisor left behind; the start time tells it from a stranger that was given the same pid since.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

LOG_BYTES_MAX: Final = 16 * 1024**2
STALE_WAIT_S: Final = 10.0
_LAUNCH: Final = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, slots=True)
class User:
    """Whom a program runs as; `search`: let it pass folders that are closed to it."""

    uid: int
    gid: int
    search: bool = False


class Child:
    """A program under our eyes. Not thread-safe: start it from the thread that outlives it (Linux counts
    threads as parents).
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        home: Path,
        environ: Mapping[str, str] | None = None,
        user: User | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_wait_s: float = 10.0,
    ) -> None:
        self.name = name
        self.command = [str(word) for word in command]
        self.log = home / "logs" / f"{name}.log"
        self._record = home / "run" / "processes" / f"{name}.json"
        self._environ = environ
        self._user = user
        self._death_signal = death_signal
        self._stop_signal = stop_signal
        self._stop_wait_s = stop_wait_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """0 while it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else 0

    @property
    def last_pid(self) -> int:
        """Its pid, also after its death; 0 when it was never started."""
        return self._process.pid if self._process else 0

    @property
    def exit_code(self) -> int | None:
        """Negative: died of that signal. None: runs, or was never started."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start it; says nothing about readiness."""
        self._record.parent.mkdir(parents=True, exist_ok=True)
        self.bound_log()
        user = self._user or User(-1, -1)
        launcher = [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), str(int(self._death_signal))]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*launcher, str(user.uid), str(user.gid), str(int(user.search)), "--", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self._environ) if self._environ is not None else None,
                start_new_session=True,  # a Ctrl-C at the terminal is ours to hand down, in order
            )
        self._write_record()

    def ask(self) -> None:
        """Ask it to stop; `stop()` waits for it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self._stop_signal)

    def stop(self, wait_s: float | None = None) -> bool:
        """Ask, wait, then kill; true when it went by itself. Harmless when it does not run."""
        self.ask()
        asked = self._gone(self._stop_wait_s if wait_s is None else wait_s)
        if not asked and self._process is not None:
            self._process.kill()
            self._gone(STALE_WAIT_S)
        self._record.unlink(missing_ok=True)
        return asked

    def _gone(self, wait_s: float) -> bool:
        try:
            if self._process is not None:
                self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_lines(self, count: int = 10) -> str:
        """The end of its log."""
        return last_lines(self.log, count)

    def bound_log(self) -> None:
        """Keep one older part of the log beside a bounded newer one; it may be open for appending."""
        with contextlib.suppress(FileNotFoundError):
            if self.log.stat().st_size > LOG_BYTES_MAX:
                shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
                os.truncate(self.log, 0)

    def _write_record(self) -> None:
        assert self._process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            started = psutil.Process(self._process.pid).create_time()
            content = {"pid": self._process.pid, "started": started, "stop_signal": int(self._stop_signal)}
            aside = self._record.with_suffix(".new")
            aside.write_text(json.dumps(content))
            os.replace(aside, self._record)


def last_lines(log: Path, count: int) -> str:
    """The last lines of a log, at most 64 KiB of it; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65_536))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-count:])


def end_stale(home: Path) -> list[str]:
    """Stop what an earlier supervisor left running here; the names of what was found alive.

    Called under the folder's lock. Each is asked first, then killed; the wait is bounded.
    """
    found = []
    for record in sorted((home / "run" / "processes").glob("*.json")):
        process = _recorded(record)
        if process is not None:
            found.append(record.stem)
            _end(process, record)
        record.unlink(missing_ok=True)
    return found


def _recorded(record: Path) -> psutil.Process | None:
    """The very process of that record, None when it is gone or its pid is another's now."""
    try:
        content = json.loads(record.read_text())
        process = psutil.Process(int(content["pid"]))
        same = abs(process.create_time() - float(content["started"])) < 0.05
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, KeyError, psutil.Error):
        return None


def _end(process: psutil.Process, record: Path) -> None:
    stop_signal = int(json.loads(record.read_text()).get("stop_signal", signal.SIGTERM))
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(stop_signal)
        try:
            process.wait(STALE_WAIT_S)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STALE_WAIT_S)


def wait_until(ready: object, *, wait_s: float, child: Child | None = None, pace_s: float = 0.02) -> bool:
    """Call `ready()` until it is true, the child has died or the time is over."""
    assert callable(ready)
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        if ready():
            return True
        if child is not None and not child.pid:
            return False
        time.sleep(pace_s)
    return False
