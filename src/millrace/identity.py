"""Law 14: one data folder, one identity, the same in the folder, the stream and PostgreSQL."""

from __future__ import annotations

from typing import Protocol

from millrace.errors import DataFolderError
from millrace.stream.contract import Stream


class Registry(Protocol):
    """The operational store's side."""

    def identity(self) -> str | None: ...

    def prepare(self, identity: str, shard_count: int) -> None: ...


def claim(identity: str, *, stream: Stream, registry: Registry) -> None:
    """Mark new stores as this folder's; DataFolderError, nothing changed, when one belongs to another or is gone."""
    stored, streamed = registry.identity(), stream.identity()
    _require("PostgreSQL", stored, identity)
    _require("the stream", streamed, identity)
    if stored is not None and streamed is None and _was_used(stream):
        raise DataFolderError(
            f"PostgreSQL belongs to data folder {identity}, but the stream has lost its identity: "
            "put the stream's files back, or begin anew with `millrace reset`"
        )
    registry.prepare(identity, stream.shard_count)
    if streamed is None:
        stream.claim_identity(identity)


def _require(who: str, found: str | None, wanted: str) -> None:
    if found not in (None, wanted):
        raise DataFolderError(
            f"{who} belongs to data folder {found}, this one is {wanted}: "
            "put the right files back, choose the right folder with MILLRACE_HOME, or begin anew with `millrace reset`"
        )


def _was_used(stream: Stream) -> bool:
    return any(stream.span(shard).newest for shard in range(stream.shard_count))
