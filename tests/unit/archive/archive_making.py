"""A manifest in memory with the laws of the real one, and outputs made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from millrace import batch
from millrace.accounting import hash_rows, tag_hash
from millrace.batch import DataClass, Output, Reason, Reject, Rows, TagInfo, ValueKind
from millrace.errors import OwnershipLost, StoreUnavailable
from millrace.sinks.manifest import LISTED, RETIRED, Segment

T0_US = 1_767_600_000_000_000  # 2026-01-05T08:00:00Z


class MemoryManifest:
    """The list of segments with its guards. `away` makes it unreachable, `epoch` is the owner's."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[Segment, str]] = {}
        self.archived: dict[int, int] = {}
        self.epoch: dict[int, int] = {}
        self.calls: list[tuple[int, int, int, tuple[str, ...]]] = []
        self.away = False
        self.answer_lost = False
        self.retired_age_s = 0.0

    def _guard(self, shard: int, epoch: int) -> None:
        if self.away:
            raise StoreUnavailable("away")
        if self.epoch.setdefault(shard, epoch) != epoch:
            raise OwnershipLost(shard, epoch)

    def list_segment(self, shard: int, epoch: int, archived: int, segments: Sequence[Segment]) -> None:
        self._guard(shard, epoch)
        self.calls.append((shard, epoch, archived, tuple(s.file for s in segments)))
        for segment in segments:
            self.rows.setdefault(segment.file, (segment, LISTED))
        self.archived[shard] = max(archived, self.archived.get(shard, 0))
        if self.answer_lost:
            self.answer_lost = False
            raise StoreUnavailable("the connection broke after the commit")

    def replace_segments(self, shard: int, epoch: int, new: Segment, retired: Sequence[str]) -> None:
        self._guard(shard, epoch)
        for file in retired:
            self.rows[file] = (self.rows[file][0], RETIRED)
        self.rows[new.file] = (new, LISTED)

    def files(self, shard: int) -> list[Segment]:
        rows = [segment for segment, _ in self.rows.values() if segment.shard == shard]
        return sorted(rows, key=lambda segment: segment.first_position)

    def retired_before(self, shard: int, age_s: float) -> list[str]:
        if age_s > self.retired_age_s:
            return []
        return [f for f, (segment, state) in self.rows.items() if state == RETIRED and segment.shard == shard]

    def forget(self, shard: int, epoch: int, files: Sequence[str]) -> None:
        self._guard(shard, epoch)
        for file in files:
            del self.rows[file]

    def listed(self, shard: int = 0) -> list[Segment]:
        rows = [
            segment for segment, state in self.rows.values() if state == LISTED and segment.shard == shard
        ]
        return sorted(rows, key=lambda segment: segment.first_position)


def tag_info(slot: int, path: str = "", source: str = "gw-1") -> TagInfo:
    return TagInfo(
        slot,
        path or f"acme/lyon/press/line-1/p-1/t-{slot}",
        source,
        ValueKind.FLOAT,
        DataClass.STANDARD,
        True,
        0,
        "",
    )


def reading_rows(
    tags: Sequence[TagInfo], slot: object, ts_us: object, value: object, quality: object = 192
) -> Rows:
    """READING rows with true hashes; `slot` indexes `tags`."""
    slots = np.asarray(slot, np.int32)
    rows = np.zeros(len(slots), batch.READING)
    rows["slot"] = [tags[i].slot for i in slots]
    rows["ts_us"], rows["value"], rows["quality"] = ts_us, value, quality
    hashes = np.array([tag_hash(tag.path) for tag in tags], np.uint64)
    rows["hash"] = hash_rows(
        hashes, slots, rows["ts_us"].copy(), rows["value"].copy(), rows["quality"].copy()
    )
    return rows


def output(
    position: int,
    rows: Rows | None = None,
    *,
    tags: Sequence[TagInfo] = (),
    shard: int = 0,
    mark: int = 0,
    rejects: Sequence[Reject] = (),
) -> Output:
    return Output(
        shard=shard,
        position=position,
        first_position=position,
        time_us=T0_US,
        records=1,
        readings=batch.empty(batch.READING) if rows is None else rows,
        rollups=batch.empty(batch.ROLLUP),
        anomalies=batch.empty(batch.ANOMALY),
        alarms=batch.empty(batch.ALARM),
        ledger=batch.empty(batch.LEDGER),
        tags=list(tags),
        rejects=list(rejects),
        mark=mark,
    )


def reject(position: int, payload: bytes = b'{"tag":"x"}', **changes: object) -> Reject:
    row = Reject(position, 0, "gw-1", Reason.OUT_OF_RANGE, T0_US, T0_US, "x", payload)
    return replace(row, **changes)  # type: ignore[arg-type]
