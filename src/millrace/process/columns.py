"""The frames of a stretch between two control records, as one set of columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numba
import numpy as np

from millrace.accounting import payload_hash
from millrace.batch import F64, I32, I64, U8, U32, U64, CountedAs, Reason, Reject
from millrace.process import reject
from millrace.process.deduplicate import DUPLICATE, NO_LANE
from millrace.process.resolve import NO_PLACE, Answer, state_codes
from millrace.process.state import ShardState
from millrace.process.tags import UNKNOWN_NAME, UNKNOWN_SOURCE
from millrace.protocols.frame_batch import FrameBatch

NO_ROOM = -1
"""Beside a source's number: the source is one too many."""


@dataclass(slots=True)
class Block:
    """Columns (n,) in order of arrival. `slot` is -1 where `reason` is not OK already.

    `hash` is the hash of the tag's path. `sources` (frames,) are numbers, `verdicts` what deduplication said of
    each frame.
    """

    batch: FrameBatch
    sources: list[int]
    verdicts: list[int]
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
        return int(self.batch.received_us.max())

    def counted_source(self, place: int) -> str:
        """The name under which the ledger counts a frame's readings."""
        return UNKNOWN_NAME if self.sources[place] == UNKNOWN_SOURCE else self.batch.sources[place]

    def rejects(self, hour_us: I64, row_hash: U64, door: Iterable[CountedAs]) -> Iterator[Reject]:
        """Rows of the quarantine. What came with a duplicate frame was kept the first time.

        `hour_us` and `row_hash` (n,) are what the ledger counts, `door` the same of each of `door_rows`.
        """
        batch, door = self.batch, iter(door)
        refused = np.flatnonzero((self.reason != Reason.OK) & (self.reason != DUPLICATE))
        bounds = np.searchsorted(refused, batch.starts)
        at_door = [place for place, frame in batch.whole.items() if frame.rejects]
        for place in sorted({*at_door, *np.flatnonzero(np.diff(bounds)).tolist()}):
            frame, position, begin = batch.frame(place), batch.positions[place], int(batch.starts[place])
            counted = list(islice(door, len(frame.rejects)))
            if self.verdicts[place] != DUPLICATE:
                yield from reject.of_door(frame, position, counted)
            rows = refused[bounds[place] : bounds[place + 1]]
            source = self.counted_source(place)
            counted = [
                CountedAs(source, hour, hashed)
                for hour, hashed in zip(hour_us[rows].tolist(), row_hash[rows].tolist(), strict=True)
            ]
            yield from reject.of_readings(frame, position, rows - begin, self.reason[begin:], counted)

    def door_rows(self) -> list[tuple[int, int, int, int, bool, int]]:
        """(frame, source, time or 0, receipt, is a duplicate, hash) of each reading that the door refused."""
        return [
            (
                place,
                self.sources[place],
                refused.ts_us,
                frame.received_ts_us,
                self.verdicts[place] == DUPLICATE,
                payload_hash(refused.payload),
            )
            for place, frame in sorted(self.batch.whole.items())
            for refused in frame.rejects
        ]

    def traces(self) -> list[tuple[str, int]]:
        """(trace parent, position) of sampled frames."""
        return [
            (frame.trace, self.batch.positions[place]) for place, frame in self.batch.whole.items() if frame.trace
        ]


def gather(state: ShardState, batch: FrameBatch) -> Block:
    """Judge identities, look dictionaries up, join columns. Adds sources and tags to the state."""
    numbers = _number(state, batch.sources)
    sources = [UNKNOWN_SOURCE if number == NO_ROOM else number for number in numbers]
    verdicts = _judge(state, batch, numbers)
    answers, new_slots = _resolve(state, batch, sources, verdicts)
    n = len(batch.ts_us)
    block = Block(
        batch=batch,
        sources=sources,
        verdicts=verdicts,
        slot=np.empty(n, np.int32),
        ts_us=batch.ts_us,
        value=batch.value,
        quality=batch.quality,
        source=np.empty(n, np.int32),
        received_us=np.empty(n, np.int64),
        reason=np.zeros(n, np.uint8),
        hash=np.empty(n, np.uint64),
        new_slots=new_slots,
    )
    pool = state.resolver.pool
    _spread(
        batch.starts, np.array([answer.place for answer in answers], np.int64), np.array(sources, np.int32),
        batch.received_us, batch.tag, pool.slots, pool.hashes,
        block.slot, block.hash, block.source, block.received_us,
    )  # fmt: skip
    for place, answer in enumerate(answers):
        if answer.place == NO_PLACE:
            _write(block, place, answer)
    return block


