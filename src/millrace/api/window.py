"""The raw readings of one shard over the newest minutes, held so that one tag's are found at once.

Blobs arrive small (a batch each); about 64k rows of them are made into a chunk: sorted by slot, in the
narrowest types that are exact, 10–17 bytes a reading. A tag's readings in a chunk are then a slice.
Each row remembers its blob, so that a reader can ask for what lies behind a position (where the archive ends)
and a new owner's cut can take back what it is about to say again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.batch import F64, I32, I64, U8, Bool
from millrace.schema.live import LiveBlob

CHUNK_ROWS = 65_535  # a row's place in its chunk fits uint16
CHUNK_BLOBS = 4_096
EMPTY_TIME = np.zeros(0, np.int64)


@dataclass(slots=True)
class Readings:
    """Readings of one tag, in order of arrival, (n,): ts_us int64, value float64, quality and late uint8."""

    ts_us: I64
    value: F64
    quality: U8
    late: U8

    @classmethod
    def none(cls) -> Readings:
        return cls(EMPTY_TIME, np.zeros(0), np.zeros(0, np.uint8), np.zeros(0, np.uint8))

    @classmethod
    def joined(cls, parts: list[Readings]) -> Readings:
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.none()
        return cls(
            np.concatenate([part.ts_us for part in parts]),
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.quality for part in parts]),
            np.concatenate([part.late for part in parts]),
        )

    def where(self, keep: npt.NDArray[Any]) -> Readings:
        """Rows by mask or index."""
        return Readings(self.ts_us[keep], self.value[keep], self.quality[keep], self.late[keep])

    def __len__(self) -> int:
        return len(self.ts_us)


@dataclass(slots=True)
class Stamp:
    """What is kept of a blob once its rows are in a chunk. `turn`: the follower's own count."""

    first_position: int
    position: int
    received_us: int
    turn: int
    end: int  # rows of the chunk up to and with this blob


@dataclass(slots=True)
class Chunk:
    """Rows sorted by slot; `order` is a row's place in order of arrival."""

    slot: npt.NDArray[Any]
    base_us: int
    offset: npt.NDArray[Any]
    value: npt.NDArray[Any]
    quality: U8 | None
    late: U8 | None
    order: npt.NDArray[Any]
    stamps: list[Stamp]

    @property
    def nbytes(self) -> int:
        arrays = (self.slot, self.offset, self.value, self.order)
        extra = sum(len(self.slot) for column in (self.quality, self.late) if column is not None)
        return sum(array.nbytes for array in arrays) + extra + 120 * len(self.stamps)

    def of_slot(self, slot: int) -> slice:
        low, high = np.searchsorted(self.slot, (slot, slot + 1))
        return slice(int(low), int(high))

    def rows(self, at: slice | npt.NDArray[Any]) -> Readings:
        """Rows in their full types."""
        ts_us = self.offset[at].astype(np.int64) + self.base_us
        quality = np.full(len(ts_us), 192, np.uint8) if self.quality is None else self.quality[at]
        late = np.zeros(len(ts_us), np.uint8) if self.late is None else self.late[at]
        return Readings(ts_us, self.value[at].astype(np.float64), quality, late)


@dataclass(slots=True)
class _Open:
    """Blobs that are not yet a chunk."""

    blobs: list[LiveBlob] = field(default_factory=list)
    stamps: list[Stamp] = field(default_factory=list)
    rows: int = 0


