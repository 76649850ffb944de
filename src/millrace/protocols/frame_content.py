"""The content of a frame: readings as columns, their dictionary, the door's rejects, the Idempotency-Key.

    head_len u16 · flags u8 · widths u8 · scale u8 · base_ts i64
    readings u32 · dictionary_len u32 · body_len u32 · rejects_len u32 · rejects_raw u32 · rejects u32
    key_len u16 · (fields of later versions: skipped by `head_len`)
    key · dictionary block · body · rejects

Body: tag index, time offset, value, quality, one column after the other, each in the smallest width that is
exact, compressed where it pays. Widths: bits 0-1 tag (u8, u16, u32), bits 2-3 time (u16, u32, i64 offset
from `base_ts`), bits 4-5 value (`value_column`), bit 6 whether there is a quality column (else all are 192),
bit 7 whether a decimal column has gaps.
Rejects: (index u32, reason u8, ts_us i64, length u16) for each, then the payloads.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

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
    Reason,
    Rows,
    ValueKind,
)
from millrace.errors import ProtocolError
from millrace.protocols import dictionary, value_column, zstd_block
from millrace.protocols.limits import KEY_LENGTH_MAX


class _Head(NamedTuple):
    head_len: int
    flags: int
    widths: int
    scale: int
    base_ts: int
    readings: int
    block_len: int
    body_len: int
    rejects_len: int
    rejects_raw: int
    reject_count: int
    key_len: int


_HEAD: Final = struct.Struct("<HBBBqIIIIIIH")
_BODY_ZSTD: Final = 1
_REJECTS_ZSTD: Final = 2
_KNOWN_FLAGS: Final = _BODY_ZSTD | _REJECTS_ZSTD

BODY_ZSTD_FROM_BYTES: Final = 16_384  # below, zstd saves an eighth and costs ten times what the kernels do
_REJECTS_ZSTD_FROM_BYTES: Final = 256
_PAYS: Final = 0.9
_HAS_QUALITY: Final = 64
_HAS_GAPS: Final = 128
REJECTS_BYTES_MAX: Final = 8 * 1024**2
"""Raw bytes of one frame's rejects."""

_TIME_MAX_US: Final = 2**61  # offsets and sums of times stay inside an int64

_TAG: Final = (np.dtype("<u1"), np.dtype("<u2"), np.dtype("<u4"))
_TIME: Final = (np.dtype("<u2"), np.dtype("<u4"), np.dtype("<i8"))
_REJECT: Final = np.dtype([("index", "<u4"), ("reason", "u1"), ("ts_us", "<i8"), ("length", "<u2")])
_REASONS: Final = {int(reason): reason for reason in Reason if reason is not Reason.OK}


def pack(frame: Frame) -> bytes:
    """The content's bytes; ProtocolError when the columns do not fit each other or a bound."""
    block = frame.dictionary or dictionary.pack(frame.tags, frame.kinds, frame.states, frame.units)
    _check(frame, block)
    body, widths, scale, base_ts = _pack_body(frame)
    rejects = _pack_rejects(frame.rejects)
    body_packed = _pack_if_it_pays(body, BODY_ZSTD_FROM_BYTES)
    rejects_packed = _pack_if_it_pays(rejects, _REJECTS_ZSTD_FROM_BYTES)
    head = _HEAD.pack(
        _HEAD.size,
        _BODY_ZSTD * (body_packed is not body) | _REJECTS_ZSTD * (rejects_packed is not rejects),
        widths,
        scale,
        base_ts,
        len(frame.ts_us),
        len(block),
        len(body_packed),
        len(rejects_packed),
        len(rejects),
        len(frame.rejects),
        len(frame.key),
    )
    return b"".join((head, frame.key, block, body_packed, rejects_packed))


def _check(frame: Frame, block: bytes) -> None:
    n = len(frame.ts_us)
    if not n == len(frame.tag) == len(frame.value) == len(frame.quality):
        raise ProtocolError("bad_schema", "the frame's columns differ in length")
    if n > FRAME_READINGS_MAX or len(frame.rejects) > FRAME_READINGS_MAX:
        raise ProtocolError("too_many_readings", f"found {frame.count}, wanted {FRAME_READINGS_MAX} at most")
    if len(frame.key) > KEY_LENGTH_MAX:
        raise ProtocolError("bad_schema", f"a key of {len(frame.key)} bytes, at most {KEY_LENGTH_MAX}")
    if n and int(frame.tag.max()) >= len(frame.tags):
        raise ProtocolError("bad_schema", "a reading's tag is not in the dictionary")
    known = dictionary.parse(block)
    same_tags = known.tags is frame.tags or known.tags == frame.tags
    same_units = known.units is frame.units or known.units == (frame.units if any(frame.units) else ())
    same = same_tags and same_units and known.states == frame.states
    if not (same and np.array_equal(known.kinds, frame.kinds)):
        raise ProtocolError("bad_schema", "the dictionary's block is another dictionary's")
    if known.has_states:
        _check_states(frame.tag, frame.value, known)


