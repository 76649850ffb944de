"""Many frames encoded together: a linger's readings of all sources in one pass.

One by one a frame of five readings costs 35 us, most of it NumPy calls on five numbers. Here a kernel writes all
that is plain (`frame_read`) into one buffer, byte for byte as `frame.encode` would; anything else goes through
`frame.encode`, which says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import numba
import numpy as np
import xxhash

from millrace.batch import F64, I64, U8, U32, U64, Frame, Rows
from millrace.protocols import dictionary, frame
from millrace.protocols.body_write import (
    put_half,
    put_long,
    put_quality,
    put_tags,
    put_times,
    put_values,
    put_word,
    value_form,
)
from millrace.protocols.frame_content import BODY_ZSTD_FROM_BYTES
from millrace.protocols.frame_read import CONTENT_HEAD, ENVELOPE, TIME_MAX_US, envelope_check
from millrace.protocols.tag_path import source_ok

READINGS_MAX: Final = 1_600
"""In a frame of more the columns are what costs, and they are long enough to be compressed."""
_READING_BYTES_MAX: Final = 21
_TYPES: Final = tuple(np.dtype(kind).str for kind in (np.uint32, np.int64, np.float64, np.uint8))

SAID: Final = np.dtype(
    [
        ("received_us", np.int64),
        ("start_us", np.uint64),
        ("nonce", np.uint64),
        ("seq", np.uint64),
        ("version", np.int64),
        ("tags", np.int64),
        ("source_len", np.int64),
        ("block_len", np.int64),
    ]
)
"""What the head of a frame is made of."""


def encode_batch(frames: Sequence[Frame]) -> list[bytes]:
    """What `frame.encode` makes of each; its ProtocolError for the first that cannot be sent."""
    encoded = encode_plain(frames)
    return [frame.encode(one) if data is None else data for one, data in zip(frames, encoded, strict=True)]


def encode_plain(frames: Sequence[Frame]) -> list[bytes | None]:
    """What `frame.encode` makes of each; None where only that can say, or may refuse."""
    encoded: list[bytes | None] = [None] * len(frames)
    plain = [place for place, one in enumerate(frames) if _is_plain(one)]
    for place, data in zip(plain, _written([frames[place] for place in plain]), strict=True):
        encoded[place] = data
    return encoded


def _is_plain(one: Frame) -> bool:
    """Whether the dictionary is proven already, and there is nothing but readings."""
    if one.rejects or one.key or one.trace or one.replay or one.anonymous or len(one.ts_us) > READINGS_MAX:
        return False
    known = dictionary.known(one.dictionary)
    if known is None or known.tags is not one.tags or known.kinds is not one.kinds or known.has_states:
        return False
    if known.states != one.states or known.units is not one.units:
        return False
    return len(one.ts_us) == len(one.tag) == len(one.value) == len(one.quality)


def _written(frames: Sequence[Frame]) -> list[bytes | None]:
    """The frames' bytes; None where a frame is not for the kernel."""
    said = _said(frames)
    columns = _columns(frames)
    if said is None or columns is None:
        return [None] * len(frames)
    tag, ts_us, value, quality = columns
    texts = np.frombuffer(
        b"".join([part for one in frames for part in (one.source.encode(), one.dictionary)]), np.uint8
    )
    lengths = [len(one.ts_us) for one in frames]
    rows = np.fromiter(accumulate(lengths, initial=0), np.int64, len(frames) + 1)
    room = len(texts) + len(frames) * (ENVELOPE + CONTENT_HEAD) + len(ts_us) * _READING_BYTES_MAX
    out, ends = np.empty(room, np.uint8), np.zeros(len(frames), np.int64)
    write(said, texts, rows, tag, ts_us, value, value.view(np.uint64), quality, out, ends)
    return _sealed(said, out, ends)


def _said(frames: Sequence[Frame]) -> Rows | None:
    """Rows of SAID; None if one's numbers or name cannot be."""
    if not all(map(source_ok, {one.source for one in frames})):
        return None
    try:
        return np.array(
            [
                (
                    one.received_ts_us,
                    one.incarnation.start_us,
                    one.incarnation.nonce,
                    one.seq,
                    frame.VERSION_UNITS if one.units else frame.VERSION,
                    len(one.tags),
                    len(one.source.encode()),
                    len(one.dictionary),
                )
                for one in frames
            ],
            SAID,
        )
    except (OverflowError, ValueError):
        return None


def _columns(frames: Sequence[Frame]) -> tuple[U32, I64, F64, U8] | None:
    """The frames' columns one behind the other; None if they are not of the types that a frame has."""
    if not frames:
        return None
    tag = np.concatenate([one.tag for one in frames])
    ts_us = np.concatenate([one.ts_us for one in frames])
    value = np.concatenate([one.value for one in frames])
    quality = np.concatenate([one.quality for one in frames])
    columns = (tag, ts_us, value, quality)
    return columns if tuple(column.dtype.str for column in columns) == _TYPES else None