class Window:
    """Raw readings of one shard. One thread writes; readers hold the follower's lock.

    `complete_from`: every reading of a position above it (and up to the newest) is here.
    """

    def __init__(self, bytes_max: int, age_max_us: int) -> None:
        self._bytes_max, self._age_max_us = bytes_max, age_max_us
        self._chunks: deque[Chunk] = deque()
        self._open = _Open()
        self._chunk_bytes = 0
        self.complete_from = 0
        self.complete_since_us = 0  # every reading received since is here
        self.position = 0
        self.epoch = -1
        self._passed_over = 0  # position of the newest blob that was

    @property
    def nbytes(self) -> int:
        return self._chunk_bytes + 22 * self._open.rows

    def __len__(self) -> int:
        return self._open.rows + sum(len(chunk.slot) for chunk in self._chunks)

    def add(self, blob: LiveBlob, turn: int) -> bool:
        """Take a blob; what is held from its first position on is dropped. False: it is an old owner's."""
        if blob.epoch < self.epoch:
            return False
        if not blob.part:
            self._join(blob)
        if self._open.rows + len(blob) > CHUNK_ROWS or len(self._open.blobs) >= CHUNK_BLOBS:
            self._close_chunk()
        self._open.rows += len(blob)
        self._open.blobs.append(blob)
        self._open.stamps.append(
            Stamp(blob.first_position, blob.position, blob.received_us or blob.time_us, turn, self._open.rows)
        )
        self.position, self.epoch = blob.position, blob.epoch
        self._expire(blob.time_us)
        return True

    def pass_over(self, blob: LiveBlob) -> bool:
        """Leave a blob out that an owner says again, to a store that had lost it, and all of which is here. Its further
        parts, of the same positions, share its fate."""
        if blob.received_us or blob.epoch < self.epoch:
            return False
        if not blob.part:
            is_here = self.complete_from < blob.first_position and blob.position <= self.position
            self._passed_over = blob.position if is_here else 0
        if blob.position != self._passed_over:
            return False
        self.epoch = blob.epoch
        return True

    def _join(self, blob: LiveBlob) -> None:
        """Make room for a blob that says again what is held; after a hole promise from the blob on only."""
        again = self.position > 0 and blob.first_position <= self.position
        if again:
            self._drop_from(blob.first_position)
            self.complete_from = min(self.complete_from, blob.first_position - 1)
        elif self.position == 0 or blob.previous != self.position:
            self.complete_from = blob.first_position - 1
        if not blob.received_us or not (again or blob.previous == self.position):
            self.complete_since_us = max(self.complete_since_us, blob.received_us or blob.time_us)

    def _drop_from(self, position: int) -> None:
        """Take back all rows of blobs at or above a position."""
        kept = [b for b in self._blobs_of_open() if b[1].position < position]
        self._open = _Open()
        while self._chunks and self._chunks[-1].stamps[-1].position >= position:
            chunk = self._chunks.pop()
            self._chunk_bytes -= chunk.nbytes
            self._keep_head(chunk, position)
        for blob, stamp in kept:
            self._open.rows += len(blob)
            self._open.blobs.append(blob)
            self._open.stamps.append(
                Stamp(stamp.first_position, stamp.position, stamp.received_us, stamp.turn, self._open.rows)
            )
        stamps = self._open.stamps or (self._chunks[-1].stamps if self._chunks else [])
        self.position = stamps[-1].position if stamps else 0

    def _blobs_of_open(self) -> Iterator[tuple[LiveBlob, Stamp]]:
        return zip(self._open.blobs, self._open.stamps, strict=True)

    def _keep_head(self, chunk: Chunk, position: int) -> None:
        """Put the part of a chunk that lies before a position back."""
        stamps = chunk.stamps[: bisect_left(chunk.stamps, position, key=lambda stamp: stamp.position)]
        if not stamps:
            return
        keep = chunk.order < stamps[-1].end
        head = Chunk(
            chunk.slot[keep],
            chunk.base_us,
            chunk.offset[keep],
            chunk.value[keep],
            None if chunk.quality is None else chunk.quality[keep],
            None if chunk.late is None else chunk.late[keep],
            chunk.order[keep],
            stamps,
        )
        self._chunks.append(head)
        self._chunk_bytes += head.nbytes

    def _close_chunk(self) -> None:
        if not self._open.blobs:
            return
        chunk = _chunk(self._open)
        self._chunks.append(chunk)
        self._chunk_bytes += chunk.nbytes
        self._open = _Open()

    def _expire(self, now_us: int) -> None:
        while self._chunks and (
            self.nbytes > self._bytes_max or self._newest_us(self._chunks[0]) < now_us - self._age_max_us
        ):
            chunk = self._chunks.popleft()
            self._chunk_bytes -= chunk.nbytes
            if chunk.stamps[-1].position > self.complete_from:
                self.complete_from = chunk.stamps[-1].position
                self.complete_since_us = max(self.complete_since_us, self._newest_us(chunk))

    @staticmethod
    def _newest_us(chunk: Chunk) -> int:
        return max(stamp.received_us for stamp in chunk.stamps[-8:])

    def tag(self, slot: int, after_position: int = 0, behind: int | None = None) -> tuple[Readings, Readings]:
        """A tag's readings above a position, in order of arrival: (of blobs up to `behind`, of those behind it).

        The first are also the readings of a blob that straddles a position: a window that was published again.
        Without `behind` these are the only ones.
        """
        behind = after_position if behind is None else behind
        pairs = [_of_chunk(chunk, slot, after_position, behind) for chunk in self._chunks]
        if self._open.blobs:
            low, high = _bounds(self._open.stamps, after_position, behind)
            blobs = self._open.blobs
            pairs.append((_of_blobs(blobs[low:high], slot), _of_blobs(blobs[high:], slot)))
        straddling = Readings.joined([pair[0] for pair in pairs if len(pair[0])])
        return straddling, Readings.joined([pair[1] for pair in pairs if len(pair[1])])

    def since_turn(self, turn: int, mask: Bool) -> list[tuple[int, I32, Readings]]:
        """(turn, slots, rows) of the masked slots, blob by blob, for turns above `turn`, in order."""
        out: list[tuple[int, I32, Readings]] = []
        for chunk in self._chunks:
            if chunk.stamps[-1].turn > turn:
                out += _by_turn(_unsorted(chunk), chunk.stamps, turn, mask)
        if self._open.blobs and self._open.stamps[-1].turn > turn:
            out += _by_turn(_concatenated(self._open.blobs), self._open.stamps, turn, mask)
        return out

    def first_position_above(self, position: int) -> int:
        """Where the first blob begins that reaches above a position; 0: there is none."""
        for stamps in (*(chunk.stamps for chunk in self._chunks), self._open.stamps):
            if stamps and stamps[-1].position > position:
                return stamps[bisect_right(stamps, position, key=lambda stamp: stamp.position)].first_position
        return 0

    @property
    def oldest_turn(self) -> int:
        """The oldest turn of which anything is held; 0: nothing."""
        if self._chunks:
            return self._chunks[0].stamps[0].turn
        return self._open.stamps[0].turn if self._open.stamps else 0