def _pack_body(frame: Frame) -> tuple[bytes, int, int, int]:
    if not len(frame.ts_us):
        return b"", 0, 0, 0
    tag_code = 0 if len(frame.tags) <= 2**8 else 1 if len(frame.tags) <= 2**16 else 2
    base_ts, newest = int(frame.ts_us.min()), int(frame.ts_us.max())
    if not -_TIME_MAX_US <= base_ts <= newest <= _TIME_MAX_US:
        raise ProtocolError("bad_time", f"times from {base_ts} to {newest} us")
    span = newest - base_ts
    time_code = 0 if span < 2**16 else 1 if span < 2**32 else 2
    value = value_column.pack(frame.value)
    good = bool((frame.quality == QUALITY_GOOD).all())
    columns = (
        frame.tag.astype(_TAG[tag_code]).tobytes(),
        (frame.ts_us - base_ts).astype(_TIME[time_code]).tobytes(),
        value.data,
        b"" if good else frame.quality.tobytes(),
    )
    widths = tag_code | time_code << 2 | value.code << 4 | _HAS_QUALITY * (not good) | _HAS_GAPS * value.gaps
    return b"".join(columns), widths, value.scale, base_ts


def _pack_rejects(rejects: tuple[DoorReject, ...]) -> bytes:
    if not rejects:
        return b""
    rows = np.empty(len(rejects), _REJECT)
    payloads = [reject.payload[:REJECT_PAYLOAD_BYTES_MAX] for reject in rejects]
    for row, (reject, payload) in enumerate(zip(rejects, payloads, strict=True)):
        if int(reject.reason) not in _REASONS:
            raise ProtocolError("bad_schema", f"a reject without a reason: {reject}")
        rows[row] = (reject.index, reject.reason, reject.ts_us, len(payload))
    raw = rows.tobytes() + b"".join(payloads)
    if len(raw) > REJECTS_BYTES_MAX:
        raise ProtocolError("record_too_large", f"{len(raw)} bytes of rejects, at most {REJECTS_BYTES_MAX}")
    return raw


def _pack_if_it_pays(raw: bytes, from_bytes: int) -> bytes:
    if len(raw) < from_bytes:
        return raw
    packed = zstd_block.compress(raw)
    return packed if len(packed) < _PAYS * len(raw) else raw


def unpack(content: bytes, **envelope: Any) -> Frame:
    """The frame of a content whose hash was proven; `envelope` are the frame's other fields."""
    if len(content) < _HEAD.size:
        raise ProtocolError("truncated", f"a content of {len(content)} bytes")
    head = _Head._make(_HEAD.unpack_from(content))
    _check_head(head, len(content))
    block_at = head.head_len + head.key_len
    body_at = block_at + head.block_len
    rejects_at = body_at + head.body_len
    known = dictionary.parse(content[block_at:body_at])
    tag, ts_us, value, quality = _unpack_body(content[body_at:rejects_at], head, known)
    return Frame(
        tags=known.tags,
        kinds=known.kinds,
        tag=tag,
        ts_us=ts_us,
        value=value,
        quality=quality,
        states=known.states,
        rejects=_unpack_rejects(content[rejects_at:], head) if head.reject_count or head.rejects_len else (),
        key=content[head.head_len : block_at],
        dictionary=known.block,
        units=known.units,
        **envelope,
    )