@numba.njit(cache=True)  # type: ignore[misc]
def _write_body(
    out: U8, at: int, tag: U32, ts_us: I64, value: F64, bits: U64, quality: U8, tag_count: int, head_at: int
) -> int:
    """Columns at `at`, and what the content's head at `head_at` says of them.

    The place behind; -1 if they cannot be.
    """
    if len(ts_us) == 0:
        return at
    base_us, newest_us = ts_us.min(), ts_us.max()
    if base_us < -TIME_MAX_US or newest_us > TIME_MAX_US or tag.max() >= tag_count:
        return -1
    tag_code = 0 if tag_count <= 2**8 else 1 if tag_count <= 2**16 else 2
    span_us = newest_us - base_us
    time_code = 0 if span_us < 2**16 else 1 if span_us < 2**32 else 2
    code, scale, gaps = value_form(value, bits)
    at = put_tags(out, at, tag, tag_code)
    at = put_times(out, at, ts_us, base_us, time_code)
    quality_at = put_values(out, at, value, bits, code, scale)
    at = put_quality(out, quality_at, quality)
    out[head_at + 3] = tag_code | time_code << 2 | code << 4 | (at > quality_at) << 6 | gaps << 7
    out[head_at + 4] = scale
    put_long(out, head_at + 5, np.uint64(base_us))
    return at


@numba.njit(cache=True)  # type: ignore[misc]
def write(
    said: Rows,
    texts: U8,
    rows: I64,
    tag: U32,
    ts_us: I64,
    value: F64,
    bits: U64,
    quality: U8,
    out: U8,
    ends: I64,
) -> None:
    """Frames (f,) one behind the other in `out`, without content hash and check; `ends` (f,) are their ends.

    `texts` are source and dictionary block of each by turns. A frame that ends where it begins was not written.
    """
    begin, text = 0, 0
    for i in range(len(said)):
        one = said[i]
        source_len, block_len = one["source_len"], one["block_len"]
        head_at = begin + ENVELOPE + source_len
        body_at = head_at + CONTENT_HEAD + block_len
        out[begin:body_at] = 0
        first, last = rows[i], rows[i + 1]
        end = _write_body(
            out, body_at, tag[first:last], ts_us[first:last], value[first:last], bits[first:last],
            quality[first:last], one["tags"], head_at,
        )  # fmt: skip
        source, block = (
            texts[text : text + source_len],
            texts[text + source_len : text + source_len + block_len],
        )
        text += source_len + block_len
        if end < 0 or end - body_at >= BODY_ZSTD_FROM_BYTES:
            ends[i] = begin
            continue
        out[begin + ENVELOPE : head_at], out[head_at + CONTENT_HEAD : body_at] = source, block
        put_half(out, head_at, CONTENT_HEAD)
        put_word(out, head_at + 13, last - first)
        put_word(out, head_at + 17, block_len)
        put_word(out, head_at + 21, end - body_at)
        _write_envelope(out, begin, one, end - head_at)
        begin = end
        ends[i] = end


@numba.njit(cache=True)  # type: ignore[misc]
def _write_envelope(out: U8, at: int, one: Rows, content_len: int) -> None:
    """The header of `frame` without content hash and check, over zeros."""
    put_word(out, at, 0x3146524D)  # "MRF1"
    out[at + 4] = one["version"]
    put_half(out, at + 6, ENVELOPE)
    put_long(out, at + 8, np.uint64(one["received_us"]))
    put_long(out, at + 24, np.uint64(one["start_us"]))
    put_long(out, at + 32, np.uint64(one["nonce"]))
    put_long(out, at + 40, np.uint64(one["seq"]))
    out[at + 48] = one["source_len"]
    put_word(out, at + 52, content_len)


@numba.njit(cache=True)  # type: ignore[misc]
def _seal(out: U8, said: Rows, starts: I64, content_hash: U64) -> None:
    """Content hashes and checks of the frames at `starts`; -1: none is there."""
    covered = np.empty(ENVELOPE + 256, np.uint8)
    for i in range(len(starts)):
        if starts[i] >= 0:
            put_long(out, int(starts[i]) + 16, content_hash[i])
            check = envelope_check(out, int(starts[i]), said[i]["source_len"], covered)
            put_word(out, int(starts[i]) + 56, np.int64(check))


def _sealed(said: Rows, out: U8, ends: I64) -> list[bytes | None]:
    """Each frame cut out of the buffer, with its content hash and check."""
    places, view = ends.tolist(), out.data
    hashes, starts, begin = [], [], 0
    for end, source_len in zip(places, said["source_len"].tolist(), strict=True):
        hashes.append(
            xxhash.xxh3_64_intdigest(view[begin + ENVELOPE + source_len : end]) if end > begin else 0
        )
        starts.append(begin if end > begin else -1)
        begin = end
    _seal(out, said, np.array(starts, np.int64), np.array(hashes, np.uint64))
    whole = out[:begin].tobytes()
    return [whole[start:end] if start >= 0 else None for start, end in zip(starts, places, strict=True)]
