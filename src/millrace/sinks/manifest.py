"""What the archive needs of the operational store: the list of its files, moved together with *archived*.

`sinks.postgres.PostgresManifest` is the one implementation; the archive sink takes it as an argument because
sinks never import each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from millrace.schema.hour_counts import HourCount as HourCount  # re-exported: part of a Segment

READINGS = "readings"
QUARANTINE = "quarantine"

LISTED = "listed"
RETIRED = "retired"  # replaced by a compacted file; still there for queries under way


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of the archive. `file` is relative to the archive's root, with forward slashes.

    Positions are those of the first and last record that the file covers. `min_ts_us` and `max_ts_us`
    are 0 for a file without rows. `sha256` is lower-case hex over the whole file.
    """

    file: str
    shard: int
    epoch: int
    first_position: int
    last_position: int
    rows: int
    min_ts_us: int
    max_ts_us: int
    bytes: int
    sha256: str
    kind: str = READINGS
    counts: tuple[HourCount, ...] = field(default=())


class Manifest(Protocol):
    """The list of segments, guarded by the shard's epoch.

    Every call raises OwnershipLost (and changes nothing) when the epoch has moved on, StoreUnavailable when
    PostgreSQL does not answer: the outcome is then unknown, and the same call may be repeated: what is listed
    already under the same file name is not listed twice.
    """

    def list_segment(self, shard: int, epoch: int, archived: int, segments: Sequence[Segment]) -> None:
        """List closed files and move *archived* up to that position, in one transaction; none: only move."""

    def replace_segments(self, shard: int, epoch: int, new: Segment, retired: Sequence[str]) -> None:
        """Compaction's swap: list `new`, retire the files it replaces, in one transaction."""

    def files(self, shard: int) -> list[Segment]:
        """All files of a shard that are listed or retired, by position: what cleaning up must keep."""

    def retired_before(self, shard: int, age_s: float) -> list[str]:
        """Files retired for longer than that, which no query can be reading any more."""

    def forget(self, shard: int, epoch: int, files: Sequence[str]) -> None:
        """Take retired files off the list once they are deleted."""
