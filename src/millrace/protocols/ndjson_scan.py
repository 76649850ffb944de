"""Lines of readings to columns in one pass over their bytes.

A line is *ordinary* if it is an object of the known fields, each once, its texts free of escapes, its numbers such
as `number_text` reads exactly. Any other, right or wrong, is marked and left to a reader that can say what it is:
nothing here decides that something is an error.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from millrace.batch import F64, I32, I64, QUALITY_GOOD, U8, U64, ValueKind
from millrace.protocols.byte_kernel import byte, inline, kernel
from millrace.protocols.json_rows import NO_TEXT, NULL
from millrace.protocols.number_text import POWERS, number, whole
from millrace.protocols.text_table import FAILED, QUOTE, Texts, is_quoted, number_of, text_end
from millrace.protocols.time_text import time_us

SLOW: Final = 255
"""The code of a line that is left to a slower reader."""
_TAG, _TS, _VALUE, _QUALITY, _UNIT = 0, 1, 2, 3, 4
_NEEDED: Final = 7
_NEWLINE, _COLON, _COMMA, _OPEN, _CLOSE = 10, 58, 44, 123, 125
_SPACE, _TAB, _RETURN = 32, 9, 13
_FLOAT, _BOOL, _INTEGER, _STATE = map(int, ValueKind)


class Rows(NamedTuple):
    """Columns of the lines that are not blank, all (n,). `value` of a STATE is the number of its text.

    `begin` and `end` cut the line out of the body.
    """

    tag: I32
    unit: I32
    code: U8
    ts_us: I64
    value: F64
    quality: I64
    begin: I64
    end: I64


def cut(rows: Rows, where: slice | I64) -> Rows:
    """Some of the rows."""
    return Rows._make(column[where] for column in rows)


@kernel
def line_count(body: U8) -> int:
    """Line ends in the body, without a second array of its length."""
    count = 0
    for at in range(len(body)):
        count += byte(body, at) == _NEWLINE
    return count


def rows_for(lines: int) -> Rows:
    """Room for so many lines."""
    kinds = (np.int32, np.int32, np.uint8, np.int64, np.float64, np.int64, np.int64, np.int64)
    return Rows._make(np.empty(lines, kind) for kind in kinds)


def scan(body: U8, rows: Rows, texts: Texts) -> tuple[int, int]:
    """Fill both from a body that ends in a line end; how many rows and texts there are."""
    return _scan(body, *rows, *texts, *POWERS)


class Survey(NamedTuple):
    """What all rows are together. `is_plain`: numbers, of a possible quality, without units, so each text is a tag."""

    is_plain: bool
    in_order: bool
    ts_min_us: int
    ts_max_us: int


def survey(rows: Rows) -> Survey:
    """Of one row at least."""
    return Survey(*_survey(rows.code, rows.unit, rows.quality, rows.ts_us))


@kernel
def _survey(codes: U8, units: I32, qualities: I64, times: I64) -> tuple[bool, bool, int, int]:
    odd, in_order = False, True
    least = greatest = times[0]
    for row in range(len(codes)):
        is_number = codes[row] == _FLOAT or codes[row] == _INTEGER
        odd |= not is_number or units[row] != NO_TEXT or qualities[row] < 0 or qualities[row] > 255
        in_order &= row == 0 or times[row] >= times[row - 1]
        least, greatest = min(least, times[row]), max(greatest, times[row])
    return not odd, in_order, least, greatest


# One loop holds all arrays: handed from kernel to kernel they cost more than the bytes do (1.1 us a line were
# counting references to them, 0.2 us copying their descriptions).
@kernel
def _scan(
    body: U8, tags: I32, units: I32, codes: U8, times: I64, values: F64, qualities: I64, begins: I64, ends: I64,
    slot: I32, text_begin: I64, text_length: I64, text_hash: I64, text_after: I32, tens: F64, fives: U64,
) -> tuple[int, int]:  # fmt: skip
    at = row = known = 0
    last = NO_TEXT  # the last row's tag
    while at < len(body):
        at = begin = _skip(body, at)
        if byte(body, at) == _NEWLINE:
            at += 1
            continue
        qualities[row], units[row], codes[row] = QUALITY_GOOD, NO_TEXT, SLOW
        seen, go_on = 0, byte(body, at) == _OPEN
        while go_on:
            field, at = _field(body, _skip(body, at + 1))
            if at == FAILED or seen >> field & 1:
                at = FAILED
                break
            seen |= 1 << field
            if field == _TS:
                times[row], at = _time(body, at)
            elif field == _QUALITY:
                qualities[row], at = whole(body, at)
            elif field == _VALUE and byte(body, at) != QUOTE:
                values[row], codes[row], at = _value(body, at, tens, fives)
            else:
                guess = text_after[last] if field == _TAG and last != NO_TEXT else NO_TEXT
                if guess == NO_TEXT or not is_quoted(body, at, text_begin[guess], text_length[guess]):
                    end = text_end(body, at)
                    guess = number_of(body, at, end, known, slot, text_begin, text_length, text_hash, text_after)
                    known = max(known, guess + 1)
                if guess == NO_TEXT:
                    at = FAILED
                    break
                at += text_length[guess] + 2
                if field == _TAG:
                    tags[row] = guess
                    if last != NO_TEXT:
                        text_after[last] = guess
                    last = guess
                elif field == _UNIT:
                    units[row] = guess if text_length[guess] else NO_TEXT
                else:
                    values[row], codes[row] = guess, _STATE
            if at == FAILED:
                break
            at = _skip(body, at)
            go_on = byte(body, at) == _COMMA
        at = _closed(body, at) if seen & _NEEDED == _NEEDED and at != FAILED else FAILED
        if at == FAILED:
            at = _line_end(body, begin)
            codes[row] = SLOW
        begins[row], ends[row] = begin, at
        row += 1
        at += 1
    return row, known


@inline
def _closed(body: U8, at: int) -> int:
    """The line's end behind the brace there."""
    if byte(body, at) != _CLOSE:
        return FAILED
    at = _skip(body, at + 1)
    return at if byte(body, at) == _NEWLINE else FAILED


