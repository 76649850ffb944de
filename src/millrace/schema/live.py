"""What the real-time store holds: one blob per shard and batch, one of latest values, one of the tag table.

The worker's fast path writes them (`sinks/redis.py`), the API follows them (`api/live.py`).

A live blob is a fixed header, then columns, then MessagePack for what is rare (new tags, anomalies, alarms).
Columns take the smallest type that is exact: slot uint16 or int32, time as uint32 or int64 microseconds
from the batch's oldest, value float32 or float64; quality and late are left out when all are 192 and 0.
A blob covers the positions `first_position … position` of its shard, whole records only. A reader that is
given a blob drops what it holds of the shard from `first_position` on: that is how a new owner's cut, or a
window published again after a loss, replaces what was there without a double.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
import numpy as np
import zstandard

from millrace.batch import CLOSED, F64, I32, I64, U8, TagInfo
from millrace.errors import ProtocolError
from millrace.schema.live_columns import pack_columns, take_newer, unpack_columns

BLOB_FIELD: Final = b"b"
"""The one field of an entry of a shard's live log."""

_MAGIC: Final = b"MRL1"
_LATEST_MAGIC: Final = b"MRLV"
_TAGS_MAGIC: Final = b"MRLT"
_POSITION_BYTES: Final = 26  # 60 digits take 200 bits
_HEADER: Final = struct.Struct("<4sBBHqqqqII")
_LATEST_HEADER: Final = struct.Struct("<4sHqqI")
_TAGS_INFLATED_MAX: Final = 256 * 1024**2
_DIGITS: Final = 60


def tags_key(latest_key: str) -> str:
    """Key of a shard's tag table, beside its latest values."""
    return latest_key + ":tags"


def fence(epoch: int, position: int) -> str:
    """(epoch, position) as text of fixed width, so that the server can compare it as text."""
    return f"{epoch:020d}:{position:0{_DIGITS}d}"


def fence_position(text: str) -> int:
    """The position in a fence's text."""
    return int(text.split(":")[1])


class AnomalyEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An anomaly as it opened, grew or closed. `path` is empty where it concerns a whole source."""

    id: str
    path: str
    source: str
    detector: str
    kind: int  # batch.OPENED, CLOSED, CLOSED_DETECTOR_CHANGED
    start_us: int
    end_us: int
    score: float
    value: float | None
    expected: float | None


class AlarmEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm as it was raised or returned to normal."""

    id: str
    path: str
    source: str
    rule: str
    kind: int
    start_us: int
    ts_us: int
    value: float | None
    limit: float | None

    @property
    def open(self) -> bool:
        return self.kind != CLOSED


class _Rare(msgspec.Struct, omit_defaults=True):
    """What most blobs do not have."""

    tags: list[TagInfo] = []
    anomalies: list[AnomalyEvent] = []
    alarms: list[AlarmEvent] = []


@dataclass(slots=True)
class LiveBlob:
    """One batch of one shard. `previous` is the writer's blob before (0: none), so that a reader sees a hole.

    Columns (n,): slot, ts_us, value, quality, late. `part` above 0: more of the blob before, same positions.
    """

    shard: int
    epoch: int
    first_position: int
    position: int
    previous: int
    time_us: int
    received_us: int
    slot: I32
    ts_us: I64
    value: F64
    quality: U8
    late: U8
    tags: list[TagInfo] = field(default_factory=list)
    anomalies: list[AnomalyEvent] = field(default_factory=list)
    alarms: list[AlarmEvent] = field(default_factory=list)
    part: int = 0

    def __len__(self) -> int:
        return len(self.slot)

    def events(self) -> LiveBlob:
        """The same without its readings."""
        nothing = slice(0)
        return replace(
            self, slot=self.slot[nothing], ts_us=self.ts_us[nothing], value=self.value[nothing],
            quality=self.quality[nothing], late=self.late[nothing],
        )  # fmt: skip


@dataclass(slots=True)
class Latest:
    """Latest value per slot, (k,) each; `ts_us` 0: never had one."""

    ts_us: I64
    value: F64
    quality: U8

    @classmethod
    def of_size(cls, count: int) -> Latest:
        return cls(np.zeros(count, np.int64), np.full(count, np.nan), np.zeros(count, np.uint8))

    def grown(self, count: int) -> Latest:
        """The same with room for at least `count` slots."""
        have = len(self.ts_us)
        if count <= have:
            return self
        larger = Latest.of_size(max(count, have * 2, 64))
        larger.ts_us[:have], larger.value[:have], larger.quality[:have] = self.ts_us, self.value, self.quality
        return larger

    def take(self, slot: I32, ts_us: I64, value: F64, quality: U8, late: U8) -> Latest:
        """The same with readings in order of arrival; what is newer stays, late ones change nothing."""
        if not len(slot):
            return self
        roomy = self.grown(int(slot.max()) + 1)
        take_newer(slot, ts_us, value, quality, late, roomy.ts_us, roomy.value, roomy.quality)
        return roomy


