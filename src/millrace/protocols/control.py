"""Records that carry no readings: ticks, accounting marks, chunks of an asset model change.

They are MessagePack behind four magic bytes, so that one byte log carries everything in one order.
A control record that cannot be read is a reject (`unknown_format`), never a crash.
"""

from __future__ import annotations

import msgspec

from millrace.assets.tag import SourceModel, TagModel
from millrace.errors import ProtocolError

TICK_MAGIC = b"MRT1"
MARK_MAGIC = b"MRK1"
MODEL_MAGIC = b"MRM1"


class Tick(msgspec.Struct, frozen=True, array_like=True):
    """Time has passed. Every ingest process appends one a second to each open shard.

    `refusing`: the door turns readings away at the moment, so silence means nothing.
    `clock_step`: the wall clock was set; this time counts even if it lies before the shard's newest.
    """

    time_us: int
    process: str
    refusing: bool = False
    clock_step: bool = False


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """Count up to here: open windows are emitted so far and the segment closes."""

    number: int
    time_us: int


class ModelChunk(msgspec.Struct, frozen=True, array_like=True):
    """Part `chunk` (0-based) of `chunks` of asset model change `number`; effective at the last one.

    Holds the tags and sources whose source belongs to the shard. `replace`: tags of this shard that are in no
    chunk of the change lose their model.
    """

    number: int
    chunk: int
    chunks: int
    replace: bool
    sources: tuple[SourceModel, ...]
    tags: tuple[TagModel, ...]
    claimed: bytes = b""  # accounting.tag_hash of the paths that the model gives to other shards' sources, u64 LE


Control = Tick | Mark | ModelChunk

_encoder = msgspec.msgpack.Encoder()
_types: dict[bytes, type] = {TICK_MAGIC: Tick, MARK_MAGIC: Mark, MODEL_MAGIC: ModelChunk}
_magics = {kind: magic for magic, kind in _types.items()}
_decoders: dict[bytes, msgspec.msgpack.Decoder[Control]] = {
    magic: msgspec.msgpack.Decoder(kind) for magic, kind in _types.items()
}


def encode(record: Control) -> bytes:
    """Bytes of a control record."""
    return _magics[type(record)] + _encoder.encode(record)


def is_control(data: bytes) -> bool:
    """Whether a record's bytes say that it carries no readings."""
    return data[:4] in _types


def decode(data: bytes) -> Control:
    """A control record out of its bytes; ProtocolError(`unknown_format`) when it cannot be read."""
    try:
        record: Control = _decoders[data[:4]].decode(data[4:])
    except (KeyError, msgspec.DecodeError) as error:
        raise ProtocolError("unknown_format", str(error)) from None
    return record
