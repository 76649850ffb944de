"""What a body's readings say, as columns that are not judged yet: the meeting point of all JSON formats.

A text (tag, unit, state) is a number into `texts`. What a value is stands in `code`: a `ValueKind`, or NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np

from millrace.batch import (
    F64,
    I32,
    I64,
    INTEGER_EXACT_MAX,
    REJECT_PAYLOAD_BYTES_MAX,
    U8,
    DoorReject,
    ValueKind,
)
from millrace.protocols.json_reading import Reading, decode_one, diagnose
from millrace.protocols.time_text import NO_TIME, parse_times

NULL: Final = 4
"""The code of a row without a value; the others are `ValueKind`."""
NO_TEXT: Final = -1

_CODES: Final[dict[type, int]] = {
    float: int(ValueKind.FLOAT),
    bool: int(ValueKind.BOOL),
    int: int(ValueKind.INTEGER),
    str: int(ValueKind.STATE),
    type(None): NULL,
}


@dataclass(slots=True)
class Readings:
    """Columns (n,), in the sender's order.

    `tag`, `unit`: numbers of texts, NO_TEXT where no unit is said. `value`: NaN for NULL, the text's number for a
    STATE. `ts_us`: NO_TIME where none could be read. `inexact`: rows whose whole number is beyond 2^53.
    """

    tag: I32
    unit: I32
    code: U8
    ts_us: I64
    value: F64
    quality: I64
    inexact: I64


def refused(lines: Iterable[tuple[int, bytes]]) -> list[DoorReject]:
    """Lines that hold no reading, by their index, with what is wrong."""
    rejects = []
    for index, line in lines:
        reason, ts_us = diagnose(line)
        rejects.append(DoorReject(index, reason, line[:REJECT_PAYLOAD_BYTES_MAX], ts_us))
    return rejects


def one_by_one(lines: Sequence[bytes], indexes: Sequence[int]) -> tuple[list[Reading], I64, list[DoorReject]]:
    """Each line alone: the readings, their places among the lines, and the lines that hold none."""
    found = list(map(decode_one, lines))
    places = [place for place, row in enumerate(found) if row is not None]
    wrong = [(indexes[place], lines[place]) for place, row in enumerate(found) if row is None]
    return [row for row in found if row is not None], np.array(places, np.int64), refused(wrong)


def of_rows(rows: Sequence[Reading], texts: dict[str, int]) -> Readings:
    """Columns of readings that were decoded one by one; texts that are new get the next numbers."""
    values = [row.value for row in rows]
    tags, units = [row.tag for row in rows], [row.unit for row in rows]
    for text in dict.fromkeys(chain(tags, units, (value for value in values if isinstance(value, str)))):
        texts.setdefault(text, len(texts))
    code = np.fromiter(map(_CODES.__getitem__, map(type, values)), np.uint8, len(rows))
    value = np.array([texts[value] if isinstance(value, str) else value for value in values], np.float64)
    return Readings(
        tag=np.fromiter(map(texts.__getitem__, tags), np.int32, len(rows)),
        unit=np.fromiter((texts[unit] if unit else NO_TEXT for unit in units), np.int32, len(rows)),
        code=code,
        ts_us=_times([row.ts for row in rows]),
        value=value,
        quality=_integers([row.quality for row in rows], -1),
        inexact=_inexact(values, value, code),
    )


def _inexact(values: Sequence[float | int | bool | str | None], value: F64, code: U8) -> I64:
    """Rows of whole numbers beyond 2^53, judged before they were rounded."""
    large = np.flatnonzero((np.abs(value) >= INTEGER_EXACT_MAX) & (code == ValueKind.INTEGER)).tolist()
    return np.array([row for row in large if abs(int(values[row] or 0)) > INTEGER_EXACT_MAX], np.int64)


def _times(times: list[int | str]) -> I64:
    kinds = set(map(type, times))
    if kinds == {str}:
        return parse_times(times)  # type: ignore[arg-type]
    if kinds == {int}:
        return _integers(times, NO_TIME)  # type: ignore[arg-type]
    texts = parse_times([ts if isinstance(ts, str) else "" for ts in times])
    numbers = _integers([ts if isinstance(ts, int) else 0 for ts in times], NO_TIME)
    is_text = np.fromiter((isinstance(ts, str) for ts in times), bool, len(times))
    return np.where(is_text, texts, numbers)


def _integers(numbers: list[int], beyond: int) -> I64:
    """The numbers as int64; one that does not fit becomes `beyond`."""
    try:
        return np.array(numbers, np.int64)
    except OverflowError:
        return np.array([n if -(2**63) < n < 2**63 else beyond for n in numbers], np.int64)


Payload = Callable[[int], bytes]
"""A row's reading as the quarantine keeps it."""
