"""The frames of a stretch between two control records, as one set of columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from millrace.accounting import payload_hash
from millrace.batch import F64, I32, I64, U8, U64, Frame, Reason, Reject
from millrace.process import reject
from millrace.process.deduplicate import DUPLICATE
from millrace.process.resolve import Answer, state_codes
from millrace.process.state import ShardState
from millrace.process.tags import UNKNOWN_SOURCE


@dataclass(slots=True)
class Block:
    """Columns (n,) in order of arrival. `slot` is -1 where `reason` is not OK already.

    `hash` is the hash of the tag's path. `starts` (frames + 1,) are the frames' places in the columns,
    `verdicts` what deduplication said of each frame.
    """

    frames: list[tuple[int, Frame]]
    sources: list[int]
    verdicts: list[int]
    starts: I64
    slot: I32
    ts_us: I64
    value: F64
    quality: U8
    source: I32
    received_us: I64
    reason: U8
    hash: U64
    new_slots: list[int] = field(default_factory=list)

    @property
    def newest_received_us(self) -> int:
        return max(frame.received_ts_us for _, frame in self.frames)

    def rejects(self) -> Iterator[Reject]:
        """Rows of the quarantine. What came with a duplicate frame was kept the first time."""
        refused = np.flatnonzero((self.reason != Reason.OK) & (self.reason != DUPLICATE))
        bounds = np.searchsorted(refused, self.starts)
        for place, (position, frame) in enumerate(self.frames):
            if frame.rejects and self.verdicts[place] != DUPLICATE:
                yield from reject.of_door(frame, position)
            rows = refused[bounds[place] : bounds[place + 1]] - self.starts[place]
            if len(rows):
                reasons = self.reason[self.starts[place] : self.starts[place + 1]]
                yield from reject.of_readings(frame, position, rows, reasons)

    def door_rows(self) -> list[tuple[int, int, int, bool, int]]:
        """(source, time or 0, receipt, is a duplicate, hash) of each reading that the door refused."""
        return [
            (
                self.sources[place],
                refused.ts_us,
                frame.received_ts_us,
                self.verdicts[place] == DUPLICATE,
                payload_hash(refused.payload),
            )
            for place, (_, frame) in enumerate(self.frames)
            for refused in frame.rejects
        ]


def gather(state: ShardState, frames: list[tuple[int, Frame]]) -> Block:
    """Judge identities, look dictionaries up, join columns. Adds sources and tags to the state."""
    sources, verdicts, slots, values, reasons, hashes = [], [], [], [], [], []
    new_slots: list[int] = []
    for _, frame in frames:
        source, verdict = _identify(state, frame)
        sources.append(source)
        verdicts.append(verdict)
        answer = state.resolver.resolve(source, frame) if verdict == Reason.OK else state.resolver.peek(frame)
        new_slots.extend(answer.new_slots)
        value, reason = _judged(answer, frame, verdict)
        slots.append(answer.slots[frame.tag])
        hashes.append(answer.hashes[frame.tag])
        values.append(value)
        reasons.append(reason)
    lengths = np.array([len(frame.ts_us) for _, frame in frames], np.int64)
    return Block(
        frames=frames,
        sources=sources,
        verdicts=verdicts,
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        slot=np.concatenate(slots),
        ts_us=np.concatenate([frame.ts_us for _, frame in frames]),
        value=np.concatenate(values),
        quality=np.concatenate([frame.quality for _, frame in frames]),
        source=np.repeat(np.array(sources, np.int32), lengths),
        received_us=np.repeat(np.array([frame.received_ts_us for _, frame in frames], np.int64), lengths),
        reason=np.concatenate(reasons),
        hash=np.concatenate(hashes),
        new_slots=new_slots,
    )


def _identify(state: ShardState, frame: Frame) -> tuple[int, int]:
    """The source's number and what deduplication says of the frame."""
    source = state.sources.number(frame.source, state.time_us)
    if source is None:
        return UNKNOWN_SOURCE, Reason.TOO_MANY_SOURCES
    state.sources.rows[source].arrival_us = state.time_us
    return source, state.deduplicator.judge(source, frame)


def _judged(answer: Answer, frame: Frame, verdict: int) -> tuple[F64, U8]:
    if verdict != Reason.OK:
        return frame.value, np.full(len(frame.ts_us), verdict, np.uint8)
    if answer.clean and answer.codes is None:
        return frame.value, np.zeros(len(frame.ts_us), np.uint8)
    return state_codes(answer, frame)
