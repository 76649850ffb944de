"""JSON numbers out of bytes, exact or not at all: what is not provably exact is left to a slower reader.

Digits below 2^53 and a power of ten within `10**±22` are two float64 that are both exact, so their quotient or product
is rounded once and is the nearest float64 (Clinger 1990, "How to read floating point numbers accurately"). What is
longer, as the digits of a computed value are, goes to `nearest_float`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from millrace.batch import F64, U8, U64, ValueKind
from millrace.protocols.byte_kernel import byte, digit, inline, kernel
from millrace.protocols.nearest_float import FIVES, POWER_MAX, nearest_float

NO_NUMBER: Final = -1
"""The place behind a number that was not read."""

WHOLE_DIGITS_MAX: Final = 15
"""A whole value of so many digits is below 2^53."""
_DIGITS_MAX: Final = 18
_EXACT_MAX: Final = 2**53
_TEN_MAX: Final = 22
_FLOAT: Final = int(ValueKind.FLOAT)
_INTEGER: Final = int(ValueKind.INTEGER)
_ZERO, _MINUS, _PLUS, _POINT, _E = 48, 45, 43, 46, 101


class Powers(NamedTuple):
    """Powers of ten that are exact, leading bits of powers of five."""

    tens: F64
    fives: U64


POWERS: Final = Powers(np.array([10.0**power for power in range(_TEN_MAX + 1)]), FIVES)


@inline
def digits(text: U8, at: int, number: int) -> tuple[int, int]:
    """`number` with the digits from there on behind it, and the place behind them; it wraps beyond 18 digits."""
    one = digit(text, at)
    while 0 <= one <= 9:
        number = number * 10 + one
        at += 1
        one = digit(text, at)
    return number, at


@inline
def whole(text: U8, at: int) -> tuple[int, int]:
    """An integer of up to 18 digits and the place behind it, `NO_NUMBER` where there is none such."""
    negative = byte(text, at) == _MINUS
    first = at + 1 if negative else at
    number, end = digits(text, first, 0)
    count = end - first
    if count == 0 or count > _DIGITS_MAX or (byte(text, first) == _ZERO and (count > 1 or negative)):
        return 0, NO_NUMBER
    return -number if negative else number, end


@inline
def number(text: U8, at: int, tens: F64, fives: U64) -> tuple[float, int, int]:
    """A value, its kind (FLOAT, INTEGER) and the place behind it, `NO_NUMBER` where it is not read here.

    The text holds something that is no part of a number behind it; the caller judges what.
    """
    negative = byte(text, at) == _MINUS
    first = at + 1 if negative else at
    mantissa, at = digits(text, first, 0)
    count = at - first
    if count == 0 or (count > 1 and byte(text, first) == _ZERO):
        return 0.0, _FLOAT, NO_NUMBER
    if byte(text, at) != _POINT and byte(text, at) | 32 != _E:
        if count > WHOLE_DIGITS_MAX or (negative and mantissa == 0):  # a whole -0 is 0, a float's is not
            return 0.0, _INTEGER, NO_NUMBER
        return float(-mantissa if negative else mantissa), _INTEGER, at
    power = 0
    if byte(text, at) == _POINT:
        mantissa, count, power, at = _fraction(text, at + 1, mantissa, count)
    if at != NO_NUMBER and byte(text, at) | 32 == _E:
        exponent, at = _exponent(text, at + 1)
        power += exponent
    if at == NO_NUMBER or count > _DIGITS_MAX or abs(power) > POWER_MAX:
        return 0.0, _FLOAT, NO_NUMBER
    size = _size(mantissa, power, tens, fives)
    return -size if negative else size, _FLOAT, at


@inline
def _fraction(text: U8, point: int, mantissa: int, count: int) -> tuple[int, int, int, int]:
    """Mantissa and digits with those behind the point (zeros before the first other digit count for none), the power
    of ten that they take, the place behind them."""
    at = point
    if mantissa == 0:
        count = 0
        while byte(text, at) == _ZERO:
            at += 1
    begin = at
    mantissa, at = digits(text, at, mantissa)
    return mantissa, count + at - begin, point - at, NO_NUMBER if at == point else at


@kernel
def _exponent(text: U8, at: int) -> tuple[int, int]:
    negative = byte(text, at) == _MINUS
    first = at + 1 if negative or byte(text, at) == _PLUS else at
    exponent, end = digits(text, first, 0)
    if end == first or end - first > 3:
        return 0, NO_NUMBER
    return -exponent if negative else exponent, end


@inline
def _size(mantissa: int, power: int, tens: F64, fives: U64) -> float:
    if mantissa <= _EXACT_MAX and -_TEN_MAX <= power <= _TEN_MAX:
        return float(mantissa / tens[-power] if power < 0 else mantissa * tens[power])
    return nearest_float(mantissa, power, fives) if mantissa else 0.0
