"""Many frames read by two kernels: their heads out of the joined bytes, then their columns.

Only what a gateway sends all day is read here: version 2 or 4, no flags, no trace, no key, no rejects, a body
that is not compressed. Anything else is not `plain` and is left to `frame.decode`, which names what is wrong.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np

from millrace.batch import F64, FRAME_READINGS_MAX, I64, QUALITY_GOOD, RECORD_BYTES_MAX, U8, U32, U64, Rows
from millrace.protocols.xxh32 import word, xxh32

HEAD: Final = np.dtype(
    [
        ("plain", np.uint8),  # 1: the rest of the row is filled; everything under `xxh32` is proven
        ("received_us", np.int64),
        ("start_us", np.uint64),
        ("nonce", np.uint64),
        ("seq", np.uint64),
        ("content_hash", np.uint64),  # not proven here
        ("content_at", np.int64),  # places count from the frame's first byte
        ("block_at", np.int64),
        ("body_at", np.int64),
        ("readings", np.int64),
        ("widths", np.int64),
        ("scale", np.int64),
        ("base_us", np.int64),
    ]
)
"""What a frame says before its columns, and where they are."""

ENVELOPE: Final = 64
"""Bytes of the header of versions 2 and 4; the source stands behind it."""
CONTENT_HEAD: Final = 39
TIME_MAX_US: Final = 2**61
SCALE_MAX: Final = 6
_COVERED_MAX: Final = ENVELOPE + 256


@numba.njit(cache=True, inline="always")  # type: ignore[misc]
def _half(data: U8, at: int) -> np.int64:
    return np.int64(data[at]) | (np.int64(data[at + 1]) << 8)


@numba.njit(cache=True, inline="always")  # type: ignore[misc]
def _long(data: U8, at: int) -> np.uint64:
    return word(data, at) | (word(data, at + 4) << np.uint64(32))


@numba.njit(cache=True)  # type: ignore[misc]
def envelope_check(data: U8, at: int, source_len: np.int64, covered: U8) -> np.uint64:
    """xxh32 of what `frame` covers of the envelope at `at`; `covered` is room for it."""
    size = 0
    for first, last in ((4, 8), (16, 56), (60, ENVELOPE + source_len)):
        for i in range(first, last):
            covered[size] = data[at + i]
            size += 1
    return xxh32(covered, size)


@numba.njit(cache=True)  # type: ignore[misc]
def _is_plain_envelope(data: U8, at: int, size: int, covered: U8) -> bool:
    if size < ENVELOPE + CONTENT_HEAD or size > RECORD_BYTES_MAX:
        return False
    if word(data, at) != 0x3146524D or (data[at + 4] != 2 and data[at + 4] != 4):  # "MRF1"
        return False
    if data[at + 5] != 0 or _half(data, at + 6) != ENVELOPE or data[at + 60] != 0:
        return False
    source_len = np.int64(data[at + 48])
    if (
        ENVELOPE + source_len + np.int64(word(data, at + 52)) != size
        or size < ENVELOPE + source_len + CONTENT_HEAD
    ):
        return False
    return bool(envelope_check(data, at, source_len, covered) == word(data, at + 56))


@numba.njit(cache=True)  # type: ignore[misc]
def _body_size(readings: int, widths: int) -> int:
    """Bytes of the columns; -1 for widths that nobody writes."""
    tag, time, value = widths & 3, widths >> 2 & 3, widths >> 4 & 3
    if tag == 3 or time == 3:
        return -1
    width = (1 << tag) + (2 << time) + (4 if value == 0 else 8 if value == 1 else 2 if value == 2 else 4)
    return readings * (width + (widths >> 6 & 1))


@numba.njit(cache=True)  # type: ignore[misc]
def _read_content_head(data: U8, at: int, size: int, head: Rows) -> bool:
    """Fill what the content's head says (`frame_content`); whether it is plain and its parts fit each other."""
    readings, block_len = np.int64(word(data, at + 13)), np.int64(word(data, at + 17))
    body_len, widths = np.int64(word(data, at + 21)), np.int64(data[at + 3])
    if _half(data, at) != CONTENT_HEAD or data[at + 2] != 0 or _half(data, at + 37) != 0:
        return False
    if word(data, at + 25) != 0 or word(data, at + 29) != 0 or word(data, at + 33) != 0:
        return False
    if CONTENT_HEAD + block_len + body_len != size or readings > FRAME_READINGS_MAX:
        return False
    base_us = np.int64(_long(data, at + 5))
    if base_us < -TIME_MAX_US or base_us > TIME_MAX_US or body_len != _body_size(int(readings), int(widths)):
        return False
    head["scale"] = data[at + 4] if widths >> 5 & 1 else 0  # only a decimal column has one
    head["readings"], head["widths"], head["base_us"] = readings, widths, base_us
    head["block_at"] = CONTENT_HEAD
    head["body_at"] = CONTENT_HEAD + block_len
    return bool(head["scale"] <= SCALE_MAX)


