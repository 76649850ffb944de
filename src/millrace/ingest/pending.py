"""Readings of one source that wait to become frames: columns in, encoded frames out."""

from __future__ import annotations

import msgspec
import numpy as np

from millrace.batch import (
    F64,
    FRAME_READINGS_MAX,
    I64,
    QUALITY_GOOD,
    REJECT_PAYLOAD_BYTES_MAX,
    U8,
    U32,
    DoorReject,
    Frame,
    Incarnation,
    Reason,
)
from millrace.errors import ProtocolError
from millrace.protocols import frame as frame_codec
from millrace.protocols.dictionary import Dictionary

READING_BYTES = 21
"""Of a reading that waits: 4 + 8 + 8 + 1."""

Columns = tuple[U32, I64, F64, U8]


class Pending:
    """Not safe for several threads: the producer holds its lock."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.dictionary = Dictionary()
        self.rows = 0
        self._chunks: list[Columns] = []
        self._rejects: list[DoorReject] = []

    def add(self, tag: U32, ts_us: I64, value: F64, quality: U8 | None) -> None:
        """Columns (n,), copied; `tag` are indexes out of `dictionary`."""
        count = len(ts_us)
        if quality is None:
            quality = np.full(count, QUALITY_GOOD, np.uint8)
        self._chunks.append(
            (
                np.array(tag, np.uint32),
                np.array(ts_us, np.int64),
                np.array(value, np.float64),
                np.array(quality, np.uint8),
            )
        )
        self.rows += count

    def refuse(self, index: int, reason: str, reading: dict[str, object], ts_us: int) -> None:
        """A reading that no frame can hold travels as a reject of its frame."""
        payload = msgspec.json.encode(reading)[:REJECT_PAYLOAD_BYTES_MAX]
        self._rejects.append(DoorReject(index, Reason[reason.upper()], payload, ts_us))
        self.rows += 1

    def cut(self, incarnation: Incarnation, first_seq: int, readings_max: int) -> list[tuple[int, bytes]]:
        """(readings, bytes) of the frames that hold what waits, numbered from `first_seq`."""
        frame = self.frame(incarnation, first_seq)
        self.clear()
        readings_max = min(readings_max, FRAME_READINGS_MAX)
        made: list[tuple[int, bytes]] = []
        waiting = [frame]
        while waiting:
            frame = waiting.pop()
            frame.seq = first_seq + len(made)
            if len(frame.ts_us) > readings_max:
                waiting += reversed(_pieces(frame, readings_max))
                continue
            data = _encoded(frame)
            if data is None:
                waiting += reversed(_pieces(frame, (len(frame.ts_us) + 1) // 2))
            else:
                made.append((frame.count, data))
        return made

    def clear(self) -> None:
        """What waited has become frames."""
        self._chunks, self._rejects, self.rows = [], [], 0

    def frame(self, incarnation: Incarnation, seq: int) -> Frame:
        """All that waits as one frame, however large; it still waits."""
        parsed = self.dictionary.parsed()
        tag, ts_us, value, quality = _joined(self._chunks)
        return Frame(
            source=self.source,
            incarnation=incarnation,
            seq=seq,
            received_ts_us=0,
            tags=parsed.tags,
            kinds=parsed.kinds,
            tag=tag,
            ts_us=ts_us,
            value=value,
            quality=quality,
            states=parsed.states,
            rejects=tuple(self._rejects),
            dictionary=parsed.block,
            units=parsed.units,
        )


def _joined(chunks: list[Columns]) -> Columns:
    if len(chunks) == 1:
        return chunks[0]
    if not chunks:
        return np.zeros(0, np.uint32), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.uint8)
    tag, ts_us, value, quality = (np.concatenate(column) for column in zip(*chunks, strict=True))
    return tag, ts_us, value, quality


def _pieces(frame: Frame, size: int) -> list[Frame]:
    """The frame's readings in order, `size` a piece; the rejects go with the first."""
    pieces = []
    for start in range(0, len(frame.ts_us), size):
        rows = slice(start, start + size)
        piece = Frame(
            frame.source, frame.incarnation, 0, 0, frame.tags, frame.kinds,
            frame.tag[rows], frame.ts_us[rows], frame.value[rows], frame.quality[rows],
            states=frame.states, dictionary=frame.dictionary, rejects=() if start else frame.rejects,
            units=frame.units,
        )  # fmt: skip
        pieces.append(piece)
    return pieces


def _encoded(frame: Frame) -> bytes | None:
    """The frame's bytes; None when it must be cut smaller."""
    try:
        return frame_codec.encode(frame)
    except ProtocolError as error:
        if error.reason != "record_too_large":
            raise
    try:
        return frame_codec.encode(_only_used_tags(frame))
    except ProtocolError as error:
        if error.reason != "record_too_large" or len(frame.ts_us) < 2:
            raise
        return None


def _only_used_tags(frame: Frame) -> Frame:
    """The same readings with a dictionary of their own tags: for when the whole dictionary is too large."""
    used, tag = np.unique(frame.tag, return_inverse=True)
    tags = tuple(frame.tags[index] for index in used.tolist())
    return Frame(
        frame.source, frame.incarnation, frame.seq, 0, tags, frame.kinds[used],
        tag.astype(np.uint32), frame.ts_us, frame.value, frame.quality,
        states=frame.states, rejects=frame.rejects,
        units=tuple(frame.units[index] for index in used.tolist()) if frame.units else (),
    )  # fmt: skip
