"""What the pipeline needs of a stream: append durably, read from a position, trim, say how full it is.

Guarantees every adapter gives, and `tests/contract/stream/` proves on each:

- `append` returns only once the records are durable, in order, each with its position.
  On `StreamFull` nothing of that call was appended. On any other `StreamUnavailable` each record may or
  may not be there: the caller repeats it with the same identity.
- Positions of one shard rise strictly and never repeat, also after a restart of the server.
- `read` gives records after a position, oldest first, never beyond what is durable; it may give
  fewer than there are, and waits at most `wait_s` when there are none.
- A reader sees no record twice unless it asks twice.

Not guaranteed: any order between shards; that a trimmed record is gone at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import xxhash

from millrace.batch import Record

BEFORE_FIRST = 0
"""A position before every record."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is put: bytes under a partition key (a source), for one shard."""

    shard: int
    partition_key: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Headroom:
    """How full the stream is. `bytes_held` until trimmed, against `bytes_max`."""

    bytes_held: int
    bytes_max: int

    @property
    def full(self) -> bool:
        return self.bytes_held >= self.bytes_max


@dataclass(frozen=True, slots=True)
class Span:
    """First and newest position that a shard's log holds; both 0 when it never held any.

    `first` is the oldest record still there (0 if none is), `newest` the newest ever appended; `trimmed`:
    there were older ones.
    """

    first: int
    newest: int
    trimmed: bool = False


class Stream(Protocol):
    """One log per shard."""

    shard_count: int

    def append(self, entries: Sequence[Entry]) -> list[int]:
        """Append in order; the positions, in the order of `entries`."""

    def read(self, after: Mapping[int, int], *, count_max: int, wait_s: float) -> dict[int, list[Record]]:
        """Records after a position per shard, at most `count_max` a shard."""

    def trim(self, shard: int, before: int) -> None:
        """Records before that position are not needed any more; the one at it stays."""

    def span(self, shard: int) -> Span:
        """What the shard's log holds."""

    def headroom(self) -> Headroom:
        """How full the stream is now."""

    def identity(self) -> str | None:
        """Id and generation of the data folder that this stream belongs to; None if it never had one."""

    def claim_identity(self, identity: str) -> None:
        """Write the identity durably."""

    def close(self) -> None:
        """Let go of connections; no effect on what is stored."""


def shard_of(source: str, shard_count: int) -> int:
    """The shard of a source: stable across processes, machines and releases."""
    return xxhash.xxh3_64_intdigest(source.encode()) % shard_count