@numba.njit(cache=True)  # type: ignore[misc]
def read_heads(data: U8, starts: I64, heads: Rows) -> None:
    """Rows of HEAD (f,) of the frames that lie in `data` from `starts` (f + 1,) on; `heads` is all zero before."""
    covered = np.empty(_COVERED_MAX, np.uint8)
    for i in range(len(heads)):
        at, size = int(starts[i]), int(starts[i + 1] - starts[i])
        if not _is_plain_envelope(data, at, size, covered):
            continue
        head = heads[i]
        content_at = ENVELOPE + np.int64(data[at + 48])
        head["received_us"] = np.int64(_long(data, at + 8))
        if head["received_us"] <= 0 or not _read_content_head(
            data, int(at + content_at), int(size - content_at), head
        ):
            continue
        head["content_hash"], head["start_us"] = _long(data, at + 16), _long(data, at + 24)
        head["nonce"], head["seq"] = _long(data, at + 32), _long(data, at + 40)
        head["content_at"] = content_at
        head["block_at"] += content_at
        head["body_at"] += content_at
        head["plain"] = 1


@numba.njit(cache=True)  # type: ignore[misc]
def _read_tags(data: U8, at: int, code: int, tag_count: int, tag: U32) -> bool:
    """Fill a frame's tag indexes; whether all are in its dictionary."""
    newest = np.int64(-1)
    for i in range(len(tag)):
        if code == 0:
            index = np.int64(data[at + i])
        elif code == 1:
            index = _half(data, at + 2 * i)
        else:
            index = np.int64(word(data, at + 4 * i))
        tag[i] = index
        newest = max(newest, index)
    return bool(newest < tag_count)


@numba.njit(cache=True)  # type: ignore[misc]
def _read_times(data: U8, at: int, code: int, base_us: int, ts_us: I64) -> bool:
    """Fill a frame's times; whether all are such as can be sent."""
    good = True
    for i in range(len(ts_us)):
        if code == 0:
            offset = _half(data, at + 2 * i)
        elif code == 1:
            offset = np.int64(word(data, at + 4 * i))
        else:
            offset = np.int64(_long(data, at + 8 * i))
            good = good and bool(0 <= offset <= 2 * TIME_MAX_US)
        ts_us[i] = base_us + offset
    return good


@numba.njit(cache=True, error_model="numpy")  # type: ignore[misc]
def _read_values(data: U8, at: int, code: int, power: float, gaps: int, value: F64, bits: U64) -> None:
    """Fill a frame's values; `bits` is the same memory as `value`. Codes as in `value_column`."""
    short = np.zeros(1, np.uint32)
    single = short.view(np.float32)
    for i in range(len(value)):
        if code == 0:
            short[0] = word(data, at + 4 * i)
            value[i] = single[0]
        elif code == 1:
            bits[i] = _long(data, at + 8 * i)
        elif code == 2:
            whole = _half(data, at + 2 * i)
            whole -= (whole & 0x8000) << 1
            value[i] = np.nan if gaps != 0 and whole == -(2**15) else whole / power
        else:
            whole = np.int64(word(data, at + 4 * i))
            whole -= (whole & 0x80000000) << 1
            value[i] = np.nan if gaps != 0 and whole == -(2**31) else whole / power


@numba.njit(cache=True)  # type: ignore[misc]
def read_bodies(
    data: U8, starts: I64, heads: Rows, tag_counts: I64, powers: F64, rows: I64,
    tag: U32, ts_us: I64, value: F64, bits: U64, quality: U8, good: U8,
) -> None:  # fmt: skip
    """Columns of the frames with a `tag_counts` (f,) of 0 or more, from row `rows[i]` on.

    `good` (f,), 1 before, is 0 where a body names a tag or a time that cannot be.
    """
    for i in range(len(heads)):
        if tag_counts[i] < 0:
            continue
        head = heads[i]
        n, widths, begin = head["readings"], head["widths"], rows[i]
        end, at = begin + n, starts[i] + head["body_at"]
        fits = _read_tags(data, at, widths & 3, tag_counts[i], tag[begin:end])
        at += n * (1 << (widths & 3))
        fits &= _read_times(data, at, widths >> 2 & 3, head["base_us"], ts_us[begin:end])
        at += n * (2 << (widths >> 2 & 3))
        code = widths >> 4 & 3
        _read_values(data, at, code, powers[head["scale"]], widths >> 7, value[begin:end], bits[begin:end])
        at += n * (4 if code == 0 else 8 if code == 1 else 2 if code == 2 else 4)
        if widths & 64:
            quality[begin:end] = data[at : at + n]
        else:
            quality[begin:end] = QUALITY_GOOD
        good[i] = fits
