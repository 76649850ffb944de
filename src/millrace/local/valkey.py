"""The two embedded Valkeys: the stream keeps everything it acknowledged, the cache may be lost at any
time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

import valkey

from millrace.errors import DataFolderError, Unavailable
from millrace.local.binaries import valkey_program
from millrace.local.child import Child, wait_until
from millrace.local.folder import DataFolder, write_private
from millrace.stream.durability import server_options

DAMAGED: Final = ("Bad file format", "Unrecoverable error", "Short read")
"""What Valkey says of an append-only file that it does not read to its end."""
START_WAIT_S: Final = 120.0  # reading a 2 GB append-only file takes some 10 s

_BOTH: Final = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    "databases": "1",
    "loglevel": "notice",
    "maxclients": "256",
    "shutdown-timeout": "5",
}
_VOLATILE: Final = {"appendonly": "no", "save": "", "maxmemory-policy": "noeviction"}


class EmbeddedValkey:
    """One Valkey in `<home>/<name>` on a socket of its own."""

    def __init__(self, folder: DataFolder, sockets: Path, name: str, options: Mapping[str, str]) -> None:
        self._data = folder.path / name
        self._socket = sockets / f"{name}.sock"
        self._password = folder.secret(name)
        self._options = {
            **_BOTH,
            **options,
            "dir": str(self._data),
            "unixsocket": str(self._socket),
            "requirepass": self._password,
        }
        self.url = f"unix://{self._socket}?db=0&password={quote(self._password)}"
        self.child = Child(
            name,
            [valkey_program(), self._data / "valkey.conf"],
            home=folder.path,
            environ={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"},
            death_signal=signal.SIGTERM,
            stop_signal=signal.SIGTERM,
            stop_wait_s=15.0,
        )

    def launch(self) -> None:
        """Start it without waiting."""
        self._data.mkdir(mode=0o700, exist_ok=True)
        self._socket.unlink(missing_ok=True)
        # A file, not arguments: a password on the command line is everybody's to read.
        write_private(
            self._data / "valkey.conf", "".join(f'{key} "{value}"\n' for key, value in self._options.items())
        )
        self.child.start()

    def wait_ready(self) -> None:
        if not wait_until(self.answers, wait_s=START_WAIT_S, child=self.child):
            self._explain()

    def stop(self) -> None:
        self.child.stop()

    def _explain(self) -> None:
        said = f"its log ({self.child.log}) ends with:\n{self.child.last_lines(6)}"
        if any(word in said for word in DAMAGED):
            raise DataFolderError(
                f"{self._data} is damaged: {said}\nNothing was changed. Put the folder's files back from a copy, "
                "or begin anew with `millrace reset`."
            )
        raise Unavailable(f"The {self.child.name} server does not start; {said}")

    def answers(self) -> bool:
        """Whether it answers now: neither down nor still reading its file."""
        client = valkey.Valkey.from_url(self.url, socket_timeout=2)
        try:
            return bool(client.ping())
        except valkey.ValkeyError:  # refused, or still loading
            return False
        finally:
            client.close()  # type: ignore[no-untyped-call]


def stream_options(bytes_max: int) -> dict[str, str]:
    """The stream's server: durable, with memory for `bytes_max` and a reserve for ticks above it."""
    return server_options(bytes_max)


def cache_options(bytes_max: int) -> dict[str, str]:
    """The real-time store: nothing on disk, nothing evicted behind our back."""
    return {**_VOLATILE, "maxmemory": str(bytes_max)}
