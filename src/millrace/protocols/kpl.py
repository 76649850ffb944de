"""KPL aggregates: many user records in one stream record, as the Kinesis Producer Library packs them.

Magic, then an AggregatedRecord (protobuf), then the MD5 of that. Source: amazon-kinesis-producer,
aggregation-format.md. Only the four fields that matter are read, by a bounded reader of varints:

    AggregatedRecord  1 partition_key_table: repeated string · 2 explicit_hash_key_table · 3 records
    Record            1 partition_key_index: varint · 2 explicit_hash_key_index · 3 data: bytes · 4 tags
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from millrace.errors import ProtocolError
from millrace.protocols.limits import Limits

MAGIC: Final = b"\xf3\x89\x9a\xc2"
_DIGEST_SIZE: Final = 16

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5


@dataclass(frozen=True, slots=True)
class UserRecord:
    """One record as the sender put it."""

    partition_key: str
    data: bytes


def decode(data: bytes, *, limits: Limits) -> list[UserRecord]:
    """The user records in their order; ProtocolError when the aggregate is damaged or holds too many.

    JSON objects under one key are joined to NDJSON, a key's order kept: one decode instead of thousands.
    """
    if len(data) < len(MAGIC) + _DIGEST_SIZE or data[: len(MAGIC)] != MAGIC:
        raise ProtocolError("truncated", f"an aggregate of {len(data)} bytes")
    body, digest = data[len(MAGIC) : -_DIGEST_SIZE], data[-_DIGEST_SIZE:]
    if hashlib.md5(body, usedforsecurity=False).digest() != digest:
        raise ProtocolError("checksum_mismatch", "the aggregate's MD5 is another one")
    return _joined(user_records(body, limits.readings_max))


def user_records(body: bytes, records_max: int) -> list[UserRecord]:
    """The records of an AggregatedRecord message, one by one."""
    keys: list[str] = []
    records: list[tuple[int, bytes]] = []
    for number, value in _fields(body):
        if number == 1:
            keys.append(_text(value))
        elif number == 3:
            records.append(_record(value))
        if len(keys) > records_max or len(records) > records_max:
            raise ProtocolError("too_many_readings", f"an aggregate of more than {records_max} records")
    if any(index >= len(keys) for index, _ in records):
        raise ProtocolError("bad_schema", f"a record's key is not among the {len(keys)} of the table")
    return [UserRecord(keys[index], payload) for index, payload in records]


def _record(message: int | bytes) -> tuple[int, bytes]:
    index: int | None = None
    payload: bytes | None = None
    for number, value in _fields(_bytes(message)):
        if number == 1 and isinstance(value, int):
            index = value
        elif number == 3:
            payload = _bytes(value)
    if index is None or payload is None:
        raise ProtocolError("bad_schema", "a user record without key or data")
    return index, payload


def _text(value: int | bytes) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError:
        raise ProtocolError("bad_encoding", "a partition key is not UTF-8") from None


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ProtocolError("bad_schema", "a number where the aggregate should hold bytes")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a protobuf message; a fixed-width value is passed over as its bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ProtocolError("bad_syntax", f"protobuf wire type {wire}")
        if at + length > len(message) or number == 0:
            raise ProtocolError("truncated", "a protobuf field goes beyond its message")
        yield number, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ProtocolError("truncated", "a protobuf number goes beyond its message")
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & (2**64 - 1), at
    raise ProtocolError("bad_syntax", "a protobuf number of more than ten bytes")


def _joined(records: list[UserRecord]) -> list[UserRecord]:
    parts: list[tuple[str, list[bytes]]] = []
    open_parts: dict[str, list[bytes]] = {}
    for record in records:
        key, line = record.partition_key, record.data.strip()
        if line[:1] != b"{" or line[-1:] != b"}":
            open_parts.pop(key, None)  # what follows under this key stays behind it
            parts.append((key, [record.data]))
            continue
        if key not in open_parts:
            open_parts[key] = []
            parts.append((key, open_parts[key]))
        open_parts[key].append(line)
    return [UserRecord(key, b"\n".join(lines)) for key, lines in parts]
