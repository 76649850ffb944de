"""How a producer's frames leave it: what was taken, what to send again later, what will never be taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from millrace.batch import Incarnation
from millrace.clock import Clock
from millrace.errors import StreamUnavailable
from millrace.ingest.disk import DiskGuard
from millrace.ingest.refusal import DISK_NEARLY_FULL
from millrace.settings import Settings
from millrace.stream.contract import Entry, Stream

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class Outcome(IntEnum):
    TAKEN = 0  # durable
    LATER = 1  # refused for now, or unknown: send the same bytes again
    REFUSED = 2  # will never be taken


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one frame. `position` is -1 where the transport does not tell."""

    outcome: Outcome
    position: int = -1
    retry_after_s: float = 0.0
    detail: str = ""


@dataclass(slots=True)
class Outgoing:
    """One encoded frame on its way. `data` never changes from the first offer on: before it, stamp and trace are made.

    `span` is open from the first offer to the last of a frame whose trace begins here.
    """

    source: str
    shard: int
    incarnation: Incarnation
    seq: int
    readings: int
    data: bytes
    offered: bool = False
    trace: str = ""
    span: Span | None = None


@runtime_checkable
class Transport(Protocol):
    """Delivers frames; one caller at a time. `direct`: it ends in the stream, so the producer stamps."""

    direct: bool
    frames_per_source: int
    """Frames of one source in one call: 1 where the order within a call is not kept."""

    def deliver(self, frames: Sequence[Outgoing]) -> list[Delivery]:
        """The outcomes, in the order of `frames`. Never raises for a server's trouble."""

    def close(self) -> None:
        """Let go of connections."""


class StreamTransport:
    """Straight into a stream: one call for all frames of all sources, all taken or none."""

    direct = True
    frames_per_source = 64

    def __init__(
        self, append: Callable[[Sequence[Entry]], list[int]], *, disk: DiskGuard | None = None
    ) -> None:
        """`disk`: nothing is appended while it is nearly full: past the door nobody else looks."""
        self._append = append
        self._disk = disk

    @classmethod
    def guarded(cls, stream: Stream, settings: Settings, clock: Clock) -> StreamTransport:
        """Into this machine's stream, held back while its disk is nearly full."""
        guard = DiskGuard(
            settings.home,
            free_min_bytes=settings.disk_free_min_bytes,
            folder_max_bytes=settings.disk_max_bytes,
            clock=clock,
        )
        return cls(stream.append, disk=guard)

    def deliver(self, frames: Sequence[Outgoing]) -> list[Delivery]:
        if self._disk and (detail := self._disk.check()):
            detail = f"{DISK_NEARLY_FULL}: {detail}"
            return [Delivery(Outcome.LATER, retry_after_s=1.0, detail=detail)] * len(frames)
        try:
            positions = self._append([Entry(frame.shard, frame.source, frame.data) for frame in frames])
        except StreamUnavailable as error:
            return [Delivery(Outcome.LATER, detail=str(error))] * len(frames)
        return [Delivery(Outcome.TAKEN, position) for position in positions]

    def close(self) -> None:
        """The stream belongs to the caller."""
