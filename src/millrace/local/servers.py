"""PostgreSQL and the two Valkeys of this machine: embedded, or your own where the settings name them.

Own servers are never started or stopped by us, and refused when they promise less than ours (`durability`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from millrace.local import durability
from millrace.local.child import Child, end_stale
from millrace.local.folder import DataFolder
from millrace.local.postgres import EmbeddedPostgres
from millrace.local.valkey import EmbeddedValkey, cache_options, stream_options
from millrace.settings import Settings

SOCKET_PATH_BYTES_MAX: Final = 103  # macOS; Linux takes 107


class Server(Protocol):
    """An embedded server."""

    url: str
    child: Child

    def launch(self) -> None: ...
    def wait_ready(self) -> None: ...
    def answers(self) -> bool: ...
    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers answer; each holds a password."""

    postgres_url: str
    stream_url: str
    cache_url: str


class Servers:
    """The servers that this platform owns; start and stop them from one thread."""

    def __init__(self, folder: DataFolder, settings: Settings) -> None:
        sockets = socket_folder(folder)
        self._settings = settings
        self.embedded: list[Server] = []
        self.addresses = Addresses(
            settings.postgres_url or self._own(EmbeddedPostgres(folder, sockets / "postgres")),
            settings.stream_url
            or self._own(
                EmbeddedValkey(folder, sockets, "stream", stream_options(settings.stream_bytes_max))
            ),
            settings.cache_url
            or self._own(EmbeddedValkey(folder, sockets, "cache", cache_options(settings.cache_bytes_max))),
        )

    def start(self) -> None:
        """All of them ready and as durable as promised, or none running."""
        try:
            for server in self.embedded:
                server.launch()
            for server in self.embedded:
                server.wait_ready()
            durability.require(self.addresses, self._settings.stream_bytes_max)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """The cache first, PostgreSQL last; bounded waits, then killed."""
        for server in reversed(self.embedded):
            server.stop()

    def _own(self, server: Server) -> str:
        self.embedded.append(server)
        return server.url


def socket_folder(folder: DataFolder) -> Path:
    """Where the sockets are: below the data folder, or a short private folder where that path is too long.

    The short one is ours alone: made anew at each start with a random name, its predecessor removed.
    """
    near = folder.run / "sockets"
    with contextlib.suppress(OSError):
        if near.is_symlink():
            shutil.rmtree(os.readlink(near), ignore_errors=True)
            near.unlink()
    if len(os.fsencode(near / "postgres" / ".s.PGSQL.5432.lock")) > SOCKET_PATH_BYTES_MAX:
        short = Path(tempfile.mkdtemp(prefix="millrace-"))
        os.chmod(short, 0o711)  # nosec B103 # PostgreSQL may run as another user; the folders in it are private
        shutil.rmtree(near, ignore_errors=True)
        near.symlink_to(short)
        near = short
    near.mkdir(exist_ok=True)
    (near / "postgres").mkdir(mode=0o700, exist_ok=True)
    return near


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[tuple[DataFolder, Servers]]:
    """The servers alone, for tests, benchmarks and tools: started, and stopped at the end."""
    folder = DataFolder.open(settings)
    try:
        end_stale(folder.path)
        servers = Servers(folder, settings)
        servers.start()
        try:
            yield folder, servers
        finally:
            servers.stop()
    finally:
        folder.close()