def _number(state: ShardState, names: list[str]) -> list[int]:
    """The frames' source numbers; all that are known are heard now."""
    known, rows, time_us = state.sources.numbers, state.sources.rows, state.time_us
    numbers = []
    for name in names:
        number = known.get(name)
        if number is None:
            number = state.sources.number(name, time_us)
        numbers.append(NO_ROOM if number is None else number)
    for number in set(numbers) - {NO_ROOM}:
        rows[number].arrival_us = time_us
    return numbers


def _judge(state: ShardState, batch: FrameBatch, numbers: list[int]) -> list[int]:
    """What deduplication says of each frame."""
    deduplicator = state.deduplicator

    def judge_one(place: int) -> int:
        if numbers[place] == NO_ROOM:
            return Reason.TOO_MANY_SOURCES
        return deduplicator.judge(numbers[place], batch.frame(place))

    lanes = np.array(deduplicator.numbers_of(numbers), np.int64)
    lanes[list(batch.whole)] = NO_LANE  # they may have a key, or no identity at all
    return deduplicator.judge_all(lanes, batch.start_us, batch.nonce, batch.seq, batch.content_hash, judge_one)


def _resolve(
    state: ShardState, batch: FrameBatch, sources: list[int], verdicts: list[int]
) -> tuple[list[Answer], list[int]]:
    """The answer for each frame's dictionary, and the slots that came new with them."""
    resolver = state.resolver
    resolver.make_room()
    kept = resolver.answers
    answers: list[Answer] = []
    new_slots: list[int] = []
    for place, (source, known, verdict) in enumerate(zip(sources, batch.dictionaries, verdicts, strict=True)):
        answer = kept.get((source, known.block)) if known is not None and verdict == Reason.OK else None
        if answer is None:
            frame = batch.frame(place)
            answer = resolver.resolve(source, frame) if verdict == Reason.OK else resolver.peek(frame)
            new_slots.extend(answer.new_slots)
        answers.append(answer)
    return answers, new_slots


@numba.njit(cache=True)  # type: ignore[misc]
def _spread(
    starts: I64, place: I64, sources: I32, received_us: I64, tag: U32, pool_slots: I32, pool_hashes: U64,
    slot: I32, path_hash: U64, source: I32, row_received_us: I64,
) -> None:  # fmt: skip
    """Frames (f,) to rows (n,): source and receipt of all, slot and hash where the answer is in the pool."""
    for i in range(len(place)):
        for row in range(starts[i], starts[i + 1]):
            source[row] = sources[i]
            row_received_us[row] = received_us[i]
            if place[i] >= 0:
                slot[row] = pool_slots[place[i] + tag[row]]
                path_hash[row] = pool_hashes[place[i] + tag[row]]


def _write(block: Block, place: int, answer: Answer) -> None:
    """One frame's rows, out of an answer that is not in the pool."""
    batch, verdict = block.batch, block.verdicts[place]
    rows = slice(int(batch.starts[place]), int(batch.starts[place + 1]))
    tag = batch.tag[rows]
    block.slot[rows], block.hash[rows] = answer.slots[tag], answer.hashes[tag]
    if verdict != Reason.OK:
        block.reason[rows] = verdict
    elif answer.codes is not None or not answer.clean:
        block.value[rows], block.reason[rows] = state_codes(answer, batch.frame(place))
