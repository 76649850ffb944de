"""A column of float64 in the fewest bytes that give every bit back.

Codes: 0 f32, 1 f64, 2 decimals in i16, 3 decimals in i32. A sensor says 71.25, not a random double: 7125 over
10^2 is that value, bit for bit, since n and 10^s are exact doubles and division rounds to the nearest, as
reading "71.25" does. Tried on the column, then proven on every bit of it.
In a decimal column a gap (NaN) is the type's least number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from millrace.batch import F64, Bool, Rows
from millrace.errors import ProtocolError

_TYPES: Final = (np.dtype("<f4"), np.dtype("<f8"), np.dtype("<i2"), np.dtype("<i4"))
_F32, _F64, _I16, _I32 = range(4)
_GAP: Final = {_I16: -(2**15), _I32: -(2**31)}
_SCALE_MAX: Final = 6
_POWERS: Final = tuple(10.0**scale for scale in range(_SCALE_MAX + 1))
_PROBES: Final = 8  # values looked at before a whole column is tried


@dataclass(frozen=True, slots=True)
class Packed:
    """A column's bytes and how to read them."""

    data: bytes
    code: int
    scale: int = 0
    gaps: int = 0


def width(code: int) -> int:
    """Bytes of one value."""
    return _TYPES[code].itemsize


def pack(value: F64) -> Packed:
    """The column, (n,) float64 with n > 0. All NaN become the one canonical NaN."""
    nan = np.isnan(value)
    gaps = bool(nan.any())
    if gaps:
        value = np.where(nan, np.nan, value)
    decimal = _decimal(np.where(nan, 0.0, value) if gaps else value, nan, gaps)
    if decimal is not None:
        return decimal
    with np.errstate(over="ignore"):
        short = value.astype(_TYPES[_F32])
    if _same_bits(short.astype(np.float64), value):
        return Packed(short.tobytes(), _F32)
    return Packed(value.astype(_TYPES[_F64], copy=False).tobytes(), _F64)


def _decimal(value: F64, nan: Bool, gaps: bool) -> Packed | None:
    """The column as whole numbers over a power of ten; None if that would lose a bit."""
    scale = _probe(value)
    if scale is None:
        return None
    with np.errstate(over="ignore"):
        whole = np.rint(value * _POWERS[scale]) + 0.0  # an integer has no -0.0: the proof must not see one
    largest = max(-float(whole.min()), float(whole.max()))
    if not largest < 2**31 or not _same_bits(whole / _POWERS[scale], value):
        return None
    code = _I16 if largest < 2**15 else _I32
    column = whole.astype(_TYPES[code])
    if gaps:
        column[nan] = _GAP[code]
    return Packed(column.tobytes(), code, scale, int(gaps))


def _probe(value: F64) -> int | None:
    """The decimals that some of the values need; None if they are no decimals."""
    scale = 0
    for one in value[:: -(-len(value) // _PROBES)].tolist():
        if not abs(one) < 2**31:
            return None
        while round(one * _POWERS[scale]) / _POWERS[scale] != one:
            scale += 1
            if scale > _SCALE_MAX:
                return None
    return scale


def _same_bits(a: F64, b: F64) -> bool:
    return bool((a.view(np.uint64) == b.view(np.uint64)).all())


def unpack(body: bytes, at: int, n: int, code: int, scale: int, *, gaps: int) -> F64:
    """The column as it was packed; writable."""
    stored: Rows = np.frombuffer(body, _TYPES[code], n, at)
    value: F64 = stored.astype(np.float64)
    if code in (_F32, _F64):
        return value
    if scale > _SCALE_MAX:
        raise ProtocolError("unknown_version", f"a column of {scale} decimals")
    if scale:
        value /= _POWERS[scale]
    if gaps:
        value[stored == _GAP[code]] = np.nan
    return value
