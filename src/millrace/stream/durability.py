"""What the stream's Valkey must be set to: our own server is started with it, any other is checked for it.

Only `appendfsync always` writes and syncs before it answers; `everysec` may hold its write back for two
seconds while it answers clients, so that a kill loses what was acknowledged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from millrace.errors import SettingError
from millrace.settings import MIB

TICK_RESERVE_BYTES_MIN: Final = 32 * MIB
"""Memory above the data's bound: ticks, marks and model changes still go in when readings are refused."""

REWRITE_FILE_BYTES_MIN: Final = 256 * MIB
"""The append-only file is not rewritten below this size: at 1.3 MB/s once in three minutes at most."""

WANTED: Final[dict[str, str]] = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}


def memory_max(bytes_max: int) -> int:
    """`maxmemory` for a stream of `bytes_max`: the bound and the ticks' reserve."""
    return bytes_max + max(TICK_RESERVE_BYTES_MIN, bytes_max // 16)


def server_options(bytes_max: int) -> dict[str, str]:
    """Options that our own server is started with (`--name value`)."""
    return WANTED | {
        "maxmemory": str(memory_max(bytes_max)),
        "save": "",
        "auto-aof-rewrite-percentage": "100",
        "auto-aof-rewrite-min-size": str(REWRITE_FILE_BYTES_MIN),
        "aof-use-rdb-preamble": "yes",
        "rdbcompression": "no",  # frames are compressed already
        "aof-load-truncated": "yes",  # a torn tail was never acknowledged
        "stream-node-max-bytes": "65536",  # frames of 600 B: 100 a node instead of 7
        "stream-node-max-entries": "100",
    }


def check(config: Mapping[str, str], role: str, *, bytes_max: int) -> None:
    """SettingError when a server of this configuration could lose what it acknowledged."""
    for name, want in WANTED.items():
        got = config.get(name, "(unknown)")
        if got != want:
            raise SettingError(f"stream server's {name}", got=got, want=_advice(name, want))
    if role != "master":
        raise SettingError(
            "stream server's role", got=role, want="a primary: MILLRACE_STREAM_URL names a replica"
        )
    _check_memory(int(config.get("maxmemory", "0")), bytes_max)


def _check_memory(got: int, bytes_max: int) -> None:
    want = memory_max(bytes_max)
    if 0 < got < want:
        raise SettingError(
            "stream server's maxmemory",
            got=got,
            want=f"0 or at least {want} (MILLRACE_STREAM_BYTES_MAX and the ticks' reserve)",
        )


def _advice(name: str, want: str) -> str:
    return f"{want!r}: CONFIG SET {name} {want} (and in its file), or leave MILLRACE_STREAM_URL empty"