def _concatenated(blobs: list[LiveBlob]) -> tuple[I32, Readings]:
    return np.concatenate([blob.slot for blob in blobs]), Readings(
        np.concatenate([blob.ts_us for blob in blobs]),
        np.concatenate([blob.value for blob in blobs]),
        np.concatenate([blob.quality for blob in blobs]),
        np.concatenate([blob.late for blob in blobs]),
    )


def _unsorted(chunk: Chunk) -> tuple[I32, Readings]:
    """A chunk's rows in order of arrival."""
    at = np.argsort(chunk.order, kind="stable")
    return chunk.slot[at].astype(np.int32), chunk.rows(at)


def _by_turn(
    rows: tuple[I32, Readings], stamps: list[Stamp], turn: int, mask: Bool
) -> list[tuple[int, I32, Readings]]:
    slot, readings = rows
    wanted = mask[np.minimum(slot, len(mask) - 1)] & (slot < len(mask)) if len(mask) else slot < 0
    out, start = [], 0
    for stamp in stamps:
        end, at = stamp.end, slice(start, stamp.end)
        start = end
        if stamp.turn > turn and wanted[at].any():
            picked = np.flatnonzero(wanted[at]) + at.start
            out.append((stamp.turn, slot[picked], readings.where(picked)))
    return out


def _bounds(stamps: list[Stamp], after_position: int, behind: int) -> tuple[int, int]:
    """Where the blobs begin that reach above a position, and those that lie wholly behind another."""
    low = bisect_right(stamps, after_position, key=lambda stamp: stamp.position)
    high = bisect_right(stamps, behind, key=lambda stamp: stamp.first_position)
    return low, max(low, high)


def _of_chunk(chunk: Chunk, slot: int, after_position: int, behind: int) -> tuple[Readings, Readings]:
    stamps = chunk.stamps
    if stamps[-1].position <= after_position:
        return Readings.none(), Readings.none()
    at = chunk.of_slot(slot)
    rows = chunk.rows(at)
    if stamps[0].first_position > behind:
        return Readings.none(), rows
    low, high = _bounds(stamps, after_position, behind)
    first, middle = (stamps[i - 1].end if i else 0 for i in (low, high))
    order = chunk.order[at]
    return rows.where((order >= first) & (order < middle)), rows.where(order >= middle)


def _of_blobs(blobs: list[LiveBlob], slot: int) -> Readings:
    """A tag's rows of small blobs, one comparison over all of them."""
    if not blobs:
        return Readings.none()
    slots, rows = _concatenated(blobs)
    return rows.where(slots == slot)


def _chunk(opened: _Open) -> Chunk:
    slot, rows = _concatenated(opened.blobs)
    narrow_slot = slot.astype(np.uint16) if not len(slot) or slot.max() <= 0xFFFF else slot
    order = np.argsort(narrow_slot, kind="stable")
    base_us = int(rows.ts_us.min()) if len(slot) else 0
    offset = rows.ts_us - base_us
    with np.errstate(over="ignore"):
        value = rows.value.astype(np.float32)
    return Chunk(
        slot=narrow_slot[order],
        base_us=base_us,
        offset=(offset.astype(np.uint32) if not len(slot) or offset.max() <= 0xFFFF_FFFF else offset)[order],
        value=(value if np.array_equal(value, rows.value, equal_nan=True) else rows.value)[order],
        quality=None if (rows.quality == 192).all() else rows.quality[order],
        late=None if not rows.late.any() else rows.late[order],
        order=order.astype(np.uint16 if len(order) <= CHUNK_ROWS + 1 else np.uint32),
        stamps=opened.stamps,
    )