def _check_head(head: _Head, size: int) -> None:
    parts = head.head_len + head.key_len + head.block_len + head.body_len + head.rejects_len
    if head.head_len < _HEAD.size or parts != size:
        raise ProtocolError("truncated", f"the content's parts are {parts} bytes, found {size}")
    if head.readings > FRAME_READINGS_MAX or head.reject_count > FRAME_READINGS_MAX:
        raise ProtocolError(
            "too_many_readings", f"{head.readings} and {head.reject_count} rejects in one frame"
        )
    if head.flags & ~_KNOWN_FLAGS or head.key_len > KEY_LENGTH_MAX:
        raise ProtocolError("unknown_version", f"flags {head.flags:#x}, a key of {head.key_len} bytes")
    if not -_TIME_MAX_US <= head.base_ts <= _TIME_MAX_US:
        raise ProtocolError("bad_time", f"a first time of {head.base_ts} us")


def _unpack_body(body: bytes, head: _Head, known: dictionary.Parsed) -> tuple[U32, I64, F64, U8]:
    n, widths = head.readings, head.widths
    tag_code, time_code, value_code = widths & 3, widths >> 2 & 3, widths >> 4 & 3
    if tag_code == 3 or time_code == 3:
        raise ProtocolError("bad_schema", f"widths {widths:#x}")
    tag_type, time_type = _TAG[tag_code], _TIME[time_code]
    time_at = n * tag_type.itemsize
    value_at = time_at + n * time_type.itemsize
    quality_at = value_at + n * value_column.width(value_code)
    size = quality_at + (n if widths & _HAS_QUALITY else 0)
    if head.flags & _BODY_ZSTD:
        body = zstd_block.inflate(body, size)
    if len(body) != size:
        raise ProtocolError("truncated", f"{n} readings need {size} bytes, found {len(body)}")
    tag = np.frombuffer(body, tag_type, n).astype(np.uint32)
    offset: Rows = np.frombuffer(body, time_type, n, time_at)
    value = value_column.unpack(body, value_at, n, value_code, head.scale, gaps=widths & _HAS_GAPS)
    quality = (
        _all_good(n) if not widths & _HAS_QUALITY else np.frombuffer(body, np.uint8, n, quality_at).copy()
    )
    if n:
        _check_body(tag, offset, value, known)
    return tag, offset + np.int64(head.base_ts), value, quality


def _all_good(n: int) -> U8:
    return np.full(n, QUALITY_GOOD, np.uint8)


def _check_body(tag: U32, offset: Rows, value: F64, known: dictionary.Parsed) -> None:
    if int(tag.max()) >= len(known.tags):
        raise ProtocolError(
            "bad_schema", f"a reading's tag is not among the {len(known.tags)} of the dictionary"
        )
    if offset.dtype == _TIME[2] and not 0 <= int(offset.min()) <= int(offset.max()) <= 2 * _TIME_MAX_US:
        raise ProtocolError("bad_time", "a time offset is out of range")
    if known.has_states:
        _check_states(tag, value, known)


def _check_states(tag: U32, value: F64, known: dictionary.Parsed) -> None:
    """A state's value is an index into the dictionary's texts, or a gap."""
    codes = value[known.kinds[tag] == ValueKind.STATE]
    codes = codes[~np.isnan(codes)]
    if len(codes) and not ((codes >= 0) & (codes < len(known.states)) & (codes == np.floor(codes))).all():
        raise ProtocolError("bad_schema", f"a state is not among the {len(known.states)} of the dictionary")


def _unpack_rejects(data: bytes, head: _Head) -> tuple[DoorReject, ...]:
    count, size = head.reject_count, head.rejects_raw
    if size > min(REJECTS_BYTES_MAX, count * (_REJECT.itemsize + REJECT_PAYLOAD_BYTES_MAX)):
        raise ProtocolError("compression_bomb", f"{count} rejects in {size} bytes")
    raw = zstd_block.inflate(data, size) if head.flags & _REJECTS_ZSTD else data
    payload_at = count * _REJECT.itemsize
    if len(raw) != size or size < payload_at:
        raise ProtocolError("truncated", f"{count} rejects do not fit into {len(raw)} bytes")
    rows = np.frombuffer(raw, _REJECT, count)
    if payload_at + int(rows["length"].sum(dtype=np.int64)) != size:
        raise ProtocolError("truncated", "the rejects' payloads are not as long as they say")
    rejects = []
    for index, code, ts_us, length in rows.tolist():
        if code not in _REASONS or length > REJECT_PAYLOAD_BYTES_MAX:
            raise ProtocolError("bad_schema", f"a reject with reason {code} and {length} bytes")
        rejects.append(DoorReject(index, _REASONS[code], raw[payload_at : payload_at + length], ts_us))
        payload_at += length
    return tuple(rejects)