@inline
def _field(body: U8, at: int) -> tuple[int, int]:
    """Which field the key there is, and the place of its value."""
    field, length = _TAG, 5
    if byte(body, at) != QUOTE:
        return field, FAILED
    if byte(body, at + 1) == 116 and byte(body, at + 2) == 97:
        good = byte(body, at + 3) == 103
    elif byte(body, at + 1) == 116:
        field, length, good = _TS, 4, byte(body, at + 2) == 115
    elif byte(body, at + 1) == 118:
        field, length, good = _VALUE, 7, _is(body, at + 2, 97, 108, 117) and byte(body, at + 5) == 101
    elif byte(body, at + 1) == 113:
        field, length = _QUALITY, 9
        good = _is(body, at + 2, 117, 97, 108) and _is(body, at + 5, 105, 116, 121)
    else:
        field, length, good = _UNIT, 6, byte(body, at + 1) == 117 and _is(body, at + 2, 110, 105, 116)
    if not good or byte(body, at + length - 1) != QUOTE:
        return field, FAILED
    at = _skip(body, at + length)
    return field, _skip(body, at + 1) if byte(body, at) == _COLON else FAILED


@inline
def _is(body: U8, at: int, first: int, second: int, third: int) -> bool:
    """Whether these three are there; none is read behind a line's end."""
    return byte(body, at) == first and byte(body, at + 1) == second and byte(body, at + 2) == third


@inline
def _time(body: U8, at: int) -> tuple[int, int]:
    """Microseconds, as a whole number or as text, and the place behind."""
    if byte(body, at) != QUOTE:
        return whole(body, at)
    end = text_end(body, at)
    if end == FAILED:
        return 0, FAILED
    for i in range(at + 1, end):
        if byte(body, i) > 127:  # perhaps no UTF-8
            return 0, FAILED
    return time_us(body, at + 1, end), end + 1


@inline
def _value(body: U8, at: int, tens: F64, fives: U64) -> tuple[float, int, int]:
    """A number, a bool or null, what it is, and the place behind it."""
    if byte(body, at) == 116:
        return 1.0, _BOOL, at + 4 if _is(body, at + 1, 114, 117, 101) else FAILED
    if byte(body, at) == 102:
        return 0.0, _BOOL, at + 5 if byte(body, at + 1) == 97 and _is(body, at + 2, 108, 115, 101) else FAILED
    if byte(body, at) == 110:
        return np.nan, NULL, at + 4 if _is(body, at + 1, 117, 108, 108) else FAILED
    return number(body, at, tens, fives)


@inline
def _skip(body: U8, at: int) -> int:
    """The next place that is no white space inside a line."""
    while byte(body, at) == _SPACE or byte(body, at) == _TAB or byte(body, at) == _RETURN:
        at += 1
    return at


@kernel
def _line_end(body: U8, at: int) -> int:
    while byte(body, at) != _NEWLINE:
        at += 1
    return at
