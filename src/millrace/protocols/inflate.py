"""Inflation of a request's body, bounded before and while it happens."""

from __future__ import annotations

import zlib

import zstandard

from millrace.errors import ProtocolError

_WINDOW_MAX = 8 * 1024**2  # what RFC 8878 asks every decoder to support
_STEP_BYTES = 256  # a block of 4 bytes may say 128 KB: a step inflates to 8 MB at worst

ENCODINGS = ("identity", "gzip", "zstd")


def inflate(body: bytes, encoding: str, bytes_max: int) -> bytes:
    """The body without its `Content-Encoding`; ProtocolError: `compression_bomb` beyond `bytes_max`,
    `unknown_format` for an encoding that we do not take, `bad_syntax` or `truncated` for damaged bytes."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name == "gzip":
        return _gzip(body, bytes_max)
    if name == "zstd":
        return _zstd(body, bytes_max)
    raise ProtocolError(
        "unknown_format", f"found Content-Encoding {encoding[:40]!r}, wanted one of {ENCODINGS}"
    )


def _gzip(body: bytes, bytes_max: int) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        raw = inflater.decompress(body, bytes_max + 1)
    except zlib.error as error:
        raise ProtocolError("bad_syntax", f"gzip: {error}") from None
    if len(raw) > bytes_max:
        raise _bomb(bytes_max)
    if not inflater.eof:
        raise ProtocolError("truncated", "the gzip body ends early")
    if inflater.unused_data:
        raise ProtocolError("bad_syntax", "bytes after the end of the gzip body")
    return raw


def _zstd(body: bytes, bytes_max: int) -> bytes:
    inflater = zstandard.ZstdDecompressor(max_window_size=_WINDOW_MAX).decompressobj()
    parts, size = [], 0
    try:
        for at in range(0, len(body), _STEP_BYTES):
            if inflater.eof:
                raise ProtocolError("bad_syntax", "bytes after the end of the zstd body")
            parts.append(inflater.decompress(body[at : at + _STEP_BYTES]))
            size += len(parts[-1])
            if size > bytes_max:
                raise _bomb(bytes_max)
    except zstandard.ZstdError as error:
        raise ProtocolError("bad_syntax", f"zstd: {error}") from None
    if not inflater.eof:
        raise ProtocolError("truncated", "the zstd body ends early")
    if inflater.unused_data:
        raise ProtocolError("bad_syntax", "bytes after the end of the zstd body")
    return b"".join(parts)


def _bomb(bytes_max: int) -> ProtocolError:
    return ProtocolError("compression_bomb", f"the body inflates beyond {bytes_max} bytes")
