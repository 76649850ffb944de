"""PostgreSQL and the two Valkeys of this machine: embedded, or your own where the settings name them.

Own servers are never started or stopped by us, and refused when they promise less than ours (`durability`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from millrace.local import durability
from millrace.local.addresses import Addresses
from millrace.local.child import Child, end_stale
from millrace.local.folder import DataFolder
from millrace.local.postgres import EmbeddedPostgres
from millrace.local.sockets import place, remove_short
from millrace.local.valkey import EmbeddedValkey, cache_options, stream_options
from millrace.settings import Settings


class Server(Protocol):
    """An embedded server."""

    url: str
    child: Child

    def launch(self) -> None: ...
    def wait_ready(self) -> None: ...
    def answers(self) -> bool: ...
    def stop(self) -> None: ...


class Servers:
    """The servers that this platform owns; start and stop them from one thread."""

    def __init__(self, folder: DataFolder, settings: Settings) -> None:
        sockets = place(folder.run)
        self._run = folder.run
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
        remove_short(self._run)

    def _own(self, server: Server) -> str:
        self.embedded.append(server)
        return server.url


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
