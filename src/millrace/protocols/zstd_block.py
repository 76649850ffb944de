"""Zstandard over one block whose raw length is known: nothing is inflated before its length is believed."""

from __future__ import annotations

import threading

import zstandard

from millrace.errors import ProtocolError

LEVEL = 1  # level 3 saves under 3 % of a frame and costs twice the time


class _Codecs(threading.local):
    """A (de)compressor may serve one thread at a time."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_codecs = _Codecs()


def compress(raw: bytes) -> bytes:
    """One zstd frame that carries its raw length."""
    return _codecs.compressor.compress(raw)


def inflate(packed: bytes, raw_length: int) -> bytes:
    """Exactly `raw_length` bytes; ProtocolError when the block says or holds anything else."""
    try:
        claimed = zstandard.frame_content_size(packed)
        if claimed != raw_length:
            raise ProtocolError(
                "compression_bomb", f"a block says {claimed} bytes, {raw_length} were announced"
            )
        raw = _codecs.decompressor.decompress(packed, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ProtocolError("bad_syntax", f"zstd: {error}") from None
    if len(raw) != raw_length:
        raise ProtocolError("truncated", f"a block holds {len(raw)} bytes, {raw_length} were announced")
    return raw
