"""The columnar frame: what our producers send and what the stream holds. Magic `MRF1`, little endian.

    magic 4s · version u8 · flags u8 · header_len u16
    received_ts_us i64          the stamp: at a fixed place, under no checksum, so that `stamp` is one copy
    content_hash u64            xxh3_64 of the content: what `identity_reused` compares
    start_us u64 · nonce u64 · seq u64 · source_len u8 · 3 zero bytes · content_len u32    version 1 ends here
    envelope_check u32 · trace_len u8 · 3 zero bytes                                       since version 2
    (fields of later versions: skipped by `header_len`)
    source · trace · content (`frame_content`)

A frame is written in the lowest version that can say it: 4 if a tag says its unit, else 2. A reader takes all
up to the one after its own: a version more may only append fields, what must not be passed over takes two.
`envelope_check` covers identity, flags, source and trace, so that a flipped bit never becomes another source.
Decoding validates everything it uses and raises ProtocolError, never anything else.
"""

from __future__ import annotations

import struct
from typing import Final

import xxhash

from millrace.batch import RECORD_BYTES_MAX, Frame, Incarnation
from millrace.errors import ProtocolError
from millrace.protocols import frame_content
from millrace.protocols.tag_path import source_ok

MAGIC: Final = b"MRF1"
VERSION: Final = 2
VERSION_UNITS: Final = 4
"""The header of version 2, and units in the dictionary, which a reader that does not judge them must not take."""
_READ_MAX: Final = VERSION_UNITS + 1
TRACE_LENGTH: Final = 55

_V1: Final = struct.Struct("<4sBBHqQQQQB3xI")
_V2_TAIL: Final = struct.Struct("<IB3x")
_V2_SIZE: Final = _V1.size + _V2_TAIL.size
_STAMP: Final = struct.Struct("<q")
_STAMP_AT: Final = 8
_STAMP_END: Final = 16

_REPLAY: Final = 1
_ANONYMOUS: Final = 2
_KNOWN_FLAGS: Final = _REPLAY | _ANONYMOUS

_U64_MAX: Final = 2**64 - 1


def encode(frame: Frame, *, version: int = 0) -> bytes:
    """Bytes of a frame; ProtocolError if it cannot be sent (a bad tag, too large, too many readings).

    `version=1` writes for a reader of that version, without trace and envelope check; 0: the lowest fit.
    `frame.dictionary`, where it is given, must be the block of `tags`, `kinds`, `states` and `units`.
    """
    version = _version(frame, version)
    source = frame.source.encode()
    trace = frame.trace.encode("ascii", "replace") if version >= 2 else b""
    _check_envelope(frame, trace)
    content = frame_content.pack(frame)
    if _V2_SIZE + len(source) + len(trace) + len(content) > RECORD_BYTES_MAX:
        raise ProtocolError(
            "record_too_large", f"found {len(content)} bytes, wanted {RECORD_BYTES_MAX} at most"
        )
    head = _V1.pack(
        MAGIC,
        version,
        _REPLAY * frame.replay | _ANONYMOUS * frame.anonymous,
        _V2_SIZE if version >= 2 else _V1.size,
        frame.received_ts_us,
        xxhash.xxh3_64_intdigest(content),
        frame.incarnation.start_us,
        frame.incarnation.nonce,
        frame.seq,
        len(source),
        len(content),
    )
    if version < 2:
        return head + source + content
    tail = _V2_TAIL.pack(0, len(trace))[4:] + source + trace
    check = xxhash.xxh32_intdigest(head[4:_STAMP_AT] + head[_STAMP_END:] + tail)
    return head + check.to_bytes(4, "little") + tail + content


def _version(frame: Frame, asked: int) -> int:
    lowest = VERSION_UNITS if any(frame.units) else VERSION
    if asked and asked < VERSION_UNITS <= lowest:
        raise ProtocolError("unknown_version", f"a reader of version {asked} knows no units")
    return asked or lowest


def _check_envelope(frame: Frame, trace: bytes) -> None:
    if not source_ok(frame.source):
        raise ProtocolError("bad_source", f"found source {frame.source[:80]!r}")
    if trace and len(trace) != TRACE_LENGTH:
        raise ProtocolError("bad_schema", f"a trace parent has {TRACE_LENGTH} characters, found {len(trace)}")
    numbers = (frame.incarnation.start_us, frame.incarnation.nonce, frame.seq)
    if not all(0 <= number <= _U64_MAX for number in numbers):
        raise ProtocolError("bad_schema", f"identity {numbers} is not three numbers of 64 bits")