def encode(blob: LiveBlob) -> bytes:
    """Bytes of a blob."""
    base_us, columns, flags = pack_columns((blob.slot, blob.ts_us, blob.value, blob.quality, blob.late))
    rare = b""
    if blob.tags or blob.anomalies or blob.alarms:
        rare = _rare_encoder.encode(_Rare(blob.tags, blob.anomalies, blob.alarms))
    header = _HEADER.pack(
        _MAGIC,
        flags,
        blob.part,
        blob.shard,
        blob.epoch,
        blob.time_us,
        blob.received_us,
        base_us,
        len(blob.slot),
        len(rare),
    )
    positions = [p.to_bytes(_POSITION_BYTES, "big") for p in (blob.first_position, blob.position, blob.previous)]
    return b"".join([header, *positions, *(column.data for column in columns), rare])


def decode(data: bytes) -> LiveBlob:
    """A blob out of its bytes; ProtocolError when it is none."""
    try:
        return _decode(data)
    except (struct.error, ValueError, msgspec.DecodeError) as error:
        raise ProtocolError("bad_syntax", f"a live blob that cannot be read: {error}") from None


def _decode(data: bytes) -> LiveBlob:
    fields = _HEADER.unpack_from(data)
    magic, flags, part, shard, epoch, time_us, received_us, base_us, count, rare_length = fields
    if magic != _MAGIC:
        raise ProtocolError("unknown_version", f"a live blob begins with {magic!r}, wanted {_MAGIC!r}")
    at = _HEADER.size
    first, position, previous = (_position(data, at + i * _POSITION_BYTES) for i in range(3))
    at += 3 * _POSITION_BYTES
    slot, ts_us, value, quality, late, at = unpack_columns(data, at, count, flags, base_us)
    if len(data) != at + rare_length:
        raise ProtocolError("truncated", f"a live blob of {len(data)} bytes, wanted {at + rare_length}")
    rare = _rare_decoder.decode(memoryview(data)[at:]) if rare_length else _NOTHING_RARE
    return LiveBlob(
        shard,
        epoch,
        first,
        position,
        previous,
        time_us,
        received_us,
        slot,
        ts_us,
        value,
        quality,
        late,
        rare.tags,
        rare.anomalies,
        rare.alarms,
        part,
    )


def _position(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + _POSITION_BYTES], "big")


def encode_latest(shard: int, epoch: int, position: int, time_us: int, latest: Latest, count: int) -> bytes:
    """Bytes of the latest values of slots 0 … count - 1."""
    header = _LATEST_HEADER.pack(_LATEST_MAGIC, shard, epoch, time_us, count)
    return b"".join(
        [
            header,
            position.to_bytes(_POSITION_BYTES, "big"),
            latest.ts_us[:count].tobytes(),
            latest.value[:count].tobytes(),
            latest.quality[:count].tobytes(),
        ]
    )


@dataclass(slots=True)
class LatestBlob:
    """Latest values of a shard as published at a position."""

    shard: int
    epoch: int
    position: int
    time_us: int
    latest: Latest


def decode_latest(data: bytes) -> LatestBlob:
    """Latest values out of their bytes; ProtocolError when it is none."""
    try:
        magic, shard, epoch, time_us, count = _LATEST_HEADER.unpack_from(data)
        if magic != _LATEST_MAGIC:
            raise ValueError(f"begins with {magic!r}, wanted {_LATEST_MAGIC!r}")
        at = _LATEST_HEADER.size
        position = _position(data, at)
        at += _POSITION_BYTES
        ts_us = np.frombuffer(data, np.int64, count, at).copy()
        value = np.frombuffer(data, np.float64, count, at + 8 * count).copy()
        quality = np.frombuffer(data, np.uint8, count, at + 16 * count).copy()
    except (struct.error, ValueError) as error:
        raise ProtocolError("bad_syntax", f"latest values that cannot be read: {error}") from None
    return LatestBlob(shard, epoch, position, time_us, Latest(ts_us, value, quality))


def encode_tags(tags: Sequence[TagInfo]) -> bytes:
    """Bytes of a shard's tag table."""
    return _TAGS_MAGIC + zstandard.compress(_tags_encoder.encode(list(tags)), 1)


def decode_tags(data: bytes) -> list[TagInfo]:
    """A shard's tag table out of its bytes; ProtocolError when it is none."""
    try:
        if data[:4] != _TAGS_MAGIC:
            raise ValueError(f"begins with {data[:4]!r}, wanted {_TAGS_MAGIC!r}")
        plain = zstandard.ZstdDecompressor().decompress(data[4:], max_output_size=_TAGS_INFLATED_MAX)
        return _tags_decoder.decode(plain)
    except (ValueError, zstandard.ZstdError, msgspec.DecodeError) as error:
        raise ProtocolError("bad_syntax", f"a tag table that cannot be read: {error}") from None


_rare_encoder = msgspec.msgpack.Encoder()
_rare_decoder = msgspec.msgpack.Decoder(_Rare)
_tags_encoder = msgspec.msgpack.Encoder()
_tags_decoder = msgspec.msgpack.Decoder(list[TagInfo])
_NOTHING_RARE = _Rare()
