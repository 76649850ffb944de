"""What an Arrow IPC stream would become in memory, read out of its metadata before anything is inflated.

Arrow inflates each buffer to the length that the sender wrote before it. So we look first: a Message's header
is a flatbuffer, its RecordBatch lists (offset, length) of its buffers in the body, a compressed buffer begins
with its raw length (i64, -1: stored). Source: Apache Arrow columnar format, "IPC" and `Message.fbs`.
pyarrow has verified the flatbuffers when it hands a message out; we bound every read all the same.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from millrace.errors import ProtocolError
from millrace.protocols.limits import Limits

_MESSAGES_MAX: Final = 4_096
_BUFFERS_MAX: Final = 64  # five columns, three buffers each, with room for what we refuse later
_BATCH_TYPES: Final = {3: "record batch", 2: "dictionary"}
_U16: Final = struct.Struct("<H")
_I32: Final = struct.Struct("<i")
_U32: Final = struct.Struct("<I")
_I64: Final = struct.Struct("<q")


def check(body: bytes, limits: Limits) -> None:
    """ProtocolError unless all batches together stay within `bytes_max` bytes and `readings_max` rows."""
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(body))
    rows = size = 0
    for _ in range(_MESSAGES_MAX):
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        if message.type in _BATCH_TYPES.values():
            batch = _batch(message.metadata.to_pybytes())
            inflated = _inflated_bytes(batch, message.body)
            size += inflated
            # a dictionary has its own rows; as many tags as readings is the most that makes sense
            rows = max(rows, batch.rows) if message.type == "dictionary" else rows + batch.rows
        if size > limits.bytes_max:
            raise ProtocolError("compression_bomb", f"the batches inflate beyond {limits.bytes_max} bytes")
        if not 0 <= rows <= limits.readings_max:
            raise ProtocolError("too_many_readings", f"found {rows}, wanted {limits.readings_max} at most")
    raise ProtocolError("too_many_readings", f"more than {_MESSAGES_MAX} messages in one stream")


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: int
    compressed: bool
    buffers: tuple[tuple[int, int], ...]  # (offset, length) in the message's body


class _Table:
    """A flatbuffer table: fields by number, each read in bounds or refused."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        self._vtable = at - self._read(_I32, at)
        self._vtable_length = self._read(_U16, self._vtable)

    def _read(self, kind: struct.Struct, at: int) -> int:
        if not 0 <= at <= len(self._data) - kind.size:
            raise ProtocolError("bad_syntax", "an Arrow message points out of itself")
        return int(kind.unpack_from(self._data, at)[0])

    def place(self, field: int) -> int | None:
        """Where the field's value is; None when the table has none."""
        entry = 4 + 2 * field
        if entry + 2 > self._vtable_length:
            return None
        offset = self._read(_U16, self._vtable + entry)
        return self._at + offset if offset else None

    def integer(self, field: int) -> int:
        at = self.place(field)
        return 0 if at is None else self._read(_I64, at)

    def table(self, field: int) -> _Table:
        at = self.place(field)
        if at is None:
            raise ProtocolError("bad_syntax", f"an Arrow message without its field {field}")
        return _Table(self._data, at + self._read(_U32, at))

    def pairs(self, field: int) -> tuple[tuple[int, int], ...]:
        """A vector of structs of two i64."""
        at = self.place(field)
        if at is None:
            return ()
        at += self._read(_U32, at)
        count = self._read(_U32, at)
        if count > _BUFFERS_MAX:
            raise ProtocolError("bad_schema", f"a batch of {count} buffers: more columns than a reading has")
        starts = range(at + 4, at + 4 + 16 * count, 16)
        return tuple((self._read(_I64, start), self._read(_I64, start + 8)) for start in starts)


def _batch(metadata: bytes) -> _Batch:
    root = _I32.size  # the root's offset, then the root
    if len(metadata) < root:
        raise ProtocolError("truncated", "an Arrow message without metadata")
    message = _Table(metadata, _U32.unpack_from(metadata)[0])
    kind_at = message.place(1)
    kind = metadata[kind_at] if kind_at is not None and kind_at < len(metadata) else 0
    header = message.table(2)
    batch = header.table(1) if _BATCH_TYPES.get(kind) == "dictionary" else header
    return _Batch(batch.integer(0), batch.place(3) is not None, batch.pairs(2))


def _inflated_bytes(batch: _Batch, body: pa.Buffer | None) -> int:
    body_size = 0 if body is None else body.size
    if batch.rows < 0:
        raise ProtocolError("bad_syntax", f"a batch of {batch.rows} rows")
    size = 0
    for offset, length in batch.buffers:
        if offset < 0 or length < 0 or offset + length > body_size:
            raise ProtocolError("truncated", "an Arrow buffer lies outside its message")
        raw = length
        if batch.compressed and length >= _I64.size and body is not None:
            raw = int(_I64.unpack(body.slice(offset, _I64.size).to_pybytes())[0])
            raw = length if raw == -1 else raw
        if raw < 0:
            raise ProtocolError("bad_syntax", f"an Arrow buffer of {raw} bytes")
        size += raw
    return size