def stamp(data: bytes, received_ts_us: int) -> bytes:
    """The same frame, received at that time."""
    if data[:4] != MAGIC or len(data) < _STAMP_END:
        raise ProtocolError("unknown_format", "only a frame can be stamped")
    return data[:_STAMP_AT] + _STAMP.pack(received_ts_us) + data[_STAMP_END:]


def traced(data: bytes, trace: str) -> bytes:
    """The same frame with that trace parent in the place of its own; as it was where it has no room for one."""
    if data[:4] != MAGIC or len(data) < _V2_SIZE or len(data) + TRACE_LENGTH > RECORD_BYTES_MAX:
        return data
    _, version, _, header_len, *_, source_len, _ = _V1.unpack_from(data)
    if version < 2:
        return data
    trace_len = _check(data, header_len, source_len)
    texts_end = header_len + source_len
    tail = _V2_TAIL.pack(0, len(trace))[4:] + data[_V2_SIZE:texts_end] + trace.encode("ascii")
    check = xxhash.xxh32_intdigest(data[4:_STAMP_AT] + data[_STAMP_END : _V1.size] + tail)
    return data[: _V1.size] + check.to_bytes(4, "little") + tail + data[texts_end + trace_len :]


def decode(data: bytes) -> Frame:
    """The frame out of its bytes, its columns full-width and writable; ProtocolError if anything is off."""
    if len(data) > RECORD_BYTES_MAX:
        raise ProtocolError("record_too_large", f"found {len(data)} bytes, wanted {RECORD_BYTES_MAX} at most")
    if len(data) < _V1.size:
        raise ProtocolError("truncated", f"found {len(data)} bytes, wanted {_V1.size} at least")
    (
        magic,
        version,
        flags,
        header_len,
        received_ts_us,
        content_hash,
        start_us,
        nonce,
        seq,
        source_len,
        content_len,
    ) = _V1.unpack_from(data)
    if magic != MAGIC or not 1 <= version <= _READ_MAX or flags & ~_KNOWN_FLAGS:
        raise _foreign(magic, version, flags)
    trace_len = 0
    if version >= 2:
        trace_len = _check(data, header_len, source_len)
    elif header_len != _V1.size:
        raise ProtocolError("bad_syntax", f"a version 1 header of {header_len} bytes")
    content_at = header_len + source_len + trace_len
    if content_at + content_len != len(data):
        raise ProtocolError("truncated", f"found {len(data)} bytes, wanted {content_at + content_len}")
    content = data[content_at:]
    if xxhash.xxh3_64_intdigest(content) != content_hash:
        raise ProtocolError("checksum_mismatch", "the content is not what was sent")
    source, trace = _texts(data[header_len:content_at], source_len)
    return frame_content.unpack(
        content,
        source=source,
        incarnation=Incarnation(start_us, nonce),
        seq=seq,
        received_ts_us=received_ts_us,
        replay=bool(flags & _REPLAY),
        anonymous=bool(flags & _ANONYMOUS),
        content_hash=content_hash,
        trace=trace,
    )


def _foreign(magic: bytes, version: int, flags: int) -> ProtocolError:
    if magic != MAGIC:
        return ProtocolError("unknown_format", f"found {magic!r}, wanted {MAGIC!r}")
    if not 1 <= version <= _READ_MAX:
        return ProtocolError("unknown_version", f"found version {version}, can read 1 to {_READ_MAX}")
    return ProtocolError("unknown_version", f"flags {flags:#x} are not known")


def _check(data: bytes, header_len: int, source_len: int) -> int:
    """Prove the envelope; returns the length of the trace parent."""
    if header_len < _V2_SIZE or header_len > len(data):
        raise ProtocolError("truncated", f"a header of {header_len} bytes in {len(data)}")
    check, trace_len = _V2_TAIL.unpack_from(data, _V1.size)
    if trace_len not in (0, TRACE_LENGTH):
        raise ProtocolError("bad_schema", f"a trace parent has {TRACE_LENGTH} characters, found {trace_len}")
    envelope_end = header_len + source_len + trace_len
    covered = data[4:_STAMP_AT] + data[_STAMP_END : _V1.size] + data[_V1.size + 4 : envelope_end]
    if xxhash.xxh32_intdigest(covered) != check:
        raise ProtocolError("checksum_mismatch", "the envelope is not what was sent")
    return int(trace_len)


def _texts(data: bytes, source_len: int) -> tuple[str, str]:
    try:
        source, trace = data[:source_len].decode(), data[source_len:].decode("ascii")
    except UnicodeDecodeError as error:
        raise ProtocolError("bad_encoding", f"source or trace: {error.reason}") from None
    if not source_ok(source):
        raise ProtocolError("bad_source", f"found source {source[:80]!r}")
    return source, trace
