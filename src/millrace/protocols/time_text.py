"""RFC 3339 texts to microseconds UTC, a column at a time.

`2026-01-05T08:00:00.123456Z`, any offset `±HH:MM`, `T` or a space between, any number of fraction digits (cut
to microseconds). A time without an offset is not a time: nobody could say when it was. Source: RFC 3339, 5.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from millrace.batch import I64, U8
from millrace.protocols.byte_kernel import byte, digit, kernel

NO_TIME: Final = -(2**63)
"""What stands for a text that is no time."""

_LENGTH_MAX: Final = 64


def parse_times(texts: Sequence[str]) -> I64:
    """Microseconds since 1970 of each text (n,), `NO_TIME` where it is not a time with an offset."""
    joined = "".join(texts)
    if not joined.isascii():
        texts = [text if text.isascii() else "" for text in texts]
        joined = "".join(texts)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    out = np.empty(len(texts), np.int64)
    _parse(np.frombuffer(joined.encode(), np.uint8), np.cumsum(lengths), out)
    return out


def parse_time(text: str) -> int:
    """One text; `NO_TIME` if it is not a time."""
    return int(parse_times((text,))[0]) if len(text) <= _LENGTH_MAX else NO_TIME


@kernel
def _number(text: U8, at: int, digits: int) -> int:
    """The digits at that place as a number, -1 if there are others than digits."""
    number = 0
    for i in range(at, at + digits):
        one = digit(text, i)
        if one < 0 or one > 9:
            return -1
        number = number * 10 + one
    return number


@kernel
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01, proleptic Gregorian; years begin in March, so that a leap day is the last."""
    y = year - (1 if month <= 2 else 0)
    era = y // 400
    year_of_era = y - era * 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


@kernel
def _month_length(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


@kernel
def _date_us(text: U8, at: int) -> int:
    """Microseconds of `YYYY-MM-DD`, or NO_TIME."""
    year, month, day = _number(text, at, 4), _number(text, at + 5, 2), _number(text, at + 8, 2)
    if byte(text, at + 4) != 45 or byte(text, at + 7) != 45 or year < 1 or month < 1 or month > 12 or day < 1:
        return NO_TIME
    if day > _month_length(year, month):
        return NO_TIME
    return _days(year, month, day) * 86_400_000_000


@kernel
def _clock_us(text: U8, at: int) -> int:
    """Microseconds of `HH:MM:SS`, or NO_TIME. A leap second has no place on a scale without them."""
    hour, minute, second = _number(text, at, 2), _number(text, at + 3, 2), _number(text, at + 6, 2)
    if byte(text, at + 2) != 58 or byte(text, at + 5) != 58 or hour < 0 or minute < 0 or second < 0:
        return NO_TIME
    if hour > 23 or minute > 59 or second > 59:
        return NO_TIME
    return ((hour * 60 + minute) * 60 + second) * 1_000_000


@kernel
def _offset_us(text: U8, at: int, end: int) -> int:
    """Microseconds east of UTC of `Z` or `±HH:MM`, or NO_TIME."""
    if end - at == 1 and (byte(text, at) == 90 or byte(text, at) == 122):
        return 0
    if end - at != 6 or (byte(text, at) != 43 and byte(text, at) != 45) or byte(text, at + 3) != 58:
        return NO_TIME
    hour, minute = _number(text, at + 1, 2), _number(text, at + 4, 2)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59:
        return NO_TIME
    east = (hour * 60 + minute) * 60_000_000
    return east if byte(text, at) == 43 else -east


@kernel
def time_us(text: U8, at: int, end: int) -> int:
    """Microseconds of the bytes from `at` to `end`, or NO_TIME."""
    if end - at < 20 or end - at > _LENGTH_MAX:
        return NO_TIME
    between = byte(text, at + 10)
    date, clock = _date_us(text, at), _clock_us(text, at + 11)
    if date == NO_TIME or clock == NO_TIME or (between != 84 and between != 116 and between != 32):
        return NO_TIME
    at += 19
    fraction, unit = 0, 100_000
    if byte(text, at) == 46:
        first = at + 1
        at = first
        while at < end and 48 <= byte(text, at) <= 57:
            fraction += digit(text, at) * unit
            unit //= 10
            at += 1
        if at == first:
            return NO_TIME
    offset = _offset_us(text, at, end)
    return NO_TIME if offset == NO_TIME else date + clock + fraction - offset


@kernel
def _parse(text: U8, ends: I64, out: I64) -> None:
    at = 0
    for i in range(len(ends)):
        end = int(ends[i])
        out[i] = time_us(text, at, end)
        at = end
