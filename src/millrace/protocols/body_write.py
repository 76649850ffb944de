"""A frame's columns written by compiled code, byte for byte as `frame_content` and `value_column` write them."""

from __future__ import annotations

from typing import Final

import numba
import numpy as np

from millrace.batch import F64, I64, QUALITY_GOOD, U8, U32, U64
from millrace.protocols.frame_read import SCALE_MAX

Whole = int | np.int64

_PROBES: Final = 8
_NAN_BITS: Final = np.uint64(0x7FF8000000000000)
_POWERS: Final = tuple(10.0**scale for scale in range(SCALE_MAX + 1))


@numba.njit(cache=True, inline="always")  # type: ignore[misc]
def put_half(out: U8, at: int, number: Whole) -> None:
    out[at] = number & 0xFF
    out[at + 1] = (number >> 8) & 0xFF


@numba.njit(cache=True, inline="always")  # type: ignore[misc]
def put_word(out: U8, at: int, number: Whole) -> None:
    for i in range(4):
        out[at + i] = (number >> (8 * i)) & 0xFF


@numba.njit(cache=True, inline="always")  # type: ignore[misc]
def put_long(out: U8, at: int, number: np.uint64) -> None:
    for i in range(8):
        out[at + i] = (number >> np.uint64(8 * i)) & np.uint64(0xFF)


@numba.njit(cache=True, error_model="numpy")  # type: ignore[misc]
def _probe(value: F64) -> int:
    """Decimals that some of the values need; -1 if they are no decimals."""
    scale = 0
    for i in range(0, len(value), -(-len(value) // _PROBES)):
        one = 0.0 if np.isnan(value[i]) else value[i]
        if not abs(one) < 2.0**31:
            return -1
        while np.rint(one * _POWERS[scale]) / _POWERS[scale] != one:
            scale += 1
            if scale > SCALE_MAX:
                return -1
    return scale


@numba.njit(cache=True, error_model="numpy")  # type: ignore[misc]
def _decimal_code(value: F64, bits: U64, scale: int) -> int:
    """2 or 3 (`value_column`) if all values are whole numbers over 10^scale to the last bit, else -1."""
    power, largest = _POWERS[scale], 0.0
    proof = np.zeros(1)
    proof_bits = proof.view(np.uint64)
    for i in range(len(value)):
        if np.isnan(value[i]):
            continue
        whole = np.rint(value[i] * power) + 0.0  # an integer has no -0.0: the proof must not see one
        proof[0] = whole / power
        if not abs(whole) < 2.0**31 or proof_bits[0] != bits[i]:
            return -1
        largest = max(largest, abs(whole))
    return 2 if largest < 2.0**15 else 3


@numba.njit(cache=True)  # type: ignore[misc]
def _fits_float32(value: F64, bits: U64) -> bool:
    proof = np.zeros(1)
    proof_bits = proof.view(np.uint64)
    for i in range(len(value)):
        proof[0] = np.float64(np.float32(value[i]))
        if proof_bits[0] != bits[i] and not np.isnan(value[i]):
            return False
    return True


@numba.njit(cache=True)  # type: ignore[misc]
def value_form(value: F64, bits: U64) -> tuple[int, int, int]:
    """Code, scale and whether there are gaps, of a column (n,) with n > 0; `bits` is the same memory."""
    gaps = 0
    for i in range(len(value)):
        if np.isnan(value[i]):
            gaps = 1
            break
    scale = _probe(value)
    if scale >= 0:
        code = _decimal_code(value, bits, scale)
        if code >= 0:
            return code, scale, gaps
    return (0 if _fits_float32(value, bits) else 1), 0, 0


@numba.njit(cache=True)  # type: ignore[misc]
def put_values(out: U8, at: int, value: F64, bits: U64, code: int, scale: int) -> int:
    """Write the column; the place behind it."""
    short = np.zeros(1, np.float32)
    short_bits = short.view(np.uint32)
    for i in range(len(value)):
        gap = np.isnan(value[i])
        if code == 0:
            short[0] = np.float32(np.nan) if gap else np.float32(value[i])
            put_word(out, at + 4 * i, np.int64(short_bits[0]))
        elif code == 1:
            put_long(out, at + 8 * i, _NAN_BITS if gap else bits[i])
        elif code == 2:
            put_half(out, at + 2 * i, -(2**15) if gap else np.int64(np.rint(value[i] * _POWERS[scale])))
        else:
            put_word(out, at + 4 * i, -(2**31) if gap else np.int64(np.rint(value[i] * _POWERS[scale])))
    return at + len(value) * (8 if code == 1 else 2 if code == 2 else 4)


@numba.njit(cache=True)  # type: ignore[misc]
def put_tags(out: U8, at: int, tag: U32, code: int) -> int:
    """Write the column in 1 << code bytes each; the place behind it."""
    for i in range(len(tag)):
        if code == 0:
            out[at + i] = tag[i]
        elif code == 1:
            put_half(out, at + 2 * i, np.int64(tag[i]))
        else:
            put_word(out, at + 4 * i, np.int64(tag[i]))
    return at + len(tag) * (1 << code)


@numba.njit(cache=True)  # type: ignore[misc]
def put_times(out: U8, at: int, ts_us: I64, base_us: int, code: int) -> int:
    """Write the offsets from `base_us` in 2 << code bytes each; the place behind it."""
    for i in range(len(ts_us)):
        offset = ts_us[i] - base_us
        if code == 0:
            put_half(out, at + 2 * i, offset)
        elif code == 1:
            put_word(out, at + 4 * i, offset)
        else:
            put_long(out, at + 8 * i, np.uint64(offset))
    return at + len(ts_us) * (2 << code)


@numba.njit(cache=True)  # type: ignore[misc]
def put_quality(out: U8, at: int, quality: U8) -> int:
    """Write the column unless all are good; the place behind it."""
    for i in range(len(quality)):
        if quality[i] != QUALITY_GOOD:
            out[at : at + len(quality)] = quality
            return at + len(quality)
    return at
