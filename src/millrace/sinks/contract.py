"""What the pipeline needs of a sink, and what a sink may not do.

A sink takes `Output`s of the shards that this worker owns, in order of position per shard.

- `write` says what became of the rows: accepted, rejected (kept with a reason, never retried) or retry (the sink
  is away and has counted that once, `telemetry.will_retry`: the caller keeps these outputs and offers the same ones
  again, in order). Only PostgreSQL rejects rows of
  its own, critical readings that its server refuses (`sinks/postgres/refused.py`); what `process` rejected is
  counted with them. A sink never raises over a row.
- What it accepts is durable together with its position, or (fast path) may be lost at any time: `durable` says which.
- `open_shard` answers the position up to which the sink holds everything. An output at or below it changes nothing;
  one that straddles it is a mistake of the caller.
- Writing under an epoch that is no longer the owner's raises `OwnershipLost` and changes nothing.

Not guaranteed: that `close` is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from millrace.batch import Output


@dataclass(frozen=True, slots=True)
class Written:
    """The answer of a sink: rows accepted, rows rejected, outputs to be offered again."""

    accepted: int
    rejected: int
    retry: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True)
class Ownership:
    """The right to write for a shard: worthless once another holds a higher epoch."""

    shard: int
    epoch: int


class Sink(Protocol):
    """A place where outputs end."""

    name: str
    durable: bool

    def open_shard(self, ownership: Ownership) -> int:
        """Begin to write for a shard; the position up to which everything is held (0: nothing yet)."""

    def write(self, outputs: Sequence[Output]) -> Written:
        """Take outputs, of one shard or several, in order."""

    def close_shard(self, shard: int) -> None:
        """Stop writing for a shard; nothing that was accepted is lost."""

    def close(self) -> None:
        """Let go of everything."""
